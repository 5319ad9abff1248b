"""Charges of atoms, read: the view "charges" of a store, what `charging` divided the densities of all materials into.

    view/charges/material_id      the rows; the same as the store's
    view/charges/n_atoms          atoms of each material
    view/charges/source_crc32c    of the density that was divided, as in the store's column of this name
    view/charges/remarks          what limits the charges of a material, in words
    view/charges/METHOD           net charge of each atom in e, material after material in the order of `atom_number`:
                                  int16 times `scale_factor`, -32768 where a density could not be divided

Attributes say the method, its reference and its limits. Net charges count from the valence of the potentials.
`xarray.open_zarr(path, group="view/charges")` reads them without chgdb.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .errors import StoreError
from .store.format import VIEW

if TYPE_CHECKING:
    import xarray

    from .catalog import Catalog
    from .store.reader import Store

#: Name of the view, and of its arrays that are no method.
CHARGES: Final = "charges"
IDS, COUNTS, SOURCE, REMARKS = "material_id", "n_atoms", "source_crc32c", "remarks"
#: The store's array whose rows are those of the charges.
ATOMS = "atom_number"
#: Attributes of a method that say what its charges are.
ABOUT = ("long_name", "units", "method", "reference", "limits", "zero")
#: The number that a store holds in place of a charge that is not known.
MISSING = -32768


@dataclass(frozen=True, eq=False)
class ChargeView(Mapping[str, np.ndarray]):
    """Net charges of the atoms of all materials, read lazily; a mapping from method to (atoms,) charges in e.

    Atoms follow each other as in the store's `atom_number`, material after material. NaN stands where a density could
    not be divided. Charges of other densities than those that the store holds are refused.

    Attributes
    ----------
    catalog : Catalog
        The catalog that holds the view.

    Examples
    --------
    >>> view = chgdb.open().view("charges")                  # doctest: +SKIP
    >>> view.of("mp-22862")["bader"]                         # doctest: +SKIP
    array([ 0.863, -0.863])
    """

    catalog: Catalog

    def __post_init__(self) -> None:
        if not methods(self.catalog.store):
            raise StoreError(
                f"{self.catalog.path} has no view {CHARGES!r}: make it with chgdb.charging.add_charges, or ask for the "
                "charges of some materials with chgdb charges"
            )

    def __repr__(self) -> str:
        step = self.attributes(next(iter(self)))["scale_factor"]
        return f"<chgdb.ChargeView of {self.catalog.path}: {', '.join(self)}; net charges in steps of {step:g} e>"

    def __getitem__(self, key: str) -> np.ndarray:
        if key not in methods(self.catalog.store):
            raise StoreError(f"the charges in {self.catalog.path} are not by {key!r}; there are {', '.join(self)}")
        return self.catalog.consistent(lambda store: _net(_checked(store), key, 0, store.arrays[ATOMS].shape[0]))

    def __iter__(self) -> Iterator[str]:
        return iter(methods(self.catalog.store))

    def __len__(self) -> int:
        return len(methods(self.catalog.store))

    def of(self, material_id: str) -> dict[str, np.ndarray]:
        """Net charges of the atoms of a material.

        Parameters
        ----------
        material_id : str
            Id of the material.

        Returns
        -------
        dict[str, np.ndarray]
            Method -> (n,) charges in e.

        Raises
        ------
        UnknownMaterialError
            For an id that the catalog does not have.
        StoreError
            If the charges are of another density than the store's.
        """
        return self.catalog[material_id].net_charges

    def remarks(self, material_id: str) -> tuple[str, ...]:
        """The limits of the charges of a material.

        Parameters
        ----------
        material_id : str
            Id of the material.

        Returns
        -------
        tuple[str, ...]
            Phrases.

        Raises
        ------
        UnknownMaterialError
            For an id that the catalog does not have.
        """
        row = self.catalog.ids.index(self.catalog[material_id].material_id)
        return self.catalog.consistent(lambda store: remarks_of_row(store, row))

    def attributes(self, key: str) -> dict[str, Any]:
        """Attributes of one method: units, long_name, method, reference, limits.

        Parameters
        ----------
        key : str
            The method.

        Returns
        -------
        dict[str, Any]
        """
        return dict(self.catalog.store.arrays[f"{VIEW}/{CHARGES}/{key}"].attributes)

    def to_xarray(self) -> xarray.Dataset:
        """The view along the dimensions `material`, indexed by id, and `atom`.

        Returns
        -------
        xarray.Dataset
            Lazy.

        Raises
        ------
        StoreError
            If charges are of another density than the store's.
        """
        import xarray

        store = self.catalog.consistent(_checked).files.zarr_store()
        dataset = xarray.open_zarr(store, group=f"{VIEW}/{CHARGES}", consolidated=False)
        return dataset.set_index(material=IDS)


def methods(store: Store) -> tuple[str, ...]:
    """The methods by which the atoms of a store are charged; none where it has no such view."""
    prefix = f"{VIEW}/{CHARGES}/"
    names = (name.removeprefix(prefix) for name in store.arrays if name.startswith(prefix))
    return tuple(name for name in names if name not in (IDS, COUNTS, SOURCE, REMARKS))


def of_row(store: Store, row: int) -> dict[str, np.ndarray]:
    """Method -> net charges of the atoms of one material; empty where the store has no view of charges.

    Raises `StoreError` if they are of another density."""
    names = methods(store)
    if not names:
        return {}
    place = f"{VIEW}/{CHARGES}/"
    if store.arrays[place + SOURCE].shape[0] != store.n_materials or any(
        store.value(place + name, row) != store.value(name, row) for name in (IDS, COUNTS, SOURCE)
    ):
        raise _stale(store, str(store.value(IDS, row)))
    start = int(store.value("atom_offset", row))
    return {name: _net(store, name, start, start + int(store.value(COUNTS, row))) for name in names}


def remarks_of_row(store: Store, row: int) -> tuple[str, ...]:
    """The limits of the charges of one material, each a phrase."""
    text = str(store.value(f"{VIEW}/{CHARGES}/{REMARKS}", row)) if methods(store) else ""
    return tuple(part for part in text.split("; ") if part)


def stale_rows(store: Store) -> np.ndarray:
    """(n,) bool: whether the charges of a material are of another density than that of its record."""
    place = f"{VIEW}/{CHARGES}/"
    if store.arrays[place + SOURCE].shape[0] != store.n_materials:
        return np.ones(store.n_materials, bool)
    return np.any([store.column(place + name) != store.column(name) for name in (IDS, COUNTS, SOURCE)], axis=0)


def _checked(store: Store) -> Store:
    stale = stale_rows(store)
    if stale.any():
        raise _stale(store, str(store.column(IDS)[stale.argmax()]))
    return store


def _stale(store: Store, material_id: str) -> StoreError:
    return StoreError(
        f"the charges in {store.location} are of another density of {material_id} than the one that it holds: make "
        "them anew with chgdb.charging.add_charges"
    )


def _net(store: Store, method: str, start: int, stop: int) -> np.ndarray:
    """Net charges of the atoms in some rows of `atom_number`, NaN where they are not known."""
    key = f"{VIEW}/{CHARGES}/{method}"
    info = store.arrays[key]
    if info.shape != store.arrays[ATOMS].shape:
        raise StoreError(f"{store.location}: {key} is not of the atoms of the store; run chgdb verify")
    first, last = start // info.chunk_rows, max(start, stop - 1) // info.chunk_rows
    levels = np.concatenate([store.chunk(key, i) for i in range(first, last + 1)]) if stop > start else np.empty(0)
    levels = levels[start - first * info.chunk_rows :][: stop - start]
    # Divided by a whole number, so that 863 steps of 0.001 are 0.863.
    return np.where(levels == MISSING, np.nan, levels / round(1 / float(info.attributes["scale_factor"])))
