"""Targets: the files of a store, wherever they come from: a folder, an archive, a server, the cache, a journal."""

from __future__ import annotations

import json
import shutil
import struct
import threading
import zipfile
from contextlib import suppress
from functools import cache
from hashlib import blake2b
from pathlib import Path

from base import GOLDEN, Files, Target, placed, scratch, tolerated

from chgdb.catalog import Catalog
from chgdb.extraction import extract
from chgdb.publish import publish, pull
from chgdb.remote.cache import Cache
from chgdb.store.head import CHECKSUMS, HEAD, RELEASE, Head, crc32c, digest, format_checksums, pack, unpack
from chgdb.store.journal import LATENTS, PRIOR, RECORDS, open_journal
from chgdb.store.table import Finished
from chgdb.store.transaction import writing
from chgdb.verification import verify


@cache
def _golden() -> dict[str, bytes]:
    """Files of the golden store of the newest version."""
    with zipfile.ZipFile(sorted(GOLDEN.glob("store-v*.zip"))[-1]) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}


def _packing(key: str, content: bytes):
    """What a chunk holds, and how it is packed again: the codecs that its array's metadata name."""
    from numcodecs import Blosc, Zstd

    if "/c/" not in key or key.startswith(("payload/", "latent/")):
        return content, bytes
    codecs = [codec["name"] for codec in json.loads(_golden()[key.partition("/c/")[0] + "/zarr.json"])["codecs"]]

    def crc(data: bytes) -> bytes:
        return data + crc32c(data).to_bytes(4, "little") if codecs[-1] == "crc32c" else data

    body = content[:-4] if codecs[-1] == "crc32c" else content
    if "zstd" in codecs:
        return bytes(Zstd().decode(body)), lambda data: crc(bytes(Zstd(1).encode(data or b"\0")))
    if "blosc" in codecs:
        return bytes(Blosc().decode(body)), lambda data: crc(bytes(Blosc("zstd", 1).encode(data or b"\0")))
    return body, crc


@cache
def _files() -> Files:
    return Files({key: data for key, data in _golden().items() if key not in (CHECKSUMS, HEAD)}, _packing)


def _sealed(changes: dict[str, bytes]) -> tuple[dict[str, bytes], Head]:
    """The golden store with other files, checksums and head that fit them; and that head."""
    files = {key: data for key, data in (_golden() | changes).items() if key not in (CHECKSUMS, HEAD)}
    checksums = {key: (crc32c(data), len(data)) for key, data in files.items()}
    text = changes.get(CHECKSUMS) or format_checksums(checksums)
    digests = {key: digest(data) for key, data in files.items()}
    own = {key: data for key, data in files.items() if key == "zarr.json" or key.startswith("prior/")}
    files[CHECKSUMS] = text
    files[HEAD] = pack(own | {CHECKSUMS: text}, digests)
    return files, Head(own | {CHECKSUMS: text}, "", checksums, digests)


@cache
def _folder() -> Path:
    folder = scratch() / "store.zarr"
    for key, data in _golden().items():
        placed(folder, key, data)
    return folder


def _use(catalog: Catalog) -> None:
    """Everything that a reader does with a catalog, each for itself: an error of one is not the end of the others."""
    ids = []
    with tolerated():
        ids = catalog.ids[:6]
    for material_id in dict.fromkeys([*ids[:1], "gold-1"]):
        with tolerated():
            record = catalog[material_id]
            _ = record.metadata, record.formula, record.grid, record.channels
            if record.grid[0] * record.grid[1] * record.grid[2] < 1 << 16:
                record.decode()
        with tolerated():
            _ = catalog[material_id].latent
    for action in (
        lambda: catalog.info(), lambda: catalog.columns, lambda: catalog.prior, lambda: catalog.latent_model,
        lambda: catalog.search(elements="Si", nmae=(None, 1)), lambda: catalog.search(formula="SiO2"),
        lambda: catalog.latents(ids[:2]), lambda: catalog.view(),
    ):  # fmt: skip
        with tolerated():
            action()


def _store(data: bytes) -> None:
    """One file of a store changed, and its checksums made right."""
    key, content = _files().changed(data)
    folder = _folder()
    checksums = dict(_good_checksums())
    checksums[key] = crc32c(content), len(content)
    placed(folder, key, content)
    placed(folder, CHECKSUMS, format_checksums(checksums))
    try:
        catalog = Catalog(folder)
        _use(catalog)
        # What takes longer than all else is done with some.
        if len(data) % 4 == 3:
            verify(folder, deep=len(data) % 8 == 3)
        if len(data) % 16 == 15:
            extract(catalog, ["gold-1", "gold-3"], scratch() / "extracted.zarr", replace=True)
    finally:
        for name in (key, CHECKSUMS):
            placed(folder, name, _golden()[name])


