"""Files to and from `Density`. One file per format.

A format is a module with

    NAMES: tuple[str, ...]                             patterns of file names without .gz, .bz2, .xz, .zst
    recognises(head: bytes) -> bool                    whether a file that begins with these bytes is of this format
    read(reader, *, elements=None) -> Density          from a `streams.Reader`
    write(stream, density)                             to a binary stream; absent where the format is only read

and a line in the table below, or an entry point of the group `chgdb.formats` in another package. Names and contents
that a format of chgdb knows are its own, whatever other packages say. `chgdb.testing.check_format` tests one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import chain
from types import ModuleType

from ..density import Crystal, Density
from ..errors import FormatError
from ..plugins import Registry
from .chgcar import text_bytes
from .extras import pack_extras, unpack_extras
from .streams import bare_name, open_reader, open_writer

__all__ = ["formats", "pack_extras", "read", "read_structure", "text_bytes", "unpack_extras", "write"]

_HEAD = 4096  # bytes by which a format is recognised


REGISTRY = Registry(
    kind="format",
    group="chgdb.formats",
    package=__name__,
    table={name: name for name in ("chgcar", "cube", "mp_json", "npz")},
    error=FormatError,
    required=("NAMES", "recognises", "read"),
)


def formats() -> dict[str, ModuleType]:
    """Name -> module of every format there is, those of other packages last."""
    return dict(chain(REGISTRY.own(), REGISTRY.others()))


def read(path: str | os.PathLike[str], *, format: str | None = None, elements: Sequence[str] | None = None) -> Density:
    """Read a density; plain, gzip, bzip2, xz or Zstandard.

    Parameters
    ----------
    path : str | os.PathLike[str]
        Of the file.
    format : str | None
        A name of `formats()`; guessed from the file's name, else from its content.
    elements : Sequence[str] | None
        Symbol of each species, for CHGCARs of VASP 4, which do not name them.

    Returns
    -------
    Density

    Raises
    ------
    FormatError
        One line with file, line and what was expected.

    Examples
    --------
    >>> density = read("CHGCAR.gz")                   # doctest: +SKIP
    """
    with open_reader(path) as reader:
        module = _by_name(path) if format is None else REGISTRY.get(format)
        if module is None:
            head = reader.peek(_HEAD)
            if not head:
                raise reader.error("the file is empty", 1)
            module = next((known for _, known in _all() if known.recognises(head)), None)
        if module is None:
            known = ", ".join(REGISTRY.names())
            raise FormatError(f"{reader.name}: neither name nor content tell the format; name it, one of {known}")
        return module.read(reader, elements=elements)


def read_structure(path: str | os.PathLike[str], *, elements: Sequence[str] | None = None) -> Density | Crystal:
    """The structure of a file: the crystal of a POSCAR, a CIF or another file named as one that holds a structure alone
    (see `structures`), the density of any other file that holds one.

    elements: symbol of each species, for files of VASP 4. Raises `FormatError` as `read`, `MissingExtraError` where
    the package that reads a CIF and the like is not installed.

    >>> read_structure("POSCAR").formula              # doctest: +SKIP
    'NaCl'
    """
    from . import chgcar, structures

    if structures.is_poscar(path):
        with open_reader(path) as reader:
            return chgcar.read_structure(reader, elements=elements)
    if structures.is_other(path):
        with open_reader(path) as reader:
            return structures.read(reader)
    return read(path, elements=elements)


def write(path: str | os.PathLike[str], density: Density, *, format: str | None = None) -> None:
    """Write a density; compressed where the name ends in .gz, .bz2, .xz or .zst. The file appears only when complete.

    Parameters
    ----------
    path : str | os.PathLike[str]
        Of the file.
    density : Density
        What to work on.
    format : str | None
        A name of `formats()`; guessed from the file's name.

    Raises
    ------
    FormatError
        For a folder, a name that tells no format, and a format that is only read.

    Examples
    --------
    >>> write("CHGCAR", density)                      # doctest: +SKIP
    """
    module = _by_name(path) if format is None else REGISTRY.get(format)
    if module is None or not hasattr(module, "write"):
        writable = {name: known for name, known in formats().items() if hasattr(known, "write")}
    if module is None:
        patterns = ", ".join(pattern for known in writable.values() for pattern in known.NAMES)
        if os.path.isdir(path):
            raise FormatError(f"{os.fspath(path)}: is a folder; name the file to write")
        raise FormatError(f"{os.fspath(path)}: the name tells no format ({patterns}); name the format")
    if not hasattr(module, "write"):
        name = next(name for name, known in formats().items() if known is module)
        raise FormatError(f"{os.fspath(path)}: the format {name} is only read; write one of {', '.join(writable)}")
    with open_writer(path) as stream:
        module.write(stream, density)


def _all() -> Iterator[tuple[str, ModuleType]]:
    """Every format, those of other packages only where no other is taken."""
    return chain(REGISTRY.own(), REGISTRY.others())


def _by_name(path: str | os.PathLike[str]) -> ModuleType | None:
    name = bare_name(path)
    for _, module in _all():
        if any(fnmatchcase(name, pattern) for pattern in module.NAMES):
            return module
    return None
