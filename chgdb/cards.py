"""Values as notebooks show them: a title and a few rows, as HTML that needs no style sheet."""

from __future__ import annotations

import math
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


def lengths_and_angles(cell: Iterable[Iterable[float]]) -> tuple[list[float], list[float]]:
    """Lengths of three lattice vectors in Å, and the angles opposite of them in degrees; rows of `cell` are vectors.

    >>> lengths, angles = lengths_and_angles([[4, 0, 0], [0, 3, 0], [3, 0, 4]])
    >>> lengths, [round(angle, 3) for angle in angles]
    ([4.0, 3.0, 5.0], [90.0, 53.13, 90.0])
    """
    vectors = [list(row) for row in cell]
    lengths = [math.hypot(*vector) for vector in vectors]
    angles = []
    for i, j in ((1, 2), (0, 2), (0, 1)):
        cosine = sum(x * y for x, y in zip(vectors[i], vectors[j], strict=True)) / (lengths[i] * lengths[j])
        angles.append(math.degrees(math.acos(max(-1.0, min(1.0, cosine)))))
    return lengths, angles


def cell_text(cell: Iterable[Iterable[float]]) -> str:
    """Lengths and angles of a cell in one line; rows of `cell` are lattice vectors in Å.

    >>> cell_text([[4, 0, 0], [0, 4, 0], [0, 0, 5]])
    '4.0000, 4.0000, 5.0000 Å; 90.00, 90.00, 90.00°'
    """
    lengths, angles = lengths_and_angles(cell)
    return f"{', '.join(f'{x:.4f}' for x in lengths)} Å; {', '.join(f'{x:.2f}' for x in angles)}°"
