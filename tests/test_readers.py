"""A writer that appends, replaces and deletes, and readers: seconds of what bench_readers.py measures."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))

import bench_readers


def test_no_reader_sees_an_error_or_a_wrong_value(tmp_path: Path) -> None:
    """Four readers for some seconds; twenty for ten minutes are run by hand."""
    result = bench_readers.measure(tmp_path, seconds=4, readers=4)
    assert result["errors"] == []
    assert result["written"]["appended"] >= 1
    assert all(counts["densities"] > 0 for counts in result["readers"])
    assert result["ok"]


def test_a_wrong_value_is_noticed(tmp_path: Path) -> None:
    """The check itself: a store in which one material holds another's density does not pass."""
    store = tmp_path / "s.zarr"
    bench_readers.processes.prepare(store)
    facts = store.with_name("kinds.json")
    facts.write_text(facts.read_text().replace('"hashes": ["', '"hashes": ["00'))
    result = bench_readers.measure(tmp_path, seconds=3, readers=1, prepared=True)
    assert not result["ok"]
    assert "decodes to what it never was" in result["errors"][0]
