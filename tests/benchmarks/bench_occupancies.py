"""Records of VASP's CHGCARs with all that a restart needs: the augmentation occupancies as text and as numbers.

    python tests/benchmarks/bench_occupancies.py [FILE ...]

Needs the shared files beside the repository, or the CHGCARs that are named; writes docs/science/data/occupancies.json
and the table of docs/science/codec.md (only for the shared files).
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from codec_data import is_all_electron, vasp_files

import chgdb
from chgdb.augmentation import to_arrays
from chgdb.codecs import encode
from chgdb.codecs.extras import default_tolerance, pack, unpack
from chgdb.codecs.layouts import candidates, places
from chgdb.formats import pack_extras, text_bytes
from chgdb.promolecule import Prior

ROOT = Path(__file__).resolve().parents[2]
NUMBERS = ROOT / "docs" / "science" / "data" / "occupancies.json"
PAGE = ROOT / "docs" / "science" / "codec.md"
START, END = "<!-- occupancies:begin -->", "<!-- occupancies:end -->"
TOLERANCES = (1e-3, 1e-4)
CHECKSUM = 4  # bytes


def measured(path: Path, tolerance: float, prior: Prior) -> dict[str, Any] | None:
    """One file at one tolerance; None where it has no occupancies."""
    density = chgdb.read(path)
    if "after" not in density.extras:
        return None
    names = tuple(density.channels)
    start = time.perf_counter()
    payload = encode(density, tolerance, prior=prior).payload
    middle = time.perf_counter()
    packed = pack(density.extras, density.crystal, names, payload, default_tolerance(tolerance))
    end = time.perf_counter()
    back = unpack(packed.data, density.crystal, names, payload)
    last = time.perf_counter()
    return {
        "file": path.name.removesuffix(".gz"),
        "tolerance": tolerance,
        "atoms": len(density.crystal),
        "text_bytes": text_bytes(density),
        "occupancies_text_bytes": sum(map(len, density.extras["after"].values())),
        "grid_bytes": len(payload) + CHECKSUM,
        "as_text_bytes": len(payload) + CHECKSUM + len(pack_extras(density.extras)),
        "as_numbers_bytes": len(payload) + CHECKSUM + len(packed.data),
        "occupancy_tolerance": packed.tolerance,
        "occupancy_error": packed.error,
        "charge_error": charge_error(density.extras["after"]["total"], back["after"]["total"]),
        "encode_seconds": middle - start,
        "pack_seconds": end - middle,
        "unpack_seconds": last - end,
    }


def charge_error(before: str, after: str) -> float:
    """The analogue of the NMAE: Σ|Δ| over Σ|occupancy| of the numbers that make the charge on the atoms, those of the
    total with L = 0 (in the commonest order of channels with so many numbers)."""
    one, two = to_arrays(before), to_arrays(after)
    change = whole = 0.0
    for ion, values in one.items():
        place = places(candidates(len(values))[0])[0].ravel()
        change += float(np.abs(values.real - two[ion].real)[place].sum())
        whole += float(np.abs(values.real[place]).sum())
    return change / (whole or 1.0)


def table(rows: Sequence[dict[str, Any]]) -> str:
    lines = []
    for tolerance in TOLERANCES:
        chosen = [row for row in rows if row["tolerance"] == tolerance]
        lines += [
            f"**NMAE ≤ {100 * tolerance:g} %**, occupancies to {100 * default_tolerance(tolerance):g} %",
            "",
            "| file | atoms | grid, B | and occupancies as text | as numbers | largest error, % | error of L = 0, % |",
            "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        ]
        for row in chosen:
            error = "as text" if row["occupancy_error"] is None else f"{100 * row['occupancy_error']:.2g}"
            lines.append(
                f"| {row['file']} | {row['atoms']} | {row['grid_bytes']:,} | {row['as_text_bytes']:,} | "
                f"{row['as_numbers_bytes']:,} | {error} | {100 * row['charge_error']:.2g} |"
            )
        means = [mean([row["text_bytes"] / row[f"{key}_bytes"] for row in chosen]) for key in _KEYS]
        lines += ["| **text of the grid / record** | | " + " | ".join(f"**{x:,.0f}**" for x in means) + " | | |", ""]
    return "\n".join(lines)


_KEYS = ("grid", "as_text", "as_numbers")


def mean(ratios: Sequence[float]) -> float:
    """Geometric."""
    return float(np.exp(np.mean(np.log(ratios))))


def main(files: Sequence[str]) -> None:
    store = chgdb.open().store
    prior = store.prior(store.prior_ids[0])
    paths = [Path(file) for file in files] or [path for path in vasp_files() if not is_all_electron(path)]
    rows = [row for tolerance in TOLERANCES for path in paths if (row := measured(path, tolerance, prior))]
    text = table(rows)
    print(text)
    for row in rows:
        times = ", ".join(f"{key} {row[f'{key}_seconds']:.3f} s" for key in ("encode", "pack", "unpack"))
        print(f"{row['file']} {row['tolerance']:g}: {times}")
    if not files:
        NUMBERS.write_text(json.dumps({"rows": rows}, indent=1) + "\n", encoding="utf-8")
        page = PAGE.read_text(encoding="utf-8")
        before, _, rest = page.partition(START)
        PAGE.write_text(f"{before}{START}\n\n{text}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
