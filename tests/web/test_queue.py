"""Long jobs wait for each other, and not for ever."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from starlette.exceptions import HTTPException

import chgdb
from chgdb.web import uploads
from chgdb.web.jobs import READING, WAITING, Queue
from chgdb.web.server import create_app


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """In a thread of its own: Playwright has a loop in the main one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result(timeout=60)


def client(catalog: chgdb.Catalog) -> httpx.AsyncClient:
    """Of a server in this process."""
    transport = httpx.ASGITransport(app=create_app(catalog))
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=60)


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


@pytest.mark.parametrize(
    "path",
    [
        "materials/mp-149/density?grid=8x8x8",
        "materials/mp-149/slice?width=8&height=8",
        "optimade/v1/structures?filter=nsites<3&response_fields=id",
    ],
)
def test_what_decodes_or_searches_waits_too(catalog: chgdb.Catalog, path: str) -> None:
    async def crowd() -> list[httpx.Response]:
        async with client(catalog) as asking:
            await asking.get(f"/api/v1/{path}")  # what is read once is read
            return await asyncio.gather(*(asking.get(f"/api/v1/{path}") for _ in range(READING + 10)))

    answers = run(crowd())
    assert Counter(a.status_code for a in answers) == {200: READING + 1, 503: 9}
    assert all("too many jobs" in a.text for a in answers if a.status_code == 503)


async def slowly(pause: float) -> AsyncIterator[bytes]:
    """A body that begins, and goes on much later."""
    yield b"half of"
    await asyncio.sleep(pause)
    yield b" it"


def test_a_place_is_taken_before_a_file_comes(catalog: chgdb.Catalog) -> None:
    """So that no more files lie on the disk than may wait."""

    async def crowd() -> tuple[list[httpx.Response], httpx.Response]:
        async with client(catalog) as asking:
            slow = [
                asyncio.create_task(asking.post("/api/v1/predict", content=slowly(1.0))) for _ in range(WAITING + 1)
            ]
            await asyncio.sleep(0.3)
            late = await asking.post("/api/v1/predict", content=b"x")
            return await asyncio.gather(*slow), late

    slow, late = run(crowd())
    assert late.status_code == 503
    assert {a.status_code for a in slow} == {422}  # they were no densities


def test_a_file_that_stops_coming_makes_room(catalog: chgdb.Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "SILENCE", 0.2)

    async def stopped() -> httpx.Response:
        async with client(catalog) as asking:
            return await asking.post("/api/v1/predict", content=slowly(30))

    began = time.monotonic()
    answer = run(stopped())
    assert answer.status_code == 408
    assert "too slowly" in answer.json()["detail"]
    assert time.monotonic() - began < 20
