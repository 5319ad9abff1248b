"""Collections of densities on servers, as inputs of `chgdb build`: what they list, and what is known of each density.

A source is a module with

    listing(url: str) -> Listing         of a URL such as mp://..., which lists and fetches nothing else

and a line in the table below, or an entry point of the group `chgdb.sources` in another package, whose name is what
the scheme of its URLs begins with: "mp" of mp://, "list" of list+https://. The build fetches each density in the
process or on the machine that packs it, keeps it in memory only, and tries again what a network broke; a build that was
interrupted goes on with the densities that are missing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import StoreError
from ..inputs.tables import read_table
from ..inputs.values import known, typed
from ..plugins import Registry
from ..urls import is_url

#: Columns of the store with what a source says: of each record, where it is from and how many bytes it had there.
URL, SIZE = "source_url", "source_bytes"
#: Attributes of those columns.
COLUMNS = {
    URL: {"long_name": "URL of the density that the record was made of"},
    SIZE: {"long_name": "bytes of that file", "units": "B"},
}


@dataclass(frozen=True)
class Entry:
    """One density. size: of its file in bytes, where it is known. digest: "sha256:..." or "md5:..." of it, or "".
    values: column -> value for its record, such as licence, functional, task_id."""

    material_id: str
    url: str
    size: int | None = None
    digest: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Listing:
    """The contents of a source. refused: (name, reason in one line). notes: what else to know, a line each."""

    entries: list[Entry]
    refused: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


REGISTRY = Registry(
    kind="source",
    group="chgdb.sources",
    package=__name__,
    table={"mp": "mp", "list": "lists"},
    error=StoreError,
    required=("listing",),
)


def is_source(item: object) -> bool:
    """Whether an input of a build is a collection that a source lists.

    >>> is_source("mp://"), is_source("list+https://example.org/pbe.csv"), is_source("https://example.org/CHGCAR")
    (True, True, False)
    """
    kind = _kind(item)
    return kind is not None and kind in REGISTRY.names()


def listing(url: str) -> Listing:
    """The contents of the collection at a URL.

    Raises `StoreError` if it lists nothing, `RemoteError` if its server does not answer.
    """
    found: Listing = REGISTRY.get(_kind(url) or "").listing(url)
    if not found.entries and not found.refused:
        raise StoreError(f"{url}: lists no densities")
    return found


def table_columns(path: Path) -> dict[str, list[Any]]:
    """Name -> values of each column of a CSV; ids stay text."""
    table = read_table(path)
    cells = {name: [row[place] for _, row in table.rows] for place, name in enumerate(table.header) if name}
    return {name: known(column) if name.endswith("_id") else typed(column) for name, column in cells.items()}


def _kind(item: object) -> str | None:
    match = re.match(r"([a-z][a-z0-9]*)(\+[a-z][a-z0-9]*)?://", item) if isinstance(item, str) else None
    return match[1] if match and is_url(item) else None
