"""The queue as a user runs it: processes, killed and started again, with a toy worker in place of DFT."""

from __future__ import annotations

import collections
import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from chgdb.errors import ChgdbError
from chgdb_catalog import batches
from chgdb_catalog.dft import checks, compute, manager, refusals, runs
from chgdb_catalog.gpaw import recipe

CATALOG = Path(batches.__file__).parent
TOY = Path(__file__).with_name("toy_worker.py")
GPAW_PYTHON = os.environ.get("CHGDB_GPAW_PYTHON", "/usr/bin/python3")
CELL = [[4.0, 0, 0], [0, 4.0, 0], [0, 0, 4.0]]


def structure(name: str, **toy: object) -> dict:
    record = {"material_id": name, "formula": "A", "space_group": 221, "cell": CELL, "symbols": ["A"]}
    return {**record, "frac": [[0.0, 0.0, 0.0]], "toy": toy}


class Queue:
    """A queue file, a run folder and a sources folder of their own, and the command line on them."""

    def __init__(self, path: Path):
        self.queue, self.run_folder, self.sources = path / "queue.jsonl", path / "run", path / "sources"

    def put(self, *records: dict) -> Queue:
        self.queue.write_text("".join(json.dumps(r) + "\n" for r in records))
        return self

    def line(self, *options: object) -> list[str]:
        toy = ["--worker", TOY, "--python", sys.executable, "--sources", self.sources]
        return [str(x) for x in ["run", self.queue, self.run_folder, *toy, *options]]

    def start(self, *options: object) -> subprocess.Popen:
        """A manager of its own, to be killed or joined by others."""
        command = [sys.executable, "-m", "chgdb_catalog.dft.compute", *self.line(*options)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def run(self, *options: object) -> None:
        """A manager in this process, until it is done."""
        command(*self.line(*options))

    def log(self) -> str:
        path = self.run_folder / "log"
        return path.read_text() if path.exists() else ""

    @property
    def state(self) -> runs.RunFolder:
        return runs.RunFolder(self.run_folder)

    def starts(self) -> list[str]:
        """Ids in the order in which workers were started."""
        path = self.run_folder / "jobs" / "starts.txt"
        return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    return Queue(tmp_path)


def command(*arguments: object) -> str:
    """What the command line prints, run in this process; its errors come as exceptions."""
    with contextlib.redirect_stdout(io.StringIO()) as output:
        compute.app([str(a) for a in arguments], standalone_mode=False)
    return output.getvalue()


def wait_until(condition, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def test_every_structure_ends_somewhere_with_its_reason(queue):
    queue.put(
        structure("good"),
        structure("second-try", fail="once"),
        structure("hopeless", fail="always"),
        structure("no-setup", fail="always", reason="no setup"),
        structure("crash", crash=True),
        structure("garbage", write="not a result"),
        structure("lopsided", tilt=0.1),
        structure("lanthanide") | {"needs_lanthanide_setups": True},
    )
    queue.run("--workers", 4)
    state = queue.state
    assert state.ids("accepted") == ["good", "second-try"]
    assert state.ids("aside") == ["lopsided"]
    assert state.read("aside", "lopsided")["reasons"][0].startswith("symmetry")
    reasons = {m: [a["reason"] for a in state.attempts(m)] for m in state.ids("failed")}
    assert reasons == {
        "second-try": ["not converged"],
        "hopeless": ["not converged", "not converged"],
        "no-setup": ["no setup"],
        "crash": ["crash", "crash"],
        "garbage": ["bad result", "bad result"],
    }
    assert state.attempts("hopeless")[1]["settings"] == recipe.SAFER
    assert "1 wait for setups" in queue.log()
    assert list((queue.run_folder / "raw").iterdir()) == []
    # the settings of either attempt travel into the batch
    lines = {m: manager.batch_material(state.read("accepted", m))[0] for m in state.ids("accepted")}
    assert lines["second-try"]["settings"] == recipe.SAFER
    assert lines["good"]["settings"] == recipe.FIRST

    status = command("status", queue.queue, queue.run_folder)
    assert "accepted    2\n" in status
    assert "set aside   1 (1 symmetry)\n" in status
    assert "1 no setup" in status
    assert "left        1, of which 1 wait for --setups" in status

    started = len(queue.starts())
    queue.run()
    assert len(queue.starts()) == started  # nothing is tried a third time
    queue.run("--retry-failed", "--workers", 4)
    assert len(queue.starts()) > started
    assert len(state.read("failed", "hopeless")["earlier"]) == 2


def test_cheapest_first_and_what_ran_out_of_time_last(queue):
    queue.put(structure("c") | {"spin_polarised": True}, structure("a", sleep=60)).run("--time-limit", 1)
    assert queue.starts() == ["a", "c", "a"]
    assert [a["reason"] for a in queue.state.attempts("a")] == ["time", "time"]


@pytest.mark.parametrize("moment", [0.0, 0.3])
def test_kill_9_at_any_moment_and_start_again(queue, moment):
    names = [f"m{i}" for i in range(6)]
    queue.put(*(structure(n, sleep=0.15) for n in names))
    with queue.start("--workers", "2") as process:
        wait_until(lambda: len(queue.starts()) >= 2)
        time.sleep(moment)
        process.kill()
    before = {n: queue.state.file("accepted", n).read_bytes() for n in queue.state.ids("accepted")}
    queue.run("--workers", "2")
    assert queue.state.ids("accepted") == names
    assert {n: queue.state.file("accepted", n).read_bytes() for n in before} == before
    # only what was in flight may have been started again, and nothing is left behind
    again = [n for n, k in collections.Counter(queue.starts()).items() if k > 1]
    assert len(again) <= 2
    assert list((queue.run_folder / "raw").iterdir()) == []


def test_a_worker_that_outlives_its_manager_is_not_run_twice(queue):
    queue.put(structure("long", sleep=1.5))
    with queue.start() as process:
        wait_until(queue.starts)
        process.kill()
    queue.run()
    assert queue.starts() == ["long"]
    assert queue.state.ids("accepted") == ["long"]


def test_managers_share_a_folder(queue):
    names = [f"m{i:02d}" for i in range(12)]
    queue.put(*(structure(n, sleep=0.1) for n in names))
    with queue.start("--workers", "2") as one, queue.start("--workers", "2") as two:
        for process in (one, two):
            output, _ = process.communicate(timeout=60)
            assert process.returncode == 0, output
    assert queue.state.ids("accepted") == names
    assert sorted(queue.starts()) == names


def test_a_pause_file_holds_new_structures_back(queue):
    queue.put(structure("a"))
    (queue.run_folder).mkdir()
    (queue.run_folder / "pause").touch()
    with queue.start() as process:
        wait_until(lambda: "paused" in queue.log())
        assert queue.starts() == []
        (queue.run_folder / "pause").unlink()
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert queue.starts() == ["a"]


def test_sigterm_lets_the_running_structure_finish(queue):
    queue.put(structure("a", sleep=0.5), structure("b"))
    with queue.start() as process:
        wait_until(queue.starts)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert queue.state.ids("accepted") == ["a"]
    assert queue.starts() == ["a"]


def test_a_second_sigterm_ends_it_now(queue):
    queue.put(structure("a", sleep=60))
    with queue.start() as process:
        wait_until(queue.starts)
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: "stopping" in queue.log())
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert not queue.state.finished("a")
    claim = queue.state.claim("a")
    assert claim is not None
    claim.release()


def test_collect_makes_the_next_batch_and_nothing_twice(queue):
    queue.put(structure("a"), structure("b", tilt=0.1)).run()
    assert "batch-0000: 1 materials" in command("collect", queue.run_folder, "--sources", queue.sources)
    first = (queue.sources / "batch-0000.bin").read_bytes()
    assert "nothing to collect" in command("collect", queue.run_folder, "--sources", queue.sources)
    queue.put(structure("a"), structure("c")).run()
    assert queue.starts() == ["a", "b", "c"]
    assert "batch-0001: 1 materials" in command("collect", queue.run_folder, "--sources", queue.sources)
    assert (queue.sources / "batch-0000.bin").read_bytes() == first
    assert list(batches.index(queue.sources)) == ["a", "c"]
    meta, grids = batches.load("c", queue.sources)
    assert grids["total"].mean() * 64 == pytest.approx(meta["n_electrons"], rel=1e-6)


def test_formula_and_space_group_are_found_when_they_are_not_given(queue):
    record = structure("a") | {"symbols": ["A", "B", "B"], "frac": [[0, 0, 0], [0.25, 0.25, 0.25], [0.75, 0.75, 0.75]]}
    queue.put({k: v for k, v in record.items() if k not in ("formula", "space_group")})
    completed = compute.read_queue(queue.queue)[0]
    assert (completed["formula"], completed["space_group"]) == ("AB2", 166)


def test_recheck_moves_what_no_longer_passes(queue):
    queue.put(structure("a"), structure("b")).run()
    path = queue.state.file("accepted", "a")
    entry = json.loads(path.read_text())
    entry["meta"]["converged"] = False
    path.write_text(json.dumps(entry))
    assert "1 accepted, 1 set aside" in command("recheck", queue.run_folder, "--sources", queue.sources)
    assert queue.state.ids("aside") == ["a"]
    assert not path.exists()


def test_reproduce_tells_same_from_different(queue):
    queue.put(structure("a"), structure("b")).run()
    command("collect", queue.run_folder, "--sources", queue.sources)
    options = ["--worker", TOY, "--python", sys.executable, "--sources", queue.sources]
    assert command("reproduce", "--n", 5, *options).count("NMAE") == 2
    # another lattice constant in the index: the recomputed density is another
    changed = {m: {**r, "cell": (np.array(r["cell"]) * 1.01).tolist()} for m, r in batches.index(queue.sources).items()}
    packed = [
        (r, dict(zip(r["payload"], [(queue.sources / p[0]).read_bytes()[p[1] : p[1] + p[2]]], strict=True)), p[3])
        for r in changed.values()
        for p in r["payload"].values()
    ]
    batches.append(packed, queue.sources.parent / "changed")
    options[-1] = queue.sources.parent / "changed"
    with pytest.raises(runs.RunError, match="1 of 1 densities differ"):
        command("reproduce", "--id", "a", *options)


def test_densities_with_other_potentials_stay_out_of_the_catalog(queue, monkeypatch):
    asked = {"A": "1"}
    queue.put(structure("a") | {"potentials": asked})
    queue.run()
    assert queue.state.ids("accepted") == ["a"]
    catalog, elsewhere = queue.sources / "catalog", queue.sources / "elsewhere"
    monkeypatch.setattr(batches, "SOURCES", catalog)
    with pytest.raises(runs.RunError, match="other potentials than the catalog"):
        command("collect", queue.run_folder, "--sources", catalog)
    assert batches.index(catalog) == {}
    command("collect", queue.run_folder, "--sources", elsewhere)
    assert batches.index(elsewhere)["a"]["potentials"] == asked


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot read the queue"),
        ("nonsense\n", "not one JSON object per line"),
        ('{"material_id": "a"}\n', "line 1: no cell, symbols, frac"),
        (json.dumps(structure("../a")) + "\n", "cannot name a file"),
        (json.dumps(structure("a") | {"frac": []}) + "\n", "one position per symbol"),
        (json.dumps(structure("a") | {"cell": [[4, 0, 0], [4, 0, 0], [0, 0, 4]]}) + "\n", "has no volume"),
        (json.dumps(structure("a") | {"potentials": {"Si": 4}}) + "\n", "names of PAW setups"),
        ((json.dumps(structure("a")) + "\n") * 2, "a comes more than once"),
    ],
)
def test_a_faulty_queue_is_one_line(queue, content, says):
    if content is not None:
        queue.queue.write_text(content)
    with pytest.raises(ChgdbError, match=says) as caught:
        command("status", queue.queue, queue.run_folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--python", "/no/such/python"], "no interpreter"),
        (["--worker", "/no/such/worker.py"], "no worker script"),
        (["--setups", "/no/such/folder"], "holds no PBE setups"),
        (
            ["--worker", str(CATALOG / "gpaw" / "worker.py"), "--python", shutil.which("false")],
            "cannot import gpaw",
        ),
    ],
)
def test_what_cannot_run_is_one_line(queue, options, says):
    queue.put(structure("a"))
    with pytest.raises(runs.RunError, match=says) as caught:
        queue.run(*options)
    assert "\n" not in str(caught.value)


