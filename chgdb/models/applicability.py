"""The applicability domain of a property model: elements, and ranges of five descriptors of the training densities.

A regression far from its training set answers with confidence and is wrong. The descriptors are chosen so that what
users feed in by mistake stands out: all-electron densities, molecules and slabs in a box, compressed or blown-up cells,
files in another unit. Stored models call them `gauges`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..density import Crystal, Density, check_density
from ..elements import SYMBOLS
from ..errors import DensityError

#: Raised when `descriptors` changes its meaning.
VERSION = 1
#: name -> (what it is, unit, factor to that unit)
DESCRIPTORS: dict[str, tuple[str, str, float]] = {
    "volume_per_atom": ("volume per atom", "Å^3", 1.0),
    "electrons_per_atom": ("electrons per atom", "", 1.0),
    "peak": ("largest value of the density", "e/Å^3", 1.0),
    "sharpness": ("variance of the density in detail finer than 0.4 Å", "%", 100.0),
    "vacuum": ("share of the cell with less than 0.003 e/Å^3", "%", 100.0),
}
#: Hints for a value above the range.
_HINTS = {
    "volume_per_atom": "; is it a molecule in a box, or is the cell in another unit?",
    "electrons_per_atom": "; do its potentials treat core electrons as valence?",
    "peak": "; is it an all-electron density?",
    "sharpness": "; is it an all-electron density?",
    "vacuum": "; is it a molecule or a slab in a box?",
}
_VACUUM = 3e-3  # e/Å^3
#: Å beyond covalent radii; fewer than 1 % of the catalog's crystals have a thicker layer without atoms, much layered
#: ones. Slabs of its materials with 4 Å of vacuum have 1.73 and more (`studies/domain.py`).
OPEN_SPACE = 1.7
_USUAL_RADIUS = 1.5  # Å, of an element without one
_FINE = 2.5  # 1/Å
#: How far beyond its range a descriptor may lie, as a factor or in its own unit where that is larger.
_MARGIN = {name: (1.3, 0.0) for name in DESCRIPTORS} | {
    "vacuum": (1.2, 0.05),
    "sharpness": (1.5, 0.02),
    "peak": (1.5, 0.0),
}


def descriptors(density: Density) -> np.ndarray:
    """(5,) float64: the values of `DESCRIPTORS`. Raises `DensityError` as `check_atoms`."""
    crystal, total = density.crystal, density.total
    check_atoms(crystal)
    power = np.abs(np.fft.rfftn(total)) ** 2
    power[..., 1 : (total.shape[2] + 1) // 2] *= 2  # stands for -h3 as well
    power[0, 0, 0] = 0
    axes = [np.fft.fftfreq(n, 1 / n) for n in total.shape[:2]] + [np.arange(total.shape[2] // 2 + 1)]
    h = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    fine = np.linalg.norm(h @ np.linalg.inv(crystal.cell).T, axis=-1) > _FINE
    return np.array(
        [
            crystal.volume / len(crystal),
            density.n_electrons / len(crystal),
            float(total.max()),
            float(power[fine].sum()) / (float(power.sum()) or 1.0),
            float((total < _VACUUM).mean()),
        ]
    )


def open_space(crystal: Crystal) -> float:
    """Å; thickness of the thickest layer along a face of the cell that no atom's covalent sphere reaches into.

    It is small or negative in an ordinary crystal, and up to `OPEN_SPACE` between the layers of most layered ones. In a
    slab, a single layer or a molecule in a box it is the vacuum.
    """
    from ..features.composition import tables

    radii = np.nan_to_num(tables()["CovalentRadius"], nan=_USUAL_RADIUS * 100) / 100  # Å
    radius = radii[np.minimum(crystal.numbers, len(radii) - 1)]
    widest = -np.inf
    for axis, normal in enumerate(np.linalg.inv(crystal.cell).T):
        order = np.argsort(crystal.positions[:, axis] % 1.0)
        heights = (crystal.positions[:, axis] % 1.0)[order] / np.linalg.norm(normal)
        above = np.append(heights[1:], heights[0] + 1 / np.linalg.norm(normal))
        widest = max(widest, float((above - heights - radius[order] - np.roll(radius[order], -1)).max()))
    return widest


def check_atoms(crystal: Crystal) -> None:
    """Raises `DensityError` if there are no atoms, or atoms of no element."""
    if crystal.missing:
        raise DensityError(f"{crystal.missing}: properties are predicted from a density and the elements of its atoms")


def check_units(density: Density) -> None:
    """Raise `DensityError` for a `ScalarField`, and for a total far from any electron count that the atoms could have.

    Between a third of the fewest valence electrons of any usual potential and all electrons with a fifth to spare:
    a CHGCAR whose values were not multiplied by the volume, or a density per Bohr^3, is far outside.
    """
    check_density(density, "properties are predicted from a total density")
    check_atoms(density.crystal)
    numbers = density.crystal.numbers
    fewest, most = sum(_fewest_valence(int(z)) for z in numbers), int(numbers.sum())
    count = density.n_electrons
    if not fewest / 3 <= count <= 1.2 * most + 0.5:
        raise DensityError(
            f"the density integrates to {count:.6g} electrons, but {density.crystal.formula} with {len(numbers)} atoms "
            f"has {fewest} valence electrons or more and {most} in all: is it in e/Å^3 (a CHGCAR: times the volume), "
            "and is it the total density rather than a spin density?"
        )


_NOBLE = (0, 2, 10, 18, 36, 54, 86)


def _fewest_valence(z: int) -> int:
    """Fewest electrons outside the core of any usual potential: s and d of the row, s and p behind a full d shell."""
    core = max(noble for noble in _NOBLE if noble < z)
    outside = z - core
    if outside <= 2 or core < 18:
        return outside
    if core < 54:
        return outside if outside <= 10 else outside - 10 if outside > 12 else outside
    if outside <= 16:  # f electrons may be in the core
        return 2
    return outside - 14 if outside <= 26 else outside - 24


@dataclass(frozen=True)
class ApplicabilityDomain:
    """Elements and ranges of the descriptors in a training set."""

    elements: frozenset[int]
    low: Mapping[str, float]
    high: Mapping[str, float]

    @classmethod
    def of(cls, crystals: Sequence[Crystal], values: np.ndarray) -> ApplicabilityDomain:
        """The domain of training rows; values: (n, 5) of `descriptors`."""
        elements = frozenset(int(z) for crystal in crystals for z in crystal.numbers)
        low, high = values.min(axis=0), values.max(axis=0)
        return cls(
            elements,
            dict(zip(DESCRIPTORS, low.tolist(), strict=True)),
            dict(zip(DESCRIPTORS, high.tolist(), strict=True)),
        )

    def remarks(self, crystal: Crystal, values: np.ndarray) -> list[str]:
        """The ways in which an input is unlike the training set; empty where there is none."""
        found = []
        unseen = sorted({int(z) for z in crystal.numbers} - self.elements)
        if unseen:
            found.append(f"{', '.join(SYMBOLS[z] for z in unseen)}: no training material has this element")
        space = open_space(crystal)
        if space > OPEN_SPACE:
            found.append(
                f"a layer of {space:.1f} Å without atoms: hardly any training material is a slab, a single layer, as "
                "layered as this, or a molecule in a box; give the bulk crystal, or compute a slab's own response"
            )
        for name, value in zip(DESCRIPTORS, np.asarray(values).tolist(), strict=True):
            factor, width = _MARGIN[name]
            low, high = self.low[name], self.high[name]
            if value > max(high * factor, high + width):
                limit, side, hint = high, "at most", _HINTS[name]
            elif value < min(low / factor, low - width):
                limit, side, hint = low, "at least", ""
            else:
                continue
            label, unit, scale = DESCRIPTORS[name]
            bound = f"in the training set {side} {limit * scale:.3g}"
            found.append(f"{label} {value * scale:.3g} {unit}".rstrip() + f", {bound}{hint}")
        return found

    def to_json(self) -> dict[str, Any]:
        return {"elements": sorted(self.elements), "low": dict(self.low), "high": dict(self.high)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> ApplicabilityDomain:
        low, high = ({name: float(content[side][name]) for name in DESCRIPTORS} for side in ("low", "high"))
        return cls(frozenset(int(z) for z in content["elements"]), low, high)
