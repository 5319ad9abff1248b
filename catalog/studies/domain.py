"""Structures that count as unlike all training: strained cells, slabs and boxes made of unseen materials.

    python catalog/studies/domain.py            # a table; minutes
    python catalog/studies/domain.py --json
    python catalog/studies/domain.py --write    # the second one into docs/science/properties.md, too

The materials are drawn from the test part of the catalog. Checks of the volume are left out: had these materials not
trained the model, it would not know theirs. So the first table counts what the descriptors of the property model and of
the density model say. The second counts whose volume is said not to be at rest, of all materials that trained the
model, each left out with its formula.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from chgdb.catalog import Catalog, open_catalog
from chgdb.density import Crystal
from chgdb.errors import ChgdbError
from chgdb.estimation import estimate
from chgdb.models import volumes
from chgdb.models.applicability import descriptors
from chgdb.prediction import load_model
from chgdb_catalog.batches import write_atomically
from chgdb_catalog.studies.density_tables import between
from chgdb_catalog.studies.trust_studies import memberships

#: Å of vacuum in a slab, and on each side of a box; maximum number of atoms of a material.
VACUUM, BOX, MOST_ATOMS = 4.0, 6.0, 4


def strained(crystal: Crystal, factor: float) -> Crystal:
    """The same crystal at a volume larger by a factor."""
    return Crystal(crystal.cell * factor ** (1 / 3), crystal.positions, crystal.numbers)


def slab(crystal: Crystal) -> Crystal:
    """Two cells along c, then vacuum."""
    height = 1 / np.linalg.norm(np.linalg.inv(crystal.cell)[:, 2])
    stretch = 2 + VACUUM / height
    lower = crystal.positions % 1.0
    places = np.concatenate([lower, lower + np.array([0, 0, 1])]) / np.array([1, 1, stretch])
    return Crystal(crystal.cell * np.array([[1], [1], [stretch]]), places, np.tile(crystal.numbers, 2))


def boxed(crystal: Crystal) -> Crystal:
    """The atoms of one cell alone in a box."""
    places = (crystal.positions % 1.0) @ crystal.cell
    places = places - places.min(axis=0) + BOX / 2
    edges = places.max(axis=0) + BOX / 2
    return Crystal(np.diag(edges), places / edges, crystal.numbers)


KINDS: dict[str, Callable[[Crystal], Crystal]] = {
    "as they are": lambda crystal: crystal,
    "10 % denser": lambda crystal: strained(crystal, 0.9),
    "10 % less dense": lambda crystal: strained(crystal, 1.1),
    f"slabs with {VACUUM:g} Å of vacuum": slab,
    f"in a box with {BOX:g} Å of vacuum": boxed,
}


def sample(catalog: Catalog, count: int) -> list[str]:
    """Ids of small materials of the test part, drawn at random."""
    small = (catalog.column("split") == "test") & (catalog.column("n_atoms") <= MOST_ATOMS)
    chosen = np.random.default_rng(0).permutation(np.flatnonzero(small))[:count]
    return [catalog.ids[row] for row in chosen]


def flags(crystal: Crystal) -> list[str]:
    """The remarks of the descriptors on a structure. A structure that cannot be estimated has one, too."""
    try:
        guess = estimate(crystal)
    except ChgdbError as error:
        return [str(error)]
    found = load_model().domain.remarks(guess.density.crystal, descriptors(guess.density))
    return [*found, *guess.remarks]


DOCS = Path(__file__).resolve().parents[2] / "docs" / "science"
DATA, PAGE = DOCS / "data" / "volumes.json", DOCS / "properties.md"
#: Changes of the volume in the second table, in per cent.
CHANGES = (0, -10, 10, -6, 6)
#: Its groups.
GROUPS = ("all", "oxide", "halide", "chalcogenide", "pnictide", "intermetallic", "magnetic", "lanthanide")


def apart(catalog: Catalog) -> dict[str, dict[str, float]]:
    """Group -> number of materials, and share flagged at each of `CHANGES`, in per cent.

    Raises `ChgdbError` if there are no volumes at rest of the stored model.
    """
    ensemble = load_model()
    known = volumes.of(ensemble)
    if known is None:
        raise ChgdbError("there are no volumes at rest of the stored model: python catalog/rebuild.py makes them")
    place = {material_id: row for row, material_id in enumerate(catalog.ids)}
    rows = np.array([place[i] for i in ensemble.held_out.position])
    groups = memberships(catalog, rows)
    flagged = {change: known.flagged(float(np.log(1 + change / 100))) for change in CHANGES}
    return {
        name: {
            "materials": int(groups[name].sum()),
            **{str(change): round(100 * float(found[groups[name]].mean()), 1) for change, found in flagged.items()},
        }
        for name in GROUPS
    }


def volumes_table(numbers: dict[str, dict[str, float]]) -> str:
    titles = [f"{change:+d} %" if change else "as they are" for change in CHANGES]
    lines = [
        f"| % said not to be at rest | materials | {' | '.join(titles)} |",
        "| --- |" + " ---: |" * (len(titles) + 1),
    ]
    for group, facts in numbers.items():
        shares = " | ".join(f"{facts[str(change)]:g}" for change in CHANGES)
        lines.append(f"| {group} | {facts['materials']} | {shares} |")
    return "\n".join(lines)


def main(
    count: Annotated[int, typer.Option(help="materials")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    write: Annotated[bool, typer.Option("--write", help="put the table of volumes into the page, too")] = False,
) -> None:
    """Count the structures that are said to be unlike the training set."""
    catalog = open_catalog()
    ids = sample(catalog, count)
    crystals = [catalog[material_id].crystal for material_id in ids]
    found = {name: sum(bool(flags(make(crystal))) for crystal in crystals) for name, make in KINDS.items()}
    if as_json:
        facts = {"materials": len(ids), "flagged": found, "volumes": apart(catalog)}
        typer.echo(json.dumps(facts, indent=1, ensure_ascii=False))
        return
    typer.echo(f"|  | of {len(ids)} said to be unlike all training |\n| --- | ---: |")
    for name, flagged in found.items():
        typer.echo(f"| {name} | {flagged} |")
    numbers = apart(catalog)
    typer.echo(f"\n{volumes_table(numbers)}")
    if write:
        write_atomically(DATA, (json.dumps(numbers, indent=1) + "\n").encode())
        write_atomically(PAGE, between(PAGE.read_text(encoding="utf-8"), "volumes", volumes_table(numbers)).encode())


if __name__ == "__main__":
    typer.run(main)
