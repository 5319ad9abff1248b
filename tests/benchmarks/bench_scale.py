"""Benchmarks of size: every table of docs/science/scale.md but that of the readers (bench_readers.py).

    pip install -e '.[test]'
    python tests/benchmarks/bench_scale.py all

Each command prints its table, puts it between its markers in docs/science/scale.md, and its numbers into
docs/science/data/. The stores are synthetic: records of the embedded catalog, repeated under new ids with their columns
perturbed (tests/synthetic.py). `--stores` keeps them between runs.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy: timings of one thread, whatever the machine

import json
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

sys.path.append(str(Path(__file__).resolve().parents[1]))

import codec_data
import numpy as np
from codec_report import load, publish, table
from synthetic import synthetic

import chgdb
from chgdb.codecs import DEFAULT_TOLERANCE, EFFORTS
from chgdb.packer import Packer, Task
from chgdb_catalog.rebuild import Loader

TESTS = codec_data.REPOSITORY / "tests"
OUT = codec_data.REPOSITORY / "docs" / "science"
PAGE = "scale"
SIZES = (6059, 150_000)
#: Growth from the smaller to the larger store that is allowed to what is no full scan.
ALLOWED = 1.5
#: Operations on a store on a disk: title, whether it is a full scan.
LOCAL = {
    "open": ("open", False),
    "look up": ("open, look up one id", False),
    "iterate": ("open, iterate and decode 1,000 densities", False),
    "append": ("append 100 densities", False),
    "by elements": ("open, search by elements", True),
    "by property": ("open, search by a range of a property", True),
    "append whole": ("append 100 densities where no file can be linked", True),
}
#: Changes of a store as a whole: operation -> the command, in the order in which they need each other's stores.
CHANGES = {
    "subset": "`chgdb subset`, every second material",
    "merge": "`chgdb merge`, the store and that half",
    "remove": "`chgdb remove`, ten materials",
    "rename": "`chgdb rename`, ten materials",
    "add columns": "`chgdb add-columns`, a number for every second",
}
#: Materials of the store that is changed.
CHANGED = 100_000
#: Materials Project: CHGCARs, and bytes of their objects, gzip JSON (docs of the project, 2025).
MP_COUNT, MP_BYTES = 415_000, 7.7e12

app = typer.Typer(help=__doc__, add_completion=False, no_args_is_help=True)
Out = Annotated[Path, typer.Option(help="Folder of scale.md and data/.")]
Stores = Annotated[Path | None, typer.Option("--stores", help="Folder in which the synthetic stores are kept.")]
Rounds = Annotated[int, typer.Option(min=1, help="Of each operation that takes seconds; the smallest time counts.")]
#: Rounds of those that take milliseconds.
QUICK_ROUNDS = 10


@contextmanager
def stores(folder: Path | None) -> Iterator[list[Path]]:
    """The synthetic stores, made where they are missing."""
    with tempfile.TemporaryDirectory(prefix="chgdb-scale-") as temporary:
        place = folder or Path(temporary)
        place.mkdir(parents=True, exist_ok=True)
        paths = [place / f"synthetic-{size}.zarr" for size in SIZES]
        for path, size in zip(paths, SIZES, strict=True):
            if not path.exists():
                start = time.process_time()
                synthetic(path, size)
                print(f"{path.name}: written in {time.process_time() - start:.0f} s of CPU time", flush=True)
        yield paths


def operate(operation: str, store: str | Path, environment: dict[str, str] | None = None, code: str = "pass") -> dict:
    """One operation in a process of its own. code: run before it."""
    script = TESTS / "benchmarks" / "scale_operations.py"
    start = (
        f"import runpy, sys; {code}; sys.argv[0] = {str(script)!r}; runpy.run_path({str(script)!r}, None, '__main__')"
    )
    command = [sys.executable, "-W", "ignore", "-c", start, operation, str(store)]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | (environment or {}))
    whole = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(f"{operation} of {store} failed: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout) | {"process_seconds": whole}


def linked_copy(store: Path, target: Path) -> Path:
    """A copy that takes no room: files of a store are never changed in place."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(store, target, copy_function=os.link)
    return target


