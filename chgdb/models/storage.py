"""Weights on disk: a folder with `model.json` and the files that it lists, each with its checksum. Never pickle."""

from __future__ import annotations

import json
import lzma
from collections.abc import Callable, Mapping
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ChecksumError
from ..limits import unxz
from ..store.head import KEY
from ..store.transaction import Kind
from . import ModelError

DESCRIPTION = "model.json"
#: Version of the folder, and the only one that is read. 1 had gzip for xz, and was never in a release.
FORMAT_VERSION = 2
#: Packages whose version can change what training gives.
LIBRARIES = ("numpy", "scipy", "lightgbm", "scikit-learn", "optuna", "torch", "safetensors", "spglib")


def library_versions() -> dict[str, str]:
    """Installed versions of `LIBRARIES`."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue  # not an input of what was trained, then
    return found


def data_checksum(ids: tuple[str, ...], arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256, in hex, over ids and arrays (inputs, targets) in the order of their names, values as float32."""
    digest = sha256("\n".join(ids).encode())
    for name in sorted(arrays):
        digest.update(name.encode() + np.ascontiguousarray(arrays[name], "<f4").tobytes())
    return digest.hexdigest()


def seal(folder: Path, description: Mapping[str, Any]) -> str:
    """Write `model.json`: the description, and size and SHA-256 of every other file. Returns the identifier.

    The identifier is the description's `name`, a hyphen and the first 8 hex digits of the SHA-256 over the files.
    """
    files, digest = {}, sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != DESCRIPTION):
        key, data = path.relative_to(folder).as_posix(), path.read_bytes()
        files[key] = {"bytes": len(data), "sha256": sha256(data).hexdigest()}
        digest.update(key.encode() + sha256(data).digest())
    digest.update(json.dumps(description.get("calibration"), sort_keys=True).encode())
    identifier = f"{description['name']}-{digest.hexdigest()[:8]}"
    content = {"format": FORMAT_VERSION, "identifier": identifier, **description, "files": files}
    (folder / DESCRIPTION).write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return identifier


def write_packed(path: Path, data: bytes) -> None:
    """Bytes, compressed by xz (name it so); the same file for the same bytes."""
    path.write_bytes(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME))


def read_packed(path: Path) -> bytes:
    """Inverse of `write_packed`. Raises `ChecksumError` if the file is damaged."""
    try:
        return unxz(path.read_bytes())
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from None


def write_json(path: Path, content: Any) -> None:
    """JSON, compressed by xz; the same bytes for the same content."""
    write_packed(path, json.dumps(content, allow_nan=False).encode())


def read_json(path: Path) -> Any:
    """Inverse of `write_json`. Raises `ChecksumError` if the file is damaged."""
    try:
        return json.loads(read_packed(path))
    except (ValueError, RecursionError) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> ChecksumError:
    return ChecksumError(f"{path} cannot be read ({error}); get a fresh copy of the model")


def read_description(folder: Path) -> dict[str, Any]:
    """`model.json` alone, without the weights. Raises `ModelError` if it is missing or of a later format."""
    path = folder / DESCRIPTION
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(
            f"{folder}: no model is stored there (it has no {DESCRIPTION}); train one with chgdb train properties"
        ) from None
    except (ValueError, RecursionError) as error:
        raise ChecksumError(f"{path} is damaged ({error}); get a fresh copy of the model") from None
    if not isinstance(description, dict) or type(description.get("format")) is not int:
        raise ModelError(f"{path} describes no property model")
    if description["format"] > FORMAT_VERSION:
        raise ModelError(
            f"{path}: model format {description['format']}, but this chgdb reads up to {FORMAT_VERSION}: "
            "run pip install --upgrade chgdb"
        )
    if description["format"] < FORMAT_VERSION:
        raise ModelError(
            f"{path}: model format {description['format']}, which was never released; train it again with "
            "chgdb train properties"
        )
    return description


def check(folder: Path, description: Mapping[str, Any]) -> None:
    """Compare every file of a model with its checksum. Raises `ChecksumError` naming the first that differs."""
    for key, expected in description["files"].items():
        if not KEY.fullmatch(key.encode()):
            raise ModelError(f"{folder / DESCRIPTION} names {key[:80]!r}, which is no file of a model")
        path = folder / key
        data = path.read_bytes() if path.is_file() else b""
        if len(data) != expected["bytes"] or sha256(data).hexdigest() != expected["sha256"]:
            raise ChecksumError(f"{path} does not match its checksum in {DESCRIPTION}; get a fresh copy of the model")


def _description(folder: Path) -> dict[str, Any]:
    """The description of a model, as far as there is one."""
    try:
        found = json.loads((folder / DESCRIPTION).read_bytes())
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) and type(found.get("format")) is int else {}


def _parts(folder: Path) -> Callable[[str], bool]:
    files = _description(folder).get("files")
    keys = {DESCRIPTION, *(files if isinstance(files, dict) else ())}
    return lambda key: key in keys


#: A folder of a property model, as what may be replaced.
MODEL = Kind("a property model", lambda folder: "identifier" in _description(folder), _parts)
