"""Integrals over Bader's basins, the parts of space between surfaces that the gradient of the density does not cross.

The weight method (Yu and Trinkle, J. Chem. Phys. 134, 064111, 2011): what a grid point holds flows to those of its
Voronoi neighbours where the density is larger, in proportion to facet area / distance x difference of the density,
until it comes to a maximum. Boundaries cut through voxels by that, so that integrals converge with the square of the
spacing and do not depend on the orientation of the grid.

Points are taken in waves: a point's turn comes when all that can flow to it has come. Each wave is done at once.
"""

from __future__ import annotations

import numpy as np

from .lattice import facets
from .orbits import Orbits


def flow(
    values: np.ndarray, cell: np.ndarray, carried: np.ndarray, orbits: Orbits | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Carry what lies on a grid uphill to the maxima of a density.

    Parameters
    ----------
    values : np.ndarray
        (nx, ny, nz) density that decides where things flow; with orbits (n,), at one point of each.
    cell : np.ndarray
        (3, 3) Å.
    carried : np.ndarray
        (nx * ny * nz, f): f quantities at each point, or with orbits (n, f), of all points of each.
    orbits : Orbits | None
        Of the grid, whose symmetry the values have.

    Returns
    -------
    tuple[np.ndarray, np.ndarray]
        (m,) which points are maxima, and (m, f) what came to each: the sums over its basin. With orbits, which of
        them, and what came to all maxima of each.
    """
    grid = values.shape if orbits is None else orbits.grid
    steps = np.asarray(cell) / np.array(grid)[:, None]
    around, weights = facets(steps)
    place = None if orbits is None else orbits.place
    places = _Neighbours(grid, around, None if orbits is None else orbits.points, place)
    density = np.ascontiguousarray(values, float).ravel()
    whole = np.arange(density.size)
    coming = np.zeros(density.size, np.int32)  # arrivals from lower neighbours whose turn has not come
    outflow = np.zeros(density.size)
    for k, weight in enumerate(weights):
        target = places.of(whole, k)
        rise = density[target] - density
        if place is None:  # what comes from one direction leaves in the opposite one
            coming += rise < 0
        else:
            coming += np.bincount(target[rise > 0], minlength=density.size).astype(np.int32)
        outflow += weight * np.maximum(rise, 0)
    held = np.array(carried, float)
    wave = whole[coming == 0]
    while wave.size:
        reached = []
        for k, weight in enumerate(weights):
            target = places.of(wave, k)
            rise = density[target] - density[wave]
            up = rise > 0
            source, target = wave[up], target[up]
            moved = held[source] * (weight * rise[up] / outflow[source])[:, None]
            if place is None:
                # No target twice: all neighbours in one direction are different points.
                held[target] += moved
                coming[target] -= 1
                reached.append(target[coming[target] == 0])
            else:
                for column in range(held.shape[1]):
                    np.add.at(held[:, column], target, moved[:, column])
                np.subtract.at(coming, target, 1)
                reached.append(np.unique(target[coming[target] == 0]))
        wave = np.concatenate(reached)
    maxima = np.flatnonzero(outflow == 0)
    return maxima, held[maxima]


class _Neighbours:
    """Flat indices of the neighbours of points of a periodic grid, or the orbits of neighbours of orbits."""

    def __init__(
        self, grid: tuple[int, ...], around: np.ndarray, points: np.ndarray | None, place: np.ndarray | None
    ) -> None:
        nx, ny, nz = grid
        x, y, z = np.unravel_index(np.arange(nx * ny * nz) if points is None else points, grid)
        self._x, self._y, self._z = x.astype(np.int32), y.astype(np.int32), z.astype(np.int32)
        self._place = place
        self._tables = [
            ((np.arange(nx) + i) % nx * (ny * nz), (np.arange(ny) + j) % ny * nz, (np.arange(nz) + k) % nz)
            for i, j, k in around
        ]

    def of(self, points: np.ndarray, direction: int) -> np.ndarray:
        """The neighbour of each point in one of the directions."""
        a, b, c = self._tables[direction]
        flat: np.ndarray = a[self._x[points]] + b[self._y[points]] + c[self._z[points]]
        return flat if self._place is None else self._place[flat]
