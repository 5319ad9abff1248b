"""Atoms of other potentials: form factors and valence electrons from a few densities of a user's own.

What a model of difference densities says lies between the atoms; what another potential changes lies at them. So the
differences stay, and the form factors are corrected by what is left of the user's densities, as little as they ask for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product

import numpy as np

from ..density import Density
from ..elements import SYMBOLS
from ..features.composition import tables
from ..promolecule import Equations, Prior
from .guess import guess
from .model import DensityModel, DensityModelError
from .samples import beyond, sum_of

_WHOLE = 1e-3  # how near to a whole number an electron count must be, in parts of it
_MOST_CHOICES = 1 << 16


def fit_atoms(model: DensityModel, densities: Sequence[Density]) -> tuple[Prior, dict[int, float]]:
    """(form factors, valence electrons) of the elements of some densities that a model knows.

    Raises `DensityModelError` without a density, or with one that has an element which the model does not know.
    """
    if not densities:
        raise DensityModelError("other atoms need at least one density that has them")
    equations = Equations()
    for density in densities:
        equations.add(beyond(density, guess(model, density.crystal, density.grid).total), None)
    change = equations.solve()
    prior = sum_of(model.prior, change)
    rows = np.searchsorted(prior.numbers, change.numbers)
    return Prior(change.numbers, prior.coefficients[rows]), valence(model, densities)


def valence(model: DensityModel, densities: Sequence[Density]) -> dict[int, float]:
    """Valence electrons of each element, whole numbers where they are decided by the electron counts of the densities.

    Of what potentials have (outer electrons, with and without the shells below), the choice nearest to the model's
    that gives every count; where none does, the counts alone decide, and elements that come only together share.
    Raises `DensityModelError` where no valence of each element gives all counts: its densities have several potentials.
    """
    numbers = sorted({int(z) for d in densities for z in d.crystal.numbers})
    amounts = np.array([[np.count_nonzero(d.crystal.numbers == z) for z in numbers] for d in densities], float)
    counts = np.array([d.n_electrons for d in densities])
    own = np.array([model.valence[z] for z in numbers])
    choices = [_choices(z, v) for z, v in zip(numbers, own, strict=True)]
    best: tuple[float, Sequence[float]] | None = None
    if np.prod([float(len(c)) for c in choices]) <= _MOST_CHOICES:
        for chosen in product(*choices):
            if (np.abs(amounts @ chosen - counts) <= _WHOLE * counts).all():
                distance = float(np.abs(np.array(chosen) - own).sum())
                if best is None or distance < best[0]:
                    best = distance, chosen
    if best is None:
        change, _, rank, _ = np.linalg.lstsq(amounts, counts - amounts @ own, rcond=None)
        found = own + change
        _check(numbers, found, np.abs(amounts @ found - counts).max(), rank == len(numbers))
        best = 0.0, found.tolist()
    return {z: float(n) for z, n in zip(numbers, best[1], strict=True)}


def _check(numbers: Sequence[int], found: np.ndarray, left: float, decided: bool) -> None:
    """Raises `DensityModelError` for electrons that no potentials, one for each element, have."""
    odd = [SYMBOLS[z] for z, n in zip(numbers, found, strict=True) if not _WHOLE < n <= z + _WHOLE]
    if left > 0.1 or (decided and (odd or (np.abs(found - np.rint(found)) > 0.1).any())):
        names = ", ".join(odd or [SYMBOLS[z] for z in numbers])
        raise DensityModelError(
            f"no numbers of valence electrons of {names} give the electron counts of these densities: "
            "they have several potentials of one element, or are no valence densities; give those of one kind"
        )


def _choices(number: int, own: float) -> set[float]:
    """Valence electrons that potentials of an element have."""
    known = tables()
    s, p, d, f = (float(known[f"N{shell}Valence"][number]) for shell in "spdf")
    group = int(known["Column"][number])
    if group > 12:  # with the d shell of the period before, where it is shallow
        return {own, s + p, *([s + p + 10] if d and group < 15 else [])}
    outer = s + p + d
    return {n for n in (own, outer, outer + 6, outer + 8, outer + f) if n > 0}


def unsettled(valence: dict[int, float]) -> Iterable[str]:
    """Symbols of elements whose valence is no whole number: only sums with others were known."""
    return [SYMBOLS[z] for z, n in valence.items() if abs(n - round(n)) > _WHOLE]
