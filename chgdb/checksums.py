"""Checksums and hashes of bytes and texts that are kept in files: they must never change."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import google_crc32c


def crc32c(data: bytes | bytearray | memoryview) -> int:
    """CRC-32C (Castagnoli), the checksum of Zarr's crc32c codec."""
    return int(google_crc32c.value(bytes(data)))


def crc32c_of(pieces: Iterable[bytes]) -> int:
    """CRC-32C of bytes that come in pieces."""
    value = 0
    for piece in pieces:
        value = google_crc32c.extend(value, piece)
    return int(value)


def digest(data: bytes) -> bytes:
    """BLAKE2b hash of 8 bytes."""
    return blake2b(data, digest_size=8).digest()


def hash64(text: str) -> int:
    """The 8 bytes of the BLAKE2b hash of a text in UTF-8, as a big-endian number.

    >>> hash64("mp-149") == int.from_bytes(digest(b"mp-149"), "big")
    True
    """
    return int.from_bytes(digest(text.encode()), "big")
