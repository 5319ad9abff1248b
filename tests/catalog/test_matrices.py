"""PAW density matrices that are learned: they turn with the crystal, and what is linear is found."""

from __future__ import annotations

import numpy as np
import pytest

import chgdb
from chgdb.densities.harmonics import BLOCKS, rotation_matrices
from chgdb.densities.model import load
from chgdb.density import Crystal
from chgdb_catalog.drawing import STORE
from chgdb_catalog.studies import matrices

DEGREES = (0, 1, 0, 1, 2)  # of silicon's setup


@pytest.fixture(scope="module")
def model():
    return load()


def crystals(count: int) -> list[Crystal]:
    """Silicon in zincblende cells, strained and displaced at random."""
    random = np.random.default_rng(1)
    cell = np.array([[0, 2.7, 2.7], [2.7, 0, 2.7], [2.7, 2.7, 0]])
    return [
        Crystal(
            cell @ (np.eye(3) + random.normal(scale=0.05, size=(3, 3))),
            np.array([[0, 0, 0], random.normal(0.25, 0.02, size=3)]),
            np.array([14, 14]),
        )
        for _ in range(count)
    ]


def turned(matrix: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    turn = rotation_matrices(rotation[None])[0]
    whole = np.zeros_like(matrix)
    start = 0
    for ell in DEGREES:
        block = slice(start, start + 2 * ell + 1)
        whole[block, block] = turn[BLOCKS[ell], BLOCKS[ell]]
        start += 2 * ell + 1
    return whole @ matrix @ whole.T


def test_packing_is_gpaws():
    matrix = matrices.unpacked(np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))
    np.testing.assert_array_equal(matrix, [[1, 1, 1.5], [1, 4, 2.5], [1.5, 2.5, 6]])
    np.testing.assert_array_equal(matrices.packed(matrix), [1, 2, 3, 4, 5, 6])


@pytest.mark.parametrize(
    ("first", "second", "total"), [(0, 0, 0), (1, 1, 2), (0, 2, 2), (2, 2, 4), (1, 2, 3), (2, 2, 0)]
)
def test_couplings_are_orthonormal_and_turn(first: int, second: int, total: int):
    block = matrices.coupling(first, second, total)
    flat = block.reshape(-1, 2 * total + 1)
    np.testing.assert_allclose(flat.T @ flat, np.eye(2 * total + 1), atol=1e-12)
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turn = rotation_matrices(rotation[None])[0]
    one, two, three = (turn[BLOCKS[ell], BLOCKS[ell]] for ell in (first, second, total))
    np.testing.assert_allclose(np.einsum("abm,ca,db,nm->cdn", block, one, two, three), block, atol=1e-12)


def test_learned_matrices_turn_with_the_crystal(model):
    random = np.random.default_rng(2)
    size = sum(2 * ell + 1 for ell in DEGREES)
    computed = []
    for crystal in crystals(12):
        noise = random.normal(size=(2, size, size))
        computed.append((crystal, [matrices.packed(n + n.T) for n in noise]))
    learned = matrices.fit(model, computed, {14: DEGREES})
    assert set(learned) == {14}
    crystal = crystals(1)[0]
    rotation = np.linalg.qr(random.normal(size=(3, 3)))[0]
    other = Crystal(crystal.cell @ rotation.T, crystal.positions, crystal.numbers)
    for own, there in zip(
        matrices.guess_matrices(model, learned, crystal), matrices.guess_matrices(model, learned, other), strict=True
    ):
        expected = turned(matrices.unpacked(own), rotation)
        np.testing.assert_allclose(matrices.unpacked(there), expected, atol=1e-6 * np.abs(expected).max())


def test_what_depends_linearly_on_the_features_is_found(model):
    """Matrices made of the features themselves, of crystals that were not fitted."""
    random = np.random.default_rng(3)
    factors = {
        (i, j, total): random.normal(size=192) * (np.arange(192) < 3) for i, j, _, _, total in matrices._parts(DEGREES)
    }
    truth = matrices.Element(DEGREES, {(i, j): 1.0 for i, j, t in factors if t == 0}, np.zeros(192), factors)
    every = crystals(90)
    computed = [(c, matrices.guess_matrices(model, {14: truth}, c)) for c in every]
    learned = matrices.fit(model, computed[:80], {14: DEGREES})
    for crystal, expected in computed[80:]:
        found = matrices.guess_matrices(model, learned, crystal)
        assert np.linalg.norm(np.array(found) - expected) < 0.02 * np.linalg.norm(expected)


def test_unknown_elements_have_none(model):
    crystal = crystals(1)[0]
    assert matrices.guess_matrices(model, {}, crystal) == [None, None]
    assert matrices.fit(model, [], {14: DEGREES}) == {}


def test_drawn_structures_keep_matrices_that_symmetry_allows():
    """NbSi in the rock-salt structure: no part but L = 0 and 4 where the site is cubic."""
    catalog = chgdb.open(STORE)
    crystal, packed = next(pair for pair in matrices.stored(catalog) if pair[0].formula == "NbSi")
    matrix = matrices.unpacked(packed[crystal.symbols.index("Si")])
    parts = {total: 0.0 for total in range(5)}
    for i, j, rows, columns, total in matrices._parts(DEGREES):
        part = np.einsum("ab,abm->m", matrix[rows, columns], matrices.coupling(DEGREES[i], DEGREES[j], total))
        parts[total] = max(parts[total], float(np.abs(part).max()))
    assert parts[0] > 0.5
    assert max(parts[1], parts[2], parts[3]) < 1e-4
