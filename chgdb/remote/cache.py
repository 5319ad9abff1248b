"""The local cache of what was read from remote stores.

A file in the cache is 32 bytes, the BLAKE2b hash of name and content, and the content: what does not match is removed
and read anew. Names are hashes too. Pieces of a store lie in the folder of its version (`head.version_of`),
so that pieces of two versions never meet; files appear by renaming, so that any number of processes can share the
cache; and the least recently used go when it grows beyond its limit.
"""

from __future__ import annotations

import json
import math
import os
import random
import re
import stat
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from .. import atomic
from ..errors import StoreError

_DIGEST = 32
_DEFAULT_LIMIT = 1_000_000_000
_LOOKS = 512  # the cache is looked through once in so many parts of its limit written
#: Age in seconds after which a use is noted.
_NOTED = 60
#: Names of its files, also of those that are being written.
_OWN = re.compile(rf"[0-9a-f]{{32}}(\.{atomic.TOKEN}\.part)?")
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


@dataclass(frozen=True)
class CacheInfo:
    """path; limit and size in bytes; files; stores: (URL, version, time of the last look at it)."""

    path: str
    limit: int
    size: int
    files: int
    stores: tuple[tuple[str, str, float], ...]


def cache_folder() -> Path:
    """CHGDB_CACHE (where `~` is the home folder), else the folder `chgdb` where the system keeps caches."""
    given = os.environ.get("CHGDB_CACHE")
    if given:
        return Path(os.path.abspath(_expanded(given)))
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or _expanded("~/AppData/Local")) / "chgdb" / "cache"
    if sys.platform == "darwin":
        return Path(_expanded("~/Library/Caches")) / "chgdb"
    places = os.environ.get("XDG_CACHE_HOME", "")
    # A relative one is invalid, and to be ignored (XDG Base Directory Specification).
    return Path(places if os.path.isabs(places) else _expanded("~/.cache")) / "chgdb"


def _expanded(path: str) -> str:
    found = os.path.expanduser(path)
    if found.startswith("~"):
        raise StoreError(f"no home folder is known for {path}: set the environment variable CHGDB_CACHE to a folder")
    return found


def cache_limit() -> int:
    """Bytes that the cache may take: CHGDB_CACHE_SIZE (such as 500MB; 0 for none at all), else 1 GB."""
    text = os.environ.get("CHGDB_CACHE_SIZE", "").strip()
    if not text:
        return _DEFAULT_LIMIT
    match = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,15})?)\s*([KMGT]?B?)", text.upper())
    if match is None or match[2] not in _UNITS:
        shown = text if len(text) <= 40 else text[:40] + "..."
        raise StoreError(f"the environment variable CHGDB_CACHE_SIZE is {shown!r}; expected a size such as 500MB, or 0")
    return int(float(match[1]) * _UNITS[match[2]])


