"""Augmentation occupancies as numbers: layouts, symmetry, bounds, and the text that VASP reads."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import occupied
import pytest
from fields import STRUCTURES, density, supercell

import chgdb
from chgdb import Crystal, Density
from chgdb.augmentation import parse
from chgdb.codecs import encode
from chgdb.codecs.bits import BitReader, BitWriter
from chgdb.codecs.extras import NUMBERS, default_tolerance, pack, quality, unpack
from chgdb.codecs.layouts import blocks, candidates, count_of, invariants, places
from chgdb.codecs.occupancies import _read_kinds
from chgdb.errors import ChgdbError
from chgdb.formats import pack_extras
from chgdb.rotations import cartesian_rotations, harmonic_rotations
from chgdb.symmetry import SpaceGroup, find
from chgdb.verification import verify

SP, SPD, SPDD = (0, 0, 1, 1), (0, 0, 1, 1, 2), (0, 0, 1, 1, 2, 2)
SILVER = (0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3)
TOLERANCE = 1e-3


def crystal_density(crystal: Crystal, after: Mapping[str, str], **channels: np.ndarray) -> Density:
    grid = (12, 12, 12)
    extras = {"comment": "unknown system".ljust(40), "after": dict(after)}
    runs: list[list[Any]] = []
    for symbol in crystal.symbols:
        if runs and runs[-1][0] == symbol:
            runs[-1][1] += 1
        else:
            runs.append([symbol, 1])
    extras["species"] = runs
    return Density(crystal, {"total": density(crystal, grid, width=0.6), **channels}, extras)


def packed(found: Density, tolerance: float = TOLERANCE) -> tuple[bytes, dict[str, Any], float]:
    """(bytes, extras as they come back, largest error) at the default tolerance of a grid's."""
    payload, names = encode(found, tolerance).payload, tuple(found.channels)
    result = pack(found.extras, found.crystal, names, payload, default_tolerance(tolerance))
    assert result.data[0] == NUMBERS
    back = unpack(result.data, found.crystal, names, payload)
    error = quality(found.extras, back, len(found.crystal))
    assert error == result.error
    assert error is not None
    assert result.tolerance is not None
    assert 0 < error <= result.tolerance == default_tolerance(tolerance)
    assert {**back, "after": None} == {**found.extras, "after": None}
    return result.data, back, error


def layouts_in(data: bytes, crystal: Crystal) -> list[tuple[int, ...] | None]:
    """The layouts that a record says."""
    source = BitReader(data, 1)
    assert source.read(2) == 1  # VASP's own comment
    assert not source.read(1)
    assert source.read(2) == 1
    assert not source.read(1)
    for _ in range(1):
        assert not source.read(1)  # no moments
    return [kind.layout for kind in _read_kinds(source, crystal)[1]]


# How harmonics turn --------------------------------------------------------------------------------------------------

CUBIC, HEXAGONAL = STRUCTURES["fcc"], STRUCTURES["hcp"]
#: Ten point groups: a cell, and which of the operations of its lattice they have.
POINT_GROUPS = {
    "-1": (CUBIC, lambda R: np.allclose(R, np.eye(3) * R[0, 0])),
    "2/m": (CUBIC, lambda R: np.isclose(abs(R[2, 2]), 1) and np.allclose(abs(R), np.eye(3)) and R[0, 0] == R[1, 1]),
    "mmm": (CUBIC, lambda R: np.allclose(abs(R), np.eye(3))),
    "4/mmm": (CUBIC, lambda R: np.isclose(abs(R[2, 2]), 1)),
    "-43m": (CUBIC, lambda R: np.isclose(np.prod(R[np.abs(R) > 0.5]), 1)),
    "m-3m": (CUBIC, lambda R: True),
    "6mm": (HEXAGONAL, lambda R: np.isclose(R[2, 2], 1)),
    "6/m": (HEXAGONAL, lambda R: np.isclose(np.linalg.det(R) * R[2, 2], 1)),
    "622": (HEXAGONAL, lambda R: np.linalg.det(R) > 0),
    "6/mmm": (HEXAGONAL, lambda R: True),
}


def _proper(rotation: np.ndarray) -> np.ndarray:
    return rotation * np.linalg.det(rotation)


