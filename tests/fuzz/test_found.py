"""What fuzzing has found, each by itself: inputs that once ended in another exception, a hang, or a loss."""

from __future__ import annotations

import gzip
import io
import json
import struct
import sys
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

import model_targets
from file_targets import _densities
from store_targets import _golden, _packing, _sealed

import chgdb
from chgdb import formats
from chgdb.catalog import Catalog
from chgdb.codecs.bits import BitReader, BitWriter
from chgdb.codecs.crystal import read_crystal
from chgdb.errors import ChecksumError, ChgdbError, CodecError, FormatError, RemoteError, StoreError
from chgdb.formats.npz import parse_npz
from chgdb.models import ModelError
from chgdb.models.methods import trees
from chgdb.promolecule import Prior
from chgdb.publish import publish, pull
from chgdb.remote.cache import Cache
from chgdb.store.head import crc32c, pack
from chgdb.store.journal import RECORDS, open_journal
from chgdb.store.transaction import writing

DENSITY = _densities()["plain"]


# --- payloads and files ----------------------------------------------------------------------------------------------


def test_a_number_that_is_none_and_one_unit_more():
    """A NaN of all ones, moved by one unit in the last place, was beyond 64 bits."""
    out = BitWriter()
    out.write_gamma(0)  # no atoms
    out.write(0, 4)
    out.write(0b111, 3)
    out.write((1 << 63) - 1, 64)
    out.write(0b10, 2)  # the number before
    out.write(0, 3)  # as it is
    out.write(0b10, 2)  # and one unit more
    out.write_gamma(0)
    with pytest.raises(CodecError, match="impossible number"):
        read_crystal(BitReader(out.to_bytes()))


@pytest.mark.parametrize("end", [" ", "\n ", "\n\n \t"])
def test_blanks_after_augmentation_occupancies(tmp_path, end):
    """Where the last two lines have fewer than two numbers between them."""
    chgdb.write(tmp_path / "CHGCAR", DENSITY)
    whole = (tmp_path / "CHGCAR").read_text()
    assert whole.endswith("augmentation occupancies   2   1\n  0.1000000E+01\n")
    (tmp_path / "CHGCAR").write_text(whole + end)
    assert chgdb.read(tmp_path / "CHGCAR").crystal == DENSITY.crystal
    (tmp_path / "CHGCAR").write_text(whole.replace("0.1000000E+01\n", "0.1000000E+01\n 0.12\n")[:-1])
    with pytest.raises(FormatError):
        chgdb.read(tmp_path / "CHGCAR")


@pytest.mark.parametrize("name", ["CHGCAR", "x.cube"])
def test_positions_of_hundreds_of_digits(tmp_path, name):
    """They were written, and could not be read."""
    from chgdb import Crystal, Density

    for place in (1e29, 1e308):
        crystal = Crystal(np.eye(3), [[place, 0, 0]], [14])
        density = Density(crystal, {"total": np.ones((2, 2, 2))})
        if place > 1e30:
            with pytest.raises(FormatError, match="out of range"):
                chgdb.write(tmp_path / name, density)
        else:
            chgdb.write(tmp_path / name, density)
            assert chgdb.read(tmp_path / name).crystal.positions[0, 0] == pytest.approx(place)


def npz(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return stream.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"no array at all",  # came as bytes, not as an array
        b"\x93NUMPY\x01\x00\x10\x00{'descr': '<f8'\n",  # numpy tokenises what it cannot parse
        b"\x93NUMPY\x01\x00\x10\x00" + b"[" * 15 + b"\n",
        b"\x93NUMPY\x09\x00\x10\x00",
        b"",
    ],
)
def test_members_of_npz(tmp_path, content):
    (tmp_path / "x.npz").write_bytes(npz(cell=content))
    with pytest.raises(FormatError, match=r"not a density in \.npz: not an array"):
        chgdb.read(tmp_path / "x.npz")


def test_archives_that_zipfile_refuses_in_its_own_ways():
    whole = npz(cell=b"x")
    encrypted = bytearray(whole)
    encrypted[whole.index(b"PK\1\2") + 8] |= 1
    unknown = bytearray(whole)
    unknown[whole.index(b"PK\1\2") + 10] = 99
    renamed = whole.replace(b"cell.npy", b"ce\nl.npy", 1)  # its message had several lines
    for data in (bytes(encrypted), bytes(unknown), renamed):
        with pytest.raises(ValueError, match="a damaged archive") as caught:
            parse_npz(data)
        assert "\n" not in str(caught.value)


