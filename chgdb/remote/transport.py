"""Bytes from and to servers: what every kind of server has in common, and what is tried again.

A transport serves the files below one URL. Keys are paths below it with forward slashes.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from ..errors import OfflineError, RemoteError

T = TypeVar("T")

#: Longest pause that a server may ask for (Retry-After), and between our own attempts, in seconds.
_LONGEST_ASKED, _LONGEST_PAUSE, _FIRST_PAUSE = 30.0, 8.0, 0.25


def is_url(text: object) -> bool:
    """Whether text is a URL or a chain of them; what exists here is a path, also with two colons in its name.

    >>> is_url("https://example.org/x"), is_url("zip::data.zip"), is_url("C:/x"), is_url("runs/CHGCAR")
    (True, True, False, False)
    """
    return isinstance(text, str) and ("://" in text or ("::" in text and not _is_here(text)))


def _is_here(path: str) -> bool:
    """Whether something has this path, or the folder exists that it would be written to."""
    folder = os.path.dirname(path)
    return os.path.lexists(path) or ("::" in folder and os.path.isdir(folder))


def url_path(url: str) -> str:
    """The path of a URL, of the first link of a chain.

    >>> url_path("https://example.org/runs/mp-149/CHGCAR.gz?key=1"), url_path("zip::file:///a/CHGCAR.zip")
    ('runs/mp-149/CHGCAR.gz', '/a/CHGCAR.zip')
    """
    return url.rpartition("://")[2].partition("?")[0].partition("/")[2] if "::" not in url else url.rpartition("://")[2]


class TransientError(Exception):
    """An attempt that failed in a way that the next one may not: a reset, a timeout, 503, half an answer.

    pause: seconds that the server asked to wait.
    """

    def __init__(self, reason: str, pause: float = 0.0) -> None:
        super().__init__(reason)
        self.pause = pause


@dataclass(frozen=True)
class Answer:
    """What a server sent. data is None where the file is still the one with the `known` tag."""

    data: bytes | None
    tag: str = ""


class Transport(Protocol):
    """Access to the files below a URL; every method tries again where that is right."""

    url: str  # as a user would write it, without a password

    def get(
        self, key: str, start: int | None = None, stop: int | None = None, *, fresh: bool = False, known: str = ""
    ) -> Answer:
        """A file or a range of it. fresh: past the caches of proxies. known: tag of the version that we have.

        Raises `KeyError` where there is none, `RemoteError` where it cannot be had. A range that reaches beyond the
        end gives what there is.
        """

    def sizes(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """Key and size of every file below a folder. Raises `RemoteError` where the server does not list its files."""

    def put(self, key: str, data: bytes) -> None:
        """Write a file, in one step where the server can. Raises `RemoteError` where it cannot be written."""

    def remove(self, prefix: str) -> None:
        """Remove everything below a folder."""


def timeout() -> float:
    """Seconds without any byte after which a server counts as gone (CHGDB_TIMEOUT)."""
    return _number("CHGDB_TIMEOUT", 30.0)


def attempts() -> int:
    """How often something is tried before it is given up (CHGDB_ATTEMPTS)."""
    return max(1, int(_number("CHGDB_ATTEMPTS", 5)))


def _number(name: str, default: float) -> float:
    text = os.environ.get(name, "")
    try:
        return float(text) if text else default
    except ValueError:
        raise RemoteError(f"the environment variable {name} is {text!r}; it should be a number") from None


def retrying(action: Callable[[], T], what: str, most: int | None = None) -> T:
    """Result of an action, tried again with growing random pauses while it fails in a transient way.

    most: not more often than that. Raises `RemoteError` with the last reason after the last attempt.
    """
    import random

    count = min(attempts(), most or 1000)
    for attempt in range(count):
        try:
            return action()
        except TransientError as error:
            if attempt + 1 == count:
                times = f", {count} times" if count > 1 else ""
                raise RemoteError(f"{what}: {error}{times}; try again later") from error
            pause = min(_FIRST_PAUSE * 2**attempt, _LONGEST_PAUSE) * random.uniform(0.5, 1)
            time.sleep(max(pause, min(error.pause, _LONGEST_ASKED)))
    raise AssertionError("not reached")


def public(url: str) -> str:
    """A URL without password and without the parameters that may hold one.

    >>> public("https://me:secret@example.org/x?signature=abc")
    'https://example.org/x'
    """
    return re.sub(r"(?<=://)[^/@]*@(?=[^/]*\.|localhost|127\.)", "", url.partition("?")[0])


def connect(url: str, options: Mapping[str, Any] | None = None) -> Transport:
    """The transport for a URL: our own for http(s) and github, obstore for s3 where it can, else fsspec's.

    options: for the file system (`anon`, `key`, `endpoint_url`, ...), as in `fsspec.filesystem`; `headers` for HTTP.
    """
    scheme = url.partition("://")[0].lower() if "::" not in url else ""
    if scheme in ("http", "https", "github"):
        from .http import HttpTransport

        return HttpTransport(url, dict(options or {}))
    if scheme == "s3":
        from .obstore import ObstoreTransport, applies

        if applies(url, dict(options or {})):
            return ObstoreTransport(url)
    from .fsspec import FsspecTransport

    return FsspecTransport(url, dict(options or {}))


def read_file(url: str) -> bytes:
    """The one file at a URL. Raises `RemoteError` where it cannot be had."""
    if os.environ.get("CHGDB_OFFLINE", "") not in ("", "0"):
        raise OfflineError(f"{public(url)}: chgdb is offline (CHGDB_OFFLINE)")
    try:
        data = connect(url).get("").data
    except KeyError:
        raise RemoteError(f"{public(url)}: there is no such file") from None
    assert data is not None  # no tag was sent along
    return data
