"""Studies of the property models, as numbers. `evaluate_properties.py` runs them, `property_report` shows them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chgdb import models
from chgdb.density import Crystal, Density
from chgdb.errors import ChgdbError
from chgdb.grids import fast_length
from chgdb.models import SERVED, TARGETS, evaluation, storage
from chgdb.models.evaluation import NINETY_PERCENT
from chgdb_catalog.batches import write_atomically
from chgdb_catalog.studies import potentials

if TYPE_CHECKING:
    from chgdb.models.ensemble import Predictions
    from chgdb_catalog.studies.evaluate_properties import Measurement

BASELINE, OURS = "magpie", "invariant"
#: Shares of the training rows in the learning curve.
SHARES = (0.125, 0.25, 0.5, 1.0)
#: Parameters of the boosters that compare sets of columns: untuned, and the same for all.
_PLAIN = {
    "objective": "regression", "learning_rate": 0.03, "num_leaves": 24, "min_data_in_leaf": 5, "feature_fraction": 0.3,
    "bagging_fraction": 0.8, "bagging_freq": 1, "lambda_l2": 1.0, "max_bin": 63, "verbose": -1, "deterministic": True,
    "force_row_wise": True, "num_threads": 1, "seed": 0,
}  # fmt: skip
_TREES = 500
#: Sets of columns that are compared, by `_group`.
_SETS = {
    "composition": ("composition",),
    "composition, structure": ("composition", "structure"),
    "density": ("density",),
    "composition, density": ("composition", "density"),
    "composition, structure, density": ("composition", "structure", "density"),
}
#: Poisson's ratio below which there are aggregates of cristobalite and its relatives, and hardly any other crystal.
_AUXETIC = -0.15
_LARGEST = 4


def measure(
    measured: Measurement, chosen: list[str], facts: dict[str, Any], studies: bool, shared: Path
) -> dict[str, Any]:
    """Measure the chosen models, and add the numbers to those of earlier runs on the same rows."""
    data = storage.data_checksum(measured.rows.ids, measured.labels)
    if facts.get("data") != data:
        facts = {"data": data}  # the rows differ, so no earlier numbers stay
    facts["libraries"] = storage.library_versions()
    facts["rows"] = _counts(measured)
    protocols = facts.setdefault("protocols", {"paper": {}, "grouped": {}})
    for name in chosen:
        for protocol in protocols:
            protocols[protocol][name] = _scores(measured, name, protocol)
            _say(f"{name}, {protocol}: measured")
    facts["titles"] = {n: models.get(n.rstrip("+")).Model.TITLE for n in protocols["paper"]}
    facts["listed"] = listed(measured, chosen, facts.get("listed", {}))
    if OURS in chosen:
        best = OURS + "+" if OURS + "+" in chosen else OURS
        facts["served"] = best
        facts["parity"] = {protocol: _parity(measured, best, protocol) for protocol in protocols}
        facts["coverage"] = {
            "grouped": _coverage(measured, measured.grouped(best), out_of_fold=True),
            "paper": _coverage(measured, measured.paper(best)),
            "drawn": _coverage(measured, measured.drawn(best)),
        }
        facts["doubtful"] = doubtful(
            measured, [n for n in chosen if n.rstrip("+") in (BASELINE, OURS)], best, facts.get("doubtful", {})
        )
    # Earlier numbers of other models stay.
    facts.setdefault("polymorphs", {}).update({n: _polymorphs(measured, n) for n in chosen})
    facts.setdefault("spread", {})
    for name in chosen:
        trained = _stored(name)
        if trained is not None:
            facts["spread"][name] = _spread(measured, trained)
            if name == OURS:
                facts["flags"] = _flags(trained, shared)
                facts["potentials"] = _rounded(potentials.study(measured, trained, facts["served"]))
    if not studies:
        return facts
    if OURS in chosen:
        facts["columns"] = _columns(measured) | {"process": _process_columns(measured)}
    facts["curve"] = [point for point in facts.get("curve", []) if point["model"] not in chosen] + [
        {"model": n, "share": share, **_curve_point(measured, n, share)}
        for n in chosen if n in (BASELINE, OURS) for share in SHARES
    ]  # fmt: skip
    if "multitarget" in chosen:
        facts["multitarget"] = _multitarget(measured)
    return facts


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _counts(measured: Measurement) -> dict[str, Any]:
    """Rows of each target: all, those in the paper's test split, and reconstructed ones among them."""
    source = measured.catalog.column("structure_source").astype(str)
    counts: dict[str, Any] = {}
    for name in SERVED:
        known = np.isfinite(measured.truth(name))
        counts[name] = {
            "labels": int(known.sum()),
            "paper_test": int((known & measured.test).sum()),
            "paper_train": int((known & ~measured.test).sum()),
            "reconstructed": int((known & (source == "reconstructed")).sum()),
        }
    return counts


