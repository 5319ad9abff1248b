"""How far a formation energy lies above what the known phases of its elements can make of the same atoms.

    hull = Hull(formulas, energies)          # eV/atom, against the elements
    hull.energy("Li2O")                      # the lowest that a mixture of known phases reaches

A mixture of phases has the composition asked for and the least energy: a linear programme with a row for each element.
The elements themselves are phases of energy 0, unless one of them is given with less. Phases that are not given cannot
compete: the distance from such a hull is a lower bound of the distance from the hull of all phases there are. Energies
are those of the calculation, at 0 K, without vibrations.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from .elements import formula_numbers

__all__ = ["Hull", "composition"]

#: eV/atom; what a phase must gain to enter a mixture, far below what calculations tell.
_LEAST = 1e-9
_MOST_STEPS = 10_000


def composition(formula: str) -> dict[int, float]:
    """Atomic number -> share of the atoms. Raises `DensityError` for what is no formula.

    >>> composition("SiO2")[14]
    0.3333333333333333
    """
    numbers = formula_numbers(formula)
    return {z: count / len(numbers) for z, count in sorted(Counter(numbers).items())}


class Hull:
    """The lower hull of formation energies over composition.

    Parameters
    ----------
    formulas : sequence of str
        Of the phases; several may share one.
    energies : sequence of float
        Formation energies in eV/atom; phases without a finite one do not count.

    Examples
    --------
    >>> hull = Hull(["NaCl", "Na2Cl"], [-2.0, -0.5])
    >>> round(hull.energy("NaCl"), 3), round(hull.energy("Na2Cl"), 3), hull.energy("LiF")
    (-2.0, -1.333, 0.0)
    """

    def __init__(self, formulas: Sequence[str], energies: Sequence[float] | np.ndarray) -> None:
        lowest: dict[str, float] = {}
        for formula, energy in zip(formulas, np.asarray(energies, float).tolist(), strict=True):
            if np.isfinite(energy) and energy < lowest.get(formula, np.inf):
                lowest[formula] = energy
        self._phases = [(composition(formula), energy) for formula, energy in lowest.items()]
        self._of: dict[int, list[int]] = {}
        for row, (shares, _) in enumerate(self._phases):
            for z in shares:
                self._of.setdefault(z, []).append(row)

    def energy(self, formula: str | Mapping[int, float]) -> float:
        """The minimum energy that phases of these elements reach at a composition.

        Parameters
        ----------
        formula : str | Mapping[int, float]
            A formula, or shares by atomic number.

        Returns
        -------
        float
            eV/atom.
        """
        shares = composition(formula) if isinstance(formula, str) else formula
        elements = sorted(z for z, share in shares.items() if share > 0)
        place = {z: k for k, z in enumerate(elements)}
        rows = {r for z in elements for r in self._of.get(z, ()) if all(other in place for other in self._phases[r][0])}
        table = np.zeros((len(elements), len(elements) + len(rows)))
        table[:, : len(elements)] = np.eye(len(elements))  # the elements at 0
        cost = np.zeros(table.shape[1])
        for column, row in enumerate(sorted(rows), len(elements)):
            for z, share in self._phases[row][0].items():
                table[place[z], column] = share
            cost[column] = self._phases[row][1]
        return _least(table, cost, np.array([shares[z] for z in elements], float))

    def distances(self, formulas: Sequence[str], energies: Sequence[float] | np.ndarray) -> np.ndarray:
        """Distances of formation energies from the hull.

        Parameters
        ----------
        formulas : Sequence[str]
            Formula of each material.
        energies : Sequence[float] | np.ndarray
            (n,) formation energies, eV/atom; may be NaN.

        Returns
        -------
        np.ndarray
            (n,) eV/atom above the hull; NaN stays NaN.
        """
        of = {formula: self.energy(formula) for formula in set(formulas)}
        return np.asarray(energies, float) - np.array([of[formula] for formula in formulas])


def _least(table: np.ndarray, cost: np.ndarray, amounts: np.ndarray) -> float:
    """min cost.x where table @ x = amounts, x >= 0, by the simplex method. The first columns are a unit matrix: the
    mixture that it starts from. The first column that gains enters (R. G. Bland, Math. Oper. Res. 2, 103
    (1977)), so that no mixture comes again."""
    basis = np.arange(len(amounts))
    for _ in range(_MOST_STEPS):
        inverse = np.linalg.inv(table[:, basis])
        held = np.maximum(inverse @ amounts, 0.0)
        gain = cost - (cost[basis] @ inverse) @ table
        entering = np.flatnonzero(gain < -_LEAST)
        if not len(entering):
            break
        step = inverse @ table[:, entering[0]]
        limits = np.divide(held, step, out=np.full(len(held), np.inf), where=step > 1e-12)
        least = np.flatnonzero(limits <= limits.min() + 1e-12)
        basis[least[np.argmin(basis[least])]] = entering[0]
    return float(cost[basis] @ held)
