"""Crystal: a periodic structure.

Lengths in Å; rows of `cell` are lattice vectors; positions are fractional.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .elements import SYMBOLS, atomic_number, reduced_formula
from .errors import DensityError, require

if TYPE_CHECKING:
    import ase
    import pymatgen.core

#: Atoms closer than this are at the same place, Å; a relaxation moves them by less.
CLOSE = 0.1
_BE = ("is", "are")


@dataclass(frozen=True, eq=False)
class Crystal:
    """A periodic structure.

    Attributes
    ----------
    cell : np.ndarray
        (3, 3) float64, rows are lattice vectors in Å.
    positions : np.ndarray
        (n, 3) float64, fractional, as given (not wrapped).
    numbers : np.ndarray
        (n,) int64, atomic numbers, in the file's order.

    Raises
    ------
    DensityError
        If shapes disagree, a number is not finite, an element is unknown or the volume is zero.

    Examples
    --------
    >>> Crystal(np.eye(3) * 4.0, [[0, 0, 0]], [14]).formula
    'Si'
    """

    cell: np.ndarray
    positions: np.ndarray
    numbers: np.ndarray

    def __post_init__(self) -> None:
        cell = _frozen(self.cell, float, "cell")
        positions = _frozen(self.positions, float, "positions")
        if positions.size == 0:
            positions = _frozen(np.zeros((0, 3)), float, "positions")
        numbers = _frozen(self.numbers, np.int64, "numbers")
        if cell.shape != (3, 3):
            raise DensityError(f"cell has the shape {cell.shape}, expected (3, 3)")
        if positions.ndim != 2 or positions.shape[1] != 3 or numbers.shape != positions.shape[:1]:
            raise DensityError(f"{numbers.size} atomic numbers do not go with positions of the shape {positions.shape}")
        if numbers.size and (numbers.min() < 0 or numbers.max() >= len(SYMBOLS)):
            raise DensityError(f"atomic numbers must lie between 0 and {len(SYMBOLS) - 1}")
        with np.errstate(all="ignore"):
            volume = abs(float(np.linalg.det(cell)))
        if not volume > 1e-6:
            raise DensityError(f"the cell has the volume {volume:.3g} Å^3: its lattice vectors are not independent")
        if volume > 1e15:
            raise DensityError(f"the cell has the volume {volume:.3g} Å^3, too large: check its units")
        for name, value in (("cell", cell), ("positions", positions), ("numbers", numbers)):
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        lengths = " x ".join(f"{length:.3f}" for length in np.linalg.norm(self.cell, axis=1))
        atoms = f"{len(self)} atom" + "s" * (len(self) != 1)
        return f"<chgdb.Crystal {self.formula}: {atoms}, lattice vectors of {lengths} Å>"

    def __len__(self) -> int:
        return int(self.numbers.size)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Crystal):
            return NotImplemented
        return (
            np.array_equal(self.cell, other.cell)
            and np.array_equal(self.positions, other.positions)
            and np.array_equal(self.numbers, other.numbers)
        )

    @property
    def volume(self) -> float:
        """Cell volume in Å^3."""
        return abs(float(np.linalg.det(self.cell)))

    @property
    def symbols(self) -> list[str]:
        """Chemical symbol of each atom."""
        return [SYMBOLS[number] for number in self.numbers]

    @property
    def formula(self) -> str:
        """Reduced formula, e.g. 'LiCoO2'."""
        return reduced_formula(self.numbers)

    @property
    def missing(self) -> str:
        """The fault of a structure, as a phrase for messages (no atoms, or some of no element); "" for nothing."""
        ghosts = int((self.numbers == 0).sum())
        if not len(self):
            return "it holds no atoms"
        if not ghosts:
            return ""
        which = (
            "all of its atoms are" if ghosts == len(self) else f"{ghosts} of its {len(self)} atoms {_BE[ghosts > 1]}"
        )
        return f"{which} of no element (X, atomic number 0, as ghost atoms and empty spheres are)"

    def to_ase(self) -> ase.Atoms:
        """The structure as `ase.Atoms`, periodic in all directions.

        Returns
        -------
        ase.Atoms
        """
        atoms = require("ase", "interop", "Crystal.to_ase")
        return atoms.Atoms(numbers=self.numbers, scaled_positions=self.positions, cell=self.cell, pbc=True)

    def to_pymatgen(self) -> pymatgen.core.Structure:
        """The structure as `pymatgen.core.Structure`.

        Returns
        -------
        pymatgen.core.Structure
        """
        core = require("pymatgen.core", "interop", "Crystal.to_pymatgen")
        return core.Structure(self.cell, self.symbols, self.positions)

    @classmethod
    def from_ase(cls, atoms: ase.Atoms) -> Crystal:
        """The crystal of `ase.Atoms` with three lattice vectors.

        Parameters
        ----------
        atoms : ase.Atoms
            Atoms with a cell of three independent vectors.

        Returns
        -------
        Crystal
        """
        return cls(np.array(atoms.cell), atoms.get_scaled_positions(wrap=False), atoms.numbers)

    @classmethod
    def from_pymatgen(cls, structure: pymatgen.core.IStructure) -> Crystal:
        """The crystal of an ordered `pymatgen.core.Structure`.

        Parameters
        ----------
        structure : pymatgen.core.IStructure
            A structure whose sites are fully occupied.

        Returns
        -------
        Crystal

        Raises
        ------
        DensityError
            If a site is partially occupied.
        """
        if not structure.is_ordered:
            raise DensityError(f"{structure.formula}: partially occupied sites have no density; order them first")
        numbers = [atomic_number(getattr(site.specie, "symbol", None) or str(site.specie)) for site in structure]
        return cls(np.array(structure.lattice.matrix), np.array(structure.frac_coords), np.array(numbers))


def _frozen(values: Any, dtype: type, name: str) -> np.ndarray:
    """A read-only copy, so that a value shared between objects cannot change under one of them."""
    try:
        array: np.ndarray = np.array(values, dtype=dtype)
    except (TypeError, ValueError) as error:
        raise DensityError(f"{name}: {error}") from None
    if not np.isfinite(array).all():
        raise DensityError(f"{name} holds a number that is not finite")
    array.flags.writeable = False
    return array


def check_cells(a: Crystal, b: Crystal, strain: float, purpose: str) -> None:
    """Raise `DensityError` where two cells differ by more than a strain; a rotation is no difference.

    strain: of the metric tensors, relative to the lengths of `a`. purpose: what needs one cell, to end a sentence.
    """
    first, second = (crystal.cell @ crystal.cell.T for crystal in (a, b))
    scale = np.sqrt(np.outer(np.diag(first), np.diag(first)))
    if np.abs((second - first) / scale).max() > strain:
        lengths = [", ".join(f"{x:.4f}" for x in np.linalg.norm(crystal.cell, axis=1)) for crystal in (a, b)]
        raise DensityError(
            f"{a.formula} and {b.formula} have different lattice vectors (lengths {lengths[0]} and {lengths[1]} Å): "
            f"only densities of the same cell can be {purpose}"
        )


def joined(crystal: Crystal, other: Crystal) -> Crystal:
    """The crystal with the atoms of another one that are at other places."""
    if other == crystal or not len(other):
        return crystal
    apart = (other.positions[:, None] - crystal.positions[None] + 0.5) % 1.0 - 0.5
    near = np.linalg.norm(apart @ crystal.cell, axis=-1) < CLOSE
    new = ~(near & (other.numbers[:, None] == crystal.numbers[None])).any(axis=1)
    if not new.any():
        return crystal
    positions = np.vstack([crystal.positions, other.positions[new]])
    return Crystal(crystal.cell, positions, np.concatenate([crystal.numbers, other.numbers[new]]))
