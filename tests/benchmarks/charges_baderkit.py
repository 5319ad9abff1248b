#!/usr/bin/env python3
"""Bader charges of a CHGCAR by baderkit: `bench_charges.py` runs this under an interpreter that has it.

    python3 charges_baderkit.py CHGCAR METHOD

Prints JSON: electrons and volume of each atom, the version and the seconds that it took, the second time.
"""

import json
import sys
import time


def main():
    import baderkit

    path, method = sys.argv[1:]
    for _ in range(2):  # the first time its code is compiled
        started = time.perf_counter()
        found = baderkit.Bader.from_vasp(path, method=method, vacuum_tol=False)
        charges, volumes = found.atom_charges, found.atom_volumes
        seconds = time.perf_counter() - started
    result = {"electrons": list(map(float, charges)), "volume": list(map(float, volumes)), "seconds": seconds}
    print("\n" + json.dumps(result | {"version": baderkit.__version__}))


if __name__ == "__main__":
    main()
