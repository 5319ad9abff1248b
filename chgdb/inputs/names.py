"""What the name of a density's file says: its kind, its id, which of several it is, and its compression."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ..formats import formats
from ..formats.quantities import vasp_quantity
from ..formats.streams import bare_name

_KINDS = "CHGCAR|CHG|AECCAR[012]|PARCHG"
_NAME = re.compile(rf"(?:(?P<own>.+?)[._-])?(?P<kind>{_KINDS})(?:[._-](?P<part>.+)|[ -]*[ (](?P<copy>.+))?")
_EXTENSION = re.compile(r"\.(cube|cub|xsf|json|vasp|npz|h5|hdf5|nc|parquet)", re.IGNORECASE)
#: Suffixes of archives, and of compressions that chgdb does not read: such a file is reported, not passed over.
_PACKED = re.compile(r"\.(zst|z|lz4|lzma|lz|br|zz|zip|7z|rar|tar|tgz|tbz2?|txz)", re.IGNORECASE)
#: Suffixes of files that programs make from a density, or put beside it. The content says whether they hold one.
_DERIVED = re.compile(
    r"\.(png|jpe?g|gif|svg|pdf|eps|ps|tiff?|webp|bmp|txt|log|out|err|md|rst|html?|xml|ya?ml|toml|ini|csv|tsv|dat|py|sh|"
    r"ipynb|md5|sha\d*|asc|sig|dvc|cif|xyz|mcif|npy|pkl|db|sqlite|vesta|blend|stl|vtk|vti|glb|mp4)",
    re.IGNORECASE,
)
#: Names of files that a program is writing, or has left behind.
_UNFINISHED = re.compile(r".*(~|\.(part|partial|tmp|temp|sw[a-p]|lock|crdownload)|#)", re.IGNORECASE)
#: Words for a step or a part of a calculation, which do not name a material.
_WORDS = frozenset(
    """
    relax relaxation relaxed opt optimisation optimization geo geoopt static scf nscf single point step stage
    final initial first last start end prev previous next new old bak backup orig original copy restart conv converged
    run calc job vasp dos band bands bader out output outputs result results data file
    sum total tot all full core val valence diff difference mag magnetization magnetisation spin up down dn
    chg charge density densities den dens rho electron electronic electrons eldens ae pseudo cube grid tmp
    alle allb allk copy vaspwave vaspout
    """.split()
)
_STEPS = frozenset(
    """
    relax relaxation relaxed opt optimisation optimization geo geoopt static scf nscf single point step stage
    final initial run calc vasp dos band bands bader out output outputs result results chg charge density chgcar
    """.split()
)
_TOKEN = re.compile(r"([A-Za-z]*)(\d*)")
_DIGITS = 4  # more digits than these are an id


@dataclass(frozen=True)
class Name:
    """A file's name, taken apart.

    own: the material in the name; "" where there is none. kind: CHGCAR, CHG, AECCAR0, ... or "". part: which of several
    densities of a material it is (relax2, sum, 0004.0001), or "". extension: cube, json, ... or "".
    derived: whether the name is that of a picture or a table of a density, and not of a density.
    """

    own: str
    kind: str
    part: str
    extension: str
    derived: bool


def plain(name: str) -> str:
    """A file's name without its folder, and without suffixes of compressions and archives.

    >>> plain("runs/mp-1.CHGCAR.zst"), plain("CHGCAR.tar.gz"), plain("PARCHG.0004.0001")
    ('mp-1.CHGCAR', 'CHGCAR', 'PARCHG.0004.0001')
    """
    name = bare_name(name)
    while match := re.fullmatch(rf"(.+?){_PACKED.pattern}", name, re.IGNORECASE):
        name = match[1]
    return name


def parse(name: str) -> Name:
    """Take a file's name apart.

    >>> parse("LiH.CHGCAR.gz").own, parse("CHGCAR_mp-2").own, parse("NaCl.cube").own, parse("CHGCAR.relax2.gz").part
    ('LiH', 'mp-2', 'NaCl', 'relax2')
    >>> parse("PARCHG.0004.0001")
    Name(own='', kind='PARCHG', part='0004.0001', extension='', derived=False)
    """
    name = plain(name)
    stem, dot, suffix = name.rpartition(".")
    extension = ""
    if dot and stem and _EXTENSION.fullmatch(dot + suffix):
        name, extension = stem, suffix.lower()
    elif name == "charge-density.dat":  # of Quantum ESPRESSO
        return Name("", "", stem, suffix, False)
    derived = bool(dot and _DERIVED.fullmatch(dot + suffix))
    match = _NAME.fullmatch(name)
    if match is None:
        part = name if _is_worded_part(name) else ""
        return Name("" if part else name, "", part, extension, derived)
    own, kind, part = match["own"] or "", match["kind"], match["part"] or (match["copy"] or "").strip(" ()-")
    if part and not own and not is_part(part):
        own, part = part, ""
    elif own and not part and _is_worded_part(own):
        own, part = "", own
    return Name(own, kind, part, extension, derived)


def is_part(text: str) -> bool:
    """Whether a text names a part or a step of a calculation, and not a material.

    >>> [is_part(text) for text in ("relax2", "sum", "0004.0001", "total_density", "mp-149", "LiH", "1000123")]
    [True, True, True, True, False, False, False]
    """
    return _consists_of(text, _WORDS)


def _is_worded_part(text: str) -> bool:
    """As `is_part`, but a number is an id: before the kind, or without a kind, as in 12.CHGCAR and 7.cube."""
    return is_part(text) and any(word for word, _ in _tokens(text))


def is_step(folder: str) -> bool:
    """Whether a folder's name is that of a step of a calculation. A number is not, and neither is calc_001.

    >>> [is_step(name) for name in ("static", "02_relax", "relax2", "vasp_run", "calc_001", "12", "MgO", "OPt")]
    [True, True, True, True, False, False, False, False]
    """
    tokens = _tokens(folder)
    words = [word.lower() for word, _ in tokens if word]
    counted = words in (["calc"], ["run"]) and any(digits for _, digits in tokens)
    return bool(words) and not counted and _consists_of(folder, _STEPS)


def _tokens(text: str) -> list[tuple[str, str]]:
    """The words with the digits that follow them; ("?", "") for anything else."""
    matches = [_TOKEN.fullmatch(token) for token in re.split(r"[._ ()-]+", text.strip(" ()-"))]
    return [(match[1], match[2]) if match else ("?", "") for match in matches]


def _consists_of(text: str, words: frozenset[str]) -> bool:
    """Whether a text has only these words and short numbers. OPt is platinum oxide, opt and OPT are not."""
    return all(
        bool(word or digits)
        and len(digits) <= _DIGITS
        and (not word or (word.lower() in words and word in (word.lower(), word.capitalize(), word.upper())))
        for word, digits in _tokens(text)
    )


def is_density(name: str) -> bool:
    """Whether a file of a folder may hold a density, by its name (without the folder)."""
    if name.startswith(".") or _UNFINISHED.fullmatch(name):
        return False
    bare = plain(name)
    if vasp_quantity(bare) and parse(bare).extension in ("", "vasp"):
        return False  # LOCPOT.vasp; in other formats the content tells
    return any(fnmatchcase(bare, pattern) for module in formats().values() for pattern in module.NAMES)


def is_archive(name: str) -> bool:
    """Whether a file's name is that of an archive of several files."""
    return bool(re.fullmatch(r".+\.(zip|7z|rar|tar|tgz|tbz2?|txz)", bare_name(name), re.IGNORECASE))
