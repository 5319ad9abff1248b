"""Builds: what goes in, what is refused, and what survives being killed."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import forks
import numpy as np
import pytest
from effort import THOROUGH
from materials import (
    COLUMNS,
    IDS,
    atoms,
    contents,
    density,
    load,
    load_atoms,
    load_changed,
    load_or_die,
    same,
    written_by_another,
)

import chgdb
from chgdb import atomic, ingest
from chgdb.errors import FormatError, StoreError
from chgdb.ingest import build, build_from
from chgdb.inputs import find_files, id_of, read_properties
from chgdb.promolecule import fit
from chgdb.store.journal import Journal
from chgdb.store.transaction import beside
from chgdb.verification import verify


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """mat-0/CHGCAR.gz ... mat-3/CHGCAR.gz, a cube, a file that is no density and one that is none of ours."""
    folder = tmp_path / "runs"
    for material_id in IDS[:4]:
        (folder / material_id).mkdir(parents=True)
        chgdb.write(folder / material_id / "CHGCAR.gz", density(material_id))
    chgdb.write(folder / "mat-4.cube", density("mat-4"))
    (folder / "broken").mkdir()
    (folder / "broken" / "CHGCAR").write_text("not a density\n")
    (folder / "mat-0" / "INCAR").write_text("ENCUT = 520\n")
    return folder


def leftovers(out: Path) -> list[str]:
    return [p.name for p in out.parent.iterdir() if p.name.startswith(f".{out.name}.")]


def test_files_folders_and_what_is_refused(files: Path, tmp_path: Path) -> None:
    out = tmp_path / "s.zarr"
    seen, facts = [], {"code": "VASP 6.4", "functional": "PBE", "energy_cutoff": 520}
    report = build(
        out, [files], tolerance=0, workers=1, provenance=facts,
        attributes={"title": "Runs"}, progress=lambda done, total, name: seen.append((done, total, name)),
    )  # fmt: skip
    assert sorted(report.added) == IDS[:5]
    assert [Path(path).parent.name for path, _ in report.refused] == ["broken"]
    assert "a single line of text and no density" in report.refused[0][1]
    assert not report.complete
    assert [entry[:2] for entry in seen] == [(i, 6) for i in range(1, 7)]
    catalog = chgdb.open(out)
    assert catalog.attributes["title"] == "Runs"
    for material_id in IDS[:4]:
        assert same(catalog[material_id].density, chgdb.read(files / material_id / "CHGCAR.gz"))
        facts = catalog[material_id].metadata
        assert (facts["code"], facts["functional"], facts["energy_cutoff"]) == ("VASP 6.4", "PBE", 520)
    assert leftovers(out) == []
    report = build(out, files, tolerance=0, workers=1)
    assert report.added == ()
    assert len(report.skipped) == 5
    assert verify(out, deep=True, originals=files).measured == 5


def test_properties_are_joined_with_units(files: Path, tmp_path: Path) -> None:
    table = tmp_path / "properties.csv"
    table.write_text(
        "material_id,formula,bulk_modulus_GPa,gap [eV],metal,source,energy_vs_atoms_eV_per_atom\n"
        "mat-1,X,100.5,,true,paper,-3\nmat-3,X,7,1.5,false,,-4.5\nmat-99,X,1,1,true,x,1\n"
    )
    build(tmp_path / "s.zarr", [files / "mat-1", str(files / "mat-[23]")], properties=table, tolerance=0, workers=1)
    catalog = chgdb.open(tmp_path / "s.zarr")
    assert catalog.columns["bulk_modulus"] == {"units": "GPa", "long_name": "bulk modulus"}
    assert catalog.columns["energy_vs_atoms"]["units"] == "eV/atom"
    assert catalog.columns["gap"]["units"] == "eV"
    assert catalog["mat-1"].metadata["bulk_modulus"] == 100.5
    assert catalog["mat-1"].metadata["metal"] == 1
    assert catalog["mat-2"].metadata["metal"] == -1
    assert catalog["mat-3"].metadata["source"] == ""
    assert catalog["mat-3"].formula == density("mat-3").crystal.formula  # the file's, not the table's
    assert np.isnan([catalog["mat-1"].metadata["gap"], catalog["mat-2"].metadata["bulk_modulus"]]).all()
    assert catalog.search(gap=(1, 2)) == ["mat-3"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("material_id,a\nx,1\nx,2\n", "line 3: x appears a second time"),
        ("material_id,a\nx\n", "line 2: expected 2 cells"),
        ("material_id,a,a\n", "a different name for each column"),
        ("material_id,a_GPa,a [K]\nmat-0,1,2\n", "two columns would be called a"),
        ("", "expected a header"),
        ("material_id,payload\nx,1\n", "cannot be called 'payload': it is chgdb's own"),
        ("material_id,2nd\nx,1\n", "cannot be called '2nd': use letters"),
    ],
)
def test_bad_properties(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises((FormatError, StoreError), match=message):
        read_properties(tmp_path / "p.csv")
    with pytest.raises(FormatError, match="cannot be read as CSV"):
        read_properties(tmp_path / "missing.csv")


def test_ids_from_names_tables_and_mappings(files: Path, tmp_path: Path) -> None:
    names = {
        "mp-149/CHGCAR": "mp-149",
        "mp-149/CHGCAR.bz2": "mp-149",
        "x/LiH_spin.CHGCAR.gz": "LiH_spin",
        "x/CHGCAR_mp-2": "mp-2",
        "x/Si2.AECCAR0.gz": "Si2.AECCAR0",
        "Si2/AECCAR2": "Si2.AECCAR2",
        "x/NaCl.cube": "NaCl",
        "x/mp-3.json.gz": "mp-3",
    }
    assert {path: id_of(Path(path)) for path in names} == names
    (files / "ids.csv").write_text("path,material_id\nmat-0/CHGCAR.gz,zero\nmat-1/CHGCAR.gz,one\nmat-2/CHGCAR.gz,a/b\n")
    report = build(tmp_path / "s.zarr", files, ids=files / "ids.csv", tolerance=0, workers=1)
    assert report.added == ("zero", "one")
    reasons = {Path(path).parent.name: reason for path, reason in report.refused}
    assert "cannot be a material id" in reasons["mat-2"]
    assert "ids.csv has no id for it" in reasons["mat-3"]
    path = str(files / "mat-3" / "CHGCAR.gz")
    assert build(tmp_path / "t.zarr", path, ids={path: "three"}, tolerance=0, workers=1).added == ("three",)
    (files / "ids.csv").write_text("a,b\n")
    with pytest.raises(FormatError, match="expected the columns path and material_id"):
        build(tmp_path / "u.zarr", files, ids=files / "ids.csv")


def test_what_a_folder_search_leaves_out(files: Path, tmp_path: Path) -> None:
    chgdb.write(files / "mat-0" / "CHG", density("mat-0"))
    (files / ".hidden").mkdir()
    chgdb.write(files / ".hidden" / "CHGCAR", density("mat-0"))
    build(files / "store.zarr", files / "mat-1", tolerance=0, workers=1)
    found = [path.relative_to(files).as_posix() for path in find_files(files)]
    assert found == ["mat-4.cube", "broken/CHGCAR", *(f"mat-{i}/CHGCAR.gz" for i in range(4))]
    assert find_files([files / "mat-0" / "CHG", files / "mat-0"]) == [files / "mat-0" / n for n in ("CHG", "CHGCAR.gz")]
    with pytest.raises(StoreError, match=r"nothing.*no density files there"):
        build(tmp_path / "s.zarr", files / "nothing*")
    with pytest.raises(StoreError, match=r"nowhere/CHGCAR: there is no such file or folder"):
        build(tmp_path / "s.zarr", files / "nowhere" / "CHGCAR")
    assert not (tmp_path / "s.zarr").exists()


def test_duplicates(files: Path, tmp_path: Path) -> None:
    out = tmp_path / "s.zarr"
    (tmp_path / "other" / "mat-1").mkdir(parents=True)
    chgdb.write(tmp_path / "other" / "mat-1" / "CHGCAR", density("mat-7"))
    report = build(out, [files / "mat-0", files / "mat-1", tmp_path / "other"], tolerance=0, workers=1)
    assert report.added == ("mat-0", "mat-1")
    assert "has the id mat-1 already" in report.refused[0][1]
    before = contents(out)
    report = build(out, tmp_path / "other", tolerance=0, workers=1)
    assert "mat-1 is already in" in report.refused[0][1]
    assert contents(out) == before
    report = build(out, [tmp_path / "other", files / "mat-2"], tolerance=0, workers=1, on_duplicate="replace")
    assert (report.added, report.replaced, report.refused) == (("mat-2",), ("mat-1",), ())
    catalog = chgdb.open(out)
    assert catalog.ids == ["mat-0", "mat-1", "mat-2"]
    assert catalog["mat-1"].crystal == chgdb.read(tmp_path / "other" / "mat-1" / "CHGCAR").crystal
    assert verify(out, deep=True).ok
    with pytest.raises(StoreError, match="exists already"):
        build(out, files, append=False)
    with pytest.raises(StoreError, match="expected 'refuse' or 'replace'"):
        build(out, files, on_duplicate="ignore")  # type: ignore[arg-type]
    assert leftovers(out) == []


def test_replacing_refreshes_properties_alone(files: Path, tmp_path: Path) -> None:
    out, table = tmp_path / "s.zarr", tmp_path / "p.csv"
    build(out, files / "mat-0", tolerance=0, workers=1)
    table.write_text("id,note\nmat-0,new\n")
    assert build(out, files / "mat-0", properties=table, tolerance=0, workers=1).skipped == ("mat-0",)
    report = build(out, files / "mat-0", properties=table, tolerance=0, workers=1, on_duplicate="replace")
    assert report.replaced == ("mat-0",)
    assert chgdb.open(out)["mat-0"].metadata["note"] == "new"


def test_columns_must_agree(tmp_path: Path) -> None:
    out = tmp_path / "s.zarr"
    build_from(out, IDS[:2], load, columns=COLUMNS, tolerance=0, workers=1)

    def texts(material_id: str) -> tuple[chgdb.Density, dict]:
        return density(material_id), {"space_group": 1, "band_gap": "wide"}

    with pytest.raises(StoreError, match="column band_gap is float64 in eV in the store, but string"):
        build_from(out, IDS[2:3], texts, tolerance=0, workers=1)
    with pytest.raises(StoreError, match="column band_gap is float64 in eV in the store, but float64 in Ry"):
        build_from(out, IDS[3:4], load, columns={"band_gap": {"units": "Ry"}}, tolerance=0, workers=1)
    assert chgdb.open(out).ids == IDS[:2]
    report = build_from(
        tmp_path / "t.zarr", ["a"], lambda i: (density("mat-1"), {"volume": 1.0}), tolerance=0, workers=1
    )
    assert "cannot be called 'volume'" in report.refused[0][1]
    assert not (tmp_path / "t.zarr").exists()


def test_appending_gives_what_building_at_once_gives(tmp_path: Path) -> None:
    build_from(tmp_path / "once.zarr", IDS, load, columns=COLUMNS, tolerance=0, workers=1)
    for part in (IDS[:1], IDS[1:7], IDS[7:]):
        build_from(tmp_path / "parts.zarr", part, load, columns=COLUMNS, tolerance=0, workers=1)
    assert contents(tmp_path / "parts.zarr") == contents(tmp_path / "once.zarr")


def test_workers_give_what_one_process_gives(tmp_path: Path) -> None:
    build_from(tmp_path / "one.zarr", IDS, load, columns=COLUMNS, tolerance=0, workers=1)
    build_from(tmp_path / "two.zarr", IDS, load, columns=COLUMNS, tolerance=0, workers=2)
    assert contents(tmp_path / "two.zarr") == contents(tmp_path / "one.zarr")


def test_a_dying_worker_costs_its_material_only(tmp_path: Path) -> None:
    report = build_from(tmp_path / "s.zarr", IDS, load_or_die, tolerance=0, workers=2)
    assert sorted(report.refused) == [
        ("mat-4", "its worker process died (out of memory?); try it with fewer workers"),
        ("mat-6", "mat-6 has no density"),
    ]
    assert chgdb.open(tmp_path / "s.zarr").ids == [i for i in IDS if i not in ("mat-4", "mat-6")]


def test_nothing_to_store(tmp_path: Path) -> None:
    report = build_from(tmp_path / "s.zarr", ["", "../x", ".x", "a\nb", "a", "a"], load_or_die, tolerance=0, workers=1)
    assert len(report.refused) == 6  # "a" itself has no number
    assert not (tmp_path / "s.zarr").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="is a file"):
        build_from(tmp_path / "file", IDS, load, tolerance=0)
    (tmp_path / "empty").mkdir()
    assert build_from(tmp_path / "empty", IDS[:1], load, tolerance=0, workers=1).complete


# The prior ------------------------------------------------------------------------------------------------------------


def test_a_prior_is_fitted_stored_and_used_again(tmp_path: Path) -> None:
    """A store decodes with the prior in it, in a process that knows nothing else; appending takes the same prior."""
    with_prior, without = tmp_path / "with.zarr", tmp_path / "without.zarr"
    assert build_from(with_prior, IDS[:8], load_atoms, prior="fit", workers=1, effort="fast").complete
    assert build_from(without, IDS[:8], load_atoms, prior=None, workers=1, effort="fast").complete
    catalog, plain = chgdb.open(with_prior), chgdb.open(without)
    identifiers = {chgdb.codecs.header(record.payload).prior_id for record in catalog}
    assert catalog.prior is not None
    assert identifiers == {catalog.prior.identifier}
    assert plain.prior is None
    assert catalog.info()["payload_bytes"] < 0.8 * plain.info()["payload_bytes"]
    assert verify(with_prior, deep=True, originals=atoms).measured == 8
    code = "import sys, chgdb; print(repr(chgdb.open(sys.argv[1])['mat-3'].density.total.sum()))"
    done = subprocess.run([sys.executable, "-c", code, with_prior], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == repr(catalog["mat-3"].density.total.sum())

    build_from(with_prior, IDS[8:10], load_atoms, workers=2)
    added = chgdb.open(with_prior)
    assert {chgdb.codecs.header(added[i].payload).prior_id for i in IDS[8:10]} == identifiers
    # Another prior beside the first.
    build_from(with_prior, IDS[10:], load_atoms, prior="fit", workers=1, effort="fast")
    assert len({chgdb.codecs.header(record.payload).prior_id for record in added}) == 2
    assert verify(with_prior, deep=True, originals=atoms).measured == 12


def test_the_prior_does_not_depend_on_how_many_fit_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "_PART", 3)
    priors = []
    for workers in (1, 2):
        path = tmp_path / f"{workers}.zarr"
        assert build_from(path, IDS[:8], load_atoms, prior="fit", workers=workers, effort="fast").complete
        priors.append(chgdb.open(path).prior)
    one, two = priors
    assert one is not None
    assert two is not None
    assert one.identifier == two.identifier
    whole = fit([load_atoms(i)[0] for i in IDS[:8]])
    np.testing.assert_array_equal(one.numbers, whole.numbers)
    np.testing.assert_allclose(one.coefficients, whole.coefficients, rtol=1e-4, atol=1e-4)


def test_a_fitted_prior_survives_an_interruption(out: Path) -> None:
    def stop(done: int, total: int, name: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_from(out, IDS[:6], load_atoms, prior="fit", workers=1, progress=stop, effort="fast")
    calls: list[str] = []

    def counting(material_id: str) -> tuple[chgdb.Density, dict]:
        calls.append(material_id)
        return load_atoms(material_id)  # type: ignore[return-value]

    build_from(out, IDS[:6], counting, prior="fit", workers=1, effort="fast")
    assert calls == IDS[1:6]  # neither fitted nor encoded again


# Interruption ---------------------------------------------------------------------------------------------------------

BUILD = """
import os, sys
from functools import partial
from materials import COLUMNS, IDS, load, load_slowly
from chgdb.ingest import build_from

