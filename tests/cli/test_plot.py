"""chgdb plot."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from small import DENSITIES, Chgdb, one_line

from chgdb_cli.figures import _smooth, axis_section
from chgdb_cli.scales import Scale


def test_plot_of_a_material(run_chgdb: Chgdb) -> None:
    result = run_chgdb("plot", "salt")
    assert result.code == 0
    assert result.out == "salt.png\n"
    data = Path("salt.png").read_bytes()
    assert data.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", data[16:24])
    assert width > height > 500


@pytest.mark.parametrize("axis", ["a", "b", "c"])
def test_plot_of_a_file(run_chgdb: Chgdb, runs: Path, axis: str) -> None:
    arguments = ["--axis", axis, "--at", 0.3, "--channel", "magnetization", "-o", f"{axis}.svg"]
    assert run_chgdb("plot", runs / "iron/CHGCAR", *arguments).code == 0
    assert "<svg" in Path(f"{axis}.svg").read_text()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["si", "--channel", "magnetization"], 2),
        (["si", "--axis", "d"], 2),
        (["si", "-o", "si.xyz"], 1),
        (["nothing"], 1),
        (["si", "-o", "exists.png"], 1),
    ],
)
def test_plot_mistakes(run_chgdb: Chgdb, arguments: list[str], code: int) -> None:
    Path("exists.png").touch()
    result = run_chgdb("plot", *arguments)
    assert result.code == code
    assert "Traceback" not in result.err
    assert code == 2 or one_line(result.err)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["iron", "--channel", "magnetization"], "iron-magnetization.png"),
        (["salt", "--plane", "1,-1,0", "--log", "--no-profile"], "salt-plane_1_-1_0.png"),
        (["salt", "--through", "1,2,1", "--linear", "--cmap", "magma", "--contours", "0"], "salt-atoms_1_2_1.png"),
        (["salt", "--isosurface", "auto", "--view", "90,-20"], "salt-isosurface.png"),
        (["iron", "--isosurface", "1.5", "--channel", "magnetization"], "iron-magnetization-isosurface.png"),
    ],
)
def test_names_and_kinds_of_pictures(run_chgdb: Chgdb, arguments: list[str], name: str) -> None:
    result = run_chgdb("plot", *arguments)
    assert result.out == f"{name}\n"
    assert Path(name).read_bytes().startswith(b"\x89PNG")


def test_sizes_are_those_asked_for(run_chgdb: Chgdb) -> None:
    assert run_chgdb("plot", "salt", "--size", "10.16x5.08", "--dpi", 100, "-o", "a.png").code == 0
    assert struct.unpack(">II", Path("a.png").read_bytes()[16:24]) == (400, 200)
    assert run_chgdb("plot", "salt", "--size", "10.16x5.08", "--plane", "1,1,1", "-o", "a.pdf").code == 0
    assert Path("a.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--plane", "0,0,0"], 1, "(000) is no plane"),
        (["--plane", "1,1"], 2, "three whole numbers"),
        (["--plane", "1,1,0", "--through", "1,2,1"], 2, "give one of"),
        (["--through", "1,2,9"], 1, "numbers from 1 to 2"),
        (["--isosurface", "1e6"], 1, "no surface at 1e+06"),
        (["--isosurface", "nan"], 2, "not a value"),
        (["--view", "0,95"], 2, "not a view"),
        (["--range", "1:0"], 2, "the lower end first"),
        (["--log", "--range", "0:1"], 1, "cannot begin at 0"),
        (["--log", "--linear"], 2, "either --log or --linear"),
        (["--cmap", "colourful"], 1, "no colour map"),
        (["--size", "1e9x2"], 2, "not a size"),
        (["--size", "100x100", "--dpi", "2000"], 2, "30,000 dots"),
    ],
)
def test_mistakes_in_pictures(run_chgdb: Chgdb, arguments: list[str], code: int, words: str) -> None:
    result = run_chgdb("plot", "salt", *arguments)
    assert result.code == code
    assert words in " ".join(result.err.split())
    assert code == 2 or one_line(result.err)
    assert not list(Path().glob("*.png"))


def test_colours_show_something() -> None:
    """A molecule in a box, and a difference with a spike: neither is one blob."""
    box = np.zeros((40, 40))
    box[18:22, 18:22] = np.arange(1, 17).reshape(4, 4)
    scale = Scale.of(box, signed=False)
    assert 8 < scale.high <= 16
    assert scale.low == 0
    difference = np.sin(np.arange(1600) / 40).reshape(40, 40)
    difference[0, 0] = -500
    scale = Scale.of(difference, signed=True)
    assert scale.low == -scale.high
    assert scale.high < 10
    assert float(scale.norm()(0.0)) == 0.5
    oxide = np.geomspace(0.03, 4, 1600).reshape(40, 40)
    assert Scale.of(oxide, signed=False, kind="log").low == pytest.approx(0.03)  # no colours for what is not there
    vacuum = np.geomspace(1e-9, 4, 1600).reshape(40, 40)
    assert Scale.of(vacuum, signed=False, kind="log").low == pytest.approx(1e-4 * 4, rel=0.5)
    flat = Scale.of(np.full((4, 4), 2.0), signed=False, kind="log")
    assert flat.low < flat.high
    for kind in ("root", "linear", "log"):
        for signed in (True, False):
            levels = Scale.of(difference, signed=signed, kind=kind).levels(6)
            assert (np.diff(levels) > 0).all()


def test_smooth_keeps_the_points_and_refuses_to_ring() -> None:
    wave = 2 + np.cos(2 * np.pi * np.arange(12) / 12)
    fine = _smooth(wave, (24,))
    np.testing.assert_allclose(fine[::2], wave)
    spike = np.zeros(12)
    spike[0] = 1.0
    assert _smooth(spike, (24,)) is spike


def test_the_slice_goes_through_most_atoms_with_its_long_side_flat() -> None:
    assert axis_section(DENSITIES["si"](), 2, None).name == "slice at c = 0.000"
    section = axis_section(DENSITIES["salt"](), 0, 0.25)
    assert section.name == "slice at a = 0.250"
    np.testing.assert_allclose(np.cross(section.axes[0], DENSITIES["salt"]().crystal.cell[2]), 0, atol=1e-9)
