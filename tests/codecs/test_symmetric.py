"""What of a function has the symmetry of a crystal, against the mean over its operations in real space."""

from __future__ import annotations

import numpy as np
import pytest
from fields import STRUCTURES, smooth, total
from fields import density as field

from chgdb import Crystal, Density, codecs
from chgdb.codecs import symmetric
from chgdb.codecs.spectra import forward
from chgdb.codecs.symmetric import symmetric_part, symmetries, symmetrised, symmetry_of
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


# --- whole densities -------------------------------------------------------------------------------------------------


def broken(exact: Density, size: float) -> Density:
    """A density with noise in each channel, of an NMAE of `size`, that has no symmetry."""
    noisy = {}
    for seed, (name, values) in enumerate(exact.channels.items()):
        noise = smooth(exact.grid, seed) - 1
        noisy[name] = values + size * exact.total.mean() / np.abs(noise).mean() * noise
    return Density(exact.crystal, noisy)


def nmae(one: Density, other: Density) -> dict[str, float]:
    scale = np.abs(other.total).mean()
    return {name: float(np.abs(one.channels[name] - values).mean() / scale) for name, values in other.channels.items()}


@pytest.mark.parametrize("name", ["zinc blende", "quartz", "bcc", "wurtzite"])
def test_a_density_regains_the_symmetry_of_its_crystal(name: str) -> None:
    exact = total(name, (20, 20, 24))
    given = broken(exact, 1e-3)
    found, change = symmetrised(given, 5e-3)
    assert change == pytest.approx(nmae(found, given)["total"], rel=1e-9)
    assert 5e-4 < change < 2e-3
    assert nmae(found, exact)["total"] < nmae(given, exact)["total"] / np.sqrt(len(find(exact.crystal))) * 2
    assert found.total.mean() == pytest.approx(given.total.mean(), abs=1e-15)
    again, rest = symmetrised(found, 5e-3)
    assert rest < 1e-14
    assert nmae(again, found)["total"] < 1e-14


def test_a_magnetisation_changes_sign_where_it_did() -> None:
    crystal = STRUCTURES["diamond"]
    grid = (20, 20, 20)
    fields = {"total": field(crystal, grid), "magnetization": field(crystal, grid, weights=np.array([0.5, -0.5]))}
    exact = Density(crystal, fields)
    given = broken(exact, 1e-3)
    found, change = symmetrised(given, 5e-3)
    assert change == pytest.approx(max(nmae(found, given).values()), rel=1e-9)
    assert nmae(found, exact)["magnetization"] < nmae(given, exact)["magnetization"] / 3
    # The inversion between the two atoms takes one into the other.
    moved = np.roll(found.channels["magnetization"][::-1, ::-1, ::-1], (6, 6, 6), (0, 1, 2))
    np.testing.assert_allclose(moved - moved.mean(), -(found.channels["magnetization"] - moved.mean()), atol=1e-12)


def test_what_breaks_the_symmetry_by_more_stays() -> None:
    crystal = STRUCTURES["zinc blende"]
    values = field(crystal, (20, 20, 20))
    along = np.cos(2 * np.pi * np.arange(20) / 20)[:, None, None]  # distinguishes the first axis from the others
    given = Density(crystal, {"total": values + 0.02 * values.mean() * along})
    found, change = symmetrised(given, 5e-3)
    assert nmae(found, given)["total"] < 1e-12  # the operations left are those that it has exactly
    assert change < 1e-12
    taken, change = symmetrised(given, 5e-2)
    assert 5e-3 < change < 2e-2
    assert nmae(taken, Density(crystal, {"total": values}))["total"] < 1e-2


def test_no_field_at_all_has_nothing_to_lose() -> None:
    nothing = Density(STRUCTURES["bcc"], {"total": np.zeros((8, 8, 8))})
    found, change = symmetrised(nothing, 5e-3)
    assert change == 0
    assert not found.total.any()


@pytest.mark.parametrize("grid", [(16, 16, 16), (15, 15, 15)])
def test_symmetry_is_seen_where_the_grid_cuts_it_off(grid: tuple[int, int, int]) -> None:
    """The box of a primitive body-centred cell's grid is no symmetric set of waves: images fall outside, or on its
    rim."""
    crystal = STRUCTURES["bcc"]
    sharp = symmetrised(Density(crystal, {"total": smooth(grid, 5, reach=2)}), 10.0)[0]
    spectrum = np.fft.rfftn(sharp.total, norm="forward")
    group = symmetry_of(spectrum, grid, find(crystal), 1e-12)
    assert len(group) == len(find(crystal)) == 48
    with_it, without = (codecs.encode(sharp, 1e-4, codec="fourier", symmetry=s).payload for s in (True, False))
    assert len(with_it) < len(without) / 10


@pytest.mark.parametrize("name", STRUCTURES)
def test_generators_say_what_all_operations_say(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a magnetisation that some operations turn round, and one that breaks them all."""
    crystal, grid = STRUCTURES[name], (18, 18, 18)
    weights = np.where(np.arange(len(crystal)) % 2, -0.5, 0.5)
    noise = np.random.default_rng(3).normal(size=grid) * 1e-3
    for values in (field(crystal, grid), field(crystal, grid, weights=weights), field(crystal, grid) + noise):
        spectrum = forward(values)
        spectrum[0, 0, 0] = 0
        found = []
        for shortcut in (True, False):
            with monkeypatch.context() as patch:
                if not shortcut:
                    patch.setattr(symmetric, "_by_generators", lambda *_: None)
                found.append([group.rows() for group in symmetries(spectrum, grid, find(crystal), [1e-3, 1e-5])])
        assert found[0] == found[1]