def lattice_operations(crystal: Crystal) -> np.ndarray:
    """All operations of a lattice, as Cartesian matrices."""
    bare = Crystal(crystal.cell, [[0, 0, 0]], [1])
    unique = np.unique(find(bare).rotations.reshape(-1, 9), axis=0).reshape(-1, 3, 3)
    return cartesian_rotations(unique, crystal.cell)


def wigner(rotation: np.ndarray, ell: int) -> np.ndarray:
    """D of real harmonics from sympy's small Wigner matrices, in the convention of Euler's angles z, y, z."""
    from sympy import N, pi
    from sympy.physics.wigner import wigner_d_small

    R = _proper(rotation)
    beta, gamma = np.arccos(np.clip(R[2, 2], -1, 1)), 0.0
    if abs(R[2, 2]) > 0.99:  # one angle is enough
        alpha = np.arctan2(R[1, 0] * R[2, 2], R[0, 0] * R[2, 2])
    else:
        alpha, gamma = np.arctan2(R[1, 2], R[0, 2]), np.arctan2(R[2, 1], -R[2, 0])
    quarter = round(beta / (np.pi / 2))
    assert np.isclose(beta, quarter * np.pi / 2)
    key = ell, quarter
    if key not in _SMALL:
        exact = wigner_d_small(ell, quarter * pi / 2)
        _SMALL[key] = np.array([[float(N(x)) for x in exact.row(i)] for i in range(2 * ell + 1)])
    m = np.arange(ell, -ell - 1, -1)  # sympy's order
    # sympy's is d(-beta) of the usual one: its transpose.
    whole = np.exp(-1j * m * alpha)[:, None] * _SMALL[key].T * np.exp(-1j * m * gamma)
    real = np.zeros((2 * ell + 1, 2 * ell + 1), complex)  # rows: real harmonics; columns: complex ones, M from L to -L
    for k in range(-ell, ell + 1):
        row, plus, minus = k + ell, ell - abs(k), ell + abs(k)
        if k == 0:
            real[row, ell] = 1
        elif k > 0:
            real[row, plus], real[row, minus] = (-1) ** k / np.sqrt(2), 1 / np.sqrt(2)
        else:
            real[row, plus], real[row, minus] = -1j * (-1) ** k / np.sqrt(2), 1j / np.sqrt(2)
    # Real harmonics are `real` times the complex ones; coefficients turn with the conjugate of that.
    found = real.conj() @ whole @ real.T
    assert np.abs(found.imag).max() < 1e-10
    return found.real * np.linalg.det(rotation) ** ell


_SMALL: dict[tuple[int, int], np.ndarray] = {}


@pytest.mark.parametrize("name", POINT_GROUPS)
def test_blocks_turn_by_wigner_matrices(name: str) -> None:
    crystal, belongs = POINT_GROUPS[name]
    operations = [R for R in lattice_operations(crystal) if belongs(R)]
    order = {"-1": 2, "2/m": 4, "mmm": 8, "4/mmm": 16, "-43m": 24, "m-3m": 48, "6mm": 12, "6/m": 12, "622": 12}
    assert len(operations) == order.get(name, 24)
    ours = harmonic_rotations(np.array(operations), 6)
    for k, rotation in enumerate(operations):
        for ell in range(7):
            expected = wigner(rotation, ell)
            np.testing.assert_allclose(ours[ell][k], expected, rtol=0, atol=1e-10)
            np.testing.assert_allclose(occupied.turned(rotation, ell), expected, rtol=0, atol=1e-10)


def test_rotations_about_any_axis() -> None:
    from scipy.spatial.transform import Rotation

    some = Rotation.random(4, random_state=1).as_matrix()
    some = np.concatenate([some, -some])
    ours = harmonic_rotations(some, 6)
    for ell in range(7):
        expected = [occupied.turned(rotation, ell) for rotation in some]
        np.testing.assert_allclose(ours[ell], expected, rtol=0, atol=1e-10)


# Layouts -------------------------------------------------------------------------------------------------------------


