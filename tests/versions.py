"""The test suite with other versions of the dependencies than those of constraints.txt, in an environment of its own.

    python tests/versions.py oldest            the lower bounds of pyproject.toml: tests/constraints-oldest.txt
    python3.14 tests/versions.py newest        the newest that pip finds
    python tests/versions.py oldest --torch 'torch==2.13.0' -- tests/test_catalog.py -x

The Python is the one that runs this. Without --torch the tests of networks skip: of most versions of Python and torch
there is no small build.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OLDEST = ROOT / "tests" / "constraints-oldest.txt"


def requirements(*extras: str) -> list[str]:
    """What the package and some of its extras need, the extras that they name resolved."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found: list[str] = list(project["dependencies"])
    waiting = list(extras)
    while waiting:
        for requirement in project["optional-dependencies"][waiting.pop(0)]:
            if requirement.startswith("chgdb["):
                waiting += requirement.removeprefix("chgdb[").removesuffix("]").split(",")
            else:
                found.append(requirement)
    return list(dict.fromkeys(found))


def lower_bounds() -> dict[str, str]:
    """Package -> the lower bound that pyproject.toml gives."""
    pairs = (requirement.partition(">=") for requirement in requirements("test", "remote"))
    return {name: bound for name, _, bound in pairs if bound}


def pinned() -> dict[str, str]:
    """Package -> the version in constraints-oldest.txt."""
    lines = (line.split("#")[0].strip() for line in OLDEST.read_text(encoding="utf-8").splitlines())
    return {name: version for name, _, version in (line.partition("==") for line in lines if line)}


def main() -> int:
    parser = argparse.ArgumentParser(description="The test suite with other versions of the dependencies.")
    parser.add_argument("which", choices=["oldest", "newest"])
    parser.add_argument("--torch", help="requirement of torch, such as torch==2.13.0")
    parser.epilog = "What comes after -- are arguments of pytest."
    arguments = sys.argv[1:]
    at = arguments.index("--") if "--" in arguments else len(arguments)
    options = parser.parse_args(arguments[:at])
    wanted = [name for name in requirements("test", "remote") if not name.startswith("torch")]
    wanted += [options.torch] if options.torch else []
    with tempfile.TemporaryDirectory(prefix="chgdb-versions-") as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / "bin" / "python"
        pip = [python, "-m", "pip", "install", "--quiet"]
        limits = ["-c", OLDEST] if options.which == "oldest" else []
        subprocess.run([*pip, *limits, *wanted], check=True)
        subprocess.run([*pip, "--no-deps", "-e", ROOT], check=True)
        subprocess.run([python, "-m", "pip", "list"], check=True)
        return subprocess.run([python, "-m", "pytest", "-q", *arguments[at + 1 :]], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
