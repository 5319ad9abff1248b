"""Zarr metadata of a store's arrays, checked against the limits of chgdb's own stores, and the decoding of their
chunks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from ..limits import MAX_ARRAY_BYTES, MAX_CHUNK_BYTES, MAX_CHUNKS, MAX_MATERIALS
from .head import KEY, crc32c

_DTYPES = frozenset(
    ["bool", "float32", "float64", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))]
)
#: Arrays that are never read as a whole: only the number of their chunks is limited.
_IN_PIECES = ("payload", "latent")


@dataclass(frozen=True)
class ArrayInfo:
    """Zarr metadata of one array, as far as chgdb uses it."""

    name: str
    shape: tuple[int, ...]
    chunk_rows: int
    dtype: np.dtype | None  # None for text
    codecs: tuple[Mapping[str, Any], ...]
    fill_value: np.ndarray  # of no dimension
    dimensions: tuple[str, ...]
    attributes: Mapping[str, Any]

    def key(self, chunk: int) -> str:
        return "/".join([self.name, "c", str(chunk), *("0" for _ in self.shape[1:])])

    @property
    def n_chunks(self) -> int:
        return -(-self.shape[0] // self.chunk_rows)

    @property
    def row_bytes(self) -> int:
        """Bytes of a row; for text the size of a reference."""
        return (8 if self.dtype is None else self.dtype.itemsize) * prod(self.shape[1:])

    def filled(self, rows: int) -> np.ndarray:
        """Rows of the fill value, which take no memory."""
        return np.broadcast_to(self.fill_value, (rows, *self.shape[1:]))


def array_info(name: str, metadata: Mapping[str, Any]) -> ArrayInfo:
    """Raises `ValueError`, `TypeError`, `KeyError`, `IndexError`, `AttributeError` or `OverflowError` for metadata that
    are not those of an array of a store."""
    if not KEY.fullmatch(name.encode("utf-8", "replace")):
        raise ValueError(f"array name {name[:80]!r}")
    kind = metadata["data_type"]
    if kind != "string" and kind not in _DTYPES:
        raise ValueError(f"{name} has the data type {kind!r}")
    shape = tuple(int(n) for n in metadata["shape"])
    chunks = [int(n) for n in metadata["chunk_grid"]["configuration"]["chunk_shape"]]
    if len(chunks) != len(shape) or chunks[0] < 1 or min(shape) < 0 or tuple(chunks[1:]) != shape[1:]:
        raise ValueError(f"{name} has chunks of the shape {chunks} for {shape}")
    dtype = None if kind == "string" else np.dtype(kind).newbyteorder("<")
    codecs = tuple(metadata["codecs"])
    if not all(isinstance(codec["name"], str) for codec in codecs):
        raise ValueError(f"{name} has a codec without a name")
    attributes, dimensions = metadata.get("attributes", {}), tuple(metadata.get("dimension_names") or ())
    if not isinstance(attributes, Mapping) or not all(isinstance(dimension, str) for dimension in dimensions):
        raise ValueError(f"{name} has attributes or dimensions of another kind")
    fill_value = metadata["fill_value"]
    if dtype is None and not isinstance(fill_value, str):
        raise ValueError(f"{name} has the fill value {fill_value!r}")
    fill = np.array(fill_value, object if dtype is None else dtype)
    info = ArrayInfo(name, shape, chunks[0], dtype, codecs, fill, dimensions, attributes)
    # The most that a few bytes of metadata may claim (docs/science/trust.md).
    most = MAX_CHUNKS * MAX_CHUNK_BYTES if name in _IN_PIECES else MAX_ARRAY_BYTES
    large = info.n_chunks > MAX_CHUNKS or chunks[0] * info.row_bytes > MAX_CHUNK_BYTES
    if fill.ndim or large or shape[0] * info.row_bytes > most:
        raise ValueError(f"{name} claims the shape {shape} in chunks of {chunks}, beyond what a store may have")
    return info


def check_columns(arrays: Mapping[str, ArrayInfo]) -> int:
    """Number of materials. Raises `ValueError` if a column that every store has is missing or is of another type,
    or any column has another number of rows."""
    from .format import COLUMNS

    n_materials = arrays["material_id"].shape[0] if "material_id" in arrays else 0
    expected = {name: (kind.dtype, *(size for _, size in kind.dimensions)) for name, kind in COLUMNS.items()}
    expected |= {"atom_number": ("uint8",), "atom_position": ("float64", 3), "payload": ("uint8",)}
    expected |= {name: ("uint8", size) for name, size in (("index/lookup", 24), ("index/facts", 32)) if name in arrays}
    for name, (kind, *trailing) in expected.items():
        info = arrays.get(name)
        if info is None:
            raise ValueError(f"it has no array {name}")
        found = "string" if info.dtype is None else info.dtype.name
        if found != kind or info.shape[1:] != tuple(trailing):
            raise ValueError(f"{name} is {found} of the shape {info.shape}")
    if n_materials > MAX_MATERIALS:
        raise ValueError(f"it claims {n_materials} materials, more than {MAX_MATERIALS}")
    if arrays["atom_number"].shape[0] != arrays["atom_position"].shape[0]:
        raise ValueError("atom_number and atom_position have different lengths")
    for name, info in arrays.items():
        if (name in COLUMNS or info.dimensions[:1] == ("material",)) and info.shape[0] != n_materials:
            raise ValueError(f"{name} has {info.shape[0]} rows for {n_materials} materials")
    return n_materials


def decode_chunk(data: bytes, info: ArrayInfo) -> np.ndarray:
    """Undo the codecs of an array's metadata; raises `ValueError` where bytes or codecs are not what we write."""
    most = MAX_CHUNK_BYTES if info.dtype is None else info.chunk_rows * info.row_bytes
    for codec in reversed(info.codecs):
        name = codec["name"]
        if name == "crc32c":
            if len(data) < 4 or crc32c(data[:-4]) != int.from_bytes(data[-4:], "little"):
                raise ValueError("a chunk does not match its checksum")
            data = data[:-4]
        elif name == "blosc":
            data = unblosc(data, most)
        elif name == "zstd":
            from numcodecs.zstd import decompress

            if not 0 <= _zstd_size(data) <= most:
                raise ValueError(f"a chunk that does not unfold to {most} bytes")
            data = decompress(data)
        elif name == "vlen-utf8":
            from numcodecs.vlen import VLenUTF8

            if info.dtype is not None or int.from_bytes(data[:4], "little") != info.chunk_rows:
                raise ValueError(f"a chunk that does not hold {info.chunk_rows} texts")
            return np.asarray(VLenUTF8().decode(data), dtype=object)
        elif name == "bytes":
            if info.dtype is None or len(data) != most:
                raise ValueError(f"a chunk of {len(data)} bytes instead of {most}")
            return np.frombuffer(data, info.dtype).reshape(-1, *info.shape[1:])
        else:
            raise ValueError(f"the codec {name!r} is not one of a chgdb store; open it with xarray.open_zarr")
    raise ValueError("its codecs do not end in bytes")


def unblosc(data: bytes, most: int) -> bytes:
    """Decompress a Blosc buffer of at most so many bytes. Raises `ValueError`."""
    from numcodecs.blosc import decompress

    # The header states the sizes decoded and encoded; the library believes the first before anything else.
    if (
        len(data) < 16
        or int.from_bytes(data[4:8], "little") > most
        or int.from_bytes(data[12:16], "little") != len(data)
    ):
        raise ValueError(f"a chunk that does not unfold to {most} bytes")
    try:
        return bytes(decompress(data))
    except RuntimeError as error:
        raise ValueError(f"it cannot be decompressed ({error})") from None


def _zstd_size(data: bytes) -> int:
    """Size that the header of a Zstandard frame states (RFC 8878, 3.1.1.1); -1 where it is none or states none."""
    if len(data) < 6 or data[:4] != b"\x28\xb5\x2f\xfd":
        return -1
    flag, single = data[4] >> 6, bool(data[4] & 32)
    if not flag and not single:
        return -1
    start = 5 + (not single) + (0, 1, 2, 4)[data[4] & 3]
    width = (1, 2, 4, 8)[flag]
    return int.from_bytes(data[start : start + width], "little") + (256 if flag == 1 else 0)
