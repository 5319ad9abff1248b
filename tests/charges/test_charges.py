"""Charges of atoms: sums, symmetry, supercells, and all-electron calculations of the same crystals."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path

import fields
import numpy as np
import pytest

import chgdb
from chgdb import Crystal, Density
from chgdb.charges import METHODS, Charges, bader, free_atoms, lattice, valence, voronoi
from chgdb.charges.dipole import DEBYE, dipole
from chgdb.charges.orbits import Orbits
from chgdb.codecs import decode
from chgdb.density import ScalarField
from chgdb.errors import DensityError
from chgdb.features import atoms as feature_atoms
from chgdb.grids import shifted

DATA = Path(__file__).resolve().parents[1] / "data"
VASP = Path(__file__).resolve().parents[3] / "shared" / "vasp"


@cache
def water() -> Density:
    """A molecule in a box, of the catalog's recipe (PAW-PBE, 400 eV)."""
    return decode((DATA / "H2O.payload").read_bytes())


@cache
def of_catalog(material_id: str, method: str) -> Charges:
    return chgdb.open()[material_id].charges(method)


@pytest.mark.parametrize("seed", range(4))
def test_the_voronoi_cell_of_a_grid(seed: int) -> None:
    steps = np.random.default_rng(seed).normal(size=(3, 3))
    around, weights = lattice.facets(steps)
    lengths = np.linalg.norm(around @ steps, axis=1)
    # The cell is made of pyramids over its facets.
    assert (weights * lengths * lengths).sum() / 6 == pytest.approx(abs(np.linalg.det(steps)))
    assert {tuple(row) for row in around} == {tuple(row) for row in -around}


