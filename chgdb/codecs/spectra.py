"""Half spectra of real grids and back, in pieces, so that beside the grid only the terms that are not zero take memory.

A half spectrum is (nx, ny, nz // 2 + 1) complex. The mean is at [0, 0, 0]; negative frequencies count from the end.
A *box* keeps only |h_i| <= r_i of a half spectrum: it is (2 r_1 + 1, 2 r_2 + 1, r_3 + 1), indexed in the same way.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from ..grids import PIECE, slices

T = TypeVar("T")

#: From this count of numbers on, two threads take turns.
_THREADED = 1 << 22


def for_each(function: Callable[[slice], T], parts: list[slice], size: int) -> Iterator[T]:
    """The results of a function for each piece, in order. NumPy's transforms let other threads run."""
    if size < _THREADED or (os.cpu_count() or 1) == 1:
        yield from map(function, parts)
        return
    with ThreadPoolExecutor(2) as pool:
        yield from pool.map(function, parts)


def forward(values: np.ndarray) -> np.ndarray:
    """Half spectrum of a grid, `numpy.fft.rfftn` with norm "forward"."""
    nx, ny, nz = values.shape
    spectrum = np.empty((nx, ny, nz // 2 + 1), complex)

    def rows(part: slice) -> None:
        np.fft.rfft(np.asarray(values[part], float), axis=2, norm="forward", out=spectrum[part])
        spectrum[part] = np.fft.fft(spectrum[part], axis=1, norm="forward")

    def columns(part: slice) -> None:
        spectrum[:, part] = np.fft.fft(spectrum[:, part], axis=0, norm="forward")

    for function, count, row in ((rows, nx, ny * nz), (columns, ny, nx * (nz // 2 + 1))):
        for _ in for_each(function, slices(count, row), values.size):
            pass
    return spectrum


def inverse(box: np.ndarray, grid: tuple[int, int, int], use: Callable[[slice, np.ndarray], T]) -> Iterator[T]:
    """The results of `use` for each piece (rows along x, values of these rows) of the grid whose spectrum is a box."""
    nx, ny, nz = grid
    m = box.shape[1]
    columns = widened(box, nx, 0)

    def transform(part: slice) -> None:
        columns[:, part] = np.fft.ifft(columns[:, part], axis=0, norm="forward")

    for _ in for_each(transform, slices(m, nx * box.shape[2]), nx * m * box.shape[2]):
        pass

    def rows(part: slice) -> T:
        planes = np.fft.ifft(widened(columns[part], ny, 1), axis=1, norm="forward")
        return use(part, np.fft.irfft(planes, nz, axis=2, norm="forward"))

    yield from for_each(rows, slices(nx, ny * nz), nx * ny * nz)


def values_of(box: np.ndarray, grid: tuple[int, int, int]) -> np.ndarray:
    """The grid whose spectrum is a box: `numpy.fft.irfftn` with norm "forward"."""
    values = np.empty(grid)
    for _ in inverse(box, grid, lambda part, rows: values.__setitem__(part, rows)):
        pass
    return values


def distance(box: np.ndarray, values: np.ndarray) -> float:
    """Mean absolute difference between `values` and the grid whose spectrum is a box."""

    def one(part: slice, rows: np.ndarray) -> float:
        rows -= values[part]
        return float(np.abs(rows, out=rows).sum())

    nx, ny, nz = values.shape
    return sum(inverse(box, (nx, ny, nz), one)) / values.size


def widened(box: np.ndarray, size: int, axis: int) -> np.ndarray:
    """A copy with zeros for the frequencies of a longer axis."""
    if box.shape[axis] == size:
        return box.copy()
    shape = [*box.shape]
    shape[axis] = size
    result = np.zeros(shape, complex)
    put(result, box)
    return result


def put(target: np.ndarray, box: np.ndarray) -> None:
    """Add a box to one that is at least as large along every axis, in place."""
    for rows in _runs(box.shape[0]):
        _put_rows(target[rows], box[rows])


def _put_rows(target: np.ndarray, box: np.ndarray) -> None:
    """Add a box in place to one that is as large along the first axis and at least as large along the others."""
    for columns in _runs(box.shape[1]):
        target[:, columns, : box.shape[2]] += box[:, columns]


def _runs(n: int) -> tuple[slice, ...]:
    """Frequencies from 0 up, and the negative ones, at the end of an axis."""
    return (slice(0, n // 2 + 1), slice(n // 2 + 1 - n, None))[: 1 + (n > 2)]


def box_shape(reach: list[int]) -> tuple[int, int, int]:
    """The shape of the box of |h_i| <= reach[i]."""
    return 2 * reach[0] + 1, 2 * reach[1] + 1, reach[2] + 1


def larger(*shapes: tuple[int, ...]) -> tuple[int, int, int]:
    """The smallest shape that holds all these shapes."""
    first, second, third = (max(sizes) for sizes in zip(*shapes, strict=True))
    return first, second, third


def cut(spectrum: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """The part of a half spectrum that a box of this shape holds; the whole spectrum where that is nearly all."""
    if 10 * shape[0] * shape[1] * shape[2] > 9 * spectrum.size:
        return spectrum
    pairs = zip(shape[:2], spectrum.shape[:2], strict=True)
    x, y = (np.r_[: n // 2 + 1, m - n // 2 : m] if n < m else np.arange(m) for n, m in pairs)
    return spectrum[x[:, None], y[None, :], : shape[2]]


class Residual:
    """A half spectrum, or a box of one, less the box of a prior. The difference is never made whole.

    spectrum: has a mean of zero. base: the box of the prior; None where there is no prior.
    """

    def __init__(self, spectrum: np.ndarray, base: np.ndarray | None = None) -> None:
        self.spectrum = spectrum
        self._base = base

    def at(self, h: np.ndarray) -> np.ndarray:
        """Terms at Miller indices, (n, 3) int64 with the third from 0 on, or at indices of the half spectrum."""
        values = self.spectrum[h[:, 0], h[:, 1], h[:, 2]]
        if self._base is not None:
            most = np.array(self._base.shape) // np.array([2, 2, 1]) - np.array([0, 0, 1])
            inside = (np.abs(h) <= most).all(axis=1)
            near = h[inside]
            values[inside] -= self._base[near[:, 0], near[:, 1], near[:, 2]]
        return values

    def pieces(self, numbers: int = PIECE) -> Iterator[tuple[slice, np.ndarray]]:
        """(rows, their terms) of the whole, about `numbers` numbers at a time; only to be read."""
        size = len(self.spectrum)
        for part in slices(size, self.spectrum[0].size, numbers):
            if self._base is None:
                yield part, self.spectrum[part]
                continue
            terms = self.spectrum[part].copy()
            reach = len(self._base) // 2
            # Rows of the base are in two runs, as those of the spectrum: from 0 up, and the negative ones at the end.
            for first, last, shift in ((0, reach + 1, 0), (size - reach, size, len(self._base) - size)):
                low, high = max(first, part.start), min(last, part.stop)
                if low < high:
                    _put_rows(terms[low - part.start : high - part.start], -self._base[low + shift : high + shift])
            yield part, terms
