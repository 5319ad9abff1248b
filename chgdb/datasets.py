"""Latents and densities of a catalog as `torch.utils.data.Dataset`; needs torch (the extra `ml`).

    >>> train = LatentDataset(chgdb.open(), "train", targets=["bulk_modulus"])     # doctest: +SKIP
    >>> for latents, targets in torch.utils.data.DataLoader(train, batch_size=32, shuffle=True): ...  # doctest: +SKIP

A sample is (values, targets), float32 tensors. With workers every process opens the store for itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import require
from .samples import Densities, Latents, Samples

if TYPE_CHECKING:
    import torch
    from torch.utils.data import Dataset
else:
    torch = require("torch", "ml", "chgdb.datasets")
    Dataset = require("torch.utils.data", "ml", "chgdb.datasets").Dataset


class _SampleDataset(Dataset):
    """A dataset of samples; `samples` has the same as numpy, and the ids."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        values, targets = self.samples[index]
        return torch.from_numpy(values), torch.from_numpy(targets.copy())


class LatentDataset(_SampleDataset):
    """Latent tensors (channel, z, y, x), for torch.

    Parameters
    ----------
    *arguments
        As for `samples.Latents`.
    **options
        As for `samples.Latents`.
    """

    def __init__(self, *arguments, **options) -> None:
        super().__init__(Latents(*arguments, **options))


class DensityDataset(_SampleDataset):
    """Total densities (1, nx, ny, nz) on grids of one size, for torch.

    Parameters
    ----------
    *arguments
        As for `samples.Densities`.
    **options
        As for `samples.Densities`.
    """

    def __init__(self, *arguments, **options) -> None:
        super().__init__(Densities(*arguments, **options))
