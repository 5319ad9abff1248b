"""Averages over planes, values at points, integrals in spheres."""

from __future__ import annotations

from dataclasses import replace

import fields
import numpy as np
import pytest

from chgdb import Density
from chgdb.errors import DensityError
from chgdb.profiles import along_line, in_spheres, planar_average, values_at

GRID = (14, 15, 16)
QUARTZ = fields.total("quartz", GRID)
NOISE = replace(QUARTZ, channels={"total": np.random.default_rng(0).lognormal(size=GRID)})


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_averages_of_pymatgen(axis: int) -> None:
    pytest.importorskip("pymatgen")
    theirs = NOISE.to_pymatgen().get_average_along_axis(axis) / NOISE.crystal.volume
    found = planar_average(NOISE, axis)
    np.testing.assert_allclose(found.average, theirs, rtol=1e-12)
    np.testing.assert_allclose(found.distance, NOISE.to_pymatgen().get_axis_grid(axis), atol=1e-12)


def test_more_planes_and_the_integral() -> None:
    fine = planar_average(QUARTZ, 1, points=45)
    np.testing.assert_allclose(fine.average[::3], planar_average(QUARTZ, 1).average, atol=1e-13)
    many = planar_average(QUARTZ, 1, points=4500)
    middles = (many.average + np.roll(many.average, -1)) / 2
    summed = np.concatenate([[0], np.cumsum(middles)[:-1]]) * QUARTZ.crystal.volume / 4500
    np.testing.assert_allclose(many.cumulative, summed, atol=1e-4)
    assert fine.cumulative[0] == pytest.approx(0, abs=1e-12)


def test_the_macroscopic_average_takes_out_its_period() -> None:
    x = np.arange(32) / 32
    wave = 1 + 0.5 * np.cos(2 * np.pi * 4 * x) + 0.1 * np.cos(2 * np.pi * x)
    density = Density(QUARTZ.crystal, {"total": np.ones((2, 2, 1)) * wave})
    length = float(np.linalg.norm(density.crystal.cell[2]))
    found = planar_average(density, 2, window=length / 4)
    assert found.macroscopic is not None
    np.testing.assert_allclose(found.macroscopic, 1 + 0.1 * np.sinc(1 / 4) * np.cos(2 * np.pi * x), atol=1e-13)


@pytest.mark.parametrize("grid", [(7, 6, 5), (8, 8, 9), (1, 2, 3)])
def test_values_at_points(grid: tuple[int, int, int]) -> None:
    values = np.random.default_rng(1).normal(size=grid)
    density = replace(QUARTZ, channels={"total": values})
    places = np.array(list(np.ndindex(*grid))) / grid + [1, 0, -2]
    np.testing.assert_allclose(values_at(density, places), values.ravel(), atol=1e-12)
    doubled = tuple(2 * n for n in grid)
    finer = np.array(list(np.ndindex(*doubled))) / doubled
    np.testing.assert_allclose(values_at(density, finer), density.resample(doubled).total.ravel(), atol=1e-12)


def test_lines() -> None:
    points, distance, values = along_line(QUARTZ, [0, 0, 0], [0, 0, 1], 17)
    np.testing.assert_allclose(values[:-1], QUARTZ.total[0, 0], atol=1e-13)
    np.testing.assert_allclose(distance, np.arange(17) / 16 * np.linalg.norm(QUARTZ.crystal.cell[2]))
    assert points.shape == (17, 3)


def test_spheres_of_gaussians() -> None:
    """A Gaussian in a large box has its integral in a sphere in closed form."""
    from math import erf, exp, pi, sqrt

    from chgdb import Crystal

    crystal = Crystal(np.diag([8.0, 9.0, 10.0]), [[0.3, 0.4, 0.55]], [4])
    density = Density(crystal, {"total": fields.density(crystal, (40, 45, 50), width=0.5)})
    for radius in (0.3, 0.9, 1.7):
        x = radius / 0.5
        expected = 2 * (erf(x / sqrt(2)) - sqrt(2 / pi) * x * exp(-x * x / 2))
        assert in_spheres(density, radius)[0] == pytest.approx(expected, abs=1e-9)
    far = in_spheres(density, [0.9, 0.9], [[0.3, 0.4, 0.55], [1.3, -0.6, 2.55]])
    assert far[0] == pytest.approx(far[1])


def test_a_sphere_of_the_constant_is_its_volume() -> None:
    flat = replace(QUARTZ, channels={"total": np.full((4, 6, 8), 2.0)})
    np.testing.assert_allclose(in_spheres(flat, 1.5), 2 * 4 / 3 * np.pi * 1.5**3)


def test_what_there_is_not() -> None:
    for call in (
        lambda: planar_average(QUARTZ, 3),
        lambda: planar_average(QUARTZ, window=0),
        lambda: planar_average(QUARTZ, channel="magnetization"),
        lambda: values_at(QUARTZ, [[0, 0]]),
        lambda: values_at(QUARTZ, [[0, 0, np.nan]]),
        lambda: along_line(QUARTZ, [0, 0, 0], [1, 1, 1], 1),
        lambda: in_spheres(QUARTZ, -1.0),
        lambda: in_spheres(QUARTZ, [1.0, 2.0]),
    ):
        with pytest.raises(DensityError):
            call()
