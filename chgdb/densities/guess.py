"""A density guessed: the superposition of atoms plus the difference that the members agree on.

A magnetisation is guessed in the same way, without a superposition.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..density import Crystal, has_sign
from ..elements import SYMBOLS
from ..promolecule import half_spectrum
from .applicability import descriptors
from .graph import REACH
from .model import DensityModel, DensityModelError
from .summation import fourier, half_spheres, place

_TOUCHING = 0.4  # Å; atoms nearer than this are the same atom twice
_PACKED = 2**0.5 / _TOUCHING**3  # atoms/Å^3; of more, however they lie, some are nearer than that
_MOST_COPIES = 1 << 24  # atoms within reach of the cell: 400 MB
_VECTORS = 1 << 14  # at once


@dataclass(frozen=True, eq=False)
class Guess:
    """A guess and what is known of its error.

    total: (nx, ny, nz) e/Å^3, the density or the magnetisation. error, limit: the mean absolute error to be expected,
    in parts of the mean density (the NMAE of a density), and the one below which 9 of 10 such materials stay; NaN
    without a calibration. remarks: each way in which the structure is unlike the training set. spread: root mean square
    of the members' deviations from their mean. size: that of the difference. Both are in parts of the mean density.
    """

    total: np.ndarray
    error: float
    limit: float
    remarks: tuple[str, ...]
    spread: float
    size: float


def guess(model: DensityModel, crystal: Crystal, grid: tuple[int, int, int]) -> Guess:
    """The density of a crystal on a grid, or its magnetisation where the model is one of magnetisations.

    A density integrates to the number of valence electrons, a magnetisation to the moment of the cell in Bohr
    magnetons. Raises `DensityModelError` for a structure without atoms, with two atoms at one place, or with an element
    that the model does not know.
    """
    model.check(crystal)
    _check_room(crystal)
    edges = model.graph(crystal)
    nearest = _check_distances(crystal, edges.unique[edges.first], edges.second, edges.vectors)
    with np.errstate(over="ignore", invalid="ignore"):  # of atoms that nearly touch; the result is looked at below
        coefficients = model.coefficients(crystal, edges)
    whole = model.channel == "total"
    half = half_spectrum(model.prior, crystal, grid, grid)
    basis = model.configuration.basis
    apart = power = 0.0
    for h in half_spheres(crystal.cell, basis.cut, grid, _VECTORS):
        values = fourier(basis, crystal, coefficients, h)
        mean = values.mean(axis=0)
        place(half, h, mean)
        apart += 2 * float((np.abs(values - mean) ** 2).sum()) / max(len(values) - 1, 1)
        power += 2 * float((np.abs(mean) ** 2).sum())
    average = model.electrons(crystal) / crystal.volume
    half[0, 0, 0] = average if whole else fourier(basis, crystal, coefficients, np.zeros((1, 3))).mean().real
    total = np.fft.irfftn(half, s=grid, axes=(0, 1, 2), norm="forward")
    if whole:
        total += average - total.mean()  # takes out what rounding did to the mean
    if not np.isfinite(total).all() or (whole and has_sign(total)):
        raise DensityModelError(
            f"what the model says of this structure is no density; {nearest}: check the positions and the unit of the "
            "cell"
        )
    spread, size = float(np.sqrt(apart)) / average, float(np.sqrt(power)) / average
    error, limit = (np.nan, np.nan) if model.calibration is None else model.calibration(spread, size)
    remarks = model.domain.remarks(crystal, descriptors(crystal, edges)) if model.domain is not None else ()
    return Guess(total, error, limit, remarks, spread, size)


def _check_room(crystal: Crystal) -> None:
    """Raises `DensityModelError` if a graph would take all memory: atoms that cannot but touch, a thin cell."""
    again = "is there twice, or the cell is in another unit"
    if len(crystal) / crystal.volume > _PACKED:
        raise DensityModelError(
            f"{len(crystal)} atoms in {crystal.volume:.2g} Å^3 are less than {_TOUCHING} Å apart: one of them {again}"
        )
    heights = 1 / np.linalg.norm(np.linalg.inv(crystal.cell), axis=0)
    if len(crystal) * float(np.prod(1 + 2 * REACH / heights)) > _MOST_COPIES:
        thin = ", ".join(f"{x:.3g}" for x in heights)
        raise DensityModelError(
            f"the cell, with faces {thin} Å apart, is too thin: give the same crystal in a cell of short vectors, or "
            "check its unit"
        )


def _check_distances(crystal: Crystal, first: np.ndarray, second: np.ndarray, vectors: np.ndarray) -> str:
    """The two nearest atoms in words. Raises `DensityModelError` if two are on top of each other.

    first, second: (edges,) atoms. vectors: (edges, 3) Å.
    """
    if not len(first):
        return "no two atoms are near each other"
    lengths = np.linalg.norm(vectors, axis=1)
    k = int(lengths.argmin())
    (a, b), length = sorted((int(first[k]), int(second[k]))), float(lengths[k])
    one, other = (f"{atom + 1} ({SYMBOLS[crystal.numbers[atom]]})" for atom in (a, b))
    pair = f"atoms {one} and {other}" if a != b else f"atom {one} and the same in the next cell"
    found = f"{pair} are {length:.2g} Å apart"
    if length < _TOUCHING:
        raise DensityModelError(f"{found}: one of them is there twice, or the cell is in another unit")
    return found
