"""Cubes cut out of a density: the density alone, in Cartesian axes, for networks that should see true distances.

A grid along the lattice vectors shows a network neither angles nor lengths, and another picture for another cell of the
same crystal. A periodic density can be sampled anywhere: every cube has the same size and the same spacing, and all
orientations and origins are equally good. A cube does not show which of a crystal's cells the file holds.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from ..density import Density
from ..grids import resample, spacing_grid

#: Raised when `cubes` changes its meaning.
VERSION = 1
#: Cubes of one density, points along an edge, and Å between them.
COUNT, POINTS, SPACING = 8, 20, 0.3
#: Å between the points that are interpolated linearly.
_FINE = 0.15


@cache
def _frames() -> tuple[np.ndarray, np.ndarray]:
    """Points of all cubes (count, points^3, 3) in Å about the centre of each, and centres (count, 3), fractional.

    Orientations and centres are random, but the same for every density.
    """
    rng = np.random.default_rng(0)
    axis = (np.arange(POINTS) - (POINTS - 1) / 2) * SPACING
    places = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    turned, centres = [], []
    for _ in range(COUNT):
        rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        turned.append(places @ (rotation * np.sign(np.linalg.det(rotation))))
        centres.append(rng.random(3))
    return np.stack(turned), np.array(centres)


def cubes(density: Density) -> np.ndarray:
    """(8, 20, 20, 20) float16, e/Å^3: cubes with edges of 6 Å, in eight orientations, at eight places of the cell."""
    from scipy.ndimage import map_coordinates

    cell = density.crystal.cell
    grid = spacing_grid(cell, _FINE)
    values = resample(density.total, grid).astype(np.float32)
    places, centres = _frames()
    fractional = (places @ np.linalg.inv(cell) + centres[:, None, :]) % 1.0
    found = map_coordinates(values, (fractional * grid).reshape(-1, 3).T, order=1, mode="grid-wrap")
    return found.reshape(COUNT, POINTS, POINTS, POINTS).astype(np.float16)
