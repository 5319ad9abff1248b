"""Targets: files of one density, payloads, and what lies beside a payload."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from base import GOLDEN, Target, scratch, tolerated
from mutation import changed_json
from numcodecs import Zstd

from chgdb import Crystal, Density, codecs, formats
from chgdb.codecs.bits import BitReader, BitWriter
from chgdb.errors import FormatError

#: Values that a payload may claim here: the limit that is the default has a test of its own.
VALUES = 1 << 16

# --- files of one density --------------------------------------------------------------------------------------------


@cache
def _densities() -> dict[str, Density]:
    from make_payloads import antiferromagnet, noncollinear

    crystal = Crystal([[4.1, 0.2, -0.3], [0.7, 5.2, 0.1], [-0.4, 0.9, 4.7]], [[0, 0, 0], [0.31, 0.42, 0.17]], [19, 9])
    values = np.random.default_rng(0).normal(1, 0.3, (4, 3, 2))
    occupancies = "augmentation occupancies   1   2\n  0.1234567E+00 -0.7654321E-01\n"
    occupancies += "augmentation occupancies   2   1\n  0.1000000E+01\n"
    extras = {
        "comment": "two atoms", "species": [["K_sv", 1], ["F", 1]], "selective_dynamics": ["TTF", "FFF"],
        "after": {"total": occupancies},
    }  # fmt: skip
    flips, vector = antiferromagnet(), noncollinear()
    return {
        "plain": Density(crystal, {"total": values}, extras),
        "single": Density(crystal, {"total": values.astype(np.float32)}),
        "spin": flips.resample((4, 4, 4)),
        "vector": vector.resample((3, 3, 3)),
    }


def _written(name: str, density: Density) -> bytes:
    path = scratch() / name
    formats.write(path, density)
    return path.read_bytes()


_PACKERS: tuple[Callable[[bytes], bytes], ...] = (bytes, gzip.compress, bz2.compress, lzma.compress)


def _read(name: str, data: bytes, **options: Any) -> Density | Crystal:
    path = scratch() / name
    path.write_bytes(data)
    if "structure" in options:
        return formats.read_structure(path, elements=options["elements"])
    return formats.read(path, **options)


def _again(density: Density, name: str) -> None:
    """What was read can be written, and read again to the same values."""
    if density.total.size > 4096:
        return
    path = scratch() / name
    try:
        formats.write(path, density)
    except FormatError:
        return  # a value has no place in its field
    try:
        read = formats.read(path)
    except FormatError as error:
        raise AssertionError(f"what was written cannot be read: {error}") from error
    scale = max(float(np.abs(density.total).max()), 1e-290)
    assert read.grid == density.grid
    assert np.abs(read.total / scale - density.total / scale).max() < 1e-9


def _chgcar(data: bytes) -> None:
    """First byte: compressions, whether it is read as a structure, whether elements are given."""
    first, body = data[:1] or b"\0", data[1:]
    packed = _PACKERS[first[0] & 3](body) if first[0] & 4 else body
    packed = bytes(Zstd(1).encode(packed)) if first[0] & 32 else packed
    elements = ["K", "F"] if first[0] & 8 else None
    if first[0] & 16:
        found = _read("POSCAR", packed, structure=True, elements=elements)
    else:
        found = _read("CHGCAR", packed, elements=elements)
        _again(found, "again.CHGCAR")


def _chgcar_seeds() -> list[bytes]:
    texts = [_written("seed.CHGCAR", density) for density in _densities().values()]
    old = texts[0].replace(b"K_sv    F\n", b"").replace(b"  K_sv", b"")
    cartesian = texts[1].replace(b"Direct", b"Cartesian").replace(b"1.00000000000000", b"-50.0")
    crlf = texts[0].replace(b"\n", b"\r\n")
    return [
        *(b"\0" + text for text in [*texts, cartesian, crlf]),
        *(bytes([4 | kind]) + texts[1] for kind in range(1, 4)),
        *(bytes([kind]) + _PACKERS[kind](texts[1]) for kind in range(1, 4)),
        b"\x08" + old, b"\x10" + texts[0], b"\x18" + old, b"\0" + texts[1] * 2, b"\x20" + texts[1],
        b"\0" + bytes(Zstd(1).encode(texts[1])), b"\0version https://git-lfs.github.com/spec/v1\n", b"\0<html>",
    ]  # fmt: skip


def _cube(data: bytes) -> None:
    first, body = data[:1] or b"\0", data[1:]
    found = _read("density.cube", _PACKERS[first[0] & 3](body) if first[0] & 4 else body)
    _again(found, "again.cube")


def _cube_seeds() -> list[bytes]:
    texts = [_written("seed.cube", density) for density in _densities().values()]
    lines = texts[0].split(b"\n")
    orbital = [*lines[:2], lines[2].replace(b" 2 ", b"-2 "), *lines[3:8], b"1 1", *lines[8:]]
    angstrom = [*lines[:3], b"-" + lines[3].lstrip(), *lines[4:]]
    more = [b"\n".join(orbital), b"\n".join(angstrom)]
    return [*(b"\0" + text for text in texts + more), *(bytes([4 | kind]) + texts[1] for kind in range(1, 4))]


def _xsf(data: bytes) -> None:
    _again(_read("density.xsf", data), "again.xsf")


def _xsf_seeds() -> list[bytes]:
    texts = [_written("seed.xsf", density) for density in _densities().values()]
    molecule = texts[0].replace(b"CRYSTAL", b"MOLECULE").replace(b"PRIMCOORD\n2 1", b"ATOMS")
    return [*texts, molecule, texts[0].partition(b"BEGIN")[0]]


_ESPRESSO = GOLDEN.parent / "data/quantum-espresso/h.save"


def _espresso(data: bytes) -> None:
    """First byte: whether the density follows, or the XML that lies beside a good one."""
    first, body = data[:1] or b"\0", data[1:]
    schema = scratch() / "data-file-schema.xml"
    schema.write_bytes(body if first[0] & 1 else (_ESPRESSO / schema.name).read_bytes())
    good = (_ESPRESSO / "charge-density.dat").read_bytes()
    _again(_read("charge-density.dat", good if first[0] & 1 else body), "espresso.npz")


def _espresso_seeds() -> list[bytes]:
    text = (_ESPRESSO / "data-file-schema.xml").read_bytes()
    short = text[: text.index(b"<input>")] + text[text.index(b"<output>") :]
    return [b"\0" + (_ESPRESSO / "charge-density.dat").read_bytes(), b"\1" + short]


_ABINIT = GOLDEN.parent / "data/abinit/h_DEN.nc.gz"


@cache
def _hdf5_files() -> tuple[bytes, ...]:
    """Small files of VASP, Quantum ESPRESSO and ABINIT's layouts."""
    sys.path.insert(0, str(GOLDEN.parent / "formats"))
    from programs import espresso_hdf5, vaspwave

    path = scratch() / "seed.h5"
    found = []
    for name in ("plain", "spin", "vector"):
        vaspwave(path, _densities()[name], {"total": {1: [0.1, 0.2], 2: [1.0]}} if name == "plain" else None)
        found.append(path.read_bytes())
    espresso_hdf5(path, (_ESPRESSO / "charge-density.dat").read_bytes())
    return *found, path.read_bytes(), gzip.decompress(_ABINIT.read_bytes())


