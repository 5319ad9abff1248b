"""Formulas in the order of the field, from those by electronegativity."""

from __future__ import annotations

import pytest

import chgdb
from chgdb.elements import canonical_formula
from chgdb.formulas import common_formula

#: As papers and minerals' names have them.
KNOWN = """
PbTiO3 BaTiO3 SrTiO3 LiNbO3 BiFeO3 LaMnO3 LaAlO3 FeTiO3 MgAl2O4 ZnFe2O4 CoFe2O4 NiTiO3 ZrSiO4 BiVO4 CuFeS2 CuInS2
Cu2ZnSnS4 LiFePO4 LiCoO2 KH2PO4 NaHCO3 CaCO3 KNO3 Na2SO4 KClO3 NaIO3 BiOCl LaOF PbFCl LiOH Ca(OH)2 Al(OH)3 NaCl GaAs
SiO2 TiO2 H2O HCl CH4 NH3 C2H6O CO2 SiC BN LiH CaF2 CsPbBr3 CsPbI3 MgSiO3 CaSO4 H2SO4 HNO3 SF6 MoS2 Bi2Te3 NbOCl3
""".split()


@pytest.mark.parametrize("formula", KNOWN)
def test_known_compounds(formula: str) -> None:
    stored = canonical_formula(formula)
    assert common_formula(stored) == formula
    assert canonical_formula(common_formula(stored)) == stored


@pytest.mark.parametrize("text", ["TiAl", "Mg17Al12", "Ni3Al", "Xx2", "not a formula", "O2H2O", "Ne"])
def test_alloys_and_what_is_no_formula_stay(text: str) -> None:
    assert common_formula(text) == text


def test_nothing_of_a_formula_of_the_catalog_is_lost() -> None:
    for formula in set(chgdb.open().column("formula")):
        assert canonical_formula(common_formula(formula)) == formula
