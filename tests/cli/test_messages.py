"""What messages name exists: every option that a message of a command tells to use is one of that command."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from small import Chgdb, one_line

import chgdb
import chgdb_cli
from chgdb_cli.commands import COMMANDS, load

CLI = Path(chgdb_cli.__file__).parent
PACKAGE = Path(chgdb.__file__).parent
OPTION = re.compile(r"(?<![\w.-])(--[a-z][a-z-]+|-[a-z](?![\w-]))")
NAMED = re.compile(r"chgdb ((?:train )?[a-z-]+)([^;:|\n]*)")
_OTHERS = r"git \w+|zstd|gzip|bzip2|xz|lz4|lzip|lzop|pigz|tar|unzip|uncompress|curl|iconv|brotli"
OTHERS = re.compile(rf"(pip install|({_OTHERS}) -)[^;]*")

#: Options that messages of the package name without a command, by file, with the commands that show the message.
READERS = {"convert", "diff", "plot", "predict", "build", "verify", "encode", "decode", "estimate"}
OF_PACKAGE = {
    "web/server.py": {"--port": {"web"}},
    "charges/valence.py": {"--valence": {"charges"}},
    "formats/chgcar.py": {"--elements": READERS},
    "store/columns.py": {"--replace": {"build"}},
    "inputs/ids.py": {"-o": {"fetch"}, "--ids": {"build"}, "--id-from": {"build"}},
    "latents/files.py": {"--round": {"decode"}},
    **{
        f"codecs/{name}.py": {"--lossless": {"build"}}
        for name in ("__init__", "channel_search", "entropy", "realspace")
    },
    "symmetry.py": {"--lossless": {"build"}},
}


@cache
def options() -> dict[str, set[str]]:
    """Command -> its options; those of a group as "train properties"."""
    found: dict[str, set[str]] = {}

    def add(command: object, name: str) -> None:
        for sub, child in getattr(command, "commands", {}).items():
            add(child, f"{name} {sub}".strip())
        if name and not hasattr(command, "commands"):
            parameters = command.params  # type: ignore[attr-defined]
            found[name] = {text for p in parameters for text in (*p.opts, *p.secondary_opts) if text.startswith("-")}
            found[name] |= {"-h", "--help"}

    for name in COMMANDS:
        add(load(name), name)
    return found


def messages(path: Path) -> Iterator[tuple[str, ast.AST]]:
    """Every text of a module that is no docstring, with the formatted parts of it left out, and where it stands."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):  # docstrings
            skipped.add(id(node.value))
        if isinstance(node, ast.JoinedStr):
            skipped.update(id(part) for part in node.values)
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values), node
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield node.value, node


def advice(path: Path) -> Iterator[tuple[str, str, int]]:
    """(message, option, line) of the messages of a module that name an option of no command that they name."""
    for text, node in messages(path):
        if " " not in text or "(?" in text:  # the declaration of an option; a pattern
            continue
        plain = OTHERS.sub("", NAMED.sub(" ", text)) if "Examples:" not in text else ""
        for option in OPTION.findall(plain):
            yield text, option, node.lineno  # type: ignore[attr-defined]


def callers() -> dict[str, set[str]]:
    """Function of the command line -> the commands that reach it, by the names that functions mention."""
    mentions: dict[str, set[str]] = {}
    for path in CLI.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                inside = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
                own = {argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)}
                own |= {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
                mentions.setdefault(node.name, set()).update(inside - own - {node.name})
    reached: dict[str, set[str]] = {}
    for command in options():
        waiting, seen = [command.split()[-1]], set()
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                reached.setdefault(name, set()).add(command)
                waiting += [n for n in mentions.get(name, ()) if n in mentions]
    return reached


def test_options_of_commands_that_messages_name() -> None:
    count = 0
    for path in [*CLI.glob("*.py"), *PACKAGE.rglob("*.py")]:
        for text, node in messages(path):
            for command, rest in NAMED.findall(text):
                known = options().get(command) or options().get(command.split()[0], set())
                for option in OPTION.findall(rest.split("  ")[0]):
                    assert option in known, f"{path.name}:{node.lineno}: {text!r}"  # type: ignore[attr-defined]
                    count += 1
    assert count >= 60


def test_options_that_messages_of_commands_name() -> None:
    reached, count = callers(), 0
    for path in CLI.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name != "register"]
        for text, option, line in advice(path):
            function = next((f for f in functions if f.lineno <= line <= (f.end_lineno or 0)), None)
            if function is None:  # the help of a shared option
                continue
            for command in reached.get(function.name, set()):
                assert option in options()[command], f"{path.name}:{line}: chgdb {command} has no {option}: {text!r}"
                count += 1
    assert count >= 10


