"""Publishing and pulling whole stores: to folders, to a memory file system, interrupted anywhere, while others read."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import fsspec
import pytest
from faults import FaultyProxy
from materials import COLUMNS, IDS, contents, density, load, load_changed, same
from nginx import Nginx

import chgdb
from chgdb.errors import ChecksumError, ChgdbError, RemoteError, StoreError
from chgdb.ingest import build_from
from chgdb.publish import publish, pull
from chgdb.remote.fsspec import FsspecTransport
from chgdb.verification import verify
from chgdb_cli.main import _exit_code


@pytest.fixture(scope="session")
def first(served: Path) -> Path:
    return served / "twelve.zarr"


@pytest.fixture(scope="session")
def second(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same materials with other densities."""
    out = tmp_path_factory.mktemp("second") / "second.zarr"
    build_from(out, IDS, load_changed, columns=COLUMNS, tolerance=0, prior=None, workers=1)
    return out


@pytest.fixture
def bucket(tmp_path: Path):
    """URL of a place in a memory file system of fsspec's: what any file system of it is to us."""
    yield f"memory://{tmp_path.name}/store"
    memory = fsspec.filesystem("memory")
    if memory.exists(f"/{tmp_path.name}"):
        memory.rm(f"/{tmp_path.name}", recursive=True)


def holds(url: str, version: str) -> bool:
    """Whether every density of a store is that of the first or the second version."""
    catalog = chgdb.open(url)
    make = density if version == "first" else lambda i: load_changed(i)[0]
    return all(same(catalog[i].density, make(i)) for i in IDS)


def test_a_folder_is_replaced_whole_with_a_manifest(first: Path, second: Path, tmp_path: Path):
    target = tmp_path / "www" / "store.zarr"
    done = publish(first, target)
    assert (done.changed, done.url, done.zarr_url) == (True, str(target), str(target))
    assert holds(str(target), "first")
    assert verify(target, deep=True).ok
    assert not publish(first, f"file://{target}").changed
    assert publish(second, target).version != done.version
    assert holds(str(target), "second")
    manifest = json.loads((target / "release.json").read_text())
    files = contents(target)
    assert set(files) == set(manifest["files"]) | {"head.bin", "release.json"}
    for key, facts in manifest["files"].items():
        assert (facts["size"], facts["sha256"]) == (len(files[key]), sha256(files[key]).hexdigest())
    assert manifest["n_materials"] == 12
    assert os.listdir(tmp_path / "www") == ["store.zarr"]


def test_a_bucket_has_releases_and_one_object_that_switches(first: Path, second: Path, bucket: str):
    done = publish(first, bucket)
    assert holds(bucket, "first")
    assert verify(bucket, deep=True).ok
    reader = chgdb.open(bucket)
    reader["mat-1"].density  # noqa: B018
    again = publish(second, bucket)
    assert (again.changed, again.sent) == (True, again.bytes)
    assert holds(bucket, "second")
    assert same(reader["mat-2"].density, density("mat-2"))  # began with the first, which is still there
    assert not publish(second, bucket).changed
    manifest = json.loads(fsspec.open(f"{bucket}/release.json").open().read())
    assert manifest["base"] == f"releases/{again.version}"
    # What Zarr readers without chgdb open is the release's own folder.
    import xarray
    from zarr.storage import FsspecStore

    opened = xarray.open_zarr(FsspecStore.from_url(done.zarr_url, read_only=True))
    assert opened["band_gap"].values[4] == 2.0
    assert chgdb.open(bucket).to_xarray()["band_gap"].values[4] == 2.0
    assert reader.zarr_url == done.zarr_url
    assert chgdb.open(bucket).zarr_url == again.zarr_url != done.zarr_url
    assert xarray.open_zarr(FsspecStore.from_url(again.zarr_url, read_only=True)).sizes["material"] == 12
    assert chgdb.open(first).zarr_url == str(first)


def test_old_releases_go(first: Path, second: Path, tmp_path: Path, bucket: str):
    third = tmp_path / "third.zarr"
    build_from(third, IDS[:3], load, tolerance=0, prior=None, workers=1)
    versions = [publish(store, bucket).version for store in (first, second, third)]
    system = fsspec.filesystem("memory")
    folders = {
        path.rpartition("/")[2] for path in system.ls(bucket.removeprefix("memory:/") + "/releases", detail=False)
    }
    assert folders == set(versions[1:])
    publish(first, bucket, keep=1)
    folders = {
        path.rpartition("/")[2] for path in system.ls(bucket.removeprefix("memory:/") + "/releases", detail=False)
    }
    assert folders == {versions[0]}
    assert holds(bucket, "first")