def test_counts_that_vasp_writes() -> None:
    known = {(0, 0, 1): 15, SP: 33, SPD: 78, SPDD: 138, SILVER: 630, (2, 2, 0, 0, 1, 1): 138}
    for layout, count in known.items():
        assert count_of(layout) == count == sum(2 * ell + 1 for ell in blocks(layout))
        assert layout in candidates(count)
        assert sorted(np.concatenate([place.ravel() for place in places(layout).values()])) == list(range(count))


def test_places_of_the_unturned_numbers() -> None:
    """Of silicon, 0, 1, 8, 15, 21 and 27; of cadmium in CdF2, whose d channels come first, 0, 15 and 60 among them."""
    assert places(SP)[0].ravel().tolist() == [0, 1, 8, 15, 21, 27]
    assert {0, 15, 60} <= set(places((2, 2, 0, 0, 1, 1))[0].ravel().tolist())


@pytest.mark.parametrize(("name", "free"), [("fcc", {0: 1, 1: 0, 2: 0, 3: 0, 4: 1}), ("hcp", {0: 1, 1: 0, 2: 1, 3: 1})])
def test_free_numbers_of_a_site(name: str, free: dict[int, int]) -> None:
    """What is left of each L by m-3m and by -6m2."""
    crystal = STRUCTURES[name]
    site = [rotation for rotation, images in occupied.operations(crystal, find(crystal)) if images[0] == 0]
    for ell, rank in free.items():
        basis = invariants(np.mean([occupied.turned(R, ell) for R in site], axis=0))
        assert basis.shape == (2 * ell + 1, rank)
        if rank:
            assert np.abs(basis).max() == 1


# Round trips ---------------------------------------------------------------------------------------------------------

SETS: dict[str, dict[int, tuple[int, ...]]] = {
    "fcc": {13: SP},
    "bcc": {26: SPDD},
    "diamond conventional": {14: SP},
    "zinc blende": {31: (2, 2, 0, 0, 1, 1), 33: SP},
    "hcp": {12: SPDD},
    "wurtzite": {30: SPD, 16: SP},
    "quartz": {14: SP, 8: SP},
    "rhombohedral": {83: SPDD},
    "monoclinic": {},
}


@pytest.mark.parametrize("name", SETS)
def test_symmetric_occupancies(name: str) -> None:
    crystal = STRUCTURES[name]
    layouts = {int(number): SETS[name].get(int(number), SP) for number in crystal.numbers}
    values = occupied.symmetric(crystal, layouts, 1)
    found = crystal_density(crystal, {"total": occupied.text(values)})
    data, _, _ = packed(found)
    group = find(crystal)
    for said, number in zip(layouts_in(data, crystal), dict.fromkeys(crystal.numbers.tolist()), strict=True):
        assert said == layouts[number] or free_numbers(crystal, group, said) == free_numbers(
            crystal, group, layouts[number]
        )
    numbers = sum(map(len, values))
    assert len(data) < numbers * 1.7 / max(1, len(group) / 12) + 30
    assert len(data) * 4 < len(pack_extras(found.extras))


def free_numbers(crystal: Crystal, group: SpaceGroup, layout: Sequence[int] | None) -> int:
    assert layout is not None
    site = [R for R, images in occupied.operations(crystal, group) if images[0] == 0]
    return round(sum(np.trace(occupied.turned(R, ell)) for ell in blocks(tuple(layout)) for R in site) / len(site))


def test_f_electrons_and_tolerances() -> None:
    """630 numbers of silver on a cubic site: 21 for L = 0 and what L = 4 and 6 leave."""
    crystal = Crystal(STRUCTURES["fcc"].cell, [[0, 0, 0]], [47])
    values = occupied.symmetric(crystal, {47: SILVER}, 5)
    found = crystal_density(crystal, {"total": occupied.text(values)})
    sizes = []
    for tolerance in (1e-2, 1e-3, 1e-4):
        data, _, error = packed(found, tolerance)
        assert error > default_tolerance(tolerance) / 2  # no finer than it is asked for
        sizes.append(len(data))
    assert layouts_in(data, crystal) == [SILVER]
    assert sizes == sorted(sizes)
    assert sizes[-1] < 130


