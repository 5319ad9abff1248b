"""Cut every command that writes short at all of its steps; the number of points tried goes into docs/science/trust.md.

    python tests/crash/matrix.py                       one step of each kind (see scenarios.classes), every fault
    python tests/crash/matrix.py --every               every step: hours
    python tests/crash/matrix.py --groups build web --faults 'kill -9' --each 3

What was tried before for other commands stays in the table; the commands run now are counted anew. The exit code is 1
where anything was wrong.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "remote"), str(TESTS / "benchmarks"), str(TESTS / "crash")]

from codec_report import publish, table  # noqa: E402
from machine import FAULTS, Machine  # noqa: E402
from scenarios import GROUPS, Maker, Scenario, classes, inject, litter, place  # noqa: E402

SCIENCE = TESTS.parent / "docs" / "science"
NAME, PAGE = "crashes", "trust"


def chosen(scenario: Scenario, steps: Sequence[str], each: int | None) -> dict[str, list[int]]:
    """Steps to be tried with each fault: all, or of every kind so many, the first among them."""
    found: dict[str, list[int]] = {}
    for fault in scenario.faults:
        if each is None:
            found[fault] = list(range(1, len(steps) + 1))
            continue
        choice = random.Random(f"{scenario.name} {fault}")
        found[fault] = sorted(
            step
            for numbers in classes(steps).values()
            for step in [numbers[0], *choice.sample(numbers[1:], min(each - 1, len(numbers) - 1))]
        )
    return found


def run(scenario: Scenario, machine: Machine, folder: Path, each: int | None, faults: Sequence[str]) -> dict[str, Any]:
    """The points tried with one command, by fault, and what was wrong."""
    root = folder / "reference"
    scenario.start(root)
    ended = scenario.run(machine, root)
    assert ended.code == 0, ended.err
    assert scenario.state(root) == scenario.states[-1], scenario.name
    assert litter(root) == []
    shutil.rmtree(root)
    points: dict[str, int] = {}
    wrong: list[str] = []
    for fault, steps in chosen(scenario, ended.steps, each).items():
        if fault not in faults:
            continue
        for step in steps:
            wrong += inject(scenario, machine, folder / f"point-{fault.replace(' ', '-')}-{step}", fault, step)
            for line in wrong[-1:]:
                print("  ", line, flush=True)
        points[fault] = len(steps)
    return {"steps": len(ended.steps), "kinds": len(classes(ended.steps)), "points": points, "wrong": len(wrong)}


def report(results: dict[str, Any]) -> None:
    """The table and its numbers."""
    tried = [fault for fault in FAULTS if any(fault in found["points"] for found in results.values())]
    rows = [
        [name, found["steps"], *(found["points"].get(fault, "") for fault in tried), found["wrong"]]
        for name, found in results.items()
    ]
    total = [sum(found["points"].get(fault, 0) for found in results.values()) for fault in tried]
    steps, wrong = (sum(found[key] for found in results.values()) for key in ("steps", "wrong"))
    rows.append(["**all**", steps, *total, wrong])
    text = (
        f"{sum(total):,} points tried, {wrong} of them wrong.\n\n{table(['command', 'steps', *tried, 'wrong'], rows)}"
    )
    with redirect_stdout(io.StringIO()):  # it is still growing
        publish(SCIENCE, NAME, text, {"commands": results}, PAGE)


def main() -> None:
    parser = argparse.ArgumentParser(description="Cut every command that writes short at all of its steps.")
    parser.add_argument("--groups", nargs="+", choices=list(GROUPS), default=list(GROUPS))
    parser.add_argument("--only", default="", help="part of the commands' names")
    parser.add_argument("--faults", nargs="+", choices=list(FAULTS), default=list(FAULTS))
    parser.add_argument("--each", type=int, default=1, help="steps of every kind")
    parser.add_argument("--every", action="store_true", help="every step")
    options = parser.parse_args()
    before = SCIENCE / "data" / f"{PAGE}-{NAME}.json"
    results = json.loads(before.read_text())["commands"] if before.exists() else {}
    failed = False
    folder = Path(tempfile.mkdtemp(prefix="chgdb-crash-", dir=place(Path(tempfile.gettempdir()))))
    maker = Maker(folder)
    try:
        for group in options.groups:
            for scenario in maker.make(group).values():
                if options.only not in scenario.name:
                    continue
                start = time.monotonic()
                each = None if options.every else options.each
                found = run(scenario, maker.machine, folder, each, options.faults)
                failed |= bool(found["wrong"])
                points, seconds = sum(found["points"].values()), time.monotonic() - start
                print(f"{scenario.name}: {points} points, {found['wrong']} wrong, {seconds:.0f} s", flush=True)
                results[scenario.name] = found
                report(results)
    finally:
        maker.close()
        shutil.rmtree(folder)
    sys.exit(failed)


if __name__ == "__main__":
    main()
