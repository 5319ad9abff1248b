"""The loop of `compute.py`: keep workers busy, judge what they wrote, say how it goes."""

from __future__ import annotations

import base64
import binascii
import collections
import json
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from chgdb.errors import ChgdbError
from chgdb_catalog import batches
from chgdb_catalog.dft import checks, runs

REQUIRED = ("grid", "n_electrons", "charge", "energy_eV", "converged")  # of a worker's meta
COMPUTED = (  # what of it goes into a batch
    *("grid", "n_electrons", "charge", "energy_eV", "fermi_eV", "band_gap_eV", "spin_polarised"),
    *("magnetic_moment_muB", "n_kpoints_irreducible", "code"),
)


class BadResultError(ChgdbError, ValueError):
    """A worker's result file does not hold what it must."""


def read_result(path: Path) -> tuple[dict, dict[str, np.ndarray]]:
    """(meta, {channel: grid}) of a worker's result file; BadResultError when it is not one."""
    try:
        with np.load(path, allow_pickle=False) as z:
            meta = json.loads(z["meta"].tobytes())
            grids = {name: z[name] for name in z.files if name != "meta"}
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise BadResultError(f"{path.name}: {type(error).__name__}: {error}") from None
    missing = [k for k in REQUIRED if k not in meta] + [k for k in ("total",) if k not in grids]
    if missing:
        raise BadResultError(f"{path.name}: without {', '.join(missing)}")
    if any(list(g.shape) != list(meta["grid"]) for g in grids.values()):
        raise BadResultError(f"{path.name}: grids are not of the shape {meta['grid']} that it states")
    return meta, grids


def packed_grids(entry: dict) -> dict[str, np.ndarray]:
    """{channel: grid in e/A^3} of a file in `accepted` or `aside`."""
    shape = tuple(entry["meta"]["grid"])
    return {c: batches.unpack(base64.b64decode(data), shape, entry["step"]) for c, data in entry["packed"].items()}


def settle(folder: runs.RunFolder, record: dict, energies: checks.EnergyRange | None) -> tuple[str, str]:
    """Judge the raw result of a structure, pack it into `accepted` or `aside`; which, and a remark.

    Raises BadResultError for a file that is not a result.
    """
    material_id = record["material_id"]
    raw = folder.file("raw", material_id)
    meta, grids = read_result(raw)
    measures, reasons = checks.judge(record, meta, grids, energies)
    # The job says what was asked beyond the recipe; nothing, unless this was a second attempt.
    settings = (folder.read("jobs", material_id) or {}).get("settings", {})
    entry: dict[str, Any] = {"record": record, "settings": settings, "meta": meta, "checks": measures}
    if measures:  # else there is no number in it to pack
        packed, step = batches.pack_channels(grids)
        entry["step"] = step
        entry["packed"] = {channel: base64.b64encode(data).decode("ascii") for channel, data in packed.items()}
        scale = float(np.abs(grids["total"]).sum())
        change = max(float(np.abs(g - grids[c]).sum()) for c, g in packed_grids(entry).items()) / scale
        measures["packing_error"] = change
        if not change < checks.DEFAULT.packing:
            reasons.append(f"packing: NMAE {change:.1e}, limit {checks.DEFAULT.packing:.0e}")
    where = place(folder, material_id, entry, reasons)
    raw.unlink()
    return where, "; ".join(reasons)


def place(folder: runs.RunFolder, material_id: str, entry: dict, reasons: list[str]) -> str:
    """Write a judged entry to `accepted`, or with `reasons` to `aside`, and remove it from the other."""
    where, other = ("aside", "accepted") if reasons else ("accepted", "aside")
    entry.pop("reasons", None)
    folder.write(where, material_id, {**entry, "reasons": reasons} if reasons else entry)
    folder.file(other, material_id).unlink(missing_ok=True)
    return where


