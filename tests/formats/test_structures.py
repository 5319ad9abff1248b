"""Structures of files without a density, by our own reader, pymatgen's and ASE's."""

from __future__ import annotations

import gzip
import warnings

import numpy as np
import pytest

from chgdb import ChgdbError, Crystal, Density
from chgdb.errors import FormatError
from chgdb.formats import read_structure, write, write_structure

pytest.importorskip("ase")
pytest.importorskip("pymatgen")

CRYSTAL = Crystal(
    np.array([[3.1, 0.0, 0.0], [0.2, 4.0, 0.0], [0.0, 0.3, 5.0]]),
    [[0.1, 0.2, 0.3], [0.6, 0.7, 0.9], [0.4, 0.0, 0.5]],
    [22, 8, 8],
)


def same(a: Crystal, b: Crystal) -> bool:
    """The same structure, in whatever orientation and order."""
    metric = [crystal.cell @ crystal.cell.T for crystal in (a, b)]
    if not np.allclose(*metric, atol=1e-3) or sorted(a.numbers) != sorted(b.numbers):
        return False
    for number, position in zip(a.numbers, a.positions, strict=True):
        away = b.positions[b.numbers == number] - position
        if np.abs(away - np.rint(away)).max(axis=1).min() > 1e-4:
            return False
    return True


def cell_file(crystal: Crystal) -> str:
    vectors = "\n".join(" ".join(map(str, row)) for row in crystal.cell)
    pairs = zip(crystal.symbols, crystal.positions, strict=True)
    atoms = "\n".join(f"{symbol} {x} {y} {z}" for symbol, (x, y, z) in pairs)
    return (
        f"%BLOCK LATTICE_CART\n{vectors}\n%ENDBLOCK LATTICE_CART\n"
        f"%BLOCK POSITIONS_FRAC\n{atoms}\n%ENDBLOCK POSITIONS_FRAC\n"
    )


@pytest.mark.parametrize(
    "name", ["POSCAR", "a.vasp", "x.cif", "x.xyz", "x.extxyz", "seed.cell", "x.res", "x.xsf", "x.gen", "geometry.in"]
)
def test_every_format_gives_the_structure(name, tmp_path):
    path = tmp_path / name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what the writers of the other packages are about to become
        if path.suffix == ".cif":
            CRYSTAL.to_pymatgen().to(filename=str(path))
        elif path.suffix == ".cell":  # ASE asks for CASTEP before it writes one
            path.write_text(cell_file(CRYSTAL))
        else:
            CRYSTAL.to_ase().write(path, format={"a.vasp": "vasp", "POSCAR": "vasp"}.get(name))
    found = read_structure(path)
    assert isinstance(found, Crystal)
    assert same(found, CRYSTAL)
    packed = tmp_path / f"{name}.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert same(read_structure(packed), CRYSTAL)


@pytest.mark.parametrize("name", ["POSCAR.gz", "x.cif", "x.xyz"])
def test_what_we_write_others_read(name, tmp_path):
    write_structure(tmp_path / name, CRYSTAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if name == "x.cif":
            core = pytest.importorskip("pymatgen.core")
            theirs = [Crystal.from_pymatgen(core.Structure.from_file(tmp_path / name))]
            theirs.append(Crystal.from_ase(pytest.importorskip("ase.io").read(tmp_path / name)))
        else:
            io = pytest.importorskip("ase.io")
            theirs = [Crystal.from_ase(io.read(tmp_path / name, format="vasp" if name == "POSCAR.gz" else "extxyz"))]
    for crystal in [*theirs, read_structure(tmp_path / name)]:
        assert np.allclose(crystal.cell @ crystal.cell.T, CRYSTAL.cell @ CRYSTAL.cell.T, atol=1e-6)
        moved = crystal.positions - CRYSTAL.positions
        assert np.allclose(moved, np.rint(moved), atol=1e-7)
        assert crystal.numbers.tolist() == CRYSTAL.numbers.tolist()


def test_a_structure_under_another_name(tmp_path):
    with pytest.raises(FormatError, match=r"a structure is written as POSCAR, NAME\.cif or NAME\.xyz"):
        write_structure(tmp_path / "x.pdb", CRYSTAL)
    assert not list(tmp_path.iterdir())


def test_a_cif_with_symmetry_is_expanded(tmp_path):
    core = pytest.importorskip("pymatgen.io.cif")
    rutile = Crystal(
        np.diag([4.594, 4.594, 2.959]),
        [[0, 0, 0], [0.5, 0.5, 0.5], [0.305, 0.305, 0], [0.695, 0.695, 0], [0.805, 0.195, 0.5], [0.195, 0.805, 0.5]],
        [22, 22, 8, 8, 8, 8],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pymatgen's use of spglib
        core.CifWriter(rutile.to_pymatgen(), symprec=1e-3).write_file(tmp_path / "rutile.cif")
    assert same(read_structure(tmp_path / "rutile.cif"), rutile)


MOLECULE = "3\nwater\nO 0 0 0\nH 0.76 0.59 0\nH -0.76 0.59 0\n"
ALLOY = """data_x
_cell_length_a 3.6
_cell_length_b 3.6
_cell_length_c 3.6
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Cu1 Cu 0 0 0 0.5
Ni1 Ni 0 0 0 0.5
"""


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("w.xyz", MOLECULE, "no cell"),
        ("w.xyz", MOLECULE.replace("water", 'Lattice="4 0 0 0 4 0 0 0 0"'), "of three lattice vectors"),
        ("w.xyz", "", "the file is empty"),
        ("w.xyz", "three\n", "cannot be read as a structure"),
        ("w.xyz", MOLECULE.replace("0.76", "nan").replace("water", 'Lattice="4 0 0 0 4 0 0 0 4"'), "not finite"),
        ("a.cif", ALLOY, "partially occupied"),
        ("a.cif", "data_x\n", "cannot be read as a structure"),
        ("a.cif", "\0\1\2", "cannot be read as a structure"),
        ("g.gen", "garbage", "cannot be read as a structure"),
    ],
)
def test_what_is_no_structure_is_one_line(name, text, words, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(ChgdbError) as caught:
        read_structure(tmp_path / name)
    assert words in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_vasp_file_with_a_density_keeps_it(tmp_path):
    density = Density(CRYSTAL, {"total": np.ones((4, 5, 6))})
    write(tmp_path / "x.vasp", density, format="chgcar")
    found = read_structure(tmp_path / "x.vasp")
    assert isinstance(found, Density)
    assert found.grid == (4, 5, 6)


def test_a_name_that_is_no_structure_is_left_to_the_densities(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing\n")
    with pytest.raises(ChgdbError):
        read_structure(tmp_path / "notes.txt")