def test_exit_codes_of_the_command(queue):
    def code(*arguments: str) -> tuple[int, str]:
        line = [sys.executable, str(CATALOG / "dft" / "compute.py"), *arguments]
        done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stderr

    assert code("run")[0] == 2
    assert code("status", "nowhere.jsonl", str(queue.run_folder)) == (
        1,
        "error: cannot read the queue nowhere.jsonl: No such file or directory\n",
    )


@pytest.mark.slow
def test_dask_gives_what_one_machine_gives(queue):
    distributed = pytest.importorskip("distributed", reason="needs Dask: pip install distributed")
    queue.put(structure("a"), structure("b", fail="once"), structure("c", fail="always"))
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        queue.run("--scheduler", cluster.scheduler_address)
    assert queue.state.ids("accepted") == ["a", "b"]
    assert [a["reason"] for a in queue.state.attempts("c")] == ["not converged"] * 2


def gpaw_python() -> str:
    found = shutil.which(GPAW_PYTHON)
    check = [found or "", "-c", "import gpaw, ase"]
    if found is None or subprocess.run(check, capture_output=True, timeout=60, check=False).returncode:
        pytest.skip(f"needs GPAW and ASE in {GPAW_PYTHON} (or in CHGDB_GPAW_PYTHON)")
    return found


