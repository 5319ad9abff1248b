"""Features of neighbours and bonds: geometry, the density along bonds, and the stiffness of a network of springs.

Neighbours count with smooth weights, the effective coordination number of R. Hoppe, Z. Kristallogr. 150, 23 (1979):
w = exp(1 - (d / d_mean)^6) with distances in units of the sum of covalent radii. There is no cutoff, because rounding
could put a distance on either side of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ..density import Crystal
from .composition import tables
from .fields import Field

REACH = 6.5  # Å; farther atoms are not neighbours
_SMALL = 0.01  # smaller weights do not count


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Pairs of atoms (first, second) within `REACH`, each in both orders.

    vectors: (n, 3) Å from the first to the second; lengths: (n,) Å; scaled: lengths over the sum of covalent radii;
    weights: (n,) Hoppe's, the mean of the weights that both atoms give.
    """

    crystal: Crystal
    first: np.ndarray
    second: np.ndarray
    vectors: np.ndarray
    lengths: np.ndarray
    scaled: np.ndarray
    weights: np.ndarray

    @cached_property
    def coordination(self) -> np.ndarray:
        """Effective coordination number of each atom."""
        return np.bincount(self.first, self.weights, len(self.crystal))

    @cached_property
    def images(self) -> np.ndarray:
        """The cell of the second atom where the first is in the cell at 0, (n, 3) whole numbers."""
        inside = self.crystal.positions % 1.0
        steps = self.vectors @ np.linalg.inv(self.crystal.cell)
        return np.rint(steps - (inside[self.second] - inside[self.first]))

    def moved(self, shift: np.ndarray) -> Neighbours:
        """The pairs with their second atoms shifted by (3,) Å. The weights stay."""
        vectors = self.vectors + shift
        lengths = np.linalg.norm(vectors, axis=1)
        return replace(self, vectors=vectors, lengths=lengths, scaled=self.scaled * lengths / self.lengths)

    def bonds(self) -> Neighbours:
        """The pairs that count as bonds. Their weights fall to zero where bonds end."""
        kept = self.take(self.weights > _SMALL)
        return replace(kept, weights=kept.weights - _SMALL)

    def take(self, pairs: np.ndarray) -> Neighbours:
        """Some of the pairs. The weights stay."""
        fields = (self.first, self.second, self.vectors, self.lengths, self.scaled, self.weights)
        return Neighbours(self.crystal, *(field[pairs] for field in fields))


def neighbours(crystal: Crystal) -> Neighbours:
    """Pairs of a crystal. There are none where all atoms are farther apart than `REACH`."""
    cell = crystal.cell
    heights = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    spans = [np.arange(-n, n + 1) for n in np.ceil(REACH / heights).astype(int)]
    images = np.stack(np.meshgrid(*spans, indexing="ij"), axis=-1).reshape(-1, 3)
    fractional = crystal.positions % 1.0
    shift = images @ cell
    first, second, vectors = [], [], []
    for i in range(len(crystal)):
        away = fractional - fractional[i]
        rounded = np.rint(away)
        r = (away - rounded) @ cell
        found = r[:, None, :] + shift[None, :, :]
        length = np.linalg.norm(found, axis=-1)
        atom, image = np.nonzero((length < REACH) & (length > 1e-3))
        first.append(np.full(len(atom), i))
        second.append(atom)
        vectors.append(found[atom, image])
    one, other, vector = np.concatenate(first), np.concatenate(second), np.concatenate(vectors)
    length = np.linalg.norm(vector, axis=1)
    radius = tables()["CovalentRadius"][crystal.numbers] / 100
    scaled = length / (radius[one] + radius[other])
    weights = hoppe_weights(one, other, scaled, len(crystal))
    return Neighbours(crystal, one, other, vector, length, scaled, weights)


def hoppe_weights(first: np.ndarray, second: np.ndarray, lengths: np.ndarray, atoms: int) -> np.ndarray:
    """Weights of pairs by their lengths, (n,), means of both atoms' weights; mean lengths are iterated."""
    mean = np.full(atoms, np.inf)
    np.minimum.at(mean, first, lengths)
    mean = np.where(np.isfinite(mean), mean, 1.0)
    for _ in range(4):
        weight = np.exp(1 - np.minimum(lengths / mean[first], 3.0) ** 6)
        total = np.bincount(first, weight, atoms)
        mean = np.where(total > 0, np.bincount(first, weight * lengths, atoms) / np.maximum(total, 1e-300), mean)
    return 0.5 * sum(np.exp(1 - np.minimum(lengths / mean[side], 3.0) ** 6) for side in (first, second))


