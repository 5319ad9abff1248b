"""Charges of atoms that a store keeps: of its own densities, with their materials, and read by plain xarray."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray

import chgdb
from chgdb import Crystal, Density, charging, curation
from chgdb.charged import ChargeView, methods, stale_rows
from chgdb.errors import DensityError, StoreError, UnknownMaterialError
from chgdb.extraction import extract
from chgdb.store.reader import Store
from chgdb.store.table import from_store
from chgdb.store.transaction import writing
from chgdb.store.writer import write_table
from chgdb.verification import verify

#: NaCl, silicon, MgO and a quartz of nine atoms: rows of different lengths.
IDS = ["mp-22862", "mp-149", "mp-1265", "mp-7000"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of some materials of the catalog, with their charges."""
    out = tmp_path_factory.mktemp("charges") / "few.zarr"
    extract(chgdb.open(), IDS, out, predictions=True)
    charging.add_charges(out, ["voronoi"], workers=1)  # in place of the catalog's own
    report = charging.add_charges(out, workers=1)
    assert report.divided == tuple(IDS)
    assert report.refused == ()
    return out


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "few.zarr"))


def test_they_are_those_of_the_densities(made: Path) -> None:
    catalog = chgdb.open(made)
    view = catalog.view("charges")
    assert isinstance(view, ChargeView)
    assert sorted(view) == ["bader", "hirshfeld"]
    assert repr(view) == f"<chgdb.ChargeView of {made}: bader, hirshfeld; net charges in steps of 0.001 e>"
    for method in view:
        expected = [catalog[i].charges(method).net for i in IDS]
        np.testing.assert_allclose(view[method], np.concatenate(expected), rtol=0, atol=0.00051)
        for material_id, net in zip(IDS, expected, strict=True):
            np.testing.assert_allclose(catalog[material_id].net_charges[method], net, rtol=0, atol=0.00051)
            assert abs(view.of(material_id)[method].sum()) < 0.0006 * len(net)
    assert view.of("mp-22862")["bader"].tolist() == [0.863, -0.863]
    assert view.remarks("mp-22862") == ("near the nuclei, free atoms turn it into a density of all electrons",)
    assert verify(made).ok


