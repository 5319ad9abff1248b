"""Distances from the hull of known phases: by hand, against pymatgen, and in the catalog."""

from __future__ import annotations

import numpy as np
import pytest

import chgdb
from chgdb.elements import reduced_formula
from chgdb.errors import DensityError
from chgdb.hull import Hull, composition

#: With an electronegativity, without which pymatgen warns.
_ELEMENTS = np.array([z for z in range(3, 80) if z not in (10, 18)])


def test_mixtures_by_hand() -> None:
    hull = Hull(["NaCl", "NaCl", "Na2Cl", "NaCl3", "LiCl"], [-2.0, -1.9, -0.5, np.nan, -2.2])
    assert hull.energy("NaCl") == pytest.approx(-2.0)
    assert hull.energy("Na2Cl") == pytest.approx(-2.0 * 2 / 3)
    assert hull.energy("NaCl3") == pytest.approx(-1.0)
    assert hull.energy("LiNaCl2") == pytest.approx(-2.1)
    assert hull.energy("LiNa") == 0
    assert hull.energy({3: 0.5, 17: 0.5}) == pytest.approx(-2.2)
    found = hull.distances(["NaCl", "Na2Cl", "NaCl3"], [-2.0, -0.5, np.nan])
    assert found[:2] == pytest.approx([0, 5 / 6])
    assert np.isnan(found[2])
    with pytest.raises(DensityError):
        hull.energy("no formula")
    assert composition("Ca(OH)2") == pytest.approx({1: 0.4, 8: 0.4, 20: 0.2})


def test_an_element_may_lie_below_its_reference() -> None:
    hull = Hull(["Si", "Si", "SiC"], [0.01, -0.03, -0.2])
    assert hull.energy("Si") == pytest.approx(-0.03)
    assert hull.energy("Si3C") == pytest.approx(0.5 * -0.2 + 0.5 * -0.03)


def test_no_mixture_does_better() -> None:
    """Random systems of three to five elements: pymatgen's convex hull says the same."""
    phases = pytest.importorskip("pymatgen.analysis.phase_diagram")
    core = pytest.importorskip("pymatgen.core")
    rng = np.random.default_rng(0)
    for size in (2, 3, 4, 5):
        elements = rng.choice(_ELEMENTS, size, replace=False)
        formulas = []
        for _ in range(40):
            counts = rng.integers(0, 4, size)
            formulas += [reduced_formula(np.repeat(elements, counts))] if (counts > 0).sum() > 1 else []
        energies = rng.normal(-0.4, 0.4, len(formulas))
        entries = [
            phases.PDEntry(core.Composition(f), e * core.Composition(f).num_atoms)
            for f, e in zip(formulas, energies, strict=True)
        ]
        entries += [phases.PDEntry(core.Composition(reduced_formula([z])), 0.0) for z in elements.tolist()]
        diagram, hull = phases.PhaseDiagram(entries), Hull(formulas, energies)
        expected = [diagram.get_e_above_hull(entry) for entry in entries[: len(formulas)]]
        assert hull.distances(formulas, energies) == pytest.approx(expected, abs=1e-6)


def test_the_catalog_knows_distances() -> None:
    catalog = chgdb.open()
    formulas, own = catalog.column("formula").tolist(), catalog.column("formation_energy_dft")
    stored = catalog.column("hull_distance").astype(float)
    assert (np.isnan(stored) == np.isnan(own)).all()
    assert np.nanmin(stored) > -1e-4
    rows = np.flatnonzero(np.isfinite(own))[::97]
    hull = Hull(formulas, own)
    again = hull.distances([formulas[r] for r in rows], own[rows])
    assert stored[rows] == pytest.approx(again, abs=2e-4)  # both rounded to four digits
    assert len(catalog.search(where={"hull_distance": (None, 0.0001)})) > 0.5 * len(catalog)
    carbon = [catalog[i].metadata["hull_distance"] for i in catalog.search(formula="C")]
    assert len(set(carbon)) > 1


def test_predictions_know_distances() -> None:
    catalog = chgdb.open()
    view, row = catalog.view("properties"), catalog.ids.index("mp-22862")  # NaCl
    hull = catalog.column("formation_energy_dft")[row] - catalog.column("hull_distance")[row]
    assert view["hull_distance"][row] == pytest.approx(view["formation_energy"][row] - hull, abs=1e-3)
    assert view["hull_distance_std"][row] == pytest.approx(view["formation_energy_std"][row])
    assert "hull_distance" in view.derived
    assert "formation" in view.attributes("hull_distance")["source"]
    near = catalog.search(elements="Na Cl", predicted={"hull_distance": (None, 0.1)})
    assert "mp-22862" in near
    found = chgdb.predict(catalog["mp-22862"])
    assert found.derived["hull_distance"].value == pytest.approx(found["formation_energy"].value - hull, abs=1e-3)
    assert found.derived["hull_distance"].std == found["formation_energy"].std
