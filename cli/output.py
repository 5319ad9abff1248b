"""What commands print: facts on standard output (text or JSON), messages on standard error."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def message(text: str) -> None:
    """One line on standard error. What a terminal would obey, from a name in a file, is shown as a question mark."""
    line = " ".join(text.split())
    print("".join(c if c.isprintable() else "?" for c in line), file=sys.stderr)


def print_json(facts: Any) -> None:
    """Facts as JSON; what is not a number (a value that is not known) becomes null."""
    print(json.dumps(_plain(facts), indent=2, ensure_ascii=False, allow_nan=False))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def print_card(title: str, sections: Sequence[tuple[str, Sequence[tuple[str, str]]]]) -> None:
    """A title and sections of aligned names and values; titles are bold on a terminal. Empty sections are left out."""
    width = max((len(name) for _, rows in sections for name, _ in rows), default=0)
    print(_bold(title))
    for heading, rows in sections:
        if not rows:
            continue
        if heading:
            print("\n" + _bold(heading))
        for name, value in rows:
            print(f"  {name:<{width}}  {value}")


def _bold(text: str) -> str:
    return f"\x1b[1m{text}\x1b[0m" if sys.stdout.isatty() else text


def print_table(headers: Iterable[tuple[str, bool]], rows: Iterable[Sequence[str]]) -> None:
    """A table, never wider than a terminal and never cut in a pipe; a header is (text, whether numbers follow)."""
    from rich.console import Console
    from rich.table import Table

    # Into a pipe a line is as long as it has to be.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 10_000)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for text, numeric in headers:
        table.add_column(text, justify="right" if numeric else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    with console.capture() as captured:
        console.print(table)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def percent(fraction: float) -> str:
    """A fraction in per cent, three digits.

    >>> percent(0.000098765)
    '0.00988 %'
    """
    return "0 %" if fraction == 0 else f"{100 * fraction:.3g} %"


def size(count: float) -> str:
    """A number of bytes as people read it.

    >>> size(1234), size(5_678_901)
    ('1.2 kB', '5.7 MB')
    """
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def count(number: int, noun: str) -> str:
    """
    >>> count(1, "file"), count(1784, "material")
    ('1 file', '1784 materials')
    """
    return f"{number} {noun}" + ("" if number == 1 else "s")


def unit(units: str) -> str:
    """Units of a column as people write them.

    >>> unit("e/angstrom^3"), unit("mu_B"), unit("1")
    ('e/Å^3', 'μB', '')
    """
    return "" if units == "1" else units.replace("angstrom", "Å").replace("mu_B", "μB").replace("byte", "bytes")


def grid(points: Sequence[int]) -> str:
    """
    >>> grid((24, 24, 36))
    '24 x 24 x 36'
    """
    return " x ".join(str(n) for n in points)
