"""Stores of every format version there has been: each opens, verifies and gives back what it held, for ever."""

from __future__ import annotations

import json
import re
import shutil
import sys
import threading
import warnings
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import xarray
from materials import contents

import chgdb
from chgdb import views
from chgdb.catalog import open_catalog
from chgdb.errors import StoreError
from chgdb.ingest import build_from
from chgdb.publish import publish, pull
from chgdb.store.format import FORMAT_VERSION
from chgdb.store.head import HEAD_VERSION
from chgdb.store.writer import seal
from chgdb.verification import verify
from chgdb_cli.main import _exit_code

FOLDER = Path(__file__).parents[1] / "golden"
sys.path.insert(0, str(FOLDER))

import make_store  # noqa: E402
import make_view  # noqa: E402

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


@pytest.fixture
def later(golden):
    """A golden store that says that it is of format 99."""
    store, expected = golden
    metadata = json.loads((store / "zarr.json").read_text(encoding="utf-8"))
    assert metadata["attributes"]["chgdb_format"] == expected["format_version"]
    metadata["attributes"]["chgdb_format"] = 99
    (store / "zarr.json").write_text(json.dumps(metadata), encoding="utf-8")
    seal(store)  # or the change would be taken for damage, and repaired
    return store


@pytest.fixture
def served(tmp_path):
    """URL of the folder of the test."""

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments, **settings):
            super().__init__(*arguments, directory=str(tmp_path), **settings)

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def refused(error):
    """Whether a message is one line that names both versions and what to do."""
    wanted = rf"store format 99, but this chgdb reads up to format {FORMAT_VERSION}: run pip install --upgrade chgdb"
    return re.fullmatch(rf"[^\n]+: {wanted}", str(error)) is not None


def test_a_store_of_a_later_format_version_is_refused_by_name(later, served, tmp_path, monkeypatch):
    """Wherever a store is read: nothing of it is believed, and nothing is written over it."""
    monkeypatch.setenv("CHGDB_CACHE", str(tmp_path / "cache"))
    archive = shutil.make_archive(str(tmp_path / "later"), "zip", later)
    url = f"{served}/{later.name}"
    before = contents(later)
    for read in (
        lambda: open_catalog(later),
        lambda: open_catalog(archive),
        lambda: open_catalog(f"file://{later}"),
        lambda: open_catalog(url),
        lambda: open_catalog(f"zip::{archive}"),
        lambda: open_catalog(url).to_xarray(),
        lambda: verify(later),
        lambda: verify(url),
        lambda: build_from(later, ["gold-5"], make_store.load, workers=1),
        lambda: build_from(later, ["gold-1"], make_store.load, workers=1, on_duplicate="replace"),
        lambda: views.add_predictions(later),
        lambda: publish(later, tmp_path / "published"),
        lambda: publish(url, tmp_path / "published"),
        lambda: pull(url, tmp_path / "pulled"),
        lambda: pull(url, later),
    ):
        with pytest.raises(StoreError) as caught:
            read()
        assert refused(caught.value), caught.value
    assert contents(later) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "golden.zarr", "later.zip"]


@pytest.mark.parametrize(
    "command",
    [
        ["fetch", "gold-1", "--decode", "--catalog", "{store}"],
        ["search", "--catalog", "{store}"],
        ["info", "--catalog", "{store}"],
        ["verify", "{store}"],
        ["build", "{store}", "{store}/CHGCAR"],
        ["build", "{store}", "--predict"],
        ["publish", "{store}", "{store}.copy"],
    ],
    ids=lambda command: " ".join(command[:1]),
)
def test_commands_refuse_it_in_one_line(later, command, capsys):
    chgdb.write(later / "CHGCAR", make_store.load("gold-4")[0])
    assert _exit_code([part.format(store=later) for part in command]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert refused(err.removesuffix("\n")), err


def test_a_head_of_a_later_version_is_refused_by_name(golden, served, tmp_path, monkeypatch):
    monkeypatch.setenv("CHGDB_CACHE", str(tmp_path / "cache"))
    store, _ = golden
    (store / "head.bin").write_bytes(b"chgdb head 12\nwhatever it is then")
    wanted = rf"golden.zarr: version 12 of head.bin, but this chgdb reads up to version {HEAD_VERSION}: run pip install"
    with pytest.raises(StoreError, match=wanted):
        open_catalog(f"{served}/{store.name}")


def test_the_view_of_a_golden_store():
    """Predictions by the formulas they were made with, through chgdb and through xarray alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the model that made it is not installed in any version
        view = open_catalog(make_view.ARCHIVE).view()
    assert (view.targets, view.model) == (make_view.MadeUp().targets, make_view.MadeUp().identifier)
    assert view.attributes("bulk_modulus")["test_scores"] == make_view.SCORES
    assert view.attributes("bulk_modulus")["training_materials"] == 3
    assert view["unlike_training"].tolist() == [0, 1, 0, 0]
    dataset = view.to_xarray()
    for name in view.targets:
        for suffix, expected in zip(("", "_std", "_out_of_fold"), make_view.values(name), strict=True):
            np.testing.assert_array_equal(view[name + suffix], expected)
            np.testing.assert_array_equal(dataset[name + suffix].values, expected)
    assert dataset["material"].values.tolist() == list(make_view.IDS)
    report = verify(make_view.ARCHIVE, deep=True)
    assert report.ok, report.problems


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
