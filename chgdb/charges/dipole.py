"""The electric dipole moment of what is surrounded by vacuum: molecules in a box, and slabs across the vacuum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DensityError

if TYPE_CHECKING:
    from ..crystal import Crystal

#: Debye in an e·Å.
DEBYE = 4.803204713
#: A plane whose average is below this counts as vacuum, e/Å^3.
VACUUM = 1e-3
#: Å of vacuum that a direction needs at least: a molecule's own images are nearer otherwise.
LEAST_VACUUM = 2.0
_NAMES = "abc"


@dataclass(frozen=True, eq=False)
class Dipole:
    """An electric dipole moment, from negative to positive charge.

    Attributes
    ----------
    directions : tuple[int, ...]
        Lattice vectors along which there is vacuum: the moment has a meaning across the planes of the other two.
    moment : np.ndarray
        (3,) e·Å, Cartesian; of a slab, only its component along the normal of the slab, the others being zero.
    charge : float
        Ions minus electrons, e. If it is not zero, the moment depends on the origin, which is the centre of the ions.
    ions, electrons : np.ndarray
        (3,) Å, Cartesian centres of the charges of ions and electrons.
    vacuum : np.ndarray
        (3,) fractional coordinate of the middle of the vacuum along each lattice vector; NaN where there is none.
    """

    directions: tuple[int, ...]
    moment: np.ndarray
    charge: float
    ions: np.ndarray
    electrons: np.ndarray
    vacuum: np.ndarray

    @property
    def debye(self) -> np.ndarray:
        """(3,) the moment in debye."""
        return self.moment * DEBYE

    @property
    def size(self) -> float:
        """Length of the moment, e·Å."""
        return float(np.linalg.norm(self.moment))


def dipole(crystal: Crystal, total: np.ndarray, valences: np.ndarray) -> Dipole:
    """The dipole moment of a density and its ions.

    Parameters
    ----------
    crystal : Crystal
    total : np.ndarray
        (nx, ny, nz) e/Å^3.
    valences : np.ndarray
        (atoms,) charges of the ions, e.

    Returns
    -------
    Dipole

    Raises
    ------
    DensityError
        If there is vacuum along no lattice vector: the dipole moment of a bulk crystal is not defined.
    """
    cell = crystal.cell
    heights = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    cuts = np.full(3, np.nan)
    for axis in range(3):
        average = np.abs(total.mean(axis=tuple(i for i in range(3) if i != axis), dtype=float))
        cuts[axis] = _middle_of_vacuum(average, heights[axis])
    open_axes = tuple(axis for axis in range(3) if not np.isnan(cuts[axis]))
    if not open_axes:
        raise DensityError(
            f"{crystal.formula} has less than {LEAST_VACUUM:g} Å of vacuum (planes below {VACUUM:g} e/Å^3 on average) "
            "along every lattice vector: a dipole moment is defined for molecules and slabs only, not in bulk"
        )
    start = np.nan_to_num(cuts)
    # Everything is cut open in the vacuum, and coordinates count from there.
    ions = (valences[:, None] * ((crystal.positions - start) % 1.0)).sum(axis=0)
    electrons = np.array([_first_moment(total, axis, start[axis]) for axis in range(3)]) * crystal.volume
    count = float(total.mean(dtype=float)) * crystal.volume
    charge = float(valences.sum()) - count
    centre_ions = ions / valences.sum()
    centre_electrons = electrons / count
    # About the centre of the ions, so that a charge does not bring in the origin.
    moment = (count * (centre_ions - centre_electrons)) @ cell
    if len(open_axes) == 1:
        normal = np.linalg.inv(cell)[:, open_axes[0]]
        normal /= np.linalg.norm(normal)
        moment = (moment @ normal) * normal
    elif len(open_axes) == 2:
        axis = cell[next(i for i in range(3) if i not in open_axes)]
        axis = axis / np.linalg.norm(axis)
        moment = moment - (moment @ axis) * axis
    return Dipole(open_axes, moment, charge, (centre_ions + start) @ cell, (centre_electrons + start) @ cell, cuts)


def _middle_of_vacuum(average: np.ndarray, height: float) -> float:
    """Fraction at the middle of the widest run of planes without density; NaN where it is too thin."""
    size = len(average)
    empty = average < VACUUM
    if empty.all() or not empty.any():
        return float("nan")
    first = int(np.flatnonzero(~empty)[0])
    best, length, run = 0, 0, 0
    for step in range(1, size + 1):
        run = run + 1 if empty[(first + step) % size] else 0
        if run > length:
            best, length = first + step, run
    if length * height / size < LEAST_VACUUM:
        return float("nan")
    return ((best - (length - 1) / 2) / size) % 1.0


def _first_moment(total: np.ndarray, axis: int, start: float) -> float:
    """Mean over the cell of density x fraction along an axis, counted from `start`; of the Fourier series."""
    average = total.mean(axis=tuple(i for i in range(3) if i != axis), dtype=float)
    size = len(average)
    spectrum = np.fft.rfft(average) / size
    h = np.arange(1, (size + 1) // 2)
    # Integral over x from 0 to 1 of x exp(2 pi i h x) is 1 / (2 pi i h).
    waves = spectrum[1 : len(h) + 1] * np.exp(2j * np.pi * h * start) / (2j * np.pi * h)
    return float(spectrum[0].real / 2 + 2 * waves.real.sum())
