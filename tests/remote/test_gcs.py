"""Stores in Google Cloud Storage: gcsfs against a server of it on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from gcs import GcsServer
from materials import COLUMNS, IDS, contents, density, load_changed, same

import chgdb
from chgdb.errors import RemoteError
from chgdb.ingest import build_from
from chgdb.publish import publish, pull
from chgdb.verification import verify
from chgdb_cli.main import _exit_code

# gcsfs leaves the sessions of its file systems to the garbage collector, which warns of them.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GcsServer]:
    for module in ("gcsfs", "gcp_storage_emulator"):
        pytest.importorskip(module, reason="needs gcsfs and gcp-storage-emulator: pip install 'chgdb[test]'")
    running = GcsServer(tmp_path_factory.mktemp("gcs"))
    yield running
    running.close()


@pytest.fixture
def bucket(server: GcsServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server.environment(monkeypatch)
    yield server.bucket()
    server.forget()


def test_publish_read_and_pull(bucket: str, served: Path, tmp_path: Path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    url, first = f"gs://{bucket}/published", served / "twelve.zarr"
    second = tmp_path / "second.zarr"
    build_from(second, IDS, load_changed, columns=COLUMNS, tolerance=0, prior=None, workers=1)
    done = publish(first, url)
    assert (done.changed, done.sent) == (True, done.bytes)
    reader = chgdb.open(url)
    assert same(reader["mat-1"].density, density("mat-1"))
    assert reader.to_xarray()["band_gap"].values[4] == 2.0
    capfd.readouterr()
    assert _exit_code(["publish", str(second), url]) == 0
    assert _exit_code(["fetch", "mat-3", "--decode", "--catalog", url]) == 0
    assert capfd.readouterr().err == ""  # nothing of gcsfs's own
    assert same(reader["mat-2"].density, density("mat-2"))  # began with the first, which is still there
    assert same(chgdb.open(url)["mat-2"].density, load_changed("mat-2")[0])
    assert not publish(second, url).changed
    assert verify(url, deep=True).ok
    import xarray

    assert xarray.open_zarr(chgdb.open(url).zarr_url)["band_gap"].values[4] == 2.0
    assert pull(url, tmp_path / "here.zarr").n_materials == 12
    assert contents(tmp_path / "here.zarr") == contents(second)


def test_what_is_not_there(bucket: str, served: Path):
    for url in (f"gs://{bucket}/nothing", "gs://no-such-bucket/store"):
        with pytest.raises(OSError, match=f"^{url}: not a chgdb store") as caught:
            chgdb.open(url)
        assert "\n" not in str(caught.value)
    with pytest.raises(RemoteError, match="no such bucket"):
        publish(served / "twelve.zarr", "gs://no-such-bucket/store")
