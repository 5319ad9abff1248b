"""Rebuild the data package from its sources: `python catalog/rebuild.py`.

    sources/batch-*.bin, .jsonl.gz   the densities, append-only (see `batches.py`)
    ../shared/labels/labels.csv      properties by Materials Project id (`--labels`)
        -> chgdb.zarr                the embedded store, with the prior fitted to all of its densities
    models/autoencoder/              the trained autoencoder (`chgdb train autoencoder`)
        -> chgdb.zarr/latent         the latent of every material, and its error
    chgdb.zarr, ../shared/densities/queue.jsonl.gz (`--structures`: labelled ones without a density)
        -> models/properties/        the property models
        -> models/volumes/           the volumes at rest that tell stretched cells
        -> chgdb.zarr                formation energies of our DFT, doubted labels
        -> chgdb.zarr/view           what they predict for every material
    chgdb.zarr
        -> chgdb.zarr/view/charges   net charges of all atoms, by Hirshfeld's rule and Bader's
    all of these, sources/refused.jsonl
        -> README.md, coverage.svg   the datasheet: its counts, tables and picture

`--records` codes the densities anew, after the codec has learned to write fewer bytes; all that was made of them stays.
Interrupted, it resumes. Only what disagrees with its sources is rebuilt, unless `--force`. The autoencoder stays: what
a latent means is defined by its weights, and training them anew is a decision. Afterwards
`python tests/refresh_docs.py` brings the outputs shown in the documentation up to date, and
`python catalog/studies/evaluate_properties.py` the tables of the property models.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

if not __package__:  # run as a script: the folder is importable as chgdb_catalog once chgdb is installed
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from chgdb import charging, models, splits, views
from chgdb.catalog import Catalog, open_catalog
from chgdb.codecs.symmetric import symmetrised
from chgdb.density import Density
from chgdb.errors import ChgdbError
from chgdb.hull import Hull
from chgdb.ingest import build_from
from chgdb.latents import description, volumes
from chgdb.latents import stores as latents
from chgdb.models import storage, training
from chgdb.models import volumes as volumes_at_rest
from chgdb.models.applicability import DESCRIPTORS
from chgdb.models.ensemble import Ensemble, Predictions
from chgdb.models.held_out import HeldOut
from chgdb.models.intervals import NORMAL_HALF
from chgdb.plugins import models_folder
from chgdb.predicted import HALF, OUT_OF_FOLD, STD
from chgdb.store.columns import set_columns
from chgdb.store.format import MEASURED
from chgdb.store.table import from_store
from chgdb.store.transaction import writing
from chgdb.store.writer import write_table
from chgdb_catalog import batches, datasheet, doubts, energies, labels
from chgdb_catalog.columns import ATTRIBUTES, COLUMNS, DERIVED, PROVENANCE
from chgdb_catalog.dft import checks
from chgdb_catalog.structures import crystal as crystal_of

HERE = Path(__file__).resolve().parent
STORE = HERE / "chgdb.zarr"
#: Features of materials are kept here, for models and for their evaluation.
FEATURES = HERE / ".features"
TOLERANCE = 1e-4

_NUMBERS = {
    "dft_energy": "energy_eV",
    "fermi_energy": "fermi_eV",
    "band_gap": "band_gap_eV",
    "magnetic_moment": "magnetic_moment_muB",
    "n_kpoints": "n_kpoints_irreducible",
}


class Loader:
    """id -> (density, metadata), for `build_from`; picklable, so that workers read the batches themselves.

    GPAW imposes neither screw axes nor glide planes, and its grids hold products of waves only in part: the densities
    break the symmetry of their crystals by up to some tenths of a per cent. That error, which takes more bytes than
    all the rest, is taken out, as VASP does before it writes a CHGCAR; the column `asymmetry` says how much it was.
    """

    def __init__(self, properties: dict[str, dict[str, Any]], claims: dict[str, str]) -> None:
        self._properties = properties
        self._claims = claims

    def __call__(self, material_id: str) -> tuple[Density, dict[str, Any]]:
        record, grids = batches.load(material_id)
        crystal = crystal_of(record)
        metadata = {
            **PROVENANCE,
            "structure_source": record["structure_source"],
            "space_group": int(record["space_group"]),
            "spin_polarised": bool(record["spin_polarised"]),
            **self._properties.get(material_id, {}),
            "split": str(splits.assign([crystal.formula], known=self._claims)[0]),
        }
        for column, field in _NUMBERS.items():
            if record[field] is not None:  # GPAW gives no gap, say, where all bands are full
                metadata[column] = float(record[field])
        density, metadata["asymmetry"] = symmetrised(Density(crystal, grids), checks.DEFAULT.asymmetry)
        return density, metadata


def build_store(out: Path, labels_path: Path, workers: int | None) -> None:
    """The embedded store, beside the old one and swapped in when complete. Raises `ChgdbError` if a record fails."""
    fresh = _build(out, list(batches.index()), labels_path, workers, "fit")
    with writing(out) as transaction, transaction.version(fresh):
        pass  # it is whole


def code_again(out: Path, labels_path: Path, workers: int | None) -> None:
    """The records of the embedded store, coded anew with its own prior; whatever else it holds stays.

    What a codec writes in fewer bytes is the same density, to the same tolerance. Latents and predictions were made of
    it and need no other. Raises `ChgdbError` if a record fails, or the store is of other densities.
    """
    catalog = open_catalog(out)
    fresh = _build(out, list(catalog.ids), labels_path, workers, catalog.prior)
    with writing(out) as transaction:
        table = from_store(catalog.store, keep_views=True)
        again = from_store(open_catalog(fresh).store, catalog.ids)
        if (table.columns["source_crc32c"] != again.columns["source_crc32c"]).any():
            raise ChgdbError(f"{out}: is of other densities than {batches.SOURCES}; rebuild it without --records")
        table.records = again.records
        table.columns.update({name: again.columns[name] for name in MEASURED & again.columns.keys()})
        with transaction.version() as folder:
            write_table(folder, table)
    shutil.rmtree(fresh)


def _build(out: Path, ids: list[str], labels_path: Path, workers: int | None, prior: Any) -> Path:
    """A store of densities beside `out`; begun before, it is gone on with."""
    fresh = out.with_name(f".{out.name}.rebuild")
    if (fresh / "zarr.json").exists() and set(open_catalog(fresh).ids) == set(ids):
        return fresh  # interrupted before it was put in its place
    load = Loader(labels.read(labels_path), labels.claims(labels_path))
    report = build_from(
        fresh, ids, load, columns=COLUMNS, attributes=ATTRIBUTES, tolerance=TOLERANCE, workers=workers, prior=prior,
        progress=True,
    )  # fmt: skip
    if not report.complete:
        material_id, reason = report.refused[0]
        raise ChgdbError(f"{len(report.refused)} of {len(ids)} densities were refused, first {material_id}: {reason}")
    return fresh


def add_latents(store: Path, workers: int | None) -> None:
    """Latents of the catalog's autoencoder for every material that has none of it; without one nothing to do.

    Raises `MissingExtraError` without torch, `ChgdbError` where a material gets none.
    """
    if not (models_folder("autoencoder") / volumes.DEFAULT / description.MODEL).exists():
        return
    report = latents.add_latents(store, workers=workers, progress=True)
    if not report.complete:
        material_id, reason = report.refused[0]
        raise ChgdbError(f"{len(report.refused)} materials have no latent, first {material_id}: {reason}")


def stale_models(store: Path, folder: Path) -> list[str]:
    """Names of the property models in a folder that were trained on another number of materials than a store has, or by
    another version of their learner."""
    materials = len(open_catalog(store))
    found = []
    for path in sorted(folder.glob(f"*/{storage.DESCRIPTION}")):
        described = storage.read_description(path.parent)
        other = described["version"] != models.get(described["name"]).Model.VERSION
        if other or described.get("data", {}).get("materials") != materials:
            found.append(path.parent.name)
    return found


def train_properties(store: Path, structures: Path, labels_path: Path, workers: int | None, force: bool) -> None:
    """Train again the property models that are stale, by `stale_models`; all of them with `force`.

    structures: labelled ones without a density train too, where there is such a file.
    """
    from chgdb_cli.train import properties

    folder = models_folder("properties")
    names = [p.parent.name for p in sorted(folder.glob(f"*/{storage.DESCRIPTION}"))]
    stale = names if force else stale_models(store, folder)
    if stale:
        there = structures.exists()
        properties(
            model=stale, output=folder, structures=structures if there else None, labels=labels_path if there else None,
            cache=FEATURES, workers=workers, catalog=str(store),
        )  # fmt: skip


def complete_properties(store: Path) -> None:
    """What follows from the stored model and the store: intervals of the model where it has none, and the columns of
    `DERIVED`: formation energies of our DFT, their distances from the hull, moments and doubted labels."""
    folder = models_folder("properties") / views.DEFAULT_MODEL
    if not folder.is_dir():
        return
    catalog = open_catalog(store)
    if not views.load_model().held_out.half:
        training.renew_intervals(folder, catalog, lambda text: typer.echo(text, err=True))
    add_volumes(catalog, views.load_model())
    add_derived(store, views.load_model().held_out)


def add_volumes(catalog: Catalog, ensemble: Ensemble, folder: Path | None = None) -> None:
    """Volumes at rest that go with the tables of a property model, where there are none of it."""
    folder, weights = folder or models_folder(volumes_at_rest.NAME), volumes_at_rest.weights_of(ensemble)
    if not weights or volumes_at_rest.of(ensemble, folder) is not None:
        return
    known = ensemble.held_out
    crystals = [catalog[material_id].crystal for material_id in known.position]
    found = volumes_at_rest.Volumes.fit(
        ensemble.members[0], crystals, known.formulas, progress=lambda text: typer.echo(text, err=True)
    )
    with writing(folder, storage.MODEL) as transaction, transaction.version() as fresh:
        found.save(fresh, weights)


def add_derived(store: Path, held_out: HeldOut) -> None:
    """The columns of `columns.DERIVED`, as they follow from the store and the out-of-fold predictions of a model."""
    catalog = open_catalog(store)
    own, doubted = energies.of_catalog(catalog).values, doubts.of_catalog(catalog, held_out)
    above = Hull(catalog.column("formula").tolist(), own).distances(catalog.column("formula").tolist(), own)
    moments = catalog.column("magnetic_moment") / catalog.column("n_atoms")
    numbers = {"formation_energy_dft": own, "hull_distance": above, "magnetic_moment_per_atom": moments}
    values: dict[str, dict[str, Any]] = {
        material_id: {name: _rounded(column[row]) for name, column in numbers.items()}
        for row, material_id in enumerate(catalog.ids)
    }
    for material_id in catalog.ids:
        values[material_id]["label_doubt"] = doubted.get(material_id, "")
    with writing(store) as transaction:
        set_columns(transaction, values, DERIVED, replace=True)


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 4) + 0.0  # no negative zeros


def predict_properties(store: Path, workers: int | None) -> None:
    """The view "properties" of the store, where it is missing or by another version of the model than the stored one.

    Needs a trained model (`chgdb train properties`); without one there is nothing to do.
    """
    if not (models_folder("properties") / views.DEFAULT_MODEL).is_dir():
        return
    catalog = open_catalog(store)
    if not views.names(catalog) or views.View(catalog, views.PROPERTIES).stale:
        views.add_predictions(store, cache=FEATURES, workers=workers, progress=True)
    else:
        renew_flags(store)


def renew_flags(store: Path) -> bool:
    """Bring the view's `unlike_training` to what the domain of the stored model says now; whether anything changed.

    All materials of the embedded store trained the model, so that their descriptors are within it; what may be unlike
    is the structure, by the rules of `applicability`. Where other materials are in a store, or one is no longer unlike,
    predictions have to be made anew, and nothing is done here.
    """
    catalog, ensemble = open_catalog(store), views.load_model()
    ids, domain = tuple(catalog.ids), ensemble.domain
    if not views.names(catalog) or views.View(catalog, views.PROPERTIES).stale:
        return False
    view = catalog.view(views.PROPERTIES)
    inside = np.array([0.5 * (domain.low[name] + domain.high[name]) for name in DESCRIPTORS])
    remarks = tuple(tuple(domain.remarks(catalog[material_id].crystal, inside)) for material_id in ids)
    unlike, before = np.array([bool(found) for found in remarks]), view["unlike_training"] == 1
    trained = ensemble.held_out.rows_of(ids, catalog.column("formula").tolist()) >= 0
    if (unlike == before).all() or (before & ~unlike).any() or not trained.all():
        return False

    def wider(name: str, values: np.ndarray, factor: float) -> np.ndarray:
        """Of what is unlike and not out of fold, as the model itself does."""
        spread = factor * ensemble.calibration[name].spread
        return np.where(unlike & (view[name + OUT_OF_FOLD] == 0), np.maximum(values, spread), values)

    names = [name for name in ensemble.targets if name in view]
    found = Predictions(
        {n: view[n] for n in names},
        {n: wider(n, view[n + STD], 1.0) for n in names},
        {n: view[n + OUT_OF_FOLD] == 1 for n in names},
        remarks,
        ensemble.identifier,
        {n: wider(n, view[n + HALF], NORMAL_HALF) for n in names if n + HALF in view},
    )
    views.write(store, ids, found, ensemble, catalog.store.token)
    return True


def add_charges(store: Path, workers: int | None) -> None:
    """The view "charges" of the store: net charges of the atoms of every material that has none of its density.

    Some 40 minutes of CPU for all of them. Raises `ChgdbError` if a record is damaged.
    """
    for material_id, reason in charging.add_charges(store, workers=workers, progress=True).refused:
        typer.echo(f"{material_id} has no charges: {reason}", err=True)


def is_stale(store: Path, labels_path: Path) -> bool:
    """Whether a store is missing, or holds other materials than catalog/sources or other labels than the table."""
    if not (store / "zarr.json").exists():
        return True
    catalog = open_catalog(store)
    return set(catalog.ids) != set(batches.index()) or not labels.agree(catalog, labels.read(labels_path))


def main(
    labels_path: Annotated[Path, typer.Option("--labels", help="labels.csv with properties by id")] = (
        HERE.parent.parent / "shared" / "labels" / "labels.csv"
    ),
    workers: Annotated[int | None, typer.Option(help="processes; all cores unless given")] = None,
    structures: Annotated[Path, typer.Option(help="structures without a density that train property models too")] = (
        HERE.parent.parent / "shared" / "densities" / "queue.jsonl.gz"
    ),
    train: Annotated[
        bool, typer.Option(help="train property models of other materials or versions again: an hour and more")
    ] = True,
    force: Annotated[bool, typer.Option("--force", help="rebuild what is up to date too")] = False,
    records: Annotated[
        bool, typer.Option("--records", help="code the records anew and keep prior, latents and predictions")
    ] = False,
) -> None:
    """Rebuild the embedded store, the property models and the datasheet from catalog/sources and the labels."""
    try:
        if not labels_path.exists():
            raise ChgdbError(f"{labels_path}: no such file; name the table of properties with --labels")
        if records:
            code_again(STORE, labels_path, workers)
        elif force or is_stale(STORE, labels_path):
            build_store(STORE, labels_path, workers)
        add_latents(STORE, workers)
        if train:
            train_properties(STORE, structures, labels_path, workers, force and not records)
            complete_properties(STORE)
        predict_properties(STORE, workers)
        add_charges(STORE, workers)
        datasheet.write(HERE / "README.md", STORE)
    except (ChgdbError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    typer.run(main)
