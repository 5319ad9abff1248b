"""Latents of a whole store: encoded, kept up to date, decoded.

Every finished latent goes to a journal beside the store; at the end the store's next version is written whole and
swapped in, as by a build (docs/decisions/0001-a-store-is-replaced-whole.md).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..catalog import Catalog, Record
from ..checksums import crc32c
from ..codecs import measure
from ..density import Crystal, Density, check_sign
from ..errors import CodecError, StoreError
from ..parallel.processes import run
from ..parallel.progress import reporting
from ..store.files import FolderFiles
from ..store.format import NMAE, SPACING
from ..store.journal import LATENTS, Journal, open_journal
from ..store.latents import MODEL_ATTRIBUTES, StoredLatents, compress, decompress, within_range
from ..store.reader import Store
from ..store.table import Finished, from_store
from ..store.transaction import Transaction, writing
from ..store.writer import write_table

if TYPE_CHECKING:
    from .autoencoder import Autoencoder


@dataclass(frozen=True)
class LatentReport:
    """The result of `add_latents`.

    Attributes
    ----------
    path : str
        Folder of the store.
    model : str
        Identifier of the autoencoder.
    added : tuple[str, ...]
        Ids with a new latent.
    kept : int
        Number of materials that had a latent of this model.
    refused : tuple[tuple[str, str], ...]
        (id, reason in one line) of materials that got no latent.
    """

    path: str
    model: str
    added: tuple[str, ...]
    kept: int
    refused: tuple[tuple[str, str], ...]

    @property
    def complete(self) -> bool:
        """Whether every material that was asked for has a latent."""
        return not self.refused


@lru_cache(maxsize=2)
def load_model(model: str | os.PathLike[str] | None = None) -> Autoencoder:
    """An autoencoder by its folder, its variant's name, or the catalog's own; loaded once a process.

    Returns
    -------
    Autoencoder

    Raises
    ------
    MissingExtraError
        Without torch.
    CodecError, ChecksumError
        As `Autoencoder.load`.
    """
    from .autoencoder import Autoencoder

    return Autoencoder.load(model)


def attributes_of(model: Autoencoder) -> dict[str, Any]:
    """Attributes in a store or a file of a latent that name the model that made it."""
    from .description import MODEL_FORMAT

    return {"model": model.identifier, "model_version": MODEL_FORMAT, "model_checksum": model.checksum}


def check_same(model: Autoencoder, facts: dict[str, Any], what: str) -> None:
    """Raises `CodecError` if a latent is not of this model: another network, other weights, another version."""
    own = attributes_of(model)
    for name in MODEL_ATTRIBUTES:
        if facts.get(name) != own[name]:
            raise CodecError(
                f"{what} is a latent of the autoencoder {facts.get('model')} (version {facts.get('model_version')}), "
                f"not of {own['model']} (version {own['model_version']}): name its model, or encode the density again"
            )


@dataclass(frozen=True)
class Coded:
    """A latent with the error measured by decoding it.

    Attributes
    ----------
    integers : np.ndarray
        (channel, z, y, x) int16, the latent in steps of its quantisation.
    nmae : float
        NMAE of the decoded total density on its own grid, symmetric and rescaled.
    spacing : float
        Largest distance between the grid points that the network saw, Å.
    """

    integers: np.ndarray
    nmae: float
    spacing: float


def encode(model: Autoencoder, density: Density, refine: int = 0, *, progress: bool = False) -> Coded:
    """Latent of a density's total channel, and its error.

    Parameters
    ----------
    model : Autoencoder
        The autoencoder.
    density : Density
        The density to encode.
    refine : int
        Steps of gradient descent from the encoder's latent, as `Autoencoder.encode`
    progress : bool
        Whether to show a progress bar of the steps.

    Returns
    -------
    Coded

    Raises
    ------
    DensityError
        For a `ScalarField`, and for values of which a quarter is negative.
    CodecError
        As `Autoencoder.encode` and `decode`.
    """
    check_sign(density, "latents are of total densities; encode those that it was made of")
    total = Density(density.crystal, {"total": density.total})
    with reporting(progress and refine > 0, "Refining", 0, refine) as step:
        integers = within_range(model.encode(total, refine, lambda: step(density.crystal.formula)))
    decoded = model.decode(integers, density.crystal, density.grid, density.n_electrons)
    lengths = np.linalg.norm(density.crystal.cell, axis=1)
    spacing = float((lengths / model.configuration.volume_shape(density.crystal.cell)[::-1]).max())
    return Coded(integers, measure(total, decoded).nmae["total"], spacing)


def decode(
    model: Autoencoder,
    integers: np.ndarray,
    crystal: Crystal,
    grid: tuple[int, int, int],
    n_electrons: float | None,
    rescale: bool = True,
    symmetric: bool = True,
) -> Density:
    """Density of a latent, as `Autoencoder.decode`, after a look at the memory that it takes.

    Parameters
    ----------
    model : Autoencoder
        The one that made the latent.
    integers : np.ndarray
        (channel, z, y, x), the latent in steps of its quantisation.
    crystal : Crystal
        The structure.
    grid : tuple[int, int, int]
        Grid points along each lattice vector.
    n_electrons : float | None
        Of the cell; models of difference densities need it.
    rescale : bool
        Multiply the density so that it has exactly that many electrons.
    symmetric : bool
        Keep what has the symmetry of the crystal.

    Returns
    -------
    Density

    Raises
    ------
    CodecError
        For a latent of another shape, a missing electron count, a grid too large for memory.
    """
    # Complex spectra and real values of the density and of its atoms, several of each at a time.
    needed, free = 64 * int(np.prod(grid, dtype=object)), _free_memory()
    if free is not None and needed > free:
        raise CodecError(
            f"a grid of {' x '.join(map(str, grid))} points takes about {needed / 1e9:.1f} GB of memory, and "
            f"{free / 1e9:.1f} GB are free: use a coarser one"
        )
    return model.decode(integers, crystal, grid, n_electrons, rescale, symmetric)


def _free_memory() -> int | None:
    """Bytes of memory that are free, None where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return None


