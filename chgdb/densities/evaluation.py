"""Errors of estimates against computed densities."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..catalog import Catalog, open_catalog
from ..errors import ChgdbError
from ..parallel.processes import run
from ..parallel.progress import reporting
from ..promolecule import superposition
from .guess import guess
from .model import DensityModel, load

_AT_ONCE = 16


@dataclass(frozen=True)
class Result:
    """The errors of one material.

    nmae: of the estimate. superposition: of the model's atoms alone. error, limit, spread, size, remarks: as in
    `guess.Guess`. electrons: of the cell. moments: of the cell, estimated and true, in Bohr magnetons; 0 for densities.
    Of a magnetisation, nmae is the mean absolute error in parts of the mean density, and superposition is that of no
    magnetisation at all.
    """

    material_id: str
    formula: str
    nmae: float
    superposition: float
    error: float
    limit: float
    spread: float
    size: float
    remarks: tuple[str, ...]
    electrons: float = 0.0
    moments: tuple[float, float] = (0.0, 0.0)


def evaluate(
    model: DensityModel | str | os.PathLike[str],
    catalog: Catalog,
    ids: Sequence[str],
    *,
    workers: int | None = 1,
    progress: bool | Callable[[int, int, str], None] = False,
) -> list[Result]:
    """Errors of a model on materials of a catalog, on the grid of each material, in the order of the ids.

    model: the path of one, where there are several workers. Raises `ChgdbError` for a material that cannot be decoded.
    """
    chunks = [list(ids[start : start + _AT_ONCE]) for start in range(0, len(ids), _AT_ONCE)]
    found: dict[str, Result] = {}
    with reporting(progress, "comparing densities", 0, len(chunks)) as done:
        for outcome in run(partial(_compare, model, catalog.path), chunks, workers):
            if outcome.result is None:
                raise ChgdbError(f"{outcome.task[0]} and those after it: {outcome.reason}")
            found |= {result.material_id: result for result in outcome.result}
            done(outcome.task[0])
    return [found[material_id] for material_id in ids]


def _compare(model: DensityModel | str | os.PathLike[str], path: str, ids: Sequence[str]) -> list[Result]:
    chosen, catalog = model if isinstance(model, DensityModel) else load(model), open_catalog(path)
    return [_result(chosen, catalog, material_id) for material_id in ids]


def _result(model: DensityModel, catalog: Catalog, material_id: str) -> Result:
    density = catalog[material_id].density
    found = guess(model, density.crystal, density.grid)
    scale = float(np.abs(density.total).sum())
    if model.channel == "total":
        true, moments = density.total, (0.0, 0.0)
        atoms = superposition(model.prior, density.crystal, density.grid) + density.total.mean()
    else:
        true = density.channels[model.channel]
        true = true if true.sum() >= 0 else -true
        atoms, volume = np.zeros(density.grid), density.crystal.volume
        moments = (float(found.total.mean()) * volume, float(true.mean()) * volume)
    errors = [float(np.abs(true - other).sum()) / scale for other in (found.total, atoms)]
    return Result(
        material_id, density.crystal.formula, errors[0], errors[1], found.error, found.limit, found.spread, found.size,
        found.remarks, density.n_electrons, moments,
    )  # fmt: skip


def usable(model: DensityModel, catalog: Catalog, ids: Sequence[str]) -> Iterator[str]:
    """Ids of materials whose elements the model knows."""
    for material_id in ids:
        if np.isin(catalog[material_id].crystal.numbers, model.known).all():
            yield material_id
