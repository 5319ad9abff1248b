#!/usr/bin/env python3
"""One structure, converged from several starting densities and solved at several fixed ones, with GPAW.

    python3 starts.py JOB.npz RESULT.json

Needs GPAW, ASE, numpy and the files beside it, and nothing of chgdb, as `worker.py`. JOB.npz holds `record` (a JSON
text, as for the worker), grids `NAME` (nx, ny, nz) in e/A^3 on GPAW's fine grid, as VASP writes them to a CHGCAR, and
`matrices N`, the packed PAW density matrix of atom N, summed over spins, for atoms of which one has been guessed.

The first run starts as GPAW does. It gives the reference: total energy, eigenvalues, forces, PAW density matrices. Each
further run starts from one of the grids, with the density matrices of free atoms, with the guessed ones (`+L`; those of
free atoms where none has been guessed), or with the converged ones (`+D`). A fixed run diagonalises the Hamiltonian of
a grid with the converged density matrices and the converged magnetisation. Its energy is that of J. Harris, Phys. Rev.
B 31, 1770 (1985).
"""

import json
import os
import sys
import time

import numpy as np
from worker import band_gap, calculator, structure, valence_density, write_atomically

#: Name of a run -> (grid or None for GPAW's own, density matrices: "atoms", "guessed" or "converged").
STARTS = {
    "own": (None, "atoms"),
    "superposition": ("superposition", "atoms"),
    "estimate": ("estimate", "atoms"),
    "true": ("true", "atoms"),
    "superposition+L": ("superposition", "guessed"),
    "estimate+L": ("estimate", "guessed"),
    "superposition+D": ("superposition", "converged"),
    "estimate+D": ("estimate", "converged"),
    "true+D": ("true", "converged"),
}
FIXED = ("true", "0.1 %", "1 %", "latent", "estimate", "superposition")
#: GPAW's default way to converge. The catalog's recipe is faster and would hide differences of the starts.
SETTINGS = {"mixer_beta": None, "density_tolerance": 1e-4, "smearing_eV": 0.1, "maxiter": 150, "bands_factor": None,
            "davidson_steps": None}  # fmt: skip
_OCCUPIED = 0.01


class Start:
    """The start of the next run. `initialise` replaces GPAW's own initialisation."""

    def __init__(self):
        self.grid = self.matrices = self.magnetisation = None
        self.fixed = False
        self.positions = None

    def initialise(self, density, basis, original):
        """GPAW's own start, but smooth density and density matrices are replaced before they are first mixed."""
        mix = density.calculate_normalized_charges_and_mix
        density.calculate_normalized_charges_and_mix = lambda: None
        original(density, basis)
        del density.calculate_normalized_charges_and_mix
        for a, matrix in (self.matrices or {}).items():
            density.D_asp[a][:] = matrix if len(matrix) == len(density.D_asp[a]) else split(matrix, density.D_asp[a])
        if self.grid is not None:
            self._replace(density)
        density.fixed = self.fixed
        mix()

    def _replace(self, density):
        from ase.units import Bohr

        assert self.grid is not None
        smooth = self.grid * Bohr**3 - compensation(density, self.positions)
        coarse = density.pd3.restrict(smooth, density.pd2)[0]
        if density.nspins == 1:
            density.nt_sG[0] = coarse + density.nct_G
            return
        moment = density.nt_sG[0] - density.nt_sG[1] if self.magnetisation is None else self.magnetisation
        density.nt_sG[0] = (coarse + moment) / 2 + density.nct_G
        density.nt_sG[1] = (coarse - moment) / 2 + density.nct_G


def split(matrix, of_atom):
    """A matrix that is summed over spins, (1, p), for two, with the magnetisation of the free atom's (2, p)."""
    half = (of_atom[0] - of_atom[1]) / 2
    return np.array([matrix[0] / 2 + half, matrix[0] / 2 - half])


def compensation(density, positions):
    """The soft compensation charges that `worker.valence_density` adds, (nx, ny, nz) in electrons/Bohr^3."""
    from gpaw.spherical_harmonics import Y

    vectors = density.pd3.get_reciprocal_vectors(add_q=False)
    squared = (vectors**2).sum(1)
    total = np.zeros(len(vectors), complex)
    for a, setup in enumerate(density.setups):
        moments = density.D_asp[a].sum(0) @ setup.Delta_pL
        width = max(setup.rcut_j) / 2
        shape = np.zeros(len(vectors), complex)
        for index, moment in enumerate(moments[:9]):
            ell = int(np.sqrt(index))
            shape += 4 * np.pi * (-1j) ** ell / (1.0, 3.0, 15.0)[ell] * moment * Y(index, *vectors.T)
        place = positions[a] @ density.finegd.cell_cv
        total += np.exp(-1j * (vectors @ place)) * shape * np.exp(-squared * width**2 / 4)
    return density.pd3.ifft(total / density.finegd.dv)