def test_half_a_character(tmp_path):
    """JSON can hold half of a surrogate pair; UTF-8 cannot."""
    for name in ("CHGCAR", "x.cube"):
        chgdb.write(tmp_path / name, replace(DENSITY, extras={"comment": "a\ud800b"}))
        assert chgdb.read(tmp_path / name).extras["comment"] == "a?b"


@pytest.mark.parametrize(
    "extras",
    [
        {"after": ["x"]}, {"after": {"total": 5}}, {"line_end": 5}, {"line_end": "x\n"},
        {"selective_dynamics": ["TTF"]}, {"selective_dynamics": [5, 5]}, {"selective_dynamics": "TT"},
        {"species": 5}, {"species": [["K", 10**9], ["F", 1]]}, {"species": [["K\nF", 1], ["F", 1]]},
        {"species": [["K"]]}, {"species": [[5, 1], ["F", 1]]}, {"species": [["K", "1"], ["F", 1]]},
    ],
)  # fmt: skip
def test_extras_of_another_kind(tmp_path, extras):
    """A store's extras are JSON and can be anything; what no CHGCAR has is left out."""
    chgdb.write(tmp_path / "CHGCAR", replace(DENSITY, extras=extras))
    again = chgdb.read(tmp_path / "CHGCAR")
    assert again.crystal == DENSITY.crystal
    assert set(again.extras) == {"comment", "species"}


def test_extras_nested_without_end():
    import lzma

    from chgdb.formats.extras import _FILTERS

    packed = b"\1" + lzma.compress(b"[" * 100_000, lzma.FORMAT_RAW, filters=[{**_FILTERS[0], "preset": 0}])
    with pytest.raises(FormatError, match="damaged"):
        formats.unpack_extras(packed)


def test_priors_of_another_kind():
    numbers, coefficients = np.array([1]), np.zeros((1, 36), np.float32)
    assert Prior.from_arrays({"numbers": numbers, "coefficients": coefficients}).numbers.tolist() == [1]
    for wrong in (numbers.astype(float), numbers.astype(object)):
        with pytest.raises(CodecError, match="damaged"):
            Prior.from_arrays({"numbers": wrong, "coefficients": coefficients})
    with pytest.raises(CodecError, match="coefficients of the shape"):
        Prior.from_arrays({"numbers": numbers, "coefficients": coefficients + np.float32(1e30)})


# --- stores ----------------------------------------------------------------------------------------------------------


def store(folder: Path, **changes: bytes) -> Path:
    """The golden store with other contents of some arrays' only chunks (packed here), checksums made right."""
    files = {}
    for name, inside in changes.items():
        key = next(key for key in _golden() if key.startswith(f"{name.replace('__', '/')}/c/"))
        files[key] = _packing(key, _golden()[key])[1](inside)
    for key, data in _sealed(files)[0].items():
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(data)
    return folder


def test_an_index_that_points_beyond_the_columns(tmp_path):
    key = next(key for key in _golden() if key.startswith("index/lookup/c/"))
    table = bytearray(_packing(key, _golden()[key])[0])
    for slot in range(4):
        struct.pack_into("<I", table, 24 * slot + 16, 1000)
    opened = Catalog(store(tmp_path, index__lookup=bytes(table)))
    with pytest.raises(ChecksumError, match="index is damaged"):
        opened["gold-1"]


def test_extras_longer_than_their_record(tmp_path):
    key = next(key for key in _golden() if key.startswith("index/facts/c/"))
    table = bytearray(_packing(key, _golden()[key])[0])
    for row in range(4):
        struct.pack_into("<I", table, 32 * row + 4, 1 << 30)
    with pytest.raises(ChecksumError, match="extras_length"):
        Catalog(store(tmp_path, index__facts=bytes(table)))["gold-1"].decode()


