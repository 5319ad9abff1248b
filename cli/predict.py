"""`chgdb predict`: properties of the densities and structures in files."""

from __future__ import annotations

import csv
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chgdb_cli.arguments import CatalogOption, ElementsOption, JsonOption, check_name, check_read, parse_elements
from chgdb_cli.output import message, print_json, print_table, show, unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chgdb.prediction import Prediction


def register(app: typer.Typer) -> None:
    app.command(
        epilog="""\b
Examples:
  chgdb predict CHGCAR
  chgdb predict POSCAR                             from a density that is estimated for the structure
  chgdb predict NaCl.cif mp-149                    a structure, and a material of the catalog
  chgdb predict runs/*/CHGCAR.gz --csv > properties.csv
  chgdb predict CHGCAR --json | jq '.[0].properties.bulk_modulus'
  chgdb predict CHGCAR --why                       the training materials that it is most like
  chgdb predict CHGCAR --model attention           the network of arXiv 2605.07227""",
    )(predict)


def predict(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE|ID",
            help="Files or URLs of densities (CHGCAR, cube, ...) or structures (POSCAR, CIF, ...); ids of the catalog.",
        ),
    ],
    model: Annotated[
        str, typer.Option("--model", metavar="NAME", help="invariant, lightgbm, attention or another trained one.")
    ] = "invariant",
    models: Annotated[
        Path | None, typer.Option("--models", metavar="FOLDER", help="Trained models. [default: the catalog's]")
    ] = None,
    input_format: Annotated[
        str | None, typer.Option("--from", metavar="FORMAT", help="Format of the files. [default: by name or content]")
    ] = None,
    elements: ElementsOption = None,
    catalog: CatalogOption = None,
    why: Annotated[
        bool, typer.Option("--why", help="Show the training materials that each input is most like, and their labels.")
    ] = False,
    derived: Annotated[
        bool,
        typer.Option(
            "--derived",
            help="Also what follows: hardness, sound velocities, distance from the hull of the catalog, ...",
        ),
    ] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, a line for each file.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Predict properties from the charge density in a file, each with its standard deviation.

    If a file holds a structure and no density, the density is estimated first, as by chgdb estimate, and the output
    says so. 90 % of true values lie within 1.645 standard deviations; that was measured with given densities. An input
    unlike what the model was trained on is said to be so, and its standard deviations are those of the whole training
    set. A file that cannot be used is reported on standard error, and the exit code is then 1.
    """
    # Products of small matrices, which threads of a busy machine would only wait for; read when numpy is imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from chgdb import prediction
    from chgdb.errors import ChgdbError
    from chgdb.models import REGISTRY

    if as_csv and as_json:
        raise typer.BadParameter("give either --csv or --json", param_hint="--csv")
    check_read(input_format)
    check_name(REGISTRY, [model], "--model")
    prediction.load_model(model, models)  # what is wrong with it is said once, not for every file
    symbols = parse_elements(elements)
    found, failed = [], False
    for file in files:
        try:
            found.append(
                prediction.predict(
                    file, model=model, models=models, format=input_format, elements=symbols, catalog=catalog
                )
            )
        except (ChgdbError, OSError) as error:
            failed = True
            reason = f"{file}: {error.strerror}" if isinstance(error, OSError) and error.strerror else str(error)
            message(f"chgdb: {reason}" if str(file) in reason else f"chgdb: {file}: {reason}")
    for one in found:
        for remark in one.unlike_training:
            message(f"{one.source}: unlike the training set: {remark}")
    apart = _say_what_does_not_compare(found)
    if as_json:
        print_json(
            [
                one.to_dict() | ({"nearest": [n.to_dict() for n in one.nearest]} if why else {}) | others
                for one, others in zip(found, apart, strict=True)
            ]
        )
    elif as_csv:
        _print_csv(found)
    else:
        _print_tables(found, derived)
        if why:
            _print_nearest(found)
    if failed:
        raise typer.Exit(1)


def _say_what_does_not_compare(found: Sequence[Prediction]) -> list[dict[str, list[str]]]:
    """One line for each crystal at several volumes; for each input what JSON says of it: the others of its crystal."""
    from chgdb.models import comparable

    crystals = [one.crystal for one in found if one.crystal is not None]
    assert len(crystals) == len(found)
    others: list[dict[str, list[str]]] = [{} for _ in found]
    for group in comparable.at_other_volumes(crystals):
        message(comparable.remark([found[i].source for i in group], [crystals[i] for i in group]))
        for i, apart in comparable.other_volumes(crystals, group).items():
            names = dict.fromkeys(found[k].source for k in apart)
            others[i] = {"energies_do_not_compare_with": list(names)} if names else {}
    return others


def _print_nearest(found: Sequence[Prediction]) -> None:
    """The training materials that each input is most like."""
    from chgdb_cli.similar import print_neighbours

    for one in found:
        show(f"{one.source}: the training materials that are most like it")
        if one.nearest:
            print_neighbours(one.nearest)
        else:
            show(f"the model {one.model} does not tell which materials are alike")


def _print_tables(found: Sequence[Prediction], derived: bool) -> None:
    headers = [("file", False), ("formula", False), ("property", False), ("value", True), ("std", True), ("", False)]
    rows = [
        [one.source, one.formula, label, value, std, unit(units)]
        for one in found
        for label, value, std, units in (*one.table(), *(one.derived_table() if derived else ()))
    ]
    if rows:
        print_table(headers, rows)
        show(f"Model {found[0].model}; 90 % of true values within 1.645 std")
    for one in found:
        if one.trained_as:
            name = "" if one.source == one.trained_as else f"{one.source}: "
            show(f"{name}{one.training_note}")
    for one in found:
        if one.density_note:
            show(f"{one.source}: density {one.density_note}")


def _print_csv(found: Sequence[Prediction]) -> None:
    """Headers as `chgdb build --properties` reads them: name and unit."""
    from chgdb.targets import SERVED, TARGETS

    writer = csv.writer(sys.stdout, lineterminator="\n")
    columns = ["file", "formula", "model", "density", "density_model", "density_nmae_expected"]
    for name in SERVED:
        units = TARGETS[name].units.replace("/", "_per_")
        columns += [f"{name}_{units}", f"{name}_std_{units}"]
    writer.writerow([*columns, "unlike_training"])
    for one in found:
        error = f"{one.density_error:.6g}" if math.isfinite(one.density_error) else ""
        line = [one.source, one.formula, one.model, one.density, one.density_model, error]
        for name in SERVED:
            line += [f"{one[name].value:.6g}", f"{one[name].std:.6g}"] if name in one else ["", ""]
        writer.writerow([*line, "; ".join(one.unlike_training)])
