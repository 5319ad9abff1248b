"""Real servers on loopback: nginx, a proxy that spoils answers, an S3 server. Tests skip where one is not installed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults import FaultyProxy
from materials import COLUMNS, IDS, load
from nginx import Nginx
from s3 import S3Server
from synthetic import synthetic

from chgdb.ingest import build_from


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache for each test, and short pauses between attempts."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("CHGDB_CACHE", str(folder))
    for name in ("CHGDB_CACHE_SIZE", "CHGDB_OFFLINE", "CHGDB_TIMEOUT", "CHGDB_ATTEMPTS", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("chgdb.remote.transport._FIRST_PAUSE", 0.01)
    return folder


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that nginx serves: twelve.zarr, of twelve small materials; do not change it."""
    folder = tmp_path_factory.mktemp("served")
    attributes = {"title": "Twelve", "licence": "CC0-1.0"}
    out = folder / "twelve.zarr"
    assert build_from(
        out, IDS, load, columns=COLUMNS, attributes=attributes, tolerance=0, prior=None, workers=1
    ).complete
    return folder


@pytest.fixture(scope="session")
def large(served: Path) -> str:
    """Name of a synthetic store of 6,059 materials in the served folder."""
    synthetic(served / "large.zarr", 6059)
    return "large.zarr"


@pytest.fixture(scope="session")
def running_nginx(served: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    try:
        server = Nginx(served, tmp_path_factory.mktemp("nginx"))
    except FileNotFoundError:
        pytest.skip("needs nginx (apt-get install nginx)")
    yield server
    server.close()


@pytest.fixture
def nginx(running_nginx: Nginx) -> Nginx:
    """nginx over the served folder, with what was asked before forgotten."""
    running_nginx.requests()
    return running_nginx


@pytest.fixture(scope="session")
def running_proxy(running_nginx: Nginx) -> Iterator[FaultyProxy]:
    proxy = FaultyProxy(running_nginx.url)
    yield proxy
    proxy.close()


@pytest.fixture
def proxy(running_proxy: FaultyProxy) -> Iterator[FaultyProxy]:
    """A proxy in front of nginx without any fault yet."""
    running_proxy.reset()
    yield running_proxy
    running_proxy.reset()


@pytest.fixture
def copy(served: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of twelve.zarr in the served folder that a test may change."""
    target = served / f"copy-{tmp_path.name}.zarr"
    shutil.copytree(served / "twelve.zarr", target)
    yield target
    shutil.rmtree(target, ignore_errors=True)


def s3_server(folder: Path, checked: bool) -> Iterator[S3Server]:
    for module in ("s3fs", "moto", "flask_cors", "boto3"):
        pytest.importorskip(module, reason="needs s3fs and moto: pip install 'chgdb[test]'")
    server = S3Server(folder, checked)
    yield server
    server.close()


@pytest.fixture(scope="session")
def running_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    yield from s3_server(tmp_path_factory.mktemp("s3"), True)


@pytest.fixture(scope="session")
def public_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server that does not check signatures, but gives nothing that is not public to those who have none."""
    yield from s3_server(tmp_path_factory.mktemp("public"), False)


@pytest.fixture(params=["obstore", "s3fs"])
def s3(request: pytest.FixtureRequest, running_s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """An S3 server that knows one user, whose credentials are in the environment; read in both ways."""
    if request.param == "obstore":
        pytest.importorskip("obstore", reason="needs obstore: pip install 'chgdb[test]'")
    else:
        monkeypatch.setattr("chgdb.remote.obstore.applies", lambda url, options: False)
    running_s3.environment(monkeypatch)
    return running_s3
