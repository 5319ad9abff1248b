"""What the names of files tell: the format, and what is certainly not a density."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase

from .quantities import vasp_quantity

#: Names of files that hold a structure and no density.
STRUCTURES = ("POSCAR*", "CONTCAR*", "*.POSCAR", "*POSCAR.VASP", "*CONTCAR", "*CONTCAR.VASP", "*_POSCAR")
#: Suffix of a file that holds no density, or none that chgdb reads or writes -> what it is.
_FOREIGN = {
    ".cif": "a CIF", ".mcif": "a CIF", ".xyz": "an XYZ file", ".extxyz": "an XYZ file", ".pdb": "a PDB file",
    ".res": "a RES file", ".cell": "a CELL file", ".axsf": "an XSF file", ".bxsf": "an XSF file",
    ".poscar": "a POSCAR", ".contcar": "a CONTCAR", ".traj": "an ASE trajectory",
    ".npy": "an array of numpy's",
    ".pkl": "a pickle", ".pickle": "a pickle", ".vtk": "a VTK file", ".vti": "a VTK file", ".dx": "an OpenDX file",
    ".grd": "a GRD file", ".xplor": "an X-PLOR map", ".ccp4": "a CCP4 map", ".mrc": "an MRC map", ".jvxl": "a JVXL",
    ".xml": "an XML file", ".yaml": "a YAML file", ".yml": "a YAML file", ".csv": "a table", ".html": "a web page",
    ".md": "a text", ".log": "a log", ".out": "a log", ".py": "a program", ".sh": "a program", ".zarr": "a store",
    ".png": "a picture", ".jpg": "a picture", ".jpeg": "a picture", ".svg": "a picture", ".pdf": "a PDF",
    ".zip": "a zip archive", ".tar": "a tar archive", ".tgz": "a tar archive", ".tbz2": "a tar archive",
    ".txz": "a tar archive", ".7z": "a 7-Zip archive", ".rar": "a RAR archive", ".z": "a file of compress",
    ".lz4": "an LZ4 file", ".lz": "an lzip file", ".lzo": "an lzop file", ".lzma": "an LZMA file",
    ".br": "a Brotli file", ".zlib": "a zlib file", ".sz": "a Snappy file", ".dvc": "a pointer of DVC",
}  # fmt: skip


def is_structure(name: str) -> bool:
    """Whether the name says that a file holds only a structure: a POSCAR or CONTCAR."""
    return any(fnmatchcase(name.upper(), pattern) for pattern in STRUCTURES)


def matching(name: str, patterns: Mapping[str, tuple[str, ...]]) -> str | None:
    """The key whose patterns match a name. Patterns of its end come before those of its beginning, the longest first.

    None for a name with the suffix of another kind of file, and for other quantities and structures.
    """
    found = [
        (pattern.startswith("*"), len(pattern), key)
        for key, of_key in patterns.items()
        for pattern in of_key
        if (fnmatchcase(name.lower(), pattern.lower()) if pattern.startswith("*.") else fnmatchcase(name, pattern))
    ]
    best = max(found, default=None)
    # POSCAR.vasp is a structure, POSCAR.CHGCAR what the structure POSCAR became.
    named = best is not None and best[0] and not fnmatchcase(name.lower(), "*.vasp")
    if vasp_quantity(name) or (is_structure(name) and not named):
        return None
    if not any(ends for ends, *_ in found) and _suffix(name) in _FOREIGN:
        return None
    return best[2] if best else None


def cannot_be_written(name: str) -> str | None:
    """What a name says that cannot be written, in words. None where the file may be a density.

    >>> [cannot_be_written(name) for name in ("Si.axsf", "POSCAR", "LOCPOT.vasp", "CHGCAR")]
    ['an XSF file', 'a POSCAR', 'a local potential in eV', None]
    """
    if is_structure(name):
        return "a CONTCAR" if "CONTCAR" in name.upper() else "a POSCAR"
    return _FOREIGN.get(_suffix(name)) or vasp_quantity(name)


def has_suffix(name: str) -> bool:
    """Whether a name has a suffix that should tell a format: letters, not the number of a run."""
    return re.search(r"[^.]\.[A-Za-z]\w{0,7}$", name) is not None


def _suffix(name: str) -> str:
    return "." + name.rpartition(".")[2].lower() if "." in name else ""
