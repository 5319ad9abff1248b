"""Tables of bytes that compress well: each row after one that is much like it, as its difference to that one.

Training rows are most of a model's bytes, and crystals of like composition or structure differ in few features.
"""

from __future__ import annotations

import numpy as np


def chain(table: np.ndarray) -> np.ndarray:
    """Order of the rows of a table (n, k) int8 that starts with the first and goes on to the nearest that is left.

    Memory for n x n float32, as training takes too.
    """
    order = np.zeros(len(table), int)
    if not len(table):
        return order
    rows = table.astype(np.float32)
    distances = (rows * rows).sum(axis=1) - 2 * (rows @ rows.T)  # squared, less that of the row itself
    distances[:, 0] = np.inf
    for place in range(1, len(table)):
        order[place] = distances[order[place - 1]].argmin()
        distances[:, order[place]] = np.inf
    return order


def differences(table: np.ndarray) -> np.ndarray:
    """(k, n) uint8 of (n, k) int8: each row less the one before, modulo 256."""
    return np.ascontiguousarray(np.diff(table.view(np.uint8), axis=0, prepend=np.uint8(0)).T)


def summed(differences: np.ndarray) -> np.ndarray:
    """Inverse of `differences`."""
    return np.ascontiguousarray(np.cumsum(differences, axis=1, dtype=np.uint8).T).view(np.int8)
