"""Runs commands of chgdb with a fault at one chosen step (see faults.c), each in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
#: The numbers of faults.c.
FAULTS = {
    "none": 0,
    "kill -9": 1,
    "disk full": 2,
    "read-only": 3,
    "no permission": 4,
    "one error": 5,
    "no network": 6,
}
#: Seconds after which a command counts as hanging.
PATIENCE = 120


@dataclass(frozen=True)
class Ended:
    """How a command ended. code: its exit code, or minus the signal. steps: "call path" of each step it took."""

    code: int
    out: str
    err: str
    steps: tuple[str, ...]


def in_order(lines: str) -> tuple[str, ...]:
    """What each step was ("call path"), from lines "step call path".

    Threads write them in any order, and one that has counted its step may be killed by another's before it writes.
    """
    found = {int(number): what for number, _, what in (line.partition(" ") for line in lines.splitlines())}
    return tuple(found.get(number, "(killed before it was written)") for number in range(1, max(found, default=0) + 1))


class Machine:
    """A process with chgdb imported, and with `faults` faults.c loaded, which is forked for every command.

    Raises `FileNotFoundError` where there is no C compiler, `NotImplementedError` where the system is not Linux.
    """

    def __init__(self, folder: Path, *, faults: bool = True) -> None:
        if not sys.platform.startswith("linux"):
            raise NotImplementedError("faults are injected with LD_PRELOAD, and processes forked")
        self._folder = folder
        variables = {**os.environ, "OMP_NUM_THREADS": "1"}
        if faults:
            compiler = shutil.which("cc") or shutil.which("gcc")
            if compiler is None:
                raise FileNotFoundError("cc")
            library = folder / "faults.so"
            options = ["-shared", "-fPIC", "-O1", "-Wall", "-Werror"]
            subprocess.run([compiler, *options, "-o", library, HERE / "faults.c", "-ldl"], check=True)
            variables["LD_PRELOAD"] = str(library)
        self._process = subprocess.Popen(
            [sys.executable, HERE / "server.py"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=variables, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            raise RuntimeError("the server of crash tests did not start")

    def run(
        self,
        arguments: Sequence[str],
        root: Path,
        fault: str = "none",
        step: int = 0,
        *,
        network: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> Ended:
        """Run `chgdb ARGUMENTS` in the folder `root` with a fault at a step, counted from 1, of those below `root`.

        network: steps are exchanges with servers instead.
        """
        files = {name: str(self._folder / name) for name in ("out", "err", "steps")}
        job = {
            "arguments": list(arguments), "root": str(root), "fault": FAULTS[fault], "step": step, "network": network,
            "environment": dict(environment or {}), "patience": PATIENCE, **files,
        }  # fmt: skip
        (code,) = self._codes([job])
        out, err, steps = (Path(files[name]).read_text(encoding="utf-8", errors="replace") for name in files)
        return Ended(code, out, err, in_order(steps.replace(str(root), "")))

    def run_together(
        self, commands: Sequence[Sequence[str]], delays: Sequence[float], root: Path, environment: Mapping[str, str]
    ) -> list[Ended]:
        """Run several commands in the folder `root` at the same time, each after its delay in seconds."""
        jobs = []
        for number, (arguments, delay) in enumerate(zip(commands, delays, strict=True)):
            files = {name: str(self._folder / f"{name}-{number}") for name in ("out", "err", "steps")}
            jobs.append({
                "arguments": list(arguments), "root": str(root), "fault": 0, "step": 0, "network": False,
                "environment": dict(environment), "patience": PATIENCE, "delay": delay, **files,
            })  # fmt: skip
        codes = self._codes(jobs)
        texts = [
            [Path(job[name]).read_text(encoding="utf-8", errors="replace") for name in ("out", "err")] for job in jobs
        ]
        return [Ended(code, out, err, ()) for code, (out, err) in zip(codes, texts, strict=True)]

    def _codes(self, jobs: Sequence[Mapping[str, Any]]) -> list[int]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(jobs) + "\n")
        self._process.stdin.flush()
        return [int(code) for code in self._process.stdout.readline().split()]

    def close(self) -> None:
        """End the process."""
        with self._process:  # waits for it, and closes both pipes
            pass
