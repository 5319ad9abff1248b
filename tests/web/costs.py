"""What the page costs in a browser: bytes, time to a picture, how long a task keeps the page from answering.

A page is closed when it has been measured: one that stays open takes the processors from the next.
"""

from __future__ import annotations

import re
import time
from pathlib import Path

from pages import DRAWN, OpenPage, appears
from playwright.sync_api import Page, Request

import chgdb
from chgdb.web.page import TYPES, Asset

#: A record of 150 points along each axis.
LARGE = "mp-554405"

WATCH = """() => {
  window.longest = 0
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) window.longest = Math.max(window.longest, entry.duration)
  }).observe({ type: 'longtask' })
}"""


def longest_task(page: Page) -> float:
    """Milliseconds, since WATCH; after what is still to be drawn."""
    page.evaluate("() => new Promise((done) => setTimeout(done, 300))")
    return float(page.evaluate("() => window.longest"))


def page_bytes() -> int:
    """All scripts and styles, as they are sent."""
    return sum(len(Asset.read(name).packed) for name in TYPES)


def first_picture(open_page: OpenPage, site: str) -> tuple[float, int]:
    """(seconds, bytes) until a material is drawn by a browser that has nothing in its cache.

    What only the table of properties takes comes after the picture.
    """
    finished: list[Request] = []
    page = open_page("about:blank")
    page.on("requestfinished", lambda request: finished.append(request))  # a built-in is refused
    began = time.perf_counter()
    page.goto(site + "/#/material/mp-6930")
    appears(page, DRAWN)
    taken = time.perf_counter() - began
    sizes = {request.url: request.sizes()["responseBodySize"] for request in finished}
    page.context.close()
    return taken, sum(n for u, n in sizes.items() if not re.search(r"/store/(?!head|index|payload|prior)", u))


def large_record(open_page: OpenPage, site: str) -> tuple[float, float]:
    """(seconds until it is drawn, milliseconds of the longest task)."""
    page = open_page(site + "/#/file", "input[type=file]")
    page.evaluate(WATCH)
    began = time.perf_counter()
    page.evaluate(f"() => {{ location.hash = '#/material/{LARGE}' }}")
    appears(page, DRAWN)
    return _drawn(page, began)


def _drawn(page: Page, began: float) -> tuple[float, float]:
    taken = time.perf_counter() - began
    longest = longest_task(page)
    page.context.close()
    return taken, longest


def write_large(path: Path) -> None:
    """A CHGCAR of 60 MB."""
    chgdb.write(path, chgdb.open()[LARGE].density, format="chgcar")


def large_file(open_page: OpenPage, site: str, path: Path) -> tuple[float, float]:
    """(seconds until it is read and drawn, milliseconds of the longest task)."""
    page = open_page(site + "/#/file", "input[type=file]")
    page.evaluate(WATCH)
    began = time.perf_counter()
    page.locator("input[type=file]").set_input_files(path)
    appears(page, DRAWN)
    return _drawn(page, began)
