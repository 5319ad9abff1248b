"""Formation energies from our own DFT: the energy of a cell less fitted references of its elements.

GPAW's total energies stand in the column `dft_energy`, against spin-paired spherical atoms. What a formation energy is
measured against, the elements, was computed elsewhere with other settings: a reference energy for each element is
fitted so that the labels come out, by absolute deviations, which a wrong label does not move. No label enters the value
that is compared with it: for the error that is stated, the references are those of the other formulas.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chgdb.catalog import Catalog
from chgdb.elements import formula_numbers
from chgdb.features.composition import fractions
from chgdb.models.evaluation import FOLDS, grouped_folds

#: eV/atom; deviations below this weigh alike. Rounds of reweighting.
_LEAST, _ROUNDS = 0.01, 20
#: Formulas with an element that a reference takes at least.
_FEWEST = 5


@dataclass(frozen=True)
class Energies:
    """Formation energies of a catalog's materials.

    values: (n,) eV/atom, NaN where an element has no reference. held_out: likewise, by references fitted to the labels
    of other formulas. references: (94,) eV, H to Pu, NaN without one.
    """

    values: np.ndarray
    held_out: np.ndarray
    references: np.ndarray

    def errors(self, labels: np.ndarray) -> np.ndarray:
        """(n,) what the held-out values differ from labels by, NaN without either."""
        return self.held_out - labels


def of_catalog(catalog: Catalog) -> Energies:
    """Of all materials, with references fitted to the column `formation_energy`."""
    energies = catalog.column("dft_energy") / catalog.column("n_atoms")
    return fit(catalog.column("formula").tolist(), energies, catalog.column("formation_energy").astype(float))


def fit(formulas: Sequence[str], energies: np.ndarray, labels: np.ndarray) -> Energies:
    """energies: (n,) eV/atom by DFT. labels: (n,) formation energies in eV/atom, NaN without one."""
    shares_of = {formula: fractions(formula_numbers(formula)) for formula in set(formulas)}
    shares = np.stack([shares_of[formula] for formula in formulas])
    excess = np.asarray(energies, float) - labels
    known = np.isfinite(excess)
    folds = grouped_folds(list(formulas))
    held_out = np.full(len(labels), np.nan)
    for k in range(FOLDS):
        held_out[folds == k] = _less(energies, shares, _references(shares, excess, known & (folds != k)))[folds == k]
    references = _references(shares, excess, known)
    return Energies(_less(energies, shares, references), held_out, references)


def _references(shares: np.ndarray, excess: np.ndarray, known: np.ndarray) -> np.ndarray:
    amounts, values = shares[known], excess[known]
    used = (amounts > 0).sum(axis=0) >= _FEWEST
    weights, found = np.ones(len(values)), np.zeros(used.sum())
    for _ in range(_ROUNDS):
        weighted = amounts[:, used].T * weights
        found = np.linalg.solve(weighted @ amounts[:, used] + 1e-6 * np.eye(used.sum()), weighted @ values)
        weights = 1 / np.maximum(np.abs(values - amounts[:, used] @ found), _LEAST)
    result = np.full(shares.shape[1], np.nan)
    result[used] = found
    return result


def _less(energies: np.ndarray, shares: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Energies less those of the elements; NaN where an element has no reference."""
    lacking = (shares[:, np.isnan(references)] > 0).any(axis=1)
    return np.where(lacking, np.nan, energies - shares @ np.nan_to_num(references))
