"""The split: by formula alone, the paper's where it has one, nothing of a test in training."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest

from chgdb import splits
from chgdb.elements import SYMBOLS, canonical_formula
from chgdb.errors import DensityError

FORMULAS = [f"{a}{b}{n if n > 1 else ''}" for a in SYMBOLS[1:40] for b in SYMBOLS[41:60] for n in (1, 2, 3)]


def test_eighty_ten_ten_by_hash() -> None:
    counts = Counter(splits.assign(FORMULAS).tolist())
    total = len(FORMULAS)
    for part, share in (("train", 0.8), ("validation", 0.1), ("test", 0.1)):
        assert abs(counts[part] - share * total) < 4 * np.sqrt(total * share * (1 - share))


def test_parts_that_must_never_change() -> None:
    """A part that changed would put what a published model was tested with into the next one's training."""
    formulas = ["SiO2", "NaCl", "LiCoO2", "Fe", "GaAs", "MgO", "Al", "C", "TiO2", "CuZn"]
    assert splits.assign(formulas).tolist() == [
        "train",
        "validation",
        "train",
        "train",
        "validation",
        "train",
        "train",
        "train",
        "test",
        "train",
    ]


def test_ways_of_writing_a_formula() -> None:
    same = ["SiO2", "O2Si", "Si4O8", "Si O2", "(SiO2)3"]
    assert {canonical_formula(formula) for formula in same} == {"SiO2"}
    assert len(set(splits.assign(same))) == 1
    assert splits.assign(["NaN"]).tolist() == [splits.by_hash("NNa")]  # sodium nitride, not a missing value
    with pytest.raises(DensityError, match="'nan' is not a chemical formula"):
        splits.assign([float("nan")])  # type: ignore[list-item]


def test_the_paper_decides_for_all_polymorphs() -> None:
    other = "validation" if splits.by_hash("SiO2") == "test" else "test"
    assert splits.assign(["SiO2", "O4Si2"], [{"validation": "val"}.get(other, other), ""]).tolist() == [other, other]
    assert splits.assign(["Si", "Si", "Si"], ["train", "test", None]).tolist() == ["test"] * 3
    assert splits.assign(["Si", "Si"], ["train", "val"]).tolist() == ["validation"] * 2
    assert splits.assign(["Si", "Si"], ["train", float("nan")]).tolist() == ["train"] * 2


def test_materials_known_beside_the_rows() -> None:
    known = splits.claims(["Si", "NaCl"], ["test", "val"])
    assert splits.assign(["Si2", "ClNa"], known=known).tolist() == ["test", "validation"]
    assert splits.assign(["Si", "NaCl"], ["train", "test"], known).tolist() == ["test", "test"]


def test_rows_do_not_matter_to_each_other() -> None:
    whole = splits.assign(FORMULAS)
    order = np.random.default_rng(0).permutation(len(FORMULAS))[:100]
    np.testing.assert_array_equal(splits.assign([FORMULAS[i] for i in order]), whole[order])


def test_ids_of_each_part() -> None:
    parts = splits.split(["a", "b", "c"], ["SiO2", "NaCl", "O2Si"], ["test", "train", ""])
    assert parts == {"train": ["b"], "validation": [], "test": ["a", "c"]}


def test_what_cannot_be_split() -> None:
    with pytest.raises(splits.SplitError, match="2 formulas do not go with 1 parts"):
        splits.assign(["Si", "C"], ["train"])
    with pytest.raises(splits.SplitError, match="'dev' is no part of a split"):
        splits.assign(["Si"], ["dev"])
    with pytest.raises(splits.SplitError, match="1 ids do not go with 2 formulas"):
        splits.split(["a"], ["Si", "C"])


def test_the_labels(shared: Path) -> None:
    """On the real table: no formula in two parts, the paper's tests all kept, few others moved."""
    with open(shared / "labels" / "labels.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    paper = [row["paper_split"] for row in rows]
    parts = splits.assign([row["formula"] for row in rows], paper).tolist()
    by_formula = defaultdict(set)
    for row, part in zip(rows, parts, strict=True):
        by_formula[canonical_formula(row["formula"])].add(part)
    assert all(len(found) == 1 for found in by_formula.values())
    assert {part for part, said in zip(parts, paper, strict=True) if said == "test"} == {"test"}
    moved = [said for part, said in zip(parts, paper, strict=True) if said and splits._part(said, "") != part]
    assert len(moved) < 0.01 * len(rows)
