"""Benchmarks of the autoencoders: every table and picture of docs/science/latents.md.

    pip install -e '.[bench,ml,plot]'
    OMP_NUM_THREADS=1 python tests/benchmarks/bench_latents.py all

Measured on the materials of catalog/sources that the split puts into the test part, with the models of catalog/models
and their latents as a store keeps them: whole numbers, compressed. `--materials` takes that many of them, drawn with
seed 0. Each command prints its table, puts it between its markers in docs/science/latents.md, and its numbers into
docs/science/data/.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy: timings of one thread, whatever the machine

import json
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import codec_data
import numpy as np
import torch
import typer
from codec_report import count, load, percent, publish, table

import chgdb
from chgdb import Density, codecs
from chgdb.errors import CodecError
from chgdb.formats import text_bytes
from chgdb.latents.autoencoder import Autoencoder
from chgdb.latents.description import MODEL
from chgdb.latents.volumes import CONFIGURATIONS, DEFAULT, Configuration, from_volume, origin, to_volume
from chgdb.plugins import models_folder
from chgdb.store.latents import compress
from chgdb_catalog.rebuild import Loader

OUT = codec_data.REPOSITORY / "docs" / "science"
PAGE = "latents"
INDEX = 16  # bytes that a store's index takes for each latent
STEPS = 60  # of a refined latent
WITH_REFINED = ("published",)  # models whose latents are refined here: it takes seconds a material
ALONE, REFINED = ", network alone", ", refined"  # without the symmetry of the crystal; with a refined latent
PUBLISHED = {"mse": 2.1e-4, "mae": 0.00402}  # arXiv 2605.07227, its text
_PADDED = replace(
    CONFIGURATIONS["published"], whole=False, margin=0, clear=False
)  # for what has no padded grid of its own
#: A metal, an ionic and a covalent crystal, the first of each that the test part has.
PICTURED = {
    "metal": ["mp-30", "mp-23", "mp-90", "mp-13", "mp-79", "mp-129", "mp-91", "mp-1265", "mp-2658", "mp-1487"],
    "ionic": ["mp-22862", "mp-1265", "mp-463", "mp-23193", "mp-1138", "mp-22905", "mp-1672", "mp-2472"],
    "covalent": ["mp-149", "mp-66", "mp-8062", "mp-1639", "mp-2534", "mp-32", "mp-20351", "mp-10044", "mp-1700"],
}

app = typer.Typer(help=__doc__, add_completion=False, no_args_is_help=True)
Out = Annotated[Path, typer.Option(help="Folder of latents.md, data/ and figures/.")]
Materials = Annotated[int, typer.Option(help="Materials of the test part; 0 for all.")]
Only = Annotated[
    list[str] | None, typer.Option(help="Measure this one alone, and keep what was measured of the others.")
]


def models() -> dict[str, Autoencoder]:
    """All models of the catalog, in the order of the configurations."""
    there = [name for name in CONFIGURATIONS if (models_folder("autoencoder") / name / MODEL).exists()]
    if not there:
        raise SystemExit(f"needs the models in {models_folder('autoencoder')}: chgdb train autoencoder makes them")
    return {name: Autoencoder.load(name) for name in there}


def held_out(materials: int = 0) -> list[str]:
    """Test materials of the default model, that no model has seen (the split is the same for all)."""
    split = json.loads((models_folder("autoencoder") / DEFAULT / "split.json").read_text(encoding="utf-8"))
    ids = sorted(split["test"])
    if not materials or materials >= len(ids):
        return ids
    chosen = np.random.default_rng(0).choice(len(ids), materials, replace=False)
    return [ids[k] for k in sorted(chosen.tolist())]


def grown() -> list[str]:
    """Test materials of the catalog as it is now; none of them has trained a model."""
    store = chgdb.open()
    return sorted(i for i, part in zip(store.ids, store.column("split"), strict=True) if part == "test")


def density(material_id: str) -> Density:
    whole, _ = Loader({}, {})(material_id)
    return Density(whole.crystal, {"total": whole.total})


def padded_error(
    model: Autoencoder, original: Density, latent: np.ndarray, decoded: Density, symmetric: bool
) -> tuple[float, float]:
    """MSE and MAE as the paper defines them: e/Å^3, on a grid of 0.075 Å zero-padded to 128^3 points.

    What a model with zero padding leaves in the padding counts, on its own grid; of a periodic one the padding is zero.
    symmetric: inside the cell the decoded density counts, brought to that grid; otherwise the network's own output.
    """
    z, y, x = _padded(model).volume_shape(original.crystal.cell)
    exact = chgdb.grids.resample(original.total, (x, y, z)).transpose(2, 1, 0)
    error = chgdb.grids.resample(decoded.total, (x, y, z)).transpose(2, 1, 0) - exact
    if model.configuration.boundary == "zero":
        volume = model.padded_volume(latent)
        if symmetric:
            volume[:z, :y, :x] = error
        else:
            if model.configuration.target == "difference":
                from chgdb.promolecule import superposition

                assert model.prior is not None
                atoms = superposition(model.prior, original.crystal, (x, y, z)).transpose(2, 1, 0)
                exact -= atoms + original.total.mean()
            begin = origin(original.crystal, model.configuration)
            volume[:z, :y, :x] -= np.roll(exact, [-n for n in begin], (0, 1, 2))
        return float(np.square(volume).mean(dtype=float)), float(np.abs(volume).mean(dtype=float))
    whole = _PADDED.most**3
    return float(np.square(error).sum() / whole), float(np.abs(error).sum() / whole)


def _padded(model: Autoencoder) -> Configuration:
    return model.configuration if model.configuration.boundary == "zero" else _PADDED


def measure(model: Autoencoder, original: Density, refine: int = 0, symmetric: bool = True) -> dict[str, float]:
    """One material through one model. symmetric: decoded as by default, otherwise by the network alone."""
    decode = partial(model.decode, crystal=original.crystal, grid=original.grid, symmetric=symmetric)
    start = time.process_time()
    latent = model.encode(original, refine)
    encoded = time.process_time()
    plain = decode(latent, n_electrons=original.n_electrons, rescale=False)
    done = time.process_time()
    decoded = decode(latent, n_electrons=original.n_electrons)
    mse, mae = padded_error(model, original, latent, plain, symmetric)
    return {
        "mse": mse,
        "mae": mae,
        "nmae": codecs.measure(original, decoded).nmae["total"],
        "electrons": abs(plain.n_electrons / original.n_electrons - 1),
        "bytes": len(compress(latent)) + INDEX,
        "text": text_bytes(original),
        "encode": encoded - start,
        "decode": done - encoded,
        "filled": float(np.prod(_padded(model).volume_shape(original.crystal.cell))) / _PADDED.most**3,
    }


def summary(rows: list[dict[str, float]]) -> dict[str, float]:
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    nmae = columns["nmae"]
    return {
        "materials": len(nmae),
        "mse": columns["mse"].mean(),
        "mae": columns["mae"].mean(),
        "nmae": nmae.mean(),
        "nmae_median": float(np.median(nmae)),
        "nmae_95": float(np.quantile(nmae, 0.95)),
        "electrons": columns["electrons"].mean(),
        "bytes": columns["bytes"].mean(),
        "ratio": columns["text"].sum() / columns["bytes"].sum(),
        "encode": float(np.median(columns["encode"])),
        "decode": float(np.median(columns["decode"])),
        "filled": columns["filled"].mean(),
    }


def _row(name: str, s: dict[str, float], padded: bool = True) -> list[str]:
    return [
        name,
        f"{s['mse']:.3g}" if padded else "",
        f"{s['mae']:.3g}" if padded else "",
        percent(s["nmae"]),
        percent(s["nmae_median"]),
        percent(s["nmae_95"]),
        percent(s["electrons"], 2),
        count(s["bytes"]),
        count(s["ratio"]),
        f"{1000 * s['encode']:.0f}",
        f"{1000 * s['decode']:.0f}",
    ]


_HEAD = [
    *("variant", "MSE, padded", "MAE, padded", "NMAE, mean", "median", "95 %", "electrons off", "bytes", "ratio"),
    *("encode, ms", "decode, ms"),
]


@app.command()
def variants(
    out: Out = OUT,
    materials: Materials = 0,
    model: Only = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that refine latents, each with one thread.")] = 1,
    refined: Annotated[bool, typer.Option(help="Refine latents, too: seconds a material.")] = True,
) -> None:
    """The test set through every model and the Fourier codec."""
    torch.set_num_threads(1)
    ids = held_out(materials)
    earlier = load(out, "variants", PAGE) if model else {"ids": ids, "rows": {}}
    if earlier["ids"] != ids:
        raise SystemExit("the earlier run was of other materials: measure all models")
    found: dict[str, list[dict[str, float]]] = {}
    originals = {i: density(i) for i in ids}
    for name, loaded in models().items():
        for how, steps in (("", 0), (ALONE, 0), (REFINED, STEPS)):
            key = name + how
            if steps and (name not in WITH_REFINED or not refined):
                continue
            if model and name not in model:
                found[key] = _rows(earlier["rows"][key])
                continue
            if steps and workers > 1:
                with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
                    found[key] = list(pool.map(partial(_refined, name), ids, chunksize=8))
            else:
                loaded.encode(originals[ids[0]])  # what is computed once a model is not this material's time
                found[key] = [measure(loaded, originals[i], steps, how != ALONE) for i in ids]
            print(key, {k: f"{v:.4g}" for k, v in summary(found[key]).items()}, flush=True)
    fourier = ("fourier, same bytes", "fourier, same NMAE")
    if model and DEFAULT not in model:
        found |= {key: _rows(earlier["rows"][key]) for key in fourier}
        limit = earlier["grid_nmae"]
    else:
        prior = Autoencoder.load(DEFAULT).prior  # of the training part alone, for the Fourier codec too
        found |= {key: [] for key in fourier}
        for i, row in zip(ids, found[DEFAULT], strict=True):
            found[fourier[0]].append(_fourier_at(originals[i], row["bytes"], None, prior))
            found[fourier[1]].append(_fourier_at(originals[i], None, row["nmae"], prior))
        limit = float(np.mean([_grid_alone(Autoencoder.load(DEFAULT), originals[i]) for i in ids]))
    sums = {name: summary(rows) for name, rows in found.items()}
    rows = [_row(_quoted(name), s) for name, s in sums.items()]
    text = [table(_HEAD, rows), ""]
    first = sums[DEFAULT]
    filled = percent(sums.get("published", first)["filled"], 2)
    text.append(f"{first['materials']} test materials; a cell fills {filled} of the padded grid.")
    text.append(f"The grid of `{DEFAULT}` alone, without a network, is off by {percent(limit)} on average.")
    text += ["", *_verdicts(found, sums)]
    facts = {"ids": ids, "grid_nmae": limit, "mean": sums, "rows": _rounded(found)}
    publish(out, "variants", "\n".join(text), facts, PAGE)


@lru_cache(maxsize=1)
def _ready(name: str) -> Autoencoder:
    """A model in a process of its own, past what is computed once a model."""
    torch.set_num_threads(1)
    loaded = Autoencoder.load(name)
    loaded.encode(density(held_out()[0]))
    return loaded


def _refined(name: str, material_id: str) -> dict[str, float]:
    return measure(_ready(name), density(material_id), STEPS)


def _rows(columns: dict[str, list[float]]) -> list[dict[str, float]]:
    """What `_rounded` made columns of."""
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _quoted(name: str) -> str:
    """A variant's name as code, what comes after it as text."""
    variant, *rest = name.split(", ")
    return ", ".join([f"`{variant}`" if variant in CONFIGURATIONS else variant, *rest])


