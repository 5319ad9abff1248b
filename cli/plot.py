"""`chgdb plot`: pictures of a density: slices, planes, isosurfaces."""

from __future__ import annotations

import enum
import math
import os
import re
from typing import TYPE_CHECKING, Annotated

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

if TYPE_CHECKING:
    from chgdb import Density
    from chgdb.sections import Section
    from chgdb_cli.figures import Style


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
  chgdb plot CHGCAR --plane 1,1,0 --log            writes CHGCAR-110.png
  chgdb plot CHGCAR --through 1,2,5                the plane of three atoms
  chgdb plot CHGCAR --isosurface auto
  chgdb plot CHGCAR --channel magnetization --range -0.5:0.5
  chgdb plot diff.CHGCAR --size 8.6x6 -o figure.pdf
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
        float | None,
        typer.Option(
            metavar="FRACTION",
            help="Where the slice lies along it, or a --plane in distances of such planes. [default: through atoms]",
        ),
    ] = None,
    plane: Annotated[
        str | None, typer.Option(metavar="H,K,L", help="A lattice plane instead of a slice, by its Miller indices.")
    ] = None,
    through: Annotated[
        str | None, typer.Option(metavar="I,J,K", help="The plane through three atoms, counted from 1.")
    ] = None,
    isosurface: Annotated[
        str | None,
        typer.Option(metavar="VALUE|auto", help="An isosurface instead; auto: with 70 % of the electrons inside."),
    ] = None,
    view: Annotated[
        str, typer.Option(metavar="AROUND,ABOVE", help="Of an isosurface: degrees around c and above a and b.")
    ] = "25,15",
    channel: Annotated[
        str,
        typer.Option(
            autocompletion=complete_channel,
            help="total, spin_up, spin_down, magnetization, or magnetization_x, _y, _z, _norm.",
        ),
    ] = "total",
    log: Annotated[bool, typer.Option("--log", help="Logarithmic colours.")] = False,
    linear: Annotated[
        bool, typer.Option("--linear", help="Linear colours. [default: by the square root of the value]")
    ] = False,
    limits: Annotated[
        str | None, typer.Option("--range", metavar="LOW:HIGH", help="Values at the ends of the colours.")
    ] = None,
    colours: Annotated[
        str | None, typer.Option("--cmap", metavar="NAME", help="Colour map of matplotlib. [default: viridis, RdBu_r]")
    ] = None,
    contours: Annotated[int, typer.Option(metavar="N", min=0, max=200, help="Lines of equal value.")] = 10,
    profile: Annotated[bool, typer.Option("--profile/--no-profile", help="Draw the profile beside a slice.")] = True,
    size: Annotated[str | None, typer.Option(metavar="WxH", help="Width and height in cm, such as 8.6x6.")] = None,
    dpi: Annotated[int, typer.Option(metavar="N", min=20, max=2400, help="Dots per inch.")] = 160,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="PATH", help="Picture; its suffix tells the format: png, pdf or svg."),
    ] = None,
    elements: ElementsOption = None,
    catalog: CatalogOption = None,
    force: ForceOption = False,
) -> None:
    """Draw a slice of a density and its average over planes along a lattice vector, another plane, or an isosurface.

    The colours of a density go from zero to four times the value that half of the electrons in the picture are above,
    those of a difference or a magnetisation as far on both sides. chgdb profile writes averages as CSV. The log.jsonl
    of a training (chgdb train autoencoder) is drawn as losses against epochs.

    Needs matplotlib: pip install 'chgdb[plot]'.
    """
    from chgdb_cli.figures import Style, draw_training

    _check_options(at, [plane, through, isosurface], log and linear)
    kind = "log" if log else "linear" if linear else "root"
    style = Style(kind, _parse_range(limits), colours, contours, _parse_size(size, dpi), dpi, profile)
    miller, atoms = _whole_numbers(plane, "--plane", "1,1,0"), _whole_numbers(through, "--through", "1,2,5")
    level, eye = _parse_level(isosurface), _parse_view(view)
    path = output or _name(source, channel, miller, atoms, isosurface)
    check_free(path, force)
    if os.path.basename(source) == "log.jsonl":
        draw_training({os.path.basename(os.path.dirname(os.path.abspath(source))): source}, path)
        show(path)
        return
    density = load(source, catalog, elements)
    _check_channel(density, channel, source)
    if isosurface is not None:
        from chgdb_cli.surfaces import draw_isosurface

        draw_isosurface(density, path, channel=channel, title=file_name(source), style=style, level=level, view=eye)
    else:
        _draw_plane(density, path, "abc".index(axis.value), at, miller, atoms, channel, file_name(source), style)
    show(path)


def _check_channel(density: Density, channel: str, source: str) -> None:
    from chgdb.channels import available

    names = available(density.channels)
    if channel not in names:
        raise typer.BadParameter(f"{source} has {', '.join(names)}", param_hint="--channel")


