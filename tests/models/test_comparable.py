"""Predicted energies of one crystal at several volumes do not compare; those of polymorphs do."""

from __future__ import annotations

import numpy as np

from chgdb import Crystal
from chgdb.models.comparable import at_other_volumes, other_volumes, remark

_FACES = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]], float)
_PAIR = np.array([[0, 0, 0], [0.5, 0.5, 0.5]])


def _salt(edge: float) -> Crystal:
    return Crystal(edge / 2 * _FACES, _PAIR, np.array([11, 17]))


def _caesium_chloride_kind(edge: float) -> Crystal:
    return Crystal(edge * np.eye(3), _PAIR, np.array([11, 17]))


def test_one_crystal_at_several_volumes_is_a_group_by_volume() -> None:
    crystals = [_salt(5.7), _caesium_chloride_kind(3.4), _salt(5.5), _salt(5.9)]
    assert at_other_volumes(crystals) == [[2, 0, 3]]
    names = ["a", "b", "c"]
    found = remark(names, [crystals[i] for i in (2, 0, 3)])
    assert "\n" not in found
    assert found.startswith("a, b, c: NaCl at 20.8 to 25.67 Å^3 per atom")
    assert "do not compare" in found


def test_cells_of_one_symmetry_are_the_same_where_they_differ_a_little() -> None:
    """The layers of rutile with another ratio of axes, and another place of the oxygen atoms."""

    def rutile(a: float, c: float, u: float) -> Crystal:
        oxygen = [[u, u, 0], [-u, -u, 0], [0.5 + u, 0.5 - u, 0.5], [0.5 - u, 0.5 + u, 0.5]]
        return Crystal(np.diag([a, a, c]), np.array([*_PAIR.tolist(), *oxygen]), np.array([22, 22, 8, 8, 8, 8]))

    assert at_other_volumes([rutile(4.6, 2.96, 0.305), rutile(4.7, 2.98, 0.303)]) == [[0, 1]]
    assert at_other_volumes([rutile(4.6, 2.96, 0.305), rutile(4.2, 4.3, 0.25)]) == []


def test_a_supercell_is_the_same_crystal_at_the_same_volume() -> None:
    small = _salt(5.7)
    large = Crystal(
        np.diag([2, 1, 1]) @ small.cell,
        np.concatenate([small.positions, small.positions + np.array([1, 0, 0])]) / [2, 1, 1],
        np.tile(small.numbers, 2),
    )
    assert at_other_volumes([small, large]) == []
    assert at_other_volumes([_salt(5.5), large]) == [[0, 1]]
    three = [small, large, _salt(5.5)]
    (group,) = at_other_volumes(three)
    assert other_volumes(three, group) == {0: [2], 1: [2], 2: [0, 1]}


def test_other_formulas_and_a_single_structure_are_no_group() -> None:
    potassium = Crystal(3.1 * _FACES, _PAIR, np.array([19, 17]))
    assert at_other_volumes([_salt(5.7), potassium]) == []
    assert at_other_volumes([]) == []


def test_many_names_are_not_all_listed() -> None:
    crystals = [_salt(5.5 + 0.1 * i) for i in range(5)]
    assert "c0, c1, c2 and 2 more: NaCl" in remark([f"c{i}" for i in range(5)], crystals)
