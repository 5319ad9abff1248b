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
from . import TARGETS, Learner, ModelError, Rows, get, storage
from .applicability import ApplicabilityDomain
from .calibration import Calibration, calibrate, in_units, narrowed, rms, std_in_unit
from .evaluation import FOLDS, grouped_folds
from .folds import Training, calibrating_rows, usable_targets
from .held_out import HeldOut
from .intervals import NORMAL_HALF, Intervals, to_std

#: Inputs that every ensemble wants beside its learners' own.
COMMON_INPUTS = ("applicability",)
#: Files beside `model.json`: the exact split, and the out-of-fold predictions.
SPLIT, HELD_OUT = "split.json.xz", "out_of_fold.json.xz"
#: Labels that it takes to tell how intervals narrow with more of them; with fewer they stay as wide as those of folds.
_MANY = 200
#: Raised whenever the same learners would be calibrated otherwise.
CALIBRATION = 2


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
        Target -> (n,): 50 % of true values lie within this of the mean. None if the model has no `Intervals`.
    """

    mean: Mapping[str, np.ndarray]
    std: Mapping[str, np.ndarray]
    out_of_fold: Mapping[str, np.ndarray]
    remarks: tuple[tuple[str, ...], ...]
    model: str = ""
    half: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(eq=False)
class Ensemble:
    """A trained property model.

    Attributes
    ----------
    name : str
        Name of the learners' module.
    members : list[Learner]
        One for each fold, trained without it; or a single one.
    calibration : dict[str, Calibration]
        Target -> how means and standard deviations become units and intervals.
    domain : ApplicabilityDomain
        The applicability domain: what the model was trained on.
    held_out : HeldOut
        Out-of-fold predictions of the training rows; see `HeldOut`.
    split : dict[str, Any]
        Facts of the folds.
    description : dict[str, Any]
        Content of `model.json`.
    intervals : Intervals | None
        Intervals by groups of materials; None where the model was stored without them.
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
        """Name of the model and the beginning of the checksum of its weights; "" before it is saved."""
        return str(self.description.get("identifier", ""))

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the properties that the model predicts."""
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
        """Train a model.

        Parameters
        ----------
        name : str
            A name of `chgdb.models.names()`.
        rows : Rows
            Materials with the inputs of the model and `COMMON_INPUTS`.
        targets : Mapping[str, np.ndarray]
            Name -> (n,) in its unit; NaN where there is no label.
        extra : tuple[Rows, Mapping[str, np.ndarray]] | None
            Rows and targets of structures without a density, for models that say `PARTIAL`. They train by the same
            folds, and are never tested on. Other models ignore them.
        folds : int
            Number of folds. With 1 a single member is trained on all rows. Calibration and predictions are then those
            of its validation rows, and predictions of other rows are NaN.
        grouped : bool
            False lets polymorphs be in different folds. This calibrates for test rows that share their formulas with
            training rows, which are easier than an unseen formula.
        calibrating : np.ndarray | None
            (n,) bool, the rows whose residuals calibrate; all unless given. It is for rows to be predicted that are
            drawn from a part of the training set with other errors. At least 20 are needed.
        seed : int
            Seed of folds and learners.
        refit : bool
            False leaves out the learner of all rows of a model that says `REFIT`, to measure the folds alone.
        progress : Callable[[str], None] | None
            Called with one line of text from time to time.

        Returns
        -------
        tuple[Ensemble, Predictions]
            The model, and the out-of-fold predictions of its training rows.

        Raises
        ------
        ModelError
            If a target has fewer than 20 labels.
        """
        training = Training.of(get(name).Model, rows, usable_targets(targets), extra, folds, grouped, seed, progress)
        members, raw_mean, raw_std = training.crossed(training.fold_of, training.scaled, "fold", 0)
        usable, scaled = training.targets, training.scaled
        residual = {n: rms(raw_mean[n] - scaled[n][: len(rows)]) for n in usable}
        mean = in_units(raw_mean, residual)
        chosen = calibrating_rows(usable, calibrating)
        calibration = {
            n: calibrate(n, values, np.where(chosen[n], mean[n], np.nan), raw_std[n], residual[n])
            for n, values in usable.items()
        }
        std = {n: std_in_unit(n, calibration[n], mean[n], raw_std[n]) for n in usable}
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
            If inputs are missing, or made by another version than those of the training rows.
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
        mean = in_units(raw_mean, {n: c.residual for n, c in self.calibration.items()})
        std = {n: std_in_unit(n, self.calibration[n], mean[n], raw_std[n]) for n in self.targets}
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
        """Write the model into a folder, and replace the model that was there.

        Parameters
        ----------
        folder : Path
            Folder of the model.
        facts : Mapping[str, Any] | None
            Further entries of `model.json` (data checksum, scores, versions of the inputs).

        Returns
        -------
        str
            The identifier of the model.

        Raises
        ------
        StoreError
            If the folder holds something other than a property model, or cannot be written.
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
        """Load a model that `save` wrote.

        Parameters
        ----------
        folder : Path
            Folder of the model.

        Returns
        -------
        Ensemble

        Raises
        ------
        ChecksumError
            If a file is damaged.
        ModelError
            If there is no model, or one of another version of its learner.
        MissingExtraError
            If a package that the learner needs is not installed.
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


def _narrow(training: Training, calibration: dict[str, Calibration], chosen: Mapping[str, np.ndarray]) -> None:
    """Narrow the intervals of a learner of all rows, as learners of half of the rows say how."""
    many = {n: training.scaled[n] for n in training.targets if chosen[n].sum() >= _MANY}
    if not many:
        return
    halves = grouped_folds(training.keys, 2, seed=1)
    _, half_mean, half_std = training.crossed(halves, many, "half", training.folds + 1)
    at_half = in_units(half_mean, {n: rms(half_mean[n] - many[n][: training.measured]) for n in many})
    for n in many:
        said = np.where(chosen[n], at_half[n], np.nan)
        share = 1 - 1 / training.folds
        calibration[n] = narrowed(n, calibration[n], training.targets[n], said, half_std[n], share)


def required_inputs(names: Sequence[str]) -> tuple[str, ...]:
    """Inputs that any of the models of these names needs."""
    return tuple(dict.fromkeys([i for name in names for i in get(name).Model.INPUTS] + list(COMMON_INPUTS)))
