"""One density into a finished record of a store: what a worker of a build does."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .checksums import crc32c, crc32c_of
from .codecs import encode
from .codecs.extras import default_tolerance, pack
from .density import Density, ScalarField, check_sign
from .errors import FormatError, QuantityError, RemoteError
from .formats import read, text_bytes
from .inputs.calculation import read_beside, said
from .inputs.files import holds_no_density
from .remote.connect import read_file
from .store.format import OCCUPANCY_ERROR, OCCUPANCY_TOLERANCE
from .store.table import Finished, check_column_name, check_value
from .urls import is_url, public

if TYPE_CHECKING:
    from .promolecule import Prior

_AT_ONCE = 1 << 20  # bytes of a file read at once


@dataclass(frozen=True)
class Task:
    """One density to encode. source: its path, or its id where a function loads it; key: what its record depends on;
    searched: whether a search of a folder found it, and nobody has said that it is a density; digest: "sha256:..." or
    "md5:..." that its bytes must have, or ""."""

    material_id: str
    source: str
    key: str
    searched: bool = False
    digest: str = ""


@dataclass(frozen=True)
class NoDensity:
    """Result of a file that a search has found and that holds no density. reason: what it holds, "" for what lies
    beside a density in every run."""

    source: str
    reason: str = ""


@dataclass(frozen=True)
class Packer:
    """Everything a worker needs: from a task to a finished record. Picklable."""

    load: Callable[[str], tuple[Density, Mapping[str, Any]]] | None  # None: sources are paths
    tolerance: float
    codec: str
    prior: Mapping[str, np.ndarray] | None
    keep_extras: bool
    folder: str = ""  # what paths are relative to, for workers elsewhere
    elements: tuple[str, ...] | None = None  # of the species of files that do not name them
    copies: Mapping[str, str] = field(default_factory=dict)  # URL -> a file on this machine that has its bytes
    potcar: str = ""  # name of the file beside each density that says what it is of
    occupancies: float | None = None  # their tolerance, None: by that of the grid, 0: as text
    effort: str = "normal"  # of `codecs.encode`

    def __call__(self, task: Task) -> Finished | NoDensity:
        given: Mapping[str, Any] = {}
        if self.load is None:
            source = task.source if is_url(task.source) else os.path.join(self.folder, task.source)
            data = _fetched(source, self.copies.get(source)) if is_url(source) else None
            if task.digest:
                _check_digest(source, data, task.digest)
            try:
                density, checksum = _read(source, self.elements, data)
            except FormatError as error:
                if task.searched and holds_no_density(source, data):
                    return NoDensity(task.source)
                if task.searched and isinstance(error, QuantityError):
                    return NoDensity(task.source, str(error))
                raise
            if task.searched and isinstance(density, ScalarField):  # beside the densities that it was made of
                return NoDensity(task.source, f"holds a {density.quantity}, by its comment")
            given = said(density) | (read_beside(source, self.potcar, density) if self.potcar else {})
        else:
            density, given = self.load(task.source)
            checksum = crc32c_of(plane.tobytes() for plane in density.total)
        check_sign(density, "a store holds total densities")
        encoded = encode(density, self.tolerance, codec=self.codec, prior=_prior(self.prior), effort=self.effort)
        quality = encoded.quality
        values: dict[str, Any] = {
            "tolerance": encoded.tolerance,
            "nmae": _within(max(quality.nmae.values()), encoded.tolerance),
            "max_error": quality.max_error,
            "min_density": quality.min_density,
            "n_electrons": quality.n_electrons,
            "text_bytes": text_bytes(density),
            "source_crc32c": checksum,
        }
        if len(quality.nmae) > 1:
            values["channel_nmae"] = [*quality.nmae.values(), *[float("nan")] * (4 - len(quality.nmae))]
        for name, value in given.items():
            check_column_name(name)
            check_value(name, value)
            values[name] = value.item() if isinstance(value, np.generic) else value
        if values.get("space_group") is None:
            from .symmetry import number

            values["space_group"] = number(density.crystal)
        extras = self._extras(density, encoded.payload, values) if self.keep_extras else b""
        return Finished(task.material_id, encoded.payload, extras, values)

    def _extras(self, density: Density, payload: bytes, values: dict[str, Any]) -> bytes:
        """Packed extras; how wrong the occupancies are goes to the values."""
        tolerance = default_tolerance(self.tolerance) if self.occupancies is None else self.occupancies
        kept = {key: value for key, value in density.extras.items() if key != "calculation"}
        packed = pack(kept, density.crystal, tuple(density.channels), payload, tolerance)
        if packed.error is not None and packed.tolerance is not None:
            values[OCCUPANCY_TOLERANCE] = packed.tolerance
            values[OCCUPANCY_ERROR] = _within(packed.error, packed.tolerance)
        return packed.data


def _within(nmae: float, tolerance: float) -> float:
    """As float32, which is what a store keeps, and not above the tolerance by rounding."""
    rounded = np.float32(nmae)
    return float(np.nextafter(rounded, np.float32(0)) if float(rounded) > tolerance else rounded)


_last_prior: tuple[Mapping[str, np.ndarray], Prior] | None = None


def _prior(arrays: Mapping[str, np.ndarray] | None) -> Prior | None:
    """The prior of these arrays, made once a process; threads of a worker may ask at the same time."""
    global _last_prior
    if arrays is None:
        return None
    known = _last_prior
    if known is None or known[0] is not arrays:
        from .promolecule import Prior

        known = _last_prior = arrays, Prior.from_arrays(arrays)
    return known[1]


def _read(source: str, elements: Sequence[str] | None, data: bytes | None = None) -> tuple[Density, int]:
    """A density, and the crc32c of the bytes from which it was read.

    A pipe is read once. A file is read twice, since it may be far larger than memory should hold; one that has changed
    meanwhile is refused. data: its bytes, where they are here.
    """
    if data is None and stat.S_ISFIFO(_status(source).st_mode):
        data = Path(source).read_bytes()
    if data is not None:
        return read(source, elements=elements, data=data), crc32c(data)
    before = _status(source)
    density = read(source, elements=elements)
    checksum = checksum_of(source)
    after = _status(source)
    if (before.st_size, before.st_mtime_ns, before.st_ino) != (after.st_size, after.st_mtime_ns, after.st_ino):
        raise FormatError(f"{source}: has changed while it was read; build again once it is complete")
    return density, checksum


def _status(source: str) -> os.stat_result:
    try:
        return os.stat(source)
    except OSError as error:
        raise FormatError(f"{source}: cannot be read: {error.strerror}") from None


def _fetched(url: str, copy: str | None) -> bytes:
    """The bytes at a URL, from a copy on this machine where there is one."""
    try:
        return read_file(url) if copy is None else Path(copy).read_bytes()
    except RemoteError as error:
        raise FormatError(str(error)) from error


def _check_digest(source: str, data: bytes | None, digest: str) -> None:
    """Raises `FormatError` if bytes, or those of a file, are not those of a digest."""
    kind, _, expected = digest.partition(":")
    if data is None:
        with open(source, "rb") as file:
            found = hashlib.file_digest(file, kind).hexdigest()
    else:
        found = hashlib.new(kind, data, usedforsecurity=False).hexdigest()
    if found != expected:
        raise FormatError(f"{public(source)}: its {kind} is {found}, and its list says {expected}: fetched incomplete?")


def checksum_of(source: str) -> int:
    """crc32c of a file, which is never in memory as a whole."""
    with open(source, "rb") as file:
        return crc32c_of(iter(lambda: file.read(_AT_ONCE), b""))
