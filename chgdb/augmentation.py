"""Augmentation occupancies as VASP prints them, to and from arrays by ion (the form that pymatgen holds).

Reading and writing a CHGCAR does not pass through here: there the text is kept byte for byte. A record can hold the
numbers of such a text instead of its bytes (`Printed`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from .errors import FormatError
from .fortran import parse_number

_HEADER = re.compile(r"\s*augmentation occupancies\s*(\(imaginary part\))?\s*(\d{1,4})\s*(\d{1,4})\s*")


def to_arrays(text: str) -> dict[int, np.ndarray]:
    """Occupancies by ion, counted from 1; complex where the text has imaginary parts. Per-ion lines are left out.

    Raises `FormatError` for text that VASP would not have written.

    >>> to_arrays("augmentation occupancies   1   2\\n  0.1000000E+01 -0.2000000E+00\\n")
    {1: array([ 1. , -0.2])}
    """
    arrays: dict[int, np.ndarray] = {}
    lines = iter(text.splitlines())
    for line in lines:
        header = _HEADER.fullmatch(line)
        if not header:
            continue
        ion, count = int(header[2]), int(header[3])
        values: list[float] = []
        while len(values) < count:
            try:
                values += [parse_number(token.encode()) for token in next(lines, "").split() or ["the end of the text"]]
            except ValueError as error:
                raise FormatError(f"augmentation occupancies of ion {ion}: {error}") from None
        if not header[1]:
            arrays[ion] = np.array(values)
        elif ion in arrays and len(arrays[ion]) == len(values):
            arrays[ion] = arrays[ion] + 1j * np.array(values)
        else:
            raise FormatError(f"augmentation occupancies of ion {ion}: an imaginary part that fits no real one")
    return arrays


def for_pymatgen(text: str) -> dict[int, np.ndarray] | list[str]:
    """The text of one channel as the pymatgen that is installed holds it: arrays by ion, or its lines, as before
    pymatgen-core 2026.5. Raises `FormatError` as `to_arrays`."""
    lines = [line + "\n" for line in text.splitlines()]
    try:
        year, month = (int(part) for part in version("pymatgen-core").split(".")[:2])
    except PackageNotFoundError:  # all of pymatgen was one package then
        return lines
    return lines if (year, month) < (2026, 5) else to_arrays(text)


def block_text(block: Any) -> str:
    """The text of one channel as pymatgen holds it: arrays by ion, or lines of text in its older versions."""
    if not block:
        return ""
    if isinstance(block, Mapping):
        return to_text({int(ion): values for ion, values in block.items()})
    return "".join(line if line.endswith("\n") else line + "\n" for line in map(str, block))


def to_text(arrays: Mapping[int, np.ndarray]) -> str:
    """The text of a CHGCAR for occupancies by ion, seven significant digits as VASP has them.

    VASP writes the imaginary parts of all ions after the real ones.

    >>> to_text({1: np.array([1.0, -0.2])})
    'augmentation occupancies   1   2\\n  0.1000000E+01 -0.2000000E+00\\n'
    """
    ions = {ion: np.asarray(arrays[ion]).reshape(-1) for ion in sorted(arrays)}
    parts = [("", {ion: values.real for ion, values in ions.items()})]
    if any(np.iscomplexobj(values) for values in ions.values()):
        parts.append((" (imaginary part)", {ion: values.imag for ion, values in ions.items()}))
    lines = []
    for name, real in parts:
        for ion, values in real.items():
            lines.append(f"augmentation occupancies{name}{ion:4d}{values.size:4d}")
            fields = [_field(float(value)) for value in values]
            lines += ["".join(fields[start : start + 5]) for start in range(0, len(fields), 5)]
    return "".join(line + "\n" for line in lines)


def _field(value: float, digits: int = 7) -> str:
    """Fortran's E15.7, or with another number of digits."""
    mantissa, _, exponent = f"{abs(value):.{digits - 1}e}".partition("e")
    shifted = int(exponent) + 1 if value else 0
    sign = "-" if np.signbit(value) else " "
    tail = f"E{shifted:+03d}" if abs(shifted) < 100 else f"{shifted:+04d}"
    return f" {sign}0.{mantissa[0]}{mantissa[2:]}{tail}"


