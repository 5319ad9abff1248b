#!/usr/bin/env python3
"""One crystal in, its pseudo and all-electron densities out, by GPAW: `bench_charges.py` runs this under an interpreter
that has GPAW and ASE, and needs nothing of chgdb.

    python3 charges_densities.py JOB.json RESULT.npz

JOB.json holds cell, symbols and frac. RESULT.npz holds `pseudo`, as the catalog's recipe has it, and `all_electron`,
both (nx, ny, nz) in e/A^3, and of a molecule GPAW's own `dipole` in e A.
"""

import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "catalog" / "gpaw"))


def main():
    from ase import Atoms
    from worker import DEFAULTS, calculator, valence_density

    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    atoms = Atoms(job["symbols"], cell=job["cell"], scaled_positions=job["frac"], pbc=True)
    calc = calculator(atoms, DEFAULTS, None)
    atoms.calc = calc
    atoms.get_potential_energy()
    whole = calc.get_all_electron_density(gridrefinement=4)
    dipole = calc.get_dipole_moment(atoms) if job["molecule"] else np.full(3, np.nan)
    np.savez(sys.argv[2], pseudo=valence_density(calc), all_electron=whole.astype(np.float32), dipole=dipole)


if __name__ == "__main__":
    main()
