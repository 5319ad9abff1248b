"""Options that several commands share, and what their values mean."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import numpy as np

    from chgdb import Catalog, Crystal, Density
    from chgdb.plugins import Registry


def complete_id(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """Ids of the catalog, for the completion of a shell."""
    return _beginning(incomplete, lambda catalog: catalog.ids, ctx)


def complete_criterion(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """Columns that --where can ask for, as far as the colon."""

    def columns(catalog: Catalog) -> Iterable[str]:
        from chgdb.record import INTERNAL_COLUMNS

        arrays = catalog.store.arrays
        return [f"{n}:" for n in catalog.columns if len(arrays[n].shape) == 1 and n not in INTERNAL_COLUMNS]

    return _beginning(incomplete, columns, ctx)


def complete_prediction(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """Properties that --predicted can ask for, as far as the colon."""
    from chgdb.predicted import View

    return _beginning(incomplete, lambda catalog: [f"{n}:" for n in View(catalog, "properties").targets], ctx)


def complete_channel(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """Channels of the material that the command line names; every possible channel where it names a file."""
    from chgdb.channels import QUANTITIES, available

    source = _first(ctx, "source")
    if source is not None and not os.path.lexists(source):
        return _beginning(incomplete, lambda catalog: available(catalog[source].channels), ctx)
    return [name for name in QUANTITIES if name.startswith(incomplete)]


def complete_format(incomplete: str) -> list[str]:
    """Formats that can be written."""
    from chgdb.formats import formats

    return [name for name, module in formats().items() if hasattr(module, "write") and name.startswith(incomplete)]


def complete_catalog(incomplete: str) -> Iterable[str]:
    """Installed catalogs, and stores and folders that a path leads to."""
    import glob

    from chgdb.plugins import offered

    paths = sorted(glob.glob(glob.escape(incomplete) + "*"))
    stores = [path for path in paths if path.endswith(".zip") or os.path.isfile(os.path.join(path, "zarr.json"))]
    folders = [path + os.sep for path in paths if os.path.isdir(path) and path not in stores]
    return [*(name for name in offered("chgdb.catalogs") if name.startswith(incomplete)), *stores, *folders]


def _first(ctx: typer.Context, name: str) -> str | None:
    """First argument of a command, if it has this name. Click has not parsed it yet where an option lacks its value."""
    arguments = [parameter.name for parameter in ctx.command.params if parameter.param_type_name == "argument"]
    if arguments[:1] != [name]:
        return None
    return ctx.params.get(name) or next(iter(ctx.args), None)


def _beginning(incomplete: str, words: Callable[[Catalog], Iterable[str]], ctx: typer.Context) -> list[str]:
    """Words that begin with what is typed, of the catalog that the command line names."""
    from chgdb.errors import ChgdbError

    named = ctx.params.get("catalog") or _first(ctx, "store") or os.environ.get("CHGDB_CATALOG")
    try:
        return [word for word in words(open_store(named)) if word.startswith(incomplete)]
    except ChgdbError:
        return []  # a shell has nowhere to show an error while a line is typed


CatalogOption = Annotated[
    str | None,
    typer.Option(
        "--catalog",
        metavar="STORE",
        envvar="CHGDB_CATALOG",
        autocompletion=complete_catalog,
        help="Folder, .zip, URL or installed name of a store. [default: the embedded catalog]",
    ),
]
GridOption = Annotated[
    str | None, typer.Option("--grid", metavar="NXxNYxNZ", help="Grid to interpolate to, such as 96x96x96.")
]
SpacingOption = Annotated[
    float | None,
    typer.Option("--spacing", metavar="Å", help="Interpolate to a grid with this maximum distance between points."),
]
SymmetryOption = Annotated[
    bool,
    typer.Option("--symmetry/--no-symmetry", help="Give the density of a latent the symmetry of its structure."),
]
ElementsOption = Annotated[
    str | None,
    typer.Option(
        "--elements",
        metavar="El,El",
        help="Elements of a VASP 4 file, which does not name them, in the order of the file.",
    ),
]
ForceOption = Annotated[bool, typer.Option("--force", "-f", help="Overwrite files that exist.")]
SchedulerOption = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS", help="Dask scheduler, tcp://host:8786; its workers do the work. [default: processes]"
    ),
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
    from chgdb.elements import check_species
    from chgdb.errors import DensityError

    if text is None:
        return None
    symbols = tuple(text.replace(",", " ").split())
    if not symbols:
        raise typer.BadParameter(f"{text!r} names no element; expected symbols such as Na,Cl", param_hint="--elements")
    try:
        check_species(symbols)
    except DensityError as error:
        raise typer.BadParameter(f"{error}; expected symbols such as Na,Cl", param_hint="--elements") from None
    return symbols


def by_element(text: str, option: str, expected: str) -> dict[str, float]:
    """Positive numbers by element. expected: what to write, for the message.

    >>> by_element("Fe=1.3, O=.8", "--radius", "numbers")
    {'Fe': 1.3, 'O': 0.8}
    """
    pairs = [re.fullmatch(r"([A-Z][a-z]?)=(\d+\.?\d*|\.\d+)", part.strip()) for part in text.split(",")]
    found = {match[1]: float(match[2]) for match in pairs if match}
    if len(found) != len(pairs) or not all(found.values()):
        raise typer.BadParameter(f"{text!r} is not {expected}", param_hint=option)
    return found


def check_resampling(grid: str | None, spacing: float | None) -> tuple[int, int, int] | None:
    """The grid asked for, if one was. Both options at once are a mistake."""
    if grid is not None and spacing is not None:
        raise typer.BadParameter("give either --grid or --spacing", param_hint="--spacing")
    return parse_grid(grid)


def check_name(registry: Registry, names: Iterable[str], option: str) -> None:
    """Raise `typer.BadParameter` for a name that is in no registry: a value outside a list is wrong usage."""
    for name in names:
        try:
            registry.check(name)
        except registry.error as error:
            raise typer.BadParameter(str(error), param_hint=option) from None


def check_read(format: str | None, option: str = "--from") -> None:
    """Raise `typer.BadParameter` for a format that there is not."""
    if format is not None:
        from chgdb.formats import REGISTRY

        check_name(REGISTRY, [format], option)


def check_written(format: str | None, option: str = "--format") -> None:
    """Raise `typer.BadParameter` for a format that there is not, or that is only read."""
    if format is None:
        return
    from chgdb.errors import FormatError
    from chgdb.formats import ending

    try:
        ending(format)
    except FormatError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


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
    """Raise `StoreError` where this name is taken and `force` is not given, `OSError` where it cannot be written."""
    from chgdb.atomic import resolve

    resolve(path)
    if os.path.lexists(path) and not force:
        from chgdb.errors import StoreError

        raise StoreError(f"{os.fspath(path)} exists already; choose another name, or overwrite it with --force")


def check_no_store(folder: str) -> None:
    """Raise `StoreError` where a folder that files are to be written to is a store."""
    if os.path.isfile(os.path.join(folder, "zarr.json")):
        from chgdb.errors import StoreError

        raise StoreError(f"{folder} is a store; name another folder or file with -o")


def tell_missing_atoms(name: str, crystal: Crystal) -> None:
    """Print one line on standard error where a density has no atoms, or some of no element."""
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
    """Warn on standard error of a density without electrons: programs write potentials under the name of a density."""
    from chgdb.density import ScalarField
    from chgdb_cli.output import message

    if not density.n_electrons > 0 and not isinstance(density, ScalarField):
        message(f"{source}: {density.n_electrons:.6g} electrons: the values are no total density")


def writes_structure(path: str | os.PathLike[str]) -> bool:
    """Whether a file of this name gets a structure alone: POSCAR, CONTCAR, .cif, .xyz."""
    from chgdb.formats.structures import written_as

    return written_as(path) is not None


def structure_line(path: str | os.PathLike[str], crystal: Crystal) -> str:
    """The message about a structure that was written."""
    from chgdb.formats.structures import written_as
    from chgdb.formulas import common_formula

    return f"{path}: {common_formula(crystal.formula)}, {len(crystal)} atoms, the structure alone as {written_as(path)}"


def open_store(catalog: str | None) -> Catalog:
    """The store that --catalog names."""
    from chgdb.catalog import open_catalog

    return open_catalog(catalog)
