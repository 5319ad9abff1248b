"""From learners to predictions: one learner for each fold, calibrated, consistent, and honest about what it has seen.

Each of the five members is trained without one fifth of the formulas and predicts these: out of fold. The residuals
calibrate the standard deviations, so that 90 % of them lie within 1.645 std. A new material gets the mean of all
members, or of the one learner of all rows where the model says `REFIT`, whose intervals are narrower as it has more
rows (`narrowed`); for a material of the training set its out-of-fold prediction, which is stored with the weights, can
be asked for instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import fitting
from ..store.transaction import writing
from . import TARGETS, Learner, ModelError, Rows, elasticity, get, storage
from .applicability import ApplicabilityDomain
from .evaluation import FOLDS, NINETY_PERCENT, grouped_folds, validation_rows
from .intervals import NORMAL_HALF, Intervals, to_std

#: Inputs that every ensemble wants beside its learners' own.
COMMON_INPUTS = ("applicability",)
#: Files beside `model.json`: the exact split, and the out-of-fold predictions.
SPLIT, HELD_OUT = "split.json.xz", "out_of_fold.json.xz"
#: Raised whenever the same learners would be calibrated otherwise.
CALIBRATION = 2
#: Labels that it takes to tell how intervals narrow with more of them; with fewer they stay as wide as those of folds.
_MANY = 200
#: Labels that a target needs.
_FEWEST = 20
_MODULI = ("bulk_modulus", "shear_modulus", "youngs_modulus")


@dataclass(frozen=True)
class Calibration:
    """How the std of one target is made: factor * sqrt(floor^2 + raw^2), raw being the learners' own idea.

    On the scale of `Target.forward`; of a log target the std in its unit is that times the value.
    residual: root mean square of the out-of-fold residuals. spread: std of the training labels, in their unit.
    """

    floor: float
    factor: float
    residual: float
    spread: float

    def __post_init__(self) -> None:
        if not all(isinstance(value, int | float) and abs(value) < 1e9 for value in vars(self).values()):
            raise ModelError("a calibration that is not four numbers")

    def std(self, raw: np.ndarray) -> np.ndarray:
        return self.factor * np.sqrt(self.floor**2 + raw**2)


@dataclass(frozen=True, eq=False)
class Predictions:
    """Values in the targets' units.

    Attributes
    ----------
    mean, std : Mapping[str, np.ndarray]
        Target -> (n,).
    out_of_fold : Mapping[str, np.ndarray]
        Target -> (n,) bool, predicted by a learner that had not seen the formula of this material of the training
        set.
    remarks : tuple[tuple[str, ...], ...]
        For each row the ways in which it is unlike the training set; its std is then no smaller than the spread of the
        labels.
    model : str
        Identifier of the model, "" if it was never stored.
    half : Mapping[str, np.ndarray]
        Target -> (n,): 50 % of true values lie within this of the mean. Nothing where the model has no `Intervals`.
    """

    mean: Mapping[str, np.ndarray]
    std: Mapping[str, np.ndarray]
    out_of_fold: Mapping[str, np.ndarray]
    remarks: tuple[tuple[str, ...], ...]
    model: str = ""
    half: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Out-of-fold predictions of training rows, by material.

    position: material id -> row. formulas: of the rows. mean, std: target -> (n,), NaN where a row has no label: then
    it was not in the training set of this target. truth: the labels, nothing in models made before they were kept.
    half: as of `Predictions`.
    """

    position: Mapping[str, int]
    formulas: tuple[str, ...]
    mean: Mapping[str, np.ndarray]
    std: Mapping[str, np.ndarray]
    truth: Mapping[str, np.ndarray] = field(default_factory=dict)
    half: Mapping[str, np.ndarray] = field(default_factory=dict)

    def rows_of(self, ids: Sequence[str], formulas: Sequence[str]) -> np.ndarray:
        """(n,) int: where the materials stand here, -1 for those that do not. The formula must be the same: an id of
        another collection can be the name of something else."""
        found = [self.position.get(material_id, -1) for material_id in ids]
        return np.array([r if r >= 0 and self.formulas[r] == f else -1 for r, f in zip(found, formulas, strict=True)])

    def to_json(self) -> dict[str, Any]:
        digits = {"std": 4, "half": 3}
        numbers = {
            key: {
                n: [float(f"{x:.{digits.get(key, 5)}g}") if np.isfinite(x) else None for x in v]
                for n, v in values.items()
            }
            for key, values in (("mean", self.mean), ("std", self.std), ("truth", self.truth), ("half", self.half))
            if values
        }
        return {"ids": list(self.position), "formulas": list(self.formulas), **numbers}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> HeldOut:
        keys = ("mean", "std", "truth", "half")
        parts = [{n: np.array(v, float) for n, v in content.get(key, {}).items()} for key in keys]
        position = {material_id: i for i, material_id in enumerate(content["ids"])}
        found = cls(position, tuple(content["formulas"]), *parts)
        shape = (len(found.formulas),)
        if len(content["ids"]) != len(found.formulas) or any(v.shape != shape for part in parts for v in part.values()):
            raise ModelError("out-of-fold predictions of different lengths")
        return found


