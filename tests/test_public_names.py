"""Public names keep their places: everything on the API page of the last release, and everything on today's.

A name that has moved stays where it was for two minor versions, with a DeprecationWarning.
"""

from __future__ import annotations

import inspect
import pydoc
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import chgdb

ROOT = Path(__file__).resolve().parents[1]
#: The API page of 0.1.0, and what its other pages import.
RELEASED = """
chgdb: Catalog ChgdbError Crystal Density Record build open read write
chgdb.formats: read write
chgdb.density: Crystal Density
chgdb.comparison: compare Comparison
chgdb.grids: resample spacing_grid
chgdb.catalog: open_catalog Catalog Record
chgdb.ingest: build build_from BuildReport
chgdb.extraction: extract
chgdb.verification: verify VerifyReport
chgdb.publish: publish Publication pull Pulled
chgdb.cache: Cache
chgdb.latents: compute decode_record encode decode load_model LatentReport Coded
chgdb.splits: assign claims split by_hash
chgdb.samples: Latents Densities parts
chgdb.datasets: LatentDataset DensityDataset
chgdb.views: load_model compute view View StaleViewWarning
chgdb.models: names Rows Target Learner ModelError
chgdb.models.rows: from_densities from_catalog labels
chgdb.models.ensemble: Ensemble Predictions
chgdb.codecs: encode decode header measure Encoded Quality Header
chgdb.codecs.atoms: Prior fit
chgdb.errors: ChgdbError CodecError DensityError FormatError StoreError
"""
RENAMED = {"chgdb.latents.compute": "chgdb.latents.add_latents", "chgdb.views.compute": "chgdb.views.add_predictions"}
MOVED = {"chgdb.cache": "chgdb.remote.cache", "chgdb.codecs.atoms": "chgdb.promolecule"}


def released() -> list[tuple[str, str]]:
    lines = (line.partition(": ") for line in RELEASED.strip().splitlines())
    return [(module, name) for module, _, names in lines for name in names.split()]


def documented() -> list[str]:
    """Dotted names of today's API page."""
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    found = []
    for match in re.finditer(r"^::: (\S+)((?:\n {4}.*)*)", text, re.MULTILINE):
        members = re.search(r"members: \[(.*)\]", match[2])
        found += [f"{match[1]}.{name}" for name in members[1].split(", ")] if members else [match[1]]
    return found


@pytest.mark.parametrize(("module", "name"), released(), ids=lambda value: value)
def test_names_of_the_last_release(module: str, name: str) -> None:
    if name.endswith("Dataset"):
        pytest.importorskip("torch")
    if module in MOVED:
        sys.modules.pop(module, None)
        with pytest.warns(DeprecationWarning, match=f"{module} has moved to {MOVED[module]}"):
            found = getattr(import_module(module), name)
        assert found is getattr(import_module(MOVED[module]), name)
    elif new := RENAMED.get(f"{module}.{name}"):
        with pytest.warns(DeprecationWarning, match=f"{module}.{name} is now {new}"):
            found = getattr(import_module(module), name)
        assert found is pydoc.locate(new)
    else:
        assert getattr(import_module(module), name) is not None


@pytest.mark.parametrize("dotted", documented())
def test_names_of_the_api_page(dotted: str) -> None:
    if dotted.endswith("Dataset"):
        pytest.importorskip("torch")
    found = pydoc.locate(dotted)
    assert found is not None
    assert found.__doc__, f"{dotted} has no docstring"


def test_an_import_of_everything_public_is_cheap() -> None:
    """The names resolve on first use: the package itself imports neither numpy nor zarr."""
    code = "import sys, chgdb; print(sorted({'numpy', 'zarr', 'scipy', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_version_is_said_once() -> None:
    assert f"version: {chgdb.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert 'dynamic = ["version"]' in project
    assert not re.search(r'^version = "', project, re.MULTILINE)


def callables() -> list[str]:
    """Functions and public methods of the API page with parameters."""
    found = []
    for dotted in documented():
        if dotted.endswith("Dataset"):
            continue  # needs torch
        thing = pydoc.locate(dotted)
        if inspect.isfunction(thing):
            found.append(dotted)
        elif inspect.isclass(thing) and not issubclass(thing, Exception):
            found += [f"{dotted}.{name}" for name, _ in inspect.getmembers(thing, inspect.isfunction) if name[0] != "_"]
    return sorted(set(found))


@pytest.mark.parametrize("dotted", callables())
def test_docstrings_are_in_numpy_style(dotted: str) -> None:
    """Sections that standard tools render, naming parameters that there are."""
    function = pydoc.locate(dotted)
    text = inspect.getdoc(function) or ""
    names = set(inspect.signature(function).parameters) - {"self", "cls"}
    assert not re.search(rf"^({'|'.join(names) or '(?!)'}): ", text, re.MULTILINE), "name: text is not NumPy style"
    assert not re.search(r"^Raises `", text, re.MULTILINE), "errors belong into a section Raises"
    section = re.search(r"^Parameters\n-+\n((?:.+\n?|\n(?= ))*)", text, re.MULTILINE)
    listed = re.findall(r"^(\w[\w, ]*?)(?: :.*)?$", section[1], re.MULTILINE) if section else []
    said = {name for line in listed for name in line.replace("*", "").split(", ")}
    assert said <= names, f"{said - names} are no parameters of {dotted}"
    if dotted.count(".") == 2 and dotted.split(".")[-1].islower() and len(names) > 2:
        assert said, f"{dotted} explains none of its {len(names)} parameters"
