"""Claims, limits and what becomes of a worker, with real processes."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chgdb_catalog.dft import runs
from chgdb_catalog.gpaw import recipe

TOY = Path(__file__).with_name("toy_worker.py")
RECORD = {"material_id": "x", "cell": [[3, 0, 0], [0, 3, 0], [0, 0, 3]], "symbols": ["A"], "frac": [[0, 0, 0]]}
LIMITS = runs.Limits(30, 2 * 10**9)


@pytest.fixture
def folder(tmp_path: Path) -> runs.RunFolder:
    return runs.RunFolder(tmp_path / "run")


def finish(attempt: runs.LocalRun) -> runs.Outcome:
    while (outcome := attempt.poll()) is None:
        time.sleep(0.02)
    return outcome


def attempt(
    folder: runs.RunFolder, toy: dict, limits: runs.Limits = LIMITS, settings: dict | None = None, fd: int | None = None
) -> runs.LocalRun:
    folder.write("jobs", "x", {"record": {**RECORD, "toy": toy}, "settings": settings or {}})
    job, result = folder.file("jobs", "x"), folder.file("raw", "x")
    return runs.LocalRun([sys.executable, str(TOY)], job, result, limits, fd)


def test_a_result_is_an_outcome_without_a_reason(folder):
    run = attempt(folder, {})
    assert finish(run).reason is None
    assert folder.ids("raw") == ["x"]
    run.clean()
    assert [p.name for p in (folder.path / "raw").iterdir()] == ["x.npz"]


@pytest.mark.parametrize(
    ("toy", "reason", "detail"),
    [
        ({"fail": "always"}, "not converged", "as asked"),
        ({"crash": True}, "crash", "exit code 1: Segmentation fault, or so"),
        ({"hoard": 1e9}, "memory", "exit code 1"),
    ],
)
def test_a_failure_has_a_reason(folder, toy, reason, detail):
    outcome = finish(attempt(folder, toy))
    assert outcome.reason == reason
    assert detail in outcome.detail


def test_time_is_limited(folder):
    outcome = finish(attempt(folder, {"sleep": 60}, runs.Limits(0.3, 2 * 10**9)))
    assert outcome.reason == "time"
    assert outcome.wall_s < 10


def test_a_killed_worker_is_a_crash_that_names_the_signal(folder):
    run = attempt(folder, {"sleep": 60})
    run.kill()
    assert finish(run).detail.startswith("killed by SIGKILL")


def test_an_old_failure_does_not_speak_for_a_new_attempt(folder):
    assert finish(attempt(folder, {"fail": "once"})).reason == "not converged"
    assert finish(attempt(folder, {"crash": True})).reason == "crash"


def test_a_claim_excludes_until_it_is_released(folder):
    claim = folder.claim("x")
    assert claim is not None
    assert folder.claim("x") is None
    other = folder.claim("y")
    assert other is not None
    claim.release()
    again = folder.claim("x")
    assert again is not None
    again.release()
    other.release()


def test_a_claim_lasts_as_long_as_the_worker_that_shares_it(folder):
    claim = folder.claim("x")
    run = attempt(folder, {"sleep": 60}, fd=claim.fd)
    claim.release()  # what the kernel does for a manager that is killed
    assert folder.claim("x") is None
    run.kill()
    finish(run)
    again = folder.claim("x")
    assert again is not None
    again.release()


def test_a_claim_dies_with_its_process(folder):
    code = "import sys, time; from chgdb_catalog.dft.runs import RunFolder as F; F(sys.argv[1]).claim('x');"
    with subprocess.Popen(
        [sys.executable, "-c", code + "print(flush=1); time.sleep(60)", str(folder.path)], stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout.readline()
        assert folder.claim("x") is None
        holder.kill()
        holder.wait()
    claim = folder.claim("x")
    assert claim is not None
    claim.release()


def test_failures_are_kept_and_end_after_two(folder):
    folder.record_failure(RECORD, recipe.RECIPE, runs.Outcome("time", "more than 1 s", 1.0))
    assert not folder.finished("x")
    assert recipe.next_settings(RECORD, folder.attempts("x")) == recipe.SAFER
    folder.record_failure(RECORD, recipe.SAFER, runs.Outcome("memory", "", 2.0))
    assert folder.finished("x")
    assert [a["reason"] for a in folder.attempts("x")] == ["time", "memory"]
    folder.forget_failures("x")
    assert not folder.finished("x")
    assert [a["reason"] for a in json.loads(folder.file("failed", "x").read_text())["earlier"]] == ["time", "memory"]


def test_a_missing_setup_is_not_tried_twice(folder):
    folder.record_failure(RECORD, recipe.RECIPE, runs.Outcome("no setup", "Pr", 0.1))
    assert folder.finished("x")


def test_open_4f_shells_are_tried_in_their_own_way():
    record = {**RECORD, "symbols": ["Pr", "Se"]}
    assert recipe.next_settings(record, []) == recipe.FIRST
    assert recipe.next_settings(record, [{"reason": "not converged"}]) == recipe.SAFER_4F


def test_magnetic_crystals_are_retried_with_another_mixing(monkeypatch):
    monkeypatch.syspath_prepend(Path(runs.__file__).parents[1] / "gpaw")  # the worker runs as a script from there
    worker = importlib.import_module("worker")
    assert set(worker.INITIAL_MOMENT) == recipe.SPIN_POLARISED
    assert set(recipe.SAFER_SPIN) <= set(worker.DEFAULTS)
    record = {**RECORD, "symbols": ["Co", "O"]}
    assert recipe.next_settings(record, []) == recipe.FIRST
    assert recipe.next_settings(record, [{"reason": "not converged"}]) == recipe.SAFER_SPIN


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(runs.RunError, match="run folder"):
        runs.RunFolder(tmp_path / "file")
