"""Changes to structured files that a byte-wise mutation would hardly ever make: a few bytes name a change to a JSON
document, or the content of one file of several whose checksums are made right again."""

from __future__ import annotations

import copy
from typing import Any

#: What a value of a JSON document is replaced by.
NASTY: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 3, 7, 255, 65536, 2**31, 2**40, 2**63, -(2**70), 10**400, 0.5, -0.0, 1e-300),
    *(1e308, float("inf"), float("nan"), "", ".", "..", "../../outside", "/tmp/outside", "C:\\outside", "a\x00b"),
    *("CON", "NaN", "x" * 300, "\n", "\u202e", "\ud800", [], {}, [[]], [0], [1, 2, 3], {"a": 1}, {"": None}),
    *("string", "float64", "int8", "uint64", "bytes", "zstd", "blosc", "crc32c", "vlen-utf8", "transpose", "array"),
)


def changed_json(document: Any, operations: bytes) -> Any:
    """A copy of a JSON document after changes of four bytes each: which node (two bytes), what is done, and with what.

    A node is replaced by one of `NASTY`, by another node or by a number near its own, removed, or repeated.
    """
    document = copy.deepcopy(document)
    for start in range(0, len(operations) - 3, 4):
        first, second, kind, extra = operations[start : start + 4]
        nodes = _nodes(document)
        if not nodes:
            return NASTY[extra % len(NASTY)]
        holder, key = nodes[(first << 8 | second) % len(nodes)]
        value = holder[key]
        if kind % 6 in (0, 1):
            holder[key] = copy.deepcopy(NASTY[extra % len(NASTY)])
        elif kind % 6 == 2:
            other, place = nodes[(extra * 257) % len(nodes)]
            holder[key] = copy.deepcopy(other[place])
        elif kind % 6 == 3:
            del holder[key]
        elif kind % 6 == 4 and isinstance(value, int | float):
            holder[key] = value + extra - 128
        elif isinstance(holder, list):
            holder.insert(key, copy.deepcopy(value))
        else:
            holder[NASTY[25 + extra % 10]] = value
    return document


def _nodes(document: Any) -> list[tuple[Any, Any]]:
    """(holder, key) of every value in a document."""
    found: list[tuple[Any, Any]] = []
    waiting = [document]
    while waiting and len(found) < 1 << 16:
        holder = waiting.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else ()
        for key in keys:
            found.append((holder, key))
            waiting.append(holder[key])
    return found


def changed_bytes(data: bytes, operations: bytes) -> bytes:
    """Bytes after changes of four bytes each: where (two bytes; of longer data the end too), what, and with what."""
    changed = bytearray(data)
    for start in range(0, len(operations) - 3, 4):
        first, second, kind, value = operations[start : start + 4]
        place = (first << 8 | second) * (1 + (kind >> 4)) % max(1, len(changed))
        if kind % 4 == 0 and changed:
            changed[place] = value
        elif kind % 4 == 1:
            changed[place : place + value % 9] = b""
        elif kind % 4 == 2:
            changed[place:place] = bytes([value]) * (1 + kind // 16)
        elif changed:
            changed[place : place + 4] = (value << 8 * (kind // 4 % 4)).to_bytes(4, "little")
    return bytes(changed)
