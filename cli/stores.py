"""`chgdb build` and `chgdb verify`: stores of one's own."""

from __future__ import annotations

import enum
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chgdb_cli.arguments import ElementsOption, JsonOption, QuietOption, SchedulerOption, parse_elements
from chgdb_cli.encode import ModelOption
from chgdb_cli.output import count, message, percent, print_json, show, size

if TYPE_CHECKING:
    from chgdb.ingest import BuildReport

_COUNTED = ("added", "replaced", "updated", "skipped", "refused")


class Prior(enum.StrEnum):
    auto = "auto"
    fit = "fit"
    none = "none"


class Effort(enum.StrEnum):
    fast = "fast"
    normal = "normal"
    best = "best"


def register(app: typer.Typer) -> None:
    app.command(
        epilog="""\b
Examples:
  chgdb build my.zarr runs/                        every CHGCAR below runs; ids are the folders' names
  chgdb build my.zarr 'runs/*/CHGCAR.gz' NaCl.cube
  chgdb build my.zarr runs/ --properties gaps.csv  columns of a CSV, joined by its column material_id
  chgdb build my.zarr --properties more.csv        columns for a store that exists
  chgdb build my.zarr runs/ --id-from '{parent2}'  ids by the folders above those of the files
  chgdb build my.zarr runs/ --tolerance 1e-3       smaller: at most 0.1 % error instead of 0.01 %
  chgdb build my.zarr runs/ --occupancies exact    augmentation occupancies byte for byte
  chgdb build my.zarr runs/ --code VASP --functional PBE --energy-cutoff 520
  chgdb build my.zarr runs/ --predict              and what a model predicts for each
  chgdb build my.zarr --latents                    latent tensors, for all that have none
  chgdb build my.zarr more/ --replace              add to a store, new versions replace old ones
  chgdb build mp.zarr mp://mp-149,mp-22862         tasks of the Materials Project's bucket; mp:// for all
  chgdb build ecd.zarr list+https://host/list.csv  what a list on a file server names
  chgdb build my.zarr runs/ --scheduler tcp://host:8786   on the workers of a Dask cluster""",
    )(build)
    app.command(
        epilog="""\b
Examples:
  chgdb verify                                     the embedded catalog: every checksum
  chgdb verify my.zarr --deep                      decode every record as well
  chgdb verify my.zarr --deep --originals runs/    and measure its error again""",
    )(verify)


_Inputs = Annotated[
    list[str] | None,
    typer.Argument(metavar="INPUT", help="Files, folders, glob patterns, URLs, collections (mp://, list+https://...)."),
]
_Tolerance = Annotated[
    float | None, typer.Option(metavar="NMAE", help="Largest error allowed, as a fraction. [default: 1e-4]")
]
_Ids = Annotated[
    Path | None,
    typer.Option(metavar="CSV", help="Ids of the materials: a CSV with the columns path and material_id."),
]
_IdFrom = Annotated[
    str | None,
    typer.Option(metavar="TEMPLATE", help="Ids of the materials, made of their paths, such as '{parent2}'."),
]
_PropertiesTable = Annotated[Path | None, typer.Option(metavar="CSV", help="Columns to store, joined by material_id.")]
_Append = Annotated[bool, typer.Option("--append/--no-append", help="Add to a store that exists, or refuse to.")]
_PriorOption = Annotated[
    Prior,
    typer.Option(help="Atomic densities to subtract: the store's or the embedded ones, newly fitted, or none."),
]
_Extras = Annotated[bool, typer.Option("--extras/--no-extras", help="Keep augmentation occupancies and per-ion lines.")]
_OccupancyError = Annotated[
    str,
    typer.Option(
        metavar="ERROR",
        help="Largest error of an augmentation occupancy, as a fraction of the largest of its atom and channel; "
        "auto is half of the tolerance, exact keeps the text byte for byte.",
    ),
]
_EffortOption = Annotated[
    Effort, typer.Option(help="How long to look for smaller records, most of all of crystals of little symmetry.")
]
_Predict = Annotated[
    bool | None,
    typer.Option(
        "--predict/--no-predict",
        help="Predict properties of every material. [default: if the store has predictions]",
        show_default=False,
    ),
]
_Latents = Annotated[bool, typer.Option("--latents", help="Add the latent tensors of an autoencoder (needs torch).")]


_Potcar = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="A POTCAR or vasprun.xml beside each density: PAW sets by title and hash, functional, charge.",
    ),
]


