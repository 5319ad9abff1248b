"""Elastic response of the tight-binding model: against finite differences of its own energy, and by symmetry."""

from __future__ import annotations

import numpy as np
import pytest

from chgdb import Crystal
from chgdb.elements import atomic_number
from chgdb.features import bonds, response, tightbinding


def crystal(symbols: str, fractional: list[list[float]], cell: np.ndarray) -> Crystal:
    return Crystal(cell, np.array(fractional), np.array([atomic_number(s) for s in symbols.split()]))


def centred(edge: float) -> np.ndarray:
    return edge / 2 * (np.ones((3, 3)) - np.eye(3))


#: A semiconductor, a salt, a metal of one atom with d bands, and one with a free parameter and no inversion.
CRYSTALS = {
    "Si": crystal("Si Si", [[0, 0, 0], [0.25, 0.25, 0.25]], centred(5.43)),
    "NaCl": crystal("Na Cl", [[0, 0, 0], [0.5, 0.5, 0.5]], centred(5.64)),
    "Cu": crystal("Cu", [[0, 0, 0]], centred(3.61)),
    "WC": crystal(
        "W C", [[0, 0, 0], [1 / 3, 2 / 3, 0.46]], np.array([[2.9, 0, 0], [-1.45, 2.9 * np.sqrt(0.75), 0], [0, 0, 2.84]])
    ),
}


def described(given: Crystal) -> dict[str, float]:
    values = np.sinh(response.describe(bonds.neighbours(given))) * 20
    return dict(zip(response.RESPONSE_NAMES, values.tolist(), strict=True))


def free_energy(near: bonds.Neighbours, electrons: float | None = None) -> float:
    """Of the bands at the model's temperature, eV: energy less temperature times entropy, at a fixed electron count."""
    model = tightbinding.Model.of(near, tightbinding.by_radius(near), 600.0)
    f = np.clip(model.occupied, 1e-300, 1 - 1e-15)
    entropy = -(f * np.log(f) + (1 - f) * np.log1p(-f))
    return float(
        2 * ((model.occupied * model.energies - tightbinding.TEMPERATURE * entropy).sum(axis=1) @ model.weights)
    )


def strained(near: bonds.Neighbours, strain: np.ndarray, moved: np.ndarray) -> bonds.Neighbours:
    """The same pairs after a strain, atoms carried along, and displacements of the atoms in Å."""
    vectors = near.vectors @ (np.eye(3) + strain) + moved[near.second] - moved[near.first]
    lengths = np.linalg.norm(vectors, axis=1)
    cell = near.crystal.cell @ (np.eye(3) + strain)
    positions = near.crystal.positions + moved @ np.linalg.inv(cell)
    radii = near.lengths / near.scaled
    return bonds.Neighbours(
        Crystal(cell, positions, near.crystal.numbers), near.first, near.second, vectors, lengths, lengths / radii,
        near.weights,
    )  # fmt: skip


