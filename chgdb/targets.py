"""The properties that models predict, each with its unit and its scale: the one table that adds a target.

A target is a column of the store that `labels` reads, a key of every prediction, and a row of every table of results.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["SERVED", "TARGETS", "Target"]


@dataclass(frozen=True)
class Target:
    """A property that models predict.

    Attributes
    ----------
    name : str
        Column of the store and key of every result.
    label : str
        Name of the property in tables.
    units : str
        As in the store's attributes.
    log : bool
        Learned and calibrated as its natural logarithm, so that predictions are positive; errors are then relative.
    fallback : str
        Column that stands in where the first has no value.
    excluded_sources : frozenset[str]
        Values of `structure_source` whose rows stay out of training and tests of this target.
    served : bool
        Part of `chgdb predict` and of the views; the others are compared only where the input is the density alone.
    """

    name: str
    label: str
    units: str
    log: bool = False
    fallback: str = ""
    excluded_sources: frozenset[str] = frozenset()
    served: bool = True

    def forward(self, values: np.ndarray) -> np.ndarray:
        """Values on the scale that models learn.

        Parameters
        ----------
        values : np.ndarray
            Values in the unit of the target.

        Returns
        -------
        np.ndarray
        """
        return np.log(values) if self.log else np.asarray(values, float)

    def inverse(self, values: np.ndarray) -> np.ndarray:
        """Values in the unit of the target.

        Parameters
        ----------
        values : np.ndarray
            Values on the scale that models learn.

        Returns
        -------
        np.ndarray
        """
        return np.exp(values) if self.log else np.asarray(values, float)


#: All targets by name, in the order of every table.
TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target("bulk_modulus", "bulk modulus K", "GPa", log=True),
        Target("shear_modulus", "shear modulus G", "GPa", log=True),
        Target("youngs_modulus", "Young's modulus E", "GPa", log=True),
        Target(
            "debye_temperature",
            "Debye temperature",
            "K",
            log=True,
            fallback="debye_temperature_from_moduli",
            # Their lattice constants were recovered from this very value.
            excluded_sources=frozenset(["reconstructed"]),
        ),
        Target("energy_vs_atoms", "energy against free atoms", "eV/atom"),
        Target("formation_energy", "formation energy", "eV/atom"),
        Target("band_gap", "band gap (PBE)", "eV"),
        Target("fermi_energy", "Fermi energy", "eV", served=False),
        Target("volume", "cell volume", "angstrom^3", log=True, served=False),
        Target("mass_density", "mass density", "g/cm^3", log=True, served=False),
    )
}
#: Names of the targets that `chgdb predict` and the views carry.
SERVED: tuple[str, ...] = tuple(target.name for target in TARGETS.values() if target.served)
