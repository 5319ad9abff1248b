"""Many independent tasks over processes, or with a scheduler over a Dask cluster. Knows nothing of densities."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from .outcome import Outcome, attempt

T = TypeVar("T")
R = TypeVar("R")

#: The scheduler that is none: processes of this machine.
PROCESSES = "processes"

#: One thread a process: the processes are the parallelism.
_THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def run(
    function: Callable[[T], R], tasks: Sequence[T], workers: int | None = None, scheduler: str | None = None
) -> Iterator[Outcome[T, R]]:
    """Outcomes in the order in which tasks end.

    function: picklable where there is more than one worker; sent to each worker once.
    workers: processes, by default as many as this process may use cores. They are spawned, so a script that builds
        with several needs the usual `if __name__ == "__main__":`.
    scheduler: address of a Dask scheduler, whose workers then do it (see `dask`); None or "processes": processes
        of this machine.
    A task whose worker dies (killed for its memory, say) is tried once more by itself before it is given up.
    Raises with a scheduler `MissingExtraError` without Dask, and `StoreError` where it does not answer or is lost.
    """
    if scheduler not in (None, PROCESSES):
        from .dask import run_on

        yield from run_on(scheduler, function, tasks, workers)
        return
    count = min(workers or cores(), len(tasks))
    if count <= 1 or (workers is None and len(tasks) < 4):  # processes take longer to start than this takes
        for task in tasks:
            yield attempt(function, task)
        return
    waiting = deque(tasks)
    with _one_thread_each():
        while waiting:
            suspects: list[T] = []
            yield from _drain(function, waiting, count, suspects)
            for task in suspects:
                alone: list[T] = []
                yield from _drain(function, deque([task]), 1, alone)
                if alone:
                    yield Outcome(task, None, "its worker process died (out of memory?); try it with fewer workers")


def check_scheduler(scheduler: str | None) -> None:
    """Raise `StoreError` where no Dask scheduler answers at this address, `MissingExtraError` without Dask. None and
    "processes" stand for this machine."""
    if scheduler not in (None, PROCESSES):
        from .dask import check

        check(scheduler)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _drain(function: Callable[[T], R], waiting: deque[T], count: int, suspects: list[T]) -> Iterator[Outcome[T, R]]:
    """Run the waiting tasks in one pool. If the pool breaks, the running ones go to `suspects`."""
    from multiprocessing import get_context

    # Spawned, not forked: forking a process with threads (BLAS, zarr) can deadlock.
    pool = ProcessPoolExecutor(count, get_context("spawn"), _start_worker, (function,))
    running: dict[Future[Outcome[T, R]], T] = {}
    try:
        while (waiting or running) and not suspects:
            while waiting and len(running) < 2 * count:
                task = waiting.popleft()
                try:
                    running[pool.submit(_work, task)] = task
                except BrokenProcessPool:
                    waiting.appendleft(task)
                    break
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                task = running.pop(future)
                try:
                    outcome = future.result()
                except BrokenProcessPool:
                    suspects.append(task)
                else:
                    yield outcome
        suspects += running.values()
    finally:
        pool.shutdown(wait=not suspects, cancel_futures=True)


_function: Callable[[Any], Any]


def _start_worker(function: Callable[[Any], Any]) -> None:
    import signal

    global _function
    _function = function
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End a worker whose parent was killed; it would wait for tasks for ever."""
    from multiprocessing import parent_process
    from multiprocessing.connection import wait as wait_for

    parent = parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
        os._exit(1)


def _work(task: Any) -> Outcome[Any, Any]:
    return attempt(_function, task)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Set the thread limits, which workers read when they import numpy."""
    before = {name: os.environ.get(name) for name in _THREAD_LIMITS}
    os.environ.update(dict.fromkeys(_THREAD_LIMITS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
