"""`chgdb estimate`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small import Chgdb, one_line

import chgdb

POSCAR = "salt\n5.64\n0 .5 .5\n.5 0 .5\n.5 .5 0\nNa Cl\n1 1\nDirect\n0 0 0\n.5 .5 .5\n"


@pytest.fixture
def poscar(tmp_path: Path) -> Path:
    (tmp_path / "POSCAR").write_text(POSCAR)
    return tmp_path / "POSCAR"


def test_a_file_and_what_it_says(run_chgdb: Chgdb, poscar: Path, tmp_path: Path) -> None:
    found = run_chgdb("estimate", poscar, "-o", tmp_path / "CHGCAR", "--grid", "12x14x16")
    assert found.code == 0
    assert "NaCl, estimated by a model, not computed; error about" in found.out
    assert "valence Na 7, Cl 7" in found.out
    density = chgdb.read(tmp_path / "CHGCAR")
    assert density.grid == (12, 14, 16)
    assert density.n_electrons == pytest.approx(14, abs=1e-9)
    assert "ESTIMATED" in density.extras["comment"]


def test_json_without_a_file(run_chgdb: Chgdb, poscar: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    (facts,) = run_chgdb("estimate", poscar, "--spacing", "0.4", "--json").json
    assert facts["formula"] == "NaCl"
    assert facts["estimated"] is True
    assert 0 < facts["nmae_expected"] < facts["nmae_90"]
    assert facts["unlike_training"] == []
    assert facts["valence"] == {"Na": 7.0, "Cl": 7.0}
    assert sorted(tmp_path.iterdir()) == before


def test_several_into_a_folder(run_chgdb: Chgdb, poscar: Path, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "POSCAR").write_text(POSCAR.replace("5.64", "5.80"))
    found = run_chgdb("estimate", poscar, tmp_path / "b" / "POSCAR", "-o", f"{tmp_path}/out/", "--format", "npz",
                      "--spacing", "0.4")  # fmt: skip
    assert found.code == 0
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == sorted(["b.npz", f"{tmp_path.name}.npz"])
    assert len({chgdb.read(path).crystal.volume for path in (tmp_path / "out").iterdir()}) == 2


def test_nothing_is_put_into_a_store(run_chgdb: Chgdb, poscar: Path, tmp_path: Path) -> None:
    store = tmp_path / "one.zarr"
    assert run_chgdb("fetch", "si", "-o", store).code == 0
    before = sorted(store.iterdir())
    found = run_chgdb("estimate", poscar, "-o", store)
    assert found.code == 1
    assert one_line(found.err)
    assert "is a store; name another folder" in found.err
    assert sorted(store.iterdir()) == before


def test_one_bad_structure_does_not_lose_the_others(run_chgdb: Chgdb, poscar: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.vasp").write_text(POSCAR.replace("Na Cl", "Na U"))
    found = run_chgdb("estimate", tmp_path / "bad.vasp", poscar, "-o", f"{tmp_path}/out/", "--spacing", "0.4")
    assert found.code == 1
    assert "knows no U" in found.err
    assert "1 of 2 structures gave no density" in found.err
    assert [path.name for path in (tmp_path / "out").iterdir()] == [f"{tmp_path.name}.CHGCAR"]


def test_nothing_is_overwritten(run_chgdb: Chgdb, poscar: Path, tmp_path: Path) -> None:
    (tmp_path / "CHGCAR").write_text("mine")
    found = run_chgdb("estimate", poscar, "-o", tmp_path / "CHGCAR")
    assert found.code == 1
    assert one_line(found.err)
    assert (tmp_path / "CHGCAR").read_text() == "mine"
    assert run_chgdb("estimate", poscar, "-o", tmp_path / "CHGCAR", "--force", "--spacing", "0.4").code == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (POSCAR.replace("1 1\n", "0 0\n"), ""),
        (POSCAR.replace(".5 .5 .5", ".01 0 0"), "apart"),
        (POSCAR.replace("Na Cl", "Na Xx"), "Xx"),
        (POSCAR.replace("0 .5 .5", "0 0 0"), "volume"),
        (POSCAR.replace(".5 .5 .5", ".5 nan .5"), "nan"),
    ],
)
def test_bad_structures_are_one_line(run_chgdb: Chgdb, tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "POSCAR").write_text(text)
    found = run_chgdb("estimate", tmp_path / "POSCAR", "-o", tmp_path / "CHGCAR")
    assert found.code == 1
    assert one_line(found.err)
    assert words in found.err
    assert not (tmp_path / "CHGCAR").exists()


@pytest.mark.parametrize(
    "arguments",
    [["--grid", "1x1"], ["--grid", "8x8x8", "--spacing", "0.1"], ["--format", "cif"], ["-o", "x", "POSCAR"]],
)
def test_wrong_usage(run_chgdb: Chgdb, poscar: Path, arguments: list[str]) -> None:
    assert run_chgdb("estimate", poscar, *arguments).code == 2


def test_an_id_of_a_catalog(run_chgdb: Chgdb, tmp_path: Path) -> None:
    found = run_chgdb("estimate", "si", "-o", tmp_path / "si.cube", "--spacing", "0.4")
    assert found.code == 0
    assert chgdb.read(tmp_path / "si.cube").crystal.formula == "Si"


def test_a_structure_unlike_the_training_set_is_flagged(run_chgdb: Chgdb, tmp_path: Path) -> None:
    (tmp_path / "POSCAR").write_text(POSCAR.replace("5.64", "3.9"))
    found = run_chgdb("estimate", tmp_path / "POSCAR", "--spacing", "0.4")
    assert found.code == 0
    assert "unlike the training set" in found.err
    assert "likely worse" in found.out


def test_atoms_of_ones_own(run_chgdb: Chgdb, poscar: Path, tmp_path: Path) -> None:
    run_chgdb("estimate", poscar, "-o", tmp_path / "own.npz", "--spacing", "0.2")
    own = chgdb.read(tmp_path / "own.npz")
    # Potentials that take eight electrons less into the valence, four narrow Gaussians' worth at each atom.
    axes = np.stack(np.meshgrid(*[np.arange(n) / n for n in own.grid], indexing="ij"), -1)
    total = own.total.copy()
    for position in own.crystal.positions:
        away = axes - position
        r2 = (((away - np.rint(away)) @ own.crystal.cell) ** 2).sum(-1)
        core = np.exp(-r2 / 0.5)
        total -= 3 * core / (core.mean() * own.crystal.volume)
    other = chgdb.Density(own.crystal, {"total": total})
    chgdb.write(tmp_path / "theirs.npz", other)
    found = run_chgdb("estimate", poscar, "-o", tmp_path / "guess.npz", "--atoms", tmp_path / "theirs.npz",
                      "--grid", "x".join(map(str, own.grid)))  # fmt: skip
    assert found.code == 0
    guess = chgdb.read(tmp_path / "guess.npz")
    assert guess.n_electrons == pytest.approx(8, abs=1e-9)
    assert np.abs(guess.total - total).sum() < 0.02 * np.abs(total).sum()
    assert "error about" not in found.out
