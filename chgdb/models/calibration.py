"""From what learners say to values in units, with standard deviations: 90 % of true values lie within 1.645 of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from . import TARGETS, ModelError, elasticity
from .evaluation import NINETY_PERCENT

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
        # The quantile of a Laplace distribution, whose tails are nearer to those of residuals than a normal one's.
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
    """The factor of intervals with which 90 % of the errors are in them, from errors over std.

    The quantile that covers 90 % of new errors in expectation, as of conformal prediction.
    """
    level = min(1.0, 0.9 * (1 + 1 / len(ratio)))
    return float(np.quantile(np.abs(ratio), level)) / NINETY_PERCENT


def rms(errors: np.ndarray) -> float:
    return float(np.sqrt(np.nanmean(errors**2)))


def in_units(raw: Mapping[str, np.ndarray], residual: Mapping[str, float]) -> dict[str, np.ndarray]:
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


def std_in_unit(name: str, calibration: Calibration, mean: np.ndarray, raw: np.ndarray) -> np.ndarray:
    std = calibration.std(raw)
    return std * mean if TARGETS[name].log else std
