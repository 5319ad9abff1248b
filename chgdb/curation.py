"""Stores that exist, put together, cut down, renamed and added to; no density is encoded again."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from . import __version__
from .catalog import Catalog, open_catalog
from .charged import CHARGES
from .errors import StoreError
from .ingest import Progress
from .inputs import check_id, read_properties
from .parallel.progress import reporting
from .predicted import PROPERTIES
from .store.columns import is_missing, set_columns
from .store.format import LATENT_COLUMNS, MEASURED
from .store.lineage import LINEAGE, extended, named
from .store.table import Table, fill_in, from_store, merged_types
from .store.table import merge as merged
from .store.transaction import Transaction, writing
from .store.writer import write_table
from .urls import is_url, public

OnConflict = Literal["refuse", "first", "last"]


@dataclass(frozen=True)
class MergeReport:
    """The result of a merge.

    Attributes
    ----------
    path : str
        The new store.
    n_materials : int
        Materials that it holds.
    sources : tuple[tuple[str, int], ...]
        Stores that went in, with their numbers of materials.
    shared : tuple[str, ...]
        Ids that several of them have.
    notes : tuple[str, ...]
        What could not be taken over, and why; a line each.
    """

    path: str
    n_materials: int
    sources: tuple[tuple[str, int], ...]
    shared: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ColumnsReport:
    """The result of `add_columns`.

    Attributes
    ----------
    path : str
        The store.
    columns : tuple[str, ...]
        Columns of the table.
    updated : tuple[str, ...]
        Ids of the materials that have other values now.
    notes : tuple[str, ...]
        What was left out of the table, or may not be meant, a line each.
    """

    path: str
    columns: tuple[str, ...]
    updated: tuple[str, ...]
    notes: tuple[str, ...]


def merge(
    out: str | os.PathLike[str],
    stores: Iterable[str | os.PathLike[str]],
    *,
    on_conflict: OnConflict = "refuse",
    replace: bool = False,
    attributes: Mapping[str, Any] | None = None,
    progress: Progress = False,
) -> MergeReport:
    """Put several stores into one, record by record as they are.

    Materials come in the order of the stores. One that several stores have, with the same record, goes in once, with
    what any of them knows of it. Latents are kept where all are by one autoencoder, and predictions where all stores
    have them by one model.

    Parameters
    ----------
    out
        Folder of the new store. It may be one of `stores`, which then takes the others in.
    stores
        Folders, .zip files, URLs or installed names, as for `chgdb.open`.
    on_conflict
        What to do where two stores have one id with other densities or other values of a column: "refuse" all, or take
        that of the "first" or of the "last" store.
    replace
        Whether another store that is at `out` may be replaced.
    attributes
        Root attributes of the new store (title, licence...). Those of the stores are kept where they agree; licences
        that do not are listed, and each material keeps its own.
    progress
        True for a progress bar on standard error, or a callable (done, total, id).

    Returns
    -------
    MergeReport

    Raises
    ------
    StoreError
        If stores contradict each other, or `out` exists or cannot be written; then nothing is changed.
    ChecksumError
        If one of them is damaged beyond repair.

    Examples
    --------
    >>> chgdb.curation.merge("all.zarr", ["mine.zarr", "yours.zarr"])     # doctest: +SKIP
    """
    sources = [os.fspath(store) for store in stores]
    if not sources:
        raise StoreError(f"{os.fspath(out)}: name the stores to merge")
    if on_conflict not in ("refuse", "first", "last"):
        raise StoreError(f"on_conflict is {on_conflict!r}; expected 'refuse', 'first' or 'last'")
    with writing(out) as transaction:
        catalogs = [open_catalog(source) for source in sources]
        if transaction.exists and not replace and not any(_is_at(c, transaction) for c in catalogs):
            raise StoreError(f"{os.fspath(out)} exists already; choose another folder, or ask to replace it")
        tables = []
        with reporting(progress, "Merging", 0, sum(map(len, catalogs))) as step:
            for catalog in catalogs:
                tables.append(catalog.consistent(lambda store: from_store(store, keep_views=True, step=step)))
        seen = Counter(str(i) for table in tables for i in table.columns["material_id"])
        notes = _drop_what_differs(tables, catalogs)
        found = _common_attributes(tables)
        whole = tables[0]
        for table, catalog in zip(tables[1:], catalogs[1:], strict=True):
            whole = _joined(whole, table, on_conflict, catalog.path)
        lineage = [_described(c, t) for c, t in zip(catalogs, tables, strict=True)]
        whole.attributes = extended({**found, **(attributes or {})}, "merge", sources=lineage)
        with transaction.version() as folder:
            write_table(folder, whole)
    counts = tuple((catalog.path, len(table)) for catalog, table in zip(catalogs, tables, strict=True))
    shared = tuple(material_id for material_id, count in seen.items() if count > 1)
    return MergeReport(os.fspath(out), len(whole), counts, shared, tuple(notes))


def remove(store: str | os.PathLike[str], ids: Iterable[str]) -> tuple[str, ...]:
    """Take materials out of a store; the bytes of the others, their latents and predictions stay.

    Parameters
    ----------
    store
        Folder of the store.
    ids
        Ids of the materials to remove.

    Returns
    -------
    tuple[str, ...]
        The ids that were removed.

    Raises
    ------
    UnknownMaterialError
        For an id that it does not have; nothing is removed then.
    StoreError
        If there is no store, nothing would be left, or it cannot be written.

    Examples
    --------
    >>> chgdb.curation.remove("my.zarr", ["mp-149"])     # doctest: +SKIP
    ('mp-149',)
    """
    gone = tuple(dict.fromkeys(ids))
    with writing(store) as transaction:
        catalog = _existing(transaction)
        for material_id in gone:
            catalog[material_id]
        dropped = set(gone)
        kept = [material_id for material_id in catalog.ids if material_id not in dropped]
        if not kept:
            raise StoreError(f"{transaction.path}: no material would be left: remove the folder, if that is meant")
        if gone:
            table = from_store(catalog.store, kept, keep_views=True)
            table.attributes = extended(table.attributes, "remove", **named(gone))
            with transaction.version() as folder:
                write_table(folder, table)
    return gone


def rename(store: str | os.PathLike[str], names: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Give materials of a store other ids; all else stays.

    Parameters
    ----------
    store
        Folder of the store.
    names
        Old id -> new id. Two ids can be exchanged.

    Returns
    -------
    tuple[tuple[str, str], ...]
        (old, new) of each material whose id has changed.

    Raises
    ------
    UnknownMaterialError
        For an id that it does not have; nothing is renamed then.
    StoreError
        If there is no store, a new id cannot be one or is taken, or it cannot be written.

    Examples
    --------
    >>> chgdb.curation.rename("my.zarr", {"run_17": "mp-149"})     # doctest: +SKIP
    (('run_17', 'mp-149'),)
    """
    changed = {old: new for old, new in names.items() if old != new}
    for new in changed.values():
        check_id(new)
    with writing(store) as transaction:
        catalog = _existing(transaction)
        for old in names:
            catalog[old]
        ids = [changed.get(material_id, material_id) for material_id in catalog.ids]
        twice = [material_id for material_id, count in Counter(ids).items() if count > 1]
        if twice:
            raise StoreError(f"{transaction.path}: {twice[0]} is the id of another material; choose another one")
        if changed:
            table = from_store(catalog.store, keep_views=True)
            new_ids = np.array(ids, object)
            table.columns["material_id"] = new_ids
            for view in table.views.values():
                view.arrays["material_id"] = new_ids
            table.attributes = extended(table.attributes, "rename", names=[list(pair) for pair in changed.items()])
            with transaction.version() as folder:
                write_table(folder, table)
    return tuple(changed.items())


