"""What a file is that holds no density: said in words, with what to do, by its first bytes.

Downloads end in a login page, clones in pointers to files that were not fetched, shells on Windows in UTF-16. The
folder of a calculation has dozens of other files. Names do not matter here.
"""

from __future__ import annotations

import re
import struct
import zlib
from functools import cache
from typing import NamedTuple


class _Kind(NamedTuple):
    """magic: the first bytes, or their places. what: the kind of file, and what to do about it."""

    magic: tuple[bytes, ...]
    what: str
    offset: int = 0


_NOT_READ = "which is not read: "
_UNPACK = "unpack it first ({}) and name the density in it"
_AS_CUBE = _NOT_READ + "write the density to a cube file instead"
_TAR = f"a tar archive: {_UNPACK.format('tar -xf')}"
_KINDS = (
    _Kind((b"\x1f\x9d", b"\x1f\xa0"), f"compressed by compress (.Z), {_NOT_READ}run uncompress (or gzip -d) on it"),
    _Kind((b"\x1f\x1e",), f"compressed by pack (.z), {_NOT_READ}run gzip -d on it"),
    _Kind((b"\x04\x22\x4d\x18", b"\x02\x21\x4c\x18"), f"compressed by LZ4, {_NOT_READ}run lz4 -d on it"),
    _Kind((b"LZIP",), f"compressed by lzip, {_NOT_READ}run lzip -d on it"),
    _Kind((b"\x89LZO\x00\r\n\x1a\n",), f"compressed by lzop, {_NOT_READ}run lzop -d on it"),
    _Kind((b"\x5d\x00\x00",), f"compressed by LZMA (.lzma), {_NOT_READ}run unlzma (or xz -d) on it"),
    _Kind((b"\xff\x06\x00\x00sNaPpY",), f"compressed by Snappy, {_NOT_READ}decompress it first"),
    _Kind((b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd"), "compressed twice: decompress it once"),
    _Kind((b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08"), f"a zip archive: {_UNPACK.format('unzip')}"),
    _Kind((b"7z\xbc\xaf\x27\x1c",), f"a 7-Zip archive: {_UNPACK.format('7z x')}"),
    _Kind((b"Rar!\x1a\x07",), f"a RAR archive: {_UNPACK.format('unrar x')}"),
    _Kind((b"MSCF",), f"a cabinet archive: {_UNPACK.format('cabextract')}"),
    _Kind((b"ustar",), _TAR, 257),
    _Kind((b"\x89HDF\r\n\x1a\n",), "an HDF5 file, which holds no structure alone"),
    _Kind((b"CDF\x01", b"CDF\x02", b"CDF\x05"), "a NetCDF file, which holds no structure alone"),
    _Kind((b"\x93NUMPY",), "an array of numpy's (.npy) without a crystal: of numpy's files only chgdb's .npz are read"),
    _Kind((b"%PDF-",), "a PDF, which holds no density"),
    _Kind((b"SQLite format 3\x00",), "an SQLite database, which holds no density that is read"),
    _Kind((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a"), "a picture, which holds no density"),
    _Kind((b"\x00\x05\x16\x07",), "what macOS keeps beside a file (a name that begins with ._): name the file itself"),
    _Kind((b"L\x00\x00\x00\x01\x14\x02\x00", b"book\x00\x00\x00\x00mark"), "a shortcut: name the file it leads to"),
    _Kind((b"\x7fELF", b"MZ\x90\x00", b"\xcf\xfa\xed\xfe"), "a program, which holds no density"),
)
_XML = rb"(<!--.*?-->\s*|<\?xml[^>]*\?>\s*)*<"
_REMARKS = rb"(#[^\n]*\n|\s)*"
#: Patterns of text after blanks and a byte order mark; they match its beginning in upper or lower case.
_TEXTS = (
    (
        rb"version https?://(git-lfs|hawser)\.github\.com/spec",
        "a pointer of Git LFS to a file that was not fetched: run git lfs pull in its repository",
    ),
    (
        rb"(\.\./)*(\.git/annex/objects/|/annex/objects/)",
        "a pointer of git-annex to a file that was not fetched: run git annex get (or datalad get) on it",
    ),
    (
        rb"(outs|deps|md5|wdir|frozen):\s",
        "a pointer of DVC to a file that was not fetched: run dvc pull, and name the file itself",
    ),
    (
        _XML + rb"(!doctype\s+html|html|head|body|title|meta|script)\b",
        "a web page (HTML), as servers send for a login or an error: download the file itself",
    ),
    (_XML + rb"modeling\b", "a vasprun.xml, which holds no density: name the CHGCAR beside it"),
    (_XML + rb"error\b", "an error of a server (XML): download the file itself"),
    (rb"<\?xml|<(svg|vtkfile|[a-z][\w:.-]*\s+xmlns)\b", "an XML file, which holds no density that is read"),
    (
        _REMARKS + rb"(data_\S*\s[^\x00]*?_[a-z]\w*[._]|loop_\s)",
        "a CIF, which holds a structure and no density",
    ),
    (rb"vasp\.\d[^\n]*\s+executed on", "an OUTCAR, which holds no density: name the CHGCAR beside it"),
    (rb"n\s+E\s+dE\s+d eps", "an OSZICAR, which holds no density: name the CHGCAR beside it"),
    (rb"procar lm decomposed", "a PROCAR, which holds no density: name the CHGCAR beside it"),
    (
        rb"\s*\d+(\s+\d+){3}[ \t\r]*\n(\s+[\d.+-]+(e[+-]\d+)?){1,6}[ \t\r]*\n\s*[\d.e+-]+[ \t\r]*\n\s*car\b",
        "a DOSCAR or EIGENVAL, which holds no density: name the CHGCAR beside it",
    ),
    (
        rb"[^\n]*\n\s*\d+[^\n]*\n\s*(auto\w*|gamma\w*|monk[\w-]*|[gm]|reciprocal|line-?mode)[ \t\r]*\n",
        "a KPOINTS file, which holds no density: name the CHGCAR beside it",
    ),
    (
        rb"([ \t]*[#!][^\n]*\n|\s)*(system|encut|ismear|istart|icharg|prec|algo|ediffg?|nsw|ibrion|isif|lcharg|lwave"
        rb"|ispin|lreal|ncore|npar|kpar|sigma|nelmi?n?|isym)[ \t]*=",
        "an INCAR, which holds no density: name the CHGCAR beside it",
    ),
    (rb"<<<<<<< ", "a merge conflict of git, unsolved: check out one of its versions (git checkout --theirs)"),
    (rb"# xet version", "a pointer of Xet to a file that was not fetched: run git xet pull in its repository"),
    (rb"http/\d[\d.]* \d{3}\b", "an answer of a server with its headers: download the file itself"),
    (
        rb"(\d{3}:? )?(not found|forbidden|unauthorized|access denied|bad gateway|service unavailable)\b[^\n]*\s*\Z",
        "an answer of a server that says what went wrong: download the file itself",
    ),
    (rb"begin_info\s", "a BXSF file of Fermi surfaces, which holds no density"),
    (
        rb"\d+[ \t\r]*\n[^\n]*\n[ \t]*[a-z]{1,3}\d*(\s+[+-]?\d*\.?\d+(e[+-]?\d+)?){3}",
        "an XYZ file, which holds a structure and no density",
    ),
    (
        rb"(header|cryst1|remark|title|compnd|model|hetatm|atom) .*\n(atom  |hetatm|cryst1|remark|origx|scale)",
        "a PDB file, which holds a structure and no density",
    ),
    (
        rb"[a-z_]+\s+[a-z][a-z]?\w*\s[^\n]*\n\s*\d+\.\d+\s*\n\s*parameters from psctr",
        "a POTCAR, which holds no density",
    ),
    (
        _REMARKS + rb"(title\s+\"[^\n]*\s+)?(domain_m\w+[^\n]*\s+)*lut_[13]d_size\b",
        "a table of colours for films (LUT), not a cube file of a density",
    ),
    (rb"# vtk datafile", f"a VTK file, {_AS_CUBE}"),
    (_REMARKS + rb"object \d+ class gridpositions|#[^\n]*opendx", f"an OpenDX file, {_AS_CUBE}"),
    (rb"#?jvxl", "a JVXL file of Jmol's, which holds an isosurface and no density"),
    (rb"%!ps", "a PostScript file, which holds no density"),
)
_ONE_LINE = 1000  # bytes
#: A path and nothing else.
_LINK = rb"(\.{0,2}/|[\w.-]+/)[^\x00-\x1f]{1,4000}\s*\Z"
#: Names of files whose content has no typical beginning.
_BROTLI = r"(?i)\.(br|brotli)$"


@cache
def _patterns() -> list[tuple[re.Pattern[bytes], str]]:
    """Pattern of a content, and what it is. Compiled for the first file of no known format, because it takes time."""
    return [(re.compile(pattern, re.IGNORECASE | re.DOTALL), what) for pattern, what in _TEXTS]


def what_it_is(head: bytes, name: str = "") -> str | None:
    """What a file is that begins with these bytes, if it surely holds no density that chgdb reads; else None.

    name: of the file, for compressions without a signature.

    >>> what_it_is(b"version https://git-lfs.github.com/spec/v1")
    'a pointer of Git LFS to a file that was not fetched: run git lfs pull in its repository'
    """
    signed = by_signature(head)
    if signed:
        return signed
    text = _encoding(head)
    if text:
        return text
    if _is_zlib(head):
        return "compressed by zlib, which is not read: decompress it first (pigz -d -z, or Python's zlib)"
    if _is_wavecar(head):
        return "a WAVECAR of VASP, which holds wave functions and no density"
    if _is_abinit(head):
        return (
            f"a binary file of ABINIT, {_NOT_READ}compute it with iomode 3, for a _DEN.nc, or write a cube with cut3d"
        )
    if _is_pickle(head):
        return "a pickle of Python, which is not read: it could run any program"
    plain = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for pattern, what in _patterns():
        if pattern.match(plain):
            return what
    if re.match(_LINK, plain):
        target = plain.decode("utf-8", "replace").strip()
        return f"the text of a symbolic link to {target}, as git writes where there are no links: name that file"
    if b"\r" in head and b"\n" not in head and len(head.split(b"\r")) > 3:
        return "text whose lines end in carriage returns alone, as on old Macs: run tr '\\r' '\\n' on it"
    if re.search(_BROTLI, name):
        return "compressed by Brotli, which is not read: run brotli -d on it"
    if head and not plain:
        return "nothing but blanks"
    line = plain.rstrip()
    if not name.endswith(".json") and line and len(line) < _ONE_LINE and b"\x00" not in line and b"\n" not in line:
        return f"a single line of text and no density: {line[:40].decode('utf-8', 'replace')!r}"
    if b"\x00" in head:
        return "a binary file of a kind that is not read"
    return None


def by_signature(head: bytes) -> str | None:
    """As `what_it_is`, but only by signatures that no text begins with."""
    if _is_old_tar(head):
        return _TAR
    return next((k.what for k in _KINDS if any(head.startswith(magic, k.offset) for magic in k.magic)), None)


def _is_old_tar(head: bytes) -> bool:
    """Whether the first 512 bytes have the checksum of a tar header: the oldest archives have no other mark."""
    if len(head) < 512 or not head[0]:
        return False
    digits = head[148:156].strip(b" \x00")
    if not re.fullmatch(rb"[0-7]{3,6}", digits):
        return False
    return int(digits, 8) == sum(head[:148]) + 8 * 32 + sum(head[156:512])


def _encoding(head: bytes) -> str | None:
    """What text in another encoding than one byte a character is, with or without a byte order mark. Else None."""
    what = None
    if head.startswith((b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff")):
        what = "UTF-32"
    elif head.startswith((b"\xff\xfe", b"\xfe\xff")) and b"\x00" in head:
        what = "UTF-16"
    elif len(head) >= 16:
        begin = head[: min(len(head), 256) // 4 * 4]
        zeros = [begin[k::4].count(0) * 4 / len(begin) for k in range(4)]
        if sorted(zeros)[1] == 1 and min(zeros[0], zeros[3]) < 0.1:
            what = "UTF-32"
        elif (zeros[0] == zeros[2] == 1 and max(zeros[1], zeros[3]) < 0.1) or (
            zeros[1] == zeros[3] == 1 and max(zeros[0], zeros[2]) < 0.1
        ):
            what = "UTF-16"
    return what and f"text in {what}, as PowerShell writes with >: run iconv -f {what} -t UTF-8 on it"


def _is_zlib(head: bytes) -> bool:
    if len(head) < 8 or head[0] != 0x78 or int.from_bytes(head[:2], "big") % 31:
        return False
    try:
        return bool(zlib.decompressobj().decompress(head, 64))
    except zlib.error:
        return False


def _is_wavecar(head: bytes) -> bool:
    """Whether it begins with three doubles: the length of a record, spins, and one of four versions."""
    if len(head) < 24:
        return False
    return any(
        spins in (1.0, 2.0) and version in (45200.0, 45210.0, 53300.0, 53310.0) and length > 24
        for length, spins, version in (struct.unpack(order + "3d", head[:24]) for order in "<>")
    )


def _is_abinit(head: bytes) -> bool:
    """Whether it begins with a Fortran record of ABINIT's version (six or eight characters) and two numbers."""
    return any(
        struct.unpack("<i", head[:4])[0] == size + 8
        and re.match(rb"\d+\.\d+\.\d+\w*\s*$", head[4 : 4 + size]) is not None
        for size in (6, 8)
        if len(head) >= 16
    )


def _is_pickle(head: bytes) -> bool:
    """Whether it is a pickle: protocols 2 to 5, or the beginnings of objects in the older ones, which are text."""
    return (
        re.match(rb"\x80[\x02-\x05][\x95}\](cXKGM]", head) is not None
        or re.match(rb"(ccopy_reg|c__builtin__|\(i[a-z]\w*(\.\w+)*\n|cnumpy)", head) is not None
    )
