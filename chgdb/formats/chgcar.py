"""VASP's CHGCAR and related files: CHG, AECCAR0/1/2, PARCHG.

The header is that of a POSCAR. Each channel then has a line with the grid, and ρ·V at its points, x fastest. A CHGCAR
goes on with the augmentation occupancies of each ion, and has a line with one value per ion before a magnetisation
block. Values here are ρ = (ρ·V)/V in e/Å^3. No other module knows of ρ·V.

Extras (see `extras`), where the file has them:
    comment             first line, without its end
    species             [label, count] in the order of the file, e.g. ["Ti_pv", 2]
    selective_dynamics  the three flags of each atom, e.g. "TTF"
    after               channel -> text between its values and the next block or the end: augmentation occupancies and
                        per-ion lines, byte for byte
    line_end            "\\r\\n"
    steps               how many steps the file has; this is the last one
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal, localcontext
from itertools import groupby
from typing import IO, Any

import numpy as np

from ..augmentation import occupancies_alone
from ..density import CHANNELS, Crystal, Density
from ..elements import species_number
from ..errors import DensityError, FileWarning, FormatError, QuantityError
from ..fortran import LONGEST, describe, fields, parse_number
from .names import is_structure
from .numbers import FIELD, PER_LINE, check_lengths, lines_of_five, read_pieces
from .quantities import our_quantity, vasp_quantity
from .streams import Reader, bare_name, text_to_bytes

NAMES = ("CHGCAR*", "*CHGCAR", "CHG", "CHG[._-]*", "*.CHG", "AECCAR*", "*.AECCAR?", "PARCHG*", "*.PARCHG", "*.vasp")

_INTEGER = re.compile(rb"[+-]?\d{1,9}")
_SECTION = re.compile(rb"\s*augmentation occupancies\s*(\(imaginary part\))?(.*?)\s*", re.DOTALL)
_HEADER = (0, 0, 0)  # stands in place of a grid where a further step begins
_DIGITS = 2 * LONGEST  # decimal digits of header arithmetic, so that products of two tokens are exact


class StructureAlone(FormatError):
    """A whole file that holds a structure and no density."""

    def __init__(self, message: object, crystal: Crystal | None = None) -> None:
        super().__init__(message)
        self.crystal = crystal


def recognises(head: bytes) -> bool:
    """Whether a text begins like a POSCAR: a scale on line 2, then three lattice vectors."""
    lines = head.split(b"\n")[1:5]
    return [_leading_numbers(line) for line in lines] in ([1, 3, 3, 3], [3, 3, 3, 3])


def _leading_numbers(line: bytes) -> int:
    """How many numbers a line begins with. Words after them are a comment."""
    count = 0
    for token in fields(line)[:5]:
        if not _is_number(token) or token.strip(b"*") == b"":
            break
        count += 1
    return count


def text_bytes(density: Density) -> int:
    """Bytes of the density blocks as VASP writes them: the grid lines, values and line ends of all channels."""
    lines, rest = divmod(density.total.size, PER_LINE)
    block = lines * (PER_LINE * FIELD + 1) + (rest * FIELD + 3 if rest else 0)
    return len(density.channels) * (len(_grid_line(density.grid)) + 1 + block)


# Reading ------------------------------------------------------------------------------------------------------------


def read(reader: Reader, *, elements: Sequence[str] | None = None) -> Density:
    """A density from an open CHGCAR.

    elements: symbol of each species in the file's order, for files of VASP 4, which do not have them. Symbols in
        the file take precedence.
    Of several steps in a file, as molecular dynamics writes them in a CHG, the last one is read, with a `FileWarning`.
    Raises `FormatError` with file and line for anything but a complete, finite density.
    """
    declared = our_quantity(_text(reader.peek(2048).partition(b"\n")[0].rstrip())) is not None
    _check_name(reader, None)
    steps = 1
    density, more = _read_step(reader, elements)
    while more:
        del density  # frees its memory before the next step takes some
        try:
            density, more = _read_step(reader, elements)
        except StructureAlone as error:  # densities came before it, so the file is truncated
            raise FormatError(str(error)) from None
        steps += 1
    if not declared:
        _check_name(reader, len(density.channels))
    if steps == 1:
        return density
    warnings.warn(f"{reader.name}: {steps} steps, of which the last one is read", FileWarning, stacklevel=3)
    return replace(density, extras={**density.extras, "steps": steps})


def _check_name(reader: Reader, channels: int | None) -> None:
    """Raises `FormatError` if the file's name says that a file with this number of channels is not a density."""
    other = vasp_quantity(bare_name(reader.name), channels)
    if other:
        message = f"holds no charge density, by its name {other}; name a CHGCAR, CHG, AECCAR or PARCHG"
        raise reader.error(message, 1, QuantityError)


