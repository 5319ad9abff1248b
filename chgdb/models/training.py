"""Training of stored property models: rows and labels of a catalog -> a folder with weights, split and scores."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..store.transaction import writing
from . import TARGETS, ModelError, Rows, evaluation, get, groups, storage
from .ensemble import HELD_OUT, Ensemble, Predictions
from .evaluation import FOLDS
from .intervals import FOLDER
from .rows import labels as labels_of
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
    number_of = dict(zip(catalog.ids, catalog.column("space_group").tolist(), strict=True))
    ensemble.fit_intervals(groups.memberships(rows.crystals, [number_of[i] for i in rows.ids]), progress)
    found = replace(found, std=dict(ensemble.held_out.std), half=dict(ensemble.held_out.half))
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


def renew_intervals(folder: Path, catalog: Catalog, progress: Callable[[str], None] | None = None) -> str:
    """Fit the intervals of a stored model anew, its weights untouched; returns its new identifier.

    catalog: the one that it was trained on. Raises `ModelError` if it is another, or the model does not tell what is
    near.
    """
    ensemble = Ensemble.load(folder)
    held = ensemble.held_out
    row_of = {material_id: row for row, material_id in enumerate(catalog.ids)}
    if not set(held.position) <= set(row_of):
        raise ModelError(f"{folder} was trained on other materials than those of {catalog.path}")
    rows = Rows(tuple(held.position), tuple(catalog[i].crystal for i in held.position))
    found = labels_of(catalog, rows)
    truth = {n: np.where(np.isfinite(mean), found[n], np.nan) for n, mean in held.mean.items()}
    ensemble.held_out = replace(held, truth=truth)
    numbers = catalog.column("space_group")[[row_of[i] for i in rows.ids]]
    ensemble.fit_intervals(groups.memberships(rows.crystals, numbers.tolist()), progress)
    if ensemble.intervals is None:
        raise ModelError(f"the model in {folder} does not tell which materials are near to each other")
    return put_intervals(folder, ensemble)


def put_intervals(folder: Path, ensemble: Ensemble) -> str:
    """Write intervals and out-of-fold predictions of a model into its folder, all else as it is; the new identifier."""
    description = storage.read_description(folder)
    held = ensemble.held_out
    with writing(folder, storage.MODEL) as transaction, transaction.version() as fresh:
        for key in description["files"]:
            if key != HELD_OUT and not key.startswith(f"{FOLDER}/"):
                place = fresh / key
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(folder / key, place)
        assert ensemble.intervals is not None
        ensemble.intervals.save(fresh)
        storage.write_json(fresh / HELD_OUT, held.to_json())
        for name, score in description.get("scores", {}).items():
            known = np.isfinite(held.truth[name]) & np.isfinite(held.mean[name])
            inside = evaluation.coverage(held.truth[name][known], held.mean[name][known], held.std[name][known])
            score["coverage_90"] = round(inside, 4)
        kept = {n: v for n, v in description.items() if n not in ("format", "identifier", "files")}
        return storage.seal(fresh, kept)


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
