"""The output of commands: facts on standard output (text or JSON), messages on standard error."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from chgdb.text import shown_text
from chgdb.urls import without_secrets


def _text(text: str) -> str:
    """A line as text and nothing else, without the secrets of URLs in it."""
    return shown_text(without_secrets(text))


def message(text: str) -> None:
    """One line on standard error, without the secrets of URLs in it."""
    with suppress(OSError):  # the reader of standard error has gone: there is nobody to say it to
        print(shown_text(" ".join(without_secrets(text).split())), file=sys.stderr, flush=True)


def show(text: str) -> None:
    """Lines on standard output, in which names from files are text and nothing else."""
    print("\n".join(map(_text, text.split("\n"))))


def print_json(facts: Any) -> None:
    """Facts as JSON, without the secrets of URLs; what is not a number (a value that is not known) becomes null."""
    text = json.dumps(_plain(facts), indent=2, ensure_ascii=False, allow_nan=False)
    # JSON itself only escapes what is below the blank: a terminal obeys more, and half a character is none.
    print("".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str):
        return without_secrets(value)
    return value


def print_card(title: str, sections: Sequence[tuple[str, Sequence[tuple[str, str]]]]) -> None:
    """A title and sections of aligned names and values; titles are bold on a terminal. Empty sections are left out."""
    width = max((len(name) for _, rows in sections for name, _ in rows), default=0)
    print(_bold(_text(title)))
    for heading, rows in sections:
        if not rows:
            continue
        if heading:
            print("\n" + _bold(_text(heading)))
        for name, value in rows:
            print(f"  {shown_text(name):<{width}}  {_text(value)}")


def _bold(text: str) -> str:
    return f"\x1b[1m{text}\x1b[0m" if sys.stdout.isatty() else text


def print_table(headers: Iterable[tuple[str, bool]], rows: Iterable[Sequence[str]]) -> None:
    """A table of which nothing is ever cut; a header is (text, whether numbers follow).

    Headers take several lines if a terminal is too narrow; where that does not do, either, each row becomes
    a paragraph that begins with its first cell.
    """
    from rich.cells import cell_len
    from rich.console import Console

    titles = [(shown_text(text), numeric) for text, numeric in headers]
    cells = [[_text(cell) for cell in row] for row in rows]
    longest = [max([cell_len(row[i]) for row in cells], default=0) for i in range(len(titles))]
    widths = [max(width, cell_len(text)) for width, (text, _) in zip(longest, titles, strict=True)]
    if sys.stdout.isatty():
        room = Console().width - _GAP * (len(titles) - 1)
        if sum(widths) > room:
            words = [max(map(cell_len, text.split()), default=0) for text, _ in titles]
            widths = [max(pair) for pair in zip(longest, words, strict=True)]
        if sum(widths) > room:
            _print_paragraphs([text for text, _ in titles], cells)
            return
    _print_grid(titles, cells, widths)


_GAP = 2  # blanks between columns


def _print_grid(titles: list[tuple[str, bool]], cells: list[list[str]], widths: list[int]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, width=sum(widths) + _GAP * len(widths))
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for (text, numeric), width in zip(titles, widths, strict=True):
        table.add_column(Text(text), justify="right" if numeric else "left", width=width, vertical="bottom")
    for row in cells:
        table.add_row(*map(Text, row))
    with console.capture() as captured:
        console.print(table)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def _print_paragraphs(titles: list[str], cells: list[list[str]]) -> None:
    width = max(map(len, titles[1:]), default=0)
    for first, *others in cells:
        print(_bold(first))
        for title, cell in zip(titles[1:], others, strict=True):
            print(f"  {title:<{width}}  {cell}".rstrip())


def write_csv(columns: Mapping[str, Sequence[Any]], output: str | None) -> None:
    """Columns as CSV, to a file that appears when it is complete, or to standard output."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(columns)
    table.writerows(zip(*columns.values(), strict=True))
    if output is None:
        sys.stdout.write(text.getvalue())
        return
    from chgdb.formats.streams import open_writer

    with open_writer(output) as stream:
        stream.write(text.getvalue().encode())
    message(f"{output}: {len(next(iter(columns.values())))} rows")


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
