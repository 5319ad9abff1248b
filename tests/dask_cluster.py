"""A real Dask scheduler and its workers, each a process of its own that a test may kill."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

#: A task that kills three workers is given up.
_SETTINGS = {"DASK_DISTRIBUTED__LOGGING__DISTRIBUTED": "error", "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "2"}


class Cluster:
    """A scheduler without workers; `add_worker` starts one. Every process ends with `close`."""

    def __init__(self, folder: Path, *python_path: str | Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        path = os.pathsep.join([*map(str, python_path), os.environ.get("PYTHONPATH", "")])
        self._environment = os.environ | _SETTINGS | {"PYTHONPATH": path}
        file = folder / "scheduler.json"
        where = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)]
        self.scheduler = self._start("scheduler", *where)
        self.workers: list[subprocess.Popen[bytes]] = []
        end = time.monotonic() + 60
        while True:
            try:
                self.address = str(json.loads(file.read_text())["address"])
                return
            except (FileNotFoundError, ValueError):
                if time.monotonic() > end or self.scheduler.poll() is not None:
                    self.close()
                    raise RuntimeError((folder / "scheduler.log").read_text()) from None
                time.sleep(0.05)

    def _start(self, kind: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-W", "ignore", "-m", f"distributed.cli.dask_{kind}", *arguments]
        with open(self._folder / f"{kind}.log", "ab") as log:
            return subprocess.Popen(command, env=self._environment, stdout=log, stderr=log, cwd=self._folder)

    def add_worker(self) -> subprocess.Popen[bytes]:
        """A worker of one thread that nobody starts again when it dies."""
        local = ["--host", "127.0.0.1", "--local-directory", str(self._folder / "workers"), "--no-dashboard"]
        worker = self._start("worker", self.address, "--nthreads", "1", "--no-nanny", *local)
        self.workers.append(worker)
        return worker

    def grow(self, count: int) -> None:
        """Start workers until so many live."""
        for _ in range(count - len(self.living())):
            self.add_worker()

    def living(self) -> list[subprocess.Popen[bytes]]:
        return [worker for worker in self.workers if worker.poll() is None]

    def close(self) -> None:
        for process in [*self.workers, self.scheduler]:
            process.kill()
        for process in [*self.workers, self.scheduler]:
            process.wait()