class Cache:
    """Named contents in groups; a group is a version of a store, or `heads`."""

    def __init__(self, folder: Path | None = None, limit: int | None = None) -> None:
        self.folder = cache_folder() if folder is None else folder
        self.limit = cache_limit() if limit is None else limit
        self._broken = False
        self._swept: set[str] = set()
        # Bytes to write before looking at the size of the whole; at random, so that many short processes look as often
        # as one long one.
        self._until = random.random() * self.limit / _LOOKS

    def _path(self, group: str, name: str) -> Path:
        return self.folder / group / blake2b(_encoded(name), digest_size=16).hexdigest()

    def get(self, group: str, name: str) -> bytes | None:
        """The content of a name; None where there is none, or it is damaged."""
        if not self.limit:
            return None
        path = self._path(group, name)
        try:
            stored = path.read_bytes()
            if time.time() - path.stat().st_mtime > _NOTED:
                os.utime(path)
        except OSError:  # not there, or removed meanwhile, or in a folder that may not be read: it is only a cache
            return None
        data = stored[_DIGEST:]
        if stored[:_DIGEST] != _digest(name, data):
            with suppress(OSError):
                path.unlink()
            return None
        return data

    def put(self, group: str, name: str, data: bytes) -> None:
        """Keep a content. A cache that cannot be written (full disk, no permission) warns once."""
        if not self.limit or self._broken or len(data) > self.limit // 4:
            return
        path = self._path(group, name)
        try:
            for _ in range(3):  # another process may be removing the empty folder
                path.parent.mkdir(parents=True, exist_ok=True)
                try:
                    self._sweep(group)
                    atomic.write(path, _digest(name, data) + data)
                    break
                except FileNotFoundError:
                    continue
        except OSError as error:
            self._broken = True
            reason = error.strerror or error
            warnings.warn(f"the cache {self.folder} cannot be written ({reason}): nothing is kept", stacklevel=2)
            return
        self._until -= _on_disk(len(data) + _DIGEST)
        if self._until <= 0:
            room = self.limit - self.shrink()
            self._until = max(self.limit / _LOOKS, room / 64)

    def _sweep(self, group: str) -> None:
        """Remove what killed processes left in a group; once for each group."""
        if group not in self._swept:
            self._swept.add(group)
            atomic.sweep(self.folder / group)

    def shrink(self) -> int:
        """Remove the least recently used files until the cache is within its limit, and what killed processes left.
        Returns the size of the cache then."""
        entries = []
        for folder in self._groups():
            atomic.sweep(folder)
        for path, status in self._entries():
            if atomic.is_staged(path.name):
                continue
            entries.append((status.st_mtime, _on_disk(status.st_size), path))
        size = sum(entry[1] for entry in entries)
        if size <= self.limit - self.limit // 16:  # several processes may write until each looks again
            return size
        for _, bytes_, path in sorted(entries):
            if size <= self.limit - self.limit // 8:
                break
            _remove(path)
            size -= bytes_
        for folder in self._groups():
            with suppress(OSError):
                folder.rmdir()  # only where it is empty
        return size

    def info(self) -> CacheInfo:
        """Folder, size and limit of the cache, and the stores of which it holds parts.

        Returns
        -------
        CacheInfo
        """
        entries = [_on_disk(status.st_size) for _, status in self._entries()]
        stores = []
        for path, _ in self._entries("heads"):
            facts = self._facts(path)
            if facts is not None:
                stores.append((str(facts["url"]), str(facts["version"]), float(facts["time"])))
        return CacheInfo(str(self.folder), self.limit, sum(entries), len(entries), tuple(sorted(stores)))

    @staticmethod
    def _facts(path: Path) -> dict[str, Any] | None:
        """The first line of a kept head; None where it is damaged or just being removed."""
        try:
            line = path.read_bytes()[_DIGEST:].partition(b"\n")[0]
            facts = json.loads(line)
            return facts if math.isfinite(float(facts["time"])) and facts.keys() >= {"url", "version"} else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            return None

    def clear(self) -> CacheInfo:
        """Remove everything. Returns what was there.

        Returns
        -------
        CacheInfo

        Raises
        ------
        StoreError
            If something cannot be removed.
        """
        found = self.info()
        for path, _ in self._entries():
            try:
                path.unlink()
            except FileNotFoundError:  # another process was faster
                continue
            except OSError as error:
                raise StoreError(f"{path}: cannot be removed: {error.strerror or error}") from None
        for folder in self._groups():
            with suppress(OSError):  # another process is writing in it
                folder.rmdir()
        return found

    def _groups(self) -> list[Path]:
        """Folders that the cache made; others stay out, whatever CHGDB_CACHE points to."""
        try:
            names = os.listdir(self.folder)
        except OSError:
            return []
        return [self.folder / n for n in names if n == "heads" or re.fullmatch("[0-9a-f]{32}", n)]

    def _entries(self, group: str | None = None) -> Iterator[tuple[Path, os.stat_result]]:
        """Files that the cache made, of one group or of all; other files in its folders stay out."""
        for folder in self._groups() if group is None else [self.folder / group]:
            try:
                names = os.listdir(folder)
            except OSError:
                continue
            for name in filter(_OWN.fullmatch, names):
                with suppress(OSError):
                    status = (folder / name).lstat()
                    if stat.S_ISREG(status.st_mode):
                        yield folder / name, status


def _remove(path: Path) -> None:
    with suppress(OSError):  # another process was faster
        path.unlink()


def _on_disk(size: int) -> int:
    """Bytes that a small file takes on a disk with blocks of 4 kB."""
    return -(-size // 4096) * 4096


def _digest(name: str, data: bytes) -> bytes:
    return blake2b(_encoded(name) + b"\0" + data, digest_size=_DIGEST).digest()


def _encoded(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass")  # a URL of the command line need not be text
