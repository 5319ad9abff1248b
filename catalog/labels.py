"""Properties of the materials from the Materials Project, by id: `labels.csv` -> columns of the catalog.

Every value keeps the name of what it is and where it came from; the columns' attributes are `COLUMNS`.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from chgdb import splits
from chgdb.catalog import Catalog
from chgdb.errors import FormatError

_MP = "Materials Project, CC BY 4.0"
_ELASTIC = f"{_MP}, Voigt-Reuss-Hill average; moduli_source says by which publication"

#: column -> attributes
COLUMNS: dict[str, dict[str, str]] = {
    "bulk_modulus": {"units": "GPa", "long_name": "bulk modulus K", "source": _ELASTIC},
    "shear_modulus": {"units": "GPa", "long_name": "shear modulus G", "source": _ELASTIC},
    "youngs_modulus": {"units": "GPa", "long_name": "Young's modulus E = 9KG / (3K + G)", "source": _ELASTIC},
    "poisson_ratio": {"units": "1", "long_name": "Poisson's ratio (3K - 2G) / (6K + 2G)", "source": _ELASTIC},
    "moduli_source": {"long_name": "publication that the moduli were taken from"},
    "debye_temperature": {
        "units": "K",
        "long_name": "Debye temperature from elastic moduli, as published with arXiv 2605.07227",
        "source": f"arXiv 2605.07227, from {_MP}",
        "comment": "materials with structure_source 'reconstructed' had their lattice constant recovered from this "
        "value: keep them out of any training or test of it",
    },
    "debye_temperature_from_moduli": {
        "units": "K",
        "long_name": "Debye temperature by the same formula, evaluated from K, G and the structure",
        "source": _ELASTIC,
    },
    "energy_vs_atoms": {
        "units": "eV/atom",
        "long_name": "energy against free atoms, minus the atomisation energy ('formation energy' in arXiv 2605.07227)",
        "source": f"arXiv 2605.07227, from {_MP}",
    },
    "formation_energy": {
        "units": "eV/atom",
        "long_name": "formation energy against the elements (Materials Project 2018)",
        "source": f"{_MP}, 2018",
    },
    "in_paper": {"long_name": "whether the material is in the data set of arXiv 2605.07227"},
    "paper_split": {"long_name": "part of the autoencoder split of arXiv 2605.07227: train, val, test"},
    "split": {
        "long_name": "part that models are trained, stopped and tested with: train, validation, test",
        "comment": f"{splits.RULE}; the same for all polymorphs",
    },
}

_NUMBERS = {
    "bulk_modulus": "bulk_modulus_GPa",
    "shear_modulus": "shear_modulus_GPa",
    "youngs_modulus": "young_modulus_GPa",
    "debye_temperature": "debye_temperature_K",
    "debye_temperature_from_moduli": "debye_from_moduli_K",
    "energy_vs_atoms": "energy_vs_atoms_eV_per_atom",
    "formation_energy": "formation_energy_mp2018_eV_per_atom",
}
_TEXTS = {"moduli_source": "moduli_source", "paper_split": "paper_split"}


def read(path: Path) -> dict[str, dict[str, float | str | bool]]:
    """material_id -> {column: value}; values that the file leaves blank are left out.

    Raises `FormatError` if a column is missing or a value is no number, naming the line.
    """
    labels: dict[str, dict[str, float | str | bool]] = {}
    for line, row in _rows(path, {"material_id", "in_paper", *_NUMBERS.values(), *_TEXTS.values()}):
        values: dict[str, float | str | bool] = {"in_paper": row["in_paper"] == "True"}
        for column, header in _NUMBERS.items():
            if row[header]:
                try:
                    values[column] = float(row[header])
                except ValueError:
                    raise FormatError(f"{path}, line {line}: {header} is {row[header]!r}, expected a number") from None
        values |= {column: row[header] for column, header in _TEXTS.items() if row[header]}
        K, G = values.get("bulk_modulus"), values.get("shear_modulus")
        if isinstance(K, float) and isinstance(G, float) and 3 * K + G:
            values["poisson_ratio"] = (3 * K - 2 * G) / (2 * (3 * K + G))
        labels[row["material_id"]] = values
    return labels


def agree(catalog: Catalog, labels: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a catalog holds these labels, value for value; labels: as `read` gives them."""
    for column in (*_NUMBERS, "poisson_ratio", *_TEXTS, "in_paper"):
        blank: Any = "" if column in _TEXTS else -1 if column == "in_paper" else np.nan
        kind = str if column in _TEXTS else float
        wanted = np.array([labels.get(i, {}).get(column, blank) for i in catalog.ids]).astype(kind)
        held = catalog.column(column) if column in catalog.columns else np.full(len(wanted), blank)
        if not np.array_equal(held.astype(kind), wanted, equal_nan=kind is float):
            return False
    return True


def _rows(path: Path, columns: set[str]) -> list[tuple[int, dict[str, str]]]:
    """Line number and cells of each row. Raises `FormatError` for a file that is no table with these columns."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, restval="")
            missing = columns - set(reader.fieldnames or ())
            if missing:
                raise FormatError(f"{path}: no column {', '.join(sorted(missing))}; is this the labels file?")
            return [(reader.line_num, row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise FormatError(f"{path}: cannot be read as CSV: {error}") from None


def claims(path: Path) -> dict[str, str]:
    """Reduced formula -> part of the split, of all formulas that the paper has: `known` of `splits.assign`."""
    rows = [row for _, row in _rows(path, {"formula", "paper_split"})]
    return splits.claims([row["formula"] for row in rows], [row["paper_split"] for row in rows])
