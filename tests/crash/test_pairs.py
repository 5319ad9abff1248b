"""Two commands that write to one place at the same time; `python tests/crash/pairs.py` tries more rounds of them."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pairs import Counts, Pairs
from scenarios import place


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pairs]:
    pytest.importorskip("torch", reason="needs torch: pip install 'chgdb[ml]'")
    folder = Path(tempfile.mkdtemp(prefix="chgdb-pairs-", dir=place(tmp_path_factory.mktemp("pairs"))))
    try:
        made = Pairs(folder)
    except NotImplementedError as error:
        pytest.skip(f"needs Linux ({error})")
    yield made
    made.close()
    shutil.rmtree(folder)


def check(pairs: Pairs, chosen: list, rounds: int, seed: str) -> None:
    counts, choice = Counts(), random.Random(seed)
    for first, second, there in chosen:
        for _ in range(rounds):
            pairs.run(first, second, there, choice, counts)
    assert counts.wrong == []
    assert counts.rounds == rounds * len(chosen)


def test_pairs_of_quick_commands(pairs: Pairs) -> None:
    """Those that take no model: where another one once came in between."""
    quick = {"fetch", "fetch --force", "build", "publish", "pull"}
    chosen = [pair for pair in pairs.pairs() if {pair[0].name, pair[1].name} <= quick]
    assert len(chosen) == 30
    check(pairs, chosen[::3], 1, "quick")


def test_pairs_of_commands_that_change_stores(pairs: Pairs) -> None:
    chosen = [pair for pair in pairs.pairs() if {pair[0].name, pair[1].name} <= {"merge", "add-columns", "build"}]
    chosen = [pair for pair in chosen if pair[2] and {pair[0].name, pair[1].name} != {"build"}]
    assert len(chosen) == 5
    check(pairs, chosen, 1, "changes")


def test_pairs_of_commands_that_take_away_and_of_sites(pairs: Pairs) -> None:
    quick = {"remove", "rename", "subset", "web --export source", "web --export published"}
    chosen = [pair for pair in pairs.pairs() if {pair[0].name, pair[1].name} <= quick and pair[2]]
    assert len(chosen) == 9
    check(pairs, chosen, 1, "takes")


def test_pairs_of_single_files(pairs: Pairs) -> None:
    chosen = [pair for pair in pairs.pairs() if pair[0].of == "file" and pair[2]]
    check(pairs, chosen[::2], 1, "files")


@pytest.mark.slow
def test_all_pairs(pairs: Pairs) -> None:
    check(pairs, pairs.pairs(), 3, "all")
