"""Files of S3 read with obstore: where it is installed and the credentials are in the environment.

A cold process has read its first record after 0.1 s, where s3fs takes 1.7 s, most of it importing. Everything else
(writing, listing, profiles, public buckets) is s3fs's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

from ..errors import RemoteError
from ..urls import public, scheme, without_secrets_of
from .fsspec import FsspecTransport
from .transport import Answer, DeniedError, TransientError, deadline, retrying, timeout

#: The process that uses obstore: its threads are missing in one that is forked from it.
_process: int | None = None


def connect(url: str, options: dict[str, Any]) -> ObstoreTransport | None:
    """The table's way to make one (see `chgdb.remote.connect`); None where fsspec's transport has to do it."""
    return ObstoreTransport(url) if applies(url, options) else None


def applies(url: str, options: dict[str, Any]) -> bool:
    """Whether a URL is to be read in this way."""
    if scheme(url) != "s3" or options or not os.environ.get("AWS_ACCESS_KEY_ID"):
        return False
    try:
        import obstore
    except ImportError:
        return False
    return bool(obstore.__version__) and _process in (None, os.getpid())


class ObstoreTransport:
    """The files below an s3 URL (see `transport.Transport`)."""

    writable = True

    def __init__(self, url: str) -> None:
        from obstore.store import S3Store

        global _process
        _process = os.getpid()
        self.url, self._full = public(url), url
        bucket, _, self._root = url[len("s3://") :].rstrip("/").partition("/")
        silent = f"{timeout():.3f}s"
        client: Any = {"allow_http": True, "connect_timeout": silent, "timeout": f"{deadline():.3f}s"}
        once: Any = {"max_retries": 0}  # `retrying` does
        try:
            try:
                self._store = S3Store(bucket, client_options=client | {"read_timeout": silent}, retry_config=once)
            except ValueError:  # an older obstore, which has only the one for all of an answer
                self._store = S3Store(bucket, client_options=client, retry_config=once)
        except Exception as error:  # obstore's errors have no common base but Exception
            raise RemoteError(f"{self.url}: {self._reason(error)}") from error
        self._rest: FsspecTransport | None = None

    def get(
        self, key: str, start: int | None = None, stop: int | None = None, *, fresh: bool = False, known: str = ""
    ) -> Answer:
        import obstore

        if _process != os.getpid():
            return self._others().get(key, start, stop, fresh=fresh, known=known)
        path = f"{self._root}/{key}" if self._root and key else key or self._root
        name = f"{self.url.rstrip('/')}/{key}" if key else self.url
        if start is not None and stop is not None:
            if stop <= start:
                return Answer(b"")
            return self._do(
                lambda: Answer(bytes(obstore.get_range(self._store, path, start=start, end=stop))), key, name
            )

        def whole() -> Answer:
            options: Any = {"if_none_match": known} if known else None
            found = obstore.get(self._store, path, options=options)
            tag = str(found.meta.get("e_tag") or "")  # before the bytes: old versions of obstore forget it with them
            return Answer(bytes(found.bytes()), tag)

        return self._do(whole, key, name)

    def _do(self, action: Callable[[], Answer], key: str, name: str) -> Answer:
        def once() -> Answer:
            from obstore import exceptions

            try:
                return action()
            except FileNotFoundError:
                raise KeyError(key) from None
            except exceptions.NotModifiedError:
                return Answer(None)
            except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
                raise DeniedError(f"{name}: the server refuses access ({self._reason(error)})") from error
            except Exception as error:  # obstore's errors have no common base but Exception
                raise TransientError(self._reason(error)) from error

        return retrying(once, name)

    def _others(self) -> FsspecTransport:
        if self._rest is None:
            self._rest = FsspecTransport(self._full, {})
        return self._rest

    def sizes(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        return self._others().sizes(prefix)

    def put(self, key: str, data: bytes) -> None:
        self._others().put(key, data)

    def remove(self, prefix: str) -> None:
        self._others().remove(prefix)

    def _reason(self, error: Exception) -> str:
        """The first sentence: what follows are the server's XML and a debug view of the error."""
        text = " ".join(str(error).split("Debug source")[0].split())
        return without_secrets_of(self._full, text)[:300] or type(error).__name__
