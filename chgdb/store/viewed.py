"""Views as part of a table: what was derived from the densities, which stays with its materials.

An array has one row for each material, or (its dimension is `atom`) one for each atom, material after material; then
the view says in `n_atoms` how many each has.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .format import ROOT, VIEW

if TYPE_CHECKING:
    from .reader import Store


#: The dimension of arrays with one row an atom, and the array that says how many each material has.
ATOM, COUNTS = "atom", "n_atoms"


@dataclass
class ViewRows:
    """A view of some materials.

    attributes: of its group. arrays: name -> values (n, ...), or (atoms, ...). details: name -> (dimensions, value
    where nothing is known, attributes).
    """

    attributes: dict[str, Any]
    arrays: dict[str, np.ndarray]
    details: dict[str, tuple[list[str], Any, dict[str, Any]]]

    def take(self, rows: Sequence[int] | np.ndarray) -> ViewRows:
        """The same for some of the rows."""
        return ViewRows(
            self.attributes,
            {name: values[self.rows_of(name, rows)] for name, values in self.arrays.items()},
            self.details,
        )

    def rows_of(self, name: str, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Rows of an array that belong to some of the materials."""
        chosen = np.asarray(rows, np.intp)
        if self.details[name][0][:1] != [ATOM]:
            return chosen
        counts = self.arrays[COUNTS].astype(np.intp)
        starts = np.cumsum(counts) - counts
        return np.concatenate([np.empty(0, np.intp), *(np.arange(starts[i], starts[i] + counts[i]) for i in chosen)])

    def fits(self, other: ViewRows) -> bool:
        """Whether both are by the same model, so that the rows of one can stand below those of the other."""
        return self.attributes == other.attributes and self.arrays.keys() == other.arrays.keys()


def stored_views(store: Store, rows: Sequence[int]) -> dict[str, ViewRows]:
    """The views of a store, of these rows. Raises `ChecksumError` if one is damaged beyond repair."""
    found: dict[str, ViewRows] = {}
    for key in store.arrays:
        group, _, rest = key.partition("/")
        view, _, name = rest.partition("/")
        if group != VIEW or not name:
            continue
        if view not in found:
            found[view] = ViewRows(json.loads(store.read(f"{VIEW}/{view}/{ROOT}")).get("attributes", {}), {}, {})
        info = store.arrays[key]
        found[view].arrays[name] = store.column(key)
        found[view].details[name] = list(info.dimensions), info.fill_value[()], dict(info.attributes)
    return {name: view.take(rows) for name, view in found.items()}


def joined_views(old: Mapping[str, ViewRows], new: Mapping[str, ViewRows], order: np.ndarray) -> dict[str, ViewRows]:
    """Views of the rows of two tables, in an order. A view that only one table has, or that is by another model in the
    other table, is left out."""
    both = {}
    for name, view in old.items():
        if name in new and view.fits(new[name]):
            arrays = {key: np.concatenate([values, new[name].arrays[key]]) for key, values in view.arrays.items()}
            both[name] = ViewRows(view.attributes, arrays, view.details).take(order)
    return both
