"""Views: properties that a model predicts for every material of a store, kept in the store beside its columns.

    view/NAME/material_id           the rows; the same as the store's
    view/NAME/TARGET                predicted value, float32
    view/NAME/TARGET_std            its standard deviation: 90 % of true values lie within 1.645 of it
    view/NAME/TARGET_out_of_fold    1 where the material was in the training set: then the value comes from a learner
                                    that had not seen its formula
    view/NAME/unlike_training       1 where something about the density is unlike the training set

Attributes of the group and of every TARGET say which model it was and how it did on formulas that it had not seen.
`xarray.open_zarr(path, group="view/NAME")` reads a view without chgdb.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .catalog import Catalog, open_catalog
from .errors import StoreError
from .models import TARGETS, ModelError

if TYPE_CHECKING:
    import xarray

    from .models.ensemble import Ensemble, Predictions

#: The view of predicted properties, and the model it is made with unless another is named.
PROPERTIES = "properties"
DEFAULT_MODEL = "invariant"
_GROUP = "view"
_OUT_OF_FOLD, _STD = "_out_of_fold", "_std"


class StaleViewWarning(UserWarning):
    """The predictions in a store were made by another version of the model than the one that is installed."""


def models_folder() -> Path:
    """Folder of the property models that come with the embedded catalog, one subfolder a model."""
    import chgdb_catalog

    return Path(chgdb_catalog.path()).parent / "models" / "properties"


def load_model(name: str = DEFAULT_MODEL, folder: Path | None = None) -> Ensemble:
    """A trained property model.

    folder: of the models, instead of those of the embedded catalog.
    Raises `ModelError` for an unknown name or where there is no such model, `ChecksumError` where it is damaged,
    `MissingExtraError` where a package that it needs is not installed.
    """
    from . import models
    from .models.ensemble import Ensemble

    models.module_name(name)
    return Ensemble.load((folder or models_folder()) / name)


@dataclass(frozen=True, eq=False)
class View(Mapping[str, np.ndarray]):
    """Predictions for all rows of a catalog, read lazily; a mapping from array name to (n,) values.

    >>> view = chgdb.open().view("properties")                          # doctest: +SKIP
    >>> view["bulk_modulus"][0], view["bulk_modulus_std"][0]            # doctest: +SKIP
    """

    catalog: Catalog
    name: str
    folder: Path | None = None  # of the installed models, instead of those of the embedded catalog

    def __post_init__(self) -> None:
        if not self._names():
            raise StoreError(
                f"{self.catalog.path} has no view {self.name!r}: make it with chgdb build --predict, or "
                "chgdb.views.compute"
            )

    def __repr__(self) -> str:
        return f"<chgdb.View {self.name} of {self.catalog.path}: {', '.join(self.targets)} by {self.model}>"

    def _names(self) -> list[str]:
        return names(self.catalog, self.name)

    def __getitem__(self, key: str) -> np.ndarray:
        if key not in self._names():
            raise StoreError(f"the view {self.name} of {self.catalog.path} has no {key!r}; there are {', '.join(self)}")
        return self.catalog._consistent(lambda store: store.column(f"{_GROUP}/{self.name}/{key}"))

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())

    def attributes(self, key: str) -> dict[str, Any]:
        """Attributes of one array: units, long_name, model, scores."""
        return dict(self.catalog._store.arrays[f"{_GROUP}/{self.name}/{key}"].attributes)

    @property
    def targets(self) -> tuple[str, ...]:
        """The predicted properties."""
        present = set(self)
        return tuple(name for name in TARGETS if name in present)

    @property
    def model(self) -> str:
        """Identifier of the model that made the view."""
        return str(self.attributes(self.targets[0])["model"])

    @property
    def stale(self) -> str:
        """What is wrong with a view whose model is not the one that is installed now; "" where it is, or none is."""
        from .models import storage

        place = (self.folder or models_folder()) / self.model.rpartition("-")[0]
        try:
            installed = storage.read_description(place)["identifier"]
        except ModelError:
            return ""  # nothing to compare with: the values are still what their attributes say
        if installed == self.model:
            return ""
        return (
            f"the view {self.name} of {self.catalog.path} was made by the model {self.model}, but {installed} is "
            "installed: make it anew with chgdb.views.compute or chgdb build --predict"
        )

    def to_xarray(self) -> xarray.Dataset:
        """The view as a lazy `xarray.Dataset` along the dimension `material`, indexed by id."""
        import xarray

        store = self.catalog._store.files.zarr_store()
        dataset = xarray.open_zarr(store, group=f"{_GROUP}/{self.name}", consolidated=False)
        return dataset.set_index(material="material_id")


def names(catalog: Catalog, view: str = PROPERTIES) -> list[str]:
    """Names of the arrays of a view, none where the catalog does not have it."""
    prefix = f"{_GROUP}/{view}/"
    found = [name.removeprefix(prefix) for name in catalog._store.arrays if name.startswith(prefix)]
    return [name for name in found if name != "material_id"]


def view(catalog: Catalog, name: str = PROPERTIES, folder: Path | None = None) -> View:
    """A view of a catalog; warns with `StaleViewWarning` where its model is not the installed one.

    folder: of the installed models, the embedded catalog's unless given.
    Raises `StoreError` where the catalog has no such view.
    """
    found = View(catalog, name, folder)
    if found.stale:
        warnings.warn(found.stale, StaleViewWarning, stacklevel=3)
    return found


def compute(
    store: str | Path | None = None,
    *,
    model: str = DEFAULT_MODEL,
    folder: Path | None = None,
    cache: Path | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: bool | Callable[[int, int, str], None] = False,
) -> str:
    """Predict the properties of every material of a store and write them into it; returns the model's identifier.

    store: folder of the store, the embedded one unless given. model: a name of `chgdb.models.names()`. folder: of the
    trained models, the embedded catalog's unless given. cache, workers, scheduler: see `models.rows.from_catalog`.
    Readers see the store as it was until all of it is written. Raises `ModelError`, `StoreError`, `ChecksumError`,
    `MissingExtraError` as `load_model`.
    """
    from .models.rows import from_catalog

    ensemble = load_model(model, folder)
    catalog = open_catalog(store)
    rows = from_catalog(catalog, ensemble.inputs, cache=cache, workers=workers, scheduler=scheduler, progress=progress)
    write(Path(catalog.path), rows.ids, ensemble.predict(rows, out_of_fold=True), ensemble)
    return ensemble.identifier


def write(store: Path, ids: tuple[str, ...], predictions: Predictions, ensemble: Ensemble) -> None:
    """Put the view `properties` into a store, in the place of an older one.

    ids: of all rows of the store, in its order. Raises `StoreError` where they are not, or the store cannot be written.
    """
    from .store.journal import changing
    from .store.swap import beside, swap_in

    if not (store / "zarr.json").is_file():
        raise StoreError(f"{store}: views are written into a store in a folder, and there is none")
    with changing(store):
        if tuple(open_catalog(store).ids) != ids:
            raise StoreError(f"{store} has changed since its properties were predicted: predict them again")
        staging = beside(store, "staging")
        try:
            shutil.copytree(store, staging)
            _write_group(staging, ids, predictions, ensemble)
            swap_in(staging, store)
        except OSError as error:
            shutil.rmtree(staging, ignore_errors=True)
            if isinstance(error, StoreError):
                raise
            raise StoreError(f"{store}: {error.strerror or error}") from error


def _write_group(folder: Path, ids: tuple[str, ...], predictions: Predictions, ensemble: Ensemble) -> None:
    """Add the view's arrays to a store that nobody reads yet, and its checksums."""
    import zarr

    from .store.writer import CHECKSUMS, CHUNK_ROWS, HEAD, NAN, PARITY, seal, write_array

    place = f"{_GROUP}/{PROPERTIES}"
    shutil.rmtree(folder / place, ignore_errors=True)
    for name in (CHECKSUMS, HEAD, PARITY):  # not Zarr's, which warns of them; sealing makes them anew
        (folder / name).unlink(missing_ok=True)
    description = ensemble.description
    about = {
        "model": ensemble.identifier,
        "model_title": description["title"],
        "model_version": description["version"],
        "training_materials": sum(len(fold) for fold in ensemble.split["folds"]),
    }
    with zarr.config.set({"json_indent": None}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
        root = zarr.open_group(str(folder), mode="r+", use_consolidated=False)
        if _GROUP not in root:
            root.create_group(_GROUP)
        root.create_group(place, attributes={"title": "predicted properties", **about})

        def add(name: str, values: np.ndarray, missing: Any, attributes: Mapping[str, Any]) -> None:
            write_array(root, f"{place}/{name}", values, ["material"], missing, attributes, CHUNK_ROWS)

        add("material_id", np.array(ids, object), "", {"long_name": "material id"})
        for name in (n for n in TARGETS if n in ensemble.targets and TARGETS[n].served):
            target = TARGETS[name]
            units = {"units": target.units}
            scores = description.get("scores", {}).get(name, {})
            add(name, _rounded(predictions.mean[name]), NAN, units | {
                "long_name": f"predicted {target.label}", **about, "test_scores": scores,
            })  # fmt: skip
            add(name + _STD, _rounded(predictions.std[name]), NAN, units | {
                "long_name": f"standard deviation of the predicted {target.label}; 90 % lie within 1.645 of it",
            })  # fmt: skip
            add(name + _OUT_OF_FOLD, predictions.out_of_fold[name].astype(np.int8), 0, {
                "long_name": "1 where the material was in the training set, and the value is out of fold",
            })  # fmt: skip
        unlike = np.array([bool(remarks) for remarks in predictions.remarks], np.int8)
        add("unlike_training", unlike, 0, {"long_name": "1 where the density is unlike the training set"})
        zarr.consolidate_metadata(str(folder))
    seal(folder)


def _rounded(values: np.ndarray) -> np.ndarray:
    """float32 with 12 bits after the leading one: an error of 1e-4 at most, less than anything is known to."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + np.uint32(1 << 10)) & np.uint32(0xFFFFF800)).view(np.float32)
