"""Some records of a catalog as a store of their own, byte for byte."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from .catalog import Catalog
from .errors import StoreError
from .store.lineage import extended
from .store.table import from_store
from .store.transaction import writing
from .store.writer import write_table
from .urls import is_url, public


def extract(
    catalog: Catalog,
    ids: Iterable[str],
    out: str | os.PathLike[str],
    *,
    replace: bool = False,
    predictions: bool = False,
) -> None:
    """Write a store with these materials only: the same payloads, extras, columns and priors.

    Parameters
    ----------
    catalog : Catalog
        The catalog that holds the materials.
    out
        Folder of the new store.
    ids : Iterable[str]
        Ids of the materials, in the order of the new store.
    replace : bool
        Replace a store that is already there, which may be the catalog's own.
    predictions : bool
        Keep the predictions for these materials too.

    Raises
    ------
    UnknownMaterialError
        For an id that the catalog does not have.
    StoreError
        If `out` exists or cannot be written.
    """
    target = Path(out)
    if os.path.lexists(target) and not replace:
        raise StoreError(f"{target} exists already; choose another folder")
    wanted = list(dict.fromkeys(ids))
    if not wanted:
        raise StoreError(f"{target}: a store of no materials is none")
    for material_id in wanted:
        catalog[material_id]
    table = catalog.consistent(lambda store: from_store(store, wanted, keep_views=predictions))
    source = public(catalog.path) if is_url(catalog.path) else catalog.path
    facts = {"path": source, "n_materials": len(catalog)}
    table.attributes = extended(table.attributes, "subset", source=facts, n_materials=len(wanted))
    table.attributes["extracted_from"] = source
    with writing(target) as transaction:
        if transaction.exists and not replace:
            raise StoreError(f"{target} exists already; choose another folder")
        with transaction.version() as folder:
            write_table(folder, table)
