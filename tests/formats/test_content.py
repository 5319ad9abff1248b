"""Files that are something else: named in one line, with what to do, whatever their name says."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import struct
import subprocess
import tarfile
import time
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from vasp_text import HEADER, chgcar

import chgdb
from chgdb.errors import FormatError
from chgdb.formats.content import what_it_is

TEXT = chgcar().encode()
DATA = Path(__file__).resolve().parents[1] / "data"


def zipped(name: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, TEXT)
    return stream.getvalue()


def tarred() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        info = tarfile.TarInfo("run/CHGCAR")
        info.size = len(TEXT)
        archive.addfile(info, io.BytesIO(TEXT))
    return stream.getvalue()


def old_tar() -> bytes:
    """As tar of Unix V7 writes it: a checksum in the header and no "ustar"."""
    data = bytearray(tarred())
    data[257:265] = bytes(8)
    data[148:156] = b" " * 8
    data[148:156] = f"{sum(data[:512]):06o}\0 ".encode()
    return bytes(data)


def npy() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.zeros((3, 4, 5)))
    return stream.getvalue()


def wavecar() -> bytes:
    return struct.pack("<3d", 2400.0, 1.0, 45200.0) + bytes(2376)


KINDS = {
    "a pointer of Git LFS.*git lfs pull": [
        b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0123" * 16 + b"\nsize 12345\n",
        b"version https://hawser.github.com/spec/v1\noid sha256:" + b"abcd" * 16 + b"\nsize 1\n",
    ],
    "a pointer of git-annex.*git annex get": [
        b"/annex/objects/SHA256E-s31390--f50d7ac4c6b9.gz\n", b"../../.git/annex/objects/Kj/0x/MD5-s1--0/MD5-s1--0",
    ],
    "a pointer of DVC.*dvc pull": [b"outs:\n- md5: a304afb96060aad90176268345e10355\n  size: 37\n  path: CHGCAR\n"],
    "a web page": [
        b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head>", b"<!doctype HTML PUBLIC '-//W3C'>\n<HTML>",
        b"\n\n  <Html lang=en>\n<body>404</body>", b"\xef\xbb\xbf<html>", b"<!-- cached -->\n<!DocType Html><html>",
        b"<?xml version='1.0'?>\n<!DOCTYPE html PUBLIC><html xmlns='http://www.w3.org/1999/xhtml'>", b"<HEAD><TITLE>x",
    ],
    "a vasprun.xml": [b'<?xml version="1.0" encoding="ISO-8859-1"?>\n<modeling>\n <generator>\n', b"<modeling>"],
    "an error of a server": [b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>'],
    "an XML file": [b'<?xml version="1.0"?>\n<VTKFile type="ImageData">', b"<svg width='3'>"],
    "text in UTF-16.*iconv -f UTF-16": [
        chgcar().encode("utf-16"), chgcar().encode("utf-16-le"), chgcar().encode("utf-16-be"),
        chgcar().replace("\n", "\r\n").encode("utf-16"),
    ],
    "text in UTF-32.*iconv -f UTF-32": [
        chgcar().encode("utf-32"), chgcar().encode("utf-32-le"), chgcar().encode("utf-32-be"),
    ],
    "a CIF": [
        b"# generated\ndata_NaCl\n_cell_length_a 5.6\n", b"data_\n_symmetry_space_group_name_H-M 'P 1'\nloop_\n",
    ],
    "an OUTCAR": [b" vasp.6.4.2 20Jul23 (build Aug 1 2023) complex\n \n executed on             LinuxIFC\n"],
    "a POTCAR": [b"  PAW_PBE Si 05Jan2001                   \n   4.00000000000000     \n parameters from PSCTR are:\n"],
    "a WAVECAR": [wavecar(), struct.pack(">3d", 9600.0, 2.0, 45210.0) + bytes(100)],
    "a PDF": [b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"],
    "an HDF5 file": [b"\x89HDF\r\n\x1a\n" + bytes(100)],
    "a NetCDF file": [b"CDF\x01" + bytes(100), b"CDF\x02" + bytes(100)],
    "a zip archive.*unzip": [zipped("CHGCAR"), zipped("runs/mp-1/CHGCAR")],
    "a tar archive.*tar -xf": [tarred(), old_tar()],
    "a 7-Zip archive": [b"7z\xbc\xaf\x27\x1c\x00\x04" + bytes(50)],
    "a RAR archive": [b"Rar!\x1a\x07\x01\x00" + bytes(50), b"Rar!\x1a\x07\x00" + bytes(50)],
    "compress .*uncompress": [b"\x1f\x9d\x90t\xca" + bytes(range(200))],
    "LZ4.*lz4 -d": [b"\x04\x22\x4d\x18\x64\x40\xa7" + TEXT[:100]],
    "lzip": [b"LZIP\x01\x0c" + bytes(50)],
    "LZMA": [b"\x5d\x00\x00\x80\x00" + b"\xff" * 8 + bytes(50)],
    "zlib": [zlib.compress(TEXT), zlib.compress(TEXT, 1), zlib.compress(TEXT, 9)],
    "Snappy": [b"\xff\x06\x00\x00sNaPpY" + bytes(50)],
    "a binary file of ABINIT.*iomode 3": [struct.pack("<i8s3i", 16, b"9.6.2   ", 80, 52, 16) + bytes(60)],
    "a pickle": [pickle.dumps({"rho": np.zeros(3)}, protocol) for protocol in (2, 3, 4, 5)],
    "an array of numpy's": [npy()],
    "a picture": [b"\x89PNG\r\n\x1a\n" + bytes(20), b"\xff\xd8\xff\xe0\x00\x10JFIF"],
    "a table of colours": [b'TITLE "warm"\nLUT_3D_SIZE 17\n0 0 0\n', b"# made\nDOMAIN_MIN 0 0 0\nLUT_1D_SIZE 4\n"],
    "a VTK file": [b"# vtk DataFile Version 3.0\nrho\nASCII\n"],
    "an SQLite database": [b"SQLite format 3\x00" + bytes(50)],
    "a program": [b"\x7fELF\x02\x01\x01" + bytes(50)],
    "the text of a symbolic link to .*, as git writes.*: name that file": [
        b"../../annex/obj1/SHA256-1", b"/scratch/me/run 1/CHGCAR\n", b"runs/mp-2/CHGCAR.gz", b"./CHGCAR",
    ],
    "a pointer of Xet": [b"# xet version 0\nfilesize = 12\nhash = 'abc'\n"],
    "an answer of a server": [
        b"404: Not Found", b"Forbidden\n", b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" + TEXT,
    ],
    "carriage returns alone": [TEXT.replace(b"\n", b"\r")],
    "an OSZICAR": [b"       N       E             dE             d eps       ncg\nDAV:   1     0.1E+03\n"],
    "an INCAR": [b"ENCUT = 520\nISMEAR = 0\n", b"# static\nSYSTEM=SiC\nLCHARG = T\n", b"Prec = A\nALGO = N\nNSW = 3\n"],
    "a KPOINTS file": [b"auto\n0\nGamma\n4 4 4\n0 0 0\n", b"k\n 0\nMonkhorst-Pack\n 4 4 4\n", b"x\n40\nLine-mode\nr\n"],
    "a DOSCAR or EIGENVAL": [
        b"   2   2   1   0\n  0.16E+02  0.3E-09  0.3E-09  0.3E-09  0.5E-15\n  1.0E-004\n  CAR \n SiC\n",
    ],
    "a PROCAR": [b"PROCAR lm decomposed\n# of k-points:   10\n"],
    "an XYZ file": [b"2\n\nSi 0.0 0.0 0.0\nC 1.0 1.0 1.0\n", b'1\nLattice="4 0 0 0 4 0 0 0 4"\nSi 0 0 1e-3 1\n'],
    "a PDB file": [b"HEADER    PROTEIN\nCRYST1   50.0   50.0   50.0  90.00  90.00  90.00 P 1\n"],
    "a BXSF file": [b"BEGIN_INFO\n  Fermi Energy: 4.0\nEND_INFO\n"],
    "an OpenDX file": [b"# Data from APBS\n#\nobject 1 class gridpositions counts 4 4 4\n"],
    "a merge conflict of git": [b"<<<<<<< HEAD\n" + TEXT],
    "what macOS keeps beside a file": [b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        " + bytes(40)],
    "nothing but blanks": [b"\n", b"   \n \n", b" " * 9000],
    "a binary file": [bytes(range(256)) * 20, bytes(5000)],
    "the file is empty": [b""],
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["CHGCAR", "CHGCAR.gz", "mp-1.vasp", "density.cube", "x.json", "data"])
def test_what_it_is_is_said(tmp_path, kind, name):
    for number, content in enumerate(KINDS[kind]):
        path = tmp_path / str(number) / name
        path.parent.mkdir()
        path.write_bytes(content)
        with pytest.raises(FormatError, match=kind) as caught:
            chgdb.read(path)
        assert "\n" not in str(caught.value)
        assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("kind", ["a web page", r"a pointer of Git LFS.*git lfs pull", "a PDF", "the file is empty"])
def test_of_structures(tmp_path, kind):
    for content in KINDS[kind]:
        (tmp_path / "POSCAR").write_bytes(content)
        with pytest.raises(FormatError, match=kind):
            chgdb.formats.read_structure(tmp_path / "POSCAR")


@pytest.mark.parametrize("command", ["compress", "lz4", "brotli", "7z", "lzip", "zstd"])
def test_of_the_programs_themselves(tmp_path, command):
    if not shutil.which(command):
        pytest.skip(f"{command} is not installed")
    (tmp_path / "CHGCAR").write_bytes(TEXT)
    arguments = {"7z": ["7z", "a", "CHGCAR.7z", "CHGCAR"], "lz4": ["lz4", "-q", "CHGCAR", "CHGCAR.lz4"]}
    arguments["compress"] = ["compress", "-f", "CHGCAR"]  # also where nothing is won
    subprocess.run(arguments.get(command, [command, "-k", "CHGCAR"]), cwd=tmp_path, check=True, capture_output=True)
    packed = next(path for path in tmp_path.iterdir() if path.suffix)
    if command == "zstd":
        assert chgdb.read(packed).crystal.formula == "GaAs"
    else:
        with pytest.raises(FormatError, match=r"which is not read|a 7-Zip archive"):
            chgdb.read(packed)


@pytest.mark.parametrize("name", ["CHGCAR", "x.cube", "data"])
def test_a_single_line(tmp_path, name):
    (tmp_path / name).write_text("hello world\n")
    with pytest.raises(FormatError, match="a single line of text and no density: 'hello world'"):
        chgdb.read(tmp_path / name)


def test_nothing_compressed(tmp_path):
    import bz2
    import gzip
    import lzma

    import numcodecs

    for packed in (gzip.compress(b""), bz2.compress(b""), lzma.compress(b""), numcodecs.Zstd().encode(b"")):
        (tmp_path / "CHGCAR.gz").write_bytes(packed)
        with pytest.raises(FormatError, match="the file is empty"):
            chgdb.read(tmp_path / "CHGCAR.gz")
    (tmp_path / "CHGCAR.br").write_bytes(b"\x8b" + bytes(range(1, 120)))
    with pytest.raises(FormatError, match="Brotli"):
        chgdb.read(tmp_path / "CHGCAR.br")


def test_compressed_twice(tmp_path):
    import bz2
    import gzip

    for inner, outer in ((gzip, gzip), (bz2, gzip)):
        (tmp_path / "CHGCAR.gz").write_bytes(outer.compress(inner.compress(TEXT)))
        with pytest.raises(FormatError, match="compressed twice"):
            chgdb.read(tmp_path / "CHGCAR.gz")
    (tmp_path / "runs.tar.gz").write_bytes(gzip.compress(tarred()))
    with pytest.raises(FormatError, match="a tar archive"):
        chgdb.read(tmp_path / "runs.tar.gz")


@pytest.mark.parametrize("name", ["POSCAR", "CONTCAR", "CHGCAR", "Si.vasp", "XDATCAR"])
def test_structures_alone(tmp_path, name):
    structure = HEADER.rstrip() + "\n"
    velocities = "\n" + "  0.10000000E-01  0.00000000E+00 -0.20000000E-02\n" * 2
    second = "Direct configuration=     2\n" + "  0.1 0.2 0.3\n" * 2
    for rest, message in (
        ("", "a POSCAR or CONTCAR, which holds no density"),
        (velocities, "a CONTCAR"),
        (second, "XDATCAR"),
    ):
        (tmp_path / name).write_text(structure + rest)
        with pytest.raises(FormatError, match=message):
            chgdb.read(tmp_path / name)


def test_a_cube_called_chgcar(tmp_path):
    """What a file holds decides: chg2cube.pl writes exactly this name."""
    (tmp_path / "CHGCAR").write_text(chgcar(2))
    density = chgdb.read(tmp_path / "CHGCAR")
    for name in ("CHGCAR.cube", "AECCAR0.cube", "PARCHG.cube.gz", "CHG.npz", "Si_CHGCAR.cub"):
        chgdb.write(tmp_path / name, density)
        again = chgdb.read(tmp_path / name)
        assert len(again.channels) == (2 if "npz" in name else 1)
        assert np.allclose(again.total, density.total, rtol=1e-10)
    for name in ("CHGCAR", "CHG.gz", "x.vasp", "x.npz", "x.json", "POSCAR", "noname"):
        shutil.copy(tmp_path / "CHGCAR.cube", tmp_path / "other")
        (tmp_path / "other").rename(tmp_path / name)
        assert chgdb.read(tmp_path / name).crystal.formula == "GaAs"
        assert tuple(chgdb.read(tmp_path / name).channels) == ("total",)
    for name in ("x.cube", "y.json"):
        (tmp_path / name).write_text(chgcar(2))
        assert len(chgdb.read(tmp_path / name).channels) == 2


@pytest.mark.parametrize(
    "name", ["Si.cif", "Si.axsf", "POSCAR", "CONTCAR.gz", "Si.POSCAR", "Si.vasp.zip", "CHGCAR.Z", "CHGCAR.lz4",
             "CHG.tar.gz", "CHGCAR.png", "Si.h5", "CHGCAR.xyz", "POSCAR.vasp"],
)  # fmt: skip
def test_names_that_cannot_be_written(tmp_path, name):
    (tmp_path / "CHGCAR").write_text(chgcar())
    with pytest.raises(FormatError, match=r"(cannot be written|is only read); write one of chgcar, cube, xsf, npz"):
        chgdb.write(tmp_path / name, chgdb.read(tmp_path / "CHGCAR"))
    assert [path.name for path in tmp_path.iterdir()] == ["CHGCAR"]


def test_links_to_what_was_not_fetched(tmp_path):
    (tmp_path / "CHGCAR").symlink_to(".git/annex/objects/9x/Kz/SHA256E-s4--ab/SHA256E-s4--ab")
    with pytest.raises(FormatError, match="a link of git-annex to a file that is not here: run git annex get"):
        chgdb.read(tmp_path / "CHGCAR")
    (tmp_path / "CHG").symlink_to("/scratch/gone/CHG")
    with pytest.raises(FormatError, match="a link to /scratch/gone/CHG, which is not there"):
        chgdb.read(tmp_path / "CHG")


def test_json_that_is_something_else(tmp_path):
    document = json.loads((DATA / "NiO_spin.json").read_text())
    for kind in ("Elfcar", "Locpot"):
        (tmp_path / "x.json").write_text(json.dumps({"data": document | {"@class": kind}}))
        with pytest.raises(FormatError, match=f"it is an? {kind} of pymatgen"):
            chgdb.read(tmp_path / "x.json")
    del document["@class"]
    for name in ("LOCPOT.json", "mp-1_elfcar.json", "x.json"):
        (tmp_path / name).write_text(json.dumps(document))
    assert chgdb.read(tmp_path / "x.json").crystal.formula == "NiO"
    for name in ("LOCPOT.json", "mp-1_elfcar.json"):
        with pytest.raises(FormatError, match=r"it holds by its name an? "):
            chgdb.read(tmp_path / name)
    (tmp_path / "x.json").write_text(json.dumps({"@class": "Structure", "lattice": {}, "sites": []}))
    with pytest.raises(FormatError, match="a Structure of pymatgen, a structure without a density"):
        chgdb.read(tmp_path / "x.json")


@pytest.mark.parametrize("piece", [b"1", b" 1", b"1 ", b".", b"a", b"#", b"\n", b" "])
def test_telling_what_a_file_is_takes_no_time(piece):
    """A pattern that can split a run of digits in many ways tries all of them: minutes, for four kilobytes."""
    head = (piece * 4096)[:4096]
    start = time.perf_counter()
    what_it_is(head)
    assert time.perf_counter() - start < 2
