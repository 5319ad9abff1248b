"""Measure the property models, and write the results: `python catalog/studies/evaluate_properties.py`.

    chgdb.zarr (densities, labels, latents), ../shared (structures without a density, VASP files)
        -> docs/science/data/properties.json   every number
        -> docs/science/figures/properties-*.svg
        -> docs/science/properties.md          its tables, between their markers; label_checks.json of
                                               `check_labels.py` is put beside the labels

Models are trained for both protocols. The working folder (`--work`) keeps predictions. They are used again as long as
rows, labels, inputs and the version of the model are the same, so that an interrupted run goes on. `--model` adds
single models. The tables show the models that were measured.
"""

from __future__ import annotations

import io
import json
import re
import sys
from functools import reduce
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from chgdb import models
from chgdb.catalog import Catalog, open_catalog
from chgdb.errors import ChgdbError
from chgdb.models import Rows, ensemble, storage
from chgdb.models.ensemble import HELD_OUT, Ensemble, Predictions
from chgdb.models.evaluation import FOLDS
from chgdb.models.held_out import HeldOut
from chgdb.models.rows import from_catalog
from chgdb.models.rows import labels as labels_of
from chgdb.plugins import models_folder
from chgdb_catalog import structures
from chgdb_catalog.batches import write_atomically
from chgdb_catalog.rebuild import FEATURES
from chgdb_catalog.studies import property_report, property_studies, trust_studies

HERE = Path(__file__).resolve().parents[1]
DOCS = HERE.parent / "docs" / "science"
#: Models of Table 1, in order.
COMPARED = ("latent_cnn", "magpie", "lightgbm", "lightgbm_512", "attention", "multitarget", "invariant")
#: Models trained once on all training rows of the paper's split, without folds for a calibration: they take longest.
_ONCE = ("latent_cnn", "lightgbm", "lightgbm_512", "attention", "multitarget", "singletarget")
#: Models compared on every target, including those that only the study needs.
_ALL_TARGETS = ("multitarget", "singletarget")
#: A model trained on structures without a density, too: its name in tables and files.
EXTENDED = "+"
#: Further test sets of the size of the paper's, because three hundred rows are too few for some comparisons.
DRAWS = 2


