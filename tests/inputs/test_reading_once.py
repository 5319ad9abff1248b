"""What a build reads: each URL once, pipes, and files that somebody is still writing."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from materials import atoms, density, same

import chgdb
from chgdb import packer
from chgdb.store.head import crc32c


class Counting(SimpleHTTPRequestHandler):
    """Files of a folder; how often each was asked for."""

    asked: ClassVar[Counter[str]] = Counter()

    def do_GET(self) -> None:
        self.asked[self.path] += 1
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    for name in ("mat-1", "mat-2"):
        (tmp_path / "served" / name).mkdir(parents=True)
        chgdb.write(tmp_path / "served" / name / "CHGCAR.gz", atoms(name))
    Counting.asked.clear()
    handler = partial(Counting, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


@pytest.mark.parametrize("prior", [None, "fit"])
def test_a_url_is_read_once(server: str, tmp_path: Path, prior: str | None) -> None:
    urls = [f"{server}/mat-1/CHGCAR.gz", f"{server}/mat-2/CHGCAR.gz"]
    out = tmp_path / "s.zarr"
    report = chgdb.build(out, urls, workers=1, prior=prior)  # type: ignore[arg-type]
    assert report.added == ("mat-1", "mat-2")
    assert Counting.asked == {"/mat-1/CHGCAR.gz": 1, "/mat-2/CHGCAR.gz": 1}
    for record in chgdb.open(out):
        bytes_ = (tmp_path / "served" / record.material_id / "CHGCAR.gz").read_bytes()
        assert record.metadata["source_crc32c"] == crc32c(bytes_)
    assert chgdb.build(out, urls, workers=1, prior=None).skipped == ("mat-1", "mat-2")
    assert set(Counting.asked.values()) == {2}


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mat-1" / "CHGCAR"
    path.parent.mkdir()
    chgdb.write(path, density("mat-1"))
    read = packer.read

    def written_meanwhile(*args: object, **kwargs: object) -> chgdb.Density:
        found = read(*args, **kwargs)  # type: ignore[arg-type]
        with open(path, "a") as file:
            file.write(" \n")
        return found

    monkeypatch.setattr(packer, "read", written_meanwhile)
    report = chgdb.build(tmp_path / "s.zarr", path, workers=1, tolerance=0)
    assert "has changed while it was read" in report.refused[0][1]
    monkeypatch.undo()
    assert chgdb.build(tmp_path / "s.zarr", path, workers=1, tolerance=0).complete


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    pipe, path = tmp_path / "mat-1.CHGCAR", tmp_path / "file" / "CHGCAR"
    path.parent.mkdir()
    chgdb.write(path, density("mat-1"))
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(path.read_bytes()), daemon=True)
    writer.start()
    assert chgdb.build(tmp_path / "s.zarr", pipe, workers=1, tolerance=0).added == ("mat-1",)
    writer.join(10)
    record = chgdb.open(tmp_path / "s.zarr")["mat-1"]
    assert same(record.density, chgdb.read(path))
    assert record.metadata["source_crc32c"] == crc32c(path.read_bytes())
