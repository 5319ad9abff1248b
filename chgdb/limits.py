"""The maximum size that bytes from outside may claim. Files of real densities are far below these limits.

docs/science/trust.md says what they bound.
"""

from __future__ import annotations

import lzma
import zlib
from typing import Any

#: Maximum size of unpacked bytes: a constant, and so much for each compressed byte. Text of densities gives 3 to 10.
UNFOLDED, UNFOLDED_RATIO = 16 << 20, 100
#: Of a compressed density in text or .npz, beside that: values that the header may announce (1 GiB of them), in all
#: blocks, and the bytes of text that one may take. A Bader volume is all zeros but for a few, and packs 300 times.
FIELD_VALUES, VALUE_TEXT = 1 << 27, 32
#: Frames of Zstandard are unfolded whole, before a header is seen.
LARGEST_FRAME = 256 << 20
#: Memory that unpacking xz may take beside that: its dictionary, 64 MiB at the strongest setting.
XZ_MEMORY = 80 << 20
#: Values, in all channels, that a payload may claim: so many, and so many for each of its bytes. Of the embedded
#: catalog's records the one with the most has 4,300 a byte.
VALUES, VALUES_RATIO = 1 << 24, 1 << 14
#: Of a store: materials; chunks of an array, bytes of a decompressed one, and bytes of an array that is read whole.
MAX_MATERIALS = 1 << 24
MAX_CHUNKS, MAX_CHUNK_BYTES, MAX_ARRAY_BYTES = 1 << 16, 64 << 20, 1 << 30


def most_unfolded(size: int) -> int:
    """Maximum number of bytes that compressed ones may unfold to."""
    return UNFOLDED + UNFOLDED_RATIO * size


def gunzip(data: bytes) -> bytes:
    """What gzip packed. Raises `ValueError` if it is damaged, or more than `most_unfolded` allows."""
    stream = zlib.decompressobj(31)
    try:
        unfolded = stream.decompress(data, most_unfolded(len(data)))
    except zlib.error as error:
        raise ValueError(str(error)) from None
    return _whole(stream, unfolded)


def unxz(data: bytes) -> bytes:
    """What xz packed. Raises `ValueError` if it is damaged, or more than `most_unfolded` allows."""
    stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY)
    try:
        unfolded = stream.decompress(data, most_unfolded(len(data)))
    except lzma.LZMAError as error:
        raise ValueError(str(error)) from None
    return _whole(stream, unfolded)


def _whole(stream: Any, unfolded: bytes) -> bytes:
    if not stream.eof or stream.unused_data:
        raise ValueError(f"its end is missing, something follows it, or it unfolds to more than {len(unfolded)} bytes")
    return unfolded


def most_values(size: int) -> int:
    """Maximum number of values that a payload of a size may claim."""
    return max(VALUES, VALUES_RATIO * size)
