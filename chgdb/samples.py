"""Training samples of a catalog as numpy arrays, by the split: latents, or densities on grids of one size.

    >>> train = Latents(chgdb.open(), "train", targets=["bulk_modulus"])     # doctest: +SKIP
    >>> latent, target = train[0]                                            # doctest: +SKIP

`datasets` has the same for torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

import numpy as np

from . import splits
from .catalog import Catalog
from .errors import StoreError
from .grids import resample


def parts(catalog: Catalog) -> np.ndarray:
    """Part of the split of each material.

    It is the column `split` of the store, if it has one. Otherwise it follows from its formulas and its column
    `paper_split`, if it has that.

    Parameters
    ----------
    catalog : Catalog
        Catalog of the materials.

    Returns
    -------
    np.ndarray
        (n,) of "train", "validation" and "test", in the order of the store.
    """
    if "split" in catalog.columns:
        return catalog.column("split").astype("<U10")
    paper = catalog.column("paper_split") if "paper_split" in catalog.columns else None
    return splits.assign([str(f) for f in catalog.column("formula")], None if paper is None else paper.tolist())


class Samples(ABC):
    """Materials of one part of the split, with their targets. Subclasses say what a sample is.

    A sample is (values float32, targets float32 (len(targets),)).

    Parameters
    ----------
    catalog : Catalog
        Catalog of the materials.
    part : str | None
        "train", "validation", "test", or None for all.
    targets : Sequence[str]
        Names of columns of numbers. A material that lacks one of them is left out.
    ids : Iterable[str] | None
        Only these materials, in this order; otherwise all, in the store's order.

    Raises
    ------
    StoreError
        For an unknown part or column.
    UnknownMaterialError
        For an unknown id.
    """

    def __init__(
        self,
        catalog: Catalog,
        part: str | None = None,
        *,
        targets: Sequence[str] = (),
        ids: Iterable[str] | None = None,
    ) -> None:
        if part is not None and part not in splits.PARTS:
            raise StoreError(f"there is no part {part!r} of the split; there are {', '.join(splits.PARTS)}")
        self.catalog = catalog
        self.target_names = tuple(targets)
        every = catalog.ids
        keep = self._usable() if part is None else self._usable() & (parts(catalog) == part)
        values = np.empty((len(every), len(self.target_names)), np.float32)
        for column, name in enumerate(self.target_names):
            numbers = catalog.column(name)
            if numbers.ndim > 1 or numbers.dtype == object:
                raise StoreError(f"column {name} of {catalog.path} is not one number a material: it is no target")
            values[:, column] = numbers
        keep &= np.isfinite(values).all(1)
        if ids is None:
            chosen = np.flatnonzero(keep)
        else:
            rows = {material_id: row for row, material_id in enumerate(every)}
            chosen = np.array([rows[catalog[i].material_id] for i in ids], np.int64)
            chosen = chosen[keep[chosen]]
        self.ids = [every[row] for row in chosen]
        self.targets = values[chosen]

    def _usable(self) -> np.ndarray:
        """Whether each row of the store can be a sample, (n,) bool."""
        return np.ones(len(self.catalog), bool)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self.values(self.ids[index]), self.targets[index]

    @abstractmethod
    def values(self, material_id: str) -> np.ndarray:
        """The input of a model for a material, float32.

        Parameters
        ----------
        material_id : str
            Id of the material.

        Returns
        -------
        np.ndarray
            Its shape is that of the samples.
        """


class Latents(Samples):
    """Latent tensors, (channel, z, y, x). Materials without one are left out.

    Parameters
    ----------
    catalog, part, targets, ids
        As for `Samples`.

    Raises
    ------
    StoreError
        If no material has a latent.
    """

    def _usable(self) -> np.ndarray:
        if self.catalog.latent_model is None:
            self.catalog.latents([])  # says what to do
        return np.isfinite(self.catalog.column("latent_nmae"))

    def values(self, material_id: str) -> np.ndarray:
        return self.catalog[material_id].latent

    def array(self) -> np.ndarray:
        """All latents at once.

        Returns
        -------
        np.ndarray
            (n, channel, z, y, x) float32.
        """
        return self.catalog.latents(self.ids)


class Densities(Samples):
    """Total densities in e/Å^3 on grids of one size, (1, nx, ny, nz), decoded from the records.

    Parameters
    ----------
    catalog : Catalog
        Catalog of the materials.
    part : str | None
        "train", "validation", "test", or None for all.
    grid : tuple[int, int, int] | None
        Number of points along each lattice vector. Every density is resampled to it by Fourier interpolation.
    spacing : float | None
        Instead of `grid`, with `size`: largest distance between points, Å. Every density is resampled to it and padded
        with zeros.
    size : int | None
        Number of points along each axis with padding. If a cell is too long for the spacing, the density has `size`
        points along that axis.
    targets : Sequence[str]
        Names of columns of numbers. A material that lacks one of them is left out.
    ids : Iterable[str] | None
        Only these materials, in this order; otherwise all, in the store's order.

    Raises
    ------
    StoreError
        Unless `grid`, or both `spacing` and `size` are given; otherwise as for `Samples`.
    """

    def __init__(
        self,
        catalog: Catalog,
        part: str | None = None,
        *,
        grid: tuple[int, int, int] | None = None,
        spacing: float | None = None,
        size: int | None = None,
        targets: Sequence[str] = (),
        ids: Iterable[str] | None = None,
    ) -> None:
        if (grid is None) == (spacing is None or size is None) or (grid is not None and (spacing or size)):
            raise StoreError("densities of one size take either grid=(nx, ny, nz), or both spacing= and size=")
        if spacing is not None and not spacing > 0:
            raise StoreError(f"spacing {spacing!r} Å is not a positive number")
        super().__init__(catalog, part, targets=targets, ids=ids)
        self.grid, self.spacing, self.size = grid, spacing, size

    def points(self, cell: np.ndarray) -> tuple[int, int, int]:
        """Grid points of a cell, without padding.

        Parameters
        ----------
        cell : np.ndarray
            (3, 3), rows are lattice vectors in Å.

        Returns
        -------
        tuple[int, int, int]
        """
        if self.grid is not None:
            return self.grid
        assert self.spacing is not None
        assert self.size is not None
        lengths = np.linalg.norm(cell, axis=1)
        nx, ny, nz = (max(1, min(self.size, int(np.ceil(length / self.spacing - 1e-9)))) for length in lengths)
        return nx, ny, nz

    def values(self, material_id: str) -> np.ndarray:
        density = self.catalog[material_id].decode()
        values = resample(density.total, self.points(density.crystal.cell)).astype(np.float32)
        if self.grid is None:
            assert self.size is not None
            values = np.pad(values, [(0, self.size - n) for n in values.shape])
        return values[None]
