"""Rules of the code that a program can check, beyond those of ruff."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: Lines of a function without its docstring; what is longer does more than one thing.
MAXIMUM = 80


def test_functions_are_short() -> None:
    long = []
    for path in (path for folder in ("chgdb", "cli", "catalog", "tests") for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if ast.get_docstring(node):
                    lines -= (node.body[0].end_lineno or 0) - node.body[0].lineno + 1
                if lines > MAXIMUM:
                    long.append(f"{path.relative_to(ROOT)}: {node.name}, {lines} lines")
    assert long == []
