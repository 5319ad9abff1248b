"""A remote store for zarr and xarray, through chgdb's cache, retries and checksums."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, Protocol

from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype

from ..errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Collection


class Checked(Protocol):
    """The methods that are needed of the files of a store (`chgdb.remote.files.RemoteFiles`). Other processes get them
    by pickle."""

    location: str

    @property
    def known(self) -> Collection[str]: ...

    def read(self, key: str) -> bytes: ...

    def read_range(self, key: str, start: int, stop: int) -> bytes: ...

    def size(self, key: str) -> int: ...


class CheckedStore(Store):
    """Read-only view of the files of a remote store as Zarr wants it."""

    supports_writes = False
    supports_deletes = False
    supports_listing = True

    def __init__(self, files: Checked) -> None:
        super().__init__(read_only=True)
        self._files = files

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CheckedStore) and other._files.location == self._files.location

    def __hash__(self) -> int:
        return hash(self._files.location)

    def __str__(self) -> str:
        return self._files.location

    def __reduce__(self) -> tuple[object, ...]:
        return CheckedStore, (self._files,)

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        try:
            data = await asyncio.to_thread(self._read, key, byte_range)
        except KeyError:
            return None
        return prototype.buffer.from_bytes(data)

    def _read(self, key: str, byte_range: ByteRequest | None) -> bytes:
        if byte_range is None:
            return self._files.read(key)
        if isinstance(byte_range, RangeByteRequest):
            return self._files.read_range(key, byte_range.start, byte_range.end)
        size = self._files.size(key)
        if isinstance(byte_range, OffsetByteRequest):
            return self._files.read_range(key, byte_range.offset, size)
        if isinstance(byte_range, SuffixByteRequest):
            return self._files.read_range(key, max(0, size - byte_range.suffix), size)
        raise TypeError(f"unexpected byte range {byte_range!r}")

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        return list(await asyncio.gather(*(self.get(key, prototype, part) for key, part in key_ranges)))

    async def exists(self, key: str) -> bool:
        return key in self._files.known

    async def set(self, key: str, value: Buffer) -> None:
        raise StoreError(f"{self._files.location}: is read-only")

    async def delete(self, key: str) -> None:
        raise StoreError(f"{self._files.location}: is read-only")

    async def list(self) -> AsyncIterator[str]:
        for key in sorted(self._files.known):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        for key in sorted(self._files.known):
            if key.startswith(prefix):
                yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        start = f"{prefix.rstrip('/')}/" if prefix else ""
        below = (k.removeprefix(start).partition("/")[0] for k in sorted(self._files.known) if k.startswith(start))
        for name in dict.fromkeys(below):
            yield name
