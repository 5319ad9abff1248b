"""The worth of a density for DFT: as a start for GPAW, and for physics at a fixed density.

    python catalog/studies/dft_starts.py run FOLDER         compute; kill it at any moment and start it again
    python catalog/studies/dft_starts.py report FOLDER
        -> docs/science/data/dft-starts.json    every number
        -> docs/science/densities.md            its tables, between their markers

The materials are of the test part of the split: no model has seen their formulas. Metals, insulators and magnets are
drawn at random from those that GPAW computes in some seconds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from chgdb.catalog import Catalog, open_catalog
from chgdb.codecs import decode, encode
from chgdb.densities.evaluation import usable
from chgdb.densities.guess import guess
from chgdb.densities.model import DensityModel, load
from chgdb.density import Density
from chgdb.errors import ChgdbError
from chgdb.latents import decode_record
from chgdb.promolecule import superposition
from chgdb.samples import parts
from chgdb_catalog.batches import write_atomically
from chgdb_catalog.dft import checks
from chgdb_catalog.drawing import STORE
from chgdb_catalog.gpaw import costs
from chgdb_catalog.gpaw.recipe import SPIN_POLARISED
from chgdb_catalog.scripts import main
from chgdb_catalog.studies import matrices
from chgdb_catalog.studies.density_tables import DOCS, PAGE, between, rounded

DATA = DOCS / "data" / "dft-starts.json"
WORKER = Path(__file__).resolve().parents[1] / "gpaw" / "starts.py"
#: Kinds of materials, and the maximum cost of one, about seconds of a core (see `costs.expected`).
KINDS = {"metal": 1.0, "insulator": 2.5, "magnet": 5.0}
_GAP, _MOMENT = 0.5, 0.3  # eV, mu_B; a material above them is an insulator, a magnet
_FORCE = 1e-6  # eV/Å; what symmetry forbids is smaller

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)


def chosen(catalog: Catalog, model: DensityModel, each: Mapping[str, int], seed: int = 0) -> list[tuple[str, str]]:
    """(kind, id) of the materials to compute: the kinds in turns, the cheapest of each first.

    each: how many of a kind; fewer where the test part has no more of them.
    """
    ids = np.array(catalog.ids)
    test = set(usable(model, catalog, [str(i) for i in ids[parts(catalog) == "test"]]))
    gaps, moments = catalog.column("band_gap"), np.nan_to_num(catalog.column("magnetic_moment"))
    found: list[tuple[float, str, str]] = []
    for row in np.random.default_rng(seed).permutation(len(ids)):
        if ids[row] not in test:
            continue
        record = structure(catalog, str(ids[row]))
        spin = bool(SPIN_POLARISED & set(record["symbols"]))
        kind = "magnet" if spin and abs(moments[row]) > _MOMENT else "insulator" if gaps[row] > _GAP else "metal"
        cost = costs.expected(record)
        if (kind == "metal" and (spin or gaps[row] > 0)) or cost > KINDS[kind]:
            continue
        if sum(other == kind for _, other, _ in found) < each[kind]:
            found.append((cost, kind, str(ids[row])))
    turns = [[(k, i) for _, k, i in sorted(found) if k == kind] for kind in KINDS]
    return [task for turn in zip_longest(*turns) for task in turn if task is not None]


def structure(catalog: Catalog, material_id: str) -> dict[str, Any]:
    """A record for GPAW's worker."""
    crystal = catalog[material_id].crystal
    return {
        "material_id": material_id, "formula": crystal.formula, "cell": crystal.cell.tolist(),
        "symbols": crystal.symbols, "frac": crystal.positions.tolist(),
        "space_group": checks.space_group(crystal.cell, crystal.positions, crystal.symbols),
    }  # fmt: skip


def densities(catalog: Catalog, model: DensityModel, material_id: str) -> dict[str, np.ndarray]:
    """The grids that are compared, (nx, ny, nz) e/Å^3. `true` is the catalog's, exact to 0.01 %."""
    record = catalog[material_id]
    density = Density(record.crystal, {"total": record.density.total})
    found = {"true": density.total, "superposition": superposition(model.prior, density.crystal, density.grid)}
    found["superposition"] = found["superposition"] - found["superposition"].mean() + density.total.mean()
    found["estimate"] = guess(model, density.crystal, density.grid).total
    for name, tolerance in (("0.1 %", 1e-3), ("1 %", 1e-2)):
        found[name] = decode(encode(density, tolerance, prior=catalog.prior).payload, prior=catalog.prior).total
    found["latent"] = decode_record(record).total
    return found


