"""chgdb fetch: out of a catalog, with the error stated."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from small import DENSITIES, Chgdb, one_line

import chgdb
from chgdb.codecs import measure


def test_decode_writes_a_chgcar_here(run_chgdb: Chgdb, tmp_path: Path) -> None:
    result = run_chgdb("fetch", "si", "--decode")
    assert result.code == 0
    assert [p.name for p in tmp_path.iterdir()] == ["CHGCAR"]
    error = measure(DENSITIES["si"](), chgdb.read("CHGCAR")).nmae["total"]
    assert error <= 1e-4
    assert f"NMAE {100 * error:.3g} % (tolerance 0.01 %)" in result.out
    assert "28.000000 electrons" in result.out


def test_json_states_what_was_written(run_chgdb: Chgdb) -> None:
    facts = run_chgdb("fetch", "iron", "--decode", "--json").json
    assert facts["path"] == "CHGCAR"
    assert facts["nmae"] <= facts["tolerance"] == 1e-4
    assert facts["n_electrons"] == pytest.approx(26)
    assert facts["grid"] == [20, 20, 20]
    assert list(chgdb.read("CHGCAR").channels) == ["total", "magnetization"]


@pytest.mark.parametrize(
    ("arguments", "files"),
    [
        (["si", "salt"], ["salt/CHGCAR", "si/CHGCAR"]),
        (["si", "salt", "-o", "out"], ["out/salt/CHGCAR", "out/si/CHGCAR"]),
        (["si", "salt", "-o", "out", "--format", "cube"], ["out/salt.cube", "out/si.cube"]),
        (["si", "-o", "here/"], ["here/CHGCAR"]),
        (["si", "-o", "deep/er/Si.cube.gz"], ["deep/er/Si.cube.gz"]),
        (["si", "-o", "Si.npz"], ["Si.npz"]),
        (["si", "--format", "npz"], ["si.npz"]),
        (["si", "si"], ["CHGCAR"]),
    ],
)
def test_names_of_files(run_chgdb: Chgdb, tmp_path: Path, arguments: list[str], files: list[str]) -> None:
    assert run_chgdb("fetch", *arguments, "--decode").code == 0
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()) == files
    for name in files:
        assert chgdb.read(name).crystal.formula in ("Si", "NaCl")


def test_other_grids(run_chgdb: Chgdb) -> None:
    assert run_chgdb("fetch", "si", "--decode", "--grid", "30x32x36").code == 0
    fine = chgdb.read("CHGCAR")
    assert fine.grid == (30, 32, 36)
    np.testing.assert_allclose(fine.total, DENSITIES["si"]().resample((30, 32, 36)).total, atol=2e-3)
    result = run_chgdb("fetch", "si", "--decode", "--spacing", "0.05", "--force")
    assert "measured on the native grid 24 x 24 x 24" in result.out
    assert chgdb.read("CHGCAR").grid == (60, 60, 60)


def test_nothing_is_overwritten(run_chgdb: Chgdb) -> None:
    Path("CHGCAR").write_text("precious")
    result = run_chgdb("fetch", "si", "--decode")
    assert result.code == 1
    assert one_line(result.err)
    assert "--force" in result.err
    assert Path("CHGCAR").read_text() == "precious"
    assert run_chgdb("fetch", "si", "--decode", "--force").code == 0
    assert chgdb.read("CHGCAR").crystal.formula == "Si"


def test_without_decode_the_record_itself(run_chgdb: Chgdb, store: str) -> None:
    assert run_chgdb("fetch", "iron").code == 0
    whole, one = chgdb.open(store), chgdb.open("./iron.zarr")
    assert one.ids == ["iron"]
    assert one["iron"].payload == whole["iron"].payload
    assert one["iron"].crystal == whole["iron"].crystal
    np.testing.assert_array_equal(one["iron"].density.total, whole["iron"].density.total)
    assert run_chgdb("verify", "iron.zarr", "--deep").code == 0
    assert run_chgdb("fetch", "iron").code == 1  # exists
    assert run_chgdb("fetch", "iron", "--force").code == 0


def test_unknown_ids_show_close_ones(run_chgdb: Chgdb) -> None:
    result = run_chgdb("fetch", "slat", "--decode")
    assert result.code == 1
    assert one_line(result.err)
    assert "'slat'; close matches: salt" in result.err
    assert not os.listdir()


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["si", "--decode", "--grid", "24x24"],
        ["si", "--decode", "--grid", "0x24x24"],
        ["si", "--decode", "--grid", "24x24x24", "--spacing", "0.1"],
        ["si", "--grid", "24x24x24"],
        ["si", "--decode", "--format", "xyz"],
    ],
)
def test_wrong_usage(run_chgdb: Chgdb, arguments: list[str]) -> None:
    result = run_chgdb("fetch", *arguments)
    assert result.code == 2
    assert "Error: " in result.err
    assert "Traceback" not in result.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["si", "--decode", "--spacing", "0"],
        ["si", "--decode", "--spacing", "0.000001"],
        ["si", "--decode", "--catalog", "nowhere.zarr"],
        ["si", "--decode", "--catalog", "nowhere"],
        ["si", "--decode", "-o", "/dev/full", "--force"],
        ["si", "--decode", "-o", "/proc/nothing"],
        ["si", "-o", "/proc/nothing"],
    ],
)
def test_errors_are_one_line(run_chgdb: Chgdb, arguments: list[str]) -> None:
    result = run_chgdb("fetch", *arguments)
    assert result.code == 1
    assert one_line(result.err)


def test_fetch_in_another_cell_is_what_convert_makes(run_chgdb: Chgdb, tmp_path: Path) -> None:
    assert run_chgdb("fetch", "si", "--decode", "-o", "Si.npz").code == 0
    result = run_chgdb("fetch", "si", "--decode", "--cell", "conventional", "-o", "made/cubic.npz")
    assert result.code == 0
    assert result.out.splitlines()[2:] == [
        "8 atoms in a cell of 4.0000 x 4.0000 x 4.0000 Å, 90.00, 90.00, 90.00°, 4 times as large"
    ]
    assert run_chgdb("convert", "Si.npz", "by_convert.npz", "--cell", "conventional").code == 0
    ours, theirs = chgdb.read("made/cubic.npz"), chgdb.read("by_convert.npz")
    assert ours.crystal == theirs.crystal
    assert np.abs(ours.total - theirs.total).max() < 1e-12
    facts = run_chgdb("fetch", "si", "--decode", "--supercell", "2x1x1", "--grid", "30x20x20", "-o", "a.npz", "--json")
    assert facts.json["grid"] == [30, 20, 20]
    assert facts.json["n_electrons"] == pytest.approx(2 * ours.n_electrons / 4, rel=1e-9)
    assert run_chgdb("fetch", "si", "--decode", "--cell", "conventional", "-o", "POSCAR").code == 0
    assert len(chgdb.formats.read_any("POSCAR")) == 8


def test_fetch_in_another_cell_is_refused_in_a_line(run_chgdb: Chgdb) -> None:
    assert "need --decode" in run_chgdb("fetch", "si", "--cell", "niggli").err
    result = run_chgdb("fetch", "si", "--decode", "--supercell", "2x2x2", "--codec", "autoencoder")
    assert (result.code, "in the cell of its record" in result.err) == (2, True)
    result = run_chgdb("fetch", "salt", "--decode", "--cell", "orthogonal")
    assert (result.code, result.err.count("\n"), result.err.startswith("chgdb: salt: ")) == (1, 1, True)


def test_formats_that_are_only_read_are_not_offered(run_chgdb: Chgdb) -> None:
    for name in ("vtk", "hdf5", "mp_json"):
        result = run_chgdb("fetch", "si", "--decode", "--format", name)
        assert result.code == 2
        assert "write one of chgcar, cube, xsf, npz" in result.err
        assert "espresso" not in result.err


def test_the_name_of_a_file_is_for_one_material(run_chgdb: Chgdb) -> None:
    assert run_chgdb("fetch", "--only", "Si", "--decode", "-o", "x.cube").code == 0
    assert Path("x.cube").is_file()
    for chosen in (["si", "salt"], ["--where", "n_electrons:1.."]):
        result = run_chgdb("fetch", *chosen, "--decode", "-o", "y.npz")
        assert result.code == 2
        assert "y.npz is one file" in result.err
        assert not Path("y.npz").exists()
    assert run_chgdb("fetch", "si", "salt", "--decode", "-o", "CHGCARs").code == 0
    assert sorted(p.name for p in Path("CHGCARs").iterdir()) == ["salt", "si"]
