"""Fourier coefficients of a real grid in an orthonormal, symmetry-adapted basis, ordered by |G|."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from ..errors import CodecError
from ..symmetry import Orbits, SpaceGroup, blocks, box, check_norms, inner_products, orbits, square_norms
from .spectra import Residual, box_shape

#: Larger than the |G|^2 of any vector.
EVERY_NORM = 1 << 62
#: A grid cannot tell a vector from those that differ from it by its size times one of these, (27, 3).
IMAGES = np.array(list(itertools.product((-1, 0, 1), repeat=3)))


@dataclass(frozen=True)
class Coarse:
    """The vectors that are coded where a density was summed up on a grid coarser than its own.

    The terms are those of the coarse grid, at the vectors with |h_i| <= N_i / 2, and those near G = 0, where something
    was added on the finer grid. The coarse grid takes several vectors for the same. Its term is as large as the vector
    of these that is nearest to G = 0: the |G|^2 of that vector is the key of the term. A vector beyond the coarse grid
    has its own |G|^2 as its key.

    divisions: N. outer: largest key on the coarse grid. inner: largest |G|^2 of the other vectors.
    """

    divisions: tuple[int, int, int]
    outer: int
    inner: int

    def keys(self, h: np.ndarray, metric: np.ndarray) -> np.ndarray:
        """The key of each vector, (n,) int64; `EVERY_NORM` where a vector is not coded."""
        size = np.array(self.divisions)
        inside = (2 * np.abs(h) <= size).all(axis=1)
        own = square_norms(h, metric)
        keys = np.where(own <= self.inner, own, EVERY_NORM)
        images = size * IMAGES
        near = 2 * inner_products(images, metric, h[inside]) + square_norms(images, metric)[:, None]
        least = own[inside] + near.min(axis=0)
        keys[inside] = np.where(least <= self.outer, least, EVERY_NORM)
        return keys


class Basis:
    """Coefficients in an orthonormal symmetry-adapted basis <-> the half spectrum of a real grid.

    There is one real number per degree of freedom. The mean square of the density is the sum of their squares.
    norms: |G|^2 of each number. They ascend, except for the Nyquist terms, which follow the others.
    shape: the shape of the box of a half spectrum that holds the numbers.
    """

    def __init__(
        self,
        grid: tuple[int, int, int],
        metric: np.ndarray,
        group: SpaceGroup,
        limit: int,
        nyquist: bool,
        most: int | None = None,
        coarse: Coarse | None = None,
    ) -> None:
        """`most`: how many numbers there can be. `CodecError` where there are far more: the record is damaged."""
        self.grid = grid
        self.shape = box_shape(box(metric, limit, [(n - 1) // 2 for n in grid]))
        if nyquist:
            self.shape = (grid[0], grid[1], grid[2] // 2 + 1)
        # Each number stands for about as many vectors of the half sphere as the point group has operations.
        rotations = len(np.unique(group.rotations.reshape(-1, 9), axis=0))
        self._orbits = orbits(grid, metric, limit, group, most=None if most is None else (most + 4096) * rotations)
        self.metric, self.coarse = metric, coarse
        if coarse is not None:
            self._orbits = _keyed(self._orbits, coarse.keys(self._orbits.members, metric))
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
        """The numbers, (n,), of a half spectrum: its projection on the symmetry.

        spectrum: a half spectrum, or a box of one that has at least this `shape`.
        """
        numbers = self.project(spectrum.at(self._orbits.members))
        if len(self._nyquist):
            terms = spectrum.at(self._nyquist) * np.where(self._free, np.sqrt(2.0), 1.0)
            both = np.stack([terms.real, terms.imag], axis=1)
            numbers[self._size :] = both[np.stack([np.ones_like(self._free), self._free], axis=1)]
        return numbers

    @property
    def members(self) -> np.ndarray:
        """The vectors whose coefficients the numbers are, without the Nyquist terms, (m, 3) int64."""
        return self._orbits.members

    @property
    def share(self) -> np.ndarray:
        """The part of each number's vectors that lies on the coarse grid, (n,); its faces count half."""
        assert self.coarse is not None
        reach = 2 * np.abs(self.members)
        parts = (reach < self.coarse.divisions).astype(float) + 0.5 * (reach == np.array(self.coarse.divisions))
        orbit = self._orbits.orbit
        count = len(self._orbits)
        shares = np.bincount(orbit, parts.prod(axis=1), count) / np.bincount(orbit, minlength=count)
        result = np.zeros(len(self.norms))
        result[: self._size] = np.repeat(shares[self._real], self._orbits.freedom[self._real])
        return result

    def on_coarse(self, coarse: Coarse) -> tuple[np.ndarray, np.ndarray]:
        """Whether one of the vectors of each number lies on a coarse grid, and their smallest key there."""
        keys = np.full(len(self._orbits), EVERY_NORM)
        np.minimum.at(keys, self._orbits.orbit, coarse.keys(self.members, self.metric))
        each = np.full(len(self.norms), EVERY_NORM)
        each[: self._size] = np.repeat(keys[self._real], self._orbits.freedom[self._real])
        return each < EVERY_NORM, each

    def project(self, values: np.ndarray) -> np.ndarray:
        """The numbers, (n,), of the symmetric part of coefficients at `members`, (m,) complex."""
        if self._shift is not None:
            values = values * self._shift
        mean = self._orbits.fold(values)[self._real] * self._orbits.phase[self._real].conj() * self._weight
        numbers = np.zeros(len(self.norms))
        numbers[self._first] = mean.real
        numbers[self._first[self._imaginary] + 1] = mean.imag[self._imaginary]
        return numbers

    def functionals(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """`project` written as a sum over members: (u, sign, real, imaginary), each (m,).

        Member k adds Re(u_k value_k) to number real[k], and sign_k Im(u_k value_k) to number imaginary[k]. An index of
        -1 stands for no number.
        """
        orbits = self._orbits
        turn = orbits.phase.conj() / np.bincount(orbits.orbit, minlength=len(orbits))
        turn[self._real] *= self._weight
        u = turn[orbits.orbit]
        np.conjugate(u, out=u, where=orbits.conjugate)
        u *= orbits.factor.conj()
        if self._shift is not None:
            u *= self._shift
        real, imaginary = np.full(len(orbits), -1), np.full(len(orbits), -1)
        real[self._real] = self._first
        imaginary[self._real[self._imaginary]] = self._first[self._imaginary] + 1
        return u, np.where(orbits.conjugate, -1.0, 1.0), real[orbits.orbit], imaginary[orbits.orbit]

    def spread(self, numbers: np.ndarray) -> np.ndarray:
        """The coefficients at `members`, (m,) complex, that numbers, (n,), stand for."""
        coefficients = np.zeros(len(self._orbits), complex)
        values = numbers[self._first].astype(complex)
        values.imag[self._imaginary] = numbers[self._first[self._imaginary] + 1]
        coefficients[self._real] = values * self._orbits.phase[self._real] / self._weight
        members = self._orbits.unfold(coefficients)
        if self._shift is not None:
            members *= self._shift.conj()
        return members

    def spread_weights(self, weights: np.ndarray) -> np.ndarray:
        """The weight of a squared coefficient at each of `members`, (m,), where squared numbers have `weights`."""
        each = np.zeros(len(self._orbits))
        each[self._real] = weights[self._first] * 2
        return each[self._orbits.orbit]

    def synthesise(self, numbers: np.ndarray, spectrum: np.ndarray, grid: tuple[int, int, int]) -> None:
        """Add the coefficients of `numbers` to a spectrum, in place.

        spectrum: the half spectrum of a grid at least as fine along each axis, or a box of it of at least this `shape`.
        """
        h = self._orbits.members
        members = self.spread(numbers)
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


def _keyed(all_orbits: Orbits, keys: np.ndarray) -> Orbits:
    """The orbits with a vector that has a key, in the order of the smallest key of each."""
    smallest = np.full(len(all_orbits), EVERY_NORM)
    np.minimum.at(smallest, all_orbits.orbit, keys)
    kept = np.flatnonzero(smallest < EVERY_NORM)
    h = all_orbits.representatives[kept]
    span = 2 * int(np.abs(h).max(initial=0)) + 1
    kept = kept[np.lexsort((h @ np.array([1, span, span * span]), smallest[kept]))]
    rank = np.full(len(all_orbits), -1)
    rank[kept] = np.arange(len(kept))
    orbit = rank[all_orbits.orbit]
    chosen = orbit >= 0
    return Orbits(
        all_orbits.representatives[kept], smallest[kept], all_orbits.multiplicity[kept], all_orbits.freedom[kept],
        all_orbits.phase[kept], all_orbits.members[chosen], orbit[chosen], all_orbits.factor[chosen],
        all_orbits.conjugate[chosen],
    )  # fmt: skip


_NO_NYQUIST: tuple[np.ndarray, np.ndarray, np.ndarray] = (
    np.zeros((0, 3), np.int64),
    np.zeros(0, np.int64),
    np.zeros(0, bool),
)


def _nyquist_terms(
    grid: tuple[int, int, int], metric: np.ndarray, limit: int, most: int | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The terms with some |h_i| = n_i / 2, by |G|: (indices into the half spectrum, norms, whether complex).

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
        norms = square_norms(h, metric)
        keep = (~in_plane | (key <= mirror_key)) & (norms <= limit)
        parts.append((index[keep], norms[keep], (~in_plane | (key != mirror_key))[keep]))
        count += int(keep.sum())
        if most is not None and count > most:
            raise CodecError("the payload claims more coefficients than it can hold: the record is damaged")
    index, norms, complex_valued = (np.concatenate(part) for part in zip(*parts, strict=True))
    order = np.argsort(norms, kind="stable")
    return index[order], norms[order], complex_valued[order]


def energy(spectrum: Residual, grid: tuple[int, ...]) -> float:
    """The mean square over the grid, computed from its half spectrum (Parseval)."""
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
    """|G|^2 of every term in some rows of a half spectrum, (rows, ny, nz // 2 + 1) int64."""
    first, second = (np.fft.fftfreq(n, 1 / n).round().astype(np.int64) for n in grid[:2])
    x, y, z = np.ix_(first[rows], second, np.arange(grid[2] // 2 + 1))
    plane = metric[0, 0] * x * x + 2 * metric[0, 1] * x * y + metric[1, 1] * y * y
    return plane + (2 * (metric[0, 2] * x + metric[1, 2] * y) + metric[2, 2] * z) * z
