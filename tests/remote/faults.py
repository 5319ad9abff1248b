"""A proxy on loopback that passes requests on to a server and spoils some of the answers."""

from __future__ import annotations

import http.client
import re
import socket
import struct
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

#: Decides on the fault of a request: (path, how often this path was asked for before) -> name of a fault or None.
Rule = Callable[[str, int], str | None]
FAULTS = ("503", "429", "reset", "truncated", "corrupted", "wrong range", "no range", "empty", "unasked part", "gone")


class FaultyProxy:
    """Serves what `upstream` serves, at `url`, with faults by `rule`; `latency` seconds before every answer."""

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream)
        self.rule: Rule = lambda path, earlier: None
        self.latency = 0.0
        self.asked: list[str] = []
        self.busiest = 0
        self._busy = 0
        self._counts: dict[str, int] = {}
        self._lock = threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1

            def do_GET(self) -> None:
                proxy.answer(self)

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *arguments: None  # type: ignore[method-assign]  # clients may hang up
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def reset(self, rule: Rule | None = None, latency: float = 0.0) -> None:
        """Forget what was asked; follow another rule."""
        with self._lock:
            self.rule = rule or (lambda path, earlier: None)
            self.latency, self.busiest = latency, 0
            self.asked.clear()
            self._counts.clear()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path
        with self._lock:
            self.asked.append(path)
            earlier = self._counts.get(path, 0)
            self._counts[path] = earlier + 1
            fault = self.rule(path, earlier)
            self._busy += 1
            self.busiest = max(self.busiest, self._busy)
        try:
            time.sleep(self.latency)
            self._spoiled(handler, fault)
        finally:
            with self._lock:
                self._busy -= 1

    def _spoiled(self, handler: BaseHTTPRequestHandler, fault: str | None) -> None:
        headers = {k: v for k, v in handler.headers.items() if k.lower() not in ("host", "connection")}
        if fault in ("503", "429"):
            self._send(handler, int(fault), {"Retry-After": "0"}, b"busy")
            return
        if fault == "hang":
            time.sleep(3)
            handler.close_connection = True
            return
        if fault == "no range":
            headers.pop("Range", None)
        if fault == "wrong range" and "Range" in headers:
            low, high = map(int, re.fullmatch(r"bytes=(\d+)-(\d+)", headers["Range"]).groups())  # type: ignore[union-attr]
            headers["Range"] = f"bytes={max(0, low - 7)}-{max(0, high - 7)}"
        if fault == "unasked part" and "Range" not in headers:
            headers["Range"] = "bytes=0-9"
        upstream = http.client.HTTPConnection(self.upstream.netloc, timeout=10)
        upstream.request("GET", self.upstream.path + handler.path, headers=headers)
        response = upstream.getresponse()
        body = response.read()
        kept = {k: v for k, v in response.getheaders() if k in ("Content-Range", "ETag")}
        upstream.close()
        if fault == "gone":
            self._send(handler, 404, {}, b"")
        elif fault == "corrupted" and body:
            middle = len(body) // 2
            self._send(
                handler, response.status, kept, body[:middle] + bytes([body[middle] ^ 0x55]) + body[middle + 1 :]
            )
        elif fault == "empty":
            self._send(handler, response.status, kept, b"")
        elif fault in ("truncated", "reset"):
            self._send(handler, response.status, kept, body[: len(body) // 2], length=len(body))
            handler.close_connection = True
            if fault == "reset":
                handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                handler.connection.close()
        else:
            self._send(handler, response.status, kept, body)

    @staticmethod
    def _send(
        handler: BaseHTTPRequestHandler, status: int, headers: dict[str, str], body: bytes, length: int | None = None
    ) -> None:
        handler.send_response(status)
        if status not in (204, 304):
            handler.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        if status not in (204, 304):
            handler.wfile.write(body)
        handler.wfile.flush()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
