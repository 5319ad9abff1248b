"""`chgdb fetch`: densities out of a catalog."""

from __future__ import annotations

import enum
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chgdb.formulas import common_formula
from chgdb.parallel.progress import reporting
from chgdb_cli.arguments import (
    CatalogOption,
    ForceOption,
    GridOption,
    JsonOption,
    SpacingOption,
    SymmetryOption,
    check_free,
    check_no_store,
    check_resampling,
    check_written,
    complete_format,
    complete_id,
    open_store,
    structure_line,
    target_grid,
    writes_structure,
)
from chgdb_cli.cells import (
    Cell,
    CellOption,
    SupercellOption,
    SymprecOption,
    described,
    parse_supercell,
    taken,
    tell_spacing,
)
from chgdb_cli.criteria import (
    Criteria,
    FormulaOption,
    OccurOption,
    OnlyOption,
    PredictedOption,
    SpaceGroupOption,
    WhereOption,
    chosen,
)
from chgdb_cli.curation import extracted, state
from chgdb_cli.encode import ModelOption, treatment
from chgdb_cli.output import grid as grid_text
from chgdb_cli.output import percent, print_json, show, size

if TYPE_CHECKING:
    from chgdb import Density, Record


class Codec(enum.StrEnum):
    stored = "stored"
    autoencoder = "autoencoder"


def register(app: typer.Typer) -> None:
    app.command(
        epilog="""\b
Examples:
  chgdb fetch mp-149 --decode                      writes ./CHGCAR
  chgdb fetch mp-149 --decode -o Si.cube           the suffix tells the format
  chgdb fetch mp-149 --decode -o Si.cif            the structure alone: also POSCAR and Si.xyz
  chgdb fetch mp-149 mp-66 --decode -o densities   writes densities/mp-149/CHGCAR and so on
  chgdb fetch mp-149 --decode --spacing 0.05       on a grid with points at most 0.05 Å apart
  chgdb fetch mp-149 --decode --cell conventional  in another cell, exact: also --supercell 2x2x2
  chgdb fetch mp-149 --decode --codec autoencoder  from the latent tensor instead of the record
  chgdb fetch --elements O --where band_gap:3.. --decode -o oxides
  chgdb fetch mp-149                               writes ./mp-149.zarr, the record as it is stored
  chgdb fetch mp-149 mp-66 -o two.zarr             both records, as one store""",
    )(fetch)


_Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="PATH",
        help="File to write; for several ids a folder, or NAME.zarr for one store.",
    ),
]
_Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="FORMAT",
        autocompletion=complete_format,
        help="With --decode: chgcar, cube, xsf or npz. [default: by the suffix of PATH, else chgcar]",
    ),
]
_CodecOption = Annotated[
    Codec,
    typer.Option(help="With --decode: the record as it is stored, or its latent tensor (total density, needs torch)."),
]
_Rescale = Annotated[
    bool,
    typer.Option(
        "--rescale/--no-rescale", help="Scale the density of a latent to exactly the record's electron count."
    ),
]


