"""Files of other programs' own making in tests/data, and the same numbers in layouts that those programs also have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from chgdb import Density

DATA = Path(__file__).resolve().parents[1] / "data"
ESPRESSO, ABINIT, CP2K = DATA / "quantum-espresso", DATA / "abinit", DATA / "cp2k"


def espresso_hdf5(path: Path, dat: bytes) -> None:
    """The charge-density.hdf5 that pw.x with HDF5 writes (write_rhog of its io_base.f90) for a charge-density.dat."""
    import h5py

    records, start = [], 0
    while start < len(dat):
        size = int.from_bytes(dat[start : start + 4], "little")
        records.append(dat[start + 4 : start + 4 + size])
        start += size + 8
    gamma, vectors, components = np.frombuffer(records[0], "<i4")
    names = {1: ["rhotot_g"], 2: ["rhotot_g", "rhodiff_g"], 4: ["rhotot_g", "m_x", "m_y", "m_z"]}[int(components)]
    with h5py.File(path, "w") as file:
        file.attrs["gamma_only"] = np.bytes_(b".TRUE." if gamma else b".FALSE.")
        file.attrs["ngm_g"], file.attrs["nspin"] = np.int32(vectors), np.int32(components)
        file["MillerIndices"] = np.frombuffer(records[2], "<i4").reshape(-1, 3)
        for axis, vector in zip("123", np.frombuffer(records[1], "<f8").reshape(3, 3), strict=True):
            file["MillerIndices"].attrs[f"bg{axis}"] = vector
        for name, record in zip(names, records[3:], strict=True):
            file[name] = np.frombuffer(record, "<f8")


def vaspwave(path: Path, density: Density, occupancies: dict[str, dict[int, Any]] | None = None) -> None:
    """A vaspwave.h5 in the layout that py4vasp and pymatgen read, beside a group of wave functions."""
    import h5py

    crystal = density.crystal
    labels, counts = [], []
    for symbol in crystal.symbols:
        if labels[-1:] == [symbol]:
            counts[-1] += 1
        else:
            labels.append(symbol)
            counts.append(1)
    with h5py.File(path, "w") as file:
        for part, value in zip(("major", "minor", "patch"), (6, 5, 0), strict=True):
            file[f"version/{part}"] = np.int32(value)
        place = file.create_group("structure/positions")
        place["system"], place["scale"], place["direct_coordinates"] = np.bytes_(b"x"), 1.0, np.int32(1)
        place["lattice_vectors"], place["position_ions"] = crystal.cell, crystal.positions
        place["ion_types"], place["number_ion_types"] = np.array(labels, "S2"), np.array(counts, np.int32)
        file["charge/grid"] = np.array(density.grid, np.int32)
        file["charge/charge"] = np.stack([values.T * crystal.volume for values in density.channels.values()])
        for number, name in enumerate(density.channels, 1):
            if occupancies and name in occupancies:
                rows = [np.asarray(row) for _, row in sorted(occupancies[name].items())]
                table = np.zeros((len(rows), max(map(len, rows))))
                for index, row in enumerate(rows):
                    table[index, : len(row)] = row
                file[f"charge/aug_occupancies_s{number:02d}"] = table
                file[f"charge/aug_occupancies_ions_s{number:02d}"] = np.array([len(row) for row in rows], np.int32)
