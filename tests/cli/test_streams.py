"""Standard streams that are closed or gone, interrupts, optimised Python; text from files on a terminal."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from small import Chgdb

import chgdb
from chgdb.density import Crystal, Density
from chgdb.ingest import build_from

_CRYSTAL = Crystal(np.eye(3) * 4.0, np.zeros((1, 3)), np.array([26]))
#: Wants to be obeyed by a terminal, by rich and by matplotlib.
TEXT = "Fe[bold]1[/bold] \x1b[31mred\x1b]0;title\x07 \x9b2J $x^2$ \u202e[link=http://x]"
_START = [sys.executable, "-m", "chgdb_cli.start"]


def _minded() -> None:
    """Interrupts are not ignored, as they are in the background of a shell, which hands that down."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _shell(command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A command line of sh with the program as $CHGDB."""
    program = " ".join(_START)
    return subprocess.run(
        ["sh", "-c", command.replace("$CHGDB", program)], cwd=cwd, capture_output=True, text=True, timeout=60
    )


def test_a_closed_standard_output_is_said_where_something_was_to_be_printed(tmp_path: Path) -> None:
    done = _shell("$CHGDB search --elements Si >&-", tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "chgdb: standard output cannot be written: Bad file descriptor"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_streams_without_room(tmp_path: Path) -> None:
    done = _shell("$CHGDB info mp-13 >/dev/full", tmp_path)
    said = "chgdb: standard output cannot be written: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, said)
    done = _shell("$CHGDB search --json >/dev/full", tmp_path)  # more than the buffer holds
    assert (done.returncode, done.stderr) == (1, said)
    assert _shell("$CHGDB search --nothing 2>/dev/full", tmp_path).returncode == 2


@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_place_for_files(tmp_path: Path, closed: str) -> None:
    """The file that is written would else get the number of standard output, and what is printed with it."""
    done = _shell(f"$CHGDB fetch mp-149 --decode -o CHGCAR {closed}", tmp_path)
    assert done.returncode == (0 if ">&- 2" not in closed else 1)
    assert done.stderr == ""
    assert chgdb.read(tmp_path / "CHGCAR").crystal.formula == "Si"
    assert os.listdir(tmp_path) == ["CHGCAR"]
    assert _shell(f"$CHGDB fetch nothing {closed}", tmp_path).returncode == 1


def test_a_standard_error_whose_reader_has_gone(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*_START, "fetch", "nothing"], stderr=write, stdout=subprocess.PIPE, cwd=tmp_path, timeout=60)
    os.close(write)
    assert done.returncode == 1
    assert done.stdout == b""


@pytest.mark.parametrize("moment", [0.02, 0.06, 0.1, 0.15, 0.2, 0.3])
def test_an_interrupt_while_modules_are_imported(tmp_path: Path, moment: float) -> None:
    """Never a traceback of ours; before the first line of the program, Python's own."""
    process = subprocess.Popen(
        [*_START, "plot", "mp-149", "-o", "Si.png"],
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path, preexec_fn=_minded,
    )  # fmt: skip
    time.sleep(moment)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    if b"chgdb_cli" in said.replace(b"<frozen runpy>", b""):
        assert b"Traceback" not in said
    if process.returncode not in (0, -signal.SIGINT, 1):
        assert (process.returncode, said) == (130, b"chgdb: interrupted\n")


def test_an_interrupt_of_the_import_itself(tmp_path: Path) -> None:
    """At a moment that is known: in the middle of what the program imports first."""
    (tmp_path / "typer.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [*_START, "info"], capture_output=True, text=True, env=environment, timeout=60, preexec_fn=_minded
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "chgdb: interrupted\n")


#: Runs commands in one process and prints their exit codes and what they say on standard error.
_IN_TURN = """
import io, json, sys
from contextlib import redirect_stderr
from chgdb_cli.main import _exit_code

assert False  # is not looked at
found = []
for command in json.loads(sys.argv[1]):
    with redirect_stderr(io.StringIO()) as said:
        code = _exit_code(command)
    found.append((code, said.getvalue()))
print(json.dumps(found))
"""


