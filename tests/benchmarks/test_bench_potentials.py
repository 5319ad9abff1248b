"""The benchmark of universal potentials: its moduli against equations of state, and the materials that it draws."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import chgdb

pytest.importorskip("ase")
sys.path.insert(0, str(Path(__file__).resolve().parent))

import bench_potentials as bench


@pytest.mark.parametrize("symbol", ["Cu", "Al"])
def test_moduli_are_second_derivatives_of_the_energy(symbol: str):
    from ase.build import bulk
    from ase.units import GPa

    atoms = bulk(symbol)
    found = bench.elastic(atoms, bench.emt())
    atoms.calc = bench.emt()

    def energy(strain: np.ndarray) -> float:
        strained = at_rest.copy()
        strained.set_cell(at_rest.cell[:] @ (np.eye(3) + strain), scale_atoms=True)
        strained.calc = bench.emt()
        return float(strained.get_potential_energy())

    lengths = np.linspace(0.97, 1.03, 601)
    at_rest = atoms
    best = lengths[np.argmin([energy((s - 1) * np.eye(3)) for s in lengths])]
    at_rest = atoms.copy()
    at_rest.set_cell(atoms.cell[:] * best, scale_atoms=True)
    step, volume = 0.004, at_rest.get_volume()

    def curvature(strain: np.ndarray) -> float:
        return (energy(step * strain) - 2 * energy(0 * strain) + energy(-step * strain)) / (step**2 * volume) / GPa

    modulus = curvature(np.eye(3)) / 9
    tetragonal = curvature(np.diag([1.0, -1.0, 0.0])) / 2  # C11 - C12
    shear = curvature(np.array([[0, 0.5, 0], [0.5, 0, 0], [0, 0, 0]]))  # C44
    voigt = (tetragonal + 3 * shear) / 5
    reuss = 5 * tetragonal * shear / (4 * shear + 3 * tetragonal)
    assert found["bulk_modulus"] == pytest.approx(modulus, rel=0.02)
    assert found["shear_modulus"] == pytest.approx((voigt + reuss) / 2, rel=0.02)
    assert found["debye_temperature"] > 100


def test_drawn_materials_are_unseen_compounds_with_both_moduli():
    catalog = chgdb.open()
    ids = bench.materials(catalog, 70)
    assert len(set(ids)) == 70
    assert ids[:20] == bench.materials(catalog, 20)
    for material_id in ids:
        facts = catalog[material_id].metadata
        assert facts["paper_split"] == "test"
        assert np.isfinite(facts["bulk_modulus"])
        assert np.isfinite(facts["shear_modulus"])
        assert len(facts["elements"].split()) >= 2
        assert facts["n_atoms"] <= 8


def test_the_table_has_a_line_for_each_potential():
    errors = {target: {"r2": 0.9, "mae": 12.3} for target in bench.TARGETS}
    facts = {**errors, "materials": 69, "cpu_seconds": 4.2, "ours": {**errors, "cpu_seconds": 0.3}}
    assert "| chgnet | 69 | 0.900, 12.3 | 0.900, 12.3 |" in bench.table({"chgnet": facts})
