"""Features of the elastic response that the atoms of a crystal imply, by the model of `tightbinding`.

The energy of the model is that of its bands plus a repulsion between neighbours. Perturbation theory gives the part of
the bands to second order in a strain or in displacements of the atoms: the curvature of the couplings, and the gain
from mixing occupied and empty states. The repulsion balances each bond where the atoms are. It decays twice as fast as
the bond's own energy, as in Harrison's book. Nothing is fitted. The moduli are of the right size. They differ between
structures for electronic reasons, which no count of bonds knows.
"""

from __future__ import annotations

import numpy as np

from . import tightbinding
from .bonds import Neighbours
from .tightbinding import TEMPERATURE, Model

_POINTS = 600.0  # Å^3: about the number of k-points times the volume
_GPA = 160.21766  # of 1 eV/Å^3
_STEP = 0.01  # Å; of differences, of fourth order
_DECAY = (2.0, 6.0)  # bounds of the exponent of a bond's energy
_EMPTY = 1e-9  # occupations this near to 0 or 1 are 0 or 1
_EQUAL = 1e-4  # eV; energies this near respond as one
_SOFT = 1.0  # eV/Å^2; modes of smaller force constants yield about like one of this
_VALUES = 1 << 22  # of perturbations between states, that are in memory at once
_UNIT = 20.0  # GPa, and eV/Å^2: features are linear below it, logarithmic above

_MODULI = ("bulk", "shear", "softest", "stiffest")
#: Names of `describe`.
RESPONSE_NAMES: tuple[str, ...] = (
    *(f"{part}_{modulus}" for part in ("bands", "total", "repulsion") for modulus in _MODULI),
    *("mode_lowest", "mode_fourth", "mode_mean"),
    *(f"relaxed_{modulus}" for modulus in (*_MODULI, "reuss")),
    *("tension", "shear_tension"),
)

# An orthonormal basis of strains: five that keep the volume, and the one that changes nothing else.
_R = np.sqrt(0.5)
_STRAINS = np.array(
    [
        [[0, _R, 0], [_R, 0, 0], [0, 0, 0]],
        [[0, 0, _R], [0, 0, 0], [_R, 0, 0]],
        [[0, 0, 0], [0, 0, _R], [0, _R, 0]],
        np.diag([_R, -_R, 0]),
        np.diag([-1, -1, 2]) / np.sqrt(6),
        np.eye(3) / np.sqrt(3),
    ]
)


def describe(near: Neighbours) -> np.ndarray:
    """Features of the elastic response of a crystal in its primitive cell, (len(RESPONSE_NAMES),).

    They are inverse hyperbolic sines of moduli in units of 20 GPa (bulk; mean, softest and stiffest shear), of force
    constants in 20 eV/Å^2 and of the bands' stress. First come those of the bands alone, with the repulsion, and of the
    repulsion alone, with the atoms held. Then come those with the atoms relaxed.
    """
    bands, repulsion, tension = second_derivatives(near)
    volume, total = near.crystal.volume, bands + repulsion
    result = [value for part in (bands, total, repulsion) for value in _moduli(part[:6, :6] / volume)]
    relaxed, modes = total[:6, :6], np.zeros(4)
    if len(total) > 6:
        modes, shapes = np.linalg.eigh(total[6:, 6:])
        pulled = total[:6, 6:] @ shapes  # strains do not pull uniform shifts: modes without stiffness do no harm
        relaxed = relaxed - (pulled / np.hypot(modes, _SOFT)) @ pulled.T
    result += [modes[0], modes[3], modes.mean()]
    relaxed = relaxed / volume
    shear = np.linalg.eigvalsh(relaxed[:5, :5]) * _GPA
    result += [*_moduli(relaxed), 2.5 / np.sum(1 / np.hypot(shear, 5.0))]
    stress = tension / volume * _GPA
    return np.arcsinh(np.array([*result, stress[5], np.sqrt((stress[:5] ** 2).sum())]) / _UNIT)


