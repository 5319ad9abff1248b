"""The data package: the embedded catalog, and the scripts that rebuild it (not imported by the library)."""

from __future__ import annotations

from pathlib import Path


def path() -> str:
    """Folder of the embedded store, for the entry-point group `chgdb.catalogs`."""
    return str(Path(__file__).parent / "chgdb.zarr")
