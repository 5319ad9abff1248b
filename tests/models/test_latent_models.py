"""Models on latents: trees on principal components, and convolutional networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs torch: pip install 'chgdb[ml]'")

import torch

import chgdb
from chgdb import features
from chgdb.models import ModelError, Rows, get, inference
from chgdb.models.ensemble import Ensemble
from chgdb.models.learners import latent_lightgbm
from chgdb.models.methods import networks
from chgdb.models.training import train


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Networks as small as these gain nothing from more, and lose much where the cores are busy."""
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def rows() -> Rows:
    """80 crystals of the catalog with made-up latents: a random level for each channel, and noise on top of it.
    The first target is in the latent alone, the second in the composition alone."""
    catalog = chgdb.open()
    ids = catalog.ids[::24][:80]
    crystals = tuple(catalog[i].crystal for i in ids)
    rng = np.random.default_rng(0)
    latents = np.zeros((len(ids), 16, 16, 16, 16), np.float32)
    for latent, crystal in zip(latents, crystals, strict=True):
        x, y, z = (min(16, int(np.ceil(np.linalg.norm(v) / 0.6))) for v in crystal.cell)
        level = rng.normal(size=(16, 1, 1, 1))
        latent[:, :z, :y, :x] = level + 0.1 * rng.normal(size=(16, z, y, x))
    magpie = np.stack([features.magpie(crystal) for crystal in crystals])
    # Cubes of the size that networks of few parameters need; the same level in all views of a crystal.
    edge = 0.1 * np.exp(latents[:, 2, 0, 0, 0])[:, None, None, None, None]
    views = (edge * (1 + 0.1 * rng.normal(size=(len(ids), 3, 10, 10, 10)))).astype(np.float16)
    return Rows(tuple(ids), crystals, {"latent": latents, "magpie": magpie, "cubes": views})


@pytest.fixture(scope="module")
def targets(rows: Rows) -> dict[str, np.ndarray]:
    first = rows["latent"][:, 2, 0, 0, 0].astype(float)
    second = rows["magpie"][:, 3] / rows["magpie"][:, 3].std()
    return {"formation_energy": np.where(np.arange(80) % 7, first, np.nan), "energy_vs_atoms": second}


def held(count: int) -> np.ndarray:
    return np.arange(count) % 8 == 3


