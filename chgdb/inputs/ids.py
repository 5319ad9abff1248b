"""Ids of materials from the paths of their files, from a template or from a table; and ids as names of files."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Formatter
from unicodedata import category, normalize
from urllib.parse import unquote

from ..errors import FormatError, StoreError
from ..urls import is_url, public, scheme, url_path
from . import names
from .tables import read_table

_ID = re.compile(r"[\w(\[][\w.+()\[\]=,@~: -]{0,199}")
#: Number of rounds after which ids that are still the same stay the same.
_ROUNDS = 8
#: Names that a template may have, beside `parent2`, `parent3`, ... for the folders above.
FIELDS = ("name", "stem", "kind", "part", "parent")


# Ids by paths -------------------------------------------------------------------------------------------------------


@dataclass
class _Place:
    """A file, and the folders of its path that its id is made of.

    folders: as the user sees them, outermost first; links are not resolved.
    chosen: indices of the `folders` in the id. detail: whether the id has `part`, too. extension: whether it has that.
    """

    folders: tuple[str, ...]
    name: names.Name
    origin: int
    chosen: set[int] = field(default_factory=set)
    detail: bool = False
    extension: bool = False

    @property
    def id(self) -> str:
        name = self.name
        # Quantum ESPRESSO keeps its results in a folder called prefix.save.
        parts = [self.folders[i].removesuffix(".save") or self.folders[i] for i in sorted(self.chosen)]
        kind = "" if name.kind in ("CHGCAR", "CHG") else name.kind
        detail = name.part if self.detail or kind == "PARCHG" else ""
        parts += [name.own, kind, detail, name.extension if self.extension else ""]
        return ".".join(part for part in parts if part) or name.part or name.kind or "density"


def ids_of(files: Sequence[Path | str], origins: Sequence[int] | None = None) -> list[str]:
    """An id for each of some files; all are different where their paths are.

    The id is the name in the file's own name (`LiH.CHGCAR`, `NaCl.cube`), else the name of its folder. Where the folder
    only says which step of a calculation it is (`calc_001/static/CHGCAR`), it is the name of the folder above. Other
    kinds than CHGCAR and CHG stay in the id. Where files would have the same id, parts of their paths are added: first
    folders in which they differ, then which of several files in a folder they are.

    origins: for each file the number of the input that led to it. Several inputs may have the same name with a number
    in it (a/mp-1 and b/mp-1). That is the same material, and these ids stay the same.

    >>> ids_of(["mp-149/CHGCAR.gz", "runs/LiH.CHGCAR", "Si2.AECCAR0.gz", "NaCl.cube", "calc_001/static/CHGCAR"])
    ['mp-149', 'LiH', 'Si2.AECCAR0', 'NaCl', 'calc_001']
    >>> ids_of(["a/CHGCAR.relax1", "a/CHGCAR.relax2", "b/CHGCAR_sum", "b/PARCHG.0004.0001"])
    ['a.relax1', 'a.relax2', 'b', 'b.PARCHG.0004.0001']
    """
    places = [_place(file, origin) for file, origin in zip(files, origins or [0] * len(files), strict=True)]
    for _ in range(_ROUNDS):
        groups = defaultdict(list)
        for place in places:
            groups[place.id].append(place)
        clashing = [group for group in groups.values() if len(group) > 1]
        if not any([_tell_apart(group, len(group) == len(places)) for group in clashing]):
            break
    return [place.id for place in places]


def id_of(path: Path | str) -> str:
    """The id of one file by itself, as `ids_of` gives it."""
    return ids_of([path])[0]


def _place(path: Path | str, origin: int) -> _Place:
    folders = _folders(path)
    place = _Place(folders, names.parse(_file(path)), origin)
    if not place.name.own and folders:
        deepest = len(folders) - 1
        level = deepest
        while level and names.is_step(folders[level]):
            level -= 1
        place.chosen = {deepest if names.is_step(folders[level]) else level}
    return place


def _file(path: Path | str) -> str:
    """The name of the file itself."""
    return unquote(url_path(str(path)).rpartition("/")[2]) if is_url(path) else Path(path).name


def _folders(path: Path | str) -> tuple[str, ...]:
    """The folders of a path as the user sees it, outermost first, without the root."""
    if is_url(path):
        text = str(path)
        host = re.sub(r":[0-9]*$", "", public(text).partition("://")[2].partition("/")[0]) if scheme(text) else ""
        return tuple(unquote(part) for part in (host.lower(), *url_path(text).split("/")[:-1]) if part)
    seen = os.path.normpath(path)
    folder = os.path.dirname(seen)
    if not os.path.isabs(seen) and (not folder or folder.split(os.sep)[0] == os.pardir):
        folder = os.path.dirname(os.path.normpath(os.path.join(_here(), seen)))
    return tuple(part for part in Path(folder).parts if part != Path(folder).anchor)


def _here() -> str:
    """The current folder as the shell shows it, where its path has a link."""
    shown, real = os.environ.get("PWD", ""), os.getcwd()
    try:
        return shown if os.path.isabs(shown) and os.path.samefile(shown, real) else real
    except OSError:
        return real


def _tell_apart(group: list[_Place], alike: bool) -> bool:
    """Add to the ids of places that have the same id. Returns whether anything was added. alike: no other has an id."""
    before = [place.id for place in group]
    if not alike and len({place.origin for place in group}) > 1 and any(map(str.isdigit, before[0])):
        return False
    _choose_folders(group, alike)
    for add in (_name_parts, _name_extensions):
        if [place.id for place in group] == before:
            add(group)
    return [place.id for place in group] != before


def _name_parts(group: list[_Place]) -> None:
    for place in group:
        place.detail = True


def _name_extensions(group: list[_Place]) -> None:
    """Add extensions. Files that are called CHGCAR or the like come last: the folder's name stands for them."""
    others = [place for place in group if not place.name.kind]
    for place in others or group:
        place.extension = True


