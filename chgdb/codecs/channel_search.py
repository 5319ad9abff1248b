"""The search for the cheapest channel of the Fourier codec within a tolerance: symmetry, sphere, step, predictions."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..density import Crystal
from ..errors import CodecError
from ..symmetry import SpaceGroup, box
from . import multipoles, spectra
from .basis import EVERY_NORM, Basis, Coarse, energy, half_norms, plane_weights
from .channel import MAX_LIMIT, Channel, Model, basis_of, rounded_up, spectrum_of
from .entropy import initial_scale
from .frame import COUNT_UNITS, STEP_BITS, STEPS_PER_OCTAVE, quantisation_step, step_code
from .spectra import Residual
from .symmetric import symmetries

_FEW = 150  # values; channels of fewer win nothing by predictions
_LARGE = 1 << 24  # points; on larger grids memory counts for more than bytes
_MOST_KEPT = 1 << 26  # maximum count of numbers that a fit of multipoles holds
#: A base that leaves this many times the mean square of another one cannot win: half a bit more per coefficient.
_HOPELESS = 2
_DEAD_ZONE = 0.65  # about what part of a step becomes zero, where a step is guessed
_SHELL_BITS = 18  # shells of 1/64 Å^-2 for the search of the working sphere


def encode_channel(
    values: np.ndarray,
    bases: list[np.ndarray | None],
    crystal: Crystal,
    metric: np.ndarray,
    group: SpaceGroup,
    allowed: float,
    known: list[np.ndarray],
) -> list[Channel | CodecError | None]:
    """For each base the channel with the coarsest step whose mean absolute error stays within `allowed` (e/Å^3).

    None for a base that cannot win, because it leaves so much more than another one.

    known: a list with the channel's half spectrum, which is taken out of it, or an empty list.
    """
    grid = values.shape
    spectrum = known.pop() if known else spectra.forward(values)
    count = round(float(spectrum[0, 0, 0].real) * crystal.volume * COUNT_UNITS)
    spectrum[0, 0, 0] = 0
    empty = Channel(count, SpaceGroup.trivial())
    searches: list[StepSearch | None] = []
    for base in bases:
        if spectra.distance(spectrum_of(empty, None, np.zeros(0), base, crystal.volume), values) <= allowed:
            searches.append(None)
        else:
            searches.append(StepSearch(values, base, crystal, metric, allowed, count))
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
class StepSearch:
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

    def run(self, spectrum: np.ndarray) -> Channel | CodecError:
        """The cheapest channel. spectrum: a box of the half spectrum with all of the sphere, without its mean."""
        residual = Residual(spectrum, self.base)
        found = [channel for own in self.groups if self._fill(channel := Channel(self.count, own), residual)]
        if not found:
            whole = spectra.forward(self.values)
            whole[0, 0, 0] = 0
            channel = Channel(self.count, SpaceGroup.trivial(), nyquist=True)
            if not self._fill(channel, Residual(whole, self.base)):
                return CodecError(
                    "the tolerance is below what the Fourier codec resolves: pack it with --lossless "
                    "(tolerance=0 in Python)"
                )
            found.append(channel)
        return min(found, key=_cost)

    def _fill(self, channel: Channel, residual: Residual) -> bool:
        """Fill in sphere, step and values of a channel. Returns whether the mean absolute error is within `allowed`."""
        grid = self.values.shape
        allowed = self.allowed
        channel.limit = MAX_LIMIT if channel.nyquist else self.limit
        basis = basis_of(grid, self.metric, channel)
        numbers = basis.analyse(residual)
        code = self._first_step(numbers)

        def error(code: int) -> float:
            decoded = _quantise(numbers, code) * quantisation_step(code)
            return spectra.distance(spectrum_of(channel, basis, decoded, self.base, self.crystal.volume), self.values)

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
            channel.limit = rounded_up(int(norms[last].max())) if len(last) else 0
            if channel.limit != last_limit:
                basis = basis_of(grid, self.metric, channel)
                numbers, last_limit = basis.analyse(residual), channel.limit
            if error(code) <= allowed:
                channel.step, channel.values, channel.norms = code, _quantise(numbers, code), basis.norms
                channel.initial = initial_scale(channel.values)
                return True
        return False

    def predicted(self, plain: Channel, thorough: bool) -> Channel | None:
        """The same channel on a coarse grid, or with its numbers predicted by multipoles.

        None where nothing is to be won, the error is not reached, or the fit is large and `thorough` is false.
        """
        if plain.nyquist or len(plain.values) < _FEW or not len(self.crystal):
            return None
        grid = self.values.shape
        listed, used = multipoles.sites(self.crystal, plain.group)
        model = Model(listed, used, 0)
        if not thorough and (self.values.size > _LARGE or not multipoles.is_small(model.places(False), _least(plain))):
            return None
        spectrum = spectra.forward(self.values)
        spectrum[0, 0, 0] = 0
        residual = Residual(spectrum, self.base)
        channel = Channel(self.count, plain.group, plain.limit, False, plain.step)
        channel.coarse = self._coarse(plain)
        basis = basis_of(grid, self.metric, channel)
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

    def _finest(self, channel: Channel, basis: Basis, numbers: np.ndarray, guess: np.ndarray) -> bool:
        """Fill in step and values with the coarsest step near the channel's own that reaches the error."""

        def reached(code: int) -> bool:
            decoded = guess + _quantise(numbers - guess, code) * quantisation_step(code)
            spectrum = spectrum_of(channel, basis, decoded, self.base, self.crystal.volume)
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

    def _coarse(self, plain: Channel) -> Coarse | None:
        """The grid of half as many points along each axis, where a channel has fewer places on it; else None."""
        grid = self.values.shape
        divisions = (grid[0] // 2, grid[1] // 2, grid[2] // 2)
        if min(divisions) < 2:
            return None
        basis = basis_of(grid, self.metric, plain)
        whole = Coarse(divisions, EVERY_NORM - 1, 0)
        on_grid, keys = basis.on_coarse(whole)
        nonzero = plain.values != 0
        if not (nonzero & on_grid).any():
            return None
        outer = rounded_up(int(keys[nonzero & on_grid].max()))
        beyond = nonzero & ~on_grid
        inner = rounded_up(int(basis.norms[beyond].max())) if beyond.any() else 0
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


def _least(plain: Channel) -> int:
    """About the fewest numbers that the coarse grid of a channel can leave: an eighth of its vectors."""
    return len(plain.values) // 8


def _cost(channel: Channel) -> float:
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
    """Whole multiples of the step, (n,) int64, of numbers in the order of the coder.

    A number is rounded down, towards zero, where the bits that this saves are worth the error that it adds. The bits
    are those of a geometric distribution with the mean of the magnitudes around it, and a sign for what is not zero.
    """
    step, size = quantisation_step(code), len(numbers)
    whole = np.empty(size, np.int64)
    for start in range(0, size, _AT_ONCE):  # in parts, each with its surroundings: memory
        stop, low = min(start + _AT_ONCE, size), max(start - _AROUND, 0)
        part = _weighed(numbers[low : stop + _AROUND] / step)
        whole[start:stop] = part[start - low : stop - low]
    return whole


def _weighed(numbers: np.ndarray) -> np.ndarray:
    """Numbers, in steps, rounded: see `_quantise`."""
    scaled = np.minimum(np.abs(numbers), 2.0**60)
    place = np.arange(len(scaled))
    first, last = np.maximum(place - _AROUND, 0), np.minimum(place + _AROUND + 1, len(scaled))
    sums = np.concatenate([[0.0], np.cumsum(np.minimum(scaled, 2.0**20))])
    bits = np.log2(1 + 1 / np.maximum((sums[last] - sums[first]) / (last - first), _LEAST_MEAN))
    whole = np.floor(scaled)
    # Down instead of up by one adds 2 x - 1 to the squared error, in steps, of a number x above the lower multiple.
    up = 0.5 + _WORTH_OF_A_BIT / 2 * (bits + (whole == 0))
    whole += scaled - whole >= np.minimum(up, _LAST_UP)
    return np.copysign(whole, numbers)


_AT_ONCE = 1 << 16  # numbers that are rounded at once
#: What a bit may cost in squared error, in steps: measured, from 0.18 to 0.28 the bytes hardly differ.
_WORTH_OF_A_BIT = 0.22
_AROUND = 12  # numbers before and behind one whose magnitudes say what its bits are
_LEAST_MEAN = 0.02  # the coder's own
_LAST_UP = 0.95  # from this part of a step on, a number is never rounded down


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
    return rounded_up(shell << bits)
