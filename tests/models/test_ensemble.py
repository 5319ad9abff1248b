"""Ensembles over folds: what is held out, calibration, weights on disk."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import chgdb
from chgdb.errors import ChecksumError
from chgdb.models import TARGETS, ModelError, Rows, evaluation, get, names, storage
from chgdb.models import rows as rows_of
from chgdb.models.calibration import calibrate, narrowed
from chgdb.models.ensemble import Ensemble, Predictions

NAMES = ("bulk_modulus", "shear_modulus", "youngs_modulus", "formation_energy", "band_gap")


@pytest.fixture(scope="module")
def materials() -> tuple[Rows, dict[str, np.ndarray]]:
    """300 materials of the catalog and their labels; every formula with another polymorph among them."""
    catalog = chgdb.open()
    formulas = catalog.column("formula").astype(str)
    formulas[~np.isfinite(catalog.column("bulk_modulus"))] = ""
    values, counts = np.unique(formulas, return_counts=True)
    several = np.flatnonzero(np.isin(formulas, values[counts > 1]) & (formulas != ""))
    chosen = np.unique(np.concatenate([several[:150], np.flatnonzero(formulas != "")[::12]]))[:300]
    rows = rows_of.from_densities(
        [catalog.ids[i] for i in chosen], [catalog[catalog.ids[i]].density for i in chosen], ("magpie", "applicability")
    )
    return rows, {name: rows_of.labels(catalog, rows)[name] for name in NAMES}


@pytest.fixture(scope="module")
def trained(materials: tuple[Rows, dict[str, np.ndarray]]) -> tuple[Ensemble, Predictions]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(get("magpie"), "TREES", 80)
        return Ensemble.fit("magpie", *materials)


def test_registry_finds_models_by_their_files_without_importing_torch() -> None:
    assert {"magpie", "invariant", "lightgbm", "attention", "latent_cnn", "multitarget"} <= set(names())
    with pytest.raises(ModelError, match="no property model 'gnn'; there are"):
        get("gnn")


def test_labels_leave_reconstructed_cells_out_of_debye_temperatures() -> None:
    catalog = chgdb.open()
    source = catalog.column("structure_source").astype(str)
    ids = [catalog.ids[i] for i in np.flatnonzero(source == "reconstructed")[:5]] + ["mp-804"]
    rows = Rows(tuple(ids), tuple(catalog[i].crystal for i in ids))
    found = rows_of.labels(catalog, rows)
    assert np.isnan(found["debye_temperature"][:5]).all()
    assert np.isfinite(found["debye_temperature"][5])
    assert np.isfinite(found["bulk_modulus"][:5]).all()
    assert found["mass_density"][5] == pytest.approx(5.9, abs=0.2)  # GaN


def test_out_of_fold_predictions_come_from_other_formulas(
    materials: tuple[Rows, dict[str, np.ndarray]], trained: tuple[Ensemble, Predictions]
) -> None:
    """A learner of composition alone gives polymorphs the same value only if neither was in its training set."""
    rows, labels = materials
    found = trained[1].mean["bulk_modulus"]
    assert np.isfinite(found).all()
    by_formula: dict[str, set[float]] = {}
    for formula, value in zip(rows.formulas, found, strict=True):
        by_formula.setdefault(formula, set()).add(round(float(value), 6))
    assert all(len(values) == 1 for values in by_formula.values())
    r2 = evaluation.metrics(labels["bulk_modulus"], found)["r2"]
    inside = evaluation.metrics(labels["bulk_modulus"], trained[0].predict(rows).mean["bulk_modulus"])["r2"]
    assert 0.5 < r2 < inside - 0.02


def test_moduli_are_positive_and_consistent_and_intervals_cover(
    materials: tuple[Rows, dict[str, np.ndarray]], trained: tuple[Ensemble, Predictions]
) -> None:
    rows, labels = materials
    for found in (trained[1], trained[0].predict(rows)):
        bulk, shear, young = (found.mean[name] for name in NAMES[:3])
        assert min(bulk.min(), shear.min(), young.min()) > 0
        np.testing.assert_allclose(young, 9 * bulk * shear / (3 * bulk + shear), rtol=1e-9)
        assert found.mean["band_gap"].min() >= 0
    for name in NAMES:
        known = np.isfinite(labels[name])
        values = (labels[name][known], trained[1].mean[name][known], trained[1].std[name][known])
        assert evaluation.coverage(*values) == pytest.approx(0.9, abs=0.02)


def test_calibration_finds_the_part_of_the_error_that_the_learner_knows() -> None:
    rng = np.random.default_rng(0)
    raw = np.exp(rng.normal(size=3000))
    truth = np.sqrt(0.5**2 + (2 * raw) ** 2) * rng.normal(size=3000)
    found = calibrate("formation_energy", truth, np.zeros(3000), raw, 2.0)
    for part in (raw < 0.5, (raw > 0.5) & (raw < 2), raw > 2):
        assert evaluation.coverage(truth[part], np.zeros(part.sum()), found.std(raw[part])) == pytest.approx(
            0.9, abs=0.03
        )
    flat = calibrate("formation_energy", truth, np.zeros(3000), np.zeros(3000), 2.0)
    assert evaluation.coverage(truth, np.zeros(3000), flat.std(np.zeros(3000))) == pytest.approx(0.9, abs=0.001)


def test_a_stored_model_predicts_the_same_and_knows_what_it_has_seen(
    materials: tuple[Rows, dict[str, np.ndarray]], trained: tuple[Ensemble, Predictions], tmp_path: Path
) -> None:
    rows, labels = materials
    ensemble, out_of_fold = trained
    identifier = ensemble.save(tmp_path / "magpie", {"note": "made by a test"})
    again = Ensemble.load(tmp_path / "magpie")
    assert again.identifier == identifier == storage.read_description(tmp_path / "magpie")["identifier"]
    assert identifier.startswith("magpie-")
    assert len(identifier) == len("magpie-") + 8
    assert not [p for p in (tmp_path / "magpie").rglob("*") if p.suffix in (".pkl", ".pickle", ".joblib", ".pt")]
    before, after = ensemble.predict(rows), again.predict(rows)
    held = again.predict(rows, out_of_fold=True)
    for name in NAMES:
        np.testing.assert_allclose(after.mean[name], before.mean[name], rtol=1e-6, atol=1e-6)
        known = np.isfinite(labels[name])
        assert held.out_of_fold[name].tolist() == known.tolist()
        np.testing.assert_allclose(held.mean[name][known], out_of_fold.mean[name][known], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(held.mean[name][~known], after.mean[name][~known])
    assert sorted(i for fold in again.split["folds"] for i in fold) == sorted(rows.ids)
    renamed = Rows(tuple(f"mine-{i}" for i in range(len(rows))), rows.crystals, rows.inputs)
    assert not again.predict(renamed, out_of_fold=True).out_of_fold["bulk_modulus"].any()


def test_damaged_and_foreign_models_are_refused(
    trained: tuple[Ensemble, Predictions], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "magpie"
    trained[0].save(folder)
    weights = sorted(folder.rglob("bulk_modulus.txt.xz"))[0]
    original = weights.read_bytes()
    weights.write_bytes(original[:-20] + bytes([original[-20] ^ 1]) + original[-19:])
    with pytest.raises(ChecksumError, match=r"bulk_modulus\.txt\.xz does not match its checksum"):
        Ensemble.load(folder)
    weights.write_bytes(original)
    monkeypatch.setattr(get("magpie").Model, "VERSION", 7)
    with pytest.raises(ModelError, match="version 1 of the model magpie, this chgdb reads version 7"):
        Ensemble.load(folder)
    description = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(description | {"format": 99}))
    with pytest.raises(ModelError, match="pip install --upgrade chgdb"):
        Ensemble.load(folder)
    (folder / "model.json").write_text(json.dumps(description | {"format": 1}))
    with pytest.raises(ModelError, match=r"model format 1, .* train it again with chgdb train properties"):
        Ensemble.load(folder)
    (folder / "model.json").write_text("{")
    with pytest.raises(ChecksumError, match="damaged"):
        Ensemble.load(folder)
    with pytest.raises(ModelError, match="train one with chgdb train properties"):
        Ensemble.load(tmp_path / "nothing")


def test_too_few_labels_are_refused(materials: tuple[Rows, dict[str, np.ndarray]]) -> None:
    rows, labels = materials
    few = np.where(np.arange(len(rows)) < 10, labels["bulk_modulus"], np.nan)
    with pytest.raises(ModelError, match="bulk_modulus has 10 labels; training needs 20"):
        Ensemble.fit("magpie", rows, {"bulk_modulus": few})
    with pytest.raises(ModelError, match="no label"):
        Ensemble.fit("magpie", rows, {"band_gap": np.full(len(rows), np.nan)})


def test_structures_without_a_density_train_but_are_not_tested(
    materials: tuple[Rows, dict[str, np.ndarray]], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, labels = materials
    monkeypatch.setattr(get("magpie"), "TREES", 30)
    first, second = np.arange(len(rows)) % 2 == 0, np.arange(len(rows)) % 2 == 1
    target = {"bulk_modulus": labels["bulk_modulus"][first]}
    extra = rows.take(second), {"bulk_modulus": labels["bulk_modulus"][second]}
    _, few = Ensemble.fit("magpie", rows.take(first), target)
    both, many = Ensemble.fit("magpie", rows.take(first), target, extra=extra)
    assert len(many.mean["bulk_modulus"]) == first.sum()
    assert both.split["without_density"] == list(rows.take(second).ids)
    truth = target["bulk_modulus"]
    errors = [evaluation.metrics(truth, found.mean["bulk_modulus"])["rmse"] for found in (few, many)]
    assert errors[1] < errors[0]
    # The same formula in both halves: had the extra rows of a fold trained its member, this would be nearly exact.
    shared_formulas = np.isin(rows.take(first).formulas, rows.take(second).formulas)
    inside = evaluation.metrics(truth[shared_formulas], many.mean["bulk_modulus"][shared_formulas])["r2"]
    assert inside < 0.95


def test_rows_say_what_is_missing() -> None:
    catalog = chgdb.open()
    rows = rows_of.from_densities(["a"], [catalog["mp-149"].density], ["magpie"])
    with pytest.raises(ModelError, match="lack the input 'latent'; they have magpie"):
        rows["latent"]
    with pytest.raises(ModelError, match="no model input 'phonons'"):
        rows_of.from_densities(["a"], [catalog["mp-149"].density], ["phonons"])
    with pytest.raises(ModelError, match="has 1 rows, but there are 2"):
        Rows(("a", "b"), (rows.crystals[0],) * 2, {"magpie": rows["magpie"]})


def test_features_of_a_catalog_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = chgdb.open()
    ids = ["mp-149", "mp-22862"]
    first = rows_of.from_catalog(catalog, ["applicability"], ids=ids, cache=tmp_path, workers=1)
    monkeypatch.setattr(rows_of, "_of_density", None)  # not computed again
    again = rows_of.from_catalog(catalog, ["applicability"], ids=ids[::-1], cache=tmp_path, workers=1)
    np.testing.assert_array_equal(again["applicability"], first["applicability"][::-1])


def test_targets_have_units_and_inverse_scales() -> None:
    for target in TARGETS.values():
        values = np.array([0.5, 3.0, 200.0])
        np.testing.assert_allclose(target.inverse(target.forward(values)), values)
        assert target.units


def test_intervals_are_calibrated_on_the_rows_that_are_asked_for(
    materials: tuple[Rows, dict[str, np.ndarray]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of labels that are noise in one half of the rows, the other half's residuals are the smaller ones."""
    monkeypatch.setattr(get("magpie"), "TREES", 40)
    rows, labels = materials
    half = np.arange(len(rows)) % 2 == 0
    noise = np.where(half, 0.0, 3.0) * np.random.default_rng(0).normal(size=len(rows))
    targets = {"formation_energy": labels["formation_energy"] + noise}
    known = half & np.isfinite(targets["formation_energy"])
    found = {}
    for name, chosen in (("all", None), ("half", known), ("few", np.arange(len(rows)) < 5)):
        model, held_out = Ensemble.fit("magpie", rows, targets, calibrating=chosen, refit=False)
        found[name] = model.calibration["formation_energy"].factor
        if name == "half":
            values = (v["formation_energy"][known] for v in (targets, held_out.mean, held_out.std))
            assert evaluation.coverage(*values) == pytest.approx(0.9, abs=0.02)
    assert found["half"] < 0.8 * found["all"]
    assert found["few"] == found["all"]


