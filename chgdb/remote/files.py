"""A store behind a URL: one version of it at a time, pieces checked, kept in the local cache, read many at once.

The first request gets head.bin, which names a version of the store and holds the checksum of every file. All that is
read afterwards is compared with it; what does not fit is asked for again, and so is the head: either the store was
replaced, and then everything is read anew, or the piece is damaged.
"""

from __future__ import annotations

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..errors import OfflineError, RemoteError, StoreError
from ..store.files import Files, locate, need_assertions
from ..store.head import CHECKSUMS, HEAD, RELEASE, Head, LaterHead, parse_checksums, unpack
from ..urls import links, public, scheme
from .cache import Cache
from .connect import connect
from .transport import Answer, DeniedError, Transport, offline

if TYPE_CHECKING:
    import zarr.abc.store

Piece = tuple[str, int | None, int | None]  # key, and the range in the file or None

#: Seconds after which the server is asked whether the store is still the same.
RECHECK_SECONDS = 60.0
#: Requests at a time.
CONCURRENCY = 16
#: Bytes kept in memory, and ranges that are close to each other are one request up to this gap and size.
_MEMORY, _GAP, _LONGEST = 64 << 20, 4096, 1 << 20
#: Schemes of URLs that are read as fast as the cache.
_NEAR = ("memory", "file", "local")


def at_url(url: str, options: Mapping[str, Any] | None = None) -> Files:
    """The files of the store at a URL. Raises `StoreError` if there is none."""
    if scheme(url) == "file":
        from urllib.request import url2pathname

        files = locate(url2pathname(url[len("file://") :]))
        files.location = public(url)
        return files
    return RemoteFiles(url, options)


