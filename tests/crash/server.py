"""The process that `machine` forks for every command: reads jobs from standard input, a list of them a line, runs those
of one line at the same time, and answers with their exit codes. All modules that commands import are imported once,
here."""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import pkgutil
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

#: Imported with all modules in them, but for those of `_LEFT_OUT`.
PACKAGES = ("chgdb", "chgdb_cli")
_LEFT_OUT = ("chgdb.web", "chgdb.testing")
MODULES = ("zarr", "numcodecs", "spglib", "scipy.fft", "ssl", "http.client", "multiprocessing.pool")
#: Of packages that need not be installed.
OPTIONAL = ("torch", "matplotlib.figure", "matplotlib.backends.backend_agg", "s3fs", "safetensors.numpy")


def modules() -> Iterator[str]:
    """Names of all modules of the packages; some need what is not installed."""
    for name in PACKAGES:
        package = importlib.import_module(name)
        for found in pkgutil.walk_packages(package.__path__, f"{name}.", onerror=lambda _: None):
            if not found.name.startswith(_LEFT_OUT):
                yield found.name


def command(job: dict[str, Any]) -> int:
    """Run one command in this process, which ends after it; its exit code."""
    os.environ.update(job["environment"])
    for number, name, flags in ((0, os.devnull, os.O_RDONLY), (1, job["out"], 0), (2, job["err"], 0)):
        handle = os.open(name, flags or os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, number)
        os.close(handle)
    os.chdir(job["root"])
    sys.argv = ["chgdb", *job["arguments"]]
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    arm = getattr(ctypes.CDLL(None), "faults_arm", None)
    if arm is not None:  # the library is loaded
        arm.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_char_p]
        arm.restype = None
        arm(os.fsencode(job["root"]), job["network"], job["fault"], job["step"], os.fsencode(job["steps"]))
    from chgdb_cli.main import run

    time.sleep(job.get("delay", 0.0))
    try:
        run()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    sys.stderr.flush()
    return code


def predicts(job: dict[str, Any]) -> bool:
    return "--predict" in job["arguments"] or job["arguments"][:1] == ["predict"]


def get_ready_to_predict() -> None:
    """Load the served model and its tables here, where every fork has them: that takes longer than a prediction."""
    import chgdb

    chgdb.predict(chgdb.open()["mp-149"].density)


def start(job: dict[str, Any]) -> int:
    """Number of a process of its own that runs a command."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            signal.alarm(job["patience"])
            code = command(job)
        finally:
            os._exit(code)
    return child


def main() -> None:
    warnings.simplefilter("default")
    for name in MODULES:
        importlib.import_module(name)
    for name in (*OPTIONAL, *modules()):
        with suppress(ImportError), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of names that have moved
            importlib.import_module(name)
    from chgdb.remote import transport

    transport._FIRST_PAUSE = 0.01
    assert threading.active_count() == 1, "threads do not survive a fork"
    print("ready", flush=True)
    ready = False
    for line in sys.stdin:
        jobs = json.loads(line)
        if not ready and any(map(predicts, jobs)):
            get_ready_to_predict()
            ready = True
        children = [start(job) for job in jobs]
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        print(*codes, flush=True)


if __name__ == "__main__":
    main()
