"""The folds of one training: which rows teach which learner, and what each says of the rows that it has not seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from . import TARGETS, Learner, ModelError, Rows
from .evaluation import grouped_folds, validation_rows

#: Labels that a target needs.
_FEWEST = 20


@dataclass(frozen=True, eq=False)
class Training:
    """Rows, targets and folds of one training.

    rows: those with a density, `measured` of them, and then structures without one. scaled: labels of all rows on the
    scale of `Target.forward`. keys: what folds are grouped by.
    """

    model: Any
    rows: Rows
    measured: int
    targets: Mapping[str, np.ndarray]
    scaled: Mapping[str, np.ndarray]
    grouped: bool
    folds: int
    seed: int
    progress: Callable[[str], None] | None

    @classmethod
    def of(
        cls,
        model: Any,
        rows: Rows,
        targets: Mapping[str, np.ndarray],
        extra: tuple[Rows, Mapping[str, np.ndarray]] | None,
        folds: int,
        grouped: bool,
        seed: int,
        progress: Callable[[str], None] | None,
    ) -> Training:
        scaled = {n: TARGETS[n].forward(v) for n, v in targets.items()}
        everything = rows
        if extra is not None and getattr(model, "PARTIAL", False):
            everything = rows.append(extra[0], model.INPUTS)
            nothing = np.full(len(extra[0]), np.nan)
            scaled = {n: np.append(v, TARGETS[n].forward(extra[1].get(n, nothing))) for n, v in scaled.items()}
        return cls(model, everything, len(rows), targets, scaled, grouped, folds, seed, progress)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        return self.rows.formulas if self.grouped else self.rows.ids

    @cached_property
    def fold_of(self) -> np.ndarray:
        return grouped_folds(self.keys, self.folds)

    @cached_property
    def validation(self) -> np.ndarray:
        return validation_rows(self.rows.formulas)

    def fitted(self, train: np.ndarray, learned: Mapping[str, np.ndarray], label: str, number: int) -> Learner:
        """A learner of some rows."""
        progress = self.progress
        learner: Learner = self.model()
        learner.fit(
            self.rows.take(train),
            {n: v[train] for n, v in learned.items()},
            validation=self.validation[train],
            seed=self.seed + number,
            progress=(lambda text: progress(f"{label}: {text}")) if progress else None,
        )
        return learner

    def crossed(
        self, parts: np.ndarray, learned: Mapping[str, np.ndarray], label: str, first: int
    ) -> tuple[list[Learner], dict[str, np.ndarray], dict[str, np.ndarray]]:
        """One learner without each of the parts, and the mean and std of its predictions for that part."""
        raw_mean = {n: np.full(self.measured, np.nan) for n in learned}
        raw_std = {n: np.full(self.measured, np.nan) for n in learned}
        found, number = [], int(parts.max()) + 1
        with_density = np.arange(len(self.rows)) < self.measured
        for k in range(number):
            train = np.flatnonzero((parts != k) | (number == 1))
            test = np.flatnonzero(with_density & ((parts == k) if number > 1 else self.validation))
            found.append(self.fitted(train, learned, f"{label} {k + 1} of {number}", first + k))
            if not len(test):  # so few formulas that none of them is in this part
                continue
            mean, std = found[-1].predict(self.rows.take(test))
            for n in learned:
                raw_mean[n][test], raw_std[n][test] = mean[n], std[n]
        return found, raw_mean, raw_std

    def split(self) -> dict[str, Any]:
        """The exact split, for `model.json`'s neighbour."""
        kind = "formula" if self.grouped else "material"
        ids, fold_of = self.rows.ids, self.fold_of[: self.measured]
        return {
            "rule": f"fold of a {kind}: BLAKE2b-64 of 'fold 0 {kind.upper()}' modulo {self.folds}; validation: a tenth "
            "of the formulas by BLAKE2b-64 of 'validation 0 FORMULA'",
            "folds": [[ids[i] for i in np.flatnonzero(fold_of == k)] for k in range(self.folds)],
            "without_density": list(ids[self.measured :]),
        }


def usable_targets(targets: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Targets with labels. Raises `ModelError` if one has too few, or none has any."""
    usable = {n: v for n, v in targets.items() if np.isfinite(v).any()}
    for target, values in usable.items():
        if np.isfinite(values).sum() < _FEWEST:
            raise ModelError(f"{target} has {int(np.isfinite(values).sum())} labels; training needs {_FEWEST} or more")
    if not usable:
        raise ModelError("there is no label to train with")
    return usable


def calibrating_rows(usable: Mapping[str, np.ndarray], wanted: np.ndarray | None) -> dict[str, np.ndarray]:
    """target -> (n,) bool, the rows whose residuals calibrate it: the wanted ones that have a label, if enough."""
    chosen = {n: np.isfinite(v) & (True if wanted is None else wanted) for n, v in usable.items()}
    return {n: known if known.sum() >= _FEWEST else np.isfinite(usable[n]) for n, known in chosen.items()}
