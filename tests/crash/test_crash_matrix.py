"""Every command that writes, cut short at some of its steps; `python tests/crash/matrix.py` does it at more, or all."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from machine import in_order
from scenarios import GROUPS, Maker, inject, place


@pytest.fixture(scope="module")
def maker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Maker]:
    folder = Path(tempfile.mkdtemp(prefix="chgdb-crash-", dir=place(tmp_path_factory.mktemp("crash"))))
    try:
        made = Maker(folder)
    except (FileNotFoundError, NotImplementedError) as error:
        pytest.skip(f"needs Linux and a C compiler ({error})")
    yield made
    made.close()
    shutil.rmtree(folder)


@pytest.mark.parametrize("group", GROUPS)
def test_the_old_or_the_new_and_then_the_new(maker: Maker, group: str) -> None:
    """One killing and one other fault of each command, at steps that differ from command to command."""
    for module, extra in GROUPS[group].items():
        pytest.importorskip(module, reason=f"needs {module}: pip install 'chgdb[{extra}]'")
    try:
        scenarios = maker.make(group)
    except FileNotFoundError as error:
        pytest.skip(f"needs {error}")
    wrong, root = [], maker.folder / f"point-{group}"
    for scenario in scenarios.values():
        choice = random.Random(scenario.name)
        for fault in (scenario.faults[0], choice.choice(scenario.faults[1:])):
            wrong += inject(scenario, maker.machine, root, fault, choice.randint(1, scenario.steps))
    assert wrong == []


def test_a_step_counts_as_reached_whatever_other_threads_had_written() -> None:
    assert in_order("1 open /a\n3 recv \n2 write /a b\n") == ("open /a", "write /a b", "recv ")
    steps = in_order("1 send \n3 recv \n")  # the thread of the second step was killed by that of the third
    assert len(steps) == 3
    assert (steps[0], steps[2]) == ("send ", "recv ")
    assert in_order("") == ()
