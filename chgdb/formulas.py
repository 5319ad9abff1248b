"""Formulas as the field writes them: PbTiO3, LiOH, NH3.

For people to read; data has the reduced formula of `elements`.
"""

from __future__ import annotations

import re

from .elements import ELECTRONEGATIVITY, SYMBOLS, atomic_number

#: Metals in the order in which they are named before an anion: alkali metals, alkaline earths, then from large cations
#: to small ones (Shannon's ionic radii of their common charges), as in PbTiO3, BiFeO3, LaMnO3, ZnFe2O4, Cu2ZnSnS4.
_METALS = (
    "Cs Rb K Na Li Ba Sr Ca Mg Be Tl Ag Hg Pb Bi Ac La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Y Er Tm Yb Lu Th Pa U Np Pu Am Cm "
    "Sc Cu Cd Zn Ni Co Mn Fe In Cr Ga Zr Hf Sn Pd Pt Au Rh Ir Ru Os Ti Sb Nb Ta W Mo Tc Re V Al Ge"
).split()
_ANIONS = frozenset("F O Cl Br I S Se Te N P As".split())
_HALOGENS = ("Cl", "Br", "I")


def common_formula(formula: str) -> str:
    """A reduced formula with its elements in the order that chemists and physicists use.

    Metals before an anion stand as in minerals and perovskites, hydrogen after them, then the others by
    electronegativity. Hydroxides end in OH, oxyhalides in the halogen, mixed halides begin with F; organic molecules
    begin with C and H, ammonia and its like with N. Formulas of metals alone, and what is no formula, are left as they
    are. That of no atoms is said in words.

    >>> [common_formula(f) for f in ("TiPbO3", "LiHO", "CaH2O2", "BiClO", "H4C", "H3N", "MgFe", "KH2PO4")]
    ['PbTiO3', 'LiOH', 'Ca(OH)2', 'BiOCl', 'CH4', 'NH3', 'MgFe', 'KH2PO4']
    >>> common_formula("")
    'no atoms'
    """
    if not formula:
        return "no atoms"
    parts = re.findall(r"([A-Z][a-z]?)(\d*)", formula)
    if "".join(symbol + number for symbol, number in parts) != formula or any(s not in SYMBOLS for s, _ in parts):
        return formula
    counts = {symbol: int(number or 1) for symbol, number in parts}
    metals = [symbol for symbol in _METALS if symbol in counts]
    others = sorted((s for s in counts if s not in metals), key=lambda s: (_electronegativity(s), s))
    if len(counts) != len(parts) or not others or (metals and not _ANIONS & {*others} and others != ["H"]):
        return formula
    if not metals:
        return _written(_of_molecule(others), counts)
    if set(others) == {"H", "O"} and counts["H"] == counts["O"]:
        hydroxide = "OH" if counts["O"] == 1 else f"(OH){counts['O']}"
        return _written(metals, counts) + hydroxide
    if "H" in others and len(others) > 1:
        others.remove("H")
        others.insert(0, "H")
    halogens = [symbol for symbol in others if symbol in _HALOGENS]
    if "O" in others and halogens and counts["O"] < 3 * sum(counts[symbol] for symbol in halogens):
        others = [s for s in others if s not in halogens and s != "F"] + halogens + ["F"] * ("F" in others)
    elif "F" in others and halogens:
        others = ["F", *(symbol for symbol in others if symbol != "F")]
    return _written([*metals, *others], counts)


def _of_molecule(symbols: list[str]) -> list[str]:
    """The order of non-metals: carbon and hydrogen first, nitrogen before hydrogen where there is no oxygen."""
    if {"C", "H"} <= {*symbols}:
        return ["C", "H", *sorted(s for s in symbols if s not in ("C", "H"))]
    if {"N", "H"} <= {*symbols} and "O" not in symbols:
        return ["N", "H", *(s for s in symbols if s not in ("N", "H"))]
    if "H" in symbols and "O" in symbols:
        return ["H", *(s for s in symbols if s != "H")]
    return symbols


def _electronegativity(symbol: str) -> float:
    return ELECTRONEGATIVITY[atomic_number(symbol)] or 9.0


def _written(symbols: list[str], counts: dict[str, int]) -> str:
    return "".join(symbol + (str(counts[symbol]) if counts[symbol] > 1 else "") for symbol in symbols)
