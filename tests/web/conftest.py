"""A real Chromium on a real `chgdb web`: what users have. Tests skip where one of them is not installed."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import chgdb

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

# nginx, as the tests of remote stores start it.
sys.path.append(str(Path(__file__).resolve().parents[1] / "remote"))

# Without what they drive there is nothing to test: pip install 'chgdb[test]'
if not all(map(find_spec, ("fastapi", "uvicorn", "httpx", "playwright"))):
    collect_ignore_glob = ["test_*.py"]


# The system's; nothing it does may leave the machine.
ARGUMENTS = [
    *("--no-sandbox", "--no-first-run", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
    "--disable-gpu-rasterization",  # there is none: text and boxes are drawn sooner without
]
_TYPES = "text/html html; text/css css; text/javascript js; application/json json;"
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("needs Chromium (Debian: chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The embedded catalog, served."""
    from pages import serving

    with serving("--pack", str(tmp_path_factory.mktemp("web") / "packed.zarr")) as address:
        yield address


@pytest.fixture(scope="session")
def static(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The embedded catalog as a site, on nginx, below a folder."""
    from nginx import Nginx

    from chgdb.web.site import export

    root = tmp_path_factory.mktemp("static")
    try:
        server = Nginx(root, tmp_path_factory.mktemp("nginx"), _TYPES)
    except FileNotFoundError:
        pytest.skip("needs nginx (Debian: nginx-light)")
    export(root / "some" / "where")
    yield f"{server.url}/some/where/"
    server.close()


@pytest.fixture(params=["chgdb web", "nginx"])
def home(request: pytest.FixtureRequest) -> str:
    """Where the page lives: what needs no server is the same in both."""
    return str(request.getfixturevalue("site" if request.param == "chgdb web" else "static")).rstrip("/")


@pytest.fixture(scope="session")
def catalog() -> chgdb.Catalog:
    return chgdb.open()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Pages that tell of every error, and of every request that leaves the machine."""
    from pages import PATIENCE, appears

    contexts = []
    problems: list[str] = []

    def opened(url: str, until: str | None = None, **options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(1000 * PATIENCE)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: message.type == "error" and problems.append(message.text))
        page.on("request", lambda request: _is_local(request.url) or problems.append(f"asked for {request.url}"))
        page.goto(url)
        if until:
            appears(page, until)
        return page

    opened.problems = problems  # type: ignore[attr-defined]
    yield opened
    for context in contexts:
        context.close()
    assert problems == []


def _is_local(url: str) -> bool:
    return re.match(r"(http://(127\.0\.0\.1|localhost)[:/])|blob:|data:|file:", url) is not None


@pytest.fixture
def downloaded(tmp_path: Path) -> Callable[[Page, str], Path]:
    """What pressing a button saves."""

    def press(page: Page, button: str) -> Path:
        with page.expect_download() as waiting:
            page.get_by_role("button", name=button, exact=True).click()
        path = tmp_path / waiting.value.suggested_filename
        waiting.value.save_as(path)
        return path

    return press
