"""docs/decoder.py, written after docs/format.md with nothing of chgdb, decodes what chgdb decodes.

Where this fails, the specification and the library have parted.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import fields
import numpy as np
import pytest
import zarr

import chgdb
from chgdb import Density
from chgdb.augmentation import Printed
from chgdb.codecs import channel_search, decode, encode, fourier
from chgdb.promolecule import Prior, fit

GRID = (14, 15, 16)


@pytest.fixture(scope="module")
def decoder() -> ModuleType:
    path = Path(__file__).resolve().parents[1] / "docs" / "decoder.py"
    spec = importlib.util.spec_from_file_location("decoder", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def noise(grid: tuple[int, int, int], *channels: str) -> Density:
    """Values without any order: every coefficient is needed, up to the edge of the spectrum."""
    rng = np.random.default_rng(1)
    crystal = fields.STRUCTURES["triclinic"]
    return Density(crystal, {"total": 1 + rng.random(grid)} | {name: rng.normal(size=grid) for name in channels})


def agree(decoder: ModuleType, density: Density, prior: Prior | None = None, **options: Any) -> bytes:
    """Encode, decode with both, compare; the payload."""
    payload = encode(density, prior=prior, **options).payload
    expected = decode(payload, prior=prior)

    def prior_of(identifier: int) -> dict[str, Any]:
        assert prior is not None
        assert identifier == prior.identifier
        return {"numbers": prior.numbers.tolist(), "coefficients": prior.coefficients}

    cell, positions, numbers, channels = decoder.decode_payload(payload, prior_of)
    np.testing.assert_array_equal(cell, expected.crystal.cell)
    np.testing.assert_array_equal(positions, expected.crystal.positions)
    assert numbers == expected.crystal.numbers.tolist()
    assert list(channels) == list(expected.channels)
    for name, values in expected.channels.items():
        np.testing.assert_allclose(channels[name], values, rtol=0, atol=1e-11 * np.abs(values).max())
    return payload


@pytest.mark.parametrize("codec", ["fourier", "realspace"])
@pytest.mark.parametrize("name", fields.STRUCTURES)
def test_structures(decoder: ModuleType, name: str, codec: str) -> None:
    edge = 12 if name in ("supercell", "rocksalt conventional", "diamond conventional") else 16
    agree(decoder, fields.total(name, (edge, edge, edge)), codec=codec, tolerance=1e-3)


def test_other_grids_and_tolerances(decoder: ModuleType) -> None:
    for tolerance in (0.2, 1e-2, 1e-6):
        agree(decoder, fields.total("quartz", GRID), codec="fourier", tolerance=tolerance)


@pytest.mark.parametrize(
    ("name", "grid", "coarse"),
    [("triclinic", (8, 6, 8), True), ("quartz", (8, 8, 10), True), ("monoclinic", (8, 8, 10), True),
     ("monoclinic", (9, 9, 11), False), ("supercell", (8, 8, 8), True)],
)  # fmt: skip
def test_predictions(decoder: ModuleType, name: str, grid: tuple[int, int, int], coarse: bool,
                     monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """Also where they win nothing, so that the cells can be small."""
    for module, constant, value in ((fourier, "_WORTH", 100.0), (fourier, "_SMALL", 0), (channel_search, "_FEW", 0)):
        monkeypatch.setattr(module, constant, value)
    density = fields.summed(name, grid) if coarse else fields.total(name, grid)
    payload = agree(decoder, density, codec="fourier", tolerance=1e-3, predict=True)
    assert payload[0] == fourier.PREDICTED_ID


def test_nyquist_terms(decoder: ModuleType) -> None:
    agree(decoder, noise((6, 7, 8), "magnetization"), codec="fourier", tolerance=1e-6)
    agree(decoder, noise((8, 6, 4)), codec="fourier", tolerance=1e-6)


@pytest.mark.parametrize("codec", ["fourier", "realspace"])
def test_many_lanes(decoder: ModuleType, codec: str) -> None:
    agree(decoder, noise((21, 21, 21)), codec=codec, tolerance=1e-2)


def test_antiferromagnet(decoder: ModuleType) -> None:
    crystal = fields.STRUCTURES["diamond"]
    total = fields.density(crystal, (16, 16, 16))
    staggered = fields.density(crystal, (16, 16, 16), weights=np.array([1.0, -1.0]))
    agree(decoder, Density(crystal, {"total": total, "magnetization": staggered}), codec="fourier", tolerance=1e-3)


def test_four_channels(decoder: ModuleType) -> None:
    density = noise((6, 5, 6), "magnetization_x", "magnetization_y", "magnetization_z")
    agree(decoder, density, codec="fourier", tolerance=1e-3)


def test_prior(decoder: ModuleType) -> None:
    names = ["fcc", "diamond", "zinc blende", "quartz"]
    densities = [fields.total(name, (16, 16, 16)) for name in names]
    prior = fit(densities)
    for density in densities:
        payload = agree(decoder, density, prior, codec="fourier", tolerance=1e-3)
        assert chgdb.codecs.header(payload).prior_id == prior.identifier


def test_a_record_of_the_catalog(decoder: ModuleType) -> None:
    catalog = chgdb.open()
    expected = catalog["mp-149"].density
    cell, _, numbers, channels = decoder.decode_record(catalog.path, "mp-149")
    np.testing.assert_array_equal(cell, expected.crystal.cell)
    assert numbers == [14, 14]
    np.testing.assert_allclose(channels["total"], expected.total, rtol=0, atol=1e-12)


def test_occupancies(decoder: ModuleType) -> None:
    """Of an antiferromagnet and of vectors with imaginary parts; of the others their text is kept."""
    golden = str(Path(__file__).parent / "golden" / "store-v3.zip")
    for record in chgdb.open(golden):
        found = decoder.occupancies_of(zarr.storage.ZipStore(golden, mode="r"), record.material_id)
        assert (found is None) == (record.material_id not in ("gold-2", "gold-3"))
        for name, parts in (found or {}).items():
            printed = Printed(tuple(parts["real"]), tuple(parts.get("imaginary", ())), tuple(parts["moments"]))
            assert printed.to_text() == record.density.extras["after"][name]


def test_latents(decoder: ModuleType) -> None:
    golden = str(Path(__file__).parent / "golden" / "store-v2.zip")
    catalog = chgdb.open(golden)
    found = {i: decoder.latent_of(zarr.storage.ZipStore(golden, mode="r"), i) for i in catalog.ids}
    assert [i for i in catalog.ids if found[i] is None] == ["gold-4"]
    for material_id in catalog.ids[:3]:
        np.testing.assert_allclose(found[material_id], catalog[material_id].latent, rtol=0, atol=1e-6)
