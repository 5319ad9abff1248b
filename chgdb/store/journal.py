"""The journal of a build: every finished record on disk at once, so that a build killed at any moment resumes.

One append-only file beside the store. An entry is

    "CHGJ"  lengths of header, payload and extras (3 x uint32)  header (JSON)  payload  extras  crc32c of all before

with little-endian numbers. Bytes after the last whole entry (a torn write) are cut off when the journal is opened.
"""

from __future__ import annotations

import json
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from .head import crc32c
from .table import Finished
from .transaction import Transaction

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
        """Write an entry. It survives a kill immediately, and a power failure after a second."""
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
    """The entry at a position, and its end; None where there is no complete one."""
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
        return None  # not an entry of any version of chgdb: what follows is not trusted either
    if not (isinstance(key, str) and isinstance(material_id, str) and isinstance(values, dict)):
        return None
    return key, Finished(material_id, data[first + header : middle], data[middle:end], values), end + 4


@contextmanager
def open_journal(transaction: Transaction, name: str = RECORDS, *others: str) -> Iterator[Journal]:
    """The journal of a store that is being written. It is removed when the block ends well, or when it is empty.

    others: further files of the journal, removed with it.
    """
    folder = transaction.journal
    journal = Journal(folder, name)
    try:
        yield journal
    except BaseException:
        journal.close()
        if not journal.finished and not any((folder / other).exists() for other in others):
            (folder / name).unlink(missing_ok=True)  # nothing worth resuming
        raise
    journal.close()
    for file in (name, *others):
        (folder / file).unlink(missing_ok=True)
