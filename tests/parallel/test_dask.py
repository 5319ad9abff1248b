"""`scheduler=`: the same results from the workers of a real Dask cluster, also of those that are killed."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from dask_cluster import Cluster
from materials import COLUMNS, IDS, Noted, atoms, contents, density, load, load_or_die, load_real

import chgdb
from chgdb import views
from chgdb.errors import MissingExtraError, StoreError
from chgdb.ingest import build, build_from
from chgdb.models import rows
from chgdb.parallel import dask as work_dask
from chgdb.store.transaction import beside
from chgdb.verification import verify
from chgdb_cli.main import _exit_code

pytest.importorskip("distributed", reason="needs Dask: pip install 'chgdb[dask]'")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """In another working folder than the tests."""
    started = Cluster(tmp_path_factory.mktemp("dask"), Path(__file__).parents[1])
    yield started
    started.close()


@pytest.fixture
def cluster(running: Cluster) -> Cluster:
    """Two workers."""
    running.grow(2)
    return running


def test_a_cluster_gives_what_one_process_gives(cluster: Cluster, tmp_path: Path) -> None:
    settings = {"columns": COLUMNS, "tolerance": 0}
    build_from(tmp_path / "one.zarr", IDS, load, workers=1, **settings)
    seen: list[int] = []
    report = build_from(
        tmp_path / "dask.zarr", IDS, load, scheduler=cluster.address,
        progress=lambda done, total, name: seen.append(done), **settings,
    )  # fmt: skip
    assert report.added == tuple(IDS)
    assert seen == list(range(1, 13))
    assert contents(tmp_path / "dask.zarr") == contents(tmp_path / "one.zarr")
    build_from(tmp_path / "two.zarr", IDS, load, workers=2, scheduler="processes", **settings)
    assert contents(tmp_path / "two.zarr") == contents(tmp_path / "one.zarr")


def test_a_collection_on_a_server(cluster: Cluster, tmp_path: Path) -> None:
    """Workers fetch what a list names by themselves; the list is read here."""
    served = tmp_path / "served"
    served.mkdir()
    for name in IDS[:3]:
        chgdb.write(served / f"{name}.CHGCAR.gz", density(name))
    (served / "list.txt").write_text("".join(f"{name}.CHGCAR.gz\n" for name in IDS[:3]))
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, text: str, *values: object) -> None:
            asked.append(str(values[0]).split()[1])

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(served)))
    Thread(target=server.serve_forever, daemon=True).start()
    source = f"list+http://127.0.0.1:{server.server_address[1]}/list.txt"
    try:
        report = build(tmp_path / "s.zarr", source, tolerance=0, scheduler=cluster.address)
        again = build(tmp_path / "s.zarr", source, tolerance=0, scheduler=cluster.address)
    finally:
        server.shutdown()
        server.server_close()
    assert sorted(report.added) == sorted(again.skipped) == sorted(IDS[:3])
    assert asked.count("/list.txt") == 2
    opened = chgdb.open(tmp_path / "s.zarr")
    assert all(np.allclose(opened[name].density.total, density(name).total, rtol=1e-9) for name in IDS[:3])


@pytest.mark.slow
def test_the_command_line_with_relative_paths(cluster: Cluster, tmp_path: Path, monkeypatch, capsys) -> None:
    """Workers run in a folder of their own, and find the files all the same; a bad one is refused as ever."""
    monkeypatch.chdir(tmp_path)
    for material_id in IDS[:2]:
        (Path("runs") / material_id).mkdir(parents=True)
        chgdb.write(Path("runs") / material_id / "CHGCAR", atoms(material_id))
    (Path("runs") / "broken").mkdir()
    (Path("runs") / "broken" / "CHGCAR").write_text("not a density\n")
    assert _exit_code(["build", "dask.zarr", "runs", "--scheduler", cluster.address]) == 1
    shown = capsys.readouterr()
    assert "2 added, 1 refused" in shown.out
    assert len(shown.err.splitlines()) == 1
    assert "runs/broken/CHGCAR" in shown.err
    assert _exit_code(["build", "one.zarr", "runs", "--workers", "1"]) == 1
    assert contents(Path("dask.zarr")) == contents(Path("one.zarr"))
    # again, with another prior: it is not the one that the workers were given before
    other = build("with.zarr", "runs", prior="fit", scheduler=cluster.address)
    assert len(other.added) == 2
    assert verify("with.zarr", deep=True, originals=Path("runs")).measured == 2
    build("fitted.zarr", "runs", prior="fit", workers=1)
    assert contents(Path("with.zarr")) == contents(Path("fitted.zarr"))


def test_killed_workers_cost_nothing_but_their_time(cluster: Cluster, tmp_path: Path) -> None:
    """kill -9 of all workers in the middle of their tasks, twice; the store is the same to the byte."""
    reference, log = tmp_path / "reference.zarr", tmp_path / "calls"
    build_from(reference, IDS, load, columns=COLUMNS, tolerance=0, workers=1)
    killed = []

    def kill(done: int, total: int, name: str) -> None:
        if done in (2, 6):
            for worker in cluster.living():
                worker.kill()
                killed.append(worker.wait())
            cluster.grow(1)

    report = build_from(
        tmp_path / "s.zarr", IDS, Noted(log), columns=COLUMNS, tolerance=0, scheduler=cluster.address, progress=kill
    )
    assert killed == [-signal.SIGKILL] * 3
    assert report.complete
    assert contents(tmp_path / "s.zarr") == contents(reference)
    begun = log.read_text().split()
    assert set(begun) == set(IDS)
    # Again: what a dead worker was at, and what it had ended that nobody had fetched yet.
    assert len(IDS) < len(begun) <= len(IDS) + 2 * len(killed)


@pytest.mark.slow
def test_a_task_that_kills_its_workers_is_given_up(cluster: Cluster, tmp_path: Path) -> None:
    cluster.grow(4)
    report = build_from(tmp_path / "s.zarr", IDS[3:8], load_or_die, tolerance=0, scheduler=cluster.address)
    assert sorted(report.refused) == [
        ("mat-4", "the Dask workers that ran it died (out of memory?); try it with fewer at a time"),
        ("mat-6", "mat-6 has no density"),
    ]
    assert sorted(chgdb.open(tmp_path / "s.zarr").ids) == ["mat-3", "mat-5", "mat-7"]


@pytest.mark.slow
def test_a_lost_scheduler_keeps_what_is_finished(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path / "dask", Path(__file__).parents[1])
    cluster.grow(1)
    done: list[str] = []

    def lose(count: int, total: int, name: str) -> None:
        done.append(name)
        if count == 3:
            cluster.close()

    try:
        with pytest.raises(StoreError, match=r"lost the Dask scheduler at tcp://.*run the same command again"):
            build_from(tmp_path / "s.zarr", IDS, load, tolerance=0, scheduler=cluster.address, progress=lose)
    finally:
        cluster.close()
    assert (beside(tmp_path / "s.zarr", "journal") / "records.log").exists()
    again: list[str] = []
    report = build_from(
        tmp_path / "s.zarr", IDS, load, tolerance=0, workers=1, progress=lambda done, total, name: again.append(name)
    )
    assert report.added == tuple(IDS)
    assert set(again) == set(IDS) - set(done)


def test_what_cannot_run_is_one_line(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_dask, "_CONNECT", 0.3)
    with pytest.raises(StoreError, match=r"no Dask scheduler at tcp://127.0.0.1:9: .*; start one with dask scheduler"):
        build_from(tmp_path / "s.zarr", IDS, load, scheduler="tcp://127.0.0.1:9", prior=None)
    with pytest.raises(StoreError, match="no Dask scheduler at nonsense"):
        build_from(tmp_path / "s.zarr", IDS, load, scheduler="nonsense://x", prior=None)
    monkeypatch.undo()
    with monkeypatch.context() as other:
        other.setattr(work_dask, "__version__", "99.0")
        with pytest.raises(StoreError, match=r"the Dask worker tcp://.* has chgdb .*, and this is 99.0: install"):
            build_from(tmp_path / "s.zarr", IDS, load, scheduler=cluster.address, prior=None)
    with monkeypatch.context() as without:
        without.setitem(__import__("sys").modules, "distributed", None)
        with pytest.raises(MissingExtraError, match=r"a scheduler needs distributed.*pip install 'chgdb\[dask\]'"):
            build_from(tmp_path / "s.zarr", IDS, load, scheduler=cluster.address, prior=None)
    assert not (tmp_path / "s.zarr").exists()


def test_features_and_views_over_a_cluster(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    build_from(Path("s.zarr"), chgdb.open().ids[:2], load_real, tolerance=1e-3, prior=None, workers=1)
    model = views.load_model()
    here = rows.from_catalog(chgdb.open("./s.zarr"), model.inputs, workers=1)
    views.add_predictions(Path("s.zarr"), cache=Path("cache"), scheduler=cluster.address)
    there = rows.from_catalog(chgdb.open("./s.zarr"), model.inputs, cache=Path("cache"), workers=1)
    for name in model.inputs:
        np.testing.assert_array_equal(there.inputs[name], here.inputs[name])
    predicted = model.predict(here, out_of_fold=True).mean["bulk_modulus"]
    np.testing.assert_allclose(chgdb.open("./s.zarr").view()["bulk_modulus"], predicted, rtol=1e-4)


@pytest.mark.slow
def test_xarray_computes_on_a_cluster(cluster: Cluster, tmp_path: Path) -> None:
    """Columns as Dask arrays: read and reduced where the workers are."""
    from distributed import Client

    build_from(tmp_path / "s.zarr", IDS, load, columns=COLUMNS, tolerance=0, workers=1)
    catalog = chgdb.open(tmp_path / "s.zarr")
    lazy = catalog.to_xarray()
    assert lazy["band_gap"].chunks is not None
    by_hand = catalog.column("volume") / catalog.column("n_atoms")
    with Client(cluster.address, set_as_default=False) as client:
        computed = client.compute(lazy["volume"] / lazy["n_atoms"]).result()
    np.testing.assert_array_equal(computed.values, by_hand)
    assert density("mat-1").crystal.volume == pytest.approx(float(computed.sel(material="mat-1")) * 2)
