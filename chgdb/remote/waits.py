"""Connections of urllib3 on which every wait has an end.

A socket's own timeout ends only waits without any byte, each address of a host has a time of its own, and the look-up
of a name has none. Here one time counts for all that comes before the head of an answer and for the head; the rest has
to come at a rate; and nothing goes on after the end of the whole call.
"""

from __future__ import annotations

import http.client
import io
import os
import socket
import ssl
import threading
import time
from functools import lru_cache
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util.connection import allowed_gai_family

from .transport import within

#: Slowest that an answer may come, in bytes a second, on average after the time for its head.
_SLOWEST = 1000
#: Largest file that is taken from a server, and what an answer without a file may take.
MAX_FILE, _MOST_ELSE = 4 << 30, 1 << 20


class SlowError(TimeoutError):
    """An answer comes, but too slowly, or there is too much of it."""


class _Call(threading.local):
    """The limits of the request that a thread is making: seconds for the head of its answer, and the times by which the
    head and all of it have to be there."""

    seconds, head, until = 30.0, float("inf"), float("inf")
    received: Any = None  # what the socket gives


_call = _Call()


def begin(seconds: float, until: float) -> None:
    """A request of this thread begins: the head of its answer has to be there in so many seconds, all of it at `until`
    (`time.monotonic`)."""
    _call.seconds, _call.head, _call.until, _call.received = seconds, time.monotonic() + seconds, until, None


def abandon() -> None:
    """Close what the request of this thread has received: urllib3 leaves it open where the head is wrong."""
    if _call.received is not None:
        _call.received.close()


class _Timed(io.RawIOBase):
    """The bytes that a socket receives, within a time and an amount.

    The head of an answer (whatever its lines are, and however many heads come before it) has to be there in the time
    for it; the rest may take as much longer as `_SLOWEST` allows.
    """

    def __init__(self, raw: io.RawIOBase, sock: Any) -> None:
        self._raw, self._sock = raw, sock
        self._begin, self._seconds = _call.head - _call.seconds, _call.seconds
        self._until = _call.until
        self._got = 0
        _call.received = self
        self._most: int | None = None  # None while it is the head

    def readable(self) -> bool:
        return True

    def head_is_over(self, most: int) -> None:
        """From here on the rate counts; so many bytes at most."""
        self._most, self._got, self._begin = most, 0, time.monotonic()

    def readinto(self, buffer: Any) -> int | None:
        now = time.monotonic()
        end = self._begin + self._seconds + (0.0 if self._most is None else self._got / _SLOWEST)
        if self._most is not None and self._got > self._most:
            raise SlowError("too much of it")
        left = min(end, self._until) - now
        try:
            if left <= 0:
                raise TimeoutError
            self._sock.settimeout(min(left, self._seconds))
            count = self._raw.readinto(buffer)
        except TimeoutError:
            took = f"in {time.monotonic() - self._begin:.3g} s"
            if self._most is not None:
                raise SlowError(f"{self._got} bytes {took}") from None
            if self._got:
                raise SlowError(f"only a part of its head {took}") from None
            raise
        self._got += count or 0
        return count

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._raw.close()


class _Response(http.client.HTTPResponse):
    """An answer that is read through `_Timed`."""

    def __init__(self, sock: Any, *arguments: Any, **more: Any) -> None:
        super().__init__(sock, *arguments, **more)
        self._timed = _Timed(self.fp.detach(), sock)
        self.fp = io.BufferedReader(self._timed)

    def begin(self) -> None:
        super().begin()
        # What was asked for is at most MAX_FILE, and gets there in chunks of at least some bytes.
        self._timed.head_is_over(2 * MAX_FILE if self.status in (200, 206) else _MOST_ELSE)


class _Http(HTTPConnection):
    response_class = _Response

    def _new_conn(self) -> socket.socket:
        """A socket to the first address of the host that answers; each has its share of the time that is left."""
        name, seconds = self._dns_host, self.timeout
        failed: NewConnectionError | ConnectTimeoutError | None = None
        try:
            found = self._addresses()
            for place, address in enumerate(found):
                self._dns_host, self.timeout = address, self._left() / (len(found) - place)
                try:
                    sock = super()._new_conn()
                except (NewConnectionError, ConnectTimeoutError) as error:
                    failed = error
                else:
                    sock.settimeout(self._left())  # for a handshake
                    return sock
        finally:
            self._dns_host, self.timeout = name, seconds
        raise failed or NewConnectionError(self, "it has no address")

    def _left(self) -> float:
        """Seconds until the head of the answer has to be there. Raises urllib3's timeout where it is over."""
        left = min(_call.head, _call.until) - time.monotonic()
        if left <= 0:
            raise ConnectTimeoutError(self, "no connection in time")
        return left

    def _addresses(self) -> list[str]:
        """The host's addresses as numbers, whose look-up takes no time."""
        name, family, seconds = self._dns_host.strip("[]"), allowed_gai_family(), self._left()
        try:
            found = within(seconds, lambda: socket.getaddrinfo(name, self.port, family, socket.SOCK_STREAM))
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        except TimeoutError:
            raise SlowError(f"no answer of the name service in {_call.seconds:.3g} s") from None
        except UnicodeError:  # for which urllib3 has an error
            return [self._dns_host]
        return list(dict.fromkeys(str(address[0]) for *_, address in found))


class _Https(_Http, HTTPSConnection):
    def connect(self) -> None:
        self.ssl_context = self.ssl_context or _tls()
        super().connect()


class HttpPool(urllib3.HTTPConnectionPool):
    """Connections without TLS to one server."""

    ConnectionCls = _Http


class HttpsPool(urllib3.HTTPSConnectionPool):
    """Connections with TLS to one server."""

    ConnectionCls = _Https


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    """Certificates: those of SSL_CERT_FILE or the system; certifi's where the system has none."""
    context = ssl.create_default_context()
    if not context.cert_store_stats()["x509_ca"] and not os.environ.get("SSL_CERT_FILE"):
        try:
            import certifi
        except ImportError:
            return context  # capath folders are read on use and not counted
        context.load_verify_locations(certifi.where())
    return context
