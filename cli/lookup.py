"""`chgdb search` and `chgdb info`: what a catalog holds."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chgdb.formulas import common_formula
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
from chgdb_cli.output import grid, message, percent, print_card, print_json, print_table, size, unit

if TYPE_CHECKING:
    import numpy as np

    from chgdb import Catalog, Record

_PROVENANCE = ("code", "functional", "energy_cutoff", "pseudopotentials", "valence", "structure_source", "licence")
_SHOWN = ("material_id", "formula", "space_group", "n_atoms", "n_electrons", "nmae", "stored_bytes")


def register(app: typer.Typer) -> None:
    app.command(
        epilog="""\b
Examples:
  chgdb search --formula SiO2
  chgdb search --elements Li,O --where band_gap:2..4
  chgdb search --only Ga,As                            these elements and no others
  chgdb search --space-group 225 --where volume:..50 --sort volume
  chgdb search --predicted bulk_modulus:200.. --predicted band_gap:3..
  chgdb search --elements O --columns formula,band_gap,predicted_band_gap --sort -predicted_band_gap
  chgdb search --elements O --csv --limit 0 > oxides.csv
  chgdb search --elements Fe --ids | xargs chgdb fetch --decode -o iron
  chgdb search --where code:GPAW --json --limit 0      all of them, every column""",
    )(search)
    app.command(
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
        str | None,
        typer.Option(
            "--sort",
            metavar="COLUMN",
            help="Ascending by this column, or predicted_PROPERTY; -COLUMN descending.",
        ),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option("--columns", metavar="COL,COL", help="Show these; predicted_PROPERTY is what a model predicts."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="Maximum number of materials shown; 0 for all.")] = 20,
    ids: Annotated[bool, typer.Option("--ids", help="Print the ids of all that were found, one a line.")] = False,
    catalog: CatalogOption = None,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print CSV: every column, unless --columns names some.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List the materials of a catalog that meet all criteria."""
    if as_csv + as_json + ids > 1:
        raise typer.BadParameter("give one of --csv, --json and --ids", param_hint="--csv")
    criteria = Criteria.of(elements, only, formula, space_group, where, predicted)
    opened = open_store(catalog)
    found = criteria.find(opened)
    key = None if sort is None else sort.removeprefix("-").replace("-", "_")
    rows = _rows(opened, found, key, sort is not None and sort.startswith("-"))
    shown = rows if ids or limit == 0 else rows[:limit]
    predictions = [f"predicted_{name}" for name, _ in criteria.predicted]
    asked = [*(name for name, _ in criteria.where), *([] if key is None else [key]), *predictions]
    if ids:
        names = opened.column("material_id")
        print("".join(f"{shown_text(names[row])}\n" for row in shown), end="")
        return
    if columns is not None:
        wanted = [name.strip().replace("-", "_") for name in columns.split(",") if name.strip()]
    elif as_json or as_csv:
        wanted = [*_public(opened), *asked]
    else:
        wanted = [*_SHOWN, *asked]
    values = _values(opened, list(dict.fromkeys(["material_id", *wanted])))
    if as_json:
        print_json([{name: _plain(column[row]) for name, column in values.items()} for row in shown])
    elif as_csv:
        _print_csv(values, shown)
    else:
        _print_found(opened, values, shown)
    if not as_json or len(shown) < len(rows):
        more = "" if len(shown) == len(rows) else f"; {len(shown)} shown, --limit 0 shows all"
        message(f"{len(rows)} of {len(opened)} materials{more}")


def _rows(catalog: Catalog, found: list[str], key: str | None, descending: bool) -> list[int]:
    """Row numbers of ids, sorted by a column; materials without a value come last."""
    row_of = {material_id: row for row, material_id in enumerate(catalog.ids)}
    rows = [row_of[material_id] for material_id in found]
    if key is None:
        return rows
    values = _values(catalog, [key])[key]
    if values.ndim > 1:
        raise typer.BadParameter(f"{key} holds several values a material", param_hint="--sort")
    known = [row for row in rows if values[row] == values[row]]
    known.sort(key=lambda row: values[row], reverse=descending)
    return known + [row for row in rows if values[row] != values[row]]


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