def _moduli(stiffness: np.ndarray) -> list[float]:
    """`_MODULI` in GPa of a stiffness (6, 6) in eV/Å^3, in the basis `_STRAINS`."""
    shear = np.linalg.eigvalsh(stiffness[:5, :5]) * _GPA / 2
    return [stiffness[5, 5] * _GPA / 3, shear.mean(), shear[0], shear[-1]]


def second_derivatives(near: Neighbours) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(second derivatives of the bands' energy (p, p), of the repulsion's (p, p), first ones of the bands' by strain
    (6,)). They are by the six strains `_STRAINS`, which carry the atoms along, and then by each atom's x, y, z.

    Units are eV, eV/Å and eV/Å^2. p is 6 + 3 atoms; for a single atom it is 6, the strains alone.
    """
    model = Model.of(near, tightbinding.by_radius(near), _POINTS)
    near = model.near
    atoms = len(near.crystal)
    slope, held, curvature = _pairs(model)
    changes = np.einsum("sij,nj->sni", _STRAINS, near.vectors)
    n_strains = len(changes)
    if atoms > 1:
        moved = (near.second == np.arange(atoms)[:, None]).astype(float) - (near.first == np.arange(atoms)[:, None])
        changes = np.concatenate([changes, (moved[:, None, :, None] * np.eye(3)[:, None]).reshape(3 * atoms, -1, 3)])
    pull = np.einsum("nia,na->ni", slope, held)  # derivative by the vector of each pair, eV/Å
    bands = _contract(changes, curvature) + _mixing(model, slope, len(changes) > n_strains)
    # The slope of the repulsion r (d0 / d)^m of a pair cancels that of the bands along the pair.
    unit = near.vectors / near.lengths[:, None]
    radial = (pull * unit).sum(axis=1) * near.lengths
    energy = np.einsum("nab,nab->n", model.couplings, held.reshape(-1, 9, 9))
    exponent = 2 * np.clip(radial / np.maximum(-energy, 1e-6), *_DECAY)
    along = unit[:, :, None] * unit[:, None, :]
    stiffness = (exponent + 1)[:, None, None] * along - (np.eye(3) - along)
    stiffness *= (radial / near.lengths**2)[:, None, None]
    return bands, _contract(changes, stiffness), np.einsum("sni,ni->s", changes[:n_strains], pull)


def _contract(changes: np.ndarray, curvature: np.ndarray) -> np.ndarray:
    """Sums over pairs of the changes (p, n, 3) of their vectors with curvatures (n, 3, 3), (p, p)."""
    flat = changes.reshape(len(changes), -1)
    return flat @ np.einsum("nij,pnj->pni", curvature, changes).reshape(len(changes), -1).T


def _pairs(model: Model) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(derivatives (n, 3, 81) of the couplings by the vector of each pair, eV/Å; density matrix (n, 81) of each pair;
    second derivatives (n, 3, 3) of the energy in its bond at that density matrix, eV/Å^2)."""
    near = model.near
    mask = (model.present[near.first][:, :, None] & model.present[near.second][:, None]).reshape(-1, 81)

    def at(shift: np.ndarray) -> np.ndarray:
        moved = near.moved(shift)
        return tightbinding.couplings(moved).reshape(-1, 81) * tightbinding.by_radius(moved)[:, None] * mask

    held = _density_matrix(model)
    here = (model.couplings.reshape(-1, 81) * held).sum(axis=1)
    slope, curvature = np.empty((len(held), 3, 81)), np.empty((len(held), 3, 3))
    for i in range(3):
        for j in range(i, 3):
            direction = np.zeros(3)
            direction[[i, j]] = 1.0 if i == j else _R
            far, back, ahead, farther = (at(s * _STEP * direction) for s in (-2, -1, 1, 2))
            if i == j:
                slope[:, i] = (far - farther + 8 * (ahead - back)) / (12 * _STEP)
            second = 16 * (ahead + back) - far - farther
            curvature[:, i, j] = ((second * held).sum(axis=1) - 30 * here) / (12 * _STEP**2)
    for i, j in ((0, 1), (0, 2), (1, 2)):  # along the diagonal it is half of both plus the mixed one
        curvature[:, i, j] -= 0.5 * (curvature[:, i, i] + curvature[:, j, j])
        curvature[:, j, i] = curvature[:, i, j]
    return slope, held, curvature


