"""Charges of the atoms of all materials of a store, made and kept in it as a view; `charged` reads them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import charged
from .catalog import Catalog
from .charged import CHARGES, COUNTS, IDS, MISSING, REMARKS, SOURCE
from .charges import METHODS, PSEUDO
from .density import Density
from .errors import DensityError, StoreError
from .parallel.processes import run
from .parallel.progress import reporting
from .store.format import ROOT, VIEW
from .store.journal import open_journal
from .store.reader import Store
from .store.table import Finished, from_store
from .store.transaction import writing
from .store.viewed import ViewRows
from .store.writer import write_table

#: Changes whenever the same density would be divided otherwise.
VERSION = 1
#: The methods that a store keeps unless others are asked for. Voronoi's takes seconds, and radii of one's own.
KEPT = ("hirshfeld", "bader")
#: Charges are kept in steps of 1/1000 e: far below what methods differ by, and what grids and tolerances leave.
STEPS = 1000
_JOURNAL = "charges.log"
_REFERENCE = {
    "hirshfeld": "densities of neutral free atoms, PBE, spherical (chgdb/charges/free_atoms.json)",
    "bader": "the density made all-electron by free atoms where its recipe is the catalog's; elsewhere the density "
    "with the cores of free atoms",
}


@dataclass(frozen=True)
class ChargesReport:
    """The result of `add_charges`.

    Attributes
    ----------
    path : str
        The store.
    divided : tuple[str, ...]
        Materials whose densities were divided now; the others had their charges already.
    refused : tuple[tuple[str, str], ...]
        Materials without charges and the reasons.
    """

    path: str
    divided: tuple[str, ...]
    refused: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class _Divider:
    """id -> charges by all methods, for processes: levels one method after the other, remarks as a value."""

    store: str
    methods: tuple[str, ...]

    def __call__(self, material_id: str) -> Finished:
        record = Catalog(self.store)[material_id]
        density = record.decode()
        levels: list[np.ndarray] = []
        remarks: list[str] = []
        try:
            for method in self.methods:
                found = _divided(density, method, record.is_of_recipe)
                levels.append(found[0])
                remarks += found[1]
        except DensityError as error:
            levels = [np.full(len(density.crystal), MISSING, "<i2")] * len(self.methods)
            remarks = [f"not divided: {error}"]
        text = "; ".join(dict.fromkeys(remark for remark in remarks if remark != PSEUDO))
        return Finished(material_id, np.concatenate(levels).tobytes(), b"", {REMARKS: text})


def _divided(density: Density, method: str, of_catalog: bool) -> tuple[np.ndarray, tuple[str, ...]]:
    """Net charges in steps, and what limits them. Raises `DensityError`."""
    found = density.charges(method, of_catalog=of_catalog)
    levels = np.rint(found.net * STEPS)
    if not (np.abs(levels) < -MISSING).all():  # NaN, too
        raise DensityError(f"a net charge of {np.abs(found.net).max():.1f} e is none of an atom")
    return levels.astype("<i2"), found.remarks


def add_charges(
    store: str | Path,
    methods: Sequence[str] = KEPT,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: bool | Callable[[int, int, str], None] = False,
) -> ChargesReport:
    """Divide the densities of a store among their atoms, and keep the net charges in it as the view "charges".

    Call it again after any interruption: finished materials are in a journal. Charges that the store has of the same
    densities are kept. Readers see the store as it was until all is written. A material that cannot be divided (no
    atoms, an element without a free atom, a valence that is not clear) gets NaN, and its reason as a remark.

    Parameters
    ----------
    store : str | Path
        Folder of the store.
    methods : Sequence[str]
        Names of `chgdb.charges.METHODS`.
    workers : int | None
        Processes; the cores of this machine unless given.
    scheduler : str | None
        Address of a Dask scheduler whose workers divide, as for `build`.
    progress : bool | Callable[[int, int, str], None]
        True for a progress bar on standard error, or a callable (done, total, id).

    Returns
    -------
    ChargesReport

    Raises
    ------
    StoreError
        If the store cannot be written, or a build of it is running.
    DensityError
        For an unknown method.
    ChecksumError
        If anything of the store is damaged beyond repair; nothing is written then.
    """
    path, wanted = Path(store), tuple(dict.fromkeys(methods))
    for method in wanted:
        if method not in METHODS:
            raise DensityError(f"{method!r} is no method: expected {', '.join(METHODS)}")
    if not (path / "zarr.json").is_file():
        raise StoreError(f"{path}: charges are written into a store in a folder, and there is none")
    with (
        writing(path, advice="; finished charges are kept, compute them again") as transaction,
        open_journal(transaction, _JOURNAL) as journal,
    ):
        catalog = Catalog(path)
        found = _kept(catalog.store, wanted)
        keys = {i: f"{VERSION} {' '.join(wanted)} {_source(catalog, row)} {i}" for row, i in enumerate(catalog.ids)}
        waiting = [i for i in catalog.ids if i not in found and keys[i] not in journal.finished]
        failed, done = [], len(catalog) - len(waiting)
        with reporting(progress, "Charges", done, len(catalog)) as step:
            for outcome in run(_Divider(str(path.absolute()), wanted), waiting, workers, scheduler):
                if outcome.result is None:
                    failed.append((outcome.task, outcome.reason))
                else:
                    journal.add(keys[outcome.task], outcome.result)
                step(outcome.task)
        if failed:  # damage, or a process that was ended: what is finished is kept, the store stays as it was
            material_id, reason = failed[0]
            raise StoreError(f"{path}: {len(failed)} materials have no charges, first {material_id}: {reason}")
        divided = tuple(i for i in catalog.ids if i not in found)
        found |= {i: journal.finished[keys[i]] for i in divided}
        rows = [found[i] for i in catalog.ids]
        if divided:
            table = from_store(catalog.store, keep_views=True)
            table.views[CHARGES] = _view(table.columns, wanted, rows)
            with transaction.version() as folder:
                write_table(folder, table)
    said = {row.material_id: str(row.values[REMARKS]) for row in rows}
    refused = [(i, text.removeprefix("not divided: ")) for i, text in said.items() if text.startswith("not divided: ")]
    return ChargesReport(str(path), divided, tuple(refused))


def _source(catalog: Catalog, row: int) -> str:
    return f"{int(catalog.store.value(SOURCE, row)):08x}"


def _kept(store: Store, wanted: tuple[str, ...]) -> dict[str, Finished]:
    """Charges that a store has already, of the densities that it holds, by these methods."""
    place = f"{VIEW}/{CHARGES}/"
    if set(charged.methods(store)) != set(wanted):
        return {}
    if json.loads(store.read(place + ROOT)).get("attributes", {}).get("version") != VERSION:
        return {}
    columns = [store.column(place + method) for method in wanted]
    remarks, counts = store.column(place + REMARKS), store.column(place + COUNTS).astype(int)
    stops = counts.cumsum()
    return {
        str(i): Finished(
            str(i),
            np.concatenate([values[stop - count : stop] for values in columns]).astype("<i2").tobytes(),
            b"",
            {REMARKS: str(remark)},
        )
        for i, stale, stop, count, remark in zip(
            store.column(IDS), charged.stale_rows(store), stops, counts, remarks, strict=False
        )
        if not stale
    }


def _view(columns: Any, methods: tuple[str, ...], rows: Sequence[Finished]) -> ViewRows:
    """The view as it is written."""
    levels = [np.frombuffer(row.payload, "<i2").reshape(len(methods), -1) for row in rows]
    along = np.concatenate(levels, axis=1)
    named: dict[str, tuple[np.ndarray, str, Any, dict[str, Any]]] = {
        IDS: (columns[IDS], "material", "", {"long_name": "material id"}),
        COUNTS: (columns[COUNTS], "material", 0, {"long_name": "atoms of the material", "units": "1"}),
        SOURCE: (columns[SOURCE], "material", 0, {"long_name": "CRC-32C of what the divided density was encoded from"}),
        REMARKS: (
            np.array([row.values[REMARKS] for row in rows], object), "material", "",
            {"long_name": "what limits the charges of the material"},
        ),
    }  # fmt: skip
    for method, values in zip(methods, along, strict=True):
        named[method] = values, "atom", MISSING, {
            "long_name": f"net charge of each atom, {method}",
            "units": "e",
            "scale_factor": 1 / STEPS,
            "_FillValue": MISSING,
            "method": METHODS[method],
            "reference": _REFERENCE.get(method, "none"),
            "limits": f"{PSEUDO}; {REMARKS} has what was done about that, and what else limits a charge. Compare "
            "charges of one method only",
            "zero": "the valence electrons of the potentials",
        }  # fmt: skip
    return ViewRows(
        {
            "title": "net charges of atoms",
            "comment": "atoms in the order of atom_number, material after material",
            "version": VERSION,
        },
        {name: values for name, (values, *_) in named.items()},
        {name: ([dimension], missing, attributes) for name, (_, dimension, missing, attributes) in named.items()},
    )
