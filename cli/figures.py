"""Pictures of densities; matplotlib is imported here and nowhere else."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from chgdb.channels import DIFFERENCE, QUANTITIES, SIGNED
from chgdb.density import ScalarField
from chgdb.errors import FormatError, require
from chgdb.formats.streams import open_writer
from chgdb.formulas import common_formula
from chgdb.grids import resample
from chgdb.text import shown_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from chgdb import Density
    from chgdb.profiles import Profile

_EXTENT = 7.0  # Å: smaller cells are drawn repeated until the picture is about so wide
_RESOLUTION = 0.04  # Å between points of the picture
_THICKNESS = 0.25  # Å: atoms no farther from the slice are marked as lying on it


def draw(
    density: Density, path: str, *, axis: int, fraction: float | None, channel: str, title: str, dpi: int = 160
) -> None:
    """Draw the slice at `fraction` of lattice vector `axis`, and the average over all such slices, to a file.

    fraction: None for a slice through an atom. Raises `FormatError` for a file name matplotlib cannot write,
    `MissingExtraError` without matplotlib.
    """
    figures = require("matplotlib.figure", "plot", "chgdb plot")
    figure = figures.Figure(figsize=(10, 4.6), layout="constrained")
    if path.rpartition(".")[2].lower() not in figure.canvas.get_supported_filetypes():
        raise FormatError(f"{path}: pictures are written as .png, .pdf or .svg")
    if fraction is None:
        fraction = _through_an_atom(density, axis)
    slice_axes, profile_axes = figure.subplots(1, 2, width_ratios=(1.25, 1))
    quantity, label = _quantity(density, channel)
    density = replace(density, channels={"total": density.channel(channel)})
    _draw_slice(slice_axes, density, axis, fraction % 1.0, quantity in SIGNED, label)
    _draw_profile(profile_axes, density, axis, fraction % 1.0, quantity in SIGNED, label)
    formula = common_formula(density.crystal.formula)
    # Names of files and elements are text, also where they look like formulas of TeX.
    figure.suptitle(shown_text(f"{formula} ({title})" if title != formula else title), parse_math=False)
    _save(figure, path, dpi)


def _quantity(density: Density, channel: str) -> tuple[str, str]:
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
    upper.set_ylabel(_quantity(density, channel)[1])
    whole = float(found.average.mean()) * density.crystal.volume
    lower.plot(x, close(found.cumulative, whole), color="black", linewidth=1)
    lower.set_ylabel("integral")
    lower.set_xlabel(f"along {'abc'[found.axis]} (Å)")
    for axes in (upper, lower):
        axes.axhline(0, color="grey", linewidth=0.6)
        axes.grid(alpha=0.3)
    upper.set_xlim(0, length)
    figure.suptitle(shown_text(f"{common_formula(density.crystal.formula)} ({title})"), parse_math=False)
    _save(figure, path, dpi)


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
    _save(figure, path, dpi)


def _label(name: str) -> str:
    """A name for the legend; matplotlib leaves out those that begin with an underscore."""
    return f" {shown_text(name)}" if name.startswith("_") else shown_text(name)


def _save(figure: Figure, path: str, dpi: int) -> None:
    """Write a picture; it appears only when complete. Raises `FormatError` where it cannot be written."""
    with open_writer(path) as stream:
        figure.savefig(stream, dpi=dpi, format=path.rpartition(".")[2].lower())


def _through_an_atom(density: Density, axis: int) -> float:
    """The coordinate that most atoms share along an axis, the smallest of those."""
    if not len(density.crystal):
        return 0.0
    planes = np.round(density.crystal.positions[:, axis] % 1.0, 3) % 1.0
    values, counts = np.unique(planes, return_counts=True)
    return float(values[counts.argmax()])


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


def _plane_values(values: np.ndarray, axis: int, fraction: float) -> np.ndarray:
    """Values on the plane at a fraction of an axis, linear between grid planes: (n1, n2)."""
    size = values.shape[axis]
    below, share = divmod(fraction * size, 1.0)
    lower, upper = (values.take(int(below + i) % size, axis=axis) for i in (0, 1))
    return (1 - share) * lower + share * upper


def _draw_slice(axes: Axes, density: Density, axis: int, fraction: float, signed: bool, label: str) -> None:
    """The plane of the two other lattice vectors, undistorted: the first along x, the second at its true angle."""
    first, second = (i for i in range(3) if i != axis)
    cell = density.crystal.cell
    lengths = np.linalg.norm(cell, axis=1)
    cosine = float(cell[first] @ cell[second] / (lengths[first] * lengths[second]))
    frame = np.array([[lengths[first], 0], lengths[second] * np.array([cosine, np.sqrt(1 - cosine**2)])])
    plane = _plane_values(density.total, axis, fraction)
    plane = _smooth(plane, tuple(int(np.ceil(lengths[i] / _RESOLUTION)) for i in (first, second)))
    repeats = [max(1, int(np.ceil(_EXTENT / lengths[i] - 0.3))) for i in (first, second)]
    plane = np.pad(np.tile(plane, repeats), ((0, 1), (0, 1)), mode="wrap")
    u, v = np.meshgrid(*(np.linspace(0, r, n) for r, n in zip(repeats, plane.shape, strict=True)), indexing="ij")
    x, y = u * frame[0, 0] + v * frame[1, 0], v * frame[1, 1]
    low, high, colours = _range(plane, signed)
    mesh = axes.pcolormesh(x, y, plane, cmap=colours, vmin=low, vmax=high, shading="gouraud", rasterized=True)
    axes.contour(x, y, plane, levels=np.linspace(low, high, 12)[1:-1], colors="white", linewidths=0.4, alpha=0.5)
    beyond = {(True, True): "both", (True, False): "min", (False, True): "max"}
    extend: Any = beyond.get((bool(plane.min() < low), bool(plane.max() > high)), "neither")
    axes.figure.colorbar(mesh, ax=axes, label=label, extend=extend, shrink=0.85)
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]) @ frame
    axes.plot(*corners.T, color="white", linewidth=1.2)
    _mark_atoms(axes, density, axis, fraction, frame, repeats)
    axes.set_aspect("equal")
    axes.set_xlabel(f"along {'abc'[first]} (Å)")
    axes.set_ylabel(f"perpendicular to {'abc'[first]}, towards {'abc'[second]} (Å)")
    axes.set_title(f"slice at {'abc'[axis]} = {fraction:.3f}", fontsize="medium")


def _range(plane: np.ndarray, signed: bool) -> tuple[float, float, str]:
    """Colour limits and map: from zero for a density, symmetric about it for a magnetisation or a difference."""
    if signed:
        most = float(np.abs(plane).max()) or 1.0
        return -most, most, "RdBu_r"
    # All-electron cores are a thousand times denser than bonds: the colours stop short of them.
    high = float(min(plane.max(), 6 * np.percentile(plane, 90)))
    low = float(min(0.0, plane.min()))  # negative values of a pseudo-density are shown, not cut off
    return low, high if high > low else low + 1.0, "viridis"


def _mark_atoms(
    axes: Axes, density: Density, axis: int, fraction: float, frame: np.ndarray, repeats: list[int]
) -> None:
    """Symbols of the atoms that lie on the slice, or nearly."""
    crystal = density.crystal
    others = [i for i in range(3) if i != axis]
    normal = np.cross(crystal.cell[others[0]], crystal.cell[others[1]])
    height = crystal.volume / float(np.linalg.norm(normal))  # Å between neighbouring lattice planes
    for symbol, position in zip(crystal.symbols, crystal.positions, strict=True):
        away = (position[axis] - fraction + 0.5) % 1.0 - 0.5
        if abs(away) * height > _THICKNESS:
            continue
        base = np.where(position[others] % 1.0 > 1 - 1e-6, 0.0, position[others] % 1.0)
        for shift in np.ndindex(repeats[0] + 1, repeats[1] + 1):
            place = base + shift
            if np.all(place <= np.array(repeats) + 1e-6):
                x, y = place @ frame
                axes.plot(x, y, "o", markersize=11, mfc="white", mec="black", alpha=0.85, clip_on=False)
                axes.annotate(shown_text(symbol), (x, y), ha="center", va="center", fontsize=6.5, parse_math=False)


def _draw_profile(axes: Axes, density: Density, axis: int, fraction: float, signed: bool, label: str) -> None:
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
