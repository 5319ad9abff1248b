"""The common parts of payloads: grid, channels and crystal at the start, electron counts, quantisation steps."""

from __future__ import annotations

import math

from ..density import CHANNELS, Crystal
from ..errors import CodecError
from .bits import BitReader, BitWriter
from .crystal import read_crystal, write_crystal

#: 645^3 points, 2 GB a channel. A larger claim counts as damage, and no memory is allocated for it.
MAX_GRID_POINTS = 1 << 28

#: Electron counts are stored in units of 2^-40 e.
COUNT_UNITS = 1 << 40
_MAX_COUNT = 1 << 60

#: A quantisation step is 2^((code - 1536) / 16) e/Å^3 with a code of 11 bits: from 2^-96 to 2^32.
STEPS_PER_OCTAVE = 16
STEP_BITS = 11
_STEP_BIAS = 1536


def write_frame(out: BitWriter, crystal: Crystal, grid: tuple[int, int, int], channels: int) -> None:
    """Write the number of channels (1, 2 or 4), the grid and the crystal."""
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
    if math.prod((nx, ny, nz)) > MAX_GRID_POINTS:
        raise CodecError(f"the payload claims a grid of {nx} x {ny} x {nz} points: the record is damaged")
    return read_crystal(source), (nx, ny, nz), CHANNELS[(1, 2, 4)[code]]


def write_count(out: BitWriter, count: int) -> None:
    """Write the integral of a channel over the cell, in units of 1 / `COUNT_UNITS` e: mostly near a whole number."""
    whole = round(count / COUNT_UNITS)
    if abs(whole) >= _MAX_COUNT:
        raise CodecError(f"the density integrates to {whole:.3g} electrons: check its units")
    rest = count - whole * COUNT_UNITS
    out.write_signed(whole)
    out.write(abs(rest).bit_length(), 6)
    out.write(abs(rest), abs(rest).bit_length())
    if rest:
        out.write(int(rest < 0), 1)


def read_count(source: BitReader) -> int:
    """The integral that `write_count` wrote."""
    whole = source.read_signed()
    rest = source.read(source.read(6))
    return whole * COUNT_UNITS + (-rest if rest and source.read(1) else rest)


def step_code(step: float) -> int:
    """Code of the largest step that is at most `step` (e/Å^3, above 0). It can be beyond what 11 bits hold."""
    return math.floor(STEPS_PER_OCTAVE * math.log2(step)) + _STEP_BIAS


def quantisation_step(code: int) -> float:
    """The step of a code, e/Å^3."""
    return 2.0 ** ((code - _STEP_BIAS) / STEPS_PER_OCTAVE)
