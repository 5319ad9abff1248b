"""chgdb combine, and chgdb convert --channel."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small import DENSITIES, Chgdb, one_line

import chgdb
from chgdb.comparison import moved
from chgdb.density import ScalarField


def test_a_difference(run_chgdb: Chgdb, runs: Path) -> None:
    salt = DENSITIES["salt"]()
    chgdb.write("part.CHGCAR", replace(salt, channels={"total": 0.25 * salt.total}))
    result = run_chgdb("combine", runs / "salt/CHGCAR", "-", "2", "x", "part.CHGCAR", "-", "0.5*salt", "-o", "d.CHGCAR")
    assert result.code == 0, result.err
    assert "density difference of NaCl, CHGCAR - 2 x part.CHGCAR - 0.5 x salt" in result.out
    assert result.err == ""
    found = chgdb.read("d.CHGCAR")
    assert isinstance(found, ScalarField)
    assert np.abs(found.total).max() < 2e-3 * salt.total.max()
    for command in (("predict", "d.CHGCAR"), ("estimate", "d.CHGCAR"), ("build", "x.zarr", "d.CHGCAR")):
        refused = run_chgdb(*command)
        assert refused.code == 1
        assert "density difference of NaCl" in refused.err + refused.out
    result = run_chgdb("combine", "salt", "+", "part.CHGCAR", "-o", "sum.npz", "--json")
    assert result.json["quantity"] == "density"
    assert result.json["n_electrons"] == pytest.approx(35, rel=1e-5)
    assert type(chgdb.read("sum.npz")) is chgdb.Density


def test_a_shift_of_the_origin(run_chgdb: Chgdb) -> None:
    salt = DENSITIES["salt"]()
    chgdb.write("a.npz", salt)
    chgdb.write("b.npz", moved(salt, (0.25, 0, 0.5)))
    result = run_chgdb("combine", "a.npz", "-", "b.npz", "-o", "d.npz")
    assert "atoms lie up to" in result.err
    assert run_chgdb("combine", "a.npz", "-", "b.npz", "--shift", "2=-0.25,0,-0.5", "-o", "d.npz", "-f").err == ""
    assert np.abs(chgdb.read("d.npz").total).max() < 1e-10 * salt.total.max()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["salt", "salt"], "no + or -"),
        (["salt", "-"], "missing after a sign"),
        (["salt", "-", "two", "x", "salt"], "not a number"),
        (["salt", "--shift", "2=0,0,0"], "only 1 densities"),
        (["salt", "--shift", "0,0,0"], "not a shift"),
    ],
)
def test_wrong_usage(run_chgdb: Chgdb, words: list[str], said: str) -> None:
    result = run_chgdb("combine", *words, "-o", "x.npz")
    assert result.code == 2
    assert said in result.err
    assert not Path("x.npz").exists()


def test_other_cells(run_chgdb: Chgdb) -> None:
    result = run_chgdb("combine", "salt", "-", "si", "-o", "x.npz")
    assert result.code == 1
    assert one_line(result.err)
    assert "different lattice vectors" in result.err
    assert not Path("x.npz").exists()


def test_channels_into_files_of_their_own(run_chgdb: Chgdb, runs: Path) -> None:
    iron = DENSITIES["iron"]()
    for name in ("spin_up", "spin_down", "magnetization", "magnetization_norm"):
        result = run_chgdb("convert", runs / "iron/CHGCAR", f"CHGCAR_{name}", "--channel", name)
        assert result.code == 0, result.err
        found = chgdb.read(f"CHGCAR_{name}")
        assert tuple(found.channels) == ("total",)
        np.testing.assert_allclose(found.total, iron.channel(name), atol=1e-9)
    assert "6.500000 μB" in result.out
    both = run_chgdb("combine", "CHGCAR_spin_up", "+", "CHGCAR_spin_down", "-", "iron", "-o", "zero.npz")
    assert both.code == 0
    result = run_chgdb("convert", runs / "salt/CHGCAR", "x.cube", "--channel", "magnetization")
    assert one_line(result.err)
    assert "there are total, spin_up, spin_down" in result.err


def test_pictures_of_differences_are_centred_on_zero(run_chgdb: Chgdb) -> None:
    pytest.importorskip("matplotlib")
    from chgdb_cli.scales import Scale

    scale = Scale.of(np.array([[-1.0, 3.0]]), signed=True)
    assert (scale.low, scale.high, scale.colours) == (-3.0, 3.0, "RdBu_r")
    salt = DENSITIES["salt"]()
    chgdb.write("d.npz", salt - replace(salt, channels={"total": salt.total[::-1]}))
    assert run_chgdb("plot", "d.npz").code == 0
    assert Path("d.png").stat().st_size > 10_000
    chgdb.write("unsaid.npz", replace(salt, channels={"total": salt.total - salt.total[::-1]}))
    for options in ((), ("--isosurface", "auto")):
        assert run_chgdb("plot", "unsaid.npz", *options, "-o", "unsaid.svg", "--force").code == 0
    assert "±" in Path("unsaid.svg").read_text()
    assert run_chgdb("plot", "iron", "--channel", "spin_down", "-o", "down.svg").code == 0
    assert "spin-down density" in Path("down.svg").read_text()
