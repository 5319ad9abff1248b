"""Columns of a store that exists: added and filled in, while its records, latents and views stay as they are."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import StoreError
from .files import FolderFiles
from .format import COLUMNS
from .lineage import LINEAGE, extended
from .parity import PARITY
from .reader import Store
from .table import column_type, column_values, fill_in, merged_types, stored_types
from .transaction import Transaction
from .writer import consolidated, seal, write_column


def set_columns(
    transaction: Transaction,
    values: Mapping[str, Mapping[str, Any]],
    attributes: Mapping[str, Mapping[str, str]],
    replace: bool = False,
    lineage: Mapping[str, Any] | None = None,
) -> tuple[str, ...]:
    """Put values into the columns of a store. Returns the ids of the materials whose values changed.

    Parameters
    ----------
    transaction
        Of the store.
    values
        Id -> column -> value. Ids that the store does not have are left out, and so are values that are None.
    attributes
        `units` and `long_name` of the columns.
    replace
        Whether to replace values that the store has.
    lineage
        Entry for the store's lineage, if anything is changed.

    Raises
    ------
    StoreError
        If values would be replaced without `replace`, or a column has another type or unit in the store. Nothing is
        changed then.
    """
    store = Store(FolderFiles(transaction.target))
    ids = [str(i) for i in store.column("material_id")]
    rows = {row: values[material_id] for row, material_id in enumerate(ids) if material_id in values}
    types = stored_types(store)
    changed: set[int] = set()
    columns = {}
    for name in attributes:
        given = {row: facts[name] for row, facts in rows.items() if facts.get(name) is not None}
        if not given:
            continue
        kind = COLUMNS.get(name) or column_type(name, given.values(), attributes[name])
        kind = merged_types({name: types[name]} if name in types else {}, {name: kind})[name]
        old = store.column(name) if name in types else fill_in(kind, len(ids), name)
        new = old.copy()
        filled = column_values(kind, list(given.values()), name)
        for row, value in zip(given, filled, strict=True):
            if np.array_equal(value, old[row]):
                continue
            if not replace and not is_missing(old[row], kind.missing):
                raise StoreError(
                    f"{name} of {ids[row]} is {old[row]} in {transaction.path} and {value} in what is added: ask to "
                    "replace it (--replace), or leave it out"
                )
            new[row] = value
            changed.add(row)
        types[name] = kind
        columns[name] = new
    if not changed:
        return ()
    with transaction.version() as folder:
        for key in store.checksums:
            if key != PARITY and key.partition("/")[0] not in columns:
                place = folder / key
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(store.read(key))
        _write(folder, columns, types, lineage)
    return tuple(ids[row] for row in sorted(changed))


def is_missing(value: Any, missing: Any) -> bool:
    """Whether a value means that nothing is known."""
    return bool(value == missing or value != value)


def _write(
    folder: Any, columns: Mapping[str, np.ndarray], types: Mapping[str, Any], lineage: Mapping[str, Any] | None
) -> None:
    import zarr

    with consolidated(folder):
        root = zarr.open_group(str(folder), mode="r+", use_consolidated=False)
        for name, column in columns.items():
            shutil.rmtree(folder / name, ignore_errors=True)
            write_column(root, name, column, types[name])
        if lineage is not None:
            root.attrs[LINEAGE] = extended(dict(root.attrs), "add columns", **lineage)[LINEAGE]
    seal(folder)
