"""The models `magpie` and `invariant`: what they promise whatever they were trained on."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

import chgdb
from chgdb import Crystal, Density, features
from chgdb.elements import formula_numbers
from chgdb.models import TARGETS, ModelError, Rows, get
from chgdb.models import rows as rows_of
from chgdb.models.elasticity import debye_temperature, youngs_modulus
from chgdb.models.learners import invariant

pytest.importorskip("lightgbm", reason="training needs lightgbm")
pytest.importorskip("safetensors", reason="weights are safetensors")

N = 36
LEARNED = ("bulk_modulus", "shear_modulus", "youngs_modulus", "debye_temperature", "energy_vs_atoms",
           "formation_energy", "band_gap")  # fmt: skip


@pytest.fixture(scope="module")
def materials() -> tuple[Rows, dict[str, np.ndarray], list[Density]]:
    """Some small cells of the embedded catalog with all labels, on the scale that models learn."""
    catalog = chgdb.open()
    size = catalog.column("n_atoms")
    known = np.isfinite(catalog.column("bulk_modulus")) & np.isfinite(catalog.column("formation_energy"))
    known &= catalog.column("structure_source").astype(str) == "mp"
    ids = [catalog.ids[i] for i in np.flatnonzero(known & (size <= 3))[:N]]
    densities = [catalog[material_id].density for material_id in ids]
    rows = rows_of.from_densities(ids, densities, ("density", "magpie"))
    labels = rows_of.labels(catalog, rows)
    return rows, {name: TARGETS[name].forward(labels[name]) for name in LEARNED}, densities


@pytest.fixture(scope="module")
def small(request):
    patch = pytest.MonkeyPatch()
    patch.setattr(invariant, "TREES", 30)
    patch.setattr("chgdb.models.learners.magpie.TREES", 30)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def trained(materials, small):
    rows, targets, _ = materials
    model = invariant.Model()
    model.fit(rows, targets, validation=np.zeros(len(rows), bool), seed=0)
    return model


@pytest.mark.parametrize("name", ["magpie", "invariant"])
def test_weights_come_back(name, materials, small, tmp_path):
    rows, targets, _ = materials
    chosen = {n: targets[n] for n in ("bulk_modulus", "shear_modulus", "formation_energy")}
    model = get(name).Model()
    model.fit(rows, chosen, validation=np.zeros(len(rows), bool), seed=0)
    model.save(tmp_path)
    assert {p.suffix for p in tmp_path.iterdir()} <= {".json", ".xz"}
    again = get(name).Model.load(tmp_path)
    for first, second in zip(model.predict(rows), again.predict(rows), strict=True):
        assert set(first) == set(chosen)
        for target in first:
            np.testing.assert_array_equal(first[target], second[target])


@pytest.mark.parametrize("name", ["magpie", "invariant"])
def test_the_same_seed_gives_the_same_model(name, materials, small):
    rows, targets, _ = materials
    found = []
    for _ in range(2):
        model = get(name).Model()
        model.fit(rows, {"bulk_modulus": targets["bulk_modulus"]}, validation=np.zeros(len(rows), bool), seed=1)
        found.append(model.predict(rows)[0]["bulk_modulus"])
    np.testing.assert_array_equal(*found)


def test_learns_its_training_rows(materials, trained):
    rows, targets, _ = materials
    mean, std = trained.predict(rows)
    for name in LEARNED:
        known = np.isfinite(targets[name])
        error = mean[name][known] - targets[name][known]
        assert error.std() < 0.6 * targets[name][known].std(), name
        assert (std[name] > 0).all()


def test_moduli_are_consistent(materials, trained):
    mean, _ = trained.predict(materials[0])
    bulk, shear, young = (np.exp(mean[name]) for name in LEARNED[:3])
    np.testing.assert_allclose(young, youngs_modulus(bulk, shear), rtol=1e-12)


def test_both_energies_differ_by_the_composition(materials, trained):
    rows, targets, _ = materials
    mean, _ = trained.predict(rows)
    difference = mean["energy_vs_atoms"] - mean["formation_energy"]
    truth = targets["energy_vs_atoms"] - targets["formation_energy"]
    known = np.isfinite(truth)
    assert known.sum() > 5
    assert np.abs(difference - truth)[known].max() < 0.3


def test_elements_that_no_row_has_both_energies_of(materials, small):
    """Their differences come from what is predicted of the rows with one."""
    rows, targets, _ = materials
    shares = rows["density"][:, invariant.columns()["fraction"]] > 0
    both = np.isfinite(targets["formation_energy"]) & np.isfinite(targets["energy_vs_atoms"])
    element = int(np.argmax((shares & both[:, None]).sum(axis=0) * (shares.sum(axis=0) < N // 3)))
    having = shares[:, element]
    chosen = {
        "formation_energy": np.where(having, np.nan, targets["formation_energy"]),
        "energy_vs_atoms": targets["energy_vs_atoms"],
    }
    model = invariant.Model()
    model.fit(rows, chosen, validation=np.zeros(N, bool), seed=0)
    assert model.elements[element] < -0.5
    error = model.predict(rows)[0]["energy_vs_atoms"] - targets["energy_vs_atoms"]
    assert np.abs(error[having & both]).mean() < 0.5 * np.abs(targets["energy_vs_atoms"][having & both]).mean()


def test_gaps_are_learned_in_two_steps_where_there_are_enough(materials, small, tmp_path):
    rows, _, _ = materials
    gap = np.where(
        np.arange(N) % 3 == 0, 0.0, rows["density"][:, features.names().index("structure.log_volume_per_atom")]
    )
    open_, closed = gap > 0.02, gap <= 0.02
    model = invariant.Model()
    model.fit(rows, {"band_gap": gap}, validation=np.zeros(N, bool), seed=0)
    assert set(model.processes) == {"band_gap", "open_gap"}
    assert set(model.forests) == {"band_gap", "has_gap"}
    mean, std = model.predict(rows)
    assert mean["band_gap"][open_].mean() > mean["band_gap"][closed].mean() + 0.5
    model.save(tmp_path)
    again = invariant.Model.load(tmp_path).predict(rows)
    np.testing.assert_array_equal(again[0]["band_gap"], mean["band_gap"])
    np.testing.assert_array_equal(again[1]["band_gap"], std["band_gap"])
    few = invariant.Model()
    few.fit(rows, {"band_gap": np.where(np.arange(N) % 4 == 0, gap, 0.0)}, validation=np.zeros(N, bool), seed=0)
    assert set(few.processes) == set(few.forests) == {"band_gap"}


def test_debye_temperatures_agree_with_the_moduli(materials, trained):
    rows, _, _ = materials
    mean, _ = trained.predict(rows)
    follows = invariant._log_debye(rows["density"], np.exp(mean["bulk_modulus"]), np.exp(mean["shear_modulus"]))
    assert np.abs(mean["debye_temperature"] - follows).max() < 0.3
    assert np.abs(mean["debye_temperature"] - follows).max() > 0


def test_prefactor_of_the_debye_temperature(materials):
    rows, _, densities = materials
    crystal = densities[0].crystal
    table = rows["density"][:1]
    masses = features.composition.tables()["AtomicWeight"][crystal.numbers].sum()
    density = np.array([masses / crystal.volume * 1.66053906892])
    one = np.ones(1)
    expected = debye_temperature(one, one, density, np.array([len(crystal) / crystal.volume]))
    np.testing.assert_allclose(np.exp(invariant.log_prefactor(table)), expected, rtol=2e-5)


def test_rows_without_a_density_train_too(materials, small):
    rows, targets, _ = materials
    table = rows["density"].copy()
    table[N // 2 :, len(features.STRUCTURE_NAMES) :] = np.nan
    partial = Rows(rows.ids, rows.crystals, {"density": table})
    model = invariant.Model()
    model.fit(partial, {"bulk_modulus": targets["bulk_modulus"]}, validation=np.zeros(N, bool), seed=0)
    few = invariant.Model()
    half = rows.take(np.arange(N // 2))
    few.fit(half, {"bulk_modulus": targets["bulk_modulus"][: N // 2]}, validation=np.zeros(N // 2, bool), seed=0)
    rest = rows.take(np.arange(N // 2, N))
    truth = targets["bulk_modulus"][N // 2 :]
    error = [np.abs(m.predict(rest)[0]["bulk_modulus"] - truth).mean() for m in (model, few)]
    assert error[0] < error[1]


def variants(density: Density) -> list[Density]:
    """The same crystal: turned by the 24 rotations of a cube and others, shifted, larger, on a finer grid."""
    crystal, total = density.crystal, density.total
    turns = []
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            turn = np.diag(signs)[list(order)]
            if np.linalg.det(turn) > 0:
                turns.append(turn)
    assert len(turns) == 24
    rng = np.random.default_rng(0)
    for _ in range(3):
        q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        turns.append(q * np.sign(np.linalg.det(q)))
    found = [Density(Crystal(crystal.cell @ t.T, crystal.positions, crystal.numbers), {"total": total}) for t in turns]
    shift = (5, 1, 8)
    moved = Crystal(crystal.cell, crystal.positions + np.array(shift) / density.grid, crystal.numbers)
    found.append(Density(moved, {"total": np.roll(total, shift, (0, 1, 2))}))
    for times in ((2, 2, 2), (1, 1, 2)):
        shifts = list(itertools.product(*(range(n) for n in times)))
        positions = np.concatenate([(crystal.positions + s) / times for s in shifts])
        large = Crystal(crystal.cell * np.array(times)[:, None], positions, np.tile(crystal.numbers, len(shifts)))
        found.append(Density(large, {"total": np.tile(total, times)}))
    found.append(density.resample(tuple(2 * int(0.75 * n) for n in density.grid)))
    return found


@pytest.mark.parametrize("which", [0, N // 2])
def test_predictions_do_not_depend_on_the_description(materials, trained, which):
    _, _, densities = materials
    same = [densities[which], *variants(densities[which])]
    rows = rows_of.from_densities([str(i) for i in range(len(same))], same, ("density",))
    mean, _ = trained.predict(rows)
    for name, values in mean.items():
        spread = np.ptp(np.exp(values)) / np.exp(values).mean() if TARGETS[name].log else np.ptp(values)
        assert spread < 1e-3, name


def test_features_of_another_version_are_refused(materials, trained, tmp_path):
    trained.save(tmp_path)
    facts = json.loads((tmp_path / "processes.json").read_text())
    facts["features"] = features.VERSION + 1
    (tmp_path / "processes.json").write_text(json.dumps(facts))
    with pytest.raises(ModelError, match="features of version"):
        invariant.Model.load(tmp_path)


def test_an_untrained_model_says_so(materials):
    with pytest.raises(ModelError, match="neither trained nor loaded"):
        invariant.Model().predict(materials[0])


def test_rows_of_another_width_are_refused(materials):
    rows, targets, _ = materials
    cut = Rows(rows.ids, rows.crystals, {"density": rows["density"][:, :-1]})
    with pytest.raises(ModelError, match="expected"):
        invariant.Model().fit(cut, {"band_gap": targets["band_gap"]}, validation=np.zeros(N, bool))


def test_shares_of_many_formulas_are_those_of_each():
    formulas = ["Si", "MgO", "Ca3Al2Si3O12", "NpU"]  # the last element counts for heavier ones
    expected = [features.composition.fractions(formula_numbers(formula)) for formula in formulas]
    np.testing.assert_array_equal(invariant._shares_of(formulas), expected)
    assert invariant._shares_of([]).shape == (0, len(expected[0]))