def _read_step(reader: Reader, elements: Sequence[str] | None) -> tuple[Density, bool]:
    """Read a header and its blocks. Returns the density, and whether a further header follows."""
    crystal, extras = _read_header(reader, elements)
    grid = _read_grid(reader, crystal)
    blocks: list[np.ndarray] = []
    after: list[bytes] = []
    while True:
        blocks.append(_read_block(reader, grid, crystal.volume))
        text, following = _read_after(reader, len(crystal))
        after.append(text)
        if following is None or following == _HEADER:
            break
        if following != grid:
            shapes = ["x".join(map(str, shape)) for shape in (following, grid)]
            raise reader.error(f"this block has the grid {shapes[0]}, the first one {shapes[1]}")
        if len(blocks) == max(CHANNELS):
            raise reader.error(f"more than {max(CHANNELS)} blocks; expected one, two (spin) or four (noncollinear)")
    names = CHANNELS.get(len(blocks))
    if names is None:
        raise reader.error(f"the file ends after {len(blocks)} blocks; expected one, two (spin) or four (noncollinear)")
    texts = {name: _text(part) for name, part in zip(names, after, strict=True) if part.strip()}
    if texts:
        extras["after"] = texts
    try:
        return Density(crystal, dict(zip(names, blocks, strict=True)), extras), following == _HEADER
    except DensityError as error:
        raise reader.error(str(error)) from None


def read_structure(reader: Reader, *, elements: Sequence[str] | None = None) -> Crystal:
    """The structure at the head of an open CHGCAR, POSCAR or CONTCAR. Raises `FormatError` with file and line."""
    return _read_header(reader, elements)[0]


def _read_header(reader: Reader, elements: Sequence[str] | None) -> tuple[Crystal, dict[str, Any]]:
    comment = reader.readline()
    if not comment:
        raise reader.error("the file is empty", 1)
    extras: dict[str, Any] = {"comment": _text(comment.rstrip(b"\r\n"))}
    if comment.endswith(b"\r\n"):
        extras["line_end"] = "\r\n"
    scale = _decimals(reader, (1, 3), "the scale factor, or three")
    vectors = [_decimals(reader, (3,), "a lattice vector: three numbers") for _ in range(3)]
    factors = _scale_factors(reader, scale, vectors)
    with localcontext() as context:
        context.prec = _DIGITS
        cell = np.array([[float(factor * x) for factor, x in zip(factors, row, strict=True)] for row in vectors])
    labels, counts, line = _read_species(reader, elements)
    numbers_of = [_element(reader, label, line) for label in labels]
    mode = _header_line(reader, "'Direct' or 'Cartesian'")
    selective = mode[:1] in b"Ss"
    if selective:
        mode = _header_line(reader, "'Direct' or 'Cartesian'")
    cartesian = mode[:1] in b"CcKk"
    if not cartesian and mode[:1] not in b"Dd":
        shown = mode[:24].decode("ascii", "replace")
        raise reader.error(f"expected 'Direct' or 'Cartesian', found {shown!r}")
    positions: list[list[float]] = []
    flags: list[str] = []
    numbers: list[int] = []
    for number, repeat in zip(numbers_of, counts, strict=True):
        for _ in range(repeat):
            tokens = fields(_header_line(reader, "the position of an atom"))
            positions.append(_floats(reader, tokens[:3], "a position: three numbers"))
            if selective:
                flags.append(_flags(reader, tokens[3:6]))
            numbers.append(number)
    fractional = np.array(positions)
    try:
        if cartesian:  # a common factor of lattice and positions cancels, and so do a volume and three factors
            Crystal(cell, np.zeros((0, 3)), np.zeros(0))
            fractional = np.linalg.solve(np.array(vectors, dtype=float).T, fractional.T).T
        crystal = Crystal(cell, fractional, np.array(numbers))
    except DensityError as error:
        raise reader.error(str(error), 3) from None
    extras["species"] = [[label, count] for label, count in zip(labels, counts, strict=True)]
    if flags:
        extras["selective_dynamics"] = flags
    return crystal, extras


