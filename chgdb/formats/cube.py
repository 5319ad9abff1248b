"""Gaussian cube files: one scalar field, here the total density in e/bohr^3, with lengths in bohr.

The comments say which field a cube holds, mostly the second one, or nothing does (see `quantities`). A field with
another name than a total density is refused. Values are per cubic bohr, unless a comment says per cubic angstrom.

The lines are: two comments; number of atoms and origin; for each axis the number of voxels and the voxel's vector; for
each atom its number, a charge and its position; then the values, z fastest. See https://paulbourke.net/dataformats/cube.

The format does not know of a periodic cell. The cell is number of voxels times voxel vector, as in ASE and VESTA. The
origin is subtracted from the positions, so that grid point 0 is the fractional coordinate 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import IO

import numpy as np

from ..density import Crystal, Density, ScalarField
from ..errors import DensityError, QuantityError
from ..fortran import fields, parse_number
from .numbers import FIELD, check_lengths, put_numbers, read_values
from .quantities import is_per_angstrom, our_quantity, quantity_of, quantity_of_name
from .streams import Reader, bare_name, text_to_bytes

NAMES = ("*.cube", "*.cub", "*.CUBE", "*.CUB")
ONE_CHANNEL = True

#: Bohr radius in Å, CODATA 2018.
BOHR = 0.529177210903
#: Hartree energy in eV, CODATA 2018.
HARTREE = 27.211386245988

_PER_LINE = 6
_INTEGER = re.compile(rb"[+-]?\d{1,9}")
_RUN_IN = re.compile(rb"^(\s*[+-]?\d+)([+-]\d*\.)")  # a number of atoms without a blank before a coordinate


def recognises(head: bytes) -> bool:
    """Whether lines 3 to 6 each have a whole number and three real ones."""
    rows = [fields(_RUN_IN.sub(rb"\1 \2", line)) for line in head.split(b"\n")[2:6]]
    if len(rows) < 4 or any(len(row) < 4 or not _INTEGER.fullmatch(row[0]) for row in rows):
        return False
    try:
        return all(np.isfinite(parse_number(token)) for row in rows for token in row[1:4])
    except ValueError:
        return False


def read(reader: Reader, *, elements: Sequence[str] | None = None) -> Density:
    """A density from an open cube file. `elements` is not used: the file has atomic numbers.

    A negative number of voxels means lengths in Å. A negative number of atoms means a line that numbers the data sets.
    Raises `FormatError` for several data sets in one file, and for orbitals and other quantities.
    """
    comments = [reader.readline() for _ in range(2)]
    titles = [comment.decode("utf-8", "replace").strip() for comment in comments]
    quantity = _quantity(reader, titles)
    n_atoms, rest = _row(reader, "the number of atoms and the origin", 3)
    origin = np.array(rest[:3])
    if rest[3:] not in ([], [1.0]):
        raise reader.error(f"{rest[3]:g} values at each point; a density has one: split the file first")
    axes = [_row(reader, f"the voxels along {axis} and the voxel's vector", 3) for axis in "xyz"]
    grid = tuple(abs(n) for n, _ in axes)
    if 0 in grid:
        raise reader.error(f"a grid of {'x'.join(map(str, grid))} has no points")
    in_angstrom = min(n for n, _ in axes) < 0
    length = 1.0 if in_angstrom else BOHR
    cell = np.array([abs(n) * np.array(vector[:3]) * length for n, vector in axes])
    numbers, positions = [], []
    for _ in range(abs(n_atoms)):
        number, row = _row(reader, "an atom: its number, a charge and three coordinates", 4)
        numbers.append(number)
        positions.append(row[1:4])
    try:
        crystal = Crystal(cell, np.zeros((0, 3)), np.zeros(0))
        if numbers:
            cartesian = (np.array(positions) - origin) * length
            crystal = Crystal(cell, np.linalg.solve(cell.T, cartesian.T).T, np.array(numbers))
    except DensityError as error:
        raise reader.error(str(error)) from None
    if n_atoms < 0:
        _check_data_sets(reader, quantity)
    values = read_values(reader, grid[0] * grid[1] * grid[2], 1.0 if is_per_angstrom(titles) else BOHR**3)
    while line := reader.readline():
        if line.strip():
            raise reader.error("more values than the grid has points")
    comment = comments[0].decode("utf-8", "surrogateescape").rstrip("\r\n")
    try:
        return Density(crystal, {"total": values.reshape(grid)}, {"comment": comment})
    except DensityError as error:
        raise reader.error(str(error)) from None


def _row(reader: Reader, expected: str, reals: int) -> tuple[int, list[float]]:
    """A whole number and at least `reals` real ones, on the next line."""
    line = reader.readline()
    if not line:
        raise reader.error(f"the file ends where {expected} should follow: it is truncated", reader.line + 1)
    tokens = fields(_RUN_IN.sub(rb"\1 \2", line))[:6]
    if len(tokens) <= reals or not _INTEGER.fullmatch(tokens[0]):
        shown = line[:40].decode("ascii", "replace").strip()
        raise reader.error(f"expected {expected}, found {shown!r}")
    try:
        values = [parse_number(token) for token in tokens[1:]]
        if max(map(abs, values)) > 1e30:
            raise ValueError(f"{max(map(abs, values))} is out of range for a length")
    except ValueError as error:
        raise reader.error(f"expected {expected}: {error}") from None
    return int(tokens[0]), values


def _quantity(reader: Reader, lines: list[str]) -> str | None:
    """As `quantities.quantity_of`, by the file's name, too. Raises `FormatError` if it is not a total density."""
    if our_quantity(lines[0]) is not None:
        return our_quantity(lines[0])
    found, where = quantity_of(lines), f"by its comment {max(reversed(lines), key=_tells)!r}"
    if found is None:
        found, where = quantity_of_name(bare_name(reader.name), lines), "by its name"
    if found:
        raise reader.error(f"holds {found}, {where}, and not the total density", 2, QuantityError)
    return found


