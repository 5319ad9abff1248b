"""The Fourier codec: the promised error, whatever the density."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from effort import examples
from fields import STRUCTURES, density, smooth, total
from hypothesis import given, settings
from hypothesis import strategies as st

from chgdb import Crystal, Density, codecs
from chgdb.codecs import fourier
from chgdb.density import CHANNELS
from chgdb.errors import CodecError
from chgdb.grids import resample

GRID = (15, 16, 18)
P1 = STRUCTURES["triclinic"]


def check(original, tolerance, **options):
    """Encode with the Fourier codec; the tolerance and the electron count must hold. Returns (payload, decoded)."""
    encoded = codecs.encode(original, tolerance, codec="fourier", **options)
    decoded = codecs.decode(encoded.payload, prior=options.get("prior"))
    assert decoded.crystal == original.crystal
    norm = np.abs(original.total).sum(dtype=float) or 1.0
    for name, values in original.channels.items():
        error = np.abs(decoded.channels[name] - values.astype(float)).sum() / norm
        assert error <= tolerance
        assert encoded.quality.nmae[name] == pytest.approx(error, rel=1e-9, abs=1e-30)
        integral = values.mean(dtype=float) * original.crystal.volume
        assert decoded.channels[name].mean() * original.crystal.volume == pytest.approx(integral, rel=1e-15, abs=1e-11)
    assert encoded.quality.max_error == max(
        np.abs(decoded.channels[name] - values).max() for name, values in original.channels.items()
    )
    return encoded.payload, decoded


@pytest.mark.parametrize("tolerance", [1e-2, 1e-4, 1e-6])
@pytest.mark.parametrize("name", sorted(STRUCTURES))
def test_the_tolerance_is_met_for_every_symmetry(name, tolerance):
    check(total(name, GRID), tolerance)


@pytest.mark.parametrize("tolerance", [1e-1, 1e-3, 1e-5, 1e-8, 1e-11])
@pytest.mark.parametrize("grid", [(12, 12, 12), (9, 11, 13), (10, 9, 14)])
def test_the_tolerance_is_met_without_symmetry(grid, tolerance):
    check(Density(P1, {"total": smooth(grid, 1)}), tolerance)


@pytest.mark.parametrize("tolerance", [1e-2, 1e-5, 1e-9])
@pytest.mark.parametrize(
    "grid", [(1, 1, 1), (2, 3, 4), (5, 1, 7), (1, 1, 6), (2, 2, 2), (4, 4, 4), (3, 2, 1), (1, 16, 1), (8, 6, 10)]
)
def test_the_tolerance_is_met_for_white_noise_on_tiny_grids(grid, tolerance):
    """Nothing about such values is smooth: every coefficient counts, those at the Nyquist frequency too."""
    values = np.random.default_rng(sum(grid)).normal(1, 0.5, grid)
    for crystal in (P1, STRUCTURES["fcc"]):
        check(Density(crystal, {"total": values}), tolerance)


@settings(max_examples=examples(40))
@given(
    st.tuples(*[st.integers(1, 14)] * 3),
    st.sampled_from(sorted(STRUCTURES)),
    st.sampled_from([1, 2, 4]),
    st.floats(-7, -1),
    st.integers(0, 2**32 - 1),
)
def test_the_tolerance_is_met_for_anything_smooth(grid, name, channels, exponent, seed):
    rng = np.random.default_rng(seed)
    fields = {
        channel: smooth(grid, int(rng.integers(1 << 30))) * (1 if channel == "total" else rng.normal())
        for channel in CHANNELS[channels]
    }
    check(Density(STRUCTURES[name], fields), 10**exponent)


@pytest.mark.parametrize(
    "cell", [np.diag([2.5, 3.0, 40.0]), [[30, 0, 0], [14, 2.4, 0], [0, 0.3, 3.1]]], ids=["slab", "skewed"]
)
def test_strongly_anisotropic_cells(cell):
    crystal = Crystal(cell, [[0, 0, 0.5], [0.3, 0.1, 0.55]], [6, 8])
    grid = tuple(int(n) for n in np.maximum(8, 4 * np.linalg.norm(crystal.cell, axis=1)))
    check(Density(crystal, {"total": density(crystal, grid, width=0.5)}), 1e-4)


# --- channels --------------------------------------------------------------------------------------------------------


def test_spin_with_a_lower_symmetry_of_its_own():
    crystal = STRUCTURES["diamond conventional"]
    moments = np.zeros(8)
    moments[0] = 0.3  # one of eight equal atoms
    spin = density(crystal, GRID, weights=moments)
    alone, _ = check(Density(crystal, {"total": density(crystal, GRID)}), 1e-5)
    both, _ = check(Density(crystal, {"total": density(crystal, GRID), "magnetization": spin}), 1e-5)
    assert len(alone) < 120  # the total keeps the full symmetry
    assert len(both) < len(alone) + 300


def test_an_antiferromagnet_keeps_its_symmetry_through_flips():
    crystal = STRUCTURES["supercell"]
    signs = np.where(np.isclose(crystal.positions[:, 1], 0), 0.4, -0.4)
    spin = density(crystal, (20, 10, 30), weights=signs)
    original = Density(crystal, {"total": density(crystal, (20, 10, 30)), "magnetization": spin})
    payload, decoded = check(original, 1e-5)
    plain = codecs.encode(original, 1e-5, codec="fourier", symmetry=False).payload
    assert len(payload) < len(plain) / 3
    # The symmetry is exact in what is decoded: half a cell away the sign is the other one.
    moved = np.roll(decoded.channels["magnetization"], (5, 5, 5), (0, 1, 2))
    assert np.allclose(moved, -decoded.channels["magnetization"], rtol=0, atol=1e-13)
    assert decoded.channels["magnetization"].mean() == pytest.approx(0, abs=1e-14)


def test_noncollinear_channels_each_meet_the_bound():
    crystal = STRUCTURES["zinc blende"]
    rng = np.random.default_rng(4)
    fields = {name: density(crystal, GRID, weights=rng.normal(size=2)) for name in CHANNELS[4]}
    fields["total"] = density(crystal, GRID)
    fields["magnetization_y"] = np.zeros(GRID)
    _, decoded = check(Density(crystal, fields), 1e-4)
    assert not decoded.channels["magnetization_y"].any()


def test_a_small_magnetisation_is_not_stored():
    crystal = STRUCTURES["fcc"]
    fields = {"total": density(crystal, GRID), "magnetization": 1e-7 * density(crystal, GRID)}
    payload, _ = check(Density(crystal, fields), 1e-4)
    alone, _ = check(Density(crystal, {"total": fields["total"]}), 1e-4)
    assert len(payload) < len(alone) + 10


# --- symmetry --------------------------------------------------------------------------------------------------------


def test_what_is_decoded_is_exactly_symmetric():
    crystal = STRUCTURES["rocksalt conventional"]
    _, decoded = check(total("rocksalt conventional", (16, 16, 16)), 1e-3)
    n = decoded.total
    for image in (np.transpose(n, (1, 2, 0)), np.transpose(n, (1, 0, 2)), np.roll(n, (8, 8), (0, 1)),
                  np.roll(n[::-1], 1, 0)):  # fmt: skip
        assert np.allclose(image, n, rtol=0, atol=1e-12 * n.max())
    assert len(crystal) == 8


def test_symmetry_pays():
    original = total("diamond conventional", (16, 16, 16))
    plain = {"predict": False}
    assert 8 * len(check(original, 1e-4, **plain)[0]) < len(check(original, 1e-4, symmetry=False, **plain)[0])


def test_a_density_without_the_symmetry_of_its_atoms_nor_their_origin():
    """Operations about an origin without a name: where none is left, the origin must be gone as well."""
    crystal = STRUCTURES["monoclinic"]
    for grid in ((1, 1, 6), GRID):
        spin = smooth(grid, 9) - 1
        check(Density(crystal, {"total": smooth(grid, 8)}), 1e-3)
        check(Density(crystal, {"total": density(crystal, grid), "magnetization": spin}), 1e-3)


def test_a_density_less_symmetric_than_its_atoms_is_still_right():
    """The atoms say fcc; the density has a bulge that breaks it."""
    crystal = STRUCTURES["fcc"]
    values = density(crystal, GRID) * (1 + 0.05 * smooth(GRID, 3))
    check(Density(crystal, {"total": values}), 1e-5)


@pytest.mark.parametrize("name", ["zinc blende", "quartz", "hcp"])
def test_moving_the_crystal_changes_the_size_little(name):
    crystal = STRUCTURES[name]
    grid = (18, 18, 20)
    sizes = []
    for shift in ([0, 0, 0], [0.1234567, 0.3456789, 0.0765432], [1 / 3, 0.5, 0.25]):
        moved = Crystal(crystal.cell, crystal.positions + np.array(shift), crystal.numbers)
        bare = len(codecs.encode(Density(moved, {"total": np.full(grid, 0.1)}), 1e-2, codec="fourier").payload)
        sizes.append(len(check(Density(moved, {"total": density(moved, grid)}), 1e-4)[0]) - bare)
    assert max(sizes) <= 1.15 * min(sizes) + 16  # an origin without a name takes twelve bytes


# --- grids -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target", [(30, 32, 36), (15, 16, 18), (16, 17, 19), (45, 16, 18), (12, 10, 9), (20, 10, 18), (1, 1, 1)]
)
def test_another_grid_is_fourier_resampling(target):
    crystal = STRUCTURES["wurtzite"]
    fields = {"total": density(crystal, GRID), "magnetization": smooth(GRID, 2) - 1}
    payload, native = check(Density(crystal, fields), 1e-4)
    other = codecs.decode(payload, grid=target)
    assert other.grid == target
    for name, values in native.channels.items():
        assert np.allclose(other.channels[name], resample(values, target), rtol=0, atol=1e-10)
    assert other.n_electrons == pytest.approx(native.n_electrons, abs=1e-11)


def test_another_grid_with_nyquist_terms_is_fourier_resampling():
    values = np.random.default_rng(1).normal(1, 0.3, (6, 5, 8))
    payload, native = check(Density(P1, {"total": values}), 1e-6)
    for target in ((6, 5, 8), (12, 10, 16), (7, 7, 9), (4, 4, 4)):
        assert np.allclose(
            codecs.decode(payload, grid=target).total, resample(native.total, target), rtol=0, atol=1e-10
        )


# --- values ----------------------------------------------------------------------------------------------------------


def test_negative_densities_are_kept():
    """A pseudo-density is negative near some cores."""
    crystal = STRUCTURES["fcc"]
    values = density(crystal, GRID, width=0.6) - 1.1 * density(crystal, GRID, width=0.4)
    assert values.min() < -0.5
    _, decoded = check(Density(crystal, {"total": values}), 1e-4)
    assert decoded.total.min() == pytest.approx(values.min(), rel=1e-2)


def test_zero_mean_and_negative_electron_counts():
    for shift in (-1.0, -3.0):
        check(Density(P1, {"total": smooth(GRID, 5) + shift}), 1e-4)


def test_single_precision_input():
    values = smooth(GRID, 6)
    payload, decoded = check(Density(P1, {"total": values.astype(np.float32)}), 1e-4)
    assert decoded.total.dtype == np.float64
    assert abs(len(payload) - len(check(Density(P1, {"total": values}), 1e-4)[0])) <= 4


@pytest.mark.parametrize("grid", [(1, 1, 1), (4, 5, 6), (32, 32, 32)])
def test_zero_and_constant_densities(grid):
    payload, decoded = check(Density(P1, {"total": np.zeros(grid)}), 1e-4)
    assert not decoded.total.any()
    constant, decoded = check(Density(P1, {"total": np.full(grid, 0.3)}), 1e-4)
    assert np.allclose(decoded.total, 0.3, rtol=1e-12)
    assert len(constant) - len(payload) < 10
    assert codecs.encode(Density(P1, {"total": np.zeros(grid)}), 1e-4).quality.nmae == {"total": 0.0}  # "auto"


@pytest.mark.parametrize("scale", [1e-8, 1e-3, 1e6, 1e12])
def test_any_units(scale):
    check(Density(P1, {"total": smooth(GRID, 7) * scale}), 1e-3)


def test_a_zero_density_with_spin_is_refused_in_words():
    fields = {"total": np.zeros(GRID), "magnetization": smooth(GRID, 1)}
    with pytest.raises(CodecError, match="tolerance=0"):
        codecs.encode(Density(P1, fields), 1e-4)


@pytest.mark.parametrize("value", [1e31, 1e300])
def test_absurd_values_are_refused_in_words(value):
    with pytest.raises(CodecError, match="lossless"):
        codecs.encode(Density(P1, {"total": np.full((4, 4, 4), value)}), 1e-4)


@pytest.mark.parametrize("tolerance", [-1e-4, 1.0, 7, float("nan"), float("inf")])
def test_tolerances_that_are_none(tolerance):
    with pytest.raises(CodecError, match="fraction"):
        codecs.encode(Density(P1, {"total": np.ones((2, 2, 2))}), tolerance)


def test_an_impossible_tolerance_is_refused_in_words():
    with pytest.raises(CodecError, match="tolerance=0"):
        codecs.encode(Density(P1, {"total": np.random.default_rng(0).random((8, 8, 8))}), 1e-17)


def test_a_finer_tolerance_never_costs_less():
    original = total("monoclinic", GRID)
    sizes = [len(check(original, tolerance)[0]) for tolerance in (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)]
    assert sizes == sorted(sizes)


# --- determinism -----------------------------------------------------------------------------------------------------

_ENCODE = """
import hashlib, sys
sys.path.insert(0, sys.argv[1])
from fields import total
from chgdb import codecs
for name in ("monoclinic", "diamond", "quartz"):
    payload = codecs.encode(total(name, (15, 16, 18)), 1e-4, codec="fourier").payload
    print(hashlib.sha256(payload).hexdigest())
