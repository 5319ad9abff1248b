"""Tables as markdown and JSON. A page keeps its prose: only what lies between its markers is replaced."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

_PACKAGES = (
    *("chgdb", "numpy", "torch", "spglib", "pymatgen"),
    *("pcodec", "zfpy", "hdf5plugin", "h5py", "zstandard", "constriction"),
)


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Markdown; all columns but the first are aligned to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def count(value: float) -> str:
    """A size or ratio with separators of thousands: 12,345; three digits below 100."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def percent(fraction: float, digits: int = 3) -> str:
    return f"{100 * fraction:.{digits}g} %"


def geometric_mean(values: Iterable[float]) -> float:
    return float(np.exp(np.mean(np.log(list(values)))))


def versions() -> dict[str, str]:
    """Python, machine, and the packages that bear on the numbers."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def publish(folder: Path, name: str, markdown: str, data: dict[str, Any], page: str = "codec") -> None:
    """Print a table, put it into `folder`/`page`.md between its markers, and the numbers into `folder`/data."""
    print(f"\n## {name}\n\n{markdown}\n", flush=True)
    (folder / "data").mkdir(parents=True, exist_ok=True)
    text = json.dumps({"versions": versions(), **data}, indent=1, allow_nan=False)
    # Lists of numbers on one line each: the files stay readable, and their differences too.
    text = re.sub(r"\[\s+([^][{}]*?)\s+\]", lambda found: "[" + re.sub(r"\s*\n\s*", " ", found[1]) + "]", text)
    (folder / "data" / f"{page}-{name}.json").write_text(text + "\n", encoding="utf-8")
    place = folder / f"{page}.md"
    before = place.read_text(encoding="utf-8") if place.exists() else f"# {page}\n"
    start, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    block = f"{start}\n\n{markdown}\n\n{end}"
    if start in before and end in before:
        head, _, rest = before.partition(start)
        after = head + block + rest.partition(end)[2]
    else:
        after = f"{before.rstrip()}\n\n{block}\n"
    place.write_text(after, encoding="utf-8")


def load(folder: Path, name: str, page: str = "codec") -> dict[str, Any]:
    """The numbers of an earlier run."""
    path = folder / "data" / f"{page}-{name}.json"
    if not path.exists():
        raise SystemExit(f"needs {path}: run the benchmark {name} first")
    return json.loads(path.read_text(encoding="utf-8"))
