"""The scalar fields of a density: its channels, and what follows from them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from .errors import DensityError
from .grids import check_memory, resample

#: Channels of a density by how many blocks the file has, in the file's order.
CHANNELS: dict[int, tuple[str, ...]] = {
    1: ("total",),
    2: ("total", "magnetization"),
    4: ("total", "magnetization_x", "magnetization_y", "magnetization_z"),
}
#: Names of the results of arithmetic.
DIFFERENCE, SUM = "density difference", "sum of scalar fields"
#: Scalar field -> what it is called, in files too: each is what a comment begins with, before a colon.
QUANTITIES = {
    "total": "total density",
    "spin_up": "spin-up density",
    "spin_down": "spin-down density",
    "magnetization": "magnetization density",
    "magnetization_x": "magnetization density along x",
    "magnetization_y": "magnetization density along y",
    "magnetization_z": "magnetization density along z",
    "magnetization_norm": "norm of the magnetization density",
}
#: Quantities whose sign means something: their colours are centred on zero.
SIGNED = {DIFFERENCE, SUM, *(what for name, what in QUANTITIES.items() if name.startswith("magnetization"))} - {
    QUANTITIES["magnetization_norm"]
}


def available(channels: Collection[str]) -> tuple[str, ...]:
    """Names that `scalar` knows for these channels."""
    derived = {1: ("spin_up", "spin_down"), 2: ("spin_up", "spin_down", "magnetization_norm")}
    return (*channels, *derived.get(len(channels), ("magnetization_norm",)))


def scalar(channels: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """One scalar field, (nx, ny, nz): a channel, spin_up, spin_down or magnetization_norm.

    Raises `DensityError` if there is none of this name.

    >>> channels = {"total": np.full((1, 1, 1), 3.0), "magnetization": np.full((1, 1, 1), -1.0)}
    >>> [float(scalar(channels, name).max()) for name in ("spin_up", "spin_down", "magnetization_norm")]
    [1.0, 2.0, 1.0]
    """
    if name in channels:
        return channels[name]
    if name not in available(channels):
        reason = ""
        if name in ("spin_up", "spin_down"):
            reason = ": spins are noncollinear, so that up and down have no direction"
        raise DensityError(f"there is no channel {name!r}{reason}; there are {', '.join(available(channels))}")
    if name == "magnetization_norm":
        return np.sqrt(sum(np.square(channels[key], dtype=float) for key in list(channels)[1:]))
    sign = 0.5 if name == "spin_up" else -0.5
    half = 0.5 * channels["total"]
    return half + sign * channels["magnetization"] if "magnetization" in channels else half


def linear(
    terms: Sequence[tuple[float, Mapping[str, np.ndarray]]], grid: tuple[int, int, int]
) -> dict[str, np.ndarray]:
    """Channels of a linear combination, on one grid; a magnetisation that a term does not have is zero.

    Raises `DensityError` if collinear channels meet noncollinear ones.
    """
    kinds = {len(channels) for _, channels in terms}
    if kinds >= {2, 4}:
        raise DensityError("collinear and noncollinear magnetisations cannot be added: take one channel of each first")
    names = CHANNELS[max(kinds)]
    check_memory(grid, len(names))
    result = {name: np.zeros(grid) for name in names}
    for weight, channels in terms:
        for name, values in channels.items():
            result[name] += weight * (values if values.shape == grid else resample(values, grid))
    return result
