"""Fuzz one target, guided by the coverage of chgdb's code.

    pip install atheris
    python tests/fuzz/run.py TARGET --minutes 5          # `list` prints the targets

Goes on after a finding: each kind of failure is kept once, as a file in --out whose name says what it is. Ends with one
line of JSON, appended to runs.jsonl there: target, executions, seconds, findings, and the corpus' size. An input that
takes the process down (a crash of the interpreter, more than --memory, more than --seconds in C code) ends the run;
libFuzzer writes it to --out too. `python tests/fuzz/run.py report` puts the sums of runs.jsonl into
docs/science/trust.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import re
import sys
import time
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("target")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--out", type=Path, default=Path("fuzzing"), help="corpus and findings; default: ./fuzzing")
    parser.add_argument("--memory", type=int, default=2048, help="MB of the process; default 2048")
    parser.add_argument("--seconds", type=int, default=60, help="for one input in C code; default 60")
    options = parser.parse_args()
    if options.target == "list":
        from targets import TARGETS

        print(*TARGETS, sep="\n")
        return 0
    if options.target == "report":
        _report(options.out / "runs.jsonl")
        return 0
    folder = options.out / options.target
    for part in ("corpus", "findings"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    # libFuzzer ends its process where it finds something fatal: what it did until then is in shared memory.
    counts = multiprocessing.Array("d", 2)
    child = multiprocessing.get_context("fork").Process(target=_fuzz, args=(options, folder, counts))
    began = time.monotonic()
    child.start()
    child.join()
    findings = sorted(path.name for path in (folder / "findings").iterdir() if path.suffix != ".txt")
    facts = {
        "target": options.target,
        "executions": int(counts[0]),
        "seconds": round(time.monotonic() - began),
        "findings": findings,
        "corpus": len(list((folder / "corpus").iterdir())),
        "ended_early": child.exitcode != 0,
    }
    print(json.dumps(facts), flush=True)
    with open(options.out / "runs.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps(facts) + "\n")
    return 1 if findings or child.exitcode else 0


def _report(runs: Path) -> None:
    """The table of all runs, into the page."""
    sys.path.insert(0, str(HERE.parent / "benchmarks"))
    from codec_report import publish, table
    from targets import TARGETS

    sums: dict[str, dict] = {}
    for line in runs.read_text(encoding="utf-8").splitlines():
        facts = json.loads(line)
        found = sums.setdefault(facts["target"], {"executions": 0, "seconds": 0, "findings": set()})
        found["executions"] += facts["executions"]
        found["seconds"] += facts["seconds"]
        found["findings"] |= set(facts["findings"])
    rows = [
        [TARGETS[name].what, f"{s['executions']:,}", f"{s['seconds'] / 60:.1f}", str(len(s["findings"]))]
        for name, s in sums.items()
    ]
    total = [sum(s["executions"] for s in sums.values()), sum(s["seconds"] for s in sums.values()) / 60]
    count = sum(len(s["findings"]) for s in sums.values())
    rows.append(["**all**", f"{total[0]:,}", f"{total[1]:.1f}", str(count)])
    data = {name: {**s, "findings": sorted(s["findings"])} for name, s in sums.items()}
    headers = ["what is read", "executions", "minutes", "kinds of failure"]
    publish(HERE.parent.parent / "docs" / "science", "fuzzing", table(headers, rows), {"targets": data}, page="trust")


def _fuzz(options: argparse.Namespace, folder: Path, counts) -> None:
    import atheris

    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with atheris.instrument_imports(include=["chgdb", "chgdb_catalog"], enable_loader_override=False):
        from base import attempt, environment
        from targets import TARGETS

        import chgdb  # noqa: F401

        environment()
        target = TARGETS[options.target]
        seeds = target.seeds()
        for seed in seeds:  # what is imported late is instrumented too
            attempt(target, seed)
    for seed in seeds:
        (folder / "corpus" / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
    seen: set[str] = set()
    end = time.monotonic() + 60 * options.minutes

    def one(data: bytes) -> None:
        counts[0] += 1
        try:
            attempt(target, data)
        except Exception as error:
            name = _name(error)
            if name not in seen:
                seen.add(name)
                (folder / "findings" / name).write_bytes(data)
                (folder / "findings" / f"{name}.txt").write_text(traceback.format_exc(), encoding="utf-8")
        if time.monotonic() > end:
            os._exit(0)  # libFuzzer's own limit counts whole batches

    arguments = [
        sys.argv[0], f"-max_total_time={int(60 * options.minutes) + 30}", f"-rss_limit_mb={options.memory}",
        f"-timeout={options.seconds}", f"-artifact_prefix={folder}/findings/fatal-", "-max_len=20000",
        "-print_final_stats=0", "-verbosity=0", f"{folder}/corpus",
    ]  # fmt: skip
    atheris.Setup(arguments, one)
    atheris.Fuzz()


def _name(error: Exception) -> str:
    """A failure by its class and the last place in chgdb (else in the targets) that it came through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/chgdb/" in frame.filename or "/catalog/" in frame.filename] or frames
    place = f"{Path(ours[-1].filename).stem}-{ours[-1].name}-{ours[-1].lineno}"
    return re.sub(r"[^\w-]", "_", f"{type(error).__name__}-{place}")


if __name__ == "__main__":
    sys.exit(main())