def _predictions(measured: Measurement, name: str, protocol: str):
    return measured.paper(name) if protocol == "paper" else measured.grouped(name)


def _scores(measured: Measurement, name: str, protocol: str, only: np.ndarray | None = None) -> dict[str, Any]:
    """Target -> scores of a model, with its unexplained variance divided by the baseline's on the same rows.

    only: (n,) bool, the materials that count; all unless given.
    """
    found = _predictions(measured, name, protocol)
    result = {}
    for target in (t for t in SERVED if t in found.mean):
        mean, truth = found.mean[target], measured.truth(target)
        rows = np.isfinite(truth) & np.isfinite(mean)
        if only is not None:
            rows &= only
        if not rows.any():
            continue
        scores = evaluation.scores(truth[rows], mean[rows], measured.formulas[rows])
        result[target] = {"n": int(rows.sum())} | {
            metric: [score.value, score.low, score.high] for metric, score in scores.items()
        }
        if name.rstrip("+") != BASELINE:
            reference = _predictions(measured, BASELINE, protocol).mean[target]
            ratio = evaluation.unexplained_ratio(truth[rows], mean[rows], reference[rows], measured.formulas[rows])
            result[target]["ratio"] = [ratio.value, ratio.low, ratio.high]
    return _rounded(result)


