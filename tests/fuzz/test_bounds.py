"""Small files that claim to be large: refused in words, in bounded memory. docs/science/trust.md states the bounds."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from numcodecs import Zstd

sys.path.insert(0, str(Path(__file__).resolve().parent))

from store_targets import _golden, _sealed

from chgdb import Crystal, Density, codecs, formats
from chgdb import limits as bounds
from chgdb.codecs.bits import BitWriter
from chgdb.codecs.frame import write_count, write_frame
from chgdb.errors import CodecError, FormatError, StoreError
from chgdb.formats.npz import parse_npy

SILICON = Crystal(np.eye(3) * 5.43, [[0, 0, 0]], [14])
#: Runs a statement with so little address space that a claim of a gigabyte fails, and prints what it raises.
LIMITED = """
import resource, sys
before = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
from chgdb.errors import ChgdbError
import chgdb, numpy, chgdb.formats, chgdb.codecs, chgdb.store.arrays, chgdb.verification
from numcodecs import blosc, zstd
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
limit = used + int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    print("value", eval(sys.argv[2]))
except ChgdbError as error:
    print("refused", type(error).__name__, error)
"""

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="address space is limited on Linux only")


def limited(expression: str, megabytes: int) -> str:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(megabytes << 20), expression], capture_output=True, text=True, check=False,
        timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-1000:]
    return done.stdout


def constant(grid: tuple[int, int, int]) -> bytes:
    """A payload of a constant density, with nothing coded: 16 bytes for any grid."""
    out = BitWriter()
    out.write(2, 8)
    write_frame(out, SILICON, grid, 1)
    out.write(0, 1)
    out.write(0, 2)
    write_count(out, 4 << 40)
    out.write(0, 1)
    return out.to_bytes() + b"\1"


def test_a_constant_density_of_a_few_bytes():
    """Such payloads are right as long as the grid is: what is bounded is what is believed unasked."""
    small = constant((16, 16, 16))
    assert len(small) < 40
    assert codecs.decode(small).n_electrons == pytest.approx(4)
    with pytest.raises(CodecError, match=r"claims 134217728 values on a grid of 512 x 512 x 512 points.*max_values="):
        codecs.decode(constant((512, 512, 512)))
    with pytest.raises(CodecError, match="max_values=4096"):
        codecs.decode(small, max_values=4095)
    assert codecs.decode(small, max_values=4096).grid == (16, 16, 16)


@linux
def test_the_largest_claim_that_is_believed(tmp_path):
    """2^24 values: five doubles each at most while they are decoded, and no more."""
    (tmp_path / "payload").write_bytes(constant((256, 256, 256)))
    read = f"chgdb.codecs.decode(open({str(tmp_path / 'payload')!r}, 'rb').read()).grid"
    assert limited(read, 5 * 8 * (bounds.VALUES >> 20)).startswith("value (256, 256, 256)")
    (tmp_path / "payload").write_bytes(constant((645, 645, 645)))
    assert limited(read, 64).startswith("refused CodecError the payload of")


def test_symmetry_that_takes_long(monkeypatch):
    """61 bytes with hundreds of operations on millions of points took minutes before they were found to be nothing."""
    import time

    from chgdb.codecs import realspace
    from chgdb.codecs.groups import write_group
    from chgdb.symmetry import SpaceGroup

    steps = np.array([(360 * i, 720 * j, 720 * k) for i in range(14) for j in range(7) for k in range(7)])
    rotations = np.repeat(np.eye(3, dtype=np.int64)[None], len(steps), axis=0)
    out = BitWriter()
    out.write(realspace.CODEC_ID, 8)
    write_frame(out, SILICON, (224, 161, 161), 1)
    out.write(0, 2)
    write_group(out, SpaceGroup(rotations, steps, np.zeros(3), np.zeros(len(steps), np.int64)))
    write_count(out, 0)
    for value, width in ((1500, 11), (1, 1), (3, 6)):
        out.write(value, width)
    began = time.process_time()
    with pytest.raises(CodecError, match="more values than it can hold"):
        codecs.decode(out.to_bytes() + b"\1\2\3")
    assert time.process_time() - began < 5
    # What is encoded is believed: without the symmetry, where it would not be.
    density = Density(SILICON, {"total": np.ones((12, 12, 12))})
    small = codecs.encode(density, 1e-3, codec="realspace").payload
    monkeypatch.setattr(realspace, "_most_images", lambda size: 12**3)
    plain = codecs.encode(density, 1e-3, codec="realspace").payload
    assert len(plain) < len(small)  # no generators, and zeros cost nothing
    with pytest.raises(CodecError, match="more values than it can hold"):
        codecs.decode(small)


def test_encoding_is_never_refused_for_its_size(monkeypatch):
    """The bound is for what comes from outside: a density that is here can be encoded and verified."""
    monkeypatch.setattr(codecs, "most_values", lambda size: 10)
    density = Density(SILICON, {"total": np.ones((8, 8, 8))})
    encoded = codecs.encode(density, 1e-4)
    with pytest.raises(CodecError, match="max_values=512"):
        codecs.decode(encoded.payload)


def test_the_ratio_lets_real_records_through():
    import chgdb

    catalog = chgdb.open()
    values = catalog.column("grid").astype(np.int64).prod(axis=1)
    values *= [len(text.split()) for text in catalog.column("channels")]
    sizes = catalog.column("stored_bytes") - catalog.column("extras_length") - 4
    assert (values <= [bounds.most_values(int(size)) for size in sizes]).all()
    assert (values / sizes).max() < bounds.VALUES_RATIO / 2


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("name", ["CHGCAR", "density.cube", "density.json", "density.npz"])
def test_compressed_files_that_unfold(tmp_path, pack, name):
    """A few kilobytes of zeros, of each compression and read as each format."""
    path = tmp_path / name
    text = {"CHGCAR": b"x\n" + b"1 " * 40, "density.cube": b"x\n", "density.json": b"[", "density.npz": b"PK\3\4"}[name]
    path.write_bytes(pack(text + bytes(20 << 20) if name != "density.json" else b"[" + b"0," * (9 << 20)))
    assert path.stat().st_size < 50_000
    with pytest.raises(FormatError) as caught:
        formats.read(path)
    assert "\n" not in str(caught.value)
    if name in ("density.json", "density.npz"):  # the others stop at the first line that is none
        assert "unfold to more than" in str(caught.value)


def test_values_without_end(tmp_path):
    """A CHGCAR of repeated values that is packed a thousand times smaller than it is."""
    density = Density(SILICON, {"total": np.ones((4, 4, 4))})
    formats.write(tmp_path / "CHGCAR", density)
    head = (tmp_path / "CHGCAR").read_bytes().partition(b"    4    4    4\n")[0]
    values = b" 0.10000000000E+01" * 5 + b"\n"
    whole = head + b"  999  999  999\n" + values * 200_000
    (tmp_path / "CHGCAR.xz").write_bytes(lzma.compress(whole, preset=0))
    with pytest.raises(FormatError, match=r"997002999 points, .*unfold to more than \d+ bytes"):
        formats.read(tmp_path / "CHGCAR.xz")


@linux
def test_claims_of_compressed_cubes(tmp_path):
    """The number of values that a compressed file announces is not taken for memory."""
    density = Density(SILICON, {"total": np.ones((4, 4, 4))})
    formats.write(tmp_path / "x.cube", density)
    text = (tmp_path / "x.cube").read_bytes().replace(b"\n    4 ", b"\n  2000 ")
    (tmp_path / "x.cube.gz").write_bytes(gzip.compress(text))
    assert "has 8000000000 points" in limited(f"chgdb.read({str(tmp_path / 'x.cube.gz')!r})", 256)
    (tmp_path / "x.cube.gz").write_bytes(gzip.compress(text.replace(b"\n  2000 ", b"\n   500 ")))
    assert "of 125000000 values" in limited(f"chgdb.read({str(tmp_path / 'x.cube.gz')!r})", 256)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, lambda data: bytes(Zstd(5).encode(data))])
@pytest.mark.parametrize("name", ["BvAt0007.vasp", "basin.cube"])
def test_what_is_almost_all_zero(tmp_path, pack, name):
    """One Bader volume: text that packs hundreds of times is as long as its header says, and is read."""
    # Just more text than is believed of any file; gzip packs the least.
    values = np.zeros((160, 120, 120) if pack is gzip.compress else (112, 110, 100))
    values[3, 4, 5:8] = 1.5
    formats.write(tmp_path / name, Density(SILICON, {"total": values}))
    text = (tmp_path / name).read_bytes()
    (tmp_path / f"{name}.packed").write_bytes(pack(text))
    assert len(text) > bounds.most_unfolded((tmp_path / f"{name}.packed").stat().st_size)
    assert formats.read(tmp_path / f"{name}.packed").total[3, 4, 6] == pytest.approx(1.5)


def test_values_that_are_believed(tmp_path, monkeypatch):
    """Where a grid claims more than the bound, what the size of the file allows has to do."""
    from chgdb.formats import streams

    formats.write(tmp_path / "x.vasp.bz2", Density(SILICON, {"total": np.zeros((110, 90, 100))}))
    monkeypatch.setattr(streams, "FIELD_VALUES", 110 * 90 * 100 - 1)
    with pytest.raises(FormatError, match="unfold to more than"):
        formats.read(tmp_path / "x.vasp.bz2")
    monkeypatch.undo()
    monkeypatch.setattr(streams, "LARGEST_FRAME", 1 << 20)
    (tmp_path / "x.vasp.zst").write_bytes(bytes(Zstd(5).encode(bytes(30 << 20))))
    with pytest.raises(FormatError, match=r"a frame unfolds to up to 31457280 bytes.*zstd -d"):
        formats.read(tmp_path / "x.vasp.zst")


def test_arrays_that_claim(tmp_path, monkeypatch):
    from chgdb.formats import npz as module

    def npy(shape, descr="<f8", data=b"") -> bytes:
        stream = io.BytesIO()
        np.lib.format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": False, "shape": shape})
        return stream.getvalue() + data

    for data in (npy((1 << 40,)), npy((1 << 60, 1 << 60)), npy((-1,)), npy((4,), "|O"), npy((1 << 40,), "|S0")):
        with pytest.raises(ValueError, match=r"an array of|expected real numbers"):
            parse_npy(data)
    assert parse_npy(npy((2,), data=bytes(16))).tolist() == [0, 0]
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("total.npy", npy((5 << 20,), data=bytes(40 << 20)))
    with pytest.raises(FormatError, match="no array 'cell'"):  # 40 MB of zeros may be what a density is
        formats.read(tmp_path / "x.npz")
    monkeypatch.setattr(module, "FIELD_VALUES", 5 << 20)
    with pytest.raises(FormatError, match="far more than its size"):
        formats.read(tmp_path / "x.npz")


def test_extras_that_unfold():
    from chgdb.formats.extras import _FILTERS

    text = b'{"comment":"' + b"a" * (17 << 20) + b'"}'
    packed = b"\1" + lzma.compress(text, lzma.FORMAT_RAW, filters=[{**_FILTERS[0], "preset": 0}])
    assert len(packed) < 10_000
    with pytest.raises(FormatError, match="incomplete"):
        formats.unpack_extras(packed)
    with pytest.raises(FormatError, match="nearly repeats"):
        formats.pack_extras({"comment": "a" * (17 << 20)})


def _store(folder: Path, **arrays: dict) -> Path:
    """The golden store with other metadata of some arrays, checksums made right."""
    root = json.loads(_golden()["zarr.json"])
    for name, changes in arrays.items():
        root["consolidated_metadata"]["metadata"][name] |= changes
    for key, data in _sealed({"zarr.json": json.dumps(root).encode()})[0].items():
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(data)
    return folder


def _chunks(*shape: int) -> dict:
    return {"name": "regular", "configuration": {"chunk_shape": list(shape)}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"volume": {"shape": [1 << 40], "chunk_grid": _chunks(1 << 40)}}, "beyond what a store may have"),
        ({"volume": {"shape": [1 << 24], "chunk_grid": _chunks(1)}}, "beyond what a store may have"),
        ({"volume": {"shape": [5]}}, "5 rows for 4 materials"),
        ({"volume": {"shape": [-4]}}, "chunks of the shape"),
        ({"formula": {"data_type": "float64"}}, "could not convert"),
        ({"formula": {"fill_value": None}}, "fill value None"),
        ({"formula": {"data_type": "int32", "fill_value": 0}}, "formula is int32"),
        ({"volume": {"fill_value": [1, 2]}}, "beyond what a store may have"),
        ({"volume": {"codecs": [{}]}}, "'name'"),
        ({"volume": {"attributes": []}}, "attributes or dimensions"),
        ({"volume": {"node_type": "group"}}, "no array volume"),
    ],
)
def test_metadata_that_claim(tmp_path, changes, message):
    from chgdb.catalog import Catalog

    with pytest.raises(StoreError, match=message):
        Catalog(_store(tmp_path, **changes))


def test_the_payload_may_be_large(tmp_path):
    """It is never read whole: its bound is the number of its shards."""
    from chgdb.catalog import Catalog

    store = _store(tmp_path, payload={"shape": [1 << 36], "chunk_grid": _chunks(1 << 24)})
    assert Catalog(store)["gold-1"].density.grid == (12, 12, 12)


@linux
def test_columns_of_one_value_take_no_memory(tmp_path):
    """Ten million materials of which there is nothing but the fill values."""
    from chgdb.store.format import COLUMNS

    n = 10_000_000
    changes: dict[str, dict] = {}
    for name, kind in COLUMNS.items():
        trailing = [size for _, size in kind.dimensions]
        changes[name] = {"shape": [n, *trailing], "chunk_grid": _chunks(4096, *trailing)}
    for name in ("occupancy_tolerance", "occupancy_error"):  # of stores of format 3
        changes[name] = {"shape": [n], "chunk_grid": _chunks(4096)}
    changes |= {"index/lookup": {"shape": [n, 24], "chunk_grid": _chunks(4096, 24)}}
    changes |= {"index/facts": {"shape": [n, 32], "chunk_grid": _chunks(4096, 32)}}
    for name in ("latent", "latent_nmae", "latent_spacing", "band_gap", "checked"):
        changes[name] = {"node_type": "group"}
    _store(tmp_path, **changes)
    for path in [p for p in tmp_path.rglob("*") if p.is_file() and "/c/" in p.as_posix()]:
        path.unlink()
    kept = [line for line in (tmp_path / "checksums.txt").read_text().splitlines()[:-1] if "/c/" not in line]
    body = "".join(line + "\n" for line in kept).encode()
    from chgdb.store.head import crc32c

    (tmp_path / "checksums.txt").write_bytes(body + f"{crc32c(body):08x}\n".encode())
    found = limited(f"chgdb.catalog.Catalog({str(tmp_path)!r}).column('cell').shape", 128)
    assert found.startswith(f"value ({n}, 3, 3)")


@pytest.mark.parametrize("name", ["cell", "formula", "index/lookup"])
def test_chunks_that_unfold(tmp_path, name):
    """A chunk of a few kilobytes, right in every checksum, that unfolds to far more than its rows."""
    from numcodecs import Blosc, Zstd

    from chgdb.catalog import Catalog
    from chgdb.errors import ChecksumError
    from chgdb.store.head import crc32c

    key = next(key for key in _golden() if key.startswith(f"{name}/c/"))
    for packed in (Zstd(1).encode(bytes(100 << 20)), Blosc("zstd", 1).encode(bytes(100 << 20))):
        chunk = bytes(packed) + crc32c(bytes(packed)).to_bytes(4, "little")
        for place, data in _sealed({key: chunk})[0].items():
            (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / place).write_bytes(data)
        with pytest.raises(ChecksumError, match="damaged"):
            Catalog(tmp_path).store.column(name)


def test_what_is_not_believed_is_not_written():
    from chgdb.store.writer import write_array

    with pytest.raises(StoreError, match="note is too large for a store"):
        write_array(None, "note", np.full(4096, "x" * 17_000, object), ["material"], "", {}, 4096)
    values = np.broadcast_to(0.0, (50_000_000, 3))
    with pytest.raises(StoreError, match="atom_position is too large for a store"):
        write_array(None, "atom_position", values, ["atom", "vector"], 0, {}, 4096)


def test_members_of_an_archive_that_unfold(tmp_path):
    from chgdb.catalog import Catalog

    with zipfile.ZipFile(tmp_path / "s.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for key, data in _golden().items():
            archive.writestr(key, data if key != "zarr.json" else b" " * (40 << 20) + data)
    with pytest.raises(StoreError, match="far more than its size"):
        Catalog(tmp_path / "s.zip")


def test_heads_that_unfold():
    from chgdb.store.head import unpack

    started = b"chgdb head 1\n"
    with pytest.raises(ValueError, match="too large"):
        unpack(started + zlib.compress(bytes(80 << 20)))
    with pytest.raises(ValueError, match="no file"):  # in time that grows with the size, not its square
        unpack(started + zlib.compress(b"base \n" + b"0 a\n" * (12 << 20)))


@pytest.mark.parametrize(
    ("pack", "unpack"), [(gzip.compress, bounds.gunzip), (lzma.compress, bounds.unxz)], ids=["gzip", "xz"]
)
def test_what_compressed_bytes_become(pack, unpack):
    content = bytes(range(256)) * 100
    packed = pack(content)
    assert unpack(packed) == content
    for damaged in (b"", packed[:-4], packed + b"x", bytes(len(packed)), pack(bytes(bounds.UNFOLDED * 3))):
        with pytest.raises(ValueError, match=r"."):
            unpack(damaged)


@linux
def test_xz_with_a_large_dictionary():
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 30}]
    packed = lzma.compress(b"a", filters=filters)
    with pytest.raises(ValueError, match=r"[Mm]emory"):
        bounds.unxz(packed)