@cache
def _good_checksums() -> dict[str, tuple[int, int]]:
    return {key: (crc32c(data), len(data)) for key, data in _golden().items() if key not in (CHECKSUMS, HEAD)}


def _archive(data: bytes) -> None:
    """First byte: 0 the archive itself, else a good archive of a changed store; every fourth through fsspec."""
    path = scratch() / "store.zip"
    if data[:1] == b"\0":
        path.write_bytes(data[1:])
    else:
        key, content = _files().changed(data[1:])
        with zipfile.ZipFile(path, "w") as archive:
            for name, body in _sealed({key: content})[0].items():
                archive.writestr(name, body, zipfile.ZIP_DEFLATED if len(body) > 64 else zipfile.ZIP_STORED)
    _use(Catalog(f"zip::file://{path}" if data[:1] > b"\xc0" else path))


def _archive_seeds() -> list[bytes]:
    path = scratch() / "seed.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number, (name, body) in enumerate(_golden().items()):
            archive.writestr(name, body, (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED)[number % 2])
    whole = path.read_bytes()
    return [
        b"\0" + whole[-18000:],
        b"\0" + whole[:12000],
        *(b"\1" + seed for seed in _files().seeds()[:40]),
        b"\xff\0\1",
    ]


def _head(data: bytes) -> None:
    """First byte: head.bin as it is; packed here; checksums whose own checksum is right."""
    import zlib

    from chgdb.store.head import parse_checksums

    kind, body = (data[:1] or b"\0")[0] % 3, data[1:]
    for action in (
        lambda: unpack(body if kind == 0 else b"chgdb head 1\n" + zlib.compress(body)),
        lambda: dict(parse_checksums(body if kind == 0 else body + f"{crc32c(body):08x}\n".encode())),
    ):
        with suppress(ValueError):  # what these two say to the rest of chgdb
            action()


def _head_seeds() -> list[bytes]:
    import zlib

    head, checksums = _golden()[HEAD], _golden()[CHECKSUMS]
    return [b"\0" + head, b"\1" + zlib.decompress(head[13:]), b"\0" + checksums, b"\2" + checksums[:-9]]


#: Everything that a pull may write lies below here; `_escaped` looks around it.
_SANDBOX = ("sandbox", "a", "b")


def _escaped(above: Path, allowed: set[str]) -> list[str]:
    """Files of the sandbox that are not below the folders allowed."""
    found = [path.relative_to(above).as_posix() for path in above.rglob("*") if path.is_file()]
    found += [
        str(place) for place in (Path("/tmp/outside"), Path("outside"), above.parent / "outside") if place.exists()
    ]
    return [name for name in found if not any(name.startswith(f"a/b/{part}") for part in allowed)]


def _pull(data: bytes) -> None:
    """A store on a server that means harm, read, pulled and published again. First byte: what of it is changed."""
    import fsspec

    system = fsspec.filesystem("memory")
    kind, body = (data[:1] or b"\0")[0] % 5, data[1:]
    if kind == 0:
        files = _sealed({})[0] | {HEAD: body}
    elif kind == 1:  # checksums that name other files, and a head that agrees with them
        checksums = body + f"{crc32c(body):08x}\n".encode()
        files, head = _sealed({CHECKSUMS: checksums})
        names = [line.split(b" ", 2)[-1] for line in body.splitlines()]
        digests = {str(number): digest(b"") for number in range(len(names))}
        files[HEAD] = pack(dict(head.files), digests)
    elif kind == 2:
        files = _sealed(dict([_files().changed(body)]))[0]
    elif kind == 3:  # a manifest
        files, head = _sealed({})
        manifest = {"version": head.version, "files": {key: {"sha256": "0"} for key in list(head.checksums)[:3]}}
        changed = Files({RELEASE: json.dumps(manifest).encode()}, lambda key, content: (content, bytes))
        files[RELEASE] = changed.changed(b"\0\1" + body)[1]
    else:  # a head that points elsewhere
        files, head = _sealed({})
        files[HEAD] = pack(head.files, head.digests, body.decode("latin-1"))
    system.store.clear()
    for key, content in files.items():
        system.pipe_file(f"/fuzz/{key}", content)
    above = scratch() / _SANDBOX[0]
    shutil.rmtree(above, ignore_errors=True)
    inner = above.joinpath(*_SANDBOX[1:])
    inner.mkdir(parents=True)
    with tolerated():
        _use(Catalog("memory://fuzz"))
    try:
        for action in (
            lambda: pull("memory://fuzz", inner / "out"),
            lambda: publish("memory://fuzz", inner / "public"),
        ):
            with tolerated():
                action()
    finally:
        escaped = _escaped(above, {"out/", "public/", ".out.", ".public."})
        assert not escaped, escaped


