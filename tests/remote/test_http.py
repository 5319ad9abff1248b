"""Stores behind a web server: a real nginx that counts requests and bytes."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from materials import IDS, density, same
from nginx import Nginx

import chgdb
from chgdb.errors import RemoteError, StoreError, UnknownMaterialError
from chgdb.verification import verify
from chgdb_cli.main import _exit_code

#: What one material from a cold start may cost, and a second one.
FIRST, SECOND = (8, 400_000), (2, 64_000)


def cost(nginx: Nginx) -> tuple[int, int]:
    asked = nginx.requests()
    assert all(request.status in (200, 206) for request in asked), asked
    return len(asked), sum(request.sent + request.received for request in asked)


def test_a_material_costs_few_requests_and_a_second_one_fewer(nginx: Nginx, large: str):
    url = f"{nginx.url}/{large}"
    catalog = chgdb.open(url)
    first = catalog["syn-77"]
    electrons = first.density.n_electrons
    stated = (first.nmae, first.tolerance, first.max_error, first.stored_bytes, first.text_bytes)
    requests, transferred = cost(nginx)
    assert requests <= FIRST[0]
    assert transferred <= FIRST[1]
    for material_id in ("syn-5000", "syn-123", "syn-6058", "syn-0"):
        second = catalog[material_id]
        assert second.density.total.size
        assert second.nmae <= second.tolerance
        requests, transferred = cost(nginx)
        assert requests <= SECOND[0]
        assert transferred <= SECOND[1]
    local = chgdb.open(nginx.root / large)["syn-77"]
    assert electrons == local.density.n_electrons
    assert stated == (local.nmae, local.tolerance, local.max_error, local.stored_bytes, local.text_bytes)


def test_the_command_line_stays_within_the_budget(nginx: Nginx, large: str, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    url = f"{nginx.url}/{large}"
    assert _exit_code(["fetch", "syn-4711", "--decode", "--catalog", url]) == 0
    requests, transferred = cost(nginx)
    assert requests <= FIRST[0]
    assert transferred <= FIRST[1]
    assert "NMAE 0.00" in capsys.readouterr().out
    assert chgdb.read("CHGCAR").crystal == chgdb.open(nginx.root / large)["syn-4711"].crystal
    # A process of its own knows from the cache what the first one read; it asks whether the store is still the same.
    assert _exit_code(["fetch", "syn-4711", "--decode", "--catalog", url, "-o", "again"]) == 0
    assert [(r.path.rpartition("/")[2], r.status) for r in nginx.requests()] == [("head.bin", 304)]
    assert Path("again").read_bytes() == Path("CHGCAR").read_bytes()


def test_fetching_needs_no_optional_package(nginx: Nginx, tmp_path: Path):
    """The core installation reads stores of web servers, and starts as fast as for a local one."""
    code = (
        "import sys, chgdb; chgdb.open(sys.argv[1])['mat-3'].density;"
        "print([m for m in ('zarr', 'fsspec', 'aiohttp', 'requests', 's3fs', 'asyncio') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, f"{nginx.url}/twelve.zarr"], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_a_remote_catalog_is_a_catalog(nginx: Nginx, served: Path):
    url = f"{nginx.url}/twelve.zarr"
    catalog, local = chgdb.open(url), chgdb.open(served / "twelve.zarr")
    assert catalog.path == url
    assert catalog.ids == IDS
    assert all(same(catalog[i].density, density(i)) for i in IDS)
    assert catalog.search(elements="Li", band_gap=(1, None)) == local.search(elements="Li", band_gap=(1, None))
    np.testing.assert_equal(catalog["mat-4"].metadata, local["mat-4"].metadata)
    assert catalog.info() | {"path": ""} == local.info() | {"path": ""}
    assert same(pickle.loads(pickle.dumps(catalog))["mat-2"].density, density("mat-2"))
    assert "mat-77" not in catalog
    with pytest.raises(UnknownMaterialError, match="close matches: mat-7"):
        catalog["mat-77"]
    report = verify(url, deep=True)
    assert report.ok, report.problems
    assert report.n_files == verify(served / "twelve.zarr").n_files


def test_xarray_opens_it_with_and_without_chgdb(nginx: Nginx, served: Path):
    pytest.importorskip("aiohttp", reason="zarr reads web servers with aiohttp: pip install 'chgdb[remote]'")
    import xarray

    url = f"{nginx.url}/twelve.zarr"
    local = xarray.open_zarr(served / "twelve.zarr").load()
    xarray.testing.assert_identical(xarray.open_zarr(url).load(), local)
    catalog = chgdb.open(url)
    mine = catalog.to_xarray()
    np.testing.assert_array_equal(mine["band_gap"].values, local["band_gap"].values)
    np.testing.assert_array_equal(mine["payload"][5:900].values, local["payload"][5:900].values)
    nginx.requests()
    assert float(catalog.to_xarray()["band_gap"].sel(material="mat-4")) == 2.0
    assert [r for r in nginx.requests() if r.status != 304] == []  # chgdb's cache serves xarray too


def test_many_materials_are_few_requests_at_the_same_time(nginx: Nginx, large: str):
    catalog = chgdb.open(f"{nginx.url}/{large}")
    ids = [f"syn-{i}" for i in range(0, 6059, 61)]
    catalog.prefetch([*ids, "not there"])
    prefetched = nginx.requests()
    # head, 3 chunks of the index, 1 of facts, and the records, near ones together
    assert len(prefetched) <= 5 + len(ids)
    assert sum(request.sent for request in prefetched) < 600_000
    assert len({catalog[i].density.n_electrons for i in ids}) > 10
    assert nginx.requests() == []


def test_neighbours_are_one_request(nginx: Nginx, large: str):
    catalog = chgdb.open(f"{nginx.url}/{large}")
    catalog.prefetch([f"syn-{i}" for i in range(100, 400)])
    ranges = [request for request in nginx.requests() if request.status == 206]
    assert len(ranges) == 1
    assert all(catalog[f"syn-{i}"].payload for i in range(100, 400))
    assert nginx.requests() == []


def test_a_store_of_an_early_version_without_a_head(nginx: Nginx, copy: Path):
    (copy / "head.bin").unlink()
    url = f"{nginx.url}/{copy.name}"
    assert same(chgdb.open(url)["mat-3"].density, density("mat-3"))
    assert verify(url).ok


def test_what_is_no_store_is_said_in_one_line(nginx: Nginx, copy: Path, served: Path):
    def message(url: str) -> str:
        with pytest.raises(StoreError) as caught:
            chgdb.open(url)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "not a chgdb store (it has no zarr.json)" in message(f"{nginx.url}/nothing")
    (copy / "checksums.txt").unlink()
    (copy / "head.bin").unlink()
    assert "incomplete, checksums.txt is missing" in message(f"{nginx.url}/{copy.name}")
    (copy / "head.bin").write_bytes(b"not a head")
    assert "head.bin is damaged" in message(f"{nginx.url}/{copy.name}")
    assert "not a URL" in message("https://")
    assert "nope://x" in message("nope://x")


def test_a_server_that_is_not_there(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CHGDB_ATTEMPTS", "2")
    with pytest.raises(
        RemoteError, match=r"9/x.zarr/head.bin: no answer \(Connection refused\), 2 times; try again later"
    ):
        chgdb.open("http://127.0.0.1:9/x.zarr")


def test_passwords_and_signatures_are_sent_but_not_shown(nginx: Nginx):
    url = nginx.url.replace("://", "://me:secret@") + "/twelve.zarr?signature=abc"
    catalog = chgdb.open(url)
    assert same(catalog["mat-1"].density, density("mat-1"))
    assert catalog.path == f"{nginx.url}/twelve.zarr"
    with pytest.raises(RemoteError) as caught:
        chgdb.open("http://me:secret@127.0.0.1:9/x.zarr?signature=abc")
    assert "secret" not in str(caught.value)
    assert "abc" not in str(caught.value)
    assert pickle.loads(pickle.dumps(catalog))._source[0] == url
    assert same(pickle.loads(pickle.dumps(catalog))["mat-2"].density, density("mat-2"))
