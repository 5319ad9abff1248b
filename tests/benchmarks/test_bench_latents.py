"""The benchmark of the autoencoders runs, on a few materials; what it measures is in docs/science."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from effort import THOROUGH

pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).resolve().parent))

import bench_latents


def test_variants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not THOROUGH:
        monkeypatch.setattr(bench_latents, "STEPS", 12)
    bench_latents.variants(tmp_path, materials=2)
    page = (tmp_path / "latents.md").read_text()
    facts = json.loads((tmp_path / "data" / "latents-variants.json").read_text())
    means = facts["mean"]
    assert "| `periodic` |" in page
    assert means["periodic"]["materials"] == 2
    assert means["periodic"]["nmae"] < 0.02
    assert facts["grid_nmae"] < means["periodic"]["nmae"], "a network loses more than its grid"
    assert means["published, refined"]["mse"] < means["published"]["mse"]
    assert all(means[name]["nmae"] < means[f"{name}, network alone"]["nmae"] for name in ("published", "periodic"))
    # A codec of its own kind at the same size or the same error: neither is more than was asked for.
    rows = facts["rows"]
    assert np.less_equal(rows["fourier, same bytes"]["bytes"], rows["periodic"]["bytes"]).all()
    assert np.less_equal(rows["fourier, same NMAE"]["nmae"], rows["periodic"]["nmae"]).all()

    bench_latents.variants(tmp_path, materials=2, model=["difference"], workers=2)
    again = json.loads((tmp_path / "data" / "latents-variants.json").read_text())
    assert again["rows"]["published"] == rows["published"]
    assert again["rows"]["difference"]["nmae"] == rows["difference"]["nmae"]
    assert again["rows"]["difference"]["encode"] != rows["difference"]["encode"], "measured once more"
    with pytest.raises(SystemExit, match="other materials"):
        bench_latents.variants(tmp_path, materials=3, model=["difference"])


def test_the_whole_test_part(tmp_path: Path) -> None:
    bench_latents.catalog(tmp_path, materials=2)
    facts = json.loads((tmp_path / "data" / "latents-catalog.json").read_text())
    assert facts["mean"]["published"]["nmae"] < facts["mean"]["published, network alone"]["nmae"]
    assert "2 test materials" in (tmp_path / "latents.md").read_text()


def test_models_agree_on_the_test_part() -> None:
    """A material that one model was trained on is not in the test part of another."""
    folders = [p.parent for p in bench_latents.models_folder("autoencoder").glob("*/split.json")]
    splits = [json.loads((folder / "split.json").read_text()) for folder in folders]
    assert splits
    for split in splits:
        assert not set(split["train"]) & set(splits[0]["test"])
        assert set(bench_latents.held_out()) <= set(split["test"])
        assert not set(split["train"]) & set(bench_latents.grown())
