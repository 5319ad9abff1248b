"""Benchmark of the DFT: the settings of the queue's first attempt against the recipe as the first densities had it.

    python tests/benchmarks/bench_dft.py --materials 8

Materials of the catalog, spread over what a density costs, each computed by the worker: converged further than anything
else, in double precision, which says how far the others are off; with the mixing and stopping rule of the first
densities, and without `save_time`; and as `catalog/dft/compute.py run` does now, once
before, so that plans of the Fourier
transforms are there for all of them: what these save is not in the ratio. Puts the table into docs/science/dft.md.
Needs GPAW.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import tempfile
from pathlib import Path
from typing import Annotated

import codec_data
import numpy as np
import typer
from codec_report import publish, table

from chgdb_catalog import batches
from chgdb_catalog.dft import manager
from chgdb_catalog.gpaw import costs, recipe

GPAW_PYTHON = os.environ.get("CHGDB_GPAW_PYTHON", "/usr/bin/python3")
WORKER = codec_data.REPOSITORY / "catalog" / "gpaw" / "worker.py"
OUT = codec_data.REPOSITORY / "docs" / "science"
FAR = {**recipe.FIRST, "density_tolerance": 1e-6, "maxiter": 300}
FAR |= dict.fromkeys(("davidson_far", "single_far", "coarse_far", "quick_far"))
_LANTHANIDES = frozenset("La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu".split())  # their setups are not GPAW's own
_PLAIN = "import sys, worker as w; w.save_time = lambda *_: None; sys.exit(w.main(*sys.argv[1:]))"
_AS_IT_IS = "import sys, worker as w; sys.exit(w.main(*sys.argv[1:]))"


Materials = Annotated[int, typer.Option(min=1)]
Out = Annotated[Path, typer.Option(help="Folder of dft.md and data/.")]


def solve(record: dict, settings: dict, program: str, folder: Path) -> tuple[np.ndarray, float, dict]:
    """(total density, CPU seconds, meta) of one structure."""
    job, result = folder / "job.json", folder / "result.npz"
    job.write_text(json.dumps({"record": record, "settings": settings}), encoding="utf-8")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(WORKER.parent)}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([GPAW_PYTHON, "-c", program, str(job), str(result)], env=environment, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    meta, grids = manager.read_result(result)
    return grids["total"], after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, meta


def chosen(materials: int) -> list[dict]:
    """Structures of the catalog without lanthanides, spread over all but the cheapest and the costliest tenth."""
    known = [record for record in batches.index().values() if not _LANTHANIDES.intersection(record["symbols"])]
    known.sort(key=lambda record: (costs.expected(record), record["material_id"]))
    known = known[len(known) // 10 : len(known) * 9 // 10]
    return [known[k] for k in np.linspace(0, len(known) - 1, materials).astype(int)]


def main(materials: Materials = 8, out: Out = OUT) -> None:
    rows, facts = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for record in chosen(materials):
            exact, _, _ = solve(record, FAR, _AS_IT_IS, folder)
            solve(record, recipe.FIRST, _AS_IT_IS, folder)  # for its plans
            plain, plain_s, before = solve(record, recipe.RECIPE, _PLAIN, folder)
            first, first_s, after = solve(record, recipe.FIRST, _AS_IT_IS, folder)
            off = [float(np.abs(found - exact).sum() / exact.sum()) for found in (plain, first)]
            steps = (before["iterations"], after["iterations"])
            facts.append(
                {"material_id": record["material_id"], "seconds": [plain_s, first_s], "iterations": steps, "nmae": off}
            )
            spin = "yes" if after["spin_polarised"] else ""
            rows.append(
                [
                    f"{record['formula']} ({record['material_id']})", len(record["symbols"]), spin,
                    f"{plain_s:.1f}", f"{first_s:.1f}", f"{plain_s / first_s:.1f}",
                    *steps, *(f"{error:.1e}" for error in off),
                ]
            )  # fmt: skip
            print(*rows[-1], flush=True)
    head = ["material", "atoms", "spin", "recipe, CPU s", "now, CPU s", "ratio", "iterations", "now", "NMAE", "now"]
    ratio = sum(f["seconds"][0] for f in facts) / sum(f["seconds"][1] for f in facts)
    worst = [max(f["nmae"][k] for f in facts) for k in (0, 1)]
    text = (
        f"{table(head, rows)}\n\n{ratio:.2f} times as fast together; at most {worst[0]:.1e} NMAE from the converged "
        f"density before, {worst[1]:.1e} now."
    )
    publish(out, "settings", text, {"rows": facts}, "dft")


if __name__ == "__main__":
    typer.run(main)
