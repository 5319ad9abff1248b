"""The files of a store on a disk: a folder or a .zip. `chgdb.remote.files` reads those of servers.

A key is a path inside the store with forward slashes. Every class reads whole files and byte ranges, raises `KeyError`
for a key that is not there, and gives a token that changes when the store is replaced by a new version.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from ..errors import StoreError
from ..limits import most_unfolded
from .format import ROOT

if TYPE_CHECKING:
    import zarr.abc.store


class Files(Protocol):
    """Read access to a store's files."""

    location: str  # folder, file or URL, as a user would write it

    def read(self, key: str) -> bytes: ...

    def read_range(self, key: str, start: int, stop: int, fresh: bool = False) -> bytes: ...  # fresh: not from a cache

    def token(self) -> object: ...

    def keys(self) -> Iterator[str]: ...

    def zarr_store(self) -> zarr.abc.store.Store: ...


def need_assertions() -> None:
    """Raise `StoreError` under python -O, where zarr fails: it parses what it reads inside of assertions."""
    if not __debug__:
        raise StoreError("zarr does not work under python -O (PYTHONOPTIMIZE): run it without for what needs zarr")


class FolderFiles:
    """A store in a local folder."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.location = self._folder = os.fspath(folder)

    def _path(self, key: str) -> str:
        if ".." in key.split("/") or key.startswith("/"):
            raise KeyError(key)  # a damaged or hostile store must not name files outside itself
        return os.path.join(self._folder, key)

    def read(self, key: str) -> bytes:
        try:
            with open(self._path(key), "rb") as file:
                return file.read()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise KeyError(key) from None

    def read_range(self, key: str, start: int, stop: int, fresh: bool = False) -> bytes:
        try:
            with open(self._path(key), "rb", buffering=0) as file:
                size = os.fstat(file.fileno()).st_size  # a range of a damaged index can be of any size
                file.seek(min(start, size))
                return file.read(max(0, min(stop, size) - start))
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise KeyError(key) from None

    def token(self) -> object:
        """Identity of the root metadata file. Every new version of the store has a new file."""
        try:
            status = os.stat(os.path.join(self._folder, ROOT))
        except (FileNotFoundError, NotADirectoryError):
            return None
        return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size

    def keys(self) -> Iterator[str]:
        for folder, _, names in os.walk(self._folder):
            for name in names:
                yield os.path.relpath(os.path.join(folder, name), self._folder).replace(os.sep, "/")

    def zarr_store(self) -> zarr.abc.store.Store:
        need_assertions()
        from zarr.storage import LocalStore

        return LocalStore(self._folder, read_only=True)  # a path with `::` would be taken for a URL


def _damaged_zip() -> tuple[type[Exception], ...]:
    """Errors of zipfile for archives that are damaged, encrypted, or packed in an unknown way."""
    import lzma
    import struct
    import zipfile
    import zlib

    return zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, RuntimeError, ValueError


class ZipFiles:
    """A store in a .zip file, at its top level or in one folder of it."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        import zipfile

        self.location = self._path = os.fspath(path)
        try:
            self._zip = zipfile.ZipFile(self._path)
        except _damaged_zip() as error:
            raise StoreError(f"{self.location}: not a zip file ({error})") from None
        except OSError as error:
            raise StoreError(f"{self.location}: cannot be read: {error.strerror or error}") from None
        roots = [name for name in self._zip.namelist() if name == ROOT or name.endswith("/" + ROOT)]
        self._prefix = min(roots, key=len, default=ROOT).removesuffix(ROOT)

    def read(self, key: str) -> bytes:
        info = self._zip.getinfo(self._prefix + key)
        if info.file_size > most_unfolded(min(info.compress_size, os.path.getsize(self._path))):
            raise StoreError(f"{self.location}: {key} unfolds to far more than its size; get a fresh copy")
        try:
            return self._zip.read(info)
        except _damaged_zip() as error:
            raise StoreError(f"{self.location}: {key} is damaged ({error}); get a fresh copy") from None
        except OSError as error:
            raise StoreError(f"{self.location}: {key} cannot be read: {error.strerror or error}") from None

    def read_range(self, key: str, start: int, stop: int, fresh: bool = False) -> bytes:
        return self.read(key)[start:stop]

    def token(self) -> object:
        return None  # the open file is a snapshot: a replaced zip is another file

    def keys(self) -> Iterator[str]:
        for name in self._zip.namelist():
            if name.startswith(self._prefix) and not name.endswith("/"):
                yield name.removeprefix(self._prefix)

    def zarr_store(self) -> zarr.abc.store.Store:
        if self._prefix:
            raise StoreError(f"{self.location}: the store lies in the folder {self._prefix} of it: unpack it first")
        need_assertions()
        from zarr.storage import ZipStore

        return ZipStore(self._path, mode="r")


def locate(path: str | os.PathLike[str], _retries: int = 25) -> Files:
    """The files of the store at a path. Raises `StoreError` if it does not exist."""
    text = os.fspath(path)
    if "\0" in text:
        raise StoreError(f"{text!r}: no path has a NUL in it")
    if os.path.isdir(text):
        return FolderFiles(text)
    if os.path.isfile(text):
        if text.endswith(".zip"):
            return ZipFiles(text)
        raise StoreError(f"{text} is a file; a store is a folder, a .zip of one, or a URL")
    from .transaction import is_being_replaced

    if _retries and is_being_replaced(text):
        time.sleep(0.02)  # a writer is replacing it; where folders cannot be exchanged, there is no store for a moment
        return locate(path, _retries - 1)
    raise StoreError(f"{text}: there is no such store")
