"""Publish stores for others to read, and pull whole stores.

On a disk (or the folder of a web server) a publication is the store, swapped in whole. In a bucket, where no folder can
be exchanged, every release lies in a folder of its own,

    releases/VERSION/...      the files of the store, and release.json
    head.bin                  what readers ask for first (`store/head.py`): it says which release is the current one
    release.json              a copy of the current release's manifest

and replacing head.bin, one object, publishes. A reader that began with the release before finds it still there.
"""

from __future__ import annotations

import datetime
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from . import __version__
from .atomic import write_flushed
from .catalog import open_catalog
from .errors import ChecksumError, RemoteError, StoreError
from .parallel.progress import reporting
from .remote.connect import connect
from .remote.files import RemoteFiles
from .remote.transport import Transport
from .store.files import FolderFiles
from .store.head import CHECKSUMS, HEAD, RELEASE, Head, belongs, crc32c, digest, pack, unpack
from .store.reader import Store
from .store.transaction import Transaction, beside, writing
from .urls import is_url, public

T = TypeVar("T")
Progress = bool | Callable[[int, int, str], None]

RELEASES = "releases"
_CONCURRENCY = 8
#: Bytes of a large file that are asked for at a time, so that an interrupted pull goes on in the middle of it.
_STEP = 4 << 20


@dataclass(frozen=True)
class Publication:
    """The result of `publish`.

    Attributes
    ----------
    url : str
        Where chgdb opens it.
    zarr_url : str
        Where plain Zarr readers open it.
    version : str
        Identifier of the release.
    changed : bool
        False where this version had been published before.
    files, bytes : int
        Number and size of the store's files.
    sent : int
        Bytes of the files that were not there yet.
    """

    url: str
    zarr_url: str
    version: str
    changed: bool
    files: int
    bytes: int
    sent: int


@dataclass(frozen=True)
class Pulled:
    """The result of `pull`.

    Attributes
    ----------
    path : str
        Folder of the copy.
    url : str
        URL of the store.
    version : str
        Identifier of the release.
    changed : bool
        False where the folder had this version.
    n_materials : int
        Number of materials.
    bytes : int
        Size of the store's files.
    received : int
        Bytes that came over the network; the rest was in the folder.
    """

    path: str
    url: str
    version: str
    changed: bool
    n_materials: int
    bytes: int
    received: int


def publish(
    store: str | os.PathLike[str] | None,
    url: str | os.PathLike[str],
    *,
    keep: int = 2,
    options: dict[str, Any] | None = None,
    progress: Progress = False,
) -> Publication:
    """Copy a finished store to a folder, or a URL that fsspec writes to. Readers see the old or the new one.

    Every file is compared with its checksum on the way. A manifest, release.json, names all files with their SHA-256.

    Parameters
    ----------
    store : str | os.PathLike[str] | None
        Folder of the store.
    url : str | os.PathLike[str]
        Folder, or URL of a bucket (s3, gs, ...).
    keep : int
        Number of releases that stay in a bucket. Readers that began with an older one must begin again.
    options : dict[str, Any] | None
        Options of the file system, as for `fsspec.filesystem`.
    progress : Progress
        True for a progress bar on standard error, or a callable (done, total, id).

    Returns
    -------
    Publication

    Raises
    ------
    StoreError
        If the store is damaged.
    RemoteError
        If the place cannot be written to.
    """
    source = open_catalog(store).store
    if not source.checksums:  # they list what there is to publish
        raise ChecksumError(f"{source.location}: {CHECKSUMS} is damaged; get a fresh copy of the store")
    head = _head(source)
    target = os.fspath(url)
    if target.startswith("file://"):
        target = target.removeprefix("file://")
    with reporting(progress, "Publishing", 0, len(source.checksums)) as step:
        if is_url(target):
            return _to_bucket(source, head, connect(target, options), max(1, keep), step)
        return _to_folder(source, head, Path(target), step)


def _head(source: Store) -> Head:
    """The version of a store that is opened; made from all of its files where it is of an early version of chgdb."""
    checksums = source.files.read(CHECKSUMS)
    try:
        head = unpack(source.files.read(HEAD))
        if head.files[CHECKSUMS] == checksums:
            return Head(head.files, "", head.checksums, head.digests)
    except (KeyError, ValueError):
        pass  # none, or damaged: it holds nothing that the other files do not
    files = {key: source.read(key) for key, (_, size) in source.checksums.items() if belongs(key, size)}
    digests = {key: digest(source.read(key)) for key in source.checksums}
    return Head(files | {CHECKSUMS: checksums}, "", source.checksums, digests)


def _contents(source: Store, head: Head) -> Iterator[tuple[str, bytes]]:
    """Every file of a store, checked; repaired where it can be."""
    yield CHECKSUMS, head.files[CHECKSUMS]
    for key in sorted(head.checksums):
        data = source.read(key)
        if not head.fits(key, data):
            raise ChecksumError(f"{source.location}: {key} is damaged; get a fresh copy of the store")
        yield key, data


