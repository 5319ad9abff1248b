"""`build`: files and tables into a store, with latents and predictions; what `chgdb build` does."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .catalog import open_catalog
from .codecs import DEFAULT_TOLERANCE, check_effort
from .elements import check_species
from .errors import ChgdbError, StoreError
from .ingest import BuildReport, OnDuplicate, Packing, Progress, file_state, occupancy_tolerance
from .inputs import Found, Names, Properties, find, read_properties
from .parallel.processes import check_scheduler
from .predicted import names as predicted_names
from .sources import COLUMNS, Listing, is_source, listing
from .store.columns import set_columns
from .store.table import check_column_name, check_value
from .store.transaction import Transaction, is_due, writing

if TYPE_CHECKING:
    from .promolecule import Prior

#: Note beside a store that is being built: predictions are wanted for what it will hold.
_PREDICTIONS = "predictions"


def build(
    out: str | Path,
    inputs: str | Path | Iterable[str | Path] | None = None,
    *,
    ids: str | Path | Mapping[str, str] | None = None,
    id_from: str | None = None,
    properties: str | Path | None = None,
    elements: Sequence[str] | None = None,
    tolerance: float = DEFAULT_TOLERANCE,
    codec: str = "auto",
    workers: int | None = None,
    scheduler: str | None = None,
    on_duplicate: OnDuplicate = "refuse",
    append: bool = True,
    prior: Prior | Literal["auto", "fit"] | None = "auto",
    provenance: Mapping[str, Any] | None = None,
    attributes: Mapping[str, Any] | None = None,
    keep_extras: bool = True,
    occupancies: float | Literal["auto", "exact"] = "auto",
    latents: bool | str | os.PathLike[str] = False,
    predictions: bool | None = None,
    progress: Progress = False,
    potcar: str | None = None,
    effort: str = "normal",
) -> BuildReport:
    """Pack density files into a store at the folder `out`; call it again after any interruption to resume.

    Parameters
    ----------
    out
        Folder of the store, made or added to.
    inputs
        Files, folders (searched recursively), glob patterns, URLs of files (or of folders of a bucket), and collections
        that a source lists (`chgdb.sources`: mp://, list+https://...). None to add properties, latents or predictions
        to a store that exists.
    ids
        Names of the materials: a mapping path -> id, or a CSV with the columns `path` and `material_id`; otherwise the
        file's name, or its folder's where the file is called CHGCAR, and as much of its path as tells materials apart
        (`inputs.ids_of`).
    id_from
        A template for them instead, such as "{parent2}" (`inputs.ids.Template`).
    properties
        A CSV joined by its column `material_id` (or `id`, or the first); units come from headers such as
        `bulk_modulus_GPa` or `bulk_modulus [GPa]` (`inputs.read_properties`). Materials that the store has already get
        its values as well; other values than the store has are refused unless `on_duplicate` is "replace".
    elements
        Symbol of each species in the order of the files, for CHGCARs of VASP 4, which do not name them.
    tolerance
        Largest NMAE allowed for each channel; 0 for lossless.
    codec
        A codec's name; the best for each density unless given.
    workers
        Processes; the cores of this machine unless given.
    scheduler
        Address of a Dask scheduler, tcp://host:8786, whose workers encode; they need the same chgdb, and the files
        under the same paths (or URLs). None or "processes" for processes of this machine.
    on_duplicate
        What to do with an id that the store holds already from another file or with other settings.
    append
        Add to a store that is already at `out`; False refuses to.
    prior
        The atomic densities to subtract: "auto" those of the store, else of the embedded catalog; "fit" to all inputs;
        a `Prior`; None for none.
    provenance
        Column -> value for all of these materials: code, functional, energy_cutoff, structure_source, licence.
    attributes
        Root attributes of the store (title, licence...).
    keep_extras
        Keep augmentation occupancies and whatever else the files hold beside the density.
    occupancies
        Largest error of an augmentation occupancy, relative to the largest of its atom and channel; "auto": half of the
        tolerance; "exact" or 0: their text, byte for byte. A text that is not VASP's is kept in any case.
    latents
        Add latent tensors for all materials that have none: True for the catalog's autoencoder, or the folder or the
        name of another one. Latents that a store has stay in any case.
    predictions
        Predict properties of every material: True or, with None, where the store had predictions before. With False a
        store to which densities are added loses them.
    progress
        True for a progress bar on standard error, or a callable (done, total, id).
    potcar
        Name of a POTCAR or vasprun.xml that lies beside each density: functional, valence, charge, and the titles and
        hashes of its PAW sets go into the record, and nothing else of it.
    effort
        "fast", "normal" or "best": how long to look for a smaller record (`codecs.encode`).

    Returns
    -------
    BuildReport
        With the files that could not be packed, and why.

    Raises
    ------
    StoreError
        If the store cannot be written, another build of it is running, an input leads to nothing, or the scheduler
        does not answer or is lost. Finished records are kept for the next call.
    FormatError
        For a table that cannot be read.
    DensityError
        For elements that are none.
    MissingExtraError
        For a scheduler without Dask, latents without torch.
    """
    if inputs is None and properties is None and not latents and not predictions:
        raise StoreError(f"{os.fspath(out)}: nothing to do: name files, properties, latents or predictions")
    if elements is not None:
        check_species(elements)
    check_effort(effort)
    check_scheduler(scheduler)  # errors come before hours of packing
    wanted_occupancies = occupancy_tolerance(occupancies)
    name_of = Names(ids, id_from)
    joined = read_properties(properties) if properties is not None else Properties({}, {})
    for name, value in (provenance or {}).items():
        check_column_name(name)
        check_value(name, value)
    model = None if isinstance(latents, bool) else os.fspath(latents)
    if latents:
        from .latents.stores import load_model

        load_model(model)
    path = Path(out)
    how: dict[str, Any] = {"workers": workers, "scheduler": scheduler, "progress": progress}

    collected, searched = _collections(inputs)
    found = Found() if searched is None else find(searched)
    sources, of_collections, refused = _sources(name_of, found, collected)

    def known_of(material_id: str) -> Mapping[str, Any]:
        entry = of_collections.get(material_id)
        return {} if entry is None else entry.values

    packing = None if inputs is None else Packing(
        path, sources, file_state, None, lambda i: {**known_of(i), **(provenance or {}), **joined.values.get(i, {})},
        {**(COLUMNS if of_collections else {}), **joined.attributes}, dict(attributes or {}), tolerance, codec, workers,
        scheduler, on_duplicate, append, prior, keep_extras, progress, [*found.refused, *refused],
        None if elements is None else tuple(elements), frozenset(found.searched), of_collections, potcar or "",
        wanted_occupancies, effort,
    )  # fmt: skip
    with writing(path) as transaction:  # over all of it: nobody comes in between
        if transaction.exists and not append:
            raise StoreError(f"{path} exists already; choose another folder, or append to it")
        wanted = predictions
        if wanted is None:
            wanted = is_due(path, _PREDICTIONS) or has_predictions(path)
        filling = _Filling(transaction, packing, found, name_of, joined, on_duplicate == "replace", collected.notes)
        report = filling.run(remember=wanted and predictions is None)
        if latents and transaction.exists:
            from .latents import stores

            report = replace(report, latents=stores.add_latents(path, model, **how))
        if wanted and transaction.exists and (report.added or report.replaced or not has_predictions(path)):
            from . import views

            report = replace(report, predictions=views.add_predictions(path.absolute(), **how))
        transaction.set_due(_PREDICTIONS, False)
    return report


def _collections(
    inputs: str | Path | Iterable[str | Path] | None,
) -> tuple[Listing, list[str | Path] | None]:
    """The listings of the sources among some inputs, and the other inputs; None where there are none."""
    if inputs is None:
        return Listing([]), None
    items = [inputs] if isinstance(inputs, str | Path) else list(inputs)
    listings = [listing(str(item)) for item in items if is_source(item)]
    rest = [item for item in items if not is_source(item)]
    entries = [entry for part in listings for entry in part.entries]
    refused = [problem for part in listings for problem in part.refused]
    notes = [note for part in listings for note in part.notes]
    return Listing(entries, refused, notes), (rest or None) if listings else rest


def _sources(
    name_of: Names, found: Found, collected: Listing
) -> tuple[dict[str, Any], dict[str, Any], list[tuple[str, str]]]:
    """(id -> where its density is, id -> its entry in a collection, what cannot be packed and why)."""
    sources, refused = name_of.assign(found.files, found.origins)
    of_collections = {entry.material_id: entry for entry in collected.entries if entry.material_id not in sources}
    for entry in collected.entries:
        if of_collections.get(entry.material_id) is not entry:
            refused.append((entry.url, f"its id {entry.material_id} is that of another density of these inputs"))
    listed = {name: entry.url for name, entry in of_collections.items()}
    return sources | listed, of_collections, refused + collected.refused


@dataclass
class _Filling:
    """Densities and properties into a store whose lock is held. packing: None where no densities were given."""

    transaction: Transaction
    packing: Packing | None
    found: Found
    names: Names
    joined: Properties
    replace_values: bool
    remarks: Sequence[str]  # of the collections among the inputs

    def run(self, remember: bool) -> BuildReport:
        """remember: that the store has predictions, as `_remembered` does."""
        path = self.transaction.path
        report = BuildReport(str(path), (), (), (), ())
        updated: tuple[str, ...] = ()
        if self.joined.values and self.transaction.exists:
            updated = set_columns(self.transaction, self.joined.values, self.joined.attributes, self.replace_values)
        elif self.packing is None and not self.transaction.exists:
            raise StoreError(f"{path}: there is no store to add to")
        if self.packing is not None:
            with _remembered(self.transaction, remember):
                report = self._packed(self.packing)
        notes = [*self.joined.notes, *self.remarks, *report.notes, _unmatched(self.joined, path, self.transaction)]
        return replace(report, updated=updated, notes=tuple(filter(None, notes)))

    def _packed(self, packing: Packing) -> BuildReport:
        report = packing.run()
        if not (report.added or report.replaced or report.skipped or report.refused):
            why = f" ({reason})" if (reason := next((why for _, why in report.left_out), "")) else ""
            raise StoreError(f"{_some(packing.sources.values())}: no density in what was found{why}")
        return replace(
            report, left_out=(*self.found.left_out, *report.left_out), notes=(self.names.unused, *packing.without_atoms)
        )


def has_predictions(path: Path) -> bool:
    """Whether there is a store with predicted properties. Adding densities drops them, so that they are made anew."""
    return (path / "zarr.json").is_file() and bool(predicted_names(open_catalog(path.absolute())))


def _unmatched(joined: Properties, path: Path, transaction: Transaction) -> str:
    if not joined.values or not transaction.exists:
        return ""
    return joined.unmatched(open_catalog(path.absolute()).ids)


def _some(paths: Iterable[str]) -> str:
    given = list(paths)
    return ", ".join(given[:3]) + (", ..." if len(given) > 3 else "")


@contextmanager
def _remembered(transaction: Transaction, predictions: bool) -> Iterator[None]:
    """Note during a build that the store has predictions. A build drops them; the note stays where the build is cut
    short before they are made anew."""
    if predictions:
        transaction.set_due(_PREDICTIONS, True)
    try:
        yield
    except ChgdbError:
        if predictions and has_predictions(transaction.path):
            transaction.set_due(_PREDICTIONS, False)
        raise
