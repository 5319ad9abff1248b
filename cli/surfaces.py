"""Pictures of isosurfaces in the true cell, with atoms: triangles, projected, sorted by depth, shaded and painted."""

from __future__ import annotations

import math
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from chgdb.channels import SIGNED
from chgdb.density import has_sign
from chgdb.errors import DensityError
from chgdb.grids import resample
from chgdb.isosurfaces import isosurface, level_of
from chgdb_cli.colours import colour, radius
from chgdb_cli.figures import Style, new_figure, put_title, quantity_and_label, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from chgdb import Crystal, Density

_SPACING = 0.2  # Å between points of the grid that surfaces are drawn from
_LEAST, _MOST = 36, 72  # its points along an axis
_SHARE = 0.7  # of the electrons that the surface is around, unless a level is given
_SIGNED_SHARE = 0.4  # of what a field with a sign holds: more hides one surface behind the other
_BALL = 0.35  # radius of an atom over its covalent radius
_MOST_ATOMS = 600
_LIGHT = np.array([-0.4, 0.6, 0.7])  # right, up, towards the eye
_POSITIVE, _NEGATIVE, _DENSITY = (0.84, 0.19, 0.15), (0.19, 0.41, 0.75), (0.95, 0.75, 0.20)


def draw_isosurface(
    density: Density,
    path: str,
    *,
    channel: str,
    title: str,
    style: Style,
    level: float | None = None,
    view: tuple[float, float] = (25.0, 15.0),
) -> None:
    """Draw the surface where a field has a value, and minus the value where its sign means something, to a file.

    level: the value; None: such that 70 % of the electrons (40 % of their size, where there are signs) lie within.
    view: degrees that the eye goes around c, and above the plane of a and b. Raises `DensityError` for a level that the
    field does not reach.
    """
    quantity, label = quantity_and_label(density, channel)
    values = _sampled(density.channel(channel), density.crystal.cell)
    signed = quantity in SIGNED or has_sign(values)
    share = _SIGNED_SHARE if signed else _SHARE
    height = level_of(values, share) if level is None else level
    wanted = (abs(height), -abs(height)) if signed else (height,)
    if not any(values.min() < one < values.max() for one in wanted):
        raise DensityError(
            f"there is no surface at {height:g}: values go from {values.min():.4g} to {values.max():.4g}"
        )
    cell = density.crystal.cell
    frame = _frame(cell, view)
    parts = []
    for one in wanted:
        if not values.min() < one < values.max():
            continue
        corners, normals = isosurface(values, one)
        tint = _DENSITY if not signed else _POSITIVE if one > 0 else _NEGATIVE
        parts.append(_shaded(corners @ cell, normals @ np.linalg.inv(cell).T, tint, 0.82, frame))
    parts += _balls(density.crystal, frame)
    corners = np.array(list(product((0, 1), repeat=3))) @ cell @ frame.T
    span = np.ptp(corners, axis=0)[:2] + 1.0
    natural = _natural_size(float(span[0] / span[1]))
    figure = new_figure(path, style, natural)
    axes = figure.subplots()
    _paint(axes, parts)
    _draw_box(axes, cell, frame)
    axes.set_aspect("equal")
    axes.set_axis_off()
    sign = "±" if signed else ""
    inside = "" if level is not None else f"\naround {100 * share:.0f} % of {'it' if signed else 'the electrons'}"
    name, _, unit = label.rpartition(" ")
    axes.set_title(
        f"{name} = {sign}{abs(height) if signed else height:.3g} {unit.strip('()')}{inside}", fontsize="medium"
    )
    put_title(figure, density, title)
    save(figure, path, style.dpi)


def _natural_size(shape: float) -> tuple[float, float]:
    """Inches for a width over height: as large as fits into 9 x 7."""
    width = min(9.0, 6.2 * shape)
    return max(4.0, width), max(3.0, width / shape + 0.8)


