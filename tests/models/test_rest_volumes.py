"""Volumes at rest: what tells a stretched or compressed crystal from one that is as it should be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import chgdb
from chgdb import Crystal
from chgdb.errors import ChecksumError
from chgdb.models import Rows, rows, volumes
from chgdb.models.ensemble import Ensemble
from chgdb.prediction import load_model

_FACES = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]], float)


def _heusler(edge: float) -> Crystal:
    places = np.array([[0.25, 0.25, 0.25], [0.75, 0.75, 0.75], [0, 0, 0], [0.5, 0.5, 0.5]])
    return Crystal(edge / 2 * _FACES, places, np.array([45, 45, 12, 31]))


def _rows(ensemble: Ensemble, crystal: Crystal) -> Rows:
    return rows.from_densities(["x"], [chgdb.estimate(crystal).density], ensemble.inputs)


@pytest.fixture(scope="module")
def ensemble() -> Ensemble:
    pytest.importorskip("safetensors")
    return load_model()


@pytest.fixture(scope="module")
def small(ensemble: Ensemble) -> volumes.Volumes:
    """Of a few of the training materials."""
    catalog, known = chgdb.open(), ensemble.held_out
    crystals = [catalog[i].crystal for i in list(known.position)[:60]]
    return volumes.Volumes.fit(ensemble.members[0], crystals, known.formulas[:60])


def test_of_unseen_formulas_few_are_flagged_as_they_are_and_nearly_all_at_another_volume(ensemble: Ensemble) -> None:
    served = volumes.of(ensemble)
    assert served is not None, "python catalog/rebuild.py makes them"
    assert len(served.residual) == len(ensemble.held_out.formulas)
    assert served.flagged().mean() < 0.02
    for factor in (0.9, 1.1):
        assert served.flagged(np.log(factor)).mean() > 0.9


def test_a_volume_is_all_that_a_strain_changes(ensemble: Ensemble, small: volumes.Volumes) -> None:
    here, there = (small.compare(_rows(ensemble, _heusler(edge))) for edge in (6.0, 6.3))
    assert there[0][0] - here[0][0] == pytest.approx(3 * np.log(6.3 / 6.0), abs=5e-3)
    assert there[1][0] == pytest.approx(here[1][0], rel=1e-2)


def test_a_crystal_without_bonds_has_no_stretch() -> None:
    stretch, found = volumes.at_rest(Crystal(8 * np.eye(3), np.zeros((1, 3)), np.array([2])))
    assert stretch == 0
    assert np.isfinite(found).all()


def test_at_rest_is_the_same_in_every_cell() -> None:
    one = _heusler(6.1)
    twice = Crystal(
        np.diag([1, 1, 2]) @ one.cell,
        np.concatenate([one.positions, one.positions + np.array([0, 0, 1])]) / np.array([1, 1, 2]),
        np.tile(one.numbers, 2),
    )
    (first, values), (second, others) = volumes.at_rest(one), volumes.at_rest(twice)
    assert first == pytest.approx(second, abs=1e-9)
    assert values == pytest.approx(others, abs=1e-6)


def test_the_check_is_one_line_and_off_where_there_are_no_volumes(
    ensemble: Ensemble, monkeypatch: pytest.MonkeyPatch
) -> None:
    stretched = _rows(ensemble, _heusler(6.7))
    found = volumes.remark(ensemble, stretched)
    assert "more than such a crystal has at rest" in found
    assert "\n" not in found
    monkeypatch.setattr(volumes, "models_folder", lambda kind: Path("nowhere"))
    assert volumes.remark(ensemble, stretched) == ""


def test_very_large_cells_are_not_looked_at(ensemble: Ensemble, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _rows(ensemble, _heusler(6.7))
    places = np.random.default_rng(0).random((volumes.LARGEST + 1, 3))
    large = Crystal(20 * np.eye(3), places, np.full(len(places), 14))
    monkeypatch.setattr(volumes, "at_rest", lambda crystal: pytest.fail("bands of a large cell"))
    assert volumes.remark(ensemble, replace(asked, crystals=[large])) == ""


def test_volumes_are_kept_and_damage_is_noticed(ensemble: Ensemble, small: volumes.Volumes, tmp_path: Path) -> None:
    assert small.save(tmp_path, volumes.weights_of(ensemble)).startswith("volumes-")
    again = volumes.of(ensemble, tmp_path)
    assert again is not None
    asked = _rows(ensemble, _heusler(6.1))
    for one, other in zip(small.compare(asked), again.compare(asked), strict=True):
        assert one == pytest.approx(other, abs=1e-3)
    other_weights = tmp_path / "other"
    other_weights.mkdir()
    small.save(other_weights, "of another model")
    assert volumes.of(ensemble, other_weights) is None
    file = tmp_path / "volumes.safetensors.xz"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(ChecksumError):
        volumes.Volumes.load(tmp_path, ensemble.members[0])
