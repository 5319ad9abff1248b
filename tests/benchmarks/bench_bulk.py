"""What building a store from a collection on a server takes: bytes, requests and CPU time for each density.

    python tests/benchmarks/bench_bulk.py [--points 80] [--densities 6]
    python tests/benchmarks/bench_bulk.py --table          the table of the page again, from the last measurement

Serves densities of the embedded catalog, interpolated to a grid as large as the median one of the Materials Project
(512,000 points), in the two layouts that collections have (a gzip JSON of a `Chgcar`; a gzip CHGCAR), from a web server
on loopback, and builds a store of each. CPU time is that of the processes that fetch, unpack, read and encode: a busy
machine does not change it much. Writes docs/science/data/bulk.json, and to docs/how-to/pack-your-own.md what the
collections take from that, by
the number of their densities and the bytes of their objects. Where those are known to be larger than the ones here the
time is taken to be larger in proportion, though encoding grows with the points and not with the digits.
"""

from __future__ import annotations

import argparse
import gzip
import json
import resource
import tempfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

import chgdb
from chgdb.density import Density

OUT = Path(__file__).resolve().parents[2] / "docs/science/data/bulk.json"
PAGE = Path(__file__).resolve().parents[2] / "docs/how-to/pack-your-own.md"
MATERIALS = ("mp-149", "mp-22862", "mp-1265", "mp-2534", "mp-13", "mp-5229", "mp-30", "mp-1138")
#: Name, layout, densities, mean bytes of an object (of the Materials Project 7.7 TB in 415,000), requests to list all.
COLLECTIONS = (
    ("Materials Project, one task for each material", "json", 122_000, 7.7e12 / 415_000, 122_000 / 1000),
    ("ECD, PBE", "chgcar", 140_646, None, 1),
    ("ECD, HSE", "chgcar", 7_147, None, 1),
    ("Materials Project, all tasks", "json", 415_000, 7.7e12 / 415_000, 415_000 / 1000),
)


class Counting(SimpleHTTPRequestHandler):
    """Serves a folder and counts what it was asked."""

    requests = 0

    def do_GET(self) -> None:
        Counting.requests += 1
        super().do_GET()

    def log_message(self, *args: object) -> None:
        pass


def write_json(path: Path, density: Density) -> None:
    """As an object of the Materials Project's bucket."""
    crystal = density.crystal
    sites = [
        {"species": [{"element": symbol, "occu": 1}], "abc": position}
        for symbol, position in zip(crystal.symbols, crystal.positions.tolist(), strict=True)
    ]
    poscar = {"comment": crystal.formula, "structure": {"lattice": {"matrix": crystal.cell.tolist()}, "sites": sites}}
    values = np.vectorize(lambda value: float(f"{value:.11g}"))(density.total * crystal.volume)
    data = {"total": {"@module": "numpy", "@class": "array", "dtype": "float64", "data": values.tolist()}}
    document = [{"data": {"@class": "Chgcar", "poscar": poscar, "data": data, "data_aug": {}}}]
    path.write_bytes(gzip.compress(json.dumps(document).encode(), 6))


def cpu() -> float:
    """Seconds of this process and of those that it has waited for."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def measure(layout: str, densities: list[Density], folder: Path) -> dict[str, float]:
    """Bytes, requests and CPU seconds a density, of a build over HTTP."""
    served = folder / layout
    served.mkdir()
    rows = ["path,material_id"]
    for number, density in enumerate(densities):
        name = f"{number}.json.gz" if layout == "json" else f"CHGCAR_{number}.gz"
        if layout == "json":
            write_json(served / name, density)
        else:
            chgdb.write(served / name, density)
        rows.append(f"{name},m-{number}")
    (served / "list.csv").write_text("\n".join(rows) + "\n")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Counting, directory=str(served)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    source = f"list+http://127.0.0.1:{server.server_address[1]}/list.csv"
    Counting.requests = 0
    begun = cpu()
    report = chgdb.build(folder / f"{layout}.zarr", source, workers=1)
    spent = cpu() - begun
    server.shutdown()
    assert report.complete, report.refused
    count = len(densities)
    sizes = [path.stat().st_size for path in served.glob("*.gz")]
    stored = chgdb.open(folder / f"{layout}.zarr")
    return {
        "bytes": sum(sizes) / count,
        "requests": (Counting.requests - 1) / count,
        "cpu_seconds": spent / count,
        "stored_bytes": sum(stored[name].stored_bytes for name in stored.ids) / count,
    }


def table(found: dict[str, Any]) -> list[str]:
    """Rows of Markdown: what each collection takes."""
    rows = [
        "| collection | densities | fetched | requests | CPU hours | hours on 64 cores | hours at 1 Gbit/s |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, layout, count, size, listing in COLLECTIONS:
        one = found[layout]
        fetched = count * (size or one["bytes"])
        hours = count * one["cpu_seconds"] / 3600 * (max(1, size / one["bytes"]) if size else 1)
        requests = count * one["requests"] + listing
        rows.append(
            f"| {name} | {count:,} | {fetched / 1e12:.1f} TB | {requests:,.0f} | {hours:,.0f} | {hours / 64:.1f} | "
            f"{fetched / 125e6 / 3600:.0f} |"
        )
    return rows


def inserted(page: str, found: dict[str, Any]) -> str:
    """The page with what was measured, and what the collections take from that, between its markers."""
    lines = [
        f"One density of {found['points']}³ points takes {found['json']['cpu_seconds']:.1f} s of CPU as a JSON of "
        f"{found['json']['bytes'] / 1e6:.1f} MB, and {found['chgcar']['cpu_seconds']:.1f} s as a CHGCAR of "
        f"{found['chgcar']['bytes'] / 1e6:.1f} MB.",
        "",
        *table(found),
    ]
    begin, end = "<!-- bulk:begin -->\n", "<!-- bulk:end -->"
    before, _, rest = page.partition(begin)
    return before + begin + "\n" + "\n".join(lines) + "\n\n" + end + rest.partition(end)[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=80, help="grid points along each axis")
    parser.add_argument("--densities", type=int, default=6)
    parser.add_argument("--table", action="store_true", help="print the table of the last measurement")
    options = parser.parse_args()
    if options.table:
        PAGE.write_text(inserted(PAGE.read_text(), json.loads(OUT.read_text())))
        return
    catalog = chgdb.open()
    names = [name for name in MATERIALS if name in catalog][: options.densities]
    densities = [catalog[name].decode((options.points,) * 3) for name in names]
    with tempfile.TemporaryDirectory(prefix="chgdb-") as folder:
        found = {layout: measure(layout, densities, Path(folder)) for layout in ("json", "chgcar")}
    for layout, one in found.items():
        print(
            f"{layout:6s}: {one['bytes'] / 1e6:.2f} MB, {one['requests']:.2f} requests, {one['cpu_seconds']:.2f} s of "
            f"CPU a density of {options.points}^3 points; {one['stored_bytes']:.0f} bytes stored"
        )
    measured = {"points": options.points, "densities": len(densities), **found}
    OUT.write_text(json.dumps(measured, indent=1) + "\n")
    PAGE.write_text(inserted(PAGE.read_text(), measured))


if __name__ == "__main__":
    main()
