"""Gaussian processes on groups of features."""

from __future__ import annotations

import numpy as np
import pytest

from chgdb.models.methods import gaussian

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


WITH_ATOMS = gaussian.Layout((slice(0, 4), slice(4, 8), slice(8, 12)), (0, 1), (0, 1, 2), 0, (slice(0, 2), slice(2, 5)))


def atoms(n: int, seed: int = 0) -> gaussian.Atoms:
    """One to three distinct atoms for each of n rows."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 4, n)
    parts = [rng.dirichlet(np.ones(c)) for c in counts]
    return gaussian.Atoms(rng.normal(size=(counts.sum(), 5)).astype(np.float32), np.concatenate(parts), counts)


def with_atoms(x: np.ndarray, seed: int = 0) -> gaussian.Parts:
    scaler = gaussian.Scaler.of(x)
    return gaussian.parts(WITH_ATOMS, scaler(x), scaler.scale > 0, atoms(len(x), seed))


def test_atoms_of_some_rows():
    all_atoms, rows = atoms(9), np.array([7, 0, 7, 3])
    some = all_atoms.take(rows)
    ends = np.cumsum(all_atoms.counts)
    expected = np.concatenate([all_atoms.values[ends[r] - all_atoms.counts[r] : ends[r]] for r in rows])
    np.testing.assert_array_equal(some.values, expected)
    np.testing.assert_array_equal(some.counts, all_atoms.counts[rows])
    np.testing.assert_allclose(np.bincount(some.owners, some.shares), 1)


def test_covariance_over_atoms_is_the_mean_over_pairs(monkeypatch):
    monkeypatch.setattr(gaussian, "_BLOCK", 4)
    x, _, _ = problem(11, 3)
    rows = with_atoms(x)
    theta = WITH_ATOMS.starts()[0] + 0.2 * np.random.default_rng(2).normal(size=WITH_ATOMS.n_parameters)
    without = gaussian.covariance(LAYOUT, theta[:-4], prepared(x)[1], prepared(x)[1])
    found = gaussian.covariance(WITH_ATOMS, theta, rows, rows) - without
    weights, (amplitude, shape) = np.exp(theta[-4:-2]), np.exp(theta[-2:])
    mine = atoms(11)
    starts = np.cumsum(mine.counts) - mine.counts
    for i, j in ((0, 0), (2, 9), (10, 5)):
        expected = 0.0
        for a in range(starts[i], starts[i] + mine.counts[i]):
            for b in range(starts[j], starts[j] + mine.counts[j]):
                step = mine.values[a] - mine.values[b]
                square = weights[0] * (step[:2] ** 2).mean() + weights[1] * (step[2:] ** 2).mean()
                expected += mine.shares[a] * mine.shares[b] * (1 + square / (2 * shape)) ** -shape
        assert found[i, j] == pytest.approx(amplitude * expected, rel=1e-5)
    whole = gaussian.covariance(WITH_ATOMS, theta, rows, rows)
    np.testing.assert_allclose(whole, gaussian.covariance(WITH_ATOMS, theta, rows, with_atoms(x)), rtol=1e-5)
    np.testing.assert_allclose(whole, whole.T, rtol=1e-5)
    has = rows.has_density
    np.testing.assert_allclose(gaussian._variance(WITH_ATOMS, theta, rows)[has], np.diag(whole)[has], rtol=1e-5)


@pytest.mark.parametrize("layout", [LAYOUT, WITH_ATOMS], ids=["whole", "with atoms"])
def test_the_gradient_that_the_optimiser_is_given(layout, monkeypatch):
    """Against finite differences, at a point away from the start."""
    import scipy.optimize

    x, y, _ = problem(60, 20)
    rows = with_atoms(x) if layout.atoms else prepared(x)[1]
    caught = {}
    minimise = scipy.optimize.minimize

    def spying(loss, begin, **options):
        caught["loss"], caught["begin"] = loss, begin
        return minimise(loss, begin, **options)

    monkeypatch.setattr(scipy.optimize, "minimize", spying)
    gaussian.optimise(layout, rows, standardised(y), seed=0, steps=2)
    loss = caught["loss"]
    at = caught["begin"] + 0.3 * np.random.default_rng(1).normal(size=layout.n_parameters)
    step = 1e-5 * np.eye(len(at))
    numeric = [(loss(at + d)[0] - loss(at - d)[0]) / 2e-5 for d in step]
    np.testing.assert_allclose(loss(at)[1], numeric, rtol=1e-5, atol=1e-6)


def test_what_atoms_tell_is_learned():
    """A target that is a mean over the atoms of something that no other feature knows."""
    x, _, _ = problem(300, 0)
    rows = with_atoms(x)
    mine = rows.atoms
    assert mine is not None
    aim = np.bincount(mine.owners, mine.shares * np.sin(2 * mine.values[:, 0]) * mine.values[:, 3])[:, None]
    train, test = np.arange(220), np.arange(220, 300)
    errors = []
    for layout, given in ((WITH_ATOMS, rows), (LAYOUT, prepared(x)[1])):
        theta = gaussian.optimise(layout, given.take(train), standardised(aim[train]), seed=0)
        process = gaussian.Process.fit(layout, given.take(train), aim[train], theta, seed=0)
        errors.append(((process.predict(given.take(test))[0] - aim[test]) ** 2).mean() / aim.var())
    assert errors[0] < 0.5
    assert errors[1] > 0.8


def test_wrong_labels_are_not_believed():
    x, y, truth = problem(300, 0)
    rows = prepared(x)[1]
    train, test = np.arange(220), np.arange(220, 300)
    wrong = y.copy()
    wrong[:220:22] += 6.0
    theta = gaussian.optimise(LAYOUT, rows.take(train), standardised(y[train]), seed=0)

    def error(labels: np.ndarray, rounds: int) -> float:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(gaussian, "ROUNDS", rounds)
            process = gaussian.Process.fit(LAYOUT, rows.take(train), labels[train], theta, seed=0)
        return float(((process.predict(rows.take(test))[0] - truth[test]) ** 2).mean())

    plain, robust = error(wrong, 0), error(wrong, gaussian.ROUNDS)
    assert robust < 0.7 * plain
    assert error(y, gaussian.ROUNDS) < 1.1 * error(y, 0)


def test_noise_follows_residuals_of_leaving_rows_out():
    """Against leaving each row out, one by one, and the definition of the weights; a wrong label gets more noise."""
    rng = np.random.default_rng(4)
    x = np.sort(rng.uniform(0, 5, 40))
    matrix = np.exp(-((x[:, None] - x[None]) ** 2))
    values = np.stack([np.sin(x), np.cos(x)], axis=1) + 0.05 * rng.normal(size=(40, 2))
    values[17] += 3.0
    least = np.full(40, 0.05**2)
    expected = least
    for _ in range(gaussian.ROUNDS):
        weight = np.empty(40)
        for i in range(40):
            others = np.arange(40) != i
            solved = np.linalg.solve(matrix[np.ix_(others, others)] + np.diag(expected[others]), matrix[others, i])
            residual = values[i] - solved @ values[others]
            variance = matrix[i, i] - solved @ matrix[others, i]
            weight[i] = (gaussian.FREEDOM + 1) / (gaussian.FREEDOM + (residual**2).mean() / (variance + least[i]))
        expected = least / np.minimum(weight, 1.0)
    noise, alpha = gaussian._weigh(matrix, values, least)
    np.testing.assert_allclose(noise, expected, rtol=1e-6)
    np.testing.assert_allclose((matrix + np.diag(noise)) @ alpha, values, atol=1e-8)
    assert noise.argmax() == 17
    assert noise[17] > 50 * least[17]
