r"""The same crystal and density in other cells, exact in Fourier space.

New lattice vectors are the rows of T A, where the rows of A are the old ones. A point has the new fractional
coordinates x' with x = x' T (rows), so that a plane wave exp(2 pi i h.x) becomes exp(2 pi i h'.x') with h' = T h: the
Fourier coefficient F'(T h) is F(h), and all others are zero. Nothing is lost if T is of whole numbers (a supercell). If
it is not (a primitive cell), coefficients whose T h is not whole belong to no field that repeats with the new vectors;
their size is measured, and too large ones are refused.

A coefficient at the Nyquist frequency of an even axis stands for the mean of +n/2 and -n/2: it goes to both.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from typing import Any

import numpy as np

from . import augmentation
from .crystal import Crystal
from .errors import DensityError
from .grids import check_memory, fast_length, shifted, slices

#: Part of each field that may be lost in a cell that it does not repeat in.
TOLERANCE = 0.01
#: A field counts as at least this part of the total density: the noise of a magnetisation that is zero has no symmetry.
_LEAST = 0.01
#: Root mean square of what a grid may leave out, as part of that of the field: less than the digits of a CHGCAR.
_NOTHING = 1e-9
#: Å; atoms this near to each other are one and the same.
_SAME_PLACE = 0.3
_LARGEST_DENOMINATOR = 100
_MOST_ATOMS = 10**7
_AT_ONCE = 1 << 20  # coefficients


@dataclass(frozen=True, eq=False)
class Basis:
    """New lattice vectors in terms of old ones: T = whole / denominator, in lowest terms.

    whole: (3, 3) int64.
    denominator: 1 for supercells.
    """

    whole: np.ndarray
    denominator: int

    @property
    def matrix(self) -> np.ndarray:
        """T, (3, 3) float64."""
        return self.whole / self.denominator

    @property
    def size(self) -> float:
        """Volume of the new cell over that of the old one."""
        return abs(_determinant(self.whole)) / self.denominator**3

    @property
    def is_identity(self) -> bool:
        """Whether the new cell is the old one."""
        return self.denominator == 1 and np.array_equal(self.whole, np.eye(3))

    @classmethod
    def parse(cls, matrix: Any) -> Basis:
        """The basis that a number, three numbers or a matrix whose rows are new vectors stand for. Raises
        `DensityError` where it is none."""
        try:
            values = np.array(matrix, float)
        except (TypeError, ValueError):
            values = np.zeros(0)
        if values.shape in ((), (3,)):
            values = np.eye(3) * values
        if values.shape != (3, 3) or not np.isfinite(values).all():
            raise DensityError(f"{matrix!r} is no cell: expected a whole number, three of them or a 3x3 matrix")
        if np.abs(values).max() > 1e6:
            raise DensityError("a matrix of a cell with numbers beyond a million is no cell of this crystal")
        parts = [Fraction(x).limit_denominator(_LARGEST_DENOMINATOR) for x in values.ravel().tolist()]
        if max(abs(float(part) - x) for part, x in zip(parts, values.ravel().tolist(), strict=True)) > 1e-5:
            raise DensityError("lattice vectors of a new cell are fractions of the old ones, such as 0.5 or 1/3")
        denominator = math.lcm(*(part.denominator for part in parts))
        if denominator > _LARGEST_DENOMINATOR:
            raise DensityError("lattice vectors of a new cell are simple fractions of the old ones, such as 0.5 or 1/3")
        return cls.of(np.array([int(part * denominator) for part in parts], np.int64).reshape(3, 3), denominator)

    @classmethod
    def of(cls, whole: np.ndarray, denominator: int = 1) -> Basis:
        """The basis of whole numbers over a denominator. Raises `DensityError` if the rows are no basis."""
        if not _determinant(whole):
            raise DensityError("the matrix is singular: its rows are not three independent lattice vectors")
        common = math.gcd(denominator, *whole.ravel().tolist())
        return cls(whole // common, denominator // common)

    def then(self, other: Basis) -> Basis:
        """Another change of basis after this one."""
        return Basis.of(other.whole @ self.whole, other.denominator * self.denominator)


def _determinant(whole: np.ndarray) -> int:
    """Exact, unlike that of floats."""
    (a, b, c), (d, e, f), (g, h, i) = whole.tolist()
    result: int = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    return result


# Atoms --------------------------------------------------------------------------------------------------------------


def crystal_in(crystal: Crystal, basis: Basis) -> tuple[Crystal, np.ndarray]:
    """A crystal in another cell, not moved, and the number in the old cell of each atom.

    Atoms follow each other as the old ones do, copies of each together. If several old atoms become one, it is at their
    mean. Raises `DensityError` if the crystal does not repeat with the new vectors, and for more than 10 million
    atoms.
    """
    if basis.is_identity:
        return crystal, np.arange(len(crystal))
    atoms = len(crystal) * abs(_determinant(basis.whole))
    if atoms > _MOST_ATOMS:
        raise DensityError(f"a cell {basis.size:g} times as large: {atoms:.3g} atoms are too many")
    cell = basis.whole @ crystal.cell / basis.denominator
    if not len(crystal):
        return Crystal(cell, crystal.positions, crystal.numbers), np.arange(0)
    inverse = np.linalg.inv(basis.matrix)
    steps = _cosets(basis.whole) @ inverse
    places = (crystal.positions @ inverse)[:, None] + steps  # (atoms, copies, 3)
    source = np.repeat(np.arange(len(crystal)), len(steps))
    places = places.reshape(-1, 3)
    if basis.denominator > 1:
        copies = basis.denominator**3
        places, first, apart = merged(places, crystal.numbers[source], cell, copies)
        if len(source) % copies or apart > _SAME_PLACE:
            raise DensityError("the atoms do not repeat with the vectors of the new cell")
        source = source[first]
    wrapped = places % 1.0
    wrapped[wrapped > 1 - 1e-12] = 0.0
    return Crystal(cell, wrapped, crystal.numbers[source]), source


def _cosets(whole: np.ndarray) -> np.ndarray:
    """Old lattice points of which no two differ by new lattice vectors, the rows of a matrix of whole numbers."""
    x, y, z = (abs(n) for n in np.diag(hermite(whole)).tolist())
    return np.stack(np.meshgrid(np.arange(x), np.arange(y), np.arange(z), indexing="ij"), axis=-1).reshape(-1, 3)


def hermite(rows: np.ndarray) -> np.ndarray:
    """Basis in Hermite normal form, (3, 3) int64 upper triangular, of the lattice that whole-numbered rows generate.

    >>> hermite(np.array([[2, 0, 0], [0, 2, 0], [0, 0, 2], [1, 1, 0]])).tolist()
    [[1, 1, 0], [0, 2, 0], [0, 0, 2]]
    """
    rows = np.array(rows, np.int64)
    basis = []
    for column in range(3):  # by Euclid's algorithm
        while True:
            nonzero = np.flatnonzero(rows[:, column])
            pivot = nonzero[np.argmin(np.abs(rows[nonzero, column]))]
            others = nonzero[nonzero != pivot]
            if not len(others):
                break
            rows[others] -= (rows[others, column] // rows[pivot, column])[:, None] * rows[pivot]
        basis.append(rows[pivot])
        rows = np.delete(rows, pivot, axis=0)
    return np.array(basis)


def merged(
    places: np.ndarray, numbers: np.ndarray, cell: np.ndarray, copies: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Atoms that are the same but for lattice vectors, `copies` of each, at their means.

    places: (n, 3) fractional coordinates in `cell`; numbers: (n,) their elements.
    Returns (places, which atom is the first of each, the largest distance of one to its first in Å).
    """
    left = np.arange(len(places))
    chosen, firsts, farthest = [], [], 0.0
    while len(left):
        first = left[0]
        away = places[left] - places[first]
        away -= np.rint(away)
        distance = np.linalg.norm(away @ cell, axis=1)
        distance[numbers[left] != numbers[first]] = np.inf
        group = np.argsort(distance, kind="stable")[:copies]
        farthest = max(farthest, float(distance[group[-1]]))
        chosen.append(places[first] + away[group].mean(axis=0))
        firsts.append(first)
        left = np.delete(left, group)
    return np.array(chosen), np.array(firsts), farthest


