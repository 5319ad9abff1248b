"""`chgdb train autoencoder`."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chgdb_cli.arguments import CatalogOption, JsonOption, QuietOption, open_store
from chgdb_cli.output import message, print_json, show

if TYPE_CHECKING:
    from chgdb.latents.training import Epoch


def register(train: typer.Typer) -> None:
    train.command(
        "autoencoder",
        short_help="The autoencoder of the latents.",
        epilog="""\b
Examples:
  chgdb train autoencoder -o periodic --epochs 36 --schedule cosine
  chgdb train autoencoder --variant published -o published       as in arXiv 2605.07227
  chgdb train autoencoder --catalog my.zarr -o mine --minutes 30
  chgdb plot periodic/log.jsonl                                   the losses as a picture""",
    )(autoencoder)


def autoencoder(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Folder of the model.")],
    variant: Annotated[str | None, typer.Option(help="periodic (the catalog's), published, difference, ...")] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Maximum number of epochs.")] = 200,
    minutes: Annotated[float, typer.Option(min=0, help="Maximum time of all sessions together; 0 for no limit.")] = 0.0,
    batch: Annotated[int, typer.Option(min=1, help="Densities in a batch; all have the same grid.")] = 4,
    learning_rate: Annotated[
        float, typer.Option(help="Learning rate of Adam; for Muon, relative to the weights.")
    ] = 1e-3,
    optimiser: Annotated[str, typer.Option(help="adam or muon.")] = "adam",
    schedule: Annotated[str, typer.Option(help="plateau or cosine.")] = "plateau",
    patience: Annotated[int, typer.Option(min=1, help="Epochs without progress after which training stops.")] = 10,
    rate: Annotated[float, typer.Option(min=0, help="Weight of the latent's size; lapped networks only.")] = 0.2,
    part: Annotated[
        int, typer.Option(min=0, help="Side of the part of a zero-padded cell that a step sees, in points; 0: all.")
    ] = 0,
    precision: Annotated[str, typer.Option(help="bfloat16, float32, or auto: what suits the device.")] = "auto",
    seed: Annotated[int, typer.Option(help="Seed of all random numbers.")] = 0,
    start: Annotated[
        Path | None, typer.Option("--start", metavar="FOLDER", help="Model whose weights are the first ones.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="Device of torch. [default: the GPU if there is one]")] = None,
    catalog: CatalogOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train an autoencoder on the densities of a catalog.

    Run again with the same options, it goes on after the last epoch that was complete.
    """
    from chgdb.errors import require

    require("torch", "ml", "chgdb train autoencoder")
    from chgdb.latents import training
    from chgdb.latents.volumes import CONFIGURATIONS, DEFAULT

    name = variant or DEFAULT
    if name not in CONFIGURATIONS:
        raise typer.BadParameter(
            f"there is no variant {name!r}; there are {', '.join(CONFIGURATIONS)}", param_hint="--variant"
        )
    recipe = training.Recipe(
        epochs=epochs, minutes=minutes, batch=batch, learning_rate=learning_rate, optimiser=optimiser,
        schedule=schedule, patience=patience, rate=rate, part=part, precision=precision, seed=seed,
    )  # fmt: skip
    materials = training.from_catalog(open_store(catalog), progress=not quiet and sys.stderr.isatty())
    with _bar(epochs, shown=not quiet) as report:
        model = training.train(
            CONFIGURATIONS[name], recipe, *materials, output, start=start, device=device, report=report
        )
    facts = {"model": model.identifier, "path": str(output), **model.description["training"]}
    if as_json:
        print_json(facts)
    else:
        show(f"{model.identifier} in {output}: {facts['epochs']} epochs, validation loss "
              f"{facts['best_validation_loss']:.4g}")  # fmt: skip


@contextmanager
def _bar(epochs: int, shown: bool) -> Iterator[Callable[[Epoch], None]]:
    """A progress bar with the losses on a terminal; a line an epoch elsewhere."""
    if not shown:
        yield lambda progress: None
        return
    if not sys.stderr.isatty():
        yield lambda p: None if math.isnan(p.validation) else message(f"epoch {p.epoch}: {_losses(p)}")
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("epoch {task.fields[epoch]}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[losses]}"), console=Console(stderr=True)) as bar:
        item = bar.add_task("", total=epochs, epoch="", losses="")
        yield lambda p: bar.update(
            item, completed=p.epoch + p.epoch_done, epoch=f"{p.epoch}/{epochs}", losses=_losses(p)
        )


def _losses(progress: Epoch) -> str:
    """
    >>> from types import SimpleNamespace
    >>> _losses(SimpleNamespace(train=0.25, validation=0.5, best=float("inf")))
    'training 0.25, validation 0.5'
    """
    parts = {"training": progress.train, "validation": progress.validation, "best": progress.best}
    return ", ".join(f"{name} {value:.4g}" for name, value in parts.items() if abs(value) < float("inf"))