def gpaw(tmp_path: Path, record: dict, settings: dict | None = None) -> tuple[runs.Outcome, Path]:
    job, result = tmp_path / "job.json", tmp_path / "result.npz"
    job.write_text(json.dumps({"record": record, "settings": settings or {}}))
    command = [gpaw_python(), str(CATALOG / "gpaw" / "worker.py")]
    run = runs.LocalRun(command, job, result, runs.Limits(120, 4 * 10**9))
    while (outcome := run.poll()) is None:
        time.sleep(0.05)
    return outcome, result


@pytest.mark.slow
def test_gpaw_computes_a_box_with_negative_axes(tmp_path):
    cell = [[-2.8, 0, 0], [0, -2.8, 0], [0, 0, 2.8]]
    record = structure("beal") | {"symbols": ["Be", "Al"], "cell": cell, "frac": [[0, 0, 0], [0.5, 0.5, 0.5]]}
    outcome, result = gpaw(tmp_path, record)
    assert outcome.reason is None, outcome
    meta, grids = manager.read_result(result)
    assert checks.judge(record, meta, grids, None)[1] == []


@pytest.mark.slow
def test_gpaw_says_which_setup_is_missing_and_when_it_does_not_converge(tmp_path):
    outcome, _ = gpaw(tmp_path, structure("x") | {"symbols": ["Fm"]})
    assert (outcome.reason, "Fm" in outcome.detail) == ("no setup", True)
    outcome, _ = gpaw(tmp_path, structure("he") | {"symbols": ["He"]}, {"maxiter": 2})
    assert outcome.reason == "not converged"


