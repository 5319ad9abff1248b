"""The training rows that a row is near to, and what their labels say of the error of a prediction there.

Rows are compared by the kernel of a Gaussian process (`gaussian`), its part that looks at whole crystals: the
correlation that it expects of two crystals' values. A small process tells from the labels of the nearest rows alone how
certain a value there is. Leaving out each of them in turn tells how well the labels there can be predicted at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import gaussian

#: Rows that count as near.
COUNT = 32
#: Rows compared at a time.
_BLOCK = 128
#: Added to residuals before their logarithm is taken, in units of the labels' spread.
_LEAST = 1e-4
#: The columns of `Local.table`.
COLUMNS = (
    "log_variance", "log_residual", "log_mean_residual", "log_scaled_residual", "log_median_residual",
    "nearest", "fifth", "mean_similarity", "log_spread",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Local:
    """The `COUNT` nearest training rows with a label of each of n rows, and what follows from them.

    rows: (n, COUNT) positions of these. similarity: (n, COUNT), 1 for the same crystal, falling. mean: (n,) what their
    labels say of each row. table: (n, len(COLUMNS)).
    """

    rows: np.ndarray
    similarity: np.ndarray
    mean: np.ndarray
    table: np.ndarray


@dataclass(frozen=True, eq=False)
class Space:
    """Rows as one process compares whole crystals: their weighted features, and the hyperparameters."""

    h: gaussian.Hyperparameters
    first: np.ndarray
    second: np.ndarray
    linear: np.ndarray

    @classmethod
    def of(cls, layout: gaussian.Layout, theta: np.ndarray, scaled: np.ndarray, used: np.ndarray) -> Space:
        """Of scaled rows (n, k); used: as of `gaussian.parts`."""
        whole = gaussian.Layout(layout.groups, layout.structure, layout.density, layout.linear)
        rows, h = gaussian.parts(whole, scaled, used), layout.split(theta)

        def joined(groups: tuple[int, ...], weights: np.ndarray) -> np.ndarray:
            return np.hstack([rows.groups[g] * np.sqrt(w) for g, w in zip(groups, weights, strict=True)]).astype("f4")

        linear = rows.groups[layout.linear].astype("f4")
        return cls(h, joined(layout.structure, h.weights_f), joined(layout.density, h.weights_g), linear)

    def take(self, rows: np.ndarray) -> Space:
        return Space(self.h, self.first[rows], self.second[rows], self.linear[rows])

    def __len__(self) -> int:
        return len(self.first)

    @property
    def variance(self) -> np.ndarray:
        """(n,) prior variance of each row."""
        return self.h.amplitude_f + self.h.amplitude_g + self.h.linear * (self.linear**2).sum(axis=-1)

    def covariance(self, other: Space) -> np.ndarray:
        """(..., n, m) float32 between rows."""
        h = self.h
        result = np.float32(h.amplitude_f) * _quadratic(self.first, other.first, h.shape_f)
        result += np.float32(h.amplitude_g) * _quadratic(self.second, other.second, h.shape_g)
        result += np.float32(h.linear) * (self.linear @ other.linear.swapaxes(-1, -2))
        return result

    def similarity(self, other: Space) -> np.ndarray:
        """(n, m) correlations between rows."""
        return self.covariance(other) / np.sqrt(np.outer(self.variance, other.variance))


def _quadratic(first: np.ndarray, second: np.ndarray, shape: float) -> np.ndarray:
    squares = (first**2).sum(axis=-1)[..., :, None] + (second**2).sum(axis=-1)[..., None, :]
    squares -= 2 * (first @ second.swapaxes(-1, -2))
    np.maximum(squares, 0.0, out=squares)
    return gaussian._rational_quadratic(squares, shape)


def nearest(
    rows: Space, training: Space, count: int, keys: np.ndarray | None = None, barred: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(positions, similarities), (n, count) each, of the training rows most like each row, the most like first.

    keys: of the rows, and barred: of the training rows; where these are the same, a training row does not count.
    """
    count = min(count, len(training))
    places, values = np.zeros((len(rows), count), int), np.zeros((len(rows), count), np.float32)
    for start in range(0, len(rows), _BLOCK):
        block = np.arange(start, min(start + _BLOCK, len(rows)))
        found = rows.take(block).similarity(training)
        if keys is not None and barred is not None:
            found[keys[block][:, None] == barred[None]] = -1
        near = np.argpartition(-found, count - 1, axis=1)[:, :count]
        near = np.take_along_axis(near, np.take_along_axis(-found, near, 1).argsort(axis=1, kind="stable"), 1)
        places[block], values[block] = near, np.take_along_axis(found, near, 1)
    return places, np.minimum(values, 1.0)


def local(rows: Space, training: Space, labels: np.ndarray, keys: np.ndarray, barred: np.ndarray) -> Local:
    """The nearest training rows of each row, and what they say of it.

    labels: (m,) of the training rows, on the scale of the process, none missing. keys, barred: as of `nearest`: a row's
    own formula is left out.
    """
    places, similarity = nearest(rows, training, COUNT, keys, barred)
    scale = float(labels.std()) or 1.0
    means, table = np.zeros(len(rows)), np.zeros((len(rows), len(COLUMNS)))
    for start in range(0, len(rows), _BLOCK):
        block = np.arange(start, min(start + _BLOCK, len(rows)))
        means[block], table[block] = _within(
            rows.take(block), training, places[block], similarity[block], labels / scale
        )
    return Local(places, similarity, means * scale, table)


def _within(
    rows: Space, training: Space, places: np.ndarray, similarity: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(means, table) of a block of rows, each by the process of its own nearest rows."""
    near = training.take(places)
    one = rows.take(np.arange(len(rows))[:, None])
    count = places.shape[1]
    inner = near.covariance(near).astype(float)
    inner[:, np.arange(count), np.arange(count)] += rows.h.noise
    inverse = np.linalg.inv(inner)
    cross = one.covariance(near)[:, 0].astype(float)
    y = labels[places]
    weights = inverse.sum(axis=1)
    middle = (weights * y).sum(axis=1) / weights.sum(axis=1)
    alpha = np.einsum("nij,nj->ni", inverse, y - middle[:, None])
    mean = middle + (cross * alpha).sum(axis=1)
    variance = rows.variance + rows.h.noise - np.einsum("ni,nij,nj->n", cross, inverse, cross)
    precision = np.einsum("nii->ni", inverse)
    residual = np.abs(alpha / precision)  # of leaving each of them out
    share = np.maximum(similarity, 1e-6) / np.maximum(similarity, 1e-6).sum(axis=1, keepdims=True)
    centre = (share * y).sum(axis=1)
    spread = np.sqrt((share * (y - centre[:, None]) ** 2).sum(axis=1))
    sizes = (
        np.sqrt((share * residual**2).sum(axis=1)),
        (share * residual).sum(axis=1),
        np.sqrt((share * residual**2 * precision).sum(axis=1)),
        np.median(residual, axis=1),
    )
    columns = [np.log(np.maximum(variance, 1e-9)), *(np.log(size + _LEAST) for size in sizes)]
    columns += [similarity[:, 0], similarity[:, min(4, count - 1)], similarity.mean(axis=1), np.log(spread + _LEAST)]
    return mean, np.stack(columns, axis=1)
