"""Intervals: right in every group, and wider where errors are larger."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from chgdb import Crystal
from chgdb.models import groups
from chgdb.models.held_out import HeldOut
from chgdb.models.intervals import LEVELS, Intervals, to_std
from chgdb.models.methods import gaussian, nearest

SIZE = 2500


@pytest.fixture(scope="module")
def known() -> tuple[Any, HeldOut, np.ndarray]:
    """Errors that a column tells half of; of oxides twice as large, which no column says."""
    rng = np.random.default_rng(0)
    told = rng.normal(size=SIZE)
    member = np.zeros((SIZE, len(groups.NAMES)), bool)
    member[:, groups.NAMES.index("oxide")] = oxide = rng.random(SIZE) < 0.1
    member[:, groups.NAMES.index("cubic")] = rng.random(SIZE) < 0.4
    error = 0.1 * np.exp(0.5 * told) * np.where(oxide, 2, 1) * rng.standard_t(4, size=SIZE)
    truth = rng.normal(size=SIZE)
    formulas = tuple(f"H{i + 1}O" for i in range(SIZE))
    held = HeldOut(
        {str(i): i for i in range(SIZE)}, formulas, {"formation_energy": truth + error},
        {"formation_energy": np.ones(SIZE)}, {"formation_energy": truth},
    )  # fmt: skip
    table = {"formation_energy": np.column_stack([told, rng.normal(size=SIZE)])}
    return SimpleNamespace(surroundings=lambda *_: table), held, member


def test_shares_are_right_in_every_group(known: tuple[Any, HeldOut, np.ndarray], tmp_path: Path) -> None:
    learner, held, member = known
    found, halves = Intervals.fit(learner, held, member)
    error = np.abs(held.truth["formation_energy"] - held.mean["formation_energy"])
    half = halves["formation_energy"]
    oxide, cubic = (member[:, groups.NAMES.index(name)] for name in ("oxide", "cubic"))
    for part in (oxide, ~oxide, cubic, ~cubic):
        assert (error <= half[1])[part].mean() == pytest.approx(0.9, abs=0.03)
        assert (error <= half[0])[part].mean() == pytest.approx(0.5, abs=0.05)
    told = learner.surroundings()["formation_energy"][:, 0]
    assert np.corrcoef(np.log(half[1]), told)[0, 1] > 0.7
    assert to_std(half) == pytest.approx(half[LEVELS.index(0.9)] / 1.6448536)
    found.save(tmp_path)
    again = Intervals.load(tmp_path)
    assert again is not None
    assert again.quantiles["formation_energy"] == pytest.approx(found.quantiles["formation_energy"], abs=1e-4)
    assert Intervals.load(tmp_path / "nothing") is None


def test_a_label_takes_no_part_in_its_own_interval(known: tuple[Any, HeldOut, np.ndarray]) -> None:
    learner, held, member = known
    spoiled = {"formation_energy": held.truth["formation_energy"].copy()}
    spoiled["formation_energy"][7] += 50
    other = HeldOut(held.position, held.formulas, held.mean, held.std, spoiled)
    halves = [Intervals.fit(learner, one, member)[1]["formation_energy"][:, 7] for one in (held, other)]
    assert halves[0] == pytest.approx(halves[1], rel=0.02)  # of its fold no label has a part in it


def test_groups_of_crystals() -> None:
    salt = Crystal(np.eye(3) * 5.6, [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0], [0, 0.5, 0]], [11, 11, 17, 17])
    titanate = Crystal(
        np.eye(3) * 3.9, [[0, 0, 0], [0.5] * 3, [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]], [26, 22, 8, 8, 8]
    )
    found = [
        {n for n, one in zip(groups.NAMES, row, strict=True) if one} for row in groups.memberships([salt, titanate])
    ]
    assert found[1] == {"oxide", "cubic", "5 to 8 atoms", "Cr to Ni"}
    assert {"halide", "3 or 4 atoms"} < found[0]


def test_what_is_near_knows_nothing_of_the_own_formula() -> None:
    """A local process on a smooth function: near rows, small variance; the own label changes nothing."""
    rng = np.random.default_rng(1)
    table = rng.normal(size=(400, 6)).astype(np.float32)
    layout = gaussian.Layout((slice(0, 2), slice(2, 4), slice(4, 6)), (0, 1), (0, 1, 2), 0)
    theta = layout.starts()[0]
    space = nearest.Space.of(layout, theta, table, np.ones(6, bool))
    labels = np.sin(table[:, 0].astype(float)) + table[:, 1]
    keys = np.arange(400)
    found = nearest.local(space, space, labels, keys, keys)
    assert not (found.rows == keys[:, None]).any()
    assert np.corrcoef(found.mean, labels)[0, 1] > 0.9
    changed = labels.copy()
    changed[3] += 100
    again = nearest.local(space.take([3]), space, changed / changed.std() * labels.std(), keys[3:4], keys)
    assert 3 not in again.rows
    alike, value = nearest.nearest(space.take([5]), space, 3)
    assert alike[0, 0] == 5
    assert value[0, 0] == pytest.approx(1, abs=1e-4)


def test_the_stored_model_finds_what_is_alike() -> None:
    import chgdb

    found = chgdb.similar("mp-149", count=5)
    assert "Ge" in {one.formula for one in found} or "SiC" in {one.formula for one in found}
    assert [one.distance for one in found] == sorted(one.distance for one in found)
    assert "mp-149" not in {one.material_id for one in found}
    assert all(one.labels for one in found)
    assert [n.material_id for n in chgdb.open().similar("mp-149", 3)] == [n.material_id for n in found[:3]]


def test_a_known_crystal_at_another_volume_is_said_to_be_so() -> None:
    import chgdb

    crystal = chgdb.open()["mp-149"].crystal
    assert chgdb.predict(crystal).trained_as == "mp-149"
    for factor in (0.9, 1.1):
        strained = Crystal(crystal.cell * factor ** (1 / 3), crystal.positions, crystal.numbers)
        found = chgdb.predict(strained)
        assert any("mp-149, which is alike" in remark for remark in found.unlike_training), factor
        assert found.trained_as == ""
        assert found["formation_energy"].std > 0.5
