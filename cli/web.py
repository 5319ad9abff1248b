"""`chgdb web`: a store in a browser."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    app.command(
        epilog="""\b
Examples:
  chgdb web                                 the embedded catalog, at an address that is printed
  chgdb web my.zarr --open                  another store, in the browser at once
  chgdb web --port 8080
  chgdb web --export site my.zarr           the same page as files, for any web server""",
    )(web)


def web(
    store: Annotated[
        str | None,
        typer.Argument(
            metavar="[STORE]",
            envvar="CHGDB_CATALOG",
            help="Folder, .zip, URL or installed name of a store. [default: the embedded catalog]",
        ),
    ] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 for any free one.")] = 8731,
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Address to listen at; others than this let others in.")
    ] = "127.0.0.1",
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", metavar="NAME", help="A name under which it answers, too; may be repeated."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="MIB", min=1, help="Size that an upload may have.")] = 256,
    pack: Annotated[
        Path, typer.Option("--pack", metavar="STORE", help="Store that files dropped on the page can be packed into.")
    ] = Path("packed.zarr"),
    export: Annotated[
        Path | None, typer.Option("--export", metavar="DIR", help="Write page and store as files into DIR instead.")
    ] = None,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Serve a page on which a store is searched and its densities are looked at, until interrupted (Ctrl-C).

    The page asks nothing of other machines, and others cannot ask it, unless --host says so.

    Needs fastapi and uvicorn: pip install 'chgdb[web]'. With --export nothing is served: the files are a site that
    shows all but what takes a server (predictions, packing, latents).
    """
    if export is not None:
        from chgdb.web.site import export as export_site

        print(export_site(export, store, progress=sys.stderr.isatty()))
        return
    from chgdb.errors import require
    from chgdb_cli.arguments import open_store

    for package in ("fastapi", "uvicorn"):
        require(package, "web", "chgdb web")
    from chgdb.web import server

    catalog = open_store(store)
    app = server.create_app(catalog, hosts=[host, *(allow_host or [])], limit=limit << 20, pack_into=pack)
    listener = server.listen(host, port)
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{listener.getsockname()[1]}/"
    print(f"{catalog.path}: {len(catalog)} materials at {url} (Ctrl-C stops it)", flush=True)
    if open_browser:
        import webbrowser

        webbrowser.open(url)
    server.run(app, listener)
