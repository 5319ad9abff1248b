"""Planes through crystals, and surfaces of equal value."""

from __future__ import annotations

import numpy as np
import pytest

from chgdb import Crystal
from chgdb.errors import DensityError
from chgdb.isosurfaces import isosurface, level_of
from chgdb.sections import fine, lattice_plane, linear, through_atoms

CELL = np.array([[4.0, 0.1, 0.0], [1.0, 3.0, 0.2], [0.5, 0.25, 5.0]])
CRYSTAL = Crystal(CELL, [[0, 0, 0], [0.2, 0.2, 0.16], [0.1, 0.1, 0.08], [0.1, 0.6, 0.7]], [11, 17, 1, 1])


@pytest.mark.parametrize("miller", [(1, 0, 0), (1, 1, 0), (1, -1, 2), (2, 3, -5), (0, 0, 7)])
def test_points_of_a_lattice_plane_lie_on_it(miller: tuple[int, int, int]) -> None:
    section = lattice_plane(CRYSTAL, miller, 0.3)
    _, _, places = section.points(0.5)
    fractions = places @ np.linalg.inv(CELL)
    divisor = np.gcd.reduce(miller)
    np.testing.assert_allclose(fractions @ (np.array(miller) / divisor), 0.3, atol=1e-9)
    assert section.outline is not None
    vectors = section.outline @ section.axes @ np.linalg.inv(CELL)
    np.testing.assert_allclose(vectors, np.rint(vectors), atol=1e-9)
    area = abs(np.linalg.det(section.outline))  # of a primitive cell of the plane: volume over the planes' distance
    spacing = divisor / np.linalg.norm(np.linalg.inv(CELL) @ miller)
    assert area * spacing == pytest.approx(CRYSTAL.volume)
    assert min(section.size) >= 4.5


def test_a_plane_through_atoms_holds_them() -> None:
    section = through_atoms(CRYSTAL, (1, 2, 4))
    for number in (0, 1, 3):
        steps = np.stack(np.meshgrid(*[np.arange(-1, 2)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
        flat, away = section.flat((CRYSTAL.positions[number] + steps) @ CELL)
        inside = (flat >= 2.4).all(axis=1) & (flat <= np.array(section.size) - 2.4).all(axis=1)
        assert np.abs(away[inside]).min() < 1e-9


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: lattice_plane(CRYSTAL, (0, 0, 0)), r"\(000\) is no plane"),
        (lambda: lattice_plane(CRYSTAL, (0.5, 0, 0)), "no Miller indices"),  # type: ignore[arg-type]
        (lambda: through_atoms(CRYSTAL, (1, 2, 3)), "lie on one line"),
        (lambda: through_atoms(CRYSTAL, (1, 2, 5)), "numbers from 1 to 4"),
        (lambda: through_atoms(CRYSTAL, (0, 1, 2)), "numbers from 1 to 4"),
        (lambda: isosurface(np.zeros((4, 4, 4)), np.nan), "no level"),
    ],
)
def test_planes_that_are_none(call, words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DensityError, match=words):
        call()


def test_values_between_points() -> None:
    x, y, z = np.meshgrid(*(2 * np.pi * np.arange(n) / n for n in (10, 12, 14)), indexing="ij")
    values = 3 + np.cos(x) + np.sin(2 * y + z)
    places = np.random.default_rng(1).normal(size=(5, 20, 3))
    a, b, c = (2 * np.pi * places[..., i] for i in range(3))
    expected = 3 + np.cos(a) + np.sin(2 * b + c)
    assert np.abs(linear(fine(values, CELL), places) - expected).max() < 0.02
    grid = np.argwhere(values > -9)[:50]
    np.testing.assert_allclose(linear(values, grid / values.shape), values[tuple(grid.T)])
    spike = np.zeros((6, 6, 6))
    spike[0, 0, 0] = 1.0
    assert fine(spike, CELL) is spike


def test_a_surface_of_a_ball() -> None:
    n, radius = 40, 0.3
    axes = (np.arange(n) / n,) * 3
    x, y, z = np.meshgrid(*axes, indexing="ij")
    distance = np.sqrt((x - 0.5) ** 2 + (y - 0.5) ** 2 + (z - 0.5) ** 2)
    corners, normals = isosurface(-distance, -radius)
    np.testing.assert_allclose(np.linalg.norm(corners - 0.5, axis=-1), radius, atol=2e-3)
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).sum() / 2
    assert area == pytest.approx(4 * np.pi * radius**2, rel=0.01)
    outwards = (normals * (corners - 0.5)).sum(axis=-1)
    assert (outwards > 0).all()
    # Each edge belongs to two triangles: the surface is closed.
    rounded = np.round(corners, 9)
    edges = np.concatenate([rounded[:, [0, 1]], rounded[:, [1, 2]], rounded[:, [2, 0]]])
    keys = [frozenset(map(tuple, edge.tolist())) for edge in edges]
    counts = np.unique([hash(key) for key in keys if len(key) == 2], return_counts=True)[1]
    assert (counts % 2 == 0).all()
    assert len(isosurface(distance, 9.0)[0]) == 0


def test_levels() -> None:
    assert level_of(np.array([4.0, -3.0, 2.0, 1.0]), 0.5) == 3.0
    assert level_of(np.zeros(4)) == 0.0