@app.command()
def run(
    folder: Annotated[Path, typer.Argument(help="Where results go; made if missing.")],
    each: Annotated[int, typer.Option(min=1, help="Metals, and insulators.")] = 28,
    magnets: Annotated[int, typer.Option(min=0, help="Magnets, which take several times as long.")] = 10,
    python: Annotated[
        str, typer.Option(envvar="CHGDB_GPAW_PYTHON", help="Interpreter with GPAW.")
    ] = "/usr/bin/python3",
    workers: Annotated[int, typer.Option(min=1, help="Materials computed at a time, each on one core.")] = 1,
) -> None:
    """Compute the runs that are left."""
    catalog, model = open_catalog(None), load()
    folder.mkdir(parents=True, exist_ok=True)
    tasks = chosen(catalog, model, {kind: magnets if kind == "magnet" else each for kind in KINDS})
    learned = _learned(model, python)

    def start(task: tuple[str, str]) -> None:
        kind, material_id = task
        if (folder / f"{material_id}.json").exists() or (folder / f"{material_id}.failed").exists():
            return
        guessed = matrices.guess_matrices(model, learned, catalog[material_id].crystal)
        arrays: dict[str, Any] = densities(catalog, model, material_id)
        arrays |= {f"matrices {atom}": found for atom, found in enumerate(guessed) if found is not None}
        line = _computed(
            folder, structure(catalog, material_id), arrays, python, {"kind": kind, "model": model.identifier}
        )
        print(line, flush=True)

    with ThreadPoolExecutor(workers) as pool:  # threads wait for processes
        for _ in pool.map(start, tasks):
            pass


