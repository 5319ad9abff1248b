"""Stores put together, cut down, renamed and added to: nothing of a record changes, and nothing is lost."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from materials import COLUMNS, IDS, contents, load, load_changed, same, written_by_another

import chgdb
from chgdb.catalog import Catalog
from chgdb.curation import add_columns, merge, remove, rename
from chgdb.errors import ChgdbError, FormatError, StoreError, UnknownMaterialError
from chgdb.extraction import extract
from chgdb.ingest import build_from
from chgdb.verification import verify

#: Where a record lies is the store's own business.
PLACES = {"payload_offset", "atom_offset"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store of twelve materials."""
    folder = tmp_path_factory.mktemp("stores")
    build_from(
        folder / "all.zarr", IDS, load, columns=COLUMNS, attributes={"title": "made up"}, workers=1, prior="fit",
        tolerance=1e-2,
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def whole(made: Path) -> Catalog:
    return chgdb.open(made / "all.zarr")


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """A store that a test may change."""
    return Path(shutil.copytree(made / "all.zarr", tmp_path / "copy.zarr"))


def part(whole: Catalog, ids: list[str], out: Path) -> Path:
    extract(whole, ids, out)
    return out


def check_same(new: Catalog, old: Catalog, names: dict[str, str] | None = None) -> None:
    """Every record of `new` is that of `old`, its columns too; names: new id -> old id."""
    for record in new:
        before = old[(names or {}).get(record.material_id, record.material_id)]
        assert record.payload == before.payload
        assert same(record.density, before.density)
        for name, value in before.metadata.items():
            if name not in PLACES | {"material_id"}:
                np.testing.assert_equal(record.metadata[name], value, err_msg=name)
    assert verify(new.path, deep=True).ok


def operations(store: Path) -> list[str]:
    return [entry["operation"] for entry in chgdb.open(store).attributes["lineage"]]


def test_parts_put_together_are_the_whole(whole: Catalog, tmp_path: Path) -> None:
    parts = [part(whole, ids, tmp_path / f"{ids[0]}.zarr") for ids in (IDS[5:], IDS[:3], IDS[3:6])]
    report = merge(tmp_path / "out.zarr", parts)
    new = chgdb.open(tmp_path / "out.zarr")
    assert new.ids == [*IDS[5:], *IDS[:5]]
    assert (report.n_materials, report.shared, report.notes) == (12, ("mat-5",), ())
    check_same(new, whole)
    assert new.columns == whole.columns
    assert new.attributes["title"] == "made up"
    sources = new.attributes["lineage"][-1]["sources"]
    assert [source["n_materials"] for source in sources] == [7, 3, 3]
    assert sources[0]["attributes"]["extracted_from"] == whole.path


def test_a_prior_that_records_need_goes_with_them(tmp_path: Path) -> None:
    catalog = chgdb.open()
    parts = [part(catalog, [material_id], tmp_path / f"{material_id}.zarr") for material_id in ("mp-149", "mp-22862")]
    merge(tmp_path / "out.zarr", parts)
    new = chgdb.open(tmp_path / "out.zarr")
    assert new.prior is not None
    for material_id in new.ids:
        np.testing.assert_array_equal(new[material_id].density.total, catalog[material_id].density.total)


def test_a_store_takes_others_in(whole: Catalog, tmp_path: Path) -> None:
    first, second = part(whole, IDS[:2], tmp_path / "a.zarr"), part(whole, IDS[2:4], tmp_path / "b.zarr")
    merge(first, [first, second])
    assert chgdb.open(first).ids == IDS[:4]
    with pytest.raises(StoreError, match=r"b\.zarr exists already"):
        merge(second, [first])
    merge(second, [first], replace=True)
    assert chgdb.open(second).ids == IDS[:4]


@pytest.fixture
def contradicting(whole: Catalog, tmp_path: Path) -> tuple[Path, Path]:
    """Two stores with another density of one material, one with a column more."""
    first = part(whole, ["mat-1", "mat-2"], tmp_path / "first.zarr")
    second = tmp_path / "second.zarr"
    build_from(second, ["mat-2", "mat-3"], load_changed, columns=COLUMNS, workers=1, prior=None, tolerance=1e-2)
    return first, second


def test_contradicting_densities(contradicting: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out.zarr"
    before = contents(tmp_path)
    with pytest.raises(StoreError, match=r"mat-2 in .*second\.zarr has another density"):
        merge(out, contradicting)
    assert contents(tmp_path) == before
    for choice, store in (("first", contradicting[0]), ("last", contradicting[1])):
        merge(out, contradicting, on_conflict=choice, replace=True)  # type: ignore[arg-type]
        assert chgdb.open(out).ids == ["mat-1", "mat-2", "mat-3"]
        assert chgdb.open(out)["mat-2"].payload == chgdb.open(store)["mat-2"].payload
        assert verify(out, deep=True).ok
    with pytest.raises(StoreError, match="expected 'refuse', 'first' or 'last'"):
        merge(out, contradicting, on_conflict="newest")  # type: ignore[arg-type]


def test_values_of_one_record_complete_each_other(whole: Catalog, tmp_path: Path) -> None:
    first, second = (part(whole, ["mat-4", "mat-5"], tmp_path / name) for name in ("a.zarr", "b.zarr"))
    (tmp_path / "gap.csv").write_text("material_id,band_gap_eV\nmat-5,2.25\n")
    (tmp_path / "new.csv").write_text("material_id,hardness_GPa\nmat-4,7\n")
    add_columns(first, tmp_path / "new.csv")
    add_columns(second, tmp_path / "gap.csv")
    for order in ([first, second], [second, first]):
        merge(tmp_path / "out.zarr", order, replace=True)
        new = chgdb.open(tmp_path / "out.zarr")
        assert new["mat-5"].metadata["band_gap"] == 2.25
        assert new["mat-4"].metadata["hardness"] == 7
        assert np.isnan(new["mat-5"].metadata["hardness"])
    (tmp_path / "gap.csv").write_text("material_id,band_gap_eV\nmat-5,3\n")
    add_columns(first, tmp_path / "gap.csv")
    with pytest.raises(StoreError, match=r"band_gap of mat-5 is 2\.25 in .*b\.zarr and 3\.0 in the stores before it"):
        merge(tmp_path / "out.zarr", [first, second], replace=True)
    merge(tmp_path / "out.zarr", [first, second], replace=True, on_conflict="first")
    assert chgdb.open(tmp_path / "out.zarr")["mat-5"].metadata["band_gap"] == 3


def test_units_that_differ_are_refused(whole: Catalog, tmp_path: Path) -> None:
    first, second = part(whole, IDS[:2], tmp_path / "a.zarr"), part(whole, IDS[2:4], tmp_path / "b.zarr")
    (tmp_path / "a.csv").write_text("material_id,melting_point_K\nmat-0,1700\n")
    (tmp_path / "b.csv").write_text("material_id,melting_point_eV\nmat-2,0.1\n")
    add_columns(first, tmp_path / "a.csv")
    add_columns(second, tmp_path / "b.csv")
    with pytest.raises(StoreError, match=r"melting_point is float64 in K .* eV"):
        merge(tmp_path / "out.zarr", [first, second])
    assert not (tmp_path / "out.zarr").exists()


def test_each_material_keeps_its_licence(tmp_path: Path) -> None:
    for name, ids, licence in (("a", IDS[:1], "CC0"), ("b", IDS[1:2], "CC BY 4.0")):
        build_from(tmp_path / f"{name}.zarr", ids, load, attributes={"licence": licence}, workers=1, prior=None)
    merge(tmp_path / "out.zarr", [tmp_path / "a.zarr", tmp_path / "b.zarr"], attributes={"title": "both"})
    new = chgdb.open(tmp_path / "out.zarr")
    assert (new.attributes["licence"], new.attributes["title"]) == ("CC0; CC BY 4.0", "both")
    assert new.column("licence").tolist() == ["CC0", "CC BY 4.0"]


def test_removed_materials_are_gone_and_the_others_stay(copy: Path, whole: Catalog) -> None:
    assert remove(copy, ["mat-3", "mat-0", "mat-3"]) == ("mat-3", "mat-0")
    new = chgdb.open(copy)
    assert new.ids == [i for i in IDS if i not in ("mat-0", "mat-3")]
    check_same(new, whole)
    assert new.attributes["lineage"] == [{"operation": "remove", "n_materials": 2, "materials": ["mat-3", "mat-0"]}]


def test_names_change_and_nothing_else(copy: Path, whole: Catalog) -> None:
    changes = {"mat-1": "mp-1", "mat-4": "mat-2", "mat-2": "mat-4", "mat-6": "mat-6"}
    assert rename(copy, changes) == (("mat-1", "mp-1"), ("mat-4", "mat-2"), ("mat-2", "mat-4"))
    new = chgdb.open(copy)
    assert new.ids == [changes.get(i, i) for i in IDS]
    check_same(new, whole, {new_id: old for old, new_id in changes.items()})
    assert operations(copy) == ["rename"]


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (lambda store: remove(store, ["mat-1", "mat-x"]), UnknownMaterialError, "no material 'mat-x'"),
        (lambda store: remove(store, IDS), StoreError, "no material would be left"),
        (lambda store: rename(store, {"mat-x": "a"}), UnknownMaterialError, "no material 'mat-x'"),
        (lambda store: rename(store, {"mat-1": "mat-2"}), StoreError, "mat-2 is the id of another material"),
        (lambda store: rename(store, {"mat-1": "a", "mat-2": "a"}), StoreError, "a is the id of another material"),
        (lambda store: rename(store, {"mat-1": "../out"}), StoreError, "cannot be a material id"),
        (lambda store: merge(store.parent / "o.zarr", []), StoreError, "name the stores"),
        (lambda store: merge(store.parent / "o.zarr", [store, "none.zarr"]), StoreError, r"none\.zarr"),
    ],
)
def test_mistakes_change_nothing(copy: Path, change: Any, error: type[ChgdbError], said: str) -> None:
    before = contents(copy.parent)
    with pytest.raises(error, match=said):
        change(copy)
    assert contents(copy.parent) == before


