"""The datasheet says what is in a store, in words and as a picture."""

from __future__ import annotations

import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

import chgdb
import chgdb_catalog
from chgdb import charging
from chgdb.elements import SYMBOLS
from chgdb.ingest import build_from
from chgdb_catalog import batches, coverage, datasheet, rebuild
from chgdb_catalog.dft import refusals

IDS = ("mp-149", "mp-22862", "mp-13")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("datasheet") / "three.zarr"
    assert build_from(out, IDS, rebuild.Loader({}, {}), columns=rebuild.COLUMNS, workers=1, prior="fit").complete
    return out


def test_what_it_says_and_shows(store: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    page, picture = tmp_path / "README.md", tmp_path / datasheet.PICTURE
    datasheet.write(page, store, tmp_path)
    text = page.read_text(encoding="utf-8")
    assert "| materials | 3 |" in text
    assert "| cubic | 3 |" in text
    assert "Elements (4): Na Si Cl Fe" in text
    assert "| spin-polarised | 1 |" in text
    assert f"]({datasheet.PICTURE})" in text
    assert "No structure that was tried gave no density." in text
    words = "".join(ElementTree.parse(picture).getroot().itertext())
    assert "2 of 3 have one" in words, "silicon and salt, not iron"
    before = picture.read_bytes()
    datasheet.write(page, store, tmp_path)
    assert picture.read_bytes() == before, "the same for the same store"


def test_charges_are_counted_where_the_store_has_them(store: Path, tmp_path: Path) -> None:
    assert "net charges" not in datasheet.render(chgdb.open(store))
    shutil.copytree(store, tmp_path / "charged.zarr")
    charging.add_charges(tmp_path / "charged.zarr", ("hirshfeld",), workers=1)
    text = datasheet.render(chgdb.open(tmp_path / "charged.zarr"))
    assert "| atoms with net charges (view `charges`: hirshfeld) | 5 of 5 |" in text


def test_what_was_refused_is_counted(store: Path, tmp_path: Path) -> None:
    entry = {"material_id": "a", "formula": "N2", "how": "set aside", "reason": "energy", "detail": "energy: too high"}
    others = [entry | {"material_id": name, "how": "failed", "reason": "time"} for name in ("b", "c")]
    assert refusals.add([entry, *others], tmp_path) == 3
    text = datasheet.render(chgdb.open(store), refusals.counts(tmp_path))
    assert "| failed | time | 2 |\n| set aside | energy | 1 |" in text


def test_what_came_after_the_store_is_counted(store: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    page = tmp_path / "README.md"
    for material_id, said in ((IDS[0], None), ("mp-66", "One density more"), ("mp-134", "2 densities more")):
        record, grids = batches.load(material_id)
        batches.append([(record, *batches.pack_channels(grids))], tmp_path)
        datasheet.write(page, store, tmp_path)
        text = page.read_text(encoding="utf-8")
        assert said in text if said else "for the next version of the store" not in text


def test_every_element_has_a_place_of_its_own() -> None:
    places = [coverage.place(number) for number in range(1, 104)]
    assert len(set(places)) == 103
    column = {symbol: coverage.place(number)[1] for number, symbol in enumerate(SYMBOLS[1:104], 1)}
    groups = "Li Na K Rb Cs Fr, Sc Y, Ti Zr Hf, Zn Cd Hg, B Al Ga In Tl, F Cl Br I At, He Ne Ar Xe Rn, La Ac, Lu Lr"
    for group in groups.split(", "):
        assert len({column[symbol] for symbol in group.split()}) == 1, group


def test_crystal_systems() -> None:
    groups = np.arange(0, 231)
    counts = dict(coverage.systems(groups))
    assert sum(counts.values()) == 230
    assert counts == {"triclinic": 2, "monoclinic": 13, "orthorhombic": 59, "tetragonal": 68, "trigonal": 25,
                      "hexagonal": 27, "cubic": 36}  # fmt: skip


def test_the_datasheet_of_the_catalog_is_of_its_store() -> None:
    catalog = chgdb.open()
    text = Path(chgdb_catalog.path()).with_name("README.md").read_text(encoding="utf-8")
    assert f"| materials | {len(catalog):,} |" in text
    assert Path(chgdb_catalog.path()).with_name(datasheet.PICTURE).exists()
    assert set(catalog.ids) <= set(batches.index())
