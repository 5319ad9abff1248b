"""MAGPIE only: gradient-boosted trees on 132 statistics of the composition, what every other model is measured against.

Two polymorphs of a formula look the same to it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import require
from .. import Rows
from ..methods import trees

if TYPE_CHECKING:
    import lightgbm

NAME = "magpie"
_PURPOSE = "training the model magpie"
#: A plain booster, its parameters not tuned to these data: 800 small steps.
TREES = 800
_PARAMETERS: dict[str, Any] = {
    "objective": "regression",
    "learning_rate": 0.03,
    "num_leaves": 24,
    "min_data_in_leaf": 5,
    "feature_fraction": 0.4,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 1.0,
    "verbose": -1,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
}


class Model:
    NAME = NAME
    TITLE = "MAGPIE, LightGBM"
    INPUTS = ("magpie",)
    VERSION = 1
    REFIT = True
    PARTIAL = True

    def __init__(self) -> None:
        self.forests: dict[str, trees.Forest] = {}
        self.boosters: dict[str, lightgbm.Booster] = {}  # after `fit` alone

    def fit(
        self,
        rows: Rows,
        targets: Mapping[str, np.ndarray],
        *,
        validation: np.ndarray,
        seed: int = 0,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        """See `Learner.fit`. Every row trains: the number of trees is fixed and nothing is stopped early."""
        lightgbm = require("lightgbm", "ml", _PURPOSE)
        table = rows.table("magpie")
        for name, values in targets.items():
            known = np.isfinite(values)
            data = lightgbm.Dataset(table[known], values[known])
            booster = lightgbm.train(_PARAMETERS | {"seed": seed}, data, TREES)
            self.boosters[name] = booster
            # The written text, with its numbers rounded, is what is measured.
            self.forests[name] = trees.parse(trees.slim(booster.model_to_string()), name)
            if progress is not None:
                progress(f"{name}: {TREES} trees on {int(known.sum())} rows")

    def predict(self, rows: Rows) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """See `Learner.predict`; the std is zero."""
        table = rows.table("magpie")
        mean = {name: forest.predict(table) for name, forest in self.forests.items()}
        return mean, {name: np.zeros(len(rows)) for name in mean}

    def save(self, folder: Path) -> None:
        """One LightGBM text a target, and targets.json."""
        for name, booster in self.boosters.items():
            trees.write(folder / f"{name}.txt.xz", booster)
        facts = {"targets": list(self.boosters), "parameters": _PARAMETERS, "trees": TREES}
        (folder / "targets.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Model:
        """LightGBM is not needed. Raises `ChecksumError` if a file is damaged."""
        facts = json.loads((folder / "targets.json").read_text(encoding="utf-8"))
        model = cls()
        model.forests = {name: trees.read(folder / f"{name}.txt.xz") for name in facts["targets"]}
        return model
