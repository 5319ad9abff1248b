"""A store's content in memory: made from finished records or from a store, merged, and handed to `writer`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..codecs import header
from ..elements import SYMBOLS
from ..errors import StoreError
from .format import COLUMNS, LATENT_COLUMNS, MEASURED, NAN, OCCUPANCY_COLUMNS, RESERVED, ColumnType
from .latents import LatentReader, StoredLatents
from .reader import Store
from .viewed import ViewRows, joined_views, stored_views

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Finished:
    """One encoded material: its bytes, and the values of its columns (metadata included) by name."""

    material_id: str
    payload: bytes
    extras: bytes
    values: Mapping[str, Any]


@dataclass
class Table:
    """The content of a store. Rows of `columns` and of `records` belong to the same materials.

    types: every column's type, those of `COLUMNS` first.
    numbers, positions: the atoms of all rows, one row's after the other's.
    records: payload and extras of a row, concatenated, and the length of the extras.
    priors: identifier -> arrays of the prior. attributes: root attributes of the caller's (title, licence...).
    latents: of the rows, if any has one; then there are the columns `LATENT_COLUMNS` too.
    views: name -> predictions of all rows.
    """

    types: dict[str, ColumnType]
    columns: dict[str, np.ndarray]
    numbers: np.ndarray
    positions: np.ndarray
    records: list[tuple[bytes, int]]
    priors: dict[int, dict[str, np.ndarray]] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    latents: StoredLatents | None = None
    views: dict[str, ViewRows] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.records)

    def take(self, rows: Sequence[int]) -> Table:
        """Table of some of the rows."""
        chosen = np.array(rows, np.int64)
        atoms = _atoms_of(self.columns["n_atoms"], chosen)
        table = replace(
            self,
            types=dict(self.types),
            columns={name: values[chosen] for name, values in self.columns.items()},
            numbers=self.numbers[atoms],
            positions=self.positions[atoms],
            records=[self.records[row] for row in rows],
            latents=None if self.latents is None else self.latents.take(rows),
            views={name: view.take(chosen) for name, view in self.views.items()},
        )
        table._tidy()
        return table

    def set_latents(self, latents: StoredLatents, columns: Mapping[str, np.ndarray]) -> None:
        """Replace the latents, and the values of `LATENT_COLUMNS`."""
        self.latents = latents
        for name, kind in LATENT_COLUMNS.items():
            self.types[name] = kind
            self.columns[name] = columns[name].astype(kind.dtype)
        self._tidy()

    def drop_latents(self) -> None:
        """Remove the latents and their columns."""
        self.latents = None
        self._tidy()

    def _tidy(self) -> None:
        """Remove the latents where no row has one."""
        if self.latents is not None and not any(chunk is not None for chunk in self.latents.chunks):
            self.latents = None
        if self.latents is None:
            for name in LATENT_COLUMNS:
                self.types.pop(name, None)
                self.columns.pop(name, None)


def from_finished(finished: Sequence[Finished], attributes: Mapping[str, Mapping[str, str]] | None = None) -> Table:
    """Table of finished records. attributes: `units` and `long_name` of columns that are not chgdb's own.

    Raises `StoreError` for a column name that is taken or is not an identifier, and for mixed numbers and texts.
    """
    headers = [header(record.payload) for record in finished]
    names = dict.fromkeys(name for record in finished for name in record.values if name not in COLUMNS)
    types = dict(COLUMNS)
    for name in names:
        values = [record.values[name] for record in finished if record.values.get(name) is not None]
        types[name] = OCCUPANCY_COLUMNS.get(name) or column_type(name, values, (attributes or {}).get(name, {}))
    columns: dict[str, np.ndarray] = {}
    for name, kind in types.items():
        given = [record.values.get(name) for record in finished]
        columns[name] = column_values(kind, given, name)
    crystals = [h.crystal for h in headers]
    columns["material_id"][:] = [record.material_id for record in finished]
    columns["formula"][:] = [c.formula for c in crystals]
    columns["elements"][:] = [" ".join(SYMBOLS[z] for z in sorted({int(z) for z in c.numbers})) for c in crystals]
    columns["n_atoms"][:] = [len(c) for c in crystals]
    columns["cell"][:] = [c.cell for c in crystals]
    columns["volume"][:] = [c.volume for c in crystals]
    columns["grid"][:] = [h.grid for h in headers]
    columns["channels"][:] = [" ".join(h.channels) for h in headers]
    return Table(
        types,
        columns,
        np.concatenate([c.numbers for c in crystals]),
        np.concatenate([c.positions for c in crystals]),
        [(record.payload + record.extras, len(record.extras)) for record in finished],
    )


def from_store(
    store: Store,
    ids: Iterable[str] | None = None,
    *,
    keep_latents: bool = True,
    keep_views: bool = False,
    step: Callable[[str], None] = lambda material_id: None,
) -> Table:
    """Table of a whole store, or of some of its materials; step is called with each id.

    Raises `ChecksumError` if anything of it is damaged beyond repair."""
    types = stored_types(store)
    columns = {name: store.column(name) for name in types}
    records, rows = [], []
    for material_id in columns["material_id"] if ids is None else ids:
        location = store.find(material_id)
        if location is None:
            raise StoreError(f"{store.location}: the index lacks {material_id}; run chgdb verify")
        payload, extras = store.record_bytes(material_id, location)
        records.append((payload + extras, len(extras)))
        rows.append(location.row)
        step(str(material_id))
    numbers, positions = store.column("atom_number"), store.column("atom_position")
    if ids is not None:
        atoms = _atoms_of(columns["n_atoms"], rows)
        numbers, positions = numbers[atoms], positions[atoms]
        columns = {name: values[rows] for name, values in columns.items()}
    used = {header(record).prior_id for record, _ in records} if ids is not None else set(store.prior_ids)
    priors: dict[int, dict[str, np.ndarray]] = {}
    for identifier in (i for i in store.prior_ids if i in used):
        prefix = f"prior/{identifier:08x}/"
        priors[identifier] = {n.removeprefix(prefix): store.column(n) for n in store.arrays if n.startswith(prefix)}
    attributes = own_attributes(store)
    latents = _stored_latents(store, rows) if keep_latents else None
    views = stored_views(store, rows) if keep_views else {}
    table = Table(types, columns, numbers, positions, records, priors, attributes, latents, views)
    table._tidy()
    return table


def _atoms_of(n_atoms: np.ndarray, rows: Sequence[int] | np.ndarray) -> np.ndarray:
    """Rows of the atoms of some materials."""
    counts = n_atoms.astype(np.int64)
    starts = np.cumsum(counts) - counts
    return np.concatenate([np.empty(0, np.int64), *(np.arange(starts[i], starts[i] + counts[i]) for i in rows)])


def stored_types(store: Store) -> dict[str, ColumnType]:
    """Types of a store's columns, those of `COLUMNS` first."""
    names = store.columns
    names = [*(n for n in COLUMNS if n in names), *(n for n in names if n not in COLUMNS)]
    known = COLUMNS | LATENT_COLUMNS | OCCUPANCY_COLUMNS
    return {name: known.get(name) or _stored_type(store, name) for name in names}


