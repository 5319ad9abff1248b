"""Densities to and from the objects of pymatgen and ASE, with their own readers as oracles."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import chgdb
from chgdb import Crystal, Density
from chgdb.errors import DensityError

outputs = pytest.importorskip("pymatgen.io.vasp.outputs")
ase = pytest.importorskip("ase")

FILES = ["Al_spin.CHGCAR", "GaAs_noncollinear.CHGCAR", "LiH_spin.CHGCAR", "NaCl.CHGCAR", "YPO4.AECCAR2"]
pytestmark = pytest.mark.filterwarnings("ignore:.*:UserWarning:pymatgen", "ignore:.*:EncodingWarning")


@pytest.fixture(params=FILES)
def pair(shared, request):
    """The same file as we and as pymatgen read it."""
    path = shared / "vasp" / f"{request.param}.gz"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pymatgen's own
        return chgdb.read(path), outputs.Chgcar.from_file(str(path))


def test_to_pymatgen_is_what_pymatgen_reads(pair):
    density, theirs = pair
    ours = density.to_pymatgen()
    assert ours.structure == theirs.structure
    assert sorted(ours.data) == sorted(theirs.data)
    for key, values in theirs.data.items():
        assert np.allclose(ours.data[key], values, rtol=1e-15, atol=1e-18)
    assert (ours.is_soc, ours.is_spin_polarized) == (theirs.is_soc, theirs.is_spin_polarized)
    assert ours.net_magnetization == theirs.net_magnetization or ours.net_magnetization == pytest.approx(
        theirs.net_magnetization, rel=1e-9
    )
    for key, by_ion in theirs.data_aug.items():
        if not isinstance(by_ion, dict):  # lines of text, or None: before pymatgen-core 2026.5
            assert ours.data_aug.get(key, []) == (by_ion or [])
            continue
        assert sorted(ours.data_aug[key]) == sorted(by_ion)
        assert all(np.array_equal(ours.data_aug[key][ion], values) for ion, values in by_ion.items())


def test_from_pymatgen_is_what_we_read(pair):
    density, theirs = pair
    ours = Density.from_pymatgen(theirs)
    assert ours.crystal == density.crystal
    assert tuple(ours.channels) == tuple(density.channels)
    assert all(np.array_equal(ours.channels[name], values) for name, values in density.channels.items())


def test_through_pymatgen_and_back(pair):
    density, _ = pair
    again = Density.from_pymatgen(density.to_pymatgen())
    assert again.crystal == density.crystal
    for name, values in density.channels.items():
        assert np.allclose(again.channels[name], values, rtol=1e-15, atol=0)
    assert again.extras.get("comment") == density.extras["comment"]


def test_pymatgen_writes_what_we_gave_it(pair, tmp_path):
    density, _ = pair
    density.to_pymatgen().write_file(str(tmp_path / "CHGCAR"))
    again = chgdb.read(tmp_path / "CHGCAR")
    for name, values in density.channels.items():
        assert np.allclose(again.channels[name], values, rtol=1e-5, atol=0)  # its lattice has six decimals


def test_through_ase_and_back(pair):
    density, _ = pair
    atoms, total = density.to_ase()
    assert atoms.get_chemical_symbols() == density.crystal.symbols
    assert atoms.get_volume() == pytest.approx(density.crystal.volume, rel=1e-14)
    again = Density.from_ase(atoms, total)
    assert np.array_equal(again.total, density.total)
    assert np.allclose(again.crystal.positions, density.crystal.positions, rtol=0, atol=1e-14)
    assert np.array_equal(again.crystal.numbers, density.crystal.numbers)


def test_partial_occupation_is_refused():
    core = pytest.importorskip("pymatgen.core")
    structure = core.Structure(np.eye(3) * 4, [{"Fe": 0.5, "Co": 0.5}], [[0, 0, 0]])
    with pytest.raises(DensityError, match="partially occupied"):
        Crystal.from_pymatgen(structure)


def test_oxidation_states_are_dropped():
    core = pytest.importorskip("pymatgen.core")
    structure = core.Structure(np.eye(3) * 4, ["Na+", "Cl-"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    assert Crystal.from_pymatgen(structure).symbols == ["Na", "Cl"]
