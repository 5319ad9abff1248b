"""Fixtures that every test may use."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings
from materials import IDS, atoms

from chgdb import Density

#: Real VASP files and computed densities, beside the repository; not part of it.
SHARED = Path(__file__).resolve().parents[2] / "shared"

# A shared machine pauses tests at will; a hang is the test runner's to notice.
settings.register_profile("chgdb", deadline=None)
settings.load_profile("chgdb")


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
