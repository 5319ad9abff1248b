"""What the page decodes is what chgdb decodes: every codec, a hundred materials, the golden records."""

from __future__ import annotations

import base64
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from pages import OpenPage, chgdb_prints, in_page, numbers, serving
from playwright.sync_api import Page

import chgdb
from chgdb import Density
from chgdb.codecs import decode, encode, header
from chgdb.promolecule import Prior, superposition

TESTS = Path(__file__).resolve().parents[1]
GOLDEN = TESTS / "golden" / "payloads"

DECODE = """
const session = new Session()
const priors = {}
for (const [id, p] of Object.entries(arg.priors))
  priors[id] = { numbers: p.numbers, coefficients: Float32Array.from(p.coefficients) }
try {
  const meta = await session.ask('record', { payload: bytes(arg.payload), priors, id: arg.id })
  const values = {}
  for (const kind of arg.channels) values[kind] = text(await session.ask('values', { kind }))
  return { grid: meta.grid, numbers: meta.numbers, cell: Array.from(meta.cell), electrons: meta.electrons, values }
} finally { session.close() }
"""
FROM_STORE = """
globalThis.opened ??= await StoreSource.open('store/')
globalThis.session ??= new Session()
const record = await opened.record(arg)
const meta = await session.ask('record', { payload: record.payload, priors: record.priors, id: arg })
const out = { nmae: record.nmae, maxError: record.maxError, row: record.row, values: {} }
for (const kind of meta.kinds.filter((k) => !['difference', 'magnetization norm'].includes(k)))
  out.values[kind] = text(await session.ask('values', { kind }))
return out
"""


def on_grid(values: np.ndarray, density: Density) -> np.ndarray:
    """The page's order, x fastest, as an array (nx, ny, nz)."""
    return values.reshape(density.grid[::-1]).transpose(2, 1, 0)


def agree(page: Page, payload: bytes, prior: Prior | None = None) -> None:
    expected = decode(payload, prior=prior)
    priors = {}
    if prior is not None:
        facts = {"numbers": prior.numbers.tolist(), "coefficients": prior.coefficients.ravel().tolist()}
        priors[str(prior.identifier)] = facts
    argument = {
        "id": "test", "payload": base64.b64encode(payload).decode(), "priors": priors,
        "channels": list(expected.channels),
    }  # fmt: skip
    found = in_page(page, DECODE, argument)
    assert tuple(found["grid"]) == expected.grid
    assert found["numbers"] == expected.crystal.numbers.tolist()
    assert found["cell"] == expected.crystal.cell.ravel().tolist()
    for name, values in expected.channels.items():
        np.testing.assert_allclose(on_grid(numbers(found["values"][name]), expected), values, rtol=0, atol=1e-9)


@pytest.fixture
def page(site: str, open_page: OpenPage) -> Page:
    return open_page(site + "/#/", "table.materials tbody tr")


def test_a_hundred_materials(page: Page, catalog: chgdb.Catalog, tmp_path: Path) -> None:
    """As `chgdb fetch --decode` writes them."""
    ids = catalog.ids
    chosen = [ids[i] for i in np.random.default_rng(32).choice(len(ids), 100, replace=False)]
    as_fetched(page, chosen, ids, tmp_path)


@pytest.mark.parametrize("version", [1, 2, 3])
def test_golden_stores(open_page: OpenPage, tmp_path: Path, version: int) -> None:
    """Every version of the store format, the third one with occupancies."""
    store = tmp_path / "golden.zarr"
    with zipfile.ZipFile(TESTS / "golden" / f"store-v{version}.zip") as archive:
        archive.extractall(store)
    ids = chgdb.open(store).ids
    with serving(str(store)) as address:
        page = open_page(address + "/#/", "table.materials tbody tr")
        as_fetched(page, ids, ids, tmp_path, "--catalog", str(store))
    if version == 1:  # has no head.bin, which is asked for first
        open_page.problems[:] = [p for p in open_page.problems if "404" not in p]  # type: ignore[attr-defined]


def as_fetched(page: Page, chosen: list[str], ids: list[str], folder: Path, *where: str) -> None:
    command = ["fetch", *chosen, *where, "--decode", "--format", "npz", "-o", str(folder / "fetched"), "--json"]
    (folder / "fetched").mkdir()
    stated = json.loads(chgdb_prints(*command))
    for one in stated:
        material_id = one["material_id"]
        written = chgdb.read(one["path"])
        found = in_page(page, FROM_STORE, material_id)
        assert found["nmae"] == pytest.approx(one["nmae"])
        assert found["maxError"] == pytest.approx(one["max_error"])
        assert ids[found["row"]] == material_id
        assert sorted(found["values"]) == sorted(written.channels)
        for name, values in written.channels.items():
            decoded = on_grid(numbers(found["values"][name]), written)
            np.testing.assert_allclose(decoded, values, rtol=0, atol=1e-9, err_msg=material_id)
    assert {one["material_id"] for one in stated} == set(chosen)


def test_golden_payloads(page: Page) -> None:
    stored = json.loads((GOLDEN / "prior.json").read_text(encoding="utf-8"))
    prior = Prior.from_arrays({name: np.array(values) for name, values in stored.items()})
    files = sorted(GOLDEN.glob("*.bin"))
    assert len(files) >= 14
    for file in files:
        payload = file.read_bytes()
        agree(page, payload, prior if header(payload).prior_id else None)
    agree(page, (TESTS / "data" / "H2O.payload").read_bytes())


@pytest.mark.parametrize("name", ["SiC.CHGCAR", "NiO_spin.CHGCAR", "MnO_noncollinear.CHGCAR"])
@pytest.mark.parametrize("predict", [False, True])
def test_files_of_vasp(page: Page, name: str, predict: bool) -> None:
    """Their symmetry and their channels, and payloads of number 4 where predictions make these smaller."""
    density = chgdb.read(TESTS / "data" / name)
    agree(page, encode(density, codec="fourier", predict=predict, tolerance=1e-4).payload)


@pytest.mark.parametrize("codec", ["fourier", "realspace", "lossless"])
def test_every_codec(page: Page, codec: str) -> None:
    import fields

    rng = np.random.default_rng(5)
    grid = (8, 9, 10)
    noisy = Density(
        fields.STRUCTURES["triclinic"],
        {"total": 1 + rng.random(grid), **{f"magnetization_{a}": rng.normal(size=grid) for a in "xyz"}},
    )
    single = Density(noisy.crystal, {"total": noisy.total.astype(np.float32)})
    tolerance = 0.0 if codec == "lossless" else 1e-5
    for density in (noisy, single, fields.total("quartz", (12, 12, 18)), fields.total("wurtzite", (12, 12, 16))):
        agree(page, encode(density, codec=codec, tolerance=tolerance).payload)


def test_difference_to_the_atoms(page: Page, catalog: chgdb.Catalog) -> None:
    code = """
    const session = new Session()
    const source = await StoreSource.open('store/')
    const record = await source.record(arg)
    await session.ask('record', { payload: record.payload, priors: record.priors, id: arg })
    const out = text(await session.ask('values', { kind: 'difference' }))
    session.close()
    return out
    """
    record = catalog["mp-6930"]
    assert catalog.prior is not None
    atoms = superposition(catalog.prior, record.crystal, record.grid)
    expected = record.density.total - atoms
    expected -= expected.mean()  # of as many electrons as the density has
    found = on_grid(numbers(in_page(page, code, "mp-6930")), record.density)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)
