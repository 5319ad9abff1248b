"""CHGCARs for the tests, written value by value in plain Python: an oracle that shares no code with the package."""

from __future__ import annotations

import numpy as np


def fortran(value: float) -> str:
    """Fortran's 1X,E17.11."""
    mantissa, exponent = f"{abs(value):.10e}".split("e")
    shifted = int(exponent) + 1 if value else 0
    tail = f"E{shifted:+03d}" if abs(shifted) < 100 else f"{shifted:+04d}"
    return f" {'-' if np.signbit(value) else '0'}.{mantissa.replace('.', '')}{tail}"


def block(values: np.ndarray, per_line: int = 5) -> str:
    """Grid line and values; values: (nx, ny, nz), ρ·V."""
    fields = [fortran(value) for value in values.T.reshape(-1)]
    lines = ["".join(fields[start : start + per_line]) for start in range(0, len(fields), per_line)]
    if len(fields) % per_line:
        lines[-1] += "  "  # VASP's list-directed write of a blank
    return "".join(f"{n:5d}" for n in values.shape) + "\n" + "".join(line + "\n" for line in lines)


def augmentation(ion: int, count: int, seed: int = 0) -> str:
    """Occupancies of one ion as VASP prints them."""
    values = np.random.default_rng([seed, ion]).normal(size=count)
    signs = ["-" if value < 0 else " " for value in values]
    parts = [f"{abs(value):.6e}".split("e") for value in values]
    fields = [
        f" {sign}0.{mantissa.replace('.', '')}E{int(exponent) + 1:+03d}"
        for sign, (mantissa, exponent) in zip(signs, parts, strict=True)
    ]
    lines = ["".join(fields[start : start + 5]) for start in range(0, count, 5)]
    return f"augmentation occupancies{ion:4d}{count:4d}\n" + "".join(line + "\n" for line in lines)


HEADER = """\
a comment, with trailing blanks   
   1.00000000000000     
     0.000000    2.826625    2.826625
     2.826625    0.000000    2.826625
     2.826625    2.826625    0.000000
   Ga   As
     1     1
Direct
  0.000000  0.000000  0.000000
  0.250000  0.250000  0.250000
 
"""  # noqa: W291, W293 - as VASP writes it


def grid_values(shape: tuple[int, int, int] = (4, 3, 6), seed: int = 1) -> np.ndarray:
    """ρ·V with eleven digits, positive and negative, over several orders of magnitude."""
    rng = np.random.default_rng(seed)
    values = rng.choice([-1, 1, 1], shape) * 10 ** rng.uniform(-6, 3, shape)
    return np.vectorize(lambda value: float(f"{value:.10e}"))(values)


def chgcar(channels: int = 1, shape: tuple[int, int, int] = (4, 3, 6), occupancies: bool = True) -> str:
    """A whole file of GaAs with one, two or four blocks."""
    text = HEADER
    for channel in range(channels):
        if channel and occupancies:
            text += "  0.100000000000E+01 -0.200000000000E+01\n"
        text += block(grid_values(shape, seed=channel))
        if occupancies:
            text += augmentation(1, 8, channel) + augmentation(2, 13, channel)
    return text
