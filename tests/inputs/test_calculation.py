"""What calculations say of themselves: files of Quantum ESPRESSO and ABINIT, POTCAR and vasprun.xml of our making."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

import chgdb
from chgdb import Crystal, Density
from chgdb.errors import FormatError
from chgdb.inputs.calculation import electrons_of, read_beside, said

DATA = Path(__file__).resolve().parents[1] / "data"
#: In the layout of VASP's POTCAR; the numbers that a potential would have are left out.
SECTION = """\
  PAW_PBE {element} 05Jan2001
   {zval:.14f}
 parameters from PSCTR are:
   VRHFIN =Si: s2p2
   LEXCH  = PE
   TITEL  = PAW_PBE {element} 05Jan2001
   POMASS =   28.085; ZVAL   =   {zval:.3f}    mass and valenz
 local part
   0.1234567E+02
 End of Dataset
"""
VASPRUN = """\
<?xml version="1.0" encoding="ISO-8859-1"?>
<modeling>
 <generator><i name="program" type="string">vasp </i><i name="version" type="string">6.4.2  </i></generator>
 <parameters><separator name="electronic" ><i name="ENMAX">    520.00000000</i><i name="NELECT">     {nelect}</i>
 <i type="string" name="GGA">PS</i></separator></parameters>
 <atominfo><array name="atomtypes" ><set>
   <rc><c>   1</c><c>Si</c><c>     28.08500000</c><c>      4.00000000</c><c>  PAW_PBE Si 05Jan2001        </c></rc>
   <rc><c>   1</c><c>C </c><c>     12.01100000</c><c>      4.00000000</c><c>  PAW_PBE C_s 06Sep2000       </c></rc>
 </set></array></atominfo>
</modeling>
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder with the CHGCAR of SiC, eight electrons."""
    (tmp_path / "SiC").mkdir()
    (tmp_path / "SiC/CHGCAR").write_bytes((DATA / "SiC.CHGCAR").read_bytes())
    return tmp_path / "SiC"


def potcar(*elements: str) -> str:
    return "".join(SECTION.format(element=element, zval=4) for element in elements)


def test_a_potcar_beside_a_density(run: Path, tmp_path: Path):
    text = potcar("Si", "C_s")
    (run / "POTCAR.gz").write_bytes(gzip.compress(text.encode()))
    report = chgdb.build(tmp_path / "s.zarr", tmp_path, potcar="POTCAR", workers=1, prior=None)
    assert report.added == ("SiC",)
    metadata = chgdb.open(tmp_path / "s.zarr")["SiC"].metadata
    assert metadata["functional"] == "PBE"
    assert metadata["valence"] == "Si 4, C 4"
    assert metadata["charge"] == 0
    titles = metadata["pseudopotentials"].split("; ")
    assert [title.split(" (sha256 ")[0] for title in titles] == ["PAW_PBE Si 05Jan2001", "PAW_PBE C_s 05Jan2001"]
    stored = b"".join(path.read_bytes() for path in (tmp_path / "s.zarr").rglob("*") if path.is_file())
    assert b"VRHFIN" not in stored
    assert b"0.1234567E+02" not in stored


def test_a_charged_cell_by_its_vasprun(run: Path):
    density = chgdb.read(run / "CHGCAR")
    (run / "vasprun.xml").write_text(VASPRUN.format(nelect="7.00000000"))
    assert read_beside(str(run / "CHGCAR"), "vasprun.xml", density) == {
        "code": "VASP 6.4.2", "functional": "PBEsol", "energy_cutoff": 520.0, "charge": 1.0, "valence": "Si 4, C 4",
        "pseudopotentials": "PAW_PBE Si 05Jan2001; PAW_PBE C_s 06Sep2000",
    }  # fmt: skip


def test_what_is_not_that_is_said(run: Path, tmp_path: Path):
    path, density = str(run / "CHGCAR"), chgdb.read(run / "CHGCAR")
    with pytest.raises(FormatError, match="there is no POTCAR beside it, which was asked for"):
        read_beside(path, "POTCAR", density)
    (run / "POTCAR").write_text(potcar("Si"))
    with pytest.raises(FormatError, match="is of other elements than SiC"):
        read_beside(path, "POTCAR", density)
    (run / "POTCAR").write_text("nothing")
    with pytest.raises(FormatError, match=r"neither a POTCAR nor a vasprun\.xml"):
        read_beside(path, "POTCAR", density)
    (run / "POTCAR").unlink()
    report = chgdb.build(tmp_path / "s.zarr", [run / "CHGCAR", DATA / "SiC.CHG"], potcar="POTCAR", workers=1)
    assert not report.added
    assert len(report.refused) == 2


def test_other_programs_say_it_themselves():
    assert said(chgdb.read(DATA / "abinit/h_DEN.nc.gz")) == {
        "code": "ABINIT 9.6.2", "functional": "LDA", "energy_cutoff": pytest.approx(108.8455, abs=1e-3), "charge": 0.0,
        "valence": "H 1", "pseudopotentials": "Goedecker-Teter-Hutter Wed May 8 14:27:44 EDT 1996",
    }  # fmt: skip
    found = said(chgdb.read(DATA / "quantum-espresso/h.save/charge-density.dat"))
    assert (found["code"], found["functional"]) == ("Quantum ESPRESSO 6.7MaX", "PBE")
    assert found["energy_cutoff"] == pytest.approx(8 * 13.605693, abs=1e-3)
    assert found["pseudopotentials"] == "H_HSCV_PBE-1.0.UPF"


def test_labels_of_species_in_a_chgcar(run: Path):
    text = (run / "CHGCAR").read_text()
    (run / "CHGCAR").write_text(text.replace("   Si   C \n", "   Si_sv_GW   C/12ab34cd\n", 1))
    assert said(chgdb.read(run / "CHGCAR")) == {"code": "VASP", "pseudopotentials": "Si_sv_GW; C/12ab34cd"}
    (run / "CHGCAR").write_text(text)
    assert said(chgdb.read(run / "CHGCAR")) == {}


def test_only_plain_values_are_taken():
    crystal = Crystal(np.eye(3) * 3, [[0, 0, 0]], [1])
    extras = {"calculation": {"code": 7, "functional": "PBE\n", "charge": float("nan"), "valence": "H 1", "other": "x"}}
    assert said(Density(crystal, {"total": np.ones((2, 2, 2))}, extras)) == {"valence": "H 1"}
    assert said(Density(crystal, {"total": np.ones((2, 2, 2))}, {"calculation": "x"})) == {}


def test_which_electrons():
    assert electrons_of([], 1.0) == ""
    assert electrons_of([1], 1.5) == "more than the 1 of its atoms"
    assert electrons_of([11, 17], 8.0) == "valence electrons, of 28 in its atoms"
