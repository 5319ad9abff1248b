"""Moduli and the Debye temperature."""

from __future__ import annotations

import numpy as np
import pytest

import chgdb
from chgdb.models import elasticity, rows


def test_debye_temperature_of_silicon() -> None:
    """K 98 GPa, G 66.6 GPa, 2.329 g/cm^3, 8 atoms in 160.2 Å^3: 645 K is in the tables."""
    theta = elasticity.debye_temperature(*(np.array([x]) for x in (98.0, 66.6, 2.329, 8 / 160.2)))
    assert theta[0] == pytest.approx(645, rel=0.01)


def test_debye_temperature_is_that_of_the_labels() -> None:
    catalog = chgdb.open()
    source = catalog.column("structure_source").astype(str)
    column = catalog.column("debye_temperature_from_moduli")
    chosen = np.flatnonzero(np.isfinite(column) & (source == "mp"))[::40]
    crystals = [catalog[catalog.ids[i]].crystal for i in chosen]
    theta = elasticity.debye_temperature(
        catalog.column("bulk_modulus")[chosen],
        catalog.column("shear_modulus")[chosen],
        rows.mass_density(crystals),
        np.array([len(crystal) / crystal.volume for crystal in crystals]),
    )
    np.testing.assert_allclose(theta, column[chosen], rtol=0.01)


def test_consistent_moduli_stay_as_they_are() -> None:
    bulk, shear = np.array([100.0, 250.0, 5.0]), np.array([60.0, 20.0, 4.0])
    logs = tuple(np.log(x) for x in (bulk, shear, elasticity.youngs_modulus(bulk, shear)))
    found = elasticity.reconcile(logs, (np.full(3, 0.1), np.full(3, 0.2), np.full(3, 0.2)))  # type: ignore[arg-type]
    for before, after in zip(logs, found, strict=True):
        np.testing.assert_allclose(after, before, atol=1e-12)


def test_reconciled_moduli_fulfil_the_relation_and_keep_what_is_certain() -> None:
    rng = np.random.default_rng(0)
    logs = tuple(np.log(x) + 0.3 * rng.normal(size=50) for x in (100.0, 50.0, 120.0))
    stds = (np.full(50, 1e-4), np.full(50, 0.2), np.full(50, 0.2))
    bulk, shear, young = (np.exp(x) for x in elasticity.reconcile(logs, stds))  # type: ignore[arg-type]
    np.testing.assert_allclose(young, 9 * bulk * shear / (3 * bulk + shear), rtol=1e-12)
    np.testing.assert_allclose(bulk, np.exp(logs[0]), rtol=1e-4)
    lower, upper = np.minimum(logs[1], logs[2] - np.log(3)), np.maximum(logs[1], logs[2])
    assert ((np.log(shear) > lower) & (np.log(shear) < upper)).all()
