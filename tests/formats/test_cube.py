"""Gaussian cube files, with ASE as the oracle."""

from __future__ import annotations

import numpy as np
import pytest

import chgdb
from chgdb import Crystal, Density
from chgdb.errors import ChgdbError, FormatError
from chgdb.formats import left_out
from chgdb.formats.cube import BOHR


@pytest.fixture
def density() -> Density:
    rng = np.random.default_rng(0)
    crystal = Crystal(rng.normal(size=(3, 3)) + 4 * np.eye(3), rng.random((3, 3)), [8, 1, 1])
    return Density(crystal, {"total": rng.normal(size=(5, 6, 7)) * 10.0 ** rng.integers(-8, 3, (5, 6, 7))})


@pytest.mark.parametrize("nz", [1, 5, 6, 7, 12, 13])
def test_there_and_back(tmp_path, density, nz):
    density = Density(density.crystal, {"total": np.random.default_rng(nz).normal(size=(3, 4, nz))})
    chgdb.write(tmp_path / "x.cube", density)
    again = chgdb.read(tmp_path / "x.cube")
    assert np.allclose(again.total, density.total, rtol=1e-10, atol=0)
    assert np.allclose(again.crystal.cell, density.crystal.cell, rtol=0, atol=1e-12)
    assert np.allclose(again.crystal.positions, density.crystal.positions, rtol=0, atol=1e-12)
    assert again.crystal.numbers.tolist() == [8, 1, 1]
    assert again.n_electrons == pytest.approx(density.n_electrons, rel=1e-9)
    lines = (tmp_path / "x.cube").read_text().splitlines()[9:]
    assert len(lines) == 3 * 4 * -(-nz // 6)  # each row along z begins a new line


def test_ase_reads_what_we_write(tmp_path, density):
    ase_cube = pytest.importorskip("ase.io.cube")
    chgdb.write(tmp_path / "x.cube", density)
    with open(tmp_path / "x.cube") as file:
        theirs = ase_cube.read_cube(file)
    assert np.allclose(theirs["data"] / BOHR**3, density.total, rtol=1e-10, atol=0)
    assert np.allclose(theirs["atoms"].cell[:], density.crystal.cell, rtol=2e-9, atol=0)  # older CODATA bohr
    assert np.allclose(theirs["atoms"].get_scaled_positions(wrap=False), density.crystal.positions, atol=1e-9)
    assert theirs["atoms"].numbers.tolist() == [8, 1, 1]


def test_we_read_what_ase_writes(tmp_path, density):
    ase_cube = pytest.importorskip("ase.io.cube")
    with open(tmp_path / "x.cube", "w") as file:
        ase_cube.write_cube(file, density.crystal.to_ase(), density.total * BOHR**3)
    ours = chgdb.read(tmp_path / "x.cube")
    assert np.allclose(ours.total, density.total, rtol=1e-6, atol=0)
    assert np.allclose(ours.crystal.cell, density.crystal.cell, rtol=0, atol=1e-5)
    assert np.allclose(ours.crystal.positions, density.crystal.positions, rtol=0, atol=1e-5)


CUBE = """\
Water
Total density
    1    0.100000    0.200000    0.300000
    2    1.000000    0.000000    0.000000
    2    0.000000    2.000000    0.000000
    3    0.000000    0.000000    3.000000
    8    8.000000    1.100000    0.200000    4.800000
  1.00000E+00  2.00000E+00  3.00000E+00
  4.00000E+00  5.00000E+00  6.00000E+00
  7.00000E+00  8.00000E+00  9.00000E+00
 -1.00000E+00 -2.00000E+00 -3.00000E+00
"""


def read_text(tmp_path, text):
    (tmp_path / "x.cube").write_text(text)
    return chgdb.read(tmp_path / "x.cube")


def test_origin_and_order(tmp_path):
    density = read_text(tmp_path, CUBE)
    assert np.allclose(density.crystal.cell, np.diag([2, 4, 9]) * BOHR)
    assert np.allclose(density.crystal.positions, [[0.5, 0, 0.5]])
    assert density.total[0, 1, 2] == 6.0 / BOHR**3
    assert density.total[1, 1, 0] == -1.0 / BOHR**3


def test_negative_voxel_numbers_mean_angstrom(tmp_path):
    text = CUBE
    for line in ("    2    1.0", "    2    0.0", "    3    0.0"):
        text = text.replace(line, line.replace("   2", "  -2").replace("   3", "  -3"))
    density = read_text(tmp_path, text)
    assert density.grid == (2, 2, 3)
    assert np.allclose(density.crystal.cell, np.diag([2, 4, 9]))
    assert np.allclose(density.crystal.positions, [[0.5, 0, 0.5]])


def test_negative_number_of_atoms_announces_data_sets(tmp_path):
    text = CUBE.replace("    1    0.1", "   -1    0.1")
    line = "    8    8.000000    1.100000    0.200000    4.800000\n"
    assert read_text(tmp_path, text.replace(line, line + "    1    1\n")).total[0, 0, 0] == 1.0 / BOHR**3
    with pytest.raises(FormatError, match="line 8: 2 molecular orbital"):
        read_text(tmp_path, text.replace(line, line + "    2   17   18\n"))
    with pytest.raises(FormatError, match="line 8: 1 molecular orbital"):
        read_text(tmp_path, text.replace(line, line + "    1   17\n").replace("Total density", "of a run"))


def test_one_channel(tmp_path, density):
    """A cube has one field: the total, unless another is asked for, which is not read back as a total density."""
    spin = Density(density.crystal, {"total": density.total, "magnetization": -density.total / 3})
    assert left_out("x.cube", spin) == ["magnetization"]
    assert left_out("CHGCAR", spin) == left_out("x.cube", density) == []
    chgdb.write(tmp_path / "x.cube", spin)
    assert np.allclose(chgdb.read(tmp_path / "x.cube").total, density.total, rtol=1e-10)
    chgdb.write(tmp_path / "m.cube", spin, channel="magnetization")
    lines = (tmp_path / "m.cube").read_text().splitlines()
    assert "Magnetization density, mu_B/bohr^3" in lines[1]
    values = [float(token) for line in lines[9:] for token in line.split()]
    assert np.allclose(np.reshape(values, density.grid) / BOHR**3, -density.total / 3, rtol=1e-10)
    with pytest.raises(FormatError, match="holds a spin density"):
        chgdb.read(tmp_path / "m.cube")
    with pytest.raises(FormatError, match="holds all channels"):
        chgdb.write(tmp_path / "CHGCAR", spin, channel="magnetization")
    with pytest.raises(FormatError, match="no channel 'magnetization_x'; total, magnetization"):
        chgdb.write(tmp_path / "n.cube", spin, channel="magnetization_x")
    assert not (tmp_path / "n.cube").exists()


def test_columns_that_run_together(tmp_path):
    """Gaussian's I5,3F12.6 leaves no blank before -1000 and below."""
    text = CUBE.replace("    1    0.100000    0.200000    0.300000", "    1-1000.900000-2000.800000-3000.700000")
    text = text.replace("    1.100000    0.200000    4.800000", "-1000.400000-2000.800000-2996.200000")
    assert " 8.000000-1000.400000-2000.8" in text
    density = read_text(tmp_path, text)
    assert np.allclose(density.crystal.positions, [[0.25, 0, 0.5]])
    (tmp_path / "other").write_text(text)
    assert chgdb.read(tmp_path / "other").crystal == density.crystal


BAD = {
    "empty": ("", "line 1: "),
    "values at each point": (CUBE.replace("0.300000\n", "0.300000    2\n", 1), "line 3: 2 values at each point"),
    "no atoms line": (CUBE.replace("    1    0.1", "    x    0.1"), "line 3: expected the number of atoms"),
    "grid of zero": (CUBE.replace("    3    0.000", "    0    0.000"), "has no points"),
    "large grid": (CUBE.replace("    3    0.000", "99999    0.000"), "line 7: the grid has 399996 points, but only"),
    "zero volume": (CUBE.replace("3.000000", "0.000000"), "volume"),
    "more atoms": (CUBE.replace("    1    0.1", "    2    0.1"), "line 8: expected an atom"),
    "unknown atom": (CUBE.replace("    8    8.0", "  888    8.0"), "atomic numbers"),
    "letters": (CUBE.replace("5.00000E+00", "5.0x000E+00"), "line 9: '5.0x000E.00' is not a finite number"),
    "truncated": (CUBE[: CUBE.index(" -1.0")], "the file ends after 9 of 12 values"),
    "truncated header": (CUBE[:100], "line "),
    "extra values": (CUBE + "  1.0\n", "line 12: more values than the grid has points"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_files(tmp_path, kind):
    text, message = BAD[kind]
    with pytest.raises(FormatError, match=message) as caught:
        read_text(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 'x.cube'}: line ")


def test_truncated_anywhere(tmp_path):
    for size in range(len(CUBE) - 1):
        with pytest.raises(ChgdbError):
            read_text(tmp_path, CUBE[:size])
    assert read_text(tmp_path, CUBE[:-1]).grid == (2, 2, 3)
