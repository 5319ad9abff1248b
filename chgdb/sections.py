"""Plane sections of a crystal and its fields: lattice planes (hkl), planes through three atoms, rectangles of them.

Values between grid points are linear on a grid that Fourier interpolation has made fine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .crystal import Crystal
from .errors import DensityError
from .grids import resample, slices

#: Å between the points of a grid that values between points are taken from, and how many points it has at most.
_SPACING = 0.08
_MOST_POINTS = 2_000_000
_LONGER = 1.2  # height over width of a plane that is better turned
_MARGIN = 2.5  # Å around three atoms


@dataclass(frozen=True, eq=False)
class Section:
    """A rectangle of a plane.

    Attributes
    ----------
    origin : np.ndarray
        (3,) Cartesian coordinates of its lower left corner, Å.
    axes : np.ndarray
        (2, 3) unit vectors along its width and its height.
    size : tuple[float, float]
        Width and height, Å.
    outline : np.ndarray | None
        (2, 2) lattice vectors of the plane, in its own coordinates; they begin at the lower left corner of one cell.
    start : np.ndarray
        (2,) that corner.
    name : str
        What it is, for a title.
    """

    origin: np.ndarray
    axes: np.ndarray
    size: tuple[float, float]
    outline: np.ndarray | None
    start: np.ndarray
    name: str

    def points(self, spacing: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A grid of points in the plane, with its ends.

        Parameters
        ----------
        spacing : float
            Largest distance between points, Å.

        Returns
        -------
        tuple[np.ndarray, np.ndarray, np.ndarray]
            (x (n,), y (m,), Cartesian coordinates (n, m, 3)), all in Å.
        """
        x, y = (np.linspace(0, length, max(2, math.ceil(length / spacing) + 1)) for length in self.size)
        places = self.origin + x[:, None, None] * self.axes[0] + y[None, :, None] * self.axes[1]
        return x, y, places

    def flat(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates of places in the plane, and their distances from it.

        Parameters
        ----------
        places : np.ndarray
            (n, 3) Cartesian places, Å.

        Returns
        -------
        tuple[np.ndarray, np.ndarray]
            (coordinates (n, 2), distances (n,)), both in Å.
        """
        away = places - self.origin
        return away @ self.axes.T, away @ np.cross(*self.axes)


def lattice_plane(
    crystal: Crystal,
    indices: Sequence[int],
    at: float | None = None,
    *,
    least: float = 7.0,
    lattice: np.ndarray | None = None,
) -> Section:
    """The lattice plane (hkl), a rectangle around as many cells of it as are at least some Å wide.

    Parameters
    ----------
    crystal : Crystal
        Whose lattice it is.
    indices : Sequence[int]
        Miller indices h, k, l; a common divisor is left out.
    at : float | None
        Where it lies, in distances of neighbouring lattice planes from the origin; through most atoms unless given.
    least : float
        Å that the rectangle has at least, by repeating cells.
    lattice : np.ndarray | None
        (2, 3) whole numbers: the lattice vectors of the plane, the first along the width; the shortest unless given.

    Returns
    -------
    Section

    Raises
    ------
    DensityError
        For (000), and indices that are no whole numbers.
    """
    h = np.array(indices)
    if h.shape != (3,) or not np.array_equal(h, np.rint(h)) or np.abs(h).max() > 1000:
        raise DensityError(f"{tuple(indices)} are no Miller indices: expected three whole numbers")
    h = h.astype(int)
    if not h.any():
        raise DensityError("(000) is no plane: at least one Miller index must not be zero")
    h //= math.gcd(*h.tolist())
    place = _through_atoms(crystal, h) if at is None else at
    inside = _lattice_of(crystal.cell, h) if lattice is None else np.array(lattice)
    first, second = inside @ crystal.cell
    x = first / np.linalg.norm(first)
    y = second - (second @ x) * x
    axes = np.array([x, y / np.linalg.norm(y)])
    flat = np.array([first, second]) @ axes.T
    repeats = [max(1, math.ceil(least / np.linalg.norm(vector) - 0.3)) for vector in flat]
    corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) @ (flat * np.array(repeats)[:, None])
    low, high = corners.min(axis=0), corners.max(axis=0)
    if lattice is None and high[1] - low[1] > _LONGER * (high[0] - low[0]):  # the long side lies flat
        return lattice_plane(crystal, indices, at, least=least, lattice=inside[::-1])
    normal = np.linalg.inv(crystal.cell) @ h  # 1/Å along the normal; planes lie at normal.r = n
    origin = place * normal / (normal @ normal)
    origin = origin - (origin @ axes.T) @ axes + low @ axes
    text = "".join(str(n) if 0 <= n < 10 else f" {n} " for n in h.tolist())
    return Section(
        origin, axes, (float(high[0] - low[0]), float(high[1] - low[1])), flat, -low, f"({text.strip()}) at {place:.3f}"
    )


def _through_atoms(crystal: Crystal, h: np.ndarray) -> float:
    """The place of the plane with the most atoms; the first of several."""
    if not len(crystal):
        return 0.0
    places = np.round(crystal.positions @ h % 1.0, 3) % 1.0
    values, counts = np.unique(places, return_counts=True)
    return float(values[counts.argmax()])


def _lattice_of(cell: np.ndarray, h: np.ndarray) -> np.ndarray:
    """The two shortest lattice vectors of the plane (hkl), (2, 3) whole numbers, at 60 to 90 degrees, right-handed."""
    # A basis of the whole-numbered solutions of h.v = 0, by Euclid's algorithm on columns, then Gauss' reduction.
    basis = np.eye(3, dtype=int)
    rest = h.copy()
    while np.count_nonzero(rest) > 1:
        nonzero = np.flatnonzero(rest)
        pivot = nonzero[np.argmin(np.abs(rest[nonzero]))]
        for other in nonzero[nonzero != pivot]:
            factor = rest[other] // rest[pivot]
            rest[other] -= factor * rest[pivot]
            basis[other] -= factor * basis[pivot]
    u, v = (basis[i] for i in range(3) if not rest[i])
    while True:
        a, b = u @ cell, v @ cell
        if a @ a > b @ b:
            u, v, a, b = v, u, b, a
        step = round(float(a @ b / (a @ a)))
        if not step:
            break
        v = v - step * u
    if (u @ cell) @ (v @ cell) < -1e-9:
        v = -v
    if np.cross(u @ cell, v @ cell) @ (np.linalg.inv(cell) @ h) < 0:
        u, v = v, u
    return np.array([u, v])


def through_atoms(crystal: Crystal, atoms: Sequence[int]) -> Section:
    """The plane through three atoms, the first two along its width, 2.5 Å beyond them.

    Parameters
    ----------
    crystal : Crystal
        Whose atoms they are.
    atoms : Sequence[int]
        Three numbers, counted from 1. The second and the third atom are the images next to the first.

    Returns
    -------
    Section

    Raises
    ------
    DensityError
        If there are no such atoms, or they lie on one line.
    """
    numbers = list(atoms)
    if len(numbers) != 3 or any(n != int(n) or not 1 <= n <= len(crystal) for n in numbers):
        raise DensityError(f"{tuple(atoms)} are not three atoms: expected numbers from 1 to {len(crystal)}")
    places = [crystal.positions[int(n) - 1] for n in numbers]
    first = places[0] @ crystal.cell
    taken: list[np.ndarray] = []
    for other in places[1:]:
        found = _images(places[0], other, crystal.cell)
        usable = [v for v in found if np.linalg.norm(v) > 0.1 and (not taken or _sine(v, taken[0]) > 0.02)]
        if not usable:
            raise DensityError(
                f"atoms {numbers[0]}, {numbers[1]} and {numbers[2]} lie on one line, which spans no plane"
            )
        # Only the nearest images: others would lead to a plane that nobody means.
        taken.append(usable[0])
        if np.linalg.norm(usable[0]) > np.linalg.norm(found[0]) + 0.1 and np.linalg.norm(found[0]) > 0.1:
            raise DensityError(
                f"atoms {numbers[0]}, {numbers[1]} and {numbers[2]} lie on one line, which spans no plane"
            )
    x = taken[0] / np.linalg.norm(taken[0])
    y = taken[1] - (taken[1] @ x) * x
    axes = np.array([x, y / np.linalg.norm(y)])
    flat = np.array([[0, 0], *(vector @ axes.T for vector in taken)])
    low, high = flat.min(axis=0) - _MARGIN, flat.max(axis=0) + _MARGIN
    symbols = [f"{crystal.symbols[int(n) - 1]}{int(n)}" for n in numbers]
    return Section(
        first + low @ axes,
        axes,
        (float(high[0] - low[0]), float(high[1] - low[1])),
        None,
        -low,
        f"through {', '.join(symbols)}",
    )


def _images(start: np.ndarray, end: np.ndarray, cell: np.ndarray) -> list[np.ndarray]:
    """Vectors from an atom to the images of another, the shortest first."""
    away = end - start
    away = away - np.rint(away)
    steps = np.stack(np.meshgrid(*[np.arange(-1, 2)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    vectors = (away + steps) @ cell
    return list(vectors[np.argsort(np.round(np.linalg.norm(vectors, axis=1), 6), kind="stable")])


def _sine(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(np.cross(a, b)) / (np.linalg.norm(a) * np.linalg.norm(b)))


def fine(values: np.ndarray, cell: np.ndarray, spacing: float = _SPACING) -> np.ndarray:
    """A field on a grid fine enough for values between its points, by Fourier interpolation.

    The field as it is where that would ring: all-electron densities are aliased on their grids, and between the points
    their Fourier series means nothing.
    """
    lengths = np.linalg.norm(cell, axis=1)
    wanted = np.maximum(values.shape, np.ceil(lengths / spacing))
    wanted = np.minimum(wanted, 4 * np.array(values.shape))
    factor = min(1.0, (_MOST_POINTS / wanted.prod()) ** (1 / 3))
    nx, ny, nz = (max(n, int(m * factor)) for n, m in zip(values.shape, wanted, strict=True))
    if (nx, ny, nz) == values.shape:
        return values
    result = resample(values, (nx, ny, nz))
    span = 0.05 * float(np.ptp(values))
    rings = result.min() < values.min() - span or result.max() > values.max() + span
    return values if rings else result


def linear(values: np.ndarray, fractions: np.ndarray) -> np.ndarray:
    """Values of a periodic field at fractional coordinates (..., 3), linear between grid points."""
    shape = np.array(values.shape)
    places = fractions.reshape(-1, 3)
    result = np.zeros(len(places))
    for part in slices(len(places), 8):
        scaled = places[part] % 1.0 * shape
        below = np.floor(scaled).astype(int)
        share = scaled - below
        for corner in np.ndindex(2, 2, 2):
            weight = np.prod(np.where(corner, share, 1 - share), axis=1)
            i, j, k = ((below + corner) % shape).T
            result[part] += weight * values[i, j, k]
    return result.reshape(fractions.shape[:-1])
