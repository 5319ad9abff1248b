"""Tables of `docs/science/properties.md` on the trust in predictions, made of the numbers of `trust_studies`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chgdb.derived import DERIVED, OF_MODULI
from chgdb.models import SERVED, TARGETS, groups
from chgdb_catalog.studies.tables import SHORT, table

_DASH = "–"
_LAST = ("magnetic", "insulator", "metal", "of the paper", "others")


def _coverage(found: dict[str, Any]) -> str:
    rows = []
    for group in ("all", *groups.NAMES, *_LAST):
        shares = found["coverage"].get(group, {})
        if not shares:
            continue
        cells = [
            _DASH if n not in shares else f"{shares[n][1]:.0f}, {shares[n][2]:.0f} ({shares[n][0]})" for n in SERVED
        ]
        rows.append([group, *cells])
    return table(["% in the 90 % interval, in the 50 % one (rows)", *(SHORT[n] for n in SERVED)], rows)


def _ranks(found: dict[str, Any]) -> str:
    ranks = found["ranks"]
    rows = [
        ["relative where learned as a logarithm", *(f"{ranks[n][0]:.2f}" for n in SERVED)],
        ["in the unit", *(f"{ranks[n][1]:.2f}" for n in SERVED)],
        ["materials with a gap alone", *(f"{ranks[n][2]:.2f}" if n == "band_gap" else _DASH for n in SERVED)],
    ]
    return table(["rank correlation of std and error", *(SHORT[n] for n in SERVED)], rows)


def _gaps(found: dict[str, Any]) -> str:
    rows = [[name, str(n), f"{mae:.3f}", f"{median:.3f}"] for name, (n, mae, median) in found["gaps"].items()]
    return table(["band gap, eV", "materials", "MAE", "median of the error"], rows)


def _debye(found: dict[str, Any]) -> str:
    rows = [[name, str(n), f"{r2:.3f}", f"{mae:.1f} K"] for name, (n, r2, mae) in found["debye"].items()]
    return table(["Debye temperature", "materials", "R2", "MAE"], rows)


def _derived(found: dict[str, Any]) -> str:
    rows = []
    for name, one in ((n, DERIVED[n]) for n in OF_MODULI):
        n, r2, mae, inside = found["derived"][name]
        kind = "empirical: " if one.empirical else ""
        units = "" if one.units == "1" else f" {one.units}"
        rows.append(
            [f"{one.label}", str(n), f"{r2:.3f}", f"{mae:.3g}{units}", f"{inside:.0f} %", f"{kind}{one.source}"]
        )
    return table(["", "materials", "R2", "MAE", "in the 90 % interval", "relation"], rows)


def _energies(found: dict[str, Any]) -> str:
    own = found["energies"]
    numbers = [str(own["rows"]), *(f"{own[n]:.3f}" for n in ("mae", "median", "90 %"))]
    return table(["formation energy of our DFT, eV/atom", "labels", "MAE", "median", "nine in ten below"],
                 [["against the labels", *numbers]])  # fmt: skip


def _doubts(found: dict[str, Any]) -> str:
    doubted = found["doubts"]
    reasons = table(["reason", "materials"], [[n, str(c)] for n, c in doubted["reasons"].items()])
    rows = []
    for name, (whole, fine) in doubted["scores"].items():
        units = TARGETS[name].units
        rows.append(
            [
                TARGETS[name].label,
                *(c for n, r2, mae in (whole, fine) for c in (str(n), f"{r2:.3f}", f"{mae:.3g} {units}")),
            ]
        )
    scores = table(["", "all labels", "R2", "MAE", "without doubted ones", "R2", "MAE"], rows)
    return f"{reasons}\n\n{scores}"


def _logarithms(found: dict[str, Any]) -> str:
    rows = [[SHORT[n], *(f"{x:.4f}" for x in found["logarithms"][n])] for n in ("bulk_modulus", "shear_modulus")]
    return table(["MAE of log10(GPa), out of fold", "all rows", "rows of the paper"], rows)


def _blanked(found: dict[str, Any]) -> str:
    rows = []
    for name, (n, with_it, blank, more, low, high) in found["blanked"].items():
        rows.append([SHORT[name], str(n), f"{with_it:.2f}", f"{blank:.2f}", f"{more:.1f} % ({low:.1f} to {high:.1f})"])
    return table(["MAE, GPa", "materials", "with the density", "blanked", "more, paired"], rows)


#: Block of the page -> its text, from the numbers of `trust_studies`.
BLOCKS: dict[str, Callable[[dict[str, Any]], str]] = {
    "trust-coverage": _coverage,
    "trust-ranks": _ranks,
    "trust-gaps": _gaps,
    "trust-debye": _debye,
    "trust-derived": _derived,
    "trust-energies": _energies,
    "trust-doubts": _doubts,
    "trust-logarithms": _logarithms,
    "trust-blanked": _blanked,
}
