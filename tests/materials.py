"""Small made-up materials for the tests of stores; importable by worker processes."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import chgdb
from chgdb import Crystal, Density
from chgdb.errors import DensityError
from chgdb.store.transaction import writing

IDS = [f"mat-{i}" for i in range(12)]
ELEMENTS = [3, 8, 14, 26]
COLUMNS = {"band_gap": {"units": "eV", "long_name": "band gap"}, "bulk_modulus": {"units": "GPa"}}


def density(material_id: str) -> Density:
    """A different density for each id; every third is spin-polarised."""
    number = int(material_id.rsplit("-", 1)[1])
    rng = np.random.default_rng(number)
    grid = (4 + number % 3, 5, 6)
    kinds = [ELEMENTS[number % 4], ELEMENTS[(number // 4) % 4]]
    crystal = Crystal(np.diag([3.0, 3.5, 4.0 + number / 10]), rng.random((2, 3)), kinds)
    channels = {"total": rng.random(grid)}
    if number % 3 == 0:
        channels["magnetization"] = rng.normal(size=grid)
    return Density(crystal, channels)


def atoms(material_id: str) -> Density:
    """Gaussian atoms in a box, one width for each element: what a prior describes well."""
    number = int(material_id.rsplit("-", 1)[1])
    rng = np.random.default_rng(number)
    cell, positions = np.diag(4.0 + rng.random(3)), rng.random((4, 3))
    numbers = [ELEMENTS[(number + i) % 4] for i in range(4)]
    points = np.stack(np.meshgrid(*[np.arange(24) / 24] * 3, indexing="ij"), axis=-1)
    total = np.full((24, 24, 24), 1e-3)
    for position, z in zip(positions, numbers, strict=True):
        away = points - position
        distance2 = (((away - np.rint(away)) @ cell) ** 2).sum(axis=-1)
        total += z * np.exp(-distance2 * (1 + z / 20))
    return Density(Crystal(cell, positions, numbers), {"total": total})


def load_atoms(material_id: str) -> tuple[Density, Mapping[str, Any]]:
    return atoms(material_id), {"space_group": 1}


def load(material_id: str) -> tuple[Density, Mapping[str, Any]]:
    number = int(material_id.rsplit("-", 1)[1])
    return density(material_id), {
        "space_group": 1 + number,
        "band_gap": None if number == 5 else number / 2,
        "bulk_modulus": 100.0 + number,
        "label_source": "table" if number % 2 else "tensor",
        "magnetic": number % 3 == 0,
        "code": "made up",
    }


def load_slowly(material_id: str, seconds: float) -> tuple[Density, Mapping[str, Any]]:
    time.sleep(seconds)
    return load(material_id)


class Noted:
    """`load` that takes a while, and first notes the id in a file."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def __call__(self, material_id: str) -> tuple[Density, Mapping[str, Any]]:
        with open(self._log, "a", encoding="utf-8") as log:
            log.write(f"{material_id}\n")
        time.sleep(0.2)
        return load(material_id)


def load_real(material_id: str) -> tuple[Density, Mapping[str, Any]]:
    """A density of the embedded catalog, as the property models expect them."""
    return chgdb.open()[material_id].density, {}


def load_changed(material_id: str) -> tuple[Density, Mapping[str, Any]]:
    """The same materials, computed again with another result."""
    old, metadata = load(material_id)
    return Density(old.crystal, {name: values + 1 for name, values in old.channels.items()}), metadata


def load_or_die(material_id: str) -> tuple[Density, Mapping[str, Any]]:
    """One material kills its process, as the system does when memory runs out; one has no density."""
    if material_id == "mat-4":
        os._exit(9)
    if material_id == "mat-6":
        raise DensityError("mat-6 has no density")
    return load(material_id)


@contextmanager
def written_by_another(path: Path) -> Iterator[None]:
    """While another thread, which counts as another command, is writing to a folder."""
    begun, done = threading.Event(), threading.Event()

    def write() -> None:
        with writing(path):
            begun.set()
            done.wait()

    thread = threading.Thread(target=write)
    thread.start()
    begun.wait()
    try:
        yield
    finally:
        done.set()
        thread.join()


def same(first: Density, second: Density) -> bool:
    return (
        first.crystal == second.crystal
        and tuple(first.channels) == tuple(second.channels)
        and all(np.array_equal(first.channels[name], second.channels[name]) for name in first.channels)
    )


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
