"""Properties that follow from predictions and the structure: ratios, sound velocities, hardness, thermal
conductivities, and the distance of a formation energy from the hull of known phases.

Nothing is learned here. Poisson's and Pugh's ratio and the sound velocities are those of an isotropic solid with these
moduli; the others are empirical relations of the literature, as `DERIVED` says of each. The two moduli's relative
errors are carried through to first order, their correlation with them; what an empirical relation itself is off by is
not part of it. The distance from the hull has the error of the formation energy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .elements import ATOMIC_MASS

__all__ = [
    "DERIVED",
    "HULL_DISTANCE",
    "OF_MODULI",
    "Derived",
    "Solid",
    "debye_temperature",
    "derive",
    "mean_mass",
    "sound_velocities",
]

#: Correlation of the relative errors of K and G, predicted for formulas that the model had not seen
#: (`catalog/studies/evaluate_properties.py` measures it).
ERROR_CORRELATION = 0.2
#: kg of one atomic mass unit, J/K.
_DALTON, _BOLTZMANN = 1.66053906892e-27, 1.380649e-23
_PLANCK = 6.62607015e-34  # J s
#: K; temperature of the lattice thermal conductivity.
TEMPERATURE = 300.0
#: Steps of the logarithms of the moduli, for derivatives.
_STEP = 1e-4


class Solid(NamedTuple):
    """An isotropic solid, or many: arrays of one shape.

    bulk, shear: GPa. mass: mean of the atoms, in atomic mass units. volume: Å^3 per atom. atoms: in the primitive cell.
    """

    bulk: np.ndarray
    shear: np.ndarray
    mass: np.ndarray
    volume: np.ndarray
    atoms: np.ndarray

    @property
    def density(self) -> np.ndarray:
        """kg/m^3."""
        return self.mass * _DALTON / (self.volume * 1e-30)


def sound_velocities(bulk: np.ndarray, shear: np.ndarray, density: np.ndarray) -> tuple[np.ndarray, ...]:
    """(longitudinal, transverse, mean) in m/s of an isotropic solid: v_l^2 = (K + 4G/3)/rho, v_t^2 = G/rho, and
    3/v^3 = 2/v_t^3 + 1/v_l^3. bulk, shear: GPa. density: kg/m^3."""
    transverse = np.sqrt(1e9 * shear / density)
    longitudinal = np.sqrt(1e9 * (bulk + 4 * shear / 3) / density)
    return longitudinal, transverse, ((2 / transverse**3 + 1 / longitudinal**3) / 3) ** (-1 / 3)


def debye_temperature(velocity: np.ndarray, volume: np.ndarray) -> np.ndarray:
    """h/k (3n / 4 pi)^(1/3) v in K (O. L. Anderson, J. Phys. Chem. Solids 24, 909 (1963)).

    velocity: the mean of the sound velocities, m/s. volume: 1/n, Å^3 per atom.
    """
    return _PLANCK / _BOLTZMANN * (3e30 / (4 * np.pi * volume)) ** (1 / 3) * velocity


def _velocities(solid: Solid) -> tuple[np.ndarray, ...]:
    return sound_velocities(solid.bulk, solid.shear, solid.density)


def _poisson(solid: Solid) -> np.ndarray:
    return (3 * solid.bulk - 2 * solid.shear) / (6 * solid.bulk + 2 * solid.shear)


def _hardness(solid: Solid) -> np.ndarray:
    pugh = solid.shear / solid.bulk
    return np.maximum(2 * (pugh**2 * solid.shear) ** 0.585 - 3, 0.0)


def _minimum_conductivity(solid: Solid) -> np.ndarray:
    longitudinal, transverse, _ = _velocities(solid)
    return _BOLTZMANN / 2.48 * (1e30 / solid.volume) ** (2 / 3) * (longitudinal + 2 * transverse)


def _lattice_conductivity(solid: Solid) -> np.ndarray:
    poisson = _poisson(solid)
    grueneisen = 1.5 * (1 + poisson) / (2 - 3 * poisson)
    acoustic = debye_temperature(_velocities(solid)[2], solid.volume) * solid.atoms ** (-1 / 3)
    factor = 2.43e-6 / (1 - 0.514 / grueneisen + 0.228 / grueneisen**2)
    cubes = solid.mass * acoustic**3 * solid.volume ** (1 / 3)
    return factor * cubes / (grueneisen**2 * solid.atoms ** (2 / 3) * TEMPERATURE)


@dataclass(frozen=True)
class Derived:
    """A property that follows from moduli and structure.

    Attributes
    ----------
    name, label, units : str
    source : str
        The relation, and where it was published.
    empirical : bool
        Whether it is a rule found by comparison with experiments, rather than elasticity.
    log : bool
        Whether its errors are carried through as relative ones.
    value : callable, optional
        `Solid` -> values in `units`; None for what does not follow from moduli.
    """

    name: str
    label: str
    units: str
    source: str
    empirical: bool
    log: bool
    value: Callable[[Solid], np.ndarray] | None


_ISOTROPIC = "elasticity of an isotropic solid"
HULL_DISTANCE = "hull_distance"
#: All derived properties by name, in the order of every table.
DERIVED: dict[str, Derived] = {
    one.name: one
    for one in (
        Derived(
            "poisson_ratio", "Poisson's ratio", "1", f"{_ISOTROPIC}: (3K - 2G) / (6K + 2G)", False, False, _poisson
        ),
        Derived("pugh_ratio", "Pugh's ratio K/G", "1", f"{_ISOTROPIC}: K/G", False, True, lambda s: s.bulk / s.shear),
        Derived(
            "longitudinal_velocity", "longitudinal sound velocity", "m/s", _ISOTROPIC, False, True,
            lambda s: _velocities(s)[0],
        ),
        Derived(
            "transverse_velocity", "transverse sound velocity", "m/s", _ISOTROPIC, False, True,
            lambda s: _velocities(s)[1],
        ),
        Derived(
            "hardness", "Vickers hardness", "GPa",
            "2 (k^2 G)^0.585 - 3, k = G/K: Chen et al., Intermetallics 19, 1275 (2011)", True, False, _hardness,
        ),
        Derived(
            "minimum_thermal_conductivity", "minimum thermal conductivity", "W/(m K)",
            "k_B/2.48 n^(2/3) (v_l + 2 v_t): Cahill and Pohl, Annu. Rev. Phys. Chem. 39, 93 (1988)", True, True,
            _minimum_conductivity,
        ),
        Derived(
            "lattice_thermal_conductivity", "lattice thermal conductivity, 300 K", "W/(m K)",
            "Slack, J. Phys. Chem. Solids 34, 321 (1973), with the Grüneisen parameter of Poisson's ratio by "
            "Belomestnykh, Tech. Phys. Lett. 30, 91 (2004)", True, True, _lattice_conductivity,
        ),
        Derived(
            HULL_DISTANCE, "distance from the hull of the catalog's phases", "eV/atom",
            "predicted formation energy less the least that phases of the catalog reach at this composition, by our "
            "own DFT at 0 K; phases that the catalog lacks do not compete", False, False, None,
        ),
    )
}  # fmt: skip
#: Those that follow from the moduli.
OF_MODULI: tuple[str, ...] = tuple(name for name, one in DERIVED.items() if one.value is not None)


def derive(
    bulk: tuple[np.ndarray, np.ndarray],
    shear: tuple[np.ndarray, np.ndarray],
    mass: np.ndarray,
    volume: np.ndarray,
    atoms: np.ndarray,
    names: Sequence[str] | None = None,
) -> Mapping[str, tuple[np.ndarray, np.ndarray]]:
    """The properties that follow from the moduli of many materials, with standard deviations.

    Parameters
    ----------
    bulk, shear : tuple of np.ndarray
        Value and standard deviation of the moduli, (n,) each, in GPa.
    mass : np.ndarray
        (n,) mean mass of the atoms, in atomic mass units.
    volume : np.ndarray
        (n,) volume per atom in Å^3.
    atoms : np.ndarray
        (n,) atoms in the primitive cell.
    names : sequence of str, optional
        Of `OF_MODULI`, all unless given.

    Returns
    -------
    mapping of str to tuple of np.ndarray
        Name -> value and standard deviation, (n,) each, in the units of `DERIVED`.

    Examples
    --------
    >>> one = [np.array([x]) for x in (98.0, 5.0, 66.0, 4.0, 28.085, 20.0, 2.0)]
    >>> found = derive((one[0], one[1]), (one[2], one[3]), *one[4:])
    >>> [round(float(x[0]), 3) for x in found["poisson_ratio"]]
    [0.225, 0.016]
    """
    solid = Solid(bulk[0], shear[0], mass, volume, atoms)
    errors = np.stack([bulk[1] / bulk[0], shear[1] / shear[0]])
    result = {}
    for name in OF_MODULI if names is None else names:
        relation = DERIVED[name].value
        assert relation is not None, name
        value = relation(solid)
        slopes = np.stack([_slope(relation, solid, moved) for moved in ("bulk", "shear")])
        first, second = slopes * errors
        variance = first**2 + second**2 + 2 * ERROR_CORRELATION * first * second
        result[name] = value, np.sqrt(np.maximum(variance, 0.0))
    return result


def _slope(relation: Callable[[Solid], np.ndarray], solid: Solid, modulus: str) -> np.ndarray:
    """Derivative by the logarithm of a modulus."""
    up, down = (solid._replace(**{modulus: getattr(solid, modulus) * np.exp(s)}) for s in (_STEP, -_STEP))
    return (relation(up) - relation(down)) / (2 * _STEP)


def mean_mass(numbers: np.ndarray) -> float:
    """Mean mass of atoms in atomic mass units; NaN where an element's is not known."""
    masses = np.array(ATOMIC_MASS)[np.asarray(numbers, int)]
    return float(masses.mean()) if masses.all() else float("nan")
