"""Charges of atoms against all-electron densities of the same crystals, and against other programs on the same files.

    python tests/benchmarks/bench_charges.py --gpaw /usr/bin/python3 --folder densities \\
        --baderkit /path/to/python --pybader /path/to/python
    python tests/benchmarks/bench_charges.py --table          the tables of the page again, from the last measurement
    python tests/benchmarks/bench_charges.py --drawn 30       seconds of CPU for materials of the catalog, drawn by lot

The two programs need environments of their own (`pip install baderkit`, `pip install pybader`). Densities are computed
by GPAW where the folder does not have them; minutes in all. Writes docs/science/data/charges.json and the tables in
docs/how-to/charges.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import chgdb
from chgdb import Crystal, Density
from chgdb.charges import partition
from chgdb.charges.dipole import DEBYE, dipole
from chgdb.formats import write

HERE = Path(__file__).resolve().parent
DATA = HERE.parents[1] / "docs" / "science" / "data" / "charges.json"
PAGE = HERE.parents[1] / "docs" / "how-to" / "charges.md"
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
NAMES = {"TiO2": "TiO2, rutile", "H2O": "H2O in a box"}
#: Published Bader charges of the same materials: of the atom in the tables, and what they are of.
PUBLISHED = {
    "NaCl": (
        0.822,
        "[the example of Henkelman's program](https://henkelmanlab.org/forum/viewtopic.php?p=5754), a valence density: "
        "0.1776 of one electron",
    ),
    "MgO": (1.737, "[Q. Zhu, thesis](https://www.physics.unlv.edu/~qzhu/qzhu-thesis/sect0060.html), at 0 GPa"),
    "H2O": (
        0.576,
        "Henkelman et al., Comput. Mater. Sci. 36, 354, [quoted](https://server.ccl.net/chemistry/resources/messages/"
        "2010/08/18.001-dir/index.html) with Bader's own 0.58; with VASP, AECCARs and 350 eV "
        "[+0.616](https://github.com/jkitchin/jasp/pull/52)",
    ),
}
_LARGEST = 2_000_000  # grid points that are compared; larger all-electron grids are thinned out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gpaw", help="interpreter with GPAW, for densities that the folder lacks")
    parser.add_argument("--baderkit", help="interpreter with baderkit")
    parser.add_argument("--pybader", help="interpreter with pybader")
    parser.add_argument("--drawn", type=int, help="how many materials of the catalog to time")
    parser.add_argument("--table", action="store_true", help="write the tables of the last measurement")
    parser.add_argument("--only", nargs="+", choices=list(CRYSTALS), default=list(CRYSTALS))
    parser.add_argument("--folder", type=Path, default=Path("charges-densities"))
    arguments = parser.parse_args()
    if arguments.drawn:
        _time(arguments.drawn)
        return
    rows: dict[str, Any] = json.loads(DATA.read_text(encoding="utf-8")) if DATA.exists() else {}
    for name in [] if arguments.table else arguments.only:
        arguments.folder.mkdir(parents=True, exist_ok=True)
        crystal = CRYSTALS[name]
        path = arguments.folder / f"{name}.npz"
        if not path.exists():
            _compute(arguments.gpaw, name, crystal, path)
        with np.load(path) as found:
            rows[name] = _row(crystal, dict(found))
        others = {"baderkit": arguments.baderkit, "pybader": arguments.pybader}
        rows[name] |= _by_others(crystal, arguments.folder / f"{name}.CHGCAR", others)
        print(name, json.dumps(rows[name]), flush=True)
    DATA.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(inserted(PAGE.read_text(encoding="utf-8"), rows), encoding="utf-8")


def _time(count: int) -> None:
    """Print the mean CPU time of a charge analysis, reading the density included."""
    catalog = chgdb.open()
    ids = np.random.default_rng(1).choice(catalog.ids, count, replace=False).tolist()
    for method in ("hirshfeld", "bader"):
        started = time.process_time()
        for material_id in ids:
            catalog[material_id].charges(method)
        print(f"{method}: {(time.process_time() - started) / count:.2f} s of CPU each, mean of {count}")


def inserted(page: str, rows: dict[str, Any]) -> str:
    """The page with the tables of some rows between its markers."""
    for name, lines in (("errors", _errors(rows)), ("peers", _peers(rows)), ("published", _published(rows))):
        begin, end = f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->"
        before, _, rest = page.partition(begin)
        page = before + begin + "\n" + "\n".join(lines) + "\n\n" + end + rest.partition(end)[2]
    return page


def _errors(rows: dict[str, Any]) -> list[str]:
    """Charges of the catalog's densities beside those of all-electron densities."""
    header = "crystal | atom | Bader, made all-electron by free atoms | Bader, all-electron | Hirshfeld"
    lines = [f"| {header} |", "| --- | --- | --- | --- | --- |"]
    for name, row in rows.items():
        k = 1 if name == "H2O" else 0
        values = [row[key][k] for key in ("bader", "all_electron_bader", "hirshfeld")]
        lines.append(f"| {NAMES.get(name, name)} | {row['elements'][k]} | {' | '.join(f'{v:+.3f}' for v in values)} |")
    return lines


