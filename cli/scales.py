"""Colour scales of pictures: limits that show something, and how colours are spread between them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from chgdb.errors import DensityError, require
from chgdb.isosurfaces import level_of

if TYPE_CHECKING:
    from matplotlib.colors import Normalize

KINDS = ("root", "linear", "log")
#: Colours end at so many times the value that half of the integral lies above: cores and spikes are denser.
_BEYOND = 4.0
_DECADES = 1e-4  # the smallest value of a logarithmic scale, as part of the largest: no darker than the picture needs


@dataclass(frozen=True)
class Scale:
    """low, high: values at the ends of the colours; signed: whether they diverge from zero; kind: one of `KINDS`."""

    low: float
    high: float
    signed: bool
    kind: str
    colours: str

    @classmethod
    def of(
        cls,
        values: np.ndarray,
        *,
        signed: bool,
        kind: str = "root",
        limits: tuple[float, float] | None = None,
        colours: str | None = None,
    ) -> Scale:
        """The scale for some values.

        A density goes from zero to its largest value, or to four times the value that half of the electrons in the
        picture are above, whichever is less; a field with a sign as far on both sides. limits: instead of these.
        Raises `DensityError` for colours that matplotlib has not, and for limits of a logarithm that are not positive.
        """
        name = colours or ("RdBu_r" if signed else "viridis")
        known = require("matplotlib", "plot", "chgdb plot").colormaps
        if name not in known:
            raise DensityError(f"{name!r} is no colour map of matplotlib, such as viridis, magma, Greys or RdBu_r")
        if limits is None:
            most = float(np.abs(values).max())
            high = min(most, _BEYOND * level_of(values)) or 1.0
            low = -high if signed else float(max(min(0.0, values.min()), -high))
            if kind == "log" and not signed:
                low = min(max(_DECADES * high, float(values.min())), high / 2)
        else:
            low, high = limits
        if kind == "log" and not signed and low <= 0:
            raise DensityError(f"a logarithmic scale cannot begin at {low:g}: give a range of positive values")
        return cls(low, high, signed, kind, name)

    def norm(self) -> Normalize:
        """For matplotlib."""
        colours = require("matplotlib.colors", "plot", "chgdb plot")
        if self.kind == "linear":
            return colours.Normalize(self.low, self.high)
        if self.kind == "log":
            if not self.signed:
                return colours.LogNorm(self.low, self.high, clip=True)
            return colours.SymLogNorm(_LINEAR * max(abs(self.low), abs(self.high)), vmin=self.low, vmax=self.high)
        return colours.FuncNorm((_root, _square), self.low, self.high)

    def levels(self, count: int) -> np.ndarray:
        """Values between the ends that are as far apart in colour as each other."""
        return np.array(self.norm().inverse(np.linspace(0, 1, count + 2)[1:-1]), float)

    def ticks(self) -> list[float] | None:
        """Round values for the colour bar; None where matplotlib's own do."""
        if self.kind != "root":
            return None
        places = np.linspace(_root(self.low), _root(self.high), 7)
        found = {_rounded(x) for x in _square(places)} | ({0.0} if self.low < 0 < self.high else set())
        kept: list[float] = []
        for x in sorted(found, key=lambda x: (x != 0, -abs(x))):  # zero first, then from the ends
            apart = [abs(_root(x) - _root(other)) for other in kept]
            if self.low <= x <= self.high and min(apart, default=np.inf) > 0.07 * np.ptp(places):
                kept.append(x)
        return sorted(kept)


_LINEAR = 1e-2  # of a logarithmic scale with a sign: linear below this part


def _root(x: Any) -> Any:
    return np.sign(x) * np.sqrt(np.abs(x))


def _square(x: Any) -> Any:
    return np.sign(x) * np.square(x)


def _rounded(x: float) -> float:
    """
    >>> _rounded(0.0372), _rounded(-2.6)
    (0.04, -3.0)
    """
    return 0.0 if x == 0 else round(x, -math.floor(math.log10(abs(x))))
