"""A small catalog, and the command line run in this process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small import DENSITIES, Chgdb, Result

import chgdb
from chgdb_cli.main import _exit_code


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one CHGCAR a material, and a CSV of properties."""
    folder = tmp_path_factory.mktemp("runs")
    for name, make in DENSITIES.items():
        (folder / name).mkdir()
        chgdb.write(folder / name / "CHGCAR", make())
    (folder / "gaps.csv").write_text("material_id,band_gap_eV,note\nsi,1.1,measured\nsalt,8.5,\n")
    return folder


@pytest.fixture(scope="session")
def store(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store of these materials."""
    path = tmp_path_factory.mktemp("stores") / "small.zarr"
    report = chgdb.build(
        path, runs, properties=runs / "gaps.csv", workers=1, prior="fit", provenance={"code": "made up"},
        attributes={"title": "three crystals", "licence": "CC0"},
    )  # fmt: skip
    assert report.complete
    return str(path)


@pytest.fixture
def run_chgdb(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Chgdb:
    """Run a command in an empty current folder, with the small store for a catalog."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHGDB_CATALOG", store)
    monkeypatch.delenv("CHGDB_DEBUG", raising=False)

    def call(*arguments: object) -> Result:
        capsys.readouterr()
        code = _exit_code([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return call


@pytest.fixture
def program(store: str, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command as a process of its own."""

    def call(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"CHGDB_CATALOG": store} | options.pop("env", {})
        return subprocess.run(
            [sys.executable, "-m", "chgdb_cli.main", *map(str, arguments)],
            **{"cwd": tmp_path, "env": environment, "capture_output": True, "text": True, "timeout": 120} | options,
        )

    return call
