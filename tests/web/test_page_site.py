"""The exported site on a plain nginx, and the viewer in a notebook."""

from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pages import DRAWN, OpenPage, appears, serving

import chgdb
from chgdb.errors import StoreError
from chgdb.web.site import export


def test_catalog_and_material(static: str, open_page: OpenPage, catalog: chgdb.Catalog) -> None:
    page = open_page(static, "table.materials tbody tr")
    page.get_by_role("button", name="Cs", exact=False).first.click()
    appears(page, "main[data-found]")
    page.goto(f"{static}#/material/mp-6930")
    appears(page, DRAWN)
    appears(page, '[data-property="bulk_modulus"]')
    assert f"{catalog['mp-6930'].n_electrons:.6f}" in page.inner_text("main")
    page.select_option("select[name=kind]", "difference")
    appears(page, '[data-drawn^="difference"][data-drawn*=whole]')
    assert page.get_by_role("link", name="REST API").count() == 0  # there is none


def test_file_and_compare(static: str, open_page: OpenPage, catalog: chgdb.Catalog, tmp_path: Path) -> None:
    chgdb.write(tmp_path / "CHGCAR", catalog["mp-149"].density)
    page = open_page(f"{static}#/file", "input[type=file]")
    page.set_input_files("input[type=file]", tmp_path / "CHGCAR")
    appears(page, DRAWN)
    assert page.get_by_role("button", name="Predict").count() == 0
    page.goto(f"{static}#/compare?a=mp-149&b=mp-32")
    appears(page, f"[data-side=b] {DRAWN}")


def test_export_again_and_elsewhere(tmp_path: Path) -> None:
    small = tmp_path / "small.zarr"
    chgdb.write(tmp_path / "CHGCAR", chgdb.open()["mp-149"].density)
    chgdb.build(small, tmp_path / "CHGCAR", ids={str(tmp_path / "CHGCAR"): "one"}, workers=1)
    site = tmp_path / "site"
    export(site, small)
    (tmp_path / "more").mkdir()
    chgdb.write(tmp_path / "more" / "CHGCAR", chgdb.open()["mp-32"].density)
    chgdb.build(small, tmp_path / "more", workers=1)
    export(site, small)
    assert len(chgdb.open(site / "store")) == 2
    other = tmp_path / "mine"
    other.mkdir()
    (other / "thesis.tex").write_text("x")
    command = [sys.executable, "-m", "chgdb_cli.main", "web", "--export", str(other), str(small)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert [p.name for p in other.iterdir()] == ["thesis.tex"]


def test_what_is_no_site_is_not_exported_into(tmp_path: Path) -> None:
    """Files with the names of a site's, a store, and folders below one stay as they are."""
    store = tmp_path / "one.zarr"
    chgdb.write(tmp_path / "CHGCAR", chgdb.open()["mp-149"].density)
    chgdb.build(store, tmp_path / "CHGCAR", ids={str(tmp_path / "CHGCAR"): "one"}, workers=1)
    before = sorted(store.rglob("*"))
    for name, text in (("config.json", '{"title": "of another program"}'), ("app.css", "b {}"), ("index.html", "me")):
        mine = tmp_path / name.partition(".")[2]
        mine.mkdir()
        (mine / name).write_text(text)
        with pytest.raises(StoreError, match="something else than such a site"):
            export(mine, store)
        assert (mine / name).read_text() == text
        assert len(list(mine.iterdir())) == 1
    for place in (store, store / "site"):
        with pytest.raises(StoreError):
            export(place, store)
    assert sorted(store.rglob("*")) == before
    # What others put into a site of ours stays; a link leads to the site; one export at a time.
    (tmp_path / "link").symlink_to("site")
    export(tmp_path / "link", store)
    assert (tmp_path / "link").is_symlink()
    (tmp_path / "site" / "CNAME").write_text("densities.example")
    export(tmp_path / "site", store)
    assert (tmp_path / "site" / "CNAME").exists()
    holding = "from chgdb.store.transaction import writing\nfrom chgdb.web.site import SITE\n"
    holding += f"with writing({str(tmp_path / 'site')!r}, SITE):\n    print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", holding], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(StoreError, match="another command is writing to it"):
            export(tmp_path / "site", store)
        other.communicate(b"\n")