def _public(catalog: Catalog) -> dict[str, dict[str, Any]]:
    """Columns that are of interest to a user, and their attributes."""
    from chgdb.record import INTERNAL_COLUMNS

    return {name: attributes for name, attributes in catalog.columns.items() if name not in INTERNAL_COLUMNS}


def _values(catalog: Catalog, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Columns by name. `predicted_NAME` is what is predicted of NAME, followed by its standard deviation."""
    own, values = catalog.columns, {}
    for name in names:
        if name in own or not name.startswith(_PREDICTED):
            values[name] = catalog.column(name)
            continue
        from chgdb.views import PROPERTIES, View

        view, key = View(catalog, PROPERTIES), name.removeprefix(_PREDICTED)
        values[name] = view[key].astype(float)
        if f"{key}_std" in view:
            values[f"{name}_std"] = view[f"{key}_std"].astype(float)
    return values


_PREDICTED = "predicted_"


def _print_csv(values: dict[str, np.ndarray], rows: list[int]) -> None:
    """Comma-separated values, a line a material; what is not known is empty, and vectors are numbers with blanks."""
    import csv

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(values)
    clean = shown_text if sys.stdout.isatty() else str
    for row in rows:
        writer.writerow([clean(_csv_cell(column[row])) for column in values.values()])


def _csv_cell(value: Any) -> str:
    if getattr(value, "ndim", 0):
        return " ".join(_csv_cell(item) for item in value.reshape(-1))
    if isinstance(value, str):
        return value
    if value.dtype.name == "int8":
        return {1: "true", 0: "false"}.get(int(value), "")
    if value.dtype.name == "float32":
        return "" if math.isnan(value) else f"{value:.7g}"
    return "" if value != value else str(value)


def _times(ratio: float) -> str:
    """
    >>> _times(17385.3), _times(0.4213)
    ('17,385', '0.42')
    """
    return f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.2g}"


def _print_found(catalog: Catalog, values: dict[str, np.ndarray], rows: list[int]) -> None:
    """A table of some rows; a prediction and its standard deviation are one column."""
    headers = []
    table: list[list[str]] = [[] for _ in rows]
    for name, column in values.items():
        spread = values.get(f"{name}_std")
        if name.endswith("_std") and name.removesuffix("_std") in values and name not in catalog.columns:
            continue
        headers.append((_heading(catalog, name), column.dtype != object))
        for line, row in zip(table, rows, strict=True):
            if spread is not None and name not in catalog.columns:
                line.append(_measured(column[row], spread[row]))
            else:
                line.append(_cell(name, column, row))
    if rows:
        print_table(headers, table)


def _measured(value: float, std: float) -> str:
    """A value with its standard deviation, to the digits that mean something."""
    from chgdb.prediction import Predicted

    return "–" if math.isnan(value) else " ± ".join(Predicted(float(value), float(std), "").rounded())


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
    if name not in catalog.columns:
        from chgdb.derived import DERIVED
        from chgdb.targets import TARGETS

        key = name.removeprefix(_PREDICTED)
        target = TARGETS.get(key) or DERIVED.get(key)
        units = unit(target.units) if target else ""
    else:
        units = unit(catalog.columns[name].get("units", ""))
    return name.replace("_", " ") + (f" ({units})" if units else "")


def _cell(name: str, values: np.ndarray, row: int) -> str:
    value = _plain(values[row])
    if name == "nmae":
        return percent(value)
    if name == "stored_bytes":
        return size(value)
    if name == "formula":
        return common_formula(value)
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
        facts = opened.info() | _predicted_names(opened) | _charged(opened)
        if as_json:
            print_json(facts | {"attributes": opened.attributes, "columns": _public(opened)})
        else:
            _print_catalog(opened, facts)
        return
    record, columns = opened[material_id], _public(opened)
    metadata = {name: value for name, value in record.metadata.items() if name in columns}
    made = _predictions(record) | _charges(record)
    if as_json:
        print_json(metadata | _derived(record, metadata) | made | _described(opened, columns))
    else:
        _print_material(record, metadata, columns, made)


def _derived(record: Record, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The properties that follow from the columns of a material."""
    from chgdb.cards import lengths_and_angles
    from chgdb.symmetry import symbol

    lengths, angles = lengths_and_angles(metadata["cell"])
    number = metadata["space_group"]
    return {
        "common_formula": common_formula(metadata["formula"]) if metadata["formula"] else "",
        "space_group_symbol": symbol(number) if number else None,
        "cell_lengths": lengths,
        "cell_angles": angles,
        "electrons_of": _kind_of_electrons(record),
        "compression": metadata["text_bytes"] / max(1, metadata["stored_bytes"]),
    }


def _described(catalog: Catalog, columns: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The origin and the meaning of the values of a material."""
    units = {name: attributes["units"] for name, attributes in columns.items() if attributes.get("units")}
    return {"catalog": catalog.path, "units": units, "columns": dict(columns)}


def _predicted_names(catalog: Catalog) -> dict[str, Any]:
    """The properties that are predicted in a catalog, and the model."""
    from chgdb.views import PROPERTIES, View, names

    if not names(catalog):
        return {}
    view = View(catalog, PROPERTIES)
    return {"predictions": {"model": view.model, "properties": list(view.targets)}}


def _predictions(record: Record) -> dict[str, Any]:
    """The predictions for a material, if its catalog has them."""
    from chgdb.views import PROPERTIES, View, names

    if not names(record.catalog):
        return {}
    view, row = View(record.catalog, PROPERTIES), record.catalog.ids.index(record.material_id)
    return {
        "predictions": {
            "model": view.model,
            "unlike_training": bool(view["unlike_training"][row]),
            "properties": {
                name: {
                    "value": float(view[name][row]),
                    "std": float(view[f"{name}_std"][row]),
                    "units": view.attributes(name)["units"],
                    "out_of_fold": bool(view[f"{name}_out_of_fold"][row]),
                }
                for name in view.targets
            },
        }
    }


def _charged(catalog: Catalog) -> dict[str, Any]:
    """The methods by which the atoms of a catalog are charged, and their limits."""
    from chgdb.charged import ABOUT, CHARGES, methods

    if not methods(catalog.store):
        return {}
    view = catalog.view(CHARGES)
    return {CHARGES: {name: {key: view.attributes(name)[key] for key in ABOUT} for name in view}}


def _charges(record: Record) -> dict[str, Any]:
    """Net charges of a material that its catalog keeps, an atom each, in e; null where they are not known."""
    from chgdb.charged import CHARGES
    from chgdb.errors import StoreError

    try:
        net = record.net_charges
    except StoreError as error:  # of another density: all else holds
        message(str(error))
        return {}
    if not net:
        return {}
    view = record.catalog.view(CHARGES)
    charges = {name: [None if math.isnan(x) else x for x in values.tolist()] for name, values in net.items()}
    elements = list(record.crystal.symbols)
    return {CHARGES: {"elements": elements, **charges, "remarks": list(view.remarks(record.material_id))}}


def _print_catalog(catalog: Catalog, facts: Mapping[str, Any]) -> None:
    stored, text = facts["stored_bytes"], facts["text_bytes"]
    about = [
        ("Path", facts["path"]),
        ("Materials", f"{facts['n_materials']:,}"),
        ("Stored", f"{size(stored)} in all; {size(facts['payload_bytes'])} of it densities"),
        ("As VASP text", size(text)),
    ]
    if facts["payload_bytes"]:
        whole = f"{_times(text / facts['payload_bytes'])} times; {_times(text / stored)} with metadata"
        about.append(("Compression", whole))
    about.append(("Largest NMAE", percent(facts["largest_nmae"])))
    if "latent_model" in facts:
        said = f"{facts['n_latents']:,} of {facts['latent_model']}, {size(facts['latent_bytes'])} in all"
        about.append(("Latents", f"{said}; NMAE {percent(facts['median_latent_nmae'])} (median)"))
    about.append(("Store format", str(facts["format_version"])))
    about += [(key.capitalize(), str(facts[key])) for key in ("licence", "generator") if facts.get(key)]
    if "predictions" in facts:
        about.append(
            ("Predictions", f"{', '.join(facts['predictions']['properties'])}; by {facts['predictions']['model']}")
        )
    if "charges" in facts:
        about.append(("Charges of atoms", f"net charges by {' and '.join(facts['charges'])}"))
    columns = []
    for name, attributes in _public(catalog).items():
        units = unit(attributes.get("units", ""))
        columns.append((name, attributes.get("long_name", "") + (f" ({units})" if units else "")))
    print_card(str(facts.get("title") or "chgdb store"), [("", about), ("Columns", columns)])


def _print_material(
    record: Record,
    metadata: Mapping[str, Any],
    columns: Mapping[str, Mapping[str, Any]],
    made: Mapping[str, Any],
) -> None:
    from chgdb.store.format import OCCUPANCY_ERROR, OCCUPANCY_TOLERANCE
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
        ("Electrons", ", ".join(filter(None, (f"{metadata['n_electrons']:.6f}", _kind_of_electrons(record))))),
        *([("Charge", f"{metadata['charge']:+g} e")] if metadata.get("charge") else []),
        ("Smallest value", f"{metadata['min_density']:.3g} e/Å^3"),
    ]
    ratio = metadata["text_bytes"] / max(1, metadata["stored_bytes"])
    accuracy = [
        ("NMAE", percent(metadata["nmae"]) + " after decoding, worst channel"),
        ("Tolerance", percent(metadata["tolerance"]) if metadata["tolerance"] else "lossless"),
        ("Largest error", f"{metadata['max_error']:.2g} e/Å^3"),
        ("Stored", f"{size(metadata['stored_bytes'])}, {ratio:,.0f} times less than as VASP text"),
    ]
    occupancies = metadata.get(OCCUPANCY_ERROR, math.nan)
    if not math.isnan(occupancies):
        allowed = f"(tolerance {percent(metadata[OCCUPANCY_TOLERANCE])})"
        text = f"{percent(occupancies)} of the largest of its atom and channel {allowed}"
        accuracy.insert(3, ("Augmentation occupancies", text))
    if record.extras_bytes:
        accuracy.append(("", f"of it {size(record.extras_bytes)} for what else its file holds"))
    from chgdb.record import FIRST_COLUMNS

    own = {name for name in metadata if name in (*FIRST_COLUMNS, "source_crc32c", "charge")} - set(_PROVENANCE)
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
        f"{common_formula(metadata['formula'])} ({record.material_id})",
        [
            ("", structure),
            ("Density", density),
            ("Error", accuracy),
            ("Properties (columns of chgdb search --where)", properties),
            *_predicted(made),
            *_of_atoms(made),
            ("Notes", notes),
            ("Provenance", provenance),
        ],
    )


def _kind_of_electrons(record: Record) -> str:
    """The electrons of its atoms that a density has, in words."""
    from chgdb.inputs.calculation import electrons_of

    return electrons_of(record.crystal.numbers, record.n_electrons)


def _predicted(predictions: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """The section of predictions, where there are any."""
    if "predictions" not in predictions:
        return []
    found = predictions["predictions"]
    lines = []
    for name, fact in found["properties"].items():
        held_out = "by a model that had not seen its formula" if fact["out_of_fold"] else ""
        text = f"{_measured(fact['value'], fact['std'])} {unit(fact['units'])}"
        lines.append((name, f"{text:<20}  {held_out}".rstrip()))
    if found["unlike_training"]:
        lines.append(("", "unlike the training set: the intervals are those of all of it"))
    return [(f"Predicted by {found['model']} (columns of chgdb search --predicted)", lines)]


def _of_atoms(made: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """The section of charges, where the catalog keeps them: the mean of each element."""
    if "charges" not in made:
        return []
    found = dict(made["charges"])
    elements, remarks = found.pop("elements"), found.pop("remarks")
    lines = []
    for method, values in found.items():
        means = []
        for element in dict.fromkeys(elements):
            own = [value for value, symbol in zip(values, elements, strict=True) if symbol == element]
            if None not in own:
                means.append(f"{element} {sum(own) / len(own):+.3f}")
        lines.append((method, ", ".join(means) or "not known"))
    lines += [("", remark) for remark in remarks]
    return [("Net charges of atoms in e, mean of each element (chgdb charges computes more)", lines)]


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
    from chgdb.cards import lengths_and_angles

    lengths, angles = lengths_and_angles(cell)
    return (
        "a, b, c = " + ", ".join(f"{x:.4f}" for x in lengths) + " Å; α, β, γ = "
        + ", ".join(f"{x:.2f}" for x in angles) + "°"
    )  # fmt: skip
