"""Records written by earlier versions: each must decode to the same values for ever.

A failure here is a change of the format. The payloads are never written again (see tests/golden/make_payloads.py).
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from chgdb import codecs
from chgdb.promolecule import Prior

FOLDER = Path(__file__).resolve().parents[1] / "golden" / "payloads"
NAMES = sorted(path.stem for path in FOLDER.glob("*.bin"))


@pytest.fixture(scope="module")
def prior():
    stored = json.loads((FOLDER / "prior.json").read_text(encoding="utf-8"))
    return Prior.from_arrays({name: np.array(values) for name, values in stored.items()})


def test_there_are_payloads_of_every_kind():
    assert len(NAMES) >= 14
    kinds = {json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))["codec"] for name in NAMES}
    assert kinds == {"fourier", "realspace", "lossless"}


@pytest.mark.parametrize("name", NAMES)
def test_a_golden_payload_decodes_to_the_same_values(name, prior):
    payload = (FOLDER / f"{name}.bin").read_bytes()
    config = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    expected = np.load(FOLDER / f"{name}.npy", allow_pickle=False)
    header = codecs.header(payload)
    assert (header.codec, list(header.grid), list(header.channels), header.prior_id) == (
        config["codec"], config["grid"], config["channels"], config["prior_id"],
    )  # fmt: skip
    assert header.crystal.formula == config["formula"]
    assert np.array_equal(header.crystal.cell, config["cell"])
    assert np.array_equal(header.crystal.positions, config["positions"])
    decoded = codecs.decode(payload, prior=prior)
    assert str(decoded.total.dtype) == config["dtype"]
    values = np.stack([channel.ravel() for channel in decoded.channels.values()]).astype(float)
    scale = np.abs(expected).max()
    if config["codec"] == "lossless":
        assert np.array_equal(values[:, :: config["stride"]], expected)
    assert np.allclose(values[:, :: config["stride"]], expected, rtol=0, atol=1e-12 * scale)
    assert np.allclose(values.mean(axis=1), config["mean"], rtol=0, atol=1e-12 * scale)
    assert np.allclose((values**2).mean(axis=1), config["mean_square"], rtol=1e-12, atol=1e-24 * scale**2)


def test_the_cases_that_need_it_name_the_prior(prior):
    named = {name for name in NAMES if codecs.header((FOLDER / f"{name}.bin").read_bytes()).prior_id}
    assert named == {"fourier-prior"}
    assert codecs.header((FOLDER / "fourier-prior.bin").read_bytes()).prior_id == prior.identifier


def test_the_script_never_writes_a_payload_again():
    before = {path.name: path.read_bytes() for path in FOLDER.iterdir()}
    script = FOLDER.parent / "make_payloads.py"
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    assert done.stdout.count(": kept") == len(NAMES)
    assert {path.name: path.read_bytes() for path in FOLDER.iterdir()} == before
