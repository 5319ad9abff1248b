"""A Crystal in as few bits as its numbers hold, bit for bit.

Lattice vectors and positions are seldom 64 random bits. They are decimals of a few places, or fractions such as 1/3, or
a few units in the last place off a fraction after some program's arithmetic, or they repeat an earlier number (up to
sign, 1 - x, x + 1/2). Each number takes the cheapest of these forms; a number that fits none of them is stored raw.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable

import numpy as np

from ..density import Crystal
from ..errors import CodecError
from .bits import BitReader, BitWriter

_MAX_ULPS = 63
_MAX_DECIMALS = 15
_MAX_ATOMS = 1 << 20
_DENOMINATOR = 24
_ROOT3 = 3.0**0.5
# Functions by which a number may follow from an earlier one, for positions and for cells (hexagonal ones abound).
# Their order is part of the format.
_POSITION_RELATIONS: tuple[Callable[[float], float], ...] = (
    lambda x: x,
    lambda x: -x,
    lambda x: 1.0 - x,
    lambda x: x + 0.5,
    lambda x: 0.5 - x,
    lambda x: x - 0.5,
    lambda x: 1.5 - x,
    lambda x: 2.0 * x,
)
_CELL_RELATIONS: tuple[Callable[[float], float], ...] = (
    lambda x: x,
    lambda x: -x,
    lambda x: x / 2,
    lambda x: -x / 2,
    lambda x: x * _ROOT3,
    lambda x: -x * _ROOT3,
    lambda x: x / _ROOT3,
    lambda x: -x / _ROOT3,
)
_HISTORY = 16  # number of distinct earlier numbers that a relation can refer to


def write_crystal(out: BitWriter, crystal: Crystal) -> None:
    """Append a crystal to a bit stream, bit for bit."""
    numbers = crystal.numbers.tolist()
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][0] == number:
            runs[-1][1] += 1
        else:
            runs.append([number, 1])
    out.write_gamma(len(runs))
    for number, count in runs:
        out.write(number, 7)
        out.write_gamma(count - 1)
    _write_numbers(out, crystal.cell.ravel().tolist(), fractions=False)
    _write_numbers(out, crystal.positions.ravel().tolist(), fractions=True)


def read_crystal(source: BitReader) -> Crystal:
    """The crystal that `write_crystal` wrote. Raises `CodecError` or `DensityError` for damaged bytes."""
    numbers: list[int] = []
    for _ in range(source.read_gamma()):
        number = source.read(7)
        count = source.read_gamma() + 1
        if len(numbers) + count > _MAX_ATOMS:
            raise CodecError("the payload claims more than a million atoms: the record is damaged")
        numbers += [number] * count
    cell = np.array(_read_numbers(source, 9, fractions=False)).reshape(3, 3)
    positions = np.array(_read_numbers(source, 3 * len(numbers), fractions=True)).reshape(-1, 3)
    return Crystal(cell, positions, np.array(numbers, np.int64))


def _write_numbers(out: BitWriter, values: list[float], fractions: bool) -> None:
    """Write each value as one of: 0 fraction or zero, 10 relation to an earlier one, 110 decimal, 111 raw (64 bits)."""
    # All decimals of a list share their number of places. All are tried, and the cheapest one is taken.
    relations = _relations(values, fractions)
    decimals = [
        value for value, (relation, _) in zip(values, relations, strict=True)
        if relation is None and not _as_short(value, fractions)
    ]  # fmt: skip
    places = min(range(_MAX_DECIMALS + 1), key=lambda places: _bits(decimals, places)) if decimals else 0
    out.write(places, 4)
    _write_with_places(out, values, relations, fractions, places)


def _bits(values: list[float], places: int) -> int:
    """What some numbers take as decimals of so many places, or raw."""
    bits = 0
    for value in values:
        decimal = _as_decimal(abs(value), places)
        if decimal is None:
            bits += 67
        else:
            bits += 11 + decimal[0].bit_length() + (2 * abs(decimal[1]).bit_length() if decimal[1] else 0)
    return bits


def _relations(values: list[float], fractions: bool) -> list[tuple[tuple[int, int, int] | None, int]]:
    """For each value its relation to an earlier one (see `_as_relation`), and the number of bits that say which."""
    history: list[float] = []
    found: list[tuple[tuple[int, int, int] | None, int]] = []
    for value in values:
        if _as_short(value, fractions):
            found.append((None, 0))
            continue
        relation = _as_relation(value, history, _POSITION_RELATIONS if fractions else _CELL_RELATIONS)
        found.append((relation, (len(history) - 1).bit_length()))
        _remember(history, value)
    return found


def _as_short(value: float, fractions: bool) -> tuple[int, int] | None:
    """The fraction of a position, as `_as_fraction`; in a cell only zero has a short form."""
    if fractions:
        return _as_fraction(value)
    return (0, 0) if value == 0 and math.copysign(1, value) > 0 else None


def _write_with_places(
    out: BitWriter,
    values: list[float],
    relations: list[tuple[tuple[int, int, int] | None, int]],
    fractions: bool,
    places: int,
) -> None:
    for value, (relation, width) in zip(values, relations, strict=True):
        fraction = _as_short(value, fractions)
        if fraction:
            out.write(0, 1)
            if fractions:
                _write_fraction(out, *fraction)
            continue
        decimal = _as_decimal(abs(value), places)
        if relation:
            out.write(0b10, 2)
            out.write(relation[0], width)
            out.write(relation[1], 3)
            _write_ulps(out, relation[2])
        elif decimal:
            out.write(0b110, 3)
            out.write(decimal[0].bit_length(), 6)
            out.write(int(math.copysign(1, value) < 0), 1)
            out.write(decimal[0], decimal[0].bit_length())
            _write_ulps(out, decimal[1])
        else:
            out.write(0b111, 3)
            out.write(int.from_bytes(struct.pack(">d", value), "big"), 64)


def _read_numbers(source: BitReader, count: int, fractions: bool) -> list[float]:
    shared = source.read(4)
    history: list[float] = []
    values: list[float] = []
    for _ in range(count):
        if not source.read(1):
            values.append(_read_fraction(source) if fractions else 0.0)
            continue
        if not source.read(1):
            index = source.read(max(len(history) - 1, 0).bit_length())
            if index >= len(history):
                raise CodecError("the payload refers to a number that is not there: the record is damaged")
            value = (_POSITION_RELATIONS if fractions else _CELL_RELATIONS)[source.read(3)](history[index])
            value = _ulps(value, _read_ulps(source))
        elif not source.read(1):
            width = source.read(6)
            sign = -1.0 if source.read(1) else 1.0
            value = _from_decimal(source.read(width), shared)
            value = sign * _ulps(value, _read_ulps(source))
        else:
            value = struct.unpack(">d", source.read(64).to_bytes(8, "big"))[0]
        _remember(history, value)
        values.append(value)
    return values


def _remember(history: list[float], value: float) -> None:
    if value not in history:
        history.insert(0, value)
        del history[_HISTORY:]


def _from_decimal(scaled: int, places: int) -> float:
    return scaled / 10**places  # int / int is correctly rounded in Python, whatever the sizes


def _as_decimal(value: float, places: int) -> tuple[int, int] | None:
    """(m, ulps): value = m / 10**places plus `ulps` units in the last place. None where raw bits are cheaper."""
    numerator, denominator = value.as_integer_ratio()
    scaled = (2 * numerator * 10**places + denominator) // (2 * denominator)
    if scaled.bit_length() > 52:
        return None
    ulps = _ulps_between(_from_decimal(scaled, places), value)
    return None if ulps is None else (scaled, ulps)


def _as_fraction(value: float) -> tuple[int, int] | None:
    """(k, ulps): value = k / 24 plus `ulps` units in the last place, 0 <= k < 32. None where there is no such k."""
    k = round(value * _DENOMINATOR) if abs(value) < 2 else -1
    if not 0 <= k < 32 or (value == 0 and math.copysign(1, value) < 0):
        return None
    ulps = _ulps_between(k / _DENOMINATOR, value)
    return None if ulps is None else (k, ulps)


def _write_fraction(out: BitWriter, k: int, ulps: int) -> None:
    """Write 00 zero, 01 one half, 10 a quarter or three, 11 any k / 24; units in the last place follow all but zero."""
    if k == 0 and ulps == 0:
        out.write(0b00, 2)
        return
    if k == 12:
        out.write(0b01, 2)
    elif k in (6, 18):
        out.write(0b10, 2)
        out.write(int(k == 18), 1)
    else:
        out.write(0b11, 2)
        out.write(k, 5)
    _write_ulps(out, ulps)


def _read_fraction(source: BitReader) -> float:
    kind = source.read(2)
    if kind == 0:
        return 0.0
    k = 12 if kind == 1 else (18 if source.read(1) else 6) if kind == 2 else source.read(5)
    return _ulps(k / _DENOMINATOR, _read_ulps(source))


def _as_relation(
    value: float, history: list[float], relations: tuple[Callable[[float], float], ...]
) -> tuple[int, int, int] | None:
    """(index in history, relation, ulps) of the relation with the fewest ulps. None where there is none."""
    best = None
    for index, earlier in enumerate(history):
        for kind, relate in enumerate(relations):
            guess = relate(earlier)
            if abs(guess - value) < 1e-13:
                ulps = _ulps_between(guess, value)
                if ulps is not None and (best is None or abs(ulps) < abs(best[2])):
                    best = index, kind, ulps
    return best


def _ulps(value: float, count: int) -> float:
    """`value` moved by `count` units in the last place, away from zero where `count` is positive."""
    if not count:
        return value
    bits = struct.unpack(">q", struct.pack(">d", value))[0] + count
    if not -(1 << 63) <= bits < 1 << 63 or bits & _MAGNITUDE >= _INFINITY:
        raise CodecError("the payload holds an impossible number: the record is damaged")
    return struct.unpack(">d", struct.pack(">q", bits))[0]


_MAGNITUDE = (1 << 63) - 1
_INFINITY = 0x7FF << 52


def _ulps_between(start: float, value: float) -> int | None:
    """Units in the last place from `start` to `value`. None where there are too many, or the sign differs."""
    if start == 0 or value == 0:
        return 0 if struct.pack(">d", start) == struct.pack(">d", value) else None
    first, last = (struct.unpack(">q", struct.pack(">d", x))[0] for x in (start, value))
    return last - first if abs(last - first) <= _MAX_ULPS else None


def _write_ulps(out: BitWriter, count: int) -> None:
    out.write(int(count != 0), 1)
    if count:
        out.write(int(count < 0), 1)
        out.write_gamma(abs(count) - 1)


def _read_ulps(source: BitReader) -> int:
    if not source.read(1):
        return 0
    sign = -1 if source.read(1) else 1
    count = source.read_gamma() + 1
    if count > _MAX_ULPS:
        raise CodecError("the payload holds an impossible number: the record is damaged")
    return sign * count
