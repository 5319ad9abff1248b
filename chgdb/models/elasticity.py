"""Relations between elastic moduli, and from moduli to the Debye temperature."""

from __future__ import annotations

import numpy as np

from .. import derived
from ..derived import sound_velocities

#: g/cm^3 of one atomic mass unit per Å^3.
DALTON_PER_CUBIC_ANGSTROM = 1.66053906892


def youngs_modulus(bulk: np.ndarray, shear: np.ndarray) -> np.ndarray:
    """E = 9KG / (3K + G), all in GPa."""
    return 9 * bulk * shear / (3 * bulk + shear)


def debye_temperature(
    bulk: np.ndarray, shear: np.ndarray, mass_density: np.ndarray, atoms_per_volume: np.ndarray
) -> np.ndarray:
    """Debye temperature in K from the sound velocities of an isotropic solid.

    bulk, shear: GPa. mass_density: g/cm^3. atoms_per_volume: 1/Å^3. After O. L. Anderson, J. Phys. Chem. Solids 24,
    909 (1963):

        theta = h/k (3n / 4 pi)^(1/3) v,   3/v^3 = 2/v_t^3 + 1/v_l^3,   v_t^2 = G/rho,   v_l^2 = (K + 4G/3)/rho
    """
    velocity = sound_velocities(bulk, shear, 1000 * mass_density)[2]
    return derived.debye_temperature(velocity, 1 / atoms_per_volume)


def reconcile(
    log_moduli: tuple[np.ndarray, np.ndarray, np.ndarray], stds: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Moduli that fulfil E = 9KG / (3K + G) and lie nearest to three separate predictions.

    log_moduli: natural logarithms of K, G and E, each (n,). stds: of these logarithms. Returns the logarithms of K, G
    and E that minimise the sum of squared deviations, each divided by its std, by three Gauss-Newton steps.
    """
    k, g, e = (np.array(values, float) for values in log_moduli)
    weight_k, weight_g, weight_e = (1 / np.maximum(std, 1e-9) ** 2 for std in stds)
    bulk, shear = k.copy(), g.copy()
    for _ in range(3):
        share = 1 / (1 + 3 * np.exp(bulk - shear))  # d ln E / d ln K = G / (3K + G); with respect to G the rest
        rest = 1 - share
        residual_e = e - _log_youngs(bulk, shear)
        a = weight_k + weight_e * share**2
        b = weight_e * share * rest
        c = weight_g + weight_e * rest**2
        right_k = weight_k * (k - bulk) + weight_e * share * residual_e
        right_g = weight_g * (g - shear) + weight_e * rest * residual_e
        determinant = a * c - b * b
        bulk += (c * right_k - b * right_g) / determinant
        shear += (a * right_g - b * right_k) / determinant
    return bulk, shear, _log_youngs(bulk, shear)


def _log_youngs(log_bulk: np.ndarray, log_shear: np.ndarray) -> np.ndarray:
    return np.log(9) + log_shear - np.log(3 + np.exp(log_shear - log_bulk))
