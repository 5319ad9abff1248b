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
    return seeds[:: max(1, len(seeds) // (6 if name in SLOW else 24))]


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_seeds(name):
    for seed in _few(name):
        attempt(TARGETS[name], seed)


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_changes(name):
    seeds = _few(name)

    @settings(
        max_examples=8 if name in SLOW else 60, deadline=None, database=None, derandomize=True,
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
