"""Exceptions a user can cause.

Every one derives from `ChgdbError` and from the builtin that users already catch; the message is one line that says
what was wrong, where, and what to do. The command line prints that line and exits with code 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .urls import without_secrets


class ChgdbError(Exception):
    """Base class of every error that chgdb raises on purpose."""

    def __str__(self) -> str:  # KeyError would show the message in quotes
        # One line, also where a name in it, which can be a stranger's, has several.
        # And without a password, whoever put a URL into it.
        return without_secrets(" ".join(" ".join(str(a) for a in self.args).splitlines()))


class FormatError(ChgdbError, ValueError):
    """A file is not what its format says. The message names file, line and what was expected."""


class QuantityError(FormatError):
    """A file says that it holds another quantity than an electronic density, or one whose unit nothing tells."""


class DensityError(ChgdbError, ValueError):
    """Values that cannot be an electronic charge density on a periodic grid (NaN, zero volume, wrong shape)."""


class CodecError(ChgdbError, ValueError):
    """A record that cannot be decoded, or a density that cannot be encoded as asked."""


class ChecksumError(CodecError):
    """Stored bytes do not match their checksum."""


class StoreError(ChgdbError, OSError):
    """A store is missing, incomplete, of a newer format version, or cannot be written."""


class RemoteError(StoreError):
    """A server does not answer, refuses, or answers with something else than was asked."""


class OfflineError(RemoteError):
    """Something is not in the local cache, and chgdb has been told not to use the network."""


class CriterionError(StoreError, ValueError):
    """A criterion that no column of the store can meet, or an empty one."""


class UnknownMaterialError(ChgdbError, KeyError):
    """No record with this id; the message lists close matches."""


class MissingExtraError(ChgdbError, ImportError):
    """An optional package is not installed; the message says which extra brings it."""


class FileWarning(UserWarning):
    """A file was read in part: the message says what was left out."""


@contextmanager
def fitting(what: object, refusal: type[ChgdbError]) -> Iterator[None]:
    """Turn any error from the use of outside files into one line.

    Files that are each what they should be need not fit together. Raised for things that are checked only by their use,
    such as weights and the network that they are for.
    """
    try:
        yield
    except ChgdbError:
        raise
    except Exception as error:  # of numpy, torch, json and safetensors: of no common class
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise refusal(f"{what}: its files do not fit together ({reason}); get a fresh copy") from error


def require(module: str, extra: str, purpose: str):
    """Import an optional module, or say in one line what to install.

    Examples
    --------
    >>> require("math", "plot", "drawing").pi > 3
    True
    """
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        raise MissingExtraError(
            f"{purpose} needs {package}, which is not installed: run pip install 'chgdb[{extra}]'"
        ) from error
