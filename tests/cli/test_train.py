"""chgdb train autoencoder, and the picture of its losses."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from materials import IDS, load_atoms
from small import Chgdb, one_line

from chgdb.ingest import build_from


@pytest.fixture(scope="module")
def store_with_parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("train") / "atoms.zarr"

    def load(name: str):
        density, metadata = load_atoms(name)
        return density, {**metadata, "split": ["train", "validation", "test"][max(0, int(name[4:]) - 8)]}

    names = IDS[:11]
    assert build_from(path, names, load, columns={"split": {"long_name": "part"}}, workers=1, effort="fast").complete
    return path


def test_train_autoencoder(run_chgdb: Chgdb, store_with_parts: Path) -> None:
    arguments = ["train", "autoencoder", "--catalog", store_with_parts, "-o", "model", "--epochs", 1, "--rate", 0.01]
    result = run_chgdb(*arguments, "--json")
    assert result.code == 0
    assert result.json["model"].startswith("periodic-")
    assert result.json["materials"] == {"train": 9, "validation": 1, "test": 1}
    assert result.err.startswith("epoch 1: training ")
    assert {p.name for p in Path("model").iterdir()} >= {"model.json", "weights.safetensors", "split.json", "log.jsonl"}

    again = run_chgdb(*arguments)
    assert again.code == 0
    assert again.out.startswith(f"{result.json['model']} in model: 1 epochs")
    assert again.err == "", "there was nothing left to train"

    assert run_chgdb("plot", "model/log.jsonl", "-o", "losses.png").code == 0
    assert Path("losses.png").read_bytes().startswith(b"\x89PNG")

    other = run_chgdb(*arguments, "--seed", 1)
    assert other.code == 1
    assert one_line(other.err.replace("\n", " ").strip() + "\n")
    assert "use a new folder" in other.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--variant", "largest"], 2, "there is no variant 'largest'; there are published"),
        (["--schedule", "steps"], 1, "schedule 'steps': expected plateau or cosine"),
        (["--learning-rate", "0"], 1, "learning rate is above 0"),
        (["--epochs", "0"], 2, "--epochs"),
    ],
)
def test_mistakes(run_chgdb: Chgdb, arguments: list[str], code: int, message: str) -> None:
    result = run_chgdb("train", "autoencoder", "-o", "model", *arguments)
    assert result.code == code
    assert message in result.err
    assert code == 2 or one_line(result.err)
    assert not Path("model").exists()


def test_plot_of_what_is_no_log(run_chgdb: Chgdb) -> None:
    Path("log.jsonl").write_text('{"epoch": 1}\n')
    result = run_chgdb("plot", "log.jsonl")
    assert result.code == 1
    assert one_line(result.err)
    assert "not the log of a training" in result.err
    assert not list(Path().glob("*.png"))
