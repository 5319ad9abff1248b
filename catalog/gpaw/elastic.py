#!/usr/bin/env python3
"""Bulk and shear modulus of one structure by GPAW: a check of a label, run as a process of its own.

    python3 elastic.py JOB.json RESULT.json

Needs GPAW, ASE, numpy and `worker.py` beside it, and nothing of chgdb.  JOB.json holds `record` (`cell` rows in
Angstrom, `symbols`, `frac`) and optionally `setups`, a folder of PAW setups.  RESULT.json gets Voigt's and Reuss's
averages and their means in GPa, the stiffness tensor and its smallest eigenvalue, and the stress of the structure as
given.

PAW-PBE with plane waves to 450 eV and Gamma-centred k-points of density 3.5 per 1/A.  There are six strains of 0.5 %,
with the atoms relaxed in each.  The stress is relative to that of the structure as given, whose cell is not relaxed.
Elements that the catalog runs spin-polarised start ferromagnetic; without a remaining moment the strains run without
spin.
"""

import json
import sys

import numpy as np

STRAIN = 0.005
VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
NO_MOMENT = 0.05  # muB


def relaxed(atoms, moments):
    """(stress (6,) in GPa, xx yy zz yz xz xy; the atoms with no force left; magnetic moment in muB)."""
    from ase.optimize import BFGS
    from ase.units import GPa
    from gpaw import GPAW, PW, FermiDirac
    from worker import INITIAL_MOMENT

    atoms = atoms.copy()
    options = {}
    if moments:
        atoms.set_initial_magnetic_moments([INITIAL_MOMENT.get(s, 0.0) for s in atoms.symbols])
        options["spinpol"] = True
    atoms.calc = GPAW(
        mode=PW(450),
        xc="PBE",
        kpts={"density": 3.5, "gamma": True},
        occupations=FermiDirac(0.1),
        convergence={"density": 1e-5},
        txt=None,
        **options,
    )
    if len(atoms) > 1:
        BFGS(atoms, logfile=None).run(fmax=0.01, steps=20)
    moment = float(np.abs(atoms.calc.get_magnetic_moments()).sum()) if moments else 0.0
    return atoms.get_stress() / GPa, atoms, moment


def moduli(stiffness):
    """Averages of a stiffness (6, 6) in GPa, in Voigt's notation, and its smallest eigenvalue.

    The eigenvalue of an unstable crystal is negative. Reuss's averages, which are of the inverse, then mean nothing.
    """
    averages = []
    for m in (stiffness, np.linalg.inv(stiffness)):
        direct, mixed, shear = np.trace(m[:3, :3]), m[0, 1] + m[0, 2] + m[1, 2], np.trace(m[3:, 3:])
        averages.append((direct + 2 * mixed, direct - mixed, shear))
    (all_c, difference_c, shear_c), (all_s, difference_s, shear_s) = averages
    voigt = [all_c / 9, (difference_c + 3 * shear_c) / 15]
    reuss = [1 / all_s, 15 / (4 * difference_s + 3 * shear_s)]
    softest = float(np.linalg.eigvalsh(stiffness)[0])
    bulk, shear = ((a + b) / 2 for a, b in zip(voigt, reuss, strict=True))
    return {"bulk_modulus": bulk, "shear_modulus": shear, "voigt": voigt, "reuss": reuss, "softest": softest}


def compute(record):
    from worker import INITIAL_MOMENT, structure

    atoms = structure(record)
    stress, atoms, moment = relaxed(atoms, bool(set(atoms.symbols) & set(INITIAL_MOMENT)))
    magnetic = moment > NO_MOMENT
    stiffness = np.zeros((6, 6))
    for row, (i, j) in enumerate(VOIGT):
        strain = np.zeros((3, 3))
        strain[i, j] += STRAIN / 2
        strain[j, i] += STRAIN / 2
        strained = atoms.copy()
        strained.set_cell(atoms.cell[:] @ (np.eye(3) + strain), scale_atoms=True)
        stiffness[row] = (relaxed(strained, magnetic)[0] - stress) / STRAIN
        print(row, np.round(stiffness[row], 1), flush=True)
    stiffness = (stiffness + stiffness.T) / 2
    found = {"stress": stress.tolist(), "stiffness": stiffness.tolist(), "magnetic_moment_muB": moment}
    return {**moduli(stiffness), **found}


def main(job_path, result_path):
    from worker import write_atomically

    with open(job_path) as f:
        job = json.load(f)
    if job.get("setups"):
        import gpaw

        gpaw.setup_paths.append(job["setups"])
    found = compute(job["record"])
    write_atomically(result_path, lambda f: f.write(json.dumps(found).encode()))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: elastic.py JOB.json RESULT.json")
    main(sys.argv[1], sys.argv[2])