def test_what_notebooks_show(catalog: chgdb.Catalog) -> None:
    record = catalog["mp-22862"]
    for value in (catalog, record, record.density):
        assert len(repr(value)) < 200
        html = value._repr_html_()
        assert html.startswith("<div>")
        assert "<script" not in html
    assert "NaCl" in record.density._repr_html_()
    assert f"{100 * record.nmae:.3g} %" in record._repr_html_()
    density = record.density
    from chgdb.cards import card

    assert "<img" not in card("<img src=x>", [("<b>", "&")])
    assert repr(density) == "<chgdb.Density NaCl: total on 40x40x40>"


def test_the_widget_draws(static: str, open_page: OpenPage, catalog: chgdb.Catalog) -> None:
    pytest.importorskip("anywidget", reason="needs pip install 'chgdb[notebook]'")
    density = catalog["mp-22862"].density
    widget = density.view()
    state = {
        name: getattr(widget, name) for name in ("title", "note", "cell", "numbers", "positions", "grid", "channels")
    }
    # What a notebook's page does with it: the module's own render, with the traits that Python sends.
    page = open_page(f"{static}#/file", "input[type=file]")
    page.evaluate(
        """async ({ state, values, worker }) => {
          const bytes = Uint8Array.from(atob(values), (c) => c.charCodeAt(0))
          const traits = { ...state, worker, values: new DataView(bytes.buffer) }
          const el = document.createElement('div')
          el.id = 'cell'
          document.body.append(el)
          const module = await import(new URL('app.js', document.baseURI).href)
          window.cleanUp = module.default.render({ model: { get: (name) => traits[name] }, el })
        }""",
        {"state": state, "values": base64.b64encode(widget.values).decode(), "worker": widget.worker},
    )
    appears(page, f"#cell {DRAWN}")
    assert "NaCl" in (page.get_attribute("#cell figure canvas", "aria-label") or "")
    page.evaluate("() => window.cleanUp()")
    assert page.locator("#cell figure").count() == 0
    assert np.frombuffer(widget.values).size == density.total.size


def test_a_zipped_store_by_the_server(open_page: OpenPage, tmp_path: Path) -> None:
    """What a page cannot read by itself it asks the REST server for; decoded is it in the browser all the same."""
    path = Path(__file__).resolve().parents[1] / "golden" / "store-v2.zip"
    catalog = chgdb.open(path)
    with serving(str(path), "--pack", str(tmp_path / "packed.zarr")) as address:
        page = open_page(f"{address}/", "table.materials tbody tr")
        assert page.get_attribute("main", "data-found") == str(len(catalog))
        for record in catalog:
            page.goto(f"{address}/#/material/{record.material_id}")
            appears(page, f"main[data-id='{record.material_id}'] {DRAWN}")
            assert f"{record.n_electrons:.6f}" in page.inner_text("main")


def test_a_latent_is_shown(site: str, open_page: OpenPage, catalog: chgdb.Catalog) -> None:
    pytest.importorskip("torch", reason="needs pip install 'chgdb[ml]'")
    page = open_page(f"{site}/#/material/mp-22862", DRAWN)
    page.get_by_role("button", name="Show the reconstruction").click()
    said = appears(page, "text=Latent: NMAE").inner_text()
    assert f"{100 * catalog['mp-22862'].metadata['latent_nmae']:.3g} %" in said
    page.select_option("select[name=kind]", "latent error")
    appears(page, '[data-drawn^="latent error"][data-drawn*=whole]')
