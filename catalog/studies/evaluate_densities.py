"""Measure the density model on the test part and write what it shows.

    python catalog/studies/evaluate_densities.py test       errors on formulas never seen, by class
    python catalog/studies/evaluate_densities.py magnetisation    the same of magnetisations
    python catalog/studies/evaluate_densities.py targets    difference against total density, same network and steps
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
import re
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from chgdb import estimate
from chgdb.catalog import Catalog, open_catalog
from chgdb.codecs import DEFAULT_TOLERANCE, encode
from chgdb.densities.atoms import fit_atoms
from chgdb.densities.evaluation import Result, evaluate, usable
from chgdb.densities.guess import guess
from chgdb.densities.model import load
from chgdb.density import Crystal, Density
from chgdb.elements import SYMBOLS
from chgdb.errors import ChgdbError
from chgdb.formats import read
from chgdb.promolecule import superposition
from chgdb.samples import parts
from chgdb_catalog.batches import write_atomically
from chgdb_catalog.scripts import main
from chgdb_catalog.studies.potentials import load as second_setups

DOCS = Path(__file__).resolve().parents[2] / "docs" / "science"
DATA, PAGE, LATENTS = DOCS / "data" / "densities.json", DOCS / "densities.md", DOCS / "data" / "latents-catalog.json"
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
    """Everything that the tables show of some results."""
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
    """Errors of densities decoded from latents of the true densities, of those of these materials that have them."""
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
    """Errors of some magnetisations, in Bohr magnetons a cell."""
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
    """Errors on the test part within the sphere that networks guess, of the two targets and the superposition."""
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


#: Files whose atoms are fitted, and the file that they are tried on.
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


def record(new: dict[str, Any]) -> None:
    """Add numbers to the data, and write the tables that they make."""
    data = json.loads(DATA.read_text(encoding="utf-8")) if DATA.exists() else {}
    data |= new
    write_atomically(DATA, (json.dumps(rounded(data), indent=1) + "\n").encode())
    text = PAGE.read_text(encoding="utf-8")
    for name, make in _TABLES.items():
        if _SOURCES.get(name, name) in data:
            text = between(text, name, make(data))
    write_atomically(PAGE, text.encode())
    shown = {k: v for part in new.values() for k, v in part.items() if isinstance(v, dict | float) and k != "training"}
    print(json.dumps(rounded(shown), indent=1))


def rounded(value: Any) -> Any:
    """Numbers to five digits, for JSON; NaN becomes null."""
    if isinstance(value, float):
        return float(f"{value:.5g}") if np.isfinite(value) else None
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list | tuple) else value


def between(text: str, name: str, table: str) -> str:
    """A page with the lines between two markers replaced. Raises `ChgdbError` where it has no such place."""
    pattern = rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)"
    if not re.search(pattern, text, re.S):
        raise ChgdbError(f"{PAGE}: no place for the table {name}")
    return re.sub(pattern, lambda m: f"{m[1]}\n{table}\n\n{m[2]}", text, flags=re.S)


def _test_table(data: dict[str, Any]) -> str:
    test = data["test"]
    lines = ["| density | materials | mean | median | 95 % |", "| --- | ---: | ---: | ---: | ---: |"]

    def row(name: str, s: dict[str, Any]) -> None:
        lines.append(f"| {name} | {s['n']} | {s['mean']:.2f} | {s['median']:.2f} | {s['p95']:.2f} |")

    row("superposition of atoms", test["superposition"])
    row(f"**estimate** (`{test['model']}`, {test['members']} members)", test["estimate"])
    for name, title in (("periodic", "latent `periodic` of the true density"),
                        ("published", "latent `published` of the true density (arXiv 2605.07227)")):  # fmt: skip
        if test["latents"].get(name):
            row(title, test["latents"][name])
    lines += [
        "",
        f"Better than the superposition: {100 * test['better_than_superposition']:.1f} % of the materials. "
        f"Stated error: {100 * test['within_90']:.1f} % of the materials stay below their 90 % limit "
        f"({100 * test['within_90_unflagged']:.1f} % of those without a remark; {test['flagged']} have one); the mean "
        f"stated error is {test['expected_over_true']:.2f} times the true one, and ranks it with a Spearman "
        f"correlation of {test['rank_correlation']:.2f}.",
        "",
        "| class | materials | superposition | estimate, mean | median | 95 % | within the 90 % limit |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, s in test["classes"].items():
        lines.append(f"| {name} | {s['n']} | {s['superposition']:.2f} | {s['mean']:.2f} | {s['median']:.2f} | "
                     f"{s['p95']:.2f} | {100 * s['within']:.0f} % |")  # fmt: skip
    elements = ", ".join(f"{e} {s['mean']:.2f} ({s['n']})" for e, s in test["worst_elements"].items())
    worst = ", ".join(f"{w['formula']} ({w['id']}) {w['nmae']:.1f}" for w in test["worst"])
    lines += ["", f"Elements with the largest mean error (materials): {elements}.", "",
              f"The twenty largest errors: {worst}."]  # fmt: skip
    return "\n".join(lines)


def _members_table(data: dict[str, Any]) -> str:
    lines = ["| member | parameters | carried | dropout | epochs | minutes | training, % | validation, % |",
             "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"]  # fmt: skip
    for index, member in enumerate(data["test"]["training"]["members"]):
        sizes, recipe = member["configuration"], member["recipe"]
        errors = [f"{100 * member[k]:.2f}" if member.get(k) else "" for k in ("training", "validation")]
        cells = [str(index + 1), f"{member['parameters']:,}", str(sizes["carried"]), f"{recipe['dropout']:g}"]
        cells += [str(member["epochs"]), f"{member['seconds'] / 60:.0f}", *errors]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _magnetisation_table(data: dict[str, Any]) -> str:
    found = data["magnetisation"]
    lines = [
        "| computed as | materials | integral of its size | error, mean | median | share | moment | its error |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name in ("magnetic", "not magnetic"):
        s = found[name]
        share = f"{100 * s['share']:.0f} %" if name == "magnetic" else ""
        lines.append(f"| {name} | {s['n']} | {s['nothing']:.2f} | {s['mean']:.2f} | {s['median']:.2f} | "
                     f"{share} | {s['moment_mean']:.2f} | {s['moment_mae']:.2f} |")  # fmt: skip
    lines += ["", f"`{found['model']}`, {found['members']} members; {found['n']} materials of the test part; "
              f"{100 * found['within_90']:.0f} % of them stay below their 90 % limit."]  # fmt: skip
    return "\n".join(lines)


def _targets_table(data: dict[str, Any]) -> str:
    t = data["targets"]
    lines = ["| target | mean | median | 95 % | CPU s |", "| --- | ---: | ---: | ---: | ---: |"]
    for name in ("total", "difference"):
        s = t[name]
        lines.append(f"| {name} | {s['mean']:.2f} | {s['median']:.2f} | {s['p95']:.2f} | {s['cpu_seconds']:.0f} |")
    lines += [
        "",
        f"{t['materials']} training materials, {t['epochs']} epochs each; {t['tested']} test materials; NMAE in per "
        f"cent within |G|/2π < 2.25 1/Å. The difference is nearer for {100 * t['improved']:.1f} % of them.",
    ]
    return "\n".join(lines)


def _size_table(data: dict[str, Any]) -> str:
    s = data["size"]
    memory = f"{s['memory_MB'] / 1000:.1f} GB at most"
    return f"{s['atoms']} atoms on a grid of {s['grid']}³: {s['cpu_s']:.0f} s of one core, {memory}."


def _setups_table(data: dict[str, Any]) -> str:
    s = data["setups"]
    lines = ["| density | mean | median | 95 % |", "| --- | ---: | ---: | ---: |"]
    for name, title in (("as_is", "estimate with the catalog's atoms"), ("atoms_alone", "own atoms alone"),
                        ("estimate", "estimate with own atoms")):  # fmt: skip
        lines.append(f"| {title} | {s[name]['mean']:.2f} | {s[name]['median']:.2f} | {s[name]['p95']:.2f} |")
    right = f"the electron count is right for {100 * s['electrons_right']:.0f} % of them"
    lines += ["", f"{len(s['rows'])} crystals, none with atoms that were fitted to it; {right}."]
    return "\n".join(lines)


def _prior_table(data: dict[str, Any]) -> str:
    found = data["prior"]
    lines = ["| tolerance | bytes, atoms alone | bytes, estimate | ratio |", "| --- | ---: | ---: | ---: |"]
    lines += [f"| {name} | {s['without']:,} | {s['with']:,} | {s['ratio']:.3f} |" for name, s in found["bytes"].items()]
    lines += ["", f"Sums over {found['materials']} materials of the test part; the default tolerance is "
              f"{100 * found['default_tolerance']:g} %."]  # fmt: skip
    return "\n".join(lines)


def _potentials_table(data: dict[str, Any]) -> str:
    lines = [
        "| atoms of | tried on | valence found | electrons | catalog's atoms | own atoms alone | estimate, own atoms |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for row in data["potentials"]["rows"]:
        valence = ", ".join(f"{symbol} {count:g}" for symbol, count in row["valence"].items())
        numbers = " | ".join(f"{row[key]:.2f}" for key in ("as_is", "atoms_alone", "estimate"))
        lines.append(
            f"| {', '.join(row['fitted'])} | {row['tried']} | {valence} | {row['electrons'][0]:g} | {numbers} |"
        )
    return "\n".join(lines)


_TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "test": _test_table, "targets": _targets_table, "size": _size_table, "potentials": _potentials_table,
    "prior": _prior_table, "magnetisation": _magnetisation_table, "members": _members_table, "setups": _setups_table,
}  # fmt: skip


_SOURCES = {"members": "test"}  # table -> the numbers that it is made of, where they have another name


if __name__ == "__main__":
    main(app)