def rejudge(folder: runs.RunFolder, material_id: str, energies: checks.EnergyRange | None) -> tuple[str, str]:
    """Judge a packed density again, with today's checks; where it is now, and a remark."""
    entry = folder.read("accepted", material_id) or folder.read("aside", material_id)
    if entry is None:
        raise runs.RunError(f"{folder.path} holds no density of {material_id}")
    if "packed" not in entry:
        return "aside", "; ".join(entry["reasons"])
    packing = entry["checks"].get("packing_error")
    entry["checks"], reasons = checks.judge(entry["record"], entry["meta"], packed_grids(entry), energies)
    if packing is not None:
        entry["checks"]["packing_error"] = packing
        if not packing < checks.DEFAULT.packing:
            reasons.append(f"packing: NMAE {packing:.1e}, limit {checks.DEFAULT.packing:.0e}")
    return place(folder, material_id, entry, reasons), "; ".join(reasons)


def batch_material(entry: dict) -> tuple[dict, dict[str, bytes], float]:
    """What `batches.append` takes, from a file in `accepted`."""
    record, meta = entry["record"], entry["meta"]
    line = {k: record[k] for k in ("material_id", "formula", "space_group", "cell", "symbols", "frac") if k in record}
    line |= {k: meta[k] for k in COMPUTED if k in meta}
    line["structure_source"] = record.get("structure_source", "own")
    asked = entry.get("settings", {})
    if asked:
        line["settings"] = asked
    if "potentials" in record:
        line["potentials"] = record["potentials"]
    try:
        packed = {channel: base64.b64decode(data, validate=True) for channel, data in entry["packed"].items()}
    except binascii.Error as error:
        raise runs.RunError(f"{record['material_id']}: its packed density is damaged ({error})") from None
    return line, packed, entry["step"]


