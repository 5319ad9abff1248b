"""Tables that people make: CSV from spreadsheets and programs, to cells of text."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import FormatError
from ..formats.content import by_signature

#: Separators of cells, and their names in messages.
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_ENCODINGS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


@dataclass(frozen=True)
class Table:
    """A table's header, and its rows as (line where it ends, cells). Cells have no blanks at their ends.

    line: of the header. delimiter: the separator of the cells.
    """

    path: Path
    header: list[str]
    rows: list[tuple[int, list[str]]]
    line: int
    delimiter: str

    def column(self, *names: str) -> int | None:
        """Index of the first column with one of these names, in upper or lower case. None where there is none."""
        return next((i for name in names for i, title in enumerate(self.header) if title.lower() == name), None)


def read_table(path: Path) -> Table:
    """Read a table. Its separator is the comma, semicolon or tab that gives all rows the same number of cells.

    The text is UTF-8, or UTF-16 with a byte order mark. Empty rows, empty columns at the right, the line "sep=;" that
    spreadsheets put first, and lines that begin with # before the header are left out. Raises `FormatError` with
    the line.
    """
    text = _text(path)
    start = 0
    if text[:4].lower() == "sep=":
        start = 1
        text = text[text.find("\n") + 1 :] if "\n" in text else ""
    text, remarks = _without_remarks(text)
    start += remarks
    read = {delimiter: _rows(text, delimiter, path, start) for delimiter in DELIMITERS}
    delimiter = max(DELIMITERS, key=lambda d: _evenness(read[d]))
    found = read[delimiter]
    if isinstance(found, FormatError):
        raise found
    if not found:
        raise FormatError(f"{path}: line 1: expected a header with a different name for each column")
    line, header = found[0]
    width = len(header)
    while width and not header[width - 1] and not any(any(row[width - 1 :]) for _, row in found[1:]):
        width -= 1
    header = header[:width]
    if not all(header[1:]) or not header or len(set(header)) < width:  # pandas leaves the title of an index empty
        raise FormatError(f"{path}: line {line}: expected a header with a different name for each column")
    rows = []
    for number, cells in found[1:]:
        if len(cells) < width or any(cells[width:]):
            raise FormatError(f"{path}: line {number}: expected {width} cells, found {len(cells)}")
        if "\0" in "".join(cells):
            raise FormatError(f"{path}: line {number}: a byte 0: not a text file")
        rows.append((number, cells[:width]))
    return Table(path, header, rows, line, delimiter)


def _without_remarks(text: str) -> tuple[str, int]:
    """A table without the lines that begin with # before it, and the number of these lines.

    A header may begin so, too: it is the one that names the ids.
    """
    count = 0
    while text.startswith("#"):
        line, _, rest = text.partition("\n")
        titles = [title.strip(' "\r').lower() for title in re.split(r"[,;\t]", line.lstrip("#"))]
        if len(titles) > 1 and {"material_id", "id", "path"} & {*titles}:
            return text if not titles[0] else line.lstrip("# ") + "\n" + rest, count
        text, count = rest, count + 1
    return text, count


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
        if by_signature(data[:512]):
            what = "a spreadsheet" if data.startswith((b"PK", b"\xd0\xcf\x11\xe0")) else "compressed or binary"
            raise FormatError(f"{path}: {what}, not CSV: save it as CSV, uncompressed")
        encoding = next((name for mark, name in _ENCODINGS if data.startswith(mark)), "utf-8")
        return data.decode(encoding)
    except OSError as error:
        raise FormatError(f"{path}: cannot be read as CSV: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise FormatError(f"{path}: cannot be read as CSV: {error}: save it as UTF-8") from None


def _rows(text: str, delimiter: str, path: Path, start: int) -> list[tuple[int, list[str]]] | FormatError:
    """The rows that are not empty, or the error where the text cannot be split in this way."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        return list(_filled(reader, start))
    except csv.Error as error:
        return FormatError(f"{path}: line {reader.line_num + start}: cannot be read as CSV: {error}")


def _filled(reader: csv._reader, start: int) -> Iterator[tuple[int, list[str]]]:  # type: ignore[name-defined]
    for row in reader:
        cells = [cell.strip() for cell in row]
        if any(cells):
            yield reader.line_num + start, cells


def _evenness(rows: list[tuple[int, list[str]]] | FormatError) -> tuple[bool, bool, int]:
    """How well a delimiter fits.

    The result is whether the text can be split so, whether all rows have the same number of cells and more than one,
    and the number of cells in the header.
    """
    if isinstance(rows, FormatError) or not rows:
        return not isinstance(rows, FormatError), False, 0
    widths = {len(cells) for _, cells in rows}
    return True, len(widths) == 1 and widths != {1}, len(rows[0][1])