def _peers(rows: dict[str, Any]) -> list[str]:
    """Charges by several programs of the same all-electron densities."""
    columns = {
        "all_electron_bader": "chgdb, weight",
        "baderkit_weight": "baderkit, weight",
        "baderkit_neargrid": "baderkit, near-grid",
        "pybader_neargrid": "pybader, near-grid",
    }
    columns = {key: title for key, title in columns.items() if any(key in row for row in rows.values())}
    lines = [f"| crystal | atom | grid | {' | '.join(columns.values())} |", "| --- " * (len(columns) + 3) + "|"]
    for name, row in rows.items():
        k = 1 if name == "H2O" else 0
        texts = [f"{row[key][k]:+.4f}" if key in row else "not run" for key in columns]
        grid = " x ".join(map(str, row["all_electron_grid"]))
        lines.append(f"| {NAMES.get(name, name)} | {row['elements'][k]} | {grid} | {' | '.join(texts)} |")
    return lines


def _published(rows: dict[str, Any]) -> list[str]:
    """Charges of all-electron densities and of the catalog's beside published ones."""
    lines = ["| crystal | atom | chgdb, all-electron | chgdb, of the catalog's recipe | published | by |"]
    lines.append("| --- " * 6 + "|")
    for name, row in rows.items():
        k = 1 if name == "H2O" else 0
        ours = f"{row['all_electron_bader'][k]:+.3f} | {row['bader'][k]:+.3f}"
        value, source = PUBLISHED.get(name, (None, "not found"))
        theirs = "-" if value is None else f"{value:+.3f}"
        lines.append(f"| {NAMES.get(name, name)} | {row['elements'][k]} | {ours} | {theirs} | {source} |")
    return lines


def _compute(python: str, name: str, crystal: Crystal, path: Path) -> None:
    job = {"cell": crystal.cell.tolist(), "symbols": crystal.symbols, "frac": crystal.positions.tolist()}
    job["molecule"] = name == "H2O"
    path.with_suffix(".json").write_text(json.dumps(job), encoding="utf-8")
    command = [python, str(HERE / "charges_densities.py"), str(path.with_suffix(".json")), str(path)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _whole(found: Mapping[str, np.ndarray]) -> np.ndarray:
    """The all-electron density, thinned out where it is large."""
    step = 1
    while found["all_electron"].size / step**3 > _LARGEST:
        step += 1
    return found["all_electron"][::step, ::step, ::step].astype(float)


def _row(crystal: Crystal, found: dict[str, np.ndarray]) -> dict[str, Any]:
    """Net charges of the first atom of each element, and seconds."""
    whole = _whole(found)
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
    if np.isfinite(found["dipole"]).all() and len(crystal) == 3:
        ours_dipole = dipole(crystal, found["pseudo"], np.array([6.0, 1, 1]))
        row["dipole_debye"] = ours_dipole.size * DEBYE
        row["gpaw_dipole_debye"] = float(np.linalg.norm(found["dipole"])) * DEBYE
    return row


def _by_others(crystal: Crystal, chgcar: Path, interpreters: dict[str, str | None]) -> dict[str, Any]:
    """The same by other programs, of the same all-electron density as a CHGCAR."""
    row: dict[str, Any] = {}
    first = [crystal.symbols.index(symbol) for symbol in dict.fromkeys(crystal.symbols)]
    runs = [("baderkit", "weight"), ("baderkit", "neargrid"), ("pybader", "neargrid")]
    for program, method in runs:
        python = interpreters[program]
        if python is None:
            continue
        if not chgcar.exists():
            with np.load(chgcar.with_suffix(".npz")) as found:
                write(chgcar, Density(crystal, {"total": _whole(found)}))
        arguments = [method] if program == "baderkit" else []
        command = [python, str(HERE / f"charges_{program}.py"), str(chgcar.resolve()), *arguments]
        text = subprocess.run(command, check=True, capture_output=True, text=True, cwd=chgcar.parent).stdout
        theirs = json.loads(text.strip().splitlines()[-1])
        row[f"{program}_version"] = theirs["version"]
        row[f"{program}_{method}_seconds"] = theirs["seconds"]
        row[f"{program}_{method}"] = (crystal.numbers - np.array(theirs["electrons"]))[first].tolist()
    return row


if __name__ == "__main__":
    main()
