"""Every screen for everybody: axe-core, light and dark, a phone, 200 % zoom, reduced motion, the keyboard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pages import DRAWN, OpenPage, appears

import chgdb

AXE = Path(chgdb.__file__).parent / "web" / "page" / "node_modules" / "axe-core" / "axe.min.js"

SCREENS = {
    "catalog": ("#/?elements=Li,O&without=F&where=band_gap:1..", "table.materials tbody tr"),
    "material": ("#/material/mp-6930?show=difference", DRAWN),
    "compare": ("#/compare?a=mp-149&b=mp-32", f"[data-side=b] {DRAWN}"),
    "file": ("#/file", "input[type=file]"),
    "api": ("#/api", ".operation"),
}
PHONE: dict[str, Any] = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
#: What is asked of the browser, and the size of the window; 200 % of one of 1280 points is one of 640.
LOOKS: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    "light": ({"color_scheme": "light"}, {"width": 1280, "height": 900}),
    "dark": ({"color_scheme": "dark"}, {"width": 1280, "height": 900}),
    "phone": ({"color_scheme": "light"}, {"width": 360, "height": 740}),
    "zoomed": ({"color_scheme": "dark", "reduced_motion": "reduce"}, {"width": 640, "height": 450}),
}


@pytest.mark.parametrize("screen", SCREENS)
def test_axe(site: str, open_page: OpenPage, catalog: chgdb.Catalog, tmp_path: Path, screen: str) -> None:
    if not AXE.exists():
        pytest.skip("needs axe-core: npm ci in chgdb/web/page")
    place, until = SCREENS[screen]
    page = open_page(f"{site}/{place}", until)
    if screen == "material":
        appears(page, '[data-property="bulk_modulus"]')
    if screen == "file":
        chgdb.write(tmp_path / "CHGCAR", catalog["mp-149"].density)
        page.set_input_files("input[type=file]", tmp_path / "CHGCAR")
        appears(page, DRAWN)
    page.evaluate(AXE.read_text(encoding="utf-8"))
    for look, (media, size) in LOOKS.items():
        page.emulate_media(**media)
        page.set_viewport_size(size)  # type: ignore[arg-type]
        found = page.evaluate(
            "() => axe.run().then((r) => r.violations.map((v) => [v.id, v.nodes.map((n) => n.html)]))"
        )
        assert found == [], look
        # Nothing is cut off at the side.
        assert page.evaluate("() => document.documentElement.scrollWidth - innerWidth") <= 1, look


#: Pixels of a plot that are nearly white.
WHITE = (
    "() => { const c = document.querySelector('.plot canvas'); const d = c.getContext('2d').getImageData(0, 0, c.width,"
    " c.height).data; let n = 0; for (let i = 0; i < d.length; i += 4) n += d[i + 3] > 200 && d[i] > 200"
    " && d[i + 2] > 200; return n }"
)


def test_plots_when_the_screen_turns_dark(site: str, open_page: OpenPage) -> None:
    """Their text is drawn on a canvas, which keeps its ink."""
    page = open_page(f"{site}/{SCREENS['catalog'][0]}", ".plot canvas", color_scheme="light")
    assert page.evaluate(WHITE) == 0
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"() => ({WHITE})() > 100", polling=100)


#: Everything that a user can press, set or turn.
REACHABLE = (
    "() => [...document.querySelectorAll('a, button, input, select, canvas[tabindex], [tabindex=\"0\"]')]"
    ".filter((e) => !e.disabled && e.tabIndex >= 0 && e.checkVisibility()).length"
)


@pytest.mark.parametrize("screen", ["material", "compare"])
def test_the_keyboard_reaches_everything(site: str, open_page: OpenPage, screen: str) -> None:
    place, until = SCREENS[screen]
    page = open_page(f"{site}/{place}", until)
    if screen == "material":
        appears(page, '[data-property="bulk_modulus"]')
    wanted = page.evaluate(REACHABLE)
    assert wanted > 10
    page.evaluate("() => document.body.focus()")
    reached = set()
    for _ in range(wanted + 5):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("() => [...document.querySelectorAll('*')].indexOf(document.activeElement)"))
    assert len(reached) >= wanted
    page.focus("figure canvas")
    before = page.evaluate("() => document.querySelector('figure canvas').toDataURL()")
    page.keyboard.press("ArrowLeft")
    page.wait_for_function(
        "(old) => document.querySelector('figure canvas').toDataURL() !== old", arg=before, polling=100
    )


def test_a_file_by_keyboard(site: str, open_page: OpenPage, catalog: chgdb.Catalog, tmp_path: Path) -> None:
    chgdb.write(tmp_path / "CHGCAR", catalog["mp-149"].density)
    page = open_page(f"{site}/#/file", "input[type=file]")
    page.focus("input[type=file]")
    with page.expect_file_chooser() as chooser:
        # Playwright does not wait until the browser has been told to give the dialog to it: this answer comes after.
        page.evaluate("() => 0")
        page.keyboard.press("Enter")
    chooser.value.set_files(tmp_path / "CHGCAR")
    appears(page, DRAWN)
    page.get_by_role("button", name="Predict").focus()
    page.keyboard.press("Enter")
    appears(page, "[data-predicted]")
    page.get_by_role("button", name="POSCAR", exact=True).focus()
    with page.expect_download() as saved:
        page.keyboard.press("Space")
    assert saved.value.suggested_filename.startswith("POSCAR-CHGCAR")


def test_touch(site: str, open_page: OpenPage) -> None:
    page = open_page(f"{site}/#/", "table.materials tbody tr", **PHONE)
    page.get_by_role("button", name="Li, ", exact=False).first.tap()
    appears(page, '.periodic [aria-pressed="true"]')
