r"""How real spherical harmonics turn: matrices D(R) with c' = D(R) c for the coefficients of f(r) and of f(R^-1 r).

The harmonics of one L are ordered from M = -L to L (y, z, x; xy, yz, z^2, xz, x^2 - y^2; ...), without the sign of
Condon and Shortley: D of L = 1 is the rotation itself, in the order y, z, x. The others follow by the recursion of
Ivanic and Ruedenberg (J. Phys. Chem. 100, 6342, 1996, with the erratum in 102, 9099, 1998), which holds for improper
rotations too.
"""

from __future__ import annotations

from math import sqrt

import numpy as np

_NEWTON = 12  # steps to the nearest orthogonal matrix: each doubles the digits


def cartesian_rotations(rotations: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Orthogonal matrices (n, 3, 3) of operations r -> W r on fractional coordinates, (n, 3, 3) integers.

    cell: (3, 3), Å, a lattice vector a row. A cell has the symmetry of its lattice only to its printed digits: the
    nearest orthogonal matrix is taken (by Newton's iteration R <- (R + R^-T) / 2).
    """
    columns = np.asarray(cell, float).T
    turned = columns @ rotations @ np.linalg.inv(columns)
    for _ in range(_NEWTON):
        turned = (turned + np.linalg.inv(turned).transpose(0, 2, 1)) / 2
    return turned


class HarmonicRotations:
    """D(R) of orthogonal matrices (n, 3, 3), for as many L as are asked for: the recursion goes on where it was left.

    rotations: the matrices.
    """

    def __init__(self, rotations: np.ndarray) -> None:
        self.rotations = np.asarray(rotations, float)
        order = [1, 2, 0]  # y, z, x
        self._known = {0: np.ones((len(self.rotations), 1, 1)), 1: self.rotations[:, order][:, :, order]}

    def matrices(self, ell: int) -> np.ndarray:
        """(n, 2L + 1, 2L + 1)."""
        for degree in range(2, ell + 1):
            if degree not in self._known:
                self._known[degree] = _next(self._known[1], self._known[degree - 1], degree)
        return self._known[ell]


def harmonic_rotations(rotations: np.ndarray, highest: int) -> list[np.ndarray]:
    """D(R) of orthogonal matrices (n, 3, 3), for L = 0 to `highest`: a list of arrays (n, 2L + 1, 2L + 1)."""
    known = HarmonicRotations(rotations)
    return [known.matrices(ell) for ell in range(highest + 1)]


def _next(first: np.ndarray, before: np.ndarray, ell: int) -> np.ndarray:
    """D of `ell` from that of 1 and of `ell` - 1."""
    result = np.empty((len(first), 2 * ell + 1, 2 * ell + 1))

    def p(i: int, m: int, n: int) -> np.ndarray:
        row, last = before[:, m + ell - 1], 2 * ell - 2
        if n == -ell:
            return first[:, i + 1, 2] * row[:, 0] + first[:, i + 1, 0] * row[:, last]
        if n == ell:
            return first[:, i + 1, 2] * row[:, last] - first[:, i + 1, 0] * row[:, 0]
        return first[:, i + 1, 1] * row[:, n + ell - 1]

    for m in range(-ell, ell + 1):
        for n in range(-ell, ell + 1):
            whole = 2 * ell * (2 * ell - 1) if abs(n) == ell else (ell + n) * (ell - n)
            total = np.zeros(len(first))
            if abs(m) < ell:
                total += sqrt((ell + m) * (ell - m) / whole) * p(0, m, n)
            total += _second(p, ell, m, n) / sqrt(whole)
            if m and abs(m) < ell - 1:
                sign = 1 if m > 0 else -1
                third = p(1, m + sign, n) + sign * p(-1, -m - sign, n)
                total -= 0.5 * sqrt((ell - abs(m) - 1) * (ell - abs(m)) / whole) * third
            result[:, m + ell, n + ell] = total
    return result


def _second(p, ell: int, m: int, n: int) -> np.ndarray:
    """The second of the recursion's three terms, without its denominator."""
    size = abs(m)
    if not m:
        return -0.5 * sqrt(2 * (ell - 1) * ell) * (p(1, 1, n) + p(-1, -1, n))
    factor = 0.5 * sqrt((ell + size - 1) * (ell + size))
    if m > 0:
        return factor * (p(1, 0, n) * sqrt(2) if m == 1 else p(1, m - 1, n) - p(-1, 1 - m, n))
    return factor * (p(-1, 0, n) * sqrt(2) if m == -1 else p(1, m + 1, n) + p(-1, -m - 1, n))
