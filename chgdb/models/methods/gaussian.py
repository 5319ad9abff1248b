"""Gaussian-process regression on groups of features, some of which a row may lack. Numpy alone predicts.

The model of a target y with features x_s of the structure and x_d of the density:

    y = f(x_s) + g(x_s, x_d) + the mean over the atoms of h(atom) + noise

f, g and h are independent Gaussian processes with rational-quadratic kernels, f with a linear part beside. Distances
are weighted sums over groups of standardised features. h looks at what `features.environments` tells of each atom: the
covariance of two crystals is the mean over all pairs of their atoms. A row without a density still tells about f and h:
for it, the variance of g counts as noise. Structures with known properties but no density thus train what needs none.
Weights, amplitudes and noise maximise the marginal likelihood (C. E. Rasmussen, C. K. I. Williams, Gaussian Processes
for Machine Learning, MIT Press 2006, ch. 5) of a sample of the training rows, with weak priors.

Some labels are wrong by far. The noise is therefore that of a Student's t distribution: rows whose leave-one-out
residual is large have more of it (a scale mixture of normal distributions, fitted by a few rounds of reweighting).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from .. import ModelError

#: Standardised features are bent to stay within this many standard deviations.
BEND = 4.0
#: Rows that hyperparameters are fitted to.
SAMPLE = 600
#: Rows that the predictive variance is conditioned on.
VARIANCE_ROWS = 256
#: Degrees of freedom of the noise, and rounds of finding each row's.
FREEDOM, ROUNDS = 4.0, 3
#: Rows at a time whose atoms are compared with all others.
_BLOCK = 256


@dataclass(frozen=True, eq=False)
class Scaler:
    """Standardises features by training rows; a column that is constant there becomes 0.

    mean, scale: (k,); scale is 0 for such columns, and for those in which no row has a value.
    """

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, table: np.ndarray) -> Scaler:
        """The scaler of a table (n, k); NaN is left out."""
        mean, std = np.zeros(table.shape[1]), np.zeros(table.shape[1])
        there = ~np.isnan(table).all(axis=0)
        mean[there], std[there] = np.nanmean(table[:, there], axis=0), np.nanstd(table[:, there], axis=0)
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
    values = packed.astype(np.float32)
    values *= np.float32(BEND / 127)
    values[packed == -128] = np.nan
    return values


@dataclass(frozen=True, eq=False)
class Layout:
    """The groups of a table's columns, and the groups that f and g look at.

    groups: columns of each, as slices. structure, density: positions of groups that f and g look at; the others of
    `density` that are not in `structure` may be NaN. linear: position of the group of the linear part. atoms: columns
    of the groups that h looks at, in a table of atoms; without any there is no h.
    """

    groups: tuple[slice, ...]
    structure: tuple[int, ...]
    density: tuple[int, ...]
    linear: int
    atoms: tuple[slice, ...] = ()

    @property
    def optional(self) -> tuple[int, ...]:
        return tuple(g for g in self.density if g not in self.structure)

    @property
    def n_parameters(self) -> int:
        return len(self.starts()[0])

    def starts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(start and mean of the prior, its std, bounds (n, 2)) of the logarithms of the parameters.

        Order: weights of f, weights of g, amplitudes of f and g, shape of f and g, linear amplitude, noise; where there
        is an h, its weights, amplitude and shape.
        """
        n, m = len(self.structure) + len(self.density), len(self.atoms)
        weight, amplitude, shape = (np.log(0.4), 1.5, -7.0, 4.0), (-1.0, 1.5, -8.0, 5.0), (0.0, 0.8, -1.5, 3.0)
        rows = [weight] * n + [(0.0, 1.5, -5.0, 5.0), (-1.0, 1.5, -7.0, 5.0), shape, shape]
        rows += [(-1.5, 2.0, -8.0, 4.0), (-3.0, 1.5, -7.0, 1.0)]
        rows += [weight] * m + [amplitude, shape] if m else []
        mean, std, low, high = np.array(rows).T
        return mean, std, np.stack([low, high], axis=1)

    def split(self, theta: np.ndarray) -> Hyperparameters:
        """Hyperparameters from their logarithms, in the order of `starts`."""
        values = np.exp(theta)
        a, b, c = np.cumsum([len(self.structure), len(self.density), 6])
        h = (values[c : c + len(self.atoms)], *values[c + len(self.atoms) :]) if self.atoms else (values[:0], 0.0, 1.0)
        return Hyperparameters(values[:a], values[a:b], *values[b:c], *h)


