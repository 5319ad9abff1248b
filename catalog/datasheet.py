"""The datasheet of the embedded catalog, `README.md`: its text, with counts and tables taken from the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from chgdb import charged
from chgdb.catalog import Catalog, open_catalog
from chgdb.elements import SYMBOLS
from chgdb_catalog import batches, coverage
from chgdb_catalog.batches import SOURCES, write_atomically
from chgdb_catalog.columns import COLUMNS
from chgdb_catalog.dft import refusals

PICTURE = "coverage.svg"

_TEXT = """# The embedded catalog of chgdb

<!-- written by `python catalog/rebuild.py`; change datasheet.py, not this file -->

{n} electronic charge densities of inorganic crystals, each within {tolerance} NMAE of the density that was computed
and symmetrised, with structures, provenance and elastic, thermal and energetic properties. `chgdb.open()` opens it.

## What is in it

{facts}

{systems}

{origins}

{properties}

Elements ({n_elements}): {elements}

![Materials with each element, crystal systems, atoms in the cell, band gaps]({picture})

{refused}

## How it was computed

- Densities: GPAW 22.8 with its PAW-PBE setups (0.9.20000), plane waves to 400 eV, Γ-centred k-points of density 2.5 per
  1/Å, Fermi-Dirac smearing 0.1 eV. Cr, Mn, Fe, Co and Ni compounds are spin-polarised from a ferromagnetic start, all
  others not. Structures as given, not relaxed. `gpaw/worker.py` is the recipe; `sources/` holds the densities as they
  were computed (rounded once, to about 3e-6 of the mean density).
- What the grid holds is what VASP writes to a CHGCAR: the smooth pseudo valence density plus soft compensation charges
  that restore the multipole moments inside the PAW spheres. It integrates to the number of valence electrons. It is not
  the all-electron density, and differs from VASP's own near the nuclei, where both are pseudo-densities.
- Every density is given the symmetry of its crystal before it is stored, as VASP does before it writes a CHGCAR
  (`chgdb.codecs.symmetric.symmetrised`). GPAW imposes no screw axes and glide planes, and its grids hold products of
  waves only in part, so that its densities break that symmetry a little, oxides and fluorides most. The column
  `asymmetry` has the NMAE between the density as computed, which `sources/` keeps, and as stored:
  {asymmetry_median:.1e} in the median, {asymmetry_high:.1e} at 95 %, {asymmetry_largest:.1e} at most.
- The ids are Materials Project ids of the *structures*. The densities are ours, not the Materials Project's.
- Compression: the Fourier codec at NMAE <= {tolerance} (docs/format.md), every record decoded and measured against the
  symmetrised density when it was written. NMAE = sum |n' - n| / sum |n| on the density's own grid.
- Moduli, Debye temperatures, formation energies: from the Materials Project by way of the publications that
  `moduli_source` and the columns' `source` attributes name.

## Known limits

- No augmentation occupancies: a CHGCAR from this catalog is for analysis and plotting and for starting a calculation
  (ICHARG = 1), not for non-self-consistent runs at fixed density (ICHARG = 11) with VASP's PAW sets.
- PBE throughout: band gaps are too small, f electrons and correlated oxides are treated without U.
- One ferromagnetic start: antiferromagnetic ground states are not found.
- {n_reconstructed} full-Heusler cells (`structure_source` "reconstructed") had their lattice constant recovered from
  the tabulated Debye temperature and moduli by inverting the Debye formula. Keep them out of any training or test of
  the Debye temperature.
- Small cells dominate: {median_atoms:g} atoms in the median, {max_atoms} at most.
- Labels are missing where the sources have none; a missing number is NaN, a missing text empty.

## Rebuilding it

    python catalog/rebuild.py

reads `sources/` and the table of properties, fits the prior, encodes and verifies every density, and writes this page.
`chgdb verify` checks every byte of the store against its checksums, `chgdb verify --deep` decodes every record.

## Licence and citation

