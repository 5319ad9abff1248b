"""Criteria of searches: kinds of columns, texts, ranges, what cannot be meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from materials import density

import chgdb
from chgdb.criteria import matches, parse, symbols
from chgdb.errors import CriterionError, DensityError, StoreError
from chgdb.ingest import build_from

NUMBERS = np.array([1.5, 3.0, np.nan, -2.0])
TEXTS = np.array(["GPAW 22.8, PAW setups", "gpaw", "PBE D3", "PBE", "", "PBEsol", "CP2K v9.1"], object)
TRUTHS = np.array([1, 0, -1], np.int8)


@pytest.mark.parametrize(
    ("values", "text", "rows"),
    [
        (NUMBERS, "1..", [0, 1]),
        (NUMBERS, "..2", [0, 3]),
        (NUMBERS, "..", [0, 1, 3]),
        (NUMBERS, "3..3", [1]),
        (NUMBERS, "3", [1]),
        (NUMBERS, "1.5e0", [0]),
        (TEXTS, "GPAW", [0, 1]),
        (TEXTS, "gpaw 22.8", [0]),
        (TEXTS, "PBE", [3]),
        (TEXTS, "CP2K", [6]),
        (TEXTS, "P", []),
        (TRUTHS, "yes", [0]),
        (TRUTHS, "False", [1]),
        (TRUTHS, "unknown", [2]),
        (TRUTHS, "0..1", [0, 1]),
    ],
)
def test_rows(values: np.ndarray, text: str, rows: list[int]) -> None:
    name, wanted = parse(f"column:{text}")
    assert np.flatnonzero(matches(values, wanted, name)).tolist() == rows


def test_columns_with_a_meaning_of_their_own() -> None:
    formulas = np.array(["TiO2", "MgO", "Ti2O3"], object)
    assert matches(formulas, "O4Ti2", "formula").tolist() == [True, False, False]
    assert matches(formulas, ["OMg", "Ti2O3"], "formula").tolist() == [False, True, True]
    elements = np.array(["O Mg", "Na Cl", "O"], object)
    assert matches(elements, "Cl, Na", "elements").tolist() == [False, True, False]
    assert matches(elements, "O", "elements").tolist() == [True, False, True]
    assert matches(np.array(["total magnetization", "total"], object), "magnetization", "channels").tolist() == [1, 0]
    assert matches(np.array([0, 2, 225], np.int16), (None, 10), "space_group").tolist() == [False, True, False]
    assert matches(np.array([163.57349, 163.5762]), "163.573", "volume").tolist() == [True, False]  # as tables show it
    assert symbols("Na, Cl") == symbols("Na-Cl") == symbols(["Na", "Cl"]) == {"Na", "Cl"}


@pytest.mark.parametrize(
    ("values", "wanted", "message"),
    [
        (NUMBERS, "high", "holds numbers, not 'high'"),
        (NUMBERS, "1_0", "holds numbers"),
        (NUMBERS, "nan", "holds numbers"),
        (TRUTHS, "perhaps", "holds yes or no"),
        (TEXTS, (1, 2), "holds texts"),
        (NUMBERS, (5, 4), "the range 5..4 is empty"),
        (NUMBERS, (float("nan"), None), "no number"),
        (NUMBERS, (1, 2, 3), "is .low, high."),
        (np.zeros((2, 3)), 1, "cannot be searched"),
    ],
)
def test_what_a_column_cannot_hold(values: np.ndarray, wanted: Any, message: str) -> None:
    with pytest.raises(CriterionError, match=message):
        matches(values, wanted, "column")


@pytest.mark.parametrize("text", ["gap", "gap:", ":1", "g p:1", "gap:a..b", "gap:9..8.5", "gap:nan..1", "gap:1_0..2"])
def test_what_cannot_be_read(text: str) -> None:
    with pytest.raises(CriterionError):
        parse(text)


def test_searches_of_a_catalog(tmp_path: Path) -> None:
    build_from(tmp_path / "s.zarr", list(_FACTS), _load, workers=1, tolerance=0)
    catalog = chgdb.open(tmp_path / "s.zarr")
    assert catalog.search(code="VASP") == ["mat-1", "mat-2"]
    assert catalog.search(metal="no") == catalog.search(metal=False) == ["mat-2"]
    assert catalog.search(where=[("gap", (2.5, None)), ("gap", (None, 3.5))]) == ["mat-2"]
    assert catalog.search(where={"formula": "O2Li2"}, formula="LiO") == catalog.search(formula="OLi")
    assert catalog.search(where={"elements": "O"}, gap=(0, 9)) == catalog.search(elements="O")
    with pytest.raises(StoreError, match="no column 'predicted'"):
        catalog.search(where={"predicted": 3})
    with pytest.raises(DensityError):
        catalog.search(where={"formula": "no formula"})


_FACTS = {"mat-1": ("VASP 6.4.2", 2.0, True), "mat-2": ("vasp", 3.0, False), "mat-4": ("Quantum ESPRESSO", 4.0, None)}


def _load(material_id: str) -> tuple[chgdb.Density, dict[str, Any]]:
    code, gap, metal = _FACTS[material_id]
    return density(material_id), {"code": code, "gap": gap, "metal": metal}
