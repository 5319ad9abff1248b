"""CHGCAR and its kin: exact to the text, byte for byte where VASP wrote it, one clear line for bad files."""

from __future__ import annotations

import gzip
import re
import resource
import subprocess
import sys
import time
import warnings
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from effort import examples, some
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vasp_text import HEADER, augmentation, block, chgcar, grid_values

import chgdb
from chgdb import Crystal, Density
from chgdb.errors import ChgdbError, FileWarning, FormatError
from chgdb.formats import text_bytes

FILES = [
    "Al_spin.CHGCAR", "GaAs_noncollinear.CHGCAR", "LiH_spin.CHGCAR", "Li_nospin.CHGCAR", "Li_spin.CHGCAR",
    "NaCl.CHGCAR", "Si2.AECCAR0", "Si2.AECCAR2", "Si2_spin.CHGCAR", "Si8_strained_spin.CHGCAR", "YPO4.AECCAR2",
]  # fmt: skip


def store(folder: Path, text: str | bytes, name: str = "CHGCAR") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def assert_equal(a: Density, b: Density) -> None:
    assert a.crystal == b.crystal
    assert tuple(a.channels) == tuple(b.channels)
    assert all(np.array_equal(a.channels[name], b.channels[name]) for name in a.channels)
    assert a.extras == b.extras


def blocks_of(text: bytes, grid: tuple[int, int, int]) -> bytes:
    """Everything from the first grid line on."""
    return text[re.search(rb"^ *%d +%d +%d\s*$" % grid, text, re.M).start() :].lstrip()


def unpacked(path: Path) -> bytes:
    import gzip

    return gzip.decompress(path.read_bytes())


# Real files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_real_file_is_read_exactly_and_rewritten_byte_for_byte(shared, tmp_path, name):
    source = shared / "vasp" / f"{name}.gz"
    text = unpacked(source)
    density = chgdb.read(source)
    chgdb.write(tmp_path / "CHGCAR", density)
    written = (tmp_path / "CHGCAR").read_bytes()
    assert blocks_of(written, density.grid) == blocks_of(text, density.grid)
    assert_equal(chgdb.read(tmp_path / "CHGCAR"), density)
    count = density.total.size
    tokens = blocks_of(text, density.grid).split(None, count + 3)[3:-1] or []
    if len(tokens) < count:  # nothing follows the only block
        tokens = blocks_of(text, density.grid).split()[3 : 3 + count]
    expected = np.array([float(token) for token in tokens]).reshape(density.grid, order="F") / density.crystal.volume
    assert np.array_equal(density.total, expected)


@pytest.mark.parametrize("name", FILES)
def test_pymatgen_agrees(shared, tmp_path, name):
    outputs = pytest.importorskip("pymatgen.io.vasp.outputs")
    density = chgdb.read(shared / "vasp" / f"{name}.gz")
    chgdb.write(tmp_path / "CHGCAR", density)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pymatgen's own, on POTCARs and encodings
        theirs = outputs.Chgcar.from_file(str(shared / "vasp" / f"{name}.gz"))
        of_ours = outputs.Chgcar.from_file(str(tmp_path / "CHGCAR"))
    keys = {"magnetization": "diff"} | {f"magnetization_{axis}": f"diff_{axis}" for axis in "xyz"}
    for channel, values in density.channels.items():
        key = keys.get(channel, channel)
        assert np.array_equal(theirs.data[key], of_ours.data[key])
        assert np.allclose(theirs.data[key], values * density.crystal.volume, rtol=4e-16, atol=0)
    assert theirs.structure == of_ours.structure
    assert np.allclose(theirs.structure.lattice.matrix, density.crystal.cell, rtol=0, atol=1e-14)
    # Lists of lines; None where there are none in pymatgen before 2026.
    theirs_aug, our_aug = ({k: sorted(v or []) for k, v in c.data_aug.items()} for c in (theirs, of_ours))
    assert theirs_aug == our_aug


