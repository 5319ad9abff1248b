"""Sums and differences of densities, their spin channels, and what refuses the results."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import fields
import numpy as np
import pytest

import chgdb
from chgdb import Crystal, Density
from chgdb.codecs import encode
from chgdb.comparison import moved
from chgdb.density import ScalarField, check_density, check_sign, combine
from chgdb.errors import DensityError

GRID = (14, 15, 16)
QUARTZ = fields.total("quartz", GRID)
SMOOTH = {"seed": 3, "reach": 0.12}


def fragments() -> tuple[Density, Density, Density]:
    """Quartz whose bonds move electrons, and its two kinds of atoms alone."""
    crystal = QUARTZ.crystal
    parts = [
        Crystal(crystal.cell, crystal.positions[crystal.numbers == z], crystal.numbers[crystal.numbers == z])
        for z in (14, 8)
    ]
    silicon, oxygen = (Density(part, {"total": fields.density(part, GRID)}) for part in parts)
    moved_by_bonds = 0.1 * (fields.smooth(GRID, **SMOOTH) - 1)
    whole = Density(crystal, {"total": silicon.total + oxygen.total + moved_by_bonds})
    return whole, silicon, oxygen


def spin(seed: int = 1) -> Density:
    return replace(QUARTZ, channels={"total": QUARTZ.total, "magnetization": fields.smooth(GRID, seed) - 1})


def vector() -> Density:
    channels = {f"magnetization_{axis}": fields.smooth(GRID, seed) - 1 for seed, axis in enumerate("xyz")}
    return replace(QUARTZ, channels={"total": QUARTZ.total, **channels})


def test_binding_moves_electrons_and_makes_none() -> None:
    whole, silicon, oxygen = fragments()
    difference = whole - silicon - oxygen
    assert isinstance(difference, ScalarField)
    assert difference.quantity == "density difference"
    assert difference.crystal == whole.crystal
    np.testing.assert_allclose(difference.total, 0.1 * (fields.smooth(GRID, **SMOOTH) - 1), atol=1e-13)
    assert difference.n_electrons == pytest.approx(0, abs=1e-10)
    assert repr(difference) == "<chgdb.ScalarField SiO2: density difference, total on 14x15x16>"


def test_a_sum_is_a_density_of_all_atoms() -> None:
    _, silicon, oxygen = fragments()
    both = silicon + oxygen
    assert type(both) is Density
    assert sorted(both.crystal.numbers) == sorted(QUARTZ.crystal.numbers)
    assert both.n_electrons == pytest.approx(silicon.n_electrons + oxygen.n_electrons)
    assert sum([silicon, oxygen]).crystal == both.crystal
    assert (silicon + silicon).crystal == silicon.crystal  # AECCAR0 + AECCAR2: the same atoms


def test_factors() -> None:
    for twice in (2 * QUARTZ, QUARTZ * 2, np.float64(2) * QUARTZ, QUARTZ / 0.5):
        assert type(twice) is Density
        np.testing.assert_array_equal(twice.total, 2 * QUARTZ.total)
    assert isinstance(-QUARTZ, ScalarField)
    with pytest.raises(DensityError, match="not a finite number"):
        QUARTZ * float("nan")
    for wrong in ("a", None, 1j, QUARTZ.total):
        with pytest.raises(TypeError):
            QUARTZ + wrong
        with pytest.raises(TypeError):
            QUARTZ * wrong


@pytest.mark.parametrize("grid", [(20, 20, 20), (15, 21, 16)])
def test_other_grids_and_origins(grid: tuple[int, int, int]) -> None:
    smooth = fields.total("quartz", (13, 13, 15), width=1.0)
    shift = (0.2, -0.31, 0.077)
    other = moved(smooth.resample(grid), shift)
    difference = smooth - moved(other, [-x for x in shift])
    assert difference.grid == grid
    assert np.abs(difference.total).max() < 1e-9 * smooth.total.max()
    assert np.abs((smooth - other).total).max() > 0.1 * smooth.total.max()


def test_other_cells_are_refused_in_one_line() -> None:
    for cell in (QUARTZ.crystal.cell * 1.001, QUARTZ.crystal.cell[[0, 2, 1]]):
        other = replace(QUARTZ, crystal=Crystal(cell, QUARTZ.crystal.positions, QUARTZ.crystal.numbers))
        with pytest.raises(DensityError, match="different lattice vectors") as error:
            QUARTZ - other
        assert "\n" not in str(error.value)
    rounded = Crystal(np.round(QUARTZ.crystal.cell, 5), QUARTZ.crystal.positions, QUARTZ.crystal.numbers)
    assert (QUARTZ - replace(QUARTZ, crystal=rounded)).n_electrons == 0


def test_spin_is_subtracted_too_and_may_be_missing() -> None:
    a, b = spin(1), spin(2)
    np.testing.assert_allclose((a - b).channels["magnetization"], a.magnetization - b.magnetization)
    np.testing.assert_array_equal((a - QUARTZ).channels["magnetization"], a.magnetization)
    np.testing.assert_array_equal((QUARTZ - a).channels["magnetization"], -a.magnetization)
    with pytest.raises(DensityError, match="collinear and noncollinear"):
        a - vector()
    with pytest.raises(DensityError, match="at least one"):
        combine([])


def test_linear_add_of_pymatgen() -> None:
    pytest.importorskip("pymatgen")
    a, b = spin(1), spin(2)
    theirs = a.to_pymatgen().linear_add(b.to_pymatgen(), -0.7)
    ours = combine([(1.0, a), (-0.7, b)])
    for name, key in (("total", "total"), ("magnetization", "diff")):
        np.testing.assert_allclose(ours.channels[name] * a.crystal.volume, theirs.data[key], atol=1e-10)


def test_spin_channels_as_pymatgen_has_them() -> None:
    pytest.importorskip("pymatgen")
    from pymatgen.electronic_structure.core import Spin

    density = spin()
    theirs = density.to_pymatgen().spin_data
    np.testing.assert_allclose(density.spin_up * density.crystal.volume, theirs[Spin.up], atol=1e-10)
    np.testing.assert_allclose(density.spin_down * density.crystal.volume, theirs[Spin.down], atol=1e-10)


def test_spin_channels() -> None:
    density = spin()
    np.testing.assert_allclose(density.spin_up - density.spin_down, density.magnetization, atol=1e-14)
    np.testing.assert_allclose(density.spin_up + density.spin_down, density.total, atol=1e-14)
    np.testing.assert_array_equal(density.magnetization_norm, np.abs(density.magnetization))
    np.testing.assert_array_equal(QUARTZ.spin_up, QUARTZ.total / 2)
    assert not QUARTZ.magnetization.any()
    noncollinear = vector()
    assert noncollinear.magnetization.shape == (3, *GRID)
    np.testing.assert_allclose(noncollinear.magnetization_norm, np.linalg.norm(noncollinear.magnetization, axis=0))
    with pytest.raises(DensityError, match="noncollinear"):
        _ = noncollinear.spin_up
    with pytest.raises(DensityError, match="there are total, spin_up, spin_down"):
        QUARTZ.channel("magnetization")
    assert type(density.only("total")) is Density
    assert density.only("spin_down").quantity == "spin-down density"


@pytest.mark.parametrize("name", ["CHGCAR", "x.cube", "x.npz", "x.CHGCAR.gz"])
def test_files_say_what_they_hold(name: str, tmp_path: Path) -> None:
    whole, silicon, _ = fragments()
    for field in (whole - silicon, spin().only("spin_up"), vector().only("magnetization_norm")):
        chgdb.write(tmp_path / name, field)
        back = chgdb.read(tmp_path / name)
        assert isinstance(back, ScalarField)
        assert back.quantity == field.quantity
        np.testing.assert_allclose(back.total, field.total, atol=1e-9)
        chgdb.write(tmp_path / name, back)  # says it once
        assert chgdb.read(tmp_path / name).extras["comment"] == back.extras["comment"]
    chgdb.write(tmp_path / name, whole)
    assert type(chgdb.read(tmp_path / name)) is Density


def test_what_needs_a_density_refuses_the_others(tmp_path: Path) -> None:
    field = spin().only("spin_up")
    with pytest.raises(DensityError, match=r"a spin-up density of SiO2 is not the density of it: properties"):
        chgdb.predict(field)
    with pytest.raises(DensityError, match="give its structure"):
        chgdb.estimate(field)
    with pytest.raises(DensityError, match="a store holds total densities"):
        encode(field)
    with pytest.raises(DensityError, match="latents"):
        check_density(field, "latents")
    chgdb.write(tmp_path / "field.CHGCAR", field)
    chgdb.write(tmp_path / "quartz.CHGCAR", QUARTZ)
    found = chgdb.build(tmp_path / "a.zarr", tmp_path, workers=1, tolerance=1e-2)
    assert found.added == ("quartz",)
    named = chgdb.build(tmp_path / "b.zarr", [tmp_path / "field.CHGCAR"], workers=1)
    assert named.added == ()
    assert "spin-up density" in named.refused[0][1]


def test_values_that_cancel_are_refused_whatever_their_file_calls_them(tmp_path: Path) -> None:
    """VTST's chgdiff.pl and pymatgen write differences as they write densities."""
    whole, silicon, _ = fragments()
    unsaid = replace(whole, channels={"total": silicon.total - whole.total})
    assert type(unsaid) is Density
    chgdb.write(tmp_path / "unsaid" / "CHGCAR", unsaid)
    found = chgdb.build(tmp_path / "a.zarr", tmp_path / "unsaid", workers=1)
    assert found.added == ()
    assert "a difference or spin density, and a store holds total densities" in found.refused[0][1]
    with pytest.raises(DensityError, match="a difference or spin density, and latents"):
        check_sign(unsaid, "latents")
    check_sign(replace(whole, channels={"total": whole.total - 0.1 * whole.total.mean()}), "latents")


