"""The `latent` array of a store: one compressed chunk a material, in shards; both sides, without zarr.

Zarr's layout (docs/format.md, section 2.3) is assembled from finished chunks, so that a store that grows neither
decompresses nor compresses the latents it has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checksums import crc32c
from ..errors import ChecksumError, StoreError
from ..limits import MAX_CHUNK_BYTES
from .arrays import unblosc
from .format import LATENT

if TYPE_CHECKING:
    from .reader import Store

#: Materials in one shard: its index, which a reader needs first, is 4 kB.
SHARD_ROWS = 256
#: The order in which the values of a chunk are compressed, of (material, channel, z, y, x). Measured on latents of the
#: catalog: (x, y, channel, z) is 8 % smaller than the channels of a voxel together and 10 % than (channel, z, y, x);
#: what lies outside the cell is in long runs. It reaches the entropy of the integers taken one by one.
ORDER = (0, 4, 3, 1, 2)
DTYPE = np.dtype("<i2")
#: Added to the model's integers. Nearly all are small; with the offset the upper byte of -128 to 127 is zero, and once
#: bytes are shuffled it costs nothing, where the sign bits of plain int16 cost a quarter of the file.
OFFSET = 128
#: Stands for "no latent"; no latent has it.
MISSING = -32768
#: Largest and smallest integer of a model that has room.
LARGEST, SMALLEST = 32767 - OFFSET, -32768
#: Dimensions for xarray; `channel` is taken by the channels of a density.
DIMENSIONS = ("material", "latent_channel", "z", "y", "x")
#: Names of the attributes that say which model made the latents.
MODEL_ATTRIBUTES = ("model", "model_version", "model_checksum")
_NONE = 2**64 - 1  # offset and length of a chunk that is not there
#: So many materials of one shard wanted at once make it worth reading whole.
_WHOLE = 8


@dataclass
class StoredLatents:
    """The latents of all rows of a table, compressed.

    shape: (channel, z, y, x). step: a latent is step times the model's integer.
    attributes: of the array: `MODEL_ATTRIBUTES` and what else there is to say.
    chunks: one for each row, None where a material has no latent.
    """

    shape: tuple[int, int, int, int]
    step: float
    attributes: dict[str, Any]
    chunks: list[bytes | None] = field(default_factory=list)

    @property
    def all_attributes(self) -> dict[str, Any]:
        """Attributes of the array. From `scale_factor`, `add_offset` and `_FillValue` xarray makes floats, NaN where
        there is no latent."""
        return {
            "long_name": "latent tensors of the autoencoder",
            "units": "1",
            "scale_factor": self.step,
            "add_offset": -OFFSET * self.step,
            "_FillValue": MISSING,
            "quantisation_error": self.step / 2,
            **self.attributes,
        }

    def fits(self, other: StoredLatents) -> bool:
        """Whether both are by the same autoencoder, so that one array can hold them."""
        return self.shape == other.shape and self.all_attributes == other.all_attributes

    def take(self, rows: Sequence[int]) -> StoredLatents:
        """The same for some of the rows, -1 standing for a row without a latent."""
        chunks = [None if row < 0 else self.chunks[row] for row in rows]
        return StoredLatents(self.shape, self.step, self.attributes, chunks)


def within_range(values: np.ndarray) -> np.ndarray:
    """A model's integers as int16; those that are too large for the store become its largest."""
    return np.clip(values, SMALLEST + 1, LARGEST).astype(np.int16)


def compress(values: np.ndarray) -> bytes:
    """Compressed chunk of one material's integers (channel, z, y, x). Raises `StoreError` if one is out of range."""
    from numcodecs import Blosc

    if values.ndim != 4 or values.dtype.kind not in "iu" or values.min() < SMALLEST or values.max() > LARGEST:
        raise StoreError(f"a latent is whole numbers of at most {LARGEST} (channel, z, y, x), not {values.dtype}")
    stored = (values.astype(np.int32) + OFFSET).astype(DTYPE).transpose([axis - 1 for axis in ORDER[1:]])
    data = bytes(Blosc("zstd", 9, Blosc.SHUFFLE).encode(np.ascontiguousarray(stored)))
    return data + crc32c(data).to_bytes(4, "little")


