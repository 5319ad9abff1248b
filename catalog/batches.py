"""The accepted densities as append-only batch files: `sources/batch-NNNN.jsonl.gz` and `sources/batch-NNNN.bin`.

    from chgdb_catalog import batches
    meta, grids = batches.load("mp-149")      # grids["total"]: (nx, ny, nz) float64, e/A^3

A batch is two files that never change again.  Each line of the index is one material; its `payload` maps a channel to
`[file, offset, length, step]`.  The bytes at that place are an LZMA stream of zigzag integers (uint32, split into four
byte planes), the real and imaginary parts of `rfftn(grid) / grid.size` divided by `step`.  With a step of 1e-7 of the
mean density, grid values come back to about 3e-6 of the mean density.

Needs numpy only.
"""

from __future__ import annotations

import gzip
import json
import lzma
import os
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np

from chgdb.atomic import replacing
from chgdb.errors import ChgdbError, UnknownMaterialError
from chgdb.limits import gunzip, most_values

SOURCES = Path(__file__).resolve().parent / "sources"
_PART = re.compile(r"batch-\d{4}\.bin")
RELATIVE_STEP = 1e-7  # of the mean density; rounding then changes a grid value by about 3e-6 of the mean


class BatchError(ChgdbError, ValueError):
    """A batch cannot be read or written as asked; the message says which and why."""


def pack(grid: np.ndarray, step: float) -> bytes:
    """Bytes of one grid, shape (nx, ny, nz), with Fourier coefficients rounded to multiples of `step` (e/A^3)."""
    if grid.ndim != 3 or not np.isfinite(grid).all():
        raise BatchError(f"cannot pack a grid of shape {grid.shape}: needs three axes and finite values")
    coefficients = np.fft.rfftn(np.asarray(grid, float)) / grid.size
    q = np.rint(np.stack([coefficients.real, coefficients.imag]) / step).astype(np.int64)
    if np.abs(q).max(initial=0) >= 2**31:
        raise BatchError("cannot pack a grid whose coefficients exceed 2^31 steps: the step is too small")
    zigzag = ((q << 1) ^ (q >> 63)).astype("<u4").ravel()
    planes = np.ascontiguousarray(zigzag.view("u1").reshape(-1, 4).T)
    return lzma.compress(planes.tobytes())