def test_the_total_of_a_spin_density_is_a_file_that_can_be_read(tmp_path: Path) -> None:
    """A CHGCAR has per-ion lines before its magnetisation, which its total alone must not end with."""
    occupancies = "".join(f"augmentation occupancies   {ion}   2\n  0.1E+01  0.2E+00\n" for ion in range(1, 10))
    after = {"total": occupancies + "  0.5 0.5 0.5 0.5 0.5\n  0.5 0.5 0.5 0.5\n", "magnetization": occupancies}
    whole = replace(spin(), extras={"after": after})
    chgdb.write(tmp_path / "CHGCAR", whole)
    assert chgdb.read(tmp_path / "CHGCAR").extras["after"] == after
    for alone in (whole.only("total"), replace(whole, channels={"total": whole.total})):
        chgdb.write(tmp_path / "CHGCAR_tot", alone)
        assert chgdb.read(tmp_path / "CHGCAR_tot").extras["after"] == {"total": occupancies}


def test_a_crystal_is_said_in_one_line() -> None:
    assert repr(QUARTZ.crystal) == "<chgdb.Crystal SiO2: 9 atoms, lattice vectors of 4.910 x 4.910 x 5.400 Å>"
    alone = Crystal(np.diag([2.0, 3.0, 4.5]), [[0, 0, 0]], [26])
    assert repr(alone) == "<chgdb.Crystal Fe: 1 atom, lattice vectors of 2.000 x 3.000 x 4.500 Å>"
    assert "0 atoms" in repr(Crystal(alone.cell, [], []))
