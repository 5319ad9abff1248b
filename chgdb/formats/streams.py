"""Bytes in and out of files: compression, line numbers, atomic replacement. It does not know of densities."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ..atomic import folder_made, replacing
from ..errors import ChgdbError, FormatError, RemoteError
from ..limits import FIELD_VALUES, LARGEST_FRAME, VALUE_TEXT, most_unfolded
from ..urls import is_url, public, url_path
from .compression import DAMAGED, SUFFIXES, compressing, compression_of, decompressing

#: Maximum length of a header line. A file without line breaks is not read into memory to find that out.
MAX_LINE = 1 << 16
#: Maximum size of a file that is read because it is beside a density.
MAX_BESIDE = 64 << 20

#: Names of densities in the folders of calculations.
_IN_FOLDERS = ("CHGCAR", "charge-density.dat", "charge-density.hdf5", "vaspwave.h5", "CHGCAR.gz")
_TOO_MUCH = (
    "the compressed data unfold to more than %d bytes, which no density of this size does: where this one does, "
    "decompress it first"
)


def bare_name(path: str | os.PathLike[str]) -> str:
    """File name without folder and without the suffix of a compression.

    >>> bare_name("runs/CHGCAR.gz")
    'CHGCAR'
    """
    name = Path(url_path(path) if isinstance(path, str) and is_url(path) else path).name
    return name[: -len(Path(name).suffix)] if Path(name).suffix.lower() in SUFFIXES else name


def text_to_bytes(text: str) -> bytes:
    """UTF-8 bytes. Bytes of a file that were not UTF-8 (surrogate escapes) become what they were."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a surrogate pair from a JSON text
        return text.encode("utf-8", "replace")


class Reader:
    """A (decompressed) stream with one line of look-back and a line number for messages.

    name: the name of the file in messages.
    line: number of line ends that were consumed, so `line + 1` is the number of the next line.
    """

    def __init__(
        self, stream: IO[bytes], name: str, size: int | None, most: int | None = None, path: str | None = None
    ) -> None:
        """size: of the stream, where known.

        most: maximum number of bytes that are believed. path: as the user gave it.
        """
        self.name = name
        self._path = name if path is None else path
        self.line = 0
        self._stream = stream
        self._size, self._most = size, most
        self._taken = self._promised = 0
        self._pending = b""

    def error(self, message: str, line: int | None = None, kind: type[FormatError] = FormatError) -> FormatError:
        """The exception to raise: file, line (unless given, the last one consumed), message."""
        return kind(f"{self.name}: line {max(self.line if line is None else line, 1)}: {message}")

    def failure(self, message: str) -> FormatError:
        """As `error`, for a file without lines."""
        return FormatError(f"{self.name}: {message}")

    def remaining(self) -> int | None:
        """How many bytes follow. None where the stream cannot say (compressed, a pipe)."""
        return None if self._size is None else self._size - self._taken + len(self._pending)

    def can_hold(self, count: int) -> bool:
        """Whether `count` numbers may follow: each takes a digit and a blank. True where the size is unknown."""
        remaining = self.remaining()
        return remaining is None or 2 * count - 1 <= remaining

    def expect(self, count: int) -> None:
        """Raises `FormatError` if `count` numbers cannot follow. Call it before memory is allocated for them.

        Compressed data may decompress to as much more as these numbers take as text. Where all blocks together have
        more than `FIELD_VALUES` numbers, the limit is what the size of the file allows.
        """
        if not self.can_hold(count):
            raise self.error(
                f"the grid has {count} points, but only {self.remaining()} bytes follow: truncated or a wrong grid"
            )
        if self._most is None:
            return
        if self._promised + count <= FIELD_VALUES:
            self._promised += count
            self._most += VALUE_TEXT * count
        elif 2 * count - 1 > self._most - self._taken + len(self._pending):
            raise self.error(f"the grid has {count} points, and {_TOO_MUCH % self._most}")

    def take(self, size: int) -> bytes:
        """The next `size` bytes; fewer at the end of the file. It does not count lines."""
        if len(self._pending) >= size:
            data, self._pending = self._pending[:size], self._pending[size:]
            return data
        parts, missing = [self._pending], size - len(self._pending)
        self._pending = b""
        while missing:
            part = self._read(missing)
            if not part:
                break
            parts.append(part)
            missing -= len(part)
        return b"".join(parts) if parts[0] or len(parts) != 2 else parts[1]

    def give_back(self, data: bytes) -> None:
        """Undo a `take`, or the end of one."""
        self._pending = data + self._pending

    def peek(self, size: int) -> bytes:
        """The next bytes, which are not consumed."""
        data = self.take(size)
        self.give_back(data)
        return data

    def readline(self) -> bytes:
        """The next line with its end; empty at the end of the file. The line is counted.

        Raises `FormatError` for a line longer than `MAX_LINE`.
        """
        end = self._pending.find(b"\n")
        if end < 0 and len(self._pending) <= MAX_LINE:
            self.give_back(self.take(2 * MAX_LINE))
            end = self._pending.find(b"\n")
        size = end + 1 if end >= 0 else len(self._pending)
        if size > MAX_LINE:
            raise self.error(f"longer than {MAX_LINE} characters: not a text file of this format", self.line + 1)
        line, self._pending = self._pending[:size], self._pending[size:]
        self.line += bool(line)
        return line

    def whole(self) -> tuple[IO[bytes], int]:
        """The whole file as a stream that can seek, and its size. A plain file is given itself."""
        if self._size is not None and self._stream.seekable():
            self._stream.seek(0)
            return self._stream, self._size
        parts = [self.take(0)]
        while part := self.take(1 << 20):
            parts.append(part)
        data = b"".join(parts)
        return io.BytesIO(data), len(data)

    def beside(self, name: str) -> bytes | None:
        """As the function `beside`, for this file."""
        return beside(self._path, name)

    def _read(self, size: int) -> bytes:
        try:
            data = self._stream.read(size)
        except DAMAGED as error:
            reason = str(error) or type(error).__name__
            raise self.error(f"the compressed data are damaged or end early ({reason})", self.line + 1) from None
        self._taken += len(data)
        if self._most is not None and self._taken > self._most:
            raise self.error(_TOO_MUCH % self._most, self.line + 1)
        return data


