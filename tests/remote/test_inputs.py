"""Density files at URLs: read, converted, packed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import fsspec
import pytest
from materials import atoms, same
from nginx import Nginx

import chgdb
from chgdb.errors import StoreError
from chgdb.inputs import find_files, id_of
from chgdb_cli.main import _exit_code


@pytest.fixture
def files(served: Path):
    """runs/mat-1/CHGCAR.gz and runs/NaCl.cube in the served folder."""
    folder = served / "runs"
    (folder / "mat-1").mkdir(parents=True)
    chgdb.write(folder / "mat-1" / "CHGCAR.gz", atoms("mat-1"))
    chgdb.write(folder / "NaCl.cube", atoms("mat-2"))
    (folder / "mat-1" / "OUTCAR").write_text("not a density")
    yield folder
    shutil.rmtree(folder)


def test_names_of_urls():
    assert id_of("https://example.org/runs/mp-149/CHGCAR.gz?signature=1") == "mp-149"
    assert id_of("s3://bucket/NaCl.cube") == "NaCl"
    assert id_of("https://example.org/LiH.CHGCAR.xz") == "LiH"


def test_a_build_from_a_web_server(nginx: Nginx, files: Path, tmp_path: Path):
    urls = [f"{nginx.url}/runs/mat-1/CHGCAR.gz", f"{nginx.url}/runs/NaCl.cube", f"{nginx.url}/runs/missing/CHGCAR"]
    report = chgdb.build(tmp_path / "out.zarr", urls, workers=1, tolerance=0)
    assert report.added == ("mat-1", "NaCl")
    assert [(source, "no such file" in reason) for source, reason in report.refused] == [(urls[2], True)]
    assert same(chgdb.open(tmp_path / "out.zarr")["mat-1"].density, chgdb.read(files / "mat-1" / "CHGCAR.gz"))
    assert chgdb.build(tmp_path / "out.zarr", urls[:2], workers=1, tolerance=0).skipped == ("mat-1", "NaCl")


def test_a_build_from_a_bucket(files: Path, tmp_path: Path):
    memory = fsspec.filesystem("memory")
    memory.put(str(files), "/bucket/runs", recursive=True)
    found = find_files("memory://bucket/runs")
    assert found == ["memory://bucket/runs/NaCl.cube", "memory://bucket/runs/mat-1/CHGCAR.gz"]
    assert chgdb.build(tmp_path / "out.zarr", "memory://bucket/runs", workers=1).added == ("NaCl", "mat-1")
    with pytest.raises(StoreError, match="no density files there"):
        find_files("memory://bucket/nothing")


def test_convert_and_diff_take_urls(nginx: Nginx, files: Path, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    url = f"{nginx.url}/runs/mat-1/CHGCAR.gz"
    assert _exit_code(["convert", url, "out.cube"]) == 0
    assert _exit_code(["diff", url, "out.cube"]) == 0
    assert "NMAE" in capsys.readouterr().out
    assert _exit_code(["convert", f"{nginx.url}/nothing/CHGCAR", "other.cube"]) == 1
    captured = capsys.readouterr()
    assert captured.err == f"chgdb: {nginx.url}/nothing/CHGCAR: there is no such file\n"


@pytest.mark.parametrize(
    "command",
    [
        *("predict {}", "predict {} --json", "predict {} --csv", "diff {} {} --json", "diff {} mp-149 --json"),
        *("plot {}", "encode {} -o latent.npy --json", "convert {} Si.cube", "estimate {} -o made/"),
        *("build my.zarr {} --json", "info nothing --catalog {}"),
    ],
)
def test_no_command_shows_the_secrets_of_a_url(command: str, nginx: Nginx, files: Path, tmp_path: Path) -> None:
    if command.startswith("encode"):
        pytest.importorskip("torch")
    url = nginx.url.replace("://", "://us3r:p4ssword@") + "/runs/Si/CHGCAR.gz?signature=s1gned#fr4gment"
    (files / "Si").mkdir()
    chgdb.write(files / "Si" / "CHGCAR.gz", chgdb.open()["mp-149"].density)
    done = subprocess.run(
        [sys.executable, "-m", "chgdb_cli.start", *(word.format(url) for word in command.split())],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == (1 if command.startswith("info") else 0), done.stderr
    names = " ".join(path.name for path in tmp_path.rglob("*"))
    for secret in ("us3r", "p4ssword", "s1gned", "fr4gment"):
        assert secret not in done.stdout + done.stderr + names
