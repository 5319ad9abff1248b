"""Pictures of the codecs' science page. Colours of Okabe and Ito, told apart by every kind of colour vision."""

from __future__ import annotations

from pathlib import Path

import codec_data as data
import codec_peers as peers
import numpy as np
from codec_report import load, publish
from matplotlib import rc_context
from matplotlib.figure import Figure

import chgdb
from chgdb import Density, codecs
from chgdb.formats import text_bytes
from chgdb.promolecule import Prior

_STYLE = {
    "font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25,
    "legend.frameon": False, "figure.dpi": 130, "savefig.dpi": 130,
}  # fmt: skip
_LINES = {
    "chgdb": ("#D55E00", "o"), "chgdb without prior": ("#E69F00", "s"), "SPERR": ("#009E73", "^"),
    "SZ3": ("#0072B2", "v"), "zfp": ("#CC79A7", "D"), "pcodec, quantised grid": ("#666666", "x"),
}  # fmt: skip
_CURVE_TOLERANCES = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5)
#: Materials of the curves: files of ../shared/vasp and ids of ../shared/densities.
_CURVE_MATERIALS = (
    *("Si2_spin.CHGCAR.gz", "NaCl.CHGCAR.gz", "GaAs_noncollinear.CHGCAR.gz", "Si8_strained_spin.CHGCAR.gz"),
    *("mp-7041", "mp-2352"),
)


def draw(out: Path, prior: Prior, quick: bool) -> None:
    """All pictures into `out`/figures. The histogram takes the numbers of the benchmark `densities`."""
    folder = out / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    with rc_context(_STYLE):
        _save(_histogram(load(out, "densities")), folder / "codec-histogram.png")
        _save(_slices(data.density("mp-149"), prior), folder / "codec-silicon.png")
        _save(_curves(out, prior, quick), folder / "codec-curves.png")


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, metadata={"Software": None})
    print(f"drew {path.name}", flush=True)


def _curves(out: Path, prior: Prior, quick: bool) -> Figure:
    names = _CURVE_MATERIALS[1:2] if quick else _CURVE_MATERIALS
    tolerances = _CURVE_TOLERANCES[:2] if quick else _CURVE_TOLERANCES
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(3.9 * columns, 3.6 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    curves = {}
    for name, ax in zip(names, axes.flat, strict=True):
        density = chgdb.read(data.SHARED / "vasp" / name) if "CHGCAR" in name else data.density(name)
        curves[name.removesuffix(".gz")] = points = _measured(density, prior, tolerances)
        for method, (colour, marker) in _LINES.items():
            if method in points:
                nmae, size = np.array(points[method]).T
                dashed = "--" if method == "chgdb without prior" else "-"
                ax.loglog(100 * nmae, size, dashed, color=colour, marker=marker, ms=4.5, lw=1.6, label=method)
        ax.axhline(text_bytes(density), color="#000000", lw=1, ls=":")
        ax.text(100 * tolerances[0], text_bytes(density), "text", va="bottom", ha="right", fontsize=9)
        grid = "×".join(map(str, density.grid))
        blocks = f", {len(density.channels)} channels" if len(density.channels) > 1 else ""
        ax.set_title(f"{density.crystal.formula}, {len(density.crystal)} atoms, {grid}{blocks}", fontsize=10)
    axes.flat[0].xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.flat[0].xaxis.set_minor_formatter(lambda value, _: "")
    for ax in axes[-1]:
        ax.set_xlabel("NMAE, %")
    for ax in axes[:, 0]:
        ax.set_ylabel("stored bytes, all channels")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2 * columns)
    publish(out, "curves", "![Stored bytes against NMAE](figures/codec-curves.png)", {"nmae_and_bytes": curves})
    return figure


def _measured(density: Density, prior: Prior, tolerances: tuple[float, ...]) -> dict[str, list[tuple[float, int]]]:
    """Method -> (NMAE of the worst channel, bytes) at each tolerance."""
    points: dict[str, list[tuple[float, int]]] = {name: [] for name in ("chgdb", "chgdb without prior", *peers.lossy())}
    for tolerance in tolerances:
        for name, used in (("chgdb", prior), ("chgdb without prior", None)):
            encoded = codecs.encode(density, tolerance, prior=used)
            points[name].append((max(encoded.quality.nmae.values()), len(encoded.payload) + 4))
        for name, compress in peers.lossy().items():
            found = peers.at_error(compress, density, tolerance)
            points[name].append((found.nmae, found.size))
    return points


