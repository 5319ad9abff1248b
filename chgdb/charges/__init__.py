"""Charges of atoms: a density divided among them, by Bader's, Hirshfeld's or Voronoi's rule.

Charges are a property of the rule as well as of the density: compare those of one method only. See
docs/how-to/charges.md for what they are good for, and how they compare with all-electron calculations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..elements import SYMBOLS
from ..errors import DensityError
from ..grids import resample
from . import bader, free_atoms, hirshfeld, valence, voronoi
from .lattice import Nearest
from .orbits import Orbits, blocks

if TYPE_CHECKING:
    from ..crystal import Crystal

#: Rule -> what it is, in a line.
METHODS = {
    "bader": "basins of the density's gradient, by the weight method of Yu and Trinkle",
    "hirshfeld": "shares in proportion to the densities of neutral free atoms",
    "voronoi": "the nearest atom's, or with radii the power diagram's",
}
PSEUDO = "a pseudo-density: what lies near the nuclei is not the density of all electrons"
CORRECTED = "near the nuclei, free atoms turn it into a density of all electrons"
#: A maximum of the density farther than this from all atoms is told, Å, if it holds more than that many electrons.
_FAR, _MUCH = 0.7, 0.01
_TIE = 1e-3  # Å
_PLACE = 0.1  # Å, within which two atoms are at the same place


@dataclass(frozen=True, eq=False)
class Charges:
    """What belongs to each atom.

    Attributes
    ----------
    crystal : Crystal
        The structure; all arrays follow the order of its atoms.
    method : str
        One of `METHODS`.
    electrons : np.ndarray
        (n,) electrons of the density that belong to each atom; they add up to its integral.
    valence : np.ndarray
        (n,) electrons of each neutral atom in the potentials that the density was made with.
    volume : np.ndarray
        (n,) Å^3; they add up to the volume of the cell.
    moment : np.ndarray | None
        (n,) μB, of a density with a collinear magnetisation.
    remarks : tuple[str, ...]
        How these numbers were made and what limits them, each a phrase.
    """

    crystal: Crystal
    method: str
    electrons: np.ndarray
    valence: np.ndarray
    volume: np.ndarray
    moment: np.ndarray | None
    remarks: tuple[str, ...]

    @property
    def net(self) -> np.ndarray:
        """(n,) net charges in units of e: valence minus electrons, positive where an atom has given electrons away."""
        return self.valence - self.electrons

    @property
    def could_be_of_catalog(self) -> bool:
        """Whether a pseudo-density was divided as it is, and has the valence electrons of the catalog's recipe."""
        if self.method == "voronoi" or PSEUDO not in self.remarks or CORRECTED in self.remarks:
            return False
        numbers = self.crystal.numbers
        return all(map(free_atoms.known, numbers.tolist())) and bool((valence.catalog(numbers) == self.valence).all())

    def __repr__(self) -> str:
        symbols = np.array(self.crystal.symbols)
        means = [f"{symbol} {self.net[symbols == symbol].mean():+.3f}" for symbol in dict.fromkeys(symbols.tolist())]
        return f"<chgdb.charges.Charges {self.crystal.formula}: {self.method}, mean {', '.join(means)}>"


