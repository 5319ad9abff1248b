"""The density of ABINIT's _DEN.nc, in the layout of the ETSF file format. `hdf5` reads the file.

`density` is (components, n3, n2, n1, 1) in e/bohr^3. The second of two components is the density of spin up in ABINIT's
files. The second to fourth of four are the magnetisation along x, y, z. `primitive_vectors` are rows in bohr.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..channels import CHANNELS
from ..density import Crystal, Density
from ..errors import DensityError, FormatError
from .cube import BOHR, HARTREE
from .streams import Reader

#: ixc of ABINIT -> functional; the numbers of libxc are negative.
_FUNCTIONALS = {1: "LDA", 2: "LDA", 7: "LDA", 11: "PBE", 14: "revPBE", 15: "RPBE", -101130: "PBE", -116133: "PBEsol"}


def read_hdf5(reader: Reader, file: Any) -> Density:
    """A density from an open file. file: a `hdf5.File`."""
    values = file.array("density", 5, "f")
    if values.shape[-1] != 1:
        raise reader.failure("its density has complex values: a response, and not the density of a ground state")
    fields = list(values[..., 0].transpose(0, 3, 2, 1))
    if len(fields) not in CHANNELS:
        raise reader.failure(f"a density of {len(fields)} components; expected one, two or four")
    if len(fields) > 1 and "abinit" not in str(file.attribute("code")).lower():
        raise reader.failure("a density of several components in unknown order: another program than ABINIT wrote it")
    if len(fields) == 2:
        fields[1] = 2 * fields[1] - fields[0]
    kinds = file.array("atomic_numbers", 1)
    species = file.array("atom_species", 1, "iu")
    cell, positions = file.array("primitive_vectors", 2, "f"), file.array("reduced_atom_positions", 2, "f")
    if not len(kinds) or not len(species) or species.min() < 1 or species.max() > len(kinds):
        raise reader.failure("atom_species names a species that there is not")
    numbers = np.asarray(kinds, float)[species - 1]
    if (numbers != np.rint(numbers)).any():
        raise reader.failure("atoms of mixed elements (alchemical pseudopotentials) have no place in a density")
    scale = BOHR * _scale(file, "primitive_vectors")
    density = _scale(file, "density") / BOHR**3
    try:
        crystal = Crystal(cell * scale, positions, numbers.astype(int))
        channels = {n: f * density for n, f in zip(CHANNELS[len(fields)], fields, strict=True)}
        return Density(crystal, channels, {"calculation": _calculation(file, crystal)})
    except DensityError as error:
        raise reader.failure(str(error)) from None


def _calculation(file: Any, crystal: Crystal) -> dict[str, Any]:
    """What is known of the calculation, by the names of `inputs.calculation`. Unknown facts are left out."""
    found: dict[str, Any] = {}
    try:
        found["code"] = f"ABINIT {file.attribute('abinit_version')}"
        found["functional"] = _FUNCTIONALS.get(int(file.array("ixc", 0, "iu")), "")
        found["energy_cutoff"] = float(file.array("kinetic_energy_cutoff", 0, "f")) * HARTREE
        found["charge"] = float(file.array("charge", 0, "f")) + 0.0
        titles = [b"".join(row).decode("ascii", "replace") for row in file.array("title", 2, "S")]
        found["pseudopotentials"] = "; ".join(" ".join(title.replace("\0", " ").split()) for title in titles)
        charges = file.array("valence_charges", 1, "f")
        species = dict.fromkeys(zip(file.array("atom_species", 1, "iu").tolist(), crystal.symbols, strict=True))
        found["valence"] = ", ".join(f"{symbol} {charges[kind - 1]:g}" for kind, symbol in species)
    except (FormatError, ValueError, TypeError, IndexError):
        pass
    return found


def _scale(file: Any, name: str) -> float:
    """The factor from a variable's values to atomic units."""
    try:
        scale = np.asarray(file.attribute("scale_to_atomic_units", name), float).ravel()
    except (ValueError, TypeError):
        return 1.0
    return float(scale[0]) if scale.size == 1 else 1.0
