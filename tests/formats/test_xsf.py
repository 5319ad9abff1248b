"""XSF: files of pp.x, of ASE and of the page of `chgdb web`; what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import chgdb
from chgdb import Crystal, Density
from chgdb.density import ScalarField
from chgdb.errors import FormatError
from chgdb.formats import read_any, read_structure
from chgdb.formats.cube import BOHR
from chgdb.testing import densities

DATA = Path(__file__).resolve().parents[1] / "data/quantum-espresso"
PLAIN, SKEW, SPIN = densities()


def text_of(tmp_path: Path, density: Density = SKEW) -> str:
    chgdb.write(tmp_path / "text.xsf", density)
    return (tmp_path / "text.xsf").read_text()


def read_text(tmp_path: Path, text: str) -> Density:
    (tmp_path / "x.xsf").write_text(text)
    return chgdb.read(tmp_path / "x.xsf")


@pytest.mark.parametrize(("name", "electrons"), [("si", 8), ("h", 1)])
def test_what_pp_writes(name: str, electrons: int) -> None:
    """pp.x writes the same density as XSF and as cube, to six and five digits."""
    ours, cube = chgdb.read(DATA / f"{name}.xsf.gz"), chgdb.read(DATA / f"{name}.cube.gz")
    assert ours.grid == cube.grid
    assert ours.n_electrons == pytest.approx(electrons, abs=1e-5)
    np.testing.assert_allclose(ours.total, cube.total, rtol=6e-5)
    np.testing.assert_allclose(ours.crystal.cell, cube.crystal.cell, atol=1e-5)
    apart = ours.crystal.positions - cube.crystal.positions  # the cube has the first atom in another cell
    np.testing.assert_allclose(apart, np.rint(apart), atol=1e-5)
    assert ours.crystal.numbers.tolist() == cube.crystal.numbers.tolist()


def test_a_grid_repeats_its_first_points(tmp_path: Path) -> None:
    lines = text_of(tmp_path).splitlines()
    begin = next(i for i, line in enumerate(lines) if line.startswith("BEGIN_DATAGRID_3D"))
    values = np.array(" ".join(lines[begin + 6 : -2]).split(), float).reshape(21, 19, 17).transpose(2, 1, 0)
    assert lines[begin + 1] == "17 19 21"
    np.testing.assert_allclose(values[:-1, :-1, :-1], SKEW.total, rtol=1e-10)
    for axis in range(3):
        np.testing.assert_array_equal(values.take(0, axis), values.take(-1, axis))


def test_channels_and_signs_come_back(tmp_path: Path) -> None:
    chgdb.write(tmp_path / "spin.xsf.gz", SPIN)
    assert list(chgdb.read(tmp_path / "spin.xsf.gz").channels) == ["total", "magnetization"]
    chgdb.write(tmp_path / "diff.xsf", PLAIN - 2 * PLAIN)
    again = chgdb.read(tmp_path / "diff.xsf")
    assert isinstance(again, ScalarField)
    assert again.quantity == "density difference"
    np.testing.assert_allclose(again.total, -PLAIN.total, rtol=1e-10)


def test_ase_reads_what_we_write_and_we_what_ase_writes(tmp_path: Path) -> None:
    xsf = pytest.importorskip("ase.io.xsf")
    chgdb.write(tmp_path / "ours.xsf", SKEW)
    with open(tmp_path / "ours.xsf") as file:
        values, origin, span, atoms = xsf.read_xsf(file, read_data=True)
    np.testing.assert_allclose(values[:-1, :-1, :-1], SKEW.total, rtol=1e-10)
    np.testing.assert_allclose([*span, *atoms.cell], [*SKEW.crystal.cell] * 2, atol=1e-12)
    np.testing.assert_allclose(atoms.get_scaled_positions(), SKEW.crystal.positions, atol=1e-12)
    assert not origin.any()
    dense = 40 * SKEW.total  # ASE has six decimals
    with open(tmp_path / "theirs.xsf", "w") as file:
        file.write("# e/A^3\n")
        xsf.write_xsf(file, [SKEW.crystal.to_ase()], dense)
    again = chgdb.read(tmp_path / "theirs.xsf")
    np.testing.assert_allclose(again.total, dense, atol=1e-6)
    np.testing.assert_allclose(again.crystal.cell, SKEW.crystal.cell, atol=1e-5)


def test_the_layout_of_the_page(tmp_path: Path) -> None:
    """As `chgdb web` hands it out: no comments, two grids in a block whose name has the unit."""
    rows = "4 0 0\n0 4 0\n0 0 4\n"

    def grid(name: str, values: str) -> str:
        return f"BEGIN_DATAGRID_3D_{name}\n3 2 2\n0.0 0.0 0.0\n{rows}{values}\nEND_DATAGRID_3D\n"

    total, moment = "1 2 1 1 2 1 1 2 1 1 2 1", ".5 0 .5 .5 0 .5 .5 0 .5 .5 0 .5"
    head = f"CRYSTAL\nPRIMVEC\n{rows}PRIMCOORD\n1 1\n26 1.0 0 0\nBEGIN_BLOCK_DATAGRID_3D\n"
    text = head + "density_in_e_per_cubic_angstrom\n" + grid("total", total) + grid("magnetization", moment)
    density = read_text(tmp_path, text + "END_BLOCK_DATAGRID_3D\n")
    assert density.total.ravel().tolist() == [1, 2]
    assert density.channels["magnetization"].ravel().tolist() == [0.5, 0]
    assert density.crystal.positions.tolist() == [[0.25, 0, 0]]


def test_units_by_comment_and_by_the_atoms(tmp_path: Path) -> None:
    dense = (60 * BOHR**3 / SKEW.n_electrons) * SKEW  # 60 electrons, where its values are taken as per bohr^3
    text = text_of(tmp_path, dense)
    bare = text.split("\n", 2)[2].replace("density_in_e_per_cubic_angstrom", "3D_PWSCF")
    density = read_text(tmp_path, bare.replace("Si", "U ", 1))  # enough electrons for the larger unit
    np.testing.assert_allclose(density.total, dense.total / BOHR**3, rtol=1e-9)
    with pytest.raises(FormatError, match=r"it has .* electrons in e/bohr\^3, the unit of XSF files, and its atoms 22"):
        read_text(tmp_path, bare)
    np.testing.assert_allclose(read_text(tmp_path, "# e/Å^3\n" + bare).total, dense.total, rtol=1e-9)


def test_origin_supercell_and_box(tmp_path: Path) -> None:
    text = text_of(tmp_path)
    moved = read_text(tmp_path, text.replace("0.0 0.0 0.0\n", "0.5 0.0 0.0\n"))
    shift = (SKEW.crystal.positions - moved.crystal.positions) @ SKEW.crystal.cell
    np.testing.assert_allclose(shift, [[0.5, 0, 0]] * 2, atol=1e-9)
    primitive = Crystal(PLAIN.crystal.cell * [[1], [0.5], [1]], [[0.1, 0.2, 0.3]], [11])
    half = text_of(tmp_path, replace(PLAIN, crystal=primitive))
    rows = "".join("".join(f" {x:19.14f}" for x in row) + "\n" for row in PLAIN.crystal.cell)
    head, grid = half.split("0.0 0.0 0.0\n")
    double = read_text(tmp_path, head + "0.0 0.0 0.0\n" + rows + grid.split("\n", 3)[3])
    assert double.crystal.volume == pytest.approx(PLAIN.crystal.volume)
    np.testing.assert_allclose(sorted(double.crystal.positions.tolist()), [[0.1, 0.1, 0.3], [0.1, 0.6, 0.3]], atol=1e-9)
    molecule = "ATOMS\n1 0 0 0\n1 0 0 0.74\nBEGIN_BLOCK_DATAGRID_3D\nrho\nDATAGRID_3D_rho\n2 2 2\n-1 -1 -1\n"
    molecule += "2 0 0\n0 2 0\n0 0 3\n.001 .002 .001 .001 .001 .001 .001 .001\nEND_DATAGRID_3D\nEND_BLOCK_DATAGRID_3D\n"
    box = read_text(tmp_path, molecule)
    np.testing.assert_allclose(np.diag(box.crystal.cell), [4, 4, 6])
    np.testing.assert_allclose(box.crystal.positions[1], [0.25, 0.25, 1.74 / 6])


def test_a_structure_alone(tmp_path: Path) -> None:
    (tmp_path / "Si.xsf").write_text("# by hand\nCRYSTAL\nPRIMVEC\n5 0 0\n0 5 0\n0 0 5\nPRIMCOORD\n1 1\nSi 1 2 3\n")
    for found in (read_any(tmp_path / "Si.xsf"), read_structure(tmp_path / "Si.xsf")):
        assert isinstance(found, Crystal)
        np.testing.assert_allclose(found.positions, [[0.2, 0.4, 0.6]])
    with pytest.raises(FormatError, match="holds a structure and no density"):
        chgdb.read(tmp_path / "Si.xsf")


BLOCK = "density_in_e_per_cubic_angstrom"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("END_DATAGRID_3D\n", "0.5\nEND_DATAGRID_3D\n", "expected END_DATAGRID_3D, found '0.5'"),
        ("END_BLOCK_DATAGRID_3D\n", "", "ends inside a block of grids"),
        (BLOCK, "electron localization function", "holds a localisation function"),
        ("17 19 21\n", "17 19\n", "expected the points along each spanning vector"),
        ("17 19 21\n", "17 19 1\n", "a grid of 17x19x1 points spans no cell"),
        ("17 19 21\n", "21 19 17\n", "do not repeat those on the near ones"),
        ("CRYSTAL\n", "ANIMSTEPS 4\nCRYSTAL\n", "several steps"),
        ("BEGIN_DATAGRID_3D_total", "BEGIN_DATAGRID_3D_spin_density", "holds a spin density"),
        ("Si ", "Qq ", "expected an atom"),
        ("PRIMVEC\n", "PRIMVEC\n1 0 0\n0 1 nan\n", "expected a lattice vector"),
        ("PRIMCOORD", "SECONDCOORD", "expected a keyword of XSF"),
        ("BEGIN_BLOCK_DATAGRID_3D", "BEGIN_BLOCK_DATAGRID_2D", "which is a plane"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = text_of(tmp_path)
    assert old in text
    with pytest.raises(FormatError, match=message):
        read_text(tmp_path, text.replace(old, new))


def test_other_regions_and_several_grids(tmp_path: Path) -> None:
    text = text_of(tmp_path)
    head, grid = text.split("0.0 0.0 0.0\n")
    with pytest.raises(FormatError, match="covers another region than the cell"):
        read_text(tmp_path, head + "0.0 0.0 0.0\n2 0 0\n0 2 0\n0 0 2\n" + grid.split("\n", 3)[3])
    block = "BEGIN_DATAGRID_3D_total" + text.partition("BEGIN_DATAGRID_3D_total")[2].removesuffix(
        "END_BLOCK_DATAGRID_3D\n"
    )
    with pytest.raises(FormatError, match=r"2 grids \(total, total\); a density has one"):
        read_text(tmp_path, text.replace("END_BLOCK", block + "END_BLOCK"))