@dataclass(eq=False)
class Ensemble:
    """A trained property model.

    Attributes
    ----------
    name : str
        Name of the learners' module.
    members : list[Learner]
        One for each fold, each trained without it; or a single one.
    held_out : HeldOut
        Out-of-fold predictions of the training rows; see `HeldOut`.
    """

    name: str
    members: list[Learner]
    calibration: dict[str, Calibration]
    domain: ApplicabilityDomain
    held_out: HeldOut
    split: dict[str, Any] = field(default_factory=dict)
    description: dict[str, Any] = field(default_factory=dict)
    intervals: Intervals | None = None

    @property
    def identifier(self) -> str:
        return str(self.description.get("identifier", ""))

    @property
    def targets(self) -> tuple[str, ...]:
        return tuple(self.calibration)

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs that `predict` needs."""
        return (*self.members[0].INPUTS, *COMMON_INPUTS)

    # Training ----------------------------------------------------------------------------------------------------

    @classmethod
    def fit(
        cls,
        name: str,
        rows: Rows,
        targets: Mapping[str, np.ndarray],
        *,
        extra: tuple[Rows, Mapping[str, np.ndarray]] | None = None,
        folds: int = FOLDS,
        grouped: bool = True,
        calibrating: np.ndarray | None = None,
        seed: int = 0,
        refit: bool = True,
        progress: Callable[[str], None] | None = None,
    ) -> tuple[Ensemble, Predictions]:
        """Train a model; returns it with the out-of-fold predictions of its training rows.

        Parameters
        ----------
        rows : Rows
            With the inputs of the model and `COMMON_INPUTS`.
        targets : Mapping[str, np.ndarray]
            Name -> (n,) in its unit, NaN without a label.
        extra : tuple[Rows, Mapping[str, np.ndarray]] | None
            Rows and targets of structures without a density, for models that say `PARTIAL`; they train, by the same
            folds, and are never tested on. Others ignore them.
        folds : int
            1 trains a single member on all rows; calibration and predictions are then those of its validation rows,
            the predictions NaN elsewhere.
        grouped : bool
            False lets polymorphs straddle the folds: a calibration for test rows that share their formulas with
            training rows, which are easier than a formula never seen.
        calibrating : np.ndarray | None
            (n,) bool, the rows whose residuals calibrate, all unless given: where those to be predicted are drawn
            from a part of the training set, whose errors are not those of all of it. Fewer than 20 are too few.
        refit : bool
            False leaves out the learner of all rows of a model that says `REFIT`: for measuring folds alone.

        Returns
        -------
        tuple[Ensemble, Predictions]

        Raises
        ------
        ModelError
            Where a target has fewer than 20 labels.
        """
        training = _Training.of(get(name).Model, rows, _usable(targets), extra, folds, grouped, seed, progress)
        members, raw_mean, raw_std = training.crossed(training.fold_of, training.scaled, "fold", 0)
        usable, scaled = training.targets, training.scaled
        residual = {n: _rms(raw_mean[n] - scaled[n][: len(rows)]) for n in usable}
        mean = _in_units(raw_mean, residual)
        chosen = _calibrating(usable, calibrating)
        calibration = {
            n: calibrate(n, values, np.where(chosen[n], mean[n], np.nan), raw_std[n], residual[n])
            for n, values in usable.items()
        }
        std = {n: _std_in_unit(n, calibration[n], mean[n], raw_std[n]) for n in usable}
        if folds > 1 and refit and getattr(training.model, "REFIT", False):
            members = [training.fitted(np.arange(len(training.rows)), scaled, "all rows", folds)]
            if folds > 2:
                _narrow(training, calibration, chosen)
        unlabelled = {n: ~np.isfinite(v) for n, v in usable.items()}
        held_out = HeldOut(
            {material_id: i for i, material_id in enumerate(rows.ids)},
            rows.formulas,
            {n: np.where(unlabelled[n], np.nan, mean[n]) for n in usable},
            {n: np.where(unlabelled[n], np.nan, std[n]) for n in usable},
            dict(usable),
        )
        domain = ApplicabilityDomain.of(rows.crystals, rows["applicability"])
        ensemble = cls(name, members, calibration, domain, held_out, training.split())
        flags = {n: np.isfinite(mean[n]) for n in usable}
        return ensemble, Predictions(mean, std, flags, tuple(() for _ in rows.ids))

    def fit_intervals(self, member: np.ndarray, progress: Callable[[str], None] | None = None) -> None:
        """Learn intervals from the residuals out of fold, in the place of those of `calibration`, which know nothing of
        a row but what the learner thinks of its error; nothing where the learner does not tell what is near.

        Parameters
        ----------
        member : np.ndarray
            `groups.memberships` of the training rows, in the order of `held_out`.
        progress : Callable[[str], None] | None
            Is told what is being learned.
        """
        learner: Any = self.members[0]
        if len(self.members) != 1 or not hasattr(learner, "surroundings") or not self.held_out.truth:
            return
        self.intervals, halves = Intervals.fit(learner, self.held_out, member, progress)
        scaled = {n: np.abs(self.held_out.mean[n]) if TARGETS[n].log else 1.0 for n in halves}
        self.held_out = replace(
            self.held_out,
            std={**self.held_out.std, **{n: to_std(h) * scaled[n] for n, h in halves.items()}},
            half={n: h[0] * scaled[n] for n, h in halves.items()},
        )

    # Prediction --------------------------------------------------------------------------------------------------

    def predict(self, rows: Rows, *, out_of_fold: bool = False, finite: bool = True) -> Predictions:
        """Predictions in the targets' units.

        Parameters
        ----------
        rows : Rows
            Materials with their inputs.
        out_of_fold : bool
            For materials of the training set (the same id and formula), what a learner that had not seen the
            formula predicted for them.
        finite : bool
            False lets through what is no finite number instead of raising.

        Returns
        -------
        Predictions

        Raises
        ------
        ModelError
            Where inputs are missing, or made by another version than those of the training rows.
        """
        for name, version in self.description.get("input_versions", {}).items():
            if rows.versions.get(name, version) != version:
                what = "latents of the autoencoder" if name == "latent" else f"{name} of version"
                raise ModelError(
                    f"the model {self.identifier} was trained on {what} {version}, these are of {rows.versions[name]}: "
                    "train it again with chgdb train properties"
                )
        with fitting(self.identifier or self.name, ModelError), np.errstate(all="ignore"):
            found = self._predict(rows, out_of_fold)
        if finite and not all(
            np.isfinite(values).all() for part in (found.mean, found.std) for values in part.values()
        ):
            raise ModelError(f"{self.identifier or self.name}: predicts something that is no finite number")
        return found

    def _predict(self, rows: Rows, out_of_fold: bool) -> Predictions:
        both = [member.predict(rows) for member in self.members]
        raw_mean = {n: np.mean([mean[n] for mean, _ in both], axis=0) for n in self.targets}
        raw_std = {n: np.sqrt(np.mean([std[n] ** 2 for _, std in both], axis=0)) for n in self.targets}
        mean = _in_units(raw_mean, {n: c.residual for n, c in self.calibration.items()})
        std = {n: _std_in_unit(n, self.calibration[n], mean[n], raw_std[n]) for n in self.targets}
        remarks = tuple(
            tuple(self.domain.remarks(crystal, values))
            for crystal, values in zip(rows.crystals, rows["applicability"], strict=True)
        )
        unlike = np.array([bool(found) for found in remarks], bool)
        half: dict[str, np.ndarray] = {}
        if self.intervals is not None:
            learner: Any = self.members[0]
            for name, widths in self.intervals.halves(learner, rows, mean, self.held_out).items():
                scaled = np.abs(mean[name]) if TARGETS[name].log else 1.0
                std[name], half[name] = to_std(widths) * scaled, widths[0] * scaled
        place = self.held_out.rows_of(rows.ids, rows.formulas) if out_of_fold else np.full(len(rows), -1)
        flags = {}
        for name in self.targets:
            std[name] = np.where(unlike, np.maximum(std[name], self.calibration[name].spread), std[name])
            stored = self.held_out.mean[name][place]
            flags[name] = (place >= 0) & np.isfinite(stored)
            mean[name] = np.where(flags[name], stored, mean[name])
            std[name] = np.where(flags[name], self.held_out.std[name][place], std[name])
            if name in half:
                spread = NORMAL_HALF * self.calibration[name].spread
                half[name] = np.where(unlike, np.maximum(half[name], spread), half[name])
                half[name] = np.where(flags[name], self.held_out.half[name][place], half[name])
        return Predictions(mean, std, flags, remarks, self.identifier, half)

    # Weights -----------------------------------------------------------------------------------------------------

    def save(self, folder: Path, facts: Mapping[str, Any] | None = None) -> str:
        """Write the model into a folder, and replace the model that was there. Returns its identifier.

        Parameters
        ----------
        facts : Mapping[str, Any] | None
            Further entries of `model.json` (data checksum, scores, versions of the inputs).

        Returns
        -------
        str

        Raises
        ------
        StoreError
            Where the folder holds something else than a property model, or cannot be written.
        """
        module = get(self.name)
        description = {
            "name": self.name,
            "title": module.Model.TITLE,
            "version": module.Model.VERSION,
            "inputs": list(self.inputs),
            "calibration": {n: vars(c) for n, c in self.calibration.items()},
            "domain": self.domain.to_json(),
            **(facts or {}),
            "libraries": storage.library_versions(),
        }
        with writing(folder, storage.MODEL) as transaction, transaction.version() as fresh:
            for k, member in enumerate(self.members):
                place = fresh / f"member-{k}"
                place.mkdir(parents=True)
                member.save(place)
            if self.intervals is not None:
                self.intervals.save(fresh)
            storage.write_json(fresh / SPLIT, self.split)
            storage.write_json(fresh / HELD_OUT, self.held_out.to_json())
            identifier = storage.seal(fresh, description)
            self.description = storage.read_description(fresh)
        return identifier

    @classmethod
    def load(cls, folder: Path) -> Ensemble:
        """Inverse of `save`.

        Returns
        -------
        Ensemble

        Raises
        ------
        ModelError
            Where there is no model or it is of another version of its learner.
        ChecksumError
            Where a file is damaged.
        MissingExtraError
            Where a package it needs is missing.
        """
        description = storage.read_description(folder)
        with fitting(folder, ModelError):
            return cls._load(folder, description)

    @classmethod
    def _load(cls, folder: Path, description: dict[str, Any]) -> Ensemble:
        learner = get(description["name"]).Model
        if description["version"] != learner.VERSION:
            raise ModelError(
                f"{folder} holds version {description['version']} of the model {description['name']}, this chgdb reads "
                f"version {learner.VERSION}: train it again with chgdb train properties, or install the other version"
            )
        storage.check(folder, description)
        if not isinstance(description.get("input_versions", {}), dict):
            raise ModelError(f"{folder}: the versions of its inputs are no table")
        places = sorted(folder.glob("member-*"))
        return cls(
            description["name"],
            [learner.load(place) for place in places],
            {n: Calibration(**content) for n, content in description["calibration"].items() if n in TARGETS},
            ApplicabilityDomain.from_json(description["domain"]),
            HeldOut.from_json(storage.read_json(folder / HELD_OUT)),
            storage.read_json(folder / SPLIT),
            description,
            Intervals.load(folder),
        )


@dataclass(frozen=True, eq=False)
class _Training:
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
    ) -> _Training:
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


def _usable(targets: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Targets with labels. Raises `ModelError` where one has too few, or none has any."""
    usable = {n: v for n, v in targets.items() if np.isfinite(v).any()}
    for target, values in usable.items():
        if np.isfinite(values).sum() < _FEWEST:
            raise ModelError(f"{target} has {int(np.isfinite(values).sum())} labels; training needs {_FEWEST} or more")
    if not usable:
        raise ModelError("there is no label to train with")
    return usable


