"""From densities to what a network sees and back."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from fields import STRUCTURES, total
from materials import IDS, atoms

from chgdb import Crystal, Density
from chgdb.errors import CodecError
from chgdb.latents.volumes import CONFIGURATIONS, Configuration, context, from_volume, origin, to_volume
from chgdb.promolecule import Prior, fit, superposition


@pytest.fixture(scope="module")
def prior() -> Prior:
    return fit([atoms(name) for name in IDS])


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_there_and_back(name: str, prior: Prior) -> None:
    """What a perfect network gives back is the density, on the native grid and on a finer one."""
    configuration = CONFIGURATIONS[name]
    density = total("triclinic", (40, 48, 44))
    volume = to_volume(density, configuration, prior)
    assert volume.dtype == np.float32
    assert volume.shape == configuration.volume_shape(density.crystal.cell)
    for grid in (density.grid, (48, 54, 50)):
        back = from_volume(volume, configuration, prior, density.crystal, grid, density.n_electrons)
        exact = total("triclinic", grid).total
        assert back.shape == grid
        assert np.abs(back - exact).sum() < 1e-5 * np.abs(exact).sum()


def test_the_axes_are_z_y_x() -> None:
    density = total("monoclinic", (54, 56, 50))
    density = Density(density.crystal, {"total": density.total + np.arange(50)})
    volume = to_volume(density, Configuration("x", spacing=0.11, most=56, factor=8), None)
    assert volume.shape[2] == 47  # 5.1 Å along a
    assert np.abs(np.diff(volume.mean((1, 2)))).max() > 1, "grows along the last axis of the density: the first here"


@pytest.mark.parametrize(("spacing", "points"), [(0.075, (54, 54, 54)), (0.5, (9, 9, 9)), (0.02, (128, 128, 128))])
def test_grid_of_a_cubic_cell(spacing: float, points: tuple[int, int, int]) -> None:
    configuration = Configuration("x", spacing=spacing)
    assert configuration.volume_shape(np.eye(3) * 4.05) == points
    assert configuration.is_reduced(np.eye(3) * 4.05) == (spacing == 0.02)


def test_periodic_grids_are_whole_numbers_of_latent_voxels() -> None:
    configuration = CONFIGURATIONS["periodic"]
    assert configuration.volume_shape(np.diag([2.4, 2.5, 30.0])) == (48, 15, 12)
    assert configuration.is_reduced(np.diag([2.4, 2.5, 30.0]))
    assert not configuration.is_reduced(np.diag([2.4, 2.5, 9.6]))
    assert configuration.latent_shape == (16, 16, 16, 16)


def test_a_padded_cell_can_be_a_whole_number_of_latent_voxels() -> None:
    """The nearest to the spacing, not the next finer: no crystal is sampled more finely on average."""
    configuration = CONFIGURATIONS["published"]
    assert configuration.volume_shape(np.diag([0.2, 4.05, 4.6])) == (64, 56, 8)
    assert configuration.volume_shape(np.diag([9.6, 9.9, 30.0])) == (112, 112, 112), "two voxels stay empty"
    assert configuration.is_reduced(np.diag([8.4, 8.5, 4.0]))
    assert not configuration.is_reduced(np.diag([8.4, 8.4, 4.0]))
    lengths = np.linspace(2, 9, 500)
    points = np.array([configuration.volume_shape(np.eye(3) * a)[0] for a in lengths])
    assert np.abs(np.log(lengths / points / 0.075)).max() < 0.16
    assert abs(np.log(lengths / points / 0.075).mean()) < 0.01
    assert not CONFIGURATIONS["difference"].whole
    assert Configuration.from_json({"name": "of before"}).volume_shape(np.eye(3) * 4.05) == (54, 54, 54)
    with pytest.raises(CodecError, match="impossible numbers"):
        Configuration.from_json({"name": "x", "whole": 8})
    assert Configuration.from_json({"name": "of before"}).volume_shape(np.eye(3) * 30) == (128, 128, 128)
    for wrong in ({"margin": 16}, {"margin": -1}, {"margin": 1, "boundary": "periodic"}):
        with pytest.raises(CodecError, match="does not fit together"):
            Configuration.from_json({"name": "x", **wrong})


def test_a_clear_volume_begins_between_the_atoms_and_goes_back() -> None:
    """Wherever the origin of the cell is: the volume is the same, and the density comes back to its place."""
    configuration = replace(CONFIGURATIONS["published"], spacing=0.15, most=64, margin=1)
    density = total("monoclinic", (54, 56, 50))
    volume = to_volume(density, configuration, None)
    begin = origin(density.crystal, configuration)
    assert any(begin)
    faces = [volume.take(0, axis).mean() + volume.take(-1, axis).mean() for axis in range(3)]
    as_is = to_volume(density, replace(configuration, clear=False), None)
    before = [as_is.take(0, axis).mean() + as_is.take(-1, axis).mean() for axis in range(3)]
    assert sum(faces) < sum(before)
    np.testing.assert_array_equal(np.roll(volume, begin, (0, 1, 2)), as_is)
    back = from_volume(volume, configuration, None, density.crystal, density.grid, None)
    plain = from_volume(as_is, replace(configuration, clear=False), None, density.crystal, density.grid, None)
    np.testing.assert_allclose(back, plain, rtol=0, atol=1e-12)
    noisy = Crystal(density.crystal.cell, density.crystal.positions + 1e-9, density.crystal.numbers)
    assert origin(noisy, configuration) == begin
    assert origin(density.crystal, CONFIGURATIONS["difference"]) == (0, 0, 0)


@pytest.mark.parametrize(
    ("cell", "positions", "symbols", "expected"),
    [
        (np.full((3, 3), 2.73) - 2.73 * np.eye(3), [[0, 0, 0], [0.25, 0.25, 0.25]], [14, 14], (30, 30, 30)),
        (np.full((3, 3), 2.82) - 2.82 * np.eye(3), [[0, 0, 0], [0.5, 0.5, 0.5]], [11, 17], (13, 13, 13)),
        (np.diag([3.0, 4.0, 12.0]), [[0, 0, 0], [0.5, 0.1, 0.3]], [3, 55], (60, 32, 0)),
    ],
)
def test_where_a_clear_volume_begins_never_changes(
    cell: np.ndarray, positions: list[list[float]], symbols: list[int], expected: tuple[int, int, int]
) -> None:
    """Latents do not say it: another rule would decode those there are to the wrong place."""
    crystal = Crystal(cell, np.array(positions, float), np.array(symbols))
    assert origin(crystal, CONFIGURATIONS["published"]) == expected


def test_the_difference_has_no_mean_and_is_small(prior: Prior) -> None:
    density = atoms("mat-3")
    difference = to_volume(density, CONFIGURATIONS["difference"], prior) * CONFIGURATIONS["difference"].scale
    assert abs(difference.mean()) < 1e-6
    assert np.abs(difference).mean() < 0.1 * np.abs(density.total - density.total.mean()).mean()


def test_superposition_is_linear_in_the_atoms(prior: Prior) -> None:
    crystal = atoms("mat-3").crystal
    parts = [Crystal(crystal.cell, crystal.positions[k : k + 1], crystal.numbers[k : k + 1]) for k in range(4)]
    whole = superposition(prior, crystal, (24, 20, 22))
    assert np.allclose(whole, sum(superposition(prior, part, (24, 20, 22)) for part in parts), atol=1e-12)
    assert abs(whole.mean()) < 1e-12
    assert whole.std() > 0.1


def test_an_element_that_the_prior_does_not_have_counts_as_nothing(prior: Prior) -> None:
    unknown = STRUCTURES["fcc"]
    assert not prior.covers(unknown)
    assert not superposition(prior, unknown, (12, 12, 12)).any()


def test_context_is_the_decoders_alone(prior: Prior) -> None:
    crystal = atoms("mat-3").crystal
    assert context(crystal, CONFIGURATIONS["published"], None) is None
    assert context(crystal, CONFIGURATIONS["periodic-total"], None) is None
    seen = context(crystal, CONFIGURATIONS["periodic"], prior)
    assert seen is not None
    assert seen.shape == CONFIGURATIONS["periodic"].volume_shape(crystal.cell)


def test_what_is_missing_is_said(prior: Prior) -> None:
    density = atoms("mat-3")
    with pytest.raises(CodecError, match="needs a prior"):
        to_volume(density, CONFIGURATIONS["periodic"], None)
    volume = to_volume(density, CONFIGURATIONS["periodic"], prior)
    with pytest.raises(CodecError, match="only with the electron count"):
        from_volume(volume, CONFIGURATIONS["periodic"], prior, density.crystal, density.grid, None)


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_configurations_survive_json(name: str) -> None:
    facts = json.loads(json.dumps(CONFIGURATIONS[name].to_json()))
    assert Configuration.from_json(facts) == CONFIGURATIONS[name]


@pytest.mark.parametrize(
    "facts",
    [{}, {"name": "x", "novelty": 1}, {"name": "x", "network": "transformer"}, {"name": "x", "target": "spin"},
     {"name": "x", "most": 100}, {"name": "x", "factor": 4}, {"name": "x", "spacing": 0}, {"name": "x", "most": "8"},
     []],
)  # fmt: skip
def test_configurations_that_make_no_sense(facts: dict) -> None:
    with pytest.raises(CodecError, match=r"configuration|expected"):
        Configuration.from_json(facts)