@cache
def _hdf5_document(number: int) -> dict[str, Any]:
    """Datasets and attributes of a file as JSON: name -> type and values, the large ones cut short."""
    import h5py

    document: dict[str, Any] = {}
    with h5py.File(io.BytesIO(_hdf5_files()[number])) as file:

        def visit(name: str, node: Any) -> None:
            if isinstance(node, h5py.Dataset) and node.dtype.kind in "iufS" and node.size <= 1 << 12:
                values = node[()].astype("U").tolist() if node.dtype.kind == "S" else node[()].tolist()
                document[name] = {"type": node.dtype.str, "values": values, "attributes": _attributes(node)}

        file.visititems(visit)
        document[""] = {"attributes": _attributes(file)}
    return document


def _attributes(node: Any) -> dict[str, Any]:
    """Attributes that are texts or numbers."""
    values = {key: np.asarray(value) for key, value in node.attrs.items()}
    return {
        key: (value.astype("U") if value.dtype.kind in "SU" else value.astype(float)).tolist()
        for key, value in values.items()
        if value.dtype.kind in "iufSU"
    }


def _hdf5_of(document: Any) -> bytes | None:
    """The file of a document, with whatever its types make of its values; None where h5py cannot write it."""
    import h5py

    stream = io.BytesIO()
    try:
        with h5py.File(stream, "w") as file, np.errstate(all="ignore"):
            for name, entry in document.items():
                if name:
                    values = np.array(entry["values"])
                    file[name] = values.astype("S" if values.dtype.kind == "U" else entry["type"])
                for key, value in entry["attributes"].items():
                    held = np.array(value)
                    (file[name] if name else file).attrs[key] = held.astype("S") if held.dtype.kind == "U" else held
    except (TypeError, ValueError, AttributeError, KeyError, OSError, RuntimeError, OverflowError, UnicodeError):
        return None
    return stream.getvalue()


