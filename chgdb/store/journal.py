"""The journal of a build: every finished record on disk at once, so that a build killed at any moment resumes.

One append-only file beside the store. An entry is

    "CHGJ"  lengths of header, payload and extras (3 x uint32)  header (JSON)  payload  extras  crc32c of all before

with little-endian numbers. What follows the last whole entry (a torn write) is cut off when the journal is opened.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ..errors import StoreError
from .locks import try_lock
from .reader import crc32c
from .swap import beside, recover
from .table import Finished

_START = struct.Struct("<4sIII")
_MAGIC = b"CHGJ"
_FLUSH_SECONDS = 1.0
#: Files of journals: of finished records, with the prior fitted for them, and of finished latents.
RECORDS, PRIOR, LATENTS = "records.log", "prior.npz", "latents.log"


class Journal:
    """Finished records by key, on disk and in memory."""

    def __init__(self, folder: Path, name: str = RECORDS) -> None:
        self.folder = folder
        self.finished: dict[str, Finished] = {}
        self._file: IO[bytes] = open(folder / name, "a+b")  # noqa: SIM115 (kept open for the whole build)
        try:
            end = 0
            self._file.seek(0)
            data = self._file.read()
            while entry := _parse(data, end):
                key, record, end = entry
                self.finished[key] = record
            self._file.truncate(end)
            self._file.seek(end)
        except BaseException:
            self._file.close()
            raise
        self._flushed = time.monotonic()

    def add(self, key: str, record: Finished) -> None:
        """Write an entry. It survives a kill at once, a power failure within a second."""
        header = json.dumps({"key": key, "material_id": record.material_id, "values": dict(record.values)}).encode()
        start = _START.pack(_MAGIC, len(header), len(record.payload), len(record.extras))
        body = b"".join([start, header, record.payload, record.extras])
        self._file.write(body + struct.pack("<I", crc32c(body)))
        self._file.flush()
        if time.monotonic() - self._flushed > _FLUSH_SECONDS:
            os.fsync(self._file.fileno())
            self._flushed = time.monotonic()
        self.finished[key] = record

    def close(self) -> None:
        self._file.close()


def _parse(data: bytes, start: int) -> tuple[str, Finished, int] | None:
    """The entry at a position and where it ends; None where there is no whole one."""
    if start + _START.size > len(data):
        return None
    magic, header, payload, extras = _START.unpack_from(data, start)
    first = start + _START.size
    end = first + header + payload + extras
    if magic != _MAGIC or end + 4 > len(data) or data[end : end + 4] != struct.pack("<I", crc32c(data[start:end])):
        return None
    middle = first + header + payload
    try:
        facts = json.loads(data[first : first + header])
        key, material_id, values = facts["key"], facts["material_id"], facts["values"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None  # of no version of chgdb: what follows is not believed either
    if not (isinstance(key, str) and isinstance(material_id, str) and isinstance(values, dict)):
        return None
    return key, Finished(material_id, data[first + header : middle], data[middle:end], values), end + 4


@contextmanager
def open_journal(store: Path) -> Iterator[Journal]:
    """The journal of the build of a store, locked against a second build; removed when the build ends well.

    Raises `StoreError` where another build of the same store is running.
    """
    folder = beside(store, "journal")
    with _locked(store, folder):
        recover(store)
        journal = Journal(folder)
        try:
            yield journal
        except BaseException:
            journal.close()
            if not journal.finished and not (folder / PRIOR).exists():
                _remove(folder, RECORDS)  # nothing worth resuming
            raise
        journal.close()
        _remove(folder, RECORDS, PRIOR)


@contextmanager
def open_latents_journal(store: Path) -> Iterator[Journal]:
    """The journal of latents being computed for a store, locked and removed as that of a build.

    Raises `StoreError` where a build of the same store is running.
    """
    folder = beside(store, "journal")
    with _locked(store, folder):
        recover(store)
        journal = Journal(folder, LATENTS)
        try:
            yield journal
        except BaseException:
            journal.close()
            if not journal.finished:
                _remove(folder, LATENTS)
            raise
        journal.close()
        _remove(folder, LATENTS)


def _remove(folder: Path, *names: str) -> None:
    """Remove files of a journal, and its folder where nothing is left that another kind of build could resume."""
    for name in names:
        (folder / name).unlink(missing_ok=True)
    if {p.name for p in folder.iterdir()} <= {"lock"}:
        shutil.rmtree(folder)


@contextmanager
def changing(store: Path) -> Iterator[None]:
    """Hold off builds of a store while it is changed in another way or replaced; records of an unfinished build stay.

    Raises `StoreError` where a build of the same store is running.
    """
    folder = beside(store, "journal")
    with _locked(store, folder):
        recover(store)
        try:
            yield
        finally:
            if {p.name for p in folder.iterdir()} == {"lock"}:
                shutil.rmtree(folder)


def tidy(store: Path) -> None:
    """Remove what a writer that was killed has left beside a store, if it has left anything.

    Raises `StoreError` where a build of the same store is running.
    """
    if any(beside(store, kind).exists() for kind in ("journal", "staging", "previous")):
        with changing(store):
            pass


def is_due(store: Path, what: str) -> bool:
    """Whether something that was noted with `set_due` is still to be done."""
    return (beside(store, "journal") / f"{what}.due").exists()


def set_due(store: Path, what: str, due: bool) -> None:
    """Note that something is to be done once a store has been changed, or that it is done: a process that is killed
    between the two steps cannot tell from the store that the second was wanted.

    Raises `StoreError` where a build of the same store is running.
    """
    if is_due(store, what) == due:
        return
    with changing(store):
        path = beside(store, "journal") / f"{what}.due"
        if due:
            path.touch()
        else:
            path.unlink(missing_ok=True)


@contextmanager
def _locked(store: Path, folder: Path) -> Iterator[None]:
    """Hold the lock file of a journal. The system lets go of it when the process ends, however it ends."""
    path = folder / "lock"
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            file = open(path, "a+b")  # noqa: SIM115 (held over the yield)
        except FileNotFoundError:
            continue  # removed by a build that ended just now
        try:
            if not try_lock(file):
                raise StoreError(f"{store}: another build of this store is running; wait for it to end")
            # A build that ended between our open and our lock took the folder along: then the lock protects nothing.
            if _is(path, file):
                yield
                return
        finally:
            file.close()


def _is(path: Path, file: IO[bytes]) -> bool:
    """Whether an open file still lies at a path."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return False
    opened = os.fstat(file.fileno())
    return (status.st_dev, status.st_ino) == (opened.st_dev, opened.st_ino)