@pytest.mark.parametrize("name", ["latent_cnn", "attention", "multitarget", "singletarget", "lightgbm", "lightgbm_512"])
def test_a_model_learns_and_is_the_same_read_back(
    name: str, rows: Rows, targets: dict[str, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = get(name).Model
    if name.startswith("lightgbm"):
        monkeypatch.setattr(learner, "TRIALS", 2)
    else:
        small = {"epochs": 8, "width": 12, "blocks": 1, "batch": 8}
        monkeypatch.setattr(learner, "SETTINGS", learner.SETTINGS | small)
    model, lines = learner(), []
    model.fit(rows, targets, validation=held(len(rows)), seed=1, progress=lines.append)
    mean, std = model.predict(rows)
    assert set(mean) == set(std) == set(targets)
    assert lines
    known = np.isfinite(targets["formation_energy"])
    correlation = np.corrcoef(mean["formation_energy"][known], targets["formation_energy"][known])[0, 1]
    assert correlation > 0.6
    model.save(tmp_path)
    again, _ = learner.load(tmp_path).predict(rows)
    for target, values in mean.items():
        np.testing.assert_allclose(again[target], values, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["latent_cnn", "attention", "multitarget"])
def test_numpy_applies_the_network_of_torch(name: str, rows: Rows) -> None:
    torch.manual_seed(0)
    model = get(name).Model
    settings = inference.Settings(**model.SETTINGS)
    channels, features = (1, 0) if "cubes" in model.INPUTS else (16, 132)
    network = networks.Network(channels, features, 3, settings)
    for key, values in network.state_dict().items():  # nothing stays at what it is initialised to
        if "norm" in key and "num_batches" not in key:
            values.copy_(torch.rand_like(values) + 0.5)
    state = {n: v.numpy() for n, v in network.state_dict().items() if not n.endswith("num_batches_tracked")}
    assert {n: v.shape for n, v in state.items()} == inference.shapes(channels, features, 3, settings)
    latents = [c[:, None] for c in rows["cubes"][:4]] if channels == 1 else inference.crop(rows["latent"][:4])
    known = np.random.default_rng(0).normal(size=(4, features)).astype(np.float32)
    expected = networks.infer(network, [torch.from_numpy(c) for c in latents], torch.from_numpy(known)).numpy()
    found = inference.Applied(state, settings).infer(latents, known)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    assert np.abs(np.diff(expected, axis=0)).max() > 1e-2


def test_training_is_deterministic_given_a_seed(rows: Rows, targets: dict[str, np.ndarray]) -> None:
    few = rows.take(np.arange(24))
    found = []
    for seed in (1, 1, 2):
        model = get("attention").Model()
        model.SETTINGS = model.SETTINGS | {"epochs": 1, "width": 8, "blocks": 1}
        model.fit(few, {n: v[:24] for n, v in targets.items()}, validation=held(24), seed=seed)
        found.append(model.predict(few)[0]["energy_vs_atoms"])
    np.testing.assert_array_equal(found[0], found[1])
    assert np.abs(found[0] - found[2]).max() > 1e-3


@pytest.mark.parametrize("name", ["latent_cnn", "attention"])
def test_a_prediction_does_not_depend_on_its_batch(name: str, rows: Rows) -> None:
    """Cropping and padding are exact: the same with all of the 16^3 latent, alone, and among larger cells."""
    torch.manual_seed(0)
    settings = inference.Settings(**get(name).Model.SETTINGS)
    network = networks.Network(16, 132, 3, settings).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm3d):  # running means that are not zero
            module.running_mean.normal_()
            module.bias.data.normal_()
    latents, features = [torch.from_numpy(c) for c in inference.crop(rows["latent"][:9])], torch.randn(9, 132)
    together = networks.infer(network, latents, features)
    alone = torch.cat([networks.infer(network, [latents[i]], features[i : i + 1]) for i in range(9)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    whole, mask = torch.from_numpy(rows["latent"][:9]), torch.zeros(9, 1, 16, 16, 16)
    for i, latent in enumerate(latents):
        z, y, x = latent.shape[1:]
        mask[i, 0, :z, :y, :x] = 1
    with torch.inference_mode():
        torch.testing.assert_close(network(whole, mask, features), alone, rtol=1e-4, atol=1e-5)


def test_a_prediction_from_several_views_is_their_mean(rows: Rows) -> None:
    torch.manual_seed(0)
    network = networks.Network(1, 0, 2, inference.Settings(**get("multitarget").Model.SETTINGS)).eval()
    views = [torch.from_numpy(cubes[:, None]) for cubes in rows["cubes"][:5]]
    nothing = torch.zeros(5, 0)
    each = [networks.infer(network, [v[k : k + 1] for v in views], nothing) for k in range(3)]
    torch.testing.assert_close(networks.infer(network, views, nothing), torch.stack(each).mean(0))
    assert (each[0] - each[1]).abs().max() > 1e-4


def test_latents_of_another_autoencoder_are_refused(
    rows: Rows, targets: dict[str, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = get("latent_cnn").Model
    monkeypatch.setattr(learner, "SETTINGS", {"epochs": 1, "width": 4, "blocks": 1})
    inputs = {**rows.inputs, "applicability": np.ones((len(rows), 5))}
    made_by = {"latent": "one-0a0a0a0a", "features": 1}
    known = Rows(rows.ids, rows.crystals, inputs, made_by)
    train("latent_cnn", chgdb.open(), known, {"energy_vs_atoms": targets["energy_vs_atoms"]}, tmp_path / "m", folds=1)
    model = Ensemble.load(tmp_path / "m")
    assert model.description["input_versions"] == {"latent": "one-0a0a0a0a"}  # of features it has none
    model.predict(Rows(rows.ids, rows.crystals, inputs, {"latent": "one-0a0a0a0a", "features": 2}))
    with pytest.raises(ModelError, match="one-0a0a0a0a, these are of other-1b1b1b1b: train it again"):
        model.predict(Rows(rows.ids, rows.crystals, inputs, {"latent": "other-1b1b1b1b"}))


def test_principal_components_are_those_of_scikit_learn() -> None:
    from sklearn.decomposition import PCA

    rng = np.random.default_rng(0)
    latents = (rng.normal(size=(40, 6)) @ rng.normal(size=(6, 64))).astype(np.float32).reshape(40, 1, 4, 4, 4) + 2
    arrays = latent_lightgbm._principal_components(latents, 128)
    flat = latents.reshape(40, -1)
    reference = PCA(6).fit((flat - flat.mean(axis=0)) / flat.std(axis=0))
    components = arrays["components"] * arrays["step"][:, None]
    assert len(components) >= 6
    similarity = np.abs(components[:6] @ reference.components_.T)
    np.testing.assert_allclose(similarity, np.eye(6), atol=0.02)  # 8 bits a number


def test_preprocessing_knows_training_rows_only(rows: Rows, targets: dict[str, np.ndarray]) -> None:
    """A validation row of another scale changes no mean, deviation or component."""
    model = get("lightgbm").Model()
    model.TRIALS = 1
    latents = rows["latent"].copy()
    latents[held(len(rows))] *= 1000
    for other in (rows, Rows(rows.ids, rows.crystals, {**rows.inputs, "latent": latents})):
        before = dict(model.arrays)
        model.fit(other, {"energy_vs_atoms": targets["energy_vs_atoms"]}, validation=held(len(rows)))
        if before:
            np.testing.assert_array_equal(before["mean"], model.arrays["mean"])
            count = min(len(before["components"]), len(model.arrays["components"]))
            np.testing.assert_array_equal(before["components"][:count], model.arrays["components"][:count])
