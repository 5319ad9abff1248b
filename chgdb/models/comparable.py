"""Which predicted energies do not compare: those of one crystal at several volumes.

Property models are trained on crystals at rest. No stretched or compressed cell is among them, and the energies that
they say have no minimum in volume.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import symmetry
from ..crystal import Crystal
from ..features.bonds import neighbours
from ..features.cells import SYMPREC, canonical
from ..formulas import common_formula

#: By how much volumes of one crystal have to differ, relative: energies move by 0.1 eV/atom for some per cent.
_APART = 0.003
#: Distances between atoms at which crystals are compared, of a volume of `_VOLUME` Å^3 per atom, and their width, Å.
_SHELLS, _WIDTH, _VOLUME = np.arange(1.0, 4.6, 0.2), 0.2, 10.0
#: Share of the pairs that may differ in two crystals of one kind.
_ALIKE = 0.1


def at_other_volumes(crystals: Sequence[Crystal]) -> list[list[int]]:
    """Groups of the same crystal at several volumes.

    The same are crystals of one formula and space group with as many atoms in their primitive cells and, brought to the
    same volume, as many pairs of atoms at each distance. So polymorphs, whose energies do compare, are others.

    Parameters
    ----------
    crystals : sequence of Crystal

    Returns
    -------
    list of list of int
        Positions of the crystals of each group, in ascending order of their volumes.
    """
    of_formula: dict[str, list[int]] = {}
    for position, crystal in enumerate(crystals):
        if len(crystal) and not crystal.missing:
            of_formula.setdefault(crystal.formula, []).append(position)
    groups = [group for members in of_formula.values() if len(members) > 1 for group in _kinds(crystals, members)]
    result = []
    for group in groups:
        volumes = sorted((crystals[position].volume / len(crystals[position]), position) for position in group)
        if volumes[-1][0] > (1 + _APART) * volumes[0][0]:
            result.append([position for _, position in volumes])
    return result


def other_volumes(crystals: Sequence[Crystal], group: Sequence[int]) -> dict[int, list[int]]:
    """For each crystal of a group those at another volume: a supercell, or the same file again, does compare.

    Parameters
    ----------
    crystals : sequence of Crystal
    group : sequence of int
        One of `at_other_volumes`.

    Returns
    -------
    dict of int to list of int
        Position -> positions, in the order of the group.
    """
    volumes = {i: crystals[i].volume / len(crystals[i]) for i in group}
    return {
        i: [k for k in group if max(volumes[i], volumes[k]) > (1 + _APART) * min(volumes[i], volumes[k])] for i in group
    }


def _kinds(crystals: Sequence[Crystal], members: Sequence[int]) -> list[list[int]]:
    """Positions of crystals of one formula, those of each kind together."""
    kinds: list[tuple[tuple[int, int], np.ndarray, list[int]]] = []
    for position in members:
        small = canonical(crystals[position]).crystal
        key, pairs = (len(small), symmetry.number(small, SYMPREC)), _pairs(small)
        for known, other, group in kinds:
            if known == key and np.abs(pairs - other).sum() < _ALIKE * other.sum():
                group.append(position)
                break
        else:
            kinds.append((key, pairs, [position]))
    return [group for _, _, group in kinds]


def _pairs(crystal: Crystal) -> np.ndarray:
    """How many atoms an atom has around it at each of `_SHELLS`, in the crystal at `_VOLUME`."""
    factor = (_VOLUME * len(crystal) / crystal.volume) ** (1 / 3)
    lengths = neighbours(Crystal(factor * crystal.cell, crystal.positions, crystal.numbers)).lengths
    near = np.exp(-0.5 * ((lengths[:, None] - _SHELLS) / _WIDTH) ** 2)
    return near.sum(axis=0) / len(crystal)


def remark(names: Sequence[str], crystals: Sequence[Crystal]) -> str:
    """What is said of a group of `at_other_volumes`, in one line.

    Parameters
    ----------
    names : sequence of str
        What the crystals are called, in ascending order of their volumes.
    crystals : sequence of Crystal

    Returns
    -------
    str
    """
    volumes = np.array([crystal.volume / len(crystal) for crystal in crystals])
    some = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return (
        f"{some}: {common_formula(crystals[0].formula)} at {volumes[0]:.4g} to {volumes[-1]:.4g} Å^3 per atom: their "
        "energies and moduli do not compare, no stretched or compressed cell was learned"
    )
