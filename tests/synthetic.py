"""Stores of any size out of real records: synthetic, for tests and benchmarks of size and speed only.

Records of the embedded catalog are repeated under new ids, and every measured number of their columns is moved by a
part in a thousand at random, so that columns compress as those of different materials do. Latents are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

import chgdb
from chgdb.store.table import Table, from_store
from chgdb.store.writer import write_table

#: Floating-point columns that the decoder relies on, or that are exact by nature.
_EXACT = ("tolerance", "cell", "volume", "channel_nmae", "energy_cutoff", "n_electrons")


def synthetic(folder: Path, count: int, seed: int = 0, text: str = "syn") -> Path:
    """Write a store of `count` materials with the ids syn-0, syn-1, ... to a new folder."""
    source = from_store(chgdb.open().store, keep_latents=False)
    rng = np.random.default_rng(seed)
    rows = np.concatenate([rng.permutation(len(source)) for _ in range(-(-count // len(source)))])[:count]
    table = repeated(source, rows, [f"{text}-{i}" for i in range(count)])
    for name, values in table.columns.items():
        if values.dtype.kind == "f" and name not in _EXACT:
            values *= (1 - 1e-3 * rng.random(count)).reshape(-1, *[1] * (values.ndim - 1)).astype(values.dtype)
    table.columns["source_crc32c"] = rng.integers(1 << 32, size=count).astype(np.uint32)
    table.attributes["title"] = f"synthetic: {count} perturbed copies of records of the embedded catalog"
    write_table(folder, table)
    return folder


def repeated(source: Table, rows: Sequence[int] | np.ndarray, ids: Sequence[str]) -> Table:
    """A table without latents of these rows of another, any of them as often as wanted, under these ids."""
    counts = source.columns["n_atoms"].astype(np.int64)
    starts = np.cumsum(counts) - counts
    atoms = np.concatenate([np.arange(starts[row], starts[row] + counts[row]) for row in rows])
    columns = {name: values[rows].copy() for name, values in source.columns.items()}
    columns["material_id"] = np.array(ids, object)
    return replace(
        source,
        columns=columns,
        numbers=source.numbers[atoms],
        positions=source.positions[atoms],
        records=[source.records[row] for row in rows],
        attributes=dict(source.attributes),
        latents=None,
    )
