"""The autoencoder codec: models as files, latents, what is refused. Numbers of real models are in docs/science."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from fields import total

from chgdb import Crystal, Density
from chgdb.codecs import measure
from chgdb.errors import ChecksumError, CodecError, DensityError
from chgdb.latents import network
from chgdb.latents.autoencoder import Autoencoder
from chgdb.latents.levels import LARGEST
from chgdb.latents.volumes import Configuration
from chgdb.promolecule import fit

PUBLISHED = Configuration("published", spacing=0.3, most=32, widths=(3, 4, 4), channels=2)
PERIODIC = Configuration(
    "periodic",
    "lapped",
    "difference",
    "periodic",
    spacing=0.3,
    most=18,
    factor=3,
    channels=27,
    widths=(4, 2),
    scale=0.1,
)


def model(configuration: Configuration, densities: list[Density]) -> Autoencoder:
    """Untrained, but a lapped one with all phases for channels loses nothing but by rounding."""
    torch.manual_seed(0)
    made = network.build(configuration).eval()
    prior = None
    if isinstance(made, network.Lapped):
        prior = fit(densities)
        made.start_from([torch.randn(1, 1, 18, 18, 18)], step=0.01)
    else:
        made.decoder[-1].convolution.bias.data.fill_(1.0)  # electrons, whatever else it decodes to
    return Autoencoder(configuration, made, prior, 1.0 if prior else 0.001, "")


@pytest.fixture(scope="module", params=[PUBLISHED, PERIODIC], ids=lambda c: c.name)
def saved(request: pytest.FixtureRequest, densities: list[Density], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    model(request.param, densities).save(folder)
    return folder


def test_a_model_is_loaded_as_it_was_saved(densities: list[Density], tmp_path: Path) -> None:
    for configuration in (PUBLISHED, PERIODIC):
        made = model(configuration, densities)
        made.save(tmp_path / configuration.name)
        loaded = Autoencoder.load(tmp_path / configuration.name)
        assert loaded.identifier == made.identifier
        assert loaded.identifier.startswith(f"{configuration.name}-")
        assert loaded.configuration == configuration
        density = densities[3]
        latent = loaded.encode(density)
        assert latent.dtype == np.int16
        assert latent.shape == configuration.latent_shape
        assert latent.any()
        assert np.array_equal(latent, made.encode(density))
        for grid in (density.grid, (20, 21, 22)):
            one, other = (m.decode(latent, density.crystal, grid, density.n_electrons) for m in (made, loaded))
            assert one.grid == grid
            assert np.array_equal(one.total, other.total)
            assert one.n_electrons == pytest.approx(density.n_electrons, rel=1e-6)


def test_a_transform_without_loss_loses_only_what_is_rounded(densities: list[Density]) -> None:
    """Encoder, latent, decoder, prior, resampling and mean all fit together: the density comes back."""
    made = model(PERIODIC, densities)
    density = densities[3]
    decoded = made.decode(made.encode(density), density.crystal, density.grid, density.n_electrons)
    assert measure(density, decoded).nmae["total"] < 2e-3
    assert np.abs(made.encode(density)).max() < LARGEST, "nothing is cut off, or the test says little"


def test_what_lies_outside_the_cell_is_zero(densities: list[Density]) -> None:
    made = model(PERIODIC, densities)
    density = Density(
        Crystal(np.diag([1.7, 2.6, 5.3]), [[0, 0, 0]], [8]), {"total": np.random.default_rng(0).random((8, 9, 12))}
    )
    latent = made.encode(density)
    assert PERIODIC.volume_shape(density.crystal.cell) == (18, 9, 6)
    assert latent[:, :6, :3, :2].any()
    latent[:, :6, :3, :2] = 0
    assert not latent.any()


def test_electrons_are_exact_only_when_asked(densities: list[Density]) -> None:
    made = model(PERIODIC, densities)
    density = densities[5]
    latent = made.encode(density)
    latent[0, :3] += 5
    plain = made.decode(latent, density.crystal, density.grid, density.n_electrons, rescale=False)
    exact = made.decode(latent, density.crystal, density.grid, density.n_electrons)
    assert abs(plain.n_electrons / density.n_electrons - 1) > 1e-5
    assert exact.n_electrons == pytest.approx(density.n_electrons, rel=1e-6)
    np.testing.assert_allclose(exact.total, plain.total * (exact.n_electrons / plain.n_electrons), rtol=1e-5, atol=1e-6)


def test_an_absurd_latent_is_refused(densities: list[Density]) -> None:
    made = model(PUBLISHED, densities)
    density = densities[0]
    made.network.decoder[-1].convolution.bias.data.fill_(-1e6)
    with pytest.raises(CodecError, match="electrons: it is of another structure or damaged"):
        made.decode(made.encode(density), density.crystal, density.grid, density.n_electrons)


@pytest.mark.parametrize("wrong", ["shape", "type"])
def test_a_latent_of_another_kind_is_refused(saved: Path, densities: list[Density], wrong: str) -> None:
    made = Autoencoder.load(saved)
    density = densities[0]
    latent = made.encode(density)
    bad = latent[:, 1:] if wrong == "shape" else latent.astype(float)
    with pytest.raises(CodecError, match=made.identifier):
        made.decode(bad, density.crystal, density.grid, density.n_electrons)


def test_a_grid_too_large_for_memory_is_refused(saved: Path, densities: list[Density]) -> None:
    made = Autoencoder.load(saved)
    density = densities[0]
    with pytest.raises(DensityError, match=r"takes \d+ GB to work on, .*: use a coarser one"):
        made.decode(made.encode(density), density.crystal, (90_000, 90_000, 90_000), density.n_electrons)


@pytest.mark.parametrize("refine", [0, 2])
def test_rounded_latents_are_multiples_and_mean_the_same(saved: Path, densities: list[Density], refine: int) -> None:
    plain, coarse = Autoencoder.load(saved), Autoencoder.load(saved)
    coarse.description = coarse.description | {"rounding": 5}
    fine, rough = (m.encode(densities[0], refine).astype(int) for m in (plain, coarse))
    assert np.count_nonzero(rough) > 20
    assert not (rough % 5).any()
    if not refine:
        assert np.abs(rough - fine).max() <= 3  # half of five, and half a step of the finer one
    crystal, grid = densities[0].crystal, densities[0].grid
    one, other = (m.decode(rough, crystal, grid, 10.0).total for m in (plain, coarse))
    np.testing.assert_array_equal(one, other)


def test_other_weights_are_refused(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "model.json").write_bytes((saved / "model.json").read_bytes())
    data = bytearray((saved / "weights.safetensors").read_bytes())
    data[-1] ^= 1
    (tmp_path / "weights.safetensors").write_bytes(data)
    with pytest.raises(ChecksumError, match=r"not the weights that model\.json names"):
        Autoencoder.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, r"a model of format 2, this version of chgdb reads 1: install the newer"),
        ({"format": 0}, r"a model of format 0"),
        ({"step": -1}, r"damaged"),
        ({"step": "1"}, r"damaged"),
        ({"rounding": 0}, r"damaged"),
        ({"rounding": 2.5}, r"damaged"),
        ({"rounding": 10**9}, r"damaged"),
        ({"configuration": {"name": "x", "colour": 1}}, r"of a later version"),
        ({"configuration": {"name": "x", "widths": [16, 32, 33]}}, r"does not fit the configuration"),
    ],
)
def test_damaged_descriptions(saved: Path, tmp_path: Path, change: dict, message: str) -> None:
    facts = json.loads((saved / "model.json").read_text())
    (tmp_path / "weights.safetensors").write_bytes((saved / "weights.safetensors").read_bytes())
    (tmp_path / "model.json").write_text(json.dumps(facts | change))
    with pytest.raises(CodecError, match=message) as caught:
        Autoencoder.load(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", "\x00"])
def test_rubbish_for_a_description(tmp_path: Path, text: str) -> None:
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(CodecError, match="not the description of an autoencoder"):
        Autoencoder.load(tmp_path)


def test_rubbish_for_weights(saved: Path, tmp_path: Path) -> None:
    """Also where the checksum has been made to fit."""
    import hashlib

    facts = json.loads((saved / "model.json").read_text())
    for data in (b"", b"\xff" * 100, b"\x08" + b"\x00" * 7 + b'{"a":1} '):
        (tmp_path / "weights.safetensors").write_bytes(data)
        facts["weights_sha256"] = hashlib.sha256(data).hexdigest()
        (tmp_path / "model.json").write_text(json.dumps(facts))
        with pytest.raises(CodecError, match="weights") as caught:
            Autoencoder.load(tmp_path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["nothing", "../autoencoder", "a/b"])
def test_no_such_model(name: str) -> None:
    with pytest.raises(CodecError, match="no autoencoder here"):
        Autoencoder.load(name)


def test_the_density_of_another_element_is_encoded_whole(densities: list[Density]) -> None:
    """An element that the prior lacks: nothing is subtracted, and the error shows it; nothing crashes."""
    made = model(PERIODIC, densities)
    density = total("fcc", (20, 20, 20))
    latent = made.encode(density)
    decoded = made.decode(latent, density.crystal, density.grid, density.n_electrons)
    assert np.isfinite(decoded.total).all()
