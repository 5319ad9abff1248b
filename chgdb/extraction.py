"""Some records of a catalog as a store of their own, byte for byte."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from .catalog import Catalog
from .errors import StoreError
from .store.swap import beside, swap_in
from .store.table import from_store
from .store.writer import write_table


def extract(catalog: Catalog, ids: Iterable[str], out: str | os.PathLike[str], *, replace: bool = False) -> None:
    """Write a store with these materials only: the same payloads, extras, columns and priors.

    replace: put it in the place of a store that is there already.
    Raises `UnknownMaterialError` for an id that the catalog does not have, `StoreError` where `out` exists or cannot
    be written.
    """
    target = Path(out)
    if os.path.lexists(target):
        if not replace:
            raise StoreError(f"{target} exists already; choose another folder")
        if not (target / "zarr.json").is_file():
            raise StoreError(f"{target} exists and is not a store: it is not replaced")
    wanted = list(dict.fromkeys(ids))
    for material_id in wanted:
        catalog[material_id]
    table = catalog._consistent(lambda store: from_store(store, wanted))
    table.attributes["extracted_from"] = catalog.path
    staging = beside(target, "staging")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if staging.exists():
            shutil.rmtree(staging)
        write_table(staging, table)
        swap_in(staging, target)
    except OSError as error:
        if staging.exists():
            shutil.rmtree(staging)
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"{target}: {error.strerror or error}") from error
