"""Bit streams."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chgdb.codecs.bits import BitReader, BitWriter
from chgdb.errors import CodecError

plain = st.integers(0, 80).flatmap(
    lambda width: st.tuples(st.just("plain"), st.integers(0, 2**width - 1), st.just(width))
)
gamma = st.tuples(st.just("gamma"), st.integers(0, 2**64 - 2), st.just(0))
signed = st.tuples(st.just("signed"), st.integers(-(2**63) + 1, 2**63 - 1), st.just(0))


@given(st.lists(plain | gamma | signed, max_size=30))
def test_what_is_written_is_read(items):
    out = BitWriter()
    for kind, value, width in items:
        if kind == "plain":
            out.write(value, width)
        elif kind == "gamma":
            out.write_gamma(value)
        else:
            out.write_signed(value)
    data = out.to_bytes()
    assert len(data) == (len(out) + 7) // 8
    source = BitReader(data)
    for kind, value, width in items:
        if kind == "plain":
            assert source.read(width) == value
        else:
            assert (source.read_gamma() if kind == "gamma" else source.read_signed()) == value
    assert source.byte_position() == len(data)
    with pytest.raises(CodecError, match="too early"):
        source.read(8)


def test_the_most_significant_bit_comes_first():
    out = BitWriter()
    out.write(0b101, 3)
    out.write_gamma(4)  # 00101
    assert out.to_bytes() == bytes([0b10100101])


@pytest.mark.parametrize(("value", "bits"), [(0, 1), (1, 3), (2, 3), (3, 5), (6, 5), (7, 7)])
def test_gamma_codes_are_short_for_small_values(value, bits):
    out = BitWriter()
    out.write_gamma(value)
    assert len(out) == bits


def test_appending_is_writing_on():
    one, two, both = BitWriter(), BitWriter(), BitWriter()
    one.write(5, 3)
    two.write(300, 11)
    both.write(5, 3)
    both.write(300, 11)
    one.append(two)
    assert one.to_bytes() == both.to_bytes()


@pytest.mark.parametrize(("value", "width"), [(8, 3), (-1, 3), (1, 0)])
def test_a_value_that_does_not_fit_is_refused(value, width):
    with pytest.raises(CodecError, match="does not fit"):
        BitWriter().write(value, width)


def test_enormous_claims_cost_nothing():
    with pytest.raises(CodecError, match="too early"):
        BitReader(b"abc").read(1 << 60)
    with pytest.raises(CodecError, match="impossible"):
        BitReader(bytes(1 << 20)).read_gamma()
