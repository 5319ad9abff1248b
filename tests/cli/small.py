"""Three made-up crystals with smooth densities, and what a command gives back."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from chgdb import Crystal, Density

CELLS = {
    "fcc": np.array([[0.0, 2.0, 2.0], [2.0, 0.0, 2.0], [2.0, 2.0, 0.0]]),
    "cubic": np.eye(3) * 3.5,
    "oblique": np.array([[4.0, 0.0, 0.0], [1.0, 3.0, 0.0], [0.5, 0.25, 5.0]]),
}


def atoms_density(
    cell: np.ndarray, numbers: list[int], positions: list[list[float]], grid: tuple[int, int, int], spin: float = 0
) -> Density:
    """A superposition of smooth atoms, each with as many electrons as its atomic number."""
    crystal = Crystal(cell, positions, numbers)
    miller = np.stack(np.meshgrid(*(np.fft.fftfreq(n, 1 / n) for n in grid), indexing="ij"), axis=-1)
    square = ((miller @ np.linalg.inv(cell).T) ** 2).sum(-1)
    coefficients = sum(
        z * np.exp(-(2.0 + 0.1 * z / 10) * square - 2j * np.pi * (miller @ np.array(x)))
        for z, x in zip(numbers, positions, strict=True)
    )
    values = np.fft.ifftn(coefficients).real * np.prod(grid) / crystal.volume
    return Density(crystal, {"total": values} | ({"magnetization": spin * values} if spin else {}))


DENSITIES = {
    "si": lambda: atoms_density(CELLS["fcc"], [14, 14], [[0, 0, 0], [0.25, 0.25, 0.25]], (24, 24, 24)),
    "iron": lambda: atoms_density(CELLS["cubic"], [26], [[0, 0, 0]], (20, 20, 20), spin=0.25),
    "salt": lambda: atoms_density(CELLS["oblique"], [11, 17], [[0, 0, 0], [0.5, 0.5, 0.4]], (20, 18, 28)),
}  # fmt: skip


@dataclass(frozen=True)
class Result:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Chgdb = Callable[..., Result]


def one_line(text: str) -> bool:
    """Whether an error is one line without a traceback."""
    return text.count("\n") == 1 and text.startswith("chgdb: ") and "Traceback" not in text
