"""Cells of a crystal by their names: primitive, conventional, Niggli-reduced, orthogonal.

Each is a `Basis`: its lattice vectors in terms of those that there are. The crystal itself is neither turned nor moved.
"""

from __future__ import annotations

import math
import warnings
from itertools import product
from typing import Any

import numpy as np

from . import symmetry
from .crystal import Crystal
from .errors import DensityError
from .transformations import Basis, hermite

#: Å; how far atoms may lie from the places that symmetry gives them.
SYMPREC = 0.01
_NAMES = ("primitive", "conventional", "niggli", "orthogonal")
_RIGHT_ANGLE = 2e-3  # largest cosine that counts as none
_REACH = 4  # lattice vectors of a Niggli cell that orthogonal cells are looked for among
_MOST_CELLS = 64  # an orthogonal cell of more is none that anybody would use


def basis(crystal: Crystal, name: str, symprec: float = SYMPREC) -> Basis:
    """The basis of a cell by its name.

    name: primitive (the smallest; the one there is, where that is primitive), conventional (of the International
        Tables, as spglib's standard cell), niggli (the reduced cell of the same lattice) or orthogonal (the smallest
        with three right angles whose vectors are whole sums of those there are).
    symprec: Å, for the first two.
    Raises `DensityError` for another name, and where there is no such cell.
    """
    if name == "niggli":
        return niggli(crystal.cell)
    if name == "orthogonal":
        return orthogonal(crystal.cell)
    if name not in _NAMES:
        raise DensityError(f"{name!r} is no cell: expected {', '.join(_NAMES[:-1])} or {_NAMES[-1]}")
    if not len(crystal):
        raise DensityError(f"there are no atoms, by whose symmetry a {name} cell is found")
    found = symmetry.standard_cell(crystal, symprec)
    if found is None:
        raise DensityError(
            f"spglib finds no symmetry of {crystal.formula} within {symprec:g} Å: are atoms on top of each other?"
        )
    conventional, primitive, repeats = found
    if name == "conventional":
        return _rational(conventional, repeats)
    if repeats == 1:
        return Basis(np.eye(3, dtype=np.int64), 1)
    return _divided(crystal, symprec) or _rational(primitive, repeats)


def _divided(crystal: Crystal, symprec: float) -> Basis | None:
    """The primitive cell whose vectors are whole parts of those there are, where there is one: what was repeated."""
    translations = symmetry.translations(crystal, symprec) % 1.0
    translations[translations > 1 - 1e-4] = 0.0
    parts = []
    for axis in range(3):
        others = [i for i in range(3) if i != axis]
        along = np.abs(translations[:, others]).max(axis=1) < 1e-4
        parts.append(int(along.sum()))
    if math.prod(parts) != len(translations):
        return None
    common = math.lcm(*parts)
    return Basis.of(np.diag([common // part for part in parts]).astype(np.int64), common)


def _rational(matrix: np.ndarray, repeats: int) -> Basis:
    """Vectors of a cell of the crystal: whole multiples of 1/n of those of a cell that is n primitive ones."""
    whole = np.rint(matrix * repeats)
    if np.abs(whole / repeats - matrix).max() > 0.01:
        raise DensityError("the symmetry of the structure is only approximate: ask for it with a smaller tolerance")
    return Basis.of(whole.astype(np.int64), repeats)


def niggli(cell: np.ndarray) -> Basis:
    """The Niggli-reduced cell of a lattice, of the same handedness. Raises `DensityError` if spglib finds none."""
    import spglib

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="spglib")
        try:
            reduced: Any = spglib.niggli_reduce(cell, eps=1e-5)
        except spglib.error.SpglibError:
            reduced = None
    if reduced is None or not np.isfinite(reduced).all():
        raise DensityError("spglib finds no Niggli cell of this lattice: is it very flat?")
    whole = np.rint(reduced @ np.linalg.inv(cell)).astype(np.int64)
    if round(abs(float(np.linalg.det(whole)))) != 1:
        raise DensityError("spglib finds no Niggli cell of this lattice: is it very flat?")
    return Basis.of(whole * round(float(np.linalg.det(whole))))


def orthogonal(cell: np.ndarray) -> Basis:
    """The smallest cell with three right angles whose vectors are whole sums of those of a lattice.

    The shortest vectors decide between several of the same volume; as near to the order and directions of the old ones
    as can be, and right-handed. Raises `DensityError` if no cell up to 64 times as large has right angles.
    """
    reduced = niggli(cell)
    small = reduced.whole @ cell
    steps = np.array([h for h in product(range(-_REACH, _REACH + 1), repeat=3) if h > (0, 0, 0)])
    steps = steps[np.gcd.reduce(steps, axis=1) == 1]
    vectors = steps @ small
    order = np.argsort(np.linalg.norm(vectors, axis=1), kind="stable")
    steps, vectors = steps[order], vectors[order]
    lengths = np.linalg.norm(vectors, axis=1)
    right = np.abs(vectors @ vectors.T) < _RIGHT_ANGLE * np.outer(lengths, lengths)
    best: tuple[tuple[int, float], np.ndarray] | None = None
    for i in range(len(steps)):
        later = np.flatnonzero(right[i, i + 1 :]) + i + 1
        for j in later.tolist():
            for k in later[right[j, later] & (later > j)].tolist():
                found = steps[[i, j, k]]
                size = abs(round(float(np.linalg.det(found))))
                measure = size, round(float(lengths[[i, j, k]].sum()), 6)
                if size <= _MOST_CELLS and (best is None or measure < best[0]):
                    best = measure, found
                break  # later ones are longer
    if best is None:
        raise DensityError(f"no cell of up to {_MOST_CELLS} of these has three right angles")
    return Basis.of(_arranged(best[1] @ reduced.whole, cell))


def _arranged(rows: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Lattice vectors in the order and with the signs that come nearest to those of a cell, right-handed."""
    vectors = rows @ cell
    cosines = vectors @ cell.T / np.outer(np.linalg.norm(vectors, axis=1), np.linalg.norm(cell, axis=1))
    orders = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
    chosen = max(orders, key=lambda order: round(sum(abs(cosines[row, i]) for i, row in enumerate(order)), 6))
    rows, cosines = rows[list(chosen)], cosines[list(chosen)]
    rows = rows * np.where(np.diag(cosines) < -1e-6, -1, 1)[:, None]
    if np.linalg.det(rows @ cell) < 0:
        rows[int(np.abs(np.diag(cosines)).argmin())] *= -1
    return rows


def primitive_of(translations: np.ndarray, cell: np.ndarray) -> Basis:
    """The Niggli cell of the lattice that a cell and n fractional translations, (n, 3), generate.

    The translations are a group, the identity among them: whole multiples of 1/n.
    """
    n = len(translations)
    whole = np.rint(translations * n).astype(np.int64) % n
    found = Basis.of(hermite(np.vstack([whole, n * np.eye(3, dtype=np.int64)])), n)
    return found.then(niggli(found.matrix @ cell))
