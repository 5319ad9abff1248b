#!/usr/bin/env python3
"""One structure in, one density out: the catalog's GPAW recipe, run as a process of its own.

    python3 worker.py JOB.json RESULT.npz

Needs GPAW, ASE, numpy, and `speed.py` and `single_precision.py` beside it, and nothing of chgdb: it runs under any
interpreter with GPAW.  JOB.json holds

    record    `cell` (rows in Angstrom), `symbols`, `frac`; optionally `potentials`, element -> name of another PAW
              setup of GPAW's for it, such as Na -> 1; optionally `keep_density_matrices`: true, to have the PAW
              `density_matrices` in `meta` of the result
    settings  optional, see `DEFAULTS`
    setups    optional, a folder of PAW setups for elements that GPAW's own data lack

RESULT.npz holds the grids `total` and, for a spin-polarised run, `magnetization`, (nx, ny, nz) float64 in e/A^3 with
point i at i/N, and `meta`, a JSON text.  It appears under its name only when it is complete.

A run that fails writes RESULT.npz.failure.json with `reason` and `detail`, and ends with exit code 3.

The recipe: PAW-PBE, plane waves to 400 eV, Gamma-centred k-points of density 2.5 per 1/A, Fermi-Dirac 0.1 eV;
Cr, Mn, Fe, Co and Ni start ferromagnetic, everything else is not spin-polarised.  Structures stay as given.
The grid holds what VASP writes to a CHGCAR: the smooth pseudo valence density plus soft compensation charges.  These
restore the multipole moments inside the PAW spheres, so the density integrates to the number of valence electrons.
"""

import base64
import json
import os
import sys
import time
import traceback

import numpy as np
from speed import save_time

INITIAL_MOMENT = {"Cr": 3, "Mn": 4, "Fe": 3, "Co": 2, "Ni": 1.5}  # muB; these elements are run spin-polarised

# Ways to solve the recipe's equations.  None leaves GPAW's own choice, which the first densities used.
DEFAULTS = {
    "maxiter": 100,
    "smearing_eV": 0.1,
    "bands_factor": None,
    "mixer_beta": None,
    "mixer_history": 5,
    "mixer_weight": 100.0,
    "mixer_spin": "difference",
    "davidson_steps": None,
    "davidson_far": None,
    "single_far": None,
    "coarse_far": None,
    "quick_far": None,
    "density_tolerance": 2e-4,
    "start": "grid",
}


def calculator(atoms, settings, log, potentials=None):
    """The GPAW calculator of the recipe.

    settings: as in `DEFAULTS`. log: the file of GPAW's text. potentials: element -> setup other than GPAW's usual one.
    """
    from gpaw import GPAW, PW, Davidson, FermiDirac, Mixer, MixerDif, MixerSum, fftw

    parameters = dict(
        mode=PW(400, fftwflags=fftw.PATIENT),  # plans are made once for a grid, see Plans
        xc="PBE",
        kpts={"density": 2.5, "gamma": True},
        occupations=FermiDirac(settings["smearing_eV"]),
        maxiter=settings["maxiter"],
        convergence={"density": settings["density_tolerance"], "energy": 5e-4, "eigenstates": 1e-6},
        txt=log,
        setups=potentials or {},
    )
    spin_polarised = bool(set(atoms.symbols) & set(INITIAL_MOMENT))
    if spin_polarised:
        atoms.set_initial_magnetic_moments([INITIAL_MOMENT.get(s, 0.0) for s in atoms.symbols])
        parameters["spinpol"] = True
    if settings["bands_factor"] is not None:
        parameters["nbands"] = f"{round(100 * settings['bands_factor'])}%"
    if settings["mixer_beta"] is not None:
        mixer = {"difference": MixerDif, "sum": MixerSum}[settings["mixer_spin"]] if spin_polarised else Mixer
        parameters["mixer"] = mixer(
            beta=settings["mixer_beta"], nmaxold=settings["mixer_history"], weight=settings["mixer_weight"]
        )
    if settings["davidson_steps"] is not None:
        parameters["eigensolver"] = Davidson(settings["davidson_steps"])
    return GPAW(**parameters)


class Plans:
    """FFTW's measured plans in files ("wisdom"), so that a grid's size is measured once and not in every process."""

    def __init__(self, path):
        import ctypes

        self.kept = []  # (function that writes a library's plans, their file)
        for library, prefix in (("libfftw3.so.3", "fftw"), ("libfftw3f.so.3", "fftwf")):
            try:
                found = ctypes.CDLL(library)  # the library that GPAW has loaded, and that of `single_precision`
            except OSError:
                continue  # GPAW with another library: plans are made in every process
            getattr(found, f"{prefix}_import_wisdom_from_filename")(os.fsencode(f"{path}-{prefix}"))
            self.kept.append((getattr(found, f"{prefix}_export_wisdom_to_filename"), f"{path}-{prefix}"))

    def keep(self):
        for export, path in self.kept:
            temporary = f"{path}.tmp{os.urandom(8).hex()}"
            if export(os.fsencode(temporary)):
                os.replace(temporary, path)