def fetch(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="ID", help="Material ids.", autocompletion=complete_id)
    ] = None,
    elements: OccurOption = None,
    only: OnlyOption = None,
    formula: FormulaOption = None,
    space_group: SpaceGroupOption = None,
    where: WhereOption = None,
    predicted: PredictedOption = None,
    decode: Annotated[bool, typer.Option("--decode", help="Decode to a file that other programs read.")] = False,
    output: _Output = None,
    format: _Format = None,
    grid: GridOption = None,
    spacing: SpacingOption = None,
    cell: CellOption = None,
    supercell: SupercellOption = None,
    symprec: SymprecOption = None,
    codec: _CodecOption = Codec.stored,
    rescale: _Rescale = True,
    symmetry: SymmetryOption = True,
    model: ModelOption = None,
    catalog: CatalogOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write densities of a catalog to files, and state their error.

    With --decode a CHGCAR, cube, XSF or npz that VASP, VESTA, pymatgen and ASE read; without it the compressed record
    as a store of its own, or those of several as one store. Name materials, or give criteria as for chgdb search.
    Existing files are not overwritten; a file that holds the same already is no error.
    """
    points = check_resampling(grid, spacing)
    check_written(format)
    latent = codec is Codec.autoencoder
    repeats = parse_supercell(supercell)
    change = _Change(cell, repeats, symprec) if cell is not None or repeats is not None else None
    if not decode and (format or grid or spacing or latent or change):
        raise typer.BadParameter(
            "--format, --grid, --spacing, --cell, --supercell and --codec need --decode", param_hint="--decode"
        )
    if latent and change:
        raise typer.BadParameter("a latent is decoded in the cell of its record", param_hint="--codec")
    if not latent and (model or not rescale or not symmetry):
        raise typer.BadParameter(
            "--model, --no-rescale and --no-symmetry need --codec autoencoder", param_hint="--codec"
        )
    criteria = Criteria.of(elements, only, formula, space_group, where, predicted)
    opened = open_store(catalog)
    wanted = chosen(opened, ids, criteria)
    if decode and output is not None and not format and writes_structure(output):
        if len(wanted) > 1 or points is not None or spacing is not None or latent:
            raise typer.BadParameter(f"{output} holds the structure of one material, without a grid", param_hint="-o")
        _fetch_structure(opened[wanted[0]], output, change, force, as_json)
        return
    several = len(wanted) > 1 or bool(criteria)  # criteria make a folder, however many materials meet them
    if several and decode and output is not None and _names_a_file(output):
        if len(wanted) > 1:
            said = f"{output} is one file, and these are {len(wanted)} materials: name a folder"
            raise typer.BadParameter(said, param_hint="-o")
        several = False
    opened.prefetch(wanted)
    if several and not decode and output is not None and output.rstrip("/").endswith(".zarr"):
        check_free(output, force)
        state(output, extracted(opened, wanted, output, force), "", as_json)
        return
    records = [opened[material_id] for material_id in wanted]
    facts = []
    with reporting(several and sys.stderr.isatty(), "Fetching", 0, len(records)) as step:
        for record in records:
            path = _target(record.material_id, output, decode, format, several)
            if latent:
                facts.append(_decode_latent(record, path, format, points, spacing, force, rescale, symmetry, model))
            elif decode:
                facts.append(_decode(record, path, format, points, spacing, change, force))
            else:
                check_free(path, force)
                facts.append(_extract(record, path, force))
            step(record.material_id)
    if as_json:
        print_json(facts if several else facts[0])
    else:
        show("\n\n".join(_latent_statement(fact) if latent else _statement(fact) for fact in facts))


@dataclass(frozen=True)
class _Change:
    """The cell that densities are taken to."""

    cell: Cell | None
    supercell: list[list[int]] | None
    symprec: float | None

    def __call__(self, density: Density, name: str) -> Density:
        from chgdb.errors import DensityError

        try:
            return taken(density, name, cell=self.cell, symprec=self.symprec, supercell=self.supercell)
        except DensityError as error:
            raise DensityError(f"{name}: {error}") from None


def _fetch_structure(record: Record, path: str, change: _Change | None, force: bool, as_json: bool) -> None:
    """The structure of a material alone, as POSCAR, CIF or XYZ."""
    from chgdb.formats import write_structure

    check_free(path, force)
    # The density decides its symmetry together with the atoms, as where it is written itself.
    crystal = record.crystal if change is None else change(record.density, record.material_id).crystal
    write_structure(path, crystal)
    facts = {"material_id": record.material_id, "formula": record.formula, "path": path, "atoms": len(crystal)}
    if as_json:
        print_json(facts)
    else:
        show(structure_line(path, crystal))


def _names_a_file(output: str) -> bool:
    """Whether a path that is no folder ends as the file of a density does, such as x.cube; CHGCARs may be a folder."""
    from chgdb.formats import format_of_name

    return bool(os.path.splitext(output)[1]) and not os.path.isdir(output) and format_of_name(output) is not None


def _target(material_id: str, output: str | None, decode: bool, format: str | None, several: bool) -> str:
    """Path of one material. Raises `StoreError` if `output` is a store and a folder is needed."""
    store = output is not None and os.path.isfile(os.path.join(output, "zarr.json"))
    if output is not None and (several or decode):
        check_no_store(output)
    if output is not None and not several and (store or not os.path.isdir(output)) and not output.endswith(os.sep):
        return output
    kind = format or "chgcar"
    if decode and kind == "chgcar" and not several:
        name = "CHGCAR"
    else:
        from chgdb.inputs.ids import file_name

        stem = file_name(material_id)
        name = f"{stem}.zarr" if not decode else os.path.join(stem, "CHGCAR")
        if decode and kind != "chgcar":
            from chgdb.formats import ending

            name = f"{stem}{ending(kind)}"
    return os.path.join(output or "", name)


def _write(path: str, density: Density, format: str) -> None:
    from chgdb.formats import write

    write(path, density, format=format)


def _make_parent(path: str) -> None:
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)


def _decode(
    record: Record,
    path: str,
    format: str | None,
    points: tuple[int, int, int] | None,
    spacing: float | None,
    change: _Change | None,
    force: bool,
) -> dict[str, Any]:
    if not os.path.isfile(path):
        check_free(path, force)
    if change is None:
        points = target_grid(record.crystal.cell, points, spacing)
        density = record.decode(points)
    else:
        before = record.decode()
        density = change(before, record.material_id)
        points = target_grid(density.crystal.cell, points, spacing)
        if points is None:
            tell_spacing(density, before)
        else:
            density = density.resample(points)
    missing = _put(path, density, format, force)
    formula, native = density.crystal.formula, record.grid if points else density.grid
    facts = _facts(record, path, formula, native, density.n_electrons) | {"grid": list(density.grid)}
    if change is not None:
        facts |= {"native_grid": list(record.grid), "cell": described(density, before)}
    return facts | ({"left_out": missing} if missing else {})


def _put(path: str, density: Density, format: str | None, force: bool) -> list[str]:
    """Write a density unless the file holds it already. Returns the channels that were left out.

    The format is CHGCAR where the name tells none. Raises `FormatError` if it tells one that cannot be written.
    """
    from chgdb.formats import left_out, output_format

    kind = format or output_format(path, "chgcar")
    _make_parent(path)
    if force or not os.path.lexists(path):
        _write(path, density, kind)
    elif not _holds(path, density, kind):
        check_free(path, force)
    return left_out(path, density, format=kind)


def _decode_latent(
    record: Record,
    path: str,
    format: str | None,
    points: tuple[int, int, int] | None,
    spacing: float | None,
    force: bool,
    rescale: bool,
    symmetry: bool,
    model: str | None,
) -> dict[str, Any]:
    from chgdb.latents import stores

    if not os.path.isfile(path):
        check_free(path, force)
    loaded = stores.load_model(model)
    if spacing is not None:
        points = target_grid(record.crystal.cell, None, spacing)
    density = stores.decode_record(record, loaded, points, rescale, symmetry)
    _put(path, density, format, force)
    values = record.metadata
    return {
        "material_id": record.material_id,
        "formula": record.formula,
        "path": path,
        "codec": "autoencoder",
        "model": loaded.identifier,
        "native_grid": list(record.grid),
        "grid": list(density.grid),
        "n_electrons": density.n_electrons,
        "electrons_expected": record.n_electrons,
        "rescaled": rescale,
        "symmetric": symmetry,
        "nmae": values["latent_nmae"],
        "sampled_spacing": values["latent_spacing"],
        "stored_bytes": record.latent_bytes,
        "text_bytes": record.text_bytes,
        "left_out": list(record.channels[1:]),
    }


def _without(facts: dict[str, Any]) -> str:
    return f", without {', '.join(facts['left_out'])}" if facts.get("left_out") else ""


def _latent_statement(facts: dict[str, Any]) -> str:
    """Two lines: what was written and what was done to it; how wrong it is, and against what."""
    as_measured = facts["rescaled"] and facts["symmetric"] and facts["grid"] == facts["native_grid"]
    how = (
        ""
        if as_measured
        else f" (measured symmetric and rescaled, on the native grid {grid_text(facts['native_grid'])})"
    )
    return (
        f"{facts['path']}: {common_formula(facts['formula'])} ({facts['material_id']}), "
        f"grid {grid_text(facts['grid'])}, {facts['n_electrons']:.6f} electrons {treatment(facts)}{_without(facts)}\n"
        f"NMAE {percent(facts['nmae'])} to the stored density{how}; latent of {facts['model']}, "
        f"stored in {size(facts['stored_bytes'])}"
    )


def _holds(path: str, density: Density, kind: str) -> bool:
    """Whether a file is already what would be written: fetching the same density twice is no error."""
    import filecmp
    import tempfile

    with tempfile.TemporaryDirectory(
        prefix="chgdb-"
    ) as folder:  # not beside the file: a killed process leaves nothing there
        fresh = os.path.join(folder, os.path.basename(path))
        _write(fresh, density, kind)
        return filecmp.cmp(fresh, path, shallow=False)


def _extract(record: Record, path: str, force: bool) -> dict[str, Any]:
    from chgdb.errors import StoreError
    from chgdb.extraction import extract

    if os.path.exists(record.catalog.path) and os.path.realpath(record.catalog.path) == os.path.realpath(path):
        raise StoreError(
            f"{path} is the catalog itself, and would lose its other materials; choose another name with -o"
        )
    extract(record.catalog, [record.material_id], path, replace=force)
    grid = record.grid
    return _facts(record, path, record.formula, grid, record.n_electrons) | {"grid": list(grid)}


def _facts(record: Record, path: str, formula: str, grid: tuple[int, int, int], n_electrons: float) -> dict[str, Any]:
    return {
        "material_id": record.material_id,
        "formula": formula,
        "path": path,
        "native_grid": list(grid),
        "n_electrons": n_electrons,
        "nmae": record.nmae,
        "tolerance": record.tolerance,
        "max_error": record.max_error,
        "occupancy_error": record.occupancy_error,
        "occupancy_tolerance": record.occupancy_tolerance,
        "stored_bytes": record.stored_bytes,
        "text_bytes": record.text_bytes,
    }


def _statement(facts: dict[str, Any]) -> str:
    """What was written, how wrong it may be, and of which size another cell is, a line each."""
    resampled = facts["grid"] != facts["native_grid"]
    where = f" (measured on the native grid {grid_text(facts['native_grid'])})" if resampled else ""
    if facts["tolerance"] == 0:
        error = "lossless"
    else:
        error = f"NMAE {percent(facts['nmae'])} (tolerance {percent(facts['tolerance'])})"
        error += f", largest error {facts['max_error']:.2g} e/Å^3{where}"
    if facts["occupancy_error"] is not None:
        error += f"; augmentation occupancies to {percent(facts['occupancy_error'])} of the largest of an atom"
    return (
        f"{facts['path']}: {common_formula(facts['formula'])} ({facts['material_id']}), "
        f"grid {grid_text(facts['grid'])}, {facts['n_electrons']:.6f} electrons{_without(facts)}\n"
        f"{error}; stored in {size(facts['stored_bytes'])}" + (f"\n{facts['cell']}" if "cell" in facts else "")
    )
