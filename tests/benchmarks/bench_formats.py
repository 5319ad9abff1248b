"""Reading and writing a CHGCAR of 128^3 points: chgdb, pymatgen and ASE side by side in one run.

    python tests/benchmarks/bench_formats.py [--points 128] [--rounds 5]

Times are the smallest of several rounds, the packages taking turns, so that a busy machine slows all of them. Peak
memory is what Python and NumPy allocate during the call (tracemalloc), in units of the grid's own size. Exits with 1
where a target is missed: writing at least 15 times faster than pymatgen and faster than ASE, reading no slower than
pymatgen, peak memory at most 4 grids.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

import chgdb
from chgdb import Crystal, Density


def example(points: int) -> Density:
    """Rock salt with a density that spans seven orders of magnitude and is negative in places."""
    crystal = Crystal(np.eye(3) * 5.64, [[0, 0, 0], [0.5, 0.5, 0.5]], [11, 17])
    x = np.arange(points) / points
    wave = np.cos(2 * np.pi * x)
    smooth = np.exp(2.5 * (wave[:, None, None] + wave[None, :, None] + wave[None, None, :])) - 0.01
    return Density(crystal, {"total": smooth * np.random.default_rng(0).uniform(0.9, 1.1, smooth.shape) / 50})


def best(calls: dict[str, Callable[[], object]], rounds: int, slow: tuple[str, ...] = ()) -> dict[str, float]:
    """Smallest wall time of each call in seconds; slow ones run once."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds):
        for name, call in calls.items():
            if turn and name in slow:
                continue
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return {name: min(values) for name, values in times.items()}


def peak(call: Callable[[], object]) -> int:
    """Bytes allocated at most during the call."""
    tracemalloc.start()
    call()
    _, largest = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return largest


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # the other packages' own
    from ase.calculators.vasp import VaspChargeDensity
    from pymatgen.io.vasp import Chgcar

    density = example(options.points)
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: str(Path(folder) / f"{name}.CHGCAR") for name in ("chgdb", "pymatgen", "ase")}
        theirs = density.to_pymatgen()
        of_ase = VaspChargeDensity(None)
        of_ase.atoms, of_ase.chg = [density.crystal.to_ase()], [density.total]
        writers: dict[str, Callable[[], object]] = {
            "chgdb": lambda: chgdb.write(paths["chgdb"], density),
            "pymatgen": lambda: theirs.write_file(paths["pymatgen"]),
            "ase": lambda: of_ase.write(paths["ase"], format="chgcar"),
        }
        written = best(writers, options.rounds, slow=("pymatgen", "ase"))
        readers: dict[str, Callable[[], object]] = {
            "chgdb": lambda: chgdb.read(paths["chgdb"]),
            "pymatgen": lambda: Chgcar.from_file(paths["chgdb"]),
            "ase": lambda: VaspChargeDensity(paths["chgdb"]),
        }
        read = best(readers, 3 * options.rounds, slow=("ase",))
        memory = {"write": peak(writers["chgdb"]), "read": peak(readers["chgdb"])}

    print(f"{'':10}{'write s':>10}{'times':>8}{'read s':>10}{'times':>8}   ({options.points}^3 points)")
    for name in written:
        ratios = written[name] / written["chgdb"], read[name] / read["chgdb"]
        print(f"{name:10}{written[name]:10.3f}{ratios[0]:8.1f}{read[name]:10.3f}{ratios[1]:8.2f}")
    grids = {action: size / density.total.nbytes for action, size in memory.items()}
    print(f"peak memory of chgdb: write {grids['write']:.2f}, read {grids['read']:.2f} grids")
    targets = {
        "writing 15 times faster than pymatgen": written["pymatgen"] >= 15 * written["chgdb"],
        "writing faster than ASE": written["ase"] > written["chgdb"],
        "reading no slower than pymatgen": read["chgdb"] <= read["pymatgen"],
        "peak memory within 4 grids": max(grids.values()) <= 4,
    }
    for target, met in targets.items():
        print(f"{'met   ' if met else 'MISSED'}  {target}")
    return 0 if all(targets.values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
