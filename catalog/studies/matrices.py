"""PAW density matrices of a structure, learned from those of computed ones.

A matrix has a block for each pair of partial waves; a block is a sum of parts that turn as the spherical harmonics of
one L. Each part is a sum of what a density model's first member knows of the atom and turns likewise, with factors that
are fitted element by element (ridge regression; its strength by leaving atoms out one by one). Parts with odd
l1 + l2 + L, which mirror planes forbid, are left at zero.
"""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np

from chgdb.catalog import Catalog
from chgdb.densities import inference
from chgdb.densities.harmonics import BLOCKS, L_MAX, quadrature, spherical_harmonics
from chgdb.densities.model import DensityModel
from chgdb.density import Crystal
from chgdb.elements import SYMBOLS

WAVES = Path(__file__).resolve().parents[1] / "gpaw" / "partial_waves.py"
_FEWEST = 8  # atoms of an element
_STRENGTHS = 10.0 ** np.arange(-3, 6)  # of the ridge, times the mean square of a feature


@dataclass(frozen=True, eq=False)
class Element:
    """What is learned of an element. degrees: l of its partial waves.

    means: (i, j) -> the mean of the part L = 0 of that block; centre: (channels,) of the features of L = 0 that it
    belongs to. factors: (i, j, L) -> (channels,).
    """

    degrees: tuple[int, ...]
    means: Mapping[tuple[int, int], float]
    centre: np.ndarray
    factors: Mapping[tuple[int, int, int], np.ndarray]


def partial_waves(symbols: Iterable[str], python: str) -> dict[int, tuple[int, ...]]:
    """Atomic number -> l of the partial waves of GPAW's setup. python: an interpreter with GPAW."""
    done = subprocess.run([python, WAVES, *symbols], capture_output=True, text=True, check=True)
    return {SYMBOLS.index(s): tuple(found["degrees"]) for s, found in json.loads(done.stdout).items()}


def stored(catalog: Catalog) -> Iterator[tuple[Crystal, list[np.ndarray]]]:
    """Crystals of a store of drawn structures and the packed matrices of their atoms, summed over spins."""
    for material_id in catalog.ids:
        record = catalog[material_id]
        if text := record.metadata.get("density_matrices"):
            packed = [np.frombuffer(base64.b64decode(t), "<f4").astype(float) for t in json.loads(text)]
            yield record.crystal, packed


def unpacked(packed: np.ndarray) -> np.ndarray:
    """GPAW's packed matrix, (n (n + 1) / 2,) with elements off the diagonal twice, as (n, n)."""
    count = round((np.sqrt(8 * len(packed) + 1) - 1) / 2)
    half = np.zeros((count, count))
    half[np.triu_indices(count)] = packed
    return (half + half.T) / 2


def packed(matrix: np.ndarray) -> np.ndarray:
    """The inverse of `unpacked`."""
    rows, columns = np.triu_indices(len(matrix))
    return matrix[rows, columns] * np.where(rows == columns, 1, 2)


@lru_cache(maxsize=64)
def coupling(first: int, second: int, total: int) -> np.ndarray:
    """Integrals of three real spherical harmonics, (2 first + 1, 2 second + 1, 2 total + 1); of norm 1 for each M."""
    points, weights = quadrature(8, 16)  # exact to l = 15
    harmonics = spherical_harmonics(points)
    left, right, both = (harmonics[:, BLOCKS[ell]] for ell in (first, second, total))
    found = np.einsum("p,pa,pb,pm->abm", weights, left, right, both)
    return found / np.sqrt((found[..., 0] ** 2).sum())


def _parts(degrees: Sequence[int]) -> Iterator[tuple[int, int, slice, slice, int]]:
    """(i, j, rows, columns, L) of each part of a matrix of some partial waves, i <= j."""
    ends = np.cumsum([0, *(2 * ell + 1 for ell in degrees)]).tolist()
    of = [slice(a, b) for a, b in pairwise(ends)]
    for i, first in enumerate(degrees):
        for j, second in enumerate(degrees[i:], i):
            for total in range(abs(first - second), min(first + second, L_MAX) + 1, 2):
                yield i, j, of[i], of[j], total


