"""Many densities into a store: parallel, resumable, with a report of what was refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .codecs import DEFAULT_TOLERANCE
from .density import Density

if TYPE_CHECKING:
    from .codecs.atoms import Prior


@dataclass(frozen=True)
class BuildReport:
    """What a build did.

    added, replaced: ids now in the store; skipped: ids that the store already held from the same file with the same
    settings; refused: (path or id, reason in one line).
    """

    path: str
    added: tuple[str, ...]
    replaced: tuple[str, ...]
    skipped: tuple[str, ...]
    refused: tuple[tuple[str, str], ...]

    @property
    def complete(self) -> bool:
        """Whether everything asked for is in the store."""
        return not self.refused


def build(
    out: str | Path,
    inputs: str | Path | Iterable[str | Path],
    *,
    ids: str | Path | Mapping[str, str] | None = None,
    properties: str | Path | None = None,
    tolerance: float = DEFAULT_TOLERANCE,
    workers: int | None = None,
    on_duplicate: Literal["refuse", "replace"] = "refuse",
    append: bool = True,
    prior: Prior | Literal["auto", "fit"] | None = "auto",
    provenance: Mapping[str, str] | None = None,
    keep_extras: bool = True,
    progress: bool | Callable[[int, int, str], None] = False,
) -> BuildReport:
    """Pack density files into a store at `out`.

    inputs: files, folders (searched recursively) and glob patterns.
    ids: how to name materials: a mapping or a CSV (columns `path` and `material_id`); otherwise from the file or folder.
    properties: a CSV joined by its column `material_id` (or `id`, or the first); units come from headers such as
        `bulk_modulus_GPa` or `bulk_modulus [GPa]`.
    append: add to a store that is already at `out`; False refuses one.
    progress: True for a progress bar, or a callable (done, total, id).
    """
    raise NotImplementedError


def build_from(
    out: str | Path,
    ids: Sequence[str],
    load: Callable[[str], tuple[Density, Mapping[str, Any]]],
    *,
    columns: Mapping[str, Mapping[str, str]] | None = None,
    attributes: Mapping[str, Any] | None = None,
    tolerance: float = DEFAULT_TOLERANCE,
    workers: int | None = None,
    on_duplicate: Literal["refuse", "replace"] = "refuse",
    append: bool = True,
    prior: Prior | Literal["auto", "fit"] | None = "auto",
    progress: bool | Callable[[int, int, str], None] = False,
) -> BuildReport:
    """Pack densities that a function returns: `load(id) -> (density, metadata)`, picklable for parallel workers.

    metadata: column name -> number, text or bool; columns: column name -> attributes (`units`, `long_name`).
    attributes: root attributes of the store (title, licence, ...).
    """
    raise NotImplementedError
