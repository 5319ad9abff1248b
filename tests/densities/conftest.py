"""The catalog's model, and crystals to try it on."""

from __future__ import annotations

import numpy as np
import pytest

from chgdb import Crystal
from chgdb.densities.model import DensityModel, load

CELL = np.array([[4.1, 0.2, 0.0], [-0.9, 5.2, 0.3], [0.4, 1.1, 6.0]])
POSITIONS = [[0.03, 0.12, 0.21], [0.52, 0.58, 0.07], [0.33, 0.81, 0.66], [0.81, 0.35, 0.55]]


@pytest.fixture(scope="session")
def model() -> DensityModel:
    return load()


@pytest.fixture
def skewed() -> Crystal:
    """Four atoms without any symmetry, in a cell without a right angle."""
    return Crystal(CELL, POSITIONS, [14, 8, 11, 17])


@pytest.fixture
def rutile() -> Crystal:
    """TiO2, a screw axis and glide planes among its symmetries."""
    u = 0.305
    positions = [
        [0, 0, 0],
        [0.5, 0.5, 0.5],
        [u, u, 0],
        [1 - u, 1 - u, 0],
        [0.5 + u, 0.5 - u, 0.5],
        [0.5 - u, 0.5 + u, 0.5],
    ]
    return Crystal(np.diag([4.594, 4.594, 2.959]), positions, [22, 22, 8, 8, 8, 8])
