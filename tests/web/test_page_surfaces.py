"""Isosurfaces and slices in cells of every kind: on the surface the field has the isovalue, and the pieces fit."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
from pages import OpenPage, in_page
from playwright.sync_api import Page

from chgdb import Crystal, Density

LONG = Crystal(np.diag([3.0, 3.2, 41.0]), [[0, 0, 0.1], [0.5, 0.5, 0.55]], [14, 8])
TRICLINIC = Crystal([[4.1, 0, 0], [-1.3, 3.9, 0], [0.9, 1.7, 5.2]], [[0.1, 0.2, 0.3], [0.6, 0.7, 0.8]], [11, 17])
HEXAGONAL = Crystal(
    [[3.2, 0, 0], [-1.6, 2.7712813, 0], [0, 0, 5.2]], [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]], [12, 12]
)

ASK = """
globalThis.drawn ??= new Session()
const floats = (text) => new Float64Array(bytes(text).buffer)
await drawn.ask('density', {
  cell: new Float64Array(arg.cell),
  numbers: arg.numbers,
  positions: new Float64Array(arg.positions),
  grid: arg.grid,
  channels: Object.fromEntries(Object.entries(arg.channels).map(([name, v]) => [name, floats(v)])),
})
const answer = await drawn.ask(arg.method, arg.question)
const doubles = (values) => text(Float64Array.from(values))
if (arg.method !== 'surfaces') return { ...answer, values: doubles(answer.values) }
return answer.meshes.map((m) => ({
  positions: doubles(m.positions),
  normals: doubles(m.normals),
  indices: Array.from(m.indices),
}))
"""


def waves(crystal: Crystal, grid: tuple[int, int, int], *names: str) -> Density:
    """Sums of few plane waves, smooth on the grid."""
    rng = np.random.default_rng(3)
    at = np.stack(np.meshgrid(*(np.arange(n) / n for n in grid), indexing="ij"), axis=-1)
    channels = {}
    for name in names:
        values = np.zeros(grid)
        for _ in range(6):
            h = rng.integers(-2, 3, 3)
            values += rng.normal() * np.cos(2 * np.pi * (at @ h) + rng.uniform(0, 6))
        channels[name] = values
    return Density(crystal, channels)


CASES = {
    "triclinic": waves(TRICLINIC, (24, 25, 30), "total"),
    "hexagonal": waves(HEXAGONAL, (20, 20, 32), "total"),
    "very long": waves(LONG, (12, 12, 96), "total"),
    "magnetic": waves(HEXAGONAL, (24, 24, 24), "total", "magnetization"),
}


@pytest.fixture
def page(site: str, open_page: OpenPage) -> Page:
    return open_page(site + "/#/", "table.materials tbody tr")


def ask(page: Page, density: Density, method: str, question: dict[str, Any]) -> Any:
    packed = {
        name: base64.b64encode(values.transpose(2, 1, 0).astype(float).tobytes()).decode()
        for name, values in density.channels.items()
    }
    crystal = density.crystal
    return in_page(page, ASK, {
        "cell": crystal.cell.ravel().tolist(), "numbers": crystal.numbers.tolist(),
        "positions": crystal.positions.ravel().tolist(), "grid": list(density.grid), "channels": packed,
        "method": method, "question": question,
    })  # fmt: skip


def floats(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text))


def trilinear(values: np.ndarray, fractional: np.ndarray) -> np.ndarray:
    n = np.array(values.shape)
    place = (fractional % 1) * n
    low = np.floor(place).astype(int)
    t = place - low
    result = np.zeros(len(fractional))
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod(np.where(corner, t, 1 - t), axis=1)
        result += weight * values[tuple(((low + corner) % n).T)]
    return result


@pytest.mark.parametrize("case", CASES)
def test_isosurfaces(page: Page, case: str) -> None:
    density = CASES[case]
    name = list(density.channels)[-1]
    values = density.channels[name]
    level = 0.4 * float(values.max())
    for mesh, value in zip(
        ask(page, density, "surfaces", {"kind": name, "levels": [level, -level]}), (level, -level), strict=True
    ):
        vertices, normals = (floats(mesh[key]).reshape(-1, 3) for key in ("positions", "normals"))
        assert len(vertices) > 100
        fractional = vertices @ np.linalg.inv(density.crystal.cell)
        np.testing.assert_allclose(trilinear(values, fractional), value, atol=2e-5 * np.abs(values).max())
        assert fractional.min() > -1e-6
        assert fractional.max() < 1 + 1e-6
        np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)
        # Values fall along the normal.
        step = 0.02 * normals @ np.linalg.inv(density.crystal.cell)
        falls = trilinear(values, fractional + step) < trilinear(values, fractional - step)
        assert falls.mean() > 0.97
        for axis in range(3):  # what leaves through one face comes in through the opposite one
            other = [k for k in range(3) if k != axis]
            first, last = (
                np.unique(np.round(fractional[np.abs(fractional[:, axis] - side) < 1e-6][:, other], 5), axis=0)
                for side in (0, 1)
            )
            assert len(first) == len(last)
            np.testing.assert_allclose(first, last, atol=2e-5)
        indices = np.array(mesh["indices"])
        assert len(indices) % 3 == 0
        assert set(indices) == set(range(len(vertices)))


@pytest.mark.parametrize("hkl", [(1, 0, 0), (1, 1, 1), (2, -1, 3)])
def test_slices(page: Page, hkl: tuple[int, int, int]) -> None:
    density = CASES["triclinic"]
    cell = density.crystal.cell
    question = {"kind": "total", "hkl": hkl, "offset": 0.3, "width": 40, "height": 30}
    found = ask(page, density, "slice", question)
    reciprocal = np.linalg.inv(cell).T
    normal = np.array(hkl) @ reciprocal
    assert found["spacing"] == pytest.approx(1 / np.linalg.norm(normal))
    # The pixel in the middle is nearly the foot of the plane.
    foot = normal / np.linalg.norm(normal) * 0.3 * found["spacing"] @ np.linalg.inv(cell)
    image = floats(found["values"]).reshape(30, 40)
    centre = image[14:16, 19:21].mean()
    assert centre == pytest.approx(trilinear(density.total, foot[None])[0], abs=0.05 * np.ptp(density.total))
    assert (image.min(), image.max()) == pytest.approx((found["min"], found["max"]))


def test_profiles(page: Page) -> None:
    density = CASES["hexagonal"]
    line = ask(page, density, "line", {"kind": "total", "from": [0.1, 0.2, 0.3], "to": [1.1, -0.8, 0.3]})
    ends = np.array([[0.1, 0.2, 0.3], [1.1, -0.8, 0.3]])
    fractions = ends[0] + np.linspace(0, 1, 200)[:, None] * (ends[1] - ends[0])
    np.testing.assert_allclose(floats(line["values"]), trilinear(density.total, fractions), atol=1e-12)
    average = ask(page, density, "average", {"kind": "total", "axis": 2})
    np.testing.assert_allclose(floats(average["values"]), density.total.mean(axis=(0, 1)), atol=1e-12)
