"""The store format, writing side: how a table becomes the files of a store, with which codecs.

Nothing here decides when a store is replaced (`transaction`) or how it is read (`reader`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..atomic import flush, write_flushed
from ..checksums import crc32c
from ..codecs.extras import NUMBERS
from ..errors import StoreError
from ..limits import MAX_ARRAY_BYTES, MAX_CHUNK_BYTES
from . import head as store_head
from .files import need_assertions
from .format import (
    ATOM_ROWS,
    CHUNK_ROWS,
    FACTS,
    FACTS_COLUMNS,
    FACTS_DTYPE,
    FACTS_ROWS,
    FACTS_WHOLE,
    INNER_BYTES,
    LATENT,
    LOOKUP,
    LOOKUP_DTYPE,
    LOOKUP_ROWS,
    NAN,
    PARITY,
    PAYLOAD,
    SHARD_BYTES,
    VIEW,
    ColumnType,
    id_hash,
)
from .head import CHECKSUMS, HEAD, format_checksums
from .latents import DIMENSIONS, DTYPE, MISSING, ORDER, SHARD_ROWS, StoredLatents, shards
from .parity import PARITY_BYTES, add_parity, is_protected
from .viewed import ATOM

if TYPE_CHECKING:
    from .table import Table
    from .viewed import ViewRows

_LEVEL = 19  # of Zstandard


def write_table(folder: Path, table: Table) -> None:
    """Write a whole store into a new folder, checksums last. The folder is not visible to readers yet."""
    records, derived = derived_columns(table)
    columns = table.columns | {n: v.astype(table.types[n].dtype) for n, v in derived.items()}
    with consolidated(folder):
        root = new_group(folder, table.attributes, list(table.priors), version=format_version(table))
        for name, kind in table.types.items():
            write_column(root, name, columns[name], kind)
        write_atoms(root, table.numbers.astype(np.uint8), table.positions)
        write_payload(root, records, sum(map(len, records)))
        write_lookup(root, lookup_table(columns), lambda row: columns["material_id"][row])
        if table.latents is not None:
            write_latents(root, folder, table.latents)
        write_facts(root, facts_table(columns, records))
        for identifier, arrays in table.priors.items():
            write_prior(root, identifier, arrays)
        write_views(root, table.views)
    seal(folder)


@contextmanager
def consolidated(folder: Path) -> Iterator[None]:
    """Settings of Zarr for writing a store: compact metadata (those of fifty columns are most of a small store),
    consolidated in the root at the end."""
    import zarr

    with zarr.config.set({"json_indent": None}), warnings.catch_warnings():
        # Consolidated metadata is not in the Zarr v3 specification yet; every reader may ignore it.
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
        yield
        zarr.consolidate_metadata(folder)  # a text with `::` would be taken for a URL


def format_version(table: Table) -> int:
    """The smallest version of the format that describes a table (docs/format.md, section 8)."""
    if any(length and data[len(data) - length] == NUMBERS for data, length in table.records):
        return 3
    return 1 if table.latents is None else 2


def new_group(folder: Path, attributes: Mapping[str, Any], priors: Sequence[int], *, version: int) -> Any:
    """The root group of a store and its subgroups. version: of the format."""
    need_assertions()
    import zarr

    own = {
        "chgdb_format": version,
        "coordinates": "material_id",  # xarray shows the ids as a coordinate
        **attributes,
        "priors": list(priors),
    }
    root = zarr.create_group(folder, zarr_format=3, attributes=own)
    for group in ["index", "prior", *(f"prior/{identifier:08x}" for identifier in priors)]:
        root.create_group(group)
    return root


def derived_columns(table: Table, payload: int = 0, atoms: int = 0) -> tuple[list[bytes], dict[str, np.ndarray]]:
    """Records with their checksums, and the columns that say where they lie; payload, atoms: what lies before them."""
    records = [data + crc32c(data).to_bytes(4, "little") for data, _ in table.records]
    lengths = np.array([len(data) for data in records], np.uint64)
    n_atoms = table.columns["n_atoms"].astype(np.uint64)
    return records, {
        "payload_offset": np.cumsum(lengths) - lengths + np.uint64(payload),
        "extras_length": np.array([length for _, length in table.records], np.uint64),
        "stored_bytes": lengths,
        "atom_offset": np.cumsum(n_atoms) - n_atoms + np.uint64(atoms),
    }


def write_prior(root: Any, identifier: int, arrays: Mapping[str, np.ndarray]) -> None:
    for name, values in arrays.items():
        _write_plain(root, f"prior/{identifier:08x}/{name}", np.asarray(values))


def write_views(root: Any, views: Mapping[str, ViewRows]) -> None:
    """The groups and arrays of views."""
    if views:
        root.create_group(VIEW)
    for name, view in views.items():
        root.create_group(f"{VIEW}/{name}", attributes=view.attributes)
        for key, values in view.arrays.items():
            dimensions, missing, attributes = view.details[key]
            rows = ATOM_ROWS if dimensions[0] == ATOM else CHUNK_ROWS
            write_array(root, f"{VIEW}/{name}/{key}", values, dimensions, missing, attributes, rows)


def write_column(root: Any, name: str, values: np.ndarray, kind: ColumnType) -> None:
    same = constant(values, kind)
    fill_value = kind.missing if same is None else same
    write_array(root, name, values, dimensions_of(kind), fill_value, kind.attributes, CHUNK_ROWS)


def dimensions_of(kind: ColumnType) -> list[str]:
    return ["material", *(dimension for dimension, _ in kind.dimensions)]


def constant(values: np.ndarray, kind: ColumnType) -> Any:
    """The value that a column holds in every row, or None. It becomes the fill value, and no chunk is written."""
    first = values.reshape(-1)[:1]
    if not first.size:
        return None
    same = (values == first[0]) | (values != values) if first[0] != first[0] else values == first[0]
    if not bool(np.all(same)) or (first[0] == 0 and kind.dtype.startswith("float") and np.signbit(values).any()):
        return None
    return str(first[0]) if kind.dtype == "string" else first[0].item()


def write_atoms(
    root: Any, numbers: np.ndarray, positions: np.ndarray, start: int = 0, shuffled: tuple[bool, bool] | None = None
) -> None:
    """Atomic numbers and positions of all atoms; start, shuffled: as of `write_array`, the latter for each."""
    of_numbers, of_positions = shuffled or (None, None)
    attributes = {"long_name": "atomic number of each atom, material after material"}
    write_array(root, "atom_number", numbers, ["atom"], 0, attributes, ATOM_ROWS, start, of_numbers)
    attributes = {"long_name": "fractional coordinates of each atom", "units": "1"}
    dimensions = ["atom", "vector"]
    write_array(root, "atom_position", positions, dimensions, NAN, attributes, ATOM_ROWS, start, of_positions)


def write_array(
    root: Any,
    name: str,
    values: np.ndarray,
    dimensions: list[str],
    fill_value: Any,
    attributes: Mapping[str, Any],
    chunk_rows: int,
    start: int = 0,
    shuffled: bool | None = None,
) -> None:
    """An array with these values from the row `start` on, the first of a chunk; chunks before it come from elsewhere.

    shuffled: whether bytes are shuffled before they are compressed; where that is smaller, unless given.
    """
    from zarr.dtype import VariableLengthUTF8

    count = start + values.shape[0]
    rows = max(1, min(chunk_rows, count))
    text = values.dtype == object
    if text:
        sizes = np.array([4 + len(str(value).encode()) for value in values])
        largest = int(np.add.reduceat(sizes, np.arange(0, len(sizes), rows)).max()) if len(sizes) else 0
    else:
        largest = rows * values.itemsize * prod(values.shape[1:])
    if largest > MAX_CHUNK_BYTES or count * values.itemsize * prod(values.shape[1:]) > MAX_ARRAY_BYTES:
        raise StoreError(f"{name} is too large for a store: no reader would believe it (docs/science/trust.md)")
    if shuffled is None:
        shuffled = not text and _shrinks_shuffled(np.ascontiguousarray(values[:rows]))
    array = root.create_array(
        name,
        shape=(count, *values.shape[1:]),
        dtype=VariableLengthUTF8() if text else values.dtype,
        chunks=(rows, *values.shape[1:]),
        compressors=_compressors(shuffled),
        fill_value=fill_value,
        dimension_names=dimensions,
        attributes=dict(attributes),
    )
    array[start:] = values


def _shrinks_shuffled(sample: np.ndarray) -> bool:
    """Whether a column's first chunk is smaller with its bytes shuffled: measured values are; lattice vectors and
    positions, which repeat, are not."""
    from numcodecs import Blosc, Zstd

    if sample.dtype.itemsize == 1:
        return False
    return len(Blosc("zstd", 9, Blosc.SHUFFLE).encode(sample)) < len(Zstd(_LEVEL).encode(sample))


def _compressors(shuffled: bool) -> list[Any]:
    """Codecs of a column: Zstandard, after byte shuffling or not, and a checksum."""
    from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec

    first = BloscCodec(cname="zstd", clevel=9, shuffle="shuffle") if shuffled else ZstdCodec(level=_LEVEL)
    return [first, Crc32cCodec()]


def _write_plain(root: Any, name: str, values: np.ndarray) -> None:
    """An array that is not a column; its dimensions belong to it alone. A scalar becomes an array of one."""
    values = np.atleast_1d(values)
    own = name.rsplit("/", 1)[-1]
    dimensions = [f"{own}_{i}" for i in range(values.ndim)]
    write_array(root, name, values, dimensions, 0, {}, max(1, values.shape[0]))


def write_payload(root: Any, records: Iterable[bytes], size: int, start: int = 0) -> None:
    """Records one after the other, from the byte `start` on, the first of a shard.

    Uncompressed (they are already), so that a record is a byte range of one file.
    """
    inner = max(1, min(INNER_BYTES, size))
    shard = min(SHARD_BYTES, max(1, -(-size // inner)) * inner)
    array = root.create_array(
        PAYLOAD,
        shape=(size,),
        dtype=np.uint8,
        chunks=(inner,),
        shards=(shard,),
        compressors=None,
        filters=None,
        fill_value=0,
        dimension_names=["byte"],
        attributes={"long_name": "encoded densities, one record after the other: see payload_offset, stored_bytes"},
        config={"write_empty_chunks": True},  # a chunk that is left out would shift the ones after it in the file
    )
    for block in _blocks(records, shard):
        array[start : start + len(block)] = np.frombuffer(block, np.uint8)
        start += len(block)


def write_latents(root: Any, folder: Path, latents: StoredLatents) -> None:
    """Zarr's metadata of the array, and its shards from the finished chunks. A shard without any chunk has no file."""
    from zarr.codecs import BloscCodec, Crc32cCodec, TransposeCodec

    rows = min(SHARD_ROWS, len(latents.chunks))
    array = root.create_array(
        LATENT,
        shape=(len(latents.chunks), *latents.shape),
        dtype=DTYPE,
        chunks=(1, *latents.shape),
        shards=(rows, *latents.shape),
        filters=[TransposeCodec(order=ORDER)],
        compressors=[BloscCodec(typesize=2, cname="zstd", clevel=9, shuffle="shuffle"), Crc32cCodec()],
        fill_value=MISSING,
        dimension_names=list(DIMENSIONS),
        attributes=latents.all_attributes,
    )
    for number, data in shards(latents.chunks, rows):
        path = folder / LATENT / array.metadata.encode_chunk_key((number, 0, 0, 0, 0))
        path.parent.mkdir(parents=True)
        path.write_bytes(data)


