"""Catalogs: open a store, look up one material, search, iterate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from .density import Crystal, Density

if TYPE_CHECKING:
    import xarray


def open_catalog(path_or_url: str | None = None) -> Catalog:
    """Open a catalog read-only.

    path_or_url: None for the embedded one; the name of an installed catalog (entry-point group `chgdb.catalogs`);
        a store's folder; a .zip of one; or any URL that fsspec knows.
    Raises `StoreError` where there is no store, it is incomplete, or its format version is newer than this library's.
    """
    raise NotImplementedError


class Catalog:
    """A read-only view of a store: a mapping from material id to `Record`, in the store's order."""

    path: str  # folder or URL
    format_version: int

    def __len__(self) -> int:
        raise NotImplementedError

    def __contains__(self, material_id: object) -> bool:
        raise NotImplementedError

    def __getitem__(self, material_id: str) -> Record:
        """Raises `UnknownMaterialError` with close matches."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[Record]:
        raise NotImplementedError

    @property
    def ids(self) -> list[str]:
        """Material ids in the store's order."""
        raise NotImplementedError

    @property
    def columns(self) -> dict[str, dict[str, Any]]:
        """Name of every column -> its attributes (`units`, `long_name`)."""
        raise NotImplementedError

    def search(self, **criteria: Any) -> list[str]:
        """Ids of the materials that meet all criteria, in the store's order."""
        raise NotImplementedError

    def info(self) -> dict[str, Any]:
        """path, title, licence, n_materials, format_version, generator, stored_bytes, payload_bytes, text_bytes."""
        raise NotImplementedError

    def to_xarray(self) -> xarray.Dataset:
        """Every column as a lazy `xarray.Dataset` along the dimension `material`."""
        raise NotImplementedError


class Record:
    """One material of a catalog; nothing is read before it is asked for."""

    material_id: str
    catalog: Catalog

    @property
    def payload(self) -> bytes:
        """The encoded density. Raises `ChecksumError` where the stored bytes are damaged."""
        raise NotImplementedError

    @property
    def crystal(self) -> Crystal:
        raise NotImplementedError

    @property
    def formula(self) -> str:
        raise NotImplementedError

    @property
    def grid(self) -> tuple[int, int, int]:
        raise NotImplementedError

    @property
    def channels(self) -> tuple[str, ...]:
        raise NotImplementedError

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Every column's value of this material, by column name; missing numbers are NaN, missing texts ""."""
        raise NotImplementedError

    @property
    def density(self) -> Density:
        """Decoded on the native grid, with the extras of its file; kept after the first use."""
        raise NotImplementedError

    def decode(self, grid: tuple[int, int, int] | None = None) -> Density:
        """Decode on the native grid, or straight from the coefficients on another."""
        raise NotImplementedError

    @property
    def n_electrons(self) -> float:
        raise NotImplementedError

    @property
    def tolerance(self) -> float:
        raise NotImplementedError

    @property
    def nmae(self) -> float:
        """Largest NMAE of its channels, measured when it was encoded."""
        raise NotImplementedError

    @property
    def max_error(self) -> float:
        raise NotImplementedError

    @property
    def stored_bytes(self) -> int:
        """Bytes of the payload and the extras."""
        raise NotImplementedError

    @property
    def text_bytes(self) -> int:
        """Bytes of the density blocks as VASP writes them."""
        raise NotImplementedError
