"""Files that VASP wrote: what comes out of a payload against what the file says."""

from __future__ import annotations

import numpy as np
import pytest

import chgdb
from chgdb import codecs

FILES = [
    "Al_spin.CHGCAR", "GaAs_noncollinear.CHGCAR", "LiH_spin.CHGCAR", "Li_nospin.CHGCAR", "Li_spin.CHGCAR",
    "NaCl.CHGCAR", "Si2.AECCAR0", "Si2.AECCAR2", "Si2_spin.CHGCAR", "Si8_strained_spin.CHGCAR", "YPO4.AECCAR2",
]  # fmt: skip
QUICK = {"Li_nospin.CHGCAR", "GaAs_noncollinear.CHGCAR"}


@pytest.mark.parametrize("tolerance", [1e-3, 1e-4])
@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in FILES]
)
def test_the_error_is_what_was_asked_for(shared, name, tolerance):
    original = chgdb.read(shared / "vasp" / f"{name}.gz")
    encoded = codecs.encode(original, tolerance)
    decoded = codecs.decode(encoded.payload)
    assert np.array_equal(decoded.crystal.cell, original.crystal.cell)
    assert np.array_equal(decoded.crystal.positions, original.crystal.positions)
    assert np.array_equal(decoded.crystal.numbers, original.crystal.numbers)
    norm = np.abs(original.total).sum()
    volume = original.crystal.volume
    for channel, values in original.channels.items():
        error = float(np.abs(decoded.channels[channel] - values).sum() / norm)
        assert error <= tolerance
        assert encoded.quality.nmae[channel] == pytest.approx(error, rel=1e-9)
        assert decoded.channels[channel].mean() * volume == pytest.approx(values.mean() * volume, abs=1e-11, rel=1e-13)
    if name.endswith("AECCAR0"):
        assert codecs.header(encoded.payload).codec == "realspace"


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_lossless_is_exact(shared, name):
    original = chgdb.read(shared / "vasp" / f"{name}.gz")
    decoded = codecs.decode(codecs.encode(original, 0).payload)
    for channel, values in original.channels.items():
        assert decoded.channels[channel].tobytes() == values.tobytes()


def test_a_real_density_without_noise_keeps_its_symmetry(shared):
    """Lithium, bcc: 48 operations, so a 96th of the coefficients."""
    original = chgdb.read(shared / "vasp" / "Li_nospin.CHGCAR.gz")
    whole = codecs.encode(original, 1e-4, codec="fourier").payload
    plain = codecs.encode(original, 1e-4, codec="fourier", symmetry=False).payload
    assert 3 * len(whole) < len(plain)  # most of what is left is the crystal
