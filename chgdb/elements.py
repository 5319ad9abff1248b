"""Chemical symbols, electronegativities and masses by atomic number."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .errors import DensityError

#: SYMBOLS[Z] is the symbol of the element with atomic number Z; SYMBOLS[0] is the dummy "X".
SYMBOLS: tuple[str, ...] = tuple(
    "X H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr "
    "Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt "
    "Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv "
    "Ts Og".split()
)

#: Pauling electronegativity by atomic number, 0 where none is tabulated (values of the CRC Handbook, as in pymatgen).
ELECTRONEGATIVITY: tuple[float, ...] = tuple(
    float(value)
    for value in """
0 2.2 0 0.98 1.57 2.04 2.55 3.04 3.44 3.98 0 0.93 1.31 1.61 1.9 2.19 2.58 3.16 0 0.82 1 1.36 1.54 1.63 1.66 1.55
1.83 1.88 1.91 1.9 1.65 1.81 2.01 2.18 2.55 2.96 3 0.82 0.95 1.22 1.33 1.6 2.16 1.9 2.2 2.28 2.2 1.93 1.69 1.78
1.96 2.05 2.1 2.66 2.6 0.79 0.89 1.1 1.12 1.13 1.14 1.13 1.17 1.2 1.2 1.1 1.22 1.23 1.24 1.25 1.1 1.27 1.3 1.5
2.36 1.9 2.2 2.2 2.28 2.54 2 1.62 2.33 2.02 2 2.2 2.2 0.7 0.9 1.1 1.3 1.5 1.38 1.36 1.28 1.3 1.3 1.3 1.3 1.3 1.3
1.3 1.3 1.3 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
""".split()
)

#: Standard atomic mass by atomic number, in atomic mass units, 0 where none is tabulated (those of MAGPIE's features).
ATOMIC_MASS: tuple[float, ...] = tuple(
    float(value)
    for value in """
0 1.00794 4.002602 6.941 9.012182 10.811 12.0107 14.0067 15.9994 18.9984 20.1791 22.98977 24.305 26.98154 28.0855
30.97376 32.065 35.453 39.948 39.0983 40.078 44.95591 47.867 50.9415 51.9961 54.93805 55.845 58.93319 58.6934 63.546
65.38 69.723 72.64 74.9216 78.96 79.904 83.798 85.4678 87.62 88.90585 91.224 92.90638 95.96 98 101.07 102.9055 106.42
107.8682 112.411 114.818 118.71 121.76 127.6 126.9045 131.293 132.9055 137.327 138.9055 140.116 140.9076 144.242 145
150.36 151.964 157.25 158.9254 162.5 164.9303 167.259 168.9342 173.054 174.9668 178.49 180.9479 183.84 186.207 190.23
192.217 195.084 196.9666 200.59 204.3833 207.2 208.9804 209 210 222 223 226 227 232.0381 231.0359 238.0289 237 244 243
247 247 251 252 257 258 259 262 265 268 271 272 270 276 281 280 285 138.7109 138.7109 138.7109 138.7109 138.7109
138.7109
""".split()
)

#: Deuterium and tritium are hydrogen with symbols of their own.
_NUMBERS = {symbol: number for number, symbol in enumerate(SYMBOLS)} | {"D": 1, "T": 1}


def atomic_number(symbol: str) -> int:
    """Atomic number of a chemical symbol.

    Raises `DensityError` for anything that is not a symbol of the periodic table.

    >>> atomic_number("Si"), atomic_number("D")
    (14, 1)
    """
    try:
        return _NUMBERS[symbol]
    except KeyError:
        raise DensityError(f"{symbol!r} is not a chemical symbol") from None


def species_number(label: str) -> int:
    """Atomic number of a species as VASP labels it, by its potential too: Ti, Ti_pv, Fe/0123abcd or H1.25.

    Raises `DensityError` for a label that names no element.

    >>> species_number("Ti_pv"), species_number("H1.25")
    (22, 1)
    """
    try:
        return atomic_number(re.match(r"[A-Za-z]*", label)[0])  # type: ignore[index]
    except DensityError:
        raise DensityError(f"{label[:24]!r} names no element") from None


def check_species(labels: Iterable[str]) -> None:
    """Raises `DensityError` for the first of some labels of species that names no element."""
    for label in labels:
        species_number(label)


def reduced_formula(numbers: Iterable[int]) -> str:
    """Formula with the smallest whole-number ratios, elements by electronegativity-like convention: metals first.

    The order follows the group of the periodic table's usual formula order (Pauling electronegativity, then symbol),
    the convention of Materials Project and pymatgen.

    >>> reduced_formula([8, 8, 14])
    'SiO2'
    """
    from math import gcd

    counts: dict[int, int] = {}
    for number in numbers:
        counts[int(number)] = counts.get(int(number), 0) + 1
    divisor = gcd(*counts.values()) if counts else 1
    ordered = sorted(counts, key=lambda z: (ELECTRONEGATIVITY[z] if ELECTRONEGATIVITY[z] > 0 else 9.0, SYMBOLS[z]))
    return "".join(SYMBOLS[z] + (str(counts[z] // divisor) if counts[z] != divisor else "") for z in ordered)


def formula_numbers(formula: str) -> list[int]:
    """Atomic numbers of the atoms of a formula, in any way to write one: other orders, parentheses, spaces.

    Raises `DensityError` for anything that is no chemical formula.

    >>> formula_numbers("Ca(OH)2")
    [20, 8, 1, 8, 1]
    """
    text, numbers = formula.replace(" ", ""), []
    while match := re.search(r"\(([A-Za-z0-9]+)\)(\d*)", text):
        text = text.replace(match[0], match[1] * int(match[2] or 1), 1)
    if not re.fullmatch(r"([A-Z][a-z]?\d{0,4})+", text) or len(text) > 1000:
        raise DensityError(f"{formula!r} is not a chemical formula such as SiO2 or Ca(OH)2")
    for symbol, count in re.findall(r"([A-Z][a-z]?)(\d*)", text):
        numbers += [atomic_number(symbol)] * int(count or 1)
    return numbers


def canonical_formula(formula: str) -> str:
    """Reduced formula of any way to write one: other orders, common factors, parentheses, spaces.

    Raises `DensityError` for anything that is no chemical formula.

    >>> canonical_formula("O4 Si2"), canonical_formula("Ca(OH)2")
    ('SiO2', 'CaH2O2')
    """
    return reduced_formula(formula_numbers(formula))