def die_at(step, folder):
    # The audit events of CPython come before a file is opened, renamed, removed or made: die at one of them.
    count = 0
    def hook(event, arguments):
        nonlocal count
        events = ("open", "os.link", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "shutil.rmtree")
        if event in events:
            if isinstance(arguments[0], (str, bytes, os.PathLike)) and folder in os.fsdecode(arguments[0]):
                count += 1
                if count == step:
                    os.kill(os.getpid(), 9)
    sys.addaudithook(hook)
    return lambda: print(count, file=open(sys.argv[6], "w"), flush=True)

out, workers, start, stop, step = sys.argv[1], *map(int, sys.argv[2:6])
counted = die_at(step, os.path.dirname(out)) if step >= 0 else lambda: None
slowly = partial(load_slowly, seconds=float(sys.argv[7]))
build_from(out, IDS[start:stop], load if step >= 0 else slowly, columns=COLUMNS, tolerance=0, workers=workers)
counted()
"""


def start_build(
    out: Path, workers: int, start: int = 0, stop: int = 12, step: int = -1, seconds: float = 0.0
) -> forks.Fork:
    """A build in a process of its own; step: the file operation at which it dies, 0 to count them; otherwise every
    material takes so many seconds more."""
    steps = out.parent.parent / "steps"
    return forks.start(BUILD, (out, workers, start, stop, step, steps, seconds), quiet=True)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder" / "s.zarr"


def written(log: Path) -> int:
    """Bytes of a file that another process may remove at any time."""
    try:
        return log.stat().st_size
    except FileNotFoundError:
        return 0


def finished(out: Path) -> dict[str, chgdb.Density]:
    """What the journal holds."""
    if not (beside(out, "journal") / "records.log").exists():
        return {}
    journal = Journal(beside(out, "journal"))
    journal.close()
    return {r.material_id: chgdb.codecs.decode(r.payload) for r in journal.finished.values()}


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_at_random_moments_it_resumes(tmp_path: Path, out: Path, workers: int) -> None:
    """kill -9 again and again: what is there is whole, no finished record is lost, the end is the same to the byte.

    On a busy machine a kill may come late, after several more records. A build that is finished before it was killed
    three times is done again, more slowly.
    """
    reference = tmp_path / "reference.zarr"
    build_from(reference, IDS, load, columns=COLUMNS, tolerance=0, workers=1)
    for seconds in (0.03, 0.3, 3.0):
        build_from(out, IDS[:2], load, columns=COLUMNS, tolerance=0, workers=1)
        kills = _kill_until_finished(out, workers, seconds)
        assert contents(out) == contents(reference)
        assert leftovers(out) == []
        if kills >= 3:
            return
        shutil.rmtree(out)
    pytest.fail("every build was finished before it could be killed three times")


def _kill_until_finished(out: Path, workers: int, seconds: float) -> int:
    """Start a build, kill it once it has written more, look at what is there, until it is finished; how many kills."""
    log = beside(out, "journal") / "records.log"
    rng, kept, kills = random.Random(workers), 0, 0
    while True:
        size = written(log)
        process = start_build(out, workers, 2, seconds=seconds)
        while process.poll() is None and written(log) <= size:
            time.sleep(0.005)
        time.sleep(rng.random() * 0.04)
        process.kill()
        if process.wait() == 0:
            return kills
        kills += 1
        assert chgdb.open(out).ids in (IDS[:2], IDS)
        assert verify(out).ok
        densities = finished(out)
        assert len(densities) > kept or chgdb.open(out).ids == IDS
        kept = len(densities)
        assert all(same(densities[i], density(i)) for i in densities)


def count_steps(out: Path) -> int:
    build_from(out, IDS[:3], load, columns=COLUMNS, tolerance=0, workers=1)
    assert start_build(out, 1, 3, 6, step=0).wait() == 0
    shutil.rmtree(out)
    return int((out.parent.parent / "steps").read_text())


def die_and_resume(out: Path, step: int, reference: dict[str, bytes]) -> None:
    """Die at one file operation: the old store or the new is there and whole; building again ends the same."""
    build_from(out, IDS[:3], load, columns=COLUMNS, tolerance=0, workers=1)
    assert start_build(out, 1, 3, 6, step=step).wait() == -signal.SIGKILL
    assert chgdb.open(out).ids in (IDS[:3], IDS[:6])
    assert verify(out).ok
    report = build_from(out, IDS[3:6], load, columns=COLUMNS, tolerance=0, workers=1)
    assert set(report.added) | set(report.skipped) == set(IDS[3:6]) or chgdb.open(out).ids == IDS[:6]
    assert contents(out) == reference
    assert leftovers(out) == []
    shutil.rmtree(out)


@pytest.fixture
def six(tmp_path: Path) -> dict[str, bytes]:
    build_from(tmp_path / "six.zarr", IDS[:6], load, columns=COLUMNS, tolerance=0, workers=1)
    return contents(tmp_path / "six.zarr")


def test_dying_at_some_file_operations(out: Path, six: dict[str, bytes]) -> None:
    steps = count_steps(out)
    assert steps > 200
    rng = random.Random(0)
    for step in [1, steps, steps - 4, *(rng.randrange(2, steps) for _ in range(2 if THOROUGH else 1))]:
        die_and_resume(out, step, six)


@pytest.mark.slow
def test_dying_at_every_file_operation(out: Path, six: dict[str, bytes]) -> None:
    for step in range(1, count_steps(out) + 1):
        die_and_resume(out, step, six)


@pytest.mark.parametrize("damage", ["cut", "garbage", "flip"])
def test_a_torn_journal_keeps_what_is_whole(out: Path, damage: str) -> None:
    records = []

    def load_and_stop(material_id: str) -> tuple[chgdb.Density, dict]:
        if len(records) == 3:
            raise KeyboardInterrupt
        records.append(material_id)
        return load(material_id)  # type: ignore[return-value]

    with pytest.raises(KeyboardInterrupt):
        build_from(out, IDS, load_and_stop, columns=COLUMNS, tolerance=0, workers=1)
    assert not out.exists()
    log = beside(out, "journal") / "records.log"
    data = log.read_bytes()
    assert len(finished(out)) == 3
    if damage == "cut":
        log.write_bytes(data[:-7])
    elif damage == "garbage":
        log.write_bytes(data + b"CHGJ" + bytes(50))
    else:
        log.write_bytes(data[:-40] + bytes([data[-40] ^ 1]) + data[-39:])
    assert len(finished(out)) == (3 if damage == "garbage" else 2)
    again: list[str] = []

    def load_the_rest(material_id: str) -> tuple[chgdb.Density, dict]:
        again.append(material_id)
        return load(material_id)  # type: ignore[return-value]

    report = build_from(out, IDS, load_the_rest, columns=COLUMNS, tolerance=0, workers=1)
    assert report.added == tuple(IDS)
    assert again == IDS[3 if damage == "garbage" else 2 :]  # nothing finished is done again
    assert verify(out, deep=True, originals=density).measured == 12


def test_other_settings_do_not_take_records_from_the_journal(out: Path) -> None:
    def stop(done: int, total: int, name: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_from(out, IDS, load, tolerance=0, workers=1, progress=stop)
    assert list(finished(out)) == ["mat-0"]
    seen: list[int] = []
    build_from(
        out, IDS, load, tolerance=0, workers=1, keep_extras=False, progress=lambda done, total, name: seen.append(done)
    )
    assert seen == list(range(1, 13))


def test_two_builds_of_one_store(out: Path) -> None:
    with written_by_another(out), pytest.raises(StoreError, match="another command is writing to it"):
        build_from(out, IDS, load, tolerance=0, workers=1)
    assert build_from(out, IDS, load, tolerance=0, workers=1).complete


# Readers and a writer -------------------------------------------------------------------------------------------------


WRITER = """
import sys
from materials import COLUMNS, IDS, load, load_changed
from chgdb import atomic
from chgdb.ingest import build_from

