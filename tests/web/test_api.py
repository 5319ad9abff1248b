"""The REST API: equal to the library, no server error whatever is asked, OPTIMADE as its validator wants it."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from effort import THOROUGH
from pages import OpenPage, chgdb_prints, in_page, serving
from playwright.sync_api import Page

import chgdb
from chgdb import formats
from chgdb.elements import SYMBOLS
from chgdb.predicted import View
from chgdb.targets import TARGETS


@pytest.fixture
def client(site: str) -> Any:
    with httpx.Client(base_url=site, timeout=60) as client:
        yield client


def get(client: httpx.Client, path: str, status: int = 200, **query: Any) -> Any:
    answer = client.get("/api/v1/" + path, params=query or None)
    assert answer.status_code == status, answer.text[:500]
    return answer.json()


@pytest.mark.parametrize(
    ("query", "criteria"),
    [
        ({"elements": "Li,O", "where": "band_gap:1..2"}, {"elements": "Li,O", "band_gap": (1, 2)}),
        ({"elements": "Ga,As", "mode": "only"}, {"chemical_system": "Ga,As"}),
        ({"formula": "O2Si"}, {"formula": "SiO2"}),
        ({"predicted": "bulk_modulus:250.."}, {"predicted": {"bulk_modulus": (250, None)}}),
        ({"where": ["spin_polarised:yes", "n_atoms:2..3"]}, {"spin_polarised": 1, "n_atoms": (2, 3)}),
    ],
    ids=str,
)
def test_materials(client: httpx.Client, catalog: chgdb.Catalog, query: dict, criteria: dict) -> None:
    found = get(client, "materials", limit=1000, columns="formula,nmae", **query)
    expected = catalog.search(**criteria)
    assert expected
    assert found["total"] == len(expected)
    assert [row["material_id"] for row in found["data"]] == expected[:1000]
    one = catalog[expected[0]]
    assert found["data"][0] == {"material_id": expected[0], "formula": one.formula, "nmae": pytest.approx(one.nmae)}


def test_sorting_and_paging(client: httpx.Client, catalog: chgdb.Catalog) -> None:
    pages = [
        get(client, "materials", elements="Fe,O", sort="-band_gap", columns="band_gap", limit=7, offset=o)["data"]
        for o in (0, 7)
    ]
    gaps = [row["band_gap"] for page in pages for row in page]
    assert gaps == sorted(gaps, reverse=True)
    known = catalog.column("band_gap")[np.isin(catalog.ids, catalog.search(elements="Fe,O"))]
    assert gaps == pytest.approx(sorted(known[np.isfinite(known)], reverse=True)[:14])


def test_one_material(client: httpx.Client, catalog: chgdb.Catalog) -> None:
    facts = get(client, "materials/mp-6930")
    record = catalog["mp-6930"]
    assert facts["row"] == catalog.ids.index("mp-6930")
    for name, value in facts["columns"].items():
        expected = record.metadata[name]
        if isinstance(expected, float) and not np.isfinite(expected):
            assert value is None
        elif name != "channel_nmae":
            assert value == expected
    predicted = View(catalog, "properties")["bulk_modulus"][facts["row"]]
    assert facts["predictions"]["view/properties/bulk_modulus"] == pytest.approx(float(predicted))
    raw = client.get("/api/v1/materials/mp-6930/record").content
    assert raw[:-4] == record.payload + record.extras
    assert len(raw) == record.stored_bytes


@pytest.mark.parametrize("kind", ["chgcar", "cube", "npz", "xsf"])
def test_densities(client: httpx.Client, catalog: chgdb.Catalog, tmp_path: Path, kind: str) -> None:
    answer = client.get("/api/v1/materials/mp-149/density", params={"format": kind})
    path = tmp_path / "file"
    path.write_bytes(answer.content)
    expected = tmp_path / "expected"
    chgdb.write(expected, catalog["mp-149"].density, format=kind)
    ours, theirs = (chgdb.read(p, format=kind) for p in (path, expected))
    np.testing.assert_array_equal(ours.total, theirs.total)
    coarse = client.get("/api/v1/materials/mp-149/density", params={"format": kind, "grid": "12x16x20"})
    path.write_bytes(coarse.content)
    assert chgdb.read(path, format=kind).grid == (12, 16, 20)


def test_a_slice_is_what_the_page_draws(client: httpx.Client, site: str, open_page: OpenPage) -> None:
    query = {"h": 1, "k": -1, "l": 2, "offset": 0.3, "width": 24, "height": 16}
    ours = get(client, "materials/mp-6930/slice", **query)
    page: Page = open_page(site + "/#/", "table.materials tbody tr")
    code = """
    const session = new Session()
    const source = await StoreSource.open('store/')
    const record = await source.record('mp-6930')
    await session.ask('record', { payload: record.payload, priors: record.priors, id: 'mp-6930' })
    const found = await session.ask('slice', { kind: 'total', hkl: [1, -1, 2], offset: 0.3, width: 24, height: 16 })
    session.close()
    return { ...found, values: Array.from(found.values) }
    """
    theirs = in_page(page, code)
    np.testing.assert_allclose(ours["values"], theirs["values"], rtol=2e-6)
    assert (ours["span"], ours["spacing"]) == pytest.approx((theirs["span"], theirs["spacing"]))


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("materials/nothing", 404, "nothing"),
        ("materials/nothing/record", 404, "nothing"),
        ("materials?where=bandgap", 400, "bandgap"),
        ("materials?where=no_such:1..2", 400, "no_such"),
        ("materials?elements=Xx", 400, "Xx"),
        ("materials?sort=grid", 400, "order"),
        ("columns?name=no_such", 400, "no_such"),
        ("priors/7", 404, "prior"),
        ("materials/mp-149/density?grid=9999x9999x9999", 400, "grid"),
        ("materials/mp-149/slice?h=0&k=0&l=0", 400, "plane"),
        ("materials/mp-149/slice?channel=magnetization", 400, "total"),
        ("materials/mp-149/density?format=exe", 400, "chgcar"),
        ("materials/mp-149/density?format=mp_json", 400, "npz"),
        ("materials?limit=0", 422, "limit: Input should be greater than or equal to 1, not '0'"),
        ("materials?limit=<img>", 422, "<img>"),
        ("columns", 422, "name: Field required"),
        ("materials/mp-149/slice?offset=nan", 422, "offset"),
        ("materials/" + 300 * "x", 422, "200 characters"),
    ],
)
def test_errors_are_one_line(client: httpx.Client, path: str, status: int, words: str) -> None:
    detail = get(client, path, status)["detail"]
    assert words in json.dumps(detail)
    assert isinstance(detail, str)
    assert "\n" not in detail
    assert str(Path(chgdb.open().path)) not in str(detail)  # where things lie here is nobody's business


@pytest.mark.parametrize("model", ["invariant", "lightgbm"])
def test_predictions_are_those_of_the_command(
    client: httpx.Client, catalog: chgdb.Catalog, tmp_path: Path, model: str
) -> None:
    path = tmp_path / "CHGCAR"
    chgdb.write(path, catalog["mp-22862"].density)
    answer = client.post("/api/v1/predict", content=path.read_bytes(), params={"model": model})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    expected = chgdb.predict(path, model=model)
    assert found["model"] == expected.model
    for name, one in expected.properties.items():
        assert found["properties"][name]["value"] == pytest.approx(one.value, rel=1e-9)
        assert found["properties"][name]["label"] == TARGETS[name].label
        # A difference of nearly equal numbers: the server's threads add them up in another order.
        assert found["properties"][name]["std"] == pytest.approx(one.std, rel=1e-6)


def test_a_structure_has_the_properties_that_the_command_says(
    client: httpx.Client, catalog: chgdb.Catalog, tmp_path: Path
) -> None:
    crystal = catalog["mp-22862"].crystal
    path = tmp_path / "POSCAR"
    rows = "\n".join(" ".join(map(repr, row)) for row in crystal.cell.tolist())
    sites = "\n".join(" ".join(map(repr, row)) for row in crystal.positions.tolist())
    path.write_text(f"NaCl\n1.0\n{rows}\nNa Cl\n1 1\nDirect\n{sites}\n")
    expected = json.loads(chgdb_prints("predict", str(path), "--json"))[0]
    answer = client.post("/api/v1/predict", content=path.read_bytes(), params={"name": "../POSCAR"})
    found = answer.json()
    assert (found["density"], found["formula"]) == ("estimated", expected["formula"])
    assert 0 < found["density_error"] < found["density_limit"]
    for name, one in expected["properties"].items():
        assert found["properties"][name]["value"] == pytest.approx(one["value"], rel=1e-9)


def test_formats_are_those_of_the_registry(client: httpx.Client) -> None:
    described = client.get("/api/v1/openapi.json").json()["paths"]["/api/v1/materials/{material_id}/density"]
    stated = next(p for p in described["get"]["parameters"] if p["name"] == "format")["schema"]["enum"]
    assert stated == [name for name, module in formats.formats().items() if hasattr(module, "write")]


def test_what_cannot_be_predicted_or_packed(client: httpx.Client) -> None:
    huge = b"huge\n1.0\n90 0 0\n0 90 0\n0 0 90\nSi\n1\nDirect\n0 0 0\n"
    refused = client.post("/api/v1/predict?name=POSCAR", content=huge)
    assert refused.status_code == 422
    assert "too large" in refused.json()["detail"]
    for path in ("predict", "pack?material_id=x"):
        assert client.post(f"/api/v1/{path}", content=b"hello").status_code == 422
        assert client.post(f"/api/v1/{path}").status_code == 422
    cell = [[0.3, 0, 0], [0, 0.3, 0], [0, 0, 0.3]]
    crowd = {"cell": cell, "numbers": [1] * 900, "positions": np.random.default_rng(0).random((900, 3)).tolist()}
    refused = client.post("/api/v1/estimate", json=crowd)
    assert refused.status_code == 422
    assert "apart" in refused.json()["detail"]
    broken = client.post("/api/v1/estimate", content=b"{", headers={"content-type": "application/json"})
    assert broken.json()["detail"].startswith("1: JSON decode error")
    assert client.post("/api/v1/predict?model=no_such", content=b"x").status_code == 400
    refused = client.post("/api/v1/pack?material_id=../x", content=b"x")
    assert refused.status_code == 422
    assert "cannot be a material id" in refused.json()["detail"]


def test_packing(tmp_path: Path, catalog: chgdb.Catalog) -> None:
    store = tmp_path / "mine.zarr"
    density = catalog["mp-22862"].density
    chgdb.write(tmp_path / "CHGCAR", density)
    body = (tmp_path / "CHGCAR").read_bytes()
    with serving("--pack", str(store)) as address, httpx.Client(base_url=address, timeout=60) as client:
        for name in ("first", "second"):
            answer = client.post(f"/api/v1/pack?material_id={name}", content=body)
            assert answer.status_code == 200, answer.text
            assert answer.json()["store"] == str(store)
        refused = client.post("/api/v1/pack?material_id=third", content=b"PK no density")
        assert refused.status_code == 422
    packed = chgdb.open(store)
    assert packed.ids == ["first", "second"]
    error = np.abs(packed["first"].density.total - density.total).sum() / np.abs(density.total).sum()
    assert error <= 1e-4


def test_optimade_filters(client: httpx.Client, catalog: chgdb.Catalog) -> None:
    base = "optimade/v1/structures"
    for text, criteria in {
        'elements HAS ALL "Li","O"': {"elements": "Li,O"},
        'elements HAS ONLY "Ga","As" AND nelements=2': {"chemical_system": "Ga,As"},
        "_chgdb_band_gap>=1 AND _chgdb_band_gap<=2 AND nsites<4": {"band_gap": (1, 2), "n_atoms": (None, 3)},
        "NOT nsites > 2 AND space_group_it_number=225": {"n_atoms": (None, 2), "space_group": 225},
    }.items():
        found = get(client, base, filter=text, page_limit=500, response_fields="nsites")
        assert [entry["id"] for entry in found["data"]] == catalog.search(**criteria)[:500], text
    one = get(client, f"{base}/mp-6930")["data"]["attributes"]
    crystal = catalog["mp-6930"].crystal
    np.testing.assert_allclose(one["lattice_vectors"], crystal.cell)
    np.testing.assert_allclose(one["cartesian_site_positions"], crystal.positions @ crystal.cell)
    assert one["chemical_formula_reduced"] == "O2Si"
    assert one["chemical_formula_hill"] == "O6Si3"
    assert one["chemical_formula_anonymous"] == "A2B"
    assert get(client, base, 400, filter="nsites HAS")["errors"][0]["status"] == "400"


@pytest.mark.parametrize(
    "query",
    [
        {"filter": "(" * 31 + "nsites=1" + ")" * 31},
        {"filter": "NOT (" * 300 + "nsites=1" + ")" * 300},
        {"filter": "(" * 1900},
        {"filter": " OR ".join(["nsites=1"] * 500)},
        {"filter": 'id="' + "a" * 30_000 + '"'},
        {"filter": "nsites=" + "9" * 5000},
        {"filter": "elements LENGTH " + "9" * 5000},
        {"filter": " " * 30_000 + "nsites=1"},
        {"sort": ",".join(["nsites"] * 5000)},
    ],
    ids=lambda query: str(query)[:40],
)
def test_optimade_refuses_what_would_take_long(client: httpx.Client, query: dict[str, str]) -> None:
    began = time.monotonic()
    (error,) = get(client, "optimade/v1/structures", 400, **query)["errors"]
    assert "more than" in error["detail"]
    assert time.monotonic() - began < 10


def test_optimade_takes_what_people_ask(client: httpx.Client, catalog: chgdb.Catalog) -> None:
    """Brackets in a text are none, and every element can be named."""
    nested = "(" * 30 + 'chemical_formula_reduced="Si" AND NOT id="' + "(" * 100 + '"' + ")" * 30
    found = get(client, "optimade/v1/structures", filter=nested, response_fields="id", page_limit=500)
    assert [entry["id"] for entry in found["data"]] == catalog.search(formula="Si")
    every = ",".join(f'"{symbol}"' for symbol in SYMBOLS[1:])
    found = get(client, "optimade/v1/structures", filter=f"elements HAS ANY {every}", response_fields="id")
    assert found["meta"]["data_returned"] == len(catalog)
    assert get(client, "optimade/v1/structures", filter="nsites=" + "9" * 1900)["data"] == []


def test_optimade_validator(site: str) -> None:
    """All of the mandatory tests of the specification's own validator."""
    pytest.importorskip("optimade", reason="needs pip install 'chgdb[test]'")
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from optimade.validator import ImplementationValidator

        validator = ImplementationValidator(
            base_url=f"{site}/api/v1/optimade", respond_json=True, page_limit=4, run_optional_tests=False, verbosity=0
        )
        with suppress(SystemExit):  # it is a program, too; what it found is below
            validator.validate_implementation()
    failures = validator.results.failure_messages
    assert not failures, failures[:5]
    assert validator.valid
    assert validator.results.success_count > 30


def test_schemathesis(client: httpx.Client) -> None:
    """Whatever the description allows gives no server error."""
    schemathesis = pytest.importorskip("schemathesis", reason="needs pip install 'chgdb[test]'")
    from hypothesis import HealthCheck, Phase, given, settings

    schema = schemathesis.openapi.from_dict(client.get("/api/v1/openapi.json").json())
    asked = 0
    for result in schema.get_all_operations():
        operation = result.ok()

        @settings(
            max_examples=15 if THOROUGH else 5, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=operation.as_strategy())
        def check(case: Any) -> None:
            nonlocal asked
            asked += 1
            options = case.as_transport_kwargs(base_url=str(client.base_url).rstrip("/"))
            options = {k: v for k, v in options.items() if k in ("method", "url", "params", "headers") or k == "data"}
            if "data" in options:
                options["content"] = options.pop("data")
            answer = client.request(**options)
            assert answer.status_code < 500, f"{options}: {answer.text[:300]}"

        check()
    assert asked > (100 if THOROUGH else 33)
