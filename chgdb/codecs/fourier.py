r"""The Fourier codec: a density in about a kilobyte, with the error proven by decoding.

    density -> minus superposition of atomic densities (`promolecule`)
            -> Fourier coefficients, one real number per degree of freedom of each space-group orbit, ordered by |G|
            -> uniform quantisation in an orthonormal basis; the step is found by measuring the decoded NMAE
            -> adaptive range coder (`entropy`)

A payload has the number 4 instead of 2 where that takes fewer bytes. There multipoles on the atoms predict the
coefficients (`multipoles`). Of a density that was summed up on a coarser grid, only the terms of that grid are coded
(`basis.Coarse`).

The payload holds all that decoding needs except the form factors of the prior: the exact crystal, group generators, the
mean of each channel (the electron count is exact to 2^-41 e), steps and coefficients. `docs/format.md` specifies every
bit.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..density import Crystal, Density
from ..errors import CodecError
from ..grids import absolute_sum
from ..promolecule import Prior, half_spectrum, reach_of
from ..symmetry import SpaceGroup, check_norms, find, integer_metric
from . import Header, spectra
from .basis import Basis, plane_weights
from .bits import BitReader, BitWriter
from .channel import (
    Channel,
    basis_of,
    read_channel,
    read_prediction,
    spectrum_of,
    write_channel,
    write_prediction,
)
from .channel_search import StepSearch, encode_channel
from .entropy import RangeDecoder, RangeEncoder, choose_lanes, most_values
from .frame import quantisation_step, read_frame, write_frame
from .spectra import Residual

CODEC_ID = 2
#: Payloads whose channels name a coarse grid, or multipoles that predict their coefficients.
PREDICTED_ID = 4

_SMALL = 150  # bytes; smaller payloads win nothing by predictions
_WORTH = 0.97  # predictions take longer to decode: they must bring a payload below this part of its bytes


def prior_box(prior: Prior, crystal: Crystal, native: tuple[int, int, int]) -> np.ndarray:
    """What a prior knows of a grid, as the box of a half spectrum."""
    reach = reach_of(prior, crystal, native)
    return half_spectrum(prior, crystal, native, (2 * reach[0] + 1, 2 * reach[1] + 1, 2 * reach[2]))


def edge(density: Density, spectrum: np.ndarray | None = None) -> float:
    """The part of a density near the edge of its grid's spectrum, as a mean absolute density relative to the mean.

    It is far below the tolerance where the grid resolves the density. It never is for all-electron densities: their
    core peaks alias on every grid in use. spectrum: `spectra.forward` of the total density, where it is known.
    """
    grid = density.grid
    terms = Residual(spectra.forward(density.total) if spectrum is None else spectrum)
    outer = [np.abs(np.fft.fftfreq(n)) >= 0.45 for n in grid[:2]]
    last = np.zeros(grid[2] // 2 + 1, bool)
    last[max(1, int(0.45 * grid[2])) :] = True  # never the mean
    weights, power = plane_weights(grid), 0.0
    for rows, part in terms.pieces():
        chosen = outer[0][rows, None, None] | outer[1][:, None] | last
        power += float((np.where(chosen, np.abs(part) ** 2, 0) * weights).sum())
    mean = absolute_sum(density.total) / density.total.size or 1.0
    return 0.8 * power**0.5 / mean


def encode(
    density: Density,
    tolerance: float,
    prior: Prior | None = None,
    symmetry: bool = True,
    spectrum: list[np.ndarray] | None = None,
    predict: bool | None = None,
) -> bytes:
    """Payload of a density. The decoded NMAE of every channel, relative to the total density, is within `tolerance`.

    prior: form factors. They are used where they cover the crystal's elements and make the payload smaller.
    predict: whether payloads of number 4 are tried, too; None where their fit takes some seconds at most.
    symmetry: False codes every coefficient on its own (for measurements).
    spectrum: a list with `spectra.forward` of the total density, where it is known. The codec takes it out of the list
        and frees its memory as soon as it can.
    Raises `CodecError` if the grid or the cell is beyond the codec, or the tolerance below what floats resolve.
    """
    crystal, grid = density.crystal, density.grid
    metric = integer_metric(crystal.cell)
    check_norms(metric, [n // 2 for n in grid])
    group = find(crystal) if symmetry else SpaceGroup.trivial()
    allowed = tolerance * (absolute_sum(density.total) / density.total.size)
    choices = [None, prior] if prior is not None and prior.covers(crystal) else [None]
    starts: dict[str, list[np.ndarray | None]] = {name: [None] for name in density.channels}
    starts["total"] += [prior_box(choice, crystal, grid) for choice in choices if choice is not None]
    found: dict[str, list[Channel | CodecError | None]] = {}
    for name, values in density.channels.items():
        known = spectrum if name == "total" else None
        found[name] = encode_channel(np.asarray(values), starts[name], crystal, metric, group, allowed, known or [])
    frame = BitWriter()
    write_frame(frame, crystal, grid, len(density.channels))
    payloads: list[tuple[bytes, list[Channel], int]] = []
    refusals = []
    for k, choice in enumerate(choices):
        channels: list[Channel] = []
        for coded in (found[name][min(k, len(found[name]) - 1)] for name in density.channels):
            if coded is None:
                break
            if isinstance(coded, CodecError):  # the other start may reach what this one does not
                refusals.append(coded)
                break
            channels.append(coded)
        else:
            payloads.append((_write(frame, grid, channels, choice), channels, k))
    if not payloads and any(coded is None for coded in found["total"]):
        return encode(density, tolerance, None, symmetry, None, predict)
    if not payloads:
        raise refusals[0]
    plain, channels, k = min(payloads, key=lambda found: len(found[0]))
    if predict is False or len(plain) < _SMALL:
        return plain
    better = []
    for (name, values), channel in zip(density.channels.items(), channels, strict=True):
        base = starts[name][min(k, len(starts[name]) - 1)]
        search = StepSearch(np.asarray(values), base, crystal, metric, allowed, channel.count)
        better.append(search.predicted(channel, thorough=bool(predict)) or channel)
    if all(new is old for new, old in zip(better, channels, strict=True)):
        return plain
    predicted = _write(frame, grid, better, choices[k], PREDICTED_ID)
    return predicted if len(predicted) < _WORTH * len(plain) else plain


# --- the payload -----------------------------------------------------------------------------------------------------


def _write(
    frame: BitWriter, grid: tuple[int, int, int], channels: list[Channel], prior: Prior | None, codec: int = CODEC_ID
) -> bytes:
    lanes = choose_lanes(sum(len(channel.values) for channel in channels))
    out = BitWriter()
    out.write(codec, 8)
    out.append(frame)
    out.write(int(prior is not None), 1)
    if prior is not None:
        out.write(prior.identifier, 16)
    out.write(lanes, 2)
    coder = RangeEncoder(lanes)
    previous = None
    for channel in channels:
        write_channel(out, channel, previous)
        if channel.limit and codec == PREDICTED_ID:
            write_prediction(out, channel, grid)
        if channel.limit:
            previous = channel.group
            if channel.model is not None:
                values = channel.model.values.T[channel.model.places(channel.coarse is not None).T]
                coder.encode(values, np.zeros(len(values), np.int64), channel.model.initial)
            coder.encode(channel.values, channel.norms, channel.initial)
    return out.to_bytes() + coder.finish()


def _read_channels(
    source: BitReader, codec: int, names: tuple[str, ...], crystal: Crystal, grid: tuple[int, int, int]
) -> Iterator[Channel]:
    """The channels of a payload without their values."""
    metric, previous = integer_metric(crystal.cell), None
    for _ in names:
        channel = read_channel(source, previous)
        if channel.limit:
            previous = channel.group
            if codec == PREDICTED_ID:
                read_prediction(source, channel, metric, grid, len(crystal))
        yield channel


def decode(payload: bytes, prior: Prior | None = None, grid: tuple[int, int, int] | None = None) -> Density:
    """The density on its native grid, or straight from the coefficients on another grid.

    Raises `CodecError` for damaged bytes, or where the payload needs another prior than `prior`.
    """
    source, crystal, native, names, prior_id = _open(payload)
    if prior_id and (prior is None or prior.identifier != prior_id):
        given = "none was given" if prior is None else f"number {prior.identifier} was given"
        raise CodecError(f"the record needs the prior number {prior_id}, {given}: decode it with its own store")
    if prior_id and prior is not None and not prior.covers(crystal):
        raise CodecError("the payload names elements that its prior does not have: the record is damaged")
    metric = integer_metric(crystal.cell)
    lanes = source.read(2)
    channels = list(_read_channels(source, payload[0], names, crystal, native))
    # Coarser grids, and finer ones where there are Nyquist terms, need the rules of resampling.
    target = grid or native
    direct = all(t >= n for t, n in zip(target, native, strict=True)) and (
        target == native or not any(channel.nyquist for channel in channels)
    )
    shape = target if direct else native
    coded = payload[source.byte_position() :]
    coder, most = RangeDecoder(coded, lanes), most_values(len(coded))
    # Everything is read and checked before memory of the size of the grid is allocated.
    parts: list[tuple[Basis | None, np.ndarray]] = []
    for channel in channels:
        if not channel.limit:
            parts.append((None, np.zeros(0)))
            continue
        own = basis_of(native, metric, channel, most)
        model = channel.model
        if model is not None:
            places = model.places(channel.coarse is not None)
            model.values = np.zeros(places.shape, np.int64)
            model.values.T[places.T] = coder.decode(np.zeros(int(places.sum()), np.int64), model.initial)
        numbers = np.zeros(len(own.norms))
        norms = own.norms[: channel.coded]
        numbers[: len(norms)] = coder.decode(norms, channel.initial) * quantisation_step(channel.step)
        parts.append((own, numbers if model is None else numbers + model.numbers(crystal, own)))
    coder.close()
    decoded = {}
    for name, channel, (basis, numbers) in zip(names, channels, parts, strict=True):
        known = prior if name == "total" and prior_id else None
        base = None if known is None else prior_box(known, crystal, native)
        decoded[name] = spectra.values_of(spectrum_of(channel, basis, numbers, base, crystal.volume), shape)
    density = Density(crystal, decoded)
    return density if direct else density.resample(target)


def groups(payload: bytes) -> list[SpaceGroup]:
    """The groups of the channels that have coefficients."""
    source, crystal, grid, names, _ = _open(payload)
    source.read(2)
    return [channel.group for channel in _read_channels(source, payload[0], names, crystal, grid) if channel.limit]


def header(payload: bytes) -> Header:
    """Crystal, grid and channels."""
    _, crystal, grid, names, prior_id = _open(payload)
    return Header("fourier", crystal, grid, names, prior_id)


def _open(payload: bytes) -> tuple[BitReader, Crystal, tuple[int, int, int], tuple[str, ...], int]:
    source = BitReader(payload)
    if source.read(8) not in (CODEC_ID, PREDICTED_ID):
        raise CodecError("not a payload of the Fourier codec")
    crystal, grid, names = read_frame(source)
    return source, crystal, grid, names, source.read(16) if source.read(1) else 0
