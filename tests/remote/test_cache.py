"""The local cache: contents checked, shared between processes, bounded, and enough to work offline."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
from materials import IDS, density, same
from nginx import Nginx

import chgdb
from chgdb import atomic
from chgdb.errors import OfflineError, StoreError
from chgdb.remote.cache import Cache, cache_limit
from chgdb_cli.main import _exit_code

VERSION = "0" * 32


def files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_what_was_put_is_there(tmp_path: Path):
    cache = Cache(tmp_path, 1_000_000)
    assert cache.get(VERSION, "a/b c") is None
    cache.put(VERSION, "a/b c", b"content")
    assert cache.get(VERSION, "a/b c") == b"content"
    assert cache.get(VERSION, "a/b") is None
    assert cache.get("1" * 32, "a/b c") is None
    assert Cache(tmp_path, 0).get(VERSION, "a/b c") is None
    assert cache.info().files == 1


def test_damaged_contents_are_not_believed(tmp_path: Path):
    cache = Cache(tmp_path, 1_000_000)
    for i in range(30):
        cache.put(VERSION, f"name-{i}", os.urandom(50))
    paths = files_in(tmp_path)
    for number, path in enumerate(paths):
        data = bytearray(path.read_bytes())
        if number % 3 == 0:
            data[number % len(data)] ^= 1
        path.write_bytes(data if number % 3 != 1 else data[:number])
    os.replace(paths[2], paths[5])  # whole, but under another name
    found = [cache.get(VERSION, f"name-{i}") for i in range(30)]
    assert sum(data is not None for data in found) == 8
    assert len(files_in(tmp_path)) == 8  # what was damaged is gone


def test_it_stays_within_its_limit_and_keeps_what_was_used_last(tmp_path: Path):
    limit = 400_000
    cache = Cache(tmp_path, limit)
    now = time.time()
    for i in range(300):
        cache.put(VERSION, f"{i}", bytes(4000))
        if (path := cache._path(VERSION, f"{i}")).exists():
            os.utime(path, (now - 1000 + i, now - 1000 + i))
        assert cache.get(VERSION, "0") is not None  # in use all the time
        assert cache.info().size <= limit * 1.02
    assert cache.get(VERSION, "299") is not None
    assert cache.get(VERSION, "100") is None
    cache.put(VERSION, "huge", bytes(limit))
    assert cache.get(VERSION, "huge") is None


def test_what_killed_processes_left_is_removed(tmp_path: Path):
    cache = Cache(tmp_path, 1_000_000)
    cache.put(VERSION, "a", b"1")
    left, written = (cache._path(VERSION, name).with_suffix(f".{atomic.token()}.part") for name in ("x", "y"))
    for path in (left, written):
        path.write_bytes(b"half")
    with open(written, "r+b") as file:  # still being written: locked
        assert atomic.try_lock(file)
        cache.shrink()
        assert (left.exists(), written.exists()) == (False, True)
    cache.shrink()
    assert not written.exists()
    assert cache.get(VERSION, "a") == b"1"


def test_clearing_leaves_alone_what_is_not_the_caches(tmp_path: Path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"x")
    (tmp_path / "heads").mkdir()
    (tmp_path / "heads" / "of_state.txt").write_bytes(b"x")
    (tmp_path / "heads" / ("a" * 32)).mkdir()
    (tmp_path / VERSION).mkdir()
    (tmp_path / VERSION / "notes.part").write_bytes(b"x" * 9000)
    cache = Cache(tmp_path, 16_000)
    cache.put(VERSION, "a", b"1")
    cache.put("heads", "a", b"1")
    assert cache.shrink() == cache.info().size == 8192
    assert cache.clear().files == 2
    assert {path.name for path in files_in(tmp_path)} == {"of_state.txt", "notes.part", "cat.jpg"}
    assert (tmp_path / "heads" / ("a" * 32)).is_dir()


def test_a_cache_that_cannot_be_written_costs_a_warning(nginx: Nginx, tmp_path: Path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("CHGDB_CACHE", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="cannot be written"):
        catalog = chgdb.open(f"{nginx.url}/twelve.zarr")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert same(catalog["mat-3"].density, density("mat-3"))


def test_sizes_in_the_environment(monkeypatch: pytest.MonkeyPatch):
    assert cache_limit() == 1_000_000_000
    for text, limit in {"0": 0, "500MB": 500_000_000, "1.5 gb": 1_500_000_000, "2000": 2000}.items():
        monkeypatch.setenv("CHGDB_CACHE_SIZE", text)
        assert cache_limit() == limit
    monkeypatch.setenv("CHGDB_CACHE_SIZE", "much")
    with pytest.raises(StoreError, match="CHGDB_CACHE_SIZE is 'much'"):
        cache_limit()


def test_commands(nginx: Nginx, own_cache: Path, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    url = f"{nginx.url}/twelve.zarr"
    assert _exit_code(["fetch", "mat-3", "--decode", "--catalog", url]) == 0
    capsys.readouterr()
    assert _exit_code(["cache", "path"]) == 0
    assert capsys.readouterr().out == f"{own_cache}\n"
    assert _exit_code(["cache", "info", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [store["url"] for store in facts["stores"]] == [url]
    assert facts["files"] == len(files_in(own_cache)) > 3
    assert 0 < facts["size"] < facts["limit"] == 1_000_000_000
    assert _exit_code(["cache", "info"]) == 0
    assert url in capsys.readouterr().out
    assert _exit_code(["cache", "clear"]) == 0
    assert f"{facts['files']} files removed" in capsys.readouterr().out
    assert files_in(own_cache) == []


def test_offline_the_cache_answers_and_says_what_it_lacks(nginx: Nginx, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    url = f"{nginx.url}/twelve.zarr"
    assert same(chgdb.open(url)["mat-3"].density, density("mat-3"))
    nginx.requests()
    monkeypatch.setenv("CHGDB_OFFLINE", "1")
    catalog = chgdb.open(url)
    assert same(catalog["mat-3"].density, density("mat-3"))
    with pytest.raises(OfflineError, match=r"^mat-4: .*: chgdb is offline .*, and the cache lacks payload/c/0, "):
        catalog["mat-4"].density  # noqa: B018
    with pytest.raises(OfflineError, match="the cache lacks band_gap/c/0"):
        catalog.search(band_gap=(1, 2))
    with pytest.raises(OfflineError, match="holds nothing of this store"):
        chgdb.open(f"{nginx.url}/unknown.zarr")
    with pytest.raises(ValueError, match="is offline"):
        chgdb.read(f"{nginx.url}/CHGCAR")
    assert same(chgdb.open(nginx.root / "twelve.zarr")["mat-4"].density, density("mat-4"))
    monkeypatch.delenv("CHGDB_OFFLINE")
    try:
        assert _exit_code(["--offline", "fetch", "mat-3", "mat-5", "--decode", "--catalog", url]) == 1
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert "mat-5: " in error
        assert "the cache lacks payload/c/0" in error
        assert _exit_code(["--offline", "fetch", "mat-3", "--decode", "--catalog", url]) == 0
    finally:
        os.environ.pop("CHGDB_OFFLINE", None)
    assert nginx.requests() == []


def test_twenty_processes_share_one_cache(nginx: Nginx, own_cache: Path):
    """All of them cold and at once, while one after the other damages the cache, clears it, and keeps it tiny."""
    code = """
