"""The page and a store as files: a site for any file server, bucket or static-site host."""

from __future__ import annotations

import json
import os
from pathlib import Path

from ..catalog import open_catalog
from ..errors import StoreError
from ..formats.streams import open_writer
from ..publish import Progress, publish
from .page import STATIC, TYPES, config

#: The folder of the store in a site.
STORE = "store"


def export(
    folder: str | os.PathLike[str], store: str | os.PathLike[str] | None = None, progress: Progress = False
) -> Path:
    """Write the page and a store into a folder; run it again with a newer version of either.

    Parameters
    ----------
    folder : path
        Made where it does not exist. Visitors see the old or the new version of the store, never a mixture.
    store : path or URL, optional
        The embedded catalog unless given.
    progress : bool or callable
        As of `publish`.

    Returns
    -------
    Path
        The page, index.html.

    Raises
    ------
    StoreError
        Where the store is damaged, or the folder holds something else than such a site.
    """
    target = Path(folder)
    title = str(open_catalog(store).attributes.get("title", "chgdb"))
    _check_ours(target)
    try:
        target.mkdir(parents=True, exist_ok=True)
        publish(store, target / STORE, progress=progress)
        settings = json.dumps(config(title, f"{STORE}/"), indent=2) + "\n"
        with open_writer(target / "config.json") as file:
            file.write(settings.encode())
        for name in sorted(TYPES, key=lambda name: name == "index.html"):  # last what asks for all others
            with open_writer(target / name) as file:
                file.write((STATIC / name).read_bytes())
    except OSError as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"{target}: cannot be written: {error.strerror or error}") from None
    return target / "index.html"


def _check_ours(target: Path) -> None:
    """Raises `StoreError` where a folder holds what is no site of ours: nothing of it is touched."""
    if not target.exists():
        return
    if not target.is_dir():
        raise StoreError(f"{target} is a file: name a folder for the site")
    held = {entry.name for entry in target.iterdir()}
    if held - {*TYPES, "config.json", STORE} or ("index.html" in held and "config.json" not in held):
        raise StoreError(f"{target} holds other files than such a site: name an empty or a new folder")
