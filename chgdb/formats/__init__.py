"""Files to and from `Density`. One file a format.

A format is a module with

    NAMES: tuple[str, ...]                             patterns of file names without .gz, .bz2, .xz, .zst; the first
                                                       one like "*.cube" ends the names that chgdb makes
    recognises(head: bytes) -> bool                    whether a file that begins with these bytes is of this format
    read(reader, *, elements=None) -> Density          from a `streams.Reader`
    write(stream, density)                             to a binary stream; absent where the format is only read
    ONE_CHANNEL = True                                 where a file has one field: then write takes `channel="total"`
    BINARY = True                                      where files have a signature, as archives have
    STRUCTURES = True                                  where files often hold only a structure: then read raises
                                                       `chgcar.StructureAlone` with the crystal for those

A line in the table below names it, or an entry point of the group `chgdb.formats` in another package. chgdb's own
formats keep their names and contents, whatever other packages say. `chgdb.testing.check_format` tests a format.

`extras["comment"]`, one line of text, says which values are not a density (differences, single spins). A format that
writes and reads the comment gives a `ScalarField` back as one. A format that drops it gives back a density.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from types import ModuleType

from ..density import Crystal, Density, ScalarField
from ..errors import FormatError
from ..plugins import Registry
from .chgcar import text_bytes
from .content import by_signature, what_it_is
from .extras import pack_extras, unpack_extras
from .names import cannot_be_written, has_suffix, is_structure, matching
from .quantities import as_labelled, labelled, vasp_quantity
from .streams import Reader, bare_name, open_reader, open_writer

__all__ = [
    "ending", "format_of_name", "formats", "left_out", "output_format", "pack_extras", "read", "read_any",
    "read_structure",
    "text_bytes", "unpack_extras", "write", "write_structure",
]  # fmt: skip

_HEAD = 4096  # bytes that tell the format


REGISTRY = Registry(
    kind="format",
    group="chgdb.formats",
    package=__name__,
    table={name: name for name in ("chgcar", "cube", "xsf", "mp_json", "npz", "hdf5", "espresso", "parquet")},
    error=FormatError,
    required=("NAMES", "recognises", "read"),
)


def formats() -> dict[str, ModuleType]:
    """Every format, as name -> module. Those of other packages come last."""
    return dict(chain(REGISTRY.own(), REGISTRY.others()))


def read(
    path: str | os.PathLike[str],
    *,
    format: str | None = None,
    elements: Sequence[str] | None = None,
    data: bytes | None = None,
) -> Density:
    """Read a density from a file: plain, gzip, bzip2, xz or Zstandard.

    Parameters
    ----------
    path : str | os.PathLike[str]
        Path or URL of the file.
    format : str | None
        A name of `formats()`. Unless given, the file's name tells it where the content fits, else the content does.
    elements : Sequence[str] | None
        Symbol of each species, for CHGCARs of VASP 4, which do not have them.
    data : bytes | None
        The file's bytes, where they were read already.

    Returns
    -------
    Density
        A `ScalarField` where the file's comment says so, as `write` writes it.

    Raises
    ------
    FormatError
        If the file cannot be read: one line with the file, the line, and what was expected.

    Examples
    --------
    >>> density = read("CHGCAR.gz")                   # doctest: +SKIP
    """
    with open_reader(path, data) as reader:
        return as_labelled(_reading(reader, bare_name(path), format).read(reader, elements=elements))


def _reading(reader: Reader, name: str, format: str | None) -> ModuleType:
    """The module that reads a file. The content can overrule the name."""
    head = reader.peek(_HEAD)
    if not head:
        raise reader.error("the file is empty", 1)
    named = format_of_name(name) if format is None else format
    module = None if named is None else REGISTRY.get(named)
    what = by_signature(head)
    if module is not None and module.recognises(head) and (what is None or _is_binary(module)):
        return module
    if format is None:
        for _, known in _all():
            if known.recognises(head) and (what is None or _is_binary(known)):
                return known
    what = what or what_it_is(head, name)
    if what is not None:
        raise FormatError(f"{reader.name}: {what}")
    if module is None:
        known_names = ", ".join(REGISTRY.names())
        raise FormatError(f"{reader.name}: neither name nor content tell the format; name it, one of {known_names}")
    return module


def _is_binary(module: ModuleType) -> bool:
    """Whether the files of a format have a signature. A format of text can take an archive of a text for its own."""
    return getattr(module, "BINARY", False)


def read_structure(path: str | os.PathLike[str], *, elements: Sequence[str] | None = None) -> Density | Crystal:
    """The structure in a file.

    It is a `Crystal` from a POSCAR, a CIF or another file whose name says that it holds only a structure (see
    `structures`), and the `Density` from any other file.

    elements: symbol of each species, for files of VASP 4. Raises `FormatError` as `read` does, `MissingExtraError`
    where the package that reads a CIF and the like is not installed.

    >>> read_structure("POSCAR").formula              # doctest: +SKIP
    'NaCl'
    """
    from . import chgcar, structures

    if structures.is_poscar(path):
        with open_reader(path) as reader:
            _check_poscar(reader)
            return chgcar.read_structure(reader, elements=elements)
    return read_any(path, elements=elements)


def write_structure(path: str | os.PathLike[str], crystal: Crystal) -> None:
    """Write a structure as POSCAR (also CONTCAR), CIF or extended XYZ, by the file's name.

    Parameters
    ----------
    path : str | os.PathLike[str]
        POSCAR, NAME.cif or NAME.xyz; compressed where the name ends in .gz, .bz2, .xz or .zst.
    crystal : Crystal
        All atoms are written: a CIF is in P1, an XYZ has the cell in its second line.

    Raises
    ------
    FormatError
        For another name, a folder, or a place that cannot be written.

    Examples
    --------
    >>> write_structure("POSCAR", density.crystal)    # doctest: +SKIP
    """
    from . import structures

    structures.write(path, crystal)


def read_any(
    path: str | os.PathLike[str], *, format: str | None = None, elements: Sequence[str] | None = None
) -> Density | Crystal:
    """Read a file: its density, or its crystal where it holds a structure and no density.

    Parameters
    ----------
    path : str | os.PathLike[str]
        Path or URL of the file, or a pipe. It is read once.
    format : str | None
        Format of the density, as for `read`.
    elements : Sequence[str] | None
        Symbol of each species, for files of VASP 4, which do not have them.

    Returns
    -------
    Density or Crystal
        A crystal where the name is that of a CIF, xyz, cell, ..., and where text of VASP ends after the atoms or goes
        on with velocities. Such a text under the name of a density (CHGCAR, CHG, ...) is truncated, and refused.

    Raises
    ------
    FormatError
        As for `read`.
    MissingExtraError
        If the package that reads a CIF and the like is not installed.
    """
    from . import chgcar, structures

    name = bare_name(path)
    if format is None and structures.is_other(path):
        with open_reader(path) as reader:
            return structures.read(reader)
    with open_reader(path) as reader:
        try:
            if format is None and is_structure(name) and not any(m.recognises(reader.peek(_HEAD)) for _, m in _all()):
                _check_poscar(reader)
                return chgcar.read_structure(reader, elements=elements)  # raises with what is wrong
            return as_labelled(_reading(reader, name, format).read(reader, elements=elements))
        except chgcar.StructureAlone as error:
            if format is not None or error.crystal is None:
                raise
            named = format_of_name(name)
            alone = named is None or structures.is_either(name) or getattr(REGISTRY.get(named), "STRUCTURES", False)
            if not alone:
                raise FormatError(f"{error}; if it is meant to be a structure, name it POSCAR") from None
            return error.crystal


def _check_poscar(reader: Reader) -> None:
    """Raises `FormatError` for a file with the name of a POSCAR that is certainly something else."""
    from . import chgcar

    head = reader.peek(_HEAD)
    what = by_signature(head) or (None if chgcar.recognises(head) else what_it_is(head))
    if what is not None:
        raise FormatError(f"{reader.name}: {what}")


def write(
    path: str | os.PathLike[str], density: Density, *, format: str | None = None, channel: str | None = None
) -> None:
    """Write a density. The file appears only when it is complete.

    Parameters
    ----------
    path : str | os.PathLike[str]
        Path of the file. A name that ends in .gz, .bz2, .xz or .zst is written compressed. Missing folders are made.
    density : Density
        A total density, or a `ScalarField`.
    format : str | None
        A name of `formats()`. Unless given, the longest known suffix of the file's name decides.
    channel : str | None
        The field to write where the format holds one field (cube); the total density unless given. See `left_out`.

    Raises
    ------
    FormatError
        For a folder, a name that tells no format, a format that is only read, or a CHGCAR with the name of another
        quantity (CHGCAR_diff), because `read` would refuse it.

    Examples
    --------
    >>> write("CHGCAR", density)                      # doctest: +SKIP
    """
    module = REGISTRY.get(output_format(path)) if format is None else _to_write(format, f"{os.fspath(path)}: ")
    options = {}
    if channel is not None:
        if not getattr(module, "ONE_CHANNEL", False):
            raise FormatError(f"{os.fspath(path)}: a {_name(module)} holds all channels; one alone goes to a cube")
        if channel not in density.channels:
            raise FormatError(f"{os.fspath(path)}: there is no channel {channel!r}; {', '.join(density.channels)}")
        options["channel"] = channel
    if _name(module) == "chgcar" and not isinstance(density, ScalarField):
        other = vasp_quantity(bare_name(path), len(density.channels))
        if other:
            raise FormatError(
                f"{os.fspath(path)}: the name is that of {other}, and readers would refuse this density: choose "
                "another name, such as CHGCAR"
            )
    with open_writer(path) as stream:
        module.write(stream, labelled(density), **options)


def left_out(path: str | os.PathLike[str], density: Density, *, format: str | None = None) -> list[str]:
    """The channels of a density that `write` leaves out under this name or in this format, such as a cube."""
    module = REGISTRY.get(output_format(path) if format is None else format)
    return list(density.channels)[1:] if getattr(module, "ONE_CHANNEL", False) else []


def format_of_name(name: str) -> str | None:
    """The format that a file's name tells, without folder and compression. None where it tells none.

    The longest suffix decides before the beginning. A suffix of another kind of file at the end tells no format.

    >>> [format_of_name(n) for n in ("CHGCAR.relax2", "CHGCAR.cube", "POSCAR.CHGCAR", "POSCAR.vasp", "CHGCAR.png")]
    ['chgcar', 'cube', 'chgcar', None, None]
    """
    own = matching(name, {known: module.NAMES for known, module in REGISTRY.own()})
    return own or matching(name, {known: module.NAMES for known, module in REGISTRY.others()})


def ending(format: str) -> str:
    """The ending of the file names of a format that chgdb makes: the first of `NAMES` that is a suffix.

    Raises `FormatError` for an unknown format, or one that is only read.

    >>> [ending(name) for name in ("chgcar", "cube", "npz")]
    ['.CHGCAR', '.cube', '.npz']
    """
    module = _to_write(format)
    suffixes = [pattern[1:] for pattern in module.NAMES if re.fullmatch(r"\*(\.\w+)+", pattern)]
    # The suffix of a CHGCAR is its whole name; *.CHG is another file of VASP's.
    return ".CHGCAR" if format == "chgcar" else next(iter(suffixes), f".{format}")


def _to_write(format: str, where: str = "") -> ModuleType:
    """The module of a format that can be written. Raises `FormatError` for another one; the formats that are only read
    are no answer to it."""
    if format not in REGISTRY.names():
        raise FormatError(f"{where}there is no format {format!r}; write one of {_writable()}")
    module = REGISTRY.get(format)
    if not hasattr(module, "write"):
        raise FormatError(f"{where}the format {_name(module)} is only read; write one of {_writable()}")
    return module


def output_format(path: str | os.PathLike[str], default: str | None = None) -> str:
    """The format in which a file of this name is written.

    default: for a name that says nothing. Raises `FormatError` for a name of something that cannot be written, or one
    that says nothing if there is no default.
    """
    name, shown = bare_name(path), os.fspath(path)
    known = format_of_name(name)
    if known is not None:
        if not hasattr(REGISTRY.get(known), "write"):
            raise FormatError(f"{shown}: the format {known} is only read; write one of {_writable()}")
        return known
    reason = cannot_be_written(name)
    if reason:
        raise FormatError(f"{shown}: {reason} cannot be written; write one of {_writable()}")
    if default is not None and not has_suffix(name):
        return default
    if os.path.isdir(path):
        raise FormatError(f"{shown}: is a folder; name the file to write")
    patterns = ", ".join(pattern for module in _with_write().values() for pattern in module.NAMES)
    raise FormatError(f"{shown}: the name tells no format ({patterns}); name the format")


def _with_write() -> dict[str, ModuleType]:
    return {name: known for name, known in formats().items() if hasattr(known, "write")}


def _writable() -> str:
    return ", ".join(_with_write())


def _name(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


def _all() -> Iterator[tuple[str, ModuleType]]:
    """Every format. Formats of other packages cannot take a name that is taken."""
    return chain(REGISTRY.own(), REGISTRY.others())