def beside(path: str, name: str) -> bytes | None:
    """The content of another file in the same folder, also compressed with gzip. None where there is none.

    Raises `FormatError` for a file that is damaged, or larger than `MAX_BESIDE`.
    """
    place = path.split("?")[0] if is_url(path) else path
    folder = place[: max(place.rfind("/"), place.rfind(os.sep)) + 1]
    for other in (folder + name, folder + name + ".gz"):
        try:
            with open_reader(other) as reader:
                data = reader.take(MAX_BESIDE + 1)
        except FormatError as error:
            if isinstance(error.__cause__ or error.__context__, FileNotFoundError | RemoteError):
                continue
            raise
        if len(data) > MAX_BESIDE:
            raise FormatError(f"{other}: more than {MAX_BESIDE} bytes")
        return data
    return None


@contextmanager
def open_reader(path: str | os.PathLike[str], data: bytes | None = None) -> Iterator[Reader]:
    """Open a file or a URL for reading; a compression is recognised by the first bytes, whatever the name.

    data: its bytes, where they were read already.
    Raises `FormatError` for a folder, and for a missing or unreadable file (from its `OSError`): every failure is one
    line.
    """
    name = given = os.fspath(path)
    raw: IO[bytes] | Any
    try:
        if is_url(name) or data is not None:
            data = _read_url(name) if data is None else data
            name, raw = public(name) if is_url(name) else name, io.BufferedReader(io.BytesIO(data))
        else:
            raw = open(path, "rb")  # noqa: SIM115 - closed by the with statement below
    except RemoteError as error:
        raise FormatError(str(error)) from error
    except IsADirectoryError:
        known = next((file for file in _IN_FOLDERS if os.path.exists(os.path.join(name, file))), _IN_FOLDERS[0])
        raise FormatError(f"{name}: is a folder; name a file in it, such as {name.rstrip('/')}/{known}") from None
    except FileNotFoundError as error:
        raise FormatError(f"{name}: {_link_to_nothing(name) or f'cannot be read: {error.strerror}'}") from None
    except (OSError, ValueError) as error:
        raise FormatError(f"{name}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    with raw:
        size = _size(raw)
        head, stream = _begun(raw)
        kind = compression_of(head)
        if kind is None:
            yield Reader(stream, name, size, None, given)
            return
        most = None if size is None else most_unfolded(size)
        with decompressing(stream, kind, None if most is None else max(most, LARGEST_FRAME)) as unfolded:
            yield Reader(unfolded, name, None, most, given)


def _read_url(url: str) -> bytes:
    from ..remote.connect import read_file

    return read_file(url)


def _link_to_nothing(name: str) -> str | None:
    """What a symbolic link without a target is, in words. None where the file is not one."""
    if not os.path.islink(name):
        return None
    target = os.readlink(name)
    if "annex/objects/" in target:
        return "a link of git-annex to a file that is not here: run git annex get (or datalad get) on it"
    return f"a link to {target}, which is not there"


def _begun(raw: Any) -> tuple[bytes, IO[bytes]]:
    """The first bytes, and a stream that still has them. A pipe may give fewer bytes at a time than asked for."""
    head = raw.peek(8)[:8]
    if len(head) == 8:
        return head, raw
    head = b""
    while len(head) < 8 and (part := raw.read(8 - len(head))):
        head += part
    return head, io.BufferedReader(_Joined(head, raw))


class _Joined(io.RawIOBase):
    """Bytes that were read already, followed by the rest of their stream."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self._head, self._rest = head, rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data, self._head = self._head[: len(buffer)], self._head[len(buffer) :]
        data = data or self._rest.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _size(raw: Any) -> int | None:
    """Size of an open file in bytes. None for a pipe."""
    if isinstance(raw.raw, io.BytesIO):
        return len(raw.raw.getbuffer())
    status = os.fstat(raw.fileno())
    return status.st_size if stat.S_ISREG(status.st_mode) else None


@contextmanager
def open_writer(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a file for writing, compressed by its suffix. It appears under its name only when it is complete.

    It works as `atomic.replacing`. Missing folders are made. Raises `FormatError` for a folder, or a place that cannot
    be written.
    """
    name = os.fspath(path)
    if os.path.isdir(path):
        raise FormatError(f"{name}: is a folder; name the file to write")
    try:
        with folder_made(path), replacing(path) as raw, compressing(raw, Path(name).suffix.lower()) as stream:
            yield stream
    except OSError as error:
        if isinstance(error, ChgdbError):
            raise
        raise FormatError(f"{name}: cannot be written: {error.strerror or error}") from None
