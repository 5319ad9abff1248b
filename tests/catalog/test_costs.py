"""What a queue takes to be cheap, against what GPAW says of the densities in catalog/sources."""

from __future__ import annotations

import numpy as np
import pytest

from chgdb.elements import atomic_number
from chgdb_catalog import batches
from chgdb_catalog.gpaw import costs

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
    assert np.corrcoef(np.log(ours), np.log(gpaws))[0, 1] > 0.9
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
    assert hydrides[0] > 3 * hydrides[1]
    metals = [costs.expected(structure([s] * 2, 5.0 * FCC, [[0.0] * 3, [0.5] * 3])) for s in ("Pr", "La")]
    assert metals[0] / metals[1] > 5 * hydrides[0] / hydrides[1]  # two atoms with open shells, against one
    alloys = [costs.expected(structure(pair, 5.0 * FCC, [[0.0] * 3, [0.5] * 3])) for pair in (["Dy"] * 2, ["Dy", "Ho"])]
    assert alloys[1] > 2 * alloys[0]  # two kinds of open shells


def test_grids_that_symmetry_makes_large_are_seen():
    """Of a rhombohedral lattice with two vectors in a layer, these have as many points as the long one."""
    layer = 3.8 * np.array([[1.0, 0, 0], [-0.5, 0.75**0.5, 0]])
    growth = {}
    for name, shift in (("hexagonal", 0 * layer[0]), ("rhombohedral", (2 * layer[0] + layer[1]) / 3)):
        cell = np.array([*layer, shift + np.array([0.0, 0.0, 15.6])])
        frac = np.array([[0.0] * 3, [0.0, 0.0, 1.5]]) @ np.linalg.inv(cell)
        growth[name] = costs.grid_growth(cell, frac, [30, 16])
    assert growth["hexagonal"] == pytest.approx(1, abs=0.01)
    assert growth["rhombohedral"] > 15  # (15.6 / 3.3) squared


def test_grids_are_about_those_of_gpaw():
    ours, gpaws = [], []
    for material_id in list(batches.index())[::40]:
        record, _ = batches.load(material_id)
        cell, numbers = np.array(record["cell"]), [atomic_number(s) for s in record["symbols"]]
        plain = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0).prod()
        ours.append(plain * costs.grid_growth(cell, np.array(record["frac"]), numbers))
        gpaws.append(np.prod(record["grid"]))
    assert np.corrcoef(np.log(ours), np.log(gpaws))[0, 1] > 0.9


def test_a_structure_of_no_sense_has_a_cost_too():
    assert costs.expected(structure(["A", "A"], np.eye(3), [[0.0] * 3, [0.0] * 3])) > 0