"""

_DECODE = """
import importlib.abc, sys
REFUSED = {"spglib", "torch", "pymatgen", "matminer", "scipy", "ase", "zarr", "xarray", "pandas", "h5py"}
class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in REFUSED:
            raise AssertionError(f"decoding imports {name}")
sys.meta_path.insert(0, Refuse())
from chgdb import codecs
for payload in sys.stdin.read().split():
    codecs.header(bytes.fromhex(payload))
    codecs.decode(bytes.fromhex(payload))
    codecs.decode(bytes.fromhex(payload), grid=(9, 20, 20))
assert not REFUSED & {name.split(".")[0] for name in sys.modules}
print("decoded")
"""


def test_another_process_writes_the_same_bytes(request):
    tests = str(request.config.rootpath / "tests")
    here = [
        hashlib.sha256(codecs.encode(total(name, GRID), 1e-4, codec="fourier").payload).hexdigest()
        for name in ("monoclinic", "diamond", "quartz")
    ]
    for threads in ("1", "4"):
        environment = {"OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads, "PYTHONHASHSEED": threads}
        there = subprocess.run([sys.executable, "-c", _ENCODE, tests], env=environment, capture_output=True, text=True,
                               check=True)  # fmt: skip
        assert there.stdout.split() == here


def test_decoding_needs_numpy_alone():
    """Symmetry included: the decoder must not depend on the version of spglib or scipy installed later."""
    payloads = [
        codecs.encode(total("quartz", GRID), tolerance, codec=codec).payload
        for codec, tolerance in (("fourier", 1e-3), ("realspace", 1e-3), ("lossless", 0.0))
    ]
    text = " ".join(payload.hex() for payload in payloads)
    done = subprocess.run([sys.executable, "-c", _DECODE], input=text, capture_output=True, text=True, check=False)
    assert done.stdout == "decoded\n", done.stderr


def test_decoding_twice_gives_the_same_bits():
    payload, decoded = check(total("monoclinic", GRID), 1e-4)
    assert np.array_equal(codecs.decode(payload).total, decoded.total)


def test_the_header_says_what_is_inside():
    fields = {"total": smooth(GRID, 1), "magnetization": smooth(GRID, 2)}
    payload, _ = check(Density(P1, fields), 1e-3)
    header = codecs.header(payload)
    assert (header.codec, header.crystal, header.grid) == ("fourier", P1, GRID)
    assert (header.channels, header.prior_id) == (("total", "magnetization"), 0)
    assert payload[0] == fourier.CODEC_ID


def test_densities_that_differ_in_kind_are_not_compared():
    with pytest.raises(CodecError, match="resample"):
        codecs.measure(Density(P1, {"total": np.ones((2, 2, 2))}), Density(P1, {"total": np.ones((2, 2, 3))}))
    with pytest.raises(CodecError, match="there is no codec 'zip'"):
        codecs.encode(Density(P1, {"total": np.ones((2, 2, 2))}), codec="zip")
