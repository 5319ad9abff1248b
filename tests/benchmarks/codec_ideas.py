"""The Fourier codec with one of its ideas switched off, and its integers in the hands of other entropy coders."""

from __future__ import annotations

import lzma
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from chgdb import Density
from chgdb.codecs import fourier
from chgdb.codecs.channel import basis_of, read_channel
from chgdb.codecs.entropy import RangeDecoder, RangeEncoder, choose_lanes, initial_scale
from chgdb.promolecule import Prior, superposition
from chgdb.symmetry import integer_metric


@dataclass(frozen=True)
class Integers:
    """What the entropy coder gets for one channel.

    values: quantised coefficients by |G|. norms: their |G|^2 in the codec's units. index_order: the permutation to the
    order in which their Miller indices lie in a grid's spectrum.
    """

    values: np.ndarray
    norms: np.ndarray
    index_order: np.ndarray


@dataclass(frozen=True)
class Parts:
    """A payload taken apart. head: bytes of everything but the coefficients; coded: bytes of the coefficients."""

    head: int
    coded: int
    channels: list[Integers]


def take_apart(payload: bytes) -> Parts:
    source, crystal, grid, names, _ = fourier._open(payload)
    metric = integer_metric(crystal.cell)
    lanes = source.read(2)
    headers, previous = [], None
    for _ in names:
        headers.append(read_channel(source, previous))
        previous = headers[-1].group if headers[-1].limit else previous
    head = source.byte_position()
    decoder = RangeDecoder(payload[head:], lanes)
    channels = []
    for header in headers:
        if not header.limit:
            continue
        basis = basis_of(grid, metric, header)
        values = decoder.decode(basis.norms, header.initial)
        channels.append(Integers(values, basis.norms, _index_order(basis, grid)))
    return Parts(head, len(payload) - head, channels)


def _index_order(basis: fourier.Basis, grid: tuple[int, int, int]) -> np.ndarray:
    own = basis._orbits
    h = own.representatives[basis._real] % np.array(grid)
    place = (h[:, 0] * grid[1] + h[:, 1]) * grid[2] + h[:, 2]
    places = np.repeat(place, own.freedom[basis._real])
    rest = np.arange(len(basis.norms) - len(places)) + np.prod(grid)  # Nyquist terms: rare, left behind the others
    return np.argsort(np.concatenate([places, rest]), kind="stable")


# --- entropy coders: bytes of all channels of a record ---------------------------------------------------------------


def ours(channels: list[Integers], ordered: bool = True) -> int:
    """The codec's own coder; without the order by |G| it cannot expect magnitudes to fall, and only adapts."""
    coder = RangeEncoder(choose_lanes(sum(len(channel.values) for channel in channels)))
    for channel in channels:
        values = channel.values if ordered else channel.values[channel.index_order]
        norms = channel.norms if ordered else np.zeros_like(channel.norms)
        coder.encode(values, norms, initial_scale(values))
    return len(coder.finish()) if channels else 0


def byte_forms(channels: list[Integers], ordered: bool = True) -> list[bytes]:
    """The integers as bytes for coders that know bytes only: whole words of fixed width, and zigzag varints."""
    parts = [channel.values if ordered else channel.values[channel.index_order] for channel in channels]
    values = np.concatenate(parts) if parts else np.zeros(0, np.int64)
    largest = int(np.abs(values).max(initial=0))
    width = next(width for width in (1, 2, 4, 8) if largest < 1 << (8 * width - 1))
    varints = bytearray()
    for value in ((values << 1) ^ (values >> 63)).tolist():
        while value > 127:
            varints.append(value & 127 | 128)
            value >>= 7
        varints.append(value)
    return [values.astype(f"<i{width}").tobytes(), bytes(varints)]


def zstd(channels: list[Integers], ordered: bool = True) -> int:
    """Level 19, without checksum or content size; the smaller of the two forms."""
    import zstandard

    packer = zstandard.ZstdCompressor(level=19, write_content_size=False, write_checksum=False)
    return min(len(packer.compress(form)) for form in byte_forms(channels, ordered))


def xz(channels: list[Integers]) -> int:
    """LZMA2 without a container; the smaller of the two forms."""
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 0, "lp": 0, "pb": 0}]
    return min(len(lzma.compress(form, lzma.FORMAT_RAW, filters=filters)) for form in byte_forms(channels))


