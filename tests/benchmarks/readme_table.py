"""The comparison in the README, from the numbers that bench_codec.py and bench_occupancies.py have written.

    python tests/benchmarks/readme_table.py

tests/test_docs.py fails where README and numbers disagree.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
NUMBERS = ROOT / "docs" / "science" / "data" / "codec-vasp.json"
OCCUPANCIES = ROOT / "docs" / "science" / "data" / "occupancies.json"
START, END = "<!-- comparison:begin -->", "<!-- comparison:end -->"
NAMES = {
    "chgdb": "**chgdb**",
    "SPERR": "SPERR",
    "SZ3": "SZ3",
    "zfp": "zfp",
    "pcodec, quantised grid": "pcodec, on a quantised grid",
    "pcodec, float32": "pcodec, float32 (no further loss)",
    "gzip -6": "gzip, the text itself (lossless)",
}


def table() -> str:
    """Markdown: geometric means of the ratios over the CHGCARs, and the range over the files."""
    rows = json.loads(NUMBERS.read_text(encoding="utf-8"))["rows"]
    chgcars = [row for row in rows if row["file"].endswith("CHGCAR")]
    tolerances = sorted({row["tolerance"] for row in chgcars}, reverse=True)
    head = [f"NMAE {100 * tolerance:g} %" for tolerance in tolerances]
    lines = ["| | " + " | ".join(head) + " |", "| --- |" + " ---: |" * len(head)]
    for key, name in NAMES.items():
        cells = []
        for tolerance in tolerances:
            ratios = [row["text_bytes"] / row[key]["bytes"] for row in chgcars if row["tolerance"] == tolerance]
            low, mean, high = (_short(x) for x in (min(ratios), np.exp(np.mean(np.log(ratios))), max(ratios)))
            cells.append(f"**{mean}** ({low} to {high})" if key == "chgdb" else f"{mean} ({low} to {high})")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    count = len({row["file"] for row in chgcars})
    text = (
        f"Times smaller than VASP's text: geometric mean over {count} CHGCARs of several groups, all channels, "
        "and the range. The lossy peers run at the same error or a larger one. chgdb counts all that a record "
        "needs, cell and atoms included; the peers count the grid alone."
    )
    return text + "\n\n" + "\n".join(lines) + "\n\n" + _with_occupancies()


def _with_occupancies() -> str:
    """The same with all that the files hold beside their grids."""
    rows = json.loads(OCCUPANCIES.read_text(encoding="utf-8"))["rows"]
    means = []
    for tolerance in sorted({row["tolerance"] for row in rows}, reverse=True):
        ratios = [row["text_bytes"] / row["as_numbers_bytes"] for row in rows if row["tolerance"] == tolerance]
        means.append(f"{_short(np.exp(np.mean(np.log(ratios))))} times (at {100 * tolerance:g} %)")
    return (
        "With the augmentation occupancies and all else that these files hold, chgdb's records are "
        f"{' and '.join(means)} smaller than the text of the grids."
    )


def _short(ratio: float) -> str:
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.3g}"


def inserted(readme: str) -> str:
    """The README with the table in its place."""
    before, _, rest = readme.partition(START)
    return f"{before}{START}\n{table()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    README.write_text(inserted(README.read_text(encoding="utf-8")), encoding="utf-8")
    print(table())
