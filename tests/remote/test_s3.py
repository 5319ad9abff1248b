"""Stores in S3: a real server on loopback that checks credentials and signatures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from aio_sessions import close, open_sessions
from materials import COLUMNS, IDS, contents, density, load_changed, same
from s3 import PAGE, S3Server

import chgdb
from chgdb.errors import RemoteError
from chgdb.ingest import build_from
from chgdb.publish import publish, pull
from chgdb.remote.connect import connect
from chgdb.verification import verify
from chgdb_cli.main import _exit_code

# s3fs leaves the sessions of its file systems to the garbage collector, which warns of them.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def no_sessions_left() -> Iterator[None]:
    s3fs = pytest.importorskip("s3fs")
    before = open_sessions()
    yield
    close(open_sessions() - before, s3fs.S3FileSystem)


@pytest.fixture(scope="module")
def store(running_s3: S3Server, served: Path) -> str:
    """URL of twelve.zarr in a bucket that only the writer may read."""
    bucket = running_s3.bucket()
    running_s3.upload(served / "twelve.zarr", bucket, "stores/twelve.zarr")
    return f"s3://{bucket}/stores/twelve.zarr"


def test_with_credentials(s3: S3Server, store: str, served: Path):
    catalog = chgdb.open(store)
    assert all(same(catalog[i].density, density(i)) for i in IDS[:4])
    assert catalog.search(band_gap=(2, 3)) == chgdb.open(served / "twelve.zarr").search(band_gap=(2, 3))
    assert verify(store).ok
    import xarray

    assert xarray.open_zarr(store)["band_gap"].values[4] == 2.0
    assert catalog.to_xarray()["band_gap"].values[4] == 2.0


def test_requests_of_one_material(s3: S3Server, store: str):
    catalog = chgdb.open(store)
    before = len(s3.requests())
    chgdb.open(store)["mat-3"].density  # noqa: B018
    cold = s3.requests()[before:]
    assert 0 < len(cold) <= 8, cold
    catalog["mat-3"].density  # noqa: B018
    before = len(s3.requests())
    catalog["mat-4"].density  # noqa: B018
    assert 0 < len(s3.requests()) - before <= 2


def test_wrong_credentials_are_one_line(s3: S3Server, store: str, monkeypatch: pytest.MonkeyPatch):
    s3.environment(monkeypatch, secret="wrong")
    with pytest.raises(RemoteError) as caught:
        chgdb.open(store)
    assert "\n" not in str(caught.value)
    assert store in str(caught.value)
    assert "wrong" not in str(caught.value)


def test_a_public_bucket_needs_no_credentials(public_s3: S3Server, served: Path, monkeypatch: pytest.MonkeyPatch):
    import s3fs

    bucket, private = public_s3.bucket(public=True), public_s3.bucket()
    public_s3.upload(served / "twelve.zarr", bucket, "twelve.zarr", public=True)
    public_s3.upload(served / "twelve.zarr", private, "twelve.zarr")
    public_s3.environment(monkeypatch)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    s3fs.S3FileSystem.clear_instance_cache()
    assert same(chgdb.open(f"s3://{bucket}/twelve.zarr")["mat-3"].density, density("mat-3"))
    with pytest.raises(RemoteError, match=r"s3://.*refuses access"):
        chgdb.open(f"s3://{private}/twelve.zarr")
    # The same over HTTP, as public buckets are often read, and with the options of fsspec.
    assert same(chgdb.open(f"{public_s3.endpoint}/{bucket}/twelve.zarr")["mat-4"].density, density("mat-4"))
    assert same(chgdb.open(f"s3://{bucket}/twelve.zarr", options={"anon": True})["mat-5"].density, density("mat-5"))


def test_what_is_not_there(s3: S3Server, store: str):
    for url in (f"{store}-other", "s3://no-such-bucket/store"):
        with pytest.raises(OSError, match=r"s3://") as caught:
            chgdb.open(url)
        assert "\n" not in str(caught.value)


def test_more_files_than_one_page_of_a_listing(public_s3: S3Server, monkeypatch: pytest.MonkeyPatch):
    public_s3.environment(monkeypatch)
    bucket = public_s3.bucket()
    for i in range(2 * PAGE + 30):
        public_s3.client.put_object(Bucket=bucket, Key=f"many/{i:05d}", Body=b"x" * (i % 3))
    found = list(connect(f"s3://{bucket}/many").sizes())
    assert found == [(f"{i:05d}", i % 3) for i in range(2 * PAGE + 30)]


def test_publish_and_pull(s3: S3Server, served: Path, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    bucket = s3.bucket()
    url, first = f"s3://{bucket}/published", served / "twelve.zarr"
    second = tmp_path / "second.zarr"
    build_from(second, IDS, load_changed, columns=COLUMNS, tolerance=0, prior=None, workers=1)
    publish(first, url)
    reader = chgdb.open(url)
    assert same(reader["mat-1"].density, density("mat-1"))
    assert _exit_code(["publish", str(second), url]) == 0
    assert same(reader["mat-2"].density, density("mat-2"))
    assert same(chgdb.open(url)["mat-2"].density, load_changed("mat-2")[0])
    assert _exit_code(["fetch", "mat-3", "mat-4", "--decode", "--catalog", url]) == 0
    assert not publish(second, url).changed
    assert verify(url, deep=True).ok
    import xarray

    assert xarray.open_zarr(chgdb.open(url).zarr_url)["band_gap"].values[4] == 2.0
    done = pull(url, tmp_path / "here.zarr")
    assert {k: v for k, v in contents(tmp_path / "here.zarr").items() if k != "release.json"} == contents(second)
    assert done.received == done.bytes
    with pytest.raises(RemoteError, match="no such bucket"):
        publish(first, "s3://no-such-bucket/x")
