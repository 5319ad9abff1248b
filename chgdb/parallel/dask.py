"""Many independent tasks over the workers of a Dask cluster: the same contract as `processes`.

The function to run is a task of the cluster too, not data scattered over it: where the worker that holds it dies, the
scheduler makes it again, like every other task that had not ended.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from .. import __version__
from ..errors import StoreError, require
from .outcome import Outcome, attempt

T = TypeVar("T")
R = TypeVar("R")

#: Seconds to wait for a scheduler's first answer, and after which the size of the cluster is asked again.
_CONNECT, _ASK_AGAIN = 20.0, 1.0


def check(address: str) -> None:
    """Ask a scheduler for an answer; to be called before anything that takes long.

    Raises `MissingExtraError` without Dask, `StoreError` for what is no address and where no scheduler answers.
    """
    distributed = require("distributed", "dask", "a scheduler")
    if not re.fullmatch(r"[a-z]+://.+:\d+/?", address):
        raise StoreError(f"no Dask scheduler at {address}: an address is one such as tcp://host:8786")

    async def ask() -> None:
        connecting = distributed.comm.connect(address, timeout=_CONNECT)
        communication = await asyncio.wait_for(
            connecting, _CONNECT
        )  # with the greeting, to which its own does not apply
        communication.abort()

    try:
        # In a thread: this one may have a loop of its own (a notebook). A `Client` that fails says so later, as well.
        with ThreadPoolExecutor(1) as threads:
            threads.submit(lambda: asyncio.run(ask())).result()
    except (OSError, ValueError, TypeError) as error:
        raise StoreError(f"no Dask scheduler at {address}: {_said(error)}; start one with dask scheduler") from None


def connect(address: str) -> Any:
    """A Dask client of the scheduler at an address such as tcp://host:8786. Raises as `check`."""
    check(address)
    distributed = require("distributed", "dask", "a scheduler")
    try:
        return distributed.Client(address, timeout=_CONNECT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise StoreError(f"no Dask scheduler at {address}: {_said(error)}; start one with dask scheduler") from None


def _said(error: Exception) -> str:
    return str(error) or f"nothing there speaks as one does, {_CONNECT:g} s long"


def run_on(
    address: str, function: Callable[[T], R], tasks: Sequence[T], workers: int | None = None
) -> Iterator[Outcome[T, R]]:
    """Outcomes in the order in which tasks end, as `processes.run`.

    workers: tasks at a time; as many as the cluster has threads, which may change, unless given.
    Tasks of a worker that dies run again elsewhere, or when another worker comes. One that was running on several
    workers as they died is given up (`distributed.scheduler.allowed-failures`, 3 unless configured).
    Raises `StoreError` if the scheduler is lost, or the workers have no chgdb or another version of it.
    """
    if not tasks:
        return
    client = connect(address)
    try:
        yield from _drain(client, address, function, deque(tasks), workers)
    finally:
        client.close()  # what still runs is cancelled with it


def _drain(
    client: Any, address: str, function: Callable[[T], R], waiting: deque[T], workers: int | None
) -> Iterator[Outcome[T, R]]:
    from distributed import as_completed

    remote = client.submit(_itself, function, pure=False)
    running: dict[Any, T] = {}
    ended = as_completed(loop=client.loop)
    slots, asked = 0, -_ASK_AGAIN
    while waiting or running:
        if time.monotonic() - asked >= _ASK_AGAIN:
            slots, asked = _slots(client, workers, address), time.monotonic()
        while waiting and len(running) < slots:
            task = waiting.popleft()
            future = client.submit(_work, remote, __version__, task, pure=False)
            running[future] = task
            ended.add(future)
        future = next(ended)
        yield _outcome(future, running.pop(future), remote, address)


def _slots(client: Any, workers: int | None, address: str) -> int:
    """Tasks to have at a time: twice the threads, so that none waits for us; one where there is no worker yet, so that
    a cluster that grows when asked does."""
    try:
        return workers or max(1, 2 * sum(client.nthreads().values()))
    except OSError as error:
        raise _lost(address) from error


def _lost(address: str) -> StoreError:
    return StoreError(f"lost the Dask scheduler at {address}: what is finished is kept, run the same command again")


def _outcome(future: Any, task: T, remote: Any, address: str) -> Outcome[T, Any]:
    from distributed import KilledWorker
    from distributed.client import CancelledError

    error: BaseException | None
    try:
        # A function that cannot be unpickled on the cluster is an error of `remote`, on which the task depends.
        error = remote.exception() if remote.status == "error" else future.exception()
        if error is None:
            outcome: Outcome[T, Any] = future.result()
            return outcome
    except (CancelledError, OSError) as lost:
        raise _lost(address) from lost
    if isinstance(error, KilledWorker):
        return Outcome(task, None, "the Dask workers that ran it died (out of memory?); try it with fewer at a time")
    if isinstance(error, StoreError):
        raise error
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    raise StoreError(
        f"the Dask cluster at {address} cannot run this: install chgdb {__version__} and what the inputs need on its "
        f"scheduler and workers ({reason})"
    ) from error


def _itself(function: Callable[[T], R]) -> Callable[[T], R]:
    return function


def _work(function: Callable[[Any], Any], version: str, task: Any) -> Outcome[Any, Any]:
    """One task, on a worker. Another version of chgdb could give other bytes for the same density."""
    if version != __version__:
        from distributed import get_worker

        raise StoreError(
            f"the Dask worker {get_worker().address} has chgdb {__version__}, and this is {version}: install the "
            "same version on both"
        )
    return attempt(function, task)