@pytest.mark.parametrize("name", FILES)
def test_ase_agrees(shared, tmp_path, name):
    ase_vasp = pytest.importorskip("ase.calculators.vasp")
    density = chgdb.read(shared / "vasp" / f"{name}.gz")
    chgdb.write(tmp_path / "CHGCAR", density)
    store(tmp_path, unpacked(shared / "vasp" / f"{name}.gz"), "original.CHGCAR")
    of_ours, theirs = (ase_vasp.VaspChargeDensity(str(tmp_path / file)) for file in ("CHGCAR", "original.CHGCAR"))
    assert np.allclose(of_ours.chg[0], theirs.chg[0], rtol=1e-14, atol=0)
    assert np.allclose(of_ours.chg[0], density.total, rtol=1e-14, atol=0)
    assert of_ours.atoms[0].numbers.tolist() == density.crystal.numbers.tolist()
    assert np.allclose(of_ours.atoms[0].get_scaled_positions(wrap=False), density.crystal.positions, atol=1e-12)


@pytest.mark.parametrize("name", FILES)
def test_text_bytes_is_the_size_of_the_blocks(shared, tmp_path, name):
    density = chgdb.read(shared / "vasp" / f"{name}.gz")
    bare = Density(density.crystal, density.channels)
    chgdb.write(tmp_path / "CHGCAR", bare)
    written = (tmp_path / "CHGCAR").read_bytes()
    assert text_bytes(density) == len(written) - written.index(b" \n") - 2


def test_nearest_double_of_scaled_lattice(shared):
    density = chgdb.read(shared / "vasp" / "NaCl.CHGCAR.gz")
    assert density.crystal.cell[0, 1] == float(Decimal("5.65000000000000") * Decimal("0.500787"))
    assert density.n_electrons == pytest.approx(8, abs=1e-6)


@pytest.mark.parametrize("name", ["GaAs_noncollinear.CHGCAR", "LiH_spin.CHGCAR", "Si2.AECCAR2"])
def test_mutated_real_files(shared, tmp_path, name):
    text = unpacked(shared / "vasp" / f"{name}.gz")
    rng = np.random.default_rng(len(text))
    for _ in range(25):
        mutated = bytearray(text)
        if rng.random() < 0.4:
            del mutated[int(rng.integers(len(text))) :]
        else:
            for _ in range(rng.integers(1, 6)):
                position = int(rng.integers(500 if rng.random() < 0.5 else len(text)))
                mutated[position] = rng.choice(list(b"0123456789 .-+ENa*\n\r\x00\xff"))
        check_outcome(store(tmp_path, bytes(mutated)))


def check_outcome(path: Path) -> Density | None:
    """A density that can be written and read again, or an error of one line that names the file."""
    message = ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FileWarning)
            density = chgdb.read(path)
    except ChgdbError as error:
        message = str(error)
    if message:
        assert "\n" not in message
        assert str(path) in message
        return None
    again = path.with_name("again.CHGCAR")
    chgdb.write(again, density)
    assert chgdb.read(again).crystal == density.crystal
    return density


# What a file may look like ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 2, 4])
@pytest.mark.parametrize("occupancies", [True, False])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_blocks_of_any_kind(tmp_path, channels, occupancies, line_end):
    text = chgcar(channels, occupancies=occupancies).replace("\n", line_end)
    density = chgdb.read(store(tmp_path, text))
    assert len(density.channels) == channels
    for seed, values in enumerate(density.channels.values()):
        assert np.array_equal(values, grid_values(seed=seed) / density.crystal.volume)
    chgdb.write(tmp_path / "again.vasp", density)
    written = (tmp_path / "again.vasp").read_bytes()
    assert blocks_of(written, density.grid) == blocks_of(text.encode(), density.grid)
    assert written.startswith(b"a comment, with trailing blanks   " + line_end.encode())


