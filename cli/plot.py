"""`chgdb plot`: a picture of a density."""

from __future__ import annotations

import enum
import math
import os
from typing import Annotated

import typer

from chgdb.urls import file_name
from chgdb_cli.arguments import (
    CatalogOption,
    ElementsOption,
    ForceOption,
    check_free,
    complete_channel,
    complete_id,
    load,
)
from chgdb_cli.output import show


class Axis(enum.StrEnum):
    a = "a"
    b = "b"
    c = "c"


def register(app: typer.Typer) -> None:
    app.command(
        epilog="""\b
Examples:
  chgdb plot mp-149                                writes mp-149.png
  chgdb plot CHGCAR --axis b --at 0.25 -o slice.png
  chgdb plot CHGCAR --channel magnetization -o spin.pdf
  chgdb plot periodic/log.jsonl -o losses.svg      how a training went""",
    )(plot)


def plot(
    source: Annotated[
        str, typer.Argument(metavar="ID|FILE", help="A material id or a file.", autocompletion=complete_id)
    ],
    axis: Annotated[
        Axis, typer.Option(help="Lattice vector of the profile; the slice is spanned by the other two.")
    ] = Axis.c,
    at: Annotated[
        float | None, typer.Option(metavar="FRACTION", help="Where the slice lies along it. [default: through an atom]")
    ] = None,
    channel: Annotated[
        str,
        typer.Option(
            autocompletion=complete_channel,
            help="total, spin_up, spin_down, magnetization, or magnetization_x, _y, _z, _norm.",
        ),
    ] = "total",
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="PATH", help="Picture; its suffix tells the format.")
    ] = None,
    elements: ElementsOption = None,
    catalog: CatalogOption = None,
    force: ForceOption = False,
) -> None:
    """Draw a slice of a density and its average over planes along a lattice vector.

    The log.jsonl of a training (chgdb train autoencoder) is drawn as losses against epochs.

    Needs matplotlib: pip install 'chgdb[plot]'.
    """
    from chgdb.channels import available
    from chgdb_cli.figures import draw, draw_training

    if at is not None and not math.isfinite(at):
        raise typer.BadParameter(f"{at} is not a fraction of a lattice vector", param_hint="--at")
    path = output or _name(source)
    check_free(path, force)
    if os.path.basename(source) == "log.jsonl":
        draw_training({os.path.basename(os.path.dirname(os.path.abspath(source))): source}, path)
        show(path)
        return
    density = load(source, catalog, elements)
    names = available(density.channels)
    if channel not in names:
        raise typer.BadParameter(f"{source} has {', '.join(names)}", param_hint="--channel")
    draw(density, path, axis="abc".index(axis.value), fraction=at, channel=channel, title=file_name(source))
    show(path)


def _name(source: str) -> str:
    """Name of the picture, in the current folder.

    >>> _name("mp-149"), _name("runs/Si/CHGCAR.gz"), _name("https://me:secret@example.org/NaCl.cube?signature=abc")
    ('mp-149.png', 'CHGCAR.png', 'NaCl.png')
    """
    name = file_name(source)
    for suffix in (".gz", ".bz2", ".xz", ".zst", ".cube", ".npz", ".json", ".jsonl", ".vasp", ".CHGCAR"):
        name = name.removesuffix(suffix)
    return name + ".png"
