"""Matbench's tasks for K and G with the model that is served, from structures alone, on the official folds.

    python tests/benchmarks/bench_matbench.py matbench_log_kvrh.json.gz
    python tests/benchmarks/bench_matbench.py matbench_log_gvrh.json.gz --workers 8 --folder work

The data sets are files of Matbench v0.1 (Dunn et al., npj Comput. Mater. 6, 138 (2020)), third-party files that are
not kept here: `matminer.datasets.load_dataset` fetches them, or a browser. The folds are Matbench's: five, drawn at
random with its seed for regressions, so that polymorphs of a formula stand on both sides. The model of a fold is
trained anew on the other four; nothing is tuned, and no weights of the package are used. The folder keeps features of
structures and finished folds: started again, the benchmark goes on.

Prints for each fold, and for all, the mean absolute error of log10(GPa) that the leaderboard ranks by, beside that of a
model that says the mean, and the seconds of a core.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection import KFold

from chgdb import Crystal
from chgdb.models import TARGETS, get
from chgdb.models.rows import from_structures

#: Column of the data set -> what the model calls it.
PROPERTIES = {"log10(K_VRH)": "bulk_modulus", "log10(G_VRH)": "shear_modulus"}
_SEED = 18012019  # Matbench's, for regressions
_SMALLEST = 1e-3  # GPa; some labels are 1 GPa and log10 of them 0, none is below


def read(path: Path) -> tuple[list[str], list[Crystal], str, np.ndarray]:
    """(ids, structures, name of the target, its values (n,) in log10(GPa)) of one of Matbench's files.

    Raises `SystemExit` for a file that is none.
    """
    from pymatgen.core import Structure

    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8") as file:
            content = json.load(file)
        columns, rows = content["columns"], content["data"]
        label = next(name for name in columns if name in PROPERTIES)
        place = columns.index("structure"), columns.index(label)
        crystals = [Crystal.from_pymatgen(Structure.from_dict(row[place[0]])) for row in rows]
        values = np.array([float(row[place[1]]) for row in rows])
    except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        wanted = " or ".join(PROPERTIES)
        raise SystemExit(f"{path}: no data set of Matbench with structures and {wanted} ({error})") from None
    ids = [f"mb-{k + 1:05d}" for k in range(len(rows))]
    return ids, crystals, PROPERTIES[label], values


def folds(count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Matbench's (training rows, test rows) of a regression with so many rows."""
    return [(train, test) for train, test in KFold(5, shuffle=True, random_state=_SEED).split(np.zeros(count))]


def run(
    path: Path, folder: Path, workers: int | None = None, chosen: tuple[int, ...] = (0, 1, 2, 3, 4)
) -> dict[str, Any]:
    """Results of the chosen folds; each is kept in the folder."""
    ids, crystals, target, values = read(path)
    folder.mkdir(parents=True, exist_ok=True)
    learner = get("invariant").Model
    rows = from_structures(ids, crystals, learner.INPUTS, cache=folder / "features", workers=workers, progress=True)
    forward = TARGETS[target].forward(np.maximum(10.0**values, _SMALLEST))
    found = {}
    for number, (train, test) in enumerate(folds(len(ids))):
        result = folder / f"{target}-fold-{number}.json"
        if number in chosen and not result.exists():
            began = time.process_time()
            model = learner()
            model.fit(rows.take(train), {target: forward[train]}, validation=np.zeros(len(train), bool), seed=number)
            mean, _ = model.predict(rows.take(test))
            predicted = np.log10(TARGETS[target].inverse(mean[target]))
            facts = {
                "fold": number, "train": len(train), "test": len(test),
                "mae": float(np.abs(predicted - values[test]).mean()),
                "of_the_mean": float(np.abs(values[train].mean() - values[test]).mean()),
                "cpu_seconds": time.process_time() - began,
                "predictions": {ids[row]: float(value) for row, value in zip(test, predicted, strict=True)},
            }  # fmt: skip
            result.write_text(json.dumps(facts), encoding="utf-8")
        if result.exists():
            found[number] = json.loads(result.read_text(encoding="utf-8"))
            print("fold {fold}: {mae:.4f} ({of_the_mean:.4f} by the mean), {cpu_seconds:.0f} s".format(**found[number]))
    errors = [facts["mae"] for facts in found.values()]
    print(f"{target}, {len(errors)} of 5 folds: {np.mean(errors):.4f} ± {np.std(errors):.4f}")
    return {"target": target, "materials": len(ids), "folds": found, "mean": float(np.mean(errors))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, help="matbench_log_kvrh.json.gz or matbench_log_gvrh.json.gz")
    parser.add_argument("--folder", type=Path, default=Path("matbench"), help="for features and finished folds")
    parser.add_argument("--workers", type=int, help="processes for features")
    parser.add_argument("--fold", type=int, choices=range(5), action="append", help="this fold alone; may be repeated")
    asked = parser.parse_args()
    run(asked.dataset, asked.folder, asked.workers, tuple(asked.fold or range(5)))


if __name__ == "__main__":
    main()