def _calibrating(usable: Mapping[str, np.ndarray], wanted: np.ndarray | None) -> dict[str, np.ndarray]:
    """target -> (n,) bool, the rows whose residuals calibrate it: the wanted ones that have a label, if enough."""
    chosen = {n: np.isfinite(v) & (True if wanted is None else wanted) for n, v in usable.items()}
    return {n: known if known.sum() >= _FEWEST else np.isfinite(usable[n]) for n, known in chosen.items()}


def _narrow(training: _Training, calibration: dict[str, Calibration], chosen: Mapping[str, np.ndarray]) -> None:
    """Narrow the intervals of a learner of all rows, as learners of half of the rows say how."""
    many = {n: training.scaled[n] for n in training.targets if chosen[n].sum() >= _MANY}
    if not many:
        return
    halves = grouped_folds(training.keys, 2, seed=1)
    _, half_mean, half_std = training.crossed(halves, many, "half", training.folds + 1)
    at_half = _in_units(half_mean, {n: _rms(half_mean[n] - many[n][: training.measured]) for n in many})
    for n in many:
        said = np.where(chosen[n], at_half[n], np.nan)
        share = 1 - 1 / training.folds
        calibration[n] = narrowed(n, calibration[n], training.targets[n], said, half_std[n], share)


def calibrate(name: str, truth: np.ndarray, mean: np.ndarray, raw: np.ndarray, residual: float) -> Calibration:
    """Floor and factor of a target's std from out-of-fold predictions.

    The floor, as a multiple of the median raw std, is that of the largest likelihood; the factor makes 90 % of the
    residuals lie within 1.645 std. Residuals are relative where the target is a logarithm, so that intervals are
    symmetric in its unit.
    """
    known, errors = _errors(name, truth, mean)
    raw = raw[known]
    spread = float(truth[np.isfinite(truth)].std())
    middle = float(np.median(raw))
    best = (np.inf, residual)
    for floor in [middle * 2.0**k for k in range(-3, 6)] if middle > 0 else []:
        std = np.sqrt(floor**2 + raw**2)
        # Of a Laplace distribution, whose tails are nearer to those of residuals than a normal one's.
        scale = float(np.abs(errors / std).mean())
        best = min(best, (float(np.log(std).mean() + np.log(max(scale, 1e-300))), floor))
    floor = best[1]
    return Calibration(floor, _ninety(errors / np.sqrt(floor**2 + raw**2)), residual, spread)


