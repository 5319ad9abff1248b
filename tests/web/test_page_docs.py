"""The catalog in the documentation, built as it is and served by a plain file server that knows no ranges."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pages import DRAWN, PATIENCE, OpenPage, appears

import chgdb

ROOT = Path(__file__).resolve().parents[2]

#: The documentation's own settings, with the pages that show the catalog and what they link to.
SETTINGS = """\
INHERIT: {root}/mkdocs.yml
docs_dir: {docs}
site_dir: {site}
hooks: [{root}/docs/hooks.py]
strict: false
plugins: [search]
nav: [catalog.md, how-to/look-in-a-browser.md]
"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def documentation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs", reason="needs pip install 'chgdb[docs]'")
    folder = tmp_path_factory.mktemp("documentation")
    (folder / "docs" / "how-to").mkdir(parents=True)
    for name in ("catalog.md", "how-to/look-in-a-browser.md"):
        shutil.copy(ROOT / "docs" / name, folder / "docs" / name)
    shutil.copytree(ROOT / "docs" / "assets", folder / "docs" / "assets")
    settings = folder / "mkdocs.yml"
    settings.write_text(SETTINGS.format(root=ROOT, docs=folder / "docs", site=folder / "site"), encoding="utf-8")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--config-file", str(settings)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder / "site"


@pytest.fixture(scope="module")
def address(documentation: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(documentation)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_the_viewer_in_the_documentation(address: str, open_page: OpenPage, catalog: chgdb.Catalog) -> None:
    page = open_page(f"{address}/catalog.html", "iframe")
    frame = page.frame_locator("iframe[title='Catalog and viewer']")
    patience = {"timeout": 1000 * PATIENCE}
    frame.locator("table.materials tbody tr").first.wait_for(**patience)
    assert frame.locator("main").get_attribute("data-found") == str(len(catalog))
    frame.locator("input[name=q]").fill("mp-6930")
    frame.locator("input[name=q]").press("Enter")
    frame.get_by_role("link", name="mp-6930", exact=True).click()
    frame.locator(DRAWN).wait_for(state="attached", **patience)
    assert f"{catalog['mp-6930'].n_electrons:.6f}" in frame.locator("main").inner_text()
    assert frame.locator(".error").count() == 0
    page.get_by_role("link", name="The page by itself").click()
    appears(page, "table.materials tbody tr")