import os, random, sys
import numpy as np
import chgdb
from chgdb.remote.cache import Cache
number, url, local = int(sys.argv[1]), sys.argv[2], chgdb.open(sys.argv[3])
generator = random.Random(number)
for turn in range(12):
    catalog = chgdb.open(url)
    for material_id in generator.sample(local.ids, 4):
        a, b = catalog[material_id].density, local[material_id].density
        assert all(np.array_equal(a.channels[name], b.channels[name]) for name in b.channels), material_id
    cache = Cache()
    if number == 0 and turn % 3 == 2:
        cache.clear()
    if number == 1:
        for path, status in list(cache._entries())[::3]:
            try:
                with open(path, "r+b") as file:
                    file.seek(status.st_size // 2)
                    file.write(b"damaged")
            except FileNotFoundError:
                pass
"""
    environment = os.environ | {"CHGDB_CACHE_SIZE": "100kB", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error", "-c", code]
    arguments = [f"{nginx.url}/twelve.zarr", str(nginx.root / "twelve.zarr")]
    processes = [
        subprocess.Popen([*command, str(n), *arguments], env=environment, stderr=subprocess.PIPE, text=True)
        for n in range(20)
    ]
    failures = [error for process in processes if (error := process.communicate(timeout=120)[1])]
    assert failures == []
    assert Cache(own_cache, 100_000).info().size <= 100_000 * 1.5
    assert not [path for path in files_in(own_cache) if path.suffix == ".part"]
    assert same(chgdb.open(arguments[0])["mat-3"].density, density(IDS[3]))
