"""One cell and one grid for every description of the same crystal. They make the features independent of both.

A density becomes Fourier coefficients, and these are taken to the primitive cell. Those between its reciprocal lattice
vectors belong to no periodic density of the crystal and are dropped. The cell is Niggli-reduced. A Gaussian filter then
removes what depends on pseudopotential and cutoff. It leaves a field that a grid of `SPACING` resolves so well that
integrals of smooth functions hardly depend on where its points are. The origin is put on an atom, so that the points
are at the same places, too.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..density import Crystal, Density
from ..errors import DensityError
from ..grids import fast_length
from ..transformations import hermite, merged

#: Å; tolerance of the symmetry search.
SYMPREC = 0.01
#: Å; width of the Gaussian with which the density is convolved.
WIDTH = 0.15
#: 1/Å; cutoff of |G| / 2 pi. The filter leaves 2 % there.
CUTOFF = 3.0
#: Å; largest and smallest distance between points of the grid for integrals, ...
SPACING = (0.125, 0.06)
#: ... and its minimum and maximum number of points: larger cells are sampled more coarsely.
POINTS = (40_000, 400_000)


@dataclass(frozen=True, eq=False)
class Canonical:
    """A crystal in its primitive Niggli cell.

    crystal: this cell with its atoms.
    grid: (nx, ny, nz) of the grid for integrals.
    supercell: (3, 3) int64, T with cell = T @ crystal.cell, where `cell` is the original one.
    origin: (3,) the place of the new origin, in fractional coordinates of this cell before the shift.
    n_rotations: order of the crystal's point group.
    """

    crystal: Crystal
    grid: tuple[int, int, int]
    supercell: np.ndarray
    origin: np.ndarray
    n_rotations: int

    def wave_vectors(self) -> tuple[np.ndarray, np.ndarray]:
        """(h (nx, ny, nz // 2 + 1, 3) int64, s = |G| / 2 pi in 1/Å) of the half spectrum of the grid."""
        axes = [np.fft.fftfreq(n, 1 / n).round().astype(np.int64) for n in self.grid[:2]]
        axes.append(np.arange(self.grid[2] // 2 + 1))
        h = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
        return h, np.linalg.norm(h @ np.linalg.inv(self.crystal.cell).T, axis=-1)


def canonical(crystal: Crystal) -> Canonical:
    """The primitive Niggli cell of a crystal. Raises `DensityError` for a cell without atoms."""
    import spglib

    if not len(crystal):
        raise DensityError("no atoms in the cell: features of a density need the structure it belongs to")
    translations, order = _translations(crystal)
    primitive = _lattice(crystal.cell, translations)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="spglib")
        reduced: Any = spglib.niggli_reduce(primitive, eps=1e-5)
    if reduced is None or not np.isfinite(reduced).all():
        reduced = primitive
    supercell = np.rint(crystal.cell @ np.linalg.inv(reduced)).astype(np.int64)
    # The lattice comes from the cell itself, to keep the digits of its vectors.
    cell = np.linalg.solve(supercell.astype(float), crystal.cell)
    small = _unique_atoms(crystal, cell, abs(round(float(np.linalg.det(supercell)))))
    if len(translations) > 1:  # fewer rotations map the lattice of a supercell onto itself
        order = _translations(small)[1]
    origin = _origin(small)
    small = Crystal(cell, (small.positions - origin) % 1.0, small.numbers)
    spacing = float(np.clip((small.volume / POINTS[0]) ** (1 / 3), SPACING[1], SPACING[0]))
    spacing = max(spacing, (small.volume / POINTS[1]) ** (1 / 3))
    lengths = np.linalg.norm(cell, axis=1)
    nx, ny, nz = (fast_length(int(np.ceil(length / spacing - 1e-4))) for length in lengths)
    return Canonical(small, (nx, ny, nz), supercell, origin, order)


def _translations(crystal: Crystal) -> tuple[np.ndarray, int]:
    """(fractional translations that map the crystal onto itself, (n, 3); order of its point group)."""
    import spglib

    cell: Any = (crystal.cell, crystal.positions, crystal.numbers)
    found = None
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Set OLD_ERROR_HANDLING", DeprecationWarning)
            found = spglib.get_symmetry_dataset(cell, symprec=SYMPREC)
    except spglib.error.SpglibError:  # atoms on top of each other: then the cell is taken as it is
        found = None
    if found is None:
        return np.zeros((1, 3)), 1
    pure = (found.rotations == np.eye(3)).all(axis=(1, 2))
    return found.translations[pure], len(found.rotations) // max(1, int(pure.sum()))


def _lattice(cell: np.ndarray, translations: np.ndarray) -> np.ndarray:
    """A basis, rows in Å, of the lattice that a cell and pure translations generate."""
    n = len(translations)
    if n == 1:
        return cell
    # Every translation is a multiple of 1/n of a lattice vector: the group of translations has n elements.
    rows = np.vstack([np.rint(translations * n).astype(np.int64) % n, n * np.eye(3, dtype=np.int64)])
    found = hermite(rows).astype(float) / n @ cell
    return found if round(abs(np.linalg.det(cell) / np.linalg.det(found))) == n else cell


def _unique_atoms(crystal: Crystal, cell: np.ndarray, copies: int) -> Crystal:
    """The atoms of a smaller cell. Each stands for `copies` atoms of the large one."""
    positions = crystal.positions @ np.rint(crystal.cell @ np.linalg.inv(cell))
    if copies == 1:
        return Crystal(cell, positions % 1.0, crystal.numbers)
    chosen, first, _ = merged(positions, crystal.numbers, cell, copies)
    return Crystal(cell, chosen % 1.0, crystal.numbers[first])


def _origin(crystal: Crystal) -> np.ndarray:
    """Position of an atom that differs from the others by its element, the rarest, and by its surroundings."""
    found, counts = np.unique(crystal.numbers, return_counts=True)
    rarest = found[counts == counts.min()].max()
    candidates = crystal.positions[crystal.numbers == rarest]
    if len(candidates) == 1:
        return candidates[0]
    images = np.stack(np.meshgrid(*[np.arange(-1, 2)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    scores = []
    for position in candidates:
        away = crystal.positions - position
        distance = np.linalg.norm((away - np.rint(away) + images) @ crystal.cell, axis=-1)
        scores.append(float((np.exp(-distance / 2) * crystal.numbers).sum()))
    # Rounding makes equivalent atoms tie; then the first one is taken.
    return candidates[int(np.argmax(np.round(scores, 6)))]


def coefficients(density: Density, place: Canonical, h: np.ndarray, s: np.ndarray) -> np.ndarray:
    """Filtered Fourier coefficients of the total density, e/Å^3, on the half spectrum of the canonical grid."""
    spectrum = np.fft.rfftn(density.total) / density.total.size
    inside = (s <= CUTOFF) & _below_nyquist(h, place.grid)
    index = h[inside] @ place.supercell.T
    flip = index[:, 2] < 0
    index[flip] *= -1
    n = np.array(density.grid)
    known = (2 * np.abs(index) < n).all(axis=1)
    index = np.where(known[:, None], index, 0) % n
    values = np.where(known, spectrum[index[:, 0], index[:, 1], index[:, 2]], 0)
    values[flip] = values[flip].conj()
    result = np.zeros(h.shape[:3], complex)
    values = values * np.exp(2j * np.pi * (h[inside] @ place.origin))
    result[inside] = values * np.exp(-2 * (np.pi * WIDTH * s[inside]) ** 2)
    return result


def _below_nyquist(h: np.ndarray, grid: tuple[int, int, int]) -> np.ndarray:
    return (2 * np.abs(h) < np.array(grid)).all(axis=-1)


def superposition(place: Canonical, h: np.ndarray, s: np.ndarray) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """Filtered coefficients of the superposition of atomic densities, and the part of each element.

    The form factors are fixed with the features (`atoms.json`), because a catalog's own prior changes as it grows. An
    element without one takes that of the nearest element that has one.
    """
    from . import atoms

    crystal = place.crystal
    inside = (s <= CUTOFF) & _below_nyquist(h, place.grid)
    waves = h[inside]
    damping = np.exp(-2 * (np.pi * WIDTH * s[inside]) ** 2) / crystal.volume
    parts = {}
    for number in np.unique(crystal.numbers):
        factor = np.zeros(len(waves), complex)
        for position in crystal.positions[crystal.numbers == number]:
            phases = [np.exp(-2j * np.pi * x * np.arange(-n, n + 1)) for x, n in zip(position, place.grid, strict=True)]
            factor += np.prod([p[waves[:, k] + place.grid[k]] for k, p in enumerate(phases)], axis=0)
        part = np.zeros(h.shape[:3], complex)
        part[inside] = factor * damping * atoms.form_factor(int(number), s[inside])
        parts[int(number)] = part
    return np.sum(list(parts.values()), axis=0), parts
