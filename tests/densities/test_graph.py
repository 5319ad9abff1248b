"""Neighbours and equal atoms."""

from __future__ import annotations

import numpy as np

from chgdb import Crystal, symmetry
from chgdb.densities.graph import equal_atoms, graph, neighbours
from chgdb.features.bonds import REACH
from chgdb.features.bonds import neighbours as by_images


def as_rows(first, second, vectors):
    rows = np.column_stack([first, second, np.round(vectors, 6) + 0.0])
    return rows[np.lexsort(rows.T)]


def test_neighbours_are_those_of_a_search_through_all_images(skewed):
    found = neighbours(skewed, np.arange(len(skewed)), REACH)
    other = by_images(skewed)
    assert np.allclose(as_rows(*found), as_rows(other.first, other.second, other.vectors), atol=2e-6)


def test_a_cell_much_shorter_than_the_reach():
    cell = np.diag([1.3, 1.7, 9.0])
    crystal = Crystal(cell, [[0.999, -3.2, 0.5]], [3])
    first, second, vectors = neighbours(crystal, np.array([0]), 5.0)
    steps = np.stack(np.meshgrid(*[np.arange(-5, 6)] * 3, indexing="ij"), -1).reshape(-1, 3) @ cell
    lengths = np.linalg.norm(steps, axis=1)
    assert len(first) == ((lengths < 5) & (lengths > 0)).sum()
    assert not second.any()
    assert np.linalg.norm(vectors, axis=1).max() < 5


def test_equal_atoms_and_their_rotations(rutile):
    group = symmetry.find(rutile)
    unique, equal, turns = equal_atoms(rutile, group)
    assert unique.tolist() == [0, 2]
    assert equal.tolist() == [0, 0, 1, 1, 1, 1]
    every = graph(rutile)
    for atom in range(len(rutile)):
        own = every.vectors[every.first == atom]
        turned = every.vectors[every.first == unique[equal[atom]]] @ turns[atom].T
        assert np.allclose(np.sort(np.round(own, 5), axis=0), np.sort(np.round(turned, 5), axis=0), atol=1e-4)
        # Not only column by column: each turned vector is one of the atom's own.
        assert all(np.linalg.norm(own - vector, axis=1).min() < 1e-6 for vector in turned)


def test_without_a_group_every_atom_is_for_itself(rutile):
    unique, equal, turns = equal_atoms(rutile)
    assert unique.tolist() == equal.tolist() == list(range(6))
    assert (turns == np.eye(3)).all()
