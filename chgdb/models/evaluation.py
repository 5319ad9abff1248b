"""How models are measured: folds, metrics with bootstrap intervals, coverage of intervals, the order of polymorphs.

Folds depend on the formula alone, by a hash, so that polymorphs never straddle them and a material keeps its fold when
the catalog grows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..checksums import hash64

FOLDS = 5
#: |error| / std that 90 % of a normal distribution stay within: `std` is calibrated so that this holds.
NINETY_PERCENT = 1.6448536269514722


def grouped_folds(formulas: Sequence[str], folds: int = FOLDS, seed: int = 0) -> np.ndarray:
    """(n,) int: the fold of every row, the same for all rows of a formula."""
    return np.array([hash64(f"fold {seed} {formula}") % folds for formula in formulas], np.int64)


def validation_rows(formulas: Sequence[str], fraction: float = 0.1, seed: int = 0) -> np.ndarray:
    """(n,) bool: about a fraction of the rows, whole formulas at a time, independent of the folds."""
    return np.array([hash64(f"validation {seed} {formula}") < fraction * 2**64 for formula in formulas], bool)


@dataclass(frozen=True)
class Score:
    """A metric and its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


def metrics(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """R2, MAE and RMSE; R2 = 1 - sum of squared errors / sum of squared deviations from the mean of `truth`."""
    error = predicted - truth
    spread = float(((truth - truth.mean()) ** 2).sum())
    return {
        "r2": 1 - float((error**2).sum()) / spread if spread else float("nan"),
        "mae": float(np.abs(error).mean()),
        "rmse": float(np.sqrt((error**2).mean())),
    }


def scores(
    truth: np.ndarray, predicted: np.ndarray, formulas: Sequence[str], samples: int = 1000, seed: int = 0
) -> dict[str, Score]:
    """The metrics with 95 % intervals: bootstrap over formulas, so that polymorphs are drawn together.

    truth, predicted: (n,) finite. Returns metric name -> `Score`.
    """
    groups = np.unique(np.asarray(formulas), return_inverse=True)[1]
    count = int(groups.max()) + 1
    error = predicted - truth
    # Every metric is made of sums over rows, so a sample of groups needs only the groups' sums.
    sums = np.stack(
        [np.bincount(groups, v, count) for v in (np.ones_like(error), np.abs(error), error**2, truth, truth**2)]
    )
    rng = np.random.default_rng(seed)
    drawn = np.stack([np.bincount(rng.integers(count, size=count), minlength=count) for _ in range(samples)])
    n, absolute, square, total, total_square = sums @ drawn.T
    spread = np.maximum(total_square - total**2 / n, 1e-300)
    samples_of = {"r2": 1 - square / spread, "mae": absolute / n, "rmse": np.sqrt(square / n)}
    value = metrics(truth, predicted)
    return {
        name: Score(value[name], *(float(x) for x in np.percentile(found, [2.5, 97.5])))
        for name, found in samples_of.items()
    }


def unexplained_ratio(
    truth: np.ndarray,
    predicted: np.ndarray,
    reference: np.ndarray,
    formulas: Sequence[str],
    samples: int = 1000,
    seed: int = 0,
) -> Score:
    """(1 - R2) of a prediction over (1 - R2) of a reference on the same rows, with a 95 % bootstrap interval."""
    groups = np.unique(np.asarray(formulas), return_inverse=True)[1]
    count = int(groups.max()) + 1
    sums = np.stack([np.bincount(groups, (p - truth) ** 2, count) for p in (predicted, reference)])
    rng = np.random.default_rng(seed)
    drawn = np.stack([np.bincount(rng.integers(count, size=count), minlength=count) for _ in range(samples)])
    ours, theirs = sums @ drawn.T
    low, high = np.percentile(ours / theirs, [2.5, 97.5])
    whole = sums.sum(axis=1)
    return Score(float(whole[0] / whole[1]), float(low), float(high))


def coverage(truth: np.ndarray, mean: np.ndarray, std: np.ndarray) -> float:
    """Share of rows within mean ± 1.645 std, the 90 % interval. All on the scale of `Target.forward`."""
    return float((np.abs(truth - mean) <= NINETY_PERCENT * std).mean())


def polymorph_order(
    truth: np.ndarray, predicted: np.ndarray, formulas: Sequence[str], least: float = 0.05
) -> tuple[int, int, int]:
    """(right, tied, pairs) over the pairs of one formula whose true values differ by more than a fraction `least`.

    A tie (a model that sees the composition alone) counts as half right: `right` is the number of pairs in the right
    order, `tied` that of equal predictions.
    """
    by_formula: dict[str, list[int]] = {}
    for i, formula in enumerate(formulas):
        by_formula.setdefault(formula, []).append(i)
    right, tied, pairs = 0, 0, 0
    for rows in by_formula.values():
        for position, i in enumerate(rows):
            for j in rows[:position]:
                difference = truth[i] - truth[j]
                if abs(difference) <= least * max(abs(truth[i]), abs(truth[j])):
                    continue
                pairs += 1
                step = predicted[i] - predicted[j]
                if abs(step) <= 1e-9 * abs(predicted[i]):
                    tied += 1
                else:
                    right += bool(step * difference > 0)
    return right, tied, pairs
