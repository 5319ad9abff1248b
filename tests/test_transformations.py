"""Other cells of the same crystal: values at points, electron counts, atoms and symmetry stay."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import chgdb
from chgdb import Crystal, Density, cells, symmetry
from chgdb.augmentation import to_arrays
from chgdb.density import CHANNELS, ScalarField
from chgdb.errors import DensityError
from chgdb.profiles import values_at
from chgdb.transformations import Basis, rotation_about

VASP = Path(__file__).resolve().parents[2] / "shared" / "vasp"
#: A magnet, face-centred, layered and hexagonal, triclinic.
MATERIALS = ["mp-13", "mp-2534", "mp-48", "mp-625521"]
TRICLINIC = {"mp-625521"}
POINTS = np.random.default_rng(3).normal(size=(40, 3)) * 6  # Å


def at_points(density: Density, channel: str = "total") -> np.ndarray:
    return values_at(density, POINTS @ np.linalg.inv(density.crystal.cell), channel=channel)


def density_of(numbers: list[int], grid: tuple[int, int, int], cell: np.ndarray, channels: int = 1) -> Density:
    """Every Fourier coefficient of the grid is there, Nyquist frequencies too."""
    rng = np.random.default_rng(sum(grid))
    crystal = Crystal(cell, rng.random((len(numbers), 3)), numbers)
    return Density(crystal, {name: rng.normal(size=grid) for name in CHANNELS[channels]})


OBLIQUE = np.array([[4.0, 0.1, 0.0], [1.0, 3.0, 0.2], [0.5, 0.25, 5.0]])
SKEW = [[2, 0, 1], [-1, 1, 0], [0, 3, 1]]


@pytest.mark.parametrize("grid", [(6, 8, 10), (5, 7, 9), (6, 7, 4), (1, 2, 3)])
@pytest.mark.parametrize("matrix", [2, (1, 2, 3), SKEW, [[0, 1, 0], [1, 0, 0], [0, 0, -1]]])
def test_values_at_points_stay(grid: tuple[int, int, int], matrix: object) -> None:
    density = density_of([8, 1, 1], grid, OBLIQUE, 2)
    large = density.supercell(matrix)
    for channel in density.channels:
        np.testing.assert_allclose(at_points(large, channel), at_points(density, channel), atol=1e-12)
    size = large.crystal.volume / density.crystal.volume
    assert abs(large.n_electrons - size * density.n_electrons) < 1e-9 * abs(density.n_electrons)
    assert len(large.crystal) == round(size) * 3
    back = large.transformed(np.linalg.inv(Basis.parse(matrix).matrix), grid=grid)
    np.testing.assert_allclose(back.crystal.cell, density.crystal.cell, atol=1e-12)
    np.testing.assert_allclose(back.crystal.positions, density.crystal.positions, atol=1e-12)
    np.testing.assert_array_equal(back.crystal.numbers, density.crystal.numbers)
    for name, values in density.channels.items():
        np.testing.assert_allclose(back.channels[name], values, atol=1e-12)


def test_repeats_are_the_values_themselves() -> None:
    density = density_of([8, 1], (6, 7, 4), OBLIQUE)
    assert np.array_equal(density.supercell((2, 1, 3)).total, np.tile(density.total, (2, 1, 3)))
    assert density.supercell(1) is density
    assert density.supercell((2, 1, 3)).primitive().grid == density.grid


@pytest.mark.parametrize("material", MATERIALS)
@pytest.mark.parametrize("cell", ["primitive", "conventional", "niggli", "orthogonal"])
def test_cells_of_the_catalog(material: str, cell: str) -> None:
    density = chgdb.open()[material].density
    if cell == "orthogonal" and material in TRICLINIC:
        with pytest.raises(DensityError, match="right angles"):
            density.orthogonal()
        return
    found = getattr(density, cell)()
    np.testing.assert_allclose(at_points(found), at_points(density), atol=1e-9)
    size = found.crystal.volume / density.crystal.volume
    assert abs(found.n_electrons / size - density.n_electrons) < 1e-9
    assert symmetry.number(found.crystal, 0.01) == symmetry.number(density.crystal, 0.01)
    again = found.primitive()
    assert len(again.crystal) <= len(density.crystal)
    np.testing.assert_allclose(at_points(again), at_points(density), atol=1e-9)
    if cell == "orthogonal":
        cosines = found.crystal.cell @ found.crystal.cell.T
        assert np.abs(cosines - np.diag(np.diag(cosines))).max() < 0.05


@pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning")
@pytest.mark.parametrize("material", ["mp-149", "mp-48", "mp-33024"])
def test_cells_are_those_of_spglib_not_turned(material: str) -> None:
    import spglib

    density = chgdb.open()[material].density.supercell([[1, 0, 1], [0, 1, 0], [-1, 0, 1]])
    crystal = density.crystal
    given = (crystal.cell, crystal.positions, crystal.numbers)
    for primitive in (True, False):
        expected, _, numbers = spglib.standardize_cell(given, to_primitive=primitive, no_idealize=True, symprec=0.01)
        found = cells.basis(crystal, "primitive" if primitive else "conventional")
        np.testing.assert_allclose(found.matrix @ crystal.cell, expected, atol=1e-3)
        assert round(found.size * len(crystal)) == len(numbers)


def test_a_supercell_is_that_of_pymatgen() -> None:
    core = pytest.importorskip("pymatgen.core", reason="needs pymatgen: pip install 'chgdb[interop]'")
    density = density_of([8, 1, 1], (4, 4, 4), OBLIQUE)
    expected = density.crystal.to_pymatgen().make_supercell(SKEW, in_place=False)
    found = density.supercell(SKEW).crystal.to_pymatgen()
    np.testing.assert_allclose(found.lattice.matrix, expected.lattice.matrix, atol=1e-12)
    assert isinstance(found, core.Structure)
    for site in expected:
        near = found.get_sites_in_sphere(site.coords, 1e-6)
        assert [neighbour.specie for neighbour in near] == [site.specie]


def test_values_are_those_of_pyrho() -> None:
    pgrid = pytest.importorskip("pyrho.pgrid", reason="needs mp-pyrho: pip install mp-pyrho")
    density = chgdb.open()["mp-149"].density
    found = density.conventional()
    matrix = Basis.parse(found.crystal.cell @ np.linalg.inv(density.crystal.cell)).whole
    grid = pgrid.PGrid(density.total, density.crystal.cell)
    theirs = grid.get_transformed(matrix, list(found.grid), up_sample=4)
    np.testing.assert_allclose(theirs.lattice, found.crystal.cell)
    np.testing.assert_allclose(theirs.grid_data, found.total, atol=1e-9)


def test_an_antiferromagnet_keeps_its_cell() -> None:
    one = chgdb.open()["mp-13"].density.supercell(1)
    two = one.supercell((1, 1, 4))
    nz = two.grid[2]
    half = np.where(np.arange(nz) < nz // 2, 1.0, -1.0)
    sign = np.where(np.arange(nz) // one.grid[2] % 2, -1.0, 1.0)
    total = two.total

    def repeats(magnetization: np.ndarray) -> int:
        found = Density(two.crystal, {"total": total, "magnetization": magnetization}).primitive()
        np.testing.assert_allclose(at_points(found), at_points(two), atol=1e-9)
        return round(found.crystal.volume / one.crystal.volume)

    assert repeats(0.3 * total * sign) == 2
    assert repeats(0.3 * total * half) == 4
    assert repeats(1e-6 * total * half) == 1
    with pytest.raises(DensityError, match="the magnetization does not repeat"):
        Density(two.crystal, {"total": total, "magnetization": 0.3 * total * half}).transformed((1, 1, 0.25))


def test_a_density_that_does_not_repeat_is_refused() -> None:
    density = density_of([8, 8], (6, 6, 6), OBLIQUE)
    alike = replace(density, crystal=Crystal(OBLIQUE, [[0, 0, 0], [0.5, 0, 0]], [8, 8]))
    with pytest.raises(DensityError, match=r"the density does not repeat with .*: \d+ % of it would be lost"):
        alike.transformed((0.5, 1, 1))
    assert alike.primitive().grid == density.grid
    assert alike.transformed((0.5, 1, 1), tolerance=10).n_electrons == pytest.approx(density.n_electrons / 2, abs=1e-9)
    flat = replace(density, channels={"total": np.ones((6, 6, 6))})
    with pytest.raises(DensityError, match="the atoms do not repeat"):
        flat.transformed((0.5, 1, 1))


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        ([[1, 0, 0], [2, 0, 0], [0, 0, 1]], "singular"),
        (0, "singular"),
        ([1, 2], "is no cell"),
        ("2x2x2", "is no cell"),
        (np.nan, "is no cell"),
        (np.pi, "fractions of the old ones"),
        (1e9, "beyond a million"),
        (3000, "takes .* GB to work on"),
        ([[9, 0, 1], [0, 900, 0], [0, 0, 900]], "takes .* GB to work on"),
    ],
)
def test_no_cells(matrix: object, words: str) -> None:
    with pytest.raises(DensityError, match=words) as caught:
        density_of([8], (16, 16, 16), OBLIQUE).transformed(matrix)
    assert "\n" not in str(caught.value)


def test_no_supercells_and_no_symmetry() -> None:
    density = density_of([8], (4, 4, 4), OBLIQUE)
    with pytest.raises(DensityError, match="expected whole numbers"):
        density.supercell(0.5)
    with pytest.raises(DensityError, match="atoms are too many"):
        density.transformed([[400, 1, 0], [0, 400, 0], [0, 0, 400]], grid=(8, 8, 8))
    with pytest.raises(DensityError, match="there are no atoms"):
        replace(density, crystal=Crystal(OBLIQUE, np.zeros((0, 3)), [])).primitive()
    with pytest.raises(DensityError, match="right angles"):
        density.orthogonal()
    with pytest.raises(DensityError, match="'cubic' is no cell"):
        cells.basis(density.crystal, "cubic")
    on_top = replace(density, crystal=Crystal(OBLIQUE, [[0, 0, 0], [0, 0, 0]], [8, 8]))
    with pytest.raises(DensityError, match="on top of each other"):
        on_top.conventional()


def test_the_smallest_orthogonal_cells() -> None:
    hexagonal = np.array([[3.0, 0, 0], [-1.5, 1.5 * np.sqrt(3), 0], [0, 0, 5]])
    assert cells.orthogonal(hexagonal).size == 2
    assert cells.orthogonal(np.diag([3.0, 4, 5])).is_identity
    fcc = np.array([[0.0, 2, 2], [2, 0, 2], [2, 2, 0]])
    assert cells.orthogonal(fcc).size == 2
    assert np.linalg.det(cells.orthogonal(fcc).matrix @ fcc) > 0


def test_rotations_turn_vectors_with_the_crystal() -> None:
    density = density_of([8, 1], (4, 5, 6), OBLIQUE, 4)
    turn = rotation_about([1, 2, 3], 40)
    turned = density.rotated(turn)
    np.testing.assert_allclose(turned.magnetization, np.einsum("ij,jxyz->ixyz", turn, density.magnetization))
    np.testing.assert_allclose(turned.magnetization_norm, density.magnetization_norm)
    moved = values_at(turned, POINTS @ turn.T @ np.linalg.inv(turned.crystal.cell), channel="magnetization_z")
    expected = sum(turn[2, i] * at_points(density, f"magnetization_{axis}") for i, axis in enumerate("xyz"))
    np.testing.assert_allclose(moved, expected, atol=1e-12)
    back = turned.rotated(turn.T)
    np.testing.assert_allclose(back.crystal.cell, OBLIQUE, atol=1e-12)
    np.testing.assert_allclose(back.magnetization, density.magnetization, atol=1e-12)
    aligned = density.aligned().crystal.cell
    np.testing.assert_allclose(aligned[[0, 0, 1], [1, 2, 2]], 0, atol=1e-12)
    np.testing.assert_allclose(aligned @ aligned.T, OBLIQUE @ OBLIQUE.T, atol=1e-12)
    for wrong in (-np.eye(3), 2 * np.eye(3), [[1, 0]], "z"):
        with pytest.raises(DensityError):
            density.rotated(wrong)


def test_shifts() -> None:
    density = density_of([8, 1], (5, 7, 9), OBLIQUE)
    moved = density.shifted((0.1, -0.3, 0.77))
    offset = np.array([0.1, -0.3, 0.77])
    fractions = POINTS @ np.linalg.inv(OBLIQUE)
    np.testing.assert_allclose(values_at(moved, fractions + offset), values_at(density, fractions), atol=1e-12)
    np.testing.assert_allclose(moved.crystal.positions, density.crystal.positions + offset)
    with pytest.raises(DensityError, match="is not a shift"):
        density.shifted((1, 2))  # type: ignore[arg-type]


def test_a_difference_stays_one() -> None:
    density = density_of([8, 1], (4, 4, 4), OBLIQUE)
    difference = (density - 0.5 * density).supercell(SKEW)
    assert isinstance(difference, ScalarField)
    assert difference.quantity == "density difference"


@pytest.mark.parametrize("name", ["LiH_spin", "GaAs_noncollinear", "Si8_strained_spin"])
def test_what_belongs_to_atoms_goes_with_them(name: str, tmp_path: Path) -> None:
    path = VASP / f"{name}.CHGCAR.gz"
    if not path.exists():
        pytest.skip("needs the VASP files of ../shared")
    density = chgdb.read(path).resample((6, 6, 6))
    twice = density.supercell((2, 1, 1))
    chgdb.write(tmp_path / "CHGCAR", twice)
    again = chgdb.read(tmp_path / "CHGCAR")
    assert again.extras == twice.extras
    assert again.crystal == twice.crystal
    assert sum(count for _, count in twice.extras["species"]) == len(twice.crystal)
    before, after = density.extras["after"], twice.extras["after"]
    assert set(before) == set(after)
    for channel in before:
        occupancies, double = (to_arrays(texts[channel]) for texts in (before, after))
        for ion in range(len(twice.crystal)):
            np.testing.assert_array_equal(double[ion + 1], occupancies[ion // 2 + 1])
    assert twice.transformed((0.5, 1, 1)).extras == density.extras
    assert "after" not in density.rotated(rotation_about([0, 0, 1], 90)).extras


def test_noise_is_no_reason_for_a_finer_grid() -> None:
    density = chgdb.open()["mp-149"].density
    printed = replace(density, channels={"total": np.round(density.total, 11)})
    assert printed.conventional().grid == density.conventional().grid == (48, 48, 48)
