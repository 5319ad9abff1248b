"""From a URL to what reads it: the table of back ends.

An installed package can offer another one: an entry point of the group `chgdb.transports`, whose name is the scheme and
whose object is called with (URL, options) and gives a `Transport`. All schemes without a back end of their own are
fsspec's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from ..errors import OfflineError, RemoteError
from ..plugins import offered
from ..urls import public, scheme
from .transport import Transport, offline

#: Scheme -> modules with a function `connect(url, options)`; the first that gives a transport serves the URL.
BACKENDS = {"http": ("http",), "https": ("http",), "github": ("http",), "s3": ("obstore", "fsspec")}
_FALLBACK = ("fsspec",)
_BUCKETS = ("s3", "gs", "gcs", "abfs", "az")
#: Schemes of fsspec's that are asked for often: for them no installed package is looked through.
_COMMON = ("", "gs", "gcs", "abfs", "az", "hf", "sftp", "ssh", "ftp", "memory", "file", "local")


def connect(url: str, options: Mapping[str, Any] | None = None) -> Transport:
    """The transport for a URL.

    Parameters
    ----------
    url : str
    options : mapping, optional
        For the file system (`anon`, `key`, `endpoint_url`, ...), as in `fsspec.filesystem`. For web servers: `headers`,
        a mapping, and `public_headers`, the names of those that may go to another server that the first one points to.

    Raises
    ------
    RemoteError
        If the URL or the options are wrong.
    MissingExtraError
        If the package is not installed that reads such URLs.
    """
    kind = scheme(url)
    url = kind + url[len(kind) :]  # back ends know theirs in small letters
    if kind not in BACKENDS and kind not in _COMMON and (found := _offered(kind)) is not None:
        return found(url, dict(options or {}))
    if kind in _BUCKETS and not url.partition("://")[2].strip("/"):
        raise RemoteError(f"{url}: names no bucket")
    for name in BACKENDS.get(kind, _FALLBACK):
        transport: Transport | None = import_module(f"{__package__}.{name}").connect(url, dict(options or {}))
        if transport is not None:
            return transport
    raise RemoteError(f"{public(url)}: there is nothing that reads such a URL")


def _offered(kind: str) -> Callable[..., Transport] | None:
    """The back end that an installed package offers for a scheme."""
    point = offered("chgdb.transports").get(kind)
    return None if point is None else point.load()


def read_file(url: str) -> bytes:
    """The content of the file at a URL. Raises `RemoteError` if it cannot be read."""
    if offline():
        raise OfflineError(f"{public(url)}: chgdb is offline (CHGDB_OFFLINE)")
    try:
        data = connect(url).get("").data
    except KeyError:
        raise RemoteError(f"{public(url)}: there is no such file") from None
    if data is None:
        raise RemoteError(f"{public(url)}: the server says that it has not changed, which was not asked")
    return data
