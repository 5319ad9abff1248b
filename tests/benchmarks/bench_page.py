"""What the page costs, measured: `python tests/benchmarks/bench_page.py [--tries N] [--write]`.

Prints bytes, the time to a picture and the longest task that kept the page from answering; of several tries the best.
Times are those of a machine that does nothing else, as in the tests: see tests/web/costs.py. `--write` puts the table
into docs/how-to/look-in-a-browser.md: on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "web"))

from conftest import ARGUMENTS, CHROMIUM
from costs import first_picture, large_file, large_record, page_bytes, write_large
from pages import appears, serving
from playwright.sync_api import Browser, Page, sync_playwright

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "look-in-a-browser.md"
_TABLE = re.compile(r"(<!-- tests/benchmarks/bench_page.py -->\n).*?(<!-- end -->)", re.DOTALL)

#: What, what the tests let it be at most, what was measured.
Row = tuple[str, str, str]


def opener(browser: Browser) -> Callable[..., Page]:
    """Pages of browsers that have nothing in their cache."""

    def opened(url: str, until: str | None = None) -> Page:
        page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
        page.goto(url)
        if until:
            appears(page, until)
        return page

    return opened


def measured(browser: Browser, site: str, folder: Path, tries: int) -> tuple[list[Row], float]:
    """(rows of the table, how many times longer the clock took than on a machine that does nothing else)."""
    open_page = opener(browser)
    path = folder / "CHGCAR"
    write_large(path)
    first = [first_picture(open_page, site) for _ in range(tries)]
    record = [large_record(open_page, site) for _ in range(tries)]
    file = [large_file(open_page, site, path) for _ in range(tries)]
    seconds, longest = ([min(one[k] for one in found) for found in (first, record, file)] for k in (0, 2))
    size, slower = max(one.bytes for one in first), sorted(one.slower for one in first + record + file)
    dropped = f"a CHGCAR of {path.stat().st_size / 1e6:.0f} MB (150 points an axis), dropped and drawn"
    rows = [
        ("the page, all scripts and styles, gzip", "200 kB", f"{page_bytes() / 1e3:.0f} kB"),
        ("the first picture of a page that is not in the cache: bytes", "400 kB", f"{size / 1e3:.0f} kB"),
        ("the same: time", "1.5 s", f"{seconds[0]:.1f} s"),
        (dropped, "2 s", f"{seconds[2]:.1f} s"),
        ("the longest time that this keeps the page from answering", "200 ms", f"{longest[2]:.0f} ms"),
        ("the same of a record with 150 points an axis", "200 ms", f"{longest[1]:.0f} ms"),
    ]
    return rows, slower[len(slower) // 2]


def table(rows: list[Row]) -> str:
    head = ["| what | at most | measured |", "| --- | ---: | ---: |"]
    return "\n".join([*head, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=3)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, serving() as site, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        rows, slower = measured(browser, site, Path(folder), given.tries)
        browser.close()
    print(
        f"{os.cpu_count()} processors; {slower:.2f} times as long on the clock as on a machine that does nothing else"
    )
    print(table(rows), end="")
    if given.write:
        text = PAGE.read_text(encoding="utf-8")
        new, count = _TABLE.subn(lambda m: m[1] + table(rows) + m[2], text)
        assert count == 1, PAGE
        PAGE.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
