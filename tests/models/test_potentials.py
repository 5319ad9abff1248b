"""What the served model makes of densities whose potentials take other electrons for valence electrons."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import chgdb
from chgdb.models import SERVED
from chgdb.models.ensemble import Ensemble
from chgdb.models.evaluation import NINETY_PERCENT
from chgdb.models.rows import from_densities
from chgdb.views import load_model
from chgdb_catalog import batches, potentials


@pytest.fixture(scope="module")
def model() -> Ensemble:
    return load_model("invariant")


def test_the_densities_are_of_other_potentials_and_whole() -> None:
    catalog = chgdb.open()
    records = batches.index(potentials.FOLDER)
    for material_id, density in potentials.load().items():
        usual, record = catalog[material_id], records[material_id]
        assert density.n_electrons == pytest.approx(record["n_electrons"], rel=1e-5)
        assert round(density.n_electrons) != round(usual.density.n_electrons)
        assert np.array_equal(density.crystal.numbers, usual.crystal.numbers)
        assert set(record["potentials"]) == set(record["symbols"]) & set(potentials.OTHER)
    assert {e for record in records.values() for e in record["potentials"]} == set(potentials.OTHER)


def test_a_queue_asks_for_other_potentials_of_crystals_with_labels() -> None:
    catalog = chgdb.open()
    found = potentials.queue(catalog)
    assert len({r["material_id"] for r in found}) == len(found)
    labelled = dict(zip(catalog.ids, catalog.column("formation_energy"), strict=True))
    for record in found:
        assert np.isfinite(labelled[record["material_id"]])
        assert record["potentials"] == {e: n for e, n in potentials.OTHER.items() if e in record["symbols"]}


def test_with_other_potentials_as_many_labels_are_within_the_intervals(model: Ensemble) -> None:
    catalog, others = chgdb.open(), potentials.load()
    rows = [list(catalog.ids).index(material_id) for material_id in others]
    found = model.predict(from_densities(list(others), list(others.values()), model.inputs))
    for name in SERVED:
        error = np.abs(found.mean[name] - catalog.column(name)[rows])
        known = np.isfinite(error)
        assert (error < NINETY_PERCENT * found.std[name])[known].mean() >= 0.9, name


@pytest.mark.parametrize(
    ("file", "material_id"),
    [("NaCl.CHGCAR.gz", "mp-22862"), ("LiH_spin.CHGCAR.gz", "mp-23703"), ("Al_spin.CHGCAR.gz", "mp-134"),
     ("Li_spin.CHGCAR.gz", "mp-135"), ("GaAs_noncollinear.CHGCAR.gz", "mp-2534")],
)  # fmt: skip
def test_densities_of_vasp_have_the_labels_of_their_crystals(
    shared: Path, model: Ensemble, file: str, material_id: str
) -> None:
    catalog = chgdb.open()
    at = list(catalog.ids).index(material_id)
    found = model.predict(from_densities([file], [chgdb.read(shared / "vasp" / file)], model.inputs))
    for name in ("formation_energy", "bulk_modulus"):
        error = abs(found.mean[name][0] - catalog.column(name)[at])
        assert error < NINETY_PERCENT * found.std[name][0], name
