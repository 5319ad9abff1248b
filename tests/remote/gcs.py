"""A server of Google Cloud Storage on loopback (gcp-storage-emulator), without credentials."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from nginx import free_port, wait_for

_RUN = "import sys; from gcp_storage_emulator.__main__ import main; main(sys.argv[1:])"


def _sessions() -> set[Any]:
    """All open sessions of aiohttp. By their type: `isinstance` asks every object for its class, and some then warn."""
    import aiohttp

    return {o for o in gc.get_objects() if issubclass(type(o), aiohttp.ClientSession) and not o.closed}


class GcsServer:
    """The emulator with its objects in memory; anybody may do anything."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-W", "ignore", "-c", _RUN, "start", "--host", "127.0.0.1", "--port", str(self.port)]
        with open(folder / "gcs.log", "wb") as log:
            self.process = subprocess.Popen([*command, "--in-memory"], stdout=log, stderr=log)
        wait_for(self.port, self.process, 60)
        self._buckets = 0
        self._others: set[Any] = set()

    def environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Set the variable that Google's tools and gcsfs read, and forget file systems made without it."""
        import gcsfs

        gcsfs.GCSFileSystem.clear_instance_cache()
        self._others = _sessions()
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", self.endpoint)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", os.devnull)

    def bucket(self) -> str:
        self._buckets += 1
        name = f"bucket-{self._buckets}"
        body = json.dumps({"name": name}).encode()
        address = f"{self.endpoint}/storage/v1/b?project=none"
        request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
        urllib.request.urlopen(request).close()
        return name

    def forget(self) -> None:
        """Close the sessions that gcsfs has opened since `environment` and leaves to the garbage collector, whose
        warnings would come in the middle of another test."""
        import gcsfs

        for session in _sessions() - self._others:
            if session._connector is not None:
                session._connector._close()
        self._others.clear()
        gcsfs.GCSFileSystem.clear_instance_cache()
        gc.collect()

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()