def narrowed(
    name: str, calibration: Calibration, truth: np.ndarray, mean: np.ndarray, raw: np.ndarray, share: float
) -> Calibration:
    """The calibration of a learner of all rows, from that of learners of a share of them.

    mean, raw: what learners of half of the rows say of the other half. How much wider their intervals would have to be
    says how intervals narrow with the number of rows, as a power of it, as learning curves do: between -1 and 1, where
    a few values that are nearly exact would say anything.
    """
    if calibration.factor == 0:  # nine predictions in ten are exact: band gaps of metals
        return calibration
    known, errors = _errors(name, truth, mean)
    wider = _ninety(errors / calibration.std(raw[known]))
    power = np.clip(np.log(max(wider, 1e-9)) / np.log(share / 0.5), -1, 1)
    return replace(calibration, factor=calibration.factor * float(share**power))


def _errors(name: str, truth: np.ndarray, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(which rows have both, truth less mean of these: relative where the target is a logarithm)."""
    known = np.isfinite(truth) & np.isfinite(mean)
    errors = truth[known] - mean[known]
    return known, errors / mean[known] if TARGETS[name].log else errors


def _ninety(ratio: np.ndarray) -> float:
    """What to multiply intervals with so that 90 % of the errors are in them, from errors over std.

    The quantile that covers 90 % of new errors in expectation, as of conformal prediction.
    """
    level = min(1.0, 0.9 * (1 + 1 / len(ratio)))
    return float(np.quantile(np.abs(ratio), level)) / NINETY_PERCENT


def _rms(errors: np.ndarray) -> float:
    return float(np.sqrt(np.nanmean(errors**2)))


def _in_units(raw: Mapping[str, np.ndarray], residual: Mapping[str, float]) -> dict[str, np.ndarray]:
    """Values in units; the three moduli, where all are there, made consistent."""
    raw = dict(raw)
    if all(name in raw for name in _MODULI):
        stds = [np.full(len(raw[name]), residual[name]) for name in _MODULI]
        moduli = elasticity.reconcile(tuple(raw[n] for n in _MODULI), tuple(stds))  # type: ignore[arg-type]
        raw.update(zip(_MODULI, moduli, strict=True))
    values = {name: TARGETS[name].inverse(v) for name, v in raw.items()}
    if "band_gap" in values:
        values["band_gap"] = np.maximum(values["band_gap"], 0.0)
    return values


def _std_in_unit(name: str, calibration: Calibration, mean: np.ndarray, raw: np.ndarray) -> np.ndarray:
    std = calibration.std(raw)
    return std * mean if TARGETS[name].log else std


def required_inputs(names: Sequence[str]) -> tuple[str, ...]:
    """Inputs that any of the models of these names needs."""
    return tuple(dict.fromkeys([i for name in names for i in get(name).Model.INPUTS] + list(COMMON_INPUTS)))
