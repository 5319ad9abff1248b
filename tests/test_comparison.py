"""Two densities side by side."""

from __future__ import annotations

from dataclasses import replace

import fields
import numpy as np
import pytest

from chgdb import Crystal, Density
from chgdb.comparison import atoms_apart, compare, moved
from chgdb.errors import DensityError

QUARTZ = fields.total("quartz", (14, 15, 16))


def scaled(factor: float) -> Density:
    return replace(QUARTZ, channels={"total": factor * QUARTZ.total})


def test_a_density_is_itself() -> None:
    result = compare(QUARTZ, QUARTZ)
    assert (result.nmae, result.max_error, result.cell_difference) == (0, 0, 0)
    assert result.grid == (14, 15, 16)


def test_nmae_is_relative_to_the_first() -> None:
    assert compare(QUARTZ, scaled(1.5)).nmae == pytest.approx(0.5)
    assert compare(scaled(1.5), QUARTZ).nmae == pytest.approx(1 / 3)
    assert compare(QUARTZ, scaled(1.5)).max_error == pytest.approx(0.5 * np.abs(QUARTZ.total).max())


@pytest.mark.parametrize("grid", [(18, 18, 18), (12, 20, 16)])
def test_grids_meet_on_the_finer_one(grid: tuple[int, int, int]) -> None:
    smooth = fields.total("quartz", (11, 11, 13), width=1.0)  # resolved on every grid here
    result = compare(smooth.resample((14, 15, 16)), smooth.resample(grid))
    assert result.grid == tuple(max(n, m) for n, m in zip((14, 15, 16), grid, strict=True))
    assert result.nmae < 1e-12


def test_channels_of_one_alone_are_left_out() -> None:
    channels = {"total": QUARTZ.total, "magnetization": 0.1 * QUARTZ.total}
    spin = replace(QUARTZ, channels=channels)
    assert set(compare(QUARTZ, spin).channel_nmae) == {"total"}
    other = replace(QUARTZ, channels=channels | {"magnetization": 0.3 * QUARTZ.total})
    result = compare(spin, other)
    assert result.channel_nmae == pytest.approx({"total": 0, "magnetization": 0.2})
    assert result.nmae == pytest.approx(0.2)
    vector = {"total": QUARTZ.total} | {f"magnetization_{axis}": QUARTZ.total for axis in "xyz"}
    assert set(compare(spin, replace(QUARTZ, channels=vector)).channel_nmae) == {"total"}


def test_a_rotated_cell_is_the_same_a_sheared_one_is_not() -> None:
    turn = np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    crystal = QUARTZ.crystal
    rotated = replace(QUARTZ, crystal=Crystal(crystal.cell @ turn, crystal.positions, crystal.numbers))
    assert compare(QUARTZ, rotated).nmae == 0
    sheared = crystal.cell + np.array([[0, 0, 0], [0, 0, 0], [2.0, 0, 0]])
    with pytest.raises(DensityError, match="different lattice vectors"):
        compare(QUARTZ, replace(QUARTZ, crystal=Crystal(sheared, crystal.positions, crystal.numbers)))


@pytest.mark.parametrize("shift", [(0.5, 0.0, 0.25), (1 / 3, -0.2, 0.071), (0.0, 0.0, 1e-4)])
@pytest.mark.parametrize("name", ["quartz", "zinc blende", "hcp"])
def test_a_shift_is_found_and_taken_out(name: str, shift: tuple[float, float, float]) -> None:
    smooth = fields.total(name, (18, 20, 22), width=1.0)
    other = moved(smooth, shift)
    found = compare(smooth, other)
    if found.atom_distance < 0.1:
        assert found.suggested_shift is None
    else:
        assert found.suggested_shift is not None
        again = compare(smooth, other, shift=found.suggested_shift)
        assert again.atom_distance < 1e-5
        assert again.nmae < 1e-5
    assert compare(smooth, other, shift=[-x for x in shift]).nmae < 1e-12


def test_atoms_of_other_elements_or_none_say_nothing() -> None:
    cell = QUARTZ.crystal
    other = Crystal(cell.cell, cell.positions, [*cell.numbers[:-1], 16])
    assert np.isnan(atoms_apart(cell, other)[0])
    assert np.isnan(atoms_apart(cell, Crystal(cell.cell, [], []))[0])
    with pytest.raises(DensityError, match="not a shift"):
        compare(QUARTZ, QUARTZ, shift=(0.1, 0.2))
