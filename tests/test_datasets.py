"""Samples for training: the right materials, the right numbers, nothing of another part."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs torch: pip install 'chgdb[ml]'")

import torch
from latent_models import save_model
from materials import COLUMNS, IDS, density, load

import chgdb
from chgdb import splits
from chgdb.datasets import DensityDataset, LatentDataset
from chgdb.errors import StoreError, UnknownMaterialError
from chgdb.ingest import build_from
from chgdb.latents import stores as latents
from chgdb.samples import Densities, Latents, parts


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> chgdb.Catalog:
    """Twelve materials, one of them without a latent; do not change it."""
    folder = tmp_path_factory.mktemp("store")
    model = save_model(folder / "model", [density(i) for i in IDS])
    build_from(folder / "s.zarr", IDS, load, columns=COLUMNS, tolerance=0, prior=None, workers=1)
    latents.add_latents(folder / "s.zarr", model, ids=IDS[:-1], workers=1)
    return chgdb.open(folder / "s.zarr")


def test_parts_by_formula(catalog: chgdb.Catalog) -> None:
    np.testing.assert_array_equal(parts(catalog), splits.assign(catalog.column("formula").tolist()))
    ids = [set(Latents(catalog, part).ids) for part in splits.PARTS]
    assert set.union(*ids) == set(IDS[:-1])
    assert sum(map(len, ids)) == 11
    assert Latents(catalog).ids == IDS[:-1]


def with_part(material_id: str) -> tuple[chgdb.Density, dict[str, str]]:
    return density(material_id), {
        "paper_split": "val" if material_id == "mat-1" else "",
        "split": "test" if material_id == "mat-0" else "train",
    }


def test_the_stores_own_column_wins(tmp_path: Path) -> None:
    build_from(tmp_path / "s.zarr", IDS[:2], with_part, tolerance=0, prior=None, workers=1)
    assert parts(chgdb.open(tmp_path / "s.zarr")).tolist() == ["test", "train"]


def test_latents(catalog: chgdb.Catalog) -> None:
    samples = Latents(catalog, targets=["band_gap", "bulk_modulus"])
    assert samples.ids == [i for i in IDS[:-1] if i != "mat-5"]  # which has no band gap
    values, targets = samples[3]
    np.testing.assert_array_equal(values, catalog["mat-3"].latent)
    np.testing.assert_array_equal(targets, np.float32([1.5, 103.0]))
    np.testing.assert_array_equal(samples.array()[3], values)
    assert Latents(catalog, ids=["mat-7", "mat-11", "mat-2"]).ids == ["mat-7", "mat-2"]


def test_densities_on_one_grid(catalog: chgdb.Catalog) -> None:
    values, targets = Densities(catalog, grid=(8, 6, 4))[2]
    assert values.dtype == np.float32
    assert values.shape == (1, 8, 6, 4)
    assert targets.shape == (0,)
    np.testing.assert_allclose(values[0], density("mat-2").resample((8, 6, 4)).total, atol=1e-6)


def test_densities_padded(catalog: chgdb.Catalog) -> None:
    samples = Densities(catalog, spacing=0.25, size=16)
    values, _ = samples[11]
    crystal = density("mat-11").crystal
    points = samples.points(crystal.cell)
    assert points == (12, 14, 16)  # of 3.0, 3.5 and 5.1 Å: the last is too long for 16 points
    assert values.shape == (1, 16, 16, 16)
    assert (values[0, 12:] == 0).all()
    assert (values[0, :, 14:] == 0).all()
    mean = values[0, :12, :14, :16].mean(dtype=float)
    assert mean * crystal.volume == pytest.approx(density("mat-11").n_electrons, rel=1e-5)


def test_torch_sees_the_same(catalog: chgdb.Catalog) -> None:
    dataset = LatentDataset(catalog, targets=["bulk_modulus"])
    assert isinstance(dataset, torch.utils.data.Dataset)
    batches = list(torch.utils.data.DataLoader(dataset, batch_size=4))
    assert [tuple(batch.shape) for batch, _ in batches] == [(4, 4, 4, 4, 4)] * 2 + [(3, 4, 4, 4, 4)]
    np.testing.assert_array_equal(torch.cat([b for b, _ in batches]).numpy(), dataset.samples.array())
    np.testing.assert_array_equal(torch.cat([t for _, t in batches]).numpy(), dataset.samples.targets)
    values, targets = DensityDataset(catalog, grid=(4, 4, 4))[0]
    assert values.dtype == targets.dtype == torch.float32
    assert tuple(values.shape) == (1, 4, 4, 4)


def test_loader_with_processes(catalog: chgdb.Catalog) -> None:
    dataset = LatentDataset(catalog)
    loader = torch.utils.data.DataLoader(dataset, batch_size=11, num_workers=1, multiprocessing_context="spawn")
    ((values, _),) = list(loader)
    np.testing.assert_array_equal(values.numpy(), dataset.samples.array())


def test_what_is_refused(catalog: chgdb.Catalog, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no part 'dev' of the split"):
        Latents(catalog, "dev")
    with pytest.raises(StoreError, match=r"column formula of .* is not one number a material"):
        Latents(catalog, targets=["formula"])
    with pytest.raises(StoreError, match="no column 'gap'"):
        Latents(catalog, targets=["gap"])
    with pytest.raises(UnknownMaterialError, match="mat-77"):
        Latents(catalog, ids=["mat-77"])
    for options in ({}, {"grid": (4, 4, 4), "size": 4}, {"spacing": 0.1}):
        with pytest.raises(StoreError, match="take either grid="):
            Densities(catalog, **options)  # type: ignore[arg-type]
    plain = tmp_path / "s.zarr"
    build_from(plain, IDS[:1], load, tolerance=0, prior=None, workers=1)
    with pytest.raises(StoreError, match="has no latents: add them"):
        Latents(chgdb.open(plain))


def test_numpy_access_without_torch(catalog: chgdb.Catalog) -> None:
    """Latents are for users of any framework: reading them imports no torch, and the dataset says what it needs."""
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "import chgdb; from chgdb.samples import Latents\n"
        "print(Latents(chgdb.open(sys.argv[1])).array().shape)\n"
        "try:\n    import chgdb.datasets\nexcept chgdb.ChgdbError as error:\n    print(error)\n"
    )
    result = subprocess.run([sys.executable, "-c", script, catalog.path], capture_output=True, text=True, check=True)
    first, second = result.stdout.splitlines()
    assert first == "(11, 4, 4, 4, 4)"
    assert second == "chgdb.datasets needs torch, which is not installed: run pip install 'chgdb[ml]'"


def test_of_the_catalog(tmp_path: Path) -> None:
    """The split of the embedded catalog: no formula in two parts, near to 80/10/10."""
    catalog = chgdb.open()
    found = parts(catalog)
    by_formula: dict[str, set[str]] = {}
    for formula, part in zip(catalog.column("formula"), found, strict=True):
        by_formula.setdefault(formula, set()).add(part)
    assert all(len(seen) == 1 for seen in by_formula.values())
    assert 0.75 < (found == "train").mean() < 0.85