class RemoteFiles:
    """The files of a store at a URL (see `chgdb.store.files.Files`)."""

    def __init__(self, url: str, options: Mapping[str, Any] | None = None, cached: bool = True) -> None:
        self.location = public(url)
        # A query may name another store: the whole URL is the name of the head in the cache, which keeps a hash of it.
        self._heads = url
        self._transport: Transport | None = None
        self._url, self._options = url, dict(options or {})
        near = scheme(links(url)[-1]) in _NEAR
        self._cache = Cache(limit=0) if near or not cached else Cache()
        self._offline = offline() and not near
        self._memory: OrderedDict[Piece, bytes] = OrderedDict()
        self._memory_size = 0
        self._lock = threading.RLock()
        self._head, self._tag = self._first_head()

    def __reduce__(self) -> tuple[object, ...]:
        return RemoteFiles, (self._url, self._options)  # opened anew where it comes to

    def _connected(self) -> Transport:
        with self._lock:
            if self._transport is None:
                if self._offline:
                    raise OfflineError(f"{self.location}: chgdb is offline (CHGDB_OFFLINE)")
                self._transport = connect(self._url, self._options)
            return self._transport

    # The head ----------------------------------------------------------------------------------------------------

    def _first_head(self) -> tuple[Head, str]:
        kept = self._kept_head()
        if self._offline:
            self._checked = float("inf")
            if kept is None:
                raise OfflineError(
                    f"{self.location}: chgdb is offline (CHGDB_OFFLINE), and the cache {self._cache.folder} holds "
                    "nothing of this store"
                )
            return kept
        return self._fetch_head(kept)

    def _kept_head(self) -> tuple[Head, str] | None:
        """Head and tag that an earlier look at this URL left in the cache."""
        data = self._cache.get("heads", self._heads)
        if data is None:
            return None
        line, _, body = data.partition(b"\n")
        try:
            facts = json.loads(line)
            return _parse_head(body, bool(facts["packed"])), str(facts["tag"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return None  # of another version of chgdb

    def _fetch_head(self, known: tuple[Head, str] | None, fresh: bool = False) -> tuple[Head, str]:
        """The current head. Raises `RemoteError` if the server does not answer."""
        for attempt in range(3):
            tag = known[1] if known is not None else ""
            answer, packed = self._get_head(tag, fresh or attempt > 0)
            if answer.data is None and known is not None and tag:
                self._checked = time.monotonic()
                return known
            try:
                head = _parse_head(answer.data or b"", packed)
                break
            except LaterHead as error:
                raise StoreError(f"{self.location}: {error}: run pip install --upgrade chgdb") from None
            except ValueError as error:
                if attempt == 2:
                    if packed:
                        raise RemoteError(f"{self.location}/{HEAD} is damaged ({error}); tell its owner") from None
                    head = Head({CHECKSUMS: answer.data or b""} if answer.data else {})
                time.sleep(0.1 * attempt)  # perhaps it is just being written
        self._checked = time.monotonic()
        facts = {"url": self.location, "version": head.version, "time": time.time(), "tag": answer.tag}
        line = json.dumps({**facts, "packed": packed}).encode()
        self._cache.put("heads", self._heads, line + b"\n" + (answer.data or b""))
        return head, answer.tag

    def _get_head(self, known: str, fresh: bool) -> tuple[Answer, bool]:
        """head.bin, or checksums.txt where there is none (a store of an early version of chgdb); and which it is."""
        transport = self._connected()
        try:
            return transport.get(HEAD, known=known, fresh=fresh), True
        except KeyError:
            refusal = None
        except DeniedError as error:
            refusal = error  # a bucket that may not be listed says so of files that it does not have
        try:
            return transport.get(CHECKSUMS, fresh=fresh), False
        except KeyError:
            if refusal is not None:
                raise refusal from None
            return Answer(b""), False  # no store, or one without checksums: the reader says which

    @property
    def head(self) -> Head:
        """The version that is being read."""
        return self._head

    @property
    def zarr_url(self) -> str:
        """Where the Zarr files of this version lie."""
        return f"{self.location.rstrip('/')}/{self._head.base}" if self._head.base else self.location

    def changed(self) -> bool:
        """Ask for the head past all caches. Returns whether the store has another version now."""
        with self._lock:
            before = self._head.version
            head, tag = self._fetch_head(None, fresh=True)
            self._adopt(head, tag)
            return head.version != before

    def _adopt(self, head: Head, tag: str) -> None:
        if head.version != self._head.version:
            self._memory.clear()
            self._memory_size = 0
        self._head, self._tag = head, tag

    def token(self) -> object:
        """Version of the store; asked again of the server once in `RECHECK_SECONDS`."""
        if time.monotonic() - self._checked > RECHECK_SECONDS:
            with self._lock:
                self._adopt(*self._fetch_head((self._head, self._tag)))
        return self._head.version

    # Pieces ------------------------------------------------------------------------------------------------------

    def read(self, key: str) -> bytes:
        head = self._head
        if key in head.files:
            return head.files[key]
        expected = head.checksums.get(key)
        if key in (HEAD, RELEASE):
            return self._get(head, (key, None, None), fresh=False)
        if expected is None and head.checksums:
            raise KeyError(key)
        piece = (key, None, None)
        data = self._kept(head, piece)
        if data is not None and head.fits(key, data):
            return data
        self._online(piece)
        data = b""
        for fresh in (False, True, True):
            try:
                data = self._get(head, piece, fresh)
            except KeyError:
                self._raise_if_changed()
                raise
            if head.fits(key, data):
                self._keep(head, piece, data)
                return data
            self._raise_if_changed()
        if head.sound(key, data):
            raise StoreError(f"{self.location}: {key} is of another version than {HEAD}; publish the store anew")
        return data  # damaged on the server: the store repairs or reports it

    def read_range(self, key: str, start: int, stop: int, fresh: bool = False) -> bytes:
        head, piece = self._head, (key, start, stop)
        if not fresh and (data := self._kept(head, piece)) is not None:
            return data
        self._online(piece)
        if fresh:
            self._raise_if_changed()
        try:
            data = self._get(head, piece, fresh)
        except KeyError:
            self._raise_if_changed()
            raise
        self._keep(head, piece, data)
        return data

    def prefetch(self, pieces: Sequence[Piece]) -> None:
        """Read many pieces at once into memory and cache; neighbours in one request."""
        head = self._head
        missing = [p for p in dict.fromkeys(pieces) if self._wanted(head, p) and self._kept(head, p) is None]
        if not missing or self._offline:
            return  # offline reading the piece itself says what is missing
        groups = _neighbours(missing)
        with ThreadPoolExecutor(min(CONCURRENCY, len(groups)), "chgdb") as pool:
            for _ in pool.map(lambda group: self._get_group(head, group), groups):
                pass

    def _wanted(self, head: Head, piece: Piece) -> bool:
        return piece[0] not in head.files and (not head.checksums or piece[0] in head.checksums)

    def _get_group(self, head: Head, group: Sequence[Piece]) -> None:
        key, first, _ = group[0]
        if first is None:
            with suppress(KeyError):  # reading the piece itself reports it
                self.read(key)
            return
        stop = max(end for _, _, end in group if end is not None)
        try:
            data = self._get(head, (key, first, stop), fresh=False)
        except KeyError:
            return  # reading the piece itself reports it
        for piece in group:
            _, low, high = piece
            if low is not None and high is not None:
                self._keep(head, piece, data[low - first : high - first])

    def _get(self, head: Head, piece: Piece, fresh: bool) -> bytes:
        key, start, stop = piece
        path = f"{head.base}/{key}" if head.base else key
        data = self._connected().get(path, start, stop, fresh=fresh).data
        if data is None:
            raise RemoteError(f"{self.location}/{key}: the server says that it has not changed, which was not asked")
        return data

    def _online(self, piece: Piece) -> None:
        if self._offline:
            key, start, stop = piece
            part = "" if start is None else f", bytes {start} to {stop}"
            raise OfflineError(f"{self.location}: chgdb is offline (CHGDB_OFFLINE), and the cache lacks {key}{part}")

    def _raise_if_changed(self) -> None:
        if self.changed():
            raise StoreError(f"{self.location}: replaced by another version while it was read; open it again")

    def _kept(self, head: Head, piece: Piece) -> bytes | None:
        with self._lock:
            if head is self._head and piece in self._memory:
                self._memory.move_to_end(piece)
                return self._memory[piece]
        data = self._cache.get(head.version, _name(piece)) if head.checksums else None
        if data is not None:
            self._remember(head, piece, data)
        return data

    def _keep(self, head: Head, piece: Piece, data: bytes) -> None:
        self._remember(head, piece, data)
        if head.checksums:
            self._cache.put(head.version, _name(piece), data)

    def _remember(self, head: Head, piece: Piece, data: bytes) -> None:
        with self._lock:
            if head is not self._head:
                return
            self._memory_size += len(data) - len(self._memory.pop(piece, b""))
            self._memory[piece] = data
            while self._memory_size > _MEMORY:
                self._memory_size -= len(self._memory.popitem(last=False)[1])

    # The rest ----------------------------------------------------------------------------------------------------

    def keys(self) -> Iterator[str]:
        """Files of the store, as the server lists them; where it lists none, the files that should be there."""
        prefix = f"{self._head.base}/" if self._head.base else ""
        try:
            found = [key.removeprefix(prefix) for key, _ in self._connected().sizes(self._head.base)]
        except RemoteError:
            found = [CHECKSUMS, HEAD, *self._head.checksums]
        return iter([key for key in found if not key.startswith("releases/")])

    @property
    def known(self) -> frozenset[str]:
        """Keys of the files that this version of the store has, by its checksums."""
        return frozenset(self._head.checksums)

    def size(self, key: str) -> int:
        """Raises `KeyError` if the store has no such file."""
        return self._head.checksums[key][1]

    def zarr_store(self) -> zarr.abc.store.Store:
        need_assertions()
        from .zarr import CheckedStore

        return CheckedStore(self)


def _parse_head(data: bytes, packed: bool) -> Head:
    """Raises `ValueError` if it is damaged."""
    if packed:
        return unpack(data)
    return Head({CHECKSUMS: data}, "", parse_checksums(data)) if data else Head({})


def _name(piece: Piece) -> str:
    key, start, stop = piece
    return key if start is None else f"{key} {start}-{stop}"


def _neighbours(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Pieces grouped so that one request serves a group: whole files alone, ranges close to each other together."""
    groups: list[list[Piece]] = [[piece] for piece in pieces if piece[1] is None]
    ranges = sorted((key, start, stop) for key, start, stop in pieces if start is not None and stop is not None)
    group: list[Piece] = []
    begin = end = 0
    for key, start, stop in ranges:
        if group and key == group[0][0] and start <= end + _GAP and stop - begin <= _LONGEST:
            group.append((key, start, stop))
            end = max(end, stop)
        else:
            group = [(key, start, stop)]
            begin, end = start, stop
            groups.append(group)
    return groups