def test_plain_xarray_sees_them_and_what_they_are(made: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of xarray and zarr about consolidated metadata
        dataset = xarray.open_zarr(made, group="view/charges")
    assert dataset["bader"].dims == ("atom",)
    first = int(dataset["n_atoms"][:3].sum())
    np.testing.assert_allclose(dataset["bader"][first:], chgdb.open(made).view("charges").of("mp-7000")["bader"])
    about = dataset["bader"].attrs
    assert about["units"] == "e"
    assert "weight method" in about["method"]
    assert "free atoms" in about["reference"]
    assert "pseudo-density" in about["limits"]
    named = chgdb.open(made).view("charges").to_xarray()
    assert int(named["n_atoms"].sel(material="mp-7000")) == 9


def test_they_are_kept_with_their_materials(store: Path, tmp_path: Path) -> None:
    before = {i: chgdb.open(store)[i].net_charges["bader"].tolist() for i in IDS}

    def check(place: Path, names: dict[str, str]) -> None:
        catalog = chgdb.open(place)
        assert {i: catalog[i].net_charges["bader"].tolist() for i in names} == {i: before[n] for i, n in names.items()}
        assert len(catalog.view("charges")["hirshfeld"]) == sum(len(before[name]) for name in names.values())

    one, two = tmp_path / "one.zarr", tmp_path / "two.zarr"
    extract(chgdb.open(store), ["mp-7000", "mp-22862"], one, predictions=True)
    check(one, {"mp-7000": "mp-7000", "mp-22862": "mp-22862"})
    extract(chgdb.open(store), ["mp-1265", "mp-149"], two, predictions=True)
    report = curation.merge(tmp_path / "both.zarr", [two, one])
    assert report.notes == ()
    check(tmp_path / "both.zarr", dict(zip(*[["mp-1265", "mp-149", "mp-7000", "mp-22862"]] * 2, strict=True)))
    curation.remove(store, ["mp-149"])
    check(store, {i: i for i in IDS if i != "mp-149"})
    curation.rename(store, {"mp-7000": "quartz"})
    check(store, {"mp-22862": "mp-22862", "mp-1265": "mp-1265", "quartz": "mp-7000"})
    assert charging.add_charges(store, workers=1).divided == ()


def test_stores_without_them_in_common_are_merged_without(store: Path, tmp_path: Path) -> None:
    extract(chgdb.open(), ["mp-406"], tmp_path / "other.zarr", predictions=True)
    charging.add_charges(tmp_path / "other.zarr", ["voronoi"], workers=1)  # in place of the catalog's own
    report = curation.merge(tmp_path / "both.zarr", [store, tmp_path / "other.zarr"])
    assert any("charging.add_charges" in note for note in report.notes)
    assert chgdb.open(tmp_path / "both.zarr")["mp-149"].net_charges == {}


def with_other_density(store: Path) -> None:
    """The same store, but silicon's density is another one and its charges have stayed."""
    with writing(store) as transaction:
        table = from_store(chgdb.open(store).store, keep_views=True)
        row = IDS.index("mp-149")
        table.columns["source_crc32c"] = table.columns["source_crc32c"].copy()
        table.columns["source_crc32c"][row] += 1
        with transaction.version() as folder:
            write_table(folder, table)


def test_charges_of_another_density_are_refused_and_made_anew(store: Path) -> None:
    with_other_density(store)
    catalog = chgdb.open(store)
    assert stale_rows(catalog.store).tolist() == [False, True, False, False]
    assert catalog["mp-22862"].net_charges["bader"].tolist() == [0.863, -0.863]
    for ask in (
        lambda: catalog["mp-149"].net_charges,
        lambda: catalog.view("charges")["bader"],
        lambda: catalog.view("charges").to_xarray(),
    ):
        with pytest.raises(StoreError, match="of another density of mp-149 than the one that it holds: make them anew"):
            ask()
    assert charging.add_charges(store, workers=1).divided == ("mp-149",)
    assert abs(chgdb.open(store)["mp-149"].net_charges["bader"]).max() < 1e-3


def test_it_goes_on_after_an_interruption(made: Path, tmp_path: Path) -> None:
    place = tmp_path / "few.zarr"
    extract(chgdb.open(made), IDS, place)
    seen: list[str] = []

    def stop(done: int, total: int, material_id: str) -> None:
        seen.append(material_id)
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        charging.add_charges(place, workers=1, progress=stop)
    assert chgdb.open(place)["mp-149"].net_charges == {}
    rest: list[str] = []
    charging.add_charges(place, workers=1, progress=lambda done, total, material_id: rest.append(material_id))
    assert rest == IDS[2:]
    theirs, ours = chgdb.open(made).view("charges"), chgdb.open(place).view("charges")
    np.testing.assert_array_equal(theirs["bader"], ours["bader"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["few.zarr"]


def test_methods_of_ones_own_and_what_cannot_be_divided(tmp_path: Path) -> None:
    place = tmp_path / "own.zarr"
    cell = np.eye(3) * 4.0
    values = 1 + 0.5 * np.cos(2 * np.pi * np.arange(16) / 16)
    density = Density(
        Crystal(cell, np.zeros((1, 3)), np.array([26])), {"total": values[:, None, None] * np.full((1, 16, 16), 0.2)}
    )
    chgdb.write(tmp_path / "odd.npz", density)
    chgdb.write(tmp_path / "NaCl.npz", chgdb.open()["mp-22862"].density)
    assert chgdb.build(place, [tmp_path / "odd.npz", tmp_path / "NaCl.npz"], workers=1).complete
    with pytest.raises(DensityError, match="'mulliken' is no method"):
        charging.add_charges(place, ["mulliken"])
    report = charging.add_charges(place, ["voronoi"], workers=1)
    assert [material_id for material_id, _ in report.refused] == ["odd"]
    catalog = chgdb.open(place)
    assert methods(catalog.store) == ("voronoi",)
    assert np.isnan(catalog["odd"].net_charges["voronoi"]).all()
    assert abs(catalog["NaCl"].net_charges["voronoi"].sum()) < 1e-3
    with pytest.raises(StoreError, match="not by 'bader'; there are voronoi"):
        catalog.view("charges")["bader"]
    with pytest.raises(UnknownMaterialError):
        catalog.view("charges").of("mp-1")


def test_a_store_without_them_says_so(tmp_path: Path) -> None:
    extract(chgdb.open(), ["mp-149"], tmp_path / "one.zarr")
    catalog = chgdb.open(tmp_path / "one.zarr")
    assert catalog["mp-149"].net_charges == {}
    with pytest.raises(StoreError, match=r"has no view 'charges': make it with chgdb\.charging\.add_charges"):
        catalog.view("charges")
    with pytest.raises(StoreError, match="written into a store in a folder"):
        charging.add_charges(tmp_path / "none.zarr")


def test_predictions_and_latents_stay(store: Path, made: Path) -> None:
    whole = chgdb.open()
    rows = [whole.ids.index(i) for i in IDS]
    np.testing.assert_array_equal(chgdb.open(made).view()["bulk_modulus"], whole.view()["bulk_modulus"][rows])
    np.testing.assert_array_equal(chgdb.open(made).latents(), whole.latents(IDS))
    assert Store(chgdb.open(made).store.files).format_version == whole.format_version
