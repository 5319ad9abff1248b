"""chgdb convert and chgdb diff."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small import DENSITIES, Chgdb, one_line

import chgdb


def test_convert(run_chgdb: Chgdb, runs: Path) -> None:
    result = run_chgdb("convert", runs / "salt/CHGCAR", "salt.cube.gz")
    assert result.code == 0
    assert "NaCl" in result.out
    np.testing.assert_allclose(chgdb.read("salt.cube.gz").total, DENSITIES["salt"]().total, rtol=1e-4, atol=1e-8)
    assert run_chgdb("convert", "salt.cube.gz", "CHGCAR", "--grid", "24x24x24").code == 0
    assert chgdb.read("CHGCAR").grid == (24, 24, 24)
    assert run_chgdb("convert", "salt.cube.gz", "fine.npz", "--spacing", "0.1").code == 0
    assert chgdb.read("fine.npz").grid == (40, 32, 54)


def test_convert_names_the_quantity_and_makes_the_folder(run_chgdb: Chgdb) -> None:
    nickel = Path(__file__).parents[1] / "data" / "NiO_spin.CHGCAR"
    assert run_chgdb("convert", nickel, "spins/CHGCAR_mag", "--channel", "magnetization").code == 0
    result = run_chgdb("convert", "spins/CHGCAR_mag", "arrays/m.npz")
    assert result.code == 0, result.err
    assert "magnetization density, grid" in result.out
    assert "μB" in result.out
    assert "total" not in result.out
    result = run_chgdb("convert", nickel, "new/CHGCAR_diff")
    assert result.code == 1
    assert one_line(result.err)
    assert "a difference of densities" in result.err
    assert not Path("new").exists()


def test_convert_names_formats(run_chgdb: Chgdb, runs: Path) -> None:
    assert run_chgdb("convert", runs / "si/CHGCAR", "density.dat", "--to", "cube").code == 0
    assert run_chgdb("convert", "density.dat", "CHGCAR", "--from", "cube").code == 0
    assert chgdb.read("CHGCAR").crystal.formula == "Si"


def test_convert_elements_of_vasp_4(run_chgdb: Chgdb, runs: Path) -> None:
    lines = (runs / "si/CHGCAR").read_text().split("\n")
    del lines[5]
    Path("old.CHGCAR").write_text("\n".join(lines))
    result = run_chgdb("convert", "old.CHGCAR", "CHGCAR")
    assert result.code == 1
    assert one_line(result.err)
    assert run_chgdb("convert", "old.CHGCAR", "CHGCAR", "--elements", "Ge").code == 0
    assert chgdb.read("CHGCAR").crystal.formula == "Ge"


@pytest.mark.parametrize(
    "arguments",
    [
        ["{runs}/si/CHGCAR", "{runs}/si/CHGCAR"],  # exists
        ["nothing", "CHGCAR"],
        ["{runs}", "CHGCAR"],
        ["{runs}/gaps.csv", "CHGCAR"],
        ["{runs}/si/CHGCAR", "si.xsd"],
        ["{runs}/si/CHGCAR", "si.json"],
    ],
)
def test_convert_mistakes(run_chgdb: Chgdb, runs: Path, arguments: list[str]) -> None:
    result = run_chgdb("convert", *(a.format(runs=runs) for a in arguments))
    assert result.code == 1
    assert one_line(result.err)


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (("convert", "si/CHGCAR", "si.dat", "--to", "xyz"), "--to"),
        (("convert", "si/CHGCAR", "si.dat", "--to", "mp_json"), "--to"),
        (("convert", "si/CHGCAR", "CHGCAR", "--from", "xyz"), "--from"),
        (("predict", "si/CHGCAR", "--from", "xyz"), "--from"),
        (("predict", "si/CHGCAR", "--model", "nobody"), "--model"),
        (("fetch", "mp-149", "--decode", "--format", "xyz"), "--format"),
        (("train", "properties", "--model", "nobody"), "--model"),
    ],
)
def test_a_value_outside_its_list_is_wrong_usage(
    run_chgdb: Chgdb, runs: Path, command: tuple[str, ...], option: str
) -> None:
    result = run_chgdb(*(str(runs / word) if word.endswith("/CHGCAR") else word for word in command))
    assert result.code == 2
    assert f"Invalid value for {option}: " in result.err


def test_diff_of_a_file_and_a_record(run_chgdb: Chgdb, runs: Path, store: str) -> None:
    facts = run_chgdb("diff", runs / "iron/CHGCAR", "iron", "--json").json
    record = chgdb.open(store)["iron"]
    assert facts["nmae"] == pytest.approx(record.nmae, rel=1e-3)
    assert facts["max_error"] == pytest.approx(record.max_error, rel=1e-2)
    assert facts["n_electrons"]["a"] == pytest.approx(26)
    assert facts["n_electrons"]["b"] == pytest.approx(26)
    text = run_chgdb("diff", runs / "iron/CHGCAR", "iron").out
    assert f"{100 * facts['nmae']:.3g} %" in text
    assert "magnetization" in text


def test_diff_on_different_grids(run_chgdb: Chgdb) -> None:
    density = DENSITIES["si"]()
    chgdb.write("a.npz", density)
    chgdb.write("b.npz", density.resample((30, 30, 30)))
    facts = run_chgdb("diff", "a.npz", "b.npz", "--json").json
    assert facts["compared_on"] == [30, 30, 30]
    assert facts["nmae"] < 1e-12
    doubled = replace(density, channels={"total": 1.5 * density.total})
    chgdb.write("c.npz", doubled)
    facts = run_chgdb("diff", "b.npz", "c.npz", "--json").json
    assert facts["nmae"] == pytest.approx(0.5)
    assert facts["n_electrons"] == pytest.approx({"a": 28, "b": 42})


def test_diff_of_different_crystals(run_chgdb: Chgdb) -> None:
    result = run_chgdb("diff", "si", "salt")
    assert result.code == 1
    assert one_line(result.err)
    assert "different lattice vectors" in result.err


def test_diff_of_what_is_nowhere(run_chgdb: Chgdb) -> None:
    result = run_chgdb("diff", "si", "CHGCAR")
    assert result.code == 1
    assert one_line(result.err)
    assert "CHGCAR: there is no such file" in result.err


def test_diff_says_what_it_leaves_out(run_chgdb: Chgdb) -> None:
    density = DENSITIES["iron"]()
    chgdb.write("a.npz", density)
    moved = replace(density.crystal, cell=density.crystal.cell * 1.01)
    chgdb.write("b.npz", replace(density, crystal=moved, channels={"total": density.total}))
    result = run_chgdb("diff", "a.npz", "b.npz")
    assert result.code == 0
    assert "cells differ by up to 0.035 Å" in result.err
    assert "only the channels of both" in result.err


def test_convert_of_a_spin_density_says_what_a_cube_leaves_out(run_chgdb: Chgdb, runs: Path) -> None:
    result = run_chgdb("convert", runs / "iron/CHGCAR", "iron.cube")
    assert result.code == 0
    assert "iron.cube: without magnetization, as a cube holds one field; --channel magnetization" in result.err
    assert "Fe, total, grid" in result.out
    result = run_chgdb("convert", runs / "iron/CHGCAR", "spin.cube", "--channel", "magnetization")
    assert (result.code, result.err) == (0, "")
    assert "Fe, magnetization, grid" in result.out
    assert "μB" in result.out
    assert run_chgdb("convert", runs / "iron/CHGCAR", "iron.npz").err == ""
    result = run_chgdb("convert", runs / "iron/CHGCAR", "a.cube", "--channel", "spin")
    assert result.code == 1
    assert one_line(result.err)
    result = run_chgdb("fetch", "iron", "--decode", "-o", "fetched.cube")
    assert result.code == 0
    assert "electrons, without magnetization" in result.out


@pytest.mark.parametrize(
    "name", ["Si.pdb", "Si.axsf", "Si.nc", "CHGCAR.zip", "Si.json", "LOCPOT", "Si.dat", "new/Si.h5"]
)
def test_names_that_cannot_be_written(run_chgdb: Chgdb, runs: Path, name: str) -> None:
    for command in (["convert", runs / "si/CHGCAR", name], ["fetch", "si", "--decode", "-o", name]):
        result = run_chgdb(*command)
        assert result.code == 1, command
        assert one_line(result.err)
        assert not Path(name).exists()
        assert not Path("new").exists()


@pytest.mark.parametrize(("name", "kind"), [("POSCAR", "POSCAR"), ("new/Si.cif.gz", "CIF"), ("Si.xyz", "XYZ")])
def test_the_structure_alone(run_chgdb: Chgdb, runs: Path, name: str, kind: str) -> None:
    from chgdb.formats import read_structure

    density = chgdb.read(runs / "si/CHGCAR")
    for command in (["convert", runs / "si/CHGCAR", name], ["fetch", "si", "--decode", "-o", f"of/{name}"]):
        result = run_chgdb(*command)
        assert result.code == 0, result.err
        assert result.out == f"{command[-1]}: Si, {len(density.crystal)} atoms, the structure alone as {kind}\n"
        found = read_structure(command[-1])
        assert np.allclose(found.positions, density.crystal.positions, atol=1e-6)
        assert run_chgdb(*command).code == 1  # not written over
    assert run_chgdb("convert", "si", "by-id/POSCAR").code == 0
    assert Path("by-id/POSCAR").read_text().count("\n") == 8 + len(density.crystal)
    assert run_chgdb("convert", name, "again/POSCAR").code == 0
    assert np.allclose(read_structure("again/POSCAR").positions, density.crystal.positions, atol=1e-6)
    result = run_chgdb("convert", runs / "si/CHGCAR", "x.cif", "--grid", "8x8x8")
    assert result.code == 2
    assert "a structure has no grid" in result.err


def test_the_longest_suffix_decides(run_chgdb: Chgdb, runs: Path) -> None:
    names = {"CHGCAR.cube": b"Si", "CHG.npz": b"PK", "AECCAR0.cube.gz": b"\x1f\x8b", "run.7": b"Si"}
    for name, begin in names.items():
        if name != "run.7":
            assert run_chgdb("convert", runs / "si/CHGCAR", f"c-{name}").code == 0
            assert Path(f"c-{name}").read_bytes().startswith(begin)
        assert run_chgdb("fetch", "si", "--decode", "-o", name).code == 0
        assert Path(name).read_bytes().startswith(begin)
        assert len(chgdb.read(name).crystal) == 2


def test_a_chg_of_several_steps_is_said(runs: Path, tmp_path: Path) -> None:
    import subprocess
    import sys

    (tmp_path / "CHG").write_text((runs / "si/CHGCAR").read_text() * 3)
    command = [sys.executable, "-c", "from chgdb_cli.main import run; run()", "convert", "CHG", "last.npz"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert one_line(done.stderr)
    assert "CHG: 3 steps, of which the last one is read" in done.stderr


def test_values_that_sum_to_nothing(run_chgdb: Chgdb, runs: Path) -> None:
    """pp.x of Quantum ESPRESSO calls every field a total density."""
    density = chgdb.read(runs / "si/CHGCAR")
    chgdb.write("v.cube", replace(density, channels={"total": -density.total}))
    result = run_chgdb("convert", "v.cube", "v.npz")
    assert result.code == 0
    assert "the values are no total density" in result.err


def test_inputs_from_a_pipe(run_chgdb: Chgdb, runs: Path) -> None:
    import os
    import threading

    for command in (["convert", "pipe", "a.npz"], ["diff", "pipe", "si"], ["predict", "pipe"]):
        os.mkfifo("pipe")
        writer = threading.Thread(target=lambda: Path("pipe").write_bytes((runs / "si/CHGCAR").read_bytes()))
        writer.start()
        result = run_chgdb(*command)
        writer.join()
        assert result.code == 0, result.err
        os.unlink("pipe")


@pytest.mark.parametrize(
    "arguments",
    [
        *(["convert", "CHGCAR", "{}.cube"], ["plot", "CHGCAR", "-o", "{}.pdf"], ["build", "{}.zarr", "CHGCAR"]),
        *(["fetch", "si", "--decode", "-o", "{}"], ["fetch", "si", "-o", "{}.zarr"], ["pull", "{store}", "{}"]),
        ["encode", "CHGCAR", "-o", "{}.npy"],
    ],
)
def test_nothing_is_written_to_a_folder_named_like_a_url(arguments: list[str], store: str, run_chgdb: Chgdb) -> None:
    chgdb.write("CHGCAR", DENSITIES["iron"]())
    before = sorted(os.listdir())
    for url in ("s3://bucket/x", "ftp://me:s3cret@[::1]:9/x?key=s3cret"):
        done = run_chgdb(*(argument.format(url, store=store) for argument in arguments))
        assert done.code == 1
        assert one_line(done.err)
        assert "a URL, where only folders of this machine are written to" in done.err
        assert "s3cret" not in done.err
    assert sorted(os.listdir()) == before
