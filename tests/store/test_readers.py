"""A writer that appends, replaces and deletes, and readers: seconds of what bench_readers.py measures."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import bench_readers


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readers")
    bench_readers.processes.prepare(folder / "s.zarr")
    return folder


@pytest.fixture
def folder(prepared: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(prepared, tmp_path / "readers"))


def test_no_reader_sees_an_error_or_a_wrong_value(folder: Path) -> None:
    """Four readers for some seconds; twenty for ten minutes are run by hand."""
    result = bench_readers.measure(folder, seconds=3, readers=4, prepared=True)
    assert result["errors"] == []
    assert min(result["written"][kind] for kind in ("appended", "replaced", "deleted")) >= 1
    assert all(counts["densities"] > 0 for counts in result["readers"])
    assert result["ok"]


def test_a_wrong_value_is_noticed(folder: Path) -> None:
    """The check itself: where one material's values are another's, it does not pass."""
    file = folder / "kinds.json"
    facts = json.loads(file.read_text())
    facts["hashes"] = facts["hashes"][2:] + facts["hashes"][:2]
    file.write_text(json.dumps(facts))
    result = bench_readers.measure(folder, seconds=1, readers=1, prepared=True)
    assert not result["ok"]
    assert "decodes to what it never was" in result["errors"][0]
