"""What the benchmarks of the codecs read: the shared files beside the repository, and the embedded catalog's prior."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import chgdb
from chgdb import Density
from chgdb.promolecule import Prior
from chgdb_catalog.structures import crystal as crystal_of

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED = REPOSITORY.parent / "shared"


def vasp_files() -> list[Path]:
    """The real VASP files, CHGCARs first."""
    paths = sorted((SHARED / "vasp").glob("*.gz"), key=lambda path: (is_all_electron(path), path.name.lower()))
    if not paths:
        raise SystemExit(f"needs the VASP files in {SHARED / 'vasp'}, the folder beside the repository")
    return paths


def is_all_electron(path: Path) -> bool:
    return "AECCAR" in path.name


def _reader():
    if not (SHARED / "densities" / "densities.py").exists():
        raise SystemExit(f"needs the densities in {SHARED / 'densities'}, the folder beside the repository")
    sys.path.insert(0, str(SHARED / "densities"))
    import densities

    return densities


def material_ids(count: int | None = None, seed: int = 0) -> list[str]:
    """Ids of the set, or `count` of them drawn without replacement, in the set's order."""
    ids = _reader().ids()
    if count is None or count >= len(ids):
        return ids
    chosen = np.random.default_rng(seed).choice(len(ids), count, replace=False)
    return [ids[i] for i in sorted(chosen.tolist())]


def density(material_id: str) -> Density:
    meta, grids = _reader().load(material_id)
    return Density(crystal_of(meta), grids)


def grid_of(material_id: str) -> tuple[int, int, int]:
    nx, ny, nz = _reader().index()[material_id]["grid"]
    return nx, ny, nz


class Densities:
    """Densities by id, read anew at each pass over them: what `atoms.fit` takes."""

    def __init__(self, ids: list[str]) -> None:
        self.ids = ids

    def __iter__(self) -> Iterator[Density]:
        return (density(material_id) for material_id in self.ids)


def prior(path: Path | None = None) -> Prior:
    """The embedded catalog's prior, or that of an .npz with its arrays."""
    if path is not None:
        with np.load(path) as arrays:
            return Prior.from_arrays(dict(arrays))
    embedded = chgdb.open().prior
    if embedded is None:
        raise SystemExit("the embedded catalog has no prior: pass --prior FILE.npz")
    return embedded