Data: CC BY 4.0. Please cite chgdb (CITATION.cff), and for structures and labels the Materials Project: A. Jain et al.,
APL Materials 1, 011002 (2013); for elasticity also M. de Jong et al., Scientific Data 2, 150009 (2015).
"""


def write(path: Path, store: Path, sources: Path = SOURCES) -> None:
    """Write the datasheet of a store to `path`, and its picture beside it, each atomically.

    sources: folder of the batches, which says what gave no density, and what came after the store.
    """
    catalog = open_catalog(store)
    coverage.draw(catalog, path.with_name(PICTURE))
    later = len(set(batches.index(sources)) - set(catalog.ids))
    write_atomically(path, render(catalog, refusals.counts(sources), later).encode())


def render(catalog: Catalog, refused: Sequence[tuple[str, str, int]] = (), later: int = 0) -> str:
    """The datasheet as Markdown.

    refused: (how, reason, number of structures) of what gave no density.
    later: number of densities that are in the batches and not yet in the store.
    """
    info = catalog.info()
    atoms = catalog.column("n_atoms")
    payload = catalog.column("stored_bytes").astype(float)
    text = catalog.column("text_bytes").astype(float)
    nmae, asymmetry = catalog.column("nmae"), catalog.column("asymmetry")
    present = {symbol for row in catalog.column("elements") for symbol in str(row).split()}
    sources = Counter(str(s) for s in catalog.column("structure_source"))
    facts = [
        ("materials", f"{len(catalog):,}"),
        ("text of their density blocks, as VASP writes them", _size(float(text.sum()))),
        ("records (structure, symmetry, coefficients)", _size(float(payload.sum()))),
        ("the whole store, all metadata included", _size(float(info["stored_bytes"]))),
        ("bytes a record, median / mean / 95 %",
         f"{np.median(payload):.0f} / {payload.mean():.0f} / {np.percentile(payload, 95):.0f}"),
        ("text / record, median / mean", f"{np.median(text / payload):,.0f} / {(text / payload).mean():,.0f}"),
        ("text / whole store", f"{text.sum() / info['stored_bytes']:,.0f}"),
        ("NMAE, median / largest", f"{np.median(nmae):.2e} / {nmae.max():.2e}"),
        ("atoms a cell, median / largest", f"{np.median(atoms):g} / {atoms.max()}"),
        ("spin-polarised", f"{int(np.sum(catalog.column('spin_polarised') == 1)):,}"),
        ("band gap above 0.1 eV (PBE)", f"{int(np.sum(catalog.column('band_gap') > 0.1)):,}"),
        *_charges(catalog),
    ]  # fmt: skip
    return _TEXT.format(
        n=f"{len(catalog):,}",
        tolerance=f"{catalog.column('tolerance').max():.2%}",
        facts=_table(("", ""), facts),
        systems=_table(
            ("crystal system", "materials"),
            [(name, f"{n:,}") for name, n in coverage.systems(catalog.column("space_group"))],
        ),
        origins=_table(("structure_source", "materials"), [(k, f"{v:,}") for k, v in sources.most_common()]),
        properties=_table(("property", "unit", "materials"), _properties(catalog)),
        n_elements=len(present),
        elements=" ".join(symbol for symbol in SYMBOLS if symbol in present),
        picture=PICTURE,
        refused="\n\n".join([*_later(later), _refused(refused)]),
        n_reconstructed=sources["reconstructed"],
        median_atoms=float(np.median(atoms)),
        max_atoms=int(atoms.max()),
        asymmetry_median=float(np.median(asymmetry)),
        asymmetry_high=float(np.percentile(asymmetry, 95)),
        asymmetry_largest=float(asymmetry.max()),
    )


def _charges(catalog: Catalog) -> list[tuple[str, str]]:
    """Of the view "charges", where the store has one."""
    by = charged.methods(catalog.store)
    if not by:
        return []
    known = ~np.isnan(catalog.view(charged.CHARGES)[by[0]])
    return [(f"atoms with net charges (view `charges`: {', '.join(by)})", f"{int(known.sum()):,} of {len(known):,}")]


def _later(number: int) -> list[str]:
    if not number:
        return []
    held, wait = ("One density", "waits") if number == 1 else (f"{number:,} densities", "wait")
    return [f"{held} more in `sources/`, computed since, {wait} for the next version of the store."]


def _refused(counts: Sequence[tuple[str, str, int]]) -> str:
    if not counts:
        return "No structure that was tried gave no density."
    rows = [(how, reason, f"{number:,}") for how, reason, number in counts]
    return (
        "Structures that were tried and are not in the catalog (`sources/refused.jsonl` says which): set aside by one\n"
        "of the checks that every density has to pass, failed in two attempts, or failed once and left for later, as\n"
        "the second attempt takes much longer.\n\n" + _table(("how", "reason", "structures"), rows)
    )


def _properties(catalog: Catalog) -> list[tuple[str, str, str]]:
    rows = []
    for name, attributes in COLUMNS.items():
        if name not in catalog.columns:
            continue
        values = catalog.column(name)
        if values.dtype.kind == "f":
            rows.append((name, attributes.get("units", ""), f"{int(np.isfinite(values).sum()):,}"))
    return rows


def _table(head: tuple[str, ...], rows: list) -> str:
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def _size(count: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f} bytes"