def own_attributes(store: Store) -> dict[str, Any]:
    """Root attributes that are not the format's."""
    return {k: v for k, v in store.attributes.items() if k not in ("chgdb_format", "coordinates", "priors")}


def merged_types(old: Mapping[str, ColumnType], new: Mapping[str, ColumnType]) -> dict[str, ColumnType]:
    """Types of the columns of two tables together. Raises `StoreError` if a column differs in type or unit."""
    types = dict(old)
    for name, kind in new.items():
        known = types.setdefault(name, kind)
        if known.dtype != kind.dtype or (kind.units and known.units != kind.units):
            raise StoreError(
                f"column {name} is {known.dtype} in {known.units or 'no unit'} in the store, but {kind.dtype} in "
                f"{kind.units or 'no unit'} in what is added: rename or convert one of them"
            )
    return types


def latents_without_rows(reader: LatentReader) -> StoredLatents:
    """The attributes of a store's latents, without any of them."""
    own = StoredLatents(reader.shape, reader.step, {}).all_attributes
    attributes = {name: value for name, value in reader.info.attributes.items() if name not in own}
    return StoredLatents(reader.shape, reader.step, attributes)


def _stored_latents(store: Store, rows: Sequence[int]) -> StoredLatents | None:
    """Latents of these rows as they are stored. Raises `ChecksumError` if one is damaged."""
    reader = store.latents
    if reader is None:
        return None
    for _ in reader.many(rows):  # decompressed once, so that no damaged one is passed on
        pass
    return replace(latents_without_rows(reader), chunks=[reader.chunk(row) for row in rows])


