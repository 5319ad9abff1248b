"""The input files of a build: files that are named, or that folders, patterns and URLs lead to."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ChgdbError, StoreError
from ..formats import formats
from ..formats.quantities import vasp_quantity
from ..formats.streams import Reader, bare_name, open_reader
from ..urls import is_url, scheme
from . import names

_HEAD = 4096  # bytes of a file that tell its content


@dataclass
class Found:
    """The files that inputs lead to.

    files: densities, each once, by the paths that the user sees. origins: for each the number of the input that led to
    it.
    searched: files that a search of a folder found. Nobody said that they hold densities, so one without is not an
    error.
    refused: (path, reason in one line) of files that may hold densities and cannot be read.
    left_out: (path, reason) of files that hold the same as one that was taken.
    """

    files: list[Path | str] = field(default_factory=list)
    origins: list[int] = field(default_factory=list)
    searched: set[str] = field(default_factory=set)
    refused: list[tuple[str, str]] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)


def find_files(inputs: str | Path | Iterable[str | Path]) -> list[Path | str]:
    """The density files that files, folders, glob patterns and URLs lead to: `Found.files` of `find`."""
    return find(inputs).files


def find(inputs: str | Path | Iterable[str | Path]) -> Found:
    """The density files that files, folders, glob patterns and URLs lead to, in this order, each once.

    A URL is a file, or a folder where the server lists its files (a bucket; not a web server). Folders are searched
    with their subfolders. In folders the names decide (`NAMES` of the formats), and the content where the name is that
    of a picture or a table of a density. Hidden files and stores are left out. So is a CHG beside the CHGCAR of the
    same name: it is the same density with fewer digits. Links to folders are followed, but not upwards, and each folder
    is searched once. Raises `StoreError` for an empty input, or one that leads to nothing.
    """
    found = Found()
    known: dict[str, None] = {}
    for number, item in enumerate([inputs] if isinstance(inputs, str | Path) else inputs):
        if not os.fspath(item).strip() and not os.path.lexists(item):
            raise StoreError("one of the inputs is empty: name files, folders, patterns or URLs")
        search = _Search(found)
        files = [file for file in search.of(item) if _place(file) not in known]
        if not files and not search.seen:
            if not (is_url(os.fspath(item)) or os.path.lexists(item) or glob.has_magic(os.fspath(item))):
                raise StoreError(f"{item}: there is no such file or folder")
            hint = f"; {search.archive} is an archive: unpack it first" if search.archive else ""
            raise StoreError(
                f"{item}: no density files there (CHGCAR, AECCAR, PARCHG, cube, XSF, charge-density.dat, _DEN.nc or "
                f"JSON of the Materials Project){hint}"
            )
        known.update((_place(file), None) for file in files)
        found.files += files
        found.origins += [number] * len(files)
    return found


@dataclass
class _Search:
    """The search for one input. seen: whether it met anything that is, or may be, a density."""

    found: Found
    seen: bool = False
    archive: str = ""
    folders: set[tuple[int, int]] = field(default_factory=set)

    def of(self, item: str | Path) -> Iterator[Path | str]:
        path = Path(item)
        if is_url(item):
            yield from self._noted(self._at_url(str(item)))
        elif path.is_dir():
            yield from self._in_folder(path)
        elif os.path.lexists(path):
            yield from self._noted([path])
        else:
            for match in sorted(glob.glob(os.fspath(item), recursive=True)):
                yield from self._in_folder(Path(match)) if os.path.isdir(match) else self._noted([Path(match)])

    def _noted(self, files: Iterable[Path | str]) -> Iterator[Path | str]:
        for file in files:
            self.seen = True
            yield file

    def _at_url(self, url: str) -> Iterator[Path | str]:
        from ..remote.connect import connect

        if names.is_density(bare_name(url)) or scheme(url) in ("http", "https", "github"):
            yield url  # a web server does not list its files
            return
        keys = [key for key, _ in connect(url).sizes()]
        if keys == [""]:
            yield url
            return
        siblings: dict[str, list[str]] = {}
        for key in keys:
            folder, _, name = key.rpartition("/")
            siblings.setdefault(folder, []).append(name)
        for folder in sorted(siblings):
            place = "/".join(part for part in (url.rstrip("/"), folder) if part)
            for name in self._densities(place, siblings[folder]):
                if not names.parse(name).derived:
                    self.found.searched.add(f"{place}/{name}")
                    yield f"{place}/{name}"

    def _in_folder(self, top: Path) -> Iterator[Path | str]:
        """The folders below one, then the folders outside of it that links lead to."""
        waiting = [top]
        while waiting:
            linked: list[Path] = []
            for folder in waiting:
                yield from self._below(folder, linked)
            waiting = sorted(linked)

    def _below(self, top: Path, linked: list[Path]) -> Iterator[Path | str]:
        if not self._is_new(top):
            return
        for place, folders, files in os.walk(top, onerror=self._refuse):
            kept = []
            for name in sorted(folders):
                path = Path(place, name)
                if name.startswith(".") or (path / "zarr.json").exists():
                    continue
                if path.is_symlink():
                    if not _leads_upwards(path):
                        linked.append(path)
                elif self._is_new(path):
                    kept.append(name)
            folders[:] = kept
            for name in self._densities(place, files):
                path = Path(place, name)
                self.seen = True
                if not os.path.exists(path):
                    self.found.refused.append((str(path), _where_it_leads(path)))
                elif not names.parse(name).derived or _recognised(path):
                    self.found.searched.add(str(path))
                    yield path

    def _is_new(self, folder: Path) -> bool:
        """Whether a folder has not been searched yet, under any path."""
        try:
            status = os.stat(folder)
        except OSError:
            return True  # walking it raises with what is wrong
        identity = (status.st_dev, status.st_ino)
        if status.st_ino and identity in self.folders:
            return False
        self.folders.add(identity)
        return True

    def _refuse(self, error: OSError) -> None:
        self.seen = True
        self.found.refused.append((str(error.filename), f"cannot be searched: {error.strerror}"))

    def _densities(self, place: str, files: Iterable[str]) -> list[str]:
        """The files of a folder that hold a density, by their names."""
        files = sorted(files)
        if not self.archive:
            self.archive = next((os.path.join(place, name) for name in files if names.is_archive(name)), "")
        parsed = {name: names.parse(name) for name in files if names.is_density(name)}
        better = {(n.own, n.part, n.extension) for n in parsed.values() if n.kind == "CHGCAR" and not n.derived}
        taken: dict[str, str] = {}
        for name, known in parsed.items():
            if known.kind == "CHG" and (known.own, known.part, known.extension) in better:
                continue
            plain = names.plain(name)
            if plain in taken:
                reason = f"{taken[plain]} beside it has the same name, without its compression"
                self.found.left_out.append((os.path.join(place, name), reason))
            else:
                taken[plain] = name
        return list(taken.values())


def _place(file: Path | str) -> str:
    """The identity of a file that several inputs may lead to: its path from the root, as the user sees it."""
    return str(file) if is_url(file) else os.path.abspath(file)


def _leads_upwards(link: Path) -> bool:
    """Whether a link leads to a folder above it."""
    return Path(os.path.realpath(link.parent)).is_relative_to(os.path.realpath(link))


def _where_it_leads(link: Path) -> str:
    """The message about a link without a target, as git-annex, DVC and scratch disks leave them."""
    try:
        target = os.readlink(link)
    except OSError:
        return "cannot be read: there is no such file any more"
    return f"a link to {target}, which is not there: get its content first"


def _recognised(path: Path) -> bool:
    """Whether a file's content begins like that of a density."""
    try:
        with open_reader(path) as reader:
            head = reader.peek(_HEAD)
    except (ChgdbError, OSError):
        return False
    return any(module.recognises(head) for module in formats().values())


