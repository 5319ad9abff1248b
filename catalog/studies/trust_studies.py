"""How far predictions can be trusted, by the stored model and its out-of-fold predictions, without training.

`evaluate_properties.py --trust` runs it; `trust_report` shows it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from chgdb.catalog import Catalog
from chgdb.derived import OF_MODULI, derive, mean_mass
from chgdb.elements import formula_numbers
from chgdb.models import SERVED, TARGETS, ModelError, evaluation, groups
from chgdb.models.elasticity import debye_temperature
from chgdb.models.ensemble import Ensemble
from chgdb.models.evaluation import NINETY_PERCENT
from chgdb.models.intervals import OPEN
from chgdb.models.methods import gaussian
from chgdb_catalog import doubts, energies

#: Tables leave out groups with fewer labels.
_FEWEST = 100
#: Number of rows in the study of blanking the density.
_SAMPLE = 2400
#: mu_B in a cell above which a material is magnetic.
_MAGNETIC = 0.1


def measure(ensemble: Ensemble, catalog: Catalog) -> dict[str, Any]:
    """All numbers. Raises `ModelError` for a model that does not have the labels of its training."""
    if not ensemble.held_out.truth or ensemble.intervals is None:
        raise ModelError("the stored model has no intervals: python catalog/rebuild.py makes them")
    ids = list(ensemble.held_out.position)
    place = {material_id: row for row, material_id in enumerate(catalog.ids)}
    rows = np.array([place[i] for i in ids])
    return {
        "coverage": _coverage(ensemble, catalog, rows),
        "ranks": _ranks(ensemble),
        "gaps": _gaps(ensemble),
        "debye": _debye(ensemble, catalog, rows),
        "derived": _derived(ensemble, catalog, rows),
        "logarithms": _logarithms(ensemble, catalog, rows),
        "energies": _energies(catalog),
        "blanked": _blanked(ensemble),
        "doubts": _doubts(ensemble, catalog),
    }


def _known(ensemble: Ensemble, name: str) -> np.ndarray:
    return np.isfinite(ensemble.held_out.truth[name]) & np.isfinite(ensemble.held_out.mean[name])


def memberships(catalog: Catalog, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Group -> which of some rows of a catalog are in it.

    The groups are those of `groups`, which need the columns, and those that no structure shows.
    """
    columns = {name: catalog.column(name)[rows] for name in ("elements", "space_group", "n_atoms", "magnetic_moment")}
    found = {"all": np.ones(len(rows), bool), **{name: np.zeros(len(rows), bool) for name in groups.NAMES}}
    each = zip(columns["elements"], columns["space_group"], columns["n_atoms"], strict=True)
    for row, (elements, number, atoms) in enumerate(each):
        for name in groups.names_of(set(elements.split()), int(number), int(atoms)):
            found[name][row] = True
    found["magnetic"] = np.abs(np.nan_to_num(columns["magnetic_moment"])) > _MAGNETIC
    gap = catalog.column("band_gap")[rows]
    listed = catalog.column("paper_split")[rows].astype(str) != ""
    return found | {"insulator": gap > OPEN, "metal": gap <= OPEN, "of the paper": listed, "others": ~listed}


def _coverage(ensemble: Ensemble, catalog: Catalog, rows: np.ndarray) -> dict[str, dict[str, list[float]]]:
    """Group -> target -> [rows, per cent in the interval of 90 %, of 50 %]; band gaps only where there is one."""
    held = ensemble.held_out
    result: dict[str, dict[str, list[float]]] = {}
    for group, member in memberships(catalog, rows).items():
        for name in SERVED:
            known = _known(ensemble, name) & member
            if name == "band_gap" and group not in ("all", "metal"):
                known &= held.truth[name] > OPEN
            if known.sum() < _FEWEST:
                continue
            error = np.abs(held.truth[name] - held.mean[name])[known]
            inside = [error <= NINETY_PERCENT * held.std[name][known], error <= held.half[name][known]]
            shares = [round(100 * float(one.mean()), 1) for one in inside]
            result.setdefault(group, {})[name] = [int(known.sum()), *shares]
    return result


def _ranks(ensemble: Ensemble) -> dict[str, list[float]]:
    """Target -> Spearman's correlation of standard deviation and error, in the unit and relative.

    The relative one is for targets that are learned as logarithms.
    """
    from scipy.stats import spearmanr

    held, result = ensemble.held_out, {}
    for name in SERVED:
        known = _known(ensemble, name)
        error, std = np.abs(held.truth[name] - held.mean[name])[known], held.std[name][known]
        scale = held.mean[name][known] if TARGETS[name].log else 1.0
        found = [spearmanr(std / scale, error / scale)[0], spearmanr(std, error)[0]]
        if name == "band_gap":
            there = held.truth[name][known] > OPEN
            found.append(spearmanr(std[there], error[there])[0])
        result[name] = [round(float(x), 3) for x in found]
    return result