HEADERS = {
    "VASP 6 spacing": HEADER.replace("   Ga   As\n     1     1", "  Ga  As \n  1 1 "),
    "POTCAR labels": HEADER.replace("   Ga   As", "   Ga_d As/0123abcd"),
    "versioned labels": HEADER.replace("   Ga   As", "   Ga_d_GW As.5"),
    "exponents": HEADER.replace("2.826625", ".2826625D+1"),
    "bare exponents": HEADER.replace("2.826625", "282.6625-002"),
    "no blank line": HEADER.replace(" \n\n", "\n").rstrip() + "\n",
    "more blank lines": HEADER + "\n\n",
    "lower case direct": HEADER.replace("Direct", "direct coordinates"),
    "comments behind numbers": HEADER.replace("1.00000000000000 ", "1.0 ! scale").replace("0.250000\n", "0.25 As\n"),
    "volume": HEADER.replace("1.00000000000000", f"-{2 * 2.826625**3!r}"),
    "three scales": HEADER.replace("1.00000000000000", "1 1.0 1.0"),
    "scaled": HEADER.replace("1.00000000000000", "2.0").replace("2.826625", "1.4133125"),
    "cartesian": HEADER.replace("Direct", "Cartesian").replace("0.250000  0.250000  0.250000", "1.4133125 " * 3),
    "cartesian, scaled": HEADER.replace("1.00000000000000", "2.0").replace("2.826625", "1.4133125")
    .replace("Direct", "K").replace("0.250000  0.250000  0.250000", ".70665625 .70665625 .70665625"),
    "selective dynamics": HEADER.replace("Direct", "Selective dynamics\nDirect")
    .replace("0.000000  0.000000  0.000000\n  0.25", "0.000000  0.000000  0.000000 T T F\n  0.25")
    .replace("0.250000  0.250000  0.250000", "0.250000  0.250000  0.250000 .FALSE. .TRUE. F"),
}  # fmt: skip


@pytest.mark.parametrize("kind", HEADERS)
def test_headers(tmp_path, kind):
    density = chgdb.read(store(tmp_path, HEADERS[kind] + block(grid_values())))
    cell = 2.826625 * (np.ones((3, 3)) - np.eye(3))
    assert np.allclose(density.crystal.cell, cell, rtol=0, atol=0 if kind != "volume" else 1e-14)
    assert np.allclose(density.crystal.positions, [[0, 0, 0], [0.25] * 3], rtol=0, atol=1e-15)
    assert density.crystal.formula == "GaAs"
    chgdb.write(tmp_path / "again.CHGCAR", density)
    again = chgdb.read(tmp_path / "again.CHGCAR")
    assert_equal(again, density)


def test_labels_and_flags_are_written_back(tmp_path):
    text = HEADERS["selective dynamics"].replace("   Ga   As", "   Ga_d As/0123abcd") + block(grid_values())
    chgdb.write(tmp_path / "CHGCAR", chgdb.read(store(tmp_path, text, "in.vasp")))
    lines = (tmp_path / "CHGCAR").read_text().splitlines()
    assert lines[5].split() == ["Ga_d", "As/0123abcd"]
    assert lines[7] == "Selective dynamics"
    assert [line.split()[3:] for line in lines[9:11]] == [["T", "T", "F"], ["F", "T", "F"]]


def test_three_scale_factors_scale_components(tmp_path):
    header = HEADER.replace("1.00000000000000", "1.1 1.2 1.3")
    cell = chgdb.read(store(tmp_path, header + block(grid_values()))).crystal.cell
    expected = [[float(Decimal(s) * Decimal("2.826625")) for s in ("1.1", "1.2", "1.3")]] * 3
    assert np.array_equal(cell, np.array(expected) * (1 - np.eye(3)))


def test_vasp_4(tmp_path):
    path = store(tmp_path, HEADER.replace("   Ga   As\n", "") + block(grid_values()))
    with pytest.raises(FormatError, match=r"line 6: .*VASP 4.*--elements"):
        chgdb.read(path)
    with pytest.raises(FormatError, match="2 species, but the elements given are 1: Ga"):
        chgdb.read(path, elements=["Ga"])
    assert chgdb.read(path, elements=["Ga", "As"]).crystal.numbers.tolist() == [31, 33]


