"""Some records of a catalog as a store of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from materials import COLUMNS, IDS, load, same

import chgdb
from chgdb.catalog import Catalog
from chgdb.errors import StoreError, UnknownMaterialError
from chgdb.extraction import extract
from chgdb.ingest import build_from
from chgdb.verification import verify


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    path = tmp_path_factory.mktemp("stores") / "all.zarr"
    build_from(
        path, IDS, load, columns=COLUMNS, attributes={"title": "made up"}, workers=1, prior="fit", tolerance=1e-2
    )
    return chgdb.open(path)


@pytest.mark.parametrize("ids", [["mat-3"], ["mat-7", "mat-0", "mat-7"], IDS])
def test_records_are_the_same_to_the_byte(catalog: Catalog, tmp_path: Path, ids: list[str]) -> None:
    extract(catalog, ids, tmp_path / "some.zarr")
    some = chgdb.open(tmp_path / "some.zarr")
    assert some.ids == list(dict.fromkeys(ids))
    for material_id in ids:
        old, new = catalog[material_id], some[material_id]
        assert new.payload == old.payload
        assert same(new.density, old.density)
        place = {"payload_offset", "atom_offset"}  # where a record lies is the store's own business
        for name, value in old.metadata.items():
            if name not in place:
                np.testing.assert_equal(new.metadata[name], value, err_msg=name)
    assert some.columns == catalog.columns
    assert some.attributes["title"] == "made up"
    assert verify(tmp_path / "some.zarr", deep=True).ok


def test_what_is_there_stays_unless_replaced(catalog: Catalog, tmp_path: Path) -> None:
    out = tmp_path / "some.zarr"
    extract(catalog, ["mat-1"], out)
    with pytest.raises(StoreError, match="exists already"):
        extract(catalog, ["mat-2"], out)
    assert chgdb.open(out).ids == ["mat-1"]
    extract(catalog, ["mat-2"], out, replace=True)
    assert chgdb.open(out).ids == ["mat-2"]
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "thesis.txt").write_text("years")
    with pytest.raises(StoreError, match="something else than a store"):
        extract(catalog, ["mat-1"], tmp_path / "notes", replace=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["notes", "some.zarr"]


def test_unknown_ids_leave_nothing(catalog: Catalog, tmp_path: Path) -> None:
    with pytest.raises(UnknownMaterialError):
        extract(catalog, ["mat-1", "nothing"], tmp_path / "some.zarr")
    assert not list(tmp_path.iterdir())
