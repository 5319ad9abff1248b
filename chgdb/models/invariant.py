"""Features of the density and of the structure, invariant by construction, through Gaussian processes and trees.

What is known beforehand is not learned. Energies against free atoms and against the elements differ by a sum over the
composition, so both labels train one process. Debye temperatures are learned as the elastic modulus behind them, the
masses and the volume put aside. Young's modulus follows from K and G. For moduli a mean of a Gaussian process
(`gaussian`) and of gradient-boosted trees is nearer to the truth than either; where the two disagree the error is
larger, too. For energies the process alone is better.

Rows may lack the features of the density (NaN): structures with known properties train what needs no density.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import features
from ..errors import require
from . import ModelError, Rows, elasticity, gaussian, trees

if TYPE_CHECKING:
    import lightgbm

NAME = "invariant"
_PURPOSE = "training the model invariant"
#: Share of the trees in the mean, by what is learned: where they were found to help. None are grown for the others.
TREE_SHARE = {"moduli": 0.3, "debye": 0.3, "band_gap": 0.5}
TREES = 400
_PARAMETERS: dict[str, Any] = {
    "objective": "regression",
    "learning_rate": 0.035,
    "num_leaves": 16,
    "min_data_in_leaf": 5,
    "feature_fraction": 0.15,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 2.0,
    "max_bin": 63,
    "verbose": -1,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
}
_ENERGIES = ("formation_energy", "energy_vs_atoms")
_BULK, _SHEAR, _YOUNG, _DEBYE = "bulk_modulus", "shear_modulus", "youngs_modulus", "debye_temperature"


def layout() -> gaussian.Layout:
    """Groups of the features by the prefixes of their names."""
    prefixes = [name.replace(" ", ".").split(".")[0] for name in features.names()]
    groups, start = [], 0
    for end in range(1, len(prefixes) + 1):
        if end == len(prefixes) or prefixes[end] != prefixes[start]:
            groups.append((prefixes[start], slice(start, end)))
            start = end
    names = [name for name, _ in groups]
    structure = tuple(names.index(name) for name in ("MagpieData", "element", "fraction", "structure", "saed"))
    density = (*structure, names.index("density"), names.index("difference"))
    return gaussian.Layout(tuple(columns for _, columns in groups), structure, density, names.index("fraction"))


class Model:
    NAME = NAME
    TITLE = "invariant features, Gaussian process + LightGBM"
    INPUTS = ("density",)
    VERSION = 1
    REFIT = True
    #: Rows whose features of the density are NaN are welcome in training.
    PARTIAL = True

    def __init__(self) -> None:
        self.scaler: gaussian.Scaler | None = None
        self.table = np.zeros((0, 0), np.int8)  # scaled training rows, packed; processes refer to them
        self.processes: dict[str, tuple[list[str], np.ndarray, gaussian.Process]] = {}
        self.forests: dict[str, trees.Forest] = {}
        self.boosters: dict[str, lightgbm.Booster] = {}  # after `fit` alone
        self.elements = np.zeros(0)  # eV: energy of an element against its atom, by fraction
        self.targets: tuple[str, ...] = ()

    # Training ----------------------------------------------------------------------------------------------------

    def fit(
        self,
        rows: Rows,
        targets: Mapping[str, np.ndarray],
        *,
        validation: np.ndarray,
        seed: int = 0,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        """See `Learner.fit`. Every row trains: nothing is stopped early and shares are fixed."""
        lightgbm = require("lightgbm", "ml", _PURPOSE)
        raw = _checked(rows)
        self.targets = tuple(targets)
        self.scaler = gaussian.Scaler.of(raw)
        self.table = gaussian.pack(self.scaler(raw))
        plan = layout()
        for key, learned in self._tasks(raw, targets).items():
            values = np.stack(list(learned.values()), axis=1)
            known = np.flatnonzero(np.isfinite(values).all(axis=1))
            part = gaussian.parts(plan, gaussian.unpack(self.table[known]), self.scaler.scale > 0)
            scaled = (values[known] - values[known].mean(axis=0)) / (values[known].std(axis=0) + 1e-12)
            theta = gaussian.optimise(plan, part, scaled, seed)
            process = gaussian.Process.fit(plan, part, values[known], theta, seed)
            self.processes[key] = (list(learned), known, process)
            for name, column in learned.items() if TREE_SHARE.get(key) else ():
                data = lightgbm.Dataset(raw[known], column[known], free_raw_data=True)
                booster = lightgbm.train(_PARAMETERS | {"seed": seed}, data, TREES)
                self.boosters[name] = booster
                self.forests[name] = trees.parse(trees.slim(booster.model_to_string(), 7), name)
            if progress is not None:
                progress(f"{', '.join(learned)}: {len(known)} rows")

    def _tasks(self, raw: np.ndarray, targets: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
        """What is learned: name of a process -> its targets, all of which share rows and hyperparameters."""
        tasks: dict[str, dict[str, np.ndarray]] = {}
        left = dict(targets)
        if any(name in left for name in _ENERGIES):
            tasks["energy"] = {"formation_energy": self._joined(raw, left)}
        moduli = {name: left[name] for name in (_BULK, _SHEAR) if name in left}
        if moduli:
            tasks["moduli"] = moduli
        if _DEBYE in left:
            tasks["debye"] = {_DEBYE: left[_DEBYE] - log_prefactor(raw)}
        done = {*_ENERGIES, _BULK, _SHEAR, _DEBYE, *((_YOUNG,) if len(moduli) == 2 else ())}
        for name, values in left.items():
            if name not in done:
                tasks[name] = {name: values}
        return tasks

    def _joined(self, raw: np.ndarray, targets: Mapping[str, np.ndarray]) -> np.ndarray:
        """Formation energies, also of rows that have the energy against atoms only.

        The difference of the two is a sum over the elements, fitted where both are known, robustly: some published
        values are off by several eV.
        """
        nothing = np.full(len(raw), np.nan)
        formation, atoms = (targets.get(name, nothing) for name in _ENERGIES)
        shares = _fractions(raw)
        both = np.isfinite(formation) & np.isfinite(atoms)
        if not both.any():
            self.elements = np.zeros(shares.shape[1])
            return formation if np.isfinite(formation).any() else atoms
        amounts, differences = shares[both], (atoms - formation)[both]
        weights = np.ones(len(differences))
        ridge = 1e-4 * np.eye(shares.shape[1])
        for _ in range(10):
            weighted = amounts.T * weights
            self.elements = np.linalg.solve(weighted @ amounts + ridge, weighted @ differences)
            weights = 1 / np.maximum(np.abs(differences - amounts @ self.elements), 0.02)
            weights /= weights.mean()
        # An element without both labels has no difference of its own.
        fitted = (shares[both] > 0).any(axis=0)
        covered = ((shares > 0) <= fitted).all(axis=1)
        transferred = np.where(covered, atoms - shares @ self.elements, np.nan)
        return np.where(np.isfinite(formation), formation, transferred)

    # Prediction --------------------------------------------------------------------------------------------------

    def predict(self, rows: Rows) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """See `Learner.predict`; the std is that of the process, and the distance between it and the trees."""
        if self.scaler is None:
            raise ModelError("the model invariant was neither trained nor loaded")
        raw = _checked(rows)
        part = gaussian.parts(layout(), self.scaler(raw), self.scaler.scale > 0)
        mean: dict[str, np.ndarray] = {}
        std: dict[str, np.ndarray] = {}
        for key, (names, _, process) in self.processes.items():
            smooth, spread = process.predict(part)
            for i, name in enumerate(names):
                mean[name], std[name] = smooth[:, i], spread[:, i]
                if name in self.forests:
                    step = self.forests[name].predict(raw) - mean[name]
                    mean[name] = mean[name] + TREE_SHARE[key] * step
                    std[name] = np.sqrt(std[name] ** 2 + step**2)
        if _DEBYE in mean:
            mean[_DEBYE] = mean[_DEBYE] + log_prefactor(raw)
        if _YOUNG in self.targets and _YOUNG not in mean:
            bulk, shear = np.exp(mean[_BULK]), np.exp(mean[_SHEAR])
            mean[_YOUNG] = np.log(elasticity.youngs_modulus(bulk, shear))
            share = shear / (3 * bulk + shear)  # d ln E / d ln K
            std[_YOUNG] = share * std[_BULK] + (1 - share) * std[_SHEAR]
        if "energy_vs_atoms" in self.targets:
            mean["energy_vs_atoms"] = mean["formation_energy"] + _fractions(raw) @ self.elements
            std["energy_vs_atoms"] = std["formation_energy"]
        return {name: mean[name] for name in self.targets}, {name: std[name] for name in self.targets}

    # Weights -----------------------------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """process.safetensors, one LightGBM text for each thing that trees learn, and processes.json."""
        tensors = require("safetensors.numpy", "ml", _PURPOSE)
        assert self.scaler is not None
        arrays = {"table": self.table, "mean": self.scaler.mean, "scale": self.scaler.scale, "elements": self.elements}
        for key, (_, known, process) in self.processes.items():
            arrays[f"{key}.rows"] = known.astype(np.int32)
            arrays |= {f"{key}.{name}": values for name, values in process.to_arrays().items()}
        data = tensors.save({n: np.ascontiguousarray(a) for n, a in arrays.items()})
        (folder / "process.safetensors").write_bytes(data)  # `save_file` would let nobody else read it
        for name, booster in self.boosters.items():
            trees.write(folder / f"{name}.txt.gz", booster, 7)
        facts = {
            "features": features.VERSION,
            "targets": self.targets,
            "processes": {key: names for key, (names, _, _) in self.processes.items()},
            "parameters": _PARAMETERS,
            "trees": TREES,
        }
        (folder / "processes.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Model:
        """LightGBM is not needed. Raises `ModelError` where the model was trained on features of another version."""
        tensors = require("safetensors.numpy", "ml", "the model invariant")
        facts = json.loads((folder / "processes.json").read_text(encoding="utf-8"))
        if facts["features"] != features.VERSION:
            raise ModelError(
                f"{folder} was trained on features of version {facts['features']}, this chgdb computes version "
                f"{features.VERSION}: train it again with chgdb train properties, or install the other version"
            )
        arrays = tensors.load_file(folder / "process.safetensors")
        model = cls()
        model.targets = tuple(facts["targets"])
        model.scaler = gaussian.Scaler(arrays["mean"], arrays["scale"])
        model.table, model.elements = arrays["table"], arrays["elements"]
        plan = layout()
        for key, names in facts["processes"].items():
            known = arrays[f"{key}.rows"]
            part = gaussian.parts(plan, gaussian.unpack(model.table[known]), model.scaler.scale > 0)
            fields = ("theta", "alpha", "offset", "scale", "anchors", "inverse")
            process = gaussian.Process(plan, rows=part, **{name: arrays[f"{key}.{name}"] for name in fields})
            model.processes[key] = (list(names), known, process)
            for name in names if TREE_SHARE.get(key) else ():
                model.forests[name] = trees.read(folder / f"{name}.txt.gz")
        return model


def _checked(rows: Rows) -> np.ndarray:
    table = rows.table("density")
    if table.shape[1] != len(features.names()):
        raise ModelError(f"{table.shape[1]} features of the density, expected {len(features.names())}")
    return table


def _fractions(raw: np.ndarray) -> np.ndarray:
    """(n, 94) shares of the elements."""
    return raw[:, layout().groups[layout().linear]]


def log_prefactor(raw: np.ndarray) -> np.ndarray:
    """(n,) logarithm of the Debye temperature of a solid whose moduli are all 1 GPa, from features; the rest of a
    Debye temperature's logarithm is half that of an effective modulus."""
    names = features.names()
    volume = np.exp(raw[:, names.index("structure.log_volume_per_atom")])  # Å^3
    density = np.exp(raw[:, names.index("structure.log_mass_density")]) * elasticity.DALTON_PER_CUBIC_ANGSTROM
    one = np.ones(len(raw))
    return np.log(elasticity.debye_temperature(one, one, density, 1 / volume))