def test_bytes_that_are_not_utf8_survive(tmp_path):
    text = chgcar(2).encode().replace(b"a comment", b"\xff\xfe\xe9")
    density = chgdb.read(store(tmp_path, text))
    chgdb.write(tmp_path / "again.CHGCAR", density)
    assert (tmp_path / "again.CHGCAR").read_bytes().startswith(b"\xff\xfe\xe9, with trailing blanks   \n")


def test_overflowed_occupancies_are_kept(tmp_path):
    text = chgcar(2).replace(re.findall(r"occupancies.*\n( \S+| +\S+)", chgcar(2))[0], " " + "*" * 15, 1)
    density = chgdb.read(store(tmp_path, text))
    chgdb.write(tmp_path / "again.CHGCAR", density)
    assert "*" * 15 in (tmp_path / "again.CHGCAR").read_text()


def test_ion_numbers_that_fill_their_columns(tmp_path):
    tail = "".join(augmentation(ion, 3) for ion in (1, 2)).replace("occupancies   1   3", "occupancies1000   3")
    density = chgdb.read(store(tmp_path, HEADER + block(grid_values()) + tail))
    assert density.extras["after"]["total"] == tail


def test_chg_with_ten_values_a_line(tmp_path):
    values = grid_values((5, 4, 3))
    tokens = [f"{x:#11.5G}" for x in values.T.reshape(-1)]
    lines = ["".join(f" {token}" for token in tokens[i : i + 10]) for i in range(0, 60, 10)]
    text = HEADER + "    5    4    3\n" + "\n".join(lines) + "\n"
    density = chgdb.read(store(tmp_path, text, "CHG"))
    expected = np.array([float(token) for token in tokens]).reshape((5, 4, 3), order="F") / density.crystal.volume
    assert np.array_equal(density.total, expected)


def test_atoms_that_are_not_grouped_keep_their_order(tmp_path):
    crystal = Crystal(np.eye(3) * 5, np.random.default_rng(0).random((4, 3)), np.array([8, 14, 14, 8]))
    density = Density(crystal, {"total": np.ones((2, 3, 4))})
    chgdb.write(tmp_path / "CHGCAR", density)
    assert chgdb.read(tmp_path / "CHGCAR").crystal == crystal
    assert (tmp_path / "CHGCAR").read_text().splitlines()[5].split() == ["O", "Si", "O"]


@settings(max_examples=examples(40))
@given(
    cell=st.lists(st.floats(-20, 20), min_size=9, max_size=9),
    positions=st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=3),
)
def test_no_digit_of_lattice_or_positions_is_lost(tmp_path_factory, cell, positions):
    matrix = np.array(cell).reshape(3, 3) + 50 * np.eye(3)
    crystal = Crystal(matrix, np.array([positions]), np.array([26]))
    path = tmp_path_factory.mktemp("header") / "CHGCAR"
    chgdb.write(path, Density(crystal, {"total": np.zeros((1, 1, 1))}))
    assert chgdb.read(path).crystal == crystal


def test_extras_of_other_atoms_are_left_out(tmp_path):
    density = chgdb.read(store(tmp_path, chgcar(2)))
    other = Crystal(density.crystal.cell, np.zeros((1, 3)), np.array([14]))
    chgdb.write(tmp_path / "CHGCAR", Density(other, density.channels, density.extras))
    written = (tmp_path / "CHGCAR").read_text()
    assert "augmentation" not in written
    assert chgdb.read(tmp_path / "CHGCAR").crystal == other


def test_single_precision_and_fortran_order(tmp_path):
    values = np.asfortranarray(grid_values((7, 5, 9))).astype(np.float32)
    crystal = Crystal(np.eye(3) * 2, [[0, 0, 0]], [3])
    chgdb.write(tmp_path / "CHGCAR", Density(crystal, {"total": values}))
    assert np.array_equal(chgdb.read(tmp_path / "CHGCAR").total.astype(np.float32), values)


