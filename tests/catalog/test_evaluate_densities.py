"""The study of estimated densities: its classes, sums and tables."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import chgdb
from chgdb.densities.evaluation import Result, evaluate, usable
from chgdb.densities.guess import guess
from chgdb.densities.model import load
from chgdb.errors import ChgdbError
from chgdb.promolecule import superposition
from chgdb_catalog.studies import density_tables as tables
from chgdb_catalog.studies import evaluate_densities as study

IDS = ["mp-149", "mp-22862", "mp-30", "mp-134"]


@pytest.fixture(scope="module")
def results() -> list[Result]:
    return evaluate(load(), chgdb.open(), IDS)


def test_errors_are_those_of_the_estimate(results):
    density = chgdb.open()[IDS[1]].density
    guess = chgdb.estimate(density.crystal, grid=density.grid).density
    assert results[1].nmae == pytest.approx(np.abs(guess.total - density.total).sum() / np.abs(density.total).sum())
    assert all(result.nmae < result.superposition for result in results)


def test_elements_that_the_model_lacks_are_left_out():
    catalog = chgdb.open()
    few = load().with_atoms(load().prior, {int(z): 1.0 for z in load().prior.numbers})
    known = few.known[few.known != 14]
    assert list(usable(type(few)(**{**vars(few), "known": known}), catalog, IDS)) == IDS[1:]


def test_what_the_tables_show(results):
    measured = study.measured(results, chgdb.open())
    assert measured["estimate"]["n"] == len(IDS)
    assert measured["estimate"]["mean"] == pytest.approx(100 * np.mean([r.nmae for r in results]))
    assert measured["classes"]["all"]["n"] == len(IDS)
    assert measured["classes"]["halides"]["n"] == 1
    assert measured["worst"][0]["nmae"] == pytest.approx(100 * max(r.nmae for r in results))
    data = {"test": {**measured, "model": "m", "members": 1, "latents": {}}}
    assert "| halides | 1 |" in tables._test_table(data)


def test_the_readme_says_the_measured_error():
    mean = json.loads(tables.DATA.read_text(encoding="utf-8"))["test"]["estimate"]["mean"]
    readme = tables.README.read_text(encoding="utf-8")
    assert readme == tables.with_mean_error(readme, mean)
    assert "-->12.35<!--" in tables.with_mean_error(readme, 12.345678)
    with pytest.raises(ChgdbError, match="no place"):
        tables.with_mean_error("nothing", mean)


def test_the_table_of_times_takes_the_last_look_before_each_time():
    histories = [[[2, 300, 0.01, 0.009], [4, 620, 0.008, 0.007], [6, 1500, 0.004, 0.006]], [[1, 900, 0.02, 0.01]]]
    data = {"test": {"training": {"members": [{"history": history} for history in histories]}}}
    assert tables._time_table(data).splitlines()[2:] == [
        "| 10 | 1.00 | 0.90 | 2.00 | 1.00 |",
        "| 20 | 0.80 | 0.70 | 2.00 | 1.00 |",
        "| 25 | 0.40 | 0.60 | 2.00 | 1.00 |",
    ]
    assert "does not keep" in tables._time_table({"test": {"training": {"members": [{}]}}})


def test_members_differ_about_what_the_model_adds_to_the_atoms():
    density, model = chgdb.open()["mp-149"].density, load()
    members = study.differences(model, density.crystal, density.grid)
    atoms = superposition(model.prior, density.crystal, density.grid)
    added = guess(model, density.crystal, density.grid).total - (atoms - atoms.mean() + density.total.mean())
    assert members.shape == (len(model.members), *density.grid)
    np.testing.assert_allclose(members.mean(axis=0), added, atol=1e-9 * density.total.mean())
    ranks = study._ranks(model, density)
    assert set(ranks) == {"spread, point by point", "spread", "size of the difference", "density"}
    assert all(-1 <= value <= 1 for value in ranks.values())


def test_classes():
    assert study.classes([11, 17], 225, 0.0) == {
        "all", "halides", "not magnetic", "2 elements", "1 to 4 atoms", "cubic",
    }  # fmt: skip
    assert {"metals only", "with Cr to Ni", "magnetic", "1 element"} < study.classes([26], 229, 2.2)
    assert {"hydrides", "oxides", "3 elements", "10 atoms and more", "triclinic"} < study.classes(
        [1, 8, 20] * 5, 2, 0.0
    )


def test_tables_go_between_their_markers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- size -->\nold\n<!-- end of size -->\nafter\n")
    monkeypatch.setattr(tables, "PAGE", page)
    monkeypatch.setattr(tables, "DATA", tmp_path / "data.json")
    tables.record({"size": {"atoms": 1000, "grid": 240, "cpu_s": 24.0, "memory_MB": 452.0}})
    text = page.read_text()
    assert text.startswith("before\n<!-- size -->\n")
    assert "old" not in text
    assert "1000 atoms on a grid of 240³: 24 s of one core, 0.5 GB at most." in text
    with pytest.raises(chgdb.ChgdbError, match="no place for the table"):
        tables.between("nothing", "size", "")