def partition(
    crystal: Crystal,
    total: np.ndarray,
    magnetization: np.ndarray | None = None,
    method: str = "hirshfeld",
    *,
    reference: np.ndarray | None = None,
    valences: Mapping[str, float] | None = None,
    radii: Mapping[str, float] | None = None,
    of_catalog: bool = False,
) -> Charges:
    """Divide a density among its atoms; `Density.charges` has the meaning of all parameters.

    Parameters
    ----------
    crystal : Crystal
    total, magnetization : np.ndarray
        (nx, ny, nz), e/Å^3 and μB/Å^3.
    method : str
    reference : np.ndarray | None
        All-electron density, of any grid.
    valences, radii : Mapping[str, float] | None
        By element.
    of_catalog : bool

    Returns
    -------
    Charges

    Raises
    ------
    DensityError
    """
    _check(crystal, method, reference, radii)
    n_electrons = float(total.mean(dtype=float)) * crystal.volume
    # Some materials have other potentials than the usual ones.
    of_catalog = of_catalog and abs(valence.catalog(crystal.numbers).sum() - n_electrons) < 0.5
    atoms_have = valences_of(crystal, n_electrons, valences, of_catalog)
    complete = _has_all_electrons(crystal, total, n_electrons)
    remarks = [] if complete else [PSEUDO]
    if reference is not None and reference.shape != total.shape:
        finer = _grid(reference)
        total = resample(total, finer)
        magnetization = None if magnetization is None else resample(magnetization, finer)
    fields = [total] + ([] if magnetization is None else [magnetization])
    deciding = [*fields, *([] if reference is None else [reference])]
    orbits = Orbits.alone(crystal, _grid(total)) if method == "voronoi" else Orbits.of(crystal, deciding)
    of_points = orbits.sizes * (crystal.volume / total.size)
    density = np.asarray(total, float).ravel()[orbits.points]
    own = np.zeros(len(crystal))  # electrons that are added for each atom, and taken away after the division
    if of_catalog and method != "voronoi":
        added, own = _superposed(crystal, orbits, _correction)
        density = density + added
        if own.any():
            remarks.append(CORRECTED)
    rest = [np.asarray(field, float).ravel()[orbits.points] for field in fields[1:]]
    carried = np.stack([density, np.ones(len(density)), *rest], axis=1) * of_points[:, None]
    if method == "hirshfeld":
        result = hirshfeld.integrate(crystal.cell, crystal.positions, crystal.numbers, orbits, carried)
    elif method == "voronoi":
        sizes = None if radii is None else np.array([radii[symbol] for symbol in crystal.symbols])
        result = voronoi.integrate(crystal.cell, crystal.positions, sizes, _grid(total), carried)
    else:
        if reference is not None:
            guide = np.asarray(reference, float).ravel()[orbits.points]
            remarks.append("basins of the reference given")
        elif complete:
            guide = density
        else:
            stand_in = _stand_in(crystal.numbers, atoms_have, of_catalog)
            guide = density + _superposed(crystal, orbits, stand_in)[0]
            if not of_catalog:
                remarks.append("basins of it with the cores of free atoms, for want of an all-electron reference")
        result, remark = _of_basins(crystal, guide, carried, orbits)
        remarks += remark
    moment = result[:, 2] if magnetization is not None else None
    return Charges(crystal, method, result[:, 0] - own, atoms_have, result[:, 1], moment, tuple(remarks))


def valences_of(
    crystal: Crystal, n_electrons: float, given: Mapping[str, float] | None = None, of_catalog: bool = False
) -> np.ndarray:
    """Valence electrons of each atom: those given by element, those of the catalog's potentials, or those that fit.

    Parameters
    ----------
    crystal : Crystal
    n_electrons : float
        Integral of the density.
    given : Mapping[str, float] | None
    of_catalog : bool

    Returns
    -------
    np.ndarray
        (atoms,)

    Raises
    ------
    DensityError
        If they are not clear.
    """
    if given is not None:
        return valence.given(crystal.numbers, given)
    return valence.catalog(crystal.numbers) if of_catalog else valence.inferred(crystal.numbers, n_electrons)


def _grid(values: np.ndarray) -> tuple[int, int, int]:
    nx, ny, nz = values.shape
    return nx, ny, nz


def _has_all_electrons(crystal: Crystal, total: np.ndarray, n_electrons: float) -> bool:
    """Whether a density counts all electrons, and is as high near the heaviest nucleus as that of its free atom."""
    if abs(n_electrons - crystal.numbers.sum()) > 0.5 or not free_atoms.known(int(crystal.numbers.max())):
        return False
    heaviest = int(crystal.numbers.argmax())
    points = np.rint(crystal.positions[heaviest] * total.shape).astype(int) % total.shape
    apart = Nearest.of(crystal.cell).squares((points / total.shape)[None], crystal.positions[heaviest])
    expected = free_atoms.density(int(crystal.numbers[heaviest]), np.sqrt(apart))[0]
    return bool(total[tuple(points)] > expected / 5)


def _check(crystal: Crystal, method: str, reference: np.ndarray | None, radii: Mapping[str, float] | None) -> None:
    if method not in METHODS:
        raise DensityError(f"{method!r} is no method: expected {', '.join(METHODS)}")
    if crystal.missing:
        raise DensityError(f"{crystal.missing}: charges belong to atoms")
    if method != "voronoi":
        free_atoms.check_known(crystal.numbers)
    if reference is not None and method != "bader":
        raise DensityError(f"a reference decides Bader's basins; the method {method} has no use for one")
    if radii is not None:
        if method != "voronoi":
            raise DensityError(f"radii decide Voronoi's cells; the method {method} has no use for them")
        missing = sorted(set(crystal.symbols) - set(radii))
        if missing:
            raise DensityError(f"no radius is given for {', '.join(missing)}")
    nearest = Nearest.of(crystal.cell)
    for a in range(1, len(crystal)):
        if nearest.squares(crystal.positions[:a], crystal.positions[a]).min() < _PLACE**2:
            raise DensityError(f"atom {a + 1}, {SYMBOLS[crystal.numbers[a]]}, is at the place of another one")