@pytest.mark.parametrize("name", list(CRYSTALS))
def test_second_derivatives_are_those_of_the_energy(name, monkeypatch):
    # The k-mesh must not change with the volume.
    monkeypatch.setattr(tightbinding, "mesh", lambda volume, points, real=tightbinding.mesh: real(40.0, points))
    near = bonds.neighbours(CRYSTALS[name])
    bands, _, tension = response.second_derivatives(near)
    atoms, step = len(near.crystal), 2e-3

    def energy(amounts: np.ndarray) -> float:
        strain = np.tensordot(amounts[:6], response._STRAINS, 1)
        moved = amounts[6:].reshape(-1, 3) if atoms > 1 else np.zeros((1, 3))
        return free_energy(strained(near, strain, moved))

    n = len(bands)
    assert n == (6 if atoms == 1 else 6 + 3 * atoms)
    units = np.eye(n) * step
    slope = [(energy(u) - energy(-u)) / (2 * step) for u in units[:6]]
    np.testing.assert_allclose(tension, slope, atol=2e-3)
    chosen = [(i, j) for i in range(n) for j in range(i, n)][:: max(1, n // 4)]
    for i, j in chosen:
        a, b = units[i], units[j]
        numeric = (energy(a + b) - energy(a - b) - energy(b - a) + energy(-a - b)) / (4 * step**2)
        assert bands[i, j] == pytest.approx(numeric, rel=2e-3, abs=2e-2), (i, j)
        assert bands[j, i] == pytest.approx(bands[i, j], abs=1e-6)


@pytest.mark.parametrize("name", list(CRYSTALS))
def test_moving_all_atoms_alike_costs_nothing(name):
    bands, repulsion, _ = response.second_derivatives(bonds.neighbours(CRYSTALS[name]))
    if len(bands) == 6:
        return
    for matrix in (bands, repulsion):
        shifted = matrix[:, 6:].reshape(len(matrix), -1, 3).sum(axis=1)
        np.testing.assert_allclose(shifted, 0, atol=1e-5)


def test_cubic_crystals_have_two_shear_moduli_and_isotropic_tension():
    for name in ("Si", "NaCl", "Cu"):
        bands, repulsion, tension = response.second_derivatives(bonds.neighbours(CRYSTALS[name]))
        stiffness = (bands + repulsion)[:6, :6]
        values = np.linalg.eigvalsh(stiffness[:5, :5])
        assert len(np.unique(np.round(values, 3))) <= 2
        np.testing.assert_allclose(stiffness[5, :5], 0, atol=1e-4)
        np.testing.assert_allclose(tension[:5], 0, atol=1e-4)


def test_the_repulsion_balances_the_bonds():
    """One pair of atoms far from all others: no force is left along the bond, and it is stiff."""
    pair = crystal("Si Si", [[0, 0, 0], [0.15, 0, 0]], 15.0 * np.eye(3))
    bands, repulsion, _ = response.second_derivatives(bonds.neighbours(pair))
    along = np.zeros(len(bands))
    along[6], along[9] = -0.5, 0.5
    assert along @ (bands + repulsion) @ along > 1.0


def test_moduli_are_of_the_right_size():
    silicon, salt, copper = (described(CRYSTALS[name]) for name in ("Si", "NaCl", "Cu"))
    assert 60 < silicon["relaxed_bulk"] < 200  # measured 98 GPa
    assert 30 < silicon["relaxed_shear"] < 120  # 66
    assert 10 < salt["relaxed_bulk"] < 80  # 24
    assert salt["relaxed_shear"] < silicon["relaxed_shear"]
    assert silicon["relaxed_shear"] < silicon["total_shear"]  # atoms that relax yield
    assert silicon["relaxed_bulk"] == pytest.approx(silicon["total_bulk"], rel=1e-4)  # by symmetry nothing moves
    assert copper["mode_lowest"] == copper["mode_fourth"] == 0  # one atom has no modes


def test_turned_and_shifted():
    given = CRYSTALS["WC"]
    q, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    turned = Crystal(given.cell @ q.T, given.positions + 0.31, given.numbers)
    first, second = (response.describe(bonds.neighbours(c)) for c in (given, turned))
    np.testing.assert_allclose(second, first, atol=5e-6)


def test_atoms_without_neighbours_do_not_respond():
    alone = crystal("Ar", [[0, 0, 0]], 9.0 * np.eye(3))
    values = response.describe(bonds.neighbours(alone))
    assert np.isfinite(values).all()
    np.testing.assert_allclose(values[:4], 0, atol=1e-9)


@pytest.mark.parametrize("name", ["Cu", "WC"])
def test_some_states_at_a_time_are_all_of_them(name, monkeypatch):
    near = bonds.neighbours(CRYSTALS[name])
    whole = response.second_derivatives(near)[0]
    monkeypatch.setattr(response, "_VALUES", 1)
    np.testing.assert_allclose(response.second_derivatives(near)[0], whole, atol=1e-10)
