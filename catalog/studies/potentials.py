"""Crystals of the catalog computed again, with potentials that have other numbers of valence electrons.

    python catalog/studies/potentials.py QUEUE.jsonl
    python catalog/dft/compute.py run QUEUE.jsonl RUN --sources catalog/sources/potentials
    python catalog/dft/compute.py collect RUN --sources catalog/sources/potentials

This is the main difference of densities from elsewhere from those of the catalog. No cross-validation shows what a
property model makes of it: in its training and test sets each element has one potential. GPAW has a second one for some
elements. `study` measures how far predictions move with it.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from chgdb.catalog import Catalog, open_catalog
from chgdb.density import Density
from chgdb.errors import ChgdbError
from chgdb.models import SERVED
from chgdb.models.rows import from_densities
from chgdb_catalog import batches
from chgdb_catalog.gpaw import recipe
from chgdb_catalog.structures import crystal as crystal_of

if TYPE_CHECKING:
    from chgdb.models.ensemble import Ensemble
    from chgdb_catalog.studies.evaluate_properties import Measurement

FOLDER = batches.SOURCES / "potentials"
#: The second PAW setup of an element; its name is the number of its valence electrons.
OTHER = {
    "Na": "1", "Mg": "2", "V": "5", "Nb": "5", "Mo": "6", "Ru": "8", "Rh": "9", "Pd": "10", "Ag": "11", "Te": "16",
    "Ta": "5", "W": "6", "Os": "8", "Ir": "9", "Pt": "10",
}  # fmt: skip
#: Number of crystals of each element, and maximum number of atoms of one.
_EACH, _ATOMS = 2, 4


def queue(catalog: Catalog) -> list[dict]:
    """Small labelled crystals of the catalog with such elements, drawn at random, as records for `compute.py run`."""
    known = np.isfinite(catalog.column("formation_energy")) & np.isfinite(catalog.column("bulk_modulus"))
    left_out = recipe.LANTHANIDES | recipe.SPIN_POLARISED
    found: list[dict] = []
    count: Counter[str] = Counter()
    for i in np.random.default_rng(1).permutation(np.flatnonzero(known)):
        record = batches.index()[catalog.ids[i]]
        elements = set(record["symbols"])
        other = sorted(elements & set(OTHER))
        if not other or elements & left_out or len(record["symbols"]) > _ATOMS or min(count[e] for e in other) >= _EACH:
            continue
        count.update(other)
        kept = {k: record[k] for k in ("material_id", "formula", "space_group", "cell", "symbols", "frac")}
        found.append(kept | {"structure_source": "catalog", "potentials": {e: OTHER[e] for e in other}})
    return found


def load(folder: Path = FOLDER) -> dict[str, Density]:
    """Material id -> its density with the other potentials."""
    found = {}
    for material_id in batches.index(folder):
        record, grids = batches.load(material_id, folder)
        found[material_id] = Density(crystal_of(record), {"total": grids["total"]})
    return found


def study(measured: Measurement, trained: Ensemble, name: str) -> dict[str, Any]:
    """How far predictions of a stored model move with potentials of other valence electrons.

    As a scale, the result also has the errors of out-of-fold predictions of the same crystals with the catalog's
    potentials. It is empty where there are no such crystals.

    name: of the model in `measured`. Numbers are in the units of the properties, not in logarithms.
    """
    places = {material_id: i for i, material_id in enumerate(measured.rows.ids)}
    others = {material_id: density for material_id, density in load().items() if material_id in places}
    if not others:
        return {}  # another store than the catalog
    rows = [places[material_id] for material_id in others]
    usual = [measured.catalog[material_id].decode() for material_id in others]
    here, there = (
        trained.predict(from_densities(list(others), list(densities), trained.inputs))
        for densities in (usual, others.values())
    )
    added = [round(b.n_electrons - a.n_electrons) for a, b in zip(usual, others.values(), strict=True)]
    facts: dict[str, Any] = {"n": len(rows), "added": [min(added), max(added)]}
    facts["flagged"] = sum(map(bool, there.remarks))
    held_out = measured.grouped(name)
    for target in SERVED:
        moved = np.abs(there.mean[target] - here.mean[target])
        error = np.abs(held_out.mean[target] - measured.truth(target))[rows]
        facts[target] = {"mean": moved.mean(), "largest": moved.max(), "mae": np.nanmean(error)}
    return facts


def main(out: Annotated[Path, typer.Argument(metavar="QUEUE.jsonl", help="written for compute.py run")]) -> None:
    """Write the queue of crystals to compute with other potentials."""
    try:
        records = queue(open_catalog(None))
        batches.write_atomically(out, "".join(json.dumps(record) + "\n" for record in records).encode())
    except (ChgdbError, OSError) as error:
        what = f"cannot write {out}: {error.strerror}" if isinstance(error, OSError) else error
        typer.echo(f"error: {what}", err=True)
        raise typer.Exit(1) from None
    typer.echo(f"{len(records)} crystals", err=True)


if __name__ == "__main__":
    typer.run(main)
