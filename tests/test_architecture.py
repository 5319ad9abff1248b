"""Who may import whom: imports point one way, and nowhere in a circle (docs/architecture.md).

Imports inside functions count like those at the top of a file. Imports for type checkers alone do not.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {"chgdb": ROOT / "chgdb", "chgdb_catalog": ROOT / "catalog", "chgdb_cli": ROOT / "cli"}
#: From the ground up: a module imports from its own line and those above it. The longest name counts.
LAYERS = """
chgdb chgdb_catalog chgdb.moved chgdb.text chgdb.urls chgdb.errors chgdb.limits chgdb.checksums chgdb.cards
chgdb.elements chgdb.formulas chgdb.grids chgdb.fortran chgdb.augmentation chgdb.plugins chgdb.targets chgdb.splits
chgdb.derived chgdb.hull
chgdb.channels chgdb.rotations
chgdb.parallel chgdb.atomic
chgdb.remote.transport chgdb.remote.proxies chgdb.remote.waits
chgdb.remote.http chgdb.remote.fsspec chgdb.remote.obstore chgdb.remote.connect
chgdb.crystal
chgdb.symmetry chgdb.transformations
chgdb.cells chgdb.charges chgdb.interop
chgdb.density
chgdb.comparison chgdb.promolecule chgdb.profiles chgdb.isosurfaces chgdb.sections
chgdb.formats
chgdb.codecs
chgdb.store
chgdb.remote
chgdb.criteria chgdb.predicted chgdb.charged chgdb.record chgdb.catalog
chgdb.inputs
chgdb.sources
chgdb.features chgdb.densities chgdb.samples chgdb.datasets
chgdb.packer chgdb.ingest chgdb.extraction chgdb.verification chgdb.publish chgdb.latents
chgdb.models
chgdb.views chgdb.charging chgdb.prediction chgdb.estimation chgdb.similarity
chgdb.building chgdb.curation
chgdb.testing chgdb.cache chgdb.codecs.atoms chgdb.web
chgdb_catalog.scripts
chgdb_cli chgdb_catalog.batches chgdb_catalog.structures chgdb_catalog.labels chgdb_catalog.columns chgdb_catalog.dft
chgdb_catalog.gpaw
chgdb_catalog.energies chgdb_catalog.doubts
chgdb_catalog.rebuild chgdb_catalog.datasheet chgdb_catalog.coverage chgdb_catalog.drawing chgdb_catalog.studies
chgdb_catalog.train_densities
"""


@cache
def modules() -> dict[str, Path]:
    found = {}
    for package, folder in PACKAGES.items():
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            found[".".join((package, *parts)).removesuffix(".__init__")] = path
    return found


def imports(name: str) -> Iterator[str]:
    """Modules of the project that a module imports, at the top or in a function."""
    path = modules()[name]
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    waiting: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
            continue
        waiting += ast.iter_child_nodes(node)
        targets: list[str] = []
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            base = ".".join(part for part in (start, node.module) if part)
            targets = [f"{base}.{alias.name}" for alias in node.names]
        for target in targets:
            while target and target not in modules():
                target = target.rpartition(".")[0]
            if target and target != name:
                yield target


@cache
def graph() -> dict[str, frozenset[str]]:
    return {name: frozenset(imports(name)) for name in modules()}


def layer(name: str) -> int:
    places = {known: number for number, line in enumerate(LAYERS.split("\n")) for known in line.split()}
    exact = {"chgdb", "chgdb_catalog"}  # of these two the package itself, not what is in it
    while name not in places or (name in exact and name not in modules()):
        name = name.rpartition(".")[0]
        assert name not in exact | {""}, "a module without a place in LAYERS"
    return places[name]


def test_imports_point_one_way() -> None:
    against = {
        (importer, imported) for importer, all_of in graph().items() for imported in all_of
        if layer(imported) > layer(importer)
    }  # fmt: skip
    assert against == set(), "see docs/architecture.md: who may import whom"


def test_no_imports_in_a_circle() -> None:
    try:
        TopologicalSorter(graph()).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' <- '.join(error.args[1])}")


def test_names_of_test_files_are_unique() -> None:
    """pytest imports them by their names, and stops at the second of a name."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []
