"""Rows for models: inputs computed from densities or read from a catalog, and the labels of a catalog."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..atomic import replacing
from ..density import Crystal, Density
from ..errors import DensityError
from ..parallel.processes import run
from ..parallel.progress import reporting
from . import INPUTS, TARGETS, ModelError, Rows, cubes
from .elasticity import DALTON_PER_CUBIC_ANGSTROM

if TYPE_CHECKING:
    from ..catalog import Catalog

#: Gives the latent tensor of a density: (channel, z, y, x) float.
Encoder = Callable[[Density], np.ndarray]


def from_densities(
    ids: Sequence[str], densities: Sequence[Density], inputs: Iterable[str], encoder: Encoder | None = None
) -> Rows:
    """Rows of densities in memory.

    Parameters
    ----------
    ids : Sequence[str]
        Material ids.
    densities : Sequence[Density]
        The densities, one for each id.
    inputs : Iterable[str]
        Names of `chgdb.models.INPUTS`.
    encoder : Encoder | None
        Makes the latents; the catalog's default autoencoder unless given.

    Returns
    -------
    Rows

    Raises
    ------
    ModelError
        For an unknown input.
    MissingExtraError
        If latents are asked for without torch.
    """
    crystals = tuple(density.crystal for density in densities)
    values: dict[str, np.ndarray] = {}
    versions = _feature_versions(inputs)
    for name in dict.fromkeys(inputs):
        if name == "latent":
            encode = encoder or default_encoder()
            values[name] = np.stack([encode(density) for density in densities]).astype(np.float32)
            versions["latent"] = getattr(encode, "identifier", "")
        elif name in _OF_DENSITY:
            values[name] = np.stack([_of_density(name, density) for density in densities])
        else:
            values[name] = _of_crystals(name, crystals)
    return Rows(tuple(ids), crystals, values, versions)


def _feature_versions(inputs: Iterable[str]) -> dict[str, Any]:
    """Versions of the inputs that are made here. MAGPIE's features are a published definition, which does not
    change."""
    found: dict[str, Any] = {}
    if "cubes" in inputs:
        found["cubes"] = cubes.VERSION
    if {"density", "structure"} & set(inputs):
        from .. import features

        found["features"] = features.VERSION
    return found


def version_names(inputs: Iterable[str]) -> set[str]:
    """Keys of `Rows.versions` that say what made these inputs."""
    return {{"density": "features", "structure": "features"}.get(name, name) for name in inputs}


#: Inputs that are computed from the structure alone.
_OF_CRYSTAL = ("magpie", "structure")
#: Inputs that are computed from a density and kept in the cache.
_OF_DENSITY = ("density", "applicability", "cubes")


def _of_density(name: str, density: Density) -> np.ndarray:
    if name == "applicability":
        from .applicability import descriptors

        return descriptors(density)
    if name == "cubes":
        return cubes.cubes(density)
    from ..features import describe

    return np.asarray(describe(density), float)


def _version(name: str) -> str:
    """Changes whenever the same density would give other values."""
    if name == "applicability":
        from .applicability import DESCRIPTORS, VERSION

        return f"{VERSION}-{len(DESCRIPTORS)}"
    if name == "cubes":
        return f"{cubes.VERSION}-{cubes.COUNT}-{cubes.POINTS}-{cubes.SPACING:g}"
    from .. import features

    return f"{features.VERSION}-{sha256(chr(10).join(features.names()).encode()).hexdigest()[:8]}"


class LatentEncoder:
    """Latents of an autoencoder, the catalog's default unless a folder is given; `identifier` names it.

    Torch is needed for the published network alone. Raises `MissingExtraError` without it, `CodecError` where there is
    no such autoencoder.
    """

    def __init__(self, folder: Path | None = None) -> None:
        from ..latents.autoencoder import Autoencoder
        from ..latents.lapped import LappedEncoder

        self._model = LappedEncoder.load(folder) or Autoencoder.load(folder)
        self.identifier = self._model.identifier

    def __call__(self, density: Density) -> np.ndarray:
        return self._model.encode(density).astype(np.float32) * np.float32(self._model.step)


@lru_cache(maxsize=1)
def default_encoder() -> LatentEncoder:
    """The prior of the embedded catalog, loaded once."""
    return LatentEncoder()


def _of_crystals(name: str, crystals: Sequence[Crystal]) -> np.ndarray:
    """Inputs that need the structure alone."""
    from .. import features

    if name not in _OF_CRYSTAL:
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
    scheduler: str | None = None,
    progress: bool | Callable[[int, int, str], None] = False,
    skipped: dict[str, str] | None = None,
) -> Rows:
    """Rows of a catalog's materials. Latents come from the store.

    Parameters
    ----------
    catalog : Catalog
        The catalog that holds the materials.
    inputs : Iterable[str]
        Names of `chgdb.models.INPUTS`.
    ids : Sequence[str] | None
        Ids of the materials; all of the catalog unless given.
    cache : Path | None
        Folder in which features are kept between calls, by material, source checksum and version of the features.
    workers : int | None
        Number of processes that decode densities and compute features; the number of cores unless given.
    scheduler : str | None
        Address of a Dask scheduler whose workers do that instead, as in `building.build`.
    progress : bool | Callable[[int, int, str], None]
        True for a progress bar on standard error, or a callable (done, total, id).
    skipped : dict[str, str] | None
        Receives the materials that cannot be described, id -> reason. The rows are those of all others.

    Returns
    -------
    Rows

    Raises
    ------
    StoreError
        If latents are asked for and the store has none.
    ModelError
        If a density cannot be described and `skipped` is not given, or none can be described.
    """
    chosen = catalog.ids if ids is None else list(ids)
    wanted = tuple(dict.fromkeys(inputs))
    versions = _feature_versions(wanted)
    crystal_of = {i: catalog[i].crystal for i in chosen}
    left_out = {i: crystal.missing for i, crystal in crystal_of.items() if crystal.missing}
    of_density = [n for n in wanted if n in _OF_DENSITY]
    whole = [i for i in chosen if i not in left_out]
    values = _described(catalog, whole, of_density, cache, (workers, scheduler), progress, left_out)
    found = {i: crystal_of[i] for i in whole if i not in left_out}
    for name in (n for n in wanted if n in _OF_CRYSTAL):
        known = {}
        for i, crystal in found.items():
            try:
                known[i] = _of_crystals(name, [crystal])[0]
            except DensityError as error:
                left_out[i] = str(error)
        values[name] = known
    for i, reason in left_out.items():
        if skipped is None:
            raise ModelError(f"{i} in {catalog.path} cannot be described: {reason}")
        skipped[i] = reason
    chosen = [i for i in chosen if i not in left_out]
    if left_out and not chosen:
        raise ModelError(f"no material of {catalog.path} can be described: {next(iter(left_out.values()))}")
    crystals = tuple(found[i] for i in chosen)
    arrays: dict[str, np.ndarray] = {}
    for name in wanted:
        if name == "latent":
            arrays[name] = np.asarray(catalog.latents(chosen), np.float32)
            versions["latent"] = str(catalog.store.arrays["latent"].attributes.get("model", ""))
        elif name in values:
            arrays[name] = np.stack([values[name][i] for i in chosen])
        else:
            arrays[name] = _of_crystals(name, crystals)
    return Rows(tuple(chosen), crystals, arrays, versions)


def from_structures(
    ids: Sequence[str],
    crystals: Sequence[Crystal],
    inputs: Iterable[str],
    *,
    cache: Path | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: bool | Callable[[int, int, str], None] = False,
) -> Rows:
    """Rows of structures without a density, for models that say `PARTIAL`.

    inputs: names of `INPUTS`; of "density" what needs the structure alone is there and the rest NaN; what else needs a
    density is left out. cache: as of `from_catalog`, but by id and version alone: for one set of structures. workers,
    scheduler: as of `from_catalog`.
    """
    found: dict[str, np.ndarray] = {}
    crystals = tuple(crystals)
    for name in dict.fromkeys(inputs):
        if name == "density":
            from .. import features

            known = _structures(ids, crystals, cache, (workers, scheduler), progress)
            found[name] = np.full((len(crystals), len(features.names())), np.nan)
            found[name][:, : known.shape[1]] = known
        elif name not in ("latent", "cubes", "applicability"):
            found[name] = _of_crystals(name, crystals)
    return Rows(tuple(ids), crystals, found)


def _structures(
    ids: Sequence[str],
    crystals: Sequence[Crystal],
    cache: Path | None,
    where: tuple[int | None, str | None],
    progress: bool | Callable[[int, int, str], None],
) -> np.ndarray:
    """(n, features of the structure); features in the cache are read from it."""
    known = _read_cache(cache, "structure")
    crystal_of = dict(zip(ids, crystals, strict=True))
    missing = [i for i in ids if i not in known]
    with reporting(progress, "Structures", len(ids) - len(missing), len(ids)) as step:
        for outcome in run(_DescribeStructure(crystal_of), missing, *where):
            if outcome.result is None:
                raise ModelError(f"{outcome.task} cannot be described: {outcome.reason}")
            known[outcome.task] = outcome.result
            step(outcome.task)
    if cache is not None and missing:
        _write_cache(cache, "structure", known)
    return np.stack([known[i] for i in ids])


class _DescribeStructure:
    """id -> features of its structure; picklable."""

    def __init__(self, crystals: dict[str, Crystal]) -> None:
        self._crystals = crystals

    def __call__(self, material_id: str) -> np.ndarray:
        from .. import features

        return np.asarray(features.structure(self._crystals[material_id]), float)


class _Describe:
    """id -> inputs that are computed from its density; picklable, so that workers open the catalog themselves."""

    def __init__(self, catalog: Catalog, wanted: dict[str, list[str]]) -> None:
        self._catalog, self._wanted = catalog, wanted

    def __call__(self, material_id: str) -> dict[str, np.ndarray]:
        density = self._catalog[material_id].density
        return {name: _of_density(name, density) for name in self._wanted[material_id]}


def _described(
    catalog: Catalog,
    ids: Sequence[str],
    names: Sequence[str],
    cache: Path | None,
    where: tuple[int | None, str | None],
    progress: bool | Callable[[int, int, str], None],
    left_out: dict[str, str],
) -> dict[str, dict[str, np.ndarray]]:
    """Input -> id -> values, computed from densities, those in the cache read from it; written to it now and then.

    left_out: gets the materials that cannot be described, id -> reason.
    """
    row_of = {material_id: row for row, material_id in enumerate(catalog.ids)}
    source, tolerance = catalog.column("source_crc32c"), catalog.column("tolerance")
    key_of = {i: f"{i} {source[row_of[i]]} {tolerance[row_of[i]]:g}" for i in ids}
    known = {name: _read_cache(cache, name) for name in names}
    lacking = {i: [name for name in names if key_of[i] not in known[name]] for i in ids}
    missing = {i: lack for i, lack in lacking.items() if lack}
    with reporting(progress, "Features", len(ids) - len(missing), len(ids)) as step:
        for count, outcome in enumerate(run(_Describe(catalog, missing), list(missing), *where), 1):
            if outcome.result is None:
                left_out[outcome.task] = outcome.reason
            for name, values in (outcome.result or {}).items():
                known[name][key_of[outcome.task]] = values
            if cache is not None and (count % 500 == 0 or count == len(missing)):
                for name in {name for lack in missing.values() for name in lack}:
                    _write_cache(cache, name, known[name])
            step(outcome.task)
    return {name: {i: known[name][key_of[i]] for i in ids if i not in left_out} for name in names}


def _read_cache(cache: Path | None, name: str) -> dict[str, np.ndarray]:
    path = None if cache is None else cache / f"{name}-{_version(name)}.npz"
    if path is None or not path.exists():
        return {}
    with np.load(path, allow_pickle=False) as file:
        return dict(zip(file["keys"].tolist(), file["values"], strict=True))


def _write_cache(cache: Path, name: str, known: dict[str, np.ndarray]) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    with replacing(cache / f"{name}-{_version(name)}.npz") as file:
        np.savez_compressed(file, keys=np.array(list(known)), values=np.stack(list(known.values())))


def labels(catalog: Catalog, rows: Rows) -> dict[str, np.ndarray]:
    """Labels of rows.

    They are of every target of `TARGETS` for which the catalog has a column; `mass_density` is computed from the
    structure. A value that a `log` target cannot have (zero, negative) is not a label.

    Parameters
    ----------
    catalog : Catalog
        Catalog of the rows.
    rows : Rows
        The materials.

    Returns
    -------
    dict[str, np.ndarray]
        Target -> (n,) float64 in its unit; NaN where there is no label, or it must not be used.
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

    mean = features.MAGPIE_NAMES.index("MagpieData mean AtomicWeight")
    masses = [features.magpie(crystal)[mean] * len(crystal) for crystal in crystals]
    return np.array(masses) * DALTON_PER_CUBIC_ANGSTROM / np.array([crystal.volume for crystal in crystals])
