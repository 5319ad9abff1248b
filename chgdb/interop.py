"""The fields of a density as objects of xarray and pymatgen, and back: the methods of `Density` of these names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from . import augmentation
from .crystal import Crystal
from .errors import DensityError, require

if TYPE_CHECKING:
    import pymatgen.io.vasp
    import xarray


def dataset(crystal: Crystal, channels: Mapping[str, np.ndarray]) -> xarray.Dataset:
    """`Density.to_xarray`."""
    import xarray

    grid = next(iter(channels.values())).shape
    coords = {
        axis: (axis, np.arange(n) / n, {"long_name": f"fractional coordinate along {axis}", "units": "1"})
        for axis, n in zip("abc", grid, strict=True)
    }
    variables = {
        name: (
            tuple("abc"),
            values,
            {
                "units": "e/angstrom^3" if name == "total" else "mu_B/angstrom^3",
                "long_name": "electronic charge density" if name == "total" else name.replace("_", " ", 1),
            },
        )
        for name, values in channels.items()
    }
    attributes = {
        "cell": crystal.cell.tolist(),
        "cell_units": "angstrom",
        "positions": crystal.positions.tolist(),
        "numbers": crystal.numbers.tolist(),
        "formula": crystal.formula,
    }
    return xarray.Dataset(variables, coords, attributes)


def chgcar(crystal: Crystal, channels: Mapping[str, np.ndarray], extras: Mapping[str, Any]) -> pymatgen.io.vasp.Chgcar:
    """`Density.to_pymatgen`."""
    outputs = require("pymatgen.io.vasp", "interop", "Density.to_pymatgen")
    names = {"magnetization": "diff"} | {f"magnetization_{axis}": f"diff_{axis}" for axis in "xyz"}
    data = {names.get(name, name): values * crystal.volume for name, values in channels.items()}
    if "diff_x" in data:
        vector = [data[f"diff_{axis}"] for axis in "xyz"]
        sign = np.sign(vector[0] * 1.01 + vector[1] * 1.02 + vector[2] * 1.03)
        data["diff"] = np.sqrt(sum(component**2 for component in vector)) * sign
    after = extras.get("after", {})
    data_aug = {names.get(name, name): augmentation.for_pymatgen(after.get(name, "")) for name in channels}
    poscar = outputs.Poscar(crystal.to_pymatgen(), comment=extras.get("comment"))
    return outputs.Chgcar(poscar, data, data_aug=data_aug)


def from_chgcar(
    volumetric: pymatgen.io.vasp.Chgcar,
) -> tuple[Crystal, dict[str, np.ndarray], dict[str, Any]]:
    """Crystal, channels and extras for `Density.from_pymatgen`."""
    name = type(volumetric).__name__
    if name in ("Locpot", "Elfcar", "VolumetricData"):
        raise DensityError(f"a {name} of pymatgen holds no ρ·V for certain; make a Chgcar of what does")
    crystal = Crystal.from_pymatgen(volumetric.structure)
    data = volumetric.data
    names = ["total"] + [key for key in ("diff", "diff_x", "diff_y", "diff_z") if key in data]
    if "diff_x" in data and "diff" in names:  # a signed norm of pymatgen's making; the vector is the data
        names.remove("diff")
    channels = {key.replace("diff", "magnetization"): np.asarray(data[key]) / crystal.volume for key in names}
    occupancies = volumetric.data_aug or {}
    after = {key.replace("diff", "magnetization"): augmentation.block_text(occupancies.get(key)) for key in names}
    extras: dict[str, Any] = {}
    if any(after.values()):
        extras["after"] = {name: text for name, text in after.items() if text}
    comment = getattr(getattr(volumetric, "poscar", None), "comment", None)
    if comment:
        extras["comment"] = str(comment)
    return crystal, channels, extras
