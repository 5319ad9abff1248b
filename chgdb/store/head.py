"""head.bin: what the first look at a remote store needs, in one small file.

    "chgdb head 1\\n"                    then, compressed by zlib,
    "base FOLDER\\n"                     where the store's other files lie, relative to this one; empty: beside it
    for each file: "SIZE KEY\\n" and the bytes of the file

The files are checksums.txt, the root metadata and the priors, byte for byte, and `digests`: the BLAKE2b hash, 8 bytes,
of each file in the order of checksums.txt. (The CRC-32C of a chunk that ends in its own CRC-32C is the same for all
chunks: it tells damage, but not one version of a chunk from another.) Everything else a reader gets is compared with
these. So the one file names a version of the store, and replacing it, which every object store does in one step,
publishes the next version.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

from ..checksums import crc32c, digest

HEAD = "head.bin"
CHECKSUMS = "checksums.txt"
#: Manifest of a published store (see `publish`).
RELEASE = "release.json"
#: The newest version of head.bin that this library reads and writes.
HEAD_VERSION = 1
_MAGIC = b"chgdb head %d\n" % HEAD_VERSION
_DIGESTS = "digests"
#: Maximum size of a head, compressed and unpacked: it limits the memory that a hostile one can take.
MAX_BYTES, _MAX_RAW = 16 << 20, 64 << 20
#: Largest file that is put into the head.
_MAX_FILE = 1 << 16
_MOST_FILES = 1 << 12
#: A key is a path below a store's folder on every system, and nowhere else.
KEY = re.compile(rb"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}(?:/[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}){0,15}")
_FILE = re.compile(rb"([0-9]{1,9}) (" + KEY.pattern + rb")\n")
_LINES = re.compile(rb"(?:[0-9a-f]{8} [0-9]{1,15} " + KEY.pattern + rb"\n)*")


class LaterHead(ValueError):
    """head.bin is of a later version than this library reads; the message names both."""


@dataclass(frozen=True)
class Head:
    """One version of a store. files: key -> content. checksums: key -> (crc32c, size). digests: key -> hash, empty for
    stores of early versions of chgdb, which have no head.bin."""

    files: Mapping[str, bytes]
    base: str = ""
    checksums: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    digests: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def version(self) -> str:
        """Its name: the BLAKE2b hash, 16 bytes in hexadecimal, of checksums.txt and the digests."""
        text = self.files.get(CHECKSUMS, b"") + b"".join(self.digests[key] for key in sorted(self.digests))
        return blake2b(text, digest_size=16).hexdigest()

    def sound(self, key: str, data: bytes) -> bool:
        """Whether a content matches its checksum; True where no checksum is known."""
        return self.checksums.get(key, (crc32c(data), len(data))) == (crc32c(data), len(data))

    def fits(self, key: str, data: bytes) -> bool:
        """Whether a content belongs to this version."""
        return self.sound(key, data) and self.digests.get(key, b"") in (b"", digest(data))


def belongs(key: str, size: int) -> bool:
    """Whether a file of a store goes into its head."""
    return key in (CHECKSUMS, "zarr.json") or (key.startswith("prior/") and "/c/" in key and size <= _MAX_FILE)


def pack(files: Mapping[str, bytes], digests: Mapping[str, bytes], base: str = "") -> bytes:
    """The head of a store, from the files that belong into it and the digests of all."""
    files = {**files, _DIGESTS: b"".join(digests[key] for key in sorted(digests))}
    body = b"".join([f"base {base}\n".encode(), *(f"{len(files[k])} {k}\n".encode() + files[k] for k in sorted(files))])
    return _MAGIC + zlib.compress(body, 9)


def unpack(data: bytes) -> Head:
    """Inverse of `pack`. Raises `ValueError` if the head is damaged or too large, `LaterHead` if its version is
    later than this library's."""
    later = re.match(rb"chgdb head (\d{1,9})\n", data)
    if later and int(later[1]) > HEAD_VERSION:
        raise LaterHead(f"version {int(later[1])} of {HEAD}, but this chgdb reads up to version {HEAD_VERSION}")
    if not data.startswith(_MAGIC) or len(data) > MAX_BYTES:
        raise ValueError("it does not begin as one")
    stream = zlib.decompressobj()
    try:
        body = stream.decompress(data[len(_MAGIC) :], _MAX_RAW)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if not stream.eof:  # zlib's own checksum at the end was not reached
        raise ValueError("its end is missing, or it is too large")
    line, _, _ = body.partition(b"\n")
    base = line.removeprefix(b"base ").decode()
    files: dict[str, bytes] = {}
    place = len(line) + 1
    while place < len(body):
        match = _FILE.match(body, place) if len(files) < _MOST_FILES else None
        if match is None or match[2].decode() in files:
            raise ValueError("it holds something that is no file")
        place = match.end() + int(match[1])
        files[match[2].decode()] = body[match.end() : place]
    if base and not KEY.fullmatch(base.encode()):
        raise ValueError(f"it points to {base[:80]!r}, outside the store")
    checksums = parse_checksums(files.get(CHECKSUMS, b""))
    table = files.pop(_DIGESTS, b"")
    if len(table) != 8 * len(checksums):
        raise ValueError("it does not have a digest for each file")
    digests = {key: table[8 * i : 8 * i + 8] for i, key in enumerate(sorted(checksums))}
    head = Head(files, base, checksums, digests)
    for key, content in files.items():
        if key != CHECKSUMS and (key not in checksums or not head.fits(key, content)):
            raise ValueError(f"its copy of {key} does not match the checksums")
    return head


