"""What goes wrong while a page is open: the server stops, the store is replaced. Two browsers; texts that attack."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages import DRAWN, OpenPage, appears, in_page, numbers, serving
from playwright.sync_api import Route

import chgdb
from chgdb import Density

NASTY = "<img src=x onerror=\"document.title='owned'\">"

VALUES = """
const source = await StoreSource.open('store/')
const record = await source.record(arg)
const session = new Session()
await session.ask('record', { payload: record.payload, priors: record.priors, id: arg })
const values = text(await session.ask('values', { kind: 'total' }))
session.close()
return values
"""


def packed(folder: Path, **densities: Density) -> Path:
    """A store of a few materials, by id."""
    files = {}
    for name, density in densities.items():
        path = folder / f"{name}.npz"
        chgdb.write(path, density)
        files[str(path)] = name
    chgdb.build(folder / "some.zarr", list(files), ids=files, workers=1)
    return folder / "some.zarr"


def test_the_server_stops(open_page: OpenPage, tmp_path: Path) -> None:
    with serving("--pack", str(tmp_path / "packed.zarr")) as address:
        page = open_page(address + "/#/", "table.materials tbody tr")
    page.evaluate("() => { location.hash = '#/material/mp-149' }")
    said = appears(page, ".error").inner_text()
    assert "mp-149" in said
    assert "the server does not answer" in said
    # What was read stays.
    page.evaluate("() => { location.hash = '#/' }")
    appears(page, "table.materials tbody tr")
    open_page.problems.clear()  # type: ignore[attr-defined] # the browser tells of it


def test_a_store_that_is_replaced(open_page: OpenPage, catalog: chgdb.Catalog, tmp_path: Path) -> None:
    """The page shows the old density or the new one, or says that there is another store; never a mixture."""
    silicon, carbon = catalog["mp-149"].density, catalog["mp-66"].density
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    old = packed(tmp_path / "old", one=silicon, two=carbon)
    new = packed(tmp_path / "new", one=carbon, two=silicon, three=catalog["mp-32"].density)
    with serving(str(old)) as address:
        page = open_page(address + "/#/", "table.materials tbody tr")
        in_page(page, "globalThis.before = await StoreSource.open('store/'); await before.record('one')")
        shutil.rmtree(old)
        shutil.copytree(new, old)
        page.evaluate("() => { location.hash = '#/material/two' }")
        appears(page, f"{DRAWN}, .error")
        if page.locator(".error").count():
            assert "two" in page.inner_text(".error")
            assert "reload" in page.inner_text(".error") or "damaged" in page.inner_text(".error")
        else:
            grid = " × ".join(map(str, silicon.grid))
            assert grid in page.get_by_role("region", name="Crystal and grid").inner_text()
        page.reload()
        appears(page, DRAWN)
        values = numbers(in_page(page, VALUES, "two"))
        expected = chgdb.open(old)["two"].density.total
        np.testing.assert_allclose(values.reshape(expected.shape[::-1]).transpose(2, 1, 0), expected, atol=1e-9)
    open_page.problems.clear()  # type: ignore[attr-defined] # files that are gone


def test_texts_of_a_store_are_text(site: str, open_page: OpenPage) -> None:
    """Title, ids, formulas and labels of a store that somebody else has made."""
    page = open_page("about:blank")

    def changed(change: Callable[[Any], None]) -> Callable[[Route], None]:
        def answer(route: Route) -> None:
            response = route.fetch()
            body = response.json()
            change(body)
            route.fulfill(response=response, json=body)

        return answer

    def about(body: Any) -> None:
        body["attributes"]["title"] = NASTY
        for column in body["columns"]:
            column["label"] = NASTY

    page.route("**/config.json", changed(lambda body: body.update(store="", title=NASTY)))
    page.route("**/api/v1/store", changed(about))
    page.route("**/api/v1/columns?name=formula", changed(lambda body: body.update(values=[NASTY] * 6193)))
    page.route("**/api/v1/columns?name=material_id", changed(lambda body: body.update(values=[NASTY] * 6193)))
    page.goto(f"{site}/#/?where=volume:..20")
    appears(page, "table.materials tbody tr")
    assert NASTY in page.inner_text("h1")
    assert NASTY in page.inner_text("table.materials tbody")
    page.locator("table.materials tbody a").first.click()
    assert NASTY in appears(page, ".error").inner_text()
    assert page.locator("img").count() == 0
    assert page.title() != "owned"
    open_page.problems.clear()  # type: ignore[attr-defined] # of the material that there is not


def test_a_file_with_a_nasty_name(site: str, open_page: OpenPage, catalog: chgdb.Catalog, tmp_path: Path) -> None:
    path = tmp_path / "<img src=x onerror=alert(1)>CHGCAR"
    chgdb.write(path, catalog["mp-149"].density, format="chgcar")
    page = open_page(site + "/#/file", "input[type=file]")
    page.set_input_files("input[type=file]", path)
    appears(page, DRAWN)
    assert page.locator("main img").count() == 0
    page.get_by_role("button", name="Predict").click()
    appears(page, "[data-predicted]")


def test_two_browsers_at_once(site: str, open_page: OpenPage, catalog: chgdb.Catalog) -> None:
    wanted = ["mp-149", "mp-66", "mp-6930"]
    pages = [open_page("about:blank") for _ in wanted]
    for page, material_id in zip(pages, wanted, strict=True):
        page.goto(f"{site}/#/material/{material_id}", wait_until="commit")
    for page, material_id in zip(pages, wanted, strict=True):
        appears(page, DRAWN)
        shown = page.get_by_role("region", name="Crystal and grid").inner_text()
        assert f"{catalog[material_id].n_electrons:.6f}" in shown


@pytest.mark.parametrize("name", ["../../etc/passwd", "..", ".hidden", "a/b/POSCAR", "\\\\x", "é\u202e", "x" * 200])
def test_names_of_uploads_lead_nowhere(site: str, name: str) -> None:
    import httpx

    answer = httpx.post(f"{site}/api/v1/predict", params={"name": name}, content=b"no density", timeout=60)
    assert answer.status_code == 422
    assert "/tmp" not in answer.text
    assert "\n" not in answer.json()["detail"]
