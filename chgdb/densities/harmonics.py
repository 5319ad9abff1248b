r"""Real spherical harmonics to l = 4, a quadrature on the sphere, and the matrices of rotations.

Y_lm are orthonormal on the unit sphere, ordered by l, and within l from m = -l to l: 1; y, z, x; xy, yz, z^2, xz,
x^2 - y^2; and so on. A rotation R acts as Y(R v) = D(R) Y(v), with D orthogonal and block-diagonal in l.
"""

from __future__ import annotations

from functools import lru_cache
from math import pi, sqrt

import numpy as np

#: Highest angular momentum, and the number of functions up to it.
L_MAX = 4
COUNT = (L_MAX + 1) ** 2
#: Number of functions of each l.
BLOCKS = tuple(slice(ell * ell, (ell + 1) * (ell + 1)) for ell in range(L_MAX + 1))
#: l of each function.
DEGREES = np.repeat(np.arange(L_MAX + 1), [2 * ell + 1 for ell in range(L_MAX + 1)])


def spherical_harmonics(vectors: np.ndarray) -> np.ndarray:
    """Y_lm of unit vectors, (..., 3) -> (..., 25), of the same type."""
    x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
    xx, yy, zz = x * x, y * y, z * z
    values = np.empty((*vectors.shape[:-1], COUNT), vectors.dtype)
    terms = (
        (0.5 * sqrt(1 / pi), np.ones_like(x)),
        (sqrt(3 / (4 * pi)), y),
        (sqrt(3 / (4 * pi)), z),
        (sqrt(3 / (4 * pi)), x),
        (0.5 * sqrt(15 / pi), x * y),
        (0.5 * sqrt(15 / pi), y * z),
        (0.25 * sqrt(5 / pi), 3 * zz - 1),
        (0.5 * sqrt(15 / pi), x * z),
        (0.25 * sqrt(15 / pi), xx - yy),
        (0.25 * sqrt(35 / (2 * pi)), y * (3 * xx - yy)),
        (0.5 * sqrt(105 / pi), x * y * z),
        (0.25 * sqrt(21 / (2 * pi)), y * (5 * zz - 1)),
        (0.25 * sqrt(7 / pi), z * (5 * zz - 3)),
        (0.25 * sqrt(21 / (2 * pi)), x * (5 * zz - 1)),
        (0.25 * sqrt(105 / pi), z * (xx - yy)),
        (0.25 * sqrt(35 / (2 * pi)), x * (xx - 3 * yy)),
        (0.75 * sqrt(35 / pi), x * y * (xx - yy)),
        (0.75 * sqrt(35 / (2 * pi)), y * z * (3 * xx - yy)),
        (0.75 * sqrt(5 / pi), x * y * (7 * zz - 1)),
        (0.75 * sqrt(5 / (2 * pi)), y * z * (7 * zz - 3)),
        (3 / 16 * sqrt(1 / pi), (35 * zz - 30) * zz + 3),
        (0.75 * sqrt(5 / (2 * pi)), x * z * (7 * zz - 3)),
        (3 / 8 * sqrt(5 / pi), (xx - yy) * (7 * zz - 1)),
        (0.75 * sqrt(35 / (2 * pi)), x * z * (xx - 3 * yy)),
        (3 / 16 * sqrt(35 / pi), xx * (xx - 3 * yy) - yy * (3 * xx - yy)),
    )
    for index, (factor, term) in enumerate(terms):
        values[..., index] = factor * term
    return values


@lru_cache(maxsize=8)
def quadrature(polar: int, azimuthal: int) -> tuple[np.ndarray, np.ndarray]:
    """(points (n, 3), weights (n,)) on the unit sphere, Gauss-Legendre times uniform.

    Exact for polynomials to the degree 2 polar - 1 in z whose azimuthal part has fewer than `azimuthal` turns.
    """
    cosine, weights = np.polynomial.legendre.leggauss(polar)
    angle = 2 * np.pi * np.arange(azimuthal) / azimuthal
    sine = np.sqrt(1 - cosine * cosine)
    points = np.stack(
        [np.outer(sine, np.cos(angle)).ravel(), np.outer(sine, np.sin(angle)).ravel(), np.repeat(cosine, azimuthal)],
        axis=-1,
    )
    return points, np.repeat(weights, azimuthal) * 2 * np.pi / azimuthal


def rotation_matrices(rotations: np.ndarray) -> np.ndarray:
    """D(R) of proper or improper rotations, (n, 3, 3) -> (n, 25, 25), by an exact quadrature."""
    points, weights = quadrature(5, 9)
    turned = spherical_harmonics(points @ np.asarray(rotations, float).transpose(0, 2, 1))
    matrices = turned.transpose(0, 2, 1) @ (spherical_harmonics(points) * weights[:, None])
    same = DEGREES[:, None] == DEGREES[None, :]
    return np.where(same, matrices, 0.0)