def unpack(data: bytes, shape: tuple[int, int, int], step: float) -> np.ndarray:
    """The (nx, ny, nz) float64 grid that `pack` wrote, in the unit of `step`."""
    nx, ny, nz = shape
    if nx * ny * nz > most_values(len(data)):
        raise BatchError(f"a packed grid of {len(data)} bytes claims {nx} x {ny} x {nz} points: it is damaged")
    try:
        stream = lzma.LZMADecompressor()
        unpacked = stream.decompress(data, max_length=8 * nx * ny * (nz // 2 + 1) + 1)
    except lzma.LZMAError as error:
        raise BatchError(f"a packed grid is damaged: {error}") from None
    if not stream.eof and len(unpacked) <= 8 * nx * ny * (nz // 2 + 1):
        raise BatchError("a packed grid is damaged: its end is missing")
    planes = np.frombuffer(unpacked, "u1")
    if planes.size != 8 * nx * ny * (nz // 2 + 1):
        raise BatchError(f"packed grid holds {planes.size} bytes, not what a grid of {nx} x {ny} x {nz} needs")
    zigzag = planes.reshape(4, -1).T.copy().view("<u4").ravel()
    q = (zigzag >> 1).astype(np.int64) ^ -(zigzag & 1).astype(np.int64)
    q = q.reshape(2, nx, ny, nz // 2 + 1)
    coefficients = (q[0] + 1j * q[1]) * step * (nx * ny * nz)
    return np.fft.irfftn(coefficients, s=(nx, ny, nz), axes=(0, 1, 2))


def pack_channels(grids: dict[str, np.ndarray]) -> tuple[dict[str, bytes], float]:
    """({channel: bytes}, step) of one material's grids; one step, set by the mean of the total density."""
    step = RELATIVE_STEP * abs(float(grids["total"].mean()))
    if not step > 0:
        raise BatchError("cannot pack a density that integrates to nothing")
    return {channel: pack(grid, step) for channel, grid in grids.items()}, step


def batch_names(folder: Path = SOURCES) -> list[str]:
    """Names of the batches in `folder`, oldest first, such as `batch-0000`."""
    return sorted(p.name.removesuffix(".jsonl.gz") for p in Path(folder).glob("batch-[0-9][0-9][0-9][0-9].jsonl.gz"))


def read_index(folder: Path, name: str) -> Iterator[dict]:
    """The records of one batch, in the order of the file."""
    path = Path(folder) / f"{name}.jsonl.gz"
    try:
        for line in gunzip(path.read_bytes()).decode("utf-8").splitlines():
            record = json.loads(line)
            if not isinstance(record, dict) or not isinstance(record.get("material_id"), str):
                raise ValueError("a line describes no material")
            yield record
    except (OSError, ValueError, RecursionError) as error:
        raise BatchError(f"{path}: not the index of a batch, or damaged: {error}") from None


@lru_cache(maxsize=4)
def _index(folder: Path, names: tuple[str, ...]) -> dict[str, dict]:
    records: dict[str, dict] = {}
    for name in names:
        for record in read_index(folder, name):
            material_id = record["material_id"]
            if material_id in records:
                raise BatchError(f"{folder / name}: {material_id} is already in an earlier batch")
            records[material_id] = record
    return records


def index(folder: Path = SOURCES) -> dict[str, dict]:
    """material_id -> record of every batch in `folder`, oldest batch first.  Treat the records as read-only."""
    return _index(Path(folder), tuple(batch_names(folder)))


def load(material_id: str, folder: Path = SOURCES) -> tuple[dict, dict[str, np.ndarray]]:
    """(record, {channel: grid}); grids are (nx, ny, nz) float64 with point i at i/N.

    `total` is in e/A^3; `magnetization`, where the run was spin-polarised, in muB/A^3.
    Raises `UnknownMaterialError` (a KeyError) for an id that no batch holds.
    """
    try:
        meta = index(folder)[material_id]
    except KeyError:
        raise UnknownMaterialError(f"no batch in {folder} holds {material_id}") from None
    grids = {}
    shape, places = _places(meta)
    for channel, (part, offset, length, step) in places.items():
        try:
            with open(Path(folder) / part, "rb") as f:
                f.seek(min(offset, os.fstat(f.fileno()).st_size))
                data = f.read(min(length, os.fstat(f.fileno()).st_size))
        except OSError as error:
            raise BatchError(f"{Path(folder) / part}: cannot be read: {error.strerror or error}") from None
        if len(data) != length:
            raise BatchError(f"{Path(folder) / part}: ends before {material_id}'s {channel}; the file is truncated")
        grids[channel] = unpack(data, shape, step)
    return meta, grids


def _places(meta: dict) -> tuple[tuple[int, int, int], dict[str, tuple[str, int, int, float]]]:
    """Grid and, for each channel, file, offset, length and step of a record. Raises `BatchError` for anything else."""
    grid, payload = meta.get("grid"), meta.get("payload")
    try:
        nx, ny, nz = (int(n) for n in grid)  # type: ignore[union-attr]
        places = {str(c): (str(p), int(o), int(n), float(s)) for c, (p, o, n, s) in payload.items()}  # type: ignore[union-attr]
    except (TypeError, ValueError, AttributeError, OverflowError):
        places, nx, ny, nz = {}, 0, 0, 0
    # A file beside the index, and no other.
    sound = [
        _PART.fullmatch(part) is not None and offset >= 0 and length >= 0 and 0 < step < 1e6
        for part, offset, length, step in places.values()
    ]
    if not sound or not all(sound) or min(nx, ny, nz) < 1:
        raise BatchError(f"the record of {meta['material_id'][:80]!r} names no grid, or no places of its channels")
    return (nx, ny, nz), places


def append(materials: Iterable[tuple[dict, dict[str, bytes], float]], folder: Path = SOURCES) -> str | None:
    """Write the next batch from (record, {channel: packed bytes}, step) and return its name, None if there are none.

    Earlier files are not touched.  An id that a batch already holds, or that comes twice, is refused with BatchError
    before anything is written.  The index is renamed into place last, so an interrupted call leaves no batch.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    names = batch_names(folder)
    name = f"batch-{int(names[-1][6:]) + 1 if names else 0:04d}"
    seen = set(index(folder))
    lines, blobs, offset = [], [], 0
    for record, packed, step in materials:
        material_id = record["material_id"]
        if material_id in seen:
            raise BatchError(f"{material_id} is already in a batch: batches are never rewritten; leave it out")
        seen.add(material_id)
        payload = {}
        for channel, data in packed.items():
            payload[channel] = [f"{name}.bin", offset, len(data), step]
            blobs.append(data)
            offset += len(data)
        lines.append(json.dumps({**record, "payload": payload}) + "\n")
    if not lines:
        return None
    write_atomically(folder / f"{name}.bin", b"".join(blobs))
    # mtime 0: the same materials give the same bytes
    write_atomically(folder / f"{name}.jsonl.gz", gzip.compress("".join(lines).encode(), 9, mtime=0))
    return name


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to a temporary neighbour of `path` and rename it, so that a reader never sees half a file."""
    with replacing(path) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
