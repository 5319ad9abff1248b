"""Atoms of other potentials: valence electrons from counts, form factors from a few densities."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import chgdb
from chgdb import ChgdbError, Crystal, Density
from chgdb.densities.atoms import fit_atoms, unsettled
from chgdb.densities.atoms import valence as of_cells
from chgdb.densities.guess import guess
from chgdb.promolecule import Prior


def valence(model, densities: list[Density]) -> dict[int, float]:
    return of_cells(model, [d.crystal for d in densities], [d.n_electrons for d in densities])


def flat(crystal: Crystal, electrons: float) -> Density:
    return Density(crystal, {"total": np.full((4, 4, 4), electrons / crystal.volume)})


def cell(*numbers: int) -> Crystal:
    rng = np.random.default_rng(len(numbers))
    return Crystal(np.eye(3) * 6, rng.random((len(numbers), 3)), list(numbers))


@pytest.mark.parametrize(
    ("densities", "expected"),
    [
        ([((11, 17), 8)], {11: 1, 17: 7}),
        ([((11, 17), 14)], {11: 7, 17: 7}),
        ([((12, 8), 8)], {12: 2, 8: 6}),
        ([((31, 33), 8)], {31: 3, 33: 5}),
        ([((31, 33), 18)], {31: 13, 33: 5}),
        ([((22, 8, 8), 16)], {22: 4, 8: 6}),
        ([((3,), 1), ((3, 3, 8), 8)], {3: 1, 8: 6}),
    ],
)
def test_valence_electrons_are_found(model, densities, expected):
    found = valence(model, [flat(cell(*numbers), count) for numbers, count in densities])
    assert found == expected


def test_valence_electrons_of_many_elements_at_once(model):
    """More choices than could be tried one by one; each density decides for its own elements."""
    metals = [3, 11, 19, 37, 12, 20, 38, 22, 23, 40, 41, 42, 73, 74, 31, 49, 13, 30]
    outer = [1, 1, 1, 1, 2, 2, 2, 4, 5, 4, 5, 6, 5, 6, 3, 3, 3, 12]
    densities = [flat(cell(z, 8), n + 6) for z, n in zip(metals, outer, strict=True)]
    densities += [
        flat(cell(a, b, 16), m + n + 6) for a, b, m, n in zip(metals, metals[1:], outer, outer[1:], strict=False)
    ]
    found = valence(model, densities)
    assert found == {8: 6, 16: 6, **dict(zip(metals, outer, strict=True))}


def test_several_potentials_of_one_element_are_refused(model):
    with pytest.raises(ChgdbError, match="several potentials"):
        valence(model, [flat(cell(3), 1), flat(cell(3, 1), 4)])
    with pytest.raises(ChgdbError, match="several potentials"):
        valence(model, [flat(cell(14), 4), flat(cell(14, 14), 12)])


def test_what_counts_leave_open_is_said():
    assert unsettled([flat(cell(11, 17), 8)]) == ["Na", "Cl"]
    assert unsettled([flat(cell(11, 17), 8), flat(cell(11), 1)]) == []
    assert unsettled([flat(cell(11, 17), 8), flat(cell(14), 4)]) == ["Na", "Cl"]


def test_no_density_is_refused(model):
    with pytest.raises(ChgdbError, match="at least one density"):
        fit_atoms(model, [])


def test_form_factors_of_another_potential_are_found(model, skewed, rutile):
    """Densities of the model with other atoms: its own differences, so fitted atoms must give them back."""
    numbers = model.prior.numbers
    softer = model.prior.coefficients * np.exp(-0.3 * np.arange(model.prior.coefficients.shape[1]) / 8)
    other = replace(model, prior=Prior(numbers, softer.astype(np.float32)))
    pressed = Crystal(rutile.cell * [[0.97], [0.97], [1.02]], rutile.positions, rutile.numbers)
    grid = (48, 48, 36)
    made = [Density(crystal, {"total": guess(other, crystal, grid).total}) for crystal in (rutile, pressed)]
    prior, electrons = fit_atoms(model, made)
    own = model.with_atoms(prior, electrons)
    turned = Crystal(rutile.cell * 1.01, rutile.positions, rutile.numbers)  # not among those fitted
    expected = guess(other, turned, grid).total
    before, after = (np.abs(guess(m, turned, grid).total - expected).sum() for m in (model, own))
    assert before > 0.02 * np.abs(expected).sum()
    assert after < 0.05 * before
    with pytest.raises(ChgdbError, match="none of the densities that the atoms were fitted to has Na, Si, Cl: add one"):
        guess(own, skewed, grid)


def test_vasp(model, shared: Path):
    fitted = chgdb.read(shared / "vasp" / "Si8_strained_spin.CHGCAR.gz")
    tried = chgdb.read(shared / "vasp" / "Si2_spin.CHGCAR.gz")
    own = model.with_atoms(*fit_atoms(model, [fitted]))
    guessed = guess(own, tried.crystal, tried.grid).total
    assert guessed.mean() * tried.crystal.volume == pytest.approx(8, abs=1e-9)
    assert np.abs(guessed - tried.total).sum() < 0.015 * np.abs(tried.total).sum()
