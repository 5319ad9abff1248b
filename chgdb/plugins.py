"""Offers of installed packages: formats, codecs, models and catalogs, found by name through entry points.

A registry is a table of chgdb's own modules by name. Other packages add to it in their pyproject.toml:

    [project.entry-points."chgdb.formats"]
    vtk = "my_package.vtk"

Nothing is imported before it is used, and other packages are looked for only where chgdb's own do not have the name.
`chgdb.testing` has the tests that such a module must pass.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .errors import ChgdbError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


class PluginWarning(UserWarning):
    """Something that an installed package offers cannot be used."""


def offered(group: str) -> dict[str, EntryPoint]:
    """Entry points of a group by name, of all installed packages, in the order of their names.

    They are looked for once in a process: a few milliseconds, which a build would spend on each of its files. A package
    that is installed meanwhile is found once `sys.path` has changed.
    """
    return _offered(group, tuple(sys.path))


@cache
def _offered(group: str, path: tuple[str, ...]) -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points

    return {point.name: point for point in sorted(entry_points(group=group), key=lambda point: point.name)}


def models_folder(kind: str) -> Path:
    """Folder of the models that come with the embedded catalog: of the "properties", the "autoencoder", the "density"
    or the "volumes" kind."""
    import chgdb_catalog

    return Path(chgdb_catalog.path()).parent / "models" / kind


@dataclass(frozen=True)
class Registry:
    """Modules of one kind by name.

    kind: what a user calls one, for messages. group: of the entry points. package: of chgdb's own modules.
    table: name -> module of the package. error: raised for a name that nobody has.
    required: names that a module of this kind must have.
    """

    kind: str
    group: str
    package: str
    table: Mapping[str, str]
    error: type[ChgdbError]
    required: tuple[str, ...]

    def __hash__(self) -> int:
        return hash(self.group)

    def names(self) -> tuple[str, ...]:
        """Names of all there are, chgdb's own first; none is imported."""
        return (*self.table, *(name for name in offered(self.group) if name not in self.table))

    def check(self, name: str) -> None:
        """Raises the registry's error, with the names there are, where nobody has this one; imports nothing."""
        if name not in self.table and name not in offered(self.group):
            raise self.error(f"there is no {self.kind} {name!r}; there are {', '.join(self.names())}")

    def get(self, name: str) -> ModuleType:
        """The module of a name, imported. Raises the registry's error as `check`, or where it cannot be imported."""
        self.check(name)
        if name in self.table:
            return import_module(f"{self.package}.{self.table[name]}")
        return _loaded(self, name)

    def own(self) -> Iterator[tuple[str, ModuleType]]:
        """Name and module of chgdb's own, imported one after the other."""
        return ((name, self.get(name)) for name in self.table)

    def others(self) -> Iterator[tuple[str, ModuleType]]:
        """Name and module of those of other packages, imported one after the other; warns of what cannot be."""
        for name in offered(self.group):
            if name not in self.table:
                try:
                    yield name, self.get(name)
                except self.error as error:
                    warnings.warn(str(error), PluginWarning, stacklevel=3)


@cache
def _loaded(registry: Registry, name: str) -> ModuleType:
    point = offered(registry.group)[name]
    owner = f"the {registry.kind} {name!r} of the package {point.dist.name if point.dist else point.module}"
    try:
        module: Any = point.load()
    except Exception as error:  # whatever the code of others does when it is imported
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise registry.error(f"{owner} cannot be imported ({reason}): update or uninstall that package") from error
    missing = [attribute for attribute in registry.required if not hasattr(module, attribute)]
    if missing:
        raise registry.error(f"{owner} lacks {', '.join(missing)}: update or uninstall that package")
    return module
