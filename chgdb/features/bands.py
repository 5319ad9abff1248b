"""Features of the electronic structure that a crystal's atoms imply: bands of a universal tight-binding model.

Each atom has its valence s, p and d orbitals at the levels of the free atom; orbitals of neighbours are coupled by the
two-centre integrals of J. C. Slater and G. F. Koster, Phys. Rev. 94, 1498 (1954), with the universal coefficients of W.
A. Harrison, Electronic Structure and the Properties of Solids (1980), and his laws of distance: d^-2 between s and p,
d^-7/2 to and d^-5 between d orbitals. Nothing is fitted and nothing is self-consistent. Such a band structure has the
wrong gap in detail, but knows what no average over atoms knows: how many electrons there are for how many bonding
states.

The k-points k = m / n with the same n along all three axes are the same points for every choice of a primitive cell.
"""

from __future__ import annotations

import numpy as np

from .bonds import Neighbours, hoppe_weights
from .composition import HEAVIEST, tables

_HBAR2 = 7.6199  # hbar^2 / electron mass, eV Å^2
# Coefficients by orbitals and their symmetry about the bond.
_SS, _SP, _PP, _PP_PI = -1.40, 1.84, 3.24, -0.81
_SD, _PD, _PD_PI, _DD, _DD_PI = -3.16, -2.95, 1.36, -16.2, 8.75
_TEMPERATURE = 0.3  # eV, of the occupations
_MESH = 1500.0  # Å^3: about how many k-points there are times the volume
_REACH, _SOFTNESS = 1.5, 0.07  # where couplings end, and over what width, in sums of covalent radii
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

# The d orbitals as quadratic forms u.A.u of a unit vector u, each with the largest value 1 of u.A.u for z^2 along z.
_R = np.sqrt(3) / 2
_FORMS = np.array(
    [
        [[0, _R, 0], [_R, 0, 0], [0, 0, 0]],
        [[0, 0, 0], [0, 0, _R], [0, _R, 0]],
        [[0, 0, _R], [0, 0, 0], [_R, 0, 0]],
        [[_R, 0, 0], [0, -_R, 0], [0, 0, 0]],
        [[-0.5, 0, 0], [0, -0.5, 0], [0, 0, 1.0]],
    ]
)
_SHELLS = (slice(0, 1), slice(1, 4), slice(4, 9))


def by_radius(near: Neighbours) -> np.ndarray:
    """(n,) strength of each coupling, by the distance in sums of covalent radii: bonds and close contacts."""
    return 1 / (1 + np.exp(np.minimum((near.scaled - _REACH) / _SOFTNESS, 50.0)))


def by_distance(near: Neighbours) -> np.ndarray:
    """(n,) strength of each coupling, by the distance alone: the nearest shell of both atoms. Large ions in contact
    across small ones, whose wide bands would close the gap of a salt, are then not coupled."""
    return np.minimum(hoppe_weights(near.first, near.second, near.lengths, len(near.crystal)), 1.0)


def describe(near: Neighbours, strength: np.ndarray) -> np.ndarray:
    """Features of the bands of a crystal in its primitive cell, (len(BAND_NAMES),).

    strength: (n,) of the coupling of each pair of neighbours.
    """
    crystal = near.crystal
    keep = strength > 1e-3
    atoms, volume = len(crystal), crystal.volume
    table, z = tables(), np.minimum(crystal.numbers, HEAVIEST)
    levels = np.repeat(np.stack([table[f"{shell}_level"][z] for shell in "spd"], axis=1), [1, 3, 5], axis=1)
    present = levels != 0
    place = np.repeat(np.arange(atoms), present.sum(axis=1))
    own, valence = levels[present], table["band_electrons"][z]
    electrons = float(valence.sum())
    couplings = _couplings(near, keep, table["d_radius"][z])
    couplings *= strength[keep, None, None] * (
        present[near.first[keep]][:, :, None] & present[near.second[keep]][:, None]
    )
    k, weights = _mesh(volume)
    matrix = _matrices(near, keep, couplings, k, present)
    matrix[:, np.arange(len(own)), np.arange(len(own))] += own
    energies, states = np.linalg.eigh(matrix)
    weight = np.repeat(weights, energies.shape[1])
    fermi, occupied = _occupations(energies.ravel(), weight, electrons)
    occupied = occupied.reshape(energies.shape)
    total = 2 * float(occupied.ravel() * energies.ravel() @ weight)
    held = np.einsum("koi,ki->o", np.abs(states) ** 2, 2 * occupied * weights[:, None])  # electrons by orbital
    charges = valence - np.bincount(place, held, atoms)
    promoted = float(held @ own) - float(_free(levels, present, valence).sum())
    bond = total - float(held @ own)
    by_orbital = np.zeros(present.shape)
    by_orbital[present] = held
    order = np.argsort(energies.ravel(), kind="stable")
    sorted_levels, filled = energies.ravel()[order], 2 * np.cumsum(weight[order])

    def level(count: float) -> float:
        """Energy up to which states hold so many electrons."""
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
            np.log(0.5 * float((couplings**2).sum()) / atoms + 1e-3),
            fermi - sorted_levels[0],
            sorted_levels[-1] - fermi,
            *(np.abs(charges).mean(), charges.max(), charges.min(), charges.std()),
            *(by_orbital[:, shell].sum() / max(electrons, 1e-9) for shell in _SHELLS),
            electrons / (2 * len(own)),
        ]
    )