def _blocks(pieces: Iterable[bytes], size: int) -> Iterator[bytes]:
    buffer = bytearray()
    for piece in pieces:
        buffer += piece
        while len(buffer) >= size:
            yield bytes(buffer[:size])
            del buffer[:size]
    if buffer:
        yield bytes(buffer)


def lookup_table(columns: Mapping[str, np.ndarray], start: int = 0) -> np.ndarray:
    """Rows of the index for materials from the row `start` on, not sorted."""
    table = np.zeros(len(columns["material_id"]), LOOKUP_DTYPE)
    table["hash"] = [id_hash(i) for i in columns["material_id"]]
    table["row"] = np.arange(start, start + table.size)
    table["offset"] = columns["payload_offset"]
    table["length"] = columns["stored_bytes"]
    return table


def write_lookup(root: Any, table: np.ndarray, id_of: Callable[[int], str]) -> None:
    """The index by hash of the id: enough to read a record from one small window of it. id_of: id of a row."""
    table = table[np.argsort(table["hash"], kind="stable")]  # forty times faster than sorting whole rows
    clash = np.flatnonzero(table["hash"][1:] == table["hash"][:-1])
    if clash.size:
        rows = table["row"][clash[0] : clash[0] + 2]
        first, second = (id_of(int(row)) for row in rows)
        raise StoreError(f"the ids {first} and {second} are the same or have the same hash: rename one of them")
    attributes = {
        "long_name": "index of the records, ascending by hash of the material id",
        "fields": "hash uint64, offset uint64, row uint32, length uint32; little-endian",
    }
    values = table.view(np.uint8).reshape(-1, table.itemsize)
    _write_rows(root, LOOKUP, values, LOOKUP_ROWS, ["slot", "lookup_byte"], attributes)


