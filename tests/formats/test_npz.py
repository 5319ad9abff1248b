"""Densities in NumPy's .npz."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from vasp_text import chgcar

import chgdb
from chgdb.errors import ChgdbError, FormatError


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_every_bit_survives(tmp_path, channels):
    (tmp_path / "CHGCAR").write_text(chgcar(channels))
    density = chgdb.read(tmp_path / "CHGCAR")
    chgdb.write(tmp_path / "x.npz", density)
    again = chgdb.read(tmp_path / "x.npz")
    assert again.crystal == density.crystal
    assert again.extras == density.extras
    assert all(np.array_equal(again.channels[name], values) for name, values in density.channels.items())
    with np.load(tmp_path / "x.npz", allow_pickle=False) as arrays:
        assert np.array_equal(arrays["total"], density.total)


def test_other_archives(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.zeros(3))
    with pytest.raises(FormatError, match=r"not a density in \.npz: .*it has no array .cell"):
        chgdb.read(tmp_path / "x.npz")


@given(st.integers(0, 10**6), st.binary(max_size=20))
def test_damage(tmp_path_factory, position, junk):
    folder = tmp_path_factory.mktemp("npz")
    (folder / "CHGCAR").write_text(chgcar(1, (2, 2, 2)))
    chgdb.write(folder / "x.npz", chgdb.read(folder / "CHGCAR"))
    data = (folder / "x.npz").read_bytes()
    (folder / "x.npz").write_bytes(data[: position % (len(data) - 30)] + junk)  # the last 22 bytes are the zip's index
    with pytest.raises(ChgdbError) as caught:
        chgdb.read(folder / "x.npz")
    assert "\n" not in str(caught.value)
