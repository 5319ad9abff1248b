r"""The promolecule: a density is nearly a superposition of atomic densities (SAD).

arXiv 2510.00788 learns densities as the difference to it, and calls it SAED. Its form factors are a codec's prior:

    F_prior(G) = 1/V sum_a f_Z(a)(|G|) exp(-i G.r_a)

with one radial form factor f_Z per element, a cubic B-spline in |G| / 2 pi fitted by least squares to the densities of
a catalog. G = 0 is never taken from the prior: the electron count of every record is stored.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np

from .density import Crystal, Density
from .errors import CodecError

#: Distance of the spline's knots, 1/Å, and how many coefficients an element has: they reach |G| / 2 pi = 4.125 1/Å,
#: beyond which pseudo-densities of usual cutoffs have nothing left.
SPACING = 0.125
COEFFICIENTS = 36
#: Passes of a fit.
PASSES = 2
_MOST_ELECTRONS = 1e6  # no coefficient of any atom is near
_BLOCK = 1 << 22  # complex numbers held at once
_REACH = SPACING * (COEFFICIENTS - 3)


@dataclass(frozen=True, eq=False)
class Table:
    """values[Z][i] is f_Z at s = i / per_unit, slopes[Z][i] the step to the next."""

    values: dict[int, np.ndarray]
    slopes: dict[int, np.ndarray]
    per_unit: ClassVar[int] = 512


@dataclass(frozen=True, eq=False)
class Prior:
    """Radial form factors of elements.

    Attributes
    ----------
    numbers : np.ndarray
        (n,) int64, atomic numbers, ascending.
    coefficients : np.ndarray
        (n, `COEFFICIENTS`) float32, cubic B-spline coefficients of f_Z in electrons.
    """

    numbers: np.ndarray
    coefficients: np.ndarray

    def __post_init__(self) -> None:
        numbers = np.asarray(self.numbers, np.int64)
        coefficients = np.ascontiguousarray(self.coefficients, "<f4")
        if numbers.ndim != 1 or (np.diff(numbers) <= 0).any():
            raise CodecError("the atomic numbers of a prior must ascend: it is damaged")
        if coefficients.shape != (len(numbers), COEFFICIENTS) or not (np.abs(coefficients) < _MOST_ELECTRONS).all():
            raise CodecError(f"a prior of {len(numbers)} elements has coefficients of the shape {coefficients.shape}")
        object.__setattr__(self, "numbers", numbers)
        object.__setattr__(self, "coefficients", coefficients)

    @property
    def identifier(self) -> int:
        """16 bits that name this prior in a payload; never 0, which means "without a prior"."""
        return zlib.crc32(self.numbers.astype("<i8").tobytes() + self.coefficients.tobytes()) % 65535 + 1

    def covers(self, crystal: Crystal) -> bool:
        """Whether every element of the crystal has a form factor.

        Parameters
        ----------
        crystal : Crystal
            The crystal.

        Returns
        -------
        bool
        """
        return bool(np.isin(crystal.numbers, self.numbers).all())

    def form_factor(self, number: int, s: np.ndarray) -> np.ndarray:
        """The form factor of an element, in electrons.

        Parameters
        ----------
        number : int
            Atomic number.
        s : np.ndarray
            |G| / 2 pi, 1/Å.

        Returns
        -------
        np.ndarray
            Zero beyond the last knot.
        """
        row = int(np.searchsorted(self.numbers, number))
        if row >= len(self.numbers) or self.numbers[row] != number:
            raise CodecError(f"the prior has no form factor for the element with atomic number {number}")
        first, weights = spline_basis(s)
        padded = np.append(self.coefficients[row].astype(float), np.zeros(4))
        return sum(padded[first + k] * weights[k] for k in range(4))

    @property
    def reach(self) -> float:
        """|G| / 2 pi, in 1/Å, from which on every form factor is zero."""
        return _REACH

    @cached_property
    def table(self) -> Table:
        """The form factors on a fine uniform grid, for linear interpolation on whole spectra."""
        s = np.arange(int(_REACH * Table.per_unit) + 2) / Table.per_unit
        values = {int(z): self.form_factor(int(z), s) for z in self.numbers}
        return Table(values, {z: np.append(np.diff(f), 0.0) for z, f in values.items()})

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Arrays that `from_arrays` reads.

        Returns
        -------
        dict[str, np.ndarray]
        """
        return {"numbers": self.numbers, "coefficients": self.coefficients}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Prior:
        """The prior of the arrays that `to_arrays` gave.

        Parameters
        ----------
        arrays : Mapping[str, np.ndarray]
            Name -> array.

        Returns
        -------
        Prior

        Raises
        ------
        CodecError
            If arrays are missing or have the wrong shape.
        """
        try:
            numbers, coefficients = arrays["numbers"], arrays["coefficients"]
        except KeyError as error:
            raise CodecError(f"the prior lacks its array {error}") from None
        if numbers.dtype.kind not in "iu" or coefficients.dtype.kind != "f":
            raise CodecError(f"a prior of {numbers.dtype} and {coefficients.dtype}: it is damaged")
        return cls(numbers, coefficients)


