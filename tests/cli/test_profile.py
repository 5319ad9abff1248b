"""chgdb profile, values and spheres."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from small import DENSITIES, Chgdb, one_line

from chgdb.profiles import in_spheres, planar_average


def table(text: str) -> dict[str, np.ndarray]:
    rows = list(csv.reader(io.StringIO(text)))
    return {name: np.array([float(row[i]) for row in rows[1:]]) for i, name in enumerate(rows[0])}


def test_profiles(run_chgdb: Chgdb, runs: Path) -> None:
    found = table(run_chgdb("profile", runs / "salt/CHGCAR", "--axis", "b", "--window", "1.1").out)
    expected = planar_average(DENSITIES["salt"](), 1, window=1.1)
    for name in ("fraction", "distance", "average", "macroscopic", "cumulative"):
        np.testing.assert_allclose(found[name], getattr(expected, name), rtol=1e-6, atol=1e-8)
    assert run_chgdb("profile", "salt", "--json", "-o", "p.csv").json["axis"] == "c"
    assert list(table(Path("p.csv").read_text())) == ["fraction", "distance", "average", "cumulative"]
    result = run_chgdb("profile", "salt", "-o", "p.csv")
    assert result.code == 1
    assert one_line(result.err)


def test_pictures_of_profiles(run_chgdb: Chgdb) -> None:
    pytest.importorskip("matplotlib")
    assert run_chgdb("profile", "iron", "--channel", "magnetization", "--window", "1", "-o", "p.svg").code == 0
    assert "macroscopic, 1" in Path("p.svg").read_text()


def test_values(run_chgdb: Chgdb, runs: Path) -> None:
    salt = DENSITIES["salt"]()
    found = table(run_chgdb("values", runs / "salt/CHGCAR", "--at", "0,0,0", "--at=-0.5,1.5,0.25").out)
    np.testing.assert_allclose(found["value"], [salt.total[0, 0, 0], salt.total[10, 9, 7]], rtol=1e-6)
    line = run_chgdb("values", "salt", "--from", "0,0,0", "--to", "0,0,1", "--points", "5", "--json").json
    assert line["distance"][-1] == pytest.approx(np.linalg.norm(salt.crystal.cell[2]))
    for words in ([], ["--at", "0,0,0", "--from", "0,0,0"], ["--from", "0,0,0"], ["--at", "0,0"]):
        assert run_chgdb("values", "salt", *words).code == 2


def test_spheres(run_chgdb: Chgdb, runs: Path) -> None:
    salt = DENSITIES["salt"]()
    result = run_chgdb("spheres", runs / "salt/CHGCAR", "--radius", "Na=1,Cl=1.2", "--json")
    np.testing.assert_allclose(result.json["integral"], in_spheres(salt, [1, 1.2]), rtol=1e-6)
    assert "Fe" in run_chgdb("spheres", "iron", "--radius", "1", "--channel", "magnetization").out
    for radius in ("0", "Na=1", "x", "Na=1,Cl"):
        assert run_chgdb("spheres", "salt", "--radius", radius).code == 2
