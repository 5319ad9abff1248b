"""Compute the densities of a queue of structures, check them, and add them to `catalog/sources/`.

    python catalog/dft/compute.py run QUEUE.jsonl.gz RUN      # resumable: kill it at any moment and start it again
    python catalog/dft/compute.py status QUEUE.jsonl.gz RUN
    python catalog/dft/compute.py collect RUN                 # accepted densities -> the next batch
    python catalog/dft/compute.py reproduce --n 5             # recompute densities of the catalog and compare

The same as `python -m chgdb_catalog.dft.compute`.
"""

from __future__ import annotations

import collections
import contextlib
import gzip
import json
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import numpy as np
import typer

from chgdb.parallel.dask import connect
from chgdb_catalog import batches
from chgdb_catalog.dft import checks, codes, manager, refusals, runs
from chgdb_catalog.scripts import main

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Compute, check and pack the densities of the catalog.",
)
SAME = 1e-4  # NMAE within which a recomputed density is the same density

QueueArgument = Annotated[Path, typer.Argument(help="Structures, one JSON object per line (.jsonl or .jsonl.gz).")]
RunArgument = Annotated[Path, typer.Argument(help="Run folder; made if missing.")]
SourcesOption = Annotated[Path, typer.Option(help="Folder of the batches.")]
PythonOption = Annotated[
    str,
    typer.Option(
        envvar="CHGDB_GPAW_PYTHON", help="Interpreter that can run the code: for gpaw one that has GPAW and ASE."
    ),
]
CodeOption = Annotated[str, typer.Option(help="DFT code: gpaw, or one that an installed package offers.")]
WorkerOption = Annotated[
    Path | None, typer.Option(help="Script run as `PYTHON WORKER JOB.json RESULT.npz`, instead of the code's own.")
]
SetupsOption = Annotated[
    Path | None,
    typer.Option(
        envvar="CHGDB_SETUPS",
        help="Folder of further PAW setups, for elements that GPAW's own lack: gpaw_data/setups of the unpacked "
        "gpaw-data wheel.  Without it, structures that need lanthanide setups wait.",
    ),
]
TimeOption = Annotated[float, typer.Option(min=1, help="Seconds that one attempt may take.")]
MemoryOption = Annotated[float, typer.Option(min=0.1, help="GB of address space that one attempt may take.")]


_LEAST_VOLUME = 1.0  # Å^3; a smaller cell is a mistake, and its k-points would be endless


def read_queue(path: Path) -> list[dict]:
    """Structures of a `.jsonl` or `.jsonl.gz` file; RunError when it is not one."""
    opener = gzip.open if path.suffix == ".gz" else open
    records = []
    try:
        with opener(path, "rt", encoding="utf-8") as f:
            for number, line in enumerate(f, 1):
                if line.strip():
                    records.append(check_record(json.loads(line), f"{path}, line {number}"))
    except OSError as error:
        raise runs.RunError(f"cannot read the queue {path}: {error.strerror or error}") from None
    except ValueError as error:  # not JSON, not UTF-8
        raise runs.RunError(f"{path}: not one JSON object per line ({error})") from None
    twice = [m for m, n in collections.Counter(r["material_id"] for r in records).items() if n > 1]
    if twice:
        raise runs.RunError(f"{path}: {twice[0]} comes more than once; an id names one structure")
    return records