def test_a_file_that_the_server_lacks(tmp_path):
    """A `KeyError` of the transport came through where many pieces are asked for at once, and from pull."""
    files, _ = _sealed({})
    system = fsspec.filesystem("memory")
    system.store.clear()
    for key, content in files.items():
        if not key.startswith(("formula/", "material_id/c", "payload/c")):
            system.pipe_file(f"/lacking/{key}", content)
    opened = Catalog("memory://lacking")
    for action in (lambda: opened.search(formula="SiO2"), lambda: opened["gold-1"].decode()):
        with pytest.raises(ChgdbError):
            action()
    with pytest.raises(RemoteError, match="missing there"):
        pull("memory://lacking", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_store_whose_list_of_files_is_damaged(tmp_path):
    """It was published, and pulled, as a store of no files, in the place of the one that was there."""
    good, bad = store(tmp_path / "good"), store(tmp_path / "bad")
    (bad / "checksums.txt").write_bytes(b"00000000 0 zarr.json\n00000000\n")
    (bad / "head.bin").unlink()
    publish(good, tmp_path / "public")
    pull(f"file://{good}", tmp_path / "pulled")
    with pytest.raises(ChecksumError, match=r"checksums\.txt is damaged"):
        publish(bad, tmp_path / "public")
    with pytest.raises(RemoteError, match=r"checksums\.txt is damaged there"):
        pull(f"memory://{_uploaded(bad)}", tmp_path / "pulled")
    for folder in ("public", "pulled"):
        assert len(Catalog(tmp_path / folder)) == 4


def _uploaded(folder: Path) -> str:
    system = fsspec.filesystem("memory")
    system.store.clear()
    for path in folder.rglob("*"):
        if path.is_file():
            system.pipe_file(f"/bad/{path.relative_to(folder).as_posix()}", path.read_bytes())
    return "bad"


def test_archives_of_stores_that_zipfile_refuses(tmp_path):
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        for key, content in _golden().items():
            archive.writestr(key, content)
    whole = (tmp_path / "s.zip").read_bytes()
    encrypted = whole.replace(b"PK\1\2\x14\x03\x14\x00\x00\x00", b"PK\1\2\x14\x03\x14\x00\x01\x00")
    assert encrypted != whole
    # The offset of the central directory: before the beginning of the file.
    misplaced = whole[:-6] + b"\xff\xff\xff\x7f" + whole[-2:]
    for data in (encrypted, misplaced, whole[: len(whole) // 2], b""):
        (tmp_path / "s.zip").write_bytes(data)
        with pytest.raises(StoreError):
            Catalog(tmp_path / "s.zip")


@pytest.mark.parametrize(
    "header",
    [b"", b"[]", b"{", b"\xff", b'{"key": 1, "material_id": "a", "values": {}}', b'{"key": "a"}', b"[" * 99999],
)
def test_entries_of_a_journal(tmp_path, header):
    """Right in its checksum, and yet no entry: a build begins anew instead of ending in a traceback for ever."""
    folder = tmp_path / ".s.zarr.journal"
    folder.mkdir()
    entry = struct.pack("<4sIII", b"CHGJ", len(header), 0, 0) + header
    (folder / RECORDS).write_bytes(entry + struct.pack("<I", crc32c(entry)))
    with writing(tmp_path / "s.zarr") as transaction, open_journal(transaction) as journal:
        assert journal.finished == {}


def test_a_damaged_prior_of_an_unfinished_build(tmp_path):
    from chgdb.ingest import build_from

    folder = tmp_path / ".s.zarr.journal"
    folder.mkdir()
    (folder / "prior.npz").write_bytes(b"PK\3\4")
    with pytest.raises(StoreError, match="remove it and build again"):
        build_from(tmp_path / "s.zarr", ["a"], lambda i: (DENSITY, {}), prior="fit", workers=1)


@pytest.mark.parametrize(
    "line", [b'{"time": "x"}', b'{"time": {}}', b"[1]", b"[" * 99999, b'{"time": 1}', b'{"time": 1e999}']
)
def test_what_the_cache_says_of_itself(tmp_path, line):
    cache = Cache(tmp_path, 1 << 20)
    cache.put("heads", "x", line + b"\nrest")
    assert cache.info().stores == ()
    cache.put("heads", "y", b'{"url": "u", "version": "v", "time": 1}\nrest')
    assert cache.info().stores == (("u", "v", 1.0),)


def test_a_compressed_answer_that_unfolds():
    from chgdb.remote.http import _gunzip
    from chgdb.remote.transport import TransientError

    assert _gunzip(gzip.compress(b"a" * 1000)) == b"a" * 1000
    for data in (gzip.compress(bytes(40 << 20)), gzip.compress(b"a")[:-4], b"", zlib.compress(b"a")):
        with pytest.raises(TransientError, match="the answer is damaged"):
            _gunzip(data)


def test_a_head_that_is_of_another_kind():
    for files in ({}, {"checksums.txt": b""}):
        with pytest.raises(ValueError, match="checksums"):
            chgdb.store.head.unpack(pack(files, {}))


# --- models, latents, tables -----------------------------------------------------------------------------------------

TREE = (
    "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nmax_feature_idx=1\n\nTree=0\nnum_leaves=3\nnum_cat=0\n"
    "split_feature=0 1\nthreshold=0.5 0.5\nleft_child=1 -1\nright_child=-3 -2\nleaf_value=1 2 3\nis_linear=0\n\n\n"
    "end of trees\n"
)


def test_trees_in_circles():
    """A node that is its own grandparent: `predict` went round for ever."""
    rows = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    assert trees.parse(TREE).predict(rows).tolist() == [1, 2, 3]
    for old, new in (
        ("left_child=1 -1", "left_child=0 -1"), ("left_child=1 -1", "left_child=1 0"),
        ("left_child=1 -1", "left_child=2 -1"), ("right_child=-3 -2", "right_child=-4 -2"),
        ("right_child=-3 -2", "right_child=-9223372036854775808 -2"),
    ):  # fmt: skip
        with pytest.raises(ModelError, match="do not form one"):
            trees.parse(TREE.replace(old, new))
    for old, new, message in (
        ("split_feature=0 1", "split_feature=0 2", "features that there are not"),
        ("split_feature=0 1", "split_feature=0 -1", "features that there are not"),
        ("threshold=0.5 0.5", "threshold=0.5 x", "no number"),
        ("num_leaves=3", "num_leaves=-3", "incomplete"),
        ("num_leaves=3", "num_leaves=9223372036854775807", "incomplete"),
        ("max_feature_idx=1", f"max_feature_idx={'9' * 5000}", "no LightGBM text"),
    ):
        with pytest.raises(ModelError, match=message):
            trees.parse(TREE.replace(old, new))


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("calibration", 5), ("calibration", {"bulk_modulus": {"floor": "x"}}), ("domain", {}), ("domain", None),
        ("files", {"../../outside": {}}), ("files", []), ("files", {"a\nb": {"bytes": 1, "sha256": ""}}),
        ("version", None), ("name", {}), ("name", "../magpie"), ("input_versions", 5), ("format", True),
    ],
)  # fmt: skip
def test_descriptions_of_models(tmp_path, part, value):
    from chgdb.models.ensemble import Ensemble

    contents = dict(model_targets._property_model("magpie").contents)
    facts = json.loads(contents["model.json"])
    contents["model.json"] = json.dumps(facts | {part: value}).encode()
    for key, content in contents.items():
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / key).write_bytes(content)
    with pytest.raises((ModelError, ChecksumError)) as caught:
        Ensemble.load(tmp_path)
    assert "\n" not in str(caught.value)