def _hdf5(data: bytes) -> None:
    """First byte: 0 the file itself; else changes to the document of which file follow."""
    first, body = data[:1] or b"\0", data[1:]
    made: bytes | None = body
    if first[0]:
        made = _hdf5_of(changed_json(_hdf5_document(first[0] % len(_hdf5_files())), body))
    (scratch() / "data-file-schema.xml").write_bytes((_ESPRESSO / "data-file-schema.xml").read_bytes())
    if made is not None:
        _again(_read("charge-density.hdf5", made), "hdf5.npz")


def _hdf5_seeds() -> list[bytes]:
    files = _hdf5_files()
    changes = [bytes([number + len(files)]) for number in range(len(files))]
    return [*(b"\0" + file for file in files if len(file) < 1 << 16), *changes, *(c + b"\3\0\1\0\3\5" for c in changes)]


@cache
def _chgcar_json() -> dict[str, Any]:
    density = _densities()["plain"]
    sites = [
        {"species": [{"element": symbol, "occu": 1}], "abc": position}
        for symbol, position in zip(density.crystal.symbols, density.crystal.positions.tolist(), strict=True)
    ]
    values = (density.total * density.crystal.volume).tolist()
    return {
        "poscar": {
            "comment": "K F",
            "structure": {"lattice": {"matrix": density.crystal.cell.tolist()}, "sites": sites},
        },
        "data": {"total": {"@class": "array", "dtype": "float64", "data": values}, "diff": values},
        "data_aug": {
            "total": {"1": {"data": [1.0, 2.0]}, "2": {"dtype": "complex128", "data": [[1.0], [0.5]]}},
            "diff": [f"augmentation occupancies   {ion}   1\n  0.1E+00\n" for ion in (1, 2)],
        },
    }


def _mp_json(data: bytes) -> None:
    """First byte: whether changes to a good document follow, or the text itself."""
    first, body = data[:1] or b"\0", data[1:]
    text = json.dumps(changed_json(_chgcar_json(), body)).encode() if first[0] & 1 else body
    found = _read("density.json", text if first[0] & 2 else gzip.compress(text))
    # Occupancies are text that is handed on; of how many ions they are is for the reader of a CHGCAR to say.
    _again(replace(found, extras={}), "json.CHGCAR")


def _mp_json_seeds() -> list[bytes]:
    text = json.dumps(_chgcar_json()).encode()
    wrapped = json.dumps([{"data": _chgcar_json()}]).encode()
    return [b"\0" + text, b"\2" + text, b"\2" + wrapped, b"\1", b"\3\0\1\0\3\0\5\2\1"]


def _npz(data: bytes) -> None:
    """First byte: 0 the archive itself; else which of its members has the content that follows, and its packing."""
    first, body = data[:1] or b"\0", data[1:]
    if first[0] == 0:
        _read("density.npz", body)
        return
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(_npz_seeds()[0][1:])) as source, zipfile.ZipFile(stream, "w") as target:
        for number, info in enumerate(source.infolist()):
            chosen = number == first[0] % len(source.infolist())
            kind = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2)[first[0] >> 6]
            target.writestr(info.filename, body if chosen else source.read(info), kind)
    _read("density.npz", stream.getvalue())


@cache
def _npz_seeds() -> list[bytes]:
    whole = _written("seed.npz", _densities()["plain"])
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        members = [archive.read(name) for name in archive.namelist()]
    single = [bytes([64 * (number % 4) + number + len(members)]) + member for number, member in enumerate(members)]
    return [b"\0" + whole, b"\0" + _written("seed.npz", _densities()["vector"]), *single]


# --- payloads --------------------------------------------------------------------------------------------------------


@cache
def prior():
    from make_payloads import load_prior

    return load_prior()


def _payload(codec: int) -> Callable[[bytes], Density]:
    def run(data: bytes) -> Density:
        """The payload but for the number of its codec."""
        payload = bytes([codec]) + data
        codecs.header(payload)
        return codecs.decode(payload, prior=prior(), max_values=VALUES)

    return run


def _golden_payloads(prefix: str) -> Callable[[], list[bytes]]:
    def seeds() -> list[bytes]:
        found = [path.read_bytes()[1:] for path in sorted((GOLDEN / "payloads").glob(f"{prefix}-*.bin"))]
        return [data for data in found if len(data) < 4096] or found

    return seeds


