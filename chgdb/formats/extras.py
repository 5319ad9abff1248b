"""Extras, what a file holds beside crystal and values: packed to bytes and back, without loss.

`Density.extras` is a mapping of plain JSON values (text, numbers, true and false, lists, mappings with text keys).
Bytes of a file that are not UTF-8 are surrogate escapes in the text, and are written back as they were.
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Mapping
from typing import Any

from ..errors import FormatError
from ..limits import most_unfolded

_VERSION = b"\x01"
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 0, "lp": 0, "pb": 0}]
_LARGEST, _SMALLEST = 1 << 26, 1 << 12  # bytes of a dictionary: the preset's, and the least there is


def pack_extras(extras: Mapping[str, Any]) -> bytes:
    """Pack extras to compressed bytes; b"" where there are none. The same extras always give the same bytes.

    Raises `FormatError` for a value that JSON cannot hold.

    >>> unpack_extras(pack_extras({"comment": "silicon"}))
    {'comment': 'silicon'}
    """
    if not extras:
        return b""
    try:
        text = json.dumps(dict(extras), separators=(",", ":"), sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise FormatError(f"extras cannot be stored: {error}; use text, numbers, lists and mappings only") from None
    # A dictionary no larger than the text: the encoder clears ten times its size, which took as long as all else.
    size = min(_LARGEST, max(_SMALLEST, 1 << len(text).bit_length()))
    filters = [{**_FILTERS[0], "dict_size": size}]
    packed = _VERSION + lzma.compress(text.encode("ascii"), lzma.FORMAT_RAW, filters=filters)
    if len(text) > most_unfolded(len(packed)):  # a reader would not believe it
        raise FormatError(f"extras cannot be stored: {len(text)} bytes of text that nearly repeats; leave them out")
    return packed


def unpack_extras(data: bytes) -> dict[str, Any]:
    """The extras in the bytes of `pack_extras`. Raises `FormatError` for damaged bytes, or a later version."""
    if not data:
        return {}
    if data[:1] != _VERSION:
        raise FormatError(f"packed extras have the version {data[0]}, expected {_VERSION[0]}: from a later chgdb?")
    try:
        decompressor = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_FILTERS)
        text = decompressor.decompress(data[1:], max_length=most_unfolded(len(data)))
        if not decompressor.eof or decompressor.unused_data:
            raise FormatError("packed extras are incomplete or followed by other bytes")
        extras = json.loads(text)
    except (lzma.LZMAError, ValueError, EOFError, RecursionError) as error:
        raise FormatError(f"packed extras are damaged: {error}") from None
    if not isinstance(extras, dict):
        raise FormatError("packed extras are damaged: not a mapping")
    return extras
