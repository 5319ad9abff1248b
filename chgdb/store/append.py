"""The next version of a large store with some materials more: chunks that do not change are linked, not written again.

Appending rows leaves all full chunks and shards as they are. The last chunk of each array, the index, which is sorted
by hash, the metadata and the checksums are written anew. The result is the same to the byte as if everything had been
written again (docs/decisions/0001-a-store-is-replaced-whole.md). Files of a store are never changed in place, so two
versions can share them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ChgdbError
from . import head as store_head
from .format import ATOM_ROWS, CHUNK_ROWS, FACTS, LATENT, LOOKUP, LOOKUP_DTYPE, PARITY, PAYLOAD, SHARD_BYTES, ColumnType
from .head import HEAD
from .latents import SHARD_ROWS
from .parity import add_parity, is_protected
from .reader import Store
from .table import Table, fill_in, latents_without_rows, merged_types, own_attributes, stored_types
from .writer import (
    Linked,
    consolidated,
    constant,
    derived_columns,
    dimensions_of,
    facts_rows,
    facts_table,
    format_version,
    lookup_table,
    new_group,
    seal,
    write_array,
    write_atoms,
    write_column,
    write_facts,
    write_latents,
    write_lookup,
    write_payload,
    write_prior,
)


class CannotLink(ChgdbError):
    """A store whose chunks have another layout than today's, so that it has to be written again as a whole."""


def can_append(store: Store, new: Table) -> bool:
    """Whether appending saves work; it needs that all materials are new."""
    return store.n_materials >= CHUNK_ROWS and all(store.find(str(i)) is None for i in new.columns["material_id"])


def append_table(folder: Path, store: Store, new: Table) -> None:
    """Write the next version of a store in a folder, with the rows of `new` after those it has, into a new folder.

    Raises `CannotLink` if the store was laid out in another way, `ChecksumError` if what has to be read of it is
    damaged beyond repair, `StoreError` as `table.merge`. Linked files are not read: damage in them stays as it was.
    """
    _Append(folder, store, new).run()


