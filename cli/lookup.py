"""`chgdb search` and `chgdb info`: what a catalog holds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chgdb.text import shown_text
from chgdb_cli.arguments import CatalogOption, JsonOption, complete_id, open_store
from chgdb_cli.criteria import (
    Criteria,
    FormulaOption,
    OccurOption,
    OnlyOption,
    PredictedOption,
    SpaceGroupOption,
    WhereOption,
)
from chgdb_cli.output import grid, percent, print_card, print_json, print_table, size, unit

if TYPE_CHECKING:
    import numpy as np

    from chgdb import Catalog, Record

#: Columns that only the decoder of a store needs.
_INTERNAL = ("payload_offset", "extras_length", "atom_offset")
_PROVENANCE = ("code", "functional", "energy_cutoff", "structure_source", "licence")
_SHOWN = ("material_id", "formula", "space_group", "n_atoms", "n_electrons", "nmae", "stored_bytes")


def register(app: typer.Typer) -> None:
    app.command(
        short_help="Materials that meet criteria.",
        epilog="""\b
Examples:
  chgdb search --formula SiO2
  chgdb search --elements Li,O --where band_gap:2..4
  chgdb search --only Ga,As                            these elements and no others
  chgdb search --space-group 225 --where volume:..50 --sort volume
  chgdb search --predicted bulk_modulus:200.. --predicted band_gap:3..
  chgdb search --elements Fe --ids | xargs chgdb fetch --decode -o iron
  chgdb search --where code:GPAW --json --limit 0      all of them, every column""",
    )(search)
    app.command(
        short_help="What is known of a material or a catalog.",
        epilog="""\b
Examples:
  chgdb info                             the embedded catalog: size, licence, columns
  chgdb info mp-149                      one material
  chgdb info mp-149 --json | jq .nmae
  chgdb info --catalog my.zarr""",
    )(info)


def search(
    elements: OccurOption = None,
    only: OnlyOption = None,
    formula: FormulaOption = None,
    space_group: SpaceGroupOption = None,
    where: WhereOption = None,
    predicted: PredictedOption = None,
    sort: Annotated[
        str | None, typer.Option("--sort", metavar="COLUMN", help="Ascending by this column; -COLUMN descending.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="Show at most so many; 0 for all.")] = 20,
    ids: Annotated[bool, typer.Option("--ids", help="Print ids only, one a line, and all of them.")] = False,
    catalog: CatalogOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the materials of a catalog that meet all criteria."""
    criteria = Criteria.of(elements, only, formula, space_group, where, predicted)
    opened = open_store(catalog)
    found = criteria.find(opened)
    properties = list(dict.fromkeys(name for name, _ in criteria.predicted))
    rows = _rows(opened, found, sort)
    shown = rows if ids or limit == 0 else rows[:limit]
    if ids:
        names = opened.column("material_id")
        print("".join(f"{shown_text(names[row])}\n" for row in shown), end="")
    elif as_json:
        print_json(_facts(opened, shown, properties))
    else:
        asked = [name for name, _ in criteria.where] + ([] if sort is None else [sort.lstrip("-").replace("-", "_")])
        _print_found(opened, shown, len(rows), list(dict.fromkeys([*_SHOWN, *asked])), properties)


def _rows(catalog: Catalog, found: list[str], sort: str | None) -> list[int]:
    """Row numbers of ids, sorted; materials without a value come last."""
    row_of = {material_id: row for row, material_id in enumerate(catalog.ids)}
    rows = [row_of[material_id] for material_id in found]
    if sort is None:
        return rows
    values = catalog.column(sort.lstrip("-").replace("-", "_"))
    if values.ndim > 1:
        raise typer.BadParameter(f"{sort.lstrip('-')} holds several values a material", param_hint="--sort")
    known = [row for row in rows if values[row] == values[row]]
    known.sort(key=lambda row: values[row], reverse=sort.startswith("-"))
    return known + [row for row in rows if values[row] != values[row]]


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


def _facts(catalog: Catalog, rows: list[int], predicted: Iterable[str] = ()) -> list[dict[str, Any]]:
    """Every column's value of some rows, and predictions with their std as `predicted_...`."""
    columns = {name: catalog.column(name) for name in catalog.columns if name not in _INTERNAL}
    columns |= {f"predicted_{name}": values for name, values in _predictions(catalog, predicted).items()}
    return [{name: _plain(values[row]) for name, values in columns.items()} for row in rows]


