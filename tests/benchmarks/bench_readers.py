"""A writer and twenty readers of one store at once; what each must see is known (see tests/readers.py).

    python tests/benchmarks/bench_readers.py [--minutes 10] [--readers 20]

Puts the counts into docs/science/scale.md, and exits with 1 where a reader saw an error or a wrong value.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import readers as processes
from codec_report import count, publish, table

import chgdb
from chgdb.verification import verify

OUT = Path(__file__).resolve().parents[2] / "docs" / "science"
PAGE = "scale"


def measure(folder: Path, seconds: float, readers: int, pause: float = 0.05, prepared: bool = False) -> dict[str, Any]:
    """Counts of the writer and of every reader, and the last line of what went wrong in any of them."""
    store = folder / "s.zarr"
    if not prepared:
        processes.prepare(store)
    script = Path(__file__).resolve().parents[1] / "readers.py"

    def start(action: str, seed: int) -> subprocess.Popen[str]:
        command = [sys.executable, str(script), action, str(store), str(seconds), str(seed), str(pause)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    running = [start("read", seed) for seed in range(readers)]
    writer = start("write", 1000)
    ended = [(process, *process.communicate()) for process in [*running, writer]]
    failed = [errors.strip().splitlines()[-1] for process, _, errors in ended if process.returncode]
    counts = [json.loads(output) for process, output, _ in ended[:-1] if not process.returncode]
    report = verify(store)
    return {
        "ok": not failed and report.ok,
        "seconds": seconds,
        "errors": failed,
        "written": {} if writer.returncode else json.loads(ended[-1][1]),
        "readers": counts,
        "materials": len(chgdb.open(store)),
        "problems": [problem.message for problem in report.problems],
    }


def show(result: dict[str, Any]) -> str:
    seen, written = result["readers"], result["written"]
    total = {name: sum(counts[name] for counts in seen) for name in seen[0]}
    versions = sorted(counts["versions"] for counts in seen)
    changed = written["appended"] + written["replaced"] + written["deleted"]
    rows = [
        ["minutes", f"{result['seconds'] / 60:g}"],
        ["versions of the store written", count(changed)],
        ["&nbsp; by appending (materials)", f"{written['appended']} ({written['added_materials']})"],
        ["&nbsp; by replacing (materials)", f"{written['replaced']} ({written['replaced_materials']})"],
        ["&nbsp; by deleting (materials)", f"{written['deleted']} ({written['deleted_materials']})"],
        ["readers", str(len(seen))],
        ["densities decoded and compared with their hash", count(total["densities"])],
        ["other answers checked", count(total["answers"])],
        ["times the store was opened anew", count(total["opened"])],
        ["materials asked for that had been deleted meanwhile", count(total["gone"])],
        ["versions that one reader saw, least and most", f"{versions[0]}, {versions[-1]}"],
        ["errors and wrong values", str(len(result["errors"]))],
        ["`chgdb verify` of what is left", "all well" if not result["problems"] else "; ".join(result["problems"])],
    ]
    return table(["", ""], rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--readers", type=int, default=20)
    parser.add_argument(
        "--pause", type=float, default=0.05, help="longest pause of a reader between two rounds, seconds"
    )
    parser.add_argument("--out", type=Path, default=OUT, help="folder of scale.md and data/")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chgdb-readers-") as folder:
        result = measure(Path(folder), 60 * options.minutes, options.readers, options.pause)
    for line in result["errors"]:
        print(line, file=sys.stderr)
    if result["written"] and result["readers"]:
        publish(options.out, "readers", show(result), result, PAGE)
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
