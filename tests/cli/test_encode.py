"""Latents on the command line: fetched, encoded, decoded, built; every mistake one line."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray
from latent_models import save_model
from small import DENSITIES, Chgdb, one_line

import chgdb
from chgdb.codecs import measure
from chgdb.codecs.symmetric import symmetric_part
from chgdb.latents import stores as latents
from chgdb.latents.autoencoder import Autoencoder

SHAPE = (4, 4, 4, 4)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / "small", [make() for make in DENSITIES.values()], step=0.01)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / "other", [DENSITIES["si"]()], "other", 0.017)


@pytest.fixture(scope="module")
def with_latents(store: str, model: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The small store with latents; do not change it."""
    out = Path(shutil.copytree(store, tmp_path_factory.mktemp("latents") / "small.zarr"))
    assert latents.add_latents(out, model, workers=1).complete
    return str(out)


@pytest.fixture
def poscar(tmp_path: Path) -> Path:
    """The structure of "si" without its density."""
    chgdb.write(tmp_path / "CHGCAR_full", DENSITIES["si"]())
    lines = (tmp_path / "CHGCAR_full").read_text().split("\n\n")[0].splitlines()
    (tmp_path / "POSCAR").write_text("\n".join(lines) + "\n")
    return tmp_path / "POSCAR"


def total(name: str) -> chgdb.Density:
    density = DENSITIES[name]()
    return chgdb.Density(density.crystal, {"total": density.total})


# fetch ----------------------------------------------------------------------------------------------------------------


def test_fetch_states_what_it_did_and_the_stored_error(run_chgdb: Chgdb, with_latents: str, model: Path) -> None:
    common = ("fetch", "si", "--catalog", with_latents, "--decode", "--codec", "autoencoder", "--model", model)
    result = run_chgdb(*common)
    assert result.code == 0, result.err
    own = Autoencoder.load(model)
    first, second = result.out.splitlines()
    assert first == "CHGCAR: Si (si), grid 24 x 24 x 24, 28.000000 electrons (symmetric, rescaled to the exact count)"
    assert second.startswith("NMAE ")
    assert f"to the stored density; latent of {own.identifier}, stored in" in second
    decoded = chgdb.read("CHGCAR")
    stored = chgdb.open(with_latents)["si"]
    error = measure(stored.density, decoded).nmae["total"]
    assert error == pytest.approx(stored.metadata["latent_nmae"], rel=1e-3)
    assert error > 1e-4
    assert decoded.n_electrons == pytest.approx(28, abs=1e-6)
    assert run_chgdb(*common).code == 0  # holds the same already

    result = run_chgdb(*common, "--no-rescale", "-o", "raw.npz", "--json")
    assert result.json["rescaled"] is False
    assert result.json["electrons_expected"] == pytest.approx(28, abs=1e-6)
    raw = chgdb.read("raw.npz")
    assert raw.n_electrons == pytest.approx(result.json["n_electrons"], rel=1e-6)
    assert abs(raw.n_electrons - 28) > 1e-4
    np.testing.assert_allclose(raw.total * 28 / raw.n_electrons, decoded.total, atol=1e-6)
    said = run_chgdb(*common, "--no-rescale", "--no-symmetry", "-o", "raw.cube").out
    assert "(not rescaled; 28.000000 expected)" in said
    assert "(measured symmetric and rescaled, on the native grid 24 x 24 x 24)" in said


def test_symmetry_is_kept_unless_told_otherwise(run_chgdb: Chgdb, with_latents: str, model: Path) -> None:
    common = ("fetch", "si", "--catalog", with_latents, "--decode", "--codec", "autoencoder", "--model", model)
    broken = {}
    for flag in ("--symmetry", "--no-symmetry"):
        result = run_chgdb(*common, flag, "-o", f"out{flag}.npz", "--json")
        assert result.json["symmetric"] is (flag == "--symmetry")
        # Below the grid that the network sees: the symmetry's images of its highest terms lie partly beyond it.
        density = chgdb.read(f"out{flag}.npz")
        values = chgdb.grids.resample(density.total, (9, 9, 9))
        broken[flag] = np.abs(values - symmetric_part(values, density.crystal)).sum() / values.sum()
    assert broken["--symmetry"] < 1e-6
    assert broken["--no-symmetry"] > 1e-4


