"""The sum of the functions on all atoms in reciprocal space."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..density import Crystal
from .basis import EVEN, ODD, Basis

_AT_ONCE = 1 << 20  # vectors times atoms


def half_spheres(cell: np.ndarray, cut: float, grid: tuple[int, int, int], most: int) -> Iterator[np.ndarray]:
    """Miller indices with 0 < |G| / 2 pi < cut that a grid resolves, one of each pair +-h, at most `most` at a time.

    h3 >= 0. Where h3 = 0, h2 >= 0. Where both are 0, h1 > 0.
    """
    reciprocal = np.linalg.inv(cell).T
    lengths = np.linalg.norm(cell, axis=1)
    reach = [min((n - 1) // 2, int(cut * length) + 1) for n, length in zip(grid, lengths, strict=True)]
    first, second = np.meshgrid(np.arange(-reach[0], reach[0] + 1), np.arange(-reach[1], reach[1] + 1), indexing="ij")
    columns = np.stack([first.ravel(), second.ravel()], axis=1)
    third = np.arange(reach[2] + 1)
    at_once = max(1, most // len(third))
    for start in range(0, len(columns), at_once):
        part = columns[start : start + at_once]
        every = np.empty((len(part), len(third), 3), np.int64)
        every[:, :, :2], every[:, :, 2] = part[:, None], third
        h = every.reshape(-1, 3)
        upper = (h[:, 2] > 0) | ((h[:, 2] == 0) & ((h[:, 1] > 0) | ((h[:, 1] == 0) & (h[:, 0] > 0))))
        h = h[upper]
        vectors = h @ reciprocal
        inside = h[np.einsum("ij,ij->i", vectors, vectors) < cut * cut]
        if len(inside):
            yield inside


def fourier(basis: Basis, crystal: Crystal, coefficients: np.ndarray, h: np.ndarray) -> np.ndarray:
    """Fourier coefficients of densities at Miller indices, (densities, n) complex128, e/Å^3.

    coefficients: (densities, atoms, count, 25), of the functions on the atoms. h: (n, 3).
    """
    count = len(coefficients)
    even = coefficients[..., EVEN].reshape(count, len(crystal), -1)
    odd = coefficients[..., ODD].reshape(count, len(crystal), -1)
    at_even, at_odd = basis.functions(h @ np.linalg.inv(crystal.cell).T)
    total = np.zeros((count, len(h)), complex)
    at_once = max(1, _AT_ONCE // len(h))
    for start in range(0, len(crystal), at_once):
        part = slice(start, start + at_once)
        waves = np.exp(-2j * np.pi * (h @ crystal.positions[part].T))
        for k in range(count):
            total[k] += np.einsum("ga,ga->g", at_even @ even[k, part].T, waves)
            total[k] -= 1j * np.einsum("ga,ga->g", at_odd @ odd[k, part].T, waves)
    return total / crystal.volume


def place(half: np.ndarray, h: np.ndarray, values: np.ndarray) -> None:
    """Add coefficients at Miller indices of `half_spheres` to a half spectrum, (nx, ny, nz // 2 + 1).

    Their conjugates are added where the half spectrum holds those of -h as well.
    """
    half[h[:, 0], h[:, 1], h[:, 2]] += values
    flat = h[:, 2] == 0
    half[-h[flat, 0], -h[flat, 1], 0] += values[flat].conj()