def _choose_folders(group: list[_Place], alike: bool) -> None:
    """Name the deepest folders in which places differ, in place of what all have in common, or beside it."""
    paths = [place.folders for place in group]
    distinct = len(set(paths))
    if distinct == 1:
        return
    start = _in_common(paths)
    shared = min(_in_common([path[::-1] for path in paths]), min(map(len, paths)) - start)
    middles = [range(start, len(path) - shared) for path in paths]
    for depth in range(1, max(map(len, middles)) + 1):
        levels = [list(middle)[-depth:] for middle in middles]
        told = {tuple(path[i] for i in chosen) for path, chosen in zip(paths, levels, strict=True)}
        if len(told) == distinct:
            break
    for place, chosen in zip(group, levels, strict=True):
        kept = {level for level in place.chosen if level < start or not alike}
        place.chosen = kept | set(chosen) or place.chosen


def _in_common(paths: Sequence[tuple[str, ...]]) -> int:
    """How many folders paths have in common, beginning with the first."""
    return next((i for i, level in enumerate(zip(*paths, strict=False)) if len(set(level)) > 1), min(map(len, paths)))


# Ids by a template --------------------------------------------------------------------------------------------------


class Template:
    """Ids by a template such as "{parent2}": text, with parts of a file's path in braces.

    {name}     the file's name without the suffixes of compressions
    {stem}     the material in it: LiH of LiH.CHGCAR.gz, mp-3 of mp-3.json, nothing of CHGCAR
    {kind}     CHGCAR, CHG, AECCAR0, ..., or nothing
    {part}     which of several densities it is: relax2 of CHGCAR.relax2, or nothing
    {parent}   the folder of the file; {parent2} the folder above, and so on
    """

    def __init__(self, text: str) -> None:
        """Raises `StoreError` for a template with other names, or without any."""
        self.text = text
        try:
            self._pieces = [(literal, name) for literal, name, form, conversion in Formatter().parse(text)]
            plain = not any(form or conversion for _, _, form, conversion in Formatter().parse(text))
        except ValueError as error:
            raise StoreError(f"the template {text!r} for ids cannot be read: {error}") from None
        wanted = [name for _, name in self._pieces if name is not None]
        unknown = [name for name in wanted if name not in FIELDS and not re.fullmatch(r"parent[1-9]", name)]
        if unknown or not wanted or not plain:
            known = ", ".join(f"{{{name}}}" for name in (*FIELDS, "parent2"))
            reason = f"knows no {{{unknown[0]}}}" if unknown else "needs one of these in it, without a format"
            raise StoreError(f"the template {text!r} for ids {reason}: there are {known} and so on")

    def __call__(self, path: Path | str) -> str:
        """The id of a file. Raises `StoreError` if its path has too few folders."""
        folders = _folders(path) if is_url(path) else _all_folders(path)
        name = names.parse(_file(path))
        values = {"name": names.plain(_file(path)), "stem": name.own, "kind": name.kind, "part": name.part}
        parts = []
        for literal, wanted in self._pieces:
            parts.append(literal)
            if wanted is not None and wanted.startswith("parent"):
                level = int(wanted.removeprefix("parent") or 1)
                if level > len(folders):
                    raise StoreError(f"its path has no {{{wanted}}}, which the template for ids names")
                parts.append(folders[-level])
            elif wanted is not None:
                parts.append(values[wanted])
        return "".join(parts)


