"""The figures that the page keeps: its size, how soon there is a picture, no task that stops the page for long.

Times are those of a machine that does nothing else; `best_of_six` takes them relative to its speed here and now.
"""

from __future__ import annotations

from pathlib import Path

from costs import LARGE, first_picture, large_file, large_record, page_bytes, write_large
from pages import OpenPage, best_of_six

import chgdb

#: Milliseconds that a task may keep the page from answering.
LONGEST = 200


def test_the_page_is_small() -> None:
    assert page_bytes() <= 200_000


def test_the_first_picture_of_a_cold_page(site: str, open_page: OpenPage) -> None:
    sizes = []

    def seconds() -> float:
        taken, size = first_picture(open_page, site)
        sizes.append(size)
        return taken

    assert best_of_six(1.5, seconds) < 1.5
    assert 100_000 < max(sizes) < 400_000


def test_a_large_record_stops_nothing(site: str, open_page: OpenPage, catalog: chgdb.Catalog) -> None:
    assert catalog[LARGE].grid == (150, 150, 150)
    assert best_of_six(LONGEST, lambda: large_record(open_page, site)[1]) < LONGEST


def test_a_large_file_stops_nothing(site: str, open_page: OpenPage, tmp_path: Path) -> None:
    """Dropped, read and drawn in less than 2 s, while the page answers."""
    path = tmp_path / "CHGCAR"
    write_large(path)
    assert path.stat().st_size > 58_000_000

    def part() -> float:
        """Of what is allowed, the larger of the two."""
        taken, longest = large_file(open_page, site, path)
        return max(taken / 2.0, longest / LONGEST)

    assert best_of_six(1, part) < 1
