"""Text of files, stores and servers, which can be anything, as text."""

from __future__ import annotations


def shown_text(text: str) -> str:
    """Text with question marks in the place of control characters and of what a terminal cannot show.

    >>> shown_text("Fe\\x1b[31m")
    'Fe?[31m'
    """
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)
