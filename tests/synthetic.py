"""Stores of any size out of real records: synthetic, for tests and benchmarks of size and speed only.

Records of the embedded catalog are repeated under new ids, and every measured number of their columns is moved by a
part in a thousand at random, so that columns compress as those of different materials do.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

import chgdb
from chgdb.store_layout import write_table
from chgdb.store_table import from_store

#: Floating-point columns that the decoder relies on, or that are exact by nature.
_EXACT = ("tolerance", "cell", "volume", "channel_nmae", "energy_cutoff", "n_electrons")


def synthetic(folder: Path, count: int, seed: int = 0, text: str = "syn") -> Path:
    """Write a store of `count` materials with the ids syn-0, syn-1, ... to a new folder."""
    source = from_store(chgdb.open()._store)
    rng = np.random.default_rng(seed)
    rows = np.concatenate([rng.permutation(len(source)) for _ in range(-(-count // len(source)))])[:count]
    columns = {}
    for name, values in source.columns.items():
        columns[name] = values[rows].copy()
        if values.dtype.kind == "f" and name not in _EXACT:
            columns[name] *= (1 - 1e-3 * rng.random(count)).astype(values.dtype)
    columns["material_id"] = np.array([f"{text}-{i}" for i in range(count)], object)
    columns["source_crc32c"] = rng.integers(1 << 32, size=count).astype(np.uint32)
    counts = source.columns["n_atoms"].astype(np.int64)
    starts = np.cumsum(counts) - counts
    atoms = np.concatenate([np.arange(starts[row], starts[row] + counts[row]) for row in rows])
    attributes = source.attributes | {
        "title": f"synthetic: {count} perturbed copies of records of the embedded catalog"
    }
    table = replace(
        source,
        columns=columns,
        numbers=source.numbers[atoms],
        positions=source.positions[atoms],
        records=[source.records[row] for row in rows],
        attributes=attributes,
    )
    write_table(folder, table)
    return folder
