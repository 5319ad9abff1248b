"""What fuzzing needs: what a target is, what counts as a finding, and inputs that are one change to a set of files.

A target either returns or raises a `ChgdbError` whose message is one line; `attempt` turns anything else into a
failure, hangs and warnings included. Inputs of several files are one change to one of them (`Files`), after which the
checksums are made right again: what a checksum would catch is not what is looked for.
"""

from __future__ import annotations

import gzip
import json
import lzma
import os
import shutil
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
GOLDEN = HERE.parent / "golden"
for folder in (HERE, HERE.parent, GOLDEN):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from mutation import changed_bytes, changed_json  # noqa: E402

from chgdb.errors import ChgdbError, FileWarning  # noqa: E402


@dataclass(frozen=True)
class Target:
    """what: is read, in words. seeds: inputs that lead far into the code, made from code and golden files. run: reads
    one input. seconds: what one input may take.
    """

    what: str
    seeds: Callable[[], list[bytes]]
    run: Callable[[bytes], Any]
    seconds: float = 10.0


class HangError(Exception):
    """An input takes too long."""


def attempt(target: Target, data: bytes) -> Any:
    """What a target makes of an input, None where it is refused. Anything but that is raised: it is a finding."""
    with warnings.catch_warnings(), _alarm(target.seconds):
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", FileWarning)  # meant for the user
        result = None
        with tolerated():
            result = target.run(data)
        return result


@contextmanager
def tolerated() -> Iterator[None]:
    """A `ChgdbError` is an answer, if its message is one line."""
    try:
        yield
    except ChgdbError as error:
        text = str(error)
        if not text.strip() or "\n" in text or len(text) > 4000:
            raise AssertionError(f"not a message of one line: {text[:300]!r}") from error


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    def ring(*_: object) -> None:
        raise HangError(f"more than {seconds:g} s")

    if not hasattr(signal, "SIGALRM"):
        yield
        return
    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@cache
def scratch() -> Path:
    """A folder for the files of this process, removed at its end."""
    import atexit

    folder = Path(tempfile.mkdtemp(prefix="chgdb-fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


# --- folders of several files ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Files:
    """A good set of files, and changes to one of them.

    An input is the number of the file, the kind of change, and its content. Kinds: 0 the content is the file's; 1 it is
    changes to its JSON (else to its bytes); 2 it is packed as the file was (`pack`); 3 it is changes to what is in it.
    """

    contents: dict[str, bytes]
    unpack: Callable[[str, bytes], tuple[bytes, Callable[[bytes], bytes]]]

    def changed(self, data: bytes) -> tuple[str, bytes]:
        """(key, new content)."""
        number, kind, body = (data[:1] or b"\0")[0], (data[1:2] or b"\0")[0] % 4, data[2:]
        names = sorted(self.contents)
        key = names[number % len(names)]
        content = self.contents[key]
        if kind == 0:
            return key, body
        inside, pack = self.unpack(key, content) if kind > 1 else (content, bytes)
        if kind == 2:
            return key, pack(body)
        try:
            document = json.loads(inside)
        except ValueError:
            return key, pack(changed_bytes(inside, body))
        changed = changed_json(document, body)
        try:
            return key, pack(json.dumps(changed).encode())
        except ValueError:  # a cycle, or a number too long for text
            return key, pack(b"null")

    def seeds(self) -> list[bytes]:
        found = []
        for number, key in enumerate(sorted(self.contents)):
            inside, _ = self.unpack(key, self.contents[key])
            found += [bytes([number, 1]), bytes([number, 3])]
            if len(inside) < 2000:
                found += [bytes([number, 2]) + inside]
        return found


def as_it_is(key: str, content: bytes) -> tuple[bytes, Callable[[bytes], bytes]]:
    return content, bytes


def unpacked(key: str, content: bytes) -> tuple[bytes, Callable[[bytes], bytes]]:
    packings: dict[str, Any] = {".gz": gzip, ".xz": lzma}
    packing = packings.get(key[-3:])
    return (packing.decompress(content), packing.compress) if packing else (content, bytes)


def placed(folder: Path, key: str, content: bytes) -> None:
    path = folder / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def environment() -> None:
    """No cache, no network, no waiting: for the driver and the tests alike."""
    os.environ.update(CHGDB_CACHE_SIZE="0", CHGDB_ATTEMPTS="1", CHGDB_OFFLINE="")