def test_a_vacancy() -> None:
    """Equivalent atoms around it, each kind of site with its own numbers."""
    whole = supercell(STRUCTURES["fcc"], (2, 2, 2))
    crystal = Crystal(whole.cell, whole.positions[1:], whole.numbers[1:])
    values = occupied.symmetric(crystal, {13: SPD}, 2)
    data, _, _ = packed(crystal_density(crystal, {"total": occupied.text(values)}))
    assert layouts_in(data, crystal) == [SPD]
    assert len(data) < 78 * len(crystal)


def test_an_antiferromagnet_changes_sign() -> None:
    sys.path.insert(0, str(Path(__file__).parents[1] / "golden"))
    from make_payloads import antiferromagnet

    plain = antiferromagnet()
    crystal, signs = plain.crystal, np.where(np.isclose(plain.crystal.positions[:, 1], 0), 1.0, -1.0)
    total = occupied.symmetric(crystal, {26: SPDD}, 1)
    spin = occupied.symmetric(crystal, {26: SPDD}, 2, occupied.with_flips(crystal, signs))
    after = {"total": occupied.text(total, 2.5 * signs), "magnetization": occupied.text(spin)}
    found = replace(plain, extras={"comment": "Fe", "after": after})
    data, back, _ = packed(found)
    half = len(packed(replace(found, channels={"total": plain.total}, extras={"comment": "Fe", "after": {
        "total": after["total"]}}))[0])  # fmt: skip
    assert len(data) < 2 * half + 20  # one atom of twelve says the magnetisation, too
    decoded = parse(back["after"]["magnetization"], len(crystal))
    assert decoded is not None
    up, down = np.flatnonzero(signs > 0)[0], np.flatnonzero(signs < 0)[0]
    assert np.abs(decoded.real[up][0] + decoded.real[down][0]) < 1e-9
    assert abs(decoded.real[up][0]) > 1e-3
    assert parse(back["after"]["total"], len(crystal)).moments == tuple(2.5 * signs)  # type: ignore[union-attr]


def test_vectors_of_a_noncollinear_magnet() -> None:
    """An axial vector along z: operations that turn it round take part where time is reversed too."""
    crystal = STRUCTURES["hcp"]
    group, layouts = find(crystal), {12: SPD}
    along = [np.linalg.det(R) * R[2, 2] for R, _ in occupied.operations(crystal, group)]
    magnetic = group.with_flips((np.array(along) < 0).astype(np.int64))
    parts = [occupied.symmetric(crystal, layouts, 3), *occupied.axial(crystal, layouts, magnetic, 4)]
    names = ["total", *(f"magnetization_{axis}" for axis in "xyz")]
    zeros = np.zeros((12, 12, 12))
    for imaginary in (False, True):
        small = [[1e-2 * v for v in occupied.symmetric(crystal, layouts, seed)] for seed in range(5, 9)]
        after = {
            name: occupied.text(part, (), other if imaginary else ())
            for name, part, other in zip(names, parts, small, strict=True)
        }
        found = crystal_density(crystal, after, **dict.fromkeys(names[1:], zeros))
        data, back, _ = packed(found)
        assert list(back["after"]) == names
        if not imaginary:
            numbers = sum(len(values) for part in parts for values in part)
            assert len(data) < numbers / 3


# What cannot be proven, and what is kept -----------------------------------------------------------------------------


def test_a_layout_without_evidence_is_not_guessed() -> None:
    """P1: no operation tells what the numbers of an atom are; they are quantised as they are."""
    crystal = STRUCTURES["triclinic"]
    rng = np.random.default_rng(1)
    values = [np.array([float(f"{x:.6e}") for x in rng.normal(size=33)]) for _ in crystal.numbers]
    data, _, _ = packed(crystal_density(crystal, {"total": occupied.text(values)}))
    assert layouts_in(data, crystal) == [None, None, None]


def test_numbers_that_turn_by_no_layout() -> None:
    """A cubic site with numbers of no symmetry: a wrong layout would change them."""
    crystal = STRUCTURES["zinc blende"]
    rng = np.random.default_rng(2)
    values = [np.array([float(f"{x:.6e}") for x in rng.normal(size=47)]) for _ in crystal.numbers]
    data, _, _ = packed(crystal_density(crystal, {"total": occupied.text(values)}))
    assert layouts_in(data, crystal) == [None, None]


