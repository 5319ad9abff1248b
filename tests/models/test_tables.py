"""Tables of bytes made to compress."""

import lzma

import numpy as np
import pytest

from chgdb.models import tables

RNG = np.random.default_rng(0)
#: Forty kinds of rows, each fifty times but for a few of its columns, in no order.
KINDS = np.repeat(RNG.integers(-128, 128, (40, 300)), 50, axis=0) + RNG.integers(0, 2, (2000, 300))
TABLE = np.clip(KINDS, -128, 127).astype(np.int8)[RNG.permutation(2000)]


@pytest.mark.parametrize("table", [TABLE, TABLE[:1], TABLE[:0], np.full((3, 2), -128, np.int8)])
def test_differences_are_undone(table):
    found = tables.summed(tables.differences(table))
    assert found.dtype == np.int8
    assert np.array_equal(found, table)


def test_rows_follow_those_most_like_them():
    order = tables.chain(TABLE)
    assert order[0] == 0
    assert sorted(order) == list(range(len(TABLE)))
    steps = np.abs(np.diff(TABLE[order].astype(int), axis=0)).sum(axis=1)
    assert (steps > 300).sum() == 39  # from one kind to the next, and never back


def test_ordered_differences_take_fewer_bytes():
    def packed(table: np.ndarray) -> int:
        return len(lzma.compress(table.tobytes()))

    assert packed(tables.differences(TABLE[tables.chain(TABLE)])) < 0.8 * packed(TABLE)
    assert len(tables.chain(TABLE[:0])) == 0
