"""Catalog and material screens as users see them, and what they download."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pytest
from pages import DRAWN, OpenPage, appears, chgdb_prints
from playwright.sync_api import Page

import chgdb
from chgdb.predicted import View
from chgdb.web.planes import plane

Downloaded = Callable[[Page, str], Path]

#: Criteria in the address, and the same ones of `chgdb search`.
FILTERS = [
    ({"elements": "Li,O"}, ["--elements", "Li,O"]),
    ({"elements": "Ga,As", "mode": "only"}, ["--only", "Ga,As"]),
    ({"q": "O2Si"}, ["--formula", "SiO2"]),
    ({"where": "band_gap:1..3"}, ["--where", "band_gap:1..3"]),
    ({"where": "space_group:225..225", "elements": "N"}, ["--space-group", "225", "--elements", "N"]),
    ({"where": "code:gpaw"}, ["--where", "code:gpaw"]),
    ({"where": "spin_polarised:yes"}, ["--where", "spin_polarised:yes"]),
    ({"where": "view/properties/bulk_modulus:250.."}, ["--predicted", "bulk_modulus:250.."]),
]


def found_by(page: Page, home: str, state: dict[str, str]) -> int:
    """How many materials the catalog shows for a state of the address."""
    page.goto("about:blank")
    page.goto(f"{home}/#/?{urlencode(state)}")
    return int(appears(page, "main[data-found]").get_attribute("data-found") or -1)


def short(value: float) -> str:
    """As the page writes numbers."""
    return f"{value:.2e}".replace("e-0", "e-") if 0 < abs(value) < 1e-3 else f"{value:.4g}"


def saved_rows(downloaded: Downloaded, page: Page, count: int) -> list[dict[str, str]]:
    return list(csv.DictReader(downloaded(page, f"CSV of all {count}").read_text(encoding="utf-8").splitlines()))


def test_filters_find_what_search_finds(site: str, open_page: OpenPage, downloaded: Downloaded) -> None:
    page = open_page("about:blank")
    for state, arguments in FILTERS:
        expected = chgdb_prints("search", *arguments, "--ids").split()
        assert expected
        assert found_by(page, site, state) == len(expected), state
        assert [row["material_id"] for row in saved_rows(downloaded, page, len(expected))] == expected, state


def test_filters_that_search_has_not(
    home: str, open_page: OpenPage, catalog: chgdb.Catalog, downloaded: Downloaded
) -> None:
    page = open_page("about:blank")
    either = {i for symbol in ("Fe", "Ni") for i in catalog.search(elements=[symbol])}
    expected = [i for i in catalog.search(volume=(None, 20)) if i in either]
    assert found_by(page, home, {"where": "volume:..20", "elements": "Fe,Ni", "mode": "any"}) == len(expected) > 0
    excluded = {i for symbol in "OFN" for i in catalog.search(elements=[symbol])}
    expected = [i for i in catalog.search(n_atoms=2) if i not in excluded]
    assert found_by(page, home, {"without": "O,F,N", "where": "n_atoms:2..2"}) == len(expected) > 0
    assert found_by(page, home, {"elements": "O,F,N", "mode": "none", "where": "n_atoms:2..2"}) == len(expected)
    rows = saved_rows(downloaded, page, len(expected))
    assert [row["material_id"] for row in rows] == expected
    nmae = dict(zip(catalog.ids, catalog.column("nmae"), strict=True))
    assert all(float(row["nmae"]) == pytest.approx(nmae[row["material_id"]]) for row in rows)


def test_the_catalog_by_keyboard(site: str, open_page: OpenPage, catalog: chgdb.Catalog) -> None:
    page = open_page(site + "/", "table.materials tbody tr")
    page.get_by_role("button", name=re.compile("^O, ")).focus()
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowRight")  # fluorine
    page.keyboard.press("Space")
    appears(page, f'main[data-found="{len(catalog.search(elements="O,F"))}"]')
    assert "elements=O%2CF" in page.url
    page.keyboard.press("Space")  # and now none of it
    excluded = set(catalog.search(elements="O")) - set(catalog.search(elements="F"))
    appears(page, f'main[data-found="{len(excluded)}"]')
    page.get_by_role("button", name="band gap (PBE) (eV)").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    appears(page, 'th[aria-sort="descending"]')
    first = page.locator("table.materials tbody a").first
    gaps = dict(zip(catalog.ids, catalog.column("band_gap"), strict=True))
    assert first.inner_text() == max(excluded, key=lambda i: -1 if np.isnan(gaps[i]) else gaps[i])
    first.focus()
    page.keyboard.press("Enter")
    appears(page, DRAWN)
    page.go_back()
    appears(page, 'th[aria-sort="descending"]')  # the state was in the address


def test_a_material_shows_its_error_and_values(home: str, open_page: OpenPage, catalog: chgdb.Catalog) -> None:
    page = open_page(home + "/#/material/mp-6930", DRAWN)
    record = catalog["mp-6930"]
    shown = page.inner_text("figcaption")
    assert f"{100 * record.nmae:.3g} %" in shown
    stated = re.search(r"largest error ([\d.e-]+)", shown)
    assert stated is not None
    assert float(stated[1]) == pytest.approx(record.max_error, rel=0.05)
    appears(page, '[data-property="bulk_modulus"]')
    row = page.inner_text('[data-property="bulk_modulus"]')
    known = record.metadata["bulk_modulus"]
    assert f"{known:.4g}" in row
    assert "GPa" in row
    view = View(catalog, "properties")
    place = catalog.ids.index("mp-6930")
    value, std = float(view["bulk_modulus"][place]), float(view["bulk_modulus_std"][place])
    digits = max(0, 1 - int(np.floor(np.log10(std))))
    assert f"{value - 1.645 * std:.{digits}f} to {value + 1.645 * std:.{digits}f}" in row
    assert "out of fold" in row
    crystal = page.get_by_role("region", name="Crystal and grid").inner_text()
    assert f"{record.n_electrons:.6f}" in crystal
    assert " × ".join(map(str, record.grid)) in crystal


def test_controls_change_the_picture_and_the_address(site: str, open_page: OpenPage) -> None:
    page = open_page(site + "/#/material/mp-6930", DRAWN)
    first = page.get_attribute("figure", "data-drawn")
    page.select_option("select[name=kind]", "difference")
    appears(page, '[data-drawn^="difference"][data-drawn*=whole]')
    page.wait_for_function("() => location.hash.includes('show=difference')", polling=100)
    page.fill("input[name=level]", "0.05")
    page.keyboard.press("Tab")
    appears(page, '[data-drawn^="difference|0.05|whole"]')
    both = int(page.get_attribute("figure", "data-drawn").split("|")[-1])
    page.select_option("select[name=sign]", "negative")
    page.wait_for_function(
        "n => Number(document.querySelector('figure').dataset.drawn.split('|')[3]) < n", arg=both, polling=100
    )
    page.focus("input[name=iso]")
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "n => document.querySelector('figure').dataset.drawn.split('|')[1] > n", arg="0.05", polling=100
    )
    page.fill("input[name=h]", "0")
    page.keyboard.press("Tab")
    page.wait_for_function("() => location.hash.includes('hkl=0%2C1%2C0')", polling=100)
    page.fill("input[name=repeat-a]", "2")
    page.keyboard.press("Tab")
    page.wait_for_function("() => location.hash.includes('repeat=2x1x1')", polling=100)
    link = page.url
    other = open_page(link, DRAWN)
    assert other.input_value("select[name=kind]") == "difference"
    assert other.input_value("input[name=h]") == "0"
    assert first


def test_what_is_being_typed_stays_while_data_arrive(site: str, open_page: OpenPage) -> None:
    page = open_page("about:blank")
    held = []
    page.route("**/bulk_modulus/**", lambda route: held.append(route))
    page.goto(site + "/#/material/mp-6930")
    appears(page, DRAWN)
    appears(page, 'select[name="kind"] option[value="difference"]')
    page.fill("input[name=level]", "0.05")
    page.fill("input[name=from]", "0 0 0.5")
    page.focus("input[name=level]")
    page.keyboard.press("End")
    page.keyboard.type("1")
    while not held:
        page.wait_for_timeout(50)
    for route in held:
        route.continue_()
    page.unroute("**/bulk_modulus/**")
    appears(page, '[data-property="bulk_modulus"]')
    assert page.input_value("input[name=level]") == "0.051"
    page.keyboard.press("Tab")
    appears(page, '[data-drawn^="total|0.051|whole"]')
    assert page.input_value("input[name=from]") == "0 0 0.5"


def test_slices_and_profiles(home: str, open_page: OpenPage, catalog: chgdb.Catalog, downloaded: Downloaded) -> None:
    """What is under the pointer, the scale, and the values of a profile are those that the library has."""
    density = catalog["mp-13"].density  # one atom, at the origin, which is the middle of the picture
    cell = density.crystal.cell
    hkl, at = (1, -1, 2), 0.3
    page = open_page(f"{home}/#/material/mp-13?hkl=1,-1,2&at={at}", DRAWN)
    for kind in ("total", "magnetization"):
        page.select_option("select[name=kind]", kind)
        expected = plane(cell, density.channels[kind], hkl, at, 520, 380)
        seen = f"From {short(expected.min)} to {short(expected.max)} "
        panel = page.get_by_role("region", name="Slice")
        appears(page, f'section[aria-label="Slice"] p:has-text("{seen}")')
        assert f"d(hkl) = {short(expected.spacing)} Å" in panel.inner_text()
        canvas = panel.locator("canvas.slice")
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        assert box is not None
        for x, y in ((0.5, 0.5), (0.21, 0.83), (0.9, 0.1)):
            column, row = int(520 * x), int(380 * y)
            left = box["x"] + (column + 0.5) * box["width"] / 520
            page.mouse.move(left, box["y"] + (row + 0.5) * box["height"] / 380)
            shown = float(appears(page, 'p:has-text(" here")').inner_text().split()[0])
            assert shown == pytest.approx(expected.values[520 * row + column], rel=1e-3, abs=1e-6)
        page.mouse.move(0, 0)
        page.select_option("select[name=profile]", "2")
        label = {"total": "density", "magnetization": "magnetisation"}[kind]
        appears(page, f'[aria-label="Profile of the {label}"]')
        page.wait_for_timeout(300)
        rows = list(csv.reader(downloaded(page, "CSV").read_text(encoding="utf-8").splitlines()))
        assert rows[0] == ["distance_angstrom", label]
        found = np.array(rows[1:], float)
        np.testing.assert_allclose(found[:, 1], density.channels[kind].mean(axis=(0, 1)), atol=1e-9)
        across = density.crystal.volume / np.linalg.norm(np.cross(cell[0], cell[1]))
        assert found[:, 0] == pytest.approx(np.arange(len(found)) * across / len(found))


def test_downloads_are_read_back(
    home: str, open_page: OpenPage, catalog: chgdb.Catalog, downloaded: Downloaded
) -> None:
    import warnings

    import ase.io
    from ase.calculators.vasp import VaspChargeDensity
    from ase.io.cube import read_cube
    from pymatgen.core import Structure
    from pymatgen.io.vasp import Chgcar, Poscar

    # With a magnetisation, so that both channels have to be there.
    material_id = next(i for i, c in zip(catalog.ids, catalog.column("channels"), strict=True) if " " in c)
    density = catalog[material_id].density
    volume = density.crystal.volume
    page = open_page(f"{home}/#/material/{material_id}", DRAWN)
    appears(page, '[data-property="bulk_modulus"]')
    saved = downloaded(page, "CHGCAR")
    ours = chgdb.read(saved, format="chgcar")
    for name, values in density.channels.items():
        np.testing.assert_allclose(ours.channels[name], values, atol=1e-9 * np.abs(values).max())
    assert ours.crystal.numbers.tolist() == density.crystal.numbers.tolist()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        chgcar = Chgcar.from_file(saved)
        structure = Structure.from_file(downloaded(page, "CIF"))
        poscar = Poscar.from_file(downloaded(page, "POSCAR"))
    np.testing.assert_allclose(chgcar.data["total"] / volume, density.total, atol=1e-9 * density.total.max())
    np.testing.assert_allclose(
        chgcar.data["diff"] / volume, density.channels["magnetization"], atol=1e-9 * density.total.max()
    )
    assert structure.composition.reduced_formula == poscar.structure.composition.reduced_formula
    assert structure.volume == pytest.approx(volume, rel=1e-8)
    np.testing.assert_allclose(VaspChargeDensity(str(saved)).chg[-1], density.total, atol=1e-9 * density.total.max())
    with downloaded(page, "cube").open() as stream:
        cube = read_cube(stream)
    bohr = 0.529177210903
    np.testing.assert_allclose(cube["data"] / bohr**3, density.total, rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(np.array(cube["atoms"].cell), density.crystal.cell, atol=1e-6)
    xsf = downloaded(page, "XSF").read_text().split("\n")
    first = next(i for i, line in enumerate(xsf) if line.startswith("BEGIN_DATAGRID_3D_total"))
    shape = tuple(int(n) for n in xsf[first + 1].split())
    values = np.array(" ".join(xsf[first + 6 : xsf.index("END_DATAGRID_3D", first)]).split(), float)
    grid = values.reshape(shape[::-1]).transpose(2, 1, 0)
    np.testing.assert_allclose(grid[:-1, :-1, :-1], density.total, rtol=1e-9, atol=1e-10)
    np.testing.assert_array_equal(grid[-1], grid[0])  # a general grid repeats its first points
    assert len(ase.io.read(saved.with_suffix(".xsf").with_name(f"{material_id}.xsf"), format="xsf")) == len(
        density.crystal
    )
    again = chgdb.read(downloaded(page, "npz"))
    for name, values in density.channels.items():
        np.testing.assert_allclose(again.channels[name], values, rtol=0, atol=1e-12)
    picture = downloaded(page, "PNG")
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_one_html_file_opens_from_a_disk(
    home: str, open_page: OpenPage, catalog: chgdb.Catalog, downloaded: Downloaded
) -> None:
    page = open_page(home + "/#/material/mp-149", DRAWN)
    appears(page, '[data-property="bulk_modulus"]')
    saved = downloaded(page, "One HTML file")
    assert saved.stat().st_size < 800_000
    alone = open_page(saved.as_uri(), DRAWN)
    assert f"{catalog['mp-149'].n_electrons:.6f}" in alone.inner_text("main")
    assert f"{100 * catalog['mp-149'].nmae:.3g} %" in alone.inner_text("figcaption")
    poscar = downloaded(alone, "POSCAR")
    assert poscar.read_text().startswith("Si mp-149")


def test_a_flipped_byte_is_no_picture(home: str, open_page: OpenPage, browser) -> None:
    page = open_page("about:blank")

    def spoil(route) -> None:
        response = route.fetch()
        body = bytearray(response.body())
        body[len(body) // 2] ^= 16
        route.fulfill(response=response, body=bytes(body))

    page.route("**/payload/**", spoil)
    page.goto(home + "/#/material/mp-149")
    appears(page, ".error")
    message = page.inner_text(".error")
    assert "mp-149" in message
    assert "damaged" in message or "not the one" in message
    assert page.locator("canvas").count() == 0


@pytest.mark.parametrize("column", ["nmae/c/0", "index/facts/c/0/0", "head.bin"])
def test_flipped_bytes_elsewhere(site: str, open_page: OpenPage, column: str) -> None:
    page = open_page("about:blank")

    def spoil(route) -> None:
        response = route.fetch()
        body = bytearray(response.body())
        body[len(body) // 2] ^= 1
        route.fulfill(response=response, body=bytes(body))

    page.route(f"**/{column}", spoil)
    page.goto(site + ("/" if column.startswith("nmae") else "/#/material/mp-149"))
    appears(page, ".error")
    assert page.locator("canvas").count() == 0 or column.startswith("nmae")


def test_a_flipped_byte_in_a_property_is_told(site: str, open_page: OpenPage) -> None:
    """The picture, of bytes that are as they were, stays; no table of properties comes."""
    page = open_page("about:blank")

    def spoil(route) -> None:
        response = route.fetch()
        body = bytearray(response.body())
        body[len(body) // 2] ^= 1
        route.fulfill(response=response, body=bytes(body))

    page.route("**/bulk_modulus/c/0", spoil)
    page.goto(site + "/#/material/mp-149")
    said = appears(page, ".error").inner_text()
    assert "mp-149" in said
    assert "damaged" in said
    assert page.get_by_role("region", name="Properties").count() == 0
    assert "Reading" not in page.inner_text("main")


def test_the_api_in_words(site: str, open_page: OpenPage) -> None:
    page = open_page(f"{site}/#/api", ".operation")
    paths = page.evaluate("() => fetch('api/v1/openapi.json').then((r) => r.json()).then((d) => Object.keys(d.paths))")
    shown = page.inner_text("main")
    assert all(path in shown for path in paths)
    assert "null" not in shown
    for words in ("one of all, only", "one of chgcar, cube", "from 1 to 1,000", "0.0001 unless given"):
        assert words in shown
    estimate = page.locator(".operation", has_text="/api/v1/estimate").inner_text()
    assert "JSON" in estimate
    assert "the file itself" not in estimate


def test_a_server_without_ranges_is_used(site: str, open_page: OpenPage) -> None:
    page = open_page("about:blank")

    def whole(route) -> None:
        headers = {k: v for k, v in route.request.headers.items() if k != "range"}
        route.fulfill(response=route.fetch(headers=headers))

    page.route("**/payload/**", whole)
    page.goto(site + "/#/material/mp-149")
    appears(page, DRAWN)


def test_ids_are_text(site: str, open_page: OpenPage) -> None:
    page = open_page("about:blank")
    nasty = "<img src=x onerror=document.title='owned'>"
    page.goto(f"{site}/#/material/{nasty.replace('/', '%2F').replace(' ', '%20')}")
    appears(page, ".error")
    assert nasty in page.inner_text("h1")
    assert page.locator("h1 img").count() == 0
    assert page.title() != "owned"


def test_without_webgl(site: str, browser, open_page: OpenPage) -> None:
    page = open_page("about:blank")
    page.add_init_script("HTMLCanvasElement.prototype.getContext = (old => function (kind, ...rest) { "
                         "return kind.startsWith('webgl') ? null : old.call(this, kind, ...rest) })"
                         "(HTMLCanvasElement.prototype.getContext)")  # fmt: skip
    page.goto(site + "/#/material/mp-149")
    appears(page, "text=no WebGL")
    appears(page, "canvas.slice")
    appears(page, "text=on this plane")
    open_page.problems[:] = [p for p in open_page.problems if "WebGL" not in p]  # type: ignore[attr-defined]
