r"""Multipoles on the atoms, which predict the coefficients of a payload.

The residual of a superposition of spheres still sits on the atoms: bonds and d shells are functions of low l. A listed
atom has a parameter for every function of the tables below that it uses. The predicted numbers of a channel's basis are
a linear function of the parameters. Some codes sum up |psi|^2 on a grid coarser than the one they write. What that grid
cannot hold is folded back into it. The functions of `SMOOTH` are folded in the same way. The functions of `ADDED` are
not: they stand for compensation charges, which such codes add afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..density import Crystal
from ..symmetry import METRIC_UNITS, UNITS, SpaceGroup, inner_products, square_norms
from .basis import IMAGES, Basis

#: Functions of s = |G| / 2 pi are sums of (s / w)^l exp(-(s / w)^2 / 2). For each l: the widths w, in 1/Å, and for each
#: function a row of the weights of the widths. They are nearly orthonormal under s^2 2^(6 s), the inverse of residuals.
Table = tuple[tuple[tuple[float, ...], tuple[tuple[float, ...], ...]], ...]
SMOOTH: Table = (
    ((1.5, 1.1, 0.8, 0.55, 0.35), ((0.547,), (-1.11, 5.61), (1.23, -8.58, 29.5), (-0.913, 7.18, -36.1, 120.5),
     (0.544, -4.47, 25.4, -133.7, 440.8))),
    ((1.1, 0.7, 0.4), ((1.05,), (-0.572, 14.9), (0.215, -6.83, 127.7))),
    ((1.1, 0.7, 0.4), ((0.416,), (-0.226, 6.1), (0.0704, -2.2, 60.7))),
    ((1.1, 0.7, 0.4), ((0.158,), (-0.0881, 2.26), (0.0228, -0.657, 25.6))),
    ((1.1, 0.7, 0.4), ((0.0584,), (-0.0335, 0.775), (0.00728, -0.184, 9.86))),
)  # fmt: skip
ADDED: Table = (
    ((1.0, 0.8, 0.6), ((4.26,), (-6.53, 26.7), (6.56, -41.5, 105.2))),
    ((1.0, 0.8, 0.6), ((1.77,), (-2.69, 11.8), (2.57, -16.3, 48.5))),
    ((1.0, 0.8, 0.6), ((0.683,), (-1.06, 4.65), (0.966, -5.93, 19.8))),
)
#: |G|^2 beyond which all functions vanish: 4 1/Å.
_REACH = 16 * METRIC_UNITS


def harmonics(u: np.ndarray, most: int) -> list[list[np.ndarray]]:
    """Real spherical harmonics of unit vectors, (n, 3), for l = 0 ... most (at most 4), each up to a factor."""
    x, y, z = u.T
    xx, yy, zz = x * x, y * y, z * z
    return [
        [np.ones_like(x)],
        [1.73 * x, 1.73 * y, 1.73 * z],
        [3.87 * x * y, 3.87 * y * z, 1.12 * (3 * zz - 1), 3.87 * x * z, 1.94 * (xx - yy)],
        [2.09 * y * (3 * xx - yy), 10.25 * x * y * z, 1.62 * y * (5 * zz - 1), 1.32 * z * (5 * zz - 3),
         1.62 * x * (5 * zz - 1), 5.12 * z * (xx - yy), 2.09 * x * (xx - 3 * yy)],
        [8.87 * x * y * (xx - yy), 6.27 * y * z * (3 * xx - yy), 3.35 * x * y * (7 * zz - 1),
         2.37 * y * z * (7 * zz - 3), 0.375 * (35 * zz * zz - 30 * zz + 3), 2.37 * x * z * (7 * zz - 3),
         1.68 * (xx - yy) * (7 * zz - 1), 6.27 * x * z * (xx - 3 * yy), 2.22 * (xx * xx - 6 * xx * yy + yy * yy)],
    ][: most + 1]  # fmt: skip


#: Number of functions of l = 0 ... 4 with all their m.
MASK = 25


def spread_out(used: np.ndarray, coarse: bool) -> np.ndarray:
    """(atoms, functions) bool from (atoms, `MASK`): an l and m in use is used with every radial function."""
    columns = []
    for table in (SMOOTH, ADDED) if coarse else (SMOOTH,):
        for degree, (_, rows) in enumerate(table):
            columns += [used[:, degree * degree : (degree + 1) ** 2]] * len(rows)
    return np.concatenate(columns, axis=1)


def orders(table: Table) -> np.ndarray:
    """l of each function of a table in its order (by l, then radial function, then m), (n,)."""
    return np.concatenate([np.full(len(rows) * (2 * degree + 1), degree) for degree, (_, rows) in enumerate(table)])


def _functions(table: Table, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Functions at G / 2 pi, (n, 3): (those of even l, those of odd l), each (functions, n).

    They hold the sign of (-i)^l, without the factor i of odd l.
    """
    s = np.sqrt(np.einsum("ni,ni->n", vectors, vectors))
    angular = harmonics(vectors / s[:, None], len(table) - 1)
    is_odd = orders(table) % 2 == 1
    even, odd = np.empty((int((~is_odd).sum()), len(s))), np.empty((int(is_odd.sum()), len(s)))
    rows_of = [iter(even), iter(odd)]
    gaussian = {w: np.exp((-0.5 / w**2) * s**2) for w in {w for widths, _ in table for w in widths}}
    power = np.ones_like(s)
    for degree, (widths, rows) in enumerate(table):
        sign = (1, -1, -1, 1)[degree % 4]
        for row in rows:
            radial = power * sum((sign * a / w**degree) * gaussian[w] for a, w in zip(row, widths, strict=False))
            for y in angular[degree]:
                np.multiply(radial, y, out=next(rows_of[degree % 2]))
        power *= s
    return even, odd


