"""Fixtures of the codecs' tests."""

from __future__ import annotations

import pytest
from materials import IDS, atoms

from chgdb import Density


@pytest.fixture(scope="session")
def densities() -> list[Density]:
    """Superpositions of atoms in twelve crystals."""
    return [atoms(name) for name in IDS]
