"""Crystals in payloads: every bit of every number comes back."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from effort import examples
from fields import STRUCTURES
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from chgdb import Crystal
from chgdb.codecs.bits import BitReader, BitWriter
from chgdb.codecs.crystal import _read_numbers, _write_numbers, read_crystal, write_crystal
from chgdb.codecs.frame import COUNT_UNITS, read_count, read_frame, write_count, write_frame
from chgdb.density import CHANNELS
from chgdb.errors import ChgdbError, CodecError, DensityError

anything = st.floats(allow_nan=False, allow_infinity=False)
usual = st.integers(-48, 48).map(lambda k: k / 24) | st.floats(-2, 2).map(lambda x: round(x, 5)) | st.floats(-15, 15)
numbers = usual | anything | st.sampled_from([-0.0, 0.0, 5e-324, -5e-324, 1.7976931348623157e308, 1 / 3, 3**0.5, 1e22])


def nudged(values):
    """Some values a few units in the last place off, as arithmetic leaves them."""
    return st.lists(st.integers(-70, 70), min_size=len(values), max_size=len(values)).map(
        lambda steps: [
            float(np.int64(np.float64(x).view(np.int64) + k).view(np.float64)) if 0.1 < abs(x) < 20 else x
            for x, k in zip(values, steps, strict=True)
        ]
    )


def same_bits(one, other):
    return np.asarray(one, float).tobytes() == np.asarray(other, float).tobytes()


def reread(crystal):
    out = BitWriter()
    write_crystal(out, crystal)
    return read_crystal(BitReader(out.to_bytes()))


@given(st.lists(numbers, min_size=1, max_size=24).flatmap(nudged), st.booleans())
def test_any_finite_numbers_come_back_bit_for_bit(values, fractions):
    out = BitWriter()
    _write_numbers(out, values, fractions)
    assert same_bits(_read_numbers(BitReader(out.to_bytes()), len(values), fractions), values)


@settings(max_examples=examples(60))
@given(
    st.tuples(*[st.floats(0.5, 12)] * 3, *[numbers] * 3),
    st.lists(st.tuples(*[numbers] * 3, st.integers(0, 118)), max_size=4),
)
def test_any_crystal_comes_back_bit_for_bit(cell, atoms):
    a, b, c, d, e, f = cell
    try:
        crystal = Crystal(
            [[a, 0, -0.0], [d, b, 0], [e, f, c]], [atom[:3] for atom in atoms], [atom[3] for atom in atoms]
        )
    except DensityError:  # the volume is lost in huge numbers
        assume(False)
    again = reread(crystal)
    assert same_bits(again.cell, crystal.cell)
    assert same_bits(again.positions, crystal.positions)
    assert np.array_equal(again.numbers, crystal.numbers)


@given(st.integers(0, 2**32 - 1), st.integers(0, 6))
def test_related_numbers_come_back_bit_for_bit(seed, places):
    """1 - x, x + 1/2, -x, 2x of numbers of few digits, in whatever order of arithmetic."""
    rng = np.random.default_rng(seed)
    x = np.round(rng.random(3), places)
    values = np.concatenate([x, 1 - x, x + 0.5, -x, 2 * x, 1.5 - x, (x + 1 / 3) % 1, x[::-1] - 0.5])
    values[rng.random(len(values)) < 0.1] = -0.0
    crystal = Crystal(np.diag([3.0, 3.0, 3.0 * 3**0.5 / 2]), values.reshape(-1, 3), [6] * 8)
    assert same_bits(reread(crystal).positions, crystal.positions)


@pytest.mark.parametrize("name", sorted(STRUCTURES))
def test_usual_structures_take_few_bytes(name):
    crystal = STRUCTURES[name]
    out = BitWriter()
    write_crystal(out, crystal)
    assert same_bits(reread(crystal).cell, crystal.cell)
    assert same_bits(reread(crystal).positions, crystal.positions)
    raw = 8 * (9 + 3 * len(crystal)) + len(crystal)
    assert len(out) / 8 < (0.75 if name == "monoclinic" else 0.5) * raw  # ten digits in every number of that one


def test_textbook_silicon_takes_thirteen_bytes():
    out = BitWriter()
    write_crystal(out, STRUCTURES["diamond"])
    assert len(out) <= 104


def test_the_order_of_atoms_is_kept():
    crystal = Crystal(np.eye(3) * 4, np.zeros((5, 3)), [8, 3, 8, 8, 3])
    assert reread(crystal).numbers.tolist() == [8, 3, 8, 8, 3]


@given(st.binary(max_size=60))
def test_any_bytes_are_a_crystal_or_an_error(data):
    with suppress(ChgdbError):
        assert isinstance(read_crystal(BitReader(data)), Crystal)


def test_a_claim_of_millions_of_atoms_is_refused():
    out = BitWriter()
    out.write_gamma(2)
    for _ in range(2):
        out.write(14, 7)
        out.write_gamma(1 << 20)
    with pytest.raises(CodecError, match="million atoms"):
        read_crystal(BitReader(out.to_bytes() + bytes(100)))


# --- frames ----------------------------------------------------------------------------------------------------------


@given(st.tuples(*[st.integers(1, 600)] * 3), st.sampled_from([1, 2, 4]))
def test_frames_come_back(grid, channels):
    out = BitWriter()
    write_frame(out, STRUCTURES["hcp"], grid, channels)
    assert read_frame(BitReader(out.to_bytes())) == (STRUCTURES["hcp"], grid, CHANNELS[channels])


def test_huge_grids_are_refused():
    out = BitWriter()
    write_frame(out, STRUCTURES["fcc"], (10_000, 10_000, 10_000), 1)
    with pytest.raises(CodecError, match="10000 x 10000 x 10000"):
        read_frame(BitReader(out.to_bytes()))


@given(st.integers(-(2**99), 2**99) | st.integers(-(2**45), 2**45))
def test_counts_come_back(count):
    out = BitWriter()
    write_count(out, count)
    assert read_count(BitReader(out.to_bytes())) == count


def test_whole_electrons_take_a_byte_or_two():
    out = BitWriter()
    write_count(out, 8 * COUNT_UNITS)
    assert len(out) <= 16
    with pytest.raises(CodecError, match="electrons"):
        write_count(out, COUNT_UNITS << 61)
