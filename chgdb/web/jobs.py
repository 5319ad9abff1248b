"""What takes long waits for its turn, and too many are told to come back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

T = TypeVar("T")
#: Jobs that may wait while one runs: of those that send a file or ask a model, and of those that only decode or search.
WAITING = 4
READING = 64


class Queue:
    """One job at a time, and a few that wait for it. Whoever has a place need not fear to be refused later."""

    def __init__(self, waiting: int = WAITING) -> None:
        self._free = asyncio.Semaphore(1)
        self._most = waiting + 1
        self._taken = 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place to wait in, taken before a body is received. Raises `HTTPException` 503 where all are taken."""
        if self._taken >= self._most:
            raise HTTPException(503, "too many jobs are waiting: try again in a minute", {"retry-after": "60"})
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1

    async def turn(self, work: Callable[[], T]) -> T:
        """The result of work, for which a place has been taken, when it is its turn."""
        async with self._free:
            return await run_in_threadpool(work)

    async def run(self, work: Callable[[], T]) -> T:
        """The result of work. Raises `HTTPException` 503 where too many wait already."""
        with self.place():
            return await self.turn(work)
