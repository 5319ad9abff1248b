"""Colours and sizes of the elements in pictures: Jmol's colours, covalent radii of Cordero et al. (2008)."""

from __future__ import annotations

_COLOURS = "".join((
    "ff0000ffffffd9ffffcc80ffc2ff00ffb5b59090903050f8ff0d0d90e050b3e3f5ab5cf28aff00bfa6a6f0c8a0ff8000ffff301ff01f",
    "80d1e38f40d43dff00e6e6e6bfc2c7a6a6ab8a99c79c7ac7e06633f090a050d050c880337d80b0c28f8f668f8fbd80e3ffa100a62929",
    "5cb8d1702eb000ff0094ffff94e0e073c2c954b5b53b9e9e248f8f0a7d8c006985c0c0c0ffd98fa675736680809e63b5d47a00940094",
    "429eb057178f00c90070d4ffffffc7d9ffc7c7ffc7a3ffc78fffc761ffc745ffc730ffc71fffc700ff9c00e67500d45200bf3800ab24",
    "4dc2ff4da6ff2194d6267dab266696175487d0d0e0ffd123b8b8d0a6544d5759619e4fb5ab5c00754f45428296420066007d0070abfa",
    "00baff00a1ff008fff0080ff006bff545cf2785ce38a4fe3a136d4b31fd4b31fbab30da6bd0d87c70066",
))  # fmt: skip
#: Hundredths of an Å, three digits an element.
_RADII = "".join((
    "020031028128096084076071066057058166141121111107105102106203176170160153139139132126124132122122120119120120",
    "116220195190175164154147146142139145144142139139138139140244215207204203201199198198196194192192189190187187",
    "175170162151144141136136132145146148140150150260221215206200196190187180169",
))  # fmt: skip


def colour(number: int) -> tuple[float, float, float]:
    """Red, green and blue from 0 to 1 of an atomic number.

    >>> colour(8)
    (1.0, 0.050980392156862744, 0.050980392156862744)
    """
    text = _COLOURS[6 * number : 6 * number + 6] or "d070d0"
    red, green, blue = (int(text[i : i + 2], 16) / 255 for i in (0, 2, 4))
    return red, green, blue


def radius(number: int) -> float:
    """Covalent radius in Å.

    >>> radius(14)
    1.11
    """
    return int(_RADII[3 * number : 3 * number + 3] or "160") / 100