_STATISTICS = ("mean", "deviation", "low", "high")


def _statistics(values: np.ndarray, weights: np.ndarray, sharpness: float) -> list[float]:
    """Weighted mean, standard deviation, smooth minimum and smooth maximum."""
    total = weights.sum()
    if not total > 0:
        return [0.0] * 4
    w = weights / total
    mean = float(w @ values)
    low = mean - np.log(w @ np.exp(-sharpness * (values - mean))) / sharpness
    high = mean + np.log(w @ np.exp(sharpness * (values - mean))) / sharpness
    return [mean, float(np.sqrt(max(w @ (values - mean) ** 2, 0.0))), float(low), float(high)]


_SCALED_SHELLS = tuple(np.round(np.arange(0.8, 2.6, 0.15), 2).tolist())
_ANGLES = (-1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75)
_KINDS = ("metal_metal", "metal_nonmetal", "nonmetal_nonmetal")

GEOMETRY_NAMES: tuple[str, ...] = (
    *("log_volume_per_atom", "log_mass_density", "packing_covalent", "packing_atomic", "log_electron_density"),
    *("volume_over_elements", "log_n_atoms", "log_n_rotations", "cell_anisotropy", "cell_skew"),
    *(f"coordination_{k}" for k in _STATISTICS),
    *(f"{q}_{k}" for q in ("bond_length", "scaled_length", "electronegativity_difference", "bond_radius")
      for k in _STATISTICS),
    *(f"share_{kind}" for kind in _KINDS),
    *(f"length_{kind}" for kind in _KINDS),
    *(f"pairs_{d}" for d in _SCALED_SHELLS),
    *(f"polar_pairs_{d}" for d in _SCALED_SHELLS),
    *(f"angle_{a}" for a in _ANGLES),
    *("angle_p1", "angle_p2", "angle_p4", "steinhardt_4_mean", "steinhardt_4_low", "steinhardt_6_mean",
      "steinhardt_6_low", "asymmetry_mean", "asymmetry_high"),
    *("coordination_electronegativity", "coordination_radius"),
)  # fmt: skip


def geometry(near: Neighbours, n_rotations: int, electrons: float) -> np.ndarray:
    """Features of the structure, (len(GEOMETRY_NAMES),). electrons: valence electrons in the cell."""
    crystal, table = near.crystal, tables()
    z, atoms, volume = crystal.numbers, len(crystal), crystal.volume
    radius = table["CovalentRadius"][z] / 100
    light = np.minimum(z, len(table["atomic_radius"]) - 1)
    ball = 4 / 3 * np.pi
    lengths = np.sort(np.linalg.norm(crystal.cell, axis=1))
    result = [
        np.log(volume / atoms),
        np.log(table["AtomicWeight"][z].sum() / volume),
        ball * (radius**3).sum() / volume,
        ball * (table["atomic_radius"][light] ** 3).sum() / volume,
        np.log(electrons / volume),
        np.log(volume / table["GSvolume_pa"][z].sum()),
        np.log(atoms),
        np.log(n_rotations),
        np.log(lengths[2] / lengths[0]),
        np.log(np.prod(lengths) / volume),
    ]
    bonds = near.bonds()
    chi = table["Electronegativity"][z]
    gap = np.abs(chi[bonds.first] - chi[bonds.second])
    result += _statistics(near.coordination, np.ones(atoms), 0.5)
    result += _statistics(bonds.lengths, bonds.weights, 4.0)
    result += _statistics(bonds.scaled, bonds.weights, 8.0)
    result += _statistics(gap, bonds.weights, 4.0)
    result += _statistics(radius[bonds.first] + radius[bonds.second], bonds.weights, 4.0)
    # A smooth measure of how metallic an element is, by its electronegativity.
    metal = 1 / (1 + np.exp((chi - 2.05) / 0.08))
    pairs = (metal[bonds.first], metal[bonds.second])
    both, neither = pairs[0] * pairs[1], (1 - pairs[0]) * (1 - pairs[1])
    kinds = [bonds.weights * share for share in (both, 1 - both - neither, neither)]
    total = max(bonds.weights.sum(), 1e-9)
    result += [float(kind.sum() / total) for kind in kinds]
    result += [float((kind * bonds.scaled).sum() + 1e-2) / float(kind.sum() + 1e-2) for kind in kinds]
    polar = (chi[near.first] - chi[near.second]) ** 2
    shells = [np.exp(-0.5 * ((near.scaled - d) / 0.08) ** 2) / d**2 for d in _SCALED_SHELLS]
    result += [float(shell.sum() / atoms) for shell in shells]
    result += [float((shell * polar).sum() / atoms) for shell in shells]
    return np.array([*result, *_angles(bonds), *_orders(bonds, chi, radius)])


