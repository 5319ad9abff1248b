"""A few materials of the embedded catalog with a model of them; importable by other tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import chgdb
from chgdb.extraction import extract
from chgdb.models import get
from chgdb.models import rows as rows_of
from chgdb.models.training import train


def make(folder: Path, count: int = 60, seed: int = 0) -> tuple[Path, Path]:
    """(store of some materials, folder of models with `magpie` trained on them)."""
    store, models = folder / "few.zarr", folder / "models"
    catalog = chgdb.open()
    size, known = catalog.column("n_atoms"), np.isfinite(catalog.column("formation_energy"))
    chosen = np.flatnonzero(known & (size <= 4) & np.isfinite(catalog.column("bulk_modulus")))[: count - 2]
    if not store.exists():
        extract(catalog, ["mp-149", "mp-22862", *(catalog.ids[i] for i in chosen)], store)
    opened = chgdb.open(store)
    rows = rows_of.from_catalog(opened, ["magpie", "applicability"], workers=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(get("magpie"), "TREES", 25)
        train("magpie", opened, rows, rows_of.labels(opened, rows), models / "magpie", seed=seed)
    return store, models
