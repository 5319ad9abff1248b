"""Facts of the calculation of a density: functional, PAW sets, valence electrons, charge.

They come from VASP's POTCAR and vasprun.xml, or from the density's own file (`extras["calculation"]` of what `formats`
reads). Only the title and the hash of each set in a POTCAR are kept, because its text may not be handed on.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from typing import Any

from ..density import Crystal, Density
from ..elements import SYMBOLS
from ..errors import FormatError
from ..formats.streams import beside

#: Column -> (type, attributes) of the facts of a calculation.
COLUMNS: dict[str, tuple[type, dict[str, str]]] = {
    "code": (str, {}),
    "functional": (str, {}),
    "energy_cutoff": (float, {"units": "eV"}),
    "pseudopotentials": (str, {"long_name": "PAW sets or pseudopotentials, with the beginning of their hash"}),
    "valence": (str, {"long_name": "electrons that each set leaves to the calculation"}),
    "charge": (float, {"units": "e", "long_name": "charge of the cell: valence electrons of the atoms less electrons"}),
}
_LONGEST = 2000  # characters of a text
#: GGA of VASP (LEXCH of the POTCAR) -> functional.
_FUNCTIONALS = {
    "PE": "PBE", "PS": "PBEsol", "91": "PW91", "RP": "RPBE", "CA": "LDA", "RE": "revPBE", "MK": "optB86b",
    "BO": "optPBE", "OR": "optPBE",
}  # fmt: skip
_SECTION = re.compile(rb"End of Dataset[ \t\r]*\n?")
_WHOLE = 1e-3  # distance from a whole number within which an electron count is one


def said(density: Density) -> dict[str, Any]:
    """Column -> value of the facts that the file of a density has of its calculation. Empty where it has none.

    VASP labels species by their potentials: K_sv, or Si/ and the beginning of a hash.
    """
    found, species = density.extras.get("calculation"), density.extras.get("species")
    values = _checked(found) if isinstance(found, dict) else {}
    pairs = species if isinstance(species, list) else []
    labels = [pair[0] for pair in pairs if isinstance(pair, list) and pair and isinstance(pair[0], str)]
    if "pseudopotentials" not in values and any(re.search("[_/]", label) for label in labels):
        values |= _checked({"code": "VASP", "pseudopotentials": "; ".join(dict.fromkeys(labels))})
    return values


def read_beside(path: str, name: str, density: Density) -> dict[str, Any]:
    """The same facts from a POTCAR or vasprun.xml beside a density.

    Raises `FormatError` if there is no such file, where it is neither of them, or is of other elements than the
    density.
    """
    data = beside(path, name)
    if data is None:
        raise FormatError(f"{path}: there is no {name} beside it, which was asked for")
    if re.match(rb"\s*<\?xml", data[:200]) and b"<modeling" in data[:4000]:
        found = _vasprun(data, density)
    elif b"parameters from PSCTR" in data[:4000]:
        found = _potcar(data, density)
    else:
        raise FormatError(f"{path}: the {name} beside it is neither a POTCAR nor a vasprun.xml")
    if found is None:
        raise FormatError(f"{path}: the {name} beside it is of other elements than {density.crystal.formula}")
    return _checked(found)


def electrons_of(numbers: Any, n_electrons: float) -> str:
    """Which of its electrons a density has, in words. numbers: the atomic numbers of its atoms.

    >>> electrons_of([14, 14], 8.0), electrons_of([14, 14], 28.0)
    ('valence electrons, of 28 in its atoms', 'all electrons of its atoms')
    """
    total = int(sum(numbers))
    if not total or n_electrons <= 0:
        return ""
    if abs(n_electrons - total) < 0.01 * max(1.0, 0.001 * total):
        return "all electrons of its atoms"
    return (
        f"valence electrons, of {total} in its atoms" if n_electrons < total else f"more than the {total} of its atoms"
    )


def _potcar(data: bytes, density: Density) -> dict[str, Any] | None:
    titles, valence, functional = [], {}, ""
    for section in _SECTION.split(data):
        title = re.search(rb"TITEL\s*=\s*([^\n]*)", section)
        electrons = re.search(rb"ZVAL\s*=\s*([\d.]+)", section)
        if title is None or electrons is None:
            continue
        text = " ".join(title[1].decode("ascii", "replace").split())
        titles.append(f"{text} (sha256 {hashlib.sha256(section.strip()).hexdigest()[:8]})")
        valence[_element(text)] = float(electrons[1])
        exchange = re.search(rb"LEXCH\s*=\s*(\w+)", section)
        functional = _FUNCTIONALS.get(exchange[1].decode(), "") if exchange else functional
    found = _of_valence(valence, density.crystal, density.n_electrons)
    return found and {**found, "code": "VASP", "functional": functional, "pseudopotentials": "; ".join(titles)}


def _vasprun(data: bytes, density: Density) -> dict[str, Any] | None:
    types = re.search(rb'<array name="atomtypes"\s*>(.*?)</array>', data, re.DOTALL)
    titles, valence = [], {}
    for row in re.findall(rb"<rc>(.*?)</rc>", types[1] if types else b"", re.DOTALL):
        cells = [" ".join(cell.decode("ascii", "replace").split()) for cell in re.findall(rb"<c>(.*?)</c>", row)]
        if len(cells) == 5:
            titles.append(cells[4])
            valence[_element(cells[4])] = float(cells[3])
    count = re.search(rb'<i name="NELECT">\s*([\d.]+)', data)
    gga = re.search(rb'<i type="string" name="GGA">\s*([\w-]+)', data)
    cutoff = re.search(rb'<i name="ENMAX">\s*([\d.]+)', data)
    version = re.search(rb'name="version" type="string">\s*([\w.]+)', data)
    found = _of_valence(valence, density.crystal, float(count[1]) if count else density.n_electrons)
    return found and {
        **found,
        "code": f"VASP {version[1].decode()}" if version else "VASP",
        "functional": _FUNCTIONALS.get(gga[1].decode(), "") if gga else "",
        "pseudopotentials": "; ".join(titles),
        **({"energy_cutoff": float(cutoff[1])} if cutoff else {}),
    }


def _element(title: str) -> str:
    """The element in a title such as "PAW_PBE Si_pv 05Jan2001"."""
    words = title.split()
    return re.sub(r"[_.].*", "", words[1] if len(words) > 1 else title)


def _of_valence(valence: Mapping[str, float], crystal: Crystal, n_electrons: float) -> dict[str, Any] | None:
    """Valence and charge. None where the sets are not those of the crystal's elements."""
    symbols = [SYMBOLS[number] for number in crystal.numbers]
    if not symbols or not set(symbols) <= set(valence):
        return None
    charge = sum(valence[symbol] for symbol in symbols) - n_electrons
    whole = round(charge)
    texts = [f"{symbol} {valence[symbol]:g}" for symbol in dict.fromkeys(symbols)]
    return {"valence": ", ".join(texts), "charge": float(whole) if abs(charge - whole) < _WHOLE else charge}


def _checked(found: Mapping[str, Any]) -> dict[str, Any]:
    """The facts that have the right type: the extras of a store or an .npz can hold anything."""
    values: dict[str, Any] = {}
    for name, (kind, _) in COLUMNS.items():
        value = found.get(name)
        if kind is str and isinstance(value, str) and value and value.isprintable():
            values[name] = value[:_LONGEST]
        elif kind is float and isinstance(value, int | float) and math.isfinite(value):
            values[name] = float(value)
    return values