def test_options_that_messages_of_the_package_name() -> None:
    for path in PACKAGE.rglob("*.py"):
        name = path.relative_to(PACKAGE).as_posix()
        for text, option, line in advice(path):
            commands = OF_PACKAGE.get(name, {}).get(option)
            assert commands, f"{name}:{line} names {option}: say above which commands show {text!r}"
            for command in commands:
                assert option in options()[command], f"{name}:{line}: chgdb {command} has no {option}: {text!r}"


def test_the_search_finds_wrong_advice(tmp_path: Path) -> None:
    module = tmp_path / "wrong.py"
    module.write_text(
        'def f(x):\n    """Use --docstring."""\n    raise ValueError(f"{x} exists; use -q or --other-name")\n'
    )
    assert [option for _, option, _ in advice(module)] == ["-q", "--other-name"]


@pytest.fixture
def vasp4(runs: Path, tmp_path: Path) -> Path:
    """A CHGCAR without the line of its elements."""
    lines = (runs / "salt/CHGCAR").read_text().split("\n")
    del lines[5]
    (tmp_path / "old").mkdir()
    path = tmp_path / "old" / "CHGCAR"
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize(
    "command",
    [
        ["convert", "FILE", "new.cube"],
        ["diff", "FILE", "salt"],
        ["diff", "salt", "FILE"],
        ["plot", "FILE", "-o", "out.svg"],
        ["build", "new.zarr", "FILE", "--workers", "1", "--no-predict"],
        ["predict", "FILE"],
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_elements_of_vasp_4(run_chgdb: Chgdb, vasp4: Path, command: list[str]) -> None:
    call = [str(vasp4) if word == "FILE" else word for word in command]
    refused = run_chgdb(*call)
    assert refused.code == 1
    assert len(refused.err.splitlines()) == 1
    assert "with --elements" in refused.err
    done = run_chgdb(*call, "--elements", "Na, Cl")
    assert done.code == 0, done.err


def test_no_elements_is_wrong_usage(run_chgdb: Chgdb, vasp4: Path) -> None:
    for command in (["convert", vasp4, "new.cube"], ["diff", vasp4, "salt"], ["build", "new.zarr", vasp4]):
        assert run_chgdb(*command, "--elements", " , ").code == 2
    assert not Path("new.zarr").exists()


def test_build_with_other_elements_is_no_repetition(run_chgdb: Chgdb, vasp4: Path) -> None:
    def build(elements: str, *more: str) -> dict:
        result = run_chgdb(
            "build", "new.zarr", vasp4, "--workers", 1, "--no-predict", "--elements", elements, "--json", *more
        )
        return result.json

    assert build("Na,Cl")["added"] == ["old"]
    assert build("Na,Cl")["skipped"] == ["old"]
    assert build("K,Cl")["refused"]
    assert build("K,Cl", "--replace")["replaced"] == ["old"]
    assert chgdb.open("new.zarr")["old"].formula == "KCl"
    assert run_chgdb("verify", "new.zarr", "--deep", "--originals", vasp4.parent).code == 1
    assert run_chgdb("verify", "new.zarr", "--deep", "--originals", vasp4.parent, "--elements", "K,Cl").code == 0


def test_what_exists_is_said_as_the_command_can_mend_it(run_chgdb: Chgdb, runs: Path) -> None:
    Path("there.cube").write_text("mine")
    for command in (["convert", runs / "si/CHGCAR", "there.cube"], ["plot", "si", "-o", "there.cube"]):
        result = run_chgdb(*command)
        assert result.code == 1
        assert one_line(result.err)
        assert "there.cube exists already" in result.err
        assert Path("there.cube").read_text() == "mine"