def test_noise_costs_nothing() -> None:
    crystal = STRUCTURES["triclinic"]
    noise = [1e-15 * np.sin(np.arange(78) + 1) for _ in crystal.numbers]
    noise = [np.array([float(f"{x:.6e}") for x in values]) for values in noise]
    found = crystal_density(crystal, {"total": occupied.text(noise)})
    payload = encode(found, TOLERANCE).payload
    result = pack(found.extras, crystal, ("total",), payload, 5e-4)
    assert len(result.data) < 14
    back = unpack(result.data, crystal, ("total",), payload)
    assert "E-" not in back["after"]["total"]


def test_equal_atoms_without_symmetry() -> None:
    """The numbers of an atom predict those of the next one of its element."""
    rng = np.random.default_rng(3)
    crystal = Crystal(9 * np.eye(3), rng.random((12, 3)), [14] * 12)
    one = rng.normal(size=33) * np.array([1.0 if i in (0, 1, 8, 15, 21, 27) else 1e-4 for i in range(33)])
    values = [np.array([float(f"{x:.6e}") for x in one * (1 + 5e-4 * rng.normal(size=33))]) for _ in range(12)]
    found = crystal_density(crystal, {"total": occupied.text(values)})
    data, _, _ = packed(found)
    alone = Crystal(crystal.cell, crystal.positions[:1], [14])
    single, _, _ = packed(crystal_density(alone, {"total": occupied.text(values[:1])}))
    assert len(data) < 5 * len(single)


@pytest.mark.parametrize("change", ["no value", "other digits", "one channel", "short", "capital"])
def test_text_that_vasp_would_not_write_is_kept(change: str) -> None:
    crystal = STRUCTURES["fcc"]
    text = occupied.text(occupied.symmetric(crystal, {13: SP}))
    changed = {
        "no value": "",
        "other digits": text.replace("E+00", "0E+00", 1),
        "one channel": text,
        "short": text[:-1],
        "capital": text.replace("E", "e"),
    }[change]
    found = crystal_density(crystal, {"total": changed})
    if change == "one channel":
        found = replace(found, channels={**found.channels, "magnetization": 0 * found.total})
    names = tuple(found.channels)
    payload = encode(found, TOLERANCE).payload
    result = pack(found.extras, crystal, names, payload, 5e-4)
    assert result.data == pack_extras(found.extras)
    assert result.error is None
    assert unpack(result.data, crystal, names, payload) == found.extras


def test_words_of_the_header() -> None:
    """Comment, labels and line ends come back as they were."""
    crystal = STRUCTURES["zinc blende"]
    values = occupied.symmetric(crystal, {31: SP, 33: SP})
    base = crystal_density(crystal, {"total": occupied.text(values)})
    for extras in (
        {"comment": "", "species": [["Ga_d", 1], ["As", 1]]},
        {"comment": "GaAs".ljust(40), "line_end": "\r\n"},
        {"comment": "Gallium-Arsenid äöü", "selective_dynamics": ["TTF", "FFF"], "steps": 3},
        {"species": [["Ga/0123abcd", 1], ["As/89abcdef", 1]], "comment": " x" * 300},
    ):
        line_end = str(extras.get("line_end", "\n"))
        after = {"total": base.extras["after"]["total"].replace("\n", line_end)}
        _, back, _ = packed(replace(base, extras={**extras, "after": after}))
        assert back.keys() == {*extras, "after"}
        assert back["after"]["total"].count(line_end) == after["total"].count(line_end)


# The file ------------------------------------------------------------------------------------------------------------


