"""Gaussian-process regression on groups of features, some of which a row may lack. Numpy alone predicts.

The model of a target y with features x_s of the structure and x_d of the density:

    y = f(x_s) + g(x_s, x_d) + noise

f and g are independent Gaussian processes with rational-quadratic kernels, f with a linear part beside. Distances are
weighted sums over groups of standardised features. A row without a density still tells about f: for it, the variance
of g counts as noise. So structures with known properties but no density train the part that needs no density.
Weights, amplitudes and noise maximise the marginal likelihood (C. E. Rasmussen, C. K. I. Williams, Gaussian Processes
for Machine Learning, MIT Press 2006, ch. 5) of a sample of the training rows, with weak priors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from . import ModelError

#: Standardised features are bent to stay within this many standard deviations.
BEND = 4.0
#: Rows that hyperparameters are fitted to.
SAMPLE = 600
#: Rows that the predictive variance is conditioned on.
VARIANCE_ROWS = 256


@dataclass(frozen=True, eq=False)
class Scaler:
    """Standardises features by training rows; a column that is constant there becomes 0.

    mean, scale: (k,); scale is 0 for such columns.
    """

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, table: np.ndarray) -> Scaler:
        """Of (n, k); NaN is left out."""
        mean, std = np.nanmean(table, axis=0), np.nanstd(table, axis=0)
        constant = std < 1e-6 * (1 + np.abs(mean))
        return cls(mean, np.where(constant, 0.0, 1 / np.where(constant, 1.0, std)))

    def __call__(self, table: np.ndarray) -> np.ndarray:
        """(n, k) float32 between -`BEND` and `BEND`; NaN stays."""
        return (BEND * np.tanh((table - self.mean) * self.scale / BEND)).astype(np.float32)


def pack(scaled: np.ndarray) -> np.ndarray:
    """Scaled rows in steps of 1/127 of `BEND`, int8, -128 for NaN: training rows are most of a model's bytes."""
    missing = np.isnan(scaled)
    return np.where(missing, -128, np.rint(np.where(missing, 0, scaled) * (127 / BEND))).astype(np.int8)


def unpack(packed: np.ndarray) -> np.ndarray:
    """Inverse of `pack` up to its steps, float32."""
    return np.where(packed == -128, np.float32(np.nan), packed.astype(np.float32) * np.float32(BEND / 127))


@dataclass(frozen=True, eq=False)
class Layout:
    """Which columns of a table are which group, and which groups each of f and g looks at.

    groups: columns of each, as slices. structure, density: positions of groups that f and g look at; the others of
    `density` that are not in `structure` may be NaN. linear: position of the group of the linear part.
    """

    groups: tuple[slice, ...]
    structure: tuple[int, ...]
    density: tuple[int, ...]
    linear: int

    @property
    def optional(self) -> tuple[int, ...]:
        return tuple(g for g in self.density if g not in self.structure)

    @property
    def n_parameters(self) -> int:
        return len(self.structure) + len(self.density) + 6

    def starts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(start and mean of the prior, its std, bounds (n, 2)) of the logarithms of the parameters.

        Order: weights of f, weights of g, amplitudes of f and g, shape of f and g, linear amplitude, noise.
        """
        n = len(self.structure) + len(self.density)
        mean = np.concatenate([np.full(n, np.log(0.4)), [0.0, -1.0, 0.0, 0.0, -1.5, -3.0]])
        std = np.concatenate([np.full(n, 1.5), [1.5, 1.5, 0.8, 0.8, 2.0, 1.5]])
        low = np.concatenate([np.full(n, -7.0), [-5.0, -7.0, -1.5, -1.5, -8.0, -7.0]])
        high = np.concatenate([np.full(n, 4.0), [5.0, 5.0, 3.0, 3.0, 4.0, 1.0]])
        return mean, std, np.stack([low, high], axis=1)


@dataclass(frozen=True, eq=False)
class Parts:
    """Scaled rows, group by group, each divided by the root of its number of columns, and which have a density."""

    groups: tuple[np.ndarray, ...]
    has_density: np.ndarray

    def __len__(self) -> int:
        return len(self.has_density)

    def take(self, rows: np.ndarray) -> Parts:
        return Parts(tuple(group[rows] for group in self.groups), self.has_density[rows])


def parts(layout: Layout, scaled: np.ndarray, used: np.ndarray) -> Parts:
    """Of scaled rows (n, k); used: (k,) bool, columns that vary in the training set."""
    groups = []
    has = np.isfinite(scaled[:, layout.groups[layout.optional[0]]]).all(axis=1) if layout.optional else None
    for number, columns in enumerate(layout.groups):
        values = scaled[:, columns][:, used[columns]].astype(float)
        if number in layout.optional:
            values = np.where(np.isfinite(values), values, 0.0)
        groups.append(np.ascontiguousarray(values) / np.sqrt(max(values.shape[1], 1)))
    return Parts(tuple(groups), np.ones(len(scaled), bool) if has is None else has)


def _distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    square = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1)[None, :]
    return np.maximum(square - 2 * first @ second.T, 0.0)


def _joined(rows: Parts, groups: tuple[int, ...], weights: np.ndarray) -> np.ndarray:
    return np.hstack([rows.groups[g] * np.sqrt(w) for g, w in zip(groups, weights, strict=True)])


def _split(layout: Layout, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(weights of f, weights of g, the six others), exponentiated."""
    values = np.exp(theta)
    a, b = len(layout.structure), len(layout.structure) + len(layout.density)
    return values[:a], values[a:b], values[b:]