def _header_line(reader: Reader, expected: str) -> bytes:
    line = reader.readline()
    if not line:
        raise reader.error(f"the file ends where {expected} should follow: it is truncated", reader.line + 1)
    stripped = line.strip()
    if not stripped:
        raise reader.error(f"expected {expected}, found an empty line")
    return stripped


def _floats(reader: Reader, tokens: list[bytes], expected: str) -> list[float]:
    if len(tokens) != 3:
        raise reader.error(f"expected {expected}, found {len(tokens)} of them")
    try:
        return [parse_number(token) for token in tokens]
    except ValueError as error:
        raise reader.error(f"expected {expected}: {error}") from None


def _decimals(reader: Reader, lengths: tuple[int, ...], expected: str) -> list[Decimal]:
    """The numbers at the start of the next line, exactly as written; words after them are a comment."""
    values: list[Decimal] = []
    for token in fields(_header_line(reader, expected))[: max(lengths)]:
        try:
            value = parse_number(token)
            if abs(value) > 1e30:
                raise ValueError(f"{value} is out of range for a length")
        except ValueError as error:
            if len(values) in lengths:
                break
            raise reader.error(f"expected {expected}: {error}") from None
        text = token.decode("ascii").replace("D", "E").replace("d", "E")
        values.append(Decimal(re.sub(r"(?<=[\d.])(?=[+-])", "E", text)) if value else Decimal(0))
    if len(values) not in lengths:
        if min(lengths) <= len(values):
            return values[: min(lengths)]
        raise reader.error(f"expected {expected}, found {len(values)} of them")
    return values


def _scale_factors(reader: Reader, scale: list[Decimal], vectors: list[list[Decimal]]) -> list[Decimal]:
    """The factor of each Cartesian component. A single negative scale is the volume of the cell in Å^3."""
    with localcontext() as context:
        context.prec = _DIGITS
        if any(factor == 0 for factor in scale) or (len(scale) == 3 and min(scale) < 0):
            raise reader.error("expected a scale factor that is not zero, or three positive ones", 2)
        if len(scale) == 3:
            return scale
        if scale[0] > 0:
            return scale * 3
        a, b, c = vectors
        cross = [b[1] * c[2] - b[2] * c[1], b[2] * c[0] - b[0] * c[2], b[0] * c[1] - b[1] * c[0]]
        volume = abs(sum((x * y for x, y in zip(a, cross, strict=True)), Decimal(0)))
        if not volume:
            raise reader.error("the cell has no volume: its lattice vectors are not independent", 3)
        return [(-scale[0] / volume) ** (Decimal(1) / 3)] * 3


def _read_species(reader: Reader, elements: Sequence[str] | None) -> tuple[list[str], list[int], int]:
    """Label and number of atoms of each group, and the number of the line with the labels."""
    line = _header_line(reader, "the species or their counts")
    tokens = line.split()
    if _INTEGER.fullmatch(tokens[0]):  # VASP 4
        counts = _integers(reader, tokens, 0)
        counts += _more_counts(reader, 1 << 20)
        if elements is None:
            raise reader.error(
                f"a file of VASP 4, which does not name its {len(counts)} species: name them in the order of the "
                "file, with --elements (elements=[...] in Python)"
            )
        if len(elements) != len(counts):
            raise reader.error(
                f"{len(counts)} species, but the elements given are {len(elements)}: {', '.join(elements)}"
            )
        return list(elements), counts, reader.line
    named = reader.line
    while not _INTEGER.fullmatch((_peek_tokens(reader) or [b"0"])[0]):  # VASP breaks the line after 20 groups
        tokens += _header_line(reader, "the species").split()
    labels = [_text(token) for token in tokens]
    counts = _integers(reader, _header_line(reader, "the number of atoms of each species").split(), 0)
    counts += _more_counts(reader, len(labels) - len(counts))
    if len(labels) != len(counts):
        raise reader.error(f"{len(counts)} numbers of atoms for {len(labels)} species")
    return labels, counts, named


def _more_counts(reader: Reader, missing: int) -> list[int]:
    """Counts on further lines, until none is missing."""
    counts: list[int] = []
    while len(counts) < missing and (tokens := _peek_tokens(reader)) and all(map(_INTEGER.fullmatch, tokens)):
        reader.readline()
        counts += _integers(reader, tokens, 0)
    return counts


