"""Many densities into a store: in parallel, resumable, with a report of what was refused.

A build encodes densities in processes or on a Dask cluster (`packer.py`). Each finished record goes to a journal beside
the store. At the end the next version of the store is written whole and swapped in
(docs/decisions/0001-a-store-is-replaced-whole.md).
"""

from __future__ import annotations

import io
import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from . import __version__, atomic
from .catalog import open_catalog
from .checksums import crc32c
from .codecs import DEFAULT_TOLERANCE, check_effort, header
from .density import Density
from .errors import ChecksumError, ChgdbError, RemoteError, StoreError
from .formats import read
from .formats.npz import parse_npz
from .formats.streams import bare_name
from .inputs import check_id
from .inputs.calculation import COLUMNS as CALCULATION
from .packer import NoDensity, Packer, Task, checksum_of
from .parallel.outcome import Outcome
from .parallel.processes import PROCESSES, run
from .parallel.progress import reporting
from .remote.connect import read_file
from .sources import SIZE, URL, Entry
from .store.append import CannotLink, append_table, can_append
from .store.files import FolderFiles
from .store.journal import PRIOR, RECORDS, Journal, open_journal
from .store.reader import Location, Store
from .store.table import Finished, from_finished, from_store, merge
from .store.transaction import Transaction, writing
from .store.writer import write_table
from .urls import is_url, public

if TYPE_CHECKING:
    from .latents.stores import LatentReport
    from .promolecule import Equations, Prior

Progress = bool | Callable[[int, int, str], None]
OnDuplicate = Literal["refuse", "replace"]


@dataclass(frozen=True)
class BuildReport:
    """The result of a build.

    Attributes
    ----------
    path : str
        Folder of the store.
    added, replaced : tuple[str, ...]
        Ids that are in the store now.
    skipped : tuple[str, ...]
        Ids that were in the store, from the same file with the same settings.
    refused : tuple[tuple[str, str], ...]
        (path or id, reason in one line).
    left_out : tuple[tuple[str, str], ...]
        (path, reason) of files that hold the same as another file, which was taken, and of files that hold another
        quantity than a density and that nobody named: the search of a folder found them.
    notes : tuple[str, ...]
        Further notes on the inputs, a line each.
    updated : tuple[str, ...]
        Ids that were in the store and have new values of properties.
    latents : LatentReport | None
        Report of the latents, where they were asked for.
    predictions : str
        The model that predicted properties; "" where none did.
    """

    path: str
    added: tuple[str, ...]
    replaced: tuple[str, ...]
    skipped: tuple[str, ...]
    refused: tuple[tuple[str, str], ...]
    left_out: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    latents: LatentReport | None = None
    predictions: str = ""

    @property
    def complete(self) -> bool:
        """Whether everything that was asked for is in the store."""
        return not self.refused and (self.latents is None or self.latents.complete)


