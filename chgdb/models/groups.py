"""Groups of crystals that intervals are calibrated for: chemistry, crystal system, size.

A user who works on oxides is not helped by intervals that hold 90 % of all materials and 75 % of oxides. A crystal is
in one group of each kind, and in those of magnetic elements besides; membership follows from the structure alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import symmetry
from ..density import Crystal
from ..elements import SYMBOLS

_ANIONS = {
    "oxide": "O",
    "halide": "F Cl Br I",
    "chalcogenide": "S Se Te",
    "pnictide": "N P As Sb Bi",
}
_METALLOIDS = "H B C Si Ge"
CHEMISTRY = (*_ANIONS, "intermetallic", "other chemistry")
SYSTEMS = ("triclinic", "monoclinic", "orthorhombic", "tetragonal", "trigonal", "hexagonal", "cubic")
_FIRST = (3, 16, 75, 143, 168, 195)  # space group that each system but the first begins with
SIZES = ("1 or 2 atoms", "3 or 4 atoms", "5 to 8 atoms", "9 atoms and more")
_LARGEST = (2, 4, 8)
_ELEMENTS = {"Cr to Ni": "Cr Mn Fe Co Ni", "lanthanide": "La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu"}
#: Names of all groups, in the order of the columns of `memberships`.
NAMES: tuple[str, ...] = (*CHEMISTRY, *SYSTEMS, *SIZES, *_ELEMENTS)


def chemistry(symbols: set[str]) -> str:
    """The place in `CHEMISTRY`, by the first kind of anion that there is; intermetallic without any, nor a metalloid.

    >>> chemistry({"Na", "Cl"}), chemistry({"Ti", "Co"}), chemistry({"Si", "C"})
    ('halide', 'intermetallic', 'other chemistry')
    """
    for name, anions in _ANIONS.items():
        if symbols & set(anions.split()):
            return name
    return "other chemistry" if symbols & set(_METALLOIDS.split()) else "intermetallic"


def memberships(crystals: Sequence[Crystal], space_groups: Sequence[int] | None = None) -> np.ndarray:
    """(n, len(NAMES)) bool. space_groups: numbers where they are known; found anew where one is 0, or none is given."""
    result = np.zeros((len(crystals), len(NAMES)), bool)
    known = [0] * len(crystals) if space_groups is None else [int(number) for number in space_groups]
    for row, crystal, number in zip(result, crystals, known, strict=True):
        symbols = {SYMBOLS[z] for z in set(crystal.numbers.tolist())}
        found = names_of(symbols, number or symmetry.number(crystal), len(crystal))
        row[[NAMES.index(name) for name in found]] = True
    return result


def names_of(symbols: set[str], space_group: int, atoms: int) -> list[str]:
    """Groups of a crystal of these elements, space-group number and number of atoms in the cell."""
    return [
        chemistry(symbols),
        SYSTEMS[int(np.searchsorted(_FIRST, space_group, "right"))],
        SIZES[int(np.searchsorted(_LARGEST, atoms))],
        *(name for name, elements in _ELEMENTS.items() if symbols & set(elements.split())),
    ]
