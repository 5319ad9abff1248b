"""Single atoms of a crystal: the element, the neighbours and their neighbours, and the geometry.

Averages over a crystal lose which atom has which neighbours. Here each distinct atom keeps a vector of its own and its
share of the atoms. Models compare crystals atom by atom.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..density import Crystal
from . import cells
from .bonds import Neighbours, legendre, neighbours
from .composition import HEAVIEST, tables

_PROPERTIES = (
    "Electronegativity CovalentRadius NsValence NpValence NdValence NfValence NUnfilled Row Column GSvolume_pa "
    "log_bulk_modulus log_shear_modulus cohesive_energy ionization_energy electron_affinity atomic_radius ionic_radius"
).split()
_SHELLS = np.arange(0.85, 2.4, 0.2)  # distances, in sums of covalent radii
_N = len(_PROPERTIES)
#: Columns of the vectors: the element, means and deviations over its neighbours, means over theirs, geometry.
GROUPS: tuple[slice, ...] = tuple(
    slice(*ends) for ends in ((0, _N), (_N, 3 * _N), (3 * _N, 4 * _N), (4 * _N, 4 * _N + 11 + len(_SHELLS)))
)
WIDTH = GROUPS[-1].stop
#: Atoms whose vectors are equal to this number of decimals are one.
_DECIMALS = 3


@lru_cache(maxsize=1)
def _elements() -> np.ndarray:
    """Element data, (95, k), standardised over the elements; 0 where there is no datum."""
    found = np.stack([tables()[name][: HEAVIEST + 1] for name in _PROPERTIES], axis=1)
    return np.nan_to_num((found - np.nanmean(found, axis=0)) / np.nanstd(found, axis=0))


def environments(crystal: Crystal) -> tuple[np.ndarray, np.ndarray]:
    """(vectors (m, WIDTH) of the distinct atoms of a crystal, their shares (m,), whose sum is 1).

    They are the same, in any order, for every cell of the crystal. Raises `DensityError` if there are no atoms.
    """
    pairs = neighbours(cells.canonical(crystal).crystal)
    small, bonds = pairs.crystal, pairs.bonds()
    atoms, table = len(small), _elements()
    of_element = table[np.minimum(small.numbers, HEAVIEST)]
    weight = np.maximum(np.bincount(bonds.first, bonds.weights, atoms), 1e-6)

    def around(values: np.ndarray) -> np.ndarray:
        """Means of (n, k) over the bonds of each atom, with their weights, (atoms, k)."""
        sums = [np.bincount(bonds.first, bonds.weights * column, atoms) for column in values.T]
        return np.stack(sums, axis=1) / weight[:, None]

    seen = of_element[bonds.second]
    mean = around(seen)
    deviation = np.sqrt(np.maximum(around(seen**2) - mean**2, 0.0))
    length = np.log(bonds.scaled)
    shells = [np.bincount(pairs.first, np.exp(-0.5 * ((pairs.scaled - d) / 0.1) ** 2) / d**2, atoms) for d in _SHELLS]
    geometry = [
        np.log(weight)[:, None],
        around(np.stack([length, length**2, bonds.lengths], axis=1)),
        _directions(bonds),
        np.stack(shells, axis=1),
        np.full((atoms, 1), np.log(small.volume / atoms)),
    ]
    vectors = np.hstack([of_element, mean, deviation, around(mean[bonds.second]), *geometry])
    distinct, counts = np.unique(np.round(vectors, _DECIMALS) + 0.0, axis=0, return_counts=True)
    return distinct, counts / atoms


def _directions(bonds: Neighbours) -> np.ndarray:
    """(atoms, 6): Legendre averages of the cosines of angles, Steinhardt's orders 4 and 6, lack of inversion."""
    result = np.zeros((len(bonds.crystal), 6))
    for atom in range(len(result)):
        mine = bonds.first == atom
        total = bonds.weights[mine].sum()
        if not total > 0:
            continue
        w = bonds.weights[mine] / total
        unit = bonds.vectors[mine] / bonds.lengths[mine, None]
        cosine = np.clip(unit @ unit.T, -1, 1)
        p2, p4, p6 = legendre(cosine)
        between = np.outer(w, w)
        np.fill_diagonal(between, 0.0)
        between /= max(float(between.sum()), 1e-9)
        orders = [float(w @ p @ w) for p in (p4, p6)] + [float(((w @ unit) ** 2).sum())]
        averages = [float((between * p).sum()) for p in (cosine, p2, p4)]
        # The root of almost nothing would be rounding errors alone.
        result[atom] = [*averages, *np.sqrt(np.maximum(orders, 0.0) + 1e-3)]
    return result