def build(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the store, made or added to.")],
    inputs: _Inputs = None,
    tolerance: _Tolerance = None,
    lossless: Annotated[bool, typer.Option("--lossless", help="Keep every digit; the same as --tolerance 0.")] = False,
    ids: _Ids = None,
    id_from: _IdFrom = None,
    properties: _PropertiesTable = None,
    elements: ElementsOption = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace records that have the same id.")] = False,
    append: _Append = True,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes. [default: one for each core]")] = None,
    scheduler: SchedulerOption = None,
    prior: _PriorOption = Prior.auto,
    extras: _Extras = True,
    occupancies: _OccupancyError = "auto",
    effort: _EffortOption = Effort.normal,
    code: Annotated[str | None, typer.Option(help="Program that computed the densities.")] = None,
    functional: Annotated[str | None, typer.Option(help="Exchange-correlation functional.")] = None,
    energy_cutoff: Annotated[float | None, typer.Option(metavar="eV", help="Plane-wave cutoff energy.")] = None,
    structure_source: Annotated[str | None, typer.Option(help="Where the structures come from.")] = None,
    licence: Annotated[str | None, typer.Option(help="Licence of the densities.")] = None,
    potcar: _Potcar = None,
    title: Annotated[str | None, typer.Option(help="Title of the store.")] = None,
    predict: _Predict = None,
    latents: _Latents = False,
    model: ModelOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Pack density files into a store; run it again to go on after an interruption.

    Reads CHGCAR, CHG, AECCAR, PARCHG, cube, XSF, the Materials Project's JSON, and densities of Quantum ESPRESSO and
    ABINIT, plain or compressed. The error of every record is measured by decoding it. Files that cannot be packed are
    listed on standard error, and the exit code is then 1.
    """
    from chgdb.building import build as build_store
    from chgdb.codecs import DEFAULT_TOLERANCE

    if lossless and tolerance:
        raise typer.BadParameter("give either --tolerance or --lossless", param_hint="--lossless")
    if model and not latents:
        raise typer.BadParameter("--model needs --latents", param_hint="--model")
    if ids and id_from:
        raise typer.BadParameter("give either --ids or --id-from", param_hint="--id-from")
    if not inputs and not (latents or predict or properties):
        raise typer.BadParameter(
            "name the files to pack, or give --properties, --latents or --predict", param_hint="INPUT"
        )
    given = {
        "code": code,
        "functional": functional,
        "energy_cutoff": energy_cutoff,
        "structure_source": structure_source,
        "licence": licence,
    }
    report = build_store(
        out,
        inputs or None,
        ids=ids,
        id_from=id_from,
        properties=properties,
        elements=parse_elements(elements),
        tolerance=0.0 if lossless else DEFAULT_TOLERANCE if tolerance is None else tolerance,
        workers=workers,
        scheduler=scheduler,
        on_duplicate="replace" if replace else "refuse",
        append=append,
        prior={Prior.auto: "auto", Prior.fit: "fit", Prior.none: None}[prior],
        provenance={name: value for name, value in given.items() if value is not None},
        attributes={"title": title} if title else None,
        keep_extras=extras,
        occupancies=_occupancies(occupancies),
        latents=model or latents,
        predictions=predict,
        progress=not quiet and sys.stderr.isatty(),
        potcar=potcar,
        effort=effort.value,
    )
    _say(report)
    (print_json if as_json else _print_report)(_facts(report))
    if not report.complete:
        raise typer.Exit(1)


def _occupancies(text: str) -> Any:
    """auto, exact or a number."""
    if text in ("auto", "exact"):
        return text
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise typer.BadParameter(f"{text!r} is not auto, exact or a fraction, such as 1e-4", param_hint="--occupancies")
    return value


def _say(report: BuildReport) -> None:
    """Print the notes of a build on standard error, and what was left out or refused."""
    for note in report.notes:
        message(f"note: {note}")
    for source, reason in report.left_out:
        message(f"left out: {reason}" if source in reason else f"left out: {source}: {reason}")
    for source, reason in report.refused:
        message(f"refused: {reason}" if source in reason else f"refused: {source}: {reason}")
    for material_id, reason in report.latents.refused if report.latents else ():
        message(f"no latent: {material_id}: {reason}")


def _facts(report: BuildReport) -> dict[str, Any]:
    """A report and its store as JSON."""

    def reasons(pairs: Iterable[tuple[str, str]], what: str = "source") -> list[dict[str, str]]:
        return [{what: name, "reason": reason} for name, reason in pairs]

    facts: dict[str, Any] = {
        "path": report.path,
        **{kind: list(getattr(report, kind)) for kind in ("added", "replaced", "skipped", "updated", "notes")},
        "refused": reasons(report.refused),
        "left_out": reasons(report.left_out),
    }
    if report.latents:
        done = report.latents
        facts["latents"] = {
            "model": done.model,
            "added": list(done.added),
            "kept": done.kept,
            "refused": reasons(done.refused, "material_id"),
            **_errors_of_latents(report.path),
        }
    if report.predictions:
        facts["predictions"] = report.predictions
    return facts | _size_of(report.path)


def _errors_of_latents(path: str) -> dict[str, float | None]:
    from chgdb.catalog import open_catalog

    catalog = open_catalog(Path(path).absolute())
    errors = sorted(e for e in catalog.column("latent_nmae").tolist() if e == e) if catalog.latent_model else []
    return {
        "median_nmae": errors[len(errors) // 2] if errors else None,
        "largest_nmae": errors[-1] if errors else None,
    }


def _size_of(path: str) -> dict[str, Any]:
    """Size and error of the store; nothing where everything was refused and there is none."""
    from chgdb.catalog import open_catalog
    from chgdb.errors import StoreError

    try:
        whole = open_catalog(Path(path).absolute()).info()
    except StoreError:
        return {"n_materials": 0}
    return {key: whole[key] for key in ("n_materials", "stored_bytes", "payload_bytes", "text_bytes", "largest_nmae")}


def _print_report(facts: dict[str, Any]) -> None:
    counts = [f"{len(facts[kind])} {kind}" for kind in _COUNTED if facts[kind]]
    show(f"{facts['path']}: {', '.join(counts) or 'nothing to do'}")
    if facts["n_materials"]:
        show(
            f"{count(facts['n_materials'], 'material')}, maximum NMAE {percent(facts['largest_nmae'])}; "
            f"{size(facts['text_bytes'])} of text in {size(facts['payload_bytes'])} "
            f"({size(facts['stored_bytes'])} with metadata)"
        )
    if facts.get("latents"):
        done = facts["latents"]
        known = "" if done["median_nmae"] is None else f"; NMAE {percent(done['median_nmae'])} (median)"
        known += "" if done["largest_nmae"] is None else f", {percent(done['largest_nmae'])} (largest)"
        show(f"latents of {done['model']}: {len(done['added'])} added, {done['kept']} kept{known}")
    if facts.get("predictions"):
        show(f"properties predicted by {facts['predictions']}: see chgdb search --predicted")


def verify(
    store: Annotated[
        str | None, typer.Argument(metavar="STORE", help="Folder, .zip, URL or name; else the embedded catalog.")
    ] = None,
    deep: Annotated[bool, typer.Option("--deep", help="Decode every record and compare it with its columns.")] = False,
    originals: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="With --deep: files to measure the error against again.")
    ] = None,
    elements: ElementsOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Check every byte of a store; the exit code is 1 where anything is wrong."""
    from chgdb.verification import verify as verify_store

    if originals is not None and not deep:
        raise typer.BadParameter("--originals needs --deep", param_hint="--originals")
    report = verify_store(
        store,
        deep=deep,
        originals=originals,
        elements=parse_elements(elements),
        progress=not quiet and sys.stderr.isatty(),
    )
    for problem in report.problems:
        message(problem.message if problem.where in problem.message else f"{problem.where}: {problem.message}")
    for note in report.remarks:
        message(f"note: {note.where}: {note.message}")
    if as_json:
        print_json(
            {
                "path": report.path,
                "ok": report.ok,
                "n_materials": report.n_materials,
                "n_files": report.n_files,
                "deep": report.deep,
                "measured": report.measured,
                "problems": [{"where": problem.where, "message": problem.message} for problem in report.problems],
                "remarks": [{"where": note.where, "message": note.message} for note in report.remarks],
                "lost": list(report.lost),
            }
        )
    else:
        checked = [count(report.n_materials, "material"), count(report.n_files, "file")]
        checked += [f"{count(report.measured, 'error')} measured again"] if originals is not None else []
        verdict = (
            "all well"
            if report.ok
            else f"{count(len(report.problems), 'problem')}, {count(len(report.lost), 'material')} lost"
        )
        show(f"{report.path}: {', '.join(checked)}: {verdict}")
    if not report.ok:
        raise typer.Exit(1)
