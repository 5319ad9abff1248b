#!/usr/bin/env python3
"""Free atoms by GPAW for `chgdb/charges/free_atoms.json`, the reference of Hirshfeld charges.

    /usr/bin/python3 catalog/gpaw/free_atoms.py -o chgdb/charges/free_atoms.json

Needs GPAW with its PAW setups, numpy, and nothing of chgdb: it runs under any interpreter with GPAW. Atoms are neutral,
spherical, not spin-polarised, PBE, scalar-relativistic. Their all-electron densities are those in the setups' files.
For elements without a setup they come from GPAW's own solver for atoms, which takes up to minutes for each. Where the
solver does not converge, logarithms are interpolated between the next elements below and above.

For each element the file holds, on one radial grid, the logarithms of the all-electron density (`total`) and of its
cores (`cores`, by their number of electrons). For elements with a setup it also holds the valence density as in the
catalog (`pseudo`): the smooth pseudo density plus a soft compensation charge. It has no logarithm, because it may be
negative. Lengths are in Å, densities in e/Å^3. A density is zero beyond its last number.
"""

import argparse
import json

import numpy as np

LARGEST = 89  # atomic number; the solver fails for actinides beyond
POINTS, FARTHEST = 96, 10.0  # radial grid: r = FARTHEST (i / (POINTS - 1))^2, Å
LEAST, LEAST_TOTAL = 1e-7, 1e-12  # e/Å^3, at which the tails of cores and of atoms end
#: Electrons of the cores of lanthanides' setups, which have 4f, 5s, 5p, 5d and 6s in the valence.
#: The cores of other elements without setups are the shells below the outermost d, s and p.
CORES = [(57, 71, 46), (72, 86, 68), (87, 96, 78)]


def of_setup(symbol):
    """(r, all-electron density, its cores by electrons, pseudo density), bohr. None where there is no setup."""
    from gpaw.setup_data import SetupData

    try:
        data = SetupData(symbol, "PBE", "paw", readxml=True)
    except FileNotFoundError:
        return None
    r, step = data.rgd.r_g, data.rgd.dr_g
    core, smooth = data.nc_g / np.sqrt(4 * np.pi), np.zeros_like(r)
    total, cores, electrons = core, {round(data.Nc): core}, round(data.Nc)
    shells = [shell for shell in zip(data.eps_j, data.n_j, data.l_j, data.f_j, data.phi_jg, data.phit_jg, strict=False)]
    shells = [shell for shell in shells if shell[3]]
    outer = max(n for _, n, *_ in shells)
    outer_p = any(n == outer and ell == 1 for _, n, ell, *_ in shells)
    for _, n, ell, occupation, phi, phit in sorted(shells, key=lambda shell: shell[0]):
        smooth = smooth + occupation * phit**2 / (4 * np.pi)
        total = total + occupation * phi**2 / (4 * np.pi)
        if n < outer and occupation == 4 * ell + 2 and (ell < 2 or outer_p):  # core states of other potentials
            core = core + occupation * phi**2 / (4 * np.pi)
            electrons += round(occupation)
            cores[electrons] = core
    cores.pop(0, None)
    # The same compensation charge as in worker.valence_density.
    width = max(data.rcut_j) / 2
    missing = data.Nv - 4 * np.pi * (r**2 * step * smooth).sum()
    return r, total, cores, smooth + missing * np.exp(-((r / width) ** 2)) / (np.sqrt(np.pi) * width) ** 3


def of_solver(symbol, number):
    """(r, all-electron density, its core, None) by GPAW's solver for atoms. None where it does not converge."""
    from gpaw import ConvergenceError
    from gpaw.atom.all_electron import AllElectron

    for points in (100, 150):  # for each node; the solver finds no start on some grids
        atom = AllElectron(symbol, xcname="PBE", scalarrel=True, gpernode=points, txt=None)
        try:
            atom.run()
        except ConvergenceError:
            continue
        r, cores = np.asarray(atom.r), {}
        for low, high, count in CORES:
            if low <= number <= high:
                lowest = np.argsort(atom.e_j)
                inner = lowest[np.cumsum(np.array(atom.f_j)[lowest]) <= count]
                density = sum(atom.f_j[j] * (atom.u_j[j][1:] / r[1:]) ** 2 for j in inner) / (4 * np.pi)
                cores[round(sum(atom.f_j[j] for j in inner))] = np.append(density[0], density)
        return r, np.asarray(atom.n), cores, None
    return None


def radial_grid():
    from ase.units import Bohr

    return FARTHEST * (np.arange(POINTS) / (POINTS - 1)) ** 2 / Bohr


def logarithms(r, density, least):
    """Logarithms of a density of bohr, on the common grid in e/Å^3, where it is larger than `least`."""
    from ase.units import Bohr

    values = np.exp(np.interp(radial_grid(), r[1:], np.log(np.maximum(density[1:], 1e-30)))) / Bohr**3
    return [round(float(np.log(x)), 3) for x in values[values > least]]


def entry_of(r, total, cores, pseudo):
    """The entry of an element in the file."""
    from ase.units import Bohr

    entry = {"total": logarithms(r, total, LEAST_TOTAL)}
    entry["cores"] = {str(count): logarithms(r, core, LEAST) for count, core in sorted(cores.items())}
    if pseudo is not None:
        values = np.interp(radial_grid(), r, pseudo) / Bohr**3
        entry["pseudo"] = [float(f"{x:.4g}") for x in values[: np.flatnonzero(np.abs(values) > LEAST)[-1] + 1]]
    return entry


def between(below, above, part):
    """An entry interpolated between two elements below and above. A core that only one of them has stays as it is."""

    def mean(first, second):
        return [round(a + (b - a) * part, 3) for a, b in zip(first, second, strict=False)]

    cores = {count: mean(core, above["cores"].get(count, core)) for count, core in below["cores"].items()}
    return {"total": mean(below["total"], above["total"]), "cores": cores, "interpolated": True}


def main():
    from ase.data import chemical_symbols

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", required=True)
    output = parser.parse_args().output
    found = {}
    for number in range(1, LARGEST + 1):
        atom = of_setup(chemical_symbols[number]) or of_solver(chemical_symbols[number], number)
        if atom is not None:
            found[number] = entry_of(*atom)
        print(chemical_symbols[number], "found" if atom else "interpolated", flush=True)
    for number in range(1, max(found)):
        if number not in found:
            below = max(z for z in found if z < number and "interpolated" not in found[z])
            above = min(z for z in found if z > number)
            found[number] = between(found[below], found[above], (number - below) / (above - below))
    content = {
        "source": "free atoms of GPAW, PBE, scalar-relativistic, made by catalog/gpaw/free_atoms.py",
        "farthest": FARTHEST,
        "points": POINTS,
        "elements": {chemical_symbols[number]: found[number] for number in sorted(found)},
    }
    with open(output, "w", encoding="utf-8") as stream:
        json.dump(content, stream, separators=(",", ":"))
        stream.write("\n")


if __name__ == "__main__":
    main()
