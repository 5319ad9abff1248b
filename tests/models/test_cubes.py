"""Cubes cut out of a density."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import chgdb
from chgdb import Crystal, Density
from chgdb.models import cubes, rows

CELL = np.array([[3.1, 0.2, 0.0], [-1.4, 4.0, 0.3], [0.5, 0.0, 5.2]])
CRYSTAL = Crystal(CELL, np.array([[0.1, 0.2, 0.3]]), np.array([14]))


def wave(cell: np.ndarray, grid: tuple[int, int, int], h: tuple[int, int, int]) -> np.ndarray:
    places = np.stack(np.meshgrid(*(np.arange(n) / n for n in grid), indexing="ij"), axis=-1)
    return 1 + 0.5 * np.cos(2 * np.pi * places @ np.array(h))


def test_a_plane_wave_is_seen_at_its_true_places() -> None:
    found = cubes.cubes(Density(CRYSTAL, {"total": wave(CELL, (20, 24, 30), (1, -1, 2))})).astype(float)
    places, centres = cubes._frames()
    centres = centres @ CELL
    wanted = 1 + 0.5 * np.cos((places + centres[:, None]) @ (2 * np.pi * np.linalg.inv(CELL) @ [1, -1, 2]))
    # Linear between points 0.15 Å apart, of a wave of 1.5 Å: less than (0.15 k)^2 / 8 of its height an axis.
    np.testing.assert_allclose(found.reshape(cubes.COUNT, -1), wanted, atol=0.03)


def test_edges_are_of_the_same_length_in_every_cell() -> None:
    places, _ = cubes._frames()
    for cube in places.reshape(cubes.COUNT, *[cubes.POINTS] * 3, 3):
        steps = [np.diff(cube, axis=axis) for axis in range(3)]
        for step in steps:
            np.testing.assert_allclose(np.linalg.norm(step, axis=-1), cubes.SPACING)
        axes = np.array([step[0, 0, 0] for step in steps]) / cubes.SPACING
        np.testing.assert_allclose(np.linalg.det(axes), 1.0)


def test_another_cell_of_the_crystal_gives_cubes_of_the_same_density() -> None:
    """Their places differ, but the distribution of values does not."""
    one = Density(CRYSTAL, {"total": wave(CELL, (20, 24, 30), (1, 1, 0))})
    twice = Crystal(CELL * [[2], [1], [1]], np.array([[0.05, 0.2, 0.3], [0.55, 0.2, 0.3]]), np.array([14, 14]))
    two = Density(twice, {"total": np.concatenate([one.total, one.total])})
    first, second = (np.sort(cubes.cubes(d).astype(float).ravel()) for d in (one, two))
    np.testing.assert_allclose(first, second, atol=0.05)


def test_rows_of_a_catalog_and_of_a_file_have_them(tmp_path: Path) -> None:
    catalog = chgdb.open()
    density = catalog["mp-149"].density
    for _ in range(2):  # computed, then read from the cache
        found = rows.from_catalog(catalog, ["cubes"], ids=["mp-149"], cache=tmp_path, workers=1)
        np.testing.assert_array_equal(found["cubes"][0], cubes.cubes(density))
        assert found["cubes"].dtype == np.float16
        assert found.versions == {"cubes": cubes.VERSION}
    assert len(list(tmp_path.glob("cubes-*.npz"))) == 1
    np.testing.assert_array_equal(rows.from_densities(["Si"], [density], ["cubes"])["cubes"], found["cubes"])


def test_only_what_the_cache_lacks_is_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = ["mp-149", "mp-13"]
    rows.from_catalog(chgdb.open(), ["applicability"], ids=ids, cache=tmp_path, workers=1)
    rows.from_catalog(chgdb.open(), ["cubes"], ids=ids[:1], cache=tmp_path, workers=1)
    computed: list[tuple[str, str]] = []
    of_density = rows._of_density

    def noted(name: str, density: Density) -> np.ndarray:
        computed.append((name, density.crystal.formula))
        return of_density(name, density)

    monkeypatch.setattr(rows, "_of_density", noted)
    found = rows.from_catalog(chgdb.open(), ["applicability", "cubes"], ids=ids, cache=tmp_path, workers=1)
    assert computed == [("cubes", "Fe")]
    assert found["cubes"].shape[0] == found["applicability"].shape[0] == 2
