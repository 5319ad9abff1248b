"""Pictures of densities in planes and along axes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from chgdb.channels import DIFFERENCE, QUANTITIES, SIGNED
from chgdb.density import ScalarField, has_sign
from chgdb.errors import FormatError, require
from chgdb.formats.streams import open_writer
from chgdb.formulas import common_formula
from chgdb.grids import resample
from chgdb.sections import Section, fine, lattice_plane, linear
from chgdb.text import shown_text
from chgdb_cli.scales import Scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from chgdb import Density
    from chgdb.profiles import Profile

_EXTENT = 7.0  # Å: smaller cells are drawn repeated until the picture is about so wide
_RESOLUTION = 0.04  # Å between points of the picture
_THICKNESS = 0.25  # Å: atoms no farther from the slice are marked as lying on it
_LONGER = 1.4  # a lattice vector so many times as long as the other goes along the width
_WIDE = 1.9  # width over height of a slice above its profile
_SCALE_WIDTH, _TITLE_HEIGHT = 1.6, 1.1  # inches beside and above a section alone, so that no paper is left blank
_MOST_MARKS = 200  # of one atom


@dataclass(frozen=True)
class Style:
    """How a picture looks.

    kind, limits, colours: of the colour scale (`Scale.of`). contours: how many lines of equal value. size: width and
    height in cm; chosen by what is drawn unless given. profile: whether an average over planes is drawn beside a slice.
    """

    kind: str = "root"
    limits: tuple[float, float] | None = None
    colours: str | None = None
    contours: int = 10
    size: tuple[float, float] | None = None
    dpi: int = 160
    profile: bool = True


def new_figure(path: str, style: Style, natural: tuple[float, float], command: str = "chgdb plot") -> Figure:
    """An empty figure; natural: its size in inches where none is asked for. Raises `FormatError` for a file name that
    matplotlib cannot write, `MissingExtraError` without matplotlib."""
    figures = require("matplotlib.figure", "plot", command)
    size = natural if style.size is None else (style.size[0] / 2.54, style.size[1] / 2.54)
    figure: Figure = figures.Figure(figsize=size, layout="constrained")
    if path.rpartition(".")[2].lower() not in figure.canvas.get_supported_filetypes():
        raise FormatError(f"{path}: pictures are written as .png, .pdf or .svg")
    return figure


def axis_section(density: Density, axis: int, fraction: float | None) -> Section:
    """The plane of the two other lattice vectors at a fraction of one, the longer along the width; None: through most
    atoms."""
    lengths = np.linalg.norm(density.crystal.cell, axis=1)
    first, second = (i for i in range(3) if i != axis)
    if lengths[second] > _LONGER * lengths[first]:
        first, second = second, first
    section = lattice_plane(
        density.crystal, np.eye(3)[axis], fraction, least=_EXTENT, lattice=np.eye(3)[[first, second]]
    )
    place = section.name.rpartition(" ")[2]
    return replace(section, name=f"slice at {'abc'[axis]} = {place}")


def draw(
    density: Density, path: str, section: Section, *, channel: str, title: str, style: Style, axis: int | None = None
) -> None:
    """Draw a section, and beside it the average over the planes along an axis, to a file.

    axis: none for a section alone; of wide pictures the profile goes along their width. Raises as `new_figure`, and
    `DensityError` for a scale that cannot be.
    """
    shape = section.size[0] / section.size[1]
    beside = style.profile and axis is not None
    wide = shape > _WIDE
    if beside:
        natural = (9.0, min(9.0, 9 / shape + 4)) if wide else (10.0, 4.6)
    else:
        width = min(9.0, max(4.5, 4.6 * shape + _SCALE_WIDTH))
        natural = (width, min(9.0, max(2.4, (width - _SCALE_WIDTH) / shape + _TITLE_HEIGHT)))
    figure = new_figure(path, style, natural)
    if not beside:
        figure.set_layout_engine("compressed")  # no blank paper beside a picture of another shape
        panels = [figure.subplots()]
    elif wide:
        panels = list(figure.subplots(2, 1, height_ratios=(max(1.0, 9 / shape), 2.2)))
    else:
        panels = list(figure.subplots(1, 2, width_ratios=(1.25, 1)))
    quantity, label = quantity_and_label(density, channel)
    values = density.channel(channel)
    signed = quantity in SIGNED or has_sign(values)
    _draw_section(panels[0], density, values, section, signed, label, style)
    if beside and axis is not None:
        only = replace(density, channels={"total": values})
        place: float | None = float(section.name.rpartition(" ")[2]) % 1.0
        if wide:  # below the picture, along its width
            first, second = (i for i in range(3) if i != axis)
            lengths = np.linalg.norm(density.crystal.cell, axis=1)
            axis, place = (second if lengths[second] > _LONGER * lengths[first] else first), None
        _draw_profile(panels[1], only, axis, place, signed, label)
    put_title(figure, density, title)
    save(figure, path, style.dpi)


def put_title(figure: Figure, density: Density, title: str) -> None:
    """Formula and source; names of files and elements are text, also where they look like formulas of TeX."""
    formula = common_formula(density.crystal.formula)
    figure.suptitle(shown_text(f"{formula} ({title})" if title != formula else title), parse_math=False)


def _draw_section(
    axes: Axes, density: Density, field: np.ndarray, section: Section, signed: bool, label: str, style: Style
) -> None:
    """Colours and contours of a rectangle, the cell in it, and the atoms that lie on it, or nearly."""
    cell = density.crystal.cell
    x, y, places = section.points(max(_RESOLUTION, max(section.size) / 700))
    plane = linear(fine(field, cell), places @ np.linalg.inv(cell))
    scale = Scale.of(plane, signed=signed, kind=style.kind, limits=style.limits, colours=style.colours)
    width, height = section.size
    image = axes.imshow(
        plane.T,
        origin="lower",
        extent=(0, width, 0, height),
        cmap=scale.colours,
        norm=scale.norm(),
        interpolation="bilinear",
    )
    if style.contours:
        levels = scale.levels(style.contours)
        colour = "black" if signed else "white"
        axes.contour(x, y, plane.T, levels=levels, colors=colour, linewidths=0.4, alpha=0.6,
                     linestyles=["dashed" if level < 0 else "solid" for level in levels])  # fmt: skip
    beyond = {(True, True): "both", (True, False): "min", (False, True): "max"}
    low, high = scale.low, scale.high
    extend: Any = beyond.get((bool(plane.min() < low and style.kind != "log"), bool(plane.max() > high)), "neither")
    bar = axes.figure.colorbar(image, ax=axes, label=label, extend=extend, shrink=0.9, ticks=scale.ticks())
    if scale.ticks() is not None:
        bar.ax.set_yticklabels([f"{value:g}" for value in scale.ticks() or ()])
        bar.ax.minorticks_off()
    if section.outline is not None:
        corners = section.start + np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]) @ section.outline
        axes.plot(*corners.T, color="black" if signed else "white", linewidth=1.2)
    _mark_atoms(axes, density, section)
    axes.set_xlim(0, width)
    axes.set_ylim(0, height)
    axes.set_xlabel("Å")
    axes.set_ylabel("Å")
    axes.set_title(section.name, fontsize="medium")


def _mark_atoms(axes: Axes, density: Density, section: Section) -> None:
    crystal = density.crystal
    width, height = section.size
    corners = np.array([[u, v] for u in (0, width) for v in (0, height)]) @ section.axes + section.origin
    fractions = corners @ np.linalg.inv(crystal.cell)
    low, high = np.floor(fractions.min(axis=0)) - 1, np.ceil(fractions.max(axis=0)) + 1
    steps = np.stack(np.meshgrid(*(np.arange(a, b + 1) for a, b in zip(low, high, strict=True)), indexing="ij"), -1)
    steps = steps.reshape(-1, 3) @ crystal.cell
    for symbol, position in zip(crystal.symbols, crystal.positions % 1.0, strict=True):
        flat, away = section.flat(position @ crystal.cell + steps)
        seen = (
            (np.abs(away) <= _THICKNESS)
            & (flat > -1e-3).all(axis=1)
            & (flat < np.array(section.size) + 1e-3).all(axis=1)
        )
        for x, y in flat[seen][:_MOST_MARKS]:
            axes.plot(x, y, "o", markersize=11, mfc="white", mec="black", alpha=0.85, clip_on=False)
            axes.annotate(shown_text(symbol), (x, y), ha="center", va="center", fontsize=6.5, parse_math=False)


def quantity_and_label(density: Density, channel: str) -> tuple[str, str]:
    """(what a field is, what stands at its axis)."""
    quantity = density.quantity if isinstance(density, ScalarField) else QUANTITIES[channel]
    symbol = {QUANTITIES["total"]: "ρ", DIFFERENCE: "Δρ"}.get(quantity, quantity)
    return quantity, f"{symbol} ({'μB' if 'magnetization' in quantity + channel else 'e'}/Å³)"


def draw_profile(density: Density, found: Profile, path: str, *, channel: str, title: str, dpi: int = 160) -> None:
    """Draw the average over planes, the macroscopic one where there is one, and the integral, along a lattice vector.

    Raises `MissingExtraError` without matplotlib.
    """
    figures = require("matplotlib.figure", "plot", "chgdb profile")
    figure = figures.Figure(figsize=(7, 5), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    length = float(np.linalg.norm(density.crystal.cell[found.axis]))
    close = lambda closed, step=0.0: np.append(closed, closed[0] + step)  # noqa: E731 - to the end of the cell
    x = np.append(found.distance, length)
    upper.plot(x, close(found.average), color="#31688e", label="average over planes")
    if found.macroscopic is not None:
        upper.plot(x, close(found.macroscopic), color="#b5367a", label=f"macroscopic, {found.window:g} Å")
        upper.legend(fontsize=8)
    upper.set_ylabel(quantity_and_label(density, channel)[1])
    whole = float(found.average.mean()) * density.crystal.volume
    lower.plot(x, close(found.cumulative, whole), color="black", linewidth=1)
    lower.set_ylabel(f"integral ({'μB' if 'μB' in upper.get_ylabel() else 'e'})")
    lower.set_xlabel(f"along {'abc'[found.axis]} (Å)")
    for axes in (upper, lower):
        axes.axhline(0, color="grey", linewidth=0.6)
        axes.grid(alpha=0.3)
    upper.set_xlim(0, length)
    figure.suptitle(shown_text(f"{common_formula(density.crystal.formula)} ({title})"), parse_math=False)
    save(figure, path, dpi)


def draw_training(logs: Mapping[str, str | os.PathLike[str]], path: str, *, dpi: int = 160) -> None:
    """Draw losses against epochs, training dashed and validation full, of one or more trainings.

    logs: name -> the log.jsonl of a training. Raises `FormatError` for a file that is no such log.
    """
    figures = require("matplotlib.figure", "plot", "chgdb plot")
    figure = figures.Figure(figsize=(9, 4.2), layout="constrained")
    loss_axes, error_axes = figure.subplots(1, 2)
    for number, (name, log) in enumerate(logs.items()):
        try:
            with open(log, encoding="utf-8") as file:
                lines = [json.loads(line) for line in file]
            epochs, train, validation, nmae = (
                [float(line[key]) for line in lines] for key in ("epoch", "train", "validation", "nmae")
            )
        except (ValueError, KeyError, TypeError):
            raise FormatError(f"{os.fspath(log)}: not the log of a training") from None
        colour = f"C{number % 10}"
        loss_axes.plot(epochs, train, "--", color=colour, linewidth=1)
        loss_axes.plot(epochs, validation, color=colour, label=_label(name))
        error_axes.plot(epochs, [100 * value for value in nmae], color=colour, label=_label(name))
    for axes, label in ((loss_axes, "loss (dashed: training)"), (error_axes, "NMAE of the validation set (%)")):
        axes.set(xlabel="epoch", ylabel=label, yscale="log")
        axes.grid(alpha=0.3)
    for text in loss_axes.legend(fontsize=8).get_texts():
        text.set_parse_math(False)
    save(figure, path, dpi)


def _label(name: str) -> str:
    """A name for the legend; matplotlib leaves out those that begin with an underscore."""
    return f" {shown_text(name)}" if name.startswith("_") else shown_text(name)


def save(figure: Figure, path: str, dpi: int) -> None:
    """Write a picture; it appears only when complete. Raises `FormatError` if it cannot be written."""
    with open_writer(path) as stream:
        figure.savefig(stream, dpi=dpi, format=path.rpartition(".")[2].lower())


def _smooth(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Fourier interpolation to at least `shape`; the values as they are where that would ring.

    All-electron densities are aliased on their grids: between the points their Fourier series means nothing.
    """
    points = tuple(max(n, m) for n, m in zip(values.shape, shape, strict=True))
    padded = (*points, 1, 1)[:3]
    fine = resample(values.reshape((*values.shape, 1, 1)[:3]), padded).reshape(points)
    span = 0.05 * float(np.ptp(values))
    rings = fine.min() < values.min() - span or fine.max() > values.max() + span
    return values if rings else fine


