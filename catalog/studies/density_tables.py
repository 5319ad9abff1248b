"""The page of estimated densities: the numbers of its studies, and the tables made of them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from chgdb.errors import ChgdbError
from chgdb_catalog.batches import write_atomically

DOCS = Path(__file__).resolve().parents[2] / "docs" / "science"
DATA, PAGE = DOCS / "data" / "densities.json", DOCS / "densities.md"
README = DOCS.parents[1] / "README.md"


def record(new: dict[str, Any]) -> None:
    """Add numbers to the data, and write the tables made of them."""
    data = json.loads(DATA.read_text(encoding="utf-8")) if DATA.exists() else {}
    data |= new
    write_atomically(DATA, (json.dumps(rounded(data), indent=1) + "\n").encode())
    text = PAGE.read_text(encoding="utf-8")
    for name, make in _TABLES.items():
        if _SOURCES.get(name, name) in data:
            text = between(text, name, make(data))
    write_atomically(PAGE, text.encode())
    if "test" in new:
        text = README.read_text(encoding="utf-8")
        write_atomically(README, with_mean_error(text, data["test"]["estimate"]["mean"]).encode())
    shown = {k: v for part in new.values() for k, v in part.items() if isinstance(v, dict | float) and k != "training"}
    print(json.dumps(rounded(shown), indent=1))


def with_mean_error(readme: str, mean: float) -> str:
    """The README with the mean error of the estimates, in %. Raises `ChgdbError` if it has no place for it."""
    pattern = r"(<!-- mean error -->).*?(<!-- end -->)"
    if not re.search(pattern, readme):
        raise ChgdbError(f"{README}: no place for the mean error of the estimates")
    return re.sub(pattern, rf"\g<1>{mean:.2f}\2", readme)


def rounded(value: Any) -> Any:
    """Numbers to five digits, for JSON. NaN becomes null."""
    if isinstance(value, float):
        return float(f"{value:.5g}") if np.isfinite(value) else None
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list | tuple) else value


def between(text: str, name: str, table: str) -> str:
    """A page with the lines between two markers replaced. Raises `ChgdbError` if the page lacks the markers."""
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
    lines = ["| member | parameters | carried | dropout | materials | epochs | minutes | training, % | validation, % |",
             "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"]  # fmt: skip
    for index, member in enumerate(data["test"]["training"]["members"]):
        sizes, recipe = member["configuration"], member["recipe"]
        errors = [f"{100 * member[k]:.2f}" if member.get(k) else "" for k in ("training", "validation")]
        cells = [str(index + 1), f"{member['parameters']:,}", str(sizes["carried"]), f"{recipe['dropout']:g}"]
        cells += [f"{member['materials']['train']:,}", str(member["epochs"]), f"{member['seconds'] / 60:.0f}", *errors]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


_MINUTES = 10  # between two lines of the table of times


def _time_table(data: dict[str, Any]) -> str:
    """Errors of the members while they were trained, each at the last look before a time."""
    histories = [member["history"] for member in data["test"]["training"]["members"] if member.get("history")]
    if not histories:
        return "The model's file does not keep how its errors fell."
    numbers = range(1, len(histories) + 1)
    heads = [f"member {n}: {part}, %" for n in numbers for part in ("training", "validation")]
    lines = [f"| minutes | {' | '.join(heads)} |", f"| ---: |{' ---: |' * len(heads)}"]
    longest = max(history[-1][1] for history in histories)
    for end in range(_MINUTES, round(longest / 60) + _MINUTES, _MINUTES):
        cells = []
        for history in histories:
            before = [line for line in history if line[1] <= 60 * end] or history[:1]
            cells += [f"{100 * error:.2f}" for error in before[-1][2:]]
        lines.append(f"| {min(end, round(longest / 60))} | {' | '.join(cells)} |")
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


def _curve_table(data: dict[str, Any]) -> str:
    lines = ["| materials | of these drawn | epochs | training | unseen, mean | median | 95 % |",
             "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |"]  # fmt: skip
    lines += [
        f"| {p['materials']:,} | {p['drawn']:,} | {p['epochs']} | {p['training']:.2f} | {p['mean']:.2f} | "
        f"{p['median']:.2f} | {p['p95']:.2f} |"
        for p in data["curve"]["points"]
    ]
    return "\n".join([*lines, "", f"{data['curve']['points'][0]['n']} test materials, {data['curve']['steps']} steps "
                      "of the same network; NMAE in per cent within |G|/2π < 2.25 1/Å. Over the catalog's materials "
                      f"the mean error falls as n^{data['curve']['exponent']:.2f}."])  # fmt: skip


def _field_table(data: dict[str, Any]) -> str:
    facts = data["field"]
    lines = ["| field | lowest tenth | median | highest tenth |", "| --- | ---: | ---: | ---: |"]
    lines += [
        f"| {name} | {facts[name]['p10']:.2f} | {facts[name]['median']:.2f} | {facts[name]['p90']:.2f} |"
        for name in ("spread, point by point", "spread", "size of the difference", "density")
    ]
    return "\n".join([*lines, "", f"{facts['materials']} materials of the validation part, `{facts['model']}`; but for "
                      f"the first line, squares averaged over a Gaussian of {facts['width']} Å."])  # fmt: skip


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
    "curve": _curve_table, "field": _field_table, "time": _time_table,
}  # fmt: skip


_SOURCES = {"members": "test", "time": "test"}  # table -> the numbers that it is made of, where their name differs
