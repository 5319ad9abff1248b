"""chgdb predict, chgdb train properties, and what search and build make of predictions."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small import Chgdb, one_line
from trained import make

import chgdb
from chgdb import Crystal, Density
from chgdb.models import SERVED, TARGETS, get
from chgdb.plugins import models_folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A store of a few materials, and models."""
    return make(tmp_path_factory.mktemp("predict"))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """CHGCARs, good and bad."""
    folder = tmp_path_factory.mktemp("files")
    catalog = chgdb.open()
    silicon, salt = catalog["mp-149"].density, catalog["mp-22862"].density
    wrong = Density(salt.crystal, {"total": salt.total * salt.crystal.volume})
    spin = Density(salt.crystal, {"total": 1e-3 * (salt.total - salt.total.mean())})
    polonium = Density(Crystal(silicon.crystal.cell, silicon.crystal.positions, [84, 84]), {"total": silicon.total})
    found = {}
    for name, density in {
        "silicon": silicon, "salt": salt, "wrong": wrong, "spin": spin, "polonium": polonium,
    }.items():  # fmt: skip
        found[name] = folder / f"{name}.CHGCAR"
        chgdb.write(found[name], density)
    np.savez(folder / "bare.npz", total=silicon.total)
    found["bare"] = folder / "bare.npz"
    return found


@pytest.fixture
def predict(run_chgdb: Chgdb, made: tuple[Path, Path]) -> Chgdb:
    return lambda *arguments: run_chgdb("predict", "--model", "magpie", "--models", made[1], *arguments)


def test_json_is_as_specified(predict: Chgdb, files: dict[str, Path]) -> None:
    result = predict(files["silicon"], files["salt"], "--json")
    assert result.code == 0
    assert result.err == ""
    assert [fact["formula"] for fact in result.json] == ["Si", "NaCl"]
    for fact, name in zip(result.json, ("silicon", "salt"), strict=True):
        assert set(fact) == {"file", "formula", "density", "properties", "derived"}
        assert fact["density"] == "given"
        assert fact["file"] == str(files[name])
        assert list(fact["properties"]) == list(SERVED)
        for target, found in fact["properties"].items():
            assert set(found) == {"value", "std", "unit", "model"}
            assert found["unit"] == TARGETS[target].units
            assert found["std"] > 0
            assert found["model"].startswith("magpie-")
        moduli = [fact["properties"][f"{kind}_modulus"]["value"] for kind in ("bulk", "shear", "youngs")]
        assert moduli[2] == pytest.approx(9 * moduli[0] * moduli[1] / (3 * moduli[0] + moduli[1]))


def test_table_and_csv_say_the_same(predict: Chgdb, files: dict[str, Path]) -> None:
    value = predict(files["salt"], "--json").json[0]["properties"]["bulk_modulus"]["value"]
    table = predict(files["salt"])
    line = next(line for line in table.out.splitlines() if "bulk modulus" in line)
    assert "GPa" in line
    assert float(line.split("bulk modulus K")[1].split()[0]) == pytest.approx(value, abs=1)
    assert "magpie-" in table.out.splitlines()[-1]
    rows = list(csv.DictReader(io.StringIO(predict(files["salt"], files["silicon"], "--csv").out)))
    assert [row["formula"] for row in rows] == ["NaCl", "Si"]
    assert float(rows[0]["bulk_modulus_GPa"]) == pytest.approx(value, rel=1e-4)
    assert "formation_energy_std_eV_per_atom" in rows[0]
    assert (rows[0]["density"], rows[0]["density_model"], rows[0]["density_nmae_expected"]) == ("given", "", "")
    assert rows[0]["unlike_training"] == ""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wrong", "is it in e/Å^3 (a CHGCAR: times the volume)"),
        ("spin", "the total density rather than a spin density"),
        ("bare", ""),
    ],
)
def test_bad_files_are_one_line_each_and_the_others_are_answered(
    predict: Chgdb, files: dict[str, Path], name: str, message: str
) -> None:
    result = predict(files[name], files["silicon"], "--json")
    assert result.code == 1
    assert one_line(result.err)
    assert str(files[name]) in result.err
    assert message in result.err
    assert [fact["formula"] for fact in result.json] == ["Si"]


