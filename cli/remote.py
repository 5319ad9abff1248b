"""`chgdb publish`, `chgdb pull` and `chgdb cache`: stores over a network."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from chgdb_cli.arguments import JsonOption, QuietOption
from chgdb_cli.output import count, print_json, print_table, show, size


def register(app: typer.Typer) -> None:
    app.command(
        epilog="""\b
Examples:
  chgdb publish my.zarr s3://bucket/my            needs pip install 'chgdb[remote]'
  chgdb publish my.zarr /srv/www/my.zarr          the folder of a web server
  chgdb fetch mp-149 --catalog s3://bucket/my     how it is read""",
    )(publish)
    app.command(
        epilog="""\b
Examples:
  chgdb pull https://example.org/my.zarr
  chgdb pull s3://bucket/my my.zarr               run it again after an interruption""",
    )(pull)
    cache = typer.Typer(help="The local copies of what was read over a network.", no_args_is_help=True)
    cache.command("info", short_help="Size, limit and stores.")(info)
    cache.command("clear", short_help="Remove everything in it.")(clear)
    cache.command("path", short_help="Where it lies.")(path)
    app.add_typer(cache, name="cache")


def publish(
    store: Annotated[str, typer.Argument(metavar="STORE", help="Folder, .zip, URL or name of the store.")],
    url: Annotated[
        str, typer.Argument(metavar="URL", help="Bucket or other place that fsspec writes to; or a folder.")
    ],
    keep: Annotated[int, typer.Option("--keep", min=1, help="Number of releases that stay in a bucket.")] = 2,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Copy a finished store to a URL in one step for its readers, with a manifest of checksums (release.json).

    Run it again with a new version of the store: readers see the old or the new one, never a mixture.
    """
    from chgdb.publish import publish as publish_store

    done = publish_store(store, url, keep=keep, progress=not quiet and sys.stderr.isatty())
    if as_json:
        print_json(vars(done))
    elif not done.changed:
        show(f"{done.url}: this version was published before ({done.version})")
    else:
        show(f"{done.url}: {count(done.files, 'file')}, {size(done.bytes)}, {size(done.sent)} of it sent")
        if done.zarr_url != done.url:
            show(f"for xarray and other Zarr readers: {done.zarr_url}")


def pull(
    url: Annotated[str, typer.Argument(metavar="URL", help="Where the store is.")],
    out: Annotated[
        Path | None, typer.Argument(metavar="FOLDER", help="Where it goes. [default: the last part of URL]")
    ] = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Copy a whole store from a URL to a folder and check every file. Existing files are not fetched again."""
    from chgdb.publish import pull as pull_store

    done = pull_store(url, out, progress=not quiet and sys.stderr.isatty())
    if as_json:
        print_json(vars(done))
    elif not done.changed:
        show(f"{done.path}: is up to date")
    else:
        materials = count(done.n_materials, "material")
        show(f"{done.path}: {materials}, {size(done.bytes)}, {size(done.received)} of it received")


def info(as_json: JsonOption = False) -> None:
    """Size and limit of the cache, and the stores that were read. CHGDB_CACHE_SIZE sets the limit."""
    from chgdb.remote.cache import Cache

    found = Cache().info()
    if as_json:
        stores = [{"url": url, "version": version, "seen": seen} for url, version, seen in found.stores]
        print_json({**vars(found), "stores": stores})
        return
    show(f"{found.path}: {count(found.files, 'file')}, {size(found.size)} of {size(found.limit)}")
    if found.stores:
        rows = [(url, time.strftime("%Y-%m-%d %H:%M", time.localtime(seen))) for url, _, seen in found.stores]
        print_table([("store", False), ("last read", False)], rows)


def clear() -> None:
    """Remove everything in the cache."""
    from chgdb.remote.cache import Cache

    found = Cache().clear()
    show(f"{found.path}: {count(found.files, 'file')} removed, {size(found.size)}")


def path() -> None:
    """Print the folder of the cache. CHGDB_CACHE sets it."""
    from chgdb.remote.cache import cache_folder

    print(cache_folder())
