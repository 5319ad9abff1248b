"""Collections on servers: S3 and a web server on loopback with objects in the layouts of the Materials Project's bucket
and of file servers with CHGCARs and a list."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from nginx import Nginx
from s3 import PAGE, S3Server

import chgdb
from chgdb.errors import StoreError
from chgdb.sources import listing

DATA = Path(__file__).resolve().parents[1] / "data"
TASKS = {"mp-149": "SiC.CHGCAR", "mp-22862": "NiO_spin.CHGCAR", "mp-3000001": "SiC.CHGCAR"}
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def task_object(name: str) -> bytes:
    """One object of the bucket: gzip of a list with one document, whose "data" is a `Chgcar`."""
    chgcar = chgdb.read(DATA / name).to_pymatgen().as_dict()
    document = [{"data": chgcar, "fs_id": "0", "last_updated": {"$date": "2022-01-01T00:00:00Z"}}]
    return gzip.compress(json.dumps(document, default=lambda array: array.tolist()).encode(), 1)


@pytest.fixture(scope="module")
def bucket(running_s3: S3Server) -> str:
    pytest.importorskip("pymatgen")
    name = running_s3.bucket()
    for task, file in TASKS.items():
        running_s3.client.put_object(Bucket=name, Key=f"chgcars/{task}.json.gz", Body=task_object(file))
    running_s3.client.put_object(Bucket=name, Key="chgcars/manifest.txt", Body=b"not a density")
    return name


def gets(s3: S3Server) -> list[str]:
    return [line for line in s3.requests() if line.startswith("GET") and "json.gz" in line]


def test_the_layout_of_the_materials_project(s3: S3Server, bucket: str, tmp_path: Path):
    out = tmp_path / "mp.zarr"
    report = chgdb.build(out, f"mp://?bucket={bucket}", workers=1)
    assert report.added == ("mp-149", "mp-22862", "mp-3000001")
    assert report.complete
    catalog = chgdb.open(out)
    record = catalog["mp-22862"]
    assert record.metadata["task_id"] == "mp-22862"
    assert record.metadata["source_url"] == f"s3://{bucket}/chgcars/mp-22862.json.gz"
    assert record.metadata["licence"] == "CC-BY-4.0"
    assert record.metadata["source_bytes"] == len(task_object("NiO_spin.CHGCAR"))
    assert record.density.n_electrons == pytest.approx(22, abs=1e-3)
    assert list(record.density.channels) == ["total", "magnetization"]
    before = len(gets(s3))
    again = chgdb.build(out, f"mp://?bucket={bucket}", workers=1)
    assert again.skipped == report.added
    assert len(gets(s3)) == before  # nothing is fetched to see that it is there


def test_a_public_bucket_needs_no_credentials(public_s3: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Listed page after page, and read, without a signature, as the Materials Project's bucket is."""
    import s3fs

    name = public_s3.bucket(public=True)
    public_s3.client.put_object(
        Bucket=name, Key="chgcars/mp-149.json.gz", Body=task_object("SiC.CHGCAR"), ACL="public-read"
    )
    for number in range(PAGE + 20):
        public_s3.client.put_object(
            Bucket=name, Key=f"chgcars/mp-{number + 1000}.json.gz", Body=b"x", ACL="public-read"
        )
    public_s3.environment(monkeypatch)
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(variable)
    s3fs.S3FileSystem.clear_instance_cache()
    entries = listing(f"mp://?bucket={name}").entries
    assert [entry.material_id for entry in entries[:2]] == ["mp-149", "mp-1000"]
    assert len(entries) == PAGE + 21
    assert chgdb.build(tmp_path / "s.zarr", f"mp://mp-149?bucket={name}", workers=1).added == ("mp-149",)


def test_tasks_by_a_table_get_the_ids_of_materials(s3: S3Server, bucket: str, tmp_path: Path):
    table = tmp_path / "tasks.csv"
    table.write_text("material_id,task_id,functional\nmp-1,mp-22862,PBE+U\nmp-2,mp-149,PBE\nmp-4,nonsense,PBE\n")
    report = chgdb.build(tmp_path / "mp.zarr", f"mp://?bucket={bucket}&table={table}", workers=1)
    assert report.added == ("mp-1", "mp-2")
    assert report.refused == (("nonsense", "is no id of a task, such as mp-149"),)
    metadata = chgdb.open(tmp_path / "mp.zarr")["mp-1"].metadata
    assert (metadata["task_id"], metadata["functional"]) == ("mp-22862", "PBE+U")


def test_what_is_missing_is_refused_and_the_rest_built(s3: S3Server, bucket: str, tmp_path: Path):
    report = chgdb.build(tmp_path / "mp.zarr", f"mp://mp-149,mp-7?bucket={bucket}", workers=1)
    assert report.added == ("mp-149",)
    ((place, reason),) = report.refused
    assert place.endswith("chgcars/mp-7.json.gz")
    assert "there is no such file" in reason
    s3.client.put_object(Bucket=bucket, Key="chgcars/mp-7.json.gz", Body=task_object("SiC.CHGCAR"))
    report = chgdb.build(tmp_path / "mp.zarr", f"mp://mp-149,mp-7?bucket={bucket}", workers=1)
    s3.client.delete_object(Bucket=bucket, Key="chgcars/mp-7.json.gz")
    assert (report.added, report.skipped) == (("mp-7",), ("mp-149",))


