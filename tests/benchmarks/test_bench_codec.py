"""The benchmarks of the codecs run, write what the docs show, and say of small inputs what they say of large ones."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

for package in ("constriction", "hdf5plugin", "matplotlib", "pcodec", "zfpy", "zstandard"):
    pytest.importorskip(package)

SCRIPT = Path(__file__).parent / "bench_codec.py"
TABLES = ("speed", "vasp", "densities", "ablation", "coders", "atoms", "curves")


@pytest.fixture(scope="module")
def results(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder that one quick run of everything has written."""
    folder = tmp_path_factory.mktemp("science")
    (folder / "codec.md").write_text("Before.\n\n<!-- vasp:begin -->\nold\n<!-- vasp:end -->\n\nAfter.\n")
    command = [sys.executable, str(SCRIPT), "all", "--quick", "--out", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def numbers(folder: Path, name: str) -> dict:
    return json.loads((folder / "data" / f"codec-{name}.json").read_text())


def test_page_keeps_its_prose_and_gets_every_table(results: Path) -> None:
    page = (results / "codec.md").read_text()
    assert page.startswith("Before.\n\n<!-- vasp:begin -->")
    assert "After." in page
    assert "\nold\n" not in page
    for name in TABLES:
        assert page.count(f"<!-- {name}:begin -->") == page.count(f"<!-- {name}:end -->") == 1
    pictures = ("codec-curves", "codec-histogram", "codec-silicon")
    assert all((results / "figures" / f"{name}.png").stat().st_size > 10_000 for name in pictures)


def test_peers_have_the_same_or_a_larger_error_and_more_bytes(results: Path) -> None:
    rows = numbers(results, "vasp")["rows"]
    assert {row["tolerance"] for row in rows} == {1e-3, 1e-4}
    for row in rows:
        assert row["chgdb"]["nmae"] <= row["tolerance"]
        assert row["chgdb"]["bytes"] <= row["chgdb without prior"]["bytes"]
        for peer in ("pcodec, quantised grid", "zfp", "SZ3", "SPERR"):
            assert row["tolerance"] <= row[peer]["nmae"] < 2.5 * row["tolerance"], (row["file"], peer)
            assert row[peer]["bytes"] > 5 * row["chgdb"]["bytes"]


def test_every_idea_saves_bytes(results: Path) -> None:
    stored = numbers(results, "ablation")["stored_bytes"]
    totals = {name: sum(sizes) for name, sizes in stored.items()}
    full = totals.pop("full codec")
    assert len(totals) == 5
    assert all(total > full for total in totals.values())
    assert max(totals, key=totals.__getitem__) == "none of the four"


def test_set_meets_its_tolerances(results: Path) -> None:
    found = numbers(results, "densities")
    for tolerance, errors in found["nmae"].items():
        assert max(error for error in errors if error is not None) <= float(tolerance)
    ratios = [text / size for text, size in zip(found["text_bytes"], found["stored_bytes"]["0.0001"], strict=True)]
    assert sum(ratios) / len(ratios) > 1500
