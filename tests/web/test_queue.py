"""Long jobs wait for each other, and not for ever."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from starlette.exceptions import HTTPException

from chgdb.web.uploads import WAITING, Queue


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """In a thread of its own: Playwright has a loop in the main one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result(timeout=60)


def test_one_at_a_time_and_a_few_that_wait() -> None:
    running = 0
    most = 0

    def work() -> str:
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.02)
        running -= 1
        return "done"

    async def crowd(size: int) -> list[object]:
        queue = Queue()
        return await asyncio.gather(*(queue.run(work) for _ in range(size)), return_exceptions=True)

    answers = run(crowd(WAITING + 4))
    refused = [a for a in answers if isinstance(a, HTTPException)]
    assert most == 1
    assert answers.count("done") == WAITING + 1  # one runs while the others wait
    assert len(refused) == 3
    assert all(a.status_code == 503 and a.headers == {"retry-after": "60"} for a in refused)


def test_a_job_that_fails_makes_room() -> None:
    async def twice() -> str:
        queue = Queue()
        for _ in range(WAITING + 3):
            with pytest.raises(ZeroDivisionError):
                await queue.run(lambda: 1 // 0)
        return await queue.run(lambda: "done")

    assert run(twice()) == "done"
