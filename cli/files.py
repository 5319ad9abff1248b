"""`chgdb convert` and `chgdb diff`: densities in files."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chgdb.formulas import common_formula
from chgdb_cli.arguments import (
    CatalogOption,
    ElementsOption,
    ForceOption,
    GridOption,
    JsonOption,
    SpacingOption,
    check_free,
    check_read,
    check_resampling,
    check_written,
    complete_channel,
    complete_format,
    complete_id,
    load,
    parse_elements,
    remark,
    structure_line,
    target_grid,
    tell_missing_atoms,
    writes_structure,
)
from chgdb_cli.cells import (
    AlignOption,
    CellOption,
    RotateOption,
    ShiftOption,
    SupercellOption,
    SymprecOption,
    described,
    parse_rotation,
    parse_shift,
    parse_supercell,
    taken,
    tell_spacing,
)
from chgdb_cli.output import grid as grid_text
from chgdb_cli.output import message, percent, print_json, show

if TYPE_CHECKING:
    from chgdb import Crystal, Density
    from chgdb.comparison import Comparison


def register(app: typer.Typer) -> None:
    app.command(
        epilog="""\b
Examples:
  chgdb convert CHGCAR NaCl.cube
  chgdb convert mp-149.json.gz CHGCAR              the Materials Project's JSON
  chgdb convert CHGCAR.gz CHGCAR_fine --spacing 0.05
  chgdb convert CHGCAR Si8.CHGCAR --cell conventional
  chgdb convert mp-149 Si16.CHGCAR --supercell 2x2x2
  chgdb convert CHGCAR spin.cube --channel magnetization
  chgdb convert CHGCAR CHGCAR_up --channel spin_up
  chgdb convert CHGCAR NaCl.cif                    the structure alone: also POSCAR and NaCl.xyz
  chgdb convert https://example.org/CHGCAR.gz Si.cube
  chgdb convert old/CHGCAR CHGCAR --elements Na,Cl VASP 4 files do not name their elements""",
    )(convert)
    app.command(
        epilog="""\b