def _manifest(source: Store, version: str, base: str, files: dict[str, dict[str, Any]]) -> bytes:
    attributes = {k: v for k, v in source.attributes.items() if k in ("title", "licence", "generator")}
    facts = {
        "chgdb_release": 1,
        "version": version,
        "base": base,
        "published": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "publisher": f"chgdb {__version__}",
        "format_version": source.format_version,
        "n_materials": source.n_materials,
        **attributes,
        "bytes": sum(entry["size"] for entry in files.values()),
        "files": dict(sorted(files.items())),
    }
    return (json.dumps(facts, indent=1, ensure_ascii=False) + "\n").encode()


def _entry(data: bytes) -> dict[str, Any]:
    return {"size": len(data), "crc32c": f"{crc32c(data):08x}", "sha256": sha256(data).hexdigest()}


def _to_folder(source: Store, head: Head, target: Path, step: Callable[[str], None]) -> Publication:
    version = head.version
    files: dict[str, dict[str, Any]] = {}
    with writing(target, advice="; nothing was published") as transaction:
        if _published(target) == version:
            total = sum(size for _, size in source.checksums.values())
            return Publication(str(target), str(target), version, False, len(source.checksums) + 1, total, 0)
        with transaction.version() as folder:
            for key, data in _contents(source, head):
                write_flushed(folder / key, data)
                files[key] = _entry(data)
                step(key)
            write_flushed(folder / HEAD, pack(head.files, head.digests))
            write_flushed(folder / RELEASE, _manifest(source, version, "", files))
    size = sum(entry["size"] for entry in files.values())
    return Publication(str(target), str(target), version, True, len(files), size, size)


