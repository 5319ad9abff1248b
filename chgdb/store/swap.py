"""Replacing a whole store in one step, and the names of what lies beside it while a build runs.

docs/decisions/0001-a-store-is-replaced-whole.md says why.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sys
from pathlib import Path

from ..errors import StoreError


def beside(store: Path, kind: str) -> Path:
    """A hidden folder beside a store: `journal` (finished records), `staging` (the next version), `previous`."""
    return store.parent / f".{store.name}.{kind}"


def swap_in(staging: Path, store: Path) -> None:
    """Make the folder `staging` the store, and remove the store's previous version if there is one.

    Readers see the old or the new version, never neither: the two folders are exchanged by one system call. Where
    the file system has none (Windows, some network file systems) there is a moment without a store, which chgdb's
    readers wait out and `recover` repairs after a crash.
    """
    if not os.path.lexists(store):
        os.rename(staging, store)
    elif _exchange(staging, store):
        shutil.rmtree(staging)
    else:
        previous = beside(store, "previous")
        os.rename(store, previous)
        os.rename(staging, store)
        shutil.rmtree(previous)
    _flush_folder(store.parent)


def recover(store: Path) -> None:
    """Finish or undo what a killed writer left beside a store. Only under the journal's lock."""
    previous, staging = beside(store, "previous"), beside(store, "staging")
    if previous.exists():
        if store.exists():
            shutil.rmtree(previous)
        else:
            os.rename(previous, store)
    if staging.exists():
        shutil.rmtree(staging)


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two folders atomically; False where the system cannot."""
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
    raise StoreError(f"{second}: cannot put the new version in place: {os.strerror(code)}")


def _flush_folder(folder: Path) -> None:
    if os.name != "nt":  # Windows cannot open a folder to flush it
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
