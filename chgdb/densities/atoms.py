"""Atoms of other potentials: form factors and valence electrons from a few densities of the user.

The model's differences describe what lies between the atoms. Another potential changes what lies at the atoms. So the
differences stay, and the form factors are corrected as little as the residuals of the user's densities ask for.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from ..density import Crystal, Density
from ..elements import SYMBOLS
from ..features.composition import tables
from ..promolecule import Equations, Prior
from .guess import guess
from .model import DensityModel, DensityModelError
from .samples import beyond, sum_of

_WHOLE = 1e-3  # relative distance from a whole number within which an electron count is one
_MOST_TRIES = 100_000


def fit_atoms(model: DensityModel, densities: Sequence[Density]) -> tuple[Prior, dict[int, float]]:
    """(form factors, valence electrons) of those elements of some densities that a model knows.

    Raises `DensityModelError` if there is no density, or the model does not know an element of one.
    """
    if not densities:
        raise DensityModelError("other atoms need at least one density that has them")
    equations = Equations()
    for density in densities:
        equations.add(beyond(density, guess(model, density.crystal, density.grid).total), None)
    change = equations.solve()
    prior = sum_of(model.prior, change)
    rows = np.searchsorted(prior.numbers, change.numbers)
    return Prior(change.numbers, prior.coefficients[rows]), valence(
        model, [d.crystal for d in densities], [d.n_electrons for d in densities]
    )


def valence(model: DensityModel, crystals: Sequence[Crystal], electrons: Sequence[float]) -> dict[int, float]:
    """Valence electrons of each element, from the electron counts of cells; whole numbers where the counts decide them.

    Potentials have the outer electrons, with or without the shells below. Of these choices the one nearest to the
    model's that gives every count is taken. Where none does, the counts alone decide, and elements that only come
    together share the electrons. Raises `DensityModelError` if no valence of each element gives all counts: the
    densities are of several potentials.
    """
    numbers, amounts = _amounts(crystals)
    counts = np.asarray(electrons, float)
    own = np.array([model.valence[z] for z in numbers])
    choices = [sorted(_choices(z, n), key=partial(_apart, n)) for z, n in zip(numbers, own, strict=True)]
    # Where the d shell may belong to either of two elements (Ga and As), it is the shallower one, of the earlier group.
    first = np.argsort(-tables()["Column"][numbers], kind="stable")
    found = _consistent(amounts[:, first], counts, [choices[k] for k in first])
    if found is not None:
        found = found[np.argsort(first)]
    if found is None:
        change, _, rank, _ = np.linalg.lstsq(amounts, counts - amounts @ own, rcond=None)
        found = own + change
        _check(numbers, found, np.abs(amounts @ found - counts).max(), rank == len(numbers))
    return {z: float(n) for z, n in zip(numbers, found, strict=True)}


def _amounts(crystals: Sequence[Crystal]) -> tuple[list[int], np.ndarray]:
    """(elements, how many atoms of each a cell has (cells, elements))."""
    numbers = sorted({int(z) for crystal in crystals for z in crystal.numbers})
    return numbers, np.array([[np.count_nonzero(c.numbers == z) for z in numbers] for c in crystals], float)


def _apart(own: float, other: float) -> tuple[float, float]:
    return abs(other - own), other


def _consistent(amounts: np.ndarray, counts: np.ndarray, choices: Sequence[Sequence[float]]) -> np.ndarray | None:
    """A choice for each element that gives all counts; earlier choices are preferred. None where there is none.

    The search is by depth. It takes the elements in the order in which they complete a density, whose count then
    decides.
    """
    order: list[int] = []
    for row in sorted(amounts.tolist(), key=np.count_nonzero):
        order += [k for k, amount in enumerate(row) if amount and k not in order]
    places = {k: depth for depth, k in enumerate(order)}
    complete: dict[int, list[int]] = {}
    for density, row in enumerate(amounts):
        complete.setdefault(max(places[int(k)] for k in np.flatnonzero(row)), []).append(density)
    found, tries = np.zeros(len(order)), 0

    def search(depth: int) -> bool:
        nonlocal tries
        if depth == len(order):
            return True
        for choice in choices[order[depth]]:
            tries += 1
            found[order[depth]] = choice
            done = complete.get(depth, [])
            fits = (np.abs(amounts[done] @ found - counts[done]) <= _WHOLE * counts[done]).all()
            if tries <= _MOST_TRIES and fits and search(depth + 1):
                return True
        found[order[depth]] = 0.0
        return False

    return found if search(0) else None


def _check(numbers: Sequence[int], found: np.ndarray, left: float, decided: bool) -> None:
    """Raises `DensityModelError` for electron counts that one potential for each element cannot give."""
    odd = [SYMBOLS[z] for z, n in zip(numbers, found, strict=True) if not _WHOLE < n <= z + _WHOLE]
    if left > 0.1 or (decided and (odd or (np.abs(found - np.rint(found)) > 0.1).any())):
        names = ", ".join(odd or [SYMBOLS[z] for z in numbers])
        raise DensityModelError(
            f"no numbers of valence electrons of {names} give the electron counts of these densities: "
            "they have several potentials of one element, or are no valence densities; give those of one kind"
        )


def _choices(number: int, own: float) -> set[float]:
    """The numbers of valence electrons that potentials of an element have."""
    known = tables()
    s, p, d, f = (float(known[f"N{shell}Valence"][number]) for shell in "spdf")
    group = int(known["Column"][number])
    if group > 12:  # with the d shell of the period before
        return {own, s + p, *([s + p + 10] if d else [])}
    outer = s + p + d
    return {n for n in (own, outer, outer + 6, outer + 8, outer + f) if n > 0}


def unsettled(densities: Sequence[Density]) -> list[str]:
    """Symbols of elements whose valence electrons the counts of these densities do not decide.

    Only sums with those of other elements are known. For them `valence` took what potentials usually have.
    """
    numbers, amounts = _amounts([d.crystal for d in densities])
    _, values, rows = np.linalg.svd(amounts)
    free = rows[int((values > 1e-9 * values.max()).sum()) :]
    return [SYMBOLS[z] for z, column in zip(numbers, free.T, strict=True) if (np.abs(column) > 1e-9).any()]
