"""The autoencoder of densities and its latents: volumes, networks, training, and the latents of whole stores.

The names below are the public ones; they resolve on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..moved import renamed

if TYPE_CHECKING:
    from .stores import Coded, LatentReport, add_latents, decode, decode_record, encode, load_model

__all__ = ["Coded", "LatentReport", "add_latents", "decode", "decode_record", "encode", "load_model"]


def __getattr__(name: str) -> Any:
    if name == "compute":
        return renamed(__name__, name, "add_latents")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(".stores", __name__), name)
