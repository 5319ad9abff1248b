r"""Space-group operations in exact integers, and the orbits of reciprocal vectors under them.

An operation {W|w} maps the fractional point r to W r + w (column vectors, as in the International Tables). A density
with n(W r + w) = n(r) has the Fourier coefficients

    n(r) = sum_h F(h) exp(2 pi i h.r),        F(W^T h) = F(h) exp(2 pi i h.w)

so one coefficient per orbit of h under W^T is enough. A magnetisation can change sign under an operation,
n(W r + w) = -n(r), as antiferromagnets do: such an operation carries a flip. Translations are integers in units of
1/`UNITS` about an origin that is stored with the group; products, inverses and phases are then exact, and a decoder
needs neither spglib nor a tolerance to rebuild the group from its generators.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import isqrt
from typing import Any

import numpy as np

from .crystal import Crystal
from .errors import CodecError

#: Translations are multiples of 1/5040: all of the space groups (1/2, 1/3, 1/4, 1/6, 1/8) and centrings of supercells.
UNITS = 5040
_MAX_ORDER = 48 * 125  # a 5x5x5 supercell of a cubic primitive cell; more is damage
_MAX_ROTATIONS = 48  # no finite group of integer matrices is larger
_MAX_ENTRY = 64  # of a rotation, reached in very skewed cells only


@dataclass(frozen=True, eq=False)
class SpaceGroup:
    """Operations of a crystal in its own basis, the identity first.

    rotations: (n, 3, 3) int64, W.
    translations: (n, 3) int64, w in units of 1/`UNITS`, from 0 to `UNITS` - 1, about `origin`.
    origin: (3,) float64, fractional coordinates of the point the operations are written about: whole multiples of
        2^-32.
    flips: (n,) int64, 1 where the operation changes the sign of the field, else 0.
    """

    rotations: np.ndarray
    translations: np.ndarray
    origin: np.ndarray
    flips: np.ndarray

    def __len__(self) -> int:
        return len(self.rotations)

    @classmethod
    def trivial(cls) -> SpaceGroup:
        """The identity alone."""
        zeros = np.zeros((1, 3), np.int64)
        return cls(np.eye(3, dtype=np.int64)[None], zeros, np.zeros(3), zeros[:, 0])

    @classmethod
    def generate(
        cls, rotations: np.ndarray, translations: np.ndarray, origin: np.ndarray, flips: np.ndarray | None = None
    ) -> SpaceGroup:
        """The group that some operations generate. Raises `CodecError` if that is not a finite space group."""
        if flips is None:
            flips = np.zeros(len(rotations), np.int64)
        if len(rotations) and (np.abs(np.abs(np.linalg.det(rotations)) - 1) > 0.5).any():
            raise CodecError("the operations hold a matrix that is no rotation: the record is damaged")
        rows = zip(np.reshape(rotations, (-1, 9)).tolist(), translations.tolist(), flips.tolist(), strict=True)
        table = np.array(_closure(tuple((*W, *w, flip) for W, w, flip in rows)), np.int64)
        return cls(table[:, :9].reshape(-1, 3, 3), table[:, 9:12], origin, table[:, 12])

    def take(self, chosen: list[int] | np.ndarray) -> SpaceGroup:
        """Some of the operations; the caller knows that they form a group."""
        return SpaceGroup(self.rotations[chosen], self.translations[chosen], self.origin, self.flips[chosen])

    def with_flips(self, flips: np.ndarray) -> SpaceGroup:
        """The same operations with other signs."""
        return SpaceGroup(self.rotations, self.translations, self.origin, flips)

    def rows(self) -> list[tuple[int, ...]]:
        """Each operation as a tuple of 13 integers: rotation, translation, flip."""
        parts = (self.rotations.reshape(-1, 9), self.translations, self.flips[:, None])
        return [tuple(row) for row in np.hstack(parts).tolist()]

    def generators(self) -> SpaceGroup:
        """A few operations that generate the group, none for the trivial one."""
        rows = self.rows()
        chosen: list[int] = []
        reached = {rows[0]}
        while len(reached) < len(rows):
            # Greedy: the operation that enlarges the group most; the first that completes it ends the search.
            best: tuple[int, set] = (-1, reached)
            for index, row in enumerate(rows):
                if row in reached:
                    continue
                trial = set(_closure((*(rows[i] for i in chosen), row)))
                if len(trial) > len(best[1]):
                    best = index, trial
                if len(trial) == len(rows):
                    break
            chosen.append(best[0])
            reached = best[1]
        return self.take(chosen)

    def subgroup(self, allowed: np.ndarray) -> SpaceGroup:
        """A large group within the operations marked in `allowed` ((n,) bool), the earlier ones preferred."""
        rows = self.rows()
        permitted = {row for row, yes in zip(rows, allowed, strict=True) if yes}
        generators: list[tuple] = []
        members = {rows[0]}
        for row in rows:
            if row in members or row not in permitted:
                continue
            try:
                trial = set(_closure((*generators, row)))
            except CodecError:  # the rounded operations of a nearly symmetric structure need not close
                continue
            if trial <= permitted | {rows[0]}:
                members, generators = trial, [*generators, row]
        if len(members) == 1:
            return SpaceGroup.trivial()  # written about no origin
        return self.take([i for i, row in enumerate(rows) if row in members])


@lru_cache(maxsize=4096)
def _closure(generators: tuple) -> tuple:
    """All products of the generators, rows of 13 integers as in `SpaceGroup.rows`, in a fixed order."""
    identity: tuple[int, ...] = (1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0)
    found: dict[tuple[int, ...], None] = {identity: None}
    frontier = [identity]
    rotations = {identity[:9]}
    while frontier:
        new = []
        for V in frontier:
            for W in generators:
                product = _product(W, V)
                if product not in found:
                    found[product] = None
                    new.append(product)
                    rotations.add(product[:9])
                    # Groups without end show early in their rotations: more than there can be, or ever larger ones.
                    large = max(product[:9]) > _MAX_ENTRY or min(product[:9]) < -_MAX_ENTRY
                    if large or len(rotations) > _MAX_ROTATIONS or len(found) > _MAX_ORDER:
                        raise CodecError("the operations generate no finite space group: the record is damaged")
        frontier = new
    return tuple(found)


def _product(W: tuple[int, ...], V: tuple[int, ...]) -> tuple[int, ...]:
    """{W|w}{V|v} = {WV | Wv + w}; flips add."""
    a, b, c, d, e, f, g, h, i, x, y, z, flip = W
    A, B, C, D, E, F, G, H, K, X, Y, Z, other = V
    return (
        a * A + b * D + c * G, a * B + b * E + c * H, a * C + b * F + c * K,
        d * A + e * D + f * G, d * B + e * E + f * H, d * C + e * F + f * K,
        g * A + h * D + i * G, g * B + h * E + i * H, g * C + h * F + i * K,
        (a * X + b * Y + c * Z + x) % UNITS, (d * X + e * Y + f * Z + y) % UNITS, (g * X + h * Y + i * Z + z) % UNITS,
        flip ^ other,
    )  # fmt: skip


def find(crystal: Crystal, symprec: float = 1e-3) -> SpaceGroup:
    """Space group of a structure by spglib, its translations made exact about the standard origin.

    symprec: Å. Operations whose translation is no multiple of 1/`UNITS` about the origin are left out, so the result
    can be a subgroup. The trivial group where spglib finds nothing (no atoms, atoms too close).
    """
    if not len(crystal):
        return SpaceGroup.trivial()
    dataset = _dataset(crystal, symprec)
    if dataset is None:
        return SpaceGroup.trivial()
    origin = -np.linalg.solve(dataset.transformation_matrix, dataset.origin_shift)
    origin -= np.rint(origin)
    rational = np.rint(origin * 24) / 24
    origin = np.where(np.abs(origin - rational) < 1e-5, rational, np.rint(origin * 2.0**32) / 2.0**32)
    W = dataset.rotations.astype(np.int64)
    w = dataset.translations + (W - np.eye(3, dtype=np.int64)) @ origin
    # A rational origin moves into the translations: nothing needs to be stored for it.
    if np.all(origin * UNITS == np.rint(origin * UNITS)):
        origin, w = np.zeros(3), dataset.translations
    # The atoms sit on special positions only to within their printed digits, so translations are rounded to the
    # fractions of space groups first, and to the finer ones of supercells where that does not fit.
    coarse = np.rint(w * 24) / 24
    fine = np.rint(w * UNITS) / UNITS
    exact = np.where(np.abs(w - coarse) < 2e-3, coarse, fine)
    keep = np.all(np.abs(w - exact) < 2e-3, axis=1)
    translations = np.rint(exact * UNITS).astype(np.int64) % UNITS
    group = SpaceGroup(W[keep], translations[keep], origin, np.zeros(int(keep.sum()), np.int64))
    identity = np.flatnonzero((group.rotations == np.eye(3)).all(axis=(1, 2)) & ~group.translations.any(axis=1))
    if not len(identity):
        return SpaceGroup.trivial()
    group = group.take([*identity[:1], *np.delete(np.arange(len(group)), identity)])
    return group.subgroup(np.ones(len(group), bool))


def _dataset(crystal: Crystal, symprec: float) -> Any:
    """The answer of spglib for a crystal, None if it finds nothing."""
    return _dataset_of(crystal.cell.tobytes(), crystal.positions.tobytes(), crystal.numbers.tobytes(), symprec)


@lru_cache(maxsize=8)  # packing a density asks several times
def _dataset_of(cell: bytes, positions: bytes, numbers: bytes, symprec: float) -> Any:
    import spglib

    given: Any = (  # spglib's hints ask for lists
        np.frombuffer(cell).reshape(3, 3), np.frombuffer(positions).reshape(-1, 3), np.frombuffer(numbers, np.int64)
    )  # fmt: skip
    try:
        with warnings.catch_warnings():
            # spglib 2.7 and 2.8 announce with every call that they will raise instead of returning None.
            warnings.filterwarnings("ignore", "Set OLD_ERROR_HANDLING", DeprecationWarning)
            return spglib.get_symmetry_dataset(given, symprec=symprec)
    except spglib.error.SpglibError:  # raised by spglib >= 2.7 where older ones return None
        return None


def standard_cell(crystal: Crystal, symprec: float) -> tuple[np.ndarray, np.ndarray, int] | None:
    """Lattice vectors of spglib's standard cells, in terms of those of a crystal that is neither turned nor moved.

    symprec: Å.
    Returns (rows of the conventional cell, rows of its primitive cell, how many primitive cells the crystal's cell is),
    None where spglib finds no symmetry.
    """
    dataset = _dataset(crystal, symprec)
    if dataset is None:
        return None
    # (a b c) = (a_s b_s c_s) P in columns, so that the rows of P^-T are the standard vectors.
    conventional = np.linalg.inv(dataset.transformation_matrix).T
    centring = _CENTRINGS[symbol(int(dataset.number))[0]]
    repeats = int((dataset.rotations == np.eye(3)).all(axis=(1, 2)).sum())
    return conventional, np.array(centring) @ conventional, repeats


def translations(crystal: Crystal, symprec: float) -> np.ndarray:
    """Fractional translations that map a structure onto itself, (n, 3), of one cell; the zero alone where there is no
    symmetry. symprec: Å."""
    dataset = _dataset(crystal, symprec) if len(crystal) else None
    if dataset is None:
        return np.zeros((1, 3))
    pure = (dataset.rotations == np.eye(3)).all(axis=(1, 2))
    found: np.ndarray = dataset.translations[pure]
    return found


#: Rows of the primitive cell in terms of the conventional one, by the letter of the centring, as in spglib.
_CENTRINGS = {
    "P": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "A": [[1, 0, 0], [0, 1 / 2, -1 / 2], [0, 1 / 2, 1 / 2]],
    "C": [[1 / 2, 1 / 2, 0], [-1 / 2, 1 / 2, 0], [0, 0, 1]],
    "R": [[2 / 3, 1 / 3, 1 / 3], [-1 / 3, 1 / 3, 1 / 3], [-1 / 3, -2 / 3, 1 / 3]],
    "I": [[-1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [1 / 2, 1 / 2, -1 / 2]],
    "F": [[0, 1 / 2, 1 / 2], [1 / 2, 0, 1 / 2], [1 / 2, 1 / 2, 0]],
}


def number(crystal: Crystal, symprec: float = 1e-3) -> int:
    """Space-group number (1 to 230) of a structure by spglib; 1 where spglib finds none."""
    dataset = _dataset(crystal, symprec) if len(crystal) else None
    return 1 if dataset is None else int(dataset.number)


def symbol(number: int) -> str:
    """Hermann-Mauguin symbol of a space-group number (1 to 230), by spglib.

    >>> symbol(227)
    'Fd-3m'
    """
    import spglib

    # The first of a group's Hall settings is its standard one; there are 530 in all, ascending by number.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Set OLD_ERROR_HANDLING", DeprecationWarning)
        kinds = (spglib.get_spacegroup_type(hall) for hall in range(1, 531))
        return next(kind.international_short for kind in kinds if kind is not None and kind.number == number)


def integer_metric(cell: np.ndarray) -> np.ndarray:
    """Reciprocal metric (3, 3) int64 with |G|^2 / (2 pi)^2 = h.M.h / `METRIC_UNITS`, in 1/Å^2.

    Computed in exact integers from the bits of the cell, so that order and ties of |G| are the same on every machine.
    Raises `CodecError` for a cell whose metric does not fit (a lattice vector far below 0.01 Å or beyond 4096 Å, or a
    flat cell).
    """
    if np.abs(cell).max() > 4096:
        raise CodecError(
            "a lattice vector is too long for the Fourier codec: pack it with --lossless (tolerance=0 in Python)"
        )
    scale = 60
    A = [[int(float(x) * 2.0**scale) for x in row] for row in cell]
    g = [[sum(A[i][k] * A[j][k] for k in range(3)) for j in range(3)] for i in range(3)]

    def minor(i: int, j: int) -> int:
        a, b = [k for k in range(3) if k != i]
        c, d = [k for k in range(3) if k != j]
        return (-1) ** (i + j) * (g[a][c] * g[b][d] - g[a][d] * g[b][c])

    determinant = sum(g[0][j] * minor(0, j) for j in range(3))
    if determinant <= 0:
        raise CodecError("the cell is too flat for the Fourier codec: pack it with --lossless (tolerance=0 in Python)")
    numerators = [[minor(j, i) * METRIC_UNITS << (2 * scale) for j in range(3)] for i in range(3)]
    metric = [[(2 * x + determinant) // (2 * determinant) for x in row] for row in numerators]
    if max(abs(x) for row in metric for x in row) >= 1 << 38:
        raise CodecError(
            "the cell is too small or too flat for the Fourier codec: pack it with --lossless (tolerance=0 in Python)"
        )
    cofactors, determinant = _cofactors(metric)
    if min(cofactors) <= 0 or determinant <= 0 or min(metric[i][i] for i in range(3)) <= 0:  # rounding left no metric
        raise CodecError(
            "the cell is too large or too flat for the Fourier codec: pack it with --lossless (tolerance=0 in Python)"
        )
    return np.array(metric, np.int64)


def _cofactors(metric: list[list[int]]) -> tuple[tuple[int, int, int], int]:
    """(diagonal cofactors, determinant) of a symmetric matrix, in integers of any size."""
    (a, b, c), (_, d, e), (_, _, f) = metric
    cofactors = (d * f - e * e, a * f - c * c, a * d - b * b)
    return cofactors, a * cofactors[0] + b * (c * e - b * f) + c * (b * e - c * d)


#: |G|^2 / (2 pi)^2 is counted in units of 2^-24 Å^-2.
METRIC_UNITS = 1 << 24


@dataclass(frozen=True, eq=False)
class Orbits:
    """Reciprocal vectors of a grid within a sphere, sorted into orbits by |G|; G = 0 is not among them.

    representatives: (n, 3) int64 Miller indices, one per orbit.
    norms: (n,) int64, |G|^2 in units of `METRIC_UNITS`, ascending.
    multiplicity: (n,) int64, vectors of the orbit in the whole sphere (both halves of reciprocal space).
    freedom: (n,) int64, real numbers the coefficient holds: 0 (extinct), 1 (phase fixed by symmetry) or 2.
    phase: (n,) complex128, where freedom is 1 the coefficient is a real number times this; 1 elsewhere.
    members: (m, 3) int64 Miller indices of all vectors in one half of reciprocal space.
    orbit: (m,) int64, orbit of each member.
    factor: (m,) complex128; conjugate: (m,) bool: F(member) = factor * (conj F if conjugate else F)(representative).
    """

    representatives: np.ndarray
    norms: np.ndarray
    multiplicity: np.ndarray
    freedom: np.ndarray
    phase: np.ndarray
    members: np.ndarray
    orbit: np.ndarray
    factor: np.ndarray
    conjugate: np.ndarray

    def __len__(self) -> int:
        return len(self.norms)

    def unfold(self, coefficients: np.ndarray) -> np.ndarray:
        """Coefficients of all members, (m,) complex, from those of the representatives, (n,) complex."""
        values = coefficients[self.orbit]
        np.conjugate(values, out=values, where=self.conjugate)
        values *= self.factor
        return values

    def fold(self, values: np.ndarray) -> np.ndarray:
        """Mean coefficient of each orbit, (n,) complex, brought to its representative: the projection on the symmetry.

        values: (m,) complex, at `members`.
        """
        values = values * self.factor.conj()  # |factor| = 1
        np.conjugate(values, out=values, where=self.conjugate)
        counts = np.bincount(self.orbit, minlength=len(self))
        mean = np.bincount(self.orbit, values.real, len(self)) + 1j * np.bincount(self.orbit, values.imag, len(self))
        mean /= counts
        fixed = self.freedom == 1
        mean[fixed] = (mean[fixed] * self.phase[fixed].conj()).real * self.phase[fixed]
        mean[self.freedom == 0] = 0
        return mean


def orbits(
    grid: tuple[int, int, int], metric: np.ndarray, limit: int, group: SpaceGroup, most: int | None = None
) -> Orbits:
    """Orbits of the vectors with h.M.h <= `limit` that the grid resolves (|h_i| < n_i / 2; Nyquist terms are left out).

    metric: (3, 3) int64 of `integer_metric`. Vectors of an orbit that lie outside the grid are dropped from it, and
    vectors that pure translations extinguish (centrings, supercells) are left out.
    Raises `CodecError` if half of the sphere holds more than `most` vectors, or the grid is beyond exact integers.
    """
    half = [(n - 1) // 2 for n in grid]
    check_norms(metric, half)
    reach = box(metric, limit, half)
    # A linear key orders the vectors (h3 first, then h2, then h1), unique also for images outside the grid; it is
    # positive on one half of reciprocal space, and that of an image under W^T is again linear: key(W^T h) = h.(W s).
    span = 2 * int(np.abs(group.rotations).sum(axis=1).max()) * max(max(reach), 1) + 1
    s = np.array([1, span, span * span], float)
    if span**3 >= 1 << 52:
        raise CodecError(f"a grid of {grid[0]} x {grid[1]} x {grid[2]} points is too large for the Fourier codec")
    shifts = group.translations[(group.rotations == np.eye(3)).all(axis=(1, 2))]
    shifts = np.hstack([shifts, group.flips[(group.rotations == np.eye(3)).all(axis=(1, 2)), None] * (UNITS // 2)])
    h, norms = _half_sphere(reach, metric, limit, s, _shift_generators(shifts), most)
    if not len(h):
        empty = np.zeros(0, np.int64)
        none = np.zeros((0, 3), np.int64)
        return Orbits(none, empty, empty, empty, empty.astype(complex), none, empty, empty.astype(complex), empty > 0)
    functionals = (group.rotations @ s.astype(np.int64)).T.astype(float)
    # Operations with the same rotation differ by pure translations, which do nothing to the vectors kept.
    distinct = np.sort(np.unique(group.rotations.reshape(-1, 9), axis=0, return_index=True)[1])
    canonical, best = _largest(h, functionals[:, distinct])
    best = distinct[best]
    conjugate = canonical < 0
    canonical = np.abs(canonical)
    # F(h) = F(g) exp(-2 pi i h.w) with g = W^T h, conjugated where the image is -g.
    turns = ((h * group.translations[best]).sum(axis=1) + group.flips[best] * (UNITS // 2)) % UNITS
    # Orbits by (|G|^2, key of the representative). The rounded metric is not exactly invariant, so an orbit takes the
    # smallest norm of its members.
    unique, orbit = np.unique(canonical, return_inverse=True)
    orbit_norm = np.full(len(unique), np.iinfo(np.int64).max)
    np.minimum.at(orbit_norm, orbit, norms)
    order = np.lexsort((unique, orbit_norm))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    orbit = rank[orbit]
    representatives = _from_keys(unique[order].astype(np.int64), span)
    multiplicity = 2 * np.bincount(orbit, minlength=len(unique))
    freedom, phase = _site_symmetry(representatives, group.take(distinct), s, functionals[:, distinct])
    return Orbits(
        representatives, orbit_norm[order], multiplicity, freedom, phase,
        h, orbit, _UNIT_CIRCLE[-turns % UNITS], conjugate,
    )  # fmt: skip


def check_norms(metric: np.ndarray, half: Sequence[int]) -> None:
    """Raises `CodecError` if h.M.h can overflow 64 bits for |h_i| <= half[i]."""
    if sum(abs(m) * a * b for row, a in zip(metric.tolist(), half, strict=True)
           for m, b in zip(row, half, strict=True)) >= 1 << 61:  # fmt: skip
        raise CodecError("the grid is too fine for the Fourier codec: pack it with --lossless (tolerance=0 in Python)")


def square_norms(h: np.ndarray, metric: np.ndarray) -> np.ndarray:
    """h.M.h, exact, of integer vectors: (n, 3) -> (n,) int64. `check_norms` says whether it can overflow."""
    kind = _exact_type(h, metric, h)
    vectors: np.ndarray = h.astype(kind)
    return np.einsum("ni,ni->n", vectors @ metric.astype(kind), vectors).astype(np.int64)


def inner_products(others: np.ndarray, metric: np.ndarray, h: np.ndarray) -> np.ndarray:
    """others.M.h, exact, of integer vectors: (k, 3) and (n, 3) -> (k, n) int64."""
    kind = _exact_type(others, metric, h)
    return (others.astype(kind) @ metric.astype(kind) @ h.T.astype(kind)).astype(np.int64)


def _exact_type(left: np.ndarray, metric: np.ndarray, right: np.ndarray) -> type:
    """Floats where they hold every sum of left.M.right exactly: NumPy multiplies matrices of integers slowly."""
    reach = [np.abs(h).max(axis=0, initial=0).tolist() for h in (left, right)]
    largest = sum(abs(m) * a * b for row, a in zip(metric.tolist(), reach[0], strict=True)
                  for m, b in zip(row, reach[1], strict=True))  # fmt: skip
    return float if largest < 1 << 53 else np.int64


def box(metric: np.ndarray, limit: int, half: Sequence[int]) -> list[int]:
    """Largest |h_i|, at most half[i], of vectors with h.M.h <= limit: sqrt(limit * (M^-1)_ii), rounded up."""
    cofactors, determinant = _cofactors(metric.tolist())
    return [min(h, isqrt(limit * c // determinant) + 1) for h, c in zip(half, cofactors, strict=True)]


def _shift_generators(shifts: np.ndarray) -> list[tuple[int, ...]]:
    """A few rows (w, turn), modulo `UNITS`, that add up to all the others."""
    chosen: list[tuple[int, ...]] = []
    members = {(0, 0, 0, 0)}
    for row in map(tuple, shifts.tolist()):
        if row in members:
            continue
        chosen.append(row)
        multiple, new = row, set(members)
        while multiple not in members:
            new |= {tuple((a + b) % UNITS for a, b in zip(member, multiple, strict=True)) for member in members}
            multiple = tuple((a + b) % UNITS for a, b in zip(multiple, row, strict=True))
        members = new
    return chosen


def _half_sphere(
    reach: list[int], metric: np.ndarray, limit: int, s: np.ndarray, shifts: list[tuple[int, ...]], most: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """(vectors, norms) with a positive key in the sphere that no pure translation, rows of (w, turn), extinguishes."""
    axes = [np.arange(-reach[0], reach[0] + 1), np.arange(-reach[1], reach[1] + 1), np.arange(reach[2] + 1)]
    vectors, norms, count = [], [], 0
    for h in blocks(axes):
        norm = square_norms(h, metric)
        keep = (norm <= limit) & (h.astype(float) @ s > 0)
        h, norm = h[keep], norm[keep]
        for *w, turn in shifts:
            alive = (h @ np.array(w) + turn) % UNITS == 0
            h, norm = h[alive], norm[alive]
        count += len(h)
        if most is not None and count > most:
            raise CodecError("the payload claims more coefficients than it can hold: the record is damaged")
        vectors.append(h)
        norms.append(norm)
    return np.concatenate(vectors), np.concatenate(norms)


def blocks(axes: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """All combinations of three axes, the last one fastest, as arrays (n, 3) int64 of at most `_BLOCK` rows."""
    x, y, z = axes
    at_once = max(1, _BLOCK // max(1, len(z)))
    for start in range(0, len(x) * len(y), at_once):
        first, second = np.divmod(np.arange(start, min(start + at_once, len(x) * len(y))), len(y))
        for low in range(0, len(z), _BLOCK):
            part = z[low : low + _BLOCK]
            h = np.empty((len(first), len(part), 3), np.int64)
            h[:, :, 0], h[:, :, 1], h[:, :, 2] = x[first][:, None], y[second][:, None], part
            yield h.reshape(-1, 3)


def _largest(h: np.ndarray, functionals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(key of largest size, its column) over the images of each vector."""
    largest, column = np.empty(len(h)), np.empty(len(h), np.intp)
    at_once = max(1, _BLOCK // functionals.shape[1])
    for start in range(0, len(h), at_once):
        part = slice(start, start + at_once)
        keys = h[part].astype(float) @ functionals  # exact: all are whole numbers below 2^53
        column[part] = np.abs(keys).argmax(axis=1)
        largest[part] = np.take_along_axis(keys, column[part, None], axis=1)[:, 0]
    return largest, column


_BLOCK = 1 << 20  # numbers held at once of what is larger than its result


def _from_keys(keys: np.ndarray, span: int) -> np.ndarray:
    """Miller indices of linear keys: digits of a balanced number system."""
    digits = np.empty((len(keys), 3), np.int64)
    for axis in range(3):
        digits[:, axis] = (keys + span // 2) % span - span // 2
        keys = (keys - digits[:, axis]) // span
    return digits


def _site_symmetry(g: np.ndarray, group: SpaceGroup, s: np.ndarray, functionals: np.ndarray):
    """The coefficients that symmetry forces to zero, or to a fixed phase: see `Orbits.freedom` and `Orbits.phase`."""
    at_once = max(1, _BLOCK // len(group))
    if len(g) > at_once:
        parts = [_site_symmetry(g[i : i + at_once], group, s, functionals) for i in range(0, len(g), at_once)]
        return tuple(np.concatenate(part) for part in zip(*parts, strict=True))
    gf = g.astype(float)
    own = (gf @ s)[:, None]
    images = gf @ functionals
    turns = (g @ group.translations.T + group.flips * (UNITS // 2)) % UNITS
    extinct = ((images == own) & (turns != 0)).any(axis=1)
    inverted = images == -own
    # conj F = F exp(2 pi i g.w): F is real times exp(-pi i g.w), the same for all such operations or F vanishes.
    first = inverted.argmax(axis=1)
    turn = np.take_along_axis(turns, first[:, None], axis=1)[:, 0]
    fixed = inverted.any(axis=1)
    extinct |= (inverted & (turns != turn[:, None])).any(axis=1)
    freedom = np.where(extinct, 0, np.where(fixed, 1, 2))
    half_turn = np.exp(-1j * np.pi * np.where(fixed & ~extinct, turn, 0) / UNITS)
    return freedom, half_turn


_UNIT_CIRCLE = np.exp(2j * np.pi * np.arange(UNITS) / UNITS)
