"""Batch files: what goes in comes back, earlier files never change."""

from __future__ import annotations

import hashlib
import sys

import numpy as np
import pytest

from chgdb.errors import UnknownMaterialError
from chgdb_catalog import batches


def grid(seed: int, shape: tuple[int, int, int] = (8, 9, 10)) -> np.ndarray:
    """A positive band-limited field, (nx, ny, nz)."""
    waves = np.fft.fftn(np.random.default_rng(seed).normal(size=shape))
    waves[np.abs(waves) < 2 * np.sqrt(waves.size)] = 0
    return 1 + 0.05 * np.fft.ifftn(waves).real


def material(name: str, seed: int = 0, channels: tuple[str, ...] = ("total",)) -> tuple[dict, dict[str, bytes], float]:
    grids = {c: grid(seed + i) for i, c in enumerate(channels)}
    packed, step = batches.pack_channels(grids)
    return {"material_id": name, "grid": list(grids["total"].shape)}, packed, step


@pytest.mark.parametrize("shape", [(1, 1, 1), (4, 4, 4), (5, 3, 7), (6, 5, 4), (24, 18, 20)])
def test_unpack_inverts_pack_to_a_few_steps(shape):
    rho = np.random.default_rng(1).uniform(0.1, 2, shape)
    step = batches.RELATIVE_STEP * rho.mean()
    back = batches.unpack(batches.pack(rho, step), shape, step)
    # each coefficient is off by at most half a step in both parts
    assert np.abs(back - rho).max() <= step * rho.size
    assert np.sqrt(((back - rho) ** 2).mean()) <= step * np.sqrt(rho.size / 2)


def test_negative_values_survive():
    rho = grid(3) - 1.05
    step = 1e-9
    assert np.abs(batches.unpack(batches.pack(rho, step), rho.shape, step) - rho).max() < 1e-6


@pytest.mark.parametrize("bad", [np.ones((4, 4)), np.full((4, 4, 4), np.nan)])
def test_what_is_no_density_is_refused(bad):
    with pytest.raises(batches.BatchError, match="cannot pack"):
        batches.pack(bad, 1e-6)


def test_a_step_too_small_for_the_integers_is_refused():
    with pytest.raises(batches.BatchError, match="step is too small"):
        batches.pack(np.ones((4, 4, 4)), 1e-12)


def test_append_then_load(tmp_path):
    assert batches.append([material("a"), material("b", 5, ("total", "magnetization"))], tmp_path) == "batch-0000"
    assert list(batches.index(tmp_path)) == ["a", "b"]
    meta, grids = batches.load("b", tmp_path)
    assert meta["grid"] == [8, 9, 10]
    assert set(grids) == {"total", "magnetization"}
    for i, channel in enumerate(("total", "magnetization")):
        assert np.abs(grids[channel] - grid(5 + i)).sum() < 1e-5 * np.abs(grid(5 + i)).sum()


def test_later_batches_leave_earlier_files_alone(tmp_path):
    batches.append([material("a")], tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    assert batches.append([material("b")], tmp_path) == "batch-0001"
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    assert list(batches.index(tmp_path)) == ["a", "b"]


def test_the_same_materials_give_the_same_bytes(tmp_path):
    for folder in ("one", "two"):
        batches.append([material("a"), material("b", 2)], tmp_path / folder)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


@pytest.mark.parametrize("names", [["a"], ["new", "a"], ["new", "new"]])
def test_an_id_is_accepted_once(tmp_path, names):
    batches.append([material("a")], tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(batches.BatchError, match="already in a batch"):
        batches.append([material(n) for n in names], tmp_path)
    assert sorted(tmp_path.iterdir()) == before


def test_nothing_makes_no_batch(tmp_path):
    assert batches.append([], tmp_path) is None
    assert batches.index(tmp_path) == {}


def test_a_batch_counts_only_with_its_index(tmp_path):
    batches.append([material("a")], tmp_path)
    (tmp_path / "batch-0001.bin").write_bytes(b"of an interrupted append")
    assert batches.append([material("b")], tmp_path) == "batch-0001"
    batches.load("b", tmp_path)


def test_unknown_id_is_a_key_error_of_one_line(tmp_path):
    with pytest.raises(UnknownMaterialError, match="holds mp-0"):
        batches.load("mp-0", tmp_path)
    with pytest.raises(KeyError):
        batches.load("mp-0", tmp_path)


def test_a_truncated_file_is_named(tmp_path):
    batches.append([material("a")], tmp_path)
    path = tmp_path / "batch-0000.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(batches.BatchError, match=r"batch-0000\.bin.*truncated"):
        batches.load("a", tmp_path)


def test_an_id_in_two_batches_is_refused_on_reading(tmp_path):
    batches.append([material("a")], tmp_path / "one")
    for suffix in (".bin", ".jsonl.gz"):
        content = (tmp_path / "one" / f"batch-0000{suffix}").read_bytes()
        for name in ("batch-0000", "batch-0001"):
            (tmp_path / f"{name}{suffix}").write_bytes(content)
    with pytest.raises(batches.BatchError, match="already in an earlier batch"):
        batches.index(tmp_path)


def test_the_first_batch_never_changes():
    digests = {p: hashlib.sha256((batches.SOURCES / p).read_bytes()).hexdigest() for p in FIRST_BATCH}
    assert digests == FIRST_BATCH


def test_the_first_batch_holds_the_shared_densities_bit_for_bit(shared, monkeypatch):
    monkeypatch.syspath_prepend(str(shared / "densities"))
    import densities

    first = {r["material_id"]: r for r in batches.read_index(batches.SOURCES, "batch-0000")}
    assert len(first) == 1784
    try:
        for material_id in list(first)[::200]:
            meta, grids = batches.load(material_id)
            original, expected = densities.load(material_id)
            assert {**meta, "payload": None} == {**original, "payload": None}
            assert set(grids) == set(expected)
            for channel, g in expected.items():
                assert grids[channel].tobytes() == g.tobytes()
                # and packing it again gives the bytes on disk: the step and the compression are those of the first set
                part, offset, length, step = meta["payload"][channel]
                with open(batches.SOURCES / part, "rb") as f:
                    f.seek(offset)
                    assert batches.pack(g, step) == f.read(length)
                assert step == pytest.approx(batches.RELATIVE_STEP * expected["total"].mean())
    finally:
        del sys.modules["densities"]


FIRST_BATCH = {
    "batch-0000.bin": "ba50397e0021fcabd557f5419c2f37e3bd77cf08104f9b9eedcf91f43c4c6f96",
    "batch-0000.jsonl.gz": "67636b7d0185f7ba9a360f024eeba884e3d30c04468925385fa6c1dc0974c234",
}
