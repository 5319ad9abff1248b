"""Structures of many kinds, and synthetic densities that have exactly the symmetry of their atoms."""

from __future__ import annotations

import numpy as np

from chgdb import Crystal, Density

_FCC = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2
_BCC = np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]]) / 2
_FACES = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])


def hexagonal(a: float, c: float) -> np.ndarray:
    return np.array([[a, 0, 0], [-a / 2, a * 3**0.5 / 2, 0], [0, 0, c]])


def rhombohedral(a: float, degrees: float) -> np.ndarray:
    c = np.cos(np.radians(degrees))
    return np.linalg.cholesky(a * a * ((1 - c) * np.eye(3) + c))


def monoclinic() -> Crystal:
    """P2_1/c with the origin at a place that no fraction names."""
    cell = np.array([[5.1, 0, 0], [0, 5.3, 0], [-0.9, 0, 5.2]])
    general = [np.array([0.276, 0.039, 0.208]), np.array([0.071, 0.342, 0.345])]
    sites, numbers = [], []
    for x, number in zip(general, (40, 8), strict=True):
        image = np.array([-x[0], x[1] + 0.5, 0.5 - x[2]])
        sites += [x, -x, image, -image]
        numbers += [number] * 4
    return Crystal(cell, np.array(sites) + np.array([0.1234567, 0.0765432, 0.3141592]), numbers)


def quartz() -> Crystal:
    """P3_2 21: no inversion, screw axes of thirds."""
    x, y, z = 0.413, 0.266, 0.786
    silicon = [[0.47, 0, 2 / 3], [0, 0.47, 1 / 3], [-0.47, -0.47, 0]]
    oxygen = [[x, y, z], [-y, x - y, z + 2 / 3], [y - x, -x, z + 1 / 3]]
    oxygen += [[y, x, -z], [x - y, -y, 1 / 3 - z], [-x, y - x, 2 / 3 - z]]
    return Crystal(hexagonal(4.91, 5.40), silicon + oxygen, [14] * 3 + [8] * 6)


def supercell(crystal: Crystal, times: tuple[int, int, int]) -> Crystal:
    shifts = np.array(list(np.ndindex(*times)))
    positions = (crystal.positions[:, None, :] + shifts).reshape(-1, 3) / times
    return Crystal(crystal.cell * np.array(times)[:, None], positions, np.repeat(crystal.numbers, len(shifts)))


STRUCTURES: dict[str, Crystal] = {
    "fcc": Crystal(4.05 * _FCC, [[0, 0, 0]], [13]),
    "bcc": Crystal(2.87 * _BCC, [[0, 0, 0]], [26]),
    "diamond": Crystal(5.43 * _FCC, [[0, 0, 0], [0.25, 0.25, 0.25]], [14, 14]),
    "diamond conventional": Crystal(5.43 * np.eye(3), np.vstack([_FACES, _FACES + 0.25]), [14] * 8),
    "zinc blende": Crystal(5.65 * _FCC, [[0, 0, 0], [0.25, 0.25, 0.25]], [31, 33]),
    "rocksalt conventional": Crystal(5.64 * np.eye(3), np.vstack([_FACES, _FACES + 0.5]), [11] * 4 + [17] * 4),
    "hcp": Crystal(hexagonal(3.21, 5.21), [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]], [12, 12]),
    "wurtzite": Crystal(
        hexagonal(3.82, 6.26),
        [[1 / 3, 2 / 3, 0.0], [2 / 3, 1 / 3, 0.5], [1 / 3, 2 / 3, 0.375], [2 / 3, 1 / 3, 0.875]],
        [30, 30, 16, 16],
    ),
    "quartz": quartz(),
    "rhombohedral": Crystal(rhombohedral(4.75, 57.2), [[0.234] * 3, [-0.234] * 3], [83, 83]),
    "monoclinic": monoclinic(),
    "triclinic": Crystal(
        [[4.1, 0.2, -0.3], [0.7, 5.2, 0.1], [-0.4, 0.9, 4.7]],
        [[0, 0, 0], [0.31, 0.42, 0.17], [0.7, 0.1, 0.6]],
        [19, 9, 8],
    ),
    "supercell": supercell(Crystal(2.87 * np.eye(3), [[0, 0, 0], [0.5, 0.5, 0.5]], [26, 26]), (2, 1, 3)),
}


def density(
    crystal: Crystal, grid: tuple[int, int, int], *, width: float = 0.45, weights: np.ndarray | None = None
) -> np.ndarray:
    """Sum of one periodic Gaussian per atom, (nx, ny, nz) in 1/Å^3, summed in reciprocal space without Nyquist terms.

    width: standard deviation of the lightest atom, Å; it grows with the cube root of the atomic number.
    weights: (n,) integral of each, the atomic number to the power 1/2 unless given.
    """
    axes = np.meshgrid(*(np.fft.fftfreq(n, 1 / n) for n in grid), indexing="ij")
    h = np.stack(axes, axis=-1)
    s2 = ((h @ np.linalg.inv(crystal.cell).T) ** 2).sum(axis=-1)
    if weights is None:
        weights = np.sqrt(crystal.numbers)
    sizes = width * np.cbrt(crystal.numbers / crystal.numbers.min())
    spectrum = sum(
        w * np.exp(-2 * np.pi**2 * size**2 * s2 - 2j * np.pi * (h @ x))
        for w, size, x in zip(weights, sizes, crystal.positions, strict=True)
    )
    for axis, n in enumerate(grid):
        if n % 2 == 0:
            spectrum[(slice(None),) * axis + (n // 2,)] = 0
    return np.fft.ifftn(spectrum).real * (spectrum.size / crystal.volume)


def total(name: str, grid: tuple[int, int, int], **options) -> Density:
    """One of `STRUCTURES` with its Gaussians."""
    return Density(STRUCTURES[name], {"total": density(STRUCTURES[name], grid, **options)})


def summed(name: str, grid: tuple[int, int, int], magnetization: bool = False) -> Density:
    """Peaks that were summed up on a grid of half as many points, which folds them, and something wide beside them.

    So do codes that sum up |psi|^2 on a coarse grid and add compensation charges on a fine one. grid: even numbers.
    """
    crystal, fine = STRUCTURES[name], (2 * grid[0], 2 * grid[1], 2 * grid[2])

    def one(width: float) -> np.ndarray:
        coarse = density(crystal, fine, width=width)[::4, ::4, ::4]
        return Density(crystal, {"total": coarse}).resample(grid).total + 0.1 * density(crystal, grid, width=0.5)

    return Density(crystal, {"total": one(0.2)} | ({"magnetization": 0.3 * one(0.22)} if magnetization else {}))


def smooth(grid: tuple[int, int, int], seed: int, reach: float = 0.25) -> np.ndarray:
    """A random smooth field of mean 1 without symmetry: coefficients fall off towards `reach` times the grid."""
    rng = np.random.default_rng(seed)
    spectrum = np.fft.rfftn(rng.normal(size=grid))
    squares = np.array([0.0])
    for axis, n in enumerate(grid):
        frequency = np.fft.rfftfreq(n) if axis == 2 else np.fft.fftfreq(n)
        squares = squares + (frequency / reach).reshape([-1 if k == axis else 1 for k in range(3)]) ** 2
    spectrum *= np.exp(-4 * squares)
    for axis, n in enumerate(grid):
        if n % 2 == 0:
            spectrum[(slice(None),) * axis + (n // 2,)] = 0
    values = np.fft.irfftn(spectrum, s=grid, axes=(0, 1, 2))
    values -= values.mean()
    return 1 + values * (0.4 / (np.abs(values).max() or 1))
