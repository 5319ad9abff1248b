"""One material of a catalog, and the names of what is known of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from .charged import of_row
from .density import Crystal, Density
from .errors import CodecError, OfflineError, StoreError
from .store.format import OCCUPANCY_ERROR, OCCUPANCY_TOLERANCE
from .store.reader import Location, Store

if TYPE_CHECKING:
    from .catalog import Catalog
    from .charges import Charges
    from .store.latents import LatentReader

T = TypeVar("T")

#: Columns that only the decoder of a store needs.
INTERNAL_COLUMNS = ("payload_offset", "extras_length", "atom_offset")
#: Columns in the order that a reader expects; all others follow.
FIRST_COLUMNS = (
    *("material_id", "formula", "elements", "space_group", "n_atoms", "cell", "volume", "n_electrons"),
    *("grid", "channels", "tolerance", "nmae", "channel_nmae", "max_error", "min_density"),
    *(OCCUPANCY_TOLERANCE, OCCUPANCY_ERROR, "text_bytes"),
    *("stored_bytes", "code", "functional", "energy_cutoff", "structure_source", "licence"),
)


class Record:
    """One material of a catalog. Nothing is read before it is asked for.

    Columns are attributes of `metadata`. Columns that every record has are properties, too.

    Parameters
    ----------
    catalog : Catalog
        The catalog of the material.
    material_id : str
        Id of the material.
    """

    def __init__(self, catalog: Catalog, material_id: str) -> None:
        self.catalog = catalog
        self.material_id = material_id
        self._density: tuple[Store, Density] | None = None

    def __repr__(self) -> str:
        return f"<chgdb.Record {self.material_id} in {self.catalog.path}>"

    def _repr_html_(self) -> str:
        """The record as HTML, for notebooks."""
        from .cards import card, cell_text

        facts = self.metadata
        rows = [
            ("Space group", str(facts["space_group"] or "unknown")),
            ("Cell", cell_text(facts["cell"])),
            ("Atoms", str(facts["n_atoms"])),
            ("Grid", " x ".join(map(str, facts["grid"]))),
            ("Channels", ", ".join(facts["channels"].split())),
            ("Electrons", f"{facts['n_electrons']:.6f}"),
            ("NMAE", f"{100 * facts['nmae']:.3g} % (tolerance {100 * facts['tolerance']:.3g} %)"),
            ("Largest error", f"{facts['max_error']:.2g} e/Å³"),
            ("Stored", f"{facts['stored_bytes']:,} bytes"),
        ]
        return card(f"{facts['formula']} ({self.material_id})", rows)

    def _read(self, read: Callable[[Store, Location], T]) -> T:
        locate = self.catalog.locate
        try:
            return self.catalog.consistent(lambda store: read(store, locate(store, self.material_id)))
        except OfflineError as error:
            raise OfflineError(f"{self.material_id}: {error}") from error

    def _value(self, name: str) -> Any:
        return self._read(lambda store, location: _plain(store.value(known_column(store, name), location.row)))

    @property
    def metadata(self) -> dict[str, Any]:
        """Every column's value, by column name. What is not known is NaN, "" or (true-false columns) -1."""

        def values(store: Store, location: Location) -> dict[str, Any]:
            names = column_names(store)
            store.prefetch_columns(names, location.row)
            return {name: _plain(store.value(name, location.row)) for name in names}

        return self._read(values)

    @property
    def payload(self) -> bytes:
        """The encoded density.

        Raises
        ------
        ChecksumError
            If the stored bytes are damaged.
        """
        return self._read(lambda store, location: store.record_bytes(self.material_id, location))[0]

    @property
    def extras(self) -> bytes:
        """What its file held beside the density, packed by `codecs.extras.pack`.

        Raises
        ------
        ChecksumError
        """
        return self._read(lambda store, location: store.record_bytes(self.material_id, location))[1]

    @property
    def crystal(self) -> Crystal:
        """The structure, exact, from the payload."""
        from .codecs import header

        return header(self.payload).crystal

    def decode(self, grid: tuple[int, int, int] | None = None) -> Density:
        """Decode the density on its native grid, or straight from the coefficients on another grid.

        Extras are put back.

        Parameters
        ----------
        grid : tuple[int, int, int] | None
            Grid points along each lattice vector; the native grid unless given.

        Returns
        -------
        Density

        Raises
        ------
        ChecksumError
            If the stored bytes are damaged.
        CodecError
            If the record cannot be decoded.
        """
        return self._read(lambda store, location: self._decoded(store, location, grid))

    def _decoded(self, store: Store, location: Location, grid: tuple[int, int, int] | None) -> Density:
        from .codecs import decode, header

        payload, extras = store.record_bytes(self.material_id, location)
        try:
            identifier = header(payload).prior_id
            density = decode(payload, prior=store.prior(identifier) if identifier else None, grid=grid)
            if extras:
                from .codecs.extras import unpack

                names = tuple(density.channels)
                density = replace(density, extras=unpack(extras, density.crystal, names, payload))
        except CodecError as error:
            raise type(error)(f"{self.material_id} in {store.location}: {error}") from error
        return density

    def charges(self, method: str = "hirshfeld", **settings: Any) -> Charges:
        """Electrons, net charge and volume of each atom, from the decoded density.

        Parameters
        ----------
        method : str
            Name of the method, as for `Density.charges`.
        **settings : Any
            Settings of the method, as for `Density.charges`.

        Returns
        -------
        chgdb.charges.Charges

        Raises
        ------
        DensityError
            As `Density.charges`.
        """
        return self.density.charges(method, **({"of_catalog": self.is_of_recipe} | settings))

    @property
    def net_charges(self) -> dict[str, np.ndarray]:
        """Net charges that the store keeps: method -> (n,) of the atoms, e; empty where it keeps none.

        Raises
        ------
        StoreError
            If they are of another density than the store's.
        """
        return self._read(lambda store, location: of_row(store, location.row))

    @property
    def is_of_recipe(self) -> bool:
        """Whether the density was made by the recipe of chgdb's catalog, GPAW with its usual potentials."""
        return str(self.metadata.get("code", "")).startswith("GPAW")

    @property
    def density(self) -> Density:
        """Decoded on the native grid; kept after the first use."""
        store = self.catalog.store
        if self._density is None or self._density[0] is not store:
            self._density = store, self.decode()
        return self._density[1]

    @property
    def latent(self) -> np.ndarray:
        """Latent tensor, float32 (channel, z, y, x).

        Raises
        ------
        StoreError
            If it has none.
        ChecksumError
        """
        return self.latent_integers * np.float32(self._read(lambda store, location: latents_of(store).step))

    @property
    def latent_bytes(self) -> int:
        """Size of the compressed latent in the store, 0 where it has none."""

        def length(store: Store, location: Location) -> int:
            place = latents_of(store).place(location.row)
            return 0 if place is None else place[1]

        return self._read(length)

    @property
    def latent_integers(self) -> np.ndarray:
        """Latent tensor in steps of its quantisation, as the autoencoder decodes it: int16 (channel, z, y, x)."""
        values = self._read(lambda store, location: latents_of(store).values(location.row))
        if values is None:
            raise StoreError(f"{self.material_id} in {self.catalog.path} has no latent")
        return values

    @property
    def formula(self) -> str:
        """Reduced formula."""
        return self._value("formula")

    @property
    def grid(self) -> tuple[int, int, int]:
        """Grid points along each lattice vector."""
        nx, ny, nz = self._value("grid")
        return nx, ny, nz

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels, in order."""
        return tuple(self._value("channels").split())

    @property
    def n_electrons(self) -> float:
        """Integral of the total density over the cell."""
        return self._value("n_electrons")

    @property
    def tolerance(self) -> float:
        """Largest NMAE that was allowed for each channel; 0 if lossless."""
        return self._value("tolerance")

    @property
    def nmae(self) -> float:
        """NMAE of the worst channel, measured when the record was encoded."""
        return self._value("nmae")

    @property
    def max_error(self) -> float:
        """Largest absolute error, e/Å^3, measured when the record was encoded."""
        return self._value("max_error")

    @property
    def occupancy_error(self) -> float | None:
        """Largest error of an augmentation occupancy, relative to the largest of its atom and channel, measured when it
        was encoded; None where the record has none as numbers (0 is what their text would have)."""
        return self._known(OCCUPANCY_ERROR)

    @property
    def occupancy_tolerance(self) -> float | None:
        """What was allowed for `occupancy_error`; None where the record has no occupancies as numbers."""
        return self._known(OCCUPANCY_TOLERANCE)

    def _known(self, name: str) -> float | None:
        """A value of a column that not every store has."""

        def value(store: Store, location: Location) -> float | None:
            found = float(store.value(name, location.row)) if name in store.columns else float("nan")
            return None if found != found else found

        return self._read(value)

    @property
    def stored_bytes(self) -> int:
        """Bytes of the payload and the extras."""
        return self._read(lambda store, location: location.length)

    @property
    def extras_bytes(self) -> int:
        """How many of `stored_bytes` are for what the file held beside the density."""
        return int(self._read(lambda store, location: store.value("extras_length", location.row)))

    @property
    def text_bytes(self) -> int:
        """Bytes of the density blocks as VASP writes them."""
        return self._value("text_bytes")


def latents_of(store: Store) -> LatentReader:
    if store.latents is None:
        raise StoreError(f"{store.location} has no latents: add them with chgdb build {store.location} --latents")
    return store.latents


def column_names(store: Store) -> list[str]:
    """Columns, chgdb's own first."""
    order = {name: position for position, name in enumerate(FIRST_COLUMNS)}
    return sorted(store.columns, key=lambda name: order.get(name, len(order)))


def known_column(store: Store, name: str) -> str:
    names = column_names(store)
    if name not in names:
        from difflib import get_close_matches

        close = get_close_matches(name, names, 3)
        hint = f" (did you mean {' or '.join(close)}?)" if close else ""
        raise StoreError(f"{store.location} has no column {name!r}{hint}; there are {', '.join(names)}")
    return name


def _plain(value: Any) -> Any:
    """Python numbers, strings and nested lists."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
