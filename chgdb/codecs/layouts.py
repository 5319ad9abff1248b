"""Layouts of occupancies: the (L, M) that each number of an atom belongs to, and how symmetry turns the numbers.

VASP couples the occupancies of the PAW channels i <= j, with angular momenta l_i and l_j in the order of the POTCAR,
to L = |l_i - l_j|, |l_i - l_j| + 2, ..., l_i + l_j. Each L has 2L + 1 numbers, M from -L to L, which turn like real
spherical harmonics. A file says how many numbers an atom has. It does not say the l_i: their list is the layout.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import permutations

import numpy as np

from ..density import Crystal
from ..rotations import HarmonicRotations, cartesian_rotations
from ..symmetry import UNITS, SpaceGroup

Layout = tuple[int, ...]  # l of each channel, in order

HIGHEST_CHANNEL = 3  # f
MOST_CHANNELS = 16
_ALL_ORDERS = 6  # with more channels, only orders that keep equal l together are candidates
_AT_ONCE = 1 << 18  # pairs of atoms whose distances are computed at once
_UNCERTAIN = 4  # from this L on, the sign of VASP's harmonics is found by trying
_CLEAR = 0.437  # of the largest length; symmetry makes no such ratio of lengths
_NOTHING = 1e-3  # of a step; rounding leaves no more than this of a zero


@lru_cache(maxsize=256)
def blocks(layout: Layout) -> tuple[int, ...]:
    """The L of each block, in the order of the numbers.

    >>> blocks((0, 0, 1))
    (0, 0, 1, 0, 1, 0, 2)
    """
    found: list[int] = []
    for i, low in enumerate(layout):
        for high in layout[i:]:
            found += range(abs(low - high), low + high + 1, 2)
    return tuple(found)


@lru_cache(maxsize=256)
def places(layout: Layout) -> dict[int, np.ndarray]:
    """For each L the indices of the numbers of its blocks, (blocks, 2L + 1)."""
    starts: dict[int, list[int]] = {}
    start = 0
    for ell in blocks(layout):
        starts.setdefault(ell, []).append(start)
        start += 2 * ell + 1
    return {ell: np.array(first)[:, None] + np.arange(2 * ell + 1) for ell, first in sorted(starts.items())}


def count_of(layout: Layout) -> int:
    """How many numbers an atom with these channels has.

    >>> [count_of(layout) for layout in ((0, 0, 1), (0, 0, 1, 1), (0, 0, 1, 1, 2, 2))]
    [15, 33, 138]
    """
    return sum(2 * ell + 1 for ell in blocks(layout))


@lru_cache(maxsize=64)
def candidates(count: int) -> tuple[Layout, ...]:
    """Layouts with `count` numbers, the commonest first: s and p among them, few channels of each l, s, p, d, f."""
    found: dict[Layout, None] = {}
    for numbers in sorted(_amounts(count), key=lambda n: (not (n[0] and n[1]), max(n), n)):
        grouped = [(ell,) * number for ell, number in enumerate(numbers) if number]
        for order in permutations(grouped):
            found[sum(order, ())] = None
        if sum(numbers) <= _ALL_ORDERS:
            for mixed in permutations(sum(grouped, ())):
                found[mixed] = None
    return tuple(found)


def _amounts(count: int) -> Iterator[tuple[int, ...]]:
    """The numbers of channels of each l that have `count` numbers together."""

    def same(ell: int, number: int) -> int:  # how many numbers the pairs of `number` channels of one l have
        return number * (number + 1) // 2 * (2 * ell + 1) * (ell + 1)

    def between(one: int, other: int) -> int:
        return sum(2 * ell + 1 for ell in range(abs(one - other), one + other + 1, 2))

    def extend(chosen: tuple[int, ...], total: int) -> Iterator[tuple[int, ...]]:
        ell = len(chosen)
        if ell > HIGHEST_CHANNEL:
            if total == count:
                yield chosen
            return
        for number in range(MOST_CHANNELS + 1 - sum(chosen)):
            more = same(ell, number) + sum(n * number * between(k, ell) for k, n in enumerate(chosen))
            if total + more > count:
                break
            yield from extend((*chosen, number), total + more)

    yield from extend((), 0)


@dataclass(frozen=True, eq=False)
class Turning:
    """Operations of a group on the atoms of a crystal, and on the numbers of the atoms.

    axial: for a vector with three components at each number, which turns as a magnetisation does.
    opposite: harmonics of odd M have the other sign, from L = 4 on.
    """

    group: SpaceGroup
    crystal: Crystal
    axial: bool = False
    opposite: bool = False

    @cached_property
    def images(self) -> np.ndarray:
        """The atom that each operation maps each atom to, (operations, atoms): the nearest one of its element."""
        positions, numbers = self.crystal.positions, self.crystal.numbers
        cell, origin = self.crystal.cell, self.group.origin
        shifts = origin - self.group.rotations @ origin + self.group.translations / UNITS
        images = np.empty((len(self.group), len(numbers)), np.intp)
        for number in np.unique(numbers):
            same = np.flatnonzero(numbers == number)
            at_once = max(1, _AT_ONCE // len(same) ** 2)
            for start in range(0, len(images), at_once):
                part = slice(start, start + at_once)
                there = positions[same] @ self.group.rotations[part].transpose(0, 2, 1) + shifts[part, None]
                apart = there[:, :, None] - positions[same]
                apart -= np.rint(apart)
                images[part, same] = same[((apart @ cell) ** 2).sum(axis=3).argmin(axis=2)]
        return images

    @cached_property
    def _known(self) -> dict[int, np.ndarray]:
        return {}

    def matrices(self, ell: int) -> np.ndarray:
        """The matrices without the flips, (operations, d, d); d = 2L + 1, or three times that, by components."""
        if ell not in self._known:
            self._known[ell] = self._matrices(ell)
        return self._known[ell]

    def _matrices(self, ell: int) -> np.ndarray:
        unique, which = np.unique(self.group.rotations.reshape(-1, 9), axis=0, return_inverse=True)
        which = which.reshape(-1)
        turned_by = _harmonics(unique.tobytes(), np.asarray(self.crystal.cell, float).tobytes())
        rotations, turned = turned_by.rotations, turned_by.matrices(ell)
        if self.opposite and ell >= _UNCERTAIN:
            sign = 1 - 2 * (np.arange(-ell, ell + 1) % 2)
            turned = turned * sign[:, None] * sign
        if self.axial:
            vectors = rotations * np.linalg.det(rotations)[:, None, None]
            size = 3 * turned.shape[1]
            turned = np.einsum("nij,nkl->nikjl", vectors, turned).reshape(-1, size, size)
        return turned[which]

    @cached_property
    def identities(self) -> int:
        """How many of the operations turn and move nothing: 1 in a group, none among its generators."""
        group = self.group
        still = (group.rotations == np.eye(3, dtype=np.int64)).all(axis=(1, 2)) & ~group.translations.any(axis=1)
        return int((still & (group.flips == 0)).sum())

    @cached_property
    def signs(self) -> np.ndarray:
        """1 for each operation; -1 for one that changes the sign."""
        return 1 - 2 * self.group.flips

    def orbits(self, atoms: Sequence[int]) -> list[list[int]]:
        """Lists of equivalent atoms. The first atom of each list stands for all of it."""
        left, found = list(atoms), []
        while left:
            reached = set(self.images[:, left[0]].tolist())
            found.append([atom for atom in left if atom in reached])
            left = [atom for atom in left if atom not in reached]
        return found

    def onto(self, first: int, atom: int, ell: int) -> np.ndarray:
        """The mean matrix of all operations that map one atom onto another.

        For the atom itself this is the projector on what the symmetry of the site leaves.
        """
        chosen = np.flatnonzero(self.images[:, first] == atom)
        return (self.matrices(ell)[chosen] * self.signs[chosen, None, None]).mean(axis=0)


@lru_cache(maxsize=64)
def _harmonics(rotations: bytes, cell: bytes) -> HarmonicRotations:
    """The Cartesian rotations of operations and a cell, given by their bytes, and their matrices."""
    operations = np.frombuffer(rotations, np.int64).reshape(-1, 3, 3)
    return HarmonicRotations(cartesian_rotations(operations, np.frombuffer(cell).reshape(3, 3)))


def invariants(projector: np.ndarray) -> np.ndarray:
    """An orthogonal basis of what a projector leaves, (d, k). The largest component of each column is 1 or -1.

    Each column is the first column of the projector that is clearly not in the basis yet: rounding changes nothing.
    """
    rest, basis = projector.copy(), []
    for _ in range(round(float(np.trace(projector)))):
        lengths = (rest**2).sum(axis=0)
        column = rest[:, int(np.argmax(lengths >= _CLEAR * lengths.max()))]
        column = column / np.sqrt((column**2).sum())
        basis.append(column / np.abs(column).max())
        rest = rest - np.outer(column, column @ rest)
    return np.array(basis).reshape(len(basis), len(projector)).T


def without_traces(values: np.ndarray, step: float) -> np.ndarray:
    """The values, with zero where only rounding has left something."""
    return np.where(np.abs(values) < _NOTHING * step, 0.0, values)