@dataclass(frozen=True)
class _Piece:
    """The functions of one table at some vectors, and exp(-2 pi i h.x) of the listed atoms there.

    family: 0 for `SMOOTH`, 1 for `ADDED`. member: (p,) the member of the basis to which each vector adds.
    """

    family: int
    even: np.ndarray
    odd: np.ndarray
    waves: np.ndarray
    member: np.ndarray

    def add(self, parameters: np.ndarray, is_odd: np.ndarray, field: np.ndarray) -> None:
        """Add the functions to values at the members, (m,) complex. parameters: (atoms, functions)."""
        even, odd = parameters[:, ~is_odd] @ self.even, parameters[:, is_odd] @ self.odd
        cos, sin = self.waves.real, self.waves.imag
        field += np.bincount(
            self.member, np.einsum("ap,ap->p", cos, even) - np.einsum("ap,ap->p", sin, odd), len(field)
        )
        field += 1j * np.bincount(
            self.member, np.einsum("ap,ap->p", cos, odd) + np.einsum("ap,ap->p", sin, even), len(field)
        )

    def add_adjoint(self, field: np.ndarray, is_odd: np.ndarray, parameters: np.ndarray) -> None:
        turned = self.waves.conj() * field[self.member]
        parameters[:, ~is_odd] += turned.real @ self.even.T
        parameters[:, is_odd] += turned.imag @ self.odd.T

    def add_gram(self, weights: np.ndarray, is_odd: np.ndarray, gram: np.ndarray) -> None:
        """Add the Gram matrix of one atom's functions, (functions, functions). weights: (m,) of the members."""
        w = weights[self.member]
        gram[np.ix_(~is_odd, ~is_odd)] += (self.even * w) @ self.even.T
        gram[np.ix_(is_odd, is_odd)] += (self.odd * w) @ self.odd.T