def check_record(record: dict, where: str) -> dict:
    """`record` with formula and space group if it describes a structure, else RunError saying what is wrong `where`."""
    missing = [k for k in ("material_id", "cell", "symbols", "frac") if k not in record]
    if missing:
        raise runs.RunError(f"{where}: no {', '.join(missing)}")
    name = record["material_id"]
    if not isinstance(name, str) or not name or name.startswith(".") or "/" in name:
        raise runs.RunError(f"{where}: material_id {name!r} cannot name a file")
    if np.shape(record["cell"]) != (3, 3) or np.shape(record["frac"]) != (len(record["symbols"]), 3):
        raise runs.RunError(f"{where}: {name} needs a 3 x 3 cell and one position per symbol")
    if not abs(np.linalg.det(np.asarray(record["cell"], float))) > _LEAST_VOLUME:
        raise runs.RunError(f"{where}: the cell of {name} has no volume: give three lattice vectors in Å")
    potentials = record.get("potentials", {})
    if not isinstance(potentials, dict) or not all(isinstance(name, str) for name in potentials.values()):
        raise runs.RunError(f'{where}: potentials of {name} are names of PAW setups by element, {{"Na": "1"}}')
    if "formula" not in record:
        counts = collections.Counter(record["symbols"])
        record["formula"] = "".join(f"{s}{n if n > 1 else ''}" for s, n in counts.items())
    if "space_group" not in record:
        record["space_group"] = checks.space_group(record["cell"], record["frac"], record["symbols"])
    return record


def check_worker(code: ModuleType, python: str, worker: Path | None, setups: Path | None) -> list[str]:
    """The command that runs the worker; RunError when it cannot."""
    found = shutil.which(python)
    needs = " and ".join(code.NEEDS)
    if found is None:
        raise runs.RunError(f"no interpreter {python}: name one that has {needs} with --python")
    if worker is not None and not worker.exists():
        raise runs.RunError(f"no worker script {worker}")
    if setups is not None and not code.is_setups_folder(setups):
        raise runs.RunError(f"{setups} holds no PBE setups: --setups takes the folder with files like La.PBE.gz")
    if worker in (None, code.WORKER):
        imports = f"import {', '.join(code.NEEDS)}"
        tried = subprocess.run([found, "-c", imports], capture_output=True, text=True, check=False)
        if tried.returncode:
            why = tried.stderr.strip().splitlines()[-1:]
            raise runs.RunError(f"{found} cannot import {needs} ({''.join(why)}); name one that can with --python")
    return [found, str(worker or code.WORKER)]


def job_of(record: dict, settings: dict, setups: Path | None) -> dict:
    return {"record": record, "settings": settings, "setups": None if setups is None else str(setups.absolute())}


@app.command()
def run(
    queue: QueueArgument,
    folder: RunArgument,
    workers: Annotated[int, typer.Option(min=0, help="Structures at a time; 0: one, or all of --scheduler.")] = 0,
    scheduler: Annotated[str | None, typer.Option(help="Dask scheduler, tcp://host:port.")] = None,
    python: PythonOption = "/usr/bin/python3",
    worker: WorkerOption = None,
    code: CodeOption = codes.DEFAULT,
    setups: SetupsOption = None,
    time_limit: TimeOption = 3600,
    memory_limit: MemoryOption = 6,
    retry_failed: Annotated[bool, typer.Option(help="Try what was given up once more.")] = False,
    sources: SourcesOption = batches.SOURCES,
) -> None:
    """Compute what is left of QUEUE, cheapest first.  Kill it at any moment and start it again."""
    records = read_queue(queue)
    dft = codes.REGISTRY.get(code)
    command = check_worker(dft, python, worker, setups)
    state = runs.RunFolder(folder)
    limits = runs.Limits(time_limit, int(memory_limit * 1e9))
    in_batches = batches.index(sources)
    energies = checks.EnergyRange.fit(in_batches.values())
    client = None if scheduler is None else connect(scheduler)
    if retry_failed:
        for material_id in state.ids("failed"):
            state.forget_failures(material_id)
    refused = refusals.index(sources)
    refusals.remember(state, [r for r in records if not state.finished(r["material_id"])], refused)
    settled = set(in_batches) if retry_failed else {*in_batches, *refusals.given_up(refused.values())}
    left = [r for r in records if r["material_id"] not in settled and not state.finished(r["material_id"])]
    todo = sorted((r for r in left if not dft.waits_for_setups(r, setups)), key=dft.expected)

    def start(record: dict, settings: dict, claim: runs.Claim) -> Any:
        material_id = record["material_id"]
        state.write("jobs", material_id, job_of(record, settings, setups))
        job, result = state.file("jobs", material_id), state.file("raw", material_id)
        if client is not None:
            return runs.DaskRun(client, command, job, result, limits)
        return runs.LocalRun(command, job, result, limits, claim.fd)

    def slots() -> int:
        if client is None:
            return workers or 1
        threads = sum(client.nthreads().values())  # asked every time: clusters grow and shrink
        return min(workers, threads) if workers else threads

    cost = sum(map(dft.expected, todo))
    with manager.Reporter(state.path / "log", cost, len(todo)) as reporter:
        loop = manager.Manager(state, todo, dft, start, slots, lambda r: manager.settle(state, r, energies), reporter)
        reporter.say(f"{len(todo)} structures to do, {len(left) - len(todo)} wait for setups")
        if energies is None:
            reporter.say(f"no batch in {sources}: energies are not checked")
        with stopping_on_signals(loop, reporter.say):
            while loop.step():
                time.sleep(0.2 if loop.running else 1.0)
        reporter.say("stopped" if loop.pending else "nothing left to do")