def _all_folders(path: Path | str) -> tuple[str, ...]:
    """All folders of a path, including those that were not typed."""
    return Path(os.path.normpath(os.path.join(_here(), path))).parts[1:-1]


# Ids by any of these ------------------------------------------------------------------------------------------------


class Names:
    """Ids of files by a mapping, a CSV with the columns `path` and `material_id`, or a template; else by `ids_of`."""

    def __init__(self, ids: str | Path | Mapping[str, str] | None = None, template: str | None = None) -> None:
        """Raises `StoreError` for both at once, or an impossible template; `FormatError` for what is not a table."""
        if ids is not None and template is not None:
            raise StoreError("ids come from a table or from a template, not from both")
        self._template = None if template is None else Template(template)
        self._table = None if ids is None else _Table(ids)

    def __call__(self, path: Path | str) -> str:
        """The id of one file, in NFC on every system (macOS writes accents in NFD).

        Raises `StoreError` if there is none, or an impossible one.
        """
        return self._checked(path, None)

    def assign(
        self, files: Sequence[Path | str], origins: Sequence[int] | None = None
    ) -> tuple[dict[str, str], list[tuple[str, str]]]:
        """Id -> file, and (file, reason in one line) of files that cannot have an id. origins: as for `ids_of`."""
        guesses = ids_of(files, origins) if self._template is None and self._table is None else [None] * len(files)
        given: dict[str, str] = {}
        refused: list[tuple[str, str]] = []
        for path, guess in zip(files, guesses, strict=True):
            try:
                material_id = self._checked(path, guess)
                if material_id in given:
                    raise StoreError(
                        f"{given[material_id]} has the id {material_id} already; tell them apart with a table "
                        "(--ids) or a template (--id-from)"
                    )
            except StoreError as error:
                refused.append((public(os.fspath(path)) if is_url(path) else os.fspath(path), str(error)))
            else:
                given[material_id] = os.fspath(path)
        return given, refused

    @property
    def unused(self) -> str:
        """The note on rows of the table that name no file. Empty where there are none."""
        return "" if self._table is None else self._table.unused

    def _checked(self, path: Path | str, guess: str | None) -> str:
        if self._table is not None:
            material_id = self._table(path)
        elif self._template is not None:
            material_id = self._template(path)
        else:
            material_id = id_of(path) if guess is None else guess
        material_id = normalize("NFC", material_id)
        try:
            check_id(material_id)
        except StoreError as error:
            if self._table is not None:
                raise
            other = "--ids" if self._template is not None else "--ids or --id-from"
            raise StoreError(f"{error}; name it with {other}") from None
        return material_id