def _rounded(value: Any) -> Any:
    """Numbers to five digits: the files stay readable."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def _parity(measured: Measurement, name: str, protocol: str) -> dict[str, Any]:
    found = _predictions(measured, name, protocol)
    result = {}
    for target, mean in found.mean.items():
        truth = measured.truth(target)
        rows = np.isfinite(truth) & np.isfinite(mean)
        result[target] = [[float(f"{x:.4g}") for x in values[rows]] for values in (truth, mean)]
    return result


def _coverage(measured: Measurement, found: Predictions, out_of_fold: bool = False) -> dict[str, list[float]]:
    """Share of test rows in the 90 % interval, with the bounds that so many rows set (95 %, Wilson's score interval).

    Out of fold, each fold's intervals are scaled by the residuals of the other folds: a row does not calibrate its own
    interval.
    """
    from scipy.stats import binomtest

    fold_of = evaluation.grouped_folds(measured.rows.formulas)
    result = {}
    for target, mean in found.mean.items():
        truth = measured.truth(target)
        rows = np.isfinite(truth) & np.isfinite(mean)
        ratio = np.abs(truth - mean)[rows] / found.std[target][rows]
        inside = ratio <= NINETY_PERCENT
        if out_of_fold:
            folds = fold_of[rows]
            limits = [np.quantile(ratio[folds != k], 0.9) for k in range(evaluation.FOLDS)]
            inside = ratio <= np.array(limits)[folds]
        known = binomtest(int(inside.sum()), len(inside)).proportion_ci(method="wilson")
        result[target] = [float(inside.mean()), float(known.low), float(known.high)]
    return _rounded(result)


def _polymorphs(measured: Measurement, name: str) -> dict[str, Any]:
    """Pairs of one formula whose bulk moduli differ by more than 5 %: how many of them a model orders correctly."""
    truth, mean = measured.truth("bulk_modulus"), measured.grouped(name).mean["bulk_modulus"]
    rows = np.isfinite(truth) & np.isfinite(mean)
    right, tied, pairs = evaluation.polymorph_order(truth[rows], mean[rows], measured.formulas[rows].tolist())
    return {"right": right, "tied": tied, "pairs": pairs}


def listed(measured: Measurement, names: list[str], facts: dict[str, Any]) -> dict[str, Any]:
    """Out-of-fold scores of the paper's materials alone, added to those of earlier runs on the same rows.

    Models train on the other materials, too. Many of those are hypothetical, and harder to predict.
    """
    data = storage.data_checksum(measured.rows.ids, measured.labels)
    found: dict[str, Any] = facts if facts.get("data") == data else {"data": data, "scores": {}}
    found["materials"] = int(measured.listed.sum())
    for name in names:
        found["scores"][name] = _scores(measured, name, "grouped", measured.listed)
    return found


def doubtful(measured: Measurement, names: list[str], best: str, earlier: dict[str, Any]) -> dict[str, Any]:
    """Labels of shear moduli that hardly any crystal can have (`_AUXETIC`), and the other largest errors.

    R2 is out of fold, with and without the former. They are in the training set nevertheless.
    earlier: of an earlier run on the same rows. Its scores of models that are not in `names` stay.
    """
    bulk, shear = (measured.truth(name) for name in ("bulk_modulus", "shear_modulus"))
    ratio = measured.catalog.column("poisson_ratio")
    below = ratio < _AUXETIC
    predicted = measured.grouped(best).mean["shear_modulus"]

    def described(rows: np.ndarray) -> list[list[Any]]:
        known = [measured.rows.ids, measured.formulas]
        numbers = (bulk, shear, ratio, predicted)
        return [[*(str(k[i]) for k in known), *(float(n[i]) for n in numbers)] for i in rows]

    errors = np.where(below, 0.0, np.nan_to_num(np.abs(predicted - shear)))
    scores: dict[str, Any] = {n: found for n, found in earlier.get("scores", {}).items() if n not in names}
    for name in names:
        for target in ("shear_modulus", "youngs_modulus", "debye_temperature"):
            truth, mean = measured.truth(target), measured.grouped(name).mean[target]
            known = np.isfinite(truth) & np.isfinite(mean)
            kept = known & ~below
            scores.setdefault(name, {})[target] = [evaluation.metrics(truth[r], mean[r])["r2"] for r in (known, kept)]
    rows, largest = described(np.flatnonzero(below)), described(np.argsort(-errors)[:_LARGEST])
    return _rounded({"materials": len(ratio), "below": _AUXETIC, "rows": rows, "largest": largest, "scores": scores})


def _curve_point(measured: Measurement, name: str, share: float) -> dict[str, Any]:
    found = measured.paper(name, share=share)
    scores = {}
    for target, mean in found.mean.items():
        truth = measured.truth(target)
        rows = np.isfinite(truth) & np.isfinite(mean)
        scores[target] = evaluation.metrics(truth[rows], mean[rows])
    return {"rows": round(share * int((~measured.test).sum())), "scores": _rounded(scores)}


# What the density adds ---------------------------------------------------------------------------------------------


def _columns(measured: Measurement) -> dict[str, Any]:
    """One plain booster on several sets of columns, in five folds grouped by formula, and SHAP shares of the last set.

    A share is that of the mean absolute SHAP values (S. Lundberg and S.-I. Lee, arXiv 1705.07874) of out-of-fold rows.
    """
    from chgdb import features

    groups = np.array([_group(name) for name in features.names()])
    result: dict[str, Any] = {"sets": {}, "shap": {}}
    for target in SERVED:
        data = {"table": measured.rows["density"], "truth": measured.truth(target)}
        settings = (target, str(_SETS), str(_PLAIN), str(_TREES), *groups.tolist())
        key = storage.data_checksum((*measured.rows.ids, *settings), data)[:16]
        path = measured.work / "columns" / f"{target}-{key}.json"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, json.dumps(_compared(measured, target, groups)).encode())
        result["sets"][target], result["shap"][target] = json.loads(path.read_text(encoding="utf-8"))
        _say(f"columns, {target}: measured")
    return result


def _compared(measured: Measurement, target: str, groups: np.ndarray) -> tuple[dict[str, Any], dict[str, float]]:
    """(set of columns -> scores, group of columns -> its share of the SHAP values) of one target."""
    table, truth = measured.rows["density"], measured.truth(target)
    known = np.isfinite(truth)
    scaled = TARGETS[target].forward(truth[known])
    folds = evaluation.grouped_folds(measured.formulas[known].tolist())
    scores: dict[str, Any] = {}
    shared: dict[str, float] = {}
    for name, parts in _SETS.items():
        columns = np.flatnonzero(np.isin(groups, parts))
        predicted, shares = _plain(table[known][:, columns], scaled, folds, name == list(_SETS)[-1])
        scores[name] = _rounded(evaluation.metrics(truth[known], TARGETS[target].inverse(predicted)))
        if shares is not None:
            total = float(shares.sum())
            shared = {
                part: float(f"{shares[groups[columns] == part].sum() / total:.3g}")
                for part in ("composition", "structure", "density")
            }
    return scores, shared


def _process_columns(measured: Measurement) -> dict[str, Any]:
    """Target -> sets of columns -> scores of our model with the other columns blank, in five folds grouped by formula.

    Masses and volumes are always among the columns, because the model needs them for Debye temperatures.
    """
    from chgdb import features

    groups = np.array([_group(name) for name in features.names()])
    result: dict[str, Any] = {}
    for kept in (("composition", "structure"), ("composition", "structure", "density")):
        blank = ~np.isin(groups, kept)
        found = measured.without(OURS, blank) if blank.any() else measured.grouped(OURS)
        for target, mean in found.mean.items():
            truth = measured.truth(target)
            rows = np.isfinite(truth) & np.isfinite(mean)
            values = evaluation.metrics(truth[rows], mean[rows])
            result.setdefault(target, {})[", ".join(kept)] = _rounded(values)
        _say(f"{OURS}, {', '.join(kept)}: measured")
    return result


def _group(name: str) -> str:
    """Which of the three a feature needs, by the prefix of its name."""
    prefix = name.replace(" ", ".").split(".")[0]
    if prefix in ("MagpieData", "element", "fraction"):
        return "composition"
    return "density" if prefix in ("density", "difference") else "structure"


def _plain(
    table: np.ndarray, values: np.ndarray, folds: np.ndarray, explain: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """(out-of-fold predictions, mean absolute SHAP value of every column or None)."""
    import lightgbm

    predicted, shares = np.empty(len(values)), np.zeros(table.shape[1])
    for k in range(evaluation.FOLDS):
        test = folds == k
        booster = lightgbm.train(_PLAIN, lightgbm.Dataset(table[~test], values[~test]), _TREES)
        predicted[test] = booster.predict(table[test], num_threads=1)
        if explain:
            shares += np.abs(np.asarray(booster.predict(table[test], pred_contrib=True))[:, :-1]).sum(axis=0)
    return predicted, shares if explain else None


def _multitarget(measured: Measurement) -> dict[str, Any]:
    """Models of the density alone on the paper's test rows: one network for all targets, and one for each."""
    result: dict[str, Any] = {}
    for name in ("multitarget", "singletarget"):
        found = measured.paper(name)
        for target, mean in found.mean.items():
            truth = measured.truth(target)
            rows = np.isfinite(truth) & np.isfinite(mean)
            scores = evaluation.scores(truth[rows], mean[rows], measured.formulas[rows])
            result.setdefault(target, {"n": int(rows.sum())})[name] = [*vars(scores["r2"]).values()]
    return _rounded(result)


# Invariance and inputs unlike the training set ---------------------------------------------------------------------


def _stored(name: str):
    """The catalog's model. None where there is none yet."""
    from chgdb.models.ensemble import Ensemble
    from chgdb.plugins import models_folder

    folder = models_folder("properties") / name
    return Ensemble.load(folder) if (folder / storage.DESCRIPTION).exists() else None


#: Materials of the study of invariance: metallic, covalent, ionic, layered; cubic, hexagonal, and lower symmetry.
SPREAD_IDS = ("mp-149", "mp-30", "mp-22862", "mp-804", "mp-2534", "mp-66", "mp-2352", "mp-13")


def _spread(measured: Measurement, trained: Any) -> dict[str, Any]:
    """Operation -> target -> largest deviation from the prediction of the original input, in per cent.

    It is relative to the value or to a tenth of the labels' spread, whichever is larger (a formation energy may be
    zero).
    """
    from chgdb.models.rows import from_densities

    result: dict[str, dict[str, float]] = {}
    for material_id in (i for i in SPREAD_IDS if i in measured.catalog):
        density = replace(measured.catalog[material_id].density, extras={})
        total = Density(density.crystal, {"total": density.total})
        for operation, variants in operations(total).items():
            inputs = [total, *variants]
            rows = from_densities([str(i) for i in range(len(inputs))], inputs, trained.inputs)
            for target, mean in trained.predict(rows).mean.items():
                least = 0.1 * trained.calibration[target].spread
                deviation = 100 * np.abs(mean[1:] - mean[0]).max() / max(abs(mean[0]), least)
                known = result.setdefault(operation, {})
                known[target] = max(known.get(target, 0.0), float(f"{deviation:.2g}"))
    return result


def operations(density: Density) -> dict[str, list[Density]]:
    """The same crystal and density in other descriptions."""
    rng = np.random.default_rng(0)
    turns = list(_cubic_rotations())
    finer = [tuple(fast_length(round(n * factor)) for n in density.grid) for factor in (1.25, 1.5)]
    return {
        "24 rotations of the axes": [_reordered(density, turn) for turn in turns],
        "5 arbitrary rotations": [_rotated(density, rng) for _ in range(5)],
        "3 shifts of the origin": [_shifted(density, rng.random(3)) for _ in range(3)],
        "2 x 2 x 2 supercell": [_supercell(density, (2, 2, 2))],
        "another cell": [_sheared(density)],
        "finer grids": [density.resample(grid) for grid in finer],  # type: ignore[arg-type]
    }


def _cubic_rotations() -> Iterable[np.ndarray]:
    """The 24 signed permutation matrices of determinant 1."""
    from itertools import permutations, product

    for order in permutations(range(3)):
        for signs in product((1, -1), repeat=3):
            turn = np.zeros((3, 3), int)
            turn[np.arange(3), order] = signs
            if round(np.linalg.det(turn)) == 1:
                yield turn


def _reordered(density: Density, turn: np.ndarray) -> Density:
    """Lattice vectors in another order, some of them reversed, as by the 24 rotations of a cube."""
    order, signs = np.abs(turn).argmax(axis=1), turn.sum(axis=1)
    values = density.total.transpose(order)
    positions = density.crystal.positions[:, order] * signs
    for axis in np.flatnonzero(signs < 0).tolist():
        values = np.roll(np.flip(values, axis), 1, axis)
    crystal = Crystal(turn @ density.crystal.cell, positions, density.crystal.numbers)
    return Density(crystal, {"total": np.ascontiguousarray(values)})


def _rotated(density: Density, rng: np.random.Generator) -> Density:
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    rotation *= np.sign(np.linalg.det(rotation))
    crystal = density.crystal
    return Density(Crystal(crystal.cell @ rotation, crystal.positions, crystal.numbers), {"total": density.total})


def _shifted(density: Density, shift: np.ndarray) -> Density:
    """The origin moved by a fraction of the cell, not by a whole number of grid points."""
    coefficients = np.fft.fftn(density.total)
    for axis, (n, fraction) in enumerate(zip(density.grid, shift, strict=True)):
        h = np.fft.fftfreq(n, 1 / n)
        phase = np.exp(-2j * np.pi * h * fraction)
        if n % 2 == 0:
            phase[n // 2] = np.cos(np.pi * n * fraction)  # for both signs of the frequency
        coefficients *= phase.reshape([-1 if i == axis else 1 for i in range(3)])
    crystal = density.crystal
    moved = Crystal(crystal.cell, crystal.positions + shift, crystal.numbers)
    return Density(moved, {"total": np.fft.ifftn(coefficients).real})


def _supercell(density: Density, times: tuple[int, int, int]) -> Density:
    crystal = density.crystal
    shifts = np.stack(np.meshgrid(*(np.arange(n) for n in times), indexing="ij"), axis=-1).reshape(-1, 3)
    positions = ((crystal.positions[None] + shifts[:, None]) / np.array(times)).reshape(-1, 3)
    cell = crystal.cell * np.array(times)[:, None]
    larger = Crystal(cell, positions, np.tile(crystal.numbers, len(shifts)))
    return Density(larger, {"total": np.tile(density.total, times)})


def _sheared(density: Density) -> Density:
    """The same lattice with other vectors: a, a + b, c. The grid has as many points along a as along b."""
    crystal = density.crystal
    n = max(density.grid[:2])
    values = density.resample((n, n, density.grid[2])).total
    turn = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1]])
    i, j = np.indices((n, n))
    # Fractional coordinates x' of the new cell are x = x' @ turn in the old one.
    sheared = values[(i + j) % n, j]
    positions = crystal.positions @ np.linalg.inv(turn)
    return Density(Crystal(turn @ crystal.cell, positions, crystal.numbers), {"total": sheared})


