"""chgdb charges and dipole."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from small import Chgdb, one_line

import chgdb
from chgdb import Crystal, Density
from chgdb.codecs import decode
from chgdb.formats import write

DATA = Path(__file__).resolve().parents[1] / "data"


@pytest.fixture
def water(tmp_path: Path) -> Path:
    path = tmp_path / "water.CHGCAR"
    write(path, decode((DATA / "H2O.payload").read_bytes()))
    return path


def test_charges_of_a_file(run_chgdb: Chgdb, water: Path) -> None:
    result = run_chgdb("charges", water, "--json")
    expected = chgdb.read(water).charges()
    np.testing.assert_allclose(result.json["net_charge"], expected.net)
    assert result.json["n_electrons"] == pytest.approx(8, abs=1e-3)
    assert any("pseudo-density" in remark for remark in result.json["remarks"])
    table = run_chgdb("charges", water, "--method", "voronoi", "--radii", "O=1.5,H=1.2")
    assert "net charge (e)" in table.out
    assert "pseudo-density" in table.err
    assert run_chgdb("charges", water, "--method", "voronoi", "-o", "charges.csv").code == 0
    rows = list(csv.DictReader(io.StringIO(Path("charges.csv").read_text())))
    assert [row["element"] for row in rows] == ["O", "H", "H"]
    assert sum(float(row["electrons"]) for row in rows) == pytest.approx(8, abs=1e-3)
    again = run_chgdb("charges", water, "-o", "charges.csv")
    assert again.code == 1
    assert one_line(again.err)


def test_a_file_of_the_catalog(run_chgdb: Chgdb, tmp_path: Path) -> None:
    """What is written from the catalog has the charges of its record once that is said; it is asked for."""
    record = chgdb.open()["mp-1265"]
    write(tmp_path / "MgO.CHGCAR", record.density)
    command = ("charges", tmp_path / "MgO.CHGCAR", "--method", "bader")
    expected = record.charges("bader").net
    as_it_is = run_chgdb(*command)
    assert "--of-catalog" in as_it_is.err
    said = run_chgdb(*command, "--of-catalog", "--json").json
    np.testing.assert_allclose(said["net_charge"], expected, atol=1e-6)
    assert abs(run_chgdb(*command, "--json").json["net_charge"][0] - expected[0]) > 0.3


def test_several_materials_in_one_table(run_chgdb: Chgdb, tmp_path: Path) -> None:
    """One table; what is finished is kept until all is, and used again only with the same settings."""
    table = tmp_path / "tables/charges.csv"
    embedded = chgdb.open().path
    command = ("charges", "mp-22862", "mp-13", "--catalog", embedded, "--method", "bader", "-o", table)
    bad = run_chgdb(*command, "no-such-id")
    assert bad.code == 1
    assert "no-such-id" in bad.err
    rows = list(csv.DictReader(io.StringIO(table.read_text())))
    assert [(row["source"], row["element"]) for row in rows] == [
        ("mp-22862", "Na"),
        ("mp-22862", "Cl"),
        ("mp-13", "Fe"),
    ]
    assert float(rows[0]["net_charge"]) == pytest.approx(0.863, abs=0.01)
    assert rows[0]["moment"] == ""
    assert float(rows[2]["moment"]) == pytest.approx(2.15, abs=0.01)
    assert list(table.parent.iterdir()) == [table]
    # An interrupted run: one is finished, and the last line is cut off.
    table.unlink()
    settings = [{"method": "bader", "radii": None, "valence": None}, False, embedded, None]
    fact = {
        "source": "mp-22862", "formula": "NaCl", "method": "bader", "n_electrons": 14, "remarks": [], "atom": [1],
        "element": ["Na"], "electrons": [1.0], "valence": [1], "net_charge": [0.5], "volume": [1.0],
    }  # fmt: skip
    lines = [json.dumps(settings), json.dumps(["mp-22862", fact]), '["mp-13", {"sour']
    (tmp_path / "tables/charges.csv.part").write_text("\n".join(lines) + "\n")
    assert run_chgdb(*command).code == 0
    rows = list(csv.DictReader(io.StringIO(table.read_text())))
    assert float(rows[0]["net_charge"]) == 0.5
    assert len(rows) == 2
    assert "source" in run_chgdb("charges", "mp-22862", "mp-13", "--catalog", embedded).out
    wrong = run_chgdb("charges", "mp-22862", "mp-13", "--method", "bader", "--reference", table)
    assert wrong.code == 2


def test_references_are_added_up(run_chgdb: Chgdb, water: Path) -> None:
    whole = run_chgdb("charges", water, "--method", "bader", "--reference", water, "--json").json
    twice = run_chgdb("charges", water, "--method", "bader", "--reference", water, "--reference", water, "--json").json
    np.testing.assert_allclose(whole["electrons"], twice["electrons"])
    assert any("reference" in remark for remark in whole["remarks"])


def test_dipoles(run_chgdb: Chgdb, water: Path) -> None:
    found = run_chgdb("dipole", water, "--json").json
    assert found["dipole_debye"][2] == pytest.approx(-1.807, abs=0.02)
    assert found["vacuum"] == ["a", "b", "c"]
    assert "debye" in run_chgdb("dipole", water, "--valence", "O=6,H=1").out
    bulk = run_chgdb("dipole", "salt", "--valence", "Na=11,Cl=17")
    assert bulk.code == 1
    assert one_line(bulk.err)
    assert "bulk" in bulk.err


def test_mistakes(run_chgdb: Chgdb, water: Path, tmp_path: Path) -> None:
    for words in (["--radii", "O"], ["--valence", "O=six"], ["--method", "mulliken"]):
        assert run_chgdb("charges", water, *words).code == 2
    density = chgdb.read(water)
    write(tmp_path / "difference.CHGCAR", density - 0.5 * density)
    write(tmp_path / "magnetization.CHGCAR", density.only("spin_up"))
    odd = Density(density.crystal, {"total": density.total * 1.07})
    write(tmp_path / "odd.CHGCAR", odd)
    other = Density(Crystal(np.eye(3) * 4, [[0, 0, 0]], [3]), {"total": np.full((4, 4, 4), 1 / 64)})
    write(tmp_path / "other.CHGCAR", other)
    for words, said in (
        (["difference.CHGCAR"], "density difference"),
        (["magnetization.CHGCAR"], "spin-up"),
        (["odd.CHGCAR"], "valence"),
        ([water, "--method", "bader", "--reference", "other.CHGCAR"], "same cell"),
        ([water, "--reference", "water.CHGCAR"], "no use"),
        ([water, "--valence", "O=6"], "no valence is given for H"),
    ):
        first = tmp_path / words[0] if isinstance(words[0], str) else words[0]
        rest = [tmp_path / word if str(word).endswith(".CHGCAR") else word for word in words[1:]]
        result = run_chgdb("charges", first, *rest)
        assert result.code == 1, words
        assert said in result.err
        assert one_line(result.err), result.err


def test_info_shows_the_charges_that_a_store_keeps(run_chgdb: Chgdb, tmp_path: Path) -> None:
    from chgdb import charging
    from chgdb.extraction import extract

    place = tmp_path / "few.zarr"
    extract(chgdb.open(), ["mp-22862", "mp-149"], place)
    assert "charges" not in run_chgdb("info", "mp-149", "--catalog", place, "--json").json
    charging.add_charges(place, workers=1)
    found = run_chgdb("info", "mp-22862", "--catalog", place, "--json").json["charges"]
    assert found["elements"] == ["Na", "Cl"]
    assert found["bader"] == [0.863, -0.863]
    assert found["remarks"] == ["near the nuclei, free atoms turn it into a density of all electrons"]
    text = run_chgdb("info", "mp-22862", "--catalog", place).out
    assert "Na +0.863, Cl -0.863" in text
    assert "near the nuclei, free atoms" in text
    about = run_chgdb("info", "--catalog", place, "--json").json["charges"]
    assert "pseudo-density" in about["hirshfeld"]["limits"]
    assert "net charges by bader and hirshfeld" in run_chgdb("info", "--catalog", place).out