class Hyperparameters(NamedTuple):
    """weights_f, weights_g, weights_h: of groups. amplitude_f, ..., noise: variances. shape_f, ...: of the kernels."""

    weights_f: np.ndarray
    weights_g: np.ndarray
    amplitude_f: float
    amplitude_g: float
    shape_f: float
    shape_g: float
    linear: float
    noise: float
    weights_h: np.ndarray
    amplitude_h: float
    shape_h: float


@dataclass(frozen=True, eq=False)
class Atoms:
    """Distinct atoms of rows, one row's after the other.

    values: (m, k) float32, scaled. shares: (m,) of each row's atoms, adding up to 1 in each. counts: (n,), of each row.
    """

    values: np.ndarray
    shares: np.ndarray
    counts: np.ndarray

    def take(self, rows: np.ndarray) -> Atoms:
        counts = self.counts[rows]
        chosen = np.repeat(self.starts[rows] - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
        return Atoms(self.values[chosen], self.shares[chosen], counts)

    @property
    def starts(self) -> np.ndarray:
        return np.cumsum(self.counts) - self.counts

    @property
    def owners(self) -> np.ndarray:
        return np.repeat(np.arange(len(self.counts)), self.counts)


@dataclass(frozen=True, eq=False)
class Parts:
    """Scaled rows, group by group, each divided by the root of its number of columns, which have a density, and their
    atoms where the layout asks for them, the groups of their columns side by side and divided likewise."""

    groups: tuple[np.ndarray, ...]
    has_density: np.ndarray
    atoms: Atoms | None = None

    def __len__(self) -> int:
        return len(self.has_density)

    def take(self, rows: np.ndarray) -> Parts:
        atoms = None if self.atoms is None else self.atoms.take(rows)
        return Parts(tuple(group[rows] for group in self.groups), self.has_density[rows], atoms)


def parts(layout: Layout, scaled: np.ndarray, used: np.ndarray, atoms: Atoms | None = None) -> Parts:
    """The parts of scaled rows (n, k). used: (k,) bool, columns that vary in the training set. atoms: of the rows,
    scaled; needed where the layout has an h."""
    groups = []
    has = np.isfinite(scaled[:, layout.groups[layout.optional[0]]]).all(axis=1) if layout.optional else None
    for number, columns in enumerate(layout.groups):
        values = scaled[:, columns][:, used[columns]].astype(float)
        if number in layout.optional:
            values = np.where(np.isfinite(values), values, 0.0)
        groups.append(np.ascontiguousarray(values) / np.sqrt(max(values.shape[1], 1)))
    if layout.atoms:
        assert atoms is not None
        divided = [atoms.values[:, c] / np.float32(np.sqrt(c.stop - c.start)) for c in layout.atoms]
        atoms = Atoms(np.hstack(divided), atoms.shares, atoms.counts)
    else:
        atoms = None
    return Parts(tuple(groups), np.ones(len(scaled), bool) if has is None else has, atoms)


def _distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    square = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1)[None, :]
    return np.maximum(square - 2 * first @ second.T, 0.0)


def _rational_quadratic(squares: np.ndarray, shape: float) -> np.ndarray:
    """The kernel at squares of distances, in their place and precision."""
    squares *= float(0.5 / shape)
    squares += 1
    np.log(squares, out=squares)  # a power takes longer
    squares *= -float(shape)
    return np.exp(squares, out=squares)


def _joined(rows: Parts, groups: tuple[int, ...], weights: np.ndarray) -> np.ndarray:
    return np.hstack([rows.groups[g] * np.sqrt(w) for g, w in zip(groups, weights, strict=True)])


def covariance(layout: Layout, theta: np.ndarray, first: Parts, second: Parts) -> np.ndarray:
    """(n, m) prior covariance of f + g + h between rows."""
    h = layout.split(theta)
    # A weighted sum of distances is the distance of groups scaled by the roots of the weights: one product of matrices.
    total_f = _distances(_joined(first, layout.structure, h.weights_f), _joined(second, layout.structure, h.weights_f))
    total_g = _distances(_joined(first, layout.density, h.weights_g), _joined(second, layout.density, h.weights_g))
    result = h.amplitude_f * _rational_quadratic(total_f, h.shape_f)
    both = np.outer(first.has_density, second.has_density)
    if both.any():
        result += both * (h.amplitude_g * _rational_quadratic(total_g, h.shape_g))
    if layout.atoms:
        one, other = (_weighted_atoms(layout, h, rows) for rows in (first, second))
        for start in range(0, len(first), _BLOCK):
            block = np.arange(start, min(start + _BLOCK, len(first)))
            if first is not second:
                result[block] += h.amplitude_h * _mean_over_atoms(one.take(block), other, h.shape_h)
                continue
            # Between the same rows it is symmetric: what is left of the block is known.
            found = h.amplitude_h * _mean_over_atoms(one.take(block), one.take(np.arange(start, len(first))), h.shape_h)
            result[block, start:] += found
            result[block[-1] + 1 :, block] += found[:, len(block) :].T
    return result + h.linear * (first.groups[layout.linear] @ second.groups[layout.linear].T)


