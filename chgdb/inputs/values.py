"""The meaning of the cells of a column (numbers, true and false, text, or nothing), and of units in its header."""

from __future__ import annotations

import math
import re
from typing import Any

#: Cells that stand for an unknown value.
MISSING = frozenset(
    "N/A n/a NA N.A. n.a. #N/A #NA <NA> null NULL Null None nan NaN NAN -nan -NaN NaT - -- \u2013 \u2014 "
    "#DIV/0! #VALUE! #REF! #NUM! #NULL! #NAME?".split()
) | {""}
#: Cells that stand for it between numbers, and are words between others.
_MISSING_NUMBERS = frozenset(("none", "NONE", "?"))
_PLAIN = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_PADDED = re.compile(r"[+-]?0\d.*")
_BARE_EXPONENT = re.compile(r"[+-]?\d+[eE]\d+")
_LONG = re.compile(r"[+-]?\d{16,}")
_COMMAS = re.compile(r"[+-]?\d+(,\d+)+(\.\d+)?([eE][+-]?\d+)?|[+-]?,\d+")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?")
_POINTS_AND_COMMA = re.compile(r"[+-]?\d{1,3}(\.\d{3})+,\d+")
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")


def is_number(text: str) -> bool:
    """Whether a text is a plain number: not infinite (1e999 is), and without underscores."""
    return bool(_PLAIN.fullmatch(text)) and math.isfinite(float(text))


def known(cells: list[str]) -> list[str | None]:
    """The cells of a column, with None for each that stands for nothing."""
    return [None if cell in MISSING else cell for cell in cells]


def typed(cells: list[str], quantity: bool = False) -> list[Any]:
    """The values of a column: all of them bool, float or str. None where a cell stands for nothing.

    A column holds numbers only if all its values are plain ones. It holds identifiers, and stays text, where a value
    has leading zeros (007), underscores, hexadecimal digits or more than 15 digits. It also does where all exponents
    are bare (1E5), because no program writes numbers so. One value with a point or a signed exponent (1.2e-05, 1e+05)
    says that they are numbers. quantity: the header names a unit, so whatever can be a number is one.
    Raises `ValueError` if commas could be decimal, or separate thousands.

    >>> typed(["1_1", "12"]), typed(["007", "12"]), typed(["1E5", "2E3"]), typed(["1.2e-05", "3"])
    (['1_1', '12'], ['007', '12'], ['1E5', '2E3'], [1.2e-05, 3.0])
    >>> typed(["1,5", "12"]), typed(["true", "-"]), typed(["1E5"], quantity=True)
    ([1.5, 12.0], [True, None], [100000.0])
    """
    values = known(cells)
    given = [value for value in values if value is not None]
    if given and all(value.lower() in ("true", "false") for value in given):
        return [None if value is None else value.lower() == "true" for value in values]
    numbers = [None if value in _MISSING_NUMBERS else _with_plain_sign(value) for value in values]
    if any(numbers) and all(value is None or is_number(value.replace(",", ".")) for value in numbers):
        values, given = numbers, [value for value in numbers if value is not None]
    if any("," in value for value in given):
        values = _without_commas(values)
        given = [value for value in values if value is not None]
    if _are_numbers(given, quantity):
        return [None if value is None else float(value) for value in values]
    return list(values)


def _with_plain_sign(value: str | None) -> str | None:
    """A value with a typesetter's minus (U+2212) replaced by that of a keyboard."""
    return value if value is None else value.replace("\u2212", "-")


def _are_numbers(given: list[str], quantity: bool) -> bool:
    if not all(map(is_number, given)):
        return False
    if quantity:
        return True
    bare = any(_BARE_EXPONENT.fullmatch(value) for value in given)
    written_as_numbers = any("." in value or re.search(r"[eE][+-]", value) for value in given)
    coded = any(_PADDED.fullmatch(value) or _LONG.fullmatch(value) for value in given)
    return not coded and (written_as_numbers or not bare)


