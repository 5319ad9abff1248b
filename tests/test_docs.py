"""The documentation is true: its commands and programs are run, and print what the pages say they print.

Blocks marked `console` are commands after "$ " with their output, blocks marked `python` are run one after the other in
one namespace a page, and a `text` block right after one is its output. "..." in an output stands for anything.
Blocks marked otherwise are not run: bash for installation, py for programs that need what is not here.
"""

from __future__ import annotations

import html
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent / "crash"))
from machine import Machine

pytest.importorskip("ase")
pytest.importorskip("pymatgen")
pytest.importorskip("matplotlib")

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
#: Pages whose examples run a network; the others must work without torch.
WITH_TORCH = {ROOT / "README.md", ROOT / "docs" / "how-to" / "latents.md"}
#: What the outputs were written with.
SETTINGS = {"COLUMNS": "200", "LC_ALL": "C.UTF-8"}
#: A command of chgdb alone, without work for the shell.
_PLAIN = re.compile(r"chgdb [^|&;<>$*?`\\]*$")
_BLOCK = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Step:
    """A command or program of a page, and what it should print (None: not said)."""

    line: int
    kind: str
    code: str
    expected: str | None


def steps(text: str) -> list[Step]:
    """What is to be run, in order."""
    found: list[Step] = []
    blocks: list[re.Match[str] | None] = [*_BLOCK.finditer(text), None]
    for block, following in pairwise(blocks):
        assert block is not None
        kind, body = block[1], block[2]
        line = text.count("\n", 0, block.start()) + 1
        if kind == "console":
            for number, part in enumerate(re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]):
                command, _, output = part.partition("\n")
                found.append(Step(line + number, "console", command, output))
        elif kind == "python":
            adjacent = (
                following is not None and following[1] == "text" and not text[block.end() : following.start()].strip()
            )
            found.append(Step(line, "python", body, following[2] if following is not None and adjacent else None))
    return found


def matches(expected: str, got: str) -> bool:
    """Whether an output is as expected; "..." stands for any text in a line, or alone on a line for any lines.

    Measured values (errors, sizes and predictions, told by their units) may differ, and so may the number of spaces
    between columns: they change whenever the catalog is built anew.

    >>> matches("a ... c", "a b c"), matches("a ... c", "a b d"), matches("a\\n...\\nc", "a\\nc")
    (True, False, True)
    >>> matches("NMAE 0.01 %, 8 electrons", "NMAE 0.02 %, 8 electrons"), matches("8 electrons", "9 electrons")
    (True, False)
    """

    lines = (r"(?:.*\n)*" if line == "..." else pattern(line) + r"\n" for line in expected.strip().split("\n"))
    return re.fullmatch("".join(lines), re.sub(" +", " ", got.strip()) + "\n") is not None


def pattern(line: str) -> str:
    """Regular expression for one line of an output."""
    pieces = _MEASURED.split(re.sub(" +", " ", line))
    return _NUMBER.join(".*".join(map(re.escape, piece.split("..."))) for piece in pieces)


_NUMBER = r"[\d.,e+-]+"
_MEASURED = re.compile(
    r"\d[\d.,]*(?:e[+-]\d+)?(?= (?:%|e/Å\^3|bytes|kB|MB|μB per cell|oxides))"
    # Predictions and their standard deviations: they change with the model.
    r"|-?\d[\d.]*(?=(?: \d[\d.]*)? (?:GPa|K|eV/atom|eV)$)"
)