def _pull_seeds() -> list[bytes]:
    files = _sealed({})[0]
    escapes = b"00000000 0 ../../../outside\n00000000 0 /tmp/outside\n00000000 0 a/../../outside\n"
    checksums = files[CHECKSUMS][:-9]
    manifest = [b"\3" + bytes([0, number, 0, extra]) for number in range(4) for extra in (23, 24, 30)]
    return [
        b"\0" + files[HEAD], b"\1" + escapes, b"\1" + checksums, *(b"\2" + seed for seed in _files().seeds()[:20]),
        *manifest, b"\4", b"\4releases/0", b"\4../../outside",
    ]  # fmt: skip


def _cache(data: bytes) -> None:
    """An entry of the cache that is not what it was; first byte: whether its own hash was made right."""
    cache = Cache(scratch() / "cache", 1 << 20)
    path = cache._path("heads", "memory://fuzz")
    path.parent.mkdir(parents=True, exist_ok=True)
    body = data[1:]
    whole = blake2b(b"memory://fuzz\0" + body, digest_size=32).digest() + body if data[:1] > b"\x10" else body
    path.write_bytes(whole)
    cache.info()
    from chgdb.remote.files import RemoteFiles

    files = RemoteFiles.__new__(RemoteFiles)  # what an earlier look at a server left is read before the server is asked
    files.location = files._heads = "memory://fuzz"
    files._cache, files._lock = cache, threading.RLock()
    files._kept_head()
    cache.get("heads", "memory://fuzz")


def _cache_seeds() -> list[bytes]:
    facts = {"url": "memory://fuzz", "version": "0" * 32, "time": 1.5, "tag": "x", "packed": True}
    line = json.dumps(facts).encode() + b"\n"
    plain = json.dumps(facts | {"packed": False}).encode() + b"\n"
    return [b"\xff" + line + _golden()[HEAD], b"\xff" + plain + _golden()[CHECKSUMS], b"\0" + line]


def _journal(data: bytes) -> None:
    """What a build that was killed has left; first byte: which file, and whether checksums of entries are right."""
    kind, body = (data[:1] or b"\0")[0] % 4, data[1:]
    store = scratch() / "journal" / "store.zarr"
    folder = store.parent / ".store.zarr.journal"
    shutil.rmtree(store.parent, ignore_errors=True)
    folder.mkdir(parents=True)
    if kind == 3:
        from chgdb.ingest import build_from

        def load(material_id: str):
            raise KeyError(material_id)

        (folder / PRIOR).write_bytes(body)
        with tolerated():
            build_from(store, ["a"], load, prior="fit", workers=1)
        return
    if kind:
        start = struct.Struct("<4sIII")
        header, payload = body[:-10], body[-10:]
        entry = start.pack(b"CHGJ", len(header), len(payload), 0) + header + payload
        body = entry + crc32c(entry).to_bytes(4, "little")
    (folder / (LATENTS if kind == 2 else RECORDS)).write_bytes(body)
    with writing(store) as transaction, open_journal(transaction, LATENTS if kind == 2 else RECORDS) as journal:
        for key, record in journal.finished.items():
            assert isinstance(key, str)
            assert isinstance(record, Finished)


def _journal_seeds() -> list[bytes]:
    import io

    import numpy as np
    from file_targets import prior

    header = json.dumps({"key": "a", "material_id": "a", "values": {"nmae": 0.5}}).encode()
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, **prior().to_arrays())
    return [b"\1" + header + bytes(10), b"\2" + header + bytes(10), b"\0CHGJ" + bytes(40), b"\3" + stream.getvalue()]


TARGETS = {
    "store": Target(
        "stores in a folder: metadata, columns, index, priors, records, latents", lambda: _files().seeds(), _store, 20.0
    ),
    "archive": Target("stores in a .zip, by path and by URL", _archive_seeds, _archive, 20.0),
    "head": Target("head.bin and checksums.txt", _head_seeds, _head),
    "pull": Target("stores on a server, manifests; pull and publish", _pull_seeds, _pull, 30.0),
    "cache": Target("entries of the cache", _cache_seeds, _cache),
    "journal": Target("journals of unfinished builds", _journal_seeds, _journal),
}
