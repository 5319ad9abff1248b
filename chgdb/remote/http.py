"""Files of a web server, read with urllib3.

Connections, TLS, proxies, the parsing of headers and addresses are urllib3's. Here is what an answer may be: which
range and which version it is of, and where else it may point; how long it may take is in `waits.py`. (fsspec would use
aiohttp, which takes longer to import than a record takes to fetch.)
"""

from __future__ import annotations

import http.client
import os
import re
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote, urljoin

import urllib3
from urllib3.exceptions import (
    HTTPError,
    LocationParseError,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.exceptions import TimeoutError as Timeout
from urllib3.util import Retry, Url, parse_url

from ..errors import ChgdbError, RemoteError
from ..limits import gunzip
from ..urls import public, without_secrets, without_secrets_of
from .proxies import proxy_for
from .transport import Answer, DeniedError, TransientError, deadline, retrying, timeout
from .waits import MAX_FILE, HttpPool, HttpsPool, SlowError, abandon, begin

#: Answers after which it is worth trying again.
_PASSING = frozenset([408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524])
_MOST_MOVES = 5
_PIECE = 1 << 18  # what is read of an answer at a time
_KEPT = 32  # idle connections to one server
_GZIP = ("gzip", "x-gzip")  # the second is an old name of the first, which servers still say (RFC 9110, 8.4.1.3)


def connect(url: str, options: dict[str, Any]) -> HttpTransport:
    """The table's way to make one (see `chgdb.remote.connect`)."""
    return HttpTransport(url, options)


def _github(url: str) -> str:
    """The URL at which GitHub serves the files of `github://OWNER:REPOSITORY@REFERENCE/PATH`.

    >>> _github("github://someone:densities@v1/store.zarr")
    'https://raw.githubusercontent.com/someone/densities/v1/store.zarr'
    """
    match = re.fullmatch(r"(?i:github)://([\w.-]+):([\w.-]+)(?:@([^/]+))?(?:/(.*))?", url)
    if match is None:
        raise RemoteError(f"{url}: expected github://OWNER:REPOSITORY@REFERENCE/PATH")
    owner, repository, reference, path = match.groups()
    return f"https://raw.githubusercontent.com/{owner}/{repository}/{reference or 'HEAD'}/{path or ''}".rstrip("/")


class HttpTransport:
    """The files below an http(s) URL (see `transport.Transport`). A query (a signature) is sent with every request, a
    user name as basic authentication.

    If the server points to another one, that one gets none of this, and of the user's headers only those that the
    option `public_headers` names.
    """

    writable = False

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        self.url, self._full = public(url), url
        parts = _parsed(_github(url) if url.lower().startswith("github://") else url)
        if parts is None:
            raise RemoteError(f"{self.url}: not a URL (https://HOST/PATH)")
        given, allowed = options.pop("headers", None) or {}, options.pop("public_headers", None) or ()
        if options:
            raise RemoteError(
                f"{self.url}: unknown options {', '.join(map(str, options))}; a web server takes headers and "
                "public_headers"
            )
        if not isinstance(given, Mapping):
            raise RemoteError(f"{self.url}: headers should be a mapping from names to values")
        self._headers = urllib3.HTTPHeaderDict({"User-Agent": "chgdb", "Accept": "*/*"})
        if parts.auth is not None:
            name, _, password = parts.auth.partition(":")
            login = f"{unquote(name)}:{unquote(password)}"
            self._headers |= urllib3.make_headers(basic_auth=_latin(login))
        for name, value in given.items():
            self._headers[str(name)] = str(value)
        self._headers["Accept-Encoding"] = "identity"
        secret = {str(name).lower() for name in given} | {"authorization", "cookie"}
        self._secret = secret - {str(name).lower() for name in ([allowed] if isinstance(allowed, str) else allowed)}
        self._base = parts._replace(auth=None, fragment=None)
        self._managers: dict[str, urllib3.PoolManager] = {}
        self._lock = threading.Lock()
        self._process = os.getpid()

    def _address(self, key: str) -> str:
        path = (self._base.path or "").rstrip("/")
        return self._base._replace(path=f"{path}/{quote(key, errors='surrogatepass')}" if key else self._base.path).url

    def _name(self, key: str) -> str:
        return f"{self.url.rstrip('/')}/{key}" if key else self.url

    def get(
        self, key: str, start: int | None = None, stop: int | None = None, *, fresh: bool = False, known: str = ""
    ) -> Answer:
        headers = self._headers.copy()
        if start is not None and stop is not None:
            if stop <= start:
                return Answer(b"")
            headers["Range"] = f"bytes={start}-{stop - 1}"
        known = _tag(known)
        if known:
            headers["If-None-Match"] = known
        if fresh:
            headers["Cache-Control"] = headers["Pragma"] = "no-cache"
        until = time.monotonic() + deadline()

        def once() -> Answer:
            response = self._answer(key, headers, until)
            try:
                return self._judged(key, response, start, stop, known)
            except (HTTPError, OSError, http.client.HTTPException, ValueError) as error:
                if isinstance(error, ChgdbError):
                    raise
                raise TransientError(f"the answer broke off ({self._reason(error)})") from error
            finally:
                response.close()  # a connection whose answer was read to its end is kept all the same

        return retrying(once, self._name(key), until=until)

    def _answer(self, key: str, headers: urllib3.HTTPHeaderDict, until: float) -> urllib3.BaseHTTPResponse:
        """The head of the answer, from the place to which the server points in the end."""
        address, sent = self._address(key), headers
        for _ in range(_MOST_MOVES + 1):
            response = self._asked(key, address, sent, until)
            location = response.get_redirect_location()
            if not location:
                return response
            response.close()
            try:
                following = _parsed(urljoin(address, location))
            except ValueError:
                following = None
            if following is None:
                raise RemoteError(f"{self._name(key)}: the server points to {_shown(location)}")
            # A password is for the server that it was given for. (urllib3 compares with the proxy, where there is one.)
            if _origin(following) != _origin(parse_url(address)):
                sent = urllib3.HTTPHeaderDict([(k, v) for k, v in sent.items() if k.lower() not in self._secret])
            address = following._replace(auth=None, fragment=None).url
        raise RemoteError(f"{self._name(key)}: the server points from one place to another without end")

    def _asked(self, key: str, address: str, headers: urllib3.HTTPHeaderDict, until: float) -> urllib3.BaseHTTPResponse:
        """The head of one answer. Raises `TransientError` and the final errors of `get`."""
        parts = parse_url(address)
        manager = self._manager(proxy_for(parts.scheme or "", parts.host or ""))
        for again in (False, True):
            seconds = min(timeout(), until - time.monotonic())
            if seconds <= 0:
                raise TransientError(f"nothing whole within {deadline():g} s")
            begin(seconds, until)
            answered = False
            try:
                response = manager.request(
                    "GET", address, headers=headers, timeout=urllib3.Timeout(connect=seconds, read=seconds),
                    retries=Retry(False), redirect=False, preload_content=False, decode_content=False,
                )  # fmt: skip
                answered = True
                return response
            except ProtocolError as error:
                # A kept connection that has been closed meanwhile says nothing about the server.
                if again or not any(isinstance(cause, ConnectionError) for cause in (*error.args, error.__cause__)):
                    raise TransientError(f"no answer ({self._reason(error)})") from error
            except (ssl.SSLCertVerificationError, SSLError) as error:
                reason = str(error.args[0] if error.args else error)
                if "CERTIFICATE_VERIFY_FAILED" in reason or "doesn't match" in reason:
                    said = self._reason(error)
                    raise RemoteError(f"{self._name(key)}: its certificate is not trusted ({said})") from error
                raise TransientError(f"no answer ({self._reason(error)})") from error
            except (HTTPError, OSError, http.client.HTTPException) as error:
                if isinstance(error, LocationParseError):
                    raise RemoteError(f"{self._name(key)}: not a URL (https://HOST/PATH)") from error
                raise TransientError(f"no answer ({self._reason(error)})") from error
            except ValueError as error:  # a header that cannot be sent
                raise RemoteError(f"{self._name(key)}: cannot be asked for ({self._reason(error)})") from error
            finally:
                if not answered:
                    abandon()
        raise AssertionError("not reached")

    def _manager(self, proxy: str) -> urllib3.PoolManager:
        """The kept connections by way of a proxy, or by none."""
        with self._lock:
            if self._process != os.getpid():  # after a fork the connections are the parent's
                self._managers = {}
                self._process = os.getpid()
            if proxy not in self._managers:
                manager: urllib3.PoolManager
                if proxy:
                    parts = parse_url(proxy)
                    login = urllib3.make_headers(proxy_basic_auth=_latin(unquote(parts.auth))) if parts.auth else {}
                    place = parts._replace(auth=None).url
                    manager = urllib3.ProxyManager(place, proxy_headers=login, num_pools=8, maxsize=_KEPT)
                else:
                    manager = urllib3.PoolManager(num_pools=8, maxsize=_KEPT)
                pools = {"http": HttpPool, "https": HttpsPool}
                manager.pool_classes_by_scheme = pools
                self._managers[proxy] = manager
            return self._managers[proxy]

    def _judged(
        self, key: str, response: urllib3.BaseHTTPResponse, start: int | None, stop: int | None, known: str
    ) -> Answer:
        """The head of an answer. Raises `TransientError` and the final errors of `get`."""
        status, name = response.status, self._name(key)
        said = f"the server answers {status} {_shown(response.reason or '')}".rstrip()
        tag = _tag(response.headers.get("ETag", ""))
        if status == 304 and known:
            return Answer(None, tag)
        if status in (404, 410):
            _read_rest(response)
            raise KeyError(key)
        if status in (401, 403):
            reason = "it wants a user name and a password" if status == 401 else "it refuses access"
            raise DeniedError(f"{name}: the server answers {status}: {reason}")
        if status == 416 and start is not None:
            return Answer(b"", tag)
        if status in _PASSING:
            raise TransientError(said, _pause(response.headers.get("Retry-After", "")))
        if status not in (200, 206):
            raise RemoteError(f"{name}: {said}")
        if status == 206:
            _check_range(response.headers.get("Content-Range", ""), start, stop)
        coding = response.headers.get("Content-Encoding", "").strip().lower()
        if coding not in ("", "identity"):
            if coding not in _GZIP or status == 206:
                raise RemoteError(f"{name}: the server sends it as {_shown(coding)}, which was not asked for")
            data = _gunzip(_body(response, MAX_FILE))
            return Answer(data if start is None else data[start:stop], tag)
        if start is None or stop is None:
            return Answer(_body(response, MAX_FILE), tag)
        if status == 200:  # a server without ranges sends all of it: no more than needed is read
            return Answer(_body(response, stop)[start:], tag)
        return Answer(_body(response, stop - start), tag)

    def _reason(self, error: BaseException) -> str:
        """The reason of an error, without the words of the libraries around it."""
        if isinstance(error, MaxRetryError) and error.reason is not None:
            error = error.reason
        if isinstance(error, ProxyError):
            return f"by way of the proxy of the environment: {self._reason(error.original_error)}"
        slow = next((cause for cause in _causes(error) if isinstance(cause, SlowError)), None)
        if slow is not None:
            return str(slow)
        if isinstance(error, NameResolutionError):
            return "its name is not known"
        refused = isinstance(error, NewConnectionError)  # which is a kind of urllib3's timeout
        if isinstance(error, ReadTimeoutError | Timeout | TimeoutError) and not refused:
            return f"nothing for {timeout():g} s"
        if isinstance(error, NewConnectionError | ProtocolError | SSLError):
            inner = next(
                (cause for cause in (*error.args[::-1], error.__cause__) if isinstance(cause, Exception)), None
            )
            if inner is not None:
                return self._reason(inner)
        text = getattr(error, "strerror", None) or getattr(error, "verify_message", None) or str(error)
        return _shown(without_secrets_of(self._full, str(text))) or type(error).__name__

    def sizes(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        raise RemoteError(f"{self.url}: a web server does not list its files")

    def put(self, key: str, data: bytes) -> None:
        raise RemoteError(
            f"{self.url}: a web server is not written to; publish to the folder that it serves, or to a bucket"
        )

    def remove(self, prefix: str) -> None:
        raise RemoteError(f"{self.url}: a web server is not written to")


# What an answer says -------------------------------------------------------------------------------------------------


def _parsed(url: str) -> Url | None:
    """The parts of an http(s) URL, blanks and letters beyond ASCII encoded; None where it is none."""
    try:
        parts = parse_url(url)
    except (LocationParseError, ValueError):
        return None
    return parts if parts.scheme in ("http", "https") and parts.host else None


def _origin(parts: Url) -> tuple[str | None, str | None, int | None]:
    return parts.scheme, parts.host, parts.port or {"http": 80, "https": 443}.get(parts.scheme or "")


def _latin(login: str) -> str:
    """For `urllib3.make_headers`, which packs Latin-1: a login as the bytes of UTF-8 (RFC 7617)."""
    return login.encode("utf-8", "surrogateescape").decode("latin-1")


def _tag(text: str) -> str:
    """An entity tag that can be stored and sent back; empty for any other."""
    return text if len(text) < 1000 and text.isascii() and text.isprintable() else ""


def _shown(text: str) -> str:
    """The text of a server's answer, short and without the secrets of addresses in it."""
    line = " ".join("".join(c if c.isprintable() else " " for c in without_secrets(text)).split())
    return line if len(line) <= 200 else line[:200] + "..."


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what it was raised from, at most ten."""
    found: BaseException | None = error
    for _ in range(10):
        if found is None:
            return
        yield found
        yield from (argument for argument in found.args if isinstance(argument, BaseException))
        found = found.__cause__ or found.__context__


def _pause(text: str) -> float:
    """Seconds that a server asks to wait (Retry-After: seconds, or a date)."""
    try:
        return max(0.0, float(Retry(0).parse_retry_after(text[:100]))) if text else 0.0
    except (HTTPError, ValueError, OverflowError):
        return 0.0


def _check_range(text: str, start: int | None, stop: int | None) -> None:
    """Raises `TransientError` if a partial answer is not the part that was asked for."""
    match = re.fullmatch(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", text.strip())
    if match is None or start is None or stop is None:
        raise TransientError(
            f"the server sends a part ({_shown(text) or 'without saying which'}) that was not asked for"
        )
    first, last, total = int(match[1]), int(match[2]), match[3]
    if first != start or (last != stop - 1 and (total == "*" or last != int(total) - 1 or last >= stop)):
        raise TransientError(f"the server sends bytes {first} to {last} instead of {start} to {stop - 1}")


def _body(response: urllib3.BaseHTTPResponse, most: int) -> bytes:
    """At most so many bytes of the body. Raises `RemoteError` if there are too many for any file."""
    parts, got = [], 0
    while got < most:
        part = response.read(min(_PIECE, most - got), decode_content=False)
        if not part:
            break
        parts.append(part)
        got += len(part)
    if got == most == MAX_FILE:
        raise RemoteError("the file is too large")
    if got == most:
        _read_rest(response, 1)
    return b"".join(parts)


def _read_rest(response: urllib3.BaseHTTPResponse, most: int = 1 << 16) -> None:
    """Read an answer to its end where that is near, so that its connection can be used again."""
    length = response.headers.get("Content-Length", "")
    if most == 1 or (length.isascii() and length.isdigit() and len(length) < 6):
        response.read(most, decode_content=False)


def _gunzip(data: bytes) -> bytes:
    try:
        return gunzip(data)
    except ValueError as error:
        raise TransientError(f"the answer is damaged ({error})") from None
