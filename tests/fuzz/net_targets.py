"""Targets: what a web server answers, and what URLs and variables of the environment say.

No input reaches another machine: whatever has an address in it is asked for by way of a proxy, which is the scripted
server itself.
"""

from __future__ import annotations

import gzip
import os
from functools import cache
from typing import Any
from unittest.mock import patch

from base import Target, tolerated
from scripted import ScriptedServer, answer

from chgdb.remote.cache import cache_folder, cache_limit
from chgdb.remote.connect import connect
from chgdb.remote.http import HttpTransport
from chgdb.remote.proxies import proxy_for
from chgdb.remote.transport import Transport, attempts, deadline, offline, timeout
from chgdb.urls import is_url, links, public, scheme, url_path, without_secrets

#: Between the answers of one input.
_NEXT = b"\0\0\0"
_BODY = bytes(range(200))
SECRET = "s3cr3t"


@cache
def _server() -> ScriptedServer:
    return ScriptedServer()


def _http(data: bytes) -> None:
    """First byte: what is asked for and whether by way of a proxy; then the answers, one a connection."""
    kind, answers = (data[:1] or b"\0")[0], data[1:].split(_NEXT)
    server = _server()
    server.script(*answers)
    proxied = kind & 8 or b"ocation" in data or b"OCATION" in data
    proxy = server.url if proxied else ""
    values = {"CHGDB_TIMEOUT": "0.25", "CHGDB_DEADLINE": "1", "no_proxy": "", "http_proxy": proxy, "https_proxy": proxy}
    with patch.dict(os.environ, values):
        url = f"http://me:{SECRET}@127.0.0.1:{server.port}/store?sig={SECRET}"
        transport: Transport = HttpTransport(url, {"headers": {"X-Key": SECRET}})
        try:
            with tolerated():
                _checked(transport, kind)
        except KeyError:
            pass
        finally:
            for manager in transport._managers.values():  # type: ignore[attr-defined]
                manager.clear()
    for asked in server.asked[1:]:
        first, rest = asked.split(b"\r\n", 1)
        place = first.split(b" ")[1]
        own = place.startswith(b"/") or place.startswith(f"http://127.0.0.1:{server.port}/".encode())
        assert own or SECRET.encode() not in rest, asked


def _checked(transport: Transport, kind: int) -> None:
    """Ask, and look at what is believed."""
    if kind & 3 == 0:
        assert transport.get("head.bin").data is not None
    elif kind & 3 == 1:
        data = transport.get("payload/c/0", 10, 60, fresh=bool(kind & 4)).data
        assert data is not None
        assert len(data) <= 50
    elif kind & 3 == 2:
        found = transport.get("head.bin", known='"tag"')
        assert found.tag.isprintable()
    else:
        data = transport.get("", 0, 1 << 40).data
        assert data is not None
        assert len(data) <= 1 << 20


def _http_seeds() -> list[bytes]:
    part = answer(_BODY[10:60], "206 Partial Content", Content_Range="bytes 10-59/200", ETag='"tag"')
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nabcde\r\n0\r\nTrailer: x\r\n\r\n"
    moved = [answer(b"", f"{code} Moved", Location=where) for code, where in (
        (301, "/y"), (302, "http://other.test:8080/z?a=b"), (307, "https://other.test/"), (308, "//[::1]:80/"),
    )]  # fmt: skip
    plain = [
        answer(_BODY, ETag='"tag"'), part, chunked, answer(gzip.compress(_BODY), Content_Encoding="x-gzip"),
        answer(b"", "503 Busy", Retry_After="1"), answer(b"", "416 Range Not Satisfiable"), answer(b"", "404 No"),
        b'HTTP/1.1 304 Not Modified\r\nETag: "tag"\r\n\r\n', b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
        b"HTTP/1.1 100 Continue\r\n\r\n" + answer(_BODY), answer(b"", "401 No", WWW_Authenticate="Basic"),
        *(one + _NEXT + answer(_BODY) for one in moved), moved[0] + _NEXT + moved[1] + _NEXT + answer(_BODY),
    ]  # fmt: skip
    return [bytes([kind]) + one for one in plain for kind in (0, 1, 2, 3, 9)]


def _urls(data: bytes) -> None:
    """First byte: what the text is used as."""
    kind, text = (data[:1] or b"\0")[0] % 6, data[1:].decode("utf-8", "surrogateescape")
    if kind == 0:
        is_url(text)
        links(text)
        scheme(text)
        url_path(text)
        without_secrets(text)
        assert public(public(text)) == public(text) or "::" in text or "@" in text
    elif kind == 1:  # wherever it may lie, the secret is not shown
        user, _, rest = text.partition("|")
        host, _, path = rest.partition("|")
        if not set("/?#[]: \t\n\r\v\f\x1c\x1d\x1e\x1f\x85\xa0") & set(user) and "@" not in rest and user.isascii():
            url = f"https://{user}:{SECRET}@{host}/{path}"
            assert SECRET not in public(url), url
            assert SECRET not in without_secrets(f"no answer of {url}, 3 times"), url
    elif kind == 2:
        with tolerated():
            transport = HttpTransport(text, {"headers": {text[:9]: text[9:]}})
            transport._address(text)
            transport._name(text)
    elif kind == 3:
        values = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy", "no_proxy"), text.replace("\0", ""))
        with patch.dict(os.environ, values), tolerated():
            proxy_for("https", text)
        with patch.dict(os.environ, values | {"no_proxy": ""}), tolerated():
            proxy_for("http", "example.test")
    elif kind == 4:
        names = (
            "CHGDB_TIMEOUT",
            "CHGDB_ATTEMPTS",
            "CHGDB_DEADLINE",
            "CHGDB_CACHE_SIZE",
            "CHGDB_CACHE",
            "CHGDB_OFFLINE",
        )
        with patch.dict(os.environ, dict.fromkeys(names, text.replace("\0", ""))):
            actions: tuple[Any, ...] = (timeout, attempts, deadline, cache_limit, cache_folder, offline)
            for action in actions:
                with tolerated():
                    action()
    elif scheme(text) in ("http", "https", "github", "memory"):  # others could ask a server
        with tolerated():
            connect(text)


def _urls_seeds() -> list[bytes]:
    urls = [
        "https://me:pw@example.org:8080/a%20b/ü/CHGCAR.gz?sig=1#x", "http://[::1]:80/x", "github://a:b@v1/x/y.zarr",
        "zip://a/CHGCAR::https://me:pw@host/x.zip", "memory://a/b", "s3://bucket/a@b", "step::2/CHGCAR", "HTTPS://X/",
        "http://bücher.example/", "https://me:p@w:d@host/x",
    ]  # fmt: skip
    seeds = [bytes([kind]) + url.encode() for url in urls for kind in (0, 2, 5)]
    seeds += [b"\1me|example.org|a/b?x=1#y", b"\1token|[::1]:80|", b"\1a%40b|HOST|::x"]
    seeds += [b"\3" + text for text in (b"http://u:p@proxy:3128", b"socks5://x", b"10.0.0.0/8, .a.test *", b"proxy")]
    return seeds + [b"\4" + text for text in (b"30", b"nan", b"1e9", b"500MB", b"~/x", b"no")]


TARGETS = {
    "http": Target("answers of web servers: status, headers, ranges, codings, moves", _http_seeds, _http, 5.0),
    "urls": Target("URLs, proxies and variables of the environment", _urls_seeds, _urls),
}