def merge(old: Table, new: Table) -> Table:
    """Rows of `old`, each replaced where `new` has the same id, then the other rows of `new`.

    Latents of both must be by the same autoencoder. Views are kept where both tables have them by the same model.
    Raises `StoreError` if a column differs in type or unit.
    """
    types = merged_types(old.types, new.types)
    position = {material_id: i for i, material_id in enumerate(old.columns["material_id"])}
    order = np.arange(len(old) + len(new))  # row of the result -> row of old followed by new
    appended = []
    for i, material_id in enumerate(new.columns["material_id"]):
        if material_id in position:
            order[position[material_id]] = len(old) + i
        else:
            appended.append(len(old) + i)
    order = np.concatenate([order[: len(old)], np.array(appended, np.int64)])
    columns = {}
    for name, kind in types.items():
        parts = [t.columns[name] if name in t.columns else fill_in(kind, len(t), name) for t in (old, new)]
        columns[name] = np.concatenate(parts)[order]
    records = [*old.records, *new.records]
    numbers, positions = np.concatenate([old.numbers, new.numbers]), np.concatenate([old.positions, new.positions])
    atoms = _atoms_of(np.concatenate([old.columns["n_atoms"], new.columns["n_atoms"]]), order)
    latents = None
    if old.latents is not None or new.latents is not None:
        like = old.latents or new.latents
        assert like is not None
        parts_of = [[None] * len(t) if t.latents is None else t.latents.chunks for t in (old, new)]
        latents = replace(like, chunks=[*parts_of[0], *parts_of[1]]).take([int(i) for i in order])
    table = Table(
        types,
        columns,
        numbers[atoms],
        positions[atoms],
        [records[i] for i in order],
        old.priors | new.priors,
        old.attributes | new.attributes,
        latents,
        joined_views(old.views, new.views, order),
    )
    table._tidy()
    return table


def check_column_name(name: str) -> None:
    """Raise `StoreError` for a name that a caller's column cannot have."""
    if name in MEASURED or name in RESERVED or not _NAME.fullmatch(name):
        reason = "it is chgdb's own" if name in MEASURED or name in RESERVED else "use letters, digits and underscores"
        raise StoreError(f"a column cannot be called {name!r}: {reason}")


def check_value(name: str, value: Any) -> None:
    """Raise `StoreError` for a value that one of chgdb's own columns cannot have. None and NaN mean that nothing is
    known."""
    if value is None or value != value:
        return
    if name == "space_group":
        whole = isinstance(value, int | float | np.number) and not isinstance(value, bool) and float(value).is_integer()
        if not whole or not 0 <= value <= 230:
            raise StoreError(f"space_group is a number from 1 to 230 (0 where it is not known), not {value!r}")
    if name == "energy_cutoff":
        number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        if not number or not 0 < value < np.inf:
            raise StoreError(f"energy_cutoff is a positive number of eV, not {value!r}")


def column_type(name: str, values: Iterable[Any], attributes: Mapping[str, str]) -> ColumnType:
    check_column_name(name)
    kinds = {"bool" if isinstance(v, bool | np.bool_) else "text" if isinstance(v, str) else "number" for v in values}
    if len(kinds) > 1:
        raise StoreError(f"column {name} holds both {' and '.join(sorted(kinds))} values: make them one kind")
    kind = kinds.pop() if kinds else "number"
    dtype, missing = {"bool": ("int8", -1), "text": ("string", ""), "number": ("float64", NAN)}[kind]
    long_name = attributes.get("long_name", name.replace("_", " "))
    if kind == "bool":
        long_name += " (1 true, 0 false, -1 unknown)"
    return ColumnType(dtype, long_name, attributes.get("units", ""), (), missing, _notes(attributes))


def _stored_type(store: Store, name: str) -> ColumnType:
    info = store.arrays[name]
    dtype = "string" if info.dtype is None else info.dtype.name
    missing = {"string": "", "int8": -1}.get(dtype, NAN)
    dimensions = tuple(zip(info.dimensions[1:], info.shape[1:], strict=True))
    long_name, units = (str(info.attributes.get(key, "")) for key in ("long_name", "units"))
    return ColumnType(dtype, long_name, units, dimensions, missing, _notes(info.attributes))


def _notes(attributes: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((k, v) for k, v in attributes.items() if k not in ("long_name", "units") and isinstance(v, str))


def fill_in(kind: ColumnType, count: int, name: str) -> np.ndarray:
    """A column of which nothing is known."""
    return column_values(kind, [None] * count, name)


def column_values(kind: ColumnType, given: Sequence[Any], name: str) -> np.ndarray:
    """Values of a column with what is missing filled in."""
    shape = (len(given), *(size for _, size in kind.dimensions))
    values = np.full(shape, kind.missing, object if kind.dtype == "string" else kind.dtype)
    for i, value in enumerate(given):
        if value is not None:
            try:
                values[i] = str(value) if kind.dtype == "string" else value
            except (TypeError, ValueError, OverflowError) as error:
                raise StoreError(f"column {name} cannot hold {value!r}: {error}") from None
    return values