@pytest.mark.slow
def test_gpaw_reproduces_a_density_of_the_catalog():
    assert "NMAE" in command("reproduce", "--id", "mp-149", "--python", gpaw_python())


@pytest.mark.slow
def test_gpaw_takes_the_potentials_that_a_record_names():
    other = batches.SOURCES / "potentials"
    record, _ = batches.load("mp-1009770", other)  # RuN, Ru with 8 valence electrons instead of 16
    assert batches.load("mp-1009770")[0]["n_electrons"] - record["n_electrons"] == 8
    assert "NMAE" in command("reproduce", "--id", "mp-1009770", "--sources", other, "--python", gpaw_python())


@pytest.mark.slow
def test_gpaw_solves_the_same_equations_with_the_settings_of_a_first_attempt(tmp_path):
    """Spin-polarised, so that the shortcut of `save_time` counts; against the recipe as it was given."""
    meta, grids = batches.load("mp-579", batches.SOURCES)  # CrC, computed before there were such settings
    assert "settings" not in meta
    found = {}
    single = {name: value for name, value in recipe.FIRST.items() if name not in ("coarse_far", "quick_far")}
    double = {name: value for name, value in single.items() if name != "single_far"}
    for name, settings in (("first", recipe.FIRST), ("single", single), ("double", double), ("recipe", recipe.RECIPE)):
        outcome, result = gpaw(tmp_path, {k: v for k, v in meta.items() if k != "payload"}, settings)
        assert outcome.reason is None, outcome
        found[name] = manager.read_result(result)[1]["total"]
    scale = grids["total"].sum()
    assert np.abs(found["recipe"] - grids["total"]).sum() / scale < 1e-5
    assert 0 < np.abs(found["single"] - found["double"]).sum() / scale < 1e-5  # the same iterations, rounded
    assert 0 < np.abs(found["first"] - found["double"]).sum() / scale < 1e-4  # others: as close as they converge
    assert 1e-8 < np.abs(found["first"] - grids["total"]).sum() / scale < 3e-4


