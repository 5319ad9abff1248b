"""The page and a store as files: a site for any file server, bucket or static-site host."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from ..catalog import open_catalog
from ..formats.streams import open_writer
from ..publish import Progress, publish
from ..store.transaction import Kind, is_junk, is_store, writing
from .page import STATIC, TYPES, config

#: The folder of the store in a site, and the file by which a site is known.
STORE, _CONFIG = "store", "config.json"


def _is_site(folder: Path) -> bool:
    """Whether a folder is a site of ours, or one whose first export was interrupted."""
    try:
        settings = json.loads((folder / _CONFIG).read_bytes())
    except FileNotFoundError:
        names = {name for name in os.listdir(folder) if not name.startswith(f".{STORE}.") and not is_junk(name)}
        return names <= {STORE} and (not names or is_store(folder / STORE))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(settings, dict) and settings.get("store") == f"{STORE}/" and {"title", "version"} <= set(settings)


#: A site, as what may be replaced; files of others in it (CNAME, robots.txt) stay.
SITE = Kind("such a site", _is_site, lambda folder: lambda key: key in (*TYPES, _CONFIG) or key.startswith(f"{STORE}/"))


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
        If the store is damaged, or the folder is something else than such a site.
    """
    title = str(open_catalog(store).attributes.get("title", "chgdb"))
    with writing(folder, SITE) as transaction:
        target = transaction.target
        target.mkdir(exist_ok=True)
        try:
            publish(store, target / STORE, progress=progress)
            settings = json.dumps(config(title, f"{STORE}/"), indent=2) + "\n"
            with open_writer(target / _CONFIG) as file:
                file.write(settings.encode())
            for name in sorted(TYPES, key=lambda name: name == "index.html"):  # last what asks for all others
                with open_writer(target / name) as file:
                    file.write((STATIC / name).read_bytes())
        except BaseException:
            with suppress(OSError):
                target.rmdir()  # only where nothing was written
            raise
    return Path(folder) / "index.html"