def add_columns(
    store: str | os.PathLike[str], table: str | os.PathLike[str], *, replace: bool = False
) -> ColumnsReport:
    """Add the columns of a CSV to a store, and fill in values that are missing; records, latents and predictions stay.

    Parameters
    ----------
    store
        Folder of the store.
    table
        A CSV joined by its column `material_id` (or `id`, or the first); units come from headers such as
        `bulk_modulus_GPa` or `bulk_modulus [GPa]`.
    replace
        Whether other values than the store has may take their place.

    Returns
    -------
    ColumnsReport

    Raises
    ------
    StoreError
        If there is no store, no row is of one of its materials, a column has another type or unit there, or values
        would be replaced unasked; nothing is changed then.
    FormatError
        For a table that cannot be read.

    Examples
    --------
    >>> chgdb.curation.add_columns("my.zarr", "gaps.csv").columns     # doctest: +SKIP
    ('band_gap',)
    """
    given = read_properties(Path(table))
    with writing(store) as transaction:
        ids = _existing(transaction).ids
        if not set(ids) & set(given.values):
            raise StoreError(f"{os.fspath(table)}: no row has the id of a material of {transaction.path}")
        entry = {"columns": list(given.attributes), "source": os.path.basename(os.fspath(table))}
        updated = set_columns(transaction, given.values, given.attributes, replace, entry)
    notes = [*given.notes, *filter(None, [given.unmatched(ids)])]
    return ColumnsReport(os.fspath(store), tuple(given.attributes), updated, tuple(notes))


def _existing(transaction: Transaction) -> Catalog:
    """The store that is to be changed. Raises `StoreError` if there is none in a folder."""
    if not transaction.exists:
        raise StoreError(f"{transaction.path}: there is no store")
    return Catalog(transaction.target)


def _is_at(catalog: Catalog, transaction: Transaction) -> bool:
    return not is_url(catalog.path) and Path(os.path.realpath(catalog.path)) == transaction.target


def _described(catalog: Catalog, table: Table) -> dict[str, Any]:
    """A source, for the lineage: where it was, how many materials it had and what it said of itself."""
    path = public(catalog.path) if is_url(catalog.path) else catalog.path
    return {"path": path, "n_materials": len(table), "attributes": table.attributes}