def _predictions(catalog: Catalog, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Predicted values and standard deviations."""
    if not names:
        return {}
    from chgdb.views import PROPERTIES, View

    view = View(catalog, PROPERTIES)
    return {key: view[key].astype(float) for name in names for key in (name, f"{name}_std")}


def _print_found(
    catalog: Catalog, rows: list[int], total: int, names: list[str], predicted: Iterable[str] = ()
) -> None:
    from chgdb_cli.output import message

    columns = {name: catalog.column(name) for name in names}
    headers = [(_heading(catalog, name), columns[name].dtype != object) for name in names]
    table = [[_cell(name, columns[name], row) for name in names] for row in rows]
    values = _predictions(catalog, predicted)
    for name in predicted:
        headers.append((f"predicted {name.replace('_', ' ')}", True))
        for line, row in zip(table, rows, strict=True):
            line.append(f"{values[name][row]:.4g} ± {values[f'{name}_std'][row]:.2g}")
    if rows:
        print_table(headers, table)
    more = "" if len(rows) == total else f"; {len(rows)} shown, --limit 0 shows all"
    message(f"{total} of {len(catalog)} materials{more}")


_HEADINGS = {
    "material_id": "id",
    "n_electrons": "electrons",
    "n_atoms": "atoms",
    "nmae": "NMAE",
    "stored_bytes": "stored",
}


def _heading(catalog: Catalog, name: str) -> str:
    if name in _HEADINGS:
        return _HEADINGS[name]
    units = unit(catalog.columns[name].get("units", ""))
    return name.replace("_", " ") + (f" ({units})" if units else "")


def _cell(name: str, values: np.ndarray, row: int) -> str:
    value = _plain(values[row])
    if name == "nmae":
        return percent(value)
    if name == "stored_bytes":
        return size(value)
    if values.dtype == "int8":
        return _YES_NO.get(value, "–")
    return _text(value)


def _text(value: Any) -> str:
    """A value of a column as people read it; a dash where it is not known."""
    if isinstance(value, list):
        return " ".join(_text(item) for item in value)
    if isinstance(value, float):
        return "–" if math.isnan(value) else f"{value:.6g}"
    return str(value) or "–"


def info(
    material_id: Annotated[
        str | None,
        typer.Argument(metavar="ID", help="A material; the catalog itself if left out.", autocompletion=complete_id),
    ] = None,
    catalog: CatalogOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what is known of a material, or of a whole catalog."""
    opened = open_store(catalog)
    if material_id is None:
        facts = opened.info()
        if as_json:
            print_json(facts | {"columns": {n: a for n, a in opened.columns.items() if n not in _INTERNAL}})
        else:
            _print_catalog(opened, facts)
        return
    record = opened[material_id]
    metadata = {name: value for name, value in record.metadata.items() if name not in _INTERNAL}
    if as_json:
        units = {name: a["units"] for name, a in opened.columns.items() if name in metadata and a.get("units")}
        print_json(metadata | {"catalog": opened.path, "units": units})
    else:
        _print_material(record, metadata, opened.columns)


def _print_catalog(catalog: Catalog, facts: Mapping[str, Any]) -> None:
    stored, text = facts["stored_bytes"], facts["text_bytes"]
    about = [
        ("Path", facts["path"]),
        ("Materials", f"{facts['n_materials']:,}"),
        ("Stored", f"{size(stored)} in all; {size(facts['payload_bytes'])} of it densities"),
        ("As VASP text", size(text)),
    ]
    if facts["payload_bytes"]:
        about.append(("Compression", f"{text / facts['payload_bytes']:,.0f} times; {text / stored:,.0f} with metadata"))
    about.append(("Largest NMAE", percent(facts["largest_nmae"])))
    if "latent_model" in facts:
        said = f"{facts['n_latents']:,} of {facts['latent_model']}, {size(facts['latent_bytes'])} in all"
        about.append(("Latents", f"{said}; NMAE {percent(facts['median_latent_nmae'])} (median)"))
    about.append(("Store format", str(facts["format_version"])))
    about += [(key.capitalize(), str(facts[key])) for key in ("licence", "generator") if facts.get(key)]
    from chgdb.views import PROPERTIES, View, names

    if names(catalog):
        view = View(catalog, PROPERTIES)
        about.append(("Predictions", f"{', '.join(view.targets)}; by {view.model}"))
    columns = []
    for name, attributes in catalog.columns.items():
        if name not in _INTERNAL:
            units = unit(attributes.get("units", ""))
            columns.append((name, attributes.get("long_name", "") + (f" ({units})" if units else "")))
    print_card(str(facts.get("title") or "chgdb store"), [("", about), ("Columns", columns)])


def _print_material(record: Record, metadata: Mapping[str, Any], columns: Mapping[str, Mapping[str, Any]]) -> None:
    from chgdb.symmetry import symbol

    number = metadata["space_group"]
    structure = [
        ("Space group", f"{symbol(number)} ({number})" if number else "–"),
        ("Cell", _cell_text(metadata["cell"])),
        ("Volume", f"{metadata['volume']:.4f} Å^3"),
        ("Atoms", f"{metadata['n_atoms']} in the cell"),
    ]
    density = [
        ("Grid", grid(metadata["grid"])),
        ("Channels", metadata["channels"].replace(" ", ", ")),
        ("Electrons", f"{metadata['n_electrons']:.6f}"),
        ("Smallest value", f"{metadata['min_density']:.3g} e/Å^3"),
    ]
    ratio = metadata["text_bytes"] / max(1, metadata["stored_bytes"])
    accuracy = [
        ("NMAE", percent(metadata["nmae"]) + " after decoding, worst channel"),
        ("Tolerance", percent(metadata["tolerance"]) if metadata["tolerance"] else "lossless"),
        ("Largest error", f"{metadata['max_error']:.2g} e/Å^3"),
        ("Stored", f"{size(metadata['stored_bytes'])}, {ratio:,.0f} times less than as VASP text"),
    ]
    from chgdb.record import FIRST_COLUMNS

    own = {name for name in metadata if name in (*FIRST_COLUMNS, "source_crc32c")} - set(_PROVENANCE)
    properties, provenance, notes = [], [], []
    for name, value in metadata.items():
        if name in own or value == "" or (isinstance(value, float) and math.isnan(value)):
            continue
        label = name.replace("_", " ")
        row = (label[:1].upper() + label[1:], _text(value))
        if name in _PROVENANCE or isinstance(value, str):
            units = unit(columns[name].get("units", ""))
            provenance.append((row[0], f"{row[1]} {units}".strip()))
        else:
            properties.append((name, _explained(value, columns[name])))
            if columns[name].get("comment"):
                notes.append((name, columns[name]["comment"]))
    if metadata.get("source_crc32c"):
        provenance.append(("Source CRC-32C", f"{metadata['source_crc32c']:08x}"))
    provenance.append(("Catalog", record.catalog.path))
    print_card(
        f"{metadata['formula']} ({record.material_id})",
        [
            ("", structure),
            ("Density", density),
            ("Error", accuracy),
            ("Properties (columns of chgdb search --where)", properties),
            *_predicted(record),
            ("Notes", notes),
            ("Provenance", provenance),
        ],
    )


def _predicted(record: Record) -> list[tuple[str, list[tuple[str, str]]]]:
    """The section of predictions, where the catalog has them."""
    from chgdb.views import PROPERTIES, View, names

    if not names(record.catalog):
        return []
    view, row = View(record.catalog, PROPERTIES), record.catalog.ids.index(record.material_id)
    lines = []
    for name in view.targets:
        held_out = "by a model that had not seen its formula" if view[f"{name}_out_of_fold"][row] else ""
        units = unit(view.attributes(name)["units"])
        text = f"{view[name][row]:.4g} ± {view[f'{name}_std'][row]:.2g} {units}"
        lines.append((name, f"{text:<20}  {held_out}".rstrip()))
    return [(f"Predicted by {view.model} (columns of chgdb search --predicted)", lines)]


_YES_NO = {1: "yes", 0: "no"}
_TRUE_FALSE = " (1 true, 0 false, -1 unknown)"  # how a store says that a column of small integers is of this kind


def _explained(value: Any, attributes: Mapping[str, Any]) -> str:
    """A property with its unit, and in the column's own words what it is."""
    meaning = attributes.get("long_name", "")
    text = f"{_text(value)} {unit(attributes.get('units', ''))}".strip()
    if meaning.endswith(_TRUE_FALSE):
        text = _YES_NO.get(value, "unknown")
    return f"{text:<20}  {meaning.removesuffix(_TRUE_FALSE)}"


def _cell_text(cell: list[list[float]]) -> str:
    """Lengths and angles of three lattice vectors."""
    lengths = [math.hypot(*vector) for vector in cell]
    angles = []
    for i, j in ((1, 2), (0, 2), (0, 1)):
        cosine = sum(x * y for x, y in zip(cell[i], cell[j], strict=True)) / (lengths[i] * lengths[j])
        angles.append(math.degrees(math.acos(max(-1.0, min(1.0, cosine)))))
    return (
        "a, b, c = " + ", ".join(f"{x:.4f}" for x in lengths) + " Å; α, β, γ = "
        + ", ".join(f"{x:.2f}" for x in angles) + "°"
    )  # fmt: skip