def _peek_tokens(reader: Reader) -> list[bytes]:
    """The fields of the next line, which is not consumed."""
    line = reader.readline()
    reader.give_back(line)
    reader.line -= bool(line)
    return line.split()


def _integers(reader: Reader, tokens: list[bytes], smallest: int) -> list[int]:
    values = []
    for token in tokens:
        if not _INTEGER.fullmatch(token) or int(token) < smallest:
            shown = token[:24].decode("ascii", "replace")
            raise reader.error(f"expected whole numbers of at least {smallest}, found {shown!r}")
        values.append(int(token))
    return values


def _element(reader: Reader, label: str, line: int) -> int:
    """Atomic number of a label such as Ti, Ti_pv, Fe/0123abcd or H1.25."""
    try:
        return species_number(label)
    except DensityError as error:
        raise reader.error(str(error), line) from None


def _flags(reader: Reader, tokens: list[bytes]) -> str:
    letters = "".join(_text(token.strip(b".")[:1]).upper() for token in tokens)
    if not re.fullmatch("[TF]{3}", letters):
        raise reader.error("expected three flags T or F after the position (selective dynamics)")
    return letters


def _read_grid(reader: Reader, crystal: Crystal) -> tuple[int, int, int]:
    """Read the grid that follows the atoms.

    Raises `StructureAlone` if the file ends there, where velocities follow, and where a file that is named as a
    structure has anything else there.
    """
    line = b""
    while not line.strip():
        line = reader.readline()
        if not line:
            text = "the file ends after the atoms: a POSCAR or CONTCAR, which holds no density, or a truncated file"
            raise StructureAlone(reader.error(text, reader.line + 1), crystal)
    tokens = line.split()
    if line.startswith(b"Direct configuration="):
        raise reader.error("expected the grid after the atoms: a CONTCAR or XDATCAR, which holds no density")
    velocities = len(fields(line)) == 3 and b"." in line and _leading_numbers(line) == 3
    is_grid = len(tokens) == 3 and all(token.isdigit() and int(token) for token in tokens)
    if velocities or line.split()[0].lower() == b"lattice" or (is_structure(bare_name(reader.name)) and not is_grid):
        text = "expected the grid after the atoms: a CONTCAR or XDATCAR, which holds no density"
        raise StructureAlone(reader.error(text), crystal)
    if len(tokens) != 3:
        shown = line[:40].decode("ascii", "replace").strip()
        raise reader.error(f"expected the grid, three whole numbers, found {shown!r}")
    nx, ny, nz = _integers(reader, tokens, 1)
    return nx, ny, nz


def _read_block(reader: Reader, grid: tuple[int, int, int], volume: float) -> np.ndarray:
    """The values of one block divided by the volume, from Fortran order to (nx, ny, nz) in C order.

    Eight planes are collected before they go to their places: they fill a cache line of the result. This touches all
    memory of the result. Where nobody knows how much follows (compressed files, pipes), all planes are collected first.
    Then a header with too large a claim takes no more memory than the data.
    """
    nx, ny, nz = grid
    pieces = read_pieces(reader, nx * ny * nz)
    piece = next(pieces)
    gathered = nz if reader.remaining() is None else 8
    try:
        values = np.empty(grid)
        planes = np.empty((min(gathered, nz), ny, nx))
    except (MemoryError, ValueError):
        raise reader.error(f"no memory for a grid of {nx}x{ny}x{nz} points") from None
    for start in range(0, nz, gathered):
        depth = min(gathered, nz - start)
        flat = planes[:depth].reshape(-1)
        filled = 0
        while filled < flat.size:
            if not piece.size:
                piece = next(pieces)
            part = piece[: flat.size - filled]
            with np.errstate(over="ignore"):
                np.divide(part, volume, out=flat[filled : filled + part.size])
            filled += part.size
            piece = piece[part.size :]
        for first in range(0, depth, 8):
            last = min(first + 8, depth)
            values[:, :, start + first : start + last] = planes[first:last].T
    return values


