"""What a queue takes to be cheap, against what GPAW says of the densities in catalog/sources."""

from __future__ import annotations

import numpy as np
import pytest

from chgdb.elements import atomic_number
from chgdb_catalog import batches, costs

FCC = 0.5 * np.array([[0.0, 1, 1], [1, 0, 1], [1, 1, 0]])


def structure(symbols: list[str], cell: np.ndarray, frac: list[list[float]], **more: object) -> dict:
    return {"symbols": symbols, "cell": cell.tolist(), "frac": frac, **more}


def test_irreducible_kpoints_are_about_those_of_gpaw():
    ids = list(batches.index())[::40]
    counts = []
    for material_id in ids:
        record, _ = batches.load(material_id)
        numbers = [atomic_number(s) for s in record["symbols"]]
        found = costs.irreducible_kpoints(np.array(record["cell"]), np.array(record["frac"]), numbers)
        counts.append((found, record["n_kpoints_irreducible"]))
    ours, gpaws = np.array(counts, float).T
    assert len(ids) > 50
    assert np.corrcoef(np.log(ours), np.log(gpaws))[0, 1] > 0.95
    assert np.median(ours / gpaws) == pytest.approx(1, abs=0.1)


def test_symmetry_size_spin_and_open_shells():
    small = structure(["Si", "Si"], 5.43 * FCC, [[0.0] * 3, [0.25] * 3])
    moved = structure(["Si", "Si"], 5.43 * FCC, [[0.0] * 3, [0.25, 0.22, 0.31]])
    whole = structure(["Si"] * 8, 5.43 * np.eye(3), [[0.0] * 3] * 4 + [[0.25] * 3] * 4)
    cheap = costs.expected(small)
    assert costs.expected(moved) > 3 * cheap
    assert costs.expected(whole) > cheap
    assert costs.expected({**small, "spin_polarised": True}) > 2 * cheap
    hydrides = [costs.expected(structure([s, "H"], 5.5 * FCC, [[0.0] * 3, [0.5] * 3])) for s in ("Pr", "La")]
    assert hydrides[0] > 5 * hydrides[1]


def test_a_structure_of_no_sense_has_a_cost_too():
    assert costs.expected(structure(["A", "A"], np.eye(3), [[0.0] * 3, [0.0] * 3])) > 0
