"""What the page costs in a browser: bytes, time to a picture, how long a task keeps the page from answering.

A page is closed when it has been measured: one that stays open takes the processors from the next.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from pages import DRAWN, OpenPage, appears, pace
from playwright.sync_api import Page, Request

import chgdb
from chgdb.web.page import TYPES, Asset

#: A record of 150 points along each axis.
LARGE = "mp-554405"


class Cost(NamedTuple):
    """What something costs on a machine that does nothing else. longest: milliseconds of the longest task that kept the
    page from answering. slower: how many times longer the clock took here and now."""

    seconds: float
    slower: float
    longest: float = 0.0
    bytes: int = 0


class Stopwatch:
    """Seconds that something takes on a machine that does nothing else, as far as Linux tells how long threads waited.

    Threads of this process, of the server and of Chromium run for some time, and wait for a processor for some time,
    which they do not on a quiet machine. What was measured is divided by how many times longer both are than the first.
    """

    def __init__(self) -> None:
        self._ran, self._waited = _scheduled()
        self._began = time.perf_counter()

    def read(self) -> tuple[float, float]:
        """(seconds, how many times longer the clock took)."""
        taken = time.perf_counter() - self._began
        ran, waited = (
            max(now - before, 0) for now, before in zip(_scheduled(), (self._ran, self._waited), strict=True)
        )
        slower = pace() * ((ran + waited) / ran if ran else 1.0)
        return taken / slower, slower


def _scheduled() -> tuple[int, int]:
    """Nanoseconds for which all threads of this process and of those below it have run, and have waited to run."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    family, found = {os.getpid()}, True
    while found:
        found = {pid for pid, parent in parents.items() if parent in family} - family
        family |= found
    ran = waited = 0
    for pid in family:
        for file in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            with suppress(OSError, ValueError):
                numbers = file.read_text().split()
                ran, waited = ran + int(numbers[0]), waited + int(numbers[1])
    return ran, waited


@contextmanager
def longest_task(page: Page) -> Iterator[list[float]]:
    """Processor time in milliseconds of the longest task of the page's main thread; appended at the end.

    By Chromium's own trace: a thread that has to wait for a processor takes no longer by that.
    """
    browser = page.context.browser
    assert browser is not None
    browser.start_tracing(page=page, categories=["toplevel"])
    found: list[float] = []
    try:
        yield found
        page.evaluate("() => new Promise((done) => setTimeout(done, 300))")  # what is still to be drawn
    finally:
        events = json.loads(browser.stop_tracing())["traceEvents"]
    main = {
        (e["pid"], e["tid"]) for e in events if e["name"] == "thread_name" and e["args"]["name"] == "CrRendererMain"
    }
    taken = [e["tdur"] for e in events if e.get("ph") == "X" and "tdur" in e and (e["pid"], e["tid"]) in main]
    assert taken, "Chromium's trace has no times of threads"
    found.append(max(taken) / 1000 / pace())


def page_bytes() -> int:
    """All scripts and styles, as they are sent."""
    return sum(len(Asset.read(name).packed) for name in TYPES)


def first_picture(open_page: OpenPage, site: str) -> Cost:
    """Seconds and bytes until a material is drawn by a browser that has nothing in its cache.

    What only the table of properties takes comes after the picture.
    """
    finished: list[Request] = []
    page = open_page("about:blank")
    page.on("requestfinished", lambda request: finished.append(request))  # a built-in is refused
    watch = Stopwatch()
    page.goto(site + "/#/material/mp-6930")
    appears(page, DRAWN)
    seconds, slower = watch.read()
    sizes = {request.url: request.sizes()["responseBodySize"] for request in finished}
    page.context.close()
    counted = (n for u, n in sizes.items() if not re.search(r"/store/(?!head|index|payload|prior)", u))
    return Cost(seconds, slower, bytes=sum(counted))


def large_record(open_page: OpenPage, site: str) -> Cost:
    """Until a record is drawn."""
    page = open_page(site + "/#/file", "input[type=file]")
    return _drawn(page, lambda: page.evaluate(f"() => {{ location.hash = '#/material/{LARGE}' }}"))


def _drawn(page: Page, begin: Callable[[], Any]) -> Cost:
    """Until there is a picture of the whole grid."""
    with longest_task(page) as longest:
        watch = Stopwatch()
        begin()
        appears(page, DRAWN)
        seconds, slower = watch.read()
    page.context.close()
    return Cost(seconds, slower, longest[0])


def write_large(path: Path) -> None:
    """A CHGCAR of 60 MB."""
    chgdb.write(path, chgdb.open()[LARGE].density, format="chgcar")


def large_file(open_page: OpenPage, site: str, path: Path) -> Cost:
    """Until a file is read and drawn."""
    page = open_page(site + "/#/file", "input[type=file]")
    return _drawn(page, lambda: page.locator("input[type=file]").set_input_files(path))
