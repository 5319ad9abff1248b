"""`chgdb.similar`: the materials that a density, a structure or a material of a catalog is most like."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .prediction import DEFAULT_MODEL, density_of, load_model

if TYPE_CHECKING:
    import ase
    import pymatgen.core

    from .catalog import Record
    from .density import Crystal, Density
    from .models.neighbours import Neighbour

__all__ = ["similar"]


def similar(
    given: Density | Record | Crystal | ase.Atoms | pymatgen.core.Structure | str | os.PathLike[str],
    *,
    count: int = 10,
    models: str | os.PathLike[str] | None = None,
    format: str | None = None,
    elements: Sequence[str] | None = None,
    catalog: str | os.PathLike[str] | None = None,
) -> list[Neighbour]:
    """The training materials that are most like a material, the most like first, with their known properties.

    Alike are crystals whose elastic moduli the model expects to go together, from composition, structure and density.

    Parameters
    ----------
    given : Density, Record, Crystal, ase.Atoms, pymatgen.core.Structure, str or path
        As of `predict`. A material that trained the model is found without its density being decoded, and is not among
        those that are listed.
    count : int
        How many.
    models : path, optional
        Folder of trained models, instead of those of the embedded catalog.
    format, elements, catalog
        As of `predict`.

    Returns
    -------
    list of Neighbour
        Id, formula, distance (0 for the same crystal, 1.41 for one that says nothing about it) and labels.

    Raises
    ------
    FormatError, DensityError, UnknownMaterialError, ModelError
        As `predict`.

    Examples
    --------
    >>> [one.formula for one in chgdb.similar("mp-149", count=3)]   # doctest: +SKIP
    ['Ge', 'SiGe', 'SiC']
    """
    from .models import neighbours
    from .models.applicability import check_units
    from .models.rows import from_densities

    ensemble = load_model(DEFAULT_MODEL, None if models is None else Path(models))
    known = ensemble.held_out.position
    name = getattr(given, "material_id", given)
    if isinstance(name, str) and name in known and not os.path.lexists(name):
        return neighbours.of_material(ensemble, name, count)
    source, density, _ = density_of(given, format, elements, catalog)
    check_units(density)
    return neighbours.of_rows(ensemble, from_densities([source], [density], ensemble.inputs), count)[0]
