"""Files and folders that take the place of others in one step: readers see the old one or the new one, never a mixture.

New content is staged beside its target under a name of its own, with 64 random bits, so that two processes with the
same number, in two containers that share a disk, never meet. A staged file is locked while it is written: one that is
not locked was left by a killed process. Nothing here knows what is written;
`store.transaction` is the one door to whole folders.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import IO

from .urls import is_url_as_path

#: A regular expression that the names of all staged files and folders match.
TOKEN = "[0-9a-f]{16}"
_PART = ".part"
_LONGEST = 200  # maximum bytes of a name: systems allow 255, and something is added to it
_HELD = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK)


def token() -> str:
    """Sixteen random hexadecimal digits for the name of something staged."""
    return os.urandom(8).hex()


def stem(name: str) -> str:
    """A name that others can be made of: the name itself, or a hash of it where it is long.

    >>> stem("CHGCAR")
    'CHGCAR'
    """
    encoded = os.fsencode(name)
    return name if len(encoded) <= _LONGEST else blake2b(encoded, digest_size=16).hexdigest()


def resolve(path: str | os.PathLike[str]) -> Path:
    """The target of a path through all symbolic links; it need not exist. Raises `OSError` for a circle of links, and
    for a URL, which would become a folder `https:`."""
    if is_url_as_path(path):
        raise OSError(errno.EINVAL, "a URL, where only folders of this machine are written to", os.fspath(path))
    target = os.path.realpath(path)
    if os.path.islink(target):
        raise OSError(errno.ELOOP, "a symbolic link that leads to itself", os.fspath(path))
    return Path(target)


def try_lock(file: IO[bytes]) -> bool:
    """Lock an open file until it is closed or its process ends in any way. Returns False where another process holds
    the lock.

    Raises `OSError` if the file system has no locks.
    """
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            return False
        raise
    return True


def lies_at(path: str | os.PathLike[str], file: IO[bytes]) -> bool:
    """Whether an open file still lies at a path."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return False
    return os.path.samestat(status, os.fstat(file.fileno()))


def keep_owner(path: str | os.PathLike[str], like: os.stat_result) -> None:
    """Give a file or folder the owner, group and mode of another one, as far as this user is allowed to."""
    now = os.stat(path)
    if hasattr(os, "chown") and (now.st_uid, now.st_gid) != (like.st_uid, like.st_gid):
        try:
            os.chown(path, like.st_uid, like.st_gid)
        except PermissionError:  # only root gives files away; a group that one belongs to can be kept
            with suppress(PermissionError):
                os.chown(path, -1, like.st_gid)
    if stat.S_IMODE(os.stat(path).st_mode) != stat.S_IMODE(like.st_mode):
        os.chmod(path, stat.S_IMODE(like.st_mode))


# Files ---------------------------------------------------------------------------------------------------------------


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a file for writing that appears under its name when the block ends well, and not at all otherwise.

    A symbolic link stays one: the file that it leads to is replaced. The new file has the owner, group and mode of the
    old one. A pipe or a device is written directly. Raises `OSError`.
    """
    target = os.fspath(resolve(path))
    try:
        before = os.stat(target)
    except FileNotFoundError:
        before = None
    if before is not None and not stat.S_ISREG(before.st_mode):
        with open(target, "wb") as direct:
            yield direct
        return
    folder, name = os.path.split(target)
    sweep(folder, name)
    file = _staged(target, private=before is not None)
    try:
        with file:
            if before is not None:
                keep_owner(file.name, before)
            yield file
            file.flush()
            if before is not None:
                os.fsync(file.fileno())  # a power cut must not leave an empty file in the place of the old one
            if os.name != "nt":  # there an open file cannot be renamed
                os.replace(file.name, target)
        if os.name == "nt":
            os.replace(file.name, target)
    except BaseException:
        with suppress(OSError):  # it is not there any more, or the disk has become read-only
            os.unlink(file.name)
        raise


@contextmanager
def folder_made(path: str | os.PathLike[str]) -> Iterator[None]:
    """Make the folder of a file for the block. Folders that were made are removed again where the block fails.

    Raises `OSError` if it cannot be made.
    """
    folder, made = resolve(path).parent, []
    while not os.path.lexists(folder):
        made.append(folder)
        folder = folder.parent
    try:
        if made:
            made[0].mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for empty in made:
            with suppress(OSError):  # it was not made, or somebody has put something into it
                empty.rmdir()
        raise


def write(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a whole file as `replacing` does."""
    with replacing(path) as file:
        file.write(data)


def sweep(folder: str | os.PathLike[str], name: str | None = None) -> None:
    """Remove the staged files that killed processes left in a folder: those of one file where it is named, else all.

    Files that are still being written are locked, on this machine and on others, and stay.
    """
    own = ".+" if name is None else re.escape(stem(name))
    pattern = re.compile(rf"{own}\.{TOKEN}{re.escape(_PART)}")
    with suppress(OSError):
        for other in os.listdir(folder):
            if pattern.fullmatch(other):
                with suppress(OSError), open(os.path.join(folder, other), "r+b") as left:
                    if try_lock(left):
                        os.unlink(left.name)


def is_staged(name: str) -> bool:
    """Whether a name is that of a staged file: one that is being written, or that a killed process left."""
    return re.fullmatch(rf".+\.{TOKEN}{re.escape(_PART)}", name) is not None


def _staged(target: str, private: bool) -> IO[bytes]:
    """A new locked file beside a target. private: readable by this user alone until it gets the mode of the old
    file."""
    folder, name = os.path.split(target)
    mode = 0o600 if private else 0o666
    while True:
        path = os.path.join(folder, f"{stem(name)}.{token()}{_PART}")
        file = open(path, "x+b", opener=lambda name, flags: os.open(name, flags, mode))  # noqa: SIM115
        try:
            if try_lock(file) and lies_at(path, file):
                return file
        except OSError:  # a file system without locks: nobody removes it there either
            return file
        file.close()  # another process took it for an abandoned file between our open and our lock
        with suppress(OSError):
            os.unlink(path)


# Folders -------------------------------------------------------------------------------------------------------------


def exchange(first: Path, second: Path) -> bool:
    """Exchange two folders in one step. Returns False where the system cannot; raises `OSError` where it is not
    allowed."""
    if sys.platform.startswith("linux"):
        name, here, flag = "renameat2", -100, 2  # AT_FDCWD, RENAME_EXCHANGE
        arguments: tuple[object, ...] = (here, os.fsencode(first), here, os.fsencode(second), flag)
    elif sys.platform == "darwin":
        name, arguments = "renamex_np", (os.fsencode(first), os.fsencode(second), 2)  # RENAME_SWAP
    else:
        return False
    function = getattr(ctypes.CDLL(None, use_errno=True), name, None)
    if function is None:
        return False
    if function(*arguments) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EXDEV):
        return False
    raise OSError(code, os.strerror(code), os.fspath(second))


def flush(path: Path) -> None:
    """Flush a file, or the list of files of a folder, to the disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows cannot open a folder to flush it
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_flushed(path: Path, data: bytes) -> None:
    """Write a file into a folder that nobody else knows yet, and flush it to the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
