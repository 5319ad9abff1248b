"""What a build is given: files, folders and patterns to paths; paths to material ids; tables of properties."""

from __future__ import annotations

import csv
import glob
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from .errors import FormatError, StoreError
from .formats import formats
from .formats.streams import bare_name
from .remote.transport import is_url, url_path
from .store.table import check_column_name
from .store.writer import MEASURED

_KIND = r"(CHGCAR|CHG|AECCAR[012]|PARCHG)"
_ID = re.compile(r"[\w(\[][\w.+()\[\]=,@~: -]{0,199}")
_EXTENSIONS = (".cube", ".cub", ".json", ".vasp")
#: Unit at the end of a column's name -> how it is written. Longest first.
_UNITS = {
    "eV_per_angstrom3": "eV/angstrom^3",
    "eV_per_atom": "eV/atom",
    "meV_per_atom": "meV/atom",
    "kJ_per_mol": "kJ/mol",
    "g_per_cm3": "g/cm^3",
    "angstrom3": "angstrom^3",
    "angstrom": "angstrom",
    "muB": "mu_B",
    "GPa": "GPa",
    "MPa": "MPa",
    "meV": "meV",
    "eV": "eV",
    "K": "K",
}


def find_files(inputs: str | Path | Iterable[str | Path]) -> list[Path | str]:
    """Density files of files, folders (searched recursively), glob patterns and URLs, in that order, each once.

    A URL is a file, or a folder where the server lists what it has (a bucket; not a web server). In folders the names
    decide (`NAMES` of the formats); a CHG beside a CHGCAR is the same density with fewer digits and is left out, and so
    are hidden files and stores. Raises `StoreError` where an input matches nothing.
    """
    found: dict[Path | str, None] = {}
    for item in [inputs] if isinstance(inputs, str | Path) else inputs:
        path = Path(item)
        files: list[Path | str]
        if is_url(item):
            files = _at_url(str(item))
        elif path.is_dir():
            files = _in_folder(path)
        elif path.exists():
            files = [path]
        else:
            files = []
            for match in sorted(glob.glob(os.fspath(item), recursive=True)):
                files += _in_folder(Path(match)) if os.path.isdir(match) else [Path(match)]
        if not files:
            raise StoreError(f"{item}: no density files there (CHGCAR, AECCAR, PARCHG, cube or Materials Project JSON)")
        found.update(dict.fromkeys(files))
    return list(found)


def _at_url(url: str) -> list[Path | str]:
    from .remote.transport import connect

    if _is_density(bare_name(url)) or url.startswith(("http://", "https://", "github://")):
        return [url]  # a web server does not list what it has
    names = [key for key, _ in connect(url).sizes()]
    if names == [""]:
        return [url]
    siblings: dict[str, list[str]] = {}
    for name in names:
        siblings.setdefault(name.rpartition("/")[0], []).append(name)
    return [f"{url.rstrip('/')}/{name}" for folder in sorted(siblings) for name in _densities(siblings[folder])]


def _is_density(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for module in formats().values() for pattern in module.NAMES)


def _densities(names: Iterable[str]) -> list[str]:
    """Those of the files of one folder that hold a density by their names."""
    names = sorted(names)
    plain = {bare_name(name) for name in names}
    return [
        name
        for name in names
        if _is_density(bare := bare_name(name)) and not (bare == "CHG" and "CHGCAR" in plain)
        if not name.rpartition("/")[2].startswith(".")
    ]


def _in_folder(folder: Path) -> list[Path | str]:
    files: list[Path | str] = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and not (Path(place, f) / "zarr.json").exists())
        files += [Path(place, name) for name in _densities(names)]
    return files


def id_of(path: Path | str) -> str:
    """Material id by the file's name, or by its folder's where the file is called CHGCAR.

    Other kinds of density of the same material keep their kind.

    >>> [id_of(Path(p)) for p in ("mp-149/CHGCAR.gz", "runs/LiH.CHGCAR", "Si2.AECCAR0.gz", "NaCl.cube")]
    ['mp-149', 'LiH', 'Si2.AECCAR0', 'NaCl']
    """
    if is_url(path):
        path = url_path(str(path))
    name = bare_name(path)
    if Path(name).suffix.lower() in _EXTENSIONS:
        name = name[: -len(Path(name).suffix)]
    if match := re.fullmatch(_KIND, name):
        stem, kind = Path(path).resolve().parent.name, match[1]
    elif match := re.fullmatch(_KIND + r"[._-](.+)", name):
        stem, kind = match[2], match[1]
    elif match := re.fullmatch(r"(.+)[._-]" + _KIND, name):
        stem, kind = match[1], match[2]
    else:
        return name
    return stem if kind in ("CHGCAR", "CHG") else f"{stem}.{kind}"


def check_id(material_id: str) -> None:
    """Raises `StoreError` for an id that could not be a file name everywhere."""
    if not _ID.fullmatch(material_id) or material_id != material_id.strip():
        raise StoreError(
            f"{material_id!r} cannot be a material id: use up to 200 letters, digits and . _ - + ( ) [ ] = , @ ~ : and "
            "begin with a letter or a digit"
        )


#: Names that Windows gives to devices, whatever extension follows.
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def file_name(material_id: str, windows: bool = os.name == "nt") -> str:
    """A material id as the name of a file in a folder. Raises `StoreError` where it cannot be one, or could lead out of
    the folder: the ids of a store from elsewhere can be anything."""
    sound = _ID.fullmatch(material_id) and material_id == material_id.strip() and len(material_id.encode()) <= 240
    if windows:
        sound = sound and not (":" in material_id or material_id.endswith(".") or _DEVICES.fullmatch(material_id))
    if not sound:
        raise StoreError(f"the id {material_id[:80]!r} cannot be the name of a file; fetch it by itself, with -o PATH")
    return material_id