def test_intervals_narrow_with_rows_as_errors_do() -> None:
    """Errors that fall with the root of the number of rows: halves say so, and all rows follow."""
    rng = np.random.default_rng(0)
    truth, unit = rng.normal(size=20000), rng.normal(size=(2, 20000))
    share = 0.8
    folds = calibrate("formation_energy", truth, truth + unit[0] / share**0.5, np.zeros(20000), 1.0)
    every = narrowed("formation_energy", folds, truth, truth + unit[1] / 0.5**0.5, np.zeros(20000), share)
    assert every.std(np.zeros(1))[0] == pytest.approx(1, abs=0.03)
    level = narrowed("formation_energy", folds, truth, truth + unit[1] / share**0.5, np.zeros(20000), share)
    assert level.factor == pytest.approx(folds.factor, rel=0.02)
    exact = narrowed("formation_energy", folds, truth, truth, np.zeros(20000), share)
    assert exact.factor == pytest.approx(folds.factor / share)
    metals = calibrate("band_gap", np.zeros(300), np.zeros(300), np.ones(300), 0.0)
    assert narrowed("band_gap", metals, np.zeros(300), np.zeros(300), np.ones(300), share) == metals


def test_a_learner_of_all_rows_has_narrower_intervals_than_the_folds(
    materials: tuple[Rows, dict[str, np.ndarray]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get("magpie"), "TREES", 60)
    rows, labels = materials
    target = {"bulk_modulus": labels["bulk_modulus"]}
    folds, before = Ensemble.fit("magpie", rows, target, refit=False)
    every, after = Ensemble.fit("magpie", rows, target)
    old, new = folds.calibration["bulk_modulus"], every.calibration["bulk_modulus"]
    assert 0.7 * old.factor < new.factor < 0.99 * old.factor
    # Predictions out of fold are those of the folds, and keep their intervals.
    np.testing.assert_array_equal(after.std["bulk_modulus"], before.std["bulk_modulus"])
    np.testing.assert_array_equal(every.held_out.std["bulk_modulus"], folds.held_out.std["bulk_modulus"])
