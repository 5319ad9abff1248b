"""Structures that teach a model of densities, drawn from those of the catalog, and the store of their densities.

    python catalog/drawing.py draw QUEUE.jsonl --n 2000 --kept-back HASHES.txt
    python catalog/dft/compute.py run QUEUE.jsonl RUN
    python catalog/drawing.py collect RUN                   # accepted densities -> catalog/drawn.zarr

A structure is one of the training part of the catalog with other elements in its place, strained, or with displaced
atoms. No formula is drawn that a model is stopped or tested with. The densities are training data of their own: they
are neither in the embedded catalog nor in the wheel, and keep the PAW density matrices of their atoms.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from chgdb import splits
from chgdb.catalog import Catalog, open_catalog
from chgdb.codecs.symmetric import symmetrised
from chgdb.density import Crystal, Density
from chgdb.elements import SYMBOLS, canonical_formula
from chgdb.errors import ChgdbError
from chgdb.features.composition import tables
from chgdb.grids import spacing_grid
from chgdb.ingest import build_from
from chgdb_catalog import batches, labels
from chgdb_catalog.columns import COLUMNS, PROVENANCE
from chgdb_catalog.dft import checks, manager, runs
from chgdb_catalog.gpaw import costs, recipe
from chgdb_catalog.scripts import main
from chgdb_catalog.structures import crystal as crystal_of

HERE = Path(__file__).resolve().parent
STORE = HERE / "drawn.zarr"
#: How a structure is made from one of the catalog, and how often, relative to the others.
KINDS = {"substituted": 6, "strained": 1, "displaced": 2}
#: How much more often a class is drawn than others: where the model is worst.
WEIGHTS = {"hydride": 4.0, "halide": 3.0, "oxide": 3.0, "covalent": 3.0}
_HALOGENS, _HYDROGEN, _OXYGEN, _COVALENT = frozenset([9, 17, 35, 53]), 1, 8, frozenset([5, 6, 7, 15])
#: Elements that GPAW brings a setup for and whose calculations are fast: neither lanthanides nor magnets.
_LEFT_OUT = {SYMBOLS.index(s) for s in recipe.LANTHANIDES | recipe.SPIN_POLARISED}
_STRAIN, _DISPLACEMENT = 0.04, 0.08  # standard deviations of strains, and of displacements in Å
_CLOSEST = 0.6  # in sums of covalent radii; nearer atoms are no structure
_COARSE = 0.3  # Å between points of the grids on which members are compared
_TRIES = 200  # at one structure
_MATRICES = "density_matrices"
DRAWN_COLUMNS = {
    "parent": {"long_name": "material of the catalog that the structure was made from"},
    "made_by": {"long_name": "how it was made: substituted, strained or displaced"},
    _MATRICES: {
        "long_name": "PAW density matrices: JSON list, for each atom the base64 text of float32 (spins, n (n + 1) / 2)",
        "comment": "GPAW's packed D_asp, in the order of the partial waves of the setups in paw_setups",
    },
    "paw_setups": {"long_name": "element and MD5 of each PAW setup"},
}


class DrawError(ChgdbError, ValueError):
    """Structures cannot be drawn as asked."""


def kept_back(path: Path) -> frozenset[str]:
    """SHA-256 of reduced formulas that must not be computed, one a line; `#` begins a remark.

    Raises `DrawError` for a file that is none.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DrawError(f"{path}: cannot be read: {error}") from None
    found = {line.lower() for line in lines if line and not line.startswith("#")}
    if wrong := [line for line in found if len(line) != 64 or set(line) - set("0123456789abcdef")]:
        raise DrawError(f"{path}: {wrong[0][:80]!r} is no SHA-256 in hex")
    return frozenset(found)


def allowed(formula: str, forbidden: Collection[str], known: Mapping[str, str]) -> bool:
    """Whether a density of this formula may be computed: it trains, and its hash is not among those kept back.

    known: formula -> part of the split, of formulas that have one (see `splits.claims`).
    """
    spellings = {formula, canonical_formula(formula)}
    if any(sha256(s.encode()).hexdigest() in forbidden for s in spellings):
        return False
    return splits.assign([formula], known=known)[0] == "train"


