"""Columns that a user joins to materials by ids."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import FormatError, StoreError
from ..store.format import COLUMNS, MEASURED
from ..store.table import check_column_name, check_value
from .tables import DELIMITERS, read_table
from .values import is_number, known, split_units, typed


@dataclass(frozen=True)
class Properties:
    """Columns joined by id: id -> column -> value, and the columns' attributes.

    source: the file that they come from. notes: a line for each thing that was left out, or may not be meant.
    """

    values: Mapping[str, Mapping[str, Any]]
    attributes: Mapping[str, Mapping[str, str]]
    source: str = ""
    notes: tuple[str, ...] = ()

    def unmatched(self, materials: Collection[str]) -> str:
        """The note on rows without a material, and materials without a row. Empty where there are none."""
        known = set(materials)
        rows = [material_id for material_id in self.values if material_id not in known]
        if not rows:
            return ""
        without = sorted(known - set(self.values))
        line = f"{self.source}: {len(self.values) - len(rows)} of {len(self.values)} rows have the id of a material"
        line += f" ({_some(rows)} {'has' if len(rows) == 1 else 'have'} none)"
        return line + (f"; {len(without)} of {len(materials)} materials have no row ({_some(without)})" * bool(without))


def _some(ids: Collection[str]) -> str:
    """
    >>> _some(["a", "b"]), _some(list("abcdef"))
    ('a, b', 'a, b, c, ...')
    """
    return ", ".join(list(ids)[:3]) + (", ..." if len(ids) > 3 else "")


def read_properties(path: str | Path) -> Properties:
    """Read a CSV of properties, joined by its column `material_id` (or `id`, or the first one).

    Commas, semicolons or tabs separate the cells. Headers carry units: `bulk_modulus_GPa`, `bulk_modulus [GPa]` and
    `bulk_modulus (GPa)` become the column `bulk_modulus` in GPa. The values of a column decide whether it has numbers,
    true and false, or text (see `values.typed`). Cells that are empty or say NA, null, nan or - are missing values.
    Columns that a store makes itself (formula, volume...) are left out.
    Raises `FormatError` with the line for a file that is not a CSV or names a material twice; `StoreError` for a column
    with an impossible name or impossible values.
    """
    path = Path(path)
    table = read_table(path)
    key = table.column("material_id", "id") or 0
    if len(table.header) == 1:
        kinds = ", ".join(DELIMITERS.values())
        raise FormatError(f"{path}: line {table.line}: one column only; cells are separated by {kinds}")
    if not table.rows:
        raise FormatError(f"{path}: line {table.line}: no rows below the header")
    ids: list[str] = []
    for line, cells in table.rows:
        if not cells[key]:
            raise FormatError(f"{path}: line {line}: no id in the column {table.header[key]}")
        ids.append(cells[key])
    _check_once(path, ids, [line for line, _ in table.rows])
    values: dict[str, dict[str, Any]] = {material_id: {} for material_id in ids}
    attributes: dict[str, dict[str, str]] = {}
    own, notes = [], []
    for place, title in enumerate(table.header):
        name, units = split_units(title)
        if place == key or not title:  # a column without a title is an index of pandas
            continue
        if name in MEASURED:
            own.append(name)
            continue
        if name in attributes:
            raise FormatError(f"{path}: line {table.line}: two columns would be called {name}")
        try:
            check_column_name(name)
        except StoreError as error:
            raise FormatError(f"{path}: line {table.line}: the column {title!r}: {error}") from None
        attributes[name] = {"long_name": name.replace("_", " ")} | ({"units": units} if units else {})
        lines = [line for line, _ in table.rows]
        column = _column(path, name, [cells[place] for _, cells in table.rows], lines, bool(units))
        if note := _mixed(path, name, column):
            notes.append(note)
        for material_id, value in zip(ids, column, strict=True):
            if value is not None:
                values[material_id][name] = value
    if own:
        notes.append(f"{path}: {', '.join(own)}: left out, a store measures these itself")
    return Properties(values, attributes, str(path), tuple(notes))


def _check_once(path: Path, ids: list[str], lines: list[int]) -> None:
    seen: set[str] = set()
    for material_id, line in zip(ids, lines, strict=True):
        if material_id in seen:
            raise FormatError(f"{path}: line {line}: {material_id} appears a second time")
        seen.add(material_id)


def _column(path: Path, name: str, cells: list[str], lines: list[int], has_unit: bool) -> list[Any]:
    """Values of one column; of the type of the store's own column where there is one."""
    if name in COLUMNS and COLUMNS[name].dtype == "string":
        return known(cells)
    try:
        values = typed(cells, quantity=has_unit or name in COLUMNS)
    except ValueError as error:
        raise FormatError(f"{path}: column {name}: {error}") from None
    for line, value in zip(lines, values, strict=True):
        try:
            check_value(name, value)
        except StoreError as error:
            raise FormatError(f"{path}: line {line}: {error}") from None
    return values


def _mixed(path: Path, name: str, column: list[Any]) -> str:
    """The note on a column that is text because a few of its values are not numbers."""
    given = [value for value in column if value is not None]
    if not given or not isinstance(given[0], str):
        return ""
    odd = [value for value in given if not is_number(value)]
    if not odd or len(odd) > len(given) / 2 or any("_" in value for value in given):
        return ""
    return f"{path}: column {name} is text, for {len(odd)} of its {len(given)} values are no numbers: {_some(odd)}"
