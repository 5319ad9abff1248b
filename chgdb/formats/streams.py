"""Bytes in and out of files: compression, line numbers, atomic replacement. Knows nothing of densities."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import re
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, cast

from ..errors import ChgdbError, FormatError, RemoteError
from ..limits import most_unfolded
from ..remote.transport import is_url, public, read_file, url_path
from ..store.locks import is_running, try_lock

#: Longest line that a header may have. A file without line breaks is not read into memory to find that out.
MAX_LINE = 1 << 16

_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz"}
_SUFFIX = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz"}
_DAMAGED = (EOFError, zlib.error, lzma.LZMAError, OSError)


def bare_name(path: str | os.PathLike[str]) -> str:
    """File name without folder and without the suffix of a compression.

    >>> bare_name("runs/CHGCAR.gz")
    'CHGCAR'
    """
    name = Path(url_path(path) if isinstance(path, str) and is_url(path) else path).name
    return name[: -len(Path(name).suffix)] if Path(name).suffix.lower() in _SUFFIX else name


def text_to_bytes(text: str) -> bytes:
    """UTF-8. Bytes that were none in the file that they came from are as they were there (surrogate escapes)."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a surrogate pair, of a JSON text
        return text.encode("utf-8", "replace")


class Reader:
    """A (decompressed) stream with one line of look-back and a line number for messages.

    name: how messages call the file.
    line: how many line ends were consumed, so `line + 1` is the number of the next line.
    """

    def __init__(self, stream: IO[bytes], name: str, size: int | None, most: int | None = None) -> None:
        """size: of the stream, where it is known. most: bytes that are too many for it."""
        self.name = name
        self.line = 0
        self._stream = stream
        self._size, self._most = size, most
        self._taken = 0
        self._pending = b""

    def error(self, message: str, line: int | None = None) -> FormatError:
        """The exception to raise: file, line (the last one consumed unless given) and the message."""
        return FormatError(f"{self.name}: line {max(self.line if line is None else line, 1)}: {message}")

    def remaining(self) -> int | None:
        """Bytes that follow; None where the stream cannot say (compressed, a pipe)."""
        return None if self._size is None else self._size - self._taken + len(self._pending)

    def can_hold(self, count: int) -> bool:
        """Whether `count` numbers may follow: each takes a digit and a blank. True where the size is not known."""
        remaining = self.remaining()
        return remaining is None or 2 * count - 1 <= remaining

    def take(self, size: int) -> bytes:
        """The next `size` bytes, fewer only at the end of the file. Does not count lines."""
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
        """Undo a `take` (or the end of one)."""
        self._pending = data + self._pending

    def peek(self, size: int) -> bytes:
        """The next bytes without consuming them."""
        data = self.take(size)
        self.give_back(data)
        return data

    def readline(self) -> bytes:
        """The next line with its end, empty at the end of the file; counted.

        Raises `FormatError` where the line is longer than `MAX_LINE`.
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

    def _read(self, size: int) -> bytes:
        try:
            data = self._stream.read(size)
        except _DAMAGED as error:
            reason = str(error) or type(error).__name__
            raise self.error(f"the compressed data are damaged or end early ({reason})", self.line + 1) from None
        self._taken += len(data)
        if self._most is not None and self._taken > self._most:
            raise self.error(
                f"the compressed data unfold to more than {self._most} bytes, which no density does: where this one "
                "does, decompress it first",
                self.line + 1,
            )
        return data


@contextmanager
def open_reader(path: str | os.PathLike[str]) -> Iterator[Reader]:
    """Open a file or a URL for reading; gzip, bzip2 and xz are recognised by their first bytes, whatever the name.

    Raises `FormatError` for a folder, and lets the `OSError` of a missing or unreadable file through as one too
    (`FormatError` from it), so that every failure is one line.
    """
    name = os.fspath(path)
    raw: IO[bytes] | Any
    try:
        if is_url(name):
            name, raw = public(name), io.BufferedReader(io.BytesIO(read_file(name)))
        else:
            raw = open(path, "rb")  # noqa: SIM115 - closed by the with statement below
    except RemoteError as error:
        raise FormatError(str(error)) from error
    except IsADirectoryError:
        raise FormatError(f"{name}: is a folder; name a file in it, such as {name.rstrip('/')}/CHGCAR") from None
    except (OSError, ValueError) as error:
        raise FormatError(f"{name}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    with raw:
        size = _size(raw)
        head = raw.peek(8)[:8]
        kind = next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)
        if kind is None:
            yield Reader(raw, name, size)
            return
        opener: dict[str, Any] = {"gzip": gzip.GzipFile, "bzip2": bz2.BZ2File, "xz": lzma.LZMAFile}
        argument = {"fileobj": raw} if kind == "gzip" else {"filename": raw}
        with opener[kind](**argument, mode="rb") as stream:
            yield Reader(stream, name, None, None if size is None else most_unfolded(size))


def _size(raw: Any) -> int | None:
    """Bytes of an open file; None for a pipe."""
    if isinstance(raw.raw, io.BytesIO):
        return len(raw.raw.getbuffer())
    status = os.fstat(raw.fileno())
    return status.st_size if stat.S_ISREG(status.st_mode) else None


@contextmanager
def open_writer(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a file for writing, compressed by its suffix; it appears under its name only when complete.

    The bytes go to a temporary file in the same folder, which is renamed at the end and removed after an exception.
    A pipe or a device is written directly. Raises `FormatError` for a folder or a place that cannot be written.
    """
    name = os.fspath(path)
    if os.path.isdir(path):
        raise FormatError(f"{name}: is a folder; name the file to write, such as {name.rstrip('/')}/CHGCAR")
    target = os.path.realpath(path)  # a symbolic link stays one
    direct = os.path.exists(target) and not os.path.isfile(target)
    temporary = target if direct else f"{target}.{os.getpid()}.part"
    try:
        if not direct:
            _remove_left_parts(target)
        with open(temporary, "wb") as raw:
            if not direct:
                try_lock(raw)
            with _compressor(raw, Path(name).suffix.lower()) as stream:
                yield stream
        if not direct:
            os.replace(temporary, target)
    except BaseException as error:
        if not direct:
            with suppress(OSError):  # not made, or on a disk that has become read-only
                os.unlink(temporary)
        if isinstance(error, OSError) and not isinstance(error, ChgdbError):
            raise FormatError(f"{name}: cannot be written: {error.strerror or error}") from None
        raise


def _remove_left_parts(target: str) -> None:
    """Remove what killed processes left of their attempts to write this file. Other machines' are locked while open."""
    folder, name = os.path.split(target)
    pattern = re.compile(re.escape(name) + r"\.(\d{1,9})\.part")
    with suppress(OSError):
        for other in os.listdir(folder):
            match = pattern.fullmatch(other)
            if match is None or is_running(int(match[1])):
                continue
            with suppress(OSError), open(os.path.join(folder, other), "r+b") as left:
                if try_lock(left):
                    os.unlink(left.name)


@contextmanager
def _compressor(raw: IO[bytes], suffix: str) -> Iterator[IO[bytes]]:
    kind = _SUFFIX.get(suffix)
    if kind == "gzip":
        # No name and no time in the header: the same density gives the same bytes.
        with gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=6, mtime=0) as stream:
            yield cast(IO[bytes], stream)
    elif kind == "bzip2":
        with bz2.BZ2File(raw, "wb") as stream:
            yield stream
    elif kind == "xz":
        with lzma.LZMAFile(raw, "wb") as stream:
            yield stream
    else:
        yield raw