def draw(
    catalog: Catalog,
    forbidden: Collection[str],
    known: Mapping[str, str],
    seed: int = 0,
    atoms: int = 8,
    cost: float = 60.0,
) -> Iterator[dict[str, Any]]:
    """Records for `compute.py run`, without end.

    forbidden: hashes as of `kept_back`. known: `labels.claims`, so that what the paper tests with stays out.
    atoms, cost: the most atoms a cell has, and the most that it may be expected to cost (see `costs.expected`).
    """
    random = np.random.default_rng(seed)
    parts = catalog.column("split")
    rows = np.flatnonzero((parts == "train") & (catalog.column("n_atoms") <= atoms))
    claimed = dict(known) | {
        canonical_formula(str(f)): str(p) for f, p in zip(catalog.column("formula"), parts, strict=True)
    }
    formulas, partners = Counter(map(str, catalog.column("formula"))), _partners()
    crystals = {int(row): catalog[catalog.ids[row]].crystal for row in rows}
    weights = np.array([_weight(crystals[int(row)].numbers) for row in rows])
    kinds, chances = list(KINDS), np.array(list(KINDS.values()), float)
    count = 0
    while True:
        for _ in range(_TRIES):
            row = int(random.choice(rows, p=weights / weights.sum()))
            kind = str(random.choice(kinds, p=chances / chances.sum()))
            crystal = _made(crystals[row], kind, random, partners)
            if crystal is None or set(crystal.numbers.tolist()) & _LEFT_OUT or not _sound(crystal):
                continue
            formula = pymatgen_formula(crystal)
            if not allowed(formula, forbidden, claimed) or (kind == "substituted" and formulas[crystal.formula] > 1):
                continue
            record = _record(crystal, f"drawn-{seed}-{count:05d}", kind, catalog.ids[row])
            if costs.expected(record) > cost:
                continue
            formulas[crystal.formula] += kind == "substituted"
            count += 1
            yield record
            break
        else:
            raise DrawError(f"{_TRIES} structures in a row cost more than {cost} or may not be drawn: ask for others")


def most_doubtful(records: list[dict[str, Any]], n: int) -> list[dict[str, Any]]:
    """The n records whose densities the density model's members disagree on most, in their order."""
    from chgdb.densities.guess import guess
    from chgdb.densities.model import load

    model = load()
    crystals = [crystal_of(r) for r in records]
    spreads = [guess(model, c, spacing_grid(c.cell, _COARSE)).spread for c in crystals]
    return [records[k] for k in sorted(np.argsort(spreads)[::-1][:n].tolist())]


def pymatgen_formula(crystal: Crystal) -> str:
    """pymatgen's reduced formula, which the hashes of formulas kept back are of."""
    from pymatgen.core import Composition

    return str(Composition(dict(Counter(crystal.symbols))).reduced_formula)


def _weight(numbers: np.ndarray) -> float:
    elements = set(numbers.tolist())
    weight = WEIGHTS["hydride"] if _HYDROGEN in elements else 1.0
    weight *= WEIGHTS["halide"] if elements & _HALOGENS else 1.0
    weight *= WEIGHTS["covalent"] if elements & _COVALENT else 1.0
    return weight * (WEIGHTS["oxide"] if _OXYGEN in elements else 1.0)


def _partners() -> dict[int, list[int]]:
    """Elements that may stand for each other: of the same group, or neighbours in a period of the same block."""
    known = tables()
    group, row = known["Column"], known["Row"]
    usable = [z for z in range(1, 84) if z not in (2, 10, 18, 36, 54, 61) and z not in _LEFT_OUT and z != 43]
    found: dict[int, list[int]] = {}
    for z in usable:
        near = abs(group[usable] - group[z]) + 2 * abs(row[usable] - row[z])
        same = group[usable] == group[z]
        found[z] = [w for w, n, s in zip(usable, near, same, strict=True) if w != z and (s or n <= 1) and w > 1]
    return found


def _made(
    crystal: Crystal, kind: str, random: np.random.Generator, partners: Mapping[int, list[int]]
) -> Crystal | None:
    """A structure like another; None where there is none."""
    if kind == "strained":
        strain = random.normal(scale=_STRAIN, size=(3, 3))
        return Crystal(crystal.cell @ (np.eye(3) + (strain + strain.T) / 2), crystal.positions, crystal.numbers)
    if kind == "displaced":
        moved = random.normal(scale=_DISPLACEMENT, size=(len(crystal), 3)) @ np.linalg.inv(crystal.cell)
        return Crystal(crystal.cell, crystal.positions + moved, crystal.numbers)
    elements = sorted(set(crystal.numbers.tolist()))
    changed = random.permutation(elements)[: 1 + int(len(elements) > 1 and random.random() < 0.5)]
    new = {z: z for z in elements}
    for z in changed.tolist():
        if not partners.get(z):
            return None
        new[z] = int(random.choice(partners[z]))
    if len(set(new.values())) < len(elements):
        return None
    numbers = np.array([new[z] for z in crystal.numbers.tolist()])
    radius, volume = tables()["CovalentRadius"], tables()["GSvolume_pa"]
    # Halfway between bonds and the volumes of the elements; relaxed cells lie to both sides.
    by_bonds = radius[numbers].mean() / radius[crystal.numbers].mean()
    by_volumes = (volume[numbers].mean() / volume[crystal.numbers].mean()) ** (1 / 3)
    scale = np.sqrt(by_bonds * by_volumes) * random.normal(1.0, 0.02)
    return Crystal(crystal.cell * scale, crystal.positions, numbers)


def _sound(crystal: Crystal) -> bool:
    """Whether no two atoms sit nearer than chemistry allows."""
    from chgdb.densities.graph import neighbours

    first, second, vectors = neighbours(crystal, np.arange(len(crystal)), 3.0)
    radius = tables()["CovalentRadius"][crystal.numbers] / 100
    return bool((np.linalg.norm(vectors, axis=1) > _CLOSEST * (radius[first] + radius[second])).all())


