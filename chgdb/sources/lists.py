"""Densities that a list on a server names: file servers with CHGCARs, and archives of them.

    list+https://example.org/pbe/list.csv         a table with the column url, path or file, and what else is known:
                                                  material_id, sha256 or md5, size, licence, functional, ...
    list+https://example.org/pbe/download.sh      any other text: the addresses in it, or one path a line
    list+file:///data/qmof/list.csv               the same in a file here; s3 and the other URLs go as well

Relative paths are those below the folder of the list. If a list names no ids, they are those of the files, as in any
other build (`inputs.ids_of`). Checksums are compared when a density is fetched.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from ..errors import FormatError, StoreError
from ..formats.streams import open_reader
from ..inputs import names
from ..inputs.ids import ids_of
from ..urls import is_url
from . import SIZE, URL, Entry, Listing, table_columns

_LARGEST = 256 << 20  # bytes of a list: some hundred a density
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://[^\s\"'<>|;]+")
_FILE = ("url", "path", "file")
_DIGESTS = {"sha256": 64, "md5": 32}


def listing(url: str) -> Listing:
    """The densities of a list. Raises `StoreError` if it cannot be read, or names nothing."""
    place = url.removeprefix("list+")
    if place == url:
        raise StoreError(f"{url}: expected list+https://..., list+s3://... or list+file:///...")
    local = place.startswith("file://")
    try:
        with open_reader(unquote(urlsplit(place).path) if local else place) as reader:
            data = reader.take(_LARGEST + 1)
    except FormatError as error:
        raise StoreError(str(error)) from None
    if len(data) > _LARGEST:
        raise StoreError(f"{place}: more than {_LARGEST} bytes, which no list of densities has")
    rows = _table(data, place) if _is_table(data) else _lines(data)
    if not rows:
        raise StoreError(f"{place}: names no densities")
    files = [_address(str(row.pop("url")), place, local) for row in rows]
    given = [row.pop("material_id", None) for row in rows]
    found = ids_of(files) if not all(given) else [""] * len(files)
    entries = []
    for file, name, made, row in zip(files, given, found, rows, strict=True):
        digest = next((f"{kind}:{row.pop(kind)}".lower() for kind in _DIGESTS if row.get(kind)), "")
        size = row.pop("size", None)
        size = size if isinstance(size, int) else None
        values = {key: value for key, value in row.items() if key not in _DIGESTS and value is not None}
        values |= {URL: file, **({SIZE: size} if size else {})}
        entries.append(Entry(str(name or made), file, size, digest, values))
    return Listing(entries)


def _is_table(data: bytes) -> bool:
    """Whether the first line is a header that names a file."""
    first = data.removeprefix(b"\xef\xbb\xbf").lstrip().partition(b"\n")[0].decode("utf-8", "replace").lower()
    return bool({cell.strip(" \"'\r") for cell in re.split("[,;\t]", first)} & set(_FILE))


def _table(data: bytes, place: str) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="chgdb-") as folder:
        path = Path(folder, "list.csv")
        path.write_bytes(data)
        try:
            columns = table_columns(path)
        except FormatError as error:
            raise StoreError(str(error).replace(str(path), place)) from None
    columns = {name.lower() if name.lower() in _FILE else name: cells for name, cells in columns.items()}
    file = next(name for name in _FILE if name in columns)
    columns = {"url": columns.pop(file), **columns}
    count = len(columns["url"])
    return [{name: cells[row] for name, cells in columns.items()} for row in range(count) if columns["url"][row]]


def _lines(data: bytes) -> list[dict[str, Any]]:
    """Addresses in a text, such as a script of wget; where it has none, a path in each line."""
    text = data.decode("utf-8", "replace")
    found = [address for address in _ADDRESS.findall(text) if _is_density(address.partition("?")[0])]
    if not found:
        lines = [line.strip() for line in text.splitlines()]
        found = [line for line in lines if not line.startswith("#") and _is_density(line)]
    return [{"url": address} for address in dict.fromkeys(found)]


def _is_density(path: str) -> bool:
    return bool(path) and names.is_density(path.rpartition("/")[2])


def _address(path: str, place: str, local: bool) -> str:
    if is_url(path):
        return path
    if local:
        return os.path.join(os.path.dirname(unquote(urlsplit(place).path)), path)
    if urlsplit(place).scheme in ("http", "https"):
        return urljoin(place, path)
    return f"{place.rpartition('/')[0]}/{path.removeprefix('./')}"
