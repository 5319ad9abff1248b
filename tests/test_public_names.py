"""Public names keep their places: everything on the API page of the last release, and everything on today's.

A name that has moved stays where it was for two minor versions, with a DeprecationWarning.
"""

from __future__ import annotations

import dataclasses
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
    """Functions of the API page, and the public methods of its classes."""
    found = []
    for dotted in documented():
        if dotted.endswith("Dataset"):
            continue  # needs torch
        thing = pydoc.locate(dotted)
        if inspect.isfunction(thing):
            found.append(dotted)
        elif inspect.isclass(thing) and not issubclass(thing, Exception):
            members = inspect.getmembers(thing, lambda found: inspect.isfunction(found) or inspect.ismethod(found))
            found += [
                f"{dotted}.{name}" for name, member in members if name[0] != "_" and member.__module__[:5] == "chgdb"
            ]
    return sorted(set(found))


def classes() -> list[str]:
    """Classes of the API page that a caller makes, or whose fields a caller reads."""
    things = {dotted: pydoc.locate(dotted) for dotted in documented() if not dotted.endswith("Dataset")}
    return [
        dotted
        for dotted, thing in things.items()
        if inspect.isclass(thing) and not issubclass(thing, Exception) and not getattr(thing, "_is_protocol", False)
    ]


def named_in(text: str, section: str) -> set[str]:
    """The names that a section of a docstring explains."""
    found = re.search(rf"^{section}\n-+\n((?:.+\n?|\n(?= ))*)", text, re.MULTILINE)
    lines = re.findall(r"^(\**\w[\w, *]*?)(?: :.*)?$", found[1], re.MULTILINE) if found else []
    return {name for line in lines for name in line.replace("*", "").split(", ")}


@pytest.mark.parametrize("dotted", callables())
def test_docstrings_are_in_numpy_style(dotted: str) -> None:
    """Sections that standard tools render explain every parameter and say what is returned."""
    function = pydoc.locate(dotted)
    text, signature = inspect.getdoc(function) or "", inspect.signature(function)
    names = set(signature.parameters) - {"self", "cls"}
    assert not re.search(rf"^({'|'.join(names) or '(?!)'}): ", text, re.MULTILINE), "name: text is not NumPy style"
    assert not re.search(r"^Raises `", text, re.MULTILINE), "errors belong into a section Raises"
    assert named_in(text, "Parameters") == names
    if signature.return_annotation not in (None, "None"):
        assert re.search(r"^(Returns|Yields)\n-", text, re.MULTILINE), "there is no section Returns"


@pytest.mark.parametrize("dotted", classes())
def test_docstrings_of_classes_explain_their_fields(dotted: str) -> None:
    """Fields of a dataclass, or the parameters of other classes."""
    thing = pydoc.locate(dotted)
    text = inspect.getdoc(thing) or ""
    if dataclasses.is_dataclass(thing):
        names = {field.name for field in dataclasses.fields(thing) if field.name[0] != "_"}
    else:
        names = set(inspect.signature(thing).parameters)
    assert named_in(text, "Attributes") | named_in(text, "Parameters") >= names
