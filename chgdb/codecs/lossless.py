"""The lossless codec: the grid itself as float32 or float64, shuffled by bits and compressed with zstd."""

from __future__ import annotations

from math import prod

import numpy as np
from numcodecs import Blosc

from ..density import Density
from ..errors import CodecError
from . import Header
from .bits import BitReader, BitWriter
from .frame import read_frame, write_frame

CODEC_ID = 1
_TYPES = ("<f4", "<f8")
_MAX_BYTES = 2**31 - 17  # of a Blosc buffer, decoded


def encode(density: Density, tolerance: float = 0.0, prior: object = None) -> bytes:
    """Payload of a density, exact whatever the tolerance; `prior` is not used."""
    values = np.stack(list(density.channels.values()))
    kind = "<f4" if values.dtype == np.float32 else "<f8"
    out = BitWriter()
    out.write(CODEC_ID, 8)
    out.write(_TYPES.index(kind), 1)
    write_frame(out, density.crystal, density.grid, len(density.channels))
    if values.nbytes > _MAX_BYTES:
        raise CodecError(f"{values.nbytes} bytes of values are too many for the lossless codec: it holds {_MAX_BYTES}")
    packed = Blosc("zstd", clevel=7, shuffle=Blosc.BITSHUFFLE).encode(np.ascontiguousarray(values, kind))
    return out.to_bytes() + bytes(packed)


def decode(payload: bytes, prior: object = None, grid: tuple[int, int, int] | None = None) -> Density:
    """The density; on another grid by Fourier resampling. Raises `CodecError` for damaged bytes."""
    source, kind = _open(payload)
    crystal, native, channels = read_frame(source)
    expected = prod(native) * len(channels) * np.dtype(kind).itemsize
    packed = payload[source.byte_position() :]
    # A Blosc header states the sizes decoded and encoded: believed only where they are those of the grid and payload.
    stated = [int.from_bytes(packed[i : i + 4], "little") for i in (4, 12)]
    if len(packed) < 16 or stated != [expected, len(packed)]:
        raise CodecError("the payload's values do not fill its grid: the record is damaged")
    try:
        flat = np.frombuffer(Blosc().decode(packed), kind)
    except (RuntimeError, ValueError) as error:
        raise CodecError(f"the payload's values cannot be decompressed ({error}): the record is damaged") from None
    values = flat.reshape(len(channels), *native)
    density = Density(crystal, dict(zip(channels, values, strict=True)))
    return density if grid is None or grid == native else density.resample(grid)


def header(payload: bytes) -> Header:
    """Crystal, grid and channels."""
    source, _ = _open(payload)
    crystal, grid, channels = read_frame(source)
    return Header("lossless", crystal, grid, channels, prior_id=0)


def _open(payload: bytes) -> tuple[BitReader, str]:
    source = BitReader(payload)
    if source.read(8) != CODEC_ID:
        raise CodecError("not a payload of the lossless codec")
    return source, _TYPES[source.read(1)]
