"""Compressed streams: gzip, bzip2, xz and Zstandard. Their first bytes tell them, a name's suffix asks for them."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, cast

SUFFIXES = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "zstd"}
_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
#: What reading may raise where the data are damaged or end early.
DAMAGED = (EOFError, zlib.error, lzma.LZMAError, OSError)


def compression_of(head: bytes) -> str | None:
    """The compression of a file that begins with these bytes. None where it is none that is read here."""
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)


@contextmanager
def decompressing(raw: IO[bytes], kind: str, most: int | None) -> Iterator[IO[bytes]]:
    """The decompressed stream.

    most: maximum number of bytes of one frame of Zstandard. The others only decompress what is asked for.
    """
    if kind == "zstd":
        yield cast(IO[bytes], ZstdReader(raw, most))
        return
    opener: dict[str, Any] = {"gzip": gzip.GzipFile, "bzip2": bz2.BZ2File, "xz": lzma.LZMAFile}
    argument = {"fileobj": raw} if kind == "gzip" else {"filename": raw}
    with opener[kind](**argument, mode="rb") as stream:
        yield stream


@contextmanager
def compressing(raw: IO[bytes], suffix: str) -> Iterator[IO[bytes]]:
    """A stream that writes to `raw`, compressed as the suffix of a name says; uncompressed where it says nothing.

    The same bytes always give the same file: its header holds no name and no time.
    """
    kind = SUFFIXES.get(suffix)
    if kind == "gzip":
        with gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=6, mtime=0) as stream:
            yield cast(IO[bytes], stream)
    elif kind == "bzip2":
        with bz2.BZ2File(raw, "wb") as stream:
            yield stream
    elif kind == "xz":
        with lzma.LZMAFile(raw, "wb") as stream:
            yield stream
    elif kind == "zstd":
        packer = ZstdWriter(raw)
        yield cast(IO[bytes], packer)
        packer.finish()
    else:
        yield raw


# Zstandard ----------------------------------------------------------------------------------------------------------
# numcodecs, which Zarr needs, decompresses whole frames. A file is a sequence of frames. A frame is a header and
# blocks, each with its size and of at most 128 KiB decompressed (RFC 8878). So frames are cut out here, and the maximum
# size of one is known before it is decompressed.

_BLOCK = 128 << 10
_FRAME = 4 << 20  # bytes of text in a frame that chgdb writes


class ZstdReader(io.RawIOBase):
    """Reads a Zstandard stream frame after frame."""

    def __init__(self, raw: IO[bytes], most: int | None) -> None:
        self._raw, self._most = raw, most
        self._text = memoryview(b"")

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes; b"" at the end. Raises `OSError` for damaged data, and for a frame that is too large."""
        while not self._text:
            frame = self._next()
            if frame is None:
                return b""  # the end; an empty frame is not the end
            self._text = memoryview(frame)
        end = len(self._text) if size is None or size < 0 else size
        part, self._text = bytes(self._text[:end]), self._text[end:]
        return part

    def _next(self) -> bytes | None:
        """The text of the next frame. None at the end."""
        from numcodecs import Zstd

        magic = self._raw.read(4)
        if not magic:
            return None
        if magic[1:] == b"\x2a\x4d\x18" and magic[0] & 0xF0 == 0x50:  # a skippable frame
            self._take(int.from_bytes(self._take(4), "little"))
            return b""
        if magic != b"\x28\xb5\x2f\xfd":
            raise OSError("something else follows a frame")
        parts, largest = self._frame(magic)
        if self._most is not None and largest > self._most:
            raise OSError(f"a frame unfolds to up to {largest} bytes; decompress the file with zstd -d first")
        if not largest:
            return b""
        try:
            return bytes(Zstd().decode(b"".join(parts)))
        except RuntimeError as error:
            raise OSError(str(error)) from None

    def _frame(self, magic: bytes) -> tuple[list[bytes], int]:
        """The bytes of one frame, and the maximum size that it decompresses to."""
        descriptor = self._take(1)
        flags = descriptor[0]
        single = flags >> 5 & 1
        sizes = (single, 2, 4, 8)[flags >> 6]
        parts = [magic, descriptor, self._take((1 - single) + (0, 1, 2, 4)[flags & 3] + sizes)]
        largest, last = 0, 0
        while not last:
            head = self._take(3)
            word = int.from_bytes(head, "little")
            last, kind, size = word & 1, word >> 1 & 3, word >> 3
            if kind == 3 or size > _BLOCK:
                raise OSError("a damaged block")
            parts += [head, self._take(1 if kind == 1 else size)]
            largest += _BLOCK if kind == 2 else size
        if flags & 4:
            parts.append(self._take(4))
        if sizes:  # the header says how much there is
            said = int.from_bytes(parts[2][-sizes:], "little") + (256 if sizes == 2 else 0)
            if said > largest:
                raise OSError("its blocks cannot hold what its header says")
            largest = said
        return parts, largest

    def _take(self, size: int) -> bytes:
        parts = []
        while size and (part := self._raw.read(size)):
            parts.append(part)
            size -= len(part)
        if size:
            raise EOFError("a frame ends early")
        return b"".join(parts)


class ZstdWriter:
    """Writes frames of a few megabytes each."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._waiting = bytearray()

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self._waiting += view
        if len(self._waiting) >= _FRAME:
            self.finish()
        return len(view)

    def finish(self) -> None:
        from numcodecs import Zstd

        if self._waiting:
            self._raw.write(Zstd(9).encode(bytes(self._waiting)))
            self._waiting.clear()
