"""`density.view()` in a JupyterLab that runs, where there is one (pip install jupyterlab; not needed otherwise)."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from nginx import free_port
from pages import DRAWN, OpenPage, appears

LAB = shutil.which("jupyter-lab", path=str(Path(sys.executable).parent))
CODE = "import chgdb\nchgdb.open()['mp-22862'].density.view()"


def notebook(code: str) -> str:
    cell = {"cell_type": "code", "id": "one", "execution_count": None, "metadata": {}, "outputs": [], "source": code}
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return json.dumps({"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5})


@contextmanager
def lab(folder: Path, shared: Path) -> Iterator[str]:
    """Address of a JupyterLab of this environment. shared: where widgets' scripts are."""
    assert LAB is not None
    port = free_port()
    own = {f"JUPYTER_{kind}_DIR": str(folder / "jupyter" / kind.lower()) for kind in ("CONFIG", "DATA", "RUNTIME")}
    environment = {**os.environ, **own, "IPYTHONDIR": str(folder / "ipython"), "JUPYTER_PATH": str(shared)}
    command = [
        LAB, "--no-browser", "--allow-root", f"--port={port}", "--ip=127.0.0.1", "--IdentityProvider.token=",
        f"--ServerApp.root_dir={folder}", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.news_url=None",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log, env=environment) as lab:
        try:
            for _ in range(1200):
                if re.search(rb"http://127", (folder / "log").read_bytes()) or lab.poll() is not None:
                    break
                time.sleep(0.1)
            assert lab.poll() is None, (folder / "log").read_text()
            yield f"http://127.0.0.1:{port}"
        finally:
            lab.terminate()
            lab.wait(timeout=60)


@pytest.mark.skipif(LAB is None, reason="needs JupyterLab: pip install jupyterlab")
def test_in_jupyterlab(open_page: OpenPage, tmp_path: Path) -> None:
    anywidget = pytest.importorskip("anywidget", reason="needs pip install 'chgdb[notebook]'")
    shared = Path(anywidget.__file__).parents[4] / "share" / "jupyter"
    (tmp_path / "some.ipynb").write_text(notebook(CODE))
    with lab(tmp_path, shared) as address:
        page = open_page(f"{address}/lab/tree/some.ipynb?reset")
        cell = appears(page, ".jp-CodeCell .cm-content", 180)
        # JupyterLab says that a kernel is idle before it has a connection, and forgets what it is told then.
        prompt = page.locator(".jp-CodeCell .jp-InputArea-prompt").first
        end = time.monotonic() + 180
        while not page.locator(".jp-OutputArea-output").count() and time.monotonic() < end:
            if "*" not in prompt.inner_text():
                cell.click()
                page.keyboard.press("Control+Enter")
            page.wait_for_timeout(1000)
        appears(page, f".jp-OutputArea {DRAWN}")
        assert "NaCl" in (page.get_attribute(".jp-OutputArea figure canvas", "aria-label") or "")
        page.select_option(".jp-OutputArea select[name=profile]", "2")
        appears(page, ".jp-OutputArea .u-over")
        page.screenshot(path=tmp_path / "lab.png", timeout=120_000)
        page.close()
    open_page.problems.clear()  # type: ignore[attr-defined] # JupyterLab's own
