"""The real-space codec: all-electron densities, aliased on their grid."""

from __future__ import annotations

import numpy as np
import pytest
from effort import examples
from fields import STRUCTURES, density, smooth, total
from hypothesis import given, settings
from hypothesis import strategies as st

from chgdb import Crystal, Density, codecs
from chgdb.codecs import fourier, realspace
from chgdb.density import CHANNELS
from chgdb.errors import CodecError
from chgdb.grids import resample

GRID = (16, 16, 20)


def sampled_peaks(crystal, grid, decay=12.0, height=40.0):
    """exp(-decay r) around each nucleus, sampled point by point: a cusp that no grid resolves, plus a smooth part."""
    points = np.stack(np.meshgrid(*(np.arange(n) / n for n in grid), indexing="ij"), axis=-1).reshape(-1, 3)
    values = np.zeros(len(points))
    for position, number in zip(crystal.positions, crystal.numbers, strict=True):
        for image in np.ndindex(3, 3, 3):
            r = np.linalg.norm((points - position - np.array(image) + 1 + np.floor(position)) @ crystal.cell, axis=1)
            values += height * number * np.exp(-decay * r)
    return values.reshape(grid) + density(crystal, grid)


def check(original, tolerance, codec="realspace"):
    encoded = codecs.encode(original, tolerance, codec=codec)
    decoded = codecs.decode(encoded.payload)
    assert decoded.crystal == original.crystal
    norm = np.abs(original.total).sum(dtype=float) or 1.0
    for name, values in original.channels.items():
        assert np.abs(decoded.channels[name] - values.astype(float)).sum() / norm <= tolerance
        integral = values.mean(dtype=float) * original.crystal.volume
        assert decoded.channels[name].mean() * original.crystal.volume == pytest.approx(integral, abs=1e-11, rel=1e-15)
    return encoded.payload, decoded


@pytest.mark.parametrize("tolerance", [1e-2, 1e-4, 1e-8])
@pytest.mark.parametrize("name", sorted(STRUCTURES))
def test_the_tolerance_is_met_for_every_symmetry(name, tolerance):
    crystal = STRUCTURES[name]
    check(Density(crystal, {"total": sampled_peaks(crystal, (12, 12, 12))}), tolerance)


@settings(max_examples=examples(25))
@given(
    st.tuples(*[st.integers(1, 9)] * 3),
    st.sampled_from(sorted(STRUCTURES)),
    st.sampled_from([1, 2, 4]),
    st.floats(-9, -1),
    st.integers(0, 2**32 - 1),
)
def test_the_tolerance_is_met_for_white_noise(grid, name, channels, exponent, seed):
    rng = np.random.default_rng(seed)
    fields = {channel: rng.normal(1, 0.5, grid) for channel in CHANNELS[channels]}
    check(Density(STRUCTURES[name], fields), 10**exponent)


@pytest.mark.parametrize("name", ["fcc", "diamond", "hcp", "triclinic"])
def test_all_electron_densities_choose_it_by_themselves(name):
    crystal = STRUCTURES[name]
    original = Density(crystal, {"total": sampled_peaks(crystal, GRID)})
    assert fourier.edge(original) > 1e-3
    payload, _ = check(original, 1e-4, "auto")
    assert codecs.header(payload).codec == "realspace"
    assert len(payload) < len(codecs.encode(original, 1e-4, codec="fourier").payload)


def test_smooth_densities_do_not():
    original = total("diamond", GRID)
    assert fourier.edge(original) < 1e-4
    assert codecs.header(codecs.encode(original, 1e-4).payload).codec == "fourier"


def test_auto_takes_the_smaller_in_between():
    original = Density(STRUCTURES["triclinic"], {"total": density(STRUCTURES["triclinic"], GRID, width=0.2)})
    edge = fourier.edge(original)
    tolerance = edge / 3
    sizes = [len(codecs.encode(original, tolerance, codec=codec).payload) for codec in ("fourier", "realspace", "auto")]
    assert sizes[2] == min(sizes[:2])


def test_what_cannot_win_is_not_tried(monkeypatch):
    original = Density(STRUCTURES["diamond"], {"total": density(STRUCTURES["diamond"], GRID, width=0.3)})
    tolerance = fourier.edge(original) / 3
    sizes = [len(codecs.encode(original, tolerance, codec=codec).payload) for codec in ("fourier", "realspace")]
    assert sizes[0] < sizes[1]
    tried = []
    monkeypatch.setattr(realspace, "encode", lambda *given, **options: tried.append(1) or b"".ljust(1 << 20, b"x"))
    assert len(codecs.encode(original, tolerance).payload) == sizes[0]
    assert not tried
    codecs.encode(original, tolerance, effort="best")
    assert tried


