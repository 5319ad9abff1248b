"""Files of every server that fsspec has a file system for: s3, gs, abfs, hf, sftp, memory, zip::..."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from ..errors import MissingExtraError, RemoteError
from ..limits import most_unfolded
from ..urls import links, public, scheme, without_secrets_of
from .transport import Answer, DeniedError, TransientError, deadline, retrying, within

T = TypeVar("T")

#: Errors of the libraries below fsspec that mean a lack of credentials; by name, since none of them need be installed.
_NO_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "TokenRetrievalError", "DefaultCredentialsError")
#: Schemes for which nobody is waited for.
_HERE = ("", "file", "local", "memory")
#: Errors of servers that are final: trying again gives the same.
_FINAL = ("NoSuchBucket", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidBucketName", "ParamValidationError")


def connect(url: str, options: dict[str, Any]) -> FsspecTransport:
    """The table's way to make one (see `chgdb.remote.connect`)."""
    return FsspecTransport(url, options)


class FsspecTransport:
    """The files below a URL of fsspec's; options go to its file system, those of the environment too (FSSPEC_*).

    A bucket for which there are no credentials is read anonymously.
    """

    writable = True

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        self.url = public(url)
        self._full, self._options = url, options
        self._chained = len(links(url)) > 1
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._anonymous = False
        self._connect()

    def _connect(self, anew: bool = False) -> None:
        import fsspec

        if self._full.startswith(("gs://", "gcs://")):
            # Else gcsfs imports gRPC, and looks for credentials at each request, for buckets that are no use here.
            os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
        options = dict(self._options)
        if self._anonymous:
            options["anon" if self._full.startswith("s3") else "token"] = (
                True if self._full.startswith("s3") else "anon"
            )
        if anew:
            options["skip_instance_cache"] = True
        try:
            until = time.monotonic() + deadline()  # some connect here, or read the list of an archive
            self._system, root = self._within(until, lambda: fsspec.url_to_fs(self._full, **options))
        except TransientError as error:
            raise RemoteError(f"{self.url}: {error}") from None
        except ImportError as error:
            raise MissingExtraError(f"{self.url}: {self._reason(error)}; run pip install 'chgdb[remote]'") from error
        except (ValueError, TypeError) as error:
            raise RemoteError(f"{self.url}: {self._reason(error)}") from None
        except FileNotFoundError as error:
            raise RemoteError(f"{self.url}: there is no such file") from error
        except Exception as error:  # a damaged archive, a server of a chain that is gone: of no common class
            raise RemoteError(f"{self.url}: cannot be opened: {self._reason(error)}") from error
        self._root = root.rstrip("/")

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}" if self._root and key else key or self._root

    def _name(self, key: str) -> str:
        return f"{self.url.rstrip('/')}/{key}" if key else self.url

    def get(
        self, key: str, start: int | None = None, stop: int | None = None, *, fresh: bool = False, known: str = ""
    ) -> Answer:
        if start is not None and stop is not None and stop <= start:
            return Answer(b"")
        if fresh and self._chained:
            self._renew()  # the archive's table of contents may be that of an earlier version

        def once() -> bytes:
            path = self._path(key)
            if self._chained:
                facts = self._system.info(path)
                if facts["size"] > most_unfolded(int(facts.get("compress_size") or facts["size"])):
                    raise RemoteError(f"{self._name(key)}: unfolds to far more than its size")
            return bytes(self._system.cat_file(path, start=start, end=stop))

        return Answer(self._do(once, key))

    def sizes(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        root = self._system._strip_protocol(self._root).rstrip("/")

        def once() -> dict[str, dict[str, Any]]:
            self._system.invalidate_cache()
            return self._system.find(self._path(prefix), detail=True)

        try:
            found = self._do(once, prefix)
        except KeyError:  # nothing there yet
            return
        for path, facts in sorted(found.items()):
            yield path.removeprefix(root).lstrip("/"), int(facts.get("size") or 0)

    def put(self, key: str, data: bytes) -> None:
        def once() -> None:
            path = self._path(key)
            if "/" in path and not self._is_bucket():
                self._system.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._system.pipe_file(path, data)

        try:
            self._do(once, key)
        except KeyError:
            raise RemoteError(f"{self._name(key)}: cannot be written: there is no such bucket or folder") from None

    def remove(self, prefix: str) -> None:
        def once() -> None:
            self._system.invalidate_cache()
            if self._system.exists(self._path(prefix)):
                self._system.rm(self._path(prefix), recursive=True)

        self._do(once, prefix)

    def _is_bucket(self) -> bool:
        """Whether folders are only prefixes of names (and making one would be making a bucket)."""
        protocols = self._system.protocol
        return not {"s3", "gs", "gcs", "abfs", "az", "oss", "r2"}.isdisjoint(
            [protocols] if isinstance(protocols, str) else protocols
        )

    def _renew(self) -> None:
        with self._lock:
            self._connect(anew=True)

    def _do(self, action: Callable[[], T], key: str) -> T:
        """Run an action, and try again where that can help. Errors of the libraries become ours."""

        def once() -> T:
            if self._process != os.getpid():  # after a fork the event loop and its connections are the parent's
                self._process = os.getpid()
                self._renew()
            try:
                return self._within(until, action)
            except (FileNotFoundError, KeyError, IsADirectoryError, NotADirectoryError):
                raise KeyError(key) from None
            except RemoteError:
                raise
            except Exception as error:
                raise self._translated(error, key) from error

        name = self._name(key)
        until = time.monotonic() + deadline()
        most = 2 if self._is_bucket() else None  # the file systems of buckets try again themselves
        try:
            return retrying(once, name, most, until)
        except _Anonymous:
            self._anonymous = True
            self._renew()
            return retrying(once, name, most, until)

    def _within(self, until: float, action: Callable[[], T]) -> T:
        """Result of an action that has to be over in time, where a server is waited for: the libraries below fsspec try
        again for as long as they like."""
        if scheme(self._full) in _HERE and not self._chained:
            return action()
        try:
            return within(max(0.01, until - time.monotonic()), action)
        except TimeoutError:
            if time.monotonic() < until:  # the action's own
                raise
            raise TransientError(f"nothing whole within {deadline():g} s") from None

    def _translated(self, error: Exception, key: str) -> Exception:
        """Our exception for one of a file system: transient, or final."""
        kind, reason = type(error).__name__, self._reason(error)
        signed = self._anonymous or any(name in self._options for name in ("anon", "key", "token", "secret", "session"))
        if kind in _NO_CREDENTIALS:
            if not signed:
                return _Anonymous()
            return RemoteError(f"{self._name(key)}: there are no credentials for it")
        if isinstance(error, PermissionError):
            return DeniedError(f"{self._name(key)}: the server refuses access ({reason})")
        if isinstance(error, NotImplementedError):
            return RemoteError(f"{self._name(key)}: cannot be written to")
        if any(code in f"{kind} {reason}" for code in _FINAL):
            return RemoteError(f"{self._name(key)}: {reason}")
        if isinstance(error, ImportError):
            return MissingExtraError(f"{self.url}: {self._reason(error)}; run pip install 'chgdb[remote]'")
        if isinstance(error, OSError | asyncio.TimeoutError) or type(error).__module__.startswith(
            ("aiohttp", "botocore", "aiobotocore", "gcsfs", "zipfile", "zlib", "urllib3", "requests", "fsspec")
        ):
            return TransientError(reason)
        return RemoteError(f"{self._name(key)}: {reason}")

    def _reason(self, error: Exception) -> str:
        """The message of a library, without the secrets of the URL and of the options."""
        text = without_secrets_of(self._full, " ".join(str(error).split()))
        for value in self._options.values():
            if isinstance(value, str) and len(value) > 3:
                text = text.replace(value, "...")
        return text if len(text) <= 300 and text else f"{type(error).__name__} {text[:300]}".rstrip()


class _Anonymous(Exception):
    """There are no credentials: the bucket may be a public one."""
