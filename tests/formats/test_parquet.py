"""Parquet in the layout of the Materials Project's archives, written here as emmet's `to_arrow` does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from programs import DATA

import chgdb
from chgdb import Density, augmentation
from chgdb.errors import FormatError

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
LABELS = {"magnetization": "diff"} | {f"magnetization_{axis}": f"diff_{axis}" for axis in "xyz"}


def columns(density: Density) -> dict[str, Any]:
    crystal = density.crystal
    after = density.extras.get("after", {})
    ions = [augmentation.to_arrays(after.get(name, "")) for name in density.channels]
    return {
        "identifier": "mp-1",
        "labels": [LABELS.get(name, name) for name in density.channels],
        "data": [(values * crystal.volume).ravel() for values in density.channels.values()],
        "data_rank": [list(density.grid)] * len(density.channels),
        "data_aug": [
            [{"label": "augmentation occupancies", "data": row.real} for row in rows.values()] or None for rows in ions
        ],
        "structure_atomic_num": crystal.numbers.tolist(),
        "structure_direct_coords": crystal.positions.tolist(),
        "structure_lattice": crystal.cell.tolist(),
        "structure_pbc": [True] * 3,
    }


def write(path: Path, row: dict[str, Any], rows: int = 1) -> None:
    parquet.write_table(pyarrow.table({name: pyarrow.array([value] * rows) for name, value in row.items()}), path)


@pytest.mark.parametrize("name", ["SiC.CHGCAR", "NiO_spin.CHGCAR", "MnO_noncollinear.CHGCAR"])
def test_a_density(name: str, tmp_path: Path) -> None:
    density = chgdb.read(DATA / name)
    write(tmp_path / "x.parquet", columns(density))
    again = chgdb.read(tmp_path / "x.parquet")
    assert list(again.channels) == list(density.channels)
    for channel, values in density.channels.items():
        np.testing.assert_allclose(again.channels[channel], values, rtol=1e-12, atol=1e-15)
    assert again.crystal == density.crystal
    kept, original = (
        {channel: augmentation.to_arrays(text) for channel, text in one.extras.get("after", {}).items()}
        for one in (again, density)
    )
    for channel, ions in kept.items():
        for ion, values in ions.items():
            np.testing.assert_allclose(values, original[channel][ion].real, rtol=1e-6)


def test_the_older_layout(tmp_path: Path) -> None:
    density = chgdb.read(DATA / "NiO_spin.CHGCAR")
    row = {name: value for name, value in columns(density).items() if name.startswith("structure")}
    for label, values in zip(("total", "diff"), density.channels.values(), strict=True):
        row[f"data_{label}"] = [(values * density.crystal.volume).tolist()]
    write(tmp_path / "x.parquet", row)
    again = chgdb.read(tmp_path / "x.parquet")
    np.testing.assert_allclose(again.channels["magnetization"], density.channels["magnetization"], rtol=1e-12)


def test_what_is_refused(tmp_path: Path) -> None:
    path, row = tmp_path / "x.parquet", columns(chgdb.read(DATA / "SiC.CHGCAR"))
    for changed, rows, message in (
        (row, 3, "a table of 3 densities"),
        ({"a": 1.0}, 1, "without a density as those of the Materials Project have it"),
        (row | {"data_rank": [[2, 2, 2]]}, 1, "not a density"),
        (row | {"labels": ["charge"]}, 1, "it has no 'charge'"),
        (row | {"structure_atomic_num": [1, 2, 3]}, 1, "not a density"),
    ):
        write(path, changed, rows)
        with pytest.raises(FormatError, match=message):
            chgdb.read(path)
    write(path, row)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(FormatError, match="damaged, cannot be read as Parquet"):
        chgdb.read(path)
    write(tmp_path / "mp-1_LOCPOT.parquet", row)
    with pytest.raises(FormatError, match="by its name a local potential"):
        chgdb.read(tmp_path / "mp-1_LOCPOT.parquet")