def _gaps(ensemble: Ensemble) -> dict[str, list[float]]:
    """Metals and insulators -> [rows, MAE, median of the error] of band gaps in eV."""
    held, known = ensemble.held_out, _known(ensemble, "band_gap")
    error, there = np.abs(held.truth["band_gap"] - held.mean["band_gap"]), held.truth["band_gap"] > OPEN
    parts = {"all": known, "metals": known & ~there, "insulators": known & there}
    return {n: [int(r.sum()), *(round(float(f(error[r])), 4) for f in (np.mean, np.median))] for n, r in parts.items()}


def _solids(catalog: Catalog, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(mean mass, volume per atom in Å^3, atoms) of some rows."""
    atoms = catalog.column("n_atoms")[rows].astype(float)
    mass = np.array([mean_mass(np.array(formula_numbers(f))) for f in catalog.column("formula")[rows].tolist()])
    return mass, catalog.column("volume")[rows] / atoms, atoms


def _debye(ensemble: Ensemble, catalog: Catalog, rows: np.ndarray) -> dict[str, list[float]]:
    """Learned Debye temperatures, and those that follow from predicted K and G -> [rows, R2, MAE in K]."""
    held = ensemble.held_out
    mass, volume, _ = _solids(catalog, rows)
    names = ("debye_temperature", "bulk_modulus", "shear_modulus")
    known = np.logical_and.reduce([_known(ensemble, name) for name in names])
    follows = debye_temperature(
        held.mean["bulk_modulus"], held.mean["shear_modulus"], 1.66053906892 * mass / volume, 1 / volume
    )
    result = {}
    for title, values in (("served", held.mean["debye_temperature"]), ("from K and G", follows)):
        found = evaluation.metrics(held.truth["debye_temperature"][known], values[known])
        result[title] = [int(known.sum()), round(found["r2"], 4), round(found["mae"], 2)]
    return result


def _derived(ensemble: Ensemble, catalog: Catalog, rows: np.ndarray) -> dict[str, list[float]]:
    """Derived property -> [rows, R2, MAE, per cent in the interval of 90 %], against that of the labelled moduli.

    "correlation" is that of the relative errors of K and G, which the propagation takes for granted.
    """
    held, solid = ensemble.held_out, _solids(catalog, rows)
    known = _known(ensemble, "bulk_modulus") & _known(ensemble, "shear_modulus")
    pairs = [(held.mean[n], held.std[n]) for n in ("bulk_modulus", "shear_modulus")]
    labels = [(held.truth[n], 0 * held.truth[n]) for n in ("bulk_modulus", "shear_modulus")]
    said, true = derive(pairs[0], pairs[1], *solid), derive(labels[0], labels[1], *solid)
    errors = [np.log(held.truth[n] / held.mean[n])[known] for n in ("bulk_modulus", "shear_modulus")]
    middle = np.logical_and.reduce([np.abs(e) < np.quantile(np.abs(e), 0.98) for e in errors])
    correlation = float(np.corrcoef(errors[0][middle], errors[1][middle])[0, 1])
    result = {"correlation": [int(known.sum()), round(correlation, 3)]}
    for name in OF_MODULI:
        value, std, truth = said[name][0], said[name][1], true[name][0]
        good = known & np.isfinite(value) & np.isfinite(truth)
        inside = np.abs(truth - value) <= NINETY_PERCENT * std
        found = evaluation.metrics(truth[good], value[good])
        share = round(100 * float(inside[good].mean()), 1)
        result[name] = [int(good.sum()), round(found["r2"], 3), float(f"{found['mae']:.3g}"), share]
    return result


def _logarithms(ensemble: Ensemble, catalog: Catalog, rows: np.ndarray) -> dict[str, list[float]]:
    """K and G -> mean absolute errors of log10(GPa), over all rows and over the paper's, as in Matbench."""
    held, listed = ensemble.held_out, memberships(catalog, rows)["of the paper"]
    result = {}
    for name in ("bulk_modulus", "shear_modulus"):
        known = _known(ensemble, name)
        error = np.abs(np.log10(held.truth[name] / held.mean[name]))
        result[name] = [round(float(error[known].mean()), 4), round(float(error[known & listed].mean()), 4)]
    return result


def _energies(catalog: Catalog) -> dict[str, Any]:
    """Formation energies by our own DFT against labels, with references fitted to other formulas."""
    found = energies.of_catalog(catalog)
    error = np.abs(found.errors(catalog.column("formation_energy").astype(float)))
    error = error[np.isfinite(error)]
    numbers = {"mae": error.mean(), "median": np.median(error), "90 %": np.quantile(error, 0.9)}
    return {"rows": len(error), **{name: round(float(x), 4) for name, x in numbers.items()}}


def _blanked(ensemble: Ensemble) -> dict[str, list[float]]:
    """K and G -> [rows, MAE with the density, without, increase in per cent, its 95 % interval].

    One process of the stored model is conditioned on a sample of its rows less each formula in turn. It predicts the
    material that was left out with its density and without. The materials are the same both times, so the bootstrap
    over formulas is of the difference.
    """
    model: Any = ensemble.members[0]
    _, known, process = model.processes["moduli"]
    formula_of = dict(zip(model.place.tolist(), ensemble.held_out.formulas, strict=False))
    measured = np.array([int(row) in formula_of for row in known]) & process.rows.has_density
    chosen = np.sort(np.random.default_rng(0).permutation(np.flatnonzero(measured))[:_SAMPLE])
    rows = process.rows.take(chosen)
    place_of = {int(row): i for i, row in enumerate(model.place[: len(ensemble.held_out.formulas)])}
    where = np.array([place_of[int(row)] for row in known[chosen]])
    truth = np.stack([ensemble.held_out.truth[n][where] for n in ("bulk_modulus", "shear_modulus")], axis=1)
    forward = np.column_stack([np.sqrt(truth[:, 0]), np.log(truth[:, 1])])
    middle = forward.mean(axis=0)
    matrix = gaussian.covariance(process.layout, process.theta, rows, rows)
    without = gaussian.Parts(rows.groups, np.zeros(len(rows), bool), rows.atoms)
    blank = gaussian.covariance(process.layout, process.theta, without, rows)
    noisy = matrix + process.layout.split(process.theta).noise * np.eye(len(rows))
    inverse = np.linalg.inv(noisy)
    alpha = inverse @ (forward - middle)
    keys = np.unique([ensemble.held_out.formulas[i] for i in where], return_inverse=True)[1]
    said = np.zeros((2, *forward.shape))
    for key in range(keys.max() + 1):
        own = np.flatnonzero(keys == key)
        left = alpha - inverse[:, own] @ np.linalg.solve(inverse[np.ix_(own, own)], alpha[own])
        said[0, own], said[1, own] = matrix[own] @ left + middle, blank[own] @ left + middle
    values = np.stack([np.maximum(said[..., 0], 0.5) ** 2, np.exp(said[..., 1])], axis=-1)
    errors = np.abs(values - truth)
    rng, result = np.random.default_rng(0), {}
    counts = np.stack([np.bincount(keys, errors[i, :, j]) for i in range(2) for j in range(2)]).reshape(2, 2, -1)
    drawn = [rng.integers(keys.max() + 1, size=keys.max() + 1) for _ in range(1000)]
    for j, name in enumerate(("bulk_modulus", "shear_modulus")):
        ratios = [100 * (counts[1, j, d].sum() / counts[0, j, d].sum() - 1) for d in drawn]
        with_it, blanked = errors[:, :, j].mean(axis=1)
        numbers = (with_it, blanked, 100 * (blanked / with_it - 1), *np.percentile(ratios, [2.5, 97.5]))
        result[name] = [len(rows), *(round(float(x), 2) for x in numbers)]
    return result


def _doubts(ensemble: Ensemble, catalog: Catalog) -> dict[str, Any]:
    """The number of doubted labels, and the scores of all rows and of those that are not doubted."""
    held, found = ensemble.held_out, doubts.of_catalog(catalog, ensemble.held_out)
    fine = np.array([material_id not in found for material_id in held.position])
    scores: dict[str, Any] = {}
    for name in SERVED:
        known = _known(ensemble, name)
        both = [evaluation.metrics(held.truth[name][r], held.mean[name][r]) for r in (known, known & fine)]
        counts = [int(known.sum()), int((known & fine).sum())]
        scores[name] = [[n, round(m["r2"], 4), float(f"{m['mae']:.4g}")] for n, m in zip(counts, both, strict=True)]
    kinds = {
        "Poisson's ratio": "Poisson", "far from its prediction": "90 % interval", "against our own DFT": "our DFT",
    }  # fmt: skip
    return {
        "materials": len(found),
        "reasons": {kind: sum(word in text for text in found.values()) for kind, word in kinds.items()},
        "scores": scores,
    }
