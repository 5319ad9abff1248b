"""Catalogs: open a store, look up one material, search, iterate."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

import numpy as np

from .charged import CHARGES, ChargeView
from .criteria import matches, symbols
from .derived import DERIVED
from .errors import ChgdbError, StoreError, UnknownMaterialError
from .plugins import offered
from .predicted import GROUP, HALF, PROPERTIES, STD, View, column, is_derived, view
from .record import INTERNAL_COLUMNS, Record, column_names, known_column, latents_of
from .store.files import Files, locate
from .store.reader import Location, Store
from .targets import TARGETS
from .urls import is_url

if TYPE_CHECKING:
    import pandas
    import xarray

    from .models.neighbours import Neighbour
    from .promolecule import Prior

T = TypeVar("T")
#: Materials asked for beyond those wanted, as a catalog need not hold all that trained a model.
_SPARE = 500


def open_catalog(
    path_or_url: str | os.PathLike[str] | None = None, *, options: Mapping[str, Any] | None = None
) -> Catalog:
    """Open a catalog read-only.

    Parameters
    ----------
    path_or_url : str | os.PathLike[str] | None
        None for the embedded one; a store's folder; a .zip of one; any URL that fsspec knows; or the name of an
        installed catalog (entry-point group `chgdb.catalogs`).
    options : Mapping[str, Any] | None
        Options for the file system of a URL, as in `fsspec.filesystem` (`anon`, ...); `headers` for a web server.

    Returns
    -------
    Catalog

    Raises
    ------
    StoreError
        If there is no store, it is incomplete, or its format version is newer than this library's.

    Examples
    --------
    >>> open_catalog()["mp-149"].formula     # doctest: +SKIP
    'Si'
    """
    if path_or_url is None:
        import chgdb_catalog

        return Catalog(chgdb_catalog.path())
    text = os.fspath(path_or_url)
    if not is_url(text) and os.sep not in text and not os.path.exists(text):
        return Catalog(_installed(text))
    return Catalog(text, options)


def _installed(name: str) -> str:
    """Path of a catalog that an installed package offers by name."""
    catalogs = offered("chgdb.catalogs")
    if name not in catalogs:
        known = ", ".join(catalogs) or "none"
        raise StoreError(f"{name}: no such store here, and no installed catalog has this name (installed: {known})")
    found = catalogs[name].load()
    return os.fspath(found() if callable(found) else found)


def _files(path_or_url: str, options: Mapping[str, Any] | None) -> Files:
    if not is_url(path_or_url):
        return locate(path_or_url)
    from .remote.files import at_url

    return at_url(path_or_url, options)


class Catalog:
    """A read-only mapping from material id to `Record`, in the order of the store.

    If a writer replaces the store meanwhile, every call still answers from one version of it, old or new.

    Parameters
    ----------
    path_or_url : str | os.PathLike[str]
        Folder, .zip or URL of a store.
    options : Mapping[str, Any] | None
        Options for the file system of a URL, as for `open_catalog`.
    """

    def __init__(self, path_or_url: str | os.PathLike[str], options: Mapping[str, Any] | None = None) -> None:
        self._source = os.fspath(path_or_url), options  # with the password that `path` does not show
        self._opened = Store(_files(os.fspath(path_or_url), options))

    def __reduce__(self) -> tuple[Any, ...]:
        place, options = self._source
        return Catalog, (place if is_url(place) else os.path.abspath(place), options)  # also from another folder

    def __repr__(self) -> str:
        return f"<chgdb.Catalog {self.path}: {len(self)} materials>"

    def _repr_html_(self) -> str:
        """What a notebook shows; nothing is read for it."""
        from .cards import card

        facts = self.attributes
        rows = [("Materials", f"{len(self):,}"), ("Columns", ", ".join(self.columns)), ("Store", self.path)]
        rows += [(name.capitalize(), str(facts[name])) for name in ("licence", "generator") if name in facts]
        return card(str(facts.get("title", "Catalog")), rows)

    @property
    def path(self) -> str:
        """The store's folder or URL."""
        return self.store.location

    @property
    def zarr_url(self) -> str:
        """Folder or URL that Zarr readers without chgdb open: `xarray.open_zarr(catalog.zarr_url)`.

        The store's own, but for one that was published to a bucket: then that of the current release, which stays
        there as long as `publish` keeps it.
        """
        return self.consistent(lambda store: getattr(store.files, "zarr_url", store.location))

    @property
    def format_version(self) -> int:
        """The version of the store format."""
        return self.store.format_version

    @property
    def attributes(self) -> dict[str, Any]:
        """Root attributes of the store: title, licence and what else its maker wrote."""
        return dict(self.store.attributes)

    @property
    def prior(self) -> Prior | None:
        """The atomic densities that new records of this store are encoded with, if it has any."""

        def newest(store: Store) -> Prior | None:
            return store.prior(store.prior_ids[-1]) if store.prior_ids else None

        return self.consistent(newest)

    @property
    def store(self) -> Store:
        """The version of the store that was read last. Values read from it alone may be out of date: `consistent`."""
        return self._opened

    def consistent(self, read: Callable[[Store], T]) -> T:
        """The result of a function on one version of the store.

        If a writer replaced the store meanwhile, the function is called again with the new version.

        Parameters
        ----------
        read : Callable[[Store], T]
            A function that reads from the store that it is given.

        Returns
        -------
        T

        Raises
        ------
        StoreError
            If the store is gone, or is replaced all the time.
        """
        for attempt in range(100):
            store = self.store
            try:
                value = read(store)
            except ChgdbError:
                if attempt == 99 or not self._refresh(store):
                    raise
            else:
                if store.token == store.files.token():
                    return value
                self._refresh(store)
        raise StoreError(f"{self.path} keeps being replaced while it is read: try again when its writer has finished")

    def _refresh(self, store: Store) -> bool:
        """Open the store's new version, if there is one. A swap leaves a moment without any store if folders cannot be
        exchanged in one step."""
        for _ in range(50):
            token = store.files.token()
            if token == store.token:
                return False
            if token is not None:
                self._opened = Store(store.files)
                return True
            time.sleep(0.02)
        raise StoreError(f"{self.path} is gone")

    # Mapping -----------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return self.store.n_materials

    def __contains__(self, material_id: object) -> bool:
        return isinstance(material_id, str) and self.consistent(lambda store: store.find(material_id)) is not None

    def __getitem__(self, material_id: str) -> Record:
        """Raises `UnknownMaterialError` with close matches."""
        if not isinstance(material_id, str):
            raise TypeError(f"a catalog is indexed by material ids, strings, not by {type(material_id).__name__}")
        self.consistent(lambda store: self.locate(store, material_id))
        return Record(self, material_id)

    def prefetch(self, ids: Iterable[str]) -> None:
        """Read what decoding some materials takes, many of them with one request.

        This saves requests to a remote store. For a store on a disk it does nothing.

        Parameters
        ----------
        ids : Iterable[str]
            Ids of the materials; those that the store does not have are left out.
        """
        wanted = list(ids)
        self.consistent(lambda store: store.prefetch(wanted))

    def __iter__(self) -> Iterator[Record]:
        return (Record(self, material_id) for material_id in self.ids)

    @property
    def ids(self) -> list[str]:
        """Material ids in the store's order."""
        return [str(i) for i in self.column("material_id")]

    def locate(self, store: Store, material_id: str) -> Location:
        """The place of a material in one version of the store.

        Parameters
        ----------
        store : Store
            The version, as `consistent` gives it.
        material_id : str
            Id of the material.

        Returns
        -------
        Location

        Raises
        ------
        UnknownMaterialError
            For an id that the store does not have; the message has similar ids.
        """
        location = store.find(material_id)
        if location is None:
            close = _close_matches(store, material_id)
            hint = f"; close matches: {', '.join(close)}" if close else f" among its {store.n_materials} materials"
            raise UnknownMaterialError(f"{self.path} has no material {material_id!r}{hint}")
        return location

    # Columns -----------------------------------------------------------------------------------------------------

    @property
    def columns(self) -> dict[str, dict[str, Any]]:
        """Name of every column -> its attributes (`long_name`, `units`)."""
        return {name: dict(self.store.arrays[name].attributes) for name in column_names(self.store)}

    def column(self, name: str) -> np.ndarray:
        """A whole column: numbers, or texts as Python strings.

        Parameters
        ----------
        name : str
            Name of the column.

        Returns
        -------
        np.ndarray

        Raises
        ------
        StoreError
            For a name that the store does not have.
        """
        return self.consistent(lambda store: store.column(known_column(store, name)))

    def search(
        self,
        *,
        elements: str | Iterable[str] | None = None,
        chemical_system: str | Iterable[str] | None = None,
        formula: str | None = None,
        predicted: Mapping[str, Any] | Iterable[tuple[str, Any]] | None = None,
        where: Mapping[str, Any] | Iterable[tuple[str, Any]] | None = None,
        **criteria: Any,
    ) -> list[str]:
        """Ids of the materials that meet all criteria, in the store's order.

        Parameters
        ----------
        elements : str | Iterable[str] | None
            All of these occur ("Li,O", "Li-O" or a list).
        chemical_system : str | Iterable[str] | None
            These and no others.
        formula : str | None
            The same reduced formula in any order of the elements ("O2Si", "Si2O4").
        predicted : Mapping[str, Any] | Iterable[tuple[str, Any]] | None
            Like the criteria, but for the predictions of the view "properties" (see `view`).
        where : Mapping[str, Any] | Iterable[tuple[str, Any]] | None
            Criteria again, for columns of any name and for several of one column.
        criteria
            Column=value, or column=(low, high) with both ends included and None for an open end; a list means any
            of its values. Texts are compared without regard to capitals, and without a version that follows ("GPAW"
            finds "GPAW 22.8"); "yes" and "no" stand for true and false. A material without a value never matches.

        Returns
        -------
        list[str]

        Raises
        ------
        StoreError
            For a column that does not exist.
        CriterionError
            For what it cannot hold and for an empty range.
        DensityError
            For a symbol or formula that cannot be.

        Examples
        --------
        >>> catalog.search(elements="Li,O", band_gap=(1, None))     # doctest: +SKIP
        ['mp-2352', 'mp-22526']
        """
        given = [*_pairs(where), *criteria.items()] + ([] if formula is None else [("formula", formula)])
        wanted = [(name, value) for name, value in given if value is not None]
        expected = list(_pairs(predicted))

        def matching(store: Store) -> list[str]:
            keep = np.ones(store.n_materials, bool)
            store.prefetch_columns(["material_id", *(known_column(store, name) for name, _ in wanted)])
            for name, value in wanted:
                keep &= matches(store.column(known_column(store, name)), value, name)
            for name, value in expected:
                keep &= matches(column(store, _known_prediction(store, name)), value, name)
            if elements is not None:
                keep &= matches(store.column("elements"), " ".join(symbols(elements)), "elements")
            if chemical_system is not None:
                system = symbols(chemical_system)
                keep &= np.array([system == set(text.split()) for text in store.column("elements")], bool)
            return [str(i) for i in store.column("material_id")[keep]]

        return self.consistent(matching)

    def similar(self, given: Any, count: int = 10) -> list[Neighbour]:
        """Materials of this catalog that trained the property model and are most like a material, the most like first.

        Parameters
        ----------
        given : Any
            What `chgdb.similar` takes: a density, a structure, a record, a file, or an id of this catalog.
        count : int
            How many at most.

        Returns
        -------
        list of Neighbour

        Raises
        ------
        FormatError, DensityError, UnknownMaterialError, ModelError
            As `chgdb.predict`.

        Examples
        --------
        >>> [one.material_id for one in catalog.similar("mp-149", 3)]     # doctest: +SKIP
        """
        import chgdb  # the public name, resolved late: catalogs stand below models

        own = set(self.ids)
        found = chgdb.similar(given, count=count + _SPARE, catalog=self.path)
        return [one for one in found if one.material_id in own][:count]

    def info(self) -> dict[str, Any]:
        """Facts of the store.

        They are path, n_materials, format_version, stored_bytes (all files of the store), payload_bytes and text_bytes
        (sums over the records), largest_nmae, and the store's title, licence and generator where it has them. A store
        with latents also has latent_model (identifier), n_latents, latent_bytes (the array and its columns) and
        median_latent_nmae.

        Returns
        -------
        dict[str, Any]
        """

        def latents(store: Store) -> dict[str, Any]:
            if store.latents is None:
                return {}
            from .store.format import NMAE

            errors = store.column(NMAE)
            sizes = (size for key, (_, size) in store.checksums.items() if key.startswith("latent"))
            return {
                "latent_model": store.latents.model["model"],
                "n_latents": int(np.isfinite(errors).sum()),
                "latent_bytes": sum(sizes),
                "median_latent_nmae": float(np.nanmedian(errors)),
            }

        def facts(store: Store) -> dict[str, Any]:
            return (
                latents(store)
                | {
                    "path": store.location,
                    "n_materials": store.n_materials,
                    "format_version": store.format_version,
                    "stored_bytes": store.stored_bytes,
                    "payload_bytes": int(store.column("stored_bytes").sum()),
                    "text_bytes": int(store.column("text_bytes").sum()),
                    "largest_nmae": float(store.column("nmae").max(initial=0.0)),
                }
                | {key: value for key, value in store.attributes.items() if key in ("title", "licence", "generator")}
            )

        return self.consistent(facts)

    @overload
    def view(self, name: Literal["charges"]) -> ChargeView: ...  # type: ignore[overload-overlap]

    @overload
    def view(self, name: str = "properties") -> View: ...

    def view(self, name: str = "properties") -> View | ChargeView:
        """What was derived from the densities of all materials: "properties" that a model predicted, or "charges".

        Warns with `views.StaleViewWarning` where another version of the model is installed now.

        Parameters
        ----------
        name : str
            Name of the view.

        Returns
        -------
        View, or `chgdb.charged.ChargeView`

        Raises
        ------
        StoreError
            If the store has no such view.

        Examples
        --------
        >>> catalog.view("properties")["bulk_modulus"]     # doctest: +SKIP
        array([ 88.9, 102.3, ...], dtype=float32)
        """
        return ChargeView(self) if name == CHARGES else view(self, name)

    @property
    def latent_model(self) -> dict[str, Any] | None:
        """Which autoencoder made the latents: `model` (its identifier), `model_version`, `model_checksum` (SHA-256 of
        its weights) and `step` of the quantisation; None for a store without latents."""

        def facts(store: Store) -> dict[str, Any] | None:
            return None if store.latents is None else {**store.latents.model, "step": store.latents.step}

        return self.consistent(facts)

    def latents(self, ids: Iterable[str] | None = None) -> np.ndarray:
        """Latent tensors, float32 (n, channel, z, y, x), zero where the cell does not reach.

        Parameters
        ----------
        ids : Iterable[str] | None
            Ids of the wanted materials, in this order. Unless given, all of the store, with NaN where a material has no
            latent.

        Returns
        -------
        np.ndarray

        Raises
        ------
        StoreError
            If the store has no latents, or one of `ids` has none.
        UnknownMaterialError
            For an id that the store does not have.
        ChecksumError
            If a latent is damaged.

        Examples
        --------
        >>> catalog.latents(["mp-149", "mp-66"]).shape     # doctest: +SKIP
        (2, 16, 16, 16, 16)
        """
        wanted = None if ids is None else list(ids)

        def read(store: Store) -> np.ndarray:
            reader = latents_of(store)
            names = wanted if wanted is not None else [None] * store.n_materials
            rows = list(range(store.n_materials)) if wanted is None else [self.locate(store, i).row for i in wanted]
            try:
                result = np.empty((len(rows), *reader.shape), np.float32)
            except MemoryError:
                raise StoreError(f"{store.location}: no memory for {len(rows)} latents; ask for some of them") from None
            for place, values in reader.many(rows):
                if values is None and names[place] is not None:
                    raise StoreError(f"{names[place]} in {store.location} has no latent")
                result[place] = np.nan if values is None else values * np.float32(reader.step)
            return result

        return self.consistent(read)

    def to_xarray(self) -> xarray.Dataset:
        """Every column in a lazy `xarray.Dataset` along the dimension `material`, indexed by id.

        Its arrays are Dask arrays where Dask is installed, so that a cluster can work with them.

        Returns
        -------
        xarray.Dataset
        """
        import xarray

        dataset = xarray.open_zarr(self.store.files.zarr_store(), consolidated=True)
        return dataset.set_index(material="material_id")

    def to_pandas(self, *, predictions: bool = True) -> pandas.DataFrame:
        """All columns with one value a material, as a table indexed by id.

        Columns of true and false have pandas' type "boolean", with NA where a value is not known. Units are in the
        table's `attrs["units"]`.

        Parameters
        ----------
        predictions : bool
            Whether to add the predictions that the store has: `predicted_bulk_modulus`, `predicted_bulk_modulus_std`,
            ...

        Returns
        -------
        pandas.DataFrame

        Examples
        --------
        >>> table = catalog.to_pandas()                                        # doctest: +SKIP
        >>> table[table.band_gap > 3].groupby("space_group").size()            # doctest: +SKIP
        """
        import pandas

        def read(store: Store) -> pandas.DataFrame:
            names = [n for n in column_names(store) if len(store.arrays[n].shape) == 1 and n not in INTERNAL_COLUMNS]
            arrays = {name: name for name in names}  # of the table -> of the store
            place = f"{GROUP}/{PROPERTIES}/"
            for name in TARGETS if predictions else ():
                if place + name in store.arrays:
                    arrays |= {f"predicted_{key}": place + key for key in (name, name + STD)}
            store.prefetch_columns(list(arrays.values()))
            values = {name: store.column(array) for name, array in arrays.items()}
            index = pandas.Index(values.pop("material_id"), name="material_id")
            columns: dict[str, Any] = {
                name: pandas.array(np.where(v < 0, None, v == 1), dtype="boolean") if v.dtype == np.int8 else v.copy()
                for name, v in values.items()
            }
            table = pandas.DataFrame(columns, index=index)
            units = {name: store.arrays[array].attributes.get("units", "") for name, array in arrays.items()}
            table.attrs["units"] = {name: unit for name, unit in units.items() if unit}
            return table

        return self.consistent(read)


