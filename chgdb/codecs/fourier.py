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
from dataclasses import dataclass, field

import numpy as np

from ..density import Crystal, Density
from ..errors import CodecError
from ..grids import absolute_sum
from ..promolecule import Prior, half_spectrum, reach_of
from ..symmetry import SpaceGroup, box, check_norms, find, integer_metric
from . import Header, multipoles, spectra
from .basis import EVERY_NORM, Basis, Coarse, energy, half_norms, plane_weights
from .bits import BitReader, BitWriter
from .entropy import INITIAL_SCALES, RangeDecoder, RangeEncoder, choose_lanes, initial_scale, most_values
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
from .spectra import Residual
from .symmetric import symmetries

CODEC_ID = 2
#: Payloads whose channels name a coarse grid, or multipoles that predict their coefficients.
PREDICTED_ID = 4

_LIMIT_MANTISSA = 8
_SMALL, _FEW = 150, 150  # smaller payloads (bytes) and channels (values) win nothing by predictions
_WORTH = 0.97  # predictions take longer to decode: they must bring a payload below this part of its bytes
_LARGE = 1 << 24  # points; on larger grids memory counts for more than bytes
_MOST_KEPT = 1 << 26  # maximum count of numbers that a fit of multipoles holds
#: A base that leaves this many times the mean square of another one cannot win: half a bit more per coefficient.
_HOPELESS = 2
_DEAD_ZONE = 0.65  # values below this part of a step become zero


@dataclass
class _Channel:
    """One channel of a payload."""

    count: int  # integral over the cell in units of 1 / COUNT_UNITS
    group: SpaceGroup
    limit: int = 0  # largest |G|^2 of the coded sphere, in units of METRIC_UNITS; 0 where nothing is coded
    nyquist: bool = False  # whether terms with some |h_i| = n_i / 2 are coded, too
    step: int = 0
    initial: int = 0
    values: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    norms: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))  # |G|^2 of each value; encoders need it
    coarse: Coarse | None = None
    model: _Model | None = None
    coded: int | None = None  # how many values are coded, where not all are; those after them are zero


@dataclass
class _Model:
    """The multipoles of a payload that predict the numbers of a channel.

    listed: (atoms,) bool, the atoms with parameters. used: (listed atoms, 25) bool, the m of l = 0 ... 4 that they use.
    values: (listed atoms, functions) int64, multiples of the step; zero where a function is not used.
    """

    listed: np.ndarray
    used: np.ndarray
    step: int
    initial: int = 0
    values: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.int64))

    def places(self, coarse: bool) -> np.ndarray:
        """The functions that have a parameter, (listed atoms, functions) bool."""
        return multipoles.spread_out(self.used, coarse)

    def numbers(self, crystal: Crystal, basis: Basis) -> np.ndarray:
        model = multipoles.Multipoles(crystal, basis, np.flatnonzero(self.listed))
        return model.numbers(self.values * quantisation_step(self.step))


# --- geometry shared by both directions ------------------------------------------------------------------------------


def _basis(grid: tuple[int, int, int], metric: np.ndarray, channel: _Channel, most: int | None = None) -> Basis:
    return Basis(grid, metric, channel.group, channel.limit, channel.nyquist, most, channel.coarse)


def prior_box(prior: Prior, crystal: Crystal, native: tuple[int, int, int]) -> np.ndarray:
    """What a prior knows of a grid, as the box of a half spectrum."""
    reach = reach_of(prior, crystal, native)
    return half_spectrum(prior, crystal, native, (2 * reach[0] + 1, 2 * reach[1] + 1, 2 * reach[2]))


