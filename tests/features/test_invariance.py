"""The same crystal and density, described otherwise, has the same features."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import chgdb
from chgdb import Crystal, Density, features
from chgdb.errors import DensityError
from chgdb.features import cells

#: A metal, two covalent and an ionic crystal, low and high symmetry, of the embedded catalog.
MATERIALS = ("mp-149", "mp-30", "mp-19", "mp-2251")


@pytest.fixture(scope="module", params=MATERIALS)
def density(request) -> Density:
    return chgdb.open()[request.param].density


def same(density: Density, other: Density, tolerance: float = 1.1e-5) -> None:
    """`tolerance` is in the scale of the features, most of which are logarithms: a step of their rounding."""
    first, second = features.describe(density), features.describe(other)
    worst = np.argmax(np.abs(first - second) / (1 + np.abs(first)))
    np.testing.assert_allclose(second, first, rtol=tolerance, atol=tolerance, err_msg=features.names()[worst])


def rotation(seed: int) -> np.ndarray:
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q if np.linalg.det(q) > 0 else -q


def supercell(density: Density, times: tuple[int, int, int]) -> Density:
    crystal = density.crystal
    shifts = list(itertools.product(*(range(n) for n in times)))
    positions = np.concatenate([(crystal.positions + shift) / times for shift in shifts])
    cell = crystal.cell * np.array(times)[:, None]
    numbers = np.tile(crystal.numbers, len(shifts))
    return Density(Crystal(cell, positions, numbers), {"total": np.tile(density.total, times)})


def test_names_go_with_values(density):
    values = features.describe(density)
    assert values.shape == (len(features.names()),)
    assert values.dtype == np.float64
    assert np.isfinite(values).all()
    assert len(set(features.names())) == len(features.names())
    np.testing.assert_array_equal(values[: len(features.STRUCTURE_NAMES)], features.structure(density.crystal))
    np.testing.assert_array_equal(values[:132], features.magpie(density.crystal))


@pytest.mark.parametrize("seed", [1, 2])
def test_any_rotation(density, seed):
    crystal = density.crystal
    turned = Crystal(crystal.cell @ rotation(seed).T, crystal.positions, crystal.numbers)
    same(density, Density(turned, density.channels))


@pytest.mark.parametrize("order", [(1, 2, 0), (2, 1, 0)])
def test_rotations_and_reflections_of_the_axes(density, order):
    crystal = density.crystal
    cell, positions = crystal.cell[list(order)], crystal.positions[:, list(order)]
    same(density, Density(Crystal(cell, positions, crystal.numbers), {"total": density.total.transpose(order)}))


def test_origin(density):
    crystal, shift = density.crystal, (3, 5, 7)
    positions = crystal.positions + np.array(shift) / density.grid
    moved = Crystal(crystal.cell, positions, crystal.numbers)
    same(density, Density(moved, {"total": np.roll(density.total, shift, (0, 1, 2))}))


def test_order_of_the_atoms(density):
    crystal = density.crystal
    order = np.random.default_rng(0).permutation(len(crystal))
    same(density, Density(Crystal(crystal.cell, crystal.positions[order], crystal.numbers[order]), density.channels))


@pytest.mark.parametrize("times", [(2, 2, 2), (1, 2, 1), (3, 1, 2)])
def test_supercells(density, times):
    same(density, supercell(density, times))


def test_another_cell_of_the_same_lattice(density):
    """a, b + a, c: positions change to keep the points in space, grid lines shear along."""
    n = max(density.grid[:2])
    density = density.resample((n, n, density.grid[2]))
    crystal = density.crystal
    cell = crystal.cell.copy()
    cell[1] += cell[0]
    positions = crystal.positions.copy()
    positions[:, 0] -= positions[:, 1]
    i, j = np.meshgrid(np.arange(n), np.arange(n), indexing="ij")
    sheared = density.total[(i + j) % n, j]
    # Nyquist terms of one grid are not those of the other; neither holds any density worth mentioning.
    same(density, Density(Crystal(cell, positions, crystal.numbers), {"total": sheared}), 1e-4)


def test_conventional_cell_of_silicon():
    primitive = chgdb.open()["mp-149"].density
    a = np.abs(primitive.crystal.cell).max() * 2
    turn = np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]])
    cell = turn @ primitive.crystal.cell
    assert abs(np.linalg.det(cell)) == pytest.approx(4 * primitive.crystal.volume)
    assert np.linalg.norm(cell, axis=1) == pytest.approx([np.linalg.norm(cell[0])] * 3)
    assert a > 5
    n = primitive.grid[0]
    i, j, k = np.meshgrid(*[np.arange(2 * n)] * 3, indexing="ij")
    # A point (i, j, k) / 2n of the large cell, in fractions of the small one.
    index = np.einsum("abcx,xy->abcy", np.stack([i, j, k], axis=-1), turn)
    assert not (index % 2).any(axis=-1).all()
    even = np.repeat(np.repeat(np.repeat(primitive.resample((2 * n,) * 3).total, 1, 0), 1, 1), 1, 2)
    total = even[tuple(np.moveaxis(index % (2 * n), -1, 0))]
    inverse = np.linalg.inv(turn)
    shifts = np.array(list(itertools.product(range(-2, 3), repeat=3)))
    positions = (primitive.crystal.positions[:, None, :] + shifts[None]).reshape(-1, 3) @ inverse
    inside = ((positions > -1e-9) & (positions < 1 - 1e-9)).all(axis=1)
    numbers = np.repeat(primitive.crystal.numbers, len(shifts))[inside]
    assert len(numbers) == 8
    same(primitive, Density(Crystal(cell, positions[inside], numbers), {"total": total}))


@pytest.mark.parametrize("factor", [1.25, 1.5, 2])
def test_finer_grids(density, factor):
    same(density, density.resample(tuple(2 * int(n * factor / 2) for n in density.grid)))


def test_digits_of_a_chgcar(density, tmp_path):
    """What a file rounds changes next to nothing."""
    chgdb.write(tmp_path / "CHGCAR", density)
    same(density, chgdb.read(tmp_path / "CHGCAR"), 3e-5)


def test_a_distorted_crystal_is_another(density):
    crystal = density.crystal
    cell = crystal.cell * 1.01
    changed = features.describe(Density(Crystal(cell, crystal.positions, crystal.numbers), density.channels))
    assert np.abs(changed - features.describe(density)).max() > 1e-2


def test_features_of_the_density_do_not_come_from_the_structure(density):
    """The superposition of atoms instead of the density: the first part stays, differences vanish."""
    place = cells.canonical(density.crystal)
    spectrum, _ = cells.superposition(place, *place.wave_vectors())
    undamped = np.exp(2 * (np.pi * cells.WIDTH * place.wave_vectors()[1]) ** 2)
    total = np.fft.irfftn(spectrum * undamped, s=place.grid, axes=(0, 1, 2)) * np.prod(place.grid)
    values = dict(zip(features.names(), features.describe(Density(place.crystal, {"total": total})), strict=True))
    for name in ("log_mean", "log_n_volume_0.5", "log_thomas_fermi", "spectrum_0.55", "springs_0.3_log_bulk"):
        assert values[f"density.{name}"] == pytest.approx(values[f"promolecule.{name}"], abs=1e-6)
    assert values["difference.charge_deviation"] == pytest.approx(0, abs=1e-6)
    real = dict(zip(features.names(), features.describe(density), strict=True))
    assert abs(real["difference.log_mean_square"] - values["difference.log_mean_square"]) > 1


def test_bond_of_silicon_is_covalent():
    """Electrons gather between the atoms, as everybody knows of silicon, and leave the bonds of rock salt."""
    silicon = dict(zip(features.names(), features.describe(chgdb.open()["mp-149"].density), strict=True))
    assert silicon["structure.coordination_mean"] == pytest.approx(4, abs=0.1)
    assert silicon["difference.ratio_mean"] > 0.05
    assert silicon["structure.log_volume_per_atom"] == pytest.approx(np.log(20.4), abs=0.05)
    assert silicon["difference.charge_mean"] == pytest.approx(0, abs=2e-3)


def test_charges_follow_electronegativity():
    catalog = chgdb.open()
    chosen = catalog.search(chemical_system="Na,Cl")[:1] + catalog.search(chemical_system="Mg,O")[:1]
    assert chosen
    for material_id in chosen:
        values = dict(zip(features.names(), features.describe(catalog[material_id].density), strict=True))
        assert values["difference.charge_max"] > 0.02  # the metal's
        assert values["difference.charge_electronegativity"] < 0
        assert values["difference.madelung_per_atom"] < 0


def test_no_atoms():
    density = Density(Crystal(np.eye(3) * 4, [], []), {"total": np.ones((8, 8, 8))})
    with pytest.raises(DensityError, match="no atoms"):
        features.describe(density)


def test_nothing_integrated():
    crystal = Crystal(np.eye(3) * 4, [[0, 0, 0]], [14])
    with pytest.raises(DensityError, match="integrates to 0 electrons"):
        features.describe(Density(crystal, {"total": np.zeros((8, 8, 8))}))


@pytest.mark.parametrize("numbers", [[2], [94], [112], [36, 86]])
def test_atoms_far_apart_and_elements_without_form_factor(numbers):
    crystal = Crystal(np.eye(3) * 15, np.arange(3 * len(numbers)).reshape(-1, 3) / 7, numbers)
    values = features.describe(Density(crystal, {"total": np.full((20, 20, 20), 0.01)}))
    assert np.isfinite(values).all()


@pytest.mark.parametrize("name", ["Si2_spin", "NaCl", "LiH_spin", "Al_spin", "Si8_strained_spin"])
def test_files_of_vasp(shared, name):
    density = chgdb.read(shared / "vasp" / f"{name}.CHGCAR.gz")
    density = Density(density.crystal, {"total": density.total})
    assert np.isfinite(features.describe(density)).all()
    same(density, supercell(density, (2, 1, 1)))
    same(density, density.resample(tuple(int(n * 1.2) for n in density.grid)))
