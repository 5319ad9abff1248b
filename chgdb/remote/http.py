"""Files of a web server, with nothing but the standard library.

aiohttp, which fsspec would use, takes longer to import than a record takes to fetch; and what a server may do wrong
(half an answer, another range, an error page) is to be judged here. Connections are kept and shared between threads.
"""

from __future__ import annotations

import base64
import http.client
import os
import re
import ssl
import threading
import time
import urllib.parse
import urllib.request
import weakref
from collections.abc import Iterator
from typing import Any

from ..errors import RemoteError
from ..limits import gunzip
from .transport import Answer, TransientError, public, retrying, timeout

#: Answers after which it is worth trying again.
_PASSING = frozenset([408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524])
_MOVED = frozenset([301, 302, 303, 307, 308])
_MOST_MOVES = 5
#: Largest file that is taken from a server, and what is read of it at a time.
MAX_FILE, _PIECE = 4 << 30, 1 << 18
#: Slowest that a body may come on average after `_PATIENCE` seconds, in bytes a second.
_SLOWEST, _PATIENCE = 256, 60.0
_KEPT = 32  # idle connections


def _github(url: str) -> str:
    """Where GitHub serves the files of `github://OWNER:REPOSITORY@REFERENCE/PATH`.

    >>> _github("github://someone:densities@v1/store.zarr")
    'https://raw.githubusercontent.com/someone/densities/v1/store.zarr'
    """
    match = re.fullmatch(r"github://([\w.-]+):([\w.-]+)(?:@([^/]+))?(?:/(.*))?", url)
    if match is None:
        raise RemoteError(f"{url}: expected github://OWNER:REPOSITORY@REFERENCE/PATH")
    owner, repository, reference, path = match.groups()
    return f"https://raw.githubusercontent.com/{owner}/{repository}/{reference or 'HEAD'}/{path or ''}".rstrip("/")