def _published(target: Path) -> str | None:
    """Version that was published to a folder, if one was."""
    try:
        return str(json.loads((target / RELEASE).read_bytes())["version"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _to_bucket(source: Store, head: Head, transport: Transport, keep: int, step: Callable[[str], None]) -> Publication:
    version = head.version
    base = f"{RELEASES}/{version}"
    if not transport.writable:
        transport.put(HEAD, b"")  # says why
        raise RemoteError(f"{transport.url}: cannot be written to")
    present = dict(transport.sizes())
    if "zarr.json" in present:
        raise RemoteError(
            f"{transport.url}: there is a plain copy of a store, which could only be replaced file by file; "
            "choose another URL, or remove it"
        )
    before = _current(transport) if HEAD in present else None
    files: dict[str, dict[str, Any]] = {}
    sent = 0

    def send(item: tuple[str, bytes]) -> int:
        key, data = item
        files[key] = _entry(data)
        # The folder is of this version alone: what is there with the right size was sent by an interrupted call.
        missing = present.get(f"{base}/{key}") != len(data)
        if missing:
            transport.put(f"{base}/{key}", data)
        step(key)
        return len(data) if missing else 0

    with ThreadPoolExecutor(_CONCURRENCY, "chgdb") as pool:
        for batch in _batches(_contents(source, head), _CONCURRENCY):
            sent += sum(pool.map(send, batch))
    manifest = _manifest(source, version, base, files)
    transport.put(f"{base}/{HEAD}", pack(head.files, head.digests))
    transport.put(f"{base}/{RELEASE}", manifest)
    transport.put(HEAD, pack(head.files, head.digests, base))  # from here on it is the new one
    transport.put(RELEASE, manifest)
    _prune(transport, version, before, keep)
    size = sum(entry["size"] for entry in files.values())
    url = transport.url.rstrip("/")
    return Publication(url, f"{url}/{base}", version, before != version, len(files), size, sent)


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    batch: list[T] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _current(transport: Transport) -> str | None:
    """Version that a bucket's readers see."""
    try:
        return unpack(transport.get(HEAD, fresh=True).data or b"").version
    except (KeyError, ValueError):
        return None


def _prune(transport: Transport, current: str, before: str | None, keep: int) -> None:
    """Remove all but the last releases: the current one, the one before, and the youngest others."""
    found = {key.split("/")[1] for key, _ in transport.sizes(RELEASES) if key.count("/") > 1}
    published = {}
    for version in found - {current, before}:
        # Without a manifest: an upload that never ended.
        with suppress(KeyError, ValueError, TypeError, RecursionError):
            published[version] = str(
                json.loads(transport.get(f"{RELEASES}/{version}/{RELEASE}").data or b"")["published"]
            )
    youngest = sorted(published, key=lambda version: published[version], reverse=True)
    staying = list(dict.fromkeys([current, *([before] if before else []), *youngest]))[:keep]
    for version in sorted(found - set(staying)):
        transport.remove(f"{RELEASES}/{version}")


# Pulling -------------------------------------------------------------------------------------------------------------


def pull(
    url: str,
    out: str | os.PathLike[str] | None = None,
    *,
    options: dict[str, Any] | None = None,
    progress: Progress = False,
) -> Pulled:
    """Copy a whole store from a URL to a folder. After an interruption, call it again to go on.

    Parameters
    ----------
    url : str
        URL of the store.
    out : str | os.PathLike[str] | None
        Folder of the copy; the last part of the URL unless given. A store in it is replaced when all files have come
        and are right. Files that it shares with the new version are not fetched again.
    options : dict[str, Any] | None
        Options of the file system, as for `open_catalog`.
    progress : Progress
        True for a progress bar on standard error, or a callable (done, total, id).

    Returns
    -------
    Pulled

    Raises
    ------
    RemoteError
        If the server fails.
    StoreError
        If the folder cannot be written, or is something else.
    """
    target = Path(out) if out is not None else Path(public(url).rstrip("/").rpartition("/")[2])
    if not target.name:
        raise StoreError(f"{url}: name the folder to write to")
    for _ in range(3):
        remote = RemoteFiles(url, options, cached=False)
        store = Store(remote)  # says what is wrong where it is no store
        try:
            with writing(target, advice="; pull again to go on") as transaction:
                return _pull(remote, store, transaction, progress)
        except StoreError:
            if not remote.changed():
                raise
    raise RemoteError(f"{remote.location}: is being replaced again and again; try again later")


def _pull(remote: RemoteFiles, store: Store, transaction: Transaction, progress: Progress) -> Pulled:
    head, target = remote.head, transaction.target
    if not head.checksums:  # they list what there is to fetch
        raise RemoteError(f"{remote.location}: {CHECKSUMS} is damaged there; tell its owner")
    size = sum(size for _, size in head.checksums.values())
    path = str(transaction.path)
    part = beside(target, "pull")  # under one name, so that an interrupted pull goes on
    if _is_whole(target, head):
        if part.exists():
            shutil.rmtree(part)
        return Pulled(path, remote.location, head.version, False, store.n_materials, size, 0)
    with transaction.version(part) as folder:
        manifest = _release(remote, head)
        with reporting(progress, "Pulling", 0, len(head.checksums)) as step:

            def bring(key: str) -> int:
                try:
                    received = _bring(remote, head, key, folder, target, manifest.get(key))
                except KeyError:
                    raise RemoteError(f"{remote.location}: {key} is missing there; tell its owner") from None
                step(key)
                return received

            with ThreadPoolExecutor(_CONCURRENCY, "chgdb") as pool:
                received = sum(pool.map(bring, sorted(head.checksums)))
        for file in [p for p in folder.rglob("*") if p.is_file()]:
            if file.relative_to(folder).as_posix() not in head.checksums:
                file.unlink()  # of another version
        if head.digests:
            write_flushed(folder / HEAD, pack(head.files, head.digests))
        write_flushed(folder / CHECKSUMS, head.files[CHECKSUMS])
    return Pulled(path, remote.location, head.version, True, store.n_materials, size, received)


def _release(remote: RemoteFiles, head: Head) -> dict[str, str]:
    """SHA-256 by key from the manifest of this release; empty where the store came here without one."""
    try:
        facts = json.loads(remote.read(RELEASE))
        if facts["version"] != head.version:
            return {}
        return {str(key): str(entry["sha256"]) for key, entry in facts["files"].items()}
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return {}


def _is_whole(target: Path, head: Head) -> bool:
    """Whether a folder holds this version already, every file of it."""
    try:
        same = (target / CHECKSUMS).read_bytes() == head.files[CHECKSUMS]
    except FileNotFoundError:
        return False
    try:
        same &= not head.digests or unpack((target / HEAD).read_bytes()).version == head.version
    except (FileNotFoundError, ValueError):
        return False
    return same and all(_holds(target, key, head) for key in head.checksums)


def _holds(folder: Path, key: str, head: Head) -> bool:
    """Whether a file of this version is in a folder. Without digests another version's could be taken for it."""
    try:
        return bool(head.digests) and head.fits(key, FolderFiles(folder).read(key))
    except KeyError:
        return False


def _bring(remote: RemoteFiles, head: Head, key: str, staging: Path, target: Path, expected: str | None) -> int:
    """One file into the staging folder, unless it is there or in the store's last version; bytes received."""
    path = staging / key
    if _holds(staging, key, head):
        return 0
    path.parent.mkdir(parents=True, exist_ok=True)
    if _holds(target, key, head):
        shutil.copyfile(target / key, path)
        return 0
    size = head.checksums[key][1]
    part = path.with_name(path.name + ".part")
    received = 0
    for attempt in range(3):
        if size <= _STEP or attempt:
            data = remote.read(key)
            received += len(data)
            write_flushed(part, data)
        else:
            received += _append(remote, key, part, size)
            data = part.read_bytes()
        right = head.fits(key, data)
        if right and (expected is None or sha256(data).hexdigest() == expected):
            os.replace(part, path)
            return received
        part.unlink()
        if right:
            raise RemoteError(f"{remote.location}: {key} does not match the SHA-256 in {RELEASE}; tell its owner")
    raise RemoteError(f"{remote.location}: {key} is damaged there, or being replaced; try again later")


def _append(remote: RemoteFiles, key: str, part: Path, size: int) -> int:
    """Go on with a large file where the last call stopped; bytes received."""
    received = 0
    with open(part, "ab") as file:
        while (have := file.tell()) < size:
            data = remote.read_range(key, have, min(have + _STEP, size))
            if not data:
                break
            file.write(data)
            file.flush()
            received += len(data)
    return received