class Reporter:
    """Where a run says how it goes: one line per event in `log` and on the screen, and a bar on a terminal."""

    def __init__(self, log: Path, total_cost: float, total: int, console: Console | None = None):
        self.log, self.console = log, console or Console(highlight=False)
        self.total_cost, self.started = max(total_cost, 1e-9), time.monotonic()
        self.done_cost, self.done = 0.0, 0
        self.bar = Progress(
            TextColumn("{task.fields[counts]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.task = self.bar.add_task("", total=total, counts="", rate="")

    def __enter__(self) -> Reporter:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def say(self, text: str) -> None:
        line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}"
        with open(self.log, "a", encoding="utf-8") as f:
            f.write(line + "\n")
        self.console.print(line, markup=False, soft_wrap=True)

    def advance(self, cost: float, counts: dict[str, int], computed: bool = True) -> None:
        """One structure less to do; `cost` in the queue's unit, `computed` if this run did the work."""
        self.total_cost -= 0.0 if computed else cost
        if computed:
            self.done_cost += cost
            self.done += 1
        text = ", ".join(f"{n} {what}" for what, n in counts.items() if n)
        self.bar.update(self.task, advance=1, counts=text, rate=self.rate())

    def rate(self) -> str:
        """Structures per hour so far, and the time left if what is left costs what it is said to cost."""
        hours = (time.monotonic() - self.started) / 3600
        if not self.done_cost:
            return ""
        left = hours * max(self.total_cost - self.done_cost, 0) / self.done_cost
        return f"{self.done / hours:.0f}/h, {left:.1f} h left"


class Manager:
    """Keeps structures running until nothing is left that this manager can do.

    `code` is a module of `codes`; `start(record, settings, claim)` begins an attempt and returns a `LocalRun` or
    `DaskRun`; `slots()` says how many may run at a time; `judge(record)` settles the raw result of a structure.
    """

    def __init__(
        self,
        folder: runs.RunFolder,
        records: list[dict],
        code: ModuleType,
        start: Callable[[dict, dict, runs.Claim], Any],
        slots: Callable[[], int],
        judge: Callable[[dict], tuple[str, str]],
        reporter: Reporter,
    ):
        self.folder, self.code, self.start, self.slots = folder, code, start, slots
        self.judge, self.reporter = judge, reporter
        self.pending = {r["material_id"]: r for r in records}
        # A structure that failed comes back after the others: its second attempt takes many times as long as a first.
        self.late = {m for m in self.pending if folder.attempts(m)}
        self.running: dict[str, tuple[Any, runs.Claim, dict]] = {}
        self.counts: collections.Counter[str] = collections.Counter()
        self.stopping = self.was_paused = False

    def step(self) -> bool:
        """Collect what has ended, start what there is room for; False when all is done."""
        for material_id in list(self.running):
            self._collect(material_id)
        paused = self.folder.paused()
        if paused != self.was_paused:
            self.was_paused = paused
            self.reporter.say("paused: no new structure is started" if paused else "going on")
        room = 0 if paused or self.stopping else self.slots() - len(self.running)
        while room > 0 and self._start_next():
            room -= 1
        return bool(self.running) or (bool(self.pending) and not self.stopping)

    def kill(self) -> None:
        """End every worker of this manager; their structures stay to be done."""
        for run, claim, _ in self.running.values():
            run.kill()
            claim.release()
        self.running.clear()
        self.stopping = True

    def _collect(self, material_id: str) -> None:
        run, claim, settings = self.running[material_id]
        outcome = run.poll()
        if outcome is None:
            return
        record = self.pending[material_id]
        if outcome.reason is None:
            outcome = self._settle(record, outcome)
        if outcome.reason is not None:
            self.folder.record_failure(record, settings, outcome)
            self.reporter.say(f"{self._name(material_id)}: {outcome.reason}: {outcome.detail}")
            self.late.add(material_id)
            if runs.given_up(self.folder.attempts(material_id)):
                self._done(material_id, "failed", outcome.reason)
        run.clean()
        del self.running[material_id]
        claim.release()

    def _settle(self, record: dict, outcome: runs.Outcome) -> runs.Outcome:
        """Judge a result; the outcome, which is a failure when the result cannot be read."""
        try:
            where, remark = self.judge(record)
        except BadResultError as error:
            self.folder.file("raw", record["material_id"]).unlink(missing_ok=True)
            return runs.Outcome("bad result", str(error), outcome.wall_s)
        self._done(record["material_id"], where, remark or f"{outcome.wall_s:.0f} s")
        return outcome

    def _done(self, material_id: str, how: str, note: str) -> None:
        name = self._name(material_id)
        self.counts[how] += 1
        self.reporter.advance(self.code.expected(self.pending.pop(material_id)), self.counts)
        self.reporter.say(f"{name}: {how} ({note}); {len(self.pending)} to do, {self.reporter.rate()}")

    def _name(self, material_id: str) -> str:
        return f"{material_id} {self.pending[material_id].get('formula', '')}".strip()

    def _start_next(self) -> bool:
        waiting = [m for m in self.pending if m not in self.running]
        in_order = [m for m in waiting if m not in self.late] + [m for m in waiting if m in self.late]
        return any(self._try_start(m) for m in in_order)

    def _try_start(self, material_id: str) -> bool:
        claim = self.folder.claim(material_id)
        if claim is None:
            return False
        record = self.pending[material_id]
        if self.folder.finished(material_id):  # by another manager
            del self.pending[material_id]
            self.folder.file("raw", material_id).unlink(missing_ok=True)
            self.reporter.advance(self.code.expected(record), self.counts, computed=False)
            claim.release()
            return False
        # A raw result was left by a manager that was killed before judging it.
        found = self.folder.file("raw", material_id).exists()
        if found and self._settle(record, runs.Outcome(None, wall_s=0)).reason is None:
            runs.clean_beside(self.folder.file("raw", material_id))
            claim.release()
            return False
        settings = self.code.next_settings(record, self.folder.attempts(material_id))
        self.running[material_id] = (self.start(record, settings, claim), claim, settings)
        return True
