"""Bands of the tight-binding model: couplings by the book, spectra known in closed form, what crystals are like."""

from __future__ import annotations

import numpy as np
import pytest

import chgdb
from chgdb import Crystal, features
from chgdb.elements import atomic_number
from chgdb.features import bands, bonds, tightbinding
from chgdb.features.composition import HEAVIEST, tables

HBAR2 = 7.6199  # eV Å^2


def near(crystal: Crystal) -> bonds.Neighbours:
    return bonds.neighbours(crystal)


def described(crystal: Crystal, strength: np.ndarray | None = None) -> dict[str, float]:
    pairs = near(crystal)
    values = bands.describe(pairs, tightbinding.by_radius(pairs) if strength is None else strength)
    return dict(zip(bands.BAND_NAMES, values.tolist(), strict=True))


def cubic(symbols: list[str], fractional: list[list[float]], edge: float, centred: bool = False) -> Crystal:
    cell = edge / 2 * (np.ones((3, 3)) - np.eye(3)) if centred else edge * np.eye(3)
    return Crystal(cell, np.array(fractional), np.array([atomic_number(s) for s in symbols]))


def test_couplings_are_those_of_slater_and_koster():
    direction = np.array([0.36, 0.48, 0.8])
    length, radius = 2.5, tables()["d_radius"][22]
    pairs = bonds.Neighbours(
        cubic(["Ti", "Ti"], [[0, 0, 0], [0.5, 0.5, 0.5]], 9.0), np.array([0]), np.array([1]),
        length * direction[None], np.array([length]), np.array([1.0]), np.array([1.0]),
    )  # fmt: skip
    found = tightbinding.couplings(pairs)[0]
    el, em, en = direction
    r3 = np.sqrt(3)
    v, vd, vdd = HBAR2 / length**2, HBAR2 * radius**1.5 / length**3.5, HBAR2 * radius**3 / length**5
    sigma, pi = -16.2 * vdd, 8.75 * vdd
    xy, yz, z2 = 4, 5, 8
    assert found[0, 0] == pytest.approx(-1.40 * v)
    assert found[0, 1] == pytest.approx(el * 1.84 * v)
    assert found[1, 0] == pytest.approx(-el * 1.84 * v)
    assert found[1, 1] == pytest.approx((el**2 * 3.24 - (1 - el**2) * 0.81) * v)
    assert found[1, 2] == pytest.approx(el * em * (3.24 + 0.81) * v)
    assert found[0, xy] == pytest.approx(r3 * el * em * -3.16 * vd)
    assert found[0, z2] == pytest.approx((en**2 - (el**2 + em**2) / 2) * -3.16 * vd)
    assert found[1, xy] == pytest.approx((r3 * el**2 * em * -2.95 + em * (1 - 2 * el**2) * 1.36) * vd)
    assert found[xy, 1] == pytest.approx(-found[1, xy])
    z_2 = el * (en**2 - (el**2 + em**2) / 2) * -2.95 - r3 * el * en**2 * 1.36
    assert found[1, z2] == pytest.approx(z_2 * vd)
    assert found[xy, xy] == pytest.approx(3 * el**2 * em**2 * sigma + (el**2 + em**2 - 4 * el**2 * em**2) * pi)
    assert found[xy, yz] == pytest.approx(3 * el * em**2 * en * sigma + el * en * (1 - 4 * em**2) * pi)
    expected = (en**2 - (el**2 + em**2) / 2) ** 2 * sigma + 3 * en**2 * (el**2 + em**2) * pi
    assert found[z2, z2] == pytest.approx(expected)


def test_a_hydrogen_molecule():
    length = 0.75
    molecule = Crystal(12 * np.eye(3), np.array([[0, 0, 0], [length / 12, 0, 0]]), np.array([1, 1]))
    pairs = near(molecule)
    found = described(molecule, np.ones(len(pairs.lengths)))
    splitting = 2 * 1.40 * HBAR2 / length**2
    assert np.sinh(found["gap"]) == pytest.approx(splitting, rel=1e-9)
    assert np.sinh(found["direct_gap"]) == pytest.approx(splitting, rel=1e-9)
    assert found["bond_per_atom"] == pytest.approx(-splitting / 2, rel=1e-6)
    assert found["promotion_per_atom"] == pytest.approx(0, abs=1e-6)
    assert found["charge_max"] == pytest.approx(0, abs=1e-9)
    assert found["s_share"] == pytest.approx(1)


