"""Small autoencoders for the tests of latents: real networks at the start of their training."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from chgdb import Density

#: Latent (4, 4, 4, 4); cells up to 4.8 Å, longer ones are sampled wider.
CHANNELS, SIDE = 4, 4


def save_model(folder: Path, densities: Iterable[Density], name: str = "small", step: float = 0.05) -> Path:
    """A model of total densities whose linear part has the principal components of these densities."""
    torch = pytest.importorskip("torch", reason="needs torch: pip install 'chgdb[ml]'")

    from chgdb.latents import network
    from chgdb.latents.autoencoder import Autoencoder
    from chgdb.latents.volumes import Configuration, to_volume

    configuration = Configuration(
        name, "lapped", "total", "periodic", spacing=0.4, most=12, factor=3, channels=CHANNELS, widths=(4, 1)
    )
    torch.manual_seed(0)
    built = network.build(configuration)
    assert isinstance(built, network.Lapped)
    built.start_from([torch.from_numpy(to_volume(d, configuration, None))[None, None] for d in densities], step)
    built.eval()
    Autoencoder(configuration, built, None, step, "").save(folder)
    return folder
