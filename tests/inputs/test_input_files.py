"""Trees of runs as people have them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from materials import density, same

import chgdb
from chgdb.errors import StoreError
from chgdb.inputs import find, find_files


def tree(top: Path, *paths: str) -> None:
    """Files with a line in them."""
    for path in paths:
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_text("something\n")


def names(top: Path) -> list[str]:
    return [Path(path).relative_to(top).as_posix() for path in find_files(top)]


@pytest.mark.parametrize(
    ("files", "kept"),
    [
        (["CHG", "CHGCAR"], ["CHGCAR"]),
        (["CHG.relax1", "CHGCAR.relax1.bz2"], ["CHGCAR.relax1.bz2"]),
        (["KF.CHG.gz", "KF.CHGCAR"], ["KF.CHGCAR"]),
        (["CHG_KF", "CHGCAR_KF.xz", "CHG_KI"], ["CHGCAR_KF.xz", "CHG_KI"]),
        (["CHG.relax1", "CHGCAR.relax2"], ["CHG.relax1", "CHGCAR.relax2"]),
        (["CHG.vasp", "CHGCAR.vasp"], ["CHGCAR.vasp"]),
        (["CHGCAR~", "CHGCAR.part", "#CHGCAR#", ".CHGCAR.swp", "CHGCAR.tmp", "CHG"], ["CHG"]),
        (["CHGCAR.png", "CHGCAR.md5", "CHGCAR.dvc", "CHGCAR.html", "CHGCAR"], ["CHGCAR"]),
        (["KF.CHGCAR.zst", "AECCAR0.Z", "KI.cube.lz4"], ["AECCAR0.Z", "KF.CHGCAR.zst", "KI.cube.lz4"]),
    ],
)
def test_what_of_a_folder_is_taken(tmp_path: Path, files: list[str], kept: list[str]) -> None:
    tree(tmp_path, *(f"m/{name}" for name in files), "m/OUTCAR", "m/WAVECAR", "m/vasprun.xml")
    assert names(tmp_path) == [f"m/{name}" for name in kept]


def test_a_compressed_copy_is_left_out_and_said(tmp_path: Path) -> None:
    tree(tmp_path, "m/CHGCAR", "m/CHGCAR.gz")
    found = find(tmp_path)
    assert [Path(path).name for path in found.files] == ["CHGCAR"]
    assert found.left_out[0][0].endswith("CHGCAR.gz")


def test_links(tmp_path: Path) -> None:
    tree(tmp_path, "annex/1/SHA256-77", "disk/k/CHGCAR", "disk/k/sub/AECCAR0", "runs/real/CHGCAR")
    runs = tmp_path / "runs"
    (runs / "mp-3").mkdir()
    (runs / "mp-3" / "CHGCAR").symlink_to("../../annex/1/SHA256-77")
    (runs / "far").symlink_to(tmp_path / "disk" / "k")
    (runs / "again").symlink_to(tmp_path / "disk" / "k")
    (runs / "latest").symlink_to("real")
    (runs / "real" / "up").symlink_to("..")
    (tmp_path / "disk" / "k" / "loop").symlink_to(tmp_path)
    assert names(runs) == ["mp-3/CHGCAR", "real/CHGCAR", "again/CHGCAR", "again/sub/AECCAR0"]
    (runs / "gone").mkdir()
    (runs / "gone" / "CHGCAR").symlink_to(".git/annex/objects/nothing")
    found = find(runs)
    assert len(found.files) == 4
    assert found.refused == [(str(runs / "gone" / "CHGCAR"), found.refused[0][1])]
    assert "a link to .git/annex/objects/nothing, which is not there" in found.refused[0][1]
    assert find_files(runs / "latest") == [runs / "latest" / "CHGCAR"]


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is locked for root")
def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    tree(tmp_path, "a/CHGCAR", "b/CHGCAR")
    (tmp_path / "b").chmod(0)
    try:
        assert [path for path, _ in find(tmp_path).refused] == [str(tmp_path / "b")]
    finally:
        (tmp_path / "b").chmod(0o700)


def test_one_file_by_two_paths_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, "a/x/CHGCAR")
    monkeypatch.chdir(tmp_path)
    assert [str(path) for path in find_files(["a", tmp_path / "a", "./a/x/CHGCAR", "a/../a/x"])] == ["a/x/CHGCAR"]


def test_inputs_that_lead_to_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tree(tmp_path, "CHGCAR", "archives/runs.tar.gz")
    for nothing in ("", ["CHGCAR", ""], "\t ", ["CHGCAR", " "]):
        with pytest.raises(StoreError, match="one of the inputs is empty"):
            find_files(nothing)
    with pytest.raises(StoreError, match=r"archives.*no density files there.*runs.tar.gz is an archive"):
        find_files("archives")
    tree(tmp_path, "odd::name/CHGCAR")
    assert find_files("odd::name/CHGCAR") == [Path("odd::name/CHGCAR")]


def test_what_lies_beside_a_density_in_every_run(tmp_path: Path) -> None:
    """Nothing of it is refused, and nothing of it gets into the store; what should be a density and is none does."""
    runs = tmp_path / "runs"
    for name in ("mat-1", "mat-2"):
        (runs / name).mkdir(parents=True)
        chgdb.write(runs / name / "CHGCAR", density(name))
        (runs / name / "custodian.json").write_text(json.dumps([{"job": {"@class": "VaspJob"}, "total_time": 3}]))
        (runs / name / "FW.json").write_text('{"spec": {"data": [1, 2]}}')
        lines = (runs / name / "CHGCAR").read_text().splitlines(keepends=True)
        (runs / name / "POSCAR.vasp").write_text("".join(lines[:10]) + "\n  0.0 0.0 0.0\n  0.0 0.0 0.0\n")
        (runs / name / "CHGCAR.png").write_bytes(b"\x89PNG\r\n")
        (runs / name / "CHGCAR.txt").write_text("a note\n")
        with open(runs / name / "bands.npz", "wb") as file:
            file.write(b"PK\x03\x04 no archive of ours")
    report = chgdb.build(tmp_path / "a.zarr", runs, workers=1, tolerance=0)
    assert (report.added, report.refused, report.complete) == (("mat-1", "mat-2"), (), True)
    assert same(chgdb.open(tmp_path / "a.zarr")["mat-2"].density, chgdb.read(runs / "mat-2" / "CHGCAR"))
    named = chgdb.build(tmp_path / "b.zarr", [runs / "mat-1" / n for n in ("CHGCAR", "POSCAR.vasp")], workers=1)
    assert [Path(path).name for path, _ in named.refused] == ["POSCAR.vasp"]
    (runs / "mat-3").mkdir()
    (runs / "mat-3" / "CHGCAR").write_text("")
    (runs / "mat-3" / "other.json").write_text('{"@class": "Chgcar", "data": {"total": [')
    report = chgdb.build(tmp_path / "c.zarr", runs, workers=1)
    assert sorted(Path(path).name for path, _ in report.refused) == ["CHGCAR", "other.json"]


def test_other_quantities_beside_a_density_are_left_out(tmp_path: Path) -> None:
    tree(tmp_path, "m/LOCPOT.vasp", "m/KF_ELFCAR.vasp.gz", "m/chgdiff.vasp", "m/KF.vasp")
    assert names(tmp_path) == ["m/KF.vasp"]
    (tmp_path / "m" / "KF.vasp").unlink()
    grid = [[[1.0, 2.0], [3.0, 4.0]], [[1.0, 2.0], [3.0, 4.0]]]
    for name, document in {
        "v": {"@module": "pymatgen.io.vasp.outputs", "@class": "Locpot", "data": {"total": grid}},
        "mp-5_ELFCAR": {"data": {"total": grid}},
    }.items():
        (tmp_path / "m" / f"{name}.json").write_text(json.dumps(document))
    chgdb.write(tmp_path / "m" / "CHGCAR", density("mat-1"))
    report = chgdb.build(tmp_path / "s.zarr", tmp_path / "m", workers=1)
    assert (len(report.added), report.refused) == (1, ())
    (tmp_path / "m" / "w.json").write_text('{"@class": "Chgcar", "data": {"total": [[')
    assert len(chgdb.build(tmp_path / "s.zarr", tmp_path / "m", workers=1).refused) == 1


def test_files_that_say_that_they_are_something_else_are_named_and_no_failure(tmp_path: Path) -> None:
    """Cubes and JSON in a folder that is searched, with exit code 0; named by the user they are refused."""
    chgdb.write(tmp_path / "a" / "CHGCAR", density("mat-1"))
    lines = DENSITY_CUBE.splitlines(keepends=True)
    for name, comment in (("esp", "Electrostatic potential"), ("homo", "MO 12"), ("spin", "spin density")):
        (tmp_path / "a" / f"{name}.cube").write_text("".join([lines[0], f"{comment}\n", *lines[2:]]))
    grid = [[[1.0, 2.0], [3.0, 4.0]], [[1.0, 2.0], [3.0, 4.0]]]
    field = {"@module": "pymatgen.io.common", "@class": "VolumetricData", "structure": {}, "data": {"total": grid}}
    (tmp_path / "a" / "field.json").write_text(json.dumps(field))
    orbital = ["\n", "\n", lines[2].replace("    1", "   -1", 1), *lines[3:7], "    1   12\n", *lines[7:]]
    (tmp_path / "a" / "mo.cube").write_text("".join(orbital))
    report = chgdb.build(tmp_path / "s.zarr", tmp_path / "a", workers=1)
    assert (report.added, report.complete) == (("a",), True)
    told = {Path(path).name: reason for path, reason in report.left_out}
    assert set(told) == {"esp.cube", "homo.cube", "spin.cube", "field.json", "mo.cube"}
    assert "potential" in told["esp.cube"]
    assert "VolumetricData" in told["field.json"]
    named = chgdb.build(tmp_path / "t.zarr", [tmp_path / "a" / name for name in ("CHGCAR", "esp.cube")], workers=1)
    assert [Path(path).name for path, _ in named.refused] == ["esp.cube"]
    (tmp_path / "a" / "CHGCAR").unlink()
    with pytest.raises(StoreError, match=r"no density in what was found \(.*potential"):
        chgdb.build(tmp_path / "u.zarr", tmp_path / "a", workers=1)


DENSITY_CUBE = """\
title
electron density
    1    0.000000    0.000000    0.000000
    2    3.000000    0.000000    0.000000
    2    0.000000    3.000000    0.000000
    1    0.000000    0.000000    6.000000
    8    8.000000    1.100000    0.200000    4.800000
  1.00000E+00  2.00000E+00  3.00000E+00  1.00000E+00
"""
