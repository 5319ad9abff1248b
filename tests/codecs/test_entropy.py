"""The range coder: round trips, and integer tables that can never change."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from chgdb.codecs import entropy
from chgdb.codecs.entropy import (
    INITIAL_SCALES,
    LANES,
    MAX_MAGNITUDE,
    RangeDecoder,
    RangeEncoder,
    choose_lanes,
    initial_scale,
)
from chgdb.errors import CodecError

magnitude = st.integers(0, 3) | st.integers(0, 60) | st.integers(0, 60).flatmap(lambda b: st.integers(0, 2**b - 1))
values = st.tuples(magnitude, st.sampled_from([-1, 1])).map(lambda pair: pair[0] * pair[1])
steps = st.integers(0, 0) | st.integers(0, 2**20) | st.integers(0, 2**40) | st.just(-1)


@st.composite
def lists(draw):
    """(values, norms, initial scale): norms ascend but for restarts, as where Nyquist terms follow."""
    chosen = draw(st.lists(values, max_size=300))
    norms, norm = [], 0
    for _ in chosen:
        step = draw(steps)
        norm = 0 if step < 0 else norm + step
        norms.append(norm)
    return np.array(chosen, np.int64), np.array(norms, np.int64), draw(st.integers(0, INITIAL_SCALES - 1))


@settings(max_examples=examples(60))
@given(st.lists(lists(), max_size=3), st.integers(0, len(LANES) - 1))
def test_round_trip(parts, lanes):
    encoder = RangeEncoder(lanes)
    for part in parts:
        encoder.encode(*part)
    data = encoder.finish()
    decoder = RangeDecoder(data, lanes)
    for chosen, norms, initial in parts:
        assert np.array_equal(decoder.decode(norms, initial), chosen)
    decoder.close()


@pytest.mark.parametrize("count", [0, 1, 8191, 8192, 20_000])
def test_long_round_trips(count):
    rng = np.random.default_rng(count)
    norms = np.sort(rng.integers(0, 1 << 26, count))
    chosen = np.rint(rng.laplace(size=count) * 3000 * np.exp(-norms / 2**23)).astype(np.int64)
    lanes = choose_lanes(count)
    encoder = RangeEncoder(lanes)
    encoder.encode(chosen, norms, initial_scale(chosen))
    data = encoder.finish()
    decoder = RangeDecoder(data, lanes)
    assert np.array_equal(decoder.decode(norms, initial_scale(chosen)), chosen)
    decoder.close()


def test_the_largest_values():
    chosen = np.array([MAX_MAGNITUDE - 1, 0, -MAX_MAGNITUDE + 1] * 20, np.int64)
    for lanes in range(len(LANES)):
        encoder = RangeEncoder(lanes)
        encoder.encode(chosen, np.zeros(60, np.int64), 0)
        assert np.array_equal(RangeDecoder(encoder.finish(), lanes).decode(np.zeros(60, np.int64), 0), chosen)
    for large in (MAX_MAGNITUDE, -MAX_MAGNITUDE, np.iinfo(np.int64).min):
        with pytest.raises(CodecError, match="too large"):
            RangeEncoder(0).encode(np.array([large]), np.zeros(1, np.int64), 0)


def test_size_is_near_the_entropy():
    """Geometric magnitudes of a mean that falls with |G|: within 5 % of the entropy, one lane and many."""
    rng = np.random.default_rng(7)
    for count in (6000, 270_000):
        norms = np.sort(rng.integers(0, 1 << 24, count))
        mean = 20 * 2.0 ** (-3 * np.sqrt(norms / 2**24))  # three octaves per 1/Å, as the coder expects
        success = 1 / (1 + mean)
        sizes = rng.geometric(success) - 1
        entropy_bits = (-(1 - success) * np.log2(1 - success) - success * np.log2(success)) / success
        expected = entropy_bits.sum() + np.count_nonzero(sizes)
        encoder = RangeEncoder(choose_lanes(count))
        encoder.encode(sizes * rng.choice([-1, 1], count), norms, initial_scale(sizes))
        assert 0.97 < 8 * len(encoder.finish()) / expected < 1.05


# --- the same on every machine ---------------------------------------------------------------------------------------


def test_tables_are_pinned():
    """Of every class of the scale that can occur; a different table is a different format."""
    tables = [entropy._table(index) for index in range(36)]
    for frequencies, cumulative in tables:
        assert sum(frequencies) == cumulative[-1] == 1 << 14
        assert min(frequencies) >= 1
    text = repr(tables).encode()
    assert zlib.crc32(text) == CRC_OF_TABLES
    classes = {entropy._classify(m)[0] for m in range(82, 1 << 17)}
    assert classes == set(range(1, 36))


CRC_OF_TABLES = 2851907713


def test_powers_are_the_nearest_integers():
    """65536 * 2^(-i/256) is nearest to k: (k - 1/2)^256 < 2^(4096 - i) < (k + 1/2)^256, in whole numbers."""
    assert len(entropy._POWERS) == 256
    for i, k in enumerate(entropy._POWERS):
        assert (2 * k - 1) ** 256 < 2 ** (4096 - i + 256) < (2 * k + 1) ** 256


@given(st.integers(0, 2**60))
def test_octaves_are_exact(norm):
    """floor(sqrt) * 768 / 4096, the root being that of the norm rounded to a float."""
    from math import isqrt

    rounded = int(float(norm))
    root = isqrt(rounded)
    # A correctly rounded root reaches the next whole number only where it is within half a unit of the last place.
    expected = {root * 768 >> 12} | ({(root + 1) * 768 >> 12} if rounded > 1 << 52 else set())
    assert entropy.octaves(np.array([norm]))[0] in expected


def test_the_smallest_and_largest_starts():
    assert entropy._initial(0) == 82
    scales = [entropy._initial(index) for index in range(INITIAL_SCALES)]
    assert scales == sorted(scales)
    assert initial_scale(np.array([], np.int64)) == 0
    assert initial_scale(np.array([1 << 59])) == INITIAL_SCALES - 1


# --- damage ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lanes", range(len(LANES)))
def test_closing_notices_damage(lanes):
    rng = np.random.default_rng(lanes)
    count = 400
    norms = np.sort(rng.integers(0, 1 << 24, count))
    chosen = np.rint(rng.normal(size=count) * 5).astype(np.int64)
    encoder = RangeEncoder(lanes)
    encoder.encode(chosen, norms, initial_scale(chosen))
    data = encoder.finish()

    def intact(payload):
        try:
            decoder = RangeDecoder(payload, lanes)
            decoder.decode(norms, initial_scale(chosen))
            decoder.close()
        except CodecError:
            return False
        return True

    assert intact(data)
    flips = list(range(0, 8 * len(data), 1 + lanes * 6))
    unnoticed = 0
    for bit in flips:
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        unnoticed += intact(bytes(damaged))
    # A flip of a plain bit (a sign) can change the value and leave the coder as it should end: stores add a checksum.
    assert unnoticed < 0.2 * len(flips), unnoticed / len(flips)
    for cut in (b"", data[:-1], data[1:], data + b"\0", b"\0" + data, data + b"\1", data[: len(data) // 2]):
        assert not intact(cut)


def test_millions_of_values_are_not_decoded_from_three_bytes():
    for lanes, data in ((0, b"abc"), (1, bytes(128)), (2, bytes(1024))):
        with pytest.raises(CodecError, match="more coefficients"):
            RangeDecoder(data, lanes).decode(np.zeros(5_000_000, np.int64), 0)
    with pytest.raises(CodecError, match="unknown coder"):
        RangeDecoder(b"abc", 3)
    with pytest.raises(CodecError, match="too early"):
        RangeDecoder(b"abc", 1)


@settings(max_examples=examples(200))
@given(st.binary(max_size=1500), st.integers(0, 2), st.integers(0, 2000), st.integers(0, INITIAL_SCALES - 1))
def test_any_bytes_are_values_or_an_error(data, lanes, count, initial):
    try:
        decoder = RangeDecoder(data, lanes)
        found = decoder.decode(np.arange(count) << 12, initial)
        assert found.dtype == np.int64
        assert len(found) == count
    except CodecError:
        pass
