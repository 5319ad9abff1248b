"""Stores of every format version there has been: each opens, verifies and gives back what it held, for ever."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray

from chgdb.catalog import open_catalog
from chgdb.errors import StoreError
from chgdb.store import FORMAT_VERSION
from chgdb.store_layout import seal
from chgdb.verification import verify

FOLDER = Path(__file__).parent / "golden"
sys.path.insert(0, str(FOLDER))

import make_store  # noqa: E402

STORES = sorted(path.stem for path in FOLDER.glob("store-v*.zip"))


@pytest.fixture(params=STORES)
def golden(request, tmp_path):
    """(unpacked store, what it must hold)."""
    store = tmp_path / "golden.zarr"
    shutil.unpack_archive(FOLDER / f"{request.param}.zip", store)
    return store, json.loads((FOLDER / f"{request.param}.json").read_text(encoding="utf-8"))


def same(value, expected):
    """Equal, where JSON has made lists of arrays and NaN is equal to itself."""
    if isinstance(expected, float):
        return np.isclose(value, expected, rtol=1e-12, atol=0, equal_nan=True)
    if isinstance(expected, list):
        return all(same(a, b) for a, b in zip(np.asarray(value).tolist(), expected, strict=True))
    return value == expected


def test_there_is_a_golden_store_of_each_format_version():
    assert [f"store-v{version}" for version in range(1, FORMAT_VERSION + 1)] == STORES


def test_a_golden_store_gives_back_what_it_held(golden):
    store, expected = golden
    catalog = open_catalog(store)
    assert catalog.format_version == expected["format_version"]
    assert list(catalog.ids) == list(expected["records"])
    for name, attributes in expected["columns"].items():
        assert catalog.columns[name] == attributes
    for material_id, facts in expected["records"].items():
        record = catalog[material_id]
        for name, value in facts["metadata"].items():
            assert same(record.metadata[name], value), (material_id, name)
        density = record.density
        assert dict(density.extras) == facts["extras"]
        channels = [values.astype(float) for values in density.channels.values()]
        assert np.allclose([values.mean() for values in channels], facts["mean"], rtol=1e-10, atol=1e-12)
        assert np.allclose([(values**2).mean() for values in channels], facts["mean_square"], rtol=1e-10)


def test_a_golden_store_passes_deep_verification(golden):
    report = verify(golden[0], deep=True)
    assert report.ok, report.problems


def test_a_golden_store_opens_from_its_archive():
    for name in STORES:
        assert len(open_catalog(FOLDER / f"{name}.zip").ids) == 4


def test_a_store_of_a_later_format_version_is_refused_by_name(golden):
    store, expected = golden
    version = expected["format_version"]
    metadata = json.loads((store / "zarr.json").read_text(encoding="utf-8"))
    assert metadata["attributes"]["chgdb_format"] == version
    metadata["attributes"]["chgdb_format"] = 99
    (store / "zarr.json").write_text(json.dumps(metadata), encoding="utf-8")
    seal(store)  # or the change would be taken for damage, and repaired
    with pytest.raises(StoreError, match=rf"store format 99, but .* up to format {FORMAT_VERSION}"):
        open_catalog(store)


def test_the_latents_of_version_2(tmp_path):
    """Integers by the formula they were made with, through chgdb and through xarray alone."""
    archive = FOLDER / "store-v2.zip"
    catalog = open_catalog(archive)
    assert catalog.latent_model == {**make_store.MODEL, "step": make_store.STEP}
    shutil.unpack_archive(archive, tmp_path / "store")
    with xarray.open_zarr(tmp_path / "store") as dataset:
        floats = dataset.latent.values
    for row, material_id in enumerate(catalog.ids):
        integers = make_store.latent(material_id)
        if integers is None:
            assert material_id == "gold-4"
            assert np.isnan(floats[row]).all()
            continue
        np.testing.assert_array_equal(catalog[material_id].latent_integers, integers)
        np.testing.assert_array_equal(floats[row], integers * make_store.STEP)
    assert open_catalog(FOLDER / "store-v1.zip").latent_model is None
