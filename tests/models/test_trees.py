"""Trees read from LightGBM's text and evaluated with numpy."""

from __future__ import annotations

from pathlib import Path

import lightgbm
import numpy as np
import pytest

from chgdb.errors import ChecksumError
from chgdb.models import ModelError
from chgdb.models.methods import trees

RNG = np.random.default_rng(5)
TABLE = RNG.normal(size=(300, 8))
VALUES = TABLE[:, 0] ** 2 + np.sin(3 * TABLE[:, 1]) + 0.1 * RNG.normal(size=300)


def booster(rounds: int = 40, **parameters: object) -> lightgbm.Booster:
    settings = {"objective": "regression", "verbose": -1, "num_threads": 1, "seed": 3, "num_leaves": 13} | parameters
    return lightgbm.train(settings, lightgbm.Dataset(TABLE, VALUES), rounds)


def test_predictions_are_lightgbms() -> None:
    model = booster()
    forest = trees.parse(model.model_to_string())
    np.testing.assert_allclose(forest.predict(TABLE), model.predict(TABLE), rtol=0, atol=1e-12)


def test_a_written_booster_is_small_and_lightgbm_reads_it(tmp_path: Path) -> None:
    model = booster()
    trees.write(tmp_path / "model.txt.xz", model)
    again = lightgbm.Booster(model_str=trees.text_of(tmp_path / "model.txt.xz"))
    read = trees.read(tmp_path / "model.txt.xz").predict(TABLE)
    np.testing.assert_allclose(read, again.predict(TABLE), rtol=0, atol=1e-12)
    np.testing.assert_allclose(read, model.predict(TABLE), rtol=0, atol=1e-6)
    assert len(trees.text_of(tmp_path / "model.txt.xz")) < 0.7 * len(model.model_to_string())
    shares, before = (b.predict(TABLE[:5], pred_contrib=True) for b in (again, model))
    np.testing.assert_allclose(shares, before, atol=1e-6)  # SHAP values need the counts, which are kept


def test_writing_is_deterministic_and_stops_at_the_best_iteration(tmp_path: Path) -> None:
    model = booster(rounds=30)
    for name in ("a", "b"):
        trees.write(tmp_path / name, model)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    model.best_iteration = 10
    trees.write(tmp_path / "short", model)
    assert len(trees.read(tmp_path / "short").roots) == 10


def test_one_row_and_a_constant_target() -> None:
    constant = lightgbm.train(
        {"objective": "regression", "verbose": -1, "num_threads": 1}, lightgbm.Dataset(TABLE, np.full(300, 7.5)), 3
    )
    np.testing.assert_allclose(trees.parse(constant.model_to_string()).predict(TABLE[:1]), [7.5])


def test_what_cannot_be_read(tmp_path: Path) -> None:
    forest = trees.parse(booster(5).model_to_string())
    with pytest.raises(ModelError, match="rows of 8 features, not of the shape"):
        forest.predict(TABLE[:, :7])
    with pytest.raises(ModelError, match="not a finite number"):
        forest.predict(np.where(TABLE > 2, np.nan, TABLE))
    with pytest.raises(ModelError, match="no LightGBM text"):
        trees.parse("something else")
    with pytest.raises(ModelError, match="incomplete"):
        trees.parse(booster(5).model_to_string().replace("right_child=", "lost=", 1))
    trees.write(tmp_path / "model.txt.xz", booster(5))
    damaged = bytearray((tmp_path / "model.txt.xz").read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    (tmp_path / "model.txt.xz").write_bytes(bytes(damaged))
    with pytest.raises(ChecksumError, match="get a fresh copy"):
        trees.read(tmp_path / "model.txt.xz")


def test_categorical_splits_are_refused() -> None:
    table = np.column_stack([RNG.integers(0, 5, 300), TABLE[:, 1]])
    data = lightgbm.Dataset(table, (table[:, 0] == 2) * 5.0 + table[:, 1], categorical_feature=[0])
    parameters = {"objective": "regression", "verbose": -1, "num_threads": 1, "min_data_per_group": 1}
    model = lightgbm.train(parameters, data, 5)
    with pytest.raises(ModelError, match="categorical splits"):
        trees.parse(model.model_to_string())
