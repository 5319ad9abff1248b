"""What the embedded catalog covers, as a picture for the datasheet: elements, crystal systems, sizes and gaps."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from chgdb.catalog import Catalog
from chgdb.elements import SYMBOLS
from chgdb.errors import require
from chgdb_catalog.batches import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: First space-group number of each crystal system.
SYSTEMS = {
    1: "triclinic", 3: "monoclinic", 16: "orthorhombic", 75: "tetragonal", 143: "trigonal", 168: "hexagonal",
    195: "cubic",
}  # fmt: skip
_NOBLE = (0, 2, 10, 18, 36, 54, 86)  # atomic numbers at which a period of the table ends
_GAP = 0.1  # eV; bands of a finite number of k-points never quite touch
_COLOUR = "#2b6c99"


def systems(groups: np.ndarray) -> list[tuple[str, int]]:
    """(crystal system, number of materials) from space-group numbers, the least symmetric first; 0 is not counted."""
    first = np.array(list(SYSTEMS))
    counts = Counter(int(first[first <= group].max()) for group in groups if group > 0)
    return [(name, counts[start]) for start, name in SYSTEMS.items()]


def place(number: int) -> tuple[int, int]:
    """(row, column) of an element in the table, from 0; lanthanides and actinides have rows 7 and 8 to themselves.

    >>> place(1), place(6), place(26), place(60)
    ((0, 0), (1, 13), (3, 7), (7, 6))
    """
    row = sum(number > end for end in _NOBLE[1:])
    within = number - _NOBLE[row]
    if row >= 5 and 3 <= within <= 17:
        return row + 2, within
    if number in (1, 2):
        return 0, 0 if number == 1 else 17
    if row < 3:
        return row, within - 1 if within <= 2 else within + 9
    return row, within - 1 if within <= 2 or row < 5 else within - 15


def draw(catalog: Catalog, path: Path) -> None:
    """Draw the picture as SVG, the same for the same catalog.  Raises `MissingExtraError` without matplotlib."""
    matplotlib = require("matplotlib", "plot", "the datasheet's picture")
    figures = require("matplotlib.figure", "plot", "the datasheet's picture")
    with matplotlib.rc_context({"svg.hashsalt": "chgdb", "svg.fonttype": "none", "font.size": 9}):
        figure = figures.Figure(figsize=(9, 8.4), layout="constrained")
        table, symmetry, size, gap = figure.subplot_mosaic("AAA;AAA;BCD").values()
        _elements(table, catalog.column("elements"))
        _bars(symmetry, systems(catalog.column("space_group")))
        _histogram(
            size, catalog.column("n_atoms"), np.arange(0.5, catalog.column("n_atoms").max() + 1), "atoms in the cell"
        )
        gaps = catalog.column("band_gap")
        _histogram(gap, gaps[gaps > _GAP], np.arange(0, np.nanmax(gaps, initial=1.0) + 0.5, 0.5), "band gap (PBE), eV")
        known = np.isfinite(gaps)
        gap.set_title(f"{int((gaps > _GAP).sum()):,} of {int(known.sum()):,} have one", fontsize=9)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    write_atomically(path, buffer.getvalue())


def _elements(axes: Axes, compositions: np.ndarray) -> None:
    """The periodic table, with the number of materials that hold each element."""
    from matplotlib.patches import Rectangle

    counts = Counter(symbol for row in compositions for symbol in str(row).split())
    most = np.log(max(counts.values(), default=1) + 1)
    for number, symbol in enumerate(SYMBOLS[1:104], 1):
        row, column = place(number)
        share = np.log(counts[symbol] + 1) / most
        dark = share > 0.6
        face = tuple(1 - share * (1 - np.array([0.10, 0.35, 0.55]))) if counts[symbol] else "white"
        top = row + 0.3 * (row > 6)
        axes.add_patch(Rectangle((column, top), 0.94, 0.94, facecolor=face, edgecolor="#999999", linewidth=0.5))
        colour = "white" if dark else "black" if counts[symbol] else "#999999"
        axes.text(column + 0.47, top + 0.36, symbol, ha="center", va="center", color=colour, fontsize=10)
        if counts[symbol]:
            axes.text(
                column + 0.47, top + 0.74, str(counts[symbol]), ha="center", va="center", color=colour, fontsize=7
            )
    axes.set_xlim(-0.05, 18)
    axes.set_ylim(9.35, -0.05)
    axes.set_aspect("equal")
    axes.axis("off")
    axes.set_title("materials with each element")


def _bars(axes: Axes, counts: list[tuple[str, int]]) -> None:
    names, numbers = zip(*counts, strict=True)
    bars = axes.barh(names, numbers, color=_COLOUR)
    axes.bar_label(bars, [f"{n:,}" for n in numbers], padding=2, fontsize=8)
    axes.set_xlim(0, 1.18 * max(*numbers, 1))
    axes.set_xlabel("materials")
    axes.spines[["top", "right"]].set_visible(False)


def _histogram(axes: Axes, values: np.ndarray, edges: np.ndarray, label: str) -> None:
    axes.hist(values, edges.tolist(), color=_COLOUR, rwidth=0.9)
    axes.set_xlabel(label)
    axes.set_ylabel("materials")
    axes.spines[["top", "right"]].set_visible(False)
