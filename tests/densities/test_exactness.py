"""What holds whatever the weights: symmetry of space, choice of cell, electron count, grids."""

from __future__ import annotations

import numpy as np
import pytest

from chgdb import Crystal, Density, estimate, symmetry
from chgdb.codecs.symmetric import symmetrised
from chgdb.densities.guess import guess
from chgdb.grids import resample

GRID = (24, 30, 32)


def apart(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max() / np.abs(a).mean())


@pytest.mark.parametrize("improper", [False, True])
def test_rotation(model, skewed, improper):
    rotation, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    rotation *= np.sign(np.linalg.det(rotation)) * (-1 if improper else 1)
    turned = Crystal(skewed.cell @ rotation.T, skewed.positions, skewed.numbers)
    assert apart(guess(model, skewed, GRID).total, guess(model, turned, GRID).total) < 1e-9


def test_translation(model, skewed):
    steps = np.array([3, 7, 11])
    moved = Crystal(skewed.cell, skewed.positions + steps / GRID - [4, 0, 9], skewed.numbers)
    shifted = np.roll(guess(model, skewed, GRID).total, steps, axis=(0, 1, 2))
    assert apart(shifted, guess(model, moved, GRID).total) < 1e-9


def test_permutation(model, skewed):
    order = [2, 0, 3, 1]
    other = Crystal(skewed.cell, skewed.positions[order], skewed.numbers[order])
    assert apart(guess(model, skewed, GRID).total, guess(model, other, GRID).total) < 1e-9


def test_choice_of_cell(model, skewed):
    change = np.array([[1, 0, 0], [2, 1, 0], [0, -1, 1]])  # rows: new lattice vectors in old ones
    other = Crystal(change @ skewed.cell, skewed.positions @ np.linalg.inv(change), skewed.numbers)
    cubic = (72, 72, 72)  # the same points of space in both cells
    points = np.stack(np.meshgrid(*[np.arange(72)] * 3, indexing="ij"), -1).reshape(-1, 3)
    old = (points @ change) % 72
    first, second = guess(model, skewed, cubic).total, guess(model, other, cubic).total
    # What form factors have beyond the one grid's box, in directions that differ, is all that may.
    assert apart(first[tuple(old.T)], second.reshape(-1)) < 2e-3


@pytest.mark.parametrize("repeats", [(2, 1, 1), (1, 3, 2)])
def test_supercell(model, skewed, repeats):
    shifts = np.stack(np.meshgrid(*[np.arange(n) for n in repeats], indexing="ij"), -1).reshape(-1, 1, 3)
    positions = ((skewed.positions + shifts) / repeats).reshape(-1, 3)
    large = Crystal(skewed.cell * np.array(repeats)[:, None], positions, np.tile(skewed.numbers, len(shifts)))
    grid = tuple(n * r for n, r in zip((25, 27, 33), repeats, strict=True))  # odd: no Nyquist terms in either
    tiled = np.tile(guess(model, skewed, (25, 27, 33)).total, repeats)
    assert apart(tiled, guess(model, large, grid).total) < 2e-3
    first, second = guess(model, skewed, (25, 27, 33)), guess(model, large, grid)
    assert second.size == pytest.approx(first.size, rel=1e-6)
    assert second.spread == pytest.approx(first.spread, rel=1e-6)


def test_space_group(model, rutile):
    total = guess(model, rutile, (48, 48, 32)).total
    assert len(symmetry.find(rutile)) == 16
    _, asymmetry = symmetrised(Density(rutile, {"total": total}), 1.0)
    assert asymmetry < 1e-9


@pytest.mark.parametrize("grid", [(24, 30, 32), (7, 8, 9), (1, 1, 1), (61, 48, 50)])
def test_electron_count(model, skewed, grid):
    density = estimate(skewed, grid=grid, model=model).density
    expected = sum(model.valence[int(z)] for z in skewed.numbers)
    assert expected == 4 + 6 + 7 + 7
    assert density.n_electrons == pytest.approx(expected, rel=1e-12, abs=1e-9)


def test_a_finer_grid_is_the_same_density(model, skewed):
    coarse, fine = guess(model, skewed, (45, 55, 61)).total, guess(model, skewed, (90, 110, 122)).total
    # Everything that a coarse grid resolves is the same number on both.
    assert apart(resample(fine, (45, 55, 61)), coarse) < 1e-9


def test_it_is_the_superposition_and_a_smooth_difference(model, skewed):
    from chgdb.promolecule import superposition

    found = guess(model, skewed, (48, 60, 64)).total
    left = found - found.mean() - superposition(model.prior, skewed, (48, 60, 64))
    power = np.abs(np.fft.rfftn(left))
    axes = [np.fft.fftfreq(n, 1 / n) for n in left.shape[:2]] + [np.arange(left.shape[2] // 2 + 1)]
    h = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    s = np.linalg.norm(h @ np.linalg.inv(skewed.cell).T, axis=-1)
    assert power[s > model.configuration.basis.cut].max() < 1e-9 * power.max()
    assert np.abs(left).mean() > 1e-3 * found.mean()  # and there is one
