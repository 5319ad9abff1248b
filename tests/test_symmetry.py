"""Space groups and orbits against spglib, and against their definitions evaluated in the plainest way."""

from __future__ import annotations

import time

import numpy as np
import pytest
import spglib
from fields import STRUCTURES, density, monoclinic, supercell
from hypothesis import given
from hypothesis import strategies as st

from chgdb import Crystal, symmetry
from chgdb.errors import CodecError
from chgdb.symmetry import METRIC_UNITS, UNITS, SpaceGroup, find, integer_metric, orbits

names = pytest.mark.parametrize("name", sorted(STRUCTURES))


def operations(group):
    """(W, w, flip) in floats, about the origin of the cell."""
    for W, w, flip in zip(group.rotations, group.translations, group.flips, strict=True):
        yield W, w / UNITS + group.origin - W @ group.origin, int(flip)


def multiply(one, other):
    W, w, V, v = np.reshape(one[:9], (3, 3)), np.array(one[9:12]), np.reshape(other[:9], (3, 3)), np.array(other[9:12])
    return (*(W @ V).ravel().tolist(), *((W @ v + w) % UNITS).tolist(), one[12] ^ other[12])


@pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning")
@names
def test_operations_are_those_of_spglib(name):
    crystal = STRUCTURES[name]
    expected = spglib.get_symmetry_dataset((crystal.cell, crystal.positions, crystal.numbers), symprec=1e-3)
    theirs = list(zip(expected.rotations, expected.translations, strict=True))
    ours = list(operations(find(crystal)))
    assert len(ours) == len(theirs)
    for W, w, flip in ours:
        assert not flip
        shifts = [w - v for V, v in theirs if np.array_equal(W, V)]
        assert min(np.abs(shift - np.rint(shift)).max() for shift in shifts) < 1e-6


def test_the_structures_are_of_many_kinds():
    numbers = {name: symmetry.number(crystal) for name, crystal in STRUCTURES.items()}
    assert numbers == {
        "fcc": 225, "bcc": 229, "diamond": 227, "diamond conventional": 227, "zinc blende": 216, "hcp": 194,
        "rocksalt conventional": 225, "wurtzite": 186, "quartz": 154, "rhombohedral": 166, "monoclinic": 14,
        "triclinic": 1, "supercell": 229,
    }  # fmt: skip
    assert [symmetry.symbol(numbers[name]) for name in ("diamond", "quartz", "monoclinic")] == [
        "Fd-3m", "P3_221", "P2_1/c",
    ]  # fmt: skip
    assert len(find(STRUCTURES["diamond conventional"])) == 192
    assert len(find(STRUCTURES["supercell"])) == 8 * 12  # orthorhombic point group, twelve pure translations
    assert find(monoclinic()).origin.any()


