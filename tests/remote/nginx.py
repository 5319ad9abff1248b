"""A real nginx on loopback that serves a folder, and what it was asked."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

CONFIG = """\
daemon off;
master_process off;
error_log {folder}/error.log;
pid {folder}/pid;
events {{ worker_connections 256; }}
http {{
    types {{ {types} }}
    default_type application/octet-stream;
    log_format counted '$request_method $uri $status $request_length $bytes_sent "$http_range" "$http_if_none_match"';
    access_log {folder}/access.log counted;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 100000;
    server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""


@dataclass(frozen=True)
class Request:
    """A line of the access log; `received` and `sent` count the bytes of both ends, headers included."""

    method: str
    path: str
    status: int
    received: int
    sent: int
    range: str


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int, process: subprocess.Popen[bytes], seconds: float = 20) -> None:
    """Until a server listens. Raises `RuntimeError` where its process ends before."""
    end = time.monotonic() + seconds
    while True:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args} ended with code {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > end:
                process.terminate()
                raise
            time.sleep(0.02)


class Nginx:
    """nginx serving `root`; raises `FileNotFoundError` if nginx is not installed.

    types: what browsers are told of files by their endings, as nginx wants it.
    """

    def __init__(self, root: Path, folder: Path, types: str = "") -> None:
        program = shutil.which("nginx", path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")
        if program is None:
            raise FileNotFoundError("nginx")
        folder.mkdir(parents=True, exist_ok=True)
        self.root = root
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = folder / "access.log"
        (folder / "nginx.conf").write_text(CONFIG.format(folder=folder, root=root, port=self.port, types=types))
        command = [program, "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        wait_for(self.port, self.process)
        self._seen = 0
        self._marks = 0
        self.requests()

    def requests(self) -> list[Request]:
        """What was asked since the last call."""
        self._marks += 1
        mark = f"/mark-{self._marks}"
        try:
            urllib.request.urlopen(self.url + mark)
        except urllib.error.HTTPError as error:
            error.close()
        while f" {mark} " not in (text := self._log.read_text()):  # one process logs in order
            time.sleep(0.005)
        lines, self._seen = text.splitlines()[self._seen :], len(text.splitlines())
        found = [re.fullmatch(r'(\S+) (\S+) (\d+) (\d+) (\d+) "(.*?)" "(.*)"', line) for line in lines]
        asked = [Request(m[1], m[2], int(m[3]), int(m[4]), int(m[5]), m[6]) for m in found if m]
        return [request for request in asked if "/mark-" not in request.path]

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()
