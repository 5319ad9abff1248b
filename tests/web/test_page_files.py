"""A user's file on the page, and two densities side by side."""

from __future__ import annotations

import gzip
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from pages import DRAWN, OpenPage, appears, chgdb_prints, painted
from playwright.sync_api import Page

import chgdb
from chgdb.targets import TARGETS


def choose(page: Page, path: Path, place: str = "input[type=file]") -> None:
    page.locator(place).first.set_input_files(path)


@pytest.fixture
def page(site: str, open_page: OpenPage) -> Page:
    return open_page(site + "/#/file", "input[type=file]")


@pytest.mark.parametrize("kind", ["CHGCAR", "CHGCAR.gz", "density.cube"])
def test_densities(page: Page, catalog: chgdb.Catalog, tmp_path: Path, kind: str) -> None:
    density = catalog["mp-6930"].density
    path = tmp_path / kind
    chgdb.write(path, density)
    choose(page, path)
    appears(page, DRAWN)
    shown = page.get_by_role("region", name="Crystal and grid").inner_text()
    assert f"{chgdb.read(path).n_electrons:.5f}" in shown
    assert " × ".join(map(str, density.grid)) in shown
    assert "SiO2" in page.inner_text("main h2") or "O2Si" in page.inner_text("main h2")


def test_a_dropped_file(page: Page, catalog: chgdb.Catalog, tmp_path: Path) -> None:
    path = tmp_path / "si.cube"
    chgdb.write(path, catalog["mp-149"].density)
    page.evaluate(
        """(text) => {
          const carried = new DataTransfer()
          carried.items.add(new File([text], 'si.cube'))
          const drop = new DragEvent('drop', { dataTransfer: carried, bubbles: true, cancelable: true })
          document.querySelector('.drop').dispatchEvent(drop)
        }""",
        path.read_text(),
    )
    appears(page, DRAWN)
    assert page.get_attribute("main", "data-file") == "si.cube"


def test_a_file_dropped_beside_its_place(page: Page) -> None:
    """The browser would leave the page and open the file."""
    for kind in ("dragover", "drop"):
        prevented = page.evaluate(
            """(kind) => {
              const event = new DragEvent(kind, { dataTransfer: new DataTransfer(), bubbles: true, cancelable: true })
              document.querySelector('h1').dispatchEvent(event)
              return event.defaultPrevented
            }""",
            kind,
        )
        assert prevented


def test_of_two_files_the_last_is_shown(page: Page, catalog: chgdb.Catalog, tmp_path: Path) -> None:
    density = catalog["mp-149"].density
    chgdb.write(tmp_path / "small.cube", density)
    large = chgdb.Density(density.crystal, {"total": np.ones((100, 100, 100))})
    chgdb.write(tmp_path / "CHGCAR", large)
    choose(page, tmp_path / "CHGCAR")
    choose(page, tmp_path / "small.cube")
    appears(page, DRAWN)
    page.wait_for_timeout(1000)
    assert page.get_attribute("main", "data-file") == "small.cube"


def test_properties_of_a_structure(page: Page, catalog: chgdb.Catalog, tmp_path: Path) -> None:
    from pymatgen.io.vasp import Poscar

    path = tmp_path / "POSCAR"
    path.write_text(Poscar(catalog["mp-22862"].crystal.to_pymatgen()).get_str())
    expected = json.loads(chgdb_prints("predict", str(path), "--json"))[0]
    choose(page, path)
    page.get_by_role("button", name="Predict").click()
    appears(page, "[data-predicted]")
    assert "of an estimated density" in page.inner_text("table.predictions caption")
    for name, one in expected["properties"].items():
        shown = page.get_attribute(f"[data-predicted={name}]", "data-value")
        assert float(shown or "nan") == pytest.approx(one["value"], rel=1e-6)
    assert page.get_by_role("button", name="Pack into the store").count() == 0


def test_structures(page: Page, catalog: chgdb.Catalog, tmp_path: Path) -> None:
    from pymatgen.io.cif import CifWriter
    from pymatgen.io.vasp import Poscar

    structure = catalog["mp-6930"].crystal.to_pymatgen()
    (tmp_path / "POSCAR").write_text(Poscar(structure).get_str())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pymatgen uses spglib as it was
        (tmp_path / "quartz.cif").write_text(str(CifWriter(structure, symprec=1e-3)))
    for name in ("POSCAR", "quartz.cif"):
        choose(page, tmp_path / name)
        appears(page, f'main[data-file="{name}"]')
        shown = page.get_by_role("region", name="Crystal and grid").inner_text()
        assert "9 in the cell" in shown
        assert f"{structure.volume:.4f}" in shown
        assert page.locator("canvas.slice").count() == 0


