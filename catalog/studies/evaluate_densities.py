"""Measure the density model on the test part, and write the results.

    python catalog/studies/evaluate_densities.py test       errors on formulas never seen, by class
    python catalog/studies/evaluate_densities.py magnetisation    the same of magnetisations
    python catalog/studies/evaluate_densities.py targets    difference against total density, same network and steps
    python catalog/studies/evaluate_densities.py curve      error against the number of training materials
    python catalog/studies/evaluate_densities.py field      whether the members show where in a cell they are wrong
    python catalog/studies/evaluate_densities.py size       time and memory of a large cell
    python catalog/studies/evaluate_densities.py prior      bytes of records with the difference taken off
    python catalog/studies/evaluate_densities.py setups     atoms of GPAW's second setups, on crystals not fitted
    python catalog/studies/evaluate_densities.py potentials ../shared/vasp    atoms of VASP's potentials
        -> docs/science/data/densities.json    every number
        -> docs/science/densities.md           its tables, between their markers

Nothing of the test part has been seen by the model, the fit of its form factors, or its calibration.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from scipy.ndimage import gaussian_filter

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from chgdb import estimate
from chgdb.catalog import Catalog, open_catalog
from chgdb.codecs import DEFAULT_TOLERANCE, encode
from chgdb.densities.atoms import fit_atoms
from chgdb.densities.evaluation import Result, evaluate, usable
from chgdb.densities.guess import guess
from chgdb.densities.model import DensityModel, load
from chgdb.densities.summation import fourier, half_spheres, place
from chgdb.density import Crystal, Density
from chgdb.elements import SYMBOLS
from chgdb.formats import read
from chgdb.promolecule import superposition
from chgdb.samples import parts
from chgdb_catalog.scripts import main
from chgdb_catalog.studies.density_tables import DOCS, record
from chgdb_catalog.studies.potentials import load as second_setups

LATENTS = DOCS / "data" / "latents-catalog.json"
_HALOGENS, _MAGNETS = {9, 17, 35, 53}, {24, 25, 26, 27, 28}
_LANTHANIDES = set(range(57, 72))
_NONMETALS = {1, 5, 6, 7, 8, 9, 14, 15, 16, 17, 32, 33, 34, 35, 51, 52, 53}
_SYSTEMS = ((1, "triclinic"), (3, "monoclinic"), (16, "orthorhombic"), (75, "tetragonal"), (143, "trigonal"),
            (168, "hexagonal"), (195, "cubic"))  # fmt: skip

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
CatalogOption = Annotated[str | None, typer.Option("--catalog", help="Store. [default: the embedded one]")]


def classes(numbers: Sequence[int], space_group: int, moment: float) -> set[str]:
    """Names of the classes that a material is in."""
    elements = set(numbers)
    found = {"all"}
    found |= {name for name, chosen in (
        ("hydrides", {1}), ("oxides", {8}), ("halides", _HALOGENS), ("with Cr to Ni", _MAGNETS),
        ("with a lanthanide", _LANTHANIDES),
    ) if elements & chosen}  # fmt: skip
    if not elements & _NONMETALS:
        found.add("metals only")
    found.add("magnetic" if abs(moment) > 0.1 else "not magnetic")
    found.add(f"{len(elements)} elements" if len(elements) > 1 else "1 element")
    count = len(numbers)
    found.add("1 to 4 atoms" if count <= 4 else "5 to 9 atoms" if count <= 9 else "10 atoms and more")
    found.add([name for first, name in _SYSTEMS if space_group >= first][-1])
    return found


def summary(errors: Sequence[float] | np.ndarray) -> dict[str, float]:
    """Mean, median and 95 % of some NMAE, in per cent."""
    values = 100 * np.asarray(errors)
    return {"n": len(values), "mean": float(values.mean()), "median": float(np.median(values)),
            "p95": float(np.quantile(values, 0.95))}  # fmt: skip


def measured(results: Sequence[Result], catalog: Catalog) -> dict[str, Any]:
    """All numbers that the tables show of some results."""
    rows = {i: row for row, i in enumerate(catalog.ids)}
    moments = np.nan_to_num(catalog.column("magnetic_moment"))
    groups = catalog.column("space_group")
    numbers = {r.material_id: catalog[r.material_id].crystal.numbers.tolist() for r in results}
    of = {
        r.material_id: classes(numbers[r.material_id], int(groups[rows[r.material_id]]), moments[rows[r.material_id]])
        for r in results
    }
    names = sorted({name for found in of.values() for name in found}, key=_order)
    by_class = {}
    for name in names:
        chosen = [r for r in results if name in of[r.material_id]]
        by_class[name] = summary([r.nmae for r in chosen]) | {
            "superposition": summary([r.superposition for r in chosen])["mean"],
            "within": float(np.mean([r.nmae <= r.limit for r in chosen])),
        }
    error, stated = np.array([r.nmae for r in results]), np.array([r.error for r in results])
    elements: dict[str, list[float]] = {}
    for r in results:
        for z in set(numbers[r.material_id]):
            elements.setdefault(SYMBOLS[z], []).append(r.nmae)
    worst = sorted((e for e in elements if len(elements[e]) >= 5), key=lambda e: -np.mean(elements[e]))[:10]
    like = [r for r in results if not r.remarks]
    return {
        "estimate": summary(error),
        "superposition": summary([r.superposition for r in results]),
        "better_than_superposition": float(np.mean([r.nmae < r.superposition for r in results])),
        "within_90": float(np.mean([r.nmae <= r.limit for r in results])),
        "within_90_unflagged": float(np.mean([r.nmae <= r.limit for r in like])),
        "flagged": len(results) - len(like),
        "flagged_error": summary([r.nmae for r in results if r.remarks])["mean"] if len(like) < len(results) else None,
        "rank_correlation": _spearman(stated, error),
        "expected_over_true": float(stated.mean() / error.mean()),
        "classes": by_class,
        "worst_elements": {e: {"n": len(elements[e]), "mean": 100 * float(np.mean(elements[e]))} for e in worst},
        "worst": [
            {"id": r.material_id, "formula": r.formula, "nmae": 100 * r.nmae, "superposition": 100 * r.superposition,
             "expected": 100 * r.error, "remarks": list(r.remarks)}
            for r in sorted(results, key=lambda r: -r.nmae)[:20]
        ],
        "share_below": {f"{limit} %": float((100 * error < limit).mean()) for limit in (0.3, 0.5, 0.7, 1, 1.5, 2)},
    }  # fmt: skip


def _order(name: str) -> tuple[int, str]:
    known = ["all", "metals only", "with a lanthanide", "with Cr to Ni", "oxides", "halides", "hydrides", "magnetic",
             "not magnetic", "1 element", *[f"{n} elements" for n in range(2, 9)], "1 to 4 atoms", "5 to 9 atoms",
             "10 atoms and more", *[name for _, name in _SYSTEMS]]  # fmt: skip
    return known.index(name) if name in known else len(known), name


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    first, second = (np.argsort(np.argsort(values)) for values in (a, b))
    return float(np.corrcoef(first, second)[0, 1])


def latents(catalog: Catalog, ids: Sequence[str]) -> dict[str, Any]:
    """Errors of densities decoded from latents of the true densities, for those of the materials that have latents."""
    found: dict[str, Any] = {}
    chosen = set(ids)
    if "latent_nmae" in catalog.columns:
        column = dict(zip(catalog.ids, catalog.column("latent_nmae").tolist(), strict=True))
        values = [column[i] for i in ids if np.isfinite(column[i])]
        found["periodic"] = summary(values) if values else None
    if LATENTS.exists():
        content = json.loads(LATENTS.read_text(encoding="utf-8"))
        mean = content["mean"].get("published")
        if mean is not None:
            names = {"mean": "nmae", "median": "nmae_median", "p95": "nmae_95"}
            found["published"] = {name: 100 * mean[key] for name, key in names.items()}
            found["published"] |= {"n": mean["materials"], "shared": len(chosen & set(content["ids"]))}
    return found


@app.command("test")
def on_test_part(
    model: Annotated[Path | None, typer.Option(help="Model. [default: the catalog's]")] = None,
    catalog: CatalogOption = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    most: Annotated[int, typer.Option(min=0, help="Materials, the first of the part; 0 for all.")] = 0,
) -> None:
    """Errors on the test part of the split."""
    opened, chosen = open_catalog(catalog), load(model)
    ids = [i for i, part in zip(opened.ids, parts(opened), strict=True) if part == "test"]
    ids = list(usable(chosen, opened, ids))[: most or None]
    results = evaluate(chosen if workers == 1 else model or chosen, opened, ids, workers=workers, progress=True)
    facts = {"model": chosen.identifier, "members": len(chosen.members), "training": dict(chosen.facts),
             **measured(results, opened), "latents": latents(opened, ids),
             "results": [asdict(r) for r in results]}  # fmt: skip
    record({"test": facts})


@app.command()
def magnetisation(
    model: Annotated[Path | None, typer.Option(help="Model. [default: the catalog's]")] = None,
    catalog: CatalogOption = None,
) -> None:
    """Errors of magnetisations on the test part of the split."""
    opened, chosen = open_catalog(catalog), load(model, "magnetization")
    polarised = opened.column("spin_polarised").astype(bool)
    ids = [i for i, part, spin in zip(opened.ids, parts(opened), polarised, strict=True) if part == "test" and spin]
    ids = list(usable(chosen, opened, ids))
    results = evaluate(chosen, opened, ids, progress=True)
    record({"magnetisation": {
        "model": chosen.identifier, "members": len(chosen.members), "training": dict(chosen.facts),
        **{name: _of_moments([r for r in results if (r.moments[1] > _MAGNETIC) == magnetic])
           for name, magnetic in (("magnetic", True), ("not magnetic", False))},
        "within_90": float(np.mean([r.nmae <= r.limit for r in results])), "n": len(results),
        "results": [asdict(r) for r in results],
    }})  # fmt: skip


_MAGNETIC = 0.1  # mu_B a cell


def _of_moments(results: Sequence[Result]) -> dict[str, float]:
    """Errors of some magnetisations, in Bohr magnetons per cell."""
    error = np.array([r.nmae * r.electrons for r in results])
    nothing = np.array([r.superposition * r.electrons for r in results])
    moments = np.array([r.moments for r in results])
    return {
        "n": len(results), "mean": float(error.mean()), "median": float(np.median(error)),
        "nothing": float(nothing.mean()), "share": float(error.sum() / nothing.sum()),
        "moment_mae": float(np.abs(moments[:, 0] - moments[:, 1]).mean()), "moment_mean": float(moments[:, 1].mean()),
    }  # fmt: skip


@app.command()
def targets(
    catalog: CatalogOption = None,
    materials: Annotated[int, typer.Option(min=10, help="Of the training part, drawn at random.")] = 1500,
    epochs: Annotated[int, typer.Option(min=1, help="Of each.")] = 12,
    threads: Annotated[int, typer.Option(min=1, help="Of torch.")] = 1,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that read densities.")] = None,
) -> None:
    """Difference against total density: the same network, materials and steps."""
    import torch

    from chgdb.densities import samples

    torch.set_num_threads(threads)
    found, _ = samples.load([open_catalog(catalog)], workers, progress=True)
    record({"targets": compare_targets(found, materials, epochs)})


def compare_targets(found: Sequence[Any], materials: int, epochs: int) -> dict[str, Any]:
    """Errors on the test part of the two targets and the superposition, within the sphere that networks guess."""
    from chgdb.densities import training
    from chgdb.densities.architecture import Configuration

    configuration = Configuration(carried=0, cut=2.25)
    order = np.random.default_rng(0).permutation([k for k, s in enumerate(found) if s.part == "train"])
    few = [found[k] for k in order[:materials]]
    elements = {int(z) for s in few for z in s.crystal.numbers}
    tested = [s for s in found if s.part == "test" and set(s.crystal.numbers.tolist()) <= elements]
    facts: dict[str, Any] = {"materials": len(few), "tested": len(tested), "epochs": epochs}
    errors = {}
    for target in ("difference", "total"):
        recipe = training.Recipe(epochs=epochs, target=target)
        began = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            network, _ = training.train(few, folder, configuration, recipe)
        seconds = time.process_time() - began
        tasks = [training.Task(s, network.known, configuration, target) for s in tested]
        errors[target] = training.measure(network, tasks)
        facts[target] = summary(errors[target].tolist()) | {"cpu_seconds": seconds}
    facts["improved"] = float((errors["difference"] < errors["total"]).mean())
    return facts


@app.command()
def curve(
    catalog: CatalogOption = None,
    more: Annotated[
        list[str] | None, typer.Option(help="Further densities, for a last point; may be repeated.")
    ] = None,
    sizes: Annotated[str, typer.Option(help="Numbers of training materials.")] = "300,600,1200,2400",
    steps: Annotated[int, typer.Option(min=1, help="Of each training.")] = 3000,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that read densities.")] = None,
) -> None:
    """Error against the number of training materials: the same network and steps; all of the catalog as well."""
    import torch

    from chgdb.densities import samples

    torch.set_num_threads(1)
    opened = [open_catalog(path) for path in (catalog, *(more or ()))]
    found, _ = samples.load(opened, workers, progress=True)
    own = set(opened[0].ids)
    record({"curve": learning_curve(found, own, [int(text) for text in sizes.split(",")], steps)})


def learning_curve(found: Sequence[Any], own: Collection[str], sizes: Sequence[int], steps: int) -> dict[str, Any]:
    """Errors on the test part, within the sphere that networks guess, against the number of training materials.

    The points are some numbers of the catalog's materials, all of them, and all with further ones. The exponent is that
    of the number of the catalog's materials.
    own: ids of the catalog. steps: of each training; a small set is seen more often than a large one.
    """
    from chgdb.densities import training
    from chgdb.densities.architecture import Configuration

    configuration = Configuration(carried=0, cut=2.25)
    catalog = [s for s in found if s.part == "train" and s.material_id in own]
    others = [s for s in found if s.part == "train" and s.material_id not in own]
    catalog = [catalog[k] for k in np.random.default_rng(0).permutation(len(catalog))]
    elements = {int(z) for s in catalog[: min(sizes)] for z in s.crystal.numbers}
    tested = [s for s in found if s.part == "test" and set(s.crystal.numbers.tolist()) <= elements]
    sets = [catalog[:n] for n in (*sizes, len(catalog))] + ([catalog + others] if others else [])
    points = []
    for chosen in sets:
        recipe = training.Recipe(epochs=max(1, round(steps / -(-len(chosen) // training.Recipe.batch))))
        began = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            network, facts = training.train(chosen, folder, configuration, recipe)
        seconds = time.process_time() - began
        tasks = [training.Task(s, network.known, configuration, recipe.target) for s in tested]
        errors = training.measure(network, tasks)
        points.append({
            "materials": len(chosen), "drawn": sum(s.material_id not in own for s in chosen), "epochs": recipe.epochs,
            "training": 100 * facts["training"], "cpu_seconds": seconds, **summary(errors),
        })  # fmt: skip
    few = [p for p in points if not p["drawn"]]
    slope = np.polyfit(np.log([p["materials"] for p in few]), np.log([p["mean"] for p in few]), 1)[0]
    return {"points": points, "exponent": float(slope), "steps": steps}


@app.command()
def field(
    model: Annotated[Path | None, typer.Option(help="Model. [default: the catalog's]")] = None,
    catalog: CatalogOption = None,
    materials: Annotated[int, typer.Option(min=2, help="Of the validation part, drawn at random.")] = 100,
) -> None:
    """Whether an error can be stated as a field: how well fields rank the error from place to place in a cell."""
    opened, chosen = open_catalog(catalog), load(model)
    ids = [i for i, part in zip(opened.ids, parts(opened), strict=True) if part == "validation"]
    ids = np.random.default_rng(0).permutation(list(usable(chosen, opened, ids)))[:materials].tolist()
    found = [_ranks(chosen, opened[material_id].density) for material_id in ids]
    record({"field": {
        "model": chosen.identifier, "members": len(chosen.members), "materials": len(found), "width": _BLUR,
        **{name: {k: float(np.quantile([f[name] for f in found], q))
                  for k, q in (("p10", 0.1), ("median", 0.5), ("p90", 0.9))} for name in found[0]},
    }})  # fmt: skip


_BLUR = 0.35  # Å, standard deviation of the Gaussian that averages the errors
_POINTS, _VECTORS = 4000, 1 << 14


def _ranks(model: DensityModel, density: Density) -> dict[str, float]:
    """Rank correlations of some fields with the size of the estimate's error, over the points of a cell."""
    crystal, grid = density.crystal, density.grid
    members = differences(model, crystal, grid)
    mean, spread = members.mean(axis=0), members.std(axis=0, ddof=1)
    error = guess(model, crystal, grid).total - density.total
    widths = _BLUR * np.array(grid) / np.linalg.norm(crystal.cell, axis=1)
    points = np.random.default_rng(0).integers(0, error.size, _POINTS)

    def ranked(values: np.ndarray, others: np.ndarray) -> float:
        return _spearman(values.ravel()[points], others.ravel()[points])

    def blurred(values: np.ndarray) -> np.ndarray:
        return np.sqrt(np.maximum(gaussian_filter(values**2, widths, mode="wrap"), 0.0))

    near = blurred(error)
    return {
        "spread, point by point": ranked(spread, np.abs(error)),
        "spread": ranked(blurred(spread), near),
        "size of the difference": ranked(blurred(mean), near),
        "density": ranked(density.total, near),
    }