class Names:
    """Material ids of files: from a mapping or a CSV with the columns `path` and `material_id`, else `id_of`."""

    def __init__(self, ids: str | Path | Mapping[str, str] | None) -> None:
        self._source = ""
        self._by_path: dict[Path, str] | None = None
        self._by_name: dict[str, str] = {}
        if ids is None:
            return
        if isinstance(ids, Mapping):
            pairs, folder = list(ids.items()), Path()
            self._source = "ids"
        else:
            pairs, folder = _read_ids(Path(ids)), Path(ids).parent
            self._source = os.fspath(ids)
        self._by_path = {(folder / path).resolve(): material_id for path, material_id in pairs}
        self._by_name = dict(pairs)

    def __call__(self, path: Path | str) -> str:
        """Raises `StoreError` where there is no id for a file, or an impossible one."""
        if self._by_path is None:
            material_id = id_of(path)
        else:
            given = self._by_path.get(Path(path).resolve()) or self._by_name.get(os.fspath(path))
            material_id = given or self._by_name.get(Path(path).name) or ""
            if not material_id:
                raise StoreError(f"{self._source} has no id for it")
        check_id(material_id)
        return material_id


def _read_ids(path: Path) -> list[tuple[str, str]]:
    header, rows = _read_csv(path)
    file_column = next((h for h in header if h.lower() in ("path", "file", "filename")), None)
    id_column = next((h for h in header if h.lower() in ("material_id", "id")), None)
    if file_column is None or id_column is None:
        raise FormatError(f"{path}: line 1: expected the columns path and material_id, found {', '.join(header)}")
    return [(row[file_column].strip(), row[id_column].strip()) for _, row in rows]


@dataclass(frozen=True)
class Properties:
    """Columns joined by id: id -> column -> value, and the columns' attributes."""

    values: Mapping[str, Mapping[str, Any]]
    attributes: Mapping[str, Mapping[str, str]]


def read_properties(path: str | Path) -> Properties:
    """A CSV of properties, joined by its column `material_id` (or `id`, or the first).

    Headers carry units: `bulk_modulus_GPa`, `bulk_modulus [GPa]` or `bulk_modulus (GPa)` become the column
    `bulk_modulus` in GPa. Columns of numbers, of true and false, and of text are told apart by their values; an empty
    cell is a missing value. Columns that a store has of itself (formula, volume...) are left out.
    Raises `FormatError` with the line for a file that is no CSV or names a material twice.
    """
    path = Path(path)
    header, rows = _read_csv(path)
    key = next((h for h in header if h.lower() in ("material_id", "id")), header[0])
    values: dict[str, dict[str, Any]] = {}
    for line, row in rows:
        material_id = row[key].strip()
        if material_id in values:
            raise FormatError(f"{path}: line {line}: {material_id} appears a second time")
        values[material_id] = {}
    attributes: dict[str, dict[str, str]] = {}
    for title in header:
        name, units = _split_units(title)
        if title == key or name in MEASURED:
            continue
        if name in attributes:
            raise FormatError(f"{path}: line 1: two columns would be called {name}")
        check_column_name(name)
        attributes[name] = {"long_name": name.replace("_", " ")} | ({"units": units} if units else {})
        cells = [row[title].strip() for _, row in rows]
        for (_, row), value in zip(rows, _typed(cells), strict=True):
            if value is not None:
                values[row[key].strip()][name] = value
    return Properties(values, attributes)


def _read_csv(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Header and rows with their line numbers."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            header = [h.strip() for h in reader.fieldnames or []]
            reader.fieldnames = header
            rows = []
            for row in reader:
                if None in row or None in row.values():
                    raise FormatError(f"{path}: line {reader.line_num}: expected {len(header)} cells")
                if "\0" in "".join(row.values()):
                    raise FormatError(f"{path}: line {reader.line_num}: a byte 0: not a text file")
                rows.append((reader.line_num, row))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FormatError(f"{path}: cannot be read as CSV: {error}") from None
    if not header or len(set(header)) < len(header):
        raise FormatError(f"{path}: line 1: expected a header with a different name for each column")
    return header, rows


def _split_units(title: str) -> tuple[str, str]:
    """Name and units of a column's header.

    >>> _split_units("energy_vs_atoms_eV_per_atom"), _split_units("gap [eV]"), _split_units("paper_split")
    (('energy_vs_atoms', 'eV/atom'), ('gap', 'eV'), ('paper_split', ''))
    """
    if match := re.fullmatch(r"(.+?)\s*[\[(]([^\])]*)[\])]", title):
        return re.sub(r"\W+", "_", match[1].strip()), match[2].strip()
    for suffix, units in _UNITS.items():
        if title.endswith("_" + suffix):
            return title.removesuffix("_" + suffix), units
    return re.sub(r"\W+", "_", title), ""


def _typed(cells: list[str]) -> list[Any]:
    """Values of a column: bool, float or str throughout; None where a cell is empty."""
    given = [cell for cell in cells if cell]
    if given and all(cell.lower() in ("true", "false") for cell in given):
        return [cell.lower() == "true" if cell else None for cell in cells]
    try:
        return [float(cell) if cell else None for cell in cells]
    except ValueError:
        return [cell or None for cell in cells]