def test_readers_see_the_old_or_the_new_at_every_step(first: Path, second: Path, bucket: str, monkeypatch):
    """Interrupted at every single write: the old release is whole before the switch, the new one after it."""
    publish(first, bucket)
    put, left = FsspecTransport.put, 0

    class Interrupted(Exception):
        pass

    def failing(self: FsspecTransport, key: str, data: bytes) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Interrupted(key)
        put(self, key, data)

    monkeypatch.setattr(FsspecTransport, "put", failing)
    total = len(contents(second)) + 4
    states = []
    for limit in [*range(0, total - 6, 7), *range(total - 6, total)]:
        left = limit
        with suppress(Interrupted):
            publish(second, bucket)
        catalog = chgdb.open(bucket)
        state = "first" if same(catalog["mat-3"].density, density("mat-3")) else "second"
        assert holds(bucket, state)
        states.append(state)
    assert states == sorted(states)
    assert {"first", "second"} == set(states)
    assert verify(bucket, deep=True).ok


@pytest.mark.parametrize("moment", [0.0, 0.02, 0.05, 0.1])
def test_publishing_to_a_folder_killed(first: Path, second: Path, tmp_path: Path, moment: float):
    target = tmp_path / "store.zarr"
    publish(first, target)
    code = "import sys; from chgdb.publish import publish; print('begin', flush=True); publish(*sys.argv[1:])"
    process = subprocess.Popen([sys.executable, "-c", code, str(second), str(target)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(moment)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert any(holds(str(target), version) for version in ("first", "second"))
    assert verify(target).ok
    publish(second, target)
    assert holds(str(target), "second")
    assert os.listdir(tmp_path) == ["store.zarr"]


def test_what_cannot_be_published(first: Path, copy: Path, tmp_path: Path, bucket: str):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("x")
    with pytest.raises(StoreError, match="something else than a store"):
        publish(first, tmp_path / "full")
    with pytest.raises(RemoteError, match="publish to the folder that it serves"):
        publish(first, "http://127.0.0.1:9/x")
    fsspec.filesystem("memory").put(str(first), bucket.removeprefix("memory:/"), recursive=True)
    with pytest.raises(RemoteError, match="plain copy of a store"):
        publish(first, bucket)
    payload = bytearray((copy / "payload/c/0").read_bytes())
    payload[100] ^= 1
    (copy / "payload/c/0").write_bytes(payload)
    with pytest.raises(ChecksumError, match="payload/c/0 is damaged"):
        publish(copy, tmp_path / "other.zarr")
    assert not (tmp_path / "other.zarr").exists()


def test_pull_brings_a_store_byte_for_byte(nginx: Nginx, first: Path, tmp_path: Path):
    url = f"{nginx.url}/twelve.zarr"
    done = pull(url, tmp_path / "here.zarr")
    assert contents(tmp_path / "here.zarr") == contents(first)
    assert done.received == done.bytes - 0
    nginx.requests()
    again = pull(url, tmp_path / "here.zarr")
    assert (again.changed, again.received) == (False, 0)
    assert len(nginx.requests()) <= 1
    assert os.listdir(tmp_path) == ["here.zarr"] or sorted(os.listdir(tmp_path)) == ["cache", "here.zarr"]


def test_a_pull_killed_after_the_exchange(first: Path, second: Path, bucket: str, tmp_path: Path):
    publish(first, bucket)
    pull(bucket, tmp_path / "here.zarr")
    shutil.copytree(second, tmp_path / ".here.zarr.pull")  # the version before, not removed yet
    assert not pull(bucket, tmp_path / "here.zarr").changed
    assert os.listdir(tmp_path) == ["here.zarr"]
    assert contents(tmp_path / "here.zarr") == contents(first)


def test_pull_of_a_published_store(first: Path, second: Path, bucket: str, tmp_path: Path):
    publish(first, bucket)
    pull(bucket, tmp_path / "here.zarr")
    assert contents(tmp_path / "here.zarr") == contents(first)
    publish(second, bucket)
    done = pull(bucket, tmp_path / "here.zarr")
    assert contents(tmp_path / "here.zarr") == contents(second)
    assert 0 < done.received < done.bytes  # what both have was here
    manifest = f"releases/{done.version}/release.json"
    facts = json.loads(fsspec.open(f"{bucket}/{manifest}").open().read())
    facts["files"]["payload/c/0"]["sha256"] = "0" * 64
    with fsspec.open(f"{bucket}/{manifest}", "w") as file:
        json.dump(facts, file)
    with pytest.raises(RemoteError, match="payload/c/0 does not match the SHA-256"):
        pull(bucket, tmp_path / "other.zarr")


def test_an_interrupted_pull_goes_on_where_it_stopped(
    nginx: Nginx, proxy: FaultyProxy, large: str, tmp_path, monkeypatch
):
    monkeypatch.setenv("CHGDB_ATTEMPTS", "1")
    monkeypatch.setattr("chgdb.publish._STEP", 400_000)
    proxy.reset(lambda path, earlier: "503" if path.endswith("payload/c/0") and earlier == 2 else None)
    with pytest.raises(RemoteError, match="503"):
        pull(f"{proxy.url}/{large}", tmp_path / "here.zarr")
    assert not (tmp_path / "here.zarr").exists()
    nginx.requests()
    done = pull(f"{proxy.url}/{large}", tmp_path / "here.zarr")
    assert contents(tmp_path / "here.zarr") == contents(nginx.root / large)
    assert done.received <= done.bytes - 800_000
    asked = nginx.requests()
    first_range = next(request.range for request in asked if request.path.endswith("payload/c/0"))
    assert first_range.startswith("bytes=800000-")


def test_a_pull_through_faults_is_right_or_says_so(proxy: FaultyProxy, first: Path, tmp_path: Path, monkeypatch):
    import random

    generator = random.Random(4)
    spoiling = ["503", "reset", "truncated", "corrupted", "wrong range", "no range", "empty", "unasked part"]
    proxy.reset(lambda path, earlier: generator.choice(spoiling) if generator.random() < 0.2 else None)
    monkeypatch.setattr("chgdb.publish._STEP", 2_000)
    for _ in range(10):
        try:
            pull(f"{proxy.url}/twelve.zarr", tmp_path / "here.zarr")
            break
        except ChgdbError as error:
            print(error)
            assert not (tmp_path / "here.zarr").exists()
    assert contents(tmp_path / "here.zarr") == contents(first)


def test_a_killed_pull_leaves_the_old_store(
    nginx: Nginx, proxy: FaultyProxy, first: Path, second: Path, tmp_path: Path
):
    target = Path(shutil.copytree(second, tmp_path / "here.zarr"))
    proxy.reset(latency=0.05)
    code = "import sys; from chgdb.publish import pull; pull(*sys.argv[1:])"
    process = subprocess.Popen([sys.executable, "-c", code, f"{proxy.url}/twelve.zarr", str(target)])
    while len(proxy.asked) < 4 and process.poll() is None:
        time.sleep(0.005)
    assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert holds(str(target), "second")
    assert verify(target).ok
    proxy.reset()
    pull(f"{proxy.url}/twelve.zarr", target)
    assert contents(target) == contents(first)
    assert set(os.listdir(tmp_path)) <= {"here.zarr", "cache"}


def test_readers_of_a_bucket_while_it_is_published_to(first: Path, second: Path, bucket: str):
    publish(first, bucket)
    problems: list[str] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            try:
                catalog = chgdb.open(bucket)
                found = catalog["mat-5"].density
                if not any(same(found, known) for known in (density("mat-5"), load_changed("mat-5")[0])):
                    problems.append("a mixture")
            except ChgdbError as error:
                problems.append(str(error))

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for turn in range(6):
        publish(second if turn % 2 == 0 else first, bucket)
    stop.set()
    for thread in threads:
        thread.join()
    assert problems == []


def test_commands(first: Path, bucket: str, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert _exit_code(["publish", str(first), bucket]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{bucket}: ")
    assert "for xarray and other Zarr readers: memory://" in out
    assert _exit_code(["publish", str(first), bucket]) == 0
    assert "was published before" in capsys.readouterr().out
    assert _exit_code(["pull", bucket]) == 0
    assert capsys.readouterr().out.startswith("store: 12 materials, ")
    assert _exit_code(["pull", bucket, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["changed"] is False
    assert _exit_code(["fetch", "mat-3", "--decode", "--catalog", bucket]) == 0
    assert _exit_code(["pull", "memory://nothing/there"]) == 1
    assert "not a chgdb store" in capsys.readouterr().err
