"""Intervals that mean something: how far off a prediction can be, here, for this crystal.

The size of an error is itself learned, from what the labels of the nearest training materials say (`methods.nearest`),
from composition, structure and the prediction, by boosted trees of the logarithm of the absolute residual out of fold.
The residuals over that size are then brought to hold 50 % and 90 % of the true values, by a quantile regression on the
groups of `groups`. Its condition is that the share is right in every group by itself, not in the mean alone (I. Gibbs,
J. Cherian, E. Candès, arXiv 2305.12616).

A material's own label takes no part in its interval, nor those of its formula: they are left out of what is near, and
the size and the quantiles that it gets out of fold are of the other folds.

Most band gaps are zero, in calculations and in predictions. Their quantiles are those of the materials that have a gap.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..errors import require
from . import TARGETS, ModelError, Rows, groups
from .evaluation import FOLDS, NINETY_PERCENT, grouped_folds
from .held_out import HeldOut
from .methods import trees

if TYPE_CHECKING:
    import lightgbm

#: Shares of true values that the two intervals hold.
LEVELS = (0.5, 0.9)
#: Within half of a standard deviation's interval of 90 %, what a normal distribution has within that of 50 %.
NORMAL_HALF = 0.6744897501960817
#: Rounds over the groups at most, and the step that counts as none.
_SWEEPS, _STILL = 200, 1e-4
#: Residuals that quantiles are of at least, where there are so many.
_AT_LEAST = 20
#: Groups with fewer labels have no quantile of their own.
_FEWEST = 100
#: Smallest size of an error that is learned, of the median, and in eV for band gaps.
_LEAST, _LEAST_GAP = 0.02, 0.01
#: Above this a band gap is one, in eV.
OPEN = 0.02
FOLDER, FACTS = "intervals", "quantiles.json"
TREES = 150
_PARAMETERS: dict[str, Any] = {
    "objective": "regression",
    "learning_rate": 0.05,
    "num_leaves": 8,
    "min_data_in_leaf": 40,
    "feature_fraction": 0.25,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
    "max_bin": 63,
    "verbose": -1,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "seed": 0,
}


class Locating(Protocol):
    """A learner that knows which training rows are near: what intervals need of it."""

    def surroundings(
        self, rows: Rows | None, mean: Mapping[str, np.ndarray], known: HeldOut
    ) -> Mapping[str, np.ndarray]:
        """Target -> (n, k) of each row, finite, from which the size of its errors is learned.

        rows: None for the training rows of `known`. mean: predictions in units. known: labels of the training rows.
        """


@dataclass(eq=False)
class Intervals:
    """Half-widths of intervals.

    quantiles: target -> (levels, 1 + groups), coefficients of the logarithm of the half-width over the learned size.
    forests: target -> trees of the logarithm of the size.
    """

    quantiles: dict[str, np.ndarray]
    forests: dict[str, trees.Forest]
    boosters: dict[str, lightgbm.Booster] = field(default_factory=dict)  # after `fit` alone

    @classmethod
    def fit(
        cls, learner: Locating, known: HeldOut, member: np.ndarray, progress: Callable[[str], None] | None = None
    ) -> tuple[Intervals, dict[str, np.ndarray]]:
        """Intervals of a model, and target -> (levels, n) half-widths of its training rows, out of fold.

        Half-widths are on the scale of `Target.forward`, NaN without a label. member: `groups.memberships` of the
        training rows.
        """
        lightgbm = require("lightgbm", "ml", "fitting intervals")
        tables = learner.surroundings(None, known.mean, known)
        folds = grouped_folds(known.formulas)
        found, halves = cls({}, {}), {}
        for name, table in tables.items():
            truth, mean = known.truth[name], known.mean[name]
            rows = np.flatnonzero(np.isfinite(truth) & np.isfinite(mean))
            errors = np.abs(truth[rows] - mean[rows]) / (np.abs(mean[rows]) if TARGETS[name].log else 1.0)
            least = _LEAST_GAP if name == "band_gap" else _LEAST * float(np.median(errors)) + 1e-9
            target, whole = np.log(errors + least), np.column_stack([table, member])[rows]

            def grown(chosen: np.ndarray, whole: np.ndarray = whole, target: np.ndarray = target) -> Any:
                return lightgbm.train(_PARAMETERS, lightgbm.Dataset(whole[chosen], target[chosen]), TREES)

            size, parts = np.zeros(len(rows)), folds[rows]
            for k in range(FOLDS):
                if (parts == k).any():
                    size[parts == k] = grown(parts != k).predict(whole[parts == k], num_threads=1)
            counted = truth[rows] > OPEN if name == "band_gap" else np.ones(len(rows), bool)
            half = np.zeros((len(LEVELS), len(rows)))
            ratio = np.log(np.maximum(errors, 1e-12)) - size
            for k in [*range(FOLDS), -1]:
                others = np.flatnonzero((parts != k) & counted)
                if len(others) < _AT_LEAST:  # too few to tell: all rows, the fold's own where there is no other
                    others = np.flatnonzero(parts != k) if (parts != k).any() else np.arange(len(rows))
                fitted = np.stack([_quantiles(ratio[others], member[rows[others]], level) for level in LEVELS])
                if k < 0:
                    found.quantiles[name] = fitted
                else:
                    half[:, parts == k] = np.exp(size[parts == k] + _at(fitted, member[rows[parts == k]]))
            halves[name] = np.full((len(LEVELS), len(truth)), np.nan)
            halves[name][:, rows] = half
            booster = grown(np.ones(len(rows), bool))
            found.boosters[name] = booster
            found.forests[name] = trees.parse(trees.slim(booster.model_to_string(), 6), name)
            if progress is not None:
                progress(f"intervals of {name}: {len(rows)} residuals")
        return found, halves

    def halves(
        self, learner: Locating, rows: Rows, mean: Mapping[str, np.ndarray], known: HeldOut
    ) -> dict[str, np.ndarray]:
        """Target -> (levels, n) half-widths of rows, on the scale of `Target.forward`."""
        member = groups.memberships(rows.crystals)
        tables = learner.surroundings(rows, mean, known)
        result = {}
        for name, forest in self.forests.items():
            size = forest.predict(np.column_stack([tables[name], member]))
            result[name] = np.exp(size + _at(self.quantiles[name], member))
        return result

    def save(self, folder: Path) -> None:
        """Into a new folder `FOLDER` of a model's."""
        place = folder / FOLDER
        place.mkdir()
        for name, booster in self.boosters.items():
            trees.write(place / f"{name}.txt.xz", booster, 6)
        facts = {
            "levels": LEVELS,
            "groups": groups.NAMES,
            "quantiles": {n: [[float(f"{x:.4f}") for x in row] for row in q] for n, q in self.quantiles.items()},
        }
        (place / FACTS).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Intervals | None:
        """Inverse of `save`; None for a model without. Raises `ModelError` if they are of other groups."""
        path = folder / FOLDER / FACTS
        if not path.exists():
            return None
        facts = json.loads(path.read_text(encoding="utf-8"))
        if tuple(facts["groups"]) != groups.NAMES or tuple(facts["levels"]) != LEVELS:
            raise ModelError(f"{path}: intervals of other groups than this chgdb's: train the model again")
        quantiles = {n: np.array(q, float) for n, q in facts["quantiles"].items() if n in TARGETS}
        return cls(quantiles, {n: trees.read(path.parent / f"{n}.txt.xz") for n in quantiles})


