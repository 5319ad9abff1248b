"""Docstrings as Markdown for the page "Python API": fields become a list, examples become code.

The docstrings are written to be read in a terminal: `name: text` for arguments and fields, `>>>` for examples.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

_FIELD = re.compile(r"(?P<name>[a-z_][\w/]*(?:, [a-z_][\w/]*)*): (?=\S)")


def to_markdown(docstring: str) -> str:
    """The same text in Markdown.

    >>> print(to_markdown("A thing.\\n\\nsize: in Å.\\n\\n>>> f(1)  # doctest: +SKIP\\n2"))
    A thing.
    <BLANKLINE>
    - `size`: in Å.
    <BLANKLINE>
    ```pycon
    >>> f(1)
    2
    ```
    """
    return "\n\n".join(_paragraph(part) for part in re.split(r"\n\s*\n", docstring.strip()))


def _paragraph(text: str) -> str:
    if text.startswith(">>> "):
        return "```pycon\n" + re.sub(r" *# doctest:.*", "", text) + "\n```"
    lines: list[str] = []
    listed = False
    for line in text.split("\n"):
        field = _FIELD.match(line)
        if field:
            if lines and not listed:
                lines.append("")
            names = ", ".join(f"`{name}`" for name in field["name"].split(", "))
            line = f"- {names}: {line[field.end() :]}"
            listed = True
        elif listed and not line.startswith(" "):
            lines.append("")
            listed = False
        lines.append(line)
    return "\n".join(lines)


class Docstrings(griffe.Extension):
    """Applied to every object on the page."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = to_markdown(obj.docstring.value)