def autoencoder(folder: Path, **configuration: object) -> Path:
    contents = dict(model_targets._autoencoder().contents)
    facts = json.loads(contents["model.json"])
    facts["configuration"] |= configuration
    contents["model.json"] = json.dumps(facts).encode()
    for key, content in contents.items():
        (folder / key).write_bytes(content)
    return folder


@pytest.mark.parametrize(
    "configuration",
    [
        {"widths": [4]}, {"widths": [4, 10**9]}, {"widths": [[4], 1]}, {"widths": "ab"}, {"most": 10**6, "factor": 1},
        {"channels": 2**40}, {"channels": None}, {"factor": 0}, {"spacing": 1e-300}, {"scale": float("nan")},
        {"name": "x" * 300}, {"dropout": "0"}, {"dropout": 7}, {"channels": 500}, {"widths": [500, 8]},
    ],
)  # fmt: skip
def test_configurations_of_autoencoders(tmp_path, configuration):
    """No network of the size that is claimed is made: only one that the weights fill."""
    from chgdb.latents.autoencoder import Autoencoder

    with pytest.raises(CodecError) as caught:
        Autoencoder.load(autoencoder(tmp_path, **configuration))
    assert "\n" not in str(caught.value)


def test_weights_that_are_missing_or_no_numbers(tmp_path):
    import hashlib

    from safetensors.numpy import load, save

    from chgdb.latents.autoencoder import Autoencoder

    folder = autoencoder(tmp_path)
    model = Autoencoder.load(folder)
    latent = model.encode(model_targets._density())
    assert np.abs(latent).max() > 0
    weights = load((folder / "weights.safetensors").read_bytes())
    data = save({name: values * np.float16("nan") for name, values in weights.items()})
    (folder / "weights.safetensors").write_bytes(data)
    facts = json.loads((folder / "model.json").read_bytes()) | {"weights_sha256": hashlib.sha256(data).hexdigest()}
    (folder / "model.json").write_text(json.dumps(facts))
    density, damaged = model_targets._density(), Autoencoder.load(folder)
    with pytest.raises(CodecError, match="no finite number"):
        damaged.encode(density)
    with pytest.raises(CodecError, match="no density"):
        damaged.decode(latent, density.crystal, density.grid, density.n_electrons)
    (folder / "weights.safetensors").unlink()
    with pytest.raises(CodecError, match="cannot be read"):
        Autoencoder.load(folder)