class Interpreter:
    """A Python process that runs one program after the other in one namespace."""

    _LOOP = """
import json, sys
namespace = {"__name__": "__main__"}
for line in sys.stdin:
    name, code = json.loads(line)
    exec(compile(code, name, "exec"), namespace)
    print("\\x1e", flush=True)
"""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", self._LOOP],
            cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, name: str, code: str) -> str:
        """What a program prints."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([name, code]) + "\n")
        self._process.stdin.flush()
        lines: list[str] = []
        for line in self._process.stdout:
            if line == "\x1e\n":
                return "".join(lines)
            lines.append(line)
        raise AssertionError(f"{name} failed; its traceback is above")

    def close(self) -> None:
        self._process.communicate(timeout=60)


def run_page(page: Path, folder: Path, machine: Machine | None = None) -> Iterator[tuple[Step, list[str]]]:
    """Each step of a page with what it prints: standard output, and both streams in either order.

    machine: forks for each command of chgdb, where the shell has nothing else to do, so that it need not import
    everything again.
    """
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        **SETTINGS,
    }
    environment.pop("CHGDB_CATALOG", None)
    interpreter = Interpreter(folder, environment)
    try:
        for step in steps(page.read_text(encoding="utf-8")):
            where = f"{page.relative_to(ROOT)}:{step.line}"
            if step.kind == "python":
                outputs = [interpreter.run(where, step.code)]
            else:
                if (
                    machine is not None
                    and step.code.startswith("chgdb ")
                    and not re.search(r"[|&;<>$*?`\\]", step.code)
                ):
                    ended = machine.run_together([shlex.split(step.code)[1:]], [0.0], folder, SETTINGS)[0]
                    out, err = ended.out, ended.err
                else:
                    done = subprocess.run(
                        ["bash", "-c", step.code],
                        cwd=folder,
                        env=environment,
                        capture_output=True,
                        text=True,
                        timeout=300,
                    )
                    out, err = done.stdout, done.stderr
                assert "Traceback" not in err, where
                # A terminal shows both; which of the two comes first is not said.
                outputs = [out, err + out, out + err]
            yield step, outputs
    finally:
        interpreter.close()


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine | None]:
    if not sys.platform.startswith("linux"):
        yield None
        return
    found = Machine(tmp_path_factory.mktemp("machine"), faults=False)
    yield found
    found.close()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_page(page: Path, tmp_path: Path, machine: Machine | None) -> None:
    if page in WITH_TORCH:
        pytest.importorskip("torch")
    for step, outputs in run_page(page, tmp_path, machine):
        if step.expected is not None:
            where = f"{page.relative_to(ROOT)}:{step.line}"
            assert any(matches(step.expected, got) for got in outputs), f"{where} prints\n{outputs[-1]}"


def test_buttons_copy_commands_only() -> None:
    """As mkdocs makes a page of a session; the theme's script takes `data-copy` where there is one."""
    markdown = pytest.importorskip("markdown")
    pytest.importorskip("pymdownx")
    pytest.importorskip("latex2mathml")
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    text = (
        "```console\n$ chgdb fetch mp-149 \\\n    --decode -o 'a & b.cube'\na & b.cube: Si\n$ ls > x\n```\n\n"
        "```bash\nchgdb info mp-149\n```\n"
    )
    page = hooks.on_page_content(markdown.markdown(text, extensions=["pymdownx.highlight", "pymdownx.superfences"]))
    found = re.findall(r'data-copy="([^"]*)"', page)
    expected = "chgdb fetch mp-149 \\\n    --decode -o 'a & b.cube'\nls > x"
    assert [html.unescape(copied) for copied in found] == [expected]
    assert page.count("a &amp; b.cube: Si") == 1  # what is shown stays


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in PAGES[1:]:
        assert page.relative_to(ROOT / "docs").as_posix() in navigation


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"


def _benchmark(name: str) -> Any:
    path = ROOT / "tests" / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_comparison_in_the_readme_is_what_was_measured() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert _benchmark("readme_table").inserted(readme) == readme, "run python tests/benchmarks/readme_table.py"


@pytest.mark.parametrize(("name", "data"), [("bench_charges", "DATA"), ("bench_bulk", "OUT")])
def test_tables_of_pages_are_what_was_measured(name: str, data: str) -> None:
    module = _benchmark(name)
    page = module.PAGE.read_text(encoding="utf-8")
    found = json.loads(getattr(module, data).read_text(encoding="utf-8"))
    assert module.inserted(page, found) == page, f"run python tests/benchmarks/{name}.py --table"
