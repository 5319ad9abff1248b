"""The benchmarks of size run, on small stores and few densities; what they measure is in docs/science/scale.md."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

import bench_scale


def test_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_scale, "SIZES", (150, 300))
    monkeypatch.setattr(bench_scale, "QUICK_ROUNDS", 2)
    wanted = ("open", "look up", "by elements")
    monkeypatch.setattr(bench_scale, "LOCAL", {name: bench_scale.LOCAL[name] for name in wanted})
    bench_scale.sizes(tmp_path, tmp_path / "stores", rounds=1)
    facts = json.loads((tmp_path / "data" / "scale-sizes.json").read_text())
    page = (tmp_path / "scale.md").read_text()
    assert [facts["measured"]["open"][i]["materials"] for i in (0, 1)] == [150, 300]
    assert all(10e6 < result["peak"] < 1e9 for results in facts["measured"].values() for result in results)
    assert page.count("| full scan |") == 1
    assert page.count("| met |") + page.count("| **missed** |") == 2


def test_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_scale, "CHANGED", 60)
    bench_scale.change(tmp_path, tmp_path)
    found = json.loads((tmp_path / "data" / "scale-change.json").read_text())["measured"]
    assert [found[name]["materials"] for name in ("subset", "merge")] == [30, 60]
    assert [found["remove"]["removed"], found["rename"]["renamed"], found["add columns"]["updated"]] == [10, 10, 20]


def test_encode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_scale, "_vasp_texts", lambda: iter(()))
    bench_scale.encode(tmp_path, materials=2)
    facts = json.loads((tmp_path / "data" / "scale-encode.json").read_text())
    (measured,) = facts["measured"].values()
    assert measured["densities"] == 2
    assert measured["stored_normal"] < measured["gzipped"] / 50 < measured["text"] / 100
    whole = facts["materials_project"]
    # The same arithmetic, the other way round.
    assert whole["text_bytes"] * measured["gzipped"] / measured["text"] == pytest.approx(whole["bytes"])
    assert whole["core_hours"] * 3600 * measured["text"] / measured["encode_normal"] == pytest.approx(
        whole["text_bytes"]
    )
