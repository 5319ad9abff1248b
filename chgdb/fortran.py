"""Numbers as Fortran prints them."""

from __future__ import annotations

import math
import re

#: Characters of a token that may still be a number.
LONGEST = 64

_BARE_EXPONENT = re.compile(rb"([+-]?(?:\d+\.?\d*|\.\d+))([+-]\d+)")
_NUMBER = re.compile(rb"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")


def parse_number(token: bytes) -> float:
    """One token as Fortran may print it: `0.12E+02`, `0.12D+02`, `-.12E-03`, `0.123-100` (the E gave way to a digit).

    Raises `ValueError` for anything else, NaN and infinity included.

    >>> parse_number(b"0.123-100")
    1.23e-101
    """
    if len(token) <= LONGEST:
        plain = token.replace(b"D", b"E").replace(b"d", b"E")
        bare = _BARE_EXPONENT.fullmatch(plain)
        if bare:
            plain = bare[1] + b"E" + bare[2]
        if _NUMBER.fullmatch(plain):
            value = float(plain)
            if math.isfinite(value):
                return value
    raise ValueError(describe(token))


def fields(line: bytes) -> list[bytes]:
    """The fields of a line, also where they filled their columns and no blank was left between them.

    Such fields have the same number of decimals, as one Fortran or C format gives them.

    >>> fields(b"-10.500000-10.500000  0.500000 T")
    [b'-10.500000', b'-10.500000', b'0.500000', b'T']
    >>> fields(b"100.2500100.5000 .FALSE.")
    [b'100.2500', b'100.5000', b'.FALSE.']
    """
    found = []
    for token in line.split():
        parts = [token]
        if token.count(b".") > 1:
            decimals = len(token) - token.rindex(b".") - 1
            parts = re.findall(rb"[+-]?\d*\.\d{%d}" % decimals, token)
        found += parts if b"".join(parts) == token else [token]
    return found


def describe(token: bytes) -> str:
    """A token that is no number, with its likely cause, for messages."""
    shown = repr(token[:24].decode("ascii", "replace")) + ("..." if len(token) > 24 else "")
    if token.strip(b"*") == b"":
        return f"{shown} stands where a number did not fit its field: the value is lost, write the file again"
    return f"{shown} is not a finite number"
