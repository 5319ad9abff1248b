"""The page's own modules, driven without its screens."""

from __future__ import annotations

import base64
import io
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

import numpy as np
from playwright.sync_api import Locator, Page

from chgdb_cli.main import _exit_code

#: A picture of the whole grid is there.
DRAWN = "[data-drawn*=whole]"
OpenPage = Callable[..., Page]
#: Seconds that a page may take for anything. It takes 4 at most where the tests' times are stated, alone.
PATIENCE = 60


def numbers(text: str) -> np.ndarray:
    """Doubles that the page gave as base64."""
    return np.frombuffer(base64.b64decode(text))


#: Functions for `page.evaluate`: the page's own modules, driven without its screens.
HELPERS = """
const text = (values) => {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
  let out = ''
  for (let i = 0; i < bytes.length; i += 32768) out += String.fromCharCode(...bytes.subarray(i, i + 32768))
  return btoa(out)
}
const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0))
const { Session, StoreSource } = await import('/app.js')
"""


def in_page(page: Page, code: str, argument: Any = None) -> Any:
    """Result of JavaScript with the helpers above; `argument` is its `arg`."""
    return page.evaluate(f"async (arg) => {{ {HELPERS} {code} }}", argument)


def chgdb_prints(*arguments: str) -> str:
    """Standard output of a command, run in this process; it must end well."""
    with redirect_stdout(io.StringIO()) as printed:
        code = _exit_code(list(arguments))
    assert code == 0, arguments
    return printed.getvalue()


#: Seconds that `_computed` takes on the machine whose times the tests state, when it does nothing else.
QUIET = 0.12


def _computed() -> int:
    total = 0
    for i in range(1_500_000):
        total += i * i
    return total


def pace() -> float:
    """How many times more processor time than there a computation takes here and now, at least 1."""
    began = time.process_time()
    _computed()
    return max(1.0, (time.process_time() - began) / QUIET)


def best_of_three(limit: float, measure: Callable[[], float]) -> float:
    """The least of what is measured; no further try once it is below the limit."""
    found: list[float] = []
    while len(found) < 3 and (not found or found[-1] >= limit):
        found.append(measure())
    return min(found)


@contextmanager
def serving(*arguments: str) -> Iterator[str]:
    """Address of a `chgdb web` of its own, without the slash at its end."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "chgdb_cli.main", "web", "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.search(r"http://\S+", line)
            assert found, f"chgdb web printed {line!r}"
            yield found[0].rstrip("/")
        finally:
            process.terminate()
            process.wait(timeout=20)


def appears(page: Page, selector: str, seconds: float = PATIENCE) -> Locator:
    """Wait for an element, without the frames that Playwright counts: a busy machine has few of them."""
    found = page.locator(selector)
    end = time.monotonic() + seconds
    while found.count() == 0:
        if time.monotonic() > end:
            raise AssertionError(f"{selector} did not appear in {seconds} s: {page.inner_text('body')[:3000]}")
        page.wait_for_timeout(50)
    return found.first


def painted(page: Page) -> None:
    """Wait for the graphics: where software draws, it first compiles shaders for seconds, and the page waits, too."""
    page.evaluate(
        """() => {
          for (const canvas of document.querySelectorAll('.picture canvas')) {
            const gl = canvas.getContext('webgl2')
            gl?.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4))
          }
        }"""
    )
