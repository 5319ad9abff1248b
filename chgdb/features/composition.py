"""Features of the composition alone: the 132 of MAGPIE, and averages of further element data.

MAGPIE: L. Ward et al., npj Comput. Mater. 2, 16028 (2016). Values, names and order are those of matminer's
`ElementProperty.from_preset("magpie")`; a test proves it where matminer is installed.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..density import Crystal
from ..elements import SYMBOLS
from ..errors import DensityError

_STATISTICS = ("minimum", "maximum", "range", "mean", "avg_dev", "mode")
_PROPERTIES = (
    "Number MendeleevNumber AtomicWeight MeltingT Column Row CovalentRadius Electronegativity NsValence NpValence "
    "NdValence NfValence NValence NsUnfilled NpUnfilled NdUnfilled NfUnfilled NUnfilled GSvolume_pa GSbandgap "
    "GSmagmom SpaceGroupNumber"
).split()

#: Names of `magpie`, in matminer's order.
MAGPIE_NAMES: tuple[str, ...] = tuple(
    f"MagpieData {statistic} {name}" for name in _PROPERTIES for statistic in _STATISTICS
)

#: The heaviest element of the other tables, plutonium.
HEAVIEST = 94
_OTHERS = ("log_bulk_modulus", "log_shear_modulus", "cohesive_energy", "ionization_energy", "electron_affinity",
           "van_der_waals_radius", "atomic_radius", "ionic_radius")  # fmt: skip
_OTHER_STATISTICS = ("minimum", "maximum", "mean", "deviation")

#: Names of `elemental`.
ELEMENTAL_NAMES: tuple[str, ...] = (
    *(f"element.{statistic}_{name}" for name in _OTHERS for statistic in _OTHER_STATISTICS),
    *("element.n_elements", "element.norm_2", "element.norm_3", "element.mixing_entropy"),
    *("element.reuss_bulk", "element.reuss_shear", "element.voigt_bulk", "element.voigt_shear"),
    *("element.s_fraction", "element.p_fraction", "element.d_fraction", "element.f_fraction"),
    *("element.band_filling", "element.ionicity", "element.electronegativity_deviation"),
)
#: Names of `fractions`.
FRACTION_NAMES: tuple[str, ...] = tuple(f"fraction.{SYMBOLS[z]}" for z in range(1, HEAVIEST + 1))


@lru_cache(maxsize=1)
def tables() -> dict[str, np.ndarray]:
    """Element data by property; `values[Z]` is nan at Z = 0. MAGPIE's keep their names, other names are lower case."""
    content = json.loads((Path(__file__).parent / "elements.json").read_text(encoding="utf-8"))
    found = {name: np.array([np.nan, *content["magpie"][name]]) for name in _PROPERTIES}
    others = {name: np.array([np.nan, *values]) for name, values in content["others"].items()}
    others |= {name: np.array([np.nan, *values]) for name, values in content["levels"].items()}
    others["log_bulk_modulus"] = np.log(others["bulk_modulus"])
    others["log_shear_modulus"] = np.log(others["shear_modulus"])
    return found | others


def _amounts(numbers: Any) -> tuple[np.ndarray, np.ndarray]:
    """(atomic numbers, fractions) of a crystal or of the atomic numbers of its atoms; ascending."""
    if isinstance(numbers, Crystal):
        numbers = numbers.numbers
    found, counts = np.unique(np.asarray(numbers, np.int64), return_counts=True)
    if not len(found):
        raise DensityError("a composition needs at least one atom; the input holds none")
    if found[0] < 1 or found[-1] >= len(SYMBOLS):
        raise DensityError(f"atomic number {found[0] if found[0] < 1 else found[-1]} is not an element's")
    return found, counts / counts.sum()


def magpie(numbers: Any) -> np.ndarray:
    """The MAGPIE features of a composition, (132,), named by `MAGPIE_NAMES`.

    numbers: a `Crystal`, or the atomic numbers of all atoms of a cell.
    There are minimum, maximum, range, mean, mean absolute deviation and mode (the smallest value of the most frequent
    elements) of 22 element properties. Raises `DensityError` if there is no atom.
    """
    found, fractions = _amounts(numbers)
    table = tables()
    values = np.stack([table[name][found] for name in _PROPERTIES])
    low, high = values.min(axis=1), values.max(axis=1)
    mean = values @ fractions
    deviation = np.abs(values - mean[:, None]) @ fractions
    most = np.isclose(fractions, fractions.max())
    return np.stack([low, high, high - low, mean, deviation, values[:, most].min(axis=1)], axis=1).ravel()


def elemental(numbers: Any) -> np.ndarray:
    """Averages of further element data, named by `ELEMENTAL_NAMES`: moduli, cohesive energy, radii, valence shares.

    Elements beyond plutonium count as plutonium: no model of chgdb was trained on them.
    """
    found, fractions = _amounts(numbers)
    table = tables()
    light = np.minimum(found, HEAVIEST)
    values = np.stack([table[name][light] for name in _OTHERS])
    mean = values @ fractions
    deviation = np.sqrt(((values - mean[:, None]) ** 2) @ fractions)
    statistics = np.stack([values.min(axis=1), values.max(axis=1), mean, deviation], axis=1).ravel()
    # Mixing rules of composites, weighted by the ground-state volumes of the elements.
    volume = fractions * table["GSvolume_pa"][found]
    volume = volume / volume.sum()
    bulk, shear = np.exp(table["log_bulk_modulus"][light]), np.exp(table["log_shear_modulus"][light])
    mixed = [-np.log(volume @ (1 / bulk)), -np.log(volume @ (1 / shear)), np.log(volume @ bulk), np.log(volume @ shear)]
    shells = np.array([table[f"N{shell}Valence"][found] @ fractions for shell in "spdf"])
    shares = shells / max(shells.sum(), 1e-9)
    filling = (table["NValence"][found] / (table["NValence"][found] + table["NUnfilled"][found] + 1e-9)) @ fractions
    chi = table["Electronegativity"][found]
    ionicity = fractions @ (1 - np.exp(-((chi[:, None] - chi[None, :]) ** 2) / 4)) @ fractions
    chi_deviation = np.sqrt(fractions @ (chi - fractions @ chi) ** 2)
    entropy = float(-(fractions @ np.log(fractions)))
    norms = [float(len(found)), np.sqrt((fractions**2).sum()), (fractions**3).sum() ** (1 / 3), entropy]
    return np.concatenate([statistics, norms, mixed, shares, [filling, ionicity, chi_deviation]])


def fractions(numbers: Any) -> np.ndarray:
    """Share of each element, (94,), H to Pu. Heavier elements count as the last one."""
    found, shares = _amounts(numbers)
    result = np.zeros(HEAVIEST)
    np.add.at(result, np.minimum(found, HEAVIEST) - 1, shares)
    return result
