"""`chgdb.build`: what it does to a store beside packing densities, and what it says before anything long starts."""

from __future__ import annotations

from pathlib import Path

import pytest
from materials import density

import chgdb
from chgdb import building
from chgdb.errors import DensityError, FormatError, StoreError
from chgdb.verification import verify


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for material_id in ("mat-1", "mat-2", "mat-4"):
        (tmp_path / "runs" / material_id).mkdir(parents=True)
        chgdb.write(tmp_path / "runs" / material_id / "CHGCAR", density(material_id))
    return tmp_path / "runs"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "p.csv"
    path.write_text("material_id;gap_eV;phase;metal\nmat-2;1,5;007;true\nmat-4;2,25;012;NA\n")
    return path


def test_properties_alone_add_columns_and_leave_the_rest(runs: Path, table: Path, tmp_path: Path) -> None:
    out = tmp_path / "s.zarr"
    chgdb.build(out, runs, workers=1, tolerance=1e-3)
    before = {record.material_id: (record.payload, record.extras) for record in chgdb.open(out)}
    report = chgdb.build(out, properties=table)
    assert (report.updated, report.added, report.skipped) == (("mat-2", "mat-4"), (), ())
    catalog = chgdb.open(out)
    assert {record.material_id: (record.payload, record.extras) for record in catalog} == before
    assert catalog.search(gap=(2, 3)) == ["mat-4"]
    assert catalog.search(phase="007", metal="yes") == ["mat-2"]
    assert catalog.columns["gap"]["units"] == "eV"
    assert verify(out, deep=True, originals=runs).ok
    assert chgdb.build(out, properties=table).updated == ()
    # The same as if they had been there from the beginning.
    chgdb.build(tmp_path / "t.zarr", runs, properties=table, workers=1, tolerance=1e-3)
    other = chgdb.open(tmp_path / "t.zarr")
    for name in ("gap", "phase", "metal"):
        assert catalog.columns[name] == other.columns[name]
        assert list(map(str, catalog.column(name))) == list(map(str, other.column(name)))


def test_values_are_replaced_only_when_asked(runs: Path, table: Path, tmp_path: Path) -> None:
    out = tmp_path / "s.zarr"
    chgdb.build(out, runs, properties=table, workers=1, tolerance=0)
    table.write_text("material_id,gap_eV\nmat-1,9\nmat-2,1.75\n")
    for inputs in (None, runs):
        with pytest.raises(StoreError, match=r"gap of mat-2 is 1\.5 in .*s\.zarr and 1\.75 in what is added"):
            chgdb.build(out, inputs, properties=table, workers=1, tolerance=0)
    assert chgdb.open(out).search(gap=(9, 9)) == []
    report = chgdb.build(out, properties=table, on_duplicate="replace")
    assert report.updated == ("mat-1", "mat-2")
    assert chgdb.open(out).search(gap=(1.6, None)) == ["mat-1", "mat-2", "mat-4"]
    table.write_text("material_id,gap_meV\nmat-1,9000\n")
    with pytest.raises(StoreError, match=r"column gap is .* in eV in the store"):
        chgdb.build(out, properties=table)


def test_a_later_table_reaches_what_is_skipped(runs: Path, table: Path, tmp_path: Path) -> None:
    out = tmp_path / "s.zarr"
    chgdb.build(out, runs / "mat-2", workers=1, tolerance=0)
    report = chgdb.build(out, runs, properties=table, workers=1, tolerance=0)
    assert (report.updated, report.skipped, report.added) == (("mat-2",), ("mat-2",), ("mat-1", "mat-4"))
    assert chgdb.open(out).search(gap=(1, 3)) == ["mat-2", "mat-4"]


def test_mistakes_are_said_first(runs: Path, table: Path, tmp_path: Path) -> None:
    out = tmp_path / "s.zarr"
    with pytest.raises(StoreError, match="no Dask scheduler at foo: an address is one such as tcp://host:8786"):
        chgdb.build(out, runs, scheduler="foo")
    with pytest.raises(DensityError, match="'Quartz' names no element"):
        chgdb.build(out, runs, elements=["O", "Quartz"])
    with pytest.raises(StoreError, match="one of the inputs is empty"):
        chgdb.build(out, "")
    with pytest.raises(StoreError, match="nothing to do"):
        chgdb.build(out)
    with pytest.raises(StoreError, match="no store to add to"):
        chgdb.build(out, properties=table)
    with pytest.raises(StoreError, match="the template"):
        chgdb.build(out, runs, id_from="{folder}")
    with pytest.raises(FormatError, match=r"none\.csv"):
        chgdb.build(out, runs, properties="none.csv")
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "custodian.json").write_text("[]")
    with pytest.raises(StoreError, match=r"custodian\.json: no density in what was found"):
        chgdb.build(out, tmp_path / "meta", workers=1)
    assert not out.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["meta", "p.csv", "runs"]


def test_predictions_are_kept_made_or_left_out(runs: Path, table: Path, tmp_path: Path) -> None:
    out = tmp_path / "s.zarr"
    chgdb.build(out, runs / "mat-1", workers=1)
    assert not building.has_predictions(out)
    made = chgdb.build(out, predictions=True, workers=1).predictions
    values = chgdb.open(out).view()["bulk_modulus"]
    table.write_text("material_id,gap_eV\nmat-1,1.5\n")
    assert chgdb.build(out, properties=table).predictions == ""
    assert chgdb.open(out).search(gap=(1, 2)) == ["mat-1"]
    assert chgdb.open(out).view()["bulk_modulus"].tolist() == values.tolist()
    assert verify(out).ok
    assert chgdb.build(out, runs / "mat-2", workers=1).predictions == made
    assert len(chgdb.open(out).view()["bulk_modulus"]) == 2
    assert chgdb.build(out, runs / "mat-4", workers=1, predictions=False).predictions == ""
    assert not building.has_predictions(out)
