"""The one door for writing: what is not ours, links, owners and modes, strangers' files, and one writer at a time."""

from __future__ import annotations

import json
import os
import shutil
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import zarr
from materials import IDS, contents, density, load, load_changed, same, written_by_another

import chgdb
from chgdb import atomic, views
from chgdb.errors import ChgdbError, StoreError
from chgdb.extraction import extract
from chgdb.ingest import build_from
from chgdb.latents import files as latent_files
from chgdb.models import storage
from chgdb.publish import publish, pull
from chgdb.store.transaction import STORE, is_junk, writing
from chgdb.verification import verify

EXACT = {"tolerance": 0, "prior": None, "workers": 1}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "s.zarr"
    build_from(out, IDS[:2], load, **EXACT)
    return out


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "v1.zarr"))


def build_on(path: Path, made: Path) -> None:
    build_from(path, IDS[2:3], load, on_duplicate="replace", **EXACT)


def publish_to(path: Path, made: Path) -> None:
    publish(made, path)


def pull_to(path: Path, made: Path) -> None:
    pull(f"file://{made}", path)


def extract_to(path: Path, made: Path) -> None:
    extract(chgdb.open(made), IDS[:1], path, replace=True)


#: Everything that makes a store at a path or replaces it.
MAKERS = [build_on, publish_to, pull_to, extract_to]


# What is not ours -----------------------------------------------------------------------------------------------------


def zarr_group(path: Path) -> None:
    root = zarr.create_group(str(path), attributes={"title": "phonons"})
    root.create_array("frequency", shape=(3,), dtype="f8")[...] = 1.0


def thesis(path: Path) -> None:
    path.mkdir()
    (path / "zarr.json").write_text("{}")
    (path / "thesis.tex").write_text("years")


def latent_like(path: Path) -> None:
    path.mkdir()
    (path / "zarr.json").write_text(json.dumps({"attributes": {"chgdb_latent": 1}}))


def folder_of_notes(path: Path) -> None:
    (path / "deep").mkdir(parents=True)
    (path / "deep" / "notes.txt").write_text("notes")


def text_file(path: Path) -> None:
    path.write_text("notes")