def _spectrum(channel: _Channel, basis: Basis | None, numbers: np.ndarray, base: np.ndarray | None,
              volume: float) -> np.ndarray:  # fmt: skip
    """The smallest box that holds the sum of mean, base (the box of the prior's spectrum, if any) and coefficients."""
    shapes = [(1, 1, 1), *([] if basis is None else [basis.shape]), *([] if base is None else [base.shape])]
    spectrum = np.zeros(spectra.larger(*shapes), complex)
    if base is not None:
        spectra.put(spectrum, base)
    spectrum[0, 0, 0] += channel.count / COUNT_UNITS / volume
    if basis is not None:
        basis.synthesise(numbers, spectrum, basis.grid)
    return spectrum


# --- encoding --------------------------------------------------------------------------------------------------------


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
    Raises `CodecError` where the grid or the cell is beyond the codec, or the tolerance below what floats resolve.
    """
    crystal, grid = density.crystal, density.grid
    metric = integer_metric(crystal.cell)
    check_norms(metric, [n // 2 for n in grid])
    group = find(crystal) if symmetry else SpaceGroup.trivial()
    allowed = tolerance * (absolute_sum(density.total) / density.total.size)
    choices = [None, prior] if prior is not None and prior.covers(crystal) else [None]
    starts: dict[str, list[np.ndarray | None]] = {name: [None] for name in density.channels}
    starts["total"] += [prior_box(choice, crystal, grid) for choice in choices if choice is not None]
    found: dict[str, list[_Channel | CodecError | None]] = {}
    for name, values in density.channels.items():
        known = spectrum if name == "total" else None
        found[name] = _encode_channel(np.asarray(values), starts[name], crystal, metric, group, allowed, known or [])
    frame = BitWriter()
    write_frame(frame, crystal, grid, len(density.channels))
    payloads: list[tuple[bytes, list[_Channel], int]] = []
    refusals = []
    for k, choice in enumerate(choices):
        channels: list[_Channel] = []
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
        search = _Search(np.asarray(values), base, crystal, metric, allowed, channel.count)
        better.append(search.predicted(channel, thorough=bool(predict)) or channel)
    if all(new is old for new, old in zip(better, channels, strict=True)):
        return plain
    predicted = _write(frame, grid, better, choices[k], PREDICTED_ID)
    return predicted if len(predicted) < _WORTH * len(plain) else plain


def _encode_channel(
    values: np.ndarray,
    bases: list[np.ndarray | None],
    crystal: Crystal,
    metric: np.ndarray,
    group: SpaceGroup,
    allowed: float,
    known: list[np.ndarray],
) -> list[_Channel | CodecError | None]:
    """For each base the channel with the coarsest step whose mean absolute error stays within `allowed` (e/Å^3).

    None for a base that cannot win, because it leaves so much more than another one.

    known: a list with the channel's half spectrum, which is taken out of it, or an empty list.
    """
    grid = values.shape
    spectrum = known.pop() if known else spectra.forward(values)
    count = round(float(spectrum[0, 0, 0].real) * crystal.volume * COUNT_UNITS)
    spectrum[0, 0, 0] = 0
    empty = _Channel(count, SpaceGroup.trivial())
    searches: list[_Search | None] = []
    for base in bases:
        if spectra.distance(_spectrum(empty, None, np.zeros(0), base, crystal.volume), values) <= allowed:
            searches.append(None)
        else:
            searches.append(_Search(values, base, crystal, metric, allowed, count))
    if not allowed and any(searches):
        zero = CodecError(
            "the total density is zero, and so is a tolerance relative to it: pack it with --lossless "
            "(tolerance=0 in Python)"
        )
        return [empty if search is None else zero for search in searches]
    for search in filter(None, searches):
        search.power = energy(Residual(spectrum, search.base), grid)
    least = min((0.0 if search is None else search.power for search in searches), default=0.0)
    shape = (1, 1, 1)
    for search in filter(None, searches):
        if search.power > _HOPELESS * least:
            continue
        # The first try takes the symmetry that the density has to about the tolerance. Where that moves the density by
        # more than half of the tolerance, the search for a step can fail. The next try takes the symmetry that it has
        # much better, the last one none and every coefficient, which reaches any tolerance that floats resolve.
        residual = Residual(spectrum, search.base)
        shares = [share * allowed for share in (1.5, 0.6, 0.15)]
        search.groups = list(symmetries(residual, grid, group, shares))
        search.limit = _sphere(residual, grid, metric, (0.1 * allowed) ** 2)
        reach = box(metric, search.limit, [(n - 1) // 2 for n in grid])
        shape = spectra.larger(shape, spectra.box_shape(reach))
    spectrum = spectra.cut(spectrum, shape)
    return [
        empty if search is None else None if search.power > _HOPELESS * least else search.run(spectrum)
        for search in searches
    ]


@dataclass
class _Search:
    """The search for the cheapest channel that starts from one base."""

    values: np.ndarray
    base: np.ndarray | None
    crystal: Crystal
    metric: np.ndarray
    allowed: float
    count: int
    groups: list[SpaceGroup] = field(default_factory=list)
    power: float = 0.0  # mean square of the residual of the base
    limit: int = 0  # sphere beyond which the residual does not matter

    def run(self, spectrum: np.ndarray) -> _Channel | CodecError:
        """The cheapest channel. spectrum: a box of the half spectrum with all of the sphere, without its mean."""
        residual = Residual(spectrum, self.base)
        found = [channel for own in self.groups if self._fill(channel := _Channel(self.count, own), residual)]
        if not found:
            whole = spectra.forward(self.values)
            whole[0, 0, 0] = 0
            channel = _Channel(self.count, SpaceGroup.trivial(), nyquist=True)
            if not self._fill(channel, Residual(whole, self.base)):
                return CodecError(
                    "the tolerance is below what the Fourier codec resolves: pack it with --lossless "
                    "(tolerance=0 in Python)"
                )
            found.append(channel)
        return min(found, key=_cost)

    def _fill(self, channel: _Channel, residual: Residual) -> bool:
        """Fill in sphere, step and values of a channel. Returns whether the mean absolute error is within `allowed`."""
        grid = self.values.shape
        allowed = self.allowed
        channel.limit = _MAX_LIMIT if channel.nyquist else self.limit
        basis = _basis(grid, self.metric, channel)
        numbers = basis.analyse(residual)
        code = self._first_step(numbers)

        def error(code: int) -> float:
            decoded = _quantise(numbers, code) * quantisation_step(code)
            return spectra.distance(_spectrum(channel, basis, decoded, self.base, self.crystal.volume), self.values)

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
        # With few coefficients the error is not a monotonic function of the step: the search can end anywhere.
        if tried.get(code + 1, 0.0) <= allowed or reached > allowed:
            code = max((code for code, mean in tried.items() if 0 <= mean <= allowed), default=-1)
        # The last value that counts is known now, and the sphere ends there. The sphere is analysed again, because the
        # rounded limit can cut a shell in two, which then has other members. The error seldom needs a finer step then.
        norms, working, last_limit = basis.norms, numbers, channel.limit
        coarsest = code
        for code in range(coarsest, max(-1, coarsest - 4 * STEPS_PER_OCTAVE), -1):
            last = np.flatnonzero(_quantise(working, code))
            channel.limit = _rounded_up(int(norms[last].max())) if len(last) else 0
            if channel.limit != last_limit:
                basis = _basis(grid, self.metric, channel)
                numbers, last_limit = basis.analyse(residual), channel.limit
            if error(code) <= allowed:
                channel.step, channel.values, channel.norms = code, _quantise(numbers, code), basis.norms
                channel.initial = initial_scale(channel.values)
                return True
        return False

    def predicted(self, plain: _Channel, thorough: bool) -> _Channel | None:
        """The same channel on a coarse grid, or with its numbers predicted by multipoles.

        None where nothing is to be won, the error is not reached, or the fit is large and `thorough` is false.
        """
        if plain.nyquist or len(plain.values) < _FEW or not len(self.crystal):
            return None
        grid = self.values.shape
        listed, used = multipoles.sites(self.crystal, plain.group)
        model = _Model(listed, used, 0)
        if not thorough and (self.values.size > _LARGE or not multipoles.is_small(model.places(False), _least(plain))):
            return None
        spectrum = spectra.forward(self.values)
        spectrum[0, 0, 0] = 0
        residual = Residual(spectrum, self.base)
        channel = _Channel(self.count, plain.group, plain.limit, False, plain.step)
        channel.coarse = self._coarse(plain)
        basis = _basis(grid, self.metric, channel)
        numbers = basis.analyse(residual)
        linear = multipoles.Multipoles(self.crystal, basis, np.flatnonzero(listed))
        if linear.size > _MOST_KEPT:
            return None
        places = model.places(channel.coarse is not None)
        if not thorough and not multipoles.is_small(places, len(numbers)):
            return None
        linear.keep()
        parameters, step = multipoles.fit(linear, numbers, places, basis.norms, 0.3 * quantisation_step(plain.step))
        model.step = int(np.clip(step_code(step), 0, (1 << STEP_BITS) - 1))
        model.values = np.rint(parameters / quantisation_step(model.step)).astype(np.int64)
        model.initial = initial_scale(model.values.T[places.T])
        if not np.abs(model.values).max(initial=0) < 1 << 40:
            return None
        channel.model = model
        if not self._finest(channel, basis, numbers, model.numbers(self.crystal, basis)):
            return None
        # After the last value that is not zero the prediction is all there is.
        channel.coded = int(np.flatnonzero(channel.values)[-1]) + 1 if channel.values.any() else 0
        channel.values, channel.norms = channel.values[: channel.coded], basis.norms[: channel.coded]
        return channel

    def _finest(self, channel: _Channel, basis: Basis, numbers: np.ndarray, guess: np.ndarray) -> bool:
        """Fill in step and values with the coarsest step near the channel's own that reaches the error."""

        def reached(code: int) -> bool:
            decoded = guess + _quantise(numbers - guess, code) * quantisation_step(code)
            spectrum = _spectrum(channel, basis, decoded, self.base, self.crystal.volume)
            return spectra.distance(spectrum, self.values) <= self.allowed

        code, most = channel.step, (1 << STEP_BITS) - 1
        if reached(code):
            while code < most and reached(code + 1):
                code += 1
        else:
            finer = range(code - 1, max(-1, code - STEPS_PER_OCTAVE), -1)
            code = next((other for other in finer if reached(other)), -1)
            if code < 0:
                return False
        channel.step, channel.values = code, _quantise(numbers - guess, code)
        channel.initial = initial_scale(channel.values)
        return True

    def _coarse(self, plain: _Channel) -> Coarse | None:
        """The grid of half as many points along each axis, where a channel has fewer places on it; else None."""
        grid = self.values.shape
        divisions = (grid[0] // 2, grid[1] // 2, grid[2] // 2)
        if min(divisions) < 2:
            return None
        basis = _basis(grid, self.metric, plain)
        whole = Coarse(divisions, EVERY_NORM - 1, 0)
        on_grid, keys = basis.on_coarse(whole)
        nonzero = plain.values != 0
        if not (nonzero & on_grid).any():
            return None
        outer = _rounded_up(int(keys[nonzero & on_grid].max()))
        beyond = nonzero & ~on_grid
        inner = _rounded_up(int(basis.norms[beyond].max())) if beyond.any() else 0
        chosen = Coarse(divisions, outer, inner)
        left = int(((on_grid & (keys <= outer)) | (~on_grid & (basis.norms <= inner))).sum())
        return chosen if left < 0.97 * len(plain.values) else None

    def _first_step(self, numbers: np.ndarray) -> int:
        """A step to begin with."""
        lost = max(self.power - float((numbers**2).sum()), 0.0)
        # A sum of many rounding errors is nearly normal: mean |e| = sqrt(2 / pi) rms e. That is a good start.
        target = (self.allowed / 0.8) ** 2
        if lost < target or lost > 1e-13 * self.power:  # smaller losses are the rounding of two sums
            target -= lost
        # Where the prior alone nearly reaches the target, the search starts at the largest step that leaves any value.
        largest = float(np.abs(numbers).max(initial=0.0))
        code = _step_for(numbers, target)
        if largest:
            code = max(0, min(code, step_code(largest / _DEAD_ZONE)))
        return code


def _least(plain: _Channel) -> int:
    """About the fewest numbers that the coarse grid of a channel can leave: an eighth of its vectors."""
    return len(plain.values) // 8


def _cost(channel: _Channel) -> float:
    """A rough number of bits of a channel."""
    bits = float(np.log2(1 + np.abs(channel.values)).sum()) * 2
    return bits + 0.1 * len(channel.values) + 20 * len(channel.group) ** 0.5


def _step_for(numbers: np.ndarray, target: float) -> int:
    """The largest step code whose sum of squared errors is within about `target`."""
    low, high = 0, (1 << STEP_BITS) - 1
    ascending = np.sort(np.abs(numbers))
    below = np.concatenate([[0.0], np.cumsum(ascending**2)])
    while low < high:
        code = (low + high + 1) // 2
        step = quantisation_step(code)
        # Values that become zero are lost. The others are off by up to half a step, a bit more towards zero.
        zeros = int(np.searchsorted(ascending, _DEAD_ZONE * step))
        if below[zeros] + (len(ascending) - zeros) * 0.0858 * step**2 <= target:
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


def _sphere(spectrum: Residual, grid: tuple[int, ...], metric: np.ndarray, negligible: float) -> int:
    """The smallest sphere (rounded up) that leaves out at most `negligible` of the mean square."""
    weights = plane_weights(grid)
    largest = max(int(half_norms(grid, metric, rows).max()) for rows, _ in spectrum.pieces())
    bits = max(_SHELL_BITS, largest.bit_length() - 24)  # a very fine grid has wider shells instead of more shells
    power = np.zeros((largest >> bits) + 1)
    for rows, terms in spectrum.pieces():
        shells = (half_norms(grid, metric, rows) >> bits).astype(np.intp).ravel()
        power += np.bincount(shells, (np.abs(terms) ** 2 * weights).ravel(), len(power))
    tail = power[::-1].cumsum()[::-1]
    outside = np.flatnonzero(tail <= negligible)
    shell = int(outside[0]) if len(outside) else len(tail)
    return _rounded_up(shell << bits)


_SHELL_BITS = 18  # shells of 1/64 Å^-2 for the search of the working sphere
_MAX_LIMIT = ((1 << _LIMIT_MANTISSA) - 1) << 50


def _rounded_up(limit: int) -> int:
    """The next limit that an exponent and `_LIMIT_MANTISSA` bits can express."""
    exponent = max(0, limit.bit_length() - _LIMIT_MANTISSA)
    mantissa = -(-limit >> exponent)
    if mantissa >> _LIMIT_MANTISSA:
        exponent, mantissa = exponent + 1, -(-limit >> (exponent + 1))
    return mantissa << exponent


# --- the payload -----------------------------------------------------------------------------------------------------


def _write(
    frame: BitWriter, grid: tuple[int, int, int], channels: list[_Channel], prior: Prior | None, codec: int = CODEC_ID
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
        _write_channel(out, channel, previous)
        if channel.limit and codec == PREDICTED_ID:
            _write_prediction(out, channel, grid)
        if channel.limit:
            previous = channel.group
            if channel.model is not None:
                values = channel.model.values.T[channel.model.places(channel.coarse is not None).T]
                coder.encode(values, np.zeros(len(values), np.int64), channel.model.initial)
            coder.encode(channel.values, channel.norms, channel.initial)
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
    _write_limit(out, channel.limit)
    out.write(int(channel.nyquist), 1)
    out.write(channel.step, STEP_BITS)
    out.write(channel.initial, 6)


def _write_limit(out: BitWriter, limit: int) -> None:
    exponent = max(0, limit.bit_length() - _LIMIT_MANTISSA)
    out.write(exponent, 6)
    out.write(limit >> exponent, _LIMIT_MANTISSA)


def _read_limit(source: BitReader) -> int:
    exponent = source.read(6)
    if exponent > 50:
        raise CodecError("the payload holds an impossible sphere: the record is damaged")
    return source.read(_LIMIT_MANTISSA) << exponent


def _write_prediction(out: BitWriter, channel: _Channel, grid: tuple[int, int, int]) -> None:
    out.write(int(channel.coarse is not None), 1)
    if channel.coarse is not None:
        for divisions, n in zip(channel.coarse.divisions, grid, strict=True):
            out.write(int(divisions == n // 2), 1)
            if divisions != n // 2:
                out.write_gamma(divisions)
        _write_limit(out, channel.coarse.outer)
        _write_limit(out, channel.coarse.inner)
    model = channel.model
    out.write(int(model is not None), 1)
    if model is None:
        return
    out.write_gamma(len(channel.values))
    for listed in model.listed.tolist():
        out.write(int(listed), 1)
    for used in model.used:
        out.write(int(used.all()), 1)
        if not used.all():
            for one in used.tolist():
                out.write(int(one), 1)
    out.write(model.step, STEP_BITS)
    out.write(model.initial, 6)


def _read_prediction(
    source: BitReader, channel: _Channel, metric: np.ndarray, grid: tuple[int, int, int], atoms: int
) -> None:
    if source.read(1):
        divisions = [n // 2 if source.read(1) else source.read_gamma() for n in grid]
        outer, inner = _read_limit(source), _read_limit(source)
        if channel.nyquist or any(not 1 <= d < n for d, n in zip(divisions, grid, strict=True)):
            raise CodecError("the payload holds an impossible coarse grid: the record is damaged")
        check_norms(metric, [2 * n for n in grid])
        channel.coarse = Coarse((divisions[0], divisions[1], divisions[2]), min(outer, EVERY_NORM - 1), inner)
    if not source.read(1):
        return
    channel.coded = source.read_gamma()
    listed = np.array([source.read(1) for _ in range(atoms)], bool)
    used = np.ones((int(listed.sum()), multipoles.MASK), bool)
    for row in used:
        if not source.read(1):
            row[:] = [source.read(1) for _ in range(multipoles.MASK)]
    channel.model = _Model(listed, used, source.read(STEP_BITS), source.read(6))
    if channel.model.initial >= INITIAL_SCALES:
        raise CodecError("the payload holds an impossible number: the record is damaged")


def _read_channel(source: BitReader, previous: SpaceGroup | None) -> _Channel:
    count = read_count(source)
    if not source.read(1):
        return _Channel(count, SpaceGroup.trivial())
    group = previous if previous is not None and source.read(1) else read_group(source)
    limit = _read_limit(source)
    nyquist = bool(source.read(1))
    step, initial = source.read(STEP_BITS), source.read(6)
    if initial >= INITIAL_SCALES or not limit:
        raise CodecError("the payload holds an impossible number: the record is damaged")
    return _Channel(count, group, limit, nyquist, step, initial)


def _read_channels(
    source: BitReader, codec: int, names: tuple[str, ...], crystal: Crystal, grid: tuple[int, int, int]
) -> Iterator[_Channel]:
    """The channels of a payload without their values."""
    metric, previous = integer_metric(crystal.cell), None
    for _ in names:
        channel = _read_channel(source, previous)
        if channel.limit:
            previous = channel.group
            if codec == PREDICTED_ID:
                _read_prediction(source, channel, metric, grid, len(crystal))
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
        own = _basis(native, metric, channel, most)
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
        decoded[name] = spectra.values_of(_spectrum(channel, basis, numbers, base, crystal.volume), shape)
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