@contextlib.contextmanager
def stopping_on_signals(loop: manager.Manager, say: Callable[[str], None]) -> Iterator[None]:
    """The first SIGINT or SIGTERM lets running structures finish, the second ends them."""

    def stop(*_: object) -> None:
        if loop.stopping:
            loop.kill()
        else:
            loop.stopping = True
            say(f"stopping when {len(loop.running)} running structures are done; once more to stop now")

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@app.command()
def status(
    queue: QueueArgument,
    folder: RunArgument,
    setups: SetupsOption = None,
    code: CodeOption = codes.DEFAULT,
    sources: SourcesOption = batches.SOURCES,
) -> None:
    """Count what a run folder holds, and what is left of QUEUE beside it and the batches."""
    records = read_queue(queue)
    state = runs.RunFolder(folder)
    accepted, refused = state.ids("accepted"), refusals.of_run(state)
    given_up = refusals.given_up([*refusals.index(sources).values(), *refused])
    settled = {*accepted, *batches.index(sources), *given_up}
    left = [r for r in records if r["material_id"] not in settled]
    waiting = sum(codes.REGISTRY.get(code).waits_for_setups(r, setups) for r in left)
    print(f"accepted    {len(accepted)}")
    for how in ("set aside", "failed", refusals.FAILED_ONCE):
        why = collections.Counter(entry["reason"] for entry in refused if entry["how"] == how)
        reasons = ", ".join(f"{n} {reason}" for reason, n in why.most_common())
        print(f"{how:11} {why.total()}" + (f" ({reasons})" if reasons else ""))
    print(f"left        {len(left)}" + (f", of which {waiting} wait for --setups" if waiting else ""))
    if state.paused():
        print(f"paused: remove {state.path / 'pause'} to go on")


@app.command()
def recheck(folder: RunArgument, sources: SourcesOption = batches.SOURCES) -> None:
    """Judge the densities of a run folder again, with today's checks; those in a batch stay as they are."""
    state = runs.RunFolder(folder)
    in_batches = batches.index(sources)
    energies = checks.EnergyRange.fit(in_batches.values())
    counts: collections.Counter[str] = collections.Counter()
    for material_id in sorted({*state.ids("accepted"), *state.ids("aside")} - set(in_batches)):
        where, remark = manager.rejudge(state, material_id, energies)
        counts[where] += 1
        if remark:
            print(f"{material_id}: {remark}")
    print(f"{counts['accepted']} accepted, {counts['aside']} set aside")


@app.command()
def collect(folder: RunArgument, sources: SourcesOption = batches.SOURCES) -> None:
    """Write accepted densities that no batch holds yet as the next batch of catalog/sources, and what was refused."""
    state = runs.RunFolder(folder)
    known = batches.index(sources)
    new = [m for m in state.ids("accepted") if m not in known and not state.file("aside", m).exists()]
    entries = [entry for m in new if (entry := state.read("accepted", m)) is not None]
    others = [e["record"]["material_id"] for e in entries if e["record"].get("potentials")]
    if others and sources.resolve() == batches.SOURCES.resolve():
        raise runs.RunError(
            f"{others[0]} was computed with other potentials than the catalog has: give --sources a folder of its own"
        )
    name = batches.append([manager.batch_material(e) for e in entries], sources)
    print(f"{name}: {len(new)} materials" if name else "nothing to collect: every accepted density is in a batch")
    refused = refusals.add(refusals.of_run(state), sources)
    if refused:
        print(f"{refusals.FILE}: {refused} structures that gave no density")


