"""Features of the electronic structure that the atoms of a crystal imply, by the model of `tightbinding`.

The gap of such a band structure is not right in detail. But it knows what no average over atoms knows: how many
electrons there are for how many bonding states.
"""

from __future__ import annotations

import numpy as np

from .bonds import Neighbours
from .tightbinding import SHELLS, Model

_POINTS = 1500.0  # Å^3: about the number of k-points times the volume
_ENOUGH = 1e-6  # electrons
_WINDOWS = (0.05, 0.2, 0.5, 1.0)  # electrons per atom
_WIDTHS = (0.25, 0.6, 1.5)  # eV

#: Names of `describe`.
BAND_NAMES: tuple[str, ...] = (
    *("gap", "direct_gap", "mean_direct_gap"),
    *(f"window_{electrons}" for electrons in _WINDOWS),
    *(f"log_states_{width}" for width in _WIDTHS),
    *("bond_per_atom", "log_bond_per_volume", "promotion_per_atom", "cohesion_per_atom", "cohesion_per_electron"),
    *("fermi_level", "highest_occupied", "lowest_empty", "log_coupling_per_atom", "depth", "height"),
    *("charge_mean", "charge_max", "charge_min", "charge_deviation"),
    *("s_share", "p_share", "d_share", "filling"),
)


def describe(near: Neighbours, strength: np.ndarray) -> np.ndarray:
    """Features of the bands of a crystal in its primitive cell, (len(BAND_NAMES),).

    strength: (n,) of the coupling of each pair of neighbours.
    """
    model = Model.of(near, strength, _POINTS)
    atoms, volume = len(near.crystal), near.crystal.volume
    levels, present, valence = model.levels, model.present, model.valence
    energies, weights, fermi, occupied = model.energies, model.weights, model.fermi, model.occupied
    place = np.repeat(np.arange(atoms), present.sum(axis=1))
    own, electrons = levels[present], float(valence.sum())
    weight = np.repeat(weights, energies.shape[1])
    total = 2 * float(occupied.ravel() * energies.ravel() @ weight)
    held = np.einsum("koi,ki->o", np.abs(model.states) ** 2, 2 * occupied * weights[:, None])  # electrons by orbital
    charges = valence - np.bincount(place, held, atoms)
    promoted = float(held @ own) - float(_free(levels, present, valence).sum())
    bond = total - float(held @ own)
    by_orbital = np.zeros(present.shape)
    by_orbital[present] = held
    order = np.argsort(energies.ravel(), kind="stable")
    sorted_levels, filled = energies.ravel()[order], 2 * np.cumsum(weight[order])

    def level(count: float) -> float:
        """The energy up to which the states hold `count` electrons."""
        return float(sorted_levels[min(int(np.searchsorted(filled, count - _ENOUGH)), len(order) - 1)])

    highest = level(electrons)
    above = int(np.searchsorted(filled, electrons - _ENOUGH)) + 1
    whole = above < len(order) and abs(filled[above - 1] - electrons) < _ENOUGH
    lowest = float(sorted_levels[above]) if whole else highest
    direct = _direct(energies, electrons)
    windows = [level(electrons + w * atoms) - level(max(electrons - w * atoms, 0.0)) for w in _WINDOWS]
    states_at = [
        float(np.exp(-0.5 * ((energies.ravel() - fermi) / s) ** 2) @ weight) / (s * np.sqrt(2 * np.pi) * atoms)
        for s in _WIDTHS
    ]
    return np.array(
        [
            *np.arcsinh([lowest - highest, direct.min(), float(direct @ weights)]),
            *np.arcsinh(windows),
            *np.log(np.array(states_at) + 1e-3),
            bond / atoms,
            np.log(max(-bond, 1e-3) / volume),
            promoted / atoms,
            (bond + promoted) / atoms,
            (bond + promoted) / max(electrons, 1.0),
            *(fermi, highest, lowest),
            np.log(0.5 * float((model.couplings**2).sum()) / atoms + 1e-3),
            fermi - sorted_levels[0],
            sorted_levels[-1] - fermi,
            *(np.abs(charges).mean(), charges.max(), charges.min(), charges.std()),
            *(by_orbital[:, shell].sum() / max(electrons, 1e-9) for shell in SHELLS),
            electrons / (2 * len(own)),
        ]
    )


def _free(levels: np.ndarray, present: np.ndarray, valence: np.ndarray) -> np.ndarray:
    """Energy of the electrons in the free atoms, (atoms,): two in s, then d, then p."""
    left, total = valence.astype(float), np.zeros(len(valence))
    for orbital, room in ((0, 2.0), (4, 10.0), (1, 6.0)):
        held = np.minimum(left, np.where(present[:, orbital], room, 0.0))
        total += held * levels[:, orbital]
        left = left - held
    return total


def _direct(energies: np.ndarray, electrons: float) -> np.ndarray:
    """Highest occupied to lowest empty band at each k-point, (m,) eV; 0 for an odd number of electrons."""
    filled = round(electrons / 2)
    if abs(electrons - 2 * filled) > _ENOUGH or not 0 < filled < energies.shape[1]:
        return np.zeros(len(energies))
    return energies[:, filled] - energies[:, filled - 1]