def _weighted_atoms(layout: Layout, h: Hyperparameters, rows: Parts) -> Atoms:
    """The atoms with each group scaled by the root of its weight."""
    assert rows.atoms is not None
    scale = np.repeat(np.sqrt(h.weights_h), [c.stop - c.start for c in layout.atoms]).astype(np.float32)
    return Atoms(rows.atoms.values * scale, rows.atoms.shares, rows.atoms.counts)


def _mean_over_atoms(first: Atoms, second: Atoms, shape: float) -> np.ndarray:
    """(n, m) means over all pairs of atoms of two crystals of a rational quadratic of their distance."""
    # Single precision: there are ten times as many pairs as of crystals.
    near = _rational_quadratic(_distances(first.values, second.values), shape)
    by_crystal = np.add.reduceat((near * second.shares.astype(np.float32)).astype(float), second.starts, axis=1)
    return np.add.reduceat(by_crystal * first.shares[:, None], first.starts, axis=0)


def _variance(layout: Layout, theta: np.ndarray, rows: Parts) -> np.ndarray:
    """(n,) prior variance of f + g + h of rows with a density."""
    h = layout.split(theta)
    result = h.amplitude_f + h.amplitude_g + h.linear * (rows.groups[layout.linear] ** 2).sum(axis=1)
    if layout.atoms:
        atoms = _weighted_atoms(layout, h, rows)
        each = (atoms.take(np.array([i])) for i in range(len(rows)))
        result = result + h.amplitude_h * np.array([_mean_over_atoms(a, a, h.shape_h)[0, 0] for a in each])
    return result


