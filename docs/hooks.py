"""What mkdocs does beside its own: formulas as MathML, which browsers draw by themselves; the catalog's page, live."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert

_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


def on_page_content(content: str, **_: Any) -> str:
    """Called by mkdocs with the HTML of every page."""
    return _FORMULA.sub(_mathml, content)


def _mathml(match: re.Match[str]) -> str:
    return convert(html.unescape(match[3]), display="block" if match[2] == "[" else "inline")


def on_post_build(config: Any) -> None:
    """Called by mkdocs when everything else is built."""
    from chgdb.web.site import export

    export(Path(config["site_dir"]) / "catalog-page")
