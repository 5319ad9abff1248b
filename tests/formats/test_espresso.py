"""charge-density.dat and .hdf5 of Quantum ESPRESSO, against the cubes that its own pp.x made of them."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest
from programs import ESPRESSO, espresso_hdf5

import chgdb
from chgdb.errors import FormatError
from chgdb.inputs.ids import ids_of

NAMES = {"si": "charge-density.dat", "h": "charge-density.dat", "hnc": "charge-density.dat.gz"}


def dat(name: str) -> bytes:
    data = (ESPRESSO / f"{name}.save" / NAMES[name]).read_bytes()
    return gzip.decompress(data) if NAMES[name].endswith(".gz") else data


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of h.save."""
    shutil.copytree(ESPRESSO / "h.save", tmp_path / "h.save")
    return tmp_path / "h.save"


@pytest.mark.parametrize(("name", "electrons"), [("si", 8), ("h", 1), ("hnc", 1)])
def test_the_density_is_that_of_pp(name: str, electrons: int) -> None:
    """Γ with half of the G vectors, k points, and noncollinear spin; pp.x prints five digits."""
    ours, cube = chgdb.read(ESPRESSO / f"{name}.save" / NAMES[name]), chgdb.read(ESPRESSO / f"{name}.cube.gz")
    assert ours.grid == cube.grid
    assert ours.n_electrons == pytest.approx(electrons, abs=1e-9)
    np.testing.assert_allclose(ours.total, cube.total, rtol=6e-5)
    np.testing.assert_allclose(ours.crystal.cell, cube.crystal.cell, atol=1e-5)
    apart = ours.crystal.positions - cube.crystal.positions
    np.testing.assert_allclose(apart, np.rint(apart), atol=1e-5)


def test_spin() -> None:
    collinear = chgdb.read(ESPRESSO / "h.save/charge-density.dat")
    pp = chgdb.read(ESPRESSO / "h_magnetization.cube.gz")
    np.testing.assert_allclose(collinear.channels["magnetization"], pp.total, rtol=6e-5)
    vector = chgdb.read(ESPRESSO / "hnc.save/charge-density.dat.gz")
    moments = [vector.channels[f"magnetization_{axis}"].mean() * vector.crystal.volume for axis in "xyz"]
    polar, azimuth = np.radians(60), np.radians(30)
    along = [np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)]
    np.testing.assert_allclose(moments, along, atol=1e-3)  # fully polarised, along the angles of the input


@pytest.mark.parametrize("name", list(NAMES))
def test_hdf5_is_the_same(name: str, tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    source = next((ESPRESSO / f"{name}.save").glob("*.xml*"))
    shutil.copy(source, tmp_path / source.name)
    espresso_hdf5(tmp_path / "charge-density.hdf5", dat(name))
    ours, other = (
        chgdb.read(tmp_path / "charge-density.hdf5"),
        chgdb.read(ESPRESSO / f"{name}.save" / NAMES[name]),
    )
    assert list(ours.channels) == list(other.channels)
    for channel, values in other.channels.items():
        np.testing.assert_array_equal(ours.channels[channel], values)
    assert ours.crystal == other.crystal


def test_the_folder_names_the_material() -> None:
    assert ids_of(["runs/si.save/charge-density.dat", "runs/h.save/charge-density.hdf5"]) == ["si", "h"]


def test_a_folder_is_built(tmp_path: Path) -> None:
    report = chgdb.build(tmp_path / "s.zarr", ESPRESSO, workers=1, prior=None)
    added = {material for material in report.added if not material.startswith("h_")}
    assert {"si", "h", "hnc"} <= {material.split(".")[0] for material in added}
    assert not report.refused


def test_what_lies_beside(folder: Path) -> None:
    (folder / "data-file-schema.xml").rename(folder / "elsewhere.xml")
    with pytest.raises(FormatError, match=r"they are in data-file-schema.xml, which is not beside it: keep both"):
        chgdb.read(folder / "charge-density.dat")
    text = (folder / "elsewhere.xml").read_text()
    for old, new, message in (
        ("<a1>5.0", "<a1>5.1", "are of two calculations"),
        ('nr3="12"', 'nr3="5"', "a Miller index lies outside the grid 9x9x5"),
        ('nr3="12"', 'nr3="60000"', "does not go with"),
        ('name="H" index', 'name="Qq" index', "'Qq' names no element"),
        ("<fft_grid", "<grid", "cannot be used"),
        ("<?xml", '<!DOCTYPE x [<!ENTITY a "b">]><?xml', "a document type"),
    ):
        assert old in text
        (folder / "data-file-schema.xml").write_text(text.replace(old, new))
        with pytest.raises(FormatError, match=message):
            chgdb.read(folder / "charge-density.dat")


def test_the_folder_itself(folder: Path) -> None:
    with pytest.raises(FormatError, match=r"is a folder; name a file in it, such as .*/h\.save/charge-density\.dat$"):
        chgdb.read(folder)


def test_damage(folder: Path) -> None:
    data = (folder / "charge-density.dat").read_bytes()
    for damaged, message in (
        (data[:-1], "ends inside a record"), (data[:100], "expected a record"), (data + b"x", "something follows"),
        (data[:16] + b"\0\0\0\0" + data[20:], "."), (data[:8] + b"\x07\x00\x00\x00" + data[12:], "expected a record"),
    ):  # fmt: skip
        (folder / "charge-density.dat").write_bytes(damaged)
        with pytest.raises(FormatError, match=message):
            chgdb.read(folder / "charge-density.dat")
