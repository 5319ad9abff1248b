"""Hirshfeld's shares: each point is divided among the atoms as the densities of free atoms are there.

F. L. Hirshfeld, Theor. Chim. Acta 44, 129 (1977). The share of atom a is w_a(r) = n_a(r) / sum_b n_b(r), with the
all-electron densities n of neutral free atoms and all periodic images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product

import numpy as np

from . import free_atoms
from .lattice import Nearest, pieces

_AT_ONCE = 1 << 16  # grid points


def integrate(
    cell: np.ndarray, positions: np.ndarray, numbers: np.ndarray, grid: tuple[int, int, int], carried: np.ndarray
) -> np.ndarray:
    """Sums of quantities over the shares of atoms.

    Parameters
    ----------
    cell, positions, numbers
        As of a `Crystal`.
    grid : tuple[int, int, int]
    carried : np.ndarray
        (nx * ny * nz, f): f quantities at each point.

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
    result = np.zeros((len(numbers), carried.shape[1]))
    nearest = Nearest.of(cell)
    reach = {int(z): free_atoms.reach(int(z)) for z in numbers}
    for part, points in pieces(grid, _AT_ONCE):
        shares = superposed(free_atoms.density, reach, cell, wrapped, numbers, points)
        total = shares.sum(axis=0)
        far = total == 0  # vacuum beyond the reach of all atoms
        if far.any():
            squares = np.array([nearest.squares(points[far], position) for position in wrapped])
            shares[squares.argmin(axis=0), np.flatnonzero(far)] = 1
            total[far] = 1
        result += (shares / total) @ carried[part]
    return result


def superposed(
    radial: Callable[[int, np.ndarray], np.ndarray],
    reach: Mapping[int, float],
    cell: np.ndarray,
    positions: np.ndarray,
    numbers: np.ndarray,
    points: np.ndarray,
) -> np.ndarray:
    """(atoms, n): a function of each element and the distance, of each atom with its images, at (n, 3) points.

    reach: element -> Å, beyond which its function is zero. Coordinates are fractional, from 0 to 1.
    """
    result = np.zeros((len(numbers), len(points)))
    heights = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    # No point of the piece is farther from its middle than this.
    size = float(np.abs(points - middle).max(axis=0) @ np.linalg.norm(cell, axis=1))
    places = points @ cell
    for a, (position, number) in enumerate(zip(positions, numbers.tolist(), strict=True)):
        ranges = [int(np.ceil(reach[number] / height)) + 1 for height in heights]
        shifts = np.array(list(product(*(range(-n, n + 1) for n in ranges))))
        centres = (position + shifts) @ cell
        for centre in centres[np.linalg.norm(centres - middle @ cell, axis=1) < reach[number] + size]:
            apart = places - centre
            square = np.einsum("ni,ni->n", apart, apart)
            inside = np.flatnonzero(square < reach[number] ** 2)
            result[a, inside] += radial(number, np.sqrt(square[inside]))
    return result
