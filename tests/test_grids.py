"""Fourier resampling on periodic grids."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chgdb.errors import DensityError
from chgdb.grids import check_memory, fast_length, resample, shifted, spacing_grid

lengths = st.integers(1, 9)
grids = st.tuples(lengths, lengths, lengths)


def trigonometric(grid, terms):
    """Sum of cosines of integer frequencies on a grid, from the definition."""
    points = np.stack(np.meshgrid(*(np.arange(n) / n for n in grid), indexing="ij"), axis=-1)
    return sum(weight * np.cos(2 * np.pi * points @ np.array(k) + phase) for weight, k, phase in terms)


TERMS = [(2.0, (0, 0, 0), 0.0), (1.0, (1, 0, 2), 0.3), (-0.5, (2, -1, 0), 1.1), (0.25, (0, 2, -2), 2.0)]


@pytest.mark.parametrize("grid", [(5, 5, 5), (6, 7, 8), (16, 9, 12), (5, 30, 5)])
def test_band_limited_functions_are_exact(grid):
    for start in [(5, 5, 5), (7, 6, 9), (12, 12, 12)]:
        assert np.allclose(resample(trigonometric(start, TERMS), grid), trigonometric(grid, TERMS), rtol=0, atol=1e-13)


@given(grids, grids, st.integers(0, 2**32 - 1))
def test_mean_is_kept_and_values_stay_real(old, new, seed):
    values = np.random.default_rng(seed).lognormal(size=old)
    result = resample(values, new)
    assert result.shape == new
    assert result.dtype == np.float64
    assert result.flags.c_contiguous
    assert result.mean() == pytest.approx(values.mean(), rel=4e-16)


@given(grids, st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 6)), st.integers(0, 2**32 - 1))
def test_finer_and_back_gives_the_values_again(old, more, seed):
    values = np.random.default_rng(seed).normal(size=old)
    fine = resample(values, tuple(n + m for n, m in zip(old, more, strict=True)))
    assert np.allclose(resample(fine, old), values, rtol=0, atol=1e-13)


@given(grids, st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3)), st.integers(0, 2**32 - 1))
def test_a_multiple_of_the_grid_interpolates(old, times, seed):
    values = np.random.default_rng(seed).normal(size=old)
    fine = resample(values, tuple(n * t for n, t in zip(old, times, strict=True)))
    assert np.allclose(fine[tuple(slice(None, None, t) for t in times)], values, rtol=0, atol=1e-13)


def test_nyquist_terms_are_split_evenly():
    values = np.array([1.0, -1.0] * 4).reshape(8, 1, 1)  # cos(2π·4x): ±4 are one coefficient
    fine = resample(values, (24, 1, 1))
    assert np.allclose(fine[:, 0, 0], np.cos(2 * np.pi * 4 * np.arange(24) / 24), rtol=0, atol=1e-14)


@given(grids, grids, st.integers(0, 2**32 - 1))
def test_order_of_axes_does_not_matter(old, new, seed):
    values = np.random.default_rng(seed).normal(size=old)
    turned = resample(values.transpose(2, 0, 1), (new[2], new[0], new[1])).transpose(1, 2, 0)
    assert np.allclose(resample(values, new), turned, rtol=0, atol=1e-13)


def test_translation_by_grid_points_commutes():
    values = np.random.default_rng(0).normal(size=(6, 5, 4))
    moved = np.roll(resample(values, (12, 10, 8)), (2, 4, 6), axis=(0, 1, 2))
    assert np.allclose(resample(np.roll(values, (1, 2, 3), axis=(0, 1, 2)), (12, 10, 8)), moved, rtol=0, atol=1e-13)


def test_the_same_grid_is_a_copy():
    values = np.random.default_rng(0).normal(size=(3, 4, 5))
    result = resample(values, (3, 4, 5))
    assert np.array_equal(result, values)
    assert not np.shares_memory(result, values)


@pytest.mark.parametrize("grid", [(0, 4, 4), (4, 4), (4, -1, 4), (4.5, 4, 4)])
def test_impossible_grids(grid):
    with pytest.raises(DensityError, match="is not a grid"):
        resample(np.ones((2, 2, 2)), grid)


@given(st.integers(1, 3000))
def test_fast_lengths(smallest):
    length = fast_length(smallest)
    rest = length
    for prime in (2, 3, 5, 7):
        while rest % prime == 0:
            rest //= prime
    assert rest == 1
    assert length % 2 == 0
    assert smallest <= length <= max(2, 1.25 * smallest + 2)


def test_spacing():
    cell = np.array([[4.0, 0, 0], [0, 5.01, 0], [1.0, 0, 3.0]])
    grid = spacing_grid(cell, 0.05)
    assert all(np.linalg.norm(row) / n <= 0.05 for row, n in zip(cell, grid, strict=True))
    assert grid == (80, 108, 64)
    for bad in (0.0, -1.0, np.nan, np.inf, 1e-9):
        with pytest.raises(DensityError, match="spacing"):
            spacing_grid(cell, bad)


@pytest.mark.parametrize("grid", [(6, 8, 10), (5, 7, 9), (6, 1, 3)])
def test_shifting_by_grid_points_permutes(grid: tuple[int, int, int]) -> None:
    values = np.random.default_rng(0).normal(size=grid)
    moved = shifted(values, (2 / grid[0], 0.0, -1 / grid[2]))
    np.testing.assert_array_equal(moved, np.roll(values, (2, 0, -1), (0, 1, 2)))


def test_shifting_moves_a_plane_wave_exactly() -> None:
    x, y, z = np.meshgrid(*(np.arange(n) / n for n in (8, 9, 12)), indexing="ij")
    wave = lambda a, b, c: np.cos(2 * np.pi * (2 * (x - a) - 3 * (y - b) + 4 * (z - c)) + 0.3)  # noqa: E731
    np.testing.assert_allclose(shifted(wave(0, 0, 0), (0.11, 0.3, -0.07)), wave(0.11, 0.3, -0.07), atol=1e-13)


def test_a_grid_beyond_the_memory_is_refused() -> None:
    with pytest.raises(DensityError, match=r"takes .* GB to work on, and this machine has .* GB: use a coarser one"):
        resample(np.ones((2, 2, 2)), (30_000, 30_000, 30_000))
    check_memory((64, 64, 64))
