"""GPAW as a code of the queue (see `chgdb_catalog.dft.codes`): its worker, its settings, and who waits for setups."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chgdb_catalog.gpaw.costs import OPEN_4F, expected

__all__ = ["NEEDS", "WORKER", "expected", "is_setups_folder", "next_settings", "waits_for_setups"]

WORKER = Path(__file__).with_name("worker.py")
#: Modules that an interpreter must be able to import to run the worker.
NEEDS = ("gpaw", "ase")
# Elements whose PAW setups GPAW 22.8 does not have.
LANTHANIDES = frozenset(["La", "Ce", "Pr", "Nd", "Pm", "Sm", "Eu", "Gd", "Tb", "Dy", "Ho", "Er", "Tm", "Yb", "Lu"])
RECIPE: dict[str, Any] = {}  # settings of records that name none, as the first densities did: the worker's own
# The first attempt has larger mixing, a tighter density and a faster start: the same equations are solved further in
# less time (docs/science/dft.md).
FIRST = {
    "mixer_beta": 0.25, "mixer_history": 8, "mixer_weight": 50.0, "density_tolerance": 1e-4, "start": "plane waves",
    "davidson_far": 4e-4, "single_far": 0.0, "coarse_far": 1e-3, "quick_far": 1.5e-4,
}  # fmt: skip
# The second attempt has more bands, smaller mixing, and more work on each band in each iteration.  The smearing stays:
# 0.05 eV instead of 0.1 moves a metal's density by 2e-4 (Cu) to 5e-4 (Ti) NMAE, the settings below by less than 1e-4.
SAFER = {"bands_factor": 1.4, "mixer_beta": 0.02, "maxiter": 300, "davidson_steps": 4}
# Open 4f shells converge slowly for another reason, many nearly equal bands at the Fermi level.  More bands and smaller
# mixing make it worse (PrSe: 48 iterations without, 148 with them; PrH2: 115, and none in 300).  Of 369 structures that
# converged at the first attempt, 11 took more than its 100 iterations.  Structures like these have 300 iterations, and
# the others are given up sooner.
SAFER_4F = {"maxiter": 300, "davidson_steps": 4}
# Some spin densities do not settle when they are mixed separately, but do when they are mixed as the density is.  Some
# crystals then find another solution, so a first attempt does not do this.
SAFER_SPIN = {**FIRST, "mixer_spin": "sum", "maxiter": 250}
SPIN_POLARISED = frozenset(["Cr", "Mn", "Fe", "Co", "Ni"])  # `INITIAL_MOMENT` of the worker


def is_setups_folder(folder: Path) -> bool:
    """Whether a folder holds PAW setups, files like La.PBE.gz."""
    return any(folder.glob("*.PBE*"))


def waits_for_setups(record: dict, setups: Path | None) -> bool:
    """Whether a structure cannot be computed without further setups."""
    return setups is None and bool(record.get("needs_lanthanide_setups"))


def next_settings(record: dict, attempts: list[dict]) -> dict:
    """The settings of the next attempt at a structure: the fast ones first, then safer ones."""
    if not attempts:
        return FIRST
    if SPIN_POLARISED.intersection(record["symbols"]):
        return SAFER_SPIN
    return SAFER_4F if OPEN_4F.intersection(record["symbols"]) else SAFER
