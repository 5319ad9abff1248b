"""Atomic densities for the features: form factors and valence electrons of the elements, fixed in `atoms.json`."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import numpy as np

from ..promolecule import Prior


@lru_cache(maxsize=1)
def _content() -> tuple[Prior, dict[int, float]]:
    content = json.loads((Path(__file__).parent / "atoms.json").read_text(encoding="utf-8"))
    prior = Prior(np.array(content["numbers"]), np.array(content["coefficients"], np.float32))
    return prior, dict(zip(content["numbers"], map(float, content["electrons"]), strict=True))


def known(number: int) -> bool:
    """Whether the element has a form factor of its own."""
    return number in _content()[1]


def _stand_in(number: int) -> int:
    """The element itself if it has a form factor, else the nearest one by atomic number that has."""
    return min(_content()[1], key=lambda z: (abs(z - number), z))


def electrons(number: int) -> float:
    """Valence electrons of an element in the densities for which the features were made."""
    return _content()[1][_stand_in(number)]


def form_factor(number: int, s: np.ndarray) -> np.ndarray:
    """Electrons at s = |G| / 2 pi (1/Å). At 0, where the fit of the prior has no data, it is the valence."""
    prior, valence = _content()
    z = _stand_in(number)
    factor = prior.form_factor(z, s)
    return np.where(s == 0, valence[z], factor)
