"""What a computed density must satisfy before it enters the catalog."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import spglib


@dataclass(frozen=True)
class Thresholds:
    """Limits of the checks, set from the 1,784 densities of batch-0000 (their worst value in brackets).

    A density past a limit is set aside, not deleted: a limit errs on the strict side.
    """

    electrons: float = 1e-5  # |charge / n_electrons - 1|  (4.8e-8)
    # NMAE between a density and its space-group average (3.4e-3, RbAlO2; median 2.3e-5, 99 % below 2.1e-3).  The worst
    # are oxides and fluorides in primitive fcc cells, whose grids cut the shortest waves off unevenly.
    asymmetry: float = 5e-3
    # e/A^3 (-0.046, Li2Se).  The pseudo-density of Se goes below zero; 47 of the 1,784 do so somewhere.
    minimum: float = -0.07
    # |energy - composition's| in eV/atom (2.6 in 10-fold cross-validation; 99 % below 1.6)
    energy: float = 3.0
    packing: float = 1e-5  # NMAE that rounding the coefficients added  (recomputed: 1e-6 to 3e-6)
    symprec: float = 1e-3  # A, for finding the space group


DEFAULT = Thresholds()


@dataclass(frozen=True)
class EnergyRange:
    """Energy per atom as a linear function of composition, fitted robustly to densities already accepted.

    `energies` maps an element to its share, eV/atom; `counts` says how many fitted densities contain it; `lowest` and
    `highest` bound every fitted energy per atom, for elements that are too rare to have a share of their own.
    """

    energies: dict[str, float]
    counts: dict[str, int]
    lowest: float
    highest: float

    ENOUGH = 5  # densities with an element before its share is trusted

    @classmethod
    def fit(cls, records: Iterable[dict]) -> EnergyRange | None:
        """The range spanned by `records` (each with `symbols` and `energy_eV`); None when there are none."""
        records = list(records)
        if not records:
            return None
        counts = Counter(s for r in records for s in set(r["symbols"]))
        elements = sorted(counts)
        column = {e: i for i, e in enumerate(elements)}
        x = np.zeros((len(records), len(elements)))
        for row, r in zip(x, records, strict=True):
            for s in r["symbols"]:
                row[column[s]] += 1 / len(r["symbols"])
        y = np.array([r["energy_eV"] / len(r["symbols"]) for r in records])
        weight = np.ones(len(y))
        for _ in range(30):  # Huber: quadratic within 1.5 robust standard deviations, linear beyond
            a = (x * weight[:, None]).T
            share = np.linalg.solve(a @ x + 1e-3 * np.eye(len(elements)), a @ y)
            residual = np.abs(y - x @ share)
            spread = max(1.4826 * float(np.median(residual)), 1e-6)
            weight = 1 / np.maximum(1, residual / (1.5 * spread))
        return cls(dict(zip(elements, map(float, share), strict=True)), dict(counts), float(y.min()), float(y.max()))

    def excess(self, symbols: Sequence[str], energy_per_atom: float) -> float:
        """How far an energy per atom (eV) lies from its composition's; from the fitted range if an element is rare."""
        if all(self.counts.get(s, 0) >= self.ENOUGH for s in symbols):
            return energy_per_atom - sum(self.energies[s] for s in symbols) / len(symbols)
        return energy_per_atom - min(max(energy_per_atom, self.lowest), self.highest)


def operations(
    cell: np.ndarray, frac: np.ndarray, symbols: Sequence[str], symprec: float = DEFAULT.symprec
) -> tuple[np.ndarray, np.ndarray]:
    """Space-group operations x -> W x + w on fractional columns: W (n, 3, 3) integers, w (n, 3).

    Only the identity when spglib finds no symmetry within `symprec` (A).
    """
    found = _dataset(cell, frac, symbols, symprec)
    if found is None:
        return np.eye(3, dtype=np.int64)[None], np.zeros((1, 3))
    return found.rotations.astype(np.int64), found.translations


def space_group(cell: np.ndarray, frac: np.ndarray, symbols: Sequence[str], symprec: float = DEFAULT.symprec) -> int:
    """Space-group number, 1 to 230; 1 when spglib finds no symmetry within `symprec` (A)."""
    found = _dataset(cell, frac, symbols, symprec)
    return 1 if found is None else int(found.number)