def _computed(folder: Path, record: dict[str, Any], arrays: dict[str, Any], python: str, facts: dict[str, str]) -> str:
    """Run GPAW for one material, keep its result in the folder, and say in a line how it went."""
    material_id = record["material_id"]
    result, job = folder / f"{material_id}.json", folder / f"{material_id}.npz"
    one_thread = os.environ | {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    with open(job, "wb") as file:
        np.savez(file, record=np.array(json.dumps(record)), **arrays)
    done = subprocess.run([python, WORKER, job, result], capture_output=True, text=True, check=False, env=one_thread)
    job.unlink()
    if done.returncode:
        result.with_suffix(".failed").write_text(done.stderr, encoding="utf-8")
        return f"{material_id}: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else 'failed'}"
    found = json.loads(result.read_text(encoding="utf-8")) | facts
    write_atomically(result, json.dumps(found).encode())
    steps = {name: s.get("iterations", 0) for name, s in found["starts"].items()}
    return f"{material_id} {found['formula']}: {steps}"


def _learned(model: DensityModel, python: str) -> dict[int, matrices.Element]:
    """What the drawn structures say of density matrices. None of them has a formula of the test part."""
    drawn = open_catalog(STORE)
    symbols = sorted({symbol for material_id in drawn.ids for symbol in drawn[material_id].crystal.symbols})
    return matrices.fit(model, matrices.stored(drawn), matrices.partial_waves(symbols, python))


@app.command()
def report(folder: Annotated[Path, typer.Argument(help="Of `run`.")]) -> None:
    """Write the numbers and the tables."""
    found = [json.loads(p.read_text(encoding="utf-8")) for p in sorted(folder.glob("*.json"))]
    if not found:
        raise ChgdbError(f"{folder}: no results; compute some with `run`")
    data = {"model": found[0]["model"], "materials": found}
    write_atomically(DATA, (json.dumps(rounded(data), indent=1) + "\n").encode())
    text = PAGE.read_text(encoding="utf-8")
    text = between(text, "starts", starts_table(found))
    text = between(text, "tolerances", fixed_table(found))
    write_atomically(PAGE, text.encode())
    print(starts_table(found), fixed_table(found), sep="\n\n")


#: Name of a run -> its name on the page.
STARTS = {
    "own": "GPAW's own", "superposition": "superposition", "estimate": "estimate", "true": "true density",
    "superposition+L": "superposition, learned matrices", "estimate+L": "estimate, learned matrices",
    "superposition+D": "superposition, true matrices", "estimate+D": "estimate, true matrices",
    "true+D": "true density, true matrices",
}  # fmt: skip


_LEARNED = "+L"


def starts_table(found: list[dict[str, Any]]) -> str:
    """Mean iterations and times of each start. A material counts if all its runs converged."""
    lines = [
        "| start | metals | insulators | magnets | all | iterations saved | time saved | never slower |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    whole = [f for f in found if all("iterations" in s for s in f["starts"].values())]
    own = np.array([f["starts"]["own"]["iterations"] for f in whole])
    seconds = np.array([f["starts"]["own"]["cpu_s"] for f in whole])
    kinds = np.array([f["kind"] for f in whole])
    learned = [f for f in whole if any(name.endswith(_LEARNED) for name in f["starts"])]
    for name, title in STARTS.items():
        if name.endswith(_LEARNED) and not learned:
            continue
        # Where no matrix could be learned, the start is that without.
        runs = [f["starts"].get(name) or f["starts"][name.removesuffix(_LEARNED)] for f in whole]
        steps, time = (np.array([run[key] for run in runs]) for key in ("iterations", "cpu_s"))
        means = " | ".join(f"{steps[kinds == kind].mean():.1f}" if (kinds == kind).any() else "" for kind in KINDS)
        saved, quicker = 1 - steps.sum() / own.sum(), 1 - time.sum() / seconds.sum()
        lines.append(
            f"| {title} | {means} | {steps.mean():.1f} | {100 * saved:.0f} % | {100 * quicker:.0f} % | "
            f"{100 * (steps <= own).mean():.0f} % |"
        )
    lines += ["", f"{len(whole)} materials: {', '.join(f'{(kinds == k).sum()} {k}s' for k in KINDS)}. "
              f"{len(found) - len(whole)} more did not converge from every start. Some matrices were learned in "
              f"{len(learned)}."]  # fmt: skip
    return "\n".join(lines)


def _short(value: float) -> str:
    """Two digits; 0 for the rounding of forces that vanish by symmetry."""
    return f"{float(f'{value:.2g}'):g}" if value > 1e-6 else "0"


FIXED = {
    "true": "record, 0.01 %", "0.1 %": "record, 0.1 %", "1 %": "record, 1 %", "latent": "latent `periodic`",
    "estimate": "estimate", "superposition": "superposition",
}  # fmt: skip


def fixed_table(found: list[dict[str, Any]]) -> str:
    """Medians and 90 % quantiles of the errors at each fixed density."""
    lines = [
        "| density | NMAE, % | energy, meV/atom | eigenvalues, meV | band gap, meV | forces, meV/Å |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, title in FIXED.items():
        runs = [(f, f["fixed"][name]) for f in found if "energy_error" in f["fixed"].get(name, {})]
        cells = [f"{100 * np.median([f['nmae'][name] for f, _ in runs]):.3f}"]
        gaps = [1000 * abs(r["gap_error"]) for f, r in runs if f["band_gap_eV"] > _GAP]
        forces = [r["force_rms"] for f, r in runs if f["largest_force"] > _FORCE]
        for values in ([abs(r["energy_error"]) for _, r in runs], [r["levels_rms"] for _, r in runs], gaps, forces):
            cells.append(f"{_short(np.median(values))} ({_short(np.quantile(values, 0.9))})" if values else "")
        lines.append(f"| {title} | {' | '.join(cells)} |")
    count, free = (
        sum(f[name] > limit for f in found) for name, limit in (("band_gap_eV", _GAP), ("largest_force", _FORCE))
    )
    lines += ["", f"Medians, and in brackets what 90 % stay below; {len(found)} materials, gaps of {count} insulators, "
              f"forces of {free} materials in which symmetry does not forbid them."]  # fmt: skip
    return "\n".join(lines)


if __name__ == "__main__":
    main(app)
