"""The encoder of the catalog's autoencoder without torch."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import chgdb
from chgdb.latents.lapped import LappedEncoder


def test_latents_are_those_of_the_store() -> None:
    """A value at the edge of two multiples of the rounding may go to the other one.

    Stored latents were made by torch, of records that have been coded anew since: the same densities to 0.01 %.
    """
    catalog, encoder = chgdb.open(), LappedEncoder.load()
    assert encoder is not None
    chosen = catalog.ids[::200]
    changed = []
    for material_id, expected in zip(chosen, catalog.latents(chosen), strict=True):
        found = encoder.encode(catalog[material_id].density) * np.float32(encoder.step)
        assert found.shape == expected.shape
        difference = np.abs(found - expected)
        assert difference.max() <= 1.01 * encoder.step * encoder.rounding
        changed.append(np.count_nonzero(difference) / np.count_nonzero(expected))
    assert np.mean(changed) < 0.015
    assert np.max(changed) < 0.06


def test_it_is_the_network_of_torch() -> None:
    pytest.importorskip("torch")
    from chgdb.latents.autoencoder import Autoencoder

    catalog, encoder, model = chgdb.open(), LappedEncoder.load(), Autoencoder.load()
    assert encoder is not None
    assert encoder.identifier == model.identifier
    density = catalog["mp-149"].density
    found, expected = encoder.encode(density), model.encode(density)
    assert found.dtype == expected.dtype
    assert np.abs(found - expected).max() <= 1
    assert np.count_nonzero(found != expected) <= 2


def test_other_networks_are_left_to_torch() -> None:
    assert LappedEncoder.load("published") is None


def test_torch_is_not_loaded() -> None:
    program = (
        "import sys, chgdb; from chgdb.models.rows import default_encoder;"
        "default_encoder()(chgdb.open()['mp-149'].density); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
