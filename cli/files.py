"""`chgdb convert` and `chgdb diff`: densities in files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chgdb_cli.arguments import (
    CatalogOption,
    ElementsOption,
    ForceOption,
    GridOption,
    JsonOption,
    SpacingOption,
    check_free,
    check_resampling,
    complete_id,
    load,
    parse_elements,
    target_grid,
)
from chgdb_cli.output import grid as grid_text
from chgdb_cli.output import message, percent, print_json, show


def register(app: typer.Typer) -> None:
    app.command(
        short_help="Between file formats and grids.",
        epilog="""\b
Examples:
  chgdb convert CHGCAR NaCl.cube
  chgdb convert mp-149.json.gz CHGCAR              the Materials Project's JSON
  chgdb convert CHGCAR.gz CHGCAR_fine --spacing 0.05
  chgdb convert https://example.org/CHGCAR.gz Si.cube
  chgdb convert old/CHGCAR CHGCAR --elements Na,Cl VASP 4 files do not name their elements""",
    )(convert)
    app.command(
        short_help="NMAE, largest difference, electron counts.",
        epilog="""\b
Examples:
  chgdb diff CHGCAR other/CHGCAR
  chgdb diff CHGCAR mp-149                         a file and a material of the catalog
  chgdb diff a/CHGCAR b/CHGCAR --json | jq .nmae""",
    )(diff)


def convert(
    source: Annotated[str, typer.Argument(metavar="IN", help="File or URL to read.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="File to write; its name tells the format.")],
    grid: GridOption = None,
    spacing: SpacingOption = None,
    input_format: Annotated[
        str | None, typer.Option("--from", metavar="FORMAT", help="Format of IN. [default: by name, else by content]")
    ] = None,
    output_format: Annotated[
        str | None, typer.Option("--to", metavar="FORMAT", help="chgcar, cube or npz. [default: by name]")
    ] = None,
    elements: ElementsOption = None,
    force: ForceOption = False,
) -> None:
    """Convert between CHGCAR, cube, npz and the Materials Project's JSON (read only), or to another grid.

    Names ending in .gz, .bz2, .xz or .zst are compressed.
    """
    from chgdb.formats import read, write

    points = check_resampling(grid, spacing)
    check_free(target, force)
    density = read(source, format=input_format, elements=parse_elements(elements))
    points = target_grid(density.crystal.cell, points, spacing)
    if points is not None:
        density = density.resample(points)
    write(target, density, format=output_format)
    show(
        f"{target}: {density.crystal.formula}, {', '.join(density.channels)}, grid {grid_text(density.grid)}, "
        f"{density.n_electrons:.6f} electrons"
    )


def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="A file or a material id.", autocompletion=complete_id)],
    b: Annotated[str, typer.Argument(metavar="B", help="A file or a material id.", autocompletion=complete_id)],
    elements: ElementsOption = None,
    catalog: CatalogOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare two densities: NMAE relative to A, largest difference, electron counts.

    Where the grids differ, both are interpolated to the finer one.
    """
    from chgdb.comparison import compare

    first, second = load(a, catalog, elements), load(b, catalog, elements)
    result = compare(first, second)
    if result.cell_difference > 1e-3:
        message(
            f"the cells differ by up to {result.cell_difference:.3g} Å: compared at the same fractional coordinates"
        )
    if first.crystal.formula != second.crystal.formula:
        message(f"{first.crystal.formula} is compared with {second.crystal.formula}")
    if tuple(first.channels) != tuple(second.channels):
        message(f"only the channels of both are compared: {', '.join(result.channel_nmae)}")
    if as_json:
        print_json(
            {
                "a": a,
                "b": b,
                "nmae": result.nmae,
                "channel_nmae": result.channel_nmae,
                "max_error": result.max_error,
                "n_electrons": {"a": first.n_electrons, "b": second.n_electrons},
                "grids": {"a": list(first.grid), "b": list(second.grid)},
                "compared_on": list(result.grid),
                "cell_difference": result.cell_difference,
            }
        )
        return
    same = first.grid == second.grid
    grids = grid_text(first.grid) if same else f"{grid_text(first.grid)} and {grid_text(second.grid)}"
    channels = [f"{name} {percent(value)}" for name, value in result.channel_nmae.items()]
    show(f"NMAE           {percent(result.nmae)}" + (f" ({', '.join(channels)})" if len(channels) > 1 else ""))
    show(f"Largest error  {result.max_error:.4g} e/Å^3")
    difference = second.n_electrons - first.n_electrons
    more = f" (difference {difference:+.2g})" if abs(difference) >= 5e-7 else ""
    show(f"Electrons      {first.n_electrons:.6f} and {second.n_electrons:.6f}{more}")
    show(f"Grid           {grids}" + ("" if same else f", compared on {grid_text(result.grid)}"))
