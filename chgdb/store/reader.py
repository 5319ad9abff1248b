"""The store format, reading side: metadata, columns, the index, payload bytes, checksums and repair.

A store is a Zarr v3 group (docs/format.md). This module reads it without importing zarr, whose import would take longer
than all the rest of a cold `chgdb fetch`; writing goes through zarr (`writer`), and `xarray.open_zarr` reads the same
files. Three more files are beside those of Zarr:

    head.bin        copies of checksums.txt and of a few small files, for remote readers (see `chgdb.store.head`)
    checksums.txt   one line "crc32c size key" per file, and at the end the crc32c of the lines before
    parity.bin      the exclusive or of all files but those of payload and latents, each wrapped around at its length:
                    damage to one of them, in one place and no longer than half of that, can be undone from the others

A damaged byte outside payload and latents thus loses nothing, and one inside loses one record.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checksums import crc32c
from ..errors import ChecksumError, StoreError
from .arrays import array_info, check_columns, decode_chunk
from .files import Files
from .format import (
    FACTS,
    FACTS_COLUMNS,
    FACTS_DTYPE,
    FORMAT_VERSION,
    LATENT,
    LOOKUP,
    LOOKUP_DTYPE,
    PARITY,
    PAYLOAD,
    ROOT,
    id_hash,
)
from .head import CHECKSUMS, HEAD, format_checksums, parse_checksums
from .parity import is_protected, undo_damage

if TYPE_CHECKING:
    from ..promolecule import Prior
    from .latents import LatentReader

_PRIOR = re.compile("prior/[0-9a-f]{8}/(numbers|coefficients)")


@dataclass(frozen=True)
class Location:
    """The place of a record: its row in the columns and its bytes in the payload array."""

    row: int
    offset: int
    length: int


class Store:
    """One version of a store; everything read from it is consistent or raises.

    Raises `StoreError` if the folder is no store, is incomplete or has a newer format version.
    """

    def __init__(self, files: Files) -> None:
        self.files = files
        for attempt in range(100):  # until no writer has swapped versions between the two files
            self.token = files.token()
            try:
                self._read_root()
            except (StoreError, ChecksumError):
                if files.token() == self.token or attempt == 99:
                    raise
            else:
                if files.token() == self.token:
                    break
        self.format_version = int(self.attributes["chgdb_format"])
        self._chunks: dict[tuple[str, int], np.ndarray] = {}
        self._priors: dict[int, Prior] = {}
        self._latents: LatentReader | None = None

    @property
    def location(self) -> str:
        return self.files.location

    def _read_root(self) -> None:
        self.repaired: dict[str, bytes] = {}
        try:
            checksums = self.files.read(CHECKSUMS)
        except KeyError:
            checksums = b""
        try:
            self.checksums: Mapping[str, tuple[int, int]] = parse_checksums(checksums)
        except ValueError:
            self.checksums = {}  # damaged: `verify` reports it, and the checksums of the codecs remain
        try:
            root = json.loads(self.read(ROOT))
        except KeyError:
            raise StoreError(f"{self.location}: not a chgdb store (it has no {ROOT})") from None
        except (ValueError, RecursionError) as error:
            raise StoreError(f"{self.location}: {ROOT} is damaged ({error}); get a fresh copy of the store") from None
        attributes = root.get("attributes", {}) if isinstance(root, dict) else {}
        version = attributes.get("chgdb_format") if isinstance(attributes, dict) else None
        if not isinstance(version, int) or version < 1:
            raise StoreError(f"{self.location}: a Zarr group, but not a chgdb store (it has no attribute chgdb_format)")
        if version > FORMAT_VERSION:
            raise StoreError(
                f"{self.location}: store format {version}, but this chgdb reads up to format {FORMAT_VERSION}: "
                "run pip install --upgrade chgdb"
            )
        if not checksums:  # without them a missing chunk would read as fill values
            raise StoreError(f"{self.location}: incomplete, {CHECKSUMS} is missing; get a fresh copy of the store")
        try:
            members = root["consolidated_metadata"]["metadata"]
            self.arrays = {n: array_info(n, m) for n, m in members.items() if m["node_type"] == "array"}
            self.n_materials = check_columns(self.arrays)
            lookup = self.arrays[LOOKUP].shape
            priors = [int(i) for i in attributes.get("priors", [])]
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
            reason = str(error) if type(error) is ValueError else repr(error)
            raise StoreError(f"{self.location}: {ROOT} lacks what a store needs ({reason[:300]})") from None
        ids = {int(n.split("/")[1], 16) for n in self.arrays if _PRIOR.fullmatch(n)}
        #: Identifiers of the priors in the store, in the order they were added.
        self.prior_ids = [i for i in priors if i in ids]
        expected = (self.n_materials, LOOKUP_DTYPE.itemsize)
        if lookup != expected:
            raise StoreError(f"{self.location}: the index has the shape {lookup}, not {expected}: build it anew")
        if FACTS in self.arrays and self.arrays[FACTS].shape != (self.n_materials, FACTS_DTYPE.itemsize):
            raise StoreError(f"{self.location}: {FACTS} has the shape {self.arrays[FACTS].shape}: build it anew")
        self.attributes = attributes

    # Files -------------------------------------------------------------------------------------------------------

    def read(self, key: str) -> bytes:
        """A whole file, checked and where necessary repaired.

        Raises `KeyError` if the store has no such file, `ChecksumError` if it is damaged beyond repair.
        """
        if key in self.repaired:
            return self.repaired[key]
        expected = self.checksums.get(key)
        if expected is None and self.checksums:
            raise KeyError(key)  # a chunk of fill values needs no request
        try:
            data = self.files.read(key)
        except KeyError:
            if expected is None:
                raise
            data = b""
        if expected is not None and (len(data), crc32c(data)) != (expected[1], expected[0]):
            if self.files.token() != self.token:  # not damage: whoever called opens the new version
                raise StoreError(f"{self.location}: replaced by another version while it was read; open it again")
            data = self.repaired[key] = self._repair(key, data)
        return data

    def _repair(self, key: str, data: bytes) -> bytes:
        """Repair one file with the parity and all other files."""
        checksum, size = self.checksums[key]
        repaired = None
        if is_protected(key):
            try:
                names = [other for other in self.checksums if other != key and is_protected(other)]
                if wanted := getattr(self.files, "prefetch", None):
                    wanted([(name, None, None) for name in names])
                others = [self.files.read(name) for name in names]
                repaired = undo_damage(data, size, checksum, others, self.files.read(PARITY))
            except KeyError:  # a second file is missing
                repaired = None
        if repaired is None:
            raise ChecksumError(f"{self.location}: {key} is damaged or missing; get a fresh copy of the store")
        return repaired

    # Arrays ------------------------------------------------------------------------------------------------------

    def chunk(self, name: str, index: int) -> np.ndarray:
        """One chunk of an array along its first axis, kept after the first use. Raises `ChecksumError`."""
        if (name, index) not in self._chunks:
            info = self.arrays[name]
            rows = min(info.chunk_rows, info.shape[0] - index * info.chunk_rows)
            try:
                data = self.read(info.key(index))
            except KeyError:  # by the Zarr specification; a chunk that should be there is in the checksums
                values = info.filled(rows)
            else:
                try:
                    values = decode_chunk(data, info)[:rows]
                except (ValueError, RuntimeError, TypeError) as error:
                    raise ChecksumError(f"{self.location}: column {name} is damaged: {error}") from None
            values.flags.writeable = False
            self._chunks[name, index] = values
        return self._chunks[name, index]

    def column(self, name: str) -> np.ndarray:
        """A whole array."""
        info = self.arrays[name]
        count = info.n_chunks
        if count == 1:
            return self.chunk(name, 0)
        if self.checksums and not any(key.startswith(f"{name}/c/") for key in self.checksums):
            return info.filled(info.shape[0])
        self._fetch_chunks([(name, i) for i in range(count)])
        chunks = [self.chunk(name, i) for i in range(count)]
        return np.concatenate(chunks) if chunks else info.filled(0)

    def value(self, name: str, row: int) -> Any:
        """One row of a column."""
        if name in FACTS_COLUMNS and FACTS in self.arrays:
            return self._facts(row)[name]
        chunk, offset = divmod(row, self.arrays[name].chunk_rows)
        return self.chunk(name, chunk)[offset]

    def prefetch_columns(self, names: Iterable[str], row: int | None = None) -> None:
        """Fetch columns, or one row's chunk of each, at the same time. Does nothing for a store on a disk."""
        chunks = []
        for name in names:
            info = self.arrays[name]
            if row is None:
                chunks += [(name, i) for i in range(info.n_chunks)]
            else:
                chunks.append((name, row // info.chunk_rows))
        self._fetch_chunks(chunks)

    def _fetch_chunks(self, chunks: Iterable[tuple[str, int]]) -> None:
        wanted = getattr(self.files, "prefetch", None)
        if wanted is not None:
            wanted([(self.arrays[n].key(i), None, None) for n, i in chunks if (n, i) not in self._chunks])

    def _facts(self, row: int) -> np.void:
        chunk, offset = divmod(row, self.arrays[FACTS].chunk_rows)
        return np.ascontiguousarray(self.chunk(FACTS, chunk)[offset]).view(FACTS_DTYPE)[0]

    # Records -----------------------------------------------------------------------------------------------------

    def find(self, material_id: str) -> Location | None:
        """The place of a material's record, or None. Reads one chunk of the index, seldom two."""
        info, wanted = self.arrays[LOOKUP], id_hash(material_id)
        last = (self.n_materials - 1) // info.chunk_rows
        index = self._slot_chunk(wanted)
        step = 0
        while 0 <= index <= last:
            table = np.ascontiguousarray(self.chunk(LOOKUP, index)).view(LOOKUP_DTYPE).reshape(-1)
            place = int(np.searchsorted(table["hash"], np.uint64(wanted)))
            if place < table.size and int(table["hash"][place]) == wanted:
                _, offset, row, length = table[place].item()
                if row >= self.n_materials:
                    raise ChecksumError(f"{self.location}: the index is damaged; get a fresh copy of the store")
                return Location(row, offset, length)
            before = step
            step = -1 if place == 0 else 1 if place == table.size else 0
            if step == 0 or step == -before:
                return None
            index += step
        return None

    def _slot_chunk(self, wanted: int) -> int:
        """Chunk of the index where a hash is expected, as hashes are uniform."""
        return min(self.n_materials * wanted >> 64, self.n_materials - 1) // self.arrays[LOOKUP].chunk_rows

    def record_bytes(self, material_id: str, location: Location) -> tuple[bytes, bytes]:
        """Payload and extras of a record. Raises `ChecksumError` naming material and store."""
        # The index knows the checksum too: a sound record of another version of the store must not pass for this one.
        known = self._facts(location.row)["crc32c"].tobytes() if FACTS in self.arrays else None
        for fresh in (False, True, True):  # what came over a network may be damaged once
            data = self._payload_range(location.offset, location.offset + location.length, fresh)
            body, end = data[:-4], data[-4:]
            if len(data) == location.length and end == crc32c(body).to_bytes(4, "little") and known in (None, end):
                break
        else:
            raise ChecksumError(
                f"{material_id} in {self.location}: its {location.length} stored bytes do not match their checksum; "
                "the other records are not affected; get a fresh copy of the store"
            )
        extras = int(self.value("extras_length", location.row))
        if extras > len(body):
            raise ChecksumError(f"{material_id} in {self.location}: its column extras_length is damaged")
        return body[: len(body) - extras], body[len(body) - extras :]

    def _payload_range(self, start: int, stop: int, fresh: bool = False) -> bytes:
        """Bytes of the payload array."""
        pieces = []
        for key, low, high in self._payload_pieces(start, stop):
            try:
                pieces.append(self.files.read_range(key, low, high, fresh))
            except KeyError:
                pieces.append(b"")  # the checksum of the record tells
        return b"".join(pieces)

    def _payload_pieces(self, start: int, stop: int) -> Iterator[tuple[str, int, int]]:
        """File and range in it. Inner chunks of the payload lie uncompressed, in order and without gaps in a shard."""
        info = self.arrays[PAYLOAD]
        stop = min(stop, info.shape[0])
        while start < stop:
            shard, within = divmod(start, info.chunk_rows)
            size = min(stop - start, info.chunk_rows - within)
            yield info.key(shard), within, within + size
            start += size

    def prefetch(self, material_ids: Iterable[str]) -> None:
        """Fetch everything that these records need, many pieces at a time. Does nothing for a store on a disk."""
        ids, wanted = list(material_ids), getattr(self.files, "prefetch", None)
        if wanted is None or not ids:
            return
        info = self.arrays[LOOKUP]
        wanted([(info.key(self._slot_chunk(id_hash(i))), None, None) for i in ids])
        found = [location for location in map(self.find, ids) if location is not None]
        if FACTS in self.arrays:
            facts = self.arrays[FACTS]
            wanted([(facts.key(location.row // facts.chunk_rows), None, None) for location in found])
        wanted([piece for place in found for piece in self._payload_pieces(place.offset, place.offset + place.length)])

    def prior(self, identifier: int) -> Prior:
        """The atomic prior with this identifier. Raises `StoreError` if the store has none such."""
        if identifier not in self._priors:
            from ..promolecule import Prior

            prefix = f"prior/{identifier:08x}/"
            arrays = {n.removeprefix(prefix): self.column(n) for n in self.arrays if n.startswith(prefix)}
            if not arrays:
                raise StoreError(f"{self.location}: the prior {identifier:08x} that a record needs is missing")
            self._priors[identifier] = Prior.from_arrays(arrays)
        return self._priors[identifier]

    @property
    def latents(self) -> LatentReader | None:
        """The latents of a store that has any. Raises `StoreError` if they are stored in an unknown way."""
        if self._latents is None and LATENT in self.arrays:
            from .latents import LatentReader

            self._latents = LatentReader(self)
        return self._latents

    @property
    def columns(self) -> list[str]:
        """Names of the arrays with one row a material, but for the latents."""
        found = (n for n, info in self.arrays.items() if "/" not in n and info.dimensions[:1] == ("material",))
        return [name for name in found if name != LATENT]

    @property
    def stored_bytes(self) -> int:
        """Size of all files of the store."""
        listed = sum(size for _, size in self.checksums.values()) + len(format_checksums(self.checksums))
        try:
            return listed + len(self.files.read(HEAD))
        except KeyError:  # a store of an early version of chgdb
            return listed
