"""The store as its users see it: opened, searched, read, damaged."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import zipfile
from copy import deepcopy
from pathlib import Path

import fsspec
import numpy as np
import pytest
import zarr
from effort import THOROUGH
from materials import COLUMNS, IDS, density, load, same

import chgdb
from chgdb.catalog import Catalog
from chgdb.checksums import crc32c
from chgdb.errors import ChecksumError, ChgdbError, DensityError, StoreError, UnknownMaterialError
from chgdb.ingest import build_from
from chgdb.store import table as store_table
from chgdb.store import writer as store_layout
from chgdb.store.files import FolderFiles
from chgdb.store.format import COLUMNS as STORE_COLUMNS
from chgdb.store.format import FORMAT_VERSION, PARITY, id_hash
from chgdb.store.parity import PARITY_BYTES, add_parity, undo_damage
from chgdb.store.reader import CHECKSUMS, Location, Store, format_checksums, parse_checksums
from chgdb.verification import verify


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of twelve materials; do not change it."""
    out = tmp_path_factory.mktemp("store") / "twelve.zarr"
    attributes = {"title": "Twelve", "licence": "CC0-1.0"}
    report = build_from(out, IDS, load, columns=COLUMNS, attributes=attributes, tolerance=0, prior=None, workers=1)
    assert report.complete
    return out


@pytest.fixture
def copy(path: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(path, tmp_path / "copy.zarr"))


def test_records_are_what_went_in(path: Path) -> None:
    catalog = chgdb.open(path)
    assert len(catalog) == 12
    assert catalog.ids == IDS
    assert [record.material_id for record in catalog] == IDS
    for record in catalog:
        original, metadata = load(record.material_id)
        assert same(record.density, original)
        assert record.density is record.density
        assert record.crystal == original.crystal
        assert record.formula == original.crystal.formula
        assert record.grid == original.grid
        assert record.channels == tuple(original.channels)
        assert record.n_electrons == pytest.approx(original.n_electrons, rel=1e-12)
        assert (record.tolerance, record.nmae, record.max_error) == (0, 0, 0)
        assert record.stored_bytes == len(record.payload) + 4  # and its checksum
        assert record.metadata["bulk_modulus"] == metadata["bulk_modulus"]
        assert record.metadata["label_source"] == metadata["label_source"]
        assert record.metadata["magnetic"] == int(metadata["magnetic"])
        assert record.metadata["cell"] == original.crystal.cell.tolist()
    assert math.isnan(catalog["mat-5"].metadata["band_gap"])


def test_extras_are_put_back(tmp_path: Path) -> None:
    original = density("mat-1")
    from chgdb.formats import read, write

    write(tmp_path / "CHGCAR", original)
    with open(tmp_path / "CHGCAR", "a") as file:
        file.write("augmentation occupancies   1   2\n  0.1000000E+00  0.2000000E+00\n")
        file.write("augmentation occupancies   2   2\n  0.3000000E+00  0.4000000E+00\n")
    with_extras = read(tmp_path / "CHGCAR")
    assert with_extras.extras
    build_from(tmp_path / "s.zarr", ["a"], {"a": (with_extras, {"space_group": 1})}.__getitem__, tolerance=0, workers=1)
    record = chgdb.open(tmp_path / "s.zarr")["a"]
    write(tmp_path / "again", record.density, format="chgcar")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "CHGCAR").read_bytes()
    assert record.stored_bytes == len(record.payload) + len(record.extras) + 4
    assert record.extras


def test_info(path: Path) -> None:
    info = chgdb.open(path).info()
    assert info["path"] == str(path)
    assert (info["n_materials"], info["format_version"]) == (12, 1)
    assert info["stored_bytes"] == sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
    assert info["payload_bytes"] == sum(record.stored_bytes for record in chgdb.open(path))
    assert info["text_bytes"] == sum(chgdb.formats.text_bytes(density(i)) for i in IDS)
    assert (info["title"], info["licence"]) == ("Twelve", "CC0-1.0")