def _check_options(at: float | None, one_of: list[str | None], both_scales: bool) -> None:
    """Raises `typer.BadParameter` for options that contradict each other."""
    if at is not None and not math.isfinite(at):
        raise typer.BadParameter(f"{at} is not a fraction of a lattice vector", param_hint="--at")
    if sum(option is not None for option in one_of) > 1:
        raise typer.BadParameter("give one of --plane, --through and --isosurface", param_hint="--plane")
    if both_scales:
        raise typer.BadParameter("give either --log or --linear", param_hint="--log")


def _draw_plane(
    density: Density,
    path: str,
    axis: int,
    at: float | None,
    miller: list[int] | None,
    atoms: list[int] | None,
    channel: str,
    title: str,
    style: Style,
) -> None:
    from chgdb.sections import lattice_plane, through_atoms
    from chgdb_cli.figures import axis_section, draw

    section: Section
    if miller is not None:
        section = lattice_plane(density.crystal, miller, at)
    elif atoms is not None:
        section = through_atoms(density.crystal, atoms)
    else:
        section = axis_section(density, axis, at)
    across = axis if miller is None and atoms is None else None
    draw(density, path, section, channel=channel, title=title, style=style, axis=across)


def _name(
    source: str,
    channel: str = "total",
    miller: list[int] | None = None,
    atoms: list[int] | None = None,
    isosurface: str | None = None,
) -> str:
    """Name of the picture, in the current folder.

    >>> _name("mp-149"), _name("runs/Si/CHGCAR.gz"), _name("https://me:secret@example.org/NaCl.cube?signature=abc")
    ('mp-149.png', 'CHGCAR.png', 'NaCl.png')
    >>> _name("mp-13", "magnetization", [1, -1, 0]), _name("mp-149", isosurface="auto")
    ('mp-13-magnetization-plane_1_-1_0.png', 'mp-149-isosurface.png')
    """
    name = file_name(source)
    for suffix in (".gz", ".bz2", ".xz", ".zst", ".cube", ".npz", ".json", ".jsonl", ".vasp", ".CHGCAR"):
        name = name.removesuffix(suffix)
    parts = [name] if channel == "total" else [name, channel]
    for word, numbers in (("plane", miller), ("atoms", atoms)):
        if numbers is not None:
            parts.append("_".join([word, *map(str, numbers)]))
    if isosurface is not None:
        parts.append("isosurface")
    return "-".join(parts) + ".png"


def _whole_numbers(text: str | None, option: str, example: str) -> list[int] | None:
    """
    >>> _whole_numbers("1,-1,0", "--plane", "1,1,0")
    [1, -1, 0]
    """
    if text is None:
        return None
    parts = text.replace(",", " ").split()
    if len(parts) != 3 or not all(re.fullmatch(r"[+-]?\d{1,6}", part) for part in parts):
        raise typer.BadParameter(f"{text!r} is not three whole numbers such as {example}", param_hint=option)
    return [int(part) for part in parts]


def _finite(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _parse_range(text: str | None) -> tuple[float, float] | None:
    """
    >>> _parse_range("-0.5:0.5")
    (-0.5, 0.5)
    """
    if text is None:
        return None
    found = [_finite(part) for part in text.split(":")]
    low, high = found if len(found) == 2 else (None, None)
    if low is None or high is None or not low < high:
        raise typer.BadParameter(f"{text!r} is not a range such as 0:1.5, the lower end first", param_hint="--range")
    return low, high


def _parse_size(text: str | None, dpi: int) -> tuple[float, float] | None:
    """
    >>> _parse_size("8.6x6cm", 300)
    (8.6, 6.0)
    """
    if text is None:
        return None
    match = re.fullmatch(r"([\d.]+)[x×]([\d.]+) *(?:cm)?", text.strip())
    width, height = (_finite(part) for part in match.groups()) if match else (None, None)
    if width is None or height is None or not 2 <= min(width, height) <= max(width, height) <= 200:
        raise typer.BadParameter(f"{text!r} is not a size in cm from 2 to 200 such as 8.6x6", param_hint="--size")
    if max(width, height) / 2.54 * dpi > 30_000:
        raise typer.BadParameter(f"{text} at {dpi} dots per inch is more than 30,000 dots wide", param_hint="--size")
    return width, height


def _parse_level(text: str | None) -> float | None:
    if text is None or text.strip() == "auto":
        return None
    value = _finite(text)
    if value is None:
        raise typer.BadParameter(f"{text!r} is not a value such as 0.05, or auto", param_hint="--isosurface")
    return value


def _parse_view(text: str) -> tuple[float, float]:
    """
    >>> _parse_view("90, -20")
    (90.0, -20.0)
    """
    found = [_finite(part) for part in text.split(",")]
    if len(found) != 2 or found[0] is None or found[1] is None or abs(found[1]) > 90:
        raise typer.BadParameter(f"{text!r} is not a view such as 25,15, the second at most 90", param_hint="--view")
    return found[0], found[1]