def _close_matches(store: Store, material_id: str, count: int = 3) -> list[str]:
    """Ids that a user may have meant: those of this formula, those that contain the text, and those that are spelled
    nearly so."""
    from difflib import get_close_matches

    ids = [str(i) for i in store.column("material_id")]
    wanted = material_id.casefold()
    same_formula = [ids[row] for row in np.flatnonzero(store.column("formula") == material_id)[:count]]
    containing = [i for i in ids if wanted in i.casefold()] if len(wanted) > 2 else []
    similar = get_close_matches(material_id, ids, count, 0.6)
    return list(dict.fromkeys(same_formula + sorted(containing, key=len)[:count] + similar))[:count]


def _known_prediction(store: Store, name: str) -> str:
    """Name of a predicted property, as it is. Raises `StoreError` if the store has no such prediction."""
    place = f"{GROUP}/{PROPERTIES}/"
    if place + name not in store.arrays and not is_derived(store, name):
        units = {n for n, info in store.arrays.items() if n.startswith(place) and info.attributes.get("units")}
        names = sorted(n.removeprefix(place) for n in units if not n.endswith((STD, HALF)))
        names += [n for n in DERIVED if is_derived(store, n)]
        hint = f"there are {', '.join(names)}" if names else "nothing is predicted yet: run chgdb build --predict"
        raise StoreError(f"{store.location} has no prediction of {name!r}; {hint}")
    return name


def _pairs(criteria: Mapping[str, Any] | Iterable[tuple[str, Any]] | None) -> Iterable[tuple[str, Any]]:
    return criteria.items() if isinstance(criteria, Mapping) else criteria or ()
