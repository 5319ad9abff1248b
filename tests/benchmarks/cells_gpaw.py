#!/usr/bin/env python3
"""Densities of cells without symmetry for `bench_cells.py`, by GPAW: .npz files, which `bench_cells.py keep` packs.

    OMP_NUM_THREADS=1 /usr/bin/python3 tests/benchmarks/cells_gpaw.py FOLDER [NAME ...]

Needs GPAW, ASE and numpy, and nothing of chgdb: it runs under whichever interpreter has GPAW. Linear combinations of
atomic orbitals at the gamma point on grids of 0.2 Å, PBE; all together take some ten minutes of a core. A file holds
what the catalog's densities are (catalog/gpaw/worker.py): the smooth valence density, summed up on the coarse grid, on
one of twice as many points, plus soft compensation charges.
"""

import sys
import time
from pathlib import Path

import numpy as np


def displaced():
    """Magnesia, 16 atoms of which one oxygen is out of its place."""
    from ase.build import bulk

    atoms = bulk("MgO", "rocksalt", a=4.21) * (2, 2, 2)
    atoms.positions[1] += (0.12, 0.07, -0.04)
    return atoms, "dzp"


def missing():
    """Silicon, 16 atoms less one, its neighbours moved at random."""
    from ase.build import bulk

    atoms = bulk("Si", a=5.43) * (2, 2, 2)
    del atoms[0]
    atoms.positions += np.random.default_rng(0).normal(size=(len(atoms), 3)) * 0.03
    return atoms, "dzp"


def slab():
    """Water on three layers of lithium fluoride, 9 Å of vacuum above."""
    from ase import Atoms
    from ase.build import molecule

    side, layers = 4.03, 3
    symbols, positions = [], []
    for layer in range(layers):
        for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
            symbols.append(("Li", "F")[(i + j + layer) % 2])
            positions.append((i * side / 2, j * side / 2, layer * side / 2))
    water = molecule("H2O")
    water.rotate(100, "x")
    water.rotate(25, "z")
    lithium = max((p for s, p in zip(symbols, positions, strict=True) if s == "Li"), key=lambda p: p[2])
    water.positions += lithium - water.positions[0] + np.array([0.1, 0.2, 2.1])
    atoms = Atoms(symbols, positions, cell=(side, side, layers * side / 2 + 10.5)) + water
    atoms.pbc = True
    return atoms, "dzp"


def molecule_in_box():
    """Acetamide in a box."""
    from ase.build import molecule

    atoms = molecule("CH3CONH2")
    atoms.rotate(17, (1, 2, 3))
    atoms.center(vacuum=3.2)
    atoms.pbc = True
    return atoms, "dzp"


def large():
    """Diamond, 216 atoms displaced at random, in the smallest basis."""
    from ase.build import bulk

    atoms = bulk("C", a=3.57, cubic=True) * (3, 3, 3)
    atoms.positions += np.random.default_rng(0).normal(size=(len(atoms), 3)) * 0.04
    return atoms, "sz(dzp)"


CELLS = {"displaced": displaced, "missing": missing, "slab": slab, "molecule": molecule_in_box, "large": large}


def widened(spectrum, grid):
    """Terms of a whole spectrum on a finer grid, without those at the Nyquist frequencies."""
    result = np.zeros(grid, complex)
    index = [np.arange(-((n - 1) // 2), (n - 1) // 2 + 1) for n in spectrum.shape]
    result[np.ix_(*index)] = spectrum[np.ix_(*index)]
    return result


def valence_density(calc):
    """(nx, ny, nz) in e/Å^3: as that of catalog/gpaw/worker.py, of a calculation on grids."""
    from ase.units import Bohr
    from gpaw.spherical_harmonics import Y

    d = calc.density
    coarse = d.nt_sG.sum(0) - d.nct_G * d.nspins
    grid = tuple(2 * n for n in coarse.shape)
    spectrum = widened(np.fft.fftn(coarse, norm="forward"), grid)
    h = np.stack(np.meshgrid(*(np.fft.fftfreq(n, 1 / n) for n in grid), indexing="ij"), axis=-1).reshape(-1, 3)
    G = 2 * np.pi * h @ np.linalg.inv(d.gd.cell_cv).T
    G2 = (G**2).sum(1)
    compensation = np.zeros(len(G), complex)
    for a, setup in enumerate(d.setups):
        Q = d.D_asp[a].sum(0) @ setup.Delta_pL
        width = max(setup.rcut_j) / 2  # Bohr
        shape = np.zeros(len(G), complex)
        for L, q in enumerate(Q[:9]):
            ell = int(np.sqrt(L))
            shape += 4 * np.pi * (-1j) ** ell / (1.0, 3.0, 15.0)[ell] * q * Y(L, *G.T)
        phase = [np.exp(-2j * np.pi * x * np.fft.fftfreq(n, 1 / n)) for x, n in zip(calc.spos_ac[a], grid, strict=True)]
        wave = (phase[0][:, None, None] * phase[1][:, None] * phase[2]).ravel()
        compensation += wave * shape * np.exp(-G2 * width**2 / 4)
    spectrum += compensation.reshape(grid) / abs(np.linalg.det(d.gd.cell_cv))
    return np.fft.ifftn(spectrum, norm="forward").real / Bohr**3


def main(folder, names):
    from gpaw import GPAW, FermiDirac

    for name in names or CELLS:
        started = time.process_time()
        atoms, basis = CELLS[name]()
        atoms.calc = GPAW(
            mode="lcao", basis=basis, h=0.2, xc="PBE", occupations=FermiDirac(0.1), txt=f"{folder}/{name}.log",
            symmetry="off", convergence={"density": 1e-3},
        )  # fmt: skip
        atoms.get_potential_energy()
        total = valence_density(atoms.calc)
        path = Path(folder) / f"{name}.npz"
        np.savez(path, cell=atoms.cell[:], frac=atoms.get_scaled_positions(), numbers=atoms.numbers, total=total)
        found, expected = total.mean() * atoms.get_volume(), atoms.calc.setups.nvalence
        seconds = time.process_time() - started
        print(f"{name}: {len(atoms)} atoms, {total.shape}, {found:.4f} of {expected} electrons, {seconds:.0f} s")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: cells_gpaw.py FOLDER [NAME ...]")
    main(sys.argv[1], sys.argv[2:])
