"""Densities in HDF5 and NetCDF, of VASP, Quantum ESPRESSO and ABINIT. Read only, with the extra `formats`.

The content says which program wrote a file: `charge/charge` of VASP's vaspwave.h5 (and vaspout.h5), `rhotot_g` of
Quantum ESPRESSO's charge-density.hdf5, `density` with `primitive_vectors` of ABINIT's _DEN.nc. The last one is HDF5
(NetCDF 4), or classic NetCDF from older builds. Only the density of a large file is read, unless the whole file is
compressed.

Links to other files, and datasets with values in other files, are not followed: those files are the reader's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from typing import IO, Any

import numpy as np

from ..density import Density
from ..errors import ChgdbError, require
from ..limits import FIELD_VALUES, most_unfolded
from . import espresso, etsf, vasp_h5
from .streams import Reader

NAMES = ("*.h5", "*.hdf5", "*.nc")
BINARY = True

_HDF5, _CLASSIC = b"\x89HDF\r\n\x1a\n", (b"CDF\x01", b"CDF\x02")
#: What a file with a density has -> the module that reads it.
_LAYOUTS = {
    "charge/charge": vasp_h5.read_hdf5,
    "rhotot_g": espresso.read_hdf5,
    "density": etsf.read_hdf5,
}
_WHOSE = "VASP's vaspwave.h5, Quantum ESPRESSO's charge-density.hdf5 and ABINIT's _DEN.nc do"


def recognises(head: bytes) -> bool:
    """Whether a file has the signature of HDF5 or of classic NetCDF."""
    return head.startswith((_HDF5, *_CLASSIC))


def read(reader: Reader, *, elements: Sequence[str] | None = None) -> Density:
    """A density from an open HDF5 or NetCDF file. `elements` is not used.

    Raises `FormatError` for a file without a density, `MissingExtraError` without h5py (for classic NetCDF, scipy).
    """
    with _opened(reader) as file:
        layout = next((path for path in _LAYOUTS if path in file), None)
        if layout is None:
            raise reader.failure(f"{file.kind} without a density as {_WHOSE}")
        return _LAYOUTS[layout](reader, file)


def has_density(reader: Reader) -> bool:
    """Whether an open file holds a density in a known layout. Raises as `read` does."""
    with _opened(reader) as file:
        return any(path in file for path in _LAYOUTS)


class File:
    """Arrays of an HDF5 file by their paths. Each is checked before memory is allocated for it."""

    kind = "an HDF5 file"

    def __init__(self, reader: Reader, file: Any, size: int) -> None:
        self._reader, self._file, self._size = reader, file, size

    def __contains__(self, path: str) -> bool:
        return self._node(path) is not None

    def array(self, path: str, ndim: int, kinds: str = "iuf") -> np.ndarray:
        """A dataset of numbers, in the machine's byte order. Raises `FormatError` if it is of another kind."""
        node = self._node(path)
        shape, dtype = getattr(node, "shape", None), getattr(node, "dtype", None)
        if node is None or shape is None or dtype is None:
            raise self._reader.failure(f"{self.kind} without {path}")
        if len(shape) != ndim or dtype.kind not in kinds:
            raise self._reader.failure(f"{path} has the shape {shape} and the type {dtype}: not as it should be")
        if prod(shape) > FIELD_VALUES and prod(shape) * dtype.itemsize > most_unfolded(self._size):
            raise self._reader.failure(f"{path} has {prod(shape)} values, more than a file of {self._size} bytes may")
        values = np.asarray(self._values(node))
        return values.astype(dtype.newbyteorder("="), copy=False)

    def attribute(self, name: str, path: str = "") -> Any:
        """An attribute of the file or of a dataset. Raises `FormatError` if there is none."""
        node = self._node(path) if path else self._file
        value = None if node is None else self._attributes(node).get(name)
        if value is None:
            raise self._reader.failure(f"{self.kind} without the attribute {name}{' of ' * bool(path)}{path}")
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else value

    def _node(self, path: str) -> Any:
        import h5py

        node = self._file
        for part in path.split("/"):
            if not isinstance(node, h5py.Group) or not isinstance(node.get(part, getlink=True), h5py.HardLink):
                return None
            node = node[part]
        return None if isinstance(node, h5py.Dataset) and (node.external or node.is_virtual) else node

    def _values(self, node: Any) -> Any:
        return node[()]

    def _attributes(self, node: Any) -> Any:
        return node.attrs


class _Classic(File):
    """The same for a classic NetCDF file."""

    kind = "a NetCDF file"

    def _node(self, path: str) -> Any:
        variable = self._file.variables.get(path)
        return None if variable is None else _Variable(variable)

    def _attributes(self, node: Any) -> Any:
        return getattr(node, "attributes", None) or getattr(node, "_attributes", {})


class _Variable:
    """A variable of scipy's with the attributes of h5py's datasets."""

    def __init__(self, variable: Any) -> None:
        self.shape, self.dtype, self.attributes = variable.data.shape, variable.data.dtype, variable._attributes
        self._data = variable.data

    def __getitem__(self, key: Any) -> Any:
        return self._data[key]


@contextmanager
def _opened(reader: Reader) -> Iterator[File]:
    """The file of a reader. An error of the libraries for a damaged file becomes a `FormatError`."""
    head = reader.peek(8)
    module = require("h5py" if head == _HDF5 else "scipy.io", "formats", "reading a file of HDF5 or NetCDF")
    kind = File if head == _HDF5 else _Classic
    try:
        stream, size = reader.whole()
        with _open(module, stream, kind) as file:
            yield kind(reader, file, size)
    except ChgdbError:
        raise
    # The place of the damage decides what h5py and scipy raise
    except Exception as error:
        why = " ".join(str(error).split())[:160] or type(error).__name__
        raise reader.failure(f"damaged, cannot be read as {kind.kind}: {why}") from None


def _open(module: Any, stream: IO[bytes], kind: type[File]) -> Any:
    return module.File(stream, "r") if kind is File else module.netcdf_file(stream, "r", mmap=False)