class _Append:
    def __init__(self, folder: Path, store: Store, new: Table) -> None:
        self.folder, self.store, self.new = folder, store, new
        self.before, self.total = store.n_materials, store.n_materials + len(new)
        self.kept: set[str] = set()  # keys of the files of both versions
        try:
            self.old_head = store_head.unpack(store.files.read(HEAD))
        except (KeyError, ValueError) as error:
            raise CannotLink(f"{store.location}: {HEAD}: {error}") from None
        if dict(self.old_head.checksums) != dict(store.checksums) or FACTS not in store.arrays:
            raise CannotLink(f"{store.location} was written by an early version of chgdb")

    def run(self) -> None:
        store, new = self.store, self.new
        types = merged_types(stored_types(store), new.types)
        priors = [*store.prior_ids, *(i for i in new.priors if i not in store.prior_ids)]
        size = store.arrays[PAYLOAD].shape[0]
        records, derived = derived_columns(new, size, store.arrays["atom_number"].shape[0])
        columns = {n: new.columns[n] if n in new.columns else fill_in(kind, len(new), n) for n, kind in types.items()}
        columns |= {n: values.astype(types[n].dtype) for n, values in derived.items()}
        with consolidated(self.folder):
            attributes = own_attributes(store) | new.attributes
            root = new_group(self.folder, attributes, priors, version=max(store.format_version, format_version(new)))
            for name, kind in types.items():
                self._column(root, name, columns[name], kind)
            for identifier in priors:
                if identifier in store.prior_ids:
                    self._link_tree(f"prior/{identifier:08x}/")
                else:
                    write_prior(root, identifier, new.priors[identifier])
            self._atoms(root)
            self._payload(root, records, size)
            self._index(root, columns)
            self._latents(root)
            facts, start = self._tail(FACTS, facts_rows(self.total), facts_table(columns, records))
            write_facts(root, facts, start)
            self._link_before(FACTS, start)
        self._seal()

    # Arrays ------------------------------------------------------------------------------------------------------

    def _column(self, root: Any, name: str, added: np.ndarray, kind: ColumnType) -> None:
        """A column: its last chunk and what is added, or all of it where its layout changes."""
        info = self.store.arrays.get(name)
        if info is None:  # in what is added alone
            write_column(root, name, np.concatenate([fill_in(kind, self.before, name), added]), kind)
            return
        stored = np.dtype(object) if info.dtype is None else info.dtype
        if stored != np.dtype(object if kind.dtype == "string" else kind.dtype) or info.chunk_rows != CHUNK_ROWS:
            raise CannotLink(f"{self.store.location}: the column {name} is laid out in another way")
        fill_value = kind.missing
        if not any(info.key(i) in self.store.checksums for i in range(-(-self.before // info.chunk_rows))):
            one = constant(np.concatenate([self.store.chunk(name, 0)[:1], added]), kind)
            if one is None:  # the same value everywhere, until now
                write_column(root, name, np.concatenate([self.store.column(name), added]), kind)
                return
            fill_value = one
        values, start = self._tail(name, CHUNK_ROWS, added)
        dimensions, shuffled = dimensions_of(kind), self._shuffled(name)
        write_array(root, name, values, dimensions, fill_value, kind.attributes, CHUNK_ROWS, start, shuffled)
        self._link_before(name, start)

    def _shuffled(self, name: str) -> bool:
        """Whether an array's bytes are shuffled before they are compressed: it was decided by its first chunk."""
        return any(codec["name"] == "blosc" for codec in self.store.arrays[name].codecs)

    def _tail(self, name: str, chunk_rows: int, added: np.ndarray) -> tuple[np.ndarray, int]:
        """Rows of an array from its last chunk on, and the first of them."""
        info = self.store.arrays[name]
        if info.chunk_rows != min(chunk_rows, info.shape[0] + len(added)):
            return np.concatenate([self.store.column(name), added]), 0
        last, rows = divmod(info.shape[0], info.chunk_rows)
        if not rows:
            return added, info.shape[0]
        return np.concatenate([self.store.chunk(name, last), added]), last * info.chunk_rows

    def _atoms(self, root: Any) -> None:
        numbers, start = self._tail("atom_number", ATOM_ROWS, self.new.numbers.astype(np.uint8))
        positions, _ = self._tail("atom_position", ATOM_ROWS, self.new.positions)
        shuffled = (self._shuffled("atom_number"), self._shuffled("atom_position")) if start else None
        write_atoms(root, numbers, positions, start, shuffled)
        for name in ("atom_number", "atom_position"):
            self._link_before(name, start)

    def _payload(self, root: Any, records: Sequence[bytes], size: int) -> None:
        info = self.store.arrays[PAYLOAD]
        full = size // SHARD_BYTES if info.chunk_rows == SHARD_BYTES else 0
        shards = range(full, -(-size // info.chunk_rows))
        last = [self.store.read(info.key(i))[: min(info.chunk_rows, size - i * info.chunk_rows)] for i in shards]
        write_payload(root, [*last, *records], size + sum(map(len, records)), full * SHARD_BYTES)
        self._link_before(PAYLOAD, full * SHARD_BYTES)

    def _index(self, root: Any, columns: Mapping[str, np.ndarray]) -> None:
        old = np.ascontiguousarray(self.store.column(LOOKUP)).view(LOOKUP_DTYPE).reshape(-1)
        table = np.concatenate([old, lookup_table(columns, self.before)])

        def id_of(row: int) -> str:
            new = row >= self.before
            return str(columns["material_id"][row - self.before] if new else self.store.value("material_id", row))

        write_lookup(root, table, id_of)

    def _latents(self, root: Any) -> None:
        """Metadata for more rows; the new ones have no latent, so that no shard changes."""
        reader = self.store.latents
        if reader is None:
            return
        if reader.info.chunk_rows != SHARD_ROWS:
            raise CannotLink(f"{self.store.location}: {LATENT} is laid out in another way")
        write_latents(root, self.folder, replace(latents_without_rows(reader), chunks=[None] * self.total))
        self._link_before(LATENT, self.before)

    # Files -------------------------------------------------------------------------------------------------------

    def _link_before(self, name: str, start: int) -> None:
        """Link the chunks of an array before a row, where they are laid out in the same way in both versions."""
        info = self.store.arrays[name]
        for i in range(-(-min(start, info.shape[0]) // info.chunk_rows)):
            if info.key(i) in self.store.checksums:
                self._link(info.key(i))

    def _link_tree(self, prefix: str) -> None:
        for key in self.store.checksums:
            if key.startswith(prefix):
                self._link(key)

    def _link(self, key: str) -> None:
        target = self.folder / key
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        self.kept.add(key)
        if key in self.store.repaired:
            target.write_bytes(self.store.repaired[key])
            return
        source = Path(self.store.location) / key
        try:
            os.link(source, target)
        except FileNotFoundError:
            raise CannotLink(f"{source} is missing") from None
        except OSError:  # a file system without links, or too many of one file
            shutil.copyfile(source, target)

    def _seal(self) -> None:
        """Write checksums, of new files and of linked ones, and the parity, of what has changed."""
        store = self.store
        parity = np.frombuffer(store.read(PARITY), np.uint8).copy()
        for key in store.checksums:
            if key not in self.kept and key != PARITY and is_protected(key):
                add_parity(parity, store.read(key))
        checksums = {key: store.checksums[key] for key in self.kept}
        seal(self.folder, Linked(checksums, {key: self.old_head.digests[key] for key in self.kept}, parity))
