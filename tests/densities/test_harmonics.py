"""Spherical harmonics, quadrature and rotations."""

from __future__ import annotations

import numpy as np
import pytest

from chgdb.densities.harmonics import BLOCKS, COUNT, DEGREES, quadrature, rotation_matrices, spherical_harmonics


def rotations(n: int, seed: int = 0) -> np.ndarray:
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(n, 3, 3)))
    return q  # proper and improper ones


def test_they_are_orthonormal():
    points, weights = quadrature(5, 9)
    values = spherical_harmonics(points)
    assert np.abs((values * weights[:, None]).T @ values - np.eye(COUNT)).max() < 1e-13


def test_they_are_those_of_scipy():
    special = pytest.importorskip("scipy.special")
    points = rotations(7)[:, 0]
    found = spherical_harmonics(points)
    theta, phi = np.arccos(points[:, 2]), np.arctan2(points[:, 1], points[:, 0])
    for ell, block in enumerate(BLOCKS):
        for m in range(-ell, ell + 1):
            complex_one = special.sph_harm_y(ell, abs(m), theta, phi)
            sign = (-1) ** m * np.sqrt(2)
            expected = complex_one.real if m == 0 else sign * (complex_one.real if m > 0 else complex_one.imag)
            assert found[:, block][:, m + ell] == pytest.approx(expected, abs=1e-13)


def test_rotation_matrices_rotate_and_are_orthogonal():
    for rotation in rotations(5, seed=3):
        (matrix,) = rotation_matrices(rotation[None])
        directions = rotations(6, seed=4)[:, 1]
        turned = spherical_harmonics(directions @ rotation.T)
        assert turned == pytest.approx(spherical_harmonics(directions) @ matrix.T, abs=1e-12)
        assert np.abs(matrix @ matrix.T - np.eye(COUNT)).max() < 1e-12
        assert (matrix[DEGREES[:, None] != DEGREES] == 0).all()
