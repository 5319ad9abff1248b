"""The error to be expected of an estimate, from what the model says of itself; calibrated on formulas it never saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

#: Share of unseen materials whose error is below `limit`.
LEVEL = 0.9
_SMALLEST = 1e-7


@dataclass(frozen=True)
class Calibration:
    """log(NMAE) = intercept + slopes . (log spread, log size). exp(`mean`) times that is the mean of the error;
    exp(`bound`) times that is above the errors of a share `LEVEL` of materials.

    spread: root mean square of the members' deviations from their mean. size: that of the guessed difference. Both are
    in parts of the mean density.
    """

    intercept: float
    slopes: tuple[float, float]
    mean: float
    bound: float
    materials: int

    @classmethod
    def fit(cls, spread: np.ndarray, size: np.ndarray, error: np.ndarray) -> Calibration:
        """Fit to materials that neither trained nor stopped the model. spread, size, error: (n,)."""
        columns = np.stack([np.ones(len(error)), _log(spread), _log(size)], axis=1)
        target = _log(error)
        # Slopes are pulled lightly to zero, for calibration sets of a few materials.
        pull = np.diag([0.0, 1.0, 1.0]) * 0.01 * len(error)
        solution = np.linalg.solve(columns.T @ columns + pull, columns.T @ target)
        left = target - columns @ solution
        # The quantile of a conformal prediction counts one material more than there are.
        rank = min(len(left) - 1, int(np.ceil(LEVEL * (len(left) + 1))) - 1)
        bound = float(np.sort(left)[rank])
        mean = float(np.log(np.exp(left).mean()))
        return cls(float(solution[0]), (float(solution[1]), float(solution[2])), mean, bound, len(error))

    def __call__(self, spread: float, size: float) -> tuple[float, float]:
        """(expected NMAE, the NMAE below which a share `LEVEL` of such materials stays)."""
        centre = self.intercept + self.slopes[0] * float(_log(spread)) + self.slopes[1] * float(_log(size))
        return float(np.exp(centre + self.mean)), float(np.exp(centre + self.bound))

    def to_dict(self) -> dict[str, Any]:
        return {"intercept": self.intercept, "slopes": list(self.slopes), "mean": self.mean, "bound": self.bound,
                "materials": self.materials}  # fmt: skip

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Calibration:
        first, second = content["slopes"]
        return cls(float(content["intercept"]), (float(first), float(second)), float(content["mean"]),
                   float(content["bound"]), int(content["materials"]))  # fmt: skip


def _log(values: Any) -> np.ndarray:
    return np.log(np.maximum(values, _SMALLEST))
