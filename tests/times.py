"""Where the time of the tests goes: `python tests/times.py [--rows FILE] [--write] [arguments of pytest]`.

Runs pytest and prints a table with a row for each folder, most CPU time first: how many tests, seconds of CPU of the
tests and of the processes that they started, seconds on the clock, and the test that takes most. CPU time says the same
on a busy machine; what only the clock shows is waiting. With `--rows` rooms can be measured one after the other.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).resolve().parents[1] / "CONTRIBUTING.md"
#: The tables of the page: of the quick tests, and of the whole suite.
_TABLE = r"(<!-- {} -->\n).*?(<!-- end -->)"
_QUICK, _WHOLE = "tests/times.py", "tests/times.py, whole suite"

#: Seconds of CPU and on the clock of each test.
taken: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])


def _cpu() -> float:
    """Seconds of CPU of this process and of those that it started and that have ended."""
    return sum(os.times()[:4])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    item.stash[_STARTED] = _cpu()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    report = yield
    report.cpu = _cpu() - item.stash[_STARTED]
    item.stash[_STARTED] += report.cpu
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    row = taken[report.nodeid]
    row[0] += report.cpu
    row[1] += report.duration


_STARTED = pytest.StashKey[float]()


def table(times: dict[str, list[float]]) -> str:
    """The table in Markdown."""
    rooms: dict[str, list[str]] = defaultdict(list)
    for test in times:
        folder, _, _ = test.removeprefix("tests/").partition("::")[0].rpartition("/")
        rooms[folder or "(files of `tests/`)"].append(test)
    lines = ["| folder | tests | CPU, s | clock, s | the longest test, CPU, s |", "| --- | ---: | ---: | ---: | --- |"]
    for room, tests in sorted(rooms.items(), key=lambda pair: -sum(times[test][0] for test in pair[1])):
        longest = max(tests, key=lambda test: times[test][0])
        cpu, clock = (sum(times[test][column] for test in tests) for column in (0, 1))
        name = re.sub(r"\[.*", "", longest.rpartition("::")[2])
        lines.append(f"| {room} | {len(tests)} | {cpu:.0f} | {clock:.0f} | `{name}` {times[longest][0]:.1f} |")
    cpu, clock = (sum(row[column] for row in times.values()) for column in (0, 1))
    lines.append(f"| all | {len(times)} | {cpu:.0f} | {clock:.0f} | |")
    return "\n".join(lines) + "\n"


def pytest_sessionfinish(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput"):
        Path(os.environ["CHGDB_TEST_TIMES"]).write_text(json.dumps(taken), encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description="Where the time of the tests goes.")
    parser.add_argument(
        "--rows", type=Path, help="JSON with the times of earlier runs, to which those of this run are added"
    )
    parser.add_argument(
        "--write",
        action="store_true",
        help="put the table into CONTRIBUTING.md: with -m quick the first, else the second",
    )
    parser.epilog = "Other arguments are those of pytest."
    options, arguments = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder, "times.json")
        places = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {"PYTHONPATH": os.pathsep.join(places), "CHGDB_TEST_TIMES": str(rows)}
        command = [sys.executable, "-m", "pytest", "-p", "times", *arguments]
        status = subprocess.run(command, env=os.environ | environment, check=False).returncode
        times = json.loads(rows.read_text(encoding="utf-8"))
    if options.rows is not None:
        earlier = json.loads(options.rows.read_text(encoding="utf-8")) if options.rows.exists() else {}
        times = earlier | times
        options.rows.write_text(json.dumps(times), encoding="utf-8")
    found = table(times)
    print(found)
    if options.write:
        page = PAGE.read_text(encoding="utf-8")
        place = re.compile(_TABLE.format(_QUICK if "quick" in arguments else _WHOLE), re.DOTALL)
        PAGE.write_text(place.sub(lambda marks: marks[1] + found + marks[2], page), encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main())