def legendre(cosine: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Legendre polynomials of order 2, 4 and 6."""
    c2 = cosine**2
    p6 = (231 * c2**3 - 315 * c2**2 + 105 * c2 - 5) / 16
    return 1.5 * c2 - 0.5, (35 * c2**2 - 30 * c2 + 3) / 8, p6


def _angles(bonds: Neighbours) -> list[float]:
    """Distribution of the cosines of bond angles. The weight of an angle is the product of its bonds' weights."""
    histogram, moments, total = np.zeros(len(_ANGLES)), np.zeros(3), 0.0
    for atom in range(len(bonds.crystal)):
        mine = bonds.first == atom
        if not mine.any():
            continue
        unit = bonds.vectors[mine] / bonds.lengths[mine, None]
        cosine = np.clip(unit @ unit.T, -1, 1)
        weight = np.outer(bonds.weights[mine], bonds.weights[mine])
        np.fill_diagonal(weight, 0)
        scale = weight.sum()
        if not scale > 1e-12:
            continue
        for k, centre in enumerate(_ANGLES):
            histogram[k] += (weight * np.exp(-0.5 * ((cosine - centre) / 0.12) ** 2)).sum() / scale
        moments += [(weight * p).sum() / scale for p in (cosine, *legendre(cosine)[:2])]
        total += 1
    total = max(total, 1.0)
    return [*(histogram / total), *(moments / total)]


def _orders(bonds: Neighbours, chi: np.ndarray, radius: np.ndarray) -> list[float]:
    """Bond-orientational order of P. J. Steinhardt et al. (1983) through Legendre sums, and lack of inversion."""
    orders = []
    for atom in range(len(bonds.crystal)):
        mine = bonds.first == atom
        weight = bonds.weights[mine]
        if not weight.sum() > 0:
            orders.append((0.0, 0.0, 0.0))
            continue
        w = weight / weight.sum()
        unit = bonds.vectors[mine] / bonds.lengths[mine, None]
        _, p4, p6 = legendre(np.clip(unit @ unit.T, -1, 1))
        # The root has a small offset, because its slope at zero is infinite.
        q4, q6 = (float(np.sqrt(max(w @ p @ w, 0.0) + 1e-3)) for p in (p4, p6))
        orders.append((q4, q6, float(np.sqrt(((w @ unit) ** 2).sum() + 1e-3))))
    q4, q6, odd = np.array(orders).T
    coordination = np.bincount(bonds.first, bonds.weights, len(bonds.crystal))
    centred = coordination - coordination.mean()
    same = np.ones(len(q4))
    result = [
        q4.mean(),
        _statistics(q4, same, 20.0)[2],
        q6.mean(),
        _statistics(q6, same, 20.0)[2],
        odd.mean(),
        _statistics(odd, same, 20.0)[3],
        np.mean(centred * (chi - chi.mean())),
        np.mean(centred * (radius - radius.mean())),
    ]
    return [float(value) for value in result]


_EXPONENTS = (0.5, 1.0, 1.5, 2.0)
_SPRINGS = ("log_bulk", "log_shear_voigt", "log_shear_reuss", "log_softest")
_TRANSVERSE = (0.05, 0.3)

SPRING_NAMES: tuple[str, ...] = tuple(f"springs_{t}_{name}" for t in _TRANSVERSE for name in _SPRINGS)
DENSITY_NAMES: tuple[str, ...] = (
    *(f"log_n_{k}" for k in _STATISTICS),
    *(f"laplacian_{k}" for k in _STATISTICS),
    *(f"log_stiffness_{e}" for e in _EXPONENTS),
    *("log_tension", "log_n_length_correlation", "share_of_electrons"),
    *SPRING_NAMES,
)
CHANGE_NAMES: tuple[str, ...] = (*(f"ratio_{k}" for k in _STATISTICS), *(f"laplacian_change_{k}" for k in _STATISTICS))


class Profiles:
    """Values of a field at the bonds: its minimum along each bond, and its Laplacian midway."""

    def __init__(self, field: Field, bonds: Neighbours) -> None:
        inverse = np.linalg.inv(field.place.crystal.cell)
        start = field.place.crystal.positions[bonds.first] % 1.0
        step = bonds.vectors @ inverse
        at = np.linspace(0.14, 0.86, 13)
        points = start[:, None, :] + at[None, :, None] * step[:, None, :]
        coefficients = _spline(field, field.spectrum)
        n = _interpolate(coefficients, points.reshape(-1, 3)).reshape(len(start), len(at))
        positive = 0.5 * (n + np.sqrt(n**2 + 4e-6))
        #: (n,) density at the weakest point of each bond, e/Å^3, as a power mean along it.
        self.lowest = np.mean(positive**-6.0, axis=1) ** (-1 / 6) if len(start) else np.zeros(0)
        laplacian = _spline(field, -((2 * np.pi * field.s) ** 2) * field.spectrum)
        #: (n,) arsinh of the Laplacian there, e/Å^5, averaged with the same weights.
        values = np.arcsinh(_interpolate(laplacian, points.reshape(-1, 3)).reshape(n.shape))
        share = positive**-6.0 / np.sum(positive**-6.0, axis=1, keepdims=True) if len(start) else positive
        self.laplacian = (values * share).sum(axis=1)


def along_bonds(profiles: Profiles, bonds: Neighbours, electrons: float) -> np.ndarray:
    """Features of a density along the bonds, (len(DENSITY_NAMES),). electrons: in the cell."""
    if not len(bonds.first):
        return np.zeros(len(DENSITY_NAMES))
    volume, w = bonds.crystal.volume, bonds.weights
    log_n = np.log(profiles.lowest)
    result = _statistics(log_n, w, 2.0) + _statistics(profiles.laplacian, w, 1.0)
    square = w * bonds.lengths**2 / volume
    result += [float(np.log((square * profiles.lowest**e).sum() + 1e-9)) for e in _EXPONENTS]
    result.append(float(np.log((w * bonds.lengths * profiles.lowest / volume).sum() + 1e-9)))
    share = w / w.sum()
    length = np.log(bonds.scaled)
    result.append(float(share @ ((log_n - share @ log_n) * (length - share @ length))))
    result.append(float(np.log((w * bonds.lengths**3 * profiles.lowest).sum() / electrons + 1e-9)))
    return np.array([*result, *springs(bonds, profiles.lowest**1.5)])


def changes(profiles: Profiles, reference: Profiles, bonds: Neighbours) -> np.ndarray:
    """What bonding changes of the density along bonds, (len(CHANGE_NAMES),)."""
    ratio = np.log(profiles.lowest) - np.log(reference.lowest)
    bent = profiles.laplacian - reference.laplacian
    return np.array(_statistics(ratio, bonds.weights, 4.0) + _statistics(bent, bonds.weights, 1.0))


def springs(bonds: Neighbours, strength: np.ndarray) -> list[float]:
    """Elastic moduli of a network of springs along the bonds, with relaxed atoms; (8,) logarithms.

    strength: (n,) force constant of each bond before its weight. Each spring also resists turning, by a share
    `_TRANSVERSE` of that. The moduli are Voigt's and Reuss's averages and the softest eigenvalue of the stiffness.
    """
    crystal, n = bonds.crystal, len(bonds.crystal)
    if not len(bonds.first):
        return [0.0] * len(SPRING_NAMES)
    k = strength * bonds.weights
    unit = bonds.vectors / bonds.lengths[:, None]
    # Displacements by a strain in Mandel's orthonormal notation, (pairs, 3, 6).
    x, y, z = bonds.vectors.T
    strain = np.zeros((len(k), 3, 6))
    root = 1 / np.sqrt(2)
    strain[:, 0, 0], strain[:, 1, 1], strain[:, 2, 2] = x, y, z
    strain[:, 1, 3], strain[:, 2, 3] = root * z, root * y
    strain[:, 0, 4], strain[:, 2, 4] = root * z, root * x
    strain[:, 0, 5], strain[:, 1, 5] = root * y, root * x
    along = unit[:, :, None] * unit[:, None, :]
    result = []
    for transverse in _TRANSVERSE:
        matrix = k[:, None, None] * ((1 - transverse) * along + transverse * np.eye(3))
        pulled = matrix @ strain
        stiffness = 0.5 * np.einsum("pai,paj->ij", strain, pulled) / crystal.volume
        hessian = np.zeros((n, n, 3, 3))
        np.add.at(hessian, (bonds.first, bonds.first), matrix)
        np.add.at(hessian, (bonds.first, bonds.second), -matrix)
        coupling = np.zeros((n, 3, 6))
        np.add.at(coupling, bonds.first, -pulled)
        full = hessian.transpose(0, 2, 1, 3).reshape(3 * n, 3 * n)
        # Slightly softened: with one atom in a cell nothing can relax, and the matrix is zero.
        full = 0.5 * (full + full.T) + (1e-3 * np.trace(full) / (3 * n) + 1e-9 * k.sum()) * np.eye(3 * n)
        flat = coupling.reshape(3 * n, 6)
        relaxed = stiffness - flat.T @ np.linalg.solve(full, flat) / crystal.volume
        relaxed = 0.5 * (relaxed + relaxed.T)
        scale = np.trace(stiffness) / 6
        relaxed += 0.01 * scale * np.eye(6)
        trace = np.array([1, 1, 1, 0, 0, 0]) / np.sqrt(3)
        bulk = trace @ relaxed @ trace
        compliance = np.linalg.inv(relaxed)
        shear = (np.trace(relaxed) - bulk) / 5
        soft = 5 / (np.trace(compliance) - trace @ compliance @ trace)
        softest = np.linalg.eigvalsh(relaxed)[0]
        result += [float(np.log(max(value, 1e-9))) for value in (bulk, shear, soft, softest)]
    return result


def _spline(field: Field, spectrum: np.ndarray) -> np.ndarray:
    """Coefficients of the cubic B-spline through a field: its spectrum divided by that of the sampled spline."""
    filtered = spectrum.copy()
    grid = field.place.grid
    axes = [np.fft.fftfreq(grid[0]), np.fft.fftfreq(grid[1]), np.arange(grid[2] // 2 + 1) / grid[2]]
    for axis, frequency in enumerate(axes):
        shape = [1, 1, 1]
        shape[axis] = len(frequency)
        filtered = filtered / ((2 + np.cos(2 * np.pi * frequency)) / 3).reshape(shape)
    return np.fft.irfftn(filtered, s=grid, axes=(0, 1, 2)) * np.prod(grid)


def _interpolate(coefficients: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Values of a periodic cubic B-spline at fractional points, (n,)."""
    grid = np.array(coefficients.shape)
    result = np.empty(len(points))
    for start in range(0, len(points), 20_000):
        x = points[start : start + 20_000] * grid
        base = np.floor(x).astype(np.int64)
        t = x - base
        u = 1 - t
        weights = np.stack([u**3, 3 * t**3 - 6 * t**2 + 4, 3 * u**3 - 6 * u**2 + 4, t**3], axis=-1) / 6
        index = (base[:, :, None] + np.arange(-1, 3)) % grid[:, None]
        flat = (index[:, 0, :, None, None] * grid[1] + index[:, 1, None, :, None]) * grid[2] + index[
            :, 2, None, None, :
        ]
        values = coefficients.ravel()[flat]
        values = np.einsum("pijk,pk->pij", values, weights[:, 2])
        values = np.einsum("pij,pj->pi", values, weights[:, 1])
        result[start : start + 20_000] = np.einsum("pi,pi->p", values, weights[:, 0])
    return result
