"""`chgdb charges` and `chgdb dipole`: electrons of each atom, and the dipole moment of molecules and slabs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chgdb.urls import file_name, without_secrets
from chgdb_cli.arguments import (
    CatalogOption,
    ElementsOption,
    ForceOption,
    JsonOption,
    by_element,
    check_free,
    complete_id,
    load,
    open_store,
)
from chgdb_cli.output import message, print_json, print_table, show, write_csv

if TYPE_CHECKING:
    from chgdb import Density
    from chgdb.charges import Charges


class Method(StrEnum):
    """The rules of `chgdb.charges.METHODS`."""

    bader = "bader"
    hirshfeld = "hirshfeld"
    voronoi = "voronoi"


Sources = Annotated[
    list[str],
    typer.Argument(metavar="ID|FILE...", help="Material ids or files.", autocompletion=complete_id),
]
Source = Annotated[str, typer.Argument(metavar="ID|FILE", help="A material id or a file.", autocompletion=complete_id)]
ValenceOption = Annotated[
    str | None,
    typer.Option(
        metavar="El=N,...",
        help="Valence electrons of the potentials, ZVAL in a POTCAR. [default: the usual ones that add up]",
    ),
]


def register(app: typer.Typer) -> None:
    app.command(
        epilog="""\b
Examples:
  chgdb charges mp-22862                            Hirshfeld, of a material of the catalog
  chgdb charges CHGCAR --method bader --reference AECCAR0 --reference AECCAR2
  chgdb charges CHGCAR --valence Na=7,Cl=7 --json
  chgdb charges NaCl.CHGCAR --method bader --of-catalog
  chgdb charges CHGCAR --method voronoi --radii Na=1.02,Cl=1.81 -o charges.csv
  chgdb search --elements O --ids --limit 0 | xargs chgdb charges --method bader -o oxides.csv""",
    )(charges)
    app.command(
        epilog="""\b
Examples:
  chgdb dipole molecule.CHGCAR
  chgdb dipole slab.CHGCAR --valence Zn=12,O=6 --json""",
    )(dipole)


def charges(
    sources: Sources,
    method: Annotated[Method, typer.Option(help="How the density is divided.")] = Method.hirshfeld,
    reference: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE", help="All-electron density for Bader; of several files (AECCAR0, AECCAR2) the sum."
        ),
    ] = None,
    valence: ValenceOption = None,
    radii: Annotated[
        str | None, typer.Option(metavar="El=Å,...", help="Radii for Voronoi, such as those of the ions.")
    ] = None,
    of_catalog: Annotated[
        bool,
        typer.Option(
            "--of-catalog",
            help="The file was written from chgdb's catalog: free atoms turn its density into that of all electrons.",
        ),
    ] = False,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="PATH", help="CSV. [default: a table on standard output]")
    ] = None,
    elements: ElementsOption = None,
    catalog: CatalogOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Divide a density among its atoms: electrons, net charge (e) and volume (Å^3) of each.

    Charges of different methods differ: compare those of one method only. Net charges count from the valence electrons
    of the potentials. Most files hold pseudo-densities, and Bader's charges need an all-electron one: give VASP's
    AECCAR0 and AECCAR2 (LAECHG = .TRUE.) as references. Without, cores of free atoms stand in for it. With several
    materials and a file for --output, the same command goes on after an interruption.
    """
    settings = {
        "method": method.value,
        "radii": None if radii is None else by_element(radii, "--radii", "radii such as Na=1.02,Cl=1.81"),
        "valence": _valences(valence),
    }
    if reference and len(sources) > 1:
        raise typer.BadParameter("a reference is that of one density", param_hint="--reference")
    if output is not None:
        check_free(output, force)
    guide = _sum([load(path, catalog, elements) for path in reference or []])

    def facts_of(source: str) -> dict[str, Any]:
        density = load(source, catalog, elements)
        ours = settings["valence"] is None and _of_catalog(source, catalog)
        found = density.charges(reference=guide, of_catalog=of_catalog or ours, **settings)
        remarks = list(found.remarks)
        if found.could_be_of_catalog and not (of_catalog or ours):
            remarks.append("if it was written from chgdb's catalog, --of-catalog corrects what lies there")
        return _facts(source, method.value, found, remarks)

    if len(sources) > 1:
        _of_many(sources, facts_of, output, as_json, json.dumps([settings, of_catalog, catalog, elements]))
        return
    facts = facts_of(sources[0])
    columns = {name: facts[name] for name in _COLUMNS if name in facts}
    if as_json:
        print_json(facts)
    if output is not None:
        write_csv(columns, output)
    elif not as_json:
        _show(columns)
    if not as_json:
        _tell(file_name(sources[0]), method.value, facts["remarks"])


_COLUMNS = ("atom", "element", "electrons", "valence", "net_charge", "volume", "moment")


def _facts(source: str, method: str, found: Charges, remarks: list[str]) -> dict[str, Any]:
    """The text about one density."""
    facts: dict[str, Any] = {
        "source": without_secrets(source),
        "formula": found.crystal.formula,
        "method": method,
        "n_electrons": float(found.electrons.sum()),
        "remarks": remarks,
        "atom": list(range(1, len(found.crystal) + 1)),
        "element": found.crystal.symbols,
        "electrons": found.electrons.tolist(),
        "valence": found.valence.tolist(),
        "net_charge": found.net.tolist(),
        "volume": found.volume.tolist(),
    }
    return facts if found.moment is None else facts | {"moment": found.moment.tolist()}