def _couplings(near: Neighbours, keep: np.ndarray, d_radius: np.ndarray) -> np.ndarray:
    """(n, 9, 9) eV between the orbitals s, p (3), d (5) of the first and of the second atom of each pair kept."""
    length = near.lengths[keep]
    unit = near.vectors[keep] / length[:, None]
    first, second = d_radius[near.first[keep]], d_radius[near.second[keep]]
    result = np.zeros((len(length), 9, 9))
    scale = _HBAR2 / length**2
    result[:, 0, 0] = _SS * scale
    result[:, 0, 1:4] = _SP * scale[:, None] * unit
    result[:, 1:4, 0] = -result[:, 0, 1:4]
    along = unit[:, :, None] * unit[:, None, :]
    result[:, 1:4, 1:4] = scale[:, None, None] * (_PP * along + _PP_PI * (np.eye(3) - along))
    # Each d orbital has a part of full symmetry about the bond, u.A.u, and a vector across it, A.u - u (u.A.u).
    across = np.einsum("aij,nj->nai", _FORMS, unit)
    sigma = np.einsum("nai,ni->na", across, unit)
    across = across - sigma[:, :, None] * unit[:, None, :]
    for radius, to_second in ((second, True), (first, False)):
        scale = _HBAR2 * radius**1.5 / length**3.5
        sd = _SD * scale[:, None] * sigma
        pd = _PD * unit[:, :, None] * sigma[:, None, :] + _PD_PI * 2 / np.sqrt(3) * across.transpose(0, 2, 1)
        pd *= scale[:, None, None]
        if to_second:
            result[:, 0, 4:], result[:, 1:4, 4:] = sd, pd
        else:
            result[:, 4:, 0], result[:, 4:, 1:4] = sd, -pd.transpose(0, 2, 1)
    scale = _HBAR2 * (first * second) ** 1.5 / length**5
    dd = _DD * sigma[:, :, None] * sigma[:, None, :] + _DD_PI * 4 / 3 * np.einsum("nai,nbi->nab", across, across)
    result[:, 4:, 4:] = scale[:, None, None] * dd
    return result


def _mesh(volume: float) -> tuple[np.ndarray, np.ndarray]:
    """(k (m, 3) fractional, one of each pair k and -k; weights (m,) that add up to 1)."""
    n = int(np.clip(round((_MESH / volume) ** (1 / 3)), 1, 6))
    grid = np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    code = np.array([n * n, n, 1])
    mine, other = grid @ code, (-grid % n) @ code
    keep = mine <= other
    return grid[keep] / n, np.where(mine == other, 1.0, 2.0)[keep] / n**3


def _matrices(
    near: Neighbours, keep: np.ndarray, couplings: np.ndarray, k: np.ndarray, present: np.ndarray
) -> np.ndarray:
    """(m, orbitals, orbitals) Bloch matrices of the couplings; real where the only k-point is 0."""
    crystal = near.crystal
    atoms, first, second = len(crystal), near.first[keep], near.second[keep]
    inside = crystal.positions % 1.0
    images = np.rint(near.vectors[keep] @ np.linalg.inv(crystal.cell) - (inside[second] - inside[first]))
    only_zero = not k.any()
    phases = np.ones((1, len(first))) if only_zero else np.exp(2j * np.pi * k @ images.T)
    pair = first * atoms + second
    order = np.argsort(pair, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(pair[order]) > 0]) if len(pair) else np.zeros(0, int)
    result = np.zeros((len(k), atoms * atoms, 81), phases.dtype)
    flat = couplings.reshape(-1, 81)
    for rows in np.split(order, starts[1:]) if len(pair) else ():
        result[:, pair[rows[0]]] = phases[:, rows] @ flat[rows]
    result = result.reshape(len(k), atoms, atoms, 9, 9).transpose(0, 1, 3, 2, 4).reshape(len(k), 9 * atoms, 9 * atoms)
    chosen = np.flatnonzero(present.ravel())
    return result[:, chosen][:, :, chosen]


def _occupations(energies: np.ndarray, weights: np.ndarray, electrons: float) -> tuple[float, np.ndarray]:
    """(Fermi level, occupations between 0 and 1) that hold so many electrons, two to a state."""
    low, high = float(energies.min()) - 5, float(energies.max()) + 5
    for _ in range(60):
        middle = 0.5 * (low + high)
        occupied = 1 / (1 + np.exp(np.clip((energies - middle) / _TEMPERATURE, -60, 60)))
        if 2 * (occupied @ weights) < electrons:
            low = middle
        else:
            high = middle
    return middle, occupied


def _free(levels: np.ndarray, present: np.ndarray, valence: np.ndarray) -> np.ndarray:
    """(atoms,) energy of the electrons in the free atoms: two in s, then d, then p."""
    left, total = valence.astype(float), np.zeros(len(valence))
    for orbital, room in ((0, 2.0), (4, 10.0), (1, 6.0)):
        held = np.minimum(left, np.where(present[:, orbital], room, 0.0))
        total += held * levels[:, orbital]
        left = left - held
    return total


def _direct(energies: np.ndarray, electrons: float) -> np.ndarray:
    """(m,) difference of the highest occupied and the lowest empty band at each k-point; 0 with an odd electron."""
    filled = round(electrons / 2)
    if abs(electrons - 2 * filled) > _ENOUGH or not 0 < filled < energies.shape[1]:
        return np.zeros(len(energies))
    return energies[:, filled] - energies[:, filled - 1]
