"""Structures with labels but without a density yet: the queue of `compute.py`, for models that learn from them too."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from chgdb.density import Crystal
from chgdb.elements import atomic_number
from chgdb.errors import FormatError
from chgdb.limits import gunzip
from chgdb.models import TARGETS, Rows
from chgdb.models.rows import from_structures
from chgdb_catalog import labels

#: Parts of the paper's split that never train a model of these: its test set stays a test set.
_LEFT_OUT = ("test",)


def crystal(record: Mapping[str, Any]) -> Crystal:
    """Structure of a record of a batch or of the queue."""
    numbers = np.array([atomic_number(symbol) for symbol in record["symbols"]])
    return Crystal(record["cell"], record["frac"], numbers)


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
    scheduler: see `from_catalog`. Raises `FormatError` if the labels are no table of labels, or the queue none.
    """
    known = labels.read(labels_path)
    ids, crystals, sources = [], [], []
    for material_id, source, crystal in _queue(queue):
        properties = known.get(material_id, {})
        if material_id in without or properties.get("paper_split") in _LEFT_OUT:
            continue
        if any(isinstance(properties.get(name), float) for name in TARGETS):
            ids.append(material_id)
            sources.append(source)
            crystals.append(crystal)
    if not ids:
        raise FormatError(f"{queue}: none of its structures without a density has a label in {labels_path}")
    rows = from_structures(ids, crystals, inputs, cache=cache, workers=workers, scheduler=scheduler, progress=progress)
    return rows, _labels(rows, known, sources)


def _queue(path: Path) -> Iterator[tuple[str, str, Crystal]]:
    """(id, source, structure) of each line. Raises `FormatError` naming the line that is not one of a queue."""
    try:
        lines = gunzip(path.read_bytes()).decode("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise FormatError(f"{path}: cannot be read: {error}") from None
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            yield str(record["material_id"]), str(record["structure_source"]), crystal(record)
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise FormatError(f"{path}: line {number}: no structure of a queue ({error})") from None


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
