r"""The Fourier codec: a density in about a kilobyte, with the error proven by decoding.

    density -> minus superposition of atomic densities (`atoms`)
            -> Fourier coefficients, one real number per degree of freedom of each space-group orbit, ordered by |G|
            -> uniform quantisation in an orthonormal basis, the step found by measuring the decoded NMAE
            -> adaptive range coder (`entropy`)

The payload holds all that decoding needs but the form factors of the prior: crystal (exact), group generators, mean
of each channel (the electron count is exact to 2^-41 e), steps and coefficients. `docs/format.md` specifies every bit.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..density import Crystal, Density
from ..errors import CodecError
from ..promolecule import Prior, half_spectrum
from ..symmetry import SpaceGroup, check_norms, find, integer_metric
from . import Header
from .basis import Basis, energy, half_norms, plane_weights
from .bits import BitReader, BitWriter
from .entropy import INITIAL_SCALES, Decoder, Encoder, choose_lanes, initial_scale, most_values
from .frame import (
    COUNT_UNITS,
    STEP_BITS,
    STEPS_PER_OCTAVE,
    quantisation_step,
    read_count,
    read_frame,
    step_code,
    write_count,
    write_frame,
)
from .groups import read_group, same_group, write_group
from .symmetric import symmetries

CODEC_ID = 2

_LIMIT_MANTISSA = 8
_DEAD_ZONE = 0.65  # values below this part of a step become zero


@dataclass
class _Channel:
    """What a payload holds of one channel."""

    count: int  # integral over the cell in units of 1 / COUNT_UNITS
    group: SpaceGroup
    limit: int = 0  # coded sphere: |G|^2 up to here, in units of METRIC_UNITS; 0 where nothing is coded
    nyquist: bool = False  # whether the terms with some |h_i| = n_i / 2 are coded too
    step: int = 0
    initial: int = 0
    values: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))


# --- geometry shared by both directions ------------------------------------------------------------------------------


def _basis(grid: tuple[int, int, int], metric: np.ndarray, channel: _Channel, most: int | None = None) -> Basis:
    return Basis(grid, metric, channel.group, channel.limit, channel.nyquist, most)


def _synthesis(channel: _Channel, basis: Basis | None, numbers: np.ndarray, base: np.ndarray, volume: float,
               grid: tuple[int, int, int]) -> np.ndarray:  # fmt: skip
    """Grid values of a channel: mean + base (the prior's spectrum) + coefficients."""
    spectrum = base.copy()
    spectrum[0, 0, 0] += channel.count / COUNT_UNITS / volume
    if basis is not None:
        basis.synthesise(numbers, spectrum, grid)
    return np.fft.irfftn(spectrum, s=grid, axes=(0, 1, 2), norm="forward")


# --- encoding --------------------------------------------------------------------------------------------------------


def edge(density: Density) -> float:
    """What lies near the edge of the grid's spectrum, as a mean absolute density relative to the mean.

    Far below the tolerance where the grid resolves the density. All-electron densities never are: their core peaks
    alias on any grid of today.
    """
    spectrum = np.fft.rfftn(density.total, norm="forward")
    grid = density.grid
    outer = np.zeros(spectrum.shape, bool)
    outer[:, :, max(1, int(0.45 * grid[2])) :] = True  # never the mean
    for axis in (0, 1):
        high = np.abs(np.fft.fftfreq(grid[axis])) >= 0.45
        outer |= high.reshape([-1 if k == axis else 1 for k in range(3)])
    mean = float(np.abs(density.total).mean(dtype=float)) or 1.0
    return 0.8 * energy(np.where(outer, spectrum, 0), grid) ** 0.5 / mean


def encode(density: Density, tolerance: float, prior: Prior | None = None, symmetry: bool = True) -> bytes:
    """Payload of a density whose decoded NMAE, of every channel relative to the total density, is within `tolerance`.

    prior: form factors; used where they cover the crystal's elements and make the payload smaller.
    symmetry: False codes every coefficient on its own (for measurements).
    Raises `CodecError` where the grid or the cell is beyond the codec, or the tolerance below what floats resolve.
    """
    payloads, refusals = [], []
    for choice in (None, prior) if prior is not None and prior.covers(density.crystal) else (None,):
        try:
            payloads.append(_encode(density, tolerance, choice, symmetry))
        except CodecError as error:  # what one start does not reach, the other may
            refusals.append(error)
    if not payloads:
        raise refusals[0]
    return min(payloads, key=len)


def _encode(density: Density, tolerance: float, prior: Prior | None, symmetry: bool) -> bytes:
    crystal, grid = density.crystal, density.grid
    metric = integer_metric(crystal.cell)
    check_norms(metric, [n // 2 for n in grid])
    group = find(crystal) if symmetry else SpaceGroup.trivial()
    scale = float(np.abs(density.total).mean(dtype=float))
    channels = []
    for name, values in density.channels.items():
        use = prior if name == "total" else None
        base = np.zeros((grid[0], grid[1], grid[2] // 2 + 1), complex)
        if use is not None:
            base = half_spectrum(use, crystal, grid, grid)
        channels.append(_encode_channel(np.asarray(values, float), base, crystal, metric, group, tolerance * scale))
    return _write(density, channels, prior)


def _encode_channel(values: np.ndarray, base: np.ndarray, crystal: Crystal, metric: np.ndarray, group: SpaceGroup,
                    allowed: float) -> _Channel:  # fmt: skip
    """The channel with the coarsest step whose mean absolute error stays within `allowed` (e/Å^3)."""
    spectrum = np.fft.rfftn(values, norm="forward")
    count = round(float(spectrum[0, 0, 0].real) * crystal.volume * COUNT_UNITS)
    grid = values.shape
    empty = _Channel(count, SpaceGroup.trivial())
    nothing = np.zeros(0)
    if np.abs(_synthesis(empty, None, nothing, base, crystal.volume, grid) - values).mean() <= allowed:
        return empty
    if not allowed:
        raise CodecError(
            "the total density is zero, a tolerance relative to it nothing: pack it with --lossless "
            "(tolerance=0 in Python)"
        )
    residual = spectrum - base
    residual[0, 0, 0] = 0
    # First with the symmetry the density has to about the tolerance (more than its half, and the search for a step can
    # fail), then with what it has much better, then with none and every coefficient there is, which reaches any
    # tolerance that floats resolve.
    found = []
    for own in symmetries(residual, grid, metric, group, [share * allowed for share in (1.5, 0.6, 0.15)]):
        channel = _Channel(count, own)
        if _choose_step(channel, values, base, residual, crystal, metric, allowed):
            found.append(channel)
    if not found:
        channel = _Channel(count, SpaceGroup.trivial(), nyquist=True)
        if not _choose_step(channel, values, base, residual, crystal, metric, allowed):
            raise CodecError(
                "the tolerance is below what the Fourier codec resolves: pack it with --lossless "
                "(tolerance=0 in Python)"
            )
        found.append(channel)
    return min(found, key=_cost)


def _cost(channel: _Channel) -> float:
    """Rough number of bits of a channel."""
    bits = float(np.log2(1 + np.abs(channel.values)).sum()) * 2
    return bits + 0.1 * len(channel.values) + 20 * len(channel.group) ** 0.5


def _choose_step(channel: _Channel, values: np.ndarray, base: np.ndarray, residual: np.ndarray, crystal: Crystal,
                 metric: np.ndarray, allowed: float) -> bool:  # fmt: skip
    """Fill in sphere, step and values of a channel; whether the mean absolute error got within `allowed`."""
    grid = values.shape
    power = energy(residual, grid)
    channel.limit = _MAX_LIMIT if channel.nyquist else _sphere(residual, grid, metric, (0.1 * allowed) ** 2)
    basis = _basis(grid, metric, channel)
    numbers = basis.analyse(residual)
    lost = max(power - float((numbers**2).sum()), 0.0)
    # A sum of many rounding errors is nearly normal: mean |e| = sqrt(2 / pi) rms e. Good enough to start from.
    target = (allowed / 0.8) ** 2
    if lost < target or lost > 1e-13 * power:  # else the difference of two sums says nothing
        target -= lost
    # Where the prior alone nearly does, the largest step that leaves any value is the place to start.
    largest = float(np.abs(numbers).max(initial=0.0))
    code = _step_for(numbers, target)
    if largest:
        code = max(0, min(code, step_code(largest / _DEAD_ZONE)))

    def error(code: int) -> float:
        quantised = _quantise(numbers, code)
        decoded = _synthesis(channel, basis, quantised * quantisation_step(code), base, crystal.volume, grid)
        return float(np.abs(decoded - values).mean())

    reached = error(code)
    tried = {code: reached}
    for _ in range(24):
        if reached <= allowed:
            if tried.get(code + 1, 0.0) > allowed:
                break
            move = max(1, int(STEPS_PER_OCTAVE * np.log2(allowed / max(reached, allowed / 4))))
            while move > 1 and tried.get(code + move, 0.0) > allowed:
                move //= 2
            code += move
        else:
            code -= max(1, int(STEPS_PER_OCTAVE * np.log2(min(reached / allowed, 4.0))))
        if not 0 <= code < 1 << STEP_BITS:
            break
        reached = tried.setdefault(code, -1.0)
        if reached < 0:
            reached = tried[code] = error(code)
    # With few coefficients the error is no monotonic function of the step: the search can end anywhere.
    if tried.get(code + 1, 0.0) <= allowed or reached > allowed:
        code = max((code for code, mean in tried.items() if 0 <= mean <= allowed), default=-1)
    # Now that the last value that counts is known, the sphere ends there. It must be analysed again: a shell cut in
    # two by the rounded limit has other members. Rarely the error then needs a step one finer.
    working = basis
    coarsest = code
    for code in range(coarsest, max(-1, coarsest - 4 * STEPS_PER_OCTAVE), -1):
        quantised = _quantise(working.analyse(residual), code)
        last = np.flatnonzero(quantised)
        channel.limit = _rounded_up(int(working.norms[last].max())) if len(last) else 0
        basis = _basis(grid, metric, channel)
        numbers = basis.analyse(residual)
        if error(code) <= allowed:
            channel.step, channel.values = code, _quantise(numbers, code)
            channel.initial = initial_scale(channel.values)
            return True
    return False


def _step_for(numbers: np.ndarray, target: float) -> int:
    """Largest step code with a sum of squared errors within `target`."""
    low, high = 0, (1 << STEP_BITS) - 1
    largest = float(np.abs(numbers).max(initial=0.0))
    while low < high:
        code = (low + high + 1) // 2
        error = _quantise(numbers, code) * quantisation_step(code) - numbers
        # Steps that floats do not resolve are fine enough for any target.
        if largest / quantisation_step(code) > 2.0**52 or float(error @ error) <= target:
            low = code
        else:
            high = code - 1
    return low


def _quantise(numbers: np.ndarray, code: int) -> np.ndarray:
    """Whole multiples of the step. Rounding leans towards zero, where values cost less for little more error."""
    scaled = np.abs(numbers) / quantisation_step(code)
    whole = np.floor(np.minimum(scaled, 2.0**60) + 0.45)
    whole[scaled < _DEAD_ZONE] = 0
    return np.copysign(whole, numbers).astype(np.int64)


def _sphere(spectrum: np.ndarray, grid: tuple[int, ...], metric: np.ndarray, negligible: float) -> int:
    """Smallest sphere (rounded up) that leaves out at most `negligible` of the mean square."""
    power = (np.abs(spectrum) ** 2 * plane_weights(grid)).ravel()
    norms = half_norms(grid, metric).ravel()
    bits = max(_SHELL_BITS, int(norms.max()).bit_length() - 24)  # a very fine grid has wider shells, not more
    shells = (norms >> bits).astype(np.intp)
    tail = np.bincount(shells, power)[::-1].cumsum()[::-1]
    outside = np.flatnonzero(tail <= negligible)
    shell = int(outside[0]) if len(outside) else len(tail)
    return _rounded_up(shell << bits)


_SHELL_BITS = 18  # shells of 1/64 Å^-2 for the search of the working sphere
_MAX_LIMIT = ((1 << _LIMIT_MANTISSA) - 1) << 50


def _rounded_up(limit: int) -> int:
    """The next limit that `_LIMIT_MANTISSA` bits and an exponent can say."""
    exponent = max(0, limit.bit_length() - _LIMIT_MANTISSA)
    mantissa = -(-limit >> exponent)
    if mantissa >> _LIMIT_MANTISSA:
        exponent, mantissa = exponent + 1, -(-limit >> (exponent + 1))
    return mantissa << exponent


# --- the payload -----------------------------------------------------------------------------------------------------


def _write(density: Density, channels: list[_Channel], prior: Prior | None) -> bytes:
    metric = integer_metric(density.crystal.cell)
    lanes = choose_lanes(sum(len(channel.values) for channel in channels))
    out = BitWriter()
    out.write(CODEC_ID, 8)
    write_frame(out, density.crystal, density.grid, len(channels))
    out.write(int(prior is not None), 1)
    if prior is not None:
        out.write(prior.identifier, 16)
    out.write(lanes, 2)
    coder = Encoder(lanes)
    previous = None
    for channel in channels:
        _write_channel(out, channel, previous)
        if channel.limit:
            previous = channel.group
            coder.encode(channel.values, _basis(density.grid, metric, channel).norms, channel.initial)
    return out.to_bytes() + coder.finish()


def _write_channel(out: BitWriter, channel: _Channel, previous: SpaceGroup | None) -> None:
    write_count(out, channel.count)
    out.write(int(channel.limit > 0), 1)
    if not channel.limit:
        return
    if previous is not None:
        out.write(int(same_group(channel.group, previous)), 1)
    if previous is None or not same_group(channel.group, previous):
        write_group(out, channel.group)
    exponent = max(0, channel.limit.bit_length() - _LIMIT_MANTISSA)
    out.write(exponent, 6)
    out.write(channel.limit >> exponent, _LIMIT_MANTISSA)
    out.write(int(channel.nyquist), 1)
    out.write(channel.step, STEP_BITS)
    out.write(channel.initial, 6)


def _read_channel(source: BitReader, previous: SpaceGroup | None) -> _Channel:
    count = read_count(source)
    if not source.read(1):
        return _Channel(count, SpaceGroup.trivial())
    group = previous if previous is not None and source.read(1) else read_group(source)
    exponent = source.read(6)
    if exponent > 50:
        raise CodecError("the payload holds an impossible sphere: the record is damaged")
    limit = source.read(_LIMIT_MANTISSA) << exponent
    nyquist = bool(source.read(1))
    step, initial = source.read(STEP_BITS), source.read(6)
    if initial >= INITIAL_SCALES or not limit:
        raise CodecError("the payload holds an impossible number: the record is damaged")
    return _Channel(count, group, limit, nyquist, step, initial)


def decode(payload: bytes, prior: Prior | None = None, grid: tuple[int, int, int] | None = None) -> Density:
    """The density on its native grid, or straight from the coefficients on another.

    Raises `CodecError` for damaged bytes, or where the payload needs another prior than the one given.
    """
    source, crystal, native, names, prior_id = _open(payload)
    if prior_id and (prior is None or prior.identifier != prior_id):
        given = "none was given" if prior is None else f"number {prior.identifier} was given"
        raise CodecError(f"the record needs the prior number {prior_id}, {given}: decode it with its own store")
    if prior_id and prior is not None and not prior.covers(crystal):
        raise CodecError("the payload names elements that its prior does not have: the record is damaged")
    metric = integer_metric(crystal.cell)
    lanes = source.read(2)
    channels: list[_Channel] = []
    previous = None
    for _ in names:
        channel = _read_channel(source, previous)
        previous = channel.group if channel.limit else previous
        channels.append(channel)
    # Coarser grids, and Nyquist terms on finer ones, need the rules of resampling.
    target = grid or native
    direct = all(t >= n for t, n in zip(target, native, strict=True)) and (
        target == native or not any(channel.nyquist for channel in channels)
    )
    shape = target if direct else native
    coded = payload[source.byte_position() :]
    coder, most = Decoder(coded, lanes), most_values(len(coded))
    # Everything is read and found whole before anything of the size of the grid is allocated.
    parts: list[tuple[Basis | None, np.ndarray]] = []
    for channel in channels:
        if not channel.limit:
            parts.append((None, np.zeros(0)))
            continue
        own = _basis(native, metric, channel, most)
        parts.append((own, coder.decode(own.norms, channel.initial) * quantisation_step(channel.step)))
    coder.close()
    decoded = {}
    for name, channel, (basis, numbers) in zip(names, channels, parts, strict=True):
        if name == "total" and prior_id and prior is not None:
            base = half_spectrum(prior, crystal, native, shape)
        else:
            base = np.zeros((shape[0], shape[1], shape[2] // 2 + 1), complex)
        decoded[name] = _synthesis(channel, basis, numbers, base, crystal.volume, shape)
    density = Density(crystal, decoded)
    return density if direct else density.resample(target)


def header(payload: bytes) -> Header:
    """Crystal, grid and channels."""
    _, crystal, grid, names, prior_id = _open(payload)
    return Header("fourier", crystal, grid, names, prior_id)


def _open(payload: bytes) -> tuple[BitReader, Crystal, tuple[int, int, int], tuple[str, ...], int]:
    source = BitReader(payload)
    if source.read(8) != CODEC_ID:
        raise CodecError("not a payload of the Fourier codec")
    crystal, grid, names = read_frame(source)
    return source, crystal, grid, names, source.read(16) if source.read(1) else 0