def test_latents_that_claim(tmp_path):
    """numpy takes the memory that a header claims before it looks for the values."""
    from chgdb.latents import files as latent_files

    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": (1 << 45,)})
    (tmp_path / "x.npy").write_bytes(stream.getvalue())
    with pytest.raises(FormatError, match="an array of the shape"):
        latent_files.read(tmp_path / "x.npy")
    contents = model_targets._latent().contents
    for part, change in (
        ("latent", {"shape": [1 << 40, 4, 4, 4]}), ("positions", {"shape": [1 << 40, 3]}), ("cell", {"codecs": [{}]}),
        ("latent", {"data_type": "string", "fill_value": ""}), ("numbers", {"attributes": 5}),
    ):  # fmt: skip
        folder = tmp_path / "x.zarr"
        for key, content in contents.items():
            (folder / key).parent.mkdir(parents=True, exist_ok=True)
            (folder / key).write_bytes(content)
        metadata = json.loads(contents[f"{part}/zarr.json"]) | change
        (folder / part / "zarr.json").write_text(json.dumps(metadata))
        with pytest.raises(FormatError, match="not a latent, or damaged"):
            latent_files.read(folder)


def test_batches_that_are_none(tmp_path):
    from chgdb_catalog import batches

    for data in (b"", gzip.compress(b"[]\n"), gzip.compress(b'{"material_id": 5}\n'), gzip.compress(b"\xff\n")):
        (tmp_path / "batch-0000.jsonl.gz").write_bytes(data)
        batches._index.cache_clear()
        if data:
            with pytest.raises(batches.BatchError, match="not the index of a batch"):
                batches.index(tmp_path)
    for data in (b"", b"x", batches.pack(np.ones((2, 2, 2)), 1e-7)[:-20]):
        with pytest.raises(batches.BatchError):
            batches.unpack(data, (2, 2, 2), 1e-7)
    with pytest.raises(batches.BatchError, match="claims"):
        batches.unpack(b"x" * 50, (4000, 4000, 4000), 1e-7)


def test_tables_that_are_none(tmp_path):
    from chgdb.inputs import Names
    from chgdb_catalog import labels, structures

    path = tmp_path / "t.csv"
    path.write_bytes(b"path,material_id\na\0b,m\n")
    with pytest.raises(FormatError, match="a byte 0"):
        Names(path)
    for data in (b"\xff\xfe", b"material_id\nm\n"):
        path.write_bytes(data)
        for read in (labels.read, labels.claims):
            with pytest.raises(FormatError):
                read(path)
    (tmp_path / "l.csv").write_text(model_targets._LABELS)
    for line in (b"\xff", b"{", b"[]", b'{"material_id": "m-1", "symbols": ["Si"]}', b""):
        path.write_bytes(gzip.compress(line + b"\n"))
        with pytest.raises(FormatError):
            structures.load(path, tmp_path / "l.csv", (), ["magpie"], workers=1)


def test_messages_of_several_lines():
    """Names and versions that a file gives are in messages, and could have line ends."""
    assert str(ModelError("version a\nb\r\nc\u2028d")) == "version a b c d"
    assert str(ChgdbError()) == ""


def test_messages_that_a_terminal_would_obey(capsys):
    from chgdb_cli.output import message

    message("a\x1b[2Jb\nc\u202ed")
    assert capsys.readouterr().err == "a?[2Jb c?d\n"
