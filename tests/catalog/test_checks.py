"""Each check passes a sound density and catches the fault it is for."""

from __future__ import annotations

import numpy as np
import pytest

from chgdb_catalog.dft import checks

CUBE = np.eye(3) * 4.0


def waves(cell: np.ndarray, frac: list, shape: tuple[int, int, int], electrons: float = 4.0) -> np.ndarray:
    """A Gaussian of `electrons` electrons on each atom, e/A^3, (nx, ny, nz)."""
    k = np.stack(np.meshgrid(*(np.fft.fftfreq(n, 1 / n) for n in shape), indexing="ij"), -1)
    g2 = ((k @ np.linalg.inv(cell).T * 2 * np.pi) ** 2).sum(-1)
    c = sum(np.exp(-2j * np.pi * (k @ np.array(x))) for x in frac) * np.exp(-g2 * 0.2) * electrons
    c[(2 * np.abs(k) >= np.array(shape)).any(-1)] = 0
    return np.fft.ifftn(c).real * np.prod(shape) / abs(np.linalg.det(cell))


FCC = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) * 2.7
HEXAGONAL = np.array([[3, 0, 0], [-1.5, 1.5 * 3**0.5, 0], [0, 0, 5]])
STRUCTURES = {  # cell (rows, A), symbols, frac, grid, order of the group
    "simple cubic": (CUBE, ["X"], [[0.1, 0.2, 0.3]], (12, 12, 12), 48),
    "diamond, a glide off the grid": (FCC, ["C", "C"], [[0, 0, 0], [0.25, 0.25, 0.25]], (15, 15, 15), 48),
    "hcp, a screw": (HEXAGONAL, ["Mg"] * 2, [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]], (12, 12, 21), 24),
    "triclinic": (np.array([[3, 0, 0], [1, 4, 0], [0.5, 0.7, 5]]), ["A"], [[0, 0, 0]], (12, 14, 16), 2),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_a_superposition_of_atoms_has_the_symmetry_of_its_structure(name):
    cell, symbols, frac, shape, order = STRUCTURES[name]
    rotations, translations = checks.operations(cell, frac, symbols, 1e-3)
    assert len(rotations) == order
    assert checks.asymmetry(waves(cell, frac, shape), rotations, translations) < 1e-6


def test_asymmetry_is_the_distance_to_the_average_over_the_group():
    # On a cubic grid every operation of a simple cubic crystal maps points to points: average them one by one.
    rho = waves(CUBE, [[0, 0, 0]], (6, 6, 6)) + 0.01 * waves(CUBE, [[0.1, 0.3, 0.2]], (6, 6, 6))
    rotations, translations = checks.operations(CUBE, [[0, 0, 0]], ["X"], 1e-3)
    assert not translations.any()
    points = np.indices(rho.shape).reshape(3, -1)
    images = [rho[tuple(W @ points % 6)].reshape(rho.shape) for W in rotations]
    expected = np.abs(np.mean(images, axis=0) - rho).sum() / np.abs(rho).sum()
    assert checks.asymmetry(rho, rotations, translations) == pytest.approx(expected, rel=1e-9)
    assert expected > 1e-3


def test_a_shifted_density_does_not_fit_its_structure():
    cell, symbols, frac, shape, _ = STRUCTURES["hcp, a screw"]
    rho = np.roll(waves(cell, frac, shape), 1, axis=0)
    assert checks.asymmetry(rho, *checks.operations(cell, frac, symbols, 1e-3)) > 0.01


RECORD = {"material_id": "x", "cell": CUBE.tolist(), "symbols": ["A"], "frac": [[0.0, 0.0, 0.0]]}
META = {"n_electrons": 4, "energy_eV": -3.0, "converged": True}
ENERGIES = checks.EnergyRange({"A": -3.0}, {"A": 50}, -3.5, -2.0)


def verdict(rho: np.ndarray | None = None, energies: checks.EnergyRange | None = ENERGIES, **meta: object) -> list[str]:
    grid = waves(CUBE, [[0, 0, 0]], (12, 12, 12)) if rho is None else rho
    return checks.judge(RECORD, {**META, **meta}, {"total": grid}, energies)[1]


def test_a_sound_density_passes():
    assert verdict() == []


RHO = waves(CUBE, [[0, 0, 0]], (12, 12, 12))
TILT = np.sin(2 * np.pi * np.arange(12) / 12)[:, None, None]
DIP = np.cos(2 * np.pi * np.arange(12) / 12)


@pytest.mark.parametrize(
    ("reason", "fault"),
    [
        ("not converged", {"converged": False}),
        ("electron count", {"rho": RHO * (1 + 2e-5)}),
        ("electron count", {"n_electrons": 5}),
        ("symmetry", {"rho": RHO + 0.01 * RHO.mean() * TILT}),
        ("smallest value", {"rho": RHO - 0.2 + 0.2 * (1 + DIP[:, None, None] * DIP[:, None] * DIP)}),
        ("energy", {"energy_eV": -6.5}),
        ("energy", {"energy_eV": 0.5}),
        ("not finite", {"rho": np.where(RHO.max() == RHO, np.nan, RHO)}),
    ],
)
def test_each_fault_is_named(reason, fault):
    reasons = verdict(**fault)
    assert len(reasons) == 1
    assert reasons[0].startswith(reason)


def test_two_faults_give_two_reasons():
    assert len(verdict(converged=False, energy_eV=9.0)) == 2


def test_without_known_energies_the_energy_is_not_checked():
    assert verdict(energies=None, energy_eV=100.0) == []


def structures(n: int) -> list[dict]:
    """`n` mixtures of three elements whose energies per atom add up, with one gross outlier."""
    rng = np.random.default_rng(0)
    share = {"A": -1.0, "B": -4.0, "C": -7.0}
    out = []
    for _ in range(n):
        symbols = list(rng.choice(list(share), size=rng.integers(1, 6)))
        out.append({"symbols": symbols, "energy_eV": sum(share[s] for s in symbols) + 0.01 * rng.normal()})
    out[0]["energy_eV"] += 300.0
    return out


def test_energies_of_composition_are_found_despite_an_outlier():
    fitted = checks.EnergyRange.fit(structures(100))
    assert fitted is not None
    for element, energy in (("A", -1.0), ("B", -4.0), ("C", -7.0)):
        assert fitted.energies[element] == pytest.approx(energy, abs=0.05)
    assert fitted.excess(["A", "C"], -4.5) == pytest.approx(-0.5, abs=0.05)


def test_a_rare_element_is_held_to_the_range_of_all():
    fitted = checks.EnergyRange.fit([*structures(100)[1:], {"symbols": ["D"], "energy_eV": -2.0}])
    assert fitted is not None
    assert fitted.excess(["D"], -6.0) == 0
    assert fitted.excess(["D"], -20.0) == pytest.approx(-20 - fitted.lowest)
    assert fitted.excess(["E", "A"], 1.0) == pytest.approx(1 - fitted.highest)


def test_no_densities_give_no_range():
    assert checks.EnergyRange.fit([]) is None
