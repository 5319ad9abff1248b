"""Benchmarks of the codecs: every table and picture of docs/science/codec.md.

    pip install -e '.[bench,interop,plot]'
    OMP_NUM_THREADS=1 python tests/benchmarks/bench_codec.py all

Each command prints its table, puts it between its markers in docs/science/codec.md, and its numbers into
docs/science/data/. `--quick` takes a few small inputs: a check that everything runs, not a measurement.

Stored bytes are everything a record needs: its payload (crystal, grid, symmetry, electron counts, coefficients) and a
checksum of four bytes. Text bytes are the density blocks of a CHGCAR as VASP writes them, all channels.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy: timings of one thread, whatever the machine

import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import codec_data as data
import codec_ideas as ideas
import codec_peers as peers
import numpy as np
import typer
from codec_report import count, geometric_mean, percent, publish, table

import chgdb
from chgdb import Density, codecs
from chgdb.errors import CodecError
from chgdb.formats import text_bytes
from chgdb.promolecule import Prior, fit
from chgdb_catalog import batches
from chgdb_catalog.rebuild import Loader

CHECKSUM = 4  # bytes a record's checksum takes beside the payload
VASP_TOLERANCES = (1e-3, 1e-4)
VASP_TARGETS = {1e-3: 10_000, 1e-4: 4_000}  # geometric mean over the CHGCARs
SET_TOLERANCES = (1e-4, 1e-3, 1e-2)
SET_TARGET = 1500  # mean ratio at 0.01 %
DECODE_TARGET, ENCODE_TARGET = 15, 500  # ms, at 64^3

app = typer.Typer(help=__doc__, add_completion=False, no_args_is_help=True)

Out = Annotated[Path, typer.Option(help="Folder of codec.md, data/ and figures/.")]
PriorFile = Annotated[Path | None, typer.Option("--prior", help="Prior as .npz; default: the embedded catalog's.")]
Quick = Annotated[bool, typer.Option(help="A few small inputs: does everything run?")]
Sample = Annotated[int, typer.Option(help="Materials drawn from the set (seed 0).")]
OUT = data.REPOSITORY / "docs" / "science"


def verdict(met: bool) -> str:
    return "met" if met else "**missed**"


# --- real VASP files -------------------------------------------------------------------------------------------------


@app.command()
def vasp(out: Out = OUT, prior: PriorFile = None, quick: Quick = False) -> None:
    """Every file of ../shared/vasp beside gzip, pcodec, zfp, SZ3 and SPERR at the same or worse error."""
    own = data.prior(prior)
    paths = [path for path in data.vasp_files() if not quick or path.name.startswith(("Li_nospin", "GaAs"))]
    tables, results = [], []
    for tolerance in VASP_TOLERANCES:
        rows = [_compared(path, tolerance, own) for path in paths]
        results += rows
        tables.append(_vasp_table(rows, tolerance))
    size = sum(array.nbytes for array in own.to_arrays().values())
    note = f"The prior, {size:,} bytes, is stored once in a catalog and not counted; the next column does without it."
    publish(out, "vasp", "\n\n".join([*tables, note]), {"prior": own.identifier, "rows": results})


def _compared(path: Path, tolerance: float, own: Prior) -> dict[str, Any]:
    density = chgdb.read(path)
    alone = codecs.encode(density, tolerance)
    best = codecs.encode(density, tolerance, prior=own)
    row: dict[str, Any] = {
        "file": path.name.removesuffix(".gz"),
        "grid": list(density.grid),
        "channels": len(density.channels),
        "atoms": len(density.crystal),
        "tolerance": tolerance,
        "text_bytes": text_bytes(density),
        "codec": codecs.header(best.payload).codec,
        "uses_prior": codecs.header(best.payload).prior_id != 0,
        "chgdb": {"bytes": len(best.payload) + CHECKSUM, "nmae": max(best.quality.nmae.values())},
        "chgdb without prior": {"bytes": len(alone.payload) + CHECKSUM, "nmae": max(alone.quality.nmae.values())},
        "gzip -6": {"bytes": peers.gzip_size(density), "nmae": 0.0},
    }
    exact = peers.pcodec_float32(density)
    matched = {"pcodec, float32": exact} if exact else {}
    matched |= {name: peers.at_error(compress, density, tolerance) for name, compress in peers.lossy().items()}
    return row | {name: {"bytes": found.size, "nmae": found.nmae} for name, found in matched.items()}


def _vasp_table(rows: list[dict[str, Any]], tolerance: float) -> str:
    methods = [name for name, value in rows[0].items() if isinstance(value, dict)]

    def ratio(row: dict[str, Any], name: str) -> float:
        return row["text_bytes"] / row[name]["bytes"]

    def line(row: dict[str, Any]) -> list[Any]:
        cells = []
        for name in methods:
            size = f"{row[name]['bytes']:,} B, " if name.startswith("chgdb") else ""
            cells.append(f"{count(ratio(row, name))} ({size}{percent(row[name]['nmae'], 2)})")
        grid = "×".join(map(str, row["grid"]))
        return [row["file"], grid, row["channels"], count(row["text_bytes"] / 1e3), *cells]

    valence = [row for row in rows if "AECCAR" not in row["file"]]
    lines = [line(row) for row in valence]
    means = {name: geometric_mean(ratio(row, name) for row in valence) for name in methods}
    lines.append(["**geometric mean, CHGCARs**", "", "", "", *(f"**{count(means[name])}**" for name in methods)])
    lines += [line(row) for row in rows if row not in valence]
    head = ["file", "grid", "channels", "text, kB", *methods]
    target = VASP_TARGETS[tolerance]
    title = f"**NMAE ≤ {percent(tolerance)}**"
    reached = means["chgdb"]
    text = f"Target: a geometric mean of at least {target:,}; {verdict(reached >= target)} with {count(reached)}."
    return f"{title}\n\n{table(head, lines)}\n\n{text}"


# --- the set of densities --------------------------------------------------------------------------------------------


@app.command()
def densities(
    out: Out = OUT,
    prior: PriorFile = None,
    quick: Quick = False,
    limit: Annotated[int | None, typer.Option(help="Only so many materials, drawn with seed 0.")] = None,
) -> None:
    """All materials of ../shared/densities at 0.01 %, 0.1 % and 1 %."""
    own = data.prior(prior)
    ids = data.material_ids(4 if quick else limit)
    texts = []
    sizes: dict[float, list[float]] = {tolerance: [] for tolerance in SET_TOLERANCES}
    errors: dict[float, list[float]] = {tolerance: [] for tolerance in SET_TOLERANCES}
    refused: list[str] = []
    start = time.monotonic()
    for k, material_id in enumerate(ids):
        density = data.density(material_id)
        texts.append(text_bytes(density))
        for tolerance in SET_TOLERANCES:
            try:
                encoded = codecs.encode(density, tolerance, prior=own)
            except CodecError as error:  # said in the table, and left out of its row
                refused.append(f"{material_id} at {percent(tolerance)} ({error})")
                sizes[tolerance].append(np.nan)
                errors[tolerance].append(np.nan)
                continue
            sizes[tolerance].append(len(encoded.payload) + CHECKSUM)
            errors[tolerance].append(max(encoded.quality.nmae.values()))
        if k % 100 == 99:
            print(f"{k + 1} of {len(ids)}, {time.monotonic() - start:.0f} s", flush=True)
    ratios = ["mean ratio", "median ratio", "sum of text / sum of bytes"]
    head = ["NMAE ≤", *ratios, "bytes: mean", "median", "95 %", "largest", "worst NMAE"]
    rows = []
    for tolerance in SET_TOLERANCES:
        stored, text = np.array(sizes[tolerance]), np.array(texts)
        stored, text = stored[np.isfinite(stored)], text[np.isfinite(stored)]
        ratio = text / stored
        rows.append([
            percent(tolerance), count(ratio.mean()), count(float(np.median(ratio))), count(text.sum() / stored.sum()),
            count(stored.mean()), count(float(np.median(stored))), count(float(np.quantile(stored, 0.95))),
            count(stored.max()), percent(float(np.nanmax(errors[tolerance]))),
        ])  # fmt: skip
    mean = float(np.nanmean(np.array(texts) / np.array(sizes[1e-4])))
    note = (
        f"{len(ids):,} materials, with the prior fitted to all of them. Target: a mean ratio of at least "
        f"{SET_TARGET:,} at 0.01 %; {verdict(mean >= SET_TARGET)} with {count(mean)}. "
        f"Refused by the codec: {', '.join(refused) or 'none'}."
    )
    publish(out, "densities", f"{table(head, rows)}\n\n{note}", {
        "prior": own.identifier, "material_id": ids, "text_bytes": texts,
        "stored_bytes": {f"{t:g}": [None if np.isnan(n) else n for n in v] for t, v in sizes.items()},
        "nmae": {f"{t:g}": [None if np.isnan(e) else float(f"{e:.4g}") for e in v] for t, v in errors.items()},
    })  # fmt: skip


@app.command()
def ablation(out: Out = OUT, prior: PriorFile = None, quick: Quick = False, sample: Sample = 200) -> None:
    """What each of the four ideas brings, and what other entropy coders make of the same integers."""
    own = data.prior(prior)
    ids = data.material_ids(3 if quick else sample)
    texts, variants, coders = [], [], []
    for material_id in ids:
        density = data.density(material_id)
        sizes, integers = ideas.ablations(density, 1e-4, own)
        texts.append(text_bytes(density))
        variants.append({name: size + CHECKSUM for name, size in sizes.items()})
        coders.append({name: coder(integers) for name, coder in ideas.CODERS.items()})
    full = np.array([row["full codec"] for row in variants])
    rows = []
    for name in variants[0]:
        stored = np.array([row[name] for row in variants])
        ratio = np.array(texts) / stored
        rows.append([
            name, count(ratio.mean()), count(float(np.median(ratio))),
            count(stored.mean()), count(float(np.median(stored))),
            f"{stored.sum() / full.sum():.2f}", f"{geometric_mean(stored / full):.2f}",
        ])  # fmt: skip
    head = ["variant", "mean ratio", "median ratio", "bytes: mean", "median", "sum / full", "geometric mean / full"]
    text = (
        f"{len(ids)} materials of the set drawn at random, at 0.01 %. The order: the same integers in the order of "
        "their Miller indices. The entropy coder: the same integers as bytes (fixed width or varints, whichever is "
        "smaller) through zstd. None: without prior and symmetry, in index order, through zstd; the sphere in |G| and "
        "the search for the step remain."
    )
    publish(out, "ablation", f"{table(head, rows)}\n\n{text}",
            {"material_id": ids, "text_bytes": texts, "stored_bytes": _columns(variants)})  # fmt: skip
    totals = {name: np.array([row[name] for row in coders]) for name in coders[0]}
    base = totals[next(iter(totals))].sum()
    lines = [
        [name, count(float(sizes.mean())), count(float(np.median(sizes))), f"{sizes.sum() / base:.3f}"]
        for name, sizes in totals.items()
    ]
    text = "The coefficients of the same records alone, without crystal, symmetry and header."
    publish(out, "coders", f"{table(['entropy coder', 'bytes: mean', 'median', 'of all, relative'], lines)}\n\n{text}",
            {"material_id": ids, "coded_bytes": _columns(coders)})  # fmt: skip


def _columns(rows: list[dict[str, int]]) -> dict[str, list[int]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


@app.command()
def atoms(out: Out = OUT, quick: Quick = False, sample: Sample = 300, folds: int = 5) -> None:
    """The superposition of atomic densities on materials it was not fitted on: folds by formula, all of the set."""
    ids = data.material_ids(24 if quick else None)
    encoded = set(data.material_ids(24 if quick else sample))
    formulas = {material_id: data.density(material_id).crystal.formula for material_id in ids}
    names = sorted(set(formulas.values()))
    fold = dict(zip(names, np.random.default_rng(0).permutation(len(names)) % folds, strict=True))
    alone: dict[str, float] = {}
    sizes: dict[str, list[int]] = {"held_out": [], "without": [], "text_bytes": []}
    for k in range(folds):
        fitted = fit(data.Densities([i for i in ids if fold[formulas[i]] != k]))
        for material_id in (i for i in ids if fold[formulas[i]] == k):
            density = data.density(material_id)
            if not fitted.covers(density.crystal):
                continue  # an element that only this fold has
            alone[material_id] = ideas.superposition_error(density, fitted)
            if material_id in encoded:
                sizes["held_out"].append(len(codecs.encode(density, 1e-4, prior=fitted).payload) + CHECKSUM)
                sizes["without"].append(len(codecs.encode(density, 1e-4).payload) + CHECKSUM)
                sizes["text_bytes"].append(text_bytes(density))
        print(f"fold {k + 1} of {folds}: {len(alone)} materials", flush=True)
    low, median, high = np.quantile(list(alone.values()), [0.05, 0.5, 0.95]).tolist()
    held, without, texts = (np.array(sizes[key]) for key in ("held_out", "without", "text_bytes"))
    rows = [
        [f"NMAE of the superposition alone, {len(alone):,} materials: median", percent(median)],
        ["the same: 5 % and 95 % of the materials", f"{percent(low)} and {percent(high)}"],
        [f"mean ratio at 0.01 % with a prior of the other folds, {len(held)} materials", count((texts / held).mean())],
        ["the same without a prior", count((texts / without).mean())],
        ["bytes with / without (geometric mean)", f"{geometric_mean(held / without):.3f}"],
    ]
    missing = len(ids) - len(alone)
    left_out = f"; {missing} left out for an element of their own fold alone" if missing else ""
    text = (
        f"{folds} folds by reduced formula, each with form factors fitted on the others{left_out}: what a prior does "
        "for materials it has not seen."
    )
    numbers = {"material_id": list(alone), "nmae": [float(f"{e:.4g}") for e in alone.values()]}
    head = ["superposition of atomic densities", "held out"]
    publish(out, "atoms", f"{table(head, rows)}\n\n{text}", {**numbers, "encoded": sizes})


@app.command()
def growth(out: Out = OUT, quick: Quick = False, sample: Sample = 150) -> None:
    """The same materials with priors fitted to ever more others of catalog/sources: what it is that a set grows."""
    load = Loader({}, {})
    records = batches.index()
    ids = list(records)[: 100 if quick else None]
    drawn = np.random.default_rng(0).permutation(len(ids))[: 6 if quick else sample]
    held = {records[ids[k]]["formula"] for k in drawn.tolist()}
    others = [i for i in ids if records[i]["formula"] not in held]
    counts = [n for n in ((80,) if quick else (250, 500, 1000, 2000, 4000)) if n < len(others)] + [len(others)]
    chosen = [load(ids[k])[0] for k in sorted(drawn.tolist())]
    rows, found = [], {}
    for number in counts:
        fitted = fit(_Loaded(others[:number]))
        if number == counts[0]:
            chosen = [density for density in chosen if fitted.covers(density.crystal)]
            texts = np.array([text_bytes(density) for density in chosen])
        alone = np.array([ideas.superposition_error(density, fitted) for density in chosen])
        encoded = [codecs.encode(density, 1e-4, prior=fitted) for density in chosen]
        sizes = np.array([len(e.payload) + CHECKSUM for e in encoded])
        nmae = max(e.quality.nmae["total"] for e in encoded)
        rows.append([f"{number:,}", percent(float(np.median(alone))), f"{sizes.mean():.0f}", f"{np.median(sizes):.0f}",
                     count((texts / sizes).mean()), percent(nmae)])  # fmt: skip
        found[str(number)] = {"superposition": [float(f"{e:.4g}") for e in alone], "bytes": sizes.tolist()}
        print(*rows[-1], flush=True)
    head = ["materials of the fit", "NMAE of the superposition alone, median", "bytes, mean", "bytes, median",
            "mean ratio", "largest NMAE"]  # fmt: skip
    text = (
        f"The same {len(chosen)} materials at 0.01 %, none of whose formulas is in any fit. Fits are to the first "
        "materials of `catalog/sources`, as they were computed: small cells first."
    )
    publish(out, "growth", f"{table(head, rows)}\n\n{text}", {"text_bytes": texts.tolist(), "fits": found})


class _Loaded:
    """Densities of catalog/sources by id, read anew at each pass over them: what `atoms.fit` takes."""

    def __init__(self, ids: list[str]) -> None:
        self.ids = ids

    def __iter__(self) -> Iterator[Density]:
        return (Loader({}, {})(material_id)[0] for material_id in self.ids)


# --- speed -----------------------------------------------------------------------------------------------------------


@app.command()
def speed(out: Out = OUT, prior: PriorFile = None, quick: Quick = False, rounds: int = 15) -> None:
    """Decoding and encoding of 64^3 densities, and pymatgen reading the same CHGCARs, in turns in the same run."""
    own = data.prior(prior)
    cubic = [i for i in data.material_ids() if data.grid_of(i) == (64, 64, 64)]
    resampled = ["mp-149"] + [i for i in data.material_ids(60) if max(data.grid_of(i)) < 64]
    chosen = (cubic[:: max(1, len(cubic) // 4)][:4] + resampled)[: 2 if quick else 8]
    chosen += ["Si8_strained_spin.CHGCAR.gz"] * (not quick)
    rows, results = [], []
    for name in chosen:
        density = chgdb.read(data.SHARED / "vasp" / name) if "CHGCAR" in name else data.density(name)
        native = density.grid
        if native != (64, 64, 64):
            density = density.resample((64, 64, 64))
        times, stored = _timed(density, own, 2 if quick else rounds)
        result = {
            "name": name.split(".")[0], "formula": density.crystal.formula, "channels": len(density.channels),
            "native_grid": list(native), "stored_bytes": stored, **times,
        }  # fmt: skip
        results.append(result)
        where = "" if native == (64, 64, 64) else f", from {'×'.join(map(str, native))}"
        line = [f"{result['name']} {result['formula']}{where}", result["channels"], count(stored)]
        for key in ("decode_ms", "encode_ms", "pymatgen_ms"):
            line.append(f"{times[key]['cpu']:.1f} ({times[key]['wall']:.1f})" if key in times else "-")
        rows.append(line)
    head = ["64×64×64", "channels", "bytes", "decode, ms", "encode + verify, ms", "pymatgen reads the text, ms"]
    single = [result for result in results if result["channels"] == 1]
    text = (
        f"At 0.01 %, one thread, medians of {rounds} rounds: processor time, which is what a machine with nothing else "
        "to do would need, and in brackets the time on the clock of this one, which was shared. Targets, with one "
        "channel:"
    )
    for what, key, target in (("decoding", "decode_ms", DECODE_TARGET), ("encoding", "encode_ms", ENCODE_TARGET)):
        found = [result[key] for result in single]
        within = [sum(t[kind] <= target for t in found) for kind in ("cpu", "wall")]
        met = f"{within[0]} of {len(found)} materials by processor time, {within[1]} by the clock"
        text += f" {what} in {target} ms {verdict(within[0] == len(found))} ({met});"
    text = text.removesuffix(";") + "."
    if all("pymatgen_ms" in r for r in results):
        share = np.median([r["pymatgen_ms"]["cpu"] / r["decode_ms"]["cpu"] for r in results])
        text += f" Reading the text with pymatgen takes {share:.2f} times as long as decoding (median)."
    publish(out, "speed", f"{table(head, rows)}\n\n{text}", {"rounds": rounds, "rows": results})


def _timed(density: chgdb.Density, own: Prior, rounds: int) -> tuple[dict[str, dict[str, float]], int]:
    """(median times of each call in ms, stored bytes); the calls take turns, so that a busy machine slows all."""
    payload = codecs.encode(density, 1e-4, prior=own).payload
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "CHGCAR")
        chgdb.write(path, density)
        calls: dict[str, Callable[[], object]] = {
            "decode_ms": lambda: codecs.decode(payload, prior=own),
            "encode_ms": lambda: codecs.encode(density, 1e-4, prior=own),
        }
        try:
            from pymatgen.io.vasp import Chgcar

            calls["pymatgen_ms"] = lambda: Chgcar.from_file(path)
        except ImportError:
            print("pymatgen is not installed: its column stays empty")
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pymatgen's own
            for _ in range(rounds):
                for name, call in calls.items():
                    start, processor = time.perf_counter(), time.process_time()
                    call()
                    times[name].append((time.process_time() - processor, time.perf_counter() - start))
    found = {}
    for name, values in times.items():
        cpu, wall = (1e3 * np.median(values, axis=0)).round(3).tolist()
        found[name] = {"cpu": cpu, "wall": wall}
    return found, len(payload) + CHECKSUM


# --- pictures, everything --------------------------------------------------------------------------------------------


@app.command()
def figures(out: Out = OUT, prior: PriorFile = None, quick: Quick = False) -> None:
    """Bytes against error beside the peers, bytes per material, and a slice of silicon; into `out`/figures."""
    import codec_figures

    codec_figures.draw(out, data.prior(prior), quick)


@app.command("all")
def everything(out: Out = OUT, prior: PriorFile = None, quick: Quick = False) -> None:
    """All of them, one after the other: about half an hour."""
    speed(out, prior, quick)
    vasp(out, prior, quick)
    densities(out, prior, quick)
    ablation(out, prior, quick)
    atoms(out, quick=quick)
    growth(out, quick=quick)
    figures(out, prior, quick)


if __name__ == "__main__":
    app()