def _of_many(
    sources: Sequence[str], of: Callable[[str], dict[str, Any]], output: str | None, as_json: bool, settings: str
) -> None:
    """The same of several densities, in one table; finished ones are kept beside the output until all are."""
    from chgdb.errors import ChgdbError
    from chgdb.parallel.progress import reporting

    part = None if output is None else Path(f"{output}.part")
    finished = _finished(part, settings)
    found, refused = [], 0
    with reporting(sys.stderr.isatty(), "Charges", len(finished), len(sources)) as step:
        for source in sources:
            if source not in finished:
                try:
                    finished[source] = of(source)
                except ChgdbError as error:
                    message(f"{file_name(source)}: {error}")
                    refused += 1
                    continue
                if part is not None:
                    with part.open("a", encoding="utf-8") as file:
                        file.write(json.dumps([source, finished[source]]) + "\n")
                step(source)
            found.append(finished[source])
    if as_json:
        print_json(found)
    if output is not None or not as_json:
        names = [name for name in _COLUMNS if any(name in facts for facts in found)]
        columns: dict[str, list[Any]] = {"source": [facts["source"] for facts in found for _ in facts["atom"]]}
        columns |= {
            name: [value for facts in found for value in facts.get(name, [None] * len(facts["atom"]))] for name in names
        }
        if output is None:
            _show(columns)
        else:
            write_csv(columns, output)
    if part is not None:
        part.unlink(missing_ok=True)
    for facts in found[:1]:
        _tell("", facts["method"], sorted({remark for facts in found for remark in facts["remarks"]}))
    if refused:
        raise typer.Exit(1)


def _finished(part: Path | None, settings: str) -> dict[str, dict[str, Any]]:
    """The rows that an interrupted run with the same settings has left beside its output; begins a new one
    otherwise."""
    if part is None:
        return {}
    try:
        lines = part.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    if lines[:1] != [settings]:
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(settings + "\n", encoding="utf-8")
        return {}
    found = {}
    with suppress(ValueError):  # the last line may be cut off
        for line in lines[1:]:
            source, facts = json.loads(line)
            found[source] = facts
    return found


def _show(columns: Mapping[str, Sequence[Any]]) -> None:
    titles = {"net_charge": "net charge (e)", "volume": "volume (Å^3)", "moment": "moment (μB)"}
    headers = [(titles.get(name, name), name not in ("source", "element")) for name in columns]
    texts = [[_text(name, value) for value in values] for name, values in columns.items()]
    print_table(headers, list(zip(*texts, strict=True)))


def _tell(name: str, method: str, remarks: Sequence[str]) -> None:
    """Method and limits, on standard error."""
    from chgdb.charges import METHODS

    for remark in (METHODS[method], *remarks):
        message(f"{name}: {remark}" if name else remark)


def dipole(
    source: Source,
    valence: ValenceOption = None,
    elements: ElementsOption = None,
    catalog: CatalogOption = None,
    as_json: JsonOption = False,
) -> None:
    """Dipole moment of a molecule in a box, or of a slab along its normal, in e·Å and debye.

    It points from negative to positive charge. Ions count with the valence of their potentials. In bulk, along lattice
    vectors without vacuum, a dipole moment is not defined.
    """
    from chgdb.charges import valences_of
    from chgdb.charges.dipole import dipole as moment
    from chgdb.density import check_density

    valences = _valences(valence)
    density = load(source, catalog, elements)
    check_density(density, "a dipole moment is that of a total density and its ions")
    of_catalog = valences is None and _of_catalog(source, catalog)
    ions = valences_of(density.crystal, density.n_electrons, valences, of_catalog)
    found = moment(density.crystal, density.total, ions)
    vacuum = ["abc"[axis] for axis in found.directions]
    if as_json:
        print_json(
            {
                "source": without_secrets(source),
                "formula": density.crystal.formula,
                "vacuum": vacuum,
                "dipole": found.moment.tolist(),
                "dipole_debye": found.debye.tolist(),
                "size": found.size,
                "charge": found.charge,
                "centre_of_ions": found.ions.tolist(),
                "centre_of_electrons": found.electrons.tolist(),
                "valence": dict(zip(density.crystal.symbols, ions.tolist(), strict=True)),
            }
        )
        return
    from chgdb.charges.dipole import DEBYE

    kind = {1: "a slab", 2: "a chain", 3: "a molecule"}[len(vacuum)]
    parts = ", ".join(f"{x + 0.0:.4f}" for x in found.moment)
    show(f"{file_name(source)}: {found.size:.4f} e·Å, {found.size * DEBYE:.4f} debye")
    show(f"({parts}) e·Å along x, y, z; {kind}, vacuum along {', '.join(vacuum)}")
    if abs(found.charge) > 0.01:
        message(f"{file_name(source)}: a charge of {found.charge:+.4f} e: the moment is about the centre of the ions")


def _valences(text: str | None) -> dict[str, float] | None:
    return None if text is None else by_element(text, "--valence", "valence electrons such as Na=1,Cl=7")


def _sum(densities: Sequence[Density]) -> Density | None:
    from chgdb.density import combine

    return combine([(1.0, density) for density in densities]) if densities else None


def _of_catalog(source: str, catalog: str | None) -> bool:
    """Whether a density comes from a store and was made by the recipe of the catalog."""
    if os.path.lexists(source) or os.sep in source:
        return False
    return open_store(catalog)[source].is_of_recipe


def _text(name: str, value: Any) -> str:
    """
    >>> _text("net_charge", 0.86123), _text("valence", 7.0), _text("element", "Na"), _text("net_charge", -1e-9)
    ('+0.8612', '7', 'Na', '0.0000')
    """
    if name == "net_charge":
        return f"{value:+.4f}" if round(value, 4) else "0.0000"
    if value is None:
        return ""
    if name == "valence":
        return f"{value:g}"
    return f"{value + 0.0:.4f}" if isinstance(value, float) else str(value)
