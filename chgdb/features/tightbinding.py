"""A universal tight-binding model of a crystal's valence electrons.

Each atom has its valence s, p and d orbitals at the levels of the free atom. Orbitals of neighbours are coupled by the
two-centre integrals of J. C. Slater and G. F. Koster, Phys. Rev. 94, 1498 (1954), with the universal coefficients of W.
A. Harrison, Electronic Structure and the Properties of Solids (1980). The couplings fall off with distance as
Harrison's do: d^-2 between s and p orbitals, d^-7/2 between these and d orbitals, d^-5 between d orbitals. Nothing is
fitted, and nothing is self-consistent. `bands` describes the electronic structure, `response` the elasticity of the
model.

The k-points k = m / n, with the same n along all three axes, are the same points for every choice of a primitive cell.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..density import Crystal
from .bonds import Neighbours, hoppe_weights
from .composition import HEAVIEST, tables

_HBAR2 = 7.6199  # hbar^2 / electron mass, eV Å^2
# Coefficients by orbitals and their symmetry about the bond.
_SS, _SP, _PP, _PP_PI = -1.40, 1.84, 3.24, -0.81
_SD, _PD, _PD_PI, _DD, _DD_PI = -3.16, -2.95, 1.36, -16.2, 8.75
#: Width of the occupations, eV.
TEMPERATURE = 0.3
_REACH, _SOFTNESS = 1.5, 0.07  # where couplings end, and the width of that end, in sums of covalent radii
_FEWEST = 1e-3  # weaker couplings do not count

# The d orbitals as quadratic forms u.A.u of a unit vector u. For z^2 along z, u.A.u has its largest value, 1.
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
#: Orbitals s, p and d of an atom.
SHELLS = (slice(0, 1), slice(1, 4), slice(4, 9))


def by_radius(near: Neighbours) -> np.ndarray:
    """Strength of each coupling by the distance in sums of covalent radii, (n,): bonds and close contacts."""
    return 1 / (1 + np.exp(np.minimum((near.scaled - _REACH) / _SOFTNESS, 50.0)))


def by_distance(near: Neighbours) -> np.ndarray:
    """Strength of each coupling by the distance alone, (n,): the nearest shell of both atoms.

    It does not couple large ions in contact across small ones, whose wide bands would close the gap of a salt.
    """
    return np.minimum(hoppe_weights(near.first, near.second, near.lengths, len(near.crystal)), 1.0)


@dataclass(frozen=True, eq=False)
class Model:
    """The model of a crystal in its primitive cell, solved.

    near: the coupled pairs. strength: (n,) of each coupling.
    present: (atoms, 9) bool, the orbitals s, p (3), d (5) that an atom has; o is their number in all atoms.
    levels: (atoms, 9) eV, of the free atoms. valence: (atoms,) electrons. couplings: (n, 9, 9) eV, 0 where an orbital
    is absent. k: (m, 3) fractional, one of each pair k and -k. weights: (m,), with a sum of 1.
    energies: (m, o) eV, ascending. states: (m, o, o), in columns. fermi: eV. occupied: (m, o), 0 to 1.
    """

    near: Neighbours
    strength: np.ndarray
    present: np.ndarray
    levels: np.ndarray
    valence: np.ndarray
    couplings: np.ndarray
    k: np.ndarray
    weights: np.ndarray
    energies: np.ndarray
    states: np.ndarray
    fermi: float
    occupied: np.ndarray

    @classmethod
    def of(cls, near: Neighbours, strength: np.ndarray, points: float) -> Model:
        """Solve the model of a crystal.

        strength: (n,) of the coupling of each pair of neighbours. points: about the number of k-points times the
        volume, Å^3.
        """
        keep = strength > _FEWEST
        near, strength = near.take(keep), strength[keep]
        table, z = tables(), light(near.crystal)
        levels = np.repeat(np.stack([table[f"{shell}_level"][z] for shell in "spd"], axis=1), [1, 3, 5], axis=1)
        present, valence = levels != 0, table["band_electrons"][z]
        strong = couplings(near) * strength[:, None, None]
        strong *= present[near.first][:, :, None] & present[near.second][:, None]
        k, weights = mesh(near.crystal.volume, points)
        matrix = matrices(near, strong, k, present)
        own = np.arange(matrix.shape[1])
        matrix[:, own, own] += levels[present]
        energies, states = np.linalg.eigh(matrix)
        fermi, occupied = occupations(energies.ravel(), np.repeat(weights, len(own)), float(valence.sum()))
        occupied = occupied.reshape(energies.shape)
        return cls(near, strength, present, levels, valence, strong, k, weights, energies, states, fermi, occupied)


def light(crystal: Crystal) -> np.ndarray:
    """Atomic numbers, (atoms,). Elements that no table has become the last one that the tables have."""
    return np.minimum(crystal.numbers, HEAVIEST)


def couplings(near: Neighbours) -> np.ndarray:
    """Couplings between the orbitals s, p (3), d (5) of the first and the second atom of each pair, (n, 9, 9) eV."""
    length = near.lengths
    unit = near.vectors / length[:, None]
    d_radius = tables()["d_radius"][light(near.crystal)]
    first, second = d_radius[near.first], d_radius[near.second]
    result = np.zeros((len(length), 9, 9))
    scale = _HBAR2 / length**2
    result[:, 0, 0] = _SS * scale
    result[:, 0, 1:4] = _SP * scale[:, None] * unit
    result[:, 1:4, 0] = -result[:, 0, 1:4]
    along = unit[:, :, None] * unit[:, None, :]
    result[:, 1:4, 1:4] = scale[:, None, None] * (_PP * along + _PP_PI * (np.eye(3) - along))
    # A d orbital has a part of full symmetry about the bond, u.A.u, and a vector across it, A.u - u (u.A.u).
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


def mesh(volume: float, points: float) -> tuple[np.ndarray, np.ndarray]:
    """(k (m, 3) fractional, one of each pair k and -k; weights (m,) with a sum of 1).

    points: about the number of k-points times the volume, where both of each pair count.
    """
    n = int(np.clip(round((points / volume) ** (1 / 3)), 1, 6))
    grid = np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    code = np.array([n * n, n, 1])
    mine, other = grid @ code, (-grid % n) @ code
    keep = mine <= other
    return grid[keep] / n, np.where(mine == other, 1.0, 2.0)[keep] / n**3


def matrices(near: Neighbours, couplings: np.ndarray, k: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Bloch matrices of the couplings, (m, orbitals, orbitals); real where the only k-point is 0."""
    atoms, first, second = len(near.crystal), near.first, near.second
    only_zero = not k.any()
    phases = np.ones((1, len(first))) if only_zero else np.exp(2j * np.pi * k @ near.images.T)
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


def occupations(energies: np.ndarray, weights: np.ndarray, electrons: float) -> tuple[float, np.ndarray]:
    """(Fermi level, occupations between 0 and 1) for `electrons` electrons, two to a state."""
    low, high = float(energies.min()) - 5, float(energies.max()) + 5
    for _ in range(60):
        middle = 0.5 * (low + high)
        occupied = 1 / (1 + np.exp(np.clip((energies - middle) / TEMPERATURE, -60, 60)))
        if 2 * (occupied @ weights) < electrons:
            low = middle
        else:
            high = middle
    return middle, occupied
