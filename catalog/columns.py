"""What the embedded store says of itself: provenance, root attributes, and the columns beside chgdb's own."""

from __future__ import annotations

from chgdb_catalog import labels

PROVENANCE = {
    "code": "GPAW 22.8, PAW setups 0.9.20000",
    "functional": "PBE",
    "energy_cutoff": 400.0,
    "licence": "CC BY 4.0",
}
ATTRIBUTES = {
    "title": "chgdb: charge densities of inorganic crystals (GPAW, PAW-PBE)",
    "licence": "CC BY 4.0",
    "references": "structures and elastic moduli: Materials Project, Jain et al., APL Materials 1, 011002 (2013); "
    "de Jong et al., Scientific Data 2, 150009 (2015)",
    "comment": "pseudo valence densities with soft compensation charges, not relaxed; see the datasheet README.md",
}
#: Columns that are made from the others, and from a property model's out-of-fold predictions.
DERIVED: dict[str, dict[str, str]] = {
    "formation_energy_dft": {
        "units": "eV/atom",
        "long_name": "formation energy by our own DFT (PBE): dft_energy less fitted references of the elements",
        "comment": "references are fitted to the column formation_energy; against labels of other formulas: mean "
        "absolute error 0.033, median 0.012 eV/atom",
    },
    "hull_distance": {
        "units": "eV/atom",
        "long_name": "distance of formation_energy_dft from the hull of this catalog's phases (PBE, 0 K)",
        "comment": "a lower bound: phases that the catalog lacks do not compete; elements are at 0 or below",
    },
    "magnetic_moment_per_atom": {
        "units": "mu_B",
        "long_name": "magnetic moment per atom (PBE): that of the cell by atoms",
    },
    "label_doubt": {
        "long_name": "why a label of this material is hard to believe; nothing where none is",
        "comment": "labels are kept as they are; see chgdb_catalog.doubts",
    },
}
COLUMNS: dict[str, dict[str, str]] = {
    "dft_energy": {
        "units": "eV",
        "long_name": "total energy per cell (PBE), against spin-paired spherical atoms, GPAW's reference",
    },
    "fermi_energy": {"units": "eV", "long_name": "Fermi energy (PBE), on GPAW's energy scale for the cell"},
    "band_gap": {"units": "eV", "long_name": "band gap (PBE), from the k-points of the density"},
    "magnetic_moment": {"units": "mu_B", "long_name": "magnetic moment per cell (PBE)"},
    "spin_polarised": {"long_name": "whether the calculation was spin-polarised"},
    "n_kpoints": {"units": "1", "long_name": "irreducible k-points of the density"},
    "asymmetry": {
        "units": "1",
        "long_name": "NMAE between the density as computed and as kept here, with the symmetry of its crystal",
    },
    **labels.COLUMNS,
}