def test_an_estimated_density(page: Page, catalog: chgdb.Catalog, tmp_path: Path) -> None:
    from pymatgen.io.vasp import Poscar

    crystal = catalog["mp-22862"].crystal
    (tmp_path / "POSCAR").write_text(Poscar(crystal.to_pymatgen()).get_str())
    expected = chgdb.estimate(crystal, spacing=0.1)
    choose(page, tmp_path / "POSCAR")
    page.get_by_role("button", name="Estimate the density").click()
    appears(page, DRAWN)
    assert expected.summary[:40] in page.inner_text("figcaption")
    shown = page.get_by_role("region", name="Crystal and grid").inner_text()
    assert " × ".join(map(str, expected.density.grid)) in shown
    assert f"{expected.density.n_electrons:.4f}" in shown


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("CHGCAR", "a\n1.0\n1 0 0\n0 1 0\n0 0 x\n", "lattice vector 3"),
        ("CHGCAR", "a\n1.0\n4 0 0\n0 4 0\n0 0 4\n1\nDirect\n0 0 0\n", "names no elements"),
        ("CHGCAR", "a\n1.0\n4 0 0\n0 4 0\n0 0 4\nSi\n1\nDirect\n0 0 0\n\n2 2 2\n1 2 3\n", "ends after 3"),
        ("CHGCAR", "a\n1.0\n4 0 0\n0 4 0\n0 0 4\nSi\n1\nDirect\n0 0 0\n\n2 2 2\n1 2 nan 4 5 6 7 8\n", "nan"),
        ("CHGCAR", "a\n1.0\n4 0 0\n0 4 0\n0 0 4\nSi\n1\nDirect\n0 0 0\n\n99999 99999 99999\n1\n", "too large"),
        ("some.cif", "data_x\n_cell_length_a 4\n", "cell is missing"),
        ("CHGCAR", "a\n1.0\n4 0 0\n0 4 0\n0 0 4\nSi\n1\nDirect\n0 0 0\n\n2 2 2\n1 2 - 4 5 6 7 8\n", 'is "-"'),
        ("CHGCAR", "a\n1.0\n4 0 0\n0 4 0\n0 0 4\nSi\n1\nDirect\n0 0 0\n\n2 2 2\n1 2 1e400 4 5 6 7 8\n", "1e400"),
        ("POSCAR", "a\n1.0\n4 0 0\n0 4 0\n0 0 4\nSi O\n9999999 1\nDirect\n0 0 0\n", "too many for a page"),
        (
            "x.cube",
            "a\nb\n1 0 0 0\n2 1 0 0\n2 0 1 0\n2 0 0 1\n200 0 0 0 0\n1 2 3 4 5 6 7 8\n",
            "is no atomic number",
        ),
        ("note.txt", "hello", "note.txt"),
    ],
)
def test_bad_files_are_one_line(page: Page, tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    choose(page, tmp_path / name)
    appears(page, ".error")
    assert words in page.inner_text(".error")
    assert name in page.inner_text(".error")
    assert page.locator("canvas").count() == 0


def test_a_bomb_is_refused(page: Page, tmp_path: Path) -> None:
    (tmp_path / "CHGCAR.gz").write_bytes(gzip.compress(b"\0" * (200 << 20), 9))
    choose(page, tmp_path / "CHGCAR.gz")
    appears(page, ".error")
    assert "unfolds to more than" in page.inner_text(".error")


@pytest.mark.parametrize("model", ["invariant", "attention"])
def test_predictions(page: Page, catalog: chgdb.Catalog, tmp_path: Path, model: str) -> None:
    path = tmp_path / "CHGCAR"
    chgdb.write(path, catalog["mp-22862"].density)
    expected = json.loads(chgdb_prints("predict", str(path), "--json", "--model", model))
    choose(page, path)
    appears(page, DRAWN)
    page.select_option("select[name=model]", model)
    page.get_by_role("button", name="Predict").click()
    appears(page, "[data-predicted]")
    for name, one in expected[0]["properties"].items():
        row = page.locator(f"[data-predicted={name}]")
        assert float(row.get_attribute("data-value") or "nan") == pytest.approx(one["value"], rel=1e-9)
        assert float(row.get_attribute("data-std") or "nan") == pytest.approx(one["std"], rel=1e-9)
        digits = max(0, 1 - int(np.floor(np.log10(one["std"]))))
        assert f"{one['value']:.{digits}f}" in row.inner_text()
        assert TARGETS[name].label in row.inner_text()
    assert page.locator("[data-predicted]").count() == len(expected[0]["properties"])


def test_packing(page: Page, catalog: chgdb.Catalog, tmp_path: Path) -> None:
    path = tmp_path / "CHGCAR"
    chgdb.write(path, catalog["mp-149"].density)
    choose(page, path)
    appears(page, DRAWN)
    page.fill("input[name=id]", "mine")
    page.get_by_role("button", name="Pack into the store").click()
    said = appears(page, "text=mine is in").inner_text()
    store = said.split(" is in ")[1].split(": NMAE")[0]
    assert chgdb.open(store)["mine"].formula == "Si"


def test_compare(home: str, open_page: OpenPage, catalog: chgdb.Catalog, tmp_path: Path) -> None:
    page = open_page(home + "/#/compare?a=mp-149", f"[data-side=a] {DRAWN}")
    density = catalog["mp-149"].density
    other = chgdb.Density(density.crystal, {"total": density.total * 1.01})
    chgdb.write(tmp_path / "CHGCAR", other)
    choose(page, tmp_path / "CHGCAR", "[data-side=b] input[type=file]")
    appears(page, f"[data-side=b] {DRAWN}")
    drawn = [page.get_attribute(f"[data-side={side}] figure", "data-drawn") for side in "ab"]
    assert drawn[0].split("|")[1] == drawn[1].split("|")[1]  # one isovalue
    page.get_by_role("button", name="Difference of the two").click()
    appears(page, "text=NMAE of the first")
    said = page.inner_text("main")
    assert "0.99 %" in said  # 0.01 / 1.01
    appears(page, '[data-side=a] [data-drawn^="difference of the two"]')
    # Two cells that differ have none.
    page.goto(home + "/#/compare?a=mp-149&b=mp-32")
    appears(page, "text=there is no difference to show")
    assert page.get_by_role("button", name="Difference of the two").is_disabled()


def test_a_side_that_changes_takes_the_difference_with_it(
    site: str, open_page: OpenPage, catalog: chgdb.Catalog, tmp_path: Path
) -> None:
    density = catalog["mp-149"].density
    for name, factor in (("CHGCAR", 1.01), ("CHGCAR-2", 1.02)):
        chgdb.write(tmp_path / name, chgdb.Density(density.crystal, {"total": density.total * factor}), format="chgcar")
    page = open_page(f"{site}/#/compare?a=mp-149&b=mp-32", f"[data-side=b] {DRAWN}")
    appears(page, f"[data-side=a] {DRAWN}")
    painted(page)
    kinds = page.locator("select[name=kind] option")
    level = page.locator("input[name=level]")

    def subtracted() -> str:
        page.get_by_role("button", name="Difference of the two").press("Enter")
        appears(page, '[data-side=a] [data-drawn^="difference of the two"][data-drawn*=whole]')
        return page.inner_text("main > .buttons")

    # A file comes instead of a material.
    choose(page, tmp_path / "CHGCAR", "[data-side=b] input[type=file]")
    appears(page, f"[data-side=b] h2:has-text('CHGCAR') ~ {DRAWN}")
    assert "0.99 %" in subtracted()
    assert kinds.all_inner_texts()[-1] == "difference of the two"
    small = float(level.input_value())
    # Another file: what was shown was of the first.
    choose(page, tmp_path / "CHGCAR-2", "[data-side=b] input[type=file]")
    appears(page, "[data-side=b] h2:has-text('CHGCAR-2') ~ " + DRAWN)
    appears(page, "[data-side=a] [data-drawn^=total][data-drawn*=whole]")
    assert "NMAE of the first" not in page.inner_text("main")
    assert "difference of the two" not in kinds.all_inner_texts()
    assert float(level.input_value()) > 10 * small  # an isovalue of the density again
    assert "1.96 %" in subtracted()
    painted(page)
    # A material instead of the file, on the side that shows the difference, too.
    page.fill("[data-side=b] input[name=id]", "mp-32")
    page.locator("[data-side=b]").get_by_role("button", name="Show").press("Enter")
    appears(page, "[data-side=b] h2:has-text('mp-32') ~ " + DRAWN)
    appears(page, "[data-side=a] [data-drawn^=total][data-drawn*=whole]")
    appears(page, "text=there is no difference to show")
    page.fill("[data-side=a] input[name=id]", "mp-32")
    page.locator("[data-side=a]").get_by_role("button", name="Show").press("Enter")
    appears(page, "[data-side=a] h2:has-text('mp-32') ~ " + DRAWN)
    assert "NMAE of the first against the second: 0 %" in subtracted_of_the_same(page)


def subtracted_of_the_same(page: Page) -> str:
    """There is no surface of nothing."""
    page.get_by_role("button", name="Difference of the two").press("Enter")
    appears(page, "text=NMAE of the first")
    return page.inner_text("main > .buttons")
