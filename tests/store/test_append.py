"""Appending to large stores: what does not change is linked, and the result is what writing everything would give."""

from __future__ import annotations

import os
import random
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import test_ingest
from materials import COLUMNS, IDS, contents, load
from synthetic import synthetic

import chgdb
from chgdb.errors import ChecksumError, StoreError
from chgdb.ingest import build_from
from chgdb.store import append as store_append
from chgdb.store import writer as store_layout
from chgdb.store.append import CannotLink, append_table, can_append
from chgdb.store.files import FolderFiles
from chgdb.store.format import ColumnType
from chgdb.store.reader import Store
from chgdb.store.table import Table, from_store, merge
from chgdb.store.writer import write_table
from chgdb.verification import verify

ROWS, CHUNK = 530, 256


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks and shards so small that a store of some hundred materials has several of each."""
    sizes = {
        "CHUNK_ROWS": CHUNK,
        "ATOM_ROWS": 1000,
        "FACTS_ROWS": 100,
        "FACTS_WHOLE": 300,
        "LOOKUP_ROWS": 128,
        "SHARD_BYTES": 1 << 16,
    }
    for module in (store_layout, store_append):
        for name, size in sizes.items():
            if hasattr(module, name):
                monkeypatch.setattr(module, name, size)


@pytest.fixture(scope="module")
def records() -> Table:
    return from_store(chgdb.open().store)


def store_of(folder: Path, table: Table) -> Store:
    write_table(folder, table)
    return Store(FolderFiles(folder))


def part(table: Table, start: int, stop: int) -> Table:
    """Some rows of a table, under the ids new-START and so on."""
    counts = table.columns["n_atoms"].astype(int)
    atoms = slice(counts[:start].sum(), counts[:stop].sum())
    columns = {name: values[start:stop].copy() for name, values in table.columns.items()}
    columns["material_id"] = np.array([f"new-{i}" for i in range(start, stop)], object)
    latents = None if table.latents is None else table.latents.take(range(start, stop))
    kept = {name: dict(getattr(table, name)) for name in ("attributes", "priors", "types")}
    return replace(
        table, columns=columns, numbers=table.numbers[atoms], positions=table.positions[atoms],
        records=table.records[start:stop], latents=latents, **kept,
    )  # fmt: skip


def without_latents(table: Table) -> Table:
    table = replace(table, latents=None, types=dict(table.types), columns=dict(table.columns))
    table._tidy()
    return table


@pytest.mark.parametrize("case", ["plain", "aligned", "new column", "constant no more", "another prior", "twice"])
def test_appending_writes_what_writing_everything_would(tmp_path: Path, records: Table, case: str) -> None:
    """To the byte: chunks, metadata, checksums, parity and head."""
    rows = 2 * CHUNK if case == "aligned" else ROWS
    old, new = part(records, 0, rows), without_latents(part(records, rows, rows + 90))
    if case == "new column":
        new.types["note"] = ColumnType("string", "note")
        new.columns["note"] = np.array([f"text {i}" for i in range(90)], object)
    elif case == "constant no more":
        new.columns["code"][7] = "another program"
    elif case == "another prior":
        ((_, arrays),) = records.priors.items()
        new.priors = {7: {name: values.copy() for name, values in arrays.items()}}
        new.attributes["title"] = "another title"
    store = store_of(tmp_path / "old.zarr", old)
    assert can_append(store, new)
    before = contents(tmp_path / "old.zarr")
    append_table(tmp_path / "new.zarr", store, new)
    whole = merge(from_store(store), new)
    if case == "twice":
        more = without_latents(part(records, rows + 90, rows + 200))
        append_table(tmp_path / "newer.zarr", Store(FolderFiles(tmp_path / "new.zarr")), more)
        os.rename(tmp_path / "new.zarr", tmp_path / "first.zarr")
        os.rename(tmp_path / "newer.zarr", tmp_path / "new.zarr")
        whole = merge(whole, more)
    write_table(tmp_path / "whole.zarr", whole)
    made, expected = contents(tmp_path / "new.zarr"), contents(tmp_path / "whole.zarr")
    assert sorted(made) == sorted(expected)
    assert [key for key in expected if made[key] != expected[key]] == []
    assert contents(tmp_path / "old.zarr") == before
    assert verify(tmp_path / "new.zarr").ok
    shared = [p for p in (tmp_path / "new.zarr").rglob("*") if p.is_file() and p.stat().st_nlink > 1]
    assert sum(p.stat().st_size for p in shared) > 0.5 * sum(map(len, before.values()))


def test_a_build_links_and_drops_the_old_version(tmp_path: Path, records: Table) -> None:
    out, density = tmp_path / "s.zarr", chgdb.open()["mp-149"].density
    store_of(out, part(records, 0, ROWS))
    kept = (out / "payload" / "c" / "0").stat().st_ino

    def load(material_id: str) -> tuple[chgdb.Density, dict]:
        return density, {"space_group": 227}

    report = build_from(out, ["a", "b"], load, workers=1)
    assert report.added == ("a", "b")
    assert (out / "payload" / "c" / "0").stat().st_ino == kept
    assert (out / "payload" / "c" / "0").stat().st_nlink == 1  # the old version is gone
    catalog = chgdb.open(out)
    assert len(catalog) == ROWS + 2
    assert catalog["a"].density.n_electrons == pytest.approx(density.n_electrons)
    assert catalog.latent_model == chgdb.open().latent_model
    assert verify(out, deep=True).ok
    report = build_from(out, ["b", "c"], load, workers=1, on_duplicate="replace")  # not an append
    assert (report.added, report.replaced) == (("c",), ("b",))
    assert verify(out).ok


def test_where_links_cannot_be_made_files_are_copied(tmp_path: Path, records: Table, monkeypatch) -> None:
    def refused(source: Path, target: Path) -> None:
        if os.fspath(source).endswith(".partial"):  # zarr's own
            return made(source, target)
        raise PermissionError(1, "Operation not permitted")

    made = os.link

    store = store_of(tmp_path / "old.zarr", part(records, 0, ROWS))
    new = without_latents(part(records, ROWS, ROWS + 5))
    append_table(tmp_path / "linked.zarr", store, new)
    monkeypatch.setattr(os, "link", refused)
    append_table(tmp_path / "copied.zarr", store, new)
    assert contents(tmp_path / "copied.zarr") == contents(tmp_path / "linked.zarr")


def test_damage_is_neither_hidden_nor_spread(tmp_path: Path, records: Table) -> None:
    """A damaged chunk that is linked stays one that is detected, and repaired where it could be before."""
    out, density = tmp_path / "s.zarr", chgdb.open()["mp-149"].density
    store_of(out, part(records, 0, ROWS))
    chunk, last = out / "volume" / "c" / "0", out / "volume" / "c" / str(ROWS // CHUNK)
    originals = chgdb.open(out).column("volume")
    for path in (chunk,):
        data = bytearray(path.read_bytes())
        data[40] ^= 0xFF
        path.write_bytes(data)
    build_from(out, ["a"], lambda i: (density, {"space_group": 227}), workers=1)
    assert [problem.where for problem in verify(out).problems] == ["volume/c/0"]
    assert np.array_equal(chgdb.open(out).column("volume")[:ROWS], originals)  # from the parity
    # Two damaged files are beyond repair. Where one of them has to be read, nothing is written.
    for path in (last, out / "nmae" / "c" / str(ROWS // CHUNK)):
        path.write_bytes(path.read_bytes()[:-9])
    before = contents(out)
    with pytest.raises(ChecksumError, match="is damaged or missing"):
        build_from(out, ["b"], lambda i: (density, {"space_group": 227}), workers=1)
    assert contents(out) == before


def test_stores_of_other_layouts_are_written_whole(tmp_path: Path, records: Table, monkeypatch) -> None:
    out, density = tmp_path / "s.zarr", chgdb.open()["mp-149"].density
    with monkeypatch.context() as other:
        other.setattr(store_layout, "CHUNK_ROWS", CHUNK // 2)
        store = store_of(out, part(records, 0, ROWS))
    with pytest.raises(CannotLink, match="laid out in another way"):
        append_table(tmp_path / "new.zarr", store, without_latents(part(records, ROWS, ROWS + 5)))
    shutil.rmtree(tmp_path / "new.zarr")
    (out / "head.bin").unlink()  # as of an early version
    with pytest.raises(CannotLink):
        append_table(tmp_path / "new.zarr", Store(FolderFiles(out)), without_latents(part(records, ROWS, ROWS + 5)))
    assert build_from(out, ["a"], lambda i: (density, {"space_group": 227}), workers=1).complete
    assert Store(FolderFiles(out)).arrays["volume"].chunk_rows == CHUNK
    assert verify(out).ok


def test_what_may_not_be_appended(tmp_path: Path, records: Table) -> None:
    store = store_of(tmp_path / "s.zarr", part(records, 0, ROWS))
    assert not can_append(store, part(records, ROWS - 1, ROWS + 5))  # one is there already
    small = store_of(tmp_path / "small.zarr", part(records, 0, CHUNK - 1))
    assert not can_append(small, part(records, CHUNK, CHUNK + 5))
    new = without_latents(part(records, ROWS, ROWS + 5))
    new.types["band_gap"] = replace(new.types["band_gap"], units="Ry")
    with pytest.raises(StoreError, match="column band_gap is float64 in eV in the store, but float64 in Ry"):
        append_table(tmp_path / "new.zarr", store, new)
    twice = without_latents(part(records, ROWS, ROWS + 5))
    twice.columns["material_id"][1] = twice.columns["material_id"][0]
    with pytest.raises(StoreError, match=f"the ids new-{ROWS} and new-{ROWS} are the same"):
        append_table(tmp_path / "new.zarr", store, twice)


TINY = """
from chgdb.store import append as store_append, writer as store_layout

