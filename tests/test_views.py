"""Predicted properties in a store."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray
from trained import make

import chgdb
from chgdb import views
from chgdb.errors import StoreError, UnknownMaterialError
from chgdb.models import SERVED, TARGETS, ModelError
from chgdb.store.files import locate
from chgdb.store.reader import Store
from chgdb.verification import verify


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A store without a view, and models."""
    return make(tmp_path_factory.mktemp("views"))


@pytest.fixture
def store(made: tuple[Path, Path], tmp_path: Path) -> Path:
    """A store with a view."""
    shutil.copytree(made[0], tmp_path / "few.zarr")
    views.add_predictions(tmp_path / "few.zarr", model="magpie", folder=made[1], workers=1)
    return tmp_path / "few.zarr"


def test_a_store_without_a_view_says_how_to_get_one(made: tuple[Path, Path]) -> None:
    catalog = chgdb.open(made[0])
    assert views.names(catalog) == []
    with pytest.raises(StoreError, match="has no view 'properties': make it with chgdb build --predict"):
        catalog.view()
    with pytest.raises(StoreError, match="nothing is predicted yet"):
        catalog.search(predicted={"bulk_modulus": (100, None)})


def test_a_view_holds_what_the_model_predicts_out_of_fold(store: Path, made: tuple[Path, Path]) -> None:
    catalog = chgdb.open(store)
    view = views.view(catalog, folder=made[1])
    assert view.targets == SERVED
    assert view.model.startswith("magpie-")
    model = views.load_model("magpie", made[1])
    for name in SERVED:
        label = np.array(catalog.column(name), float)
        if TARGETS[name].fallback:
            label = np.where(np.isfinite(label), label, catalog.column(TARGETS[name].fallback))
        in_training = np.isfinite(label) & ((label > 0) | (not TARGETS[name].log))
        reconstructed = catalog.column("structure_source").astype(str) == "reconstructed"
        if TARGETS[name].excluded_sources:
            in_training &= ~reconstructed
        np.testing.assert_array_equal(view[f"{name}_out_of_fold"] == 1, in_training)
        rows = model.held_out.rows_of(catalog.ids, catalog.column("formula").astype(str).tolist())
        expected = model.held_out.mean[name][rows]
        np.testing.assert_allclose(view[name][in_training], expected[in_training], rtol=2e-4, atol=1e-6)
        assert (view[f"{name}_std"] > 0).all()
    assert set(np.unique(view["unlike_training"])) <= {0, 1}


def test_plain_xarray_sees_it(store: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of xarray and zarr about consolidated metadata
        dataset = xarray.open_zarr(store, group="view/properties")
    assert dataset["bulk_modulus"].dims == ("material",)
    assert dataset["bulk_modulus"].attrs["units"] == "GPa"
    assert dataset["bulk_modulus"].attrs["test_scores"]["protocol"] == "five folds grouped by formula"
    assert dataset.attrs["model"].startswith("magpie-")
    assert dataset["material_id"].values.tolist() == chgdb.open(store).ids
    named = chgdb.open(store).view().to_xarray()
    first = chgdb.open(store).ids[0]
    assert float(named["bulk_modulus"].sel(material=first)) == pytest.approx(float(dataset["bulk_modulus"][0]))


def test_the_rest_of_the_store_is_untouched_and_sealed(store: Path, made: tuple[Path, Path]) -> None:
    report = verify(store, deep=True)
    assert report.ok, report.problems
    before, after = chgdb.open(made[0]), chgdb.open(store)
    assert set(after.columns) == set(before.columns)
    for name in before.columns:
        np.testing.assert_array_equal(after.column(name), before.column(name))
    assert not [p.name for p in store.parent.iterdir() if p.name.startswith(".")]


def test_damage_to_a_view_is_repaired(store: Path, made: tuple[Path, Path]) -> None:
    expected = chgdb.open(store).view()["bulk_modulus"].copy()
    chunk = store / "view/properties/bulk_modulus/c/0"
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 0xFF
    chunk.write_bytes(bytes(data))
    np.testing.assert_array_equal(chgdb.open(store).view()["bulk_modulus"], expected)
    assert not verify(store).ok


def test_search_by_prediction(store: Path) -> None:
    catalog = chgdb.open(store)
    view = catalog.view()
    wanted = np.array(catalog.ids)[(view["bulk_modulus"] >= 100) & (view["band_gap"] <= 0.5)]
    assert catalog.search(predicted={"bulk_modulus": (100, None), "band_gap": (None, 0.5)}) == wanted.tolist()
    assert 0 < len(wanted) < len(catalog)
    with pytest.raises(StoreError, match="no prediction of 'colour'; there are band_gap, bulk_modulus"):
        catalog.search(predicted={"colour": (0, None)})
    with pytest.raises(StoreError, match="has no 'colour'; there are"):
        view["colour"]


def test_a_view_of_another_version_of_the_model_is_noticed(store: Path, made: tuple[Path, Path]) -> None:
    catalog = chgdb.open(store)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert views.view(catalog, folder=made[1]).stale == ""
    other = store.parent / "other"
    shutil.copytree(made[1], other)
    make_other = views.load_model("magpie", other)
    make_other.calibration["band_gap"] = make_other.calibration["bulk_modulus"]
    make_other.save(other / "magpie", {"scores": {}})
    with pytest.warns(views.StaleViewWarning, match=r"was made by the model magpie-\w+, but magpie-\w+ is installed"):
        views.view(catalog, folder=other)


def test_a_view_is_replaced_by_a_newer_one(store: Path, made: tuple[Path, Path]) -> None:
    first = chgdb.open(store).info()["stored_bytes"]
    views.add_predictions(store, model="magpie", folder=made[1], workers=1)
    assert chgdb.open(store).info()["stored_bytes"] == first
    assert verify(store).ok


def test_what_cannot_be_written(store: Path, made: tuple[Path, Path], tmp_path: Path) -> None:
    model = views.load_model("magpie", made[1])
    catalog = chgdb.open(store)
    from chgdb.models import rows

    some = rows.from_catalog(catalog, model.inputs, ids=catalog.ids[:5], workers=1)
    with pytest.raises(StoreError, match="has changed since its properties were predicted"):
        views.write(store, some.ids, model.predict(some), model)
    with pytest.raises(StoreError, match="there is none"):
        views.write(tmp_path / "nothing", some.ids, model.predict(some), model)
    with pytest.raises(ModelError, match="no property model"):
        views.add_predictions(store, model="gnn")
    assert Store(locate(store)).find(catalog.ids[0]) is not None
    with pytest.raises(UnknownMaterialError):
        catalog["nothing"]
