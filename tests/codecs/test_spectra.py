"""Spectra in pieces: the same numbers as numpy's transforms of whole grids, and little memory beside the grid."""

from __future__ import annotations

import tracemalloc

import fields
import numpy as np
import pytest

from chgdb.codecs import encode, spectra

GRIDS = [(8, 8, 8), (5, 7, 9), (6, 5, 4), (1, 2, 3), (2, 2, 1), (3, 1, 2), (12, 10, 15)]


def noise(grid: tuple[int, int, int]) -> np.ndarray:
    return np.random.default_rng(1).normal(size=grid)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("kind", [float, np.float32])
def test_there_and_back(grid: tuple[int, int, int], kind: type) -> None:
    values = noise(grid).astype(kind)
    spectrum = spectra.forward(values)
    np.testing.assert_array_equal(spectrum, np.fft.rfftn(values.astype(float), norm="forward"))
    np.testing.assert_allclose(spectra.values_of(spectrum, grid), values, rtol=0, atol=1e-14)
    assert spectra.distance(spectrum, values.astype(float) + 0.25) == pytest.approx(0.25)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("reach", [(0, 0, 0), (1, 1, 1), (2, 0, 1), (1, 3, 2)])
def test_a_box_stands_for_the_spectrum_with_zeros_around_it(
    grid: tuple[int, int, int], reach: tuple[int, int, int]
) -> None:
    most = [min(r, (n - 1) // 2) for r, n in zip(reach, grid, strict=True)]
    whole = spectra.forward(noise(grid))
    near = [np.abs(np.fft.fftfreq(n, 1 / n)) <= r for n, r in zip(grid[:2], most[:2], strict=True)]
    inside = near[0][:, None, None] & near[1][:, None] & (np.arange(grid[2] // 2 + 1) <= most[2])
    zeros_around = np.where(inside, whole, 0)
    box = spectra.cut(whole, spectra.box_shape(most))
    expected = np.fft.irfftn(zeros_around, grid, axes=(0, 1, 2), norm="forward")
    if box is whole:  # nearly all of it
        return
    np.testing.assert_allclose(spectra.values_of(box, grid), expected, rtol=0, atol=1e-15)
    target = np.zeros_like(whole)
    spectra.put(target, box)
    np.testing.assert_array_equal(target, zeros_around)


def test_a_residual_is_a_difference() -> None:
    whole, base = spectra.forward(noise((9, 8, 10))), spectra.forward(noise((5, 3, 4)))[:, :, :2]
    full = whole.copy()
    spectra.put(full, -base)
    residual = spectra.Residual(whole, base)
    h = np.stack(np.meshgrid(range(-4, 5), range(-3, 4), range(6), indexing="ij"), -1).reshape(-1, 3)
    np.testing.assert_array_equal(residual.at(h), full[tuple(h.T)])
    pieces = [terms for _, terms in residual.pieces(100)]
    assert len(pieces) > 1
    np.testing.assert_array_equal(np.concatenate(pieces), full)
    np.testing.assert_array_equal(spectra.Residual(whole).at(h), whole[tuple(h.T)])


def test_large_grids_are_transformed_by_threads_to_the_same_values(monkeypatch: pytest.MonkeyPatch) -> None:
    values = noise((20, 18, 16))
    alone = spectra.forward(values)
    monkeypatch.setattr(spectra, "_THREADED", 1)
    np.testing.assert_array_equal(spectra.forward(values), alone)
    assert spectra.distance(alone, values) < 1e-14


def test_memory_of_packing() -> None:
    density = fields.total("quartz", (24, 24, 24), width=1.2).resample((160, 160, 160))
    encode(fields.total("quartz", (12, 12, 12)), 1e-3)  # what is loaded once
    tracemalloc.start()
    try:
        encode(density, 1e-4)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Beside the density: its spectrum or what was decoded, and pieces of a fixed size.
    assert peak < 1.3 * density.total.nbytes + 40e6
