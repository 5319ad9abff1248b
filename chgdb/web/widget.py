"""The page's viewer in a notebook, by anywidget."""

from __future__ import annotations

import anywidget
import numpy as np
import traitlets

from ..density import Density
from .page import STATIC


class Viewer(anywidget.AnyWidget):
    """Crystal, isosurfaces, slices and profiles of a density.

    Its traits are what the viewer in the browser reads: values as doubles, little-endian, x fastest, one channel after
    the other; `cell` by rows in Å.
    """

    _esm = (STATIC / "app.js").read_text(encoding="utf-8")
    _css = (STATIC / "app.css").read_text(encoding="utf-8")
    worker = traitlets.Unicode((STATIC / "worker.js").read_text(encoding="utf-8")).tag(sync=True)
    title = traitlets.Unicode("").tag(sync=True)
    note = traitlets.Unicode("").tag(sync=True)
    cell = traitlets.List(traitlets.Float()).tag(sync=True)
    numbers = traitlets.List(traitlets.Int()).tag(sync=True)
    positions = traitlets.List(traitlets.Float()).tag(sync=True)
    grid = traitlets.List(traitlets.Int()).tag(sync=True)
    channels = traitlets.List(traitlets.Unicode()).tag(sync=True)
    values = traitlets.Bytes(b"").tag(sync=True)


def view(density: Density) -> Viewer:
    """A viewer of a density; the last expression of a cell shows it."""
    crystal = density.crystal
    values = np.stack([channel.transpose(2, 1, 0) for channel in density.channels.values()])
    return Viewer(
        title=crystal.formula,
        note="Exactly as in memory",
        cell=crystal.cell.ravel().tolist(),
        numbers=crystal.numbers.tolist(),
        positions=crystal.positions.ravel().tolist(),
        grid=list(density.grid),
        channels=list(density.channels),
        values=np.ascontiguousarray(values, "<f8").tobytes(),
    )
