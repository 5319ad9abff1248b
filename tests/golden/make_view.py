"""Write the golden store with a view: every later version of chgdb must still give its predictions.

    python tests/golden/make_view.py

writes view-v1.zip: the store of store-v2.zip with the view `properties` of a model that never was, its values by the
formulas below. It refuses to write over it: its bytes are promises.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from chgdb import views
from chgdb.catalog import open_catalog
from chgdb.models.ensemble import Predictions

FOLDER = Path(__file__).resolve().parent
ARCHIVE = FOLDER / "view-v1.zip"
IDS = ("gold-1", "gold-2", "gold-3", "gold-4")
SCORES = {"protocol": "made up", "r2": 0.5}


@dataclass(frozen=True)
class MadeUp:
    """What writing a view asks of a model."""

    identifier: str = "golden-89abcdef"
    targets: tuple[str, ...] = ("bulk_modulus", "formation_energy")
    description: dict[str, Any] = field(
        default_factory=lambda: {"title": "none", "version": 7, "scores": {"bulk_modulus": SCORES}}
    )
    split: dict[str, Any] = field(default_factory=lambda: {"folds": [[0, 2], [3]]})


def values(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Prediction, standard deviation and whether out of fold, of the four materials; exact in float32."""
    row = np.arange(4.0)
    sign, scale = {"bulk_modulus": (1, 64), "formation_energy": (-1, 0.25)}[name]
    return sign * (row + 1) * scale, (row + 2) * scale / 8, np.array([True, False, True, True])


def main() -> None:
    if ARCHIVE.exists():
        sys.exit(f"{ARCHIVE} is there already: golden files are never written again")
    model = MadeUp()
    parts = {name: values(name) for name in model.targets}
    mean, std, out_of_fold = ({name: part[i] for name, part in parts.items()} for i in range(3))
    predictions = Predictions(mean, std, out_of_fold, ((), ("too large",), (), ()))
    with tempfile.TemporaryDirectory() as temporary:
        store = Path(temporary) / "store.zarr"
        shutil.unpack_archive(FOLDER / "store-v2.zip", store)
        views.write(store, IDS, predictions, model)  # type: ignore[arg-type]
        assert open_catalog(store).view().targets == model.targets
        shutil.make_archive(str(ARCHIVE.with_suffix("")), "zip", store)


if __name__ == "__main__":
    main()