def to_std(halves: np.ndarray) -> np.ndarray:
    """(n,) standard deviations of (levels, n) half-widths: 90 % of true values lie within 1.645 of them."""
    return halves[LEVELS.index(0.9)] / NINETY_PERCENT


def _at(quantiles: np.ndarray, member: np.ndarray) -> np.ndarray:
    """(levels, n) logarithms of rows of some groups; an interval of 50 % is never the wider one."""
    found = quantiles[:, :1] + quantiles[:, 1:] @ member.T
    return np.minimum(found, found[-1:])


def _quantiles(ratio: np.ndarray, member: np.ndarray, level: float) -> np.ndarray:
    """(1 + groups,) coefficients of a quantile regression on an intercept and on groups that are large enough.

    One coordinate after the other is moved to where its group's share is right, until nothing moves, because the
    regression is to make every group's share right. If rows are few, a little more than the level must be inside, as in
    conformal prediction.
    """
    used = [g for g in range(member.shape[1]) if member[:, g].sum() >= _FEWEST]
    places = [(0, np.arange(len(ratio))), *((1 + g, np.flatnonzero(member[:, g])) for g in used)]
    result, left = np.zeros(1 + member.shape[1]), ratio.astype(float).copy()
    for _ in range(_SWEEPS):
        largest = 0.0
        for place, rows in places:
            step = float(np.quantile(left[rows], min(level * (1 + 1 / len(rows)), 1.0)))
            result[place] += step
            left[rows] -= step
            largest = max(largest, abs(step))
        if largest < _STILL:
            break
    return result