def _record(crystal: Crystal, material_id: str, kind: str, parent: str) -> dict[str, Any]:
    return {
        "material_id": material_id,
        "formula": crystal.formula,
        "space_group": checks.space_group(crystal.cell, crystal.positions, crystal.symbols),
        "cell": crystal.cell.tolist(),
        "symbols": crystal.symbols,
        "frac": (crystal.positions % 1.0).tolist(),
        "structure_source": "drawn",
        "parent": parent,
        "made_by": kind,
        "keep_density_matrices": True,
    }


class Loader:
    """id -> (density, metadata) of a run folder, for `build_from`; see `rebuild.Loader`."""

    def __init__(self, run: Path, known: Mapping[str, str]) -> None:
        self._run, self._known = run, dict(known)

    def __call__(self, material_id: str) -> tuple[Density, dict[str, Any]]:
        entry = runs.RunFolder(self._run).read("accepted", material_id)
        if entry is None:
            raise DrawError(f"{self._run} holds no accepted density of {material_id}")
        record, meta = entry["record"], entry["meta"]
        density, asymmetry = symmetrised(
            Density(crystal_of(record), manager.packed_grids(entry)), checks.DEFAULT.asymmetry
        )
        metadata = {
            **PROVENANCE,
            "structure_source": record["structure_source"],
            "space_group": int(record["space_group"]),
            "spin_polarised": bool(meta["spin_polarised"]),
            "dft_energy": float(meta["energy_eV"]),
            "asymmetry": asymmetry,
            "split": str(splits.assign([density.crystal.formula], known=self._known)[0]),
            "parent": record["parent"],
            "made_by": record["made_by"],
            "paw_setups": ", ".join(meta["setups"]),
        }
        if _MATRICES in meta:
            metadata[_MATRICES] = json.dumps(meta[_MATRICES])
        return density, metadata


app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
_LABELS = HERE.parent.parent / "shared" / "labels" / "labels.csv"
LabelsOption = Annotated[Path, typer.Option("--labels", help="labels.csv, with the paper's split.")]


@app.command("draw")
def write_queue(
    queue: Annotated[Path, typer.Argument(metavar="QUEUE.jsonl")],
    n: Annotated[int, typer.Option(min=1, help="Structures.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of the choice; it names the structures.")] = 0,
    hashes: Annotated[Path | None, typer.Option("--kept-back", help="SHA-256 of formulas to leave out.")] = None,
    labels_path: LabelsOption = _LABELS,
    atoms: Annotated[int, typer.Option(min=1, help="Most atoms in a cell.")] = 8,
    cost: Annotated[float, typer.Option(min=0.1, help="Most that one may cost, about seconds of a core.")] = 60.0,
    of: Annotated[
        int, typer.Option(min=1, help="Candidates for each: the density model doubts those chosen most.")
    ] = 1,
) -> None:
    """Write structures to compute."""
    known = labels.claims(labels_path)
    forbidden = kept_back(hashes) if hashes else frozenset()
    drawn = draw(open_catalog(None), forbidden, known, seed, atoms, cost)
    records = [record for record, _ in zip(drawn, range(n * of), strict=False)]
    records = most_doubtful(records, n) if of > 1 else records
    batches.write_atomically(queue, "".join(json.dumps(record) + "\n" for record in records).encode())
    print(f"{len(records)} structures in {queue}")


@app.command()
def collect(
    run: Annotated[Path, typer.Argument(help="Run folder of compute.py.")],
    store: Annotated[Path, typer.Option(help="Store that they are added to.")] = STORE,
    hashes: Annotated[Path | None, typer.Option("--kept-back", help="SHA-256 of formulas to leave out.")] = None,
    labels_path: LabelsOption = _LABELS,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes.")] = None,
) -> None:
    """Add the accepted densities of a run to the store of drawn structures."""
    state, known = runs.RunFolder(run), labels.claims(labels_path)
    forbidden = kept_back(hashes) if hashes else frozenset()
    wanted = []
    for material_id in state.ids("accepted"):
        entry = state.read("accepted", material_id)
        if entry is not None and entry["record"].get("structure_source") == "drawn":
            crystal = crystal_of(entry["record"])
            if allowed(pymatgen_formula(crystal), forbidden, known):
                wanted.append(material_id)
    report = build_from(
        store, wanted, Loader(run, known), columns=COLUMNS | DRAWN_COLUMNS,
        attributes={"title": "densities of structures drawn to train models", "licence": "CC BY 4.0"},
        tolerance=1e-4, workers=workers, prior=open_catalog(None).prior, progress=sys.stderr.isatty(),
    )  # fmt: skip
    if not report.complete:
        material_id, reason = report.refused[0]
        raise DrawError(f"{len(report.refused)} densities were refused, first {material_id}: {reason}")
    print(f"{len(report.added)} added, {len(report.skipped)} there already: {store}")


if __name__ == "__main__":
    main(app)
