"""Features of the density and of the structure, invariant by construction, through Gaussian processes and trees.

Relations that are known are not learned. Energies against free atoms and against the elements differ by a sum over the
composition, so both labels train one process. Young's modulus follows from K and G. A Debye temperature is half what
follows from K and G, and half what is learned of it, with the masses and the volume put aside. A band gap is half what
is learned of the gaps that are not zero, times the probability that there is one. Bulk moduli and Debye temperatures
are learned as square roots, shear moduli as logarithms: whichever leaves residuals that are alike over the whole range.

A mean of two learners is nearer to the truth than either, and the error is larger if the two disagree. Two Gaussian
processes (`gaussian`) learn shear moduli and Debye temperatures; one of them compares crystals atom by atom besides. A
process and gradient-boosted trees learn band gaps. One process is as good for the others.

Rows may lack the features of the density (NaN): structures with known properties train what needs no density.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import features
from ...density import Crystal
from ...elements import formula_numbers
from ...errors import require
from ...features import environments
from .. import TARGETS, ModelError, Rows, elasticity, storage, tables
from ..held_out import HeldOut
from ..methods import gaussian, nearest, trees

if TYPE_CHECKING:
    import lightgbm

NAME = "invariant"
_PURPOSE = "training the model invariant"
#: Share of the trees in the band gap.
TREE_SHARE = 0.5
#: Share in the band gap of the probability that there is one, times what it is then.
_TWO_STEPS = 0.5
#: Below this a gap, in eV, is none: bands of a finite number of k-points never quite touch.
_CLOSED = 0.02
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
_GAP = "band_gap"
#: Debye temperature in K of moduli, density and atoms per volume of 1 in their units, as to the root of a modulus.
_UNIT = float(elasticity.debye_temperature(*np.ones((4, 1)))[0])
#: Rows with a gap that it takes to learn what gaps are then.
_FEWEST = 20


#: What the two parts of a process look at, by the prefixes of the features' names.
_STRUCTURE = ("MagpieData", "element", "fraction", "structure", "promolecule", "bands")
_DENSITY = ("density",)
#: Processes that are not shown how the density differs from its atoms. A potential with other valence electrons shifts
#: that by several standard deviations, and energies were found to follow (`tests/models/test_potentials.py`).
_WITHOUT_DIFFERENCE = ("energy",)
#: Processes that are shown the bands of nearest neighbours, too; for moduli they were found not to help.
_NEAREST = ("energy", "band_gap", "open_gap")
#: The process that learns moduli a second time, crystals compared atom by atom; the first compares whole crystals only,
#: which for bulk moduli was found better.
_WHOLE, _AGAIN = "moduli", "moduli_by_atoms"
#: Processes that are shown the elastic response; to others, and to the trees of the band gap, it adds noise.
_ELASTIC = (_WHOLE, _AGAIN, "debye")
#: The kernel by which materials are near to each other, for each target.
_NEAR = {
    _BULK: _WHOLE,
    _SHEAR: _WHOLE,
    _YOUNG: _WHOLE,
    _DEBYE: _WHOLE,
    "energy_vs_atoms": "energy",
    "formation_energy": "energy",
    _GAP: "band_gap",
}
#: Features from which the size of errors is learned, beside what is near.
_TELLING = ("MagpieData", "structure", "bands")
#: Added to distances between two predictions before their logarithm is taken.
_ALIKE = 1e-3
_SHAPE = ("volume_per_atom", "n_atoms", "n_rotations")
#: File with the places of training rows in the table.
_PLACES = "places.json.xz"
#: Smallest roots of a modulus, or of a Debye temperature over its prefactor, that a process can predict.
_LEAST = 0.5


def columns() -> dict[str, slice]:
    """Features of each prefix, one after the other."""
    prefixes = [name.replace(" ", ".").split(".")[0] for name in features.names()]
    found = {prefix: prefixes.index(prefix) for prefix in dict.fromkeys(prefixes)}
    return {prefix: slice(start, start + prefixes.count(prefix)) for prefix, start in found.items()}


def layout(process: str) -> gaussian.Layout:
    """Groups of the features that a process looks at."""
    place = columns()
    structure = _STRUCTURE + ("nearest",) * (process in _NEAREST) + ("response",) * (process in _ELASTIC)
    names = (*structure, *_DENSITY, *("difference",) * (process not in _WITHOUT_DIFFERENCE))
    first = tuple(range(len(structure)))
    atoms = () if process == _WHOLE else environments.GROUPS
    groups = tuple(place[n] for n in names)
    return gaussian.Layout(groups, first, tuple(range(len(names))), names.index("fraction"), atoms)


class Model:
    NAME = NAME
    TITLE = "invariant features, Gaussian process + LightGBM"
    INPUTS = ("density",)
    VERSION = 4
    REFIT = True
    #: Rows whose features of the density are NaN are welcome in training.
    PARTIAL = True
    #: The process whose kernel says which materials are alike.
    SIMILAR = _WHOLE

    def __init__(self) -> None:
        self.scaler: gaussian.Scaler | None = None
        self.table = np.zeros((0, 0), np.int8)  # scaled training rows, packed; processes refer to them
        self.atom_scaler: gaussian.Scaler | None = None
        self.atoms = gaussian.Atoms(np.zeros((0, 0), np.int8), np.zeros(0), np.zeros(0, int))  # theirs, likewise
        self.processes: dict[str, tuple[list[str], np.ndarray, gaussian.Process]] = {}
        self.forests: dict[str, trees.Forest] = {}
        self.boosters: dict[str, lightgbm.Booster] = {}  # after `fit` alone
        self.elements = np.zeros(0)  # eV: energy of an element against its atom, by fraction
        self.targets: tuple[str, ...] = ()
        self.place = np.zeros(0, int)  # (n,) row of the table of each training row, in the order of training
        self._spaces: dict[str, nearest.Space] = {}

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
        self.table, self.place = gaussian.pack(self.scaler(raw)), np.arange(len(raw))
        atoms = _atoms(rows.crystals)
        self.atom_scaler = gaussian.Scaler.of(atoms.values)
        self.atoms = replace(atoms, values=gaussian.pack(self.atom_scaler(atoms.values)))
        for key, learned in self._tasks(raw, targets).items():
            plan = layout(key)
            values = np.stack(list(learned.values()), axis=1)
            known = np.flatnonzero(np.isfinite(values).all(axis=1))
            if key == "open_gap" and len(known) < _FEWEST:
                continue
            part = self._seen(key, known)
            scaled = (values[known] - values[known].mean(axis=0)) / (values[known].std(axis=0) + 1e-12)
            theta = gaussian.optimise(plan, part, scaled, seed)
            self.processes[key] = (list(learned), known, gaussian.Process.fit(plan, part, values[known], theta, seed))
            if progress is not None:
                progress(f"{', '.join(learned)}: {len(known)} rows")
        self._complete(raw, targets)
        for name, values in self._grown(raw, targets).items():
            known = np.flatnonzero(np.isfinite(values))
            data = lightgbm.Dataset(_without_response(raw[known]), values[known], free_raw_data=True)
            booster = lightgbm.train(_PARAMETERS | {"seed": seed}, data, TREES)
            self.boosters[name] = booster
            self.forests[name] = trees.parse(trees.slim(booster.model_to_string(), 7), name)

    def _tasks(self, raw: np.ndarray, targets: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
        """What processes learn: name of a process -> its columns, all of which share rows and hyperparameters."""
        tasks: dict[str, dict[str, np.ndarray]] = {}
        if any(name in targets for name in _ENERGIES):
            tasks["energy"] = {"formation_energy": self._joined(raw, targets)}
        moduli = {}
        if _BULK in targets:
            moduli[f"root_{_BULK}"] = np.exp(targets[_BULK] / 2)
        if _SHEAR in targets:
            moduli[_SHEAR] = targets[_SHEAR]
        if _DEBYE in targets and len(moduli) == 2:
            # The same for all rows with moduli: what is left of a Debye temperature does not depend on the structure.
            one = np.ones(len(raw))
            bulk, shear = np.exp(targets[_BULK]), np.exp(targets[_SHEAR])
            moduli["root_stiffness"] = elasticity.debye_temperature(bulk, shear, one, one) / _UNIT
        elif _DEBYE in targets:
            tasks["debye"] = {"root_stiffness": np.exp(targets[_DEBYE] - log_prefactor(raw))}
        if moduli:
            tasks[_WHOLE] = moduli
        if _SHEAR in moduli:
            tasks[_AGAIN] = {name: values for name, values in moduli.items() if name != f"root_{_BULK}"}
        if _GAP in targets:
            gap = targets[_GAP]
            tasks["band_gap"] = {_GAP: gap}
            tasks["open_gap"] = {"open_gap": np.where(gap > _CLOSED, gap, np.nan)}
        done = {*_ENERGIES, _BULK, _SHEAR, _DEBYE, _GAP, *((_YOUNG,) if _BULK in targets and _SHEAR in targets else ())}
        return tasks | {name: {name: values} for name, values in targets.items() if name not in done}

    def _grown(self, raw: np.ndarray, targets: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The columns that trees learn."""
        grown = {_GAP: targets[_GAP]} if _GAP in targets else {}
        if "open_gap" in self.processes:
            gap = targets[_GAP]
            grown["has_gap"] = np.where(np.isfinite(gap), gap > _CLOSED, np.nan)
        return grown

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
        # An element without both labels has no difference of its own yet; see `_complete`.
        fitted = (shares[both] > 0).any(axis=0)
        covered = ((shares > 0) <= fitted).all(axis=1)
        transferred = np.where(covered, atoms - shares @ self.elements, np.nan)
        return np.where(np.isfinite(formation), formation, transferred)

    def _complete(self, raw: np.ndarray, targets: Mapping[str, np.ndarray]) -> None:
        """Differences of elements of which no row has both energies, from what the process says of those with one."""
        nothing = np.full(len(raw), np.nan)
        formation, atoms = (targets.get(name, nothing) for name in _ENERGIES)
        if not np.isfinite(formation).any() or not np.isfinite(atoms).any():
            return
        shares = _fractions(raw)
        missing = ~(shares[np.isfinite(formation) & np.isfinite(atoms)] > 0).any(axis=0)
        rows = np.flatnonzero(np.isfinite(atoms) & (shares[:, missing] > 0).any(axis=1))
        if len(rows):
            predicted = self.processes["energy"][2].predict(self._seen("energy", rows))[0][:, 0]
            left = atoms[rows] - predicted - shares[rows] @ self.elements
            amounts = shares[np.ix_(rows, np.flatnonzero(missing))]
            self.elements[missing] += np.linalg.solve(
                amounts.T @ amounts + 1e-3 * np.eye(missing.sum()), amounts.T @ left
            )

    # Prediction --------------------------------------------------------------------------------------------------

    def predict(self, rows: Rows) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """See `Learner.predict`; the std is that of the processes, and the distance between what two learners say."""
        if self.scaler is None or self.atom_scaler is None:
            raise ModelError("the model invariant was neither trained nor loaded")
        raw = _checked(rows)
        scaled, atoms = self.scaler(raw), _atoms(rows.crystals)
        atoms = replace(atoms, values=self.atom_scaler(atoms.values))
        mean: dict[str, np.ndarray] = {}
        std: dict[str, np.ndarray] = {}
        for key, (names, _, process) in self.processes.items():
            smooth, spread = process.predict(gaussian.parts(layout(key), scaled, self.scaler.scale > 0, atoms))
            for i, name in enumerate(names):
                if name in mean:
                    mean[name], std[name] = _both(mean[name], smooth[:, i], 0.5, std[name], spread[:, i])
                else:
                    mean[name], std[name] = smooth[:, i], spread[:, i]
        for name, root in ((_BULK, f"root_{_BULK}"), (_DEBYE, "root_stiffness")):
            if root in mean:
                value = np.maximum(mean[root], _LEAST)
                power = 2 if name == _BULK else 1  # a Debye temperature goes as the root of a modulus
                mean[name], std[name] = power * np.log(value), power * std[root] / value
        grown = {name: forest.predict(_without_response(raw)) for name, forest in self.forests.items()}
        if _GAP in grown:
            mean[_GAP], std[_GAP] = _both(mean[_GAP], grown[_GAP], TREE_SHARE, std[_GAP])
        if _DEBYE in mean:
            mean[_DEBYE] = mean[_DEBYE] + log_prefactor(raw)
            if _BULK in mean and _SHEAR in mean:
                mean[_DEBYE] = 0.5 * (mean[_DEBYE] + _log_debye(raw, np.exp(mean[_BULK]), np.exp(mean[_SHEAR])))
        if "has_gap" in grown:
            there, value = np.clip(grown["has_gap"], 0, 1), np.maximum(mean["open_gap"], 0)
            step = there * value - mean[_GAP]
            mean[_GAP] = mean[_GAP] + _TWO_STEPS * step
            std[_GAP] = np.sqrt(std[_GAP] ** 2 + step**2 + there * (1 - there) * value**2)
        if _YOUNG in self.targets and _YOUNG not in mean:
            bulk, shear = np.exp(mean[_BULK]), np.exp(mean[_SHEAR])
            mean[_YOUNG] = np.log(elasticity.youngs_modulus(bulk, shear))
            share = shear / (3 * bulk + shear)  # d ln E / d ln K
            std[_YOUNG] = share * std[_BULK] + (1 - share) * std[_SHEAR]
        if "energy_vs_atoms" in self.targets:
            mean["energy_vs_atoms"] = mean["formation_energy"] + _fractions(raw) @ self.elements
            std["energy_vs_atoms"] = std["formation_energy"]
        return {name: mean[name] for name in self.targets}, {name: std[name] for name in self.targets}

    # What is near --------------------------------------------------------------------------------------------------

    def space(self, key: str, count: int) -> nearest.Space:
        """The first training rows, `count` of them, as a process compares whole crystals."""
        if key not in self._spaces:
            self._spaces[key] = self._as_space(key, gaussian.unpack(self.table[self.place[:count]]))
        return self._spaces[key]

    def located(self, key: str, rows: Rows) -> nearest.Space:
        """Rows likewise, rounded as training rows are."""
        return self._as_space(key, self._packed(rows))

    def seen(self, rows: Rows | None, count: int) -> tuple[np.ndarray, gaussian.Atoms]:
        """(scaled features, scaled atoms) of rows or of the first training rows."""
        assert self.scaler is not None
        assert self.atom_scaler is not None
        if rows is None:
            atoms = self.atoms.take(self.place[:count])
            return gaussian.unpack(self.table[self.place[:count]]), replace(atoms, values=gaussian.unpack(atoms.values))
        atoms = _atoms(rows.crystals)
        return self.scaler(_checked(rows)), replace(atoms, values=self.atom_scaler(atoms.values))

    def volumes(self, rows: Rows | None, count: int) -> tuple[np.ndarray, np.ndarray]:
        """(Å^3 per atom (n,), as far as packed features tell it, 1 %; kind (n, 2), the same for crystals with as many
        atoms in the primitive cell and as many rotations) of rows or of the first training rows."""
        assert self.scaler is not None
        column, *kind = (features.names().index(f"structure.log_{n}") for n in _SHAPE)
        packed = self.table[self.place[:count]] if rows is None else gaussian.pack(self.scaler(_checked(rows)))
        scaled = gaussian.unpack(packed[:, column]) / gaussian.BEND
        logarithm = gaussian.BEND * np.arctanh(np.clip(scaled, -0.999, 0.999)) / self.scaler.scale[column]
        return np.exp(logarithm + self.scaler.mean[column]), packed[:, kind]

    def _as_space(self, key: str, scaled: np.ndarray) -> nearest.Space:
        assert self.scaler is not None
        return nearest.Space.of(layout(key), self.processes[key][2].theta, scaled, self.scaler.scale > 0)

    def _packed(self, rows: Rows) -> np.ndarray:
        assert self.scaler is not None
        return gaussian.unpack(gaussian.pack(self.scaler(_checked(rows))))

    def surroundings(self, rows: Rows | None, mean: Mapping[str, np.ndarray], known: HeldOut) -> dict[str, np.ndarray]:
        """See `intervals.Locating`."""
        count, formulas = len(known.formulas), known.formulas if rows is None else rows.formulas
        scaled = gaussian.unpack(self.table[self.place[:count]]) if rows is None else self._packed(rows)
        place = columns()
        telling = np.concatenate([np.arange(place[p].start, place[p].stop) for p in _TELLING])
        keys = np.unique([*formulas, *known.formulas], return_inverse=True)[1]
        own, theirs = keys[: len(formulas)], keys[len(formulas) :]
        amounts, shares = _shares_of(formulas), _shares_of(known.formulas)
        trained = shares > 0
        labels = self._local_labels(known, shares)
        near: dict[str, nearest.Local] = {}
        result = {}
        for name in (n for n in self.targets if n in _NEAR):
            key = _NEAR[name]
            source = name if name in (_BULK, _GAP) else _SHEAR if key == _WHOLE else "formation_energy"
            if source not in near:
                there = np.flatnonzero(np.isfinite(labels[source]))
                training = self.space(key, count)
                asked = training if rows is None else self._as_space(key, scaled)
                near[source] = nearest.local(asked, training.take(there), labels[source][there], own, theirs[there])
            apart = np.abs(near[source].mean - self._compared(name, mean, amounts))
            seen = np.isfinite(known.truth[name])
            rarest = np.where(amounts > 0, trained[seen].sum(axis=0), len(seen)).min(axis=1)
            said = TARGETS[name].forward(np.where(np.isfinite(mean[name]), mean[name], 1.0))
            extra = [np.log(np.nan_to_num(apart) + _ALIKE), said, np.log1p(rarest)]
            result[name] = np.column_stack([near[source].table, *extra, scaled[:, telling]])
        return result

    def _local_labels(self, known: HeldOut, shares: np.ndarray) -> dict[str, np.ndarray]:
        """Labels of training rows on the scales of processes. shares: (n, 94), of their elements."""
        found = {}
        nothing = np.full(len(known.formulas), np.nan)
        if _BULK in known.truth:
            found[_BULK] = np.sqrt(known.truth[_BULK])
        if _SHEAR in known.truth:
            found[_SHEAR] = np.log(known.truth[_SHEAR])
        formation, atoms = (known.truth.get(name, nothing) for name in _ENERGIES)
        transferred = atoms - shares @ self.elements
        found["formation_energy"] = np.where(np.isfinite(formation), formation, transferred)
        return found | ({_GAP: known.truth[_GAP]} if _GAP in known.truth else {})

    def _compared(self, name: str, mean: Mapping[str, np.ndarray], amounts: np.ndarray) -> np.ndarray:
        """Predictions on the scale of what the nearest rows say."""
        if name == _BULK:
            return np.sqrt(mean[_BULK])
        if _NEAR[name] == _WHOLE:
            return np.log(mean[_SHEAR])
        return mean[name] - amounts @ self.elements if name == "energy_vs_atoms" else mean[name]

    def _seen(self, key: str, rows: np.ndarray) -> gaussian.Parts:
        """Some of the training rows, as a process sees them."""
        assert self.scaler is not None
        atoms = self.atoms.take(rows)
        atoms = replace(atoms, values=gaussian.unpack(atoms.values))
        return gaussian.parts(layout(key), gaussian.unpack(self.table[rows]), self.scaler.scale > 0, atoms)

    # Weights -----------------------------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """process.safetensors.xz, one LightGBM text for each thing that trees learn, and processes.json."""
        tensors = require("safetensors.numpy", "ml", _PURPOSE)
        assert self.scaler is not None
        assert self.atom_scaler is not None
        order = tables.chain(self.table)
        table, atoms, place = tables.differences(self.table[order]), self.atoms.take(order), np.argsort(order)
        arrays = {"table": table, "mean": self.scaler.mean, "scale": self.scaler.scale, "elements": self.elements}
        arrays |= {"atoms": atoms.values, "atom_mean": self.atom_scaler.mean, "atom_scale": self.atom_scaler.scale}
        arrays |= {"atom_shares": atoms.shares, "atom_counts": atoms.counts.astype(np.int32)}
        for key, (_, known, process) in self.processes.items():
            arrays[f"{key}.rows"] = place[known].astype(np.int32)
            arrays |= {f"{key}.{name}": values for name, values in process.to_arrays().items()}
        storage.write_json(folder / _PLACES, place[self.place].tolist())
        data = tensors.save({n: np.ascontiguousarray(a) for n, a in arrays.items()})
        storage.write_packed(folder / "process.safetensors.xz", data)
        for name, booster in self.boosters.items():
            trees.write(folder / f"{name}.txt.xz", booster, 7)
        facts = {
            "features": features.VERSION,
            "targets": self.targets,
            "processes": {key: names for key, (names, _, _) in self.processes.items()},
            "forests": list(self.boosters),
            "parameters": _PARAMETERS,
            "trees": TREES,
        }
        (folder / "processes.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Model:
        """LightGBM is not needed. Raises `ModelError` if the model was trained on features of another version."""
        tensors = require("safetensors.numpy", "ml", "the model invariant")
        facts = json.loads((folder / "processes.json").read_text(encoding="utf-8"))
        if facts["features"] != features.VERSION:
            raise ModelError(
                f"{folder} was trained on features of version {facts['features']}, this chgdb computes version "
                f"{features.VERSION}: train it again with chgdb train properties, or install the other version"
            )
        arrays = tensors.load(storage.read_packed(folder / "process.safetensors.xz"))
        model = cls()
        model.targets = tuple(facts["targets"])
        model.scaler = gaussian.Scaler(arrays["mean"], arrays["scale"])
        model.table, model.elements = tables.summed(arrays["table"]), arrays["elements"]
        model.atom_scaler = gaussian.Scaler(arrays["atom_mean"], arrays["atom_scale"])
        model.atoms = gaussian.Atoms(arrays["atoms"], arrays["atom_shares"], arrays["atom_counts"].astype(int))
        for key, names in facts["processes"].items():
            known = arrays[f"{key}.rows"]
            fields = ("theta", "alpha", "offset", "scale", "anchors", "noise")
            process = gaussian.Process(
                layout(key), rows=model._seen(key, known), **{name: arrays[f"{key}.{name}"] for name in fields}
            )
            model.processes[key] = (list(names), known, process)
        if (folder / _PLACES).exists():
            model.place = np.array(storage.read_json(folder / _PLACES), int)
        model.forests = {name: trees.read(folder / f"{name}.txt.xz") for name in facts["forests"]}
        return model


def _both(
    first: np.ndarray, second: np.ndarray, share: float, std: np.ndarray, other: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(mean of what two learners say, the second with a share; std, larger where they disagree)."""
    step = second - first
    variance = std**2 if other is None else 0.5 * (std**2 + other**2)
    return first + share * step, np.sqrt(variance + step**2)


@lru_cache(maxsize=1 << 14)
def _numbers_of(formula: str) -> np.ndarray:
    """Atomic numbers of a formula. A prediction asks for those of the whole training set."""
    return np.array(formula_numbers(formula))


def _shares_of(formulas: Sequence[str]) -> np.ndarray:
    """(n, 94) shares of the elements of formulas: `features.composition.fractions`, of all at once."""
    numbers = [_numbers_of(formula) for formula in formulas]
    lengths = np.array([len(found) for found in numbers], int)
    counts = np.zeros((len(numbers), features.composition.HEAVIEST))
    if numbers:
        columns = np.minimum(np.concatenate(numbers), features.composition.HEAVIEST) - 1
        np.add.at(counts, (np.repeat(np.arange(len(numbers)), lengths), columns), 1.0)
    return counts / lengths[:, None]


@lru_cache(maxsize=1 << 14)
def _environments(cell: bytes, positions: bytes, numbers: bytes) -> tuple[np.ndarray, np.ndarray]:
    """The environments of a crystal by its bytes: most crystals of a fold are in the other folds, too."""
    at, z = np.frombuffer(positions).reshape(-1, 3), np.frombuffer(numbers, np.int64)
    return environments.environments(Crystal(np.frombuffer(cell).reshape(3, 3), at, z))


def _atoms(crystals: Sequence[Crystal]) -> gaussian.Atoms:
    """The atoms of crystals by `features.environments`, unscaled."""
    found = [_environments(c.cell.tobytes(), c.positions.tobytes(), c.numbers.tobytes()) for c in crystals]
    counts = np.array([len(shares) for _, shares in found], int)
    vectors = np.concatenate([vectors for vectors, _ in found]) if found else np.zeros((0, environments.WIDTH))
    return gaussian.Atoms(vectors, np.concatenate([np.zeros(0), *(shares for _, shares in found)]), counts)


def _checked(rows: Rows) -> np.ndarray:
    table = rows.table("density")
    if table.shape[1] != len(features.names()):
        raise ModelError(f"{table.shape[1]} features of the density, expected {len(features.names())}")
    return table


def _without_response(raw: np.ndarray) -> np.ndarray:
    """The features that trees see."""
    return np.delete(raw, columns()["response"], axis=1)


def _fractions(raw: np.ndarray) -> np.ndarray:
    """(n, 94) shares of the elements."""
    return raw[:, columns()["fraction"]]


def _log_debye(raw: np.ndarray, bulk: np.ndarray, shear: np.ndarray) -> np.ndarray:
    """(n,) logarithm of Debye temperatures in K from moduli in GPa; masses and volumes are among the features."""
    names = features.names()
    volume = np.exp(raw[:, names.index("structure.log_volume_per_atom")])  # Å^3
    density = np.exp(raw[:, names.index("structure.log_mass_density")]) * elasticity.DALTON_PER_CUBIC_ANGSTROM
    return np.log(elasticity.debye_temperature(bulk, shear, density, 1 / volume))


def log_prefactor(raw: np.ndarray) -> np.ndarray:
    """`_log_debye` of moduli of 1 GPa; the rest of a Debye temperature's logarithm is half that of an effective
    modulus."""
    one = np.ones(len(raw))
    return _log_debye(raw, one, one)
