"""Training of the autoencoder: deterministic, resumable, blind to the test set."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from materials import IDS, atoms

from chgdb import Density
from chgdb.codecs import measure
from chgdb.formats import text_bytes
from chgdb.latents import training
from chgdb.latents.autoencoder import Autoencoder
from chgdb.latents.volumes import CONFIGURATIONS, Configuration

SMALL = {
    "published": Configuration("published", spacing=0.6, most=16, widths=(3, 4, 4), channels=2),
    "periodic": replace(CONFIGURATIONS["periodic"], spacing=0.4, most=12, channels=8, widths=(6, 2)),
}
LARGER = replace(SMALL["published"], spacing=0.4, most=24)
RECIPE = training.Recipe(epochs=3, batch=2, learning_rate=1e-3, rate=0.01, seed=3, precision="float32")
PARTS = ["train"] * 8 + ["validation"] * 2 + ["test"] * 2


def materials() -> tuple[list[Density], list[str], list[str], list[int]]:
    densities = [atoms(name) for name in IDS]
    return densities, list(IDS), list(PARTS), [text_bytes(d) for d in densities]


def weights(model: Autoencoder) -> dict[str, torch.Tensor]:
    return dict(model.network.state_dict())


def same(first: Autoencoder, second: Autoencoder) -> bool:
    return all(torch.equal(value, weights(second)[name]) for name, value in weights(first).items())


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("optimiser", training._CHOICES["optimiser"])
def test_interrupted_and_resumed_is_not_interrupted(tmp_path: Path, name: str, optimiser: str) -> None:
    recipe = replace(RECIPE, optimiser=optimiser, schedule="cosine")
    whole = training.train(SMALL[name], recipe, *materials(), tmp_path / "whole")

    class Interruption(Exception):
        pass

    def interrupt(progress: training.Epoch) -> None:
        if progress.epoch == 1 and math.isnan(progress.validation):  # in the middle of the second epoch
            raise Interruption

    with pytest.raises(Interruption):
        training.train(SMALL[name], recipe, *materials(), tmp_path / "parts", report=interrupt)
    assert not (tmp_path / "parts" / "model.json").exists()
    resumed = training.train(SMALL[name], recipe, *materials(), tmp_path / "parts")
    assert same(whole, resumed)
    assert whole.identifier == resumed.identifier
    assert not same(whole, training.train(SMALL[name], replace(recipe, seed=4), *materials(), tmp_path / "other"))


@pytest.mark.parametrize("name", SMALL)
def test_the_error_falls_and_the_model_is_loaded_as_it_was(tmp_path: Path, name: str) -> None:
    recipe = replace(RECIPE, epochs=12, learning_rate=3e-3, precision="float32")
    model = training.train(SMALL[name], recipe, *materials(), tmp_path)
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in log] == list(range(1, len(log) + 1))
    assert min(line["validation"] for line in log[4:]) < log[0]["validation"]
    loaded = Autoencoder.load(tmp_path)
    assert loaded.identifier == model.identifier
    assert same(model, loaded)
    density = atoms("mat-9")
    latent = model.encode(density)
    assert np.array_equal(latent, loaded.encode(density))
    one, other = (m.decode(latent, density.crystal, density.grid, density.n_electrons) for m in (model, loaded))
    assert np.array_equal(one.total, other.total)
    if name == "periodic":  # the other is too small to be any good
        assert measure(density, one).nmae["total"] < 0.6
    split = json.loads((tmp_path / "split.json").read_text())
    assert split["test"] == IDS[10:]
    facts = json.loads((tmp_path / "model.json").read_text())["training"]
    assert facts["materials"] == {"train": 8, "validation": 2, "test": 2}
    assert facts["recipe"]["learning_rate"] == 3e-3


def test_nothing_of_the_test_part_reaches_the_model(tmp_path: Path) -> None:
    densities, ids, parts, text = materials()
    first = training.train(SMALL["periodic"], RECIPE, densities, ids, parts, text, tmp_path / "first")
    for k in (10, 11):
        densities[k] = Density(densities[k].crystal, {"total": np.ones((24, 24, 24))})
    second = training.train(SMALL["periodic"], RECIPE, densities, ids, parts, text, tmp_path / "second")
    assert same(first, second)
    assert np.array_equal(first.prior.coefficients, second.prior.coefficients)
    densities[0] = densities[11]
    third = training.train(SMALL["periodic"], RECIPE, densities, ids, parts, text, tmp_path / "third")
    assert not same(first, third), "the test can fail"


def test_a_folder_of_another_training_is_refused(tmp_path: Path) -> None:
    training.train(SMALL["periodic"], RECIPE, *materials(), tmp_path)
    kept = (tmp_path / "model.json").read_bytes()
    with pytest.raises(training.TrainingError, match="use a new folder"):
        training.train(SMALL["periodic"], replace(RECIPE, rate=0.5), *materials(), tmp_path)
    assert (tmp_path / "model.json").read_bytes() == kept


def test_a_training_starts_from_another_model(tmp_path: Path) -> None:
    first = training.train(SMALL["periodic"], RECIPE, *materials(), tmp_path / "first")
    slow = replace(RECIPE, epochs=1, learning_rate=1e-9)
    second = training.train(SMALL["periodic"], slow, *materials(), tmp_path / "second", start=tmp_path / "first")
    for name, value in weights(first).items():
        torch.testing.assert_close(weights(second)[name], value, rtol=1e-2, atol=1e-4)
    assert second.description["training"]["start"]["model"] == first.identifier
    with pytest.raises(training.TrainingError, match="another configuration"):
        training.train(SMALL["published"], RECIPE, *materials(), tmp_path / "third", start=tmp_path / "first")


def test_a_training_starts_from_a_model_of_another_grid(tmp_path: Path) -> None:
    training.train(SMALL["published"], RECIPE, *materials(), tmp_path / "first")
    finer = replace(SMALL["published"], spacing=0.35, most=32, whole=True)
    second = training.train(finer, RECIPE, *materials(), tmp_path / "second", start=tmp_path / "first")
    assert second.configuration == finer
    wider = replace(finer, widths=(3, 4, 5))
    with pytest.raises(training.TrainingError, match="another configuration"):
        training.train(wider, RECIPE, *materials(), tmp_path / "third", start=tmp_path / "first")


def test_parts_of_crystals_stand_for_the_whole() -> None:
    """Of the same places in every field, of every place alike; the batch has the shape of the parts."""
    random = np.random.default_rng(0)
    volume = np.arange(6 * 8 * 12, dtype=np.float32).reshape(6, 8, 12)
    recipe = replace(RECIPE, part=8)
    seen = np.zeros(volume.size)
    for _ in range(400):
        one, other = training._part([volume, 2 * volume], recipe, random)
        assert one.shape == (6, 8, 8)
        assert np.array_equal(2 * one, other)
        seen[one.astype(int).ravel()] += 1
    assert (seen > 0).all()
    assert training._part([volume], RECIPE, random)[0] is volume
    samples = [training._Sample(v, None, 1.0, 1.0) for v in (volume, np.ones((8, 20, 6), np.float32), volume[:, :6])]
    assert sorted(sorted(b) for b in training._batches(samples, recipe, random)) == [[0, 1], [2]]
    volumes, _ = training._stack(samples[:2], LARGER, recipe, random)
    assert volumes.shape[2:] == (24, 24, 24)  # 6 or 8 points, up to a whole latent voxel, and two voxels of nothing
    whole, _ = training._stack(samples[:1], LARGER, recipe, None)
    assert sorted(whole.shape[2:]) == [24, 24, 24], "as many as the volume has at most"
    assert (whole != 0).sum() == volume.size - 1, "validation sees all of it"


def test_training_on_parts(tmp_path: Path) -> None:
    recipe = replace(RECIPE, epochs=12, learning_rate=3e-3, part=8, precision="auto")
    training.train(LARGER, recipe, *materials(), tmp_path)
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert min(line["validation"] for line in log[4:]) < log[0]["validation"]
    assert all(line["train"] > 0 and line["validation"] > 0 for line in log)
    with pytest.raises(training.TrainingError, match="periodic is periodic and sees whole cells"):
        training.train(SMALL["periodic"], recipe, *materials(), tmp_path / "periodic")


def test_the_loss_is_that_of_the_whole_padded_volume() -> None:
    """Crystal, padding, faces, edges and corners, whatever the background is."""
    random = np.random.default_rng(0)
    samples = [training._Sample(random.random((8, 16, 8), np.float32), None, 0.5, 1.0)]
    configuration = replace(SMALL["published"], most=64)
    torch.manual_seed(0)
    run = training._Run(configuration, RECIPE, {}, None, torch.device("cpu"))
    stacked = run._stack(samples, None)
    padded = torch.zeros(1, 1, 64, 64, 64)
    padded[0, 0, :8, :16, :8] = torch.from_numpy(samples[0].volume)
    with torch.no_grad():
        for bias in np.linspace(-1, 1, 5):
            run.network.decoder[-1].convolution.bias.fill_(float(bias))
            expected = float((run.network(padded) - padded).square().mean())
            found = run._loss(samples, stacked, noise=False, empty=1)
            assert float(found["mse"]) == pytest.approx(expected, rel=0.02)
            assert 0 < float(run._loss(samples, stacked, noise=False, empty=0)["loss"]) < float(found["loss"])


def test_precision_that_suits_the_device() -> None:
    assert training._mixed("bfloat16", torch.device("cpu"))
    assert not training._mixed("float32", torch.device("cuda"))
    assert training._mixed("auto", torch.device("cuda"))
    assert training._mixed("auto", torch.device("cpu")) == torch.ops.mkldnn._is_mkldnn_bf16_supported()


def test_minutes_end_it_and_more_of_them_go_on(tmp_path: Path) -> None:
    model = training.train(SMALL["periodic"], replace(RECIPE, minutes=1e-9), *materials(), tmp_path)
    assert model.description["training"]["epochs"] == 0 or model.description["training"]["epochs"] == 1
    model = training.train(SMALL["periodic"], RECIPE, *materials(), tmp_path)
    assert model.description["training"]["epochs"] == 3


def test_patience_ends_it(tmp_path: Path) -> None:
    recipe = replace(RECIPE, epochs=30, learning_rate=1e-12, patience=2, rate=0.0)
    model = training.train(SMALL["published"], recipe, *materials(), tmp_path)
    assert model.description["training"]["epochs"] < 30


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"optimiser": "sgd"},
        {"schedule": "step"},
        {"learning_rate": -1.0},
        {"rate": -1.0},
        {"precision": "half"},
        {"part": -8},
    ],
)
def test_recipes_that_make_no_sense(wrong: dict) -> None:
    with pytest.raises(training.TrainingError):
        replace(RECIPE, **wrong)


def test_training_needs_a_validation_part(tmp_path: Path) -> None:
    densities, ids, _, text = materials()
    with pytest.raises(training.TrainingError, match="no training and validation part"):
        training.train(SMALL["periodic"], RECIPE, densities, ids, ["train"] * 12, text, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_all_orientations_are_the_same_crystal() -> None:
    """Turned volumes have the values of the volume, and the context turns with it."""
    random = np.random.default_rng(0)
    volume = random.normal(size=(4, 6, 8)).astype(np.float32)
    for configuration in (SMALL["published"], SMALL["periodic"]):
        seen = set()
        for _ in range(60):
            shape = tuple(random.permutation([4, 6, 8]))
            one, other = training._turned([volume, 2 * volume], shape, configuration, random)
            assert one.shape == shape
            assert np.array_equal(2 * one, other)
            assert np.array_equal(np.sort(one, axis=None), np.sort(volume, axis=None))
            seen.add(one.tobytes())
        assert len(seen) > 8


def test_bits_are_those_of_the_distribution() -> None:
    """The likelihoods of all integers add up to one."""
    spread = torch.tensor([0.5, 3.0])
    values = torch.arange(-400.0, 401.0)[None, None, None, None, :].expand(1, 2, 1, 1, -1)
    bits = training._bits(values, spread)
    assert torch.allclose((2.0**-bits).sum((2, 3, 4)), torch.ones(1, 2), atol=1e-4)
    assert (bits >= 0).all()
    assert torch.isfinite(bits).all()


def test_muon_steps_have_one_size_in_all_directions() -> None:
    matrix = torch.diag(torch.tensor([1.0, 0.5, 0.2])) @ torch.linalg.qr(torch.randn(3, 3))[0]
    from chgdb.latents.muon import _orthogonal

    singular = torch.linalg.svdvals(_orthogonal(matrix))
    assert singular.min() > 0.6
    assert singular.max() < 1.3
