"""Compute elastic moduli of materials whose labels look wrong: `python catalog/studies/check_labels.py ID...`

    store (structure, label), GPAW -> docs/science/data/label_checks.json

There is one worker process of `gpaw/elastic.py` for each material, with a time limit; each takes minutes to an hour.
Earlier results are kept, so that an interrupted run goes on. `evaluate_properties.py --tables` puts them beside labels.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from chgdb.catalog import open_catalog
from chgdb.density import Crystal
from chgdb.elements import SYMBOLS
from chgdb.errors import ChgdbError
from chgdb_catalog.batches import write_atomically

HERE = Path(__file__).resolve().parents[1]
RESULTS = HERE.parent / "docs" / "science" / "data" / "label_checks.json"


def compute(crystal: Crystal, python: str, setups: Path | None, seconds: float) -> dict[str, Any]:
    """Moduli in GPa of a structure; see `gpaw/elastic.py`. Raises `ChgdbError` if the worker fails."""
    with tempfile.TemporaryDirectory() as folder:
        job, result = Path(folder) / "job.json", Path(folder) / "result.json"
        record = {
            "cell": crystal.cell.tolist(),
            "frac": crystal.positions.tolist(),
            "symbols": [SYMBOLS[z] for z in crystal.numbers],
        }
        job.write_text(json.dumps({"record": record} | ({"setups": str(setups.absolute())} if setups else {})))
        try:
            subprocess.run(
                [python, str(HERE / "gpaw" / "elastic.py"), str(job), str(result)], check=True, timeout=seconds,
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=folder,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )  # fmt: skip
        except FileNotFoundError:
            raise ChgdbError(f"no interpreter {python}: name one that has GPAW with --python") from None
        except subprocess.TimeoutExpired:
            raise ChgdbError(f"{crystal.formula}: not done in {seconds:.0f} s") from None
        except subprocess.CalledProcessError as error:
            lines = error.stderr.strip().splitlines() or ["no reason given"]
            raise ChgdbError(f"{crystal.formula}: GPAW failed: {lines[-1]}") from None
        return json.loads(result.read_text())


def main(
    materials: Annotated[list[str], typer.Argument(help="ids of the store")],
    python: Annotated[str, typer.Option(help="interpreter that has GPAW")] = "/usr/bin/python3",
    setups: Annotated[
        Path | None, typer.Option(envvar="CHGDB_SETUPS", help="PAW setups of elements that GPAW's own data lack")
    ] = None,
    limit: Annotated[float, typer.Option(help="seconds for each")] = 7200.0,
) -> None:
    """Compute bulk and shear moduli by GPAW and keep them beside the labels."""
    try:
        catalog = open_catalog(None)
        for material_id in materials:
            found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
            if material_id in found:
                continue
            record = catalog[material_id]
            print(f"{material_id} {record.crystal.formula} ...", file=sys.stderr)
            moduli = compute(record.crystal, python, setups, limit)
            labels = [
                float(catalog.column(n)[catalog.ids.index(material_id)]) for n in ("bulk_modulus", "shear_modulus")
            ]
            found[material_id] = {
                "formula": record.crystal.formula,
                "label": labels,
                "computed": [round(moduli["bulk_modulus"], 1), round(moduli["shear_modulus"], 1)],
                "voigt": [round(x, 1) for x in moduli["voigt"]],
                "reuss": [round(x, 1) for x in moduli["reuss"]],
                "softest": round(moduli["softest"], 1),
                "magnetic_moment_muB": round(moduli["magnetic_moment_muB"], 2),
                "stiffness": [[round(x, 1) for x in row] for row in moduli["stiffness"]],
            }
            write_atomically(RESULTS, (json.dumps(found, indent=1) + "\n").encode())
            computed = found[material_id]["computed"]
            print(f"{material_id}: K {computed[0]} GPa, G {computed[1]} GPa; labels {labels[0]:.0f}, {labels[1]:.0f}")
    except (ChgdbError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    typer.run(main)
