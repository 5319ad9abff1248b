"""Proof that a store is whole: checksums, format, consistency, and with originals the error of every record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .density import Density


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a store: where (a file of the store or a material id) and what, in one line."""

    where: str
    message: str


@dataclass(frozen=True)
class VerifyReport:
    """What `verify` found. lost: ids whose density cannot be decoded any more."""

    path: str
    n_materials: int
    n_files: int
    deep: bool
    problems: tuple[Problem, ...]
    lost: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.problems


def verify(
    store: str | Path,
    *,
    deep: bool = False,
    originals: str | Path | Mapping[str, str | Path] | Callable[[str], Density] | None = None,
    progress: bool | Callable[[int, int, str], None] = False,
) -> VerifyReport:
    """Check a store; damage is reported, not raised. Raises `StoreError` only where there is no store at all.

    deep: decode every record as well and compare with the error stored beside it.
    originals: with `deep`, the files the records came from: a folder (searched as `build` does), id -> path, or a
        function id -> density; the error is measured again against them.
    """
    raise NotImplementedError
