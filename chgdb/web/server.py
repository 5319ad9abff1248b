"""The server of `chgdb web`: the page, the files of a store, and what the page cannot do by itself."""

from __future__ import annotations

import os
import socket
from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.staticfiles import StaticFiles

from chgdb import Catalog
from chgdb.errors import StoreError
from chgdb.web import api, uploads
from chgdb.web.guard import App, Guard
from chgdb.web.jobs import READING, Queue
from chgdb.web.page import TYPES, Asset, config

#: Bytes of a request's body: a CHGCAR of 60 MB, its gzip, or a density of 256^3 points.
LIMIT = 256 << 20


def create_app(
    catalog: Catalog, *, hosts: Collection[str] = (), limit: int = LIMIT, pack_into: Path | None = None
) -> App:
    """The ASGI application for a catalog.

    hosts: further names under which it answers (see `guard.Guard`). limit: bytes that an upload may have.
    pack_into: the store that users' files are packed into, which need not exist; None where that is not offered.
    """
    app = FastAPI(
        title="chgdb", version="1", openapi_url="/api/v1/openapi.json", docs_url=None, redoc_url=None,
        description="Electronic charge densities of a store, searched, decoded and measured.",
    )  # fmt: skip
    app.add_exception_handler(RequestValidationError, api.unfit)
    reading = Queue(READING)
    app.include_router(api.router(catalog, reading))
    app.include_router(uploads.router(catalog, pack_into))
    if find_spec("optimade"):  # its parser of filters; everything else goes without
        from chgdb.web import optimade

        app.router.routes.extend(optimade.routes(catalog, reading))
    assets = {name: Asset.read(name) for name in TYPES}
    folder = Path(catalog.path)
    is_folder = folder.is_dir()

    def page(request: Request) -> Response:
        name = request.url.path.lstrip("/") or "index.html"
        return _send(request, assets[name])

    for path in ("/", *(f"/{name}" for name in TYPES)):
        app.add_route(path, page, include_in_schema=False)

    def settings(request: Request) -> JSONResponse:
        title = str(catalog.attributes.get("title", "chgdb"))
        server = {
            "models": uploads.offered(),
            "latents": uploads.has_latents(catalog),
            "pack": None if pack_into is None else str(pack_into.absolute()),
            "estimate": True,
            "limit": limit,
        }
        about = config(title, "store/" if is_folder else "", api="api/v1/", server=server)
        return JSONResponse(about, headers={"cache-control": "no-store"})

    app.add_route("/config.json", settings, include_in_schema=False)
    if is_folder:
        app.mount("/store", _Store(directory=folder), name="store")
    return Guard(app, hosts=hosts, limit=limit, uploads=uploads.PATHS)


class _Store(StaticFiles):
    """Files of a store, which another version can replace: a browser asks each time whether it has the newest."""

    def file_response(self, *arguments: Any, **options: Any) -> Response:
        response = super().file_response(*arguments, **options)
        response.headers["cache-control"] = "no-cache"
        return response


def _send(request: Request, asset: Asset) -> Response:
    headers = {"etag": asset.etag, "cache-control": "no-cache", "vary": "accept-encoding"}
    if asset.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    packed = "gzip" in request.headers.get("accept-encoding", "")
    if packed:
        headers["content-encoding"] = "gzip"
    return Response(asset.packed if packed else asset.body, media_type=asset.media_type, headers=headers)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 for any free one. Raises `StoreError` if the port is taken or not ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.socket(family, socket.SOCK_STREAM)
        if os.name != "nt":  # there it would share a port that another program has
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        raise StoreError(f"port {port} of {host}: {error.strerror or error}; choose another with --port") from None
    return listener


def run(app: App, listener: socket.socket) -> None:
    """Serve until interrupted."""
    settings = uvicorn.Config(app, log_level="warning", server_header=False, proxy_headers=False, timeout_keep_alive=30)
    try:
        uvicorn.Server(settings).run(sockets=[listener])
    except KeyboardInterrupt:
        pass  # that is how it is stopped
    finally:
        listener.close()
