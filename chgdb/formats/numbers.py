"""Decimal text of grid values to float64 and back, exact to the last digit and vectorised.

Reading: a token is an integer mantissa below 2^53 and a power of ten. Both are exact in float64 where that power is at
most 10^22, so one division gives the correctly rounded value (W. D. Clinger, PLDI 1990). For other powers the product
is formed from two float64 (T. J. Dekker, Numer. Math. 18, 224, 1971), and is taken where both ends of its error
interval round to the same value (A. Ziv, ACM TOMS 17, 410, 1991). All other tokens go through Python's `float`, which
rounds correctly, too.

Writing: 11 significant digits, as Fortran's `1X,E17.11` prints them. The scaled value x·10^k has a relative error below
2^-51, which is 5·10^-5 in units of the last digit. Where it is within 10^-4 of a half, the digits come from Python's
correctly rounded formatting instead.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

import numpy as np

from ..errors import FormatError
from ..fortran import parse_number
from .streams import Reader

#: Characters of one value as VASP writes it, and values in a line.
FIELD = 18
PER_LINE = 5

_ROWS = 16_000  # lines that a thread converts at once: enough that the interpreter costs little
_CHUNK = 1 << 18  # bytes of free-format text that are converted at once
_ALIKE = 20  # numbers at the end of a file with which the last one is compared


# Reading ------------------------------------------------------------------------------------------------------------


def read_values(reader: Reader, count: int, divisor: float = 1.0) -> np.ndarray:
    """The next `count` numbers of a text, each float(token) / divisor, in a flat float64 array. See `read_pieces`."""
    # Where the size is not known, the array grows with the numbers that were really there.
    values = np.empty(0 if reader.remaining() is None or not reader.can_hold(count) else count)
    filled = 0
    for piece in read_pieces(reader, count):
        if filled + piece.size > values.size:
            values.resize(min(count, max(2 * values.size, filled + piece.size)), refcheck=False)
        with np.errstate(over="ignore"):
            np.divide(piece, divisor, out=values[filled : filled + piece.size])
        filled += piece.size
    return values


def read_pieces(reader: Reader, count: int) -> Iterator[np.ndarray]:
    """The next `count` numbers of a text in flat float64 arrays. Each is valid until the next one is asked for.

    Whole lines are consumed. Time and memory follow the numbers that are there, not `count`. Raises `FormatError` with
    the line for a token that is not a finite number, for a line with more numbers than are left of the count, and at an
    early end (at once, where the file is too short for the count).
    """
    reader.expect(count)
    filled = 0
    previous = b""
    layouts = _FixedLayout.of(reader.peek(512), count)
    if layouts:
        for piece, token in _read_fixed(reader, count // layouts[0].per_line, layouts):
            filled += piece.size
            previous = token
            yield piece
    while filled < count:
        piece, previous = _read_free(reader, count, filled, previous)
        filled += piece.size
        yield piece


def _read_fixed(reader: Reader, rows: int, layouts: list[_FixedLayout]) -> Iterator[tuple[np.ndarray, bytes]]:
    """Numbers of up to `rows` lines of one layout, and the last token of each piece. It stops before other lines.

    One thread for each layout converts, while this thread reads the next lines and the caller uses the last values.
    """
    with ThreadPoolExecutor(len(layouts)) as pool:
        running: deque[tuple[Future[np.ndarray | None], bytes]] = deque()
        started = turn = 0
        while started < rows or running:
            while started < rows and len(running) < len(layouts):
                layout = layouts[turn % len(layouts)]
                chunk = reader.take(min(rows - started, _ROWS) * layout.width)
                line = reader.line + 1 + sum(len(data) for _, data in running) // layout.width
                running.append((pool.submit(layout.parse, chunk, line, reader), chunk))
                started += _ROWS
                turn += 1
            piece, chunk = running[0][0].result(), running[0][1]
            if piece is None:
                reader.give_back(b"".join(data for _, data in running))
                return
            reader.line += len(chunk) // layout.width
            yield piece, chunk[-FIELD - 2 :].split()[-1]
            running.popleft()


def _read_free(reader: Reader, count: int, filled: int, previous: bytes) -> tuple[np.ndarray, bytes]:
    """Numbers separated by blanks, from the next piece of text, and the last token. See `read_values`."""
    left = count - filled
    data = reader.take(_CHUNK)
    at_end = len(data) < _CHUNK
    if not at_end:
        cut = max(data.rfind(b"\n"), data.rfind(b" ")) + 1
        if not cut:
            raise reader.error("no blank in 256 kB of text: not a file of this format", reader.line + 1)
        reader.give_back(data[cut:])
        data = data[:cut]
    tokens = data.split()
    if len(tokens) > left:
        end = _end_of_values(reader, data, left)
        at_end = False
        reader.give_back(data[end:])
        data, tokens = data[:end], tokens[:left]
    try:
        if b"_" in data:  # Python reads 1_000 as a number
            raise ValueError
        values = np.array(list(map(float, tokens)), dtype=float)
        suspect = not np.isfinite(values).all()
    except ValueError:
        suspect = True
    if suspect:
        values = _parse_each(reader, data, tokens, count, filled)
    if at_end and tokens and not data[-1:].isspace():
        _check_complete(reader, [previous, *tokens[-_ALIKE:]], data)
    reader.line += data.count(b"\n")
    if at_end and len(tokens) < left:
        raise reader.error(
            f"the file ends after {filled + len(tokens)} of {count} values: it is truncated or its grid line is wrong",
            reader.line + (not data.endswith(b"\n")),
        )
    return values, (tokens or [previous])[-1]


def _end_of_values(reader: Reader, data: bytes, left: int) -> int:
    """The offset after the line with the last of `left` tokens."""
    end = 0
    for number, line in enumerate(data.split(b"\n"), 1):
        end += len(line) + 1
        left -= len(line.split())
        if left < 0:
            raise reader.error("more values than the grid has points", reader.line + number)
        if left == 0:
            break
    return min(end, len(data))


def _parse_each(reader: Reader, data: bytes, tokens: list[bytes], count: int, filled: int) -> np.ndarray:
    """Parse token by token, for unusual text. Raises with the line of the first token that is not a number."""
    values = np.empty(len(tokens))
    for index, token in enumerate(tokens):
        try:
            values[index] = parse_number(token)
        except ValueError as error:
            counts = np.cumsum([len(line.split()) for line in data.split(b"\n")])
            number = int(np.searchsorted(counts, index, side="right")) + 1
            message = f"{error} (value {filled + index + 1} of {count})"
            raise reader.error(message, reader.line + number) from None
    return values


_NUMERAL = re.compile(rb"[+-]?(\d*\.?\d*)([EeDd]?[+-]\d+)?")


def _check_complete(reader: Reader, tokens: list[bytes], data: bytes) -> None:
    """Raises `FormatError` for a file that ends inside its last number, which is still a number but has fewer digits.

    All numbers of Fortran's E and G formats and of C's %e have the same number of digits. G, in a CHG, leaves out an
    exponent of zero. For other formats this cannot be told.
    """
    *others, (mantissa, exponent) = [m.groups() for token in tokens if token and (m := _NUMERAL.fullmatch(token))]
    exponents = [of_other for _, of_other in others if of_other]
    digits = {len(_significant(of_other)) for of_other, _ in others} - {0}
    without = len(exponents) < len(others)
    if not exponents or len(digits) > 1 or (without and exponents[-1].startswith(b"e")):
        return
    cut = len(exponent) < min(map(len, exponents)) if exponent else not without
    found = len(_significant(mantissa)) or len(mantissa.replace(b".", b""))
    if cut or found < max(digits, default=0):
        line = reader.line + data.count(b"\n") + 1
        shown = tokens[-1].decode("ascii", "replace")
        raise reader.error(f"the file ends inside the number {shown!r}: it is truncated", line)


def _significant(mantissa: bytes) -> bytes:
    return mantissa.replace(b".", b"").lstrip(b"0")


_GATHER = 1 + (1 << 4) + (1 << 20)
_N_INDICES = 1 << 12


def _exponent_index(exponent: int) -> int:
    """Index of `E+02` or `E-02` from the 32-bit word of its characters (little endian) less that of `E+00`.

    Three bits of the sign and four of each digit are left of that word. The multiplication brings them together. The
    sign is added to the last digit, which is there unmixed, too: no two words have the same index.
    """
    word = _word(f"E{exponent:+03d}") ^ _word("E+00")
    return ((word & 0x0F0F0700) * _GATHER & 0xFFFFFFFF) >> 20


def _word(characters: str) -> int:
    return int.from_bytes(characters.encode("ascii"), "little")


@cache
def _long_powers(digits: int) -> tuple[np.ndarray, np.ndarray]:
    """10^(exponent - digits) by `_exponent_index` as a sum of two float64, exact to a part in 2^106. NaN beyond."""
    high, low = np.full((2, _N_INDICES), np.nan)
    for exponent in range(-99, 100):
        power = Fraction(10) ** (exponent - digits)
        index = _exponent_index(exponent)
        high[index] = float(power)
        low[index] = float(power - Fraction(high[index]))
    return high, low


def _long_products(mantissa: np.ndarray, index: np.ndarray, digits: int) -> np.ndarray:
    """Mantissa times power of ten, correctly rounded. NaN where that takes more than twice the precision."""
    high, low = (table.take(index, mode="clip") for table in _long_powers(digits))
    product = mantissa * high
    # 2^27 + 1 cuts a float64 into halves of 26 bits, whose products are exact.
    split = [134217729.0 * factor for factor in (mantissa, high)]
    upper = [large - (large - factor) for large, factor in zip(split, (mantissa, high), strict=True)]
    lower = [factor - half for factor, half in zip((mantissa, high), upper, strict=True)]
    rest = (upper[0] * upper[1] - product) + upper[0] * lower[1] + lower[0] * upper[1] + lower[0] * lower[1]
    rest += mantissa * low
    error = product * 2.0**-100  # the true error is below 2^-103
    result = product + (rest - error)
    result[result != product + (rest + error)] = np.nan
    return result


_ZEROS = np.uint64(0x3030303030303030)
_SIXES = np.uint64(0x0606060606060606)
_UPPER_HALVES = np.uint64(0xF0F0F0F0F0F0F0F0)
_EVERY_FOURTH = np.uint64(0x000000FF000000FF)
#: Index: four bits each of the middle, the last and the first of three digits. Value: their number times 10^8.
_HUNDREDS_OF_MILLIONS = np.array(
    [(100 * (i & 15) + 10 * (i >> 8) + ((i >> 4) & 15)) * 100_000_000 for i in range(1 << 12)], np.uint64
)


class _FixedLayout:
    """Lines of equal width with fields of 18 characters: ` 0.12345678901E+02` (VASP) or `  1.2345678901E+01` (C's %E).

    Digits are converted eight at a time inside 64-bit words, see `parse`.
    """

    _VASP = re.compile(rb"(?: [ 0-]\.\d{11}(?:E[+-]\d\d|[+-]\d{3}))+")
    _C = re.compile(rb"(?: [ -]\d\.\d{10}E[+-]\d\d)+")

    def __init__(self, per_line: int, line_end: bytes, leading_digit: bool, rows: int) -> None:
        self.per_line = per_line
        self.line_end = np.frombuffer(line_end, np.uint8)
        self.width = per_line * FIELD + len(line_end)
        self.leading_digit = leading_digit
        # Brings the digits of "1.23" or ".123" together: first, last and middle in the upper twelve bits.
        self.gather = 1 + (1 << 12) + (1 << 20 if leading_digit else 0)
        # Divisor by `_exponent_index`: the value is mantissa / divisor. NaN where the mantissa must be multiplied, or
        # the divisor is not exact: see `_long_products`.
        self.divisors = np.full(_N_INDICES, np.nan)
        self.digits = 10 if leading_digit else 11
        for exponent in range(-22 + self.digits, self.digits + 1):
            self.divisors[_exponent_index(exponent)] = 10.0 ** (self.digits - exponent)
        kinds = (np.uint64, np.uint64, np.uint16, np.uint32, np.uint32, bool, bool, float, np.int64)
        self.scratch = [np.empty((rows, per_line), kind) for kind in kinds]

    @classmethod
    def of(cls, head: bytes, count: int) -> list[_FixedLayout]:
        """The layout of a text that begins with `head`, once for each thread. Empty where the layout is another one."""
        line, end, _ = head.partition(b"\n")
        line_end = b"\r\n" if line.endswith(b"\r") else b"\n"
        line = line.removesuffix(b"\r")
        per_line = len(line) // FIELD
        if not end or not per_line or len(line) % FIELD or count < per_line:
            return []
        leading_digit = cls._C.fullmatch(line) is not None
        if not leading_digit and not cls._VASP.fullmatch(line):
            return []
        rows = min(count // per_line, _ROWS)
        threads = 2 if count // per_line > _ROWS and (os.cpu_count() or 1) > 1 else 1
        return [cls(per_line, line_end, leading_digit, rows) for _ in range(threads)]

    def parse(self, data: bytes, line: int, reader: Reader) -> np.ndarray | None:
        """Values of whole lines. None where the lines are not of this layout (then the text is free format).

        The next call overwrites the array. line: number of the first line, for messages of `reader`.

        The words of a field are [0:2] blank and sign, [2:6] point and three digits, [6:14] eight digits, [14:18]
        exponent. Subtracting the expected characters leaves digits as bytes of 0 to 9. Adding 6 to a byte that was not
        a digit overflows into its upper half.
        """
        rows = len(data) // self.width
        if not rows or rows * self.width != len(data):
            return None
        text = np.frombuffer(data, np.uint8).reshape(rows, self.width)
        if not (text[:, self.per_line * FIELD :] == self.line_end).all():
            return None
        # Arrays are used again by the next call: new ones would cost a page fault every 512 values.
        wide, wide2, head, short, short2, good, negative, values, index = (array[:rows] for array in self.scratch)
        self._load(data, 0, head)
        np.equal(head, 0x2D20, out=negative)  # " -"
        np.equal(head, 0x2020 if self.leading_digit else 0x3020, out=good)  # "  " or " 0"
        good |= negative
        if not self.leading_digit and not good.all():
            good |= head == 0x2020
        _eight_digits(self._load(data, 6, wide), wide2, good)
        self._three_digits(self._load(data, 2, short), short2, index, good)
        _HUNDREDS_OF_MILLIONS.take(index, mode="clip", out=wide2)
        wide += wide2
        _exponents(self._load(data, 14, short), short2, index, good)
        mantissa = wide2.view(float)
        np.copyto(mantissa, wide.view(np.int64))
        self.divisors.take(index, mode="clip", out=values)
        np.divide(mantissa, values, out=values)
        if np.isnan(values.sum()):
            inexact = np.isnan(values)
            values[inexact] = _long_products(mantissa[inexact], index[inexact], self.digits)
            good &= ~np.isnan(values)
        np.negative(values, out=values, where=negative)
        if not good.all() and not self._repair(data, values, good, line, reader):
            return None
        return values.reshape(-1)

    def _load(self, data: bytes, offset: int, out: np.ndarray) -> np.ndarray:
        """Put the words at an offset in every field into `out`."""
        shape, strides = (len(out), self.per_line), (self.width, FIELD)
        np.copyto(out, np.ndarray(shape, out.dtype.newbyteorder("<"), data, offset, strides))
        return out

    def _three_digits(self, short: np.ndarray, work: np.ndarray, index: np.ndarray, good: np.ndarray) -> None:
        """Indices into `_HUNDREDS_OF_MILLIONS` of a point and three digits, or of a digit, a point and two digits."""
        np.bitwise_xor(short, np.uint32(0x30302E30 if self.leading_digit else 0x3030302E), out=short)
        np.add(short, np.uint32(0x06060F06 if self.leading_digit else 0x0606060F), out=work)
        _mark(short, work, np.uint32(0xF0F0F0F0), good)
        short *= np.uint32(self.gather)
        short >>= np.uint32(20)
        np.copyto(index, short)

    def _repair(self, data: bytes, values: np.ndarray, good: np.ndarray, line: int, reader: Reader) -> bool:
        """Parse the fields that are not of the plain form one by one. False where a field is not one token."""
        for row, column in np.argwhere(~good):
            start = row * self.width + column * FIELD
            tokens = data[start : start + FIELD].split()
            if len(tokens) != 1 or data[start : start + 1] != b" ":
                return False
            try:
                values[row, column] = parse_number(tokens[0])
            except ValueError as error:
                raise reader.error(f"{error} (column {column + 1})", line + int(row)) from None
        return True


def _eight_digits(wide: np.ndarray, work: np.ndarray, good: np.ndarray) -> None:
    """The number of the eight digits in each 64-bit word: bytes to pairs, pairs to fours, fours to eight."""
    np.bitwise_xor(wide, _ZEROS, out=wide)
    np.add(wide, _SIXES, out=work)
    _mark(wide, work, _UPPER_HALVES, good)
    np.right_shift(wide, np.uint64(8), out=work)
    wide *= np.uint64(10)
    wide += work
    np.right_shift(wide, np.uint64(16), out=work)
    wide &= _EVERY_FOURTH
    work &= _EVERY_FOURTH
    wide *= np.uint64(0x000F424000000064)
    work *= np.uint64(0x0000271000000001)
    wide += work
    wide >>= np.uint64(32)


def _exponents(short: np.ndarray, work: np.ndarray, index: np.ndarray, good: np.ndarray) -> None:
    """`_exponent_index` of "E+02". Wrong characters in place of the sign make an index that the table lacks."""
    np.bitwise_xor(short, np.uint32(0x30302B45), out=short)
    np.add(short, np.uint32(0x0606080F), out=work)
    _mark(short, work, np.uint32(0xF0F0F0F0), good)
    short &= np.uint32(0x0F0F0700)
    short *= np.uint32(_GATHER)
    short >>= np.uint32(20)
    np.copyto(index, short)


def _mark(digits: np.ndarray, sums: np.ndarray, upper: np.unsignedinteger, good: np.ndarray) -> None:
    """Take fields with a byte that is not a digit out of `good`. sums: the digits plus six each; overwritten."""
    sums |= digits
    sums &= upper
    if sums.any():
        good &= sums == 0


# Writing ------------------------------------------------------------------------------------------------------------

_ROWS_OUT = 3000  # lines that are printed at once
_EXPONENT_0 = 340  # index of exponent 0 in the tables by decimal exponent
#: Below this the scale 10^(11 - e) would overflow, or the value would be denormal. Such values, except zero, are
#: formatted one by one.
_SMALLEST = 1e-290


@dataclass(frozen=True)
class _Tables:
    """Pieces of text as integers of two and four characters, by number. Powers of ten, by exponent."""

    three: np.ndarray
    four: np.ndarray
    exponent: np.ndarray
    scale: np.ndarray
    lower_exponent: np.ndarray
    step: np.ndarray


@cache
def _tables() -> _Tables:
    exponents = range(-_EXPONENT_0, _EXPONENT_0 + 1)
    # By binary exponent: the decimal exponent e at the lower end of the binade (0.1·10^e is the smallest value with
    # exponent e), and the power of ten inside the binade from which the exponent is one higher.
    lower = np.append(np.ldexp(1.0, np.arange(-1023, 1024)), np.inf)
    powers = np.array([float(f"1e{e}") for e in range(-330, 309)])
    position = np.searchsorted(powers, lower, side="right")
    lower_exponent = position - 330 + _EXPONENT_0
    step = np.append(powers, np.inf)[position]
    lower_exponent[0], step[0] = _EXPONENT_0, np.inf  # zero is printed with exponent 0
    return _Tables(
        # Entry 1000 is for what rounds to it, as 999.9999999996: its exponent is one higher.
        three=_words(f".{n:03d}" if n < 1000 else ".100" for n in range(1001)),
        four=_words(f"{n:04d}" for n in range(10_000)),
        exponent=_words(f"E{e:+03d}" if abs(e) < 100 else f"{e:+04d}" for e in exponents),
        scale=np.array([float(f"1e{11 - e}") for e in exponents]),
        lower_exponent=lower_exponent,
        step=step,
    )


def _words(texts: Iterable[str]) -> np.ndarray:
    return np.frombuffer("".join(texts).encode("ascii"), "<u4")


def put_numbers(values: np.ndarray, text: np.ndarray, start: int = 0) -> None:
    """Print each value in 18 characters as Fortran's `1X,E17.11` does, correctly rounded.

    values: (rows, columns) float64. text: (at least rows, width) uint8, C-contiguous; the characters of row r go to
    text[r, start : start + 18·columns]. Raises `FormatError` for a value that is not finite.
    """
    tables = _tables()
    rows, columns = values.shape
    negative = np.signbit(values)
    size = np.abs(values)
    binary = size.view(np.int64) >> 52
    if binary.max() == 2047:
        raise FormatError(f"{values[binary == 2047][0]} cannot be written; expected finite numbers")
    exponent = tables.lower_exponent.take(binary)
    exponent += size >= tables.step.take(binary)
    scaled = tables.scale.take(exponent)
    tiny = (size < _SMALLEST) & (size != 0)
    scaled[tiny] = 0
    scaled *= size
    rounded = np.rint(scaled)
    scaled -= rounded
    np.abs(scaled, out=scaled)
    doubtful = scaled > 0.4999
    doubtful |= tiny
    total = rounded.astype(np.uint64)
    upper = total // np.uint64(10_000)
    total -= upper * np.uint64(10_000)
    upper = upper.astype(np.uint32)
    high = upper // np.uint32(10_000)
    upper -= high * np.uint32(10_000)
    exponent += high == 1000

    def put(offset: int, words: np.ndarray) -> None:
        np.ndarray((rows, columns), words.dtype, text, start + offset, (text.shape[1], FIELD))[...] = words

    put(0, np.where(negative, np.uint16(0x2D20), np.uint16(0x3020)))  # " -" or " 0", little endian as all words here
    put(2, tables.three.take(high))
    put(6, tables.four.take(upper))
    put(10, tables.four.take(total.view(np.int64)))
    put(14, tables.exponent.take(exponent))
    for row, column in np.argwhere(doubtful):
        characters = format_number(float(values[row, column])).encode("ascii")
        text[row, start + column * FIELD : start + (column + 1) * FIELD] = np.frombuffer(characters, np.uint8)


def check_lengths(*arrays: np.ndarray) -> None:
    """Raises `FormatError` for cells or positions that no reader accepts: their digits would fill a line."""
    for values in arrays:
        if values.size and not np.abs(values).max() <= 1e30:
            raise FormatError(f"{np.abs(values).max():.3g} is out of range for a length or a position: not written")


def lines_of_five(pieces: Iterable[np.ndarray], line_end: bytes = b"\n") -> Iterator[memoryview]:
    """Text of flat arrays, one after the other, as VASP prints it: five values a line, two blanks after a short line.

    Each piece of text is valid until the next one is asked for.
    """
    text = np.empty((_ROWS_OUT, PER_LINE * FIELD + len(line_end)), np.uint8)
    text[:, PER_LINE * FIELD :] = np.frombuffer(line_end, np.uint8)
    rest = np.empty(0)
    for piece in pieces:
        flat = np.concatenate([rest, piece]) if rest.size else piece
        whole = flat.size - flat.size % PER_LINE
        for start in range(0, whole, _ROWS_OUT * PER_LINE):
            values = flat[start : min(start + _ROWS_OUT * PER_LINE, whole)].reshape(-1, PER_LINE)
            put_numbers(values, text)
            yield text[: len(values)].data.cast("B")
        rest = flat[whole:].copy()
    if rest.size:
        put_numbers(rest.reshape(1, -1), text)
        yield memoryview(text[0, : rest.size * FIELD].tobytes() + b"  " + line_end)


def format_number(value: float) -> str:
    """One value as Fortran's `1X,E17.11` prints it, correctly rounded: 18 characters.

    >>> format_number(-12.5), format_number(1e-101)
    (' -.12500000000E+02', ' 0.10000000000-100')
    """
    mantissa, _, exponent = f"{abs(value):.10e}".partition("e")
    shifted = int(exponent) + 1 if value else 0
    sign = "-" if np.signbit(value) else "0"
    tail = f"E{shifted:+03d}" if abs(shifted) < 100 else f"{shifted:+04d}"
    return f" {sign}.{mantissa[0]}{mantissa[2:]}{tail}"
