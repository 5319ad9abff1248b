"""Proof that a store is whole: checksums, format, consistency, and with originals the error of every record."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .catalog import Catalog, Record, open_catalog
from .codecs import header, measure
from .codecs.extras import quality as occupancy_error
from .density import Density
from .errors import ChgdbError, StoreError
from .formats import read
from .inputs import find_files, ids_of
from .parallel.progress import reporting
from .store.format import (
    FACTS,
    FACTS_COLUMNS,
    FACTS_DTYPE,
    LATENT,
    LOOKUP,
    LOOKUP_DTYPE,
    NMAE,
    OCCUPANCY_ERROR,
    PAYLOAD,
    id_hash,
)
from .store.head import CHECKSUMS, HEAD, RELEASE, Head, crc32c, parse_checksums, unpack
from .store.parity import is_protected
from .store.reader import Store
from .store.transaction import is_junk


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a store: where (a file of the store or a material id) and what, in one line."""

    where: str
    message: str


@dataclass(frozen=True)
class VerifyReport:
    """The result of `verify`.

    Attributes
    ----------
    path : str
        Folder or URL of the store.
    n_materials : int
        Number of materials.
    n_files : int
        Number of files that were compared with their checksums.
    deep : bool
        Whether the records were decoded.
    measured : int
        Number of records that were compared with their originals.
    problems : tuple[Problem, ...]
        Everything that is wrong, damaged files first.
    lost : tuple[str, ...]
        Ids whose density cannot be decoded correctly any more; damage outside the payload loses none, because it is
        repaired on reading.
    remarks : tuple[Problem, ...]
        Files in the store's folder that are not part of it, such as a README. Commands keep them, and nothing is wrong.
    """

    path: str
    n_materials: int
    n_files: int
    deep: bool
    measured: int
    problems: tuple[Problem, ...]
    lost: tuple[str, ...]
    remarks: tuple[Problem, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether there is no problem."""
        return not self.problems


def verify(
    store: str | os.PathLike[str] | None = None,
    *,
    deep: bool = False,
    originals: str | Path | Mapping[str, str | Path] | Callable[[str], Density] | None = None,
    elements: Sequence[str] | None = None,
    progress: bool | Callable[[int, int, str], None] = False,
) -> VerifyReport:
    """Check a store. Damage is in the report, and is not raised.

    Every file is compared with its checksum, every record with its own, and the index and the columns with the records.

    Parameters
    ----------
    store : str | os.PathLike[str] | None
        Path, URL or installed name of the store; the embedded catalog unless given.
    deep : bool
        Also decode every record, and compare electron count, grid and smallest value with the columns.
    originals : str | Path | Mapping[str, str | Path] | Callable[[str], Density] | None
        With `deep`, the sources of the records: a folder (searched as `build` does), id -> path, or a function id ->
        density (raising `KeyError` where there is none). NMAE and largest error are measured again.
    elements : Sequence[str] | None
        Symbol of each species, for originals of VASP 4, which do not have them.
    progress : bool | Callable[[int, int, str], None]
        True for a progress bar on standard error, or a callable (done, total, id).

    Returns
    -------
    VerifyReport

    Raises
    ------
    StoreError
        If there is no store, or it cannot be opened.
    """
    catalog = open_catalog(store)
    check = _Check(catalog)
    check.files()
    check.index()
    check.latents()
    load = _loader(originals, elements) if deep else None
    ids = check.ids()
    with reporting(progress, "Verifying", 0, len(ids)) as step:
        for row, material_id in enumerate(ids):
            check.record(row, material_id, deep, load)
            step(material_id)
    return VerifyReport(
        catalog.path, len(catalog), check.n_files, deep, check.measured, tuple(check.problems), tuple(check.lost),
        tuple(check.remarks),
    )  # fmt: skip


class _Check:
    """The checks of one store, collecting what they find."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.store: Store = catalog.store
        self.problems: list[Problem] = []
        self.remarks: list[Problem] = []
        self.lost: list[str] = []
        self.n_files = 0
        self.measured = 0
        self._bad_columns: set[str] = set()

    def _report(self, where: str, message: str) -> None:
        self.problems.append(Problem(where, message))

    def files(self) -> None:
        """Every file against checksums.txt, and the other way round."""
        files = self.store.files
        beside = (CHECKSUMS, HEAD, RELEASE)
        present = {key for key in files.keys() if key not in beside and not is_junk(key)}  # noqa: SIM118 (no mapping)
        self.n_files = len(present) + 1
        try:
            expected = dict(parse_checksums(files.read(CHECKSUMS)))
        except (KeyError, ValueError) as error:
            self._report(CHECKSUMS, f"damaged: {error}; every other file is still checked by its content")
            expected = {}
        head = self._head()
        for key, (checksum, size) in sorted(expected.items()):
            effect = "repaired on reading" if is_protected(key) else "see the records named below, if any"
            try:
                data = files.read(key) if key in present else None
            except KeyError:  # a web server does not list what it has
                data = None
            except ChgdbError as error:
                self._report(key, str(error))
                continue
            if data is None:
                self._report(key, f"missing; {effect}")
            elif len(data) != size:
                self._report(key, f"has {len(data)} bytes instead of {size}; {effect}")
            elif crc32c(data) != checksum:
                self._report(key, f"does not match its checksum; {effect}")
            elif head is not None and not head.fits(key, data):
                self._report(key, "is undamaged, but of another version of the store")
        for key in sorted(present - expected.keys()) if expected else ():
            if any(re.fullmatch(rf"{re.escape(name)}/(zarr\.json|c/[0-9/]+)", key) for name in self.store.arrays):
                self._report(key, "does not belong to the store, but lies where readers of Zarr look for its arrays")
            else:
                self.remarks.append(Problem(key, "does not belong to the store, and is kept as it is"))

    def _head(self) -> Head | None:
        """The head, with which remote readers begin; None where it is missing (in stores of early versions of chgdb) or
        wrong."""
        files = self.store.files
        try:
            head = unpack(files.read(HEAD))
            self.n_files += 1
            if head.files[CHECKSUMS] == files.read(CHECKSUMS):
                return head
            self._report(HEAD, "is of another version of the store; remote readers would see that one")
        except KeyError:
            pass
        except ValueError as error:
            self._report(HEAD, f"damaged: {error}; only remote readers need it")
        return None

    def ids(self) -> list[str]:
        try:
            return [str(i) for i in self.store.column("material_id")]
        except ChgdbError as error:
            self._report("material_id", str(error))
            return []

    def index(self) -> None:
        """The index against the ids and the columns."""
        try:
            table = np.ascontiguousarray(self.store.column(LOOKUP)).view(LOOKUP_DTYPE).reshape(-1)
        except (KeyError, ChgdbError) as error:
            self._report(LOOKUP, f"cannot be read: {error}")
            return
        ids = self.ids()
        ascending = bool(np.all(table["hash"][1:] > table["hash"][:-1]))
        if len(table) != len(ids) or sorted(table["row"]) != list(range(len(ids))) or not ascending:
            self._report(LOOKUP, f"{len(table)} entries do not cover the {len(ids)} materials")
            return
        table = table[np.argsort(table["row"])]
        hashes = np.array([id_hash(i) for i in ids], np.uint64)
        for wrong in np.flatnonzero(table["hash"] != hashes):
            self._report(ids[wrong], "its entry in the index has the hash of another id")
        for name, values in {"payload_offset": table["offset"], "stored_bytes": table["length"]}.items():
            column = self._column(name)
            if column is not None:
                for row in np.flatnonzero(column != values):
                    self._report(ids[row], f"{name} is {column[row]} in its column and {values[row]} in the index")
        self._facts(ids)
        size = self.store.arrays[PAYLOAD].shape[0]
        if len(ids) and int((table["offset"] + table["length"]).max()) > size:
            self._report(PAYLOAD, f"has {size} bytes, fewer than its records need")

    def _facts(self, ids: list[str]) -> None:
        """The facts against the columns that they copy; their checksums are compared with every record."""
        if FACTS not in self.store.arrays:
            return
        try:
            table = np.ascontiguousarray(self.store.column(FACTS)).view(FACTS_DTYPE).reshape(-1)
        except (KeyError, ChgdbError) as error:
            self._report(FACTS, f"cannot be read: {error}")
            return
        for name in FACTS_COLUMNS:
            column = self._column(name)
            if column is not None:
                copy = table[name]
                known = (column == column) | (copy == copy)
                for row in np.flatnonzero((column != copy) & known):
                    self._report(ids[row], f"{name} is {column[row]} in its column and {copy[row]} in {FACTS}")

    def latents(self) -> None:
        """Every latent against its checksum, and against the columns that say how good it is."""
        try:
            reader = self.store.latents
        except StoreError as error:
            self._report(LATENT, str(error))
            return
        if reader is None:
            return
        ids, nmae = self.ids(), self._column(NMAE)
        for row, material_id in enumerate(ids):
            try:
                there = reader.values(row) is not None
            except ChgdbError as error:
                self._report(material_id, str(error))
                continue
            if nmae is not None and there == bool(np.isnan(nmae[row])):
                self._report(material_id, f"{NMAE} is {nmae[row]}, but it has {'a' if there else 'no'} latent")

    def _column(self, name: str) -> np.ndarray | None:
        try:
            return self.store.column(name)
        except (KeyError, ChgdbError) as error:
            if name not in self._bad_columns:
                self._bad_columns.add(name)
                self._report(name, f"column cannot be read: {error}")
            return None

    def record(self, row: int, material_id: str, deep: bool, load: Callable[[str], Density] | None) -> None:
        """One record: its bytes, what they say of themselves, and with `deep` what they decode to."""
        try:
            record = self.catalog[material_id]
            head = header(record.payload)
            facts = {
                "formula": head.crystal.formula,
                "n_atoms": len(head.crystal),
                "volume": head.crystal.volume,
                "grid": list(head.grid),
                "channels": " ".join(head.channels),
                "cell": head.crystal.cell.tolist(),
            }
            density = record.decode() if deep else None
        except ChgdbError as error:
            self._report(material_id, str(error))
            self.lost.append(material_id)
            return
        start, count = self._value("atom_offset", row), self._value("n_atoms", row)
        numbers, positions = self._column("atom_number"), self._column("atom_position")
        if isinstance(start, int) and isinstance(count, int) and numbers is not None and positions is not None:
            atoms = slice(start, start + count)
            same = np.array_equal(numbers[atoms], head.crystal.numbers)
            if not same or not np.array_equal(positions[atoms], head.crystal.positions):
                self._report(material_id, "the atoms in the columns are not those of its record")
        if density is not None:
            facts["n_electrons"] = density.n_electrons
            facts["min_density"] = float(density.total.min())
        self._compare(material_id, row, facts)
        if density is not None and load is not None:
            self._measure(record, row, density, load)

    def _value(self, name: str, row: int) -> object:
        column = self._column(name)
        return None if column is None else column[row].tolist() if hasattr(column[row], "tolist") else column[row]

    def _compare(self, material_id: str, row: int, facts: Mapping[str, object]) -> None:
        for name, value in facts.items():
            stored = self._value(name, row)
            if stored is not None and not _same(stored, value):
                self._report(material_id, f"{name} is {stored} in its column, but {value} in its record")

    def _measure(self, record: Record, row: int, density: Density, load: Callable[[str], Density]) -> None:
        try:
            original = load(record.material_id)
        except KeyError:
            return
        except ChgdbError as error:
            self._report(record.material_id, f"its original cannot be read: {error}")
            return
        try:
            quality = measure(original, density)
        except ChgdbError as error:
            self._report(record.material_id, str(error))
            return
        self.measured += 1
        worst = max(quality.nmae.values())
        tolerance = self._value("tolerance", row)
        if isinstance(tolerance, float) and worst > tolerance:
            message = f"NMAE {worst:.4g} against its original, above its tolerance {tolerance:.4g}"
            self._report(record.material_id, message)
        self._compare(record.material_id, row, {"nmae": worst, "max_error": quality.max_error})
        self._measure_occupancies(record, row, original, density)

    def _measure_occupancies(self, record: Record, row: int, original: Density, density: Density) -> None:
        """The augmentation occupancies against those of the original, where the record has them as numbers."""
        tolerance = record.occupancy_tolerance
        if tolerance is None:
            return
        found = occupancy_error(original.extras, density.extras, len(density.crystal))
        if found is None or found > tolerance:
            text = "are not those of its original" if found is None else f"are {found:.4g} from those of its original"
            self._report(record.material_id, f"its augmentation occupancies {text}, their tolerance is {tolerance:.4g}")
        else:
            self._compare(record.material_id, row, {OCCUPANCY_ERROR: found})


def _same(stored: object, found: object) -> bool:
    """Whether two values are equal; numbers within what the last bits of another FFT or of float32 change."""
    if isinstance(stored, float) and isinstance(found, float):
        return math.isclose(stored, found, rel_tol=1e-5, abs_tol=1e-9)
    return stored == found


def _loader(
    originals: str | Path | Mapping[str, str | Path] | Callable[[str], Density] | None, elements: Sequence[str] | None
) -> Callable[[str], Density] | None:
    """A function id -> density that raises `KeyError` where there is no original."""
    if originals is None:
        return None
    if callable(originals):
        return originals
    if isinstance(originals, str | Path):
        files = find_files(originals)
        by_id: Mapping[str, str | Path] = dict(zip(ids_of(files), files, strict=True))
        if not by_id:
            raise StoreError(f"{originals}: no originals there")
    else:
        by_id = originals
    return lambda material_id: read(by_id[material_id], elements=elements)