def _flags(trained: Any, shared: Path) -> list[dict[str, Any]]:
    """Inputs of VASP and invented ones: the model's answers, or its refusals."""
    from chgdb import read
    from chgdb.models.applicability import check_units
    from chgdb.models.rows import from_densities

    cases: dict[str, Callable[[], Density]] = {
        path.name.removesuffix(".gz"): partial(read, path) for path in sorted((shared / "vasp").glob("*.gz"))
    }
    cases |= {"water in a box of 12 Å": _molecule, "silicon as polonium": partial(_renamed, cases, 84)}
    result = []
    for name, load in cases.items():
        fact: dict[str, Any] = {"input": name}
        try:
            density = load()
            check_units(density)
            found = trained.predict(from_densities([name], [density], trained.inputs))
        except ChgdbError as error:
            result.append(fact | {"refused": str(error)})
            continue
        fact |= {"formula": density.crystal.formula, "remarks": list(found.remarks[0])}
        fact |= {t: [float(found.mean[t][0]), float(found.std[t][0])] for t in ("bulk_modulus", "formation_energy")}
        result.append(_rounded(fact))
    return result


def _molecule() -> Density:
    """A water molecule of Gaussian atoms, alone in its cell."""
    cell, numbers = np.eye(3) * 12.0, [8, 1, 1]
    places = np.array([[0.5, 0.5, 0.5], [0.5633, 0.5489, 0.5], [0.4367, 0.5489, 0.5]])
    points = np.stack(np.meshgrid(*[np.arange(80) / 80] * 3, indexing="ij"), axis=-1) * 12.0
    total = np.zeros((80, 80, 80))
    for place, electrons, width in zip(places @ cell, (6.0, 1.0, 1.0), (0.45, 0.35, 0.35), strict=True):
        total += electrons * np.exp(-((points - place) ** 2).sum(-1) / (2 * width**2)) / (2 * np.pi * width**2) ** 1.5
    return Density(Crystal(cell, places, np.array(numbers)), {"total": total})


def _renamed(cases: Mapping[str, Callable[[], Density]], number: int) -> Density:
    """Silicon's density with an element that no training material has."""
    density = cases["Si2_spin.CHGCAR"]()
    crystal = Crystal(density.crystal.cell, density.crystal.positions, np.full(len(density.crystal), number))
    return Density(crystal, {"total": density.total})
