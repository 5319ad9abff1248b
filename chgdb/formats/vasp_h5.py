"""The density of VASP's vaspwave.h5 (LH5 = .TRUE., since 6.2), or of a vaspout.h5 that has one. `hdf5` reads the file.

This follows the layout that py4vasp and pymatgen read. `charge/charge` is ρ·V as in a CHGCAR, (components, nz, ny, nx).
`charge/grid` is nx, ny, nz. `charge/aug_occupancies_s01` and so on are the augmentation occupancies, one row for each
ion; `aug_occupancies_ions_s01` says how many numbers of a row count. The structure is that of a POSCAR as a group.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import augmentation
from ..channels import CHANNELS
from ..density import Crystal, Density
from ..elements import species_number
from ..errors import DensityError
from .streams import Reader

#: Where the structure may be; the one that belongs to the density comes first.
_STRUCTURES = ("structure/positions", "results/positions", "input/poscar", "locpot/position")


def read_hdf5(reader: Reader, file: Any) -> Density:
    """A density from an open file. file: a `hdf5.File`."""
    place = next((path for path in _STRUCTURES if path in file), None)
    if place is None:
        raise reader.failure("holds a density without a structure: merge vaspout.h5 into it, or name the CHGCAR")
    values = file.array("charge/charge", 4, "f")
    if len(values) not in CHANNELS:
        raise reader.failure(f"a density of {len(values)} components; expected one, two (spin) or four (noncollinear)")
    if "charge/grid" in file and tuple(file.array("charge/grid", 1)) != values.shape[:0:-1]:
        raise reader.failure(f"charge/grid is not that of its density, {'x'.join(map(str, values.shape[:0:-1]))}")
    names = CHANNELS[len(values)]
    try:
        crystal = _crystal(reader, file, place)
        channels = {name: field.T / crystal.volume for name, field in zip(names, values, strict=True)}
        after = {name: _occupancies(reader, file, part, len(crystal)) for part, name in enumerate(names, 1)}
        kept = {name: text for name, text in after.items() if text}
        return Density(crystal, channels, {"after": kept} if kept else {})
    except DensityError as error:
        raise reader.failure(str(error)) from None


def _crystal(reader: Reader, file: Any, place: str) -> Crystal:
    scale = float(file.array(f"{place}/scale", 0)) if f"{place}/scale" in file else 1.0
    cell = file.array(f"{place}/lattice_vectors", 2, "f") * scale
    positions = file.array(f"{place}/position_ions", 2, "f")
    counts, labels = file.array(f"{place}/number_ion_types", 1, "iu"), file.array(f"{place}/ion_types", 1, "SO")
    if len(counts) != len(labels) or counts.min(initial=1) < 1 or counts.sum() != len(positions):
        raise reader.failure(
            f"{place}: {len(labels)} species, {counts.tolist()} atoms of each, {len(positions)} positions"
        )
    texts = [label.decode("ascii", "replace") if isinstance(label, bytes) else str(label) for label in labels]
    numbers = np.repeat([species_number(text.strip()) for text in texts], counts)
    if f"{place}/direct_coordinates" in file and int(file.array(f"{place}/direct_coordinates", 0)) != 1:
        Crystal(cell, np.zeros((0, 3)), np.zeros(0))  # raises with what is wrong with the cell
        positions = np.linalg.solve(cell.T, (positions * scale).T).T
    return Crystal(cell, positions, numbers)


def _occupancies(reader: Reader, file: Any, part: int, atoms: int) -> str:
    """The augmentation occupancies of a component, as text of a CHGCAR. Empty where there are none."""
    ions, values = f"charge/aug_occupancies_ions_s{part:02d}", f"charge/aug_occupancies_s{part:02d}"
    if ions not in file or values not in file:
        return ""
    lengths, rows = file.array(ions, 1), file.array(values, 2, "f")
    if len(lengths) > len(rows) or len(lengths) > atoms or lengths.max(initial=0) > rows.shape[1]:
        raise reader.failure(f"{values} has not as many numbers as {ions} says")
    return augmentation.to_text({ion: rows[ion - 1, : int(n)] for ion, n in enumerate(lengths, 1) if n > 0})
