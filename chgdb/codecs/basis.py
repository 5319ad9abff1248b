"""Fourier coefficients of a real grid in an orthonormal, symmetry-adapted basis, ordered by |G|."""

from __future__ import annotations

import numpy as np

from ..errors import CodecError
from ..symmetry import SpaceGroup, blocks, box, check_norms, orbits
from .spectra import Residual, box_shape

#: No |G|^2 is larger.
EVERY_NORM = 1 << 62


class Basis:
    """Coefficients in an orthonormal symmetry-adapted basis <-> the half spectrum of a real grid.

    One real number per degree of freedom, such that the mean square of the density is the sum of their squares.
    norms: |G|^2 of each number, ascending but for the Nyquist terms, which follow the others.
    shape: of the box of a half spectrum that holds them.
    """

    def __init__(
        self,
        grid: tuple[int, int, int],
        metric: np.ndarray,
        group: SpaceGroup,
        limit: int,
        nyquist: bool,
        most: int | None = None,
    ) -> None:
        """`most`: how many numbers there can be; `CodecError` where there are far more (a damaged record)."""
        self.grid = grid
        self.shape = box_shape(box(metric, limit, [(n - 1) // 2 for n in grid]))
        if nyquist:
            self.shape = (grid[0], grid[1], grid[2] // 2 + 1)
        # Each number stands for about as many vectors of the half sphere as the point group has operations.
        rotations = len(np.unique(group.rotations.reshape(-1, 9), axis=0))
        self._orbits = orbits(grid, metric, limit, group, most=None if most is None else (most + 4096) * rotations)
        self._real = np.flatnonzero(self._orbits.freedom > 0)
        self._imaginary = self._orbits.freedom[self._real] == 2
        self._nyquist, nyquist_norms, self._free = _nyquist_terms(grid, metric, limit, most) if nyquist else _NO_NYQUIST
        counts = self._orbits.freedom[self._real]
        self._first = np.cumsum(counts) - counts
        self._size = int(counts.sum())
        self.norms = np.concatenate(
            [np.repeat(self._orbits.norms[self._real], counts), np.repeat(nyquist_norms, 1 + self._free)]
        )
        self._weight = np.sqrt(self._orbits.multiplicity[self._real])
        self._shift = None
        if group.origin.any():
            self._shift = np.exp(2j * np.pi * (self._orbits.members @ group.origin))

    def analyse(self, spectrum: Residual) -> np.ndarray:
        """Numbers, (n,), of a half spectrum (or at least the box of it that `shape` says): the projection on the
        symmetry."""
        values = spectrum.at(self._orbits.members)
        if self._shift is not None:
            values *= self._shift
        mean = self._orbits.fold(values)[self._real] * self._orbits.phase[self._real].conj() * self._weight
        numbers = np.empty(len(self.norms))
        numbers[self._first] = mean.real
        numbers[self._first[self._imaginary] + 1] = mean.imag[self._imaginary]
        if len(self._nyquist):
            terms = spectrum.at(self._nyquist) * np.where(self._free, np.sqrt(2.0), 1.0)
            both = np.stack([terms.real, terms.imag], axis=1)
            numbers[self._size :] = both[np.stack([np.ones_like(self._free), self._free], axis=1)]
        return numbers

    def synthesise(self, numbers: np.ndarray, spectrum: np.ndarray, grid: tuple[int, int, int]) -> None:
        """Add the coefficients of `numbers` to a half spectrum of a grid at least as fine in every direction, or to a
        box of it that is at least of this `shape`."""
        coefficients = np.zeros(len(self._orbits), complex)
        values = numbers[self._first].astype(complex)
        values.imag[self._imaginary] = numbers[self._first[self._imaginary] + 1]
        coefficients[self._real] = values * self._orbits.phase[self._real] / self._weight
        h = self._orbits.members
        members = self._orbits.unfold(coefficients)
        if self._shift is not None:
            members *= self._shift.conj()
        spectrum[h[:, 0], h[:, 1], h[:, 2]] += members
        flat = h[:, 2] == 0  # this plane holds both of each pair h, -h
        spectrum[-h[flat, 0], -h[flat, 1], 0] += members[flat].conj()
        if len(self._nyquist):
            if grid != self.grid:
                raise CodecError("a density with Nyquist terms decodes on its own grid first")
            both = np.zeros((len(self._nyquist), 2))
            both[np.stack([np.ones_like(self._free), self._free], axis=1)] = numbers[self._size :]
            terms = (both[:, 0] + 1j * both[:, 1]) / np.where(self._free, np.sqrt(2.0), 1.0)
            index = self._nyquist
            spectrum[tuple(index.T)] += terms
            n = np.array(grid)
            paired = self._free & ((2 * index[:, 2]) % n[2] == 0)
            mirror = -index[paired] % n
            spectrum[mirror[:, 0], mirror[:, 1], index[paired, 2]] += terms[paired].conj()


_NO_NYQUIST: tuple[np.ndarray, np.ndarray, np.ndarray] = (
    np.zeros((0, 3), np.int64),
    np.zeros(0, np.int64),
    np.zeros(0, bool),
)


def _nyquist_terms(
    grid: tuple[int, int, int], metric: np.ndarray, limit: int, most: int | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(indices into the half spectrum, norms, whether complex) of the terms with some |h_i| = n_i / 2, by |G|.

    Of two conjugate terms of one plane only the first is listed.
    """
    half = [size // 2 for size in grid]
    check_norms(metric, half)
    n = np.array(grid)
    sizes = (grid[0], grid[1], grid[2] // 2 + 1)
    near = [np.minimum(np.arange(size), whole - np.arange(size)) for size, whole in zip(sizes, grid, strict=True)]
    axes = [np.flatnonzero(h <= r) for h, r in zip(near, box(metric, limit, half), strict=True)]
    parts, count = [], 0
    for index in blocks(axes):
        index = index[(2 * index == n).any(axis=1)]
        mirror = -index % n
        in_plane = mirror[:, 2] == index[:, 2]
        key, mirror_key = index[:, 0] * n[1] + index[:, 1], mirror[:, 0] * n[1] + mirror[:, 1]
        h = np.where(2 * index > n, index - n, index)
        norms = ((h @ metric) * h).sum(axis=1)
        keep = (~in_plane | (key <= mirror_key)) & (norms <= limit)
        parts.append((index[keep], norms[keep], (~in_plane | (key != mirror_key))[keep]))
        count += int(keep.sum())
        if most is not None and count > most:
            raise CodecError("the payload claims more coefficients than it can hold: the record is damaged")
    index, norms, complex_valued = (np.concatenate(part) for part in zip(*parts, strict=True))
    order = np.argsort(norms, kind="stable")
    return index[order], norms[order], complex_valued[order]


def energy(spectrum: Residual, grid: tuple[int, ...]) -> float:
    """Mean square over the grid, from a half spectrum (Parseval)."""
    weights = plane_weights(grid)
    return float(sum((np.abs(terms) ** 2 * weights).sum() for _, terms in spectrum.pieces()))


def plane_weights(grid: tuple[int, ...]) -> np.ndarray:
    """How many terms of the whole spectrum each plane of the half spectrum stands for."""
    weights = np.full(grid[2] // 2 + 1, 2.0)
    weights[0] = 1
    if grid[2] % 2 == 0:
        weights[-1] = 1
    return weights


def half_norms(grid: tuple[int, ...], metric: np.ndarray, rows: slice) -> np.ndarray:
    """|G|^2 of every term of some rows of a half spectrum, (rows, ny, nz // 2 + 1) int64."""
    first, second = (np.fft.fftfreq(n, 1 / n).round().astype(np.int64) for n in grid[:2])
    x, y, z = np.ix_(first[rows], second, np.arange(grid[2] // 2 + 1))
    plane = metric[0, 0] * x * x + 2 * metric[0, 1] * x * y + metric[1, 1] * y * y
    return plane + (2 * (metric[0, 2] * x + metric[1, 2] * y) + metric[2, 2] * z) * z
