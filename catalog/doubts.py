"""Labels that are hard to believe, with the reason: the column `label_doubt`.

A label is doubted, never changed or left out: models train on all of them, and tables are given with and without. What
speaks against one:

- A Poisson's ratio that hardly any crystal has: below -0.15, or above 0.48.
- A value far outside of what is predicted for its formula out of fold: `FAR` times the half-width of the interval that
  holds 90 % of true values. It is a residual over an interval that is calibrated for its kind of material.
- Bulk and shear modulus against each other: each may be possible, their ratio is off as far.
- A formation energy that our own DFT contradicts by `FAR_ENERGY` or more, and the prediction out of fold with it.
- Moduli that our own calculation contradicts, `label_checks.json` of `studies/check_labels.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from chgdb.catalog import Catalog
from chgdb.derived import ERROR_CORRELATION
from chgdb.models.evaluation import NINETY_PERCENT
from chgdb.models.held_out import HeldOut
from chgdb.targets import TARGETS
from chgdb_catalog import energies

CHECKS = Path(__file__).resolve().parents[1] / "docs" / "science" / "data" / "label_checks.json"
#: Half-widths of an interval of 90 % beyond which a label is doubted.
FAR = 3.0
#: eV/atom, and factor by which our own calculation of a modulus must differ.
FAR_ENERGY, FAR_MODULUS = 0.25, 1.5
#: Poisson's ratios that crystals have: cristobalite and its kin lie near -0.2.
POISSON = (-0.15, 0.48)
_SHORT = {"bulk_modulus": "K", "shear_modulus": "G", "debye_temperature": "Debye temperature"}
#: Of the targets, those whose labels others made; E follows from K and G, and band gaps are our own.
_JUDGED = ("bulk_modulus", "shear_modulus", "debye_temperature", "energy_vs_atoms", "formation_energy")


def of_catalog(catalog: Catalog, held_out: HeldOut, checks: Path = CHECKS) -> dict[str, str]:
    """Material id -> why its labels are doubted, "; " between reasons; those that are not doubted are left out.

    held_out: predictions of the model out of fold, with honest intervals.
    """
    found: dict[str, list[str]] = {material_id: [] for material_id in catalog.ids}
    ratio = catalog.column("poisson_ratio").astype(float)
    for material_id, value in zip(catalog.ids, ratio.tolist(), strict=True):
        if not (np.isnan(value) or POISSON[0] <= value <= POISSON[1]):
            found[material_id].append(f"Poisson's ratio {value:.2f}")
    far_of: dict[str, set[str]] = {}
    for name in _JUDGED:
        if name in held_out.truth:
            far_of[name] = _far(name, held_out, found)
    _apart(held_out, found, far_of.get("bulk_modulus", set()) | far_of.get("shear_modulus", set()))
    _contradicted(catalog, held_out, found)
    _computed(checks, found)
    return {material_id: "; ".join(reasons) for material_id, reasons in found.items() if reasons}


def _far(name: str, held_out: HeldOut, found: Mapping[str, list[str]]) -> set[str]:
    """Doubts labels that are far from their prediction; the materials."""
    target, ids = TARGETS[name], list(held_out.position)
    truth, mean, std = held_out.truth[name], held_out.mean[name], held_out.std[name]
    far = np.abs(truth - mean) / (NINETY_PERCENT * std)
    rows = np.flatnonzero(far > FAR)
    for row in (r for r in rows.tolist() if ids[r] in found):
        label = _SHORT.get(name, target.label)
        found[ids[row]].append(
            f"{label} {truth[row]:.3g} {target.units} is {far[row]:.1f} times the 90 % interval from {mean[row]:.3g}"
        )
    return {ids[row] for row in rows.tolist()}


def _apart(held_out: HeldOut, found: Mapping[str, list[str]], known: set[str]) -> None:
    """Doubts the ratio of K and G where neither is doubted by itself."""
    if not {"bulk_modulus", "shear_modulus"} <= set(held_out.truth):
        return
    parts = []
    for name in ("bulk_modulus", "shear_modulus"):
        truth, mean, std = held_out.truth[name], held_out.mean[name], held_out.std[name]
        parts.append((np.log(truth / mean), std / mean))
    (bulk, bulk_std), (shear, shear_std) = parts
    spread = np.sqrt(bulk_std**2 + shear_std**2 - 2 * ERROR_CORRELATION * bulk_std * shear_std)
    far = np.abs(bulk - shear) / (NINETY_PERCENT * spread)
    for material_id, row in held_out.position.items():
        if far[row] > FAR and material_id in found and material_id not in known:
            truth = held_out.truth["bulk_modulus"][row] / held_out.truth["shear_modulus"][row]
            mean = held_out.mean["bulk_modulus"][row] / held_out.mean["shear_modulus"][row]
            found[material_id].append(f"K/G {truth:.2f} is {far[row]:.1f} times the 90 % interval from {mean:.2f}")


def _contradicted(catalog: Catalog, held_out: HeldOut, found: Mapping[str, list[str]]) -> None:
    """Doubts formation energies by our own DFT, where the prediction out of fold says the same: what whole groups of
    labels differ by (f electrons in the core, corrections of superoxides), it has learned."""
    label = catalog.column("formation_energy").astype(float)
    own = energies.of_catalog(catalog).held_out
    nothing = np.full(len(held_out.formulas), np.nan)
    mean, std = (part.get("formation_energy", nothing) for part in (held_out.mean, held_out.std))
    for material_id, said, computed in zip(catalog.ids, label.tolist(), own.tolist(), strict=True):
        row = held_out.position.get(material_id)
        if row is None or not abs(said - mean[row]) > NINETY_PERCENT * std[row]:
            continue
        if abs(said - computed) > FAR_ENERGY and (mean[row] > said) == (computed > said):
            found[material_id].append(f"formation energy {said:.2f} eV/atom, our DFT gives {computed:.2f}")


def _computed(checks: Path, found: Mapping[str, list[str]]) -> None:
    """Doubts moduli by our own calculations, as far as there are any."""
    for material_id, facts in (json.loads(checks.read_text()) if checks.exists() else {}).items():
        for name, label, computed in zip(("K", "G"), facts["label"], facts["computed"], strict=True):
            ratio = computed / label
            if material_id in found and not 1 / FAR_MODULUS <= ratio <= FAR_MODULUS:
                found[material_id].append(f"{name} {label:.0f} GPa, our DFT gives {computed:.0f}")