def _rounded(found: dict[str, list[dict[str, float]]]) -> dict[str, dict[str, list[float]]]:
    """Columns of four digits: what a file of thousands of numbers needs."""
    return {name: {k: [float(f"{row[k]:.4g}") for row in rows] for k in rows[0]} for name, rows in found.items()}


def _verdicts(found: dict[str, list[dict[str, float]]], sums: dict[str, dict[str, float]]) -> list[str]:
    """What was asked of the variants, and whether it is so."""
    lines = []
    if "published" in sums:
        ways = (
            ("", ", symmetric,"),
            (ALONE, " by its network alone"),
            (REFINED, f" with latents refined in {STEPS} steps"),
        )
        for way, how in (w for w in ways if "published" + w[0] in sums):
            s = sums["published" + way]
            met = s["mse"] <= PUBLISHED["mse"] and s["mae"] <= PUBLISHED["mae"]
            lines.append(
                f"- `published`{how} at most the paper's MSE {PUBLISHED['mse']:.2g} and MAE {PUBLISHED['mae']}: "
                f"{s['mse']:.3g} and {s['mae']:.3g}, {'met' if met else '**missed**'}."
            )
        ratio = max(sums[DEFAULT + way]["nmae"] / sums["published" + way]["nmae"] for way in ("", ALONE))
        lines.append(
            f"- `{DEFAULT}` at most a third of the NMAE of `published`: {percent(ratio, 2)} of it at most, symmetric "
            f"and by the networks alone, {'met' if ratio <= 1 / 3 else '**missed**'}."
        )
    for difference, total in (("difference", "published"), ("periodic", "periodic-total")):
        if difference in found and total in found:
            pairs = [zip(found[difference + way], found[total + way], strict=True) for way in ("", ALONE)]
            share = min(float(np.mean([a["nmae"] < b["nmae"] for a, b in both])) for both in pairs)
            lines.append(
                f"- `{difference}` better than `{total}` on more than 90 % of the materials: at least "
                f"{percent(share)}, symmetric and by the networks alone, {'met' if share > 0.9 else '**missed**'}."
            )
    ratio = sums[DEFAULT]["ratio"]
    lines.append(
        f"- Latents at most 1/117 of the CHGCARs' text: 1/{ratio:.0f}, {'met' if ratio >= 117 else '**missed**'}; "
        f"1/500: {'met' if ratio >= 500 else '**missed**'}."
    )
    return lines


