"""Latent and MAGPIE through gradient-boosted trees, the best model of arXiv 2605.07227.

Latents are flattened, standardised and reduced to at most 128 principal components (the paper has 512, which would take
more bytes than all trees; `latent_lightgbm_512` has them, for comparison); MAGPIE features follow; LightGBM with
parameters found by Optuna and early stopping, one booster a target. Means, deviations and components come from the
training rows only. Components are rounded to 31 levels, for their bytes, before the trees see them: the errors of
thousands of columns nearly cancel.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ...errors import require
from .. import Rows, storage
from ..methods import trees

NAME = "lightgbm"
#: A place of the latent that fewer of the training cells reach is left out: it would be a name for these few.
_LEAST_SHARE = 0.02
#: Learning rate of the trees that are kept; trials take larger steps.
_RATE = 0.06
#: Digits of the numbers in trees: what is rounded away is far below what a latent is known to.
_DIGITS = 7
#: Steps between zero and the largest element of a component.
_STEPS = 15
_BASE = {"objective": "regression", "verbose": -1, "deterministic": True, "force_row_wise": True, "num_threads": 1}
_PURPOSE = "training the model lightgbm"


class Model:
    NAME = NAME
    TITLE = "latent + MAGPIE, LightGBM"
    INPUTS = ("latent", "magpie")
    VERSION = 3
    REFIT = True
    #: Numbers of principal components that Optuna chooses among.
    COMPONENTS: ClassVar[tuple[int, ...]] = (32, 128)
    #: Sets of parameters that Optuna tries for each target; the first are those of the model `magpie`.
    TRIALS = 6

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self.forests: dict[str, trees.Forest] = {}
        self.boosters: dict[str, Any] = {}  # target -> lightgbm.Booster, after `fit` alone
        self.components: dict[str, int] = {}
        self.parameters: dict[str, dict[str, Any]] = {}

    def fit(
        self,
        rows: Rows,
        targets: Mapping[str, np.ndarray],
        *,
        validation: np.ndarray,
        seed: int = 0,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        """See `Learner.fit`. Parameters and number of trees are chosen on the validation rows, then the trees are
        grown once more from all rows."""
        lightgbm = require("lightgbm", "ml", _PURPOSE)
        self.arrays = _principal_components(rows["latent"][~validation], self.COMPONENTS[-1])
        reduced = self._reduced(rows["latent"])
        magpie = rows.table("magpie")
        for name, values in targets.items():
            known = np.isfinite(values)
            train, held = known & ~validation, known & validation
            self.parameters[name], self.components[name], count = self._tuned(
                reduced, magpie, values, train, held, seed
            )
            table = np.hstack([reduced[known, : self.components[name]], magpie[known]])
            data = lightgbm.Dataset(table, values[known], free_raw_data=False)
            booster = lightgbm.train(self.parameters[name] | {"seed": seed}, data, count)
            self.boosters[name] = booster
            self.forests[name] = trees.parse(trees.slim(booster.model_to_string(), _DIGITS), name)
            if progress is not None:
                progress(f"{name}: {count} trees on {self.components[name]} components")
        self._drop_components()

    def _tuned(
        self,
        reduced: np.ndarray,
        magpie: np.ndarray,
        values: np.ndarray,
        train: np.ndarray,
        held: np.ndarray,
        seed: int,
    ) -> tuple[dict[str, Any], int, int]:
        """(parameters, leading components, number of trees) with the smallest error on the held-out rows, nearly."""
        lightgbm = require("lightgbm", "ml", _PURPOSE)
        optuna = require("optuna", "ml", _PURPOSE)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        if not held.any():
            held = train  # too few rows for a validation set of whole formulas: what is left is to fit them

        def boosted(parameters: Mapping[str, Any], components: int, rate: float) -> tuple[int, float]:
            table = np.hstack([reduced[:, :components], magpie])
            data = lightgbm.Dataset(table[train], values[train])
            booster = lightgbm.train(
                {**parameters, "learning_rate": rate, "seed": seed},
                data,
                int(60 / rate),
                valid_sets=[lightgbm.Dataset(table[held], values[held], reference=data)],
                callbacks=[lightgbm.early_stopping(int(4 / rate), verbose=False)],
            )
            return booster.best_iteration, float(booster.best_score["valid_0"]["l2"])

        def objective(trial: Any) -> float:
            parameters = {
                **_BASE,
                "num_leaves": trial.suggest_int("num_leaves", 6, 32, log=True),
                "min_data_in_leaf": trial.suggest_int("min_data_in_leaf", 3, 40, log=True),
                "feature_fraction": trial.suggest_float("feature_fraction", 0.1, 0.8, log=True),
                "bagging_fraction": trial.suggest_float("bagging_fraction", 0.5, 1.0),
                "bagging_freq": 1,
                "lambda_l2": trial.suggest_float("lambda_l2", 1e-3, 30.0, log=True),
            }
            components = trial.suggest_categorical("components", self.COMPONENTS)
            trial.set_user_attr("parameters", parameters)
            return boosted(parameters, components, 0.15)[1]

        study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
        start = {"num_leaves": 24, "min_data_in_leaf": 5, "feature_fraction": 0.4, "bagging_fraction": 0.8}
        study.enqueue_trial({**start, "lambda_l2": 1.0, "components": self.COMPONENTS[0]})
        study.optimize(objective, n_trials=self.TRIALS)
        # Components take many bytes: of trials as good as the best, the one with the fewest.
        good = [trial for trial in study.trials if trial.value <= 1.02 * study.best_value]
        chosen = min(good, key=lambda trial: (trial.params["components"], trial.value))
        parameters = chosen.user_attrs["parameters"]
        components = min(chosen.params["components"], reduced.shape[1])
        count, _ = boosted(parameters, components, _RATE)
        return {**parameters, "learning_rate": _RATE}, components, max(count, 20)

    def _reduced(self, latents: np.ndarray) -> np.ndarray:
        """(n, components) float64."""
        columns, mean, std = (self.arrays[name] for name in ("columns", "mean", "std"))
        components = self.arrays["components"].astype(np.float32) * self.arrays["step"][:, None]
        flat = latents.reshape(len(latents), -1)
        blocks = [
            ((flat[start : start + 256][:, columns] - mean) / std) @ components.T for start in range(0, len(flat), 256)
        ]
        return np.concatenate(blocks).astype(float)

    def _drop_components(self) -> None:
        """Keep only as many components as some booster was given."""
        most = max(self.components.values())
        self.arrays["components"], self.arrays["step"] = self.arrays["components"][:most], self.arrays["step"][:most]

    def predict(self, rows: Rows) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """See `Learner.predict`; the std is zero."""
        reduced, magpie = self._reduced(rows["latent"]), rows.table("magpie")
        mean = {
            name: forest.predict(np.hstack([reduced[:, : self.components[name]], magpie]))
            for name, forest in self.forests.items()
        }
        return mean, {name: np.zeros(len(rows)) for name in mean}

    def save(self, folder: Path) -> None:
        """components.safetensors.xz, one LightGBM text a target, and settings.json."""
        tensors = require("safetensors.numpy", "ml", _PURPOSE)
        data = tensors.save({n: np.ascontiguousarray(a) for n, a in self.arrays.items()})
        storage.write_packed(folder / "components.safetensors.xz", data)
        for name, booster in self.boosters.items():
            trees.write(folder / f"{name}.txt.xz", booster, _DIGITS)
        facts = {"components": self.components, "parameters": self.parameters}
        (folder / "settings.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Model:
        """Raises `MissingExtraError` without safetensors; LightGBM is not needed."""
        tensors = require("safetensors.numpy", "ml", "the model lightgbm")
        facts = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
        model = cls()
        model.arrays = tensors.load(storage.read_packed(folder / "components.safetensors.xz"))
        model.components, model.parameters = facts["components"], facts["parameters"]
        model.forests = {name: trees.read(folder / f"{name}.txt.xz") for name in model.components}
        return model


def _principal_components(latents: np.ndarray, most: int) -> dict[str, np.ndarray]:
    """Principal components of standardised latents (n, ...): columns used, their mean and std, and components in whole
    steps.

    At most so many components, by the eigenvectors of the n x n matrix of scalar products: columns are many more than
    rows.
    """
    flat = latents.reshape(len(latents), -1)
    columns = np.flatnonzero((flat != 0).mean(axis=0) >= _LEAST_SHARE)
    flat = flat[:, columns].astype(np.float32)
    mean, std = flat.mean(axis=0), flat.std(axis=0)
    std = np.maximum(std, 1e-6 * (float(std.max()) or 1.0)).astype(np.float32)
    flat -= mean
    flat /= std
    values, vectors = np.linalg.eigh((flat @ flat.T).astype(float))
    order = np.argsort(values)[::-1][: min(most, len(flat) - 1)]
    order = order[values[order] > 1e-6 * values[order[0]]]
    components = (vectors[:, order].T @ flat) / np.sqrt(values[order])[:, None]
    # The sign of an eigenvector is arbitrary: its largest element is positive.
    largest = np.take_along_axis(components, np.abs(components).argmax(axis=1)[:, None], axis=1)
    components *= np.sign(largest)
    step = np.abs(components).max(axis=1) / _STEPS
    return {
        "columns": columns.astype(np.int32),
        "mean": mean,
        "std": std,
        "components": np.rint(components / step[:, None]).astype(np.int8),
        "step": step.astype(np.float32),
    }