def test_unknown_ids_get_close_matches(path: Path) -> None:
    catalog = chgdb.open(path)
    assert "mat-3" in catalog
    assert "mat-33" not in catalog
    assert 3 not in catalog
    with pytest.raises(UnknownMaterialError, match=r"no material 'mat-33'; close matches: mat-3") as caught:
        catalog["mat-33"]
    assert isinstance(caught.value, KeyError)
    with pytest.raises(UnknownMaterialError, match="among its 12 materials"):
        catalog["zzz"]
    with pytest.raises(UnknownMaterialError, match="close matches: mat-0"):
        catalog[density("mat-0").crystal.formula]
    with pytest.raises(TypeError, match="strings, not by int"):
        catalog[3]  # type: ignore[index]


def test_search(path: Path) -> None:
    catalog = chgdb.open(path)
    by_elements = {i: set(density(i).crystal.symbols) for i in IDS}
    assert catalog.search() == IDS
    assert catalog.search(elements="Li") == [i for i in IDS if "Li" in by_elements[i]]
    for spelling in ("Li,O", "O-Li", "Li O", ["O", "Li"]):
        assert catalog.search(elements=spelling) == [i for i in IDS if by_elements[i] >= {"Li", "O"}] != []
        assert catalog.search(chemical_system=spelling) == [i for i in IDS if by_elements[i] == {"Li", "O"}]
    assert catalog.search(formula="OLi") == catalog.search(formula="Li2O2") == catalog.search(chemical_system="Li-O")
    assert catalog.search(formula="(Li)3(O1)3") == catalog.search(formula="LiO")
    assert catalog.search(space_group=4) == ["mat-3"]
    assert catalog.search(space_group=[4, 6]) == ["mat-3", "mat-5"]
    assert catalog.search(band_gap=(2, 3)) == ["mat-4", "mat-6"]  # both ends; mat-5 has none
    assert catalog.search(band_gap=(None, None)) == [i for i in IDS if i != "mat-5"]
    assert catalog.search(band_gap=1.5) == ["mat-3"]
    assert catalog.search(bulk_modulus=(110, None), magnetic=False) == ["mat-10", "mat-11"]
    assert catalog.search(label_source="table", n_atoms=2) == IDS[1::2]
    assert catalog.search(elements="Fe", space_group=1) == []


