"""Atoms of a crystal one by one: the same for every description, apart where atoms differ."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import chgdb
from chgdb import Crystal
from chgdb.errors import DensityError
from chgdb.features.environments import GROUPS, WIDTH, environments

SPINEL = "mp-3536"  # Mg, Al and O, fourteen atoms


@pytest.fixture(scope="module")
def spinel() -> Crystal:
    return chgdb.open()[SPINEL].crystal


def supercell(crystal: Crystal, times: tuple[int, int, int]) -> Crystal:
    shifts = list(itertools.product(*(range(n) for n in times)))
    positions = np.concatenate([(crystal.positions + shift) / times for shift in shifts])
    return Crystal(crystal.cell * np.array(times)[:, None], positions, np.tile(crystal.numbers, len(shifts)))


def test_symmetry_leaves_three_distinct_atoms(spinel):
    vectors, shares = environments(spinel)
    assert vectors.shape == (3, WIDTH)
    np.testing.assert_allclose(sorted(shares), [1 / 7, 2 / 7, 4 / 7], atol=1e-12)
    assert sorted(c for group in GROUPS for c in range(*group.indices(WIDTH))) == list(range(WIDTH))
    # Around a cation there is oxygen above all.
    by_share = vectors[np.argsort(shares)]
    oxygen = by_share[2, GROUPS[0]]
    for cation in by_share[:2]:
        around = cation[GROUPS[1]][: len(oxygen)]
        assert np.linalg.norm(around - oxygen) < 0.4 * np.linalg.norm(cation[GROUPS[0]] - oxygen)


def test_the_same_for_other_descriptions(spinel):
    vectors, shares = environments(spinel)
    q, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    order = np.random.default_rng(1).permutation(len(spinel))
    turned = Crystal(spinel.cell @ q.T, spinel.positions[order] + 0.3, spinel.numbers[order])
    for other in (turned, supercell(spinel, (2, 1, 1))):
        again, parts = environments(other)
        np.testing.assert_allclose(again, vectors, atol=1.1e-3)  # `unique` sorts them
        np.testing.assert_allclose(parts, shares, atol=1e-12)


def test_which_atom_has_which_neighbours_shows():
    """Two ways to put the same four atoms on the same places: chains of unlike and of like neighbours."""
    cell, places = np.diag([2.6, 2.6, 5.2]), [[0, 0, 0], [0.5, 0.5, 0.25], [0, 0, 0.5], [0.5, 0.5, 0.75]]
    apart, layered = (Crystal(cell, places, numbers) for numbers in ([26, 13, 26, 13], [26, 26, 13, 13]))
    first, second = environments(apart), environments(layered)
    assert len(first[1]) == len(second[1]) == 2
    assert np.abs(first[0][:, GROUPS[0]] - second[0][:, GROUPS[0]]).max() == 0
    assert np.abs(first[0][:, GROUPS[1]] - second[0][:, GROUPS[1]]).max() > 0.2


def test_an_atom_alone_and_none():
    vectors, shares = environments(Crystal(12.0 * np.eye(3), [[0, 0, 0]], [18]))
    assert np.isfinite(vectors).all()
    np.testing.assert_array_equal(shares, [1.0])
    with pytest.raises(DensityError, match="no atoms"):
        environments(Crystal(4.0 * np.eye(3), np.zeros((0, 3)), []))
