"""Sessions of aiohttp that file systems leave to the garbage collector, whose warnings would hit another test."""

from __future__ import annotations

import gc
from typing import Any


def open_sessions() -> set[Any]:
    """All of them. By their type: `isinstance` asks every object for its class, and some then warn."""
    import aiohttp

    return {o for o in gc.get_objects() if issubclass(type(o), aiohttp.ClientSession) and not o.closed}


def close(sessions: set[Any], filesystem: type[Any]) -> None:
    """Close them, and forget the instances of an fsspec file system that hold them."""
    for session in sessions:
        if session._connector is not None:
            session._connector._close()
    filesystem.clear_instance_cache()
    gc.collect()
