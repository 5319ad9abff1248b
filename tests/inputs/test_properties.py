"""Tables of properties as people write them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from materials import COLUMNS, density, load

import chgdb
from chgdb.errors import FormatError, StoreError
from chgdb.ingest import build_from
from chgdb.inputs import read_properties
from chgdb.inputs.properties import Properties
from chgdb.inputs.values import split_units, typed


def columns(tmp_path: Path, text: str | bytes) -> dict[str, list[Any]]:
    """Column -> values of a table, None where there is none."""
    path = tmp_path / "p.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    read = read_properties(path)
    return {name: [row.get(name) for row in read.values.values()] for name in read.attributes}


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["2_10", "3"], ["2_10", "3"]),
        (["042", "17"], ["042", "17"]),
        (["-007"], ["-007"]),
        (["4E10", "17"], ["4E10", "17"]),
        (["12e3"], ["12e3"]),
        (["0x2A", "12"], ["0x2A", "12"]),
        (["9007199254740993"], ["9007199254740993"]),
        (["inf", "2"], ["inf", "2"]),
        (["3.5e-07", "2", "0"], [3.5e-07, 2.0, 0.0]),
        (["1e5", "2.5e5"], [1e5, 2.5e5]),
        (["1e+16", "3"], [1e16, 3.0]),
        (["-1.", ".5", "+3", "0.25"], [-1.0, 0.5, 3.0, 0.25]),
        (["N/A", "2", "nan", "-", "", "null", "NA", "\u2013"], [None, 2.0, *[None] * 6]),
        (["Na", "K"], ["Na", "K"]),
        (["TRUE", "false", "NA"], [True, False, None]),
        (["3,25", "-0,5", "7"], [3.25, -0.5, 7.0]),
        (["a, b", "c"], ["a, b", "c"]),
    ],
)
def test_kinds_of_columns(cells: list[str], values: list[Any]) -> None:
    assert typed(cells) == values
    assert [type(value) for value in typed(cells)] == [type(value) for value in values]


def test_numbers_of_typesetters_and_spreadsheets() -> None:
    assert typed(["\u22121.5", "2", "none", "?", "#DIV/0!", "n.a."]) == [-1.5, 2.0, None, None, None, None]
    assert typed(["none", "ferromagnetic"]) == ["none", "ferromagnetic"]
    assert typed(["\u2212OH", "2"]) == ["\u2212OH", "2"]
    assert typed(["1e999", "1.5"]) == ["1e999", "1.5"]  # no number is infinite
    with pytest.raises(ValueError, match="points between thousands and a decimal comma"):
        typed(["1.234,5", "7,25"])


def test_an_index_of_pandas(tmp_path: Path) -> None:
    assert columns(tmp_path, ",material_id,gap\n0,mp-1,1.5\n1,mp-2,2\n") == {"gap": [1.5, 2.0]}
    assert columns(tmp_path, ",gap\nmp-1,1.5\nmp-2,2\n") == {"gap": [1.5, 2.0]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04" + bytes(60), "a spreadsheet, not CSV"),
        (b"\x1f\x8b\x08\x00" + bytes(60), "compressed or binary, not CSV"),
        (b"material_id,gap\n", "line 1: no rows below the header"),
        (b"mp-1,1\nmp-2,2\n", "line 1: the column '1': a column cannot be called"),
    ],
)
def test_what_is_no_table(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=f"p.csv: {message}"):
        columns(tmp_path, content)


def test_commas_that_may_be_either() -> None:
    for cells in (["2,500", "12"], ["1,234,567.5"]):
        with pytest.raises(ValueError, match="write it with a point"):
            typed(cells)


def test_a_unit_says_that_a_column_holds_numbers(tmp_path: Path) -> None:
    read = columns(tmp_path, "id,field_meV,label\nx,1E5,1E5\ny,02,2\n")
    assert read == {"field": [1e5, 2.0], "label": ["1E5", "2"]}


@pytest.mark.parametrize(
    ("title", "name", "units"),
    [
        ("shift (meV)", "shift", "meV"),
        ("shift[meV]", "shift", "meV"),
        ("shift_meV", "shift", "meV"),
        ("n_K", "n_K", ""),
        ("fraction_K", "fraction_K", ""),
        ("curie_temperature_K", "curie_temperature", "K"),
        ("T_melt_K", "T_melt", "K"),
        ("theta (K)", "theta", "K"),
        ("modulus (Reuss)", "modulus_Reuss", ""),
        ("gap (indirect)", "gap_indirect", ""),
        ("mass density [g/cm^3]", "mass_density", "g/cm^3"),
        ("kappa (W/(m K))", "kappa", "W/(m K)"),
        ("energy_meV_per_atom", "energy", "meV/atom"),
        ("eV", "eV", ""),
    ],
)
def test_units(title: str, name: str, units: str) -> None:
    assert split_units(title) == (name, units)


@pytest.mark.parametrize(
    "text",
    [
        "material_id;gap (eV);note\nx;1,5;a, b\n\ny;2,25;NA\n;;\n",
        "sep=;\nmaterial_id;gap (eV);note\nx;1.5;a, b\ny;2.25;\n",
        "material_id\tgap_eV\tnote\nx\t1.5\ta, b\ny\t2.25\t-\n".encode("utf-16"),
        b'\xef\xbb\xbfID,gap [eV],note,,\r\nx,1.5,"a, b",,\r\ny,2.25,,,\r\n',
    ],
)
def test_what_spreadsheets_write(tmp_path: Path, text: str | bytes) -> None:
    assert columns(tmp_path, text) == {"gap": [1.5, 2.25], "note": ["a, b", None]}
    assert read_properties(tmp_path / "p.csv").attributes["gap"]["units"] == "eV"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("material_id,space_group\nx,225\ny,-7\n", r"p\.csv: line 3: space_group is a number from 1 to 230.*not -7"),
        ("material_id,space_group\nx,231\n", r"line 2: space_group .*not 231"),
        ("material_id,space_group\nx,2.25\n", r"line 2: space_group .*not 2\.25"),
        ("material_id,space_group\nx,Fm-3m\n", "line 2: space_group .*not 'Fm-3m'"),
        ("material_id,energy_cutoff\nx,-400\n", "line 2: energy_cutoff is a positive number"),
        ("material_id,a\nx,1\n,2\n", "line 3: no id in the column material_id"),
        ("material_id a\nx 1\n", "one column only; cells are separated by commas, semicolons, tabs"),
        ('material_id,a\nx,"1,234"\n', r"column a: 1,234 has commas"),
        (b"material_id,a\nx,\xe9\n", "save it as UTF-8"),
    ],
)
def test_what_cannot_be_meant(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        columns(tmp_path, text)


def test_what_is_left_out_or_odd_is_said(tmp_path: Path) -> None:
    columns(tmp_path, "material_id,volume,gap,code\nx,3,1.5,007\ny,4,2.5,8\nz,5,>6,9\n")
    read = read_properties(tmp_path / "p.csv")
    assert read.values["x"] == {"gap": "1.5", "code": "007"}
    assert [note.partition("p.csv: ")[2] for note in read.notes] == [
        "column gap is text, for 1 of its 3 values are no numbers: >6",
        "volume: left out, a store measures these itself",
    ]


def test_how_many_rows_match(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    for name in ("mat-1", "mat-2"):
        (runs / name).mkdir(parents=True)
        chgdb.write(runs / name / "CHGCAR", density(name))
    table = tmp_path / "p.csv"

    def notes(text: str) -> tuple[str, ...]:
        table.write_text(text)
        return chgdb.build(tmp_path / "s.zarr", runs, properties=table, workers=1, tolerance=0).notes

    said = (
        "0 of 2 rows have the id of a material (MAT-1, mat-02 have none); 2 of 2 materials have no row (mat-1, mat-2)"
    )
    assert notes("material_id,a\nMAT-1,1\nmat-02,2\n") == (f"{table}: {said}",)
    assert notes("material_id,a\nmat-2,1\nmat-1,2\n") == ()
    assert notes("material_id,a\nmat-2,1\n") == ()
    said = "1 of 2 rows have the id of a material (mat-7 has none); 1 of 2 materials have no row (mat-1)"
    assert notes("material_id,a\nmat-2,1\nmat-7,3\n") == (f"{table}: {said}",)


def test_values_from_python_are_checked_too(tmp_path: Path) -> None:
    for name, value in {"space_group": 1.5, "energy_cutoff": -1}.items():
        with pytest.raises(StoreError, match=f"{name} is a"):
            chgdb.build(tmp_path / "s.zarr", tmp_path, provenance={name: value})
    report = build_from(tmp_path / "s.zarr", ["mat-1"], _odd_space_group, columns=COLUMNS, workers=1)
    assert "space_group is a number from 1 to 230" in report.refused[0][1]


def _odd_space_group(material_id: str) -> tuple[chgdb.Density, dict[str, Any]]:
    found, facts = load(material_id)
    return found, {**facts, "space_group": 231}


@pytest.mark.parametrize(
    "text",
    [
        "# measured 2021, by hand\n# at 300 K; in air\nmaterial_id,gap_eV\nNaF,9.3\nKI,6.1\n",
        "#\r\n# two\r\nmaterial_id;gap_eV\r\nNaF;9,3\r\nKI;6,1\r\n",
        "# a remark\n# material_id,gap_eV\nNaF,9.3\nKI,6.1\n",
        "#material_id\tgap_eV\nNaF\t9.3\nKI\t6.1\n",
    ],
)
def test_remarks_before_the_header(tmp_path: Path, text: str) -> None:
    assert columns(tmp_path, text) == {"gap": [9.3, 6.1]}
    with pytest.raises(FormatError, match=f"line {text.count(chr(10)) + 1}: "):
        columns(tmp_path, text + "LiH" + ",;\t"[(";g" in text) + 2 * ("\tg" in text)] * 3 + "x\n")


def test_rows_without_a_material_are_told_in_one_pass() -> None:
    """A table of 50,000 rows took many minutes, since the ids of the store were gathered for each of them."""

    class Counted(list[str]):
        passes = 0

        def __iter__(self) -> Iterator[str]:
            self.passes += 1
            return super().__iter__()

    materials = Counted(f"m{i}" for i in range(300))
    given = Properties({f"m{i}": {} for i in range(100, 301)}, {}, "t.csv")
    assert given.unmatched(materials) == (
        "t.csv: 200 of 201 rows have the id of a material (m300 has none); "
        "100 of 300 materials have no row (m0, m1, m10, ...)"
    )
    assert materials.passes < 3