def for_atoms(text: str, source: Sequence[int]) -> str | None:
    """The text after a block of values, with the per-ion lines in it, for other atoms; None where it is not understood.

    source: for each new atom, the number of the old one, from 0, whose values it takes.

    >>> print(for_atoms("augmentation occupancies   1   2\\n  0.1000000E+01 -0.2000000E+00\\n", [0, 0]), end="")
    augmentation occupancies   1   2
      0.1000000E+01 -0.2000000E+00
    augmentation occupancies   2   2
      0.1000000E+01 -0.2000000E+00
    """
    end = "\r\n" if "\r\n" in text else "\n"
    sections: dict[str, dict[int, tuple[int, list[str]]]] = {}
    per_ion: list[str] = []
    lines = iter(text.splitlines())
    for line in lines:
        header = _HEADER.fullmatch(line)
        if not header:
            per_ion += line.split()
            continue
        count = int(header[3])
        body: list[str] = []
        while sum(len(part.split()) for part in body) < count:
            body.append(next(lines, "end of the text"))
            if _HEADER.fullmatch(body[-1]) or body[-1] == "end of the text":
                return None
        sections.setdefault(header[1] or "", {})[int(header[2])] = count, body
    known = [set(found) for found in sections.values()]
    if len(source) > 9999 or any(not {i + 1 for i in source} <= ions for ions in known):
        return None
    if per_ion and len(per_ion) <= max(source, default=0):
        return None
    result = []
    for part, found in sections.items():
        for number, ion in enumerate(source, 1):
            count, body = found[ion + 1]
            result += [f"augmentation occupancies{f' {part}' if part else ''}{number:4d}{count:4d}", *body]
    fields = [f"{per_ion[ion]:>20}" for ion in source] if per_ion else []
    result += ["".join(fields[start : start + 5]) for start in range(0, len(fields), 5)]
    return "".join(line + end for line in result)


def occupancies_alone(text: str) -> str:
    """The text after a block of values without the per-ion lines, which announce another block.

    >>> occupancies_alone("augmentation occupancies   1   1\\n  0.1000000E+01\\n  0.5 0.5\\n")
    'augmentation occupancies   1   1\\n  0.1000000E+01\\n'
    """
    kept, missing = [], 0
    for line in text.splitlines(keepends=True):
        header = _HEADER.fullmatch(line)
        if header:
            missing = int(header[3])
        elif missing > 0:
            missing -= len(line.split())
        else:
            continue
        kept.append(line)
    return "".join(kept)


@dataclass(frozen=True)
class Printed:
    """The numbers that VASP prints after the values of one channel.

    real : occupancies of each ion, in the order of the file.
    imaginary : their imaginary parts, () where the file has none.
    moments : one number for each ion, () where the file has none (it has them before a magnetisation).
    """

    real: tuple[np.ndarray, ...]
    imaginary: tuple[np.ndarray, ...] = ()
    moments: tuple[float, ...] = ()

    def to_text(self, line_end: str = "\n") -> str:
        """The text as VASP prints it: all ions, then their imaginary parts, then the moments, five numbers a line."""
        lines = []
        for name, ions in (("", self.real), (" (imaginary part)", self.imaginary)):
            for ion, values in enumerate(ions, 1):
                lines.append(f"augmentation occupancies{name}{ion:4d}{len(values):4d}")
                lines += _rows(values.tolist(), 7)
        return "".join(line + line_end for line in [*lines, *_rows(self.moments, _MOMENT_DIGITS)])


_MOMENT_DIGITS = 12


def _rows(values: Sequence[float], digits: int) -> list[str]:
    fields = [_field(value, digits) for value in values]
    return ["".join(fields[start : start + 5]) for start in range(0, len(fields), 5)]


def parse(text: str, n_atoms: int, line_end: str = "\n") -> Printed | None:
    """The numbers of a text, where it is to the last byte what `Printed.to_text` makes of them; else None.

    >>> parse("augmentation occupancies   1   1\\n  0.1000000E+01\\n", 1)
    Printed(real=(array([1.]),), imaginary=(), moments=())
    """
    lines = text.split(line_end)
    parts: dict[bool, list[np.ndarray]] = {False: [], True: []}
    position = 0
    try:
        while header := _HEADER.fullmatch(lines[position]):
            count = int(header[3])
            end = position + 1 + -(-count // 5)
            parts[bool(header[1])].append(_numbers(lines[position + 1 : end]))
            position = end
        moments = tuple(_numbers(lines[position:]).tolist())
    except (ValueError, IndexError):
        return None
    printed = Printed(tuple(parts[False]), tuple(parts[True]), moments)
    whole = len(printed.real) == n_atoms and len(printed.imaginary) in (0, n_atoms) and len(moments) in (0, n_atoms)
    return printed if whole and printed.to_text(line_end) == text else None


def _numbers(lines: Sequence[str]) -> np.ndarray:
    return np.array([parse_number(token.encode()) for line in lines for token in line.split()], float)
