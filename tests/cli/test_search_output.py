"""What search and info print: CSV, chosen columns, predictions, formulas and digits; the catalog as a pandas table."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from small import Chgdb, one_line

import chgdb


@pytest.fixture
def embedded(run_chgdb: Chgdb, monkeypatch: pytest.MonkeyPatch) -> Chgdb:
    """Commands on the embedded catalog, which has predictions."""
    monkeypatch.delenv("CHGDB_CATALOG", raising=False)
    return run_chgdb


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_csv_holds_what_json_holds(run_chgdb: Chgdb) -> None:
    rows, facts = rows_of(run_chgdb("search", "--csv").out), run_chgdb("search", "--json").json
    assert [list(row) for row in rows] == [list(fact) for fact in facts]
    for row, fact in zip(rows, facts, strict=True):
        assert row["material_id"] == fact["material_id"]
        assert row["note"] == fact["note"]
        assert row["grid"] == " ".join(map(str, fact["grid"]))
        assert float(row["volume"]) == pytest.approx(fact["volume"], rel=1e-6)
        assert row["band_gap"] == ("" if fact["band_gap"] is None else str(fact["band_gap"]))


def test_columns_are_chosen(run_chgdb: Chgdb) -> None:
    result = run_chgdb("search", "--columns", "band-gap, formula", "--csv", "--sort", "-band_gap", "--limit", 2)
    assert result.out == "material_id,band_gap,formula\nsalt,8.5,NaCl\nsi,1.1,Si\n"
    assert "3 of 3 materials; 2 shown" in result.err
    assert list(run_chgdb("search", "--columns", "code", "--json").json[0]) == ["material_id", "code"]
    assert run_chgdb("search", "--columns", "band_gap").out.splitlines()[0].split() == ["id", "band", "gap", "(eV)"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--columns", "bandgap"), 1, "did you mean band_gap"),
        (("--columns", "predicted_band_gap"), 1, "has no view"),
        (("--sort", "predicted_band_gap"), 1, "has no view"),
        (("--sort", "cell"), 2, "several values"),
        (("--csv", "--json"), 2, "one of"),
    ],
)
def test_mistakes(run_chgdb: Chgdb, arguments: tuple[str, ...], code: int, said: str) -> None:
    result = run_chgdb("search", *arguments)
    assert (result.code, result.out) == (code, "")
    assert said in result.err
    assert code == 2 or one_line(result.err)


def test_sorted_by_predictions_with_digits_that_mean_something(embedded: Chgdb) -> None:
    arguments = ("--elements", "O", "--columns", "predicted_bulk_modulus", "--sort", "-predicted_bulk_modulus")
    lines = embedded("search", *arguments, "--limit", 5).out.splitlines()
    rows = rows_of(embedded("search", *arguments, "--limit", 5, "--csv").out)
    values = [float(row["predicted_bulk_modulus"]) for row in rows]
    assert values == sorted(values, reverse=True)
    catalog = chgdb.open()
    of_oxides = np.isin(catalog.ids, catalog.search(elements="O"))
    assert values[0] == pytest.approx(catalog.view("properties")["bulk_modulus"][of_oxides].max())
    for line, row in zip(lines[1:], rows, strict=True):
        value, std = float(row["predicted_bulk_modulus"]), float(row["predicted_bulk_modulus_std"])
        assert std > 10
        assert line.split() == [row["material_id"], f"{value:.0f}", "±", f"{float(f'{std:.2g}'):.0f}"]


def test_formulas_of_the_field(embedded: Chgdb) -> None:
    """To read; data and criteria have the reduced formula."""
    fact = embedded("search", "--formula", "PbTiO3", "--json").json[0]
    assert fact["formula"] == "TiPbO3"
    assert embedded("search", "--formula", "TiPbO3").out.splitlines()[1].split()[1] == "PbTiO3"
    assert embedded("info", fact["material_id"]).out.startswith(f"PbTiO3 ({fact['material_id']})\n")
    assert embedded("fetch", fact["material_id"], "--decode").out.startswith("CHGCAR: PbTiO3 (")


def test_json_of_info_holds_what_the_text_shows(embedded: Chgdb) -> None:
    facts, card = embedded("info", "mp-2534", "--json").json, embedded("info", "mp-2534").out
    assert f"{facts['common_formula']} (mp-2534)" in card
    assert f"{facts['space_group_symbol']} ({facts['space_group']})" in card
    assert ", ".join(f"{length:.4f}" for length in facts["cell_lengths"]) in card
    assert ", ".join(f"{angle:.2f}" for angle in facts["cell_angles"]) in card
    assert f"{facts['compression']:,.0f} times less" in card
    assert facts["predictions"]["model"] in card
    for name, fact in facts["predictions"]["properties"].items():
        line = next(line for line in card.split("Predicted by")[1].splitlines() if line.split()[:1] == [name])
        assert float(line.split()[1]) == pytest.approx(fact["value"], abs=fact["std"] / 10)
        assert ("not seen" in line) == fact["out_of_fold"]
    whole = embedded("info", "--json").json
    assert whole["predictions"]["model"] == facts["predictions"]["model"]
    assert set(facts["columns"]) == set(whole["columns"])


def test_a_catalog_as_a_pandas_table(store: str, tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    table = chgdb.open(store).to_pandas()
    assert list(table.index) == ["iron", "salt", "si"]
    assert table.loc["salt", "band_gap"] == 8.5
    assert np.isnan(table.loc["iron", "band_gap"])
    assert table.attrs["units"]["band_gap"] == "eV"
    assert not {"cell", "grid", "payload_offset", "material_id"} & set(table.columns)
    catalog = chgdb.open()
    whole, view = catalog.to_pandas(), catalog.view("properties")
    assert len(whole) == len(catalog)
    np.testing.assert_array_equal(whole["predicted_band_gap_std"], view["band_gap_std"])
    assert str(whole["spin_polarised"].dtype) == "boolean"
    expected = catalog.column("spin_polarised")
    assert whole["spin_polarised"].sum() == (expected == 1).sum()
    assert whole["spin_polarised"].isna().sum() == (expected < 0).sum()
    assert not [name for name in catalog.to_pandas(predictions=False) if name.startswith("predicted")]