def smallest(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Smallest times and largest memory of several rounds."""
    merged = dict(results[0])
    for name, value in merged.items():
        if isinstance(value, int | float):
            merged[name] = (max if name == "peak" else min)(result[name] for result in results)
    return merged


@app.command()
def sizes(
    out: Out = OUT,
    folder: Stores = None,
    rounds: Rounds = 3,
    only: Annotated[
        list[str] | None, typer.Option(help="Measure this operation alone; the others stay as they were. May repeat.")
    ] = None,
) -> None:
    """Time and memory of each operation at both sizes."""
    with stores(folder) as paths:
        measured: dict[str, list[dict[str, Any]]] = load(out, "sizes", PAGE)["measured"] if only else {}
        for operation in only or LOCAL:
            measured[operation] = []
            for path in paths:
                results = []
                for _ in range(rounds if operation in ("iterate", "append", "append whole") else QUICK_ROUNDS):
                    store = path
                    if operation.startswith("append"):
                        store = linked_copy(path, path.with_name("copy.zarr"))
                    results.append(operate(operation, store))
                shutil.rmtree(path.with_name("copy.zarr"), ignore_errors=True)
                measured[operation].append(smallest(results))
        files = [{"bytes": size_of(path), "files": sum(p.is_file() for p in path.rglob("*"))} for path in paths]
    _publish_sizes(out, measured, files)


def size_of(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def _publish_sizes(out: Path, measured: dict[str, list[dict[str, Any]]], files: list[dict[str, int]]) -> None:
    rows, growth = [], {}
    for operation, (title, scan) in LOCAL.items():
        small, large = measured[operation]
        parts = [(operation, title, "seconds", "cpu")]
        if operation == "append":
            parts.append(("commit", "&nbsp; of which writing the store", "commit_seconds", "commit_cpu"))
        for name, label, seconds, cpu in parts:
            grown = {"cpu": large[cpu] / small[cpu], "memory": large["peak"] / small["peak"]}
            growth[name] = grown | {"scan": scan}
            verdict = "full scan" if scan else "met" if max(grown.values()) <= ALLOWED else "**missed**"
            cells = [f"{r[seconds]:.3g} s ({r[cpu]:.3g})" for r in (small, large)]
            memory = [f"{r['peak'] / 1e6:.0f}" for r in (small, large)]
            rows.append([label, *cells, f"{grown['cpu']:.2f}", *memory, f"{grown['memory']:.2f}", verdict])
    head = ["", *(f"{size:,}: time (CPU)" for size in SIZES), "growth", *(f"{size:,}: MB" for size in SIZES), "growth"]
    whole = [f"{f['bytes'] / 1e6:.0f} MB in {f['files']:,} files" for f in files]
    data = {"sizes": SIZES, "measured": measured, "growth": growth, "stores": files, "allowed": ALLOWED}
    text = table([*head, f"within {ALLOWED}"], rows)
    publish(out, "sizes", f"{text}\n\nThe stores: {whole[0]}, and {whole[1]}.", data, PAGE)


@app.command()
def change(out: Out = OUT, folder: Stores = None) -> None:
    """Time and memory of commands that write a whole store, once each."""
    with tempfile.TemporaryDirectory(prefix="chgdb-scale-", dir=folder) as temporary:
        store = Path(temporary) / "store.zarr"
        synthetic(store, CHANGED)
        measured = {}
        for operation in CHANGES:
            measured[operation] = operate(operation, store)
            print(operation, json.dumps(measured[operation]), flush=True)
        whole = size_of(store)
    publish_change(out, measured, whole)


def publish_change(out: Path, measured: dict[str, dict[str, Any]], whole: int) -> None:
    rows = [
        [title, f"{r['seconds']:.3g} s", f"{r['cpu']:.3g} s", f"{r['peak'] / 1e6:,.0f}"]
        for title, r in ((CHANGES[operation], result) for operation, result in measured.items())
    ]
    text = table([f"{CHANGED:,} materials, {whole / 1e6:.0f} MB", "time", "CPU time", "MB of memory"], rows)
    publish(out, "change", text, {"materials": CHANGED, "bytes": whole, "measured": measured}, PAGE)


@app.command()
def remote(out: Out = OUT, folder: Stores = None, rounds: Rounds = 3) -> None:
    """One material over HTTP at both sizes, from nginx; start-up on S3 with obstore and with s3fs."""
    with stores(folder) as paths, tempfile.TemporaryDirectory() as scratch:
        http = _http(paths, Path(scratch), rounds)
        s3 = _s3(paths[0], Path(scratch), rounds)
    rows = []
    for part in ("first", "second"):
        for quantity, unit in (("requests", ""), ("bytes", " kB"), ("seconds", " ms")):
            scale = {"requests": 1, "bytes": 1e-3, "seconds": 1e3}[quantity]
            small, large = (http[str(size)][part][quantity] for size in SIZES)
            cells = [f"{value * scale:.3g}{unit}" for value in (small, large)]
            rows.append([f"{part} material, {quantity.replace('seconds', 'time')}", *cells, f"{large / small:.2f}"])
    first = table(["HTTP", *(f"{size:,} materials" for size in SIZES), "growth"], rows)
    lines = [
        [name, f"{r['process_seconds']:.2f} s", f"{r['process_cpu']:.2f} s", r["requests"]] for name, r in s3.items()
    ]
    head = [
        f"S3, {SIZES[0]:,} materials: a process from its start to the first material",
        "time",
        "CPU time",
        "requests",
    ]
    second = table(head, lines)
    publish(out, "remote", f"{first}\n\n{second}", {"http": http, "s3": s3}, PAGE)


def _http(paths: list[Path], scratch: Path, rounds: int) -> dict[str, Any]:
    sys.path.append(str(TESTS / "remote"))
    from nginx import Nginx

    server = Nginx(paths[0].parent, scratch / "nginx")
    found: dict[str, Any] = {}
    try:
        for path, size in zip(paths, SIZES, strict=True):
            url, counted, results = f"{server.url}/{path.name}", [], []
            for operation in ("fetch first", *["fetch"] * rounds):
                server.requests()
                with tempfile.TemporaryDirectory() as cache:
                    results.append(operate(operation, url, {"CHGDB_CACHE": cache}))
                asked = server.requests()
                counted.append((len(asked), sum(request.sent + request.received for request in asked)))
            first, both = counted[0], counted[1]
            best = smallest(results[1:])
            seconds = best["seconds"] - best["second_seconds"]
            found[str(size)] = {
                "first": {"requests": first[0], "bytes": first[1], "seconds": seconds},
                "second": {
                    "requests": both[0] - first[0],
                    "bytes": both[1] - first[1],
                    "seconds": best["second_seconds"],
                },
            }
    finally:
        server.close()
    return found


def _s3(path: Path, scratch: Path, rounds: int) -> dict[str, Any]:
    sys.path.append(str(TESTS / "remote"))
    import pytest
    from s3 import S3Server

    server = S3Server(scratch)
    engines = {
        "obstore": "pass",
        "s3fs": "import chgdb.remote.obstore as o; o.applies = lambda url, options: False",
    }
    found: dict[str, Any] = {}
    try:
        with pytest.MonkeyPatch.context() as patch:
            server.environment(patch)
            bucket = server.bucket()
            server.upload(path, bucket, "store")
            for name, code in engines.items():
                results = []
                for _ in range(rounds):
                    asked = len(server.requests())
                    with tempfile.TemporaryDirectory() as cache:
                        result = operate("fetch first", f"s3://{bucket}/store", {"CHGDB_CACHE": cache}, code)
                    results.append(result | {"requests": len(server.requests()) - asked})
                found[name] = smallest(results)
    finally:
        server.close()
    return found


@app.command()
def encode(
    out: Out = OUT,
    materials: Annotated[int, typer.Option(help="Of the catalog, drawn with seed 0.")] = 40,
) -> None:
    """Encoding on one core beside gzip -6 of the same text, and what the Materials Project would take."""
    sets = {f"{materials} GPAW densities of the catalog": _catalog_texts(materials), "VASP CHGCARs": _vasp_texts()}
    prior = chgdb.open().prior
    assert prior is not None
    packers = [Packer(None, DEFAULT_TOLERANCE, "auto", prior.to_arrays(), True, effort=effort) for effort in EFFORTS]
    measured: dict[str, dict[str, float]] = {}
    for name, texts in sets.items():
        sums = dict.fromkeys(("densities", "text", "gzipped", "gzip"), 0.0)
        sums |= {f"{what}_{effort}": 0.0 for effort in EFFORTS for what in ("stored", "extras", "encode")}
        with tempfile.TemporaryDirectory() as folder:
            for number, write in enumerate(texts):
                path = Path(folder) / f"m{number}.CHGCAR"
                write(path)
                if not number:  # what a process does once: imports, tables
                    packers[0](Task("m", str(path), ""))
                _add(sums, path, packers)
                path.unlink()
        if sums["densities"]:
            measured[name] = sums
    _publish_encode(out, measured)


def _catalog_texts(count: int) -> Iterator[Any]:
    embedded, load = chgdb.open(), Loader({}, {})
    for i in sorted(np.random.default_rng(0).choice(len(embedded), count, replace=False).tolist()):
        density = load(embedded.ids[i])[0]
        yield lambda path, density=density: chgdb.write(path, density)


def _vasp_texts() -> Iterator[Any]:
    """The real files beside the repository, unpacked; none where they are missing."""
    import gzip

    if (codec_data.SHARED / "vasp").is_dir():
        for source in codec_data.vasp_files():
            if not codec_data.is_all_electron(source):
                yield lambda path, source=source: path.write_bytes(gzip.decompress(source.read_bytes()))


def _add(sums: dict[str, float], path: Path, packers: list[Packer]) -> None:
    """What `chgdb build` does with a file, with each effort, and gzip -6 of the same file, in CPU seconds."""
    for packer in packers:
        start = time.process_time()
        finished = packer(Task("m", str(path), ""))
        sums[f"encode_{packer.effort}"] += time.process_time() - start
        sums[f"stored_{packer.effort}"] += len(finished.payload) + 4
        sums[f"extras_{packer.effort}"] += len(finished.extras)
    start_children = os.times().children_user + os.times().children_system
    packed = subprocess.run(["gzip", "-6", "-c", str(path)], stdout=subprocess.PIPE, check=True).stdout
    sums["gzip"] += os.times().children_user + os.times().children_system - start_children
    sums["densities"] += 1
    sums["text"] += path.stat().st_size
    sums["gzipped"] += len(packed)


def _publish_encode(out: Path, measured: dict[str, dict[str, float]]) -> None:
    rows = []
    for name, s in measured.items():
        for effort in EFFORTS:
            stored, extras, seconds = (s[f"{what}_{effort}"] for what in ("stored", "extras", "encode"))
            text, rate, packing = s["text"] / 1e6, s["text"] / 1e6 / seconds, s["text"] / 1e6 / s["gzip"]
            ratio = f"{s['text'] / stored:,.0f} ({s['text'] / (stored + extras):,.0f})"
            cells = [f"{text / s['densities']:.2f} MB", f"{s['densities'] / seconds:.2f}", f"{rate:.1f} MB/s"]
            cells += [f"{packing:.1f} MB/s", f"{rate / packing:.2f}", ratio, f"{s['text'] / s['gzipped']:.2f}"]
            rows.append([f"{name}, effort {effort}", *cells])
    head = [
        "",
        "text of one",
        "densities a second",
        "`chgdb build`",
        "`gzip -6`",
        "of gzip's speed",
        "smaller (with extras)",
        "gzip: smaller",
    ]
    speeds = table(head, rows)
    # Real files where there are some: what their augmentation occupancies take counts too.
    basis = list(measured)[-1]
    s = measured[basis] | {what: measured[basis][f"{what}_normal"] for what in ("stored", "extras", "encode")}
    text, packed, rate = MP_BYTES * s["text"] / s["gzipped"], s["text"] / s["gzipped"], s["text"] / s["encode"]
    hours, of_gzip = text / rate / 3600, text / s["text"] * s["gzip"] / 3600
    plain, whole = s["text"] / s["stored"], s["text"] / (s["stored"] + s["extras"])
    volume = f"{text / 1e12:.1f} TB"

    def stored(ratio: float) -> str:
        return f"{volume} / {ratio:,.0f} = {text / ratio / 1e9:,.1f} GB, {text / ratio / MP_COUNT / 1e3:.3g} kB each"

    lines = [
        ["objects", f"{MP_COUNT:,}, {MP_BYTES / 1e12:.1f} TB compressed"],
        ["text in them", f"{MP_BYTES / 1e12:.1f} TB x {packed:.2f} (gzip above) = {volume}"],
        [
            "to encode",
            f"{volume} / {rate / 1e6:.1f} MB/s = {hours:,.0f} core-hours",
        ],
        ["to gzip -6", f"{volume} / {s['text'] / s['gzip'] / 1e6:.1f} MB/s = {of_gzip:,.0f} core-hours"],
        ["to store, densities", stored(plain)],
        ["to store, with augmentation occupancies", stored(whole)],
    ]
    totals = {
        "text_bytes": text,
        "core_hours": hours,
        "gzip_core_hours": of_gzip,
        "stored_bytes": text / plain,
        "stored_bytes_with_extras": text / whole,
    }
    arithmetic = table([f"Materials Project, at the rates of: {basis}", ""], lines)
    data = {"measured": measured, "materials_project": totals | {"objects": MP_COUNT, "bytes": MP_BYTES}}
    publish(out, "encode", f"{speeds}\n\n{arithmetic}", data, PAGE)


@app.command("all")
def everything(out: Out = OUT, folder: Stores = None, rounds: Rounds = 3, materials: int = 40) -> None:
    """Every table."""
    with stores(folder) as paths:
        sizes(out, paths[0].parent, rounds)
        remote(out, paths[0].parent, rounds)
    encode(out, materials)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    app()
