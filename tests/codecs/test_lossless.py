"""The lossless codec: the grid bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from effort import examples
from fields import STRUCTURES, smooth
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from chgdb import Density, codecs
from chgdb.density import CHANNELS
from chgdb.errors import CodecError

CRYSTAL = STRUCTURES["triclinic"]


@settings(max_examples=examples(60))
@given(
    st.sampled_from([np.float32, np.float64]),
    st.sampled_from([1, 2, 4]),
    st.tuples(*[st.integers(1, 5)] * 3),
    st.data(),
)
def test_any_finite_values_come_back_bit_for_bit(dtype, channels, grid, data):
    """Denormals, -0.0 and the largest numbers among them; single precision stays single."""
    finite = st.floats(allow_nan=False, allow_infinity=False, width=8 * np.dtype(dtype).itemsize)
    fields = {
        name: data.draw(arrays.arrays(dtype, grid, elements=finite, fill=st.just(dtype(-0.0))))
        for name in CHANNELS[channels]
    }
    payload = codecs.get("lossless").encode(Density(CRYSTAL, fields))
    decoded = codecs.decode(payload)
    assert decoded.crystal == CRYSTAL
    for name, values in fields.items():
        assert decoded.channels[name].dtype == dtype
        assert decoded.channels[name].tobytes() == values.tobytes()


def test_special_values():
    special = [5e-324, -5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, -0.0, 0.0, 1 / 3, -1e-310]
    values = np.array(special).reshape(2, 2, 2)
    decoded = codecs.decode(codecs.get("lossless").encode(Density(CRYSTAL, {"total": values})))
    assert decoded.total.tobytes() == values.tobytes()


def test_a_tolerance_of_zero_asks_for_it():
    original = Density(CRYSTAL, {"total": smooth((9, 10, 12), 1), "magnetization": smooth((9, 10, 12), 2)})
    encoded = codecs.encode(original, 0)
    assert codecs.header(encoded.payload).codec == "lossless"
    assert encoded.tolerance == 0
    assert encoded.quality.nmae == {"total": 0.0, "magnetization": 0.0}
    assert encoded.quality.max_error == 0
    assert codecs.header(encoded.payload).channels == ("total", "magnetization")


def test_mixed_precision_is_kept_as_double():
    fields = {"total": smooth((4, 4, 4), 1), "magnetization": smooth((4, 4, 4), 2).astype(np.float32)}
    decoded = codecs.decode(codecs.encode(Density(CRYSTAL, fields), 0).payload)
    assert np.array_equal(decoded.channels["magnetization"], fields["magnetization"])


def test_smooth_values_are_compressed():
    original = Density(CRYSTAL, {"total": smooth((32, 32, 32), 3)})
    assert len(codecs.encode(original, 0).payload) < 0.95 * original.total.nbytes


def test_another_grid():
    original = Density(CRYSTAL, {"total": smooth((8, 9, 10), 1)})
    payload = codecs.encode(original, 0).payload
    assert np.array_equal(codecs.decode(payload, grid=(12, 12, 12)).total, original.resample((12, 12, 12)).total)


def test_sizes_stated_inside_are_not_believed():
    payload = codecs.encode(Density(CRYSTAL, {"total": smooth((8, 8, 8), 1)}), 0).payload
    start = payload.index((8 * 8 * 8 * 8).to_bytes(4, "little")) - 4  # of the compressed block
    for offset in (4, 8, 12):
        damaged = bytearray(payload)
        damaged[start + offset : start + offset + 4] = b"\xff\xff\xff\x7f"
        with pytest.raises(CodecError, match="damaged"):
            codecs.decode(bytes(damaged))
    with pytest.raises(CodecError, match="damaged"):
        codecs.decode(payload[:-1])
    with pytest.raises(CodecError, match="damaged"):
        codecs.decode(payload + b"\0")
