"""Gradient-boosted trees without LightGBM: its text format, made small, read and evaluated with numpy.

Importing LightGBM takes longer than everything else that `chgdb predict` does, and a prediction needs nothing of it.
The text stays LightGBM's own: `lightgbm.Booster(model_str=...)` reads what `write` wrote.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...store.head import KEY
from .. import ModelError, storage

if TYPE_CHECKING:
    import lightgbm

#: The parts of a tree that are kept: all that prediction needs, and the counts that SHAP values need.
_KEPT = (
    *("num_leaves", "num_cat", "split_feature", "threshold", "decision_type", "left_child", "right_child"),
    *("leaf_value", "leaf_count", "internal_count", "is_linear", "shrinkage"),
)
_KEPT_HEAD = (
    *("version", "num_class", "num_tree_per_iteration", "label_index", "max_feature_idx", "objective"),
    *("feature_names", "feature_infos"),
)
_BLOCK = 1 << 21  # nodes visited at once


def slim(text: str, digits: int = 9) -> str:
    """A LightGBM model text without what prediction and SHAP values do not need, numbers rounded to `digits` digits.

    Still a text that LightGBM reads. Rounding moves a threshold by less than the features are known to; measure a
    model after it was written, not before.
    """
    head, *trees = re.split(r"\n\n+(?=Tree=|end of trees)", text.split("\nend of trees")[0])
    lines = ["tree", *(line for line in head.splitlines() if line.split("=")[0] in _KEPT_HEAD)]
    # The ranges of the features serve LightGBM's own checks on training data alone.
    lines = [re.sub(r"\[[^\]]*\]", "none", line) if line.startswith("feature_infos=") else line for line in lines]
    parts = ["\n".join(lines)]
    for tree in trees:
        kept = [tree.splitlines()[0]]
        for line in tree.splitlines()[1:]:
            key, _, values = line.partition("=")
            if key in ("threshold", "leaf_value"):
                values = " ".join(f"{float(value):.{digits}g}" for value in values.split())
            if key in _KEPT:
                kept.append(f"{key}={values}")
        parts.append("\n".join(kept))
    return "\n\n".join([*parts, "end of trees\n"])


def write(path: Path, booster: lightgbm.Booster, digits: int = 9) -> None:
    """Write a regression booster as slim text, compressed by xz (name it .txt.xz); the same bytes for the same model.

    Stopped early, it is written up to its best iteration.
    """
    text = booster.model_to_string(num_iteration=booster.best_iteration if booster.best_iteration > 0 else -1)
    storage.write_packed(path, slim(text, digits).encode())


def text_of(path: Path) -> str:
    """LightGBM's text of a written booster. Raises `ChecksumError` if the file is damaged."""
    return storage.read_packed(path).decode("utf-8", "replace")