def _grid_alone(model: Autoencoder, original: Density) -> float:
    """NMAE of a network that gives back its volume unchanged."""
    volume = to_volume(original, model.configuration, model.prior)
    settings = (model.configuration, model.prior, original.crystal, original.grid, original.n_electrons)
    back = Density(original.crystal, {"total": from_volume(volume, *settings)})
    return codecs.measure(original, back).nmae["total"]


def _fourier_at(original: Density, size: float | None, nmae: float | None, prior: Any) -> dict[str, float]:
    """The Fourier codec with at most so many bytes, or at most that NMAE."""
    if nmae is not None:
        return _fourier(original, nmae, prior)
    assert size is not None
    low, high = np.log(1e-7), np.log(0.1)  # NMAE; the lower end may take more bytes than asked for
    best = _fourier(original, float(np.exp(high)), prior)
    for _ in range(7):
        middle = (low + high) / 2
        try:
            tried = _fourier(original, float(np.exp(middle)), prior)
        except CodecError:  # finer than the codec goes
            low = middle
            continue
        if tried["bytes"] <= size:
            best, high = tried, middle
        else:
            low = middle
    return best


def _fourier(original: Density, tolerance: float, prior: Any) -> dict[str, float]:
    start = time.process_time()
    encoded = codecs.encode(original, tolerance, codec="fourier", prior=prior)
    between = time.process_time()
    decoded = codecs.decode(encoded.payload, prior=prior)
    done = time.process_time()
    z, y, x = _PADDED.volume_shape(original.crystal.cell)
    error = chgdb.grids.resample(decoded.total - original.total, (x, y, z))
    whole = _PADDED.most**3
    return {
        "mse": float(np.square(error).sum() / whole),
        "mae": float(np.abs(error).sum() / whole),
        "nmae": encoded.quality.nmae["total"],
        "electrons": abs(decoded.n_electrons / original.n_electrons - 1),
        "bytes": len(encoded.payload) + 4,
        "text": text_bytes(original),
        "encode": between - start,
        "decode": done - between,
        "filled": error.size / whole,
    }