def _write_rows(
    root: Any,
    name: str,
    values: np.ndarray,
    chunk_rows: int,
    dimensions: list[str],
    attributes: Mapping[str, Any],
    start: int = 0,
) -> None:
    """An array of records, a row each, as bytes; start: as of `write_array`."""
    from zarr.codecs import BloscCodec, Crc32cCodec

    count, size = start + values.shape[0], values.shape[1]
    array = root.create_array(
        name,
        shape=(count, size),
        dtype=np.uint8,
        chunks=(max(1, min(chunk_rows, count)), size),
        compressors=[BloscCodec(typesize=size, cname="zstd", clevel=9, shuffle="shuffle"), Crc32cCodec()],
        fill_value=0,
        dimension_names=dimensions,
        attributes=dict(attributes),
        config={"write_empty_chunks": True},
    )
    array[start:] = values


def facts_table(columns: Mapping[str, np.ndarray], records: Sequence[bytes]) -> np.ndarray:
    """(material, byte) uint8: copies of the columns that state a record's error, and the record's checksum, which ties
    its bytes to this version of the store."""
    table = np.zeros(len(records), FACTS_DTYPE)
    table["crc32c"] = [int.from_bytes(record[-4:], "little") for record in records]
    for name in FACTS_COLUMNS:
        table[name] = columns[name]
    return table.view(np.uint8).reshape(-1, table.itemsize)


