"""Training on a handful of materials of the catalog: the two implementations agree, an interruption changes nothing."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import chgdb
from chgdb import Catalog, ChgdbError
from chgdb.errors import StoreError
from chgdb.ingest import build_from

torch = pytest.importorskip("torch")

from chgdb.densities import ensemble, inference, network, samples, training  # noqa: E402 - need torch
from chgdb.densities.architecture import Configuration  # noqa: E402
from chgdb.densities.graph import graph  # noqa: E402
from chgdb.densities.guess import guess  # noqa: E402
from chgdb_catalog.studies import density_tables, evaluate_densities  # noqa: E402

#: Of elements that come more than once, so that the training part knows those of the rest.
IDS = {
    "train": ["mp-22862", "mp-149", "mp-32", "mp-23193", "mp-30", "mp-134", "mp-22851", "mp-23703"],
    "validation": ["mp-22905"],
}
SMALL = Configuration(channels=4, width=8, carried=2, waves=4, layers=2, count=3, cut=1.2)
RECIPE = training.Recipe(epochs=3, batch=3, seed=7, real_space=0.5)


def of_embedded(material_id: str):
    record = chgdb.open()[material_id]
    part = next(part for part, ids in IDS.items() if material_id in ids)
    return record.density, {"split": part}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Matrices this small take longer with several."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    known = set(chgdb.open().ids)
    IDS["train"] = [i for i in IDS["train"] if i in known]
    IDS["validation"] = [i for i in IDS["validation"] if i in known]
    path = tmp_path_factory.mktemp("density") / "few.zarr"
    ids = [*IDS["train"], *IDS["validation"]]
    assert build_from(path, ids, of_embedded, workers=1, columns={"split": {}}).complete
    return chgdb.open(path)


@pytest.fixture(scope="module")
def loaded(store: Catalog):
    return samples.load([store], workers=1)


def weights(model: network.Network) -> np.ndarray:
    return np.concatenate([value.detach().numpy().ravel() for value in model.parameters()])


def test_samples_hold_the_density(loaded):
    found, prior = loaded
    for sample in found:
        own = chgdb.open()[sample.material_id].density
        assert sample.spectrum.electrons == pytest.approx(own.n_electrons)
        half = np.fft.rfftn(own.total) / own.total.size
        h, values = sample.spectrum.h.astype(int), sample.spectrum.values
        upper = h[:, 2] >= 0
        expected = half[h[upper, 0], h[upper, 1], h[upper, 2]]
        assert np.abs(values[upper] - expected).max() < 1e-4 * sample.spectrum.mean
        assert prior.covers(sample.crystal)


def test_the_real_space_error_is_the_nmae_of_the_difference(loaded):
    found, _ = loaded
    sample = found[1]
    known = sorted({int(z) for s in found for z in s.crystal.numbers})
    task = training.Task(sample, known, SMALL, "difference")
    nothing = [torch.zeros(len(sample.crystal), SMALL.count * n) for n in (15, 10)]
    # A guess of nothing leaves the difference within the sphere, summed here on the density's own grid.
    values = sample.spectrum.values - sample.superposition
    inside = np.linalg.norm(sample.spectrum.h @ np.linalg.inv(sample.crystal.cell).T, axis=1) < SMALL.cut
    unfolded = np.where(inside, values, 0)[sample.spectrum.orbit]
    unfolded = np.where(sample.spectrum.conjugate, unfolded.conj(), unfolded) * sample.spectrum.factor
    grid = sample.spectrum.grid
    full = np.zeros(grid, complex)
    for sign in (1, -1):
        h = sign * sample.spectrum.members.astype(int)
        full[h[:, 0], h[:, 1], h[:, 2]] = unfolded if sign > 0 else unfolded.conj()
    field = np.fft.ifftn(full).real * np.prod(grid)
    assert float(task.error(*nothing, on_grid=False)) == pytest.approx(np.sqrt((field**2).mean()) / task.mean, rel=1e-4)
    assert float(task.error(*nothing, on_grid=True)) == pytest.approx(
        np.abs(field).mean() / task.mean, rel=0.1
    )  # |f| is no band-limited function


def test_torch_with_symmetry_and_numpy_without_are_the_same(loaded):
    found, _ = loaded
    known = sorted({int(z) for s in found for z in s.crystal.numbers})
    for carried in (0, 3):
        sizes = replace(SMALL, carried=carried)
        member = training.Member(sizes, RECIPE, known)
        own = {k: v.detach().double().numpy() for k, v in member.network.state_dict().items()}
        parts = [network.inputs(s.graph, known, sizes) for s in found]
        joined, crystal = network.together(parts)
        with torch.no_grad():
            together = member.network.eval()(joined, crystal, len(parts)).numpy()
        start = 0
        for sample in found:
            rows = np.searchsorted(known, sample.crystal.numbers)
            other = inference.coefficients(own, sizes, rows, graph(sample.crystal))
            mine = together[start : start + len(other)]
            assert np.abs(mine - other).max() < 2e-5 * np.abs(other).max()
            start += len(other)


def test_an_interrupted_training_gives_the_same_weights(loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    found, _ = loaded
    whole, _ = training.train(found, tmp_path / "whole", SMALL, RECIPE)
    monkeypatch.setattr(training, "_SAVE_EVERY", 0.0)

    class Stop(Exception):
        pass

    def stop(progress: training.Progress) -> None:
        if progress.epoch == 2:
            raise Stop

    with pytest.raises(Stop):
        training.train(found, tmp_path / "parts", SMALL, RECIPE, report=stop)
    resumed, facts = training.train(found, tmp_path / "parts", SMALL, RECIPE)
    assert np.array_equal(weights(whole), weights(resumed))
    assert facts["epochs"] == RECIPE.epochs
    assert [line[0] for line in facts["history"]] == [3]
    assert facts["history"][-1][3] == pytest.approx(facts["validation"], rel=1e-3)
    with pytest.raises(ChgdbError, match="another training"):
        training.train(found, tmp_path / "parts", SMALL, replace(RECIPE, seed=8))
    (tmp_path / "parts" / training.CHECKPOINT).write_bytes(b"no checkpoint")
    with pytest.raises(ChgdbError, match="damaged"):
        training.train(found, tmp_path / "parts", SMALL, RECIPE)


def test_it_learns(loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(training, "_WARM_UP", 1)
    found, _ = loaded
    recipe = replace(RECIPE, batch=8, learning_rate=1e-2, dropout=0.0, average=0.5)
    tasks = None
    errors = []
    for epochs in (1, 40):
        trained, _ = training.train(found, tmp_path / str(epochs), SMALL, replace(recipe, epochs=epochs))
        part = [s for s in found if s.part == "train"]
        tasks = tasks or [training.Task(s, trained.known, SMALL, "difference") for s in part]
        errors.append(training.measure(trained, tasks).mean())
    assert errors[1] < 0.7 * errors[0]


def test_the_learning_curve_takes_more_of_the_same_materials(loaded):
    found, _ = loaded
    parts = [replace(s, part="train" if s.part == "train" else "test") for s in found]
    parts.append(replace(found[0], material_id="drawn-0"))
    own = {s.material_id for s in found}
    count = sum(s.part == "train" for s in found)
    curve = evaluate_densities.learning_curve(parts, own, [count - 1], 2)
    assert [(p["materials"], p["drawn"], p["epochs"]) for p in curve["points"]] == [
        (count - 1, 0, 2), (count, 0, 2), (count + 1, 1, 2),
    ]  # fmt: skip
    assert {p["n"] for p in curve["points"]} == {sum(s.part == "test" for s in parts)}
    assert f"| {count + 1} | 1 | 2 |" in density_tables._curve_table({"curve": curve})


def test_a_model_from_the_command_line_and_one_that_starts_from_it(store: Catalog, tmp_path: Path):
    recipes = [(SMALL, RECIPE), (replace(SMALL, carried=0), replace(RECIPE, seed=8))]
    model = ensemble.train(store, tmp_path / "model", recipes, workers=1)
    assert model.calibration is None  # one material in the validation part calibrates nothing
    assert len(model.members) == 2
    crystal = store[IDS["validation"][0]].crystal
    if np.isin(crystal.numbers, model.known).all():
        found = guess(model, crystal, (12, 12, 12))
        assert found.spread > 0
    assert model.facts["members"][0]["recipe"]["epochs"] == 3
    json.dumps(model.facts)
    tuned = ensemble.train(store, tmp_path / "tuned", [(s, replace(r, epochs=1)) for s, r in recipes], start=model)
    assert np.array_equal(tuned.known, model.known)
    again = ensemble.train(store, tmp_path / "model", recipes, workers=1)
    assert again.identifier == model.identifier
    with pytest.raises(ChgdbError, match="as many members"):
        ensemble.train(store, tmp_path / "other", recipes[:1], start=model)


def test_what_is_no_density_model_is_not_trained_into(store: Catalog, tmp_path: Path):
    """A store, the weights of somebody else's network, a folder of other things; and two trainings at once."""
    from safetensors.numpy import save

    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "model.safetensors").write_bytes(save({"w": np.zeros(3)}, {"format": "pt"}))
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("years")
    for place in (tmp_path / "weights", tmp_path / "thesis", Path(store.path), Path(store.path) / "model"):
        before = {path: path.stat().st_mtime_ns for path in Path(place).rglob("*")}
        with pytest.raises(StoreError):
            ensemble.train(store, place, [(SMALL, RECIPE)], workers=1)
        assert {path: path.stat().st_mtime_ns for path in Path(place).rglob("*")} == before

    def at_once(member: int, progress: training.Progress) -> None:
        with ThreadPoolExecutor(1) as pool:  # as another process would
            pool.submit(ensemble.train, store, tmp_path / "model", [(SMALL, RECIPE)], workers=1).result()

    with pytest.raises(StoreError, match="another command is writing to it"):
        ensemble.train(store, tmp_path / "model", [(SMALL, RECIPE)], workers=1, report=at_once)
    ensemble.train(store, tmp_path / "model", [(SMALL, RECIPE)], workers=1)  # and it goes on


@pytest.mark.parametrize(
    "wrong", [{"target": "neither"}, {"epochs": 0}, {"learning_rate": 0.0}, {"dropout": 1.0}, {"real_space": 2.0}]
)
def test_recipes_that_are_none(wrong):
    with pytest.raises(ChgdbError):
        training.Recipe(**wrong)


def test_a_store_without_a_training_part(loaded, tmp_path: Path):
    found = [s for s in loaded[0] if s.part != "train"]
    with pytest.raises(ChgdbError, match="training part"):
        training.train(found, tmp_path / "none", SMALL, RECIPE)