def test_optimised_python_says_the_same(tmp_path: Path) -> None:
    """Nothing hangs on an `assert`."""
    (tmp_path / "bad.cube").write_text("no\ncube\n")
    commands = (
        ["fetch", "mp-149", "--decode", "-o", "CHGCAR"], ["info", "mp-149"], ["diff", "CHGCAR", "CHGCAR"],
        ["build", "my.zarr", "CHGCAR", "--quiet"],
        ["convert", "bad.cube", "x.npz"], ["info", "--catalog", "http://[::1/x"], ["search", "--where", "nope:1"],
        ["convert", "http://127.0.0.1:9/x", "y.npz"],
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-O", "-c", _IN_TURN, json.dumps(commands)],
        capture_output=True, text=True, cwd=tmp_path, env=os.environ | {"CHGDB_ATTEMPTS": "1"}, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    good, built, bad = (found := json.loads(done.stdout.splitlines()[-1]))[:3], found[3], found[4:]
    assert good == [[0, ""]] * 3
    assert built[0] == 0 or "python -O" in built[1]  # zarr itself has work done in assertions
    assert "Traceback" not in built[1]
    assert len(bad) == 4
    for code, line in bad:
        assert code in (1, 2)
        assert "this is a bug" not in line
        assert line.count("\n") == 1
    done = subprocess.run([sys.executable, "-O", "-c", "import chgdb.testing"], capture_output=True, text=True)
    assert "run without -O" in done.stderr


# Text ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A store whose texts want to be obeyed."""
    values = np.full((6, 6, 6), 0.1)
    density = Density(_CRYSTAL, {"total": values})
    out = tmp_path / "odd.zarr"
    build_from(
        out, ["mat[red]1"], lambda material_id: (density, {"comment": TEXT}),
        attributes={"title": TEXT, "licence": TEXT}, workers=1, prior=None, tolerance=0.01,
    )  # fmt: skip
    return out


def test_text_of_stores_is_text(odd: Path, run_chgdb: Chgdb) -> None:
    for command in (["info", "mat[red]1"], ["info"], ["search"]):
        result = run_chgdb(*command, "--catalog", str(odd))
        assert result.code == 0, result.err
        assert (result.out + result.err).replace("\n", "").isprintable(), command
        assert "[red]" in result.out or "[bold]" in result.out
    said = run_chgdb("info", "--catalog", str(odd)).out
    assert "Fe[bold]1[/bold] ?[31mred?]0;title? ?2J $x^2$ ?[link=http://x]" in said


def test_json_holds_the_text_and_no_control_character(odd: Path, run_chgdb: Chgdb) -> None:
    out = run_chgdb("info", "--catalog", str(odd), "--json").out
    assert out.replace("\n", "").isprintable()
    assert json.loads(out)["title"] == TEXT


def test_progress_shows_names_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    from chgdb.parallel.progress import reporting

    with reporting(True, "Pa[b]ck", 0, 1) as step:
        step("runs/[bold]x\x1b[31m")
    err = capsys.readouterr().err
    assert "Pa[b]ck" in err
    assert "runs/[bold]x?[31m" in err


@pytest.mark.parametrize("name", ["$x^2$", "$\\frac{", "a_$b$_c", "[bold]", "tab\there", "$$"])
def test_pictures_show_names_as_they_are(tmp_path: Path, run_chgdb: Chgdb, name: str) -> None:
    pytest.importorskip("matplotlib")
    values = np.full((6, 6, 6), 0.1) + 0.01 * np.arange(6)
    path = tmp_path / f"{name}.npz"
    chgdb.write(path, Density(_CRYSTAL, {"total": values}))
    result = run_chgdb("plot", str(path), "-o", str(tmp_path / "out.svg"))
    assert result.code == 0, result.err
    drawn = re.findall(r"<!-- (.*?) -->", (tmp_path / "out.svg").read_text())
    shown = name.replace("\t", "?")
    assert any(shown in text for text in drawn), drawn
