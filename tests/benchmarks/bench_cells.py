"""Cells without symmetry beside the peers: one atom displaced or missing, a slab, a molecule in a box, 216 atoms.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_cells.py write [NAME ...]    # docs/science/codec.md, some minutes
    OMP_NUM_THREADS=1 python tests/benchmarks/bench_cells.py keep FOLDER         # tests/benchmarks/cells

The densities are records of this folder's `cells`, made by `cells_gpaw.py` and coded to a tenth of the smaller
tolerance; the numbers below are of what they decode to. A line a cell and tolerance: bytes of the whole record and of
the peers of `codec_peers` at the same error, what a Gaussian with the variance of each shell of |G| would take for the
coefficients (`bench_predictions.theoretical`), processor time, and memory beyond the density itself while it is encoded
and verified, each cell in a process of its own. `keep` packs what `cells_gpaw.py` computed, and says how the bytes at
0.01 % change by it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import codec_data as data
import codec_peers as peers
import numpy as np
import typer
from bench_predictions import CHECKSUM, TOLERANCES, decode_time, gzip_time, theoretical
from codec_report import load as load_numbers
from codec_report import publish, table
from scale_operations import peak_bytes

from chgdb import Crystal, Density, codecs
from chgdb.formats import text_bytes

HERE = Path(__file__).resolve().parent / "cells"
#: Cell -> what the page calls it.
CELLS = {
    "displaced": "MgO, an atom displaced",
    "missing": "Si, an atom missing",
    "slab": "water on LiF, a slab",
    "molecule": "acetamide in a box",
    "large": "diamond, displaced",
}
KEPT = 1e-5
EFFORTS = ("fast", "normal")
PAGE_FOLDER = data.REPOSITORY / "docs" / "science"


def load(name: str) -> Density:
    return codecs.decode((HERE / f"{name}.payload").read_bytes(), max_values=1 << 28)


def measured(name: str, known: dict[str, Any] | None) -> dict[str, Any]:
    """Everything of a cell but memory. known: an earlier row, whose bytes of the peers are kept."""
    density, prior = load(name), data.prior()
    row: dict[str, Any] = {"cell": name, "atoms": len(density.crystal), "grid": list(density.grid)}
    row |= {"text_bytes": text_bytes(density), "gzip_s": gzip_time(density), "tolerances": {}}
    for tolerance in TOLERANCES:
        found: dict[str, Any] = {}
        for effort in EFFORTS:
            start = time.process_time()
            encoded = codecs.encode(density, tolerance, prior=prior, effort=effort)
            found[f"encode_{effort}_s"] = time.process_time() - start
            found[f"bytes_{effort}"] = len(encoded.payload) + CHECKSUM
            found[f"decode_{effort}_ms"] = decode_time(encoded.payload, prior)
            if effort == "fast":
                found["theoretical"] = theoretical(encoded.payload)
        for peer, compress in peers.lossy().items():
            earlier = known["tolerances"][str(tolerance)][peer] if known else None
            found[peer] = earlier or peers.at_error(compress, density, tolerance).size
        row["tolerances"][str(tolerance)] = found
    return row


app = typer.Typer(add_completion=False)


@app.command()
def memory(name: str) -> None:
    """Print by how many grids encoding one cell, with verification, exceeds what it started with."""
    density, prior = load(name), data.prior()
    grid = density.total.nbytes
    codecs.encode(density.resample((8, 8, 8)), 1e-2, prior=prior)  # what a process loads once
    Path("/proc/self/clear_refs").write_text("5")
    before = peak_bytes()
    codecs.encode(density, TOLERANCES[0], prior=prior)
    after = peak_bytes()
    if before is None or after is None:
        raise SystemExit("memory is measured on Linux only")
    typer.echo((after - before) / grid)


@app.command()
def keep(folder: Path) -> None:
    """Pack what cells_gpaw.py wrote into a folder."""
    prior = data.prior()
    HERE.mkdir(exist_ok=True)
    for name in CELLS:
        path = folder / f"{name}.npz"
        if not path.exists():
            typer.echo(f"{name}: not in {folder}")
            continue
        with np.load(path) as arrays:
            crystal = Crystal(arrays["cell"], arrays["frac"] % 1.0, arrays["numbers"])
            density = Density(crystal, {"total": arrays["total"]})
        kept = codecs.encode(density, KEPT, effort="fast").payload
        (HERE / f"{name}.payload").write_bytes(kept)
        sizes = [
            len(codecs.encode(one, TOLERANCES[0], prior=prior, effort="fast").payload) for one in (density, load(name))
        ]
        typer.echo(f"{name}: {len(kept):,} bytes kept; at 0.01 % {sizes[0]:,} bytes, from what is kept {sizes[1]:,}")


@app.command()
def write(
    names: Annotated[list[str] | None, typer.Argument(help="These cells; the others stay as they were.")] = None,
    keep_peers: Annotated[bool, typer.Option("--keep-peers", help="Bytes of the peers stay as they were.")] = False,
) -> None:
    """Measure what the page shows, and write it there."""
    earlier = load_numbers(PAGE_FOLDER, "cells")["rows"] if names or keep_peers else []
    rows = {row["cell"]: row for row in earlier}
    for name in names or CELLS:
        row = measured(name, rows.get(name) if keep_peers else None)
        command = [sys.executable, "-W", "ignore", __file__, "memory", name]
        row["memory_grids"] = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        typer.echo(json.dumps(row))
        rows[name] = row
        ordered = [rows[name] for name in CELLS if name in rows]
        publish(PAGE_FOLDER, "cells", tables(ordered), {"rows": ordered})


def tables(rows: list[dict[str, Any]]) -> str:
    parts = []
    compressors = list(peers.lossy())
    head = ["cell", "atoms", "grid", "bytes an atom", "text / record", "effort fast"]
    head += [f"text / {peer}" for peer in compressors]
    head += ["Gaussian rate / fast", "decoding, ms", "encoding, s", "effort fast", "gzip -6, s", "memory, grids"]
    for tolerance in TOLERANCES:
        lines = []
        for row in rows:
            found, text = row["tolerances"][str(tolerance)], row["text_bytes"]
            cells = [CELLS[row["cell"]], row["atoms"], "×".join(map(str, row["grid"]))]
            cells += [f"{found['bytes_normal'] / row['atoms']:,.0f}"]
            cells += [f"{text / found[key]:,.0f}" for key in ("bytes_normal", "bytes_fast", *compressors)]
            cells += [f"{found['theoretical'] / found['bytes_fast']:.2f}", f"{found['decode_normal_ms']:.0f}"]
            cells += [f"{found['encode_normal_s']:.2f}", f"{found['encode_fast_s']:.2f}", f"{row['gzip_s']:.2f}"]
            lines.append([*cells, f"{row['memory_grids']:.1f}"])
        parts += [f"**NMAE ≤ {100 * tolerance:g} %**", table(head, lines)]
    return "\n\n".join(parts)


if __name__ == "__main__":
    app()
