"""Take the pictures of the page that docs/how-to/look-in-a-browser.md shows: `python tests/take_screenshots.py`.

Look at them before they are committed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent / "web"))

from conftest import ARGUMENTS, CHROMIUM
from pages import DRAWN, appears, serving
from playwright.sync_api import sync_playwright

ASSETS = Path(__file__).resolve().parents[1] / "docs" / "assets"
LIGHT: dict[str, Any] = {"color_scheme": "light", "viewport": {"width": 1280, "height": 1000}}
TALL: dict[str, Any] = {"color_scheme": "light", "viewport": {"width": 1280, "height": 1460}}
DARK: dict[str, Any] = {**LIGHT, "color_scheme": "dark"}
#: File, where it is in the page, what is waited for, and the browser's window.
PICTURES = [
    ("web-catalog", "#/?elements=Li,O&without=F&where=band_gap:1..", "table.materials tbody tr", TALL),
    ("web-material", "#/material/mp-6930?show=difference", DRAWN, LIGHT),
    ("web-dark", "#/material/mp-13?show=magnetization&repeat=2x2x2", DRAWN, DARK),
]


def main() -> None:
    with serving() as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        for name, place, until, options in PICTURES:
            page = browser.new_page(**options)
            page.goto(f"{address}/{place}")
            appears(page, until)
            page.wait_for_timeout(3000)  # slices, profiles and points of a diagram come after
            page.screenshot(path=ASSETS / f"{name}.png", timeout=120_000)
            page.close()
        browser.close()


if __name__ == "__main__":
    main()
