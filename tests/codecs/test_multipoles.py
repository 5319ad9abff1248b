"""Coarse grids and multipoles: what is predicted of a density's coefficients, and that it takes fewer bytes."""

from __future__ import annotations

import itertools

import fields
import numpy as np
import pytest

from chgdb import Crystal, Density
from chgdb.codecs import EFFORTS, decode, encode, fourier, multipoles
from chgdb.codecs.basis import EVERY_NORM, Basis, Coarse
from chgdb.comparison import measure
from chgdb.errors import CodecError
from chgdb.symmetry import SpaceGroup, find, integer_metric


def basis_of(crystal: Crystal, grid: tuple[int, int, int], group: SpaceGroup, coarse: Coarse | None) -> Basis:
    return Basis(grid, integer_metric(crystal.cell), group, EVERY_NORM - 1, False, None, coarse)


def test_keys_are_those_of_the_nearest_vector_that_a_coarse_grid_takes_for_the_same() -> None:
    crystal = fields.STRUCTURES["triclinic"]
    metric, divisions = integer_metric(crystal.cell), (4, 5, 6)
    h = np.array(list(itertools.product(range(-4, 5), repeat=3)))
    found = Coarse(divisions, EVERY_NORM - 1, 1 << 24).keys(h, metric)
    for vector, key in zip(h.tolist(), found.tolist(), strict=True):
        norms = []
        for shift in itertools.product((-1, 0, 1), repeat=3):
            image = [x + n * k for x, n, k in zip(vector, divisions, shift, strict=True)]
            norms.append(sum(metric[i, j] * image[i] * image[j] for i in range(3) for j in range(3)))
        own = int(np.array(vector) @ metric @ np.array(vector))
        inside = all(2 * abs(x) <= n for x, n in zip(vector, divisions, strict=True))
        assert key == (min(norms) if inside else own if own <= 1 << 24 else EVERY_NORM)


@pytest.mark.parametrize("name", ["triclinic", "quartz", "monoclinic", "diamond"])
@pytest.mark.parametrize("divisions", [None, (5, 5, 6)])
def test_the_transposed_map_is_transposed(name: str, divisions: tuple[int, int, int] | None) -> None:
    crystal = fields.STRUCTURES[name]
    coarse = None if divisions is None else Coarse(divisions, EVERY_NORM - 1, 1 << 25)
    basis = basis_of(crystal, (10, 10, 12), find(crystal), coarse)
    model = multipoles.Multipoles(crystal, basis, np.arange(len(crystal)))
    rng = np.random.default_rng(3)
    places = multipoles.spread_out(np.ones((len(crystal), multipoles.MASK), bool), coarse is not None)
    parameters, numbers = rng.normal(size=places.shape), rng.normal(size=len(basis.norms))
    there, back = model.numbers(parameters) @ numbers, (model.adjoint(numbers) * parameters).sum()
    assert there == pytest.approx(back, rel=1e-9)
    model.keep()
    assert model.numbers(parameters) @ numbers == pytest.approx(there, rel=1e-12)


def test_folding_is_what_a_coarse_grid_does() -> None:
    """Functions summed up on the points of a coarse grid have the coefficients that are predicted."""
    crystal, grid, divisions = fields.STRUCTURES["triclinic"], (30, 32, 34), (15, 16, 17)
    trivial = SpaceGroup.trivial()
    fine = basis_of(crystal, (60, 64, 68), trivial, None)
    rng = np.random.default_rng(4)
    parameters = rng.normal(size=(len(crystal), len(multipoles.orders(multipoles.SMOOTH))))
    spectrum = np.zeros((60, 64, 35), complex)
    fine.synthesise(
        multipoles.Multipoles(crystal, fine, np.arange(len(crystal))).numbers(parameters), spectrum, (60, 64, 68)
    )
    values = np.fft.irfftn(spectrum, s=(60, 64, 68), axes=(0, 1, 2), norm="forward")[::4, ::4, ::4]
    folded = Density(crystal, {"total": values}).resample(grid).total
    coarse = Coarse(divisions, EVERY_NORM - 1, 0)
    basis = basis_of(crystal, grid, trivial, coarse)
    model = multipoles.Multipoles(crystal, basis, np.arange(len(crystal)))
    columns = multipoles.spread_out(np.ones((len(crystal), multipoles.MASK), bool), True).shape[1]
    padded = np.zeros((len(crystal), columns))
    padded[:, : parameters.shape[1]] = parameters
    predicted = np.zeros((30, 32, 18), complex)
    basis.synthesise(model.numbers(padded), predicted, grid)
    expected = np.fft.rfftn(folded, norm="forward")
    expected[0, 0, 0] = 0
    assert np.abs(predicted - expected).max() < 1e-9 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("name", "counts"),
    [("diamond", [1, 0, 0, 1, 1]), ("rocksalt conventional", [1, 0, 0, 0, 1]), ("triclinic", [1, 3, 5, 7, 9])],
)
def test_sites_leave_as_many_functions_as_group_theory_says(name: str, counts: list[int]) -> None:
    crystal = fields.STRUCTURES[name]
    listed, used = multipoles.sites(crystal, find(crystal))
    assert listed.sum() == (1 if name == "diamond" else 2 if name == "rocksalt conventional" else listed.sum())
    for row in used:
        assert [int(row[degree**2 : (degree + 1) ** 2].sum()) for degree in range(5)] == counts


