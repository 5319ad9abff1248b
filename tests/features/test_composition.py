"""MAGPIE and the other features of the composition."""

from __future__ import annotations

import numpy as np
import pytest

from chgdb import Crystal, features
from chgdb.elements import SYMBOLS
from chgdb.errors import DensityError
from chgdb.features import composition

#: Compositions of every kind: elements, ties of the mode, rare earths, actinides, many elements.
COMPOSITIONS = [
    [14],
    [1],
    [11, 17],
    [3, 27, 8, 8],
    [94, 52, 52],
    [26, 26, 26, 8, 8, 8, 8],
    [57, 28, 28, 28, 28, 28, 1, 1, 1, 1, 1, 1],
    [22, 23, 24, 41, 73, 74],
    [54, 9, 9, 55],
    [103, 8],
]


@pytest.mark.filterwarnings("ignore:.*MagpieData:UserWarning")  # matminer 0.9.3 says what later ones do
@pytest.mark.parametrize("numbers", COMPOSITIONS, ids=lambda numbers: "".join(SYMBOLS[z] for z in numbers))
def test_magpie_equals_matminers(numbers):
    featurizers = pytest.importorskip("matminer.featurizers.composition", reason="needs matminer to compare with")
    from pymatgen.core import Composition

    theirs = featurizers.ElementProperty.from_preset("magpie")
    assert tuple(theirs.feature_labels()) == features.MAGPIE_NAMES
    amounts: dict[str, int] = {}
    for z in numbers:
        amounts[SYMBOLS[z]] = amounts.get(SYMBOLS[z], 0) + 1
    expected = theirs.featurize(Composition(amounts))
    np.testing.assert_allclose(features.magpie(numbers), expected, rtol=1e-12, atol=1e-12)


def test_magpie_of_silica_by_hand():
    values = dict(zip(features.MAGPIE_NAMES, features.magpie([14, 8, 8]), strict=True))
    assert len(values) == 132
    assert values["MagpieData minimum Number"] == 8
    assert values["MagpieData maximum Number"] == 14
    assert values["MagpieData range Number"] == 6
    assert values["MagpieData mean Number"] == pytest.approx(10)
    assert values["MagpieData avg_dev Number"] == pytest.approx((4 + 2 * 2) / 3)
    assert values["MagpieData mode Number"] == 8
    assert values["MagpieData mean Electronegativity"] == pytest.approx((1.90 + 2 * 3.44) / 3)


def test_the_mode_of_a_tie_is_the_smallest_value():
    values = dict(zip(features.MAGPIE_NAMES, features.magpie([17, 11]), strict=True))
    assert values["MagpieData mode Number"] == 11
    assert values["MagpieData mode Electronegativity"] == pytest.approx(0.93)


def test_amounts_not_the_cell_count():
    once, thrice = [3, 27, 8, 8], [3, 27, 8, 8] * 3
    for function in (features.magpie, composition.elemental, composition.fractions):
        np.testing.assert_allclose(function(once), function(thrice), rtol=1e-13)
    crystal = Crystal(np.eye(3) * 4, np.arange(12).reshape(4, 3) / 13, once)
    np.testing.assert_array_equal(features.magpie(crystal), features.magpie(once))


def test_every_element_has_values():
    for z in range(1, 104):
        assert np.isfinite(features.magpie([z, 8])).all()
        assert np.isfinite(composition.elemental([z, 8])).all()
        assert composition.fractions([z, 8]).sum() == pytest.approx(1)


def test_names_go_with_values():
    assert len(composition.elemental([14])) == len(composition.ELEMENTAL_NAMES)
    assert len(composition.fractions([14])) == len(composition.FRACTION_NAMES)


@pytest.mark.parametrize("numbers", [[], [0, 8]])
def test_no_composition_is_an_error(numbers):
    with pytest.raises(DensityError, match="atom"):
        features.magpie(numbers)
