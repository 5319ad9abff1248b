"""What the network sees of a crystal: the neighbours of atoms, and which atoms symmetry makes equal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .. import symmetry
from ..density import Crystal

#: Å; atoms farther away are no neighbours.
REACH = 5.0
_SAME = 0.05  # Å; an operation that takes an atom this near to another one takes it to that one
_ITSELF = 1e-3  # Å; an atom nearer to its own place than that is itself


@dataclass(frozen=True, eq=False)
class Graph:
    """Atoms and their neighbours.

    numbers: (atoms,) atomic numbers. unique: (u,) one atom of each set that symmetry makes equal.
    equal: (atoms,) position in `unique` of the atom that this one is equal to.
    turns: (atoms, 3, 3) the Cartesian rotation from the surroundings of that atom to those of this one.
    first: (edges,) position in `unique`, ascending. second: (edges,) atom. vectors: (edges, 3) Å, first to second.
    """

    numbers: np.ndarray
    unique: np.ndarray
    equal: np.ndarray
    turns: np.ndarray
    first: np.ndarray
    second: np.ndarray
    vectors: np.ndarray


def graph(crystal: Crystal, group: symmetry.SpaceGroup | None = None) -> Graph:
    """The graph of a crystal. With its space group, only unequal atoms have neighbours; without, all are unequal."""
    unique, equal, turns = equal_atoms(crystal, group)
    first, second, vectors = neighbours(crystal, unique)
    return Graph(crystal.numbers, unique, equal, turns, first, second, vectors)


def equal_atoms(
    crystal: Crystal, group: symmetry.SpaceGroup | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`Graph.unique`, `Graph.equal` and `Graph.turns`; each atom for itself without a group."""
    count = len(crystal)
    if group is None or len(group) == 1:
        return np.arange(count), np.arange(count), np.tile(np.eye(3), (count, 1, 1))
    basis = crystal.cell.T
    rotations = basis @ group.rotations @ np.linalg.inv(basis)
    equal = np.full(count, -1)
    turns = np.tile(np.eye(3), (count, 1, 1))
    unique: list[int] = []
    shifts = group.translations / symmetry.UNITS + group.origin
    for atom in range(count):
        if equal[atom] >= 0:
            continue
        equal[atom] = len(unique)
        images = (crystal.positions[atom] - group.origin) @ group.rotations.transpose(0, 2, 1)
        images = images.reshape(len(group), 3) + shifts
        later = np.flatnonzero((equal < 0) & (crystal.numbers == crystal.numbers[atom]))
        away = images[:, None, :] - crystal.positions[later]
        away -= np.rint(away)
        near = np.linalg.norm(away @ crystal.cell, axis=-1) < _SAME
        reached = near.any(axis=0)
        equal[later[reached]] = len(unique)
        turns[later[reached]] = rotations[near.argmax(axis=0)[reached]]
        unique.append(atom)
    return np.array(unique), equal, turns


def neighbours(crystal: Crystal, atoms: np.ndarray, reach: float = REACH) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All atoms within `reach` Å of some atoms, in memory linear in their number: (first, second, vectors).

    first: (edges,) position in `atoms`, ascending. second: (edges,) atom. vectors: (edges, 3) Å, first to second.
    No atom is a neighbour of itself; another atom at the same place is one.
    """
    inside = crystal.positions - np.floor(crystal.positions)
    margin = reach * np.linalg.norm(np.linalg.inv(crystal.cell), axis=0)  # in fractions of each height of the cell
    images, owners = inside, np.arange(len(crystal))
    for axis in range(3):  # copy the atoms near the cell, one axis after the other
        steps = np.arange(-np.ceil(margin[axis]), np.ceil(margin[axis]) + 1)
        copies = np.repeat(images[None], len(steps), axis=0)
        copies[:, :, axis] += steps[:, None]
        near = (copies[:, :, axis] > -margin[axis] - 1e-9) & (copies[:, :, axis] < 1 + margin[axis] + 1e-9)
        images, owners = copies[near], np.broadcast_to(owners, near.shape)[near]
    points, centres = images @ crystal.cell, inside[atoms] @ crystal.cell
    lowest = points.min(axis=0) - 1.5 * reach  # the outermost bins stay empty
    bins = np.floor((points - lowest) / reach).astype(np.int64)
    shape = bins.max(axis=0) + 3
    keys = np.ravel_multi_index(tuple(bins.T), tuple(shape))
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    home = np.floor((centres - lowest) / reach).astype(np.int64)
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for offset in np.ndindex(3, 3, 3):
        wanted = np.ravel_multi_index(tuple((home + np.array(offset) - 1).T), tuple(shape))
        start, stop = np.searchsorted(keys, wanted, "left"), np.searchsorted(keys, wanted, "right")
        counts = stop - start
        first = np.repeat(np.arange(len(atoms)), counts)
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        candidate = order[np.repeat(start, counts) + within]
        vectors = points[candidate] - centres[first]
        lengths = np.linalg.norm(vectors, axis=1)
        keep = (lengths < reach) & ((lengths > _ITSELF) | (owners[candidate] != atoms[first]))
        found.append((first[keep], owners[candidate[keep]], vectors[keep]))
    first, second, vectors = (np.concatenate(part) for part in zip(*found, strict=True))
    by_first = np.argsort(first, kind="stable")
    return first[by_first], second[by_first], vectors[by_first]


def padded(edges: Graph, reach: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(neighbours (u, k), vectors (u, k, 3), there (u, k) bool). Absent vectors are (0, 0, reach)."""
    count = len(edges.unique)
    degree = np.bincount(edges.first, minlength=count)
    most = max(int(degree.max(initial=0)), 1)
    place = np.arange(len(edges.first)) - np.repeat(np.cumsum(degree) - degree, degree)
    neighbours = np.zeros((count, most), np.int64)
    vectors = np.tile(np.array([0.0, 0.0, reach]), (count, most, 1))
    there = np.zeros((count, most), bool)
    neighbours[edges.first, place] = edges.second
    vectors[edges.first, place] = edges.vectors
    there[edges.first, place] = True
    return neighbours, vectors, there
