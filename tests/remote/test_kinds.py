"""Other kinds of URL: archives, memory, local files; and what each says where something is missing."""

from __future__ import annotations

import multiprocessing
import shutil
from pathlib import Path

import fsspec
import pytest
from materials import IDS, density, same
from nginx import Nginx

import chgdb
from chgdb.errors import RemoteError
from chgdb.remote.connect import connect
from chgdb.remote.http import _github
from chgdb.urls import public, url_path
from chgdb.verification import verify


def test_an_archive_on_a_web_server(nginx: Nginx, served: Path):
    pytest.importorskip("aiohttp", reason="fsspec reads archives on web servers with aiohttp")
    shutil.make_archive(str(served / "twelve"), "zip", served / "twelve.zarr")
    catalog = chgdb.open(f"zip::{nginx.url}/twelve.zip")
    assert same(catalog["mat-3"].density, density("mat-3"))
    assert verify(f"zip::{nginx.url}/twelve.zip").ok
    assert catalog.to_xarray()["band_gap"].values[4] == 2.0
    with pytest.raises(RemoteError, match=r"no\.zip"):
        chgdb.open(f"zip::{nginx.url}/no.zip")


def test_memory_and_local_urls_are_not_cached(served: Path, tmp_path: Path, own_cache: Path):
    system = fsspec.filesystem("memory")
    system.put(str(served / "twelve.zarr"), f"/{tmp_path.name}", recursive=True)
    for url in (f"memory://{tmp_path.name}", f"file://{served}/twelve.zarr"):
        catalog = chgdb.open(url)
        assert catalog.path == url
        assert same(catalog["mat-3"].density, density("mat-3"))
        assert catalog.to_xarray().sizes["material"] == 12
    system.rm(f"/{tmp_path.name}", recursive=True)
    assert not own_cache.exists()


def test_github_is_read_as_a_web_server():
    assert _github("github://a:b@v1/x/y.zarr") == "https://raw.githubusercontent.com/a/b/v1/x/y.zarr"
    assert _github("github://a:b/x") == "https://raw.githubusercontent.com/a/b/HEAD/x"
    with pytest.raises(RemoteError, match="expected github://OWNER:REPOSITORY"):
        connect("github://a/b")


def test_what_messages_show_of_a_url():
    assert public("https://me:secret@example.org/x?signature=abc") == "https://example.org/x"
    assert public("s3://bucket/a@b") == "s3://bucket/a@b"
    assert url_path("https://example.org/a/CHGCAR?x=1") == "a/CHGCAR"


def _density_of(catalog: chgdb.Catalog, material_id: str) -> bool:
    return same(catalog[material_id].density, density(material_id))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_an_open_catalog_goes_to_other_processes(nginx: Nginx, method: str):
    catalog = chgdb.open(f"{nginx.url}/twelve.zarr")
    assert _density_of(catalog, "mat-0")
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert all(pool.starmap(_density_of, [(catalog, i) for i in IDS]))
    assert _density_of(catalog, "mat-11")
