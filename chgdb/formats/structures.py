"""Structures of files without a density: chgdb reads POSCAR, pymatgen reads CIF, ASE reads everything else.

chgdb writes POSCAR, CIF and extended XYZ. These are not formats of densities: `read_structure` and `write_structure` of
the package use them.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import numpy as np

from ..cards import lengths_and_angles
from ..density import Crystal
from ..errors import ChgdbError, FormatError, require
from . import chgcar
from .names import STRUCTURES, is_structure
from .numbers import check_lengths
from .streams import Reader, bare_name, open_reader, open_writer, text_to_bytes

if TYPE_CHECKING:
    import ase

#: Names of POSCARs, which are also names of CHGCARs.
_EITHER = ("*.VASP",)
#: Name -> ASE's name of the format. Other names are not tried, so that a density is never read as a structure.
_ASE = {
    "*.xyz": "extxyz", "*.extxyz": "extxyz", "*.cell": "castep-cell", "*.res": "res",
    "*.gen": "gen", "geometry.in": "aims", "*.pwi": "espresso-in", "*.pdb": "proteindatabank",
}  # fmt: skip
_CIF = ("*.cif", "*.mcif")
_MOST = 64 << 20  # maximum bytes of a structure
_HEAD = 4096  # bytes within which the grid of a density begins


def is_poscar(path: str | os.PathLike[str]) -> bool:
    """Whether a file has the name of a POSCAR, or a name of both and no density."""
    name = bare_name(path).upper()
    if any(fnmatchcase(name, pattern) for pattern in STRUCTURES):
        return True
    return is_either(name) and not _has_density(path)


def is_either(name: str) -> bool:
    """Whether POSCARs and CHGCARs both have this name (without folder and compression)."""
    return any(fnmatchcase(name.upper(), pattern) for pattern in _EITHER)


def _has_density(path: str | os.PathLike[str]) -> bool:
    """Whether the three numbers of a grid follow the structure of a file."""
    with open_reader(path) as reader:
        try:
            chgcar.read_structure(reader)
        except FormatError:
            return False  # whoever reads the file says what is wrong
        tokens = reader.take(_HEAD).split(maxsplit=3)
    return len(tokens) > 3 and all(token.isdigit() for token in tokens[:3])


def is_other(path: str | os.PathLike[str]) -> bool:
    """Whether a file has the name of a structure that other packages read."""
    name = bare_name(path).lower()
    return any(fnmatchcase(name, pattern) for pattern in (*_ASE, *_CIF))


def read(reader: Reader) -> Crystal:
    """The (last) structure of a file whose name is one of `is_other`.

    Raises `FormatError` for a file that is not a structure, without a cell, or with partial occupancy;
    `MissingExtraError` where the package that reads it is not installed.
    """
    name = bare_name(reader.name).lower()
    data = reader.take(_MOST + 1)
    if not data:
        raise reader.error("the file is empty", 1)
    if len(data) > _MOST:
        raise reader.error(f"more than {_MOST} bytes, which no structure has", 1)
    with _file(data, name) as path, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about what a parser repaired; what it cannot repair is an error
        try:
            if any(fnmatchcase(name, pattern) for pattern in _CIF):
                return _cif(path)
            return from_ase(_ase(path, next(f for pattern, f in _ASE.items() if fnmatchcase(name, pattern))))
        except ChgdbError as error:
            if isinstance(error, ImportError):
                raise
            raise FormatError(f"{reader.name}: {error}") from None
        except Exception as error:  # parsers of dozens of formats raise anything
            why = " ".join(str(error).split())[:200] or type(error).__name__
            raise FormatError(f"{reader.name}: cannot be read as a structure: {why}") from None


def from_ase(atoms: ase.Atoms) -> Crystal:
    """The crystal of `ase.Atoms`. Raises `FormatError` for atoms without a cell, or with fewer than three vectors."""
    rank = int(atoms.cell.rank)
    if rank == 0:
        raise FormatError("no cell: a crystal has three lattice vectors; put a molecule into a box")
    if rank < 3:
        raise FormatError(f"a cell with {rank} of three lattice vectors; give the others, with vacuum between images")
    return Crystal.from_ase(atoms)


def _cif(path: str) -> Crystal:
    core = require("pymatgen.core", "interop", "reading a CIF")
    structure = core.Structure.from_file(path)
    return Crystal.from_pymatgen(structure)


def _ase(path: str, format: str) -> Any:
    io = require("ase.io", "interop", "reading this structure")
    atoms = io.read(path, format=format)
    occupancy = atoms.info.get("occupancy") or {}
    shares = [share for site in occupancy.values() for share in np.atleast_1d(list(site.values()))]
    if any(share < 1 for share in shares):
        raise FormatError("partially occupied sites have no density; order them first")
    return atoms


def written_as(path: str | os.PathLike[str]) -> str | None:
    """How a structure is written under a name: "POSCAR", "CIF" or "XYZ". None for names of other files.

    >>> [written_as(name) for name in ("POSCAR", "runs/CONTCAR.gz", "NaCl.cif", "NaCl.xyz", "CHGCAR", "Si.cube")]
    ['POSCAR', 'POSCAR', 'CIF', 'XYZ', None, None]
    """
    name = bare_name(path)
    suffixes = {".cif": "CIF", ".xyz": "XYZ", ".extxyz": "XYZ"}
    return "POSCAR" if is_structure(name) else suffixes.get(os.path.splitext(name)[1].lower())


def write(path: str | os.PathLike[str], crystal: Crystal) -> None:
    """Write a structure, compressed by its suffix. The file appears only when it is complete.

    Raises `FormatError` for a name of none of them, and for a CIF with atoms that are of no element.
    """
    kind = written_as(path)
    if kind is None:
        raise FormatError(f"{os.fspath(path)}: a structure is written as POSCAR, NAME.cif or NAME.xyz; name it so")
    check_lengths(crystal.cell, crystal.positions)
    with open_writer(path) as stream:
        if kind == "POSCAR":
            chgcar.write_structure(stream, crystal)
        else:
            stream.write(text_to_bytes(_cif_text(crystal) if kind == "CIF" else _xyz_text(crystal)))


def _cif_text(crystal: Crystal) -> str:
    """A CIF with all atoms of the cell, in the space group P1."""
    lengths, angles = lengths_and_angles(crystal.cell.tolist())
    parameters = [f"_cell_length_{name} {value:.10f}" for name, value in zip("abc", lengths, strict=True)]
    names = ("alpha", "beta", "gamma")
    parameters += [f"_cell_angle_{name} {value:.10f}" for name, value in zip(names, angles, strict=True)]
    counts: dict[str, int] = {}
    sites = []
    for symbol, position in zip(crystal.symbols, crystal.positions, strict=True):
        counts[symbol] = counts.get(symbol, 0) + 1
        fractions = " ".join(f"{value:.12f}" for value in position)
        sites.append(f"{symbol}{counts[symbol]} {symbol} {fractions} 1")
    columns = ["label", "type_symbol", "fract_x", "fract_y", "fract_z", "occupancy"]
    lines = [
        f"data_{crystal.formula or 'empty'}", *parameters,
        "_space_group_name_H-M_alt 'P 1'", "_space_group_IT_number 1",
        "loop_", "_space_group_symop_operation_xyz", "'x, y, z'",
        "loop_", *(f"_atom_site_{column}" for column in columns), *sites,
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _xyz_text(crystal: Crystal) -> str:
    """Extended XYZ with the cell and its periodicity in the second line."""
    cell = " ".join(f"{value + 0.0:.12f}" for value in crystal.cell.ravel())
    lines = [str(len(crystal)), f'Lattice="{cell}" Properties=species:S:1:pos:R:3 pbc="T T T"']
    for symbol, position in zip(crystal.symbols, crystal.positions @ crystal.cell, strict=True):
        lines.append(f"{symbol:2s}" + "".join(f" {value + 0.0:18.12f}" for value in position))
    return "\n".join(lines) + "\n"


@contextmanager
def _file(data: bytes, name: str) -> Iterator[str]:
    """A path of a file with these bytes and the ending of a name: parsers want paths of uncompressed files."""
    with tempfile.TemporaryDirectory(prefix="chgdb-") as folder:
        path = os.path.join(folder, os.path.basename(name) or "structure")
        with open(path, "wb") as file:
            file.write(data)
        yield path