def test_the_order_in_which_vasp_reads(tmp_path: Path) -> None:
    """RD_RHO_PAW reads, channel by channel, a line with ion and count in columns 25 to 32, and five E15.7 a line; then,
    before a magnetisation, five E20.12 a line. Read here by columns, and read again by chgdb."""
    crystal = STRUCTURES["hcp"]
    parts = [occupied.symmetric(crystal, {12: SPD}, seed) for seed in (1, 2)]
    after = {"total": occupied.text(parts[0], (1.5, -0.25)), "magnetization": occupied.text(parts[1])}
    spin = 0.1 * density(crystal, (12, 12, 12), width=0.6)
    found = crystal_density(crystal, after, magnetization=spin)
    _, back, _ = packed(found)
    path = tmp_path / "CHGCAR"
    chgdb.write(path, replace(found, extras=back))
    lines = path.read_text().split("\n")
    at = [i for i, line in enumerate(lines) if line.startswith("augmentation occupancies")]
    assert [(int(lines[i][24:28]), int(lines[i][28:32])) for i in at] == [(1, 78), (2, 78)] * 2
    limits = [5e-4 * max(float(np.abs(v).max()) for v in part) * 1.001 for part in parts]
    for number, i in enumerate(at):
        rows = lines[i + 1 : i + 17]
        read = [float(row[k : k + 15]) for row in rows for k in range(0, len(row), 15)]
        assert [len(row) for row in rows] == [75] * 15 + [45]
        assert np.abs(np.array(read) - parts[number // 2][number % 2]).max() <= limits[number // 2]
    moments = lines[at[1] + 17]
    assert [float(moments[:20]), float(moments[20:40])] == [1.5, -0.25]
    assert len(moments) == 40
    assert lines[at[1] + 18].split() == ["12", "12", "12"]
    assert lines[at[3] + 17 :] == [""]
    again = chgdb.read(path)
    assert again.extras == back
    chgdb.write(tmp_path / "CHGCAR.again", again)
    assert (tmp_path / "CHGCAR.again").read_bytes() == path.read_bytes()


def test_a_store_states_the_error(tmp_path: Path) -> None:
    crystal = STRUCTURES["fcc"]
    values = occupied.symmetric(crystal, {13: SP}, 7)
    path, store = tmp_path / "CHGCAR", tmp_path / "my.zarr"
    chgdb.write(path, crystal_density(crystal, {"total": occupied.text(values)}))
    sizes = {}
    for asked in ("auto", "exact", 1e-3):
        target = tmp_path / f"{asked}.zarr"
        chgdb.build(target, path, occupancies=asked, workers=1)
        record = next(iter(chgdb.open(target)))
        sizes[asked] = record.extras_bytes
        report = verify(target, deep=True, originals=tmp_path)
        assert report.ok, report.problems
        assert report.measured == 1
        known = {"auto": 5e-5, "exact": None, 1e-3: 1e-3}[asked]
        assert record.occupancy_tolerance == known
        assert (record.occupancy_error is None) == (known is None)
        assert chgdb.open(target).format_version == (1 if asked == "exact" else 3)
        if asked == "exact":
            assert record.density.extras["after"] == {"total": occupied.text(values)}
    assert sizes[1e-3] < sizes["auto"] < sizes["exact"] / 3
    with pytest.raises(ChgdbError, match="occupancies is 'loose'"):
        chgdb.build(store, path, occupancies="loose", workers=1)  # type: ignore[arg-type]
    chgdb.build(store, path, tolerance=0, workers=1)
    assert next(iter(chgdb.open(store))).density.extras["after"] == {"total": occupied.text(values)}


def test_damaged_bytes_are_refused_or_read() -> None:
    """No change of a byte ends in anything but numbers or an error of chgdb's."""
    crystal = STRUCTURES["zinc blende"]
    values = occupied.symmetric(crystal, {31: SPD, 33: SP}, 3)
    found = crystal_density(crystal, {"total": occupied.text(values)})
    payload = encode(found, TOLERANCE).payload
    data = pack(found.extras, crystal, ("total",), payload, 5e-4).data
    refused = 0
    for at in range(len(data)):
        for bit in range(8):
            wrong = bytearray(data)
            wrong[at] ^= 1 << bit
            try:
                unpack(bytes(wrong), crystal, ("total",), payload)
            except ChgdbError:
                refused += 1
    assert refused > 3 * len(data)
    with pytest.raises(ChgdbError):
        unpack(data[: len(data) // 2], crystal, ("total",), payload)


def test_a_claim_beyond_all_bytes() -> None:
    out = BitWriter()
    out.write(NUMBERS, 8)
    out.write(0b0000000, 7)
    out.write(0, 1)
    out.write_gamma(9999)
    out.write(1, 1)
    rng = np.random.default_rng(1)
    crystal = Crystal(500 * np.eye(3), rng.random((200_000, 3)), [1] * 200_000)
    with pytest.raises(ChgdbError, match="more occupancies than it can hold"):
        unpack(out.to_bytes(), crystal, ("total",), b"\x01")