def _histogram(numbers: dict) -> Figure:
    figure = Figure(figsize=(7.5, 4.2), layout="constrained")
    ax = figure.subplots()
    looks = {"0.01": ("#56B4E9", "1 %"), "0.001": ("#E69F00", "0.1 %"), "0.0001": ("#0072B2", "0.01 %")}
    sizes = {key: np.array([n for n in values if n is not None]) for key, values in numbers["stored_bytes"].items()}
    low, high = min(s.min() for s in sizes.values()), max(s.max() for s in sizes.values())
    bins = np.geomspace(low * 0.95, high * 1.05, 60)
    for key, (colour, label) in looks.items():
        stored = sizes[key]
        ax.hist(stored, bins, color=colour, alpha=0.25)
        label = f"NMAE ≤ {label}: median {np.median(stored):,.0f} B, mean {stored.mean():,.0f} B"
        ax.hist(stored, bins, color=colour, histtype="step", lw=1.8, label=label)
        ax.axvline(float(np.median(stored)), color=colour, ls="--", lw=1.2)
    ax.set_xscale("log")
    ticks = [t for t in (30, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000) if low * 0.9 <= t <= high * 1.1]
    ax.set_xticks(ticks, [f"{t:,}" for t in ticks])
    ax.minorticks_off()
    ax.set_xlabel("stored bytes of a material (everything its record needs)")
    ax.set_ylabel("materials")
    ax.set_title(f"{len(numbers['material_id']):,} materials; dashed: medians", fontsize=10)
    ax.legend()
    return figure


def _slices(density: Density, prior: Prior) -> Figure:
    """The plane through the atoms of silicon that holds [001] and [110] of the cubic cell: chains and bonds."""
    tolerances = (1e-3, 1e-4)
    encoded = [codecs.encode(density, t, prior=prior) for t in tolerances]
    decoded = [codecs.decode(e.payload, prior=prior) for e in encoded]
    points, extent, atoms = _bond_plane(density)
    original = _interpolate(density, points)
    figure = Figure(figsize=(11.5, 5.6), layout="constrained")
    axes = figure.subplots(2, 3, sharex=True, sharey=True)
    top = float(original.max())
    for row, tolerance, record, again in zip(axes, tolerances, encoded, decoded, strict=True):
        values = _interpolate(again, points)
        difference = 1e3 * (values - original)
        reach = float(np.abs(difference).max())
        nmae = record.quality.nmae["total"]
        text = [
            f"original, {text_bytes(density):,} B of text",
            f"decoded from {len(record.payload) + 4:,} B (NMAE {100 * nmae:.2g} %)",
            "decoded - original",
        ]
        for ax, picture, title in zip(row, (original, values, difference), text, strict=True):
            ours = title.startswith("decoded -")
            image = ax.imshow(
                picture, origin="lower", extent=extent, interpolation="bilinear",
                cmap="PuOr" if ours else "viridis", vmin=-reach if ours else 0, vmax=reach if ours else top,
            )  # fmt: skip
            ax.plot(*atoms.T, "o", ms=5, mfc="none", mec="black" if ours else "white", mew=1.1)
            ax.set_title(title, fontsize=10)
            ax.grid(False)
            ax.set_xlim(extent[:2])
            ax.set_ylim(extent[2:])
            figure.colorbar(image, ax=ax, shrink=0.8, label="10⁻³ e/Å³" if ours else "e/Å³")
        row[0].set_ylabel(f"NMAE ≤ {100 * tolerance:g} %\n\n[001], Å")
    for ax in axes[-1]:
        ax.set_xlabel("[110], Å")
    return figure


def _bond_plane(density: Density) -> tuple[np.ndarray, tuple[float, float, float, float], np.ndarray]:
    """(fractional coordinates (y, x, 3) of a picture, its extent in Å, atoms on it in Å) for the diamond structure."""
    cell, positions = density.crystal.cell, density.crystal.positions
    # The cubic axes from the primitive vectors, whichever order they come in: sums of two minus the third.
    cubic = np.array([cell[j] + cell[k] - cell[i] for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1))])
    a = float(np.linalg.norm(cubic[0]))
    bond = (positions[1] - positions[0] - np.rint(positions[1] - positions[0])) @ cell
    signs = np.sign(cubic @ bond)
    up = cubic[2] / a * signs[2]
    right = (cubic[0] * signs[0] + cubic[1] * signs[1]) / (a * np.sqrt(2))
    width, height = a * np.sqrt(2), a
    x, y = np.linspace(0, width, 300), np.linspace(0, height, 212)
    start = positions[0] @ cell - right * width / 8 - up * height / 8
    place = start + x[None, :, None] * right + y[:, None, None] * up
    inverse = np.linalg.inv(cell)
    shifts = np.stack(np.meshgrid(*[np.arange(-4, 5)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    images = (positions[:, None] + shifts[None]).reshape(-1, 3) @ cell - start
    off = images - np.outer(images @ right, right) - np.outer(images @ up, up)
    flat = np.stack([images @ right, images @ up], axis=1)
    inside = (np.linalg.norm(off, axis=1) < 0.05) & (flat >= 0).all(axis=1) & (flat <= [width, height]).all(axis=1)
    return place @ inverse, (0.0, width, 0.0, height), flat[inside]


def _interpolate(density: Density, points: np.ndarray) -> np.ndarray:
    """Values at fractional coordinates (..., 3): linear between the points of a finer Fourier grid."""
    fine = density.resample(tuple(4 * n for n in density.grid)).total  # type: ignore[arg-type]
    n = np.array(fine.shape)
    place = points % 1.0 * n
    low = np.floor(place).astype(int)
    t = place - low
    total = np.zeros(points.shape[:-1])
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod(np.where(corner, t, 1 - t), axis=-1)
        index = (low + corner) % n
        total += weight * fine[index[..., 0], index[..., 1], index[..., 2]]
    return total
