"""The prior of atomic superpositions."""

from __future__ import annotations

import numpy as np
import pytest
from fields import STRUCTURES, total

from chgdb import Crystal, Density, codecs
from chgdb.errors import CodecError
from chgdb.promolecule import COEFFICIENTS, SPACING, Prior, fit, spline_basis, structure_factors

ELEMENTS = (14, 31, 33)


def random_prior(numbers=ELEMENTS):
    """Form factors that fall off as Gaussians, with a ripple of their own."""
    rng = np.random.default_rng(11)
    s = (np.arange(COEFFICIENTS) - 1) * SPACING
    rows = [(2 + z % 5) * np.exp(-2.5 * s**2) * (1 + 0.2 * rng.normal(size=COEFFICIENTS)) for z in numbers]
    return Prior(np.array(numbers), np.array(rows))


def superposition(prior, crystal, grid):
    """The sum over atoms evaluated term by term, from the definition."""
    axes = np.meshgrid(*(np.fft.fftfreq(n, 1 / n) for n in grid), indexing="ij")
    h = np.stack(axes, axis=-1).reshape(-1, 3)
    s = np.linalg.norm(h @ np.linalg.inv(crystal.cell).T, axis=1)
    spectrum = sum(
        prior.form_factor(z, s) * np.exp(-2j * np.pi * (h @ x))
        for z, x in zip(crystal.numbers.tolist(), crystal.positions, strict=True)
    )
    spectrum = spectrum.reshape(grid)
    for axis, n in enumerate(grid):
        if n % 2 == 0:
            spectrum[(slice(None),) * axis + (n // 2,)] = 0
    return Density(crystal, {"total": np.fft.ifftn(spectrum).real * spectrum.size / crystal.volume})


CRYSTALS = [
    STRUCTURES["zinc blende"],
    STRUCTURES["diamond"],
    Crystal(np.diag([3.9, 4.3, 5.1]), [[0.1, 0.2, 0.3], [0.6, 0.5, 0.9], [0.4, 0.9, 0.1]], [14, 31, 33]),
    Crystal([[4, 0.3, 0], [0, 4.5, 1], [0.5, 0, 5.5]], [[0, 0, 0], [0.45, 0.55, 0.6]], [33, 14]),
]


def test_a_fit_recovers_the_form_factors_of_superpositions():
    prior = random_prior()
    rng = np.random.default_rng(2)
    crystals = list(CRYSTALS)
    for _ in range(8):  # low symmetry and other cells: many different |G|
        cell = np.diag(rng.uniform(3.5, 6.5, 3)) + rng.uniform(-0.5, 0.5, (3, 3))
        crystals.append(Crystal(cell, rng.random((4, 3)), [14, 31, 33, ELEMENTS[rng.integers(3)]]))
    found = fit([superposition(prior, crystal, (24, 24, 24)) for crystal in crystals])
    assert found.numbers.tolist() == list(ELEMENTS)
    s = np.linspace(0.4, 1.8, 50)  # below the first reciprocal vectors nothing is known
    for z in ELEMENTS:
        scale = np.abs(prior.form_factor(z, s)).max()
        assert np.abs(found.form_factor(z, s) - prior.form_factor(z, s)).max() < 0.03 * scale


def test_a_superposition_is_stored_in_nearly_nothing_and_comes_back():
    prior = random_prior()
    density = superposition(prior, CRYSTALS[2], (24, 24, 24))
    with_prior = codecs.encode(density, 1e-3, codec="fourier", prior=prior)
    without = codecs.encode(density, 1e-3, codec="fourier")
    assert len(with_prior.payload) < len(without.payload) / 4
    assert codecs.header(with_prior.payload).prior_id == prior.identifier
    again = codecs.decode(with_prior.payload, prior=prior)
    assert codecs.measure(density, again).nmae["total"] <= 1e-3
    assert again.n_electrons == pytest.approx(density.n_electrons, abs=1e-11)


def test_spline_weights_are_a_partition_of_one():
    s = np.linspace(0, 4.1, 1000)
    first, weights = spline_basis(s)
    assert np.allclose(sum(weights), 1, rtol=0, atol=1e-15)
    assert min(w.min() for w in weights) >= 0
    assert (first + 3 < COEFFICIENTS).all()


def test_a_form_factor_is_smooth_and_ends_at_its_reach():
    prior = random_prior()
    assert not prior.form_factor(14, np.array([prior.reach, prior.reach + 1, 100.0])).any()
    s = np.linspace(0, prior.reach, 4001)
    f = prior.form_factor(14, s)
    assert np.abs(np.diff(f, 2)).max() < 1e-4 * np.abs(f).max()
    table = prior.table
    between = np.interp(s, np.arange(len(table.values[14])) / table.per_unit, table.values[14])
    assert np.abs(between - f).max() < 1e-4 * np.abs(f).max()


def test_structure_factors_are_the_sums_they_say():
    crystal = CRYSTALS[2]
    factors = structure_factors(crystal, (2, 1, 3))
    assert sorted(factors) == [14, 31, 33]
    h = np.array([-2, 1, 3])
    assert factors[31][0, 2, 3] == pytest.approx(np.exp(-2j * np.pi * (h @ crystal.positions[1])), abs=1e-14)
    assert factors[33].shape == (5, 3, 4)


def test_many_atoms_are_summed_in_parts():
    rng = np.random.default_rng(0)
    crystal = Crystal(np.eye(3) * 40, rng.random((3000, 3)), np.full(3000, 14))
    one, two = (Crystal(crystal.cell, crystal.positions[part], crystal.numbers[part]) for part in
                (slice(0, 1300), slice(1300, None)))  # fmt: skip
    reach = (20, 20, 3)
    whole = structure_factors(crystal, reach)[14]
    assert np.allclose(whole, structure_factors(one, reach)[14] + structure_factors(two, reach)[14], rtol=0, atol=1e-10)


def test_arrays_come_back():
    prior = random_prior()
    arrays = prior.to_arrays()
    again = Prior.from_arrays({name: array.copy() for name, array in arrays.items()})
    assert np.array_equal(again.numbers, prior.numbers)
    assert again.coefficients.tobytes() == prior.coefficients.tobytes()
    assert again.identifier == prior.identifier


def test_the_identifier_is_of_the_contents():
    prior = random_prior()
    assert 1 <= prior.identifier < 1 << 16
    other = prior.coefficients.copy()
    other[1, 7] = np.nextafter(other[1, 7], np.float32(9))
    assert Prior(prior.numbers, other).identifier != prior.identifier
    assert Prior(prior.numbers + 1, prior.coefficients).identifier != prior.identifier
    # Pinned: stores of today name their prior by it.
    assert Prior(np.array([1]), np.zeros((1, COEFFICIENTS))).identifier == IDENTIFIER_OF_ZEROS


IDENTIFIER_OF_ZEROS = 52931


def test_an_element_without_form_factor_is_encoded_without_prior():
    prior = random_prior()
    density = total("fcc", (16, 16, 16))
    assert not prior.covers(density.crystal)
    encoded = codecs.encode(density, 1e-4, codec="fourier", prior=prior)
    assert codecs.header(encoded.payload).prior_id == 0
    assert codecs.measure(density, codecs.decode(encoded.payload)).nmae["total"] <= 1e-4
    with pytest.raises(CodecError, match="atomic number 13"):
        prior.form_factor(13, np.zeros(1))


def test_a_missing_or_different_prior_is_an_error():
    prior = random_prior()
    payload = codecs.encode(superposition(prior, CRYSTALS[2], (20, 20, 20)), 1e-3, codec="fourier", prior=prior).payload
    with pytest.raises(CodecError, match=f"prior number {prior.identifier}, none"):
        codecs.decode(payload)
    other = Prior(prior.numbers, prior.coefficients * 2)
    with pytest.raises(CodecError, match=f"number {other.identifier} was given"):
        codecs.decode(payload, prior=other)


@pytest.mark.parametrize(
    "arrays",
    [
        {"numbers": np.array([14])},
        {"coefficients": np.zeros((1, COEFFICIENTS))},
        {"numbers": np.array([14]), "coefficients": np.zeros((1, COEFFICIENTS - 1))},
        {"numbers": np.array([14]), "coefficients": np.full((1, COEFFICIENTS), np.nan)},
        {"numbers": np.array([14, 8]), "coefficients": np.zeros((2, COEFFICIENTS))},
        {"numbers": np.array([8, 8]), "coefficients": np.zeros((2, COEFFICIENTS))},
    ],
    ids=["no coefficients", "no numbers", "shape", "nan", "order", "twice"],
)
def test_damaged_arrays_are_an_error(arrays):
    with pytest.raises(CodecError, match="prior"):
        Prior.from_arrays(arrays)


def test_a_prior_of_nothing():
    with pytest.raises(CodecError, match="at least one density"):
        fit([])
