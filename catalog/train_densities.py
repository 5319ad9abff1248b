"""Train the density model that the package serves: one command, from the catalog and the drawn structures.

    python catalog/train_densities.py WORK              resumable: kill it at any moment and start it again
        -> WORK/first       three members, on the catalog alone
        -> WORK/served      the same members, gone on with the drawn structures besides
    cp WORK/served/model.safetensors catalog/models/density/

Some six hours of one core. The bytes of the served file are others: its trainings ended after a time and not after
these epochs, and its form factors were fitted anew in the second stage and not corrected. Its header says how far each
member came.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

if not __package__:  # run as a script: the folder is importable as chgdb_catalog once chgdb is installed
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from chgdb.catalog import open_catalog
from chgdb.densities import ensemble
from chgdb.densities.architecture import Configuration
from chgdb.densities.model import DensityModel
from chgdb.densities.training import Progress, Recipe
from chgdb_catalog.drawing import STORE
from chgdb_catalog.scripts import main

_PLAIN = Configuration(carried=0)
#: Members of the first stage. The second has messages that carry functions on the sphere, the last more dropout.
FIRST = (
    (_PLAIN, Recipe(epochs=47, seed=0)),
    (Configuration(carried=16), Recipe(epochs=62, seed=1)),
    (_PLAIN, Recipe(epochs=44, seed=2, dropout=0.12, weight_decay=0.05)),
)
#: Of the second stage: dropout of each member. Sooner on the grid than the first, because the weights are good already.
_AGAIN = Recipe(epochs=40, learning_rate=1e-3, weight_decay=0.03, real_space=0.35)
SECOND = tuple(
    (sizes, replace(_AGAIN, seed=20 + k, dropout=dropout))
    for k, ((sizes, _), dropout) in enumerate(zip(FIRST, (0.06, 0.06, 0.1), strict=True))
)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)


@app.command()
def train(
    work: Annotated[Path, typer.Argument(help="Folder of both models and their checkpoints; made if missing.")],
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that read densities.")] = None,
) -> None:
    """Train the density model that the package serves."""
    catalog, drawn = open_catalog(None), open_catalog(STORE)

    def report(stage: str, member: int, progress: Progress) -> None:
        if progress.validation == progress.validation:
            print(
                f"{stage}, member {member + 1}: epoch {progress.epoch}, validation {progress.validation:.5f}",
                flush=True,
            )

    def stage(name: str, recipes: tuple[tuple[Configuration, Recipe], ...], start: DensityModel | None) -> DensityModel:
        return ensemble.train(
            catalog, work / name, recipes, more=[] if start is None else [drawn], start=start, workers=workers,
            progress=sys.stderr.isatty(), report=lambda member, progress: report(name, member, progress),
        )  # fmt: skip

    model = stage("served", SECOND, stage("first", FIRST, None))
    print(f"{model.identifier}: {work / 'served'}")


if __name__ == "__main__":
    main(app)
