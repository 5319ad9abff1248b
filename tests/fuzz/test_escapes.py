"""Names from outside (ids, keys, file names in indices) cannot lead out of the folder that is written to."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import fsspec
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from store_targets import _golden, _sealed

from chgdb.errors import ChgdbError, StoreError
from chgdb.inputs import file_name
from chgdb.publish import publish, pull
from chgdb.store.files import FolderFiles, ZipFiles
from chgdb.store.head import crc32c, digest, pack, parse_checksums, unpack
from chgdb.store.reader import Store
from chgdb.store.table import from_store
from chgdb.store.writer import write_table
from chgdb_catalog import batches
from chgdb_cli.main import _exit_code

KEYS = ["../outside", "../../outside", "a/../../outside", "/tmp/chgdb-outside", "a//b", "./x", ".hidden", "C:/outside",
        "a\\..\\outside", "a\x00b", "x" * 300, "", "a/", "ä", "a b"]  # fmt: skip
IDS = ["../outside", "../../outside", "a/../../outside", "/tmp/chgdb-outside", "..", ".", "a\x00b", "x" * 300, "a\nb",
       "\u202eexe", "a/b", "\\\\server\\share", " a", "ä" * 150]  # fmt: skip


def _everything(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def _checksums(*keys: str) -> bytes:
    body = "".join(f"{crc32c(b''):08x} 0 {key}\n" for key in keys).encode()
    return body + f"{crc32c(body):08x}\n".encode()


@pytest.mark.parametrize("key", KEYS)
def test_keys(key):
    with pytest.raises(ValueError, match="names no file"):
        parse_checksums(_checksums("a/c/0", key))
    with pytest.raises(ValueError, match=r"no file|outside"):
        unpack(pack({"checksums.txt": _checksums("a/c/0"), key: b"x"}, {"a/c/0": digest(b"")}))
    if key:
        with pytest.raises(ValueError, match=r"outside the store|no file"):
            unpack(pack({"checksums.txt": _checksums("a/c/0")}, {"a/c/0": digest(b"")}, base=key))
    assert list(parse_checksums(_checksums("a/c/0", "zarr.json", "prior/0000abcd/numbers/c/0"))) != []


@pytest.mark.parametrize("key", KEYS)
def test_pull_and_publish(tmp_path, key):
    """A server whose store lists a file that lies elsewhere."""
    files, head = _sealed({})
    checksums = files["checksums.txt"][:-9] + f"{crc32c(b'evil'):08x} 4 {key}\n".encode()
    checksums += f"{crc32c(checksums):08x}\n".encode()
    files["checksums.txt"] = checksums
    files["head.bin"] = pack(dict(head.files) | {"checksums.txt": checksums}, {**head.digests, "zzz": digest(b"evil")})
    system = fsspec.filesystem("memory")
    system.store.clear()
    for name, content in files.items():
        system.pipe_file(f"/evil/{name}", content)
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    for action in (lambda: pull("memory://evil", inner / "out"), lambda: publish("memory://evil", inner / "out")):
        with pytest.raises(ChgdbError):
            action()
    found = {name for name in _everything(tmp_path) if "outside" in name or "evil" in name}
    assert found == set()
    assert not Path("/tmp/chgdb-outside").exists()


@pytest.mark.parametrize("key", ["../outside", "/tmp/chgdb-outside"])
def test_archives(tmp_path, key):
    """Members of an archive that would unpack elsewhere: nothing unpacks archives, and none is copied from one."""
    files, _ = _sealed({})
    checksums = files["checksums.txt"][:-9] + f"{crc32c(b'evil'):08x} 4 {key}\n".encode()
    files["checksums.txt"] = checksums + f"{crc32c(checksums):08x}\n".encode()
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    with zipfile.ZipFile(tmp_path / "a" / "evil.zip", "w") as archive:
        for name, content in (files | {key: b"evil"}).items():
            archive.writestr(name, content)
    before = _everything(tmp_path)
    with pytest.raises(ChgdbError, match="damaged"):
        publish(tmp_path / "a" / "evil.zip", inner / "out")
    assert _everything(tmp_path) == before
    # Behind a URL head.bin says what there is, and it does not name the file.
    publish(f"zip::file://{tmp_path / 'a' / 'evil.zip'}", inner / "out")
    assert all(name.startswith("a/b/out") for name in _everything(tmp_path) - before)
    assert not Path("/tmp/chgdb-outside").exists()


@pytest.fixture(scope="module")
def evil(tmp_path_factory) -> Path:
    """A store of materials with impossible ids, which no build would make; right in every checksum."""
    folder = tmp_path_factory.mktemp("evil")
    with zipfile.ZipFile(folder / "golden.zip", "w") as archive:
        for name, content in _golden().items():
            archive.writestr(name, content)
    table = from_store(Store(ZipFiles(folder / "golden.zip")), keep_latents=False)
    rows = [i % len(table) for i in range(len(IDS))]
    counts = table.columns["n_atoms"].astype(int)
    starts = np.cumsum(counts) - counts
    atoms = np.concatenate([np.arange(starts[row], starts[row] + counts[row]) for row in rows])
    table.columns = {name: values[rows] for name, values in table.columns.items()}
    table.columns["material_id"] = np.array(IDS, object)
    table.records = [table.records[row] for row in rows]
    table.numbers, table.positions = table.numbers[atoms], table.positions[atoms]
    write_table(folder / "evil.zarr", table)
    assert Store(FolderFiles(folder / "evil.zarr")).n_materials == len(IDS)
    return folder / "evil.zarr"


@pytest.mark.parametrize("material_id", IDS)
def test_fetch(tmp_path, monkeypatch, capsys, evil, material_id):
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    before = _everything(tmp_path)
    common = ["--catalog", str(evil), "--", material_id]
    for options in ([], ["-o", "out/"], ["--decode", "-o", "out/", "--format", "cube"]):
        assert _exit_code(["fetch", *options, *common]) == 1
        assert capsys.readouterr().err.count("\n") == 1
    other = next(i for i in IDS if i != material_id)
    assert _exit_code(["fetch", "--decode", "-o", "out", *common, other]) == 1
    assert "cannot be the name of a file" in capsys.readouterr().err
    assert _everything(tmp_path) == before
    # Where the name is the user's, the id is of no consequence.
    assert _exit_code(["fetch", "--decode", "-o", "CHGCAR", *common]) == 0
    assert _everything(tmp_path) - before == {"a/b/CHGCAR"}


def test_names_of_files():
    for good in ("mp-149", "LiCoO2 (R-3m)", "a:b", "Si2.AECCAR0", "con-1", "[x]", "x" * 200, "aux", "Å"):
        assert file_name(good, windows=False) == good
    for bad in IDS:
        with pytest.raises(StoreError, match="cannot be the name of a file"):
            file_name(bad, windows=False)
    for bad in ("CON", "nul.txt", "com1", "LPT9.x", "a:b", "C:x", "x."):
        with pytest.raises(StoreError, match="cannot be the name of a file"):
            file_name(bad, windows=True)


@pytest.mark.parametrize("part", ["../outside.bin", "/etc/passwd", "batch-0000.bin\x00", "", "batch-0000.jsonl.gz"])
def test_parts_of_batches(tmp_path, part):
    record = {"material_id": "m", "grid": [2, 2, 2], "payload": {"total": [part, 0, 4, 1.0]}}
    batches.append([({"material_id": "m", "grid": [2, 2, 2]}, {"total": b"1234"}, 1.0)], tmp_path)
    import gzip
    import json

    (tmp_path / "batch-0000.jsonl.gz").write_bytes(gzip.compress(json.dumps(record).encode()))
    batches._index.cache_clear()
    with pytest.raises(batches.BatchError, match="places of its channels"):
        batches.load("m", tmp_path)