@pytest.mark.parametrize(
    ("criteria", "error", "message"),
    [
        ({"bandgap": 1}, StoreError, "no column 'bandgap' .did you mean band_gap"),
        ({"zzz": 1}, StoreError, "there are material_id, formula, .*bulk_modulus"),
        ({"elements": "Lo"}, DensityError, "'Lo' is not a chemical symbol"),
        ({"formula": "quartz"}, DensityError, "'quartz' is not a chemical formula"),
        ({"label_source": (1, 2)}, StoreError, "holds texts"),
        ({"cell": 1.0}, StoreError, "cannot be searched"),
        ({"band_gap": (1, 2, 3)}, StoreError, r"a range for band_gap is \(low, high\)"),
    ],
)
def test_search_errors(path: Path, criteria: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        chgdb.open(path).search(**criteria)


def test_every_column_reads_as_zarr_reads_it(path: Path) -> None:
    """The reader without zarr against zarr itself."""
    store, group = Store(FolderFiles(path)), zarr.open_group(str(path), mode="r")
    assert {n for n, _ in group.arrays()} | {"index/facts", "index/lookup"} == set(store.arrays)
    for name, info in store.arrays.items():
        expected = group[name][...]
        if info.dtype is None:
            assert store.column(name).tolist() == [str(text) for text in expected]
        elif name == "payload":
            records = [store.record_bytes(i, store.find(i))[0] for i in IDS]
            assert b"".join(r + crc32c(r).to_bytes(4, "little") for r in records) == expected.tobytes()
        else:
            np.testing.assert_array_equal(store.column(name), expected)
            assert store.column(name).dtype == expected.dtype


def test_many_chunks_and_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """What a store of 150,000 materials has: several chunks a column, records across the ends of shards."""
    monkeypatch.setattr(store_layout, "CHUNK_ROWS", 5)
    monkeypatch.setattr(store_layout, "INNER_BYTES", 512)
    monkeypatch.setattr(store_layout, "SHARD_BYTES", 2048)
    out = tmp_path / "chunked.zarr"
    build_from(out, IDS, load, columns=COLUMNS, tolerance=0, workers=1)
    assert len(list((out / "payload" / "c").iterdir())) > 5
    assert len(list((out / "band_gap" / "c").iterdir())) == 3
    assert verify(out, deep=True, originals=density).ok
    test_every_column_reads_as_zarr_reads_it(out)
    catalog, plain = chgdb.open(out), chgdb.open(path)
    assert all(same(catalog[i].density, density(i)) for i in IDS)
    assert catalog.search(band_gap=(2, 5)) == plain.search(band_gap=(2, 5))
    assert catalog["mat-7"].metadata["bulk_modulus"] == 107


def test_the_index_finds_every_id_in_a_chunk_or_two(tmp_path: Path) -> None:
    """Ids in a large index: one chunk of it is read for each, next to the ends of a chunk sometimes two."""
    n = 20_000
    ids = [f"mp-{i}" for i in range(n)]
    folder = tmp_path / "large.zarr"
    root = zarr.create_group(str(folder), zarr_format=3)
    columns = {
        "material_id": np.array(ids, object),
        "payload_offset": np.arange(n, dtype=np.uint64) * 7,
        "stored_bytes": np.full(n, 7, np.uint32),
    }
    store_layout.write_lookup(root, store_layout.lookup_table(columns), lambda row: ids[row])
    for name, kind in STORE_COLUMNS.items():
        columns.setdefault(name, store_table.column_values(kind, [None] * n, name))
        store_layout.write_column(root, name, columns[name], kind)
    root.create_array("atom_number", shape=(0,), dtype="uint8", chunks=(1,))
    root.create_array("atom_position", shape=(0, 3), dtype="float64", chunks=(1, 3))
    store_layout.write_payload(root, [], 0)
    root.attrs["chgdb_format"] = FORMAT_VERSION
    with pytest.warns(UserWarning, match="Consolidated"):
        zarr.consolidate_metadata(str(folder))
    store_layout.seal(folder)

    store, loaded = Store(FolderFiles(folder)), []
    for row in range(0, n, 7):
        store._chunks.clear()
        assert store.find(ids[row]) == Location(row, row * 7, 7)
        loaded.append(len(store._chunks))
    assert set(loaded) == {1, 2}
    assert np.mean(loaded) < 1.05
    assert [store.find(f"mp-{i}") for i in range(n, n + 500)] == [None] * 500


def test_hash_of_ids_is_fixed() -> None:
    """Part of the format: a change here makes every store unreadable."""
    assert [f"{id_hash(i):016x}" for i in ("mp-149", "", "Ä")] == [
        "57e6fce9d2639e09",
        "e4a6a0577479b2b4",
        "dc5b03fcf1dec6ca",
    ]


def test_a_cold_lookup_reads_little(path: Path) -> None:
    """Checksums, root metadata, a chunk of the index, facts, the record: five reads, and one for the next record."""
    reads: list[str] = []

    class Counting(FolderFiles):
        def read(self, key: str) -> bytes:
            reads.append(key)
            return super().read(key)

        def read_range(self, key: str, start: int, stop: int, fresh: bool = False) -> bytes:
            reads.append(key)
            return super().read_range(key, start, stop, fresh)

    catalog = Catalog(path)
    catalog._opened = Store(Counting(path))
    assert catalog.store.record_bytes("mat-3", catalog.store.find("mat-3"))
    assert len(reads) == 5
    assert catalog.store.record_bytes("mat-8", catalog.store.find("mat-8"))
    assert len(reads) == 6


def test_reading_imports_nothing_heavy(path: Path) -> None:
    code = (
        "import sys, chgdb; r = chgdb.open(sys.argv[1])['mat-3']; r.density, r.metadata, r.catalog.search(n_atoms=2);"
        "print([m for m in ('zarr', 'xarray', 'pandas', 'scipy', 'spglib', 'asyncio', 'fsspec', 'rich') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_xarray_opens_it_without_chgdb(path: Path) -> None:
    code = """
import sys
sys.modules["chgdb"] = None  # as if it were not installed
import xarray
ds = xarray.open_zarr(sys.argv[1])
assert ds.sizes["material"] == 12, ds.sizes
assert ds.band_gap.attrs == {"units": "eV", "long_name": "band gap"}, ds.band_gap.attrs
assert ds.volume.attrs["units"] == "angstrom^3" and ds.volume.attrs["long_name"]
assert all(v.attrs.get("long_name") for v in ds.variables.values())
row = ds.set_index(material="material_id").sel(material="mat-7")
assert float(row.bulk_modulus) == 107 and str(row.label_source.values) == "table" and str(row.code.values) == "made up"
assert ds.attrs["title"] == "Twelve"
first, count = int(row.atom_offset), int(row.n_atoms)
assert ds.atom_number[first : first + count].values.tolist() == [26, 8]
"""
    done = subprocess.run([sys.executable, "-W", "error", "-I", "-c", code, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_to_xarray(path: Path) -> None:
    dataset = chgdb.open(path).to_xarray()
    assert float(dataset.sel(material="mat-4").band_gap) == 2.0
    assert dataset.cell.shape == (12, 3, 3)
    assert dataset.sel(material=["mat-1", "mat-2"]).volume.shape == (2,)


def test_zip_and_urls(path: Path, tmp_path: Path) -> None:
    flat, nested = tmp_path / "flat.zip", tmp_path / "nested.zip"
    for target, prefix in ((flat, ""), (nested, "twelve.zarr/")):
        with zipfile.ZipFile(target, "w") as archive:
            for file in path.rglob("*"):
                archive.write(file, prefix + file.relative_to(path).as_posix())
        assert same(chgdb.open(target)["mat-3"].density, density("mat-3"))
        assert verify(target, deep=True).ok
    assert chgdb.open(flat).to_xarray().sizes["material"] == 12
    with pytest.raises(StoreError, match="unpack it first"):
        chgdb.open(nested).to_xarray()
    memory = fsspec.filesystem("memory")
    memory.put(str(path), "/twelve", recursive=True)
    for url in ("memory://twelve", f"file://{path}", f"zip::file://{flat}"):
        catalog = chgdb.open(url)
        assert catalog.path == url
        assert same(catalog["mat-3"].density, density("mat-3"))
        assert verify(url).ok
    assert deepcopy(chgdb.open("memory://twelve")).ids == IDS


def test_not_a_store(path: Path, copy: Path, tmp_path: Path) -> None:
    def message(target: object) -> str:
        with pytest.raises(StoreError) as caught:
            chgdb.open(target)  # type: ignore[arg-type]
        assert isinstance(caught.value, OSError)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "there is no such store" in message(tmp_path / "nothing")
    assert "installed: embedded" in message("nothing-of-this-name")
    (tmp_path / "file.txt").write_text("x")
    assert "is a file" in message(tmp_path / "file.txt")
    (tmp_path / "not.zip").write_text("x")
    assert "not a zip file" in message(tmp_path / "not.zip")
    (tmp_path / "empty").mkdir()
    assert "not a chgdb store (it has no zarr.json)" in message(tmp_path / "empty")
    zarr.create_group(str(tmp_path / "plain.zarr"), zarr_format=3)
    assert "a Zarr group, but not a chgdb store" in message(tmp_path / "plain.zarr")
    assert "memory://gone" in message("memory://gone")
    assert "nope://x" in message("nope://x")
    (copy / CHECKSUMS).unlink()
    assert "incomplete, checksums.txt is missing" in message(copy)


def rewrite_root(folder: Path, change: object) -> None:
    """Change the root metadata as a writer would, checksums included."""
    root = json.loads((folder / "zarr.json").read_text())
    change(root)  # type: ignore[operator]
    (folder / "zarr.json").write_text(json.dumps(root))
    store_layout.seal(folder)


def test_a_newer_format_is_refused_and_names_both_versions(copy: Path) -> None:
    rewrite_root(copy, lambda root: root["attributes"].update(chgdb_format=FORMAT_VERSION + 1))
    with pytest.raises(StoreError, match=rf"store format {FORMAT_VERSION + 1}, .* reads up to format {FORMAT_VERSION}"):
        chgdb.open(copy)


@pytest.mark.parametrize(
    "change",
    [
        lambda root: root.pop("consolidated_metadata"),
        lambda root: root["consolidated_metadata"]["metadata"].pop("index/lookup"),
        lambda root: root["consolidated_metadata"]["metadata"]["volume"].update(data_type="complex64"),
        lambda root: root["consolidated_metadata"]["metadata"]["volume"].update(shape="x"),
        lambda root: root["consolidated_metadata"]["metadata"].update({"../evil": {"node_type": "array"}}),
        lambda root: root["consolidated_metadata"]["metadata"]["material_id"].update(shape=[13]),
        lambda root: root["consolidated_metadata"]["metadata"]["cell"]["chunk_grid"]["configuration"].update(
            chunk_shape=[12, 3, 0]
        ),
    ],
)
def test_metadata_that_no_writer_of_ours_makes(copy: Path, change: object) -> None:
    rewrite_root(copy, change)
    with pytest.raises(StoreError, match=r"zarr.json lacks|the index has the shape"):
        chgdb.open(copy)


def test_checksums_text_round_trip() -> None:
    checksums = {"b/c/0": (0, 0), "a": (2**32 - 1, 10**12)}
    text = format_checksums(checksums)
    assert text.startswith(b"ffffffff 1000000000000 a\n00000000 0 b/c/0\n")
    assert parse_checksums(text) == checksums
    with pytest.raises(ValueError, match="own checksum"):
        parse_checksums(text.replace(b"b/c", b"b/d"))


def test_a_flipped_byte_anywhere(copy: Path) -> None:
    """Every file, bytes at its start, its end and between: detected and named; costs at most the record it lies in."""
    expected = {i: density(i) for i in IDS}
    columns = {name: chgdb.open(copy).column(name).tolist() for name in chgdb.open(copy).columns}
    rng = np.random.default_rng(0)
    store = Store(FolderFiles(copy))
    owner = {}  # byte of the payload -> id
    for material_id in IDS:
        location = store.find(material_id)
        owner.update(dict.fromkeys(range(location.offset, location.offset + location.length), material_id))
    flips = 0
    for file in sorted(p for p in copy.rglob("*") if p.is_file()):
        key, good = file.relative_to(copy).as_posix(), file.read_bytes()
        many = key.startswith("payload/c")
        inside = rng.integers(0, len(good), ((40, 2) if THOROUGH else (10, 0))[not many])
        for position in {0, len(good) - 1, *inside}:
            bad = bytearray(good)
            bad[position] ^= int(rng.integers(1, 256))
            file.write_bytes(bad)
            report = verify(copy)
            assert not report.ok
            assert report.problems[0].where == key, (key, position, report.problems)
            hit = {owner[position]} if key.startswith("payload/c") and position in owner else set()
            assert set(report.lost) == hit
            catalog = chgdb.open(copy)
            assert catalog.ids == IDS
            for material_id in IDS:
                if material_id in hit:
                    with pytest.raises(ChecksumError, match=f"{material_id} in {copy}"):
                        catalog[material_id].decode()
                else:
                    assert same(catalog[material_id].decode(), expected[material_id])
            if key.endswith(("c/0", "c/0/0")):
                name = key.split("/")[0]
                if name in columns:
                    np.testing.assert_array_equal(catalog.column(name).tolist(), columns[name])
            flips += 1
        file.write_bytes(good)
    assert flips > 100
    assert verify(copy, deep=True, originals=density).ok


@pytest.mark.parametrize("size", [1, 100, 8191, 8192, 8193, 30_000])
def test_damage_in_one_place_is_undone(size: int) -> None:
    """Any run of damaged bytes up to half the parity's length, wherever it lies, and small files that are missing."""
    rng = np.random.default_rng(size)
    good, *others = (rng.bytes(n) for n in (size, 5, 8192, 20_001))
    parity = np.zeros(PARITY_BYTES, np.uint8)
    for data in (good, *others):
        add_parity(parity, data)
    for length in {min(n, size) for n in (1, 2, 512, 4096)}:
        for start in {0, size - length, int(rng.integers(0, size - length + 1))}:
            bad = bytearray(good)
            bad[start : start + length] = bytes(b ^ x for b, x in zip(good[start:], rng.bytes(length), strict=False))
            assert bytes(bad) == good or undo_damage(bytes(bad), size, crc32c(good), others, parity.tobytes()) == good
    lost = undo_damage(b"", size, crc32c(good), others, parity.tobytes())  # the whole file
    assert lost == (good if size <= PARITY_BYTES else None)


@pytest.mark.parametrize("key", ["band_gap/c/0", "index/lookup/c/0/0", "prior/zarr.json", "volume/zarr.json"])
def test_a_missing_or_truncated_file_is_repaired(copy: Path, key: str) -> None:
    good = (copy / key).read_bytes()
    for damaged in (None, b"", good[: len(good) // 2]):
        (copy / key).unlink()
        if damaged is not None:
            (copy / key).write_bytes(damaged)
        catalog = chgdb.open(copy)
        assert catalog.search(band_gap=(2, 3)) == ["mat-4", "mat-6"]
        assert same(catalog["mat-9"].density, density("mat-9"))
        report = verify(copy)
        assert key in [problem.where for problem in report.problems]
        assert report.lost == ()
        (copy / key).write_bytes(good)
    assert verify(copy).ok


def test_damage_beyond_repair_is_named(copy: Path) -> None:
    for key in ("band_gap/c/0", "volume/c/0"):
        data = bytearray((copy / key).read_bytes())
        data[10] ^= 1
        (copy / key).write_bytes(data)
    catalog = chgdb.open(copy)
    assert all(same(catalog[i].density, density(i)) for i in IDS)  # the records need neither
    with pytest.raises(ChecksumError, match="band_gap/c/0 is damaged or missing"):
        catalog.search(band_gap=1)
    assert {"band_gap/c/0", "volume/c/0"} <= {problem.where for problem in verify(copy).problems}


def test_foreign_and_missing_files_are_named(copy: Path) -> None:
    (copy / "volume" / "c" / "7").write_bytes(b"stray")
    (copy / "payload" / "c" / "0").unlink()
    (copy / PARITY).unlink()
    report = verify(copy)
    assert {"volume/c/7", "payload/c/0", PARITY} <= {problem.where for problem in report.problems}
    assert sorted(report.lost) == sorted(IDS)


def test_verify_finds_what_is_consistent_but_wrong(copy: Path) -> None:
    """Right checksums over wrong content: only comparing with the records and the originals shows it."""
    group = zarr.open_group(str(copy), mode="r+")
    volumes = group["volume"][...]
    volumes[3] *= 2
    group["volume"][...] = volumes
    store_layout.seal(copy)
    report = verify(copy)
    assert [problem.where for problem in report.problems] == ["mat-3"]
    assert "volume is" in report.problems[0].message
    assert report.lost == ()


def test_deep_verification_measures_against_originals(path: Path) -> None:
    report = verify(path, deep=True, originals=density)
    assert report.ok
    assert report.measured == 12

    def other(material_id: str) -> chgdb.Density:
        if material_id == "mat-2":
            raise KeyError(material_id)
        return density("mat-6" if material_id == "mat-3" else material_id)

    report = verify(path, deep=True, originals=other)
    assert report.measured == 11
    assert {problem.where for problem in report.problems} == {"mat-3"}
    assert "above its tolerance" in report.problems[0].message


def test_records_follow_a_replaced_store(path: Path, tmp_path: Path) -> None:
    """A catalog opened before a writer replaced the store answers from the new version, and never from a mixture."""
    out = tmp_path / "s.zarr"
    build_from(out, IDS[:3], load, columns=COLUMNS, tolerance=0, workers=1)
    catalog = chgdb.open(out)
    record = catalog["mat-1"]
    assert len(catalog.ids) == 3
    build_from(out, IDS[3:], load, columns=COLUMNS, tolerance=0, workers=1)
    assert same(record.density, density("mat-1"))
    assert same(catalog["mat-11"].density, density("mat-11"))
    assert catalog.ids == IDS
    shutil.rmtree(out)
    with pytest.raises(ChgdbError, match="gone"):
        catalog["mat-2"]


def test_installed_catalogs_by_name(path: Path, tmp_path: Path) -> None:
    """A package that declares the entry point, as another group's would."""
    (tmp_path / "other_catalog.py").write_text(f"def path():\n    return {str(path)!r}\n")
    info = tmp_path / "other_catalog-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-catalog\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[chgdb.catalogs]\nother = other_catalog:path\n")
    code = "import chgdb; c = chgdb.open('other'); print(len(c), c.path)"
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment, cwd=tmp_path
    )
    assert done.stdout.split() == ["12", str(path)]


def test_two_colons_in_the_path_of_a_store(tmp_path, monkeypatch):
    """A chain of URLs has them as well; what exists here is a path."""
    from fields import total

    monkeypatch.chdir(tmp_path)
    os.makedirs("opt::static/2")
    chgdb.write("opt::static/2/CHGCAR", total("fcc", (8, 8, 8)))
    assert chgdb.build("opt::static/a.zarr", "opt::static/2/CHGCAR").added == ("2",)
    assert chgdb.build("opt::static/a.zarr", "opt::static").skipped == ("2",)
    catalog = chgdb.open("opt::static/a.zarr")
    assert catalog["2"].formula == "Al"
    assert catalog.to_xarray()["formula"].values.tolist() == ["Al"]
