"""Sizes and constants of the network of difference densities, for both `network` and `inference`."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..errors import DensityError
from .basis import Basis
from .graph import REACH

#: Factor of sums over neighbours; it makes them about 1.
SUM_SCALE = 0.35
#: Highest l of the functions that messages carry.
L_MESSAGE = 2
#: Highest l of the two factors of a product. The quadrature is exact for the product: 3 + 3 + 4 = 10.
L_PRODUCT = 3
POINTS = (6, 12)


@dataclass(frozen=True)
class Configuration:
    """Sizes of the network.

    channels: functions on the sphere that an atom has in each layer. width: scalars of an atom. carried: functions on
    the sphere that messages carry; 0 for scalars alone. waves: radial functions of a distance. layers: rounds of
    messages. reach: of neighbours, Å. count, narrowest, widest, cut: see `basis.Basis`.
    """

    channels: int = 48
    width: int = 128
    carried: int = 16
    waves: int = 10
    layers: int = 3
    count: int = 8
    narrowest: float = 0.2
    widest: float = 1.3
    cut: float = 2.25
    reach: float = REACH

    @property
    def basis(self) -> Basis:
        return Basis(self.count, self.narrowest, self.widest, self.cut)

    def __post_init__(self) -> None:
        whole = (self.channels, self.width, self.waves, self.layers, self.count)
        if min(whole) < 1 or self.carried < 0 or not 0 < self.narrowest < self.widest or min(self.cut, self.reach) <= 0:
            raise DensityError("a network has at least one of everything, and widths, cut and reach above 0")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def waves(lengths: np.ndarray, count: int, reach: float) -> np.ndarray:
    """Spherical Bessel functions of order 0 with a smooth end, (...) Å -> (..., count)."""
    x = lengths / reach
    end = np.where(x < 1, 1 - 10 * x**3 + 15 * x**4 - 6 * x**5, 0.0)
    frequency = np.arange(1, count + 1) * math.pi / reach
    return math.sqrt(2 / reach) * np.sin(frequency * lengths[..., None]) * (end / lengths)[..., None]
