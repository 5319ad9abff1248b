"""Which format a file has, compression, and what is left behind when writing fails."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os

import numpy as np
import pytest
from numcodecs import Zstd
from vasp_text import chgcar

import chgdb
from chgdb import Crystal, Density
from chgdb.errors import ChgdbError, FormatError
from chgdb.formats import formats, pack_extras, unpack_extras
from chgdb.formats.streams import open_writer

#: Other people's decompressors, by suffix.
UNPACK = {
    ".gz": gzip.decompress, ".bz2": bz2.decompress, ".xz": lzma.decompress,
    ".zst": lambda data: bytes(Zstd().decode(data)),
}  # fmt: skip


@pytest.fixture
def density() -> Density:
    crystal = Crystal(np.diag([3.0, 4.0, 5.0]), [[0, 0, 0], [0.5, 0.5, 0.25]], [11, 17])
    return Density(crystal, {"total": np.random.default_rng(0).normal(size=(4, 5, 6))}, {"comment": "salt"})


def test_every_format_keeps_its_promises():
    assert set(formats()) >= {"chgcar", "cube", "mp_json", "npz"}
    for module in formats().values():
        assert module.NAMES
        assert callable(module.read)
        assert not module.recognises(b"")


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("CHGCAR", "chgcar"), ("CHGCAR.gz", "chgcar"), ("CHGCAR_total", "chgcar"), ("Si_CHGCAR", "chgcar"),
        ("CHG", "chgcar"), ("CHG.xz", "chgcar"), ("AECCAR0", "chgcar"), ("AECCAR2.bz2", "chgcar"),
        ("PARCHG.0012", "chgcar"), ("mp-149.vasp", "chgcar"), ("mp-149.CHGCAR.gz", "chgcar"), ("CHG.zst", "chgcar"),
        ("density.cube", "cube"), ("density.CUBE.gz", "cube"), ("density.npz", "npz"),
    ],
)  # fmt: skip
def test_format_by_name_there_and_back(tmp_path, density, name, format):
    chgdb.write(tmp_path / name, density)
    again = chgdb.read(tmp_path / name)
    assert np.allclose(again.total, density.total, rtol=1e-10, atol=0)
    assert np.allclose(again.crystal.cell, density.crystal.cell, rtol=1e-12, atol=0)
    assert again.crystal.numbers.tolist() == [11, 17]
    unpack = UNPACK.get(name[name.rindex(".") :] if "." in name else "", bytes)
    head = unpack((tmp_path / name).read_bytes())[:4096]
    assert [known for known, module in formats().items() if module.recognises(head)] == [format]


def zstd_stream(data: bytes) -> bytes:
    """Two frames of unknown size, as zstd makes them in a pipe, one that is to be skipped, and one with a checksum."""
    zstandard = pytest.importorskip("zstandard")
    packers = [zstandard.ZstdCompressor(level=9).compressobj() for _ in range(2)]
    third = len(data) // 3
    parts = [data[:third], data[third : 2 * third]]
    frames = [packer.compress(part) + packer.flush() for packer, part in zip(packers, parts, strict=True)]
    skipped = b"\x52\x2a\x4d\x18" + (7).to_bytes(4, "little") + b"nothing"
    last = zstandard.ZstdCompressor(write_checksum=True, write_content_size=True).compress(data[2 * third :])
    return frames[0] + skipped + frames[1] + last


@pytest.mark.parametrize("name", ["data", "data.txt", "data.gz"])
@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress, zstd_stream])
def test_content_tells_format_and_compression(tmp_path, name, compress):
    (tmp_path / name).write_bytes(compress(chgcar(2).encode()))
    assert tuple(chgdb.read(tmp_path / name).channels) == ("total", "magnetization")


def test_a_format_can_be_named(tmp_path, density):
    chgdb.write(tmp_path / "x", density, format="cube")
    assert chgdb.read(tmp_path / "x").grid == (4, 5, 6)
    with pytest.raises(FormatError, match="no format 'vtk'; there are chgcar, cube"):
        chgdb.read(tmp_path / "x", format="vtk")


def test_formats_that_are_only_read_are_not_offered_for_writing(tmp_path, density):
    with pytest.raises(FormatError, match=r"x: there is no format 'vtk'; write one of chgcar, cube, xsf, npz$"):
        chgdb.write(tmp_path / "x", density, format="vtk")
    with pytest.raises(FormatError, match=r"the format espresso is only read; write one of chgcar, cube, xsf, npz$"):
        chgdb.write(tmp_path / "x", density, format="espresso")


@pytest.mark.parametrize(
    ("name", "message"),
    [("", "is a folder"), ("missing", "cannot be read: No such"), ("no/CHGCAR", "cannot be read"), ("a\0b", "cannot")],
)
def test_paths_that_cannot_be_read(tmp_path, name, message):
    with pytest.raises(FormatError, match=message):
        chgdb.read(f"{tmp_path}/{name}")


@pytest.mark.parametrize(
    ("name", "message"),
    [("", "is a folder"), ("folder.cube/CHGCAR_diff", "the name is that of a difference"),
     ("x.unknown", "the name tells no format"), ("x.json", "mp_json is only read"), ("folder.cube", "is a folder")],
)  # fmt: skip
def test_paths_that_cannot_be_written(tmp_path, density, name, message):
    (tmp_path / "folder.cube").mkdir()
    with pytest.raises(FormatError, match=message):
        chgdb.write(f"{tmp_path}/{name}", density)
    assert sorted(os.listdir(tmp_path)) == ["folder.cube"]


@pytest.mark.parametrize("name", ["CHGCAR.mag.gz", "runs/chgdiff.vasp", "ELFCAR", "LOCPOT.relaxed"])
def test_names_under_which_a_density_is_refused_are_not_written(tmp_path, density, name):
    with pytest.raises(FormatError, match="readers would refuse this density: choose another name"):
        chgdb.write(tmp_path / name, density.only("total"), format="chgcar")
    assert os.listdir(tmp_path) == []
    spin = chgdb.density.ScalarField(density.crystal, {"total": density.total}, {}, "magnetization density")
    chgdb.write(tmp_path / "CHGCAR.mag.gz", spin)  # says what it holds
    assert chgdb.read(tmp_path / "CHGCAR.mag.gz").quantity == "magnetization density"


def test_folders_that_are_not_there_are_made(tmp_path, density):
    chgdb.write(tmp_path / "made/for/it/density.npz", density)
    assert chgdb.read(tmp_path / "made/for/it/density.npz").grid == density.grid
    (tmp_path / "file").write_text("")
    with pytest.raises(FormatError, match="cannot be written: Not a directory"):
        chgdb.write(tmp_path / "file/in/CHGCAR", density)
    with pytest.raises(TypeError), open_writer(tmp_path / "other/folder/CHGCAR") as stream:
        stream.write(None)
    assert sorted(os.listdir(tmp_path)) == ["file", "made"]


def test_content_of_no_format(tmp_path):
    (tmp_path / "notes").write_text("These are notes.\nNothing else.\n")
    with pytest.raises(FormatError, match="neither name nor content tell the format"):
        chgdb.read(tmp_path / "notes")


def test_failed_writing_leaves_the_old_file(tmp_path, density):
    chgdb.write(tmp_path / "CHGCAR", density)
    before = (tmp_path / "CHGCAR").read_bytes()
    broken = Density(density.crystal, {"total": np.full((20, 20, 20), 1e308)})  # times the volume: infinite
    with pytest.raises(FormatError, match="inf cannot be written"):
        chgdb.write(tmp_path / "CHGCAR", broken)
    assert (tmp_path / "CHGCAR").read_bytes() == before
    assert os.listdir(tmp_path) == ["CHGCAR"]


def test_compressed_files_are_reproducible(tmp_path, density):
    for suffix in UNPACK:
        for name in ("a.vasp", "b.vasp"):
            chgdb.write(tmp_path / f"{name}{suffix}", density)
        assert (tmp_path / f"a.vasp{suffix}").read_bytes() == (tmp_path / f"b.vasp{suffix}").read_bytes()


def test_a_symbolic_link_stays_one(tmp_path, density):
    (tmp_path / "real.vasp").write_text("old")
    (tmp_path / "CHGCAR").symlink_to(tmp_path / "real.vasp")
    chgdb.write(tmp_path / "CHGCAR", density)
    assert (tmp_path / "CHGCAR").is_symlink()
    assert chgdb.read(tmp_path / "real.vasp").grid == density.grid


def test_new_files_have_the_usual_mode(tmp_path, density):
    chgdb.write(tmp_path / "CHGCAR", density)
    (tmp_path / "plain").write_text("")
    assert (tmp_path / "CHGCAR").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("name", ["CHGCAR", "density"])
@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress, zstd_stream])
@pytest.mark.parametrize("first", [1, 3, 100])
def test_a_pipe_can_be_read(tmp_path, name, compress, first):
    """However few bytes come at first: a compression shows in the first six."""
    import threading
    import time

    os.mkfifo(tmp_path / name)
    data = compress(chgcar(4).encode())

    def write() -> None:
        with open(tmp_path / name, "wb", buffering=0) as pipe:
            pipe.write(data[:first])
            time.sleep(0.02)
            pipe.write(data[first:])

    writer = threading.Thread(target=write)
    writer.start()
    assert len(chgdb.read(tmp_path / name).channels) == 4
    writer.join()


@pytest.mark.parametrize("folder", ["opt::relax", "1::2::3", "zip::runs"])
def test_two_colons_in_a_path_that_exists(tmp_path, density, folder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkdir(folder)
    chgdb.write(f"{folder}/CHGCAR.gz", density)
    assert np.allclose(chgdb.read(f"{folder}/CHGCAR.gz").total, density.total, rtol=1e-10)
    os.rename(f"{folder}/CHGCAR.gz", "a::b.vasp")
    assert chgdb.read("a::b.vasp").crystal.formula == "NaCl"


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1], lambda data: data[:7], lambda data: data[:4], lambda data: data + b"\0\0\0\0",
        lambda data: data[:9] + b"\xff\xff\xff" + data[12:], lambda data: data + data[:20],
        lambda data: data[:4] + b"\xff" + data[5:], lambda data: data[:-9] + bytes(9),
    ],
)  # fmt: skip
def test_damaged_zstandard(tmp_path, density, damage):
    chgdb.write(tmp_path / "CHGCAR.zst", density)
    (tmp_path / "cut.zst").write_bytes(damage((tmp_path / "CHGCAR.zst").read_bytes()))
    with pytest.raises(FormatError) as caught:
        chgdb.read(tmp_path / "cut.zst", format="chgcar")
    assert "\n" not in str(caught.value)


def test_zstandard_of_others(tmp_path):
    """What is written is what the reference library reads: several frames of a large file."""
    zstandard = pytest.importorskip("zstandard")
    values = np.random.default_rng(0).normal(size=(70, 70, 70))
    density = Density(Crystal(np.eye(3) * 5, [[0, 0, 0]], [3]), {"total": values})
    for name in ("CHGCAR", "CHGCAR.zst"):
        chgdb.write(tmp_path / name, density)
    with zstandard.open(tmp_path / "CHGCAR.zst", "rb") as stream:
        assert stream.read() == (tmp_path / "CHGCAR").read_bytes()
    assert np.array_equal(chgdb.read(tmp_path / "CHGCAR.zst").total, chgdb.read(tmp_path / "CHGCAR").total)


# Extras -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_extras_are_packed_without_loss(tmp_path, channels):
    (tmp_path / "CHGCAR").write_bytes(chgcar(channels).encode().replace(b"a comment", b"\xff\xe9"))
    extras = chgdb.read(tmp_path / "CHGCAR").extras
    packed = pack_extras(extras)
    assert unpack_extras(packed) == extras
    assert pack_extras(extras) == packed


def test_no_extras_are_no_bytes():
    assert pack_extras({}) == b""
    assert unpack_extras(b"") == {}


def test_damaged_extras():
    packed = pack_extras({"comment": "x" * 100, "after": {"total": "augmentation" * 20}})
    for position in range(len(packed)):
        damaged = bytearray(packed)
        damaged[position] ^= 0xFF
        outcome = None
        try:
            outcome = unpack_extras(bytes(damaged))
        except ChgdbError as error:
            outcome = str(error)
        assert outcome != unpack_extras(packed)
    for size in range(1, len(packed)):
        with pytest.raises(FormatError, match="packed extras"):
            unpack_extras(packed[:size])


@pytest.mark.parametrize("value", [np.zeros(3), {1, 2}, float("nan"), b"bytes"])
def test_extras_that_cannot_be_stored(value):
    with pytest.raises(FormatError, match="cannot be stored"):
        pack_extras({"key": value})
