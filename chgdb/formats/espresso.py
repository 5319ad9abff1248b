"""charge-density.dat and charge-density.hdf5 of Quantum ESPRESSO's pw.x (since 6.2). Read only.

They hold Fourier coefficients, e/bohr^3, of the total density and of its magnetisation (up minus down, or x, y, z), for
the Miller indices G within the cutoff. A Γ calculation has one of G and -G. The file has neither atoms nor grid: those
are in data-file-schema.xml beside it, in the folder prefix.save.

The .dat is unformatted Fortran: a record of (gamma_only, number of G, number of components), one of (b1, b2, b3 in
1/bohr, with 2π), one of the Miller indices, and one of complex coefficients for each component. The .hdf5 has the same
as datasets MillerIndices, rhotot_g and rhodiff_g or m_x, m_y, m_z, with real and imaginary parts in turn.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..channels import CHANNELS
from ..density import Crystal, Density
from ..elements import species_number
from ..errors import DensityError
from ..grids import check_memory
from .cube import BOHR, HARTREE
from .streams import Reader

if TYPE_CHECKING:
    from xml.etree import ElementTree

NAMES = ("charge-density.dat",)
BINARY = True

_SCHEMA = "data-file-schema.xml"
_COMPONENTS = {1: ("rhotot_g",), 2: ("rhotot_g", "rhodiff_g"), 4: ("rhotot_g", "m_x", "m_y", "m_z")}
_LARGEST = 1 << 31  # bytes of a record; longer records have several markers
_MOST_POINTS = 200  # maximum grid points for each G vector: a sphere fills at least a twentieth of its box
_SAME_CELL = 1e-5


@dataclass
class _Coefficients:
    """half: whether only one of G and -G is there.

    reciprocal: (3, 3) rows b, 1/bohr. miller: (n, 3). values: (k, n).
    """

    half: bool
    reciprocal: np.ndarray
    miller: np.ndarray
    values: np.ndarray


def recognises(head: bytes) -> bool:
    """Whether it begins as the .dat: a record of a logical and two counts, then the marker of nine numbers."""
    if len(head) < 24:
        return False
    size, _, vectors, components, end, following = struct.unpack("<6i", head[:24])
    return size == end == 12 and following == 72 and vectors > 0 and components in _COMPONENTS


def read(reader: Reader, *, elements: Sequence[str] | None = None) -> Density:
    """A density from an open charge-density.dat. `elements` is not used.

    Raises `FormatError` if data-file-schema.xml is not beside it, or the two do not fit.
    """
    half, vectors, components = struct.unpack("<3i", _record(reader, 12))
    if vectors < 1 or components not in _COMPONENTS:
        raise reader.failure(f"{vectors} coefficients of {components} components: not a charge-density.dat")
    reciprocal = np.frombuffer(_record(reader, 72), "<f8").reshape(3, 3)
    miller = np.frombuffer(_record(reader, 12 * vectors), "<i4").reshape(-1, 3)
    values = np.stack([np.frombuffer(_record(reader, 16 * vectors), "<c16") for _ in range(components)])
    if reader.take(1):
        raise reader.failure("something follows the last coefficients")
    return _density(reader, _Coefficients(half != 0, reciprocal, miller, values))


def read_hdf5(reader: Reader, file: Any) -> Density:
    """A density from the .hdf5. file: a `hdf5.File`."""
    miller = file.array("MillerIndices", 2, "iu")
    names = [name for name in ("rhotot_g", "rhodiff_g", "m_x", "m_y", "m_z") if name in file]
    if tuple(names) not in _COMPONENTS.values():
        raise reader.failure(f"components {', '.join(names)}; expected rhotot_g, with rhodiff_g or m_x, m_y, m_z")
    parts = [file.array(name, 1, "f").reshape(-1, 2) for name in names]
    reciprocal = np.array([file.attribute(f"bg{axis}", "MillerIndices") for axis in "123"], float)
    if miller.shape[1] != 3 or any(len(part) != len(miller) for part in parts) or reciprocal.shape != (3, 3):
        raise reader.failure("Miller indices and coefficients do not go together")
    half = str(file.attribute("gamma_only")).strip(" .").lower() in ("true", "t")
    values = np.stack([part[:, 0] + 1j * part[:, 1] for part in parts])
    return _density(reader, _Coefficients(half, reciprocal, miller, values))


def _record(reader: Reader, size: int) -> bytes:
    """The content of the next record, which has `size` bytes."""
    if size >= _LARGEST:
        raise reader.failure(f"a record of {size} bytes is too long to be read")
    marker = struct.pack("<i", size)
    if reader.take(4) != marker:
        raise reader.failure(
            f"expected a record of {size} bytes: damaged, or written on a machine with other byte order"
        )
    data = reader.take(size)
    if len(data) < size or reader.take(4) != marker:
        raise reader.failure("the file ends inside a record: it is truncated")
    return data


def _density(reader: Reader, found: _Coefficients) -> Density:
    crystal, grid, calculation = _schema(reader)
    if np.abs(crystal.cell / BOHR @ found.reciprocal.T / (2 * np.pi) - np.eye(3)).max() > _SAME_CELL:
        raise reader.failure(f"its cell is not that of the {_SCHEMA} beside it: they are of two calculations")
    if max(grid) > 1 << 16 or np.prod(grid) > _MOST_POINTS * len(found.miller):
        raise reader.failure(f"a grid of {'x'.join(map(str, grid))} does not go with {len(found.miller)} coefficients")
    if (np.abs(found.miller) > np.array(grid) // 2).any():
        raise reader.failure(f"a Miller index lies outside the grid {'x'.join(map(str, grid))} of the {_SCHEMA}")
    check_memory(grid, len(found.values) + 2)
    channels = {}
    for name, values in zip(CHANNELS[len(found.values)], found.values, strict=True):
        spectrum = np.zeros(grid, complex)
        if found.half:
            spectrum[tuple(-found.miller.T)] = values.conj()
        spectrum[tuple(found.miller.T)] = values
        channels[name] = np.fft.ifftn(spectrum).real * (spectrum.size / BOHR**3)
    try:
        return Density(crystal, channels, {"calculation": calculation})
    except DensityError as error:
        raise reader.failure(str(error)) from None


def _schema(reader: Reader) -> tuple[Crystal, tuple[int, int, int], dict[str, Any]]:
    """Structure, grid, and facts of the calculation, from the data-file-schema.xml beside a density."""
    from xml.etree import ElementTree  # takes time, which other formats should not wait for

    data = reader.beside(_SCHEMA)
    if data is None:
        raise reader.failure(
            f"has no atoms in it; they are in {_SCHEMA}, which is not beside it: keep both files of the "
            "folder prefix.save together"
        )
    try:
        if re.search(rb"<!(DOCTYPE|ENTITY)", data):
            raise ValueError("it has a document type, which pw.x does not write")
        root = ElementTree.fromstring(data)
        structure = _found(root, "output/atomic_structure")
        cell = np.array([_numbers(_found(structure, f"cell/a{axis}")) for axis in "123"])
        atoms = structure.findall("atomic_positions/atom")
        positions = np.array([_numbers(atom) for atom in atoms]).reshape(-1, 3)
        numbers = [species_number(atom.attrib["name"]) for atom in atoms]
        fft = _found(root, "output/basis_set/fft_grid").attrib
        nx, ny, nz = (int(fft[f"nr{axis}"]) for axis in "123")
        if min(nx, ny, nz) < 1 or not len(atoms):
            raise ValueError("it has no atoms, or a grid without points")
        crystal = Crystal(cell * BOHR, np.linalg.solve(cell.T, positions.T).T, np.array(numbers))
        return crystal, (nx, ny, nz), _calculation(root)
    except (ElementTree.ParseError, ValueError, KeyError, DensityError, np.linalg.LinAlgError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise reader.failure(f"the {_SCHEMA} beside it cannot be used: {reason}") from None


def _calculation(root: ElementTree.Element) -> dict[str, Any]:
    """What is known of the calculation, by the names of `inputs.calculation`."""
    creator = root.find("general_info/creator")
    species = root.findall("output/atomic_species/species")
    found: dict[str, Any] = {
        "code": f"Quantum ESPRESSO {creator.attrib.get('VERSION', '') if creator is not None else ''}".strip(),
        "functional": (root.findtext("output/dft/functional") or "").strip(),
        "pseudopotentials": "; ".join((one.findtext("pseudo_file") or "").strip() for one in species),
    }
    for name, path, unit in (
        ("energy_cutoff", "output/basis_set/ecutwfc", HARTREE), ("charge", "input/bands/tot_charge", 1.0),
    ):  # fmt: skip
        try:
            found[name] = float(root.findtext(path) or "") * unit
        except ValueError:
            continue
    return found


def _found(element: ElementTree.Element, path: str) -> ElementTree.Element:
    child = element.find(path)
    if child is None:
        raise KeyError(path)
    return child


def _numbers(element: ElementTree.Element) -> list[float]:
    values = [float(token) for token in (element.text or "").split()]
    if len(values) != 3:
        raise ValueError(f"expected three numbers in <{element.tag}>")
    return values
