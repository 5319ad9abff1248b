"""The command that measures the property models."""

from __future__ import annotations

import json
import shutil
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from trained import make

import chgdb
from chgdb import Density
from chgdb.models import SERVED, evaluation, get
from chgdb.models.applicability import descriptors
from chgdb_catalog import structures
from chgdb_catalog.studies import evaluate_properties, property_report, property_studies

DOCS = Path(__file__).resolve().parents[2] / "docs" / "science"


def at(density: Density, points: np.ndarray) -> np.ndarray:
    """Values of the trigonometric polynomial through a density at Cartesian points (n, 3)."""
    values = np.fft.fftn(density.total) / density.total.size
    fractional = points @ np.linalg.inv(density.crystal.cell)
    for axis, n in enumerate(density.grid):
        h = np.fft.fftfreq(n, 1 / n)
        waves = np.exp(2j * np.pi * np.outer(fractional[:, axis], h))
        if n % 2 == 0:
            waves[:, n // 2] = np.cos(np.pi * n * fractional[:, axis])
        values = np.einsum("ph,h...->p...", waves, values) if axis == 0 else np.einsum("ph,ph...->p...", waves, values)
    return values.real


@pytest.mark.parametrize("material_id", ["mp-22862", "mp-804"])
def test_operations_describe_the_same_crystal(material_id: str) -> None:
    density = chgdb.open()[material_id].density
    rng = np.random.default_rng(0)
    shift = np.random.default_rng(0)
    for _ in range(5):
        shift.normal(size=(3, 3))  # what the rotations before the shifts have drawn
    points = rng.random((20, 3)) @ density.crystal.cell
    expected = at(density, points)
    for name, variants in property_studies.operations(density).items():
        assert variants
        for variant in variants:
            np.testing.assert_allclose(descriptors(variant)[:2], descriptors(density)[:2], rtol=1e-9)
            assert variant.crystal.formula == density.crystal.formula
            if "arbitrary" in name:
                lengths = [np.linalg.norm(d.crystal.cell @ d.crystal.cell.T) for d in (density, variant)]
                assert lengths[0] == pytest.approx(lengths[1])
                continue
            moved = points + (shift.random(3) @ density.crystal.cell if "shifts" in name else 0)
            np.testing.assert_allclose(at(variant, moved), expected, atol=1e-4 * expected.max())
            # Atoms go with the density: every old atom lies at a new one, up to a vector of the new lattice.
            old = density.crystal.positions @ density.crystal.cell + (moved - points)[0]
            away = old[:, None] @ np.linalg.inv(variant.crystal.cell) - variant.crystal.positions[None]
            assert np.abs(away - np.rint(away)).max(axis=2).min(axis=1).max() < 1e-6


def test_there_are_24_rotations_of_a_cube() -> None:
    turns = [tuple(turn.ravel()) for turn in property_studies._cubic_rotations()]
    assert len(turns) == len(set(turns)) == 24
    for a, b in product(turns[:6], turns[:6]):
        assert tuple((np.reshape(a, (3, 3)) @ np.reshape(b, (3, 3))).ravel()) in turns


def test_structures_without_a_density_leave_out_the_paper_s_test_set(shared: Path) -> None:
    queue, table = shared / "densities" / "queue.jsonl.gz", shared / "labels" / "labels.csv"
    # Without half of the catalog: the fewer structures wait for their density, the fewer the whole catalog leaves.
    ids = set(chgdb.open().ids[::2])
    rows, labels = structures.load(queue, table, ids, [])
    assert len(rows) > 1000
    assert not ids & set(rows.ids)
    assert set(labels) >= set(SERVED)
    import csv

    with open(table, newline="") as file:
        tested = {row["material_id"] for row in csv.DictReader(file) if row["paper_split"] == "test"}
    assert not tested & set(rows.ids)


def test_small_catalog_is_measured_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(get("magpie"), "TREES", 15)
    store, _ = make(tmp_path)
    docs = tmp_path / "docs"
    docs.mkdir()
    shutil.copy(DOCS / "properties.md", docs)
    measured = evaluate_properties.Measurement.__new__(evaluate_properties.Measurement)
    measured.catalog, measured.work, measured.extra = chgdb.open(store), tmp_path / "work", None
    from chgdb.models import rows

    measured.rows = rows.from_catalog(measured.catalog, ["magpie", "applicability"], workers=1)
    measured.labels = rows.labels(measured.catalog, measured.rows)
    measured.test = evaluation.grouped_folds(measured.rows.formulas, seed=1) == 0
    measured.listed = np.arange(len(measured.rows)) % 3 > 0
    facts = property_studies.measure(measured, ["magpie"], {}, False, tmp_path)
    score = facts["protocols"]["grouped"]["magpie"]["bulk_modulus"]
    assert score["n"] == 60
    truth, mean = measured.truth("bulk_modulus"), measured.grouped("magpie").mean["bulk_modulus"]
    assert score["mae"][0] == pytest.approx(np.abs(truth - mean).mean(), rel=1e-4)
    assert facts["protocols"]["paper"]["magpie"]["bulk_modulus"]["n"] == int(measured.test.sum())
    only = measured.listed & np.isfinite(truth)
    score_of_listed = facts["listed"]["scores"]["magpie"]["bulk_modulus"]
    assert score_of_listed["n"] == only.sum() == facts["listed"]["materials"] == 40
    assert score_of_listed["mae"][0] == pytest.approx(np.abs(truth - mean)[only].mean(), rel=1e-4)
    assert json.loads(json.dumps(facts)) == facts
    property_report.write(facts, docs)
    page = (docs / "properties.md").read_text()
    assert "| MAGPIE, LightGBM |" in page
    assert f"{score['r2'][0]:.3f} ({score['r2'][1]:.3f} to {score['r2'][2]:.3f})" in page
    assert page.count("CGCNN (paper)") == 2
    assert "40 materials of the paper's" in page
    again = property_studies.measure(measured, ["magpie"], facts, False, tmp_path)
    assert again == facts  # from the kept predictions
    property_report.write(facts, docs)
    assert (docs / "properties.md").read_text() == page

    fits = []
    made = measured._made
    monkeypatch.setattr(measured, "_made", lambda *given: fits.append(given[-3:-1]) or made(*given))
    drawn = np.isfinite(measured.drawn("magpie").mean["bulk_modulus"])
    assert len(fits) == evaluate_properties.DRAWS  # the paper's test rows were predicted before
    assert not any((train & test).any() for train, test in fits)
    parts = np.stack([measured.test, *(test for _, test in fits)])
    assert parts.sum(axis=1).tolist() == [measured.test.sum()] * len(parts)
    np.testing.assert_array_equal(parts.sum(axis=0), drawn)
    assert not (drawn & ~measured.test & ~measured.listed).any()


def test_every_table_has_its_place_in_the_page() -> None:
    page = (DOCS / "properties.md").read_text(encoding="utf-8")
    for name in property_report._BLOCKS:
        assert page.count(f"<!-- {name}:begin -->") == page.count(f"<!-- {name}:end -->") == 1
