"""One operation on a store in a process of its own; prints its time, CPU time and peak memory as JSON.

    python tests/benchmarks/scale_operations.py OPERATION STORE

The clock starts when chgdb is imported; peak memory and `process_cpu` are those of the whole process.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

import chgdb
from chgdb import curation, ingest
from chgdb.codecs import decode, fourier
from chgdb.extraction import extract
from chgdb.ingest import build_from
from chgdb.store import append as store_append
from chgdb.store.format import id_hash

#: Densities that `iterate` decodes, and that `append` adds.
ITERATED, APPENDED = 1000, 100


def open_it(store: str) -> dict[str, Any]:
    return {"materials": len(chgdb.open(store))}


def look_up(store: str) -> dict[str, Any]:
    """A record by its id: its bytes, and what is known of its error."""
    catalog = chgdb.open(store)
    record = catalog[f"syn-{len(catalog) // 2}"]
    return {"bytes": len(record.payload), "nmae": record.nmae}


def by_elements(store: str) -> dict[str, Any]:
    return {"found": len(chgdb.open(store).search(elements="Li,O"))}


def by_property(store: str) -> dict[str, Any]:
    return {"found": len(chgdb.open(store).search(bulk_modulus=(100, 110)))}


def iterate(store: str) -> dict[str, Any]:
    total = 0.0
    for record in islice(chgdb.open(store), ITERATED):
        total += record.decode().n_electrons
    return {"electrons": total}


def append(store: str) -> dict[str, Any]:
    """`chgdb.build_from` with one worker; the commit is what comes after the last density is encoded."""
    embedded = chgdb.open()
    smallest = np.argsort(embedded.column("text_bytes"), kind="stable")[:APPENDED]
    names = {f"added-{i}": embedded.ids[row] for i, row in enumerate(smallest)}
    densities = {name: embedded[i].density for name, i in names.items()}
    last = [0.0, 0.0]

    def note(done: int, total: int, name: str) -> None:
        last[:] = time.perf_counter(), time.process_time()

    start = time.perf_counter(), time.process_time()
    report = build_from(
        store, list(names), lambda i: (densities[i], {"space_group": 1}), workers=1, progress=note, keep_extras=False
    )
    end = time.perf_counter(), time.process_time()
    assert len(report.added) == APPENDED
    times = {"seconds": end[0] - start[0], "cpu": end[1] - start[1]}
    return times | {"commit_seconds": end[0] - last[0], "commit_cpu": end[1] - last[1]}


def append_whole(store: str) -> dict[str, Any]:
    """The same with every byte of the store written again, as where nothing can be linked."""
    ingest.can_append = lambda store, table: False
    return append(store)


def _every_second(store: str) -> list[str]:
    return list(chgdb.open(store).ids)[::2]


def subset(store: str) -> dict[str, Any]:
    """Half of the materials into a store of their own."""
    extract(chgdb.open(store), _every_second(store), _beside(store, "half.zarr"), predictions=True)
    return {"materials": len(chgdb.open(_beside(store, "half.zarr")))}


def merge(store: str) -> dict[str, Any]:
    """The store and the half that `subset` made into one: half of the materials are in both."""
    found = curation.merge(_beside(store, "merged.zarr"), [store, _beside(store, "half.zarr")])
    return {"materials": found.n_materials}


def remove(store: str) -> dict[str, Any]:
    """Ten materials out of what `merge` made; likewise the next two."""
    return {"removed": len(curation.remove(_beside(store, "merged.zarr"), list(chgdb.open(store).ids)[:10]))}


def rename(store: str) -> dict[str, Any]:
    old = list(chgdb.open(store).ids)[10:20]
    return {"renamed": len(curation.rename(_beside(store, "merged.zarr"), {name: f"other-{name}" for name in old}))}


def add_columns(store: str) -> dict[str, Any]:
    """A column of numbers for every second material."""
    rows = [f"{name},{number}" for number, name in enumerate(_every_second(store)[10:])]
    path = Path(_beside(store, "columns.csv"))
    path.write_text("\n".join(["material_id,measured_GPa", *rows]) + "\n", encoding="utf-8")
    return {"updated": len(curation.add_columns(_beside(store, "merged.zarr"), path).updated)}


def _beside(store: str, name: str) -> str:
    return str(Path(store).with_name(name))


def fetch(url: str) -> dict[str, Any]:
    """The first material of a store at a URL, with an empty cache, and a second one, in another part of the index."""
    catalog = chgdb.open(url)
    electrons = catalog["syn-77"].density.n_electrons

    def part(number: int) -> int:
        return catalog.store._slot_chunk(id_hash(f"syn-{number}"))

    half = len(catalog) // 2
    second = next(number for number in range(half, 2 * half) if part(number) != part(77))
    first = time.perf_counter()
    electrons += catalog[f"syn-{second}"].density.n_electrons
    return {"electrons": electrons, "second_seconds": time.perf_counter() - first}


def fetch_first(url: str) -> dict[str, Any]:
    return {"electrons": chgdb.open(url)["syn-77"].density.n_electrons}


OPERATIONS: dict[str, Callable[[str], dict[str, Any]]] = {
    "open": open_it,
    "look up": look_up,
    "by elements": by_elements,
    "by property": by_property,
    "iterate": iterate,
    "append": append,
    "append whole": append_whole,
    "subset": subset,
    "merge": merge,
    "remove": remove,
    "rename": rename,
    "add columns": add_columns,
    "fetch": fetch,
    "fetch first": fetch_first,
}
#: Imported before the clock starts.
_WARM = (decode, fourier, store_append)


def peak_bytes() -> int | None:
    """Largest resident memory of this process so far. `getrusage` would count its parent's, from before the exec."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except FileNotFoundError:  # not Linux
        return None
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


def main() -> int:
    operation, store = sys.argv[1:]
    start = time.perf_counter(), time.process_time()
    found = OPERATIONS[operation](store)
    times = {"seconds": time.perf_counter() - start[0], "cpu": time.process_time() - start[1]}
    print(json.dumps(times | found | {"peak": peak_bytes(), "process_cpu": time.process_time()}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