POSCAR = "salt\n5.64\n0 .5 .5\n.5 0 .5\n.5 .5 0\nNa Cl\n1 1\nDirect\n0 0 0\n.5 .5 .5\n"


def test_one_crystal_at_several_volumes_is_said_not_to_compare(
    predict: Chgdb, files: dict[str, Path], tmp_path: Path
) -> None:
    wide, narrow = tmp_path / "wide.vasp", tmp_path / "narrow.vasp"
    wide.write_text(POSCAR.replace("5.64", "5.9"))
    narrow.write_text(POSCAR.replace("5.64", "5.5"))
    result = predict(wide, files["silicon"], narrow, "--json")
    assert result.code == 0
    line = next(line for line in result.err.splitlines() if "do not compare" in line)
    assert line.startswith(f"{narrow}, {wide}: NaCl at 20.8 to 25.67 Å^3 per atom")
    key = "energies_do_not_compare_with"
    assert [fact.get(key) for fact in result.json] == [[str(narrow)], None, [str(wide)]]
    assert "do not compare" not in predict(wide, files["silicon"]).err
    # The same file twice compares with itself, and is one file to another.
    twice = predict(wide, wide, narrow, "--json").json
    assert [fact.get(key) for fact in twice] == [[str(narrow)], [str(narrow)], [str(wide)]]


def test_structures_are_answered_and_said_to_be_estimated(
    predict: Chgdb, files: dict[str, Path], tmp_path: Path
) -> None:
    poscar = tmp_path / "POSCAR"
    poscar.write_text(POSCAR)
    result = predict(poscar, files["salt"], "si", "--json")
    assert result.code == 0
    assert [fact["density"] for fact in result.json] == ["estimated", "given", "given"]
    assert [fact["file"] for fact in result.json] == [str(poscar), str(files["salt"]), "si"]
    guess = result.json[0]["density_estimate"]
    assert guess["model"].startswith("difference-")
    assert 0 < guess["nmae_expected"] < guess["nmae_90"]
    assert "density_estimate" not in result.json[1]
    lines = predict(poscar, files["salt"]).out.splitlines()
    assert lines[-1].startswith(f"{poscar}: density estimated by a model, not computed; error about ")
    assert guess["model"] in lines[-1]
    assert sum("estimated" in line for line in lines) == 1
    first, second = csv.DictReader(io.StringIO(predict(poscar, files["salt"], "--csv").out))
    assert (first["density"], first["density_model"], second["density"]) == ("estimated", guess["model"], "given")
    assert float(first["density_nmae_expected"]) == pytest.approx(guess["nmae_expected"], rel=1e-4)


def test_an_id_is_looked_up_in_the_store_that_is_named(
    predict: Chgdb, made: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = chgdb.open(made[0]).ids[0]
    assert predict(name, "--catalog", made[0], "--json").json[0]["file"] == name
    missing = predict("mp-0000", name, "--catalog", made[0], "--json")
    assert missing.code == 1
    assert one_line(missing.err)
    assert "mp-0000: there is no such file, and" in missing.err
    assert len(missing.json) == 1
    monkeypatch.chdir(tmp_path)
    Path(name).write_text(POSCAR)  # a file of that name comes first
    assert predict(name, "--catalog", made[0], "--json").json[0]["density"] == "estimated"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (POSCAR.replace(".5 .5 .5\n", ".01 0 0\n"), "apart"),
        (POSCAR.replace("Na Cl", "Na Xx"), "Xx"),
        (POSCAR.replace("Na Cl", "Na Lr"), "Lr"),
        (POSCAR.replace("0 .5 .5", "0 0 0"), "volume"),
        (POSCAR.replace(".5 .5 .5", ".5 nan .5"), "nan"),
        (POSCAR.replace("Na Cl\n", ""), "--elements"),
        (POSCAR.replace(".5 .5 .5\n", ""), "truncated"),
        (POSCAR.replace("1 1\n", "0 0\n"), ""),
    ],
)
def test_bad_structures_are_one_line_each(
    predict: Chgdb, files: dict[str, Path], tmp_path: Path, text: str, words: str
) -> None:
    (tmp_path / "POSCAR").write_text(text)
    result = predict(tmp_path / "POSCAR", files["silicon"], "--json")
    assert result.code == 1
    assert one_line(result.err)
    assert str(tmp_path / "POSCAR") in result.err
    assert words in result.err
    assert [fact["formula"] for fact in result.json] == ["Si"]