if sys.argv[2] != "True":
    atomic.exchange = lambda first, second: False
settings = dict(columns=COLUMNS, tolerance=0, workers=1)
for i in range(2, 7):
    build_from(sys.argv[1], [IDS[i]], load, **settings)
    build_from(sys.argv[1], IDS[:1], load if i % 2 else load_changed, on_duplicate="replace", **settings)
"""


@pytest.mark.parametrize("exchange", [True, False], ids=["exchange", "two renames"])
def test_readers_while_a_writer_appends(out: Path, exchange: bool) -> None:
    """Every answer is that of one whole version of the store, whichever way it is swapped in."""
    build_from(out, IDS[:2], load, columns=COLUMNS, tolerance=0, workers=1)
    originals = {i: (load(i)[0], load_changed(i)[0]) for i in IDS}
    stop, failures, seen = threading.Event(), [], [set() for _ in range(20 if THOROUGH else 6)]

    def read(number: int) -> None:
        rng = random.Random(number)
        catalog = chgdb.open(out)
        while not stop.is_set():
            try:
                ids = catalog.ids
                assert ids == IDS[: len(ids)]
                material_id = rng.choice(ids)
                record = catalog[material_id]
                decoded = record.decode()
                assert any(same(decoded, original) for original in originals[material_id])
                assert record.metadata["bulk_modulus"] == 100 + int(material_id.rsplit("-", 1)[1])
                assert catalog.search(band_gap=(0, 1)) in (IDS[:2], IDS[:3])
                seen[number].add(len(ids))
                if rng.random() < 0.2:
                    catalog = chgdb.open(out)
            except Exception as error:  # whatever it is, the test is to fail with it
                failures.append(error)
                return
            time.sleep(0.05 if THOROUGH else 0.2)  # leaves the writer a share of the processors

    readers = [threading.Thread(target=read, args=(number,)) for number in range(len(seen))]
    for reader in readers:
        reader.start()
    try:
        code = forks.start(WRITER, (out, exchange)).wait()
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert code == 0
    assert failures == []
    assert min(len(lengths) for lengths in seen) >= 3  # each saw several versions
    assert chgdb.open(out).ids == IDS[:7]
    assert verify(out).ok


def test_a_swap_cut_short_between_its_two_renames(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an exchange in one call a crash can leave no store: the next build puts the old version back."""
    build_from(out, IDS[:3], load, tolerance=0, workers=1)
    old = contents(out)
    out.rename(beside(out, "previous"))
    beside(out, f"{atomic.token()}.staging").mkdir()
    build_from(out, [], load, tolerance=0)
    assert contents(out) == old
    assert leftovers(out) == []
    monkeypatch.setattr(atomic, "exchange", lambda first, second: False)
    build_from(out, IDS[3:], load, tolerance=0, workers=1)
    assert chgdb.open(out).ids == IDS
    assert leftovers(out) == []


def test_an_unwritable_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk while the store is written: one line, and the finished records wait in the journal."""
    import errno

    def full(folder: Path, table: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    out = tmp_path / "s.zarr"
    monkeypatch.setattr(ingest, "write_table", full)
    with pytest.raises(StoreError, match="No space left on device; finished records are kept"):
        build_from(out, IDS, load, tolerance=0, workers=1)
    assert not out.exists()
    monkeypatch.undo()
    calls: list[str] = []
    build_from(out, IDS, lambda i: calls.append(i) or load(i), tolerance=0, workers=1)  # type: ignore[func-returns-value]
    assert calls == []
    assert chgdb.open(out).ids == IDS
