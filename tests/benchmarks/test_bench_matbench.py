"""The benchmark of Matbench's tasks, on a data set of the same shape with labels of the catalog."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

import chgdb

pytest.importorskip("lightgbm")
pytest.importorskip("pymatgen")

import bench_matbench as bench

ROWS = 60


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """Small cells with a bulk modulus, written as Matbench's files are."""
    catalog = chgdb.open()
    moduli, atoms = catalog.column("bulk_modulus"), catalog.column("n_atoms")
    chosen = [i for i in range(len(catalog)) if np.isfinite(moduli[i]) and atoms[i] <= 2][:ROWS]
    values = np.log10(moduli[chosen])
    structures = [catalog[catalog.ids[i]].crystal.to_pymatgen().as_dict() for i in chosen]
    content = {
        "index": list(range(ROWS)),
        "columns": ["structure", "log10(K_VRH)"],
        "data": [[structure, float(value)] for structure, value in zip(structures, values, strict=True)],
    }
    path = tmp_path_factory.mktemp("matbench") / "matbench_log_kvrh.json.gz"
    path.write_bytes(gzip.compress(json.dumps(content).encode()))
    return path, values


def test_folds_are_matbenchs():
    """The first rows of the first test fold of the 10,987 of matbench_log_kvrh; each row is tested once."""
    parts = bench.folds(10987)
    tested = np.concatenate([test for _, test in parts])
    assert sorted(tested.tolist()) == list(range(10987))
    assert [len(test) for _, test in parts] == [2198, 2198, 2197, 2197, 2197]
    assert all(not set(train) & set(test) for train, test in parts)


def test_a_run_learns_and_goes_on(dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path, values = dataset
    found = bench.run(path, tmp_path, 1, (0, 1))
    assert found["target"] == "bulk_modulus"
    assert found["materials"] == ROWS
    assert set(found["folds"]) == {0, 1}
    for number, facts in found["folds"].items():
        train, test = bench.folds(ROWS)[number]
        predicted = np.array([facts["predictions"][f"mb-{row + 1:05d}"] for row in test])
        assert facts["mae"] == pytest.approx(np.abs(predicted - values[test]).mean())
        assert facts["of_the_mean"] == pytest.approx(np.abs(values[train].mean() - values[test]).mean())
        assert facts["mae"] < 0.6 * facts["of_the_mean"]
    times = {p: p.stat().st_mtime_ns for p in tmp_path.glob("*.json")}
    again = bench.run(path, tmp_path, 1, (0, 1))
    assert again["mean"] == found["mean"]
    assert {p: p.stat().st_mtime_ns for p in tmp_path.glob("*.json")} == times
    assert "2 of 5 folds" in capsys.readouterr().out


def test_other_files_are_refused(tmp_path: Path):
    (tmp_path / "other.json").write_text('{"columns": ["composition", "gap"], "data": []}')
    for name in ("other.json", "missing.json.gz"):
        with pytest.raises(SystemExit, match="no data set of Matbench"):
            bench.read(tmp_path / name)
