"""Other compressors of grids, brought to the error of the Fourier codec.

Each lossy peer has one knob. It is turned until the NMAE of the channel is as near as possible to the tolerance, but
never below: the peer's error is the same or worse, and its bytes therefore not overstated. Only the compressed grids of
a peer are counted: no cell, no atoms, no file around them.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from io import BytesIO

import numpy as np

import chgdb
from chgdb import Density
from chgdb.formats.chgcar import write

#: (compressed size in bytes, decompressed values) of values at a knob setting: an absolute error, in e/Å^3.
Compress = Callable[[np.ndarray, float], tuple[int, np.ndarray]]

_ROUNDS = 40  # halvings of the knob's interval


@dataclass(frozen=True)
class Matched:
    """Bytes of all channels of a density, and the NMAE of the worst channel."""

    size: int
    nmae: float


def _zfp(values: np.ndarray, error: float) -> tuple[int, np.ndarray]:
    import zfpy

    packed = zfpy.compress_numpy(values, tolerance=error)
    return len(packed), zfpy.decompress_numpy(packed)


def _hdf5(values: np.ndarray, options: dict) -> tuple[int, np.ndarray]:
    """One chunk in a file in memory. Its chunk cache is off: otherwise reading returns what was written, unpacked."""
    import h5py

    with h5py.File("peers", "w", driver="core", backing_store=False, rdcc_nbytes=0) as file:
        dataset = file.create_dataset("grid", data=values, chunks=values.shape, **options)
        return dataset.id.get_storage_size(), dataset[...]


def _sz3(values: np.ndarray, error: float) -> tuple[int, np.ndarray]:
    import hdf5plugin

    return _hdf5(values, dict(hdf5plugin.SZ3(absolute=error)))


def _sperr(values: np.ndarray, error: float) -> tuple[int, np.ndarray]:
    """Its mode of fixed peak signal-to-noise ratio: a third smaller at equal NMAE than its pointwise bound."""
    import hdf5plugin

    spread = float(np.ptp(values)) or 1.0
    # The range of what its filter accepts; beyond either end nothing changes.
    ratio = float(np.clip(20 * np.log10(spread / error), 0.01, 200.0))
    # Its filter takes the axes in the wrong order (hdf5plugin 7.1: a grid that is no cube comes out three times as
    # large), so it gets the same numbers under the reversed shape.
    size, decoded = _hdf5(values.reshape(values.shape[::-1]), dict(hdf5plugin.Sperr(peak_signal_to_noise_ratio=ratio)))
    return size, decoded.reshape(values.shape)


def _pcodec(values: np.ndarray, error: float) -> tuple[int, np.ndarray]:
    """The grid in whole multiples of a step, packed by pcodec."""
    whole = np.rint(values / (2 * error))
    packed = _pcodec_bytes(whole.astype(np.int32 if np.abs(whole).max() < 2**31 else np.int64))
    return packed, whole * (2 * error)


def _pcodec_bytes(values: np.ndarray) -> int:
    from pcodec import ChunkConfig, standalone

    return len(standalone.simple_compress(np.ascontiguousarray(values).ravel(), ChunkConfig(compression_level=12)))


_LOSSY: dict[str, tuple[str, Compress]] = {
    "pcodec, quantised grid": ("pcodec", _pcodec),
    "zfp": ("zfpy", _zfp),
    "SZ3": ("hdf5plugin", _sz3),
    "SPERR": ("hdf5plugin", _sperr),
}


def lossy() -> dict[str, Compress]:
    """Name -> compressor, of those whose packages are installed."""
    return {name: compress for name, (package, compress) in _LOSSY.items() if find_spec(package)}


def gzip_size(density: Density) -> int:
    """Bytes of the density blocks as text, without header and augmentation, after gzip -6."""
    bare = chgdb.Density(density.crystal, density.channels)
    stream = BytesIO()
    write(stream, bare)
    text = stream.getvalue()[-chgdb.formats.text_bytes(bare) :]
    return len(zlib.compress(text, 6)) + 12  # gzip's frame is 18 bytes, zlib's 6


def pcodec_float32(density: Density) -> Matched | None:
    """pcodec of the grids as float32, losslessly; None where it is not installed."""
    if not find_spec("pcodec"):
        return None
    norm = float(np.abs(density.total).sum(dtype=float))
    size, worst = 0, 0.0
    for values in density.channels.values():
        single = values.astype(np.float32)
        size += _pcodec_bytes(single)
        worst = max(worst, float(np.abs(single - values).sum()) / norm)
    return Matched(size, worst)


def at_error(compress: Compress, density: Density, target: float) -> Matched:
    """The compressor at an NMAE of at least `target` in every channel that can have one: see the module's docstring.

    A channel smaller than the target (the magnetisation of a diamagnet) goes at the coarsest setting.
    """
    norm = float(np.abs(density.total).sum(dtype=float))
    found = [_channel_at(compress, values, norm, target) for values in density.channels.values()]
    return Matched(sum(size for size, _ in found), max(nmae for _, nmae in found))


def _channel_at(compress: Compress, values: np.ndarray, norm: float, target: float) -> tuple[int, float]:
    values = np.ascontiguousarray(values, np.float32)  # its error is below 1e-7; zfp's bytes are fewer than of float64

    def attempt(knob: float) -> tuple[int, float]:
        size, decoded = compress(values, 2.0**knob)
        return size, float(np.abs(decoded.astype(float) - values).sum()) / norm

    mean = norm / values.size
    low, high = np.log2(mean * target) - 6, np.log2(mean) + 12
    best = attempt(high)
    if best[1] < target:
        return best
    for _ in range(_ROUNDS):
        knob = (low + high) / 2
        size, nmae = attempt(knob)
        if nmae >= target:
            high = knob
            if nmae <= best[1]:
                best = size, nmae
            if nmae < 1.001 * target:
                break
        else:
            low = knob
        if high - low < 1e-3:
            break
    return best