def facts_rows(count: int) -> int:
    """Rows of the facts in one chunk of a store of so many materials."""
    return count if count <= FACTS_WHOLE else FACTS_ROWS


def write_facts(root: Any, values: np.ndarray, start: int = 0) -> None:
    """The facts of the materials from the row `start` on, the first of a chunk."""
    attributes = {
        "long_name": "checksum and errors of each record, a row a material; copies of columns but for the checksum",
        "fields": "crc32c uint32, extras_length uint32, nmae float32, max_error float32, tolerance float64, "
        "text_bytes int64; little-endian",
    }
    rows = facts_rows(start + len(values))
    _write_rows(root, FACTS, values, rows, ["material", "facts_byte"], attributes, start)


@dataclass(frozen=True)
class Linked:
    """The facts about files that were linked from an earlier version: key -> (crc32c, size), key -> digest, and the
    parity of those among them that it covers."""

    checksums: Mapping[str, tuple[int, int]]
    digests: Mapping[str, bytes]
    parity: np.ndarray


def seal(folder: Path, linked: Linked | None = None) -> None:
    """Write parity.bin, checksums.txt and head.bin, and flush everything to the disk; linked files are not read."""
    checksums = dict(linked.checksums) if linked else {}
    digests = dict(linked.digests) if linked else {}
    contents: list[bytes] = []
    head: dict[str, bytes] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        key = path.relative_to(folder).as_posix()
        if key in (CHECKSUMS, PARITY, HEAD):
            continue
        if linked and key in linked.checksums:
            if store_head.belongs(key, checksums[key][1]):
                head[key] = path.read_bytes()
            continue
        data = path.read_bytes()
        checksums[key], digests[key] = (crc32c(data), len(data)), store_head.digest(data)
        if store_head.belongs(key, len(data)):
            head[key] = data
        if is_protected(key):
            contents.append(data)
        flush(path)
    largest = max(size for key, (_, size) in checksums.items() if is_protected(key))
    parity = np.zeros(min(PARITY_BYTES, largest), np.uint8)
    if linked:
        parity ^= linked.parity
    for data in contents:
        add_parity(parity, data)
    write_flushed(folder / PARITY, parity.tobytes())
    checksums[PARITY] = crc32c(parity.tobytes()), parity.size
    digests[PARITY] = store_head.digest(parity.tobytes())
    head[CHECKSUMS] = format_checksums(checksums)
    write_flushed(folder / HEAD, store_head.pack(head, digests))
    write_flushed(folder / CHECKSUMS, head[CHECKSUMS])
    for path in [folder, *(p for p in folder.rglob("*") if p.is_dir())]:
        flush(path)
