"""`chgdb encode` and `chgdb decode`: latents of one's own files, and back."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chgdb.formulas import common_formula
from chgdb_cli.arguments import (
    CatalogOption,
    ElementsOption,
    ForceOption,
    GridOption,
    JsonOption,
    SpacingOption,
    SymmetryOption,
    check_free,
    check_resampling,
    complete_id,
    load,
    parse_elements,
    target_grid,
)
from chgdb_cli.output import grid as grid_text
from chgdb_cli.output import message, percent, print_json, show

if TYPE_CHECKING:
    from chgdb import Density
    from chgdb.latents.autoencoder import Autoencoder
    from chgdb.latents.files import LatentFile

ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model", metavar="MODEL", help="Folder of an autoencoder, or the name of one. [default: the catalog's]"
    ),
]


def register(app: typer.Typer) -> None:
    app.command(
        epilog="""\b
Examples:
  chgdb encode CHGCAR -o latent.zarr     with structure, grid and electron count: decodes on its own
  chgdb encode CHGCAR -o latent.npy      the numbers alone, for numpy.load
  chgdb encode CHGCAR -o latent.npy --model my-model
  chgdb encode CHGCAR -o latent.zarr --model published --refine 60     half the error, in seconds""",
    )(encode)
    app.command(
        epilog="""\b
Examples:
  chgdb decode latent.zarr -o CHGCAR
  chgdb decode latent.npy --structure CHGCAR -o decoded/CHGCAR
  chgdb decode latent.npy --structure POSCAR --electrons 8 --spacing 0.08""",
    )(decode)


def encode(
    source: Annotated[
        str, typer.Argument(metavar="FILE", help="A density file, or a material id.", autocompletion=complete_id)
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="PATH", help="latent.npy or latent.zarr.")],
    model: ModelOption = None,
    refine: Annotated[
        int,
        typer.Option(min=0, metavar="N", help="Improve the latent by N steps of gradient descent; 60 do most of it."),
    ] = 0,
    elements: ElementsOption = None,
    catalog: CatalogOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Encode a density to the latent tensor of an autoencoder, and state the error of decoding it again.

    A .zarr carries the structure, the grid and the name of the model; a .npy the numbers alone.
    """
    from chgdb.latents import files as latent_files
    from chgdb.latents import stores

    if output.suffix not in (".npy", ".zarr"):
        raise typer.BadParameter("a latent goes to a .npy or a .zarr", param_hint="--output")
    check_free(output, force)
    loaded = stores.load_model(model)
    density = load(source, catalog, elements)
    coded = stores.encode(loaded, density, refine, progress=sys.stderr.isatty())
    output.parent.mkdir(parents=True, exist_ok=True)
    latent_files.write(output, coded, loaded, density, replace=force)
    wider = loaded.configuration.is_reduced(density.crystal.cell)
    if len(density.channels) > 1:
        message(f"{source}: the total density is encoded, not {', '.join(list(density.channels)[1:])}")
    facts: dict[str, Any] = {
        "path": str(output),
        "formula": density.crystal.formula,
        "model": loaded.identifier,
        "shape": list(coded.integers.shape),
        "step": loaded.step,
        "refined": refine,
        "nmae": coded.nmae,
        "n_electrons": density.n_electrons,
        "grid": list(density.grid),
        "spacing": coded.spacing,
        "reduced": wider,
    }
    if as_json:
        print_json(facts)
        return
    show(
        f"{output}: {common_formula(density.crystal.formula)}, latent {grid_text(coded.integers.shape)} of "
        f"{loaded.identifier}"
    )
    show(
        f"NMAE {percent(coded.nmae)} on its grid {grid_text(density.grid)}, "
        f"symmetric and rescaled to {density.n_electrons:.6f} electrons"
        + (f"; the cell is long: sampled every {coded.spacing:.3g} Å" if wider else "")
    )