def test_files_that_are_not_there(predict: Chgdb, tmp_path: Path) -> None:
    result = predict(tmp_path / "CHGCAR")
    assert result.code == 1
    assert one_line(result.err)
    assert "CHGCAR" in result.err


def test_an_element_never_seen_is_flagged_rather_than_answered(predict: Chgdb, files: dict[str, Path]) -> None:
    result = predict(files["polonium"], files["silicon"], "--json")
    assert result.code == 0
    assert "Po: no training material has this element" in result.err
    unknown, known = result.json
    assert unknown["unlike_training"]
    assert unknown["properties"]["bulk_modulus"]["std"] > 1.5 * known["properties"]["bulk_modulus"]["std"]


def test_wrong_usage(predict: Chgdb, run_chgdb: Chgdb, files: dict[str, Path], tmp_path: Path) -> None:
    assert predict(files["salt"], "--json", "--csv").code == 2
    unknown = run_chgdb("predict", files["salt"], "--model", "gnn")
    assert unknown.code == 2
    assert "gnn" in unknown.err
    assert "there are attention, invariant" in " ".join(unknown.err.split())
    missing = run_chgdb("predict", files["salt"], "--model", "magpie", "--models", tmp_path)
    assert missing.code == 1
    assert one_line(missing.err)
    assert "chgdb train properties" in missing.err


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """Environment of a Python without the packages that training takes."""
    for name in ("torch", "lightgbm", "sklearn", "optuna"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('not here')\n")
    return {"PYTHONPATH": str(tmp_path)}


@pytest.mark.parametrize("name", ["magpie", "invariant", "lightgbm", "attention"])
def test_prediction_takes_no_extra(
    name: str, program: Callable, made: tuple[Path, Path], files: dict[str, Path], bare: dict[str, str]
) -> None:
    folder = made[1] if name == "magpie" else models_folder("properties")
    if not (folder / name).is_dir():
        pytest.skip(f"the embedded catalog has no model {name}")
    result = program("predict", "--model", name, "--models", folder, files["salt"], "--json", env=bare)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    (fact,) = json.loads(result.stdout)
    assert list(fact["properties"]) == list(SERVED)
    # NaCl: 24 GPa, -1.8 eV/atom; every model knows it from its training set.
    assert fact["properties"]["bulk_modulus"]["value"] == pytest.approx(24, abs=12) or name == "magpie"
    assert fact["properties"]["formation_energy"]["value"] == pytest.approx(-1.8, abs=0.7)
    assert all(found["model"].startswith(f"{name}-") for found in fact["properties"].values())


def test_training_without_torch_says_what_to_install(
    program: Callable, made: tuple[Path, Path], bare: dict[str, str], tmp_path: Path
) -> None:
    result = program(
        "train", "properties", "--catalog", made[0], "--model", "multitarget", "--workers", 1, "-o", tmp_path / "out",
        env=bare,
    )  # fmt: skip
    assert result.returncode == 1
    assert one_line(result.stderr)
    assert "pip install 'chgdb[ml]'" in result.stderr


def test_training_writes_a_model_and_says_how_good_it_is(
    run_chgdb: Chgdb, made: tuple[Path, Path], files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get("magpie"), "TREES", 10)
    arguments = ("train", "properties", "--catalog", made[0], "--model", "magpie", "--workers", 1, "--quiet")
    result = run_chgdb(*arguments, "-o", tmp_path / "models", "--json")
    assert result.code == 0
    scores = result.json[0]["scores"]["bulk_modulus"]
    assert scores["n"] == 60
    assert -1 < scores["r2"] < 1
    content = json.loads((tmp_path / "models" / "magpie" / "model.json").read_text())
    assert content["identifier"] == result.json[0]["model"]
    assert {"sha256", "labels", "materials"} <= set(content["data"])
    assert content["libraries"]["lightgbm"]
    assert run_chgdb("predict", files["salt"], "--model", "magpie", "--models", tmp_path / "models").code == 0
    again = run_chgdb(*arguments, "-o", tmp_path / "again")
    assert result.json[0]["model"] in again.out  # the same data and seed: the same model
    assert "no property model" in run_chgdb("train", "properties", "--model", "gnn").err


def test_search_by_prediction(run_chgdb: Chgdb, made: tuple[Path, Path], tmp_path: Path) -> None:
    from chgdb import views

    shutil.copytree(made[0], tmp_path / "few.zarr")
    none = run_chgdb("search", "--catalog", tmp_path / "few.zarr", "--predicted", "bulk_modulus:200..")
    assert none.code == 1
    assert "nothing is predicted yet" in none.err
    views.add_predictions(tmp_path / "few.zarr", model="magpie", folder=made[1], workers=1)
    catalog = chgdb.open(tmp_path / "few.zarr")
    values = catalog.view()["bulk_modulus"]
    expected = [i for i, value in zip(catalog.ids, values, strict=True) if value >= 120]
    arguments = ("search", "--catalog", tmp_path / "few.zarr", "--predicted", "bulk_modulus:120..", "--limit", 0)
    assert run_chgdb(*arguments, "--ids").out.split() == expected
    found = run_chgdb(*arguments, "--json").json
    assert [row["material_id"] for row in found] == expected
    assert all(row["predicted_bulk_modulus"] >= 120 and row["predicted_bulk_modulus_std"] > 0 for row in found)
    table = run_chgdb(*arguments).out
    assert "predicted bulk modulus" in table.splitlines()[0]
    assert "±" in table.splitlines()[1]
    assert run_chgdb(*arguments[:3], "--predicted", "bulk_modulus").code == 2


def test_info_shows_predictions(run_chgdb: Chgdb, made: tuple[Path, Path], tmp_path: Path) -> None:
    from chgdb import views

    shutil.copytree(made[0], tmp_path / "few.zarr")
    assert "Predict" not in run_chgdb("info", "--catalog", tmp_path / "few.zarr").out
    model = views.add_predictions(tmp_path / "few.zarr", model="magpie", folder=made[1], workers=1)
    assert f"by {model}" in run_chgdb("info", "--catalog", tmp_path / "few.zarr").out
    card = run_chgdb("info", "mp-22862", "--catalog", tmp_path / "few.zarr").out
    section = card[card.index(f"Predicted by {model}") :]
    line = next(line for line in section.splitlines() if line.strip().startswith("bulk_modulus"))
    value = chgdb.open(tmp_path / "few.zarr").view()["bulk_modulus"][
        chgdb.open(tmp_path / "few.zarr").ids.index("mp-22862")
    ]
    assert float(line.split()[1]) == pytest.approx(float(value), rel=1e-3)
    assert "had not seen its formula" in line


def test_build_predicts_and_keeps_predictions_up_to_date(run_chgdb: Chgdb, runs: Path, tmp_path: Path) -> None:
    from chgdb.views import DEFAULT_MODEL, names

    if not (models_folder("properties") / DEFAULT_MODEL).is_dir():
        pytest.skip("the embedded catalog has no trained model")
    store = tmp_path / "own.zarr"
    result = run_chgdb("build", store, runs / "si", "--predict", "--workers", 1)
    assert result.code == 0
    assert "properties predicted by" in result.out
    assert len(chgdb.open(store).view()["bulk_modulus"]) == 1
    assert run_chgdb("build", store, runs / "salt", "--workers", 1).code == 0
    assert len(chgdb.open(store).view()["bulk_modulus"]) == 2
    assert run_chgdb("build", store, runs / "iron", "--no-predict", "--workers", 1).code == 0
    assert names(chgdb.open(store)) == []
