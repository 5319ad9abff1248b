"""Densities without atoms, and with atoms of no element: every command says what is missing, and does what it can."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from small import DENSITIES, Chgdb

import chgdb
from chgdb import Crystal, Density
from chgdb.views import NotPredictedWarning


@pytest.fixture
def ghost(tmp_path: Path) -> Path:
    """Salt with one more atom, which is none."""
    salt = DENSITIES["salt"]()
    crystal = Crystal(salt.crystal.cell, [*salt.crystal.positions, [0.25, 0.5, 0.75]], [*salt.crystal.numbers, 0])
    path = tmp_path / "ghost" / "ghost.cube"
    path.parent.mkdir()
    chgdb.write(path, replace(salt, crystal=crystal))
    return path


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """Silicon without its atoms."""
    si = DENSITIES["si"]()
    path = tmp_path / "bare" / "bare.npz"
    path.parent.mkdir()
    chgdb.write(path, Density(Crystal(si.crystal.cell, [], []), si.channels))
    return path


GHOST = "1 of its 3 atoms is of no element"
BARE = "it holds no atoms"


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if "atoms" in line]


def test_convert(run_chgdb: Chgdb, ghost: Path, bare: Path) -> None:
    for source, target, missing in ((ghost, "CHGCAR", GHOST), (bare, "bare.cube", BARE), (ghost, "g.npz", GHOST)):
        result = run_chgdb("convert", source, target)
        assert result.code == 0, result.err
        assert len(lines(result.err)) == 1
        assert missing in result.err
        assert ("no atoms, total," in result.out) == (source == bare)
    assert chgdb.read("CHGCAR").crystal.numbers.tolist() == [11, 17, 0]
    assert len(chgdb.read("bare.cube").crystal) == 0
    refused = run_chgdb("convert", bare, "CHGCAR.gz")
    assert refused.code == 1
    assert "nobody reads a CHGCAR without them" in refused.err
    assert not Path("CHGCAR.gz").exists()


def test_plot_and_diff(run_chgdb: Chgdb, ghost: Path, bare: Path) -> None:
    pytest.importorskip("matplotlib")
    for source, missing in ((ghost, GHOST), (bare, BARE)):
        result = run_chgdb("plot", source, "-o", source.with_suffix(".svg"))
        assert result.code == 0, result.err
        assert lines(result.err) == [f"{source}: {lines(result.err)[0].partition(': ')[2]}"]
        assert missing in result.err
    assert missing in run_chgdb("diff", bare, "si").err
    same = run_chgdb("diff", ghost, "salt")
    assert same.code == 0
    assert GHOST in same.err


def test_predict_refuses_in_a_line_each_and_predicts_the_others(
    run_chgdb: Chgdb, ghost: Path, bare: Path, runs: Path
) -> None:
    result = run_chgdb("predict", ghost, runs / "salt/CHGCAR", bare, "--json")
    assert result.code == 1
    assert [facts["file"] for facts in result.json] == [str(runs / "salt/CHGCAR")]
    assert [missing in line for missing, line in zip((GHOST, BARE), lines(result.err), strict=True)] == [True, True]


def test_build_and_the_predictions_of_the_others(run_chgdb: Chgdb, ghost: Path, bare: Path, runs: Path) -> None:
    with pytest.warns(NotPredictedWarning) as caught:
        result = run_chgdb("build", "new.zarr", runs, ghost, bare, "--predict", "--workers", 1, "--quiet", "--json")
    assert result.code == 0, result.err
    assert len(result.json["added"]) == 5
    assert result.json["predictions"]
    noted = [line for line in result.err.splitlines() if line.startswith("note: ")]
    assert sorted(GHOST in line for line in noted) == [False, True]
    assert sorted(str(warning.message).partition(":")[0] for warning in caught) == ["bare", "ghost"]
    modulus = chgdb.open("new.zarr").view("properties")["bulk_modulus"]
    found = dict(zip(chgdb.open("new.zarr").ids, modulus, strict=True))
    assert [bool(value == value) for value in (found["si"], found["ghost"], found["bare"])] == [True, False, False]
    assert run_chgdb("verify", "new.zarr", "--deep").code == 0
    assert run_chgdb("info", "ghost", "--catalog", "new.zarr").code == 0
    assert run_chgdb("search", "--predicted", "bulk_modulus:0..", "--ids", "--catalog", "new.zarr").out.split() == [
        i for i in chgdb.open("new.zarr").ids if i not in ("ghost", "bare")
    ]


@pytest.mark.parametrize("at", ["nan", "inf", "-inf"])
def test_a_slice_lies_somewhere(run_chgdb: Chgdb, at: str) -> None:
    result = run_chgdb("plot", "si", f"--at={at}", "-o", "out.svg")
    assert result.code == 2
    assert "--at" in result.err
    assert not Path("out.svg").exists()


@pytest.mark.parametrize("option", [["--spacing", "1e-3"], ["--spacing=0.0007"], ["--grid", "20000x9000x9000"]])
def test_too_large_a_grid_is_refused_before_memory_is_taken(run_chgdb: Chgdb, runs: Path, option: list[str]) -> None:
    for command in (["convert", runs / "si/CHGCAR", "fine.cube"], ["fetch", "si", "--decode", "-o", "fine.cube"]):
        result = run_chgdb(*command, *option)
        assert result.code == 1
        assert len(result.err.splitlines()) == 1
        assert "use a coarser one" in result.err
        assert not Path("fine.cube").exists()


def test_diff_says_where_the_atoms_are(run_chgdb: Chgdb, tmp_path: Path) -> None:
    from chgdb.comparison import moved

    salt = DENSITIES["salt"]()
    chgdb.write(tmp_path / "a.npz", salt)
    chgdb.write(tmp_path / "b.npz", moved(salt, (0.13, -0.25, 0.4)))
    result = run_chgdb("diff", "a.npz", "b.npz", "--json")
    assert result.code == 0
    assert "--shift -0.13,0.25,-0.4 (or auto)" in result.err
    assert result.json["suggested_shift"] == pytest.approx([-0.13, 0.25, -0.4])
    assert result.json["nmae"] > 0.1
    for shift in ("-0.13,0.25,-0.4", "auto"):
        again = run_chgdb("diff", "a.npz", "b.npz", f"--shift={shift}", "--json")
        assert again.err == ""
        assert again.json["nmae"] < 1e-5
    assert run_chgdb("diff", "a.npz", "b.npz", "--shift", "1,2").code == 2
    assert run_chgdb("diff", "a.npz", "b.npz", "--shift", "0,nan,0").code == 2
    elsewhere = Crystal(salt.crystal.cell, [[0, 0, 0], [0.5, 0.5, 0.9]], salt.crystal.numbers)
    chgdb.write(tmp_path / "c.npz", replace(salt, crystal=elsewhere))
    assert "no shift brings them together" in run_chgdb("diff", "a.npz", "c.npz").err
    refused = run_chgdb("diff", "a.npz", "c.npz", "--shift", "auto")
    assert refused.code == 1
    assert len(refused.err.splitlines()) == 1
