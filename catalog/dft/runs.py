"""The run folder of `compute.py`: what is done, what is claimed, and how one structure is run.

    RUN/jobs/<id>.json        what the worker process was asked for
    RUN/raw/<id>.npz          what it wrote, until it has been judged
    RUN/accepted/<id>.json    a density that passed every check, packed
    RUN/aside/<id>.json       the same for one that did not, with `reasons`
    RUN/failed/<id>.json      every attempt that gave no density, with its reason
    RUN/claims/<id>.lock      held (flock) by whoever computes the structure
    RUN/pause                 while this exists no new structure is started
    RUN/log                   one line per event

Every result appears complete or not at all.  A claim is a lock that the kernel drops when its last holder dies, and the
worker process holds it too: after `kill -9` of the manager a structure is free again exactly when its worker is gone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import resource
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chgdb.errors import ChgdbError
from chgdb_catalog.batches import write_atomically

NEVER_RETRIED = {"no setup"}
FOLDERS = ("jobs", "raw", "accepted", "aside", "failed", "claims")


class RunError(ChgdbError, RuntimeError):
    """Something about a run that the user can mend; the message is one line."""


@dataclass(frozen=True)
class Limits:
    """What one attempt may use: wall-clock seconds, and bytes of address space."""

    seconds: float
    memory_bytes: int


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended: `reason` is None for a density, else a few words that can be counted."""

    reason: str | None
    detail: str = ""
    wall_s: float = 0.0


@dataclass(frozen=True)
class Claim:
    """A held lock on one structure; `release` gives it up unless a worker process still holds it as well."""

    fd: int

    def release(self) -> None:
        os.close(self.fd)