def under_gpaw(script: str) -> tuple[list[str], str]:
    """(lines, errors) of a script in the interpreter that has GPAW, with the worker's modules."""
    run = subprocess.run(
        [gpaw_python(), "-c", script], env={**os.environ, "PYTHONPATH": str(CATALOG / "gpaw")},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    return run.stdout.splitlines(), run.stderr


SPHERES = """
import numpy as np
from gpaw.setup import create_setup
from gpaw.xc import XC
import speed

xc = XC("PBE")
random = np.random.default_rng(0)
before = {}
for after in (False, True):
    if after:
        assert speed.save_time()
    for symbol in ("O", "Fe"):
        setup = create_setup(symbol, xc)
        for spins in (1, 2):
            if not after:
                D_sp = np.array([random.normal(size=len(setup.xc_correction.B_pqL)) * 0.1 for _ in range(spins)])
                D_sp += setup.initialize_density_matrix(setup.calculate_initial_occupation_numbers(0, False, 0, spins))
                before[symbol, spins] = [D_sp]
            D_sp = before[symbol, spins][0]
            dEdD_sp = np.zeros_like(D_sp)
            energy = xc.calculate_paw_correction(setup, D_sp, dEdD_sp)
            before[symbol, spins].append((energy, dEdD_sp))
for name, (_, (energy, slopes), (again, slopes_again)) in before.items():
    assert abs(energy - again) < 1e-12 * max(1, abs(energy)), name
    assert np.abs(slopes - slopes_again).max() < 1e-12 * np.abs(slopes).max(), name
    print("same", *name)
"""


@pytest.mark.slow
def test_exchange_and_correlation_in_a_sphere_are_the_same_all_at_once():
    said, errors = under_gpaw(SPHERES)
    assert said == ["same O 1", "same O 2", "same Fe 1", "same Fe 2"], errors


SOLVED = """
import numpy as np
from ase.build import bulk, molecule
from gpaw import GPAW, PW
import speed

iron, water = bulk("Fe"), molecule("H2O", vacuum=2.0, pbc=True)
iron.set_initial_magnetic_moments([3.0])
crystals = {"silicon": (bulk("Si"), (2, 2, 2)), "iron": (iron, (3, 3, 3)), "water": (water, (1, 1, 1))}
before = {}
for after in (False, True):
    if after:
        assert speed.save_time()
    for name, (atoms, kpts) in crystals.items():
        atoms.calc = GPAW(mode=PW(250), xc="PBE", kpts={"size": kpts, "gamma": True}, txt=None)
        found = atoms.get_potential_energy(), atoms.calc.density.nt_sG.copy()
        if not after:
            before[name] = found
            continue
        energy, density = before[name]
        assert abs(found[0] - energy) < 1e-9, (name, found[0] - energy)
        assert np.abs(found[1] - density).max() < 1e-9 * density.max(), name
        print("same", name, density.shape[0], atoms.calc.wfs.dtype.__name__)
"""


@pytest.mark.slow
def test_a_solution_is_the_same_with_the_hamiltonian_applied_less_often_and_spheres_turned():
    """From GPAW's own start; with k-points and with Gamma alone, where wave functions are real."""
    said, errors = under_gpaw(SOLVED)
    assert said == ["same silicon 1 complex", "same iron 2 complex", "same water 1 float"], errors


HINDERED = """
import numpy as np
from ase.build import bulk
from gpaw import GPAW, PW
import single_precision, speed

speed.save_time("plane waves", far=4e-4, single=1.5e-4)
steps, calls = single_precision.Solver.steps, []

def hindered(*arguments):
    result = steps(*arguments)
    calls.append(result)
    if fail and len(calls) % 3 == 0:  # after all projections have been turned
        raise np.linalg.LinAlgError
    return result

single_precision.Solver.steps = hindered
energies = []
for fail in (False, True):
    atoms = bulk("Si")
    atoms.calc = GPAW(mode=PW(250), xc="PBE", kpts={"size": (2, 2, 2), "gamma": True}, txt=None)
    energies.append(atoms.get_potential_energy())
assert len(calls) > 9
assert 0 < abs(energies[0] - energies[1]) < 1e-4, energies
print("same")
"""


@pytest.mark.slow
def test_what_single_precision_cannot_solve_double_precision_does():
    said, errors = under_gpaw(HINDERED)
    assert said == ["same"], errors


def test_what_was_refused_is_kept_with_the_batches_and_not_tried_on_another_machine(queue, tmp_path):
    queue.put(structure("good"), structure("hopeless", fail="always"), structure("lopsided", tilt=0.1))
    queue.run("--workers", 3)
    told = command("collect", queue.run_folder, "--sources", queue.sources)
    assert "batch-0000: 1 materials" in told
    assert "refused.jsonl: 2 structures" in told
    found = refusals.index(queue.sources)
    assert {m: (e["how"], e["reason"]) for m, e in found.items()} == {
        "hopeless": ("failed", "not converged"),
        "lopsided": ("set aside", "symmetry"),
    }
    assert found["lopsided"]["detail"].startswith("symmetry: ")
    assert refusals.counts(queue.sources) == [("failed", "not converged", 1), ("set aside", "symmetry", 1)]
    kept = (queue.sources / refusals.FILE).read_bytes()
    assert "refused" not in command("collect", queue.run_folder, "--sources", queue.sources), "written once"
    assert (queue.sources / refusals.FILE).read_bytes() == kept

    queue.run_folder = tmp_path / "another machine"
    told = command("status", queue.queue, queue.run_folder, "--sources", queue.sources)
    assert "accepted    0\n" in told
    assert "left        0\n" in told, "all are in a batch or refused"
    queue.run("--workers", 3)
    assert queue.starts() == []
    queue.run("--workers", 3, "--retry-failed")
    assert sorted(set(queue.starts())) == ["hopeless", "lopsided"]


def test_what_failed_once_gets_its_second_attempt_on_another_machine_and_last(queue, tmp_path):
    queue.put(structure("hard", fail="once"), structure("dear", sleep=30) | {"spin_polarised": True})
    with queue.start() as process:  # between the attempts at "hard" comes "dear"
        wait_until(lambda: "dear" in queue.starts())
        process.kill()
    assert "failed once 1 (1 not converged)\n" in command("status", queue.queue, queue.run_folder)
    command("collect", queue.run_folder, "--sources", queue.sources)
    assert refusals.counts(queue.sources) == [(refusals.FAILED_ONCE, "not converged", 1)]

    queue.run_folder = tmp_path / "another machine"
    queue.put(structure("hard", fail="once"), structure("dear") | {"spin_polarised": True}).run()
    assert queue.starts() == ["dear", "hard"]
    assert queue.state.read("accepted", "hard")["settings"] == recipe.SAFER
    command("collect", queue.run_folder, "--sources", queue.sources)
    assert refusals.index(queue.sources) == {}


def test_a_refusal_ends_with_a_batch_that_has_the_structure(queue):
    queue.put(structure("late", fail="always")).run()
    command("collect", queue.run_folder, "--sources", queue.sources)
    assert list(refusals.index(queue.sources)) == ["late"]
    queue.put(structure("late")).run("--retry-failed")
    command("collect", queue.run_folder, "--sources", queue.sources)
    assert refusals.index(queue.sources) == {}
    (queue.sources / refusals.FILE).write_text("no list\n")
    with pytest.raises(batches.BatchError, match=r"refused\.jsonl: not a list of refused structures"):
        refusals.index(queue.sources)
