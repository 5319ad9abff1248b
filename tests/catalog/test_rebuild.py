"""What of the catalog is rebuilt, and when."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chgdb.ingest import build_from
from chgdb_catalog import batches, rebuild


def test_a_store_is_stale_that_lacks_a_material_or_is_older_than_the_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = list(batches.index())[:2]
    out, labels = tmp_path / "small.zarr", tmp_path / "labels.csv"
    labels.write_text("material_id\n")
    assert rebuild.is_stale(out, labels)
    report = build_from(out, ids, rebuild.Loader({}, {}), columns=rebuild.COLUMNS, workers=1, prior="fit")
    assert report.complete
    os.utime(labels, (0, 0))
    assert rebuild.is_stale(out, labels)  # catalog/sources holds many more
    monkeypatch.setattr(batches, "index", lambda: dict.fromkeys(ids))
    assert not rebuild.is_stale(out, labels)
    os.utime(labels)
    os.utime(out / "zarr.json", (0, 0))
    assert rebuild.is_stale(out, labels)
