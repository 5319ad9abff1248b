"""Latents as they are stored: whole numbers of steps."""

from __future__ import annotations

import numpy as np

from ..errors import CodecError

#: Largest magnitude of a stored integer; larger ones are cut off.
LARGEST = 4095


def stored_levels(latent: np.ndarray, step: float, shape: tuple[int, int, int, int], rounding: int = 1) -> np.ndarray:
    """A latent (channel, z, y, x) as stored: in steps, multiples of `rounding`, int16, zero where it does not reach."""
    if not np.isfinite(latent).all():
        raise CodecError("the autoencoder makes something that is no finite number: its weights are damaged")
    most = LARGEST // rounding
    levels = np.clip(np.rint(latent / (step * rounding)), -most, most).astype(np.int16) * np.int16(rounding)
    whole = np.zeros(shape, np.int16)
    whole[:, : levels.shape[1], : levels.shape[2], : levels.shape[3]] = levels
    return whole
