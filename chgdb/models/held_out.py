"""Out-of-fold predictions of the training rows of a model, which are stored with its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import ModelError


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
