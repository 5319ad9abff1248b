"""JSON of a pymatgen `Chgcar`, the form of the Materials Project's charge densities. Read only.

The object is `Chgcar.as_dict()`, alone or as the "data" of a document: poscar.structure (lattice.matrix, sites with
species and fractional coordinates abc), data (total and diff, or total, diff_x, diff_y, diff_z; ρ·V as nested lists,
bare or as {"@class": "array", "data": ...}) and data_aug (occupancies by ion, or lines of text in older files).
pymatgen keeps potentials and other fields in the same layout; "@class" says which it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import augmentation
from ..density import Crystal, Density
from ..elements import atomic_number
from ..errors import ChgdbError, FormatError, QuantityError
from .quantities import vasp_quantity
from .streams import Reader, bare_name

NAMES = ("*.json",)

_CHANNELS = {
    "total": "total",
    "diff": "magnetization",
    "diff_x": "magnetization_x",
    "diff_y": "magnetization_y",
    "diff_z": "magnetization_z",
}


#: Classes of pymatgen and its add-ons in this layout whose values are not ρ·V, or may not be.
_OTHERS = {
    "Locpot": "a local potential in eV",
    "Elfcar": "an electron localisation function",
    "VolumetricData": "a field whose unit is not kept (of a cube e/bohr^3, of a CHGCAR ρ·V): read the file that it was "
    "made of, or make it a Chgcar",
    "ChargeDensity": "a density of pyrho's: write it to a CHGCAR with pyrho",
    "Structure": "a structure without a density",
}


def recognises(head: bytes) -> bool:
    """Whether a text begins as a JSON object does, or as a list of objects or lists."""
    return re.match(rb"\s*(\{\s*[\"}]|\[\s*[\[{])", head) is not None


def read(reader: Reader, *, elements: Sequence[str] | None = None) -> Density:
    """A density from an open JSON file. `elements` is not used: the file has them.

    Raises `FormatError` if the text is not JSON or holds no `Chgcar`. The message names the part that is wrong.
    """
    parts = []
    while part := reader.take(1 << 20):
        parts.append(part)
    try:
        document = json.loads(b"".join(parts), parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise reader.error(f"not JSON: {error.msg} (column {error.colno})", error.lineno) from None
    except RecursionError:
        raise reader.error("lists nested too deeply for a charge density", 1) from None
    except ValueError as error:  # not UTF-8, or NaN, or a number of thousands of digits
        raise reader.error(f"not JSON of a charge density: {error}", 1) from None
    del parts
    try:
        chgcar = _find(document)
        other = None if "@class" in chgcar else vasp_quantity(bare_name(reader.name).upper())
        if other:
            raise QuantityError(f"it holds by its name {other}")
        return _density(chgcar)
    except (ChgdbError, KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        message = f"{error.args[0]!r} is missing" if type(error) is KeyError else str(error)
        kind = QuantityError if isinstance(error, QuantityError) else FormatError
        raise kind(f"{reader.name}: not a pymatgen Chgcar: {message}") from None


def _refuse_constant(name: str) -> float:
    raise ValueError(f"it holds {name}; expected finite numbers")


def _find(document: Any) -> dict[str, Any]:
    """The Chgcar itself: the document, its "data", or the only entry of a list."""
    for _ in range(3):
        if isinstance(document, list) and len(document) == 1:
            document = document[0]
        if isinstance(document, dict) and document.get("@class", "Chgcar") != "Chgcar":
            name = str(document["@class"])[:80]
            article = "an" if name[:1] in "AEIO" else "a"
            raise QuantityError(
                f"it is {article} {name} of pymatgen, {_OTHERS.get(name, 'whose values may be anything')}"
            )
        if isinstance(document, dict) and isinstance(document.get("data"), dict | list):
            if isinstance(document["data"], dict) and "total" in document["data"]:
                return document
            document = document["data"]
    raise FormatError("no object with the keys 'poscar' (or 'structure') and 'data' with a 'total'")


def _density(chgcar: dict[str, Any]) -> Density:
    structure = chgcar["poscar"]["structure"] if "poscar" in chgcar else chgcar["structure"]
    sites = structure["sites"]
    numbers = [_number(site["species"]) for site in sites]
    positions = np.array([site["abc"] for site in sites], dtype=float)
    crystal = Crystal(np.array(structure["lattice"]["matrix"], dtype=float), positions, np.array(numbers))
    data = chgcar["data"]
    names = [name for name in _CHANNELS if name in data]
    if "diff_x" in names and "diff" in names:  # pymatgen adds a signed norm of its own
        names.remove("diff")
    channels = {_CHANNELS[name]: _array(data.pop(name), name) / crystal.volume for name in names}
    extras: dict[str, Any] = {}
    comment = chgcar["poscar"].get("comment") if "poscar" in chgcar else None
    if isinstance(comment, str):
        extras["comment"] = comment
    texts = {_CHANNELS[name]: _occupancies((chgcar.get("data_aug") or {}).get(name)) for name in names}
    if any(texts.values()):
        extras["after"] = {name: text for name, text in texts.items() if text}
    return Density(crystal, channels, extras)


def _number(species: list[dict[str, Any]]) -> int:
    if len(species) != 1 or species[0].get("occu", 1) != 1:
        raise FormatError("a partially occupied site has no density")
    return atomic_number(species[0]["element"])


def _array(values: Any, name: str) -> np.ndarray:
    array = np.array(_plain(values, name), dtype=float)
    if array.ndim != 3:
        raise FormatError(f"data {name!r} has the shape {array.shape}, expected (nx, ny, nz)")
    return array


def _plain(values: Any, name: str) -> Any:
    """The nested lists of an array, which may be wrapped as monty wraps them."""
    if isinstance(values, dict):
        if str(values.get("dtype", "float")).startswith("complex"):
            raise FormatError(f"data {name!r} is complex")
        values = values["data"]
    return values


def _occupancies(block: Any) -> str:
    """Text of augmentation occupancies, from lines, or from arrays by ion. A complex array is [real, imaginary]."""
    if not isinstance(block, dict):
        return augmentation.block_text(block)
    arrays = {}
    for ion, values in block.items():
        if isinstance(values, dict) and str(values.get("dtype", "")).startswith("complex"):
            real, imaginary = np.array(values["data"], dtype=float)
            arrays[int(ion)] = real + 1j * imaginary
        else:
            arrays[int(ion)] = np.array(_plain(values, f"augmentation of {ion}"), dtype=float)
    return augmentation.to_text(arrays)
