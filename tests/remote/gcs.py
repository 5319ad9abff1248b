"""A server of Google Cloud Storage on loopback (gcp-storage-emulator), without credentials."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from aio_sessions import close, open_sessions
from nginx import free_port, wait_for

_RUN = "import sys; from gcp_storage_emulator.__main__ import main; main(sys.argv[1:])"


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
        self._others = open_sessions()
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
        """Close the sessions that gcsfs has opened since `environment`."""
        import gcsfs

        close(open_sessions() - self._others, gcsfs.GCSFileSystem)
        self._others.clear()

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()
