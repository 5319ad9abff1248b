"""`chgdb train`: models made from a catalog."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from chgdb_cli import train_autoencoder, train_density
from chgdb_cli.arguments import CatalogOption, JsonOption, QuietOption, SchedulerOption, check_name, open_store
from chgdb_cli.output import message, print_json, print_table

#: Models that are compared in the documentation alone.
_NOT_BY_DEFAULT = ("lightgbm_512", "singletarget")

train = typer.Typer(
    name="train",
    help="Train the models of a catalog.",
    rich_markup_mode=None,
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    app.add_typer(train)
    train_autoencoder.register(train)
    train_density.register(train)


@train.command(
    short_help="Models from densities to properties.",
    epilog="""\b
Examples:
  chgdb train properties                           every model, on the embedded catalog, into its folder of models
  chgdb train properties --model invariant --cache features/
  chgdb train properties --catalog my.zarr --model magpie -o my-models""",
)
def properties(
    model: Annotated[
        list[str] | None, typer.Option("--model", metavar="NAME", help="Train this model; may be repeated.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FOLDER", help="Folder that gets a subfolder for each model."),
    ] = None,
    structures: Annotated[
        Path | None,
        typer.Option(metavar="JSONL", help="Structures without a density, for models that can learn from them."),
    ] = None,
    labels: Annotated[Path | None, typer.Option(metavar="CSV", help="Labels of these structures, by id.")] = None,
    cache: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Keep features of densities here between runs.")
    ] = None,
    folds: Annotated[int, typer.Option(min=2, max=20, help="Number of members; each is trained without one fold.")] = 5,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes. [default: one for each core]")] = None,
    scheduler: SchedulerOption = None,
    catalog: CatalogOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train property models on the labels of a catalog's columns and store their weights.

    Prints how each did on formulas that the predicting member had not seen (five folds grouped by formula).
    """
    from chgdb import models
    from chgdb.models import ensemble, rows
    from chgdb.models.training import summary
    from chgdb.models.training import train as train_model
    from chgdb.plugins import models_folder

    if (structures is None) != (labels is None):
        raise typer.BadParameter("--structures and --labels go together", param_hint="--structures")
    chosen = model or [name for name in models.names() if name not in _NOT_BY_DEFAULT]
    check_name(models.REGISTRY, chosen, "--model")
    opened = open_store(catalog)
    shown = not quiet and sys.stderr.isatty()
    inputs = ensemble.required_inputs(chosen)
    how: dict[str, Any] = {"cache": cache, "workers": workers, "scheduler": scheduler, "progress": shown}
    materials = rows.from_catalog(opened, inputs, **how)
    known = rows.labels(opened, materials)
    extra = None
    if structures is not None and labels is not None:
        from chgdb_catalog.structures import load

        extra = load(structures, labels, set(opened.ids), inputs, **how)
    facts: list[dict[str, Any]] = []
    for name in chosen:
        place = (output or models_folder("properties")) / name
        note = None if quiet else (lambda text, name=name: message(f"{name}: {text}"))
        trained, found = train_model(
            name, opened, materials, known, place, extra=extra, folds=folds, seed=seed, progress=note
        )
        served = {target: known[target] for target in trained.targets}
        facts.append({"model": trained.identifier, "path": str(place), "scores": summary(materials, served, found)})
    if as_json:
        print_json(facts)
        return
    headers = [("model", False), ("property", False), ("rows", True), ("R2", True), ("MAE", True), ("in 90 %", True)]
    table = []
    for fact in facts:
        for target, score in fact["scores"].items():
            units = models.TARGETS[target].units
            table.append(
                [
                    fact["model"],
                    target,
                    str(score["n"]),
                    f"{score['r2']:.3f}",
                    f"{score['mae']:.3g} {units}",
                    f"{100 * score['coverage_90']:.0f} %",
                ]
            )
    print_table(headers, table)
