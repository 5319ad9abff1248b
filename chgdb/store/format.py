"""The store format (docs/format.md): names of arrays and files, and the columns with their types and units.

Constants and types alone: `reader`, `latents`, `table` and `writer` are made of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..checksums import hash64

#: The newest version of the store format that this library reads and writes. A store is written with the smallest
#: version that describes it: 3 where a record has its occupancies as numbers, else 2 where it holds latents, else 1.
FORMAT_VERSION = 3
#: The root metadata: the last file of a store to be believed, the first to be read.
ROOT = "zarr.json"
PARITY = "parity.bin"
PAYLOAD = "payload"
LOOKUP = "index/lookup"
LATENT = "latent"
#: The group of views (`predicted`).
VIEW = "view"
#: One row of the index; `hash` is ascending.
LOOKUP_DTYPE = np.dtype([("hash", "<u8"), ("offset", "<u8"), ("row", "<u4"), ("length", "<u4")])
#: The facts of a record, a row each: all that states its error, in one read instead of one for each column.
FACTS = "index/facts"
FACTS_DTYPE = np.dtype(
    [
        *(("crc32c", "<u4"), ("extras_length", "<u4"), ("nmae", "<f4"), ("max_error", "<f4")),
        *(("tolerance", "<f8"), ("text_bytes", "<i8")),
    ]
)
#: Its fields that are columns too.
FACTS_COLUMNS = (FACTS_DTYPE.names or ())[1:]
#: Columns that go with the latents, and only with them.
NMAE, SPACING = "latent_nmae", "latent_spacing"
#: Rows of a column in one chunk: what one value of a large store costs.
CHUNK_ROWS = 4096
#: Atoms in one chunk.
ATOM_ROWS = CHUNK_ROWS * 8
#: Rows of the facts in one chunk, and the size of a store up to which one chunk has all of them. The second record of a
#: store of thousands thus has its facts already; that of a larger store needs one small chunk more.
FACTS_ROWS, FACTS_WHOLE = 1024, 8192
#: Rows of the index in one chunk: what looking up one id reads.
LOOKUP_ROWS = 2048
#: Bytes of the payload that plain Zarr readers fetch at a time, and in one file.
INNER_BYTES, SHARD_BYTES = 1 << 12, 1 << 24


def id_hash(material_id: str) -> int:
    """Hash of an id in the index: BLAKE2b with 8 bytes of output over its UTF-8 text, read big-endian."""
    return hash64(material_id)


@dataclass(frozen=True)
class ColumnType:
    """Data type, trailing dimensions and attributes of a column; `missing` stands where a material has no value."""

    dtype: str  # a numpy name, or "string"
    long_name: str
    units: str = ""
    dimensions: tuple[tuple[str, int], ...] = ()
    missing: Any = ""
    notes: tuple[tuple[str, str], ...] = ()  # any further attributes: source, comment

    @property
    def attributes(self) -> dict[str, str]:
        return {"long_name": self.long_name} | ({"units": self.units} if self.units else {}) | dict(self.notes)


NAN = float("nan")
#: Columns of a store with latents.
LATENT_COLUMNS: dict[str, ColumnType] = {
    NMAE: ColumnType(
        "float32",
        "normalised mean absolute error of the total density decoded from the latent",
        "1",
        missing=NAN,
        notes=(("comment", "on the native grid, symmetric, rescaled to the electron count, against the record"),),
    ),
    SPACING: ColumnType(
        "float32",
        "largest distance between the grid points that the autoencoder saw",
        "angstrom",
        missing=NAN,
        notes=(("comment", "above the model's own spacing where the cell is too long for it"),),
    ),
}
#: Columns of a store in which a record has its augmentation occupancies as numbers.
OCCUPANCY_TOLERANCE, OCCUPANCY_ERROR = "occupancy_tolerance", "occupancy_error"
OCCUPANCY_COLUMNS: dict[str, ColumnType] = {
    OCCUPANCY_TOLERANCE: ColumnType(
        "float64", "largest error allowed for an augmentation occupancy", "1", missing=NAN,
        notes=(("comment", "relative to the largest of its atom and channel"),),
    ),
    OCCUPANCY_ERROR: ColumnType(
        "float32", "largest error of an augmentation occupancy after decoding", "1", missing=NAN,
        notes=(("comment", "relative to the largest of its atom and channel"),),
    ),
}  # fmt: skip
#: The columns of every store, in order.
COLUMNS: dict[str, ColumnType] = {
    "material_id": ColumnType("string", "material id"),
    "formula": ColumnType("string", "reduced formula"),
    "elements": ColumnType("string", "chemical symbols of the elements, by atomic number, separated by spaces"),
    "space_group": ColumnType("int16", "number of the space group, 0 where unknown", missing=0),
    "n_atoms": ColumnType("int32", "atoms in the cell", "1", missing=0),
    "cell": ColumnType(
        "float64", "lattice vectors, one a row", "angstrom", (("vector", 3), ("cartesian", 3)), missing=NAN
    ),
    "volume": ColumnType("float32", "cell volume", "angstrom^3", missing=NAN),
    "n_electrons": ColumnType("float64", "integral of the total density over the cell", "e", missing=NAN),
    "grid": ColumnType("int32", "grid points along each lattice vector", "1", (("vector", 3),), missing=0),
    "channels": ColumnType("string", "channels of the density, separated by spaces"),
    "tolerance": ColumnType("float64", "largest NMAE allowed for each channel, 0 if lossless", "1", missing=NAN),
    "nmae": ColumnType("float32", "normalised mean absolute error after decoding, worst channel", "1", missing=NAN),
    "channel_nmae": ColumnType(
        "float32", "normalised mean absolute error of each channel, if several", "1", (("channel", 4),), missing=NAN
    ),
    "max_error": ColumnType("float32", "largest absolute error after decoding", "e/angstrom^3", missing=NAN),
    "min_density": ColumnType("float32", "smallest decoded total density", "e/angstrom^3", missing=NAN),
    "text_bytes": ColumnType("int64", "size of the density blocks as VASP writes them", "byte", missing=0),
    "stored_bytes": ColumnType("uint32", "size of the record in payload", "byte", missing=0),
    "payload_offset": ColumnType("uint64", "first byte of the record in payload", "byte", missing=0),
    "extras_length": ColumnType("uint32", "bytes of the extras in the record, before its checksum", "byte", missing=0),
    "atom_offset": ColumnType("uint64", "first row of the material in atom_number and atom_position", missing=0),
    "source_crc32c": ColumnType("uint32", "CRC-32C of the file or grid the record was encoded from", missing=0),
    "code": ColumnType("string", "program that computed the density"),
    "functional": ColumnType("string", "exchange-correlation functional"),
    "energy_cutoff": ColumnType("float64", "plane-wave cutoff energy", "eV", missing=NAN),
    "structure_source": ColumnType("string", "where the structure comes from"),
    "licence": ColumnType("string", "licence of the density"),
}
#: Columns whose values come from the record itself. The caller gives all others.
MEASURED = frozenset(COLUMNS) - {"space_group", "code", "functional", "energy_cutoff", "structure_source", "licence"}
#: Names in a store that are no columns, now or later.
RESERVED = frozenset(
    [
        *("atom_number", "atom_position", "payload", "index", "prior", "latent", "view", "material"),
        *(*LATENT_COLUMNS, *OCCUPANCY_COLUMNS),
    ]
)