def _tells(line: str) -> bool:
    return bool(quantity_of([line]))


def _check_data_sets(reader: Reader, quantity: str | None) -> None:
    """Read the line after the atoms where their number is negative: the number of data sets, and their identifiers.

    Programs write it for orbitals. One data set with the name of a density is a density.
    """
    tokens = reader.readline().split()
    if not tokens or not _INTEGER.fullmatch(tokens[0]):
        raise reader.error("expected the number of data sets, as the number of atoms is negative")
    count = int(tokens[0])
    if count != 1 or len(tokens) != 2 or quantity is None:
        raise reader.error(
            f"{count} molecular orbital(s), not the total density, as the number of atoms is negative: write the "
            "density to a cube file instead",
            kind=QuantityError,
        )


def write(stream: IO[bytes], density: Density, channel: str = "total") -> None:
    """Write one channel, the total density unless another is asked for. A cube file has no place for more.

    Lengths and values have at least 11 significant digits, so columns are wider than Gaussian's own. Every reader that
    separates by blanks (ASE, VESTA, VMD, Jmol, pymatgen) takes them.
    """
    crystal = density.crystal
    comment = str(density.extras.get("comment", "")).splitlines() or [""]
    what = "Total electronic charge density, e/bohr^3"
    if isinstance(density, ScalarField):
        what = f"{density.quantity.capitalize()}, per bohr^3"
    if channel != "total":
        what = f"{channel.replace('_', ' ').replace('magnetization', 'Magnetization density')}, mu_B/bohr^3"
    lines = [comment[0].strip() or crystal.formula, f"{what}; z fastest"]
    lines.append(_line(len(crystal), [0.0, 0.0, 0.0]))
    lines += [_line(n, row / n / BOHR) for n, row in zip(density.grid, crystal.cell, strict=True)]
    with np.errstate(over="ignore", invalid="ignore"):
        positions = crystal.positions @ crystal.cell / BOHR
    check_lengths(crystal.cell / BOHR, positions)
    lines += [
        _line(number, [float(number), *position]) for number, position in zip(crystal.numbers, positions, strict=True)
    ]
    stream.write(text_to_bytes("".join(line + "\n" for line in lines)))
    for text in _rows(density.channels[channel]):
        stream.write(text)


def _line(number: int, values: Sequence[float] | np.ndarray) -> str:
    return f"{number:5d}" + "".join(f" {value + 0.0:19.14f}" for value in values)


def _rows(values: np.ndarray) -> Iterator[memoryview]:
    """Lines of six values; each row along z begins a new line. A piece is valid until the next one is asked for."""
    nz = values.shape[2]
    starts = range(0, nz, _PER_LINE)
    text = np.empty((max(1, (1 << 14) // nz), nz * FIELD + len(starts)), np.uint8)
    rows = values.reshape(-1, nz)
    for first in range(0, len(rows), len(text)):
        part = rows[first : first + len(text)].astype(float) * BOHR**3
        offset = 0
        for start in starts:
            columns = part[:, start : start + _PER_LINE]
            put_numbers(columns, text, offset)
            offset += columns.shape[1] * FIELD + 1
            text[: len(part), offset - 1] = ord("\n")
        yield text[: len(part)].data.cast("B")