def claims(path: Path) -> None:
    """No number of a format, but something that only looks like one."""
    path.mkdir()
    (path / "zarr.json").write_text(json.dumps({"attributes": {"chgdb_format": True}}))
    (path / "checksums.txt").write_text("of something else")


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("there", [zarr_group, thesis, latent_like, folder_of_notes, text_file, claims])
def test_what_is_not_ours_stays(
    make: Callable[[Path, Path], None], there: Callable[[Path], None], made: Path, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    there(target)
    before = contents(tmp_path)
    with pytest.raises(StoreError, match=r"something else than a store|is a file"):
        make(target, made)
    assert contents(tmp_path) == before
    assert os.listdir(tmp_path) == ["target"]


def test_a_store_is_no_model_and_no_latent(store: Path) -> None:
    before = contents(store)
    for kind in (storage.MODEL, latent_files.LATENT):
        with pytest.raises(StoreError, match=r"something else than .*\(a store\)"), writing(store, kind):
            pass
    assert contents(store) == before


@pytest.mark.parametrize("key", ["zarr.json", "checksums.txt", "head.bin"])
def test_a_damaged_store_is_a_store(store: Path, made: Path, key: str) -> None:
    (store / key).write_bytes(b"damaged")
    pull_to(store, made)
    assert contents(store) == contents(made)


@pytest.mark.parametrize("make", MAKERS)
def test_nothing_is_made_inside_a_store(make: Callable[[Path, Path], None], store: Path, made: Path) -> None:
    before = contents(store)
    for inside in (store / "inner.zarr", store / "view" / "deep" / "inner.zarr"):
        with pytest.raises(StoreError, match="lies in the store"):
            make(inside, made)
    assert contents(store) == before
    assert not (store / "view").exists()


def test_a_write_protected_store_stays(store: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    store.chmod(0o555)
    with pytest.raises(StoreError, match="write-protected"), writing(store):
        pass


# What others have put into a store ------------------------------------------------------------------------------------


def put_strangers(store: Path, made: Path) -> dict[str, bytes]:
    """Files, links and a whole store in a store, and what a file manager leaves."""
    (store / "README.md").write_text("how these were computed")
    (store / "notes" / "deep").mkdir(parents=True)
    (store / "notes" / "deep" / "band.dat").write_bytes(b"\0\1")
    (store / "empty").mkdir()
    (store / "payload" / ".DS_Store").write_bytes(b"\0")
    (store / "link").symlink_to("README.md")
    shutil.copytree(made, store / "inner.zarr")
    own = contents(made)
    return {key: data for key, data in contents(store).items() if key not in own}


@pytest.mark.parametrize("make", MAKERS)
def test_what_others_put_into_a_store_is_kept(make: Callable[[Path, Path], None], store: Path, made: Path) -> None:
    strangers = put_strangers(store, made)
    if make is publish_to or make is pull_to:
        build_from(store, IDS[3:4], load, **EXACT)  # another version, or there is nothing to do
    make(store, made)
    after = contents(store)
    assert {key: data for key, data in after.items() if key in strangers} == strangers
    assert (store / "empty").is_dir()
    assert os.readlink(store / "link") == "README.md"
    assert verify(store / "inner.zarr").ok
    assert verify(store).ok
    reported = {note.where for note in verify(store).remarks}
    assert reported == {key for key in strangers if not is_junk(key)}
    assert [name for name in os.listdir(store.parent) if name.startswith(".")] == []


def test_a_name_that_the_next_version_needs(store: Path) -> None:
    (store / "band_gap_2").mkdir()
    (store / "band_gap_2" / "zarr.json").write_text("mine")
    before = contents(store)
    with pytest.raises(StoreError, match=r"band_gap_2/zarr\.json, which is not of it"):
        build_from(store, IDS[4:5], lambda i: (density(i), {"band_gap_2": 1.0}), **EXACT)
    assert contents(store) == before


@pytest.mark.parametrize("name", [".DS_Store", "._payload", "Thumbs.db", "desktop.ini", "view/.DS_Store", "index/._x"])
def test_what_file_managers_leave_is_no_damage(store: Path, name: str) -> None:
    (store / name).parent.mkdir(exist_ok=True)
    (store / name).write_bytes(b"\0\0\0\1Bud1")
    assert verify(store, deep=True).ok
    build_from(store, IDS[2:3], load, **EXACT)
    assert verify(store).ok


# Links ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("links", [["cur.zarr"], ["cur.zarr", "latest.zarr"]])
def test_a_link_stays_and_what_it_leads_to_is_replaced(
    make: Callable[[Path, Path], None], links: list[str], store: Path, made: Path, tmp_path: Path
) -> None:
    build_from(store, IDS[5:6], load, **EXACT)
    before, last = contents(store), store.name
    (tmp_path / "by").mkdir()
    for name in links:
        (tmp_path / "by" / name).symlink_to(f"../{last}" if last == store.name else last)
        last = name
    make(tmp_path / "by" / last, made)
    assert sorted(os.listdir(tmp_path)) == ["by", store.name]
    assert sorted(os.listdir(tmp_path / "by")) == links
    assert all((tmp_path / "by" / name).is_symlink() for name in links)
    assert contents(store) != before
    assert verify(tmp_path / "by" / last).ok
    assert chgdb.open(store).ids == chgdb.open(tmp_path / "by" / last).ids


@pytest.mark.parametrize("make", MAKERS)
def test_a_link_that_leads_nowhere_yet(make: Callable[[Path, Path], None], made: Path, tmp_path: Path) -> None:
    (tmp_path / "cur.zarr").symlink_to("disk/v1.zarr")
    make(tmp_path / "cur.zarr", made)
    assert (tmp_path / "cur.zarr").is_symlink()
    assert verify(tmp_path / "disk" / "v1.zarr").ok


def test_a_circle_of_links(made: Path, tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(StoreError, match="leads to itself"):
        publish(made, tmp_path / "a")
    with pytest.raises(ChgdbError, match="leads to itself"):
        chgdb.write(tmp_path / "a", density("mat-0"), format="npz")
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


# Owner, group and mode ------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="modes are those of POSIX")
@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(("folder_mode", "file_mode"), [(0o700, 0o600), (0o2775, 0o664), (0o750, 0o640)])
def test_owner_group_and_mode_stay(
    make: Callable[[Path, Path], None], folder_mode: int, file_mode: int, store: Path, made: Path
) -> None:
    build_from(store, IDS[5:6], load, **EXACT)
    uid, gid = (4321, 1234) if os.geteuid() == 0 else (os.geteuid(), os.getgroups()[-1])
    for place, _, names in os.walk(store):
        for path in [place, *(os.path.join(place, name) for name in names)]:
            os.chown(path, uid, gid)
            os.chmod(path, folder_mode if path == place else file_mode)
    make(store, made)
    for path in [store, *store.rglob("*")]:
        status = path.stat()
        assert (status.st_uid, status.st_gid) == (uid, gid), path
        assert stat.S_IMODE(status.st_mode) == (folder_mode if path.is_dir() else file_mode), path


@pytest.mark.skipif(os.name == "nt", reason="modes are those of POSIX")
@pytest.mark.parametrize("mode", [0o600, 0o664, 0o444])
def test_a_file_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "density.npz"
    chgdb.write(path, density("mat-0"))
    path.chmod(mode)
    chgdb.write(path, density("mat-1"))
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert same(chgdb.read(path), density("mat-1"))


# One writer at a time -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", MAKERS)
def test_a_second_writer_is_refused(make: Callable[[Path, Path], None], store: Path, made: Path) -> None:
    before = contents(store)
    with written_by_another(store), pytest.raises(StoreError, match="another command is writing to it"):
        make(store, made)
    assert contents(store) == before
    make(store, made)
    assert verify(store).ok


def test_a_link_does_not_lead_around_the_lock(store: Path, made: Path, tmp_path: Path) -> None:
    (tmp_path / "cur.zarr").symlink_to(store.name)
    with written_by_another(tmp_path / "cur.zarr"), pytest.raises(StoreError, match="another command"):
        publish(made, store)


def test_what_is_being_staged_is_nobody_elses(store: Path) -> None:
    with writing(store) as outer, outer.version() as folder:
        with writing(store) as inner:  # a command that consists of several
            assert inner.exists
        assert folder.is_dir()
        shutil.copytree(store, folder, dirs_exist_ok=True)
    assert verify(store).ok
    assert os.listdir(store.parent) == [store.name]


def test_predictions_of_another_version_are_not_written(store: Path) -> None:
    token = chgdb.open(store).store.token
    build_from(store, IDS[:1], load_changed, on_duplicate="replace", **EXACT)  # the same ids, another density
    with pytest.raises(StoreError, match="has changed since its properties were predicted"):
        views.write(store, tuple(IDS[:2]), None, None, token)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["x" * 200 + ".zarr", "ü" * 110 + ".zarr", "a b;'\"$.zarr", ".hidden.zarr"])
def test_names(name: str, made: Path, tmp_path: Path) -> None:
    publish(made, tmp_path / name)
    build_on(tmp_path / name, made)
    assert os.listdir(tmp_path) == [name]
    assert verify(tmp_path / name).ok


def test_refused_before_anything_is_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    with pytest.raises(StoreError), writing(tmp_path / "file" / "s.zarr"):
        pass
    with writing(tmp_path / "new" / "folders" / "s.zarr"):
        assert not STORE.is_one(tmp_path / "new")
    assert os.listdir(tmp_path) == ["file"]


# Files ----------------------------------------------------------------------------------------------------------------


def test_readers_of_a_file_see_one_version(tmp_path: Path) -> None:
    """Threads write one file of different lengths; whoever reads it sees all of one of them."""
    path, versions = tmp_path / "density.bin", [bytes([65 + k]) * (1 << (12 + k)) for k in range(6)]
    atomic.write(path, versions[0])
    stop, looks = threading.Event(), []

    def write(version: bytes) -> None:
        while not stop.is_set():
            with atomic.replacing(path) as file:
                for start in range(0, len(version), 4096):
                    file.write(version[start : start + 4096])

    writers = [threading.Thread(target=write, args=(version,)) for version in versions]
    for writer in writers:
        writer.start()
    for _ in range(400):
        found = path.read_bytes()
        looks.append(found in versions)
    stop.set()
    for writer in writers:
        writer.join()
    assert looks == [True] * 400
    assert os.listdir(tmp_path) == ["density.bin"]


def test_staged_files_have_names_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of processes with the same number, in two containers on one disk."""
    monkeypatch.setattr(os, "getpid", lambda: 1)
    with atomic.replacing(tmp_path / "CHGCAR") as first:
        first.write(b"first")
        with atomic.replacing(tmp_path / "CHGCAR") as second:
            assert first.name != second.name
            second.write(b"second")
        assert (tmp_path / "CHGCAR").read_bytes() == b"second"
    assert (tmp_path / "CHGCAR").read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["CHGCAR"]


@pytest.mark.parametrize("name", ["x" * 251 + ".npy", "é" * 125 + ".npz"])
def test_names_as_long_as_the_system_allows(tmp_path: Path, name: str) -> None:
    atomic.write(tmp_path / name, b"1")
    atomic.write(tmp_path / name, b"22")
    assert (tmp_path / name).read_bytes() == b"22"
    assert os.listdir(tmp_path) == [name]


@pytest.mark.skipif(os.name == "nt", reason="needs FIFOs")
def test_a_pipe_is_written_directly(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    atomic.write(tmp_path / "pipe", b"through")
    reader.join()
    assert found == [b"through"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
