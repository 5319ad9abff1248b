"""HDF5 and NetCDF: ABINIT's files against its cut3d, VASP's layout against pymatgen's reader, and what is refused."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from programs import ABINIT, CP2K, DATA, vaspwave

import chgdb
from chgdb import augmentation
from chgdb.errors import FormatError
from chgdb.inputs import find_files
from chgdb.inputs.ids import ids_of

h5py = pytest.importorskip("h5py")


def unpacked(tmp_path: Path, name: str) -> Path:
    path = tmp_path / f"{name}_DEN.nc"
    path.write_bytes(gzip.decompress((ABINIT / f"{name}_DEN.nc.gz").read_bytes()))
    return path


@pytest.mark.parametrize(("name", "electrons"), [("si", 8), ("h", 1), ("hnc", 1)])
def test_abinit_and_its_cut3d(name: str, electrons: int) -> None:
    ours, cube = chgdb.read(ABINIT / f"{name}_DEN.nc.gz"), chgdb.read(ABINIT / f"{name}.cube.gz")
    assert ours.grid == cube.grid
    assert ours.n_electrons == pytest.approx(electrons, abs=1e-9)
    np.testing.assert_allclose(ours.total, cube.total, rtol=6e-5, atol=4e-6)  # cut3d prints six decimals
    np.testing.assert_allclose(ours.crystal.cell, cube.crystal.cell, atol=2e-5)
    np.testing.assert_allclose(ours.crystal.positions, cube.crystal.positions, atol=1e-5)
    assert ours.crystal.numbers.tolist() == cube.crystal.numbers.tolist()


def test_spin_of_abinit() -> None:
    """ABINIT's output of `h`: 0.998202243 up, 0.00179775666 down; of `hnc` the moment lies along that of the input."""
    density = chgdb.read(ABINIT / "h_DEN.nc.gz")
    up, down = (density.channel(name).mean() * density.crystal.volume for name in ("spin_up", "spin_down"))
    assert (up, down) == pytest.approx((0.998202243, 0.00179775666), abs=1e-9)
    vector = chgdb.read(ABINIT / "hnc_DEN.nc.gz")
    moments = np.array([vector.channels[f"magnetization_{axis}"].mean() for axis in "xyz"])
    np.testing.assert_allclose(moments / moments[2], [0.5 / 0.8, 0.3 / 0.8, 1], rtol=2e-3)


def test_classic_netcdf_is_the_same(tmp_path: Path) -> None:
    """The same variables in classic NetCDF, as ABINIT writes them where its NetCDF has no HDF5."""
    from scipy.io import netcdf_file

    wanted = ("density", "primitive_vectors", "reduced_atom_positions", "atom_species", "atomic_numbers")
    with h5py.File(unpacked(tmp_path, "h")) as source, netcdf_file(tmp_path / "classic.nc", "w") as target:
        target.code = "Abinit"
        for name in wanted:
            values = source[name][()]
            axes = [f"{name}_{axis}" for axis in range(values.ndim)]
            for axis, size in zip(axes, values.shape, strict=True):
                target.createDimension(axis, size)
            target.createVariable(name, "i4" if values.dtype.kind == "i" else "f8", axes)[:] = values
    ours, other = chgdb.read(tmp_path / "classic.nc"), chgdb.read(ABINIT / "h_DEN.nc.gz")
    for channel, values in other.channels.items():
        np.testing.assert_array_equal(ours.channels[channel], values)


@pytest.mark.parametrize("name", ["SiC.CHGCAR", "NiO_spin.CHGCAR", "MnO_noncollinear.CHGCAR"])
def test_vaspwave(name: str, tmp_path: Path) -> None:
    """Of VASP's vaspwave.h5 there is the layout; pymatgen's reader of real ones says what it holds."""
    density = chgdb.read(DATA / name)
    after = density.extras.get("after", {})
    tables = {
        channel: {ion: values.real for ion, values in augmentation.to_arrays(text).items()}
        for channel, text in after.items()
        if augmentation.to_arrays(text)
    }
    vaspwave(tmp_path / "vaspwave.h5", density, tables)
    ours = chgdb.read(tmp_path / "vaspwave.h5")
    assert list(ours.channels) == list(density.channels)
    for channel, values in density.channels.items():
        np.testing.assert_allclose(ours.channels[channel], values, rtol=1e-12, atol=1e-14)
    assert ours.crystal == density.crystal
    outputs = pytest.importorskip("pymatgen.io.vasp.outputs")
    if not hasattr(outputs, "Vaspwave"):
        pytest.skip("this pymatgen reads no vaspwave.h5")
    theirs = outputs.Vaspwave(tmp_path / "vaspwave.h5").get_chgcar()
    np.testing.assert_allclose(ours.total * ours.crystal.volume, theirs.data["total"], rtol=1e-12)
    kept = {channel: augmentation.to_arrays(text) for channel, text in ours.extras.get("after", {}).items()}
    assert list(kept) == list(tables)
    for channel, ions in tables.items():
        for ion, values in ions.items():
            np.testing.assert_allclose(kept[channel][ion], values, rtol=1e-6)


