"""`chgdb similar`: the materials that a density, a structure or a material is most like."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chgdb_cli.arguments import CatalogOption, ElementsOption, JsonOption, parse_elements
from chgdb_cli.output import print_json, print_table, unit

if TYPE_CHECKING:
    from chgdb.models.neighbours import Neighbour

#: Labels that tables show.
_SHOWN = ("bulk_modulus", "shear_modulus", "formation_energy", "band_gap")


def register(app: typer.Typer) -> None:
    app.command(
        epilog="""\b
Examples:
  chgdb similar mp-149
  chgdb similar POSCAR -n 5
  chgdb similar CHGCAR --json | jq '.[0].labels'""",
    )(similar)


def similar(
    source: Annotated[
        str,
        typer.Argument(metavar="FILE|ID", help="A density or structure (CHGCAR, POSCAR, CIF, ...), or an id."),
    ],
    count: Annotated[int, typer.Option("-n", "--count", min=1, max=1000, help="How many.")] = 10,
    models: Annotated[
        Path | None, typer.Option("--models", metavar="FOLDER", help="Trained models. [default: the catalog's]")
    ] = None,
    input_format: Annotated[
        str | None, typer.Option("--from", metavar="FORMAT", help="Format of the file. [default: by name or content]")
    ] = None,
    elements: ElementsOption = None,
    catalog: CatalogOption = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, a line for each material.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List the training materials that are most like a material, with their known properties.

    Alike are crystals whose elastic moduli are expected to go together, by composition, structure and density. The
    distance is 0 for the same crystal, and 1.41 for one that says nothing about the other.
    """
    import chgdb

    if as_csv and as_json:
        raise typer.BadParameter("give either --csv or --json", param_hint="--csv")
    symbols = parse_elements(elements)
    found = chgdb.similar(source, count=count, models=models, format=input_format, elements=symbols, catalog=catalog)
    if as_json:
        print_json([one.to_dict() for one in found])
    elif as_csv:
        _print_csv(found)
    else:
        print_neighbours(found)


def print_neighbours(found: Sequence[Neighbour]) -> None:
    """A table of materials with some of their labels."""
    from chgdb.formulas import common_formula
    from chgdb.targets import TARGETS

    titles = {"bulk_modulus": "K", "shear_modulus": "G", "formation_energy": "formation energy", "band_gap": "band gap"}
    headers = [("id", False), ("formula", False), ("distance", True)]
    headers += [(f"{titles[name]} ({unit(TARGETS[name].units)})", True) for name in _SHOWN]
    rows = [
        [one.material_id, common_formula(one.formula), f"{one.distance:.3f}"]
        + [f"{one.labels[name]:.4g}" if name in one.labels else "–" for name in _SHOWN]
        for one in found
    ]
    print_table(headers, rows)


def _print_csv(found: Sequence[Neighbour]) -> None:
    from chgdb.targets import SERVED, TARGETS

    writer = csv.writer(sys.stdout, lineterminator="\n")
    columns = [f"{name}_{TARGETS[name].units.replace('/', '_per_')}" for name in SERVED]
    writer.writerow(["material_id", "formula", "distance", *columns])
    for one in found:
        labels = [f"{one.labels[name]:.6g}" if name in one.labels else "" for name in SERVED]
        writer.writerow([one.material_id, one.formula, f"{one.distance:.4f}", *labels])
