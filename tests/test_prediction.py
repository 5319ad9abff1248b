"""chgdb.predict: one call for a density, a record or a file, with the checks in it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import chgdb
from chgdb.density import Crystal, Density
from chgdb.errors import DensityError, FormatError
from chgdb.models import ModelError
from chgdb.models.rows import from_densities
from chgdb.prediction import Predicted, load_model
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
    assert len(lines) == len(SERVED) + 2
    assert all(TARGETS[name].label in line for name, line in zip(SERVED, lines[1:-1], strict=True))
    assert found.model in lines[-1]
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
    with pytest.raises(DensityError, match="NaCl is a structure"):
        chgdb.predict(salt.crystal)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="not of int"):
        chgdb.predict(149)  # type: ignore[arg-type]
    with pytest.raises(FormatError):
        chgdb.predict(tmp_path / "CHGCAR")
    with pytest.raises(ModelError, match="there is no property model 'gnn'"):
        chgdb.predict(salt, model="gnn")
    with pytest.raises(ModelError, match="no model is stored there"):
        chgdb.predict(salt, models=tmp_path)