def _draw_profile(axes: Axes, density: Density, axis: int, fraction: float | None, signed: bool, label: str) -> None:
    """Average over the planes of the two other lattice vectors, along the third; atoms as ticks on top."""
    others = tuple(i for i in range(3) if i != axis)
    average = density.total.mean(axis=others)
    length = float(np.linalg.norm(density.crystal.cell[axis]))
    average = _smooth(average, (int(np.ceil(length / _RESOLUTION)),))
    axes.plot(np.linspace(0, length, len(average) + 1), np.append(average, average[0]), color="#31688e")
    if not signed:
        axes.set_ylim(bottom=min(0.0, 1.1 * float(average.min())))
    else:
        axes.axhline(0, color="grey", linewidth=0.6)
    if fraction is not None:
        axes.axvline(fraction * length, color="grey", linewidth=0.8, linestyle="--")
    along = np.unique(np.round(density.crystal.positions[:, axis] % 1.0, 4))
    if len(along):  # a layout of nothing has no size
        axes.plot(along * length, np.full(len(along), 1.0), "v", color="black", markersize=5,
                  transform=axes.get_xaxis_transform(), clip_on=False)  # fmt: skip
    axes.set_xlim(0, length)
    axes.set_xlabel(f"along {'abc'[axis]} (Å)")
    axes.set_ylabel(label)
    axes.grid(alpha=0.3)
    axes.set_title(f"average over planes along {'abc'[axis]}", fontsize="medium")
