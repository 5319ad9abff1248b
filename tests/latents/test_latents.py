"""Latents in a store: what plain readers see, what chgdb reads, what survives damage, growth and a killed writer."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray
import zarr
from latent_models import CHANNELS, SIDE, save_model
from materials import COLUMNS, IDS, contents, density, load, load_changed, written_by_another

import chgdb
from chgdb import atomic, extraction
from chgdb.catalog import Catalog
from chgdb.codecs import measure
from chgdb.density import Density
from chgdb.errors import ChecksumError, CodecError, StoreError, UnknownMaterialError
from chgdb.ingest import build_from
from chgdb.latents import stores as latents
from chgdb.latents.autoencoder import Autoencoder
from chgdb.store import transaction
from chgdb.store.format import LATENT
from chgdb.store.latents import LARGEST, SMALLEST, compress, decompress
from chgdb.store.transaction import beside
from chgdb.store.writer import consolidated, seal, write_array
from chgdb.verification import verify

SHAPE = (CHANNELS, SIDE, SIDE, SIDE)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / "small", [density(i) for i in IDS])


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / "other", [density(i) for i in IDS[:3]], "other", 0.02)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store without latents; do not change it."""
    out = tmp_path_factory.mktemp("store") / "twelve.zarr"
    build_from(out, IDS, load, columns=COLUMNS, tolerance=0, prior=None, workers=1)
    return out