def decode_record(
    record: Record,
    model: Autoencoder | None = None,
    grid: tuple[int, int, int] | None = None,
    rescale: bool = True,
    symmetric: bool = True,
) -> Density:
    """Decode the total density of a record from its latent instead of its payload.

    Parameters
    ----------
    record : Record
        The material.
    model : Autoencoder | None
        The model that made the latents; the catalog's own unless given.
    grid : tuple[int, int, int] | None
        Grid points along each lattice vector; the native grid unless given.
    rescale : bool
        Multiply the density so that it has exactly the record's electron count.
    symmetric : bool
        Keep only the part with the symmetry of the record's structure.

    Returns
    -------
    Density

    Raises
    ------
    StoreError
        If the record has no latent.
    CodecError
        If another model made the latent, or `decode` raises it.
    """
    facts = record.catalog.latent_model
    integers = record.latent_integers
    model = load_model() if model is None else model
    check_same(model, facts or {}, f"{record.material_id} in {record.catalog.path}")
    points = record.grid if grid is None else grid
    return decode(model, integers, record.crystal, points, record.n_electrons, rescale, symmetric)


@dataclass(frozen=True)
class _LatentMaker:
    """Everything a worker needs: from an id to a finished latent. Picklable."""

    store: str
    model: str | None

    def __call__(self, material_id: str) -> Finished:
        coded = encode(load_model(self.model), _catalog(self.store)[material_id].decode())
        return Finished(material_id, compress(coded.integers), b"", {NMAE: coded.nmae, SPACING: coded.spacing})


@lru_cache(maxsize=1)
def _catalog(path: str) -> Catalog:
    return Catalog(path)


def add_latents(
    store: str | Path,
    model: str | os.PathLike[str] | None = None,
    *,
    ids: Iterable[str] | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: bool | Callable[[int, int, str], None] = False,
) -> LatentReport:
    """Add a latent to every material of a store that has none of this model.

    Call it again after any interruption: finished latents are in a journal. Readers see the store as it was until all
    is written. Predicted views in the store are kept. Damaged latents count as missing; where anything else of the
    store is damaged beyond repair nothing is written.

    Parameters
    ----------
    store : str | Path
        Folder of the store.
    model : str | os.PathLike[str] | None
        Folder of the autoencoder, or the name of a variant; the catalog's own unless given.
    ids : Iterable[str] | None
        These materials only; the others keep their latents where they are of the same model.
    workers : int | None
        Processes; the cores of this machine unless given.
    scheduler : str | None
        Address of a Dask scheduler whose workers encode, as for `build`.
    progress : bool | Callable[[int, int, str], None]
        True for a progress bar on standard error, or a callable (done, total, id).

    Returns
    -------
    LatentReport

    Raises
    ------
    StoreError
        If the store cannot be written or a build of it is running.
    MissingExtraError
        Without torch.
    CodecError, ChecksumError
        For a model that cannot be loaded.
    UnknownMaterialError
        For an id that the store does not have.
    """
    path = Path(store)
    if not (path / "zarr.json").is_file():
        raise StoreError(f"{path}: latents are written into a store in a folder, and there is none")
    place = None if model is None else os.path.abspath(model) if os.path.isdir(model) else os.fspath(model)
    loaded = load_model(place)
    catalog = Catalog(path)
    wanted = None if ids is None else [catalog[i].material_id for i in ids]
    with (
        writing(path, advice="; finished latents are kept, compute them again") as transaction,
        open_journal(transaction, LATENTS) as journal,
    ):
        return _Pass(path, place, loaded, wanted, workers, scheduler, progress, transaction, journal).run()