def differences(model: DensityModel, crystal: Crystal, grid: tuple[int, int, int]) -> np.ndarray:
    """What each member of a model adds to the superposition of atoms, (members, nx, ny, nz) e/Å^3."""
    coefficients = model.coefficients(crystal, model.graph(crystal))
    half = np.zeros((len(coefficients), *grid[:2], grid[2] // 2 + 1), complex)
    basis = model.configuration.basis
    for h in half_spheres(crystal.cell, basis.cut, grid, _VECTORS):
        for one, values in zip(half, fourier(basis, crystal, coefficients, h), strict=True):
            place(one, h, values)
    return np.fft.irfftn(half, s=grid, axes=(1, 2, 3), norm="forward")


@app.command()
def size(
    atoms: Annotated[int, typer.Option(min=1, help="About how many.")] = 1000,
    points: Annotated[int, typer.Option(min=8, help="Along each axis.")] = 240,
) -> None:
    """Time and memory of one large cell: rock salt with its atoms displaced by 0.05 Å, so that none are equal."""
    repeats = max(1, round((atoms / 8) ** (1 / 3)))
    corner = np.stack(np.meshgrid(*[np.arange(2 * repeats)] * 3, indexing="ij"), -1).reshape(-1, 3)
    edge = 5.64 * repeats
    moved = np.random.default_rng(0).normal(scale=0.05 / edge, size=corner.shape)
    numbers = np.where(corner.sum(axis=1) % 2, 17, 11)
    crystal = Crystal(edge * np.eye(3), corner / (2 * repeats) + moved, numbers)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall, cpu = time.perf_counter(), time.process_time()
    estimate(crystal, grid=(points, points, points))
    record({"size": {
        "atoms": len(crystal), "grid": points, "wall_s": time.perf_counter() - wall,
        "cpu_s": time.process_time() - cpu, "memory_MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "before_MB": before / 1024,
    }})  # fmt: skip


@app.command()
def prior(
    catalog: CatalogOption = None, most: Annotated[int, typer.Option(min=1, help="Materials of the test part.")] = 80
) -> None:
    """Bytes of records, with and without the guessed difference taken off before they are coded."""
    opened, chosen = open_catalog(catalog), load()
    ids = [i for i, part in zip(opened.ids, parts(opened), strict=True) if part == "test"]
    ids = [ids[k] for k in np.random.default_rng(0).permutation(len(ids))[: 2 * most]]
    ids = list(usable(chosen, opened, ids))[:most]
    sizes = {tolerance: [0, 0] for tolerance in (1e-2, 1e-3, 5e-4, 1e-4)}
    for material_id in ids:
        density = opened[material_id].density
        density = Density(density.crystal, {"total": density.total})
        difference = guess(chosen, density.crystal, density.grid).total
        atoms = superposition(chosen.prior, density.crystal, density.grid)
        difference = difference - difference.mean() - atoms
        less = Density(density.crystal, {"total": density.total - difference})
        for tolerance, count in sizes.items():
            count[0] += len(encode(density, tolerance, prior=chosen.prior).payload)
            count[1] += len(encode(less, tolerance, prior=chosen.prior).payload)
    record({"prior": {
        "materials": len(ids), "default_tolerance": DEFAULT_TOLERANCE,
        "bytes": {f"{100 * t:g} %": {"without": a, "with": b, "ratio": b / a} for t, (a, b) in sizes.items()},
    }})  # fmt: skip


#: Files to fit atoms to, and the file to try them on.
_VASP = (
    (("Si2_spin",), "Si8_strained_spin"), (("Si8_strained_spin",), "Si2_spin"), (("Li_nospin",), "Li_spin"),
    (("NaCl",), "NaCl"), (("Al_spin",), "Al_spin"), (("GaAs_noncollinear",), "GaAs_noncollinear"),
)  # fmt: skip


@app.command()
def potentials(folder: Annotated[Path, typer.Argument(help="With VASP's NAME.CHGCAR.gz.")]) -> None:
    """Atoms fitted to VASP's densities (`chgdb estimate --atoms`), against VASP's densities."""
    catalog, rows = load(), []
    for fitted, tried in _VASP:
        prior, valence = fit_atoms(catalog, [read(folder / f"{name}.CHGCAR.gz") for name in fitted])
        density = read(folder / f"{tried}.CHGCAR.gz")
        own = catalog.with_atoms(prior, valence)
        guessed = guess(own, density.crystal, density.grid).total
        alone = superposition(prior, density.crystal, density.grid) + guessed.mean()
        as_is = guess(catalog, density.crystal, density.grid).total
        scale = float(np.abs(density.total).sum())
        errors = [100 * float(np.abs(other - density.total).sum()) / scale for other in (as_is, alone, guessed)]
        rows.append({
            "fitted": list(fitted), "tried": tried, "formula": density.crystal.formula,
            "electrons": [density.n_electrons, own.electrons(density.crystal)],
            "valence": {SYMBOLS[z]: n for z, n in valence.items()},
            "as_is": errors[0], "atoms_alone": errors[1], "estimate": errors[2],
        })  # fmt: skip
    record({"potentials": {"rows": rows}})


@app.command()
def setups(folds: Annotated[int, typer.Option(min=2, help="Parts, each tried with atoms of the others.")] = 5) -> None:
    """Atoms fitted to densities with GPAW's second setups, tried on crystals that were not fitted."""
    model, found = load(), list(second_setups().items())
    order = np.random.default_rng(0).permutation(len(found))
    rows, skipped = [], 0
    for fold in range(folds):
        tried = [found[k] for k in order[fold::folds]]
        others = [density for k, (_, density) in enumerate(found) if k not in set(order[fold::folds].tolist())]
        own = model.with_atoms(*fit_atoms(model, others))
        for material_id, density in tried:
            if not set(density.crystal.numbers.tolist()) <= set(own.known.tolist()):
                skipped += 1
                continue
            scale = float(np.abs(density.total).sum())
            as_is, guessed = (guess(m, density.crystal, density.grid).total for m in (model, own))
            alone = superposition(own.prior, density.crystal, density.grid) + guessed.mean()
            rows.append({
                "id": material_id, "formula": density.crystal.formula,
                "electrons": [density.n_electrons, own.electrons(density.crystal)],
                **{name: 100 * float(np.abs(other - density.total).sum()) / scale
                   for name, other in (("as_is", as_is), ("atoms_alone", alone), ("estimate", guessed))},
            })  # fmt: skip
    exact = [abs(a - b) < 1e-3 * a for a, b in (row["electrons"] for row in rows)]
    facts: dict[str, Any] = {"rows": rows, "skipped": skipped, "electrons_right": float(np.mean(exact))}
    for name in ("as_is", "atoms_alone", "estimate"):
        facts[name] = summary([row[name] / 100 for row in rows])
    record({"setups": facts})


@app.command()
def tables() -> None:
    """Write the tables again from the numbers that there are."""
    record({})


if __name__ == "__main__":
    main(app)
