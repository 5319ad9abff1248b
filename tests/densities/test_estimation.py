"""`chgdb.estimate`: what it takes, what it refuses, and what it says of a structure unlike the training set."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import chgdb
from chgdb import ChgdbError, Crystal, Density, estimate
from chgdb import estimation as module
from chgdb.densities.applicability import DESCRIPTORS, ApplicabilityDomain
from chgdb.densities.guess import guess
from chgdb.errors import DensityError

SALT = Crystal(2.82 * (np.ones((3, 3)) - np.eye(3)), [[0, 0, 0], [0.5, 0.5, 0.5]], [11, 17])


def test_it_is_near_the_computed_density():
    for material_id in ("mp-149", "mp-22862", "mp-30"):
        density = chgdb.open()[material_id].density
        found = estimate(density.crystal, grid=density.grid)
        error = np.abs(found.density.total - density.total).sum() / density.total.sum()
        assert error < 0.02
        assert 0 < found.error < found.limit < 0.05
        assert found.remarks == ()


def test_every_kind_of_structure():
    expected = estimate(SALT, spacing=0.25).density
    record = chgdb.open()["mp-22862"]
    for same in (SALT, SALT.to_ase(), SALT.to_pymatgen(), Density(SALT, {"total": np.ones((2, 2, 2))})):
        found = estimate(same, spacing=0.25).density
        assert found.grid == expected.grid
        assert np.allclose(found.total, expected.total, atol=1e-7)
    assert estimate(record, spacing=0.3).density.crystal == record.crystal
    with pytest.raises(TypeError, match="a structure is a Crystal"):
        estimate("POSCAR")


def test_it_says_what_it_is(tmp_path):
    found = estimate(SALT, spacing=0.3)
    assert found.valence == {"Na": 7, "Cl": 7}
    assert "estimated by a model, not computed" in found.summary
    chgdb.write(tmp_path / "CHGCAR", found.density)
    comment, *_ = (tmp_path / "CHGCAR").read_text().splitlines()
    assert "ESTIMATED" in comment
    assert found.model in comment
    assert "valence Na 7 Cl 7" in comment
    assert len(comment) < 160
    assert np.allclose(chgdb.read(tmp_path / "CHGCAR").total, found.density.total, atol=1e-8)


@pytest.mark.parametrize(
    ("structure", "words"),
    [
        (Crystal(np.eye(3) * 4, np.zeros((0, 3)), []), "no atoms"),
        (Crystal(np.eye(3) * 4, [[0, 0, 0], [0.5, 0.5, 0.5]], [11, 92]), "knows no U"),
        (Crystal(np.eye(3) * 4, [[0, 0, 0]], [0]), "knows no X"),
        (Crystal(np.eye(3) * 4, [[0, 0, 0], [0.01, 0, 0]], [11, 17]), "atoms 1 (Na) and 2 (Cl) are 0.04 Å apart"),
        (Crystal(np.eye(3) * 4, [[0, 0, 0], [1, 0, -2]], [11, 11]), "atoms 1 (Na) and 2 (Na) are 0 Å apart"),
        # Nearer than the neighbours of the graph, and across the edge of the cell.
        (Crystal(np.eye(3) * 4, [[1e-4, 0, 0], [0, 0, 0]], [11, 11]), "atoms 1 (Na) and 2 (Na) are 0.0004 Å apart"),
        (Crystal(np.eye(3) * 4, [[-5e-5, 0, 0], [5e-5, 0, 0]], [11, 17]), "atoms 1 (Na) and 2 (Cl) are 0.0004 Å apart"),
        # The first atom is equal to none of those that are too near.
        (Crystal(np.eye(3) * 6, [[0, 0, 0], [0.5, 0.5, 0.47], [0.5, 0.5, 0.53]], [11, 17, 17]), "atoms 2 (Cl) and 3"),
        # Not on top of each other, but the network overflows.
        (
            Crystal([[3, 0, 0], [2.9, 0.5, 0], [0, 0.3, 9]], [[0, 0, 0], [0.25, 0.25, 0.25]], [14, 14]),
            "(Si) and the same in the next cell are 0.51 Å apart: check the positions",
        ),
        (Crystal(np.eye(3) * 0.3, [[0, 0, 0]], [11]), "apart: one of them is there twice, or the cell"),
        # Graphs of these would take gigabytes.
        (Crystal(np.eye(3) * 0.3, np.random.default_rng(0).random((900, 3)), [11] * 900), "are less than 0.4 Å apart"),
        (Crystal(np.eye(3) * 0.01, [[0, 0, 0]], [11]), "are less than 0.4 Å apart"),
        (Crystal(np.diag([1e-6, 1e-3, 1e10]), [[0, 0, 0]], [11]), "is too thin"),
        (Crystal([[1, 0, 0], [1e9, 1e-8, 0], [0, 0, 1e9]], [[0, 0, 0]], [11]), "is too thin"),
    ],
)
def test_what_has_no_density(structure, words):
    with pytest.raises(DensityError) as caught:
        estimate(structure, grid=(8, 8, 8))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_partly_occupied_site():
    core = pytest.importorskip("pymatgen.core")
    alloy = core.Structure(np.eye(3) * 3.6, [{"Cu": 0.5, "Ni": 0.5}], [[0, 0, 0]])
    with pytest.raises(DensityError, match="partially occupied"):
        estimate(alloy)


@pytest.mark.parametrize(
    ("cell", "words"), [(None, "no cell"), ([[4, 0, 0], [0, 4, 0], [0, 0, 0]], "2 of three lattice vectors")]
)
def test_a_structure_without_three_lattice_vectors(cell, words):
    ase = pytest.importorskip("ase")
    with pytest.raises(ChgdbError, match=words):
        estimate(ase.Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.74]], cell=cell))


@pytest.mark.parametrize("grid", [(0, 4, 4), (4, -1, 4)])
def test_a_grid_that_is_none(grid):
    with pytest.raises(ChgdbError, match="are no grid"):
        estimate(SALT, grid=grid)


def test_grid_and_spacing_at_once():
    with pytest.raises(ChgdbError, match="either a grid or a spacing"):
        estimate(SALT, grid=(8, 8, 8), spacing=0.1)


def test_more_than_fits_into_memory(monkeypatch):
    monkeypatch.setattr(module, "_memory", lambda: 100_000_000)
    with pytest.raises(ChgdbError, match=r"a grid of 500 x 500 x 500 points needs about 7\.5 GB, 0\.1 GB are free"):
        estimate(SALT, grid=(500, 500, 500))


def shifted(crystal: Crystal, scale: float) -> Crystal:
    return Crystal(crystal.cell * scale, crystal.positions, crystal.numbers)


def test_pressure_and_expansion_are_unlike_the_training_set():
    assert estimate(SALT, spacing=0.3).remarks == ()
    assert any("under pressure" in remark for remark in estimate(shifted(SALT, 0.7), spacing=0.3).remarks)
    assert estimate(shifted(SALT, 1.6), spacing=0.3).remarks


def test_molecules_and_slabs_in_a_box_are_unlike_the_training_set():
    water = Crystal(np.eye(3) * 12.0, [[0.5, 0.5, 0.5], [0.58, 0.5, 0.5], [0.48, 0.577, 0.5]], [8, 1, 1])
    assert any("molecule or a slab" in remark for remark in estimate(water, spacing=0.4).remarks)
    a = 2.87
    slab = Crystal(np.diag([a, a, 22.0]), [[0, 0, 0.4], [0.5, 0.5, 0.4 + a / 44], [0, 0, 0.4 + a / 22]], [42, 42, 42])
    assert any("molecule or a slab" in remark for remark in estimate(slab, spacing=0.4).remarks)


def test_a_rare_element_is_unlike_the_training_set(model):
    values = np.ones((50, len(DESCRIPTORS)))
    few = ApplicabilityDomain.fit(values, [np.array([11, 17])] * 50 + [np.array([11, 83])] * 3)
    bismuth = Crystal(np.eye(3) * 4, [[0, 0, 0], [0.5, 0.5, 0.5]], [11, 83])
    assert few.remarks(bismuth, np.ones(len(DESCRIPTORS))) == (
        "Bi is in 3 of the materials that the model was trained on",
    )
    assert ApplicabilityDomain.from_dict(few.to_dict()) == few
    assert guess(model, SALT, (8, 8, 8)).remarks == ()


def test_it_needs_nothing_heavy():
    code = (
        "import sys, numpy as np, chgdb\n"
        "salt = chgdb.Crystal(2.82 * (np.ones((3, 3)) - np.eye(3)), [[0, 0, 0], [0.5, 0.5, 0.5]], [11, 17])\n"
        "chgdb.estimate(salt, spacing=0.5)\n"
        "heavy = {'torch', 'pymatgen', 'ase', 'matminer', 'scipy', 'sklearn', 'lightgbm', 'matplotlib', 'rich'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
