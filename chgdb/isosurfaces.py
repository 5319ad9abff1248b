"""Surfaces of equal value through a field on the grid of a cell, by marching tetrahedra."""

from __future__ import annotations

import numpy as np

from .errors import DensityError

#: Six tetrahedra of a cube, along its diagonal from corner 0 to corner 7; corner i has the bits (x, y, z) of i.
_TETRAHEDRA = np.array([[0, 1, 3, 7], [0, 1, 5, 7], [0, 2, 3, 7], [0, 2, 6, 7], [0, 4, 5, 7], [0, 4, 6, 7]])
_CORNERS = np.array([[i & 1, i >> 1 & 1, i >> 2 & 1] for i in range(8)])


def isosurface(values: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Triangles of the surface of a level in one cell of a periodic field.

    Parameters
    ----------
    values : np.ndarray
        (nx, ny, nz).
    level : float
        The surface is where the field has it; between grid points it is linear.

    Returns
    -------
    tuple[np.ndarray, np.ndarray]
        Corners (n, 3, 3) in fractional coordinates from 0 to 1, and unit-free normals (n, 3, 3) at them: minus the
        gradient of the field along the grid's axes, in values per fraction of the cell.

    Raises
    ------
    DensityError
        If the level is no finite number.
    """
    if not np.isfinite(level):
        raise DensityError(f"{level} is no level of an isosurface")
    shape = np.array(values.shape)
    around = np.pad(values, ((0, 1),) * 3, mode="wrap")
    nx, ny, nz = values.shape
    inside = around > level
    count = sum(inside[x : nx + x, y : ny + y, z : nz + z].astype(np.int8) for x, y, z in _CORNERS)
    cubes = np.argwhere((count > 0) & (count < 8))
    if not len(cubes):
        return np.zeros((0, 3, 3)), np.zeros((0, 3, 3))
    places = cubes[:, None] + _CORNERS  # (m, 8, 3)
    heights = around[places[..., 0], places[..., 1], places[..., 2]] - level
    places, heights = places[:, _TETRAHEDRA].reshape(-1, 4, 3), heights[:, _TETRAHEDRA].reshape(-1, 4)
    order = np.argsort(-heights, axis=1)
    places = np.take_along_axis(places, order[..., None], 1).astype(float)
    heights = np.take_along_axis(heights, order, 1)
    above = (heights > 0).sum(axis=1)
    triangles = []
    for number, faces in _FACES.items():
        chosen = above == number
        for face in faces:
            edges = [_crossing(places[chosen], heights[chosen], *edge) for edge in face]
            triangles.append(np.stack(edges, axis=1))
    corners = np.concatenate(triangles)
    return corners / shape, -_gradient(values, corners) * shape


#: Corners above the level -> triangles, by the edges that they cut; corners are sorted, the highest first.
_FACES = {
    1: [((0, 1), (0, 2), (0, 3))],
    2: [((0, 2), (0, 3), (1, 2)), ((1, 2), (0, 3), (1, 3))],
    3: [((0, 3), (1, 3), (2, 3))],
}


def _crossing(places: np.ndarray, heights: np.ndarray, a: int, b: int) -> np.ndarray:
    share = heights[:, a] / (heights[:, a] - heights[:, b])
    result: np.ndarray = places[:, a] + share[:, None] * (places[:, b] - places[:, a])
    return result


def _gradient(values: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Central differences at the grid points next to places, (n, 3, 3) in values per step."""
    i, j, k = (np.rint(corners[..., axis]).astype(int) % values.shape[axis] for axis in range(3))
    result = np.zeros_like(corners)
    for axis in range(3):
        slope = (np.roll(values, -1, axis) - np.roll(values, 1, axis)) / 2
        result[..., axis] = slope[i, j, k]
    return result


def level_of(values: np.ndarray, share: float = 0.5) -> float:
    """The level above which a share of the integral of the absolute value of a field lies.

    Parameters
    ----------
    values : np.ndarray
        Of any shape.
    share : float
        From 0 to 1.

    Returns
    -------
    float
        0 where the field is zero everywhere.

    Examples
    --------
    >>> level_of(np.array([4.0, 3.0, 2.0, 1.0]), 0.5)
    3.0
    """
    size = np.sort(np.abs(values), axis=None)[::-1]
    sums = np.cumsum(size, dtype=float)
    return float(size[min(np.searchsorted(sums, share * sums[-1]), len(size) - 1)]) if sums[-1] > 0 else 0.0
