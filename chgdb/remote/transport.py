"""Bytes from and to servers: what every kind of server has in common, and what is tried again.

A transport serves the files below one URL. Keys are paths below it with forward slashes.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

from ..errors import RemoteError

T = TypeVar("T")

#: Longest pause that a server may ask for (Retry-After), and between our own attempts, in seconds.
_LONGEST_ASKED, _LONGEST_PAUSE, _FIRST_PAUSE = 30.0, 8.0, 0.25


class TransientError(Exception):
    """An attempt failed for a reason that may be over at the next one: a reset, a timeout, 503, half an answer.

    pause: seconds that the server asked to wait.
    """

    def __init__(self, reason: str, pause: float = 0.0) -> None:
        super().__init__(reason)
        self.pause = pause


class DeniedError(RemoteError):
    """The server refuses access. Some servers say so for files that do not exist."""


@dataclass(frozen=True)
class Answer:
    """The answer of a server. data is None where the file still has the `known` tag."""

    data: bytes | None
    tag: str = ""


class Transport(Protocol):
    """Access to the files below a URL: the whole of what a back end has to do.

    A back end is a class, or a function, that is called with the URL and the options of the user, and gives an object
    with these members (see `chgdb.remote.connect`). Every method tries again where that is right, ends within
    `deadline()`, and raises nothing but `KeyError` and the errors of `chgdb.errors`, in whose messages no password and
    no signature is. Objects are used by many threads at once, and after a fork.

    url: as `chgdb.urls.public` shows it.
    writable: whether `put` and `remove` can work at all.
    """

    url: str
    writable: bool

    def get(
        self, key: str, start: int | None = None, stop: int | None = None, *, fresh: bool = False, known: str = ""
    ) -> Answer:
        """A file or the bytes from `start` to before `stop` of it.

        fresh: past the caches of proxies. known: tag of the version that we have; where it is still the one, and only
        then, the answer has no data. A range that reaches beyond the end gives what there is. The empty key is the URL
        itself. Raises `KeyError` if there is no such file, `DeniedError` if the server refuses access, and
        `RemoteError` where the file cannot be had.
        """

    def sizes(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """Key and size of every file below a folder. Raises `RemoteError` if the server does not list its files."""

    def put(self, key: str, data: bytes) -> None:
        """Write a file, in one step where the server can. Raises `RemoteError` if it cannot be written."""

    def remove(self, prefix: str) -> None:
        """Remove everything below a folder. A file that is not there is no error."""


def timeout() -> float:
    """Seconds in which the head of an answer has to be there, from the look-up of the server's name on; without any
    byte for so long a server counts as gone, too (CHGDB_TIMEOUT)."""
    return _number("CHGDB_TIMEOUT", 30.0, 0.01, 86_400)


def deadline() -> float:
    """Seconds that one file, or one range of it, may take in all, with everything that is tried (CHGDB_DEADLINE)."""
    return _number("CHGDB_DEADLINE", 3600.0, 0.01, 604_800)


def attempts() -> int:
    """How often something is tried before it is given up (CHGDB_ATTEMPTS)."""
    return int(_number("CHGDB_ATTEMPTS", 5, 1, 100))


def within(seconds: float, action: Callable[[], T]) -> T:
    """Result of an action that knows no timeout, in a thread of its own, which is left behind where it takes longer.

    Raises what the action raises, and `TimeoutError`.
    """
    from concurrent.futures import Future

    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(action())
        except BaseException as error:  # is raised in the thread that waits
            done.set_exception(error)

    threading.Thread(target=run, name="chgdb", daemon=True).start()
    return done.result(seconds)


def offline() -> bool:
    """Whether chgdb is told to use nothing but the cache (CHGDB_OFFLINE)."""
    return os.environ.get("CHGDB_OFFLINE", "").strip().lower() not in ("", "0", "no", "false")


def _number(name: str, default: float, low: float, high: float) -> float:
    """A number of the environment. Raises `RemoteError` if it is none, or not between `low` and `high`."""
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        shown = text if len(text) <= 40 else text[:40] + "..."
        raise RemoteError(
            f"the environment variable {name} is {shown!r}; it should be a number from {low:g} to {high:g}"
        )
    return value


def retrying(action: Callable[[], T], what: str, most: int | None = None, until: float | None = None) -> T:
    """Result of an action, which is tried again, with growing random pauses, while it fails with `TransientError`.

    most: maximum number of attempts. until: time of the last one (`time.monotonic`); `deadline()` from now unless
    given.
    Raises `RemoteError` with the last reason after the last attempt.
    """
    end = time.monotonic() + deadline() if until is None else until
    count = min(attempts(), most or 1000)
    tried = 0
    while True:
        try:
            return action()
        except TransientError as error:
            import random  # not needed where all goes well

            tried += 1
            pause = min(_FIRST_PAUSE * 2 ** (tried - 1), _LONGEST_PAUSE) * random.uniform(0.5, 1)
            pause = max(pause, min(error.pause, _LONGEST_ASKED))
            if tried >= count or time.monotonic() + pause > end:
                times = f", {tried} times" if tried > 1 else ""
                raise RemoteError(f"{what}: {error}{times}; try again later") from error
            time.sleep(pause)
