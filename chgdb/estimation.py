"""The density of any structure, estimated without DFT: `estimate`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .densities import model as models
from .densities.guess import guess
from .densities.model import DensityModel, DensityModelError
from .density import Crystal, Density, check_density
from .elements import SYMBOLS
from .grids import spacing_grid

if TYPE_CHECKING:
    import ase
    import pymatgen.core

#: Å, between the points of the grid where neither a grid nor a spacing is asked for.
SPACING = 0.1
_BYTES_A_POINT = 60  # half spectrum twice, grid, and the temporaries of the transform


@dataclass(frozen=True)
class Magnetisation:
    """A guessed collinear magnetisation: spin up less spin down, so turned that the moment of the cell is not negative.

    Attributes
    ----------
    moment : float
        Of the cell, in Bohr magnetons.
    error : float
        Integral of the absolute error over the cell that is to be expected, in Bohr magnetons.
    limit : float
        What 90 % of materials of unseen formulas stay below. NaN where the model was never calibrated.
    model : str
        Identifier.
    """

    moment: float
    error: float
    limit: float
    model: str

    @property
    def summary(self) -> str:
        """One line: the moment, and how good the magnetisation is."""
        text = f"moment {self.moment:.2f} μB a cell"
        if np.isfinite(self.error):
            text += f"; integral of the magnetisation's error about {self.error:.2g} μB, below {self.limit:.2g} μB"
            text += " for 9 of 10 such materials"
        return text


@dataclass(frozen=True)
class Estimate:
    """A guessed density with what is known of it.

    Attributes
    ----------
    density : Density
        The guess; its comment says that it is one.
    error : float
        Expected NMAE against the DFT of the training set.
    limit : float
        NMAE below which 90 % of materials of unseen formulas stay. NaN where the model was never calibrated.
    valence : Mapping[str, float]
        Symbol -> number of electrons that each such atom gives to the density.
    remarks : tuple[str, ...]
        Each way in which the structure is unlike the training set; then error and limit are too low.
    model : str
        Identifier of the model.
    magnetisation : Magnetisation | None
        What is known of the channel `magnetization`, where one was asked for.
    """

    density: Density
    error: float
    limit: float
    valence: Mapping[str, float]
    remarks: tuple[str, ...]
    model: str
    magnetisation: Magnetisation | None = None

    @property
    def summary(self) -> str:
        """One line: what it is, and how good."""
        text = summary(self.error, self.limit)
        if self.remarks:
            text += "; unlike the training set, so likely worse"
        return text


def summary(error: float, limit: float) -> str:
    """One line on an estimated density and how good it is. error, limit: as of `Estimate`."""
    text = "estimated by a model, not computed"
    if np.isfinite(error):
        text += f"; error about {_percent(error)}, below {_percent(limit)} for 9 of 10 such materials"
    return text


def estimate(
    structure: Crystal | Density | ase.Atoms | pymatgen.core.Structure,
    *,
    grid: tuple[int, int, int] | None = None,
    spacing: float | None = None,
    model: DensityModel | str | os.PathLike[str] | None = None,
    magnetization: bool | DensityModel | str | os.PathLike[str] = False,
) -> Estimate:
    """The density of a structure by the model of difference densities: atoms superposed, and what bonds change.

    The electron count is that of the potentials of the training set.

    Parameters
    ----------
    structure : Crystal | Density | ase.Atoms | pymatgen.core.Structure
        The structure. Of a `Density` only the structure is used.
    grid : tuple[int, int, int] | None
        Points along each lattice vector; give this or `spacing`.
    spacing : float | None
        Maximum distance between points, Å; 0.1 where neither is given.
    model : DensityModel | str | os.PathLike[str] | None
        A `DensityModel`, or the path of one; the catalog's unless given.
    magnetization : bool | DensityModel | str | os.PathLike[str]
        Whether to estimate the collinear magnetisation as well, with the catalog's model or the one given.

    Returns
    -------
    Estimate

    Raises
    ------
    DensityError
        For a `ScalarField`, and for a structure that has no density: no atoms, atoms on top of each other, partial
        occupancy.
    DensityModelError
        For an element that the model does not know; for a magnetisation, where the structure has no element whose
        spins the training set lets differ.

    Examples
    --------
    >>> estimate(chgdb.open()["mp-149"].crystal).density         # doctest: +SKIP
    """
    chosen = model if isinstance(model, DensityModel) else models.load(model)
    crystal = as_crystal(structure)
    chosen.check(crystal)
    spin = None
    if magnetization is not False:
        given = None if magnetization is True else magnetization
        spin = given if isinstance(given, DensityModel) else models.load(given, "magnetization")
        if spin.channel != "magnetization":
            raise DensityModelError(f"{spin.identifier}: a model of densities, not of magnetisations")
        spin.check(crystal)
    points = _points(crystal, grid, spacing)
    found = guess(chosen, crystal, points)
    valence = {SYMBOLS[z]: chosen.valence[z] for z in np.unique(crystal.numbers).tolist()}
    extras = {"comment": comment(crystal, chosen, found.error, valence)}
    channels, about = {"total": found.total}, None
    if spin is not None:
        channels["magnetization"], about = _magnetisation(spin, crystal, points)
    density = Density(crystal, channels, extras)
    return Estimate(density, found.error, found.limit, valence, found.remarks, chosen.identifier, about)


def _magnetisation(
    model: DensityModel, crystal: Crystal, grid: tuple[int, int, int]
) -> tuple[np.ndarray, Magnetisation]:
    """(magnetisation (nx, ny, nz) in Bohr magnetons/Å^3, what is known of it)."""
    found = guess(model, crystal, grid)
    electrons = model.electrons(crystal)  # errors are in parts of the mean density
    moment = float(found.total.mean()) * crystal.volume
    return found.total, Magnetisation(moment, found.error * electrons, found.limit * electrons, model.identifier)


def as_crystal(structure: Any) -> Crystal:
    """The crystal of whatever describes one. Raises `DensityError` for partial occupancy and the like, `TypeError` for
    what is no structure."""
    if isinstance(structure, Crystal):
        return structure
    if isinstance(structure, Density):
        check_density(structure, "give its structure (POSCAR, attribute crystal) to estimate a density for it")
        return structure.crystal
    if hasattr(structure, "get_scaled_positions"):
        from .formats.structures import from_ase

        return from_ase(structure)
    if hasattr(structure, "frac_coords") and hasattr(structure, "is_ordered"):
        return Crystal.from_pymatgen(structure)
    if isinstance(getattr(structure, "crystal", None), Crystal):  # a record of a catalog
        return structure.crystal
    kind = type(structure).__name__
    raise TypeError(f"a structure is a Crystal, ase.Atoms or a pymatgen Structure, not {kind}; read a file first")


def comment(crystal: Crystal, model: DensityModel, error: float, valence: Mapping[str, float]) -> str:
    """The first line of a file: that it is a prediction, of which model, how good, and of which electrons."""
    electrons = " ".join(f"{symbol} {count:g}" for symbol, count in valence.items())
    about = f", error about {_percent(error)}" if np.isfinite(error) else ""
    return f"{crystal.formula}: density ESTIMATED by chgdb {model.identifier}, not DFT{about}; valence {electrons}"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2g} %"


def _points(crystal: Crystal, grid: tuple[int, int, int] | None, spacing: float | None) -> tuple[int, int, int]:
    if grid is not None and spacing is not None:
        raise DensityModelError("give either a grid or a spacing")
    if grid is None:
        grid = spacing_grid(crystal.cell, SPACING if spacing is None else spacing)
    nx, ny, nz = (int(n) for n in grid)
    if min(nx, ny, nz) < 1:
        raise DensityModelError(f"{nx} x {ny} x {nz} points are no grid: give at least 1 along each axis")
    need, there = nx * ny * nz * _BYTES_A_POINT, _memory()
    if there is not None and need > there:
        raise DensityModelError(
            f"a grid of {nx} x {ny} x {nz} points needs about {need / 1e9:.1f} GB, {there / 1e9:.1f} GB are free: "
            "give a larger spacing"
        )
    return nx, ny, nz


def _memory() -> int | None:
    """Bytes that are free; None where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return None
