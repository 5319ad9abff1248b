"""`chgdb train density`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chgdb_cli.arguments import CatalogOption, JsonOption, QuietOption, open_store
from chgdb_cli.output import message, percent, print_json, show

if TYPE_CHECKING:
    from chgdb.densities.training import Progress


def register(train: typer.Typer) -> None:
    train.command(
        "density",
        short_help="The model of densities from structures.",
        epilog="""\b
Examples:
  chgdb train density -o model --members 2 --minutes 40
  chgdb train density -o mine --catalog my.zarr --start catalog --minutes 10
  chgdb train density -o model --more drawn.zarr      with further densities
  chgdb estimate POSCAR -o CHGCAR --model mine""",
    )(density)


def density(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Folder of the model.")],
    members: Annotated[int, typer.Option(min=1, max=20, help="Number of networks; the estimate is their mean.")] = 2,
    epochs: Annotated[int, typer.Option(min=1, help="Maximum number of epochs of each member.")] = 60,
    minutes: Annotated[float, typer.Option(min=0, help="Maximum time of each member; 0 for no limit.")] = 0.0,
    batch: Annotated[int, typer.Option(min=1, help="Materials in a batch.")] = 16,
    learning_rate: Annotated[float | None, typer.Option(help="[default: 0.002; with --start 0.0003]")] = None,
    weight_decay: Annotated[float, typer.Option(min=0, help="Weight decay of AdamW.")] = 0.02,
    dropout: Annotated[float, typer.Option(min=0, max=0.9, help="Dropout of the atoms' scalars.")] = 0.05,
    channels: Annotated[int, typer.Option(min=1, help="Number of functions on the sphere of an atom.")] = 48,
    width: Annotated[int, typer.Option(min=1, help="Number of scalars of an atom.")] = 128,
    carried: Annotated[int, typer.Option(min=0, help="Number of functions on the sphere that messages carry.")] = 16,
    channel: Annotated[str, typer.Option(help="What is learned: total, or magnetization.")] = "total",
    target: Annotated[
        str, typer.Option(help="What networks learn: difference; or total, for comparison.")
    ] = "difference",
    seed: Annotated[int, typer.Option(help="Seed of the first member; the next members have the next seeds.")] = 0,
    start: Annotated[
        str | None, typer.Option("--start", metavar="MODEL", help="First weights and atoms: a model, or `catalog`.")
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option("--keep", metavar="MODEL", help="Members that stay beside the new: a model, or `catalog`."),
    ] = None,
    more: Annotated[
        list[str] | None, typer.Option("--more", metavar="STORE", help="Further densities; may be repeated.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that read densities.")] = None,
    catalog: CatalogOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train the networks that `chgdb estimate` guesses with, on the training part of a catalog.

    The validation part calibrates the error that estimates state. Run again with the same options, it goes on where
    it was interrupted.
    """
    from chgdb.errors import require

    require("torch", "ml", "chgdb train density")
    from chgdb.densities import ensemble
    from chgdb.densities import model as models
    from chgdb.densities.architecture import Configuration
    from chgdb.densities.training import Recipe

    if channel not in ("total", "magnetization"):
        raise typer.BadParameter(f"{channel!r}: expected total or magnetization", param_hint="--channel")
    first = None if start is None else models.load(None if start == "catalog" else start, channel)
    recipe = Recipe(
        epochs=epochs, minutes=minutes, batch=batch, weight_decay=weight_decay, dropout=dropout, target=target,
        learning_rate=learning_rate or (2e-3 if first is None else 3e-4), seed=seed,
    )  # fmt: skip
    stay = None if keep is None else models.load(None if keep == "catalog" else keep, channel)
    own = Configuration(channels=channels, width=width, carried=carried)
    sizes = [own] * members if first is None else [member.configuration for member in first.members]
    recipes = [(size, replace(recipe, seed=seed + index)) for index, size in enumerate(sizes)]
    with _bar(len(recipes), shown=not quiet) as report:
        model = ensemble.train(
            open_store(catalog), output, recipes, more=[open_store(path) for path in more or ()], start=first,
            channel=channel, keep=stay,
            workers=workers, progress=not quiet and sys.stderr.isatty(), report=report,
        )  # fmt: skip
    facts: dict[str, Any] = {"model": model.identifier, "path": str(output), **model.facts}
    facts["calibration"] = None if model.calibration is None else model.calibration.to_dict()
    if as_json:
        print_json(facts)
        return
    show(
        f"{model.identifier} in {output}: {len(model.members)} members, "
        f"{facts['members'][-1]['materials']['train']} materials"
    )
    if facts["members"][-1].get("validation") is not None:
        show(f"  NMAE of the last member on the validation part {percent(facts['members'][-1]['validation'])}")
    if model.calibration is None:
        message("too few materials in the validation part: estimates of this model state no error")


@contextmanager
def _bar(members: int, shown: bool) -> Iterator[Callable[[int, Progress], None]]:
    """A progress bar with the errors on a terminal; a line for each look at the validation part elsewhere."""
    if not shown:
        yield lambda member, progress: None
        return
    if not sys.stderr.isatty():
        yield (
            lambda member, p: (
                None if p.validation != p.validation else message(f"member {member + 1}: epoch {p.epoch}, {_errors(p)}")
            )
        )
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("member {task.fields[member]}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[errors]}"), console=Console(stderr=True)) as bar:
        item = bar.add_task("", total=members, member="", errors="")
        yield lambda member, p: bar.update(
            item, completed=member + p.share, member=f"{member + 1}/{members}", errors=_errors(p)
        )


def _errors(progress: Progress) -> str:
    """
    >>> from types import SimpleNamespace
    >>> _errors(SimpleNamespace(train=0.005, validation=float("nan")))
    'training 0.5 %'
    """
    parts = {"training": progress.train, "validation": progress.validation}
    return ", ".join(f"{name} {percent(value)}" for name, value in parts.items() if value == value)
