"""Networks of the autoencoder: what must hold whatever the weights are."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("torch")

import torch
import torch.nn.functional as F
from torch import Tensor

from chgdb.latents import network
from chgdb.latents.volumes import CONFIGURATIONS, Configuration

#: Small enough to convolve whole padded volumes; the same layers.
SMALL = {
    "16": Configuration("16", most=64, widths=(4, 6, 6), channels=3),
    "8": Configuration("8", most=96, factor=16, widths=(4, 6, 6, 6), channels=2),
    "32": Configuration("32", most=64, factor=4, widths=(4, 6), channels=3),
    "normalised": Configuration("normalised", most=64, widths=(4, 6, 6), channels=3, batch_norm=True, dropout=0.2),
}
LAPPED = Configuration(
    "lapped", "lapped", "difference", "periodic", spacing=0.2, most=48, factor=3, channels=5, widths=(8, 2)
)


def built(configuration: Configuration, seed: int = 0) -> network.Convolutional:
    """With weights as after a training: no bias, norm or block is at its neutral start."""
    torch.manual_seed(seed)
    made = network.build(configuration)
    for parameter in made.parameters():
        # Biases above zero: no unit is dead, and empty space is not zero.
        parameter.data += 0.05 * torch.randn_like(parameter) if parameter.ndim > 1 else 0.1 * torch.rand_like(parameter)
    for layer in made.modules():
        if isinstance(layer, torch.nn.BatchNorm3d):
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
    return made.eval()


def padded(volume: Tensor, side: int) -> Tensor:
    z, y, x = volume.shape[2:]
    return F.pad(volume, (0, side - x, 0, side - y, 0, side - z))


def test_published_network_has_the_published_parameters() -> None:
    assert sum(p.numel() for p in network.build(CONFIGURATIONS["published"]).parameters()) == 111_633


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("shape", [(17, 30, 21), (8, 64, 40), (1, 3, 2)])
@torch.inference_mode()
def test_padding_is_not_convolved_and_nothing_changes(name: str, shape: tuple[int, int, int]) -> None:
    made = built(SMALL[name])
    side = SMALL[name].most
    volume = torch.rand(1, 1, *shape)
    full = made.encode(padded(volume, side))
    fast = network.Padded(made)
    latent = fast.encode(volume)
    assert latent.shape == (1, *SMALL[name].latent_shape)
    assert latent.abs().max() > 0.01
    torch.testing.assert_close(latent, full, rtol=1e-4, atol=1e-5)
    decoded = made.decode(full)
    torch.testing.assert_close(fast.decode(full, shape, whole=True), decoded, rtol=1e-4, atol=1e-5)
    z, y, x = shape
    torch.testing.assert_close(fast.decode(full, shape), decoded[:, :, :z, :y, :x], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("periodic", [False, True])
def test_upsampling_convolution_is_upsampling_and_convolution(periodic: bool) -> None:
    torch.manual_seed(1)
    layer = network._Convolution(3, 5, upsample=True)
    values = torch.rand(2, 3, 4, 5, 6)
    up = F.pad(F.interpolate(values, scale_factor=2), (1,) * 6, mode="circular" if periodic else "constant")
    torch.testing.assert_close(layer(values, periodic), F.conv3d(up, layer.weight, layer.bias), rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_background_is_the_middle_of_a_large_empty_volume() -> None:
    made = built(SMALL["16"])
    decoded = made(torch.zeros(1, 1, 128, 128, 128))
    assert made.background()[-1].item() == pytest.approx(decoded[0, 0, 64, 64, 64].item(), abs=1e-6)
    assert abs(decoded[0, 0, 0, 0, 0] - decoded[0, 0, 64, 64, 64]) > 1e-4, "the edge differs: the test can fail"


@pytest.mark.parametrize("beside", [(0, 0, 0), (24, 40, 128), (120, 56, 32)])
@torch.inference_mode()
def test_nothing_is_that_of_the_whole_empty_volume(beside: tuple[int, int, int]) -> None:
    """Faces, edges and corners: all but for half a percent, as other faces are not infinitely far in the box."""
    made = built(Configuration("nothing", most=128, widths=(4, 6, 6), channels=3))
    squared = made(torch.zeros(1, 1, 128, 128, 128))[0, 0].square()
    middle = made.background()[-1].square().item()
    z, y, x = beside
    corner = squared[:z, :y, :x].sum()
    expected = float(squared.sum() - corner)
    found = float(made.nothing(beside))
    assert found == pytest.approx(expected, rel=5e-3)
    assert abs(expected - (squared.numel() - z * y * x) * middle) > 20e-3 * expected, (
        "the ends count, or this says little"
    )


@torch.inference_mode()
def test_nothing_of_a_small_volume_is_exact() -> None:
    made = built(Configuration("small", most=48, widths=(4, 6, 6), channels=3))
    squared = made(torch.zeros(1, 1, 48, 48, 48))[0, 0].square()
    squared[:16, :24, :8] = 0
    assert float(made.nothing((16, 24, 8))) == pytest.approx(float(squared.sum()), rel=1e-5)


@torch.inference_mode()
def test_the_corner_that_training_computes_is_that_of_the_padded_volume() -> None:
    """Nearly: the background is taken as constant, which it is not along the low faces. Zeros would be much worse."""
    made = built(Configuration("corner", most=128, widths=(4, 6, 6), channels=3))
    volume = torch.rand(1, 1, 24, 16, 20)
    full = made(padded(volume, 128))
    for margin in (72, 16):
        z, y, x = (-(-(n + margin) // 8) * 8 for n in volume.shape[2:])
        cropped = F.pad(volume, (0, x - 20, 0, y - 16, 0, z - 24))
        inner = (slice(None), slice(None), slice(z - 8), slice(y - 8), slice(x - 8))
        corner = made.corner(cropped, made.background())
        whole = full[:, :, :z, :y, :x]
        error = (corner - whole)[inner].square().mean()
        assert error < 0.2 * (made(cropped) - whole)[inner].square().mean()
        assert error < 1e-3 * whole.square().mean()


@pytest.mark.parametrize("configuration", [LAPPED, replace(SMALL["16"], boundary="periodic")], ids=lambda c: c.name)
@torch.inference_mode()
def test_periodic_networks_know_no_origin_and_no_supercell(configuration: Configuration) -> None:
    made, factor = built(configuration), configuration.factor
    volume = torch.rand(1, 1, 4 * factor, 3 * factor, 5 * factor)
    atoms = torch.rand_like(volume) if configuration.network == "lapped" else None
    latent = made.encode(volume)
    assert latent.shape == (1, configuration.channels, 4, 3, 5)

    moved = torch.roll(volume, (factor, 2 * factor, -factor), (2, 3, 4))
    torch.testing.assert_close(made.encode(moved), torch.roll(latent, (1, 2, -1), (2, 3, 4)), rtol=1e-4, atol=1e-5)
    twice = made.encode(torch.cat([volume, volume], 3))
    torch.testing.assert_close(twice, torch.cat([latent, latent], 3), rtol=1e-4, atol=1e-5)

    decoded = made.decode(latent, atoms)
    assert decoded.shape == volume.shape
    atoms_twice = None if atoms is None else torch.cat([atoms, atoms], 3)
    torch.testing.assert_close(made.decode(twice, atoms_twice), torch.cat([decoded] * 2, 3), rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_lapped_networks_start_as_principal_components() -> None:
    """With as many channels as phases the start is exact; with fewer it keeps what varies most."""
    torch.manual_seed(2)
    smooth = F.interpolate(torch.rand(1, 1, 5, 5, 5), size=(18, 18, 18), mode="trilinear", align_corners=True)
    errors = []
    for channels in (2, 8, 27):
        made = network.build(replace(LAPPED, channels=channels))
        made.start_from([smooth], step=0.1)
        errors.append((made.decode(made.encode(smooth), torch.zeros_like(smooth)) - smooth).abs().mean().item())
    assert errors[0] > errors[1] > 10 * errors[2]
    assert errors[2] < 1e-5


def test_phases_and_volume_are_inverse() -> None:
    volume = torch.arange(6 * 9 * 3, dtype=torch.float32).reshape(1, 1, 6, 9, 3)
    phases = network._phases(volume, 3)
    assert phases.shape == (1, 27, 2, 3, 1)
    assert phases[0, 1, 0, 0, 0] == volume[0, 0, 0, 0, 1]
    assert torch.equal(network._volume(phases, 3), volume)
