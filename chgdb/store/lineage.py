"""The origin of the rows of a store: the root attribute `lineage`, a list of what was done, oldest first."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

LINEAGE = "lineage"
#: So many ids are named; of more there is only the number.
_NAMED = 100


def extended(attributes: Mapping[str, Any], operation: str, **facts: Any) -> dict[str, Any]:
    """Root attributes with one entry more in their lineage.

    >>> extended({"title": "oxides"}, "remove", n_materials=2)
    {'title': 'oxides', 'lineage': [{'operation': 'remove', 'n_materials': 2}]}
    """
    known = attributes.get(LINEAGE)
    before = known if isinstance(known, list) else []
    return {**attributes, LINEAGE: [*before, {"operation": operation, **facts}]}


def named(ids: Collection[str], what: str = "materials") -> dict[str, Any]:
    """Number of some materials, and which they are where they are few.

    >>> named(["mp-1", "mp-2"])
    {'n_materials': 2, 'materials': ['mp-1', 'mp-2']}
    """
    return {f"n_{what}": len(ids)} | ({what: list(ids)} if len(ids) <= _NAMED else {})