@pytest.mark.parametrize("vasp_4", [False, True])
@pytest.mark.parametrize("groups", [20, 21, 40, 43])
def test_species_on_several_lines(tmp_path, groups, vasp_4):
    """VASP breaks the lines of species and counts after 20 groups."""
    symbols = [("Ga", "As", "In")[k % 3] for k in range(groups)]
    counts = [k % 2 + 1 for k in range(groups)]
    lines = [symbols[k : k + 20] for k in range(0, groups, 20)], [counts[k : k + 20] for k in range(0, groups, 20)]
    names, numbers = ("".join("".join(f"{x:>5}" for x in part) + "\n" for part in parts) for parts in lines)
    atoms = "".join(f"  {k / 100:.6f}  0.500000  0.250000\n" for k in range(sum(counts)))
    head = HEADER[: HEADER.index("   Ga")] + ("" if vasp_4 else names) + numbers + "Direct\n" + atoms + "\n"
    path = store(tmp_path, head + block(grid_values()))
    density = chgdb.read(path, elements=symbols if vasp_4 else None)
    expected = [symbol for symbol, count in zip(symbols, counts, strict=True) for _ in range(count)]
    assert density.crystal.symbols == expected
    assert density.crystal.positions[-1, 0] == (sum(counts) - 1) / 100
    chgdb.write(tmp_path / "again.vasp", density)
    assert_equal(chgdb.read(tmp_path / "again.vasp"), density)
    assert chgdb.formats.read_structure(path, elements=symbols if vasp_4 else None).crystal == density.crystal
    with pytest.raises(FormatError, match=r"line 6: 'Q' names no element|VASP 4"):
        chgdb.read(store(tmp_path, head.replace("   As", "    Q", 1), "bad"))


@pytest.mark.parametrize("label", ["D", "T", "D_h", "T.75"])
def test_isotopes_of_hydrogen(tmp_path, label):
    text = HEADER.replace("   Ga   As", f"    {label}    O") + block(grid_values())
    density = chgdb.read(store(tmp_path, text))
    assert density.crystal.numbers.tolist() == [1, 8]
    chgdb.write(tmp_path / "again.vasp", density)
    assert (tmp_path / "again.vasp").read_text().splitlines()[5].split() == [label, "O"]
    assert chgdb.read(tmp_path / "again.vasp").crystal == density.crystal


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-12.500000-13.250000  0.500000", [-12.5, -13.25, 0.5]),
        ("  0.250000-10.750000-11.000000", [0.25, -10.75, -11]),
        ("100.125000200.250000-30.500000", [100.125, 200.25, -30.5]),
        ("-10.5-10.5-10.5", [-10.5] * 3),
        ("-12.500000-13.250000  0.500000   T   F   T", [-12.5, -13.25, 0.5]),
    ],
)
def test_positions_that_run_together(tmp_path, text, expected):
    """As pymatgen writes them (10.6f), and Fortran wherever a column is full."""
    head = HEADER.replace("  0.250000  0.250000  0.250000", text)
    if "T" in text:
        head = head.replace("Direct", "Selective dynamics\nDirect")
        head = head.replace("  0.000000  0.000000  0.000000\n", "  0.000000  0.000000  0.000000 F F F\n")
    density = chgdb.read(store(tmp_path, head + block(grid_values())))
    assert density.crystal.positions[1].tolist() == expected
    cell = HEADER.replace("     0.000000    2.826625    2.826625", "-100.000000-123.456789  2.826625")
    vector = chgdb.read(store(tmp_path, cell + block(grid_values()))).crystal.cell[0]
    assert vector.tolist() == [-100, -123.456789, 2.826625]


