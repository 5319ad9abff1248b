"""Every target on its seeds and on a few changes to them, in seconds; `run.py` goes on for as long as one likes."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parent))

from base import attempt, environment
from mutation import changed_bytes
from targets import TARGETS

from chgdb.errors import ChgdbError
from chgdb_cli.main import _exit_code

#: An example of these takes a tenth of a second and more.
SLOW = frozenset(["archive", "autoencoder", "extras", "journal", "latent", "model_invariant", "pull", "store"])


@pytest.fixture(autouse=True)
def _quiet(monkeypatch, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        for name in ("CHGDB_CACHE_SIZE", "CHGDB_ATTEMPTS", "CHGDB_OFFLINE"):
            patch.setenv(name, "")  # remembered, and so put back
        environment()
        monkeypatch.chdir(tmp_path)
        yield


def _few(name: str) -> list[bytes]:
    """Some of the seeds, the same each time."""
    seeds = TARGETS[name].seeds()
    return seeds[:: max(1, len(seeds) // (4 if name in SLOW else 16))]


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_seeds(name):
    for seed in _few(name):
        attempt(TARGETS[name], seed)


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_changes(name):
    seeds = _few(name)

    @settings(
        max_examples=4 if name in SLOW else 30, deadline=None, database=None, derandomize=True,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.sampled_from(seeds), st.binary(max_size=24), st.booleans())
    def check(seed: bytes, operations: bytes, appended: bool) -> None:
        # Of inputs that are changes to a good file, the changes; of others, changes to their bytes.
        attempt(TARGETS[name], seed + operations if appended else changed_bytes(seed, operations))

    check()


@pytest.mark.parametrize("name", ["chgcar", "cube", "mp_json", "npz", "fourier", "realspace", "lossless", "store"])
def test_seeds_lead_somewhere(name):
    """A harness whose every input is refused at once would find nothing."""
    target = TARGETS[name]
    reached = 0
    for seed in target.seeds()[:8]:
        with suppress(ChgdbError):
            target.run(seed)
            reached += 1
    assert reached >= min(4, len(target.seeds()) // 2)


@pytest.mark.parametrize(
    ("name", "file"), [("chgcar", "CHGCAR"), ("cube", "x.cube"), ("mp_json", "x.json"), ("npz", "x.npz")]
)
def test_the_command_line(tmp_path, capsys, name, file):
    """Whatever a file holds: a result, or one line and the exit code 1."""
    seed = TARGETS[name].seeds()[1][1:]
    for number, cut in enumerate(range(0, len(seed), len(seed) // 10)):
        changed = changed_bytes(seed, bytes([cut >> 8, cut & 255, number, 7 * number]))
        for data in (seed[:cut], changed):
            (tmp_path / file).write_bytes(data)
            code = _exit_code(["convert", str(tmp_path / file), str(tmp_path / "out.npz"), "--force"])
            said = capsys.readouterr().err
            assert (code, said.count("\n")) in ((0, 0), (1, 1))
            assert "unexpected" not in said


def test_the_command_line_and_stores(tmp_path, capsys):
    from store_targets import _files, _sealed

    folder = tmp_path / "s.zarr"
    for number in range(0, 60, 12):
        files, _ = _sealed(dict([_files().changed(bytes([number, 1, number, 200, 0, 3 * number]))]))
        for key, content in files.items():
            (folder / key).parent.mkdir(parents=True, exist_ok=True)
            (folder / key).write_bytes(content)
        for command in (["info", "gold-1", "--catalog"], ["verify"], ["search", "--elements", "Si", "--catalog"]):
            code = _exit_code([*command, str(folder)])
            said = capsys.readouterr().err
            assert code in (0, 1)
            assert "unexpected" not in said
            assert code == 0 or said
