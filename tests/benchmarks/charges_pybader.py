#!/usr/bin/env python3
"""Bader charges of a CHGCAR by pybader: `bench_charges.py` runs this under an interpreter that has it.

    python3 charges_pybader.py CHGCAR

Prints JSON as the last line: electrons and volume of each atom, version and the seconds that it took. pybader writes
its files into the current folder.
"""

import json
import sys
import time
from importlib.metadata import version


def main():
    from pybader.interface import Bader
    from pybader.io import vasp

    started = time.perf_counter()
    found = Bader(*vasp.read(sys.argv[1]), method="neargrid", refine_method="neargrid", vacuum_tol=None)
    found()
    result = {"electrons": list(map(float, found.atoms_charge)), "volume": list(map(float, found.atoms_volume))}
    print("\n" + json.dumps(result | {"version": version("pybader"), "seconds": time.perf_counter() - started}))


if __name__ == "__main__":
    main()
