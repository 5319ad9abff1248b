r"""The functions on atoms whose sum is a difference density, and their sum in reciprocal space.

A function is r^l exp(-r^2 / 2 w^2) Y_lm(r), with `Basis.count` widths w from `narrowest` to `widest` Å. Its Fourier
transform is proportional to (-i)^l (G w)^l exp(-G^2 w^2 / 2) Y_lm(G). The functions of each l are made orthonormal on
0 < |G| / 2 pi < `cut`; functions that the others nearly span are damped. With the coefficients c of all atoms,

    F(G) = 1/V sum_a exp(-i G.r_a) sum_nlm c_a,nlm R_nl(|G|) (-i)^l Y_lm(G / |G|)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .harmonics import DEGREES, L_MAX, spherical_harmonics

_LEAST = 1e-5  # a function is damped where its eigenvalue of the overlap is below this part of the largest
#: Indices of the functions of even and of odd l. (-i)^l is 1, -i, -1, i, 1: real for even l.
EVEN = np.flatnonzero(DEGREES % 2 == 0)
ODD = np.flatnonzero(DEGREES % 2 == 1)
_SIGN = np.array([1.0, 1.0, -1.0, -1.0, 1.0])[DEGREES]  # without the factor -i of odd l


@dataclass(frozen=True)
class Basis:
    """The functions on an atom. count: radial functions of each l. narrowest, widest: Å. cut: 1/Å."""

    count: int = 8
    narrowest: float = 0.2
    widest: float = 1.3
    cut: float = 2.5

    @cached_property
    def _widths(self) -> np.ndarray:
        return np.geomspace(self.narrowest, self.widest, self.count)

    def _raw(self, lengths: np.ndarray, ell: int) -> np.ndarray:
        scaled = lengths[:, None] * self._widths
        return scaled**ell * np.exp(-0.5 * scaled * scaled)

    @cached_property
    def _orthogonal(self) -> list[np.ndarray]:
        """For each l the matrix (count, count) from the raw functions to the orthonormal ones."""
        lengths, step = np.linspace(1e-3, 2 * np.pi * self.cut, 2000, retstep=True)
        matrices = []
        for ell in range(L_MAX + 1):
            raw = self._raw(lengths, ell)
            overlap = (raw * (lengths**2 * step)[:, None]).T @ raw
            scale = 1 / np.sqrt(np.diag(overlap))
            values, vectors = np.linalg.eigh(overlap * scale[:, None] * scale)
            # Libraries differ in the sign of an eigenvector: here its largest component is positive.
            largest = np.abs(vectors).argmax(axis=0)
            vectors = vectors * np.sign(vectors[largest, np.arange(self.count)])
            matrices.append(scale[:, None] * (vectors / np.sqrt(np.maximum(values, _LEAST * values.max()))))
        return matrices

    def radial(self, lengths: np.ndarray) -> np.ndarray:
        """R_nl at |G| (rad/Å): (n,) -> (5, n, count)."""
        return np.stack([self._raw(lengths, ell) @ self._orthogonal[ell] for ell in range(L_MAX + 1)])

    def functions(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """R_nl Y_lm at G / 2 pi, (n, 3) in 1/Å, with the sign of (-i)^l but without the factor -i of odd l.

        Returns the functions of even and of odd l, (n, count * 15) and (n, count * 10); n varies slower than the
        function.
        """
        lengths = np.linalg.norm(vectors, axis=1)
        radial = self.radial(2 * np.pi * lengths)
        # At G = 0 all but l = 0 vanish, whatever the direction.
        angular = spherical_harmonics(vectors / np.where(lengths > 0, lengths, 1.0)[:, None]) * _SIGN
        parts = []
        for chosen in (EVEN, ODD):
            part = radial[DEGREES[chosen]].transpose(1, 2, 0) * angular[:, None, chosen]
            parts.append(part.reshape(len(vectors), -1))
        return parts[0], parts[1]
