"""Bring the outputs shown in the README and the docs up to date: `python tests/refresh_docs.py`.

Every block that tests/test_docs.py checks is run. A line that still matches gets the values printed now; what no longer
matches is left for a person (the test fails there). Run it whenever the embedded catalog has been rebuilt.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from test_docs import PAGES, ROOT, matches, pattern, run_page


def refreshed(expected: str, got: str) -> str:
    """The expected output with the values that were printed; lines with "..." stay.

    >>> refreshed("NMAE 0.01 %\\n...\\n", "NMAE 0.02 %\\nmore\\n")
    'NMAE 0.02 %\\n...\\n'
    """
    printed = got.split("\n")
    lines = []
    for line in expected.split("\n"):
        if "..." not in line:
            for index, candidate in enumerate(printed):
                if re.fullmatch(pattern(line), re.sub(" +", " ", candidate)):
                    line, printed = candidate, printed[index + 1 :]
                    break
        lines.append(line)
    return "\n".join(lines)


def main() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        fresh = text
        with tempfile.TemporaryDirectory() as folder:
            for step, outputs in run_page(page, Path(folder)):
                found = next((got for got in outputs if step.expected and matches(step.expected, got)), None)
                if step.expected and found is not None:
                    fresh = fresh.replace(step.expected, refreshed(step.expected, found), 1)
        if fresh != text:
            page.write_text(fresh, encoding="utf-8")
            print(page.relative_to(ROOT))


if __name__ == "__main__":
    main()
