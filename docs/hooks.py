"""What mkdocs does beside its own: formulas as MathML, which browsers draw by themselves; buttons that copy commands
without prompts and outputs; the catalog's page, live."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert

#: A block of code as pymdownx makes it, and what marks a prompt in it.
_BLOCK = re.compile(r'(<div class="[^"]*\bhighlight\b[^"]*")(>.*?</code>)', re.DOTALL)
_MARK = '<span class="gp">'
_TAG = re.compile(r"<[^>]*>")
_PROMPT = "$ "
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


def on_page_content(content: str, **_: Any) -> str:
    """Called by mkdocs with the HTML of every page."""
    return _BLOCK.sub(_with_commands, _FORMULA.sub(_mathml, content))


def _with_commands(match: re.Match[str]) -> str:
    """The theme's button copies what `data-copy` holds in place of what is shown."""
    if _MARK not in match[2]:
        return match[0]
    text = html.escape(commands(html.unescape(_TAG.sub("", match[2][1:]))), quote=True).replace("\n", "&#10;")
    return f'{match[1]} data-copy="{text}"{match[2]}'


def commands(session: str) -> str:
    """The commands of a session, without prompts and what they print; a backslash goes on in the next line.

    >>> commands("$ chgdb info \\\n    mp-149\nSi (mp-149)\n$ ls\n")
    'chgdb info \\\n    mp-149\nls'
    """
    found, goes_on = [], False
    for line in session.splitlines():
        if line.startswith(_PROMPT) or goes_on:
            found.append(line if goes_on else line.removeprefix(_PROMPT))
            goes_on = line.endswith("\\")
    return "\n".join(found)


def _mathml(match: re.Match[str]) -> str:
    return convert(html.unescape(match[3]), display="block" if match[2] == "[" else "inline")


def on_post_build(config: Any) -> None:
    """Called by mkdocs when everything else is built."""
    from chgdb.web.site import export

    export(Path(config["site_dir"]) / "catalog-page")
