"""Values on lattice planes, as the page draws them."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel


class Plane(BaseModel):
    """A Cartesian raster, row by row from the top; its middle is the foot of the plane from the origin.

    span: width in Å. spacing: of neighbouring planes (hkl), Å. values: e/Å^3 (magnetisations: μB/Å^3).
    """

    width: int
    height: int
    span: float
    spacing: float
    min: float
    max: float
    values: list[float]


def plane(
    cell: np.ndarray, values: np.ndarray, hkl: tuple[int, int, int], offset: float, width: int, height: int
) -> Plane:
    """Sample a field on the plane (hkl), trilinearly.

    cell: (3, 3), rows are lattice vectors in Å. values: (nx, ny, nz). hkl: not all 0. offset: of the plane from the
    origin, in units of the spacing. The shortest lattice vector [k -h 0], [l 0 -h] or [0 l -k] lies level, so that c
    points up, or where it does not show a to the right.
    """
    inverse = np.linalg.inv(cell)
    reciprocal = inverse @ np.array(hkl, float)
    spacing = 1 / float(np.linalg.norm(reciprocal))
    normal = reciprocal * spacing
    h, k, l = hkl  # noqa: E741 - what it is called everywhere
    within = [np.array(f) @ cell for f in ((k, -h, 0), (l, 0, -h), (0, l, -k)) if any(f)]
    right = min(within, key=np.linalg.norm)
    right = right / np.linalg.norm(right)
    up = np.cross(normal, right)
    a, _, c = cell / np.linalg.norm(cell, axis=1)[:, None]
    if up @ c < -1e-6 or (up @ c < 1e-6 and right @ a < -1e-6):
        right, up = -right, -up
    span = 1.7 * abs(float(np.linalg.det(cell))) ** (1 / 3) * max(1.0, width / height / 1.4)
    across = (np.arange(width) + 0.5 - width / 2) * span / width
    down = (height / 2 - np.arange(height) - 0.5) * span / width
    places = normal * offset * spacing + across[None, :, None] * right + down[:, None, None] * up
    sampled = trilinear(values, places @ inverse)
    low, high = float(sampled.min()), float(sampled.max())
    return Plane(
        width=width, height=height, span=span, spacing=spacing, min=low, max=high, values=sampled.ravel().tolist()
    )


def trilinear(values: np.ndarray, fractional: np.ndarray) -> np.ndarray:
    """Values of a periodic grid (nx, ny, nz) at fractional places (..., 3)."""
    shape = np.array(values.shape)
    place = (fractional % 1) * shape
    low = np.floor(place).astype(int)
    t = place - low
    result = np.zeros(fractional.shape[:-1])
    for corner in np.ndindex(2, 2, 2):
        index = (low + corner) % shape
        result += np.prod(np.where(corner, t, 1 - t), axis=-1) * values[tuple(np.moveaxis(index, -1, 0))]
    return result
