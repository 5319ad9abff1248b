"""`chgdb predict`: properties of a density in a file."""

from __future__ import annotations

import csv
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chgdb_cli.arguments import ElementsOption, JsonOption, parse_elements
from chgdb_cli.output import message, print_json, print_table, unit

if TYPE_CHECKING:
    from chgdb.models.ensemble import Ensemble


def register(app: typer.Typer) -> None:
    app.command(
        short_help="Elastic, thermal and energetic properties of a density.",
        epilog="""\b
Examples:
  chgdb predict CHGCAR
  chgdb predict runs/*/CHGCAR.gz --csv > properties.csv
  chgdb predict CHGCAR --json | jq '.[0].properties.bulk_modulus'
  chgdb predict CHGCAR --model attention           the network of arXiv 2605.07227""",
    )(predict)


def predict(
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="CHGCARs or other files of densities, or URLs.")],
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
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, a line for each file.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Predict properties from the charge density in a file, each with its standard deviation.

    90 % of true values lie within 1.645 standard deviations. An input unlike the densities that the model was trained
    on is said to be so, and its standard deviations are those of the whole training set. A file that cannot be used
    is reported on standard error, and the exit code is then 1.
    """
    # Products of small matrices, which threads of a busy machine would only wait for; read when numpy is imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from chgdb.errors import ChgdbError
    from chgdb.views import load_model

    if as_csv and as_json:
        raise typer.BadParameter("give either --csv or --json", param_hint="--csv")
    trained = load_model(model, models)
    symbols = parse_elements(elements)
    found, failed = [], False
    for file in files:
        try:
            found.append(_properties(trained, file, input_format, symbols))
        except (ChgdbError, OSError) as error:
            failed = True
            reason = f"{file}: {error.strerror}" if isinstance(error, OSError) and error.strerror else str(error)
            message(f"chgdb: {reason}" if str(file) in reason else f"chgdb: {file}: {reason}")
    for facts in found:
        for remark in facts.get("unlike_training", ()):
            message(f"{facts['file']}: unlike the training set: {remark}")
    if as_json:
        print_json(found)
    elif as_csv:
        _print_csv(found)
    else:
        _print_tables(found)
    if failed:
        raise typer.Exit(1)


def _properties(
    model: Ensemble, file: str, input_format: str | None, elements: tuple[str, ...] | None
) -> dict[str, Any]:
    """One object of the JSON output; `unlike_training` is there only where something is."""
    from chgdb.formats import read
    from chgdb.models import TARGETS
    from chgdb.models.domain import check_units
    from chgdb.models.rows import from_densities

    density = read(file, format=input_format, elements=elements)
    check_units(density)
    predictions = model.predict(from_densities([str(file)], [density], model.inputs))
    facts: dict[str, Any] = {
        "file": str(file),
        "formula": density.crystal.formula,
        "properties": {
            name: {
                "value": float(predictions.mean[name][0]),
                "std": float(predictions.std[name][0]),
                "unit": TARGETS[name].units,
                "model": model.identifier,
            }
            for name in TARGETS
            if name in model.targets and TARGETS[name].served
        },
    }
    if predictions.remarks[0]:
        facts["unlike_training"] = list(predictions.remarks[0])
    return facts


def _print_tables(found: list[dict[str, Any]]) -> None:
    from chgdb.models import TARGETS

    headers = [("file", False), ("formula", False), ("property", False), ("value", True), ("std", True), ("", False)]
    rows = [
        [facts["file"], facts["formula"], TARGETS[name].label, *_rounded(p["value"], p["std"]), unit(p["unit"])]
        for facts in found
        for name, p in facts["properties"].items()
    ]
    if rows:
        print_table(headers, rows)
        print(f"Model {next(iter(found[0]['properties'].values()))['model']}; 90 % of true values within 1.645 std")


def _rounded(value: float, std: float) -> tuple[str, str]:
    """Both to the second digit of the std.

    >>> _rounded(97.8321, 8.4412), _rounded(312.4, 41.0), _rounded(-0.0123, 0.0004), _rounded(-0.001, 0.2)
    (('97.8', '8.4'), ('312', '41'), ('-0.01230', '0.00040'), ('0.00', '0.20'))
    """
    import math

    digits = 3 if not std > 0 else max(0, 1 - math.floor(math.log10(std)))
    # Adding zero makes a negative zero positive.
    return f"{round(value, digits) + 0.0:.{digits}f}", f"{std:.{digits}f}"


def _print_csv(found: list[dict[str, Any]]) -> None:
    """Headers as `chgdb build --properties` reads them: name and unit."""
    from chgdb.models import SERVED, TARGETS

    writer = csv.writer(sys.stdout, lineterminator="\n")
    columns = ["file", "formula", "model"]
    for name in SERVED:
        units = TARGETS[name].units.replace("/", "_per_")
        columns += [f"{name}_{units}", f"{name}_std_{units}"]
    writer.writerow([*columns, "unlike_training"])
    for facts in found:
        properties = facts["properties"]
        line = [facts["file"], facts["formula"], next(iter(properties.values()))["model"]]
        for name in SERVED:
            line += [f"{properties[name][key]:.6g}" if name in properties else "" for key in ("value", "std")]
        writer.writerow([*line, "; ".join(facts.get("unlike_training", ()))])
