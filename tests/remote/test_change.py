"""A remote store that is replaced while it is read: noticed, and never mixed with what was read before."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest
from materials import COLUMNS, IDS, density, load_changed, same
from nginx import Nginx

import chgdb
from chgdb.errors import ChgdbError
from chgdb.ingest import build_from
from chgdb.remote import files as remote
from chgdb.store.head import crc32c
from chgdb.store.transaction import writing
from chgdb.verification import verify


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same materials with other densities: records of nearly the same sizes at nearly the same places."""
    out = tmp_path_factory.mktemp("other") / "other.zarr"
    build_from(out, IDS, load_changed, columns=COLUMNS, tolerance=0, prior=None, workers=1)
    return out


def replace_whole(target: Path, new: Path) -> None:
    with writing(target) as transaction, transaction.version() as folder:
        shutil.copytree(new, folder, dirs_exist_ok=True)


def test_a_new_version_is_noticed_by_its_pieces(nginx: Nginx, copy: Path, other: Path, tmp_path: Path):
    catalog = chgdb.open(f"{nginx.url}/{copy.name}")
    before = catalog["mat-3"].density
    assert same(before, density("mat-3"))
    replace_whole(copy, other)
    # Index and facts are in memory still; the payload is another one.
    assert same(catalog["mat-4"].density, chgdb.open(other)["mat-4"].density)
    assert same(catalog["mat-3"].density, chgdb.open(other)["mat-3"].density)
    np_changed = catalog["mat-3"].density.total - before.total
    assert np_changed == pytest.approx(1)


def test_a_new_version_is_noticed_after_a_minute(nginx: Nginx, copy: Path, other: Path, tmp_path, monkeypatch):
    catalog = chgdb.open(f"{nginx.url}/{copy.name}")
    assert same(catalog["mat-3"].density, density("mat-3"))
    replace_whole(copy, other)
    assert same(catalog["mat-3"].density, density("mat-3"))  # all of it is here: still the old one
    monkeypatch.setattr(remote, "RECHECK_SECONDS", 0.0)
    assert same(catalog["mat-3"].density, chgdb.open(other)["mat-3"].density)


def test_a_sound_record_of_another_version_is_not_believed(nginx: Nginx, copy: Path):
    """The worst case: only the payload is replaced, by one with whole records at the same places."""
    store = chgdb.open(copy).store
    first, second = store.find("mat-1"), store.find("mat-4")
    assert first is not None
    assert second is not None
    payload = bytearray((copy / "payload/c/0").read_bytes())
    body = bytes(payload[second.offset : second.offset + first.length - 4])
    payload[first.offset : first.offset + first.length] = body + crc32c(body).to_bytes(4, "little")
    (copy / "payload/c/0").write_bytes(payload)
    with pytest.raises(ChgdbError, match=r"mat-1 in .* do not match their checksum"):
        chgdb.open(f"{nginx.url}/{copy.name}")["mat-1"].density  # noqa: B018


def test_an_undamaged_chunk_of_another_version_is_not_believed(nginx: Nginx, copy: Path, served: Path):
    """Chunks end in their own CRC-32C, so all of one size have the same checksum; the digests tell them apart."""
    chunks = [path for path in (served / "twelve.zarr").glob("*/c/0") if path.is_file()]
    sizes = {path.parent.parent.name: path.stat().st_size for path in chunks}
    first, second = next(
        (served / "twelve.zarr" / a / "c/0", served / "twelve.zarr" / b / "c/0")
        for a in sizes
        for b in sizes
        if a != b and sizes[a] == sizes[b] and a != "payload" != b
    )
    name = first.parent.parent.name
    assert crc32c(first.read_bytes()) == crc32c(second.read_bytes())
    assert first.read_bytes() != second.read_bytes()
    shutil.copyfile(second, copy / name / "c/0")
    with pytest.raises(ChgdbError, match=f"{name}/c/0 is of another version"):
        chgdb.open(f"{nginx.url}/{copy.name}").column(name)
    for place in (copy, f"{nginx.url}/{copy.name}"):
        found = [problem.message for problem in verify(place).problems if problem.where == f"{name}/c/0"]
        assert found, place


def test_the_cache_keeps_versions_apart(nginx: Nginx, copy: Path, other: Path, served: Path, tmp_path: Path):
    url = f"{nginx.url}/{copy.name}"
    for _ in range(2):
        assert same(chgdb.open(url)["mat-3"].density, density("mat-3"))
        replace_whole(copy, other)
        assert same(chgdb.open(url)["mat-3"].density, chgdb.open(other)["mat-3"].density)
        replace_whole(copy, served / "twelve.zarr")


def test_readers_see_old_or_new_while_a_writer_replaces(nginx: Nginx, copy: Path, other: Path, served: Path, tmp_path):
    """Swapped back and forth under four readers with cold and warm catalogs; every density is one of the two."""
    url = f"{nginx.url}/{copy.name}"
    old = {i: density(i) for i in IDS}
    new = {i: load_changed(i)[0] for i in IDS}
    problems: list[str] = []
    seen = {"old": 0, "new": 0}
    stop = threading.Event()

    def read(number: int) -> None:
        catalog = chgdb.open(url)
        i = number
        while not stop.is_set():
            i += 1
            if i % 5 == 0:
                catalog = chgdb.open(url)
            material_id = IDS[i % len(IDS)]
            try:
                found = catalog[material_id].density
            except ChgdbError as error:
                problems.append(str(error))
                return
            kind = "old" if same(found, old[material_id]) else "new" if same(found, new[material_id]) else "neither"
            if kind == "neither":
                problems.append(material_id)
                return
            seen[kind] += 1

    threads = [threading.Thread(target=read, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for turn in range(8):
        replace_whole(copy, other if turn % 2 == 0 else served / "twelve.zarr")
        stop.wait(0.1)
    stop.set()
    for thread in threads:
        thread.join()
    assert problems == []
    assert min(seen.values()) > 5, seen
