"""Hirshfeld's shares: each point is divided among the atoms as the densities of free atoms are there.

F. L. Hirshfeld, Theor. Chim. Acta 44, 129 (1977). The share of atom a is w_a(r) = n_a(r) / sum_b n_b(r), with the
all-electron densities n of neutral free atoms and all periodic images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np

from . import free_atoms
from .lattice import Nearest
from .orbits import Orbits, blocks


def integrate(
    cell: np.ndarray, positions: np.ndarray, numbers: np.ndarray, orbits: Orbits, carried: np.ndarray
) -> np.ndarray:
    """Sums of quantities over the shares of atoms.

    Parameters
    ----------
    cell, positions, numbers
        As of a `Crystal`.
    orbits : Orbits
        Of the grid.
    carried : np.ndarray
        (orbits, f): f quantities, of all points of each orbit.

    Returns
    -------
    np.ndarray
        (atoms, f).

    Raises
    ------
    DensityError
        For an element without a free atom.
    """
    free_atoms.check_known(numbers)
    wrapped = positions - np.floor(positions)
    result = np.zeros((int(orbits.kinds.max()) + 1, carried.shape[1]))
    nearest = Nearest.of(cell)
    reach = {int(z): free_atoms.reach(int(z)) for z in numbers}
    points = orbits.fractional()
    images = Images.of(cell, wrapped, numbers, orbits.kinds, reach)
    for part in blocks(points, cell):
        shares = images.superposed(free_atoms.density, points[part])
        total = shares.sum(axis=0)
        far = total == 0  # vacuum beyond the reach of all atoms
        if far.any():
            squares = np.array([nearest.squares(points[part][far], position) for position in wrapped])
            shares[orbits.kinds[squares.argmin(axis=0)], np.flatnonzero(far)] = 1
            total[far] = 1
        result += (shares / total) @ carried[part]
    return orbits.each(result)


@dataclass(frozen=True, eq=False)
class Images:
    """Atoms and all their images that reach into the cell.

    Attributes
    ----------
    cell : np.ndarray
    places : np.ndarray
        (images, 3) Å.
    numbers, kinds : np.ndarray
        (images,) atomic number, and which kind of atoms (see `Orbits`); images of one kind follow each other.
    reaches : np.ndarray
        (images,) Å, beyond which a function counts as zero.
    """

    cell: np.ndarray
    places: np.ndarray
    numbers: np.ndarray
    kinds: np.ndarray
    reaches: np.ndarray

    @classmethod
    def of(
        cls,
        cell: np.ndarray,
        positions: np.ndarray,
        numbers: np.ndarray,
        kinds: np.ndarray,
        reach: Mapping[int, float],
    ) -> Images:
        """reach: element -> Å. Coordinates are fractional, from 0 to 1."""
        margin = max(reach.values()) * np.linalg.norm(np.linalg.inv(cell), axis=0)
        shifts = np.array(list(product(*(range(-int(np.ceil(m)), int(np.ceil(m)) + 1) for m in margin))))
        order = np.argsort(kinds, kind="stable")
        places = (positions[order][:, None] + shifts).reshape(-1, 3)
        near = ((places >= -margin) & (places <= 1 + margin)).all(axis=1)
        owner = np.repeat(order, len(shifts))[near]
        reaches = np.array([reach[int(z)] for z in numbers])
        return cls(cell, places[near] @ cell, numbers[owner], kinds[owner], reaches[owner])

    def superposed(self, radial: Callable[[int, np.ndarray], np.ndarray], points: np.ndarray) -> np.ndarray:
        """(kinds, n): a function of each element and the distance, summed over all images of a kind, at (n, 3)
        fractional points that lie close together."""
        result = np.zeros((int(self.kinds.max()) + 1, len(points)))
        places = points @ self.cell
        middle = (places.min(axis=0) + places.max(axis=0)) / 2
        places = places - middle
        squares = np.einsum("ni,ni->n", places, places)
        centres = self.places - middle
        distances = np.einsum("ni,ni->n", centres, centres)
        near = distances < (self.reaches + np.sqrt(squares.max())) ** 2
        for kind in np.unique(self.kinds[near]):
            some = near & (self.kinds == kind)
            number, limit = int(self.numbers[some][0]), float(self.reaches[some][0])
            apart = distances[some, None] + squares - 2 * (centres[some] @ places.T)
            image, point = np.nonzero(apart < limit * limit)
            values = radial(number, np.sqrt(np.maximum(apart[image, point], 0)))
            result[kind] = np.bincount(point, values, len(points))
        return result
