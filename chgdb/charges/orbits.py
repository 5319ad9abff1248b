"""Points of a grid that the symmetry of a density makes equal: charges need one of each.

If crystal and values have the same symmetry, the result for a point holds for its images too. A sum over a cell is then
a sum over one point of each orbit, each counted as often as the orbit has points. A crystal of high symmetry takes a
small part of the time. Values decide: an operation that changes one of the fields by more than rounding is not used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..crystal import Crystal
from ..symmetry import UNITS, SpaceGroup, find

#: An operation may change a field by this part of its largest value, or of that of the first field: VASP prints 11
#: digits.
_ROUNDING = 1e-7
_PLACE = 1e-3  # Å, from an image of a grid point to a grid point, and between atoms that count as one
_BLOCK = 2.0  # Å, size of the blocks that points are taken in


@dataclass(frozen=True, eq=False)
class Orbits:
    """One point of each orbit of a grid.

    Attributes
    ----------
    grid : tuple[int, int, int]
    points : np.ndarray
        (n,) flat indices of the first point of each orbit.
    sizes : np.ndarray
        (n,) points in each orbit.
    place : np.ndarray | None
        (nx * ny * nz,) orbit of each point; None where each point is an orbit of its own.
    kinds : np.ndarray
        (atoms,) equal numbers for atoms that are images of each other, from 0 on.
    """

    grid: tuple[int, int, int]
    points: np.ndarray
    sizes: np.ndarray
    place: np.ndarray | None
    kinds: np.ndarray

    @classmethod
    def alone(cls, crystal: Crystal, grid: tuple[int, int, int]) -> Orbits:
        """Without symmetry."""
        points = np.arange(grid[0] * grid[1] * grid[2])
        return cls(grid, points, np.ones(len(points)), None, np.arange(len(crystal)))

    @classmethod
    def of(cls, crystal: Crystal, fields: Sequence[np.ndarray]) -> Orbits:
        """The orbits of the operations that leave the crystal and all fields, (nx, ny, nz) on one grid, as they are."""
        nx, ny, nz = grid = fields[0].shape
        group = _on_grid(find(crystal), crystal, grid)
        maps = _kept(group, crystal, fields)
        if not maps:
            return cls.alone(crystal, grid)
        label = np.arange(nx * ny * nz)
        changed = True
        while changed:
            before = label
            for image, _ in maps:
                label = np.minimum(label, label[image])
                label = label[label]
            changed = not np.array_equal(label, before)
        points = np.flatnonzero(label == np.arange(len(label)))
        order = np.empty(len(label), np.int64)
        order[points] = np.arange(len(points))
        place = order[label]
        kinds = np.arange(len(crystal))
        for _ in range(len(kinds)):
            for _, atoms in maps:
                kinds = np.minimum(kinds, kinds[atoms])
        kinds = np.unique(kinds, return_inverse=True)[1]
        return cls(grid, points, np.bincount(place).astype(float), place, kinds)

    def fractional(self) -> np.ndarray:
        """(n, 3) coordinates of the points."""
        return np.stack(np.unravel_index(self.points, self.grid), axis=1) / self.grid

    def each(self, sums: np.ndarray) -> np.ndarray:
        """(atoms, ...) from what belongs to all atoms of each kind, (kinds, ...)."""
        counts = np.bincount(self.kinds)
        shared: np.ndarray = (sums / counts.reshape(-1, *[1] * (sums.ndim - 1)))[self.kinds]
        return shared

    def of_kinds(self, values: np.ndarray) -> np.ndarray:
        """(kinds, ...) from values of each atom, (atoms, ...)."""
        result = np.zeros((int(self.kinds.max()) + 1, *values.shape[1:]))
        np.add.at(result, self.kinds, values)
        return result


def blocks(points: np.ndarray, cell: np.ndarray) -> Iterator[np.ndarray]:
    """Positions in (n, 3) fractional points, from 0 to 1, of those that lie together in a small part of the cell."""
    counts = np.maximum(1, np.rint(np.linalg.norm(cell, axis=1) / _BLOCK)).astype(int)
    boxes = np.ravel_multi_index(tuple(np.minimum((points * counts).astype(int), counts - 1).T), tuple(counts))
    order = np.argsort(boxes, kind="stable")
    yield from np.split(order, np.flatnonzero(np.diff(boxes[order])) + 1)


def _on_grid(group: SpaceGroup, crystal: Crystal, grid: tuple[int, ...]) -> SpaceGroup:
    """The operations that take points of a grid to points of it."""
    count = np.array(grid)
    turns, shifts = _in_steps(group, grid)
    near = np.abs((shifts - np.rint(shifts)) / count) @ np.linalg.norm(crystal.cell, axis=1) < _PLACE
    allowed = near & (np.abs(turns - np.rint(turns)) < 1e-9).all(axis=(1, 2))
    return group if allowed.all() else group.subgroup(allowed)


def _in_steps(group: SpaceGroup, grid: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Matrices and translations of operations that act on the indices of points."""
    count = np.array(grid, float)
    turns = group.rotations * count[:, None] / count
    shifts = (group.translations / UNITS + group.origin - group.rotations @ group.origin) * count
    return turns, shifts


def _kept(group: SpaceGroup, crystal: Crystal, fields: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Images of all points, and of all atoms, under operations that generate the symmetry of all fields."""
    if len(group) == 1:
        return []
    found = [_images(group, k, crystal, fields) for k in _generators(group)]
    if all(image is not None for image in found):
        return [image for image in found if image is not None]
    each = [_images(group, k, crystal, fields) for k in range(len(group))]
    kept = group.subgroup(np.array([image is not None for image in each]))
    rows = group.rows()
    images = [each[rows.index(row)] for row in kept.rows()[1:]]
    return [image for image in images if image is not None]


def _generators(group: SpaceGroup) -> list[int]:
    """Operations that generate a group."""
    rows = group.rows()
    return [rows.index(row) for row in group.generators().rows()]


def _images(
    group: SpaceGroup, index: int, crystal: Crystal, fields: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray] | None:
    """Images of points and atoms under an operation; None where it changes a field, or the atoms."""
    grid = fields[0].shape
    turns, shifts = (np.rint(part[index]).astype(np.int64) for part in _in_steps(group, grid))
    flat = np.zeros(grid, np.int64)
    steps = np.ix_(*(np.arange(n) for n in grid))
    for axis, n in enumerate(grid):
        flat *= n
        flat += (sum(turns[axis, k] * steps[k] for k in range(3)) + shifts[axis]) % n
    image = flat.ravel()
    least = float(np.abs(fields[0]).max())  # a magnetisation that is rounding alone is symmetric
    for values in fields:
        lying = values.ravel()
        if np.abs(lying[image] - lying).max() > _ROUNDING * max(least, float(np.abs(lying).max())):
            return None
    moved = (crystal.positions - group.origin) @ group.rotations[index].T
    moved = moved + group.origin + group.translations[index] / UNITS
    apart = moved[:, None] - crystal.positions
    apart = np.linalg.norm((apart - np.rint(apart)) @ crystal.cell, axis=2)
    apart[crystal.numbers[:, None] != crystal.numbers] = np.inf
    atoms = apart.argmin(axis=1)
    if (apart.min(axis=1) > 10 * _PLACE).any() or len(set(atoms.tolist())) < len(crystal):
        return None
    return image, atoms
