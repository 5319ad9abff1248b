"""How like its training set a structure is (its applicability domain), by four descriptors of the structure alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..density import Crystal
from ..elements import SYMBOLS
from ..features.composition import tables
from .graph import Graph

#: name -> (description, unit, factor by which it may be beyond the training set)
DESCRIPTORS: dict[str, tuple[str, str, float]] = {
    "closest": ("closest pair of atoms, in sums of covalent radii", "", 1.03),
    "volume": ("volume per atom, in volumes of the elements", "", 1.1),
    "loneliest": ("distance of the loneliest atom to its nearest neighbour, in sums of covalent radii", "", 1.1),
    "void": ("radius of the largest empty sphere", "Å", 1.1),
}
_HINTS = {
    ("closest", "low"): "; is it under pressure, or is an atom there twice?",
    ("volume", "low"): "; is it under pressure?",
    ("volume", "high"): "; is it a molecule or a slab in a box?",
    ("loneliest", "high"): "; is an atom by itself?",
    ("void", "high"): "; is it a molecule or a slab in a box?",
}
#: An element that is in fewer materials of the training set counts as rare.
FEW = 10
_STEP = 0.8  # Å, between the points that are tried as centres of empty spheres
_MOST_POINTS = 200_000


def descriptors(crystal: Crystal, edges: Graph) -> np.ndarray:
    """The values of `DESCRIPTORS`, (4,) float64. A crystal without neighbours has its loneliest atom at infinity."""
    known = tables()
    radius, volume = known["CovalentRadius"][crystal.numbers] / 100, known["GSvolume_pa"][crystal.numbers]
    own = radius[edges.unique]
    scaled = np.linalg.norm(edges.vectors, axis=1) / (own[edges.first] + radius[edges.second])
    nearest = np.full(len(edges.unique), np.inf)
    np.minimum.at(nearest, edges.first, scaled)
    return np.array([nearest.min(), crystal.volume / volume.sum(), nearest.max(), _void(crystal)])


def _void(crystal: Crystal) -> float:
    """Radius in Å of the largest sphere about a grid point without an atom in it, at most `_FARTHEST`."""
    lengths = np.linalg.norm(crystal.cell, axis=1)
    count = np.maximum(np.ceil(lengths / _STEP).astype(int), 2)
    while count.prod() > _MOST_POINTS:  # large cells have a coarser grid
        count = np.maximum(count * 2 // 3, 2)
    taken = np.zeros(tuple(count), bool)
    inside = crystal.positions - np.floor(crystal.positions)
    taken[tuple((np.rint(inside * count).astype(int) % count).T)] = True
    if taken.all():
        return 0.0
    points = np.argwhere(~taken) / count
    return float(_nearest(crystal, points).max())


_FARTHEST = 10.0  # Å; larger empty spheres count as this one


def _nearest(crystal: Crystal, points: np.ndarray) -> np.ndarray:
    """Distance in Å from points, (n, 3) fractional, to the nearest atom, at most `_FARTHEST`."""
    found = np.full(len(points), _FARTHEST)
    inverse = np.linalg.inv(crystal.cell)
    reach = _FARTHEST * np.linalg.norm(inverse, axis=0)
    images = np.stack(np.meshgrid(*[np.arange(-np.ceil(r), np.ceil(r) + 1) for r in reach], indexing="ij"), -1)
    inside = crystal.positions - np.floor(crystal.positions)
    atoms = (inside[:, None] + images.reshape(1, -1, 3)).reshape(-1, 3)
    atoms = atoms[((atoms > -reach) & (atoms < 1 + reach)).all(axis=1)]
    centres, places = atoms @ crystal.cell, points @ crystal.cell
    square = (centres**2).sum(axis=1)
    at_once = max(1, (1 << 22) // max(len(centres), 1))
    for start in range(0, len(places), at_once):
        part = places[start : start + at_once]
        distance = (part**2).sum(axis=1)[:, None] + square - 2 * part @ centres.T
        found[start : start + at_once] = np.minimum(np.sqrt(np.maximum(distance.min(axis=1), 0)), _FARTHEST)
    return found


@dataclass(frozen=True)
class ApplicabilityDomain:
    """Ranges of the descriptors in the training set: name -> (lowest, highest); counts: atomic number -> materials."""

    ranges: Mapping[str, tuple[float, float]]
    counts: Mapping[int, int]

    @classmethod
    def fit(cls, values: np.ndarray, numbers: Sequence[np.ndarray]) -> ApplicabilityDomain:
        """values: (n, 4), descriptors of the training set. numbers: atomic numbers of each of its materials.

        The outermost half per cent at either end does not count, because a few odd structures are no precedent.
        """
        low, high = np.quantile(values, [0.005, 0.995], axis=0)
        ranges = {name: (float(low[k]), float(high[k])) for k, name in enumerate(DESCRIPTORS)}
        counts: dict[int, int] = {}
        for material in numbers:
            for z in np.unique(material).tolist():
                counts[z] = counts.get(z, 0) + 1
        return cls(ranges, counts)

    def remarks(self, crystal: Crystal, values: np.ndarray) -> tuple[str, ...]:
        """One line for each way in which a structure is unlike the training set."""
        found = []
        for number in np.unique(crystal.numbers).tolist():
            if self.counts.get(number, 0) < FEW:
                few = self.counts.get(number, 0)
                found.append(f"{SYMBOLS[number]} is in {few} of the materials that the model was trained on")
        for (name, (what, unit, factor)), value in zip(DESCRIPTORS.items(), values, strict=True):
            low, high = self.ranges[name]
            side = "low" if value < low / factor else "high" if value > high * factor else ""
            if side:
                end = f"{low:.3g}" if side == "low" else f"{high:.3g}"
                shown = f"{value:.3g} {unit}".strip()
                found.append(f"{what}: {shown}, {end} in the training set{_HINTS.get((name, side), '')}")
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        counts = {str(z): n for z, n in sorted(self.counts.items())}
        return {"ranges": {name: list(ends) for name, ends in self.ranges.items()}, "counts": counts}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> ApplicabilityDomain:
        ranges = {name: (float(content["ranges"][name][0]), float(content["ranges"][name][1])) for name in DESCRIPTORS}
        return cls(ranges, {int(z): int(n) for z, n in content["counts"].items()})
