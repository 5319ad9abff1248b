"""chgdb.predict: one call for a density, a record or a file, with the checks in it."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import chgdb
from chgdb.density import Crystal, Density
from chgdb.errors import DensityError, FormatError, UnknownMaterialError
from chgdb.models import ModelError
from chgdb.models.rows import from_densities
from chgdb.prediction import Predicted, Prediction, load_model
from chgdb.targets import SERVED, TARGETS


@pytest.fixture(scope="module")
def salt() -> Density:
    return chgdb.open()["mp-22862"].density


def test_a_density_a_record_and_a_file_give_the_same(salt: Density, tmp_path: Path) -> None:
    chgdb.write(tmp_path / "CHGCAR", salt)
    found = [chgdb.predict(given) for given in (salt, chgdb.open()["mp-22862"], tmp_path / "CHGCAR")]
    assert [one.source for one in found] == ["", "mp-22862", str(tmp_path / "CHGCAR")]
    for one in found:
        assert tuple(one) == SERVED
        assert one.formula == "NaCl"
        for name in SERVED:
            assert one[name].value == pytest.approx(found[0][name].value, rel=1e-4, abs=1e-4)
            assert one[name].unit == TARGETS[name].units


def test_it_is_what_the_model_says(salt: Density) -> None:
    model = load_model("invariant")
    said = model.predict(from_densities(["x"], [salt], model.inputs))
    found = chgdb.predict(salt)
    assert found.model == model.identifier
    assert {n: p.value for n, p in found.items()} == {n: float(said.mean[n][0]) for n in found}
    assert {n: p.std for n, p in found.items()} == {n: float(said.std[n][0]) for n in found}


def test_it_prints_as_a_table_and_writes_json(salt: Density) -> None:
    found = chgdb.predict(salt)
    lines = str(found).splitlines()
    assert lines[0] == "NaCl"
    assert len(lines) == len(SERVED) + 3
    assert all(TARGETS[name].label in line for name, line in zip(SERVED, lines[1:-2], strict=True))
    assert found.model in lines[-2]
    assert lines[-1].startswith("mp-22862 trained the model; without its formula: bulk modulus K ")
    facts = json.loads(found.to_json())
    assert facts["properties"]["bulk_modulus"]["value"] == found["bulk_modulus"].value
    assert "unlike_training" not in facts
    assert str(Predicted(97.8321, 8.4412, "GPa")) == "97.8 ± 8.4 GPa"
    low, high = Predicted(10.0, 2.0, "GPa").interval
    assert (low, high) == pytest.approx((6.71, 13.29))


def test_what_is_outside_of_the_applicability_domain_is_said(salt: Density) -> None:
    strange = Density(Crystal(salt.crystal.cell, salt.crystal.positions, [84, 17]), {"total": salt.total * 1.2})
    found = chgdb.predict(strange)
    assert any("Po" in remark for remark in found.unlike_training)
    assert found["bulk_modulus"].std > chgdb.predict(salt)["bulk_modulus"].std
    assert str(found).splitlines()[-1].startswith("Unlike the training set: ")
    assert found.to_dict()["unlike_training"] == list(found.unlike_training)


def test_units_are_checked_before_anything_is_predicted(salt: Density) -> None:
    with pytest.raises(DensityError, match="is it in e/Å\\^3"):
        chgdb.predict(Density(salt.crystal, {"total": salt.total * salt.crystal.volume}))
    with pytest.raises(DensityError, match="holds no atoms"):
        chgdb.predict(Density(Crystal(np.eye(3) * 4, np.zeros((0, 3)), []), {"total": np.ones((4, 4, 4))}))


def test_what_cannot_be_predicted_from(salt: Density, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="not of int"):
        chgdb.predict(149)  # type: ignore[arg-type]
    with pytest.raises(FormatError):
        chgdb.predict(tmp_path / "CHGCAR")
    with pytest.raises(UnknownMaterialError, match=r"mp-0000: there is no such file, and .* has no material"):
        chgdb.predict("mp-0000")
    with pytest.raises(ModelError, match="there is no property model 'gnn'"):
        chgdb.predict(salt, model="gnn")
    with pytest.raises(ModelError, match="no model is stored there"):
        chgdb.predict(salt, models=tmp_path)


# Structures ---------------------------------------------------------------------------------------------------------


def head(density: Density, path: Path) -> Path:
    """A POSCAR: a CHGCAR as far as its atoms."""
    chgdb.write(path.parent / "whole.CHGCAR", density)
    lines = (path.parent / "whole.CHGCAR").read_text().splitlines(keepends=True)
    path.write_text("".join(lines[: lines.index(" \n")]))
    return path


def assert_same(found: Prediction, other: Prediction, tolerance: float = 1e-4) -> None:
    assert (found.density, found.density_model, found.formula) == (other.density, other.density_model, other.formula)
    for name in SERVED:
        assert found[name].value == pytest.approx(other[name].value, rel=tolerance, abs=tolerance)
        assert found[name].std == pytest.approx(other[name].std, rel=tolerance, abs=tolerance)


@pytest.fixture(scope="module")
def silicon() -> Density:
    return chgdb.open()["mp-149"].density


def test_a_structure_gives_nearly_what_its_density_gives(silicon: Density) -> None:
    given, found = chgdb.predict("mp-149"), chgdb.predict(silicon.crystal)
    assert (given.source, given.density, given.density_note) == ("mp-149", "given", "")
    assert (found.source, found.density) == ("", "estimated")
    assert abs(found["bulk_modulus"].value - given["bulk_modulus"].value) < 15
    assert found["bulk_modulus"].value != given["bulk_modulus"].value
    guess = chgdb.estimate(silicon.crystal)
    assert (found.density_model, found.density_error, found.density_limit) == (guess.model, guess.error, guess.limit)
    assert {n: p.value for n, p in found.items()} == {n: p.value for n, p in chgdb.predict(guess.density).items()}
    start = "Density estimated by a model, not computed; error about "
    line = next(text for text in str(found).splitlines() if text.startswith(start))
    assert guess.model in line
    assert "stimated" not in str(given)
    facts = json.loads(found.to_json())
    assert facts["density"] == "estimated"
    assert facts["density_estimate"] == {
        "nmae_expected": guess.error, "nmae_90": guess.limit, "model": guess.model
    }  # fmt: skip
    assert "density_estimate" not in given.to_dict()


def test_every_way_to_name_a_structure_gives_the_same(salt: Density, tmp_path: Path) -> None:
    expected = chgdb.predict(salt.crystal)
    poscar = head(salt, tmp_path / "POSCAR")
    velocities = tmp_path / "CONTCAR"
    velocities.write_text(poscar.read_text() + "\n  0.1E-02  0.2E-02 -0.1E-02\n -0.1E-02 -0.2E-02  0.1E-02\n")
    (tmp_path / "POSCAR.gz").write_bytes(gzip.compress(poscar.read_bytes()))
    for name in ("NaCl.vasp", "structure.txt"):  # the content decides where a name does not
        (tmp_path / name).write_bytes(poscar.read_bytes())
    for path in (poscar, velocities, *(tmp_path / n for n in ("POSCAR.gz", "NaCl.vasp", "structure.txt"))):
        found = chgdb.predict(path)
        assert found.source == str(path)
        assert_same(found, expected)
    four = tmp_path / "POSCAR.4"
    four.write_text("".join(line for line in poscar.read_text().splitlines(True) if line.split() != ["Na", "Cl"]))
    assert_same(chgdb.predict(four, elements=["Na", "Cl"]), expected)
    with pytest.raises(FormatError, match="--elements"):
        chgdb.predict(four)


def test_structures_of_other_packages(salt: Density, tmp_path: Path) -> None:
    pytest.importorskip("ase")
    pytest.importorskip("pymatgen")
    expected = chgdb.predict(salt.crystal)
    assert_same(chgdb.predict(salt.crystal.to_ase()), expected)
    assert_same(chgdb.predict(salt.crystal.to_pymatgen()), expected)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pymatgen's, of itself
        salt.crystal.to_pymatgen().to(filename=str(tmp_path / "NaCl.cif"))
    assert_same(chgdb.predict(tmp_path / "NaCl.cif"), expected, 0.02)  # another cell, rounded, on another grid


def test_a_density_that_is_there_is_used_whatever_the_name(salt: Density, tmp_path: Path) -> None:
    chgdb.write(tmp_path / "CHGCAR", salt)
    text = (tmp_path / "CHGCAR").read_text()
    (tmp_path / "POSCAR").write_text(text)
    (tmp_path / "four.vasp").write_text("".join(x for x in text.splitlines(True) if x.split() != ["Na", "Cl"]))
    assert chgdb.predict(tmp_path / "POSCAR").density == "given"
    assert chgdb.predict(tmp_path / "four.vasp", elements=["Na", "Cl"]).density == "given"


@pytest.mark.parametrize("name", ["CHGCAR", "Na.CHGCAR", "CHG", "NaCl.vasp", "POSCAR"])
def test_a_truncated_density_is_no_structure(salt: Density, tmp_path: Path, name: str) -> None:
    atoms = head(salt, tmp_path / "atoms").read_bytes()
    whole = (tmp_path / "whole.CHGCAR").read_bytes()
    file = tmp_path / name
    for end in (len(atoms) + 200, len(whole) // 2):
        file.write_bytes(whole[:end])
        with pytest.raises(FormatError, match="truncated"):
            chgdb.predict(file)
    file.write_bytes(atoms[:-60])
    with pytest.raises(FormatError):
        chgdb.predict(file)
    if "CHG" in name:  # only the header of a density
        file.write_bytes(atoms)
        with pytest.raises(FormatError, match="truncated file; if it is meant to be a structure, name it POSCAR"):
            chgdb.predict(file)
    file.write_bytes(whole + atoms)  # a further step, cut
    if name != "POSCAR":
        with pytest.raises(FormatError):
            chgdb.predict(file)


def test_a_structure_unlike_the_training_set_of_the_estimate_is_flagged(salt: Density) -> None:
    near = chgdb.predict(salt.crystal)
    squeezed = Crystal(0.7 * salt.crystal.cell, salt.crystal.positions, salt.crystal.numbers)
    found = chgdb.predict(squeezed)
    guess = chgdb.estimate(squeezed)
    assert guess.remarks
    assert set(guess.remarks) <= set(found.unlike_training)
    spread = load_model("invariant").calibration["bulk_modulus"].spread
    assert found["bulk_modulus"].std >= spread > near["bulk_modulus"].std


def test_structures_that_have_no_density(salt: Density) -> None:
    with pytest.raises(DensityError):
        chgdb.predict(Crystal(np.eye(3) * 4, [[0, 0, 0], [0.001, 0, 0]], [11, 17]))
    with pytest.raises(DensityError):
        chgdb.predict(Crystal(np.eye(3) * 4, np.zeros((0, 3)), []))


def test_a_structure_takes_nothing_heavy(salt: Density, tmp_path: Path) -> None:
    code = (
        "import sys, chgdb\n"
        "print(chgdb.predict(sys.argv[1]).density)\n"
        "heavy = {'torch', 'pymatgen', 'ase', 'matminer', 'sklearn', 'lightgbm', 'matplotlib'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    poscar = head(salt, tmp_path / "POSCAR")
    done = subprocess.run([sys.executable, "-c", code, poscar], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n") == ["estimated", "[]", ""]