def decode(
    source: Annotated[Path, typer.Argument(metavar="LATENT", help="A .npy or .zarr of chgdb encode.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="PATH", help="CHGCAR, cube or npz.")] = Path(
        "CHGCAR"
    ),
    structure: Annotated[
        Path | None, typer.Option(metavar="FILE", help="POSCAR or CHGCAR of the structure, for a .npy.")
    ] = None,
    elements: ElementsOption = None,
    electrons: Annotated[float | None, typer.Option(metavar="N", help="Electrons in the cell.")] = None,
    rescale: Annotated[
        bool, typer.Option("--rescale/--no-rescale", help="Scale the density to exactly that many electrons.")
    ] = True,
    symmetry: SymmetryOption = True,
    round_values: Annotated[
        bool, typer.Option("--round", help="Take numbers between the model's steps as the nearest step.")
    ] = False,
    grid: GridOption = None,
    spacing: SpacingOption = None,
    model: ModelOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Decode a latent tensor to a density (its total channel), and say what is known of its error.

    The electron count is that of the .zarr or of the CHGCAR given as the structure, unless --electrons says another.
    """
    from chgdb.formats import write
    from chgdb.latents import files as latent_files

    points = check_resampling(grid, spacing)
    check_free(output, force)
    found = latent_files.read(source)
    density, facts = _decoded(
        found,
        structure,
        parse_elements(elements),
        electrons,
        rescale,
        symmetry,
        round_values,
        points,
        spacing,
        model,
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    write(output, density)
    facts = {"path": str(output)} | facts
    if as_json:
        print_json(facts)
        return
    show(
        f"{output}: {common_formula(density.crystal.formula)}, grid {grid_text(density.grid)}, "
        f"{density.n_electrons:.6f} electrons {treatment(facts)}"
    )
    known = "" if facts["nmae"] is None else f"; NMAE {percent(facts['nmae'])} measured when it was encoded"
    show(f"decoded by {facts['model']}{known}")


def _decoded(
    found: LatentFile, structure: Path | None, elements: tuple[str, ...] | None, electrons: float | None,
    rescale: bool, symmetry: bool, round_values: bool, points: tuple[int, int, int] | None, spacing: float | None,
    model: str | None,
) -> tuple[Density, dict[str, Any]]:  # fmt: skip
    from chgdb.density import Density
    from chgdb.errors import FormatError
    from chgdb.formats import read_structure
    from chgdb.latents import stores

    crystal, native, count = found.crystal, found.grid, found.n_electrons
    if structure is not None:
        given = read_structure(structure, elements=elements)
        crystal, native, count = (
            (given.crystal, given.grid, given.n_electrons) if isinstance(given, Density) else (given, None, count)
        )
    if crystal is None:
        raise FormatError(f"{found.path} holds no structure: name a POSCAR or CHGCAR with --structure")
    if electrons is not None:
        count = electrons
    loaded: Autoencoder = stores.load_model(model)
    if spacing is not None or (points is None and native is None):
        spacing = spacing or min(0.1, loaded.configuration.spacing)
        points = target_grid(crystal.cell, None, spacing)
    points = points or native
    assert points is not None
    if count is None and loaded.configuration.target == "difference":
        raise FormatError(
            f"{found.path}: {loaded.identifier} needs the number of electrons in the cell: name a CHGCAR with "
            "--structure, or give --electrons"
        )
    integers = found.integers(loaded, round_values)
    density = stores.decode(loaded, integers, crystal, points, count, rescale, symmetry)
    nmae = found.nmae if structure is None and rescale and symmetry else None
    facts = {
        "formula": crystal.formula, "model": loaded.identifier, "grid": list(density.grid),
        "n_electrons": density.n_electrons, "rescaled": bool(rescale and count is not None),
        "symmetric": symmetry,
        "electrons_expected": count, "nmae": nmae,
    }  # fmt: skip
    return density, facts


def treatment(facts: dict[str, Any]) -> str:
    """The changes to the network's result, in brackets.

    >>> treatment({"symmetric": True, "rescaled": True})
    '(symmetric, rescaled to the exact count)'
    >>> treatment({"symmetric": False, "rescaled": False, "electrons_expected": 8.0})
    '(not rescaled; 8.000000 expected)'
    """
    if facts["rescaled"]:
        scaled = "rescaled to the exact count"
    elif facts["electrons_expected"] is None:
        scaled = "not rescaled: the exact count is not known"
    else:
        scaled = f"not rescaled; {facts['electrons_expected']:.6f} expected"
    return f"(symmetric, {scaled})" if facts["symmetric"] else f"({scaled})"