def check_reference(crystal: Crystal, other: Crystal) -> None:
    """Raises `DensityError` if the crystal of a reference does not have the same atoms at the same places."""
    nearest = Nearest.of(crystal.cell)
    for a, (position, number) in enumerate(zip(crystal.positions, crystal.numbers, strict=True)):
        same = other.positions[other.numbers == number]
        if not len(same) or nearest.squares(same, position).min() > _PLACE**2:
            raise DensityError(
                f"atom {a + 1}, {SYMBOLS[number]}, is at no atom of the reference ({other.formula}): "
                "take one of the same calculation"
            )
    if len(other) != len(crystal):
        raise DensityError(f"the reference has {len(other)} atoms and the density {len(crystal)}")


Radial = Callable[[int, np.ndarray], np.ndarray]


def _correction(number: int, r: np.ndarray) -> np.ndarray:
    """The density that is added to the catalog's pseudo-densities to make all-electron ones, exact for free atoms; zero
    where it is not known."""
    return free_atoms.correction(number, r) if free_atoms.has_pseudo(number) else np.zeros_like(r)


def _stand_in(numbers: np.ndarray, valences: np.ndarray, corrected: bool) -> Radial:
    """The density that is added to a pseudo-density so that its basins have their maxima at the nuclei: all electrons
    of free atoms in place of those of a pseudo atom, or cores. corrected: whether the former has been added already."""
    missing = {int(z): float(z - count) for z, count in zip(numbers, valences, strict=True)}

    def radial(number: int, r: np.ndarray) -> np.ndarray:
        if free_atoms.has_pseudo(number) and abs(missing[number] - free_atoms.frozen_core(number)) < 0.5:
            return np.zeros_like(r) if corrected else free_atoms.correction(number, r)
        return free_atoms.core(number, missing[number], r)

    return radial


def _superposed(crystal: Crystal, orbits: Orbits, radial: Radial) -> tuple[np.ndarray, np.ndarray]:
    """Functions around atoms with all their images: (orbits,) summed over atoms at a point of each, and the electrons
    of each atom, (atoms,), summed over all points."""
    values, sums = np.zeros(len(orbits.points)), np.zeros(int(orbits.kinds.max()) + 1)
    elements = np.unique(crystal.numbers).tolist()
    at = np.linspace(0, free_atoms.CORE_REACH, 8)
    if not any(radial(number, at).any() for number in elements):
        return values, np.zeros(len(crystal))
    wrapped = crystal.positions - np.floor(crystal.positions)
    reach = dict.fromkeys(elements, free_atoms.CORE_REACH)
    images = hirshfeld.Images.of(crystal.cell, wrapped, crystal.numbers, orbits.kinds, reach)
    points = orbits.fractional()
    for part in blocks(points, crystal.cell):
        each = images.superposed(radial, points[part])
        values[part] = each.sum(axis=0)
        sums += each @ orbits.sizes[part]
    return values, orbits.each(sums) * (crystal.volume / float(orbits.sizes.sum()))


def _of_basins(
    crystal: Crystal, guide: np.ndarray, carried: np.ndarray, orbits: Orbits
) -> tuple[np.ndarray, list[str]]:
    """Sums over the basins of each atom: a maximum belongs to the nearest one, or to all that are equally near."""
    maxima, sums = bader.flow(guide, crystal.cell, carried, orbits)
    points = orbits.fractional()[maxima]
    nearest = Nearest.of(crystal.cell)
    distances = np.array([np.sqrt(nearest.squares(points, position)) for position in crystal.positions])
    least = distances.min(axis=0)
    shares = (distances < least + _TIE) / (distances < least + _TIE).sum(axis=0)
    result = orbits.each(orbits.of_kinds(shares) @ sums)
    far = (least > _FAR) & (np.abs(sums[:, 0]) > _MUCH)
    if not far.any():
        return result, []
    maxima_there = int(orbits.sizes[maxima[far]].sum())
    count = f"{maxima_there} maxim{'um' if maxima_there == 1 else 'a'} away from atoms"
    return result, [f"{count} with {sums[far, 0].sum():.3f} electrons, given to the nearest atom"]
