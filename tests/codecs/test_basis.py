"""What of a function has the symmetry of a crystal, against the mean over its operations in real space."""

from __future__ import annotations

import numpy as np
import pytest
from fields import STRUCTURES

from chgdb import Crystal
from chgdb.codecs.basis import symmetric_part
from chgdb.symmetry import UNITS, find


def values_at(spectrum: np.ndarray, points: np.ndarray) -> np.ndarray:
    """A trigonometric polynomial at fractional coordinates (m, 3), term by term."""
    h = np.stack(np.meshgrid(*(np.fft.fftfreq(n, 1 / n) for n in spectrum.shape), indexing="ij"), axis=-1).reshape(
        -1, 3
    )
    return (np.exp(2j * np.pi * points @ h.T) @ spectrum.ravel()).real


@pytest.mark.parametrize("name", STRUCTURES)
def test_it_is_the_mean_over_the_operations(name: str) -> None:
    """Grids of odd lengths, on which operations do not map points to points: the function counts, not its samples."""
    crystal = STRUCTURES[name]
    rng = np.random.default_rng(1)
    grid = (7, 9, 5)
    values = rng.normal(size=grid)
    spectrum = np.fft.fftn(values, norm="forward")
    inside = np.abs(np.stack(np.meshgrid(*(np.fft.fftfreq(n, 1 / n) for n in grid), indexing="ij"))).max(axis=0) <= 1
    group = find(crystal)
    # Only terms whose images the grid holds too can be averaged on it.
    h = np.stack(np.meshgrid(*(np.fft.fftfreq(n, 1 / n) for n in grid), indexing="ij"), axis=-1)
    images = np.einsum("xyzi,oij->oxyzj", h, group.rotations)
    half = np.array([(n - 1) // 2 for n in grid])
    inside &= (np.abs(images) <= half).all(axis=(0, -1))
    spectrum[~inside] = 0
    values = np.fft.ifftn(spectrum, norm="forward").real
    found = symmetric_part(values, crystal)

    points = rng.random((20, 3))
    moved = [
        (points - group.origin) @ W.T + w / UNITS + group.origin
        for W, w in zip(group.rotations, group.translations, strict=True)
    ]
    expected = np.mean([values_at(spectrum, p) for p in moved], axis=0)
    np.testing.assert_allclose(values_at(np.fft.fftn(found, norm="forward"), points), expected, atol=1e-12)
    assert found.mean() == pytest.approx(values.mean(), abs=1e-13)


@pytest.mark.parametrize("grid", [(12, 12, 12), (9, 14, 11)])
def test_twice_is_once_and_nothing_grows(grid: tuple[int, int, int]) -> None:
    values = np.random.default_rng(2).normal(size=grid)
    once = symmetric_part(values, STRUCTURES["diamond"])
    np.testing.assert_allclose(symmetric_part(once, STRUCTURES["diamond"]), once, atol=1e-13)
    assert np.square(once).sum() < np.square(values).sum()
    assert np.abs(once - values).max() > 0.1


def test_without_symmetry_all_stays() -> None:
    crystal = Crystal(np.diag([3.0, 4.0, 5.0]), [[0.1, 0.2, 0.3], [0.5, 0.77, 0.61], [0.9, 0.05, 0.4]], [1, 3, 8])
    values = np.random.default_rng(3).normal(size=(4, 5, 6))
    assert np.array_equal(symmetric_part(values, crystal), values)
