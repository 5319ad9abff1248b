"""Tables and figures of `docs/science/properties.md`, made of the numbers of `property_studies`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chgdb.models import SERVED, TARGETS
from chgdb_catalog.batches import write_atomically
from chgdb_catalog.studies import trust_report
from chgdb_catalog.studies.tables import SHORT, table

#: Table 1 of arXiv 2605.07227, and CGCNN in it: R2 on its own test split, with outliers removed.
_PAPER_TARGETS = ("bulk_modulus", "youngs_modulus", "shear_modulus", "energy_vs_atoms", "debye_temperature")
PAPER: dict[str, tuple[float | None, ...]] = {
    "latent CNN (paper)": (0.90, 0.79, 0.80, 0.68, 0.73),
    "MAGPIE only (paper)": (0.92, 0.85, 0.85, 0.88, 0.90),
    "latent + MAGPIE, LightGBM (paper)": (0.94, 0.88, 0.87, 0.96, 0.89),
    "latent + MAGPIE, attention CNN (paper)": (0.94, 0.87, 0.85, 0.88, 0.86),
    "CGCNN (paper)": (0.93, 0.89, 0.88, None, 0.94),
}
_BASELINE = "magpie"
_PROTOCOLS = {"paper": "the paper's test split", "grouped": "five folds grouped by formula"}
_TESTED = _PROTOCOLS | {"drawn": "that and two more test sets, drawn at random"}
_DASH = "–"
#: Order of rows and columns. The numbers are kept by name in alphabetical order.
_ORDER = (
    *TARGETS, "composition", "structure", "composition, structure", "density", "composition, density",
    "composition, structure, density", "magpie", "magpie+", "latent_cnn", "lightgbm", "lightgbm_512",
    "attention", "multitarget", "invariant", "invariant+", "24 rotations of the axes", "5 arbitrary rotations",
    "3 shifts of the origin", "2 x 2 x 2 supercell", "another cell", "finer grids", "paper", "grouped", "drawn",
)  # fmt: skip


def _ordered(value: Any) -> Any:
    """The same numbers, with keys in the order of `_ORDER`. Other keys follow."""
    if not isinstance(value, dict):
        return value
    known = [key for key in _ORDER if key in value]
    return {key: _ordered(value[key]) for key in dict.fromkeys([*known, *value])}


def write(facts: dict[str, Any], docs: Path) -> None:
    """Put every table with numbers into the page, and draw its figures."""
    facts = _ordered(facts)
    page = docs / "properties.md"
    text = page.read_text(encoding="utf-8")
    for name, make in _BLOCKS.items():
        block = make(facts)
        if block:
            text = _replaced(text, name, block)
    for name, tell in trust_report.BLOCKS.items() if "trust" in facts else ():
        text = _replaced(text, name, tell(facts["trust"]))
    write_atomically(page, text.encode())
    _draw(facts, docs / "figures")


def _replaced(text: str, name: str, block: str) -> str:
    start, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    head, found, rest = text.partition(start)
    if not found or end not in rest:
        raise ValueError(f"properties.md has no place for the table {name}: it needs {start} and {end}")
    return f"{head}{start}\n\n{block}\n\n{end}{rest.partition(end)[2]}"


def _title(facts: dict[str, Any], name: str) -> str:
    title = facts["titles"].get(name, name)
    return title + (", and structures without a density" if name.endswith("+") else "")


def _counts(facts: dict[str, Any]) -> str:
    rows = [
        [
            TARGETS[name].label,
            str(count["labels"]),
            str(count["paper_train"]),
            str(count["paper_test"]),
            f"{count['reconstructed']} ({100 * count['reconstructed'] / max(1, count['labels']):.0f} %)",
        ]
        for name, count in facts["rows"].items()
    ]
    return table(["", "labels", "paper's split, training", "test", "reconstructed among them"], rows)


def _stored(facts: dict[str, Any]) -> str:
    """Out-of-fold scores of the served model, which are stored with it."""
    scores = facts.get("stored", {}).get("scores", {})
    rows = [
        [
            TARGETS[name].label,
            str(score["n"]),
            _score([score["r2"], *score["r2_95"]], "r2"),
            f"{_score([score['mae'], *score['mae_95']], 'mae')} {TARGETS[name].units}",
        ]
        for name, score in scores.items()
    ]
    return table(["", "materials", "R2", "MAE"], rows) if rows else ""


def _paper_rows() -> list[list[str]]:
    rows = []
    for name, values in PAPER.items():
        by_target = dict(zip(_PAPER_TARGETS, values, strict=True))
        rows.append([name, *(_DASH if by_target.get(t) is None else f"{by_target[t]:.2f}" for t in SERVED)])
    return rows


def _protocol(protocol: str):
    def make(facts: dict[str, Any]) -> str:
        measured = facts["protocols"][protocol]
        parts = []
        for metric, heading in (("r2", "R2"), ("mae", "MAE"), ("rmse", "RMSE")):
            rows = _paper_rows() if metric == "r2" and protocol == "paper" else []
            for name, scores in measured.items():
                rows.append([_title(facts, name), *(_score(scores.get(t, {}).get(metric), metric) for t in SERVED)])
            units = [SHORT[t] + (f", {TARGETS[t].units}" if metric != "r2" else "") for t in SERVED]
            parts.append(f"**{heading}**\n\n{table(['', *units], rows)}")
        return "\n\n".join(parts)

    return make


def _score(value: Sequence[float] | None, metric: str) -> str:
    if value is None:
        return _DASH
    digits = "{:.3f}" if metric == "r2" else "{:.3g}"
    middle, low, high = (digits.format(x) for x in value)
    return f"{middle} ({low} to {high})"


def _ratios(facts: dict[str, Any]) -> str:
    rows = []
    for protocol, measured in facts["protocols"].items():
        for name, scores in measured.items():
            if name.rstrip("+") == _BASELINE:
                continue
            cells = [scores.get(t, {}).get("ratio") for t in SERVED]
            rows.append([f"{_title(facts, name)}; {_PROTOCOLS[protocol]}", *map(_ratio, cells)])
    return table(["(1 - R2) / (1 - R2 of MAGPIE)", *(SHORT[t] for t in SERVED)], rows)


def _listed(facts: dict[str, Any]) -> str:
    found = facts.get("listed")
    if not found:
        return ""
    scores = {_title(facts, name): by_target for name, by_target in found["scores"].items()}
    rows = [
        [title, *(_score(by_target.get(t, {}).get("r2"), "r2") for t in SERVED)] for title, by_target in scores.items()
    ]
    ratios = [
        [f"(1 - R2) / (1 - R2 of MAGPIE): {title}", *(_ratio(by_target.get(t, {}).get("ratio")) for t in SERVED)]
        for title, by_target in scores.items()
        if any("ratio" in score for score in by_target.values())
    ]
    headers = [f"R2, {found['materials']} materials of the paper's", *(SHORT[t] for t in SERVED)]
    return table(headers, [*_paper_rows(), *rows, *ratios])


def _ratio(value: Sequence[float] | None) -> str:
    return _DASH if value is None else f"{value[0]:.2f} ({value[1]:.2f} to {value[2]:.2f})"


def _coverage(facts: dict[str, Any]) -> str:
    if "coverage" not in facts:
        return ""

    def shown(share: float, low: float, high: float) -> str:
        return f"{100 * share:.1f} % ({100 * low:.0f} to {100 * high:.0f})"

    rows = [
        [_TESTED[protocol], *(shown(*values[t]) if t in values else _DASH for t in SERVED)]
        for protocol, values in facts["coverage"].items()
    ]
    return table(["in the 90 % interval", *(SHORT[t] for t in SERVED)], rows)


def _polymorphs(facts: dict[str, Any]) -> str:
    rows = []
    for name, found in facts.get("polymorphs", {}).items():
        decided = found["pairs"] - found["tied"]
        share = (found["right"] + 0.5 * found["tied"]) / max(1, found["pairs"])
        rows.append([
            _title(facts, name), str(found["pairs"]), str(found["right"]), str(decided - found["right"]),
            str(found["tied"]), f"{100 * share:.0f} %",
        ])  # fmt: skip
    return table(["", "pairs", "right", "wrong", "no difference", "right, ties as half"], rows) if rows else ""


def _doubtful(facts: dict[str, Any]) -> str:
    found = facts.get("doubtful")
    if not found:
        return ""
    checks = facts.get("label_checks", {})
    labels = []
    for row in found["rows"] + found["largest"]:
        check = checks.get(row[0])
        computed = (*check["computed"], check["voigt"][1], check["reuss"][1], check["softest"]) if check else ()
        cells = [*(f"{x:.0f}" for x in row[2:4]), f"{row[4]:.2f}", *(f"{x:.0f}" for x in (*row[5:], *computed))]
        labels.append([*row[:2], *cells, *([] if check else [_DASH] * 5)])
    targets = list(next(iter(found["scores"].values())))
    rows = [
        [_title(facts, name), *(f"{x:.3f}" for target in targets for x in scores[target])]
        for name, scores in found["scores"].items()
    ]
    headers = [f"{SHORT[target]}{which}" for target in targets for which in ("", ", without them")]
    shown = table(
        [
            "",
            "formula",
            "K, GPa",
            "G, GPa",
            "Poisson's ratio",
            "G predicted",
            "K computed",
            "G computed",
            "Voigt",
            "Reuss",
            "smallest eigenvalue",
        ],
        labels,
    )
    scores = table([f"R2, five folds grouped by formula, {found['materials']} materials", *headers], rows)
    return f"{shown}\n\n{scores}"


def _columns(facts: dict[str, Any]) -> str:
    if "columns" not in facts:
        return ""
    parts = [("booster", facts["columns"]["sets"]), ("our model", facts["columns"].get("process", {}))]
    sets = parts[0][1]
    rows = [
        [f"{what}: {name}", *(f"{found[t][name]['r2']:.3f}" for t in sets)]
        for what, found in parts
        for name in next(iter(found.values()), ())
    ]
    return table(["R2, five folds grouped by formula", *(SHORT[t] for t in sets)], rows)


def _shap(facts: dict[str, Any]) -> str:
    if "columns" not in facts:
        return ""
    shares = facts["columns"]["shap"]
    parts = ("composition", "structure", "density")
    rows = [[part, *(f"{100 * shares[t][part]:.0f} %" for t in shares)] for part in parts]
    return table(["share of the mean absolute SHAP value", *(SHORT[t] for t in shares)], rows)


def _curve(facts: dict[str, Any]) -> str:
    rows = [
        [f"{_title(facts, p['model'])}, {p['rows']} rows", *(f"{p['scores'][t]['r2']:.3f}" for t in SERVED)]
        for p in facts.get("curve", ())
    ]
    if not rows:
        return ""
    short = [SHORT[t] for t in SERVED]
    heading = [
        [_title(facts, name), *(f"{2 ** _fitted(*_points(facts, name, t))[0]:.2f}" for t in SERVED)]
        for name in _drawn(facts)
    ]
    return "\n\n".join((
        table(["R2, the paper's test split", *short], rows),
        table(["1 - R2 with twice the rows, over 1 - R2", *short], heading),
        "![Learning curves](figures/properties-curves.svg)",
    ))  # fmt: skip


def _drawn(facts: dict[str, Any]) -> list[str]:
    """The models that have a learning curve."""
    return list(dict.fromkeys(point["model"] for point in facts["curve"]))


def _points(facts: dict[str, Any], name: str, target: str) -> tuple[np.ndarray, np.ndarray]:
    """The learning curve of a model: rows, 1 - R2."""
    points = [(p["rows"], 1 - p["scores"][target]["r2"]) for p in facts["curve"] if p["model"] == name]
    rows, unexplained = np.array(points).T
    return rows, unexplained


def _fitted(rows: np.ndarray, unexplained: np.ndarray) -> tuple[float, float]:
    """Exponent and logarithm of the factor of the power law closest to a learning curve."""
    slope, offset = np.polyfit(np.log(rows), np.log(unexplained), 1)
    return float(slope), float(offset)


def _multitarget(facts: dict[str, Any]) -> str:
    rows = []
    for target, found in facts.get("multitarget", {}).items():
        many, one = found["multitarget"], found["singletarget"]
        rows.append([
            TARGETS[target].label, str(found["n"]), _score(one, "r2"), _score(many, "r2"), f"{many[0] - one[0]:+.3f}"
        ])  # fmt: skip
    if not rows:
        return ""
    mean = sum(float(row[-1]) for row in rows) / len(rows)
    rows.append(["**mean**", "", "", "", f"{mean:+.3f}"])
    return table(["R2", "test rows", "one target", "all targets", "difference"], rows)


def _spread(facts: dict[str, Any]) -> str:
    rows = [
        [f"{facts['titles'].get(name, name)}: {operation}", *(_per_cent(found[t]) for t in SERVED if t in found)]
        for name, operations in facts.get("spread", {}).items()
        for operation, found in operations.items()
    ]
    return table(["largest change", *(SHORT[t] for t in SERVED)], rows) if rows else ""


def _per_cent(value: float) -> str:
    return f"{value:.2g} %" if value < 100 else f"{value:.0f} %"


def _flags(facts: dict[str, Any]) -> str:
    rows = []
    for fact in facts.get("flags", ()):
        if "refused" in fact:
            rows.append([fact["input"], _DASH, _DASH, f"refused: {fact['refused']}"])
            continue
        values = [f"{fact[t][0]:.3g} ± {fact[t][1]:.2g}" for t in ("bulk_modulus", "formation_energy")]
        rows.append([fact["input"], *values, "; ".join(fact["remarks"]) or "answered"])
    return table(["input", "K, GPa", "formation energy, eV/atom", "said of it"], rows) if rows else ""


def _potentials(facts: dict[str, Any]) -> str:
    found = facts.get("potentials")
    if not found:
        return ""
    low, high = found["added"]
    rows = [
        [TARGETS[t].label, *(f"{found[t][key]:.3g} {TARGETS[t].units}" for key in ("mean", "largest", "mae"))]
        for t in SERVED if t in found
    ]  # fmt: skip
    head = [f"{found['n']} crystals", "mean change", "largest change", "MAE of the same, out of fold"]
    change = f"Valence electrons of a cell change by {low} to {high:+d}"
    said = f"{change}; {found['flagged']} of the densities are said to be unlike all training."
    return f"{table(head, rows)}\n\n{said}"


def _parity(facts: dict[str, Any]) -> str:
    return "\n\n".join(
        f"![Predicted against true, {_PROTOCOLS[protocol]}](figures/properties-parity-{protocol}.svg)"
        for protocol in facts.get("parity", {})
    )


_BLOCKS = {
    "stored": _stored,
    "counts": _counts,
    "paper": _protocol("paper"),
    "grouped": _protocol("grouped"),
    "listed": _listed,
    "ratios": _ratios,
    "doubtful": _doubtful,
    "curve": _curve,
    "columns": _columns,
    "shap": _shap,
    "multitarget": _multitarget,
    "polymorphs": _polymorphs,
    "spread": _spread,
    "coverage": _coverage,
    "flags": _flags,
    "potentials": _potentials,
    "parity": _parity,
}


# Figures -------------------------------------------------------------------------------------------------------------


def _draw(facts: dict[str, Any], folder: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    # Equal numbers give equal files.
    matplotlib.rcParams["svg.hashsalt"] = "chgdb"
    folder.mkdir(parents=True, exist_ok=True)
    if facts.get("curve"):
        _save(_curves(facts), folder / "properties-curves.svg")
    for protocol, found in facts.get("parity", {}).items():
        _save(_parities(found), folder / f"properties-parity-{protocol}.svg")


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None})


def _curves(facts: dict[str, Any]) -> Any:
    """1 - R2 over the number of training rows, both logarithmic, with fitted power laws to four times as many rows."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, NullLocator

    figure = Figure(figsize=(10, 5), layout="constrained")
    axes = figure.subplots(2, 4, sharex=True).ravel()
    for axis, target in zip(axes, SERVED, strict=False):
        for name in _drawn(facts):
            rows, unexplained = _points(facts, name, target)
            slope, offset = _fitted(rows, unexplained)
            (line,) = axis.plot(rows, unexplained, "o-", label=facts["titles"].get(name, name), markersize=3)
            far = np.array([rows[0], 4 * rows[-1]])
            axis.plot(far, np.exp(offset) * far**slope, ":", color=line.get_color(), linewidth=1)
        axis.set(xscale="log", yscale="log", title=SHORT[target])
        low, high = axis.get_ylim()
        steps = (1, 2, 5) if high < 200 * low else (1,)
        ticks = [step * 10.0**decade for decade in range(-6, 1) for step in steps]
        axis.yaxis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_major_locator(FixedLocator([500, 2000, 8000, 32000]))
        axis.xaxis.set_major_formatter("{x:g}")
        for side in (axis.xaxis, axis.yaxis):
            side.set_minor_locator(NullLocator())
    for axis in axes[len(SERVED) :]:
        axis.axis("off")
        axis.legend(*axes[0].get_legend_handles_labels(), loc="center", frameon=False, fontsize="small")
    figure.supxlabel("training materials")
    figure.supylabel("1 − R2")
    return figure


def _parities(found: dict[str, Any]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5.2), layout="constrained")
    axes = figure.subplots(2, 4).ravel()
    for axis, (target, (truth, mean)) in zip(axes, found.items(), strict=False):
        low, high = min(*truth, *mean), max(*truth, *mean)
        axis.plot([low, high], [low, high], color="0.6", linewidth=0.8)
        axis.scatter(truth, mean, s=3, alpha=0.5, linewidths=0, rasterized=len(truth) > 500)
        axis.set_title(f"{SHORT[target]}, {TARGETS[target].units}", fontsize="medium")
    for axis in axes[len(found) :]:
        axis.axis("off")
    figure.supxlabel("true")
    figure.supylabel("predicted")
    return figure
