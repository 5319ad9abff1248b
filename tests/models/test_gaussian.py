"""Gaussian processes on groups of features."""

from __future__ import annotations

import numpy as np
import pytest

from chgdb.models import gaussian

pytest.importorskip("scipy", reason="training needs scipy")

LAYOUT = gaussian.Layout((slice(0, 4), slice(4, 8), slice(8, 12)), (0, 1), (0, 1, 2), 0)


def problem(n: int, without: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(features, the last `without` rows lacking the third group; targets with noise; targets without)."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 12))
    truth = np.stack([x[:, 0] * x[:, 4] + x[:, 1] + np.sin(x[:, 8]), x[:, 2] - 0.5 * x[:, 9]], axis=1)
    if without:
        x[-without:, 8:] = np.nan
    return x, truth + 0.05 * rng.normal(size=truth.shape), truth


def prepared(x: np.ndarray) -> tuple[gaussian.Scaler, gaussian.Parts]:
    scaler = gaussian.Scaler.of(x)
    return scaler, gaussian.parts(LAYOUT, scaler(x), scaler.scale > 0)


def standardised(y: np.ndarray) -> np.ndarray:
    return (y - y.mean(axis=0)) / y.std(axis=0)


def test_interpolates_its_training_rows_and_predicts_others():
    x, y, truth = problem(300, 0)
    scaler, rows = prepared(x[:200])
    theta = gaussian.optimise(LAYOUT, rows, standardised(y[:200]), seed=0)
    process = gaussian.Process.fit(LAYOUT, rows, y[:200], theta, seed=0)
    mean, std = process.predict(gaussian.parts(LAYOUT, scaler(x[200:]), scaler.scale > 0))
    r2 = 1 - ((mean - truth[200:]) ** 2).sum(axis=0) / ((truth[200:] - truth[200:].mean(axis=0)) ** 2).sum(axis=0)
    assert (r2 > [0.6, 0.85]).all()
    assert (std > 0).all()


def test_rows_without_a_density_help():
    x, y, _ = problem(380, 300)
    test, _, aim = problem(200, 0, seed=9)
    errors = []
    for keep in (slice(0, 80), slice(0, 380)):
        scaler, rows = prepared(x[keep])
        theta = gaussian.optimise(LAYOUT, rows, standardised(y[keep]), seed=0)
        process = gaussian.Process.fit(LAYOUT, rows, y[keep], theta, seed=0)
        mean, _ = process.predict(gaussian.parts(LAYOUT, scaler(test), scaler.scale > 0))
        errors.append(((mean - aim) ** 2).mean(axis=0))
    assert errors[1].sum() < 0.7 * errors[0].sum()


def test_prior_of_a_row_without_density_is_that_of_the_first_part():
    x, _, _ = problem(20, 10)
    _, rows = prepared(x)
    theta = LAYOUT.starts()[0]
    matrix = gaussian.covariance(LAYOUT, theta, rows, rows)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-12)
    assert np.linalg.eigvalsh(matrix).min() > -1e-9
    amplitude_g = np.exp(theta[-5])
    linear = np.exp(theta[-2]) * (rows.groups[0] ** 2).sum(axis=1)
    expected = np.exp(theta[-6]) + linear + np.where(rows.has_density, amplitude_g, 0.0)
    np.testing.assert_allclose(np.diag(matrix), expected, rtol=1e-9)


def test_far_from_all_rows_the_std_is_the_prior():
    x, y, _ = problem(100, 0)
    scaler, rows = prepared(x)
    theta = LAYOUT.starts()[0]
    process = gaussian.Process.fit(LAYOUT, rows, y, theta, seed=0)
    near = process.predict(rows)[1].mean()
    far = process.predict(gaussian.parts(LAYOUT, scaler(np.full((1, 12), 50.0)), scaler.scale > 0))[1].mean()
    assert far > 1.5 * near


def test_the_gradient_that_the_optimiser_is_given(monkeypatch):
    """Against finite differences, at a point away from the start."""
    import scipy.optimize

    x, y, _ = problem(60, 20)
    _, rows = prepared(x)
    caught = {}
    minimise = scipy.optimize.minimize

    def spying(loss, begin, **options):
        caught["loss"], caught["begin"] = loss, begin
        return minimise(loss, begin, **options)

    monkeypatch.setattr(scipy.optimize, "minimize", spying)
    gaussian.optimise(LAYOUT, rows, standardised(y), seed=0, steps=2)
    loss = caught["loss"]
    at = caught["begin"] + 0.3 * np.random.default_rng(1).normal(size=LAYOUT.n_parameters)
    step = 1e-5 * np.eye(len(at))
    numeric = [(loss(at + d)[0] - loss(at - d)[0]) / 2e-5 for d in step]
    np.testing.assert_allclose(loss(at)[1], numeric, rtol=1e-5, atol=1e-6)


def test_packed_rows_come_back():
    x, _, _ = problem(30, 10)
    scaled = gaussian.Scaler.of(x)(x)
    again = gaussian.unpack(gaussian.pack(scaled))
    np.testing.assert_array_equal(np.isnan(again), np.isnan(x))
    assert np.nanmax(np.abs(again - scaled)) <= gaussian.BEND / 127 / 2 * 1.001


def test_constant_columns_say_nothing():
    x, _, _ = problem(30, 0)
    x[:, 5] = 3.0
    scaler = gaussian.Scaler.of(x)
    other = x.copy()
    other[:, 5] = -100.0
    np.testing.assert_array_equal(scaler(x)[:, 5], 0)
    np.testing.assert_array_equal(scaler(other)[:, 5], 0)


def test_the_same_seed_gives_the_same_process():
    x, y, _ = problem(80, 20)
    _, rows = prepared(x)
    first, second = (gaussian.optimise(LAYOUT, rows, standardised(y), seed=3, steps=5) for _ in range(2))
    np.testing.assert_array_equal(first, second)
