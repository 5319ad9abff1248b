"""The distance between two densities, on whatever grids they come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .crystal import CLOSE, Crystal, check_cells
from .density import Density
from .errors import CodecError
from .grids import absolute_sum, slices

#: Cells whose metric tensors differ by more than this fraction hold different crystals.
_LARGEST_STRAIN = 0.1
_CANDIDATES = 200  # shifts that are tried
_AT_ONCE = 1 << 22  # values whose difference is formed at once


@dataclass(frozen=True)
class Quality:
    """Error of decoded values against the original, measured on the density's own grid.

    Attributes
    ----------
    nmae : dict[str, float]
        Per channel, sum |n' - n| / sum |n_total|: a fraction, relative to the total density for every channel.
    max_error : float
        Largest |n' - n| over all channels, e/Å^3.
    min_density : float
        Smallest decoded value of the total density, e/Å^3 (negative values are physical in pseudo-densities).
    n_electrons : float
        Integral of the decoded total density.
    """

    nmae: dict[str, float]
    max_error: float
    min_density: float
    n_electrons: float


@dataclass(frozen=True)
class Comparison:
    """The second density against the first.

    Attributes
    ----------
    nmae : float
        NMAE of the worst channel.
    channel_nmae : dict[str, float]
        NMAE of each channel that both have: sum |b - a| / sum |a_total|, a fraction.
    max_error : float
        Largest |b - a| over these channels, e/Å^3.
    grid : tuple[int, int, int]
        Grid on which they were compared.
    cell_difference : float
        Largest difference of a component of the lattice vectors, Å.
    atom_distance : float
        Largest distance from an atom of b to the nearest atom of a of the same element, Å; NaN where their atoms are
        not the same, or there are none.
    suggested_shift : tuple[float, float, float] | None
        Shift of b, in fractions of its lattice vectors, that brings its atoms to those of a; None where they lie there
        already, or no shift brings them there.
    """

    nmae: float
    channel_nmae: dict[str, float]
    max_error: float
    grid: tuple[int, int, int]
    cell_difference: float
    atom_distance: float = float("nan")
    suggested_shift: tuple[float, float, float] | None = None


def measure(original: Density, decoded: Density) -> Quality:
    """Measure the error of decoded values.

    Parameters
    ----------
    original : Density
        The density that was encoded.
    decoded : Density
        The decoded density, on the same grid.

    Returns
    -------
    Quality

    Raises
    ------
    CodecError
        If grid or channels differ.
    """
    if original.grid != decoded.grid or tuple(original.channels) != tuple(decoded.channels):
        raise CodecError(
            f"cannot compare {decoded.grid} {', '.join(decoded.channels)} with {original.grid} "
            f"{', '.join(original.channels)}: resample one of them first"
        )
    norm = absolute_sum(original.total) or 1.0
    nmae, largest = {}, 0.0
    for name, values in original.channels.items():
        total = 0.0
        for rows in slices(len(values), values[0].size, _AT_ONCE):
            difference = np.subtract(decoded.channels[name][rows], values[rows], dtype=float)
            np.abs(difference, out=difference)
            total += float(difference.sum())
            largest = max(largest, float(difference.max()))
        nmae[name] = total / norm
    return Quality(nmae, largest, float(decoded.total.min()), decoded.n_electrons)


def compare(a: Density, b: Density, *, shift: Sequence[float] | None = None) -> Comparison:
    """Compare two densities at the same fractional coordinates, on the finer grid along each axis.

    Parameters
    ----------
    a, b : Density
        The second is compared with the first.
    shift : Sequence[float] | None
        Fractions of the lattice vectors by which b, with its atoms, is moved first (`grids.shifted`).

    Returns
    -------
    Comparison

    Raises
    ------
    DensityError
        If the cells are too different to compare (other lattice vectors, a supercell): metric tensors that differ by
        more than 10 %.

    Examples
    --------
    >>> crystal = Crystal(np.eye(3) * 4, [[0, 0, 0]], [14])
    >>> flat = Density(crystal, {"total": np.full((4, 4, 4), 0.5)})
    >>> round(compare(flat, replace(flat, channels={"total": np.full((6, 4, 4), 0.55)})).nmae, 6)
    0.1
    """
    check_cells(a.crystal, b.crystal, _LARGEST_STRAIN, "compared point by point")
    if shift is not None:
        b = moved(b, shift)
    distance, suggested = atoms_apart(a.crystal, b.crystal)
    nx, ny, nz = (max(n, m) for n, m in zip(a.grid, b.grid, strict=True))
    grid = (nx, ny, nz)
    names = [name for name in a.channels if name in b.channels]
    if names not in ([*a.channels], [*b.channels]):  # collinear against noncollinear
        names = ["total"]
    first, second = (
        replace(density, channels={name: density.channels[name] for name in names}, extras={}) for density in (a, b)
    )
    quality = measure(
        first if first.grid == grid else first.resample(grid), second if second.grid == grid else second.resample(grid)
    )
    return Comparison(
        max(quality.nmae.values()),
        quality.nmae,
        quality.max_error,
        grid,
        float(np.abs(a.crystal.cell - b.crystal.cell).max()),
        distance,
        suggested,
    )


def moved(density: Density, shift: Sequence[float]) -> Density:
    """`Density.shifted`."""
    return density.shifted(shift)


def atoms_apart(a: Crystal, b: Crystal) -> tuple[float, tuple[float, float, float] | None]:
    """(farthest distance in Å of an atom of b from the next one of a of its element, the shift of b that ends it).

    NaN where the atoms are not the same. No shift where they lie within `CLOSE` already, or none brings them there.
    """
    if not len(a) or not np.array_equal(np.sort(a.numbers), np.sort(b.numbers)):
        return float("nan"), None
    apart = _farthest(a, b, np.zeros(3))[0]
    if apart <= CLOSE:
        return apart, None
    elements, counts = np.unique(a.numbers, return_counts=True)
    rarest = elements[counts.argmin()]
    own, other = (crystal.positions[crystal.numbers == rarest] for crystal in (a, b))
    candidates = ((position - other[0] + 0.5) % 1.0 - 0.5 for position in own[:_CANDIDATES])
    # The smallest of several shifts that do, as in a supercell.
    for offset in sorted(candidates, key=lambda x: round(float(np.linalg.norm(x @ a.cell)), 6)):
        near, mean = _farthest(a, b, offset)
        if near <= 2 * CLOSE and _farthest(a, b, offset + mean)[0] <= CLOSE:
            x, y, z = (float(f) for f in np.round(offset + mean, 6) + 0.0)
            return apart, (x, y, z)
    return apart, None


def unmatched(a: Crystal, b: Crystal) -> float:
    """Farthest distance in Å of an atom of b from the next one of a of its element; infinite where a has none."""
    if not set(b.numbers.tolist()) <= set(a.numbers.tolist()):
        return float("inf")
    return _farthest(a, b, np.zeros(3))[0] if len(b) else 0.0


def _farthest(a: Crystal, b: Crystal, offset: np.ndarray) -> tuple[float, np.ndarray]:
    """(largest distance in Å from a moved atom of b to the next one of a of its element, mean of these vectors)."""
    largest, total = 0.0, np.zeros(3)
    for element in np.unique(a.numbers):
        sites = a.positions[a.numbers == element]
        for position in b.positions[b.numbers == element] + offset:
            apart = (sites - position + 0.5) % 1.0 - 0.5
            lengths = np.linalg.norm(apart @ a.cell, axis=1)
            nearest = int(lengths.argmin())
            largest = max(largest, float(lengths[nearest]))
            total += apart[nearest]
            if largest > 4 * CLOSE and offset.any():
                return largest, total
    return largest, total / len(b)