def covariance(layout: Layout, theta: np.ndarray, first: Parts, second: Parts) -> np.ndarray:
    """(n, m) prior covariance of f + g between rows."""
    weights_f, weights_g, (amplitude_f, amplitude_g, shape_f, shape_g, linear, _) = _split(layout, theta)
    # A weighted sum of distances is the distance of groups scaled by the roots of the weights: one product of matrices.
    total_f = _distances(_joined(first, layout.structure, weights_f), _joined(second, layout.structure, weights_f))
    total_g = _distances(_joined(first, layout.density, weights_g), _joined(second, layout.density, weights_g))
    result = amplitude_f * (1 + total_f / (2 * shape_f)) ** -shape_f
    both = np.outer(first.has_density, second.has_density)
    if both.any():
        result += both * (amplitude_g * (1 + total_g / (2 * shape_g)) ** -shape_g)
    return result + linear * (first.groups[layout.linear] @ second.groups[layout.linear].T)


def _noise(layout: Layout, theta: np.ndarray, rows: Parts) -> np.ndarray:
    """Variance of each training label about f + g, or about f where there is no density."""
    _, _, others = _split(layout, theta)
    return others[5] + np.where(rows.has_density, 0.0, others[1])


def optimise(
    layout: Layout, rows: Parts, values: np.ndarray, seed: int, start: np.ndarray | None = None, steps: int = 30
) -> np.ndarray:
    """Logarithms of the hyperparameters of largest posterior density, for a sample of the rows.

    values: (n, t) standardised targets that share them, no NaN. Rows with a density come first into the sample.
    """
    from scipy.linalg.lapack import dpotrf, dpotri
    from scipy.optimize import minimize

    rng = np.random.default_rng(seed)
    with_density, without = np.flatnonzero(rows.has_density), np.flatnonzero(~rows.has_density)
    first = rng.permutation(with_density)[: max(SAMPLE * 2 // 3, SAMPLE - len(without))]
    chosen = np.sort(np.concatenate([first, rng.permutation(without)[: SAMPLE - len(first)]]))
    sample, y = rows.take(chosen), values[chosen]
    distance = [_distances(group, group) for group in sample.groups]
    linear = sample.groups[layout.linear] @ sample.groups[layout.linear].T
    both = np.outer(sample.has_density, sample.has_density).astype(float)
    mean, std, bounds = layout.starts()
    n, t = y.shape

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        w_f, w_g, (a_f, a_g, s_f, s_g, lin, noise) = _split(layout, theta)
        base_f = 1 + sum(w * distance[g] for w, g in zip(w_f, layout.structure, strict=True)) / (2 * s_f)
        base_g = 1 + sum(w * distance[g] for w, g in zip(w_g, layout.density, strict=True)) / (2 * s_g)
        k_f, k_g = a_f * base_f**-s_f, both * (a_g * base_g**-s_g)
        matrix = k_f + k_g + lin * linear
        matrix[np.diag_indices(n)] += _noise(layout, theta, sample)
        factor, failed = dpotrf(matrix, lower=True)
        if failed:
            return 1e10, np.zeros_like(theta)
        inverse = np.tril(dpotri(factor, lower=True)[0])
        inverse += np.tril(inverse, -1).T
        alpha = inverse @ y
        value = 0.5 * (y * alpha).sum() + t * np.log(np.diag(factor)).sum()
        pull = alpha @ alpha.T - t * inverse
        pull_f, pull_g = -0.5 * pull * k_f / base_f, -0.5 * pull * k_g / base_g
        gradient = [-0.5 * w * (pull_f * distance[g]).sum() for w, g in zip(w_f, layout.structure, strict=True)]
        gradient += [-0.5 * w * (pull_g * distance[g]).sum() for w, g in zip(w_g, layout.density, strict=True)]
        diagonal = np.diag(pull)
        gradient.append(-0.5 * (pull * k_f).sum())
        gradient.append(-0.5 * (pull * k_g).sum() - 0.5 * a_g * diagonal[~sample.has_density].sum())
        for shape, base, k in ((s_f, base_f, k_f), (s_g, base_g, k_g)):
            gradient.append(-0.5 * shape * (pull * k * ((base - 1) / base - np.log(base))).sum())
        gradient.append(-0.5 * lin * (pull * linear).sum())
        gradient.append(-0.5 * noise * diagonal.sum())
        away = (theta - mean) / std
        return value / t + 0.5 * (away**2).sum(), np.array(gradient) / t + away / std

    begin = mean if start is None else start
    return minimize(loss, begin, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": steps}).x


@dataclass(frozen=True, eq=False)
class Process:
    """A fitted process for one or several targets that share rows and hyperparameters.

    theta: logarithms of the hyperparameters. rows: the training rows. alpha: (n, t). offset, scale: (t,).
    anchors: positions of the rows that the variance is conditioned on. inverse: of their covariance with noise.
    """

    layout: Layout
    theta: np.ndarray
    rows: Parts
    alpha: np.ndarray
    offset: np.ndarray
    scale: np.ndarray
    anchors: np.ndarray
    inverse: np.ndarray

    @classmethod
    def fit(cls, layout: Layout, rows: Parts, values: np.ndarray, theta: np.ndarray, seed: int) -> Process:
        """values: (n, t), no NaN."""
        from scipy.linalg import cho_factor, cho_solve

        offset, scale = values.mean(axis=0), values.std(axis=0) + 1e-12
        matrix = covariance(layout, theta, rows, rows)
        noise = _noise(layout, theta, rows)
        matrix[np.diag_indices(len(rows))] += noise
        rng = np.random.default_rng(seed)
        order = rng.permutation(np.flatnonzero(rows.has_density) if rows.has_density.any() else len(rows))
        anchors = np.sort(order[:VARIANCE_ROWS])
        # Single precision, as it is stored: what is measured is what is loaded later.
        inverse = np.linalg.inv(matrix[np.ix_(anchors, anchors)]).astype(np.float32)
        factor = cho_factor(matrix, lower=True, overwrite_a=True, check_finite=False)
        alpha = cho_solve(factor, (values - offset) / scale)
        return cls(layout, theta, rows, alpha, offset, scale, anchors, inverse)

    def predict(self, rows: Parts) -> tuple[np.ndarray, np.ndarray]:
        """(mean (n, t), std (n, t)); the variance is conditioned on the anchors only, so it is an upper bound."""
        if len(rows.groups) != len(self.rows.groups):
            raise ModelError("rows of another layout of features than the model was trained with")
        cross = covariance(self.layout, self.theta, rows, self.rows)
        mean = cross @ self.alpha * self.scale + self.offset
        _, _, (a_f, a_g, _, _, linear, noise) = _split(self.layout, self.theta)
        prior = a_f + a_g + linear * (rows.groups[self.layout.linear] ** 2).sum(axis=1) + noise
        near = cross[:, self.anchors]
        variance = np.maximum(prior - ((near @ self.inverse) * near).sum(axis=1), 0.1 * noise)
        return mean, np.sqrt(variance)[:, None] * self.scale

    def to_arrays(self) -> Mapping[str, np.ndarray]:
        """All but the rows, which processes share."""
        names: Sequence[str] = ("theta", "alpha", "offset", "scale", "anchors", "inverse")
        return {name: np.asarray(getattr(self, name)) for name in names}
