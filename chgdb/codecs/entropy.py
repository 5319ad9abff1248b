r"""An adaptive range coder (rANS) for quantised coefficients ordered by |G|.

Every probability comes from integer arithmetic, so that a record decodes to the same integers on every machine and
with every version of every library. The scale of the next value is predicted from the values before it:

    m <- m * 2**(-DECAY * (|G| - |G previous|))          densities fall off with |G|
    m <- m + (|q| - m) / 8                               after each value

A mixture of geometric distributions of mean m gives the probabilities of |q|. The low bits of large values and the
signs of all values are sent as plain bits. rANS: Duda, arXiv 1311.2540. The decoder reads the coder's bytes from the
end of the payload backwards, and plain bits forwards, so neither needs a length.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import cache
from typing import Any

import numpy as np

from ..errors import CodecError
from .bits import BitReader

_PRECISION = 14  # bits of a probability
_TOTAL = 1 << _PRECISION
_LOWER = 1 << 24  # states stay in [_LOWER, 256 * _LOWER): four bytes, so a decoder knows how many to read first
_SYMBOLS = 32  # 0 to 30, and 31 for "31 or more", continued as a gamma code
_ESCAPE = _SYMBOLS - 1
_ONE = 1 << 12  # the unit of m is 1 / _ONE
_FLOOR = 82  # m is never below 0.02
_DECAY = 3 * 256  # 1/256 octaves per 1/Å
#: For each geometric distribution its mean in units of m, and its weight. Fitted to the catalog's residuals.
_MIXTURE = ((2, 5, 6), (9, 10, 9), (2, 1, 5))  # (numerator, denominator, weight / 20)
#: Values that are coded side by side: one for small records (no overhead), many where vectorised decoding pays.
LANES = (1, 32, 256)
_CHUNK = 16  # plain bits that are coded at once
_POWERS = [round(65536 * 2 ** (-i / 256)) for i in range(256)]
INITIAL_SCALES = 48  # possible values of m at the start, half an octave apart
MAX_MAGNITUDE = 1 << 60
_VALUES_PER_BYTE = 320  # a zero takes 0.028 bits at the smallest m


def choose_lanes(count: int) -> int:
    """The index into `LANES` for a number of values."""
    return 0 if count < 8192 else 1 if count < 262144 else 2


def most_values(size: int) -> int:
    """A number of values that `size` bytes cannot hold."""
    return 8192 + _VALUES_PER_BYTE * size


def initial_scale(values: np.ndarray) -> int:
    """The index of the first m that suits the first magnitudes."""
    if not len(values):
        return 0
    mean = float(np.abs(values[:4]).mean()) + 0.3
    return int(np.clip(round(2 * np.log2(mean * _ONE / _FLOOR)), 0, INITIAL_SCALES - 1))


def _initial(index: int) -> int:
    return (_FLOOR << (index >> 1)) * (181 if index & 1 else 128) >> 7  # 181/128 is the square root of 2


def octaves(norms: np.ndarray) -> list[int]:
    """|G| of each value in units of 1/256 octave of the expected decay; norms: |G|^2 in units of 2^-24 Å^-2."""
    # The square root of an integer below 2^52 is correctly rounded, so its floor is the same everywhere.
    return ((np.floor(np.sqrt(norms.astype(float))).astype(np.int64) * _DECAY) >> 12).tolist()


@cache
def _table(index: int) -> tuple[list[int], list[int]]:
    """(frequencies, cumulative frequencies) of the symbols for a class of m, computed with integers only."""
    octave, quarter = divmod(index, 4)
    # The middle of [1 + quarter/4, +1/4) * 2^(octave + 6).
    numerator, denominator = (9 + 2 * quarter) << octave, 8 * (_ONE >> 6)
    weights = [0] * _SYMBOLS
    for up, down, weight in _MIXTURE:
        a, b = numerator * up, denominator * down  # mean of this geometric distribution: a / b
        rest = (weight << 50) // 20
        for k in range(_ESCAPE):
            tail = rest * a // (a + b)
            weights[k] += rest - tail
            rest = tail
        weights[_ESCAPE] += rest
    frequencies = [1 + (w * (_TOTAL - _SYMBOLS) >> 50) for w in weights]
    frequencies[0] += _TOTAL - sum(frequencies)
    cumulative = [0]
    for f in frequencies:
        cumulative.append(cumulative[-1] + f)
    return frequencies, cumulative


def _classify(m: int) -> tuple[int, int]:
    """(class of the table, number of low bits that are sent as plain bits) for a scale m."""
    octave = m.bit_length() - 1
    shift = max(0, octave - 14)  # tables reach means of 4 to 8; low bits of larger values are sent as plain bits
    return 4 * (octave - shift - 6) + ((m >> (octave - 2)) & 3), shift


def _decayed(m: int, steps: int) -> int:
    m = (m * _POWERS[steps & 255] >> 16) >> (steps >> 8)
    return m if m > _FLOOR else _FLOOR


class RangeEncoder:
    """Collects lists of values. `finish` gives the bytes. The decoder must ask for the same lists in the same order."""

    def __init__(self, lanes: int) -> None:
        self._lanes = LANES[lanes]
        # (symbol, or symbols of all lanes; table; bits of precision), or (plain bits; None; their number)
        self._operations: list[tuple[Any, int | None, int]] = []

    def encode(self, values: np.ndarray, norms: np.ndarray, initial: int) -> None:
        """Append values, (n,) int64, with their |G|^2, (n,) int64; `initial` is the index of `initial_scale`."""
        magnitudes = np.abs(values)
        if len(values) and not 0 <= int(magnitudes.min()) <= int(magnitudes.max()) < MAX_MAGNITUDE:
            raise CodecError("a value is too large for the coder: pack it with --lossless (tolerance=0 in Python)")
        shifts = self._symbols(magnitudes, octaves(norms), initial)
        highs = magnitudes >> shifts
        for high in highs[highs >= _ESCAPE].tolist():
            width = (high - _ESCAPE + 1).bit_length()
            for _ in range(width - 1):  # bit by bit, as the decoder reads it
                self._plain(0, 1)
            self._plain(1, 1)
            self._plain(high - _ESCAPE + 1 - (1 << (width - 1)), width - 1)
        sent = np.flatnonzero(shifts)
        low = magnitudes[sent] & ((1 << shifts[sent]) - 1)
        for value, shift in zip(low.tolist(), shifts[sent].tolist(), strict=True):
            self._plain(value, shift)
        negative = (values < 0)[values != 0]
        if len(negative):
            self._plain(int("".join("1" if n else "0" for n in negative), 2), len(negative))

    def _plain(self, value: int, width: int) -> None:
        while width > _CHUNK:
            width -= _CHUNK
            self._operations.append((value >> width, None, _CHUNK))
            value &= (1 << width) - 1
        if width:
            self._operations.append((value, None, width))

    def _symbols(self, magnitudes: np.ndarray, positions: list[int], initial: int) -> np.ndarray:
        m = _initial(initial)
        lanes = self._lanes
        if lanes == 1:
            return self._symbols_of_one(magnitudes.tolist(), positions, m)
        shifts = np.zeros(len(magnitudes), np.int64)
        # Nearly all groups send no low bits: their symbols and sums are made at once.
        plain = np.minimum(magnitudes, _ESCAPE)
        sums = np.add.reduceat(plain, np.arange(0, len(plain), lanes)).tolist() if len(plain) else []
        before = positions[0] if positions else 0
        for start, total in zip(range(0, len(magnitudes), lanes), sums, strict=True):
            if positions[start] > before:  # Nyquist terms follow the others and start at small |G| again
                m = _decayed(m, positions[start] - before)
            before = positions[start]
            index, shift = _classify(m)
            symbols = plain[start : start + lanes]
            if shift:
                shifts[start : start + lanes] = shift
                symbols = np.minimum(magnitudes[start : start + lanes] >> shift, _ESCAPE)
                total = int(symbols.sum())
            self._operations.append((symbols, index, _PRECISION))
            m = _updated(m, total, len(symbols), shift, lanes)
        return shifts

    def _symbols_of_one(self, magnitudes: list[int], positions: list[int], m: int) -> np.ndarray:
        """With one lane: whole numbers of Python are several times faster than arrays of one, and calls cost most."""
        shifts, operations = [], self._operations
        before = positions[0] if positions else 0
        for magnitude, position in zip(magnitudes, positions, strict=True):
            if position > before:
                m = _decayed(m, position - before)
            before = position
            octave = m.bit_length() - 1
            shift = octave - 14 if octave > 14 else 0
            symbol = magnitude >> shift
            if symbol > _ESCAPE:
                symbol = _ESCAPE
            shifts.append(shift)
            operations.append((symbol, 4 * (octave - shift - 6) + ((m >> (octave - 2)) & 3), _PRECISION))
            m += (((symbol << shift) * _ONE + ((1 << shift) >> 1) * _ONE) - m) >> 3
            if m < _FLOOR:
                m = _FLOOR
        return np.array(shifts, np.int64)

    def finish(self) -> bytes:
        """The coder's bytes, which must be the last ones of the payload."""
        return self._finish_one() if self._lanes == 1 else self._finish_many()

    def _finish_one(self) -> bytes:
        # The state starts from 1, and the decoder ends where the bytes end: nothing is wasted.
        state = 1
        out = bytearray()
        for symbol, index, precision in reversed(self._operations):
            if index is None:
                frequency, start = 1, symbol
            else:
                frequencies, cumulative = _table(index)
                frequency, start = frequencies[symbol], cumulative[symbol]
            limit = ((_LOWER >> precision) << 8) * frequency
            while state >= limit:
                out.append(state & 255)
                state >>= 8
            state = ((state // frequency) << precision) + state % frequency + start
        return bytes(out) + state.to_bytes((state.bit_length() + 7) // 8, "little")

    def _finish_many(self) -> bytes:
        states = np.full(self._lanes, _LOWER, np.int64)
        pieces: list[np.ndarray] = []
        operations = self._operations
        done = len(operations)
        while done:
            done -= 1
            symbols, index, precision = operations[done]
            if index is None:  # a run of plain bits, all in the first lane
                done = self._plain_run(done, states, pieces)
                continue
            all_frequencies, cumulative = _arrays(index)
            x, frequencies, start = states[: len(symbols)], all_frequencies[symbols], cumulative[symbols]
            limit = ((_LOWER >> precision) << 8) * frequencies
            once = x >= limit
            twice = once & ((x >> 8) >= limit)
            # The decoder takes a first byte for each lane that needs one, then a second one. Here this is reversed.
            pieces.append((x[twice] & 255)[::-1])
            x[twice] >>= 8
            pieces.append((x[once] & 255)[::-1])
            x[once] >>= 8
            x[:] = ((x // frequencies) << precision) + x % frequencies + start
        pieces += [((states >> (8 * byte)) & 255)[::-1] for byte in range(4)]
        return np.concatenate(pieces).astype(np.uint8).tobytes()

    def _plain_run(self, last: int, states: np.ndarray, pieces: list[np.ndarray]) -> int:
        """Code the plain bits before operation `last`, backwards. Returns the first operation of the run."""
        state = int(states[0])
        out = bytearray()
        while True:
            value, _, precision = self._operations[last]
            limit = (_LOWER >> precision) << 8
            while state >= limit:
                out.append(state & 255)
                state >>= 8
            state = (state << precision) + value
            if not last or self._operations[last - 1][1] is not None:
                break
            last -= 1
        states[0] = state
        pieces.append(np.frombuffer(out, np.uint8).astype(np.int64))
        return last


def _possible(magnitude: int) -> int:
    if magnitude >= MAX_MAGNITUDE:
        raise CodecError("the payload holds an impossible number: the record is damaged")
    return magnitude


def _updated(m: int, total: int, count: int, shift: int, lanes: int) -> int:
    """The scale after a group of `count` symbols whose sum is `total`."""
    mean = ((total << shift) * _ONE + ((1 << shift) >> 1) * _ONE * count) // count
    m = m + ((mean - m) >> 3) if lanes == 1 else (m + 3 * mean) >> 2
    return m if m > _FLOOR else _FLOOR


class RangeDecoder:
    """Reads lists of values from the end of `data` backwards. Raises `CodecError` if the bytes make no sense.

    data: the bytes of the coder alone.
    """

    def __init__(self, data: bytes, lanes: int) -> None:
        if lanes >= len(LANES):
            raise CodecError("the payload names an unknown coder: the record is damaged")
        self._lanes = LANES[lanes]
        self._data = data
        self._left = len(data)
        if self._lanes == 1:
            if not data or not data[-1]:  # the top byte of the encoder's last state, which is at least 1
                raise CodecError("the payload's coefficients do not add up: the record is damaged")
            self._state = 0
            self._refill()
        else:
            if self._left < 4 * self._lanes:
                raise CodecError("the payload ends too early: the record is damaged")
            self._bytes = np.frombuffer(data, np.uint8)[::-1].astype(np.int64)
            head = self._bytes[: 4 * self._lanes].reshape(4, self._lanes)
            self._states = (head[0] << 24) | (head[1] << 16) | (head[2] << 8) | head[3]
            self._left -= 4 * self._lanes

    def decode(self, norms: np.ndarray, initial: int) -> np.ndarray:
        """One value for each of `norms`, (n,) int64. The counterpart of `RangeEncoder.encode`."""
        # The number of lanes follows from the number of values: a damaged record could ask for many values in one lane.
        if len(norms) > most_values(len(self._data)) or LANES[choose_lanes(len(norms))] > self._lanes:
            raise CodecError("the payload claims more coefficients than it can hold: the record is damaged")
        positions = octaves(norms)
        magnitudes, shifts = self._one(positions, initial) if self._lanes == 1 else self._many(positions, initial)
        for position in np.flatnonzero(magnitudes == _ESCAPE).tolist():
            magnitudes[position] = _possible(_ESCAPE + BitReader.read_gamma(self))  # type: ignore[arg-type]
        self._add_low_bits(magnitudes, np.flatnonzero(shifts), shifts)
        nonzero = np.flatnonzero(magnitudes)
        whole, rest = divmod(len(nonzero), _CHUNK)
        chunks = self._plain([_CHUNK] * whole + [rest] * (rest > 0))
        if rest:
            chunks[-1] <<= _CHUNK - rest
        signs = np.unpackbits(np.array(chunks, ">u2").view(np.uint8))[: len(nonzero)]
        magnitudes[nonzero[signs.astype(bool)]] *= -1
        return magnitudes

    def _add_low_bits(self, magnitudes: np.ndarray, positions: np.ndarray, shifts: np.ndarray) -> None:
        """Put the plain bits below the bits of the symbols."""
        widths = shifts[positions]
        if not len(positions) or widths.max() > _CHUNK or int(magnitudes[positions].max()) >= MAX_MAGNITUDE >> _CHUNK:
            for position, width in zip(positions.tolist(), widths.tolist(), strict=True):
                magnitudes[position] = _possible((int(magnitudes[position]) << width) | self.read(width))
            return
        magnitudes[positions] = (magnitudes[positions] << widths) | np.array(self._plain(widths.tolist()), np.int64)

    def read(self, width: int) -> int:
        """The next plain bits, with the interface of `BitReader`."""
        value = 0
        while width > 0:
            chunk = min(width, _CHUNK)
            width -= chunk
            value = (value << chunk) | self._plain([chunk])[0]
        return value

    def _plain(self, widths: list[int]) -> list[int]:
        """The next runs of plain bits, each of at most `_CHUNK`."""
        one = self._lanes == 1
        data, left, state = self._data, self._left, self._state if one else int(self._states[0])
        values = []
        for width in widths:
            values.append(state & ((1 << width) - 1))
            state >>= width
            while state < _LOWER and left:
                left -= 1
                state = (state << 8) | data[left]
            if state < _LOWER and not one:
                raise CodecError("the payload ends too early: the record is damaged")
        self._left = left
        if one:
            self._state = state
        else:
            self._states[0] = state
        return values

    def close(self) -> None:
        """Raises `CodecError` unless every byte was used and the state is the one that the encoder began with."""
        if self._lanes == 1:
            intact = self._state == 1 and not self._left
        else:
            intact = bool((self._states == _LOWER).all()) and not self._left
        if not intact:
            raise CodecError("the payload's coefficients do not add up: the record is damaged")

    def _refill(self) -> None:
        while self._state < _LOWER and self._left:
            self._left -= 1
            self._state = (self._state << 8) | self._data[self._left]

    def _one(self, positions: list[int], initial: int) -> tuple[np.ndarray, np.ndarray]:
        data, left, state = self._data, self._left, self._state
        m = _initial(initial)
        before = positions[0] if positions else 0
        symbols, shifts = [], []
        mask = _TOTAL - 1
        for position in positions:  # the innermost loop of decoding: as few calls as possible
            if position > before:
                m = _decayed(m, position - before)
            before = position
            octave = m.bit_length() - 1
            shift = octave - 14 if octave > 14 else 0
            frequencies, cumulative = _table(4 * (octave - shift - 6) + ((m >> (octave - 2)) & 3))
            slot = state & mask
            symbol = bisect_right(cumulative, slot) - 1
            state = frequencies[symbol] * (state >> _PRECISION) + slot - cumulative[symbol]
            while state < _LOWER and left:
                left -= 1
                state = (state << 8) | data[left]
            symbols.append(symbol)
            shifts.append(shift)
            m += (((symbol << shift) * _ONE + ((1 << shift) >> 1) * _ONE) - m) >> 3
            if m < _FLOOR:
                m = _FLOOR
        self._left, self._state = left, state
        return np.array(symbols, np.int64), np.array(shifts, np.int64)

    def _many(self, positions: list[int], initial: int) -> tuple[np.ndarray, np.ndarray]:
        m = _initial(initial)
        before = positions[0] if positions else 0
        symbols = np.empty(len(positions), np.int64)
        shifts = np.zeros(len(positions), np.int64)
        data, states, lanes, mask, add = self._bytes, self._states, self._lanes, _TOTAL - 1, np.add.reduce
        taken = len(data) - self._left
        for start in range(0, len(positions), lanes):  # few calls of NumPy: each costs as much as all lanes together
            if positions[start] > before:  # Nyquist terms follow the others and start at small |G| again
                m = _decayed(m, positions[start] - before)
            before = positions[start]
            index, shift = _classify(m)
            symbol_at, frequency_at, offset_at = _slots(index)
            n = min(lanes, len(positions) - start)
            x = states[:n]
            slot = x & mask
            found = symbol_at[slot]
            x >>= _PRECISION
            x *= frequency_at[slot]
            x += offset_at[slot]
            for _ in range(2):
                low = (x < _LOWER).nonzero()[0]
                count = len(low)
                if not count:
                    break
                fresh = data[taken : taken + count]
                if len(fresh) < count:
                    raise CodecError("the payload ends too early: the record is damaged")
                x[low] = (x[low] << 8) | fresh
                taken += count
            symbols[start : start + n] = found
            shifts[start : start + n] = shift
            m = _updated(m, int(add(found)), n, shift, lanes)
        self._left = len(data) - taken
        return symbols, shifts


@cache
def _slots(index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each of the `_TOTAL` values of a state's low bits: the symbol, its frequency, and the place within it."""
    frequencies, cumulative = _arrays(index)
    symbols = np.repeat(np.arange(_SYMBOLS), frequencies)
    return symbols, frequencies[symbols], np.arange(_TOTAL) - cumulative[symbols]


@cache
def _arrays(index: int) -> tuple[np.ndarray, np.ndarray]:
    frequencies, cumulative = _table(index)
    return np.array(frequencies, np.int64), np.array(cumulative, np.int64)
