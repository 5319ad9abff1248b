"""A server on loopback that sends what it is told to, byte for byte, and remembers what it was asked."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

#: What is sent: bytes, or a function that sends them itself.
Script = bytes | Callable[[socket.socket], None]


class ScriptedServer:
    """Every connection gets one answer, the next of `answers` (the last one again and again), and is closed.

    asked: the requests, as they came. url: http://127.0.0.1:PORT, unless another host and port are given.
    """

    def __init__(self, *answers: Script, host: str = "127.0.0.1", port: int = 0) -> None:
        self.answers: list[Script] = list(answers)
        self.asked: list[bytes] = []
        self._socket = socket.create_server((host, port), backlog=64)
        self.port = self._socket.getsockname()[1]
        self.url = f"http://{host}:{self.port}"
        self._closed = False
        threading.Thread(target=self._serve, daemon=True).start()

    def script(self, *answers: Script) -> None:
        self.answers = list(answers)
        self.asked = []

    def _serve(self) -> None:
        while not self._closed:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(10)
            request = b""
            while b"\r\n\r\n" not in request and (part := connection.recv(65536)):
                request += part
            if not request:
                return
            self.asked.append(request)
            answer = self.answers[min(len(self.asked), len(self.answers)) - 1] if self.answers else b""
            if callable(answer):
                answer(connection)
            else:
                connection.sendall(answer)
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(0.2)
            while connection.recv(65536):  # closing with bytes unread would reset what was sent
                pass

    def close(self) -> None:
        self._closed = True
        self._socket.close()


@contextmanager
def scripted(*answers: Script) -> Iterator[ScriptedServer]:
    server = ScriptedServer(*answers)
    try:
        yield server
    finally:
        server.close()


def answer(body: bytes = b"", status: str = "200 OK", **headers: str) -> bytes:
    """A whole answer; `_` in the name of a header is a hyphen."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def dripping(start: bytes, piece: bytes, seconds: float) -> Callable[[socket.socket], None]:
    """Send `start`, and then `piece` again and again with pauses, for half a minute at most."""

    def send(connection: socket.socket) -> None:
        connection.sendall(start)
        end = time.monotonic() + 30
        while time.monotonic() < end:
            connection.sendall(piece)
            time.sleep(seconds)

    return send
