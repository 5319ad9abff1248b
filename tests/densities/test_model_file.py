"""The file of a density model: round trip, damage, versions, and golden files that every later version must read."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from chgdb import ChgdbError, Crystal, estimate
from chgdb.densities import model as module
from chgdb.densities.calibration import Calibration
from chgdb.densities.guess import guess
from chgdb.densities.model import DensityModel, load
from chgdb.errors import ChecksumError

GOLDEN = Path(__file__).parents[1] / "golden" / "density"


def header(path: Path) -> dict[str, str]:
    from safetensors import safe_open

    with safe_open(path, "np") as file:
        return file.metadata()


def test_a_file_gives_the_same_model_back(model: DensityModel, skewed: Crystal, tmp_path: Path) -> None:
    again = model.save(tmp_path / "a" / "model.safetensors")
    assert again.identifier == model.identifier
    assert load(tmp_path / "a").identifier == model.identifier
    assert np.array_equal(guess(again, skewed, (9, 9, 9)).total, guess(model, skewed, (9, 9, 9)).total)
    assert again.valence == model.valence
    assert again.calibration == model.calibration
    assert again.domain == model.domain


def test_the_same_model_gives_the_same_bytes(model: DensityModel, tmp_path: Path) -> None:
    for name in ("a", "b"):
        model.save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_no_model_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ChgdbError, match="no density model there"):
        load(tmp_path / "missing")
    with pytest.raises(ChgdbError, match="no density model there"):
        load(tmp_path)


def test_damage_is_found(model: DensityModel, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    data = bytearray(model.save(path) and path.read_bytes())
    rng = np.random.default_rng(5)
    for place in rng.integers(8, len(data), 12):
        damaged = data.copy()
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(ChgdbError) as caught:
            load(path)
        assert str(path) in str(caught.value)
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ChecksumError, match="damaged"):
        load(path)
    path.write_bytes(b"")
    with pytest.raises(ChecksumError):
        load(path)


def test_other_files_are_no_models(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"x": np.zeros(3)}, path)
    with pytest.raises(ChgdbError, match="its header does not say so"):
        load(path)


def test_another_version_is_refused(model: DensityModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as later:
        later.setattr(module, "FORMAT_VERSION", 2)
        model.save(tmp_path / "two.safetensors")
    module._loaded.cache_clear()
    with pytest.raises(ChgdbError, match="a density model of format 2, this version of chgdb reads 1"):
        load(tmp_path / "two.safetensors")


def test_weights_are_kept_in_half_precision(model: DensityModel, tmp_path: Path) -> None:
    model.save(tmp_path / "m.safetensors")
    tensors = load_file(tmp_path / "m.safetensors")
    assert {str(v.dtype) for k, v in tensors.items() if k.startswith("member")} == {"float16"}
    assert json.loads(header(tmp_path / "m.safetensors")["chgdb"][65:])["format"] == 1


def test_other_atoms_take_the_calibration_away(model: DensityModel, skewed: Crystal) -> None:
    other = model.with_atoms(model.prior, {int(z): 20.0 for z in model.prior.numbers})
    found = estimate(skewed, grid=(9, 9, 9), model=other)
    assert np.isnan(found.error)
    assert found.density.n_electrons == pytest.approx(80)
    assert "error" not in found.summary


def test_calibration_holds_for_what_it_was_fitted_to() -> None:
    rng = np.random.default_rng(0)
    spread, size = np.exp(rng.normal(-6, 1, 4000)), np.exp(rng.normal(-4, 0.5, 4000))
    error = np.exp(0.3 + 0.7 * np.log(spread) + 0.4 * np.log(size) + rng.gumbel(0, 0.3, 4000))
    fitted = Calibration.fit(spread[:2000], size[:2000], error[:2000])
    stated = np.array([fitted(a, b) for a, b in zip(spread[2000:], size[2000:], strict=True)])
    assert (error[2000:] < stated[:, 1]).mean() == pytest.approx(0.9, abs=0.02)
    assert stated[:, 0].mean() == pytest.approx(error[2000:].mean(), rel=0.1)
    assert Calibration.from_dict(fitted.to_dict()) == fitted


def test_calibration_of_a_single_member() -> None:
    rng = np.random.default_rng(1)
    size = np.exp(rng.normal(-4, 0.5, 300))
    fitted = Calibration.fit(np.zeros(300), size, 0.2 * size)
    assert fitted(0.0, 0.01)[0] == pytest.approx(0.002, rel=0.1)


def test_golden_predictions() -> None:
    model = load(GOLDEN / "model.safetensors")
    facts = json.loads((GOLDEN / "predictions.json").read_text())
    assert model.identifier == facts["model"]
    for case in facts["cases"]:
        crystal = Crystal(case["cell"], case["positions"], case["numbers"])
        found = guess(model, crystal, tuple(case["grid"]))
        total = np.array(case["total"]).reshape(case["grid"])
        assert np.abs(found.total - total).max() < 1e-7 * np.abs(total).max()
        assert [found.error, found.limit] == pytest.approx([case["error"], case["limit"]], rel=1e-6)
        assert list(found.remarks) == case["remarks"]


def test_a_member_must_fit_its_weights(model: DensityModel, tmp_path: Path) -> None:
    first = model.members[0]
    wrong = replace(first, configuration=replace(first.configuration, channels=first.configuration.channels + 1))
    with pytest.raises(ChgdbError, match="its files do not fit together"):
        replace(model, members=(wrong,)).save(tmp_path / "wrong.safetensors")


def test_the_script_that_trains_the_served_model_has_its_sizes_and_recipes() -> None:
    pytest.importorskip("torch")
    from chgdb_catalog.train_densities import SECOND

    model = load()
    assert [m.configuration for m in model.members] == [sizes for sizes, _ in SECOND]
    for facts, (_, recipe) in zip(model.facts["members"], SECOND, strict=True):
        told = asdict(recipe)
        assert {k: v for k, v in facts["recipe"].items() if k not in ("epochs", "minutes")} == {
            k: v for k, v in told.items() if k not in ("epochs", "minutes")
        }