class Measurement:
    """Rows, labels and the predictions of every model under both protocols."""

    def __init__(self, catalog: Catalog, shared: Path, work: Path, names: list[str], workers: int | None) -> None:
        self.catalog, self.work = catalog, work
        inputs = list(ensemble.required_inputs([name.rstrip(EXTENDED) for name in names]))
        for name in ("density", "magpie", "structure"):  # inputs of the studies
            if name != "structure" and name not in inputs:
                inputs.append(name)
        self.rows: Rows = from_catalog(catalog, inputs, cache=FEATURES, workers=workers, progress=sys.stderr.isatty())
        self.labels = labels_of(catalog, self.rows)
        split = catalog.column("paper_split").astype(str)
        self.test, self.listed = split == "test", split != ""
        self.extra: tuple[Rows, dict[str, np.ndarray]] | None = None
        queue, table = shared / "densities" / "queue.jsonl.gz", shared / "labels" / "labels.csv"
        if any(name.endswith(EXTENDED) for name in names) and queue.exists():
            self.extra = structures.load(
                queue, table, set(self.rows.ids), ["density", "magpie"], cache=FEATURES, workers=workers,
                progress=sys.stderr.isatty(),
            )  # fmt: skip

    @property
    def formulas(self) -> np.ndarray:
        return np.array(self.rows.formulas)

    def truth(self, target: str) -> np.ndarray:
        return self.labels[target]

    def grouped(self, name: str) -> Predictions:
        """Protocol (b): out-of-fold predictions of all rows, five folds grouped by formula."""
        return self._kept(name, "grouped", models.SERVED, np.ones(len(self.rows), bool), None)

    def without(self, name: str, columns: np.ndarray) -> Predictions:
        """Protocol (b) with some columns of the features of the density blank: (n_features,) bool."""
        table = np.where(columns, 0.0, self.rows["density"])
        blank = Rows(self.rows.ids, self.rows.crystals, {**self.rows.inputs, "density": table}, self.rows.versions)
        return self._kept(name, "grouped", models.SERVED, np.ones(len(self.rows), bool), None, blank)

    def paper(self, name: str, share: float = 1.0) -> Predictions:
        """Protocol (a): predictions of the paper's test rows (NaN elsewhere), by a model of all or some other rows.

        Intervals are calibrated on training rows of the paper's list. The test rows are drawn from that list; many of
        the other rows are hypothetical and are predicted worse.
        """
        targets = tuple(models.TARGETS) if name in _ALL_TARGETS else models.SERVED
        train = ~self.test
        if share < 1:
            order = np.random.default_rng(0).permutation(np.flatnonzero(train))
            train = np.zeros(len(train), bool)
            train[order[: round(share * len(order))]] = True
        return self._kept(name, f"paper-{share:g}", targets, train, self.test, intervals=share == 1)

    def drawn(self, name: str) -> Predictions:
        """Predictions of the paper's test rows, and of more sets of that size drawn at random from its list.

        The sets have none of the test rows. The model of a set trains on all rows but the set.
        """
        order = np.random.default_rng(1).permutation(np.flatnonzero(self.listed & ~self.test))
        found = [self.paper(name)]
        for k, rows in enumerate(np.array_split(order[: DRAWS * int(self.test.sum())], DRAWS)):
            test = np.isin(np.arange(len(self.rows)), rows)
            found.append(self._kept(name, f"drawn-{k}", models.SERVED, ~test, test))
        mean = {n: reduce(np.fmax, (part.mean[n] for part in found)) for n in found[0].mean}
        std = {n: reduce(np.fmax, (part.std[n] for part in found)) for n in mean}
        return Predictions(mean, std, {n: np.isfinite(v) for n, v in mean.items()}, found[0].remarks)

    def _kept(
        self,
        name: str,
        protocol: str,
        targets: tuple[str, ...],
        train: np.ndarray,
        test: np.ndarray | None,
        rows: Rows | None = None,
        intervals: bool = True,
    ) -> Predictions:
        """Predictions from the working folder; where there are none they are made and put there.

        rows: those of the catalog unless given. intervals: whether stds count. Calibrating them takes most of the time
        of a model that is one learner.
        """
        rows = rows or self.rows
        base, extended = name.rstrip(EXTENDED), name.endswith(EXTENDED)
        if extended and self.extra is None:
            raise ChgdbError(f"{name}: there are no structures without a density to train with")
        learner = models.get(base).Model
        wanted = {n: self.labels[n] for n in targets if n in self.labels}
        version = f"{learner.VERSION} {getattr(learner, 'SETTINGS', None)} {protocol}"
        once = base in _ONCE or (not intervals and getattr(learner, "REFIT", False))
        folds = 1 if once and test is not None else FOLDS
        if test is not None and folds > 1:
            version += f" {ensemble.CALIBRATION}"
        data = {n: rows[n] for n in learner.INPUTS} | {f"label {n}": v for n, v in wanted.items()}
        data |= {"train": train} | ({"extra": self.extra[0]["magpie"]} if extended and self.extra else {})
        key = storage.data_checksum((*self.rows.ids, version), data)[:16]
        path = self.work / "predictions" / f"{name}-{protocol}-{len(targets)}-{key}.npz"
        if not path.exists():
            found = self._made(base, rows, self.extra if extended else None, protocol, wanted, train, test, folds)
            path.parent.mkdir(parents=True, exist_ok=True)
            arrays = {f"mean {n}": v for n, v in found.mean.items()} | {f"std {n}": v for n, v in found.std.items()}
            content = io.BytesIO()
            np.savez_compressed(content, allow_pickle=False, **arrays)
            write_atomically(path, content.getvalue())
        with np.load(path, allow_pickle=False) as file:
            mean = {n: file[f"mean {n}"] for n in wanted if f"mean {n}" in file}
            std = {n: file[f"std {n}"] for n in mean}
        return Predictions(mean, std, {n: np.isfinite(v) for n, v in mean.items()}, tuple(() for _ in self.rows.ids))

    def _made(
        self,
        name: str,
        rows: Rows,
        extra: tuple[Rows, dict[str, np.ndarray]] | None,
        protocol: str,
        targets: dict[str, np.ndarray],
        train: np.ndarray,
        test: np.ndarray | None,
        folds: int,
    ) -> Predictions:
        def note(text: str) -> None:
            print(f"{name}, {protocol}: {text}", file=sys.stderr)

        if test is None:
            stored = self._stored(name, rows, targets, extra is not None)
            if stored is not None:
                note("out-of-fold predictions of the stored model")
                return stored
        chosen = np.flatnonzero(train)
        trained, found = Ensemble.fit(
            name, rows.take(chosen), {n: v[chosen] for n, v in targets.items()}, extra=extra, folds=folds,
            progress=note, refit=test is not None, grouped=test is None,
            calibrating=None if test is None else self.listed[chosen],
        )  # fmt: skip
        if test is None:
            return found
        predicted = trained.predict(rows.take(test))
        mean = {n: np.full(len(self.rows), np.nan) for n in predicted.mean}
        std = {n: np.full(len(self.rows), np.nan) for n in predicted.mean}
        for n in mean:
            mean[n][test], std[n][test] = predicted.mean[n], predicted.std[n]
        return Predictions(mean, std, {n: np.isfinite(v) for n, v in mean.items()}, found.remarks, "")

    def _stored(self, name: str, rows: Rows, targets: dict[str, np.ndarray], extended: bool) -> Predictions | None:
        """Out-of-fold predictions of a stored model of the catalog, if it was trained on these very data."""
        folder = models_folder("properties") / name
        if not (folder / storage.DESCRIPTION).exists():
            return None
        description = storage.read_description(folder)
        inputs = {n: rows[n] for n in models.get(name).Model.INPUTS}
        same = description["data"]["sha256"] == storage.data_checksum(self.rows.ids, {**inputs, **targets})
        if not same or bool(description["data"]["without_density"]) != extended:
            return None
        storage.check(folder, description)
        found = HeldOut.from_json(storage.read_json(folder / HELD_OUT))
        place = found.rows_of(self.rows.ids, self.rows.formulas)
        mean, std = ({n: v[place] for n, v in values.items()} for values in (found.mean, found.std))
        return Predictions(mean, std, {}, ())