def chg(values: np.ndarray) -> str:
    """Values as a CHG has them, Fortran's G11.5 with ten in a line: trailing blanks in place of an exponent of zero."""
    tokens = []
    for value in values.T.reshape(-1):
        exponent = int(np.floor(np.log10(abs(value)))) + 1 if value else 1
        if 0 <= exponent <= 5:
            token = f"{value:.{5 - exponent}f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.{5 - exponent}f}"
            tokens.append(f"{token.replace('-.', '-0.') if value else '0.0000':>7}".replace(" .", "0.") + "    ")
        else:
            tokens.append(f"{value / 10.0**exponent:.5f}E{exponent:+03d}")
    lines = ["".join(f" {token}" for token in tokens[k : k + 10]) for k in range(0, len(tokens), 10)]
    return "".join(f"{n:5d}" for n in values.shape) + "\n" + "\n".join(lines) + "\n"


@pytest.mark.parametrize("last", [12.345, 0.98765, 123.4, 54321.0, 0.00012345, -3.5, 0.0, 1.2345e7])
def test_a_chg_stripped_of_blanks_at_its_end(tmp_path, last):
    """The last number has fewer characters than the one before, and is whole; one that is cut is still refused."""
    values = np.linspace(0.001, 0.02, 24).reshape(2, 3, 4)
    values[0, 0, 1], values[-1, -1, -1] = 4.0, last
    text = (HEADER + chg(values)).rstrip()
    density = chgdb.read(store(tmp_path, text, "CHG"))
    assert density.total[-1, -1, -1] * density.crystal.volume == pytest.approx(last, rel=1e-4)
    for cut in range(1, 4):
        if text[-cut - 1] not in " +-E.":
            with pytest.raises(FormatError, match="it is truncated"):
                chgdb.read(store(tmp_path, text[:-cut], "CHG"))


@pytest.mark.parametrize("steps", [2, 5])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("comment", ["Ga As", "", "1 2 3", "1.5", "step"])
def test_a_chg_of_several_steps(tmp_path, steps, channels, comment):
    """Molecular dynamics append: the last step is read, and how many there were is in the extras."""
    whole = [f"{comment}\n{HEADER.partition(chr(10))[2]}"] * steps
    for step in range(steps):
        atoms = whole[step].replace("0.250000  0.250000  0.250000", f"0.2{step}0000  0.250000  0.250000")
        whole[step] = atoms + "".join(block(grid_values(seed=10 * step + k)) for k in range(channels))
    with pytest.warns(FileWarning, match=f"CHG: {steps} steps, of which the last one is read"):
        density = chgdb.read(store(tmp_path, "".join(whole), "CHG"))
    assert density.extras["steps"] == steps
    assert density.crystal.positions[1, 0] == pytest.approx(0.2 + 0.01 * (steps - 1))
    for k, values in enumerate(density.channels.values()):
        assert np.array_equal(values, grid_values(seed=10 * (steps - 1) + k) / density.crystal.volume)
    chgdb.write(tmp_path / "last.vasp", density)
    assert "steps" not in chgdb.read(tmp_path / "last.vasp").extras
    with pytest.raises(FormatError, match=r"line \d+: "):
        chgdb.read(store(tmp_path, "".join(whole)[:-30], "CHG"))


# Bad files ----------------------------------------------------------------------------------------------------------

