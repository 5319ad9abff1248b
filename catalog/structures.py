"""Structures with labels but without a density yet: the queue of `compute.py`, for models that learn from them too."""

from __future__ import annotations

import gzip
import json
from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np

from chgdb.density import Crystal
from chgdb.elements import atomic_number
from chgdb.models import TARGETS, Rows
from chgdb.models.rows import from_structures
from chgdb_catalog import labels

#: Parts of the paper's split that never train a model of these: its test set stays a test set.
_LEFT_OUT = ("test",)


def load(
    queue: Path,
    labels_path: Path,
    without: Collection[str],
    inputs: Iterable[str],
    *,
    cache: Path | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: bool = False,
) -> tuple[Rows, dict[str, np.ndarray]]:
    """(rows, target -> (n,) labels, NaN where there is none) of the queue's structures that have a label.

    without: ids to leave out, those of the catalog; the paper's test materials are left out, too. cache, workers,
    scheduler: see `from_catalog`. Raises `FormatError` where the labels are not a table of labels.
    """
    known = labels.read(labels_path)
    ids, crystals, sources = [], [], []
    with gzip.open(queue, "rt", encoding="utf-8") as file:
        for line in file:
            record = json.loads(line)
            material_id = record["material_id"]
            properties = known.get(material_id, {})
            if material_id in without or properties.get("paper_split") in _LEFT_OUT:
                continue
            if any(isinstance(properties.get(name), float) for name in TARGETS):
                ids.append(material_id)
                sources.append(record["structure_source"])
                numbers = np.array([atomic_number(symbol) for symbol in record["symbols"]])
                crystals.append(Crystal(record["cell"], record["frac"], numbers))
    rows = from_structures(ids, crystals, inputs, cache=cache, workers=workers, scheduler=scheduler, progress=progress)
    return rows, _labels(rows, known, sources)


def _labels(rows: Rows, known: dict[str, dict[str, float | str | bool]], sources: list[str]) -> dict[str, np.ndarray]:
    found = {}
    for name, target in TARGETS.items():
        values = np.full(len(rows), np.nan)
        for i, (material_id, source) in enumerate(zip(rows.ids, sources, strict=True)):
            properties = known[material_id]
            value = properties.get(name, properties.get(target.fallback) if target.fallback else None)
            usable = isinstance(value, float) and np.isfinite(value) and (value > 0 or not target.log)
            if usable and source not in target.excluded_sources:
                values[i] = value
        found[name] = values
    return found
