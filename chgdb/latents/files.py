"""One latent in a file of its own: .npy, the numbers alone, or .zarr, with all that decoding it takes.

The .zarr is a group that `xarray.open_zarr` opens:

    latent (latent_channel, z, y, x) int16   scale_factor, add_offset and the model's attributes, as in a store
    cell (vector, cartesian), positions (atom, vector), numbers (atom)
    attributes: chgdb_latent 1, formula, grid, n_electrons, nmae, spacing
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..codecs.frame import MAX_GRID_POINTS
from ..density import Crystal, Density
from ..errors import ChgdbError, CodecError, FormatError, StoreError
from ..formats.npz import parse_npy
from ..store.arrays import array_info, decode_chunk
from ..store.files import FolderFiles, need_assertions
from ..store.latents import DIMENSIONS, MISSING, MODEL_ATTRIBUTES, OFFSET, ORDER, StoredLatents
from ..store.transaction import Kind, root_attributes, writing
from .stores import Coded, attributes_of, check_same

if TYPE_CHECKING:
    from .autoencoder import Autoencoder

#: Version of the .zarr layout.
VERSION = 1
#: A value of a .npy may be so far from a whole number of steps, in steps; float32 rounds the largest values by that.
_ROUNDING = 0.01


def _parts(folder: Path) -> Callable[[str], bool]:
    return lambda key: key == "zarr.json" or key.split("/")[0] in ("latent", "cell", "positions", "numbers")


#: A .zarr of one latent, as what may be replaced.
LATENT = Kind("a latent", lambda folder: type(root_attributes(folder).get("chgdb_latent")) is int, _parts)


@dataclass(frozen=True)
class LatentFile:
    """The content of a file of a latent; a .npy holds `values` only.

    values: (channel, z, y, x), integers of the model or floats. facts: of the model that made it.
    n_electrons: of the cell. nmae: of the decoded density, measured when it was encoded.
    """

    path: str
    values: np.ndarray
    facts: dict[str, Any] = field(default_factory=dict)
    crystal: Crystal | None = None
    grid: tuple[int, int, int] | None = None
    n_electrons: float | None = None
    nmae: float | None = None

    def integers(self, model: Autoencoder, round_values: bool = False) -> np.ndarray:
        """The latent as this model decodes it, int32.

        round_values: take floats that are no whole numbers of steps (made by something else than an encoder) as the
            nearest ones.
        Raises `CodecError` if another model made it, its shape is another, or it is not in steps of this model.
        """
        if self.facts:
            check_same(model, self.facts, self.path)
        if self.values.shape != model.latent_shape or self.values.dtype.kind not in "iuf":
            raise CodecError(
                f"{self.path} holds {self.values.dtype} of the shape {self.values.shape}; a latent of "
                f"{model.identifier} has the shape {model.latent_shape}"
            )
        if self.values.dtype.kind != "f":
            return _in_range(self.values, self.path)
        if not np.isfinite(self.values).all():
            raise CodecError(f"{self.path} holds a number that is not finite")
        steps = self.values.astype(float) / model.step
        away = np.abs(steps - np.rint(steps)).max(initial=0.0)
        if away > _ROUNDING and not round_values:
            raise CodecError(
                f"{self.path} is not in steps of {model.step:g}, those of {model.identifier}: another model made it; "
                "name that model, or round it to this one's steps with --round"
            )
        return _in_range(np.rint(steps), self.path)


def _in_range(values: np.ndarray, path: str) -> np.ndarray:
    largest = np.iinfo(np.int16).max
    if values.size and max(values.max(), -values.min()) > largest:
        raise CodecError(f"{path} holds a number beyond {largest} steps: it is no latent of this model")
    return values.astype(np.int32)


def write(
    path: str | os.PathLike[str], coded: Coded, model: Autoencoder, density: Density, *, replace: bool = True
) -> None:
    """Write a latent to a .npy or .zarr; it appears only when complete, in the place of the latent that was there.

    replace: whether a .zarr that is there already may be replaced.
    Raises `FormatError` for another name, or where a .npy cannot be written, `StoreError` where a .zarr cannot, or
    there is something else than a latent.
    """
    target = Path(path)
    if target.suffix == ".npy":
        from ..formats.streams import open_writer

        with open_writer(target) as stream:
            np.save(stream, coded.integers * np.float32(model.step), allow_pickle=False)
    elif target.suffix == ".zarr":
        with writing(target, LATENT) as transaction:
            if transaction.exists and not replace:
                raise StoreError(f"{target} exists already")
            with transaction.version() as folder:
                _write_group(folder, coded, model, density)
    else:
        raise FormatError(f"{target}: a latent is written to a name that ends in .npy or .zarr")


def _write_group(folder: Path, coded: Coded, model: Autoencoder, density: Density) -> None:
    need_assertions()
    import zarr
    from zarr.codecs import BloscCodec, Crc32cCodec, TransposeCodec

    crystal = density.crystal
    attributes = {
        "chgdb_latent": VERSION,
        "formula": crystal.formula,
        "grid": list(density.grid),
        "n_electrons": density.n_electrons,
        "nmae": coded.nmae,
        "spacing": coded.spacing,
    }
    with warnings.catch_warnings():
        # Consolidated metadata is not in the Zarr v3 specification yet; every reader may ignore it.
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
        root = zarr.create_group(Path(folder), zarr_format=3, attributes=attributes)
        array = root.create_array(
            "latent", shape=coded.integers.shape, dtype=np.int16, chunks=coded.integers.shape, fill_value=MISSING,
            filters=[TransposeCodec(order=[axis - 1 for axis in ORDER[1:]])],
            compressors=[BloscCodec(typesize=2, cname="zstd", clevel=9, shuffle="shuffle"), Crc32cCodec()],
            dimension_names=list(DIMENSIONS[1:]),
            attributes=StoredLatents(model.latent_shape, float(model.step), attributes_of(model)).all_attributes,
        )  # fmt: skip
        array[...] = (coded.integers.astype(np.int32) + OFFSET).astype(np.int16)
        for name, values, dimensions, units in (
            ("cell", crystal.cell, ["vector", "cartesian"], "angstrom"),
            ("positions", crystal.positions, ["atom", "vector"], "1"),
            ("numbers", crystal.numbers.astype(np.int16), ["atom"], "1"),
        ):
            array = root.create_array(
                name, shape=values.shape, dtype=values.dtype, chunks=tuple(max(1, n) for n in values.shape),
                compressors=[Crc32cCodec()], dimension_names=dimensions, attributes={"units": units},
                fill_value=0,
            )  # fmt: skip
            array[...] = values
        zarr.consolidate_metadata(Path(folder))


def read(path: str | os.PathLike[str]) -> LatentFile:
    """The content of a .npy or .zarr. Raises `FormatError` if it is not a latent, or damaged."""
    name = os.fspath(path)
    if not os.path.exists(name):
        raise FormatError(f"{name}: there is no such file")
    if os.path.isdir(name):
        return _read_group(name)
    try:
        data = Path(name).read_bytes()
        if data.startswith(b"PK"):
            raise FormatError(f"{name}: holds several arrays (.npz); expected one, in a .npy")
        return LatentFile(name, parse_npy(data))
    except FormatError:
        raise
    except (ValueError, OSError) as error:
        raise FormatError(f"{name}: not an array of numbers in numpy's .npy ({error})") from None


def _read_group(name: str) -> LatentFile:
    """Read a .zarr without zarr, which would trust any size that the metadata claim."""
    files = FolderFiles(name)
    try:
        facts: dict[str, Any] = json.loads(files.read("zarr.json"))["attributes"]
        if "chgdb_format" in facts:
            raise FormatError(f"{name}: a store of materials: chgdb fetch ID --catalog {name} --decode decodes one")
        version = facts.get("chgdb_latent")
        if version != VERSION:
            reason = "not a latent"
            if isinstance(version, int) and version > VERSION:
                reason = f"latent format {version}, but this chgdb reads up to format {VERSION}: "
                reason += "run pip install --upgrade chgdb"
            raise FormatError(f"{name}: {reason}")
        stored, attributes = _array(files, "latent")
        if stored.dtype.kind not in "iu":
            raise ValueError(f"the latent is of {stored.dtype}")
        nx, ny, nz = (int(n) for n in facts["grid"])
        if min(nx, ny, nz) < 1 or nx * ny * nz > MAX_GRID_POINTS:
            raise ValueError(f"it claims a grid of {nx} x {ny} x {nz} points")
        crystal = Crystal(*(_array(files, part)[0] for part in ("cell", "positions", "numbers")))
        return LatentFile(
            name,
            stored.astype(np.int32) - OFFSET,
            {key: attributes[key] for key in MODEL_ATTRIBUTES},
            crystal,
            (nx, ny, nz),
            float(facts["n_electrons"]),
            float(facts["nmae"]),
        )
    except FormatError:
        raise
    except KeyError as error:
        raise FormatError(f"{name}: not a latent, or damaged (it has no {error})") from None
    except (
        ChgdbError,
        OSError,
        TypeError,
        ValueError,
        IndexError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        raise FormatError(f"{name}: not a latent, or damaged ({' '.join(str(error).split())[:200]})") from None


def _array(files: FolderFiles, name: str) -> tuple[np.ndarray, Mapping[str, Any]]:
    """Values of an array in one chunk, and its attributes. Raises `KeyError` if it is missing."""
    info = array_info(name, json.loads(files.read(f"{name}/zarr.json")))
    if info.dtype is None or info.n_chunks > 1:
        raise ValueError(f"{name} is text, or in several chunks")
    if not info.n_chunks:
        return info.filled(0), info.attributes
    values = decode_chunk(files.read(info.key(0)), info)[: info.shape[0]]
    orders = [codec["configuration"]["order"] for codec in info.codecs if codec["name"] == "transpose"]
    for order in orders:
        if sorted(order) != list(range(values.ndim)):
            raise ValueError(f"{name} has axes in the order {order}")
        values = values.reshape([info.shape[axis] for axis in order]).transpose(np.argsort(order))
    return values, info.attributes