def _read_after(reader: Reader, n_atoms: int) -> tuple[bytes, tuple[int, int, int] | None]:
    """Read text up to the next grid line. Returns the text and that grid.

    The grid is None at the end of the file, and `_HEADER` before a further header. Raises `FormatError` for text that
    is neither augmentation occupancies nor per-ion values, and where some of them are missing.
    """
    parts: list[bytes] = []
    expected = found = 0  # values of the open section
    section, last_ion, per_ion, start = 0, 0, 0, 0
    following = None
    while line := reader.readline():
        tokens = line.split()
        match = _SECTION.fullmatch(line)
        if found < expected:
            if match or not all(_is_number(token) for token in tokens):
                raise reader.error(_missing(section, found, expected))
            found += len(tokens)
            if found > expected:
                raise reader.error(_missing(section, found, expected))
        elif match:
            last_ion, expected = _section(reader, match, last_ion)
            section, found = reader.line, 0
        elif _is_header(line + reader.peek(2048)):
            reader.give_back(line)
            reader.line -= 1
            following = _HEADER
            break
        elif len(tokens) == 3 and all(_INTEGER.fullmatch(token) for token in tokens):
            if per_ion not in (0, n_atoms):
                raise reader.error(f"{per_ion} values for {n_atoms} atoms, or more than the grid has points", start)
            nx, ny, nz = _integers(reader, tokens, 1)
            return b"".join(parts), (nx, ny, nz)
        elif tokens:
            bad = next((token for token in tokens if not _is_number(token)), None)
            if bad is not None:
                raise reader.error(
                    f"expected augmentation occupancies, a further block or the end of the file: {describe(bad)}"
                )
            start = start or reader.line
            per_ion += len(tokens)
            if per_ion > n_atoms:
                raise reader.error(f"more values than the grid has points, or than there are atoms ({n_atoms})", start)
        parts.append(line)
    if found < expected:
        raise reader.error(f"the file ends here: {_missing(section, found, expected)}")
    if per_ion:
        raise reader.error("a further block should follow this line: the file is truncated or its grid is wrong", start)
    if last_ion and last_ion < n_atoms:
        raise reader.error(f"augmentation occupancies of {last_ion} of {n_atoms} atoms: the file is truncated")
    if parts and last_ion and following is None and not parts[-1].endswith(b"\n"):
        tokens = b" ".join(parts[-2:]).split()
        if len({len(token.partition(b".")[2]) for token in tokens[-2:]}) > 1:
            raise reader.error("the file ends inside a number: it is truncated")
    return b"".join(parts), following


def _is_header(text: bytes) -> bool:
    """Whether a further step begins: a comment, a scale, lattice vectors, and species or counts."""
    tokens = (text.split(b"\n", 6)[5:6] or [b""])[0].split()
    return bool(tokens) and (tokens[0][:1].isalpha() or all(map(_INTEGER.fullmatch, tokens))) and recognises(text)


def _section(reader: Reader, match: re.Match[bytes], last_ion: int) -> tuple[int, int]:
    """Ion and number of values of `augmentation occupancies   1  33`.

    The two may stand without a blank between them.
    """
    rest = match[2]
    tokens = rest.split() if len(rest.split()) == 2 else [rest[:-4], rest[-4:]]
    count, ion = tokens[-1].strip(), tokens[0].strip()
    if not _INTEGER.fullmatch(count) or int(count) < 0 or not ion:
        raise reader.error("expected 'augmentation occupancies', the number of an atom and how many values follow")
    return (int(ion) if _INTEGER.fullmatch(ion) else last_ion + 1), int(count)


def _missing(section: int, found: int, expected: int) -> str:
    return f"{found} of the {expected} augmentation occupancies announced on line {section}"


def _is_number(token: bytes) -> bool:
    """Whether a token is a number, or stars: an occupancy that overflowed its field. It is kept, but never computed."""
    if token.strip(b"*") == b"":
        return True
    try:
        parse_number(token)
    except ValueError:
        return False
    return True


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


# Writing ------------------------------------------------------------------------------------------------------------