def __getattr__(name: str) -> Any:
    if name == "build":  # its place before it made latents and predictions
        return getattr(import_module(".building", __package__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def build_from(
    out: str | Path,
    ids: Sequence[str],
    load: Callable[[str], tuple[Density, Mapping[str, Any]]],
    *,
    columns: Mapping[str, Mapping[str, str]] | None = None,
    attributes: Mapping[str, Any] | None = None,
    tolerance: float = DEFAULT_TOLERANCE,
    codec: str = "auto",
    workers: int | None = None,
    scheduler: str | None = None,
    on_duplicate: OnDuplicate = "refuse",
    append: bool = True,
    prior: Prior | Literal["auto", "fit"] | None = "auto",
    keep_extras: bool = True,
    occupancies: float | Literal["auto", "exact"] = "auto",
    progress: Progress = False,
    effort: str = "normal",
) -> BuildReport:
    """Pack densities that a function returns. Everything else is as for `building.build`.

    Parameters
    ----------
    out : str | Path
        Folder of the store, made or added to.
    ids : Sequence[str]
        Material ids.
    load : Callable[[str], tuple[Density, Mapping[str, Any]]]
        Id -> (density, metadata); metadata is column name -> number, text, bool or None. With several workers or a
        scheduler it must be picklable (a function of a module). The workers call it once for each density; for
        `prior="fit"` this process calls it once more. A call that raises a `ChgdbError` refuses that material.
    columns : Mapping[str, Mapping[str, str]] | None
        Attributes of the metadata's columns: `units`, `long_name`, and any others (`source`, `comment`).
    attributes : Mapping[str, Any] | None
        As for `building.build`.
    tolerance : float
        As for `building.build`.
    codec : str
        As for `building.build`.
    workers : int | None
        As for `building.build`.
    scheduler : str | None
        As for `building.build`.
    on_duplicate : OnDuplicate
        As for `building.build`.
    append : bool
        As for `building.build`.
    prior : Prior | Literal['auto', 'fit'] | None
        As for `building.build`.
    keep_extras : bool
        As for `building.build`.
    occupancies : float | Literal['auto', 'exact']
        As for `building.build`.
    progress : Progress
        As for `building.build`.
    effort : str
        As for `building.build`.

    Returns
    -------
    BuildReport
    """
    refused = []
    sources: dict[str, str] = {}
    for material_id in ids:
        try:
            check_id(material_id)
            if material_id in sources:
                raise StoreError(f"the id {material_id} is given twice")
            sources[material_id] = material_id
        except StoreError as error:
            refused.append((material_id, str(error)))
    build_ = Packing(
        Path(out), sources, lambda source: "", load, lambda material_id: {}, dict(columns or {}),
        dict(attributes or {}), tolerance, codec, workers, scheduler, on_duplicate, append, prior, keep_extras,
        progress, refused, occupancies=occupancy_tolerance(occupancies), effort=effort,
    )  # fmt: skip
    return build_.run()


def occupancy_tolerance(wanted: float | str) -> float | None:
    """The tolerance of `build` in the form that `Packer` takes. Raises `StoreError` for anything else."""
    if wanted == "auto":
        return None
    if wanted == "exact":
        return 0.0
    if isinstance(wanted, str) or not 0 <= wanted < 1:
        raise StoreError(f"occupancies is {wanted!r}; expected 'auto', 'exact' or a fraction from 0 to 1, such as 1e-4")
    return float(wanted)


def file_state(source: str) -> str:
    """The state of a file, which differs after a change of the file. For a URL it is the URL alone."""
    if is_url(source):
        return source
    status = os.stat(source)
    return f"{os.path.abspath(source)} {status.st_size} {status.st_mtime_ns}"


_PART = 32  # sources whose parts in the fit of the prior are added up at once


@dataclass(frozen=True)
class _Equations:
    """(number, sources) -> the part of these densities in the fit of the prior. Picklable.

    previous: arrays of the prior of the last pass.
    """

    load: Callable[[str], tuple[Density, Mapping[str, Any]]] | None
    previous: Mapping[str, np.ndarray] | None
    elements: tuple[str, ...] | None
    copies: Mapping[str, str]

    def __call__(self, part: tuple[int, list[str]]) -> Equations:
        from .promolecule import Equations, Prior

        previous = None if self.previous is None else Prior.from_arrays(self.previous)
        equations = Equations()
        for source in part[1]:
            try:
                if self.load is None:
                    density = read(self.copies.get(source, source), elements=self.elements)
                else:
                    density = self.load(source)[0]
            except ChgdbError:
                continue  # encoding it raises the same error, and the report has that one
            equations.add(density, previous)
        return equations


@dataclass
class Packing:
    """A build: densities to pack, and the settings.

    sources: id -> path, URL, or the argument of `load`. state_of: gives a text that differs after a change of a source.
    metadata: id -> values of columns. columns: their attributes. refused: what was refused before. searched: sources
    that a search of folders found. listed: id -> what a collection says of a density. The other settings are those of
    `build_from`.
    """

    out: Path
    sources: dict[str, str]
    state_of: Callable[[str], str]
    load: Callable[[str], tuple[Density, Mapping[str, Any]]] | None
    metadata: Callable[[str], Mapping[str, Any]]
    columns: Mapping[str, Mapping[str, str]]
    attributes: dict[str, Any]
    tolerance: float
    codec: str
    workers: int | None
    scheduler: str | None
    on_duplicate: OnDuplicate
    append: bool
    prior: Any
    keep_extras: bool
    progress: Progress
    refused: list[tuple[str, str]]
    elements: tuple[str, ...] | None = None
    searched: frozenset[str] = frozenset()
    listed: Mapping[str, Entry] = field(default_factory=dict)
    potcar: str = ""
    occupancies: float | None = None  # as for `Packer`
    effort: str = "normal"  # as for `codecs.encode`
    skipped: list[str] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)  # as in `BuildReport`
    without_atoms: list[str] = field(default_factory=list)  # a line for each new record that lacks atoms
    copies: dict[str, str] = field(default_factory=dict)  # as for `Packer`

    def run(self) -> BuildReport:
        if self.on_duplicate not in ("refuse", "replace"):
            raise StoreError(f"on_duplicate is {self.on_duplicate!r}; expected 'refuse' or 'replace'")
        check_effort(self.effort)
        with (
            writing(self.out, advice="; finished records are kept, build again") as transaction,
            open_journal(transaction, RECORDS, PRIOR) as journal,
        ):
            return self._run(transaction, journal)

    def _run(self, transaction: Transaction, journal: Journal) -> BuildReport:
        with tempfile.TemporaryDirectory(prefix="chgdb-") as folder:
            if self.prior == "fit" and self.load is None and self.tolerance > 0:
                self._copy_urls(Path(folder))
            return self._pack(transaction, journal)

    def _copy_urls(self, folder: Path) -> None:
        """Copy sources at URLs to this machine, because fitting a prior reads every source several times."""
        for number, source in enumerate(source for source in self.sources.values() if is_url(source)):
            with suppress(RemoteError):  # encoding it raises the same error, and the report has that one
                copy = folder / f"{number}-{bare_name(source)}"
                copy.write_bytes(read_file(source))
                self.copies[source] = str(copy)

    def _pack(self, transaction: Transaction, journal: Journal) -> BuildReport:
        store = self._existing(transaction)
        prior = self._choose_prior(store, journal)
        arrays = None if prior is None else prior.to_arrays()
        folder = "" if self.scheduler in (None, PROCESSES) else os.getcwd()
        copies = self.copies if not folder else {}  # workers elsewhere cannot read them
        packer = Packer(
            self.load, self.tolerance, self.codec, arrays, self.keep_extras, folder, self.elements, copies,
            self.potcar, self.occupancies, self.effort,
        )  # fmt: skip
        tasks = self._plan(store, journal, 0 if prior is None else prior.identifier)
        waiting = [task for task in tasks if task.key not in journal.finished]
        done = len(tasks) - len(waiting)
        with reporting(self.progress, "Packing", done, len(tasks)) as step:
            for outcome in run(packer, waiting, self.workers, self.scheduler):
                self._take(outcome, journal)
                step(outcome.task.material_id)
        finished = [journal.finished[task.key] for task in tasks if task.key in journal.finished]
        held = {r.material_id for r in finished if store is not None and store.find(r.material_id) is not None}
        if finished:
            self._commit(transaction, store, finished, prior)
        new = [record.material_id for record in finished]
        return BuildReport(
            str(self.out),
            tuple(i for i in new if i not in held),
            tuple(i for i in new if i in held),
            tuple(self.skipped),
            tuple(self.refused),
            tuple(self.left_out),
        )

    def _existing(self, transaction: Transaction) -> Store | None:
        if os.path.lexists(self.out) and not self.append:
            raise StoreError(f"{self.out} exists already; choose another folder, or append to it")
        if not transaction.exists:
            return None
        return Store(FolderFiles(self.out))

    def _choose_prior(self, store: Store | None, journal: Journal) -> Prior | None:
        if self.prior is None or self.tolerance == 0:
            return None
        if self.prior == "fit":
            return self._fit_prior(journal)
        if self.prior != "auto":
            return self.prior
        if store is not None:
            return store.prior(store.prior_ids[-1]) if store.prior_ids else None
        try:
            return open_catalog().prior
        except StoreError:  # installed without the data package: encode without a prior
            return None

    def _fit_prior(self, journal: Journal) -> Prior:
        """Fit the prior over all sources. The journal keeps it, because finished records depend on it."""
        from .promolecule import Prior

        path = journal.folder / PRIOR
        if path.exists():
            try:
                return Prior.from_arrays(parse_npz(path.read_bytes()))
            except ValueError as error:
                raise StoreError(f"{path} is damaged ({error}): remove it and build again") from None
        prior = self._fitted()
        packed = io.BytesIO()
        np.savez(packed, allow_pickle=False, **prior.to_arrays())
        atomic.write(path, packed.getvalue())
        return prior

    def _fitted(self) -> Prior:
        """As `promolecule.fit`, over processes of this machine. The result does not depend on their number."""
        from .promolecule import PASSES, Equations

        sources = list(self.sources.values())
        parts = [(k, sources[k : k + _PART]) for k in range(0, len(sources), _PART)]
        prior = None
        with reporting(self.progress is True, "Fitting the prior", 0, PASSES * len(sources)) as step:
            for _ in range(PASSES):
                total, due = Equations(), 0
                ahead: dict[int, Equations] = {}
                arrays = None if prior is None else prior.to_arrays()
                for outcome in run(_Equations(self.load, arrays, self.elements, self.copies), parts, self.workers):
                    if outcome.result is None:
                        raise StoreError(f"{self.out}: the prior could not be fitted: {outcome.reason}")
                    ahead[outcome.task[0]] = outcome.result
                    while due in ahead:  # sums of floats depend on their order, which is always that of the sources
                        total.merge(ahead.pop(due))
                        due += _PART
                    for source in outcome.task[1]:
                        step(os.path.basename(source))
                prior = total.solve()
        assert prior is not None
        return prior

    def _plan(self, store: Store | None, journal: Journal, prior_id: int) -> list[Task]:
        """Tasks for the records that the store needs, including finished ones."""
        given: list[Any] = [] if self.elements is None else [self.elements]
        given += [self.potcar] if self.potcar else []
        given += [] if self.occupancies is None else [{"occupancies": self.occupancies}]
        given += [] if self.effort == "normal" else [{"effort": self.effort}]
        settings = json.dumps([self.tolerance, self.codec, prior_id, self.keep_extras, *given])
        tasks = []
        for material_id, source in self.sources.items():
            try:
                state = self.state_of(source)
            except OSError as error:
                self.refused.append((public(source), f"cannot be read: {error.strerror}"))
                continue
            entry = self.listed.get(material_id)
            digest = "" if entry is None else entry.digest
            task = Task(material_id, source, f"{material_id} {settings} {state}", source in self.searched, digest)
            location = None if store is None else store.find(material_id)
            if store is not None and location is not None and self.on_duplicate == "refuse":
                finished = journal.finished.get(task.key)
                if finished and store.record_bytes(material_id, location) == (finished.payload, finished.extras):
                    self.skipped.append(material_id)  # killed after the swap, before removing the journal
                    continue
                if self.load is None and self._is_same(store, location, source):
                    self.skipped.append(material_id)
                    continue
                self.refused.append((public(source), f"{material_id} is already in {self.out}; ask to replace it"))
                continue
            tasks.append(task)
        return tasks

    def _is_same(self, store: Store, location: Location, source: str) -> bool:
        """Whether a record was made from this file with this tolerance, and with these elements if any are given."""
        if store.value("tolerance", location.row) != self.tolerance:
            return False
        entry = self.listed.get(str(store.value("material_id", location.row)))
        if entry is not None and entry.size and self.elements is None and {URL, SIZE} <= set(store.arrays):
            held = store.value(URL, location.row), store.value(SIZE, location.row)
            if held == (entry.url, entry.size):
                return True  # so it is not fetched again
        data = read_file(source) if is_url(source) else None
        checksum = checksum_of(source) if data is None else crc32c(data)
        if int(store.value("source_crc32c", location.row)) != checksum:
            return False
        if self.elements is None:
            return True
        try:
            given = read(source, elements=self.elements, data=data).crystal.numbers
        except ChgdbError:
            return False
        payload = store.record_bytes(str(store.value("material_id", location.row)), location)[0]
        return np.array_equal(header(payload).crystal.numbers, given)

    def _take(self, outcome: Outcome[Task, Finished | NoDensity], journal: Journal) -> None:
        if isinstance(outcome.result, Finished):
            journal.add(outcome.task.key, outcome.result)
        elif outcome.result is not None:
            if outcome.result.reason:
                self.left_out.append((public(outcome.task.source), outcome.result.reason))
        else:
            self.refused.append((public(outcome.task.source), outcome.reason))

    def _commit(
        self, transaction: Transaction, store: Store | None, finished: list[Finished], prior: Prior | None
    ) -> None:
        """Write the next version of the store, and swap it in."""
        complete = [
            Finished(r.material_id, r.payload, r.extras, {**r.values, **self.metadata(r.material_id)}) for r in finished
        ]
        missing = ((r.material_id, header(r.payload).crystal.missing) for r in finished)
        self.without_atoms += [f"{material_id}: {what}" for material_id, what in missing if what]
        named = {name for record in complete for name in record.values}
        known = {name: attributes for name, (_, attributes) in CALCULATION.items() if name in named and attributes}
        table = from_finished(complete, {**known, **self.columns})
        if prior is not None and any(header(r.payload).prior_id == prior.identifier for r in finished):
            table.priors[prior.identifier] = prior.to_arrays()
        table.attributes = {"generator": f"chgdb {__version__}", **self.attributes}
        if store is not None and can_append(store, table):
            try:
                with transaction.version() as folder:
                    append_table(folder, store, table)
                return
            except (CannotLink, ChecksumError):  # a whole write says which record is damaged, if one is
                pass
        with transaction.version() as folder:
            write_table(folder, table if store is None else merge(from_store(store), table))