def _without_commas(values: list[str | None]) -> list[str | None]:
    """Values with points for decimal commas, where the column has only numbers."""
    given = [value for value in values if value is not None]
    grouped = next((value for value in given if _POINTS_AND_COMMA.fullmatch(value)), "")
    if grouped and all(_POINTS_AND_COMMA.fullmatch(value) or _COMMAS.fullmatch(value) for value in given):
        raise ValueError(f"{grouped} has points between thousands and a decimal comma: write it as 1234.5")
    with_commas = [value for value in given if "," in value]
    if not all(_COMMAS.fullmatch(value) or _PLAIN.fullmatch(value) for value in given):
        return values  # text
    decimal = all(_DECIMAL_COMMA.fullmatch(value) or value.lstrip("+-").isdecimal() for value in given)
    thousands = all(_THOUSANDS.fullmatch(value) for value in with_commas)
    if thousands or not decimal:
        raise ValueError(f"{with_commas[0]} has commas between thousands, or a decimal one: write it with a point")
    return [value if value is None else value.replace(",", ".") for value in values]


# Units --------------------------------------------------------------------------------------------------------------

#: Unit at the end of a column's name -> its usual form. Longest first.
_UNITS = {
    "eV_per_angstrom3": "eV/angstrom^3",
    "eV_per_atom": "eV/atom",
    "meV_per_atom": "meV/atom",
    "kJ_per_mol": "kJ/mol",
    "g_per_cm3": "g/cm^3",
    "angstrom3": "angstrom^3",
    "angstrom": "angstrom",
    "muB": "mu_B",
    "GPa": "GPa",
    "MPa": "MPa",
    "meV": "meV",
    "eV": "eV",
    "K": "K",
}
#: Names of columns that can be in kelvin. K alone is also potassium: n_K, x_K, K.
_TEMPERATURE = re.compile(
    r"(?i:.*(temperature|debye|theta|curie|n[eé]el|kelvin|melting|boiling).*|(.*_)?temp(_.*)?)"
    r"|(.*_)?T(_?([cCNmMbBdDgGeE0]|max|min|melt|boil|crit))?(_std|_err|_error)?"
)
_SYMBOL = (
    r"(?:[kMGTPcdmµμunpf]?(?:eV|Ha|Hartree|Ry|J|cal|Pa|bar|m|g|s|Hz|K|V|A|T|W|S|C|F|N|B|Ω|ohm|Ohm|mol|L|l)"
    r"|[aA]ngstr[oö]ms?|Å|A|bohr|Bohr|a0|a\.u\.|au|amu|u|e|electrons?|atoms?|f\.?u\.?|cell|sites?|formula|formula unit"
    r"|mu_?B|[μµ]_?B|hbar|ħ|deg(?:rees?)?|°C?|rad|min|h|days?|years?|%|ppm|arb\. ?units?|1|D|Debye|mag)"
)
_POWER = r"(?:(?:\^|\*\*)?\(?[-−]?\d+\)?|[²³⁻¹]+)?"
_PRODUCT = rf"{_SYMBOL}{_POWER}(?:\s?[/*·. ]\s?{_SYMBOL}{_POWER}|_per_{_SYMBOL}{_POWER})*"
_UNIT = re.compile(rf"{_PRODUCT}(?:\s?/\s?\({_PRODUCT}\))?")
_TITLE = re.compile(r"(.+?)\s*(?:\[([^\[\]]*)\]|\(((?:[^()]|\([^()]*\))*)\))")


def split_units(title: str) -> tuple[str, str]:
    """Name and unit of a column's header. A unit must be written as one.

    >>> split_units("energy_vs_atoms_eV_per_atom"), split_units("gap [eV]"), split_units("paper_split")
    (('energy_vs_atoms', 'eV/atom'), ('gap', 'eV'), ('paper_split', ''))
    >>> split_units("n_K"), split_units("debye_temperature_K"), split_units("energy (PBE)"), split_units("rho (g/cm^3)")
    (('n_K', ''), ('debye_temperature', 'K'), ('energy_PBE', ''), ('rho', 'g/cm^3'))
    """
    if match := _TITLE.fullmatch(title):
        units = (match[2] or match[3] or "").strip()
        if _UNIT.fullmatch(units):
            return _name(match[1]), units
    for suffix, units in _UNITS.items():
        name = title.removesuffix("_" + suffix)
        if name != title and name and (suffix != "K" or _TEMPERATURE.fullmatch(name)):
            return _name(name), units
    return _name(title), ""


def _name(text: str) -> str:
    """
    >>> _name("band gap (direct)"), _name("T/K")
    ('band_gap_direct', 'T_K')
    """
    return re.sub(r"\W+", "_", text.strip()).strip("_") if re.search(r"\W", text.strip()) else text.strip()
