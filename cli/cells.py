"""Options that take a density to another cell, and what they do to it."""

from __future__ import annotations

import enum
import math
import re
from typing import TYPE_CHECKING, Annotated

import typer

from chgdb_cli.output import message

if TYPE_CHECKING:
    import numpy as np

    from chgdb import Density

_AXES = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}


class Cell(enum.StrEnum):
    primitive = "primitive"
    conventional = "conventional"
    niggli = "niggli"
    orthogonal = "orthogonal"


CellOption = Annotated[
    Cell | None,
    typer.Option("--cell", help="Take it to this cell of the same crystal, which is neither turned nor moved."),
]
SupercellOption = Annotated[
    str | None,
    typer.Option(
        "--supercell", metavar="NxNxN|MATRIX", help="Repeats along each lattice vector, or nine whole numbers by rows."
    ),
]
ShiftOption = Annotated[
    str | None, typer.Option("--shift", metavar="X,Y,Z", help="Move it by these fractions of the lattice vectors.")
]
RotateOption = Annotated[
    str | None,
    typer.Option("--rotate", metavar="AXIS:DEGREES", help="Turn it about a Cartesian axis: z:90, or 1,1,0:30."),
]
AlignOption = Annotated[bool, typer.Option("--align", help="Turn it so that a lies along x and b in the xy plane.")]
SymprecOption = Annotated[
    float | None,
    typer.Option("--symprec", metavar="Å", help="How exactly atoms obey a symmetry, for --cell. [default: 0.01]"),
]


def parse_supercell(text: str | None) -> list[list[int]] | None:
    """
    >>> parse_supercell("2x2x1"), parse_supercell("1 1 0; 1 -1 0; 0 0 1")
    ([[2, 0, 0], [0, 2, 0], [0, 0, 1]], [[1, 1, 0], [1, -1, 0], [0, 0, 1]])
    """
    if text is None:
        return None
    numbers = re.split(r"[x×]" if re.search("[x×]", text) else r"[\s,;]+", text.strip(" ;,[]"))
    if len(numbers) not in (1, 3, 9) or not all(re.fullmatch(r"[+-]?\d{1,6}", number) for number in numbers):
        raise typer.BadParameter(
            f"{text!r} is not a supercell such as 2x2x2 or, by rows, '1 1 0; 1 -1 0; 0 0 1' of whole numbers",
            param_hint="--supercell",
        )
    found = [int(number) for number in numbers]
    if len(found) == 9:
        return [found[0:3], found[3:6], found[6:9]]
    x, y, z = found * 3 if len(found) == 1 else found
    if min(x, y, z) < 1:
        raise typer.BadParameter(f"{text!r} repeats nothing: expected at least 1", param_hint="--supercell")
    return [[x, 0, 0], [0, y, 0], [0, 0, z]]


def parse_shift(text: str | None) -> list[float] | None:
    """
    >>> parse_shift("0, 0,0.5")
    [0.0, 0.0, 0.5]
    """
    if text is None:
        return None
    numbers = _numbers(text)
    if len(numbers) != 3:
        raise typer.BadParameter(f"{text!r} is not a shift such as 0,0,0.5", param_hint="--shift")
    return numbers


def parse_rotation(text: str | None) -> np.ndarray | None:
    """A rotation matrix; an axis is x, y, z or Cartesian components."""
    if text is None:
        return None
    from chgdb.errors import DensityError
    from chgdb.transformations import rotation_about

    axis, _, angle = text.partition(":")
    direction = _AXES.get(axis.strip().lower()) or _numbers(axis)
    degrees = _numbers(angle)
    try:
        if len(direction) == 3 and len(degrees) == 1:
            return rotation_about(direction, degrees[0])
    except DensityError:
        pass
    raise typer.BadParameter(f"{text!r} is not a rotation such as z:90 or 1,1,0:30", param_hint="--rotate")


def _numbers(text: str) -> list[float]:
    """Numbers between commas or blanks; none where one is not finite."""
    try:
        found = [float(part) for part in text.replace(",", " ").split()]
    except ValueError:
        return []
    return found if all(map(math.isfinite, found)) else []


def taken(
    density: Density,
    name: str,
    *,
    shift: list[float] | None = None,
    cell: Cell | None = None,
    symprec: float | None = None,
    supercell: list[list[int]] | None = None,
    rotation: np.ndarray | None = None,
    align: bool = False,
) -> Density:
    """A density moved, in another cell, repeated and turned, in this order. name: of the file, for a message."""
    result = density
    if shift is not None:
        result = result.shifted(shift)
    if cell is not None:
        of_symmetry = cell in (Cell.primitive, Cell.conventional)
        options = {} if symprec is None or not of_symmetry else {"symprec": symprec}
        result = getattr(result, cell.value)(**options)
    if supercell is not None:
        result = result.supercell(supercell)
    if rotation is not None:
        result = result.rotated(rotation)
    if align:
        result = result.aligned()
    if "after" in density.extras and "after" not in result.extras:
        message(f"{name}: without its augmentation occupancies, which are not turned")
    return result


def described(density: Density, before: Density) -> str:
    """One line on a cell, and how large it is against the one before."""
    import numpy as np

    from chgdb_cli.output import count

    vectors = density.crystal.cell
    lengths = np.linalg.norm(vectors, axis=1)
    pairs = ((1, 2), (0, 2), (0, 1))
    angles = [math.degrees(math.acos(vectors[i] @ vectors[j] / (lengths[i] * lengths[j]))) for i, j in pairs]
    ratio = density.crystal.volume / before.crystal.volume
    size = "as large as before" if abs(ratio - 1) < 1e-6 else f"{ratio:.4g} times as large"
    return (
        f"{count(len(density.crystal), 'atom')} in a cell of {' x '.join(f'{x:.4f}' for x in lengths)} Å, "
        f"{', '.join(f'{x:.2f}' for x in angles)}°, {size}"
    )


def tell_spacing(density: Density, before: Density) -> None:
    """Say where a grid that loses nothing is much finer than the one before."""
    here, there = (d.crystal.volume / d.total.size for d in (density, before))
    if there > 2 * here:
        message(
            f"the grid holds every Fourier coefficient, {there / here:.1f} times as many points per Å^3 as before; "
            f"--spacing {there ** (1 / 3):.2g} makes it about as coarse as it was"
        )
