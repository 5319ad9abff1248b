"""Structures that gave no density for the catalog, and why: `sources/refused.jsonl`.

One line for each: `material_id`, `formula`, `how` ("set aside" by a check, "failed" in both attempts, "failed once"),
`reason` in a few words that can be counted, and `detail`.  Lines are only ever added; of several for one structure the
last one counts.  A density that is in a batch after all is not refused.  So a queue that starts on another machine does
not try in vain what was tried before (`compute.py run --retry-failed` does), makes only the second attempt at what
failed once, and the datasheet can say what is missing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from chgdb_catalog import batches
from chgdb_catalog.dft import runs

FILE = "refused.jsonl"
FAILED_ONCE = "failed once"


def of_run(state: runs.RunFolder) -> list[dict]:
    """What a run folder refused, or failed at once, by id."""
    found = []
    for material_id in sorted({*state.ids("aside"), *state.ids("failed")}):
        entry = state.read("aside", material_id)
        if entry is not None:
            reasons = entry["reasons"]
            found.append(_line(entry["record"], "set aside", reasons[0].split(":")[0], "; ".join(reasons)))
            continue
        attempts = state.attempts(material_id)
        job = state.read("jobs", material_id)
        if job is not None and attempts and not state.file("accepted", material_id).exists():
            last, how = attempts[-1], "failed" if runs.given_up(attempts) else FAILED_ONCE
            found.append(_line(job["record"], how, last["reason"], last["detail"]))
    return found


def given_up(entries: Iterable[dict]) -> set[str]:
    """Ids of those that are not tried again: all but what failed only once."""
    return {entry["material_id"] for entry in entries if entry["how"] != FAILED_ONCE}


def remember(state: runs.RunFolder, records: list[dict], refused: dict[str, dict]) -> None:
    """Let a run folder know which of its structures failed once elsewhere: they come last, and with safer settings."""
    for record in records:
        entry = refused.get(record["material_id"])
        if entry is not None and entry["how"] == FAILED_ONCE and not state.attempts(record["material_id"]):
            state.record_failure(record, {}, runs.Outcome(entry["reason"], str(entry.get("detail", ""))))


def _line(record: dict, how: str, reason: str, detail: str) -> dict:
    named = {"material_id": record["material_id"], "formula": record.get("formula", "")}
    return {**named, "how": how, "reason": reason, "detail": detail}


def index(folder: Path = batches.SOURCES) -> dict[str, dict]:
    """material_id -> what was refused and is in no batch of `folder`.  BatchError for a damaged file."""
    path = Path(folder) / FILE
    if not path.exists():
        return {}
    accepted = batches.index(folder)
    found = {}
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            found[entry["material_id"]] = {**entry, "how": str(entry["how"]), "reason": str(entry["reason"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise batches.BatchError(f"{path}: not a list of refused structures, or damaged: {error}") from None
    return {material_id: entry for material_id, entry in found.items() if material_id not in accepted}


def add(entries: list[dict], folder: Path = batches.SOURCES) -> int:
    """Append what is not there yet, word for word; how many that were."""
    known = index(folder)
    new = [e for e in entries if known.get(e["material_id"]) != e]
    if new:
        path = Path(folder) / FILE
        before = path.read_bytes() if path.exists() else b""
        lines = "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in new)
        batches.write_atomically(path, before + lines.encode())
    return len(new)


def counts(folder: Path = batches.SOURCES) -> list[tuple[str, str, int]]:
    """(how, reason, number of structures), the most frequent first."""
    counted = Counter((entry["how"], entry["reason"]) for entry in index(folder).values())
    return [(how, reason, number) for (how, reason), number in counted.most_common()]
