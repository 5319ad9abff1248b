"""The Materials Project's JSON, made here by pymatgen itself or by hand."""

from __future__ import annotations

import gzip
import json
import warnings

import numpy as np
import pytest
from vasp_text import chgcar

import chgdb
from chgdb.errors import DensityError, FormatError


def document(wrapped: bool = False, **changes):
    chgcar = {
        "@class": "Chgcar",
        "poscar": {
            "comment": "by hand",
            "structure": {
                "lattice": {"matrix": [[2.0, 0, 0], [0, 2, 0], [0, 0, 2]]},
                "sites": [{"species": [{"element": "Li", "occu": 1}], "abc": [0.5, 0, 0]}],
            },
        },
        "data": {"total": {"@class": "array", "dtype": "float64", "data": np.arange(24.0).reshape(2, 3, 4).tolist()}},
        "data_aug": {},
    } | changes
    return {"fs_id": "0123", "data": chgcar} if wrapped else chgcar


def read(tmp_path, content):
    (tmp_path / "x.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return chgdb.read(tmp_path / "x.json")


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("bare", [False, True])
def test_by_hand(tmp_path, wrapped, bare):
    values = np.arange(24.0).reshape(2, 3, 4)
    changes = {"data": {"total": values.tolist(), "diff": (-values).tolist()}} if bare else {}
    density = read(tmp_path, document(wrapped, **changes))
    assert np.array_equal(density.total, values / density.crystal.volume)
    assert density.crystal.positions.tolist() == [[0.5, 0, 0]]
    assert density.extras == {"comment": "by hand"}
    if bare:
        assert np.array_equal(density.channels["magnetization"], -density.total)


@pytest.mark.parametrize("channels", [1, 2, 4])
@pytest.mark.parametrize("wrapped", [False, True])
def test_as_pymatgen_writes_it(tmp_path, channels, wrapped):
    outputs = pytest.importorskip("pymatgen.io.vasp.outputs")
    (tmp_path / "CHGCAR").write_text(chgcar(channels))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pymatgen's own
        text = outputs.Chgcar.from_file(str(tmp_path / "CHGCAR")).to_json()
    with gzip.open(tmp_path / "mp-2534.json.gz", "wt") as file:
        file.write(f'{{"fs_id": "0", "data": {text}}}' if wrapped else text)
    ours, expected = chgdb.read(tmp_path / "mp-2534.json.gz"), chgdb.read(tmp_path / "CHGCAR")
    assert ours.crystal == expected.crystal
    assert all(np.array_equal(ours.channels[name], expected.channels[name]) for name in expected.channels)
    for name, text in ours.extras["after"].items():  # per-ion lines are lost in pymatgen
        assert expected.extras["after"][name].startswith(text)
    chgdb.write(tmp_path / "again.CHGCAR", ours)
    assert "augmentation occupancies   2  13" in (tmp_path / "again.CHGCAR").read_text()


def test_older_occupancies_are_lines(tmp_path):
    lines = ["augmentation occupancies   1   1\n", "  0.1000000E+01\n"]
    assert read(tmp_path, document(data_aug={"total": lines})).extras["after"] == {"total": "".join(lines)}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Locpot", "a local potential in eV"), ("Elfcar", "an electron localisation function"),
        ("VolumetricData", "a field whose unit is not kept"), ("ChargeDensity", "a density of pyrho's"),
        ("Wavecar", "whose values may be anything"), ("Structure", "a structure without a density"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("wrapped", [False, True])
def test_classes_whose_values_are_something_else(tmp_path, name, message, wrapped):
    with pytest.raises(FormatError, match=f"an? {name} of pymatgen, {message}"):
        read(tmp_path, document(wrapped, **{"@class": name}))
    structure = document()["poscar"]["structure"]
    with pytest.raises(FormatError, match=f"an? {name} of pymatgen, {message}"):
        read(tmp_path, [document(wrapped, poscar=None, structure=structure, **{"@class": name})])


def test_other_classes_from_pymatgen_itself(tmp_path):
    outputs = pytest.importorskip("pymatgen.io.vasp.outputs")
    common = pytest.importorskip("pymatgen.io.common")
    (tmp_path / "CHGCAR").write_text(chgcar(1))
    density = chgdb.read(tmp_path / "CHGCAR")
    chgdb.write(tmp_path / "x.cube", density)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        others = [
            outputs.Locpot.from_file(str(tmp_path / "CHGCAR")), outputs.Elfcar.from_file(str(tmp_path / "CHGCAR")),
            common.VolumetricData.from_cube(str(tmp_path / "x.cube")),
        ]  # fmt: skip
        texts = [json.dumps(other.as_dict(), default=lambda array: array.tolist()) for other in others]
    for other, text in zip(others, texts, strict=True):
        with pytest.raises(FormatError, match=f"an? {type(other).__name__} of pymatgen"):
            read(tmp_path, text)
        with pytest.raises(DensityError, match="holds no ρ·V"):
            chgdb.Density.from_pymatgen(other)


def test_a_document_without_a_class_is_a_chgcar(tmp_path):
    plain = {key: value for key, value in document().items() if key != "@class"}
    assert read(tmp_path, plain).crystal.formula == "Li"


SITE = {"species": [{"element": "Li", "occu": 0.5}], "abc": [0, 0, 0]}
STRUCTURE = document()["poscar"]["structure"]
BAD = {
    "empty": ("", "line 1"),
    "cut": (json.dumps(document())[:-40], "line 1: not JSON: "),
    "no JSON": ("\x01\x02", "line 1: not JSON"),
    "other JSON": ("[1, 2, 3]", "no object with the keys"),
    "a number": ("17", "no object with the keys"),
    "no structure": (document(poscar={}), "'structure' is missing"),
    "no lattice": (document(poscar={"structure": {"sites": []}}), "'lattice' is missing"),
    "no total": (document(data={"diff": []}), "no object with the keys"),
    "flat": (document(data={"total": [1.0, 2.0]}), r"'total' has the shape \(2,\)"),
    "ragged": (document(data={"total": [[[1.0]], [[1.0, 2.0]]]}), "not a pymatgen Chgcar"),
    "letters": (document(data={"total": [[["x"]]]}), "not a pymatgen Chgcar"),
    "null": (document(data={"total": None}), "not a pymatgen Chgcar"),
    "NaN": (json.dumps(document(data={"total": [[[float("nan")]]]})), "line 1: .*holds NaN"),
    "too large": (json.dumps(document()).replace("23.0", "1e999"), "channel total is inf"),
    "complex": (document(data={"total": {"dtype": "complex128", "data": []}}), "is complex"),
    "partial occupation": (document(poscar={"structure": STRUCTURE | {"sites": [SITE]}}), "partially occupied"),
    "deep": ("[" * 200_000, "line 1"),
    "long number": ("[" + "1" * 6000 + "]", "line 1"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_files(tmp_path, kind):
    content, message = BAD[kind]
    with pytest.raises(FormatError, match=message) as caught:
        read(tmp_path, content)
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "x.json") in str(caught.value)