@app.command()
def catalog(
    out: Out = OUT,
    materials: Materials = 0,
    model: Only = None,
) -> None:
    """The test part of the catalog as it is now, with the larger cells that came after the models, through each."""
    torch.set_num_threads(1)
    ids = grown()[:materials] if materials else grown()
    earlier = load(out, "catalog", PAGE) if model else {"ids": ids}
    if earlier["ids"] != ids:
        raise SystemExit("the earlier run was of other materials: measure all models")
    originals = {i: density(i) for i in ids}
    sums = {}
    for name, loaded in models().items():
        loaded.encode(originals[ids[0]])
        for how in ("", ALONE):
            if model and name not in model:
                sums[name + how] = earlier["mean"][name + how]
            else:
                sums[name + how] = summary([measure(loaded, originals[i], 0, how != ALONE) for i in ids])
    text = table(_HEAD, [_row(_quoted(name), s) for name, s in sums.items()])
    filled = percent(next(iter(sums.values()))["filled"], 2)
    text += f"\n\n{len(ids)} test materials; a cell fills {filled} of the padded grid."
    publish(out, "catalog", text, {"ids": ids, "mean": sums}, PAGE)


@app.command()
def vasp(out: Out = OUT) -> None:
    """Real VASP files, on which nothing was trained."""
    torch.set_num_threads(1)
    chosen = {name: model for name, model in models().items() if name in ("published", "difference", DEFAULT)}
    ways = [(name, how, steps) for name in chosen for how, steps in (("", 0), (" refined", STEPS))]
    ways = [way for way in ways if not way[2] or way[0] in WITH_REFINED]
    named = [f"`{name}`{how}, NMAE (bytes)" for name, how, _ in ways]
    head = ["file", "grid", *named, f"Fourier at the NMAE of `{DEFAULT}`, bytes"]
    rows, facts = [], {}
    prior = chosen[DEFAULT].prior
    for path in codec_data.vasp_files():
        whole = chgdb.read(path)
        original = Density(whole.crystal, {"total": np.asarray(whole.total, float)})
        results = {f"{name}{how}": measure(chosen[name], original, steps) for name, how, steps in ways}
        name = path.name.removesuffix(".gz")
        try:
            equal = count(_fourier(original, max(results[DEFAULT]["nmae"], 1e-6), prior)["bytes"])
        except CodecError:
            equal = "-"
        cells = [f"{percent(r['nmae'])} ({count(r['bytes'])})" for r in results.values()]
        rows.append([name, "×".join(map(str, original.grid)), *cells, equal])
        facts[name] = results
    publish(out, "vasp", f"{table(head, rows)}\n\n{_vasp_means(facts)}", {"rows": facts}, PAGE)