@names
def test_operations_form_a_group(name):
    group = find(STRUCTURES[name])
    rows = group.rows()
    members = set(rows)
    assert len(members) == len(rows)
    assert rows[0] == (1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0)
    some = rows[:: max(1, len(rows) // 24)]
    assert all(multiply(a, b) in members for a in some for b in rows)
    # Closed under products and finite: inverses are products. Metric and volume are kept.
    g = STRUCTURES[name].cell @ STRUCTURES[name].cell.T
    for W in group.rotations:
        assert np.allclose(W.T @ g @ W, g, atol=2e-3 * g.max())
        assert round(abs(np.linalg.det(W))) == 1


@names
def test_generators_give_the_group_again(name):
    group = find(STRUCTURES[name])
    few = group.generators()
    assert len(few) <= 5
    again = SpaceGroup.generate(few.rotations, few.translations, few.origin, few.flips)
    assert set(again.rows()) == set(group.rows())
    assert np.array_equal(again.origin, group.origin)


@names
def test_operations_map_the_density_to_itself(name):
    crystal = STRUCTURES[name]
    rng = np.random.default_rng(0)
    # Value of the superposition of Gaussians at any point, from the definition.
    near = np.array(list(np.ndindex(5, 5, 5))) - 2

    def value(points):
        vectors = (points[:, None, None, :] - crystal.positions[:, None, :] - near) @ crystal.cell
        return (crystal.numbers[:, None] * np.exp(-(vectors**2).sum(axis=-1))).sum(axis=(1, 2))

    points = rng.random((6, 3))
    for W, w, _ in list(operations(find(crystal)))[:: max(1, len(find(crystal)) // 16)]:
        image = points @ W.T + w
        assert np.allclose(value(image - np.floor(image)), value(points), rtol=1e-3)


def test_a_subgroup_is_a_group_within_what_is_allowed():
    group = find(STRUCTURES["zinc blende"])
    rng = np.random.default_rng(1)
    for _ in range(20):
        allowed = rng.random(len(group)) < 0.5
        part = group.subgroup(allowed)
        rows = set(part.rows())
        assert rows <= {row for row, yes in zip(group.rows(), allowed, strict=True) if yes} | {group.rows()[0]}
        assert {multiply(a, b) for a in rows for b in rows} == rows


def test_nothing_found_is_the_trivial_group():
    assert len(find(Crystal(np.eye(3), [], []))) == 1
    assert len(find(Crystal(np.eye(3) * 3, [[0, 0, 0], [0, 0, 0]], [1, 1]))) == 1  # spglib refuses it
    assert len(find(Crystal(np.eye(3) * 3, [[1e300, 0.1, 0.2], [0.4, -1e18, 0.3]], [1, 8]))) >= 1


def test_positions_of_few_digits_have_their_group():
    rounded = Crystal(np.round(STRUCTURES["hcp"].cell, 4), [[0.3333, 0.6667, 0.25], [0.6667, 0.3333, 0.75]], [12, 12])
    group = find(rounded)
    assert len(group) == 24
    assert set(np.unique(group.translations)) <= {0, UNITS // 2}


# --- the metric ------------------------------------------------------------------------------------------------------

entries = st.floats(-12, 12).map(lambda x: round(x, 6))


@given(st.lists(entries, min_size=9, max_size=9))
def test_integer_metric_is_the_rounded_reciprocal_metric(values):
    cell = np.reshape(values, (3, 3))
    if abs(np.linalg.det(cell)) < 1:
        return
    metric = integer_metric(cell)
    inverse = np.linalg.inv(cell @ cell.T)
    assert np.array_equal(metric, metric.T)
    assert np.abs(metric / METRIC_UNITS - inverse).max() <= 0.5 / METRIC_UNITS + 1e-10 * np.abs(inverse).max()


def test_equal_lattice_vectors_have_equal_entries():
    metric = integer_metric(5.43 * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2)
    assert len(set(np.diag(metric).tolist())) == 1
    assert len({int(metric[i, j]) for i in range(3) for j in range(3) if i != j}) == 1


@pytest.mark.parametrize(
    "cell",
    [np.diag([1e-3, 3, 3]), np.diag([5e3, 3, 3]), [[1, 0, 0], [1000, 1e-3, 0], [0, 0, 3]], np.diag([1e200, 1e-200, 1])],
    ids=["short", "long", "flat", "absurd"],
)
def test_cells_beyond_the_metric_are_refused(cell):
    with pytest.raises(CodecError, match="tolerance=0"):
        integer_metric(np.array(cell, float))


# --- orbits ----------------------------------------------------------------------------------------------------------

GRID = (11, 10, 12)


def sphere(name, share=1.0):
    """(metric, limit, group): the limit lies in a gap between shells, so that no orbit is cut by rounding."""
    crystal = STRUCTURES[name]
    metric = integer_metric(crystal.cell)
    inside = min(((n - 1) // 2) ** 2 / np.linalg.inv(metric.astype(float))[i, i] for i, n in enumerate(GRID))
    norms = np.sort(brute_force(metric, int(share * inside))[1])
    gaps = np.flatnonzero(np.diff(norms) > 1000)
    return metric, int(norms[gaps[-1]]) + 500, find(crystal)


def brute_force(metric, limit):
    h = np.array([h for h in np.ndindex(*GRID)]) - np.array([(n - 1) // 2 for n in GRID])
    h = h[(2 * np.abs(h) < GRID).all(axis=1)]
    norms = np.einsum("ni,ij,nj->n", h, metric, h)
    return h[norms <= limit], norms[norms <= limit]


def spectrum_of(values, h):
    return np.fft.fftn(values, norm="forward")[tuple(np.array(h).T)]


@names
def test_every_vector_is_in_exactly_one_orbit(name):
    metric, limit, group = sphere(name)
    found = orbits(GRID, metric, limit, group)
    members = [tuple(h) for h in found.members.tolist()]
    both = members + [tuple(-x for x in h) for h in members]
    assert len(set(both)) == len(both)
    centring = [w for W, w, _ in operations(group) if np.array_equal(W, np.eye(3))]
    expected = {
        tuple(h.tolist())
        for h in brute_force(metric, limit)[0]
        if h.any() and all(abs(h @ w - np.rint(h @ w)) < 1e-6 for w in centring)
    }
    assert set(both) == expected
    assert np.array_equal(found.multiplicity, 2 * np.bincount(found.orbit))
    assert found.multiplicity.sum() == len(expected)
    assert (np.diff(found.norms) >= 0).all()
    own = np.einsum("ni,ij,nj->n", found.members, metric, found.members)
    assert np.abs(found.norms[found.orbit] - own).max() <= 200  # the rounded metric is not exactly invariant
    rotations = {W.tobytes(): W for W in group.rotations}.values()
    for k in range(0, len(found), max(1, len(found) // 40)):
        images = {tuple((sign * W.T @ found.representatives[k]).tolist()) for W in rotations for sign in (1, -1)}
        assert {tuple(h) for h in found.members[found.orbit == k].tolist()} <= images
        assert found.multiplicity[k] == len(images)


@names
def test_fold_and_unfold_average_over_the_group(name):
    metric, limit, group = sphere(name, 0.5)
    found = orbits(GRID, metric, limit, group)
    rng = np.random.default_rng(3)
    values = rng.normal(size=len(found.members)) + 1j * rng.normal(size=len(found.members))
    table = {tuple(h): v for h, v in zip(found.members.tolist(), values, strict=True)}
    table |= {tuple(-x for x in h): v.conjugate() for h, v in list(table.items())}
    # F(W^T h) = F(h) exp(2 pi i h.w), averaged over all operations {W|w}.
    mean = np.zeros(len(values), complex)
    for W, w in zip(group.rotations, group.translations / UNITS, strict=True):
        images = [table[tuple(h)] for h in (found.members @ W).tolist()]
        mean += np.array(images) * np.exp(-2j * np.pi * (found.members @ w)) / len(group)
    projected = found.unfold(found.fold(values))
    assert np.allclose(projected, mean, rtol=0, atol=1e-13)
    assert np.allclose(found.unfold(found.fold(projected)), projected, rtol=0, atol=1e-14)


@names
def test_a_symmetric_density_is_reproduced(name):
    metric, limit, group = sphere(name)
    found = orbits(GRID, metric, limit, group)
    crystal = STRUCTURES[name]
    values = density(crystal, GRID, width=0.8)
    coefficients = spectrum_of(values, found.members) * np.exp(2j * np.pi * found.members @ group.origin)
    folded = found.fold(coefficients)
    scale = np.abs(coefficients).max()
    assert np.allclose(found.unfold(folded), coefficients, rtol=0, atol=2e-6 * scale)
    fixed = found.freedom == 1
    assert np.abs((folded[fixed] * found.phase[fixed].conj()).imag).max(initial=0) < 1e-12 * scale
    assert not folded[found.freedom == 0].any()
    # Parseval: what is left of the mean square lies outside the sphere.
    inside = values.mean() ** 2 + (found.multiplicity * np.abs(folded) ** 2).sum()
    everything = np.abs(np.fft.fftn(values, norm="forward")) ** 2
    h = brute_force(metric, limit)[0]
    assert inside == pytest.approx(everything[tuple(h.T)].sum(), rel=1e-6)


def test_freedom_counts_the_invariant_fields():
    # The dimension of the symmetric subspace is the mean trace of the operations (character theory).
    for name in STRUCTURES:
        metric, limit, group = sphere(name, 0.3)
        found = orbits(GRID, metric, limit, group)
        h = brute_force(metric, limit)[0]
        h = h[h.any(axis=1)]
        trace = sum(
            np.exp(2j * np.pi * (h[(h @ W == h).all(axis=1)] @ w)).sum()
            for W, w in zip(group.rotations, group.translations / UNITS, strict=True)
        )
        assert found.freedom.sum() == pytest.approx(trace.real / len(group), abs=1e-8), name


def freedom_of(found, h):
    """Freedom of the orbit of h, None where it is left out."""
    match = (found.members == h).all(axis=1) | (found.members == -np.array(h)).all(axis=1)
    return int(found.freedom[found.orbit[match][0]]) if match.any() else None


def test_extinctions_of_diamond():
    crystal = STRUCTURES["diamond conventional"]
    found = orbits((16, 16, 16), integer_metric(crystal.cell), 40 * METRIC_UNITS // 29, find(crystal))
    assert freedom_of(found, [1, 1, 1]) == 1
    assert freedom_of(found, [2, 0, 0]) == 0
    assert freedom_of(found, [4, 2, 0]) == 0
    assert freedom_of(found, [4, 0, 0]) == 1
    assert freedom_of(found, [2, 2, 2]) == 1
    assert freedom_of(found, [1, 0, 0]) is None  # face centring


def test_phases_of_inversion_and_of_no_inversion():
    triclinic = STRUCTURES["triclinic"]
    metric = integer_metric(triclinic.cell)
    none = orbits(GRID, metric, METRIC_UNITS // 3, SpaceGroup.trivial())
    assert len(none) == len(none.members) > 20
    assert (none.freedom == 2).all()
    zero = np.zeros((1, 3), np.int64)
    inversion = SpaceGroup.generate(-np.eye(3, dtype=np.int64)[None], zero, np.zeros(3))
    real = orbits(GRID, metric, METRIC_UNITS // 3, inversion)
    assert (real.freedom == 1).all()
    assert np.array_equal(real.phase, np.ones(len(real)))
    odd = orbits(GRID, metric, METRIC_UNITS // 3, inversion.with_flips(np.array([0, 1])))
    assert (odd.freedom == 1).all()
    assert np.allclose(odd.phase, -1j)


def test_flips_of_an_antiferromagnet():
    crystal = STRUCTURES["supercell"]
    moments = np.where(np.isclose(crystal.positions[:, 1], 0), 1.0, -1.0)  # corner against centre
    values = density(crystal, GRID, width=0.8, weights=moments)
    group = find(crystal)
    flips = np.array([int(round((w * 2)[1]) % 2) for _, w, _ in operations(group)])
    signed = group.with_flips(flips)
    assert set(SpaceGroup.generate(*(getattr(signed.generators(), f) for f in
               ("rotations", "translations", "origin", "flips"))).rows()) == set(signed.rows())  # fmt: skip
    metric, limit, _ = sphere("supercell")
    found = orbits(GRID, metric, limit, signed)
    coefficients = spectrum_of(values, found.members)
    assert np.abs(coefficients).max() > 1e-3
    assert np.allclose(found.unfold(found.fold(coefficients)), coefficients, rtol=0, atol=1e-12)
    unsigned = orbits(GRID, metric, limit, group)
    assert np.allclose(unsigned.fold(spectrum_of(values, unsigned.members)), 0, atol=1e-12)


def test_orbits_cut_by_the_grid_keep_the_members_there_are():
    crystal = STRUCTURES["fcc"]
    narrow = orbits((5, 11, 11), integer_metric(crystal.cell), 2 * METRIC_UNITS, find(crystal))
    assert np.abs(narrow.members[:, 0]).max() == 2
    assert np.abs(narrow.members[:, 1]).max() > 2
    assert np.array_equal(narrow.multiplicity, 2 * np.bincount(narrow.orbit))


def test_the_order_is_that_of_the_norm_and_then_of_the_indices():
    """Pinned: the order of coefficients is part of the format."""
    crystal = STRUCTURES["zinc blende"]
    found = orbits((9, 9, 9), integer_metric(crystal.cell), METRIC_UNITS // 2, find(crystal))
    assert found.representatives.tolist() == [[1, 1, 1], [0, 1, 1], [1, 1, 2], [1, 2, 2], [2, 2, 2]]
    triclinic = STRUCTURES["triclinic"]
    found = orbits((9, 9, 9), integer_metric(triclinic.cell), METRIC_UNITS // 8, SpaceGroup.trivial())
    assert found.representatives.tolist() == [
        [0, 1, 0], [0, 0, 1], [1, 0, 0], [0, 1, 1], [1, 1, 0], [-1, 0, 1], [0, -1, 1], [-1, 1, 0],
    ]  # fmt: skip


def test_a_large_supercell_does_not_take_long():
    conventional = STRUCTURES["diamond conventional"]
    crystal = supercell(conventional, (2, 2, 2))
    started = time.process_time()
    group = find(crystal)
    assert len(group) == 8 * 192
    assert len(group.generators()) <= 4
    found = orbits((48, 48, 48), integer_metric(crystal.cell), METRIC_UNITS, group)
    assert time.process_time() - started < 10
    primitive = orbits((24, 24, 24), integer_metric(conventional.cell), METRIC_UNITS, find(conventional))
    assert np.array_equal(found.representatives, 2 * primitive.representatives)


# --- damaged groups --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rotations",
    [
        [[[0, 0, 0], [0, 0, 0], [0, 0, 0]]],  # singular: its powers are finite, but it is no rotation
        [[[1, 1, 0], [0, 1, 0], [0, 0, 1]]],  # a shear
        [[[2, 1, 0], [1, 1, 0], [0, 0, 1]]],  # powers grow for ever
        [[[0, -1, 0], [1, 0, 0], [0, 0, 1]], [[0, -1, 0], [1, -1, 0], [0, 0, 1]]],  # fourfold and threefold in a plane
        [[[64, 63, 0], [1, 1, 0], [0, 0, 1]]] * 16,
    ],
)
def test_no_finite_group_is_an_error_at_once(rotations):
    started = time.process_time()
    with pytest.raises(CodecError, match="damaged"):
        SpaceGroup.generate(np.array(rotations), np.zeros((len(rotations), 3), np.int64), np.zeros(3))
    assert time.process_time() - started < 1


def test_too_many_translations_are_an_error_at_once():
    shifts = np.array([[1, 0, 0], [0, 1, 0]])
    started = time.process_time()
    with pytest.raises(CodecError, match="damaged"):
        SpaceGroup.generate(np.array([np.eye(3, dtype=np.int64)] * 2), shifts, np.zeros(3))
    assert time.process_time() - started < 2


def test_more_vectors_than_allowed_are_an_error():
    metric = integer_metric(STRUCTURES["fcc"].cell)
    with pytest.raises(CodecError, match="more coefficients"):
        orbits((400, 400, 400), metric, 255 << 50, SpaceGroup.trivial(), most=10_000)
    with pytest.raises(CodecError, match="too fine"):
        orbits((1 << 28, 1, 1), metric * 1000, 255 << 50, SpaceGroup.trivial(), most=10_000)