def _density_matrix(model: Model) -> np.ndarray:
    """Electrons in each product of an orbital of the first and one of the second atom of each pair, (n, 81).

    The product with the couplings is the energy of the bond, counted from each side.
    """
    near, atoms = model.near, len(model.present)
    phases = np.exp(2j * np.pi * model.k @ near.images.T)
    result = np.zeros((len(near.first), 9, 9))
    for phase, weight, states, occupied in zip(phases, model.weights, model.states, model.occupied, strict=True):
        full = np.zeros((9 * atoms, states.shape[1]), states.dtype)
        full[model.present.ravel()] = states
        matrix = ((full.conj() * (2 * weight * occupied)) @ full.T).reshape(atoms, 9, atoms, 9)
        result += (phase[:, None, None] * matrix[near.first, :, near.second]).real
    return result.reshape(-1, 81)


def _mixing(model: Model, slope: np.ndarray, moves: bool) -> np.ndarray:
    """The gain of second-order perturbation theory at a fixed number of electrons, (p, p); <= 0."""
    near, present = model.near, model.present
    atoms, real = len(present), not model.k.any()
    strained = [np.einsum("ni,nia->na", near.vectors @ strain, slope) for strain in _STRAINS]
    by_strain = [tightbinding.matrices(near, change, model.k, present) for change in strained]
    by_axis = [tightbinding.matrices(near, slope[:, i], model.k, present) for i in range(3)] if moves else []
    owner = np.repeat(np.arange(atoms), present.sum(axis=1))
    blocks = [slice(*np.searchsorted(owner, (a, a + 1))) for a in range(atoms)]
    p = len(by_strain) + len(by_axis) * atoms
    result, drift, states_at_fermi = np.zeros((p, p)), np.zeros(p), 0.0
    for k, weight in enumerate(model.weights):
        energy, occupied, states = model.energies[k], model.occupied[k], model.states[k]
        slopes = -2 * occupied * (1 - occupied) / TEMPERATURE
        # Only pairs of a state that is not empty and a state that is not full respond.
        filled, first = int((occupied > _EMPTY).sum()), int((occupied >= 1 - _EMPTY).sum())
        columns = np.arange(first, len(energy))
        right = states[:, columns]
        applied = [change[k] @ right for change in by_strain], [change[k] @ states for change in by_axis]
        width = max(1, _VALUES // (p * max(1, len(columns))))
        for start in range(0, filled, width):  # some rows at a time, to bound the memory
            rows = np.arange(start, min(start + width, filled))
            left = states[:, rows]
            matrix = np.empty((p, len(rows), len(columns)), float if real else complex)
            for s, change in enumerate(applied[0]):
                matrix[s] = left.conj().T @ change
            for i, change in enumerate(applied[1]):
                # Moving an atom changes its row and its column of the matrix, which are adjoint to each other.
                for a, block in enumerate(blocks):
                    one = left[block].conj().T @ change[block][:, columns]
                    other = change[block][:, rows].conj().T @ right[block]
                    matrix[len(by_strain) + 3 * a + i] = -(one + other)
            gap = energy[rows, None] - energy[None, columns]
            equal = np.abs(gap) < _EQUAL
            difference = 2 * (occupied[rows, None] - occupied[None, columns])
            derivative = 0.5 * (slopes[rows, None] + slopes[None, columns])
            answer = np.where(equal, derivative, difference / np.where(equal, 1.0, gap))
            answer *= np.sign(columns[None, :] - rows[:, None]) + 1  # each pair once, for both orders
            flat = matrix.reshape(p, -1)
            result += weight * ((flat * answer.ravel()) @ flat.conj().T).real
            both = rows[rows >= first]  # partly occupied states
            drift += weight * matrix[:, both - start, both - first].real @ slopes[both]
            states_at_fermi += weight * float(slopes[both].sum())
    if states_at_fermi < -1e-6:  # the Fermi level follows
        result -= np.outer(drift, drift) / states_at_fermi
    return result