def spline_basis(s: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """(first, four weights): the cubic B-spline is the sum of weights[k] * coefficients[first + k].

    `first` points behind the coefficients beyond the last knot.
    """
    x = np.minimum(s, _REACH) / SPACING
    first = x.astype(np.int64)
    t = x - first
    first[s >= _REACH] = COEFFICIENTS
    u = 1 - t
    square, cube = t * t, t * t * t
    weights = (u * u * u / 6, (3 * cube - 6 * square + 4) / 6, (-3 * cube + 3 * square + 3 * t + 1) / 6, cube / 6)
    return first, weights


def structure_factors(
    crystal: Crystal, reach: tuple[int, int, int], rows: np.ndarray | None = None
) -> dict[int, np.ndarray]:
    """sum_a exp(-2 pi i h.x_a) per element, on |h1| <= reach[0], |h2| <= reach[1], 0 <= h3 <= reach[2].

    Each array has the shape (2 reach[0] + 1, 2 reach[1] + 1, reach[2] + 1), indices starting at the most negative h.
    rows: the h1 wanted, unless all.
    """
    first = np.arange(-reach[0], reach[0] + 1) if rows is None else rows
    axes = [first, np.arange(-reach[1], reach[1] + 1), np.arange(reach[2] + 1)]
    factors: dict[int, np.ndarray] = {}
    for number in sorted(set(crystal.numbers.tolist())):
        positions = crystal.positions[crystal.numbers == number]
        positions = np.where(np.abs(positions) > 1e6, 0.0, positions)  # no digits left after the point
        at_once = max(1, _BLOCK // (len(axes[0]) * len(axes[1])))
        for start in range(0, len(positions), at_once):
            part = positions[start : start + at_once].T
            waves = [np.exp(-2j * np.pi * np.outer(axis, x)) for axis, x in zip(axes, part, strict=True)]
            plane = waves[0][:, None, :] * waves[1][None, :, :]
            total = plane @ waves[2].T
            factors[number] = factors[number] + total if start else total
    return factors


def half_spectrum(
    prior: Prior, crystal: Crystal, native: tuple[int, int, int], grid: tuple[int, int, int]
) -> np.ndarray:
    """F_prior on the half spectrum of `grid`, limited to what `native` resolves; G = 0 is left out.

    Shape (nx, ny, nz // 2 + 1), complex, e/Å^3. Elements that the prior does not have contribute nothing.
    """
    reach = reach_of(prior, crystal, native)
    spectrum = np.zeros((grid[0], grid[1], grid[2] // 2 + 1), complex)
    columns = np.arange(-reach[1], reach[1] + 1)
    step = max(1, _BLOCK // (4 * len(columns) * (reach[2] + 1)))
    for start in range(-reach[0], reach[0] + 1, step):
        rows = np.arange(start, min(start + step, reach[0] + 1))
        spectrum[rows[:, None], columns[None, :], : reach[2] + 1] = _rows_of_spectrum(prior, crystal, rows, reach)
    spectrum[0, 0, 0] = 0
    return spectrum


def reach_of(prior: Prior, crystal: Crystal, native: tuple[int, int, int]) -> tuple[int, int, int]:
    """Largest |h_i| up to which a prior knows the spectrum of a grid."""
    lengths = np.linalg.norm(crystal.cell, axis=1)
    a, b, c = (min((n - 1) // 2, int(prior.reach * length) + 1) for n, length in zip(native, lengths, strict=True))
    return a, b, c


def _rows_of_spectrum(prior: Prior, crystal: Crystal, rows: np.ndarray, reach: tuple[int, int, int]) -> np.ndarray:
    """F_prior, (rows, 2 reach[1] + 1, reach[2] + 1), for some h1, with all h2 and h3 within reach."""
    reciprocal = np.linalg.inv(crystal.cell).T
    axes = [rows.astype(float), np.arange(-reach[1], reach[1] + 1.0), np.arange(reach[2] + 1.0)]
    parts = [axis[:, None] * vector for axis, vector in zip(axes, reciprocal, strict=True)]
    vectors = parts[0][:, None, None, :] + parts[1][None, :, None, :] + parts[2][None, None, :, :]
    s = np.sqrt(np.einsum("xyzi,xyzi->xyz", vectors, vectors))
    total = np.zeros(s.shape, complex)
    table = prior.table
    x = np.minimum(s, prior.reach) * table.per_unit
    first = x.astype(np.intp)
    x -= first
    for number, structure in structure_factors(crystal, reach, rows).items():
        if number not in table.values:
            continue
        values = table.values[number]
        structure *= (values[first] + x * table.slopes[number][first]) / crystal.volume
        total += structure
    return total


def superposition(prior: Prior, crystal: Crystal, grid: tuple[int, int, int]) -> np.ndarray:
    """The superposition of atomic densities on a grid: (nx, ny, nz) float64, e/Å^3, with zero mean.

    Elements that the prior does not have contribute nothing.
    """
    spectrum = half_spectrum(prior, crystal, grid, grid)
    return np.fft.irfftn(spectrum, s=grid, axes=(0, 1, 2), norm="forward")


def fit(densities: Iterable[Density], passes: int = PASSES) -> Prior:
    """Fit form factors of all elements of some densities.

    The first pass is plain least squares on n / mean n. Each further pass weights each shell of |G| by the inverse of
    the standard deviation that the previous fit left there, which is nearer to the cost in the entropy coder.

    Parameters
    ----------
    densities : Iterable[Density]
        Densities that can be iterated several times, such as a sequence. Only the total density is used.
    passes : int
        Number of passes over the densities.

    Returns
    -------
    Prior

    Raises
    ------
    CodecError
        For no density, or a generator.
    """
    if iter(densities) is densities:  # a generator would be empty at the second pass
        raise CodecError("the prior is fitted in several passes: give a list of densities, not a generator")
    prior = None
    for _ in range(max(passes, 1)):
        equations = Equations()
        for density in densities:
            equations.add(density, prior)
        prior = equations.solve()
    assert prior is not None
    return prior


@dataclass
class Equations:
    """Normal equations of the form factors, a sum over densities: parts can be added up in other processes.

    blocks: (Z, Z') -> (`COEFFICIENTS`, `COEFFICIENTS`) float64. right: Z -> (`COEFFICIENTS`,) float64.
    """

    blocks: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)
    right: dict[int, np.ndarray] = field(default_factory=dict)

    def add(self, density: Density, previous: Prior | None) -> None:
        """One density, weighed by what a previous fit leaves of it."""
        _accumulate(density, previous, self.blocks, self.right)

    def merge(self, other: Equations) -> None:
        """Add the sums of another part."""
        for pair, block in other.blocks.items():
            self.blocks[pair] = self.blocks.get(pair, 0) + block
        for number, vector in other.right.items():
            self.right[number] = self.right.get(number, 0) + vector

    def solve(self) -> Prior:
        """Raises `CodecError` if no density was added."""
        if not self.right:
            raise CodecError("a prior needs at least one density")
        numbers = sorted(self.right)
        size = COEFFICIENTS
        matrix = np.zeros((len(numbers) * size, len(numbers) * size))
        for (a, b), block in self.blocks.items():
            i, j = numbers.index(a) * size, numbers.index(b) * size
            matrix[i : i + size, j : j + size] = block
        # An element seen in few densities leaves coefficients undetermined: smoothness settles them, at no cost
        # elsewhere.
        bend = np.diff(np.eye(size), 2, axis=0)
        for k in range(len(numbers)):
            part = slice(k * size, (k + 1) * size)
            scale = np.trace(matrix[part, part]) / size
            matrix[part, part] += scale * (1e-6 * bend.T @ bend + 1e-9 * np.eye(size))
        solution = np.linalg.solve(matrix, np.concatenate([self.right[z] for z in numbers]))
        return Prior(np.array(numbers, np.int64), solution.reshape(-1, size))


def _accumulate(density: Density, previous: Prior | None, blocks: dict, right: dict) -> None:
    """Add one density to the normal equations."""
    crystal = density.crystal
    values = np.fft.rfftn(density.total) / density.total.size
    nx, ny, nz = density.grid
    reach = ((nx - 1) // 2, (ny - 1) // 2, (nz - 1) // 2)
    h = np.stack(
        np.meshgrid(np.arange(-reach[0], reach[0] + 1), np.arange(-reach[1], reach[1] + 1), np.arange(reach[2] + 1),
                    indexing="ij"), axis=-1,
    ).reshape(-1, 3)  # fmt: skip
    s = np.sqrt(((h @ np.linalg.inv(crystal.cell).T) ** 2).sum(axis=1))
    keep = (s < _REACH) & (s > 0)
    h, s = h[keep], s[keep]
    target = values[h[:, 0], h[:, 1], h[:, 2]]
    structure = {z: S.reshape(-1)[keep] / crystal.volume for z, S in structure_factors(crystal, reach).items()}
    mean = abs(float(values[0, 0, 0].real)) or 1.0
    weight = np.full(len(s), 1 / mean**2)
    if previous is not None:
        left = target - sum(S * previous.form_factor(z, s) for z, S in structure.items())
        shell = (s / SPACING).astype(np.int64)
        power = np.bincount(shell, np.abs(left) ** 2) / np.maximum(np.bincount(shell), 1)
        weight = 1 / (mean * np.sqrt(power[shell] + (1e-5 * mean / np.sqrt(len(s))) ** 2))
    weight = weight * np.where(h[:, 2] == 0, 1, 2)
    first, basis = spline_basis(s)
    size = COEFFICIENTS
    for a, Sa in structure.items():
        projected = (Sa.conj() * target).real * weight
        vector = right.setdefault(a, np.zeros(size))
        for k in range(4):
            vector += np.bincount(first + k, projected * basis[k], size + 4)[:size]
        for b, Sb in structure.items():
            if b < a:
                continue
            overlap = (Sa.conj() * Sb).real * weight
            block = np.zeros((size, size))
            for k in range(4):
                for j in range(4):
                    band = np.bincount(first + k, overlap * basis[k] * basis[j], size + 4)[:size]
                    rows = np.arange(size)
                    ok = (rows + j - k >= 0) & (rows + j - k < size)
                    block[rows[ok], rows[ok] + j - k] += band[ok]
            blocks[a, b] = blocks.get((a, b), 0) + block
            if a != b:
                blocks[b, a] = blocks.get((b, a), 0) + block.T
