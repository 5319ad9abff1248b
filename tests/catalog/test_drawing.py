"""Structures drawn for more training densities: no formula that is kept for testing, and nothing that is no crystal."""

from __future__ import annotations

import base64
import json
from hashlib import sha256
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

import chgdb
from chgdb import splits
from chgdb.densities.graph import neighbours
from chgdb.densities.guess import guess
from chgdb.densities.model import load as load_model
from chgdb.elements import canonical_formula
from chgdb_catalog import drawing, labels
from chgdb_catalog.dft import compute
from chgdb_catalog.structures import crystal as crystal_of

pytest.importorskip("pymatgen")


@pytest.fixture(scope="module")
def drawn() -> list[dict]:
    return list(islice(drawing.draw(chgdb.open(), frozenset(), {}, seed=3), 120))


def test_the_most_doubtful_of_some_candidates(drawn):
    """The members disagree most on the chosen ones, which stay in their order."""
    few = drawn[:12]
    chosen = drawing.most_doubtful(few, 4)
    model = load_model()
    spread = {}
    for record in few:
        crystal = crystal_of(record)
        points = tuple(int(n) for n in np.ceil(np.linalg.norm(crystal.cell, axis=1) / 0.3))
        spread[record["material_id"]] = guess(model, crystal, points).spread
    names = [r["material_id"] for r in chosen]
    assert names == sorted(names)
    assert min(spread[n] for n in names) >= max(s for i, s in spread.items() if i not in names) * 0.9


def test_no_formula_that_a_model_is_stopped_or_tested_with(drawn):
    catalog = chgdb.open()
    parts = dict(zip(map(canonical_formula, catalog.column("formula")), catalog.column("split"), strict=True))
    for record in drawn:
        formula = canonical_formula(record["formula"])
        assert parts.get(formula, "train") == "train"
        if formula not in parts:
            assert splits.by_hash(formula) == "train"


def test_what_the_paper_tests_with_is_not_drawn(drawn):
    formula = canonical_formula(drawn[0]["formula"])
    assert not drawing.allowed(drawn[0]["formula"], frozenset(), {formula: "test"})


def test_formulas_kept_back_by_their_hash_are_not_drawn(drawn):
    crystals = [crystal_of(record) for record in drawn]
    hashes = {sha256(drawing.pymatgen_formula(crystal).encode()).hexdigest() for crystal in crystals[:60]}
    fewer = list(islice(drawing.draw(chgdb.open(), hashes, {}, seed=3), 60))
    left = {sha256(drawing.pymatgen_formula(crystal_of(r)).encode()).hexdigest() for r in fewer}
    assert not left & hashes


def test_the_hashes_kept_back_are_those_of_pymatgen():
    from pymatgen.core import Composition

    crystal = chgdb.Crystal(np.eye(3) * 5, np.random.default_rng(0).random((4, 3)), [8, 8, 8, 53])
    assert drawing.pymatgen_formula(crystal) == Composition("IO3").reduced_formula


def test_every_record_is_one_that_the_queue_takes(drawn, tmp_path: Path):
    path = tmp_path / "queue.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in drawn))
    assert len(compute.read_queue(path)) == len(drawn)
    assert {record["made_by"] for record in drawn} == set(drawing.KINDS)


def test_atoms_keep_their_distance(drawn):
    for record in drawn:
        crystal = crystal_of(record)
        _, _, vectors = neighbours(crystal, np.arange(len(crystal)), 2.0)
        assert len(vectors) == 0 or np.linalg.norm(vectors, axis=1).min() > 0.5


def test_hydrides_halides_and_oxides_come_first(drawn):
    catalog = chgdb.open()
    usual = np.mean([bool({"H", "O", "F", "Cl", "Br", "I"} & set(e.split(","))) for e in catalog.column("elements")])
    share = np.mean([bool({"H", "O", "F", "Cl", "Br", "I"} & set(record["symbols"])) for record in drawn])
    assert share > 1.5 * usual


@pytest.mark.parametrize("text", ["not a hash\n", "00\n", "\x00\xff"])
def test_a_list_of_hashes_that_is_none(text, tmp_path: Path):
    (tmp_path / "hashes.txt").write_bytes(text.encode("latin-1"))
    with pytest.raises(drawing.DrawError, match=r"hashes\.txt"):
        drawing.kept_back(tmp_path / "hashes.txt")


def test_the_list_of_hashes(shared: Path):
    assert len(drawing.kept_back(shared / "kept-back.txt")) > 50


def test_the_densities_that_have_been_computed(shared: Path):
    """None of a formula kept back or one that a model is stopped or tested with, in the paper's split or ours."""
    store, catalog = chgdb.open(drawing.STORE), chgdb.open()
    forbidden = drawing.kept_back(shared / "kept-back.txt")
    known = labels.claims(shared / "labels" / "labels.csv")
    parts = dict(zip(map(canonical_formula, catalog.column("formula")), catalog.column("split"), strict=True))
    assert len(store) >= 100
    for record in store:
        assert drawing.allowed(drawing.pymatgen_formula(record.crystal), forbidden, known)
        assert parts.get(canonical_formula(record.crystal.formula), "train") == "train"
        assert record.metadata["split"] == "train"
        assert record.metadata["parent"] in catalog
        matrices = json.loads(record.metadata["density_matrices"])
        assert len(matrices) == len(record.crystal)
        for text in matrices:
            packed = np.frombuffer(base64.b64decode(text), "<f4")
            waves = (np.sqrt(8 * len(packed) + 1) - 1) / 2
            assert waves == round(waves) > 0  # n (n + 1) / 2 numbers, of one spin
            assert np.isfinite(packed).all()


def test_the_wheel_has_none_of_them():
    import tomllib

    data = tomllib.loads((Path(drawing.__file__).parents[1] / "pyproject.toml").read_text())
    patterns = data["tool"]["setuptools"]["package-data"]["chgdb_catalog"]
    assert not any(drawing.STORE.match(pattern.removesuffix("/**")) for pattern in patterns)