class _Table:
    """Ids by path.

    A path of a table is relative to the table's folder, or is written as the user names the file, or is a name alone.
    It may also be the path of the file's folder.
    """

    def __init__(self, ids: str | Path | Mapping[str, str]) -> None:
        if isinstance(ids, Mapping):
            self.source, folder, pairs = "the mapping of ids", "", [(os.fspath(p), i) for p, i in ids.items()]
        else:
            self.source, folder, pairs = os.fspath(ids), os.path.dirname(os.fspath(ids)), _read_ids(Path(ids))
        self.by_path: dict[str, str] = {}
        self.by_text: dict[str, str] = {}
        for path, material_id in pairs:
            if self.by_text.setdefault(path, material_id) != material_id:
                raise FormatError(f"{self.source}: {path} has the ids {self.by_text[path]} and {material_id}")
            self.by_path[_absolute(os.path.join(folder, path))] = path
        self.used: set[str] = set()

    def __call__(self, path: Path | str) -> str:
        text = os.fspath(path)
        place = text if is_url(text) else _absolute(text)
        candidates = [self.by_path.get(place), text, self.by_path.get(os.path.dirname(place)), os.path.basename(text)]
        found = next((known for known in candidates if known in self.by_text), None)
        if found is None:
            raise StoreError(f"{self.source} has no id for it")
        self.used.add(found)
        return self.by_text[found]

    @property
    def unused(self) -> str:
        left = [path for path in self.by_text if path not in self.used]
        shown = ", ".join(left[:3]) + (", ..." if len(left) > 3 else "")
        return f"{self.source}: {len(left)} of {len(self.by_text)} rows name none of the files: {shown}" if left else ""


def _absolute(path: str) -> str:
    return os.path.normpath(os.path.join(_here(), path))


def _read_ids(path: Path) -> list[tuple[str, str]]:
    table = read_table(path)
    file_column = table.column("path", "file", "filename")
    id_column = table.column("material_id", "id")
    if file_column is None or id_column is None:
        found = ", ".join(table.header)
        raise FormatError(f"{path}: line {table.line}: expected the columns path and material_id, found {found}")
    return [(cells[file_column], cells[id_column]) for _, cells in table.rows]


# Ids as such --------------------------------------------------------------------------------------------------------


def check_id(material_id: str) -> None:
    """Raises `StoreError` for an id that could not be a file name on every system."""
    if not _is_sound(material_id):
        raise StoreError(
            f"{material_id!r} cannot be a material id: use up to 200 letters, digits and . _ - + ( ) [ ] = , @ ~ : and "
            "begin with a letter or a digit"
        )


def _is_sound(material_id: str) -> bool:
    """Whether an id has only characters that ids may have. A combining mark counts as the letter before it."""
    letters = "".join(c for i, c in enumerate(material_id) if i == 0 or category(c) not in ("Mn", "Mc"))
    fits = _ID.fullmatch(letters) is not None and len(material_id) <= 200
    return fits and material_id == material_id.strip()


#: Windows gives these names to devices, with any extension.
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def file_name(material_id: str, windows: bool = os.name == "nt") -> str:
    """A material id as a file name.

    Raises `StoreError` if the id cannot be one, or could lead out of the folder: the ids of a store from elsewhere
    can be any text.
    """
    sound = _is_sound(material_id) and len(material_id.encode()) <= 240
    if windows:
        sound = sound and not (":" in material_id or material_id.endswith(".") or _DEVICES.fullmatch(material_id))
    if not sound:
        raise StoreError(f"the id {material_id[:80]!r} cannot be the name of a file; fetch it by itself, with -o PATH")
    return material_id
