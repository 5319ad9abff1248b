"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

# One thread a process, also in those that tests start: pytest -n is the parallelism, and threads that wait for each
# other take longer than one. Set before anything imports numpy or torch.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import pytest
from hypothesis import settings
from materials import IDS, atoms

from chgdb import Density

#: Real VASP files and computed densities, beside the repository; not part of it.
SHARED = Path(__file__).resolve().parents[2] / "shared"

# A shared machine pauses tests at will; a hang is the test runner's to notice.
settings.register_profile("chgdb", deadline=None)
settings.load_profile("chgdb")


#: What `-m quick` runs: formats, codecs and what they stand on.
QUICK = (
    *("formats", "codecs", "store/test_golden_stores.py", "features/test_composition.py", "test_architecture.py"),
    *("test_comparison.py", "test_grids.py", "test_promolecule.py", "test_public_names.py", "test_splits.py"),
    *("test_symmetry.py", "test_wheel.py"),
)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With `-m quick`, other files are not even imported: some take seconds."""
    if config.option.markexpr != "quick" or collection_path.is_dir() or _is_quick(collection_path):
        return None
    return True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _is_quick(item.path) and item.get_closest_marker("slow") is None:
            item.add_marker("quick")


def _is_quick(path: Path) -> bool:
    here = Path(__file__).parent
    return path.is_relative_to(here) and any(path.relative_to(here).is_relative_to(place) for place in QUICK)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared data; skips the test where it is missing."""
    if not (SHARED / "vasp").is_dir():
        pytest.skip("needs the shared data (folder ../shared beside the repository)")
    return SHARED


@pytest.fixture(scope="session")
def densities() -> list[Density]:
    """Superpositions of atoms in twelve crystals."""
    return [atoms(name) for name in IDS]
