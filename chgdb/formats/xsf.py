"""XSF of XCrySDen: a structure, and scalar fields on grids. Read and written.

Lines beginning with # are comments. A file has CRYSTAL (or SLAB, POLYMER) with the cell in PRIMVEC and the atoms in
PRIMCOORD, or MOLECULE and ATOMS without a cell. Blocks of grids follow. Each grid has its number of points, origin,
three spanning vectors and values, x fastest. Lengths are in Å. See http://www.xcrysden.org/doc/XSF.html.

A grid of a crystal is "general": the points of its far faces repeat those of the near ones, so that n + 1 points span
n steps. ASE's `write_xsf` repeats none, and spans (n + 1)/n of the cell, which tells it. Other grids without the
repeated points are accepted where their span says so.

The format has no unit for values. pp.x, cut3d, rho2xsf and others write e/bohr^3. This is the unit unless a comment or
the name of the block says per Å^3, as in files of chgdb. A density with more electrons than its atoms have is refused.
Several grids in a file are channels of a density only under the names that chgdb gives them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO

import numpy as np

from ..density import CHANNELS, Crystal, Density, ScalarField
from ..elements import SYMBOLS, species_number
from ..errors import DensityError, QuantityError
from ..fortran import parse_number
from .chgcar import StructureAlone
from .cube import BOHR
from .numbers import check_lengths, lines_of_five, read_values
from .quantities import is_per_angstrom, our_quantity, quantity_of, quantity_of_name
from .streams import Reader, bare_name, text_to_bytes

NAMES = ("*.xsf",)
STRUCTURES = True

_REMARKS = rb"(?:[ \t]*(?:#[^\n]*)?\r?\n)*"
_BEGIN = re.compile(
    _REMARKS + rb"[ \t]*(ANIMSTEPS\s+\d+|CRYSTAL|SLAB|POLYMER|MOLECULE|DIM-GROUP|ATOMS|PRIMVEC|"
    rb"BEGIN_BLOCK_DATAGRID_?[23]D\w*)[ \t]*\r?(\n|\Z)",
    re.IGNORECASE,
)
_SAME = 2e-5  # of the largest value; repeated points have the same digits
_FITS = 1e-4  # of a lattice vector; spans have six decimals
_MOST_CELLS = 64  # maximum number of primitive cells that a grid may cover
_PER_ANGSTROM = "density_in_e_per_cubic_angstrom"


@dataclass
class _Grid:
    """One grid: its names, its line, (3, 3) spanning vectors, origin, and (nx, ny, nz) values."""

    name: str
    line: int
    origin: np.ndarray
    span: np.ndarray
    values: np.ndarray


@dataclass
class _Content:
    comments: list[str] = field(default_factory=list)
    cell: np.ndarray | None = None
    numbers: list[int] = field(default_factory=list)
    positions: list[list[float]] = field(default_factory=list)
    grids: list[_Grid] = field(default_factory=list)
    blocks: list[str] = field(default_factory=list)


def recognises(head: bytes) -> bool:
    """Whether the first line that is not a comment is a keyword of XSF."""
    return _BEGIN.match(head) is not None


def read(reader: Reader, *, elements: Sequence[str] | None = None) -> Density:
    """A density from an open XSF file. `elements` is not used: the file has them.

    Raises `StructureAlone` (a `FormatError` with the crystal) for a file without a grid; `FormatError` for several
    grids, a grid of another region than the cell, other quantities, and files of several steps.
    """
    content = _parse(reader)
    if not content.grids:
        if content.cell is None:
            raise reader.error("holds no density and no cell: a crystal has three lattice vectors")
        raise StructureAlone(reader.error("holds a structure and no density"), _crystal(reader, content, content.cell))
    quantity = _quantity(reader, content)
    names = tuple(grid.name.lower() for grid in content.grids)
    if len(names) > 1 and names != CHANNELS.get(len(names)):
        raise reader.error(
            f"{len(names)} grids ({', '.join(grid.name or 'without a name' for grid in content.grids)[:120]}); a "
            "density has one: keep the total density alone",
            content.grids[1].line,
        )
    first = content.grids[0]
    factor = 1.0 if is_per_angstrom([text.replace("_", " ") for text in _texts(content)]) else 1 / BOHR**3
    channels = {}
    for name, grid in zip(CHANNELS[len(names)], content.grids, strict=True):
        if np.abs(grid.span - first.span).max() > 1e-6 or np.abs(grid.origin - first.origin).max() > 1e-6:
            raise reader.error("this grid covers another region than the first one", grid.line)
        values, cell = _periodic(reader, grid, content.cell)
        channels[name] = values * factor
    try:
        crystal = _crystal(reader, content, cell, first.origin)
        extras = {"comment": content.comments[0]} if content.comments else {}
        density = Density(crystal, channels, extras)
    except DensityError as error:
        raise reader.error(str(error), first.line) from None
    if not quantity and factor != 1.0:
        _check_count(reader, density, first.line)
    return density


# Parts of a file ---------------------------------------------------------------------------------------------------


def _parse(reader: Reader) -> _Content:
    """Read a whole file."""
    content = _Content()
    while (line := _line(reader, content)) is not None:
        word, *rest = line.split()
        keyword = word.upper()
        if keyword == "ANIMSTEPS":
            if rest != ["1"]:
                raise reader.error("several steps (ANIMSTEPS); keep the one whose density you want")
        elif keyword == "DIM-GROUP":
            _line(reader, content)
        elif keyword in ("PRIMVEC", "CONVVEC"):
            vectors = np.array([_reals(reader, content, 3, "a lattice vector") for _ in range(3)])
            content.cell = vectors if keyword == "PRIMVEC" else content.cell
        elif keyword in ("PRIMCOORD", "CONVCOORD"):
            count = _integers(reader, content, 1, "the number of atoms")[0]
            atoms = [_atom(reader, _line(reader, content) or "") for _ in range(count)]
            if keyword == "PRIMCOORD":
                content.numbers, content.positions = [n for n, _ in atoms], [p for _, p in atoms]
        elif keyword == "ATOMS":
            while re.match(r"\s*(\d+|[A-Z][a-z]?\w*)\s+[-+.\d]", _peek(reader)):
                number, position = _atom(reader, _line(reader, content) or "")
                content.numbers.append(number)
                content.positions.append(position)
        elif re.fullmatch(r"BEGIN_BLOCK_DATAGRID_?3D", keyword):
            _read_block(reader, content)
        elif keyword.startswith("BEGIN_BLOCK_DATAGRID"):
            raise reader.error("a grid of two dimensions, which is a plane and not a density")
        elif keyword == "BEGIN_INFO":
            while (row := _line(reader, content)) is not None and row.strip().upper() != "END_INFO":
                pass
        elif keyword not in ("CRYSTAL", "SLAB", "POLYMER", "MOLECULE"):
            raise reader.error(f"expected a keyword of XSF, found {line.strip()[:40]!r}")
    return content


def _read_block(reader: Reader, content: _Content) -> None:
    """Read the grids of a block, up to its end."""
    content.blocks.append((_line(reader, content) or "").strip())
    while (line := _line(reader, content)) is not None:
        keyword = line.strip()
        if re.fullmatch(r"END_BLOCK_DATAGRID_?3D", keyword, re.IGNORECASE):
            return
        match = re.match(r"(?:BEGIN_)?DATAGRID_?3D_?(.*)", keyword, re.IGNORECASE)
        if match is None:
            raise reader.error(f"expected BEGIN_DATAGRID_3D or END_BLOCK_DATAGRID_3D, found {keyword[:40]!r}")
        at = reader.line
        shape = _integers(reader, content, 3, "the points along each spanning vector")
        if min(shape) < 2:
            raise reader.error(f"a grid of {'x'.join(map(str, shape))} points spans no cell")
        origin = np.array(_reals(reader, content, 3, "the origin of the grid"))
        span = np.array([_reals(reader, content, 3, "a spanning vector") for _ in range(3)])
        values = read_values(reader, shape[0] * shape[1] * shape[2]).reshape(shape[::-1]).transpose(2, 1, 0)
        end = (_line(reader, content) or "").strip()
        if not re.fullmatch(r"END_DATAGRID_?3D", end, re.IGNORECASE):
            raise reader.error(f"expected END_DATAGRID_3D, found {end[:40]!r}: more values than the grid has points?")
        content.grids.append(_Grid(match[1].strip(), at, origin, span, values))
    raise reader.error("the file ends inside a block of grids: it is truncated", reader.line + 1)


def _line(reader: Reader, content: _Content) -> str | None:
    """The next line that is neither blank nor a comment. None at the end. Comments are kept."""
    while line := reader.readline():
        text = line.decode("utf-8", "surrogateescape").strip()
        if text.startswith("#"):
            content.comments.append(text[1:].strip())
        elif text:
            return text
    return None


def _peek(reader: Reader) -> str:
    return reader.peek(200).partition(b"\n")[0].decode("ascii", "replace")


def _reals(reader: Reader, content: _Content, count: int, expected: str) -> list[float]:
    tokens = (_line(reader, content) or "").encode("ascii", "replace").split()
    try:
        values = [parse_number(token) for token in tokens[:count]]
    except ValueError as error:
        raise reader.error(f"expected {expected}: {error}") from None
    if len(values) < count:
        raise reader.error(f"expected {expected}, {count} numbers, found {len(values)}")
    return values


def _integers(reader: Reader, content: _Content, count: int, expected: str) -> list[int]:
    tokens = (_line(reader, content) or "").split()[:count]
    if len(tokens) < count or not all(re.fullmatch(r"\d{1,9}", token) for token in tokens):
        raise reader.error(f"expected {expected}, found {' '.join(tokens)[:40]!r}")
    return [int(token) for token in tokens]


def _atom(reader: Reader, line: str) -> tuple[int, list[float]]:
    """Atomic number and Cartesian position in Å. Forces may follow them."""
    label, *tokens = line.split() or [""]
    try:
        number = int(label) if re.fullmatch(r"\d{1,3}", label) else 0 if label == "X" else species_number(label)
        position = [parse_number(token.encode("ascii", "replace")) for token in tokens[:3]]
        if len(position) < 3:
            raise ValueError("expected an element and three coordinates")
    except (DensityError, ValueError) as error:
        raise reader.error(f"expected an atom, found {line[:40]!r}: {error}") from None
    return number, position


# What it means -----------------------------------------------------------------------------------------------------


def _texts(content: _Content) -> list[str]:
    """Every text that may say which quantity the grids hold."""
    return [*content.comments, *content.blocks, *(grid.name for grid in content.grids)]


def _quantity(reader: Reader, content: _Content) -> str | None:
    """As `quantities.quantity_of`, by the file's name, too. Raises `FormatError` if it is not a total density."""
    if content.comments and our_quantity(content.comments[0]) is not None:
        return our_quantity(content.comments[0])
    names = [grid.name for grid in content.grids[:1]]
    said = [*content.comments, *content.blocks, *names]
    found, where = quantity_of(["", *said]), "by a comment or the name of its grid"
    if found is None:
        found, where = quantity_of_name(bare_name(reader.name), said), "by its name"
    if found:
        message = f"holds {found}, {where}, and not the total density"
        raise reader.error(message, content.grids[0].line, QuantityError)
    return found


