"""chgdb build and chgdb verify."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from small import Chgdb, one_line

import chgdb


def test_build_reports_and_searches(run_chgdb: Chgdb, runs: Path) -> None:
    arguments = ["build", "new.zarr", runs, "--workers", 1, "--prior", "none", "--properties", runs / "gaps.csv"]
    result = run_chgdb(*arguments, "--code", "VASP", "--energy-cutoff", 520, "--title", "mine", "--json")
    assert result.code == 0
    assert sorted(result.json["added"]) == ["iron", "salt", "si"]
    assert result.json["largest_nmae"] <= 1e-4
    catalog = chgdb.open("./new.zarr")
    assert catalog.search(band_gap=(8, 9)) == ["salt"]
    assert catalog["si"].metadata["energy_cutoff"] == 520
    again = run_chgdb(*arguments)
    assert again.code == 0
    assert "3 skipped" in again.out


def test_build_tolerance(run_chgdb: Chgdb, runs: Path) -> None:
    assert run_chgdb("build", "coarse.zarr", runs / "si", "--workers", 1, "--tolerance", "1e-2").code == 0
    assert run_chgdb("build", "exact.zarr", runs / "si", "--workers", 1, "--lossless").code == 0
    coarse, exact = chgdb.open("./coarse.zarr")["si"], chgdb.open("./exact.zarr")["si"]
    assert coarse.tolerance == 1e-2
    assert exact.nmae == 0
    assert coarse.stored_bytes < exact.stored_bytes
    assert "lossless" in run_chgdb("fetch", "si", "--decode", "--catalog", "exact.zarr").out


def test_build_names_what_it_refuses(run_chgdb: Chgdb, runs: Path) -> None:
    shutil.copytree(runs, "mixed")
    text = Path("mixed/salt/CHGCAR").read_bytes()
    Path("mixed/salt/CHGCAR").write_bytes(text[: len(text) // 2])
    result = run_chgdb("build", "mixed.zarr", "mixed", "--workers", 1)
    assert result.code == 1
    assert result.err.startswith("refused: ")
    assert "mixed/salt/CHGCAR" in result.err
    assert result.err.count("\n") == 1
    assert "2 added, 1 refused" in result.out
    assert chgdb.open("./mixed.zarr").ids == ["iron", "si"]


def test_build_adds_and_replaces(run_chgdb: Chgdb, runs: Path) -> None:
    options = ["--workers", 1]
    assert run_chgdb("build", "grow.zarr", runs / "si", *options).code == 0
    assert run_chgdb("build", "grow.zarr", runs / "salt", *options).code == 0
    assert chgdb.open("./grow.zarr").ids == ["si", "salt"]
    assert run_chgdb("build", "grow.zarr", runs / "si", "--tolerance", "1e-3", *options).code == 1
    replaced = run_chgdb("build", "grow.zarr", runs / "si", "--tolerance", "1e-3", "--replace", *options)
    assert "1 replaced" in replaced.out
    assert chgdb.open("./grow.zarr")["si"].tolerance == 1e-3
    refused = run_chgdb("build", "grow.zarr", runs / "iron", "--no-append", *options)
    assert refused.code == 1
    assert one_line(refused.err)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["build", "x.zarr"], 2),
        (["build", "x.zarr", "nothing-there"], 1),
        (["build", "x.zarr", "{runs}", "--properties", "none.csv"], 1),
        (["build", "x.zarr", "{runs}", "--tolerance", "2"], 1),
        (["build", "x.zarr", "{runs}", "--lossless", "--tolerance", "1e-3"], 2),
        (["build", "/proc/x.zarr", "{runs}"], 1),
        (["verify", "nothing.zarr"], 1),
        (["verify", "--originals", "{runs}"], 2),
    ],
)
def test_mistakes(run_chgdb: Chgdb, runs: Path, arguments: list[str], code: int) -> None:
    result = run_chgdb(
        *(a.format(runs=runs) for a in arguments), *(["--workers", 1] if "{runs}" in arguments[:3] else [])
    )
    assert result.code == code
    assert "Traceback" not in result.err
    assert "unexpected" not in result.err
    assert result.err


def test_verify(run_chgdb: Chgdb, runs: Path, store: str) -> None:
    result = run_chgdb("verify", store, "--deep", "--originals", runs, "--json")
    assert result.code == 0
    assert result.json["ok"] is True
    assert result.json["measured"] == 3


def test_verify_names_a_damaged_material(run_chgdb: Chgdb, store: str) -> None:
    shutil.copytree(store, "damaged.zarr")
    record = chgdb.open(store)["salt"]
    payload = Path("damaged.zarr/payload/c/0")
    data = bytearray(payload.read_bytes())
    data[record.catalog.column("payload_offset")[record.catalog.ids.index("salt")] + 20] ^= 4
    payload.write_bytes(data)
    result = run_chgdb("verify", "damaged.zarr", "--json")
    assert result.code == 1
    assert result.json["lost"] == ["salt"]
    assert "salt" in result.err
    assert run_chgdb("fetch", "salt", "--decode", "--catalog", "damaged.zarr").code == 1
    assert run_chgdb("fetch", "si", "--decode", "--catalog", "damaged.zarr").code == 0


@pytest.mark.parametrize("given", ["foo", "Si,Xx", "na"])
def test_elements_that_are_none_are_refused_before_anything_is_read(run_chgdb: Chgdb, runs: Path, given: str) -> None:
    result = run_chgdb("build", "new.zarr", runs, "--elements", given)
    assert result.code == 2
    assert "names no element" in result.err
    assert not Path("new.zarr").exists()


def test_verify_notes_what_is_not_of_the_store(run_chgdb: Chgdb, store: str, tmp_path: Path) -> None:
    shutil.copytree(store, tmp_path / "mine.zarr")
    (tmp_path / "mine.zarr" / "LOGBOOK.txt").write_text("day one")
    for options in ([], ["--deep"]):
        result = run_chgdb("verify", "mine.zarr", *options)
        assert result.code == 0, result.err
        assert "note: LOGBOOK.txt: does not belong to the store" in result.err
        assert "all well" in result.out
    (tmp_path / "mine.zarr" / "volume" / "c" / "5").write_bytes(b"stray")
    assert run_chgdb("verify", "mine.zarr").code == 1


def test_a_folder_that_claims_to_be_a_store_is_called_incomplete(run_chgdb: Chgdb, runs: Path) -> None:
    Path("claim.zarr").mkdir()
    root = '{"zarr_format": 3, "node_type": "group", "attributes": {"chgdb_format": 1}}'
    Path("claim.zarr/zarr.json").write_text(root)
    for arguments in (
        ["verify", "claim.zarr"], ["build", "claim.zarr", runs], ["fetch", "si", "-o", "claim.zarr", "--force"],
        ["publish", "claim.zarr", "out"],
    ):  # fmt: skip
        result = run_chgdb(*arguments)
        assert result.code == 1
        assert "claim.zarr: incomplete, checksums.txt is missing" in result.err
    assert Path("claim.zarr/zarr.json").read_text() == root
    assert os.listdir("claim.zarr") == ["zarr.json"]
