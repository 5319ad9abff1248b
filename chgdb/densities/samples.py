"""The samples that the difference model trains on: the catalog's densities less the superposition of atoms.

A difference is kept as its Fourier coefficients, one for each orbit of the space group, within |G| / 2 pi < `CUT`.
The form factors of the superposition are fitted to the training part alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from .. import symmetry
from ..catalog import Catalog, open_catalog
from ..density import Crystal, Density
from ..errors import ChgdbError
from ..parallel.processes import run
from ..parallel.progress import reporting
from ..promolecule import COEFFICIENTS, Equations, Prior
from ..samples import parts
from .graph import Graph, graph
from .guess import guess
from .model import DensityModel

#: 1/Å, |G| / 2 pi.
CUT = 2.5
_AT_ONCE = 32  # records in a task


@dataclass(frozen=True, eq=False)
class Spectrum:
    """A density's Fourier coefficients within the sphere, one for each orbit.

    h: (n, 3) Miller indices of representatives. values: (n,) complex, e/Å^3. multiplicity: (n,) vectors of the orbit.
    members: (m, 3) Miller indices of one half of the sphere. orbit: (m,) their orbits. factor, conjugate: (m,) as in
        `symmetry.Orbits`.
    mean: of the total density, e/Å^3. electrons: of the cell. grid: the density's own.
    For a magnetisation G = 0 is one of the vectors, the last one.
    """

    h: np.ndarray
    values: np.ndarray
    multiplicity: np.ndarray
    members: np.ndarray
    orbit: np.ndarray
    factor: np.ndarray
    conjugate: np.ndarray
    mean: float
    electrons: float
    grid: tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Sample:
    """One material. spectrum: of the density. superposition: (n,) of the atoms, at the same vectors."""

    material_id: str
    formula: str
    part: str
    crystal: Crystal
    graph: Graph
    spectrum: Spectrum
    superposition: np.ndarray


def spectrum(density: Density, group: symmetry.SpaceGroup, cut: float = CUT, channel: str = "total") -> Spectrum:
    """The coefficients of a channel within |G| / 2 pi < `cut` (1/Å). group: the space group of the crystal.

    A magnetisation gets the sign with which the moment of the cell is not negative: a calculation without spin-orbit
    coupling decides the spins only up to a common sign.
    """
    metric = symmetry.integer_metric(density.crystal.cell)
    orbits = symmetry.orbits(density.grid, metric, int(cut * cut * symmetry.METRIC_UNITS), group)
    grid = density.channels[channel]
    half = np.fft.rfftn(grid) / grid.size
    members = orbits.members
    back = members[:, 2] < 0
    h = np.where(back[:, None], -members, members)
    found = half[h[:, 0], h[:, 1], h[:, 2]]
    found[back] = found[back].conj()
    result = Spectrum(
        h=orbits.representatives.astype(np.int16),
        values=orbits.fold(found).astype(np.complex64),
        multiplicity=orbits.multiplicity.astype(np.float32),
        members=members.astype(np.int16),
        orbit=orbits.orbit.astype(np.int32),
        factor=orbits.factor.astype(np.complex64),
        conjugate=orbits.conjugate,
        mean=density.n_electrons / density.crystal.volume,
        electrons=density.n_electrons,
        grid=density.grid,
    )
    return result if channel == "total" else _with_mean(result, float(half[0, 0, 0].real))


def _with_mean(found: Spectrum, mean: float) -> Spectrum:
    """The coefficients and that of G = 0, all with the sign that makes the latter positive."""
    sign = -1.0 if mean < 0 else 1.0
    origin = np.zeros((1, 3), np.int16)
    return replace(
        found,
        h=np.concatenate([found.h, origin]),
        values=np.append(sign * found.values, np.complex64(sign * mean)),
        multiplicity=np.append(found.multiplicity, np.float32(1)),
        members=np.concatenate([found.members, origin]),
        orbit=np.append(found.orbit, np.int32(len(found.h))),
        factor=np.append(found.factor, np.complex64(1)),
        conjugate=np.append(found.conjugate, False),
    )


def superpose(prior: Prior, crystal: Crystal, h: np.ndarray) -> np.ndarray:
    """Fourier coefficients of the superposition of atoms at Miller indices, (n, 3) -> (n,) complex128, in e/Å^3."""
    s = np.linalg.norm(h @ np.linalg.inv(crystal.cell).T, axis=1)
    total = np.zeros(len(h), complex)
    for number in np.unique(crystal.numbers):
        phases = np.exp(-2j * np.pi * (h @ crystal.positions[crystal.numbers == number].T))
        total += phases.sum(axis=1) * prior.form_factor(int(number), s)
    return total / crystal.volume


def load(
    catalogs: Sequence[Catalog],
    workers: int | None = None,
    progress: bool | Callable[[int, int, str], None] = False,
    start: DensityModel | None = None,
    channel: str = "total",
) -> tuple[list[Sample], Prior]:
    """(samples of all parts, form factors), in the order of the catalogs.

    channel: `magnetization` for the magnetisations of the densities that have one; its form factors are zero.

    The form factors are fitted to the training part. With a model to start from, they are fitted to what its guesses
    leave of the training part, and added to the model's. A material with an element that the training part lacks has no
    superposition and is left out. Raises `ChgdbError` for a record that cannot be decoded.
    """
    tasks: list[tuple[int, str, Sequence[str]]] = []
    order: list[tuple[int, str]] = []
    of: dict[tuple[int, str], str] = {}
    for number, catalog in enumerate(catalogs):
        ids = catalog.ids
        of |= {(number, i): part for i, part in zip(ids, parts(catalog).tolist(), strict=True)}
        order += [(number, i) for i in ids]
        for first in range(0, len(ids), _AT_ONCE):
            tasks.append((number, catalog.path, ids[first : first + _AT_ONCE]))
    training = frozenset(key for key, part in of.items() if part == "train")
    read: dict[tuple[int, str], tuple[Crystal, Graph, Spectrum]] = {}
    equations = Equations()
    with reporting(progress, "reading densities", 0, len(tasks)) as done:
        for outcome in run(partial(_read, training, start, channel), tasks, workers):
            if outcome.result is None:
                raise ChgdbError(f"{outcome.task[2][0]} and those after it: {outcome.reason}")
            found, part = outcome.result
            read.update(found)
            _add(equations, part)
            done(outcome.task[2][0])
    if channel != "total":
        fitted = nothing(sorted({int(z) for crystal, _, _ in read.values() for z in crystal.numbers}))
    else:
        fitted = equations.solve() if start is None else sum_of(start.prior, equations.solve())
    samples = []
    for key in [key for key in order if key in read]:
        crystal, edges, values = read.pop(key)
        if fitted.covers(crystal):
            atoms = superpose(fitted, crystal, values.h).astype(np.complex64)
            samples.append(Sample(key[1], crystal.formula, of[key], crystal, edges, values, atoms))
    return samples, fitted


def nothing(numbers: Sequence[int]) -> Prior:
    """Form factors of atoms without a density, for channels that have no superposition."""
    return Prior(np.array(numbers, np.int64), np.zeros((len(numbers), COEFFICIENTS)))


def sum_of(prior: Prior, change: Prior) -> Prior:
    """Form factors plus a change that covers some of their elements."""
    coefficients = prior.coefficients.copy()
    coefficients[np.searchsorted(prior.numbers, change.numbers)] += change.coefficients
    return Prior(prior.numbers, coefficients)


def _read(
    training: frozenset[tuple[int, str]],
    start: DensityModel | None,
    channel: str,
    task: tuple[int, str, Sequence[str]],
) -> tuple[dict[tuple[int, str], tuple[Crystal, Graph, Spectrum]], Equations]:
    number, path, ids = task
    catalog = open_catalog(path)
    found, equations = {}, Equations()
    for material_id in ids:
        record = catalog[material_id]
        if channel not in record.channels:
            continue
        density = record.density
        group = symmetry.find(density.crystal)
        values = spectrum(density, group, channel=channel)
        found[number, material_id] = density.crystal, graph(density.crystal, group), values
        if (
            channel == "total"
            and (number, material_id) in training
            and (start is None or start.prior.covers(density.crystal))
        ):
            if start is not None:
                density = beyond(density, guess(start, density.crystal, density.grid).total)
            equations.add(density, None)
    return found, equations


def beyond(density: Density, guess: np.ndarray) -> Density:
    """A density less a guess, with the density's mean, which is its weight in a fit of form factors."""
    left = density.total - guess
    return Density(density.crystal, {"total": left + (density.total.mean() - left.mean())})


def _add(total: Equations, part: Equations) -> None:
    for pair, block in part.blocks.items():
        total.blocks[pair] = total.blocks.get(pair, 0) + block
    for number, vector in part.right.items():
        total.right[number] = total.right.get(number, 0) + vector
