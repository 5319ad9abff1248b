"""NumPy's .npz: every number of a density as it is in memory.

Arrays: cell (Å), positions (fractional), numbers, one per channel (e/Å^3), and extras as bytes of `pack_extras`.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Sequence
from typing import IO

import numpy as np

from ..density import CHANNELS, Crystal, Density
from ..errors import ChgdbError, FormatError
from .extras import pack_extras, unpack_extras
from .streams import Reader

NAMES = ("*.npz",)


def recognises(head: bytes) -> bool:
    """Whether it begins as a zip archive does."""
    return head.startswith(b"PK\x03\x04")


def read(reader: Reader, *, elements: Sequence[str] | None = None) -> Density:
    """A density from an open .npz; `elements` is of no use here. Raises `FormatError` for anything but our arrays."""
    parts = []
    while part := reader.take(1 << 20):
        parts.append(part)
    try:
        with np.load(io.BytesIO(b"".join(parts)), allow_pickle=False) as arrays:
            crystal = Crystal(arrays["cell"], arrays["positions"], arrays["numbers"])
            names = max(CHANNELS.values(), key=lambda known: (set(known) <= set(arrays), len(known)))
            channels = {name: arrays[name] for name in names}
            extras = unpack_extras(arrays["extras"].tobytes()) if "extras" in arrays else {}
        return Density(crystal, channels, extras)
    except (ChgdbError, KeyError, TypeError, ValueError, EOFError, OSError, MemoryError, NotImplementedError,
            zipfile.BadZipFile, zlib.error) as error:  # fmt: skip
        raise FormatError(f"{reader.name}: not a density in .npz: {' '.join(str(error).split())}") from None


def write(stream: IO[bytes], density: Density) -> None:
    """Write all channels, not compressed."""
    crystal = density.crystal
    np.savez(
        stream,
        allow_pickle=False,
        cell=crystal.cell,
        positions=crystal.positions,
        numbers=crystal.numbers,
        extras=np.frombuffer(pack_extras(density.extras), np.uint8),
        **density.channels,
    )
