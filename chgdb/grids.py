"""Pure functions on periodic grids. Arrays are (nx, ny, nz); grid point i sits at the fractional coordinate i/n."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

import numpy as np

from .errors import DensityError

#: Numbers of a piece of a grid: what is done piece by piece takes no memory of the size of the grid.
PIECE = 1 << 18


def slices(count: int, row: int, numbers: int = PIECE) -> list[slice]:
    """`count` rows of `row` numbers each in pieces of some `numbers`."""
    step = max(1, numbers // max(row, 1))
    return [slice(start, min(start + step, count)) for start in range(0, count, step)]


def absolute_sum(values: np.ndarray) -> float:
    """Sum of the absolute values of a grid, without a copy of it."""
    parts = slices(len(values), values[0].size, 1 << 22)
    return float(sum(np.abs(values[part]).sum(dtype=float) for part in parts))


def check_memory(grid: tuple[int, ...], channels: int = 1) -> None:
    """Refuse a grid whose work, some four times its own size, takes more memory than there is.

    Parameters
    ----------
    grid : tuple[int, ...]
        Points along each lattice vector.
    channels : int
        Number of such grids.

    Raises
    ------
    DensityError
        If this machine has less memory.
    """
    needed = 32 * math.prod(grid) * channels
    if needed > memory():
        shape = " x ".join(map(str, grid))
        raise DensityError(
            f"a grid of {shape} points takes {needed / 1e9:.0f} GB to work on, and this machine has "
            f"{memory() / 1e9:.0f} GB: use a coarser one"
        )


def memory() -> float:
    """Bytes of this machine, or that this process may have; infinity where the system does not say."""
    try:
        whole: float = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        return math.inf
    import resource

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return whole if limit == resource.RLIM_INFINITY else min(whole, limit)


def shifted(values: np.ndarray, shift: Sequence[float]) -> np.ndarray:
    """A periodic function moved by fractions of the lattice vectors: the result at r is the trigonometric polynomial
    through the values at r - shift.

    Parameters
    ----------
    values : np.ndarray
        (nx, ny, nz) float.
    shift : Sequence[float]
        Fractions of the three lattice vectors.

    Returns
    -------
    np.ndarray
        float64. Exact to rounding where the grid resolves the function, and a permutation of the values where the shift
        is a whole number of grid points. The Nyquist frequency of an even axis stands for the mean of +n/2 and -n/2;
        its real part is kept.
    """
    result = np.asarray(values, dtype=float)
    for axis, fraction in enumerate(shift):
        size = result.shape[axis]
        points = fraction * size
        if abs(points - round(points)) < 1e-9:
            result = np.roll(result, round(points) % size, axis)
            continue
        h = np.arange(size // 2 + 1)
        phases = np.exp(-2j * np.pi * fraction * h)
        if size % 2 == 0:
            phases[-1] = phases[-1].real
        shape = [-1 if k == axis else 1 for k in range(3)]
        result = np.fft.irfft(np.fft.rfft(result, axis=axis) * phases.reshape(shape), n=size, axis=axis)
    return result


def resample(values: np.ndarray, grid: tuple[int, int, int]) -> np.ndarray:
    """Fourier interpolation to another grid: the trigonometric polynomial through the values, on more or fewer points.

    Parameters
    ----------
    values : np.ndarray
        (nx, ny, nz) float.
    grid : tuple[int, int, int]
        Grid points along each lattice vector of the result.

    Returns
    -------
    np.ndarray
        (grid) float64. The mean, hence the electron count, is kept to the last bits. Coefficients beyond the coarser
        grid are dropped. A coefficient at the Nyquist frequency of an even axis stands for the mean of +n/2 and -n/2.
        It is split evenly between both when the axis grows, and both are added up when it shrinks. Real values thus
        stay real, and going up and down again gives the values back.

    Raises
    ------
    DensityError
        If a length of the grid is not a positive whole number, or the grid takes more memory than there is.
    """
    shape = tuple(int(n) for n in grid)
    if len(shape) != 3 or min(shape) < 1 or any(n != m for n, m in zip(shape, grid, strict=True)):
        raise DensityError(f"{tuple(grid)} is not a grid: expected three whole numbers of at least 1")
    check_memory(shape)
    result = np.asarray(values, dtype=float)
    mean = result.mean()
    if result.shape == shape:
        return result.copy()
    # Axes that shrink first: the work on the others is then on smaller arrays.
    for axis in sorted(range(3), key=lambda axis: shape[axis] / result.shape[axis]):
        result = _resample_axis(result, axis, shape[axis])
    result += mean - result.mean()
    return np.ascontiguousarray(result)


def _resample_axis(values: np.ndarray, axis: int, size: int) -> np.ndarray:
    old = values.shape[axis]
    if size == old:
        return values
    coefficients = np.fft.rfft(values, axis=axis)
    low = min(old, size)
    kept = np.take(coefficients, range(low // 2 + 1), axis=axis)
    if low % 2 == 0:
        # irfft counts the last coefficient of an even length once and all others twice (as ±k).
        nyquist = [slice(None)] * 3
        nyquist[axis] = slice(low // 2, None)
        kept[tuple(nyquist)] *= 0.5 if size > old else 2.0
    return np.fft.irfft(kept, n=size, axis=axis) * (size / old)


def spacing_grid(cell: np.ndarray, spacing: float) -> tuple[int, int, int]:
    """The smallest grid whose points are no more than `spacing` Å apart along each lattice vector.

    Lengths are even and have no prime factors but 2, 3, 5 and 7, for which Fourier transforms are fast.

    Parameters
    ----------
    cell : np.ndarray
        (3, 3) lattice vectors as rows, Å.
    spacing : float
        Largest distance between points, Å.

    Returns
    -------
    tuple[int, int, int]

    Raises
    ------
    DensityError
        If the spacing is not a positive number, or would need more than 10,000 points an axis.

    Examples
    --------
    >>> spacing_grid(np.eye(3) * 4.0, 0.05)
    (80, 80, 80)
    """
    lengths = np.linalg.norm(np.asarray(cell, dtype=float), axis=1)
    if not 0 < spacing < np.inf:
        raise DensityError(f"spacing {spacing!r} Å is not a positive number")
    if lengths.max() / spacing > 10_000:
        raise DensityError(f"a spacing of {spacing} Å needs more than 10,000 points along an axis: use a larger one")
    # A length that is a whole multiple of the spacing up to rounding needs no further point.
    nx, ny, nz = (fast_length(int(np.ceil(length / spacing - 1e-9))) for length in lengths)
    return nx, ny, nz


def fast_length(smallest: int) -> int:
    """The smallest even number of at least `smallest` whose prime factors are 2, 3, 5 and 7.

    >>> fast_length(97)
    98
    """
    size = max(2, smallest + smallest % 2)
    while not _is_smooth(size):
        size += 2
    return size


def _is_smooth(number: int) -> bool:
    for prime in (2, 3, 5, 7):
        while number % prime == 0:
            number //= prime
    return number == 1
