"""A trained autoencoder on disk, without its network.

model.json            variant, configuration, step of the latent, checksum of the weights, how it was trained
weights.safetensors   the network, and the form factors of its prior
split.json, log.jsonl which materials trained it, and the losses
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from ..errors import ChecksumError, CodecError
from ..plugins import models_folder
from ..store.transaction import Kind
from .volumes import DEFAULT

#: Version of the model's files and of what a latent means; a model of another version is refused.
MODEL_FORMAT = 1
MODEL, WEIGHTS = "model.json", "weights.safetensors"
_MOST_ROUNDING = 1000


def _is_one(folder: Path) -> bool:
    """Whether a folder is of an autoencoder, trained or in training."""
    for name, entry in ((MODEL, "weights_sha256"), ("checkpoint.json", "mark"), ("split.json", "rule")):
        try:
            description = json.loads((folder / name).read_bytes())
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError, RecursionError):
            continue
        if isinstance(description, dict) and entry in description:
            return True
    return False


#: The folder of an autoencoder, as what may be replaced; what its training has written there stays.
AUTOENCODER = Kind("an autoencoder", _is_one, lambda folder: lambda key: key in (MODEL, WEIGHTS))


def rounding_of(description: dict[str, Any]) -> int:
    """The number of steps of which a model's latents are multiples; early descriptions do not say it."""
    return description.get("rounding", 1)


def read_weights(place: Path, description: dict[str, Any]) -> tuple[bytes, str]:
    """weights.safetensors and its checksum. Raises `ChecksumError` if they are not those that model.json names."""
    path = place / WEIGHTS
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CodecError(f"{path}: cannot be read ({error.strerror}): get the model again") from None
    checksum = hashlib.sha256(data).hexdigest()
    if checksum != description["weights_sha256"]:
        raise ChecksumError(f"{path}: not the weights that {MODEL} names: get the model again")
    return data, checksum


def read_description(folder: str | os.PathLike[str] | None = None) -> tuple[Path, dict[str, Any]]:
    """(folder, model.json) of a model, given as in `Autoencoder.load`. Raises `CodecError` as it does."""
    place = _place(folder)
    return place, _description(place)


def _place(folder: str | os.PathLike[str] | None) -> Path:
    """Folder of a model by its path, by a variant's name, or the catalog's own."""
    if folder is not None and (Path(folder) / MODEL).exists():
        return Path(folder)
    name = DEFAULT if folder is None else os.fspath(folder)
    place = models_folder("autoencoder") / name
    if os.sep in name or not (place / MODEL).exists():
        there = sorted(path.parent.name for path in models_folder("autoencoder").glob(f"*/{MODEL}"))
        raise CodecError(f"{name}: no autoencoder here ({MODEL}), nor in the catalog, which has {', '.join(there)}")
    return place


def _description(place: Path) -> dict[str, Any]:
    path = place / MODEL
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        version = description["format"]
    except (ValueError, KeyError, TypeError, RecursionError, OSError):
        raise CodecError(f"{path}: not the description of an autoencoder: get the model again") from None
    if version != MODEL_FORMAT:
        raise CodecError(
            f"{path}: a model of format {version}, this version of chgdb reads {MODEL_FORMAT}: install the "
            f"{'newer' if isinstance(version, int) and version > MODEL_FORMAT else 'matching'} chgdb"
        )
    missing = {"configuration", "step", "weights_sha256"} - set(description)
    rounding = rounding_of(description)
    whole = isinstance(rounding, int) and 1 <= rounding <= _MOST_ROUNDING
    if (
        missing
        or not isinstance(description["step"], int | float)
        or not 1e-9 <= description["step"] <= 1e9
        or not whole
    ):
        raise CodecError(f"{path}: the description of the autoencoder is damaged: get the model again")
    return description