class HttpTransport:
    """The files below an http(s) URL. A query (a signature) is sent with every request, a user name as basic
    authentication."""

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        self.url = public(url)
        parts = urllib.parse.urlsplit(_github(url) if url.startswith("github://") else url)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if not parts.hostname or port == -1:
            raise RemoteError(f"{self.url}: not a URL (https://HOST/PATH)")
        self._headers = {"User-Agent": "chgdb", "Accept": "*/*", "Accept-Encoding": "identity"}
        if parts.username is not None:
            login = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
            self._headers["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
        self._headers |= {str(k): str(v) for k, v in options.pop("headers", {}).items()}
        if options:
            raise RemoteError(f"{self.url}: unknown options {', '.join(options)}; a web server takes headers")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        host = host if port is None else f"{host}:{port}"
        self._origin = f"{parts.scheme}://{host}"
        self._folder, self._query = parts.path.rstrip("/"), parts.query
        self._idle: list[tuple[str, http.client.HTTPConnection]] = []
        self._lock = threading.Lock()
        self._process = os.getpid()
        weakref.finalize(self, _close, self._idle)

    def _address(self, key: str) -> str:
        path = f"{self._folder}/{urllib.parse.quote(key)}" if key else self._folder
        return f"{self._origin}{path}" + (f"?{self._query}" if self._query else "")

    def _name(self, key: str) -> str:
        return f"{self.url.rstrip('/')}/{key}" if key else self.url

    def get(
        self, key: str, start: int | None = None, stop: int | None = None, *, fresh: bool = False, known: str = ""
    ) -> Answer:
        headers = dict(self._headers)
        if start is not None and stop is not None:
            if stop <= start:
                return Answer(b"")
            headers["Range"] = f"bytes={start}-{stop - 1}"
        if known:
            headers["If-None-Match"] = known
        if fresh:
            headers |= {"Cache-Control": "no-cache", "Pragma": "no-cache"}

        return retrying(lambda: self._once(key, headers, start, stop), self._name(key))

    def _once(self, key: str, headers: dict[str, str], start: int | None, stop: int | None) -> Answer:
        """One attempt, moves followed."""
        address = self._address(key)
        for _ in range(_MOST_MOVES + 1):
            origin = address.split("/", 3)[:3]
            sent = dict(headers)
            if "/".join(origin) != self._origin:
                sent.pop("Authorization", None)  # a password is for the host it was given for
            answer = self._exchange(key, address, sent, start, stop)
            if isinstance(answer, Answer):
                return answer
            address = urllib.parse.urljoin(address, answer)
            if urllib.parse.urlsplit(address).scheme not in ("http", "https"):
                raise RemoteError(f"{self._name(key)}: the server points to {public(address)}")
        raise RemoteError(f"{self._name(key)}: the server points from one place to another without end")

    def _exchange(
        self, key: str, address: str, headers: dict[str, str], start: int | None, stop: int | None
    ) -> Answer | str:
        """The answer, or the address it has moved to. Raises `TransientError` and the final errors of `get`."""
        origin, connection, reused = self._take(address)
        try:
            response = self._ask(connection, address, headers)
        except TransientError:
            connection.close()
            if not reused:
                raise
            # The server has closed a connection that we had kept: that says nothing about it.
            origin, connection, _ = self._take(address, anew=True)
            response = self._ask(connection, address, headers)
        done = False
        try:
            result = self._judge(key, response, start, stop)
            done = response.isclosed() or not response.read(1)
            return result
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, RemoteError):
                raise
            raise TransientError(f"the answer broke off ({_reason(error)})") from error
        finally:
            if done and not response.will_close:
                with self._lock:
                    if len(self._idle) < _KEPT:
                        self._idle.append((origin, connection))
                        connection = None  # type: ignore[assignment]
            if connection is not None:
                connection.close()

    def _take(self, address: str, anew: bool = False) -> tuple[str, http.client.HTTPConnection, bool]:
        """Origin, a connection to it (through the proxy of the environment), and whether it was in use before."""
        parts = urllib.parse.urlsplit(address)
        origin = f"{parts.scheme}://{parts.netloc}"
        with self._lock:
            if self._process != os.getpid():  # after a fork the connections are the parent's
                _close(self._idle)  # which leaves the parent's open
                self._process = os.getpid()
            for i in range(len(self._idle) - 1, -1, -1):
                if self._idle[i][0] == origin and not anew:
                    return origin, self._idle.pop(i)[1], True
        host, proxy = parts.netloc, _proxy(parts)
        where = proxy or host
        if parts.scheme == "http":
            connection: http.client.HTTPConnection = http.client.HTTPConnection(where, timeout=timeout())
        else:
            connection = http.client.HTTPSConnection(where, timeout=timeout(), context=_tls())
            if proxy:
                connection.set_tunnel(host)
        return origin, connection, False

    def _ask(
        self, connection: http.client.HTTPConnection, address: str, headers: dict[str, str]
    ) -> http.client.HTTPResponse:
        parts = urllib.parse.urlsplit(address)
        target = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
        if parts.scheme == "http" and _proxy(parts):
            target = address
        try:
            connection.request("GET", target, headers=headers)
            return connection.getresponse()
        except ssl.SSLCertVerificationError as error:
            connection.close()
            raise RemoteError(f"{self.url}: its certificate is not trusted ({error.verify_message})") from error
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise TransientError(f"no answer ({_reason(error)})") from error

    def _judge(self, key: str, response: http.client.HTTPResponse, start: int | None, stop: int | None) -> Answer | str:
        status, name = response.status, self._name(key)
        tag = response.headers.get("ETag", "")
        if status == 304:
            return Answer(None, tag)
        if status in _MOVED and response.headers.get("Location"):
            return str(response.headers["Location"])
        if status in (404, 410):
            raise KeyError(key)
        if status in (401, 403):
            reason = "it wants a user name and a password" if status == 401 else "it refuses access"
            raise DeniedError(f"{name}: the server answers {status}: {reason}")
        if status == 416 and start is not None:
            return Answer(b"", tag)
        if status in _PASSING:
            pause = response.headers.get("Retry-After", "")
            reason = f"the server answers {status} {response.reason}".rstrip()
            raise TransientError(reason, float(pause) if pause.isdigit() else 0.0)
        if status not in (200, 206):
            raise RemoteError(f"{name}: the server answers {status} {response.reason}".rstrip())
        if status == 206:
            _check_range(response.headers.get("Content-Range", ""), start, stop)
        coding = response.headers.get("Content-Encoding", "identity").lower()
        if coding not in ("", "identity"):
            if coding != "gzip" or status == 206:
                raise RemoteError(f"{name}: the server sends it as {coding}, which was not asked for")
            data = _gunzip(_body(response, MAX_FILE))
            return Answer(data if start is None else data[start:stop], tag)
        if start is None:
            return Answer(_body(response, MAX_FILE), tag)
        assert stop is not None
        if status == 200:  # a server without ranges sends all of it: no more than needed is read
            return Answer(_body(response, stop)[start:], tag)
        return Answer(_body(response, stop - start), tag)

    def sizes(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        raise RemoteError(f"{self.url}: a web server does not list its files")

    def put(self, key: str, data: bytes) -> None:
        raise RemoteError(
            f"{self.url}: a web server is not written to; publish to the folder that it serves, or to a bucket"
        )

    def remove(self, prefix: str) -> None:
        raise RemoteError(f"{self.url}: a web server is not written to")


class DeniedError(RemoteError):
    """The server refuses access; some say so of files that do not exist."""


def _close(connections: list[tuple[str, http.client.HTTPConnection]]) -> None:
    while connections:
        connections.pop()[1].close()


def _check_range(text: str, start: int | None, stop: int | None) -> None:
    """Raises `TransientError` where a partial answer is not the part that was asked for."""
    match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", text.strip())
    if match is None or start is None or stop is None:
        raise TransientError(f"the server sends a part ({text or 'without saying which'}) that was not asked for")
    first, last, total = int(match[1]), int(match[2]), match[3]
    if first != start or (last != stop - 1 and (total == "*" or last != int(total) - 1 or last >= stop)):
        raise TransientError(f"the server sends bytes {first} to {last} instead of {start} to {stop - 1}")


def _body(response: http.client.HTTPResponse, most: int) -> bytes:
    """At most so many bytes of the body. Raises `TransientError` where it ends early or hardly comes."""
    length = response.length  # None where it comes in chunks or until the end of the connection
    begin = time.monotonic()
    parts, got = [], 0
    while got < most:
        part = response.read1(min(_PIECE, most - got))
        if not part:
            break
        parts.append(part)
        got += len(part)
        seconds = time.monotonic() - begin
        if seconds > _PATIENCE and got < seconds * _SLOWEST:
            raise TransientError(f"only {got} bytes came in {seconds:.0f} s")
    if length is not None and got < min(length, most):
        raise TransientError(f"the answer broke off after {got} of {length} bytes")
    if got == most == MAX_FILE:
        raise RemoteError("the file is too large")
    return b"".join(parts)


def _gunzip(data: bytes) -> bytes:
    try:
        return gunzip(data)
    except ValueError as error:
        raise TransientError(f"the answer is damaged ({error})") from None


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"nothing for {timeout():g} s"
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(text.split()) or type(error).__name__


def _proxy(parts: urllib.parse.SplitResult) -> str:
    """Host and port of the proxy that the environment names for a URL; empty: none."""
    proxies = urllib.request.getproxies()
    if parts.scheme not in proxies or urllib.request.proxy_bypass(parts.hostname or ""):
        return ""
    return urllib.parse.urlsplit(proxies[parts.scheme]).netloc.rpartition("@")[2]


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
