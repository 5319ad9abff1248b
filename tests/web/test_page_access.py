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
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True},
    # 200 % of a window of 1280 points is one of 640.
    "zoomed": {"viewport": {"width": 640, "height": 450}, "device_scale_factor": 2, "reduced_motion": "reduce"},
}


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("screen", SCREENS)
def test_axe(site: str, open_page: OpenPage, screen: str, look: str) -> None:
    if not AXE.exists():
        pytest.skip("needs axe-core: npm ci in chgdb/web/page")
    place, until = SCREENS[screen]
    page = open_page(f"{site}/{place}", until, **LOOKS[look])
    if screen == "material":
        appears(page, '[data-property="bulk_modulus"]')
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("() => axe.run().then((r) => r.violations.map((v) => [v.id, v.nodes.map((n) => n.html)]))")
    assert found == []
    # Nothing is cut off at the side.
    assert page.evaluate("() => document.documentElement.scrollWidth - innerWidth") <= 1


def test_the_keyboard_reaches_everything(site: str, open_page: OpenPage) -> None:
    page = open_page(f"{site}/#/material/mp-149", DRAWN)
    appears(page, '[data-property="bulk_modulus"]')
    wanted = page.evaluate(
        "() => [...document.querySelectorAll('a, button, input, select, canvas[tabindex], [tabindex=\"0\"]')]"
        ".filter((e) => !e.disabled && e.tabIndex >= 0).length"
    )
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


def test_touch(site: str, open_page: OpenPage) -> None:
    page = open_page(f"{site}/#/", "table.materials tbody tr", **LOOKS["phone"])
    page.get_by_role("button", name="Li, ", exact=False).first.tap()
    appears(page, '.periodic [aria-pressed="true"]')
