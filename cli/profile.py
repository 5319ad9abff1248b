"""`chgdb profile`, `chgdb values` and `chgdb spheres`: numbers of a density, as text, CSV or JSON."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from chgdb.urls import file_name, without_secrets
from chgdb_cli.arguments import (
    CatalogOption,
    ElementsOption,
    ForceOption,
    JsonOption,
    by_element,
    check_free,
    complete_channel,
    complete_id,
    load,
)
from chgdb_cli.output import message, print_json, print_table, write_csv
from chgdb_cli.plot import Axis

Source = Annotated[str, typer.Argument(metavar="ID|FILE", help="A material id or a file.", autocompletion=complete_id)]
ChannelOption = Annotated[
    str,
    typer.Option(
        autocompletion=complete_channel,
        help="total, spin_up, spin_down, magnetization, or magnetization_x, _y, _z, _norm.",
    ),
]
OutputOption = Annotated[
    str | None,
    typer.Option("--output", "-o", metavar="PATH", help="CSV, or by its suffix a picture. [default: standard output]"),
]


def register(app: typer.Typer) -> None:
    app.command(
        epilog="""\b
Examples:
  chgdb profile CHGCAR                             CSV on standard output
  chgdb profile slab.CHGCAR --window 4.05 -o profile.csv
  chgdb profile diff.CHGCAR --axis a -o profile.pdf
  chgdb profile mp-149 --json | jq .average""",
    )(profile)
    app.command(
        epilog="""\b
Examples:
  chgdb values CHGCAR --at 0.125,0.125,0.125
  chgdb values CHGCAR --from 0,0,0 --to 0.25,0.25,0.25 --points 51 -o bond.csv""",
    )(values)
    app.command(
        epilog="""\b
