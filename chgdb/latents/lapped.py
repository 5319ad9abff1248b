"""Encoding with the catalog's own autoencoder in numpy alone: importing torch takes longer than everything else.

The same as `Autoencoder.encode` for networks of the kind `lapped`, up to the last bits of float32: a value that lies on
the edge between two whole numbers can be rounded to the other one.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..density import Density
from ..errors import CodecError, fitting, require
from ..promolecule import Prior
from .description import MODEL, WEIGHTS, read_description, read_weights, rounding_of
from .levels import stored_levels
from .volumes import Configuration, to_volume


@dataclass(frozen=True, eq=False)
class LappedEncoder:
    """The encoding half of an autoencoder; `identifier` is that of `Autoencoder`."""

    configuration: Configuration
    weights: Mapping[str, np.ndarray]
    prior: Prior | None
    step: float
    identifier: str
    rounding: int = 1

    @classmethod
    def load(cls, folder: str | os.PathLike[str] | None = None) -> LappedEncoder | None:
        """The encoder of a folder, a variant's name, or the catalog's own; None where its network is of another kind.

        Raises `CodecError` if there is no such model, `ChecksumError` if the weights are not its own.
        """
        tensors = require("safetensors.numpy", "ml", "the autoencoder codec")
        place, description = read_description(folder)
        configuration = Configuration.from_json(description["configuration"])
        if configuration.network != "lapped" or configuration.boundary != "periodic":
            return None
        data, checksum = read_weights(place, description)
        with fitting(place / WEIGHTS, CodecError):
            arrays = tensors.load(data)
        names = ("analysis.weight", "into.weight", "out.weight")
        if not set(names) <= set(arrays):
            raise CodecError(f"{place / WEIGHTS}: does not fit the configuration in {MODEL}")
        weights = {name: value.astype(np.float32) for name, value in arrays.items() if not name.startswith("prior.")}
        parts = {name.removeprefix("prior."): arrays[name] for name in arrays if name.startswith("prior.")}
        if parts:
            parts["numbers"] = parts["numbers"].astype(np.int64)
        prior = Prior.from_arrays(parts) if parts else None
        identifier = f"{configuration.name}-{checksum[:8]}"
        return cls(configuration, weights, prior, float(description["step"]), identifier, rounding_of(description))

    def encode(self, density: Density) -> np.ndarray:
        """The latent of a density's total channel: (channel, z, y, x) int16; see `Autoencoder.encode`."""
        with fitting(self.identifier, CodecError):
            return self._encode(density)

    def _encode(self, density: Density) -> np.ndarray:
        phases = _phases(to_volume(density, self.configuration, self.prior), self.configuration.factor)
        hidden = self._convolved(phases, "into")
        for block in range(self.configuration.widths[1] - 1):
            inner = self._convolved(_gelu(hidden), f"down.{block}.first")
            hidden = hidden + self._convolved(_gelu(inner), f"down.{block}.second")
        correction = self._convolved(_gelu(hidden), "out")
        latent = self._convolved(phases, "analysis") + correction
        return stored_levels(latent, self.step, self.configuration.latent_shape, self.rounding)

    def _convolved(self, values: np.ndarray, name: str) -> np.ndarray:
        """A layer's circular convolution, 3 x 3 x 3 or 1 x 1 x 1: (channels, z, y, x) -> (others, z, y, x)."""
        weight, bias = self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias")
        side, reach = weight.shape[2], weight.shape[2] // 2
        padded = np.pad(values, [(0, 0), *[(reach, reach)] * 3], mode="wrap") if reach else values
        result = weight.reshape(len(weight), -1) @ neighbours(padded, side)
        if bias is not None:
            result += bias[:, None]
        return result.reshape(-1, *values.shape[1:])


def neighbours(padded: np.ndarray, side: int, scale: int = 1) -> np.ndarray:
    """What a convolution of a dilation `scale` sees at each place: (channels, z, y, x) -> (channels * side^3, places).

    One large product of matrices then does all the work, where many small ones would wait for threads.
    """
    reach = scale * (side - 1) + 1
    seen = np.lib.stride_tricks.sliding_window_view(padded, (reach,) * 3, axis=(1, 2, 3))
    seen = seen[..., ::scale, ::scale, ::scale].transpose(0, 4, 5, 6, 1, 2, 3)
    return np.ascontiguousarray(seen).reshape(len(padded) * side**3, -1)


def _phases(volume: np.ndarray, factor: int) -> np.ndarray:
    """(f z, f y, f x) -> (f^3, z, y, x)."""
    z, y, x = (n // factor for n in volume.shape)
    parts = volume.reshape(z, factor, y, factor, x, factor)
    return np.ascontiguousarray(parts.transpose(1, 3, 5, 0, 2, 4).reshape(factor**3, z, y, x))


#: Importing scipy.special takes ten times as long as this does for a usual cell.
_erf = np.frompyfunc(math.erf, 1, 1)


def _gelu(values: np.ndarray) -> np.ndarray:
    return 0.5 * values * (1 + np.asarray(_erf(values * np.float32(0.5**0.5)), np.float32))