@dataclass(frozen=True, eq=False)
class Forest:
    """Sum of regression trees; nodes of all trees in one array, a tree's leaves after its inner nodes.

    feature: (m,) column that an inner node asks for, 0 at a leaf. threshold: (m,) left where value <= threshold.
    children: (2, m) next node to the left and right; a leaf's are itself. value: (m,) of a leaf. roots: (t,).
    n_features: columns a row must have.
    """

    feature: np.ndarray
    threshold: np.ndarray
    children: np.ndarray
    value: np.ndarray
    roots: np.ndarray
    n_features: int

    def predict(self, table: np.ndarray) -> np.ndarray:
        """(n,) float64 of (n, n_features) finite numbers. Raises `ModelError` for another shape or NaN."""
        table = np.ascontiguousarray(table, float)
        if table.ndim != 2 or table.shape[1] != self.n_features:
            raise ModelError(f"the trees take rows of {self.n_features} features, not of the shape {table.shape}")
        if not np.isfinite(table).all():
            raise ModelError("a feature is not a finite number")
        result = np.empty(len(table))
        step = max(1, _BLOCK // max(1, len(self.roots)))
        for start in range(0, len(table), step):
            block = table[start : start + step]
            rows = np.arange(len(block))[:, None]
            node, before = np.broadcast_to(self.roots, (len(block), len(self.roots))), None
            while before is None or not np.array_equal(node, before):  # a leaf is its own child
                right = block[rows, self.feature[node]] > self.threshold[node]
                node, before = self.children[right.view(np.int8), node], node
            result[start : start + step] = self.value[node].sum(axis=1)
        return result


def read(path: Path) -> Forest:
    """Forest of a file that `write` wrote. Raises `ChecksumError` if it is damaged, `ModelError` if its trees are
    of a kind that is not read (categories, linear leaves, several classes)."""
    if not KEY.fullmatch(path.name.encode("utf-8", "replace")):
        raise ModelError(f"{path.parent}: {path.name[:80]!r} is no file of a model")
    return parse(text_of(path), str(path))


def parse(text: str, name: str = "model") -> Forest:
    """Forest of a LightGBM text; see `read`."""
    head, _, body = text.partition("\n\nTree=")
    n_features = re.search(r"^max_feature_idx=(\d{1,9})$", head, re.MULTILINE)
    if n_features is None or "\nnum_tree_per_iteration=1\n" not in head:
        raise ModelError(f"{name} is no LightGBM text of a regression model")
    lines: dict[str, list[str]] = {}
    for line in body.partition("\n\nend of trees")[0].split("\n"):
        key, _, numbers = line.partition("=")
        lines.setdefault(key, []).append(numbers)
    if set(lines.get("num_cat", ())) | set(lines.get("is_linear", ())) != {"0"}:
        raise ModelError(f"{name} has categorical splits or linear leaves, which are not read")

    def values(key: str, dtype: type) -> np.ndarray:
        # All trees' values of a key at once: a call for each line would take longer than everything else.
        try:
            return np.fromstring(" ".join(lines.get(key, ())), dtype, sep=" ")
        except (ValueError, DeprecationWarning):
            raise ModelError(f"{name}: {key} holds something that is no number") from None

    leaves = values("num_leaves", np.int64)
    inner, value = leaves - 1, values("leaf_value", float)
    feature, threshold = values("split_feature", np.int64), values("threshold", float)
    left, right = values("left_child", np.int64), values("right_child", np.int64)
    n_inner = int(inner.sum())
    whole = leaves.size and leaves.min() >= 1 and leaves.max() <= len(value) and len(value) == leaves.sum()
    if not whole or any(len(array) != n_inner for array in (feature, threshold, left, right)):
        raise ModelError(f"{name}: the trees are incomplete; get a fresh copy of the model")
    size = inner + leaves
    roots = np.cumsum(size) - size
    tree_of_inner, tree_of_leaf = np.repeat(np.arange(len(leaves)), inner), np.repeat(np.arange(len(leaves)), leaves)
    place_of_inner = roots[tree_of_inner] + _within(inner)
    place_of_leaf = roots[tree_of_leaf] + inner[tree_of_leaf] + _within(leaves)
    total = int(size.sum())
    nodes = {"feature": np.zeros(total, np.int64), "threshold": np.zeros(total), "value": np.zeros(total)}
    children = np.tile(np.arange(total), (2, 1))
    nodes["feature"][place_of_inner], nodes["threshold"][place_of_inner] = feature, threshold
    nodes["value"][place_of_leaf] = value
    count = int(n_features[1]) + 1
    if not ((feature >= 0) & (feature < count)).all():
        raise ModelError(f"{name}: the trees ask for features that there are not; get a fresh copy of the model")
    for side, child in enumerate((left, right)):
        # A tree grows at its end: an inner node's number is above its parent's. Otherwise a row could go in circles.
        forward = (child > _within(inner)) & (child < inner[tree_of_inner])
        if not np.where(child >= 0, forward, ~child < leaves[tree_of_inner]).all():
            raise ModelError(f"{name}: the nodes of a tree do not form one; get a fresh copy of the model")
        # LightGBM counts inner nodes from 0 and writes leaf i as -(i + 1).
        target = roots[tree_of_inner] + np.where(child >= 0, child, inner[tree_of_inner] - child - 1)
        children[side, place_of_inner] = target
    return Forest(**nodes, children=children, roots=roots, n_features=count)


def _within(lengths: np.ndarray) -> np.ndarray:
    """0, 1, ... anew for each length."""
    return np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def mean(forests: Sequence[Forest], table: np.ndarray) -> np.ndarray:
    """Mean prediction of several forests."""
    return np.mean([forest.predict(table) for forest in forests], axis=0)
