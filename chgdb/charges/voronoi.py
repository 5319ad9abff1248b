"""Voronoi's cells: each point belongs to the nearest atom, or to the nearest when distances count by radii.

The boundary of two atoms is the plane where the squared distances are equal, or differ by the difference of the squared
radii (a power diagram). A voxel that a plane cuts is divided in proportion to its parts' volumes, which are those of a
parallelepiped cut by a plane: the cumulative distribution of a sum of three uniform numbers.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from ..grids import PIECE
from .lattice import Nearest, pieces

_MOST = 5  # atoms that share a voxel
_PARTS = 4  # small voxels along each edge of one where three or more meet
_THIN = 1e-3  # part of the largest width below which a voxel is thin across a plane


def integrate(
    cell: np.ndarray, positions: np.ndarray, radii: np.ndarray | None, grid: tuple[int, int, int], carried: np.ndarray
) -> np.ndarray:
    """Sums of quantities over the cells of atoms.

    Parameters
    ----------
    cell, positions
        As of a `Crystal`.
    radii : np.ndarray | None
        (atoms,) Å.
    grid : tuple[int, int, int]
    carried : np.ndarray
        (nx * ny * nz, f): f quantities at each point.

    Returns
    -------
    np.ndarray
        (atoms, f).
    """
    count = len(positions)
    offsets = np.zeros(count) if radii is None else np.asarray(radii, float) ** 2
    nearest = Nearest.of(cell)
    steps = cell / np.array(grid)[:, None]
    diagonal = np.linalg.norm(steps, axis=1).sum()
    result = np.zeros((count, carried.shape[1]))
    for part, points in pieces(grid, max(1 << 12, PIECE // count)):
        squares = np.array([nearest.squares(points, position) for position in positions])
        powers = squares - offsets[:, None]
        owner, least = powers.argmin(axis=0), powers.min(axis=0)
        distances = np.sqrt(squares)
        # Powers of two atoms are equal on a plane, and change across it by twice the distance of the atoms.
        near = (distances + distances[owner, np.arange(len(points))]) * diagonal
        cut = (powers - least < near).sum(axis=0) > 1
        values = carried[part]
        for column in range(values.shape[1]):
            result[:, column] += np.bincount(owner[~cut], values[~cut, column], minlength=count)
        atoms = np.argsort(powers[:, cut], axis=0)[:_MOST]
        shares = _shares(points[cut], positions[atoms], offsets[atoms], nearest, steps)
        # Where three or more meet, products of parts are no volumes: smaller voxels are better.
        corner = np.flatnonzero((shares > 0).sum(axis=0) > 2)
        if corner.size:
            shares[:, corner] = _of_smaller(
                points[cut][corner], positions, offsets, atoms[:, corner], nearest, steps, grid
            )
        for kth, share in zip(atoms, shares, strict=True):
            for column in range(values.shape[1]):
                result[:, column] += np.bincount(kth, share * values[cut, column], minlength=count)
    return result


def _of_smaller(
    points: np.ndarray,
    positions: np.ndarray,
    offsets: np.ndarray,
    atoms: np.ndarray,
    nearest: Nearest,
    steps: np.ndarray,
    grid: tuple[int, int, int],
) -> np.ndarray:
    """(k, n): as `_shares`, the mean over small voxels that make up each."""
    places = (np.arange(_PARTS) + 0.5) / _PARTS - 0.5
    total = np.zeros(atoms.shape)
    for shift in product(places, repeat=3):
        inside = points + np.array(shift) / grid
        total += _shares(inside, positions[atoms], offsets[atoms], nearest, steps / _PARTS)
    return total / _PARTS**3


def _shares(
    points: np.ndarray, positions: np.ndarray, offsets: np.ndarray, nearest: Nearest, steps: np.ndarray
) -> np.ndarray:
    """(k, n): parts of the voxels at n points that belong to each of k atoms."""
    apart = [nearest.vectors(points, place) for place in positions]
    powers = np.array([np.einsum("ni,ni->n", vectors, vectors) for vectors in apart]) - offsets
    shares = np.ones(powers.shape)
    for a in range(len(apart)):
        for b in range(len(apart)):
            if a != b:
                widths = 2 * np.abs((apart[b] - apart[a]) @ steps.T)
                shares[a] *= _part_above(powers[b] - powers[a], widths)
    total = shares.sum(axis=0)
    return np.where(total > 0, shares / np.where(total > 0, total, 1), 1 / len(shares))


def _part_above(middle: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Part of a parallelepiped where a linear function is positive.

    middle: (n,) its value in the middle. widths: (n, 3) by how much it changes along each edge.
    """
    largest = widths.max(axis=1)
    safe = np.where(largest > 0, largest, 1)
    x = np.clip(middle / safe, -2, 2)
    w = np.maximum(widths / safe[:, None], _THIN)
    total = np.zeros_like(x)
    for signs in product((-1, 1), repeat=3):
        total += np.prod(signs) * np.maximum(x + w @ signs / 2, 0) ** 3
    return np.clip(total / (6 * w.prod(axis=1)), 0, 1)
