"""The one door for writing: everything that makes or replaces a store, or another folder of chgdb's, goes through it.

    with writing(path) as target:                 resolves links, takes the lock, refuses what is not ours
        with target.version() as folder:          a new folder beside it, under a name of its own
            write_table(folder, table)            written whole
                                                  and swapped in: one step, with the owner, group and mode of before

While a store NAME is written to, these are beside it:

    .NAME.journal/lock                 locked by the one command that may write to the store
    .NAME.journal/                     finished records of a build, notes of what is still to be done (see `journal`)
    .NAME.TOKEN.staging/               the next version, and once it is in place what is left of the one before
    .NAME.TOKEN.previous/              the version before, where the file system cannot exchange two folders

docs/decisions/0001-a-store-is-replaced-whole.md says why.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from .. import atomic
from ..errors import ChgdbError, StoreError
from ..urls import is_url, public
from .format import PARITY, ROOT
from .head import CHECKSUMS, HEAD, RELEASE, parse_checksums, unpack

#: Files that file managers put into folders. They are nobody's, and do no harm.
_JUNK = (".DS_Store", "._*", "Thumbs.db", "ehthumbs.db", "desktop.ini", ".directory")


def is_junk(key: str) -> bool:
    """Whether a file is one that file managers leave in every folder that they show.

    >>> is_junk("view/.DS_Store"), is_junk("README.md")
    (True, False)
    """
    name = key.rsplit("/", 1)[-1]
    return any(fnmatch.fnmatchcase(name.lower(), pattern.lower()) for pattern in _JUNK)


@dataclass(frozen=True)
class Kind:
    """A kind of target, which may be replaced by its like.

    name: with its article, for messages.
    is_one: whether a folder is of this kind, damaged or not.
    parts: whether a file in a folder of this kind (its path with forward slashes) is part of it. Other files are
    somebody else's, and are kept.
    """

    name: str
    is_one: Callable[[Path], bool]
    parts: Callable[[Path], Callable[[str], bool]]


# Stores --------------------------------------------------------------------------------------------------------------


def is_store(folder: Path) -> bool:
    """Whether a folder is a store of chgdb, of any version, damaged or not: neither any Zarr group nor any folder."""
    version = root_attributes(folder).get("chgdb_format")
    return (type(version) is int and version > 0) or ROOT in _checksums(folder)


def root_attributes(folder: Path) -> dict[str, object]:
    """Attributes of the Zarr group in a folder; empty where there is none, or a damaged one."""
    try:
        root = json.loads((folder / ROOT).read_bytes())
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError, RecursionError):
        return {}
    attributes = root.get("attributes") if isinstance(root, dict) else None
    return attributes if isinstance(attributes, dict) else {}


def _checksums(folder: Path) -> frozenset[str]:
    """Keys of the files of a store, from its checksums or their copy in its head; empty where both are damaged."""
    for read in (lambda: parse_checksums((folder / CHECKSUMS).read_bytes()),
                 lambda: unpack((folder / HEAD).read_bytes()).checksums):  # fmt: skip
        with suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError):
            return frozenset(read())
    return frozenset()


def _store_parts(folder: Path) -> Callable[[str], bool]:
    beside = (CHECKSUMS, HEAD, RELEASE, PARITY, ROOT)
    keys = _checksums(folder)
    if keys:
        return lambda key: key in keys or key in beside
    try:  # the lists are damaged: the metadata name the arrays
        members = tuple(json.loads((folder / ROOT).read_bytes())["consolidated_metadata"]["metadata"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        if not (folder / CHECKSUMS).exists() and not (folder / HEAD).exists():
            raise StoreError(
                f"{folder}: incomplete, {CHECKSUMS} is missing, so that nothing tells what in it is of the store: "
                "move it away first"
            ) from None
        raise StoreError(
            f"{folder}: {CHECKSUMS}, {HEAD} and {ROOT} are damaged, so that nothing tells what in it is of the store: "
            "move it away first"
        ) from None
    return lambda key: (
        key in beside or any(re.fullmatch(rf"{re.escape(m)}/(zarr\.json|c/[0-9/]+)", key) for m in members)
    )


STORE = Kind("a store", is_store, _store_parts)


# Transactions --------------------------------------------------------------------------------------------------------


class Transaction:
    """A folder that one command alone may write to, from `writing`.

    path: as the user names it. target: what it leads to through links. journal: a folder beside it for what is to
    survive the command.
    """

    def __init__(self, path: str | os.PathLike[str], target: Path, kind: Kind) -> None:
        self.path, self.target, self.kind = Path(path), target, kind
        self.journal = beside(target, "journal")

    @property
    def exists(self) -> bool:
        """Whether there is something to replace; an empty folder does not count."""
        return os.path.lexists(self.target) and not _is_empty(self.target)

    def check(self) -> None:
        """Raise `StoreError` where something that is not of this kind is in the way. No option of a user changes
        that."""
        if not os.path.lexists(self.target):
            outer = next((folder for folder in self.target.parents if is_store(folder)), None)
            if outer is not None:
                raise StoreError(
                    f"{self.path} lies in the store {outer}: nothing is put into one; choose another place"
                )
        elif not self.target.is_dir():
            raise StoreError(f"{self.path} is a file; {self.kind.name} is written to a folder: choose another name")
        elif not _is_empty(self.target) and not self.kind.is_one(self.target):
            there = next((k.name for k in (STORE,) if k is not self.kind and k.is_one(self.target)), None)
            found = f" ({there})" if there else ""
            raise StoreError(
                f"{self.path}: there is something else than {self.kind.name}{found}, which is never replaced; choose "
                "another folder"
            )
        elif not os.access(self.target, os.W_OK):
            raise StoreError(f"{self.path} is write-protected, and stays as it is; chmod u+w {self.path} allows it")

    @contextmanager
    def version(self, staged: Path | None = None) -> Iterator[Path]:
        """A new folder for the next version. It is put in place when the block ends well, and removed otherwise.

        staged: a folder beside the target that holds a part of the version already. It becomes the version when the
        block ends well, and stays as it is otherwise.
        """
        folder = beside(self.target, f"{atomic.token()}.staging") if staged is None else staged
        try:
            before = os.stat(self.target) if self.target.is_dir() else None
            folder.mkdir(exist_ok=staged is not None)
            if before is not None:
                atomic.keep_owner(folder, before)  # at once: what is made in it has its group, and no other readers
            yield folder
            if staged is not None:
                folder = beside(self.target, f"{atomic.token()}.staging")
                os.rename(staged, folder)
            self._commit(folder)
        except BaseException:
            if folder != staged:
                shutil.rmtree(folder, ignore_errors=True)
            raise

    def _commit(self, folder: Path) -> None:
        """Put a complete folder in the place of the target."""
        self.check()
        if self.target.is_dir():
            _keep_owners(folder, self.target)
            self._keep_strangers(folder)
        try:
            old = self._swap(folder)
        except OSError as error:
            raise StoreError(
                f"{self.path}: the new version cannot be put in place: {error.strerror or error}"
            ) from error
        try:
            atomic.flush(self.target.parent)
            if old is not None:
                shutil.rmtree(old)
        except OSError as error:
            raise StoreError(
                f"{self.path}: the new version is in place, but what is left of the one before cannot be removed: "
                f"{error.strerror or error}; the next command that writes to it will try again"
            ) from error

    def _swap(self, folder: Path) -> Path | None:
        """Exchange a folder with the target. Returns where the old version lies then, None where there was none."""
        if not os.path.lexists(self.target):
            os.rename(folder, self.target)
            return None
        if atomic.exchange(folder, self.target):
            return folder
        previous = folder.with_suffix(".previous")
        os.rename(self.target, previous)
        try:
            os.rename(folder, self.target)
        except BaseException:
            os.rename(previous, self.target)
            raise
        return previous

    def _keep_strangers(self, folder: Path) -> None:
        """Take files in the target that are no part of it over into the next version, as links or copies. Raises
        `StoreError` where the version needs the name of one.
        """
        is_part = self.kind.parts(self.target) if self.exists else lambda key: False
        for place, _, names in os.walk(self.target):
            inside = Path(place).relative_to(self.target)
            links = [name for name in os.listdir(place) if os.path.islink(os.path.join(place, name))]
            for name in sorted({*names, *links}):
                key = (inside / name).as_posix()
                if is_part(key) or (is_junk(key) and not (folder / inside).is_dir()):
                    continue
                if os.path.lexists(folder / key) or not _make_folders(folder, self.target, inside):
                    if is_junk(key):
                        continue
                    raise StoreError(
                        f"{self.path} holds {key}, which is not of it, and whose name its next version needs: move it "
                        "somewhere else first"
                    )
                _link(self.target / key, folder / key)
            if not os.listdir(place) and inside.parts:
                _make_folders(folder, self.target, inside)

    # Notes of what is still to be done ---------------------------------------------------------------------------

    def set_due(self, what: str, due: bool) -> None:
        """Note that something has to follow a change of the target, or that it is done. A command that is killed
        between the two steps cannot see in the store that the second one was wanted."""
        note = self.journal / f"{what}.due"
        if due:
            note.touch()
        else:
            note.unlink(missing_ok=True)


@contextmanager
def writing(path: str | os.PathLike[str], kind: Kind = STORE, advice: str = "") -> Iterator[Transaction]:
    """Hold the right to write to a folder until the block ends. Blocks can be nested in one thread.

    Readers go on reading. The leftovers of a killed writer are finished or removed first.

    Parameters
    ----------
    path
        Of the folder; links are followed.
    kind
        What may be there, if anything is.
    advice
        Text after the reason in the message where the disk fails, such as "; build again".

    Raises
    ------
    StoreError
        If the path is a URL, something else is there, another command is writing to it, or the disk fails.
    """
    if is_url(os.fspath(path)):
        where = public(os.fspath(path))
        raise StoreError(f"{where}: {kind.name} is written to a folder; chgdb publish puts one elsewhere")
    made: list[Path] = []
    try:
        target = atomic.resolve(path)
        transaction = Transaction(path, target, kind)
        transaction.check()  # before anything is made
        with _holding(target, path, made):
            transaction.check()
            yield transaction
    except OSError as error:
        if isinstance(error, ChgdbError | BrokenPipeError):
            raise
        raise StoreError(f"{os.fspath(path)}: cannot be written: {error.strerror or error}{advice}") from error
    finally:
        for folder in made:
            with suppress(OSError):
                folder.rmdir()  # only where nothing was written


def is_due(path: str | os.PathLike[str], what: str) -> bool:
    """Whether something that `Transaction.set_due` noted still has to be done."""
    return (beside(Path(os.path.realpath(path)), "journal") / f"{what}.due").exists()


def is_being_replaced(path: str | os.PathLike[str]) -> bool:
    """Whether a writer is replacing a path now, or was killed while it did."""
    return bool(_left(Path(os.path.realpath(path))))


def beside(target: Path, what: str) -> Path:
    """A hidden folder beside a target."""
    name = target.name if what == "journal" else atomic.stem(target.name)
    return target.parent / f".{name}.{what}"


# Locks and leftovers -------------------------------------------------------------------------------------------------


_held = threading.local()


@contextmanager
def _holding(target: Path, path: str | os.PathLike[str], made: list[Path]) -> Iterator[None]:
    """Hold the lock of a target. made: takes up the folders that are made for it, the innermost first."""
    mine: set[Path] = _held.__dict__.setdefault("targets", set())
    if target in mine:
        yield
        return
    made += [folder for folder in target.parents if not folder.exists()]
    folder = beside(target, "journal")
    with _locked(folder, path):
        mine.add(target)
        try:
            _recover(target)
            yield
        finally:
            mine.discard(target)


@contextmanager
def _locked(folder: Path, path: str | os.PathLike[str]) -> Iterator[None]:
    """Hold the lock file in a folder. The system releases it when the process ends in any way."""
    place = folder / "lock"
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            file = open(place, "a+b")  # noqa: SIM115 (held over the yield)
        except FileNotFoundError:
            continue  # removed by a command that ended just now
        with file:
            if not atomic.try_lock(file):
                raise StoreError(
                    f"{os.fspath(path)}: another command is writing to it (a build, say); wait for it to end"
                )
            if not atomic.lies_at(place, file):
                continue  # a command that ended between our open and our lock has removed the file
            try:
                yield
            finally:
                if os.name == "nt":  # an open file cannot be removed there
                    file.close()
                with suppress(OSError):  # a disk that has become read-only, or a lock that is somebody else's now
                    if os.listdir(folder) == ["lock"]:
                        place.unlink()
                        folder.rmdir()
            return


def _left(target: Path) -> list[Path]:
    """Versions of a target that killed writers left. One that may be the only copy comes first."""
    pattern = re.compile(rf"\.{re.escape(atomic.stem(target.name))}\.({atomic.TOKEN}\.)?(staging|previous)")
    try:
        names = [name for name in os.listdir(target.parent) if pattern.fullmatch(name)]
    except FileNotFoundError:
        return []
    return [target.parent / name for name in sorted(names, key=lambda name: (name.endswith(".staging"), name))]


def _recover(target: Path) -> None:
    """Finish or undo what a killed writer left. Only under the lock, which every writer of the target takes."""
    for folder in _left(target):
        if folder.suffix == ".previous" and not os.path.lexists(target):
            os.rename(folder, target)
        else:
            shutil.rmtree(folder)


# Folders -------------------------------------------------------------------------------------------------------------


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and all(is_junk(name) for name in os.listdir(folder))


def _keep_owners(folder: Path, old: Path) -> None:
    """Give a new version the owner, group and mode of the old one: the folders those of its folder, the files those of
    one of its files."""
    of_folder = os.stat(old)
    files = [entry for entry in os.scandir(old) if entry.is_file(follow_symlinks=False) and not is_junk(entry.name)]
    like = min(files, key=lambda entry: entry.name != ROOT).stat() if files else None
    for place, _, names in os.walk(folder):
        atomic.keep_owner(place, of_folder)
        if like is not None:
            for name in names:
                atomic.keep_owner(os.path.join(place, name), like)


def _make_folders(folder: Path, old: Path, inside: Path) -> bool:
    """Make the folders of a path as they are in the old version; False where a file is in the way."""
    for part in [*reversed(inside.parents), inside]:
        place = folder / part
        if not place.is_dir():
            if os.path.lexists(place):
                return False
            place.mkdir()
            atomic.keep_owner(place, os.stat(old / part))
    return True


def _link(source: Path, place: Path) -> None:
    """Put the same file, folder or symbolic link at another place, as a hard link or, where the system has none, as a
    copy."""
    if source.is_symlink():
        os.symlink(os.readlink(source), place)
        return
    try:
        os.link(source, place)
    except OSError:
        shutil.copy2(source, place)