def test_fetch_another_grid_and_several(run_chgdb: Chgdb, with_latents: str, model: Path) -> None:
    common = ("--catalog", with_latents, "--decode", "--codec", "autoencoder", "--model", model)
    result = run_chgdb("fetch", "si", "iron", *common, "--grid", "12x14x16", "-o", "out/")
    assert result.code == 0, result.err
    assert "(measured symmetric and rescaled, on the native grid 24 x 24 x 24)" in result.out
    assert ", without magnetization" in result.out  # of iron
    assert chgdb.read("out/iron/CHGCAR").grid == (12, 14, 16)


def test_fetch_mistakes(
    run_chgdb: Chgdb, with_latents: str, store: str, model: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    common = ("fetch", "si", "--decode", "--codec", "autoencoder")
    for arguments, message in [
        ((*common, "--catalog", store, "--model", model), "has no latents: add them with chgdb build"),
        ((*common, "--catalog", with_latents, "--model", other), "is a latent of the autoencoder small-"),
        ((*common, "--catalog", with_latents, "--model", "nowhere"), "nowhere: no autoencoder here"),
        ((*common, "--catalog", with_latents, "--model", model, "--grid", "9999x9999x9999"), "use a coarser one"),
    ]:
        result = run_chgdb(*arguments)
        assert result.code == 1
        assert message in result.err
        assert one_line(result.err)
        assert not Path("CHGCAR").exists()
    assert run_chgdb("fetch", "si", "--codec", "autoencoder").code == 2
    assert run_chgdb("fetch", "si", "--decode", "--no-rescale").code == 2
    assert run_chgdb("fetch", "si", "--decode", "--no-symmetry").code == 2
    latents.load_model.cache_clear()
    monkeypatch.setitem(sys.modules, "torch", None)
    result = run_chgdb(*common, "--catalog", with_latents, "--model", model)
    assert (
        result.err == "chgdb: the autoencoder codec needs torch, which is not installed: run pip install 'chgdb[ml]'\n"
    )


def test_weights_that_do_not_match(run_chgdb: Chgdb, with_latents: str, model: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(model, tmp_path / "broken"))
    data = bytearray((broken / "weights.safetensors").read_bytes())
    data[-1] ^= 1
    (broken / "weights.safetensors").write_bytes(data)
    result = run_chgdb(
        "fetch", "si", "--catalog", with_latents, "--decode", "--codec", "autoencoder", "--model", broken
    )
    assert result.code == 1
    assert "not the weights that model.json names" in result.err
    assert one_line(result.err)


# encode and decode ----------------------------------------------------------------------------------------------------


def test_zarr_there_and_back(run_chgdb: Chgdb, runs: Path, model: Path) -> None:
    result = run_chgdb("encode", runs / "salt" / "CHGCAR", "-o", "latent.zarr", "--model", model)
    assert result.code == 0, result.err
    assert "latent.zarr: NaCl, latent 4 x 4 x 4 x 4 of small-" in result.out
    assert "the cell is long: sampled every" in result.out
    own = Autoencoder.load(model)
    with xarray.open_zarr("latent.zarr") as dataset:  # floats, with nothing of chgdb
        np.testing.assert_allclose(dataset.latent.values, own.encode(total("salt")) * own.step, atol=1e-9)
        assert dataset.attrs["formula"] == "NaCl"
    result = run_chgdb("decode", "latent.zarr", "-o", "new/CHGCAR", "--model", model)
    assert result.code == 0, result.err
    assert "28.000000 electrons (symmetric, rescaled to the exact count)" in result.out
    decoded = chgdb.read("new/CHGCAR")
    assert decoded.grid == (20, 18, 28)
    nmae = measure(total("salt"), decoded).nmae["total"]
    facts = run_chgdb("decode", "latent.zarr", "-o", "b.cube", "--model", model, "--json").json
    assert facts["nmae"] == pytest.approx(nmae, rel=1e-3)
    facts = run_chgdb("decode", "latent.zarr", "-o", "c.cube", "--model", model, "--no-rescale", "--json").json
    assert facts["n_electrons"] != pytest.approx(28, abs=1e-4)
    assert facts["nmae"] is None  # was measured rescaled


def test_a_refined_latent_is_better(run_chgdb: Chgdb, runs: Path, model: Path) -> None:
    """By what the network decodes, which is what is refined: an untrained one's symmetric part can get worse."""
    common = ("encode", "si", "-o", "latent.zarr", "--model", model, "--force", "--json")
    errors = []
    for steps in (0, 20):
        facts = run_chgdb(*common, "--refine", steps).json
        assert facts["refined"] == steps
        assert run_chgdb("decode", "latent.zarr", "--model", model, "--force", "--json").json["nmae"] == facts["nmae"]
        run_chgdb("decode", "latent.zarr", "--model", model, "--no-symmetry", "-o", "out.npz", "--force")
        errors.append(measure(total("si"), chgdb.read("out.npz")).nmae["total"])
    assert errors[1] < errors[0]
    assert run_chgdb(*common, "--refine", -1).code == 2


def test_npy_with_a_structure(run_chgdb: Chgdb, runs: Path, model: Path, poscar: Path) -> None:
    result = run_chgdb("encode", "si", "-o", "latent.npy", "--model", model)
    assert result.code == 0, result.err
    values = np.load("latent.npy")
    own = Autoencoder.load(model)
    assert values.dtype == np.float32
    np.testing.assert_allclose(
        values, own.encode(total("si")) * own.step, atol=3 * own.step
    )  # the stored density is near
    result = run_chgdb("decode", "latent.npy", "--structure", runs / "si" / "CHGCAR", "--model", model)
    assert result.code == 0, result.err
    assert "28.000000 electrons (symmetric, rescaled to the exact count)" in result.out
    by_chgcar = chgdb.read("CHGCAR")
    assert by_chgcar.grid == (24, 24, 24)

    result = run_chgdb("decode", "latent.npy", "--structure", poscar, "--model", model, "-o", "a.npz")
    assert "not rescaled: the exact count is not known)" in result.out
    result = run_chgdb(
        *("decode", "latent.npy", "--structure", poscar, "--model", model, "-o", "b.npz"),
        *("--electrons", "28", "--grid", "24x24x24"),
    )
    assert result.code == 0, result.err
    np.testing.assert_allclose(chgdb.read("b.npz").total, by_chgcar.total, atol=1e-5)
    np.save("steps.npy", np.rint(values / own.step).astype(np.int16))  # the model's integers are as good
    run_chgdb("decode", "steps.npy", "--structure", runs / "si" / "CHGCAR", "--model", model, "-o", "c.npz")
    np.testing.assert_allclose(chgdb.read("c.npz").total, by_chgcar.total, atol=1e-5)


def test_a_spin_file(run_chgdb: Chgdb, runs: Path, model: Path) -> None:
    result = run_chgdb("encode", runs / "iron" / "CHGCAR", "-o", "latent.npy", "--model", model)
    assert result.code == 0
    assert result.err.strip().endswith("the total density is encoded, not magnetization")


def test_nothing_is_overwritten(run_chgdb: Chgdb, runs: Path, model: Path) -> None:
    for name in ("latent.npy", "latent.zarr"):
        arguments = ("encode", runs / "si" / "CHGCAR", "-o", name, "--model", model)
        assert run_chgdb(*arguments).code == 0
        result = run_chgdb(*arguments)
        assert result.code == 1
        assert "exists already" in result.err
        assert run_chgdb(*arguments, "--force").code == 0
    Path("CHGCAR").write_text("mine")
    result = run_chgdb("decode", "latent.zarr", "--model", model)
    assert "exists already" in result.err
    assert Path("CHGCAR").read_text() == "mine"


def test_latents_that_cannot_be_decoded(run_chgdb: Chgdb, runs: Path, store: str, model: Path, other: Path) -> None:
    run_chgdb("encode", runs / "si" / "CHGCAR", "-o", "good.npy", "--model", model)
    run_chgdb("encode", runs / "si" / "CHGCAR", "-o", "good.zarr", "--model", model)
    np.save("shape.npy", np.zeros((2, 4, 4, 4), np.float32))
    np.save("complex.npy", np.zeros(SHAPE, complex))
    np.save("text.npy", np.full(SHAPE, "a"))
    np.save("nan.npy", np.full(SHAPE, np.nan))
    np.save("large.npy", np.full(SHAPE, 70000))
    np.save("objects.npy", np.array([{}], object), allow_pickle=True)
    np.savez("several.npz", a=np.zeros(SHAPE))
    Path("noise.npy").write_bytes(b"not an array")
    Path("empty.npy").write_bytes(b"")
    Path("folder").mkdir()
    for name, change in {"later": {"chgdb_latent": 2}, "gridless": {"grid": [0]}}.items():
        shutil.copytree("good.zarr", f"{name}.zarr")
        root = json.loads(Path(f"{name}.zarr/zarr.json").read_text())
        root["attributes"] |= change
        Path(f"{name}.zarr/zarr.json").write_text(json.dumps(root))
    shutil.copytree("good.zarr", "damaged.zarr")
    chunk = Path("damaged.zarr/latent/c/0/0/0/0")
    chunk.write_bytes(chunk.read_bytes()[:-5] + b"12345")
    for name, message in [
        ("missing.npy", "missing.npy: there is no such file"),
        ("shape.npy", "shape.npy holds float32 of the shape (2, 4, 4, 4); a latent of small-"),
        ("complex.npy", "complex.npy: not an array of numbers in numpy's .npy (it holds <c16"),
        ("text.npy", "text.npy: not an array of numbers in numpy's .npy (it holds <U1"),
        ("nan.npy", "not finite"),
        ("large.npy", "beyond 32767 steps"),
        ("objects.npy", "objects.npy: not an array of numbers"),
        ("several.npz", "holds several arrays"),
        ("noise.npy", "noise.npy: not an array of numbers"),
        ("empty.npy", "empty.npy: not an array of numbers"),
        ("folder", "folder: not a latent"),
        ("later.zarr", "but this chgdb reads up to format 1: run pip install --upgrade chgdb"),
        ("gridless.zarr", "gridless.zarr: not a latent, or damaged"),
        ("damaged.zarr", "damaged.zarr: not a latent, or damaged"),
        (store, "a store of materials: chgdb fetch ID"),
    ]:
        result = run_chgdb("decode", name, "--structure", runs / "si" / "CHGCAR", "--model", model)
        assert result.code == 1, name
        assert message in result.err, (name, result.err)
        assert one_line(result.err)
        assert not Path("CHGCAR").exists()
    for name in ("good.npy", "good.zarr"):
        result = run_chgdb("decode", name, "--structure", runs / "si" / "CHGCAR", "--model", other)
        assert result.code == 1
        assert (
            "another model made it" if name.endswith("npy") else "is a latent of the autoencoder small-"
        ) in result.err
        assert one_line(result.err)
    structure = ("--structure", runs / "si" / "CHGCAR")
    assert run_chgdb("decode", "good.npy", *structure, "--model", other, "--round").code == 0
    result = run_chgdb("decode", "good.npy", "--model", model, "--force")
    assert "holds no structure: name a POSCAR or CHGCAR with --structure" in result.err
    assert run_chgdb("encode", runs / "si" / "CHGCAR", "-o", "latent.txt", "--model", model).code == 2


# build ----------------------------------------------------------------------------------------------------------------


def test_build_with_latents(run_chgdb: Chgdb, runs: Path, model: Path) -> None:
    result = run_chgdb("build", "s.zarr", runs / "si", "--latents", "--model", model, "--workers", "1", "-q")
    assert result.code == 0, result.err
    assert "latents of small-" in result.out
    assert ": 1 added, 0 kept; NMAE " in result.out
    result = run_chgdb("build", "s.zarr", runs / "salt", "--workers", "1", "-q")
    assert "latents" not in result.out
    result = run_chgdb("build", "s.zarr", "--latents", "--model", model, "--workers", "1", "--json")
    assert result.json["latents"]["added"] == ["salt"]
    assert result.json["latents"]["kept"] == 1
    assert result.json["latents"]["largest_nmae"] == pytest.approx(max(chgdb.open("s.zarr").column("latent_nmae")))
    assert run_chgdb("verify", "s.zarr", "--deep").code == 0
    assert "2 of small-" in run_chgdb("info", "--catalog", "s.zarr").out


def test_build_mistakes(run_chgdb: Chgdb, runs: Path, model: Path) -> None:
    assert run_chgdb("build", "s.zarr").code == 2
    assert run_chgdb("build", "s.zarr", runs / "si", "--model", model).code == 2
    result = run_chgdb("build", "s.zarr", "--latents", "--model", model)
    assert result.code == 1
    assert one_line(result.err)
    result = run_chgdb("build", "s.zarr", runs / "si", "--latents", "--model", "nowhere")
    assert result.code == 1
    assert one_line(result.err)
    assert not Path("s.zarr").exists()  # said before anything is packed
