"""What stands in for unlikely inputs in the study of the applicability domain."""

from __future__ import annotations

import numpy as np
import pytest

import chgdb
from chgdb.density import Crystal
from chgdb.models.applicability import OPEN_SPACE, open_space
from chgdb_catalog.studies import domain


def _salt() -> Crystal:
    cell = 2.82 * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]], float)
    return Crystal(cell, [[0, 0, 0], [0.5, 0.5, 0.5]], [11, 17])


def test_cells_are_strained_by_volume() -> None:
    assert domain.strained(_salt(), 0.9).volume == pytest.approx(0.9 * _salt().volume)


def test_slabs_have_the_vacuum_that_is_said() -> None:
    crystal, slab = _salt(), domain.slab(_salt())
    assert len(slab) == 4
    area = np.linalg.norm(np.cross(*crystal.cell[:2]))
    assert slab.volume == pytest.approx(2 * crystal.volume + domain.VACUUM * area)
    first, second = (slab.positions @ slab.cell)[[0, 2]]
    assert second - first == pytest.approx(crystal.cell[2])
    assert open_space(slab) > open_space(crystal)


def test_boxes_hold_the_atoms_of_a_cell() -> None:
    box = domain.boxed(_salt())
    places = box.positions @ box.cell
    assert np.linalg.norm(places[1] - places[0]) == pytest.approx(np.linalg.norm(0.5 * _salt().cell.sum(axis=0)))
    assert open_space(box) > OPEN_SPACE


def test_materials_are_of_the_test_part() -> None:
    catalog = chgdb.open()
    ids = domain.sample(catalog, 5)
    assert len(set(ids)) == 5
    assert {catalog[i].metadata["split"] for i in ids} == {"test"}
