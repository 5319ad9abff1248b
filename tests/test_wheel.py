"""What is published: the library, the command line, and of the data package the data without the scripts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("setuptools", minversion="77")
ROOT = Path(__file__).resolve().parents[1]
#: Prints the files that setuptools would put into a wheel, without building one.
LIST = """
import json, sys
from setuptools import Distribution
distribution = Distribution({"script_name": "setup.py"})
distribution.parse_config_files()
command = distribution.get_command_obj("build_py")
command.finalize_options()
modules = [path for _, _, path in command.find_all_modules()]
data = [f"{folder}/{name}" for _, folder, _, names in command.data_files for name in names]
print(json.dumps({"version": distribution.get_version(), "files": modules + data}))
"""


@pytest.fixture(scope="module")
def wheel() -> dict:
    done = subprocess.run(
        [sys.executable, "-c", LIST], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_version_is_that_of_the_library(wheel: dict) -> None:
    import chgdb

    assert wheel["version"] == chgdb.__version__


def test_every_module_of_library_and_command_line_is_in_it(wheel: dict) -> None:
    for folder in ("chgdb", "cli"):
        there = {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*.py")}
        there = {path for path in there if "/node_modules/" not in path}
        assert there - set(wheel["files"]) == set(), "list the package in pyproject.toml"


def test_scripts_that_write_into_the_repository_are_not_in_it(wheel: dict) -> None:
    python = sorted(path for path in wheel["files"] if path.startswith("catalog/") and path.endswith(".py"))
    assert python == ["catalog/__init__.py", "catalog/labels.py", "catalog/structures.py"]


def test_its_data_are_the_catalog_and_the_models(wheel: dict) -> None:
    data = [path for path in wheel["files"] if not path.endswith(".py")]
    kinds = {path.split("/")[1] for path in data if path.startswith("catalog/")}
    assert kinds == {"chgdb.zarr", "models", "README.md", "coverage.svg"}
    assert "catalog/chgdb.zarr/zarr.json" in data
    assert "chgdb/py.typed" in data
    tracked = subprocess.run(
        ["git", "ls-files", "-zco", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if tracked.returncode == 0:  # in a clone: nothing that lies about by chance
        assert set(wheel["files"]) - set(tracked.stdout.split("\0")) == set()
