"""Files of tests/data, in the layouts of VASP, pymatgen and Gaussian: read exactly, kept, coded, and others agree."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest

import chgdb
from chgdb import codecs
from chgdb.formats import text_bytes

DATA = Path(__file__).resolve().parents[1] / "data"
VASP = ["MnO_noncollinear.CHGCAR", "NiO_spin.CHGCAR", "SiC.CHGCAR"]
ALL = [*VASP, "SiC.CHG", "NiO_spin.json", "LiF.cube"]


def values_of(text: str, grid: tuple[int, int, int]) -> np.ndarray:
    """The first grid of a CHGCAR, ρ·V, by plain Python."""
    after = text.split("".join(f"{n:5d}" for n in grid) + "\n", 1)[1].split()
    return np.array([float(token) for token in after[: int(np.prod(grid))]]).reshape(grid, order="F")


@pytest.mark.parametrize("name", VASP)
def test_chgcars_are_read_exactly_and_written_byte_for_byte(name: str, tmp_path: Path) -> None:
    text = (DATA / name).read_text()
    density = chgdb.read(DATA / name)
    assert np.array_equal(density.total, values_of(text, density.grid) / density.crystal.volume)
    chgdb.write(tmp_path / "CHGCAR", density)
    start = text.index("".join(f"{n:5d}" for n in density.grid))
    written = (tmp_path / "CHGCAR").read_text()
    assert written[written.index("".join(f"{n:5d}" for n in density.grid)) :] == text[start:]


@pytest.mark.parametrize(
    ("name", "channels", "electrons"),
    [
        ("MnO_noncollinear.CHGCAR", ("total", "magnetization_x", "magnetization_y", "magnetization_z"), 19),
        ("NiO_spin.CHGCAR", ("total", "magnetization"), 22),
        ("NiO_spin.json", ("total", "magnetization"), 22),
        ("SiC.CHGCAR", ("total",), 8),
        ("SiC.CHG", ("total",), 8),
        ("LiF.cube", ("total",), 8),
    ],
)
def test_what_is_in_them(name: str, channels: tuple[str, ...], electrons: int) -> None:
    density = chgdb.read(DATA / name)
    assert tuple(density.channels) == channels
    assert density.n_electrons == pytest.approx(electrons, abs=2e-6)


def test_one_density_in_several_layouts() -> None:
    spin, document = chgdb.read(DATA / "NiO_spin.CHGCAR"), chgdb.read(DATA / "NiO_spin.json")
    for name, values in spin.channels.items():
        np.testing.assert_allclose(document.channels[name], values, rtol=1e-13)
    np.testing.assert_allclose(chgdb.read(DATA / "SiC.CHG").total, chgdb.read(DATA / "SiC.CHGCAR").total, rtol=1e-5)
    assert json.loads((DATA / "NiO_spin.json").read_text())["@class"] == "Chgcar"


@pytest.mark.parametrize("name", VASP)
def test_pymatgen_agrees(name: str) -> None:
    outputs = pytest.importorskip("pymatgen.io.vasp.outputs")
    density = chgdb.read(DATA / name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = outputs.Chgcar.from_file(str(DATA / name))
    keys = {"magnetization": "diff"} | {f"magnetization_{axis}": f"diff_{axis}" for axis in "xyz"}
    for channel, values in density.channels.items():
        np.testing.assert_allclose(theirs.data[keys.get(channel, channel)], values * density.crystal.volume, rtol=1e-14)


@pytest.mark.parametrize("name", VASP)
def test_ase_agrees(name: str, tmp_path: Path) -> None:
    ase_vasp = pytest.importorskip("ase.calculators.vasp")
    density = chgdb.read(DATA / name)
    theirs = ase_vasp.VaspChargeDensity(str(DATA / name))
    np.testing.assert_allclose(theirs.chg[0], density.total, rtol=1e-14)
    assert theirs.atoms[0].numbers.tolist() == density.crystal.numbers.tolist()


def test_ase_agrees_on_the_cube() -> None:
    cube = pytest.importorskip("ase.io.cube")
    density = chgdb.read(DATA / "LiF.cube")
    with open(DATA / "LiF.cube") as file:
        theirs = cube.read_cube(file)
    np.testing.assert_allclose(theirs["data"] / 0.529177210903**3, density.total, rtol=1e-6)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("tolerance", [1e-3, 1e-4, 0])
def test_the_error_is_what_was_asked_for(name: str, tolerance: float) -> None:
    density = chgdb.read(DATA / name)
    encoded = codecs.encode(density, tolerance)
    decoded = codecs.decode(encoded.payload)
    assert max(codecs.measure(density, decoded).nmae.values()) <= tolerance
    if not tolerance:
        assert all(np.array_equal(decoded.channels[channel], density.channels[channel]) for channel in density.channels)
    assert len(encoded.payload) < text_bytes(density) / (5 if tolerance else 1.5)


@pytest.mark.parametrize("name", ["MnO_noncollinear.CHGCAR", "NiO_spin.CHGCAR"])
def test_a_store_keeps_occupancies_and_moments(name: str, tmp_path: Path) -> None:
    chgdb.build(tmp_path / "own.zarr", [DATA / name], tolerance=0, prior=None, workers=1)
    catalog = chgdb.open(tmp_path / "own.zarr")
    [record] = list(catalog)
    chgdb.write(tmp_path / "CHGCAR", record.density)
    start = "".join(f"{n:5d}" for n in record.grid)
    text, written = (DATA / name).read_text(), (tmp_path / "CHGCAR").read_text()
    assert written[written.index(start) :] == text[text.index(start) :]
