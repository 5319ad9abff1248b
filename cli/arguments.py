"""Options that several commands share, and what their values mean."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import numpy as np

    from chgdb import Catalog, Crystal, Density


def complete_id(incomplete: str) -> Iterable[str]:
    """Ids of the catalog, for the completion of a shell."""
    from chgdb.errors import ChgdbError

    try:
        return [i for i in open_store(os.environ.get("CHGDB_CATALOG")).ids if i.startswith(incomplete)]
    except ChgdbError:
        return []  # a shell has nowhere to show an error while a line is typed


CatalogOption = Annotated[
    str | None,
    typer.Option(
        "--catalog",
        metavar="STORE",
        envvar="CHGDB_CATALOG",
        help="Folder, .zip, URL or installed name of a store. [default: the embedded catalog]",
    ),
]
GridOption = Annotated[
    str | None, typer.Option("--grid", metavar="NXxNYxNZ", help="Grid to interpolate to, such as 96x96x96.")
]
SpacingOption = Annotated[
    float | None,
    typer.Option("--spacing", metavar="Å", help="Interpolate to a grid with points at most this far apart."),
]
SymmetryOption = Annotated[
    bool,
    typer.Option("--symmetry/--no-symmetry", help="Of a latent: keep what has the symmetry of the structure."),
]
ElementsOption = Annotated[
    str | None,
    typer.Option(
        "--elements", metavar="El,El", help="Elements of a VASP 4 file, which does not name them; in its order."
    ),
]
ForceOption = Annotated[bool, typer.Option("--force", "-f", help="Overwrite files that exist.")]
SchedulerOption = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="Dask scheduler whose workers do it, tcp://host:8786. [default: processes]"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")]


def parse_grid(text: str | None) -> tuple[int, int, int] | None:
    """
    >>> parse_grid("96x96x64")
    (96, 96, 64)
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,6})[x×,](\d{1,6})[x×,](\d{1,6})", text.strip())
    if match is None or not all(int(n) for n in match.groups()):
        raise typer.BadParameter(f"{text!r} is not a grid such as 96x96x96", param_hint="--grid")
    nx, ny, nz = (int(n) for n in match.groups())
    return nx, ny, nz


def parse_elements(text: str | None) -> tuple[str, ...] | None:
    """
    >>> parse_elements("Na, Cl")
    ('Na', 'Cl')
    """
    if text is None:
        return None
    symbols = tuple(text.replace(",", " ").split())
    if not symbols:
        raise typer.BadParameter(f"{text!r} names no element; expected symbols such as Na,Cl", param_hint="--elements")
    return symbols


def check_resampling(grid: str | None, spacing: float | None) -> tuple[int, int, int] | None:
    """The grid asked for, if one was. Both options at once are a mistake."""
    if grid is not None and spacing is not None:
        raise typer.BadParameter("give either --grid or --spacing", param_hint="--spacing")
    return parse_grid(grid)


def target_grid(
    cell: np.ndarray, grid: tuple[int, int, int] | None, spacing: float | None
) -> tuple[int, int, int] | None:
    """The grid to interpolate to; None for the density's own."""
    from chgdb.grids import check_memory, spacing_grid

    points = grid if spacing is None else spacing_grid(cell, spacing)
    if points is not None:
        check_memory(points)
    return points


def check_free(path: str | os.PathLike[str], force: bool) -> None:
    """Raises `StoreError` where something exists under this name; nothing is overwritten unless asked for. Raises
    `OSError` where nothing can be written under it."""
    from chgdb.atomic import resolve

    resolve(path)
    if os.path.lexists(path) and not force:
        from chgdb.errors import StoreError

        raise StoreError(f"{os.fspath(path)} exists already; choose another name, or overwrite it with --force")


def tell_missing_atoms(name: str, crystal: Crystal) -> None:
    """One line on standard error where a density comes without atoms, or with some that are of no element."""
    missing = crystal.missing
    if missing:
        from chgdb_cli.output import message

        message(f"{name}: {missing}")


def load(source: str, catalog: str | None, elements: str | None = None) -> Density:
    """Density of a file, or of a material of a catalog where there is no such file.

    elements: what --elements says, for files of VASP 4.
    """
    from chgdb.formats import read

    if os.path.lexists(source) or os.sep in source:
        density = read(source, elements=parse_elements(elements))
        tell_missing_atoms(source, density.crystal)
        remark(source, density)
        return density
    opened = open_store(catalog)
    if source not in opened:
        from chgdb.errors import UnknownMaterialError

        try:
            opened[source]
        except UnknownMaterialError as error:
            raise UnknownMaterialError(f"{source}: there is no such file, and {error}") from None
    return opened[source].density


def remark(source: str, density: Density) -> None:
    """Say on standard error what cannot be right: programs write potentials under the name of a density."""
    from chgdb.density import ScalarField
    from chgdb_cli.output import message

    if not density.n_electrons > 0 and not isinstance(density, ScalarField):
        message(f"{source}: {density.n_electrons:.6g} electrons: the values are no total density")


def open_store(catalog: str | None) -> Catalog:
    """The store that --catalog names."""
    from chgdb.catalog import open_catalog

    return open_catalog(catalog)
