"""The symmetry of a periodic field: the operations that it obeys, and the part of it that they leave alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..density import Crystal, Density
from ..symmetry import UNITS, SpaceGroup, find, integer_metric
from .basis import EVERY_NORM, Basis
from .spectra import Residual, forward, values_of

_STRONGEST = 6000  # maximum number of terms whose symmetry is tested
_AT_ONCE = 1 << 20  # terms that are searched at once for the strongest


def symmetric_part(values: np.ndarray, crystal: Crystal) -> np.ndarray:
    """The part of a periodic function with the symmetry of a crystal: its mean over the operations of the space group.

    values: (nx, ny, nz) real, on any grid of the cell, even one that the operations do not map onto itself.
    Returns float64 of the same shape, with the same mean. The terms at the Nyquist frequency of an even axis stay as
    they are. Raises `CodecError` for a cell or a grid beyond exact integers.
    """
    group = find(crystal)
    values = np.asarray(values, dtype=float)
    if len(group) == 1:
        return values
    basis = Basis(values.shape, integer_metric(crystal.cell), group, EVERY_NORM, nyquist=True)
    return _projected(forward(values), basis)


def symmetrised(density: Density, most: float) -> tuple[Density, float]:
    """(a density with the symmetry of its crystal, its NMAE against the density given: that of the worst channel).

    Codes that work on grids break the symmetry of the crystal. Products of waves that the grid does not hold come back
    in the wrong places, and operations that do not map the grid onto itself are not imposed. The mean over the
    operations takes that error out, as VASP does before it writes a CHGCAR. It takes out terms at the Nyquist
    frequency, too, because no rotation keeps them. A magnetisation may change sign under an operation.

    most: largest NMAE of a channel, relative to the total density. A channel that breaks the symmetry of its crystal by
        more (by charge order, say) keeps what breaks it: only the operations that it obeys are imposed.
    Raises `CodecError` for a cell or a grid beyond exact integers.
    """
    metric, whole = integer_metric(density.crystal.cell), find(density.crystal)
    allowed = most * float(np.abs(density.total).mean(dtype=float))
    channels, change = {}, 0.0
    for name, values in density.channels.items():
        channels[name], moved = _symmetrised(np.asarray(values, float), metric, whole, allowed)
        change = max(change, moved)
    return Density(density.crystal, channels), change * most / allowed if allowed else 0.0


def _symmetrised(values: np.ndarray, metric: np.ndarray, whole: SpaceGroup, allowed: float) -> tuple[np.ndarray, float]:
    """(values with all symmetry that moves them by at most `allowed`, mean absolute change)."""
    spectrum = forward(values)
    # The deviations of single operations bound the change by their mean only roughly.
    for group in symmetries(spectrum, values.shape, whole, [share * allowed for share in (2, 1, 0.5)]):
        if len(group) == 1:
            break
        mean = _projected(spectrum, Basis(values.shape, metric, group, EVERY_NORM, nyquist=False))
        change = float(np.abs(mean - values).mean())
        if change <= allowed:
            return mean, change
    return values, 0.0


def _projected(spectrum: np.ndarray, basis: Basis) -> np.ndarray:
    """Grid values of the mean of a half spectrum, and of the part of it that a basis holds."""
    projected = np.zeros(basis.shape, complex)
    projected[0, 0, 0] = spectrum[0, 0, 0]  # the basis does not hold the mean
    basis.synthesise(basis.analyse(Residual(spectrum)), projected, basis.grid)
    return values_of(projected, basis.grid)


def symmetries(
    spectrum: np.ndarray | Residual, grid: tuple[int, ...], group: SpaceGroup, allowed: list[float]
) -> Iterator[SpaceGroup]:
    """The operations of `group` that a real field obeys, up to sign, for each of some mean absolute errors.

    The largest error comes first. An error that gives as many operations as the last one is left out.
    spectrum: (nx, ny, nz // 2 + 1), of a grid. A term that an operation takes out of the grid, or to a Nyquist
    frequency, says nothing about the operation.
    """
    if len(group) == 1:
        yield group
        return
    terms = spectrum if isinstance(spectrum, Residual) else Residual(spectrum)
    whole = _by_generators(terms, grid, group, min(allowed))
    if whole is not None:
        yield whole
        return
    deviations = _deviations(terms, grid, group, min(allowed))
    flips = (deviations[:, 1] < deviations[:, 0]).astype(np.int64)
    flips[0] = 0
    size = 0
    for most in allowed:
        # Averaging over the group halves the square of an operation's deviation; 0.8: mean of a normal distribution.
        near = deviations.min(axis=1) * 0.8 / np.sqrt(2) <= most
        near[0] = True
        own = group.with_flips(flips).subgroup(near)
        if len(own) != size:
            yield own
        size = len(own)


def _by_generators(terms: Residual, grid: tuple[int, ...], group: SpaceGroup, allowed: float) -> SpaceGroup | None:
    """All of a group, with flips, where its generators are obeyed so well that every product of theirs is, too."""
    few = group.generators()
    deviations = _deviations(terms, grid, few, allowed)
    if not deviations.min(axis=1).max() * _LONGEST * 0.8 / np.sqrt(2) <= allowed:
        return None
    flips = (deviations[:, 1] < deviations[:, 0]).astype(np.int64)
    if not flips.any():
        return group.with_flips(np.zeros(len(group), np.int64))
    signed = SpaceGroup.generate(few.rotations, few.translations, group.origin, flips)
    sign_of = {row[:-1]: row[-1] for row in signed.rows()}
    if len(signed) != len(group):  # the zero has every sign
        return None
    return group.with_flips(np.array([sign_of[row[:-1]] for row in group.rows()]))


_LONGEST = 16  # factors of a product of generators


def symmetry_of(
    spectrum: np.ndarray | Residual, grid: tuple[int, ...], group: SpaceGroup, allowed: float
) -> SpaceGroup:
    """The first group of `symmetries`, for one error."""
    return next(symmetries(spectrum, grid, group, [allowed]))


def _deviations(terms: Residual, grid: tuple[int, ...], group: SpaceGroup, negligible: float) -> np.ndarray:
    """How far each operation, without and with a change of sign, moves a field: (n, 2), root mean squares."""
    half = (np.array(grid) - 1) // 2
    h, values = _strongest(terms, half, negligible)
    deviations = np.zeros((len(group), 2))
    vectors = np.ascontiguousarray(h.T)
    for k in range(len(group)):
        x, y, z = group.rotations[k].T @ vectors
        inside = (np.abs(x) <= half[0]) & (np.abs(y) <= half[1]) & (np.abs(z) <= half[2])
        sign = np.where(z < 0, -1, 1)
        image = np.stack([x * sign, y * sign, z * sign], axis=1)
        found = np.zeros(len(h), complex)
        found[inside] = terms.at(image if inside.all() else image[inside])
        np.conjugate(found, out=found, where=sign < 0)
        turn = (h @ group.translations[k]) / UNITS
        if group.origin.any():  # operations are about the origin: both ends are shifted there
            turn = turn + group.origin @ (vectors - np.stack([x, y, z]))
        expected = values * np.exp(2j * np.pi * turn)
        expected[~inside] = 0
        deviations[k] = [np.sqrt(2 * (np.abs(found - sign * expected) ** 2).sum()) for sign in (1, -1)]
    return deviations


def _strongest(spectrum: Residual, half: np.ndarray, allowed: float) -> tuple[np.ndarray, np.ndarray]:
    """(h, values) of the strongest terms. They hold all but a negligible part of the mean square.

    half: (3,) largest |h_i| below the Nyquist frequencies.
    """
    shape = spectrum.spectrum.shape
    power, chosen = np.zeros(0), np.zeros(0, np.intp)
    for rows, terms in spectrum.pieces(_AT_ONCE):
        strength = np.abs(terms).ravel() ** 2
        more = np.flatnonzero(strength > (0.01 * allowed) ** 2)
        power = np.append(power, strength[more])
        chosen = np.append(chosen, more + rows.start * shape[1] * shape[2])
        if len(power) > _STRONGEST:
            best = np.argpartition(power, -_STRONGEST)[-_STRONGEST:]
            power, chosen = power[best], chosen[best]
    h = np.stack(np.unravel_index(chosen, shape), axis=1)
    n = np.array(shape[:2])
    h[:, :2] -= np.where(2 * h[:, :2] >= n, n, 0)
    h = h[(np.abs(h) <= half).all(axis=1)]
    return h, spectrum.at(h)