def main(
    model: Annotated[list[str] | None, typer.Option(help="measure these models; all of them unless given")] = None,
    work: Annotated[Path, typer.Option(help="predictions are kept here between runs")] = Path("build/properties"),
    shared: Annotated[Path, typer.Option(help="labels, structures without a density, VASP files")] = (
        HERE.parent.parent / "shared"
    ),
    studies: Annotated[
        bool, typer.Option(help="also learning curves, what the density adds, one target or many: hours")
    ] = True,
    tables: Annotated[bool, typer.Option("--tables", help="only write tables and figures again")] = False,
    rows: Annotated[
        bool,
        typer.Option(
            "--rows", help="only what rows decide: the paper's materials alone, labels that look wrong; minutes"
        ),
    ] = False,
    trust: Annotated[
        bool,
        typer.Option("--trust", help="only intervals, doubted labels and what follows, of the stored model; a minute"),
    ] = False,
    catalog: Annotated[Path | None, typer.Option(help="another store than the embedded one")] = None,
    workers: Annotated[int | None, typer.Option(help="processes; all cores unless given")] = None,
) -> None:
    """Train and measure the property models, and write tables and figures."""
    path = DOCS / "data" / "properties.json"
    try:
        facts: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        if rows:
            ours = property_studies.OURS + EXTENDED
            names = [property_studies.BASELINE, ours]
            measured = Measurement(open_catalog(catalog), shared, work, names, workers)
            facts["listed"] = property_studies.listed(measured, names, facts.get("listed", {}))
            facts["doubtful"] = property_studies.doubtful(measured, names, ours, facts.get("doubtful", {}))
            path.write_text(_readable(facts), encoding="utf-8")
        elif trust:
            stored = Ensemble.load(models_folder("properties") / property_studies.OURS)
            facts["trust"] = trust_studies.measure(stored, open_catalog(catalog))
            path.write_text(_readable(facts), encoding="utf-8")
        elif not tables:
            opened = open_catalog(catalog)
            chosen = list(model or _available(opened))
            measured = Measurement(opened, shared, work, chosen, workers)
            facts = property_studies.measure(measured, chosen, facts, studies, shared)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_readable(facts), encoding="utf-8")
        checks = path.with_name("label_checks.json")
        if checks.exists():
            facts["label_checks"] = json.loads(checks.read_text())
        place = models_folder("properties") / property_studies.OURS
        if (place / storage.DESCRIPTION).exists():
            facts["stored"] = storage.read_description(place)
        property_report.write(facts, DOCS)
    except (ChgdbError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None


def _readable(facts: dict[str, Any]) -> str:
    """JSON with each list of numbers on one line."""
    text = json.dumps(facts, indent=1, sort_keys=True, allow_nan=False)
    return re.sub(r"\[\s+([^][{}]*?)\s+\]", lambda found: f"[{' '.join(found[1].split())}]", text) + "\n"


def _available(catalog: Catalog) -> list[str]:
    """All models whose inputs the catalog has: models of latents need latents in the store."""
    found = [name for name in COMPARED if "latent" not in models.get(name).Model.INPUTS or has_latents(catalog)]
    return [*found, *(name + EXTENDED for name in ("magpie", "invariant") if name in found)]


def has_latents(catalog: Catalog) -> bool:
    """Whether the store has the autoencoder's latents."""
    return "latent" in catalog.store.arrays


if __name__ == "__main__":
    typer.run(main)
