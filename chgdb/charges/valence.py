"""Valence electrons of the potentials that a density was made with: net charges are counted from them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import numpy as np

from ..elements import SYMBOLS, reduced_formula
from ..errors import DensityError
from . import free_atoms

#: (electrons of a core, first and last atomic number of the elements that some potential gives it).
_CORES = [
    *((0, 1, 4), (2, 3, 12), (4, 11, 11), (10, 11, 30), (12, 19, 30), (18, 19, 36), (28, 31, 48), (30, 43, 48)),
    *((36, 37, 54), (46, 49, 71), (54, 55, 57), (60, 72, 80), (62, 72, 80), (68, 72, 86), (78, 81, 96), (86, 87, 89)),
]
#: Electrons by which the integral may miss a whole number.
_ROUNDING = 0.02
_MOST = 10_000  # combinations that are tried


def catalog(numbers: np.ndarray) -> np.ndarray:
    """(n,) valence electrons in the potentials of the catalog's recipe."""
    free_atoms.check_known(numbers)
    return np.array([float(z - free_atoms.frozen_core(int(z))) for z in numbers])


def given(numbers: np.ndarray, valence: Mapping[str, float]) -> np.ndarray:
    """(n,) valence electrons as said by element. Raises `DensityError` if one is not said."""
    missing = sorted({SYMBOLS[z] for z in numbers} - set(valence))
    if missing:
        raise DensityError(f"no valence is given for {', '.join(missing)}: say how many electrons its potential has")
    return np.array([float(valence[SYMBOLS[z]]) for z in numbers])


def inferred(numbers: np.ndarray, n_electrons: float) -> np.ndarray:
    """(n,) valence electrons that add up to the integral of a density.

    The potentials of the catalog first, then all electrons, then the only combination of usual potentials that fits.

    Raises
    ------
    DensityError
        If none does, or several do.
    """
    count = round(n_electrons)
    if abs(n_electrons - count) < _ROUNDING * max(1, len(numbers) / 10):
        if count == int(numbers.sum()):
            return numbers.astype(float)
        elements, atoms = np.unique(numbers, return_counts=True)
        usual = [[int(z) - core for core, low, high in _CORES if low <= z <= high and core < z] for z in elements]
        if all(usual) and np.prod([len(choice) for choice in usual]) <= _MOST:
            fitting = [choice for choice in product(*usual) if int(np.dot(choice, atoms)) == count]
            if all(free_atoms.known(int(z)) for z in elements):
                own = tuple(int(z) - free_atoms.frozen_core(int(z)) for z in elements)
                fitting = [own] if own in fitting else fitting
            if len(fitting) == 1:
                return np.array([float(fitting[0][int(np.searchsorted(elements, z))]) for z in numbers])
    raise DensityError(
        f"the density integrates to {n_electrons:.6g} electrons, which does not tell the valence electrons of each "
        f"element of {reduced_formula(numbers)}: give them (--valence), as in Na=1,Cl=7 (ZVAL in VASP's POTCAR)"
    )