GRID = "    4    3    6\n"
FIRST = chgcar().split(GRID)[1][1:18]
BAD = {
    "empty": ("", "line 1: the file is empty"),
    "long lines": (b"1" * 200_000, "line 1: longer than"),
    "no lattice": ("a\n1.0\n", "line 3: the file ends"),
    "zero scale": (chgcar().replace("1.00000000000000", "0.0"), "line 2: .*not zero"),
    "letters in the scale": (chgcar().replace("1.00000000000000", "one"), "line 2: expected the scale"),
    "zero volume": (chgcar().replace("2.826625    2.826625    0.000000", "0.000000    5.653250    5.653250"), "volume"),
    "zero volume, scaled by it": (HEADER.replace("1.00000000000000", "-40").replace("2.826625", "0.0"), "no volume"),
    "two numbers in a vector": (chgcar().replace("0.000000    2.826625    2.826625", "2.8 2.8"), "line 3: .*found 2"),
    "unknown element": (chgcar().replace("   Ga", "   Qq"), "line 6: 'Qq' names no element"),
    "counts and species": (chgcar().replace("     1     1", "     1"), "line 7: 1 numbers of atoms for 2 species"),
    "negative count": (chgcar().replace("     1     1", "     1    -1"), "line 7: expected whole numbers"),
    "a billion atoms": (chgcar().replace("     1     1", "     1 99999999"), "line 11: .*empty line"),
    "neither direct nor cartesian": (chgcar().replace("Direct", "Indirect"), "line 8: expected 'Direct'"),
    "letters in a position": (chgcar().replace("0.250000  0.25", "0.2x0000  0.25"), "line 10: expected a position"),
    "grid of zero": (chgcar().replace(GRID, "    4    0    6\n"), "line 12: expected whole numbers of at least 1"),
    "grid of 10^12": (chgcar().replace(GRID, " 10000 10000 10000\n"), "line 12: .*1000000000000 points, but only"),
    "grid of 10^27": (chgcar().replace(GRID, " 999999999 999999999 999999999\n"), "line 12: .* points, but only"),
    "grid too large": (chgcar().replace(GRID, "    4    3    7\n"), "line 28: 'augmentation' is not a finite number"),
    "grid too small": (chgcar().replace(GRID, "    4    3    5\n"), "line 25: more values than the grid has points"),
    "two numbers for a grid": (chgcar().replace(GRID, "    4    3\n"), "line 12: expected the grid"),
    "letters in the grid": (chgcar().replace(FIRST, "0.12345678x01E+02"), "line 13: '0.12345678x01E.02'"),
    "NaN": (chgcar().replace(FIRST, " " * 14 + "NaN"), "line 13: 'NaN' is not a finite number"),
    "infinity": (chgcar().replace(FIRST, " " * 9 + "Infinity"), "line 13: 'Infinity' is not a finite number"),
    "stars": (chgcar().replace(FIRST, "*" * 17), "line 13: .*did not fit its field"),
    "other grid": (chgcar() + block(np.ones((4, 3, 5))), "the grid 4x3x5, the first one 4x3x6"),
    "three blocks": (chgcar(2) + block(grid_values()), "after 3 blocks"),
    "five blocks": (chgcar(4) + block(grid_values()), "more than 4 blocks"),
    "a further comment": (chgcar() + "Ga As\n 1.0\n", "line 35: expected augmentation occupancies, a further block"),
    "missing occupancies": ("\n".join(chgcar().split("\n")[:-2]) + "\n", "10 of the 13 augmentation occupancies"),
    "occupancies of one atom": (chgcar()[: chgcar().rindex("augmentation")], "of 1 of 2 atoms"),
    "only a per-ion line": (chgcar()[:-1] + "\n  0.1E+01  0.2E+01\n", "further block should follow"),
}


@pytest.mark.parametrize("name", ["LOCPOT", "ELFCAR.gz"])
def test_files_of_the_same_layout_that_hold_no_density(tmp_path, name):
    with pytest.raises(FormatError, match="holds no charge density"):
        chgdb.read(store(tmp_path, chgcar(), name))


