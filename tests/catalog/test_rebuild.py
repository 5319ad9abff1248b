"""What of the catalog is rebuilt, and when."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from chgdb import codecs
from chgdb.catalog import open_catalog
from chgdb.codecs import fourier
from chgdb.codecs.symmetric import symmetry_of
from chgdb.comparison import measure
from chgdb.ingest import build_from
from chgdb.models import applicability
from chgdb.models.learners import magpie
from chgdb.store.columns import set_columns
from chgdb.store.transaction import writing
from chgdb.symmetry import find
from chgdb.verification import verify
from chgdb_catalog import batches, labels, rebuild
from chgdb_catalog.dft import checks
from chgdb_cli.train import properties


def test_a_store_is_stale_that_lacks_a_material_or_has_other_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = list(batches.index())[:2]
    out, table = tmp_path / "small.zarr", tmp_path / "labels.csv"
    head = ["material_id", "formula", "in_paper", *labels._NUMBERS.values(), *labels._TEXTS.values()]

    def write(modulus: object, split: str = "train") -> None:
        values = {"material_id": ids[0], "in_paper": "True", "bulk_modulus_GPa": modulus, "paper_split": split}
        values |= {"shear_modulus_GPa": 0.1 + 0.2}
        table.write_text(",".join(head) + "\n" + ",".join(str(values.get(column, "")) for column in head) + "\n")

    write(100 / 3)
    assert rebuild.is_stale(out, table)
    load = rebuild.Loader(labels.read(table), {})
    assert build_from(out, ids, load, columns=rebuild.COLUMNS, workers=1, prior="fit").complete
    assert rebuild.is_stale(out, table)  # catalog/sources holds many more
    monkeypatch.setattr(batches, "index", lambda: dict.fromkeys(ids))
    assert not rebuild.is_stale(out, table)
    os.utime(out / "zarr.json", (0, 0))  # as a clone may have it
    assert not rebuild.is_stale(out, table)
    for change in ((33.3, "train"), ("", "train"), (100 / 3, "test")):
        write(*change)
        assert rebuild.is_stale(out, table), change


def test_records_are_coded_again_and_all_else_stays(tmp_path: Path) -> None:
    ids, table, out = ["mp-149", "mp-676400"], tmp_path / "labels.csv", tmp_path / "small.zarr"
    table.write_text(
        ",".join(["material_id", "formula", "in_paper", *labels._NUMBERS.values(), *labels._TEXTS.values()]) + "\n"
    )
    load = rebuild.Loader(labels.read(table), {})
    assert build_from(out, ids, load, columns=rebuild.COLUMNS, workers=1, effort="fast").complete
    set_columns_of = {"mp-149": {"note": "kept"}}
    with writing(out) as transaction:
        set_columns(transaction, set_columns_of, {"note": {"long_name": "a note"}}, replace=True)
    before = open_catalog(out)
    size, old = before["mp-676400"].metadata["stored_bytes"], before["mp-676400"].density
    rebuild.code_again(out, table, workers=1)
    after = open_catalog(out)
    assert after.ids == before.ids
    assert after.prior.identifier == before.prior.identifier
    assert after["mp-149"].metadata["note"] == "kept"
    new = after["mp-676400"]
    assert new.metadata["stored_bytes"] < 0.9 * size
    assert measure(new.density, old).nmae["total"] < 2e-4
    assert verify(out).ok
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.csv", "small.zarr"]


@pytest.mark.parametrize(
    ("material_id", "operations", "least"), [("mp-8352", 48, 1e-3), ("mp-1014373", 48, 1e-3), ("mp-625521", 1, 0.0)]
)
def test_a_density_enters_with_the_symmetry_of_its_crystal(material_id: str, operations: int, least: float) -> None:
    density, metadata = rebuild.Loader({}, {})(material_id)
    _, computed = batches.load(material_id)
    whole = find(density.crystal)
    assert len(whole) == operations
    for values in density.channels.values():
        spectrum = np.fft.rfftn(values, norm="forward")
        assert len(symmetry_of(spectrum, values.shape, whole, 1e-9)) == operations
    scale = np.abs(computed["total"]).mean()
    change = max(np.abs(density.channels[name] - computed[name]).mean() for name in computed) / scale
    assert metadata["asymmetry"] == pytest.approx(change, rel=1e-5, abs=1e-12)
    assert least <= metadata["asymmetry"] < checks.DEFAULT.asymmetry


def test_property_models_are_trained_again_when_the_store_has_other_materials_or_the_code_another_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the gaps of our own calculations, the only labels that need no table."""
    pytest.importorskip("lightgbm")
    models = tmp_path / "models"
    monkeypatch.setattr(rebuild, "models_folder", lambda kind: models)
    monkeypatch.setattr(rebuild, "HERE", tmp_path)
    stores = []
    for count in (40, 44):
        stores.append(tmp_path / f"{count}.zarr")
        ids = list(batches.index())[:count]
        built = build_from(stores[-1], ids, rebuild.Loader({}, {}), columns=rebuild.COLUMNS, workers=1, effort="fast")
        assert built.complete
    trained = stores[0], tmp_path / "no structures", tmp_path / "no labels", 1
    rebuild.train_properties(*trained, force=False)
    assert not models.exists(), "which models there are is not decided here"
    properties(model=["magpie"], output=models, folds=2, workers=1, catalog=str(stores[0]), quiet=True)
    assert rebuild.stale_models(stores[0], models) == []
    assert rebuild.stale_models(stores[1], models) == ["magpie"]
    before = (models / "magpie" / "model.json").read_bytes()
    rebuild.train_properties(*trained, force=False)
    assert (models / "magpie" / "model.json").read_bytes() == before
    rebuild.train_properties(stores[1], *trained[1:], force=False)
    assert rebuild.stale_models(stores[1], models) == []
    assert (models / "magpie" / "model.json").read_bytes() != before
    monkeypatch.setattr(magpie.Model, "VERSION", magpie.Model.VERSION + 1)
    assert rebuild.stale_models(stores[1], models) == ["magpie"]


def test_what_the_grid_cuts_off_unevenly_is_coded_by_symmetry() -> None:
    """An oxide in a primitive body-centred cell: symmetrised, a thousandth of it lies at the edge of its spectrum."""
    density, _ = rebuild.Loader({}, {})("mp-677335")
    assert fourier.edge(density) > 1e-3
    payload = codecs.encode(density, 1e-4).payload
    assert codecs.header(payload).codec == "fourier"
    assert len(payload) < 10_000


def test_flags_of_the_view_follow_the_domain_of_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = tmp_path / "store.zarr"
    shutil.copytree(rebuild.STORE, store)
    assert not rebuild.renew_flags(store), "python catalog/rebuild.py brings the embedded store up to date"
    before = open_catalog(store).view("properties")
    flagged, std = before["unlike_training"] == 1, before["bulk_modulus_std"]
    monkeypatch.setattr(applicability, "OPEN_SPACE", applicability.OPEN_SPACE - 0.1)
    assert rebuild.renew_flags(store)
    after = open_catalog(store).view("properties")
    now = after["unlike_training"] == 1
    assert (now >= flagged).all()
    assert flagged.sum() < now.sum() < 0.03 * len(now)
    out_of_fold = after["bulk_modulus_out_of_fold"] == 1
    kept = out_of_fold | ~now
    np.testing.assert_array_equal(after["bulk_modulus_std"][kept], std[kept])
    assert (after["bulk_modulus_std"] >= std).all()
    assert not rebuild.renew_flags(store)