@pytest.fixture(scope="module")
def path(plain: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with latents; do not change it."""
    out = Path(shutil.copytree(plain, tmp_path_factory.mktemp("latents") / "twelve.zarr"))
    report = latents.add_latents(out, model, workers=1)
    assert report.complete
    assert report.added == tuple(IDS)
    return out


@pytest.fixture
def copy(path: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(path, tmp_path / "copy.zarr"))


def expected(model: Path, material_id: str) -> np.ndarray:
    """Integers of a material's latent, computed without any store."""
    return Autoencoder.load(model).encode(Density(density(material_id).crystal, {"total": density(material_id).total}))


# What readers see -----------------------------------------------------------------------------------------------------


def test_plain_xarray_gives_the_floats(path: Path, model: Path) -> None:
    step = Autoencoder.load(model).step
    with xarray.open_zarr(path) as dataset:
        assert dataset.latent.dims == ("material", "latent_channel", "z", "y", "x")
        assert dataset.latent.shape == (12, *SHAPE)
        assert dataset.latent.dtype.kind == "f"
        for row, material_id in enumerate(IDS):
            np.testing.assert_allclose(dataset.latent[row].values, expected(model, material_id) * step, atol=1e-12)
        assert np.isfinite(dataset.latent_nmae.values).all()


def test_zeros_outside_the_cell_are_exact_zeros(path: Path, model: Path) -> None:
    z, y, x = (n // 3 for n in Autoencoder.load(model).configuration.volume_shape(density("mat-0").crystal.cell))
    assert z * y * x < SIDE**3
    with xarray.open_zarr(path) as dataset:
        values = dataset.latent[0].values
        assert (values[:, z:] == 0).all()
        assert (values[:, :, y:] == 0).all()
        assert (values[:, :, :, x:] == 0).all()
        assert (values[:, :z, :y, :x] != 0).mean() > 0.5


def test_attributes_name_the_model_and_the_error(path: Path, model: Path) -> None:
    own = Autoencoder.load(model)
    attributes = dict(zarr.open_array(path / LATENT, mode="r").attrs)
    assert attributes["model"] == own.identifier == f"small-{own.checksum[:8]}"
    assert attributes["model_checksum"] == own.checksum
    assert attributes["model_version"] == 1
    assert attributes["quantisation_error"] == own.step / 2
    assert chgdb.open(path).latent_model == {
        "model": own.identifier, "model_version": 1, "model_checksum": own.checksum, "step": own.step,
    }  # fmt: skip


def test_format_versions(plain: Path, path: Path) -> None:
    """A store without latents is what it was before there were any."""
    assert chgdb.open(plain).format_version == 1
    assert chgdb.open(path).format_version == 2
    assert not {"latent", "latent_nmae", "latent_spacing"} & set(chgdb.open(plain).store.arrays)


def test_catalog_and_record(path: Path, model: Path) -> None:
    catalog, step = chgdb.open(path), np.float32(Autoencoder.load(model).step)
    every = catalog.latents()
    assert every.dtype == np.float32
    assert every.shape == (12, *SHAPE)
    for row, material_id in enumerate(IDS):
        integers = expected(model, material_id)
        np.testing.assert_array_equal(every[row], integers * step)
        np.testing.assert_array_equal(catalog[material_id].latent, every[row])
        np.testing.assert_array_equal(catalog[material_id].latent_integers, integers)
    some = ["mat-7", "mat-2", "mat-7"]
    np.testing.assert_array_equal(catalog.latents(some), every[[7, 2, 7]])
    assert catalog.latents([]).shape == (0, *SHAPE)
    with pytest.raises(UnknownMaterialError, match="mat-99"):
        catalog.latents(["mat-99"])
    assert "latent" not in catalog.columns
    assert catalog["mat-3"].metadata["latent_nmae"] == pytest.approx(catalog.column("latent_nmae")[3])


def test_the_stored_error_is_the_error(path: Path, model: Path) -> None:
    """`latent_nmae` by its definition, from the decoded density; electron counts exact, or not where not asked for."""
    catalog, own = chgdb.open(path), Autoencoder.load(model)
    for record in catalog:
        decoded = latents.decode_record(record, own)
        original = Density(record.crystal, {"total": record.density.total})
        assert measure(original, decoded).nmae["total"] == pytest.approx(record.metadata["latent_nmae"], rel=1e-5)
        assert decoded.n_electrons == pytest.approx(record.n_electrons, rel=1e-6)
        assert tuple(decoded.channels) == ("total",)
    record = catalog["mat-1"]
    assert latents.decode_record(record, own, rescale=False).n_electrons != pytest.approx(record.n_electrons, rel=1e-6)
    assert latents.decode_record(record, own, (10, 12, 14)).grid == (10, 12, 14)


def test_the_spacing_says_where_a_cell_is_too_long(path: Path) -> None:
    spacing = chgdb.open(path).column("latent_spacing")
    cells = chgdb.open(path).column("cell")
    longest = np.linalg.norm(cells, axis=2).max(1)
    np.testing.assert_array_equal(spacing > 0.4 + 1e-6, longest > 4.8)
    assert (longest > 4.8).any()
    np.testing.assert_allclose(spacing[longest > 4.8], longest[longest > 4.8] / 12, rtol=1e-6)


def test_a_store_without_latents_says_so(plain: Path) -> None:
    catalog = chgdb.open(plain)
    assert catalog.latent_model is None
    for read in (catalog.latents, lambda: catalog["mat-0"].latent):
        with pytest.raises(StoreError, match="has no latents: add them with chgdb build"):
            read()


def test_some_rows_without(plain: Path, model: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(plain, tmp_path / "s.zarr"))
    report = latents.add_latents(out, model, ids=["mat-3", "mat-8"], workers=1)
    assert (report.added, report.kept) == (("mat-3", "mat-8"), 0)
    catalog = chgdb.open(out)
    assert verify(out, deep=True).ok
    present = ~np.isnan(catalog.latents()).any((1, 2, 3, 4))
    assert [IDS[row] for row in np.flatnonzero(present)] == ["mat-3", "mat-8"]
    np.testing.assert_array_equal(np.isnan(catalog.column("latent_nmae")), ~present)
    with xarray.open_zarr(out) as dataset:
        np.testing.assert_array_equal(~np.isnan(dataset.latent.values).any((1, 2, 3, 4)), present)
    with pytest.raises(StoreError, match=r"mat-4 in .* has no latent"):
        catalog.latents(["mat-3", "mat-4"])
    report = latents.add_latents(out, model, workers=1)
    assert (len(report.added), report.kept) == (10, 2)
    assert np.isfinite(chgdb.open(out).latents()).all()


# Chunks and shards ----------------------------------------------------------------------------------------------------


def test_chunks_round_trip() -> None:
    rng = np.random.default_rng(0)
    shape = (16, 16, 16, 16)
    for values in (
        rng.integers(SMALLEST, LARGEST, shape, endpoint=True),
        rng.integers(-3, 3, shape),
        np.zeros(shape, np.int8),
        np.full(shape, LARGEST),
        np.full(shape, SMALLEST),
    ):
        np.testing.assert_array_equal(decompress(compress(values), shape), values)
    assert len(compress(np.zeros(shape, np.int16))) < 64
    for wrong in (np.full(shape, LARGEST + 1), np.full(shape, SMALLEST - 1), np.zeros(shape), np.zeros((2, 2), int)):
        with pytest.raises(StoreError, match="whole numbers"):
            compress(wrong)


def test_small_integers_take_about_their_entropy() -> None:
    """A cell that fills an eighth of the volume, values as a trained model gives them; zeros outside cost nothing."""
    rng = np.random.default_rng(1)
    values = np.zeros((16, 16, 16, 16), np.int16)
    values[:, :8, :8, :8] = np.rint(rng.laplace(scale=2.0, size=(16, 8, 8, 8)))
    values[0, 0, 0, 0] = -3000  # few are large, and they must not cost all others a byte
    inside = values[:, :8, :8, :8]
    _, counts = np.unique(inside, return_counts=True)
    share = counts / inside.size
    entropy = -(share * np.log2(share)).sum() * inside.size / 8
    assert len(compress(values)) < 1.2 * entropy  # of independent numbers; those of materials take about 1.0


def test_many_shards(plain: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """Five materials a shard; a shard without any latent has no file."""
    from chgdb.store import writer as store_layout

    monkeypatch.setattr(store_layout, "SHARD_ROWS", 5)
    out = Path(shutil.copytree(plain, tmp_path / "s.zarr"))
    wanted = [*IDS[:4], IDS[10]]
    latents.add_latents(out, model, ids=wanted, workers=1)
    assert sorted(p.relative_to(out).as_posix() for p in (out / LATENT / "c").rglob("0") if p.is_file()) == [
        "latent/c/0/0/0/0/0", "latent/c/2/0/0/0/0",
    ]  # fmt: skip
    np.testing.assert_array_equal(chgdb.open(out).latents(wanted), chgdb.open(path).latents(wanted))
    with xarray.open_zarr(out) as dataset:
        present = ~np.isnan(dataset.latent.values).any((1, 2, 3, 4))
        assert [IDS[row] for row in np.flatnonzero(present)] == wanted
    assert verify(out).ok


def test_one_material_is_one_small_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = chgdb.open(path)
    record = catalog["mat-5"]
    reads = []
    original = catalog.store.files.read_range

    def counted(key: str, start: int, stop: int, *rest: bool) -> bytes:
        reads.append((key, stop - start))
        return original(key, start, stop, *rest)

    monkeypatch.setattr(catalog.store.files, "read_range", counted)
    record.latent_integers  # noqa: B018 (read for its reads)
    assert [key for key, _ in reads] == ["latent/c/0/0/0/0/0"] * 2  # its shard's index, then its chunk
    assert reads[0][1] == 12 * 16 + 4
    assert reads[1][1] == len(compress(record.latent_integers))


def test_the_same_from_a_zip(path: Path, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "s"), "zip", path)
    np.testing.assert_array_equal(chgdb.open(archive).latents(), chgdb.open(path).latents())


def test_the_same_from_a_url(path: Path) -> None:
    remote = chgdb.open(f"file://{path}")
    np.testing.assert_array_equal(remote.latents(), chgdb.open(path).latents())
    np.testing.assert_array_equal(remote["mat-2"].latent, remote.latents(["mat-2"])[0])


def test_info(path: Path, plain: Path, model: Path) -> None:
    facts = chgdb.open(path).info()
    assert facts["latent_model"] == Autoencoder.load(model).identifier
    assert facts["n_latents"] == 12
    files = [p for name in ("latent", "latent_nmae", "latent_spacing") for p in (path / name).rglob("*") if p.is_file()]
    assert facts["latent_bytes"] == sum(p.stat().st_size for p in files)
    assert facts["median_latent_nmae"] == pytest.approx(np.median(chgdb.open(path).column("latent_nmae")))
    assert "latent_model" not in chgdb.open(plain).info()


# Growth, extraction, other models -------------------------------------------------------------------------------------


def test_growth_keeps_latents_and_replacement_drops_them(plain: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "s.zarr"
    build_from(out, IDS[:6], load, tolerance=0, prior=None, workers=1)
    latents.add_latents(out, model, workers=1)
    before = chgdb.open(out).latents()
    build_from(out, IDS[6:], load, tolerance=0, prior=None, workers=1)
    build_from(out, ["mat-2"], load_changed, tolerance=0, prior=None, workers=1, on_duplicate="replace")
    catalog = chgdb.open(out)
    after = catalog.latents()
    present = ~np.isnan(after).any((1, 2, 3, 4))
    assert [IDS[row] for row in np.flatnonzero(present)] == ["mat-0", "mat-1", "mat-3", "mat-4", "mat-5"]
    np.testing.assert_array_equal(after[present], before[[0, 1, 3, 4, 5]])
    np.testing.assert_array_equal(np.isnan(catalog.column("latent_nmae")), ~present)
    assert verify(out, deep=True).ok
    report = latents.add_latents(out, model, workers=1)
    assert report.added == ("mat-2", *IDS[6:])
    assert report.kept == 5
    assert latents.add_latents(out, model, workers=1).added == ()


def test_extraction_takes_latents_along(path: Path, tmp_path: Path) -> None:
    catalog = chgdb.open(path)
    extraction.extract(catalog, ["mat-9", "mat-1"], tmp_path / "two.zarr")
    two = chgdb.open(tmp_path / "two.zarr")
    np.testing.assert_array_equal(two.latents(), catalog.latents(["mat-9", "mat-1"]))
    assert two.latent_model == catalog.latent_model
    assert two["mat-9"].metadata["latent_nmae"] == catalog["mat-9"].metadata["latent_nmae"]
    assert verify(tmp_path / "two.zarr").ok


def test_extraction_of_rows_without_latents(plain: Path, model: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(plain, tmp_path / "s.zarr"))
    latents.add_latents(out, model, ids=["mat-3"], workers=1)
    extraction.extract(chgdb.open(out), ["mat-9"], tmp_path / "one.zarr")
    assert chgdb.open(tmp_path / "one.zarr").format_version == 1


def test_another_model_replaces_all(copy: Path, other: Path) -> None:
    with pytest.raises(CodecError, match=r"mat-0 in .* is a latent of the autoencoder small-.*, not of other-"):
        latents.decode_record(chgdb.open(copy)["mat-0"], Autoencoder.load(other))
    report = latents.add_latents(copy, other, workers=1)
    assert (len(report.added), report.kept) == (12, 0)
    catalog = chgdb.open(copy)
    assert catalog.latent_model is not None
    assert catalog.latent_model["model"] == Autoencoder.load(other).identifier
    np.testing.assert_array_equal(catalog["mat-0"].latent_integers, expected(other, "mat-0"))
    latents.decode_record(catalog["mat-0"], Autoencoder.load(other))


def test_predicted_views_stay(copy: Path, other: Path) -> None:
    """Latents do not change what was predicted from densities, so it is carried over byte for byte."""
    with warnings.catch_warnings(), consolidated(copy):
        warnings.simplefilter("ignore")  # of zarr, about checksums.txt
        root = zarr.open_group(copy, mode="r+", use_consolidated=False)
        root.create_group("view/properties", attributes={"model": "made up"})
        values = {"bulk_modulus": np.arange(12.0), "moments": np.arange(36.0).reshape(12, 3)}
        for name, array in values.items():
            dimensions = ["material", "vector"][: array.ndim]
            write_array(root, f"view/properties/{name}", array, dimensions, np.nan, {"units": "GPa"}, 4096)
    seal(copy)
    before = {key: data for key, data in contents(copy).items() if key.startswith("view/")}
    assert len(before) > 2
    latents.add_latents(copy, other, workers=1)
    assert {key: data for key, data in contents(copy).items() if key.startswith("view/")} == before
    with xarray.open_zarr(copy, group="view/properties") as view:
        np.testing.assert_array_equal(view.bulk_modulus.values, np.arange(12.0))
    assert verify(copy).ok


def test_processes_give_the_same(path: Path, plain: Path, model: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(plain, tmp_path / "s.zarr"))
    seen: list[tuple[int, int]] = []
    latents.add_latents(out, model, workers=2, progress=lambda done, total, name: seen.append((done, total)))
    assert seen == [(i, 12) for i in range(1, 13)]
    np.testing.assert_array_equal(chgdb.open(out).latents(), chgdb.open(path).latents())


def test_where_there_is_no_store(model: Path, path: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is none"):
        latents.add_latents(tmp_path / "no.zarr", model)
    with pytest.raises(UnknownMaterialError, match="mat-77"):
        latents.add_latents(path, model, ids=["mat-77"])


# Damage ---------------------------------------------------------------------------------------------------------------


def shard_of(store: Path) -> Path:
    return store / "latent" / "c" / "0" / "0" / "0" / "0" / "0"


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 0x10
    path.write_bytes(data)


def test_a_damaged_latent_is_one_materials(copy: Path, path: Path, model: Path) -> None:
    offset, length = Catalog(copy).store.latents._place(4)  # type: ignore[union-attr]
    flip(shard_of(copy), offset + length // 2)
    catalog, whole = chgdb.open(copy), chgdb.open(path).latents()
    with pytest.raises(
        ChecksumError, match=r"mat-4 in .*: its latent is damaged: it does not match its checksum; dens"
    ):
        catalog["mat-4"].latent  # noqa: B018
    for read in (catalog.latents, lambda: catalog.latents(IDS[:9])):
        with pytest.raises(ChecksumError, match="mat-4"):
            read()
    others = [i for i in IDS if i != "mat-4"]
    np.testing.assert_array_equal(catalog.latents(others), np.delete(whole, 4, 0))
    for material_id in IDS:
        catalog[material_id].decode()
    report = verify(copy)
    assert {problem.where for problem in report.problems} == {"latent/c/0/0/0/0/0", "mat-4"}
    assert report.lost == ()
    with pytest.raises(ChecksumError, match="mat-4"):  # growth does not carry damage into the next version
        build_from(copy, ["mat-0"], load_changed, tolerance=0, prior=None, workers=1, on_duplicate="replace")
    shutil.rmtree(beside(copy, "journal"))
    assert latents.add_latents(copy, model, workers=1).added == ("mat-4",)
    np.testing.assert_array_equal(chgdb.open(copy).latents(), whole)
    assert verify(copy).ok


def test_what_a_network_damaged_once_is_read_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = chgdb.open(path)
    files = catalog.store.files
    original, asked = files.read_range, []

    def damaged(key: str, start: int, stop: int, fresh: bool = False) -> bytes:
        asked.append(fresh)
        data = original(key, start, stop)
        return data if fresh else bytes(len(data))

    monkeypatch.setattr(files, "read_range", damaged)
    np.testing.assert_array_equal(catalog["mat-4"].latent, chgdb.open(path).latents()[4])
    assert asked == [False, True, True]  # the index, again, and the chunk


def test_a_damaged_index_loses_its_shard_only(copy: Path, path: Path, model: Path) -> None:
    flip(shard_of(copy), -10)
    with pytest.raises(ChecksumError, match=r"the index of latent/c/0/0/0/0/0 is damaged"):
        chgdb.open(copy)["mat-0"].latent  # noqa: B018
    assert len(verify(copy).problems) == 13
    assert len(latents.add_latents(copy, model, workers=1).added) == 12
    np.testing.assert_array_equal(chgdb.open(copy).latents(), chgdb.open(path).latents())


def test_a_missing_shard(copy: Path) -> None:
    shard_of(copy).unlink()
    for read in (chgdb.open(copy)["mat-0"].__class__.latent.fget, lambda record: record.catalog.latents()):
        with pytest.raises(ChecksumError, match=r"latent/c/0/0/0/0/0 is missing"):
            read(chgdb.open(copy)["mat-0"])  # type: ignore[misc]
    chgdb.open(copy)["mat-0"].decode()


def test_damage_anywhere_else_is_repaired_with_latents_there(copy: Path, path: Path) -> None:
    """The parity does not cover the shards, and the rest is repaired without reading them."""
    whole = chgdb.open(path).latents()
    for key in ("zarr.json", "latent/zarr.json", "material_id/c/0", "latent_nmae/c/0"):
        flip(copy / key, (copy / key).stat().st_size // 2)
        np.testing.assert_array_equal(chgdb.open(copy).latents(), whole)
        np.testing.assert_array_equal(chgdb.open(copy).column("latent_nmae"), chgdb.open(path).column("latent_nmae"))
        shutil.copy(path / key, copy / key)


def test_metadata_that_chgdb_did_not_write(copy: Path) -> None:
    import json

    root = json.loads((copy / "zarr.json").read_text())
    root["consolidated_metadata"]["metadata"]["latent"]["attributes"]["add_offset"] = 0.0
    (copy / "zarr.json").write_text(json.dumps(root))
    seal(copy)
    with pytest.raises(StoreError, match=r"stored in another way; use xarray\.open_zarr"):
        chgdb.open(copy).latents()
    chgdb.open(copy)["mat-0"].decode()


# Killed writers -------------------------------------------------------------------------------------------------------

SCRIPT = """
import sys
from chgdb import latents
latents.add_latents(sys.argv[1], sys.argv[2], workers=1, progress=lambda done, total, name: print(name, flush=True))
"""


def test_killed_and_resumed(plain: Path, path: Path, model: Path, tmp_path: Path) -> None:
    """Killed after some latents: the store is as before, the finished ones are not computed again, and the end is the
    same to the byte."""
    out = Path(shutil.copytree(plain, tmp_path / "s.zarr"))
    before = contents(out)
    command = [sys.executable, "-c", SCRIPT, str(out), str(model)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]) as process:
        assert process.stdout is not None
        for _ in range(4):
            assert process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    assert contents(out) == before
    computed: list[int] = []
    report = latents.add_latents(out, model, workers=1, progress=lambda done, total, name: computed.append(done))
    assert computed[0] > 4
    assert report.added == tuple(IDS)
    assert contents(out) == contents(path)
    assert not [p for p in out.parent.iterdir() if p.name.startswith(".s.zarr.")]


class Killed(BaseException):
    """Stands for the end of the process at one place."""


@pytest.mark.parametrize("step", ["write_table", "exchange", "rmtree"])
def test_stopped_at_each_step_of_the_commit(
    step: str, plain: Path, path: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = Path(shutil.copytree(plain, tmp_path / "s.zarr"))

    def stop(*arguments: object, **options: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        place = {"rmtree": transaction.shutil, "exchange": atomic}.get(step, latents)
        patched.setattr(place, step, stop)
        with pytest.raises(Killed):
            latents.add_latents(out, model, workers=1)
    assert verify(out).ok
    assert chgdb.open(out).format_version == (2 if step == "rmtree" else 1)  # the old version or the new one, whole
    calls: list[int] = []
    latents.add_latents(out, model, workers=1, progress=lambda done, total, name: calls.append(done))
    assert calls == []  # all came from the journal
    assert contents(out) == contents(path)


def test_a_build_between_does_not_lose_finished_latents(plain: Path, model: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(plain, tmp_path / "s.zarr"))

    def stop(done: int, total: int, name: str) -> None:
        if done == 5:
            raise Killed

    with pytest.raises(Killed):
        latents.add_latents(out, model, workers=1, progress=stop)
    build_from(out, ["mat-1"], load_changed, tolerance=0, prior=None, workers=1, on_duplicate="replace")
    computed: list[str] = []
    latents.add_latents(out, model, workers=1, progress=lambda done, total, name: computed.append(name))
    assert computed == ["mat-1", *IDS[5:]]
    assert "latent_nmae" in chgdb.open(out).columns


def test_two_writers(copy: Path, other: Path) -> None:
    started = time.monotonic()
    with written_by_another(copy), pytest.raises(StoreError, match="another command is writing to it"):
        latents.add_latents(copy, other, workers=1)
    assert time.monotonic() - started < 60
