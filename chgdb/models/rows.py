"""Rows for models: inputs computed from densities or read from a catalog, and the labels of a catalog."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..density import Crystal, Density
from ..work import reporting, run
from . import INPUTS, TARGETS, ModelError, Rows
from .elasticity import DALTON_PER_CUBIC_ANGSTROM

if TYPE_CHECKING:
    from ..catalog import Catalog

#: Gives the latent tensor of a density: (channel, z, y, x) float.
Encoder = Callable[[Density], np.ndarray]


def from_densities(
    ids: Sequence[str], densities: Sequence[Density], inputs: Iterable[str], encoder: Encoder | None = None
) -> Rows:
    """Rows of densities in memory.

    inputs: names of `INPUTS`. encoder: makes the latents; the catalog's default autoencoder unless given.
    Raises `ModelError` for an unknown input, `MissingExtraError` where latents are asked for without torch.
    """
    crystals = tuple(density.crystal for density in densities)
    values = {}
    for name in dict.fromkeys(inputs):
        if name == "latent":
            encode = encoder or default_encoder()
            values[name] = np.stack([encode(density) for density in densities]).astype(np.float32)
        elif name == "density":
            from ..features import describe

            values[name] = np.stack([describe(density) for density in densities])
        else:
            values[name] = _of_crystals(name, crystals)
    return Rows(tuple(ids), crystals, values)


def default_encoder() -> Encoder:
    """Latents of the catalog's default autoencoder. Raises `MissingExtraError` without torch."""
    from ..codecs.autoencoder import Autoencoder

    model = Autoencoder.load(None)
    return lambda density: model.encode(density).astype(np.float32) * np.float32(model.scale)


def _of_crystals(name: str, crystals: Sequence[Crystal]) -> np.ndarray:
    """Inputs that need the structure alone."""
    from .. import features

    if name not in ("magpie", "structure"):
        raise ModelError(f"there is no model input {name!r}; there are {', '.join(INPUTS)}")
    function = features.magpie if name == "magpie" else features.structure
    return np.stack([np.asarray(function(crystal), float) for crystal in crystals])


def from_catalog(
    catalog: Catalog,
    inputs: Iterable[str],
    *,
    ids: Sequence[str] | None = None,
    cache: Path | None = None,
    workers: int | None = None,
    progress: bool | Callable[[int, int, str], None] = False,
) -> Rows:
    """Rows of a catalog's materials, all of them unless `ids` are given; latents come from the store.

    cache: folder in which features are kept between calls, by material, source checksum and version of the features.
    workers: processes that decode densities and compute features; as many as there are cores unless given.
    Raises `StoreError` where latents are asked for and the store has none, `ModelError` where a density cannot be
    described.
    """
    chosen = catalog.ids if ids is None else list(ids)
    crystals = tuple(catalog[material_id].crystal for material_id in chosen)
    values: dict[str, np.ndarray] = {}
    for name in dict.fromkeys(inputs):
        if name == "latent":
            values[name] = np.asarray(catalog.latents(chosen), np.float32)  # type: ignore[attr-defined,unused-ignore]
        elif name == "density":
            values[name] = _described(catalog, chosen, cache, workers, progress)
        else:
            values[name] = _of_crystals(name, crystals)
    return Rows(tuple(chosen), crystals, values)


class _Describe:
    """id -> features of its density; picklable, so that workers open the catalog themselves."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def __call__(self, material_id: str) -> np.ndarray:
        from ..features import describe

        return np.asarray(describe(self._catalog[material_id].density), float)


def _described(
    catalog: Catalog,
    ids: Sequence[str],
    cache: Path | None,
    workers: int | None,
    progress: bool | Callable[[int, int, str], None],
) -> np.ndarray:
    """(n, features) of the densities of a catalog, those in the cache read from it."""
    keys = _cache_keys(catalog, ids)
    known = _read_cache(cache)
    missing = [material_id for material_id, key in zip(ids, keys, strict=True) if key not in known]
    key_of = dict(zip(ids, keys, strict=True))
    with reporting(progress, "Features", len(ids) - len(missing), len(ids)) as step:
        for outcome in run(_Describe(catalog), missing, workers):
            if outcome.result is None:
                raise ModelError(f"{outcome.task} in {catalog.path} cannot be described: {outcome.reason}")
            known[key_of[outcome.task]] = outcome.result
            step(outcome.task)
    if missing and cache is not None:
        _write_cache(cache, known)
    return np.stack([known[key] for key in keys])


def _cache_keys(catalog: Catalog, ids: Sequence[str]) -> list[str]:
    from .. import features

    row_of = {material_id: row for row, material_id in enumerate(catalog.ids)}
    source, tolerance = catalog.column("source_crc32c"), catalog.column("tolerance")
    version = sha256("\n".join(features.names()).encode()).hexdigest()[:8]
    return [
        f"{material_id} {source[row_of[material_id]]} {tolerance[row_of[material_id]]} {features.VERSION} {version}"
        for material_id in ids
    ]


def _read_cache(cache: Path | None) -> dict[str, np.ndarray]:
    if cache is None or not (cache / "features.npz").exists():
        return {}
    with np.load(cache / "features.npz", allow_pickle=False) as file:
        return dict(zip(file["keys"].tolist(), file["values"], strict=True))


def _write_cache(cache: Path, known: dict[str, np.ndarray]) -> None:
    """All features of one length: another length is of another version of them."""
    cache.mkdir(parents=True, exist_ok=True)
    length = len(next(reversed(known.values())))
    kept = {key: values for key, values in known.items() if len(values) == length}
    fresh = cache / "features.tmp.npz"
    np.savez_compressed(fresh, keys=np.array(list(kept)), values=np.stack(list(kept.values())))
    os.replace(fresh, cache / "features.npz")


def labels(catalog: Catalog, rows: Rows) -> dict[str, np.ndarray]:
    """Target -> (n,) float64 in its unit, NaN where there is no label or it must not be used.

    Every target of `TARGETS` for which the catalog has a column; `mass_density` is computed from the structure.
    A value that a `log` target cannot have (zero, negative) is no label.
    """
    row_of = {material_id: row for row, material_id in enumerate(catalog.ids)}
    chosen = [row_of[material_id] for material_id in rows.ids]
    source = catalog.column("structure_source")[chosen]
    found = {}
    for name, target in TARGETS.items():
        if name == "mass_density":
            values = mass_density(rows.crystals)
        elif name in catalog.columns:
            values = np.array(catalog.column(name)[chosen], float)
            if target.fallback in catalog.columns:
                other = np.array(catalog.column(target.fallback)[chosen], float)
                values = np.where(np.isfinite(values), values, other)
        else:
            continue
        excluded = np.isin(source.astype(str), list(target.excluded_sources))
        possible = np.isfinite(values) & ((values > 0) | (not target.log)) & ~excluded
        found[name] = np.where(possible, values, np.nan)
    return found


def mass_density(crystals: Sequence[Crystal]) -> np.ndarray:
    """(n,) g/cm^3."""
    from .. import features

    masses = [features.ATOMIC_MASS[crystal.numbers].sum() for crystal in crystals]
    return np.array(masses) * DALTON_PER_CUBIC_ANGSTROM / np.array([crystal.volume for crystal in crystals])