def _vasp_means(facts: dict[str, dict[str, dict[str, float]]]) -> str:
    """The columns of the test set, for the files that hold pseudo-densities."""
    files = [ways for name, ways in facts.items() if "AECCAR" not in name]
    rows = []
    for way in files[0]:
        variant, *rest = way.split(" ")
        rows.append(_row(" ".join([f"`{variant}`", *rest]), summary([ways[way] for ways in files])))
    return f"Means of the {len(files)} that are no AECCAR, decoded as by default:\n\n{table(_HEAD, rows)}"


@app.command()
def pictures(out: Out = OUT) -> None:
    """Original, decoded and difference of a metal, an ionic and a covalent crystal; the losses of the trainings."""
    from matplotlib.figure import Figure

    from chgdb_cli.figures import draw_training

    (out / "figures").mkdir(parents=True, exist_ok=True)
    logs = {name: models_folder("autoencoder") / name / "log.jsonl" for name in models()}
    draw_training(logs, str(out / "figures" / "latents-training.svg"))
    there = set(held_out())
    chosen = {name: model for name, model in models().items() if name in ("published", DEFAULT)}
    figure = Figure(figsize=(13, 8.4), layout="constrained")
    axes = figure.subplots(3, 1 + 2 * len(chosen), squeeze=False)
    for row, (kind, candidates) in zip(axes, PICTURED.items(), strict=True):
        material_id = next((i for i in candidates if i in there), None)
        if material_id is None:
            raise SystemExit(f"none of the {kind} crystals {', '.join(candidates)} is in the test part")
        original = density(material_id)
        exact = _slice(original)
        _show(row[0], exact, 0, exact.max(), "magma", f"{original.crystal.formula} ({kind}), {material_id}")
        for k, (name, model) in enumerate(chosen.items()):
            decoded = model.decode(model.encode(original), original.crystal, original.grid, original.n_electrons)
            found = _slice(decoded)
            nmae = codecs.measure(original, decoded).nmae["total"]
            _show(row[1 + 2 * k], found, 0, exact.max(), "magma", f"{name}: NMAE {percent(nmae, 2)}")
            largest = np.abs(found - exact).max()
            _show(row[2 + 2 * k], found - exact, -largest, largest, "RdBu_r", f"difference, ±{largest:.2g} e/Å³")
    figure.savefig(out / "figures" / "latents-slices.png", dpi=110)


def _slice(original: Density) -> np.ndarray:
    """The plane through the first atom that is spanned by the first two lattice vectors, on a fine grid."""
    grid = chgdb.grids.spacing_grid(original.crystal.cell, 0.05)
    values = chgdb.grids.resample(original.total, grid)
    return values[:, :, round(original.crystal.positions[0, 2] * grid[2]) % grid[2]]


def _show(axes: Any, values: np.ndarray, low: float, high: float, colours: str, title: str) -> None:
    axes.imshow(values.T, origin="lower", vmin=low, vmax=high, cmap=colours)
    axes.set_title(title, fontsize=8.5)
    axes.set_axis_off()


@app.command(name="all")
def everything(out: Out = OUT) -> None:
    """All tables and pictures."""
    variants(out)
    catalog(out)
    vasp(out)
    pictures(out)


if __name__ == "__main__":
    app()
