"""What every payload begins with: codec, grid, channels and crystal."""

from __future__ import annotations

from math import prod

from ..density import CHANNELS, Crystal
from ..errors import CodecError
from .bits import BitReader, BitWriter
from .crystal import read_crystal, write_crystal

#: 645^3 points, 2 GB a channel. A larger claim is taken for damage before anything is allocated.
MAX_GRID_POINTS = 1 << 28


def write_frame(out: BitWriter, crystal: Crystal, grid: tuple[int, int, int], channels: int) -> None:
    """Number of channels (1, 2 or 4), grid and crystal."""
    out.write({1: 0, 2: 1, 4: 2}[channels], 2)
    nx, ny, nz = grid
    out.write_gamma(nx - 1)
    for n in (ny, nz):
        out.write(int(n != nx), 1)
        if n != nx:
            out.write_gamma(n - 1)
    write_crystal(out, crystal)


def read_frame(source: BitReader) -> tuple[Crystal, tuple[int, int, int], tuple[str, ...]]:
    """(crystal, grid, channel names). Raises `CodecError` for damaged bytes."""
    code = source.read(2)
    if code == 3:
        raise CodecError("the payload has an unknown number of channels: the record is damaged")
    nx = source.read_gamma() + 1
    ny, nz = (source.read_gamma() + 1 if source.read(1) else nx for _ in range(2))
    if prod((nx, ny, nz)) > MAX_GRID_POINTS:
        raise CodecError(f"the payload claims a grid of {nx} x {ny} x {nz} points: the record is damaged")
    return read_crystal(source), (nx, ny, nz), CHANNELS[(1, 2, 4)[code]]
