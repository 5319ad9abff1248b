"""The program as a whole: help, exit codes, errors, pipes, completion, start-up."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from small import Chgdb, one_line

import chgdb
from chgdb_cli.commands import COMMANDS

Program = Callable[..., subprocess.CompletedProcess[str]]
WITH_EXAMPLES = [name for name in COMMANDS if name not in ("cache", "train")]  # groups of commands
DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_help_lists_every_command(run_chgdb: Chgdb) -> None:
    result = run_chgdb("--help")
    assert result.code == 0
    assert [name for name in COMMANDS if f"\n  {name} " not in result.out] == []


def test_the_page_of_the_command_line_lists_every_command() -> None:
    page = (DOCS / "command-line.md").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f"`chgdb {name} " not in page] == []


@pytest.mark.parametrize("command", WITH_EXAMPLES)
def test_help_of_every_command_has_examples(run_chgdb: Chgdb, command: str) -> None:
    result = run_chgdb(command, "--help")
    assert result.code == 0
    assert "Examples:" in result.out
    assert f"    chgdb {command} " in result.out


def test_version(run_chgdb: Chgdb) -> None:
    assert run_chgdb("--version").out == f"chgdb {chgdb.__version__}\n"


def test_wrong_usage_is_2(run_chgdb: Chgdb) -> None:
    for arguments in (["no-such-command"], ["fetch", "--no-such-option"], ["diff", "only-one"]):
        assert run_chgdb(*arguments).code == 2


def imported(folder: Path, *arguments: str) -> set[str]:
    """Top-level packages that a command imports: what its start costs."""
    code = "import sys; from chgdb_cli.main import _exit_code; _exit_code(sys.argv[1:]); print(*sys.modules)"
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=60, check=True)
    return {name.split(".")[0] for name in done.stdout.splitlines()[-1].split()}


def test_commands_import_what_they_need(store: str, tmp_path: Path) -> None:
    heavy = {"rich", "zarr", "xarray", "spglib", "scipy", "matplotlib", "pymatgen", "ase", "fsspec"}
    assert not imported(tmp_path, "--help") & (heavy | {"numpy"})
    fetched = imported(tmp_path, "fetch", "si", "--decode", "--catalog", store)
    assert "numpy" in fetched
    assert not fetched & heavy


def test_the_table_of_commands_is_what_modules_register() -> None:
    registered = set()
    for module in {module for module, _ in COMMANDS.values()}:
        added = typer.Typer()
        importlib.import_module(f"chgdb_cli.{module}").register(added)
        registered |= {(module, name) for name in typer.main.get_group(added).commands}
    assert {(module, name) for name, (module, _) in COMMANDS.items()} == registered


def test_a_command_imports_no_other(tmp_path: Path) -> None:
    code = "import sys; from chgdb_cli.main import _exit_code; _exit_code(sys.argv[1:]); print(*sys.modules)"
    for arguments, own in ((["--help"], set()), (["info", "--help"], {"lookup"}), (["verify", "--help"], {"stores"})):
        command = [sys.executable, "-c", code, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60, check=True)
        modules = {module for module, _ in COMMANDS.values()} - {"encode"}  # of which others take an option
        names = {name.removeprefix("chgdb_cli.") for name in done.stdout.splitlines()[-1].split()}
        assert names & modules == own, arguments


def test_a_command_that_is_misspelt_is_suggested(run_chgdb: Chgdb) -> None:
    result = run_chgdb("verfy")
    assert result.code == 2
    assert "'verify'" in result.err


def test_a_closed_pipe_is_silent(store: str, tmp_path: Path) -> None:
    arguments = [sys.executable, "-m", "chgdb_cli.main", "info", "--json", "--catalog", store]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(arguments, stdout=writer, stderr=subprocess.PIPE, cwd=tmp_path, timeout=60)
    os.close(writer)
    assert done.stderr == b""
    assert done.returncode == 141


@pytest.mark.parametrize("debug", ["", "1"])
def test_an_unexpected_error_says_it_is_a_bug(debug: str) -> None:
    script = "from chgdb_cli.main import app, run\n@app.command()\ndef broken(): 1 / 0\nrun()\n"
    done = subprocess.run(
        [sys.executable, "-c", script, "broken"],
        capture_output=True, text=True, env=os.environ | {"CHGDB_DEBUG": debug}, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    if debug:
        assert "Traceback" in done.stderr
    else:
        assert one_line(done.stderr)
        assert "ZeroDivisionError: division by zero: this is a bug in chgdb" in done.stderr


def test_an_interrupt_is_130(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "many").mkdir()
    for i in range(300):  # many seconds of work, however late the signal comes
        os.link(runs / "si/CHGCAR", tmp_path / "many" / f"m-{i}.CHGCAR")
    command = [sys.executable, "-m", "chgdb_cli.main", "build", "many.zarr", "many", "--workers", "1"]
    # Tests that run in the background of a shell ignore the signal, and hand that down.
    process = subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    try:
        for _ in range(15000):  # not minutes of the clock, which may stand still for this process alone
            if (tmp_path / ".many.zarr.journal").exists():
                break
            time.sleep(0.02)
        assert (tmp_path / ".many.zarr.journal").exists()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert errors == "chgdb: interrupted: run it again to go on\n"


def test_an_interrupt_is_130_wherever_it_comes(tmp_path: Path) -> None:
    """An interrupt inside `exec` (as dataclasses run it) makes `python -m` end by the signal, unless told to forget."""
    (tmp_path / "late.py").write_text(
        "from chgdb_cli.main import app, run\n@app.command()\ndef late(): exec('raise KeyboardInterrupt')\nrun()\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "late", "late"], cwd=tmp_path, capture_output=True, text=True, timeout=60,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert done.returncode == 130
    assert done.stderr == "chgdb: interrupted\n"


def test_completion_knows_commands_ids_columns_and_stores(
    program: Program, run_chgdb: Chgdb, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As bash asks for it: once of the program, otherwise of the same function in this process."""
    (tmp_path / "new.zarr").symlink_to(store)
    for words, expected in (
        ("chgdb fe", ["fetch"]),
        ("chgdb fetch s", ["salt", "si"]),
        ("chgdb search --where ba", ["band_gap:"]),
        ("chgdb search --catalog new.zarr --where ce", []),  # several values a material
        ("chgdb remove new.zarr i", ["iron"]),
        ("chgdb subset new.zarr --where not", ["note:"]),
        ("chgdb search --catalog new.zarr --where vol", ["volume:"]),
        ("chgdb search --catalog ne", ["new.zarr"]),
        ("chgdb search --catalog em", ["embedded"]),
        ("chgdb plot iron --channel spin", ["spin_up", "spin_down"]),
        ("chgdb plot si --channel m", []),
        ("chgdb convert iron out.npz --channel spin_d", ["spin_down"]),
        ("chgdb values iron --channel magn", ["magnetization", "magnetization_norm"]),
        ("chgdb search --catalog none.zarr --where ba", []),
    ):
        asked = {"_CHGDB_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        if words == "chgdb fe":
            assert program(env=asked).stdout.split() == expected
        for name, value in asked.items():
            monkeypatch.setenv(name, value)
        assert run_chgdb().out.split() == expected


def test_a_terminal_without_unicode(program: Program) -> None:
    done = program("info", "si", env={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0
    assert "Fd-3m" in done.stdout
