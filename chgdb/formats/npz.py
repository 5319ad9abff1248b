"""NumPy's .npz: the numbers of a density as they are in memory.

Arrays: cell (Å), positions (fractional), numbers, one for each channel (e/Å^3), and extras as bytes of `pack_extras`.
"""

from __future__ import annotations

import io
import lzma
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from math import prod
from typing import IO

import numpy as np

from ..density import CHANNELS, Crystal, Density
from ..errors import ChgdbError, FormatError
from ..limits import FIELD_VALUES, most_unfolded
from .extras import pack_extras, unpack_extras
from .streams import Reader

NAMES = ("*.npz",)
BINARY = True


def recognises(head: bytes) -> bool:
    """Whether a file begins as a zip archive does, and with an array if its first member's name is in the head."""
    name = head[30 : 30 + int.from_bytes(head[26:28], "little")]
    return head.startswith(b"PK\x03\x04") and (not name or name.endswith(b".npy"))


def read(reader: Reader, *, elements: Sequence[str] | None = None) -> Density:
    """A density from an open .npz. `elements` is not used. Raises `FormatError` for anything but chgdb's arrays."""
    parts = []
    while part := reader.take(1 << 20):
        parts.append(part)
    try:
        arrays = parse_npz(b"".join(parts), 8 * FIELD_VALUES)
        crystal = Crystal(arrays["cell"], arrays["positions"], arrays["numbers"])
        names = max(CHANNELS.values(), key=lambda known: (set(known) <= set(arrays), len(known)))
        channels = {name: arrays[name] for name in names}
        extras = unpack_extras(arrays["extras"].tobytes()) if "extras" in arrays else {}
        return Density(crystal, channels, extras)
    except KeyError as error:
        raise FormatError(f"{reader.name}: not a density in .npz: it has no array {error}") from None
    except (ChgdbError, ValueError) as error:
        raise FormatError(f"{reader.name}: not a density in .npz: {error}") from None


def parse_npz(data: bytes, most: int = 0) -> dict[str, np.ndarray]:
    """Name -> array of an archive of arrays of numbers. Raises `ValueError` for anything else.

    most: bytes that its arrays may have together where the archive's size allows fewer.

    Unlike `numpy.load` it takes no more memory than the bytes can fill, and raises one kind of error.
    """
    arrays = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
            if sum(info.file_size for info in members) > max(most, most_unfolded(len(data))):
                raise ValueError("it unfolds to far more than its size")
            for info in members:
                arrays[info.filename.removesuffix(".npy")] = parse_npy(archive.read(info))
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError, RuntimeError) as error:
        # RuntimeError: encrypted, or packed in a way unknown to zipfile
        raise ValueError(f"a damaged archive ({' '.join(str(error).split())[:200]})") from None
    return arrays


def parse_npy(data: bytes) -> np.ndarray:
    """The array of numbers that a .npy holds. Raises `ValueError` for anything else."""
    stream = io.BytesIO(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about headers that nobody writes any more
            version = np.lib.format.read_magic(stream)
            read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            shape, by_columns, dtype = read_header[version](stream)
    # The header is a Python literal. NumPy parses it, and may raise any error of parsing.
    except (ValueError, KeyError, TypeError, SyntaxError, RecursionError, MemoryError, tokenize.TokenError):
        raise ValueError("not an array in numpy's .npy, or its header is damaged") from None
    start = stream.tell()
    if dtype.kind not in "biuf" or min(shape, default=0) < 0:
        raise ValueError(f"it holds {dtype.str if dtype.names is None else 'records'}; expected real numbers")
    if prod(shape) * dtype.itemsize != len(data) - start:
        raise ValueError(f"an array of the shape {shape} that has {len(data) - start} bytes")
    values = np.frombuffer(data, dtype, offset=start).reshape(shape, order="F" if by_columns else "C")
    return values.astype(dtype.newbyteorder("="))


def write(stream: IO[bytes], density: Density) -> None:
    """Write all channels, uncompressed.

    The archive is made in memory first: numpy's archive repeats an error of a full disk in its destructor.
    """
    crystal, whole = density.crystal, io.BytesIO()
    np.savez(
        whole,
        allow_pickle=False,
        cell=crystal.cell,
        positions=crystal.positions,
        numbers=crystal.numbers,
        extras=np.frombuffer(pack_extras(density.extras), np.uint8),
        **density.channels,
    )
    stream.write(whole.getbuffer())