def _sampled(values: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """A field on a grid that its surfaces are smooth on and do not take long."""
    lengths = np.linalg.norm(cell, axis=1)
    nx, ny, nz = (int(min(max(_LEAST, math.ceil(x / _SPACING)), _MOST * max(1.0, x / 15))) for x in lengths)
    fine = resample(values, (nx, ny, nz))
    span = 0.05 * float(np.ptp(values))
    rings = fine.min() < values.min() - span and nx * ny * nz > values.size
    return values if rings else fine


def _frame(cell: np.ndarray, view: tuple[float, float]) -> np.ndarray:
    """Rows: right, up and towards the eye. c points up; at 0 degrees the eye looks along a."""
    up = cell[2] / np.linalg.norm(cell[2])
    front = cell[0] - (cell[0] @ up) * up
    front /= np.linalg.norm(front)
    side = np.cross(up, front)
    around, above = (math.radians(angle) for angle in view)
    eye = math.cos(above) * (math.cos(around) * front - math.sin(around) * side) + math.sin(above) * up
    right = np.cross(up, eye)
    if np.linalg.norm(right) < 1e-6:  # from above
        right = side
    right /= np.linalg.norm(right)
    return np.array([right, np.cross(eye, right), eye])


def _shaded(
    corners: np.ndarray, normals: np.ndarray, tint: tuple[float, float, float], opacity: float, frame: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(corners (n, 3, 3) as seen: right, up, towards the eye; colours (n, 4))."""
    seen = corners @ frame.T
    direction = normals.mean(axis=1) @ frame.T
    direction /= np.linalg.norm(direction, axis=1, keepdims=True) + 1e-300
    light = _LIGHT / np.linalg.norm(_LIGHT)
    halfway = (light + np.array([0, 0, 1])) / np.linalg.norm(light + np.array([0, 0, 1]))
    direction *= np.where(direction[:, 2:] < 0, -1, 1)  # a surface is lit from the side that is seen
    bright = 0.35 + 0.65 * np.clip(direction @ light, 0, 1)
    gloss = 0.35 * np.clip(direction @ halfway, 0, 1) ** 24
    shades = np.clip(np.array(tint) * bright[:, None] + gloss[:, None], 0, 1)
    return seen, np.hstack([shades, np.full((len(shades), 1), opacity)])


def _balls(crystal: Crystal, frame: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Atoms of the cell, with those on its faces on both sides."""
    ball = _sphere()
    found: list[tuple[np.ndarray, np.ndarray]] = []
    for number, position in zip(crystal.numbers.tolist(), crystal.positions % 1.0, strict=True):
        position = np.where(position > 1 - 1e-3, position - 1, position)
        for step in product(*([0, 1] if x < 1e-3 else [0] for x in position)):
            if len(found) >= _MOST_ATOMS:
                return found
            corners = _BALL * radius(number) * ball + (position + step) @ crystal.cell
            found.append(_shaded(corners, ball, colour(number), 1.0, frame))
    return found


def _sphere() -> np.ndarray:
    """Triangles of a unit sphere, (n, 3, 3): an octahedron, divided three times."""
    signs = np.array(list(product((1, -1), repeat=3)))
    triangles = signs[:, :, None] * np.eye(3)
    for _ in range(3):
        a, b, c = triangles[:, 0], triangles[:, 1], triangles[:, 2]
        ab, bc, ca = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a + b, b + c, c + a))
        pieces = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
        triangles = np.concatenate([np.stack(piece, axis=1) for piece in pieces])
    return triangles


def _paint(axes: Axes, parts: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """All triangles, the farthest first."""
    from matplotlib.collections import PolyCollection

    corners = np.concatenate([part[0] for part in parts])
    colours = np.concatenate([part[1] for part in parts])
    order = np.argsort(corners[:, :, 2].mean(axis=1))
    axes.add_collection(
        PolyCollection(
            list(corners[order][:, :, :2]),
            facecolors=colours[order],
            edgecolors="none",
            antialiased=False,
            rasterized=True,
            zorder=2,
        )
    )


def _draw_box(axes: Axes, cell: np.ndarray, frame: np.ndarray) -> None:
    """Edges of the cell, those at its farthest corner behind everything; names of the lattice vectors at their ends."""
    corners = {corner: np.array(corner) @ cell @ frame.T for corner in product((0, 1), repeat=3)}
    farthest = min(corners, key=lambda corner: float(corners[corner][2]))
    for start, end in product(corners, repeat=2):
        if start < end and sum(a != b for a, b in zip(start, end, strict=True)) == 1:
            behind = farthest in (start, end)
            line = np.array([corners[start], corners[end]])
            axes.plot(
                line[:, 0], line[:, 1], color="grey" if behind else "black", linewidth=0.9, zorder=1 if behind else 3
            )
    for axis, name in enumerate("abc"):
        x, y, _ = (1.06 * np.eye(3)[axis]) @ cell @ frame.T
        axes.text(x, y, name, ha="center", va="center", style="italic", zorder=4)
    places = np.array(list(corners.values()))[:, :2]
    low, high = places.min(axis=0) - 0.7, places.max(axis=0) + 0.7
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])