def solve(record, start):
    """(calculator, facts) of one run. Where a run does not converge, the facts have `error` in place of iterations."""
    atoms = structure(record)
    atoms.calc = calc = calculator(atoms, SETTINGS, None)
    wall, cpu = time.perf_counter(), time.process_time()
    if start.fixed:
        _free_fermi_level(calc)
    try:
        energy = float(atoms.get_potential_energy())
    except Exception as error:  # a run that fails is a result, too
        return None, {"error": f"{type(error).__name__}: {error}"[:200]}
    return calc, {
        "iterations": int(calc.scf.niter), "wall_s": round(time.perf_counter() - wall, 2),
        "cpu_s": round(time.process_time() - cpu, 2), "energy_eV": energy,
    }  # fmt: skip


def _free_fermi_level(calc):
    """Let each density have its own Fermi level: at a fixed density GPAW keeps that of another calculation."""
    original = calc.initialize

    def initialize(*arguments, **options):
        original(*arguments, **options)
        count = calc.wfs.calculate_occupation_numbers
        calc.wfs.calculate_occupation_numbers = lambda fix_fermi_level=False: count(False)

    calc.initialize = initialize


def levels(calc):
    """(energies (s, k, n) eV, weights (s, k, n) of occupied states, with a sum of 1)."""
    spins, points = calc.get_number_of_spins(), len(calc.get_ibz_k_points())
    shape = [(s, k) for s in range(spins) for k in range(points)]
    energies = np.array([calc.get_eigenvalues(k, s) for s, k in shape])
    filled = np.array([calc.get_occupation_numbers(k, s) for s, k in shape])
    weights = np.where(filled > _OCCUPIED * filled.max(), filled, 0)
    return energies, weights / weights.sum()


def main(job_path, result_path):
    from gpaw.density import Density

    with np.load(job_path) as job:
        record = json.loads(str(job["record"]))
        guessed = {int(name.split()[1]): job[name][None] for name in job.files if name.startswith("matrices ")}
        grids = {name: job[name] for name in job.files if name != "record" and not name.startswith("matrices ")}
    start, original = Start(), Density.initialize_from_atomic_densities
    Density.initialize_from_atomic_densities = lambda density, basis: start.initialise(density, basis, original)
    start.positions = np.array(record["frac"], float)

    calc, facts = solve(record, start)
    if calc is None:
        raise SystemExit(f"the first run failed: {facts['error']}")
    atoms = len(record["symbols"])
    reference = valence_density(calc)
    matrices = {a: np.array(calc.density.D_asp[a]) for a in range(atoms)}
    nt = calc.density.nt_sG
    magnetisation = nt[0] - nt[1] if len(nt) == 2 else None
    energies, weights = levels(calc)
    gap, forces = band_gap(calc), np.array(calc.get_forces())
    scale = np.abs(reference).sum()
    off = {name: float(np.abs(grid - reference).sum() / scale) for name, grid in grids.items()}
    result = {
        "material_id": record["material_id"], "formula": record["formula"], "atoms": atoms,
        "energy_eV": facts["energy_eV"], "band_gap_eV": gap, "nmae": off,
        "moment": float(calc.get_magnetic_moment()) if magnetisation is not None else 0.0,
        "largest_force": float(np.abs(forces).max()), "starts": {"own": facts}, "fixed": {},
    }  # fmt: skip
    sources = {"atoms": None, "guessed": guessed, "converged": matrices}
    for name, (grid, inside) in STARTS.items():
        if grid is None or (inside == "guessed" and not guessed):
            continue
        start.grid, start.matrices, start.magnetisation = grids[grid], sources[inside], None
        _, result["starts"][name] = solve(record, start)
    start.fixed, start.matrices, start.magnetisation = True, matrices, magnetisation
    for name in FIXED:
        start.grid = grids[name]
        calc, found = solve(record, start)
        if calc is not None:
            other = levels(calc)[0]
            found["energy_error"] = 1000 * (found["energy_eV"] - result["energy_eV"]) / atoms
            found["levels_rms"] = 1000 * float(np.sqrt((weights * (other - energies) ** 2).sum()))
            found["gap_error"] = band_gap(calc) - gap
            found["force_rms"] = 1000 * float(np.sqrt(((np.array(calc.get_forces()) - forces) ** 2).mean()))
        result["fixed"][name] = found
    write_atomically(result_path, lambda file: file.write(json.dumps(result).encode()))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: starts.py JOB.npz RESULT.json")
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    main(sys.argv[1], sys.argv[2])