def test_urls_of_another_form():
    for url in ("mp://?buckets=x", "mp://mp-1?table=x.csv"):
        with pytest.raises(StoreError, match="expected mp://, mp://TASK,TASK"):
            listing(url)
    with pytest.raises(StoreError, match=r"expected list\+https"):
        listing("list://example.org/x.csv")


@pytest.fixture(scope="module")
def archive(served: Path) -> Iterator[Path]:
    """A file server's folder of CHGCARs, as ECD and QMOF have: a list with checksums, and one of paths alone."""
    folder = served / "ecd"
    (folder / "pbe").mkdir(parents=True)
    rows = ["path,material_id,sha256,functional,licence"]
    addresses = []
    for number, name in enumerate(["SiC.CHGCAR", "NiO_spin.CHGCAR"]):
        data = gzip.compress((DATA / name).read_bytes(), mtime=0)
        (folder / f"pbe/CHGCAR_{number}.gz").write_bytes(data)
        rows.append(f"pbe/CHGCAR_{number}.gz,ecd-{number},{hashlib.sha256(data).hexdigest()},PBE,CC-BY-4.0")
        addresses.append(f"pbe/CHGCAR_{number}.gz")
    (folder / "list.csv").write_text("\n".join(rows) + "\n")
    (folder / "list.txt").write_text("# PBE\n" + "\n".join(addresses) + "\nREADME.md\n")
    yield folder
    shutil.rmtree(folder)


def test_a_list_of_a_web_server(nginx: Nginx, archive: Path, tmp_path: Path):
    out = tmp_path / "ecd.zarr"
    report = chgdb.build(out, f"list+{nginx.url}/ecd/list.csv", workers=1)
    assert report.added == ("ecd-0", "ecd-1")
    metadata = chgdb.open(out)["ecd-1"].metadata
    assert (metadata["functional"], metadata["licence"]) == ("PBE", "CC-BY-4.0")
    assert metadata["source_url"] == f"{nginx.url}/ecd/pbe/CHGCAR_1.gz"
    assert "sha256" not in metadata  # compared, and not kept: the crc32c of the file is


def test_an_interrupted_build_goes_on(nginx: Nginx, archive: Path, tmp_path: Path):
    """What was finished is not fetched again."""

    def stop(done: int, total: int, name: str) -> None:
        raise KeyboardInterrupt

    source = f"list+{nginx.url}/ecd/list.csv"
    with pytest.raises(KeyboardInterrupt):
        chgdb.build(tmp_path / "ecd.zarr", source, workers=1, progress=stop)
    nginx.requests()
    report = chgdb.build(tmp_path / "ecd.zarr", source, workers=1)
    assert report.added == ("ecd-0", "ecd-1")
    fetched = [request.path for request in nginx.requests()]
    assert fetched == ["/ecd/list.csv", "/ecd/pbe/CHGCAR_1.gz"]


def test_scripts_and_plain_lists(nginx: Nginx, archive: Path, tmp_path: Path):
    lines = [f"wget -c '{nginx.url}/ecd/pbe/CHGCAR_{number}.gz' -O {number}.gz\n" for number in (0, 1, 0)]
    (archive / "download.sh").write_text("#!/bin/sh\n# https://example.org/about\n" + "".join(lines))
    for name in ("download.sh", "list.txt"):
        entries = listing(f"list+{nginx.url}/ecd/{name}").entries
        assert [entry.url for entry in entries] == [f"{nginx.url}/ecd/pbe/CHGCAR_{number}.gz" for number in (0, 1)]
        assert len({entry.material_id for entry in entries}) == 2
    local = listing(f"list+file://{archive}/list.txt").entries
    assert [entry.url for entry in local] == [f"{archive}/pbe/CHGCAR_{number}.gz" for number in (0, 1)]


def test_a_wrong_checksum_is_refused(nginx: Nginx, archive: Path, tmp_path: Path):
    data = (archive / "pbe/CHGCAR_0.gz").read_bytes()
    (archive / "pbe/CHGCAR_0.gz").write_bytes(data + b" ")
    try:
        report = chgdb.build(tmp_path / "ecd.zarr", f"list+{nginx.url}/ecd/list.csv", workers=1)
    finally:
        (archive / "pbe/CHGCAR_0.gz").write_bytes(data)
    assert report.added == ("ecd-1",)
    assert "its sha256 is" in report.refused[0][1]
    (archive / "empty.txt").write_text("nothing here\n")
    with pytest.raises(StoreError, match="names no densities"):
        listing(f"list+{nginx.url}/ecd/empty.txt")


def test_two_sources_and_files_in_one_build(nginx: Nginx, archive: Path, tmp_path: Path):
    inputs = [f"list+{nginx.url}/ecd/list.csv", f"list+file://{archive}/list.csv", DATA / "LiF.cube"]
    report = chgdb.build(tmp_path / "s.zarr", inputs, workers=1)
    assert sorted(report.added) == ["LiF", "ecd-0", "ecd-1"]
    assert len(report.refused) == 2
    assert all("is that of another density of these inputs" in reason for _, reason in report.refused)
