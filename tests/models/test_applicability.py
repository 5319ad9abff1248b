"""What is noticed of an input that no training material is like."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import chgdb
from chgdb import Crystal, Density, views
from chgdb.errors import DensityError
from chgdb.models.applicability import DESCRIPTORS, ApplicabilityDomain, check_units, descriptors


@pytest.fixture(scope="module")
def domain() -> ApplicabilityDomain:
    """That of the model that is served."""
    return views.load_model().domain


def test_descriptors_of_a_known_density() -> None:
    crystal = Crystal(np.diag([4.0, 4.0, 8.0]), [[0, 0, 0], [0.5, 0.5, 0.5]], [11, 17])
    values = np.full((8, 8, 16), 0.0625)
    values[:4] += 0.05
    values[0, 0, 0] = -0.001
    found = dict(zip(DESCRIPTORS, descriptors(Density(crystal, {"total": values})), strict=True))
    assert found["volume_per_atom"] == pytest.approx(64)
    assert found["electrons_per_atom"] == pytest.approx(values.mean() * 64)
    assert found["peak"] == pytest.approx(0.1125)
    assert found["vacuum"] == pytest.approx(1 / 1024)
    assert found["sharpness"] == 0  # points 0.5 Å apart hold nothing finer than 1 Å


def test_descriptors_do_not_see_the_choice_of_cell() -> None:
    density = chgdb.open()["mp-149"].density
    crystal = density.crystal
    positions = np.concatenate([crystal.positions, np.add(crystal.positions, [0, 0, 1])]) / [1, 1, 2]
    double = Crystal(crystal.cell * [[1], [1], [2]], positions, np.tile(crystal.numbers, 2))
    larger = Density(double, {"total": np.concatenate([density.total] * 2, axis=2)})
    np.testing.assert_allclose(descriptors(larger), descriptors(density), rtol=1e-9, atol=1e-12)


def test_materials_of_the_catalog_have_possible_electron_counts() -> None:
    catalog = chgdb.open()
    for material_id in catalog.ids[::60]:
        check_units(catalog[material_id].density)


def test_other_units_are_refused() -> None:
    density = chgdb.open()["mp-22862"].density  # NaCl
    for factor in (0.529177**3, 0.529177**-3, density.crystal.volume, 1 / density.crystal.volume, 0.0, -1.0):
        with pytest.raises(DensityError, match="is it in e/Å"):
            check_units(Density(density.crystal, {"total": density.total * factor}))


def test_no_structure_is_refused() -> None:
    density = Density(Crystal(np.eye(3) * 3, np.zeros((0, 3)), []), {"total": np.ones((4, 4, 4))})
    for function in (check_units, descriptors):
        with pytest.raises(DensityError, match="holds no atoms"):
            function(density)


def test_files_of_vasp(domain: ApplicabilityDomain, shared: Path) -> None:
    """Pseudo-densities of another code are answered; all-electron ones are noticed."""
    for path in sorted((shared / "vasp").glob("*.gz")):
        density = chgdb.read(path)
        remarks = " ".join(domain.remarks(density.crystal, descriptors(density)))
        assert ("all-electron" in remarks) == ("AECCAR" in path.name), (path.name, remarks)


def test_a_spin_density_alone_is_refused(shared: Path) -> None:
    density = chgdb.read(shared / "vasp" / "Al_spin.CHGCAR.gz")
    with pytest.raises(DensityError, match="rather than a spin density"):
        check_units(Density(density.crystal, {"total": density.channels["magnetization"]}))


def test_elements_boxes_and_cells_that_were_never_seen(domain: ApplicabilityDomain) -> None:
    density = chgdb.open()["mp-149"].density
    crystal = density.crystal
    assert domain.remarks(crystal, descriptors(density)) == []
    polonium = Crystal(crystal.cell, crystal.positions, [84, 84])
    assert domain.remarks(polonium, descriptors(density))[0].startswith("Po: no training material has this element")
    box = np.zeros((60, 60, 60))
    box[20:40, 20:40, 20:40] = 1e-3 * 8 / 8e-3
    alone = Density(Crystal(np.eye(3) * 20, [[0.5, 0.5, 0.5]], [8]), {"total": box})
    remarks = domain.remarks(alone.crystal, descriptors(alone))
    assert any("molecule" in remark for remark in remarks)


def test_a_domain_is_the_same_read_back(domain: ApplicabilityDomain) -> None:
    assert ApplicabilityDomain.from_json(domain.to_json()) == domain


def test_slabs_layers_and_molecules_are_noticed_and_layered_crystals_are_not() -> None:
    from chgdb.models.applicability import OPEN_SPACE, open_space

    catalog = chgdb.open()
    aluminium = catalog["mp-134"].crystal if "mp-134" in catalog else catalog["mp-30"].crystal
    a = 4.05
    places = np.array([[0, 0, k * a / 2] for k in range(4)]) + np.array([[0, 0, 0], [a / 2, 0, 0]] * 2)
    for vacuum in (4.0, 10.0):
        cell = np.diag([a, a, 3 * a / 2 + vacuum + a / 2])
        slab = Crystal(cell, places @ np.linalg.inv(cell), [13] * 4)
        assert open_space(slab) > OPEN_SPACE, vacuum
    methane = np.array([[0, 0, 0], [1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]]) * 0.63 / 6
    assert open_space(Crystal(np.eye(3) * 6, methane, [6, 1, 1, 1, 1])) > OPEN_SPACE
    graphene = Crystal(np.diag([2.46, 4.26, 8.0]), [[0, 0, 0], [0, 1 / 3, 0], [0.5, 0.5, 0], [0.5, 5 / 6, 0]], [6] * 4)
    assert open_space(graphene) > OPEN_SPACE
    spaces = [open_space(catalog[i].crystal) for i in catalog.ids[::40]]
    assert np.mean(np.array(spaces) > OPEN_SPACE) < 0.02
    assert open_space(aluminium) < 1