def constriction_static(channels: list[Integers]) -> int:
    """constriction's range coder with one Laplace distribution per channel, its scale in one byte."""
    import constriction

    coder, overhead = constriction.stream.queue.RangeEncoder(), 0
    for channel in channels:
        low, high = _range(channel)
        scale = 2.0 ** (round(8 * np.log2(np.abs(channel.values).mean() + 0.02)) / 8)
        coder.encode(channel.values.astype(np.int32), constriction.stream.model.QuantizedLaplace(low, high, 0.0, scale))
        overhead += 2  # the scale, and the width of the range
    return 4 * coder.num_words() + overhead


def constriction_adaptive(channels: list[Integers]) -> int:
    """constriction's range coder with a Laplace distribution whose scale follows the values by the codec's own rule.

    The rate of adaptation, the decay with |G| and the factor on the scale are the best of a few tried on the sample.
    """
    import constriction

    coder, overhead = constriction.stream.queue.RangeEncoder(), 0
    for channel in channels:
        low, high = _range(channel)
        centres = np.zeros(len(channel.values))
        model = constriction.stream.model.QuantizedLaplace(low, high)
        coder.encode(channel.values.astype(np.int32), model, centres, _scales(channel))
        overhead += 2  # the scale at the start, and the width of the range
    return 4 * coder.num_words() + overhead


def _range(channel: Integers) -> tuple[int, int]:
    reach = 1 << int(np.abs(channel.values).max(initial=0)).bit_length()
    return -reach, reach


def _scales(channel: Integers, rate: float = 1 / 6, decay: float = 3.0, factor: float = 0.9) -> np.ndarray:
    distance = np.sqrt(channel.norms / 2.0**24)
    falls = 2.0 ** (-decay * np.diff(distance, prepend=distance[:1]).clip(0)) if len(distance) else distance
    magnitudes = np.abs(channel.values)
    mean = float(magnitudes[:4].mean()) + 0.3
    scales = np.empty(len(magnitudes))
    for k, (fall, magnitude) in enumerate(zip(falls.tolist(), magnitudes.tolist(), strict=True)):
        mean = max(mean * fall, 0.02)
        scales[k] = factor * mean
        mean += rate * (magnitude - mean)
    # The Laplace distribution on whole numbers of this mean magnitude: exp(-1/b) / (1 - exp(-2/b)) * 2.
    return np.maximum(1 / np.arcsinh(1 / np.maximum(scales, 0.02)), 0.1)


CODERS: dict[str, Callable[[list[Integers]], int]] = {
    "chgdb (adaptive rANS)": ours,
    "constriction, adaptive Laplace": constriction_adaptive,
    "constriction, one Laplace a channel": constriction_static,
    "xz (LZMA2, preset 9e)": xz,
    "zstd, level 19": zstd,
}


# --- ideas switched off: bytes of a record ---------------------------------------------------------------------------


def ablations(density: Density, tolerance: float, prior: Prior) -> tuple[dict[str, int], list[Integers]]:
    """(variant -> bytes of the payload, the integers of the full codec), without predictions."""
    alone = fourier.encode(density, tolerance, None, symmetry=True, predict=False)
    full = min(alone, fourier.encode(density, tolerance, prior, symmetry=True, predict=False), key=len)
    parts = take_apart(full)
    if ours(parts.channels) != parts.coded:
        raise RuntimeError(f"{density.crystal.formula}: the integers taken from a payload do not give its bytes again")
    plain = fourier.encode(density, tolerance, None, symmetry=False, predict=False)
    bare = take_apart(plain)
    sizes = {
        "full codec": len(full),
        "without prior": len(alone),
        "without symmetry": min(
            len(plain), len(fourier.encode(density, tolerance, prior, symmetry=False, predict=False))
        ),
        "without order by length of G": parts.head + ours(parts.channels, ordered=False),
        "without entropy coder (zstd)": parts.head + zstd(parts.channels),
        "none of the four": bare.head + zstd(bare.channels, ordered=False),
    }
    return sizes, parts.channels


def superposition_error(density: Density, prior: Prior) -> float:
    """NMAE of the prior alone with the right mean: no byte of the density is stored but its electron count."""
    values = superposition(prior, density.crystal, density.grid) + density.total.mean()
    return float(np.abs(values - density.total).sum() / np.abs(density.total).sum())