@dataclass
class _Pass:
    """One run of `add_latents` under the store's lock."""

    path: Path
    place: str | None
    model: Autoencoder
    wanted: list[str] | None
    workers: int | None
    scheduler: str | None
    progress: bool | Callable[[int, int, str], None]
    transaction: Transaction
    journal: Journal
    refused: list[tuple[str, str]] = field(default_factory=list)

    def run(self) -> LatentReport:
        store = Store(FolderFiles(self.path))
        ids = [str(i) for i in store.column("material_id")]
        kept = self._kept(store)
        targets = set(ids if self.wanted is None else self.wanted)
        keys = {i: self._key(store, i) for row, i in enumerate(ids) if i in targets and kept[row] is None}
        waiting = [i for i, key in keys.items() if key not in self.journal.finished]
        with reporting(self.progress, "Latents", len(keys) - len(waiting), len(keys)) as step:
            maker = _LatentMaker(str(self.path.absolute()), self.place)
            for outcome in run(maker, waiting, self.workers, self.scheduler):
                if outcome.result is not None:
                    self.journal.add(keys[outcome.task], outcome.result)
                else:
                    self.refused.append((outcome.task, outcome.reason))
                step(outcome.task)
        done = {i: self.journal.finished[key] for i, key in keys.items() if key in self.journal.finished}
        if done or (store.latents is not None and not self._is_current(store)):
            self._commit(store, ids, kept, done)
        count = sum(chunk is not None for chunk in kept)
        return LatentReport(str(self.path), self.model.identifier, tuple(done), count, tuple(self.refused))

    def _is_current(self, store: Store) -> bool:
        reader = store.latents
        return (
            reader is not None and reader.model == attributes_of(self.model) and reader.shape == self.model.latent_shape
        )

    def _kept(self, store: Store) -> list[bytes | None]:
        """Chunks of each row that are by this model and undamaged."""
        chunks: list[bytes | None] = [None] * store.n_materials
        reader = store.latents
        if reader is not None and self._is_current(store):
            for row in range(store.n_materials):
                try:
                    chunk = reader.chunk(row)
                    if chunk is not None:
                        decompress(chunk, reader.shape)
                    chunks[row] = chunk
                except ValueError:
                    continue  # damaged: computed anew
        return chunks

    def _key(self, store: Store, material_id: str) -> str:
        """A text that changes with the material's record and with the model, on which a latent depends."""
        location = store.find(material_id)
        if location is None:
            raise StoreError(f"{store.location}: the index lacks {material_id}; run chgdb verify")
        return f"{material_id} {self.model.checksum} {crc32c(store.record_bytes(material_id, location)[0]):08x}"

    def _commit(self, store: Store, ids: list[str], kept: list[bytes | None], done: dict[str, Finished]) -> None:
        """Write the next version of the store and swap it in."""
        table = from_store(store, keep_latents=False, keep_views=True)
        columns = {}
        for name in (NMAE, SPACING):
            old = store.column(name) if name in store.arrays else np.full(len(ids), np.nan)
            columns[name] = np.array(
                [done[i].values[name] if i in done else old[row] if kept[row] is not None else np.nan
                 for row, i in enumerate(ids)], float,
            )  # fmt: skip
        chunks = [done[i].payload if i in done else kept[row] for row, i in enumerate(ids)]
        latents = StoredLatents(self.model.latent_shape, float(self.model.step), attributes_of(self.model), chunks)
        table.set_latents(latents, columns)
        with self.transaction.version() as folder:
            write_table(folder, table)
