"""Decimal text to float64 and back: exact, against Python's own correctly rounded conversions."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from vasp_text import fortran

from chgdb.errors import FormatError
from chgdb.formats.numbers import format_number, lines_of_five, parse_number, read_values
from chgdb.formats.streams import Reader


def printed(values: np.ndarray) -> bytes:
    return b"".join(bytes(piece) for piece in lines_of_five([values]))


def parsed(text: bytes, count: int, divisor: float = 1.0) -> np.ndarray:
    return read_values(Reader(io.BytesIO(text), "text", len(text)), count, divisor)


def awkward_values() -> np.ndarray:
    """Random bits, halves of the last digit, nines that round up, powers of ten and two and their neighbours."""
    rng = np.random.default_rng(7)
    bits = rng.integers(0, 2**64, 100_000, dtype=np.uint64).view(float)
    mantissas, exponents = rng.integers(10**10, 10**11, 40_000), rng.integers(-40, 20, 40_000)
    digits = [float(f"{m}e{e}") for m, e in zip(mantissas, exponents, strict=True)]
    halves = [float(f"{m}.5e{e}") for m, e in zip(mantissas, exponents, strict=True)]
    nines = [float(f"9999999999{d}.{k}e{e}") for d in range(8, 10) for k in range(10) for e in range(-40, 20)]
    tens = np.array([float(f"1e{e}") for e in range(-307, 308)])
    twos = np.ldexp(1.0, np.arange(-1074, 1023))
    powers = np.concatenate([tens, np.nextafter(tens, 0), np.nextafter(tens, np.inf), twos])
    special = [0.0, -0.0, 5e-324, 2.2250738585072014e-308]
    magnitudes = 10 ** rng.uniform(-99, 99, 100_000)
    values = np.concatenate([bits, digits, halves, nines, powers, special, magnitudes, -magnitudes[:50_000]])
    return values[np.abs(values) < 1e308]  # NaN fails the comparison, too


@pytest.fixture(scope="module")
def awkward() -> np.ndarray:
    return awkward_values()


def test_printing_is_correctly_rounded(awkward):
    text = printed(awkward)
    starts = [91 * line + 18 * column for line in range(len(awkward) // 5) for column in range(5)]
    fields = [text[start : start + 18] for start in starts]
    expected = [fortran(value).encode() for value in awkward[: len(fields)].tolist()]
    assert fields == expected


def test_reading_is_correctly_rounded(awkward):
    text = printed(awkward)
    values = parsed(text, awkward.size)
    expected = np.array([float(np.float64(parse_number(token))) for token in text.split()])
    assert np.array_equal(values, expected)
    assert np.array_equal(np.signbit(values), np.signbit(expected))
    plain = [token for token in text.split() if b"E" in token]
    assert [parse_number(token) for token in plain] == [float(token) for token in plain]


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("count", [1, 4, 5, 6, 59_999, 60_001, 130_003])
def test_there_and_back_at_every_length(count, line_end):
    values = np.array([float(f"{x:.10e}") for x in np.random.default_rng(count).normal(size=count)])
    text = b"".join(bytes(piece) for piece in lines_of_five([values[:7], values[7:]], line_end))
    assert np.array_equal(parsed(text, count), values)
    assert text.count(line_end) == -(-count // 5)


@pytest.mark.parametrize(
    "form",
    ["{:17.10E}", "{:18.10e}", "{:.6e}", "{:r}", "{:11.4e}", "{:25.16E}", "{:+.10E}", "{:.12f}"],
)
@pytest.mark.parametrize("per_line", [1, 3, 5, 6, 10])
def test_other_writers(form, per_line):
    values = np.random.default_rng(3).normal(size=301) * 10.0 ** np.arange(-150, 151)
    tokens = [repr(x) if form == "{:r}" else form.format(x) for x in values.tolist()]
    lines = [" " + " ".join(tokens[start : start + per_line]) for start in range(0, len(tokens), per_line)]
    read = parsed(("\n".join(lines) + "\n").encode(), values.size, divisor=3.7)
    assert np.array_equal(read, np.array([float(token) for token in tokens]) / 3.7)


def test_a_line_of_another_form_in_the_middle():
    values = np.arange(1.0, 101.0)
    lines = printed(values).split(b"\n")
    lines[7] = b" 36 37. 3.8E1  0.39D+02 .4e+2"
    lines[9] = b" 0.46000000000+002" + lines[9][18:]
    assert np.array_equal(parsed(b"\n".join(lines), 100), values)


def test_reading_stops_behind_the_line():
    reader = Reader(io.BytesIO(b"1 2 3\n4 5 6\nnext\n"), "text", None)
    assert read_values(reader, 6).tolist() == [1, 2, 3, 4, 5, 6]
    assert reader.readline() == b"next\n"
    assert reader.line == 3


NO_NUMBERS = ["nan", "NaN", "inf", "-Infinity", "1_0", "0x10", "1e999", "abc", "1.2.3", "*****", "1e", "١"]


@pytest.mark.parametrize("name", NO_NUMBERS)
def test_tokens_that_are_no_numbers(name):
    with pytest.raises(FormatError, match=r"text: line 2: .*\(value 2 of 3\)"):
        parsed(f"1.0\n{name} 2.0\n".encode(), 3)


BAD_FIELDS = ["0.1234567890xE+02", "0.12345678901E+0x", "0,12345678901E+02", "0.12345678901F+02", "0.12345678901E*02"]


@pytest.mark.parametrize("bad", [*BAD_FIELDS, "*" * 17, " " * 14 + "NaN", "0.12345678901E.02", "0.123456_8901E+02"])
def test_a_bad_field_among_plain_ones(bad):
    text = bytearray(printed(np.linspace(1, 2, 500_000)))
    line = 70_000
    start = (line - 1) * 91 + 2 * 18 + 1
    text[start : start + 17] = bad.encode()
    with pytest.raises(FormatError, match=f"text: line {line}: .*column 3"):
        parsed(bytes(text), 500_000)


@pytest.mark.parametrize(
    ("text", "count", "message"),
    [
        (b"1 2 3\n", 4, r"line 1: .* 3 of 4 values"),
        (b"1 2 3\n4 5 6", 5, "line 2: more values"),
        (b"", 1, "line 1: .*0 of 1 values"),
        (b"0.12345678901E+02 0.12345678901E+0", 2, "line 1: the file ends inside the number"),
        (b" 0.12345678901E+02 0.12345678901E+02\n 0.1234567890", 3, "line 2: the file ends inside the number"),
    ],
)
def test_wrong_counts(text, count, message):
    with pytest.raises(FormatError, match=message):
        read_values(Reader(io.BytesIO(text), "text", None), count)


def test_a_count_that_cannot_be_there_is_refused_before_reading():
    text = printed(np.ones(1000))
    reader = Reader(io.BytesIO(text), "text", len(text))
    with pytest.raises(FormatError, match="1000000000000 points, but only"):
        read_values(reader, 10**12)
    assert reader.peek(10) == text[:10]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_one_number(value):
    assert format_number(value) == fortran(value)
    if abs(value) < 1e308:
        assert abs(parse_number(format_number(value).strip().encode()) - value) <= max(6e-11 * abs(value), 5e-324)


@given(st.binary(max_size=80))
def test_any_bytes_give_a_finite_number_or_a_value_error(token):
    try:
        value = parse_number(token)
    except ValueError:
        value = 0.0
    assert np.isfinite(value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_printing_refuses_what_is_not_finite(value):
    values = np.ones(12)
    values[11] = value
    with pytest.raises(FormatError, match="cannot be written"):
        printed(values)
