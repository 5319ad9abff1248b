"""Densities of free atoms: neutral, spherical, all-electron.

They stand in `free_atoms.json`, which catalog/gpaw/free_atoms.py makes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from ..elements import SYMBOLS, atomic_number
from ..errors import DensityError

#: Å that cores reach, and what makes pseudo-densities all-electron ones.
CORE_REACH = 3.5
_LOG_LEAST = np.log(1e-5)


@dataclass(frozen=True, eq=False)
class FreeAtom:
    """Radial densities of an element, on r_i = farthest (i / (n - 1))^2.

    Attributes
    ----------
    total : np.ndarray
        Logarithm of the all-electron density, e/Å^3.
    cores : dict[int, np.ndarray]
        Electrons of a core -> the logarithm of its density.
    pseudo : np.ndarray | None
        The valence density as the catalog's recipe has it, with its soft compensation charge, e/Å^3.
    """

    total: np.ndarray
    cores: dict[int, np.ndarray]
    pseudo: np.ndarray | None


@lru_cache(maxsize=1)
def _content() -> tuple[float, int, dict[int, FreeAtom]]:
    content = json.loads((Path(__file__).parent / "free_atoms.json").read_text(encoding="utf-8"))
    atoms = {
        atomic_number(symbol): FreeAtom(
            np.array(entry["total"]),
            {int(count): np.array(values) for count, values in entry["cores"].items()},
            np.array(entry["pseudo"]) if "pseudo" in entry else None,
        )
        for symbol, entry in content["elements"].items()
    }
    return float(content["farthest"]), int(content["points"]), atoms


def reach(number: int) -> float:
    """Å beyond which the density of a free atom counts as zero: it is below 1e-5 e/Å^3 there."""
    farthest, points, atoms = _content()
    return float(farthest * ((atoms[number].total > _LOG_LEAST).sum() / (points - 1)) ** 2)


def known(number: int) -> bool:
    """Whether there is a free atom of an element."""
    return number in _content()[2]


def check_known(numbers: np.ndarray) -> None:
    """Raises `DensityError` if there is no free atom of an element."""
    unknown = sorted(z for z in {int(z) for z in numbers} if not known(z))
    if unknown:
        names = ", ".join(SYMBOLS[z] for z in unknown)
        raise DensityError(f"there is no density of a free atom for {names}: take the method voronoi")


def frozen_core(number: int) -> int:
    """Electrons in the core of the catalog's potential of an element."""
    return min(_content()[2][number].cores, default=0)


def has_pseudo(number: int) -> bool:
    """Whether the pseudo density of the free atom is known."""
    return _content()[2][number].pseudo is not None


def density(number: int, r: np.ndarray) -> np.ndarray:
    """All-electron density of a free atom, e/Å^3, at distances in Å; see `reach`."""
    return _exponential(_content()[2][number].total, r)


def core(number: int, electrons: float, r: np.ndarray) -> np.ndarray:
    """Density of the core nearest to one of so many electrons, e/Å^3; zero where most electrons are valence."""
    cores = _content()[2][number].cores
    count = min([0, *cores], key=lambda count: abs(count - electrons))
    return _exponential(cores[count], r) if count else np.zeros_like(r)


def correction(number: int, r: np.ndarray) -> np.ndarray:
    """All-electron density minus the catalog's pseudo density of a free atom, e/Å^3."""
    pseudo = _content()[2][number].pseudo
    assert pseudo is not None
    return density(number, r) - _interpolated(pseudo, r, 0.0)


def _exponential(logarithms: np.ndarray, r: np.ndarray) -> np.ndarray:
    return np.exp(_interpolated(logarithms, r, -np.inf))


def _interpolated(values: np.ndarray, r: np.ndarray, beyond: float) -> np.ndarray:
    """Between the points of the radial grid; `beyond` behind the last one of which there is a value."""
    farthest, points, _ = _content()
    x = np.sqrt(r / farthest) * (points - 1)
    inside = x < len(values) - 1
    x = np.where(inside, x, 0.0)
    first = x.astype(np.intp)
    here = values[first]
    following = values[np.minimum(first + 1, len(values) - 1)]
    return np.where(inside, here + (following - here) * (x - first), beyond)