@pytest.mark.parametrize("kind", BAD)
def test_bad_files(tmp_path, kind):
    text, message = BAD[kind]
    path = store(tmp_path, text)
    with pytest.raises(FormatError, match=message) as caught:
        chgdb.read(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{path}: line ")


def test_truncated_anywhere(tmp_path):
    """Every prefix is refused, except where it is a complete file of fewer parts."""
    text = chgcar(2)
    complete = {text.index("augmentation"), text.rindex(GRID) + len(block(grid_values())), len(text)}
    per_ion = text.index("  0.100000000000E+01 -0.2")
    ends = [end + step for end in (*complete, per_ion) for step in (-1, 0) if end + step < len(text)]
    for size in some(range(len(text)), 400, ends):
        density = check_outcome(store(tmp_path, text[:size]))
        stripped = text[:size].rstrip()
        whole = any(text[:position].rstrip() == stripped for position in [*complete, per_ion])
        assert (density is not None) <= whole, (size, text[max(0, size - 60) : size])


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz"])
def test_truncated_compressed_file(tmp_path, suffix):
    chgdb.write(tmp_path / f"CHGCAR{suffix}", chgdb.read(store(tmp_path, chgcar(2, (12, 12, 12)))))
    data = (tmp_path / f"CHGCAR{suffix}").read_bytes()
    for size in (0, 1, 5, len(data) // 3, len(data) - 1):
        assert check_outcome(store(tmp_path, data[:size], f"cut{suffix}")) is None
    damaged = bytearray(data)
    damaged[len(data) // 2] ^= 0x55
    assert check_outcome(store(tmp_path, bytes(damaged), f"damaged{suffix}")) is None


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_claims_of_the_header_cost_nothing(tmp_path, suffix):
    import gzip

    text = chgcar().replace(GRID, " 9000 9000 9000\n").encode()
    path = store(tmp_path, gzip.compress(text) if suffix else text, f"CHGCAR{suffix}")
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    with pytest.raises(FormatError):
        chgdb.read(path)
    assert time.perf_counter() - start < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # kB


CHARACTERS = [b"0", b"1", b"9", b".", b"-", b"+", b"E", b" ", b"\n", b"\r\n", b"*", b"N", b"\x00", b"\xff", b"T"]
WORDS = [b"NaN", b"1 2 3\n", b"4 3 6\n", b"1e999", b"augmentation occupancies", b"-1", b"1E-99999999999999999999"]
INSERTION = st.sampled_from(CHARACTERS + WORDS)


@settings(max_examples=examples(300), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), channels=st.sampled_from([1, 2, 4]))
def test_mutations(tmp_path, data, channels):
    text = chgcar(channels, (2, 3, 2)).encode()
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        length = data.draw(st.sampled_from([0, 0, 1, 1, 3, 20, 200]))
        text = text[:start] + data.draw(INSERTION) + text[start + length :]
    check_outcome(store(tmp_path, text))


@settings(max_examples=examples(100), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_any_bytes(tmp_path, data):
    assert check_outcome(store(tmp_path, data)) is None
    check_outcome(store(tmp_path, HEADER.encode() + data))


def test_peak_memory(tmp_path):
    """Reading and writing stay within four times the grid, the text included."""
    import tracemalloc

    values = np.random.default_rng(0).lognormal(size=(96, 96, 96))
    density = Density(Crystal(np.eye(3) * 5, [[0, 0, 0]], [3]), {"total": values})
    for suffix in ("", ".gz"):
        path = tmp_path / f"CHGCAR{suffix}"
        for action in (lambda path=path: chgdb.write(path, density), lambda path=path: chgdb.read(path)):
            tracemalloc.start()
            action()
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak < 4 * values.nbytes


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the maximum is read from /proc")
def test_a_compressed_file_that_claims_much_takes_memory_for_what_is_there(tmp_path):
    """A grid of a gigabyte, of which a few planes follow: before, the first of them touched all of its memory."""
    values = b"".join([b" 0.00000000000E+00" * 5 + b"\n"] * (512 * 16))
    path = tmp_path / "CHGCAR.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(HEADER.encode() + b"\n   512   512   511\n")
        for _ in range(16 * 8):
            file.write(values)
    assert path.stat().st_size < 1 << 20
    script = (
        "import sys, chgdb\n"
        "try:\n    chgdb.read(sys.argv[1])\n"
        "except chgdb.ChgdbError as error:\n    print(error)\n"
        "status = open('/proc/self/status').read()\n"
        "print(status.split('VmHWM:')[1].split()[0])\n"
    )
    # Not getrusage: its maximum counts what the process that started this one had.
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    message, peak = done.stdout.splitlines()
    assert "truncated" in message or "the file ends" in message
    assert int(peak) * 1024 < 350e6  # 268 of them are values that are there
