"""How long a density takes to compute, estimated beforehand: a queue computes the cheapest first.

A plane-wave calculation takes the time of its irreducible k-points, times the bands and plane waves of each. Exponents
and factors are fitted to the times (`wall_s`) of accepted densities in a run folder. They are between those of the
parts of a step (orthogonalisation: bands squared times plane waves; transforms: bands times grid points). Single runs
scatter about the estimate, mostly because they take different numbers of iterations. Where an operation takes a short
lattice vector to a sum with a long one, symmetry may ask for many times the grid points of the volume.
"""

from __future__ import annotations

import math
import warnings
from functools import lru_cache
from typing import Any

import numpy as np

from chgdb.elements import SYMBOLS
from chgdb.features import atoms

KPOINT_DENSITY = 2.5  # of the recipe, per 1/Å
# Factors of the time for open 4f shells, including failed attempts: for one atom in the cell with such a shell, and for
# several. With one, hardly any attempt fails. With several of the lightest elements nearly all fail.
COST_4F = {
    **dict.fromkeys(("Gd", "Tb", "Dy", "Ho", "Er", "Tm", "Yb"), (2, 3.5)),
    **dict.fromkeys(("Sm", "Eu"), (2.5, 8)),
    "Ce": (5, 20),
    **dict.fromkeys(("Pr", "Nd", "Pm"), (5, 60)),
}
OPEN_4F = frozenset(COST_4F)
_SPIN = 3.4  # for two densities and more steps
_MAGNETS = {"Fe": 5, "Co": 2.5, "Cr": 2}  # times that: these take more steps, and every other attempt at iron fails


def expected(record: dict) -> float:
    """The estimate for a structure of a queue, in arbitrary units: about seconds of one core."""
    return _expected(
        tuple(record["symbols"]),
        np.asarray(record["cell"], float).tobytes(),
        np.asarray(record["frac"], float).tobytes(),
        bool(record.get("spin_polarised")),
    )


@lru_cache(maxsize=100_000)
def _expected(symbols: tuple[str, ...], cell_bytes: bytes, frac_bytes: bytes, spin_polarised: bool) -> float:
    cell, frac = np.frombuffer(cell_bytes).reshape(3, 3), np.frombuffer(frac_bytes).reshape(-1, 3)
    numbers = [SYMBOLS.index(s) if s in SYMBOLS else 0 for s in symbols]
    electrons = sum(atoms.electrons(z) for z in numbers)
    volume = abs(np.linalg.det(cell))
    points = volume * grid_growth(cell, frac, numbers)
    cost = 1.4e-5 * irreducible_kpoints(cell, frac, numbers) * electrons**1.4 * points**1.05
    several = sum(symbol in OPEN_4F for symbol in symbols) > 1
    # In a dozen cells with two kinds of open shells the first attempt never converged: the factors multiply.
    shell = math.prod(COST_4F[symbol][several] for symbol in OPEN_4F.intersection(symbols))
    magnet = _SPIN * max(_MAGNETS.get(symbol, 1) for symbol in symbols) if spin_polarised else 1
    return float(cost * shell * magnet)


def irreducible_kpoints(cell: np.ndarray, frac: np.ndarray, numbers: list[int]) -> int:
    """Number of irreducible k-points of the recipe's mesh. Where spglib fails, only k and -k count as one."""
    lengths = 2 * np.pi * np.linalg.norm(np.linalg.inv(cell), axis=0)
    mesh = np.maximum(1, np.ceil(KPOINT_DENSITY * lengths)).astype(int)
    found = _spglib("get_ir_reciprocal_mesh", mesh.tolist(), (cell, frac, numbers), is_shift=[0, 0, 0])
    return int(np.prod(mesh)) // 2 + 1 if found is None else len(np.unique(found[0]))


def grid_growth(cell: np.ndarray, frac: np.ndarray, numbers: list[int]) -> float:
    """Grid points with the crystal's symmetry divided by those without; 1 where spglib fails."""
    found = _spglib("get_symmetry", (cell, frac, numbers))
    if found is None:
        return 1.0
    distances = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    # A point i_j / N_j of axis j becomes one of axis i, so N_i is a multiple of N_j; the same holds the other way
    # round.
    linked = (found["rotations"] != 0).any(axis=0)
    linked = np.linalg.matrix_power((linked | linked.T).astype(int), 3) > 0
    return float(np.prod([distances[axes].max() for axes in linked]) / np.prod(distances))


def _spglib(function: str, *arguments: Any, **options: Any) -> Any:
    """The result of a function of spglib. None where it fails."""
    import spglib

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Set OLD_ERROR_HANDLING", DeprecationWarning)
            return getattr(spglib, function)(*arguments, **options)
    except spglib.error.SpglibError:  # see chgdb.symmetry
        return None
