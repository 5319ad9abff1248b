"""Magnetisations learned and estimated: the sign convention, the moment, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import chgdb
from chgdb import Catalog, ChgdbError, Crystal
from chgdb.densities.guess import guess
from chgdb.ingest import build_from

torch = pytest.importorskip("torch")

from chgdb.densities import ensemble, samples, training  # noqa: E402 - need torch
from chgdb.densities.architecture import Configuration  # noqa: E402

#: TaFeRu2 has a moment below zero in the catalog; aluminium has no magnetisation.
MAGNETS = ["mp-13", "mp-2658", "mp-867216"]
SMALL = Configuration(channels=4, width=8, carried=0, waves=4, layers=1, count=3, cut=1.2)
RECIPE = training.Recipe(epochs=2, batch=2, seed=3, real_space=0.5)


def of_embedded(material_id: str):
    return chgdb.open()[material_id].density, {"split": "train"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    path = tmp_path_factory.mktemp("magnets") / "few.zarr"
    assert build_from(path, [*MAGNETS, "mp-134"], of_embedded, workers=1, columns={"split": {}}).complete
    return chgdb.open(path)


@pytest.fixture(scope="module")
def model(store: Catalog, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("model")
    return ensemble.train(store, folder, [(SMALL, RECIPE)], channel="magnetization", workers=1)


def test_samples_are_of_magnetisations_with_a_moment_that_is_not_negative(store: Catalog):
    found, prior = samples.load([store], workers=1, channel="magnetization")
    assert [s.material_id for s in found] == MAGNETS
    assert not prior.coefficients.any()
    for sample in found:
        density = store[sample.material_id].density
        mean = density.channels["magnetization"].mean()
        assert sample.spectrum.values[-1] == pytest.approx(abs(mean), rel=1e-5)
        assert not sample.spectrum.h[-1].any()
        assert sample.spectrum.mean == pytest.approx(density.total.mean())
        half = np.fft.rfftn(density.channels["magnetization"]) / density.total.size
        h = sample.spectrum.h[0].astype(int)
        h = h if h[2] >= 0 else -h
        own = half[tuple(h)] if (sample.spectrum.h[0] == h).all() else half[tuple(h)].conj()
        assert sample.spectrum.values[0] == pytest.approx(np.sign(mean) * own, abs=1e-5 * sample.spectrum.mean)
    assert store["mp-867216"].density.channels["magnetization"].mean() < 0  # so that the sign is tried


def test_the_error_of_a_training_counts_the_moment(store: Catalog):
    """A guess of nothing is off by the whole magnetisation, its mean included."""
    found, _ = samples.load([store], workers=1, channel="magnetization")
    sample = found[0]
    known = sorted({int(z) for s in found for z in s.crystal.numbers})
    whole = training.Task(sample, known, replace(SMALL, cut=2.5), "difference")
    nothing = [torch.zeros(len(sample.crystal), SMALL.count * n) for n in (15, 10)]
    density = store[sample.material_id].density
    expected = np.abs(density.channels["magnetization"]).mean() / density.total.mean()
    assert float(whole.error(*nothing, on_grid=True)) == pytest.approx(expected, rel=0.03)


def test_torch_and_numpy_agree_on_the_magnetisation(store: Catalog, model):
    """What training measures is what users get: the error on the grid of the model that was saved."""
    found, _ = samples.load([store], workers=1, channel="magnetization")
    network = ensemble.to_network(model, 0)
    for sample in found:
        task = training.Task(sample, network.known, SMALL, "difference")
        inside = float(training.measure(network, [task])[0])
        total = guess(model, sample.crystal, task.grid).total
        truth = np.zeros(task.grid, complex)
        kept = np.linalg.norm(sample.spectrum.h @ np.linalg.inv(sample.crystal.cell).T, axis=1) < SMALL.cut
        values = sample.spectrum.values[sample.spectrum.orbit]
        values = np.where(sample.spectrum.conjugate, values.conj(), values) * sample.spectrum.factor
        inner = kept[sample.spectrum.orbit]
        values = values[inner]
        for sign in (1, -1):
            h = sign * sample.spectrum.members[inner].astype(int)
            truth[tuple(h.T)] = values if sign > 0 else values.conj()
        field = np.fft.ifftn(truth).real * truth.size
        assert np.abs(field - total).mean() / sample.spectrum.mean == pytest.approx(inside, rel=2e-3)


def test_an_estimate_has_both_channels_and_the_moment(model):
    crystal = chgdb.open()["mp-13"].crystal
    found = chgdb.estimate(crystal, grid=(20, 20, 20), magnetization=model)
    assert set(found.density.channels) == {"total", "magnetization"}
    moment = found.density.channels["magnetization"].mean() * crystal.volume
    assert found.magnetisation.moment == pytest.approx(moment, abs=1e-12)
    assert found.density.n_electrons == pytest.approx(8, abs=1e-9)
    plain = chgdb.estimate(crystal, grid=(20, 20, 20))
    assert plain.magnetisation is None
    assert np.array_equal(plain.density.total, found.density.total)
    twice = Crystal(crystal.cell * [[2], [1], [1]], [[0, 0, 0], [0.5, 0, 0]], [26, 26])
    larger = chgdb.estimate(twice, grid=(40, 20, 20), magnetization=model)
    assert larger.magnetisation.moment == pytest.approx(2 * moment, rel=1e-6)


def test_what_is_refused(store: Catalog, model, tmp_path: Path):
    with pytest.raises(ChgdbError, match=r"only of crystals with Fe"):
        chgdb.estimate(Crystal(4 * np.eye(3), [[0, 0, 0]], [13]), magnetization=model)
    with pytest.raises(ChgdbError, match="not of magnetisations"):
        chgdb.estimate(chgdb.open()["mp-13"].crystal, magnetization=chgdb.densities.model.load())
    with pytest.raises(ChgdbError, match="channel"):
        ensemble.train(store, tmp_path / "a", [(SMALL, RECIPE)], start=model)
    with pytest.raises(ChgdbError, match="channel"):
        ensemble.train(store, tmp_path / "a", [(SMALL, RECIPE)], keep=model)
    only = tmp_path / "silicon.zarr"
    build_from(only, ["mp-149"], of_embedded, workers=1, columns={"split": {}})
    with pytest.raises(ChgdbError, match="nothing to train on"):
        ensemble.train(chgdb.open(only), tmp_path / "b", [(SMALL, RECIPE)], channel="magnetization", workers=1)


def test_members_that_stay(store: Catalog, tmp_path: Path):
    """The mean of old and new members is the mean of what each gives with the form factors that it was trained on."""
    old = ensemble.train(store, tmp_path / "old", [(SMALL, RECIPE)], workers=1)
    new = ensemble.train(store, tmp_path / "new", [(SMALL, replace(RECIPE, seed=4))] * 2, workers=1)
    both = ensemble.train(
        store, tmp_path / "both", [(SMALL, replace(RECIPE, seed=4))] * 2, keep=old, workers=1
    )  # fmt: skip
    crystal = store["mp-2658"].crystal
    totals = [guess(m, crystal, (20, 20, 20)).total for m in (old, new, both)]
    assert len(both.members) == 3
    assert np.abs(totals[2] - (totals[0] + 2 * totals[1]) / 3).max() < 1e-3 * totals[0].mean()
    shifted = ensemble.mean_of(old.prior, 1, replace_coefficients(old.prior, 2.0), 2)
    assert np.allclose(shifted.coefficients, old.prior.coefficients * 5 / 3, rtol=1e-6)


def replace_coefficients(prior, factor: float):
    return type(prior)(prior.numbers, prior.coefficients * factor)