def test_a_simple_cubic_band_of_s_orbitals():
    """Half filled it is symmetric about the level of the atom, twelve couplings wide, and has no gap."""
    edge = 1.6
    crystal = cubic(["H"], [[0, 0, 0]], edge)
    pairs = near(crystal)
    found = described(crystal, (pairs.lengths < edge + 0.1).astype(float))
    level = tables()["s_level"][1]
    assert found["fermi_level"] == pytest.approx(level, abs=1e-6)
    assert found["depth"] == pytest.approx(6 * 1.40 * HBAR2 / edge**2, rel=1e-6)
    assert found["height"] == pytest.approx(found["depth"], rel=1e-6)
    assert found["gap"] == found["direct_gap"] == 0
    assert found["filling"] == 0.5


def test_salts_have_gaps_and_charges_and_metals_have_not():
    salt = described(cubic(["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]], 5.69, centred=True))
    metal = described(cubic(["Al"], [[0, 0, 0]], 4.04, centred=True))
    diamond = described(cubic(["C", "C"], [[0, 0, 0], [0.25, 0.25, 0.25]], 3.57, centred=True))
    silicon = described(cubic(["Si", "Si"], [[0, 0, 0], [0.25, 0.25, 0.25]], 5.46, centred=True))
    assert metal["gap"] == pytest.approx(0, abs=1e-9)
    assert metal["log_states_0.25"] > salt["log_states_0.25"] + 2
    assert np.sinh(salt["gap"]) > 1
    assert salt["charge_max"] > 0.1
    assert diamond["gap"] > silicon["gap"] > 0
    assert diamond["log_bond_per_volume"] > silicon["log_bond_per_volume"] > salt["log_bond_per_volume"]
    for found in (metal, diamond, silicon):
        assert found["charge_mean"] == pytest.approx(0, abs=1e-9)


def test_contacts_of_large_ions_count_by_radius_only():
    """In KF the potassium ions are in contact by their radii, but fluorine is nearer to each."""
    pairs = near(cubic(["K", "F"], [[0, 0, 0], [0.5, 0.5, 0.5]], 5.42, centred=True))
    between = (pairs.crystal.numbers[pairs.first] == 19) & (pairs.crystal.numbers[pairs.second] == 19)
    contact = between & (pairs.lengths < 4)
    assert contact.sum() == 12
    assert tightbinding.by_radius(pairs)[contact].min() > 0.9
    assert tightbinding.by_distance(pairs)[contact].max() < 0.02


def test_points_of_the_mesh_do_not_depend_on_the_basis():
    k, weights = tightbinding.mesh(40.0, 1500.0)
    assert weights.sum() == pytest.approx(1)
    n = round(len(np.unique(np.concatenate([k, -k]) % 1.0, axis=0)) ** (1 / 3))
    assert n > 2
    whole = np.rint(n * np.concatenate([k, -k])).astype(int)
    turn = np.array([[1, 0, 0], [1, 1, 0], [-2, 1, 1]])
    points, turned = ({tuple(point) for point in (rows % n).tolist()} for rows in (whole, whole @ turn))
    assert points == turned
    assert len(points) == n**3


def test_atoms_without_neighbours_and_heavy_elements():
    lonely = described(cubic(["Ne"], [[0, 0, 0]], 9.0))
    assert all(np.isfinite(list(lonely.values())))
    assert lonely["bond_per_atom"] == pytest.approx(0, abs=1e-9)
    for z in range(1, HEAVIEST + 1):
        crystal = Crystal(4 * np.eye(3), np.array([[0, 0, 0], [0.5, 0.5, 0.5]]), np.array([z, 8]))
        assert all(np.isfinite(list(described(crystal).values())))


def test_names_go_with_the_features_of_structures():
    crystal = chgdb.open()["mp-149"].crystal
    values = dict(zip(features.STRUCTURE_NAMES, features.structure(crystal).tolist(), strict=True))
    assert {f"{kind}.{name}" for kind in ("bands", "nearest") for name in bands.BAND_NAMES} <= set(values)
    assert 1 < np.sinh(values["bands.gap"]) < 6
    assert values["bands.filling"] == 0.5
