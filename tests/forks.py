"""Processes in which chgdb is imported already: forks of one that is started once, since imports take a second each.

For tests of what a process leaves behind when it is killed, or does beside another one; where the start of a program
is tested, it is started.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path

#: Imported before any fork, as far as these modules start no threads.
_MODULES = ("chgdb.ingest", "chgdb.codecs.fourier", "chgdb.promolecule", "chgdb.store.writer", "zarr", "numcodecs",
            "numcodecs.blosc", "zarr.codecs", "spglib", "scipy.fft", "materials")  # fmt: skip


class Fork:
    """A running program, with the methods of `subprocess.Popen` that tests need."""

    def __init__(self, server: subprocess.Popen[str], pid: int) -> None:
        self._server, self.pid, self.returncode = server, pid, None

    def poll(self) -> int | None:
        """Exit code, or minus the signal; None while it runs."""
        if self.returncode is None:
            self.returncode = _ask(self._server, {"pid": self.pid})
        return self.returncode

    def wait(self) -> int:
        while (code := self.poll()) is None:
            time.sleep(0.005)
        return code

    def kill(self) -> None:
        if self.returncode is None:  # its number is its own until the server has been asked for its end
            os.kill(self.pid, signal.SIGKILL)


def start(program: str, arguments: Sequence[object], *, quiet: bool = False) -> Fork:
    """Run the text of a program with `sys.argv[1:]`. quiet: without standard error."""
    job = {"program": program, "arguments": [str(argument) for argument in arguments], "quiet": quiet}
    return Fork(_server(), _ask(_server(), job))


@cache
def _server() -> subprocess.Popen[str]:
    command = [sys.executable, __file__]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(server.communicate)  # closes its standard input, at which it ends
    return server


def _ask(server: subprocess.Popen[str], job: dict[str, object]) -> int:
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(json.dumps(job) + "\n")
    server.stdin.flush()
    return json.loads(server.stdout.readline())


def _run(job: dict) -> int:
    """In the child: standard output is not the server's, and a program's end is an exit code."""
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    os.dup2(0 if job["quiet"] else 2, 2)
    os.dup2(2, 1)
    sys.argv = ["-", *job["arguments"]]
    try:
        exec(compile(job["program"], "<fork>", "exec"), {"__name__": "__main__"})
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        return 1
    return 0


def _serve() -> None:
    for module in _MODULES:
        importlib.import_module(module)
    assert threading.active_count() == 1, "threads do not survive a fork"
    for line in sys.stdin:
        job = json.loads(line)
        if "pid" in job:
            pid, status = os.waitpid(job["pid"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        elif (answer := os.fork()) == 0:
            code = 99
            try:
                code = _run(job)
                sys.stderr.flush()
            finally:
                os._exit(code)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    _serve()
