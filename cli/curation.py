"""`chgdb merge`, `subset`, `remove`, `rename` and `add-columns`: stores that exist, changed as wholes."""

from __future__ import annotations

import enum
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chgdb_cli.arguments import ForceOption, JsonOption, QuietOption, complete_id, open_store
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
from chgdb_cli.output import count, message, percent, print_json, show, size

if TYPE_CHECKING:
    from chgdb import Catalog


class Keep(enum.StrEnum):
    first = "first"
    last = "last"


_Store = Annotated[str, typer.Argument(metavar="STORE", help="Folder of the store.")]


def register(app: typer.Typer) -> None:
    app.command(
        epilog="""\b
Examples:
  chgdb merge all.zarr mine.zarr yours.zarr
  chgdb merge mine.zarr mine.zarr yours.zarr        mine.zarr takes the other one in
  chgdb merge all.zarr old.zarr new.zarr --keep last
  chgdb merge all.zarr mine.zarr https://example.org/theirs.zarr --title 'our oxides'""",
    )(merge)
    app.command(
        epilog="""\b
Examples:
  chgdb subset my.zarr -o two.zarr mp-149 mp-13
  chgdb subset my.zarr -o oxides.zarr --elements O --where band_gap:3..
  chgdb subset my.zarr -o hard.zarr --predicted bulk_modulus:200..""",
    )(subset)
    app.command(
        epilog="""\b
Examples:
  chgdb remove my.zarr run_17
  chgdb search --catalog my.zarr --where nmae:1e-3.. --ids | xargs chgdb remove my.zarr""",
    )(remove)
    app.command(
        epilog="""\b
Examples:
  chgdb rename my.zarr run_17 mp-149""",
    )(rename)
    app.command(
        "add-columns",
        epilog="""\b
Examples:
  chgdb add-columns my.zarr gaps.csv                joined by the column material_id
  chgdb add-columns my.zarr gaps.csv --replace      other values take the place of those there are""",
    )(add_columns)


def merge(
    out: Annotated[str, typer.Argument(metavar="OUT", help="Folder of the new store, or one of the stores.")],
    stores: Annotated[list[str], typer.Argument(metavar="STORE", help="Folders, .zip files, URLs or names.")],
    keep: Annotated[
        Keep | None,
        typer.Option(
            help="Which store wins where they differ about an id: the first or the last. [default: none, an error]"
        ),
    ] = None,
    title: Annotated[str | None, typer.Option(help="Title of the new store.")] = None,
    force: ForceOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Put stores into one. No density is decoded or encoded; a record that several have goes in once."""
    from chgdb.curation import merge as merge_stores

    report = merge_stores(
        out,
        stores,
        on_conflict="refuse" if keep is None else "first" if keep is Keep.first else "last",
        replace=force,
        attributes={"title": title} if title else None,
        progress=not quiet and sys.stderr.isatty(),
    )
    for note in report.notes:
        message(f"note: {note}")
    sources = [{"path": path, "n_materials": number} for path, number in report.sources]
    facts = {"path": report.path, "sources": sources, "shared": list(report.shared), "notes": list(report.notes)}
    in_several = f", {len(report.shared)} of them in several" if report.shared else ""
    state(report.path, facts, f" of {count(len(sources), 'store')}{in_several}", as_json)


def subset(
    store: Annotated[str, typer.Argument(metavar="STORE", help="Folder, .zip, URL or name of the store.")],
    output: Annotated[str, typer.Option("--output", "-o", metavar="OUT", help="Folder of the new store.")],
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="ID", help="Material ids.", autocompletion=complete_id)
    ] = None,
    elements: OccurOption = None,
    only: OnlyOption = None,
    formula: FormulaOption = None,
    space_group: SpaceGroupOption = None,
    where: WhereOption = None,
    predicted: PredictedOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write some materials of a store as a store of their own, with their latents and predictions."""
    criteria = Criteria.of(elements, only, formula, space_group, where, predicted)
    opened = open_store(store)
    facts = extracted(opened, chosen(opened, ids, criteria), output, force)
    state(output, facts, f" of the {len(opened)} of {opened.path}", as_json)


def extracted(catalog: Catalog, ids: list[str], out: str, force: bool) -> dict[str, Any]:
    """Write these materials as one store. Returns its description. Raises `StoreError` if `out` is the catalog."""
    from chgdb.errors import StoreError
    from chgdb.extraction import extract

    if os.path.exists(catalog.path) and os.path.realpath(catalog.path) == os.path.realpath(out):
        raise StoreError(f"{out} is the store itself, and would lose its other materials; choose another name with -o")
    extract(catalog, ids, out, replace=force, predictions=True)
    return {"path": out, "source": catalog.path, "material_ids": ids}


def remove(
    store: _Store,
    ids: Annotated[list[str], typer.Argument(metavar="ID", help="Material ids.", autocompletion=complete_id)],
    as_json: JsonOption = False,
) -> None:
    """Take materials out of a store. The others, their latents and predictions stay as they are."""
    from chgdb.curation import remove as remove_materials

    removed = remove_materials(store, ids)
    state(store, {"path": store, "removed": list(removed)}, f" left, {len(removed)} removed", as_json)


def rename(
    store: _Store,
    old: Annotated[str, typer.Argument(metavar="OLD", help="Id of a material.", autocompletion=complete_id)],
    new: Annotated[str, typer.Argument(metavar="NEW", help="Its id from now on.")],
    as_json: JsonOption = False,
) -> None:
    """Give a material of a store another id. All else stays."""
    from chgdb.curation import rename as rename_materials

    renamed = rename_materials(store, {old: new})
    if as_json:
        print_json({"path": store, "renamed": [{"old": before, "new": after} for before, after in renamed]})
    else:
        show(f"{store}: {old} is {new} now" if renamed else f"{store}: {old} has this id already")


def add_columns(
    store: _Store,
    table: Annotated[str, typer.Argument(metavar="CSV", help="With a column material_id (or id, or the first).")],
    replace: Annotated[bool, typer.Option("--replace", help="Replace existing values.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Add the columns of a CSV to a store, and fill in values that are missing. No density is encoded again."""
    from chgdb.curation import add_columns as add

    report = add(store, table, replace=replace)
    for note in report.notes:
        message(f"note: {note}")
    if as_json:
        names = ("path", "columns", "updated", "notes")
        print_json({name: value if name == "path" else list(value) for name in names
                    for value in [getattr(report, name)]})  # fmt: skip
    else:
        show(f"{store}: {', '.join(report.columns)}: {count(len(report.updated), 'material')} updated")


def state(path: str, facts: dict[str, Any], said: str, as_json: bool) -> None:
    """Print what a store holds now."""
    from chgdb.catalog import open_catalog

    whole = open_catalog(os.path.abspath(path)).info()
    facts = facts | {key: whole[key] for key in ("n_materials", "stored_bytes", "largest_nmae")}
    if as_json:
        print_json(facts)
    else:
        show(
            f"{path}: {count(facts['n_materials'], 'material')}{said}; {size(facts['stored_bytes'])}, maximum NMAE "
            f"{percent(facts['largest_nmae'])}"
        )