def test_auto_falls_back_where_the_cell_is_too_long():
    crystal = Crystal(np.diag([3.0, 3.0, 90.0]), [[0, 0, 0.5]], [6])
    values = np.random.default_rng(0).random((6, 6, 40))
    with pytest.raises(CodecError, match="64 Å"):
        codecs.encode(Density(crystal, {"total": values}), 1e-3, codec="realspace")
    payload, _ = check(Density(crystal, {"total": values}), 1e-3, "auto")
    assert codecs.header(payload).codec == "fourier"


def test_symmetry_on_the_grid_is_exact():
    crystal = STRUCTURES["rocksalt conventional"]
    payload, decoded = check(Density(crystal, {"total": sampled_peaks(crystal, (12, 12, 12))}), 1e-3)
    n = decoded.total
    for image in (np.transpose(n, (1, 2, 0)), np.roll(n, (6, 6), (0, 1)), np.roll(n[::-1], 1, 0)):
        assert np.array_equal(image, n)
    shifted = Crystal(crystal.cell, crystal.positions + 0.013, crystal.numbers)  # no operation fits the grid
    lower, _ = check(Density(shifted, {"total": sampled_peaks(shifted, (12, 12, 12))}), 1e-3)
    assert len(payload) < len(lower) / 2


def test_flips_of_the_grid_are_left_to_the_fourier_codec():
    crystal = STRUCTURES["supercell"]
    signs = np.where(np.isclose(crystal.positions[:, 1], 0), 0.4, -0.4)
    grid = (12, 6, 18)
    fields = {"total": sampled_peaks(crystal, grid), "magnetization": density(crystal, grid, weights=signs)}
    check(Density(crystal, fields), 1e-4)


def test_zero_constant_and_negative():
    for values in (np.zeros(GRID), np.full(GRID, -0.3), smooth(GRID, 1) - 1.5):
        check(Density(STRUCTURES["triclinic"], {"total": values}), 1e-4)


def test_single_precision_input():
    crystal = STRUCTURES["fcc"]
    check(Density(crystal, {"total": sampled_peaks(crystal, GRID).astype(np.float32)}), 1e-4)


def test_another_grid_is_fourier_resampling():
    crystal = STRUCTURES["hcp"]
    payload, native = check(Density(crystal, {"total": sampled_peaks(crystal, GRID)}), 1e-3)
    for grid in ((20, 20, 24), (10, 11, 12)):
        other = codecs.decode(payload, grid=grid).total
        assert np.allclose(other, resample(native.total, grid), rtol=0, atol=1e-10)


def test_the_nearest_atom_is_the_nearest():
    """Against distances in floats over many images."""
    crystal = STRUCTURES["monoclinic"]
    grid = (5, 6, 7)
    points = np.arange(5 * 6 * 7)
    element, square = realspace._nearest_atom(points, grid, crystal)
    places = np.stack(np.unravel_index(points, grid), axis=1) / grid
    images = np.array(list(np.ndindex(5, 5, 5))) - 2
    wrapped = crystal.positions - np.floor(crystal.positions)
    vectors = (places[:, None, None, :] - wrapped[:, None, :] - images) @ crystal.cell
    distances = (vectors**2).sum(axis=-1).min(axis=2)
    assert np.allclose(square / 2.0**46, distances.min(axis=1), atol=3e-3)
    clear = np.sort(distances, axis=1)
    clear = clear[:, 1] - clear[:, 0] > 0.01
    assert np.array_equal(element[clear], crystal.numbers[distances.argmin(axis=1)][clear])
    assert square.tobytes() == realspace._nearest_atom(points, grid, crystal)[1].tobytes()


@given(st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=60), st.sampled_from([1, 4]))
def test_prediction_is_undone(levels, window):
    levels = np.array(levels, np.int64)
    assert np.array_equal(realspace._levels(realspace._differences(levels, window), window), levels)


def test_an_impossible_tolerance_is_refused_in_words():
    with pytest.raises(CodecError, match="tolerance=0"):
        codecs.encode(Density(STRUCTURES["fcc"], {"total": smooth(GRID, 1)}), 1e-17, codec="realspace")
