"""Elastic moduli of suspicious labels: averages, and what a user can do wrong. GPAW itself is not run here."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

import chgdb
from chgdb.errors import ChgdbError
from chgdb_catalog.gpaw import elastic as gpaw_elastic
from chgdb_catalog.studies import check_labels


def cubic(c11: float, c12: float, c44: float) -> np.ndarray:
    stiffness = np.diag([float(c11)] * 3 + [float(c44)] * 3)
    stiffness[:3, :3] += c12 * (1 - np.eye(3))
    return stiffness


def test_an_isotropic_body_has_one_bulk_and_one_shear_modulus():
    found = gpaw_elastic.moduli(cubic(100 + 4 / 3 * 60, 100 - 2 / 3 * 60, 60))
    for key in ("voigt", "reuss"):
        np.testing.assert_allclose(found[key], [100, 60])
    assert found["bulk_modulus"] == pytest.approx(100)
    assert found["shear_modulus"] == pytest.approx(60)


def test_averages_of_a_cubic_crystal():
    c11, c12, c44 = 168.4, 121.4, 75.4  # copper
    found = gpaw_elastic.moduli(cubic(c11, c12, c44))
    assert found["voigt"] == pytest.approx([(c11 + 2 * c12) / 3, (c11 - c12 + 3 * c44) / 5])
    reuss = 5 * (c11 - c12) * c44 / (4 * c44 + 3 * (c11 - c12))
    assert found["reuss"] == pytest.approx([(c11 + 2 * c12) / 3, reuss])


def test_an_unstable_crystal_shows():
    found = gpaw_elastic.moduli(cubic(60, 100, 80))
    assert found["softest"] == pytest.approx(-40)
    assert found["reuss"][1] > 2 * found["voigt"][1] or found["reuss"][1] < 0  # nothing that a modulus could be


def worker(folder, body: str):
    """An interpreter that does this instead of running GPAW."""
    path = folder / "python"
    path.write_text(f"#!{sys.executable}\nimport json, sys, time\njob, result = sys.argv[2:]\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_results_are_kept_and_not_computed_twice(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(check_labels, "RESULTS", tmp_path / "checks.json")
    answer = {**gpaw_elastic.moduli(cubic(160, 60, 80)), "stiffness": cubic(160, 60, 80).tolist(),
              "magnetic_moment_muB": 0.0}  # fmt: skip
    python = worker(
        tmp_path,
        "record = json.load(open(job))['record']\nassert record['symbols'] == ['Si', 'Si']\n"
        f"json.dump({json.dumps(answer)}, open(result, 'w'))",
    )
    check_labels.main(["mp-149"], python, None, 60.0)
    kept = json.loads((tmp_path / "checks.json").read_text())["mp-149"]
    assert kept["formula"] == "Si"
    assert kept["computed"][0] == pytest.approx(280 / 3, abs=0.1)
    row = chgdb.open().ids.index("mp-149")
    assert kept["label"][1] == chgdb.open().column("shear_modulus")[row]
    check_labels.main(["mp-149"], "/nonexistent", None, 60.0)
    assert "labels" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("body", "message"),
    [("sys.exit('no setup for Si')", "no setup for Si"), ("time.sleep(30)", "not done in 1 s")],
)
def test_what_goes_wrong_is_said_in_a_line(tmp_path, body, message):
    crystal = chgdb.open()["mp-149"].crystal
    with pytest.raises(ChgdbError, match=message):
        check_labels.compute(crystal, worker(tmp_path, body), None, 1.0)
    with pytest.raises(ChgdbError, match="name one that has GPAW"):
        check_labels.compute(crystal, str(tmp_path / "none"), None, 1.0)