@pytest.mark.parametrize("seed", range(4))
def test_nearest_images(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cell, points, place = 3 * rng.normal(size=(3, 3)) + np.eye(3), rng.random((10, 3)), rng.random(3)
    shifts = np.array(list(product(range(-20, 21), repeat=3)))
    expected = [(((point - place + shifts) @ cell) ** 2).sum(axis=1).min() for point in points]
    np.testing.assert_allclose(lattice.Nearest.of(cell).squares(points, place), expected, atol=1e-10)


def test_basins_of_gaussians() -> None:
    """Two equal Gaussians part in the middle, whatever the cell; nothing is lost on the way."""
    for kind in ("bcc", "hcp", "triclinic"):
        cell = fields.STRUCTURES[kind].cell * {"bcc": 1.5, "hcp": 1.0, "triclinic": 0.8}[kind]
        crystal = Crystal(cell, [[0.1, 0.2, 0.3], [0.6, 0.7, 0.8]], [14, 14])
        total = fields.density(crystal, (25, 26, 27), width=0.5) + 1e-3
        volume = np.full((total.size, 1), crystal.volume / total.size)
        maxima, sums = bader.flow(total, cell, volume)
        assert sums.sum() == pytest.approx(crystal.volume)
        np.testing.assert_allclose(np.sort(sums[:, 0])[-2:], crystal.volume / 2, rtol=0.01)
        assert len(maxima) == 2


@pytest.mark.parametrize("grid", [(1, 1, 1), (2, 1, 3), (4, 4, 4)])
def test_flat_and_tiny_grids(grid: tuple[int, int, int]) -> None:
    crystal = Crystal(np.eye(3) * 4, [[0, 0, 0], [0.5, 0.5, 0.5]], [3, 3])
    density = Density(crystal, {"total": np.full(grid, 2 / 64)})
    for method in METHODS:
        found = density.charges(method, valence={"Li": 1})
        assert found.electrons.sum() == pytest.approx(2)
        assert found.volume.sum() == pytest.approx(64)


@pytest.mark.parametrize("kind", ["bcc", "triclinic", "quartz"])
def test_voronoi_volumes(kind: str) -> None:
    crystal = fields.STRUCTURES[kind]
    volumes = []
    for n in (12, 24):
        ones = np.full((n**3, 1), crystal.volume / n**3)
        volumes.append(voronoi.integrate(crystal.cell, crystal.positions, None, (n, n, n), ones)[:, 0])
        assert volumes[-1].sum() == pytest.approx(crystal.volume)
    np.testing.assert_allclose(volumes[0], volumes[1], rtol=0.005)


def test_a_voronoi_plane_cuts_voxels_exactly() -> None:
    crystal = Crystal(np.diag([6.0, 3, 3]), [[0.03, 0, 0], [0.51, 0, 0]], [3, 9])
    ones = np.full((10 * 9 * 9, 1), 54 / 810)
    found = voronoi.integrate(crystal.cell, crystal.positions, None, (10, 9, 9), ones)[:, 0]
    np.testing.assert_allclose(found, [27, 27])
    # With radii both planes move by (r1^2 - r2^2) / 2d, d being the distance of the atoms on either side.
    moved = sum((1.3**2 - 1.1**2) / (2 * d) for d in (0.48 * 6, 0.52 * 6)) * 9
    found = voronoi.integrate(crystal.cell, crystal.positions, np.array([1.3, 1.1]), (10, 9, 9), ones)[:, 0]
    np.testing.assert_allclose(found, [27 + moved, 27 - moved])


@pytest.mark.parametrize("material_id", ["mp-22862", "mp-1265", "mp-2534"])
@pytest.mark.parametrize("method", list(METHODS))
def test_charges_add_up(material_id: str, method: str) -> None:
    found = of_catalog(material_id, method)
    density = chgdb.open()[material_id].density
    assert found.electrons.sum() == pytest.approx(density.n_electrons, abs=1e-6)
    assert found.volume.sum() == pytest.approx(density.crystal.volume, rel=1e-9)
    assert found.net.sum() == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize(
    ("material_id", "bader_charge", "hirshfeld_charge"),
    # Cations. Of GPAW's all-electron densities of the same crystals, with two other programs on them in the same run
    # (docs/science/data/charges.json): 0.865, 1.713 and 0.727; Hirshfeld's of the pseudo-density: 0.200, 0.331, 0.133.
    [("mp-22862", 0.865, 0.20), ("mp-1265", 1.69, 0.36), ("mp-2534", 0.71, 0.14)],
)
def test_all_electron_charges(material_id: str, bader_charge: float, hirshfeld_charge: float) -> None:
    assert of_catalog(material_id, "bader").net[0] == pytest.approx(bader_charge, abs=0.04)
    assert of_catalog(material_id, "hirshfeld").net[0] == pytest.approx(hirshfeld_charge, abs=0.03)


def test_water() -> None:
    """Equal hydrogens; Hirshfeld's charge is that of the calculation in docs/science/data/charges.json."""
    shares = water().charges(of_catalog=True)
    assert shares.net[1] == pytest.approx(shares.net[2], abs=1e-3)
    assert shares.net[1] == pytest.approx(0.15, abs=0.02)
    basins = water().charges("bader", of_catalog=True)
    assert basins.net[1] == pytest.approx(basins.net[2], abs=5e-3)
    # The all-electron density has 0.57: hydrogen has no core by which a free atom would tell where its basin ends.
    assert basins.net[1] == pytest.approx(0.65, abs=0.03)
    assert water().charges("bader").net[1] == pytest.approx(basins.net[1], abs=0.1)


@pytest.mark.parametrize("method", list(METHODS))
def test_supercells_and_origins(method: str) -> None:
    density = chgdb.open()["mp-2534"].density
    small = Density(density.crystal, {"total": density.resample((24, 24, 24)).total})
    alone = small.charges(method)
    twice = Density(fields.supercell(small.crystal, (1, 2, 1)), {"total": np.tile(small.total, (1, 2, 1))})
    # Corners of Voronoi cells are sums over small voxels, of the atoms that there are.
    close = 3e-3 if method == "voronoi" else 1e-9
    np.testing.assert_allclose(twice.charges(method).net, np.repeat(alone.net, 2), atol=close)
    by = np.array([0.25, 0.5, 1 / 24])
    moved = Crystal(small.crystal.cell, small.crystal.positions + by, small.crystal.numbers)
    elsewhere = Density(moved, {"total": shifted(small.total, by)})
    np.testing.assert_allclose(elsewhere.charges(method).net, alone.net, atol=close)


def test_equal_atoms_have_equal_charges() -> None:
    crystal = fields.STRUCTURES["quartz"]
    total = fields.density(crystal, (24, 24, 24), width=0.4)
    density = Density(crystal, {"total": total})
    given = {"Si": density.n_electrons / 9, "O": density.n_electrons / 9}
    for method in METHODS:
        found = density.charges(method, valence=given).net
        for part in (found[:3], found[3:]):
            np.testing.assert_allclose(part, part.mean(), atol=0.02 if method == "bader" else 1e-3)


@pytest.mark.parametrize("material_id", ["mp-2534", "mp-13", "mp-72", "mp-19399"])
def test_symmetry_saves_time_and_changes_nothing(material_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One point of each orbit gives what all points give: cubic, magnetic, hexagonal, and an antiferromagnet."""
    record = chgdb.open()[material_id]
    density = record.density
    orbits = Orbits.of(density.crystal, list(density.channels.values()))
    assert len(orbits.points) < density.total.size / 4
    assert orbits.sizes.sum() == density.total.size
    saved = {method: record.charges(method) for method in ("bader", "hirshfeld")}
    monkeypatch.setattr(Orbits, "of", lambda crystal, deciding: Orbits.alone(crystal, deciding[0].shape))
    for method, found in saved.items():
        whole = record.charges(method)
        np.testing.assert_allclose(found.electrons, whole.electrons, atol=1e-6)
        np.testing.assert_allclose(found.volume, whole.volume, atol=1e-6)
        assert found.remarks == whole.remarks
        if whole.moment is not None:
            assert found.moment is not None
            np.testing.assert_allclose(found.moment, whole.moment, atol=1e-6)


def test_a_field_without_the_symmetry_of_the_atoms() -> None:
    """Values decide: a density that is off at one point has no symmetry, and one that is so along a line some of it."""
    density = chgdb.open()["mp-22862"].density
    total = density.total.copy()
    everywhere = len(Orbits.of(density.crystal, [total]).points)
    total[3, 5, 11] *= 1.001
    assert len(Orbits.of(density.crystal, [total]).points) == total.size
    total = density.total + 1e-3 * np.cos(2 * np.pi * np.arange(40) / 40)[:, None, None]
    assert everywhere < len(Orbits.of(density.crystal, [total]).points) < total.size / 2


def test_moments_of_atoms() -> None:
    crystal = Crystal(np.eye(3) * 5, [[0, 0, 0], [0.5, 0.5, 0.5]], [26, 26])
    up, down = (
        fields.density(Crystal(crystal.cell, crystal.positions[[k]], [26]), (20, 20, 20), width=0.4) for k in (0, 1)
    )
    scale = 8 / ((up + down).mean() * 125 / 2)
    density = Density(crystal, {"total": scale * (up + down), "magnetization": scale * 0.25 * (up - down)})
    for method in METHODS:
        found = density.charges(method)
        assert found.valence.tolist() == [8, 8]
        assert found.moment is not None
        np.testing.assert_allclose(found.moment, [2, -2], atol=0.1)


def test_a_reference_decides_basins() -> None:
    density = chgdb.open()["mp-22862"].density
    guide = fields.density(density.crystal, (30, 30, 30), width=0.3)
    found = density.charges("bader", reference=Density(density.crystal, {"total": guide}), valence={"Na": 7, "Cl": 7})
    assert found.electrons.sum() == pytest.approx(density.n_electrons)
    assert any("reference" in remark for remark in found.remarks)
    other = Density(Crystal(np.eye(3) * 4, [[0, 0, 0]], [3]), {"total": np.ones((4, 4, 4))})
    with pytest.raises(DensityError, match="same cell"):
        density.charges("bader", reference=other)
    swapped = Crystal(density.crystal.cell, density.crystal.positions, [17, 11])
    with pytest.raises(DensityError, match="atom 1, Na, is at no atom of the reference"):
        density.charges("bader", reference=Density(swapped, {"total": guide}))


@pytest.mark.skipif(not VASP.is_dir(), reason="needs the VASP files of ../shared")
@pytest.mark.parametrize(
    ("name", "expected"),
    [("NaCl.CHGCAR.gz", 0.82), ("LiH_spin.CHGCAR.gz", 0.85), ("GaAs_noncollinear.CHGCAR.gz", 0.55)],
)
def test_files_of_vasp(name: str, expected: float) -> None:
    found = chgdb.read(VASP / name).charges("bader")
    assert found.net[0] == pytest.approx(expected, abs=0.05)
    assert any("pseudo" in remark for remark in found.remarks)


@pytest.mark.skipif(not VASP.is_dir(), reason="needs the VASP files of ../shared")
def test_the_all_electron_reference_of_vasp() -> None:
    density = chgdb.read(VASP / "Si2_spin.CHGCAR.gz")
    reference = chgdb.read(VASP / "Si2.AECCAR0.gz") + chgdb.read(VASP / "Si2.AECCAR2.gz")
    found = density.charges("bader", reference=reference)
    np.testing.assert_allclose(found.net, 0, atol=1e-3)
    np.testing.assert_allclose(found.volume, density.crystal.volume / 2, rtol=1e-3)


def test_valences() -> None:
    salt = np.array([11, 17])
    assert valence.inferred(salt, 14.0).tolist() == [7, 7]
    assert valence.inferred(salt, 8.0).tolist() == [1, 7]
    assert valence.inferred(salt, 28.0).tolist() == [11, 17]
    assert valence.inferred(np.array([31, 15]), 18.0).tolist() == [13, 5]
    for numbers, count in ((salt, 8.4), (salt, 3.0), (np.array([31, 33]), 18.0)):
        with pytest.raises(DensityError, match="give them"):
            valence.inferred(numbers, count)
    assert valence.given(salt, {"Na": 9, "Cl": 7}).tolist() == [9, 7]
    with pytest.raises(DensityError, match="Cl"):
        valence.given(salt, {"Na": 9})


def test_free_atoms() -> None:
    r = np.linspace(0, 10, 20001)
    for number in (1, 8, 11, 33, 64, 68, 83):
        shells = 4 * np.pi * r**2 * free_atoms.density(number, r) * (r[1] - r[0])
        assert shells.sum() == pytest.approx(number, rel=0.01)
    for number in feature_atoms._content()[1]:
        assert number - free_atoms.frozen_core(number) == feature_atoms.electrons(number)
    shells = 4 * np.pi * r**2 * free_atoms.correction(17, r) * (r[1] - r[0])
    assert shells.sum() == pytest.approx(10, abs=0.1)


@pytest.mark.parametrize(
    ("method", "settings", "words"),
    [
        ("mulliken", {}, "no method"),
        ("hirshfeld", {"reference": True}, "no use for one"),
        ("bader", {"radii": {"O": 1.0, "H": 1.0}}, "Voronoi"),
        ("voronoi", {"radii": {"O": 1.0}}, "no radius is given for H"),
        ("bader", {"valence": {"O": 6}}, "no valence is given for H"),
    ],
)
def test_mistakes(method: str, settings: dict, words: str) -> None:
    if "reference" in settings:
        settings = {"reference": water()}
    with pytest.raises(DensityError, match=words):
        water().charges(method, **settings)


def test_what_has_no_charges() -> None:
    with pytest.raises(DensityError, match="total density"):
        (water() - 0.5 * water()).charges()
    with pytest.raises(DensityError, match="total density"):
        ScalarField(water().crystal, {"total": water().total}).charges()
    with pytest.raises(DensityError, match="no atoms"):
        replace(water(), crystal=Crystal(np.eye(3), np.zeros((0, 3)), [])).charges()
    uranium = Density(Crystal(np.eye(3) * 4, [[0, 0, 0]], [92]), {"total": np.full((4, 4, 4), 14 / 64)})
    with pytest.raises(DensityError, match="no density of a free atom for U"):
        uranium.charges()
    assert uranium.charges("voronoi").electrons == pytest.approx([14])
    twins = Density(Crystal(np.eye(3) * 4, [[0, 0, 0]] * 2, [3, 3]), {"total": np.full((4, 4, 4), 2 / 64)})
    with pytest.raises(DensityError, match="at the place"):
        twins.charges(valence={"Li": 1})


def test_the_dipole_of_water() -> None:
    """GPAW gives 1.807 debye for this very calculation; measured is 1.855."""
    density = water()
    found = dipole(density.crystal, density.total, np.array([6.0, 1, 1]))
    assert found.size * DEBYE == pytest.approx(1.807, abs=0.02)
    np.testing.assert_allclose(found.moment[:2], 0, atol=2e-3)
    assert found.moment[2] < 0  # from oxygen down to the hydrogens
    assert found.directions == (0, 1, 2)
    # Wherever the box begins.
    by = np.array([0.41, 0.77, 0.5])
    moved = Crystal(density.crystal.cell, density.crystal.positions + by, density.crystal.numbers)
    again = dipole(moved, shifted(density.total, by), np.array([6.0, 1, 1]))
    np.testing.assert_allclose(again.moment, found.moment, atol=1e-3)


def test_slabs_and_bulk() -> None:
    cell = np.array([[3.0, 0, 0], [0.7, 3.2, 0], [0.5, 0.4, 14.0]])
    crystal = Crystal(cell, [[0, 0, 0.95], [0.5, 0.5, 0.05]], [3, 3])
    total = fields.density(crystal, (16, 16, 80), width=0.5)
    density = Density(crystal, {"total": 2 * total / (total.mean() * crystal.volume)})
    ions = Crystal(cell, crystal.positions + np.array([0, 0, 0.01]), crystal.numbers)
    found = dipole(ions, density.total, np.array([1.0, 1.0]))
    normal = np.linalg.inv(cell)[:, 2]
    normal /= np.linalg.norm(normal)
    assert found.directions == (2,)
    assert found.moment @ normal == pytest.approx(2 * 0.01 * cell[2] @ normal, abs=1e-3)
    np.testing.assert_allclose(np.cross(found.moment, normal), 0, atol=1e-9)
    bulk = chgdb.open()["mp-22862"].density
    with pytest.raises(DensityError, match="not in bulk"):
        dipole(bulk.crystal, bulk.total, np.array([7.0, 7.0]))


def test_sodium_chloride_of_vasp_has_the_charge_that_was_published(shared: Path) -> None:
    """0.1776 of one electron stay with sodium in the example of Henkelman's program, by VASP with the same valences."""
    density = chgdb.read(shared / "vasp" / "NaCl.CHGCAR.gz")
    found = density.charges("bader")
    assert found.valence.tolist() == [1, 7]
    assert found.net[0] == pytest.approx(1 - 0.1776, abs=0.005)
    assert found.net.sum() == pytest.approx(0, abs=1e-6)
