"""What notebooks show of a value: a title and a few rows, as HTML that needs no style sheet."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape


def card(title: str, rows: Iterable[tuple[str, str]]) -> str:
    """HTML of a title and a table of names and values, all of them taken as text.

    >>> card("Si", [("Grid", "36 x 36 x 36")])[:41]
    '<div><strong>Si</strong><table><tbody><tr'
    """
    lines = "".join(
        f'<tr><th scope="row" style="text-align: left">{escape(name)}</th>'
        f'<td style="text-align: left">{escape(value)}</td></tr>'
        for name, value in rows
    )
    return f"<div><strong>{escape(title)}</strong><table><tbody>{lines}</tbody></table></div>"


def angles(cell: Iterable[Iterable[float]]) -> str:
    """Lengths and angles of a cell, rows are lattice vectors in Å.

    >>> angles([[4, 0, 0], [0, 4, 0], [0, 0, 5]])
    '4.0000, 4.0000, 5.0000 Å; 90.00, 90.00, 90.00°'
    """
    import math

    a, b, c = (list(row) for row in cell)
    lengths = [math.hypot(*row) for row in (a, b, c)]

    def between(first: int, second: int) -> float:
        rows = (a, b, c)
        dot = sum(x * y for x, y in zip(rows[first], rows[second], strict=True))
        return math.degrees(math.acos(max(-1.0, min(1.0, dot / lengths[first] / lengths[second]))))

    degrees = (between(1, 2), between(0, 2), between(0, 1))
    return f"{', '.join(f'{x:.4f}' for x in lengths)} Å; {', '.join(f'{x:.2f}' for x in degrees)}°"
