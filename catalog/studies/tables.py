"""Markdown tables of the pages, and short names of properties in their headings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

#: Short names of properties in headings.
SHORT = {
    "bulk_modulus": "K", "shear_modulus": "G", "youngs_modulus": "E", "debye_temperature": "Debye",
    "energy_vs_atoms": "E against atoms", "formation_energy": "formation energy", "band_gap": "band gap",
    "fermi_energy": "Fermi energy", "volume": "cell volume", "mass_density": "mass density",
}  # fmt: skip


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table. The first column is aligned left, the others right."""
    lines = [f"| {' | '.join(headers)} |", "| --- |" + " ---: |" * (len(headers) - 1)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])
