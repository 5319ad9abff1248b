"""Views, written: properties that a model predicts for every material of a store, kept in the store beside its columns.

`predicted` reads them, and says what they hold.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .catalog import open_catalog
from .errors import StoreError
from .moved import renamed
from .predicted import GROUP, HALF, OUT_OF_FOLD, PROPERTIES, STD, StaleViewWarning, View, names, view
from .prediction import DEFAULT_MODEL, load_model
from .store.format import PARITY
from .store.reader import Store
from .targets import TARGETS

if TYPE_CHECKING:
    from .models.ensemble import Ensemble, Predictions

__all__ = [
    "DEFAULT_MODEL",
    "PROPERTIES",
    "StaleViewWarning",
    "View",
    "add_predictions",
    "load_model",
    "names",
    "view",
    "write",
]


def __getattr__(name: str) -> Any:
    if name == "compute":
        return renamed(__name__, name, "add_predictions")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class NotPredictedWarning(UserWarning):
    """A material has nothing that can be predicted; the others of its store get their predictions."""


def add_predictions(
    store: str | Path | None = None,
    *,
    model: str = DEFAULT_MODEL,
    folder: Path | None = None,
    cache: Path | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: bool | Callable[[int, int, str], None] = False,
) -> str:
    """Predict the properties of every material of a store, and add the predictions to it as a view.

    Readers see the old version of the store until the new one is complete. Materials that cannot be described (no
    atoms, ghost atoms) get no values, and a `NotPredictedWarning` says why.

    Parameters
    ----------
    store : str | Path | None
        Folder of the store; the embedded one unless given.
    model : str
        A name of `chgdb.models.names()`.
    folder : Path | None
        Folder of the trained models; the embedded catalog's unless given.
    cache, workers, scheduler
        See `models.rows.from_catalog`.
    progress : bool | Callable[[int, int, str], None]
        True for a progress bar on standard error, or a callable (done, total, id).

    Returns
    -------
    str
        Identifier of the model.

    Raises
    ------
    ModelError, StoreError, ChecksumError, MissingExtraError
        As for `load_model`.
    """
    from .models.rows import from_catalog

    ensemble = load_model(model, folder)
    catalog = open_catalog(store)
    before = catalog.store.token
    skipped: dict[str, str] = {}
    rows = from_catalog(
        catalog,
        ensemble.inputs,
        cache=cache,
        workers=workers,
        scheduler=scheduler,
        progress=progress,
        skipped=skipped,
    )
    ids = tuple(catalog.ids)
    found = _for_all(ids, rows.ids, ensemble.predict(rows, out_of_fold=True, finite=False), skipped)
    write(Path(catalog.path), ids, found, ensemble, before)
    for material_id, reason in skipped.items():
        warnings.warn(f"{material_id}: nothing is predicted: {reason}", NotPredictedWarning, stacklevel=2)
    return ensemble.identifier


def _for_all(
    ids: tuple[str, ...], predicted: tuple[str, ...], found: Predictions, skipped: dict[str, str]
) -> Predictions:
    """Predictions of some materials as a table of all. The others have no values, and neither have those for which the
    model gives a number that is not finite; `skipped` names these."""
    row_of = {material_id: row for row, material_id in enumerate(ids)}
    place = np.array([row_of[i] for i in predicted], np.intp)
    sound = np.all([np.isfinite(v) for part in (found.mean, found.std) for v in part.values()], axis=0)
    for material_id in np.array(predicted, object)[~sound]:
        skipped[material_id] = "the model gives no finite number for it"

    def spread(values: np.ndarray, missing: float) -> np.ndarray:
        whole = np.full(len(ids), missing, np.asarray(values).dtype)
        whole[place] = np.where(sound, values, missing)
        return whole

    remarks: list[tuple[str, ...]] = [("nothing could be predicted",)] * len(ids)
    for row, own, good in zip(place, found.remarks, sound, strict=True):
        if good:
            remarks[row] = own
    return replace(
        found,
        mean={n: spread(v, np.nan) for n, v in found.mean.items()},
        std={n: spread(v, np.nan) for n, v in found.std.items()},
        half={n: spread(v, np.nan) for n, v in found.half.items()},
        out_of_fold={n: spread(v, False) for n, v in found.out_of_fold.items()},
        remarks=tuple(remarks),
    )


def write(
    store: Path, ids: tuple[str, ...], predictions: Predictions, ensemble: Ensemble, token: object = None
) -> None:
    """Write the view `properties` into a store; it replaces an older one.

    ids: of all rows of the store, in its order. token: of the version of the store that they were predicted from, where
    another one is to be refused. Raises `StoreError` if they are not, or the store cannot be written.
    """
    from .store.transaction import writing

    if not (store / "zarr.json").is_file():
        raise StoreError(f"{store}: views are written into a store in a folder, and there is none")
    with writing(store) as transaction:
        catalog = open_catalog(store)
        if tuple(catalog.ids) != ids or token not in (None, catalog.store.token):
            raise StoreError(f"{store} has changed since its properties were predicted: predict them again")
        with transaction.version() as folder:
            _copy(catalog.store, folder)
            _write_group(folder, ids, predictions, ensemble)


def _copy(store: Store, folder: Path) -> None:
    """The Zarr files of a store without the view. The files beside Zarr are made anew at the end."""
    for key in store.checksums:
        if not key.startswith(f"{GROUP}/{PROPERTIES}/") and key != PARITY:
            place = folder / key
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(store.read(key))


def _write_group(folder: Path, ids: tuple[str, ...], predictions: Predictions, ensemble: Ensemble) -> None:
    """Add the view's arrays to a store that nobody reads yet, and its checksums."""
    import zarr

    from .store.format import CHUNK_ROWS, NAN
    from .store.writer import seal, write_array

    place = f"{GROUP}/{PROPERTIES}"
    description = ensemble.description
    about = {
        "model": ensemble.identifier,
        "model_title": description["title"],
        "model_version": description["version"],
        "training_materials": sum(len(fold) for fold in ensemble.split["folds"]),
    }
    with zarr.config.set({"json_indent": None}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
        root = zarr.open_group(folder, mode="r+", use_consolidated=False)
        if GROUP not in root:
            root.create_group(GROUP)
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
            add(name + STD, _rounded(predictions.std[name]), NAN, units | {
                "long_name": f"standard deviation of the predicted {target.label}; 90 % lie within 1.645 of it",
            })  # fmt: skip
            if name in predictions.half:
                add(name + HALF, _rounded(predictions.half[name]), NAN, units | {
                    "long_name": f"half-width of the interval that holds 50 % of true values of the {target.label}",
                })  # fmt: skip
            add(name + OUT_OF_FOLD, predictions.out_of_fold[name].astype(np.int8), 0, {
                "long_name": "1 where the material was in the training set, and the value is out of fold",
            })  # fmt: skip
        unlike = np.array([bool(remarks) for remarks in predictions.remarks], np.int8)
        add("unlike_training", unlike, 0, {"long_name": "1 where the density is unlike the training set"})
        zarr.consolidate_metadata(Path(folder))
    seal(folder)


def _rounded(values: np.ndarray) -> np.ndarray:
    """float32 with 12 bits after the leading one: an error of 1e-4 at most, less than anything is known to."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + np.uint32(1 << 10)) & np.uint32(0xFFFFF800)).view(np.float32)
