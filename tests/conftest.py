"""Fixtures that every test may use."""

from __future__ import annotations

from pathlib import Path

import pytest

#: Real VASP files and computed densities, beside the repository; not part of it.
SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared data; skips the test where it is missing."""
    if not (SHARED / "vasp").is_dir():
        pytest.skip("needs the shared data (folder ../shared beside the repository)")
    return SHARED