def _periodic(reader: Reader, grid: _Grid, cell: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """The values without the repeated points, and the cell that they fill."""
    counts = np.array(grid.values.shape, float)[:, None]
    repeated = _repeats(grid.values)
    if cell is None:
        if repeated:
            return grid.values[:-1, :-1, :-1], grid.span
        return grid.values, grid.span * counts / (counts - 1)
    if _cells(grid.span, cell):
        if not repeated:
            raise reader.error(
                "the points on the far faces of the grid do not repeat those on the near ones, as those of a periodic "
                "density do in XSF: the grid covers another region, or its last points are missing",
                grid.line,
            )
        return grid.values[:-1, :-1, :-1], grid.span
    for factor in (counts / (counts - 1), counts / (counts + 1)):  # each point once; or as ASE writes it
        if _cells(grid.span * factor, cell):
            return grid.values, grid.span * factor
    raise reader.error("the grid covers another region than the cell of the crystal (PRIMVEC)", grid.line)


def _repeats(values: np.ndarray) -> bool:
    most = _SAME * float(np.abs(values).max())
    return all(np.abs(values.take(0, axis) - values.take(-1, axis)).max() <= most for axis in range(3))


def _cells(span: np.ndarray, cell: np.ndarray) -> int:
    """How many primitive cells a region has. 0 where it is not a cell of the crystal's lattice."""
    try:
        with np.errstate(all="ignore"):
            ratios = np.linalg.solve(cell.T, span.T).T
    except np.linalg.LinAlgError:
        return 0
    whole = np.rint(ratios)
    if not np.abs(ratios - whole).max() <= _FITS:
        return 0
    cells = round(abs(float(np.linalg.det(whole))))
    return cells if cells <= _MOST_CELLS else 0


def _crystal(reader: Reader, content: _Content, cell: np.ndarray, origin: np.ndarray | None = None) -> Crystal:
    """The crystal in the cell of the grid, with the grid's first point at the origin."""
    try:
        empty = Crystal(cell, np.zeros((0, 3)), np.zeros(0))
        if not content.numbers:
            return empty
        cartesian = np.array(content.positions) - (0 if origin is None else origin)
        positions, numbers = np.linalg.solve(cell.T, cartesian.T).T, np.array(content.numbers)
        if content.cell is not None and (cells := _cells(cell, content.cell)) > 1:
            positions, numbers = _repeated(positions, numbers, np.linalg.solve(cell.T, content.cell.T).T, cells)
        return Crystal(cell, positions, numbers)
    except DensityError as error:
        raise reader.error(str(error)) from None


def _repeated(
    positions: np.ndarray, numbers: np.ndarray, vectors: np.ndarray, cells: int
) -> tuple[np.ndarray, np.ndarray]:
    """The atoms of all primitive cells in a larger one. vectors: of the primitive lattice, in fractions of that one."""
    steps = np.stack(np.meshgrid(*[np.arange(-cells, cells + 1)] * 3, indexing="ij"), -1).reshape(-1, 3)
    shifts = steps @ vectors
    inside = ((shifts > -1e-3) & (shifts < 1 - 1e-3)).all(axis=1)
    moved = positions[:, None] + shifts[inside]
    return moved.reshape(-1, 3), np.repeat(numbers, moved.shape[1])


def _check_count(reader: Reader, density: Density, line: int) -> None:
    """Raises `FormatError` for more electrons than the atoms have: then the values are not per cubic bohr."""
    electrons = int(density.crystal.numbers.sum())
    if len(density.crystal) and density.n_electrons > 1.05 * electrons + 4:
        raise reader.error(
            f"it has {density.n_electrons:.1f} electrons in e/bohr^3, the unit of XSF files, and its atoms "
            f"{electrons}: where values are per Å^3, put the line '# e/Å^3' at the top of the file",
            line,
        )


# Writing -----------------------------------------------------------------------------------------------------------


def write(stream: IO[bytes], density: Density) -> None:
    """Write all channels in e/Å^3. A comment and the block's name say so; the grid repeats its first points."""
    crystal = density.crystal
    comment = str(density.extras.get("comment", "")).splitlines() or [""]
    with np.errstate(over="ignore", invalid="ignore"):
        positions = crystal.positions @ crystal.cell
    check_lengths(crystal.cell, positions)
    what = f"{density.quantity} per Å^3" if isinstance(density, ScalarField) else "Electronic charge density, e/Å^3"
    cell = "".join("".join(f" {value + 0.0:19.14f}" for value in row) + "\n" for row in crystal.cell)
    atoms = "".join(
        f"{SYMBOLS[number] if number else 'X':2s}" + "".join(f" {value + 0.0:19.14f}" for value in position) + "\n"
        for number, position in zip(crystal.numbers, positions, strict=True)
    )
    block = f"signed_{_PER_ANGSTROM}" if isinstance(density, ScalarField) else _PER_ANGSTROM
    stream.write(
        text_to_bytes(
            f"# {comment[0].strip() or crystal.formula}\n# {what}\nCRYSTAL\nPRIMVEC\n{cell}"
            f"PRIMCOORD\n{len(crystal)} 1\n{atoms}BEGIN_BLOCK_DATAGRID_3D\n{block}\n"
        )
    )
    nx, ny, nz = density.grid
    for name, values in density.channels.items():
        stream.write(text_to_bytes(f"BEGIN_DATAGRID_3D_{name}\n{nx + 1} {ny + 1} {nz + 1}\n0.0 0.0 0.0\n{cell}"))
        for text in lines_of_five(_planes(values)):
            stream.write(text)
        stream.write(b"END_DATAGRID_3D\n")
    stream.write(b"END_BLOCK_DATAGRID_3D\n")


def _planes(values: np.ndarray) -> Iterator[np.ndarray]:
    """Values with the first points of each axis repeated at its end, x fastest, plane by plane."""
    for index in (*range(values.shape[2]), 0):
        yield np.pad(values[:, :, index].astype(float), ((0, 1), (0, 1)), mode="wrap").ravel(order="F")