def write(stream: IO[bytes], density: Density) -> None:
    """Write a CHGCAR of VASP 5: scale 1, direct coordinates, blocks as VASP prints them, extras as they were.

    Atoms keep their order. An element whose atoms are not in one group is named once for each group. Extras that belong
    to other atoms (the crystal was replaced) are left out.
    """
    check_lengths(density.crystal.cell, density.crystal.positions)
    if not len(density.crystal):
        raise FormatError("there are no atoms, and nobody reads a CHGCAR without them: write a cube or an npz")
    extras = _matching_extras(density)
    line_end = extras.get("line_end", "\n")
    header = line_end.join(_header(density.crystal, extras)) + line_end
    stream.write(text_to_bytes(header))
    *_, last = density.channels
    for name, values in density.channels.items():
        stream.write((_grid_line(density.grid) + line_end).encode("ascii"))
        for text in lines_of_five(_flat_pieces(values, density.crystal.volume), line_end.encode("ascii")):
            stream.write(text)
        after = extras.get("after", {}).get(name, "")
        # Readers expect another block after per-ion lines: a total density that had a magnetisation has none.
        stream.write(text_to_bytes(occupancies_alone(after) if name == last else after))


def write_structure(stream: IO[bytes], crystal: Crystal) -> None:
    """Write the structure alone, as a POSCAR."""
    check_lengths(crystal.cell, crystal.positions)
    if not len(crystal):
        raise FormatError("there are no atoms: a POSCAR needs some")
    stream.write(text_to_bytes("".join(line + "\n" for line in _header(crystal, {})[:-1])))


def _flat_pieces(values: np.ndarray, volume: float) -> Iterator[np.ndarray]:
    """ρ·V in Fortran order, eight planes at a time."""
    for start in range(0, values.shape[2], 8):
        planes = np.empty(values[:, :, start : start + 8].shape[::-1])
        with np.errstate(over="ignore"):  # printing refuses what overflows
            np.multiply(values[:, :, start : start + 8].T, volume, out=planes, dtype=float)
        yield planes.reshape(-1)


def _matching_extras(density: Density) -> dict[str, Any]:
    """The extras, without those of other atoms, and without those that no CHGCAR has."""
    n_atoms = len(density.crystal)
    extras = {key: value for key, value in density.extras.items() if _fits(key, value, n_atoms)}
    if "species" not in density.extras:
        return extras
    try:
        labels = [label for label, count in extras.get("species", []) for _ in range(count)]
        elements = [species_number(label) for label in labels]
    except DensityError:
        elements = []
    if elements != density.crystal.numbers.tolist():
        for key in ("species", "selective_dynamics", "after"):
            extras.pop(key, None)
    return extras


def _fits(key: str, value: Any, n_atoms: int) -> bool:
    """Whether an extra has the form that `read` makes. Those of a store can be anything."""
    if key == "after":
        return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())
    if key == "selective_dynamics":
        flags = value if isinstance(value, list) else []
        return len(flags) == n_atoms and all(isinstance(f, str) and re.fullmatch("[TF]{3}", f) for f in flags)
    if key == "species":
        pairs = value if isinstance(value, list) else [None]
        return all(isinstance(pair, list) and len(pair) == 2 and _is_species(pair, n_atoms) for pair in pairs)
    return key != "line_end" or value == "\r\n"


def _is_species(pair: list[Any], n_atoms: int) -> bool:
    label, count = pair
    return isinstance(label, str) and label.split() == [label] and isinstance(count, int) and 0 <= count <= n_atoms


def _header(crystal: Crystal, extras: dict[str, Any]) -> list[str]:
    species = extras.get("species") or [[symbol, len(list(group))] for symbol, group in groupby(crystal.symbols)]
    comment = str(extras.get("comment", crystal.formula)).splitlines() or [""]
    lines = [comment[0], "   1.00000000000000"]
    lines += [" " + "".join(_decimal(x) for x in row) for row in crystal.cell]
    lines.append("".join(f" {label:>4}" for label, _ in species))
    lines.append("".join(f" {count:>5}" for _, count in species))
    flags = extras.get("selective_dynamics")
    if flags:
        lines.append("Selective dynamics")
    lines.append("Direct")
    for index, position in enumerate(crystal.positions):
        lines.append("".join(_decimal(x) for x in position) + ("  " + "  ".join(flags[index]) if flags else ""))
    return [*lines, " "]


def _decimal(value: float) -> str:
    """The shortest fixed-point form, or else the shortest exact form, that reads back as the same float64."""
    fixed = f"{value:.16f}"
    return f" {fixed if float(fixed) == value else repr(float(value)):>22}"


def _grid_line(grid: tuple[int, int, int]) -> str:
    return "".join(f"{n:5d}" if n < 10_000 else f" {n}" for n in grid)