Examples:
  chgdb diff CHGCAR other/CHGCAR
  chgdb diff CHGCAR mp-149                         a file and a material of the catalog
  chgdb diff a/CHGCAR b/CHGCAR --shift auto        B moved onto the atoms of A
  chgdb diff a/CHGCAR b/CHGCAR --json | jq .nmae""",
    )(diff)


_To = Annotated[
    str | None,
    typer.Option(
        "--to",
        metavar="FORMAT",
        autocompletion=complete_format,
        help="chgcar, cube, xsf or npz. [default: by name]",
    ),
]
_Channel = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        autocompletion=complete_channel,
        help="One field alone: total, spin_up, spin_down, magnetization or magnetization_x, _y, _z, _norm. "
        "[default: all that the format holds]",
    ),
]


def convert(
    source: Annotated[
        str, typer.Argument(metavar="IN", help="File or URL to read, or a material id.", autocompletion=complete_id)
    ],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="File to write; its name tells the format.")],
    grid: GridOption = None,
    spacing: SpacingOption = None,
    input_format: Annotated[
        str | None, typer.Option("--from", metavar="FORMAT", help="Format of IN. [default: by name, else by content]")
    ] = None,
    output_format: _To = None,
    channel: _Channel = None,
    cell: CellOption = None,
    supercell: SupercellOption = None,
    shift: ShiftOption = None,
    rotate: RotateOption = None,
    align: AlignOption = False,
    symprec: SymprecOption = None,
    elements: ElementsOption = None,
    catalog: CatalogOption = None,
    force: ForceOption = False,
) -> None:
    """Convert between CHGCAR, cube, XSF, npz and the Materials Project's JSON (read only), to another grid or cell.

    Exact in Fourier space: --shift, --cell, --supercell, --rotate or --align, then --grid or --spacing, in this order.
    A name such as POSCAR, Si.cif or Si.xyz gets the structure alone, of a density or of a structure. Names ending in
    .gz, .bz2, .xz or .zst are compressed.
    """
    from chgdb.density import ScalarField
    from chgdb.formats import left_out, write

    points = check_resampling(grid, spacing)
    check_read(input_format)
    check_written(output_format, "--to")
    repeats, offset, rotation = parse_supercell(supercell), parse_shift(shift), parse_rotation(rotate)
    check_free(target, force)
    change = partial(
        taken, name=source, shift=offset, cell=cell, symprec=symprec, supercell=repeats, rotation=rotation, align=align
    )
    if output_format is None and writes_structure(target):
        if points is not None or spacing is not None or channel is not None:
            raise typer.BadParameter("a structure has no grid and no channels", param_hint="OUT")
        _convert_structure(source, target, input_format, elements, catalog, change)
        return
    before = load(source, catalog, elements) if input_format is None else _read_as(source, input_format, elements)
    density = change(before)
    points = target_grid(density.crystal.cell, points, spacing)
    if points is not None:
        density = density.resample(points)
    if channel is not None:
        density = density.only(channel)
    missing = left_out(target, density, format=output_format)
    write(target, density, format=output_format)
    quantity = density.quantity if isinstance(density, ScalarField) else ""
    written = [channel or quantity] if channel or quantity else [n for n in density.channels if n not in missing]
    if missing:
        message(
            f"{target}: without {', '.join(missing)}, as a cube holds one field; --channel {missing[0]} writes that "
            "to a cube of its own"
        )
    show(
        f"{target}: {common_formula(density.crystal.formula)}, {', '.join(written)}, grid {grid_text(density.grid)}, "
        f"{density.n_electrons + 0.0:.6f} {'μB' if 'magnetization' in quantity else 'electrons'}"
    )
    if cell is not None or repeats is not None:
        show(described(density, before))
        if points is None:
            tell_spacing(density, before)


def _read_as(source: str, input_format: str, elements: str | None) -> Density:
    from chgdb.formats import read

    density = read(source, format=input_format, elements=parse_elements(elements))
    tell_missing_atoms(source, density.crystal)
    remark(source, density)
    return density


def _convert_structure(
    source: str,
    target: Path,
    input_format: str | None,
    elements: str | None,
    catalog: str | None,
    change: Callable[[Density], Density],
) -> None:
    import numpy as np

    from chgdb.density import Density
    from chgdb.formats import read_any, write_structure

    found: Density | Crystal
    if input_format is None and not os.path.lexists(source) and os.sep not in source:
        found = load(source, catalog)  # a material, as where a density is written
    else:
        found = read_any(source, format=input_format, elements=parse_elements(elements))
    # A constant repeats with every cell that the atoms repeat with.
    density = found if isinstance(found, Density) else Density(found, {"total": np.ones((1, 1, 1))})
    crystal = change(density).crystal
    tell_missing_atoms(source, crystal)
    write_structure(target, crystal)
    show(structure_line(target, crystal))


def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="A file or a material id.", autocompletion=complete_id)],
    b: Annotated[str, typer.Argument(metavar="B", help="A file or a material id.", autocompletion=complete_id)],
    shift: Annotated[
        str | None,
        typer.Option(metavar="X,Y,Z|auto", help="Move B by these fractions of the lattice vectors, or onto A's atoms."),
    ] = None,
    elements: ElementsOption = None,
    catalog: CatalogOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare two densities: NMAE relative to A, largest difference, electron counts.

    If the grids differ, both are interpolated to the finer one. A message says where the atoms of B lie
    elsewhere than those of A, and which shift would bring them there.
    """
    from chgdb.comparison import compare
    from chgdb.crystal import CLOSE

    first, second = load(a, catalog, elements), load(b, catalog, elements)
    offset = _parse_shift(shift, first.crystal, second.crystal)
    result = compare(first, second, shift=offset)
    if result.cell_difference > 1e-3:
        message(
            f"the cells differ by up to {result.cell_difference:.3g} Å: compared at the same fractional coordinates"
        )
    if first.crystal.formula != second.crystal.formula:
        message(f"{common_formula(first.crystal.formula)} is compared with {common_formula(second.crystal.formula)}")
    if result.atom_distance > CLOSE:
        message(_elsewhere(result))
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
                "atom_distance": result.atom_distance,
                "suggested_shift": result.suggested_shift,
                "shift": offset,
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


def _elsewhere(result: Comparison) -> str:
    """The message about atoms that lie at other places."""
    text = f"the atoms of B lie up to {result.atom_distance:.2f} Å from those of A"
    if result.suggested_shift is None:
        return f"{text}, and no shift brings them together"
    fractions = ",".join(f"{fraction:g}" for fraction in result.suggested_shift)
    return f"{text}: the same places but for a shift, which --shift {fractions} (or auto) takes out"


def _parse_shift(text: str | None, a: Crystal, b: Crystal) -> tuple[float, float, float] | None:
    """The shift of B that --shift asks for."""
    if text is None:
        return None
    if text.strip() == "auto":
        from chgdb.comparison import atoms_apart
        from chgdb.crystal import CLOSE
        from chgdb.errors import DensityError

        distance, shift = atoms_apart(a, b)
        if shift is None and not distance <= CLOSE:
            raise DensityError("no shift brings the atoms of B to those of A; give one as three fractions")
        return shift
    try:
        x, y, z = (float(part) for part in text.replace(",", " ").split())
    except ValueError:
        x = y = z = math.nan
    if not all(map(math.isfinite, (x, y, z))):
        raise typer.BadParameter(f"{text!r} is not a shift such as 0.25,0.25,0.25, or auto", param_hint="--shift")
    return x, y, z
