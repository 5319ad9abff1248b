"""The autoencoder codec: a density to a latent tensor of fixed shape and back.

A trained model is a folder (see `description`).

Needs torch (the extra `ml`); nothing else of chgdb imports this module. Source: arXiv 2605.07227 for the published
network, arXiv 2510.00788 for the difference to the superposition of atomic densities; docs/science/latents.md.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ..atomic import write_flushed
from ..density import Crystal, Density
from ..errors import CodecError, require
from ..promolecule import Prior
from ..store.transaction import writing
from .description import AUTOENCODER, MODEL, MODEL_FORMAT, WEIGHTS, read_description, read_weights, rounding_of
from .levels import stored_levels
from .volumes import Configuration, context, from_volume, to_volume

if TYPE_CHECKING:
    from torch import Tensor

    from .network import Convolutional, Lapped, Padded

_PURPOSE = "the autoencoder codec"
_LARGEST_VALUE = 1e20  # of a decoded volume; far more than any density, and squares do not overflow


@dataclass(eq=False)
class Autoencoder:
    """A network with its weights, ready to encode and decode.

    step: of the latent's quantisation; a latent is `step` times the stored integer.
    rounding: `encode` makes multiples of so many steps: fewer bytes, and a larger error, of latents that mean the same.

    >>> model = Autoencoder.load()                          # doctest: +SKIP
    >>> latent = model.encode(density)                      # doctest: +SKIP
    >>> model.decode(latent, density.crystal, density.grid, density.n_electrons)    # doctest: +SKIP
    """

    configuration: Configuration
    network: Convolutional | Lapped
    prior: Prior | None
    step: float
    checksum: str
    description: dict[str, Any] = field(default_factory=dict)  # model.json, as it stands

    @property
    def rounding(self) -> int:
        return rounding_of(self.description)

    @property
    def identifier(self) -> str:
        """Names the model in stores and files of latents: variant and eight digits of the checksum of its weights."""
        return f"{self.configuration.name}-{self.checksum[:8]}"

    @property
    def latent_shape(self) -> tuple[int, int, int, int]:
        """(channel, z, y, x)."""
        return self.configuration.latent_shape

    @classmethod
    def load(cls, folder: str | os.PathLike[str] | None = None) -> Autoencoder:
        """Load a model.

        folder: of the model; the name of a variant that comes with the catalog; or None for the catalog's own.
        Raises `MissingExtraError` without torch, `CodecError` where there is no such model or it is of another
        format version, `ChecksumError` where the weights are not those that the model names.
        """
        torch = require("torch", "ml", _PURPOSE)
        safetensors = require("safetensors", "ml", _PURPOSE)
        tensors = require("safetensors.torch", "ml", _PURPOSE)
        from . import network

        place, description = read_description(folder)
        configuration = Configuration.from_json(description["configuration"])
        data, checksum = read_weights(place, description)
        try:
            weights = {name: value.float() for name, value in tensors.load(data).items()}
        except (safetensors.SafetensorError, KeyError, ValueError, RuntimeError) as error:
            raise CodecError(f"{place / WEIGHTS}: not a file of weights ({error}): get the model again") from None
        arrays = {n.removeprefix("prior."): weights.pop(n).numpy() for n in list(weights) if n.startswith("prior.")}
        if "numbers" in arrays:
            with np.errstate(invalid="ignore"):
                arrays["numbers"] = arrays["numbers"].astype(np.int64)
        with torch.device("meta"):  # whatever size the configuration claims: the weights are those of the file
            built = network.build(configuration)
        try:
            built.load_state_dict(weights, assign=True)
        except RuntimeError as error:
            reason = str(error).split("\n")[0]
            raise CodecError(f"{place / WEIGHTS}: does not fit the configuration in {MODEL} ({reason})") from None
        built.eval()
        prior = Prior.from_arrays(arrays) if arrays else None
        return cls(configuration, built, prior, float(description["step"]), checksum, description)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write model.json and weights.safetensors; the checksum becomes that of the file written.

        Weights are stored in half precision and rounded to it here too, so that this model and the one loaded again
        are the same.
        """
        tensors = require("safetensors.torch", "ml", _PURPOSE)
        import torch

        state = {}
        for name, value in self.network.state_dict().items():
            with torch.no_grad():
                value.copy_(value.half().to(value.dtype))
            state[name] = value.half().contiguous().clone()
        if self.prior is not None:
            state["prior.numbers"] = torch.tensor(self.prior.numbers, dtype=torch.int32)
            state["prior.coefficients"] = torch.tensor(np.asarray(self.prior.coefficients), dtype=torch.float32)
        data = tensors.save(state)
        self.checksum = hashlib.sha256(data).hexdigest()
        self.description = self.description | {
            "format": MODEL_FORMAT,
            "variant": self.configuration.name,
            "configuration": self.configuration.to_json(),
            "step": self.step,
            "weights_sha256": self.checksum,
        }
        with writing(folder, AUTOENCODER) as transaction, transaction.version() as place:
            write_flushed(place / WEIGHTS, data)
            write_flushed(place / MODEL, (json.dumps(self.description, indent=1) + "\n").encode())
        self.__dict__.pop("_padded", None)

    def encode(self, density: Density, refine: int = 0, report: Callable[[], None] = lambda: None) -> np.ndarray:
        """The latent of a density's total channel: (channel, z, y, x) int16, zero where the cell does not reach.

        refine: steps of gradient descent from the encoder's latent to a better one of the same decoder; each takes
            about as long as three decodings (`latents.refinement`, docs/science/latents.md). report: called after each.
        Raises `CodecError` if a difference density is asked for and the prior lacks all of its elements, or for a
        negative number of steps.
        """
        import torch

        if refine < 0:
            raise CodecError(f"a latent cannot be refined by {refine} steps: give 0 or more")
        volume = torch.from_numpy(to_volume(density, self.configuration, self.prior))[None, None]
        with torch.inference_mode():
            if self.configuration.boundary == "zero":
                latent = self._padded.encode(volume)
            else:
                latent = self.network.encode(volume)
        if refine:
            from .refinement import refine as refined

            step = self.step * self.rounding
            latent = refined(self.network, latent, volume, step, refine, self._context(density.crystal), report)
        return stored_levels(latent[0].numpy(), self.step, self.latent_shape, self.rounding)

    def _context(self, crystal: Crystal) -> Tensor | None:
        """What the decoder sees beside the latent, (1, 1, z, y, x): the superposition of atoms, or nothing."""
        import torch

        seen = context(crystal, self.configuration, self.prior)
        return None if seen is None else torch.from_numpy(seen)[None, None]

    def decode(
        self,
        latent: np.ndarray,
        crystal: Crystal,
        grid: tuple[int, int, int],
        n_electrons: float | None = None,
        rescale: bool = True,
        symmetric: bool = True,
    ) -> Density:
        """A density (total channel) from a latent.

        latent: (channel, z, y, x), stored integers. n_electrons: of the cell; models of difference densities need it.
        rescale: multiply the density so that it has exactly that many electrons.
        symmetric: keep of the network's output what has the crystal's symmetry. A network sees equivalent places of
            a crystal each by itself, so this takes the mean of errors that differ; a density that breaks the symmetry
            of its structure (charge order, say) loses what breaks it.
        Raises `CodecError` for a latent of the wrong shape or type, a missing electron count, or a grid too large for
        memory.
        """
        import torch

        latent = np.asarray(latent)
        if latent.shape != self.latent_shape or latent.dtype.kind not in "iu":
            raise CodecError(
                f"a latent of {self.identifier} has the shape {self.latent_shape} and whole numbers, not "
                f"{latent.shape} and {latent.dtype}: it is of another model, or not in its stored form"
            )
        z, y, x = self.configuration.volume_shape(crystal.cell)
        values = torch.from_numpy(latent.astype(np.float32) * self.step)[None]
        try:
            with torch.inference_mode():
                if self.configuration.boundary == "zero":
                    volume = self._padded.decode(values, (z, y, x))
                else:
                    factor = self.configuration.factor
                    cell = values[:, :, : z // factor, : y // factor, : x // factor]
                    volume = self.network.decode(cell, self._context(crystal))
            decoded = volume[0, 0].numpy()
            if not (np.abs(decoded) < _LARGEST_VALUE).all():
                raise CodecError("the latent decodes to something that is no density: it or its model is damaged")
            total = from_volume(decoded, self.configuration, self.prior, crystal, grid, n_electrons, symmetric)
        except MemoryError:
            raise CodecError(f"a grid of {' x '.join(map(str, grid))} points does not fit into memory") from None
        if rescale and n_electrons is not None:
            count = total.mean() * crystal.volume
            if not count > 0:
                raise CodecError(f"the latent decodes to {count:.3g} electrons: it is of another structure or damaged")
            total *= n_electrons / count
        return Density(crystal, {"total": total.astype(np.float32)})

    def padded_volume(self, latent: np.ndarray) -> np.ndarray:
        """The whole volume that a model with zero padding decodes: (z, y, x) in e/Å^3, or in e/Å^3 less the atoms."""
        import torch

        values = torch.from_numpy(latent.astype(np.float32) * self.step)[None]
        side = self.configuration.most
        return self._padded.decode(values, (side,) * 3, whole=True)[0, 0].numpy() * self.configuration.scale

    @cached_property
    def _padded(self) -> Padded:
        from .network import Convolutional, Padded

        if not isinstance(self.network, Convolutional) or self.configuration.boundary != "zero":
            raise CodecError(f"the autoencoder {self.configuration.name} does not pad its volumes")
        return Padded(self.network)