def _dataset(cell: np.ndarray, frac: np.ndarray, symbols: Sequence[str], symprec: float) -> spglib.SpglibDataset | None:
    kinds = sorted(set(symbols))
    structure: Any = (np.asarray(cell), np.asarray(frac), [kinds.index(s) + 1 for s in symbols])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Set OLD_ERROR_HANDLING", DeprecationWarning)
        try:
            return spglib.get_symmetry_dataset(structure, symprec=symprec)
        except spglib.error.SpglibError:  # where older versions return None
            return None


def asymmetry(grid: np.ndarray, rotations: np.ndarray, translations: np.ndarray) -> float:
    """NMAE between a density, (nx, ny, nz), and its average over the space group.

    n(Wx + w) has at W^T k the coefficient c_k exp(2 pi i k.w), so the average is taken on the coefficients and needs no
    grid point to map onto a grid point.  Coefficients below 1e-9 of the mean, and those that an operation would carry
    off the grid, stay out of the comparison on both sides.
    """
    shape = np.array(grid.shape)
    c = np.fft.fftn(grid) / grid.size
    k = np.argwhere(np.abs(c) > 1e-9 * abs(c[0, 0, 0]))
    k = (k + shape // 2) % shape - shape // 2
    inside = np.ones(len(k), bool)
    for W in rotations:
        inside &= (2 * np.abs(k @ W) < shape).all(1)  # a row of k times W is W^T k
    k = k[inside]
    here = tuple((k % shape).T)
    values = c[here]
    difference = np.zeros_like(c)
    difference[here] = -values
    for W, w in zip(rotations, translations, strict=True):
        there = tuple((k @ W % shape).T)
        difference[there] += values * np.exp(2j * np.pi * (k @ w)) / len(rotations)  # W^T is one-to-one
    change = np.fft.ifftn(difference).real * grid.size
    return float(np.abs(change).sum() / np.abs(grid).sum())


def judge(
    record: dict,
    meta: dict,
    grids: dict[str, np.ndarray],
    energies: EnergyRange | None,
    limits: Thresholds = DEFAULT,
) -> tuple[dict[str, float], list[str]]:
    """({measure: value}, [reasons against the density]) of one result; no reasons means accepted.

    `record` is the structure, `meta` and `grids` (e/A^3) what the worker wrote.  Without `energies` the energy goes
    unchecked.  A KeyError means that the worker left a field out.
    """
    if not all(np.isfinite(g).all() for g in grids.values()):
        return {}, ["not finite: the density holds nan or infinity"]
    total = grids["total"]
    symbols = record["symbols"]
    volume = abs(float(np.linalg.det(np.asarray(record["cell"], float))))
    rotations, translations = operations(record["cell"], record["frac"], symbols, limits.symprec)
    measures = {
        "electron_error": abs(float(total.mean()) * volume / meta["n_electrons"] - 1),
        "asymmetry": asymmetry(total, rotations, translations),
        "minimum": float(total.min()),
        "energy_per_atom_eV": meta["energy_eV"] / len(symbols),
    }
    if energies is not None:
        measures["energy_excess_eV"] = energies.excess(symbols, measures["energy_per_atom_eV"])
    reasons = []
    if not meta["converged"]:
        reasons.append("not converged: the SCF cycle stopped early")
    if not measures["electron_error"] < limits.electrons:
        reasons.append(f"electron count: off by {measures['electron_error']:.1e}, limit {limits.electrons:.0e}")
    if not measures["asymmetry"] < limits.asymmetry:
        reasons.append(f"symmetry: NMAE {measures['asymmetry']:.1e} to its average, limit {limits.asymmetry:.0e}")
    if not measures["minimum"] > limits.minimum:
        reasons.append(f"smallest value: {measures['minimum']:.3f} e/A^3, limit {limits.minimum}")
    excess = measures.get("energy_excess_eV", 0.0)
    if not abs(excess) < limits.energy:
        reasons.append(f"energy: {excess:+.2f} eV/atom from its composition's, limit {limits.energy}")
    return measures, reasons
