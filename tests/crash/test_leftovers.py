"""What killed processes and full disks leave: removed, or said in one line. Each is an error that the matrix found."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from materials import IDS, contents, density, load

import chgdb
from chgdb import atomic, views
from chgdb.errors import StoreError
from chgdb.ingest import build_from
from chgdb.remote.cache import Cache
from chgdb_cli.main import _exit_code


@pytest.fixture
def store(tmp_path: Path) -> Path:
    out = tmp_path / "s.zarr"
    build_from(out, IDS[:2], load, tolerance=0, prior=None, workers=1)
    return out


def part_of(path: Path) -> Path:
    """What a killed process leaves of a file."""
    left = path.with_name(f"{path.name}.{atomic.token()}.part")
    left.write_text("half")
    return left


def test_parts_of_killed_processes_go_with_the_next_write(tmp_path: Path) -> None:
    part_of(tmp_path / "CHGCAR")
    others = [tmp_path / "CHGCAR.1.part", tmp_path / "CHGCAR.part", part_of(tmp_path / "CHGCAR2")]
    for path in others:  # none of this file's
        path.write_text("half")
    with atomic.replacing(tmp_path / "CHGCAR") as running:
        chgdb.write(tmp_path / "CHGCAR", density("mat-0"))
        there = {"CHGCAR", Path(running.name).name, *(path.name for path in others)}
        assert set(os.listdir(tmp_path)) == there


def test_parts_in_the_cache_go_with_the_next_write(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 10**6)
    cache.put("heads", "one", b"1")
    (name,) = os.listdir(tmp_path / "heads")
    part_of(tmp_path / "heads" / name)
    with atomic.replacing(tmp_path / "heads" / ("0" * 32)) as running:
        cache = Cache(tmp_path, 10**6)
        cache.put("heads", "two", b"2")
        assert (cache.get("heads", "one"), cache.get("heads", "two")) == (b"1", b"2")
        left = [other for other in os.listdir(tmp_path / "heads") if other.endswith(".part")]
        assert left == [Path(running.name).name]


def test_a_cache_that_cannot_be_cleared_is_no_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(tmp_path, 10**6)
    cache.put("heads", "one", b"1")

    def read_only(self: Path, missing_ok: bool = False) -> None:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", read_only)
        with pytest.raises(StoreError, match="cannot be removed: Read-only file system"):
            cache.clear()
    assert cache.get("heads", "one") == b"1"
    assert cache.clear().files == 1
    assert os.listdir(tmp_path) == []


def test_nothing_is_put_into_a_store(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """A store is a folder; `-o STORE` does not mean a file in it."""
    before = contents(store)
    other = tmp_path / "other.zarr"
    assert _exit_code(["fetch", "mat-0", "--catalog", str(store), "-o", str(other)]) == 0
    assert _exit_code(["fetch", "mat-1", "--catalog", str(store), "-o", str(other)]) == 1
    assert "exists already" in capsys.readouterr().err
    assert _exit_code(["fetch", "mat-1", "--catalog", str(store), "-o", str(other), "--force"]) == 0
    assert chgdb.open(other).ids == ["mat-1"]
    assert _exit_code(["fetch", "mat-0", "mat-1", "--catalog", str(store), "-o", str(store)]) == 1
    assert "exists already" in capsys.readouterr().err
    for arguments in (["mat-0", "--decode"], ["mat-0", "mat-1", "--decode", "--force"]):
        assert _exit_code(["fetch", *arguments, "--catalog", str(store), "-o", str(store)]) == 1
        assert "is a store; name another folder or file" in capsys.readouterr().err
    arguments = ["fetch", "mat-0", "--catalog", str(store), "-o", str(store), "--force"]
    assert _exit_code(arguments) == 1
    assert "is the catalog itself" in capsys.readouterr().err
    assert contents(store) == before


def test_fetching_the_same_again_needs_no_room_beside_it(store: Path, tmp_path: Path) -> None:
    arguments = ["fetch", "mat-0", "--catalog", str(store), "--decode", "-o", str(tmp_path / "out" / "CHGCAR")]
    assert _exit_code(arguments) == 0
    before = os.stat(tmp_path / "out").st_mtime_ns
    assert _exit_code(arguments) == 0
    assert os.stat(tmp_path / "out").st_mtime_ns == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    "arguments", [["--version"], ["info", "--catalog", "{}"], ["search", "--catalog", "{}", "--json"]]
)
def test_a_full_disk_for_standard_output(store: Path, arguments: list[str]) -> None:
    command = [sys.executable, "-m", "chgdb_cli.main", *(argument.format(store) for argument in arguments)]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "No space left on device" in done.stderr


def test_a_picture_appears_whole_or_not_at_all(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figure = pytest.importorskip("matplotlib.figure", reason="needs matplotlib: pip install 'chgdb[plot]'")
    arguments = ["plot", "mat-0", "--catalog", str(store), "-o", str(tmp_path / "slice.png")]

    def full(self: object, stream: object, **settings: object) -> None:
        stream.write(b"half")  # type: ignore[attr-defined]
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(figure.Figure, "savefig", full)
        assert _exit_code(arguments) == 1
    assert os.listdir(tmp_path) == ["s.zarr"]
    assert _exit_code(arguments) == 0
    assert (tmp_path / "slice.png").read_bytes().startswith(b"\x89PNG")


def test_what_was_left_of_an_old_version_goes_when_there_is_nothing_to_write(store: Path) -> None:
    """Killed after the new version was put in place, while the old one was being removed."""
    views.add_predictions(store, workers=1)
    there = contents(store)
    staging = f".s.zarr.{atomic.token()}.staging"
    for name in (staging, ".s.zarr.journal"):
        (store.parent / name).mkdir()
    (store.parent / staging / "zarr.json").write_text("{}")
    assert _exit_code(["build", str(store), "--predict", "-q"]) == 0
    assert os.listdir(store.parent) == ["s.zarr"]
    assert contents(store) == there