Examples:
  chgdb spheres CHGCAR --radius 1.2
  chgdb spheres CHGCAR --radius Fe=1.3,O=0.8 --channel magnetization
  chgdb spheres CHGCAR --radius 0.5 --at 0.5,0.5,0.5""",
    )(spheres)


#: Planes of a picture at least: the Fourier series is smooth between the planes of the grid.
_SMOOTH = 300


def profile(
    source: Source,
    axis: Annotated[Axis, typer.Option(help="Lattice vector; the planes are spanned by the other two.")] = Axis.c,
    window: Annotated[
        float | None,
        typer.Option(metavar="Å", help="Macroscopic average over this length, such as the distance of layers."),
    ] = None,
    channel: ChannelOption = "total",
    points: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Planes, by Fourier interpolation. [default: the grid's; more in a picture]"
        ),
    ] = None,
    output: OutputOption = None,
    elements: ElementsOption = None,
    catalog: CatalogOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Average a density over the planes of two lattice vectors, along the third.

    Columns: fraction and distance (Å) along the lattice vector, average and with --window the macroscopic average
    (e/Å^3, μB/Å^3 of a magnetisation), and the integral of the average up to the plane (electrons).
    """
    from chgdb.profiles import planar_average

    if output is not None:
        check_free(output, force)
    density = load(source, catalog, elements)
    picture = output is not None and output.lower().endswith((".png", ".pdf", ".svg"))
    along = "abc".index(axis.value)
    if picture and points is None:
        points = density.grid[along] * -(-_SMOOTH // density.grid[along])
    found = planar_average(density, along, channel=channel, window=window, points=points)
    columns: dict[str, Sequence[float]] = {
        "fraction": found.fraction.tolist(),
        "distance": found.distance.tolist(),
        "average": found.average.tolist(),
    }
    if found.macroscopic is not None:
        columns["macroscopic"] = found.macroscopic.tolist()
    columns["cumulative"] = found.cumulative.tolist()
    facts = {
        "source": without_secrets(source),
        "formula": density.crystal.formula,
        "channel": channel,
        "axis": axis.value,
    }
    if found.window is not None:
        facts |= {"window": found.window}
    if as_json:
        print_json(facts | columns)
    if output is not None and picture:
        from chgdb_cli.figures import draw_profile

        draw_profile(density, found, output, channel=channel, title=file_name(source))
        message(f"{output}: written")
    elif output is not None or not as_json:
        write_csv(columns, output)


def values(
    source: Source,
    at: Annotated[
        list[str] | None, typer.Option(metavar="X,Y,Z", help="Fractional coordinates; may be given several times.")
    ] = None,
    start: Annotated[str | None, typer.Option("--from", metavar="X,Y,Z", help="Where a line begins.")] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="X,Y,Z", help="Where it ends.")] = None,
    points: Annotated[int, typer.Option(metavar="N", min=2, help="Points of the line, its ends included.")] = 101,
    channel: ChannelOption = "total",
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="PATH", help="CSV. [default: standard output]")
    ] = None,
    elements: ElementsOption = None,
    catalog: CatalogOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Values at points or along a line, in e/Å^3, by Fourier series: exact where the grid resolves the density."""
    from chgdb.profiles import along_line, values_at

    if bool(at) == (start is not None or end is not None) or (start is None) != (end is None):
        raise typer.BadParameter("give points with --at, or a line with --from and --to", param_hint="--at")
    places = [_point(text, "--at") for text in at or []]
    ends = None if start is None or end is None else (_point(start, "--from"), _point(end, "--to"))
    if output is not None:
        check_free(output, force)
    density = load(source, catalog, elements)
    columns: dict[str, Sequence[float]] = {}
    if ends is not None:
        place, distance, found = along_line(density, *ends, points, channel=channel)
        columns["distance"] = distance.tolist()
        places = place.tolist()
    else:
        found = values_at(density, places, channel=channel)
    columns |= {axis: [row[i] for row in places] for i, axis in enumerate("abc")}
    columns["value"] = found.tolist()
    if as_json:
        print_json(
            {"source": without_secrets(source), "formula": density.crystal.formula, "channel": channel} | columns
        )
    if output is not None or not as_json:
        write_csv(columns, output)


def spheres(
    source: Source,
    radius: Annotated[
        str, typer.Option(metavar="Å|El=Å,...", help="Radius of all spheres, or of those around each element.")
    ],
    at: Annotated[
        list[str] | None,
        typer.Option(metavar="X,Y,Z", help="Centre in fractional coordinates, instead of the atoms; may be repeated."),
    ] = None,
    channel: ChannelOption = "total",
    output: Annotated[str | None, typer.Option("--output", "-o", metavar="PATH", help="CSV of it.")] = None,
    elements: ElementsOption = None,
    catalog: CatalogOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Integrals in spheres around atoms or points: electrons, or the magnetic moment in μB of a magnetisation.

    The integral over a sphere depends on its radius: compare only integrals of the same radii.
    """
    from chgdb.profiles import in_spheres

    centres = [_point(text, "--at") for text in at or []]
    sizes = _radii(radius)
    if output is not None:
        check_free(output, force)
    density = load(source, catalog, elements)
    symbols = ["point"] * len(centres) if centres else density.crystal.symbols
    if isinstance(sizes, dict) and not set(symbols) <= set(sizes):
        missing = ", ".join(sorted(set(symbols) - set(sizes)))
        raise typer.BadParameter(f"no radius is given for {missing}", param_hint="--radius")
    each = [sizes[symbol] if isinstance(sizes, dict) else sizes for symbol in symbols]
    places = centres or density.crystal.positions.tolist()
    found: Sequence[float] = list(in_spheres(density, each, places, channel=channel)) if places else []
    columns: dict[str, Sequence[Any]] = {
        "atom": list(range(1, len(each) + 1)),
        "element": symbols,
        "radius": each,
        "integral": [float(value) for value in found],
    }
    if as_json:
        print_json(
            {"source": without_secrets(source), "formula": density.crystal.formula, "channel": channel} | columns
        )
    if output is not None:
        write_csv(columns, output)
    elif not as_json:
        headers = [("atom", True), ("element", False), ("radius (Å)", True), ("integral", True)]
        rows = zip(*columns.values(), strict=True)
        print_table(headers, [[str(n), name, f"{r:g}", f"{value + 0.0:.6f}"] for n, name, r, value in rows])


def _point(text: str, option: str) -> list[float]:
    """
    >>> _point("0, 0.5,1e-1", "--at")
    [0.0, 0.5, 0.1]
    """
    try:
        x, y, z = (float(part) for part in text.split(","))
    except ValueError:
        x = y = z = math.nan
    if not all(map(math.isfinite, (x, y, z))):
        raise typer.BadParameter(f"{text!r} is not a point such as 0,0.5,0.25", param_hint=option)
    return [x, y, z]


def _radii(text: str) -> float | dict[str, float]:
    """
    >>> _radii("1.2"), _radii("Fe=1.3,O=0.8")
    (1.2, {'Fe': 1.3, 'O': 0.8})
    """
    number = text.strip()
    if re.fullmatch(r"(\d+\.?\d*|\.\d+)", number) and float(number) > 0:
        return float(number)
    return by_element(text, "--radius", "a radius in Å such as 1.2, or Fe=1.3,O=0.8")
