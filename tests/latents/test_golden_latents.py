"""Latents of the catalog's autoencoders that were written once: they decode to the same densities for ever.

Tolerances: densities to an NMAE of 1e-5, a hundredth of what the autoencoder itself is off by (float32 sums in another
order, or on another processor, differ by 1e-7); latents of the same density to one step in one of a thousand numbers,
where a value lies on the edge between two.
Golden densities are the network's own output, without the symmetry of the crystal that decoding gives them by default.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import chgdb
from chgdb import codecs
from chgdb.latents import stores as latents
from chgdb.latents.autoencoder import Autoencoder
from chgdb.latents.description import MODEL
from chgdb.latents.volumes import DEFAULT
from chgdb.plugins import models_folder

pytest.importorskip("torch", reason="needs torch: pip install 'chgdb[ml]'")

FILES = sorted((Path(__file__).parents[1] / "golden" / "latents").glob("*.npz"))


@pytest.fixture(scope="module", params=[path.stem for path in FILES])
def golden(request: pytest.FixtureRequest) -> dict[str, np.ndarray]:
    path = next(path for path in FILES if path.stem == request.param)
    with np.load(path, allow_pickle=False) as stored:
        return {"name": np.array(request.param), **stored}


def materials(golden: dict[str, np.ndarray]) -> list[str]:
    return sorted({name.split("/")[0] for name in golden if "/" in name})


def model_of(golden: dict[str, np.ndarray]) -> Autoencoder:
    return latents.load_model(str(golden["name"]).rpartition("-")[0])


def nmae(values: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(values.astype(float) - expected).sum() / np.abs(expected).sum(dtype=float))


def test_there_is_one_of_the_catalogs_model() -> None:
    facts = json.loads((models_folder("autoencoder") / DEFAULT / MODEL).read_text(encoding="utf-8"))
    assert f"{DEFAULT}-{facts['weights_sha256'][:8]}" in [path.stem for path in FILES]


def test_the_model_is_the_one(golden: dict[str, np.ndarray]) -> None:
    model = model_of(golden)
    assert model.identifier == str(golden["name"])
    assert bytes.fromhex(model.checksum) == golden["checksum"].tobytes()
    assert len(materials(golden)) == 3


def test_golden_latents_decode_to_the_same_densities(golden: dict[str, np.ndarray]) -> None:
    model = model_of(golden)
    for material_id in materials(golden):
        head = codecs.header(golden[f"{material_id}/payload"].tobytes())
        count = codecs.decode(golden[f"{material_id}/payload"].tobytes()).n_electrons
        for rescale, name in ((True, "decoded"), (False, "raw")):
            expected = golden[f"{material_id}/{name}"]
            nx, ny, nz = expected.shape
            density = model.decode(golden[f"{material_id}/latent"], head.crystal, (nx, ny, nz), count, rescale, False)
            assert nmae(density.total, expected) < 1e-5
            if rescale:
                assert density.n_electrons == pytest.approx(count, rel=1e-6)


def test_the_same_densities_give_the_golden_latents(golden: dict[str, np.ndarray]) -> None:
    as_stored = model_of(golden)
    model = replace(as_stored, description=as_stored.description | {"rounding": 1})  # golden latents are of every step
    for material_id in materials(golden):
        density = codecs.decode(golden[f"{material_id}/payload"].tobytes())
        rounded = latents.encode(as_stored, density).integers.astype(int)
        assert not (rounded % as_stored.rounding).any()
        assert np.abs(rounded - golden[f"{material_id}/latent"]).max() <= as_stored.rounding // 2 + 1
        coded = latents.encode(model, density)
        away = np.abs(coded.integers.astype(int) - golden[f"{material_id}/latent"])
        assert away.max() <= 1
        assert (away != 0).mean() < 1e-3
        plain = model.decode(coded.integers, density.crystal, density.grid, density.n_electrons, symmetric=False)
        stated = float(golden[f"{material_id}/nmae"])
        assert codecs.measure(density, plain).nmae["total"] == pytest.approx(stated, rel=0.01)
        assert coded.nmae < stated


def test_the_latents_of_the_embedded_catalog() -> None:
    """Every material has one, of the model that comes with it; together they take a five-hundredth of the text."""
    catalog = chgdb.open()
    facts = json.loads((models_folder("autoencoder") / DEFAULT / MODEL).read_text(encoding="utf-8"))
    assert catalog.latent_model is not None
    assert catalog.latent_model["model_checksum"] == facts["weights_sha256"]
    info = catalog.info()
    assert info["n_latents"] == len(catalog)
    assert info["latent_bytes"] * 500 < info["text_bytes"]
    assert info["median_latent_nmae"] < 2e-3


def test_a_latent_of_the_embedded_catalog_decodes_to_its_stated_error() -> None:
    record = chgdb.open()["mp-149"]
    decoded = latents.decode_record(record)
    original = chgdb.Density(record.crystal, {"total": record.density.total})
    stated = record.metadata["latent_nmae"]
    assert codecs.measure(original, decoded).nmae["total"] == pytest.approx(stated, rel=0.01)
    assert decoded.n_electrons == pytest.approx(record.n_electrons, rel=1e-6)