@pytest.mark.parametrize("tolerance", [1e-3, 1e-4])
def test_a_density_summed_up_on_a_coarse_grid_takes_fewer_bytes(tolerance: float) -> None:
    density = fields.summed("triclinic", (16, 18, 20))
    plain = fourier.encode(density, tolerance, predict=False)
    encoded = encode(density, tolerance, codec="fourier", predict=True)
    assert encoded.payload[0] == fourier.PREDICTED_ID
    assert len(encoded.payload) < 0.7 * len(plain)
    assert max(encoded.quality.nmae.values()) <= tolerance
    larger = decode(encoded.payload, grid=(32, 36, 40)).resample(density.grid)
    assert max(measure(density, larger).nmae.values()) <= 1.01 * tolerance


def test_damaged_predictions_are_refused_or_decode() -> None:
    payload = encode(fields.summed("triclinic", (16, 18, 20)), 1e-3, codec="fourier", predict=True).payload
    assert payload[0] == fourier.PREDICTED_ID
    rng = np.random.default_rng(6)
    refused = 0
    for position in [*range(60, 110, 2), *rng.integers(1, len(payload), 15).tolist()]:
        damaged = bytearray(payload)
        damaged[position] ^= 1 << int(rng.integers(8))
        try:
            decode(bytes(damaged))
        except CodecError:
            refused += 1
    assert refused > 5


def test_effort_says_whether_predictions_are_tried() -> None:
    density = fields.summed("triclinic", (16, 18, 20))
    size = {effort: len(encode(density, 1e-3, codec="fourier", effort=effort).payload) for effort in EFFORTS}
    assert size["normal"] == size["best"] < 0.7 * size["fast"]
    with pytest.raises(CodecError, match=r"effort is 'slow'; expected 'fast', 'normal', 'best'"):
        encode(density, effort="slow")


def test_groups_of_a_payload_whose_channels_are_predicted() -> None:
    density = fields.summed("triclinic", (16, 18, 20), magnetization=True)
    payload = fourier.encode(density, 1e-3, predict=True)
    assert payload[0] == fourier.PREDICTED_ID
    assert [len(group) for group in fourier.groups(payload)] == [len(find(density.crystal))] * 2


def test_the_fit_is_the_least_squares_solution() -> None:
    """Beside what a solver of NumPy says of the same matrix in double precision."""
    density = fields.summed("triclinic", (16, 18, 20))
    basis = Basis(density.grid, integer_metric(density.crystal.cell), find(density.crystal), 4 << 24, False)
    model = multipoles.Multipoles(density.crystal, basis, np.arange(len(density.crystal)))
    used = np.ones((len(density.crystal), len(model.odd[0])), bool)
    matrix = model.matrix(used)
    parameters = np.random.default_rng(1).normal(size=used.shape)
    np.testing.assert_allclose(parameters[used] @ matrix, model.numbers(parameters), rtol=1e-6, atol=1e-3)
    target, weights = model.numbers(parameters) + 0.1, np.linspace(1, 2, matrix.shape[1])
    solution, diagonal, left = multipoles._solve_directly(matrix, target, weights)
    double = matrix.astype(float)
    np.testing.assert_allclose(left, target - solution @ double, atol=1e-12 * abs(target).max())
    gram = (double * weights) @ double.T
    np.testing.assert_allclose(diagonal, np.diag(gram), rtol=1e-5)
    gram[np.diag_indices_from(gram)] *= 1 + 1e-5
    # Though most of the work is in single precision, rounding to a step does not see it.
    exact = np.linalg.solve(gram, double @ (weights * target))
    step = np.sqrt(12 / np.median(diagonal))
    np.testing.assert_allclose(solution, exact, atol=1e-5 * step)
