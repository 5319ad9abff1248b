"""Charges of atoms against all-electron densities of the same crystals, and against baderkit on the same files.

    python tests/benchmarks/bench_charges.py --gpaw /usr/bin/python3 --baderkit /path/to/python --folder densities

Densities are computed by GPAW where the folder does not have them; minutes in all. Prints a table and writes
docs/science/data/charges.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np

from chgdb import Crystal, Density
from chgdb.charges import partition
from chgdb.charges.dipole import DEBYE, dipole
from chgdb.formats import write

HERE = Path(__file__).resolve().parent
DATA = HERE.parents[1] / "docs" / "science" / "data" / "charges.json"
_FCC = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2
_QUARTER = [[0, 0, 0], [0.25, 0.25, 0.25]]
_WATER = np.array([[0, 0, 0.1192], [0, 0.7632, -0.4770], [0, -0.7632, -0.4770]])
_RUTILE = 0.3053
CRYSTALS = {
    "NaCl": Crystal(5.64 * _FCC, [[0, 0, 0], [0.5, 0.5, 0.5]], [11, 17]),
    "MgO": Crystal(4.212 * _FCC, [[0, 0, 0], [0.5, 0.5, 0.5]], [12, 8]),
    "GaAs": Crystal(5.653 * _FCC, _QUARTER, [31, 33]),
    "SiC": Crystal(4.36 * _FCC, _QUARTER, [14, 6]),
    "TiO2": Crystal(
        np.diag([4.594, 4.594, 2.959]),
        [
            [0, 0, 0], [0.5, 0.5, 0.5], [_RUTILE, _RUTILE, 0], [-_RUTILE, -_RUTILE, 0],
            [0.5 - _RUTILE, 0.5 + _RUTILE, 0.5], [0.5 + _RUTILE, 0.5 - _RUTILE, 0.5],
        ],
        [22, 22, 8, 8, 8, 8],
    ),
    "H2O": Crystal(np.diag([6.0, 6.6, 6.4]), _WATER / [6.0, 6.6, 6.4] + [0.5, 0.5, 0.528], [8, 1, 1]),
}  # fmt: skip
_LARGEST = 2_000_000  # grid points that are compared; larger all-electron grids are thinned out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gpaw", help="interpreter with GPAW, for densities that the folder lacks")
    parser.add_argument("--baderkit", help="interpreter with baderkit")
    parser.add_argument("--only", nargs="+", choices=list(CRYSTALS), default=list(CRYSTALS))
    parser.add_argument("--folder", type=Path, default=Path("charges-densities"))
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    rows: dict[str, Any] = {}
    for name in arguments.only:
        crystal = CRYSTALS[name]
        path = arguments.folder / f"{name}.npz"
        if not path.exists():
            _compute(arguments.gpaw, name, crystal, path)
        with np.load(path) as found:
            rows[name] = _row(crystal, dict(found), arguments.baderkit, arguments.folder / f"{name}.CHGCAR")
        print(name, json.dumps(rows[name]), flush=True)
    DATA.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def _compute(python: str, name: str, crystal: Crystal, path: Path) -> None:
    job = {"cell": crystal.cell.tolist(), "symbols": crystal.symbols, "frac": crystal.positions.tolist()}
    job["molecule"] = name == "H2O"
    path.with_suffix(".json").write_text(json.dumps(job), encoding="utf-8")
    command = [python, str(HERE / "charges_densities.py"), str(path.with_suffix(".json")), str(path)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _row(crystal: Crystal, found: dict[str, np.ndarray], baderkit: str | None, chgcar: Path) -> dict[str, Any]:
    """Net charges of the first atom of each element, and seconds."""
    step = 1
    while found["all_electron"].size / step**3 > _LARGEST:
        step += 1
    whole = found["all_electron"][::step, ::step, ::step].astype(float)
    every = {symbol: float(z) for symbol, z in zip(crystal.symbols, crystal.numbers, strict=True)}
    first = [crystal.symbols.index(symbol) for symbol in dict.fromkeys(crystal.symbols)]
    row: dict[str, Any] = {"elements": [crystal.symbols[k] for k in first], "grid": list(found["pseudo"].shape)}
    row["all_electron_grid"] = list(whole.shape)
    for method in ("bader", "hirshfeld"):
        started = time.process_time()
        ours = partition(crystal, found["pseudo"], method=method, of_catalog=True)
        row[f"{method}_seconds"] = time.process_time() - started
        row[method] = ours.net[first].tolist()
    # The sharp cores need a finer grid than bonds do: what their integral lacks is in the cores.
    started = time.process_time()
    reference = partition(crystal, whole, method="bader", valences=every)
    row["all_electron_seconds"] = time.process_time() - started
    row["all_electron_bader"] = reference.net[first].tolist()
    row["all_electron_volume"] = reference.volume[first].tolist()
    row["all_electron_lacks"] = float(crystal.numbers.sum() - reference.electrons.sum())
    if baderkit:
        write(chgcar, Density(crystal, {"total": whole}))
        for method in ("weight", "neargrid"):
            command = [baderkit, str(HERE / "charges_baderkit.py"), str(chgcar), method]
            text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            theirs = json.loads(text.strip().splitlines()[-1])
            row["baderkit_version"] = theirs["version"]
            row[f"baderkit_{method}_seconds"] = theirs["seconds"]
            row[f"baderkit_{method}"] = (crystal.numbers - np.array(theirs["electrons"]))[first].tolist()
    if np.isfinite(found["dipole"]).all() and len(crystal) == 3:
        ours_dipole = dipole(crystal, found["pseudo"], np.array([6.0, 1, 1]))
        row["dipole_debye"] = ours_dipole.size * DEBYE
        row["gpaw_dipole_debye"] = float(np.linalg.norm(found["dipole"])) * DEBYE
    return row


if __name__ == "__main__":
    main()
