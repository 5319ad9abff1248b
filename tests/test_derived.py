"""What follows from moduli: known solids, errors carried through, views."""

from __future__ import annotations

import numpy as np
import pytest

import chgdb
from chgdb.derived import DERIVED, OF_MODULI, debye_temperature, derive, mean_mass, sound_velocities
from chgdb.elements import ATOMIC_MASS, SYMBOLS, formula_numbers
from chgdb.errors import StoreError
from chgdb.features import composition


def of(bulk: float, shear: float, formula: str, volume: float, atoms: int, error: float = 0.0) -> dict[str, tuple]:
    moduli = [(np.array([x]), np.array([x * error])) for x in (bulk, shear)]
    mass = mean_mass(np.array(formula_numbers(formula)))
    return {
        name: (float(value[0]), float(std[0]))
        for name, (value, std) in derive(
            moduli[0], moduli[1], *(np.array([x]) for x in (mass, volume, float(atoms)))
        ).items()
    }


def test_diamond_and_rock_salt_are_as_measured() -> None:
    """Moduli and volumes of handbooks; what follows is known from experiments."""
    diamond, salt = of(443, 535, "C", 5.67, 2), of(25.0, 14.8, "NaCl", 22.4, 2)
    assert diamond["hardness"][0] == pytest.approx(96, rel=0.1)  # Chen et al., table 1: 95.7
    assert diamond["longitudinal_velocity"][0] == pytest.approx(18300, rel=0.03)
    assert diamond["poisson_ratio"][0] == pytest.approx(0.07, abs=0.01)
    assert salt["transverse_velocity"][0] == pytest.approx(2620, rel=0.03)
    assert 2 < salt["lattice_thermal_conductivity"][0] < 9  # measured: 6 to 7
    assert salt["lattice_thermal_conductivity"][0] < diamond["lattice_thermal_conductivity"][0] / 50
    assert salt["minimum_thermal_conductivity"][0] < 1 < diamond["minimum_thermal_conductivity"][0]


def test_velocities_give_the_debye_temperature() -> None:
    found = sound_velocities(np.array([99.2]), np.array([66.5]), np.array([2329.0]))
    assert debye_temperature(found[2], np.array([20.02]))[0] == pytest.approx(645, abs=6)  # silicon


@pytest.mark.parametrize("name", OF_MODULI)
def test_errors_are_those_of_a_sample(name: str) -> None:
    """First-order propagation against many draws of correlated moduli."""
    from chgdb.derived import ERROR_CORRELATION, Solid

    rng, error = np.random.default_rng(0), 0.03
    draws = rng.multivariate_normal(
        [0, 0], error**2 * np.array([[1, ERROR_CORRELATION], [ERROR_CORRELATION, 1]]), 40000
    )
    bulk, shear = 100 * np.exp(draws[:, 0]), 60 * np.exp(draws[:, 1])
    relation = DERIVED[name].value
    assert relation is not None
    sample = relation(Solid(bulk, shear, np.full(40000, 28.0), np.full(40000, 20.0), np.full(40000, 2.0)))
    assert of(100, 60, "Si", 20.0, 2, error)[name][1] == pytest.approx(sample.std(), rel=0.05)


def test_masses_are_those_of_the_features() -> None:
    table = composition.tables()["AtomicWeight"]
    for number in range(1, 95):
        assert ATOMIC_MASS[number] == pytest.approx(table[number], rel=1e-6), SYMBOLS[number]


def test_views_and_searches_know_what_follows() -> None:
    catalog = chgdb.open()
    view = catalog.view("properties")
    assert set(view.derived) == set(DERIVED)
    row = catalog.ids.index("mp-149")
    bulk, shear = (float(view[name][row]) for name in ("bulk_modulus", "shear_modulus"))
    assert view["pugh_ratio"][row] == pytest.approx(bulk / shear, rel=1e-5)
    assert view["pugh_ratio_std"][row] > 0
    assert "Chen" in view.attributes("hardness")["source"]
    assert "mp-66" in catalog.search(formula="C", predicted={"hardness": (50, None)})
    with pytest.raises(StoreError, match=r"there are .*hardness"):
        catalog.search(predicted={"colour": (1, None)})
