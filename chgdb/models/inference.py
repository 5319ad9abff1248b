"""Networks of `networks` applied with numpy alone: importing torch takes longer than everything else of a prediction.

`Settings` says what a network looks like, to both; `shapes` what its weights must be. One crystal at a time, cropped to
its cell, so that no mask is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..latents.lapped import neighbours


@dataclass(frozen=True)
class Settings:
    """Shape and training of a network.

    width: channels. blocks: residual blocks. attention: channel and spatial attention after each block.
    scales: dilations of the parallel convolutions of a block; (1,) is an ordinary block.
    patch: places along each edge that the first layer takes together.
    squash: values are bent by arcsinh(value / squash) first; None leaves them as they are.
    composition: width of the MLP for MAGPIE features beside the convolutions, 0 without.
    hidden: width of the head's layer. epochs, batch, rate: of training with AdamW and a one-cycle schedule; `patience`
        epochs without a better validation error stop it.
    """

    width: int = 32
    blocks: int = 3
    attention: bool = False
    scales: tuple[int, ...] = (1,)
    patch: int = 2
    squash: float | None = None
    composition: int = 0
    hidden: int = 128
    epochs: int = 40
    patience: int = 15
    batch: int = 32
    rate: float = 3e-3
    decay: float = 1e-2
    dropout: float = 0.1

    def small(self) -> int:
        """Width of the hidden layer of channel attention."""
        return max(4, self.width // 4)


def shapes(channels: int, features: int, outputs: int, settings: Settings) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every weight of a network."""
    width, cube = settings.width, (3, 3, 3)
    found: dict[str, tuple[int, ...]] = {"stem.weight": (width, channels, *[settings.patch] * 3)}

    def linear(name: str, inside: int, outside: int) -> None:
        found[f"{name}.weight"], found[f"{name}.bias"] = (outside, inside), (outside,)

    def norm(name: str) -> None:
        found.update({f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")})

    norm("norm")
    for i in range(settings.blocks):
        found.update({f"blocks.{i}.first.{k}.weight": (width, width, *cube) for k in range(len(settings.scales))})
        norm(f"blocks.{i}.norm")
        found[f"blocks.{i}.second.weight"] = (width, width, *cube)
        norm(f"blocks.{i}.second_norm")
        if settings.attention:
            linear(f"blocks.{i}.attention.channel.0", width, settings.small())
            linear(f"blocks.{i}.attention.channel.2", settings.small(), width)
            found[f"blocks.{i}.attention.place.weight"] = (1, 2, *cube)
            found[f"blocks.{i}.attention.place.bias"] = (1,)
    if settings.composition:
        linear("composition.0", features, settings.composition)
        linear("composition.3", settings.composition, settings.composition)
    linear("head.0", 2 * width + settings.composition, settings.hidden)
    linear("head.3", settings.hidden, outputs)
    return found


class Applied:
    """A trained network: name -> array of `shapes`, its settings, and how to apply it."""

    def __init__(self, weights: Mapping[str, np.ndarray], settings: Settings) -> None:
        self.weights = {name: values.astype(np.float32) for name, values in weights.items()}
        self.settings = settings

    def infer(self, latents: Sequence[np.ndarray], features: np.ndarray) -> np.ndarray:
        """(n, outputs); the mean over views where rows have several. See `networks.infer`."""
        rows = []
        for latent, known in zip(latents, features, strict=True):
            views = latent if latent.ndim == 5 else latent[None]
            rows.append(np.mean([self(view.astype(np.float32), known) for view in views], axis=0))
        return np.stack(rows)

    def __call__(self, values: np.ndarray, features: np.ndarray) -> np.ndarray:
        """(channels, z, y, x) without zeros beyond the cell, (k,) -> (outputs,)."""
        settings = self.settings
        if settings.squash is not None:
            values = np.arcsinh(values / np.float32(settings.squash))
        values = _silu(self._norm(self._stem(values), "norm"))
        for i in range(settings.blocks):
            values = self._block(values, f"blocks.{i}")
        pooled = [values.mean(axis=(1, 2, 3)), values.max(axis=(1, 2, 3))]
        if settings.composition:
            hidden = _silu(self._linear(features, "composition.0"))
            pooled.append(_silu(self._linear(hidden, "composition.3")))
        return self._linear(_silu(self._linear(np.concatenate(pooled), "head.0")), "head.3")

    def _stem(self, values: np.ndarray) -> np.ndarray:
        patch, weight = self.settings.patch, self.weights["stem.weight"]
        values = np.pad(values, [(0, 0), *((0, -n % patch) for n in values.shape[1:])])
        channels, z, y, x = values.shape
        parts = values.reshape(channels, z // patch, patch, y // patch, patch, x // patch, patch)
        columns = parts.transpose(0, 2, 4, 6, 1, 3, 5).reshape(channels * patch**3, -1)
        return (weight.reshape(len(weight), -1) @ columns).reshape(-1, z // patch, y // patch, x // patch)

    def _block(self, values: np.ndarray, name: str) -> np.ndarray:
        inner = np.zeros_like(values)
        for k, scale in enumerate(self.settings.scales):
            inner += self._convolved(values, f"{name}.first.{k}", scale)
        inner = _silu(self._norm(inner, f"{name}.norm"))
        inner = self._norm(self._convolved(inner, f"{name}.second"), f"{name}.second_norm")
        if self.settings.attention:
            channel = f"{name}.attention.channel"
            average, most = (
                self._linear(_silu(self._linear(seen, f"{channel}.0")), f"{channel}.2")
                for seen in (inner.mean(axis=(1, 2, 3)), inner.max(axis=(1, 2, 3)))
            )
            inner = inner * _sigmoid(average + most)[:, None, None, None]
            seen = np.stack([inner.mean(axis=0), inner.max(axis=0)])
            inner = inner * _sigmoid(self._convolved(seen, f"{name}.attention.place"))
        return _silu(values + inner)

    def _convolved(self, values: np.ndarray, name: str, scale: int = 1) -> np.ndarray:
        """3 x 3 x 3 convolution of a dilation, zero at the edges."""
        weight, bias = self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias")
        padded = np.pad(values, [(0, 0), *[(scale, scale)] * 3])
        result = weight.reshape(len(weight), -1) @ neighbours(padded, 3, scale)
        if bias is not None:
            result += bias[:, None]
        return result.reshape(-1, *values.shape[1:])

    def _norm(self, values: np.ndarray, name: str) -> np.ndarray:
        weight, bias, mean, variance = (
            self.weights[f"{name}.{part}"][:, None, None, None]
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        return (values - mean) / np.sqrt(variance + np.float32(1e-5)) * weight + bias

    def _linear(self, values: np.ndarray, name: str) -> np.ndarray:
        return self.weights[f"{name}.weight"] @ values + self.weights[f"{name}.bias"]


def crop(latents: np.ndarray) -> list[np.ndarray]:
    """Each latent (channel, z, y, x) without the zeros beyond its cell, float32."""
    cropped = []
    for latent in latents:
        filled = latent.any(axis=0)
        ends = []
        for axis in range(3):
            used = np.flatnonzero(filled.any(axis=tuple(a for a in range(3) if a != axis)))
            ends.append(int(used[-1]) + 1 if used.size else 1)
        cropped.append(latent[:, : ends[0], : ends[1], : ends[2]].astype(np.float32))
    return cropped


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * values))


def _silu(values: np.ndarray) -> np.ndarray:
    return values * _sigmoid(values)
