"""Training of stored property models: rows and labels of a catalog -> a folder with weights, split and scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import TARGETS, Rows, evaluation, get, storage
from .ensemble import Ensemble, Predictions
from .evaluation import FOLDS
from .rows import version_names

if TYPE_CHECKING:
    from ..catalog import Catalog


def train(
    name: str,
    catalog: Catalog,
    rows: Rows,
    labels: Mapping[str, np.ndarray],
    folder: Path,
    *,
    extra: tuple[Rows, Mapping[str, np.ndarray]] | None = None,
    folds: int = FOLDS,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> tuple[Ensemble, Predictions]:
    """Train a model on all rows, write it to `folder`, return it with its out-of-fold predictions.

    rows: of the catalog, with the inputs of `ensemble.required_inputs`. labels: `rows.labels`; targets that are not
    served are left out. extra: rows and labels of structures without a density, see `Ensemble.fit`.
    Raises `ModelError` as `Ensemble.fit`.
    """
    targets = {n: v for n, v in labels.items() if TARGETS[n].served}
    ensemble, found = Ensemble.fit(name, rows, targets, extra=extra, folds=folds, seed=seed, progress=progress)
    used = {n: rows[n] for n in get(name).Model.INPUTS}
    facts = {
        "data": {
            "catalog": str(catalog.attributes.get("title", catalog.path)),
            "materials": len(rows),
            "labels": {n: int(np.isfinite(v).sum()) for n, v in targets.items()},
            "without_density": len(ensemble.split["without_density"]),
            "sha256": storage.data_checksum(rows.ids, {**used, **targets}),
        },
        "input_versions": {n: v for n, v in rows.versions.items() if n in version_names(get(name).Model.INPUTS)},
        "seed": seed,
        "scores": summary(rows, targets, found),
    }
    ensemble.save(folder, facts)
    return ensemble, found


def summary(
    rows: Rows, targets: Mapping[str, np.ndarray], found: Predictions, protocol: str = "five folds grouped by formula"
) -> dict[str, dict[str, Any]]:
    """Target -> n, R2, MAE, RMSE with 95 % intervals and coverage of the 90 % interval, where there is a prediction."""
    result = {}
    formulas = np.array(rows.formulas)
    for name, truth in targets.items():
        if name not in found.mean:
            continue
        known = np.isfinite(truth) & np.isfinite(found.mean[name])
        scores = evaluation.scores(truth[known], found.mean[name][known], formulas[known])
        result[name] = {
            "protocol": protocol,
            "n": int(known.sum()),
            **{metric: round(score.value, 5) for metric, score in scores.items()},
            **{f"{metric}_95": [round(score.low, 5), round(score.high, 5)] for metric, score in scores.items()},
            "coverage_90": round(evaluation.coverage(truth[known], found.mean[name][known], found.std[name][known]), 4),
        }
    return result