def format_checksums(checksums: Mapping[str, tuple[int, int]]) -> bytes:
    """Text of checksums.txt: "crc32c size key" a line, keys ascending; then the crc32c of the lines before."""
    lines = "".join(f"{crc:08x} {size} {key}\n" for key, (crc, size) in sorted(checksums.items()))
    return f"{lines}{crc32c(lines.encode()):08x}\n".encode()


def parse_checksums(data: bytes) -> Checksums:
    """Inverse of `format_checksums`. Raises `ValueError` if its own checksum does not match, or a key could lead
    outside of the store."""
    body, end = data[:-9], data[-9:]
    if end != f"{crc32c(body):08x}\n".encode():
        raise ValueError("the checksums do not match their own checksum")
    if not _LINES.fullmatch(body):
        raise ValueError("a line of the checksums names no file of a store")
    return Checksums(body)


class Checksums(Mapping[str, tuple[int, int]]):
    """key -> (crc32c, size), read from the text when asked for: a large store has thousands of lines, of which looking
    up a record takes three."""

    def __init__(self, body: bytes) -> None:
        self._body = b"\n" + body
        self._all: dict[str, tuple[int, int]] | None = None

    def _whole(self) -> dict[str, tuple[int, int]]:
        if self._all is None:
            lines = [line.split(" ", 2) for line in self._body.decode().splitlines() if line]
            self._all = {key: (int(crc, 16), int(size)) for crc, size, key in lines}
        return self._all

    def __getitem__(self, key: str) -> tuple[int, int]:
        if self._all is None and " " not in key:
            end = self._body.find(f" {key}\n".encode())
            if end < 0:
                raise KeyError(key)
            crc, size = self._body[self._body.rfind(b"\n", 0, end) + 1 : end].split(b" ")
            return int(crc, 16), int(size)
        return self._whole()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._whole())

    def __len__(self) -> int:
        return len(self._whole())

    def __bool__(self) -> bool:
        return len(self._body) > 1

    def __eq__(self, other: object) -> bool:
        return self._whole() == (other._whole() if isinstance(other, Checksums) else other)

    __hash__ = None  # type: ignore[assignment]