def _lossless(data: bytes) -> Density:
    """First byte: 0 the payload itself; else a good head and values that are packed here."""
    from numcodecs import Blosc

    from chgdb.codecs.frame import write_frame

    if data[:1] == b"\0":
        return _payload(1)(data[1:])
    density = _densities()["plain"]
    out = BitWriter()
    out.write(1, 8)
    out.write(1, 1)
    write_frame(out, density.crystal, density.grid, 1)
    packed = bytes(Blosc("zstd", shuffle=Blosc.BITSHUFFLE).encode(data[1:] or b"\0"))
    return codecs.decode(out.to_bytes() + packed, max_values=VALUES)


def _lossless_seeds() -> list[bytes]:
    values = _densities()["plain"].total.tobytes()
    return [*(b"\0" + data for data in _golden_payloads("lossless")()), b"\1" + values, b"\1" + values[:-8]]


def _crystal(data: bytes) -> None:
    """First byte: whether a crystal or a group of operations. What is read is written and read again to the same."""
    from chgdb.codecs.crystal import read_crystal, write_crystal
    from chgdb.codecs.groups import read_group, write_group

    out = BitWriter()
    if data[:1] == b"\0":
        group = read_group(BitReader(data[1:]))
        if len(group) <= 192:
            write_group(out, group)
            assert set(read_group(BitReader(out.to_bytes())).rows()) == set(group.rows())
    else:
        crystal = read_crystal(BitReader(data[1:]))
        if len(crystal) <= 64:
            write_crystal(out, crystal)
            assert read_crystal(BitReader(out.to_bytes())) == crystal


def _crystal_seeds() -> list[bytes]:
    from fields import STRUCTURES

    from chgdb.codecs.crystal import write_crystal
    from chgdb.codecs.groups import write_group
    from chgdb.symmetry import find

    seeds = []
    for crystal in STRUCTURES.values():
        for kind, write, value in ((b"\1", write_crystal, crystal), (b"\0", write_group, find(crystal))):
            out = BitWriter()
            write(out, value)  # type: ignore[arg-type]
            seeds.append(kind + out.to_bytes())
    return seeds


def _extras(data: bytes) -> None:
    """First byte: packed extras as they are, packed here, or the text of augmentation occupancies."""
    from chgdb import augmentation
    from chgdb.formats.extras import _FILTERS, pack_extras, unpack_extras

    kind, body = (data[:1] or b"\0")[0] % 3, data[1:]
    if kind == 0:
        unpack_extras(body)
    elif kind == 1:
        quick = [{**_FILTERS[0], "preset": 0}]
        extras = unpack_extras(b"\1" + lzma.compress(body, lzma.FORMAT_RAW, filters=quick))
        # A crystal that has nothing to do with them: whatever they say, a CHGCAR can be written.
        density = replace(_densities()["plain"], extras=extras)
        with tolerated():
            _written("extras.CHGCAR", density)
        if len(body) % 64 == 0:  # takes long
            with tolerated():
                pack_extras(extras)
    else:
        augmentation.to_text(augmentation.to_arrays(body.decode("utf-8", "surrogateescape")))


def _extras_seeds() -> list[bytes]:
    extras = dict(_densities()["plain"].extras)
    packed = formats.pack_extras(extras)
    text = extras["after"]["total"]
    text += text.replace("occupancies ", "occupancies (imaginary part) ")
    return [b"\0" + packed, b"\1" + json.dumps(extras).encode(), b"\1{}", b"\2" + text.encode()]


TARGETS = {
    "chgcar": Target("CHGCAR and POSCAR, plain and compressed", _chgcar_seeds, _chgcar),
    "cube": Target("cube, plain and compressed", _cube_seeds, _cube),
    "xsf": Target("XSF", _xsf_seeds, _xsf),
    "espresso": Target("charge-density.dat and data-file-schema.xml", _espresso_seeds, _espresso),
    "hdf5": Target("HDF5 of VASP, Quantum ESPRESSO and ABINIT", _hdf5_seeds, _hdf5),
    "mp_json": Target("JSON of the Materials Project", _mp_json_seeds, _mp_json),
    "npz": Target("npz", _npz_seeds, _npz),
    "fourier": Target("payloads of the Fourier codec", _golden_payloads("fourier"), _payload(2)),
    "realspace": Target("payloads of the real-space codec", _golden_payloads("realspace"), _payload(3)),
    "lossless": Target("payloads of the lossless codec", _lossless_seeds, _lossless),
    "crystal": Target("crystals and symmetry groups in payloads", _crystal_seeds, _crystal),
    "extras": Target("extras and augmentation occupancies", _extras_seeds, _extras),
}
