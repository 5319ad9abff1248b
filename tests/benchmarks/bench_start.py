"""Cold starts: how long `chgdb --help` and `chgdb fetch` take beside the import of pymatgen.

    python tests/benchmarks/bench_start.py [--rounds 10]

Each command runs as a new process, the commands taking turns, so that a busy machine slows all of them; times are the
smallest of the rounds. Prints a table, puts it into docs/science/speed.md, and exits with 1 where a target is missed:
`chgdb fetch mp-149 --decode` in less than half the time of `python -c "import pymatgen.io.vasp"`, `chgdb --help` faster
still.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "science" / "speed.md"
CHGDB = str(Path(sysconfig.get_path("scripts")) / "chgdb")
COMMANDS = {
    "chgdb --help": [CHGDB, "--help"],
    "chgdb fetch mp-149 --decode": [CHGDB, "fetch", "mp-149", "--decode", "--force"],
    "chgdb info mp-149": [CHGDB, "info", "mp-149"],
    "chgdb search --elements Li,O": [CHGDB, "search", "--elements", "Li,O"],
    'python -c "import pymatgen.io.vasp"': [sys.executable, "-c", "import pymatgen.io.vasp"],
    'python -c "import numpy"': [sys.executable, "-c", "import numpy"],
    'python -c ""': [sys.executable, "-c", ""],
}


def measure(rounds: int) -> dict[str, float]:
    """Smallest wall time of each command, in seconds."""
    best = dict.fromkeys(COMMANDS, float("inf"))
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            for name, command in COMMANDS.items():
                start = time.perf_counter()
                subprocess.run(command, cwd=folder, capture_output=True, check=True)
                best[name] = min(best[name], time.perf_counter() - start)
    return best


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    best = measure(parser.parse_args().rounds)
    pymatgen = best['python -c "import pymatgen.io.vasp"']
    lines = ["| command | seconds | of the import of pymatgen |", "| --- | ---: | ---: |"]
    lines += [f"| `{name}` | {seconds:.3f} | {seconds / pymatgen:.0%} |" for name, seconds in best.items()]
    table = "\n".join(lines)
    print(table)
    text = PAGE.read_text(encoding="utf-8")
    start, end = "<!-- start:begin -->", "<!-- start:end -->"
    before, _, rest = text.partition(start)
    PAGE.write_text(f"{before}{start}\n{table}\n{end}{rest.partition(end)[2]}", encoding="utf-8")
    help_, fetch = best["chgdb --help"], best["chgdb fetch mp-149 --decode"]
    met = help_ < fetch < pymatgen / 2
    print("targets met" if met else "targets missed")
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