def decompress(chunk: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """Inverse of `compress`: int16 (channel, z, y, x). Raises `ValueError` for bytes that are not such a chunk."""
    if len(chunk) < 4 or crc32c(chunk[:-4]) != int.from_bytes(chunk[-4:], "little"):
        raise ValueError("it does not match its checksum")
    stored = np.frombuffer(unblosc(chunk[:-4], DTYPE.itemsize * int(np.prod(shape))), DTYPE)
    if stored.size != np.prod(shape) or stored.min() < SMALLEST + OFFSET:
        raise ValueError(f"it does not hold {np.prod(shape)} numbers of a latent")
    order = [axis - 1 for axis in ORDER[1:]]
    values = stored.reshape([shape[axis] for axis in order]).transpose(np.argsort(order))
    return np.ascontiguousarray((values.astype(np.int32) - OFFSET).astype(np.int16))


def shards(chunks: Sequence[bytes | None], rows: int) -> Iterator[tuple[int, bytes]]:
    """Number and bytes of every shard that is not empty: its chunks, the index of offsets and lengths, the checksum of
    the index."""
    for number, start in enumerate(range(0, len(chunks), rows)):
        index = np.full((rows, 2), _NONE, "<u8")
        pieces: list[bytes] = []
        position = 0
        for i, chunk in enumerate(chunks[start : start + rows]):
            if chunk is not None:
                index[i] = position, len(chunk)
                position += len(chunk)
                pieces.append(chunk)
        if pieces:
            table = index.tobytes()
            yield number, b"".join([*pieces, table, crc32c(table).to_bytes(4, "little")])


class LatentReader:
    """The latents of one version of a store. Raises `StoreError` if its metadata are not as specified."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.info = info = store.arrays[LATENT]
        self._indices: dict[int, np.ndarray | None] = {}
        try:
            (sharding,) = info.codecs
            settings = sharding["configuration"]
            names = [codec["name"] for codec in settings["codecs"]]
            order = tuple(settings["codecs"][0]["configuration"]["order"])
            inner = tuple(settings["chunk_shape"])
            at_end = settings.get("index_location", "end") == "end"
            self.step = float(info.attributes["scale_factor"])
            offset = float(info.attributes["add_offset"])
            self.model = {name: info.attributes[name] for name in MODEL_ATTRIBUTES}
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
            raise StoreError(f"{store.location}: the array {LATENT} lacks what it needs ({error!r})") from None
        known = names == ["transpose", "bytes", "blosc", "crc32c"] and order == ORDER and at_end
        rows_fit = inner == (1, *info.shape[1:]) and info.shape[0] == store.n_materials and len(info.shape) == 5
        sound = 0 < self.step < np.inf and np.prod(info.shape[1:]) > 0
        if not known or not rows_fit or info.dtype != DTYPE or not sound or offset != -OFFSET * self.step:
            raise StoreError(f"{store.location}: the array {LATENT} is stored in another way; use xarray.open_zarr")

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(channel, z, y, x)."""
        channel, z, y, x = self.info.shape[1:]
        return channel, z, y, x

    def _index(self, shard: int, fresh: bool = False) -> np.ndarray | None:
        """Offsets and lengths of a shard's chunks, None for a shard that holds nothing. Raises `ValueError`."""
        if shard not in self._indices:
            key, rows = self.info.key(shard), self.info.chunk_rows
            size = 16 * rows + 4
            checksums = self.store.checksums
            if checksums and key not in checksums:
                self._indices[shard] = None
                return None
            try:
                if checksums:
                    end = checksums[key][1]
                    data = self.store.files.read_range(key, max(end - size, 0), end, fresh)
                else:
                    data = self.store.files.read(key)[-size:]
            except KeyError:
                if checksums:
                    raise ValueError(f"{key} is missing") from None
                data = b""  # without checksums a shard that never existed looks like one that is lost
            if not data:
                self._indices[shard] = None
                return None
            if len(data) != size or crc32c(data[:-4]) != int.from_bytes(data[-4:], "little"):
                raise ValueError(f"the index of {key} is damaged")
            self._indices[shard] = np.frombuffer(data[:-4], "<u8").reshape(rows, 2)
        return self._indices[shard]

    def place(self, row: int) -> tuple[int, int] | None:
        """First byte and length of a row's chunk in its shard, None where it has none. Raises `ChecksumError`."""
        try:
            return self._place(row)
        except ValueError as error:
            raise self._damaged(row, error) from None

    def _place(self, row: int, fresh: bool = False) -> tuple[int, int] | None:
        """First byte and length of a row's chunk in its shard. Raises `ValueError`."""
        shard, within = divmod(row, self.info.chunk_rows)
        index = self._index(shard, fresh)
        if index is None:
            return None
        offset, length = (int(value) for value in index[within])
        if offset != _NONE and offset + length > MAX_CHUNK_BYTES:
            raise ValueError("the index of its shard is damaged")
        return None if offset == _NONE else (offset, length)

    def chunk(self, row: int, fresh: bool = False) -> bytes | None:
        """Compressed latent of a row, None where it has none. Raises `ValueError` if its shard's index is damaged;
        the chunk's own checksum is not looked at. fresh: not from a cache."""
        place = self._place(row, fresh)
        if place is None:
            return None
        key = self.info.key(row // self.info.chunk_rows)
        try:
            return self.store.files.read_range(key, place[0], sum(place), fresh)
        except KeyError:
            raise ValueError(f"{key} is missing") from None

    def values(self, row: int) -> np.ndarray | None:
        """Integers of a row, (channel, z, y, x), None where it has none. Raises `ChecksumError` naming the material."""
        for fresh in (False, True):  # what came over a network may be damaged once
            try:
                chunk = self.chunk(row, fresh)
                return None if chunk is None else decompress(chunk, self.shape)
            except ValueError as error:
                problem = error
        raise self._damaged(row, problem) from None

    def many(self, rows: Sequence[int]) -> Iterator[tuple[int, np.ndarray | None]]:
        """(place in `rows`, integers) of many rows, in any order. A shard that holds several of them is read once."""
        by_shard: dict[int, list[int]] = {}
        for place, row in enumerate(rows):
            by_shard.setdefault(row // self.info.chunk_rows, []).append(place)
        for shard, places in by_shard.items():
            whole = b""
            if len(places) >= _WHOLE and self.info.key(shard) in self.store.checksums:
                try:
                    whole = self.store.files.read(self.info.key(shard))
                except KeyError:
                    whole = b""  # `values` says which material is lost
            for place in places:
                row = rows[place]
                if not whole:
                    yield place, self.values(row)
                    continue
                try:
                    span = self._place(row)
                    chunk = None if span is None else whole[span[0] : sum(span)]
                    yield place, None if chunk is None else decompress(chunk, self.shape)
                except ValueError:
                    yield place, self.values(row)  # by itself, and fresh; or it says which material is lost

    def _damaged(self, row: int, error: ValueError) -> ChecksumError:
        material_id = self.store.value("material_id", row)
        return ChecksumError(
            f"{material_id} in {self.store.location}: its latent is damaged: {error}; densities are not affected; "
            f"compute it again with chgdb build {self.store.location} --latents"
        )