@app.command()
def reproduce(
    n: Annotated[int, typer.Option(min=1, help="How many to recompute.")] = 5,
    only: Annotated[list[str] | None, typer.Option("--id", help="These instead; repeat the option.")] = None,
    seed: Annotated[int | None, typer.Option(help="For the same choice again.")] = None,
    cheapest: Annotated[int, typer.Option(min=0, help="Choose among this many cheapest; 0: among all.")] = 500,
    python: PythonOption = "/usr/bin/python3",
    worker: WorkerOption = None,
    code: CodeOption = codes.DEFAULT,
    setups: SetupsOption = None,
    time_limit: TimeOption = 3600,
    memory_limit: MemoryOption = 6,
    sources: SourcesOption = batches.SOURCES,
) -> None:
    """Recompute densities of the catalog and compare: within 1e-4 NMAE, old and new are one set."""
    dft = codes.REGISTRY.get(code)
    command = check_worker(dft, python, worker, setups)
    records = batches.index(sources)
    unknown = [m for m in only or () if m not in records]
    if unknown or not records:
        raise runs.RunError(f"no batch in {sources} holds {', '.join(unknown) or 'anything'}")
    if only:
        chosen = only
    else:
        pool = [r for r in records.values() if setups or not dft.LANTHANIDES.intersection(r["symbols"])]
        pool = sorted(pool, key=effort)[: cheapest or None]
        chosen = [r["material_id"] for r in random.Random(seed).sample(pool, min(n, len(pool)))]
    differing = 0
    limits = runs.Limits(time_limit, int(memory_limit * 1e9))
    with tempfile.TemporaryDirectory(prefix="chgdb-reproduce-") as folder:
        for material_id in chosen:
            line, same = reproduce_one(material_id, command, Path(folder), limits, setups, sources)
            print(f"{material_id:12} {records[material_id]['formula']:12} {line}", flush=True)
            differing += not same
    if differing:
        raise runs.RunError(f"{differing} of {len(chosen)} densities differ by {SAME:g} NMAE or more")


def reproduce_one(
    material_id: str, command: list[str], folder: Path, limits: runs.Limits, setups: Path | None, sources: Path
) -> tuple[str, bool]:
    """(what to print, whether it is the same density) of one material recomputed."""
    stored, grids = batches.load(material_id, sources)
    job, result = folder / f"{material_id}.json", folder / f"{material_id}.npz"
    record = {k: v for k, v in stored.items() if k != "payload"}
    job.write_text(json.dumps(job_of(record, stored.get("settings", {}), setups)))
    attempt = runs.LocalRun(command, job, result, limits)
    while (outcome := attempt.poll()) is None:
        time.sleep(0.1)
    if outcome.reason is not None:
        return f"{outcome.reason}: {outcome.detail}", False
    _, computed = manager.read_result(result)
    if {c: g.shape for c, g in computed.items()} != {c: g.shape for c, g in grids.items()}:
        return "other channels or another grid than stored", False
    scale = np.abs(grids["total"]).sum()  # for the magnetization too: its own sum may be nothing
    errors = {c: float(np.abs(computed[c] - g).sum() / scale) for c, g in grids.items()}
    text = ", ".join(f"{c} NMAE {e:.1e}" for c, e in errors.items())
    return f"{text}  ({outcome.wall_s:.0f} s)", max(errors.values()) < SAME


def effort(record: dict) -> float:
    """A rough measure of what computing a material costs."""
    return float(np.prod(record["grid"])) * record["n_electrons"] * record["n_kpoints_irreducible"]


if __name__ == "__main__":
    main(app)