def _noise(layout: Layout, theta: np.ndarray, rows: Parts) -> np.ndarray:
    """Variance of each training label about f + g + h, or about f + h where there is no density."""
    h = layout.split(theta)
    return h.noise + np.where(rows.has_density, 0.0, h.amplitude_g)


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
    distance = np.stack([_distances(group, group) for group in sample.groups])
    distance_f, distance_g = distance[list(layout.structure)], distance[list(layout.density)]
    linear = sample.groups[layout.linear] @ sample.groups[layout.linear].T
    both = np.outer(sample.has_density, sample.has_density).astype(float)
    between, shares, owners, starts = np.zeros((0, 0, 0)), np.zeros((0, 0)), np.zeros(0, int), np.zeros(0, int)
    if sample.atoms is not None:
        ends = np.cumsum([0, *(c.stop - c.start for c in layout.atoms)])
        columns = [sample.atoms.values[:, a:b].astype(float) for a, b in pairwise(ends)]
        between = np.stack([_distances(group, group) for group in columns])
        shares = np.outer(sample.atoms.shares, sample.atoms.shares)
        owners, starts = sample.atoms.owners, sample.atoms.starts
    mean, std, bounds = layout.starts()
    n, t = y.shape

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        w_f, w_g, a_f, a_g, s_f, s_g, lin, noise, w_h, a_h, s_h = layout.split(theta)
        base_f = 1 + np.tensordot(w_f / (2 * s_f), distance_f, 1)
        base_g = 1 + np.tensordot(w_g / (2 * s_g), distance_g, 1)
        log_f, log_g = np.log(base_f), np.log(base_g)
        k_f, k_g = a_f * np.exp(-s_f * log_f), both * (a_g * np.exp(-s_g * log_g))
        matrix = k_f + k_g + lin * linear
        if len(between):
            base_h = 1 + np.tensordot(w_h / (2 * s_h), between, 1)
            log_h = np.log(base_h)
            k_h = a_h * shares * np.exp(-s_h * log_h)
            matrix += np.add.reduceat(np.add.reduceat(k_h, starts, axis=1), starts, axis=0)
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
        gradient = [*(-0.5 * w_f * np.tensordot(distance_f, pull_f, 2))]
        gradient += [*(-0.5 * w_g * np.tensordot(distance_g, pull_g, 2))]
        diagonal = np.diag(pull)
        gradient.append(-0.5 * (pull * k_f).sum())
        gradient.append(-0.5 * (pull * k_g).sum() - 0.5 * a_g * diagonal[~sample.has_density].sum())
        for shape, base, log, k in ((s_f, base_f, log_f, k_f), (s_g, base_g, log_g, k_g)):
            gradient.append(-0.5 * shape * (pull * k * ((base - 1) / base - log)).sum())
        gradient.append(-0.5 * lin * (pull * linear).sum())
        gradient.append(-0.5 * noise * diagonal.sum())
        if len(between):
            over_atoms = pull[np.ix_(owners, owners)] * k_h
            pull_h = -0.5 * over_atoms / base_h
            gradient += [*(-0.5 * w_h * np.tensordot(between, pull_h, 2))]
            gradient.append(-0.5 * over_atoms.sum())
            gradient.append(-0.5 * s_h * (over_atoms * ((base_h - 1) / base_h - log_h)).sum())
        away = (theta - mean) / std
        return value / t + 0.5 * (away**2).sum(), np.array(gradient) / t + away / std

    begin = mean if start is None else start
    return minimize(loss, begin, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": steps}).x


def _weigh(matrix: np.ndarray, values: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(noise of each row (n,), solution alpha (n, t)) for a covariance (n, n) and standardised values.

    noise: the least that each row has. The expected precision of a row whose residual is r, at a variance v of what the
    others predict of it, is (FREEDOM + 1) / (FREEDOM + r^2 / v) of the usual one.
    """
    from scipy.linalg import cho_solve
    from scipy.linalg.lapack import dpotrf, dtrtri

    least = noise
    for left in range(ROUNDS, -1, -1):
        total = matrix.copy()
        total[np.diag_indices(len(total))] += noise
        factor, failed = dpotrf(total, lower=True, overwrite_a=True)
        if failed:
            raise ModelError("the covariance of the training rows is not positive definite")
        alpha = cho_solve((factor, True), values, check_finite=False)
        if not left:
            break
        # The diagonal of the inverse is all that is needed of it: a third less work than the inverse.
        inverse = dtrtri(factor, lower=True, overwrite_c=True)[0]
        precision = np.einsum("ij,ij->j", inverse, inverse)
        residual = alpha / precision[:, None]  # of leaving the row out
        variance = np.maximum(1 / precision - noise, 0.0) + least
        weight = (FREEDOM + 1) / (FREEDOM + (residual**2).mean(axis=1) / variance)
        noise = least / np.minimum(weight, 1.0)
    return noise, alpha


@dataclass(frozen=True, eq=False)
class Process:
    """A fitted process for one or several targets that share rows and hyperparameters.

    theta: logarithms of the hyperparameters. rows: the training rows. alpha: (n, t). offset, scale: (t,).
    anchors: positions of the rows that the variance is conditioned on. noise: of their labels, a variance each.
    """

    layout: Layout
    theta: np.ndarray
    rows: Parts
    alpha: np.ndarray
    offset: np.ndarray
    scale: np.ndarray
    anchors: np.ndarray
    noise: np.ndarray

    @cached_property
    def inverse(self) -> np.ndarray:
        """The inverse of the anchors' covariance with noise. It is computed, because it would be a quarter of a
        megabyte in a file."""
        anchors = self.rows.take(self.anchors)
        return np.linalg.inv(covariance(self.layout, self.theta, anchors, anchors) + np.diag(self.noise))

    @classmethod
    def fit(cls, layout: Layout, rows: Parts, values: np.ndarray, theta: np.ndarray, seed: int) -> Process:
        """values: (n, t), no NaN."""
        offset, scale = values.mean(axis=0), values.std(axis=0) + 1e-12
        matrix = covariance(layout, theta, rows, rows)
        noise, alpha = _weigh(matrix, (values - offset) / scale, _noise(layout, theta, rows))
        rng = np.random.default_rng(seed)
        order = rng.permutation(np.flatnonzero(rows.has_density) if rows.has_density.any() else len(rows))
        anchors = np.sort(order[:VARIANCE_ROWS])
        return cls(layout, theta, rows, alpha, offset, scale, anchors, noise[anchors])

    def predict(self, rows: Parts) -> tuple[np.ndarray, np.ndarray]:
        """(mean (n, t), std (n, t)); the variance is conditioned on the anchors only, so it is an upper bound."""
        if len(rows.groups) != len(self.rows.groups):
            raise ModelError("rows of another layout of features than the model was trained with")
        cross = covariance(self.layout, self.theta, rows, self.rows)
        mean = cross @ self.alpha * self.scale + self.offset
        noise = self.layout.split(self.theta).noise
        prior = _variance(self.layout, self.theta, rows) + noise
        near = cross[:, self.anchors]
        variance = np.maximum(prior - ((near @ self.inverse) * near).sum(axis=1), 0.1 * noise)
        return mean, np.sqrt(variance)[:, None] * self.scale

    def to_arrays(self) -> Mapping[str, np.ndarray]:
        """All but the rows, which processes share."""
        names: Sequence[str] = ("theta", "alpha", "offset", "scale", "anchors", "noise")
        return {name: np.asarray(getattr(self, name)) for name in names}
