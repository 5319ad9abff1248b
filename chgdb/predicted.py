"""Views, read: properties that a model predicted for every material of a store, kept in the store beside its columns.

    view/NAME/material_id           the rows; the same as the store's
    view/NAME/TARGET                predicted value, float32
    view/NAME/TARGET_std            its standard deviation: 90 % of true values lie within 1.645 of it
    view/NAME/TARGET_out_of_fold    1 where the material was in the training set: then the value comes from a learner
                                    that had not seen its formula
    view/NAME/TARGET_half           half-width of the interval that holds 50 % of true values
    view/NAME/unlike_training       1 where something about the density is unlike the training set

What follows from predicted properties and the structure (`derived`) is a part of the view that is computed when it is
read: `View["poisson_ratio"]`, `View["poisson_ratio_std"]`.

Attributes of the group and of every TARGET say which model it was and how it did on formulas that it had not seen.
`xarray.open_zarr(path, group="view/NAME")` reads a view without chgdb.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .derived import DERIVED, HULL_DISTANCE, derive, mean_mass
from .elements import formula_numbers
from .errors import StoreError
from .plugins import models_folder
from .store.format import VIEW
from .targets import TARGETS

if TYPE_CHECKING:
    import xarray

    from .catalog import Catalog
    from .store.reader import Store

#: The view of predicted properties.
PROPERTIES = "properties"
#: The group of the views in a store, and the endings of the names of their arrays.
GROUP = VIEW
OUT_OF_FOLD, STD, HALF = "_out_of_fold", "_std", "_half"
#: What derived properties follow from, in a view and in a store.
_NEEDED = ("bulk_modulus", "shear_modulus")
_OF_STORE = ("formula", "volume", "n_atoms")
#: What the distance from the hull follows from: the difference of these columns is the hull at each composition.
_ENERGY = "formation_energy"
_HULL = ("formation_energy_dft", "hull_distance")


class StaleViewWarning(UserWarning):
    """The predictions in a store were made by another version of the model than the one that is installed."""


@dataclass(frozen=True, eq=False)
class View(Mapping[str, np.ndarray]):
    """Predictions for all rows of a catalog, as a mapping from array name to (n,) values. They are read lazily.

    Attributes
    ----------
    catalog : Catalog
        The catalog.
    name : str
        Name of the view.
    folder : Path | None
        Folder of the trained models; the embedded catalog's unless given.

    Examples
    --------
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
                "chgdb.views.add_predictions"
            )

    def __repr__(self) -> str:
        return f"<chgdb.View {self.name} of {self.catalog.path}: {', '.join(self.targets)} by {self.model}>"

    def _names(self) -> list[str]:
        return names(self.catalog, self.name)

    def __getitem__(self, key: str) -> np.ndarray:
        if key not in self._names() and not is_derived(self.catalog.store, key, self.name):
            raise StoreError(f"the view {self.name} of {self.catalog.path} has no {key!r}; there are {', '.join(self)}")
        return self.catalog.consistent(lambda store: column(store, key, self.name))

    def __contains__(self, key: object) -> bool:
        return key in self._names() or (isinstance(key, str) and is_derived(self.catalog.store, key, self.name))

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())

    def attributes(self, key: str) -> dict[str, Any]:
        """Attributes of one array: units, long_name, model, scores.

        A derived property also has its relation, as `source`.

        Parameters
        ----------
        key : str
            Name of the array.

        Returns
        -------
        dict[str, Any]
        """
        if is_derived(self.catalog.store, key, self.name):
            one = DERIVED[key.removesuffix(STD)]
            kind = "empirical relation" if one.empirical else "follows from what is predicted"
            return {"units": one.units, "long_name": one.label, "source": one.source, "comment": kind}
        return dict(self.catalog.store.arrays[f"{GROUP}/{self.name}/{key}"].attributes)

    @property
    def targets(self) -> tuple[str, ...]:
        """The predicted properties."""
        present = set(self)
        return tuple(name for name in TARGETS if name in present)

    @property
    def derived(self) -> tuple[str, ...]:
        """Properties that follow from the predicted ones: none where these are not predicted."""
        return tuple(name for name in DERIVED if is_derived(self.catalog.store, name, self.name))

    @property
    def model(self) -> str:
        """Identifier of the model that made the view."""
        return str(self.attributes(self.targets[0])["model"])

    @property
    def stale(self) -> str:
        """A message where the view was made by another model than the installed one; "" where it was not, or none is
        installed."""
        place = (self.folder or models_folder("properties")) / self.model.rpartition("-")[0]
        try:
            installed = json.loads((place / "model.json").read_bytes())["identifier"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return ""  # nothing to compare with: the values are still what their attributes say
        if installed == self.model:
            return ""
        return (
            f"the view {self.name} of {self.catalog.path} was made by the model {self.model}, but {installed} is "
            "installed: make it anew with chgdb.views.add_predictions or chgdb build --predict"
        )

    def to_xarray(self) -> xarray.Dataset:
        """The view in a lazy `xarray.Dataset` along the dimension `material`, indexed by id.

        Returns
        -------
        xarray.Dataset
        """
        import xarray

        store = self.catalog.store.files.zarr_store()
        dataset = xarray.open_zarr(store, group=f"{GROUP}/{self.name}", consolidated=False)
        return dataset.set_index(material="material_id")


def is_derived(store: Store, key: str, view: str = PROPERTIES) -> bool:
    """Whether a name is that of a derived property, or of its standard deviation, that can be had from a view."""
    name = key.removesuffix(STD)
    predicted, columns = ((_ENERGY,), _HULL) if name == HULL_DISTANCE else (_NEEDED, _OF_STORE)
    needed = [f"{GROUP}/{view}/{n}{end}" for n in predicted for end in ("", STD)] + list(columns)
    return name in DERIVED and all(n in store.arrays for n in needed)


def column(store: Store, key: str, view: str = PROPERTIES) -> np.ndarray:
    """(n,) values of an array of a view, or of what is derived from it (float32)."""
    if not is_derived(store, key, view):
        return store.column(f"{GROUP}/{view}/{key}")
    place = f"{GROUP}/{view}/"
    if key.startswith(HULL_DISTANCE):
        energy, std = (store.column(place + _ENERGY + end).astype(float) for end in ("", STD))
        own, above = (np.asarray(store.column(name), float) for name in _HULL)
        distance = energy - (own - above)
        return np.where(np.isnan(distance), np.nan, std if key.endswith(STD) else distance).astype(np.float32)
    bulk, shear = (
        (store.column(place + n).astype(float), store.column(place + n + STD).astype(float)) for n in _NEEDED
    )
    formula, volume, atoms = (store.column(name) for name in _OF_STORE)
    mass_of = {text: mean_mass(np.array(formula_numbers(text))) for text in set(formula.tolist()) if text}
    mass = np.array([mass_of.get(text, np.nan) for text in formula.tolist()])
    with np.errstate(all="ignore"):
        each = np.asarray(volume, float) / np.asarray(atoms, float)
        found = derive(bulk, shear, mass, each, np.asarray(atoms, float), [key.removesuffix(STD)])
    return found[key.removesuffix(STD)][key.endswith(STD)].astype(np.float32)


def names(catalog: Catalog, view: str = PROPERTIES) -> list[str]:
    """Names of the arrays of a view, none where the catalog does not have it."""
    prefix = f"{GROUP}/{view}/"
    found = [name.removeprefix(prefix) for name in catalog.store.arrays if name.startswith(prefix)]
    return [name for name in found if name != "material_id"]


def view(catalog: Catalog, name: str = PROPERTIES, folder: Path | None = None) -> View:
    """A view of a catalog; warns with `StaleViewWarning` where its model is not the installed one.

    Parameters
    ----------
    catalog : Catalog
        The catalog that holds the view.
    name : str
        Name of the view.
    folder : Path | None
        Folder of the installed models; the embedded catalog's unless given.

    Returns
    -------
    View

    Raises
    ------
    StoreError
        If the catalog has no such view.
    """
    found = View(catalog, name, folder)
    if found.stale:
        warnings.warn(found.stale, StaleViewWarning, stacklevel=3)
    return found