class RunFolder:
    """The state of a queue on disk.  Every question is answered from the files, so managers can share a folder."""

    def __init__(self, path: Path):
        self.path = Path(path).absolute()
        try:
            for name in FOLDERS:
                (self.path / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"cannot use {path} as a run folder: {error.strerror}") from None

    def file(self, folder: str, material_id: str) -> Path:
        suffix = {"raw": ".npz", "claims": ".lock"}.get(folder, ".json")
        return self.path / folder / f"{material_id}{suffix}"

    def read(self, folder: str, material_id: str) -> dict | None:
        """The content of a file, None where there is none."""
        try:
            return json.loads(self.file(folder, material_id).read_text())
        except FileNotFoundError:
            return None

    def write(self, folder: str, material_id: str, value: dict) -> None:
        write_atomically(self.file(folder, material_id), json.dumps(value).encode())

    def ids(self, folder: str) -> list[str]:
        suffix = self.file(folder, "x").suffix
        return sorted(p.name.removesuffix(suffix) for p in (self.path / folder).glob(f"[!.]*{suffix}"))

    def attempts(self, material_id: str) -> list[dict]:
        """The failed attempts at a structure so far, oldest first."""
        return (self.read("failed", material_id) or {"attempts": []})["attempts"]

    def finished(self, material_id: str) -> bool:
        """True when nothing is left to do: accepted, set aside, or failed for good."""
        if self.file("accepted", material_id).exists() or self.file("aside", material_id).exists():
            return True
        return given_up(self.attempts(material_id))

    def record_failure(self, record: dict, settings: dict, outcome: Outcome) -> None:
        material_id = record["material_id"]
        value = self.read("failed", material_id) or {"material_id": material_id, "attempts": []}
        attempt = {"reason": outcome.reason, "detail": outcome.detail, "wall_s": round(outcome.wall_s, 1)}
        value["attempts"].append({**attempt, "settings": settings})
        self.write("failed", material_id, value)

    def forget_failures(self, material_id: str) -> None:
        """Let a structure that was given up be tried again; what went wrong stays on file as `earlier`."""
        value = self.read("failed", material_id)
        if value and given_up(value["attempts"]):
            earlier = value.get("earlier", []) + value["attempts"]
            self.write("failed", material_id, {**value, "attempts": [], "earlier": earlier})

    def paused(self) -> bool:
        return (self.path / "pause").exists()

    def claim(self, material_id: str) -> Claim | None:
        """The claim on a structure, None while another process holds it."""
        fd = os.open(self.file("claims", material_id), os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        return Claim(fd)


def given_up(attempts: list[dict]) -> bool:
    """True when failed attempts leave nothing to try: two of them, or one that no setting can mend."""
    return len(attempts) >= 2 or any(a["reason"] in NEVER_RETRIED for a in attempts)


def clean_beside(result: Path) -> None:
    """Remove what a worker left beside its result file: logs, half-written files."""
    for path in result.parent.glob(f"{result.name}.*"):
        path.unlink(missing_ok=True)


class LocalRun:
    """One attempt in a process of its own, `command JOB.json RESULT.npz`, polled by the manager.

    The worker's stdout and stderr go to `RESULT.npz.out`.  It may write `RESULT.npz.failure.json` with `reason` and
    `detail`; otherwise its exit status is the reason.  `claim_fd` is a lock for the worker to share.
    """

    def __init__(self, command: list[str], job: Path, result: Path, limits: Limits, claim_fd: int | None = None):
        self.result, self.limits, self.started = result, limits, time.monotonic()
        self.timed_out = False
        self.clean()
        result.unlink(missing_ok=True)
        # Densities are small and many: one thread per process, several processes, is what is fast.
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        env.pop("PYTHONPATH", None)  # ours is for another interpreter
        with open(f"{result}.out", "wb") as out:
            self.process = subprocess.Popen(
                [*command, str(job), str(result)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=env,
                pass_fds=() if claim_fd is None else (claim_fd,),
                start_new_session=True,  # a Ctrl-C at the manager's terminal lets the worker finish
            )
        # Set from outside: a preexec_fn is unsafe once the progress display has started a thread.
        # The CPU limit ends a worker whose manager was killed and so watches no clock.
        cpu = int(limits.seconds * 1.2) + 60
        with contextlib.suppress(ProcessLookupError):  # it may already have ended
            resource.prlimit(self.process.pid, resource.RLIMIT_AS, (limits.memory_bytes,) * 2)
            resource.prlimit(self.process.pid, resource.RLIMIT_CPU, (cpu, cpu + 10))

    def poll(self) -> Outcome | None:
        """The outcome, None while the process runs; kills it past its time limit."""
        wall = time.monotonic() - self.started
        status = self.process.poll()
        if status is None and wall > self.limits.seconds:
            self.timed_out = True
            self.kill()
            status = self.process.wait()
        return None if status is None else self._outcome(status, wall)

    def kill(self) -> None:
        """End the worker and whatever it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def _outcome(self, status: int, wall: float) -> Outcome:
        if self.result.exists():
            return Outcome(None, wall_s=wall)
        if self.timed_out or status == -signal.SIGXCPU:
            return Outcome("time", f"more than {self.limits.seconds:g} s", wall)
        failure = Path(f"{self.result}.failure.json")
        if failure.exists():
            told = json.loads(failure.read_text())
            return Outcome(str(told["reason"]), str(told["detail"]), wall)
        last = Path(f"{self.result}.out").read_text(errors="replace").strip().splitlines()[-1:]
        how = f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit code {status}"
        starved = any("MemoryError" in line or "allocate" in line for line in last)
        return Outcome("memory" if starved else "crash", ": ".join([how, *last])[:500], wall)

    def clean(self) -> None:
        """Remove what the attempt left beside its result."""
        clean_beside(self.result)


def run_remotely(command: list[str], job: dict, seconds: float, memory_bytes: int) -> tuple[dict, bytes]:
    """One attempt on a Dask worker: (fields of its Outcome, content of the result file)."""
    with tempfile.TemporaryDirectory(prefix="chgdb-") as folder:
        job_file, result = Path(folder, "job.json"), Path(folder, "result.npz")
        job_file.write_text(json.dumps(job))
        attempt = LocalRun(command, job_file, result, Limits(seconds, memory_bytes))
        while (outcome := attempt.poll()) is None:
            time.sleep(0.2)
        return dataclasses.asdict(outcome), result.read_bytes() if outcome.reason is None else b""


class DaskRun:
    """One attempt on a Dask cluster, with the interface of `LocalRun`; the result comes back to the manager's disk."""

    def __init__(self, client: Any, command: list[str], job: Path, result: Path, limits: Limits):
        self.result = result
        content = json.loads(job.read_text())
        # pure=False: a retry of the same structure is a new task, not a remembered one
        self.future = client.submit(
            run_remotely, command, content, limits.seconds, limits.memory_bytes, pure=False, retries=0
        )

    def poll(self) -> Outcome | None:
        """The outcome, None while the task waits or runs."""
        if not self.future.done():
            return None
        if self.future.status != "finished":
            error = self.future.exception() if self.future.status == "error" else None
            return Outcome("cluster", f"{self.future.status}: {type(error).__name__}: {error}"[:500])
        fields, content = self.future.result()
        outcome = Outcome(**fields)
        if outcome.reason is None:
            write_atomically(self.result, content)
        return outcome

    def kill(self) -> None:
        self.future.cancel()

    def clean(self) -> None:
        """Nothing is left behind on this machine."""
