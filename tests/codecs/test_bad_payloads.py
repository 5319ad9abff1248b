"""Payloads that are damaged, or made to do harm: an error in words or a density, in bounded time and memory."""

from __future__ import annotations

import resource
import subprocess
import sys
import time

import numpy as np
import pytest
from effort import examples
from fields import STRUCTURES, density, smooth, total
from hypothesis import given, settings
from hypothesis import strategies as st

from chgdb import Density, codecs
from chgdb.codecs import entropy, fourier, realspace
from chgdb.codecs.bits import BitWriter
from chgdb.codecs.entropy import RangeEncoder
from chgdb.codecs.frame import write_count, write_frame
from chgdb.codecs.groups import write_group
from chgdb.errors import ChgdbError, CodecError
from chgdb.promolecule import fit
from chgdb.symmetry import SpaceGroup, find

PRIOR = fit([total("diamond", (12, 12, 12)), total("quartz", (12, 12, 12))])


def _payloads():
    supercell = STRUCTURES["supercell"]
    grid = (8, 8, 12)
    spin = density(supercell, grid, weights=np.where(supercell.positions[:, 1] < 0.2, 0.4, -0.4))
    noise = np.random.default_rng(0).normal(1, 0.3, (6, 5, 4))
    made = {
        "fourier": codecs.encode(total("monoclinic", (9, 10, 12)), 1e-3, codec="fourier"),
        "flips": codecs.encode(
            Density(supercell, {"total": density(supercell, grid), "magnetization": spin}), 1e-3, codec="fourier"
        ),
        "nyquist": codecs.encode(Density(STRUCTURES["triclinic"], {"total": noise}), 1e-3, codec="fourier"),
        "lanes": codecs.encode(
            Density(STRUCTURES["triclinic"], {"total": smooth((24, 24, 24), 1)}), 1e-7, codec="fourier"
        ),
        "prior": codecs.encode(total("quartz", (12, 12, 12)), 1e-3, codec="fourier", prior=PRIOR),
        "realspace": codecs.encode(total("quartz", (6, 6, 6)), 1e-2, codec="realspace"),
        "lossless": codecs.encode(total("hcp", (4, 4, 4)), 0),
    }
    return {name: encoded.payload for name, encoded in made.items()}


PAYLOADS = _payloads()


def attempt(payload):
    """A density, or None where the payload is refused; anything else is a failure."""
    try:
        decoded = codecs.decode(payload, prior=PRIOR)
    except ChgdbError:
        return None
    assert isinstance(decoded, Density)
    return decoded


def test_the_payloads_are_what_they_are_called():
    assert codecs.header(PAYLOADS["prior"]).prior_id == PRIOR.identifier
    assert len(PAYLOADS["lanes"]) > 8192
    for payload in PAYLOADS.values():
        assert attempt(payload) is not None


