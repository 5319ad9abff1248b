"""Folds, metrics, intervals."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from chgdb.models import evaluation

RNG = np.random.default_rng(0)


def test_polymorphs_share_a_fold_whatever_else_there_is() -> None:
    formulas = [f"Si{i}O{j}" for i in range(1, 30) for j in range(1, 8)]
    folds = evaluation.grouped_folds(formulas)
    again = evaluation.grouped_folds(formulas[::-1] + formulas[:10])
    assert again.tolist() == folds[::-1].tolist() + folds[:10].tolist()
    assert np.bincount(folds, minlength=5).min() > len(formulas) / 10
    held = evaluation.validation_rows(formulas)
    assert 0.04 < held.mean() < 0.18
    assert set(folds[held]) == set(range(5))  # validation rows are of every fold


def test_metrics_are_scikit_learns_and_lie_in_their_intervals() -> None:
    truth = RNG.normal(size=200)
    predicted = truth + 0.3 * RNG.normal(size=200)
    formulas = [str(i // 2) for i in range(200)]
    found = evaluation.scores(truth, predicted, formulas)
    assert found["r2"].value == pytest.approx(r2_score(truth, predicted))
    assert found["mae"].value == pytest.approx(mean_absolute_error(truth, predicted))
    assert found["rmse"].value == pytest.approx(root_mean_squared_error(truth, predicted))
    for score in found.values():
        assert score.low < score.value < score.high
    assert found["r2"].high - found["r2"].low < 0.1
    assert evaluation.scores(truth, predicted, formulas) == found  # seeded


def test_bootstrap_draws_whole_formulas() -> None:
    """A hundred copies of each of four rows say no more than four rows."""
    truth = np.repeat([0.0, 1.0, 2.0, 3.0], 100)
    predicted = truth + np.repeat([0.0, 0.1, -0.4, 0.2], 100)
    alone = evaluation.scores(truth, predicted, [str(i) for i in range(400)])["mae"]
    grouped = evaluation.scores(truth, predicted, np.repeat(list("abcd"), 100))["mae"]
    assert grouped.high - grouped.low > 3 * (alone.high - alone.low)


def test_unexplained_ratio() -> None:
    truth = RNG.normal(size=500)
    noise = RNG.normal(size=500)
    ratio = evaluation.unexplained_ratio(truth, truth + 0.1 * noise, truth + 0.2 * noise, [str(i) for i in range(500)])
    assert ratio.value == pytest.approx(0.25)
    assert ratio.low == pytest.approx(0.25)


def test_coverage_of_a_normal_distribution() -> None:
    std = np.exp(RNG.normal(size=20_000))
    assert evaluation.coverage(std * RNG.normal(size=20_000), np.zeros(20_000), std) == pytest.approx(0.9, abs=0.01)


def test_order_of_polymorphs() -> None:
    formulas = ["C", "C", "C", "SiO2", "SiO2", "NaCl"]
    truth = np.array([440.0, 30.0, 435.0, 40.0, 90.0, 25.0])
    right = np.array([400.0, 50.0, 300.0, 50.0, 80.0, 20.0])
    assert evaluation.polymorph_order(truth, right, formulas) == (3, 0, 3)  # 440 and 435 are too close to count
    assert evaluation.polymorph_order(truth, np.full(6, 50.0), formulas) == (0, 3, 3)
    assert evaluation.polymorph_order(truth, -right, formulas) == (0, 0, 3)