#: What a file with a density has somewhere in it, by its suffix.
_MARKS = {
    "json": (b"Chgcar", b'"total"'),
    "npz": (b"total.npy",),
    "xsf": (b"DATAGRID_3D", b"DATAGRID3D"),
    "parquet": (b"structure_lattice",),
}
#: Marks of a file with many things in it.
_CONTAINERS = ("h5", "hdf5", "nc")
#: Classes of pymatgen in the layout of a Chgcar that are certainly not one; folders of runs have them beside one.
_OTHER_CLASS = re.compile(rb'"@class"\s{0,9}:\s{0,9}"(Locpot|Elfcar)"')


def holds_no_density(path: str, data: bytes | None = None) -> bool:
    """Whether a file that could not be read is certainly of another kind, such as those beside every calculation.

    Such files are metadata or a potential in JSON, a structure called POSCAR.vasp, and arrays of something else. It is
    False where the name says that the file is a density.

    data: its bytes, where they were read already.
    """
    name = names.parse(path)
    if name.kind or name.extension not in ("vasp", *_MARKS, *_CONTAINERS):
        return False
    try:
        with open_reader(path, data) as reader:
            if name.extension in _CONTAINERS:
                from ..formats import hdf5

                return not hdf5.has_density(reader)
            if name.extension == "vasp":
                return _ends_with_structure(reader)
            marks = _MARKS[name.extension]
            other = name.extension == "json" and vasp_quantity(bare_name(path).upper()) is not None
            marked, before = False, b""
            while part := reader.take(1 << 20):
                text = before + part
                if b'"Chgcar"' in text:
                    return False
                marked = marked or any(mark in text for mark in marks)
                other = other or (name.extension == "json" and _OTHER_CLASS.search(text) is not None)
                before = part[-40:]
            return other or not marked
    except (ChgdbError, OSError):
        return False


def _ends_with_structure(reader: Reader) -> bool:
    from ..formats import chgcar

    chgcar.read_structure(reader)
    rest = reader.take(1 << 20)
    tokens = rest.split(maxsplit=3)[:3]
    return not (len(tokens) == 3 and all(token.isdigit() for token in tokens))