class Multipoles:
    """The linear map from parameters, (listed atoms, functions), to the numbers of a basis."""

    def __init__(self, crystal: Crystal, basis: Basis, listed: np.ndarray) -> None:
        self.basis = basis
        h, metric, coarse = basis.members, basis.metric, basis.coarse
        self._reciprocal = np.linalg.inv(crystal.cell).T
        self._positions = crystal.positions[listed] % 1.0
        near = np.flatnonzero(square_norms(h, metric) < _REACH)
        self._points, self._weights = [(h[near], near)], [np.ones(len(basis.norms))]
        if coarse is not None:
            self._points.insert(0, _folded(h, metric, np.array(coarse.divisions)))
            self._weights.insert(0, basis.share)
        self.odd = [orders(table) % 2 == 1 for table in (SMOOTH, ADDED)[: len(self._points)]]
        ends = np.cumsum([0, *(len(is_odd) for is_odd in self.odd)])
        self._columns = [slice(a, b) for a, b in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)]
        self._kept: list[_Piece] = []

    @property
    def size(self) -> int:
        """The count of numbers that `keep` holds."""
        per_atom = 2 * len(self._positions)
        return sum(len(h) * (len(odd) + per_atom) for (h, _), odd in zip(self._points, self.odd, strict=True))

    def keep(self) -> None:
        """Hold `size` numbers from now on, which saves time where the methods are called often."""
        self._kept = list(self._pieces())

    def _pieces(self) -> Iterator[_Piece]:
        for family, (h, member) in enumerate(self._points):
            at_once = max(1, _BLOCK // (len(self.odd[family]) + 2 * len(self._positions)))
            for start in range(0, len(h), at_once):
                part = slice(start, start + at_once)
                even, odd = _functions((SMOOTH, ADDED)[family], h[part] @ self._reciprocal)
                yield _Piece(family, even, odd, _waves(h[part], self._positions), member[part])

    def numbers(self, parameters: np.ndarray) -> np.ndarray:
        """The numbers of the basis, (n,)."""
        fields = [np.zeros(len(self.basis.members), complex) for _ in self._points]
        for piece in self._kept or self._pieces():
            k = piece.family
            piece.add(parameters[:, self._columns[k]], self.odd[k], fields[k])
        return sum(w * self.basis.project(field) for w, field in zip(self._weights, fields, strict=True))

    def adjoint(self, numbers: np.ndarray) -> np.ndarray:
        """The transposed map, (listed atoms, functions)."""
        fields = [2 * self.basis.spread(weights * numbers) for weights in self._weights]
        result = np.zeros((len(self._positions), self._columns[-1].stop))
        for piece in self._kept or self._pieces():
            k = piece.family
            piece.add_adjoint(fields[k], self.odd[k], result[:, self._columns[k]])
        return result

    def matrix(self, used: np.ndarray) -> np.ndarray:
        """The map itself, transposed, for the functions in use: (sum(used), n) float32.

        used: (listed atoms, functions) bool.
        """
        u, sign, real, imaginary = self.basis.functionals()
        result = np.zeros((int(used.sum()), len(self.basis.norms)), np.float32)
        column = (np.cumsum(used) - 1).reshape(used.shape)
        for piece in self._kept or self._pieces():
            k = piece.family
            mine, columns, odd = used[:, self._columns[k]], column[:, self._columns[k]], self.odd[k]
            turned = piece.waves * u[piece.member]
            ways = (
                (real[piece.member], turned.real, -turned.imag),
                (imaginary[piece.member], turned.imag * sign[piece.member], turned.real * sign[piece.member]),
            )
            for rows, even_part, odd_part in ways:
                order = np.argsort(rows, kind="stable")
                order = order[np.searchsorted(rows[order], 0) :]
                if not len(order):
                    continue
                numbers, first = np.unique(rows[order], return_index=True)
                weights, places = self._weights[k][rows[order]], _slice_of(numbers)
                for functions, parts, chosen in ((piece.even, even_part, ~odd), (piece.odd, odd_part, odd)):
                    ordered = functions[:, order].astype(np.float32)
                    for a, part in enumerate((parts[:, order] * weights).astype(np.float32)):
                        own = mine[a, chosen]
                        terms = ordered[own] * part
                        if len(numbers) < len(order):
                            terms = np.add.reduceat(terms, first, axis=1)
                        into = columns[a, chosen][own]
                        result[(into, places) if isinstance(places, slice) else np.ix_(into, places)] += terms
        return result

    def gram(self, weights: np.ndarray) -> np.ndarray:
        """The Gram matrix of one atom's functions, (functions, functions). weights: (n,) of the numbers."""
        members = self.basis.spread_weights(weights)
        result = np.zeros((self._columns[-1].stop,) * 2)
        for piece in self._kept or self._pieces():
            k = self._columns[piece.family]
            piece.add_gram(members, self.odd[piece.family], result[k, k])
        return result


_BLOCK = 1 << 21  # count of numbers that are held at once where nothing is kept


def _slice_of(numbers: np.ndarray) -> slice | np.ndarray:
    """Ascending indices as a slice where they are evenly spaced: adding to a slice is much faster."""
    gap = int(numbers[1] - numbers[0]) if len(numbers) > 1 else 1
    return slice(int(numbers[0]), int(numbers[-1]) + 1, gap) if (np.diff(numbers) == gap).all() else numbers


def _folded(h: np.ndarray, metric: np.ndarray, divisions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(vectors within reach that a coarse grid cannot tell from one of `h`, the index of that one)."""
    nearest = h - divisions * ((2 * h + divisions) // (2 * divisions))
    images = divisions * IMAGES
    norms = square_norms(nearest, metric) + 2 * inner_products(images, metric, nearest)
    norms += square_norms(images, metric)[:, None]
    image, member = np.nonzero((norms < _REACH) & (norms > 0))
    return nearest[member] + images[image], member


def _waves(h: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """exp(-2 pi i h.x), (atoms, vectors)."""
    waves = np.ones((len(positions), len(h)), complex)
    for axis in range(3):
        low = int(h[:, axis].min(initial=0))
        reach = np.arange(low, int(h[:, axis].max(initial=0)) + 1)
        waves *= np.exp(-2j * np.pi * np.outer(positions[:, axis], reach))[:, h[:, axis] - low]
    return waves


#: Largest matrix that is held whole, and most products that its normal equations may take. Beyond, gradients are used:
#: they take more time and come less near to the minimum.
_MOST_HELD, _MOST_WORK = 1 << 26, 1 << 35
_DIRECT_PASSES, _RIDGE = 2, 1e-5
_ITERATIONS, _PASSES = 25, 3

# --- the encoder's part ----------------------------------------------------------------------------------------------


def unique_atoms(crystal: Crystal, group: SpaceGroup) -> tuple[np.ndarray, list[np.ndarray]]:
    """(first atom of each orbit under a group, the operations that leave this atom where it is)."""
    x = crystal.positions - group.origin
    listed, sites = [], []
    done = np.zeros(len(crystal), bool)
    for a in range(len(crystal)):
        if done[a]:
            continue
        images = group.rotations @ x[a] + group.translations / UNITS
        distance = images[:, None, :] - x[None, :, :]
        distance = np.abs(distance - np.rint(distance)).max(axis=2)
        done |= (distance < 1e-3).any(axis=0)
        listed.append(a)
        sites.append(np.flatnonzero(distance[:, a] < 1e-3))
    return np.array(listed), sites


def sites(crystal: Crystal, group: SpaceGroup) -> tuple[np.ndarray, np.ndarray]:
    """((atoms,) bool, one atom of each orbit; (listed atoms, `MASK`) bool, the functions that its site leaves)."""
    first, stabilisers = unique_atoms(crystal, group)
    listed = np.zeros(len(crystal), bool)
    listed[first] = True
    used = [np.concatenate(free_functions(crystal, group, site, 4)) for site in stabilisers]
    return listed, np.array(used).reshape(-1, MASK)


def free_functions(crystal: Crystal, group: SpaceGroup, site: np.ndarray, most: int) -> list[np.ndarray]:
    """For each l up to `most` which m to use: as many as the symmetry of a site leaves independent, (2 l + 1,) bool."""
    directions = np.random.default_rng(0).normal(size=(60, 3))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    here = harmonics(directions, most)
    means = [np.zeros((60, 2 * degree + 1)) for degree in range(most + 1)]
    to_cartesian = crystal.cell.T
    for k in site.tolist():
        rotation = to_cartesian @ group.rotations[k] @ np.linalg.inv(to_cartesian)
        sign = -1.0 if group.flips[k] else 1.0
        for degree, values in enumerate(harmonics(directions @ rotation, most)):
            means[degree] += sign * np.stack(values, axis=1) / len(site)
    chosen = []
    for degree in range(most + 1):
        P = np.linalg.lstsq(np.stack(here[degree], axis=1), means[degree], rcond=None)[0]
        keep = np.zeros(2 * degree + 1, bool)
        left = P.copy()
        for _ in range(2 * degree + 1):
            size = (left**2).sum(axis=0)
            best = int(np.argmax(size + 1e-6 * (2 * degree - np.arange(2 * degree + 1))))
            if size[best] < 1e-3:
                break
            keep[best] = True
            direction = left[:, best] / np.sqrt(size[best])
            left -= np.outer(direction, direction @ left)
        chosen.append(keep)
    return chosen


def is_small(used: np.ndarray, numbers: int) -> bool:
    """Whether `fit` can hold the map of the functions in use, (listed atoms, functions) bool: it is exact and fast."""
    size = int(used.sum())
    return size * numbers <= _MOST_HELD and size**2 * numbers <= _MOST_WORK


def fit(
    model: Multipoles, target: np.ndarray, used: np.ndarray, keys: np.ndarray, floor: float
) -> tuple[np.ndarray, float]:
    """(parameters, (listed atoms, functions), and the step to which they may be rounded).

    target: (n,) numbers. used: (listed atoms, functions) bool. floor: smaller errors do not matter.
    """
    shells = (np.sqrt(keys / METRIC_UNITS) * 10).astype(np.intp)
    count = np.maximum(np.bincount(shells), 1)
    matrix = model.matrix(used) if is_small(used, len(target)) else None
    parameters, step = np.zeros(used.shape), 1.0
    # The weight of a shell follows from what the fit leaves of it: first as residuals fall off, then as it was.
    s = (np.arange(len(count)) + 0.5) / 10
    power = 1 / (s**2 * 2 ** (6 * s))
    power *= 0.1 * float(target @ target) / float((power * count).sum())
    for _ in range(_DIRECT_PASSES if matrix is not None else _PASSES):
        weights = 1 / (power + floor**2)[shells]
        if matrix is not None:
            parameters[used], diagonal, left = _solve_directly(matrix, target, weights)
        else:
            parameters, diagonal = _solve(model, target, used, weights, parameters)
            left = target - model.numbers(parameters)
        power = np.bincount(shells, left**2) / count
        step = float(np.sqrt(12 / np.median(diagonal[diagonal > 0]))) if (diagonal > 0).any() else 1.0
    return parameters, step


def _solve_directly(
    matrix: np.ndarray, target: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weighted least squares by the normal equations: (parameters, the diagonal of these, what is left of the target).

    matrix: (n, numbers) float32, of `Multipoles.matrix`. Single precision is fast. Its rounding differs from machine to
    machine, so it is taken out again and hardly ever decides how a parameter is rounded: a density should become the
    same bytes on other machines and with more threads.
    """
    root = np.sqrt(weights / weights.max())
    scaled = matrix * root.astype(np.float32)
    gram = (scaled @ scaled.T).astype(float)
    del scaled
    parameters = np.zeros(len(matrix))
    gradient, left, exact = _gradient(matrix, root, target, parameters)
    ridge = _RIDGE * exact + 1e-30
    gram[np.diag_indices_from(gram)] = exact + ridge
    inverse = np.linalg.inv(gram)
    enough = _REFINED / np.sqrt(np.median(exact[exact > 0]) if (exact > 0).any() else 1.0)
    enough /= np.sqrt(weights.max())
    for _ in range(_REFINEMENTS):
        update = inverse @ (gradient - ridge * parameters)
        if np.abs(update).max(initial=0.0) <= enough:
            break
        parameters += update
        gradient, left, _ = _gradient(matrix, root, target, parameters)
    return parameters, exact * weights.max(), left / root


def _gradient(
    matrix: np.ndarray, root: np.ndarray, target: np.ndarray, parameters: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """In double precision, of weighted least squares: (half the gradient, what is left, weighted, the diagonal of the
    normal equations); without a copy of the whole of a float32 matrix, each part of which is converted once."""
    gradient, diagonal, left = np.zeros(len(matrix)), np.zeros(len(matrix)), root * target
    for start in range(0, matrix.shape[1], _COLUMNS):
        part = slice(start, start + _COLUMNS)
        exact = matrix[:, part] * root[part]
        left[part] -= parameters @ exact
        gradient += exact @ left[part]
        diagonal += np.einsum("nk,nk->n", exact, exact)
    return gradient, left, diagonal


#: How often parameters are refined, unless what that changes is a small part of the step they are rounded to.
_REFINEMENTS, _REFINED, _COLUMNS = 6, 1e-6, 256


def _solve(
    model: Multipoles, target: np.ndarray, used: np.ndarray, weights: np.ndarray, start: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weighted least squares by conjugate gradients, preconditioned by the Gram matrix of one atom's functions."""
    gram = model.gram(weights)
    diagonal = np.diag(gram)
    ridge = 1e-6 * diagonal + 1e-300
    inverses = {}
    for row in used:
        key = row.tobytes()
        if key not in inverses:
            part = np.flatnonzero(row)
            inverses[key] = part, np.linalg.inv(gram[np.ix_(part, part)] + np.diag(ridge[part] + 1e-5 * diagonal[part]))

    def precondition(r: np.ndarray) -> np.ndarray:
        z = np.zeros_like(r)
        for a, row in enumerate(used):
            part, inverse = inverses[row.tobytes()]
            z[a, part] = inverse @ r[a, part]
        return z

    x = start.copy()
    r = np.where(used, model.adjoint(weights * (target - model.numbers(x))) - ridge * x, 0)
    z = precondition(r)
    p, rz = z.copy(), float((r * z).sum())
    first_rz = max(rz, 1e-300)
    for _ in range(_ITERATIONS):
        if rz <= 1e-5 * first_rz:
            break
        q = np.where(used, model.adjoint(weights * model.numbers(p)) + ridge * p, 0)
        alpha = rz / float((p * q).sum())
        x += alpha * p
        r -= alpha * q
        z = precondition(r)
        rz, before = float((r * z).sum()), rz
        p = z + rz / before * p
    return x, diagonal