def test_where_there_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("material_id,a\nmat-1,2\n")
    for change in (
        lambda: remove(tmp_path / "no.zarr", ["a"]),
        lambda: rename(tmp_path / "no.zarr", {"a": "b"}),
        lambda: add_columns(tmp_path / "no.zarr", tmp_path / "c.csv"),
    ):
        with pytest.raises(StoreError, match=r"no\.zarr: there is no store"):
            change()
    assert [path.name for path in tmp_path.iterdir()] == ["c.csv"]


def test_columns_are_added_and_records_are_not_touched(copy: Path, whole: Catalog, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("id;melting_point [K];tested\nmat-1;1687,5;yes\nmat-11;12;no\nother;1;\n")
    report = add_columns(copy, table)
    assert report.columns == ("melting_point", "tested")
    assert report.updated == ("mat-1", "mat-11")
    assert any("2 of 3 rows" in note for note in report.notes)
    new = chgdb.open(copy)
    assert new.columns["melting_point"]["units"] == "K"
    assert new["mat-1"].metadata["melting_point"] == 1687.5
    check_same(new, whole)
    assert new.attributes["lineage"] == [
        {"operation": "add columns", "columns": ["melting_point", "tested"], "source": "t.csv"}
    ]
    before = contents(copy)
    assert add_columns(copy, table).updated == ()
    table.write_text("id,melting_point_K\nmat-1,3\n")
    with pytest.raises(StoreError, match=r"melting_point of mat-1 is 1687\.5"):
        add_columns(copy, table)
    table.write_text("id,melting_point_K\nother,3\n")
    with pytest.raises(StoreError, match="no row has the id of a material"):
        add_columns(copy, table)
    table.write_text("id\n")
    with pytest.raises(FormatError):
        add_columns(copy, table)
    assert contents(copy) == before
    table.write_text("id,melting_point_K\nmat-1,3\n")
    assert add_columns(copy, table, replace=True).updated == ("mat-1",)


def test_only_one_writes_at_a_time(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("material_id,a\nmat-1,2\n")
    with written_by_another(copy):
        for change in (
            lambda: remove(copy, ["mat-1"]),
            lambda: rename(copy, {"mat-1": "a"}),
            lambda: merge(copy, [copy]),
            lambda: add_columns(copy, tmp_path / "c.csv"),
        ):
            with pytest.raises(StoreError, match="another command is writing to it"):
                change()
    assert chgdb.open(copy).ids == IDS


def test_latents_and_predictions_go_with_their_materials(tmp_path: Path) -> None:
    catalog = chgdb.open()
    first, second = ["mp-149", "mp-2534"], ["mp-13", "mp-22862"]
    for name, ids in (("a.zarr", first), ("b.zarr", second)):
        extract(catalog, ids, tmp_path / name, predictions=True)
    report = merge(tmp_path / "out.zarr", [tmp_path / "a.zarr", tmp_path / "b.zarr"])
    assert report.notes == ()
    rename(tmp_path / "out.zarr", {"mp-2534": "gallium-arsenide"})
    remove(tmp_path / "out.zarr", ["mp-149"])
    new, ids = chgdb.open(tmp_path / "out.zarr"), ["mp-2534", *second]
    assert new.ids == ["gallium-arsenide", *second]
    rows = [catalog.ids.index(material_id) for material_id in ids]
    before, after = catalog.view("properties"), new.view("properties")
    assert list(after) == list(before)
    for name in before:
        np.testing.assert_array_equal(after[name], before[name][rows], err_msg=name)
    assert after.attributes("bulk_modulus") == before.attributes("bulk_modulus")
    assert after.to_xarray().indexes["material"].tolist() == new.ids
    np.testing.assert_array_equal(new.latents(), catalog.latents(ids))
    assert verify(new.path, deep=True).ok
    extract(catalog, first, tmp_path / "bare.zarr")
    report = merge(tmp_path / "mixed.zarr", [tmp_path / "bare.zarr", tmp_path / "b.zarr"])
    told = " ".join(report.notes)
    assert "predictions properties" in told
    assert "charges of atoms" in told
    assert not any(name.startswith("view") for name in chgdb.open(tmp_path / "mixed.zarr").store.arrays)