def valence_density(calc, magnetization=False):
    """(nx, ny, nz) density in e/A^3 (or spin density in muB/A^3) on GPAW's fine grid, grid point i at i/N."""
    from ase.units import Bohr
    from gpaw.spherical_harmonics import Y

    d = calc.density
    pd3 = d.pd3
    coarse = d.nt_sG[0] - d.nt_sG[1] if magnetization else d.nt_sG.sum(0) - d.nct_G * d.nspins
    smooth, _ = d.pd2.interpolate(coarse, pd3)
    G = pd3.get_reciprocal_vectors(add_q=False)
    G2 = (G**2).sum(1)
    compensation = np.zeros(len(G), complex)
    for a, setup in enumerate(d.setups):
        D = d.D_asp[a]
        Q = (D[0] - D[1] if magnetization else D.sum(0)) @ setup.Delta_pL  # valence multipole moments of the sphere
        width = max(setup.rcut_j) / 2  # Bohr
        shape = np.zeros(len(G), complex)
        for L, q in enumerate(Q[:9]):
            ell = int(np.sqrt(L))
            shape += 4 * np.pi * (-1j) ** ell / (1.0, 3.0, 15.0)[ell] * q * Y(L, *G.T)
        R = calc.spos_ac[a] @ d.finegd.cell_cv
        compensation += np.exp(-1j * (G @ R)) * shape * np.exp(-G2 * width**2 / 4)
    return (smooth + pd3.ifft(compensation / d.finegd.dv)) / Bohr**3


def band_gap(calc):
    """Band gap in eV from the k-points of the run; 0 for a metal."""
    from ase.dft.bandgap import bandgap

    return float(bandgap(calc, output=None)[0])


def structure(record):
    """The atoms of a record, as ASE has them."""
    from ase import Atoms

    cell = np.array(record["cell"], float)
    if (cell == np.diag(cell.diagonal())).all():
        # GPAW fails to draw a box of negative length. Flipped axes change nothing in fractional coordinates.
        cell = np.abs(cell)
    return Atoms(record["symbols"], scaled_positions=record["frac"], cell=cell, pbc=True)


def compute(record, settings, log):
    """(meta, {channel: grid}) of one structure."""
    import gpaw

    atoms = structure(record)
    started = time.time()
    calc = calculator(atoms, settings, log, record.get("potentials"))
    atoms.calc = calc
    energy = float(atoms.get_potential_energy())
    spin_polarised = calc.get_number_of_spins() == 2
    grids = {"total": valence_density(calc)}
    if spin_polarised:
        grids["magnetization"] = valence_density(calc, magnetization=True)
    volume = abs(float(np.linalg.det(atoms.cell[:])))
    meta = {
        "grid": list(grids["total"].shape),
        "n_electrons": round(float(calc.setups.nvalence), 6),
        "charge": float(grids["total"].mean() * volume),
        "energy_eV": energy,
        "fermi_eV": float(calc.get_fermi_level()),
        "band_gap_eV": band_gap(calc),
        "spin_polarised": spin_polarised,
        "magnetic_moment_muB": float(calc.get_magnetic_moment()) if spin_polarised else 0.0,
        "n_kpoints_irreducible": len(calc.get_ibz_k_points()),
        "converged": bool(calc.scf.converged),
        "iterations": int(calc.scf.niter),
        "code": f"GPAW {gpaw.__version__}",
        "settings": settings,
        "setups": sorted({f"{s.symbol} {s.fingerprint}" for s in calc.setups}),
        "wall_s": round(time.time() - started, 1),
    }
    if meta["n_electrons"] == int(meta["n_electrons"]):
        meta["n_electrons"] = int(meta["n_electrons"])
    if record.get("keep_density_matrices"):
        meta["density_matrices"] = density_matrices(calc)
    return meta, grids


def density_matrices(calc):
    """The PAW density matrices inside the spheres, one base64 text for each atom.

    It holds float32 (little-endian), (spins, n (n + 1) / 2), GPAW's packed D_asp, in the order of the partial waves of
    the setup that `setups` names.
    """
    density = calc.density.D_asp
    return [base64.b64encode(np.asarray(density[a], "<f4").tobytes()).decode("ascii") for a in range(len(density))]


def write_atomically(path, write):
    """Call `write(file)` on a temporary file beside `path`, and rename it: a reader never sees half a file."""
    temporary = f"{path}.tmp{os.urandom(8).hex()}"
    with open(temporary, "wb") as f:
        write(f)
        f.flush()
        os.fsync(f.fileno())
    os.replace(temporary, path)


def explain(error):
    """(reason, detail) of a failure. `reason` is one of a few phrases, which can be counted."""
    kind = type(error).__name__
    if isinstance(error, MemoryError):
        reason = "memory"
    elif kind == "KohnShamConvergenceError":
        reason = "not converged"
    elif isinstance(error, FileNotFoundError) and "PAW dataset" in str(error):
        reason = "no setup"
    else:
        reason = "error"
    return reason, f"{kind}: {str(error).strip() or traceback.format_exc(limit=-2).strip()}"[:500]


def main(job_path, result_path):
    with open(job_path) as f:
        job = json.load(f)
    settings = {**DEFAULTS, **job.get("settings", {})}
    unknown = set(settings) - set(DEFAULTS)
    if unknown:
        sys.exit(f"unknown settings {sorted(unknown)}; known: {sorted(DEFAULTS)}")
    try:
        if job.get("setups"):
            import gpaw

            gpaw.setup_paths.append(job["setups"])  # last, so that GPAW's own data take precedence
        errors = (settings[f"{name}_far"] for name in ("davidson", "single", "coarse", "quick"))
        save_time(settings["start"], *errors)
        plans = Plans(os.path.join(os.path.dirname(result_path) or ".", "wisdom"))
        meta, grids = compute(job["record"], settings, result_path + ".log")
        plans.keep()
    except Exception as error:  # at the boundary of the process every failure becomes a recorded reason
        reason, detail = explain(error)
        text = json.dumps({"reason": reason, "detail": detail}).encode()
        write_atomically(result_path + ".failure.json", lambda f: f.write(text))
        return 3
    packed = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    write_atomically(result_path, lambda f: np.savez(f, meta=packed, **grids))
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: worker.py JOB.json RESULT.npz")
    sys.exit(main(sys.argv[1], sys.argv[2]))
