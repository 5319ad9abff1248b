"""chgdb merge, subset, remove, rename and add-columns; fetch of several records as one store, and by criteria."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from small import Chgdb, one_line

import chgdb


@pytest.fixture
def copy(store: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(store, tmp_path / "copy.zarr"))


def test_from_parts_to_a_whole(run_chgdb: Chgdb, store: str) -> None:
    first = run_chgdb("subset", store, "-o", "new/metals.zarr", "--elements", "Fe")
    assert (first.code, first.err) == (0, "")
    assert first.out.startswith(f"new/metals.zarr: 1 material of the 3 of {store}; ")
    second = run_chgdb("fetch", "si", "salt", "-o", "others.zarr", "--json").json
    assert (second["material_ids"], second["n_materials"]) == (["si", "salt"], 2)
    both = run_chgdb("merge", "all.zarr", "new/metals.zarr", "others.zarr", "--title", "both")
    assert both.code == 0
    assert both.out.startswith("all.zarr: 3 materials of 2 stores; ")
    assert chgdb.open("all.zarr").attributes["title"] == "both"
    assert chgdb.open("all.zarr")["salt"].payload == chgdb.open(store)["salt"].payload
    again = run_chgdb("merge", "all.zarr", "others.zarr")
    assert again.code == 1
    assert one_line(again.err)
    assert "exists already" in again.err
    facts = run_chgdb("merge", "all.zarr", "all.zarr", store, "--json").json
    assert (sorted(facts["shared"]), facts["n_materials"]) == (["iron", "salt", "si"], 3)


def test_changes(run_chgdb: Chgdb, copy: Path) -> None:
    assert run_chgdb("rename", copy, "si", "mp-149").out == f"{copy}: si is mp-149 now\n"
    Path("t.csv").write_text("material_id,melting_point_K\nmp-149,1687\nmp-1,3\n")
    added = run_chgdb("add-columns", copy, "t.csv")
    assert added.out == f"{copy}: melting_point: 1 material updated\n"
    assert added.err.startswith("note: t.csv: 1 of 2 rows have the id of a material")
    assert run_chgdb("remove", copy, "iron").out.startswith(f"{copy}: 2 materials left, 1 removed; ")
    assert run_chgdb("search", "--catalog", copy, "--where", "melting_point:1000..", "--ids").out == "mp-149\n"
    facts = run_chgdb("remove", copy, "salt", "--json").json
    assert (facts["removed"], facts["n_materials"]) == (["salt"], 1)
    facts = run_chgdb("rename", copy, "mp-149", "si", "--json").json
    assert facts["renamed"] == [{"old": "mp-149", "new": "si"}]
    facts = run_chgdb("add-columns", copy, "t.csv", "--json")
    assert facts.code == 1
    assert one_line(facts.err)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("remove", "{copy}", "sii"), 1, "close matches: si"),
        (("rename", "{copy}", "si", "salt"), 1, "the id of another material"),
        (("rename", "none.zarr", "si", "salt"), 1, "there is no store"),
        (("rename", "https://example.org/s.zarr", "si", "salt"), 1, "a store is written to a folder"),
        (("add-columns", "{copy}", "none.csv"), 1, "none.csv"),
        (("merge", "out.zarr", "{copy}", "none.zarr"), 1, "none.zarr"),
        (("merge", "out.zarr"), 2, "STORE"),
        (("subset", "{copy}", "-o", "out.zarr"), 2, "name materials"),
        (("subset", "{copy}", "-o", "out.zarr", "si", "--elements", "Fe"), 2, "not both"),
        (("subset", "{copy}", "-o", "out.zarr", "--elements", "Au"), 1, "none of its 3 materials"),
        (("subset", "{copy}", "-o", "{copy}", "si", "--force"), 1, "is the store itself"),
        (("fetch", "si", "salt", "-o", "{copy}", "--force", "--catalog", "{copy}"), 1, "is the store itself"),
        (("fetch", "si", "salt", "-o", "{copy}"), 1, "exists already"),
        (("fetch",), 2, "name materials"),
        (("fetch", "--where", "volume:1e9.."), 1, "none of its 3 materials"),
    ],
)
def test_mistakes_change_nothing(
    run_chgdb: Chgdb, copy: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    before = (copy / "checksums.txt").read_bytes()
    result = run_chgdb(*(argument.format(copy=copy) for argument in arguments))
    assert (result.code, result.out) == (code, "")
    assert said in result.err
    assert code == 2 or one_line(result.err)
    assert (copy / "checksums.txt").read_bytes() == before
    assert os.listdir() == ["copy.zarr"]


@pytest.mark.parametrize(
    ("criteria", "ids"),
    [
        (("--where", "band_gap:1.."), ["salt", "si"]),
        (("--formula", "ClNa"), ["salt"]),
        (("--space-group", "221"), ["iron"]),
        (("--elements", "Fe", "--only", "Fe"), ["iron"]),
    ],
)
def test_fetch_by_criteria(run_chgdb: Chgdb, criteria: tuple[str, ...], ids: list[str]) -> None:
    """Into a folder each, also where one material alone meets them."""
    result: Any = run_chgdb("fetch", *criteria, "--decode", "-o", "found", "--json")
    assert [fact["path"] for fact in result.json] == [f"found/{i}/CHGCAR" for i in ids]
    assert sorted(os.listdir("found")) == ids
    run_chgdb("fetch", *criteria, "-o", "found.zarr")
    assert chgdb.open("found.zarr").ids == ids