def test_a_large_file_is_not_read_whole(tmp_path: Path) -> None:
    """A plain file is read where it lies, and a path by Python's open; the content decides before the name."""
    density = chgdb.read(DATA / "SiC.CHGCAR")
    vaspwave(tmp_path / "CHGCAR", density)
    np.testing.assert_allclose(chgdb.read(tmp_path / "CHGCAR").total, density.total, rtol=1e-12)


def test_folders_of_runs(tmp_path: Path) -> None:
    """A vaspout.h5 without a density lies beside every CHGCAR of VASP 6: it is passed over without a word."""
    run = tmp_path / "runs/SiC"
    run.mkdir(parents=True)
    (run / "CHGCAR").write_bytes((DATA / "SiC.CHGCAR").read_bytes())
    with h5py.File(run / "vaspout.h5", "w") as file:
        file["results/electron_dos/efermi"] = 1.0
    other = tmp_path / "runs/NiO"
    other.mkdir()
    vaspwave(other / "vaspwave.h5", chgdb.read(DATA / "NiO_spin.CHGCAR"))
    assert len(find_files(tmp_path / "runs")) == 3
    report = chgdb.build(tmp_path / "s.zarr", tmp_path / "runs", workers=1, prior=None)
    assert sorted(report.added) == ["NiO", "SiC"]
    assert not report.refused
    assert ids_of([run / "vaspwave.h5"]) == ["SiC"]


def test_what_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["wave/rispin"] = 1.0
    with pytest.raises(FormatError, match=r"an HDF5 file without a density as VASP's vaspwave\.h5, Quantum"):
        chgdb.read(path)
    density = chgdb.read(DATA / "SiC.CHGCAR")
    for change, message in (
        ("del file['structure']", "holds a density without a structure"),
        ("file['charge/grid'][...] = [1, 2, 3]", "charge/grid is not that of its density, 12x12x12"),
        ("file['structure/positions/number_ion_types'][...] = [1, 2]", "2 positions"),
        ("del file['charge/charge']; file['charge/charge'] = np.zeros((3, 2, 2, 2))", "a density of 3 components"),
        ("file['charge/charge'][0, 0, 0, 0] = np.nan", "nan"),
        ("del file['charge/charge']; file['charge/charge'] = 'text'", "not as it should be"),
    ):
        vaspwave(path, density)
        with h5py.File(path, "a") as file:
            exec(change, {"file": file, "np": np})
        with pytest.raises(FormatError, match=message):
            chgdb.read(path)


def test_links_and_bombs(tmp_path: Path) -> None:
    """Values that lie in other files of the reader's machine, and far more than the file's size accounts for."""
    path, density = tmp_path / "x.h5", chgdb.read(DATA / "SiC.CHGCAR")
    vaspwave(tmp_path / "secret.h5", density)
    vaspwave(path, density)
    with h5py.File(path, "a") as file:
        del file["charge/charge"]
        file["charge/charge"] = h5py.ExternalLink("secret.h5", "charge/charge")
    with pytest.raises(FormatError, match="without a density"):
        chgdb.read(path)
    vaspwave(path, density)
    with h5py.File(path, "a") as file:
        del file["charge/charge"]
        file.create_dataset("charge/charge", (1, 9, 9, 9), "f8", external=[(str(tmp_path / "secret.h5"), 0, 9**3 * 8)])
    with pytest.raises(FormatError, match="without a density"):
        chgdb.read(path)
    vaspwave(path, density)
    with h5py.File(path, "a") as file:
        del file["charge/charge"], file["charge/grid"]
        file.create_dataset("charge/charge", (1, 4096, 4096, 4096), "f8", chunks=(1, 64, 64, 64), compression="gzip")
    with pytest.raises(FormatError, match="more than a file of"):
        chgdb.read(path)


def test_damage(tmp_path: Path) -> None:
    vaspwave(tmp_path / "x.h5", chgdb.read(DATA / "SiC.CHGCAR"))
    data = (tmp_path / "x.h5").read_bytes()
    for length in (8, 100, 1000, len(data) // 2):
        (tmp_path / "x.h5").write_bytes(data[:length])
        with pytest.raises(FormatError, match="damaged, cannot be read as an HDF5 file"):
            chgdb.read(tmp_path / "x.h5")


def test_cubes_of_cp2k() -> None:
    density = chgdb.read(CP2K / "h-ELECTRON_DENSITY-1_0.cube.gz")
    assert density.n_electrons == pytest.approx(1.0017860638, abs=2e-6)
    assert density.grid == (9, 9, 12)
    for other, what in (("SPIN_DENSITY", "a spin density"), ("TOTAL_DENSITY", "electrons and nuclei"),
                        ("v_hartree", "a potential")):  # fmt: skip
        with pytest.raises(FormatError, match=what):
            chgdb.read(CP2K / f"h-{other}-1_0.cube.gz")
