"""`chgdb estimate`: densities of structures without DFT."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chgdb.formulas import common_formula
from chgdb.urls import is_url, url_path
from chgdb_cli.arguments import (
    CatalogOption,
    ElementsOption,
    ForceOption,
    JsonOption,
    QuietOption,
    check_free,
    check_no_store,
    check_resampling,
    check_written,
    complete_format,
    open_store,
    parse_elements,
)
from chgdb_cli.output import grid as grid_text
from chgdb_cli.output import message, print_json, show

if TYPE_CHECKING:
    from chgdb import Crystal, Density, Estimate
    from chgdb.densities.model import DensityModel
    from chgdb.estimation import Magnetisation


def register(app: typer.Typer) -> None:
    app.command(
        epilog="""\b
Examples:
  chgdb estimate POSCAR -o CHGCAR
  chgdb estimate NaCl.cif -o NaCl.cube --spacing 0.15
  chgdb estimate structures/*.cif -o densities/ --format chgcar
  chgdb estimate POSCAR -o CHGCAR --atoms my.zarr     with atoms of the potentials of your own densities
  chgdb estimate POSCAR -o CHGCAR --magnetization
  chgdb estimate POSCAR --json                        the error to expect, and nothing written""",
    )(estimate)


def estimate(
    structures: Annotated[
        list[str], typer.Argument(metavar="STRUCTURE...", help="POSCAR, CIF, xyz, cell, ...; or ids of the catalog.")
    ],
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE|FOLDER", help="File to write; a folder for several.")
    ] = None,
    grid: Annotated[
        str | None, typer.Option("--grid", metavar="NXxNYxNZ", help="Grid of the density, such as 96x96x96.")
    ] = None,
    spacing: Annotated[
        float | None, typer.Option(metavar="Å", help="Maximum distance between points. [default: 0.1]")
    ] = None,
    output_format: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            autocompletion=complete_format,
            help="chgcar, cube, xsf or npz. [default: by name]",
        ),
    ] = None,
    atoms: Annotated[
        list[str] | None,
        typer.Option(metavar="STORE|FILE", help="Densities of your own, whose atoms are used; may be repeated."),
    ] = None,
    model: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Model made by `chgdb train density`. [default: the catalog's]")
    ] = None,
    magnetization: Annotated[
        bool, typer.Option("--magnetization", help="The collinear magnetisation as well (crystals with Cr to Ni).")
    ] = False,
    elements: ElementsOption = None,
    catalog: CatalogOption = None,
    force: ForceOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Estimate the densities of structures: a superposition of atoms, and a learned model of what bonds change.

    A prediction, not a calculation: each comes with the error to expect, and with a warning where the structure is
    unlike what the model was trained on.
    """
    from chgdb import estimate as guess
    from chgdb.densities import model as models
    from chgdb.errors import ChgdbError

    points = check_resampling(grid, spacing)
    targets = _targets(structures, output, output_format, force)
    chosen = models.load(model)
    note = ""
    if atoms:
        chosen, note = _with_atoms(chosen, atoms, quiet)
    facts: list[dict[str, Any]] = []
    failed = 0
    for source, target in zip(structures, targets, strict=True):
        try:
            found = guess(
                _structure(source, catalog, elements),
                grid=points,
                spacing=spacing,
                model=chosen,
                magnetization=magnetization,
            )
            if target is not None:
                _write(target, found.density, output_format)
        except ChgdbError as error:
            if len(structures) == 1:
                raise
            failed += 1  # of several, the others are not lost
            text = str(error)
            message(f"chgdb: {text if source in text else f'{source}: {text}'}")
            continue
        for remark in found.remarks:
            message(f"{source}: unlike the training set: {remark}")
        facts.append(_facts(source, target, found))
        if not as_json:
            _print(source, target, found)
    if note and not quiet:
        message(note)
    if as_json:
        print_json(facts)
    if failed:
        message(f"chgdb: {failed} of {len(structures)} structures gave no density")
        raise typer.Exit(1)


def _structure(source: str, catalog: str | None, elements: str | None) -> Crystal | Density:
    """The structure of a file, or of the material with this id where there is no such file."""
    from chgdb.formats import read_structure

    if not os.path.lexists(source) and os.sep not in source and (opened := open_store(catalog)) and source in opened:
        return opened[source].crystal
    return read_structure(source, elements=parse_elements(elements))


def _targets(sources: Sequence[str], output: str | None, output_format: str | None, force: bool) -> list[Path | None]:
    """Paths of the densities. All of them are checked before anything is estimated."""
    check_written(output_format)
    if output is None:
        return [None] * len(sources)
    if not os.path.isdir(output) and not output.endswith(os.sep):
        if len(sources) > 1:
            raise typer.BadParameter("several densities go into a folder: end its name with /", param_hint="--output")
        check_free(output, force)
        return [Path(output)]
    check_no_store(output)
    from chgdb.formats import ending

    stems = [_stem(source) for source in sources]
    if len(set(stems)) < len(stems):
        parents = [Path(url_path(source) if is_url(source) else source).resolve().parent.name for source in sources]
        stems = [
            stem if stems.count(stem) == 1 else f"{parent}-{stem}" for parent, stem in zip(parents, stems, strict=True)
        ]
    names = [stem + ending(output_format or "chgcar") for stem in stems]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise typer.BadParameter(f"two densities would be called {twice[0]}: name the structures apart")
    targets = [Path(output) / name for name in names]
    for target in targets:
        check_free(target, force)
    return list(targets)


def _stem(source: str) -> str:
    """Name of a density: that of its structure's file, or of the folder where the file is called POSCAR.

    >>> _stem("structures/NaCl.cif"), _stem("runs/NaCl/POSCAR.gz"), _stem("POSCAR_relaxed"), _stem("mp-149")
    ('NaCl', 'NaCl', 'relaxed', 'mp-149')
    >>> _stem("https://me:secret@example.org/KCl/POSCAR?signature=abc")
    'KCl'
    """
    from chgdb.formats.streams import bare_name

    source = url_path(source) if is_url(source) else source  # no password of a URL becomes a name
    name = bare_name(source)
    for prefix in ("POSCAR", "CONTCAR", "CHGCAR"):
        if name.upper().startswith(prefix):
            return name[len(prefix) :].strip("._-") or Path(source).resolve().parent.name or "structure"
    return Path(name).stem


def _write(target: Path, density: Density, output_format: str | None) -> None:
    from chgdb.formats import write

    target.parent.mkdir(parents=True, exist_ok=True)
    write(target, density, format=output_format)


def _with_atoms(model: DensityModel, sources: Sequence[str], quiet: bool) -> tuple[DensityModel, str]:
    """The model with the atoms of a user's densities, and a line that says which."""
    from chgdb.densities.atoms import fit_atoms, unsettled
    from chgdb.elements import SYMBOLS
    from chgdb.formats import read

    densities = []
    for source in sources:
        if os.path.isdir(source) or source.endswith(".zip") or "://" in source:
            densities += [record.density for record in open_store(source)]
        else:
            densities.append(read(source))
    prior, valence = fit_atoms(model, densities)
    electrons = ", ".join(f"{SYMBOLS[z]} {n:g}" for z, n in valence.items())
    note = f"atoms of {len(densities)} densities: valence {electrons}"
    if open_sums := unsettled(densities):
        note += f"; of {', '.join(open_sums)} only sums are known, and the usual numbers were taken"
    return model.with_atoms(prior, valence), note


def _facts(source: str, target: Path | None, found: Estimate) -> dict[str, Any]:
    density = found.density
    return {
        "structure": source,
        "file": None if target is None else str(target),
        "formula": density.crystal.formula,
        "atoms": len(density.crystal),
        "grid": list(density.grid),
        "n_electrons": density.n_electrons,
        "valence": dict(found.valence),
        "estimated": True,
        "nmae_expected": found.error,
        "nmae_90": found.limit,
        "unlike_training": list(found.remarks),
        "model": found.model,
        **({} if found.magnetisation is None else _of_magnetisation(found.magnetisation)),
    }


def _print(source: str, target: Path | None, found: Estimate) -> None:
    density = found.density
    place = source if target is None else str(target)
    valence = ", ".join(f"{symbol} {count:g}" for symbol, count in found.valence.items())
    show(f"{place}: {common_formula(density.crystal.formula)}, {found.summary}")
    show(f"  grid {grid_text(density.grid)}, {density.n_electrons:.6f} electrons (valence {valence}), {found.model}")
    if found.magnetisation is not None:
        show(f"  {found.magnetisation.summary}, {found.magnetisation.model}")


def _of_magnetisation(found: Magnetisation) -> dict[str, Any]:
    return {
        "moment": found.moment,
        "magnetisation_error_expected": found.error,
        "magnetisation_error_90": found.limit,
        "magnetisation_model": found.model,
    }