# Values -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Spectrum:
    """Coefficients of the trigonometric polynomial through values on a grid, frequencies of z from 0 on.

    Nyquist frequencies of even axes are there with both signs.
    """

    coefficients: np.ndarray
    axes: list[np.ndarray]
    power: float

    @classmethod
    def of(cls, values: np.ndarray) -> _Spectrum:
        spectrum = np.fft.rfftn(values) / values.size
        nx, ny, nz = values.shape
        if nz % 2 == 0:
            spectrum[:, :, -1] *= 0.5  # its other half is the conjugate of another coefficient
        for axis, size in ((0, nx), (1, ny)):
            if size % 2 == 0:
                before, after = np.split(spectrum, [size // 2], axis)
                middle = after.take([0], axis) * 0.5
                spectrum = np.concatenate([before, middle, middle, np.delete(after, 0, axis)], axis)
        axes = [np.fft.fftfreq(n, 1 / n).round().astype(np.int64) for n in spectrum.shape[:2]]
        square = float(np.square(values, dtype=float).mean())
        return cls(spectrum, [*axes, np.arange(spectrum.shape[2])], square)

    def pieces(self, basis: Basis) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """(h' (n, 3) int64, coefficients (n,), weights (n,): 2 where -h' is meant, too) of what has a whole h'."""
        nx, ny, nz = self.coefficients.shape
        weights = np.where(self.axes[2] > 0, 2, 1)
        for part in slices(nx, ny * nz, _AT_ONCE):
            h = np.stack(np.meshgrid(self.axes[0][part], *self.axes[1:], indexing="ij"), axis=-1).reshape(-1, 3)
            h = h @ basis.whole.T
            values = self.coefficients[part]
            some = values.ravel() != 0
            if basis.denominator > 1:
                some &= ~(h % basis.denominator).any(axis=1)
                h //= basis.denominator
            yield h[some], values.ravel()[some], np.broadcast_to(weights, values.shape).ravel()[some]

    def natural_lengths(self, basis: Basis, nothing: float) -> list[int]:
        """The shortest axes of fast lengths, beyond whose frequencies is `nothing`, a part of the root mean square."""
        most = [int(abs(axis).max()) for axis in self.axes]
        sums = [np.zeros(int(row @ most) // basis.denominator + 1) for row in np.abs(basis.whole)]
        for h, values, weights in self.pieces(basis):
            power = weights * np.abs(values) ** 2
            for axis, found in enumerate(sums):
                found += np.bincount(np.abs(h[:, axis]), power, len(found))
        lengths = []
        for found in sums:
            beyond = np.cumsum(found[::-1])[::-1]  # power from each frequency on
            reached = np.flatnonzero(beyond > self.power * nothing**2 / 3)
            lengths.append(fast_length(2 * int(reached[-1]) + 1) if len(reached) and reached[-1] else 1)
        return lengths

    def on_grid(self, basis: Basis, grid: tuple[int, int, int]) -> tuple[np.ndarray, float]:
        """(values on a grid of the new cell, root mean square of what does not repeat with the new vectors)."""
        n = np.array(grid)
        result = np.zeros((grid[0], grid[1], grid[2] // 2 + 1), complex)
        flat = result.reshape(-1)
        kept_power = 0.0
        for h, values, weights in self.pieces(basis):
            kept_power += float((weights * np.abs(values) ** 2).sum())
            inside = (2 * np.abs(h) <= n).all(axis=1)
            h, values, weights = h[inside], values[inside], weights[inside]
            twice = weights > 1
            for to, coefficients in ((h, values), (-h[twice], values[twice].conj())):
                # Both signs of the Nyquist frequency of an even axis fall on one coefficient.
                half = (to[:, 2] >= 0) | (2 * to[:, 2] == -grid[2])
                to = to[half] % n
                np.add.at(flat, (to[:, 0] * grid[1] + to[:, 1]) * result.shape[2] + to[:, 2], coefficients[half])
        lost = 0.0 if basis.denominator == 1 else max(0.0, self.whole_power - kept_power)
        return np.fft.irfftn(result, s=grid, axes=(0, 1, 2)) * math.prod(grid), math.sqrt(lost)

    @property
    def whole_power(self) -> float:
        """Sum of the squares of all coefficients."""
        squares = np.abs(self.coefficients) ** 2
        return float(2 * squares.sum() - squares[:, :, 0].sum())


def _tiling(basis: Basis) -> np.ndarray | None:
    """Repeats along each axis where the new cell repeats the old one along its own vectors, else None."""
    diagonal = np.diag(basis.whole)
    is_tiling = basis.denominator == 1 and np.array_equal(np.diag(diagonal), basis.whole) and diagonal.min() > 0
    return diagonal if is_tiling else None


def _are_whole(numbers: np.ndarray) -> bool:
    return bool((np.abs(numbers - np.rint(numbers)) < 1e-9).all() and numbers.min() >= 1 - 1e-9)


def channels_in(
    channels: Mapping[str, np.ndarray],
    basis: Basis,
    grid: Sequence[int] | None = None,
    tolerance: float = TOLERANCE,
) -> dict[str, np.ndarray]:
    """Fields in another cell.

    channels: name -> (nx, ny, nz), the total density first.
    grid: of the new cell; by default the smallest one of fast lengths that nothing is lost on, or the old one repeated.
    tolerance: root mean square of what may be lost, as part of that of each field, where fields do not repeat with the
        new vectors.
    Raises `DensityError` if more would be lost, and for a grid beyond this machine's memory.
    """
    old = next(iter(channels.values())).shape
    if basis.is_identity and grid is None:
        return dict(channels)
    repeats = _tiling(basis)
    if repeats is not None and grid is None:
        nx, ny, nz = (int(n * m) for n, m in zip(old, repeats, strict=True))
        check_memory((nx, ny, nz), len(channels))
        return {name: np.tile(values, repeats) for name, values in channels.items()}
    same_axes = (np.count_nonzero(basis.whole, axis=0) == 1).all()
    points = np.abs(basis.matrix) @ old
    if grid is None and same_axes and _are_whole(points):
        grid = np.rint(points).astype(int).tolist()  # the points of the old grid that are in the new cell
    if grid is None:  # refused before work begins, if it cannot be
        check_memory(tuple(int(np.ceil(n * basis.size ** (1 / 3))) for n in old), len(channels))
    spectra = {name: _Spectrum.of(np.asarray(values, float)) for name, values in channels.items()}
    floor = _LEAST * math.sqrt(spectra[next(iter(spectra))].power)
    if grid is None:
        lengths = []
        for name, spectrum in spectra.items():
            share = floor / math.sqrt(spectrum.power) if 0 < spectrum.power < floor**2 else 1.0
            lengths.append(
                spectrum.natural_lengths(basis, share * max(_NOTHING, 4 * np.finfo(channels[name].dtype).eps))
            )
        grid = [max(found) for found in zip(*lengths, strict=True)]
    nx, ny, nz = grid
    check_memory((nx, ny, nz), len(channels))
    result = {}
    for name in channels:
        spectrum = spectra.pop(name)
        result[name], away = spectrum.on_grid(basis, (nx, ny, nz))
        size = max(math.sqrt(spectrum.power), floor)
        if away > tolerance * size:
            what = "density" if name == "total" else name.replace("_", " ", 1)
            raise DensityError(
                f"the {what} does not repeat with the vectors of the new cell: {100 * away / size:.2g} % of it would "
                "be lost"
            )
    return result


def repeats(channels: Mapping[str, np.ndarray], translation: Sequence[float], tolerance: float = TOLERANCE) -> bool:
    """Whether fields are the same after a translation by fractions of the lattice vectors, as `channels_in` asks."""
    floor = 0.0
    for values in channels.values():
        size = float(np.sqrt(np.square(values, dtype=float).mean()))
        floor = floor or _LEAST * size
        away = float(np.sqrt(np.square(shifted(values, translation) - values).mean()))
        if away > tolerance * max(size, floor):
            return False
    return True


# What belongs to atoms ----------------------------------------------------------------------------------------------


def extras_in(extras: Mapping[str, Any], source: np.ndarray, n_atoms: int) -> dict[str, Any]:
    """Extras of a file for other atoms: comment and line ends; labels, flags and augmentation occupancies of the old
    atom that each is.

    source: (n,) number in the old cell of each atom, of `n_atoms`.
    """
    if np.array_equal(source, np.arange(n_atoms)):
        return dict(extras)
    result = {key: extras[key] for key in ("comment", "line_end") if key in extras}
    labels = [label for label, count in extras.get("species", ()) for _ in range(count)]
    if len(labels) == n_atoms:
        runs = groupby(labels[i] for i in source)
        result["species"] = [[label, len(list(run))] for label, run in runs]
    flags = extras.get("selective_dynamics", ())
    if len(flags) == n_atoms:
        result["selective_dynamics"] = [flags[i] for i in source]
    after = {name: augmentation.for_atoms(text, source.tolist()) for name, text in extras.get("after", {}).items()}
    if after and all(text is not None for text in after.values()):
        result["after"] = after
    return result


# Rotations ----------------------------------------------------------------------------------------------------------


def check_rotation(rotation: Any) -> np.ndarray:
    """(3, 3) rotation matrix, made exact. Raises `DensityError` for anything else, reflections too."""
    try:
        matrix = np.array(rotation, float)
    except (TypeError, ValueError):
        matrix = np.zeros(0)
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all() or np.abs(matrix @ matrix.T - np.eye(3)).max() > 1e-4:
        raise DensityError("a rotation is an orthogonal 3x3 matrix, r' = R r in Cartesian coordinates")
    if np.linalg.det(matrix) < 0:
        raise DensityError("the matrix is a reflection or an inversion, which makes another crystal: give a rotation")
    left, _, right = np.linalg.svd(matrix)
    result: np.ndarray = left @ right
    return result


def rotation_about(axis: Sequence[float], degrees: float) -> np.ndarray:
    """Rotation by an angle about a Cartesian axis, counter-clockwise seen from its tip.

    Parameters
    ----------
    axis : Sequence[float]
        Three Cartesian components; the length does not matter.
    degrees : float
        The angle.

    Returns
    -------
    np.ndarray
        (3, 3), R of r' = R r.

    Raises
    ------
    DensityError
        For an axis of no length.

    Examples
    --------
    >>> rotation_about([0, 0, 2], 90).round(9).tolist()
    [[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    direction = np.array(axis, float)
    length = np.linalg.norm(direction)
    if not np.isfinite(degrees) or not 0 < length < np.inf:
        raise DensityError("a rotation needs an axis of some length and an angle in degrees")
    x, y, z = direction / length
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = math.radians(degrees)
    result: np.ndarray = np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross
    return result


def standard_orientation(cell: np.ndarray) -> np.ndarray:
    """The rotation that brings a along x and b into the xy plane, towards y; of a left-handed cell, with c below it."""
    x = cell[0] / np.linalg.norm(cell[0])
    y = cell[1] - (cell[1] @ x) * x
    y /= np.linalg.norm(y)
    return np.array([x, y, np.cross(x, y)])


def rotated_channels(channels: Mapping[str, np.ndarray], rotation: np.ndarray) -> dict[str, np.ndarray]:
    """Fields of a rotated crystal on its rotated grid: vectors turn with it, all else stays."""
    result = dict(channels)
    names = [f"magnetization_{axis}" for axis in "xyz"]
    if set(names) <= set(channels):
        for row, name in zip(rotation, names, strict=True):
            result[name] = sum(weight * channels[of] for weight, of in zip(row, names, strict=True))
    return result
