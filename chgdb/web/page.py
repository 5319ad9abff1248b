"""The built page, out of memory: compressed once, and told apart by its content."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STATIC = Path(__file__).with_name("static")
#: Files of the page and their types. `config.json` is made by whoever serves or exports it.
TYPES = {
    "index.html": "text/html; charset=utf-8",
    "app.js": "text/javascript; charset=utf-8",
    "worker.js": "text/javascript; charset=utf-8",
    "app.css": "text/css; charset=utf-8",
}


@dataclass(frozen=True)
class Asset:
    """One file of the page."""

    body: bytes
    packed: bytes
    media_type: str
    etag: str

    @classmethod
    def read(cls, name: str) -> Asset:
        body = (STATIC / name).read_bytes()
        tag = hashlib.sha256(body).hexdigest()[:16]
        return cls(body, gzip.compress(body, 9, mtime=0), TYPES[name], f'"{tag}"')


def config(title: str, store: str, **server: Any) -> dict[str, Any]:
    """The facts that the page reads first: where its store is (a folder, relative to it), and what a server can do."""
    from chgdb import __version__

    return {"title": title, "version": __version__, "store": store, **server}