def fit(
    model: DensityModel,
    computed: Iterable[tuple[Crystal, Sequence[np.ndarray]]],
    degrees: Mapping[int, Sequence[int]],
) -> dict[int, Element]:
    """What is learned of each element that has at least eight atoms, from crystals and the packed matrices of their
    atoms. degrees: atomic number -> l of the partial waves."""
    features: dict[int, list[list[np.ndarray]]] = {}
    matrices: dict[int, list[np.ndarray]] = {}
    for crystal, of_atoms in computed:
        if not np.isin(crystal.numbers, model.known).all():
            continue
        own = _features(model, crystal)
        for atom, number in enumerate(crystal.numbers.tolist()):
            if number in degrees:
                features.setdefault(number, []).append([f[atom] for f in own])
                matrices.setdefault(number, []).append(unpacked(of_atoms[atom]))
    return {
        number: _fit_element(tuple(degrees[number]), features[number], np.array(matrices[number]))
        for number in sorted(features)
        if len(features[number]) >= _FEWEST
    }


def _features(model: DensityModel, crystal: Crystal) -> list[np.ndarray]:
    member = model.members[0]
    elements = np.searchsorted(model.known, crystal.numbers)
    return inference.features(member.precise, member.configuration, elements, model.graph(crystal))


def _fit_element(degrees: tuple[int, ...], features: list[list[np.ndarray]], matrices: np.ndarray) -> Element:
    wanted: dict[int, dict[tuple[int, int], np.ndarray]] = {}
    for i, j, rows, columns, total in _parts(degrees):
        part = np.einsum("kab,abm->km", matrices[:, rows, columns], coupling(degrees[i], degrees[j], total))
        wanted.setdefault(total, {})[i, j] = part
    means: dict[tuple[int, int], float] = {}
    factors: dict[tuple[int, int, int], np.ndarray] = {}
    centre = np.zeros(0)
    for total, parts in wanted.items():
        known = np.array([f[total] for f in features])  # (atoms, channels, 2 L + 1)
        if total == 0:
            centre = known.mean(axis=0)[:, 0]
            known = known - centre[:, None]
            means = {pair: float(part.mean()) for pair, part in parts.items()}
            parts = {pair: part - means[pair] for pair, part in parts.items()}
        found = _ridge(known.transpose(0, 2, 1), np.array(list(parts.values())))
        factors |= {(*pair, total): row for pair, row in zip(parts, found, strict=True)}
    return Element(degrees, means, centre, factors)


def _ridge(known: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Factors (targets, channels) of features (atoms, 2 L + 1, channels) for targets (targets, atoms, 2 L + 1).

    Atoms are left out whole: the rows of one atom are its components.
    """
    atoms, components, channels = known.shape
    rows = known.reshape(-1, channels)
    values, vectors = np.linalg.eigh(rows.T @ rows)
    values = np.maximum(values, 0.0)
    turned = rows @ vectors
    right = turned.T @ wanted.reshape(len(wanted), -1).T  # (channels, targets)
    scale = max(values.sum() / max(len(rows), 1), 1e-300)
    found, least = np.zeros((len(wanted), channels)), np.full(len(wanted), np.inf)
    blocks = turned.reshape(atoms, components, channels)
    for strength in _STRENGTHS * scale:
        shrunk = 1 / (values + strength)
        factors = shrunk[:, None] * right
        left = wanted - (turned @ factors).T.reshape(wanted.shape)
        own = np.eye(components) - (blocks * shrunk) @ blocks.transpose(0, 2, 1)
        out = np.linalg.solve(own, left.transpose(1, 2, 0))  # residuals of atoms that were left out
        error = (out**2).mean(axis=(0, 1))
        better = error < least
        least[better], found[better] = error[better], (vectors @ factors).T[better]
    return found


def guess_matrices(model: DensityModel, learned: Mapping[int, Element], crystal: Crystal) -> list[np.ndarray | None]:
    """Packed matrices of the atoms of a crystal; None where nothing is known of the element."""
    features = _features(model, crystal)
    return [
        packed(_matrix(learned[number], [f[atom] for f in features])) if number in learned else None
        for atom, number in enumerate(crystal.numbers.tolist())
    ]


def _matrix(element: Element, features: Sequence[np.ndarray]) -> np.ndarray:
    degrees = element.degrees
    count = sum(2 * ell + 1 for ell in degrees)
    found = np.zeros((count, count))
    for i, j, rows, columns, total in _parts(degrees):
        own = features[total] if total else features[0] - element.centre[:, None]
        part = element.factors[i, j, total] @ own + (0.0 if total else element.means[i, j])
        block = coupling(degrees[i], degrees[j], total) @ part
        found[rows, columns] += block
        if i != j:
            found[columns, rows] += block.T
    return found
