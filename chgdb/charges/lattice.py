"""Cells around points: Voronoi facets of a grid, and the atoms nearest to its points."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from ..grids import slices

#: Facets smaller than this part of the largest are corners.
_SMALLEST = 1e-6


def facets(steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Facets of the Voronoi cell of a lattice.

    Parameters
    ----------
    steps : np.ndarray
        (3, 3) Å, rows are lattice vectors: of a grid, those between its points.

    Returns
    -------
    tuple[np.ndarray, np.ndarray]
        (m, 3) int64, the lattice points behind the facets, at most 14 and with their negatives; (m,) area of each facet
        divided by the distance of the point, Å.

    Examples
    --------
    >>> around, weights = facets(np.diag([1.0, 1.0, 2.0]))
    >>> len(around), sorted(weights.tolist())
    (6, [0.5, 0.5, 2.0, 2.0, 2.0, 2.0])
    """
    reduced, transform = _reduced(np.asarray(steps, float))
    candidates = np.array([h for h in product((-1, 0, 1), repeat=3) if any(h)])
    vectors = candidates @ reduced
    lengths = np.linalg.norm(vectors, axis=1)
    areas = np.array([_facet_area(k, vectors, lengths) for k in range(len(vectors))])
    kept = areas > _SMALLEST * areas.max()
    return candidates[kept] @ transform, (areas / lengths)[kept]


def _reduced(steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(short lattice vectors, whole numbers that make them of the given ones); after Selling and Delaunay, so that the
    neighbours of a Voronoi cell have coordinates of -1, 0 and 1."""
    whole = np.vstack([np.eye(3, dtype=np.int64), -np.ones((1, 3), np.int64)])  # a, b, c and minus their sum
    scale = np.abs(steps).max() ** 2
    for _ in range(1000):
        vectors = whole @ steps
        products = vectors @ vectors.T
        i, j = max(((i, j) for i in range(4) for j in range(i)), key=lambda pair: products[pair])
        if products[i, j] <= 1e-12 * scale:
            break
        first = whole[i].copy()
        for k in range(4):
            if k not in (i, j):
                whole[k] += first
        whole[i] = -first
    return whole[:3] @ steps, whole[:3]


def _facet_area(k: int, vectors: np.ndarray, lengths: np.ndarray) -> float:
    """Area of the facet of the Voronoi cell towards a vector: a large square in that plane, cut by all the others."""
    normal = vectors[k] / lengths[k]
    middle = vectors[k] / 2
    u = np.cross(normal, np.eye(3)[np.abs(normal).argmin()])
    u /= np.linalg.norm(u)
    v = np.cross(normal, u)
    size = 4 * lengths.max()
    polygon = np.array([[-size, -size], [size, -size], [size, size], [-size, size]])
    for other, length in zip(vectors, lengths, strict=True):
        a, b = other @ u, other @ v
        limit = length**2 / 2 - other @ middle
        inside = limit - polygon @ (a, b)
        if (inside >= -1e-12 * length**2).all():
            continue
        following, after = np.roll(polygon, -1, axis=0), np.roll(inside, -1)
        corners = []
        for here, there, now, then in zip(polygon, following, inside, after, strict=True):
            if now >= 0:
                corners.append(here)
            if (now >= 0) != (then >= 0):
                corners.append(here + (there - here) * (now / (now - then)))
        if len(corners) < 3:
            return 0.0
        polygon = np.array(corners)
    x, y = polygon.T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)


@dataclass(frozen=True)
class Nearest:
    """Squared distances of points to the nearest images of atoms.

    Attributes
    ----------
    short : np.ndarray
        (3, 3) Å, short lattice vectors of the cell.
    back : np.ndarray
        (3, 3), takes fractional coordinates to those of the short vectors.
    others : np.ndarray
        (k, 3) Å, lattice vectors that may still bring an image nearer once coordinates lie within half of the short
        ones; none in an orthogonal cell.
    """

    short: np.ndarray
    back: np.ndarray
    others: np.ndarray

    @classmethod
    def of(cls, cell: np.ndarray) -> Nearest:
        short, transform = _reduced(cell)
        around = np.array([h for h in product((-1, 0, 1), repeat=3) if any(h)]) @ short
        farthest = np.abs(around @ short.T).sum(axis=1) / 2
        return cls(short, np.linalg.inv(transform), around[farthest > (around**2).sum(axis=1) / 2 * (1 + 1e-9)])

    def vectors(self, points: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """(n, 3) Å, from the nearest image of an atom to each point; fractional (n, 3), and (3,) or (n, 3)."""
        apart = (points - positions) @ self.back
        apart = (apart - np.rint(apart)) @ self.short
        least, best = np.zeros(len(points)), np.zeros_like(apart)
        for other in self.others:
            change = 2 * (apart @ other) + other @ other
            nearer = change < least
            least[nearer], best[nearer] = change[nearer], other
        return apart + best

    def squares(self, points: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """(n,) Å^2, the squared lengths of `vectors`."""
        apart = self.vectors(points, positions)
        return np.einsum("ni,ni->n", apart, apart)


def pieces(grid: tuple[int, int, int], numbers: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Points of a grid in their order, some at a time: (slice of the flat grid, (n, 3) fractional coordinates)."""
    nx, ny, nz = grid
    plane = np.stack(np.meshgrid(np.arange(ny) / ny, np.arange(nz) / nz, indexing="ij"), axis=-1).reshape(-1, 2)
    for part in slices(nx, ny * nz, numbers):
        x = np.arange(part.start, part.stop) / nx
        points = np.empty((len(x), ny * nz, 3))
        points[..., 0] = x[:, None]
        points[..., 1:] = plane
        yield slice(part.start * ny * nz, part.stop * ny * nz), points.reshape(-1, 3)