@pytest.mark.parametrize("name", sorted(PAYLOADS))
def test_every_flipped_bit_of_the_head(name):
    payload = PAYLOADS[name]
    for bit in range(0, 8 * min(len(payload), 36), 5 if name == "lanes" else 1):
        damaged = bytearray(payload)
        damaged[bit // 8] ^= 0x80 >> bit % 8
        attempt(bytes(damaged))


@settings(max_examples=examples(150))
@given(
    st.sampled_from(sorted(PAYLOADS)),
    st.lists(st.tuples(st.integers(0, 1 << 30), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_changed_bytes(name, changes):
    damaged = bytearray(PAYLOADS[name])
    for where, value in changes:
        damaged[where % min(len(damaged), 200)] = value
    attempt(bytes(damaged))


@settings(max_examples=examples(100))
@given(st.sampled_from(sorted(PAYLOADS)), st.integers(0, 1 << 30), st.binary(max_size=20))
def test_truncated_and_extended(name, cut, more):
    payload = PAYLOADS[name]
    cut %= len(payload)
    assert attempt(payload[:cut]) is None
    attempt(payload[:cut] + more)
    attempt(payload + more)


@settings(max_examples=examples(300))
@given(st.sampled_from([fourier.CODEC_ID, 1, realspace.CODEC_ID, 0, 200]), st.binary(max_size=300))
def test_random_bytes(codec, data):
    attempt(bytes([codec]) + data)


@given(st.binary(max_size=80), st.integers(0, 400))
def test_random_tails(data, cut):
    """A head that is right and a body of chance."""
    for payload in PAYLOADS.values():
        attempt(payload[: cut % len(payload)] + data)


def test_empty_and_unknown():
    with pytest.raises(CodecError, match="empty"):
        codecs.decode(b"")
    with pytest.raises(CodecError, match="codec number 99"):
        codecs.header(b"\x63abc")
    for codec in ("fourier", "realspace", "lossless"):
        with pytest.raises(CodecError, match="not a payload"):
            codecs.get(codec).decode(b"\x63" + bytes(50))


def test_an_element_that_the_prior_lacks():
    out = BitWriter()
    out.write(fourier.CODEC_ID, 8)
    write_frame(out, STRUCTURES["fcc"], (8, 8, 8), 1)
    out.write(1, 1)
    out.write(PRIOR.identifier, 16)
    with pytest.raises(CodecError, match="elements"):
        codecs.decode(out.to_bytes() + bytes(20), prior=PRIOR)


# --- made to do harm: each within seconds and 600 MB, whatever it claims ---------------------------------------------


def claim(grid, crystal, group, *, limit=(50, 255), nyquist=0, lanes=0, tail=b"\x01\x02\x03"):
    """A Fourier payload with a head that claims much and a body of a few bytes."""
    out = BitWriter()
    out.write(fourier.CODEC_ID, 8)
    write_frame(out, crystal, grid, 1)
    out.write(0, 1)
    out.write(lanes, 2)
    write_count(out, 0)
    out.write(1, 1)
    write_group(out, group)
    for value, width in ((limit[0], 6), (limit[1], 8), (nyquist, 1), (1500, 11), (3, 6)):
        out.write(value, width)
    return out.to_bytes() + tail


def claim_points(grid, crystal, group, *, lanes=0, tail=b"\x01\x02\x03"):
    out = BitWriter()
    out.write(realspace.CODEC_ID, 8)
    write_frame(out, crystal, grid, 1)
    out.write(lanes, 2)
    write_group(out, group)
    write_count(out, 0)
    for value, width in ((1500, 11), (1, 1), (3, 6)):
        out.write(value, width)
    return out.to_bytes() + tail


def translations(count):
    steps = np.arange(count) * (5040 // count)
    zeros = np.zeros(count, np.int64)
    same = np.repeat(np.eye(3, dtype=np.int64)[None], count, axis=0)
    return SpaceGroup(same, np.stack([steps, zeros, zeros], axis=1), np.zeros(3), zeros)


TRICLINIC, CONVENTIONAL = STRUCTURES["triclinic"], STRUCTURES["diamond conventional"]
HOSTILE = {
    "a sphere of 10^8 vectors": claim((500, 500, 500), TRICLINIC, SpaceGroup.trivial()),
    "the same with many lanes": claim((500, 500, 500), TRICLINIC, SpaceGroup.trivial(), lanes=2, tail=bytes(1024)),
    "the same with 192 operations": claim((500, 500, 500), CONVENTIONAL, find(CONVENTIONAL)),
    "a rod": claim((1 << 28, 1, 1), TRICLINIC, SpaceGroup.trivial()),
    "a sheet": claim((2, 1 << 13, 1 << 14), TRICLINIC, SpaceGroup.trivial(), nyquist=1),
    "a sheet of Nyquist terms": claim(
        (1 << 13, 1 << 14, 2), TRICLINIC, SpaceGroup.trivial(), nyquist=1, limit=(20, 200)
    ),
    "thousands of translations": claim((500, 500, 500), TRICLINIC, translations(5040)),
    "points": claim_points((500, 500, 500), TRICLINIC, SpaceGroup.trivial()),
    "points with translations": claim_points((5040, 200, 200), TRICLINIC, translations(5040)),
    "points with many lanes": claim_points((500, 500, 500), TRICLINIC, SpaceGroup.trivial(), lanes=2, tail=bytes(1024)),
}  # fmt: skip

_LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]), int(sys.argv[1])))
from chgdb import codecs
from chgdb.errors import ChgdbError
try:
    codecs.decode(bytes.fromhex(sys.stdin.read()))
    print("decoded")
except ChgdbError as error:
    print("refused", error)
"""


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_claims_cost_little(name):
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED, str(1200 << 20)],  # address space: numpy alone maps some 400 MB
        input=HOSTILE[name].hex(), capture_output=True, text=True, check=False, timeout=120,
        env={"OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.stdout.startswith("refused"), done.stderr[-500:]
    assert "memory" not in done.stdout
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 8


def test_values_too_large_for_an_integer():
    """A gamma code of 2^64, as no encoder writes it."""
    coder = RangeEncoder(0)
    coder._operations += [(entropy._ESCAPE, entropy._classify(entropy._initial(0))[0], 14)]
    for _ in range(64):
        coder._plain(0, 1)
    coder._plain(1, 1)
    coder._plain(0, 64)
    started = time.process_time()
    with pytest.raises(CodecError, match="impossible"):
        entropy.RangeDecoder(coder.finish(), 0).decode(np.zeros(1, np.int64), 0)
    assert time.process_time() - started < 1


def test_a_payload_that_is_right_is_never_taken_for_damage():
    """The bounds on claims must hold for anything encoded: few bytes for many coefficients."""
    crystal = STRUCTURES["triclinic"]
    grid = (40, 40, 40)
    values = np.ones(grid) + 1e-3 * np.cos(2 * np.pi * 15 * np.arange(40) / 40)[:, None, None]  # one far coefficient
    encoded = codecs.encode(Density(crystal, {"total": values}), 1e-4, codec="fourier")
    assert len(encoded.payload) < 700
    flat = np.ones(grid)
    flat[0, 0, 0] = 2
    codecs.encode(Density(crystal, {"total": flat}), 1e-6, codec="realspace")
    codecs.encode(Density(crystal, {"total": flat}), 1e-6, codec="fourier")
