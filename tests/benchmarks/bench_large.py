"""A CHGCAR of about a gigabyte packed by `chgdb build`: time and memory of the whole command.

    python tests/benchmarks/bench_large.py [--points 378] [--repeats 4] [--symmetric] [--program .venv/bin/chgdb]

Rock salt, repeated and with its atoms displaced at random (or with --symmetric as it is), its density a superposition
of atomic ones that is made a little different from one. Times are of the clock and of the processor, memory is the
largest resident set of the process, in units of the grid's own size (eight bytes a point). Exits with 1 where memory is
above the four grids that docs/science/trust.md promises.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import chgdb
from chgdb import Crystal, Density
from chgdb.promolecule import superposition

_MOST = 4.0
_LATTICE = 5.64  # Å
_SITES = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])


def example(points: int, repeats: int, displacement: float) -> Density:
    """Rock salt on a cubic grid. displacement: standard deviation of each coordinate, Å."""
    shifts = np.stack(np.meshgrid(*[np.arange(repeats)] * 3, indexing="ij"), -1).reshape(-1, 3)
    sodium = ((_SITES[None] + shifts[:, None]) / repeats).reshape(-1, 3)
    chlorine = sodium + 0.5 / repeats
    side = _LATTICE * repeats
    moved = np.random.default_rng(0).normal(size=(2 * len(sodium), 3)) * displacement / side
    positions = np.concatenate([sodium, chlorine]) + moved
    crystal = Crystal(np.eye(3) * side, positions, [11] * len(sodium) + [17] * len(chlorine))
    prior = chgdb.open().prior
    assert prior is not None
    values = superposition(prior, crystal, (points, points, points))
    values += 8 * len(sodium) / crystal.volume
    values *= 1 + 0.1 * values / values.max()
    return Density(crystal, {"total": values})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=378)
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--symmetric", action="store_true")
    parser.add_argument("--file", type=Path, help="Pack this file instead.")
    parser.add_argument("--program", default=str(Path(sys.executable).with_name("chgdb")))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = options.file or Path(folder) / "CHGCAR"
        if not options.file:
            chgdb.write(path, example(options.points, options.repeats, 0.0 if options.symmetric else 0.05))
        arguments = [options.program, "build", f"{folder}/one.zarr", str(path), "--quiet", "--no-predict"]
        start = time.perf_counter()
        process = subprocess.Popen(arguments)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        if os.waitstatus_to_exitcode(status):
            return 1
        catalog = chgdb.open(f"{folder}/one.zarr")
        record = catalog[catalog.ids[0]]
        grid = 8 * int(np.prod(record.grid)) * len(record.channels)
        text, atoms, stored = path.stat().st_size, len(record.crystal), record.stored_bytes
        memory = usage.ru_maxrss * 1024
    print(f"{text / 1e6:.0f} MB of text, {atoms} atoms, {stored} bytes stored")
    print(f"{wall:.1f} s of the clock, {usage.ru_utime + usage.ru_stime:.1f} s of the processor")
    print(f"{memory / 1e9:.2f} GB resident at most: {memory / grid:.2f} grids of {grid / 1e6:.0f} MB")
    return 0 if memory <= _MOST * grid else 1


if __name__ == "__main__":
    raise SystemExit(main())
