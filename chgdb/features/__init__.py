"""Features of a density and its crystal: one vector of numbers for each material, for property models.

    from chgdb import features
    x = features.describe(density)        # (n_features,) float64, named by features.names()

Every feature is the same for a rotated or shifted crystal, for its primitive, conventional or super-cell, and on any
grid that resolves the density, because all are computed on one canonical cell and grid (`cells`). Only numpy and spglib
are needed.

`environments` describes single atoms. The groups of features, by the prefixes of their names:
- `MagpieData`, `element`, `fraction`: the composition (`composition`).
- `structure`, `promolecule`: the structure, and the superposition of atomic densities that it implies.
- `bands`, `nearest`: the electronic structure that the atoms imply, by a universal tight-binding model with two choices
  of which atoms are neighbours (`bands`).
- `response`: elasticity by the same model (`response`).
- `density`, `difference`: the density given, and its difference from that superposition.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..density import Crystal, Density
from ..errors import DensityError
from . import bands, bonds, cells, composition, fields, response, tightbinding
from .composition import MAGPIE_NAMES, magpie

#: Decimals to which the features but MAGPIE's are rounded. The digits cut off are far below what features tell and far
#: above rounding errors: what symmetry makes equal is equal, and no tree splits between the two.
DECIMALS = 5

#: Raised with every change of what `describe` returns. A model refuses features of another version.
VERSION = 3

COMPOSITION_NAMES: tuple[str, ...] = (*MAGPIE_NAMES, *composition.ELEMENTAL_NAMES, *composition.FRACTION_NAMES)
STRUCTURE_NAMES: tuple[str, ...] = (
    *COMPOSITION_NAMES,
    *(f"structure.{name}" for name in (*bonds.GEOMETRY_NAMES, *bonds.SPRING_NAMES)),
    *(f"promolecule.{name}" for name in (*fields.FIELD_NAMES, *bonds.DENSITY_NAMES)),
    *(f"{kind}.{name}" for kind in ("bands", "nearest") for name in bands.BAND_NAMES),
    *(f"response.{name}" for name in response.RESPONSE_NAMES),
)
_DENSITY = (*fields.FIELD_NAMES, *bonds.DENSITY_NAMES)
DENSITY_NAMES: tuple[str, ...] = (
    *(f"density.{name}" for name in _DENSITY),
    *(f"difference.{name}" for name in (*fields.DIFFERENCE_NAMES, *bonds.CHANGE_NAMES)),
)


@lru_cache(maxsize=1)
def names() -> tuple[str, ...]:
    """Names of the numbers of `describe`, in their order: `STRUCTURE_NAMES`, then `DENSITY_NAMES`."""
    return STRUCTURE_NAMES + DENSITY_NAMES


def structure(crystal: Crystal) -> np.ndarray:
    """Features that need only the structure, named by `STRUCTURE_NAMES`.

    Raises `DensityError` for a cell without atoms.
    """
    return _rounded(_structure(crystal)[0])


def describe(density: Density) -> np.ndarray:
    """Features of a density with its structure, (n_features,) float64, named by `names`.

    Only the total density, in e/Å^3, is used. Raises `DensityError` for a cell without atoms, or a density that
    integrates to nothing.

    >>> len(describe(chgdb.read("CHGCAR"))) == len(names())     # doctest: +SKIP
    True
    """
    if not density.n_electrons > 0:
        raise DensityError(
            f"the density integrates to {density.n_electrons:.3g} electrons: give a file with the total charge density"
        )
    of_structure, place, waves, reference, parts, near, reference_profiles = _structure(density.crystal)
    field = fields.Field(place, cells.coefficients(density, place, *waves), *waves)
    electrons = field.mean * place.crystal.volume
    profiles = bonds.Profiles(field, near)
    result = [
        of_structure,
        fields.describe(field),
        bonds.along_bonds(profiles, near, electrons),
        fields.difference(field, reference, parts),
        bonds.changes(profiles, reference_profiles, near),
    ]
    return _rounded(np.concatenate(result))


def _rounded(values: np.ndarray) -> np.ndarray:
    first = len(MAGPIE_NAMES)
    values[first:] = np.round(values[first:], DECIMALS) + 0.0  # no negative zeros
    return values


def _structure(crystal: Crystal):
    place = cells.canonical(crystal)
    waves = place.wave_vectors()
    spectrum, parts = cells.superposition(place, *waves)
    reference = fields.Field(place, spectrum, *waves)
    electrons = reference.mean * place.crystal.volume
    pairs = bonds.neighbours(place.crystal)
    near = pairs.bonds()
    profiles = bonds.Profiles(reference, near)
    values = np.concatenate(
        [
            magpie(place.crystal),
            composition.elemental(place.crystal),
            composition.fractions(place.crystal),
            bonds.geometry(pairs, place.n_rotations, electrons),
            bonds.springs(near, near.scaled**-4.0),
            fields.describe(reference),
            bonds.along_bonds(profiles, near, electrons),
            bands.describe(pairs, tightbinding.by_radius(pairs)),
            bands.describe(pairs, tightbinding.by_distance(pairs)),
            response.describe(pairs),
        ]
    )
    return values, place, waves, reference, parts, near, profiles
