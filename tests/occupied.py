"""Augmentation occupancies with the symmetry of their crystal, for tests: they share no code with the codec.

The matrices by which real spherical harmonics turn come from scipy's Legendre functions, at points on the sphere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import factorial

import numpy as np

from chgdb import Crystal
from chgdb.augmentation import Printed
from chgdb.symmetry import UNITS, SpaceGroup, find


def harmonics(vectors: np.ndarray, ell: int) -> np.ndarray:
    """Real spherical harmonics without the sign of Condon and Shortley, M from -L to L: (n, 3) -> (n, 2L + 1)."""
    from scipy.special import lpmv

    x, y, z = (vectors / np.linalg.norm(vectors, axis=1)[:, None]).T
    azimuth = np.arctan2(y, x)
    columns = []
    for m in range(-ell, ell + 1):
        size = abs(m)
        norm = np.sqrt((2 * ell + 1) / (4 * np.pi) * factorial(ell - size) / factorial(ell + size))
        value = norm * (-1) ** size * lpmv(size, ell, z) * np.exp(1j * size * azimuth)
        columns.append(value.real if m == 0 else np.sqrt(2) * (value.imag if m < 0 else value.real))
    return np.stack(columns, axis=1)


@lru_cache(maxsize=4096)
def _turned(rotation: bytes, ell: int) -> np.ndarray:
    matrix = np.frombuffer(rotation).reshape(3, 3)
    points = np.random.default_rng(ell).normal(size=(6 * ell + 8, 3))
    # f(r) = c.Y(r) becomes f(R^-1 r) = c.Y(R^-1 r) = (D c).Y(r)
    return np.linalg.lstsq(harmonics(points, ell), harmonics(points @ matrix, ell), rcond=None)[0]


def turned(rotation: np.ndarray, ell: int) -> np.ndarray:
    """D with c' = D c for the coefficients of a function and of the function turned."""
    return _turned(np.ascontiguousarray(rotation).tobytes(), ell)


def blocks(layout: Sequence[int]) -> list[int]:
    """L of each block, in the order of VASP's numbers."""
    pairs = [(layout[i], layout[j]) for i in range(len(layout)) for j in range(i, len(layout))]
    return [ell for a, b in pairs for ell in range(abs(a - b), a + b + 1, 2)]


def matrix_of(layout: Sequence[int], rotation: np.ndarray) -> np.ndarray:
    """How all numbers of an atom turn."""
    sizes = [2 * ell + 1 for ell in blocks(layout)]
    whole, start = np.zeros((sum(sizes), sum(sizes))), 0
    for ell, size in zip(blocks(layout), sizes, strict=True):
        whole[start : start + size, start : start + size] = turned(rotation, ell)
        start += size
    return whole


def operations(crystal: Crystal, group: SpaceGroup) -> list[tuple[np.ndarray, list[int]]]:
    """(Cartesian rotation, onto which atom each goes) of each operation."""
    found = []
    for rotation, translation in zip(group.rotations, group.translations, strict=True):
        images = []
        for position in crystal.positions:
            there = rotation @ (position - group.origin) + group.origin + translation / UNITS
            apart = there - crystal.positions
            images.append(int(np.abs(apart - np.rint(apart)).sum(axis=1).argmin()))
        found.append((crystal.cell.T @ rotation @ np.linalg.inv(crystal.cell.T), images))
    return found


def symmetric(
    crystal: Crystal, layouts: Mapping[int, Sequence[int]], seed: int = 0, group: SpaceGroup | None = None
) -> list[np.ndarray]:
    """Random numbers of each atom, the mean over a group (that of the crystal), its flips being changes of sign."""
    rng = np.random.default_rng(seed)
    chosen = [layouts[int(number)] for number in crystal.numbers]
    raw = [rng.normal(size=sum(2 * ell + 1 for ell in blocks(layout))) for layout in chosen]
    group = find(crystal) if group is None else group
    total = [np.zeros_like(values) for values in raw]
    for (rotation, images), flip in zip(operations(crystal, group), group.flips, strict=True):
        for atom, image in enumerate(images):
            total[image] += (-1) ** flip * (matrix_of(chosen[atom], rotation) @ raw[atom])
    return [_tidied(values / len(group)) for values in total]


def axial(
    crystal: Crystal, layouts: Mapping[int, Sequence[int]], group: SpaceGroup, seed: int = 0
) -> list[list[np.ndarray]]:
    """The same of a magnetisation: x, y, z of each atom, an axial vector, which flips turn round."""
    rng = np.random.default_rng(seed)
    chosen = [layouts[int(number)] for number in crystal.numbers]
    raw = [rng.normal(size=(3, sum(2 * ell + 1 for ell in blocks(layout)))) for layout in chosen]
    total = [np.zeros_like(values) for values in raw]
    for (rotation, images), flip in zip(operations(crystal, group), group.flips, strict=True):
        vectors = (-1) ** flip * np.linalg.det(rotation) * rotation
        for atom, image in enumerate(images):
            total[image] += vectors @ raw[atom] @ matrix_of(chosen[atom], rotation).T
    return [[_tidied(values[axis] / len(group)) for values in total] for axis in range(3)]


def _tidied(values: np.ndarray) -> np.ndarray:
    """As printed with seven digits; noise as VASP has it in place of zeros."""
    noise = 1e-18 * np.sin(np.arange(values.size) + 1)
    return np.array([float(f"{value:.6e}") for value in np.where(np.abs(values) < 1e-12, noise, values)])


def with_flips(crystal: Crystal, signs: np.ndarray) -> SpaceGroup:
    """The crystal's operations that keep the moments of its atoms, (n,), or change the sign of all of them."""
    group = find(crystal)
    moved = np.array([signs[images] for _, images in operations(crystal, group)])
    same, other = (moved == signs).all(axis=1), (moved == -signs).all(axis=1)
    return group.with_flips((~same & other).astype(np.int64)).subgroup(same | other)


def text(values: Sequence[np.ndarray], moments: Sequence[float] = (), imaginary: Sequence[np.ndarray] = ()) -> str:
    """What VASP prints after a channel."""
    return Printed(tuple(values), tuple(imaginary), tuple(moments)).to_text()