for module in (store_layout, store_append):
    for name, size in [("CHUNK_ROWS", 2), ("ATOM_ROWS", 4), ("FACTS_ROWS", 1), ("FACTS_WHOLE", 2), ("LOOKUP_ROWS", 2)]:
        if hasattr(module, name):
            setattr(module, name, size)
"""


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks so small that a store of three materials is appended to by links, here and in builds that are killed."""
    for module in (store_layout, store_append):
        for name in ("CHUNK_ROWS", "ATOM_ROWS", "FACTS_ROWS", "FACTS_WHOLE", "LOOKUP_ROWS"):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, getattr(module, name))  # put back at the end
    exec(TINY, {})
    monkeypatch.setattr(test_ingest, "BUILD", TINY + test_ingest.BUILD)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("tried", [3, pytest.param(0, marks=pytest.mark.slow)], ids=["some", "every"])
def test_dying_while_appending(tmp_path: Path, tried: int) -> None:
    """kill -9 at file operations, links among them: the old store or the new is there; the next build ends the same."""
    out = tmp_path / "folder" / "s.zarr"
    out.parent.mkdir()
    build_from(tmp_path / "six.zarr", IDS[:6], load, columns=COLUMNS, tolerance=0, workers=1)
    reference = contents(tmp_path / "six.zarr")
    total = test_ingest.count_steps(out)
    steps = random.Random(0).sample(range(1, total + 1), tried) if tried else range(1, total + 1)
    for step in steps:
        test_ingest.die_and_resume(out, step, reference)


@pytest.mark.slow
def test_appending_at_the_real_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, records: Table) -> None:
    monkeypatch.undo()
    store = Store(FolderFiles(synthetic(tmp_path / "old.zarr", 30_000)))
    new = without_latents(part(records, 0, 1000))
    append_table(tmp_path / "new.zarr", store, new)
    write_table(tmp_path / "whole.zarr", merge(from_store(store), new))
    assert contents(tmp_path / "new.zarr") == contents(tmp_path / "whole.zarr")