def _common_attributes(tables: Sequence[Table]) -> dict[str, Any]:
    """Root attributes in which stores agree. If their licences differ, each material gets that of its store."""
    found: dict[str, Any] = {}
    for name in dict.fromkeys(name for table in tables for name in table.attributes):
        values = [table.attributes[name] for table in tables if name in table.attributes]
        if name == "licence" and any(table.attributes.get(name) != values[0] for table in tables):
            for table in tables:
                own = table.columns[name].copy()
                own[own == ""] = str(table.attributes.get(name, ""))
                table.columns[name] = own
            found[name] = "; ".join(dict.fromkeys(map(str, values)))
        elif all(value == values[0] for value in values) and name not in (LINEAGE, "extracted_from"):
            found[name] = values[0]
    return found | {"generator": f"chgdb {__version__}"}


#: View -> what is said where it is not kept.
_DROPPED = {
    PROPERTIES: f"not all stores have the predictions {PROPERTIES} of one model, so that none are kept; chgdb build "
    "OUT --predict makes them",
    CHARGES: "not all stores have charges of atoms by the same methods, so that none are kept; "
    "chgdb.charging.add_charges makes them",
}


def _drop_what_differs(tables: Sequence[Table], catalogs: Sequence[Catalog]) -> list[str]:
    """Take out latents and views that do not fit together. Returns a line for each kind."""
    notes = []
    first = next((table.latents for table in tables if table.latents), None)
    others = [t for t in tables if first and t.latents and not t.latents.fits(first)]
    if first is not None and others:
        for table in others:
            table.drop_latents()
        notes.append(
            f"latents are by several autoencoders: those of {first.attributes.get('model')} are kept; chgdb build OUT "
            "--latents makes the others"
        )
    names = {name for table in tables for name in table.views}
    for name in sorted(names):
        views = [table.views.get(name) for table in tables]
        if any(view is None or not view.fits(views[0] or view) for view in views):
            notes.append(_DROPPED.get(name, f"not all stores have the same view {name}, so that none is kept"))
    return notes


def _joined(old: Table, new: Table, on_conflict: OnConflict, place: str) -> Table:
    """Rows of both, each id once."""
    types = merged_types(old.types, new.types)
    for table in (old, new):
        table.types = dict(types)
        for name, kind in types.items():
            if name not in table.columns:
                table.columns[name] = fill_in(kind, len(table), name)
    row_of = {str(material_id): row for row, material_id in enumerate(old.columns["material_id"])}
    pairs = [(row_of[str(i)], row) for row, i in enumerate(new.columns["material_id"]) if str(i) in row_of]
    same = [pair for pair in pairs if old.records[pair[0]] == new.records[pair[1]]]
    if on_conflict == "refuse" and len(same) < len(pairs):
        equal = set(same)
        row = next(pair for pair in pairs if pair not in equal)[1]
        raise StoreError(
            f"{new.columns['material_id'][row]} in {place} has another density than in the stores before it: keep the "
            "first or the last, or rename one (chgdb rename)"
        )
    _fill_in(old, new, same, on_conflict, place)
    if on_conflict == "first":
        taken = {row for _, row in pairs}
        new = new.take([row for row in range(len(new)) if row not in taken])
    return merged(old, new)


def _fill_in(old: Table, new: Table, pairs: Collection[tuple[int, int]], on_conflict: OnConflict, place: str) -> None:
    """Give both rows of one record what the other one knows of it."""
    if not pairs:
        return
    first, second = (np.array(rows, np.int64) for rows in zip(*pairs, strict=True))
    for name, kind in old.types.items():
        if name in MEASURED or name in LATENT_COLUMNS or kind.dimensions:
            continue
        a, b = old.columns[name].copy(), new.columns[name].copy()
        lacks_a, lacks_b = (np.array([is_missing(v, kind.missing) for v in values]) for values in (a[first], b[second]))
        differ = np.flatnonzero(~lacks_a & ~lacks_b & (a[first] != b[second]))
        if differ.size and on_conflict == "refuse":
            row = int(differ[0])
            raise StoreError(
                f"{name} of {new.columns['material_id'][second[row]]} is {b[second[row]]} in {place} and "
                f"{a[first[row]]} in the stores before it: keep the first or the last"
            )
        known_b, known_a = b[second].copy(), a[first].copy()
        a[first[lacks_a]], b[second[lacks_b]] = known_b[lacks_a], known_a[lacks_b]
        old.columns[name], new.columns[name] = a, b
    _share_latents(old, new, pairs)


def _share_latents(old: Table, new: Table, pairs: Collection[tuple[int, int]]) -> None:
    """The latents of one record, where one row alone has them."""
    if old.latents is None or new.latents is None:
        return
    for i, j in pairs:
        for here, there, row, other in ((old, new, i, j), (new, old, j, i)):
            assert here.latents is not None
            assert there.latents is not None
            if here.latents.chunks[row] is None and there.latents.chunks[other] is not None:
                here.latents.chunks[row] = there.latents.chunks[other]
                for name in LATENT_COLUMNS:
                    here.columns[name][row] = there.columns[name][other]
