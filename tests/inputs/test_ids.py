"""Ids of materials by the paths that users have."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chgdb.errors import FormatError, StoreError
from chgdb.inputs import Names, id_of, ids_of
from chgdb.inputs.ids import file_name


@pytest.mark.parametrize(
    ("paths", "ids"),
    [
        # Steps of a calculation, known ones and any that all materials have in common.
        (["w/job_7/scf/CHGCAR", "w/job_8/scf/CHGCAR.gz"], ["job_7", "job_8"]),
        (["w/job_7/02_relax/CHGCAR", "w/job_8/static2/CHGCAR"], ["job_7", "job_8"]),
        (["w/MgO/ismear0/CHGCAR", "w/ZnO/ismear0/CHGCAR"], ["MgO", "ZnO"]),
        (["w/MgO/a/ismear0/CHGCAR", "w/MgO/b/ismear0/CHGCAR", "w/ZnO/a/ismear0/CHGCAR"], ["MgO.a", "MgO.b", "ZnO.a"]),
        (["x1/relax/CHGCAR", "x1/static/CHGCAR", "x2/static/CHGCAR"], ["x1.relax", "x1.static", "x2"]),
        (["x1/CHGCAR", "x1/static/CHGCAR"], ["x1", "x1.static"]),
        (["static/CHGCAR"], ["static"]),
        (["calc_12/CHGCAR", "run_3/CHGCAR", "OPt/CHGCAR", "Sc/CHGCAR"], ["calc_12", "run_3", "OPt", "Sc"]),
        # Which of several densities of a material.
        (["m/CHGCAR.relax3.gz"], ["m"]),
        (["m/CHGCAR.relax1", "m/CHGCAR.relax2.gz", "n/CHGCAR.relax2"], ["m.relax1", "m.relax2", "n"]),
        (["m/CHGCAR", "m/CHGCAR.bak"], ["m", "m.bak"]),
        (["m/CHGCAR_sum", "n/CHGCAR_sum"], ["m", "n"]),
        (["m/PARCHG.0012.ALLK", "m/PARCHG.ALLB.ALLK"], ["m.PARCHG.0012.ALLK", "m.PARCHG.ALLB.ALLK"]),
        (["m/CHGCAR", "m/CHGCAR (copy)", "n/CHGCAR (1).gz"], ["m", "m.copy", "n"]),
        (["m/CHGCAR - Copy", "m/CHGCAR(2)", "w/CHGCAR_(PbS)1"], ["m.Copy", "m.2", "(PbS)1"]),
        (["m/PARCHG.0012.0003", "n/PARCHG.0012.0003"], ["m.PARCHG.0012.0003", "n.PARCHG.0012.0003"]),
        (["m/AECCAR0", "m/AECCAR2", "m/CHGCAR"], ["m.AECCAR0", "m.AECCAR2", "m"]),
        (["m/total_density.cube", "n/total_density.cube"], ["m", "n"]),
        (["m/CHGCAR", "m/CHGCAR.cube"], ["m", "m.cube"]),
        (["w/LiF.cube", "w/LiF.json"], ["LiF.cube", "LiF.json"]),
        (["w/m.CHGCAR.relax1", "w/m.CHGCAR.relax2"], ["m.relax1", "m.relax2"]),
        # Names of their own.
        (["w/7.CHGCAR", "w/8.CHGCAR", "w/9.cube"], ["7", "8", "9"]),
        (["w/CHGCAR_icsd-12", "w/CHG.KBr"], ["icsd-12", "KBr"]),
        (["pbe/mp-9.CHGCAR", "hse/mp-9.CHGCAR", "hse/mp-8.CHGCAR"], ["pbe.mp-9", "hse.mp-9", "mp-8"]),
        (["w/mp-1.json", "w/mp-1/CHGCAR"], ["mp-1.json", "mp-1"]),
        (["s3://bucket/runs/mp%207/CHGCAR", "https://host.org/CHGCAR?x=1"], ["mp 7", "host.org"]),
    ],
)
def test_ids(paths: list[str], ids: list[str]) -> None:
    assert ids_of(paths) == ids
    assert dict(zip(paths[::-1], ids_of(paths[::-1]), strict=True)) == dict(zip(paths, ids, strict=True))


def test_ids_of_many_paths_differ() -> None:
    paths = [
        f"r/{a}/{b}/{c}/{d}" for a in "xy" for b in ("k1", "k2") for c in ("scf", "u") for d in ("CHGCAR", "CHG.a")
    ]
    assert len(set(ids_of(paths))) == len(paths)


def test_the_current_folder_as_the_user_sees_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "disk" / "job").mkdir(parents=True)
    (tmp_path / "mp-5").symlink_to(tmp_path / "disk" / "job")
    monkeypatch.chdir(tmp_path / "mp-5")
    monkeypatch.setenv("PWD", str(tmp_path / "mp-5"))
    assert id_of("CHGCAR") == id_of("./CHGCAR") == "mp-5"
    assert id_of("../mp-5/CHGCAR.xz") == "mp-5"
    monkeypatch.setenv("PWD", str(tmp_path))  # of another folder: a parent that changed it
    assert id_of("CHGCAR") == "job"


def test_templates() -> None:
    path = os.path.join("set", "mp-4", "pbe", "LiH.AECCAR0.gz")
    for template, material_id in {
        "{parent}": "pbe", "{parent2}": "mp-4", "{parent3}-{parent}": "set-pbe",
        "{stem}": "LiH", "{name}": "LiH.AECCAR0", "a_{parent2}.{kind}": "a_mp-4.AECCAR0",
    }.items():  # fmt: skip
        assert Names(template=template)(path) == material_id
    assert Names(template="{parent}:{part}")("x/CHGCAR.relax2") == "x:relax2"
    for template in ("{folder}", "{parent", "plain", "{}", "{0}", "{parent:>9}", "{parent!r}", "{parent.name}", ""):
        with pytest.raises(StoreError, match=r"the template .* for ids"):
            Names(template=template)
    with pytest.raises(StoreError, match=r"no \{parent9\}"):
        Names(template="{parent9}")("s3://b/x/CHGCAR")
    given, refused = Names(template="{parent}").assign(["a/x/CHGCAR", "b/x/CHGCAR"])
    assert given == {"x": "a/x/CHGCAR"}
    assert "tell them apart" in refused[0][1]
    assert "=" not in refused[0][1]
    with pytest.raises(StoreError, match="not from both"):
        Names({"a": "b"}, "{parent}")


def test_tables_of_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs" / "one").mkdir(parents=True)
    (tmp_path / "store").mkdir()
    for name in ("a", "b"):  # two links to one file, as git-annex makes of equal contents
        (tmp_path / "runs" / name).mkdir()
        (tmp_path / "runs" / name / "CHGCAR").symlink_to(tmp_path / "store" / "SHA256-0")
    (tmp_path / "ids.csv").write_text("material_id;Path\nA;runs/a/CHGCAR\nB;runs/b\nC;runs/c/CHGCAR\nD;d.cube\n")
    names = Names(tmp_path / "ids.csv")
    monkeypatch.chdir(tmp_path / "runs")
    given, refused = names.assign(
        [Path("a/CHGCAR"), tmp_path / "runs" / "b" / "CHGCAR", Path("x/d.cube"), Path("e/CHG")]
    )
    assert [(i, Path(p).name) for i, p in given.items()] == [("A", "CHGCAR"), ("B", "CHGCAR"), ("D", "d.cube")]
    assert "ids.csv has no id for it" in refused[0][1]
    assert names.unused.endswith("1 of 4 rows name none of the files: runs/c/CHGCAR")
    (tmp_path / "ids.csv").write_text("path,material_id\nx,1\nx,2\n")
    with pytest.raises(FormatError, match="x has the ids 1 and 2"):
        Names(tmp_path / "ids.csv")


@pytest.mark.parametrize(
    ("folder", "material_id"),
    [
        ("Ko\u0308ln", "K\u00f6ln"),
        ("caf\u00e9", "caf\u00e9"),
        ("x\u0304y", "x\u0304y"),
        ("\u0915\u093f", "\u0915\u093f"),
    ],
)
def test_letters_with_marks_are_put_together(folder: str, material_id: str) -> None:
    given, refused = Names().assign([f"{folder}/CHGCAR"])
    assert (list(given), refused) == ([material_id], [])
    assert file_name(material_id) == material_id
    both, twice = Names().assign(["runs/Ko\u0308ln/CHGCAR", "runs/K\u00f6ln/CHGCAR"])
    assert list(both) == ["K\u00f6ln"]
    assert "has the id" in twice[0][1]


@pytest.mark.parametrize("folder", ["Al&Ni", "run #2", "50%", "a;b", "-x", "\u0301a"])
def test_a_folder_whose_name_can_be_no_id_says_how_to_give_one(folder: str) -> None:
    given, refused = Names().assign([f"{folder}/CHGCAR"])
    assert given == {}
    assert refused[0][1].endswith("name it with --ids or --id-from")
    given, refused = Names(template="{parent}").assign([f"{folder}/CHGCAR"])
    assert refused[0][1].endswith("name it with --ids")
